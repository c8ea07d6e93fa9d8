/*
 * Batches in real workers: gathered from several frames, taken back, asked to stop, crashed.
 */
#include "tests/unit/test-host-bed.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

#define TIMEOUT 2 /* enum skep_why */
#define CANCEL  1

static struct bed bed;

static void begin(void)
{
        bed_make(&bed, false);
        bed_install(&bed, "batch", "batch.so");
        bed_start(&bed);
        bed_serve(&bed, "batch.count");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 0));
}

static void end(void)
{
        bed_remove(&bed);
}

static struct job jobs[RING_SLOTS];
static struct job *all[RING_SLOTS];

/* One job for each payload. */
static void make(const char *type, const char *const *payloads, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                jobs[i] = bed_job(&bed, type, payloads[i]);
                all[i] = &jobs[i];
        }
}

/* Each letter is the payload of a job. */
static void give(uint32_t worker, uint32_t group, const char *type, const char *letters)
{
        static const char *payloads[RING_SLOTS];
        static char texts[RING_SLOTS][2];
        uint32_t n = (uint32_t)strlen(letters);
        for (uint32_t i = 0; i < n; i++) {
                texts[i][0] = letters[i];
                payloads[i] = texts[i];
        }
        make(type, payloads, n);
        CU_ASSERT_EQUAL_FATAL(host_worker_give_batch(bed.h, worker, all, n, group, n), 0);
}

static struct seen *verdict(uint32_t position)
{
        struct seen *s = bed_wait_verdict(&bed, 0, position);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        return s;
}

static void test_describes_batches(void)
{
        begin();
        const struct handler_desc *d =
            &bed.roster->handlers[roster_find(bed.roster, STR("batch.count"))];
        CU_ASSERT_EQUAL(d->batch_max, 512);
        CU_ASSERT_EQUAL(d->batch_wait_ms, 50);
        CU_ASSERT_EQUAL(d->heartbeat_ms, 30000);
        end();
}

static void test_refuses_impossible_batches(void)
{
        bed_make(&bed, false);
        bed_install(&bed, "batch-less", "batch-less.so");
        bed_install(&bed, "batch-huge", "batch-huge.so");
        bed_start(&bed);
        struct seen *s = bed_wait_plugin(&bed, HOST_REFUSED, "batch-less.so");
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, "says batch_max and has no run_batch"));
        s = bed_wait_plugin(&bed, HOST_REFUSED, "batch-huge.so");
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, "batch_max may be at most 512"));
        end();
}

static void test_a_verdict_for_each(void)
{
        begin();
        give(0, 1, "batch.count", "ardsb");
        struct seen *s = verdict(0);
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        CU_ASSERT_STRING_EQUAL(s->result, "number 0 of 5");
        int64_t run_ns = s->run_ns, started = s->started_wall_us;
        unsigned event = s->event_number;
        s = verdict(1);
        CU_ASSERT(s->verdict == VERDICT_RETRY && s->delay_ms == 1000);
        CU_ASSERT_STRING_EQUAL(s->text, "again 1");
        s = verdict(2);
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DEAD);
        s = verdict(3);
        CU_ASSERT(s->verdict == VERDICT_SNOOZE && s->delay_ms == 2000);
        s = verdict(4);
        CU_ASSERT_STRING_EQUAL(s->result, "number 4 of 5");
        CU_ASSERT(s->run_ns == run_ns && s->started_wall_us == started);
        CU_ASSERT_EQUAL(s->event_number, event);
        give(0, 2, "batch.count", "a");
        CU_ASSERT_STRING_EQUAL(verdict(5)->result, "number 0 of 1");
        end();
}

static void test_single_jobs(void)
{
        begin();
        CU_ASSERT_STRING_EQUAL(bed_run(&bed, 0, 0, "batch.count", "a")->result, "number 0 of 1");
        CU_ASSERT_STRING_EQUAL(bed_run(&bed, 0, 1, "batch.both", "a")->result, "alone 0 of 1");
        give(0, 1, "batch.both", "abc");
        CU_ASSERT_STRING_EQUAL(verdict(3)->result, "number 1 of 3");
        end();
}

static void test_muddled_verdicts(void)
{
        begin();
        give(0, 1, "batch.muddle", "aftn");
        CU_ASSERT_EQUAL(verdict(0)->verdict, VERDICT_DONE);
        struct seen *s = verdict(1);
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        CU_ASSERT_STRING_EQUAL(s->text, "run_batch() gave no verdict for this job");
        s = verdict(2);
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        CU_ASSERT_STRING_EQUAL(s->text, "yes");
        s = verdict(3);
        CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
        CU_ASSERT_STRING_EQUAL(s->text, "the handler returned 77, which is no verdict");
        give(0, 2, "batch.count", "ab");
        CU_ASSERT_STRING_EQUAL(verdict(5)->result, "number 1 of 2");
        end();
}

/* As many as there may be, in several frames, some by descriptor; given in two pieces, as at the
 * end of the engine's ring. */
static void test_many_frames(void)
{
        static char bytes[PAYLOAD_INLINE + 100];
        begin();
        for (uint32_t i = 0; i < sizeof bytes; i++) {
                bytes[i] = (char)(i * 7);
        }
        for (uint32_t round = 0; round < 3; round++) {
                uint32_t first = round * RING_SLOTS;
                for (uint32_t i = 0; i < RING_SLOTS; i++) {
                        uint32_t n = i % 50 == 0 ? sizeof bytes : i % 7 == 0 ? 3000 + i : i;
                        jobs[i] = bed_job(&bed, "batch.echo", "");
                        jobs[i].payload = (struct str){bytes, n};
                        all[i] = &jobs[i];
                }
                CU_ASSERT_EQUAL_FATAL(
                    host_worker_give_batch(bed.h, 0, all, 200, round + 1, RING_SLOTS), 0);
                bed_play(&bed, 20);
                CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0)); /* it waits for the rest */
                CU_ASSERT_EQUAL_FATAL(host_worker_give_batch(bed.h, 0, all + 200, RING_SLOTS - 200,
                                                             round + 1, RING_SLOTS),
                                      0);
                uint32_t wrong = 0;
                for (uint32_t i = 0; i < RING_SLOTS; i++) {
                        struct seen *s = verdict(first + i);
                        wrong += s->verdict != VERDICT_DONE || strcmp(s->text, "512") != 0 ||
                                 s->result_n != jobs[i].payload.n ||
                                 memcmp(s->result, bytes, s->result_n) != 0;
                }
                CU_ASSERT_EQUAL(wrong, 0);
        }
        end();
}

static void test_large_parts(void)
{
        begin();
        give(0, 1, "batch.large", "abcdefgh");
        for (uint32_t i = 0; i < 8; i++) {
                struct seen *s = verdict(i);
                CU_ASSERT(s->verdict == VERDICT_DONE && s->result_n == 20000 + i);
                CU_ASSERT(strlen(s->text) == 300 && s->text[0] == (char)('a' + i));
                CU_ASSERT_PTR_NOT_NULL_FATAL(s->children);
                CU_ASSERT(s->children->n == 1 && s->children->rows[0].payload.n == i + 1);
                CU_ASSERT(s->children->rows[0].payload.p[0] == (char)('a' + i));
        }
        end();
}

/* --- deaths ------------------------------------------------------------ */

static void test_a_crash_takes_all_of_them(void)
{
        static const struct {
                const char *letters;
                int signal, exit_code;
        } ends[] = {{"aaxaa", SIGABRT, 0}, {"eaaaa", 0, 3}, {"aaaax", SIGABRT, 0}};
        begin();
        for (uint32_t i = 0; i < ARRAY_LEN(ends); i++) {
                CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, i + 1));
                CU_ASSERT_EQUAL(bed_give(&bed, i + 1, "batch.count", "a"), 0);
                CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, (int)i + 1, 0));
                give(i + 1, 1, "batch.crash", ends[i].letters);
                struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, (int)i + 1);
                CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
                CU_ASSERT(gone->gone.how == ERROR_CRASHED && gone->gone.running);
                CU_ASSERT_EQUAL(gone->gone.signal, ends[i].signal);
                CU_ASSERT_EQUAL(gone->gone.exit_code, ends[i].exit_code);
                CU_ASSERT_EQUAL(gone->gone.position, 1);
                CU_ASSERT_EQUAL(gone->gone.n_running, 5);
                CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, (int)i + 1));
        }
        end();
}

static void test_a_single_job_crashes_alone(void)
{
        begin();
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "batch.crash", "x"), 0);
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "batch.crash", "a"), 0);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT(gone->gone.running && gone->gone.position == 0 && gone->gone.n_running == 1);
        end();
}

static void test_one_that_hangs_is_killed(void)
{
        uint32_t position;
        int64_t since, life;
        begin();
        give(0, 1, "batch.hang", "aaa");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        CU_ASSERT_TRUE(host_worker_running(bed.h, 0, &position, &since, &life));
        CU_ASSERT(position == 0 && since > 0 && life >= since);
        CU_ASSERT_EQUAL(host_worker_recall(bed.h, 0, 0), 3); /* all of them have started */
        host_worker_ask(bed.h, 0, 0, TIMEOUT);
        host_worker_kill(bed.h, 0);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT(gone->gone.running && gone->gone.n_running == 3);
        end();
}

static void test_init_that_fails(void)
{
        begin();
        give(0, 1, "batch.refuse", "abc");
        for (uint32_t i = 0; i < 3; i++) {
                struct seen *s = verdict(i);
                CU_ASSERT_EQUAL(s->verdict, VERDICT_RETRY);
                CU_ASSERT_STRING_EQUAL(s->text, "init: not today");
        }
        end();
}

/* --- asking, taking back ------------------------------------------------------------ */

static void test_asks_one_or_all(void)
{
        begin();
        give(0, 1, "batch.polite", "abcd");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        host_worker_ask(bed.h, 0, 1, CANCEL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0)); /* it heard */
        host_worker_ask(bed.h, 0, 3, CANCEL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        bed_play(&bed, 50);
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0)); /* the others go on */
        host_worker_ask(bed.h, 0, 0, TIMEOUT);
        static const char *const texts[] = {"why 2", "why 1", "why 2", "why 1"};
        for (uint32_t i = 0; i < 4; i++) {
                struct seen *s = verdict(i);
                CU_ASSERT_EQUAL(s->verdict, VERDICT_CANCELLED);
                CU_ASSERT_STRING_EQUAL(s->text, texts[i]);
        }
        give(0, 2, "batch.count", "a"); /* what was asked of the former ones is forgotten */
        CU_ASSERT_STRING_EQUAL(verdict(4)->result, "number 0 of 1");
        end();
}

static void test_takes_back_a_batch(void)
{
        begin();
        give(0, 1, "batch.polite", "a");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        give(0, 2, "batch.count", "abc");
        CU_ASSERT_EQUAL(host_worker_recall(bed.h, 0, 1), 1);
        give(0, 3, "batch.count", "xy");
        host_worker_ask(bed.h, 0, 0, CANCEL);
        verdict(0);
        CU_ASSERT_STRING_EQUAL(verdict(1)->result, "number 0 of 2");
        CU_ASSERT_STRING_EQUAL(verdict(2)->result, "number 1 of 2");
        bed_play(&bed, 30);
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
        end();
}

/* The worker takes them while they are taken back: what it has is run as one, each position ends
 * once. */
static void test_takes_back_while_it_races(void)
{
        enum { N = 40, ROUNDS = 150 }; /* the bed remembers some 8,000 verdicts */
        uint32_t position = 0, taken_back = 0;
        begin();
        for (uint32_t round = 0; round < ROUNDS; round++) {
                char expected[64], letters[N + 1];
                memset(letters, 'a', N);
                letters[N] = 0;
                give(0, round + 1, "batch.count", letters);
                for (int64_t until = bed_now() + round % 30 * 20000; bed_now() < until;) {}
                uint32_t first = host_worker_recall(bed.h, 0, position);
                CU_ASSERT(first - position <= N);
                taken_back += N - (first - position);
                for (uint32_t i = position; i != first; i++) {
                        snprintf(expected, sizeof expected, "number %u of %u", i - position,
                                 first - position);
                        CU_ASSERT_STRING_EQUAL(verdict(i)->result, expected);
                }
                CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
                position = first;
        }
        printf("%u of %u taken back ... ", taken_back, N * ROUNDS);
        end();
}

/* --- what they leave ------------------------------------------------------------ */

static void test_checkpoints_of_each(void)
{
        static const char *const texts[] = {"had 7, save said 0, has 100",
                                            "had -1, save said 0, has 101",
                                            "had 9, save said 0, has 102"};
        static const char *const payloads[] = {"", "", ""};
        begin();
        make("batch.save", payloads, 3);
        jobs[0].checkpoint = STR("7");
        jobs[2].checkpoint = STR("9");
        CU_ASSERT_EQUAL(host_worker_give_batch(bed.h, 0, all, 3, 1, 3), 0);
        for (uint32_t i = 0; i < 3; i++) {
                struct seen *s = bed_wait(&bed, HOST_CHECKPOINT, 0);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT_EQUAL(s->position, i);
        }
        for (uint32_t i = 0; i < 3; i++) {
                CU_ASSERT_STRING_EQUAL(verdict(i)->text, texts[i]);
        }
        bed.refuse_checkpoints = true;
        make("batch.save", payloads, 1);
        jobs[0].checkpoint = STR("7");
        CU_ASSERT_EQUAL(host_worker_give_batch(bed.h, 0, all, 1, 2, 1), 0);
        CU_ASSERT_STRING_EQUAL(verdict(3)->text, "had 7, save said -5, has 7");
        end();
}

/* Each of them has said five words by the time that "working" is logged. */
static void test_tells_the_last_word_of_progress(void)
{
        double done = 0, total = 0;
        uint32_t at = 0;
        begin();
        CU_ASSERT_FALSE(host_worker_progress(bed.h, 0, &at, &done, &total));
        give(0, 1, "batch.polite", "ab");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        for (uint32_t i = 0; i < 2; i++) {
                CU_ASSERT(host_worker_progress(bed.h, 0, &at, &done, &total));
                CU_ASSERT(at == i && done == 5 && total == 10 + i);
        }
        at = 0;
        CU_ASSERT_FALSE(host_worker_progress(bed.h, 0, &at, &done, &total));
        end();
}

UNIT_TESTS = {
    {"describes batches", test_describes_batches},
    {"refuses impossible batches", test_refuses_impossible_batches},
    {"a verdict for each", test_a_verdict_for_each},
    {"single jobs", test_single_jobs},
    {"muddled verdicts", test_muddled_verdicts},
    {"many frames", test_many_frames},
    {"large parts", test_large_parts},
    {"a crash takes all of them", test_a_crash_takes_all_of_them},
    {"a single job crashes alone", test_a_single_job_crashes_alone},
    {"one that hangs is killed", test_one_that_hangs_is_killed},
    {"init that fails", test_init_that_fails},
    {"asks one or all", test_asks_one_or_all},
    {"takes back a batch", test_takes_back_a_batch},
    {"takes back while it races", test_takes_back_while_it_races},
    {"checkpoints of each", test_checkpoints_of_each},
    {"tells the last word of progress", test_tells_the_last_word_of_progress},
};
UNIT_MAIN("host-batch")
