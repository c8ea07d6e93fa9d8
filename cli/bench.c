/*
 * `skep bench`: what this machine and this configuration's ledger do, as jobs a second and as
 * times.
 *
 * Nothing that is there is touched: the ledger is a file or database of its own beside the real
 * one, no queue, broker or handler of the configuration is known to the skepd that is started for
 * it, and all of it is removed again, also after a failure and after Ctrl-C. It does share disk,
 * server and CPU with what runs, and says so. To measure through the running skepd was discarded:
 * its queues hold people's jobs.
 */
#include "cli/bench.h"

#include "cli/command.h"
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define JOBS_DEFAULT    50000
#define JOBS_MAX        5000000
#define PAYLOAD_DEFAULT 256
#define PAYLOAD_MAX     (1 << 20)
#define SECONDS_DEFAULT 5

static void bench_deinit(struct bench *b)
{
        client_free(b->client);
        free(b->skepd);
        free(b->worker);
        free(b->scratch);
        free(b->noop);
        json_decref(b->made);
        json_decref(b->figures);
}

/* --- what it says ----------------------------------------------------------------------------- */

static const struct line {
        const char *figure, *words, *unit;
        int digits;
} lines[] = {
    {"drain_per_s", "jobs drained", "a second", 0},
    {"submit_per_s", "jobs submitted in arrays", "a second", 0},
    {"post_p50_ms", "one job submitted, median", "ms", 2},
    {"post_p99_ms", "one job submitted, 99 of 100", "ms", 2},
    {"start_p50_ms", "from submission to start, median", "ms", 2},
    {"start_p99_ms", "from submission to start, 99 of 100", "ms", 2},
    {"commits_per_s", "commits that the ledger's disk or server can do, one by one", "a second", 0},
    {"commit_p50_ms", "one such commit, median", "ms", 2},
    {"commit_p99_ms", "one such commit, 99 of 100", "ms", 2},
    {"drain_commits_per_s", "batches committed while draining", "a second", 0},
    {"jobs_per_commit", "jobs in such a batch", "", 1},
};

static const struct column columns[] = {{"value", "value", CELL_COUNT},
                                        {"unit", "unit", CELL_TEXT},
                                        {"what", "what", CELL_TEXT, true},
                                        {NULL}};

static json_t *rows_of(const json_t *figures)
{
        json_t *rows = json_array();
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
                double value = json_number_value(json_object_get(figures, lines[i].figure));
                CLEANUP(free_text)
                char *text = text_printf("%.*f", lines[i].digits, value);
                json_array_append_new(rows, json_pack("{ss ss ss}", "value", text, "unit",
                                                      lines[i].unit, "what", lines[i].words));
        }
        return rows;
}

static void print_bound(const json_t *figures)
{
        const char *bound = pick_text(figures, "bound");
        double busy = json_number_value(json_object_get(figures, "cpu_busy"));
        double each = json_number_value(json_object_get(figures, "drain_commit_ms"));
        if (strcmp(bound, "cpu") == 0) {
                printf("\nThe CPU bounds it: all cores were busy for %.0f %% of the drain.\n",
                       busy * 100);
        } else if (strcmp(bound, "commits") == 0) {
                printf("\nThe disk bounds it: it commits no faster.\n");
        } else {
                printf("\nNeither CPU (%.0f %% busy) nor commits bound it: a batch waited %.1f ms "
                       "for its answer.\n",
                       busy * 100, each);
        }
}

static void print_figures(struct invocation *in, const struct bench *b)
{
        if (in->output == OUTPUT_JSON) {
                print_json(b->figures, JSON_COMPACT | JSON_REAL_PRECISION(6));
                return;
        }
        struct response none = {0};
        CLEANUP(json_cleanup)
        json_t *rows = rows_of(b->figures);
        print_list(in, &none, rows, columns, columns);
        if (in->output != OUTPUT_NDJSON && table_for_people(in->output)) {
                print_bound(b->figures);
        }
}

/* --- the verb --------------------------------------------------------------------------------- */

static int read_flags(struct invocation *in, struct bench *b)
{
        if (invocation_has(in, "url") || invocation_has(in, "token-file")) {
                return say_usage(in, "--url and --token-file have no meaning here: skep bench "
                                     "starts a skepd of its own");
        }
        int r = invocation_number(in, "jobs", 100, JOBS_MAX, JOBS_DEFAULT, &b->jobs);
        r = r ? r : invocation_number(in, "payload", 2, PAYLOAD_MAX, PAYLOAD_DEFAULT, &b->payload);
        return r ? r : invocation_number(in, "seconds", 1, 3600, SECONDS_DEFAULT, &b->seconds);
}

static int work(struct invocation *in, struct bench *b)
{
        int r = bench_make(in, b);
        if (r == 0) {
                say("a private skepd on %s; what else runs here slows it, and it slows that",
                    pick_text(b->made, "ledger"));
                r = bench_start(b);
        }
        r = r ? r : bench_measure(b);
        int stopped = bench_stop(b), removed = bench_remove(b);
        return r ? r : stopped ? stopped : removed;
}

int bench_run(struct invocation *in)
{
        CLEANUP(bench_deinit)
        struct bench b = {.figures = json_object()};
        sigset_t stop;
        int r = read_flags(in, &b);
        if (r) {
                return r;
        }
        sigemptyset(&stop);
        sigaddset(&stop, SIGINT);
        sigaddset(&stop, SIGTERM);
        sigaddset(&stop, SIGHUP);
        sigprocmask(SIG_BLOCK, &stop, NULL);
        r = work(in, &b);
        if (r) {
                return r;
        }
        json_object_del(b.made, "folder");
        json_object_update_missing(b.figures, b.made);
        json_object_set_new(b.figures, "jobs", json_integer(b.jobs));
        json_object_set_new(b.figures, "payload", json_integer(b.payload));
        print_figures(in, &b);
        return 0;
}
