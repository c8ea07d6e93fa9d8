/*
 * The handler that says what it sees: its result is the job as it was handed to it, so that a test
 * compares what arrived in the worker, and not what some layer above says of it.
 *
 * The result is name NUL value NUL ..., fields first (their names begin with a dot, which no header
 * of the tests does), then the headers in their order, then an empty name with its NUL and the
 * payload's bytes, as many as there is room for. Each run is written down for the auditor, as the
 * diary does it. It never looks into the payload: JSON was
 * discarded as the form, since most of what it has to show is not text.
 */
#include <string.h>

#include "tests/audit/handler/lines.h"

#define RESULT_MAX 65536

struct text {
        char p[RESULT_MAX];
        size_t n;
};

static void put(struct text *t, const void *bytes, size_t n)
{
        size_t room = sizeof t->p - t->n;
        n = n < room ? n : room;
        memcpy(t->p + t->n, bytes, n);
        t->n += n;
}

static void put_text(struct text *t, const char *name, struct skep_str value)
{
        put(t, name, strlen(name) + 1);
        put(t, value.p ? value.p : "", value.n);
        put(t, "", 1);
}

static void put_number(struct text *t, const char *name, int64_t n)
{
        char digits[24];
        int length = snprintf(digits, sizeof digits, "%" PRId64, n);
        put_text(t, name, (struct skep_str){digits, (size_t)length});
}

static int run(struct skep_job *job, void *state)
{
        static struct text t; /* a worker runs one job at a time */
        write_start(state, job);
        t.n = 0;
        put_text(&t, ".type", job->type);
        put_text(&t, ".queue", job->queue);
        put_text(&t, ".content_type", job->content_type);
        put_text(&t, ".traceparent", job->traceparent);
        put_number(&t, ".priority", job->priority);
        put_number(&t, ".attempt", job->attempt);
        put_number(&t, ".max_attempts", job->max_attempts);
        put_number(&t, ".timeout_ms", job->timeout_ms);
        put_number(&t, ".deadline_us", job->deadline_us);
        put_number(&t, ".started_us", job->started_us);
        put_number(&t, ".payload_size", (int64_t)job->payload.n);
        put(&t, job->headers.p ? job->headers.p : "", job->headers.n);
        put(&t, "", 1);
        put(&t, job->payload.p, job->payload.n);
        if (job->services->result(job, "application/octet-stream", t.p, t.n)) {
                write_end(state, job, "dead", 0, (struct skep_str){0});
                return skep_dead(job, "the result was refused");
        }
        write_end(state, job, "done", 0, (struct skep_str){t.p, t.n});
        return SKEP_DONE;
}

SKEP_PLUGIN("mirror", "1.0",
            {SKEP_HANDLER, .type = ">", .init = open_diary, .run = run,
             SKEP_OPTIONS(diary_options)})
