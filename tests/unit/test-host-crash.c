/*
 * The plug-in host with handlers that misbehave: each crash is named and put down to its job, and
 * nobody else notices.
 */
#include "tests/unit/test-host-bed.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

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

struct crash_case {
        const char *type, *payload;
        int signal, exit_code;
        const char *text[3]; /* all must be found */
};

static const struct crash_case crashes[] = {
    {"villain.null",
     "",
     SIGSEGV,
     0,
     {"SIGSEGV (address 0x0)", "villain_touches_null", "(null.so)"}},
    {"villain.exit0", "", 0, 0, {"exit(0) called by the handler"}},
    {"villain.abort", "", SIGABRT, 0, {"SIGABRT", "abort"}},
    {"villain.overflow", "", SIGSEGV, 0, {"SIGSEGV (address 0x", "villain_digs", "(overflow.so)"}},
    {"villain.scribble", "", SIGKILL, 0, {"its page holds nonsense"}},
    {"villain.forge", "", SIGKILL, 0, {"it sent a message that makes no sense"}},
    {"villain.forge", "x", SIGKILL, 0, {"a job ended whose verdict is not there"}},
};

/* A good job before it and one after it in the same ring: the first has its verdict, the other
 * never starts. */
static void crash(uint32_t worker, const struct crash_case *c)
{
        CU_ASSERT_EQUAL(bed_give(&bed, worker, "test.noop", ""), 0);
        struct seen *s = bed_wait_verdict(&bed, (int)worker, 0);
        CU_ASSERT_PTR_NOT_NULL(s);
        CU_ASSERT_EQUAL(bed_give(&bed, worker, c->type, c->payload), 0);
        CU_ASSERT_EQUAL(bed_give(&bed, worker, "test.noop", ""), 0);
        s = bed_wait(&bed, HOST_WORKER_GONE, (int)worker);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_EQUAL(s->gone.how, ERROR_CRASHED);
        CU_ASSERT_EQUAL(s->gone.signal, c->signal);
        CU_ASSERT_EQUAL(s->gone.exit_code, c->exit_code);
        CU_ASSERT_TRUE(s->gone.running);
        CU_ASSERT_EQUAL(s->gone.position, 1);
        for (size_t i = 0; i < ARRAY_LEN(c->text) && c->text[i]; i++) {
                CU_ASSERT_PTR_NOT_NULL(strstr(s->text, c->text[i]));
                if (!strstr(s->text, c->text[i])) {
                        fprintf(stderr, "%s: \"%s\" not in: %s\n", c->type, c->text[i], s->text);
                }
        }
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, (int)worker));
}

static void test_names_crashes(void)
{
        begin();
        for (uint32_t i = 0; i < ARRAY_LEN(crashes); i++) {
                CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 1));
                crash(1, &crashes[i]);
        }
        struct seen *s = run_one(0, "test.noop", ""); /* the neighbour did not notice */
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        end();
}

static void test_keeps_verdicts_of_the_same_frame(void)
{
        struct job jobs[4];
        struct job *all[4];
        begin();
        for (int i = 0; i < 4; i++) {
                jobs[i] = bed_job(&bed, i == 2 ? "villain.null" : "test.echo", "kept");
                all[i] = &jobs[i];
        }
        CU_ASSERT_EQUAL(host_worker_give(bed.h, 0, all, 4), 0);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT_EQUAL(gone->gone.position, 2);
        CU_ASSERT(gone->gone.started_wall_us > 0);
        for (uint32_t i = 0; i < 2; i++) {
                struct seen *s = bed_wait_verdict(&bed, 0, i);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT_STRING_EQUAL(s->result, "kept");
                CU_ASSERT(s < gone); /* told before */
        }
        CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 0));
        end();
}

static void test_blames_a_crash_in_init(void)
{
        static const struct handler_option options[] = {
            {"villain.slow-init", "crash", "true"},
            {NULL, NULL, NULL},
        };
        bed_make(&bed, false);
        bed_install(&bed, "slow-init", "slow-init.so");
        bed.o.options = options;
        bed_start(&bed);
        bed_serve(&bed, "villain.slow-init");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 0));
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "villain.slow-init", ""), 0);
        struct seen *s = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_TRUE(s->gone.running);
        CU_ASSERT_EQUAL(s->gone.signal, SIGSEGV);
        end();
}

static void test_survives_closed_descriptors(void)
{
        begin();
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "villain.close-all", ""), 0);
        struct seen *gone = bed_wait(&bed, HOST_WORKER_GONE, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(gone);
        CU_ASSERT_EQUAL(gone->gone.how, ERROR_CRASHED);
        CU_ASSERT_FALSE(gone->gone.running);
        CU_ASSERT_PTR_NOT_NULL(strstr(gone->text, "descriptors it did not open"));
        struct seen *s = bed_wait_verdict(&bed, 0, 0); /* its verdict stood in the page */
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        end();
}

static void test_kills_on_request(void)
{
        static const char *const types[] = {"villain.loop", "villain.stubborn"};
        begin();
        for (uint32_t i = 0; i < ARRAY_LEN(types); i++) {
                uint32_t position = 99;
                int64_t since = 0, progress = 0;
                CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 1));
                CU_ASSERT_FALSE(host_worker_running(bed.h, 1, &position, &since, &progress));
                CU_ASSERT_EQUAL(bed_give(&bed, 1, types[i], ""), 0);
                while (!host_worker_running(bed.h, 1, &position, &since, &progress)) {
                        bed_play(&bed, 5);
                }
                CU_ASSERT_EQUAL(position, 0);
                CU_ASSERT(since > 0 && since <= bed_now() && progress >= since);
                host_worker_ask(bed.h, 1, 0, 2);
                bed_play(&bed, 50);
                CU_ASSERT_PTR_NULL(bed_find(&bed, HOST_VERDICTS, 1));
                host_worker_kill(bed.h, 1);
                struct seen *s = bed_wait(&bed, HOST_WORKER_GONE, 1);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT_EQUAL(s->gone.how, ERROR_CRASHED);
                CU_ASSERT_EQUAL(s->gone.signal, SIGKILL);
                CU_ASSERT_TRUE(s->gone.running);
        }
        end();
}

static void test_reports_a_kill_from_outside(void)
{
        begin();
        struct seen *up = bed_worker(&bed, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(up);
        kill(up->pid, SIGKILL);
        struct seen *s = bed_wait(&bed, HOST_WORKER_GONE, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_EQUAL(s->gone.signal, SIGKILL);
        CU_ASSERT_FALSE(s->gone.running);
        CU_ASSERT(s->gone.how == ERROR_CRASHED ||
                  s->gone.how == ERROR_OOM); /* OOM elsewhere meanwhile */
        end();
}

static void test_stands_a_flood(void)
{
        begin();
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 1));
        CU_ASSERT_EQUAL(bed_give(&bed, 1, "villain.flood", ""), 0);
        for (uint32_t i = 0; i < 20; i++) {
                CU_ASSERT_EQUAL(run_one(i, "test.noop", "")->verdict, VERDICT_DONE);
        }
        struct seen *s = bed_wait_verdict(&bed, 1, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        uint32_t lines = 0;
        do {
                s = bed_wait(&bed, HOST_LOG, 1);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                lines++;
        } while (s->level != 4);
        CU_ASSERT(lines > 100 && lines < 5000);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, "were dropped"));
        end();
}

static void test_stands_a_leak(void)
{
        begin();
        for (uint32_t i = 0; i < 5; i++) {
                struct seen *s = run_one(i, "villain.leak", "");
                CU_ASSERT_EQUAL(s->verdict, VERDICT_DONE);
        }
        end();
}

static bool process_lives(int pid)
{
        char path[64], text[512] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *f = fopen(path, "re");
        size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f) {
                fclose(f);
        }
        const char *state = n ? strrchr(text, ')') : NULL;
        return state && state[2] != 'Z' && state[2] != 'X';
}

static void test_leaves_no_process_behind(void)
{
        begin();
        struct seen *s = run_one(0, "villain.orphan", "");
        int pid = atoi(s->result);
        CU_ASSERT_FATAL(pid > 1);
        CU_ASSERT_TRUE(process_lives(pid));
        host_worker_kill(bed.h, 0);
        CU_ASSERT_PTR_NOT_NULL(bed_wait(&bed, HOST_WORKER_GONE, 0));
        for (int i = 0; i < 12000 && process_lives(pid); i++) {
                bed_play(&bed, 5);
        }
        CU_ASSERT_FALSE(process_lives(pid));
        end();
}

static void test_starts_the_zygote_again(void)
{
        begin();
        kill(bed.h->nursery.pid, SIGKILL);
        struct seen *s = bed_wait(&bed, HOST_FAILED, -1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, "signal 9"));
        CU_ASSERT_EQUAL(run_one(0, "test.noop", "")->verdict, VERDICT_DONE);
        CU_ASSERT_PTR_NOT_NULL(bed_worker(&bed, 1)); /* waits for the new one */
        CU_ASSERT_EQUAL(bed_give(&bed, 1, "test.noop", ""), 0);
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 1, 0));
        end();
}

/* The package was replaced, and the zygote started again, under a running skepd. */
static void test_worker_of_another_version_says_so(void)
{
        begin();
        kill(bed.h->nursery.pid, SIGSTOP); /* so that the page is spoiled before it is looked at */
        CU_ASSERT_EQUAL_FATAL(host_worker_spawn(bed.h, 1), 0);
        bed.h->crew[1]->page->version++;
        kill(bed.h->nursery.pid, SIGCONT);
        struct seen *s = bed_wait(&bed, HOST_WORKER_GONE, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_FALSE(s->gone.running);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, "of another version than skepd"));
        CU_ASSERT_EQUAL(run_one(0, "test.noop", "")->verdict, VERDICT_DONE);
        end();
}

UNIT_TESTS = {
    {"names crashes", test_names_crashes},
    {"keeps verdicts of the same frame", test_keeps_verdicts_of_the_same_frame},
    {"blames a crash in init on its job", test_blames_a_crash_in_init},
    {"survives closed descriptors", test_survives_closed_descriptors},
    {"kills on request", test_kills_on_request},
    {"reports a kill from outside", test_reports_a_kill_from_outside},
    {"stands a flood", test_stands_a_flood},
    {"stands a leak", test_stands_a_leak},
    {"leaves no process behind", test_leaves_no_process_behind},
    {"starts the zygote again", test_starts_the_zygote_again},
    {"a worker of another version says so", test_worker_of_another_version_says_so},
};
UNIT_MAIN("host-crash")
