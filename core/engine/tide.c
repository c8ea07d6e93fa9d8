/*
 * The tide: what a broker lost is found without publishing it again.
 *
 * A broker queue is nearly first in, first out. When a doorbell or mark with seq S has come in, the
 * rows with a smaller seq that still wait for theirs were passed over; so was everything when the
 * broker said twice in a row that it holds nothing for the queue, or cannot be reached for ten
 * seconds, or nothing is consumed since the queue is as long as it may be. Those rows are offered
 * from the ledger instead. A doorbell that comes late is dropped. A long queue triggers nothing:
 * its head has a smaller seq than all that wait behind it.
 */
#include "core/engine/inner.h"

#define TIDE_EVERY (5 * NS_PER_S)
#define ASTRAY_EVERY                                                                               \
        (60 * NS_PER_S) /* rows that wait for doorbells in a queue without transport               \
                         */
#define MARK_EVERY  (30 * NS_PER_S)
#define DOWN_LONG   (10 * NS_PER_S)
#define TIDE_LIMIT  1000
#define RETRY_AFTER (500 * NS_PER_MS)

static bool broker_lost_all(const struct engine *e, const struct queue_books *q)
{
        return q->transport.n == 0 || q->empty >= 2 || q->full || queue_down_for(e, q, DOWN_LONG);
}

static void post_tide(struct engine *e, struct queue_books *q)
{
        struct ledger_batch *batch = ledger_batch_new(LEDGER_TIDE);
        q->tide_ns = e->now.mono_ns + (q->transport.n ? TIDE_EVERY : ASTRAY_EVERY);
        if (!batch) {
                return;
        }
        struct ledger_tide *b = LEDGER_AS(tide, TIDE, batch);
        b->queue = q->name;
        b->below = broker_lost_all(e, q) ? INT64_MAX : q->tide_seq;
        b->older_us = TIDE_OLDER_US;
        b->limit = PLANT(tide_still) ? 0 : TIDE_LIMIT;
        q->tide_posted = post_batch(e, batch);
}

static bool tide_takes_part(const struct queue_books *q)
{
        return !q->gone && !q->tide_posted;
}

void tide_pump(struct engine *e)
{
        for (uint32_t i = 0; e->registered && !e->draining && i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                if (tide_takes_part(q) && e->now.mono_ns >= q->tide_ns) {
                        post_tide(e, q);
                }
        }
}

int64_t tide_wake_ns(const struct engine *e)
{
        int64_t at = NEVER;
        for (uint32_t i = 0; e->registered && !e->draining && i < e->n_queues; i++) {
                const struct queue_books *q = &e->queues[i];
                at = engine_min(at, tide_takes_part(q) ? q->tide_ns : NEVER);
        }
        return at;
}

/* Rows wait and no doorbell comes by: a mark goes through the queue and tells on its way out. */
static void ring_mark(struct engine *e, struct queue_books *q, int64_t seq)
{
        bool comes = queue_up(e, q) && !q->paused; /* else marks would only gather there */
        if (PLANT(mark_never) || !comes || e->now.mono_ns < q->mark_ns) {
                return;
        }
        struct doorbell mark = {.seq = seq + 1};
        if (ring_bells(e, (uint32_t)(q - e->queues), &mark, 1, 0)) {
                q->mark_ns = e->now.mono_ns + MARK_EVERY;
        }
}

void tide_answered(struct engine *e, struct ledger_tide *b)
{
        struct queue_books *q = &e->queues[queue_find(e, b->queue)];
        q->tide_posted = false;
        if (b->base.outcome != LEDGER_COMMITTED) {
                q->tide_ns = e->now.mono_ns + RETRY_AFTER;
                ledger_batch_free(&b->base);
                return;
        }
        if (b->moved) {
                q->may_have_work = true;
                q->backlog += b->moved;
                e->dirty = true;
                e->view.tide += b->moved;
                engine_note(e, 5, NULL,
                            "queue %.*s: %u jobs that the broker passed over are offered from the "
                            "ledger",
                            (int)q->name.n, q->name.p, b->moved);
        }
        if (b->more) { /* page by page, as fast as they are claimed */
                q->tide_ns = e->now.mono_ns + (q->backlog < CLAIMED_MAX ? 0 : NS_PER_S);
        } else if (b->below == INT64_MAX) {
                q->empty = 0;
        }
        if (b->waiting) {
                ring_mark(e, q, b->last);
        }
        ledger_batch_free(&b->base);
}
