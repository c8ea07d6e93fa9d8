/* No villain: one handler per service, for the tests. */
#include <skep/handler.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int run_noop(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

static int run_echo(struct skep_job *job, void *state)
{
        (void)state;
        if (job->payload.p[job->payload.n] != 0) {
                return skep_dead(job, "no NUL behind the payload");
        }
        job->services->result(job, job->content_type.p, job->payload.p, job->payload.n);
        return SKEP_DONE;
}

/* Says with which verdict, delay and how long a text: "1 5000 300". */
static int run_say(struct skep_job *job, void *state)
{
        int verdict = 0, delay = 0, n = 0;
        (void)state;
        if (sscanf(job->payload.p, "%d %d %d", &verdict, &delay, &n) != 3) {
                return skep_retry(job, INT64_MAX, "for ever and a day");
        }
        char *text = job->services->alloc(job, (size_t)n + 1);
        if (!text) {
                return SKEP_DEAD;
        }
        memset(text, 'x', (size_t)n);
        return n ? job->services->verdict(job, verdict, delay, "%s", text) : verdict;
}

static int run_nap(struct skep_job *job, void *state)
{
        int ms = atoi(job->payload.p);
        struct timespec nap = {ms / 1000, ms % 1000 * 1000000L};
        (void)state;
        nanosleep(&nap, NULL);
        return SKEP_DONE;
}

/* Describes what it was given. */
static int run_tell(struct skep_job *job, void *state)
{
        char text[512];
        const struct skep_services *s = job->services;
        const char *header = s->header(job, "X-Colour");
        int n = snprintf(text, sizeof text, "%s|%s|%s|%u|%u|%u|%u|%s|%s|%s|%s", job->id.p,
                         job->type.p, job->queue.p, job->generation, job->claim, job->attempt,
                         job->max_attempts, header ? header : "-", job->traceparent.p,
                         s->option(job, "greeting"), (const char *)state);
        s->result(job, "text/plain", text, (size_t)n);
        return SKEP_DONE;
}

static int init_tell(const struct skep_setup *setup, void **state)
{
        *state = (void *)setup->option(setup, "greeting");
        return *state == NULL;
}

/* Enqueues as many children as the payload says, the last one large. */
static int run_breed(struct skep_job *job, void *state)
{
        int n = atoi(job->payload.p);
        char *large = calloc(1, 100000);
        (void)state;
        for (int i = 0; large && i < n; i++) {
                static const char *const headers[] = {"x-colour", "red", NULL};
                struct skep_child c = {.size = sizeof c, .type = "test.noop", .headers = headers};
                c.key = i == 0 ? "first" : NULL;
                c.delay_ms = i == 1 ? 1500 : 0;
                c.has_priority = i == 1;
                c.priority = 7;
                if (i == 2) {
                        c.retry = "fixed base=5s attempts=7";
                        c.heartbeat_ms = 9000;
                        c.unique_key = "only";
                        c.unique_scope = "type";
                        c.unique_states = "all";
                        c.unique_conflict = "replace";
                        c.unique_ms = 60000;
                        c.run_at_us = 4000000000000000;
                        c.deadline_us = 4000000000000001;
                        c.reply_to = "answers";
                        c.correlation_id = "c-1";
                }
                memset(large, 'a' + i % 26, 100000);
                c.payload = large;
                c.payload_size = i == n - 1 ? 100000 : 10;
                if (job->services->enqueue(job, &c) < 0) {
                        free(large);
                        return skep_dead(job, "enqueue failed at %d", i);
                }
        }
        free(large);
        static const char *const bad_types[] = {NULL, "", "no spaces", "a..b", "a.>"};
        for (size_t i = 0; i < sizeof bad_types / sizeof *bad_types; i++) {
                struct skep_child bad = {.size = sizeof bad, .type = bad_types[i]};
                if (job->services->enqueue(job, &bad) == 0) {
                        return skep_dead(job, "a child without a valid type was taken");
                }
        }
        static const struct skep_child bad[] = {
            {.retry = "backwards"},
            {.unique_key = ""},
            {.unique_key = "a", .unique_scope = "colour"},
            {.unique_key = "a", .unique_states = "gone"},
            {.unique_key = "a", .unique_conflict = "fight"},
            {.unique_key = "a", .unique_ms = -1},
            {.run_at_us = -1},
            {.run_at_us = 5, .delay_ms = 5},
            {.run_at_us = 6, .deadline_us = 5},
            {.deadline_us = -1},
            {.reply_to = ""},
        };
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                struct skep_child c = bad[i];
                c.size = sizeof c;
                c.type = "a";
                if (job->services->enqueue(job, &c) == 0) {
                        return skep_dead(job, "bad child %zu was taken", i);
                }
        }
        struct skep_child late = {.size = sizeof late, .type = "a", .delay_ms = INT64_MAX};
        if (job->services->enqueue(job, &late) == 0) {
                return skep_dead(job, "a child of the far future was taken");
        }
        return SKEP_DONE;
}

/* Adds one to its checkpoint, saves, and answers with what it loads then. */
static int run_count(struct skep_job *job, void *state)
{
        const struct skep_services *s = job->services;
        struct skep_str old = s->checkpoint_load(job);
        char text[32];
        (void)state;
        int n = snprintf(text, sizeof text, "%d", (old.p ? atoi(old.p) : 0) + 1);
        int r = s->checkpoint_save(job, text, (size_t)n);
        if (r < 0) {
                return skep_retry(job, 0, "not saved: %d", r);
        }
        old = s->checkpoint_load(job);
        s->result(job, NULL, old.p, old.n);
        return SKEP_DONE;
}

/* What it can see of the world: open descriptors, environment, whether stdin leads anywhere. */
static int run_look(struct skep_job *job, void *state)
{
        char text[256];
        int n_fds = 0, n_env = 0;
        (void)state;
        for (int fd = 0; fd < 1024; fd++) {
                n_fds += fcntl(fd, F_GETFD) >= 0;
        }
        while (environ && environ[n_env]) {
                n_env++;
        }
        int n = snprintf(text, sizeof text, "%d descriptors, %d variables, %s session", n_fds,
                         n_env, getsid(0) == getpid() ? "own" : "shared");
        job->services->result(job, "text/plain", text, (size_t)n);
        return SKEP_DONE;
}

static void run_batch(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                if (jobs[i]->payload.n) {
                        jobs[i]->services->verdict(jobs[i], SKEP_DONE, 0, "one of %zu", n);
                }
        }
}

static const struct skep_option options[] = {
    {"greeting", "string", "hello", "what it says"},
};

SKEP_PLUGIN("good", "1.0",
            {SKEP_HANDLER, .type = "test.noop", .run = run_noop, .summary = "does nothing",
             .schema = "{\"type\":\"object\"}", .timeout_ms = 5000, .concurrency = 3,
             .flags = SKEP_IDEMPOTENT},
            {SKEP_HANDLER, .type = "test.echo", .run = run_echo},
            {SKEP_HANDLER, .type = "test.say", .run = run_say},
            {SKEP_HANDLER, .type = "test.nap", .run = run_nap},
            {SKEP_HANDLER, .type = "test.tell", .run = run_tell, .init = init_tell,
             SKEP_OPTIONS(options)},
            {SKEP_HANDLER, .type = "test.breed", .run = run_breed},
            {SKEP_HANDLER, .type = "test.count", .run = run_count},
            {SKEP_HANDLER, .type = "test.look", .run = run_look},
            {SKEP_HANDLER, .type = "test.batch", .run_batch = run_batch},
            {SKEP_HANDLER, .type = "wild.>", .run = run_noop})
