/*
 * `skep queues`, `skep nodes`: what the queues hold and how they are served; pausing and limits,
 * which hold on every node after one beat.
 */
#include "cli/ask.h"

#include <stdio.h>
#include <stdlib.h>

static const struct column queue_people[] = {{"queue", "name", CELL_TEXT},
                                             {"paused", "paused", CELL_YES_NO},
                                             {"transport", "transport", CELL_TEXT},
                                             COLUMN_OF_STATE("pending"),
                                             COLUMN_OF_STATE("scheduled"),
                                             COLUMN_OF_STATE("retrying"),
                                             COLUMN_OF_STATE("running"),
                                             COLUMN_OF_STATE("dead"),
                                             {"per node", "concurrency", CELL_COUNT},
                                             {"global", "global", CELL_COUNT},
                                             {"oldest", "oldest_pending_at", CELL_TIME},
                                             {"not consumed", "not_consumed", CELL_TEXT, true},
                                             {NULL}};

static const struct column queue_pipe[] = {{"name", "name", CELL_TEXT},
                                           {"paused", "paused", CELL_YES_NO},
                                           {"transport", "transport", CELL_TEXT},
                                           {"order", "order", CELL_TEXT},
                                           COLUMN_OF_STATE("pending"),
                                           COLUMN_OF_STATE("scheduled"),
                                           COLUMN_OF_STATE("running"),
                                           COLUMN_OF_STATE("retrying"),
                                           COLUMN_OF_STATE("completed"),
                                           COLUMN_OF_STATE("dead"),
                                           COLUMN_OF_STATE("cancelled"),
                                           {"concurrency", "concurrency", CELL_COUNT},
                                           {"global", "global", CELL_COUNT},
                                           {"max_waiting", "max_waiting", CELL_COUNT},
                                           {"busy", "busy", CELL_COUNT},
                                           {"ready", "ready", CELL_COUNT},
                                           {"oldest_pending_at", "oldest_pending_at", CELL_TIME},
                                           {"not_consumed", "not_consumed", CELL_TEXT},
                                           {NULL}};

static const struct column node_columns[] = {{"holder", "holder", CELL_TEXT},
                                             {"host", "host", CELL_TEXT},
                                             {"pid", "pid", CELL_COUNT},
                                             {"version", "version", CELL_TEXT},
                                             {"workers", "workers", CELL_COUNT},
                                             {"self", "self", CELL_YES_NO},
                                             {"dead", "dead", CELL_YES_NO},
                                             {"registered_at", "registered_at", CELL_TIME},
                                             {"beat_at", "beat_at", CELL_TIME},
                                             {"queues", "queues", CELL_TEXT},
                                             {"serves", "serves", CELL_TEXT, true},
                                             {NULL}};

int queues_ls_run(struct invocation *in)
{
        return list_run(in, "/v1/queues", "queues", queue_people, queue_pipe);
}

int nodes_ls_run(struct invocation *in)
{
        return list_run(in, "/v1/nodes", "nodes", node_columns, node_columns);
}

/* One request for each name; the first that fails ends it. */
static int each_queue(struct invocation *in, const char *method, const char *suffix,
                      const struct buf *body)
{
        const struct column *columns = table_for_people(in->output) ? queue_people : queue_pipe;
        int r = 0;
        for (int i = 0; r == 0 && i < in->n_args; i++) {
                CLEANUP(buf_deinit)
                struct buf path = {0};
                CLEANUP(free_text)
                char *about = text_printf("queue %s", in->args[i]);
                path_of(&path, "/v1/queues/", in->args[i], suffix);
                r = ask_row(in, method, buf_z(&path), body, about, columns);
        }
        return r;
}

int queues_show_run(struct invocation *in)
{
        return each_queue(in, NULL, "", NULL);
}

int queues_pause_run(struct invocation *in)
{
        return each_queue(in, "POST", "/pause", NULL);
}

int queues_resume_run(struct invocation *in)
{
        return each_queue(in, "POST", "/resume", NULL);
}

/* --concurrency N|default as a member. 0 or EXIT_USAGE. */
static int add_limit(struct invocation *in, const char *flag, struct buf *json)
{
        const char *text = invocation_get(in, flag);
        if (!text) {
                return 0;
        }
        buf_printf(json, "%s\"%s\":", json->n > 1 ? "," : "", flag);
        if (strcmp(text, "default") == 0) {
                buf_text(json, "null");
                return 0;
        }
        char *end;
        long n = strtol(text, &end, 10);
        if (end == text || *end || n < 0 || n > 1000000) {
                return say_usage(in, "--%s %s is not allowed; 0 (no limit) to 1000000, or default",
                                 flag, text);
        }
        buf_printf(json, "%ld", n);
        return 0;
}

int queues_limit_run(struct invocation *in)
{
        CLEANUP(buf_deinit)
        struct buf body = {0};
        buf_text(&body, "{");
        int r = add_limit(in, "concurrency", &body);
        r = r ? r : add_limit(in, "global", &body);
        if (r == 0 && body.n == 1) {
                r = say_usage(in, "--concurrency or --global is missing");
        }
        buf_text(&body, "}");
        return r ? r : each_queue(in, "PATCH", "", &body);
}
