/*
 * The operators' verbs of `skep` as processes against a server that answers as told: what each
 * sends, what it prints, how it ends.
 */
#include "tests/unit/test-cli-fake.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define OTHER "0190f1c2-0000-7000-8000-000000000002"

/* What a request was, on one line: "PATCH /v1/queues/a {...}". */
static void check_sent(int line, const struct fake *f, size_t n, const char *expected)
{
        CU_ASSERT_TRUE_FATAL(f->requests > n);
        const struct fake_request *rq = &f->kept[n];
        char *said =
            text_printf("%s %s%s%s", rq->method, rq->path, rq->body.n ? " " : "", buf_z(&rq->body));
        CU_ASSERT_TRUE(check_says(line, said, expected));
        CU_ASSERT_EQUAL(strlen(said), strlen(expected));
        free(said);
}
#define CHECK_SENT(f, n, expected) check_sent(__LINE__, f, n, expected)

static bool asks(const struct fake_request *rq, const char *method, const char *path)
{
        return strcmp(rq->method, method) == 0 && strncmp(rq->path, path, strlen(path)) == 0;
}

/* --- queues ----------------------------------------------------------------------------------- */

static void answer_queue(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        static const char queue[] =
            "{\"name\":\"slow\",\"paused\":true,\"transport\":\"rabbit\","
            "\"order\":\"fifo\",\"jobs\":{\"pending\":3,\"running\":1},"
            "\"concurrency\":2,\"global\":null,\"max_waiting\":0,\"busy\":1,"
            "\"ready\":0,\"not_consumed\":\"it is paused\"}";
        if (asks(rq, "GET", "/v1/queues") && rq->path[strlen("/v1/queues")] == 0) {
                buf_printf(&reply->body, "{\"queues\":[%s]}", queue);
        } else {
                buf_text(&reply->body, queue);
        }
}

static void test_queues(void)
{
        struct fake f;
        fake_start(&f, answer_queue);
        struct ran r = SKEP(&f, NULL, "queues", "ls");
        CHECK_RAN(
            &r, 0,
            "name\tpaused\ttransport\torder\tpending\tscheduled\trunning\tretrying\tcompleted\t"
            "dead\tcancelled\tconcurrency\tglobal\tmax_waiting\tbusy\tready\t"
            "oldest_pending_at\tnot_consumed\n"
            "slow\tyes\trabbit\tfifo\t3\t\t1\t\t\t\t\t2\t\t0\t1\t0\t\tit is paused\n");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "queues", "pause", "slow", "a/b");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SENT(&f, 1, "POST /v1/queues/slow/pause");
        CHECK_SENT(&f, 2, "POST /v1/queues/a%2Fb/pause");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "queues", "limit", "slow", "--global", "8", "--concurrency", "default");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SENT(&f, 3, "PATCH /v1/queues/slow {\"concurrency\":null,\"global\":8}");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "queues", "limit", "slow");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "--concurrency or --global is missing");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "queues", "limit", "slow", "--global", "many");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "--global many is not allowed; 0 (no limit) to 1000000, or default");
        ran_deinit(&r);
        CU_ASSERT_EQUAL(f.requests, 4);
        fake_stop(&f);
}

/* --- schedules -------------------------------------------------------------------------------- */

static void answer_schedule(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        if (asks(rq, "POST", "/v1/schedules/preview")) {
                buf_text(&reply->body, "{\"next\":[\"2026-01-31T14:30:00.000000Z\"]}");
        } else if (strstr(rq->path, "/run")) {
                reply->status = 201;
                buf_text(&reply->body,
                         "{\"id\":\"" ID "\",\"type\":\"echo\",\"state\":\"pending\"}");
        } else {
                buf_text(&reply->body,
                         "{\"name\":\"nightly\",\"cron\":\"30 3 * * *\",\"zone\":\"Europe/Berlin\","
                         "\"paused\":false,\"job\":{\"type\":\"report.make\",\"queue\":\"slow\"}}");
        }
}

static void test_schedules(void)
{
        struct fake f;
        fake_start(&f, answer_schedule);
        struct ran r = SKEP(&f, NULL, "cron", "add", "nightly", "30 3 * * *", "report.make",
                            "{\"all\": true}", "-z", "Europe/Berlin", "--overlap", "skip", "-q",
                            "slow", "--retry", "fixed base=1m");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SAYS(r.out, "nightly\t30 3 * * *\tEurope/Berlin\treport.make\tslow\tno");
        CHECK_SENT(&f, 0,
                   "PUT /v1/schedules/nightly {\"cron\":\"30 3 * * *\",\"zone\":\"Europe/Berlin\","
                   "\"overlap\":\"skip\",\"paused\":false,\"job\":{\"type\":\"report.make\","
                   "\"queue\":\"slow\",\"retry\":\"fixed base=1m\",\"payload\":{\"all\": true}}}");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "cron", "rm", "nightly", "--force");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SENT(&f, 1, "DELETE /v1/schedules/nightly?force=true");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "cron", "run", "nightly", "-o", "id");
        CHECK_RAN(&r, 0, ID "\n");
        CHECK_SENT(&f, 2, "POST /v1/schedules/nightly/run");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "cron", "next", "@hourly", "-n", "3");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SENT(&f, 3, "POST /v1/schedules/preview {\"cron\":\"@hourly\",\"n\":3}");
        CHECK_SAYS(r.out, "2026-01-31T14:30:00.000000Z");
        ran_deinit(&r);
        fake_stop(&f);
}

/* --- operations ------------------------------------------------------------------------------- */

static void answer_operation(struct fake *f, const struct fake_request *rq,
                             struct fake_reply *reply)
{
        if (strstr(buf_z(&rq->body), "\"dry_run\":true")) {
                buf_text(&reply->body, "{\"count\":12}");
        } else if (strcmp(rq->method, "POST") == 0) {
                reply->status = 202;
                buf_text(&reply->body, "{\"id\":\"7\",\"kind\":\"requeue\",\"over\":false}");
        } else {
                bool over = f->number++ > 0;
                buf_printf(&reply->body,
                           "{\"id\":\"7\",\"kind\":\"requeue\",\"done\":%d,\"asked\":0,"
                           "\"died_again\":5,\"over\":%s,\"note\":\"%s\"}",
                           over ? 20 : 10, over ? "true" : "false", over ? "25 % died again" : "");
        }
}

static void test_operations(void)
{
        struct fake f;
        fake_start(&f, answer_operation);
        struct ran r = SKEP(&f, NULL, "dead", "requeue");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "say which jobs");
        CU_ASSERT_EQUAL(f.requests, 0);
        ran_deinit(&r);
        r = SKEP(&f, NULL, "dead", "purge", "-t", "mail.>", "--ended-before",
                 "2026-01-31T14:30:00Z", "--dry-run");
        CHECK_RAN(&r, 0, "12 jobs would be purged\n");
        CHECK_SENT(&f, 0,
                   "POST /v1/dead/purge {\"filter\":{\"type\":\"mail.>\",\"ended_before\":"
                   "\"2026-01-31T14:30:00.000Z\"},\"all\":false,\"dry_run\":true}");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "dead", "requeue", "--all", "--rate", "50", "--stop-when", "0.25");
        CHECK_RAN(&r, 1, "20 jobs requeued, 5 died again\n");
        CHECK_SENT(&f, 1,
                   "POST /v1/dead/requeue {\"filter\":{},\"all\":true,\"dry_run\":false,"
                   "\"rate\":50,\"stop_when\":0.25}");
        CHECK_SAYS(r.err, "operation 7");
        CHECK_SAYS(r.err, "it stopped before its end: 25 % died again");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "dead", "requeue", "--all", "--stop-when", "2");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "--stop-when 2 is not a share from 0 (never) to 1");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "cancel", "-q", "slow", "-s", "pending", "--dry-run");
        CHECK_RAN(&r, 0, "12 jobs would be cancelled\n");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "operations", "stop", "7");
        CHECK_RAN(&r, 0, NULL);
        CU_ASSERT_STRING_EQUAL(f.kept[f.requests - 1].method, "DELETE");
        ran_deinit(&r);
        fake_stop(&f);
}

/* --- dead letters ----------------------------------------------------------------------------- */

#define DEAD_JOB                                                                                   \
        "{\"id\":\"" ID                                                                            \
        "\",\"type\":\"echo\",\"queue\":\"slow\",\"state\":\"dead\",\"key\":\"k\","                \
        "\"priority\":5,\"tags\":[\"a\"],\"error\":{\"class\":\"failed\",\"text\":\"no\"},"        \
        "\"payload\":{\"x\" : 1.50},\"attempts\":[]}"

static void answer_dead(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        bool post = strcmp(rq->method, "POST") == 0;
        if (post && strstr(buf_z(&rq->head), "x-ndjson")) {
                reply->status = 200;
                buf_text(&reply->body, "{\"line\":1,\"status\":201,\"id\":\"" OTHER "\"}\n");
        } else if (post) {
                reply->status = 201;
                buf_text(&reply->body,
                         "{\"id\":\"" OTHER "\",\"state\":\"pending\",\"queue\":\"q\"}");
        } else if (strchr(rq->path, '?')) {
                bool first = !strstr(rq->path, "cursor");
                reply->header =
                    first ? "Link: </v1/jobs?state=dead&cursor=x>; rel=\"next\"\r\n" : NULL;
                buf_printf(&reply->body, "{\"jobs\":[%s]}", DEAD_JOB);
        } else {
                buf_text(&reply->body, f->number ? "{\"id\":\"" ID "\",\"type\":\"echo\",\"state\":"
                                                   "\"completed\"}"
                                                 : DEAD_JOB);
        }
}

static void test_exports_bytes_as_they_are(void)
{
        struct fake f;
        fake_start(&f, answer_dead);
        struct ran r = SKEP(&f, NULL, "dead", "export", "-t", "echo");
        CHECK_RAN(&r, 0, DEAD_JOB "\n" DEAD_JOB "\n");
        CHECK_SENT(&f, 0, "GET /v1/jobs?state=dead&whole=true&limit=200&type=echo");
        CHECK_SENT(&f, 1, "GET /v1/jobs?state=dead&cursor=x");
        ran_deinit(&r);
        fake_stop(&f);
}

static void test_imports_once(void)
{
        struct fake f;
        fake_start(&f, answer_dead);
        struct ran r = SKEP(&f, DEAD_JOB "\n\n", "dead", "import", "-");
        CU_ASSERT_EQUAL_FATAL(f.requests, 1);
        CHECK_SAYS(f.kept[0].body.p,
                   "{\"type\":\"echo\",\"queue\":\"slow\",\"priority\":5,\"tags\":[\"a\"],"
                   "\"payload\":{\"x\" : 1.50},\"parent_id\":\"" ID "\",\"key\":\"import:" ID
                   "\"}");
        ran_deinit(&r);
        r = SKEP(&f, DEAD_JOB "\n{\"type\":\"echo\"}\n", "dead", "import", "-");
        CHECK_RAN(&r, 1, "");
        CHECK_SAYS(r.err, "standard input, line 2: not a job as `skep dead export` writes it");
        CU_ASSERT_EQUAL(f.requests, 1);
        ran_deinit(&r);
        fake_stop(&f);
}

static void test_edits(void)
{
        struct fake f;
        fake_start(&f, answer_dead);
        struct ran r =
            SKEP(&f, NULL, "dead", "edit", ID, "{\"x\":2}", "-p", "9", "--type", "other.kind");
        CHECK_RAN(&r, 0, OTHER "\n");
        CHECK_SENT(&f, 1,
                   "POST /v1/jobs {\"type\":\"other.kind\",\"priority\":9,\"payload\":{\"x\":2},"
                   "\"queue\":\"slow\",\"tags\":[\"a\"],\"parent_id\":\"" ID "\"}");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "dead", "edit", ID);
        CHECK_RAN(&r, 0, OTHER "\n");
        CHECK_SENT(&f, 3,
                   "POST /v1/jobs {\"type\":\"echo\",\"queue\":\"slow\",\"priority\":5,"
                   "\"tags\":[\"a\"],\"payload\":{\"x\" : 1.50},\"parent_id\":\"" ID "\"}");
        ran_deinit(&r);
        fake_count_from(&f, 1);
        r = SKEP(&f, NULL, "dead", "edit", ID);
        CHECK_RAN(&r, 1, "");
        CHECK_SAYS(r.err, "is completed; only dead and cancelled ones can be edited");
        ran_deinit(&r);
        fake_stop(&f);
}

/* --- questions -------------------------------------------------------------------------------- */

static void answer_question(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        if (strstr(rq->path, "/explain")) {
                buf_text(&reply->body, "{\"id\":\"" ID "\",\"code\":\"paused\",\"sentence\":"
                                       "\"its queue slow is paused\\u001b[2J\"}");
        } else if (asks(rq, "POST", "/v1/reconcile")) {
                buf_text(&reply->body,
                         "{\"queues\":[{\"queue\":\"a\",\"found\":2,\"looked\":true},"
                         "{\"queue\":\"b\",\"looked\":false,\"why\":\"its transport is down\"}]}");
        } else {
                buf_text(&reply->body, "{\"workers\":4,\"configured\":2}");
        }
}

static void test_questions(void)
{
        struct fake f;
        fake_start(&f, answer_question);
        struct ran r = SKEP(&f, NULL, "explain", ID);
        CHECK_RAN(&r, 0, "its queue slow is paused\\u001b[2J\n");
        CHECK_SENT(&f, 0, "GET /v1/jobs/" ID "/explain");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "reconcile");
        CHECK_RAN(&r, 75,
                  "queue\tlooked\tfound\twhy\na\tyes\t2\t\nb\tno\t\tits transport is down\n");
        CHECK_SAYS(r.err, "not every queue could be looked at");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "workers", "resize", "4");
        CHECK_RAN(&r, 0, "workers\tconfigured\n4\t2\n");
        CHECK_SENT(&f, 2, "POST /v1/workers {\"workers\":4}");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "workers", "resize", "0");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "0 is no number of workers; 1 to 256, or default");
        ran_deinit(&r);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"queues are listed, paused and limited", test_queues},
    {"schedules are made, run and removed", test_schedules},
    {"operations are begun and followed", test_operations},
    {"an export has the payload's own bytes", test_exports_bytes_as_they_are},
    {"an import names parents, and is looked at before it is sent", test_imports_once},
    {"a dead job is edited", test_edits},
    {"questions", test_questions},
};
UNIT_MAIN("cli-operate")
