/*
 * One row per (queue, type), found through uthash and remembered from one job to the next, since
 * batches are of one type more often than not.
 *
 * The text is made on the engine's thread, and 200 types are 6,000 lines: what repeats in them is
 * made once, and their numbers are written by hand, without printf.
 */
#include "daemon/metrics.h"
#include "daemon/relay.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define TYPES_MAX       200
#define NAME_MAX_       (2 * 256)
#define SCHEDULES_SHOWN 500

#define BOUNDS 10
static const double bounds[BOUNDS] = {0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800};
static const double late_bounds[BOUNDS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 10, 60};

struct histogram {
        uint64_t buckets[BOUNDS + 1], count;
        double sum;
};

struct series {
        char name[NAME_MAX_]; /* queue NUL type NUL */
        uint32_t queue_n, name_n;
        struct str labels; /* {queue="...",type="..." */
        uint64_t enqueued, ended[JOB_STATE_COUNT], attempts[JOB_STATE_COUNT];
        struct histogram wait, run, late;
        UT_hash_handle hh;
};

struct metrics {
        struct series *all, *last;
        uint64_t crashes;
        struct histogram commit[LEDGER_LANES];
        uint64_t batch_jobs[LEDGER_LANES];
};

struct metrics *metrics_new(void)
{
        return calloc(1, sizeof(struct metrics));
}

struct metrics *metrics_free(struct metrics *m)
{
        if (m) {
                struct series *s = m->all;
                HASH_CLEAR(hh, m->all); /* frees the table; the series stay chained */
                while (s) {
                        struct series *next = s->hh.next;
                        free((char *)s->labels.p);
                        free(s);
                        s = next;
                }
                free(m);
        }
        return NULL;
}

/* --- counting --------------------------------------------------------------------------------- */

/* Names of queues and types hold no byte that a label would have to escape; queues from config may:
 * escape anyway. */
static void put_label(FILE *out, struct str s)
{
        for (uint32_t i = 0; i < s.n; i++) {
                char c = s.p[i];
                if (c == '"' || c == '\\') {
                        fputc('\\', out);
                }
                fputc(c == '\n' ? ' ' : c, out);
        }
}

static struct series *series_new(const char *name, uint32_t n, uint32_t queue_n)
{
        struct series *s = calloc(1, sizeof *s);
        char *labels = NULL;
        size_t labels_n = 0;
        FILE *out = s ? open_memstream(&labels, &labels_n) : NULL;
        if (!out) {
                free(s);
                return NULL;
        }
        memcpy(s->name, name, n);
        s->queue_n = queue_n;
        s->name_n = n;
        fputs("{queue=\"", out);
        put_label(out, str_of(s->name));
        fputs("\",type=\"", out);
        put_label(out, str_of(s->name + queue_n + 1));
        fputs("\"", out);
        if (fclose(out) != 0) {
                free(labels);
                free(s);
                return NULL;
        }
        s->labels = (struct str){labels, (uint32_t)labels_n};
        return s;
}

static struct series *series_of(struct metrics *m, struct str queue, struct str type)
{
        char name[NAME_MAX_];
        if (queue.n > 255 || type.n > 255) {
                return NULL;
        }
        memcpy(name, queue.p, queue.n);
        name[queue.n] = 0;
        memcpy(name + queue.n + 1, type.p, type.n);
        uint32_t n = queue.n + 1 + type.n;
        if (m->last && m->last->name_n == n && memcmp(m->last->name, name, n) == 0) {
                return m->last;
        }
        struct series *s;
        HASH_FIND(hh, m->all, name, n, s);
        if (!s && HASH_COUNT(m->all) >= TYPES_MAX && !str_eq(type, STR("other"))) {
                return series_of(m, queue, STR("other"));
        }
        if (!s && (s = series_new(name, n, queue.n))) {
                HASH_ADD(hh, m->all, name, n, s);
        }
        m->last = s;
        return s;
}

static void observe(struct histogram *h, const double limits[static BOUNDS], double seconds)
{
        size_t i = 0;
        while (i < BOUNDS && seconds > limits[i]) {
                i++;
        }
        h->buckets[i]++;
        h->count++;
        h->sum += seconds;
}

void metrics_submitted(struct metrics *m, const struct submission *sub)
{
        for (uint32_t i = 0; i < sub->n; i++) {
                const struct submit_row *row = &sub->rows[i];
                struct series *s =
                    row->result == SUBMIT_CREATED ? series_of(m, row->queue, row->type) : NULL;
                if (s) {
                        s->enqueued++;
                }
        }
}

/* How late it was at its claim, by the ledger's clock, and how long it waited here since, by ours.
 */
static void observe_run(struct series *s, const struct finish_row *row)
{
        const struct job *j = row->job;
        observe(&s->run, bounds, (double)(row->ended_us - row->started_us) / 1e6);
        if (j->late_us > 0) {
                int64_t here = row->started_us - j->of->taken_us;
                observe(&s->late, late_bounds, (double)(j->late_us + (here > 0 ? here : 0)) / 1e6);
        } else if (j->attempt == 1) {
                observe(&s->wait, bounds, (double)(row->started_us - j->created_us) / 1e6);
        }
}

void metrics_settled(struct metrics *m, const struct ledger_finish *f)
{
        for (uint32_t i = 0; i < f->n; i++) {
                const struct finish_row *row = &f->rows[i];
                struct series *s =
                    row->job && !row->stale ? series_of(m, row->job->queue, row->job->type) : NULL;
                if (!s) {
                        continue;
                }
                m->crashes += row->error == ERROR_CRASHED || row->error == ERROR_OOM;
                if (row->to != STATE_PENDING) {
                        s->attempts[row->to]++;
                }
                if (state_terminal(row->to)) {
                        s->ended[row->to]++;
                }
                if (row->started_us) {
                        observe_run(s, row);
                }
        }
}

void metrics_committed(struct metrics *m, enum ledger_op op, int64_t ns, uint32_t jobs)
{
        enum ledger_lane lane = ledger_op_lane(op);
        observe(&m->commit[lane], bounds, (double)ns / 1e9);
        m->batch_jobs[lane] += jobs;
}

/* --- text ------------------------------------------------------------------------------------- */

static void put(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(FILE *out, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        vfprintf(out, fmt, args);
        va_end(args);
}

static void put_head(FILE *out, const char *name, const char *kind, const char *help)
{
        put(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

/* In a line of a series: after the labels. */
static void put_value(FILE *out, uint64_t value)
{
        char digits[24], *at = digits + sizeof digits;
        *--at = '\n';
        do {
                *--at = (char)('0' + value % 10);
                value /= 10;
        } while (value);
        *--at = ' ';
        fwrite_unlocked(at, 1, (size_t)(digits + sizeof digits - at), out);
}

static void put_labels(FILE *out, const char *name, const struct series *s, const char *more)
{
        fputs_unlocked(name, out);
        fwrite_unlocked(s->labels.p, 1, s->labels.n, out);
        fputs_unlocked(more, out);
}

static void put_by_state(FILE *out, const struct metrics *m, const char *name, const char *help,
                         size_t offset)
{
        put_head(out, name, "counter", help);
        for (const struct series *s = m->all; s; s = s->hh.next) {
                const uint64_t *counts = (const uint64_t *)((const char *)s + offset);
                for (unsigned state = 0; state < JOB_STATE_COUNT; state++) {
                        char outcome[64];
                        if (counts[state] == 0) {
                                continue;
                        }
                        snprintf(outcome, sizeof outcome, ",outcome=\"%s\"}", state_name(state));
                        put_labels(out, name, s, outcome);
                        put_value(out, counts[state]);
                }
        }
}

/* What is the same in the lines of all series. */
struct histogram_words {
        char bucket[64], sum[64], count[64];
        char le[BOUNDS + 1][32];
};

static void put_buckets(FILE *out, const struct series *s, const struct histogram *h,
                        const struct histogram_words *w)
{
        uint64_t below = 0;
        for (size_t i = 0; i <= BOUNDS; i++) {
                below += h->buckets[i];
                put_labels(out, w->bucket, s, w->le[i]);
                put_value(out, below);
        }
        put_labels(out, w->sum, s, "}");
        put(out, " %g\n", h->sum);
        put_labels(out, w->count, s, "}");
        put_value(out, h->count);
}

static void put_histogram(FILE *out, const struct metrics *m, const char *name, const char *help,
                          const double limits[static BOUNDS], size_t offset)
{
        struct histogram_words w;
        snprintf(w.bucket, sizeof w.bucket, "%s_bucket", name);
        snprintf(w.sum, sizeof w.sum, "%s_sum", name);
        snprintf(w.count, sizeof w.count, "%s_count", name);
        for (size_t i = 0; i < BOUNDS; i++) {
                snprintf(w.le[i], sizeof w.le[i], ",le=\"%g\"}", limits[i]);
        }
        snprintf(w.le[BOUNDS], sizeof w.le[BOUNDS], ",le=\"+Inf\"}");
        put_head(out, name, "histogram", help);
        for (const struct series *s = m->all; s; s = s->hh.next) {
                const struct histogram *h = (const struct histogram *)((const char *)s + offset);
                if (limits != late_bounds || h->count > 0) { /* most types never wait for a time */
                        put_buckets(out, s, h, &w);
                }
        }
}

static void put_commits(FILE *out, const struct metrics *m)
{
        static const char *const lanes[] = {"claims", "verdicts", "beat", "reads"};
        put_head(out, "skep_ledger_commit_seconds", "summary",
                 "Time from posting a batch to its answer.");
        for (unsigned l = 0; l < LEDGER_LANES; l++) {
                put(out, "skep_ledger_commit_seconds_sum{lane=\"%s\"} %g\n", lanes[l],
                    m->commit[l].sum);
                put(out, "skep_ledger_commit_seconds_count{lane=\"%s\"} %llu\n", lanes[l],
                    (unsigned long long)m->commit[l].count);
        }
        put_head(out, "skep_ledger_batch_jobs", "summary", "Jobs per batch.");
        for (unsigned l = 0; l < LEDGER_LANES; l++) {
                put(out, "skep_ledger_batch_jobs_sum{lane=\"%s\"} %llu\n", lanes[l],
                    (unsigned long long)m->batch_jobs[l]);
                put(out, "skep_ledger_batch_jobs_count{lane=\"%s\"} %llu\n", lanes[l],
                    (unsigned long long)m->commit[l].count);
        }
}

static void put_queues(FILE *out, const struct ledger_stats *stats)
{
        put_head(out, "skep_queue_jobs", "gauge", "Jobs in the ledger by queue and state.");
        for (uint32_t i = 0; i < stats->n; i++) {
                for (unsigned s = 0; s < JOB_STATE_COUNT; s++) {
                        put(out, "skep_queue_jobs{queue=\"%.*s\",state=\"%s\"} %llu\n",
                            (int)stats->queues[i].queue.n, stats->queues[i].queue.p, state_name(s),
                            (unsigned long long)stats->queues[i].jobs[s]);
                }
        }
}

static void put_paused(FILE *out, const struct engine *e)
{
        struct queue_view views[CONFIG_QUEUES_MAX];
        uint32_t n = engine_queue_views(e, views, CONFIG_QUEUES_MAX);
        put_head(out, "skep_queue_paused", "gauge", "1 while an operator has paused the queue.");
        for (uint32_t i = 0; i < n; i++) {
                if (!views[i].gone) {
                        fputs("skep_queue_paused{queue=\"", out);
                        put_label(out, views[i].name);
                        put(out, "\"} %d\n", views[i].paused);
                }
        }
}

static void put_ticks(FILE *out, const struct engine *e)
{
        struct schedule_view views[SCHEDULES_SHOWN];
        uint32_t n = engine_schedules(e, views, SCHEDULES_SHOWN);
        if (n == 0) {
                return;
        }
        put_head(out, "skep_schedule_ticks_total", "counter",
                 "Ticks of schedules that this node decided, by what became of them.");
        for (uint32_t i = 0; i < n; i++) {
                const struct schedule_counts *c = &views[i].counts;
                const struct {
                        const char *outcome;
                        uint64_t value;
                } rows[] = {{"made", c->made},
                            {"missed", c->missed},
                            {"skipped", c->skipped},
                            {"buffered", c->buffered},
                            {"cancelled", c->cancelled}};
                for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
                        fputs("skep_schedule_ticks_total{schedule=\"", out);
                        put_label(out, views[i].name);
                        put(out, "\",outcome=\"%s\"} %llu\n", rows[k].outcome,
                            (unsigned long long)rows[k].value);
                }
        }
}

static void put_workers(FILE *out, const struct engine *e)
{
        struct worker_view views[ENGINE_WORKERS_MAX];
        uint32_t n = engine_workers(e, views, ENGINE_WORKERS_MAX), busy = 0, idle = 0, other = 0;
        for (uint32_t i = 0; i < n; i++) {
                bool ready = views[i].state == WORKER_READY;
                busy += ready && views[i].busy;
                idle += ready && !views[i].busy;
                other += !ready;
        }
        put_head(out, "skep_worker_slots", "gauge", "Workers of this node by what they do.");
        put(out, "skep_worker_slots{state=\"busy\"} %u\nskep_worker_slots{state=\"idle\"} %u\n",
            busy, idle);
        put(out, "skep_worker_slots{state=\"changing\"} %u\n", other);
}

static void put_engine(FILE *out, const struct metrics *m, const struct engine *e)
{
        struct engine_view v;
        engine_look(e, &v);
        put_head(out, "skep_handler_crashes_total", "counter",
                 "Workers that died while running a job.");
        put(out, "skep_handler_crashes_total %llu\n", (unsigned long long)m->crashes);
        put_head(out, "skep_fenced_writes_total", "counter",
                 "Verdicts refused because another claim is current.");
        put(out, "skep_fenced_writes_total %llu\n", (unsigned long long)v.fenced_writes);
        put_head(out, "skep_claimed_jobs", "gauge",
                 "Jobs claimed by this node and not durably ended.");
        put(out, "skep_claimed_jobs %u\n", v.claimed);
        put_head(out, "skep_unique_held_total", "counter",
                 "Letters and submissions whose unique key another job held.");
        put(out, "skep_unique_held_total %llu\n", (unsigned long long)v.unique_held);
        put_head(out, "skep_jobs_pruned_total", "counter",
                 "Rows that had been there long enough, removed by this node.");
        put(out, "skep_jobs_pruned_total %llu\n", (unsigned long long)v.pruned);
        put_head(out, "skep_replies_total", "counter", "Replies that a broker has confirmed.");
        put(out, "skep_replies_total %llu\n", (unsigned long long)v.replies);
        put_head(out, "skep_ledger_up", "gauge", "1 while the ledger answers.");
        put(out, "skep_ledger_up %d\n", v.ledger_up && v.registered);
}

static void put_transports(FILE *out, const struct relay *r)
{
        put_head(out, "skep_transport_up", "gauge",
                 "1 while the transport consumes and publishes.");
        for (uint32_t i = 0; i < r->n; i++) {
                put(out, "skep_transport_up{transport=\"%s\"} %d\n", r->lines[i].name.p,
                    r->lines[i].up);
        }
        put_head(out, "skep_transport_reconnects_total", "counter",
                 "Times that the transport came up again.");
        for (uint32_t i = 0; i < r->n; i++) {
                uint64_t ups = r->lines[i].ups;
                put(out, "skep_transport_reconnects_total{transport=\"%s\"} %llu\n",
                    r->lines[i].name.p, (unsigned long long)(ups ? ups - 1 : 0));
        }
        put_head(out, "skep_transport_deaf_total", "counter",
                 "Channels that were reopened since messages waited and none came.");
        for (uint32_t i = 0; i < r->n; i++) {
                put(out, "skep_transport_deaf_total{transport=\"%s\"} %llu\n", r->lines[i].name.p,
                    (unsigned long long)r->lines[i].deaf);
        }
}

static void put_arrivals(FILE *out, const struct engine *e)
{
        struct engine_view v;
        engine_look(e, &v);
        const struct {
                const char *name, *help;
                uint64_t value;
        } rows[] = {
            {"skep_letters_total", "Letters answered.", v.letters},
            {"skep_letters_known_total", "Letters dropped since their job was there.",
             v.letters_known},
            {"skep_doorbells_total", "Doorbells answered.", v.bells},
            {"skep_doorbells_known_total", "Doorbells dropped since nothing waited for them.",
             v.bells_known},
            {"skep_tide_recovered_total", "Jobs that a broker lost, offered from the ledger.",
             v.tide},
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                put_head(out, rows[i].name, "counter", rows[i].help);
                put(out, "%s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
        }
}

struct str metrics_text(const struct metrics *m, const struct engine *e, const struct relay *relay,
                        const struct ledger_stats *stats, struct arena *a)
{
        char *text = NULL;
        size_t n = 0;
        FILE *out = open_memstream(&text, &n);
        if (!out) {
                return (struct str){0};
        }
        put_head(out, "skep_build_info", "gauge", "Version of skepd.");
        put(out, "skep_build_info{version=\"%s\"} 1\n", SKEP_VERSION);
        put_head(out, "skep_jobs_enqueued_total", "counter", "Jobs accepted through this node.");
        for (const struct series *s = m->all; s; s = s->hh.next) {
                put_labels(out, "skep_jobs_enqueued_total", s, "}");
                put_value(out, s->enqueued);
        }
        put_by_state(out, m, "skep_jobs_finished_total", "Jobs that ended on this node.",
                     offsetof(struct series, ended));
        put_by_state(out, m, "skep_job_attempts_total",
                     "Tries that ended on this node, by the state that followed.",
                     offsetof(struct series, attempts));
        put_histogram(out, m, "skep_job_wait_seconds", "From acceptance to the first start.",
                      bounds, offsetof(struct series, wait));
        put_histogram(out, m, "skep_job_run_seconds", "Run time of a try.", bounds,
                      offsetof(struct series, run));
        put_histogram(out, m, "skep_job_lateness_seconds",
                      "From the time a job was scheduled for, or its retry was due, to its start.",
                      late_bounds, offsetof(struct series, late));
        put_commits(out, m);
        put_workers(out, e);
        put_paused(out, e);
        put_ticks(out, e);
        put_engine(out, m, e);
        if (relay->n) {
                put_transports(out, relay);
                put_arrivals(out, e);
        }
        if (stats) {
                put_queues(out, stats);
        }
        fclose(out);
        struct str s = arena_str(a, (struct str){text, (uint32_t)n});
        free(text);
        return s;
}
