/*
 * The producer of the benchmarks and what it wants of a broker's library. It counts letters; a
 * broker's half sends them and hears which have been confirmed.
 */
#ifndef SKEP_BENCH_PUBLISH_H
#define SKEP_BENCH_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#define WINDOW   2048 /* letters without a confirm; a power of two */
#define TOGETHER 64   /* letters in one send */

/* Confirms may come in any order: `low` is what all up to are confirmed. */
struct window {
        uint64_t sent, low;
        bool confirmed[WINDOW];
};

void window_confirm(struct window *w, uint64_t number); /* letters are numbered from 0 */

struct producer {
        const struct producer_ops *ops;
};

enum letter_ids { IDS_NONE, IDS_UUID, IDS_RANDOM }; /* no message id, UUIDv7, UUIDv4 */

/* The id as 36 characters, for any but IDS_NONE. */
void make_id_text(enum letter_ids ids, char ret_text[37]);

/* Nothing here returns after a surprise. */
struct producer_ops {
        /* paced: a letter shall not wait for others. */
        struct producer *(*open)(const char *url, bool paced);
        void (*declare)(struct producer *p, const char *queue, const char *key);
        long (*depth)(struct producer *p, const char *queue);
        void (*purge)(struct producer *p, const char *queue);

        /* Letters to that routing key or subject, with such a message id. */
        void (*begin)(struct producer *p, const char *key, enum letter_ids ids);
        void (*send)(struct producer *p, struct window *w, uint64_t n); /* TOGETHER at most */
        void (*take)(struct producer *p, struct window *w, bool wait); /* confirms; wait: for one */
        void (*close)(struct producer *p);
};

extern const struct producer_ops producer_amqp, producer_nats;

#endif
