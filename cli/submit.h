/*
 * What all ways of submitting share: the payload as the API takes it, keys of our own, and waiting
 * for an end.
 */
#ifndef SKEP_CLI_SUBMIT_H
#define SKEP_CLI_SUBMIT_H

#include "cli/client.h"
#include "core/id.h"

#include <jansson.h>

enum body_kind {
        BODY_JSON,  /* one JSON value: sent as `payload`, byte for byte */
        BODY_TEXT,  /* UTF-8 without NUL: payload_base64, text/plain */
        BODY_BYTES, /* anything else: payload_base64, application/octet-stream */
};
enum body_kind body_classify(struct str body);

/* Appends the members that carry the body, each with a comma before it. */
void body_add(struct buf *json, struct str body);

/* Appends ,"name":"value" */
void member_add(struct buf *json, const char *name, const char *value);

/* A key of our own, UUIDv7: the same job however often the request has to be repeated. */
void key_mint(char ret_key[static JOB_ID_TEXT]);

/* Reads a stream to its end. 0, or an exit code after a message (unreadable, longer than `max`). */
int read_all(FILE *f, const char *name, size_t max, struct buf *ret);

/* Is this job's state an end? */
bool job_ended(const json_t *job);

#define WAIT_TIMED_OUT 1
/* Asks for the job until it has ended, or until `until_ms` (clock_ms; INT64_MAX: for ever). 0: ret
 * has the last answer and ret_job its JSON; > 0: WAIT_TIMED_OUT, with both too; < 0: -exit code
 * after a message. */
int job_wait(struct client *c, const char *id, int64_t until_ms, struct response *ret,
             json_t **ret_job);

/* The raw text of a member of the object that the answer's body is. */
bool response_member(const struct response *r, const char *name, struct str *ret_value);

void json_cleanup(json_t **j); /* for CLEANUP */

/* cli/feed.c: `skep enqueue -f FILE`. Returns the exit code. */
int feed_run(struct invocation *in, const char *file);

#endif
