/*
 * Reading: GET, find the list in the answer, print it by -o. Shared by the verbs that only look.
 */
#include "cli/submit.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int fetch_json(struct client *c, const char *path, const char *about, struct response *ret,
               json_t **ret_json)
{
        struct request rq = {.path = path};
        int r = client_call(c, &rq, ret);
        if (r) {
                return client_say_failure(c, r);
        }
        if (ret->status / 100 != 2) {
                return client_say_problem(ret, about);
        }
        json_error_t error;
        json_t *o = json_loadb(buf_z(&ret->body), ret->body.n, JSON_ALLOW_NUL, &error);
        if (!o) {
                say("the answer of %s to %s is not JSON: %s", client_url(c), path, error.text);
                return EXIT_UNREACHABLE;
        }
        *ret_json = o;
        return 0;
}

static void print_raw(const char *p, size_t n)
{
        CLEANUP(buf_deinit)
        struct buf safe = {0};
        if (isatty(STDOUT_FILENO)) {
                text_escape(&safe, p, n, ESCAPE_BLOCK);
                p = buf_z(&safe);
                n = safe.n;
        }
        fwrite(p, 1, n, stdout);
        if (n == 0 || p[n - 1] != '\n') {
                putchar('\n');
        }
}

void print_answer(const struct response *answer)
{
        print_raw(buf_z(&answer->body), answer->body.n);
}

void print_json(const json_t *value, size_t flags)
{
        char *text = json_dumps(value, flags);
        print_raw(text ? text : "null", text ? strlen(text) : 4);
        free(text);
}

const json_t *list_of(const json_t *answer, const char *name)
{
        const json_t *list = json_is_array(answer) ? answer : json_object_get(answer, name);
        const char *key;
        json_t *value;
        if (json_is_array(list)) {
                return list;
        }
        list = NULL;
        json_object_foreach((json_t *)answer, key, value)
        {
                if (json_is_array(value)) {
                        if (list) {
                                return NULL; /* which one? */
                        }
                        list = value;
                }
        }
        return list;
}

int print_list(struct invocation *in, const struct response *answer, const json_t *list,
               const struct column *people, const struct column *pipe)
{
        size_t i;
        json_t *o;
        if (in->output == OUTPUT_JSON) {
                print_answer(answer);
                return 0;
        }
        bool for_people = table_for_people(in->output);
        struct table *t =
            in->output == OUTPUT_NDJSON ? NULL : table_new(for_people ? people : pipe, for_people);
        json_array_foreach((json_t *)list, i, o)
        {
                if (t) {
                        table_add(t, o);
                        continue;
                }
                print_json(o, JSON_COMPACT);
        }
        table_free(t);
        return 0;
}
