/*
 * `skep explain`, `skep reconcile`, `skep workers resize`: questions to the node.
 */
#include "cli/ask.h"

#include <stdio.h>
#include <stdlib.h>

static int explain_one(struct invocation *in, struct client *c, const char *id)
{
        CLEANUP(buf_deinit)
        struct buf path = {0};
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        CLEANUP(free_text)
        char *about = text_printf("job %s", id);
        path_of(&path, "/v1/jobs/", id, "/explain");
        int r = fetch_json(c, buf_z(&path), about, &answer, &root);
        if (r) {
                return r;
        }
        if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                print_answer(&answer);
                return 0;
        }
        CLEANUP(free_text)
        char *safe = text_safe(pick_text(root, "sentence") ? pick_text(root, "sentence") : "?");
        puts(safe);
        return 0;
}

int explain_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        int r = client_open(in, &c);
        for (int i = 0; r == 0 && i < in->n_args; i++) {
                r = explain_one(in, c, in->args[i]);
        }
        return r;
}

static const struct column reconcile_columns[] = {{"queue", "queue", CELL_TEXT},
                                                  {"looked", "looked", CELL_YES_NO},
                                                  {"found", "found", CELL_COUNT},
                                                  {"why", "why", CELL_TEXT, true},
                                                  {NULL}};

#define RECONCILE_MS 70000 /* the server gives up after a minute */

int reconcile_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(response_deinit)
        struct response answer = {0};
        struct request rq = {.method = "POST", .path = "/v1/reconcile", .timeout_ms = RECONCILE_MS};
        int r = client_open(in, &c);
        if (r) {
                return r;
        }
        r = client_call(c, &rq, &answer);
        if (r) {
                return client_say_failure(c, r);
        }
        if (answer.status / 100 != 2) {
                return client_say_problem(&answer, NULL);
        }
        CLEANUP(json_cleanup)
        json_t *root = json_loadb(buf_z(&answer.body), answer.body.n, JSON_ALLOW_NUL, NULL);
        const json_t *list = list_of(root, "queues");
        size_t i;
        json_t *queue;
        bool all = true;
        json_array_foreach((json_t *)list, i, queue)
        {
                all &= json_is_true(json_object_get(queue, "looked"));
        }
        r = print_list(in, &answer, list, reconcile_columns, reconcile_columns);
        if (r == 0 && !all) {
                say("not every queue could be looked at; the column WHY tells");
                return EXIT_LATER;
        }
        return r;
}

static const struct column resize_columns[] = {
    {"workers", "workers", CELL_COUNT}, {"configured", "configured", CELL_COUNT}, {NULL}};

int workers_resize_run(struct invocation *in)
{
        CLEANUP(buf_deinit)
        struct buf body = {0};
        const char *text = in->args[0];
        char *end;
        long n = strtol(text, &end, 10);
        bool configured = strcmp(text, "default") == 0;
        if (!configured && (end == text || *end || n < 1 || n > 256)) {
                return say_usage(in, "%s is no number of workers; 1 to 256, or default", text);
        }
        if (configured) {
                buf_text(&body, "{\"workers\":null}");
        } else {
                buf_printf(&body, "{\"workers\":%ld}", n);
        }
        return ask_row(in, "POST", "/v1/workers", &body, NULL, resize_columns);
}
