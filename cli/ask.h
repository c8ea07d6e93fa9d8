/*
 * What the verbs of operators share: one request with a JSON body and one answer, filters from
 * flags, and operations that are followed to their end.
 */
#ifndef SKEP_CLI_ASK_H
#define SKEP_CLI_ASK_H

#include "cli/submit.h"
#include "cli/verbs.h"

/* Sends `body` (NULL: none) as JSON and parses the answer. 0, or an exit code after a message that
 * begins with `about` (NULL: nothing). */
int ask_json(struct client *c, const char *method, const char *path, const struct buf *body,
             const char *about, struct response *ret, json_t **ret_json);

/* "/v1/queues/" and a name, escaped, and what follows it. */
void path_of(struct buf *path, const char *collection, const char *name, const char *suffix);

/* GETs `path` and prints the list `name` of the answer by -o. Returns the exit code. */
int list_run(struct invocation *in, const char *path, const char *name, const struct column *people,
             const struct column *pipe);

/* Prints one object by -o: JSON as it came, else a row of `columns`. */
void print_row(struct invocation *in, const struct response *answer, const json_t *object,
               const struct column *columns);

/* One request, whose answer is one object, printed so. Returns the exit code. */
int ask_row(struct invocation *in, const char *method, const char *path, const struct buf *body,
            const char *about, const struct column *columns);

/* The flags of a filter that were given, as the members of a JSON object; *ret_any: were there
 * any? 0, or EXIT_USAGE after a message. */
int filter_object(struct invocation *in, struct buf *json, bool *ret_any);

/* The same as a query; `path` ends up with ?a=b&c=d. */
int filter_query(struct invocation *in, struct buf *path);

/* Adds ?name=value or &name=value. */
void query_add(struct buf *path, const char *name, const char *value);

/* POSTs an operation over many jobs and follows it: a bar on stderr, its outcome on stdout. With
 * --dry-run: how many it would be. `verb`: "requeued". Returns the exit code. */
int operation_run(struct invocation *in, const char *path, const char *verb);

#endif
