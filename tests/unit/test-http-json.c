/*
 * The JSON scanner: spans, faults and their places, and agreement with jansson over some ten
 * thousand mutated texts (fixed seed). Texts are copied to the end of a heap block, so that the
 * sanitizers see every step too far.
 */
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/json.h"

static int check_copy(const char *text, size_t n, struct json_fault *f)
{
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        int r = json_check((struct str){copy, (uint32_t)n}, f);
        free(copy);
        return r;
}

static void test_good(void)
{
        static const char *const texts[] = {
            "0",
            "-0",
            "-0.0e-0",
            "1E+400",
            "123456789012345678901234567890",
            "\"\"",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\xf0\x9f\x98\x80\"",
            "\"\x7f\"",
            "true",
            " null ",
            "\t[\r\n]\n",
            "{}",
            "[[],{},[{}]]",
            "{\"\":{\"\":\"\"}}",
            "{\"a\":1,\"a\":1}",
            "[1,2.5,\"x\",null,true,false,{\"k\":[]}]",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        };
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                struct json_fault f;
                int r = check_copy(texts[i], strlen(texts[i]), &f);
                if (r) {
                        fprintf(stderr, "  %s: %zu %s\n", texts[i], f.at, f.what);
                }
                CU_ASSERT_EQUAL(r, 0);
        }
}

static void test_bad_and_where(void)
{
        static const struct {
                const char *text;
                size_t at;
        } cases[] = {
            {"", 0},
            {" ", 1},
            {"tru", 0},
            {"truex", 4},
            {"nul", 0},
            {"[1 2]", 3},
            {"[1,]", 3},
            {"[,1]", 1},
            {"{,}", 1},
            {"{\"a\"}", 4},
            {"{\"a\":}", 5},
            {"{\"a\":1,}", 7},
            {"{1:2}", 1},
            {"[}", 1},
            {"{]", 1},
            {"[1}", 2},
            {"\"", 0},
            {"\"a\n\"", 2},
            {"\"\\", 2},
            {"\"\\u", 1},
            {"\"\\u123", 1},
            {"\"\\uzzzz\"", 1},
            {"\"\\v\"", 1},
            {"-", 0},
            {"--1", 0},
            {"01", 0},
            {"1.", 2},
            {".5", 0},
            {"1.e5", 2},
            {"1e", 2},
            {"1e+", 3},
            {"0x10", 1},
            {"+1", 0},
            {"Infinity", 0},
            {"1 1", 2},
            {"[] []", 3},
            {"\"\xc3\"", 1},
            {"\"\xe2\x82\"", 1},
            {"\"\x80\"", 1},
            {"\"\xc1\xbf\"", 1},
            {"\"\xe0\x80\x80\"", 1},
            {"'a'", 0},
            {"/**/1", 0},
            {"[1]//", 3},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct json_fault f = {999, ""};
                int r = check_copy(cases[i].text, strlen(cases[i].text), &f);
                if (r != JSON_BAD || f.at != cases[i].at) {
                        fprintf(stderr, "  %s: %d at %zu, not %zu: %s\n", cases[i].text, r, f.at,
                                cases[i].at, f.what);
                }
                CU_ASSERT_EQUAL(r, JSON_BAD);
                CU_ASSERT_EQUAL(f.at, cases[i].at);
                CU_ASSERT_TRUE(f.what && f.what[0]);
        }
}

static void test_depth(void)
{
        enum { DEEP = 1000000 };
        struct json_fault f;
        char *text = malloc(2 * DEEP);
        for (int kind = 0; kind < 2; kind++) {
                size_t unit = kind ? 5 : 1;
                for (size_t i = 0; i < JSON_DEPTH_MAX + 1; i++) {
                        memcpy(text + i * unit, kind ? "{\"a\":" : "[", unit);
                }
                CU_ASSERT_EQUAL(check_copy(text, (JSON_DEPTH_MAX + 1) * unit, &f), JSON_BAD);
                CU_ASSERT_EQUAL(f.at, JSON_DEPTH_MAX * unit);
        }
        memset(text, '[', DEEP);
        memset(text + DEEP, ']', DEEP);
        CU_ASSERT_EQUAL(json_check((struct str){text, 2 * DEEP}, &f), JSON_BAD);
        memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
        CU_ASSERT_EQUAL(check_copy(text, 2 * JSON_DEPTH_MAX, &f), 0);
        /* alternating containers: the bits of the stack are told apart */
        size_t n = 0;
        for (int i = 0; i < JSON_DEPTH_MAX / 2; i++) {
                n += (size_t)sprintf(text + n, "[{\"\":");
        }
        n += (size_t)sprintf(text + n, "0");
        for (int i = 0; i < JSON_DEPTH_MAX / 2; i++) {
                n += (size_t)sprintf(text + n, "}]");
        }
        CU_ASSERT_EQUAL(check_copy(text, n, &f), 0);
        text[n - 1] = '}';
        CU_ASSERT_EQUAL(check_copy(text, n, &f), JSON_BAD);
        free(text);
}

static void test_walks(void)
{
        const struct str text =
            str_of(" { \"a\" : [1, {\"x\":2}] ,\"\\u0062\":\"\\u0000\",\"c\":\"\\udead\" } ");
        struct json_walk w;
        struct json_item i;
        struct json_fault f;
        CU_ASSERT_EQUAL(json_walk_begin(&w, text, &f), 0);
        CU_ASSERT_TRUE(w.object);
        CU_ASSERT_EQUAL(json_walk_next(&w, &i, &f), 0);
        CU_ASSERT_TRUE(str_eq(i.name, STR("a")) && str_eq(i.value, STR("[1, {\"x\":2}]")));
        CU_ASSERT_EQUAL(i.name_has | i.value_has, 0);
        CU_ASSERT_EQUAL(json_walk_next(&w, &i, &f), 0);
        CU_ASSERT_TRUE(str_eq(i.name, STR("\\u0062")) && str_eq(i.value, STR("\"\\u0000\"")));
        CU_ASSERT_EQUAL(i.name_has, JSON_HAS_ESCAPE);
        CU_ASSERT_EQUAL(i.value_has, JSON_HAS_ESCAPE | JSON_HAS_NUL);
        CU_ASSERT_EQUAL(json_walk_next(&w, &i, &f), 0);
        CU_ASSERT_EQUAL(i.value_has, JSON_HAS_ESCAPE | JSON_HAS_LONE);
        CU_ASSERT_EQUAL(json_walk_next(&w, &i, &f), JSON_END);
        CU_ASSERT_EQUAL(json_walk_begin(&w, STR("[]"), &f), 0);
        CU_ASSERT_FALSE(w.object);
        CU_ASSERT_EQUAL(json_walk_next(&w, &i, &f), JSON_END);
        CU_ASSERT_EQUAL(json_walk_begin(&w, STR(" 5"), &f), JSON_BAD);
        CU_ASSERT_EQUAL(f.at, 1);
}

/* An array whose elements are walked themselves: their bytes are looked at once. */
static void test_enters_elements(void)
{
        const struct str text = STR(" [ {\"a\":[1]} ,{}, 7] ");
        struct json_walk w, inner;
        struct json_item i;
        struct json_fault f;
        CU_ASSERT_EQUAL(json_walk_begin(&w, text, &f), 0);
        CU_ASSERT_EQUAL(json_walk_enter(&w, &inner, &f), 0);
        CU_ASSERT_TRUE(inner.object);
        CU_ASSERT_EQUAL(json_walk_next(&inner, &i, &f), 0);
        CU_ASSERT_TRUE(str_eq(i.name, STR("a")) && str_eq(i.value, STR("[1]")));
        CU_ASSERT_EQUAL(json_walk_next(&inner, &i, &f), JSON_END);
        json_walk_leave(&w, &inner);
        CU_ASSERT_EQUAL(json_walk_enter(&w, &inner, &f), 0);
        CU_ASSERT_EQUAL(json_walk_next(&inner, &i, &f), JSON_END);
        json_walk_leave(&w, &inner);
        CU_ASSERT_EQUAL(json_walk_enter(&w, &inner, &f), 0);
        CU_ASSERT_FALSE(inner.object);
        CU_ASSERT_EQUAL(json_walk_begin(&w, STR("[{}{}]"), &f), 0);
        CU_ASSERT_EQUAL(json_walk_enter(&w, &inner, &f), 0);
        CU_ASSERT_EQUAL(json_walk_next(&inner, &i, &f), JSON_END);
        json_walk_leave(&w, &inner);
        CU_ASSERT_EQUAL(json_walk_enter(&w, &inner, &f), JSON_BAD);
        CU_ASSERT_EQUAL(f.at, 3);
}

/* Wherever in a string a byte stands that is looked at, it is found. */
static void test_finds_special_bytes_anywhere(void)
{
        static const struct {
                const char *bytes;
                unsigned has;
                bool bad;
        } all[] = {{"\\n", JSON_HAS_ESCAPE, false},
                   {"\\u0000", JSON_HAS_ESCAPE | JSON_HAS_NUL, false},
                   {"\xc3\xa4", 0, false},
                   {"\x7f", 0, false},
                   {"~", 0, false},
                   {" ", 0, false},
                   {"\x1f", 0, true},
                   {"\x80", 0, true},
                   {"\xff", 0, true},
                   {"\"x", 0, true}};
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
                for (int before = 0; before < 20; before++) {
                        char text[64];
                        struct json_walk w;
                        struct json_item i = {0};
                        struct json_fault f;
                        int n = snprintf(text, sizeof text, "[\"%.*s%sabcdefghij\"]", before,
                                         "zyxwvutsrqponmlkjihgfedcba", all[k].bytes);
                        CU_ASSERT_EQUAL(json_walk_begin(&w, (struct str){text, (uint32_t)n}, &f),
                                        0);
                        int r = json_walk_next(&w, &i, &f);
                        if (r == 0) {
                                r = json_walk_next(&w, &(struct json_item){0}, &f);
                        }
                        CU_ASSERT_EQUAL(r, all[k].bad ? JSON_BAD : JSON_END);
                        CU_ASSERT_TRUE(all[k].bad || i.value_has == all[k].has);
                        CU_ASSERT_TRUE(all[k].bad || i.value.n == (uint32_t)n - 2);
                }
        }
}

static void test_unescapes(void)
{
        static const char *const texts[] = {"",
                                            "plain",
                                            "\\\"\\\\\\/\\b\\f\\n\\r\\t",
                                            "\\u0041\\u00e4\\u20AC\\ud83d\\uDE00",
                                            "\xe2\x82\xac\\u0000x",
                                            "\\\\u0041",
                                            "a\\/b\\/c"};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                char quoted[128];
                size_t n = (size_t)snprintf(quoted, sizeof quoted, "\"%s\"", texts[i]);
                json_t *v = json_loadb(quoted, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
                CU_ASSERT_PTR_NOT_NULL_FATAL(v);
                uint32_t k = json_unescape((struct str){quoted + 1, (uint32_t)n - 2},
                                           quoted + 1); /* in place */
                CU_ASSERT_EQUAL(k, json_string_length(v));
                CU_ASSERT_EQUAL(memcmp(quoted + 1, json_string_value(v), k), 0);
                json_decref(v);
        }
        char to[8];
        CU_ASSERT_EQUAL(json_unescape(STR("\\udc00"), to), 3);
        CU_ASSERT_EQUAL(memcmp(to, "\xef\xbf\xbd", 3), 0);
}

static void test_places(void)
{
        static const struct str text = {"{\n\xc3\xa4\xe2\x82\xac x\n", 10};
        static const struct {
                size_t at;
                uint32_t line, column;
        } cases[] = {{0, 1, 1}, {1, 1, 2}, {2, 2, 1},  {4, 2, 2},
                     {7, 2, 3}, {8, 2, 4}, {10, 3, 1}, {99, 3, 1}};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                uint32_t line, column;
                json_place(text, cases[i].at, &line, &column);
                CU_ASSERT_EQUAL(line, cases[i].line);
                CU_ASSERT_EQUAL(column, cases[i].column);
        }
}

static uint64_t next_random(uint64_t *s)
{
        *s ^= *s << 13;
        *s ^= *s >> 7;
        *s ^= *s << 17;
        return *s;
}

/* What jansson takes we take. What only we take is what jansson cannot hold. */
static bool agrees(const char *text, size_t n)
{
        struct json_fault f;
        json_error_t e;
        int ours = check_copy(text, n, &f);
        json_t *theirs = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
        bool both = (ours == 0) == (theirs != NULL);
        if (!both && ours == 0) {
                enum json_error_code code = json_error_code(&e);
                both = code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
                       strstr(e.text, "invalid Unicode '\\u");
        }
        json_decref(theirs);
        return both && (ours == 0 || f.at <= n);
}

static void test_agrees_with_jansson(void)
{
        static const char *const seeds[] = {
            "{\"type\":\"a.b\",\"payload\":{\"x\":[1,-2.5e+10,true,false,null,"
            "\"\\u00e4\\ud83d\\ude00\\n\"]},\"tags\":[\"t\"]}",
            "[0,-1,1.5,1e9,\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\",[],{},[[[]]],{\"a\":{\"b\":{}}}"
            "]",
            " {\r\n\t\"k\" : \"v\\\\\\\"\\/\\b\" }\n",
            "\"\\ud800\\udc00\\ud800\"",
        };
        static const char alphabet[] = "{}[]\",:\\u0123456789eE+-.dDtrfalsn \n\xc3\xa4\xff\xed\xa0";
        uint64_t random = 88172645463325252u;
        uint32_t good = 0, off = 0;
        for (int round = 0; round < 60000; round++) {
                char text[160];
                const char *seed = seeds[next_random(&random) % ARRAY_LEN(seeds)];
                size_t n = strlen(seed);
                memcpy(text, seed, n);
                for (uint64_t k = next_random(&random) % 4; k > 0; k--) {
                        size_t at = next_random(&random) % n;
                        char c = alphabet[next_random(&random) % (sizeof alphabet - 1)];
                        switch (next_random(&random) % 3) {
                        case 0: text[at] = c; break;
                        case 1: memmove(text + at, text + at + 1, --n - at); break;
                        default:
                                memmove(text + at + 1, text + at, n++ - at);
                                text[at] = c;
                                break;
                        }
                }
                struct json_fault f;
                good += json_check((struct str){text, (uint32_t)n}, &f) == 0;
                if (!agrees(text, n) && off++ < 5) {
                        fprintf(stderr, "  %.*s\n", (int)n, text);
                }
        }
        CU_ASSERT_EQUAL(off, 0);
        CU_ASSERT_TRUE(good > 10000 && good < 50000); /* both answers were tried */
}

UNIT_TESTS = {
    {"good", test_good},
    {"bad, and where", test_bad_and_where},
    {"depth", test_depth},
    {"walks", test_walks},
    {"enters elements", test_enters_elements},
    {"finds special bytes anywhere", test_finds_special_bytes_anywhere},
    {"unescapes", test_unescapes},
    {"places", test_places},
    {"agrees with jansson", test_agrees_with_jansson},
};
UNIT_MAIN("http json")
