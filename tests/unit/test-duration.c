/*
 * Durations and sizes: what is read, what is nonsense, overflow, and the text that comes back.
 */
#include "core/config.h"
#include "tests/unit/unit.h"

#include <inttypes.h>

static void test_durations(void)
{
        static const struct {
                const char *text;
                int64_t ms; /* -1: nonsense */
                const char *back;
        } cases[] = {
            {"0", 0, "0"},
            {"0s", 0, "0"},
            {"250ms", 250, "250ms"},
            {"30s", 30000, "30s"},
            {"60s", 60000, "1m"},
            {"5m", 300000, "5m"},
            {"2h", 7200000, "2h"},
            {"7d", 604800000, "7d"},
            {"007s", 7000, "7s"},
            {"1500ms", 1500, "1500ms"},
            {"9223372036854775807ms", INT64_MAX, "9223372036854775807ms"},
            {"106751991167d", INT64_C(106751991167) * 86400000, "106751991167d"},
            {"9223372036854775808ms", -1, NULL},
            {"106751991168d", -1, NULL},
            {"99999999999999999999999999999s", -1, NULL},
            {"", -1, NULL},
            {"5", -1, NULL},
            {"s", -1, NULL},
            {"-5s", -1, NULL},
            {"+5s", -1, NULL},
            {" 5s", -1, NULL},
            {"5s ", -1, NULL},
            {"5 s", -1, NULL},
            {"1.5s", -1, NULL},
            {"1h30m", -1, NULL},
            {"5S", -1, NULL},
            {"5sec", -1, NULL},
            {"5msx", -1, NULL},
            {"0x5s", -1, NULL},
            {"1e3s", -1, NULL},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                int64_t ms = -7;
                char back[DURATION_TEXT_MAX];
                bool ok = duration_parse(str_of(cases[i].text), &ms);
                if (ok != (cases[i].ms >= 0) || ms != (ok ? cases[i].ms : -7)) {
                        printf("\n%s: %d %" PRId64 "\n", cases[i].text, ok, ms);
                        CU_FAIL("a duration");
                }
                if (ok) {
                        duration_text(ms, back);
                        CU_ASSERT_STRING_EQUAL(back, cases[i].back);
                }
        }
        int64_t ms;
        CU_ASSERT_FALSE(duration_parse((struct str){0}, &ms));
        CU_ASSERT_FALSE(duration_parse((struct str){"5s\0", 3}, &ms));
}

static void test_sizes(void)
{
        static const struct {
                const char *text;
                int64_t bytes;
                const char *back;
        } cases[] = {
            {"0", 0, "0"},
            {"512", 512, "512"},
            {"64k", 65536, "64k"},
            {"64K", 65536, "64k"},
            {"1024k", 1 << 20, "1M"},
            {"1M", 1 << 20, "1M"},
            {"1m", 1 << 20, "1M"},
            {"2G", INT64_C(2) << 30, "2G"},
            {"8589934591G", INT64_C(8589934591) << 30, "8589934591G"},
            {"8589934592G", -1, NULL},
            {"9223372036854775808", -1, NULL},
            {"", -1, NULL},
            {"k", -1, NULL},
            {"1kb", -1, NULL},
            {"1T", -1, NULL},
            {"1.5M", -1, NULL},
            {"-1", -1, NULL},
            {" 1", -1, NULL},
            {"1 ", -1, NULL},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                int64_t bytes = -7;
                char back[DURATION_TEXT_MAX];
                bool ok = size_parse(str_of(cases[i].text), &bytes);
                if (ok != (cases[i].bytes >= 0) || bytes != (ok ? cases[i].bytes : -7)) {
                        printf("\n%s: %d %" PRId64 "\n", cases[i].text, ok, bytes);
                        CU_FAIL("a size");
                }
                if (ok) {
                        size_text(bytes, back);
                        CU_ASSERT_STRING_EQUAL(back, cases[i].back);
                }
        }
}

UNIT_TESTS = {
    {"durations", test_durations},
    {"sizes", test_sizes},
};
UNIT_MAIN("duration")
