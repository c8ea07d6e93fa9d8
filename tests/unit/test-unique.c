/* Unique keys: what makes two of them equal, and the words that ask for them. */
#include "core/unique.h"
#include "tests/unit/unit.h"

static struct unique_key key_of(const char *key, uint8_t scope, const char *type, const char *queue,
                                const char *payload)
{
        struct unique_wish wish = {.key = str_of(key), .scope = scope};
        struct unique_key k;
        memset(&k, 0x5a, sizeof k);
        unique_key_of(&wish, str_of(type), str_of(queue), str_of(payload), &k);
        CU_ASSERT(k.set);
        return k;
}

static bool same(struct unique_key a, struct unique_key b)
{
        return memcmp(a.hash, b.hash, sizeof a.hash) == 0;
}

static void test_the_scope_decides_what_counts(void)
{
        for (uint8_t scope = 0; scope < 8; scope++) {
                uint8_t all = scope ? scope : SCOPE_DEFAULT;
                struct unique_key k = key_of("k", scope, "a.b", "q", "body");
                CU_ASSERT(same(k, key_of("k", all, "a.b", "q", "body")));
                CU_ASSERT(!same(k, key_of("l", scope, "a.b", "q", "body")));
                CU_ASSERT(same(k, key_of("k", scope, "a.c", "q", "body")) == !(all & SCOPE_TYPE));
                CU_ASSERT(same(k, key_of("k", scope, "a.b", "r", "body")) == !(all & SCOPE_QUEUE));
                CU_ASSERT(same(k, key_of("k", scope, "a.b", "q", "other")) ==
                          !(all & SCOPE_PAYLOAD));
        }
}

static void test_texts_do_not_run_together(void)
{
        CU_ASSERT(
            !same(key_of("ab", SCOPE_TYPE, "c", "", ""), key_of("a", SCOPE_TYPE, "bc", "", "")));
        CU_ASSERT(
            !same(key_of("", SCOPE_PAYLOAD, "", "", "x"), key_of("x", SCOPE_PAYLOAD, "", "", "")));
        CU_ASSERT(
            !same(key_of("k", SCOPE_TYPE, "x", "", ""), key_of("k", SCOPE_PAYLOAD, "", "", "x")));
        CU_ASSERT(
            !same(key_of("k", SCOPE_TYPE, "x", "", ""), key_of("k", SCOPE_QUEUE, "", "x", "")));
}

static void test_a_key_moves_with_its_row(void)
{
        for (uint8_t scope = 1; scope < 8; scope++) {
                struct unique_key k = key_of("k", scope, "a", "", "p");
                unique_key_move(&k, STR(""), STR("q"));
                CU_ASSERT(same(k, key_of("k", scope, "a", "q", "p")));
        }
        struct unique_key none = {0};
        unique_key_move(&none, STR("a"), STR("b"));
        CU_ASSERT(same(none, (struct unique_key){0}));
}

static void test_what_is_not_said(void)
{
        struct unique_wish wish = {.key = STR("k"), .for_ms = 1500};
        struct unique_key k;
        unique_key_of(&wish, STR("t"), STR("q"), STR(""), &k);
        CU_ASSERT(k.states == UNIQUE_STATES_DEFAULT && !k.replace && k.for_us == 1500000);
        wish.states = 1u << STATE_RUNNING;
        wish.conflict = UNIQUE_REPLACE;
        unique_key_of(&wish, STR("t"), STR("q"), STR(""), &k);
        CU_ASSERT(k.states == 1u << STATE_RUNNING && k.replace);
}

static void test_scopes(void)
{
        static const struct {
                const char *text;
                uint8_t scope; /* 0: refused */
        } cases[] = {
            {"type", SCOPE_TYPE},
            {"type,queue", SCOPE_TYPE | SCOPE_QUEUE},
            {"payload, queue ,type", 7},
            {"type,type", SCOPE_TYPE},
            {"", 0},
            {"typ", 0},
            {"type,", SCOPE_TYPE}, /* a comma at the end is forgiven */
            {",type", 0},
            {"Type", 0},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                uint8_t scope = 99;
                bool ok = unique_scope_parse(str_of(cases[i].text), &scope);
                CU_ASSERT(ok == (cases[i].scope != 0) && scope == (ok ? cases[i].scope : 99));
        }
}

static void test_states(void)
{
        static const struct {
                const char *text;
                uint8_t states;
        } cases[] = {
            {"incomplete", UNIQUE_STATES_DEFAULT},
            {"all", 127},
            {"running", 1u << STATE_RUNNING},
            {"scheduled, pending", 1u << STATE_SCHEDULED | 1u << STATE_PENDING},
            {"pending,completed", 1u << STATE_PENDING | 1u << STATE_COMPLETED},
            {"", 0},
            {"waiting", 0},
            {"all,running", 0},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                uint8_t states = 0;
                bool ok = unique_states_parse(str_of(cases[i].text), &states);
                CU_ASSERT(ok == (cases[i].states != 0) && states == cases[i].states);
        }
}

static void test_conflicts(void)
{
        enum unique_conflict c = UNIQUE_KEEP;
        CU_ASSERT(unique_conflict_parse(STR("replace"), &c) && c == UNIQUE_REPLACE);
        CU_ASSERT(!unique_conflict_parse(STR("raise"), &c) && c == UNIQUE_REPLACE);
        CU_ASSERT(unique_conflict_parse(STR("keep"), &c) && c == UNIQUE_KEEP);
}

UNIT_TESTS = {
    {"the scope decides what counts", test_the_scope_decides_what_counts},
    {"texts do not run together", test_texts_do_not_run_together},
    {"a key moves with its row", test_a_key_moves_with_its_row},
    {"what is not said", test_what_is_not_said},
    {"scopes", test_scopes},
    {"states", test_states},
    {"conflicts", test_conflicts},
};
UNIT_MAIN("unique")
