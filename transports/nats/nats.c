/*
 * The seam: copies what the engine says into the threads' inboxes and hands back what lies on the
 * desk. Never blocks but for a mutex that is held for a few assignments.
 *
 * The whole is counted: the engine, each thread, each receipt and each link hold a reference, so
 * that a receipt may be freed after close(), and a thread that hangs in a connect longer than
 * close() may take is left behind and frees the rest when it comes back. nats.c itself is never
 * closed: other transports of this process may live on it.
 */
#include "transports/desk/thread.h"
#include "transports/nats/internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CLOSE_LIMIT_NS (4500 * NS_PER_MS)

/* --- receipts --------------------------------------------------------------------------------- */

struct jet_receipt *jet_receipt_new(struct jet *jet, uint32_t tap, uint64_t connection)
{
        struct jet_receipt *r = calloc(1, sizeof *r);
        if (!r) {
                return NULL;
        }
        jet_ref(jet);
        r->jet = jet;
        r->tap = tap;
        r->connection = connection;
        return r;
}

struct receipt *jet_receipt_drop(struct receipt *base)
{
        struct jet_receipt *r = (struct jet_receipt *)base;
        if (r) {
                jet_unref(r->jet);
                free(r->acks);
                free(r);
        }
        return NULL;
}

bool jet_receipt_add(struct jet_receipt *r, const char *reply)
{
        uint32_t size = (uint32_t)strlen(reply) + 1;
        if (r->acks_n + size > r->acks_capacity) {
                uint32_t capacity = r->acks_capacity ? r->acks_capacity * 2 : 2048;
                capacity = capacity < r->acks_n + size ? r->acks_n + size : capacity;
                char *grown = realloc(r->acks, capacity);
                if (!grown) {
                        return false;
                }
                r->acks = grown;
                r->acks_capacity = capacity;
        }
        memcpy(r->acks + r->acks_n, reply, size);
        r->acks_n += size;
        r->n++;
        return true;
}

/* False: nobody is there any more. */
static bool give_receipt(struct jet_receipt *r)
{
        struct receiver *v = &r->jet->receiver;
        pthread_mutex_lock(&v->inbox.mutex);
        bool there = v->started && !v->inbox.gone;
        bool first = there && !v->inbox.receipts;
        if (there) {
                r->base.next = NULL;
                *v->inbox.receipts_tail = r;
                v->inbox.receipts_tail = (struct jet_receipt **)&r->base.next;
        }
        pthread_mutex_unlock(&v->inbox.mutex);
        if (first) {
                desk_wake(v->wake_fd);
        }
        return there;
}

static struct receipt *free_receipt(struct receipt *base)
{
        struct jet_receipt *r = (struct jet_receipt *)base;
        if (!r) {
                return NULL;
        }
        struct jet *jet = r->jet;
        jet_ref(jet); /* the receipt's own may be the last, and it is freed elsewhere */
        if (r->spent || !give_receipt(r)) {
                jet_receipt_drop(base);
        }
        jet_unref(jet);
        return NULL;
}

static void settle_nats(struct transport *t, struct receipt *base)
{
        (void)t;
        ((struct jet_receipt *)base)->settled = true;
        free_receipt(base);
}

/* --- queues ----------------------------------------------------------------------------------- */

static void attach_nats(struct transport *base, uint32_t queue, const struct queue_config *q)
{
        struct jet *jet = (struct jet *)base;
        struct keeper *k = &jet->keeper;
        if (queue >= QUEUES_MAX) {
                return; /* the unrouted ones among them: a stream keeps what nobody consumes */
        }
        struct order *o = order_new(&jet->settings, queue, q);
        if (!o) {
                desk_note(&jet->desk, LEVEL_ERROR, "queue %.*s: out of memory; it is not served",
                          (int)q->name.n, q->name.p);
                return;
        }
        pthread_mutex_lock(&k->inbox.mutex);
        *k->inbox.orders_tail = o;
        k->inbox.orders_tail = &o->next;
        pthread_mutex_unlock(&k->inbox.mutex);
        desk_wake(k->wake_fd);
}

/* Woken is for what changes much: the engine tells the room often. */
static void consume_nats(struct transport *base, uint32_t queue, uint32_t room)
{
        struct receiver *v = &((struct jet *)base)->receiver;
        if (queue >= QUEUES_MAX) {
                return;
        }
        pthread_mutex_lock(&v->inbox.mutex);
        uint32_t before = v->inbox.woken_for[queue];
        v->inbox.rooms[queue] = room;
        v->inbox.rooms_changed = true;
        bool wake = (room == 0) != (before == 0) || room > 2 * before || room < before / 2;
        if (wake) {
                v->inbox.woken_for[queue] = room;
        }
        pthread_mutex_unlock(&v->inbox.mutex);
        if (wake) {
                desk_wake(v->wake_fd);
        }
}

static void ring_nats(struct transport *base, struct doorbells *bells)
{
        struct jet *jet = (struct jet *)base;
        struct receiver *v = &jet->receiver;
        if (!desk_up(&jet->desk) || bells->queue >= QUEUES_MAX) {
                desk_bells(&jet->desk, bells, false);
                return;
        }
        pthread_mutex_lock(&v->inbox.mutex);
        bool first = !v->inbox.bells;
        bells->next = NULL;
        *v->inbox.bells_tail = bells;
        v->inbox.bells_tail = &bells->next;
        pthread_mutex_unlock(&v->inbox.mutex);
        if (first) {
                desk_wake(v->wake_fd);
        }
}

static void reply_nats(struct transport *base, struct replies *replies)
{
        struct jet *jet = (struct jet *)base;
        struct receiver *v = &jet->receiver;
        if (!desk_up(&jet->desk)) {
                desk_replies(&jet->desk, replies, false);
                return;
        }
        pthread_mutex_lock(&v->inbox.mutex);
        replies->next = NULL;
        *v->inbox.replies_tail = replies;
        v->inbox.replies_tail = &replies->next;
        pthread_mutex_unlock(&v->inbox.mutex);
        desk_wake(v->wake_fd);
}

static void floor_nats(struct transport *base, struct str history, int64_t floor)
{
        struct keeper *k = &((struct jet *)base)->keeper;
        struct floor_answer *a = calloc(1, sizeof *a);
        if (!a || history.n >= sizeof a->history) {
                free(a); /* it is asked for again */
                return;
        }
        memcpy(a->history, history.p, history.n);
        a->floor = floor;
        pthread_mutex_lock(&k->inbox.mutex);
        a->next = k->inbox.floors;
        k->inbox.floors = a;
        pthread_mutex_unlock(&k->inbox.mutex);
        desk_wake(k->wake_fd);
}

/* --- the engine's poll ------------------------------------------------------------------------ */

static void begin_loop(struct jet *jet)
{
        if (!atomic_load(&jet->polled)) {
                atomic_store(&jet->polled, true);
                desk_wake(jet->keeper.wake_fd);
        }
}

static uint32_t pollfds_nats(struct transport *base, struct pollfd *fds, uint32_t max)
{
        begin_loop((struct jet *)base);
        if (max < 1) {
                return 0;
        }
        fds[0] = (struct pollfd){.fd = ((struct jet *)base)->desk.event_fd, .events = POLLIN};
        return 1;
}

static int64_t deadline_nats(struct transport *base)
{
        (void)base;
        return INT64_MAX; /* the eventfd tells all */
}

static void dispatch_nats(struct transport *base, int64_t now_ns, struct transport_answers *ret)
{
        (void)now_ns;
        begin_loop((struct jet *)base);
        desk_take(&((struct jet *)base)->desk, ret);
}

/* --- life ------------------------------------------------------------------------------------- */

void jet_ref(struct jet *jet)
{
        atomic_fetch_add(&jet->refs, 1);
}

static void close_fd(int fd)
{
        if (fd >= 0) {
                close(fd);
        }
}

struct jet *jet_unref(struct jet *jet)
{
        if (!jet || atomic_fetch_sub(&jet->refs, 1) != 1) {
                return NULL;
        }
        desk_deinit(&jet->desk);
        line_free_all(&jet->keeper);
        order_free(jet->keeper.inbox.orders);
        order_free(jet->keeper.orders);
        pthread_mutex_destroy(&jet->keeper.inbox.mutex);
        pthread_mutex_destroy(&jet->receiver.inbox.mutex);
        pthread_mutex_destroy(&jet->receiver.mailbox.mutex);
        close_fd(jet->keeper.wake_fd);
        close_fd(jet->receiver.wake_fd);
        for (uint32_t i = 0; i < jet->receiver.mailbox.n; i++) {
                natsMsg_Destroy(jet->receiver.mailbox.items[i].msg);
        }
        free(jet->receiver.mailbox.items);
        settings_deinit(&jet->settings);
        free(jet);
        return NULL;
}

/* What lies on the desk goes back to the server first, while there is a thread that can say so. */
static struct transport *close_nats(struct transport *base)
{
        struct jet *jet = (struct jet *)base;
        if (!jet) {
                return NULL;
        }
        int64_t until = clock_ns() + CLOSE_LIMIT_NS;
        desk_drain(&jet->desk);
        thread_stop(&jet->receiver.inbox.mutex, &jet->receiver.inbox.stop, jet->receiver.wake_fd);
        thread_stop(&jet->keeper.inbox.mutex, &jet->keeper.inbox.stop, jet->keeper.wake_fd);
        thread_join(jet->receiver.thread, jet->receiver.started, until);
        thread_join(jet->keeper.thread, jet->keeper.started, until);
        desk_drain(&jet->desk);
        jet_unref(jet);
        return NULL;
}

static const struct transport_ops nats_ops = {
    .scheme = "nats",
    .attach = attach_nats,
    .consume = consume_nats,
    .settle = settle_nats,
    .receipt_free = free_receipt,
    .ring = ring_nats,
    .reply = reply_nats,
    .floor = floor_nats,
    .pollfds = pollfds_nats,
    .deadline_ns = deadline_nats,
    .dispatch = dispatch_nats,
    .close = close_nats,
};

static struct jet *make_jet(void)
{
        struct jet *jet = calloc(1, sizeof *jet);
        if (!jet) {
                return NULL;
        }
        struct receiver *r = &jet->receiver;
        struct keeper *k = &jet->keeper;
        jet->base.ops = &nats_ops;
        atomic_init(&jet->refs, 1);
        atomic_init(&jet->polled, false);
        r->jet = k->jet = jet;
        r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        k->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r->inbox.receipts_tail = &r->inbox.receipts;
        r->inbox.bells_tail = &r->inbox.bells;
        r->inbox.replies_tail = &r->inbox.replies;
        r->inbox.deeds_tail = &r->inbox.deeds;
        r->flights_tail = &r->flights;
        k->inbox.orders_tail = &k->inbox.orders;
        pthread_mutex_init(&r->inbox.mutex, NULL);
        pthread_mutex_init(&r->mailbox.mutex, NULL);
        pthread_mutex_init(&k->inbox.mutex, NULL);
        bool ok = desk_init(&jet->desk, 1, free_receipt) == 0 && r->wake_fd >= 0 && k->wake_fd >= 0;
        return ok ? jet : jet_unref(jet);
}

/* Signals are the main thread's. */
static int start(struct jet *jet, pthread_t *thread, void *(*run)(void *), void *arg, bool *started)
{
        sigset_t all, before;
        sigfillset(&all);
        jet_ref(jet);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        *started = true;
        int e = pthread_create(thread, NULL, run, arg);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (e) {
                *started = false;
                atomic_fetch_sub(&jet->refs, 1);
        }
        return -e;
}

static int begin(struct jet *jet)
{
        struct receiver *r = &jet->receiver;
        struct keeper *k = &jet->keeper;
        int e = start(jet, &r->thread, receiver_run, r, &r->started);
        return e ? e : start(jet, &k->thread, keeper_run, k, &k->started);
}

int nats_open(const struct nats_options *o, struct transport **ret, char *note, size_t note_size)
{
        struct jet *jet = make_jet();
        if (!jet) {
                snprintf(note, note_size, "out of memory or descriptors");
                return -ENOMEM;
        }
        int e = settings_init(&jet->settings, o, note, note_size);
        if (e == 0) {
                e = begin(jet);
                if (e < 0) {
                        snprintf(note, note_size, "cannot start a thread: %s", strerror(-e));
                }
        }
        if (e) {
                close_nats(&jet->base);
                return e;
        }
        *ret = &jet->base;
        return 0;
}
