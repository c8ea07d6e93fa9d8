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
};

/*      route, path, methods, may be asked without a token */
#define ROUTES(X)                                                                                  \
        X(JOBS, "/v1/jobs", METHOD_GET | METHOD_POST, false)                                       \
        X(JOB, "/v1/jobs/{id}", METHOD_GET | METHOD_DELETE, false)                                 \
        X(JOB_KEY, "/v1/jobs/key:{key}", METHOD_GET, false)                                        \
        X(RETRY, "/v1/jobs/{id}/retry", METHOD_POST, false)                                        \
        X(HANDLERS, "/v1/handlers", METHOD_GET, false)                                             \
        X(WORKERS, "/v1/workers", METHOD_GET, false)                                               \
        X(STATS, "/v1/stats", METHOD_GET, false)                                                   \
        X(DOCTOR, "/v1/doctor", METHOD_GET, false)                                                 \
        X(LIVE, "/livez", METHOD_GET, true)                                                        \
        X(READY, "/readyz", METHOD_GET, true)                                                      \
        X(HEALTH, "/healthz", METHOD_GET, false)                                                   \
        X(METRICS, "/metrics", METHOD_GET, false)                                                  \
        X(OPENAPI, "/openapi.json", METHOD_GET, false)

enum route {
#define X(name, path, methods, open) ROUTE_##name,
        ROUTES(X)
#undef X
            ROUTE_COUNT,
};

const char *route_path(enum route r);
unsigned route_methods(enum route r);
bool route_open(enum route r);
const char *route_allow(unsigned methods); /* "GET, HEAD, POST" */
unsigned method_parse(const char *method); /* 0: none that any route knows */

struct route_match {
        enum route route;
        struct job_id id; /* JOB, RETRY */
        struct str key;   /* JOB_KEY; in the arena */
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
        struct str type, queue, tag, cursor;
        bool has_since;
        int64_t since_us;
        uint32_t limit;
        unsigned seen;
};

#define QUERY_DEFAULT ((struct query){.state = -1, .limit = 50})

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
