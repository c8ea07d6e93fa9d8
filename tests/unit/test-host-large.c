/*
 * Large payloads on their way to real workers: by the belt, in order, some waiting for room; with
 * handlers that keep, write to and die over them.
 */
#include "tests/unit/test-host-bed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "plugins/inner.h"
#include "tests/unit/unit.h"

#define MANY  300
#define USUAL (64u << 10)
#define BYTES ((1u << 20) + 300)

static struct bed bed;
static char *bytes; /* each is its place, modulo 256 */
static struct job jobs[RING_SLOTS];
static struct job *all[RING_SLOTS];

static void begin(void)
{
        bed_make(&bed, false);
        bed_install(&bed, "large", "large.so");
        bed_install(&bed, "good", "good.so");
        bed_install(&bed, "scribble", "scribble.so");
        bed_start(&bed);
        bed_serve(&bed, "large.look");
        bed_serve(&bed, "test.echo");
        bed_serve(&bed, "villain.scribble");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 0));
        bytes = malloc(BYTES);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        for (uint32_t i = 0; i < BYTES; i++) {
                bytes[i] = (char)i;
        }
}

static void end(void)
{
        bed_remove(&bed);
        free(bytes);
}

/* Payload `number` begins with another byte than its neighbours. */
static void make_job(uint32_t i, const char *type, uint32_t number, uint32_t size)
{
        jobs[i] = bed_job(&bed, type, "");
        jobs[i].payload = (struct str){bytes + number % 256, size};
        all[i] = &jobs[i];
}

static void make_jobs(const char *type, uint32_t n, uint32_t size)
{
        for (uint32_t i = 0; i < n; i++) {
                make_job(i, type, i, size);
        }
}

static int give(uint32_t worker, uint32_t from, uint32_t n)
{
        return host_worker_give(bed.h, worker, all + from, n);
}

/* Ended well, with the payload that it was given. */
static bool well(uint32_t worker, uint32_t position, uint32_t number, uint32_t size)
{
        char text[64];
        struct seen *s = bed_wait_verdict(&bed, (int)worker, position);
        snprintf(text, sizeof text, "%u bytes from %u on", size, size ? number % 256 : 0);
        bool is = s && s->verdict == VERDICT_DONE && strcmp(s->text, text) == 0;
        if (!is) {
                fprintf(stderr, "position %u: %s, not: %s\n", position, s ? s->text : "?", text);
        }
        return is;
}

static bool some_wait(uint32_t worker)
{
        const struct crew *w = bed.h->crew[worker];
        return w->sent != w->next;
}

static void test_sizes(void)
{
        static const uint32_t sizes[] = {
            PAYLOAD_INLINE, PAYLOAD_INLINE + 1,   USUAL - 1,        USUAL,
            USUAL + 1,      BELT_PAYLOAD_MAX - 1, BELT_PAYLOAD_MAX, BELT_PAYLOAD_MAX + 1,
            1u << 20};
        begin();
        for (uint32_t round = 0; round < 3; round++) { /* one by one, and all together */
                uint32_t n = ARRAY_LEN(sizes), at = round * n;
                for (uint32_t i = 0; i < n; i++) {
                        make_job(i, "large.look", at + i, sizes[i]);
                        CU_ASSERT_EQUAL(round ? 0 : give(0, i, 1), 0);
                        CU_ASSERT_TRUE(round || well(0, at + i, at + i, sizes[i]));
                }
                CU_ASSERT_EQUAL(round ? give(0, 0, n) : 0, 0);
                for (uint32_t i = 0; round && i < n; i++) {
                        CU_ASSERT_TRUE_FATAL(well(0, at + i, at + i, sizes[i]));
                }
        }
        end();
}

static void test_more_than_there_is_room_for(void)
{
        begin();
        for (uint32_t i = 0; i < MANY; i++) { /* small ones among them wait in their turn */
                make_job(i, i % 5 ? "large.look" : "large.keep", i,
                         i % 7 == 3 ? 20 : i * 811 % BELT_PAYLOAD_MAX);
        }
        CU_ASSERT_EQUAL(give(0, 0, MANY), 0);
        CU_ASSERT_TRUE(some_wait(0));
        for (uint32_t i = 0; i < MANY; i++) {
                CU_ASSERT_TRUE_FATAL(well(0, i, i, all[i]->payload.n));
        }
        CU_ASSERT_FALSE(some_wait(0));
        end();
}

/* The one that runs keeps its payload while as many as fit are put beside it, twice over. */
static void test_one_that_runs_keeps_its_own(void)
{
        begin();
        make_jobs("large.look", MANY, USUAL);
        make_job(5, "large.wait", 5, USUAL);
        CU_ASSERT_EQUAL(give(0, 0, MANY), 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        for (uint32_t i = 0; i < 5; i++) {
                CU_ASSERT_TRUE_FATAL(well(0, i, i, USUAL));
        }
        bed_play(&bed, 30);
        CU_ASSERT_TRUE(some_wait(0));
        uint32_t first = host_worker_recall(bed.h, 0, 6);
        CU_ASSERT_EQUAL(first, 6);
        CU_ASSERT_FALSE(some_wait(0));
        for (uint32_t i = 6; i < MANY; i++) {
                make_job(i, "large.look", i + 100, USUAL);
        }
        CU_ASSERT_EQUAL(give(0, 6, MANY - 6), 0);
        host_worker_ask(bed.h, 0, 5, 1);
        CU_ASSERT_TRUE_FATAL(well(0, 5, 5, USUAL));
        for (uint32_t i = 6; i < MANY; i++) {
                CU_ASSERT_TRUE_FATAL(well(0, i, i + 100, USUAL));
        }
        end();
}

/* The worker starts jobs while they are taken back: each position ends once, with the payload that
 * it was given last. */
static void test_recalls_while_it_races(void)
{
        enum { N = 40, ROUNDS = 200 };
        uint32_t position = 0, taken_back = 0;
        begin();
        for (uint32_t round = 0; round < ROUNDS; round++) {
                for (uint32_t i = 0; i < N; i++) {
                        make_job(i, "large.look", round * 37 + i, USUAL - i * 512);
                }
                CU_ASSERT_EQUAL_FATAL(give(0, 0, N), 0);
                bed_play(&bed, (int)(round % 3));
                uint32_t first = host_worker_recall(bed.h, 0, position + round % N);
                taken_back += position + N - first;
                for (uint32_t i = position; i != first; i++) {
                        CU_ASSERT_TRUE(
                            well(0, i, round * 37 + i - position, USUAL - (i - position) * 512));
                }
                CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
                position = first;
        }
        CU_ASSERT(taken_back > 0);
        end();
}

static void test_retires_after_those_that_wait(void)
{
        begin();
        make_jobs("large.look", MANY, USUAL);
        CU_ASSERT_EQUAL(give(0, 0, MANY), 0);
        CU_ASSERT_TRUE(some_wait(0));
        host_worker_retire(bed.h, 0);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT_EQUAL(gone->gone.how, ERROR_NONE);
        for (uint32_t i = 0; i < MANY; i++) {
                CU_ASSERT_TRUE_FATAL(well(0, i, i, USUAL));
        }
        end();
}

/* And after those that were taken back. */
static void test_retires_when_they_are_taken_back(void)
{
        begin();
        make_jobs("large.look", MANY, USUAL);
        make_job(0, "large.wait", 0, USUAL);
        CU_ASSERT_EQUAL(give(0, 0, MANY), 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        host_worker_retire(bed.h, 0);
        CU_ASSERT_EQUAL(host_worker_recall(bed.h, 0, 0), 1);
        host_worker_ask(bed.h, 0, 0, 1);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT_EQUAL(gone->gone.how, ERROR_NONE);
        CU_ASSERT_TRUE_FATAL(well(0, 0, 0, USUAL));
        end();
}

/* All of a batch is there before it starts, on the belt or not. */
static void test_batches_wait_for_no_room(void)
{
        enum { N = 100 };
        begin();
        make_jobs("large.batch", N, USUAL);
        for (uint32_t round = 0; round < 2; round++) {
                CU_ASSERT_EQUAL(host_worker_give_batch(bed.h, 0, all, N, round + 1, N), 0);
                CU_ASSERT_FALSE(some_wait(0));
                for (uint32_t i = 0; i < N; i++) {
                        CU_ASSERT_TRUE_FATAL(well(0, round * N + i, i, USUAL));
                }
        }
        end();
}

static void dies_at(uint32_t worker, uint32_t position, const char *type, int signal)
{
        make_jobs("large.look", MANY, USUAL);
        make_job(position, type, position, USUAL);
        CU_ASSERT_EQUAL(give(worker, 0, MANY), 0);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, (int)worker);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT_EQUAL(gone->gone.how, ERROR_CRASHED);
        CU_ASSERT_EQUAL(gone->gone.signal, signal);
        CU_ASSERT_TRUE(gone->gone.running);
        CU_ASSERT_EQUAL(gone->gone.position, position);
        for (uint32_t i = 0; i < position; i++) {
                CU_ASSERT_TRUE_FATAL(well(worker, i, i, USUAL));
        }
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, (int)worker));
}

/* Whoever follows under the number of a dead one has a belt of its own; the neighbour keeps his. */
static void test_death_concerns_one_job_alone(void)
{
        static const struct {
                const char *type;
                int signal;
        } deaths[] = {{"villain.scribble", SIGKILL}, /* takes verdicts that were not told with it */
                      {"large.crash", SIGABRT},
                      {"large.write", SIGSEGV}};
        uint32_t told = 0;
        begin();
        for (uint32_t i = 0; i < ARRAY_LEN(deaths); i++) {
                CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 1));
                dies_at(1, i * 29, deaths[i].type, deaths[i].signal);
                make_jobs("large.look", 30, USUAL);
                CU_ASSERT_EQUAL(give(0, 0, 30), 0);
                for (uint32_t k = 0; k < 30; k++) {
                        CU_ASSERT_TRUE_FATAL(well(0, told++, k, USUAL));
                }
        }
        end();
}

static void test_cannot_be_made_writable(void)
{
        begin();
        make_job(0, "large.unlock", 1, USUAL);
        CU_ASSERT_EQUAL(give(0, 0, 1), 0);
        CU_ASSERT_TRUE_FATAL(well(0, 0, 1, USUAL));
        end();
}

/* Where no belt can be made each payload travels by itself. */
static void test_does_without(void)
{
        begin();
        bed.h->crew[0]->belt.none = true;
        make_jobs("large.look", MANY, USUAL);
        CU_ASSERT_EQUAL(give(0, 0, MANY), 0);
        CU_ASSERT_FALSE(some_wait(0));
        for (uint32_t i = 0; i < MANY; i++) {
                CU_ASSERT_TRUE_FATAL(well(0, i, i, USUAL));
        }
        end();
}

/* --- where descriptors run out ---------------------------------------------------------------- */

static struct rlimit usual;

/* From now on skepd gets none. */
static void take_descriptors(void)
{
        int next = dup(0);
        CU_ASSERT_FATAL(next > 0);
        close(next);
        CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &usual), 0);
        struct rlimit none = {(rlim_t)next, usual.rlim_max};
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void return_descriptors(void)
{
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

/* Its jobs come back unspent. */
static void gone_unspent(uint32_t worker, const char *why)
{
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, (int)worker);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT_EQUAL(gone->gone.how, ERROR_CRASHED);
        CU_ASSERT_FALSE(gone->gone.running);
        CU_ASSERT_EQUAL(gone->gone.n_running, 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(gone->text, why));
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, (int)worker));
}

/* Nothing was sent, or nothing but a part of a batch, which runs as a whole only. */
static void test_shortage_of_skepd_spends_nothing(void)
{
        enum { N = FRAME_JOBS + 20 };
        begin();
        make_jobs("large.look", 1, BELT_PAYLOAD_MAX + 1);
        take_descriptors();
        CU_ASSERT_EQUAL(give(0, 0, 1), 0);
        return_descriptors();
        gone_unspent(0, "no memory or descriptor left");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 1));
        make_jobs("large.batch", N, 20);
        make_job(N - 1, "large.batch", N - 1, BELT_PAYLOAD_MAX + 1);
        take_descriptors();
        CU_ASSERT_EQUAL(host_worker_give_batch(bed.h, 1, all, N, 1, N), 0);
        return_descriptors();
        gone_unspent(1, "no memory or descriptor left");
        end();
}

/* What finds none waits for the end of what runs; the belt is made then. */
static void test_shortage_passes(void)
{
        begin();
        make_job(0, "large.wait", 0, 20);
        make_job(1, "large.look", 1, USUAL);
        make_job(2, "large.look", 2, BELT_PAYLOAD_MAX + 1);
        CU_ASSERT_EQUAL(give(0, 0, 1), 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_wait(&bed, HOST_LOG, 0));
        take_descriptors();
        CU_ASSERT_EQUAL(give(0, 1, 2), 0);
        return_descriptors();
        CU_ASSERT_TRUE(some_wait(0));
        CU_ASSERT(bed.h->crew[0]->belt.fd < 0);
        host_worker_ask(bed.h, 0, 0, 1);
        CU_ASSERT_TRUE_FATAL(well(0, 0, 0, 20));
        CU_ASSERT_TRUE_FATAL(well(0, 1, 1, USUAL));
        CU_ASSERT_TRUE_FATAL(well(0, 2, 2, BELT_PAYLOAD_MAX + 1));
        CU_ASSERT(bed.h->crew[0]->belt.fd >= 0);
        end();
}

/* The belt cannot be written: the frame that leans on it is not sent. */
static void test_what_was_not_written_is_not_run(void)
{
        begin();
        make_jobs("large.look", 1, USUAL);
        CU_ASSERT_EQUAL(give(0, 0, 1), 0);
        CU_ASSERT_TRUE_FATAL(well(0, 0, 0, USUAL));
        bed.h->crew[0]->belt.failed = -EIO;
        make_jobs("large.look", MANY, USUAL);
        CU_ASSERT_EQUAL(give(0, 0, MANY), 0);
        gone_unspent(0, "cannot be written");
        end();
}

/* The worker's own shortage: its handlers left too many open for a payload's to arrive. */
static void test_shortage_of_a_worker_is_told(void)
{
        begin();
        make_jobs("large.look", 1, BELT_PAYLOAD_MAX + 1);
        make_job(1, "large.hoard", 1, 20);
        all[0] = &jobs[1];
        all[1] = &jobs[0];
        CU_ASSERT_EQUAL(give(0, 0, 1), 0);
        CU_ASSERT_TRUE_FATAL(well(0, 0, 1, 20));
        CU_ASSERT_EQUAL(give(0, 1, 1), 0);
        gone_unspent(0, "descriptor did not arrive");
        end();
}

UNIT_TESTS = {
    {"carries payloads of the sizes at each bound", test_sizes},
    {"has more of them wait than there is room for", test_more_than_there_is_room_for},
    {"leaves the one that runs its own", test_one_that_runs_keeps_its_own},
    {"recalls them while the worker races", test_recalls_while_it_races},
    {"retires after those that wait", test_retires_after_those_that_wait},
    {"retires when they are taken back", test_retires_when_they_are_taken_back},
    {"gives the whole of a batch", test_batches_wait_for_no_room},
    {"puts a death down to one job", test_death_concerns_one_job_alone},
    {"keeps them from being made writable", test_cannot_be_made_writable},
    {"does without the belt", test_does_without},
    {"a shortage of skepd spends nothing", test_shortage_of_skepd_spends_nothing},
    {"a shortage passes", test_shortage_passes},
    {"what was not written is not run", test_what_was_not_written_is_not_run},
    {"a shortage of a worker is told", test_shortage_of_a_worker_is_told},
};
UNIT_MAIN("host-large")
