/*
 * Limits over all nodes, and queues that may be so long and no longer.
 */
#include "core/defaults.h"
#include "tests/unit/engine-queues.h"

/* --- a limit over all nodes ------------------------------------------------------------------- */

static void limited(struct config *c)
{
        brokered(c);
        c->queues[0].global = 2;
}

static void test_a_global_limit(void)
{
        struct desk d;
        open_desk_with(&d, noop, 4, limited);
        transport_up(&d);
        CU_ASSERT(look(&d).taken_in && look(&d).global == 2);
        struct ledger_arrive *a = arrive(&d, 5); /* nothing starts as it arrives */
        CU_ASSERT_EQUAL(count_started(a), 0);
        answer(&d, &a->base, LEDGER_COMMITTED);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_FATAL(b != NULL);
        CU_ASSERT(LEDGER_AS(claim, CLAIM, b)->want == 2 && LEDGER_AS(claim, CLAIM, b)->global == 2);
        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 1); /* another node has one */
        LEDGER_AS(claim, CLAIM, b)->limited = true;
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT(look(&d).limited);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        pass_time(&d, 101); /* asked again soon */
        b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_FATAL(b != NULL);
        CU_ASSERT_EQUAL(LEDGER_AS(claim, CLAIM, b)->want, 1);
        LEDGER_AS(claim, CLAIM, b)->limited = true;
        answer(&d, b, LEDGER_COMMITTED);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM)); /* its end is not written yet */
        answer(&d, take_posted(&d, LEDGER_FINISH), LEDGER_COMMITTED);
        b = take_posted(&d, LEDGER_CLAIM); /* now there is room, and it is known here */
        CU_ASSERT_FATAL(b != NULL);
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT(!look(&d).limited);
        struct queue_control off = control(false, CONTROL_UNSET, 0);
        beat(&d, &off);
        CU_ASSERT(!look(&d).taken_in && look(&d).global == 0);
        close_desk(&d);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void bounded(struct config *c)
{
        brokered(c);
        c->queues[0].max_waiting = 100;
}

static void dropping(struct config *c)
{
        bounded(c);
        c->queues[0].when_full = FULL_DROP_OLDEST;
}

static struct submission *one_row(void)
{
        struct submission *s = submission_new();
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        s->rows = arena_zalloc(&s->arena, sizeof *s->rows);
        s->n = 1;
        s->rows[0] = (struct submit_row){.queue = STR("default"),
                                         .type = STR("noop"),
                                         .state = STATE_PENDING,
                                         .priority = ROW_PRIORITY_UNSET};
        s->rows[0].id.b[0] = 1;
        return s;
}

static void test_submissions_carry_the_bound(void)
{
        struct desk d;
        for (int drop = 0; drop < 2; drop++) {
                open_desk_with(&d, noop, 1, drop ? dropping : bounded);
                transport_up(&d);
                tell(&d, (struct engine_event){.kind = EV_SUBMIT, .submissions = one_row()});
                struct ledger_batch *b = take_posted(&d, LEDGER_SUBMIT);
                struct ledger_submit *s = LEDGER_AS(submit, SUBMIT, b);
                CU_ASSERT_FATAL(s->n_bounds == 1);
                CU_ASSERT(str_eq(s->bounds[0].queue, STR("default")) && s->bounds[0].max == 100);
                CU_ASSERT(s->bounds[0].drop_oldest == drop);
                CU_ASSERT(s->list->rows[0].priority == 5 && s->list->rows[0].max_attempts == 3);
                /* a queue that may close its broker's door must not have its jobs behind it */
                CU_ASSERT(s->list->rows[0].band == (drop ? BAND_BROKER : BAND_OFFERED));
                s->list->rows[0].result = SUBMIT_FULL;
                answer(&d, b, LEDGER_COMMITTED);
                const struct engine_action *a = told(&d, ACT_ANSWER);
                CU_ASSERT_FATAL(a != NULL);
                submission_free(a->submission);
                struct ledger_arrive *ar = arrive(&d, 1);
                CU_ASSERT_EQUAL(ar->drop_above, drop ? 100u : 0u);
                answer(&d, &ar->base, LEDGER_COMMITTED);
                close_desk(&d);
        }
        open_desk(&d);
        tell(&d, (struct engine_event){.kind = EV_SUBMIT, .submissions = one_row()});
        struct ledger_batch *b = take_posted(&d, LEDGER_SUBMIT);
        CU_ASSERT(LEDGER_AS(submit, SUBMIT, b)->n_bounds == 0);
        CU_ASSERT_PTR_NULL(LEDGER_AS(submit, SUBMIT, b)->bounds);
        submission_free(LEDGER_AS(submit, SUBMIT, b)->list);
        ledger_batch_free(b);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_STATS)); /* nobody counts where nobody asks */
        close_desk(&d);
}

static void count(struct desk *d, uint64_t pending, uint64_t retrying)
{
        struct ledger_batch *b = NULL;
        for (int i = 0; i < 20 && !b; i++) {
                pass_time(d, 100);
                b = take_posted(d, LEDGER_STATS);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct ledger_stats *s = LEDGER_AS(stats, STATS, b);
        s->queues = arena_zalloc(&b->arena, sizeof *s->queues);
        s->queues[0].queue = STR("default");
        s->queues[0].jobs[STATE_PENDING] = pending;
        s->queues[0].jobs[STATE_RETRYING] = retrying;
        s->queues[0].jobs[STATE_RUNNING] = 500;
        s->n = 1;
        answer(d, b, LEDGER_COMMITTED);
}

static void test_a_full_queue_is_not_consumed(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, bounded);
        transport_up(&d);
        count(&d, 60, 38);
        CU_ASSERT(look(&d).not_consumed.n == 0);
        struct ledger_arrive *a = arrive(&d, 3); /* counted on between two looks */
        for (uint32_t i = 0; i < 3; i++) {
                CU_ASSERT(!a->list->items[i].start);
        }
        answer(&d, &a->base, LEDGER_COMMITTED);
        const struct engine_action *consume = told(&d, ACT_CONSUME);
        CU_ASSERT(consume && consume->n == 0);
        CU_ASSERT(str_eq(look(&d).not_consumed, STR("as many of its jobs wait as may")));
        count(&d, 91, 0); /* less, but not by a tenth */
        CU_ASSERT(look(&d).not_consumed.n > 0);
        count(&d, 89, 0);
        consume = told(&d, ACT_CONSUME);
        CU_ASSERT(consume && consume->n > 0);
        CU_ASSERT(look(&d).not_consumed.n == 0);
        close_desk(&d);
}

UNIT_TESTS = {
    {"a limit over all nodes", test_a_global_limit},
    {"submissions and letters carry the bound", test_submissions_carry_the_bound},
    {"a full queue is not consumed", test_a_full_queue_is_not_consumed},
};
UNIT_MAIN("engine-limits")
