/*
 * From an object to a row: what each field becomes, which defaults hold, what is refused. The table
 * of bad bodies is in test-http-hostile; here are the values. Also: openapi.json names exactly the
 * fields of the table.
 */
#include "tests/unit/http-fields.h"

#include <jansson.h>
#include <stdlib.h>

#include "core/defaults.h"
#include "http/fields_table.h"

extern const char openapi_json[];

static void set_up(bool with_default)
{
        static struct str email[] = {{"email.>", 7}, {"mail.*", 6}};
        static struct queue_config queues[2];
        queues[0] = (struct queue_config){
            .name = STR("email"), .types = email, .n_types = 2, .priority = 8};
        queues[0].retry = RETRY_POLICY_DEFAULT;
        queues[0].retry.max_attempts = 9;
        queues[1] = (struct queue_config){
            .name = STR("default"), .priority = 5, .retry = RETRY_POLICY_DEFAULT};
        config =
            (struct config){.queues = queues, .n_queues = with_default ? 2 : 1, .payload_max = 100};
        settings = settings_new(&config);
}

#define IS(s, literal) CU_ASSERT_TRUE(str_eq((s), STR(literal)))

static void test_defaults(void)
{
        set_up(true);
        struct submit_row r = row_of("{\"type\":\"a\"}");
        IS(r.type, "a");
        IS(r.queue, "default");
        IS(r.payload, "");
        IS(r.content_type, "application/octet-stream");
        CU_ASSERT_EQUAL(r.headers.n + r.tags.n + r.key_text.n, 0);
        CU_ASSERT_FALSE(r.key.set);
        CU_ASSERT_EQUAL(r.priority, ROW_PRIORITY_UNSET);
        CU_ASSERT_EQUAL(r.max_attempts, 0);
        CU_ASSERT_EQUAL(r.timeout_ms, 0);
        CU_ASSERT_EQUAL(r.state, STATE_PENDING);
        CU_ASSERT_EQUAL(r.band, BAND_OFFERED);
        CU_ASSERT_EQUAL(r.deadline_us, 0);
        tear_down();
}

static void test_all_fields(void)
{
        set_up(true);
        struct submit_row r =
            row_of(" { \"type\":\"email.send\", \"queue\":\"default\", \"key\":\"\\u00e4\\/\", "
                   "\"priority\":0,"
                   "\"run_at\":\"2023-11-14T22:13:20.000001Z\", "
                   "\"deadline\":\"2030-01-01T00:00:00+00:00\","
                   "\"timeout\":\"250ms\", \"max_attempts\":1000, \"tags\":[\"b\",\"a\",\"b\"],"
                   "\"headers\":{\"Trace-Id\":\"\xc3\xa4\", \"x\":\"\"}, "
                   "\"content_type\":\"application/x+json; a=b\","
                   "\"payload\" : [1 , 2]\t}\n");
        IS(r.type, "email.send");
        IS(r.queue, "default");
        IS(r.key_text, "\xc3\xa4/");
        struct job_key key = key_from_text(STR("\xc3\xa4/"));
        CU_ASSERT_TRUE(r.key.set && memcmp(r.key.b, key.b, 16) == 0);
        CU_ASSERT_EQUAL(r.priority, 0);
        CU_ASSERT_EQUAL(r.state, STATE_SCHEDULED);
        CU_ASSERT_EQUAL(r.at_us, NOW + 1);
        CU_ASSERT_EQUAL(r.after_us, 0);
        CU_ASSERT_EQUAL(r.deadline_us, INT64_C(1893456000000000));
        CU_ASSERT_EQUAL(r.timeout_ms, 250);
        CU_ASSERT_EQUAL(r.max_attempts, 1000);
        IS(r.tags, ",b,a,");
        IS(r.headers, "trace-id\0\xc3\xa4\0x\0\0");
        IS(r.content_type, "application/x+json; a=b");
        IS(r.payload, "[1 , 2]");
        tear_down();
}

static void test_queue_by_type(void)
{
        struct submit_row row;
        struct problem p;
        set_up(false);
        struct submit_row r = row_of("{\"type\":\"email.a.b\"}");
        IS(r.queue, "email");
        r = row_of("{\"type\":\"other\",\"queue\":\"email\",\"priority\":1,\"max_attempts\":2}");
        IS(r.queue, "email");
        CU_ASSERT_EQUAL(r.priority, 1);
        CU_ASSERT_EQUAL(r.max_attempts, 2);
        CU_ASSERT_EQUAL(parse("{\"type\":\"other\"}", &row, &p), FIELDS_REFUSED);
        CU_ASSERT_EQUAL(problem_status(&p), 422);
        CU_ASSERT_STRING_EQUAL(p.field, "queue");
        CU_ASSERT_PTR_NOT_NULL(strstr(p.detail, "configured: email"));
        tear_down();
}

static void test_times(void)
{
        set_up(true);
        struct submit_row r = row_of("{\"type\":\"a\",\"delay\":\"2h\"}");
        CU_ASSERT_EQUAL(r.state, STATE_SCHEDULED);
        CU_ASSERT_EQUAL(r.after_us, INT64_C(7200000000));
        CU_ASSERT_EQUAL(r.at_us, 0);
        r = row_of("{\"type\":\"a\",\"delay\":\"0s\"}");
        CU_ASSERT_EQUAL(r.state, STATE_PENDING);
        r = row_of("{\"type\":\"a\",\"run_at\":\"2023-11-14T22:13:20Z\"}"); /* now */
        CU_ASSERT_EQUAL(r.state, STATE_PENDING);
        CU_ASSERT_EQUAL(r.at_us, 0);
        r = row_of(
            "{\"type\":\"a\",\"deadline\":\"1980-01-01T00:00:00Z\"}"); /* a repeat of an old request
                                                                          stays valid */
        CU_ASSERT_EQUAL(r.state, STATE_PENDING);
        tear_down();
}

static void test_payloads(void)
{
        static const char *const exact[] = {"null",
                                            "0",
                                            "\"\\u0000\"",
                                            "\"\\ud800\"",
                                            "[ ]",
                                            "{\"a\":1,\"a\":2}",
                                            "1e999",
                                            "-0.0",
                                            "123456789012345678901234567890",
                                            "\"\xf0\x9f\x98\x80\""};
        struct submit_row row;
        struct problem p;
        char text[256];
        set_up(true);
        for (size_t i = 0; i < ARRAY_LEN(exact); i++) {
                snprintf(text, sizeof text, "{\"payload\":  %s  ,\"type\":\"a\"}", exact[i]);
                struct submit_row r = row_of(text);
                CU_ASSERT_TRUE(str_eq(r.payload, str_of(exact[i])));
                IS(r.content_type, "application/json");
        }
        struct submit_row r = row_of(
            "{\"type\":\"a\",\"payload_base64\":\"\\u0041AH\\/\",\"content_type\":\"image/png\"}");
        IS(r.payload, "\0\1\xff");
        IS(r.content_type, "image/png");
        r = row_of("{\"type\":\"a\",\"payload_base64\":\"\"}");
        IS(r.payload, "");
        snprintf(text, sizeof text, "{\"type\":\"a\",\"payload\":\"%.*s\"}", 98,
                 "0123456789012345678901234567890123456789"
                 "0123456789012345678901234567890123456789"
                 "012345678901234567890");
        CU_ASSERT_EQUAL(row_of(text).payload.n, 100);
        char *end = strstr(text, "\"}");
        memcpy(end, "x\"}", 4);
        CU_ASSERT_EQUAL(parse(text, &row, &p), FIELDS_REFUSED);
        CU_ASSERT_EQUAL(problem_status(&p), 413);
        tear_down();
}

static void test_every_limit(void)
{
        struct submit_row row;
        struct problem p;
        char text[20000], tag[70];
        set_up(true);
        memset(tag, 't', sizeof tag);
        snprintf(text, sizeof text, "{\"type\":\"a\",\"tags\":[\"%.64s\"]}", tag);
        CU_ASSERT_EQUAL(row_of(text).tags.n, 66);
        snprintf(text, sizeof text, "{\"type\":\"a\",\"tags\":[\"%.65s\"]}", tag);
        CU_ASSERT_EQUAL(parse(text, &row, &p), FIELDS_REFUSED);
        for (int n = 32; n <= 33; n++) { /* 32 tags of 64 bytes fill the room to its end */
                size_t at = (size_t)sprintf(text, "{\"type\":\"a\",\"tags\":[");
                for (int i = 0; i < n; i++) {
                        at += (size_t)sprintf(text + at, "%s\"%.62s%02d\"", i ? "," : "", tag, i);
                }
                sprintf(text + at, "]}");
                CU_ASSERT_EQUAL(parse(text, &row, &p), n == 32 ? 0 : FIELDS_REFUSED);
        }
        for (int n = 255; n <= 256; n++) {
                char name[300];
                memset(name, 'N', sizeof name);
                snprintf(text, sizeof text, "{\"type\":\"%.*s\"}", n, name);
                CU_ASSERT_EQUAL(parse(text, &row, &p), n == 255 ? 0 : FIELDS_REFUSED);
                snprintf(text, sizeof text, "{\"type\":\"a\",\"key\":\"%.*s\"}", n, name);
                CU_ASSERT_EQUAL(parse(text, &row, &p), n == 255 ? 0 : FIELDS_REFUSED);
                snprintf(text, sizeof text, "{\"type\":\"a\",\"headers\":{\"%.*s\":\"\"}}", n,
                         name);
                CU_ASSERT_EQUAL(parse(text, &row, &p), n == 255 ? 0 : FIELDS_REFUSED);
        }
        tear_down();
}

static void test_openapi_has_the_fields(void)
{
        json_error_t e;
        json_t *doc = json_loads(openapi_json, JSON_REJECT_DUPLICATES, &e);
        CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
        json_t *schema = json_object_get(
            json_object_get(json_object_get(doc, "components"), "schemas"), "NewJob");
        json_t *properties = json_object_get(schema, "properties");
        size_t n = 0;
        for (const struct field *f = fields_table; f->name; f++, n++) {
                CU_ASSERT_PTR_NOT_NULL(json_object_get(properties, f->name));
        }
        CU_ASSERT_EQUAL(json_object_size(properties), n);
        json_decref(doc);
}

static void test_nearest(void)
{
        static const char *const names[] = {"type",    "queue",        "key",   "priority",
                                            "payload", "max_attempts", "run_at"};
        static const struct {
                const char *written, *near;
        } cases[] = {{"tpye", "type"},
                     {"prio", "priority"},
                     {"Queue", "queue"},
                     {"retries", "max_attempts"},
                     {"runat", "run_at"},
                     {"zzzz", NULL},
                     {"max_attempt", "max_attempts"},
                     {"", NULL},
                     {"x", NULL}};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                const char *near = nearest_name(names, ARRAY_LEN(names), str_of(cases[i].written));
                if (near != cases[i].near &&
                    (!near || !cases[i].near || strcmp(near, cases[i].near) != 0)) {
                        fprintf(stderr, "  %s: %s\n", cases[i].written, near ? near : "none");
                        CU_FAIL("not the nearest");
                }
        }
}

UNIT_TESTS = {
    {"defaults", test_defaults},
    {"all fields", test_all_fields},
    {"queue by type", test_queue_by_type},
    {"times", test_times},
    {"payloads", test_payloads},
    {"every limit", test_every_limit},
    {"nearest", test_nearest},
    {"openapi.json has the fields", test_openapi_has_the_fields},
};
UNIT_MAIN("http fields")
