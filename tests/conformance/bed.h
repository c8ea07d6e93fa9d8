/*
 * The test bed: one handle on a fresh store, a registered holder, and each operation as one call
 * that posts, waits and asserts what nearly every case takes for granted (that it was COMMITTED).
 */
#ifndef SKEP_TESTS_CONFORMANCE_BED_H
#define SKEP_TESTS_CONFORMANCE_BED_H

#include "tests/conformance/fixture.h"

#include <CUnit/Basic.h>
#include <stdlib.h>

#define SECOND US_PER_S

struct bed {
        void *store;
        bool owns_store;
        struct ledger *l;
        uint64_t holder;
        uint64_t n[LEDGER_LANES];
        uint64_t token;         /* of the last claim */
        struct commit_no heard; /* the last beat that was answered */
        struct id_mint mint;
        struct roster *roster;     /* serves "noop" and "mail.>" */
        struct ledger_batch *done; /* came back, not asked for yet */
        struct ledger_batch *kept; /* answers that the case still reads; freed with the bed */
};

struct bed *bed_new(void);                                /* fresh store, holder registered */
struct bed *bed_join(struct bed *other, uint64_t holder); /* another handle, another holder */
struct bed *bed_free(struct bed *bed);
void bed_reopen(struct bed *bed); /* closes the handle, opens another; the holder stays */

#define NEW(kind, OP) LEDGER_AS(kind, OP, ledger_batch_new(LEDGER_##OP))

/* Numbers (if it has no number yet) and posts; waits; what it came back with is in b->outcome. */
void bed_post(struct bed *bed, struct ledger_batch *b);
void bed_wait(struct bed *bed, struct ledger_batch *b);
enum ledger_outcome bed_do(struct bed *bed, struct ledger_batch *b);
void bed_must(struct bed *bed, struct ledger_batch *b); /* asserts COMMITTED */
void bed_keep(struct bed *bed, struct ledger_batch *b); /* takes b */

enum ledger_outcome bed_register(struct bed *bed);

/* --- submit --- */
struct submit_row
bed_row(struct bed *bed); /* pending, offered, queue "q", type "noop", payload "x" */
enum submit_result bed_add(struct bed *bed, struct submit_row *row); /* with its answers */
struct job_id bed_add_one(struct bed *bed);
struct submission *bed_submission(struct bed *bed, uint32_t n);
struct ledger_submit *bed_submit(struct submission *s); /* a batch of one submission */

/* --- claim --- */
struct ledger_claim *bed_claim_batch(struct bed *bed, uint32_t want); /* queue "q", 1 MiB */
struct claim *bed_claim(struct bed *bed, uint32_t want); /* to be freed by claim_free */
struct roster *bed_roster(const char *const *patterns, uint32_t n);

struct claim *bed_recall(struct bed *bed, struct commit_no of, uint64_t token);
struct ledger_held *bed_held(struct bed *bed, uint64_t victim, uint64_t after, uint32_t limit);
bool bed_bury(struct bed *bed, uint64_t victim, uint64_t seen_beat, bool any_beat, bool forget);

/* Asserts that a job just claimed from this row, as SUBMIT wrote it now, has all of its fields. */
void bed_same(struct bed *bed, const struct job *j, const struct submit_row *row);

/* --- arrive --- */
struct arrival bed_letter(struct bed *bed); /* bed_row(), to be started */
struct arrival bed_doorbell(const struct job_id *id, bool start);
struct ledger_arrive *bed_arrive(struct bed *bed, const struct arrival *items, uint32_t n);
struct ledger_arrive *bed_arrive_free(struct ledger_arrive *b);         /* with its list */
enum arrival_result bed_arrive_one(struct bed *bed, struct arrival *a); /* with its answers */
struct job_id bed_add_broker(struct bed *bed); /* a row that waits for its doorbell */

/* --- finish --- */
struct finish_row bed_verdict(const struct job *j, enum job_state to);
struct ledger_finish *bed_finish_batch(const struct finish_row *rows, uint32_t n);
uint32_t bed_finish(struct bed *bed, const struct finish_row *rows,
                    uint32_t n);                             /* how many stale */
bool bed_finish_one(struct bed *bed, struct finish_row row); /* false: stale */

/* Brings a new job into any state by legal ways alone. */
struct job_id bed_job_in(struct bed *bed, enum job_state state);

/* --- read --- */
const struct job_row *bed_show(struct bed *bed,
                               const struct job_id *id);            /* asserts that it is there */
enum job_state bed_state(struct bed *bed, const struct job_id *id); /* STATE_NONE: no such job */
const struct ledger_list *bed_list(struct bed *bed, const struct ledger_list *filter);
const struct ledger_stats *bed_stats(struct bed *bed);
const struct ledger_beat *bed_beat(struct bed *bed); /* known: the last one of this holder */
enum cancel_result bed_cancel(struct bed *bed, const struct job_id *id);
bool bed_resolve(struct bed *bed, struct commit_no of); /* happened? */

#endif
