/*
 * Operators' requests that say something wrong, route by route: each is told with field, value and
 * what is allowed, nothing of it reaches the daemon, and never is it a 500. What submissions can do
 * wrong is in test-http-hostile.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "tests/unit/test-http-fake.h"

#define QUEUE    "PATCH", "/v1/queues/default"
#define SCHEDULE "PUT", "/v1/schedules/s"
#define PREVIEW  "POST", "/v1/schedules/preview"
#define REQUEUE  "POST", "/v1/dead/requeue"
#define PURGE    "POST", "/v1/dead/purge"
#define CANCEL   "POST", "/v1/jobs/cancel"
#define WORKERS  "POST", "/v1/workers"
#define JOB      ",\"job\":{\"type\":\"a\"}}"

static const struct {
        const char *method, *path, *body;
        int status;
        const char *detail;
} cases[] = {
    /* queues */
    {QUEUE, "{}", 422, "write paused, concurrency or global"},
    {QUEUE, "{\"paused\":1}", 422, "paused: 1 is not allowed; write true or false"},
    {QUEUE, "{\"paused\":null}", 422, "paused: null is not allowed"},
    {QUEUE, "{\"concurrency\":-1}", 422, "concurrency: -1 is not allowed"},
    {QUEUE, "{\"concurrency\":257}", 422, "from 0 (no limit) to 256, or null"},
    {QUEUE, "{\"concurrency\":\"4\"}", 422, "concurrency: \\\"4\\\" is not allowed"},
    {QUEUE, "{\"concurrency\":1.5}", 422, "concurrency: 1.5"},
    {QUEUE, "{\"global\":1000001}", 422, "global: 1000001"},
    {QUEUE, "{\"global\":99999999999999999999999}", 422, "global: 9999999999"},
    {QUEUE, "{\"global\":[]}", 422, "global: [] is not allowed"},
    {QUEUE, "{\"pause\":true}", 422, "\\\"pause\\\" (did you mean \\\"paused\\\"?)"},
    {QUEUE, "{\"concurency\":4}", 422, "did you mean \\\"concurrency\\\"?"},
    {QUEUE, "{\"paused\":true,\"paused\":false}", 400, "is given twice"},
    {"PATCH", "/v1/queues/nope", "{\"paused\":true}", 404, "configured here: default, email"},
    {"POST", "/v1/queues/nope/pause", NULL, 404, "no queue is called \\\"nope\\\""},
    {"POST", "/v1/queues/nope/resume", NULL, 404, "no queue is called \\\"nope\\\""},
    {"PATCH", "/v1/queues/%zz", "{\"paused\":true}", 400, "percent-encoded"},
    {"GET", "/v1/queues/default/pause", NULL, 405, "it knows POST"},
    {"PUT", "/v1/queues/default", "{}", 405, "it knows GET, HEAD, PATCH"},
    {"POST", "/v1/queues", "{}", 405, "it knows GET, HEAD"},
    /* schedules */
    {SCHEDULE, "{}", 422, "cron: missing; write five fields"},
    {SCHEDULE, "{\"cron\":\"* * * * *\"}", 422, "job: missing; write the job"},
    {SCHEDULE, "{\"cron\":\"\"" JOB, 422, "cron: "},
    {SCHEDULE, "{\"cron\":\"61 * * * *\"" JOB, 422, "cron: "},
    {SCHEDULE, "{\"cron\":\"* * * *\"" JOB, 422, "cron: "},
    {SCHEDULE, "{\"cron\":\"@every x\"" JOB, 422, "cron: "},
    {SCHEDULE, "{\"cron\":5" JOB, 422, "cron: 5 is not allowed"},
    {SCHEDULE, "{\"cron\":\"0 0 30 2 *\"" JOB, 422, "it would never run"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"zone\":\"../etc/passwd\"" JOB, 422,
     "zone: \\\"../etc/passwd\\\" is not allowed"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"zone\":1" JOB, 422, "zone: 1 is not allowed"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"catch_up\":\"some\"" JOB, 422,
     "catch_up: \\\"some\\\" is not allowed; write none, last or all"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"catch_max\":0" JOB, 422, "catch_max: 0 is not allowed"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"catch_max\":1001" JOB, 422, "from 1 to 1000"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"overlap\":\"kill\"" JOB, 422,
     "allow, skip, buffer or cancel"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"paused\":\"yes\"" JOB, 422, "paused: \\\"yes\\\""},
    {SCHEDULE, "{\"schedule\":\"* * * * *\"" JOB, 422,
     "\\\"schedule\\\" (did you mean \\\"cron\\\"?)"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"timezone\":\"UTC\"" JOB, 422,
     "(did you mean \\\"zone\\\"?)"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":[]}", 422, "job: [] is not allowed"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{}}", 422, "job.type: missing"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"prio\":1}}", 422,
     "\\\"job.prio\\\" (did you mean \\\"priority\\\"?)"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"priority\":10}}", 422,
     "\"field\":\"job.priority\""},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"queue\":\"nope\"}}", 422,
     "job.queue: \\\"nope\\\" is not configured"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"key\":\"k\"}}", 422,
     "job.key: a schedule's job cannot have it"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"delay\":\"1s\"}}", 422,
     "job.delay: a schedule's job cannot have it"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"reply_to\":\"b\"}}", 422,
     "job.reply_to: queue default has no transport"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"unique_key\":\"u\"}}", 422,
     "\\\"overlap\\\" says"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\"job\":{\"type\":\"a\",\"retry\":{\"bse\":\"1s\"}}}", 422,
     "\\\"job.retry.bse\\\" (did you mean \\\"base\\\"?)"},
    {SCHEDULE, "{\"cron\":\"* * * * *\",\n\"job\":{\"type\":\"a\",}}", 400, "line 2, column 19"},
    {"PUT", "/v1/schedules/a%20b", "{\"cron\":\"* * * * *\"" JOB, 422,
     "name: \\\"a b\\\" is not allowed"},
    {"PUT", "/v1/schedules/.hidden", "{\"cron\":\"* * * * *\"" JOB, 422, "is not allowed"},
    {"PUT", "/v1/schedules/s?force=1", "{\"cron\":\"* * * * *\"" JOB, 422,
     "force: \\\"1\\\" is not allowed in the query"},
    {"PUT", "/v1/schedules/preview", "{\"cron\":\"* * * * *\"" JOB, 405, "it knows POST"},
    {"POST", "/v1/schedules/s", "{}", 405, "it knows GET, HEAD, PUT, DELETE"},
    {"GET", "/v1/schedules?after=", NULL, 422, "after: \\\"\\\" is not allowed"},
    {"GET", "/v1/schedules?limit=0", NULL, 422, "a number from 1 to 1000"},
    {PREVIEW, "{}", 422, "cron: missing"},
    {PREVIEW, "{\"cron\":\"* * * * *\",\"n\":0}", 422, "n: 0 is not allowed; write an integer"},
    {PREVIEW, "{\"cron\":\"* * * * *\",\"n\":101}", 422, "n: 101"},
    {PREVIEW, "{\"cron\":\"* * * * *\",\"n\":\"5\"}", 422, "n: \\\"5\\\""},
    {PREVIEW, "{\"cron\":\"* * * * *\",\"zone\":\"a b\"}", 422, "zone: \\\"a b\\\""},
    {PREVIEW, "{\"expression\":\"* * * * *\"}", 422, "did you mean \\\"cron\\\"?"},
    /* many jobs */
    {REQUEUE, "{}", 422, "filter: missing or empty"},
    {REQUEUE, "{\"filter\":{}}", 422, "write \\\"all\\\":true"},
    {REQUEUE, "{\"all\":false}", 422, "filter: missing or empty"},
    {REQUEUE, "{\"filter\":[]}", 422, "filter: [] is not allowed; write an object of state"},
    {REQUEUE, "{\"filter\":{\"queue\":\"\"}}", 422, "filter.queue: \\\"\\\" is not allowed"},
    {REQUEUE, "{\"filter\":{\"queue\":5}}", 422, "filter.queue: 5 is not allowed"},
    {REQUEUE, "{\"filter\":{\"type\":\"a..b\"}}", 422, "filter.type: "},
    {REQUEUE, "{\"filter\":{\"tag\":\"a,b\"}}", 422, "filter.tag: "},
    {REQUEUE, "{\"filter\":{\"error\":\"boom\"}}", 422, "failed, crashed, timed_out"},
    {REQUEUE, "{\"filter\":{\"fingerprint\":\"xyz\"}}", 422, "16 hexadecimal digits"},
    {REQUEUE, "{\"filter\":{\"fingerprint\":\"0000000000000000\"}}", 422, "filter.fingerprint"},
    {REQUEUE, "{\"filter\":{\"since\":\"yesterday\"}}", 422, "filter.since: \\\"yesterday\\\""},
    {REQUEUE, "{\"filter\":{\"before\":7}}", 422, "filter.before: 7 is not allowed"},
    {REQUEUE, "{\"filter\":{\"ended_before\":\"2024-02-30T00:00:00Z\"}}", 422,
     "filter.ended_before"},
    {REQUEUE, "{\"filter\":{\"state\":\"completed\"}}", 422, "write one of dead, cancelled"},
    {REQUEUE, "{\"filter\":{\"state\":[]}}", 422, "filter.state: [] is not allowed"},
    {REQUEUE, "{\"filter\":{\"state\":[\"dead\",7]}}", 422, "filter.state: "},
    {REQUEUE, "{\"filter\":{\"state\":\"nope\"}}", 422, "filter.state: \\\"nope\\\""},
    {REQUEUE, "{\"filter\":{\"quue\":\"a\"}}", 422,
     "\\\"filter.quue\\\" (did you mean \\\"queue\\\"?)"},
    {REQUEUE, "{\"queue\":\"a\"}", 422, "unknown field: \\\"queue\\\""},
    {REQUEUE, "{\"all\":true,\"rate\":0}", 422, "rate: 0 is not allowed; write jobs a second"},
    {REQUEUE, "{\"all\":true,\"rate\":1.5}", 422, "rate: 1.5"},
    {REQUEUE, "{\"all\":true,\"limit\":-5}", 422, "limit: -5"},
    {REQUEUE, "{\"all\":true,\"limit\":99999999999999999999}", 422, "limit: 999999"},
    {REQUEUE, "{\"all\":true,\"stop_when\":1.1}", 422, "from 0 (never) to 1"},
    {REQUEUE, "{\"all\":true,\"stop_when\":\"0.2\"}", 422, "stop_when: \\\"0.2\\\""},
    {REQUEUE, "{\"all\":true,\"dry_run\":\"true\"}", 422, "dry_run: \\\"true\\\""},
    {REQUEUE, "{\"all\":\"yes\"}", 422, "all: \\\"yes\\\" is not allowed"},
    {REQUEUE, "{\"filter\":{\"tag\":\"\\u0000\"}}", 400,
     "\\\\u0000 is allowed in the payload only"},
    {PURGE, "{\"filter\":{\"state\":\"pending\"}}", 422, "one of completed, dead, cancelled"},
    {PURGE, "{\"all\":true,\"stop_when\":0.5}", 422, "stop_when: only a requeue"},
    {PURGE, "{\"all\":true,\"dryrun\":true}", 422, "did you mean \\\"dry_run\\\"?"},
    {CANCEL, "{\"filter\":{\"state\":\"dead\"}}", 422,
     "one of scheduled, pending, running, retrying"},
    {CANCEL, "{}", 422, "filter: missing or empty"},
    {"GET", "/v1/dead/groups?error=boom", NULL, 422, "failed, crashed, timed_out"},
    {"GET", "/v1/dead/groups?state=dead", NULL, 422, "unknown query parameter"},
    {"GET", "/v1/dead/groups?fingerprint=1", NULL, 422, "16 hexadecimal digits"},
    {"GET", "/v1/dead/groups?before=x", NULL, 422, "an RFC 3339 time"},
    {"GET", "/v1/dead/requeue", NULL, 405, "it knows POST"},
    {"GET", "/v1/jobs/cancel", NULL, 405, "it knows POST"},
    {"GET", "/v1/jobs?whole=1", NULL, 422, "whole: \\\"1\\\" is not allowed"},
    {"GET", "/v1/jobs?fingerprint=zz", NULL, 422, "16 hexadecimal digits"},
    {"GET", "/v1/jobs?error=", NULL, 422, "error: \\\"\\\" is not allowed"},
    {"GET", "/v1/jobs?ended_before=2024-01-01T00:00:00Z", NULL, 422, "unknown query parameter"},
    /* the rest */
    {"GET", "/v1/operations/0", NULL, 404, "is not an operation's id"},
    {"DELETE", "/v1/operations/7x", NULL, 404, "is not an operation's id"},
    {"DELETE", "/v1/operations", NULL, 405, "it knows GET, HEAD"},
    {"POST", "/v1/reconcile", "{}", 400, "takes no body"},
    {"GET", "/v1/reconcile", NULL, 405, "it knows POST"},
    {"GET", "/v1/jobs/x/explain", NULL, 404, "is not a job's id"},
    {"POST", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/explain", NULL, 405, "it knows GET"},
    {WORKERS, "{}", 422, "workers: missing; write an integer from 1 to 256"},
    {WORKERS, "{\"workers\":0}", 422, "workers: 0 is not allowed"},
    {WORKERS, "{\"workers\":257}", 422, "workers: 257"},
    {WORKERS, "{\"workers\":\"3\"}", 422, "workers: \\\"3\\\""},
    {WORKERS, "{\"worker\":3}", 422, "did you mean \\\"workers\\\"?"},
};

static void test_cases(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                uint32_t seen = f.seen;
                char about[300];
                snprintf(about, sizeof about, "%s %s %s", cases[i].method, cases[i].path,
                         cases[i].body ? cases[i].body : "");
                client_send_json(&f, cases[i].method, cases[i].path, cases[i].body, &r);
                check_problem(&r, cases[i].status, cases[i].detail, about);
                CU_ASSERT_EQUAL(r.status == 405, strstr(r.head, "\r\nAllow: ") != NULL);
                CU_ASSERT_TRUE(f.seen == seen || strstr(cases[i].detail, "never run"));
                reply_free(&r);
        }
        CU_ASSERT_EQUAL(f.n_schedules, 1);
        CU_ASSERT_EQUAL(f.n_bulks, 0);
        fake_stop(&f);
}

static void check_body(struct fake *f, const struct fake_route *route, const char *extra,
                       const char *body, size_t n, int status, const char *detail)
{
        struct reply r;
        client_ask(f, false, route->method, route->path, extra, body, n, &r);
        check_problem(&r, status, detail, route->path);
        reply_free(&r);
}

/* What no route takes: each that has a body is sent it. */
static void test_every_route_with_a_body(void)
{
        static const struct {
                const char *body;
                int status;
                const char *detail;
        } bad[] = {
            {"", 400, "the body is empty"},
            {"  ", 400, "column 3"},
            {"{", 400, "ends in the middle"},
            {"nonsense", 400, "line 1, column 1"},
            {"7", 400, "line 1, column 1"},
            {"\"x\"", 400, "line 1, column 1"},
            {"[{}]", 4, ""},
            {"{\"zzzzzzzz\":1}", 422, "unknown field: \\\"zzzzzzzz\\\""},
            {"{\"\\u0000\":1}", 400, "not allowed in a field's name"},
            {"{\"a\":1}}", 400, "something follows the value"},
        };
        struct fake f;
        fake_start(&f, false, 0, 0);
        char *deep = malloc(600);
        memset(deep, '[', 600);
        static const char head[5] = {'{', '"', 'x', '"', ':'};
        memcpy(deep, head, sizeof head);
        for (size_t i = 0; i < FAKE_ROUTES; i++) {
                const struct fake_route *route = &fake_routes[i];
                if (!route->body) {
                        continue;
                }
                for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
                        bool array = bad[k].status == 4,
                             jobs = strcmp(route->path, "/v1/jobs") == 0;
                        check_body(&f, route, "", bad[k].body, strlen(bad[k].body),
                                   array ? (jobs ? 422 : 400) : bad[k].status, bad[k].detail);
                }
                check_body(&f, route, "", deep, 600, 400, "nested deeper than 512");
                check_body(&f, route, "Content-Type: text/plain\r\n", "{}", 2, 415,
                           "send application/json");
                check_body(&f, route, "Content-Encoding: gzip\r\n", "{}", 2, 415, "uncompressed");
                if (strcmp(route->path, "/v1/jobs") != 0) {
                        check_body(&f, route, "Content-Type: application/x-ndjson\r\n", "{}", 2,
                                   415, "send application/json");
                }
        }
        CU_ASSERT_EQUAL(f.seen, 0);
        free(deep);
        fake_stop(&f);
}

static void test_every_route_without_a_body(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        for (size_t i = 0; i < FAKE_ROUTES; i++) {
                const struct fake_route *route = &fake_routes[i];
                char path[160];
                if (route->status == 405 || strcmp(route->path, "/nothing/here") == 0) {
                        continue;
                }
                if (!route->body) {
                        check_body(&f, route, "", "{\"x\":1}", 7, 400, "takes no body");
                }
                snprintf(path, sizeof path, "%s%czzz=1", route->path,
                         strchr(route->path, '?') ? '&' : '?');
                client_send_json(&f, route->method, path, route->body, &r);
                check_problem(&r, 422, "unknown query parameter \\\"zzz\\\"", path);
                reply_free(&r);
        }
        CU_ASSERT_EQUAL(f.seen, 0);
        fake_stop(&f);
}

/* More than an object may have, however it is sent. */
static void test_large_bodies(void)
{
        struct fake f;
        size_t n = 3u << 20;
        char *text = malloc(n);
        memset(text, ' ', n);
        text[0] = '{';
        fake_start(&f, false, 0, 0);
        for (size_t i = 0; i < FAKE_ROUTES; i++) {
                if (fake_routes[i].body) {
                        check_body(&f, &fake_routes[i], "", text, n, 413,
                                   "the limit for one object");
                }
        }
        CU_ASSERT_EQUAL(f.seen, 0);
        free(text);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"cases", test_cases},
    {"every route with a body", test_every_route_with_a_body},
    {"every route without a body", test_every_route_without_a_body},
    {"large bodies", test_large_bodies},
};
UNIT_MAIN("http misuse")
