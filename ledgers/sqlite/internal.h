/*
 * What the files of the SQLite ledger share: a connection with its statements, the transaction
 * being written, and the functions that carry each operation out.
 *
 * Functions that return int here return SQLite's result codes (0 is well), or TX_TAKEN; the writer
 * turns them into outcomes. An operation that fails may leave its batch half answered and the
 * transaction half written: the writer rolls back, and runs the other batches of the group again.
 */
#ifndef SKEP_LEDGERS_SQLITE_INTERNAL_H
#define SKEP_LEDGERS_SQLITE_INTERNAL_H

#include "core/ledger.h"
#include "ledgers/sqlite/sqlite.h"
#include "ledgers/sqlite/statements.h"

#include <sqlite3.h>

/* --- migrations ------------------------------------------------------------------------------- */

struct migration {
        int number;
        const char *name, *sql;
};
extern const struct migration sqlite_migrations[];
extern const int sqlite_migrations_n;

/* Brings the schema up to the newest migration. Safe from many processes at once. 0 or -errno,
 * noted. */
int db_migrate(sqlite3 *sql, const char *path, int64_t now_us, char *note, size_t note_size);

/* --- a connection ----------------------------------------------------------------------------- */

/* Whose verdicts are being written together; rows NULL: nobody's. */
struct neighbours {
        struct finish_row *rows;
        uint32_t n;
};

/* Rows that are being put in together; n 0: none are. */
struct incoming {
        const struct submit_row *first;
        size_t stride; /* from one to the next: they may stand in something larger */
        uint32_t n, at;
        int64_t seq, now_us; /* of the first */
        struct job_key key;
};

struct db {
        sqlite3 *sql;
        sqlite3_stmt *st[STATEMENTS_N];
        struct neighbours neighbours;
        struct incoming incoming;
        int wal_pages;        /* in the log after the last commit */
        sqlite3_blob *blob;   /* open on some payload while a claim is read */
        int64_t data_version; /* at the last beat: changes when another connection commits */
};

/* 0 or -errno, noted. read_only: for reads (the file is opened for writing all the same: WAL needs
 * it). */
int db_open(const char *path, int busy_timeout_ms, bool read_only, char *note, size_t note_size,
            struct db **ret_db);
const char *ahead_vfs(void);        /* ahead.c: its name for SQLite; NULL: the usual one */
struct db *db_close(struct db *db); /* NULL-safe, returns NULL; no checkpoint */
void db_close_p(struct db **db);

/* NULL when it cannot be prepared: binding and stepping it then fails with SQLITE_MISUSE. */
sqlite3_stmt *db_get(struct db *db, enum statement which);

/* Steps a statement to its end and resets it. */
int db_run(sqlite3_stmt *s);

/* Is it the row's own data that SQLite refused? */
bool db_data_error(int rc);

/* What went wrong, where, what to do: one line. Returns -errno. */
int db_note(int rc, sqlite3 *sql, const char *path, char *note, size_t note_size);

/* Binds parameters in order; remembers the first failure (a text over SQLite's limit). */
struct binder {
        sqlite3_stmt *s;
        int i, rc;
};
struct binder bind_start(sqlite3_stmt *s);
void bind_int(struct binder *b, int64_t v);
void bind_u64(struct binder *b, uint64_t v);
void bind_null(struct binder *b);
void bind_text(struct binder *b, struct str v);             /* '' when empty */
void bind_blob(struct binder *b, struct str v);             /* null when empty */
void bind_bytes(struct binder *b, const void *p, size_t n); /* never null */
void bind_id(struct binder *b, const struct job_id *id);
void bind_key(struct binder *b, const struct job_key *key);

/* A key as jobs.key has it: mixed with its queue's name, so that one short column makes both
 * unique. Mixed once more it is itself again. */
struct job_key key_within(struct str queue, const struct job_key *key);
int bind_run(struct binder *b); /* db_run, or the binder's own failure */

struct job_id column_id(sqlite3_stmt *s, int i);
struct str column_str(sqlite3_stmt *s, int i); /* borrowed until the next step */
struct str column_copy(struct arena *a, sqlite3_stmt *s, int i);

/* --- the transaction being written ------------------------------------------------------------ */

#define TX_TAKEN   (-1) /* the batch's number is in `commits`; nothing of the batch was written */
#define TX_FENCED  (-2) /* its holder is gone or dead; nothing of the batch was written */
#define TX_REFUSED (-3) /* refused, and the batch's note says why; nothing of it was written */

#define DELTAS_MAX   16
#define NUMBERS_KEPT 64 /* numbers per writer that stay known after later ones */

struct delta {
        struct str queue;
        int64_t n[JOB_STATE_COUNT];
};

/* Up to where old numbers of a writer were deleted, so that the delete looks at few rows. Numbers
 * of a transaction whose fate is unknown are held, with all after them, until the last of them is
 * resolved. */
struct trim {
        uint64_t holder;
        uint32_t writer;
        uint64_t upto;                        /* deleted up to here */
        uint64_t known;                       /* the greatest that is known to be durable */
        uint64_t pending_first, pending_last; /* of the transaction being written; 0: none */
        uint64_t held_first, held_last;       /* of one that is unknown; 0: none */
};

struct tx {
        struct db *db;
        int64_t now_us;
        int64_t seq; /* the last one given; -1: not read yet */
        struct delta deltas[DELTAS_MAX];
        uint32_t n_deltas;
        struct trim trims[8];
        uint32_t trim_next;
        struct arena scratch;  /* until the batch is written */
        uint32_t alone;        /* so many more rows are not put in together */
        bool keys_kept;        /* keys of pruned rows are there; known once seq is */
        struct limits *limits; /* of the batch being written; NULL: none */
};

void tx_begin(struct tx *t, struct db *db, int64_t now_us);
enum tx_fate { TX_WRITTEN, TX_ROLLED_BACK, TX_UNKNOWN };
void tx_end(struct tx *t, enum tx_fate fate);
/* 0, or TX_FENCED: the node of this holder is gone or declared dead. */
int tx_alive(struct tx *t, uint64_t holder);

/* Enters a number as one that never can happen; TX_TAKEN: it stands there already. */
int tx_void_number(struct tx *t, const struct commit_no *no);
void tx_resolved(struct tx *t, const struct commit_no *no);
int tx_insert_number(struct tx *t, const struct commit_no *no, uint64_t token, struct str runs);
int tx_number(struct tx *t, const struct commit_no *no);
/* 0, or TX_TAKEN: for batches that enter their number last. */
int tx_number_free(struct tx *t, const struct commit_no *no);
int tx_number_claim(struct tx *t, const struct commit_no *no, uint64_t token, struct str runs);
int tx_seq(struct tx *t, int64_t *ret_seq); /* the next free one; taken by raising t->seq */
int tx_delta(struct tx *t, struct str queue, enum job_state state, int64_t n);
int tx_flush(struct tx *t); /* writes the deltas; at the end of each batch */

/* --- operations ------------------------------------------------------------------------------- */

int register_run(struct tx *t, struct ledger_register *r);
int beat_run(struct tx *t, struct ledger_beat *b);
int bury_run(struct tx *t, struct ledger_bury *b);
int submit_run(struct tx *t, struct ledger_submit *b);
int arrive_run(struct tx *t, struct ledger_arrive *b);
int claim_run(struct tx *t, struct ledger_claim *b);
int finish_run(struct tx *t, struct ledger_finish *b);

/* Makes known the functions of ST_FINISH_NEIGHBOURS. */
int neighbours_open(struct db *db);

/* How many of the rows, from the first on, can be completed together; 0: not even the first. */
uint32_t neighbours_count(const struct finish_row *rows, uint32_t n);

/* Completes so many of that queue. `stale` stays true of those that the fence did not let through,
 * or whose queue is another. */
int neighbours_finish(struct tx *t, struct finish_row *rows, uint32_t n, struct str queue);
int cancel_run(struct tx *t, struct ledger_cancel *b);
int requeue_run(struct tx *t, struct ledger_requeue *b);
int due_run(struct tx *t, struct ledger_due *b);
int unpark_run(struct tx *t, struct ledger_unpark *b);
int fold_run(struct tx *t, struct ledger_fold *b);
int relay_run(struct tx *t, struct ledger_relay *b);
int rung_run(struct tx *t, struct ledger_rung *b);
int tide_run(struct tx *t, struct ledger_tide *b);
int floor_run(struct tx *t, struct ledger_floor *b);
int resolve_run(struct tx *t, struct ledger_resolve *b);

int recall_run(struct db *db, struct ledger_recall *b);
int held_run(struct db *db, struct ledger_held *b);
int show_run(struct db *db, struct ledger_show *b);
int list_run(struct db *db, struct ledger_list *b);
int stats_run(struct db *db, struct ledger_stats *b);

/* One submission, as SUBMIT and the children of a FINISH have it. */
int submission_run(struct tx *t, struct submission *s);

/* --- a row goes in ---------------------------------------------------------------------------- */

/* Who claims a letter as it goes in. */
struct taker {
        uint64_t token, holder;
};

/* Puts the row in with its payload and its error, or nothing of it. *ret_seq 0: something with its
 * id or its key is there. `by` NULL: a RUNNING row is refused as data. */
int row_put(struct tx *t, const struct submit_row *r, const struct taker *by, int64_t *ret_seq);

/* Where a new row waits; one of the three at most. */
struct waiting {
        int64_t lane, due, parked_at;
};
#define NOWHERE INT64_MIN
struct waiting row_place(int64_t now_us, const struct submit_row *r, int64_t seq);

bool row_fits(const struct submit_row *r, const struct taker *by);

/* The table `incoming` of a connection. */
int incoming_open(struct db *db);

static inline const struct submit_row *incoming_row(const struct incoming *x, uint32_t i)
{
        return (const struct submit_row *)((const char *)x->first + i * x->stride);
}

/* Puts in as many of the rows, from the first on, as go in together: *ret_done of them, with the
 * seqs before t->seq. The one behind them is to be put in alone. */
int incoming_put(struct tx *t, struct incoming x, const struct taker *by, uint32_t *ret_done);

/* What is it that stands in the way? SUBMIT_EXISTS or SUBMIT_CONFLICT, and which job. */
int row_explain(struct tx *t, struct submit_row *r);

/* In place of a row that the store refused: dead(unstorable), without texts. */
int row_bury(struct tx *t, const struct submit_row *r);

int row_find(struct tx *t, const struct job_id *id, bool *ret_found, enum job_state *ret_state);
int row_put_error(struct tx *t, int64_t seq, bool ended_job, const struct attempt_row *a);

/* The outbox rows of what the batch created, written and answered. */
int outbox_put(struct tx *t, struct ledger_submit *b);

/* --- the journal ------------------------------------------------------------------------------ */

#define JOURNAL_LIFE_US (INT64_C(3600) * US_PER_S)

struct journal_entry;
struct journal_page;
struct journal_old;

struct journal {
        struct tx *t;
        const struct ledger_arrive *b;
        struct journal_entry *own; /* of this batch */
        struct journal_page *pages;
        struct journal_old *old; /* of earlier batches, by fingerprint */
        uint32_t n_own, n_pages, n_old, ambiguous;
};

/* Reads the queue's journal if something is redelivered, then writes what the batch says of earlier
 * ones. TX_REFUSED, with nothing written: it must wait. */
int journal_open(struct journal *j, struct tx *t, const struct ledger_arrive *b);
bool journal_find(struct journal *j, uint64_t fingerprint, struct job_id *ret_id);
void journal_note(struct journal *j, uint64_t fingerprint, const struct job_id *id); /* 0: not */
int journal_close(struct journal *j);
int journal_is_old(struct tx *t, bool *ret_old); /* is there something to expire? */
int journal_expire(struct tx *t);

/* --- jobs come out ---------------------------------------------------------------------------- */

/* Empties the claim and makes room for its jobs. */
int job_start_claim(struct claim *c, const struct commit_no *no, uint64_t token, uint64_t room);

/* A row of JOB_COLUMNS into the claim's next job, texts copied. SQLITE_NOMEM when memory is out. */
int job_recall(struct db *db, struct claim *c, sqlite3_stmt *s); /* of RUN_JOBS */
/* As it is once claimed, now. */
int job_take(struct db *db, struct claim *c, sqlite3_stmt *s, int64_t now_us);

/* All but what only a handler needs. last: a job that may have the same queue and type. */
int job_read_books(struct db *db, struct arena *a, const struct job *last, sqlite3_stmt *s,
                   struct job *j);

/* After the last job_read: gives the payloads' cursor back. */
void job_read_end(struct db *db);

/* A run of consecutive seq, as `commits.runs` keeps them. */
struct run {
        int64_t first, n;
};

/* Sorts refs. {NULL, n}: out of memory. */
struct str runs_of(struct arena *a, int64_t *refs, uint32_t n);
uint64_t runs_count(struct str runs);

/* Over all rows of a claim that statement `which` finds. */
struct walk {
        struct db *db;
        uint64_t holder, token;
        struct str runs;
};
typedef int visit_fn(void *ctx, sqlite3_stmt *s);
int runs_walk(const struct walk *w, enum statement which, void *ctx, visit_fn *visit);

/* Larger payloads stand in `blobs`. Measured, claim and finish: at 256 bytes apart is 4 % faster,
 * at 512 a fifth, at 2000 three times; a submission of 256 bytes is 5 % slower. */
#define PAYLOAD_INLINE_MAX 200

#endif
