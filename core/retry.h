/*
 * Retry policy: how long a failed job waits before its next attempt.
 *
 *   exponential  base * 2^(attempt-1)      linear  base * attempt      fixed  base
 *   delay = min(cap, that) * (1 + jitter * u),  u uniform in [-1, 1]
 *
 * Pure: the random number is passed in. Integer arithmetic, so the same everywhere.
 */
#ifndef SKEP_CORE_RETRY_H
#define SKEP_CORE_RETRY_H

#include "core/base.h"

#define BACKOFFS(X) X(EXPONENTIAL, "exponential") X(LINEAR, "linear") X(FIXED, "fixed")

enum backoff {
#define X(name, text) BACKOFF_##name,
        BACKOFFS(X)
#undef X
};

struct retry_policy {
        uint16_t max_attempts; /* the first included, 1 to 1000 */
        enum backoff backoff;
        int64_t base_ms;          /* 0 to a year */
        int64_t cap_ms;           /* >= 0; upper bound before jitter */
        uint16_t jitter_permille; /* 0 to 1000 */
};

#define RETRY_POLICY_DEFAULT ((struct retry_policy){3, BACKOFF_EXPONENTIAL, 1000, 600000, 200})

/* Delay in milliseconds after attempt `attempt` (1 is the first) failed; u is 64 random bits.
 * Never negative, never above cap + jitter. */
int64_t retry_delay_ms(const struct retry_policy *p, uint32_t attempt, uint64_t u);

const char *backoff_name(enum backoff b);
bool backoff_parse(struct str name, enum backoff *ret);

#endif
