/*
 * A session of a consumer: what of it the server waits for, acknowledged, kept alive or handed
 * back.
 *
 * Acknowledgements are single plain publishes: nothing is acknowledged by another's. A session ends
 * with its connection, and with its stream or consumer: one that was made anew counts from the
 * start, and a late acknowledgement would hit another message of the same number. So what is
 * settled after its session ended is dropped.
 */
#include "transports/nats/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct tap *tap_find(struct receiver *r, uint32_t id)
{
        struct tap *t = r->taps;
        while (t && t->id != id) {
                t = t->next;
        }
        return t;
}

/* --- what is held ----------------------------------------------------------------------------- */

void tap_hold(struct tap *t, struct jet_receipt *receipt, int64_t now)
{
        receipt->held = true;
        receipt->alive_ns = now;
        receipt->newer = NULL;
        receipt->older = t->newest;
        if (t->newest) {
                t->newest->newer = receipt;
        } else {
                t->oldest = receipt;
        }
        t->newest = receipt;
        t->held += receipt->n;
        t->held_bytes += receipt->bytes;
        atomic_store_explicit(&t->post->gauge.held, (unsigned)t->held, memory_order_relaxed);
}

static void let_go(struct tap *t, struct jet_receipt *receipt)
{
        if (receipt->older) {
                receipt->older->newer = receipt->newer;
        } else {
                t->oldest = receipt->newer;
        }
        if (receipt->newer) {
                receipt->newer->older = receipt->older;
        } else {
                t->newest = receipt->older;
        }
        receipt->held = false;
        t->held -= receipt->n;
        t->held_bytes -= receipt->bytes;
        atomic_store_explicit(&t->post->gauge.held, (unsigned)t->held, memory_order_relaxed);
}

/* False: the connection is gone. */
static bool say(struct receiver *r, const struct jet_receipt *receipt, const char *word,
                const char *reply)
{
        const char *p = receipt->acks, *end = receipt->acks + receipt->acks_n;
        int n = (int)strlen(word);
        natsStatus e = r->link ? NATS_OK : NATS_CONNECTION_CLOSED;
        for (; p < end && e == NATS_OK; p += strlen(p) + 1) {
                e = reply ? natsConnection_PublishRequest(r->link->nc, p, reply, word, n)
                          : natsConnection_Publish(r->link->nc, p, word, n);
        }
        return e == NATS_OK;
}

static void acknowledge(struct receiver *r, struct jet_receipt *receipt)
{
        char reply[INBOX_BYTES + 32];
        if (!receipt->base.journalled) {
                (void)say(r, receipt, "+ACK", NULL);
                jet_receipt_drop(&receipt->base);
                return;
        }
        receipt->number = ++r->numbers;
        receipt->answered = 0;
        receipt->base.next = r->proving ? &r->proving->base : NULL;
        r->proving = receipt;
        snprintf(reply, sizeof reply, "%s.r.a.%" PRIu64, r->link->inbox, receipt->number);
        (void)say(r, receipt, "+ACK", reply);
}

void tap_settle(struct receiver *r, struct jet_receipt *receipt)
{
        struct tap *t = tap_find(r, receipt->tap);
        bool ours = t && t->open && receipt->connection == t->connection && r->link;
        if (ours && receipt->held) {
                let_go(t, receipt);
        }
        if (ours && receipt->settled) {
                acknowledge(r, receipt);
                return;
        }
        if (ours) {
                (void)say(r, receipt, "-NAK", NULL);
        }
        jet_receipt_drop(&receipt->base);
}

void tap_prove(struct receiver *r, uint64_t number, bool taken)
{
        struct receipt **at = (struct receipt **)&r->proving;
        while (*at && ((struct jet_receipt *)*at)->number != number) {
                at = &(*at)->next;
        }
        struct jet_receipt *receipt = (struct jet_receipt *)*at;
        if (!receipt || !taken || ++receipt->answered < receipt->n) {
                return;
        }
        *at = receipt->base.next;
        receipt->spent = true;
        desk_confirmed(&r->jet->desk, &receipt->base);
}

/* --- signs of life ---------------------------------------------------------------------------- */

void tap_keep_alive(struct receiver *r, struct tap *t, int64_t now)
{
        while (t->oldest && now - t->oldest->alive_ns >= t->ack_wait_ns / 3) {
                struct jet_receipt *receipt = t->oldest;
                let_go(t, receipt);
                tap_hold(t, receipt, now);
                if (!say(r, receipt, "+WPI", NULL)) {
                        return;
                }
        }
}

int64_t tap_alive_due(const struct tap *t)
{
        return t->oldest ? t->oldest->alive_ns + t->ack_wait_ns / 3 : INT64_MAX;
}

/* --- sessions --------------------------------------------------------------------------------- */

static struct tap *make_tap(struct receiver *r, struct post *post)
{
        struct tap *t = calloc(1, sizeof *t);
        if (!t) {
                desk_note(&r->jet->desk, LEVEL_ERROR, "queue %s: out of memory; it is not served",
                          post->order->name);
                return NULL;
        }
        t->id = post->id;
        t->post = post;
        t->next = r->taps;
        r->taps = t;
        return t;
}

struct tap *tap_open(struct receiver *r, const struct deed *d)
{
        struct tap *t = tap_find(r, d->post->id);
        if (t && t->open && d->anew) {
                tap_close(r, t);
        }
        t = t ? t : make_tap(r, d->post);
        if (!t) {
                return NULL;
        }
        if (t->batch) {
                batch_flush(r, t); /* by the settings that it began with */
        }
        t->order = d->order;
        t->pattern = d->pattern;
        t->ack_wait_ns = d->ack_wait_ns;
        t->history = d->history;
        t->doubted = false;
        t->heard_ns = clock_ns();
        if (!t->open) {
                t->open = true;
                t->connection = ++r->connections;
                t->room_ns = t->heard_ns;
                t->bare = false;
        }
        return t;
}

static void forget_proving(struct receiver *r, uint64_t connection)
{
        struct receipt **at = (struct receipt **)&r->proving;
        while (*at) {
                struct jet_receipt *receipt = (struct jet_receipt *)*at;
                if (receipt->connection == connection) {
                        *at = receipt->base.next;
                        jet_receipt_drop(&receipt->base);
                } else {
                        at = &(*at)->next;
                }
        }
}

void tap_close(struct receiver *r, struct tap *t)
{
        t->open = false;
        pull_forget(r, t, false);
        batch_drop(t);
        while (t->oldest) {
                let_go(t, t->oldest); /* the engine has them */
        }
        forget_proving(r, t->connection);
        desk_lost(&r->jet->desk, t->connection);
}

void tap_free_all(struct receiver *r)
{
        while (r->taps) {
                struct tap *t = r->taps;
                r->taps = t->next;
                free(t);
        }
}
