/*
 * Jobs that were claimed ahead because others of their queue were fast, when they turn out slow.
 */
#include "tests/unit/engine-queues.h"

/* The next beat tells of one other node, or of none. */
static void beat_with(struct desk *d, uint32_t others)
{
        struct ledger_batch *b = next_beat(d);
        struct ledger_beat *beat = LEDGER_AS(beat, BEAT, b);
        beat->nodes = arena_zalloc(&b->arena, 2 * sizeof *beat->nodes);
        beat->nodes[0] = (struct node_seen){.holder = b->no.holder, .beat = 1};
        beat->nodes[1] = (struct node_seen){.holder = b->no.holder + 1, .beat = 1};
        beat->n_nodes = 1 + others;
        answer(d, b, LEDGER_COMMITTED);
}

static void run_since(struct desk *d, uint32_t worker, uint32_t position, int64_t ms)
{
        struct engine_event ev = {.kind = EV_SEEN};
        ev.seen.worker = worker;
        ev.seen.running = true;
        ev.seen.position = position;
        ev.seen.since_ns = d->now.mono_ns - ms * NS_PER_MS;
        ev.seen.life_ns = d->now.mono_ns;
        tell(d, ev);
}

static void nothing_to_claim(struct desk *d)
{
        for (struct ledger_batch *b; (b = take_posted(d, LEDGER_CLAIM));) {
                answer(d, b, LEDGER_COMMITTED);
        }
}

/* One worker that has taken its jobs for fast ones, and has claimed forty. */
static void open_hoarder(struct desk *d, uint32_t others)
{
        open_desk_with(d, noop, 1, NULL);
        claim_jobs(d, 1);
        end_jobs(d, 0, 1, VERDICT_DONE);
        beat_with(d, others);
        answer(d, take_posted(d, LEDGER_FINISH), LEDGER_COMMITTED);
        claim_jobs(d, 40);
        nothing_to_claim(d);
        run_since(d, 0, 1, 400);
        pass_time(d, 100);
        const struct engine_action *recall = told(d, ACT_RECALL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(recall);
        engine_recalled(d->engine, 0, 2);
        run_since(d, 0, 1, 500);
        pass_time(d, 100);
        pass_time(d, 30);
        nothing_to_claim(d); /* asked for before it was known */
}

static void test_what_is_not_got_to_goes_back(void)
{
        struct desk d;
        open_hoarder(&d, 1);
        struct ledger_batch *f = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        struct ledger_finish *back = LEDGER_AS(finish, FINISH, f);
        CU_ASSERT_EQUAL(back->n, 39);
        CU_ASSERT(back->rows[0].to == STATE_PENDING && back->rows[0].attempt == 0);
        answer(&d, f, LEDGER_COMMITTED);
        tell(&d, (struct engine_event){.kind = EV_HEARD});
        pass_time(&d, 10);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM)); /* no worker could begin it */
        end_jobs(&d, 1, 1, VERDICT_DONE);
        pass_time(&d, 30);
        struct ledger_batch *c = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(c);
        answer(&d, c, LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_a_lonely_node_keeps_them(void)
{
        struct desk d;
        open_hoarder(&d, 0);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_FINISH));
        end_jobs(&d, 1, 1, VERDICT_DONE);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_GIVE));
        close_desk(&d);
}

static void test_one_worker_gets_on(void)
{
        struct desk d;
        open_desk_with(&d, noop, 2, NULL);
        claim_jobs(&d, 2);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        beat_with(&d, 1);
        answer(&d, take_posted(&d, LEDGER_FINISH), LEDGER_COMMITTED);
        claim_jobs(&d, 40);
        run_since(&d, 0, 1, 10);
        run_since(&d, 1, 0, 400);
        pass_time(&d, 100);
        pass_time(&d, 30);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_FINISH));
        close_desk(&d);
}

UNIT_TESTS = {
    {"what is not got to goes back", test_what_is_not_got_to_goes_back},
    {"a lonely node keeps them", test_a_lonely_node_keeps_them},
    {"one worker gets on", test_one_worker_gets_on},
};
UNIT_MAIN("engine-hoard")
