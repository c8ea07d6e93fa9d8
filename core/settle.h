/*
 * What becomes of a job after a try: the one place that turns a verdict, a death or a rescue into a
 * ledger write.
 */
#ifndef SKEP_CORE_SETTLE_H
#define SKEP_CORE_SETTLE_H

#include "core/job.h"
#include "core/ledger.h"
#include "core/retry.h"
#include "core/verdict.h"

/* What the decision rests on: the job as claimed. */
struct settle_job {
        struct job_id id;
        int64_t ref;
        uint32_t claim;
        uint64_t token;
        uint16_t attempt, max_attempts, snoozes;
        uint8_t strikes;
        bool cancel_asked, left_work;
        int64_t retry_until_us; /* no attempt begins after it; 0: no such time */
        int64_t wall_us;        /* now */
};

/* The handler answered. u: 64 random bits for the jitter. Fills everything of the row but texts,
 * times and the fingerprint. p: of a verdict that does not fail, it is not looked at. */
void settle_verdict(const struct settle_job *j, enum verdict_kind kind, int64_t delay_ms,
                    const struct retry_policy *p, uint64_t u, struct finish_row *ret_row);

/* The try ended without an answer: CRASHED, TIMED_OUT, OOM (a strike each), LOST, STOPPED (none),
 * CANCELLED (killed after a cancel). */
void settle_failure(const struct settle_job *j, enum error_class how, const struct retry_policy *p,
                    uint64_t u, struct finish_row *ret_row);

/* A row with all of its texts: what its error is grouped by. Rows without an error get none. */
void settle_fingerprint(struct finish_row *row, struct str type);

/* It never started: back to pending, the attempt is not spent. */
void settle_unstarted(const struct settle_job *j, struct finish_row *ret_row);

#endif
