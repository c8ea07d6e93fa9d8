/*
 * Operators' writes to controls, schedules and pages of many jobs: posted as they came, and given
 * back when their outcome is known.
 *
 * An unknown commit is resolved first, then the same write is posted again: it sets what shall
 * hold, so that twice is as good as once. Only a SCHEDULE that expects a revision can fail the
 * second time because the first went through; then what stands is compared with what was asked for.
 * It must never be answered "not done" what was done. Discarded: to answer from the resolution
 * alone, which does not know what now holds.
 */
#include "core/engine/inner.h"

void operate_arrived(struct engine *e, struct ledger_batch *b)
{
        post_batch(e, b);
}

/* The first write went through: what stands may be its own work. */
static void compare_repeated(struct ledger_schedule *s)
{
        if (!s->repeated || s->done) {
                return;
        }
        s->done = s->drop ? !s->found : s->found && schedule_row_same(&s->stands, &s->row);
        if (s->done && !s->drop) {
                s->row = s->stands;
        }
}

static void after_operated(struct engine *e, struct ledger_batch *b)
{
        if (b->op == LEDGER_SCHEDULE) {
                compare_repeated(LEDGER_AS(schedule, SCHEDULE, b));
        } else if (b->op == LEDGER_BULK) {
                e->dirty = true;
                claim_hint_all(e);
        }
        e->beat_ns = engine_min(e->beat_ns, e->now.mono_ns); /* it tells what now holds */
        e->beat_again |= e->beating;
}

void operate_back(struct engine *e, struct ledger_batch *b)
{
        if (!operator_knows(e, b)) {
                return;
        }
        if (b->outcome == LEDGER_COMMITTED) {
                after_operated(e, b);
        }
        struct engine_action *a = engine_act(e, ACT_OPERATED);
        if (a) {
                a->batch = b;
                a->cookie = b->cookie;
        } else {
                ledger_batch_free(b);
        }
}

/* Again, whether it happened or not: the answer says what holds. */
void operate_resolved(struct engine *e, struct ledger_batch *b, bool happened)
{
        if (b->op == LEDGER_SCHEDULE) {
                struct ledger_schedule *s = LEDGER_AS(schedule, SCHEDULE, b);
                s->repeated |= happened && s->expected != SCHEDULE_ANY;
        }
        post_batch(e, b);
}
