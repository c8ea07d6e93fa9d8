/*
 * Children take every J-th seed and write one record per seed into a common pipe (records are
 * shorter than PIPE_BUF, so they never mix). A child that dies is blamed on the seed it was at, and
 * replaced by one that starts behind it.
 */
#include "tests/sim/farm.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/world.h"

#define JOBS_MAX 64

struct record {
        uint32_t job;
        bool begun, passed;
        uint64_t seed, hash, runs, events;
        char text[320];
};

struct farm {
        uint64_t end;
        uint32_t jobs, alive;
        bool until_failed;
        int in, out;
        struct {
                pid_t pid;
                uint64_t at; /* the seed it is at */
        } children[JOBS_MAX];
        struct farm_result *result;
};

bool plant_there(enum sim_plant p)
{
#ifdef SKEP_PLANT
        (void)p;
        return true;
#else
        bool settle =
            p == PLANT_STRIKE_NEVER || p == PLANT_ATTEMPTS_ENDLESS || p == PLANT_SNOOZE_SPENDS;
        return !settle && plant_core(p)[0] == 0;
#endif
}

static void put(int fd, const struct record *r)
{
        if (write(fd, r, sizeof *r) != (ssize_t)sizeof *r) {
                _exit(3);
        }
}

static void run_seed(int fd, struct record *r)
{
        r->begun = true;
        put(fd, r);
        struct world *w = world_new(r->seed, 0, false);
        r->begun = false;
        r->passed = world_run(w);
        r->hash = w->hash;
        r->runs = w->seen.runs;
        r->events = w->events;
        memcpy(r->text, w->violation, sizeof r->text);
        world_free(w);
        put(fd, r);
}

static void run_child(const struct farm *f, uint32_t job, uint64_t from)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(f->in);
        for (uint64_t seed = from; seed < f->end; seed += f->jobs) {
                struct record r = {.job = job, .seed = seed};
                run_seed(f->out, &r);
        }
        exit(0); /* not _exit: leaks are looked for */
}

static void spawn_child(struct farm *f, uint32_t job, uint64_t from)
{
        f->children[job].pid = 0;
        if (from >= f->end) {
                return;
        }
        fflush(stdout);
        pid_t pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
                run_child(f, job, from);
        }
        f->children[job].pid = pid;
        f->children[job].at = from;
        f->alive++;
}

static void count_failure(struct farm *f, uint64_t seed, const char *text)
{
        struct farm_result *r = f->result;
        if (r->names) {
                printf("seed %" PRIu64 ": %s\n", seed, text);
        }
        if (r->failed++ == 0 || seed < r->first.seed) {
                r->first.seed = seed;
                snprintf(r->first.text, sizeof r->first.text, "%s", text);
        }
}

static void take_record(struct farm *f, const struct record *r)
{
        f->children[r->job].at = r->seed;
        if (r->begun) {
                return;
        }
        f->children[r->job].at += f->jobs;
        f->result->hash += r->hash | 1;
        f->result->runs += r->runs;
        f->result->events += r->events;
        if (r->passed) {
                f->result->passed++;
        } else {
                count_failure(f, r->seed, r->text);
        }
}

static void bury_child(struct farm *f, uint32_t job, int status)
{
        f->alive--;
        f->children[job].pid = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                return;
        }
        char text[100];
        if (WIFSIGNALED(status)) {
                snprintf(text, sizeof text, "the process died of signal %d", WTERMSIG(status));
        } else {
                snprintf(text, sizeof text, "the process ended with status %d",
                         WEXITSTATUS(status));
        }
        count_failure(f, f->children[job].at, text);
        spawn_child(f, job, f->children[job].at + f->jobs);
}

/* Called when all that living children wrote was read. */
static void look_after_children(struct farm *f)
{
        for (uint32_t i = 0; i < f->jobs; i++) {
                int status;
                pid_t pid = f->children[i].pid;
                if (pid > 0 && waitpid(pid, &status, WNOHANG) == pid) {
                        struct record rest;
                        while (read(f->in, &rest, sizeof rest) == (ssize_t)sizeof rest) {
                                take_record(f, &rest);
                        }
                        bury_child(f, i, status);
                }
        }
}

static void end_children(struct farm *f)
{
        for (uint32_t i = 0; i < f->jobs; i++) {
                if (f->children[i].pid > 0) {
                        kill(f->children[i].pid, SIGKILL);
                        waitpid(f->children[i].pid, NULL, 0);
                }
        }
}

void farm_run(uint64_t from, uint64_t count, uint32_t jobs, bool until_failed,
              struct farm_result *ret)
{
        struct farm f = {.end = from + count, .until_failed = until_failed, .result = ret};
        f.jobs = jobs > JOBS_MAX ? JOBS_MAX : jobs;
        int fds[2];
        int made = pipe(fds);
        assert(made == 0);
        fcntl(fds[0], F_SETFL, O_NONBLOCK); /* ours to read; children may wait to write */
        f.in = fds[0];
        f.out = fds[1];
        for (uint32_t i = 0; i < f.jobs; i++) {
                spawn_child(&f, i, from + i);
        }
        while (f.alive && !(until_failed && ret->failed)) {
                struct record r;
                if (read(f.in, &r, sizeof r) == (ssize_t)sizeof r) {
                        take_record(&f, &r);
                } else {
                        look_after_children(&f);
                        usleep(500);
                }
        }
        end_children(&f);
        close(f.in);
        close(f.out);
}
