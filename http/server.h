/*
 * The HTTP API on the Unix socket and, with a token file, on loopback TCP.
 *
 * One libmicrohttpd thread parses requests and renders answers; it decides nothing. What a request
 * asks is handed to the daemon as an api_request through `post`; the daemon's engine thread answers
 * with http_answer(). Meanwhile the connection is suspended. Payloads are never parsed beyond
 * finding where their bytes begin and end.
 */
#ifndef SKEP_HTTP_SERVER_H
#define SKEP_HTTP_SERVER_H

#include "core/base.h"
#include "core/config.h"
#include "core/ledger.h"

enum api_kind {
        API_SUBMIT,  /* submission → answered in place */
        API_READ,    /* batch: SHOW, LIST → answered in place */
        API_CANCEL,  /* id → batch: ledger_cancel */
        API_REQUEUE, /* id → batch: ledger_requeue */
        API_WAIT, /* id: answered when the job is terminal or wait_ms has passed; `batch` is then a
                     SHOW */
        API_HANDLERS, /* text: JSON, made by the daemon */
        API_WORKERS,  /* text: JSON */
        API_STATS,    /* text: JSON */
        API_METRICS,  /* text: Prometheus exposition */
        API_READY,    /* status: 200 or 503, text: JSON with what is not ready */
};

struct api_request {
        enum api_kind kind;
        struct job_id id;
        uint32_t wait_ms;
        struct submission *submission; /* http's again with the answer */
        struct ledger_batch *batch;    /* http's with the answer */
        struct arena arena;            /* for text */
        struct str text;
        int status;
        bool unavailable; /* the ledger cannot be reached, or skepd is stopping: 503 with `note` */
        char note[160];
        struct api_request *next;
        void *connection; /* http's own */
};

struct http;

struct http_options {
        struct str socket; /* path; a stale socket file is replaced, a live one is an error */
        struct str
            listen; /* "127.0.0.1:8290", "[::1]:8290" or empty; only loopback, only with tokens */
        struct str
            token_file; /* one token per line, # comments; refused when group- or world-readable */
        /* Called from the HTTP thread; must not block. false: the daemon is stopping. */
        bool (*post)(void *ctx, struct api_request *r /* takes r */);
        void *ctx;
        /* A copy of what http needs of the configuration: queues, their types and defaults, limits.
         * Swapped by http_configure() on reload. */
        const struct config *config;
};

/* > 0: HTTP_IN_USE (somebody listens there), HTTP_REFUSED (options); note says what, where and what
 * to do. */
#define HTTP_IN_USE  1
#define HTTP_REFUSED 2
int http_start(const struct http_options *o, struct http **ret, char *note, size_t note_size);
void http_configure(struct http *h, const struct config *c);

/* Any thread: the request's answer is in place. */
void http_answer(struct http *h, struct api_request *r /* takes r */);

/* Stops accepting, answers what waits with 503, frees. NULL-safe, returns NULL. */
struct http *http_stop(struct http *h);

#endif
