/*
 * The handler that the auditor believes: it appends a line at each start and end of a run to the
 * file in its option `log`, each in one write (../README.md has the format), and does in between
 * what its payload says. It never runs without its start line, and its end line is there before its
 * verdict leaves it.
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
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <nettle/sha2.h>
#include <skep/handler.h>

#define HASH_TEXT 33

struct diary {
        int fd;
        const char *node;
        bool exclusive;
};

/* What a word says of the run: go on with the next, or end. */
struct outcome {
        bool ended;
        int verdict;
        int64_t after_ms;
};

static void hash_text(const void *p, size_t n, char ret[static HASH_TEXT])
{
        struct sha256_ctx sha;
        uint8_t digest[16];
        sha256_init(&sha);
        sha256_update(&sha, n, p);
        sha256_digest(&sha, sizeof digest, digest);
        for (size_t i = 0; i < sizeof digest; i++) {
                snprintf(ret + 2 * i, 3, "%02x", digest[i]);
        }
}

static int64_t clock_us(clockid_t which)
{
        struct timespec t;
        clock_gettime(which, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* What cannot be written down must not count: the worker ends. */
static void write_line(const struct diary *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void write_line(const struct diary *d, const char *fmt, ...)
{
        char line[1024];
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(line, sizeof line, fmt, args);
        va_end(args);
        if (n >= (int)sizeof line || write(d->fd, line, (size_t)n) != n) {
                _exit(3);
        }
}

static void write_run(const struct diary *d, const struct skep_job *job, const char *word,
                      const char *more)
{
        write_line(d,
                   "%s/1\tid=%s\tclaim=%u\ttoken=%016" PRIx64 "\tpid=%d\twall=%" PRId64
                   "\tmono=%" PRId64 "000%s\n",
                   word, job->id.p, job->claim, job->token, (int)getpid(), clock_us(CLOCK_REALTIME),
                   clock_us(CLOCK_MONOTONIC), more);
}

static void write_start(const struct diary *d, const struct skep_job *job)
{
        char more[600], hash[HASH_TEXT];
        hash_text(job->payload.p, job->payload.n, hash);
        snprintf(more, sizeof more,
                 "\tattempt=%u\tgeneration=%u\tpayload=%s\ttype=%.120s\tnode=%.120s\tppid=%d"
                 "\tlooks=1\texclusive=%d",
                 job->attempt, job->generation, hash, job->type.p, d->node, (int)getppid(),
                 d->exclusive);
        write_run(d, job, "start", more);
}

static void write_end(const struct diary *d, struct skep_job *job, const struct outcome *o)
{
        static const char *const names[] = {
            [SKEP_DONE] = "done",       [SKEP_RETRY] = "retry", [SKEP_SNOOZE] = "snooze",
            [SKEP_DISCARD] = "discard", [SKEP_DEAD] = "dead",   [SKEP_CANCELLED] = "cancelled",
        };
        char more[160], hash[HASH_TEXT], result[100];
        int n = snprintf(result, sizeof result, "%s claim %u token %016" PRIx64, job->id.p,
                         job->claim, job->token);
        hash_text(result, (size_t)n, hash);
        if (o->verdict == SKEP_DONE &&
            job->services->result(job, "text/plain", result, (size_t)n)) {
                _exit(3);
        }
        n = snprintf(more, sizeof more, "\tend=%s\tafter_ms=%" PRId64, names[o->verdict],
                     o->after_ms);
        if (o->verdict == SKEP_DONE) {
                snprintf(more + n, sizeof more - (size_t)n, "\tresult=%s", hash);
        }
        write_run(d, job, "end", more);
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
        write_end(d, job, &o);
        return job->services->verdict(job, o.verdict, o.after_ms, "as its payload says");
}

static int open_diary(const struct skep_setup *setup, void **state)
{
        static struct diary diary;
        const char *path = setup->option(setup, "log"), *node = setup->option(setup, "node");
        diary.fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
        diary.node = node ? node : "";
        if (diary.fd < 0) {
                snprintf(setup->reason, setup->reason_size,
                         "the option log must name a file that can be written");
                return 1;
        }
        *state = &diary;
        return 0;
}

static int run_exclusive(struct skep_job *job, void *state)
{
        ((struct diary *)state)->exclusive = true;
        int verdict = run(job, state);
        ((struct diary *)state)->exclusive = false;
        return verdict;
}

static const struct skep_option options[] = {
    {"log", "string", "", "file that gets a line per start and end"},
    {"node", "string", "", "this node's name in that file"},
};

static const struct skep_handler handlers[] = {
    {SKEP_HANDLER, .type = "diary", .init = open_diary, .run = run, SKEP_OPTIONS(options)},
    {SKEP_HANDLER, .type = "diary.exclusive", .flags = SKEP_EXCLUSIVE, .init = open_diary,
     .run = run_exclusive, SKEP_OPTIONS(options)},
};
SKEP_PLUGIN_TABLE("diary", "1.0", handlers)
