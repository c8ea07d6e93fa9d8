/*
 * The test bed of a transport: a broker store, up to four transports on it, and everything that
 * they handed over, in order. Cases publish, let time go by until something has come, and look.
 *
 * It behaves as the engine does: news are read first, and batches of a lost connection are dropped
 * (counted in `dropped`, so that a case can tell what has to come again).
 */
#ifndef SKEP_TESTS_CONFORMANCE_TRANSPORT_BED_H
#define SKEP_TESTS_CONFORMANCE_TRANSPORT_BED_H

#include "tests/conformance/transport_fixture.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

#define BED_TRANSPORTS 4
#define Q              0    /* the engine's index of the case's first queue, "q" */
#define R              1    /* of its second, "r" */
#define SEEN_MS        4000 /* within which what was asked for holds, and what was under way is here */

struct came {
        struct arrivals *batch;
        const struct arrival *arrival;
        uint32_t transport;
};

struct bed {
        void *store;
        struct transport *ts[BED_TRANSPORTS];
        uint32_t n_ts;
        bool up[BED_TRANSPORTS];
        struct queue_config queues[2];
        struct str types[2];

        struct came *came; /* arrivals that are not dropped, in order */
        uint32_t n, capacity;
        struct arrivals **batches; /* theirs; freed with the bed */
        uint32_t n_batches, batch_capacity;
        uint32_t dropped;

        struct doorbells *bells;   /* answered and not asked for yet */
        struct replies *replies;   /* likewise */
        struct receipt *confirmed; /* came back */
        uint32_t n_confirmed;
        uint32_t news[TRANSPORT_DEAF + 1]; /* how many of each kind */
        uint32_t empty;                    /* EMPTY of queue Q */
        uint64_t lost[64];                 /* connections, as LOST named them; the last ones */
};

struct bed *bed_new(void); /* a store and a transport, nothing attached */
struct bed *bed_free(struct bed *bed);
uint32_t bed_open(struct bed *bed); /* one more transport; its number */
void bed_close(struct bed *bed, uint32_t transport);

/* Attaches queue Q ("q", types mail.>, default_type mail.default) and, if more than one, R ("r",
 * types text.>) to a transport, with room for so many, and waits until it is up. */
void bed_serve(struct bed *bed, uint32_t transport, uint32_t queues, uint32_t room);
struct bed *bed_serving(void); /* bed_new and bed_serve of Q, room 1000 */
void bed_consume(struct bed *bed, uint32_t queue, uint32_t room); /* of the first transport */
struct str bed_queue(struct bed *bed, uint32_t queue);            /* the broker's name of Q or R */

/* --- time --- */

/* One round: dispatch all, else wait. */
void bed_turn(struct bed *bed);
/* Until it holds; false, and told, when it did not in two minutes. */
bool bed_until(struct bed *bed, bool (*holds)(struct bed *bed, int64_t of), int64_t of,
               const char *what);
void bed_pass(struct bed *bed, int64_t ms); /* so long, whatever comes */

bool bed_came(struct bed *bed, uint32_t n); /* waits until n arrivals are there */
bool bed_up(struct bed *bed);               /* waits until the first transport is up */
bool bed_told(struct bed *bed, enum transport_news_kind kind, uint32_t n); /* waits for n in all */
bool bed_lost(const struct bed *bed, uint64_t connection);                 /* was it told? */
bool bed_empty(struct bed *bed, uint32_t n);     /* waits for n EMPTY of queue Q in all */
bool bed_confirmed(struct bed *bed, uint32_t n); /* waits for n receipts in all */
bool bed_ready(struct bed *bed, uint32_t queue, int64_t n); /* waits until so many wait there */

/* --- letters --- */

struct envelope bed_letter(const char *address, const char *body);
void bed_publish(struct bed *bed, const struct envelope *letters, uint32_t n);
/* n letters to mail.send, bodies "first", "first + 1" and so on. */
void bed_send(struct bed *bed, uint32_t first, uint32_t n);
/* Asserts that arrivals from..from+n-1 are these, in order. */
void bed_check(struct bed *bed, uint32_t from, uint32_t first, uint32_t n);
uint32_t bed_number(const struct came *c); /* of its body */
bool bed_header(const struct arrival *a, const char *name, const char *value);
/* Would a ledger know b for the same letter as a? By its key or, where it has none, its
 * fingerprint. */
bool bed_same(const struct arrival *a, const struct arrival *b);

/* --- settling --- */

void bed_settle(struct bed *bed, struct arrivals *batch, bool journalled);
void bed_settle_all(struct bed *bed); /* what is not yet */
void bed_forget(struct bed *bed);     /* all arrivals leave the list; unsettled ones are dropped */

/* --- bells --- */

struct doorbells *bed_bells(uint32_t queue, int64_t first_seq,
                            uint32_t n); /* ids made of the seq */
struct job_id bed_id(int64_t seq);
void bed_post(struct bed *bed, struct doorbells *bells /* takes bells */);
/* Waits for the next answer, whichever it is; the caller frees it. */
struct doorbells *bed_answer(struct bed *bed);
bool bed_ring(struct bed *bed, uint32_t queue, int64_t first_seq, uint32_t n); /* confirmed? */

/* --- replies --- */

void bed_reply(struct bed *bed, struct replies *replies /* takes replies */);
struct replies *bed_replied(struct bed *bed); /* waits for the next answer; the caller frees it */

#endif
