/*
 * The small texts of HTTP: base64, strings of JSON, problems, cursors, paths, tokens'
 * comparison with nothing.
 */
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdlib.h>

#include "http/base64.h"
#include "http/call.h"

static void test_base64(void)
{
        static const char *const pairs[][2] = {{"", ""},
                                               {"f", "Zg=="},
                                               {"fo", "Zm8="},
                                               {"foo", "Zm9v"},
                                               {"foob", "Zm9vYg=="},
                                               {"fooba", "Zm9vYmE="},
                                               {"foobar", "Zm9vYmFy"}};
        static const char *const bad[] = {"Z",    "Zg",   "Zg=",      "Zg===", "Zh==",
                                          "Zm9=", "====", "Zg==Zg==", "Z g=",  "Zm9v\n",
                                          "Zm-v", "=Zm8", "Z=m8"};
        char text[64], bytes[64];
        uint32_t n;
        for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
                struct str plain = str_of(pairs[i][0]), coded = str_of(pairs[i][1]);
                base64_encode(plain, text);
                CU_ASSERT_TRUE(
                    str_eq((struct str){text, (uint32_t)base64_encoded(plain.n)}, coded));
                n = 99;
                CU_ASSERT_TRUE(base64_decode(coded, bytes, &n));
                CU_ASSERT_TRUE(str_eq((struct str){bytes, n}, plain));
        }
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                if (base64_decode(str_of(bad[i]), bytes, &n)) {
                        fprintf(stderr, "  %s\n", bad[i]);
                        CU_FAIL("taken");
                }
        }
        for (int k = 0; k < 64; k++) { /* each digit */
                char plain[48];
                for (int i = 0; i < 48; i++) {
                        plain[i] = (char)(i * 5 + k * 37);
                }
                base64_encode((struct str){plain, (uint32_t)k % 48}, text);
                memcpy(bytes, text, 64);
                CU_ASSERT_TRUE(
                    base64_decode((struct str){bytes, (uint32_t)base64_encoded((size_t)k % 48)},
                                  bytes, &n)); /* in place */
                CU_ASSERT_TRUE(n == (uint32_t)k % 48 && memcmp(bytes, plain, n) == 0);
        }
}

static void test_strings(void)
{
        static const struct {
                struct str from;
                const char *to;
        } cases[] = {
            {{"", 0}, "\"\""},
            {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
            {{"\n\r\t\b\0", 5}, "\"\\n\\r\\t\\u0008\\u0000\""},
            {{"\x1b[31m\x7f", 6}, "\"\\u001b[31m\\u007f\""},
            {{"\xc2\x9b"
              "31m\xc2\xa0",
              7},
             "\"\\u009b31m\xc2\xa0\""},
            {{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9},
             "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
            {{"\xff\xc3", 2}, "\"\\ufffd\\ufffd\""},
            {{"\xed\xa0\x80", 3}, "\"\\ufffd\\ufffd\\ufffd\""},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct out o = {0};
                out_string(&o, cases[i].from);
                CU_ASSERT_TRUE(str_eq((struct str){o.p, (uint32_t)o.n}, str_of(cases[i].to)));
                json_t *v = json_loadb(o.p, o.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
                CU_ASSERT_PTR_NOT_NULL(v);
                json_decref(v);
                out_deinit(&o);
        }
}

static void test_problems(void)
{
        struct problem p;
        struct out o = {0};
        char longest[2000];
        memset(longest, 0xe2, sizeof longest);
        for (size_t i = 0; i + 3 < sizeof longest; i += 3) {
                memcpy(longest + i, "\xe2\x82\xac", 3);
        }
        longest[sizeof longest - 1] = 0;
        problem_set(&p, PROBLEM_INVALID, "%s", longest);
        snprintf(p.field, sizeof p.field, "priority");
        p.allowed = "an integer";
        p.line = 3;
        p.column = 4;
        p.index = 0;
        problem_write(&o, &p);
        json_t *v = json_loadb(o.p, o.n, 0, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(v);
        CU_ASSERT_EQUAL(json_string_length(json_object_get(v, "detail")) % 3,
                        0); /* cut between characters */
        CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(v, "type")),
                               "urn:skep:problem:invalid-field");
        CU_ASSERT_EQUAL(json_integer_value(json_object_get(v, "status")), 422);
        CU_ASSERT_EQUAL(json_integer_value(json_object_get(v, "line")), 3);
        CU_ASSERT_EQUAL(json_integer_value(json_object_get(v, "column")), 4);
        CU_ASSERT_TRUE(json_is_integer(json_object_get(v, "index")));
        CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(v, "allowed")), "an integer");
        json_decref(v);
        out_deinit(&o);
        char quoted[QUOTE_TEXT];
        CU_ASSERT_STRING_EQUAL(quote_text((struct str){"a\n\0\x1b", 4}, quoted), "a???");
        CU_ASSERT_STRING_EQUAL(
            quote_text(str_of("\"0123456789012345678901234567890123456789012345\xc3\xa4z\""),
                       quoted),
            "\"0123456789012345678901234567890123456789012345...");
        /* every kind is described in openapi.json under its name */
#define X(enumerator, status, name, title)                                                         \
        CU_ASSERT_PTR_NOT_NULL(strstr(openapi_json, "\"urn:skep:problem:" name "\""));
        PROBLEMS(X)
#undef X
}

static void test_cursors(void)
{
        struct query q = QUERY_DEFAULT, other = QUERY_DEFAULT;
        struct job_id id, back;
        char text[CURSOR_TEXT];
        for (int i = 0; i < 16; i++) {
                id.b[i] = (uint8_t)(i * 17 + 200);
        }
        q.type = STR("a.b");
        cursor_text(&q, &id, text);
        CU_ASSERT_EQUAL(strlen(text), CURSOR_TEXT - 1);
        CU_ASSERT_EQUAL(
            strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            CURSOR_TEXT - 1);
        CU_ASSERT_TRUE(cursor_parse(&q, str_of(text), &back) && job_id_eq(&id, &back));
        q.limit = 7; /* no filter: another page size goes on */
        CU_ASSERT_TRUE(cursor_parse(&q, str_of(text), &back));
        CU_ASSERT_FALSE(cursor_parse(&other, str_of(text), &back));
        q.state = 3;
        CU_ASSERT_FALSE(cursor_parse(&q, str_of(text), &back));
        q.state = -1;
        for (int i = 0; i < CURSOR_TEXT - 1; i++) { /* version or hash broken, or another id */
                char c = text[i];
                text[i] = c == 'A' ? 'B' : 'A';
                CU_ASSERT_TRUE(!cursor_parse(&q, str_of(text), &back) || !job_id_eq(&id, &back));
                text[i] = '+';
                CU_ASSERT_FALSE(cursor_parse(&q, str_of(text), &back));
                text[i] = c;
        }
        CU_ASSERT_FALSE(cursor_parse(&q, STR(""), &back));
        CU_ASSERT_FALSE(cursor_parse(&q, (struct str){text, CURSOR_TEXT - 2}, &back));
}

static void test_paths(void)
{
        static const struct {
                const char *path;
                int route; /* -1: refused */
        } cases[] = {
            {"/v1/jobs", ROUTE_JOBS},
            {"/livez", ROUTE_LIVE},
            {"/readyz", ROUTE_READY},
            {"/healthz", ROUTE_HEALTH},
            {"/metrics", ROUTE_METRICS},
            {"/openapi.json", ROUTE_OPENAPI},
            {"/v1/stats", ROUTE_STATS},
            {"/v1/jobs/01890A5D-ac96-774b-bcce-b302099a8057", ROUTE_JOB},
            {"/v1/jobs/key:a", ROUTE_JOB_KEY},
            {"/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/retry", ROUTE_RETRY},
            {"", -1},
            {"/", -1},
            {"/v1", -1},
            {"/v1/jobs/{id}", -1},
            {"/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/", -1},
            {"/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/retry/", -1},
            {"/v1/jobs/key:{key}", ROUTE_JOB_KEY},
            {"/v1/jobs/key:%", -1},
            {"/v1/jobs/key:%1", -1},
            {"/v1/jobs/key:%00", -1},
            {"/v1/jobs/key:", -1},
            {"/v1/jobs/cancel", ROUTE_JOBS_CANCEL},
            {"/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/explain", ROUTE_EXPLAIN},
            {"/v1/queues", ROUTE_QUEUES},
            {"/v1/queues/", -1},
            {"/v1/queues/a", ROUTE_QUEUE},
            {"/v1/queues/pause", ROUTE_QUEUE},
            {"/v1/queues/a/pause", ROUTE_QUEUE_PAUSE},
            {"/v1/queues/a%2Fpause", ROUTE_QUEUE},
            {"/v1/queues/a/pause/", -1},
            {"/v1/queues//pause", -1},
            {"/v1/queues/%00", -1},
            {"/v1/queues/%", -1},
            {"/v1/schedules/preview", ROUTE_PREVIEW},
            {"/v1/schedules/previews", ROUTE_SCHEDULE},
            {"/v1/schedules/a/run", ROUTE_SCHEDULE_RUN},
            {"/v1/schedules/a/resume", ROUTE_SCHEDULE_RESUME},
            {"/v1/schedules/a/retry", -1},
            {"/v1/dead", -1},
            {"/v1/dead/groups", ROUTE_DEAD_GROUPS},
            {"/v1/operations/7", ROUTE_OPERATION},
            {"/v1/operations/0", -1},
            {"/v1/operations/-1", -1},
            {"/v1/operations/9999999999999999999", -1},
            {"/v1/operations/x", -1},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct arena a = {0};
                struct route_match m = {0};
                struct problem p = {0};
                int r = route_parse(&a, str_of(cases[i].path), &m, &p);
                CU_ASSERT_EQUAL(r == 0 ? (int)m.route : -1, cases[i].route);
                CU_ASSERT_TRUE(r == 0 || p.detail[0]);
                arena_deinit(&a);
        }
        struct arena a = {0};
        struct route_match m;
        struct problem p;
        CU_ASSERT_EQUAL(route_parse(&a, STR("/v1/jobs/key:a%2fb/%C3%a4%25"), &m, &p), 0);
        CU_ASSERT_TRUE(str_eq(m.key, STR("a/b/\xc3\xa4%")));
        struct out o = {0};
        percent_encode(&o, m.key);
        CU_ASSERT_TRUE(str_eq((struct str){o.p, (uint32_t)o.n}, STR("a%2Fb%2F%C3%A4%25")));
        out_deinit(&o);
        arena_deinit(&a);
}

/* An operation has a body in the document where the route has one. */
static void check_bodies(json_t *path, unsigned bodies)
{
        static const struct {
                const char *name;
                unsigned method;
        } methods[] = {{"get", METHOD_GET},
                       {"post", METHOD_POST},
                       {"put", METHOD_PUT},
                       {"patch", METHOD_PATCH},
                       {"delete", METHOD_DELETE}};
        for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
                json_t *body =
                    json_object_get(json_object_get(path, methods[i].name), "requestBody");
                CU_ASSERT_EQUAL(body != NULL, (bodies & methods[i].method) != 0);
        }
}

/* The document describes each route with each of its methods, and nothing else. */
static void test_openapi_has_the_routes(void)
{
        json_t *doc = json_loads(openapi_json, JSON_REJECT_DUPLICATES, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
        json_t *paths = json_object_get(doc, "paths");
        CU_ASSERT_EQUAL(json_object_size(paths), ROUTE_COUNT);
        for (int i = 0; i < ROUTE_COUNT; i++) {
                json_t *path = json_object_get(paths, route_path((enum route)i));
                unsigned methods = route_methods((enum route)i);
                CU_ASSERT_EQUAL(json_object_get(path, "get") != NULL, (methods & METHOD_GET) != 0);
                CU_ASSERT_EQUAL(json_object_get(path, "post") != NULL,
                                (methods & METHOD_POST) != 0);
                CU_ASSERT_EQUAL(json_object_get(path, "delete") != NULL,
                                (methods & METHOD_DELETE) != 0);
                CU_ASSERT_EQUAL(json_object_get(path, "put") != NULL, (methods & METHOD_PUT) != 0);
                CU_ASSERT_EQUAL(json_object_get(path, "patch") != NULL,
                                (methods & METHOD_PATCH) != 0);
                check_bodies(path, route_bodies((enum route)i));
                CU_ASSERT_TRUE(route_allow(methods)[0] != 0);
                bool open = json_array_size(
                                json_object_get(json_object_get(path, "get"), "security")) == 0 &&
                            json_object_get(json_object_get(path, "get"), "security");
                CU_ASSERT_EQUAL(open, route_open((enum route)i));
        }
        json_decref(doc);
}

UNIT_TESTS = {
    {"base64", test_base64},     {"strings", test_strings},
    {"problems", test_problems}, {"cursors", test_cursors},
    {"paths", test_paths},       {"openapi.json has the routes", test_openapi_has_the_routes},
};
UNIT_MAIN("http texts")
