/*
 * The demo of `skep dev --demo`: a few jobs of the handlers that ship, and what became of them.
 *
 * It judges what it shows: the job that is told to fail twice must have completed at its third
 * attempt.
 */
#include "cli/dev.h"
#include "cli/submit.h"
#include "cli/verbs.h"

#include <stdio.h>

#define DEMO_MS 60000

static const struct {
        const char *type, *payload, *about;
        int attempts; /* that it takes */
} demo_jobs[] = {
    {"echo", "{\"hello\":\"world\"}", "gives its payload back", 1},
    {"noop", "{}", "does nothing", 1},
    {"sleep", "{\"ms\":50}", "sleeps 50 ms", 1},
    {"sleep", "{\"ms\":50,\"fail_attempts\":2}", "fails twice, then succeeds", 3},
};
#define DEMO_JOBS ARRAY_LEN(demo_jobs)

static int submit_job(struct dev *d, size_t i, char **ret_id)
{
        char key[JOB_ID_TEXT];
        CLEANUP(buf_deinit)
        struct buf json = {0};
        CLEANUP(response_deinit)
        struct response answer = {0};
        key_mint(key);
        buf_printf(&json, "{\"type\":\"%s\",\"key\":\"%s\",\"tags\":[\"demo\"]", demo_jobs[i].type,
                   key);
        body_add(&json, str_of(demo_jobs[i].payload));
        buf_text(&json, "}");
        struct request rq = {.method = "POST",
                             .path = "/v1/jobs",
                             .content_type = "application/json",
                             .body = buf_z(&json),
                             .body_n = json.n};
        int r = client_insist(d->client, &rq, CLIENT_PATIENCE_MS, false, &answer);
        if (r) {
                return client_say_failure(d->client, r);
        }
        if (answer.status / 100 != 2) {
                return client_say_problem(&answer, demo_jobs[i].type);
        }
        CLEANUP(json_cleanup)
        json_t *job = json_loadb(buf_z(&answer.body), answer.body.n, JSON_ALLOW_NUL, NULL);
        const char *id = pick_text(job, "id");
        if (!id) {
                say("the answer has no job id");
                return EXIT_UNREACHABLE;
        }
        *ret_id = text_copy(id);
        printf("%s  %-6s %-30s %s\n", id, demo_jobs[i].type, demo_jobs[i].payload,
               demo_jobs[i].about);
        fflush(stdout);
        return 0;
}

/* Waits in short steps, so that Ctrl-C and the end of skepd are seen. */
static int await_job(struct dev *d, const char *id, int64_t until_ms, json_t **ret_job)
{
        for (;;) {
                CLEANUP(response_deinit)
                struct response answer = {0};
                CLEANUP(json_cleanup)
                json_t *job = NULL;
                int64_t now = clock_ms();
                int seen = dev_watch(d, 0);
                if (seen) {
                        say("%s before the demo was over",
                            seen == DEV_ENDED ? "skepd ended" : "stopped");
                        return EXIT_REFUSED;
                }
                int r = job_wait(d->client, id, now + 1000 < until_ms ? now + 1000 : until_ms,
                                 &answer, &job);
                if (r < 0) {
                        return -r;
                }
                if (r == 0 || now >= until_ms) {
                        *ret_job = STEAL(job);
                        return 0;
                }
        }
}

/* Did it go as it should? */
static bool judge_job(size_t i, const json_t *job)
{
        const char *state = pick_text(job, "state");
        int attempt = (int)json_integer_value(pick(job, "attempt"));
        if (state && strcmp(state, "completed") == 0 && attempt == demo_jobs[i].attempts) {
                return true;
        }
        const char *text = pick_text(job, ERROR_TEXT_FIELDS "|reason");
        say("%s %s: %s after attempt %d, and should have completed at attempt %d%s%s",
            demo_jobs[i].type, demo_jobs[i].payload, state ? state : "?", attempt,
            demo_jobs[i].attempts, text ? ": " : "", text ? text : "");
        return false;
}

static int run_jobs(struct invocation *in, struct dev *d, char *ids[DEMO_JOBS])
{
        bool people = table_for_people(in->output), good = true;
        int64_t until_ms = clock_ms() + DEMO_MS;
        int r = 0;
        puts("");
        for (size_t i = 0; i < DEMO_JOBS && r == 0; i++) {
                r = submit_job(d, i, &ids[i]);
        }
        if (r) {
                return r;
        }
        struct table *t = table_new(people ? job_columns_people : job_columns_pipe, people);
        for (size_t i = 0; i < DEMO_JOBS && r == 0; i++) {
                CLEANUP(json_cleanup)
                json_t *job = NULL;
                r = await_job(d, ids[i], until_ms, &job);
                if (r == 0) {
                        if (i == 0) {
                                puts("");
                        }
                        table_add(t, job);
                        good = judge_job(i, job) && good;
                }
        }
        table_free(t);
        fflush(stdout);
        return r ? r : good ? 0 : EXIT_REFUSED;
}

int demo_run(struct invocation *in, struct dev *d)
{
        char *ids[DEMO_JOBS] = {NULL};
        int r = run_jobs(in, d, ids);
        for (size_t i = 0; i < DEMO_JOBS; i++) {
                free_text(&ids[i]);
        }
        return r;
}
