/*
 * The handler that the auditor believes: it writes down each start and end of a run (lines.h), and
 * does in between what its payload says. It never runs without its start line, and its end line is
 * there before its verdict leaves it.
 *
 * The payload may hold the words after "do":" up to the next quote, separated by spaces, obeyed in
 * order; any other bytes are there to make it unique. Nothing is guessed: an unknown word is dead.
 *     sleep:MS      a sleep that ends when it is asked to stop (written down; then CANCELLED)
 *     deaf:MS       one that does not look
 *     retry:N:MS    the first N attempts end with RETRY, after MS (0: by policy)
 *     snooze:N:MS   the first N claims end with SNOOZE
 *     crash:N       the first N attempts abort; poison: every one does
 *     exit:N        the first N attempts call exit(0)
 *     hang:N        the first N attempts never end
 *     child:N       N jobs of this type are made when it completes, each with an intent line
 *     discard, dead
 * Jobs of type diary.batch come up to sixteen at once, and obey one after the other.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/audit/handler/lines.h"

#define BATCH_MAX 16

/* What a word says of the run: go on with the next, or end. */
struct outcome {
        bool ended;
        int verdict;
        int64_t after_ms;
};

static void end_run(struct diary *d, struct skep_job *job, const struct outcome *o)
{
        static const char *const names[] = {
            [SKEP_DONE] = "done",       [SKEP_RETRY] = "retry", [SKEP_SNOOZE] = "snooze",
            [SKEP_DISCARD] = "discard", [SKEP_DEAD] = "dead",   [SKEP_CANCELLED] = "cancelled",
        };
        char text[100];
        int n = snprintf(text, sizeof text, "%s claim %u token %016" PRIx64, job->id.p, job->claim,
                         job->token);
        struct skep_str result = {text, (size_t)n};
        if (o->verdict != SKEP_DONE) {
                result = (struct skep_str){0};
        } else if (job->services->result(job, "text/plain", result.p, result.n)) {
                _exit(3);
        }
        write_end(d, job, names[o->verdict], o->after_ms, result);
}

/* --- the words ---------------------------------------------------------------------------- */

static struct outcome end_with(int verdict, int64_t after_ms)
{
        return (struct outcome){true, verdict, after_ms};
}

static struct outcome do_sleep(struct diary *d, struct skep_job *job, int64_t ms, bool deaf)
{
        int64_t until = clock_us(CLOCK_MONOTONIC) + ms * 1000;
        int fd = deaf ? -1 : job->services->cancel_fd(job);
        for (int64_t left = ms; left > 0; left = (until - clock_us(CLOCK_MONOTONIC)) / 1000) {
                if (!deaf && job->services->cancelled(job)) {
                        write_run(d, job, "asked", "");
                        return end_with(SKEP_CANCELLED, 0);
                }
                struct pollfd p = {.fd = fd, .events = POLLIN};
                (void)poll(&p, 1, left < 20 ? (int)left : 20);
        }
        return (struct outcome){0};
}

static struct outcome do_children(struct diary *d, struct skep_job *job, int64_t n)
{
        for (int64_t i = 0; i < n; i++) {
                char payload[160], hash[HASH_TEXT];
                int length = snprintf(payload, sizeof payload, "{\"child\":\"%s-%u-%" PRId64 "\"}",
                                      job->id.p, job->claim, i);
                struct skep_child child = {
                    .size = sizeof child,
                    .type = job->type.p,
                    .queue = job->queue.p,
                    .payload = payload,
                    .payload_size = (size_t)length,
                };
                hash_text(payload, (size_t)length, hash);
                write_line(d,
                           "intent/1\tref=child-%s-%u-%" PRId64 "\tvia=child\tpayload=%s"
                           "\tparent=%s\tparent_claim=%u\n",
                           job->id.p, job->claim, i, hash, job->id.p, job->claim);
                if (job->services->enqueue(job, &child)) {
                        return end_with(SKEP_DEAD, 0);
                }
        }
        return (struct outcome){0};
}

/* Those that end without a verdict, or never. */
static bool do_villainy(const char *name)
{
        if (strcmp(name, "crash") == 0 || strcmp(name, "poison") == 0) {
                abort();
        } else if (strcmp(name, "exit") == 0) {
                exit(0);
        }
        while (strcmp(name, "hang") == 0) {
                (void)poll(NULL, 0, 1000);
        }
        return false;
}

static struct outcome do_word(struct diary *d, struct skep_job *job, const char *word)
{
        static const char *const villainies = " crash poison exit hang ";
        char name[16], spaced[18];
        int64_t n = INT64_MAX, ms = 0;
        if (sscanf(word, "%15[a-z]:%" SCNd64 ":%" SCNd64, name, &n, &ms) < 1) {
                return end_with(SKEP_DEAD, 0);
        }
        snprintf(spaced, sizeof spaced, " %s ", name);
        bool early = job->attempt <= n;
        if (strcmp(name, "sleep") == 0 || strcmp(name, "deaf") == 0) {
                return do_sleep(d, job, n, name[0] == 'd');
        } else if (strcmp(name, "child") == 0) {
                return do_children(d, job, n);
        } else if (strstr(villainies, spaced)) {
                return (struct outcome){early && do_villainy(name), 0, 0};
        } else if (strcmp(name, "retry") == 0) {
                return early ? end_with(SKEP_RETRY, ms) : (struct outcome){0};
        } else if (strcmp(name, "snooze") == 0) {
                return job->claim <= n ? end_with(SKEP_SNOOZE, ms) : (struct outcome){0};
        }
        return end_with(strcmp(name, "discard") == 0 ? SKEP_DISCARD : SKEP_DEAD, 0);
}

static struct outcome do_all(struct diary *d, struct skep_job *job)
{
        struct outcome o = {0};
        const char *words = strstr(job->payload.p, "\"do\":\"");
        char text[256];
        int n = words ? (int)strcspn(words + 6, "\"") : 0;
        snprintf(text, sizeof text, "%.*s", n, words ? words + 6 : "");
        char *rest = text, *word;
        while (!o.ended && (word = strsep(&rest, " "))) {
                if (*word) {
                        o = do_word(d, job, word);
                }
        }
        return o;
}

static int run(struct skep_job *job, void *state)
{
        struct diary *d = state;
        write_start(d, job);
        struct outcome o = do_all(d, job);
        end_run(d, job, &o);
        return job->services->verdict(job, o.verdict, o.after_ms, "as its payload says");
}

static int run_exclusive(struct skep_job *job, void *state)
{
        ((struct diary *)state)->exclusive = true;
        int verdict = run(job, state);
        ((struct diary *)state)->exclusive = false;
        return verdict;
}

/* All begin and end together. Whoever dies in between leaves no end line of any. */
static void run_batch(struct skep_job *const *jobs, size_t n, void *state)
{
        struct diary *d = state;
        struct outcome o[BATCH_MAX];
        d->batch = (uint32_t)n;
        d->holding = true;
        for (size_t i = 0; i < n; i++) {
                write_start(d, jobs[i]);
        }
        write_held(d);
        for (size_t i = 0; i < n; i++) {
                o[i] = do_all(d, jobs[i]);
        }
        d->holding = true;
        for (size_t i = 0; i < n; i++) {
                end_run(d, jobs[i], &o[i]);
                jobs[i]->services->verdict(jobs[i], o[i].verdict, o[i].after_ms,
                                           "as its payload says");
        }
        write_held(d);
        d->batch = 1;
}

static const struct skep_handler handlers[] = {
    {SKEP_HANDLER, .type = "diary", .init = open_diary, .run = run, SKEP_OPTIONS(diary_options)},
    {SKEP_HANDLER, .type = "diary.exclusive", .flags = SKEP_EXCLUSIVE, .init = open_diary,
     .run = run_exclusive, SKEP_OPTIONS(diary_options)},
    {SKEP_HANDLER, .type = "diary.batch", .init = open_diary, .run = run, .run_batch = run_batch,
     .batch_max = BATCH_MAX, .batch_wait_ms = 30, SKEP_OPTIONS(diary_options)},
};
SKEP_PLUGIN_TABLE("diary", "1.0", handlers)
