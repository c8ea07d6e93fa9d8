/*
 * The fields by which a job says how it is retried, watched, unique and replied to: what each
 * becomes in its row, what is refused, and how the answers to equal submissions are equal.
 */
#include "tests/unit/http-fields.h"

#include <stdlib.h>

#include "core/defaults.h"
#include "core/retry.h"
#include "core/unique.h"
#include "tests/unit/test-http-fake.h"

static void set_up(void)
{
        static struct queue_config queues[3];
        queues[0] = (struct queue_config){.name = STR("default"), .retry = RETRY_POLICY_DEFAULT};
        queues[1] = (struct queue_config){.name = STR("other"), .retry = RETRY_POLICY_DEFAULT};
        queues[2] = (struct queue_config){
            .name = STR("rabbit"), .transport = STR("r1"), .retry = RETRY_POLICY_DEFAULT};
        config = (struct config){.queues = queues, .n_queues = 3, .payload_max = 1000};
        settings = settings_new(&config);
}

/* {"type":"a", and more} */
static struct submit_row row_with(const char *more)
{
        char text[4096];
        snprintf(text, sizeof text, "{\"type\":\"a\",%s}", more);
        return row_of(text);
}

#define IS(s, literal) CU_ASSERT_TRUE(str_eq((s), STR(literal)))

static void test_retry(void)
{
        static const struct {
                const char *written, *policy;
        } cases[] = {
            {"\"fixed\"", "fixed"},
            {"\"table=1s,10s,2m\"", "table=1s,10s,2m"},
            {"\"exponential base=1s cap=10m jitter=0.2 attempts=5 for=2h\"",
             "exponential base=1s cap=10m jitter=0.2 attempts=5 for=2h"},
            {"\"f\\u0069xed\"", "fixed"},
            {"{\"backoff\":\"linear\"}", "linear"},
            {"{\"attempts\":7}", "attempts=7"},
            {"{\"for\":\"2h\",\"base\":\"250ms\"}", "for=2h base=250ms"},
            {"{\"jitter\":0}", "jitter=0.000"},
            {"{\"jitter\":1}", "jitter=1.000"},
            {"{\"jitter\":0.25}", "jitter=0.250"},
            {"{\"table\":[\"1s\",\"5m\"]}", "table=1s,5m"},
            {"{\"backoff\":\"table\",\"table\":[\"1s\"],\"cap\":\"1h\"}", "table=1s cap=1h"},
            {"{\"backoff\":\"exponential\",\"base\":\"1s\",\"cap\":\"10m\",\"jitter\":0.2,"
             "\"attempts\":5,\"for\":\"2h\"}",
             "exponential base=1s cap=10m jitter=0.200 attempts=5 for=2h"},
        };
        set_up();
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char more[512], note[256];
                struct retry_policy policy = RETRY_POLICY_DEFAULT;
                snprintf(more, sizeof more, "\"retry\":%s", cases[i].written);
                struct submit_row row = row_with(more);
                CU_ASSERT_TRUE(str_eq(row.policy, str_of(cases[i].policy)));
                CU_ASSERT_EQUAL(retry_parse(row.policy, &policy, note, sizeof note), 0);
        }
        CU_ASSERT_EQUAL(row_with("\"heartbeat\":\"30s\"").heartbeat_ms, 30000);
        CU_ASSERT_EQUAL(row_with("\"priority\":1").policy.n, 0);
        tear_down();
}

static void test_headers(void)
{
        set_up();
        struct submit_row row =
            row_with("\"queue\":\"rabbit\",\"reply_to\":\"back\",\"correlation_id\":\"c 1\"");
        IS(row.headers, "reply-to\0back\0correlation-id\0c 1\0");
        row = row_with("\"parent_id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"headers\":{"
                       "\"Job-Parent-Id\":\"x\",\"a\":\"1\",\"reply-to\":\"kept\"}");
        IS(row.headers, "a\0"
                        "1\0reply-to\0kept\0job-parent-id\0"
                        "01890a5d-ac96-774b-bcce-b302099a8057\0");
        row = row_with(
            "\"headers\":{\"reply-to\":\"old\"},\"queue\":\"rabbit\",\"reply_to\":\"new\"");
        IS(row.headers, "reply-to\0new\0");
        tear_down();
}

static bool same_key(const struct unique_key *a, const struct unique_key *b)
{
        return a->set && b->set && memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

static void test_unique(void)
{
        set_up();
        struct submit_row plain = row_with("\"priority\":1"),
                          one = row_with("\"unique_key\":\"u\"");
        CU_ASSERT_FALSE(plain.unique.set);
        CU_ASSERT_TRUE(one.unique.set && !one.unique.replace);
        CU_ASSERT_EQUAL(one.unique.states, UNIQUE_STATES_DEFAULT);
        CU_ASSERT_EQUAL(one.unique.for_us, 0);
        static const struct {
                const char *more;
                bool same;
        } cases[] = {
            {"\"unique_key\":\"u\",\"payload\":1", true},
            {"\"unique_key\":\"v\"", false},
            {"\"unique_key\":\"u\",\"queue\":\"other\"", false},
            {"\"unique_key\":\"u\",\"unique_scope\":\"type,queue\",\"queue\":\"default\"", true},
            {"\"unique_key\":\"u\",\"unique_scope\":[\"queue\",\"type\"]", true},
            {"\"unique_key\":\"u\",\"unique_scope\":\"type\"", false},
            {"\"unique_key\":\"u\",\"unique_scope\":[\"type\",\"queue\",\"payload\"]", false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct submit_row other = row_with(cases[i].more);
                CU_ASSERT_EQUAL(same_key(&one.unique, &other.unique), cases[i].same);
        }
        struct submit_row a = row_with("\"unique_scope\":[\"payload\"],\"payload\":{\"x\":1}"),
                          b = row_with("\"unique_scope\":\"payload\",\"unique_key\":\"\","
                                       "\"payload\":{\"x\":1}"),
                          c = row_with("\"unique_scope\":\"payload\",\"payload\":{\"x\":2}");
        CU_ASSERT_TRUE(same_key(&a.unique, &b.unique));
        CU_ASSERT_FALSE(same_key(&a.unique, &c.unique));
        a = row_with("\"unique_key\":\"u\",\"unique_states\":[\"scheduled\",\"dead\"],"
                     "\"unique_for\":\"1h\",\"unique_conflict\":\"replace\"");
        CU_ASSERT_EQUAL(a.unique.states, 1u << STATE_SCHEDULED | 1u << STATE_DEAD);
        CU_ASSERT_EQUAL(a.unique.for_us, 3600 * US_PER_S);
        CU_ASSERT_TRUE(a.unique.replace);
        a = row_with("\"unique_key\":\"u\",\"unique_states\":\"incomplete\"");
        CU_ASSERT_EQUAL(a.unique.states, UNIQUE_STATES_DEFAULT);
        a = row_with("\"unique_key\":\"u\",\"unique_states\":\"all\"");
        CU_ASSERT_EQUAL(a.unique.states, (1u << JOB_STATE_COUNT) - 1);
        tear_down();
}

/* What the request says nothing of is decided by the engine, for all who bring jobs alike. */
static void test_left_to_the_engine(void)
{
        set_up();
        struct submit_row row = row_with("\"max_attempts\":4,\"retry\":\"attempts=9 for=1h\"");
        CU_ASSERT_EQUAL(row.max_attempts, 4);
        CU_ASSERT_EQUAL(row.retry_until_us, 0);
        row = row_with("\"retry\":\"attempts=9\"");
        CU_ASSERT_EQUAL(row.max_attempts, 0);
        CU_ASSERT_EQUAL(row.priority, ROW_PRIORITY_UNSET);
        CU_ASSERT_EQUAL(row.timeout_ms, 0);
        CU_ASSERT_EQUAL(row.heartbeat_ms, 0);
        tear_down();
}

static const struct {
        const char *more, *field, *detail;
} refusals[] = {
    {"\"retry\":5", "retry", "retry: 5 is not allowed; write a text as in"},
    {"\"retry\":\"\"", "retry", "retry: \"\" is not allowed"},
    {"\"retry\":[]", "retry", "retry: [] is not allowed"},
    {"\"retry\":null", "retry", "retry: null"},
    {"\"retry\":\"sometimes\"", "retry", "\"sometimes\" is not allowed"},
    {"\"retry\":\"fixed base=x\"", "retry", "at byte 7"},
    {"\"retry\":\"fixed fixed\"", "retry", "retry: "},
    {"\"retry\":\"attempts=0\"", "retry", "retry: "},
    {"\"retry\":{}", "retry.backoff", "the object is empty"},
    {"\"retry\":{\"backof\":\"fixed\"}", "retry.backof", "(did you mean \"backoff\"?)"},
    {"\"retry\":{\"backoff\":\"cubic\"}", "retry.backoff", "exponential, linear, fixed"},
    {"\"retry\":{\"base\":1}", "retry.base", "retry.base: 1 is not allowed"},
    {"\"retry\":{\"base\":\"1s cap=5\"}", "retry.base", "\"1s cap=5\" is not allowed"},
    {"\"retry\":{\"base\":\"400d\"}", "retry", "retry: "},
    {"\"retry\":{\"cap\":\"-1s\"}", "retry.cap", "retry.cap: "},
    {"\"retry\":{\"jitter\":1.5}", "retry.jitter", "a number from 0 to 1"},
    {"\"retry\":{\"jitter\":\"0.2\"}", "retry.jitter", "retry.jitter: \"0.2\""},
    {"\"retry\":{\"attempts\":0}", "retry.attempts", "from 1 to 1000"},
    {"\"retry\":{\"attempts\":2.5}", "retry.attempts", "retry.attempts: 2.5"},
    {"\"retry\":{\"attempts\":1e99}", "retry.attempts", "retry.attempts: 1e99"},
    {"\"retry\":{\"for\":\"soon\"}", "retry.for", "retry.for: \"soon\""},
    {"\"retry\":{\"backoff\":\"table\"}", "retry.table", "table: missing"},
    {"\"retry\":{\"backoff\":\"fixed\",\"table\":[\"1s\"]}", "retry.table",
     "belongs to the backoff \"table\" alone"},
    {"\"retry\":{\"table\":[]}", "retry.table", "1 to 16 durations"},
    {"\"retry\":{\"table\":[\"1s\",2]}", "retry.table", "1 to 16 durations"},
    {"\"retry\":{\"table\":\"1s\"}", "retry.table", "1 to 16 durations"},
    {"\"heartbeat\":\"99ms\"", "heartbeat", "from 100ms to 30d"},
    {"\"heartbeat\":30", "heartbeat", "heartbeat: 30"},
    {"\"heartbeat\":\"31d\"", "heartbeat", "from 100ms to 30d"},
    {"\"unique_key\":\"\"", "unique_key", "unique_key: it is empty; write one, or add"},
    {"\"unique_key\":7", "unique_key", "unique_key: 7 is not allowed"},
    {"\"unique_for\":\"1h\"", "unique_key", "unique_key: missing"},
    {"\"unique_conflict\":\"keep\"", "unique_key", "unique_key: missing"},
    {"\"unique_key\":\"u\",\"unique_for\":\"0s\"", "unique_for", "from 1ms to 3660d"},
    {"\"unique_key\":\"u\",\"unique_for\":60", "unique_for", "unique_for: 60"},
    {"\"unique_key\":\"u\",\"unique_scope\":\"all\"", "unique_scope", "type, queue or payload"},
    {"\"unique_key\":\"u\",\"unique_scope\":[]", "unique_scope", "unique_scope: []"},
    {"\"unique_key\":\"u\",\"unique_scope\":[1]", "unique_scope", "unique_scope: [1]"},
    {"\"unique_key\":\"u\",\"unique_scope\":[\"type,queue\"]", "unique_scope", "unique_scope: "},
    {"\"unique_key\":\"u\",\"unique_states\":\"done\"", "unique_states", "incomplete, or all"},
    {"\"unique_key\":\"u\",\"unique_states\":{}", "unique_states", "unique_states: {}"},
    {"\"unique_key\":\"u\",\"unique_conflict\":\"fail\"", "unique_conflict", "keep or replace"},
    {"\"unique_key\":\"u\",\"uniqe_for\":\"1h\"", "uniqe_for", "(did you mean \"unique_for\"?)"},
    {"\"reply_to\":\"back\"", "reply_to", "reply_to: queue default has no transport"},
    {"\"reply_to\":\"back\",\"queue\":\"other\"", "reply_to", "queue other has no transport"},
    {"\"reply_to\":\"\"", "reply_to", "reply_to: \"\" is not allowed"},
    {"\"reply_to\":\"a\\nb\"", "reply_to", "without control characters"},
    {"\"correlation_id\":5", "correlation_id", "correlation_id: 5"},
    {"\"parent_id\":\"x\"", "parent_id", "a UUID in its form of 36 characters"},
    {"\"parent\":\"x\"", "parent", "(did you mean \"parent_id\"?)"},
};

static void test_refusals(void)
{
        set_up();
        for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
                struct submit_row row = {0};
                struct problem p = {0};
                char text[512];
                snprintf(text, sizeof text, "{\"type\":\"a\",%s}", refusals[i].more);
                int r = parse(text, &row, &p);
                bool fits = r == FIELDS_REFUSED && problem_status(&p) == 422 &&
                            strcmp(p.field, refusals[i].field) == 0 &&
                            strstr(p.detail, refusals[i].detail) &&
                            (p.allowed || p.allowed_text[0]);
                if (!fits) {
                        fprintf(stderr, "  %s: %d %s: %s\n", text, r, p.field, p.detail);
                }
                CU_ASSERT_TRUE(fits);
        }
        tear_down();
}

static void test_long_values(void)
{
        static const struct {
                const char *field;
                int longest;
        } cases[] = {{"unique_key", 255}, {"reply_to", 255}, {"correlation_id", 255}};
        char text[10000], value[9000];
        struct submit_row row;
        struct problem p;
        set_up();
        memset(value, 'v', sizeof value);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                for (int n = cases[i].longest; n <= cases[i].longest + 1; n++) {
                        snprintf(text, sizeof text,
                                 "{\"type\":\"a\",\"queue\":\"rabbit\",\"%s\":\"%.*s\"}",
                                 cases[i].field, n, value);
                        CU_ASSERT_EQUAL(parse(text, &row, &p),
                                        n == cases[i].longest ? 0 : FIELDS_REFUSED);
                }
        }
        snprintf(text, sizeof text, "{\"type\":\"a\",\"retry\":\"%.4000s\"}", value);
        CU_ASSERT_EQUAL(parse(text, &row, &p), FIELDS_REFUSED);
        snprintf(text, sizeof text, "{\"type\":\"a\",\"retry\":\"%.8000s\"}", value);
        CU_ASSERT_EQUAL(parse(text, &row, &p), FIELDS_REFUSED);
        snprintf(text, sizeof text,
                 "{\"type\":\"a\",\"headers\":{\"x\":\"%.8150s\"},\"reply_to\":\"%.100s\","
                 "\"queue\":\"rabbit\"}",
                 value, value);
        CU_ASSERT_EQUAL(parse(text, &row, &p), FIELDS_REFUSED);
        CU_ASSERT_STRING_EQUAL(p.field, "reply_to");
        tear_down();
}

/* --- over HTTP -------------------------------------------------------------------------------- */

static void test_equal_answers(void)
{
        static const char *const conflicts[] = {"keep", "replace"};
        struct fake f;
        struct reply a, b;
        char body[160];
        fake_start(&f, false, 0, 0);
        for (size_t i = 0; i < 2; i++) {
                snprintf(body, sizeof body,
                         "{\"type\":\"a\",\"unique_key\":\"u%zu\",\"unique_conflict\":\"%s\"}", i,
                         conflicts[i]);
                client_post(&f, body, &a);
                CHECK_STATUS(a, 201);
                for (int k = 0; k < 20; k++) {
                        client_post(&f, body, &b);
                        CHECK_STATUS(b, 201);
                        CU_ASSERT_STRING_EQUAL(a.body, b.body);
                        CU_ASSERT_PTR_NOT_NULL(strstr(b.head, "Location: /v1/jobs/"));
                        reply_free(&b);
                }
                CU_ASSERT_EQUAL(fake_jobs(&f), i + 1);
                reply_free(&a);
        }
        client_post(&f, "[{\"type\":\"a\",\"unique_key\":\"u0\"},{\"type\":\"a\"}]", &b);
        CHECK_STATUS(b, 201);
        CU_ASSERT_EQUAL(fake_jobs(&f), 3);
        reply_free(&b);
        client_ask(&f, false, "POST", "/v1/jobs", "Content-Type: application/x-ndjson\r\n", body,
                   strlen(body), &b);
        CHECK_STATUS(b, 200);
        CHECK_HAS(b, "{\"line\":1,\"status\":201,\"id\":\"");
        CU_ASSERT_EQUAL(fake_jobs(&f), 3);
        reply_free(&b);
        fake_stop(&f);
}

static void test_full_queues(void)
{
        static const char body[] = "{\"type\":\"a\"}";
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        f.full = true;
        client_post(&f, body, &r);
        check_problem(&r, 429, "queue: default is as long as it may be (max_waiting = 50)", "full");
        CHECK_HAS(r, "urn:skep:problem:queue-full");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Retry-After: 1\r\n"));
        reply_free(&r);
        client_post(&f, "[{\"type\":\"a\"},{\"type\":\"a\"}]", &r);
        check_problem(&r, 429, "\"index\":0", "full");
        reply_free(&r);
        client_ask(&f, false, "POST", "/v1/jobs", "Content-Type: application/x-ndjson\r\n", body,
                   sizeof body - 1, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"line\":1,\"status\":429,\"error\":{");
        reply_free(&r);
        CU_ASSERT_EQUAL(fake_jobs(&f), 0);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"retry", test_retry},
    {"headers", test_headers},
    {"unique", test_unique},
    {"left to the engine", test_left_to_the_engine},
    {"refusals", test_refusals},
    {"long values", test_long_values},
    {"equal answers", test_equal_answers},
    {"full queues", test_full_queues},
};
UNIT_MAIN("http policy")
