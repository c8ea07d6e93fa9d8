/*
 * A broker in memory: queues with names and patterns, messages in order, what is delivered and not
 * acknowledged, and everything that can go wrong with them on request. Several simulated transports
 * share one; it belongs to one thread.
 *
 * It forgets no message: what was acknowledged or lost stays listed with its fate, so that an
 * auditor can count. It must never look at an engine or a ledger.
 */
#ifndef SKEP_SIM_BROKER_H
#define SKEP_SIM_BROKER_H

#include "core/envelope.h"
#include "core/ledger.h"
#include "core/transport.h"
#include "tests/sim/rng.h"

struct sim_transport;

enum message_fate {
        MESSAGE_READY,
        MESSAGE_UNACKED, /* delivered to `owner` */
        MESSAGE_ACKED,
        MESSAGE_LOST, /* by the broker */
};

struct sim_message {
        struct sim_message *older; /* all of them, the newest first */
        uint64_t place;            /* in its queue: what comes back takes its old one */
        struct sim_queue *queue;
        struct arena arena;
        struct envelope envelope;
        uint32_t letter; /* the producer's number of its content; 0: a doorbell or mark of ours */
        enum message_fate fate;
        const void *owner;             /* UNACKED: a transport, or whoever else holds it */
        bool sure;                     /* the transport was told that its acknowledgement arrived */
        uint32_t deliveries, unmarked; /* unmarked: came back as if it were new */
        uint32_t answers;              /* committed ARRIVEs that held it; the watcher's */
        uint32_t stale; /* of them, those whose delivery had been taken back before the commit */
};

struct sim_queue {
        struct sim_queue *next;
        struct str name;
        struct str *patterns;
        uint32_t n_patterns;
        bool exists, hidden;
        struct sim_message **ready; /* by place */
        uint32_t n_ready, capacity, n_unacked;
        int64_t n_acked; /* its floor */
};

struct sim_broker_faults {
        int64_t latency_min_ns, latency_max_ns;
        /* permille */
        uint32_t cut_before, cut_after; /* of settles: the acknowledgement is lost with its
                                           connection; it arrives, and only its confirmation is */
        uint32_t returned;              /* of doorbell batches: one of them is returned */
        uint32_t confirm_lost;          /* published, and the connection ends before the confirm */
        uint32_t confirm_late;          /* it takes up to late_ns */
        uint32_t duplicate, reorder;    /* of messages */
        int64_t late_ns;
};

/* A delivery's note of what is to be acknowledged. The broker keeps them all to the end. */
struct sim_receipt {
        struct receipt base;
        struct sim_receipt *older;
        struct sim_transport *transport; /* NULL: closed */
        uint64_t connection;
        enum { RECEIPT_OUT, RECEIPT_SETTLED, RECEIPT_FREED } state;
        struct sim_message **messages;
        uint32_t n;
        bool stale; /* its messages were taken back */
        bool taken; /* the broker has its acknowledgement */
        bool sure;  /* and its transport was told so */
};

struct sim_broker {
        int64_t now_ns;
        struct sim_queue *queues;
        struct sim_message *messages;
        struct sim_receipt *receipts;
        struct sim_transport *transports; /* the open ones */
        struct sim_broker_faults faults;
        struct rng rng;
        bool down, refusing, blocked;
        bool silent; /* it never says that a queue is empty */
        bool stream; /* messages bear names of its own; its transports tell floors */
        uint64_t place, connection;
        uint32_t payload_max;
        /* An acknowledgement was sent, or is taken. */
        void (*on_ack)(void *watcher, const struct sim_message *m);
        void (*on_store)(void *watcher, const struct sim_message *m); /* it came into a queue */
        void (*on_reply)(void *watcher, const struct job_reply *r);   /* it was sent out */
        void (*complain)(void *watcher, const char *text);            /* misuse of the seam */
        void *watcher;
};

void sim_broker_deinit(struct sim_broker *b); /* all transports are closed */

struct sim_queue *sim_broker_queue(struct sim_broker *b, struct str name, bool create);
void sim_broker_bind(struct sim_broker *b, struct sim_queue *q, struct str pattern);

/* Stores one copy; false: no such queue. */
bool sim_broker_publish(struct sim_broker *b, struct sim_queue *q, const struct envelope *e,
                        uint32_t letter);
/* To every queue bound for the address, else to `jobs.unrouted`. */
void sim_broker_route(struct sim_broker *b, const struct envelope *e, uint32_t letter);

/* The next one for this consumer, or NULL. */
struct sim_message *sim_broker_take(struct sim_broker *b, struct sim_queue *q, const void *owner);
void sim_broker_ack(struct sim_broker *b, struct sim_message *m);
void sim_broker_put_back(struct sim_broker *b, struct sim_message *m, bool marked);

/* All connections go; what was unacknowledged comes back. */
void sim_broker_cut(struct sim_broker *b, bool marked);
void sim_broker_stop(struct sim_broker *b, bool marked);
void sim_broker_start(struct sim_broker *b);
void sim_broker_tick(struct sim_broker *b, int64_t now_ns); /* all transports' clocks */
/* The youngest `n` of all messages that it holds are gone; UINT32_MAX: all. */
void sim_broker_lose(struct sim_broker *b, uint32_t n);
void sim_broker_delete(struct sim_broker *b, struct sim_queue *q);

int64_t sim_broker_latency(struct sim_broker *b);

#endif
