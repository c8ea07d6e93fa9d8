/*
 * Time zones: the table and its footer, both ways between instants and civil time, and bytes that
 * are no zone.
 */
#include "tests/unit/test-zone.h"
#include "core/rfc3339.h"
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdlib.h>

static int64_t utc(const char *text)
{
        int64_t us = -1;
        CU_ASSERT_FATAL(rfc3339_parse(str_of(text), &us));
        return us / US_PER_S;
}

static void test_offsets(void)
{
        static const struct {
                const char *rule, *at;
                int32_t offset;
        } cases[] = {
            {BERLIN, "2026-03-29T00:59:59Z", 3600},
            {BERLIN, "2026-03-29T01:00:00Z", 7200},
            {BERLIN, "2026-10-25T00:59:59Z", 7200},
            {BERLIN, "2026-10-25T01:00:00Z", 3600},
            {BERLIN, "2400-07-01T00:00:00Z", 7200},
            {NEW_YORK, "2026-03-08T06:59:59Z", -18000},
            {NEW_YORK, "2026-03-08T07:00:00Z", -14400},
            {NEW_YORK, "2026-11-01T05:59:59Z", -14400},
            {NEW_YORK, "2026-11-01T06:00:00Z", -18000},
            {LORD_HOWE, "2026-04-04T14:59:59Z", 39600},
            {LORD_HOWE, "2026-04-04T15:00:00Z", 37800},
            {LORD_HOWE, "2026-10-03T15:29:59Z", 37800},
            {LORD_HOWE, "2026-10-03T15:30:00Z", 39600},
            {SAO_PAULO, "2018-02-18T01:59:59Z", -7200},
            {SAO_PAULO, "2018-02-18T02:00:00Z", -10800},
            {SAO_PAULO, "2018-11-04T02:59:59Z", -10800},
            {SAO_PAULO, "2018-11-04T03:00:00Z", -7200},
            {SAO_PAULO, "2018-12-31T23:59:59Z", -7200},
            {SAO_PAULO, "2019-01-01T12:00:00Z", -7200},
            {KOLKATA, "2026-07-01T00:00:00Z", 19800},
            /* summer all the year round, as RFC 8536 writes it */
            {"YYY3EDT4,0/0,J365/23", "2026-01-01T03:59:59Z", -14400},
            {"YYY3EDT4,0/0,J365/23", "2026-01-01T04:00:00Z", -14400},
            /* days of the year: the 60th is 1 March with J, 29 February without in leap years */
            {"A-1", "2026-01-01T00:00:00Z", INT32_MIN},
            {"AAA0BBB,J60/0,J300/0", "2024-02-29T23:59:59Z", 0},
            {"AAA0BBB,J60/0,J300/0", "2024-03-01T00:00:00Z", 3600},
            {"AAA0BBB,59/0,300/0", "2024-02-28T23:59:59Z", 0},
            {"AAA0BBB,59/0,300/0", "2024-02-29T00:00:00Z", 3600},
            /* the day before the last Sunday, told by a negative time */
            {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T00:59:59Z", -7200},
            {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z", -3600},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct zone *z = zone_of_rule(cases[i].rule);
                int32_t offset = z ? zone_offset(z, utc(cases[i].at)) : INT32_MIN;
                if (offset != cases[i].offset) {
                        printf("\n%s at %s: %d\n", cases[i].rule, cases[i].at, offset);
                        CU_FAIL("an offset");
                }
                zone_free(z);
        }
}

/* The table rules as far as it goes, the footer from its last change on, even one of names only. */
static void test_table(void)
{
        static const struct tzif_change changes[] = {
            {-1000, 3600}, {1000, 3600}, {2000, 7200}, {3000, 3600}, {946684800, 3600}};
        char bytes[1024];
        struct zone *z =
            zone_new(STR("Test/Table"), tzif_make(bytes, 600, changes, ARRAY_LEN(changes), BERLIN));
        CU_ASSERT_PTR_NOT_NULL_FATAL(z);
        CU_ASSERT(str_eq(zone_name(z), STR("Test/Table")));
        CU_ASSERT(zone_offset(z, -1001) == 600);
        CU_ASSERT(zone_offset(z, -1000) == 3600);
        CU_ASSERT(zone_offset(z, 2000) == 7200);
        CU_ASSERT(zone_offset(z, utc("1999-07-01T00:00:00Z")) == 3600);
        CU_ASSERT(zone_offset(z, utc("2002-07-01T00:00:00Z")) == 7200);
        CU_ASSERT(zone_change(z, -5000) == -1000);
        CU_ASSERT(zone_change(z, -1000) == 2000);
        CU_ASSERT(zone_change(z, 2000) == 3000);
        CU_ASSERT(zone_change(z, 3000) == utc("2000-03-26T01:00:00Z"));
        CU_ASSERT(zone_change(z, utc("2026-11-01T00:00:00Z")) == utc("2027-03-28T01:00:00Z"));
        zone_free(z);

        z = zone_new(STR("x"), tzif_make(bytes, 600, changes, ARRAY_LEN(changes), ""));
        CU_ASSERT_PTR_NOT_NULL_FATAL(z);
        CU_ASSERT(zone_offset(z, utc("2500-07-01T00:00:00Z")) == 3600);
        CU_ASSERT(zone_change(z, 3000) == INT64_MAX);
        zone_free(z);
        CU_ASSERT(zone_offset(zone_utc(), 1) == 0 && zone_change(zone_utc(), 1) == INT64_MAX);
}

static void test_instants(void)
{
        static const struct {
                const char *rule;
                struct civil civil;
                const char *instants[3];
        } cases[] = {
            {BERLIN, {2026, 1, 1, 0, 0, 0, 0}, {"2025-12-31T23:00:00Z"}},
            {BERLIN, {2026, 3, 29, 1, 59, 59, 0}, {"2026-03-29T00:59:59Z"}},
            {BERLIN, {2026, 3, 29, 2, 0, 0, 0}, {"", "2026-03-29T01:00:00Z"}},
            {BERLIN, {2026, 3, 29, 2, 59, 59, 0}, {"", "2026-03-29T01:00:00Z"}},
            {BERLIN, {2026, 3, 29, 3, 0, 0, 0}, {"2026-03-29T01:00:00Z"}},
            {BERLIN, {2026, 10, 25, 1, 59, 59, 0}, {"2026-10-24T23:59:59Z"}},
            {BERLIN, {2026, 10, 25, 2, 0, 0, 0}, {"2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"}},
            {BERLIN, {2026, 10, 25, 3, 0, 0, 0}, {"2026-10-25T02:00:00Z"}},
            {LORD_HOWE,
             {2026, 4, 5, 1, 45, 0, 0},
             {"2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"}},
            {LORD_HOWE, {2026, 10, 4, 2, 15, 0, 0}, {"", "2026-10-03T15:30:00Z"}},
            {SAO_PAULO, {2018, 11, 4, 0, 0, 0, 0}, {"", "2018-11-04T03:00:00Z"}},
            {SAO_PAULO,
             {2018, 2, 17, 23, 30, 0, 0},
             {"2018-02-18T01:30:00Z", "2018-02-18T02:30:00Z"}},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct zone *z = zone_of_rule(cases[i].rule);
                int64_t instants[2] = {0};
                uint32_t n = zone_instants(z, &cases[i].civil, instants), wanted = 0;
                const char *const *texts = cases[i].instants;
                bool skipped = texts[0][0] == 0;
                while (!skipped && texts[wanted]) {
                        wanted++;
                }
                bool ok = n == wanted;
                for (uint32_t j = 0; ok && j < (skipped ? 1 : n); j++) {
                        ok = instants[j] == utc(texts[j + skipped]);
                }
                if (!ok) {
                        printf("\ncase %zu: %u: %" PRId64 " %" PRId64 "\n", i, n, instants[0],
                               instants[1]);
                        CU_FAIL("instants");
                }
                zone_free(z);
        }
}

/* Each quarter of an hour of some years goes to civil time and back. */
static void test_there_and_back(void)
{
        static const char *const rules[] = {BERLIN, NEW_YORK, LORD_HOWE, SAO_PAULO, KOLKATA};
        uint32_t wrong = 0;
        for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
                struct zone *z = zone_of_rule(rules[i]);
                int64_t end = utc("2029-01-01T00:00:00Z");
                for (int64_t t = utc("2023-12-01T00:00:00Z") + 7; t < end; t += 900) {
                        struct civil c;
                        int64_t instants[2];
                        zone_civil(z, t, &c);
                        uint32_t n = zone_instants(z, &c, instants);
                        wrong += !((n >= 1 && instants[0] == t) || (n == 2 && instants[1] == t));
                }
                zone_free(z);
        }
        CU_ASSERT(wrong == 0);
}

static void test_days(void)
{
        struct civil c;
        CU_ASSERT(civil_days(1970, 1, 1) == 0);
        CU_ASSERT(civil_days(2000, 3, 1) == 11017);
        civil_of_days(0, &c);
        CU_ASSERT(c.weekday == 4);
        civil_of_days(-1, &c);
        CU_ASSERT(c.year == 1969 && c.month == 12 && c.day == 31 && c.weekday == 3);
        uint32_t wrong = 0;
        for (int64_t days = -800000; days < 800000; days += 1) {
                civil_of_days(days, &c);
                wrong += civil_days(c.year, c.month, c.day) != days;
        }
        CU_ASSERT(wrong == 0);
}

static void test_names(void)
{
        static const char *const good[] = {
            "UTC",       "Europe/Berlin", "America/Argentina/Buenos_Aires",
            "Etc/GMT+5", "GMT-0",         "America/Port-au-Prince"};
        static const char *const bad[] = {
            "",
            "/etc/passwd",
            "../x",
            "Europe/",
            "Europe//Berlin",
            "Europe/../Berlin",
            "zone.tab",
            "Europe/Ber lin",
            "A/4",
            "\xc3\xa9",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
        for (size_t i = 0; i < ARRAY_LEN(good); i++) {
                CU_ASSERT(zone_name_valid(str_of(good[i])));
        }
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                CU_ASSERT(!zone_name_valid(str_of(bad[i])));
        }
}

/* Each byte less, and each single byte changed: no zone or some zone, never a crash. */
static void test_broken(void)
{
        static const struct tzif_change changes[] = {{-1000, 3600}, {2000, 7200}, {3000, 3600}};
        static const char *const footers[] = {"CE",
                                              "CET",
                                              "CET-25",
                                              "CET-1CEST",
                                              "CET-1CEST,M13.1.0,M1.1.0",
                                              "CET-1CEST,M3.5.0",
                                              "CET-1 ",
                                              "CET-1CEST,M3.6.0,M10.5.0",
                                              "CET-1CEST,J0,J100",
                                              "<+03-3",
                                              "CET-1CEST,M3.5.0/168,M10.5.0"};
        char bytes[1024], changed[1024];
        struct str whole = tzif_make(bytes, 600, changes, ARRAY_LEN(changes), BERLIN);
        for (uint32_t n = 0; n < whole.n; n++) {
                char *copy = malloc(n + 1); /* so that a sanitizer sees what is read too far */
                memcpy(copy, bytes, n);
                CU_ASSERT_PTR_NULL(zone_new(STR("x"), (struct str){copy, n}));
                free(copy);
        }
        for (uint32_t i = 0; i < whole.n * 255; i++) {
                memcpy(changed, bytes, whole.n);
                changed[i / 255] = (char)(changed[i / 255] + 1 + (int)(i % 255));
                struct zone *z = zone_new(STR("x"), (struct str){changed, whole.n});
                if (z) {
                        struct civil c;
                        zone_civil(z, 2500, &c);
                        zone_change(z, 1000000000);
                }
                zone_free(z);
        }
        for (size_t i = 0; i < ARRAY_LEN(footers); i++) {
                struct zone *z = zone_of_rule(footers[i]);
                CU_ASSERT_PTR_NULL(z);
                zone_free(z);
        }
}

UNIT_TESTS = {
    {"rules give offsets", test_offsets},
    {"the table, then the footer", test_table},
    {"instants of a civil time", test_instants},
    {"instants come back", test_there_and_back},
    {"days", test_days},
    {"names", test_names},
    {"bytes that are no zone", test_broken},
};
UNIT_MAIN("zone")
