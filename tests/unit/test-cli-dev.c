/*
 * `skep dev` as a process, with a stand-in for skepd (SKEP_FAKE_SKEPD names it): that it is
 * started, waited for, given the demo's jobs, judged, and stopped.
 */
#include "cli/text.h"
#include "tests/unit/test-cli-fake.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct bed {
        char dir[64];
        char *libexec, *handlers, *state, *skepd, *worker;
        struct fake nobody; /* SKEP_URL: must not be used */
};

static void bed_make(struct bed *b, const char *mode)
{
        const char *program = getenv("SKEP_FAKE_SKEPD");
        *b = (struct bed){.dir = "/tmp/test-cli-dev-XXXXXX",
                          .nobody = {.url = "unix:/nonexistent/skep.sock"}};
        if (!mkdtemp(b->dir)) {
                abort();
        }
        b->libexec = text_printf("%s/libexec", b->dir);
        b->handlers = text_printf("%s/handlers", b->dir);
        b->state = text_printf("%s/a/state", b->dir);
        b->skepd = text_printf("%s/skepd", b->libexec);
        b->worker = text_printf("%s/skep-worker", b->libexec);
        CU_ASSERT_EQUAL(mkdir(b->libexec, 0700), 0);
        CU_ASSERT_EQUAL(mkdir(b->handlers, 0700), 0);
        CU_ASSERT_EQUAL(symlink(program ? program : "/nonexistent", b->skepd), 0);
        CU_ASSERT_EQUAL(symlink("/bin/true", b->worker), 0);
        setenv("SKEP_LIBEXEC", b->libexec, 1);
        setenv("FAKE_SKEPD", mode, 1);
}

static void bed_remove(struct bed *b)
{
        CLEANUP(free_text)
        char *parent = text_printf("%s/a", b->dir);
        unlink(b->skepd);
        unlink(b->worker);
        rmdir(b->libexec);
        rmdir(b->handlers);
        rmdir(b->state);
        rmdir(parent);
        CU_ASSERT_EQUAL(rmdir(b->dir), 0); /* nothing was left behind, the socket neither */
        free(b->libexec);
        free(b->handlers);
        free(b->state);
        free(b->skepd);
        free(b->worker);
}

static struct ran run_dev(struct bed *b, const char *demo, const char *once)
{
        const char *const words[] = {"dev",       "--state", b->state, "--handlers",
                                     b->handlers, demo,      once,     NULL};
        return run_skep(&b->nobody, NULL, words);
}

static void test_demo_once(void)
{
        struct bed b;
        bed_make(&b, "");
        struct ran r = run_dev(&b, "--demo", "--once");
        CU_ASSERT_EQUAL(r.code, 0);
        CHECK_SAYS(r.out, "fails twice, then succeeds");
        CHECK_SAYS(r.out, "\n4\tcompleted\t");
        CHECK_SAYS(r.err, "msg=stopped");
        ran_deinit(&r);
        bed_remove(&b);
}

static void test_demo_judges(void)
{
        struct bed b;
        bed_make(&b, "fails");
        struct ran r = run_dev(&b, "--demo", "--once");
        CU_ASSERT_EQUAL(r.code, 1);
        CHECK_SAYS(r.out, "\n4\tdead\texhausted\t");
        CHECK_SAYS(r.err,
                   "dead after attempt 3, and should have completed at attempt 3: exhausted");
        CHECK_SAYS(r.err, "msg=stopped");
        ran_deinit(&r);
        bed_remove(&b);
}

static void test_says_how_skepd_ended(void)
{
        struct bed b;
        bed_make(&b, "dies");
        struct ran r = run_dev(&b, "--demo", "--once");
        CU_ASSERT_EQUAL(r.code, 78);
        CHECK_SAYS(r.err, "skepd ended with exit code 78 before it was ready");
        ran_deinit(&r);
        bed_remove(&b);
        bed_make(&b, "stubborn");
        r = run_dev(&b, "--demo", "--once");
        CU_ASSERT_NOT_EQUAL(r.code, 0);
        CHECK_SAYS(r.err, "skepd ended with exit code 9 when it was stopped");
        ran_deinit(&r);
        bed_remove(&b);
}

static void test_refuses_what_cannot_be(void)
{
        struct bed b;
        bed_make(&b, "");
        struct ran r = run_dev(&b, "--once", NULL);
        CU_ASSERT_EQUAL(r.code, 64);
        ran_deinit(&r);
        free(b.state);
        b.state = text_printf("%s/%0100d", b.dir, 0);
        r = run_dev(&b, NULL, NULL);
        CU_ASSERT_EQUAL(r.code, 73);
        CHECK_SAYS(r.err, "choose a shorter --state DIR");
        ran_deinit(&r);
        rmdir(b.state);
        free(b.state);
        b.state = text_copy("/dev/null/x");
        r = run_dev(&b, NULL, NULL);
        CU_ASSERT_EQUAL(r.code, 73);
        CHECK_SAYS(r.err, "/dev/null/x: cannot be made: Not a directory");
        ran_deinit(&r);
        bed_remove(&b);
}

/* Without --once it stays until it is asked to stop. */
static void test_stays_until_stopped(void)
{
        struct bed b;
        bed_make(&b, "");
        int ends[2], status = 0;
        CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
                const char *program = getenv("SKEP_PROGRAM");
                dup2(ends[1], 1);
                execl(program ? program : "skep", "skep", "dev", "--state", b.state, "--handlers",
                      b.handlers, NULL);
                _exit(127);
        }
        close(ends[1]);
        struct buf said = {0};
        char piece[1024];
        for (ssize_t n; !strstr(buf_z(&said), "Ctrl-C stops it") &&
                        (n = read(ends[0], piece, sizeof piece)) > 0;) {
                buf_add(&said, piece, (size_t)n);
        }
        CLEANUP(free_text)
        char *url = text_printf("SKEP_URL=unix:%s/skep.sock\n", b.state);
        CHECK_SAYS(buf_z(&said), url);
        CU_ASSERT_EQUAL(waitpid(pid, &status, WNOHANG), 0);
        kill(pid, SIGINT);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        CU_ASSERT_TRUE(WIFEXITED(status));
        CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
        close(ends[0]);
        buf_deinit(&said);
        bed_remove(&b);
}

UNIT_TESTS = {
    {"the demo runs and ends", test_demo_once},
    {"the demo fails when a job does", test_demo_judges},
    {"how skepd ended is told", test_says_how_skepd_ended},
    {"what cannot be is refused", test_refuses_what_cannot_be},
    {"it stays until it is stopped", test_stays_until_stopped},
};
UNIT_MAIN("cli-dev")
