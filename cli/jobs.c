/*
 * `skep jobs ls|retry|cancel`.
 *
 * A listing is written page by page as it comes; only a terminal's table is gathered, a page at a
 * time. What is asked of many jobs goes on after a refusal and tells of each: half a list of ids
 * done in silence would be worse.
 */
#include "cli/ask.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "core/config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_JOBS 1000

const struct column job_columns_people[] = {
    {"id", "id", CELL_TEXT},
    {"state", "state", CELL_STATE},
    {"reason", "reason", CELL_TEXT},
    {"type", "type", CELL_TEXT},
    {"queue", "queue", CELL_TEXT},
    {"try", "attempt", CELL_COUNT},
    {"of", "max_attempts", CELL_COUNT},
    {"created", "created_at", CELL_TIME},
    {"due", "run_at", CELL_TIME},
    {"error", ERROR_TEXT_FIELDS, CELL_TEXT, .wide = true},
    {NULL},
};

const struct column job_columns_pipe[] = {
    {"id", "id", CELL_TEXT},
    {"state", "state", CELL_STATE},
    {"reason", "reason", CELL_TEXT},
    {"type", "type", CELL_TEXT},
    {"queue", "queue", CELL_TEXT},
    {"priority", "priority", CELL_COUNT},
    {"attempt", "attempt", CELL_COUNT},
    {"max_attempts", "max_attempts", CELL_COUNT},
    {"created_at", "created_at", CELL_TIME},
    {"run_at", "run_at", CELL_TIME},
    {"started_at", "started_at", CELL_TIME},
    {"finished_at", "finished_at", CELL_TIME},
    {"key", "key", CELL_TEXT},
    {"tags", "tags", CELL_TEXT},
    {"error_class", ERROR_CLASS_FIELDS, CELL_TEXT},
    {"error_text", ERROR_TEXT_FIELDS, CELL_TEXT},
    {NULL},
};

/* --- ls --------------------------------------------------------------------------------------- */

static int list_path(struct invocation *in, long page, struct buf *path)
{
        CLEANUP(free_text)
        char *limit = text_printf("%ld", page);
        query_add(path, "limit", limit);
        return filter_query(in, path);
}

struct listing {
        struct invocation *in;
        struct table *table;
        long left; /* jobs still wanted; LONG_MAX: all */
        size_t printed;
        bool wrapped; /* the API's shape is an object around the array */
        char *member; /* its name */
};

static void print_json_item(struct listing *l, const json_t *job)
{
        if (l->in->output == OUTPUT_JSON && l->printed) {
                printf(",");
        }
        print_json(job, JSON_COMPACT);
}

static void print_item(struct listing *l, const json_t *job)
{
        const char *id = pick_text(job, "id");
        switch (l->in->output) {
        case OUTPUT_JSON:
        case OUTPUT_NDJSON: print_json_item(l, job); break;
        case OUTPUT_ID: {
                CLEANUP(free_text)
                char *safe = text_safe(id ? id : "?");
                puts(safe);
                break;
        }
        default: table_add(l->table, job);
        }
        l->printed++;
        l->left -= l->left != LONG_MAX;
}

/* After the first page came: a failure before prints nothing. */
static void begin_list(struct listing *l, const json_t *answer, const json_t *list)
{
        const char *name;
        json_t *value;
        if (l->in->output <= OUTPUT_TSV) {
                bool people = table_for_people(l->in->output);
                l->table = table_new(people ? job_columns_people : job_columns_pipe, people);
        }
        if (l->in->output != OUTPUT_JSON) {
                return;
        }
        l->wrapped = json_is_object(answer);
        json_object_foreach((json_t *)answer, name, value)
        {
                if (value == list) {
                        l->member = text_copy(name);
                }
        }
        if (l->wrapped) {
                printf("{\"%s\":", l->member);
        }
        puts("[");
}

/* One page; its Link goes to *path, which is emptied when there is none. */
static int list_page(struct listing *l, struct client *c, struct buf *path, bool first)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *o = NULL;
        int r = fetch_json(c, buf_z(path), NULL, &answer, &o);
        if (r) {
                return r;
        }
        const json_t *list = list_of(o, "jobs"), *job;
        if (!list) {
                say("the answer of %s has no list of jobs", client_url(c));
                return EXIT_UNREACHABLE;
        }
        if (first) {
                begin_list(l, o, list);
        }
        for (size_t i = 0; i < json_array_size(list) && l->left > 0; i++) {
                job = json_array_get(list, i);
                print_item(l, job);
        }
        buf_reset(path);
        if (answer.next && json_array_size(list) > 0) {
                buf_text(path, answer.next);
        }
        if (l->table) {
                table_flush(l->table);
        }
        return 0;
}

static int list_pages(struct listing *l, struct client *c, struct buf *path)
{
        int r = list_page(l, c, path, true);
        bool begun = r == 0;
        while (r == 0 && path->n > 0 && l->left > 0) {
                r = list_page(l, c, path, false);
        }
        if (begun && l->in->output == OUTPUT_JSON) {
                puts(l->wrapped ? "]}" : "]");
        }
        l->table = table_free(l->table);
        free_text(&l->member);
        return r;
}

/* LONG_MAX: all. */
static int read_limit(struct invocation *in, long *ret_limit)
{
        if (!invocation_has(in, "all")) {
                return invocation_number(in, "limit", 1, 1000000000, 50, ret_limit);
        }
        if (invocation_has(in, "limit")) {
                return say_usage(in, "--all and --limit exclude each other");
        }
        *ret_limit = LONG_MAX;
        return 0;
}

int jobs_list(struct invocation *in, const char *from)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(buf_deinit)
        struct buf path = {0};
        buf_text(&path, from);
        struct listing l = {.in = in};
        int r = read_limit(in, &l.left);
        r = r ? r : list_path(in, l.left > PAGE_JOBS ? PAGE_JOBS : l.left, &path);
        r = r ? r : client_open(in, &c);
        r = r ? r : list_pages(&l, c, &path);
        if (r == 0 && path.n > 0 && table_for_people(in->output)) {
                say("there are more: --all, or --limit N");
        }
        return r;
}

int jobs_ls_run(struct invocation *in)
{
        return jobs_list(in, "/v1/jobs");
}

/* --- retry, cancel ---------------------------------------------------------------------------- */

struct change {
        struct invocation *in;
        struct client *client;
        struct table *table;
        const char *method, *suffix;
        bool dry_run;
        int worst; /* exit code */
};

static const struct column change_columns[] = {
    {"id", "id", CELL_TEXT}, {"state", "state", CELL_STATE}, {"done", "done", CELL_TEXT}, {NULL}};

static const char *describe_change(const struct change *ch, long status, const char *state)
{
        bool cancel = !ch->suffix[0];
        if (ch->dry_run) {
                bool ended = strcmp(state, "completed") == 0 || strcmp(state, "dead") == 0 ||
                             strcmp(state, "cancelled") == 0;
                return ended                           ? "nothing: it has ended"
                       : strcmp(state, "running") == 0 ? "would be asked to stop"
                                                       : "would be cancelled";
        }
        if (cancel) {
                return status == 202 ? "asked to stop" : "cancelled";
        }
        return "to be run again";
}

static void print_change(struct change *ch, const char *id, const struct response *r)
{
        CLEANUP(json_cleanup)
        json_t *o = json_loadb(buf_z(&r->body), r->body.n, JSON_ALLOW_NUL, NULL);
        const char *state = pick_text(o, "state");
        switch (ch->in->output) {
        case OUTPUT_JSON:
        case OUTPUT_NDJSON:
                if (r->body.n > 0) {
                        print_answer(r);
                }
                return;
        case OUTPUT_ID: puts(id); return;
        default: break;
        }
        CLEANUP(json_cleanup)
        json_t *row = json_pack("{s:s, s:s, s:s}", "id", id, "state", state ? state : "?", "done",
                                describe_change(ch, r->status, state ? state : "?"));
        table_add(ch->table, row);
}

static int change_one(struct change *ch, const char *id)
{
        CLEANUP(buf_deinit)
        struct buf path = {0};
        CLEANUP(response_deinit)
        struct response answer = {0};
        buf_text(&path, "/v1/jobs/");
        url_add(&path, id, strlen(id));
        buf_text(&path, ch->dry_run ? "" : ch->suffix);
        struct request rq = {.method = ch->dry_run ? NULL : ch->method, .path = buf_z(&path)};
        int r = client_call(ch->client, &rq, &answer);
        if (r) {
                return client_say_failure(ch->client, r); /* the rest would fare alike */
        }
        if (answer.status / 100 != 2) {
                CLEANUP(free_text)
                char *about = text_printf("job %s", id);
                int code = client_say_problem(&answer, about);
                ch->worst = ch->worst ? ch->worst : code;
                return code == EXIT_AUTH || code == EXIT_LATER ? code : 0;
        }
        print_change(ch, id, &answer);
        return 0;
}

/* Ids on stdin, one a line: the first field of what `jobs ls` writes to a pipe, header included. */
static int change_listed(struct change *ch)
{
        char line[4096];
        int r = 0;
        while (r == 0 && fgets(line, sizeof line, stdin)) {
                line[strcspn(line, " \t\r\n")] = 0;
                if (line[0] && strcmp(line, "id") != 0) {
                        r = change_one(ch, line);
                }
        }
        if (r == 0 && ferror(stdin)) {
                say("standard input: %s", strerror(errno));
                return EXIT_NO_INPUT;
        }
        return r;
}

static int change_all(struct invocation *in, const char *method, const char *suffix, bool dry_run)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        int r = client_open(in, &c);
        if (r) {
                return r;
        }
        struct change ch = {
            .in = in, .client = c, .method = method, .suffix = suffix, .dry_run = dry_run};
        if (in->output <= OUTPUT_TSV) {
                ch.table = table_new(change_columns, table_for_people(in->output));
        }
        for (int i = 0; i < in->n_args && r == 0; i++) {
                r = strcmp(in->args[i], "-") == 0 ? change_listed(&ch)
                                                  : change_one(&ch, in->args[i]);
        }
        table_free(ch.table);
        return r ? r : ch.worst;
}

int jobs_retry_run(struct invocation *in)
{
        return change_all(in, "POST", "/retry", false);
}

int jobs_cancel_run(struct invocation *in)
{
        if (in->n_args == 0) {
                return operation_run(in, "/v1/jobs/cancel", "cancelled");
        }
        return change_all(in, "DELETE", "", invocation_has(in, "dry-run"));
}
