/*
 * The server end to end: routes, credentials, submissions, waits, lists, streams. A fake daemon
 * answers from another thread; the client speaks raw HTTP over the Unix socket and TCP.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test-http-fake.h"

static void job_path(struct fake *f, uint32_t i, const char *after, char *ret, size_t n)
{
        char id[JOB_ID_TEXT];
        struct job_id job = fake_job(f, i);
        id_text(&job, id);
        snprintf(ret, n, "/v1/jobs/%s%s", id, after);
}

static void test_submits_and_shows(void)
{
        struct fake f;
        struct reply r;
        char path[96];
        fake_start(&f, false, 0, 0);
        client_post(
            &f,
            "{\"type\":\"email.send\",\"key\":\"k1\",\"tags\":[\"a\",\"b\",\"a\"],\"headers\":{\"X-"
            "Y\":\"1\"},"
            "\"timeout\":\"90s\",\"payload\": {\"b\" : 1.50, \"b\":[12345678901234567890123]} }",
            &r);
        CHECK_STATUS(r, 201);
        CHECK_HAS(r, "\"queue\":\"email\",\"state\":\"pending\",\"key\":\"k1\"");
        job_path(&f, 0, "", path, sizeof path);
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Location: /v1/jobs/"));
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, path));
        reply_free(&r);
        client_get(&f, path, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"payload\":{\"b\" : 1.50, \"b\":[12345678901234567890123]}");
        CHECK_HAS(r, "\"tags\":[\"a\",\"b\"]");
        CHECK_HAS(r, "\"headers\":{\"x-y\":\"1\"}");
        CHECK_HAS(r, "\"priority\":7");
        CHECK_HAS(r, "\"max_attempts\":5");
        CHECK_HAS(r, "\"timeout\":\"90s\"");
        CHECK_HAS(r, "\"created_at\":\"2023-11-14T22:13:20.123456Z\"");
        reply_free(&r);
        client_get(&f, "/v1/jobs/key:k1?queue=email", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        client_get(&f, "/v1/jobs/key:k%31?queue=email", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        client_get(&f, "/v1/jobs/key:k1?queue=default", &r);
        CHECK_STATUS(r, 404);
        CHECK_HAS(r, "no job has the key \\\"k1\\\" in the queue \\\"default\\\"");
        reply_free(&r);
        fake_stop(&f);
}

static void test_keeps_bytes_and_times(void)
{
        struct fake f;
        struct reply r;
        char path[96];
        fake_start(&f, false, 0, 0);
        client_post(&f, "{\"type\":\"a\",\"payload_base64\":\"AAH\\/\",\"delay\":\"1h\"}", &r);
        CHECK_STATUS(r, 201);
        CHECK_HAS(r, "\"state\":\"scheduled\"");
        reply_free(&r);
        job_path(&f, 0, "", path, sizeof path);
        client_get(&f, path, &r);
        CHECK_HAS(r, "\"content_type\":\"application/octet-stream\",\"payload_base64\":\"AAH/\"");
        CHECK_HAS(r, "\"run_at\":\"2023-11-14T23:13:20.123456Z\"");
        reply_free(&r);
        client_post(&f, "{\"type\":\"a\",\"run_at\":\"2999-01-01T01:00:00+01:00\"}", &r);
        CHECK_HAS(r, "\"state\":\"scheduled\"");
        reply_free(&r);
        client_post(
            &f, "{\"type\":\"a\",\"run_at\":\"1999-01-01T00:00:00Z\",\"payload\":\"\\u0000\"}", &r);
        CHECK_STATUS(r, 201);
        CHECK_HAS(r, "\"state\":\"pending\"");
        reply_free(&r);
        job_path(&f, 2, "", path, sizeof path);
        client_get(&f, path, &r);
        CHECK_HAS(r, "\"payload\":\"\\u0000\"");
        reply_free(&r);
        fake_stop(&f);
}

static void test_repeats_by_key(void)
{
        struct fake f;
        struct reply a, b;
        fake_start(&f, false, 0, 0);
        client_post(&f, "{\"type\":\"a\",\"key\":\"k\",\"payload\":1}", &a);
        client_post(&f, "{\"type\":\"a\",\"key\":\"k\",\"payload\":1}", &b);
        CHECK_STATUS(b, 201);
        CU_ASSERT_STRING_EQUAL(a.body, b.body);
        reply_free(&a);
        reply_free(&b);
        client_post(&f, "{\"type\":\"a\",\"key\":\"k\",\"payload\":2}", &b);
        CHECK_STATUS(b, 422);
        CHECK_HAS(b, "already names job ");
        CHECK_HAS(b, "\"job\":\"");
        reply_free(&b);
        client_post(&f, "[{\"type\":\"a\"},{\"type\":\"a\",\"key\":\"k\",\"payload\":3}]", &b);
        CHECK_STATUS(b, 422);
        CHECK_HAS(b, "\"index\":1");
        CU_ASSERT_EQUAL(fake_jobs(&f), 1);
        reply_free(&b);
        fake_stop(&f);
}

static void ask_with_key(struct fake *f, const char *type, const char *key, const char *body,
                         struct reply *ret)
{
        char extra[256];
        snprintf(extra, sizeof extra, "Content-Type: %s\r\nIdempotency-Key: %s\r\n", type, key);
        client_ask(f, false, "POST", "/v1/jobs", extra, body, strlen(body), ret);
}

static void test_repeats_by_request_key(void)
{
        struct fake f;
        struct reply a, b;
        fake_start(&f, false, 0, 0);
        ask_with_key(&f, "application/json", "r1", "[{\"type\":\"a\"},{\"type\":\"b\"}]", &a);
        ask_with_key(&f, "application/json", "\"r1\"", "[{\"type\":\"a\"},{\"type\":\"b\"}]", &b);
        CHECK_STATUS(a, 201);
        CHECK_STATUS(b, 201);
        CU_ASSERT_STRING_EQUAL(a.body, b.body);
        CU_ASSERT_EQUAL(fake_jobs(&f), 2);
        reply_free(&a);
        reply_free(&b);
        ask_with_key(&f, "application/json", "r1", "[{\"type\":\"a\"},{\"type\":\"c\"}]", &a);
        CHECK_STATUS(a, 422);
        CHECK_HAS(a, "\"field\":\"Idempotency-Key\"");
        reply_free(&a);
        ask_with_key(&f, "application/x-ndjson", "r2",
                     "{\"type\":\"a\"}\n{\"type\":1}\n{\"type\":\"b\"}", &a);
        ask_with_key(&f, "application/x-ndjson", "r2",
                     "{\"type\":\"a\"}\n{\"type\":1}\n{\"type\":\"b\"}", &b);
        CU_ASSERT_STRING_EQUAL(a.body, b.body);
        CU_ASSERT_EQUAL(fake_jobs(&f), 4);
        reply_free(&a);
        reply_free(&b);
        ask_with_key(&f, "application/x-ndjson", "r2",
                     "{\"type\":\"a\"}\n{\"type\":\"b\",\"key\":\"x\"}", &a);
        CHECK_HAS(a, "{\"line\":1,\"status\":422,");
        CU_ASSERT_EQUAL(fake_jobs(&f), 4);
        reply_free(&a);
        fake_stop(&f);
}

static void test_lists_in_pages(void)
{
        struct fake f;
        struct reply r;
        uint32_t pages = 0, jobs = 0;
        char path[512] = "/v1/jobs?limit=3&tag=t%2F1&state=pending&since=2020-01-01T00:00:00Z";
        fake_start(&f, false, 0, 0);
        for (int i = 0; i < 8; i++) {
                client_post(&f, "{\"type\":\"a\",\"tags\":[\"t/1\"]}", &r);
                reply_free(&r);
                client_post(&f, "{\"type\":\"a\"}", &r);
                reply_free(&r);
        }
        for (bool more = true; more; pages++) {
                client_get(&f, path, &r);
                CHECK_STATUS(r, 200);
                json_t *v = json_loads(r.body, 0, NULL);
                jobs += (uint32_t)json_array_size(json_object_get(v, "jobs"));
                json_decref(v);
                const char *link = strstr(r.head, "Link: <");
                more = link != NULL;
                if (more) {
                        snprintf(path, sizeof path, "%.*s", (int)strcspn(link + 7, ">"), link + 7);
                }
                reply_free(&r);
                CU_ASSERT_FATAL(pages < 10);
        }
        CU_ASSERT_EQUAL(pages, 3);
        CU_ASSERT_EQUAL(jobs, 8);
        char *cursor = strstr(path, "cursor=");
        CU_ASSERT_PTR_NOT_NULL_FATAL(cursor);
        char other[256];
        snprintf(other, sizeof other, "/v1/jobs?limit=3&%s", cursor);
        client_get(&f, other, &r);
        CHECK_STATUS(r, 422);
        CHECK_HAS(r, "\"field\":\"cursor\"");
        reply_free(&r);
        fake_stop(&f);
}

static void test_cancels_and_retries(void)
{
        static const struct {
                const char *method, *after;
                enum job_state state;
                int status;
                const char *has;
        } cases[] = {
            {"DELETE", "", STATE_PENDING, 200, "\"state\":\"cancelled\""},
            {"DELETE", "", STATE_SCHEDULED, 200, "\"state\":\"cancelled\""},
            {"DELETE", "", STATE_RUNNING, 202, "\"cancel_asked\":true"},
            {"DELETE", "", STATE_COMPLETED, 409, "is completed and has ended"},
            {"DELETE", "", STATE_DEAD, 409, "\"state\":\"dead\""},
            {"POST", "/retry", STATE_DEAD, 200, "\"changed\":true"},
            {"POST", "/retry", STATE_CANCELLED, 200, "\"changed\":true"},
            {"POST", "/retry", STATE_SCHEDULED, 200, "\"changed\":true"},
            {"POST", "/retry", STATE_RETRYING, 200, "\"changed\":true"},
            {"POST", "/retry", STATE_PENDING, 200, "\"changed\":false"},
            {"POST", "/retry", STATE_RUNNING, 409, "cancel it first"},
            {"POST", "/retry", STATE_COMPLETED, 409, "submit a new job"},
        };
        struct fake f;
        struct reply r;
        char path[96];
        fake_start(&f, false, 0, 0);
        client_post(&f, "{\"type\":\"a\"}", &r);
        reply_free(&r);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                fake_make_state(&f, 0, cases[i].state);
                job_path(&f, 0, cases[i].after, path, sizeof path);
                client_ask(&f, false, cases[i].method, path, NULL, NULL, 0, &r);
                CHECK_STATUS(r, cases[i].status);
                CHECK_HAS(r, cases[i].has);
                reply_free(&r);
        }
        client_ask(&f, false, "DELETE", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057", NULL, NULL,
                   0, &r);
        CHECK_STATUS(r, 404);
        reply_free(&r);
        client_ask(&f, false, "POST", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/retry", NULL,
                   "", 0, &r);
        CHECK_STATUS(r, 404);
        reply_free(&r);
        fake_make_state(&f, 0, STATE_DEAD);
        job_path(&f, 0, "", path, sizeof path);
        client_get(&f, path, &r);
        CHECK_HAS(r, "\"reason\":\"exhausted\"");
        CHECK_HAS(r, "\"class\":\"crashed\",\"text\":\"signal 11 \\u001b[31m\\ufffd\\n\\\"x\\\"\"");
        CHECK_HAS(r, "\"node\":\"fedcba9876543210\"");
        CHECK_HAS(r, "\"attempts\":[{\"class\":\"crashed\"");
        reply_free(&r);
        fake_stop(&f);
}

static void test_waits(void)
{
        struct fake f;
        struct reply r;
        char path[96];
        fake_start(&f, false, 0, 0);
        const char body[] = "{\"type\":\"a\",\"key\":\"w\"}";
        client_ask(&f, false, "POST", "/v1/jobs",
                   "Content-Type: application/json\r\nPrefer: respond-async, wait=99\r\n", body,
                   sizeof body - 1, &r);
        CHECK_STATUS(r, 201);
        CHECK_HAS(r, "\"state\":\"completed\"");
        CHECK_HAS(r, "\"result\":{\"ok\":true}");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Preference-Applied: wait=60\r\n"));
        reply_free(&r);
        fake_make_state(&f, 0, STATE_RUNNING);
        job_path(&f, 0, "", path, sizeof path);
        client_ask(&f, false, "GET", path, "Prefer: wait=5\r\n", NULL, 0, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"state\":\"completed\"");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Preference-Applied: wait=5\r\n"));
        reply_free(&r);
        fake_make_state(&f, 0, STATE_RUNNING);
        client_ask(&f, false, "GET", "/v1/jobs/key:w?queue=default", "Prefer: wait=5\r\n", NULL, 0,
                   &r);
        CHECK_HAS(r, "\"state\":\"completed\"");
        reply_free(&r);
        fake_make_state(&f, 0, STATE_RUNNING);
        client_get(&f, path, &r);
        CHECK_HAS(r, "\"state\":\"running\"");
        CU_ASSERT_PTR_NULL(strstr(r.head, "Preference-Applied"));
        reply_free(&r);
        client_ask(&f, false, "GET", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057",
                   "Prefer: wait=1\r\n", NULL, 0, &r);
        CHECK_STATUS(r, 404);
        reply_free(&r);
        fake_stop(&f);
}

/* --- credentials ------------------------------------------------------------------------- */

static void test_every_route_and_credential(void)
{
        static const char *const bad[] = {"",
                                          "Authorization: Bearer 0123456789abcdef-wrong\r\n",
                                          "Authorization: Bearer\r\n",
                                          "Authorization: Basic " FAKE_TOKEN "\r\n",
                                          "Authorization: Bearer " FAKE_TOKEN "x\r\n",
                                          "Authorization: Bearer # who may\r\n"};
        struct fake f;
        struct reply r;
        fake_start(&f, true, 0, 0);
        for (size_t i = 0; i < FAKE_ROUTES; i++) {
                bool open = strcmp(fake_routes[i].path, "/livez") == 0 ||
                            strcmp(fake_routes[i].path, "/readyz") == 0;
                for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
                        client_ask_route(&f, true, i, bad[k], &r);
                        CHECK_STATUS(r, open ? fake_routes[i].status : 401);
                        CU_ASSERT_EQUAL(strstr(r.head, "WWW-Authenticate: Bearer") != NULL, !open);
                        CU_ASSERT_PTR_NULL(strstr(r.body, "0123456789abcdef"));
                        reply_free(&r);
                }
        }
        CU_ASSERT_EQUAL(fake_jobs(&f), 0);
        for (size_t i = 0; i < FAKE_ROUTES; i++) {
                client_ask_route(&f, true, i, "authorization: bearer " FAKE_TOKEN "\r\n", &r);
                CHECK_STATUS(r, fake_routes[i].status);
                reply_free(&r);
                client_ask_route(&f, false, i, "", &r);
                CHECK_STATUS(r, fake_routes[i].status);
                reply_free(&r);
        }
        CU_ASSERT_EQUAL(fake_jobs(&f), 2);
        fake_stop(&f);
}

static void test_checks_host_on_tcp(void)
{
        static const struct {
                const char *host;
                int status;
        } cases[] = {{"localhost", 200},
                     {"localhost:8290", 200},
                     {"127.0.0.1:1", 200},
                     {"[::1]:8290", 200},
                     {"LOCALHOST", 200},
                     {"evil.example", 421},
                     {"localhost.evil.example", 421},
                     {"127.0.0.1.evil", 421},
                     {"localhost:80x", 421},
                     {"127.0.0.12", 421}};
        struct fake f;
        struct reply r;
        fake_start(&f, true, 0, 0);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char text[256];
                int n = snprintf(text, sizeof text,
                                 "GET /livez HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                                 cases[i].host);
                int fd = client_connect(&f, true);
                client_send(fd, text, (size_t)n);
                client_receive(fd, &r);
                CHECK_STATUS(r, cases[i].status);
                reply_free(&r);
        }
        fake_stop(&f);
}

static void test_reloads(void)
{
        struct fake f;
        struct reply r;
        char note[256];
        fake_start(&f, true, 0, 0);
        int fd = open(f.tokens, O_WRONLY | O_TRUNC);
        dprintf(fd, "the-new-token-of-today\n");
        close(fd);
        CU_ASSERT_EQUAL(http_reload_tokens(f.http, note, sizeof note), 0);
        client_ask_route(&f, true, 0, "Authorization: Bearer " FAKE_TOKEN "\r\n", &r);
        CHECK_STATUS(r, 401);
        reply_free(&r);
        client_ask_route(&f, true, 0, "Authorization: Bearer the-new-token-of-today\r\n", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        chmod(f.tokens, 0640);
        CU_ASSERT_EQUAL(http_reload_tokens(f.http, note, sizeof note), HTTP_REFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "chmod 600"));
        f.config.n_queues = 1;
        f.config.payload_max = 10;
        http_configure(f.http, &f.config);
        client_post(&f, "{\"type\":\"a\",\"payload\":\"0123456789\"}", &r);
        CHECK_STATUS(r, 413);
        reply_free(&r);
        client_post(&f, "{\"type\":\"a\",\"queue\":\"email\"}", &r);
        CHECK_STATUS(r, 422);
        reply_free(&r);
        fake_stop(&f);
}

/* --- NDJSON ------------------------------------------------------------------------------ */

static char *make_lines(uint32_t n, uint32_t bad_every, size_t *ret_n)
{
        char *text = malloc((size_t)n * 96);
        size_t at = 0;
        for (uint32_t i = 1; i <= n; i++) {
                at += (size_t)(bad_every && i % bad_every == 0
                                   ? sprintf(text + at, "{\"type\":\"a\",\"prio\":%u}\n", i)
                                   : sprintf(text + at, "{\"type\":\"a\",\"payload\":{\"i\":%u}}\n",
                                             i));
        }
        *ret_n = at;
        return text;
}

static uint32_t count_lines(const struct reply *r, const char *has)
{
        uint32_t n = 0;
        const char *end = r->body + r->n;
        for (const char *p = r->body; (p = memmem(p, (size_t)(end - p), has, strlen(has))) != NULL;
             p++) {
                n++;
        }
        return n;
}

static void post_lines(struct fake *f, const char *text, size_t n, struct reply *ret)
{
        client_ask(f, false, "POST", "/v1/jobs", "Content-Type: application/x-ndjson\r\n", text, n,
                   ret);
}

static void test_streams_20000_lines(void)
{
        struct fake f;
        struct reply r;
        size_t n;
        char *text = make_lines(20000, 1000, &n);
        fake_start(&f, false, 0, 0);
        post_lines(&f, text, n, &r);
        free(text);
        CHECK_STATUS(r, 200);
        CU_ASSERT_EQUAL(count_lines(&r, "\n"), 20000);
        CU_ASSERT_EQUAL(count_lines(&r, "\"status\":201,\"id\":"), 19980);
        CU_ASSERT_EQUAL(count_lines(&r, "unknown-field"), 20);
        CU_ASSERT_EQUAL(fake_jobs(&f), 19980);
        const char *p = r.body;
        for (uint32_t i = 1; i <= 20000 && p; i++) {
                unsigned line = 0;
                sscanf(p, "{\"line\":%u", &line);
                if (line != i) {
                        CU_FAIL("the lines are not in order");
                        break;
                }
                p = strchr(p, '\n');
                p = p ? p + 1 : NULL;
        }
        reply_free(&r);
        fake_stop(&f);
}

static void test_ndjson_edges(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        const char text[] = "\n  "
                            "\r\n{\"type\":\"a\"}\r\n{\"type\":\"a\",}\nnonsense\n[]\n{\"type\":"
                            "\"a\",\"key\":\"k\"}\n"
                            "{\"type\":\"a\",\"key\":\"k\",\"payload\":1}\n{\"type\":\"\xff\"}\n{"
                            "\"type\":\"last\"}";
        post_lines(&f, text, sizeof text - 1, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"line\":3,\"status\":201,");
        CHECK_HAS(r, "{\"line\":4,\"status\":400,");
        CHECK_HAS(r, "\"line\":4,\"column\":13");
        CHECK_HAS(r, "{\"line\":5,\"status\":400,");
        CHECK_HAS(r, "{\"line\":6,\"status\":400,");
        CHECK_HAS(r, "a job is an object");
        CHECK_HAS(r, "{\"line\":8,\"status\":422,");
        CHECK_HAS(r, "key-conflict");
        CHECK_HAS(r, "{\"line\":9,\"status\":400,");
        CHECK_HAS(r, "not UTF-8");
        CHECK_HAS(r, "{\"line\":10,\"status\":201,");
        CU_ASSERT_EQUAL(count_lines(&r, "\n"), 8);
        CU_ASSERT_EQUAL(fake_jobs(&f), 3);
        reply_free(&r);
        post_lines(&f, "\n\n", 2, &r);
        CHECK_STATUS(r, 400);
        reply_free(&r);
        size_t n = 3u << 20;
        char *longest = malloc(n + 64);
        memset(longest, 'x', n);
        int k = sprintf(longest + n, "\n{\"type\":\"a\"}\n");
        post_lines(&f, longest, n + (size_t)k, &r);
        free(longest);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"line\":1,\"status\":413,");
        CHECK_HAS(r, "{\"line\":2,\"status\":201,");
        reply_free(&r);
        fake_stop(&f);
}

static void test_ndjson_when_the_ledger_goes(void)
{
        struct fake f;
        struct reply r;
        size_t n;
        char *text = make_lines(1200, 0, &n);
        fake_start(&f, false, 0, 0);
        f.refuse_submissions_from = 1;
        post_lines(&f, text, n, &r);
        CHECK_STATUS(r, 503);
        CHECK_HAS(r, "the disk is full; this line was not written");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Retry-After: "));
        reply_free(&r);
        f.refuse_submissions_from = f.submissions + 2;
        post_lines(&f, text, n, &r);
        CHECK_STATUS(r, 200);
        CU_ASSERT_EQUAL(count_lines(&r, "\"status\":201,\"id\""), 1000);
        CU_ASSERT_EQUAL(count_lines(&r, "\"status\":503,\"error\""), 200);
        reply_free(&r);
        f.refuse_submissions_from = 0;
        fake_set(&f, &f.refuse, true);
        post_lines(&f, text, n, &r);
        CHECK_STATUS(r, 503);
        reply_free(&r);
        free(text);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"submits and shows", test_submits_and_shows},
    {"keeps bytes and times", test_keeps_bytes_and_times},
    {"repeats by key", test_repeats_by_key},
    {"repeats by request key", test_repeats_by_request_key},
    {"lists in pages", test_lists_in_pages},
    {"cancels and retries", test_cancels_and_retries},
    {"waits", test_waits},
    {"every route and credential", test_every_route_and_credential},
    {"checks Host on TCP", test_checks_host_on_tcp},
    {"reloads", test_reloads},
    {"streams 20,000 lines", test_streams_20000_lines},
    {"NDJSON edges", test_ndjson_edges},
    {"NDJSON when the ledger goes", test_ndjson_when_the_ledger_goes},
};
UNIT_MAIN("http server")
