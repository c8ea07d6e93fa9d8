/*
 * Queues: how long they are, what goes when one is over its bound, and what operators set for them.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/store.h"

uint32_t store_waiting(const struct store_queue *q)
{
        return q->counts[STATE_PENDING] + q->counts[STATE_SCHEDULED] + q->counts[STATE_RETRYING];
}

/* The oldest pending row that is not to go already; NULL: none. */
struct store_job *store_oldest(const struct store_queue *q, const struct store_job *but)
{
        struct store_job *first = NULL;
        for (uint32_t i = 0; i < q->lanes.n; i++) {
                struct store_job *j = q->lanes.list[i].job;
                bool older = !first || j->seq < first->seq;
                first = j != but && !j->doomed && older ? j : first;
        }
        return first;
}

/* --- controls ----------------------------------------------------------------------------- */

static struct queue_control control_of(const struct store_queue *q, struct str name)
{
        struct queue_control none = {
            .queue = name, .concurrency = CONTROL_UNSET, .global = CONTROL_UNSET};
        return q && q->controlled ? q->control : none;
}

void store_apply_control(struct store *s, struct ledger_control *b)
{
        struct store_queue *q = store_queue_of(s, b->control.queue, b->set != 0);
        struct queue_control c = control_of(q, b->control.queue);
        c.paused = b->set & CONTROL_PAUSED ? b->control.paused : c.paused;
        c.concurrency = b->set & CONTROL_CONCURRENCY ? b->control.concurrency : c.concurrency;
        c.global = b->set & CONTROL_GLOBAL ? b->control.global : c.global;
        b->control = c;
        b->control.queue = arena_str(&b->base.arena, c.queue);
        if (b->set) {
                q->control = c;
                q->control.queue = q->name;
                q->controlled =
                    c.paused || c.concurrency != CONTROL_UNSET || c.global != CONTROL_UNSET;
        }
}

void store_list_controls(const struct store *s, struct ledger_beat *b)
{
        uint32_t n = 0;
        for (const struct store_queue *q = s->queues; q; q = q->next) {
                n += q->controlled;
        }
        b->n_controls = 0;
        b->controls = arena_alloc(&b->base.arena, (n + 1) * sizeof *b->controls);
        assert(b->controls);
        for (const struct store_queue *q = s->queues; q; q = q->next) {
                if (q->controlled) {
                        struct queue_control *c = &b->controls[b->n_controls++];
                        *c = q->control;
                        c->queue = arena_str(&b->base.arena, q->name);
                }
        }
}
