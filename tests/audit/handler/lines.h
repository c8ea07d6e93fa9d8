/*
 * What a handler writes down for the auditor: a line at each start and end of a run, each in one
 * write (../README.md has the format), to the file in its option `log`. A handler writes its start
 * before anything else and its end before its verdict leaves it.
 */
#ifndef SKEP_TESTS_AUDIT_HANDLER_LINES_H
#define SKEP_TESTS_AUDIT_HANDLER_LINES_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <nettle/sha2.h>
#include <skep/handler.h>

#define HASH_TEXT 33

#define HELD_MAX 65536

struct diary {
        int fd;
        const char *node;
        bool exclusive;
        uint32_t batch; /* jobs that the handler was given at once */
        bool holding;   /* lines are kept, to be written in one */
        size_t n_held;
        char held[HELD_MAX];
};

static inline void hash_text(const void *p, size_t n, char ret[static HASH_TEXT])
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

static inline int64_t clock_us(clockid_t which)
{
        struct timespec t;
        clock_gettime(which, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* What cannot be written down must not count: the worker ends. */
static inline void write_line(struct diary *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline void write_line(struct diary *d, const char *fmt, ...)
{
        char line[1024];
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(line, sizeof line, fmt, args);
        va_end(args);
        if (n >= (int)sizeof line || (d->holding && d->n_held + (size_t)n > HELD_MAX)) {
                _exit(3);
        }
        if (d->holding) {
                memcpy(d->held + d->n_held, line, (size_t)n);
                d->n_held += (size_t)n;
        } else if (write(d->fd, line, (size_t)n) != n) {
                _exit(3);
        }
}

/* What was held goes out at once: whoever kills the worker meets all of it, or nothing. */
static inline void write_held(struct diary *d)
{
        d->holding = false;
        if (write(d->fd, d->held, d->n_held) != (ssize_t)d->n_held) {
                _exit(3);
        }
        d->n_held = 0;
}

static inline void write_run(struct diary *d, const struct skep_job *job, const char *word,
                             const char *more)
{
        write_line(d,
                   "%s/1\tid=%s\tclaim=%u\ttoken=%016" PRIx64 "\tpid=%d\twall=%" PRId64
                   "\tmono=%" PRId64 "000%s\n",
                   word, job->id.p, job->claim, job->token, (int)getpid(), clock_us(CLOCK_REALTIME),
                   clock_us(CLOCK_MONOTONIC), more);
}

static inline void write_start(struct diary *d, const struct skep_job *job)
{
        char more[600], hash[HASH_TEXT];
        hash_text(job->payload.p, job->payload.n, hash);
        snprintf(more, sizeof more,
                 "\tattempt=%u\tgeneration=%u\tpayload=%s\ttype=%.120s\tnode=%.120s\tppid=%d"
                 "\tlooks=1\texclusive=%d\tbatch=%u",
                 job->attempt, job->generation, hash, job->type.p, d->node, (int)getppid(),
                 d->exclusive, d->batch);
        write_run(d, job, "start", more);
}

/* end: done, retry, snooze, discard, dead or cancelled; result: of one that is done. */
static inline void write_end(struct diary *d, const struct skep_job *job, const char *end,
                             int64_t after_ms, struct skep_str result)
{
        char more[160], hash[HASH_TEXT];
        int n = snprintf(more, sizeof more, "\tend=%s\tafter_ms=%" PRId64, end, after_ms);
        if (result.p) {
                hash_text(result.p, result.n, hash);
                snprintf(more + n, sizeof more - (size_t)n, "\tresult=%s", hash);
        }
        write_run(d, job, "end", more);
}

/* A handler's init: its state is the diary of its options. */
static inline int open_diary(const struct skep_setup *setup, void **state)
{
        static struct diary diary = {.batch = 1};
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

static const struct skep_option diary_options[] = {
    {"log", "string", "", "file that gets a line per start and end"},
    {"node", "string", "", "this node's name in that file"},
};

#endif
