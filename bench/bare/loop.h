/*
 * The bare loop of a broker and a ledger, and what it wants of each. rabbitmq_postgres.c and its
 * like name the two.
 *
 * A batch is received and claimed with its payload (one commit), acknowledged, put through a no-op,
 * and finished (one more commit); while the ledger works, the next batch comes in. No guard, no
 * fence, no journal, no isolation: that is the point. Nothing here returns after a surprise.
 */
#ifndef SKEP_BENCH_BARE_LOOP_H
#define SKEP_BENCH_BARE_LOOP_H

#include <stdint.h>

struct batch {
        long n;
        uint8_t *ids;   /* 16 bytes each: the letters' own where they have one, else new ones */
        char *payloads; /* payload_size bytes each */
        uint64_t mark;  /* the broker's: what acknowledges the whole batch */
        void **letters; /* the broker's: what acknowledges each */
};

struct bare_broker {
        const struct bare_broker_ops *ops;
};

struct bare_broker_ops {
        /* From here on letters of that queue come: `n` in all, `together` at most in a batch. */
        struct bare_broker *(*open)(const char *url, const char *queue, long n, long together);
        /* Waits for `least`, takes up to `most` of what is there. What the batch held is forgotten.
         */
        void (*receive)(struct bare_broker *b, long least, long most, struct batch *ret);
        void (*acknowledge)(struct bare_broker *b, struct batch *batch);
        void (*settle)(struct bare_broker *b); /* until the broker has seen all acknowledgements */
        void (*close)(struct bare_broker *b);
};

struct bare_ledger {
        const struct bare_ledger_ops *ops;
};

struct bare_ledger_ops {
        void (*reset)(const char *url); /* a new table `bare` */
        struct bare_ledger *(*open)(const char *url);
        /* The rows are inserted as running. Committed when end_claim returns; between the two
         * nothing else is asked of the ledger. */
        void (*begin_claim)(struct bare_ledger *l, const struct batch *batch);
        void (*end_claim)(struct bare_ledger *l);
        void (*finish)(struct bare_ledger *l,
                       const struct batch *batch); /* committed, all of them */
        void (*count)(struct bare_ledger *l, long *ret_rows,
                      long *ret_bad); /* bad: not completed */
        void (*close)(struct bare_ledger *l);
};

extern const struct bare_broker_ops bare_amqp, bare_nats;
extern const struct bare_ledger_ops bare_postgres, bare_sqlite;

/* What main() returns.
 *
 *     PROGRAM BROKER LEDGER reset                      a new table `bare`
 *     PROGRAM BROKER LEDGER drain QUEUE N BATCH        N letters of a queue become completed rows
 *     PROGRAM BROKER LEDGER latency QUEUE N            as they come: from being sent to being
 * claimed
 *
 * BROKER and LEDGER are URLs. The last two print one JSON line and then count the rows: all are
 * completed with their payload, or the program fails. */
int bare_main(int argc, char **argv, const struct bare_broker_ops *broker,
              const struct bare_ledger_ops *ledger);

#endif
