/*
 * What operators ask for: queues and their limits, the dead in groups, operations over many jobs,
 * nodes, workers; and that what was asked for reaches the daemon as it was meant.
 */
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdlib.h>

#include "tests/unit/test-http-fake.h"

static void test_queues(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_get(&f, "/v1/queues", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"queues\":[{\"name\":\"default\"}]}");
        reply_free(&r);
        client_get(&f, "/v1/queues/d%65fault", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"name\":\"default\"}");
        reply_free(&r);
        client_get(&f, "/v1/queues/nope", &r);
        check_problem(&r, 404, "no queue is called \\\"nope\\\"; configured here: default, email",
                      "unknown");
        reply_free(&r);
        client_send_json(&f, "POST", "/v1/queues/email/pause", NULL, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"name\":\"email\"");
        CHECK_HAS(r, "\"paused\":true,\"concurrency\":0,\"global\":0,\"configured\":{"
                     "\"concurrency\":0,\"global\":0}");
        reply_free(&r);
        CU_ASSERT_TRUE(f.controls[1].paused);
        client_send_json(&f, "PATCH", "/v1/queues/email", "{\"concurrency\":4,\"global\":7}", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"paused\":true,\"concurrency\":4,\"global\":7,\"configured\":{"
                     "\"concurrency\":0");
        reply_free(&r);
        client_send_json(&f, "PATCH", "/v1/queues/email",
                         "{\"paused\":false,\"concurrency\":0,\"global\":null}", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"paused\":false,\"concurrency\":0,\"global\":0");
        reply_free(&r);
        CU_ASSERT_EQUAL(f.controls[1].concurrency, 0);
        CU_ASSERT_EQUAL(f.controls[1].global, CONTROL_UNSET);
        CU_ASSERT_EQUAL(f.controls[0].concurrency, CONTROL_UNSET);
        client_send_json(&f, "POST", "/v1/queues/email/resume", NULL, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"paused\":false");
        reply_free(&r);
        fake_stop(&f);
}

static void test_groups(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_get(&f, "/v1/dead/groups?queue=email&type=email.*&error=oom&limit=10", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"queue\":\"email\",\"type\":\"email.send\",\"error\":\"failed\",\"reason\":"
                     "\"exhausted\",\"fingerprint\":\"000000000000001f\",\"count\":3");
        CHECK_HAS(r, "\"text\":\"no route to \\\"host\\\"\"");
        CHECK_HAS(r, "\"partial\":true");
        reply_free(&r);
        fake_stop(&f);
}

#define BIT(state) (1u << STATE_##state)

static void test_operations_begin(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_send_json(
            &f, "POST", "/v1/dead/requeue",
            "{\"filter\":{\"state\":[\"dead\",\"cancelled\"],\"type\":\"a.>\",\"queue\":\"q\","
            "\"tag\":\"t\",\"error\":\"crashed\",\"fingerprint\":\"00000000000000AB\","
            "\"since\":\"1970-01-01T00:00:01Z\",\"before\":\"1970-01-01T00:00:02Z\","
            "\"ended_before\":\"1970-01-01T00:00:03Z\"},\"rate\":100,\"limit\":5,\"stop_when\":0}",
            &r);
        CHECK_STATUS(r, 202);
        CHECK_HAS(r, "{\"id\":\"1\",\"kind\":\"requeue\",\"done\":17,\"asked\":0,\"died_again\":2,"
                     "\"over\":false,\"begun_at\":");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Location: /v1/operations/1\r\n"));
        reply_free(&r);
        const struct job_filter *filter = &f.bulk.filter;
        CU_ASSERT_EQUAL(f.bulk.kind, BULK_REQUEUE);
        CU_ASSERT_EQUAL(filter->states, BIT(DEAD) | BIT(CANCELLED));
        CU_ASSERT_TRUE(str_eq(filter->type, STR("a.>")) && str_eq(filter->queue, STR("q")));
        CU_ASSERT_TRUE(str_eq(filter->tag, STR("t")) && filter->error == ERROR_CRASHED);
        CU_ASSERT_EQUAL(filter->fingerprint, 0xab);
        CU_ASSERT_EQUAL(filter->since_us, 1000000);
        CU_ASSERT_EQUAL(filter->before_us, 2000000);
        CU_ASSERT_EQUAL(filter->ended_before_us, 3000000);
        CU_ASSERT_TRUE(f.bulk.rate == 100 && f.bulk.limit == 5 && f.bulk.stop_permille == 0);
        client_send_json(&f, "POST", "/v1/dead/requeue", "{\"all\":true}", &r);
        CHECK_STATUS(r, 202);
        reply_free(&r);
        CU_ASSERT_EQUAL(f.bulk.filter.states, BIT(DEAD));
        CU_ASSERT_EQUAL(f.bulk.stop_permille, 200);
        client_send_json(&f, "POST", "/v1/dead/purge", "{\"filter\":{\"state\":\"completed\"}}",
                         &r);
        CHECK_STATUS(r, 202);
        reply_free(&r);
        CU_ASSERT_EQUAL(f.bulk.kind, BULK_PURGE);
        CU_ASSERT_EQUAL(f.bulk.filter.states, BIT(COMPLETED));
        client_send_json(&f, "POST", "/v1/jobs/cancel", "{\"filter\":{\"queue\":\"email\"}}", &r);
        CHECK_STATUS(r, 202);
        reply_free(&r);
        CU_ASSERT_EQUAL(f.bulk.kind, BULK_CANCEL);
        CU_ASSERT_EQUAL(f.bulk.filter.states,
                        BIT(SCHEDULED) | BIT(PENDING) | BIT(RUNNING) | BIT(RETRYING));
        CU_ASSERT_EQUAL(f.bulk.stop_permille, 0);
        fake_stop(&f);
}

static void test_operations_end(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_send_json(&f, "POST", "/v1/dead/purge", "{\"all\":true,\"dry_run\":true,\"rate\":1}",
                         &r);
        CHECK_STATUS(r, 200);
        CU_ASSERT_STRING_EQUAL(r.body, "{\"count\":17}");
        reply_free(&r);
        CU_ASSERT_EQUAL(f.bulk.kind, BULK_COUNT);
        CU_ASSERT_EQUAL(f.bulk.filter.states, BIT(DEAD));
        CU_ASSERT_EQUAL(f.bulk.rate, 0);
        const char all[] = "{\"all\":true}";
        client_ask(&f, false, "POST", "/v1/dead/purge", "Prefer: wait=9\r\n", all, sizeof all - 1,
                   &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"over\":true");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Preference-Applied: wait=9\r\n"));
        reply_free(&r);
        client_get(&f, "/v1/operations", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"operations\":[{\"id\":\"1\",\"kind\":\"count\"");
        CHECK_HAS(r, "{\"id\":\"2\",\"kind\":\"purge\"");
        reply_free(&r);
        client_send_json(&f, "DELETE", "/v1/operations/2", NULL, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"over\":true,\"note\":\"stopped by an operator\"");
        CHECK_HAS(r, "\"over_at\":\"2023-11-14T22:13:20.123457Z\"");
        reply_free(&r);
        client_get(&f, "/v1/operations/2", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        client_get(&f, "/v1/operations/3", &r);
        check_problem(&r, 404, "this node has no operation 3", "unknown");
        reply_free(&r);
        f.busy = true;
        client_send_json(&f, "POST", "/v1/dead/purge", all, &r);
        check_problem(&r, 429, "the operation does not begin: one runs already", "busy");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Retry-After: 1\r\n"));
        reply_free(&r);
        fake_stop(&f);
}

/* A count that takes too long goes on as an operation. */
static void test_slow_count(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        f.busy = true;
        client_send_json(&f, "POST", "/v1/dead/purge", "{\"all\":true,\"dry_run\":true}", &r);
        CHECK_STATUS(r, 202);
        CHECK_HAS(r, "\"kind\":\"count\"");
        reply_free(&r);
        fake_stop(&f);
}

static void test_node_and_job_questions(void)
{
        struct fake f;
        struct reply r;
        char id[JOB_ID_TEXT], path[96];
        fake_start(&f, false, 0, 0);
        client_get(&f, "/v1/nodes", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"nodes\":[{\"holder\":\"00000000000000ab\",\"host\":\"h1\"");
        CHECK_HAS(r, "\"serves\":[\"email.>\",\"report\"],\"queues\":[]");
        CHECK_HAS(r, "\"dead\":false,\"self\":true}");
        reply_free(&r);
        client_send_json(&f, "POST", "/v1/reconcile", NULL, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"queues\":[]}");
        reply_free(&r);
        client_send_json(&f, "POST", "/v1/workers", "{\"workers\":9}", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"workers\":9,\"configured\":2}");
        reply_free(&r);
        CU_ASSERT_EQUAL(f.workers, 9);
        client_send_json(&f, "POST", "/v1/workers", "{\"workers\":null}", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        CU_ASSERT_EQUAL(f.workers, 0);
        client_post(&f, "{\"type\":\"a\"}", &r);
        reply_free(&r);
        struct job_id job = fake_job(&f, 0);
        id_text(&job, id);
        snprintf(path, sizeof path, "/v1/jobs/%s/explain", id);
        client_get(&f, path, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"code\":\"paused\"}");
        reply_free(&r);
        client_get(&f, "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/explain", &r);
        check_problem(&r, 404, "no job has the id 01890a5d", "unknown");
        reply_free(&r);
        fake_stop(&f);
}

/* A job with what an attempt leaves behind. */
static void test_rows(void)
{
        static const struct {
                enum job_state state;
                const char *has[4];
        } cases[] = {
            {STATE_PENDING,
             {"\"ahead\":42", "\"retry\":\"fixed base=2s\"", "\"heartbeat\":\"30s\""}},
            {STATE_RUNNING,
             {"\"progress\":{\"done\":3,\"total\":7.5,\"at\":\"2023-11-14T22:13:20.123456Z\"}",
              "\"checkpoint_size\":12"}},
            {STATE_DEAD, {"\"fingerprint\":\"00000000000000ab\"", "\"retry_until\":\""}},
            {STATE_CANCELLED, {"\"duplicate_of\":\"01890a5d-ac96-774b-bcce-b302099a8057\""}},
        };
        struct fake f;
        struct reply r;
        char id[JOB_ID_TEXT], path[96];
        fake_start(&f, false, 0, 0);
        client_post(
            &f,
            "{\"type\":\"a\",\"retry\":\"fixed base=2s\",\"heartbeat\":\"30s\",\"parent_id\":"
            "\"01890a5d-ac96-774b-bcce-b302099a8058\"}",
            &r);
        CHECK_STATUS(r, 201);
        reply_free(&r);
        struct job_id job = fake_job(&f, 0);
        f.jobs[0].row.retry_until_us = FAKE_NOW;
        id_text(&job, id);
        snprintf(path, sizeof path, "/v1/jobs/%s", id);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                fake_make_state(&f, 0, cases[i].state);
                client_get(&f, path, &r);
                CHECK_STATUS(r, 200);
                CHECK_HAS(r, "\"parent_id\":\"01890a5d-ac96-774b-bcce-b302099a8058\"");
                for (size_t k = 0; k < 4 && cases[i].has[k]; k++) {
                        CHECK_HAS(r, cases[i].has[k]);
                }
                json_t *v = json_loads(r.body, JSON_REJECT_DUPLICATES, NULL);
                CU_ASSERT_PTR_NOT_NULL(v);
                json_decref(v);
                reply_free(&r);
        }
        fake_stop(&f);
}

/* Whole rows come in short pages, and all of them come. */
static void test_whole_lists(void)
{
        struct fake f;
        struct reply r;
        size_t n = 900000, jobs = 0, pages = 0;
        char *body = malloc(n + 64);
        char path[512] =
            "/v1/jobs?whole=true&limit=1000&error=crashed&fingerprint=00000000000000ab";
        fake_start(&f, false, 0, 0);
        int at = sprintf(body, "{\"type\":\"a\",\"payload\":\"");
        memset(body + at, 'x', n);
        memcpy(body + (size_t)at + n, "\"}", 3);
        for (uint32_t i = 0; i < 24; i++) {
                client_post(&f, body, &r);
                CHECK_STATUS(r, 201);
                reply_free(&r);
                fake_make_state(&f, i, i % 2 ? STATE_DEAD : STATE_COMPLETED);
        }
        free(body);
        for (bool more = true; more && pages < 10; pages++) {
                client_get(&f, path, &r);
                CHECK_STATUS(r, 200);
                CU_ASSERT_TRUE(r.n < (10u << 20));
                json_t *v = json_loads(r.body, 0, NULL);
                json_t *list = json_object_get(v, "jobs");
                jobs += json_array_size(list);
                CU_ASSERT_PTR_NOT_NULL(json_object_get(json_array_get(list, 0), "payload"));
                json_decref(v);
                const char *link = strstr(r.head, "Link: <");
                more = link != NULL;
                if (more) {
                        snprintf(path, sizeof path, "%.*s", (int)strcspn(link + 7, ">"), link + 7);
                        CU_ASSERT_PTR_NOT_NULL(strstr(path, "whole=true"));
                        CU_ASSERT_PTR_NOT_NULL(strstr(path, "error=crashed"));
                }
                reply_free(&r);
        }
        CU_ASSERT_EQUAL(jobs, 12);
        CU_ASSERT_EQUAL(pages, 2);
        client_get(&f, "/v1/jobs?before=1990-01-01T00:00:00Z", &r);
        CHECK_HAS(r, "{\"jobs\":[]}");
        reply_free(&r);
        client_get(&f, "/v1/jobs?before=2999-01-01T00:00:00Z&limit=1000", &r);
        CHECK_HAS(r, "{\"jobs\":[{");
        CU_ASSERT_PTR_NULL(strstr(r.body, "payload"));
        reply_free(&r);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"queues", test_queues},
    {"groups", test_groups},
    {"operations begin", test_operations_begin},
    {"operations end", test_operations_end},
    {"a slow count", test_slow_count},
    {"questions to nodes", test_node_and_job_questions},
    {"rows", test_rows},
    {"whole lists", test_whole_lists},
};
UNIT_MAIN("http operate")
