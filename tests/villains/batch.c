/*
 * Handlers of batches: one that does as it should, and for each thing that can go wrong in the
 * midst of one a handler that does it. What a job is to do stands in its payload's first letter.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "skep/handler.h"

static void nap(void)
{
        struct timespec t = {0, 5000000};
        nanosleep(&t, NULL);
}

static void say(struct skep_job *job, const char *what, size_t i, size_t n)
{
        char text[64];
        int size = snprintf(text, sizeof text, "%s %zu of %zu", what, i, n);
        job->services->result(job, "text/plain", text, (size_t)size);
}

/* r: again after a second, d: dead, s: snoozed; all others are done, and say which they were. */
static void count(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                struct skep_job *job = jobs[i];
                switch (job->payload.p[0]) {
                case 'r': skep_retry(job, 1000, "again %zu", i); break;
                case 'd': skep_dead(job, "never %zu", i); break;
                case 's': skep_snooze(job, 2000, "later %zu", i); break;
                default: say(job, "number", i, n); job->services->verdict(job, SKEP_DONE, 0, NULL);
                }
        }
}

/* x: dies there, when all before it have their verdict; e: exits. */
static void crash(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                if (jobs[i]->payload.p[0] == 'x') {
                        abort();
                }
                if (jobs[i]->payload.p[0] == 'e') {
                        exit(3);
                }
                jobs[i]->services->verdict(jobs[i], SKEP_DONE, 0, NULL);
        }
}

/* f: is forgotten, t: gets two verdicts, the second of them DONE, n: nonsense. */
static void muddle(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                struct skep_job *job = jobs[i];
                switch (job->payload.p[0]) {
                case 'f': break;
                case 't':
                        skep_dead(job, "no");
                        job->services->verdict(job, SKEP_DONE, 0, "yes");
                        break;
                case 'n': job->services->verdict(job, 77, 0, "what"); break;
                default: job->services->verdict(job, SKEP_DONE, 0, NULL);
                }
        }
}

static void hang(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        jobs[0]->services->log(jobs[0], 6, "hanging with %zu", n);
        for (;;) {
                pause();
        }
}

/* Says five words of progress of each job, then works until each of them, or all of them, are asked
 * to stop; says why. */
static void polite(struct skep_job *const *jobs, size_t n, void *state)
{
        size_t left = n;
        char *gone = jobs[0]->services->alloc(jobs[0], n);
        (void)state;
        for (size_t i = 0; i < 5 * n; i++) {
                size_t at = i / 5;
                jobs[at]->services->progress(jobs[at], (double)(i % 5 + 1), 10 + (double)at);
        }
        jobs[0]->services->log(jobs[0], 6, "working");
        while (left) {
                for (size_t i = 0; i < n; i++) {
                        int why = jobs[i]->services->cancelled(jobs[i]);
                        if (why && !gone[i]) {
                                gone[i] = 1;
                                left--;
                                jobs[i]->services->log(jobs[i], 6, "asked");
                                jobs[i]->services->verdict(jobs[i], SKEP_CANCELLED, 0, "why %d",
                                                           why);
                        }
                }
                nap();
        }
}

/* Each says how far it is, saves a checkpoint of its own and reads it back. */
static void save(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                struct skep_job *job = jobs[i];
                char text[32];
                struct skep_str before = job->services->checkpoint_load(job);
                int had = before.n ? atoi(before.p) : -1;
                int size = snprintf(text, sizeof text, "%zu", 100 + i);
                job->services->progress(job, (double)i + 1, (double)n);
                int r = job->services->checkpoint_save(job, text, (size_t)size);
                struct skep_str after = job->services->checkpoint_load(job);
                job->services->verdict(job, SKEP_DONE, 0, "had %d, save said %d, has %.*s", had, r,
                                       (int)after.n, after.p ? after.p : "");
        }
}

/* Results, texts and children that are too large for a slot, each job its own. */
static void large(struct skep_job *const *jobs, size_t n, void *state)
{
        static char bytes[60000];
        (void)state;
        for (size_t i = 0; i < n; i++) {
                struct skep_job *job = jobs[i];
                struct skep_child child = {.size = sizeof child, .type = "a.child"};
                memset(bytes, 'a' + (int)(i % 26), sizeof bytes);
                child.payload = bytes;
                child.payload_size = i + 1;
                job->services->result(job, "text/plain", bytes, 20000 + i);
                job->services->enqueue(job, &child);
                job->services->verdict(job, SKEP_DONE, 0, "%.300s", bytes);
        }
}

static void echo(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                struct skep_job *job = jobs[i];
                job->services->result(job, "", job->payload.p, job->payload.n);
                job->services->verdict(job, SKEP_DONE, 0, "%zu", n);
        }
}

static int both_alone(struct skep_job *job, void *state)
{
        (void)state;
        say(job, "alone", 0, 1);
        return SKEP_DONE;
}

static int refuse(const struct skep_setup *setup, void **state)
{
        (void)state;
        snprintf(setup->reason, setup->reason_size, "not today");
        return 1;
}

#define BATCH(name, function)                                                                      \
        {                                                                                          \
                SKEP_HANDLER, .type = "batch." name, .batch_max = 512, .batch_wait_ms = 50,        \
                              .run_batch = (function), .heartbeat_ms = 30000                       \
        }

static const struct skep_handler handlers[] = {
    BATCH("count", count),
    BATCH("crash", crash),
    BATCH("muddle", muddle),
    BATCH("hang", hang),
    BATCH("polite", polite),
    BATCH("save", save),
    BATCH("large", large),
    BATCH("echo", echo),
    {SKEP_HANDLER, .type = "batch.both", .batch_max = 3, .run = both_alone, .run_batch = count},
    {SKEP_HANDLER, .type = "batch.refuse", .batch_max = 3, .init = refuse, .run_batch = count},
};
SKEP_PLUGIN_TABLE("batch", "1.0", handlers)
