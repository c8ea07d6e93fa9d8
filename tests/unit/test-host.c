/*
 * The plug-in host with real workers: jobs, verdicts, crashes, recalls, cancels.
 */
#include "tests/unit/test-host-bed.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugins/inner.h"
#include "tests/unit/unit.h"

static struct bed bed;

static void begin(void)
{
        bed_begin(&bed);
}

static void end(void)
{
        bed_remove(&bed);
}

static struct seen *run_one(uint32_t position, const char *type, const char *payload)
{
        return bed_run(&bed, 0, position, type, payload);
}

static void test_runs_jobs(void)
{
        begin();
        struct seen *s = run_one(0, "test.noop", "");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        CU_ASSERT(s->run_ns >= 0 && s->started_wall_us > 0);
        CU_ASSERT_EQUAL(s->result_n, 0);
        s = run_one(1, "test.echo", "hello");
        CU_ASSERT_STRING_EQUAL(s->result, "hello");
        CU_ASSERT_STRING_EQUAL(s->result_type, "text/plain");
        s = run_one(2, "wild.thing.x", "");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        s = run_one(3, "test.tell", "");
        CU_ASSERT_STRING_EQUAL(s->result,
                               "00000000-0000-0000-0400-000000000000|test.tell|default|1|3|2|5|"
                               "red|00-aa-bb-01|hello|hello");
        s = run_one(4, "test.batch", "x");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        CU_ASSERT_STRING_EQUAL(s->text, "one of 1");
        s = run_one(5, "test.batch", "");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        s = run_one(6, "test.look", "");
        CU_ASSERT_PTR_NOT_NULL(strstr(s->result, " 0 variables, own session"));
        end();
}

static void test_refuses_jobs_it_cannot_give(void)
{
        begin();
        struct job j = bed_job(&bed, "no.such.type", "");
        struct job *one[] = {&j};
        CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, one, 1), -ENOENT);
        CU_ASSERT_EQUAL(host_worker_give(bed.h, 7, one, 1), -ESRCH);
        CU_ASSERT_EQUAL(host_worker_spawn(bed.h, 0), -EINVAL);
        CU_ASSERT_EQUAL(host_worker_spawn(bed.h, WORKERS_MAX), -EINVAL);
        end();
}

static void test_carries_payloads_of_any_size(void)
{
        static const uint32_t sizes[] = {0, 1, 15, 16, PAYLOAD_INLINE, PAYLOAD_INLINE + 1, 65536};
        begin();
        char *bytes = malloc(65536);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        for (uint32_t i = 0; i < 65536; i++) {
                bytes[i] = (char)(i * 7); /* NULs among them */
        }
        for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++) {
                struct job j = bed_job(&bed, "test.echo", "");
                struct job *one[] = {&j};
                j.payload = (struct str){bytes, sizes[i]};
                CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, one, 1), 0);
                struct seen *s = bed_wait_verdict(&bed, 0, i);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
                CU_ASSERT_EQUAL(s->result_n, sizes[i]);
                CU_ASSERT(memcmp(s->result, bytes, sizes[i]) == 0);
        }
        free(bytes);
        end();
}

static void test_gives_many_large_payloads_at_once(void)
{
        enum { N = 80 };
        static struct job jobs[N];
        struct job *all[N];
        begin();
        char *bytes = calloc(1, PAYLOAD_INLINE + 100);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        for (int i = 0; i < N; i++) {
                jobs[i] = bed_job(&bed, "test.echo", "");
                jobs[i].payload = (struct str){bytes, i % 2 ? PAYLOAD_INLINE + 100 : 20000};
                all[i] = &jobs[i];
        }
        CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, all, N), 0);
        for (uint32_t i = 0; i < N; i++) {
                struct seen *s = bed_wait_verdict(&bed, 0, i);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT_EQUAL(s->result_n, all[i]->payload.n);
        }
        free(bytes);
        end();
}

static void test_tells_verdicts(void)
{
        begin();
        struct seen *s = run_one(0, "test.say", "1 5000 20");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        CU_ASSERT_EQUAL(s->delay_ms, 5000);
        CU_ASSERT_EQUAL(strlen(s->text), 20);
        s = run_one(1, "test.say", "2 1000 176");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_SNOOZE);
        CU_ASSERT_EQUAL(strlen(s->text), 176);
        s = run_one(2, "test.say", "4 0 3000");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DEAD);
        CU_ASSERT_EQUAL(strlen(s->text), 3000);
        s = run_one(3, "test.say", "3 0 9000");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DISCARD);
        CU_ASSERT_EQUAL(strlen(s->text), ERROR_TEXT_MAX);
        s = run_one(4, "test.say", "17 0 0");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        CU_ASSERT_STRING_EQUAL(s->text, "the handler returned 17, which is no verdict");
        s = run_one(5, "test.say", "?");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        CU_ASSERT(s->delay_ms > 0 && s->delay_ms < INT64_MAX / 1000000);
        end();
}

static void test_goes_round_the_ring(void)
{
        static struct job jobs[RING_SLOTS];
        static char numbers[RING_SLOTS][16];
        struct job *all[RING_SLOTS];
        uint32_t position = 0;
        begin();
        for (int round = 0; round < 3; round++) {
                for (uint32_t i = 0; i < RING_SLOTS; i++) {
                        snprintf(numbers[i], sizeof numbers[i], "%u", position + i);
                        jobs[i] = bed_job(&bed, "test.echo", numbers[i]);
                        all[i] = &jobs[i];
                }
                CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, all, RING_SLOTS), 0);
                CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, all, 1), -ENOSPC);
                for (uint32_t i = 0; i < RING_SLOTS; i++) {
                        struct seen *s = bed_wait_verdict(&bed, 0, position + i);
                        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                        CU_ASSERT_STRING_EQUAL(s->result, numbers[i]);
                }
                position += RING_SLOTS;
        }
        end();
}

static void test_passes_children_on(void)
{
        begin();
        struct seen *s = run_one(0, "test.breed", "3");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s->children);
        CU_ASSERT_EQUAL_FATAL(s->children->n, 3);
        const struct submit_row *r = s->children->rows;
        CU_ASSERT(str_eq(r[0].type, STR("test.noop")));
        CU_ASSERT(str_eq(r[0].key_text, STR("first")) && r[0].key.set && !r[1].key.set);
        CU_ASSERT_EQUAL(r[0].priority, UINT8_MAX);
        CU_ASSERT_EQUAL(r[1].priority, 7);
        CU_ASSERT_EQUAL(r[1].state, STATE_SCHEDULED);
        CU_ASSERT_EQUAL(r[1].after_us, 1500000);
        CU_ASSERT(r[0].at_us == 0 && r[0].deadline_us == 0 && r[2].state == STATE_SCHEDULED);
        CU_ASSERT_EQUAL(r[2].at_us, 4000000000000000);
        CU_ASSERT_EQUAL(r[2].deadline_us, 4000000000000001);
        char parent[JOB_ID_TEXT], all[200];
        struct job_id id = {0}; /* as bed_job() makes them */
        memcpy(id.b + 8, &bed.tokens, sizeof bed.tokens);
        id_text(&id, parent);
        int n = snprintf(all, sizeof all, "job-parent-id%c%s%cx-colour%cred", 0, parent, 0, 0);
        CU_ASSERT(str_eq(r[0].headers, (struct str){all, (uint32_t)n + 1}));
        n = snprintf(
            all, sizeof all,
            "job-parent-id%c%s%cjob-reply-to%canswers%cjob-correlation-id%cc-1%cx-colour%cred", 0,
            parent, 0, 0, 0, 0, 0, 0);
        CU_ASSERT(str_eq(r[2].headers, (struct str){all, (uint32_t)n + 1}));
        CU_ASSERT(!r[0].unique.set && r[0].policy.n == 0 && r[0].heartbeat_ms == 0);
        CU_ASSERT(str_eq(r[2].policy, STR("fixed base=5s attempts=7")));
        CU_ASSERT_EQUAL(r[2].heartbeat_ms, 9000);
        struct unique_wish wish = {STR("only"), SCOPE_TYPE, 0xff, UNIQUE_REPLACE, 60000};
        struct unique_key key;
        CU_ASSERT(unique_states_parse(STR("all"), &wish.states));
        unique_key_of(&wish, r[2].type, r[2].queue, r[2].payload, &key);
        CU_ASSERT(r[2].unique.set && memcmp(r[2].unique.hash, key.hash, sizeof key.hash) == 0);
        CU_ASSERT(r[2].unique.replace && r[2].unique.states == key.states);
        CU_ASSERT_EQUAL(r[2].unique.for_us, INT64_C(60000000));
        CU_ASSERT_EQUAL(r[2].payload.n, 100000);
        CU_ASSERT(r[2].payload.p[99999] == 'c');
        s = run_one(1, "test.breed", "1000");
        CU_ASSERT_PTR_NOT_NULL_FATAL(s->children);
        CU_ASSERT_EQUAL(s->children->n, 1000);
        s = run_one(2, "test.breed", "1001");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DEAD);
        CU_ASSERT_PTR_NULL(s->children);
        end();
}

static void test_saves_checkpoints(void)
{
        begin();
        struct job j = bed_job(&bed, "test.count", "");
        struct job *one[] = {&j};
        j.checkpoint = STR("41");
        CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, one, 1), 0);
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.noop", ""), 0); /* comes before the answer */
        struct seen *s = bed_wait(&bed, HOST_CHECKPOINT, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_STRING_EQUAL(s->text, "42");
        s = bed_wait_verdict(&bed, 0, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_STRING_EQUAL(s->result, "42");
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 0, 1));
        bed.refuse_checkpoints = true;
        s = run_one(2, "test.count", "");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, "not saved: -5"));
        end();
}

static void test_initialises_once(void)
{
        begin();
        struct seen *s = run_one(0, "villain.slow-init", "");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        CU_ASSERT_STRING_EQUAL(s->result, "ready");
        s = run_one(1, "villain.fail-init", "");
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        CU_ASSERT_STRING_EQUAL(s->text, "init: no luck today");
        end();
}

/* --- cancel, recall ------------------------------------------------------------ */

static void test_asks_to_stop(void)
{
        begin();
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.polite", ""), 0);
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.polite", ""), 0);
        for (uint32_t i = 0; i < 2; i++) {
                struct seen *log = bed_wait(&bed, HOST_LOG, 0);
                CU_ASSERT_PTR_NOT_NULL_FATAL(log);
                CU_ASSERT_STRING_EQUAL(log->text, "waiting");
                CU_ASSERT_EQUAL(log->level, 6);
                bed_play(&bed, 30); /* the first one's cancel must not stop the second */
                CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
                host_worker_ask(bed.h, 0, i, 1 + (int)i);
                struct seen *s = bed_wait_verdict(&bed, 0, i);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT_EQUAL(s->verdict, VERDICT_CANCELLED);
                CU_ASSERT_STRING_EQUAL(s->text,
                                       i ? "asked to stop, reason 2" : "asked to stop, reason 1");
        }
        end();
}

static void test_takes_back_what_has_not_started(void)
{
        begin();
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.polite", ""), 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        for (int i = 0; i < 10; i++) {
                CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.echo", "old"), 0);
        }
        CU_ASSERT_EQUAL(host_worker_recall(bed.h, 0, 5), 5);
        CU_ASSERT_EQUAL(host_worker_recall(bed.h, 0, 0), 1); /* 0 has started */
        CU_ASSERT_EQUAL(host_worker_recall(bed.h, 0, 0), 1);
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.echo", "new"), 0);
        host_worker_ask(bed.h, 0, 0, 1);
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 0, 0));
        struct seen *s = bed_wait_verdict(&bed, 0, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_STRING_EQUAL(s->result, "new");
        bed_play(&bed, 30);
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
        end();
}

/* The worker starts jobs while they are taken back: each position ends exactly once, as the job
 * given there last. */
static void test_recalls_while_it_races(void)
{
        enum { N = 40, ROUNDS = 300 };
        static struct job jobs[N];
        static char names[N][32];
        struct job *all[N];
        uint32_t position = 0, taken_back = 0;
        begin();
        for (int round = 0; round < ROUNDS; round++) {
                for (int i = 0; i < N; i++) {
                        snprintf(names[i], sizeof names[i], "%d-%u", round, position + (uint32_t)i);
                        jobs[i] = bed_job(&bed, "test.echo", names[i]);
                        all[i] = &jobs[i];
                }
                CU_ASSERT_EQUAL_FATAL(host_worker_give(bed.h, 0, all, N), 0);
                for (volatile int spin = 0; spin < round % 30 * 1000; spin++) {}
                uint32_t first = host_worker_recall(bed.h, 0, position);
                CU_ASSERT(first - position <= N);
                taken_back += N - (first - position);
                for (uint32_t i = position; i != first; i++) {
                        struct seen *s = bed_wait_verdict(&bed, 0, i);
                        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                        CU_ASSERT_STRING_EQUAL(s->result, names[i - position]);
                }
                CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
                position = first;
        }
        CU_ASSERT(taken_back > 0);
        end();
}

/* --- the loop ------------------------------------------------------------ */

static void test_starts_nothing_past_its_lease(void)
{
        begin();
        host_lease(bed.h, bed_now() - 1);
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.echo", "late"), 0);
        bed_play(&bed, 100);
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
        CU_ASSERT_EQUAL(host_worker_recall(bed.h, 0, 0), 0); /* it did not start */
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.echo", "in time"), 0);
        host_lease(bed.h, bed_now() + 3600 * NS_PER_S);
        struct seen *s = bed_wait_verdict(&bed, 0, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_STRING_EQUAL(s->result, "in time");
        end();
}

/* Built when a handler's struct ended earlier: stepped by its own size, the rest is zero. */
static void test_runs_plugins_of_a_smaller_abi(void)
{
        bed_make(&bed, false);
        bed_install(&bed, "small", "small.so");
        bed_start(&bed);
        bed_serve(&bed, "small.second");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 0));
        CU_ASSERT_STRING_EQUAL(run_one(0, "small.first", "")->result, "first");
        CU_ASSERT_STRING_EQUAL(run_one(1, "small.second", "")->result, "second");
        end();
}

static void test_tells_a_quick_job_before_a_slow_one(void)
{
        struct job jobs[2];
        struct job *all[2] = {&jobs[0], &jobs[1]};
        begin();
        jobs[0] = bed_job(&bed, "test.noop", "");
        jobs[1] = bed_job(&bed, "test.polite", "");
        CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, all, 2), 0);
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 0, 0)); /* while the other runs */
        host_worker_ask(bed.h, 0, 1, 1);
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 0, 1));
        end();
}

static void test_retires(void)
{
        begin();
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.nap", "50"), 0);
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.noop", ""), 0);
        host_worker_retire(bed.h, 0);
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.noop", ""), -ESRCH);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT_EQUAL(gone->gone.how, ERROR_NONE);
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 0, 0));
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 0, 1));
        CU_ASSERT_PTR_NOT_NULL(bed_worker(&bed, 0)); /* the number is free again */
        end();
}

static void test_says_why_it_cannot_start(void)
{
        char note[512] = "";
        struct host *h = NULL;
        bed_make(&bed, false);
        bed.o.worker_program = "/nowhere/skep-worker";
        CU_ASSERT_EQUAL(host_start(&bed.o, &h, note, sizeof note), -ENOENT);
        CU_ASSERT_PTR_NULL(h);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "/nowhere/skep-worker"));
        bed.o.worker_program = WORKER;
        bed.o.state_dir = "/nowhere/state";
        CU_ASSERT_EQUAL(host_start(&bed.o, &h, note, sizeof note), -ENOENT);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "/nowhere/state"));
        bed_remove(&bed);
}

UNIT_TESTS = {
    {"runs jobs", test_runs_jobs},
    {"refuses jobs it cannot give", test_refuses_jobs_it_cannot_give},
    {"carries payloads of any size", test_carries_payloads_of_any_size},
    {"gives many large payloads at once", test_gives_many_large_payloads_at_once},
    {"tells verdicts", test_tells_verdicts},
    {"goes round the ring", test_goes_round_the_ring},
    {"passes children on", test_passes_children_on},
    {"saves checkpoints", test_saves_checkpoints},
    {"initialises once, a failure is a retry", test_initialises_once},
    {"asks to stop", test_asks_to_stop},
    {"takes back what has not started", test_takes_back_what_has_not_started},
    {"recalls while it races", test_recalls_while_it_races},
    {"starts nothing past its lease", test_starts_nothing_past_its_lease},
    {"runs plug-ins of a smaller ABI", test_runs_plugins_of_a_smaller_abi},
    {"tells a quick job before a slow one ends", test_tells_a_quick_job_before_a_slow_one},
    {"retires a worker", test_retires},
    {"says why it cannot start", test_says_why_it_cannot_start},
};
UNIT_MAIN("host")
