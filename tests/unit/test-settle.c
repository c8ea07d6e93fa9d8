/* What becomes of a job after a try: every verdict and every way to fail, with and without attempts
 * left. */
#include "core/fingerprint.h"
#include "core/settle.h"
#include "tests/unit/unit.h"

static const struct retry_policy policy = {3, BACKOFF_FIXED, 1000, 600000, 0};

static struct settle_job job(uint16_t attempt, uint8_t strikes)
{
        return (struct settle_job){
            .claim = 7, .token = 9, .attempt = attempt, .max_attempts = 3, .strikes = strikes};
}

static void test_verdicts(void)
{
        static const struct {
                enum verdict_kind kind;
                uint16_t attempt;
                int64_t delay_ms;
                enum job_state to;
                enum job_reason reason;
                enum error_class error;
                uint16_t attempt_after;
                int64_t after_us;
                bool keep;
        } cases[] = {
            {VERDICT_DONE, 1, 0, STATE_COMPLETED, REASON_NONE, ERROR_NONE, 1, 0, false},
            {VERDICT_RETRY, 1, 0, STATE_RETRYING, REASON_NONE, ERROR_FAILED, 1, 1000000, true},
            {VERDICT_RETRY, 2, 250, STATE_RETRYING, REASON_NONE, ERROR_FAILED, 2, 250000, true},
            {VERDICT_RETRY, 3, 250, STATE_DEAD, REASON_EXHAUSTED, ERROR_FAILED, 3, 0, false},
            {VERDICT_SNOOZE, 1, 5000, STATE_SCHEDULED, REASON_SNOOZED, ERROR_NONE, 0, 5000000,
             false},
            {VERDICT_SNOOZE, 3, 1, STATE_SCHEDULED, REASON_SNOOZED, ERROR_NONE, 2, 1000000, false},
            {VERDICT_DISCARD, 1, 0, STATE_CANCELLED, REASON_DISCARDED, ERROR_NONE, 1, 0, false},
            {VERDICT_DEAD, 1, 0, STATE_DEAD, REASON_REJECTED, ERROR_REJECTED, 1, 0, false},
            {VERDICT_CANCELLED, 1, 0, STATE_RETRYING, REASON_NONE, ERROR_FAILED, 1, 1000000, true},
            {VERDICT_CANCELLED, 3, 0, STATE_DEAD, REASON_EXHAUSTED, ERROR_FAILED, 3, 0, false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct settle_job j = job(cases[i].attempt, 0);
                struct finish_row row = {0};
                settle_verdict(&j, cases[i].kind, cases[i].delay_ms, &policy, 0, &row);
                CU_ASSERT(row.to == cases[i].to && row.reason == cases[i].reason &&
                          row.error == cases[i].error);
                CU_ASSERT(row.attempt == cases[i].attempt_after &&
                          row.after_us == cases[i].after_us);
                CU_ASSERT(row.keep_attempt == cases[i].keep && row.claim == 7 && row.token == 9 &&
                          row.strikes == 0);
        }
}

static void test_failures(void)
{
        static const struct {
                enum error_class how;
                uint16_t attempt;
                uint8_t strikes;
                enum job_state to;
                enum job_reason reason;
                uint8_t strikes_after;
        } cases[] = {
            {ERROR_CRASHED, 1, 0, STATE_RETRYING, REASON_NONE, 1},
            {ERROR_TIMED_OUT, 1, 1, STATE_RETRYING, REASON_NONE, 2},
            {ERROR_OOM, 2, 2, STATE_DEAD, REASON_CRASHED, 3},
            {ERROR_CRASHED, 3, 2, STATE_DEAD, REASON_CRASHED,
             3}, /* spent and third strike: crashed */
            {ERROR_CRASHED, 3, 0, STATE_DEAD, REASON_EXHAUSTED, 1},
            {ERROR_LOST, 1, 2, STATE_RETRYING, REASON_NONE, 2},
            {ERROR_LOST, 3, 0, STATE_DEAD, REASON_EXHAUSTED, 0},
            {ERROR_STOPPED, 1, 0, STATE_RETRYING, REASON_NONE, 0},
            {ERROR_CANCELLED, 1, 0, STATE_CANCELLED, REASON_OPERATOR, 0},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct settle_job j = job(cases[i].attempt, cases[i].strikes);
                struct finish_row row = {0};
                settle_failure(&j, cases[i].how, &policy, 0, &row);
                CU_ASSERT(row.to == cases[i].to && row.reason == cases[i].reason);
                CU_ASSERT(row.error == cases[i].how && row.strikes == cases[i].strikes_after);
                CU_ASSERT(row.attempt == cases[i].attempt);
        }
}

static void test_a_cancel_wins_over_everything_but_done(void)
{
        for (int kind = 0; kind < VERDICT_KINDS; kind++) {
                struct settle_job j = job(1, 0);
                struct finish_row row = {0};
                j.cancel_asked = true;
                settle_verdict(&j, kind, 0, &policy, 0, &row);
                bool said = kind == VERDICT_DONE || kind == VERDICT_DEAD;
                CU_ASSERT_EQUAL(row.to == STATE_CANCELLED, !said);
        }
        struct settle_job j = job(1, 2);
        struct finish_row row = {0};
        j.cancel_asked = true;
        settle_failure(&j, ERROR_LOST, &policy, 0, &row);
        CU_ASSERT(row.to == STATE_CANCELLED);
        settle_unstarted(&j, &row);
        CU_ASSERT(row.to == STATE_CANCELLED && row.reason == REASON_OPERATOR);
}

static void test_given_back_spends_nothing(void)
{
        struct settle_job j = job(3, 1);
        struct finish_row row = {0};
        settle_unstarted(&j, &row);
        CU_ASSERT(row.to == STATE_PENDING && row.reason == REASON_GIVEN_BACK);
        CU_ASSERT(row.attempt == 2 && row.strikes == 1 && !row.keep_attempt);
}

static void test_the_last_snooze(void)
{
        struct settle_job j = job(1, 0);
        struct finish_row row = {0};
        j.snoozes = SNOOZES_MAX - 1;
        settle_verdict(&j, VERDICT_SNOOZE, 0, &policy, 0, &row);
        CU_ASSERT(row.to == STATE_SCHEDULED && row.snoozes == SNOOZES_MAX);
        j.snoozes = SNOOZES_MAX;
        settle_verdict(&j, VERDICT_SNOOZE, 0, &policy, 0, &row);
        CU_ASSERT(row.to == STATE_DEAD && row.reason == REASON_SNOOZED_OUT);
}

static void test_no_attempt_begins_after_the_budget(void)
{
        static const struct {
                int64_t until_us, delay_ms;
                enum job_state to;
        } cases[] = {
            {0, 0, STATE_RETRYING}, /* no budget */
            {11000000, 0, STATE_RETRYING},   {10999999, 0, STATE_DEAD},
            {10999999, 900, STATE_RETRYING}, /* the handler's own delay */
            {11000000, 1001, STATE_DEAD},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct settle_job j = job(1, 0);
                struct finish_row row = {0};
                j.wall_us = 10000000;
                j.retry_until_us = cases[i].until_us;
                settle_verdict(&j, VERDICT_RETRY, cases[i].delay_ms, &policy, 0, &row);
                CU_ASSERT(row.to == cases[i].to && row.error == ERROR_FAILED);
                CU_ASSERT(row.reason == (row.to == STATE_DEAD ? REASON_EXHAUSTED : REASON_NONE));
                CU_ASSERT(row.keep_attempt == (row.to == STATE_RETRYING));
        }
        struct settle_job late = job(1, 0);
        struct finish_row row = {0};
        late.wall_us = 2;
        late.retry_until_us = 1; /* but for failures it means nothing */
        settle_verdict(&late, VERDICT_DONE, 0, &policy, 0, &row);
        CU_ASSERT(row.to == STATE_COMPLETED);
        settle_verdict(&late, VERDICT_SNOOZE, 5000, &policy, 0, &row);
        CU_ASSERT(row.to == STATE_SCHEDULED);
        settle_unstarted(&late, &row);
        CU_ASSERT(row.to == STATE_PENDING);
        settle_failure(&late, ERROR_LOST, &policy, 0, &row);
        CU_ASSERT(row.to == STATE_DEAD && row.reason == REASON_EXHAUSTED);
}

static void test_only_errors_have_a_fingerprint(void)
{
        struct settle_job j = job(1, 0);
        struct finish_row row = {0};
        j.left_work = true;
        settle_verdict(&j, VERDICT_DONE, 0, &policy, 0, &row);
        settle_fingerprint(&row, STR("t"));
        CU_ASSERT(row.fingerprint == 0 && row.left_work);
        settle_failure(&j, ERROR_CRASHED, &policy, 0, &row);
        row.error_text = STR("SIGSEGV at 0x10");
        settle_fingerprint(&row, STR("t"));
        CU_ASSERT(row.fingerprint ==
                  error_fingerprint(STR("t"), ERROR_CRASHED, STR("SIGSEGV at 0x2")));
        settle_verdict(&j, VERDICT_DEAD, 0, &policy, 0, &row);
        settle_fingerprint(&row, STR("t"));
        CU_ASSERT(row.fingerprint != 0);
}

UNIT_TESTS = {
    {"no attempt begins after the budget of time", test_no_attempt_begins_after_the_budget},
    {"only errors have a fingerprint", test_only_errors_have_a_fingerprint},
    {"verdicts", test_verdicts},
    {"failures and strikes", test_failures},
    {"a cancel wins over everything but an end", test_a_cancel_wins_over_everything_but_done},
    {"a job given back spends nothing", test_given_back_spends_nothing},
    {"the 1,001st snooze is the end", test_the_last_snooze},
};
UNIT_MAIN("settle")
