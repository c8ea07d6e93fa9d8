/*
 * A node: the engine and everything that carries its actions out, in one loop on one thread. The
 * loop polls the ledger, the plug-in host, the requests of the HTTP thread (ZeroMQ inproc) and
 * signals; each thing that happened becomes an event, each step's actions are carried out in order
 * before the next event.
 */
#ifndef SKEP_DAEMON_NODE_H
#define SKEP_DAEMON_NODE_H

#include <stdatomic.h>

#include "core/config.h"
#include "core/engine.h"
#include "core/ledger.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/relay.h"
#include "daemon/state_dir.h"
#include "daemon/zones.h"
#include "http/server.h"
#include "plugins/host.h"

struct node {
        const struct config *config;
        struct state_dir *state;
        struct log *log;
        struct host *host;
        struct ledger *ledger;
        struct relay relay;
        struct engine *engine;
        struct http *http;
        struct metrics *metrics;
        void *requests; /* ZeroMQ PULL of struct api_request pointers */
        _Atomic uint64_t
            handed;  /* requests sent so far: orders their bytes before their pointers */
        int signals; /* signalfd */

        struct engine_actions actions;
        uint64_t holder; /* as last written to the state directory */
        bool stopping, stopped, broken, stepping;
        struct ledger_batch *reads; /* wait for the end of the step */
        struct ledger_batch *stats; /* what /metrics told last; NULL: nothing */
        int64_t stats_ns;           /* when */
        struct waiter *waiters;     /* uthash by request */
        int64_t waiters_ns;         /* when they are looked at again */
        struct bulk_waiter *bulk_waiters;
        struct zone_book *zones;
        uint32_t generation; /* of the roster */
        int64_t worked_ns;   /* last batch of many jobs or bytes whose memory was not given back; 0:
                                none */
        int64_t words_ns;    /* when words of progress are looked at again */

        /* SIGHUP: loads the configuration anew, tells the node by node_configure(). */
        void (*reload)(struct node *n, void *ctx);
        void *reload_ctx;
};

/* Runs until the engine has drained after SIGTERM or SIGINT (or a second one). The process's exit
 * code. */
int node_run(struct node *n, const struct former *former);
void node_configure(struct node *n, const struct config *fresh);

/* daemon/carry.c: what an engine's action means here */
void node_step(struct node *n, const struct engine_event *ev);        /* never from within a step */
void node_read(struct node *n, struct ledger_batch *b /* takes b */); /* from anywhere */
struct instant node_now(void);

/* daemon/api.c: requests of the HTTP thread */
void api_take_requests(struct node *n);
void api_answer_submission(struct node *n, struct submission *s);
void api_answer_operator(struct node *n, struct ledger_batch *b, void *cookie);
void api_answer_read(struct node *n, struct ledger_batch *b);
void api_answer_written(struct node *n, struct ledger_batch *b);
void api_answer(struct node *n, struct api_request *r);                   /* as it is */
void api_refuse(struct node *n, struct api_request *r, const char *note); /* 503 */
void api_settled(struct node *n, const struct ledger_finish *f);
void api_look_at_waiters(struct node *n, int64_t now_ns);
int64_t api_wake_ns(const struct node *n);
void api_refuse_waiters(struct node *n);

/* daemon/operate.c: requests of operators */
void operate_request(struct node *n, struct api_request *r);
void operate_carry(struct node *n, const struct engine_action *a); /* BULK, RECONCILED, RAN */
bool operate_read(struct node *n, struct api_request *r,
                  struct ledger_batch *b); /* true: b was taken, it was one of these */
void operate_look(struct node *n);         /* after each pass of the loop */
int64_t operate_wake_ns(const struct node *n);
void operate_deinit(struct node *n);

/* daemon/views_operate.c: JSON for people, from the ledger and the engine together */
struct str view_queues(struct node *n, const struct ledger_stats *s, struct str name,
                       struct arena *a, bool *ret_found); /* name empty: all */
struct str view_reconciled(const struct reconciled *what, struct arena *a);
bool view_explain_counts(const struct ledger_show *show); /* does it need STATS? */
struct str view_explain(struct node *n, struct ledger_batch *read, struct arena *a);

/* daemon/views.c: JSON for people */
struct str view_handlers(struct node *n, struct arena *a);
struct str view_workers(struct node *n, struct arena *a);
struct str view_stats(struct node *n, const struct ledger_stats *s, struct arena *a);
struct str view_doctor(struct node *n, struct arena *a);
struct str view_ready(struct node *n, struct arena *a, int *ret_status);

#endif
