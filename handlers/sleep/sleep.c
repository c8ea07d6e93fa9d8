/*
 * Sleeps, and fails when it is told to: for trying things out and for tests of skep itself.
 *
 * The payload is a JSON object; all members are optional, others are ignored, an empty payload is
 * an empty object:
 *     ms             how long to sleep (default 0)
 *     fail_attempts  so many attempts end with RETRY, after the sleep (default 0)
 *     retry_ms       the delay before the next one (default: by the job's policy)
 *     ignore_cancel  true: sleeps on when it is asked to stop, like a handler that hangs
 *
 * It never guesses: a member of another kind or a payload that is no object is dead with the place.
 * A JSON library would be the only thing that it links against, so the few lines are its own.
 */
#include <skep/handler.h>

#include <ctype.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS_MAX    INT64_C(86400000)
#define DEPTH_MAX 32
#define SLICE_MS  10 /* between two looks at the flag when there is no descriptor to wait on */

struct wish {
        int64_t ms, fail_attempts, retry_ms;
        bool ignore_cancel;
};

/* The payload ends with a NUL that is not part of it, so reading p[0] is always safe. */
struct reader {
        const char *start, *p;
        const char *fault; /* what was expected at p */
};

static bool expect(struct reader *r, const char *what)
{
        r->fault = what;
        return false;
}

static void skip_space(struct reader *r)
{
        while (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r') {
                r->p++;
        }
}

static bool take(struct reader *r, char c)
{
        skip_space(r);
        if (*r->p != c) {
                return false;
        }
        r->p++;
        skip_space(r);
        return true;
}

/* Leaves the raw bytes between the quotes: no name of ours needs an escape. */
static bool read_string(struct reader *r, struct skep_str *ret)
{
        if (*r->p != '"') {
                return expect(r, "a string");
        }
        const char *begin = ++r->p;
        while (*r->p != '"') {
                if ((unsigned char)*r->p < 0x20) {
                        return expect(r, "a closing quote");
                }
                if (*r->p == '\\' && r->p[1]) {
                        r->p++;
                }
                r->p++;
        }
        *ret = (struct skep_str){begin, (size_t)(r->p - begin)};
        r->p++;
        return true;
}

static bool read_count(struct reader *r, int64_t max, int64_t *ret)
{
        if (!isdigit((unsigned char)*r->p)) {
                return expect(r, "a whole number");
        }
        int64_t n = 0;
        const char *p = r->p;
        for (; isdigit((unsigned char)*p); p++) {
                n = n * 10 + (*p - '0');
                if (n > max) {
                        return expect(r, "a smaller number");
                }
        }
        if (*p == '.' || *p == 'e' || *p == 'E') {
                return expect(r, "a whole number");
        }
        r->p = p;
        *ret = n;
        return true;
}

static bool read_word(struct reader *r, const char *word)
{
        size_t n = strlen(word);
        if (strncmp(r->p, word, n) != 0) {
                return false;
        }
        r->p += n;
        return true;
}

static bool read_flag(struct reader *r, bool *ret)
{
        if (read_word(r, "true")) {
                *ret = true;
        } else if (read_word(r, "false")) {
                *ret = false;
        } else {
                return expect(r, "true or false");
        }
        return true;
}

static bool skip_scalar(struct reader *r)
{
        struct skep_str ignored;
        if (*r->p == '"') {
                return read_string(r, &ignored);
        }
        if (read_word(r, "true") || read_word(r, "false") || read_word(r, "null")) {
                return true;
        }
        char *end;
        strtod(r->p, &end);
        if (end == r->p || !(isdigit((unsigned char)*r->p) || *r->p == '-')) {
                return expect(r, "a value");
        }
        r->p = end;
        return true;
}

/* Steps over the value of a member that means nothing here. */
static bool skip_value(struct reader *r)
{
        char closing[DEPTH_MAX];
        size_t depth = 0;
        do {
                skip_space(r);
                if (*r->p == '{' || *r->p == '[') {
                        if (depth == DEPTH_MAX) {
                                return expect(r, "less nesting");
                        }
                        closing[depth++] = *r->p == '{' ? '}' : ']';
                        r->p++;
                } else if (depth && (*r->p == closing[depth - 1])) {
                        depth--;
                        r->p++;
                } else if (!skip_scalar(r)) {
                        return false;
                }
                skip_space(r);
                if (depth && (*r->p == ',' || *r->p == ':')) {
                        r->p++;
                }
        } while (depth);
        return true;
}

static bool read_member(struct reader *r, struct wish *w)
{
        static const struct {
                const char *name;
                size_t offset;
                int64_t max;
        } counts[] = {
            {"ms", offsetof(struct wish, ms), MS_MAX},
            {"fail_attempts", offsetof(struct wish, fail_attempts), 1000},
            {"retry_ms", offsetof(struct wish, retry_ms), MS_MAX},
        };
        struct skep_str name;
        if (!read_string(r, &name)) {
                return false;
        }
        if (!take(r, ':')) {
                return expect(r, "a colon");
        }
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                if (name.n == strlen(counts[i].name) &&
                    memcmp(name.p, counts[i].name, name.n) == 0) {
                        return read_count(r, counts[i].max,
                                          (int64_t *)(void *)((char *)w + counts[i].offset));
                }
        }
        if (name.n == strlen("ignore_cancel") && memcmp(name.p, "ignore_cancel", name.n) == 0) {
                return read_flag(r, &w->ignore_cancel);
        }
        return skip_value(r);
}

static bool read_wish(struct reader *r, struct wish *w)
{
        skip_space(r);
        if (!*r->p) {
                return true;
        }
        if (!take(r, '{')) {
                return expect(r, "an object such as {\"ms\":50}");
        }
        if (take(r, '}')) {
                return true;
        }
        do {
                if (!read_member(r, w)) {
                        return false;
                }
        } while (take(r, ','));
        return take(r, '}') || expect(r, "a comma or a closing brace");
}

static int64_t now_ms(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_ms(int64_t ms)
{
        struct timespec t = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&t, NULL);
}

/* Waits until `deadline_ms` or until the job is asked to stop; 0 or the reason. */
static int wait_until(struct skep_job *job, int64_t deadline_ms)
{
        struct pollfd stop = {.fd = job->services->cancel_fd(job), .events = POLLIN};
        for (;;) {
                int why = job->services->cancelled(job);
                int64_t left = deadline_ms - now_ms();
                if (why || left <= 0) {
                        return why;
                }
                bool woken = stop.fd >= 0 && poll(&stop, 1, (int)left) > 0;
                bool for_nothing = woken && !job->services->cancelled(job);
                if (stop.fd < 0 || for_nothing) {
                        pause_ms(left < SLICE_MS ? left : SLICE_MS);
                }
        }
}

static void sleep_through(int64_t deadline_ms)
{
        for (int64_t left; (left = deadline_ms - now_ms()) > 0;) {
                pause_ms(left);
        }
}

static int run(struct skep_job *job, void *state)
{
        (void)state;
        struct wish wish = {0};
        struct reader reader = {job->payload.p, job->payload.p, NULL};
        if (!read_wish(&reader, &wish) || reader.p != job->payload.p + job->payload.n) {
                return skep_dead(job, "payload, byte %td: expected %s", reader.p - reader.start,
                                 reader.fault ? reader.fault : "the end");
        }
        int64_t deadline_ms = now_ms() + wish.ms;
        if (wish.ignore_cancel) {
                sleep_through(deadline_ms);
        } else if (wait_until(job, deadline_ms)) {
                return SKEP_CANCELLED;
        }
        if (job->attempt <= wish.fail_attempts) {
                return skep_retry(job, wish.retry_ms,
                                  "attempt %u of %" PRId64 " that fail as asked", job->attempt,
                                  wish.fail_attempts);
        }
        char text[96];
        int n = snprintf(text, sizeof text, "{\"slept_ms\":%" PRId64 ",\"attempt\":%u}", wish.ms,
                         job->attempt);
        job->services->result(job, "application/json", text, (size_t)n);
        return SKEP_DONE;
}

SKEP_PLUGIN("sleep", SKEP_VERSION,
            {SKEP_HANDLER, .type = "sleep",
             .summary = "sleeps so many ms, fails as often as it is told to",
             .schema = "{\"type\":\"object\",\"properties\":{"
                       "\"ms\":{\"type\":\"integer\",\"minimum\":0},"
                       "\"fail_attempts\":{\"type\":\"integer\",\"minimum\":0},"
                       "\"retry_ms\":{\"type\":\"integer\",\"minimum\":0},"
                       "\"ignore_cancel\":{\"type\":\"boolean\"}}}",
             .flags = SKEP_IDEMPOTENT, .run = run})
