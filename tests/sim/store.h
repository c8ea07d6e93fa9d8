/*
 * The simulated ledger's tables and what each operation does to them, at one instant: a transaction
 * is a function call. Latency, faults and the fate of commits are sim_ledger's; time is handed in.
 *
 * Several ledgers (one per node) share one store. It reports every change of state to a watcher,
 * which is how the auditor gets a history that no engine could have written. It must never look at
 * an engine. Discarded: snapshots and undo by copying the tables; only an atomic submission needs
 * undo, and it deletes what it inserted.
 */
#ifndef SKEP_SIM_STORE_H
#define SKEP_SIM_STORE_H

#include <uthash.h>

#include "core/ledger.h"

struct store_job;

/* Rows in order of (at, seq): the lanes of a queue, or the times of what waits. */
struct store_index {
        struct store_entry {
                int64_t at, seq;
                struct store_job *job;
        } * list;
        uint32_t n, capacity;
};

struct store_queue {
        struct store_queue *next;
        struct str name;
        struct store_index lanes; /* pending rows, by lane */
};

struct store_key {
        struct store_queue *queue;
        uint8_t b[16];
};

struct store_job {
        struct job_row row; /* its texts and attempts belong to the job */
        int64_t seq;
        struct store_queue *queue;
        struct store_key key;
        bool keyed;
        bool belled;          /* the watcher's: its doorbell was in the broker */
        bool cancel_fresh;    /* asked while it runs: its holder is told by a beat */
        uint64_t cancel_told; /* number of the beat that told it first; 0: none did */
        uint64_t token;
        int64_t lane; /* when pending */
        uint32_t attempts_capacity;
        UT_hash_handle hh, hh_key;
};

struct store_commit {
        struct commit_no no;
        bool voided;             /* entered by a RESOLVE: the transaction never can happen */
        uint64_t token;          /* claims */
        struct store_job **jobs; /* claims: what was claimed */
        uint32_t n;
        UT_hash_handle hh;
};

struct store_node {
        uint64_t holder, beat;
        uint64_t number; /* the highest of its beats */
        int64_t beat_ns; /* the last one, on the driver's clock */
        bool dead;
        struct str host;
        int32_t pid;
        UT_hash_handle hh;
};

/* Doorbells that nobody was seen to confirm, oldest first. */
struct store_outbox {
        struct store_outbox *next;
        int64_t no, touched_us;
        struct store_queue *queue;
        struct doorbell *bells;
        uint32_t n;
};

/* The journal: a letter without a key, and the job that it became. */
struct store_line {
        struct store_line *next;
        struct commit_no no;
        struct store_queue *queue;
        uint64_t fingerprint;
        struct job_id id;
        int64_t at_us;
        bool over; /* its connection went away before the acknowledgement was sure */
};

struct store_floor { /* of a broker's history */
        struct store_floor *next;
        struct str history;
        int64_t floor;
};

struct store_letter { /* of the inbox */
        struct store_letter *next;
        struct inbox_letter letter; /* its texts belong to it */
};

struct store_request {
        uint8_t key[16], hash[16];
        struct job_id *ids;
        uint32_t n;
        UT_hash_handle hh;
};

/* A job's row went from one state to another (STATE_NONE: inserted). Claims and tokens: the row's
 * before the change, and those that the writer showed (0: an operation without a fence). */
struct store_change {
        const struct store_job *job;
        enum ledger_op op;
        enum job_state from;
        uint32_t claim_before, claim_shown;
        uint64_t token_before, token_shown;
        uint64_t holder_before;
        uint16_t attempt_before;
        int64_t due_before;
        enum error_class error; /* FINISH */
};

struct store {
        int64_t now_us; /* the ledger's clock; the driver sets it before each call */
        int64_t now_ns; /* the same instant on the driver's clock, for its records */
        struct store_job *jobs, *keys;
        struct store_queue *queues;
        struct store_index due;
        struct store_commit *commits;
        struct store_node *nodes;
        struct store_request *requests;
        struct store_outbox *outbox;
        struct store_line *journal;
        struct store_floor *floors;
        struct store_letter *inbox;
        int64_t seq, outbox_no, inbox_no;
        uint64_t writes;   /* transactions that wrote: BEAT's `changed` */
        enum ledger_op op; /* of the transaction under way */
        void (*on_change)(void *watcher, const struct store_change *c);
        void (*on_offer)(void *watcher, const struct store_job *j, enum ledger_op op,
                         enum lane_band from); /* pending as before, in another band */
        void (*on_rung)(void *watcher, const struct store_outbox *o); /* before it goes */
        void *watcher;
};

void store_deinit(struct store *s);

/* Executes one batch as one transaction: sets outcome, note and answers. Never UNKNOWN. */
void store_apply(struct store *s, struct ledger_batch *b);
void store_refuse(struct ledger_batch *b, const char *note); /* with its submissions */

struct store_job *store_find(const struct store *s, const struct job_id *id);
bool store_has_commit(const struct store *s, const struct commit_no *no);

/* --- shared by the store's own files ------------------------------------------------------ */

void store_index_add(struct store_index *x, int64_t at, struct store_job *j);
void store_index_remove(struct store_index *x, int64_t at, const struct store_job *j);
uint32_t store_index_from(const struct store_index *x, int64_t at); /* first entry at or after */

struct str store_dup(struct str s);
struct store_queue *store_queue_of(struct store *s, struct str name, bool create);

/* What a change of state needs to know besides the row itself. */
struct store_move {
        enum job_state to;
        enum job_reason reason;
        enum lane_band band;
        int64_t due_us;
        uint32_t claim_shown;
        uint64_t token_shown;
        enum error_class error;
        uint16_t attempt; /* to be stored */
};
/* Would the store let anybody make this change? */
bool store_allows(enum job_state from, enum job_state to, bool generation_raised);
void store_set_state(struct store *s, struct store_job *j, const struct store_move *m);
void store_entered(struct store *s, struct store_job *j); /* tells of an inserted row */
void store_detach(struct store *s, struct store_job *j);  /* out of lanes and due */
void store_delete(struct store *s, struct store_job *j);

struct store_node *store_node_of(const struct store *s, uint64_t holder);
bool store_fenced(const struct store *s, uint64_t holder); /* gone or dead */
struct store_commit *store_commit_add(struct store *s, const struct commit_no *no);
struct store_commit *store_commit_find(const struct store *s, const struct commit_no *no);
void store_commit_delete(struct store *s, struct store_commit *c);

void store_submit(struct store *s, struct submission *list);
struct store_job *store_insert(struct store *s, const struct submit_row *r,
                               const struct store_key *key, bool keyed);
void store_insert_unstorable(struct store *s, const struct submit_row *r);
bool store_storable(const struct submit_row *r);
struct store_job *store_keyed(struct store *s, const struct submit_row *r,
                              struct store_key *ret_key); /* who has its key */
void store_take(struct store *s, const struct ledger_batch *b, uint64_t token, struct store_job *j);
void store_record(struct store *s, const struct ledger_batch *b, uint64_t token,
                  struct store_job *const *jobs, uint32_t n);
void store_expire(struct store *s, struct store_job *j);

/* store_outbox.c */
void store_outbox_add(struct store *s, const struct submission *list, struct arena *a,
                      struct outbox_row **ret_rows, uint32_t *ret_n);
struct store_letter *store_letter_find(const struct store *s, int64_t no);
void store_letter_take(struct store *s, int64_t no);
void store_letter_add(struct store *s, const struct inbox_letter *from); /* an SQL producer's */
void store_outbox_deinit(struct store *s);
void store_apply_submit(struct store *s, struct ledger_submit *b);
void store_apply_arrive(struct store *s, struct ledger_arrive *b);
void store_apply_relay(struct store *s, struct ledger_relay *b);
void store_apply_rung(struct store *s, struct ledger_rung *b);
void store_apply_tide(struct store *s, struct ledger_tide *b);
void store_apply_floor(struct store *s, struct ledger_floor *b);
void store_apply_inbox(struct store *s, struct ledger_inbox *b);
void store_apply_fold(struct store *s, struct ledger_fold *b);
void store_fill_job(struct arena *a, const struct store_job *from, struct job *to);

void store_apply_register(struct store *s, struct ledger_register *b);
void store_apply_beat(struct store *s, struct ledger_beat *b);
void store_apply_bury(struct store *s, struct ledger_bury *b);
void store_apply_held(struct store *s, struct ledger_held *b);
void store_apply_resolve(struct store *s, struct ledger_resolve *b);
void store_apply_claim(struct store *s, struct ledger_claim *b);
void store_apply_recall(struct store *s, struct ledger_recall *b);
void store_apply_finish(struct store *s, struct ledger_finish *b);
void store_retire(struct store *s, const struct ledger_finish *b);
void store_apply_cancel(struct store *s, struct ledger_cancel *b);
void store_apply_requeue(struct store *s, struct ledger_requeue *b);
void store_apply_due(struct store *s, struct ledger_due *b);
void store_apply_unpark(struct store *s, struct ledger_unpark *b);
void store_apply_show(struct store *s, struct ledger_show *b);
void store_apply_list(struct store *s, struct ledger_list *b);
void store_apply_stats(struct store *s, struct ledger_stats *b);

#endif
