/* Which errors are the same. */
#include "core/fingerprint.h"
#include "tests/unit/unit.h"

static uint64_t of(const char *text)
{
        return error_fingerprint(STR("email.send"), ERROR_FAILED, str_of(text));
}

static void test_particulars_do_not_count(void)
{
        static const char *const pairs[][2] = {
            {"timeout after 30 s", "timeout after 1200 s"},
            {"connect to 10.0.0.1:5432 failed", "connect to 192.168.17.4:80 failed"},
            {"no such order 0190d2f4-5b6c-7abc-8def-0123456789ab",
             "no such order 018f0000-1111-4222-a333-bbbbccccdddd"},
            {"bad pointer 0x7ffd12ab", "bad pointer 0x1"},
            {"object deadbeef01 is gone", "object 00c0ffee00112233 is gone"},
            {"cannot open \"/srv/a.txt\"", "cannot open \"b c d\""},
            {"cannot open '/srv/a.txt'", "cannot open 'it's here'"},
            {"unknown column `a`", "unknown column `b`"},
            {"/var/spool/job-17/part.3: gone", "/var/spool/job-18/part.99: gone"},
            {"first line\nat frame 3", "first line\nat another frame"},
            {"first line \r\nmore", "first line"},
            {"at 2026-01-02T03:04:05.123Z", "at 2031-11-12T13:14:15.9Z"},
        };
        for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
                if (of(pairs[i][0]) != of(pairs[i][1])) {
                        printf("differ: %s | %s\n", pairs[i][0], pairs[i][1]);
                }
                CU_ASSERT_EQUAL(of(pairs[i][0]), of(pairs[i][1]));
        }
}

static void test_what_is_said_counts(void)
{
        static const char *const pairs[][2] = {
            {"timeout", "time out"},
            {"", "x"},
            {"facade", "decade"},                   /* short runs of hex letters are words */
            {"don't panic", "don't worry"},         /* an apostrophe quotes nothing */
            {"cannot open \"a", "cannot open \"b"}, /* nor does a quote without an end */
            {"error: x", "error: y"},
        };
        for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
                if (of(pairs[i][0]) == of(pairs[i][1])) {
                        printf("equal: %s | %s\n", pairs[i][0], pairs[i][1]);
                }
                CU_ASSERT_NOT_EQUAL(of(pairs[i][0]), of(pairs[i][1]));
        }
}

static void test_type_and_class_count(void)
{
        uint64_t a = error_fingerprint(STR("a"), ERROR_FAILED, STR("x"));
        CU_ASSERT(a != 0 && error_fingerprint((struct str){0}, ERROR_NONE, (struct str){0}) != 0);
        CU_ASSERT_NOT_EQUAL(a, error_fingerprint(STR("b"), ERROR_FAILED, STR("x")));
        CU_ASSERT_NOT_EQUAL(a, error_fingerprint(STR("a"), ERROR_CRASHED, STR("x")));
}

static void test_long_lines_and_odd_bytes(void)
{
        char a[2000], b[2000];
        memset(a, 'x', sizeof a);
        memcpy(b, a, sizeof b);
        b[1999] = 'y'; /* beyond what counts */
        CU_ASSERT_EQUAL(error_fingerprint(STR("t"), ERROR_FAILED, (struct str){a, sizeof a}),
                        error_fingerprint(STR("t"), ERROR_FAILED, (struct str){b, sizeof b}));
        for (int c = 0; c < 256; c++) { /* every byte may stand alone, first and last */
                char text[3] = {(char)c, 'a', (char)c};
                CU_ASSERT(error_fingerprint(STR("t"), ERROR_FAILED, (struct str){text, 3}) != 0);
        }
        CU_ASSERT(of("0x") != 0 && of("-") != 0 && of("0190d2f4-") != 0 && of("'") != 0);
}

UNIT_TESTS = {
    {"particulars do not count", test_particulars_do_not_count},
    {"what is said counts", test_what_is_said_counts},
    {"type and class count", test_type_and_class_count},
    {"long lines and odd bytes", test_long_lines_and_odd_bytes},
};
UNIT_MAIN("fingerprint")
