/*
 * The smallest shared vocabulary of skep: byte strings, ids, instants and the cleanup attribute.
 * Everything here is plain data; nothing allocates, reads a clock or does I/O.
 */
#ifndef SKEP_CORE_BASE_H
#define SKEP_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Run `fn(&variable)` when the variable leaves its scope. Every constructor uses it and ends with
 * STEAL, so that no early return leaks. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define STEAL(p)                                                                                   \
        ({                                                                                         \
                __typeof__(p) stolen_ = (p);                                                       \
                (p) = NULL;                                                                        \
                stolen_;                                                                           \
        })
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof *(a))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Borrowed bytes: may hold NUL, is not NUL-terminated unless the place that makes it says so. */
struct str {
        const char *p;
        uint32_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

static inline struct str str_of(const char *z)
{
        return (struct str){z, z ? (uint32_t)strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
        return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* A job's id: UUIDv7 (RFC 9562), most significant byte first, so that memcmp orders by time. */
struct job_id {
        uint8_t b[16];
};

static inline bool job_id_eq(const struct job_id *a, const struct job_id *b)
{
        return memcmp(a->b, b->b, sizeof a->b) == 0;
}

/* One reading of both clocks. core never reads a clock: the caller passes what it read. */
struct instant {
        int64_t mono_ns; /* CLOCK_MONOTONIC: leases, time-outs, holds */
        int64_t wall_us; /* CLOCK_REALTIME since 1970: shown and stored, never decided upon */
};

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)
#define US_PER_S  INT64_C(1000000)

#endif
