/*
 * Operations over many jobs: requeue, purge, cancel by filter. The server carries them out page by
 * page; here they are begun, followed and stopped. Ctrl-C leaves a running one to the server: it
 * says its number before it follows it.
 */
#include "cli/ask.h"
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOK_EVERY_MS 300

static const struct column operation_columns[] = {{"id", "id", CELL_TEXT},
                                                  {"kind", "kind", CELL_TEXT},
                                                  {"done", "done", CELL_COUNT},
                                                  {"asked", "asked", CELL_COUNT},
                                                  {"died_again", "died_again", CELL_COUNT},
                                                  {"over", "over", CELL_YES_NO},
                                                  {"begun_at", "begun_at", CELL_TIME},
                                                  {"over_at", "over_at", CELL_TIME},
                                                  {"note", "note", CELL_TEXT, true},
                                                  {NULL}};

static uint64_t count_of(const json_t *o, const char *name)
{
        return (uint64_t)json_integer_value(json_object_get(o, name));
}

static int add_options(struct invocation *in, struct buf *json)
{
        static const struct {
                const char *flag;
                long max;
        } numbers[] = {{"rate", 1000000}, {"limit", 1000000000}};
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
                long n;
                int r = invocation_number(in, numbers[i].flag, 1, numbers[i].max, 0, &n);
                if (r) {
                        return r;
                }
                if (n) {
                        buf_printf(json, ",\"%s\":%ld", numbers[i].flag, n);
                }
        }
        const char *stop = invocation_get(in, "stop-when");
        if (stop) {
                struct str text = str_of(stop);
                double share;
                char end;
                if (sscanf(stop, "%lf%c", &share, &end) != 1 || share < 0 || share > 1) {
                        return say_usage(in, "--stop-when %s is not a share from 0 (never) to 1",
                                         stop);
                }
                buf_printf(json, ",\"stop_when\":%.*s", (int)text.n, text.p);
        }
        return 0;
}

static int request_body(struct invocation *in, struct buf *json)
{
        bool any, all = invocation_has(in, "all"), dry = invocation_has(in, "dry-run");
        buf_text(json, "{\"filter\":");
        int r = filter_object(in, json, &any);
        if (r) {
                return r;
        }
        if (!any && !all) {
                return say_usage(in,
                                 "say which jobs (--type, --queue, --error, --fingerprint, --tag, "
                                 "--since, --before), or --all");
        }
        buf_printf(json, ",\"all\":%s,\"dry_run\":%s", all ? "true" : "false",
                   dry ? "true" : "false");
        r = add_options(in, json);
        buf_text(json, "}");
        return r;
}

/* Looks at it until it is over. 0 or an exit code; *operation is then the last look. */
static int follow(struct client *c, const char *id, struct response *answer, json_t **operation)
{
        CLEANUP(buf_deinit)
        struct buf path = {0};
        struct progress bar;
        path_of(&path, "/v1/operations/", id, "");
        progress_start(&bar, "jobs", 0);
        int r = 0;
        while (r == 0 && !json_is_true(json_object_get(*operation, "over"))) {
                sleep_ms(LOOK_EVERY_MS);
                json_cleanup(operation);
                response_deinit(answer);
                *answer = (struct response){0};
                r = fetch_json(c, buf_z(&path), NULL, answer, operation);
                progress_tell(&bar, count_of(*operation, "done"), 0);
        }
        progress_clear(&bar);
        return r;
}

static int tell_end(struct invocation *in, const char *verb, const struct response *answer,
                    const json_t *operation)
{
        const char *note = pick_text(operation, "note");
        bool stopped = note && *note;
        if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                print_answer(answer);
        } else {
                printf("%" PRIu64 " jobs %s", count_of(operation, "done"), verb);
                if (count_of(operation, "asked")) {
                        printf(", %" PRIu64 " of them run and were asked to stop",
                               count_of(operation, "asked"));
                }
                if (count_of(operation, "died_again")) {
                        printf(", %" PRIu64 " died again", count_of(operation, "died_again"));
                }
                puts("");
        }
        if (stopped) {
                say("it stopped before its end: %s", note);
        }
        return stopped ? EXIT_REFUSED : 0;
}

int operation_run(struct invocation *in, const char *path, const char *verb)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(buf_deinit)
        struct buf body = {0};
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        int r = request_body(in, &body);
        r = r ? r : client_open(in, &c);
        r = r ? r : ask_json(c, "POST", path, &body, NULL, &answer, &root);
        if (r) {
                return r;
        }
        if (invocation_has(in, "dry-run")) {
                if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                        print_answer(&answer);
                } else {
                        printf("%" PRIu64 " jobs would be %s\n", count_of(root, "count"), verb);
                }
                return 0;
        }
        CLEANUP(free_text)
        char *id = text_copy(pick_text(root, "id") ? pick_text(root, "id") : "?");
        say("operation %s; `skep operations stop %s` ends it", id, id);
        r = follow(c, id, &answer, &root);
        return r ? r : tell_end(in, verb, &answer, root);
}

int operations_ls_run(struct invocation *in)
{
        return list_run(in, "/v1/operations", "operations", operation_columns, operation_columns);
}

int operations_stop_run(struct invocation *in)
{
        CLEANUP(buf_deinit)
        struct buf path = {0};
        path_of(&path, "/v1/operations/", in->args[0], "");
        return ask_row(in, "DELETE", buf_z(&path), NULL, in->args[0], operation_columns);
}
