/*
 * The HTTP API on the Unix socket and, with a token file, on loopback TCP.
 *
 * One thread of our own runs libmicrohttpd for both sockets: it parses requests and renders
 * answers, and decides nothing. What a request asks is handed to the daemon as an api_request
 * through `post`; the daemon's engine thread answers with http_answer(). Meanwhile the connection
 * is suspended. Payloads are never parsed beyond finding where their bytes begin and end.
 *
 *     $ curl --unix-socket /run/skep/skep.sock http://localhost/v1/jobs -H 'Content-Type:
 * application/json' \ -d '{"type":"email.send","payload":{"to":"x"}}' 201
 * {"id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"email.send","queue":"default","state":"pending"}
 *     $ ... -d '{"type":"email.send","prio":3}'
 *     422 {"type":"urn:skep:problem:unknown-field","title":"There are fields that are not
 * known","status":422, "detail":"unknown field: \"prio\" (did you mean
 * \"priority\"?)","field":"prio","allowed":"type, queue, ..."}
 */
#ifndef SKEP_HTTP_SERVER_H
#define SKEP_HTTP_SERVER_H

#include "core/base.h"
#include "core/config.h"
#include "core/engine.h"
#include "core/ledger.h"

/* What a request wants of the daemon, and what comes back. Whatever the kind: `unavailable` with
 * `note` instead of an answer is 503, and nothing was done that is not said. */
enum api_kind {
        API_SUBMIT,  /* submission → answered in place */
        API_READ,    /* batch: SHOW, LIST, SCHEDULES, GROUPS, NODES → answered in place */
        API_CANCEL,  /* id → batch: ledger_cancel */
        API_REQUEUE, /* id → batch: ledger_requeue */
        API_WAIT, /* id: answered when the job is terminal or wait_ms has passed; `batch` is then a
                     SHOW */
        API_HANDLERS, /* text: JSON, made by the daemon */
        API_WORKERS,  /* text: JSON */
        API_STATS,    /* text: JSON */
        API_DOCTOR,   /* text: JSON */
        API_METRICS,  /* text: Prometheus exposition */
        API_READY,    /* status: 200 or 503, text: JSON with what is not ready */
        API_OPERATE,  /* batch: CONTROL, SCHEDULE → EV_OPERATE, answered in place */
        API_QUEUES, /* name empty: text: {"queues":[Queue...]}; else text: the one Queue, or status
                       404: neither configured here nor known to the ledger. A Queue is as
                       openapi.json has it: engine_queue_views() and STATS together */
        API_EXPLAIN, /* id → text: JSON as openapi.json has it (id, state, code, sentence, details);
                        status 404: no such job */
        API_BULK,    /* bulk (kinds REQUEUE, CANCEL, PURGE, COUNT) begins: views[0], n_views 1;
                        answered when it is over or wait_ms has passed (0: at once). n_views 0: it
                        does not begin, `note` says why */
        API_OPERATIONS,     /* views: all that engine_bulks() tells */
        API_OPERATION,      /* no: views[0], or n_views 0: none of the number (any more); wait_ms as
                               with BULK */
        API_OPERATION_STOP, /* no: it shall stop; answered like OPERATION, at once */
        API_RECONCILE,      /* text: {"queues":[{"queue","looked","found","why"}]} */
        API_RUN_SCHEDULE,   /* name → id: the job; all zero with `note`: why not */
        API_RESIZE,         /* workers (0: as configured) → text: {"workers":N,"configured":M} */
        API_ZONE,           /* name → zone; NULL: there is none of the name */
};

struct api_request {
        enum api_kind kind;
        struct job_id id;
        uint32_t wait_ms;
        struct submission *submission; /* http's again with the answer */
        struct ledger_batch *batch;    /* http's with the answer */
        struct arena arena;            /* for all texts and lists, either way */
        struct str text;
        struct str name;           /* in: of a queue, schedule or zone */
        struct bulk_request *bulk; /* in */
        uint64_t no;               /* in: of an operation */
        uint32_t workers;          /* in */
        struct bulk_view *views;   /* answer */
        uint32_t n_views;
        uint64_t holder;         /* answer of READ: this node's own name */
        const struct zone *zone; /* answer; lives as long as the daemon, never changes */
        int status;
        bool unavailable; /* the ledger cannot be reached, or skepd is stopping: 503 with `note` */
        char note[160];
        struct api_request *next;
        void *connection; /* http's own */
};

struct http;

struct http_options {
        struct str socket; /* path; mode 0660 whatever the umask; a stale socket is replaced, a live
                              one an error */
        struct str
            listen; /* "127.0.0.1:8290", "[::1]:8290" or empty; only loopback, only with tokens */
        struct str
            token_file; /* one token per line, # comments; refused when group- or world-readable */
        /* Called from the HTTP thread; must not block. Every request taken is answered once with
         * http_answer(), which post itself may call. false: the daemon is stopping; r was not taken
         * and stays http's. */
        bool (*post)(void *ctx, struct api_request *r /* takes r */);
        void *ctx;
        /* What http needs of it is copied: queues, their types and defaults, limits. Swapped by
         * http_configure() on reload. */
        const struct config *config;
        uint32_t max_waiting; /* requests of one socket that wait for the daemon at once; 0: half
                                 its connections */
        uint32_t head_timeout_ms; /* a connection must bring the head of a request within this; 0:
                                     30 s */
};

/* > 0: HTTP_IN_USE (somebody listens there), HTTP_REFUSED (options); note says what, where and what
 * to do. */
#define HTTP_IN_USE  1
#define HTTP_REFUSED 2
int http_start(const struct http_options *o, struct http **ret, char *note, size_t note_size);

/* Any thread. When memory is out the old settings stay. */
void http_configure(struct http *h, const struct config *c);

/* Any thread: reads the token file again. > 0: HTTP_REFUSED with a note, and the old tokens stay
 * valid. */
int http_reload_tokens(struct http *h, char *note, size_t note_size);

/* The TCP port that is listened on (the kernel's choice for port 0); 0: none. */
uint16_t http_port(const struct http *h);

/* Any thread: the request's answer is in place. Also after http_stop(), for requests that were
 * still with the daemon: h stays allocated until the last of them came back. */
void http_answer(struct http *h, struct api_request *r /* takes r */);

/* Stops accepting, answers what waits with 503, frees. NULL-safe, returns NULL. Any thread but the
 * HTTP one; waits a second at most for clients to take their answers, and never for the daemon. */
struct http *http_stop(struct http *h);

#endif
