/*
 * The seam to a transport: what carries jobs from outside. By batch, and by credit: the engine
 * gives an empty batch, the transport returns it full or after 4 ms, so that small arrivals never
 * starve the ledger.
 *
 * No implementation yet; the shape stands from the first day so that the engine's one way of a job
 * leaves room for it: letters arrive, are answered in one ledger transaction, and are acknowledged
 * after its commit.
 */
#ifndef SKEP_CORE_TRANSPORT_H
#define SKEP_CORE_TRANSPORT_H

#include "core/arena.h"
#include "core/base.h"
#include "core/ledger.h"

struct pollfd;

enum arrival_kind { ARRIVAL_LETTER, ARRIVAL_DOORBELL, ARRIVAL_MARK };

struct arrival {
        enum arrival_kind kind;
        bool redelivered;
        struct job_id id;      /* DOORBELL: the job; LETTER: minted by the engine */
        int64_t seq;           /* DOORBELL, MARK: the tide's position */
        struct submit_row row; /* LETTER: the envelope, resolved */
        uint64_t tag;          /* the transport's own, given back with settle() */
};

struct arrivals {
        struct arena arena;
        struct arrival *items;
        uint32_t n, capacity;
        uint32_t queue; /* index of the configured queue */
        struct arrivals *next;
        void *connection; /* the transport's: arrivals of a connection that is gone cannot be
                             settled */
};

struct doorbell {
        struct job_id id;
        int64_t seq;
        uint32_t queue;
};

struct doorbells {
        struct doorbell *items;
        uint32_t n;
        bool confirmed; /* answer: all of them */
        struct doorbells *next;
};

struct transport {
        const struct transport_ops *ops;
};

struct transport_ops {
        const char *scheme; /* "amqp", "nats" */

        /* MUST fill and return each credited batch through dispatch(): when it is full, or 4 ms
         * after its first arrival. MAY hold any number of credits per queue; an empty queue keeps
         * its credit. */
        void (*credit)(struct transport *t, struct arrivals *empty /* takes empty */);

        /* Acknowledges all arrivals of a batch. Only after the commit that made them redundant.
         * MUST be harmless when the connection they came over is gone: they will come again. */
        void (*settle)(struct transport *t, struct arrivals *answered /* takes answered */);

        /* Publishes doorbells with confirms; comes back through dispatch(). */
        void (*ring)(struct transport *t, struct doorbells *bells /* takes bells */);

        uint32_t (*pollfds)(struct transport *t, struct pollfd *fds, uint32_t max);
        int64_t (*deadline_ns)(struct transport *t);

        /* Hands back filled arrivals and answered doorbells. Engine's thread. */
        void (*dispatch)(struct transport *t, int64_t now_ns, struct arrivals **ret_arrivals,
                         struct doorbells **ret_bells);

        struct transport *(*close)(struct transport *t); /* NULL-safe, returns NULL */
};

#endif
