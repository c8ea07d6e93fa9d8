/*
 * What a transport gives to be run through the conformance cases: a broker that can be filled,
 * counted, restarted, cut off and broken from outside. A new implementation adds one file with one
 * of these and its line in transport.c; the cases do not change.
 *
 * A case that needs what a fixture lacks is printed as skipped, with the reason, and counted.
 *
 * Everything here is called from one thread, the one that calls the transports. Each function has
 * taken effect in the broker when it returns; what the transports notice of it, and when, is their
 * own. The cases never look at a clock of their own: an implementation in virtual time gives
 * now_ns() and lets time go by in wait() alone.
 */
#ifndef SKEP_TESTS_CONFORMANCE_TRANSPORT_FIXTURE_H
#define SKEP_TESTS_CONFORMANCE_TRANSPORT_FIXTURE_H

#include "core/envelope.h"
#include "core/transport.h"

enum transport_need {
        NEED_BROKER = 1,       /* broker(): the broker can be restarted, killed, stopped */
        NEED_WIPE = 2,         /* broker(BROKER_WIPE) */
        NEED_CUT = 4,          /* cut(), refuse() */
        NEED_LOSE = 8,         /* lose() */
        NEED_BLOCK = 16,       /* block() */
        NEED_DEAF = 32,        /* deafen() */
        NEED_HIDE = 64,        /* delete_queue(), hide_queue() */
        NEED_HOLD = 128,       /* hold(), release() */
        NEED_PROPERTIES = 256, /* letters have broker properties, not headers alone */
        NEED_DIRECT = 512,     /* publish() with a queue */
        NEED_UNROUTED = 1024,  /* letters that no queue takes are kept and brought */
        NEED_SHARE = 2048,     /* several transports on one broker at once */
        NEED_KEPT = 4096, /* letters that no queue takes are not lost: they are brought as above,
                             or as soon as a queue takes them */
        NEED_EAR = 8192,  /* listen(), heard() */
        NEED_EAR_DIRECT = 16384, /* listen() without a queue of its own */
};

/* A reply as whoever asked for it gets it. Texts are empty where it has none. */
struct fixture_reply {
        struct str correlation_id, content_type, body;
        struct str id, state, reason, error; /* its headers job-id, job-state, ... */
};

enum broker_move {
        BROKER_RESTART, /* in good order; durable things stay */
        BROKER_KILL,    /* SIGKILL and start: what was confirmed stays */
        BROKER_STOP,    /* down until BROKER_START */
        BROKER_START,
        BROKER_WIPE, /* stopped, everything in it lost (queues, exchanges, messages), started */
};

#define FIXTURE_PAYLOAD_MAX (64u << 10) /* the limit that open() gives to each transport */

struct transport_fixture {
        const char *name;
        unsigned has;      /* of enum transport_need */
        const char *lacks; /* why the rest is missing; shown with skipped cases */

        /* Asked once, before the first case: false when the run is impossible here; the reason is
         * printed, and the run fails. */
        bool (*able)(void);

        /* A broker in which nothing of this store exists yet: what it holds for others (earlier
         * cases, other programs) has other names. Never NULL: what goes wrong is printed and exits.
         */
        void *(*setup)(void);
        /* Takes away what the store made; the broker is up, unblocked and reachable afterwards. All
         * transports on it were closed. */
        void (*teardown)(void *store);

        /* Another transport on the store, with FIXTURE_PAYLOAD_MAX. It need not be connected yet.
         * 0 or -errno, noted. */
        int (*open)(void *store, struct transport **ret_transport, char *note, size_t note_size);

        /* The broker's name for the case's queue `name` ("q", "r"): the cases use it in attach(),
         * and give it to all functions below. Lives as long as the store. */
        struct str (*queue)(void *store, const char *name);
        /* Where oversized letters go: can be counted, never attached. */
        struct str (*refused)(void *store);

        /* The clock that dispatch() is given. */
        int64_t (*now_ns)(void *store);
        /* Lets time go by until one of the transports may have something for dispatch() (a pollfd
         * is ready, its deadline has come), at most so long. MAY return earlier. */
        void (*wait)(void *store, struct transport *const *ts, uint32_t n, int64_t at_most_ns);

        /* A producer publishes n letters in this order, each with the fields of its struct envelope
         * that are set (p != NULL, priority >= 0, timestamp_s != 0; too_large, body_size and
         * redelivered mean nothing here). Durable in the broker when it returns. `queue` empty: to
         * the address, by which the broker finds the queue; else straight into that queue, and the
         * address is not used. False: not all of them were taken, printed. */
        bool (*publish)(void *store, struct str queue, const struct envelope *letters, uint32_t n);

        /* How many messages the queue holds that wait (delivered and unacknowledged ones are not
         * counted); -1: no such queue. */
        int64_t (*ready)(void *store, struct str queue);

        /* --- what can be done to them; each MAY be NULL where `has` says so --- */

        /* Returns when it is done, so after START, RESTART, KILL, WIPE the broker answers again.
         * Connections are gone. */
        void (*broker)(void *store, enum broker_move move);

        /* All connections of the transports are gone at once, without a word; new ones are let in.
         */
        void (*cut)(void *store);
        /* While true no new connection is let in; those that are stay. */
        void (*refuse)(void *store, bool on);
        /* What the transports send on their present connections from now on never reaches the
         * broker: acknowledgements, publishes, everything. Until cut(), which follows. */
        void (*lose)(void *store);
        /* While true the broker takes nothing that is published: connections that publish are
         * blocked and are told so; consuming goes on. */
        void (*block)(void *store, bool on);
        /* The broker delivers nothing more on the present connections and channels, which seem well
         * otherwise; those that are opened anew are served. */
        void (*deafen)(void *store);

        /* The queue and all in it are gone, as when an operator deletes it. The transport may make
         * it anew at once. */
        void (*delete_queue)(void *store, struct str queue);
        /* While true the queue is gone and stays so, whatever the transport does. What was in it is
         * lost. After false the transport can make it anew. */
        void (*hide_queue)(void *store, struct str queue, bool on);

        /* Another consumer takes the first message that waits and leaves it unacknowledged; false:
         * none waited. release(): it acknowledges it, or lets it go back into the queue. */
        bool (*hold)(void *store, struct str queue);
        void (*release)(void *store, bool acknowledge);

        /* Somebody waits for replies, from now on and until the store is taken down; the address of
         * his. `direct`: by the broker's own means, without a queue. Once for each store. */
        struct str (*listen)(void *store, bool direct);
        /* The next that came to him; false: none did within a few seconds. Valid until the next
         * call. */
        bool (*heard)(void *store, struct fixture_reply *ret_reply);
};

extern const struct transport_fixture fixture_amqp, fixture_nats, fixture_sim_transport;

/* The one that this run is for. */
extern const struct transport_fixture *fixture;

struct transport_case {
        const char *name;
        void (*run)(void);
        unsigned needs; /* of enum transport_need */
};

struct transport_case_list {
        const struct transport_case *cases;
        size_t n;
};

/* One per file of cases. */
extern const struct transport_case_list transport_cases_bell, transport_cases_flow,
    transport_cases_letter, transport_cases_outage, transport_cases_reply, transport_cases_settle;

#define TRANSPORT_CASES(name, ...)                                                                 \
        static const struct transport_case name##_table[] = {__VA_ARGS__};                         \
        const struct transport_case_list name = {name##_table,                                     \
                                                 sizeof name##_table / sizeof *name##_table}

#endif
