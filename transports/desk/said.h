/*
 * Complaints that were told lately: what stays wrong is told again after a while, not at each look.
 * Of one thread.
 */
#ifndef SKEP_TRANSPORTS_SAID_H
#define SKEP_TRANSPORTS_SAID_H

#include "transports/desk/desk.h"

#include <stdarg.h>

#define SAID_MAX 8

struct said {
        uint64_t what[SAID_MAX]; /* by hash of the whole text */
        int64_t when_ns[SAID_MAX];
        uint32_t next;
};

/* A note, unless it was told within the last five minutes. */
void said_vnote(struct said *s, struct desk *d, int level, const char *fmt, va_list args)
    __attribute__((format(printf, 4, 0)));

#endif
