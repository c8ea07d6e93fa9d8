/*
 * A handler tested in its author's own build, with skep/handler_test.h alone: no process, no
 * server.
 */
#include <skep/handler_test.h>

#include "tests/unit/unit.h"

static int init_shout(const struct skep_setup *setup, void **state)
{
        const char *mark = setup->option(setup, "mark");
        if (strlen(mark) != 1) {
                snprintf(setup->reason, setup->reason_size, "\"%s\" is no single mark", mark);
                return -1;
        }
        *state = (void *)mark;
        return 0;
}

static int run_shout(struct skep_job *job, void *state)
{
        const struct skep_services *s = job->services;
        if (s->cancelled(job)) {
                return s->verdict(job, SKEP_CANCELLED, 0, "asked to stop");
        }
        if (job->payload.n == 0) {
                return skep_dead(job, "nothing to shout in job %s", job->id.p);
        }
        char *text = s->alloc(job, job->payload.n + 1);
        if (!text) {
                return skep_retry(job, 1000, "no memory left");
        }
        memcpy(text, job->payload.p, job->payload.n);
        text[job->payload.n] = *(const char *)state;
        s->log(job, 6, "shouting %zu bytes", job->payload.n);
        s->progress(job, 1, 2);
        s->checkpoint_save(job, "half", 4);
        struct skep_child child = {.size = sizeof child, .type = "echo.back"};
        s->enqueue(job, &child);
        s->result(job, s->header(job, "X-Type"), text, job->payload.n + 1);
        return SKEP_DONE;
}

static const struct skep_option options[] = {{"mark", "string", "!", "what ends it"}};
static const struct skep_handler shout = {SKEP_HANDLER, .type = "shout", .init = init_shout,
                                          .run = run_shout, SKEP_OPTIONS(options)};

static struct skep_test t;

static void test_runs(void)
{
        static const char *const headers[] = {"x-type", "text/loud", NULL};
        skep_test_init(&t, "shout", "hey", 3);
        t.headers = headers;
        CU_ASSERT_EQUAL(skep_test_run(&t, &shout), SKEP_DONE);
        CU_ASSERT_STRING_EQUAL(t.result, "hey!");
        CU_ASSERT_STRING_EQUAL(t.result_type, "text/loud");
        CU_ASSERT_STRING_EQUAL(t.log, "shouting 3 bytes");
        CU_ASSERT_STRING_EQUAL(t.child_type, "echo.back");
        CU_ASSERT(t.done == 1 && t.total == 2 && t.n_children == 1 && t.checkpoint_size == 4);
        skep_test_deinit(&t);
}

static void test_says_why(void)
{
        skep_test_init(&t, "shout", "", 0);
        CU_ASSERT_EQUAL(skep_test_run(&t, &shout), SKEP_DEAD);
        CU_ASSERT_PTR_NOT_NULL(strstr(t.reason, "nothing to shout in job 0190163d-"));
        skep_test_deinit(&t);
        skep_test_init(&t, "shout", "hey", 3);
        t.why = SKEP_WHY_SHUTDOWN;
        CU_ASSERT_EQUAL(skep_test_run(&t, &shout), SKEP_CANCELLED);
        skep_test_deinit(&t);
}

static void test_fails_in_init(void)
{
        static const char *const set[] = {"mark", "?!", NULL};
        skep_test_init(&t, "shout", "hey", 3);
        t.options = set;
        CU_ASSERT_EQUAL(skep_test_run(&t, &shout), SKEP_RETRY);
        CU_ASSERT_STRING_EQUAL(t.reason, "\"?!\" is no single mark");
        skep_test_deinit(&t);
}

/* --- batches, checkpoints ------------------------------------------------------------ */

/* Counts its jobs, forgets those without payload; a checkpoint of each says how many there were. */
static void run_all(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                struct skep_job *job = jobs[i];
                struct skep_str before = job->services->checkpoint_load(job);
                char text[32];
                int size = snprintf(text, sizeof text, "%.*s+%zu", (int)before.n,
                                    before.p ? before.p : "", n);
                if (job->services->checkpoint_save(job, text, (size_t)size)) {
                        skep_retry(job, 500, "not saved");
                } else if (job->payload.n) {
                        job->services->verdict(job, SKEP_DONE, 0, NULL);
                }
        }
}

static const struct skep_handler many = {SKEP_HANDLER, .type = "many", .batch_max = 8,
                                         .run_batch = run_all};

static void test_runs_a_batch(void)
{
        static struct skep_test each[3];
        struct skep_test *const all[] = {&each[0], &each[1], &each[2]};
        skep_test_init(&each[0], "many", "a", 1);
        skep_test_init(&each[1], "many", "", 0);
        skep_test_init(&each[2], "many", "c", 1);
        each[2].checkpoint = "1";
        each[2].checkpoint_size = 1;
        CU_ASSERT_EQUAL(skep_test_run_batch(all, 3, &many), 2);
        CU_ASSERT_EQUAL(each[0].verdict, SKEP_DONE);
        CU_ASSERT_STRING_EQUAL(each[0].reason, "");
        CU_ASSERT_EQUAL(each[1].verdict, SKEP_RETRY);
        CU_ASSERT_STRING_EQUAL(each[1].reason, "run_batch() gave no verdict");
        CU_ASSERT_STRING_EQUAL(each[0].checkpoint, "+3");
        CU_ASSERT_STRING_EQUAL(each[2].checkpoint, "1+3");
        for (int i = 0; i < 3; i++) {
                skep_test_deinit(&each[i]);
        }
}

static void test_runs_one_of_a_batch(void)
{
        skep_test_init(&t, "many", "a", 1);
        CU_ASSERT_EQUAL(skep_test_run(&t, &many), SKEP_DONE);
        CU_ASSERT_EQUAL(t.n_saves, 1);
        t.save_fails = -EIO;
        CU_ASSERT_EQUAL(skep_test_run(&t, &many), SKEP_RETRY);
        CU_ASSERT_STRING_EQUAL(t.reason, "not saved");
        CU_ASSERT_EQUAL(t.delay_ms, 500);
        CU_ASSERT_STRING_EQUAL(t.checkpoint, "+1"); /* what was there before */
        skep_test_deinit(&t);
}

UNIT_TESTS = {
    {"runs a handler", test_runs},
    {"says why", test_says_why},
    {"fails in init", test_fails_in_init},
    {"runs a batch", test_runs_a_batch},
    {"runs one of a batch", test_runs_one_of_a_batch},
};
UNIT_MAIN("abi")
