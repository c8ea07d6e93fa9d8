/*
 * HTTP to skepd, over its Unix socket or TCP, with libcurl.
 *
 * What a call can end in is told apart by what the caller may conclude: an answer came; nobody was
 * reached, so nothing happened; or the connection was cut and the answer is unknown, so the same
 * request with the same key may be sent again. Redirects are not followed and proxies not used: the
 * token goes to the named server alone.
 */
#ifndef SKEP_CLI_CLIENT_H
#define SKEP_CLI_CLIENT_H

#include "cli/command.h"
#include "cli/text.h"
#include "core/base.h"

#define CLIENT_TIMEOUT_MS  10000        /* for an answer to a plain request */
#define CLIENT_PATIENCE_MS 30000        /* for an unknown answer to become known */
#define RESPONSE_MAX       (256u << 20) /* a longer answer is an error */

struct client;

/* The URL in effect: `url`, else SKEP_URL, else the daemon's default socket. The caller frees it.
 */
char *client_default_url(const char *url);

/* 0, or an exit code after a message on stderr: a malformed URL, an unreadable token file. */
int client_new(const char *url, const char *token_file, struct client **ret);
struct client *client_free(struct client *c); /* NULL-safe, returns NULL */
void client_cleanup(struct client **c);       /* for CLEANUP */

/* With --url and --token-file of an invocation. */
int client_open(const struct invocation *in, struct client **ret);

const char *client_url(const struct client *c);

struct request {
        const char *method; /* NULL: GET */
        const char *path;   /* from /; escaped already */
        const char *content_type;
        const void *body;
        size_t body_n;
        uint32_t wait_s;     /* > 0: Prefer: wait=N */
        uint32_t timeout_ms; /* 0: CLIENT_TIMEOUT_MS; wait_s is added */
};

struct response {
        long status;
        struct buf body;
        char *next; /* path and query of Link rel="next", or NULL */
        uint32_t retry_after_s;
        bool json;      /* Content-Type is JSON of any kind */
        uint32_t tries; /* of client_insist() */
        bool doubtful;  /* some try of it was sent and never answered */
};

void response_deinit(struct response *r);

/* > 0: */
#define CALL_UNREACHABLE 1 /* no connection: nothing was sent */
#define CALL_CUT         2 /* sent, wholly or in part: the answer is unknown */
#define CALL_BROKEN                                                                                \
        3 /* not HTTP, too long, a certificate that is not trusted: again would not help */
/* Resets and fills ret in any case. What went wrong is kept for client_failure(). */
int client_call(struct client *c, const struct request *rq, struct response *ret);

/* Repeats the same request while its answer is unknown, 429 or 503, with growing pauses
 * (Retry-After is honoured), for `patience_ms` at most. When the first try finds nobody at all it
 * gives up at once unless `stubborn`. Results as client_call(); 0 with status 429 or 503 when
 * patience ran out so. */
int client_insist(struct client *c, const struct request *rq, uint32_t patience_ms, bool stubborn,
                  struct response *ret);

/* What the last failed call ran into, for people. */
const char *client_failure(const struct client *c);

/* After a failed call: says what was tried and what to do; returns the exit code. */
int client_say_failure(const struct client *c, int failure);

/* For an answer outside 2xx: says the problem's detail (RFC 9457) with field and line; returns the
 * exit code. `about` goes first ("job 0190…"), or is NULL. */
int client_say_problem(const struct response *r, const char *about);

/* The problem as one line of text, without about; the caller frees it. */
char *client_problem_text(const struct response *r);

/* Appends text percent-encoded as one path or query element. */
void url_add(struct buf *out, const char *text, size_t n);

/* Milliseconds on a clock that never goes back, and sleeping on it. */
int64_t clock_ms(void);
void sleep_ms(int64_t ms);

#endif
