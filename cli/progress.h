/*
 * How far a long piece of work has come, on stderr: a bar on a terminal, a plain line every few
 * seconds elsewhere.
 */
#ifndef SKEP_CLI_PROGRESS_H
#define SKEP_CLI_PROGRESS_H

#include "core/base.h"

struct progress {
        const char *what; /* "jobs" */
        uint64_t total;   /* of `part`; 0: not known */
        bool tty, drawn;
        int64_t started_ms, next_ms;
};

void progress_start(struct progress *p, const char *what, uint64_t total);

/* `count` things are done, which is `part` of `total`. Prints at most ten times a second. */
void progress_tell(struct progress *p, uint64_t count, uint64_t part);

/* Removes the bar. Also before other lines go to stderr. */
void progress_clear(struct progress *p);

/* One line as it would be drawn, for tests: "[####    ]  50%  1,000 jobs  500/s  2s left". */
struct buf;
void progress_line(struct buf *out, const struct progress *p, uint64_t count, uint64_t part,
                   int64_t now_ms);

/* 1234567 → 1,234,567 */
void count_format(struct buf *out, uint64_t n);

#endif
