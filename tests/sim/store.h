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
        uint32_t counts[JOB_STATE_COUNT];
        bool controlled;
        struct queue_control control; /* when controlled */
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
        bool doomed;          /* it is dropped at the end of the submission under way */
        bool belled;          /* the watcher's: its doorbell was in the broker */
        bool cancel_fresh;    /* asked while it runs: its holder is told by a beat */
        uint64_t cancel_told; /* number of the beat that told it first; 0: none did */
        uint64_t token;
        int64_t lane; /* when pending */
        uint32_t attempts_capacity;
        struct str checkpoint;    /* p NULL: none */
        uint32_t save_claim;      /* of the save that wrote last, */
        uint32_t save_n;          /* and its number under it */
        struct unique_key unique; /* as it came in */
        bool replaced;            /* its payload is another's: */
        uint8_t came_with[16];    /* the hash of the one that its key stands for */
        int64_t was_due_us;       /* it came to pending by DUE; 0: it did not */
        UT_hash_handle hh, hh_key;
};

/* Who holds a unique key; stays when its holder has ended, until another takes it. */
struct store_unique {
        uint8_t hash[16];
        struct job_id holder;
        uint8_t states;
        int64_t until_us;
        UT_hash_handle hh;
};

/* The key of a row that was pruned before its time. */
struct store_gone {
        struct store_key key;
        struct job_id id;
        uint8_t payload[16]; /* its hash */
        bool bare;           /* it had none that could be kept: any is as good */
        int64_t until_us;
        UT_hash_handle hh;
};

struct store_schedule { /* in order of their names */
        struct store_schedule *next;
        struct schedule_row row; /* its texts belong to it */
};

/* A reply that nobody was seen to deliver, oldest first. */
struct store_reply {
        struct store_reply *next;
        int64_t touched_us;
        struct job_reply reply; /* its texts belong to it */
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
        struct str host, version, serves, queues;
        int32_t pid;
        uint32_t workers;
        int64_t registered_us, beat_us;
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
        int64_t until_us;
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
        struct store_unique *uniques;
        struct store_gone *gone;
        struct store_schedule *schedules;
        struct store_reply *replies;
        int64_t seq, outbox_no, inbox_no, reply_no;
        uint64_t schedule_no; /* the last revision given to a schedule */
        uint64_t pruner;      /* the holder whose walk it is, until then */
        int64_t pruner_until_us;
        uint64_t writes;   /* transactions that wrote: BEAT's `changed` */
        enum ledger_op op; /* of the transaction under way */
        void (*on_change)(void *watcher, const struct store_change *c);
        void (*on_offer)(void *watcher, const struct store_job *j, enum ledger_op op,
                         enum lane_band from); /* pending as before, in another band */
        void (*on_rung)(void *watcher, const struct store_outbox *o);   /* before it goes */
        void (*on_replied)(void *watcher, const struct store_reply *r); /* likewise */
        void (*on_replaced)(void *watcher, const struct store_job *j);  /* it has all of it now */
        void (*on_saved)(void *watcher, const struct store_job *j, const struct save_row *r);
        void (*on_gone)(void *watcher, const struct store_job *j); /* pruned or purged, before */
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
void store_put(struct str *at, struct str by); /* a copy in place of what is there */
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
void store_submit_bound(struct store *s, struct submission *list, const struct queue_bound *bounds,
                        uint32_t n_bounds);
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

bool store_cancel(struct store *s, struct store_job *j, enum job_reason why); /* false: asked */
void store_requeue(struct store *s, struct store_job *j, bool anew);
void store_set_last(struct store_job *j, const struct attempt_row *last /* takes its texts */);
bool store_has_tag(struct str tags, struct str tag);
/* All jobs, in order of their ids; free() it. */
struct store_job **store_by_id(const struct store *s, uint32_t *ret_n);

/* store_unique.c */
struct store_unique *store_unique_of(const struct store *s, const struct unique_key *u);
bool store_unique_blocks(const struct store *s, const struct store_unique *x);
void store_unique_take(struct store *s, const struct submit_row *r);
void store_unique_put(struct store *s, const struct unique_key *u, const struct store_unique *old);
bool store_replaceable(const struct store_job *holder);
void store_replace(struct store *s, struct store_job *holder, const struct submit_row *by);
bool store_came_with(const struct store_job *j, struct str payload);
struct store_gone *store_gone_of(const struct store *s, const struct store_key *key);
bool store_gone_same(const struct store_gone *g, struct str payload);
void store_forget_job(struct store *s, struct store_job *j); /* pruned: its key is remembered */
void store_unique_deinit(struct store *s);

/* store_queue.c */
uint32_t store_waiting(const struct store_queue *q);
struct store_job *store_oldest(const struct store_queue *q, const struct store_job *but);
void store_apply_control(struct store *s, struct ledger_control *b);
void store_list_controls(const struct store *s, struct ledger_beat *b);

/* store_save.c */
bool store_left_work(const struct store_job *j);
void store_apply_save(struct store *s, struct ledger_save *b);
void store_reply_add(struct store *s, struct job_reply *r);
void store_reply_owe(struct store *s, const struct store_job *j);
void store_relay_replies(struct store *s, struct ledger_relay *b);
void store_replies_rung(struct store *s, const struct ledger_rung *b);
void store_save_deinit(struct store *s);

/* store_schedule.c, store_bulk.c, store_prune.c */
void store_apply_schedules(struct store *s, struct ledger_schedules *b);
void store_apply_schedule(struct store *s, struct ledger_schedule *b);
void store_apply_tick(struct store *s, struct ledger_tick *b);
void store_schedule_deinit(struct store *s);
void store_apply_bulk(struct store *s, struct ledger_bulk *b);
void store_apply_groups(struct store *s, struct ledger_groups *b);
void store_apply_prune(struct store *s, struct ledger_prune *b);
void store_apply_nodes(struct store *s, struct ledger_nodes *b);

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
