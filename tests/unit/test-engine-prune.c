/*
 * The walk that lets go of old rows: its rules, its pace, and other nodes that walk.
 */
#include "tests/unit/engine-desk.h"

static struct ledger_batch *wait_for_page(struct desk *d, int64_t most_ms, int64_t *ret_ms)
{
        struct ledger_batch *b = take_posted(d, LEDGER_PRUNE);
        int64_t ms = 0;
        for (; !b && ms < most_ms; ms += 100) {
                pass_time(d, 100);
                b = take_posted(d, LEDGER_PRUNE);
                struct ledger_batch *other;
                static const enum ledger_op busy[] = {LEDGER_BEAT, LEDGER_DUE, LEDGER_TIDE,
                                                      LEDGER_FOLD};
                for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
                        while ((other = take_posted(d, busy[i]))) {
                                if (busy[i] == LEDGER_DUE) {
                                        LEDGER_AS(due, DUE, other)->next_us = -1;
                                }
                                answer(d, other, LEDGER_COMMITTED);
                        }
                }
        }
        if (ret_ms) {
                *ret_ms = ms;
        }
        return b;
}

static void test_the_walk_goes_on_where_it_was(void)
{
        struct desk d;
        int64_t ms;
        open_desk(&d);
        d.config.retention = (struct retention){7000000, -1, 5000000};
        d.config.queues[0].retention = (struct retention){.dead_ms = 3000000};
        struct ledger_batch *batch = wait_for_page(&d, 60000, &ms);
        CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
        struct ledger_prune *b = LEDGER_AS(prune, PRUNE, batch);
        CU_ASSERT(!b->has_after && b->n_rules == 4);
        CU_ASSERT(b->rules[0].queue.n && b->rules[0].state == STATE_DEAD &&
                  b->rules[0].keep_us == INT64_C(3000000000));
        CU_ASSERT(b->rules[1].queue.n == 0 && b->rules[1].keep_us == INT64_C(7000000000));
        CU_ASSERT(b->rules[2].state == STATE_DEAD && b->rules[2].keep_us < 0);
        b->done = true;
        b->pruned = 40;
        b->last.b[15] = 9;
        d.now.mono_ns += NS_PER_S; /* it took a second */
        answer(&d, batch, LEDGER_COMMITTED);
        batch = wait_for_page(&d, 60000, &ms);
        CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
        CU_ASSERT(ms >= 8900 && ms <= 9200); /* a tenth of the time */
        b = LEDGER_AS(prune, PRUNE, batch);
        CU_ASSERT(b->has_after && b->after.b[15] == 9);
        b->done = b->end = true;
        answer(&d, batch, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(wait_for_page(&d, 500000, NULL));
        batch = wait_for_page(&d, 200000, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
        CU_ASSERT_FALSE(LEDGER_AS(prune, PRUNE, batch)->has_after);
        struct engine_view v;
        engine_look(d.engine, &v);
        CU_ASSERT_EQUAL(v.pruned, 40);
        ledger_batch_free(batch);
        close_desk(&d);
}

static void test_another_nodes_walk_is_waited_for(void)
{
        struct desk d;
        int64_t ms;
        open_desk(&d);
        d.config.retention.completed_ms = 3600000;
        answer(&d, wait_for_page(&d, 60000, NULL), LEDGER_COMMITTED); /* not done */
        struct ledger_batch *b = wait_for_page(&d, 90000, &ms);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT(ms >= 59000 && ms <= 76000);
        ledger_batch_free(b);
        close_desk(&d);
}

static void test_short_lives_are_walked_often(void)
{
        struct desk d;
        int64_t ms;
        open_desk(&d);
        d.config.retention = (struct retention){7200000, 8000, -1};
        tell(&d, (struct engine_event){.kind = EV_CONFIG, .config = &d.config});
        for (int walk = 0; walk < 3; walk++) {
                struct ledger_batch *b = wait_for_page(&d, 60000, &ms);
                CU_ASSERT_PTR_NOT_NULL_FATAL(b);
                CU_ASSERT(ms >= 7800 && ms <= 8200);
                LEDGER_AS(prune, PRUNE, b)->done = LEDGER_AS(prune, PRUNE, b)->end = true;
                answer(&d, b, LEDGER_COMMITTED);
        }
        d.config.queues[0].retention.completed_ms = 1; /* not more often than this */
        tell(&d, (struct engine_event){.kind = EV_CONFIG, .config = &d.config});
        struct ledger_batch *b = wait_for_page(&d, 60000, &ms);
        CU_ASSERT(b && ms >= 4800 && ms <= 5200);
        ledger_batch_free(b);
        close_desk(&d);
}

static void test_nothing_is_walked_when_all_stays(void)
{
        struct desk d;
        open_desk(&d);
        d.config.retention = (struct retention){-1, -1, -1};
        CU_ASSERT_PTR_NULL(wait_for_page(&d, 700000, NULL));
        close_desk(&d);
}

UNIT_TESTS = {
    {"the walk goes on where it was", test_the_walk_goes_on_where_it_was},
    {"another node's walk is waited for", test_another_nodes_walk_is_waited_for},
    {"short lives are walked often", test_short_lives_are_walked_often},
    {"nothing is walked when all stays", test_nothing_is_walked_when_all_stays},
};
UNIT_MAIN("engine-prune")
