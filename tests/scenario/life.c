/*
 * Handlers for the stories of a job's life (lives.py): each does one thing that a story needs, and
 * its result says what it saw. Numbers stand in the payload as "name":N, found as text: it is the
 * stories' own JSON.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "skep/handler.h"

static long number(const struct skep_job *job, const char *name, long otherwise)
{
        char quoted[40];
        snprintf(quoted, sizeof quoted, "\"%s\":", name);
        const char *at = strstr(job->payload.p, quoted);
        return at ? strtol(at + strlen(quoted), NULL, 10) : otherwise;
}

static void nap(long ms)
{
        struct timespec t = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&t, NULL);
}

static int say(struct skep_job *job, const char *fmt, long a, long b)
{
        char text[100], quoted[104];
        snprintf(text, sizeof text, fmt, a, b);
        int n = snprintf(quoted, sizeof quoted, "\"%s\"", text);
        return job->services->result(job, "application/json", quoted, (size_t)n) ? SKEP_RETRY
                                                                                 : SKEP_DONE;
}

/* "gate":"PATH" in the payload: the handler goes on at once when there is such a file. */
static bool freed(const struct skep_job *job)
{
        char path[256];
        const char *at = strstr(job->payload.p, "\"gate\":");
        at = at ? strchr(at + strlen("\"gate\":"), '"') : NULL;
        if (!at) {
                return false;
        }
        snprintf(path, sizeof path, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
        return access(path, F_OK) == 0;
}

/* {"steps":N,"ms":M,"die_at":K,"hold_at":L}: N steps of M ms, a checkpoint and progress after each;
 * the first attempt aborts before step K, and never goes beyond step L. */
static int run_steps(struct skep_job *job, void *state)
{
        (void)state;
        long steps = number(job, "steps", 3), die_at = number(job, "die_at", -1);
        long hold_at = number(job, "hold_at", -1);
        struct skep_str saved = job->services->checkpoint_load(job);
        long from = saved.n ? strtol(saved.p, NULL, 10) : 0;
        for (long step = from; step < steps; step++) {
                char text[24];
                if (job->attempt == 1 && step == die_at) {
                        abort();
                }
                while (job->attempt == 1 && step == hold_at) {
                        nap(100);
                }
                nap(number(job, "ms", 1));
                int n = snprintf(text, sizeof text, "%ld", step + 1);
                job->services->progress(job, (double)(step + 1), (double)steps);
                if (job->services->checkpoint_save(job, text, (size_t)n)) {
                        return SKEP_RETRY;
                }
        }
        return say(job, "from %ld to %ld", from, steps);
}

/* {"ms":M}: says nothing for so long, or until it is freed. */
static int run_silent(struct skep_job *job, void *state)
{
        (void)state;
        for (long left = number(job, "ms", 1000); left > 0 && !freed(job); left -= 10) {
                if (job->services->cancelled(job)) {
                        return SKEP_CANCELLED;
                }
                nap(10);
        }
        return say(job, "%ld ms", number(job, "ms", 1000), 0);
}

/* The same with a sign of life every 20 ms; with "deaf":1 it cannot be asked to stop. */
static int run_lively(struct skep_job *job, void *state)
{
        (void)state;
        long ms = number(job, "ms", 1000);
        bool deaf = number(job, "deaf", 0);
        for (long at = 0; at < ms && !freed(job); at += 20) {
                if (!deaf && job->services->cancelled(job)) {
                        return SKEP_CANCELLED;
                }
                job->services->progress(job, (double)at, (double)ms);
                nap(20);
        }
        return say(job, "%ld ms", ms, 0);
}

/* {"until":N}: fails with a text that differs from job to job, until attempt N. */
static int run_fail(struct skep_job *job, void *state)
{
        (void)state;
        long until = number(job, "until", 1000);
        char text[160];
        if ((long)job->attempt >= until) {
                return say(job, "attempt %ld", (long)job->attempt, 0);
        }
        snprintf(text, sizeof text, "order %ld of \"%.36s\" was refused by 10.0.0.%ld",
                 number(job, "n", 0), job->id.p, number(job, "n", 0) % 250);
        return job->services->verdict(job, SKEP_RETRY, 0, "%s", text);
}

/* {"children":N}: so many jobs of type life.steps. */
static int run_family(struct skep_job *job, void *state)
{
        (void)state;
        for (long i = 0; i < number(job, "children", 1); i++) {
                char payload[40], key[80];
                int n = snprintf(payload, sizeof payload, "{\"steps\":1,\"child\":%ld}", i);
                snprintf(key, sizeof key, "%.36s/%ld", job->id.p, i);
                struct skep_child child = {.size = sizeof child,
                                           .type = "life.steps",
                                           .key = key,
                                           .content_type = "application/json",
                                           .payload = payload,
                                           .payload_size = (size_t)n};
                if (job->services->enqueue(job, &child)) {
                        return SKEP_RETRY;
                }
        }
        return number(job, "fail", 0) ? SKEP_DEAD
                                      : say(job, "%ld children", number(job, "children", 1), 0);
}

/* Jobs with "poison" abort, those with "odd" are to be tried again once; the others say how many
 * they were. */
static void run_batch(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                struct skep_job *job = jobs[i];
                if (number(job, "poison", 0)) {
                        abort();
                }
                bool odd = number(job, "odd", 0) && job->attempt == 1;
                say(job, "one of %ld", (long)n, 0);
                job->services->verdict(job, odd ? SKEP_RETRY : SKEP_DONE, 0, odd ? "odd" : NULL);
        }
}

static const struct skep_handler handlers[] = {
    {SKEP_HANDLER, .type = "life.steps", .run = run_steps},
    {SKEP_HANDLER, .type = "life.silent", .run = run_silent},
    {SKEP_HANDLER, .type = "life.lively", .run = run_lively},
    {SKEP_HANDLER, .type = "life.fail", .run = run_fail},
    {SKEP_HANDLER, .type = "life.family", .run = run_family},
    {SKEP_HANDLER, .type = "life.batch", .batch_max = 20, .batch_wait_ms = 200,
     .run_batch = run_batch},
};
SKEP_PLUGIN_TABLE("life", "1.0", handlers)
