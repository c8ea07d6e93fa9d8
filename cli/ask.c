/*
 * What the verbs of operators share. See ask.h.
 */
#include "cli/ask.h"
#include "core/config.h"

#include <stdio.h>
#include <stdlib.h>

int ask_json(struct client *c, const char *method, const char *path, const struct buf *body,
             const char *about, struct response *ret, json_t **ret_json)
{
        struct request rq = {.method = method, .path = path};
        if (body) {
                rq.content_type = "application/json";
                rq.body = buf_z(body);
                rq.body_n = body->n;
        }
        int r = client_call(c, &rq, ret);
        if (r) {
                return client_say_failure(c, r);
        }
        if (ret->status / 100 != 2) {
                return client_say_problem(ret, about);
        }
        *ret_json = json_loadb(buf_z(&ret->body), ret->body.n, JSON_ALLOW_NUL, NULL);
        if (!*ret_json && ret->body.n) {
                say("the answer of %s to %s is not JSON", client_url(c), path);
                return EXIT_UNREACHABLE;
        }
        return 0;
}

void path_of(struct buf *path, const char *collection, const char *name, const char *suffix)
{
        buf_text(path, collection);
        url_add(path, name, strlen(name));
        buf_text(path, suffix);
}

int list_run(struct invocation *in, const char *path, const char *name, const struct column *people,
             const struct column *pipe)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        int r = client_open(in, &c);
        r = r ? r : fetch_json(c, path, NULL, &answer, &root);
        if (r) {
                return r;
        }
        const json_t *list = list_of(root, name);
        if (!list && in->output != OUTPUT_JSON) {
                say("the answer of %s has no list of %s; -o json shows it", client_url(c), name);
                return EXIT_UNREACHABLE;
        }
        return print_list(in, &answer, list, people, pipe);
}

void print_row(struct invocation *in, const struct response *answer, const json_t *object,
               const struct column *columns)
{
        if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                print_answer(answer);
                return;
        }
        struct table *t = table_new(columns, table_for_people(in->output));
        table_add(t, object);
        table_free(t);
}

int ask_row(struct invocation *in, const char *method, const char *path, const struct buf *body,
            const char *about, const struct column *columns)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        int r = client_open(in, &c);
        r = r ? r : ask_json(c, method, path, body, about, &answer, &root);
        if (r == 0) {
                print_row(in, &answer, root, columns);
        }
        return r;
}

/* --- filters ---------------------------------------------------------------------------------- */

static const char *const filter_members[] = {"state",        "type",        "queue", "tag",
                                             "error",        "fingerprint", "since", "before",
                                             "ended-before", NULL};

void query_add(struct buf *path, const char *name, const char *value)
{
        buf_printf(path, "%c%s=", strchr(buf_z(path), '?') ? '&' : '?', name);
        url_add(path, value, strlen(value));
}

/* --since, --before, --ended-before: a time, or how long ago, as RFC 3339. 0 or EXIT_USAGE. */
static int time_argument(struct invocation *in, const char *flag, struct buf *ret)
{
        const char *text = invocation_get(in, flag);
        int64_t ms, us;
        if (text && duration_parse(str_of(text), &ms)) {
                time_format(ret, wall_us() - ms * 1000);
        } else if (text && time_parse(text, &us)) {
                time_format(ret, us);
        } else if (text) {
                return say_usage(in,
                                 "--%s %s is neither a duration (2h ago: 2h) nor a time "
                                 "(2026-01-31T14:30:00Z)",
                                 flag, text);
        }
        return 0;
}

typedef void filter_fn(struct buf *out, const char *member, const char *value);

/* Every flag of a filter that was given, under its name in the API. */
static int each_filter(struct invocation *in, filter_fn *add, struct buf *out, bool *ret_any)
{
        *ret_any = false;
        for (const char *const *flag = filter_members; *flag; flag++) {
                if (!invocation_has(in, *flag)) {
                        continue;
                }
                CLEANUP(buf_deinit)
                struct buf value = {0};
                bool time = strcmp(*flag, "since") == 0 || strstr(*flag, "before");
                int r = time ? time_argument(in, *flag, &value) : 0;
                if (r) {
                        return r;
                }
                if (!time) {
                        buf_text(&value, invocation_get(in, *flag));
                }
                const char *member = strcmp(*flag, "ended-before") == 0 ? "ended_before" : *flag;
                add(out, member, buf_z(&value));
                *ret_any = true;
        }
        return 0;
}

static void add_member(struct buf *json, const char *member, const char *value)
{
        buf_printf(json, "%s\"%s\":", json->n > 1 ? "," : "", member);
        json_quote(json, value, strlen(value));
}

int filter_object(struct invocation *in, struct buf *json, bool *ret_any)
{
        CLEANUP(buf_deinit)
        struct buf object = {0};
        buf_text(&object, "{");
        int r = each_filter(in, add_member, &object, ret_any);
        if (r == 0) {
                buf_printf(json, "%s}", buf_z(&object));
        }
        return r;
}

int filter_query(struct invocation *in, struct buf *path)
{
        bool any;
        return each_filter(in, query_add, path, &any);
}
