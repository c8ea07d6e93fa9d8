/* What a job is given by its type and its queue, and the policy that it fails under. */
#include "core/defaults.h"
#include "tests/unit/unit.h"

#define NOW INT64_C(1000000000000)

static struct queue_config queue = {
    .name = {"mail", 4},
    .priority = 7,
    .retry = {4, BACKOFF_LINEAR, 2000, 60000, 0},
};
static struct type_config types[] = {
    {.pattern = {"mail.>", 6}, .retry = {"attempts=6 for=1h", 17}},
    {.pattern = {"mail.send", 9},
     .retry = {"fixed base=9s", 13},
     .timeout_ms = 5,
     .heartbeat_ms = 9},
    {.pattern = {"quiet", 5}},
};
static const struct config with_types = {.types = types, .n_types = 3};
static const struct config without = {0};

static struct submit_row filled(const struct config *c, const struct queue_config *q,
                                struct submit_row row)
{
        row_defaults(c, q, &row, NOW);
        struct submit_row again = row;
        row_defaults(c, q, &again, NOW + 5); /* harmless to repeat */
        CU_ASSERT(row.priority == again.priority && row.max_attempts == again.max_attempts);
        CU_ASSERT(row.timeout_ms == again.timeout_ms && row.heartbeat_ms == again.heartbeat_ms);
        CU_ASSERT(row.retry_until_us == again.retry_until_us);
        CU_ASSERT(str_eq(row.policy, again.policy));
        return row;
}

static void test_by_queue(void)
{
        struct submit_row row = {.type = STR("x"), .priority = ROW_PRIORITY_UNSET};
        struct submit_row r = filled(&without, &queue, row);
        CU_ASSERT(r.priority == 7 && r.max_attempts == 4 && r.retry_until_us == 0);
        CU_ASSERT(r.timeout_ms == 0 && r.heartbeat_ms == 0); /* the handler has a word in it */
        r = filled(&without, NULL, row);
        CU_ASSERT(r.priority == PRIORITY_DEFAULT && r.max_attempts == 3);
        row.priority = 0;
        row.max_attempts = 2;
        r = filled(&with_types, &queue, row);
        CU_ASSERT(r.priority == 0 && r.max_attempts == 2);
}

static void test_by_type(void)
{
        struct submit_row r =
            filled(&with_types, &queue, (struct submit_row){.type = STR("mail.a")});
        CU_ASSERT(r.max_attempts == 6 && r.retry_until_us == NOW + INT64_C(3600000000));
        r = filled(&with_types, &queue, (struct submit_row){.type = STR("mail.send")});
        CU_ASSERT(r.max_attempts == 4 && r.retry_until_us == 0); /* the most literal one alone */
        CU_ASSERT(r.timeout_ms == 0 && r.heartbeat_ms == 0);     /* the handler is asked first */
        r = filled(&with_types, &queue, (struct submit_row){.type = STR("quiet")});
        CU_ASSERT(r.max_attempts == 4);
}

static void test_its_own_words_win(void)
{
        struct submit_row row = {.type = STR("mail.a"), .policy = STR("attempts=9 for=1s")};
        struct submit_row r = filled(&with_types, &queue, row);
        CU_ASSERT(r.max_attempts == 9 && r.retry_until_us == NOW + US_PER_S);
        row.max_attempts = 2; /* said in its own field */
        r = filled(&with_types, &queue, row);
        CU_ASSERT(r.max_attempts == 2 && r.retry_until_us == NOW + US_PER_S);
        row.policy = STR("nonsense"); /* of another version */
        row.max_attempts = 0;
        r = filled(&with_types, &queue, row);
        CU_ASSERT(r.max_attempts == 6);
}

static void test_the_budget_begins_when_the_job_may(void)
{
        struct submit_row row = {.type = STR("x"), .policy = STR("for=10s")};
        row.state = STATE_SCHEDULED;
        row.at_us = NOW + 5;
        CU_ASSERT_EQUAL(filled(&without, &queue, row).retry_until_us, NOW + 5 + 10 * US_PER_S);
        row.after_us = 7;
        CU_ASSERT_EQUAL(filled(&without, &queue, row).retry_until_us, NOW + 7 + 10 * US_PER_S);
        row.after_us = 0;
        row.at_us = NOW - 5;
        CU_ASSERT_EQUAL(filled(&without, &queue, row).retry_until_us, NOW + 10 * US_PER_S);
        row.retry_until_us = 3;
        CU_ASSERT_EQUAL(filled(&without, &queue, row).retry_until_us, 3);
        struct queue_config budget = queue;
        budget.retry.for_ms = 1000;
        CU_ASSERT_EQUAL(
            filled(&without, &budget, (struct submit_row){.state = STATE_PENDING}).retry_until_us,
            NOW + US_PER_S);
}

static void test_policies_lie_over_each_other(void)
{
        struct retry_policy p = queue.retry;
        policy_overlay(&with_types, STR("mail.send"), STR("jitter=1"), &p);
        CU_ASSERT(p.backoff == BACKOFF_FIXED && p.base_ms == 9000 && p.jitter_permille == 1000);
        CU_ASSERT(p.max_attempts == 4 && p.cap_ms == 60000);
        p = queue.retry;
        policy_overlay(&without, STR("mail.send"), (struct str){0}, &p);
        CU_ASSERT(p.backoff == BACKOFF_LINEAR && p.base_ms == 2000);
}

UNIT_TESTS = {
    {"by queue", test_by_queue},
    {"by type", test_by_type},
    {"its own words win", test_its_own_words_win},
    {"the budget begins when the job may", test_the_budget_begins_when_the_job_may},
    {"policies lie over each other", test_policies_lie_over_each_other},
};
UNIT_MAIN("defaults")
