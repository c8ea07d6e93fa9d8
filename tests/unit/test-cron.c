/*
 * Cron expressions: what is refused and how it is said, and a hand-written table of next instants,
 * most of them on days of clock change. tests/scenario/cron_croniter.py compares all other days
 * with a program that is not ours.
 */
#include "core/cron.h"
#include "core/rfc3339.h"
#include "tests/unit/test-zone.h"
#include "tests/unit/unit.h"

static void test_refused(void)
{
        static const struct {
                const char *text, *note;
        } cases[] = {
            {"61 * * * *",
             "minute, position 1: 61 is not allowed; 0 to 59, for example \"*/15 * * * *\""},
            {"0 24 * * *",
             "hour, position 3: 24 is not allowed; 0 to 23, for example \"0 9-17 * * *\""},
            {"0 0 32 * *",
             "day of month, position 5: 32 is not allowed; 1 to 31, or L for the last "
             "one, for example \"0 6 1,15 * *\""},
            {"0 0 0 * *", "day of month, position 5: 0 is not allowed; "},
            {"0 0 1 13 *", "month, position 7: 13 is not allowed; 1 to 12, or JAN to DEC, for "
                           "example \"0 6 1 JAN-JUN *\""},
            {"0 0 1 JANUARY *", "month, position 7: JANUARY is not allowed; "},
            {"0 0 * * 8", "day of week, position 9: 8 is not allowed; 0 to 7 (0 and 7 are Sunday), "
                          "or SUN to SAT, for example \"0 6 * * MON-FRI\""},
            {"0 0 * * FRU", "day of week, position 9: FRU is not allowed; "},
            {"60 0 0 * * *", "second, position 1: 60 is not allowed; 0 to 59, for example "
                             "\"*/10 * * * * *\""},
            {"  0 0 1,2,x * *", "day of month, position 11: x is not allowed; "},
            {"0 0 1, * *", "day of month, position 7: a value is missing; "},
            {"0 0 ,1 * *", "day of month, position 5: ,1 is not allowed; "},
            {"0 0 1- * *", "day of month, position 7: a value is missing; "},
            {"0 20-5 * * *", "hour, position 6: 5 is less than what the range begins with; "},
            {"*/0 * * * *", "minute, position 3: 0 is not allowed as a step, which is 1 to 60; "},
            {"*/90 * * * *", "minute, position 3: 90 is not allowed as a step, which is 1 to 60; "},
            {"0 */25 * * *", "hour, position 5: 25 is not allowed as a step, which is 1 to 24; "},
            {"0 0 * * */8",
             "day of week, position 11: 8 is not allowed as a step, which is 1 to 7; "},
            {"*/ * * * *", "minute, position 3: a value is missing; "},
            {"5/2/2 * * * *", "minute, position 4: /2 is not allowed here; "},
            {"*-5 * * * *", "minute, position 2: -5 is not allowed here; "},
            {"0 0 ? * *", "day of month, position 5: ? is not allowed; "},
            {"0 0 L-3 * *", "day of month, position 6: -3 is not allowed here; "},
            {"0 0 * L *", "month, position 7: L is not allowed; "},
            {"-1 * * * *", "minute, position 1: -1 is not allowed; "},
            {"1\x80 * * * *", "minute, position 1: 1? is not allowed; "},
            {"0001 * * * *", "minute, position 1: 0001 is not allowed; "},
            {"", "position 1: 0 fields; 5 (minute, hour, day of month, month, day of week) or 6 "
                 "(second before them) are needed, for example \"30 4 * * 1\""},
            {"0 0 * *", "position 8: 4 fields; "},
            {"0", "position 2: 1 field; "},
            {"0 0 0 * * * 2030", "position 13: 7 fields; "},
            {"@dayly",
             "position 1: @dayly is not known; @yearly, @monthly, @weekly, @daily, @hourly "
             "or @every with a duration, for example \"@every 15m\""},
            {" @reboot", "position 2: @reboot is not known; "},
            {"@every", "@every, position 7: nothing is not allowed; a duration of 1s to 365d, for "
                       "example \"@every 90s\""},
            {"@every 1.5h", "@every, position 8: 1.5h is not allowed; "},
            {"@every 0", "@every, position 8: 0 is not allowed; "},
            {"@every 999ms", "@every, position 8: 999ms is not allowed; "},
            {"@every 366d", "@every, position 8: 366d is not allowed; "},
            {"@every5m", "position 1: @every5m is not known; "},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct cron c = {.every_us = -7};
                char note[CRON_NOTE_MAX] = "";
                int r = cron_parse(str_of(cases[i].text), &c, note, sizeof note);
                bool whole = strstr(note, "for example") != NULL;
                if (r != CRON_REFUSED || strncmp(note, cases[i].note, strlen(cases[i].note)) != 0 ||
                    !whole || c.every_us != -7) {
                        printf("\n%s: %d \"%s\"\n", cases[i].text, r, note);
                        CU_FAIL("a refusal");
                }
        }
        char note[CRON_NOTE_MAX], longest[300];
        struct cron c;
        memset(longest, ' ', sizeof longest);
        memcpy(longest, "* * * * *", 9);
        CU_ASSERT(cron_parse((struct str){longest, 255}, &c, note, sizeof note) == 0);
        CU_ASSERT(cron_parse((struct str){longest, 256}, &c, note, sizeof note) == CRON_REFUSED);
}

/* Texts that mean the same. */
static void test_same(void)
{
        static const char *const pairs[][2] = {
            {"0 0 1 1 *", "@yearly"},
            {"0 0 1 1 *", "@Annually"},
            {"0 0 1 * *", " @monthly "},
            {"0 0 * * 0", "@weekly"},
            {"0 0 * * *", "@daily"},
            {"0 0 * * *", "@midnight"},
            {"0 * * * *", "@hourly"},
            {"0 0 * * 0", "0 0 * * 7"},
            {"0 0 * * 0", "0\t 0 * *  sun"},
            {"0 0 * * 5,6,0", "0 0 * * fri-Sun"},
            {"0 0 * * 5,6,0", "0 0 * * 5-7"},
            {"0 0 * 1,2,3,12 *", "0 0 * JAN-MAR,dec *"},
            {"0 30 4 * * *", "30 4 * * *"},
            {"5,15,25,35,45,55 * * * *", "5/10 * * * *"},
            {"10,20,30 * * * *", "10-30/10 * * * *"},
            {"0 0 * * 1,3,5", "0 0 * * 1-6/2"},
        };
        for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
                struct cron a, b;
                char note[CRON_NOTE_MAX] = "";
                memset(&a, 0, sizeof a);
                memset(&b, 0, sizeof b);
                int r = cron_parse(str_of(pairs[i][0]), &a, note, sizeof note) |
                        cron_parse(str_of(pairs[i][1]), &b, note, sizeof note);
                bool same = r == 0 && a.second == b.second && a.minute == b.minute &&
                            a.hour == b.hour && a.day == b.day && a.month == b.month &&
                            a.weekday == b.weekday && a.day_any == b.day_any &&
                            a.weekday_any == b.weekday_any && a.hour_any == b.hour_any &&
                            a.last_day == b.last_day;
                if (!same) {
                        printf("\n%s, %s: %s\n", pairs[i][0], pairs[i][1], note);
                        CU_FAIL("the same");
                }
        }
}

#define NEXTS 6

struct table_row {
        const char *rule, *text, *after;
        const char *next[NEXTS]; /* one after the other; "" is none */
};

static void check_rows(const struct table_row *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const struct table_row *row = &rows[i];
                struct zone *made = row->rule ? zone_of_rule(row->rule) : NULL;
                const struct zone *z = made ? made : zone_utc();
                struct cron c;
                char note[CRON_NOTE_MAX];
                int64_t at = 0, origin;
                CU_ASSERT_FATAL(cron_parse(str_of(row->text), &c, note, sizeof note) == 0);
                CU_ASSERT_FATAL(rfc3339_parse(str_of(row->after), &at));
                origin = at;
                for (size_t j = 0; j < NEXTS && row->next[j]; j++) {
                        int64_t wanted = 0;
                        char text[RFC3339_TEXT];
                        CU_ASSERT_FATAL(row->next[j][0] == 0 ||
                                        rfc3339_parse(str_of(row->next[j]), &wanted));
                        at = cron_next(&c, z, origin, at);
                        if (at != wanted) {
                                rfc3339_text(at, text);
                                printf("\n%s in %s, number %zu: %s\n", row->text,
                                       row->rule ? row->rule : "UTC", j + 1, text);
                                CU_FAIL("an instant");
                                break;
                        }
                }
                zone_free(made);
        }
}

static void test_plain_days(void)
{
        static const struct table_row rows[] = {
            {NULL,
             "* * * * *",
             "2026-05-01T10:00:00Z",
             {"2026-05-01T10:01:00Z", "2026-05-01T10:02:00Z"}},
            {NULL, "* * * * *", "2026-05-01T10:00:59.999999Z", {"2026-05-01T10:01:00Z"}},
            {NULL,
             "*/20 * * * * *",
             "2026-12-31T23:59:30.5Z",
             {"2026-12-31T23:59:40Z", "2027-01-01T00:00:00Z"}},
            {NULL,
             "30 4 1,15 * 5",
             "2026-05-01T00:00:00Z", /* either day is enough: Fridays too */
             {"2026-05-01T04:30:00Z", "2026-05-08T04:30:00Z", "2026-05-15T04:30:00Z",
              "2026-05-22T04:30:00Z", "2026-05-29T04:30:00Z", "2026-06-01T04:30:00Z"}},
            {NULL,
             "0 0 */2 * 1",
             "2026-05-01T00:00:00Z", /* a star: both must fit */
             {"2026-05-11T00:00:00Z", "2026-05-25T00:00:00Z", "2026-06-01T00:00:00Z"}},
            {NULL, "0 0 13 * *", "2026-05-14T00:00:00Z", {"2026-06-13T00:00:00Z"}},
            {NULL, "0 0 30 2 *", "2026-05-14T00:00:00Z", {""}},
            {NULL, "0 0 31 4,6,9,11 *", "2026-05-14T00:00:00Z", {""}},
            {NULL, "0 0 30 2 1", "2026-05-14T00:00:00Z", {"2027-02-01T00:00:00Z"}},
            {NULL,
             "0 0 29 2 *",
             "2026-05-14T00:00:00Z",
             {"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
            {NULL, "0 0 29 2 *", "2096-02-29T00:00:00Z", {"2104-02-29T00:00:00Z"}},
            {NULL, "0 0 29 2 */7", "2004-02-29T00:00:00Z", {"2032-02-29T00:00:00Z"}},
            {NULL, "0 0 29 2 */7", "2088-02-29T00:00:00Z", {""}},
            {NULL,
             "0 12 L * *",
             "2028-01-31T12:00:00Z",
             {"2028-02-29T12:00:00Z", "2028-03-31T12:00:00Z", "2028-04-30T12:00:00Z"}},
            {NULL,
             "0 12 15,L 2 *",
             "2027-01-31T12:00:00Z",
             {"2027-02-15T12:00:00Z", "2027-02-28T12:00:00Z", "2028-02-15T12:00:00Z"}},
            {NULL, "0 0 1 1 *", "2026-01-01T00:00:00Z", {"2027-01-01T00:00:00Z"}},
            {KOLKATA,
             "0 9 * * MON-FRI",
             "2026-05-01T03:30:00Z",
             {"2026-05-04T03:30:00Z", "2026-05-05T03:30:00Z"}},
            {NULL,
             "@every 90s",
             "2026-05-01T10:00:00.25Z",
             {"2026-05-01T10:01:30.25Z", "2026-05-01T10:03:00.25Z"}},
        };
        check_rows(rows, ARRAY_LEN(rows));
}

static void test_every(void)
{
        struct cron c;
        char note[CRON_NOTE_MAX];
        CU_ASSERT(cron_parse(STR("@every 10s"), &c, note, sizeof note) == 0);
        CU_ASSERT(cron_next(&c, zone_utc(), 3000000, 0) == 13000000);
        CU_ASSERT(cron_next(&c, zone_utc(), 3000000, 3000000) == 13000000);
        CU_ASSERT(cron_next(&c, zone_utc(), 3000000, 12999999) == 13000000);
        CU_ASSERT(cron_next(&c, zone_utc(), 3000000, 13000000) == 23000000);
}

/* --- days of clock change: written by hand, from the zones' rules and what core/cron.h promises
 * --- */

static void test_berlin_forward(void)
{
        static const struct table_row rows[] = {
            /* Berlin goes from 02:00 to 03:00 on 29 March 2026, 01:00 UTC */
            {BERLIN,
             "30 2 * * *",
             "2026-03-28T00:00:00Z",
             {"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
            {BERLIN,
             "0 2 * * *",
             "2026-03-28T01:00:00Z",
             {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
            {BERLIN,
             "0 3 * * *",
             "2026-03-28T02:00:00Z",
             {"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"}},
            {BERLIN,
             "0 2,3 * * *",
             "2026-03-28T03:00:00Z", /* both fall together: once */
             {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
            {BERLIN,
             "*/10 2 * * *",
             "2026-03-28T12:00:00Z", /* six that are skipped: once */
             {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
            {BERLIN,
             "30 1-3 * * *",
             "2026-03-29T00:00:00Z",
             {"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z",
              "2026-03-29T23:30:00Z"}},
            {BERLIN,
             "0 30 2 29 3 *",
             "2026-03-01T00:00:00Z",
             {"2026-03-29T01:00:00Z", "2027-03-29T00:30:00Z"}},
            {BERLIN,
             "*/30 * * * *",
             "2026-03-29T00:00:00Z",
             {"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
            {BERLIN,
             "5 * * * *",
             "2026-03-29T00:00:00Z",
             {"2026-03-29T00:05:00Z", "2026-03-29T01:05:00Z", "2026-03-29T02:05:00Z"}},
            {BERLIN,
             "5 */2 * * *",
             "2026-03-28T23:30:00Z",
             {"2026-03-29T02:05:00Z", "2026-03-29T04:05:00Z"}},
        };
        check_rows(rows, ARRAY_LEN(rows));
}

static void test_berlin_back(void)
{
        static const struct table_row rows[] = {
            /* and from 03:00 to 02:00 on 25 October, 01:00 UTC */
            {BERLIN,
             "30 2 * * *",
             "2026-10-24T12:00:00Z",
             {"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
            {BERLIN, "30 2 * * *", "2026-10-25T00:45:00Z", {"2026-10-26T01:30:00Z"}},
            {BERLIN,
             "0 3 * * *",
             "2026-10-24T12:00:00Z",
             {"2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"}},
            {BERLIN,
             "*/20 2 * * *",
             "2026-10-24T12:00:00Z",
             {"2026-10-25T00:00:00Z", "2026-10-25T00:20:00Z", "2026-10-25T00:40:00Z",
              "2026-10-26T01:00:00Z"}},
            {BERLIN,
             "*/30 * * * *",
             "2026-10-25T00:00:00Z",
             {"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z",
              "2026-10-25T02:00:00Z"}},
            {BERLIN,
             "30 */2 * * *",
             "2026-10-25T00:00:00Z", /* hours 2, 2 and 4 */
             {"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T03:30:00Z"}},
            {BERLIN,
             "0 0 * * *",
             "2026-10-24T12:00:00Z",
             {"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}},
        };
        check_rows(rows, ARRAY_LEN(rows));
}

static void test_new_york(void)
{
        static const struct table_row rows[] = {
            /* New York: 8 March 07:00 UTC forward, 1 November 06:00 UTC back */
            {NEW_YORK, "30 2 8 3 *", "2026-03-01T00:00:00Z", {"2026-03-08T07:00:00Z"}},
            {NEW_YORK,
             "30 2 * * SUN",
             "2026-03-01T12:00:00Z",
             {"2026-03-08T07:00:00Z", "2026-03-15T06:30:00Z"}},
            {NEW_YORK,
             "30 1 * * *",
             "2026-10-31T12:00:00Z",
             {"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
            {NEW_YORK,
             "0 * * * *",
             "2026-11-01T04:30:00Z",
             {"2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"}},
            {NEW_YORK,
             "0 1 * * *",
             "2026-10-31T12:00:00Z",
             {"2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"}},
        };
        check_rows(rows, ARRAY_LEN(rows));
}

static void test_lord_howe(void)
{
        static const struct table_row rows[] = {
            /* Lord Howe: half an hour; 4 October 15:30 UTC (3 October) forward from 02:00 to 02:30,
             * 5 April back from 02:00 to 01:30 at 15:00 UTC (4 April) */
            {LORD_HOWE,
             "15 2 * * *",
             "2026-10-03T00:00:00Z",
             {"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
            {LORD_HOWE,
             "30 2 * * *",
             "2026-10-03T00:00:00Z",
             {"2026-10-03T15:30:00Z", "2026-10-04T15:30:00Z"}},
            {LORD_HOWE,
             "0,15,30 2 * * *",
             "2026-10-03T00:00:00Z",
             {"2026-10-03T15:30:00Z", "2026-10-04T15:00:00Z"}},
            {LORD_HOWE,
             "45 1 * * *",
             "2026-04-04T00:00:00Z",
             {"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
            {LORD_HOWE, "15 1 * * *", "2026-04-04T00:00:00Z", {"2026-04-04T14:15:00Z"}},
            {LORD_HOWE,
             "*/15 * * * *",
             "2026-04-04T14:30:00Z",
             {"2026-04-04T14:45:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:15:00Z",
              "2026-04-04T15:30:00Z"}},
            {LORD_HOWE, "0 2 * * *", "2026-04-04T00:00:00Z", {"2026-04-04T15:30:00Z"}},
        };
        check_rows(rows, ARRAY_LEN(rows));
}

static void test_sao_paulo(void)
{
        static const struct table_row rows[] = {
            /* Sao Paulo: 4 November 2018 had no midnight; 17 February 2018 had 23:00 twice */
            {SAO_PAULO,
             "0 0 * * *",
             "2018-11-03T12:00:00Z",
             {"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}},
            {SAO_PAULO, "0 0 4 11 *", "2018-11-01T12:00:00Z", {"2018-11-04T03:00:00Z"}},
            {SAO_PAULO,
             "30 0 * * SUN",
             "2018-11-01T12:00:00Z",
             {"2018-11-04T03:00:00Z", "2018-11-11T02:30:00Z"}},
            {SAO_PAULO, "30 0 * * SAT", "2018-11-01T12:00:00Z", {"2018-11-03T03:30:00Z"}},
            {SAO_PAULO,
             "30 23 17 2 *",
             "2018-02-01T12:00:00Z",
             {"2018-02-18T01:30:00Z", "2019-02-18T02:30:00Z"}},
            {SAO_PAULO,
             "30 23 * * *",
             "2018-02-17T12:00:00Z",
             {"2018-02-18T01:30:00Z", "2018-02-19T02:30:00Z"}},
            {SAO_PAULO, "0 0 * * *", "2018-02-17T12:00:00Z", {"2018-02-18T03:00:00Z"}},
            {SAO_PAULO,
             "30 * * * *",
             "2018-02-18T01:00:00Z",
             {"2018-02-18T01:30:00Z", "2018-02-18T02:30:00Z", "2018-02-18T03:30:00Z"}},
        };
        check_rows(rows, ARRAY_LEN(rows));
}

static void test_other_zones(void)
{
        static const struct table_row rows[] = {
            /* no clock change at all */
            {KOLKATA,
             "30 2 * * *",
             "2026-03-28T12:00:00Z",
             {"2026-03-28T21:00:00Z", "2026-03-29T21:00:00Z"}},
            /* durations are real time */
            {BERLIN,
             "@every 1h",
             "2026-10-25T00:30:00Z",
             {"2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}},
        };
        check_rows(rows, ARRAY_LEN(rows));
}

UNIT_TESTS = {
    {"refused, with place and example", test_refused},
    {"other words for the same", test_same},
    {"plain days, leap years, days that never come", test_plain_days},
    {"@every counts from its origin", test_every},
    {"clock change: Berlin, forward", test_berlin_forward},
    {"clock change: Berlin, back", test_berlin_back},
    {"clock change: New York", test_new_york},
    {"clock change: Lord Howe, half an hour", test_lord_howe},
    {"clock change: Sao Paulo, at midnight", test_sao_paulo},
    {"clock change: no clock change, and durations", test_other_zones},
};
UNIT_MAIN("cron")
