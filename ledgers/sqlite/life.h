/*
 * What the files of the SQLite ledger share beyond internal.h: the parts of a job's life that a
 * plain row never meets. Functions return as those of internal.h do.
 */
#ifndef SKEP_LEDGERS_SQLITE_LIFE_H
#define SKEP_LEDGERS_SQLITE_LIFE_H

#include "ledgers/sqlite/internal.h"

/* --- operations ------------------------------------------------------------------------------- */

int control_run(struct tx *t, struct ledger_control *b);
int save_run(struct tx *t, struct ledger_save *b);
int schedule_run(struct tx *t, struct ledger_schedule *b);
int tick_run(struct tx *t, struct ledger_tick *b);
int bulk_run(struct tx *t, struct ledger_bulk *b);
int prune_run(struct tx *t, struct ledger_prune *b);

int schedules_run(struct db *db, struct ledger_schedules *b);
int groups_run(struct db *db, struct ledger_groups *b);
int nodes_run(struct db *db, struct ledger_nodes *b);

/* --- a row goes in, unless something stands in its way ---------------------------------------- */

/* Puts the row in as row_put() does, or says in r->result what stands in its way: EXISTS, CONFLICT,
 * HELD, REPLACED, FULL; *ret_seq is 0 then. */
int row_admit(struct tx *t, struct submit_row *r, const struct taker *by, int64_t *ret_seq);

/* Is its id or key there already? Then r->result and r->existing say which. */
int row_meet(struct tx *t, struct submit_row *r, bool *ret_met);

/* jobs.life: a row in `lives`, one in `saves`; above them when it was due. */
enum { LIFE_OWN = 1, LIFE_SAVED = 2, LIFE_BITS = 3, LIFE_DUE_SHIFT = 2 };

/* What a row has beyond the plain, as LIFE_OWN says; put once it is in. */
struct life {
        struct str policy;
        int64_t retry_until_us;
        uint32_t heartbeat_ms;
        bool unique;
        uint8_t unique_hash[16];
};
bool row_has_life(const struct submit_row *r);
int life_put(struct tx *t, const struct submit_row *r, int64_t seq);
int life_read(struct db *db, struct arena *a, int64_t seq, struct life *ret);

/* Rows that begin DEAD neither hold nor meet a key. */
bool unique_counts(const struct submit_row *r);

/* Is the unique key held? Then r->result says HELD or REPLACED. */
int unique_meet(struct tx *t, struct submit_row *r, bool *ret_met);
int unique_take(struct tx *t, const struct submit_row *r);

/* Does its key name a row that was pruned? Only if t->keys_kept. */
int kept_meet(struct tx *t, struct submit_row *r, bool *ret_met);

/* What a row that goes leaves in `keys`: its own key for a while; its unique key is free, but for
 * the period. */
struct pick;
int kept_put(struct tx *t, const struct pick *p);
int unique_leave(struct tx *t, const struct pick *p);

/* Of the payload that the row came with. */
int payload_hash(struct tx *t, int64_t seq, uint8_t ret_hash[static 16]);

/* Takes out keys whose time is over. no: the batch's number, if that is not written yet. */
int keys_expire(struct tx *t, const struct commit_no *no);

/* --- bounds ----------------------------------------------------------------------------------- */

/* The bounds that the batch being written brought, and how many wait in each of their queues. */
struct limits {
        const struct queue_bound *bounds;
        int64_t *waiting; /* -1: not counted yet */
        uint32_t n;
        bool letters; /* goes in though it is full */
};

int limits_start(struct tx *t, struct limits *l, const struct queue_bound *bounds, uint32_t n);
void limits_forget(struct tx *t); /* something was undone: counts anew */

/* Before it goes in: *ret_full when there is no room, and none could be made. */
int limits_meet(struct tx *t, struct submit_row *r, bool *ret_met);
void limits_note(struct tx *t, const struct submit_row *r); /* it went in */

/* Rows of the queue in that state, those of this transaction included. */
int tx_count(struct tx *t, struct str queue, enum job_state state, int64_t *ret_n);

/* --- rows that operators touch ---------------------------------------------------------------- */

struct seen {
        bool found;
        int64_t seq;
        enum job_state state;
        uint64_t holder;
        uint8_t priority;
        bool cancel_asked;
        struct str queue; /* in the transaction's scratch */
};

int seen_find(struct tx *t, const struct job_id *id, struct seen *ret);
int seen_cancel(struct tx *t, const struct seen *j, enum job_reason reason); /* it waits */
/* It runs. OVERLAPPED stands in the row from then on, and when it ends as cancelled. */
int seen_ask(struct tx *t, const struct seen *j, enum job_reason reason);
int seen_revive(struct tx *t, const struct seen *j); /* dead, cancelled */
/* Scheduled, retrying; due: because its time has come. */
int seen_offer(struct tx *t, const struct seen *j, enum job_reason reason, bool due);
int seen_moved(struct tx *t, const struct seen *j, enum job_state to); /* counts it */

/* A row of PICK_COLUMNS; its texts are in the arena that it was read into. */
struct pick {
        int64_t seq;
        struct job_id id;
        struct str queue, type, tags;
        enum job_state state;
        enum job_reason reason;
        uint64_t holder;
        uint8_t priority;
        bool cancel_asked;
        int64_t created_us, ended_us; /* ended_us 0: it has not */
        struct job_key key;
        int life; /* the bits of jobs.life */
};

/* Texts are borrowed from the statement until its next step. */
void pick_read(sqlite3_stmt *s, struct pick *ret);
int pick_keep(struct arena *a, struct pick *p); /* copies its texts */

/* All but the states. */
int pick_matches(struct db *db, const struct pick *p, const struct job_filter *f, bool *ret_yes);

struct last_error {
        enum error_class error;
        uint64_t fingerprint;
        struct str text; /* of the arena; only if one was given */
};
int last_error(struct db *db, struct arena *a, int64_t seq, struct last_error *ret);

/* The row goes, with all that is its own; its key is remembered. */
int pick_delete(struct tx *t, const struct pick *p);

/* --- the rest --------------------------------------------------------------------------------- */

/* The checkpoint, if j->left_work; into the arena. */
int save_read(struct db *db, struct arena *a, int64_t seq, struct str *ret_checkpoint);
int save_show(struct db *db, int64_t seq, struct job_row *r);
int save_delete(struct tx *t, int64_t seq);

int reply_put(struct tx *t, struct job_reply *r);
int reply_owe(struct tx *t, const struct submit_row *r); /* if it asks for one */
int reply_relay(struct tx *t, struct ledger_relay *b, uint32_t limit);
int reply_put_off(struct tx *t, const struct ledger_relay *b);
int reply_rung(struct tx *t, const struct ledger_rung *b);

int controls_list(struct tx *t, struct ledger_beat *b);
int schedules_revision(struct db *db, uint64_t *ret_revision);

#endif
