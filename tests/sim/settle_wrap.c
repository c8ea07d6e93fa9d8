/*
 * Stands between the engine and settle.c in sim-plants (linked with --wrap), for the planted bugs
 * of settling. Every other program links settle.c itself.
 */
#include "core/settle.h"
#include "tests/sim/plant.h"

void __real_settle_verdict(const struct settle_job *j, enum verdict_kind kind, int64_t delay_ms,
                           const struct retry_policy *p, uint64_t u, struct finish_row *ret_row);
void __real_settle_failure(const struct settle_job *j, enum error_class how,
                           const struct retry_policy *p, uint64_t u, struct finish_row *ret_row);
void __wrap_settle_verdict(const struct settle_job *j, enum verdict_kind kind, int64_t delay_ms,
                           const struct retry_policy *p, uint64_t u, struct finish_row *ret_row);
void __wrap_settle_failure(const struct settle_job *j, enum error_class how,
                           const struct retry_policy *p, uint64_t u, struct finish_row *ret_row);

static struct settle_job bend(const struct settle_job *j)
{
        struct settle_job bent = *j;
        if (planted(PLANT_ATTEMPTS_ENDLESS)) {
                bent.max_attempts++;
        }
        return bent;
}

void __wrap_settle_verdict(const struct settle_job *j, enum verdict_kind kind, int64_t delay_ms,
                           const struct retry_policy *p, uint64_t u, struct finish_row *ret_row)
{
        struct settle_job bent = bend(j);
        __real_settle_verdict(&bent, kind, delay_ms, p, u, ret_row);
        if (planted(PLANT_SNOOZE_SPENDS) && ret_row->to == STATE_SCHEDULED) {
                ret_row->attempt = j->attempt;
        }
}

void __wrap_settle_failure(const struct settle_job *j, enum error_class how,
                           const struct retry_policy *p, uint64_t u, struct finish_row *ret_row)
{
        struct settle_job bent = bend(j);
        __real_settle_failure(&bent, how, p, u, ret_row);
        if (planted(PLANT_STRIKE_NEVER)) {
                ret_row->strikes = j->strikes;
        }
}
