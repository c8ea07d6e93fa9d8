/* Delays of the three back-offs, their caps and their jitter. */
#include "core/retry.h"
#include "tests/unit/unit.h"

#define MIDDLE (UINT64_C(1) << 63) /* u = 0 */

static struct retry_policy policy(enum backoff b, int64_t base, int64_t cap, uint16_t jitter)
{
        return (struct retry_policy){3, b, base, cap, jitter};
}

static void test_tables(void)
{
        static const struct {
                enum backoff backoff;
                int64_t base, cap;
                uint32_t attempt;
                int64_t want;
        } cases[] = {
            {BACKOFF_EXPONENTIAL, 1000, 600000, 1, 1000},
            {BACKOFF_EXPONENTIAL, 1000, 600000, 2, 2000},
            {BACKOFF_EXPONENTIAL, 1000, 600000, 5, 16000},
            {BACKOFF_EXPONENTIAL, 1000, 600000, 10, 512000},
            {BACKOFF_EXPONENTIAL, 1000, 600000, 11, 600000},
            {BACKOFF_EXPONENTIAL, 1000, 600000, 1000, 600000},
            {BACKOFF_EXPONENTIAL, 0, 600000, 7, 0},
            {BACKOFF_EXPONENTIAL, 1000, 0, 7, 0},
            {BACKOFF_EXPONENTIAL, INT64_MAX, 600000, 3, 600000},
            {BACKOFF_LINEAR, 1000, 600000, 1, 1000},
            {BACKOFF_LINEAR, 1000, 600000, 7, 7000},
            {BACKOFF_LINEAR, 1000, 5000, 7, 5000},
            {BACKOFF_LINEAR, 1000, 600000, UINT32_MAX, 600000},
            {BACKOFF_FIXED, 1000, 600000, 1, 1000},
            {BACKOFF_FIXED, 1000, 600000, 100, 1000},
            {BACKOFF_FIXED, 9000, 5000, 1, 5000},
            {BACKOFF_FIXED, 1000, 600000, 0, 1000},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct retry_policy p = policy(cases[i].backoff, cases[i].base, cases[i].cap, 200);
                int64_t got = retry_delay_ms(&p, cases[i].attempt, MIDDLE);
                if (got != cases[i].want) {
                        printf("case %zu: %lld, wanted %lld\n", i, (long long)got,
                               (long long)cases[i].want);
                }
                CU_ASSERT_EQUAL(got, cases[i].want);
        }
}

static void test_jitter_spans_its_range(void)
{
        struct retry_policy p = policy(BACKOFF_FIXED, 10000, 600000, 200);
        CU_ASSERT_EQUAL(retry_delay_ms(&p, 1, 0), 8000);
        int64_t top = retry_delay_ms(&p, 1, UINT64_MAX);
        CU_ASSERT(top > 11990 && top <= 12000);
        uint64_t u = 1;
        int64_t least = INT64_MAX, most = 0, sum = 0;
        for (int i = 0; i < 10000; i++) {
                u = u * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                int64_t d = retry_delay_ms(&p, 1, u);
                least = d < least ? d : least;
                most = d > most ? d : most;
                sum += d;
        }
        CU_ASSERT(least >= 8000 && least < 8100 && most <= 12000 && most > 11900);
        CU_ASSERT(sum / 10000 > 9900 && sum / 10000 < 10100);
        p.jitter_permille = 0;
        CU_ASSERT_EQUAL(retry_delay_ms(&p, 1, 0), 10000);
}

static void test_a_year_does_not_overflow(void)
{
        int64_t year = INT64_C(365) * 86400000;
        struct retry_policy p = policy(BACKOFF_EXPONENTIAL, year, year, 1000);
        for (uint32_t attempt = 1; attempt < 100; attempt++) {
                int64_t d = retry_delay_ms(&p, attempt, UINT64_MAX);
                CU_ASSERT(d >= 0 && d <= 2 * year);
                CU_ASSERT(retry_delay_ms(&p, attempt, 0) >= 0);
        }
}

static void test_names(void)
{
        enum backoff b = BACKOFF_FIXED;
        CU_ASSERT(backoff_parse(STR("linear"), &b) && b == BACKOFF_LINEAR);
        CU_ASSERT(!backoff_parse(STR("quadratic"), &b) && b == BACKOFF_LINEAR);
        CU_ASSERT_STRING_EQUAL(backoff_name(BACKOFF_EXPONENTIAL), "exponential");
}

UNIT_TESTS = {
    {"delays by attempt", test_tables},
    {"jitter spans its range evenly", test_jitter_spans_its_range},
    {"a year does not overflow", test_a_year_does_not_overflow},
    {"names", test_names},
};
UNIT_MAIN("retry")
