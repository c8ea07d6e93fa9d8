/* Delays of the back-offs, their caps and their jitter; policies as text, and what is refused. */
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

static void test_a_table(void)
{
        struct retry_policy p = policy(BACKOFF_TABLE, 0, 600000, 0);
        CU_ASSERT_EQUAL(retry_delay_ms(&p, 1, MIDDLE), 600000); /* without entries: the cap */
        p.n_table = 3;
        p.table_ms[0] = 1000;
        p.table_ms[1] = 10000;
        p.table_ms[2] = 900000;
        static const int64_t want[] = {1000, 1000, 10000, 600000, 600000, 600000};
        for (uint32_t attempt = 0; attempt < ARRAY_LEN(want); attempt++) {
                CU_ASSERT_EQUAL(retry_delay_ms(&p, attempt, MIDDLE), want[attempt]);
        }
        CU_ASSERT_EQUAL(retry_delay_ms(&p, UINT32_MAX, MIDDLE), 600000);
}

/* --- as text ---------------------------------------------------------------------------------- */

static bool same(const struct retry_policy *a, const struct retry_policy *b)
{
        bool table = a->n_table == b->n_table;
        for (uint32_t i = 0; table && i < a->n_table; i++) {
                table = a->table_ms[i] == b->table_ms[i];
        }
        return table && a->max_attempts == b->max_attempts && a->backoff == b->backoff &&
               a->base_ms == b->base_ms && a->cap_ms == b->cap_ms &&
               a->jitter_permille == b->jitter_permille && a->for_ms == b->for_ms;
}

static void test_texts(void)
{
        static const struct {
                const char *text;
                struct retry_policy want;
        } cases[] = {
            {"", {3, BACKOFF_EXPONENTIAL, 1000, 600000, 200}},
            {"exponential", {3, BACKOFF_EXPONENTIAL, 1000, 600000, 200}},
            {"  linear\tbase=2s ", {3, BACKOFF_LINEAR, 2000, 600000, 200}},
            {"attempts=5 fixed base=30s jitter=0", {5, BACKOFF_FIXED, 30000, 600000, 0}},
            {"jitter=1", {3, BACKOFF_EXPONENTIAL, 1000, 600000, 1000}},
            {"jitter=0.125", {3, BACKOFF_EXPONENTIAL, 1000, 600000, 125}},
            {"for=2h", {3, BACKOFF_EXPONENTIAL, 1000, 600000, 200, 7200000}},
            {"attempts=1000", {1000, BACKOFF_EXPONENTIAL, 1000, 600000, 200}},
            {"cap=5s base=1s", {3, BACKOFF_EXPONENTIAL, 1000, 5000, 200}},
            {"table=1s,10s,2m", {3, BACKOFF_TABLE, 1000, 600000, 200, 0, 3, {1000, 10000, 120000}}},
            {"table=0,1d", {3, BACKOFF_TABLE, 1000, 86400000, 200, 0, 2, {0, 86400000}}},
            {"table=1h cap=1h", {3, BACKOFF_TABLE, 1000, 3600000, 200, 0, 1, {3600000}}},
            {"fixed base=1h", {3, BACKOFF_FIXED, 3600000, 3600000, 200}}, /* the cap gives way */
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct retry_policy p = RETRY_POLICY_DEFAULT;
                char note[256] = "";
                int r = retry_parse(str_of(cases[i].text), &p, note, sizeof note);
                if (r || !same(&p, &cases[i].want)) {
                        printf("\"%s\": %s\n", cases[i].text, note);
                }
                CU_ASSERT(r == 0 && same(&p, &cases[i].want));
        }
}

static void test_what_is_said_last_lies_over_the_rest(void)
{
        struct retry_policy p = RETRY_POLICY_DEFAULT;
        char note[256];
        CU_ASSERT_EQUAL(retry_parse(STR("table=1s,5s for=1h"), &p, note, sizeof note), 0);
        CU_ASSERT_EQUAL(retry_parse(STR("attempts=9"), &p, note, sizeof note), 0);
        CU_ASSERT(p.backoff == BACKOFF_TABLE && p.n_table == 2 && p.max_attempts == 9);
        CU_ASSERT_EQUAL(retry_parse(STR("fixed"), &p, note, sizeof note), 0);
        CU_ASSERT(p.backoff == BACKOFF_FIXED && p.n_table == 0 && p.for_ms == 3600000);
}

static void test_refused_texts(void)
{
        static const struct {
                const char *text, *says;
        } cases[] = {
            {"quadratic", "at byte 1: \"quadratic\" is not allowed; write one of exponential"},
            {"fixed base=5", "at byte 7: \"base=5\" is not allowed; write base= and a duration"},
            {"base=", "\"base=\""},
            {"base", "\"base\""},
            {"base=366d", "at most 365d"},
            {"base=-1s", "\"base=-1s\""},
            {"cap=1h30m", "\"cap=1h30m\""},
            {"jitter=2", "a share from 0 to 1"},
            {"jitter=1.1", "a share from 0 to 1"},
            {"jitter=.5", "a share from 0 to 1"},
            {"jitter=0.1234", "three decimals"},
            {"jitter=0.", "three decimals"},
            {"jitter=20%", "a share from 0 to 1"},
            {"attempts=0", "an integer from 1 to 1000"},
            {"attempts=1001", "an integer from 1 to 1000"},
            {"attempts=", "an integer from 1 to 1000"},
            {"attempts=65537", "an integer from 1 to 1000"},
            {"for=0", "from 1ms to 3660d"},
            {"for=3661d", "from 1ms to 3660d"},
            {"table", "1 to 16 durations"},
            {"table=", "1 to 16 durations"},
            {"table=1s,", "1 to 16 durations"},
            {"table=1s,,2s", "1 to 16 durations"},
            {"table=1s,2s,3s,4s,5s,6s,7s,8s,9s,10s,11s,12s,13s,14s,15s,16s,17s",
             "1 to 16 durations"},
            {"fixed linear", "at byte 7: \"linear\" is not allowed; write one of exponential"},
            {"fixed table=1s", "table= alone"},
            {"base=1s base=2s", "at byte 9: \"base=2s\" is not allowed; write each word once"},
            {"base=1m cap=10s", "cap is shorter than base"},
            {"table=1s,1h cap=10s", "cap is shorter than an entry of table"},
            {"fixed=1", "\"fixed=1\""},
            {"Fixed", "\"Fixed\""},
            {"fixed\x01", "\"fixed?\""},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct retry_policy p = RETRY_POLICY_DEFAULT, before = p;
                char note[256] = "";
                int r = retry_parse(str_of(cases[i].text), &p, note, sizeof note);
                bool told = strstr(note, cases[i].says) != NULL;
                if (r != RETRY_REFUSED || !told) {
                        printf("\"%s\": %d, %s\n", cases[i].text, r, note);
                }
                CU_ASSERT(r == RETRY_REFUSED && told && same(&p, &before));
        }
        char text[RETRY_TEXT_MAX + 2];
        memset(text, ' ', sizeof text);
        struct retry_policy p = RETRY_POLICY_DEFAULT;
        char note[8];
        CU_ASSERT_EQUAL(retry_parse((struct str){text, sizeof text - 1}, &p, note, sizeof note),
                        RETRY_REFUSED);
        CU_ASSERT_EQUAL(retry_parse((struct str){text, RETRY_TEXT_MAX}, &p, note, sizeof note), 0);
}

UNIT_TESTS = {
    {"delays by attempt", test_tables},
    {"a table of delays", test_a_table},
    {"texts", test_texts},
    {"what is said last lies over the rest", test_what_is_said_last_lies_over_the_rest},
    {"refused texts name place, word and what is allowed", test_refused_texts},
    {"jitter spans its range evenly", test_jitter_spans_its_range},
    {"a year does not overflow", test_a_year_does_not_overflow},
    {"names", test_names},
};
UNIT_MAIN("retry")
