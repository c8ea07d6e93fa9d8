/*
 * RFC 3339: what is a time, what is none, and the text that comes back.
 */
#include "core/rfc3339.h"
#include "tests/unit/unit.h"

#include <inttypes.h>

static void test_parse(void)
{
        static const struct {
                const char *text;
                int64_t us; /* -1: none */
        } cases[] = {
            {"1970-01-01T00:00:00Z", 0},
            {"1970-01-01T00:00:00.000001Z", 1},
            {"1970-01-01t00:00:00.0000019z", 1},
            {"1970-01-01T01:00:00+01:00", 0},
            {"1969-12-31T23:59:59Z", -1},
            {"1970-01-01T00:00:00+00:01", -1},
            {"1970-01-01T00:00:00-00:01", 60000000},
            {"2000-02-29T00:00:00Z", INT64_C(951782400000000)},
            {"2100-02-29T00:00:00Z", -1},
            {"2024-02-30T00:00:00Z", -1},
            {"2031-05-04T13:00:00Z", INT64_C(1935666000000000)},
            {"2016-12-31T23:59:60Z", INT64_C(1483228800000000)},
            {"9999-12-31T23:59:59.999999Z", RFC3339_LAST_US},
            {"9999-12-31T23:59:59-00:01", -1},
            {"2031-05-04T13:00:00", -1},
            {"2031-05-04 13:00:00Z", -1},
            {"2031-05-04T13:00Z", -1},
            {"2031-05-04T13:00:00.Z", -1},
            {"2031-05-04T13:00:00,5Z", -1},
            {"2031-05-04T24:00:00Z", -1},
            {"2031-05-04T13:60:00Z", -1},
            {"2031-05-04T13:00:61Z", -1},
            {"2031-00-04T13:00:00Z", -1},
            {"2031-13-04T13:00:00Z", -1},
            {"2031-05-00T13:00:00Z", -1},
            {"2031-05-32T13:00:00Z", -1},
            {"2031-05-04T13:00:00+24:00", -1},
            {"2031-05-04T13:00:00+01:60", -1},
            {"2031-05-04T13:00:00+0100", -1},
            {"2031-05-04T13:00:00ZZ", -1},
            {" 2031-05-04T13:00:00Z", -1},
            {"2031-05-04T13:00:00Z ", -1},
            {"20310504T130000Z", -1},
            {"Z", -1},
            {"", -1},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                int64_t us = -1;
                bool ok = rfc3339_parse(str_of(cases[i].text), &us);
                if (us != cases[i].us || ok != (us >= 0)) {
                        printf("\n%s: %" PRId64 "\n", cases[i].text, us);
                        CU_FAIL("a time");
                }
        }
}

static void test_text(void)
{
        static const struct {
                int64_t us;
                const char *text;
        } cases[] = {
            {0, "1970-01-01T00:00:00.000000Z"},
            {-1, "1970-01-01T00:00:00.000000Z"},
            {INT64_C(951868799999999), "2000-02-29T23:59:59.999999Z"},
            {INT64_C(951868800000000), "2000-03-01T00:00:00.000000Z"},
            {RFC3339_LAST_US, "9999-12-31T23:59:59.999999Z"},
            {INT64_MAX, "9999-12-31T23:59:59.999999Z"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char text[RFC3339_TEXT];
                rfc3339_text(cases[i].us, text);
                CU_ASSERT_STRING_EQUAL(text, cases[i].text);
        }
}

/* Every day until 2199 at a time of its own, then some of every year. */
static void test_there_and_back(void)
{
        uint32_t wrong = 0;
        for (int64_t day = 0; day <= RFC3339_LAST_US / (86400 * US_PER_S);
             day += day < 84000 ? 1 : 97) {
                int64_t us = day * 86400 * US_PER_S + day * 7919 % 86400 * US_PER_S + day % 1000000;
                int64_t back = -1;
                char text[RFC3339_TEXT];
                rfc3339_text(us, text);
                wrong += !rfc3339_parse(str_of(text), &back) || back != us;
        }
        CU_ASSERT(wrong == 0);
}

UNIT_TESTS = {
    {"times are read", test_parse},
    {"times are written", test_text},
    {"days come back", test_there_and_back},
};
UNIT_MAIN("rfc3339")
