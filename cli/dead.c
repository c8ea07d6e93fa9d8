/*
 * `skep dead`: what died, why, and what to do with it.
 *
 * An export holds a job a line, as `jobs show -o json` has it, with its payload's own bytes. An
 * import makes new jobs of such lines: each names the one that it comes from as its parent, and its
 * key is made from that one's id, so that importing a file twice makes its jobs once.
 */
#include "cli/ask.h"
#include "http/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE_JOBS 200
#define LINE_MAX  ((size_t)128 << 20)

static const struct column group_people[] = {{"count", "count", CELL_COUNT},
                                             {"queue", "queue", CELL_TEXT},
                                             {"type", "type", CELL_TEXT},
                                             {"error", "error", CELL_TEXT},
                                             {"first", "first_at", CELL_TIME},
                                             {"last", "last_at", CELL_TIME},
                                             {"fingerprint", "fingerprint", CELL_TEXT},
                                             {"text", "text", CELL_TEXT, true},
                                             {NULL}};

static const struct column group_pipe[] = {{"count", "count", CELL_COUNT},
                                           {"queue", "queue", CELL_TEXT},
                                           {"type", "type", CELL_TEXT},
                                           {"error", "error", CELL_TEXT},
                                           {"reason", "reason", CELL_TEXT},
                                           {"fingerprint", "fingerprint", CELL_TEXT},
                                           {"first_at", "first_at", CELL_TIME},
                                           {"last_at", "last_at", CELL_TIME},
                                           {"sample", "sample", CELL_TEXT},
                                           {"text", "text", CELL_TEXT},
                                           {NULL}};

int dead_ls_run(struct invocation *in)
{
        return jobs_list(in, "/v1/jobs?state=dead");
}

int dead_groups_run(struct invocation *in)
{
        CLEANUP(buf_deinit)
        struct buf path = {0};
        buf_text(&path, "/v1/dead/groups");
        int r = filter_query(in, &path);
        return r ? r : list_run(in, buf_z(&path), "groups", group_people, group_pipe);
}

int dead_requeue_run(struct invocation *in)
{
        return operation_run(in, "/v1/dead/requeue", "requeued");
}

int dead_purge_run(struct invocation *in)
{
        return operation_run(in, "/v1/dead/purge", "purged");
}

/* --- export ----------------------------------------------------------------------------------- */

/* The members of the answer's list, as the bytes that came. */
static bool write_jobs(const struct response *answer, uint64_t *count)
{
        struct str list;
        struct json_fault fault;
        struct json_walk walk;
        struct json_item item;
        if (!response_member(answer, "jobs", &list) || json_walk_begin(&walk, list, &fault) != 0) {
                return false;
        }
        while (json_walk_next(&walk, &item, &fault) == 0) {
                fwrite(item.value.p, 1, item.value.n, stdout);
                putchar('\n');
                ++*count;
        }
        return true;
}

static int export_pages(struct client *c, struct buf *path, uint64_t *count)
{
        while (path->n) {
                CLEANUP(response_deinit)
                struct response answer = {0};
                CLEANUP(json_cleanup)
                json_t *root = NULL;
                int r = fetch_json(c, buf_z(path), NULL, &answer, &root);
                if (r) {
                        return r;
                }
                if (!write_jobs(&answer, count)) {
                        say("the answer of %s has no list of jobs", client_url(c));
                        return EXIT_UNREACHABLE;
                }
                buf_reset(path);
                if (answer.next) {
                        buf_text(path, answer.next);
                }
        }
        if (fflush(stdout) || ferror(stdout)) {
                say("standard output: %s", strerror(errno));
                return EXIT_SYSTEM;
        }
        return 0;
}

int dead_export_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(buf_deinit)
        struct buf path = {0};
        uint64_t count = 0;
        buf_printf(&path, "/v1/jobs?state=dead&whole=true&limit=%d", PAGE_JOBS);
        int r = filter_query(in, &path);
        r = r ? r : client_open(in, &c);
        r = r ? r : export_pages(c, &path, &count);
        if (r == 0) {
                say("%" PRIu64 " jobs", count);
        }
        return r;
}

/* --- import, edit ----------------------------------------------------------------------------- */

/* Members of a job that a new one takes over as they are. */
static bool taken_over(struct str name)
{
        static const char *const names[] = {
            "type", "queue",   "priority", "max_attempts",   "timeout",      "heartbeat",
            "tags", "headers", "payload",  "payload_base64", "content_type", "retry"};
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                if (str_eq(name, str_of(names[i]))) {
                        return true;
                }
        }
        return false;
}

static bool replaced(struct str name, const char *const *without)
{
        for (; without && *without; without++) {
                if (str_eq(name, str_of(*without))) {
                        return true;
                }
        }
        return false;
}

/* A submission with what the exported job has, but for the members `without`; *ret_id is its id.
 * Not closed with a brace. false: no such object. */
static bool resubmission(struct str job, const char *const *without, struct buf *json,
                         struct str *ret_id)
{
        struct json_fault fault;
        struct json_walk walk;
        struct json_item item;
        *ret_id = (struct str){0};
        if (json_check(job, &fault) != 0 || json_walk_begin(&walk, job, &fault) != 0 ||
            !walk.object) {
                return false;
        }
        buf_text(json, "{");
        while (json_walk_next(&walk, &item, &fault) == 0) {
                if (str_eq(item.name, STR("id")) && item.value.n > 2) {
                        *ret_id = (struct str){item.value.p + 1, item.value.n - 2};
                } else if (taken_over(item.name) && !replaced(item.name, without)) {
                        buf_printf(json, "%s\"%.*s\":", json->n > 1 ? "," : "", (int)item.name.n,
                                   item.name.p);
                        buf_add(json, item.value.p, item.value.n);
                }
        }
        buf_printf(json, "%s\"parent_id\":\"%.*s\"", json->n > 1 ? "," : "", (int)ret_id->n,
                   ret_id->p ? ret_id->p : "");
        return ret_id->n > 0;
}

static int convert_line(const char *file, uint64_t number, struct str line, FILE *out)
{
        CLEANUP(buf_deinit)
        struct buf json = {0};
        struct str id;
        if (!resubmission(line, NULL, &json, &id)) {
                say("%s, line %" PRIu64
                    ": not a job as `skep dead export` writes it: a JSON object "
                    "with its id",
                    file, number);
                return EXIT_REFUSED;
        }
        buf_printf(&json, ",\"key\":\"import:%.*s\"}\n", (int)id.n, id.p);
        if (fwrite(buf_z(&json), 1, json.n, out) != json.n) {
                say("a temporary file: %s", strerror(errno));
                return EXIT_SYSTEM;
        }
        return 0;
}

static int convert_file(const char *file, FILE *from, FILE *out)
{
        char *line = NULL;
        size_t room = 0;
        ssize_t n;
        int r = 0;
        for (uint64_t number = 1; r == 0 && (n = getline(&line, &room, from)) >= 0; number++) {
                while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) {
                        n--;
                }
                if ((size_t)n > LINE_MAX) {
                        say("%s, line %" PRIu64 ": longer than %zu MiB", file, number,
                            LINE_MAX >> 20);
                        r = EXIT_REFUSED;
                } else if (n > 0) {
                        r = convert_line(file, number, (struct str){line, (uint32_t)n}, out);
                }
        }
        free(line);
        if (r == 0 && (ferror(from) || fflush(out))) {
                say("%s: %s", file, strerror(errno));
                r = EXIT_NO_INPUT;
        }
        return r;
}

/* The whole file is looked at before anything of it is sent. */
int dead_import_run(struct invocation *in)
{
        const char *file = in->args[0];
        bool is_stdin = strcmp(file, "-") == 0;
        FILE *from = is_stdin ? stdin : fopen(file, "re");
        if (!from) {
                say("%s: %s", file, strerror(errno));
                return EXIT_NO_INPUT;
        }
        FILE *out = tmpfile();
        int r = EXIT_SYSTEM;
        if (!out) {
                say("a temporary file: %s", strerror(errno));
        } else {
                r = convert_file(is_stdin ? "standard input" : file, from, out);
        }
        if (r == 0) {
                CLEANUP(free_text)
                char *path = text_printf("/proc/self/fd/%d", fileno(out));
                r = feed_run(in, path);
        }
        if (out) {
                fclose(out);
        }
        if (!is_stdin) {
                fclose(from);
        }
        return r;
}

/* Members that flags replace. */
static const char *const *edited_members(struct invocation *in, const char *names[static 16])
{
        static const char *const flags[][2] = {
            {"queue", "queue"},     {"priority", "priority"},   {"max-attempts", "max_attempts"},
            {"timeout", "timeout"}, {"heartbeat", "heartbeat"}, {"retry", "retry"},
            {"tag", "tags"},        {"header", "headers"}};
        size_t n = 0;
        names[n++] = "type"; /* job_object() writes it */
        for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
                if (invocation_has(in, flags[i][0])) {
                        names[n++] = flags[i][1];
                }
        }
        if (in->n_args > 1) {
                names[n++] = "payload";
                names[n++] = "payload_base64";
                names[n++] = "content_type";
        }
        names[n] = NULL;
        return names;
}

/* The new job: what the flags say, then what they leave of the old one. */
static int edited_job(struct invocation *in, const struct response *old, const json_t *job,
                      struct buf *json)
{
        const char *names[16];
        const char *type = invocation_get(in, "type");
        CLEANUP(buf_deinit)
        struct buf rest = {0};
        struct str id;
        if (!pick_text(job, "type") ||
            !resubmission((struct str){buf_z(&old->body), (uint32_t)old->body.n},
                          edited_members(in, names), &rest, &id)) {
                say("the answer is not a job");
                return EXIT_UNREACHABLE;
        }
        int r = job_object(in, type ? type : pick_text(job, "type"),
                           in->n_args > 1 ? in->args[1] : NULL, NULL, json);
        if (r == 0) {
                json->n--; /* its brace */
                buf_printf(json, ",%s}", buf_z(&rest) + 1);
        }
        return r;
}

int dead_edit_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(buf_deinit)
        struct buf path = {0};
        CLEANUP(buf_deinit)
        struct buf json = {0};
        CLEANUP(response_deinit)
        struct response old = {0};
        CLEANUP(json_cleanup)
        json_t *job = NULL;
        CLEANUP(free_text)
        char *about = text_printf("job %s", in->args[0]);
        path_of(&path, "/v1/jobs/", in->args[0], "");
        int r = client_open(in, &c);
        r = r ? r : fetch_json(c, buf_z(&path), about, &old, &job);
        const char *state = pick_text(job, "state");
        if (r == 0 && (!state || (strcmp(state, "dead") != 0 && strcmp(state, "cancelled") != 0))) {
                say("job %s is %s; only dead and cancelled ones can be edited", in->args[0],
                    state ? state : "?");
                return EXIT_REFUSED;
        }
        r = r ? r : edited_job(in, &old, job, &json);
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *fresh = NULL;
        r = r ? r : ask_json(c, "POST", "/v1/jobs", &json, NULL, &answer, &fresh);
        if (r == 0) {
                r = print_created(in, &answer, fresh);
        }
        return r;
}
