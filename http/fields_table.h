/*
 * Inner to http/fields*.c: the table of a job's fields and a job that is being taken.
 */
#ifndef SKEP_HTTP_FIELDS_TABLE_H
#define SKEP_HTTP_FIELDS_TABLE_H

#include "core/unique.h"
#include "http/fields.h"
#include "http/object.h"

enum field_index {
        F_TYPE,
        F_QUEUE,
        F_KEY,
        F_PRIORITY,
        F_RUN_AT,
        F_DELAY,
        F_DEADLINE,
        F_TIMEOUT,
        F_HEARTBEAT,
        F_MAX_ATTEMPTS,
        F_RETRY,
        F_TAGS,
        F_HEADERS,
        F_PAYLOAD,
        F_PAYLOAD_BASE64,
        F_CONTENT_TYPE,
        F_UNIQUE_KEY,
        F_UNIQUE_SCOPE,
        F_UNIQUE_STATES,
        F_UNIQUE_FOR,
        F_UNIQUE_CONFLICT,
        F_REPLY_TO,
        F_CORRELATION_ID,
        F_PARENT_ID,
};

struct job_taking {
        struct taking t;
        struct submit_row row;
        int64_t delay_ms, run_at_us;
        struct unique_wish unique;
        struct str reply_to, correlation_id, parent_id;
};

extern const struct field fields_table[]; /* ends with name NULL */

static inline struct job_taking *job_of(struct taking *t)
{
        return CONTAINER_OF(t, struct job_taking, t);
}

/* fields_policy.c */
int field_retry(struct taking *t, const struct field *f, const struct json_item *item);
int field_unique(struct taking *t, const struct field *f, json_t *v); /* all five of them */
int fields_finish_unique(struct job_taking *j);

/* What no single field can tell: type given, queue found, times in order, payload given once. */
int fields_finish(struct job_taking *j);

#endif
