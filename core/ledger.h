/*
 * The seam to the ledger: the durable record of what became of each job.
 *
 * Asynchronous and by batch. The engine posts a batch and goes on; the implementation writes it and
 * hands it back, on the engine's thread, from dispatch(). One conformance binary
 * (tests/conformance/ledger) runs over every implementation, the simulated one included; sqlite is
 * the reference.
 *
 * What every implementation MUST hold:
 *  - COMMITTED means durable: it survives the death of every process and of the machine's power.
 *  - REFUSED means that nothing of the batch was or ever will be written.
 *  - UNKNOWN means that it cannot tell. The caller then posts LEDGER_RESOLVE with the batch's
 * number.
 *  - Order holds within a lane: a batch sees all that earlier batches of its lane wrote. None
 * between.
 *  - Each write batch inserts its number into `commits` in its own transaction; a number that is
 *    already there makes the batch REFUSED (somebody resolved it meanwhile).
 *  - Of a holder whose node row is gone or declared dead no BEAT, SUBMIT, ARRIVE, CLAIM, CANCEL or
 * REQUEUE commits: FENCED. So nothing that was under way when a node was forgotten can happen
 * later. FINISH rows have fences of their own.
 *  - A batch that finds nothing to write MAY skip its number; RESOLVE then says that it did not
 * happen.
 *  - Only the edges of core/state.h; others are refused by the store itself, even from other
 * programs.
 *  - A fenced write (claim, token, state = running) that does not match writes nothing and says
 * STALE.
 *  - A row that the store refuses for its data is found by bisection; its neighbours are written.
 *  - The ledger's own clock decides what is due (calendar times); callers pass delays or wall
 * times.
 *  - Names and texts are borrowed from the batch while it is posted; answers live in the batch's
 * own arena, or in the claim that it carries, until the batch is freed.
 */
#ifndef SKEP_CORE_LEDGER_H
#define SKEP_CORE_LEDGER_H

#include "core/arena.h"
#include "core/arrival.h"
#include "core/base.h"
#include "core/id.h"
#include "core/job.h"
#include "core/roster.h"
#include "core/schedule.h"
#include "core/state.h"

struct pollfd;

/* A lane is a queue of its own in the ledger; `commits` knows it as the writer. */
enum ledger_lane { LANE_CLAIMS, LANE_VERDICTS, LANE_BEAT, LANE_READS };
#define LEDGER_LANES 4

/* op, lane, is it a numbered write? */
#define LEDGER_OPS(X)                                                                              \
        X(REGISTER, BEAT, true)                                                                    \
        X(BEAT, BEAT, true)                                                                        \
        X(BURY, BEAT, true)                                                                        \
        X(SUBMIT, CLAIMS, true)                                                                    \
        X(ARRIVE, CLAIMS, true)                                                                    \
        X(CLAIM, CLAIMS, true)                                                                     \
        X(FINISH, VERDICTS, true)                                                                  \
        X(CANCEL, VERDICTS, true)                                                                  \
        X(REQUEUE, VERDICTS, true)                                                                 \
        X(DUE, BEAT, true)                                                                         \
        X(UNPARK, BEAT, true)                                                                      \
        X(FOLD, BEAT, true)                                                                        \
        X(RELAY, BEAT, true)                                                                       \
        X(RUNG, BEAT, true)                                                                        \
        X(TIDE, BEAT, true)                                                                        \
        X(FLOOR, BEAT, false)                                                                      \
        X(TICK, BEAT, true)                                                                        \
        X(PRUNE, BEAT, true)                                                                       \
        X(CONTROL, VERDICTS, true)                                                                 \
        X(SCHEDULE, VERDICTS, true)                                                                \
        X(BULK, VERDICTS, true)                                                                    \
        X(SAVE, VERDICTS, false)                                                                   \
        X(RESOLVE, BEAT, false)                                                                    \
        X(RECALL, READS, false)                                                                    \
        X(HELD, READS, false)                                                                      \
        X(INBOX, READS, false)                                                                     \
        X(SHOW, READS, false)                                                                      \
        X(LIST, READS, false)                                                                      \
        X(STATS, READS, false)                                                                     \
        X(SCHEDULES, READS, false)                                                                 \
        X(GROUPS, READS, false)                                                                    \
        X(NODES, READS, false)

enum ledger_op {
#define X(name, lane, write) LEDGER_##name,
        LEDGER_OPS(X)
#undef X
};
const char *ledger_op_name(enum ledger_op op);
enum ledger_lane ledger_op_lane(enum ledger_op op);
bool ledger_op_numbered(enum ledger_op op);

enum ledger_outcome {
        LEDGER_COMMITTED, /* for reads: answered */
        LEDGER_REFUSED,   /* nothing written; `note` says why; may be posted again */
        LEDGER_UNKNOWN,   /* resolve it */
        LEDGER_FENCED,    /* this holder was declared dead: nothing written; register anew */
};

/* Base of every batch, embedded first. The poster owns the batch; between post() and dispatch() the
 * ledger does, exclusively. */
struct ledger_batch {
        enum ledger_op op;
        struct commit_no no; /* given by the poster for numbered writes */
        enum ledger_outcome outcome;
        char note[160];
        struct arena arena; /* the poster's texts, then the ledger's answers */
        struct ledger_batch *next;
        void *cookie;      /* the poster's, untouched */
        int64_t posted_ns; /* likewise */
};

/* --- nodes ------------------------------------------------------------------------------------ */

/* REGISTER: a new incarnation, `no.holder`. Inserts its row in `nodes` with beat 1. */
struct ledger_register {
        struct ledger_batch base;
        struct str host, version;
        int32_t pid;
};

struct node_seen {
        uint64_t holder;
        uint64_t beat;
        bool dead; /* declared so; its jobs are being rescued */
        struct str host;
        int32_t pid;
};

/* BEAT: raises the beat of `no.holder`. FENCED when that row is gone or declared dead. One that
 * commits after a later one of its holder did (a connection that hung) gives out nothing: nobody
 * reads it. */
struct ledger_beat {
        struct ledger_batch base;
        uint64_t known; /* number of this holder's last beat whose answer arrived; 0: none yet */
        bool tells;     /* `serves`, `queues` and `workers` are to be stored in its row */
        struct str serves, queues; /* as in struct node_row */
        uint32_t workers;
        /* answers */
        struct node_seen *nodes; /* all rows, this node's included */
        uint32_t n_nodes;
        struct job_id *cancels; /* running jobs of this holder with a cancel asked, but for those
                                   that a beat up to `known` gave out already */
        uint32_t n_cancels;
        struct queue_control *controls; /* all there are */
        uint32_t n_controls;
        uint64_t schedules; /* a number that changes whenever a schedule does; 0: there is none */
        bool inbox;         /* letters wait in the inbox */
        bool changed; /* some other writer committed since this handle's last beat; MAY be always
                         true */
};

/* BURY: step 1 (`forget` false): declare `victim` dead if its beat is still `seen_beat`; after that
 * none of its claims or beats commit. Step 2 (`forget` true): delete its row, and what its finished
 * transactions left in `commits`; done only when it holds no job. */
struct ledger_bury {
        struct ledger_batch base;
        uint64_t victim, seen_beat;
        bool any_beat; /* step 1 whatever the beat: the caller knows that the node is gone */
        bool forget;
        bool done; /* answer */
};

/* HELD: the jobs that `victim` claimed and that still run under its token, found through the ranges
 * of `commits` in pages: after commit number `after`, at most `limit` commits. A read; the caller
 * writes with FINISH, whose fence decides between two rescuers. */
struct held_job {
        struct job_id id;
        int64_t ref;
        uint32_t claim;
        uint64_t token;
        uint16_t attempt, max_attempts, snoozes;
        uint8_t strikes;
        bool cancel_asked, left_work;
        int64_t created_us, retry_until_us;
        struct str queue, type, policy, headers;
};

struct ledger_held {
        struct ledger_batch base;
        uint64_t victim;
        uint64_t after; /* 0: from the first */
        uint32_t limit;
        /* answers */
        struct held_job *jobs;
        uint32_t n;
        uint64_t
            *covered; /* numbers of the claim commits that were read: retire them with the FINISH */
        uint32_t n_covered;
        bool more;
};

/* --- jobs come in ----------------------------------------------------------------------------- */

/* One caller's request: one row, an array, or a page of NDJSON. */
struct submission {
        struct arena arena; /* rows and texts */
        struct submit_row *rows;
        uint32_t n;
        bool atomic;                /* all rows or none: one that is CONFLICT, UNSTORABLE or FULL
                                       undoes the others (UNDONE); HELD and REPLACED are as good as
                                       EXISTS. A FULL one undoes those of a request key too */
        struct job_key request_key; /* Idempotency-Key: names the whole request */
        uint8_t request_hash[16];   /* of the request's body */
        bool happened; /* posted before, in a transaction that happened: answered as ever, but none
                          of its rows goes in or changes another. One that would be CREATED was
                          there and is gone (pruned, purged): EXISTS with its own id, existing_state
                          NONE */
        /* answers */
        bool refused;          /* the ledger could not be written: nothing of it exists */
        char note[160];        /* why refused */
        bool request_conflict; /* the request key was used with another body: nothing written */
        bool from_inbox;       /* the engine's own: nobody waits for the answer */
        struct submission *next;
        void *cookie;
};

struct submission *submission_new(void);
struct submission *submission_free(struct submission *s); /* NULL-safe, returns NULL */

/* The bound of a queue whose length has one: of its pending, scheduled and retrying rows, wherever
 * they wait. Rows that would not go in anyway (EXISTS, CONFLICT, HELD, REPLACED) never meet it. */
struct queue_bound {
        struct str queue;
        uint32_t max;
        bool drop_oldest; /* a row over it takes the place of the oldest pending one, which becomes
                             cancelled(dropped); else, or when none is pending, the row itself is
                             SUBMIT_FULL. A letter goes in all the same then */
};

/* SUBMIT: many submissions in one transaction, each on its own: what fails in one leaves the
 * others. Posting the same rows (same ids) again after an unknown commit says CREATED or EXISTS
 * with its own id; if that commit happened, `happened` keeps those that have ended and are gone
 * from running a second time. With a request_key seen before and an equal hash, every row is EXISTS
 * with the first answer's ids. Duplicate keys within the batch are treated as if they came one
 * after the other. */
struct ledger_submit {
        struct ledger_batch base;
        struct submission *list;
        uint32_t rows;                    /* in all */
        const struct queue_bound *bounds; /* of the queues that have one; two nodes at once do not
                                             pass it together. Names are the poster's */
        uint32_t n_bounds;
        /* answers: one outbox row for each queue with CREATED rows in the BROKER band, written in
         * the same transaction; their doorbells are to be rung. When the answer is repeated after
         * an unknown commit, those of the first time are found by RELAY. */
        struct outbox_row *outbox;
        uint32_t n_outbox;
};

/* Doorbells that are not known to be confirmed. */
struct outbox_row {
        int64_t no;
        struct str queue;
        struct doorbell *bells; /* id and seq of each job */
        uint32_t n;
};

/* ARRIVE: one queue's arrivals, answered in one transaction. A LETTER inserts its row with
 * row.state; RUNNING is a claim: claim 1, attempt 1, this token and holder. A DOORBELL with `start`
 * claims the pending row with its id, of this queue and in the BROKER band (claim + 1, attempt +
 * 1); without, it moves it to the OFFERED band; a deadline in the past makes it dead(expired).
 * MARKs write nothing. Keys are looked at as SUBMIT does, within the batch too; a conflict writes a
 * dead row.
 *
 * The journal: letters with a fingerprint are written down with their job's id under this batch's
 * number. A later ARRIVE of this holder names the number in `acknowledged` (the broker surely has
 * the acknowledgement: forgotten) or in `lost` (the connection went away before that was sure:
 * `over`). Entries of a holder whose node row is gone or dead are `over` as well; the journal
 * outlives that row. Both lists are heard before the letters look; an entry answers at most one
 * letter of a batch. A redelivered letter with a fingerprint looks at the entries of its queue that
 * have it, but for those of this batch:
 *  - exactly one, and it is over: KNOWN; the entry moves to this batch;
 *  - none, or several that are all over: a new job (several: `ambiguous`). To take one of two equal
 *    letters for the other would lose a job, to run one again does not;
 *  - any that is not over: the whole batch is REFUSED with `undecided`: posted again a little
 * later, when the acknowledgement is sure or its holder is dead.
 *
 * A letter whose very id is there is KNOWN with its own id; MARKs are TAKEN. Of a CONFLICT the last
 * error is `id_conflict` with a text that holds the other job's id, its payload is kept; of an
 * UNSTORABLE only the key is, unless it names another job. The error_text of a row that begins DEAD
 * is shown as its last error: class reason_error(), attempt, claim and holder 0, ended now.
 *
 * The claim is recorded in `commits` like that of CLAIM; RECALL tells its jobs after an unknown
 * commit. Posting the same rows (same ids) again after a commit that did not happen is harmless. */
struct ledger_arrive {
        struct ledger_batch base;
        struct str queue;
        uint32_t drop_above;   /* the queue's bound, when it drops its oldest; 0: none */
        struct arrivals *list; /* the poster's; the items are answered in place */
        uint32_t n;            /* items in all */
        uint64_t token;
        struct commit_no *acknowledged; /* batches whose journal is no longer needed */
        struct commit_no *lost;         /* batches whose acknowledgement may be lost */
        uint32_t n_acknowledged, n_lost;
        /* answers */
        bool undecided; /* REFUSED for the sake of the journal alone; `acknowledged` and `lost` are
                           not written either */
        struct claim *got; /* in: an empty claim; out: the jobs of started DOORBELLs, in any order.
                              Started letters are told by their result and ref. Passes to whoever
                              reads the answer */
        uint32_t known, conflicts, unstorable, ambiguous; /* counts of the list; known: of doorbells
                                                             too */
};

/* CLAIM: up to `want` OFFERED jobs of a queue whose type the roster serves, most urgent lane first,
 * oldest first within it, at most `max_bytes` of payload (but one job at least). Sets running,
 * claim + 1, attempt + 1, token, holder, started. Records the jobs in `commits`. Rows met on the
 * way: a type that the roster does not serve moves to the parked band (pending, no_handler); a
 * deadline in the past becomes dead(expired). FENCED when the holder's node row is gone or dead. */
struct ledger_claim {
        struct ledger_batch base;
        struct str queue;
        const struct roster *roster; /* referenced by the poster until the batch is back */
        uint32_t want;
        uint64_t max_bytes;
        uint64_t token;
        struct claim *got; /* in: an empty claim; out: filled. Passes to whoever reads the answer */
        uint32_t global;   /* at most so many jobs of the queue run on all nodes together, whoever
                              claimed them, until their ends are written; 0: no such limit */
        bool more;         /* there was at least one more to claim */
        bool limited;      /* `global` kept it from claiming more */
        uint32_t parked, expired;
};

/* RECALL: what the claim or arrive transaction `of` took, as far as it still runs under `token`:
 * the answer to a claim whose commit was unknown and turned out to have happened. */
struct ledger_recall {
        struct ledger_batch base;
        struct commit_no of;
        uint64_t token;
        struct claim *got;
};

/* --- jobs end --------------------------------------------------------------------------------- */

struct finish_row {
        struct job_id id;
        int64_t ref;      /* from the claim; 0: not known, found by id */
        struct str queue; /* from the claim; empty: not known, which costs more */
        uint32_t claim;
        uint64_t token;
        enum job_state to; /* a legal edge from running */
        enum job_reason reason;
        enum error_class error;
        uint16_t attempt; /* the values to store: one less when it was not spent */
        uint16_t snoozes;
        uint8_t strikes;
        bool keep_attempt; /* write a row of `attempts`: it failed and did not end the job */
        int64_t after_us;  /* RETRYING, SCHEDULED: due so long after the ledger's now */
        int64_t started_us, ended_us; /* wall time of the try; 0: never started */
        uint16_t worker;
        int32_t worker_pid;
        struct str error_text, build; /* build id of the plug-in */
        struct str result, result_type;
        struct submission
            *children;           /* inserted in the same transaction when `to` is COMPLETED and
                                    the fence holds; else not at all. Never in the BROKER band */
        uint64_t fingerprint;    /* of the error, kept with its row of `attempts`; 0: none */
        bool left_work;          /* it may have a checkpoint or progress: they go if it COMPLETED */
        struct job_reply *reply; /* written in the same transaction when the fence holds; its `no`
                                is answered. NULL: none */
        const struct job *job; /* the poster's own, NULL for rescued ones; ledgers never read it */
        bool stale;            /* answer: the fence did not match, nothing of the row was written */
};

/* What whoever asked for a reply is told when its job has ended: kept until its broker has it. */
struct job_reply {
        int64_t no;       /* the ledger's; never given twice */
        struct str queue; /* whose transport carries it */
        struct str to, correlation_id, content_type, body;
        struct job_id job;
        enum job_state state;
        enum job_reason reason;
        struct str error_text;
        struct str headers; /* RELAY's, of an owed one: the job's; `to` is empty then */
};

/* Owed replies: of a job that no FINISH ended. A waiting row that becomes terminal (CANCEL, BULK,
 * TICK, CLAIM, ARRIVE, a bound), or a letter or inbox row that begins so, whose headers hold the
 * bytes `reply-to`, leaves a reply in the same transaction: queue, job, state, reason, headers, and
 * error_text if it began so; no address, no body. RELAY brings it whatever `older_us` the first
 * time. It MAY be owed to nobody: the poster looks, and RUNGs those. */

/* FINISH: verdicts, each fenced by (id, claim, token, running). `retire`: claim commits all of
 * whose jobs have ended durably; their `commits` rows are deleted in the same transaction. For
 * state PENDING the row goes back to its lane by its own priority and seq, in the OFFERED band. */
struct ledger_finish {
        struct ledger_batch base;
        struct finish_row *rows;
        uint32_t n;
        struct commit_no *retire;
        uint32_t n_retire;
        struct claim
            *ended;     /* the poster's: claims whose last jobs these are; freed with the batch */
        uint32_t stale; /* answer: how many rows were */
};

/* --- operators -------------------------------------------------------------------------------- */

enum cancel_result { CANCEL_DONE, CANCEL_ASKED, CANCEL_TERMINAL, CANCEL_NOT_FOUND };

/* CANCEL: waiting → cancelled(operator): DONE. Running → its row remembers the request, the holder
 * is told with its next beat: ASKED. Terminal: nothing written. */
struct ledger_cancel {
        struct ledger_batch base;
        struct job_id id;
        enum cancel_result result;
        enum job_state state; /* before */
        uint64_t holder;      /* when ASKED */
};

enum requeue_result {
        REQUEUE_DONE, /* dead, cancelled → pending, generation + 1, attempt and strikes from 0 */
        REQUEUE_NOW,  /* scheduled, retrying → pending now */
        REQUEUE_UNCHANGED, /* pending already */
        REQUEUE_REFUSED,   /* running, completed */
        REQUEUE_NOT_FOUND,
};

struct ledger_requeue {
        struct ledger_batch base;
        struct job_id id;
        enum requeue_result result;
        enum job_state state; /* before */
};

/* --- duties ----------------------------------------------------------------------------------- */

/* DUE: up to `limit` scheduled and retrying rows whose time has come → pending, offered. */
struct ledger_due {
        struct ledger_batch base;
        uint32_t limit;
        uint32_t moved;
        int64_t next_us; /* until the next one is due, by the ledger's clock; -1: none waits */
};

/* UNPARK: up to `limit` rows parked for NO_HANDLER whose type the roster serves → offered. */
struct ledger_unpark {
        struct ledger_batch base;
        const struct roster *roster;
        uint32_t limit;
        uint32_t moved;
};

/* FOLD: adds the counters' deltas up; forgets journal entries older than an hour. */
struct ledger_fold {
        struct ledger_batch base;
};

/* RELAY: up to `limit` outbox rows that nobody was seen to confirm for `older_us`; taking them puts
 * that time off again, so that two nodes do not ring the same at once. MAY answer fewer. Numbers
 * are never given twice. */
struct ledger_relay {
        struct ledger_batch base;
        int64_t older_us;
        uint32_t limit;
        bool owed_only;          /* nothing but owed replies */
        struct outbox_row *rows; /* answers */
        uint32_t n;
        struct job_reply *replies; /* likewise, `limit` at most: those of any queue */
        uint32_t n_replies;
};

/* RUNG: the doorbells of these outbox rows, and these replies, are confirmed; the rows go. Unknown
 * numbers do no harm. */
struct ledger_rung {
        struct ledger_batch base;
        int64_t *rows, *replies;
        uint32_t n, n_replies;
};

/* TIDE: up to `limit` pending rows of the queue in the BROKER band, with a seq below `below`,
 * created at least `older_us` ago by the ledger's clock, oldest first → OFFERED. limit 0 only
 * looks. */
struct ledger_tide {
        struct ledger_batch base;
        struct str queue;
        int64_t below, older_us;
        uint32_t limit;
        /* answers */
        uint32_t moved;
        bool more;    /* there was at least one more to move */
        bool waiting; /* rows older than that are left in the BROKER band, whatever their seq */
        int64_t last; /* the highest seq given out so far, to any row: the place of a mark */
};

/* FLOOR: everything up to number `floor` of a broker's history was taken in. Kept is the highest
 * that anybody ever told; 0 only asks. A name that is not 1 to FLOOR_NAME_MAX bytes (any bytes), or
 * a floor below 0, is REFUSED. It has no number: whatever the outcome but COMMITTED, it may have
 * been written, which does no harm; ask again. */
#define FLOOR_NAME_MAX 255
struct ledger_floor {
        struct ledger_batch base;
        struct str history; /* its name */
        int64_t floor;      /* in: at least this; answer: the highest ever told, 0: none */
};

/* RESOLVE: the fate of the numbered transaction `of`. Inserts its number, marked as void. If the
 * transaction's own entry is there, it happened; if the void one goes in, or stands there from a
 * RESOLVE whose answer was lost, it never can. So it may be asked any number of times and says the
 * same. */
struct ledger_resolve {
        struct ledger_batch base;
        struct commit_no of;
        bool happened, forgotten;
};

#include "core/ledger_reads.h"
#include "core/ledger_operate.h"

/* --- the seam --------------------------------------------------------------------------------- */

struct ledger {
        const struct ledger_ops *ops;
};

struct ledger_ops {
        const char *scheme; /* of the URL: "sqlite", "postgres", "sim" */

        /* MUST take the batch (its poster may touch it again only after dispatch() gave it back)
         * and MUST NOT block. Engine's thread. A batch posted to a ledger that is not reachable
         * comes back REFUSED. */
        void (*post)(struct ledger *l, struct ledger_batch *b /* takes b */);

        /* Fills at most max entries with what the engine's poll shall watch; returns how many. */
        uint32_t (*pollfds)(struct ledger *l, struct pollfd *fds, uint32_t max);

        /* When dispatch() wants to be called even if no descriptor is ready, on the monotonic
         * clock; INT64_MAX: never. */
        int64_t (*deadline_ns)(struct ledger *l);

        /* Hands back, as a list in order of completion, every batch that has an answer. Engine's
         * thread. */
        struct ledger_batch *(*dispatch)(struct ledger *l, int64_t now_ns);

        /* Since the last call: may other nodes have offered jobs? MAY be NULL: cannot tell.
         * Engine's thread. */
        bool (*heard)(struct ledger *l);

        /* Waits for the posted batches, closes, frees. NULL-safe, returns NULL. */
        struct ledger *(*close)(struct ledger *l);
};

/* Batches are allocated and freed through these, whatever their kind: base.arena goes with them,
 * and a claim that nobody took. op must be set. */
struct ledger_batch *ledger_batch_new(enum ledger_op op);
struct ledger_batch *ledger_batch_free(struct ledger_batch *b); /* NULL-safe, returns NULL */

/* Asserted downcasts: LEDGER_AS(claim, CLAIM, b). */
#define LEDGER_AS(kind, OP, b)                                                                     \
        ({                                                                                         \
                struct ledger_batch *b_ = (b);                                                     \
                if (b_->op != LEDGER_##OP) {                                                       \
                        __builtin_trap();                                                          \
                }                                                                                  \
                (struct ledger_##kind *)b_;                                                        \
        })

/* The order in which pending rows are claimed, as one number: band, then priority (9 first; the
 * BROKER band has none: the tide goes by seq alone), then seq. For parked rows: band, then 24 bits
 * of the type's hash, so that a parked type is one range of the index. Shared by all ledgers so
 * that they agree. */
int64_t lane_value(enum lane_band band, uint8_t priority, int64_t seq);
int64_t lane_parked(struct str type, int64_t seq);
void lane_range(enum lane_band band, int64_t *ret_first, int64_t *ret_last);
void lane_parked_range(struct str type, int64_t *ret_first, int64_t *ret_last);

/* The class under which a row that begins DEAD shows its error_text as its last error. NONE: the
 * reason has no such class. Shared by all ledgers. */
enum error_class reason_error(enum job_reason reason);

#endif
