/* Types, patterns, their ranks and ties, and the roster that rests on them. */
#include "core/pattern.h"
#include "core/roster.h"
#include "tests/unit/unit.h"

static void test_validity(void)
{
        static const struct {
                const char *text;
                bool type, pattern;
        } cases[] = {
            {"email.send", true, true},
            {"a", true, true},
            {"A-b_9.c", true, true},
            {"", false, false},
            {".", false, false},
            {"a.", false, false},
            {".a", false, false},
            {"a..b", false, false},
            {"a.*", false, true},
            {"*.b", false, true},
            {"a.>", false, true},
            {">", false, true},
            {"a.>.b", false, false},
            {"a*", false, false},
            {"a.b>", false, false},
            {"a b", false, false},
            {"caf\xc3\xa9", false, false},
            {"a/b", false, false},
            {"*", false, true},
            {"a.**", false, false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                CU_ASSERT_EQUAL(type_valid(str_of(cases[i].text)), cases[i].type);
                CU_ASSERT_EQUAL(pattern_valid(str_of(cases[i].text)), cases[i].pattern);
        }
        char longest[TYPE_MAX + 1];
        memset(longest, 'a', sizeof longest);
        CU_ASSERT(type_valid((struct str){longest, TYPE_MAX}));
        CU_ASSERT(!type_valid((struct str){longest, TYPE_MAX + 1}));
}

static void test_matching(void)
{
        static const struct {
                const char *pattern, *type;
                bool match;
        } cases[] = {
            {"a.b", "a.b", true},    {"a.b", "a.c", false},    {"a.b", "a", false},
            {"a", "a.b", false},     {"a.*", "a.b", true},     {"a.*", "a", false},
            {"a.*", "a.b.c", false}, {"a.>", "a.b", true},     {"a.>", "a.b.c.d", true},
            {"a.>", "a", false},     {">", "x", true},         {">", "x.y", true},
            {"*.b", "a.b", true},    {"*.b", "a.c", false},    {"*.*", "a.b", true},
            {"*", "a.b", false},     {"a.*.c", "a.b.c", true}, {"a.*.c", "a.b.d", false},
            {"ab", "a", false},      {"a", "ab", false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                CU_ASSERT_EQUAL(pattern_match(str_of(cases[i].pattern), str_of(cases[i].type)),
                                cases[i].match);
        }
}

static void test_ties(void)
{
        CU_ASSERT(pattern_rank(STR("a.b")) > pattern_rank(STR("a.*")));
        CU_ASSERT(pattern_rank(STR("a.*")) > pattern_rank(STR("a.>")));
        CU_ASSERT(pattern_rank(STR("a.>")) > pattern_rank(STR("*.*")));
        CU_ASSERT(pattern_rank(STR("*")) > pattern_rank(STR(">")));
        CU_ASSERT(pattern_tie(STR("a.*"), STR("*.b")));
        CU_ASSERT(pattern_tie(STR("a.b"), STR("a.b")));
        CU_ASSERT(!pattern_tie(STR("a.*"), STR("b.*")));
        CU_ASSERT(!pattern_tie(STR("a.*"), STR("a.b")));
        CU_ASSERT(!pattern_tie(STR("a.>"), STR("b.>")));
        CU_ASSERT(!pattern_tie(STR("a.*"), STR("*.b.c")));
}

static void test_overlaps(void)
{
        static const struct {
                const char *a, *b;
                bool overlap;
        } cases[] = {
            {"a", "a", true},
            {"a", "b", false},
            {"a", "a.b", false},
            {"a.b", "a.*", true},
            {"a.b", "*.b", true},
            {"a.b", "*.*", true},
            {"a.b", "a.>", true},
            {"a.b", ">", true},
            {"a", "*", true},
            {"a", "a.>", false},
            {"a.*", "a.*.*", false},
            {"a.*", "b.*", false},
            {"a.*", "*.b", true},
            {"a.*.c", "a.>", true},
            {"a.*.c", "a.*.d", false},
            {"a.>", "*.>", true},
            {"a.>", "a.b.>", true},
            {"a.>", "*.b.*", true},
            {"a.>", "b.>", false},
            {"*", ">", true},
            {"*", "*.*", false},
            {"*.b.>", "a.*.c", true},
            {"*.b.>", "a.c.>", false},
            {"*.b.>", "a.b", false},
            {">", ">", true},
            {"*.*.c", "a.b.>", true},
            {"*.*.c", "a.b", false},
            {"ab", "a", false},
            {"email.in", "email", false},
            {"A", "a", false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct str a = str_of(cases[i].a), b = str_of(cases[i].b);
                CU_ASSERT_EQUAL(pattern_overlap(a, b), cases[i].overlap);
                CU_ASSERT_EQUAL(pattern_overlap(b, a), cases[i].overlap);
        }
}

/* Two patterns overlap exactly when some type matches both: tried out with all types of three
 * letters and up to four tokens. */
static bool any_matches_both(struct str a, struct str b)
{
        for (uint32_t i = 0; i < 3 + 9 + 27 + 81; i++) {
                uint32_t n = i < 3 ? 1 : i < 12 ? 2 : i < 39 ? 3 : 4, rest = i;
                char type[8];
                for (uint32_t k = 0; k < n; k++, rest /= 3) {
                        type[2 * k] = "abc"[rest % 3];
                        type[2 * k + 1] = '.';
                }
                struct str t = {type, 2 * n - 1};
                if (pattern_match(a, t) && pattern_match(b, t)) {
                        return true;
                }
        }
        return false;
}

static void test_overlaps_are_common_types(void)
{
        static const char *const patterns[] = {
            "a",     "b",     "*",     ">",     "a.b",   "a.*", "*.b",   "*.*",   "a.>",   "*.>",
            "a.b.c", "a.*.c", "*.b.*", "a.b.>", "*.b.>", "b.>", "b.*.>", "*.*.*", "*.*.c", "c.*.*"};
        for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
                for (size_t j = 0; j < ARRAY_LEN(patterns); j++) {
                        struct str a = str_of(patterns[i]), b = str_of(patterns[j]);
                        CU_ASSERT_EQUAL(pattern_overlap(a, b), any_matches_both(a, b));
                }
        }
}

static void test_roster_finds_the_most_literal(void)
{
        struct handler_desc h[] = {
            {.pattern = STR(">")},   {.pattern = STR("a.>")}, {.pattern = STR("a.*")},
            {.pattern = STR("a.b")}, {.pattern = STR("z")},
        };
        struct roster *r = roster_new(3, h, ARRAY_LEN(h));
        CU_ASSERT_FATAL(r != NULL);
        CU_ASSERT_EQUAL(roster_find(r, STR("a.b")), 3);
        CU_ASSERT_EQUAL(roster_find(r, STR("a.c")), 2);
        CU_ASSERT_EQUAL(roster_find(r, STR("a.c.d")), 1);
        CU_ASSERT_EQUAL(roster_find(r, STR("z")), 4);
        CU_ASSERT_EQUAL(roster_find(r, STR("q.q")), 0);
        CU_ASSERT_EQUAL(roster_find(r, (struct str){0}), -1);
        CU_ASSERT(roster_ref(r) == r && r->refs == 2);
        roster_unref(r);
        CU_ASSERT_EQUAL(r->generation, 3);
        CU_ASSERT_PTR_NULL(roster_unref(r));
        r = roster_new(4, NULL, 0);
        CU_ASSERT_EQUAL(roster_find(r, STR("a")), -1);
        roster_unref(r);
        CU_ASSERT_PTR_NULL(roster_unref(NULL));
}

static void test_roster_with_a_thousand_types(void)
{
        struct handler_desc h[1000];
        char names[1000][16];
        for (int i = 0; i < 1000; i++) {
                snprintf(names[i], sizeof names[i], "type.%d", i);
                h[i] = (struct handler_desc){.pattern = str_of(names[i])};
        }
        struct roster *r = roster_new(1, h, 1000);
        for (int i = 0; i < 1000; i++) {
                CU_ASSERT_EQUAL(roster_find(r, str_of(names[i])), i);
        }
        CU_ASSERT_EQUAL(roster_find(r, STR("type.1000")), -1);
        roster_unref(r);
}

UNIT_TESTS = {
    {"what is a type, what a pattern", test_validity},
    {"matching", test_matching},
    {"ranks and ties", test_ties},
    {"overlaps", test_overlaps},
    {"overlaps are what a common type shows", test_overlaps_are_common_types},
    {"the roster finds the most literal handler", test_roster_finds_the_most_literal},
    {"a roster of a thousand types", test_roster_with_a_thousand_types},
};
UNIT_MAIN("pattern")
