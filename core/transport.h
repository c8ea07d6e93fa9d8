/*
 * The seam to a transport: what carries jobs from outside. One conformance binary
 * (tests/conformance/transport) runs over every implementation, the simulated one included.
 *
 * What every implementation MUST hold:
 *  - An arrival is acknowledged only by settle(), after the ledger commit that made it redundant.
 *    Nothing is ever rejected; what will not be settled MAY be handed back.
 *  - What was not settled when its connection went away comes again, with `redelivered` as the
 * broker tells it.
 *  - A batch of arrivals comes from one connection and does not mix what was redelivered with what
 *    was not: a redelivered letter without key may have to wait until its fate is known.
 *  - After each reconnect, a cancelled consumer, a deleted and remade queue, it consumes again by
 *    itself. A connection that is up and brings nothing although messages wait is found within 30 s
 *    and opened anew.
 *  - Everything that a broker delivered is handed over within 4 ms, whatever `room` says: `room`
 *    only decides what is asked for next. So nothing stays unacknowledged because nobody looked.
 *  - Doorbells are told `confirmed` only when the broker has confirmed every one of them and
 * returned none. Unconfirmed ones MAY be out there too.
 *  - It never blocks the caller: what blocks does so on threads of its own.
 *  - Broker texts, names and payloads are bytes, never trusted.
 */
#ifndef SKEP_CORE_TRANSPORT_H
#define SKEP_CORE_TRANSPORT_H

#include "core/arrival.h"
#include "core/base.h"
#include "core/config.h"

struct pollfd;

/* As arrivals.queue: no queue was bound for them (AMQP: they came out of `jobs.unrouted`). */
#define TRANSPORT_UNROUTED UINT32_MAX

struct transport {
        const struct transport_ops *ops;
};

/* Something that the rest must know of a transport. */
enum transport_news_kind {
        TRANSPORT_UP,    /* it consumes and publishes */
        TRANSPORT_DOWN,  /* it does not; `text` says why, for people */
        TRANSPORT_NOTE,  /* a line for the log */
        TRANSPORT_LOST,  /* arrivals of connection `connection` cannot be settled any more: drop
                            those  that no ledger transaction holds yet, they come again */
        TRANSPORT_EMPTY, /* queue `queue` holds no message that waits or is unacknowledged by
                            anybody, as the broker said just now */
        TRANSPORT_DEAF, /* credit was open, messages waited, nothing came: the channel was reopened;
                           told again, it is not healed */
        TRANSPORT_FLOOR, /* the ledger shall know that of the broker's history `text` everything up
                            to number `floor` was taken in (0: only asks); answered by floor() */
};

struct transport_news {
        enum transport_news_kind kind;
        int level; /* NOTE: syslog's: 3 error, 4 warning, 5 notice, 6 info */
        uint32_t queue;
        uint64_t connection;
        int64_t floor;
        char text[256];
        struct transport_news *next;
};

/* What dispatch() hands over: lists in order of completion, owned by the caller from then on. */
struct transport_answers {
        struct transport_news *news; /* before all else but `confirmed`; freed with free() */
        struct arrivals *arrivals;
        struct doorbells *bells;   /* answered */
        struct receipt *confirmed; /* journalled receipts whose acknowledgement the broker surely
                                      has: before the news, which may be of their connection's
                                      end; freed by ops->receipt_free */
        struct replies *replies;   /* answered */
};

struct transport_ops {
        const char *scheme; /* "amqp", "nats", "sim" */

        /* The queue with this index is served through this transport, with these settings (copied).
         * Again for a known index: its settings changed. Before the first consume() of it. */
        void (*attach)(struct transport *t, uint32_t queue, const struct queue_config *settings);

        /* So many arrivals of the queue can be used soon; 0: ask for nothing more. A hint for
         * prefetch that MAY be followed coarsely, but 0 stops the flow within a second, and so many
         * come although none of them is settled (fewer where their payloads are large). Ignored for
         * an index that was not attached. */
        void (*consume)(struct transport *t, uint32_t queue, uint32_t room);

        /* Acknowledges a batch, only after the commit that made it redundant. MAY be held back
         * until the batches of its connection before it are settled. Harmless when its connection
         * is gone. A journalled receipt comes back through dispatch() or, when its connection went
         * away before the broker surely had the acknowledgement, never. */
        void (*settle)(struct transport *t, struct receipt *r /* takes r */);
        struct receipt *(*receipt_free)(struct receipt *r); /* unsettled: comes again. NULL-safe */

        /* Publishes doorbells or marks; come back through dispatch(), within 30 s. */
        void (*ring)(struct transport *t, struct doorbells *bells /* takes bells */);

        /* Publishes replies: AMQP to the default exchange with `to` as routing key (so that direct
         * reply-to works), NATS to the subject `to`; with correlation id, content type, and headers
         * job-id, job-state, job-reason, job-error. An address that nobody listens at is no error.
         * Come back through dispatch(), within 30 s. */
        void (*reply)(struct transport *t, struct replies *replies /* takes replies */);

        /* What the ledger knows of a history: the highest floor that was ever told, 0: none. Comes
         * some time after each TRANSPORT_FLOOR, or never: ask again. NULL: this transport does not
         * tell floors. */
        void (*floor)(struct transport *t, struct str history, int64_t floor);

        /* Fills at most max entries with what the engine's poll shall watch; returns how many. */
        uint32_t (*pollfds)(struct transport *t, struct pollfd *fds, uint32_t max);
        int64_t (*deadline_ns)(struct transport *t); /* monotonic; INT64_MAX: never */

        /* Hands back what happened. Engine's thread, like all of these. */
        void (*dispatch)(struct transport *t, int64_t now_ns, struct transport_answers *ret);

        struct transport *(*close)(struct transport *t); /* NULL-safe, returns NULL; within 5 s */
};

#endif
