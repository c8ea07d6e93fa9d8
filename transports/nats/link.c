/*
 * One connection of nats.c and its ears. The library's own reconnecting is not used: it keeps what
 * was published while the connection was away and sends it later, unasked, and keeps a password
 * that has changed. A link that broke is closed, and the keeper opens the next one.
 *
 * The callbacks run on threads of nats.c. They put a message into the mailbox or set a flag, and
 * never wait: one thread delivers for all connections of the process.
 */
#include "transports/nats/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LOGIN_LIMIT_MS 4000
#define WRITE_LIMIT_MS 5000        /* so long may a send wait for a server that does not read */
#define IO_BYTES       (256 << 10) /* a message that is not read whole is copied once more */
#define MAILBOX_FIRST  1024
#define PENDING_MAX                                                                                \
        (1 << 20) /* until the limits are lifted; 1,024 times as many bytes are an int */

struct ear {
        struct link *link; /* a reference */
        uint32_t number;
};

/* --- callbacks -------------------------------------------------------------------------------- */

static void put_mail(struct receiver *r, struct mail mail)
{
        struct mailbox *box = &r->mailbox;
        pthread_mutex_lock(&box->mutex);
        if (box->n == box->capacity) {
                uint32_t capacity = box->capacity ? box->capacity * 2 : MAILBOX_FIRST;
                struct mail *grown = realloc(box->items, capacity * sizeof *grown);
                box->items = grown ? grown : box->items;
                box->capacity = grown ? capacity : box->capacity;
        }
        bool kept = box->n < box->capacity, rings = box->n == box->patience;
        if (kept) {
                box->items[box->n++] = mail;
        }
        pthread_mutex_unlock(&box->mutex);
        if (!kept) {
                natsMsg_Destroy(mail.msg); /* out of memory: the server sends it again */
        } else if (rings) {
                desk_wake(r->wake_fd);
        }
}

static void heard(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
        const struct ear *e = closure;
        (void)nc;
        (void)sub;
        if (msg && e->number == EAR_ECHO) {
                natsMsg_Destroy(msg);
                atomic_fetch_add(&e->link->echoed, 1);
                desk_wake(e->link->jet->keeper.wake_fd);
        } else if (msg) {
                put_mail(&e->link->jet->receiver, (struct mail){msg, e->number, e->link->number});
        }
}

/* No callback of this ear comes after this one. */
static void deafened(void *closure)
{
        struct ear *e = closure;
        link_unref(e->link);
        free(e);
}

static void link_closed(natsConnection *nc, void *closure)
{
        struct link *l = closure;
        (void)nc;
        atomic_store(&l->closed, true);
        desk_wake(l->jet->keeper.wake_fd);
        link_unref(l);
}

static void link_lame(natsConnection *nc, void *closure)
{
        struct link *l = closure;
        (void)nc;
        atomic_store(&l->lame, true);
        desk_wake(l->jet->keeper.wake_fd);
}

/* nats.c prints errors of its own accord unless somebody takes them. What matters of them closes
 * the connection or is answered, but for a missing permission: what was published without it is
 * dropped, an acknowledgement too. */
static void link_erred(natsConnection *nc, natsSubscription *sub, natsStatus err, void *closure)
{
        struct link *l = closure;
        (void)nc;
        (void)sub;
        if (err == NATS_NOT_PERMITTED && !atomic_load(&l->denied)) {
                const char *text = nats_GetLastError(NULL); /* of this call */
                snprintf(l->denial, sizeof l->denial, "%s", text ? text : natsStatus_GetText(err));
                atomic_store(&l->denied, true);
                desk_wake(l->jet->keeper.wake_fd);
        }
}

/* --- life ------------------------------------------------------------------------------------- */

struct link *link_unref(struct link *l)
{
        if (l && atomic_fetch_sub(&l->refs, 1) == 1) {
                struct jet *jet = l->jet;
                free(l);
                jet_unref(jet);
        }
        return NULL;
}

struct link *link_leave(struct link *l)
{
        if (!l) {
                return NULL;
        }
        if (atomic_fetch_sub(&l->users, 1) == 1) {
                natsSubscription_Destroy(l->answers);
                natsSubscription_Destroy(l->echo);
                natsConnection_Destroy(l->nc);
        }
        return link_unref(l);
}

natsSubscription *link_listen(struct link *l, const char *subject, uint32_t number)
{
        natsSubscription *sub = NULL;
        struct ear *e = malloc(sizeof *e);
        if (!e) {
                return NULL;
        }
        atomic_fetch_add(&l->refs, 1);
        e->link = l;
        e->number = number;
        if (natsConnection_Subscribe(&sub, l->nc, subject, heard, e) != NATS_OK) {
                deafened(e);
                return NULL;
        }
        (void)natsSubscription_SetPendingLimits(sub, -1, -1);
        /* refused when it was closed meanwhile: then nobody can tell when the ear is free, so it
         * stays */
        (void)natsSubscription_SetOnCompleteCB(sub, deafened, e);
        return sub;
}

static natsStatus set_options(natsOptions *o, struct link *l, const struct settings *s)
{
        natsStatus e = natsOptions_SetAllowReconnect(o, false);
        e = e ? e : natsOptions_UseGlobalMessageDelivery(o, true);
        e = e ? e : natsOptions_SetTimeout(o, LOGIN_LIMIT_MS);
        e = e ? e : natsOptions_SetWriteDeadline(o, WRITE_LIMIT_MS);
        e = e ? e : natsOptions_SetPingInterval(o, s->ping_ms);
        e = e ? e : natsOptions_SetMaxPingsOut(o, 2);
        e = e ? e : natsOptions_SetIOBufSize(o, IO_BYTES);
        e = e ? e : natsOptions_SetMaxPendingMsgs(o, PENDING_MAX);
        e = e ? e : natsOptions_SetErrorHandler(o, link_erred, l);
        e = e ? e : natsOptions_SetClosedCB(o, link_closed, l);
        return e ? e : natsOptions_SetLameDuckModeCB(o, link_lame, l);
}

/* The servers of the configuration, then those that the cluster told of. */
static natsStatus set_servers(natsOptions *o, const struct jet *jet)
{
        const struct settings *s = &jet->settings;
        const struct keeper *k = &jet->keeper;
        if (!k->n_found) {
                return NATS_OK;
        }
        int n = s->n_servers + (int)k->n_found;
        const char **all = calloc((size_t)n, sizeof *all);
        if (!all) {
                return NATS_NO_MEMORY;
        }
        memcpy(all, s->servers, (size_t)s->n_servers * sizeof *all);
        for (uint32_t i = 0; i < k->n_found; i++) {
                all[s->n_servers + (int)i] = k->found[i];
        }
        natsStatus e = natsOptions_SetServers(o, all, n);
        free(all);
        return e;
}

static struct link *make_link(struct jet *jet, uint64_t number)
{
        struct link *l = calloc(1, sizeof *l);
        natsInbox *inbox = NULL;
        if (!l || natsInbox_Create(&inbox) != NATS_OK) {
                free(l);
                return NULL;
        }
        snprintf(l->inbox, sizeof l->inbox, "%s", inbox);
        natsInbox_Destroy(inbox);
        atomic_init(&l->refs, 1);
        atomic_init(&l->users, 1);
        jet_ref(jet);
        l->jet = jet;
        l->number = number;
        return l;
}

static int connect_link(struct link *l, char *note, size_t size)
{
        const struct settings *s = &l->jet->settings;
        natsOptions *o = NULL;
        int r = settings_login(s, &o, note, size);
        if (r) {
                return r;
        }
        natsStatus e = set_options(o, l, s);
        e = e ? e : set_servers(o, l->jet);
        atomic_fetch_add(&l->refs, 1); /* the closed callback's, which comes once if it connected */
        e = e ? e : natsConnection_Connect(&l->nc, o);
        natsOptions_Destroy(o);
        if (e == NATS_OK) {
                return 0;
        }
        atomic_fetch_sub(&l->refs, 1);
        login_reason(s, e, note, size);
        return NATS_DOWN;
}

static bool listen_link(struct link *l)
{
        char subject[INBOX_BYTES + 8];
        snprintf(subject, sizeof subject, "%s.r.*.*", l->inbox);
        l->answers = link_listen(l, subject, EAR_ANSWERS);
        snprintf(subject, sizeof subject, "%s.echo", l->inbox);
        l->echo = link_listen(l, subject, EAR_ECHO);
        return l->answers && l->echo;
}

int link_open(struct jet *jet, uint64_t number, struct link **ret, char *note, size_t size)
{
        struct link *l = make_link(jet, number);
        if (!l) {
                snprintf(note, size, "%s: out of memory", jet->settings.place);
                return -ENOMEM;
        }
        int r = connect_link(l, note, size);
        if (r == 0 && !listen_link(l)) {
                snprintf(note, size, "%s: the connection broke off", jet->settings.place);
                r = NATS_DOWN;
        }
        if (r) {
                link_leave(l);
                return r;
        }
        *ret = l;
        return 0;
}
