/*
 * Unique jobs: of all jobs with an equal unique key, within its scope, one may be there at a time.
 *
 * The scope says what else must be equal: the type, the queue, the payload; the key itself may be
 * empty when the payload is in the scope. Queue and key are hashed with what the scope names into
 * 16 bytes, and a row of the ledger's table `keys` says which job holds them. The holder blocks
 * while it is in one of `states`, and, with a period, at least so long after it took the key,
 * whatever became of it: states and period are those that the holder came with. A holder whose row
 * is gone blocks by its period alone. Who loses changes nothing, or gives the waiting holder its
 * payload and time (UNIQUE_REPLACE; a holder that runs already or has ended is left as it is): a
 * pending holder becomes scheduled (reason REPLACED) or stays where it waits, a scheduled one is
 * offered or has the new time, a retrying one is offered or retries at the new time. Rows that
 * begin DEAD neither hold nor meet a key. A job that is requeued holds its key again if nobody took
 * it. A holder's own key (of its queue) goes on to stand for the payload that it came with: that
 * one again is EXISTS, any other CONFLICT, after its row was pruned as well.
 */
#ifndef SKEP_CORE_UNIQUE_H
#define SKEP_CORE_UNIQUE_H

#include "core/base.h"
#include "core/state.h"

enum unique_scope { SCOPE_TYPE = 1, SCOPE_QUEUE = 2, SCOPE_PAYLOAD = 4 };
#define SCOPE_DEFAULT (SCOPE_TYPE | SCOPE_QUEUE)

/* Until it ended. */
#define UNIQUE_STATES_DEFAULT                                                                      \
        (1u << STATE_SCHEDULED | 1u << STATE_PENDING | 1u << STATE_RUNNING | 1u << STATE_RETRYING)

enum unique_conflict { UNIQUE_KEEP, UNIQUE_REPLACE };

/* As producers ask for it. */
struct unique_wish {
        struct str key; /* 0 to 255 bytes; empty only with SCOPE_PAYLOAD */
        uint8_t scope;  /* enum unique_scope; 0: SCOPE_DEFAULT */
        uint8_t states; /* bit 1 << state; 0: UNIQUE_STATES_DEFAULT */
        enum unique_conflict conflict;
        int64_t for_ms; /* the period; 0: none */
};

/* As rows carry it and ledgers keep it. All zero: not unique. */
struct unique_key {
        bool set;
        bool of_queue; /* the queue is in its scope */
        uint8_t hash[16];
        uint8_t states;
        bool replace;
        int64_t for_us;
};

/* What the scope names must be what the row has; a row whose queue is not known yet is hashed with
 * the one that stands in it (empty, too), and whoever gives it another moves the key along. */
void unique_key_of(const struct unique_wish *wish, struct str type, struct str queue,
                   struct str payload, struct unique_key *ret);
void unique_key_move(struct unique_key *key, struct str from, struct str to);

#define UNIQUE_SCOPE_ALLOWED "type, queue or payload, or several of them joined by commas"
#define UNIQUE_STATES_ALLOWED                                                                      \
        "states joined by commas, as in scheduled,pending, or incomplete, or all"
#define UNIQUE_CONFLICT_ALLOWED "keep or replace"

/* The text forms that headers, JSON and the CLI share: "type,queue,payload"; "scheduled,running"
 * (states) or "incomplete" (the default) or "all"; "keep", "replace". false: not that. */
bool unique_scope_parse(struct str text, uint8_t *ret_scope);
bool unique_states_parse(struct str text, uint8_t *ret_states);
bool unique_conflict_parse(struct str text, enum unique_conflict *ret);

#endif
