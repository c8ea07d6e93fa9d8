/*
 * `skep jobs show`: one job as a record that people read.
 *
 * Known members come first, in an order of their own; every other scalar follows under its own
 * name, so that a newer server's fields are not swallowed. Payload and result are printed as the
 * bytes that the server sent.
 */
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "http/base64.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LABEL_WIDTH 13

static const struct column known[] = {
    {"id", "id", CELL_TEXT},
    {"type", "type", CELL_TEXT},
    {"queue", "queue", CELL_TEXT},
    {"state", "state", CELL_STATE},
    {"reason", "reason", CELL_TEXT},
    {"key", "key", CELL_TEXT},
    {"priority", "priority", CELL_TEXT},
    {"attempt", "attempt", CELL_TEXT},
    {"max attempts", "max_attempts", CELL_TEXT},
    {"created", "created_at", CELL_TIME},
    {"due", "run_at", CELL_TIME},
    {"deadline", "deadline", CELL_TIME},
    {"started", "started_at", CELL_TIME},
    {"finished", "finished_at", CELL_TIME},
    {"time-out", "timeout", CELL_DURATION},
    {"tags", "tags", CELL_TEXT},
    {NULL},
};

static bool is_listed(const char *name)
{
        static const char *const elsewhere[] = {"attempts", "payload",      "payload_base64",
                                                "result",   "headers",      "result_base64",
                                                "error",    "content_type", "result_type"};
        for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
                if (strcmp(elsewhere[i], name) == 0) {
                        return true;
                }
        }
        for (const struct column *c = known; c->head; c++) {
                if (strcmp(c->fields, name) == 0) {
                        return true;
                }
        }
        return false;
}

static void print_field(const char *label, const char *value, const char *colour)
{
        static const char *const sgr[][2] = {{"green", "32"}, {"red", "31"},    {"magenta", "35"},
                                             {"cyan", "36"},  {"yellow", "33"}, {"blue", "34"}};
        CLEANUP(free_text)
        char *safe_label = text_safe(label), *safe = text_safe(value);
        const char *code = NULL;
        for (size_t i = 0; colour && i < ARRAY_LEN(sgr); i++) {
                code = strcmp(sgr[i][0], colour) == 0 ? sgr[i][1] : code;
        }
        if (code && colours_wanted(stdout)) {
                printf("%-*s \033[%sm%s\033[0m\n", LABEL_WIDTH, safe_label, code, safe);
        } else {
                printf("%-*s %s\n", LABEL_WIDTH, safe_label, safe);
        }
}

static void print_known(const json_t *job)
{
        for (const struct column *c = known; c->head; c++) {
                CLEANUP(free_text)
                char *text = cell_text(c, job, false);
                int64_t us;
                if (!*text) {
                        continue;
                }
                if (c->kind == CELL_TIME && time_parse(text, &us)) {
                        CLEANUP(buf_deinit)
                        struct buf when = {0};
                        time_local(&when, us);
                        buf_text(&when, " (");
                        age_format(&when, us, wall_us());
                        buf_text(&when, ")");
                        print_field(c->head, buf_z(&when), NULL);
                } else {
                        print_field(c->head, text,
                                    c->kind == CELL_STATE ? state_colour(text) : NULL);
                }
        }
}

static void print_others(const json_t *job)
{
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)job, name, value)
        {
                bool dull = json_is_null(value) || json_is_false(value) ||
                            (json_is_integer(value) && json_integer_value(value) == 0);
                if (!is_listed(name) && !dull && !json_is_object(value) && !json_is_array(value)) {
                        CLEANUP(buf_deinit)
                        struct buf label = {0};
                        buf_text(&label, name);
                        for (size_t i = 0; i < label.n; i++) {
                                label.p[i] = label.p[i] == '_' ? ' ' : label.p[i];
                        }
                        struct column c = {name, name, CELL_TEXT};
                        CLEANUP(free_text)
                        char *text = cell_text(&c, job, false);
                        print_field(buf_z(&label), text, NULL);
                }
        }
}

static void print_headers(const json_t *job)
{
        const char *name;
        json_t *value;
        const char *label = "headers";
        json_object_foreach(json_object_get(job, "headers"), name, value)
        {
                const char *text = json_string_value(value);
                CLEANUP(free_text)
                char *line = text_printf("%s: %s", name, text ? text : "?");
                print_field(label, line, NULL);
                label = "";
        }
}

/* Text of many lines, each behind `indent`. */
static void print_indented(const char *text, size_t n, const char *indent)
{
        CLEANUP(buf_deinit)
        struct buf safe = {0};
        text_escape(&safe, text, n, ESCAPE_BLOCK);
        for (const char *p = buf_z(&safe); *p;) {
                int len = (int)strcspn(p, "\n");
                printf("%s%.*s\n", indent, len, p);
                p += len + (p[len] == '\n');
        }
}

static void print_attempt(const json_t *a)
{
        static const struct column columns[] = {
            {"worker", "worker", CELL_TEXT}, {"pid", "pid", CELL_TEXT},
            {"node", "node", CELL_TEXT},     {"claim", "claim", CELL_TEXT},
            {"build", "build", CELL_TEXT},   {NULL}};
        CLEANUP(buf_deinit)
        struct buf line = {0};
        const char *class = pick_text(a, "class");
        const char *text = pick_text(a, "text");
        const char *started = pick_text(a, "started_at"), *ended = pick_text(a, "ended_at");
        int64_t from, to;
        buf_printf(&line, "  %3lld  %-10s", (long long)json_integer_value(pick(a, "attempt")),
                   class ? class : "");
        if (started && time_parse(started, &from)) {
                buf_text(&line, "  ");
                time_local(&line, from);
                if (ended && time_parse(ended, &to) && to >= from) {
                        buf_text(&line, "  ran ");
                        span_format(&line, to - from);
                }
        }
        for (const struct column *c = columns; c->head; c++) {
                CLEANUP(free_text)
                char *value = cell_text(c, a, false);
                if (*value) {
                        buf_printf(&line, "  %s %s", c->head, value);
                }
        }
        CLEANUP(free_text)
        char *safe = text_safe(buf_z(&line));
        puts(safe);
        if (text && *text) {
                print_indented(text, strlen(text), "         ");
        }
}

/* The tries that failed. The last error ended the job unless it is among those that did not. */
static void print_attempts(const json_t *job)
{
        const json_t *attempts = json_object_get(job, "attempts"),
                     *last = json_object_get(job, "error");
        size_t n = json_array_size(attempts);
        bool apart = json_is_object(last);
        if (n > 0 || apart) {
                puts("failed tries");
        }
        for (size_t i = 0; i < n; i++) {
                const json_t *a = json_array_get(attempts, i);
                print_attempt(a);
                if (json_equal(pick(a, "claim"), pick(last, "claim"))) {
                        apart = false;
                }
        }
        if (apart) {
                print_attempt(last);
        }
}

static void print_blob(const struct response *r, const json_t *job, const char *name,
                       const char *type)
{
        CLEANUP(free_text)
        char *encoded_name = text_printf("%s_base64", name);
        const json_t *encoded = pick(job, encoded_name);
        struct str raw = {0};
        CLEANUP(free_text)
        char *bytes = NULL;
        if (json_is_string(encoded)) {
                struct str text = {json_string_value(encoded),
                                   (uint32_t)json_string_length(encoded)};
                bytes = text_alloc(text.n + 1);
                uint32_t n = 0;
                if (!base64_decode(text, bytes, &n)) {
                        return;
                }
                raw = (struct str){bytes, n};
        } else if (!response_member(r, name, &raw) || str_eq(raw, STR("null"))) {
                return;
        }
        CLEANUP(free_text)
        char *safe_type = text_safe(type ? type : "application/json");
        printf("%-*s %s, %u bytes\n", LABEL_WIDTH, name, safe_type, raw.n);
        print_indented(raw.p, raw.n, "  ");
}

void print_job(const struct response *r, const json_t *job)
{
        print_known(job);
        print_others(job);
        print_headers(job);
        print_attempts(job);
        print_blob(r, job, "payload", pick_text(job, "content_type"));
        print_blob(r, job, "result", pick_text(job, "result_type"));
}

/* /v1/jobs/ID, or /v1/jobs/key:KEY?queue=Q */
static void show_path(struct invocation *in, const char *id, struct buf *path)
{
        const char *queue = invocation_get(in, "queue");
        buf_text(path, "/v1/jobs/");
        if (strncmp(id, "key:", 4) == 0) {
                buf_text(path, "key:");
                id += 4;
        }
        url_add(path, id, strlen(id));
        if (queue) {
                buf_text(path, "?queue=");
                url_add(path, queue, strlen(queue));
        }
}

static int show_one(struct invocation *in, struct client *c, const char *id)
{
        CLEANUP(buf_deinit)
        struct buf path = {0};
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *job = NULL;
        CLEANUP(free_text)
        char *about = text_printf("job %s", id);
        show_path(in, id, &path);
        int r = fetch_json(c, buf_z(&path), about, &answer, &job);
        if (r) {
                return r;
        }
        if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                print_answer(&answer);
        } else {
                print_job(&answer, job);
        }
        return 0;
}

int jobs_show_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        int r = client_open(in, &c), worst = 0;
        for (int i = 0; i < in->n_args && r == 0; i++) {
                if (i > 0 && in->output == OUTPUT_AUTO) {
                        putchar('\n');
                }
                int one = show_one(in, c, in->args[i]);
                worst = worst ? worst : one;
                r = one == EXIT_UNREACHABLE || one == EXIT_AUTH ? one : 0;
        }
        return r ? r : worst;
}
