/*
 * Which route a path is, which methods it knows, and what its query says. Paths and queries arrive
 * percent-encoded; they are decoded here, once, after they were cut into pieces, so that an encoded
 * slash never makes a piece.
 */
#ifndef SKEP_HTTP_ROUTE_H
#define SKEP_HTTP_ROUTE_H

#include "core/arena.h"
#include "core/id.h"
#include "core/state.h"
#include "http/problem.h"

#define ROUTE_REFUSED 1

enum {
        METHOD_GET = 1, /* HEAD too */
        METHOD_POST = 2,
        METHOD_DELETE = 4,
        METHOD_PUT = 8,
        METHOD_PATCH = 16,
};

/* A piece of a path in braces is a job's id, a name (any text), an operation's number, or a key
 * (any text to the path's end); of two routes that fit, one without braces and then the earlier
 * one is meant.
 *
 *      route, path, methods, those with a body, may be asked without a token */
#define ROUTES(X)                                                                                  \
        X(JOBS, "/v1/jobs", METHOD_GET | METHOD_POST, METHOD_POST, false)                          \
        X(JOBS_CANCEL, "/v1/jobs/cancel", METHOD_POST, METHOD_POST, false)                         \
        X(JOB_KEY, "/v1/jobs/key:{key}", METHOD_GET, 0, false)                                     \
        X(JOB, "/v1/jobs/{id}", METHOD_GET | METHOD_DELETE, 0, false)                              \
        X(RETRY, "/v1/jobs/{id}/retry", METHOD_POST, 0, false)                                     \
        X(EXPLAIN, "/v1/jobs/{id}/explain", METHOD_GET, 0, false)                                  \
        X(QUEUES, "/v1/queues", METHOD_GET, 0, false)                                              \
        X(QUEUE, "/v1/queues/{name}", METHOD_GET | METHOD_PATCH, METHOD_PATCH, false)              \
        X(QUEUE_PAUSE, "/v1/queues/{name}/pause", METHOD_POST, 0, false)                           \
        X(QUEUE_RESUME, "/v1/queues/{name}/resume", METHOD_POST, 0, false)                         \
        X(SCHEDULES, "/v1/schedules", METHOD_GET, 0, false)                                        \
        X(PREVIEW, "/v1/schedules/preview", METHOD_POST, METHOD_POST, false)                       \
        X(SCHEDULE, "/v1/schedules/{name}", METHOD_GET | METHOD_PUT | METHOD_DELETE, METHOD_PUT,   \
          false)                                                                                   \
        X(SCHEDULE_RUN, "/v1/schedules/{name}/run", METHOD_POST, 0, false)                         \
        X(SCHEDULE_PAUSE, "/v1/schedules/{name}/pause", METHOD_POST, 0, false)                     \
        X(SCHEDULE_RESUME, "/v1/schedules/{name}/resume", METHOD_POST, 0, false)                   \
        X(DEAD_GROUPS, "/v1/dead/groups", METHOD_GET, 0, false)                                    \
        X(DEAD_REQUEUE, "/v1/dead/requeue", METHOD_POST, METHOD_POST, false)                       \
        X(DEAD_PURGE, "/v1/dead/purge", METHOD_POST, METHOD_POST, false)                           \
        X(OPERATIONS, "/v1/operations", METHOD_GET, 0, false)                                      \
        X(OPERATION, "/v1/operations/{no}", METHOD_GET | METHOD_DELETE, 0, false)                  \
        X(RECONCILE, "/v1/reconcile", METHOD_POST, 0, false)                                       \
        X(NODES, "/v1/nodes", METHOD_GET, 0, false)                                                \
        X(HANDLERS, "/v1/handlers", METHOD_GET, 0, false)                                          \
        X(WORKERS, "/v1/workers", METHOD_GET | METHOD_POST, METHOD_POST, false)                    \
        X(STATS, "/v1/stats", METHOD_GET, 0, false)                                                \
        X(DOCTOR, "/v1/doctor", METHOD_GET, 0, false)                                              \
        X(LIVE, "/livez", METHOD_GET, 0, true)                                                     \
        X(READY, "/readyz", METHOD_GET, 0, true)                                                   \
        X(HEALTH, "/healthz", METHOD_GET, 0, false)                                                \
        X(METRICS, "/metrics", METHOD_GET, 0, false)                                               \
        X(OPENAPI, "/openapi.json", METHOD_GET, 0, false)

enum route {
#define X(name, path, methods, bodies, open) ROUTE_##name,
        ROUTES(X)
#undef X
            ROUTE_COUNT,
};

#define NAME_PIECE_MAX 255 /* bytes of a name in a path */

const char *route_path(enum route r);
unsigned route_methods(enum route r);
unsigned route_bodies(enum route r);
bool route_open(enum route r);
const char *route_allow(unsigned methods); /* "GET, HEAD, POST" */
unsigned method_parse(const char *method); /* 0: none that any route knows */

struct route_match {
        enum route route;
        struct job_id id; /* of {id} */
        struct str key;   /* of {key}, in the arena */
        struct str name;  /* of {name}, in the arena */
        uint64_t no;      /* of {no} */
};

/* ROUTE_REFUSED with a problem (404, 400); -ENOMEM. */
int route_parse(struct arena *a, struct str path, struct route_match *ret,
                struct problem *ret_problem);

/* Decodes %XX; false: malformed or NUL. The result lives in the arena (p NULL: memory is out). */
bool percent_decode(struct arena *a, struct str s, struct str *ret);

/* Appends s with everything but unreserved characters as %XX. */
void percent_encode(struct out *o, struct str s);

/* --- queries ----------------------------------------------------------------------------- */

struct query {
        int state; /* -1: any */
        struct str type, queue, tag, cursor, after;
        enum error_class error; /* NONE: any */
        uint64_t fingerprint;   /* 0: any */
        bool whole, force;
        int64_t since_us, before_us, ended_before_us; /* 0: any */
        uint32_t limit;
        unsigned seen;
};

#define QUERY_DEFAULT ((struct query){.state = -1, .limit = 50})

/* Of an error: 16 hexadecimal digits, not all zero. */
bool fingerprint_parse(struct str text, uint64_t *ret);
bool error_class_parse(struct str text, enum error_class *ret);
#define ERROR_CLASSES_ALLOWED                                                                      \
        "failed, crashed, timed_out, oom, lost, stopped, rejected, expired, malformed, "           \
        "too_large, unstorable, id_conflict, cancelled or duplicate"
#define FINGERPRINT_ALLOWED "16 hexadecimal digits, as /v1/dead/groups shows them"

/* Takes one argument of a query, still encoded. ROUTE_REFUSED with a problem; -ENOMEM. */
int query_take(struct query *q, struct arena *a, enum route route, struct str name,
               struct str value, struct problem *ret_problem);

/* --- cursors ----------------------------------------------------------------------------- */

/* Opaque to callers: version, the last id, a hash of the filters, in URL-safe base64. */
#define CURSOR_TEXT 29
void cursor_text(const struct query *q, const struct job_id *last,
                 char ret_text[static CURSOR_TEXT]);

/* false: not a cursor of ours, or one of another filter. */
bool cursor_parse(const struct query *q, struct str text, struct job_id *ret_last);

/* The target of `Link: rel="next"`. */
void query_next(struct out *o, const struct query *q, const char *cursor);

#endif
