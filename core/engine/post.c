/*
 * Everything that goes to the ledger passes here: batches get their commit numbers, a lane with an
 * unknown commit is frozen until its fate is known, and what was refused for a while is posted
 * again later.
 *
 * An unknown commit is never assumed to have happened or not: RESOLVE inserts its number, and the
 * answer says. Duties that are harmless to repeat (beat, due, unpark, fold, bury, prune) are not
 * resolved, just repeated with a new number.
 */
#include "core/engine/inner.h"

static bool worth_resolving(enum ledger_op op)
{
        return op == LEDGER_SUBMIT || op == LEDGER_ARRIVE || op == LEDGER_CLAIM ||
               op == LEDGER_FINISH || op == LEDGER_CANCEL || op == LEDGER_REQUEUE ||
               op == LEDGER_CONTROL || op == LEDGER_SCHEDULE;
}

static void hold_batch(struct engine *e, enum ledger_lane lane, struct ledger_batch *b)
{
        b->next = NULL;
        if (!e->held[lane]) {
                e->held_tail[lane] = &e->held[lane];
        }
        *e->held_tail[lane] = b;
        e->held_tail[lane] = &b->next;
}

bool post_batch(struct engine *e, struct ledger_batch *b)
{
        enum ledger_lane lane = ledger_op_lane(b->op);
        if (ledger_op_numbered(b->op)) {
                if (e->frozen[lane] && worth_resolving(b->op)) {
                        hold_batch(e, lane, b);
                        return true;
                }
                b->no = (struct commit_no){e->holder, lane, ++e->numbers[lane]};
        }
        b->next = NULL;
        b->note[0] = 0;
        struct engine_action *a = engine_act(e, ACT_POST);
        if (!a) {
                ledger_batch_free(b);
                return false;
        }
        a->batch = b;
        return true;
}

static void thaw_lane(struct engine *e, enum ledger_lane lane)
{
        if (--e->frozen[lane] > 0) {
                return;
        }
        struct ledger_batch *b = STEAL(e->held[lane]);
        while (b) {
                struct ledger_batch *next = b->next;
                post_batch(e, b);
                b = next;
        }
}

void post_later(struct engine *e, struct ledger_batch *b, int64_t delay_ns)
{
        b->next = e->later;
        e->later = b;
        e->later_ns = engine_min(e->later_ns, e->now.mono_ns + delay_ns);
}

void post_waiting(struct engine *e)
{
        if (e->now.mono_ns < e->later_ns) {
                return;
        }
        e->later_ns = NEVER;
        struct ledger_batch *b = STEAL(e->later);
        while (b) {
                struct ledger_batch *next = b->next;
                post_batch(e, b);
                b = next;
        }
}

void resolve_batch(struct engine *e, struct ledger_batch *unknown)
{
        if (PLANT(unknown_forgotten) && unknown->op == LEDGER_CLAIM) {
                claim_resolved(e, LEDGER_AS(claim, CLAIM, unknown), false);
                return;
        }
        if (PLANT(unknown_assumed) && unknown->op == LEDGER_FINISH) {
                finish_resolved(e, LEDGER_AS(finish, FINISH, unknown), true);
                return;
        }
        struct ledger_batch *b = ledger_batch_new(LEDGER_RESOLVE);
        if (!b) {
                e->out->out_of_memory = true;
                ledger_batch_free(unknown);
                return;
        }
        LEDGER_AS(resolve, RESOLVE, b)->of = unknown->no;
        b->cookie = unknown;
        e->frozen[unknown->no.writer]++;
        post_batch(e, b);
}

void resolve_answered(struct engine *e, struct ledger_resolve *r)
{
        if (r->base.outcome != LEDGER_COMMITTED) {
                post_later(e, &r->base, 200 * NS_PER_MS);
                return;
        }
        struct ledger_batch *b = r->base.cookie;
        bool happened = r->happened;
        bool forgotten = r->forgotten; /* this node was buried before it could ask: it may have */
        enum ledger_lane lane = r->of.writer;
        ledger_batch_free(&r->base);
        thaw_lane(e, lane);
        switch (b->op) {
        case LEDGER_SUBMIT:
                submit_repeat(e, LEDGER_AS(submit, SUBMIT, b), happened, forgotten);
                break;
        case LEDGER_ARRIVE: arrive_resolved(e, LEDGER_AS(arrive, ARRIVE, b), happened); break;
        case LEDGER_CLAIM: claim_resolved(e, LEDGER_AS(claim, CLAIM, b), happened); break;
        case LEDGER_FINISH: finish_resolved(e, LEDGER_AS(finish, FINISH, b), happened); break;
        case LEDGER_CONTROL:
        case LEDGER_SCHEDULE:
        case LEDGER_BULK: operate_resolved(e, b, happened); break;
        default: operator_resolved(e, b, happened); break;
        }
}

/* Somebody found this node silent for a lease and is rescuing its jobs. Nothing that has not
 * started may start; what runs goes on, and the fence decides whose verdict counts. A new
 * incarnation registers. */
void fence_node(struct engine *e, uint64_t holder)
{
        if (!e->registered || holder != e->holder) { /* an answer to a former incarnation: known */
                return;
        }
        engine_note(e, 4, NULL, "declared dead by another node: registering anew");
        e->registered = false;
        e->register_ns = e->now.mono_ns;
        e->lease_until_ns = 0;
        give_drop_ready(e);
        for (uint32_t w = 0; w < e->workers_top; w++) {
                recall_worker(e, w, e->workers[w].head);
        }
}
