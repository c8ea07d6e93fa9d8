/*
 * A try has ended: which edge does the job take, and what of its counters is spent?
 *
 *   attempt  raised with each claim; taken back when the job never started or snoozed
 *   strike   the worker ended (crashed, timed out, out of memory) while it ran this very job
 */
#include "core/settle.h"

#include "core/plant.h"

#include "core/fingerprint.h"

static void start_row(const struct settle_job *j, struct finish_row *row)
{
        *row = (struct finish_row){
            .id = j->id,
            .ref = j->ref,
            .claim = j->claim,
            .token = j->token,
            .attempt = j->attempt,
            .snoozes = j->snoozes,
            .strikes = j->strikes,
            .left_work = j->left_work && !PLANT(work_left),
            .queue = row->queue,
            .job = row->job,
        };
}

static void end_row(struct finish_row *row, enum job_state to, enum job_reason reason)
{
        row->to = to;
        row->reason = reason;
}

static void cancel_row(struct finish_row *row)
{
        end_row(row, STATE_CANCELLED, REASON_OPERATOR);
}

/* A try that failed: again by policy, or dead when the attempts are spent. */
static void fail_row(const struct settle_job *j, enum error_class how, int64_t delay_ms,
                     const struct retry_policy *p, uint64_t u, struct finish_row *row)
{
        row->error = how;
        bool struck_out = row->strikes >= STRIKES_MAX;
        int64_t after_us = 1000 * (delay_ms > 0 ? delay_ms : retry_delay_ms(p, j->attempt, u));
        bool late = j->retry_until_us && j->wall_us + after_us > j->retry_until_us &&
                    !PLANT(budget_ignored);
        if (j->cancel_asked) {
                row->error = how == ERROR_FAILED ? ERROR_CANCELLED : how;
                cancel_row(row);
        } else if (struck_out) {
                end_row(row, STATE_DEAD, REASON_CRASHED);
        } else if (j->attempt >= j->max_attempts || late) {
                end_row(row, STATE_DEAD, REASON_EXHAUSTED);
        } else {
                end_row(row, STATE_RETRYING, REASON_NONE);
                row->keep_attempt = true;
                row->after_us = after_us;
        }
}

static void snooze_row(const struct settle_job *j, int64_t delay_ms, struct finish_row *row)
{
        if (j->cancel_asked) {
                cancel_row(row);
        } else if (j->snoozes >= SNOOZES_MAX) {
                end_row(row, STATE_DEAD, REASON_SNOOZED_OUT);
        } else {
                end_row(row, STATE_SCHEDULED, REASON_SNOOZED);
                row->snoozes++;
                row->attempt = j->attempt ? j->attempt - 1 : 0;
                row->after_us = 1000 * (delay_ms < 1000 ? 1000 : delay_ms);
        }
}

void settle_verdict(const struct settle_job *j, enum verdict_kind kind, int64_t delay_ms,
                    const struct retry_policy *p, uint64_t u, struct finish_row *ret_row)
{
        start_row(j, ret_row);
        switch (kind) {
        case VERDICT_DONE: end_row(ret_row, STATE_COMPLETED, REASON_NONE); break;
        case VERDICT_SNOOZE: snooze_row(j, delay_ms, ret_row); break;
        case VERDICT_DISCARD: end_row(ret_row, STATE_CANCELLED, REASON_DISCARDED); break;
        case VERDICT_DEAD:
                end_row(ret_row, STATE_DEAD, REASON_REJECTED);
                ret_row->error = ERROR_REJECTED;
                break;
        case VERDICT_CANCELLED: /* without a request it counts as RETRY */
        case VERDICT_RETRY:
        default: fail_row(j, ERROR_FAILED, delay_ms, p, u, ret_row); break;
        }
}

void settle_failure(const struct settle_job *j, enum error_class how, const struct retry_policy *p,
                    uint64_t u, struct finish_row *ret_row)
{
        start_row(j, ret_row);
        if (how == ERROR_CANCELLED) {
                ret_row->error = how;
                cancel_row(ret_row);
                return;
        }
        if (how == ERROR_CRASHED || how == ERROR_TIMED_OUT || how == ERROR_OOM) {
                ret_row->strikes++;
        }
        fail_row(j, how, 0, p, u, ret_row);
}

void settle_fingerprint(struct finish_row *row, struct str type)
{
        if (row->error != ERROR_NONE) {
                row->fingerprint = error_fingerprint(type, row->error, row->error_text);
        }
}

void settle_unstarted(const struct settle_job *j, struct finish_row *ret_row)
{
        start_row(j, ret_row);
        if (j->cancel_asked) {
                cancel_row(ret_row);
                return;
        }
        end_row(ret_row, STATE_PENDING, REASON_GIVEN_BACK);
        ret_row->attempt = j->attempt ? j->attempt - 1 : 0;
}
