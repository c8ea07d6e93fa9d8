/*
 * `skep` as a process against a server that answers as told: what it sends, what it prints, how it
 * ends. Above all what it does when an answer is lost: the same key again, and never a second job.
 */
#include "tests/unit/test-cli-fake.h"
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A member of the n-th request's JSON body. */
static char *sent(const struct fake *f, size_t n, const char *member)
{
        json_t *o = json_loadb(buf_z(&f->kept[n].body), f->kept[n].body.n, 0, NULL);
        const char *text = json_string_value(json_object_get(o, member));
        char *copy = text_copy(text ? text : "(none)");
        json_decref(o);
        return copy;
}

static void created(struct fake_reply *reply)
{
        reply->status = 201;
        buf_text(&reply->body, "{\"id\":\"" ID
                               "\",\"type\":\"echo\",\"queue\":\"default\",\"state\":\"pending\"}");
}

/* --- enqueue ---------------------------------------------------------------------------------- */

static void answer_created(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        created(reply);
}

static void test_sends_one_job(void)
{
        struct fake f;
        fake_start(&f, answer_created);
        struct ran r = SKEP(&f, NULL, "enqueue", "echo", "{\"x\" : 1.50}", "-q", "slow");
        CHECK_RAN(&r, 0, ID "\n");
        CU_ASSERT_EQUAL_FATAL(f.requests, 1);
        CU_ASSERT_STRING_EQUAL(f.kept[0].method, "POST");
        CU_ASSERT_STRING_EQUAL(f.kept[0].path, "/v1/jobs");
        CHECK_SAYS(f.kept[0].body.p, "\"payload\":{\"x\" : 1.50}}");
        CHECK_SAYS(f.kept[0].body.p, "\"queue\":\"slow\"");
        char *type = fake_header(&f.kept[0], "content-type"), *key = sent(&f, 0, "key");
        CU_ASSERT_STRING_EQUAL(type, "application/json");
        CU_ASSERT_EQUAL(strlen(key), 36);
        free(type);
        free(key);
        ran_deinit(&r);
        r = SKEP(&f, "line one\n", "enqueue", "echo", "-", "--key", "mine", "--json");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SAYS(r.out, "{\"id\":\"" ID "\",\"type\":\"echo\"");
        CHECK_SAYS(f.kept[1].body.p, "\"key\":\"mine\"");
        CHECK_SAYS(f.kept[1].body.p, "\"payload_base64\":\"bGluZSBvbmUK\"");
        ran_deinit(&r);
        fake_stop(&f);
}

/* Cut before an answer, cut within one, busy, then taken. */
static void answer_at_last(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)rq;
        switch (f->number++) {
        case 0: reply->end = FAKE_CUT_BEFORE; break;
        case 1:
                created(reply);
                reply->end = FAKE_CUT_WITHIN;
                break;
        case 2: fake_problem(reply, 503, "\"detail\":\"the ledger cannot be reached\""); break;
        default: created(reply);
        }
}

static void test_repeats_with_the_same_key(void)
{
        struct fake f;
        fake_start(&f, answer_at_last);
        struct ran r = SKEP(&f, NULL, "enqueue", "echo", "{}");
        CHECK_RAN(&r, 0, ID "\n");
        CU_ASSERT_EQUAL_FATAL(f.requests, 4);
        char *first = sent(&f, 0, "key");
        CU_ASSERT_EQUAL(strlen(first), 36);
        for (size_t i = 1; i < 4; i++) {
                char *key = sent(&f, i, "key");
                CU_ASSERT_STRING_EQUAL(key, first);
                CU_ASSERT_STRING_EQUAL(f.kept[i].body.p, f.kept[0].body.p);
                free(key);
        }
        free(first);
        ran_deinit(&r);
        fake_stop(&f);
}

static void answer_never(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        reply->end = FAKE_CUT_BEFORE;
}

static void answer_busy(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        fake_problem(reply, 503, "\"detail\":\"the ledger cannot be reached\"");
}

static void test_says_what_is_known(void)
{
        struct fake f;
        fake_start(&f, answer_never);
        struct ran r = SKEP(&f, NULL, "enqueue", "echo", "{}", "--retry-for", "5s");
        CHECK_RAN(&r, 69, "");
        CU_ASSERT_TRUE_FATAL(f.requests >= 2);
        char *key = sent(&f, 0, "key"),
             *advice = text_printf("repeating it with --key %s is safe", key);
        CHECK_SAYS(r.err, "it is not known whether the job was taken");
        CHECK_SAYS(r.err, advice);
        free(key);
        free(advice);
        ran_deinit(&r);
        fake_stop(&f);
        fake_start(&f, answer_busy);
        r = SKEP(&f, NULL, "enqueue", "echo", "{}", "--retry-for", "300ms");
        CHECK_RAN(&r, 75, "");
        CHECK_SAYS(r.err, "the ledger cannot be reached");
        ran_deinit(&r);
        fake_stop(&f);
}

static void answer_problem(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        fake_problem(
            reply, 422,
            "\"detail\":\"must lie\\u001b[31m between 0 and 9\",\"field\":\"priority\",\"line\":3");
}

static void test_shows_problems(void)
{
        struct fake f;
        fake_start(&f, answer_problem);
        struct ran r = SKEP(&f, NULL, "enqueue", "echo", "{}");
        CHECK_RAN(&r, 1, "");
        CU_ASSERT_EQUAL_FATAL(f.requests, 1);
        CHECK_SAYS(r.err, "skep: must lie\\u001b[31m between 0 and 9 (field priority, line 3)");
        CU_ASSERT_PTR_NULL(strchr(r.err, '\033'));
        ran_deinit(&r);
        fake_stop(&f);
}

static void test_names_what_it_cannot_reach(void)
{
        struct fake nobody = {.url = "unix:/tmp/test-cli-nobody/skep.sock"};
        struct ran r = SKEP(&nobody, NULL, "jobs", "ls");
        CHECK_RAN(&r, 69, "");
        CHECK_SAYS(r.err, "unix:/tmp/test-cli-nobody/skep.sock");
        CHECK_SAYS(r.err, "No such file or directory");
        CHECK_SAYS(r.err, "is skepd running?");
        ran_deinit(&r);
        r = SKEP(&nobody, NULL, "enqueue", "echo", "{}", "--url", "http://127.0.0.1:9");
        CHECK_RAN(&r, 69, "");
        CHECK_SAYS(r.err, "http://127.0.0.1:9");
        ran_deinit(&r);
        r = SKEP(&nobody, NULL, "stats", "--url", "ftp://x");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "unix:/path/of/socket or http://host:port");
        ran_deinit(&r);
}

static void answer_token(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        char *auth = fake_header(rq, "authorization");
        if (auth && strcmp(auth, "Bearer s3cret") == 0) {
                buf_text(&reply->body, "{\"jobs\":[]}");
        } else {
                fake_problem(reply, 401, "\"detail\":\"a token is needed\"");
        }
        free(auth);
}

static void test_sends_tokens_from_a_file(void)
{
        struct fake f;
        fake_start(&f, answer_token);
        char path[128];
        snprintf(path, sizeof path, "%s/token", f.dir);
        FILE *file = fopen(path, "w");
        fputs("# producers\n\ns3cret\n", file);
        fclose(file);
        struct ran r = SKEP(&f, NULL, "jobs", "ls", "-o", "id");
        CHECK_RAN(&r, 77, "");
        CHECK_SAYS(r.err, "--token-file");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "ls", "-o", "id", "--token-file", path);
        CHECK_RAN(&r, 0, "");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "ls", "--token-file", path, "--url", "http://192.0.2.1:1");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "not sent in clear");
        CU_ASSERT_PTR_NULL(strstr(r.err, "s3cret"));
        ran_deinit(&r);
        unlink(path);
        fake_stop(&f);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static const char *const ends[] = {
    "{\"id\":\"" ID
    "\",\"state\":\"completed\",\"result_type\":\"application/json\",\"result\":{\"n\" : 1.50}}",
    "{\"id\":\"" ID
    "\",\"state\":\"completed\",\"result_type\":\"text/plain\",\"result_base64\":\"aGk=\"}",
    "{\"id\":\"" ID
    "\",\"state\":\"dead\",\"reason\":\"exhausted\",\"error\":{\"class\":\"failed\",\"text\":\"no "
    "\\u001bhost\"}}",
};

static void answer_waiting(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        if (rq->method[0] == 'P') {
                created(reply);
        } else if (f->requests < 3) {
                buf_text(&reply->body, "{\"id\":\"" ID "\",\"state\":\"running\"}");
        } else {
                buf_text(&reply->body, ends[f->number]);
        }
}

static void test_waits_for_the_end(void)
{
        static const struct {
                int code;
                const char *out, *err;
        } wanted[] = {{0, "{\"n\" : 1.50}\n", ""},
                      {0, "hi\n", ""},
                      {1, "", "is dead (exhausted)\nskep: failed: no \\u001bhost"}};
        for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
                struct fake f;
                fake_start(&f, answer_waiting);
                fake_count_from(&f, i);
                struct ran r = SKEP(&f, NULL, "enqueue", "echo", "{}", "--wait");
                CHECK_RAN(&r, wanted[i].code, wanted[i].out);
                CHECK_SAYS(r.err, wanted[i].err);
                CU_ASSERT_EQUAL_FATAL(f.requests, 4);
                CU_ASSERT_STRING_EQUAL(f.kept[1].path, "/v1/jobs/" ID);
                char *prefer = fake_header(&f.kept[1], "prefer");
                CU_ASSERT_PTR_NOT_NULL_FATAL(prefer);
                CU_ASSERT_STRING_EQUAL(prefer, "wait=60");
                free(prefer);
                ran_deinit(&r);
                fake_stop(&f);
        }
}

static void answer_running(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        if (rq->method[0] == 'P') {
                created(reply);
        } else {
                buf_text(&reply->body, "{\"id\":\"" ID "\",\"state\":\"running\"}");
        }
}

static void test_wait_has_an_end(void)
{
        struct fake f;
        fake_start(&f, answer_running);
        struct ran r = SKEP(&f, NULL, "enqueue", "echo", "--wait=1");
        CHECK_RAN(&r, 75, "");
        CHECK_SAYS(r.err, "job " ID " is running after 1 s; it goes on");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "enqueue", "echo", "--wait=soon");
        CHECK_RAN(&r, 64, "");
        ran_deinit(&r);
        fake_stop(&f);
}

/* --- jobs ------------------------------------------------------------------------------------- */

#define LISTED(id, more)                                                                           \
        "{\"id\":\"" id "\",\"type\":\"a.b\",\"queue\":\"q\",\"state\":\"dead\",\"attempt\":3,"    \
        "\"max_attempts\":3,\"created_at\":\"2026-01-31T14:30:00.000000Z\",\"tags\":[\"x\","       \
        "\"y\"]" more "}"

static void answer_pages(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        if (strstr(rq->path, "cursor=2")) {
                buf_text(&reply->body, "{\"jobs\":[" LISTED("3", "") "]}");
                return;
        }
        reply->header = "Link: </v1/jobs?limit=2&cursor=2>; rel=\"next\"\r\n";
        buf_text(&reply->body, "{\"jobs\":[" LISTED(
                                   "1", ",\"error\":{\"class\":\"failed\",\"text\":\"a\\tb\\u001b["
                                        "2J\"}") "," LISTED("2", "") "],\"next\":\"2\"}");
}

static void test_lists_jobs(void)
{
        struct fake f;
        fake_start(&f, answer_pages);
        struct ran r = SKEP(&f, NULL, "jobs", "ls", "-s", "dead", "--type", "a.>", "-n", "2",
                            "--since", "2026-01-01T00:00:00Z");
        CHECK_RAN(&r, 0,
                  "id\tstate\treason\ttype\tqueue\tpriority\tattempt\tmax_attempts\tcreated_"
                  "at\trun_at\tstarted_at\t"
                  "finished_at\tkey\ttags\terror_class\terror_text\n"
                  "1\tdead\t\ta.b\tq\t\t3\t3\t2026-01-31T14:30:00.000000Z\t\t\t\t\tx,"
                  "y\tfailed\ta\\tb\\u001b[2J\n"
                  "2\tdead\t\ta.b\tq\t\t3\t3\t2026-01-31T14:30:00.000000Z\t\t\t\t\tx,y\t\t\n");
        CU_ASSERT_STRING_EQUAL(r.err, "");
        CU_ASSERT_STRING_EQUAL(
            f.kept[0].path,
            "/v1/jobs?limit=2&state=dead&type=a.%3E&since=2026-01-01T00%3A00%3A00.000Z");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "ls", "--all", "-o", "id");
        CHECK_RAN(&r, 0, "1\n2\n3\n");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "ls", "--all", "-o", "json");
        json_t *o = json_loads(r.out, 0, NULL);
        CU_ASSERT_EQUAL(json_array_size(json_object_get(o, "jobs")), 3);
        json_decref(o);
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "ls", "-n3", "-o", "ndjson");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SAYS(r.out, "}\n{\"id\":\"3\"");
        ran_deinit(&r);
        fake_stop(&f);
}

static void test_draws_tables_on_terminals(void)
{
        struct fake f;
        fake_start(&f, answer_pages);
        const char *const words[] = {"jobs", "ls", "-n", "2", NULL};
        struct ran r = run_skep_on_terminal(&f, NULL, words);
        CU_ASSERT_EQUAL(r.code, 0);
        CHECK_SAYS(r.out, "ID STATE");
        CHECK_SAYS(r.out, "\033[31mdead");
        CHECK_SAYS(r.out, "a\\tb\\u001b[2J");
        CU_ASSERT_PTR_NULL(strstr(r.out, "\033[2J"));
        ran_deinit(&r);
        r = run_skep_on_terminal(&f, "NO_COLOR=1", words);
        CU_ASSERT_EQUAL(r.code, 0);
        CHECK_SAYS(r.out, "dead");
        CU_ASSERT_PTR_NULL(strchr(r.out, '\033'));
        ran_deinit(&r);
        fake_stop(&f);
}

static void answer_record(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        buf_text(
            &reply->body,
            "{\"id\":\"" ID
            "\",\"type\":\"a.b\",\"queue\":\"q\",\"state\":\"dead\",\"reason\":\"crashed\","
            "\"created_at\":\"2026-01-31T14:30:00Z\",\"headers\":{\"x-y\":\"z\"},\"strikes\":3,"
            "\"attempts\":[{\"class\":\"crashed\",\"text\":\"SIGSEGV\\n#0 run at a.c:3\\n#1 "
            "main\\u001b[2J\","
            "\"attempt\":1,\"claim\":1,\"started_at\":\"2026-01-31T14:30:00Z\",\"ended_at\":"
            "\"2026-01-31T14:30:01.500Z\",\"worker\":1,\"pid\":77}],"
            "\"error\":{\"class\":\"crashed\",\"text\":\"SIGABRT\",\"attempt\":2,\"claim\":2},"
            "\"content_type\":\"application/json\",\"payload\":{\"n\" : 1.50}}");
}

static void test_shows_a_record(void)
{
        struct fake f;
        fake_start(&f, answer_record);
        struct ran r = SKEP(&f, NULL, "jobs", "show", ID);
        CHECK_RAN(&r, 0, NULL);
        CHECK_SAYS(r.out, "state         dead\n");
        CHECK_SAYS(r.out, "reason        crashed\n");
        CHECK_SAYS(r.out, "strikes       3\n");
        CHECK_SAYS(r.out, "headers       x-y: z\n");
        CHECK_SAYS(r.out, "ran 1.5s  worker 1  pid 77");
        CHECK_SAYS(r.out,
                   "\n         SIGSEGV\n         #0 run at a.c:3\n         #1 main\\u001b[2J\n");
        CHECK_SAYS(r.out, "SIGABRT");
        CHECK_SAYS(r.out, "payload       application/json, 12 bytes\n  {\"n\" : 1.50}\n");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "show", "key:a/b", "-q", "q 1");
        CHECK_RAN(&r, 0, NULL);
        CU_ASSERT_STRING_EQUAL(f.kept[1].path, "/v1/jobs/key:a%2Fb?queue=q%201");
        ran_deinit(&r);
        fake_stop(&f);
}

static void answer_changes(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        const char *id = strrchr(rq->path, '/') + 1;
        if (strcmp(id, "retry") == 0) {
                id -= 2;
        }
        if (id[0] == '2') {
                fake_problem(reply, 409, "\"detail\":\"the job has completed\"");
                return;
        }
        reply->status = id[0] == '3' ? 202 : 200;
        buf_printf(&reply->body, "{\"id\":\"%c\",\"state\":\"%s\"}", id[0],
                   id[0] == '3' ? "running" : "cancelled");
}

static void test_changes_many(void)
{
        struct fake f;
        fake_start(&f, answer_changes);
        struct ran r = SKEP(&f, NULL, "jobs", "cancel", "1", "2", "3");
        CHECK_RAN(&r, 1, "id\tstate\tdone\n1\tcancelled\tcancelled\n3\trunning\tasked to stop\n");
        CU_ASSERT_STRING_EQUAL(r.err, "skep: job 2: the job has completed\n");
        CU_ASSERT_STRING_EQUAL(f.kept[0].method, "DELETE");
        ran_deinit(&r);
        r = SKEP(&f, "id\tstate\n1\tdead\n4\tdead\n", "jobs", "retry", "-", "-o", "id");
        CHECK_RAN(&r, 0, "1\n4\n");
        CU_ASSERT_STRING_EQUAL(f.kept[3].method, "POST");
        CU_ASSERT_STRING_EQUAL(f.kept[3].path, "/v1/jobs/1/retry");
        CU_ASSERT_STRING_EQUAL(f.kept[4].path, "/v1/jobs/4/retry");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "jobs", "cancel", "3", "--dry-run");
        CHECK_RAN(&r, 0, "id\tstate\tdone\n3\trunning\twould be asked to stop\n");
        CU_ASSERT_STRING_EQUAL(f.kept[5].method, "GET");
        ran_deinit(&r);
        fake_stop(&f);
}

/* --- what the node shows ---------------------------------------------------------------------- */

static void answer_views(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        const char *text =
            strcmp(rq->path, "/v1/handlers") == 0
                ? "{\"generation\":1,\"handlers\":[{\"plugin\":\"mail.so\",\"state\":\"serving\","
                  "\"types\":\"mail.send,"
                  "mail.drop\",\"summary\":\"Mail\",\"build\":\"ab\",\"bytes\":2048,\"probed_at\":"
                  "\"2026-01-31T14:30:00Z\"},{\"plugin\":\"bad.so\",\"state\":\"refused\","
                  "\"types\":\"\",\"reason\":"
                  "\"not an ELF file\",\"build\":\"\",\"bytes\":3}]}"
            : strcmp(rq->path, "/v1/workers") == 0
                ? "{\"workers\":[{\"worker\":0,\"pid\":42,\"state\":\"ready\",\"generation\":1,"
                  "\"given\":2,"
                  "\"finished\":9,\"job_id\":\"" ID "\",\"type\":\"mail.send\"}]}"
                : "{\"queues\":[{\"queue\":\"default\",\"jobs\":{\"pending\":1,\"running\":2,"
                  "\"dead\":3},\"parked\":1}],"
                  "\"node\":{\"holder\":\"0\"}}";
        buf_text(&reply->body, text);
}

static void test_shows_the_node(void)
{
        struct fake f;
        fake_start(&f, answer_views);
        struct ran r = SKEP(&f, NULL, "handlers", "ls");
        CHECK_RAN(&r, 0,
                  "plugin\tstate\ttypes\tsummary\tbuild\tbytes\tprobed_at\treason\n"
                  "mail.so\tserving\tmail.send,mail.drop\tMail\tab\t2048\t2026-01-31T14:30:00Z\t\n"
                  "bad.so\trefused\t\t\t\t3\t\tnot an ELF file\n");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "handlers", "show", "mail.drop");
        CHECK_RAN(&r, 0, NULL);
        CHECK_SAYS(r.out, "mail.so");
        CU_ASSERT_PTR_NULL(strstr(r.out, "bad.so"));
        ran_deinit(&r);
        r = SKEP(&f, NULL, "handlers", "show", "mai");
        CHECK_RAN(&r, 1, "");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "workers", "ls");
        CHECK_RAN(&r, 0,
                  "worker\tpid\tstate\tgeneration\tjob\ttype\tgiven\tfinished\n"
                  "0\t42\tready\t1\t" ID "\tmail.send\t2\t9\n");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "stats");
        CHECK_RAN(
            &r, 0,
            "queue\tpending\tparked\tscheduled\trunning\tretrying\tcompleted\tdead\tcancelled\t"
            "oldest_pending_at\ndefault\t1\t1\t\t2\t\t\t3\t\t\n");
        ran_deinit(&r);
        fake_stop(&f);
}

static void answer_nonsense(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        reply->type = "text/html";
        buf_text(&reply->body, "<html>\033[2J");
}

static void test_survives_nonsense(void)
{
        static const char *const verbs[][3] = {{"jobs", "ls", NULL},     {"jobs", "show", "1"},
                                               {"handlers", "ls", NULL}, {"workers", "ls", NULL},
                                               {"stats", NULL, NULL},    {"enqueue", "x", NULL}};
        struct fake f;
        fake_start(&f, answer_nonsense);
        for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
                const char *const words[] = {verbs[i][0], verbs[i][1], verbs[i][2], NULL};
                struct ran r = run_skep(&f, NULL, words);
                CHECK_RAN(&r, 69, "");
                CHECK_SAYS(r.err, "skep: ");
                CU_ASSERT_PTR_NULL(strchr(r.err, '\033'));
                ran_deinit(&r);
        }
        fake_stop(&f);
}

UNIT_TESTS = {
    {"one job is sent", test_sends_one_job},
    {"a lost answer is asked for with the same key", test_repeats_with_the_same_key},
    {"giving up says what is known", test_says_what_is_known},
    {"problems are shown with their place", test_shows_problems},
    {"an unreachable server is named", test_names_what_it_cannot_reach},
    {"tokens come from a file", test_sends_tokens_from_a_file},
    {"--wait prints the result or the error", test_waits_for_the_end},
    {"--wait=N ends", test_wait_has_an_end},
    {"jobs are listed", test_lists_jobs},
    {"tables and colours on a terminal", test_draws_tables_on_terminals},
    {"a job is shown as a record", test_shows_a_record},
    {"many jobs are changed", test_changes_many},
    {"handlers, workers, stats", test_shows_the_node},
    {"a server that speaks nonsense", test_survives_nonsense},
};
UNIT_MAIN("cli-http")
