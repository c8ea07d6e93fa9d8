/*
 * The load of `skep bench`, and what bounds it.
 *
 * First single jobs at a steady rate, each started on its own, then a backlog that is submitted
 * while the queue is paused and drained when it is resumed. The drain is watched through /metrics,
 * which costs skepd next to nothing; the times of single jobs are those of their rows.
 */
#include "cli/bench.h"

#include "cli/command.h"
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PAGE       1000
#define RATE       200 /* single jobs a second */
#define WATCH_MS   10
#define DRAIN_MS   600000
#define WARM_MS    4000
#define PATIENCE   30000
#define CPU_BOUND  0.85 /* of all cores */
#define DISK_BOUND 0.6  /* of what the ledger can commit */

struct counters {
        double finished, commits, commit_s; /* of skepd so far: jobs, batches, their seconds */
        double busy, all;                   /* CPU time of the machine */
};

static int64_t now_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;
        return (x > y) - (x < y);
}

static void put_figure(struct bench *b, const char *name, double value)
{
        json_object_set_new(b->figures, name, json_real(value));
}

static void put_times(struct bench *b, const char *what, double *ms, size_t n)
{
        char name[64];
        qsort(ms, n, sizeof *ms, compare);
        snprintf(name, sizeof name, "%s_p50_ms", what);
        put_figure(b, name, n ? ms[n / 2] : 0);
        snprintf(name, sizeof name, "%s_p99_ms", what);
        put_figure(b, name, n ? ms[n * 99 / 100] : 0);
}

/* --- calls ------------------------------------------------------------------------------------ */

/* 0, or an exit code after a message. */
static int call(struct bench *b, const char *method, const char *path, const struct buf *body,
                struct response *ret)
{
        struct request rq = {.method = method, .path = path};
        if (body) {
                rq.content_type = "application/json";
                rq.body = body->p;
                rq.body_n = body->n;
        }
        if (bench_asked()) {
                say("asked to stop; nothing is left behind");
                return EXIT_LATER;
        }
        int r = client_insist(b->client, &rq, PATIENCE, false, ret);
        return r                        ? client_say_failure(b->client, r)
               : ret->status / 100 == 2 ? 0
                                        : client_say_problem(ret, path);
}

static int post(struct bench *b, const char *path, const struct buf *body)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        return call(b, "POST", path, body, &answer);
}

/* A JSON text of b->payload bytes, its quotes among them. */
static void add_job(struct buf *out, const struct bench *b)
{
        static const char xs[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        buf_text(out, "{\"type\":\"noop\",\"payload\":\"");
        for (size_t left = (size_t)b->payload - 2; left > 0;) {
                size_t n = left < sizeof xs - 1 ? left : sizeof xs - 1;
                buf_add(out, xs, n);
                left -= n;
        }
        buf_text(out, "\"}");
}

/* --- watching --------------------------------------------------------------------------------- */

/* The sum of a metric's values whose labels contain `with`. */
static double read_metric(const char *text, const char *name, const char *with)
{
        double sum = 0;
        for (const char *line = text; line && *line;
             line = strchr(line, '\n'), line += line != NULL) {
                size_t n = strcspn(line, "\n"), value = n;
                for (; value > 0 && line[value - 1] != ' '; value--) {}
                if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == '{' &&
                    memmem(line, n, with, strlen(with))) {
                        sum += strtod(line + value, NULL);
                }
        }
        return sum;
}

/* user nice system idle iowait irq softirq steal */
static void read_cpu(struct counters *ret)
{
        double t[8] = {0};
        FILE *f = fopen("/proc/stat", "re");
        if (f && fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", t, t + 1, t + 2, t + 3, t + 4,
                        t + 5, t + 6, t + 7) == 8) {
                ret->busy = t[0] + t[1] + t[2] + t[5] + t[6] + t[7];
                ret->all = ret->busy + t[3] + t[4];
        }
        if (f) {
                fclose(f);
        }
}

static int read_counters(struct bench *b, struct counters *ret)
{
        static const char *const lanes[] = {"lane=\"claims\"", "lane=\"verdicts\""};
        CLEANUP(response_deinit)
        struct response answer = {0};
        int r = call(b, NULL, "/metrics", NULL, &answer);
        const char *text = buf_z(&answer.body);
        *ret = (struct counters){.finished = read_metric(text, "skep_jobs_finished_total", "noop")};
        for (size_t i = 0; i < ARRAY_LEN(lanes); i++) {
                ret->commits += read_metric(text, "skep_ledger_commit_seconds_count", lanes[i]);
                ret->commit_s += read_metric(text, "skep_ledger_commit_seconds_sum", lanes[i]);
        }
        read_cpu(ret);
        return r;
}

/* Until as many jobs have ended since skepd began. */
static int await_finished(struct bench *b, double n, struct counters *ret)
{
        int64_t until = clock_ms() + DRAIN_MS;
        do {
                int r = read_counters(b, ret);
                if (r || ret->finished >= n) {
                        return r;
                }
                sleep_ms(WATCH_MS);
        } while (clock_ms() < until);
        say("%.0f of %.0f jobs had ended after %d s", ret->finished, n, DRAIN_MS / 1000);
        return EXIT_LATER;
}

/* --- one after the other ---------------------------------------------------------------------- */

static double span_ms(const json_t *job, const char *from, const char *to)
{
        int64_t begin = 0, end = 0;
        const char *a = pick_text(job, from), *z = pick_text(job, to);
        return a && z && time_parse(a, &begin) && time_parse(z, &end) ? (double)(end - begin) / 1e3
                                                                      : -1;
}

/* How long each job that is there waited for its start; *ret_n of them, all others missing. */
static int read_waits(struct bench *b, double *ms, size_t room, size_t *ret_n)
{
        CLEANUP(free_text)
        char *path = text_copy("/v1/jobs?limit=500");
        *ret_n = 0;
        while (path) {
                CLEANUP(response_deinit)
                struct response answer = {0};
                int r = call(b, NULL, path, NULL, &answer);
                if (r) {
                        return r;
                }
                CLEANUP(json_cleanup)
                json_t *page = json_loadb(buf_z(&answer.body), answer.body.n, 0, NULL);
                const json_t *list = list_of(page, "jobs");
                for (size_t i = 0; i < json_array_size(list) && *ret_n < room; i++) {
                        double wait = span_ms(json_array_get(list, i), "created_at", "started_at");
                        if (wait >= 0) {
                                ms[(*ret_n)++] = wait;
                        }
                }
                free(path);
                path = answer.next ? text_copy(answer.next) : NULL;
        }
        return 0;
}

static int post_singly(struct bench *b, double *ms, size_t n)
{
        CLEANUP(buf_deinit)
        struct buf job = {0};
        int64_t begin_us = now_us();
        add_job(&job, b);
        for (size_t i = 0; i < n; i++) {
                int64_t due_us = begin_us + (int64_t)i * (1000000 / RATE), left = due_us - now_us();
                if (left > 0) {
                        usleep((useconds_t)left);
                }
                int64_t sent_us = now_us();
                int r = post(b, "/v1/jobs", &job);
                if (r) {
                        return r;
                }
                ms[i] = (double)(now_us() - sent_us) / 1e3;
        }
        return 0;
}

static int measure_latency(struct bench *b)
{
        size_t n = (size_t)(b->seconds * RATE), started = 0;
        struct counters begin, end;
        double *ms = text_alloc(n * sizeof *ms);
        int r = read_counters(b, &begin);
        r = r ? r : post_singly(b, ms, n);
        if (r == 0) {
                put_times(b, "post", ms, n);
                r = await_finished(b, begin.finished + (double)n, &end);
        }
        r = r ? r : read_waits(b, ms, n, &started);
        if (r == 0) {
                put_times(b, "start", ms, started);
        }
        free(ms);
        return r;
}

/* --- a backlog -------------------------------------------------------------------------------- */

static int submit_page(struct bench *b, long n)
{
        CLEANUP(buf_deinit)
        struct buf page = {0};
        for (long i = 0; i < n; i++) {
                buf_text(&page, i ? "," : "[");
                add_job(&page, b);
        }
        buf_text(&page, "]");
        return post(b, "/v1/jobs", &page);
}

/* Pages of PAGE, fewer when payloads are large: 4 MiB of payload are enough for one request. */
static int submit_backlog(struct bench *b)
{
        long most = (4 << 20) / b->payload, page = most < PAGE ? most : PAGE;
        int64_t begin_us = now_us();
        page = page ? page : 1;
        for (long i = 0; i < b->jobs; i += page) {
                int r = submit_page(b, b->jobs - i < page ? b->jobs - i : page);
                if (r) {
                        return r;
                }
        }
        put_figure(b, "submit_per_s", (double)b->jobs * 1e6 / (double)(now_us() - begin_us));
        return 0;
}

static void judge(struct bench *b, const struct counters *from, const struct counters *to, double s)
{
        double can = json_number_value(json_object_get(b->made, "commits_per_s"));
        double commits = (to->commits - from->commits) / s;
        double busy = to->all > from->all ? (to->busy - from->busy) / (to->all - from->all) : 0;
        const char *bound = busy >= CPU_BOUND             ? "cpu"
                            : commits >= can * DISK_BOUND ? "commits"
                                                          : "round trips";
        put_figure(b, "drain_per_s", (to->finished - from->finished) / s);
        put_figure(b, "drain_commits_per_s", commits);
        put_figure(b, "drain_commit_ms",
                   to->commits > from->commits
                       ? (to->commit_s - from->commit_s) * 1e3 / (to->commits - from->commits)
                       : 0);
        put_figure(b, "jobs_per_commit",
                   commits > 0 ? (to->finished - from->finished) / s / commits : 0);
        put_figure(b, "cpu_busy", busy);
        json_object_set_new(b->figures, "bound", json_string(bound));
}

/* From when the first had ended to when all had; of few jobs, which end all at once, from when the
 * queue was resumed. */
static int measure_drain(struct bench *b)
{
        struct counters before, from, to;
        const char *queue = pick_text(b->made, "queue");
        CLEANUP(free_text)
        char *pause = text_printf("/v1/queues/%s/pause", queue ? queue : "default");
        CLEANUP(free_text)
        char *resume = text_printf("/v1/queues/%s/resume", queue ? queue : "default");
        int r = post(b, pause, NULL);
        r = r ? r : submit_backlog(b);
        r = r ? r : read_counters(b, &before);
        int64_t resumed_us = now_us();
        r = r ? r : post(b, resume, NULL);
        r = r ? r : await_finished(b, before.finished + 1, &from);
        int64_t begin_us = now_us();
        r = r ? r : await_finished(b, before.finished + (double)b->jobs, &to);
        if (r == 0) {
                bool many = to.finished - from.finished > (double)b->jobs / 2;
                judge(b, many ? &from : &before, &to,
                      (double)(now_us() - (many ? begin_us : resumed_us)) / 1e6);
        }
        return r;
}

/* A broker's new queue: RabbitMQ is not trusted with one for its first seconds, and jobs go by the
 * ledger meanwhile. */
static int warm_up(struct bench *b)
{
        CLEANUP(buf_deinit)
        struct buf job = {0};
        struct counters end;
        const char *queue = pick_text(b->made, "queue");
        if (!queue || strcmp(queue, "default") == 0) {
                return 0;
        }
        add_job(&job, b);
        int r = post(b, "/v1/jobs", &job);
        r = r ? r : await_finished(b, 1, &end);
        sleep_ms(r ? 0 : WARM_MS);
        return r;
}

int bench_measure(struct bench *b)
{
        int r = warm_up(b);
        r = r ? r : measure_latency(b);
        return r ? r : measure_drain(b);
}
