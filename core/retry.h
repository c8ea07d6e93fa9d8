/*
 * Retry policy: how long a failed job waits before its next attempt.
 *
 *   exponential  base * 2^(attempt-1)      linear  base * attempt      fixed  base
 *   table        its attempt-th entry, the last one from there on
 *   delay = min(cap, that) * (1 + jitter * u),  u uniform in [-1, 1]
 *
 * and how long it is tried at all: max_attempts, and a budget of wall time (`for`) from its
 * creation, or from the time it was scheduled for: a retry that would begin later is not made.
 *
 * Pure: the random number is passed in. Integer arithmetic, so the same everywhere.
 */
#ifndef SKEP_CORE_RETRY_H
#define SKEP_CORE_RETRY_H

#include "core/base.h"

#define BACKOFFS(X)                                                                                \
        X(EXPONENTIAL, "exponential") X(LINEAR, "linear") X(FIXED, "fixed") X(TABLE, "table")

#define RETRY_TABLE_MAX    16
#define RETRY_TEXT_MAX     512
#define RETRY_ATTEMPTS_MAX 1000

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
        int64_t for_ms;           /* the budget; 0: none */
        uint32_t n_table;         /* 1 to RETRY_TABLE_MAX with BACKOFF_TABLE, else 0 */
        int64_t table_ms[RETRY_TABLE_MAX];
};

#define RETRY_POLICY_DEFAULT ((struct retry_policy){3, BACKOFF_EXPONENTIAL, 1000, 600000, 200})

/* A policy as one text, the same in headers, JSON, the CLI, configuration and the ledger: words in
 * any order, each at most once:
 *
 *     exponential | linear | fixed | table=1s,10s,2m
 *     base=1s   cap=10m   jitter=0.2   attempts=5   for=2h
 *
 * What it names replaces that part of *policy, the rest stays; but a base or a table above a cap
 * that the text does not name raises the cap to it. An empty text changes nothing. > 0: refused,
 * nothing changed, and `note` says what, where and what is allowed. */
#define RETRY_REFUSED 1
int retry_parse(struct str text, struct retry_policy *policy, char *note, size_t note_size);

/* Delay in milliseconds after attempt `attempt` (1 is the first) failed; u is 64 random bits.
 * Never negative, never above cap + jitter. */
int64_t retry_delay_ms(const struct retry_policy *p, uint32_t attempt, uint64_t u);

const char *backoff_name(enum backoff b);
bool backoff_parse(struct str name, enum backoff *ret);

#endif
