/*
 * The envelope: from a broker's message to a job. First hit wins: header `job-*` (names in any
 * case) → broker property → the queue's default. The body is the payload and is never looked into.
 *
 * Pure, and the same for every transport: a transport coerces its fields to text in one place and
 * fills `struct envelope`; envelope_open() decides. Docs: docs/envelope.md.
 */
#ifndef SKEP_CORE_ENVELOPE_H
#define SKEP_CORE_ENVELOPE_H

#include "core/arrival.h"
#include "core/config.h"

#define ENVELOPE_HEADERS_MAX 256

struct envelope_header {
        struct str name;  /* as it came; any case, any bytes */
        struct str value; /* as text: what is not text was written as it would be in JSON */
};

/* A message as the transport saw it. Everything is borrowed. A text property that was absent has
 * p == NULL. */
struct envelope {
        struct str address; /* AMQP: the routing key; NATS: the subject less the stream's prefix */
        struct str body;
        const struct envelope_header *headers;
        uint32_t n_headers;
        uint32_t n_dropped; /* headers that the transport had no room for: named as "N more" */
        bool too_large;     /* the body was over the limit and is not here */
        uint64_t body_size; /* of the message, whatever is here */
        bool redelivered;
        struct job_key origin; /* the broker's own name of this message, the same at each delivery
                                  and never another's: the key of a letter without an id of its own;
                                  not set: it has none */
        /* broker properties */
        struct str type, message_id, content_type, content_encoding, reply_to, correlation_id,
            app_id, user_id;
        struct str expiration; /* AMQP: milliseconds after arrival, as text */
        int priority;          /* -1: absent; over 9 counts as 9 */
        int64_t timestamp_s;   /* 0: absent */
};

/* What the queue adds. Borrowed. Attempts, time-out, heartbeat and the budget of wall time stay 0
 * where the letter says nothing: core/defaults.h gives them later, by type and queue. */
struct envelope_defaults {
        struct str queue, default_type;
        uint8_t priority;
        uint32_t payload_max;
};

/* The type of a dead letter whose own cannot be read. */
#define ENVELOPE_TYPE_UNKNOWN "unknown"

/* Fills *ret (kind, redelivered, fingerprint, row; a letter's row.id is left all zero; texts copied
 * into the arena). A letter's row.state is PENDING, SCHEDULED or, with reason and error_text, DEAD:
 * TOO_LARGE (no payload), MALFORMED (a known header cannot be read, no type), EXPIRED (its deadline
 * has passed), the first of them that holds. TOO_LARGE and MALFORMED have key_text, but their key
 * is `origin` or none, so that the corrected letter with the same id is a new job. Unknown headers
 * are kept in row.headers, HEADERS_MAX bytes at most, those that do not fit are left out in order
 * and named by a header `skep-dropped-headers`. `wall_us`: now. -ENOMEM. */
int envelope_open(const struct envelope *in, const struct envelope_defaults *d, int64_t wall_us,
                  struct arena *a, struct arrival *ret);

/* A doorbell or mark as two headers, for every transport: `skep-bell` is the job's id in text, or
 * "mark"; `skep-seq` the decimal seq. The body is empty. */
#define BELL_HEADER     "skep-bell"
#define BELL_SEQ_HEADER "skep-seq"
#define BELL_MARK       "mark"

#endif
