/*
 * `skep handlers ls|show`: what is served, and what was refused and why.
 */
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>

#define PLUGIN_FIELDS "plugin|file"
#define TYPE_FIELDS   "types"

static const struct column people[] = {{"plugin", PLUGIN_FIELDS, CELL_TEXT},
                                       {"state", "state", CELL_STATE},
                                       {"types", TYPE_FIELDS, CELL_TEXT},
                                       {"summary", "summary", CELL_TEXT, .wide = true},
                                       {"size", "bytes", CELL_SIZE},
                                       {"probed", "probed_at", CELL_TIME},
                                       {"reason", "reason", CELL_TEXT, .wide = true},
                                       {NULL}};

static const struct column pipe_columns[] = {{"plugin", PLUGIN_FIELDS, CELL_TEXT},
                                             {"state", "state", CELL_STATE},
                                             {"types", TYPE_FIELDS, CELL_TEXT},
                                             {"summary", "summary", CELL_TEXT},
                                             {"build", "build", CELL_TEXT},
                                             {"bytes", "bytes", CELL_COUNT},
                                             {"probed_at", "probed_at", CELL_TIME},
                                             {"reason", "reason", CELL_TEXT},
                                             {NULL}};

static int fetch_handlers(struct client *c, struct response *answer, json_t **ret_root,
                          const json_t **ret_list)
{
        int r = fetch_json(c, "/v1/handlers", NULL, answer, ret_root);
        if (r) {
                return r;
        }
        const json_t *list = list_of(*ret_root, "handlers");
        if (!list) {
                say("the answer of %s has no list of handlers", client_url(c));
                return EXIT_UNREACHABLE;
        }
        *ret_list = list;
        return 0;
}

int handlers_ls_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        const json_t *list = NULL;
        int r = client_open(in, &c);
        r = r ? r : fetch_handlers(c, &answer, &root, &list);
        if (r) {
                return r;
        }
        return print_list(in, &answer, list, people, pipe_columns);
}

/* --- show ------------------------------------------------------------------------------------- */

static bool text_is(const json_t *v, const char *wanted)
{
        return json_is_string(v) && strcmp(json_string_value(v), wanted) == 0;
}

static bool has_type(const json_t *list, const char *wanted)
{
        size_t i;
        json_t *v;
        json_array_foreach((json_t *)list, i, v)
        {
                if (text_is(v, wanted) || text_is(pick(v, "pattern|type"), wanted)) {
                        return true;
                }
        }
        return false;
}

/* Is it one of "email.send,email.bounce"? */
static bool in_words(const char *words, const char *wanted)
{
        size_t n = strlen(wanted);
        for (const char *p = words ? words : ""; *p;) {
                size_t k = strcspn(p, ", ");
                if (k == n && memcmp(p, wanted, n) == 0) {
                        return true;
                }
                p += k + (p[k] != 0);
        }
        return false;
}

/* By file ("email.so" or "email"), or by one of its types. */
static bool is_meant(const json_t *o, const char *wanted)
{
        const char *file = pick_text(o, PLUGIN_FIELDS);
        size_t n = strlen(wanted);
        if (file && strncmp(file, wanted, n) == 0 && (!file[n] || strcmp(file + n, ".so") == 0)) {
                return true;
        }
        return in_words(pick_text(o, "types"), wanted) ||
               has_type(json_object_get(o, "types"), wanted) ||
               has_type(pick(o, "manifest.handlers"), wanted);
}

static void print_value(const char *name, const json_t *v, int depth);

static void print_object(const json_t *o, int depth)
{
        const char *name;
        json_t *v;
        json_object_foreach((json_t *)o, name, v)
        {
                print_value(name, v, depth);
        }
}

/* Nested values as indented names; a schema, whose shape is its meaning, as JSON. */
static void print_value(const char *name, const json_t *v, int depth)
{
        CLEANUP(free_text)
        char *label = text_safe(name);
        bool schema = strcmp(name, "schema") == 0 || strcmp(name, "payload_schema") == 0;
        size_t i;
        json_t *e;
        if (json_is_null(v)) {
                return;
        }
        if (json_is_object(v) && !schema) {
                printf("%*s%s\n", depth * 2, "", label);
                print_object(v, depth + 1);
                return;
        }
        if (json_is_array(v) && json_is_object(json_array_get(v, 0))) {
                json_array_foreach((json_t *)v, i, e)
                {
                        printf("%*s%s %zu\n", depth * 2, "", label, i + 1);
                        print_object(e, depth + 1);
                }
                return;
        }
        struct column c = {name, name, CELL_TEXT};
        CLEANUP(json_cleanup)
        json_t *holder = json_object();
        json_object_set(holder, name, (json_t *)v);
        CLEANUP(free_text)
        char *text = cell_text(&c, holder, false), *safe = text_safe(text);
        printf("%*s%-*s %s\n", depth * 2, "", 16 - depth * 2, label, safe);
}

int handlers_show_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        const json_t *list = NULL;
        size_t i, found = 0;
        json_t *o;
        int r = client_open(in, &c);
        r = r ? r : fetch_handlers(c, &answer, &root, &list);
        if (r) {
                return r;
        }
        json_array_foreach((json_t *)list, i, o)
        {
                if (!is_meant(o, in->args[0])) {
                        continue;
                }
                if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                        char *text = json_dumps(o, in->output == OUTPUT_JSON ? JSON_INDENT(2)
                                                                             : JSON_COMPACT);
                        puts(text ? text : "null");
                        free(text);
                } else {
                        printf("%s", found ? "\n" : "");
                        print_object(o, 0);
                }
                found++;
        }
        if (found == 0) {
                say("no plug-in and no type is called %s; `skep handlers ls` lists them",
                    in->args[0]);
                return EXIT_REFUSED;
        }
        return 0;
}
