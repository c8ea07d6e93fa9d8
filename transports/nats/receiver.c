/*
 * The receiving thread: one loop over its inbox and the mailbox. A turn sleeps, takes what the
 * engine and the keeper asked for, takes the messages that nats.c delivered, hands batches over,
 * and tends what is due: pull requests, signs of life, doorbells. It never waits for an answer of
 * the server; the only thing that can hold it up is a socket that takes nothing, bounded by the
 * link's deadline.
 */
#include "transports/desk/thread.h"
#include "transports/nats/internal.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH_LARGE 100
#define IDLE_NS     NS_PER_S
#define SWEEP_NS    (20 * NS_PER_MS)
#define PATIENT_NS  NS_PER_MS
#define PATIENCE    128
#define FREED_BYTES (512 << 10)

/* --- deeds ------------------------------------------------------------------------------------ */

static void end_sessions(struct receiver *r)
{
        for (struct tap *t = r->taps; t; t = t->next) {
                if (t->open) {
                        tap_close(r, t);
                }
        }
}

/* DOWN before LOST. */
static void go_down(struct receiver *r, const char *text)
{
        r->up = false;
        desk_side(&r->jet->desk, 0, false, text);
        bells_end(r, true);
        end_sessions(r);
        refused_retry(r, clock_ns());
}

static void leave_link(struct receiver *r)
{
        end_sessions(r);
        pull_sweep(r, true);
        r->link = link_leave(r->link);
}

static void obey(struct receiver *r, struct deed *d)
{
        struct tap *t = d->post ? tap_find(r, d->post->id) : NULL;
        switch (d->kind) {
        case DEED_LINK:
                leave_link(r);
                r->link = d->link;
                r->window.low = r->window.next; /* nothing of the link before is answered now */
                break;
        case DEED_UP:
                r->up = true;
                desk_side(&r->jet->desk, 0, true, d->text);
                break;
        case DEED_DOWN: go_down(r, d->text); break;
        case DEED_LEAVE: leave_link(r); break;
        case DEED_OPEN:
                t = tap_open(r, d);
                if (t) {
                        t->room = r->rooms[t->order->queue];
                }
                break;
        case DEED_CLOSE:
                if (t && t->open) {
                        tap_close(r, t);
                }
                break;
        }
        free(d);
}

struct deed *deed_new(enum deed_kind kind)
{
        struct deed *d = calloc(1, sizeof *d);
        if (d) {
                d->kind = kind;
        }
        return d;
}

void receiver_do(struct jet *jet, struct deed *d)
{
        struct receiver *r = &jet->receiver;
        pthread_mutex_lock(&r->inbox.mutex);
        bool there = !r->inbox.gone;
        if (there) {
                d->next = NULL;
                *r->inbox.deeds_tail = d;
                r->inbox.deeds_tail = &d->next;
        }
        pthread_mutex_unlock(&r->inbox.mutex);
        if (there) {
                desk_wake(r->wake_fd);
                return;
        }
        if (d->kind == DEED_LINK) {
                link_leave(d->link);
        }
        free(d);
}

/* --- the inbox -------------------------------------------------------------------------------- */

static void set_rooms(struct receiver *r, int64_t now)
{
        for (struct tap *t = r->taps; t; t = t->next) {
                uint32_t room = r->rooms[t->order->queue];
                if ((room == 0) != (t->room == 0)) {
                        t->room_ns = now;
                        t->heard_ns = now;
                }
                t->room = room;
        }
}

struct taken {
        struct jet_receipt *receipts;
        struct doorbells *bells;
        struct replies *replies;
        struct deed *deeds;
};

static struct taken empty_inbox(struct receiver *r, bool *ret_rooms)
{
        pthread_mutex_lock(&r->inbox.mutex);
        struct taken t = {r->inbox.receipts, r->inbox.bells, r->inbox.replies, r->inbox.deeds};
        r->inbox.receipts = NULL;
        r->inbox.receipts_tail = &r->inbox.receipts;
        r->inbox.bells = NULL;
        r->inbox.bells_tail = &r->inbox.bells;
        r->inbox.replies = NULL;
        r->inbox.replies_tail = &r->inbox.replies;
        r->inbox.deeds = NULL;
        r->inbox.deeds_tail = &r->inbox.deeds;
        *ret_rooms = r->inbox.rooms_changed;
        r->inbox.rooms_changed = false;
        if (*ret_rooms) {
                memcpy(r->rooms, r->inbox.rooms, sizeof r->rooms);
        }
        r->stopping = r->inbox.stop;
        pthread_mutex_unlock(&r->inbox.mutex);
        return t;
}

static void take_inbox(struct receiver *r)
{
        bool rooms;
        struct taken t = empty_inbox(r, &rooms);
        while (t.deeds) {
                struct deed *next = t.deeds->next;
                obey(r, t.deeds);
                t.deeds = next;
        }
        if (rooms) {
                set_rooms(r, clock_ns());
        }
        while (t.receipts) {
                struct jet_receipt *next = (struct jet_receipt *)t.receipts->base.next;
                tap_settle(r, t.receipts);
                t.receipts = next;
        }
        while (t.bells) {
                struct doorbells *next = t.bells->next;
                bells_add(r, t.bells);
                t.bells = next;
        }
        while (t.replies) {
                struct replies *next = t.replies->next;
                bells_add_replies(r, t.replies);
                t.replies = next;
        }
}

/* --- mail ------------------------------------------------------------------------------------- */

/* "INBOX.r.b.17": a doorbell's, "INBOX.r.a.17": an acknowledgement's. */
static void take_answer(struct receiver *r, natsMsg *msg)
{
        const char *subject = natsMsg_GetSubject(msg);
        const char *number = strrchr(subject, '.');
        if (number && number - subject > 2) {
                uint64_t n = strtoull(number + 1, NULL, 10);
                if (number[-1] == 'b') {
                        bells_answered(r, n, msg);
                } else {
                        tap_prove(r, n, !natsMsg_IsNoResponders(msg));
                }
        }
}

/* Of a connection or a session that is gone: the server sends it again. */
static void take_mail(struct receiver *r, struct mail *m, int64_t now)
{
        bool current = r->link && r->link->number == m->link;
        struct tap *t = current && m->ear != EAR_ANSWERS ? tap_find(r, m->ear) : NULL;
        if (current && m->ear == EAR_ANSWERS) {
                take_answer(r, m->msg);
        } else if (t && t->open && letter_is_one(m->msg)) {
                deliver(r, t, m->msg, now);
        } else if (t && t->open) {
                pull_status(r, t, m->msg, now);
        }
}

/* In full flow being rung for every few letters costs more than they do: then the receiver looks by
 * itself, and batches wait for more. */
static bool gauge_flow(struct receiver *r, int64_t now)
{
        bool full = false;
        for (struct tap *t = r->taps; t; t = t->next) {
                if (now - t->came_ns >= LINGER_NS) {
                        t->full = t->came >= BATCH_LARGE && now - t->came_ns < 2 * LINGER_NS;
                        t->came = 0;
                        t->came_ns = now;
                }
                full = full || t->full;
        }
        return full;
}

static uint32_t swap_mail(struct receiver *r)
{
        struct mailbox *box = &r->mailbox;
        bool full = gauge_flow(r, clock_ns());
        pthread_mutex_lock(&box->mutex);
        struct mail *items = box->items;
        uint32_t n = box->n, capacity = box->capacity;
        r->patient = full && n > 0;
        box->patience = r->patient ? PATIENCE : 0;
        box->items = r->mail;
        box->capacity = r->mail_capacity;
        box->n = 0;
        pthread_mutex_unlock(&box->mutex);
        r->mail = items;
        r->mail_capacity = capacity;
        return n;
}

/* Messages are freed together, many or large ones: nats.c does it on a thread of its own, which is
 * woken for each one that comes while it sleeps (measured: a switch of threads for every third
 * letter). */
static uint32_t take_all_mail(struct receiver *r)
{
        uint32_t n = swap_mail(r), freed = 0;
        int64_t now = n ? clock_ns() : 0, bytes = 0;
        for (uint32_t i = 0; i < n; i++) {
                take_mail(r, &r->mail[i], now);
                bytes += natsMsg_GetDataLength(r->mail[i].msg);
                for (; freed <= i && (bytes >= FREED_BYTES || i + 1 == n); freed++) {
                        natsMsg_Destroy(r->mail[freed].msg);
                }
                bytes = freed > i ? 0 : bytes;
        }
        return n;
}

/* --- turns ------------------------------------------------------------------------------------ */

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

static int64_t next_due(const struct receiver *r, int64_t now)
{
        int64_t at = now + (r->patient ? PATIENT_NS : IDLE_NS);
        for (const struct tap *t = r->taps; t; t = t->next) {
                if (t->batch) {
                        at = earlier(at, t->batch_ns + LINGER_NS);
                }
                at = earlier(at, tap_alive_due(t));
                at = earlier(at, pull_due(t, now));
        }
        return r->hushes ? earlier(at, now + SWEEP_NS) : at;
}

static void sleep_until(struct receiver *r, int64_t at)
{
        int64_t left = at - clock_ns();
        left = left < 0 ? 0 : left;
        struct timespec ts = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
        struct pollfd fd = {.fd = r->wake_fd, .events = POLLIN};
        uint64_t count;
        if (ppoll(&fd, 1, &ts, NULL) > 0) {
                ssize_t n = read(r->wake_fd, &count, sizeof count);
                (void)n;
        }
}

/* A batch waits for more only when the flow is full. */
static void flush(struct receiver *r, int64_t now)
{
        for (struct tap *t = r->taps; t; t = t->next) {
                if (t->batch && (!t->full || now - t->batch_ns >= LINGER_NS)) {
                        batch_flush(r, t);
                }
        }
}

static void turn(struct receiver *r)
{
        sleep_until(r, next_due(r, clock_ns()));
        take_inbox(r);
        (void)take_all_mail(r);
        int64_t now = clock_ns();
        flush(r, now);
        refused_retry(r, now);
        for (struct tap *t = r->taps; t; t = t->next) {
                tap_keep_alive(r, t, now);
                pull_tend(r, t, now);
        }
        bells_send(r);
        bells_end(r, false);
        pull_sweep(r, false);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Messages that nobody will look at any more go back at once. */
static void hand_back_mail(struct receiver *r)
{
        uint32_t n = swap_mail(r);
        for (uint32_t i = 0; i < n; i++) {
                natsMsg *msg = r->mail[i].msg;
                if (r->link && r->link->number == r->mail[i].link && letter_is_one(msg)) {
                        (void)natsConnection_Publish(r->link->nc, natsMsg_GetReply(msg), "-NAK", 4);
                }
                natsMsg_Destroy(msg);
        }
}

static void wind_up(struct receiver *r)
{
        for (struct tap *t = r->taps; t; t = t->next) {
                pull_forget(r, t, false); /* nothing more is delivered */
        }
        for (struct tap *t = r->taps; t; t = t->next) {
                if (t->batch) {
                        t->batch->receipt = r->jet->desk.drop(t->batch->receipt);
                        t->batch = arrivals_free(t->batch);
                }
        }
        bells_end(r, true);
        while (r->retries) {
                struct oversize *next = r->retries->next;
                refused_free(r->retries);
                r->retries = next;
        }
        take_inbox(r); /* what was given back just now too */
        hand_back_mail(r);
        if (r->link) {
                natsConnection_Close(r->link->nc); /* the keeper may be waiting for an answer */
        }
}

/* From here on receipts are freed by whoever has them. */
static void vanish(struct receiver *r)
{
        pthread_mutex_lock(&r->inbox.mutex);
        r->inbox.gone = true;
        pthread_mutex_unlock(&r->inbox.mutex);
        take_inbox(r);
        leave_link(r);
        bells_end(r, true);
        tap_free_all(r);
        free(r->mail);
        arena_deinit(&r->letter.scratch);
}

void *receiver_run(void *arg)
{
        struct receiver *r = arg;
        struct jet *jet = r->jet;
        thread_yield_wakeups();
        r->window.low = r->window.next = 1;
        while (!r->stopping) {
                turn(r);
        }
        wind_up(r);
        vanish(r);
        jet_unref(jet);
        return NULL;
}
