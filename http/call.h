/*
 * Inner to http/: the server, its connections, and one call (a request on its way to an answer).
 * Everything here is the HTTP thread's alone, but for what `lock` guards.
 *
 * A call goes: head checked (begin.c) → body taken (call.c, ndjson.c) → request posted
 * (dispatch.c), connection suspended → answer rendered (answer.c), connection resumed → response
 * queued (call.c).
 */
#ifndef SKEP_HTTP_CALL_H
#define SKEP_HTTP_CALL_H

#include <microhttpd.h>
#include <pthread.h>
#include <sys/stat.h>

#include "http/fields.h"
#include "http/object.h"
#include "http/out.h"
#include "http/problem.h"
#include "http/route.h"
#include "http/server.h"
#include "http/settings.h"
#include "http/tokens.h"

#define DRAIN_MAX                                                                                  \
        (16u << 20) /* bytes of a refused body that are read and dropped, so that the answer       \
                       arrives */
#define WAIT_MAX_S    60
#define STREAMS_MAX   8 /* NDJSON bodies at once */
#define HEADERS_EXTRA 6

/* What a connection is doing, and until when it may. */
enum phase { PHASE_HEAD, PHASE_BODY, PHASE_STREAM, PHASE_WAIT, PHASE_SEND };

struct peer {
        struct peer *prev, *next;
        struct listener *listener;
        int fd;
        enum phase phase;
        int64_t deadline_ns;
        bool cut; /* shut down already */
};

struct listener {
        struct http *http;
        struct MHD_Daemon *mhd;
        int epoll_fd;
        bool tcp;
        uint32_t connections_max, waiting_max, long_waits_max;
        uint32_t n_peers, n_waiting, n_long_waits;
        struct peer *peers, *last_peer; /* in order of arrival */
};

struct call;
struct stream;

struct http {
        pthread_t thread;
        int wake_fd;
        struct str socket_path, token_path;
        struct stat socket_file;
        bool has_socket_file;
        uint16_t port;
        uint32_t head_timeout_ms;
        bool (*post)(void *ctx, struct api_request *r);
        void *ctx;

        struct listener listeners[2];
        uint32_t n_listeners;
        struct settings *settings;
        struct tokens *tokens;
        struct id_mint mint;
        size_t held; /* bytes of bodies and answers */
        uint32_t n_streams;
        struct call *waiting; /* suspended calls */
        int64_t sweep_ns;
        bool draining;

        pthread_mutex_t lock; /* guards what follows */
        struct api_request *answered, *last_answered;
        struct settings *next_settings;
        struct tokens *next_tokens;
        uint32_t refs; /* the owner, and each request with the daemon */
        bool stopping, closed;
};

enum body_kind { BODY_NONE, BODY_JSON, BODY_NDJSON };

struct call {
        struct http *http;
        struct listener *listener;
        struct peer *peer;
        struct MHD_Connection *connection;
        struct call *prev, *next; /* in http->waiting */
        struct arena arena;
        unsigned method;
        struct route_match match;
        struct query query;
        enum body_kind body_kind;
        struct out body;
        size_t body_max;
        uint64_t received;
        bool looked; /* at the first character of the body */
        bool array, complete, failed, suspended, takes_long;
        bool hurried; /* the problem is told before the body is read, and the connection closed */
        struct problem problem;      /* when failed */
        int64_t now_us;              /* when its body was complete */
        uint32_t wait_s;             /* Prefer: wait; 0: none */
        struct str request_key;      /* Idempotency-Key; in the arena */
        struct stream *stream;       /* NDJSON */
        struct out created;          /* POST with wait: the answer of the submission */
        struct api_request *request; /* with the daemon */
        /* Who looks at its answer; NULL: answer.c, by its kind. May post again. */
        void (*answered)(struct call *call, struct api_request *r);
        void *plan; /* what an area keeps from one request to the next; in the arena */
        size_t held;
        struct MHD_Response *response;
        unsigned status;
        struct {
                const char *name;
                struct str value;
        } headers[HEADERS_EXTRA];
        uint32_t n_headers;
};

/* server.c */
int64_t now_ns(void);
int64_t now_wall_us(void);
struct api_request *request_free(struct api_request *r);

/* peer.c */
void peer_notify(void *cls, struct MHD_Connection *c, void **socket_context,
                 enum MHD_ConnectionNotificationCode code);
void peer_enter(struct peer *p, enum phase phase);
void peers_sweep(struct listener *l, int64_t now);
bool peers_busy(const struct listener *l); /* some answer is still being made or sent */

/* call.c */
enum MHD_Result call_handle(void *cls, struct MHD_Connection *c, const char *url,
                            const char *method, const char *version, const char *data, size_t *size,
                            void **ctx);
void call_done(void *cls, struct MHD_Connection *c, void **ctx,
               enum MHD_RequestTerminationCode code);
void call_resume(struct call *call);
void call_abort(struct call *call); /* 503: skepd is stopping */
bool call_hold(struct call *call,
               size_t bytes); /* false, with the problem: too much is held already */
void call_out_of_memory(struct call *call);

/* begin.c: from the head: problem or body_kind, match, query. */
void call_begin(struct call *call, const char *url, const char *method);

/* dispatch.c */
void call_dispatch(struct call *call);
struct api_request *call_request(struct call *call, enum api_kind kind); /* NULL with the problem */
void call_post(struct call *call, struct api_request *r /* takes r */);
void call_wait(struct call *call, const struct job_id *id);
void call_read(struct call *call, struct ledger_batch *b /* takes b */);
void call_operate(struct call *call, struct ledger_batch *b /* takes b */);

/* The body's object, taken by t->table; t->arena: where what is kept goes. `example` is told when
 * there is none. false: the problem is told. */
bool call_take_object(struct call *call, const struct field *table, const char *example,
                      struct arena *arena, struct taking *t);

/* answer.c */
void call_answer(struct call *call, struct api_request *r /* takes r */);
void call_header(struct call *call, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void call_respond(struct call *call, unsigned status, const char *content_type,
                  struct out *body /* takes its bytes */);
void call_respond_static(struct call *call, unsigned status, const char *content_type,
                         const char *text, size_t n);
void call_respond_problem(struct call *call);
void call_respond_json(struct call *call, unsigned status, struct out *o /* takes its bytes */);
void call_respond_text(struct call *call, unsigned status, const struct api_request *r); /* JSON */
void call_no_job(struct call *call); /* 404, for the id or key of the path */

/* The daemon's answer has its batch, and the ledger wrote or read it; else the problem is told. */
bool call_batch_done(struct call *call, const struct api_request *r, enum ledger_op op);
__attribute__((format(printf, 3, 4))) void call_refuse(struct call *call, enum problem_kind kind,
                                                       const char *fmt, ...);

/* The areas: queues.c, schedules.c, dead.c, operations.c, nodes.c */
void queues_call(struct call *call);
void schedules_call(struct call *call);
void dead_call(struct call *call);
void operations_call(struct call *call);
void nodes_call(struct call *call);

/* submit.c */
void submit_body(struct call *call);
void submit_answer(struct call *call, struct api_request *r);
bool submit_failed_row(const struct settings *s, const struct submit_row *row,
                       struct problem *ret_problem); /* false: it exists now */

/* ndjson.c */
struct stream *stream_new(struct call *call); /* NULL with the problem */
struct stream *stream_free(struct stream *s);
size_t stream_feed(struct call *call, const char *data,
                   size_t n);       /* how many bytes it took; it may have posted */
void stream_end(struct call *call); /* the body is complete */
void stream_answer(struct call *call, struct api_request *r);

extern const char openapi_json[];
extern const size_t openapi_json_size;

#endif
