/*
 * What is wrong with a request, for people and programs: RFC 9457. Every problem names what, where
 * and what to do instead; it never carries a secret, and a producer's bytes only through the JSON
 * writer.
 */
#ifndef SKEP_HTTP_PROBLEM_H
#define SKEP_HTTP_PROBLEM_H

#include "core/base.h"
#include "core/id.h"
#include "http/out.h"

/* The `type` member is "urn:skep:problem:" and the name; the title belongs to it. */
#define PROBLEMS(X)                                                                                \
        X(MALFORMED, 400, "malformed", "The request cannot be read")                               \
        X(UNAUTHORIZED, 401, "unauthorized", "A token is needed")                                  \
        X(NOT_FOUND, 404, "not-found", "There is no such thing")                                   \
        X(METHOD, 405, "method-not-allowed", "This method does nothing here")                      \
        X(CONFLICT, 409, "state-conflict", "The job's state does not allow it")                    \
        X(FROM_CONFIG, 409, "from-config", "It comes from the configuration")                      \
        X(NOT_NOW, 409, "not-now", "It cannot be done as things are")                              \
        X(TOO_LARGE, 413, "too-large", "The request is too large")                                 \
        X(MEDIA_TYPE, 415, "unsupported-media-type", "The content type is not understood")         \
        X(MISDIRECTED, 421, "misdirected", "The Host header names another server")                 \
        X(INVALID, 422, "invalid-field", "A field has a value that is not allowed")                \
        X(UNKNOWN_FIELD, 422, "unknown-field", "There are fields that are not known")              \
        X(KEY_CONFLICT, 422, "key-conflict", "The key already names another job")                  \
        X(UNSTORABLE, 422, "unstorable", "The ledger refuses this data")                           \
        X(QUEUE_FULL, 429, "queue-full", "The queue is as long as it may be")                      \
        X(TOO_MANY, 429, "too-many-requests", "Too many requests are waiting")                     \
        X(UNAVAILABLE, 503, "unavailable", "skepd cannot do this right now")

enum problem_kind {
#define X(name, status, text, title) PROBLEM_##name,
        PROBLEMS(X)
#undef X
};

struct problem {
        enum problem_kind kind;
        char detail[640];
        char field[72];         /* empty: none */
        const char *allowed;    /* static text or NULL */
        char allowed_text[320]; /* used when not empty */
        uint32_t line, column;  /* 0: none */
        int64_t index;          /* of the element of an array; -1: none */
        bool has_job;
        struct job_id job;      /* the other job */
        const char *job_state;  /* of a state conflict; NULL: none */
        const char *allow;      /* the Allow header of 405 */
        unsigned retry_after_s; /* the Retry-After header; 0: none */
};

/* Resets *p. Too long a text is cut at a character. */
void problem_set(struct problem *p, enum problem_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

unsigned problem_status(const struct problem *p);

/* The whole document. */
void problem_write(struct out *o, const struct problem *p);

/* What was written, shortened to be quoted in a text: at most 48 bytes, control characters
 * replaced. */
#define QUOTE_TEXT 56
const char *quote_text(struct str s, char ret_text[static QUOTE_TEXT]);

#endif
