/*
 * Why a job is where it is: one sentence for people, one code for programs, the same through every
 * transport and ledger. Pure: whoever asks brings what is known, and a fact that is not known is
 * not guessed at. docs/explain.md lists the codes.
 */
#ifndef SKEP_CORE_EXPLAIN_H
#define SKEP_CORE_EXPLAIN_H

#include "core/arena.h"
#include "core/engine.h"
#include "core/ledger.h"

/*      enumerator, code; never renamed: programs rely on them */
#define EXPLAIN_CODES(X)                                                                           \
        X(COMPLETED, "completed")                                                                  \
        X(EXPIRED, "expired")                                                                      \
        X(DEAD, "dead")                                                                            \
        X(DUPLICATE, "duplicate")                                                                  \
        X(CANCELLED, "cancelled")                                                                  \
        X(RUNNING, "running")                                                                      \
        X(CANCEL_ASKED, "cancel_asked")                                                            \
        X(CLAIMED, "claimed")                                                                      \
        X(NODE_LOST, "node_lost")                                                                  \
        X(SCHEDULED, "scheduled")                                                                  \
        X(RETRYING, "retrying")                                                                    \
        X(DUE, "due")                                                                              \
        X(PAUSED, "paused")                                                                        \
        X(NO_QUEUE, "no_queue")                                                                    \
        X(NO_NODE, "no_node")                                                                      \
        X(QUEUE_NOT_SERVED, "queue_not_served")                                                    \
        X(NO_HANDLER, "no_handler")                                                                \
        X(PARKED, "parked")                                                                        \
        X(TRANSPORT_DOWN, "transport_down")                                                        \
        X(NOT_CONSUMED, "not_consumed")                                                            \
        X(IN_BROKER, "in_broker")                                                                  \
        X(ELSEWHERE, "elsewhere")                                                                  \
        X(GLOBAL_LIMIT, "global_limit")                                                            \
        X(NO_WORKER, "no_worker")                                                                  \
        X(SLOTS_TAKEN, "slots_taken")                                                              \
        X(BEHIND, "behind")                                                                        \
        X(READY, "ready")

enum explain_code {
#define X(name, text) EXPLAIN_##name,
        EXPLAIN_CODES(X)
#undef X
};
const char *explain_name(enum explain_code c);

/* What is known at the moment of asking. */
struct explain_facts {
        int64_t now_us;
        const struct job_row *job;    /* of a SHOW */
        uint64_t self;                /* the node that is asked */
        const struct node_row *nodes; /* all of them */
        uint32_t n_nodes;
        int64_t silent_us;                 /* a node without a beat for longer is not counted on */
        const struct queue_view *queue;    /* as this node has it; NULL: it has none of the name */
        int64_t queue_running;             /* jobs of it that run on all nodes; -1: not known */
        const struct worker_view *workers; /* of this node */
        uint32_t n_workers;
};

enum detail_kind { DETAIL_TEXT, DETAIL_NUMBER, DETAIL_FIGURE, DETAIL_TIME };

struct explain_detail {
        const char *name;
        enum detail_kind kind;
        struct str text;
        int64_t number; /* NUMBER; TIME: wall µs */
        double figure;
};

#define EXPLAIN_DETAILS_MAX 12

struct explanation {
        enum explain_code code;
        struct str sentence; /* of the arena; p NULL: out of memory */
        struct explain_detail details[EXPLAIN_DETAILS_MAX];
        uint32_t n_details;
};

void explain_job(const struct explain_facts *f, struct arena *a, struct explanation *ret);

#endif
