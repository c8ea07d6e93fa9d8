/*
 * Schedules over HTTP: made, changed, paused, run and dropped; what stands is never overwritten
 * unseen, and what the configuration holds only by force.
 */
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "core/rfc3339.h"
#include "tests/unit/test-http-fake.h"

#define ONE "/v1/schedules/s"

static int64_t wall_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

/* The times of the answer's member `next`, in order; returns how many. */
static size_t read_next(const struct reply *r, int64_t *ret_times, size_t max)
{
        json_t *v = json_loads(r->body, 0, NULL);
        json_t *list = json_object_get(v, "next");
        size_t n = json_array_size(list);
        for (size_t i = 0; i < n && i < max; i++) {
                const char *text = json_string_value(json_array_get(list, i));
                CU_ASSERT_TRUE(text && rfc3339_parse(str_of(text), &ret_times[i]));
        }
        json_decref(v);
        return n;
}

static void test_made_and_changed(void)
{
        int64_t begun = wall_us();
        struct fake f;
        struct reply r;
        int64_t next[8];
        fake_start(&f, false, 0, 0);
        client_send_json(
            &f, "PUT", ONE,
            "{\"cron\":\"*/10 * * * *\",\"zone\":\"Europe/Berlin\",\"catch_up\":\"all\","
            "\"catch_max\":5,\"overlap\":\"buffer\",\"job\":{\"type\":\"email.send\","
            "\"payload\": {\"x\" : 1},\"max_attempts\":9,\"timeout\":\"5m\",\"retry\":"
            "\"fixed base=2s\",\"tags\":[\"t\"],\"heartbeat\":\"30s\",\"reply_to\":"
            "\"back\"}}",
            &r);
        CHECK_STATUS(r, 201);
        CHECK_HAS(r, "{\"name\":\"s\",\"cron\":\"*/10 * * * *\",\"zone\":\"Europe/Berlin\","
                     "\"catch_up\":\"all\",\"catch_max\":5,\"overlap\":\"buffer\",\"paused\":false,"
                     "\"from_config\":false");
        CHECK_HAS(r, "\"type\":\"email.send\",\"queue\":\"email\"");
        CHECK_HAS(r,
                  "\"max_attempts\":9,\"timeout\":\"5m\",\"heartbeat\":\"30s\",\"retry\":\"fixed "
                  "base=2s\",\"tags\":[\"t\"],\"headers\":{\"reply-to\":\"back\"}");
        CHECK_HAS(r, "\"payload\":{\"x\" : 1}");
        CU_ASSERT_EQUAL(read_next(&r, next, 8), 5);
        for (int i = 0; i < 5; i++) {
                CU_ASSERT_EQUAL(next[i] % (600 * US_PER_S), 0);
                CU_ASSERT_EQUAL(next[i], next[0] + i * 600 * US_PER_S);
        }
        CU_ASSERT_TRUE(next[0] > begun);
        CU_ASSERT_EQUAL(f.schedules[1].next_us, next[0]);
        CU_ASSERT_EQUAL(f.schedules[1].job.retry_until_us, 0);
        reply_free(&r);
        f.schedules[1].next_us -= 60 * US_PER_S; /* so that one sees what becomes of it */
        int64_t kept = f.schedules[1].next_us;
        bool future = kept > wall_us() + 60 * US_PER_S;
        client_send_json(&f, "PUT", ONE,
                         "{\"cron\":\"*/10 * * * *\",\"zone\":\"Europe/Berlin\",\"job\":{\"type\":"
                         "\"b\"}}",
                         &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"catch_up\":\"last\",\"catch_max\":100,\"overlap\":\"allow\"");
        CU_ASSERT_TRUE(!future || f.schedules[1].next_us == kept);
        reply_free(&r);
        client_send_json(&f, "PUT", ONE, "{\"cron\":\"@every 1h\",\"job\":{\"type\":\"b\"}}", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"zone\":\"UTC\"");
        CU_ASSERT_TRUE(f.schedules[1].next_us > wall_us() + 3500 * US_PER_S);
        CU_ASSERT_EQUAL(read_next(&r, next, 8), 5);
        CU_ASSERT_EQUAL(next[4] - next[3], 3600 * US_PER_S);
        reply_free(&r);
        CU_ASSERT_EQUAL(f.n_schedules, 2);
        fake_stop(&f);
}

static void test_zones(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_send_json(
            &f, "PUT", ONE,
            "{\"cron\":\"0 4 * * *\",\"zone\":\"Mars/Olympus\",\"job\":{\"type\":\"a\"}}", &r);
        check_problem(&r, 422, "zone: \\\"Mars/Olympus\\\" is not a time zone that this node knows",
                      "unknown zone");
        CHECK_HAS(r, "\"field\":\"zone\"");
        reply_free(&r);
        CU_ASSERT_EQUAL(f.n_schedules, 1);
        client_send_json(&f, "POST", "/v1/schedules/preview",
                         "{\"cron\":\"0 4 * * *\",\"zone\":\"Mars/Olympus\"}", &r);
        check_problem(&r, 422, "zone: \\\"Mars/Olympus\\\"", "unknown zone");
        reply_free(&r);
        client_send_json(&f, "POST", "/v1/schedules/preview",
                         "{\"cron\":\"0 4 * * *\",\"zone\":\"Europe/Berlin\",\"n\":3}", &r);
        CHECK_STATUS(r, 200);
        int64_t next[4];
        CU_ASSERT_EQUAL(read_next(&r, next, 4), 3);
        CU_ASSERT_EQUAL(next[2] - next[1], 86400 * US_PER_S);
        CU_ASSERT_EQUAL(next[0] % (86400 * US_PER_S), 4 * 3600 * US_PER_S);
        reply_free(&r);
        client_send_json(&f, "POST", "/v1/schedules/preview", "{\"cron\":\"0 0 30 2 *\"}", &r);
        CHECK_STATUS(r, 200);
        CU_ASSERT_STRING_EQUAL(r.body, "{\"next\":[]}");
        reply_free(&r);
        f.schedules[0].zone = STR("Mars/Olympus"); /* another node put it, which knows it */
        client_get(&f, "/v1/schedules/nightly", &r);
        CHECK_STATUS(r, 200);
        CU_ASSERT_PTR_NULL(strstr(r.body, "\"next\":["));
        reply_free(&r);
        fake_stop(&f);
}

static void test_shown_and_listed(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_get(&f, "/v1/schedules/nightly", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"last_job\":\"01000000-0000-0000-0000-000000000000\",\"last_state\":"
                     "\"running\"");
        CHECK_HAS(r, "\"from_config\":true");
        CHECK_HAS(r, "\"payload\":{\"x\":1}");
        CHECK_HAS(r, "\"next\":[\"");
        reply_free(&r);
        client_get(&f, "/v1/schedules/none", &r);
        check_problem(&r, 404, "no schedule is called \\\"none\\\"", "unknown");
        reply_free(&r);
        for (int i = 0; i < 3; i++) {
                char path[64];
                snprintf(path, sizeof path, "/v1/schedules/x%d", i);
                client_send_json(&f, "PUT", path, "{\"cron\":\"@daily\",\"job\":{\"type\":\"a\"}}",
                                 &r);
                CHECK_STATUS(r, 201);
                reply_free(&r);
        }
        client_get(&f, "/v1/schedules?limit=2", &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "{\"schedules\":[{\"name\":\"nightly\"");
        CHECK_HAS(r, "\"next\":\"x0\"}");
        CU_ASSERT_PTR_NOT_NULL(
            strstr(r.head, "Link: </v1/schedules?limit=2&after=x0>; rel=\"next\"\r\n"));
        reply_free(&r);
        client_get(&f, "/v1/schedules?limit=2&after=x0", &r);
        CHECK_HAS(r, "{\"schedules\":[{\"name\":\"x1\"");
        CHECK_HAS(r, "{\"name\":\"x2\"");
        CU_ASSERT_PTR_NULL(strstr(r.head, "Link: "));
        reply_free(&r);
        fake_stop(&f);
}

static void test_paused_and_resumed(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_send_json(&f, "POST", "/v1/schedules/nightly/pause", NULL, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"paused\":true,\"from_config\":true");
        reply_free(&r);
        CU_ASSERT_TRUE(f.schedules[0].paused);
        CU_ASSERT_EQUAL(f.schedules[0].next_us, FAKE_NOW);
        uint64_t revision = f.revision;
        client_send_json(&f, "POST", "/v1/schedules/nightly/pause", NULL, &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        CU_ASSERT_EQUAL(f.revision, revision);
        client_send_json(&f, "POST", "/v1/schedules/nightly/resume", NULL, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"paused\":false");
        reply_free(&r);
        CU_ASSERT_FALSE(f.schedules[0].paused);
        CU_ASSERT_TRUE(f.schedules[0].next_us > wall_us() - US_PER_S);
        CU_ASSERT_TRUE(str_eq(f.schedules[0].job.payload, STR("{\"x\":1}")));
        client_send_json(&f, "POST", "/v1/schedules/none/pause", NULL, &r);
        CHECK_STATUS(r, 404);
        reply_free(&r);
        fake_stop(&f);
}

static void test_from_the_configuration(void)
{
        static const char body[] = "{\"cron\":\"@daily\",\"job\":{\"type\":\"a\"}}";
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_send_json(&f, "PUT", "/v1/schedules/nightly", body, &r);
        check_problem(&r, 409, "comes from the configuration", "PUT");
        CHECK_HAS(r, "urn:skep:problem:from-config");
        reply_free(&r);
        client_send_json(&f, "DELETE", "/v1/schedules/nightly?force=false", NULL, &r);
        check_problem(&r, 409, "?force=true", "DELETE");
        reply_free(&r);
        CU_ASSERT_TRUE(f.schedules[0].from_config);
        client_send_json(&f, "PUT", "/v1/schedules/nightly?force=true", body, &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        CU_ASSERT_FALSE(f.schedules[0].from_config);
        f.schedules[0].from_config = true;
        client_send_json(&f, "DELETE", "/v1/schedules/nightly?force=true", NULL, &r);
        CHECK_STATUS(r, 200);
        CHECK_HAS(r, "\"name\":\"nightly\"");
        reply_free(&r);
        CU_ASSERT_EQUAL(f.n_schedules, 0);
        client_send_json(&f, "DELETE", "/v1/schedules/nightly", NULL, &r);
        CHECK_STATUS(r, 404);
        reply_free(&r);
        fake_stop(&f);
}

/* Others write at the same time: what they wrote is read before it is changed. */
static void test_races(void)
{
        static const char *const requests[][3] = {
            {"PUT", "/v1/schedules/nightly?force=true",
             "{\"cron\":\"@daily\",\"job\":{\"type\":\"a\"}}"},
            {"POST", "/v1/schedules/nightly/pause", NULL},
            {"DELETE", "/v1/schedules/nightly?force=true", NULL}};
        for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
                struct fake f;
                struct reply r;
                fake_start(&f, false, 0, 0);
                f.races = 3;
                client_send_json(&f, requests[i][0], requests[i][1], requests[i][2], &r);
                CHECK_STATUS(r, 200);
                CU_ASSERT_EQUAL(f.races, 0);
                reply_free(&r);
                fake_stop(&f);
                fake_start(&f, false, 0, 0);
                f.races = 1000;
                client_send_json(&f, requests[i][0], requests[i][1], requests[i][2], &r);
                check_problem(&r, 409, "others keep changing this schedule", requests[i][1]);
                CU_ASSERT_TRUE(f.n_schedules == 1 && f.schedules[0].from_config);
                reply_free(&r);
                fake_stop(&f);
        }
}

static void test_run_now(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        client_send_json(&f, "POST", "/v1/schedules/nightly/run", NULL, &r);
        check_problem(&r, 409, "it was not run: there is no node for it", "run");
        reply_free(&r);
        client_post(&f, "{\"type\":\"a\"}", &r);
        reply_free(&r);
        client_send_json(&f, "POST", "/v1/schedules/nightly/run", NULL, &r);
        CHECK_STATUS(r, 201);
        CHECK_HAS(r, "\"type\":\"a\",\"queue\":\"default\",\"state\":\"pending\"");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Location: /v1/jobs/"));
        reply_free(&r);
        client_send_json(&f, "POST", "/v1/schedules/none/run", NULL, &r);
        CHECK_STATUS(r, 404);
        reply_free(&r);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"made and changed", test_made_and_changed},
    {"zones", test_zones},
    {"shown and listed", test_shown_and_listed},
    {"paused and resumed", test_paused_and_resumed},
    {"from the configuration", test_from_the_configuration},
    {"races", test_races},
    {"run now", test_run_now},
};
UNIT_MAIN("http schedules")
