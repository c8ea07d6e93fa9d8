/*
 * What the files of the PostgreSQL ledger share: four lanes, each with a connection of its own, the
 * work on its way through them, and the operations.
 *
 * Everything runs on the engine's thread and nothing ever waits: an operation sends its statements
 * (one pipeline segment, one transaction), and is called again for each answer.
 */
#ifndef SKEP_LEDGERS_POSTGRES_INTERNAL_H
#define SKEP_LEDGERS_POSTGRES_INTERNAL_H

#include "core/ledger.h"
#include "ledgers/postgres/hooks.h"
#include "ledgers/postgres/statements.h"
#include "ledgers/postgres/url.h"
#include "ledgers/postgres/wire.h"

struct migration {
        int number;
        const char *name, *sql;
};
extern const struct migration postgres_migrations[];
extern const int postgres_migrations_n;

#define SENT_MAX  12
#define NOTE_SIZE 160

struct lane;
struct op;
struct arriving;
struct finishing;

/* One batch on its way. */
struct work {
        struct ledger_batch *b; /* NULL: our own NOTIFY */
        const struct op *op;
        struct work *next;
        bool careful; /* the quick way failed: the row that is at fault is looked for */
        bool slow;    /* likewise: a key may be that of a pruned job */
        bool stale;   /* likewise: a fence did not hold */
        bool written; /* made UNKNOWN by a test once it is committed */
        uint8_t tries;
        /* of the segment under way */
        enum statement sent[SENT_MAX];
        uint32_t n_sent, n_answered;
        size_t bytes;
        int error; /* -errno while an answer was read */
        bool kept; /* the answer just read belongs to somebody else now */
        bool failed;
        char state[6];
        char constraint[40];
        bool fatal; /* the server ends the session with it */
        char note[NOTE_SIZE];
        int64_t sent_ns;
        /* the operations' own, in the batch's arena */
        struct submit_row **rows;
        struct arriving *arriving;
        struct finishing *finishing;
        struct save_row **saves;
        uint32_t n_rows, next_row;
};

struct op {
        /* Sends the statements of one transaction: work_send() for each. 0 or -errno; then nothing
         * of it may be committed. */
        int (*send)(struct lane *n, struct work *w);
        /* Reads one statement's answer; MAY be NULL. 0 or -errno. */
        int (*take)(struct lane *n, struct work *w, enum statement which, const PGresult *r);
        /* The transaction is committed; MAY be NULL. 0 or -errno. */
        int (*end)(struct lane *n, struct work *w);
        bool can_care; /* has a careful way, and a slow one */
};

struct work_list {
        struct work *head, **tail;
        uint32_t n;
};

/* Which numbers of a holder may be deleted: those known to be durable, but for the latest, and for
 * those from an unknown one on until the last unknown one is resolved. */
struct trim {
        uint64_t holder, upto, known, held_first, held_last;
};

enum lane_state { LANE_DOWN, LANE_CONNECTING, LANE_SETUP, LANE_READY };
enum setup_step {
        SETUP_SESSION,
        SETUP_SCHEMA,
        SETUP_LOCK,
        SETUP_MIGRATE,
        SETUP_PREPARE,
        SETUP_DONE,
};

struct lane {
        struct pg_ledger *l;
        enum ledger_lane which;
        enum lane_state state;
        PGconn *c;
        short events;           /* what to poll for */
        int64_t retry_ns;       /* when DOWN: the next attempt */
        int64_t retry_after_ns; /* how long the next pause is */
        int64_t give_up_ns;     /* when an attempt has failed */
        enum setup_step step;
        int newest; /* migration in the database */
        bool setup_failed;
        struct work_list waiting, flight;
        struct work_list again; /* to be sent once more, when all that flies has landed */
        bool landing;           /* nothing is sent until then */
        bool answered;          /* a result of the statement under way was read */
        size_t bytes;           /* in flight */
        uint64_t serial;        /* of the last write sent, for follow() */
        bool looking;           /* for its host's addresses */
        bool drop;              /* the connection is not to be used any more */
        struct params params;
        struct trim trim;
};

struct pg_ledger {
        struct ledger base;
        struct postgres_hooks hooks;
        bool unsafe;
        struct url url;
        struct lane lanes[LEDGER_LANES];
        bool schema_ready;
        uint32_t oid_new_row, oid_verdict, oid_extra, oid_reply;
        bool old_keys; /* there are keys of pruned jobs, as far as is known */
        uint32_t wary; /* batches with keys that are not tried the quick way */
        uint64_t random;
        struct ledger_batch *done, **done_tail;
        char note[NOTE_SIZE]; /* why there is no connection */
        bool heard;
        bool offered; /* rows that other nodes may want were committed: to be told */
        bool notifying;
        int64_t notify_ns; /* not before */
};

int64_t pg_now_ns(void);

/* --- lanes (lane.c) --------------------------------------------------------------------------- */

void work_push(struct work_list *q, struct work *w);
struct work *work_pop(struct work_list *q);

/* Sends one prepared statement of the segment, with the lane's parameters. */
int work_send(struct lane *n, struct work *w, enum statement which);

void lane_init(struct lane *n, struct pg_ledger *l, enum ledger_lane which);
void lane_deinit(struct lane *n);
void lane_post(struct lane *n, struct work *w);
void lane_run(struct lane *n, int64_t now_ns); /* reads what is there, sends what can be sent */
void lane_send(struct lane *n);
int64_t lane_deadline(const struct lane *n);

/* The connection is gone: what was sent is UNKNOWN, what waits is REFUSED. */
void lane_lost(struct lane *n, const char *why);

/* --- answers (settle.c) ----------------------------------------------------------------------- */

/* Hands the batch back, frees the work. note NULL: none. */
void work_settle(struct pg_ledger *l, struct work *w, enum ledger_outcome outcome,
                 const char *note);
void work_refuse(struct pg_ledger *l, struct work *w, const char *note);

enum fate { FATE_SETTLED, FATE_AGAIN };
/* After a whole segment: hands the batch back, or says what to do with it. */
enum fate work_end(struct lane *n, struct work *w);

/* --- connections (conn.c, setup.c) ------------------------------------------------------------ */

void conn_run(struct lane *n, int64_t now_ns); /* when not READY */
void conn_down(struct lane *n, const char *why);
void conn_note(struct lane *n, const char *why);
bool conn_hopeful(const struct lane *n, int64_t now_ns);
/* After the connection stands: settings, checks, schema, statements. 1: ready, 0: goes on, < 0:
 * failed, noted. */
int setup_begin(struct lane *n);
int setup_run(struct lane *n);

/* --- operations ------------------------------------------------------------------------------- */

extern const struct op op_notify;
const struct op *op_of(enum ledger_op op);

extern const struct op op_register, op_beat, op_bury, op_resolve;
extern const struct op op_submit, op_arrive, op_finish;
extern const struct op op_claim, op_recall, op_held;
extern const struct op op_cancel, op_requeue;
extern const struct op op_due, op_unpark, op_fold, op_relay, op_rung, op_tide, op_floor;
extern const struct op op_inbox, op_show, op_list, op_stats;
extern const struct op op_save, op_control, op_nodes, op_schedule, op_schedules, op_tick;
extern const struct op op_prune, op_bulk, op_groups;

/* The statements that many share: begin a list of parameters, put holder, writer and n. */
struct params *params_for(struct lane *n);
void put_number(struct params *p, const struct commit_no *no);
void put_numbers(struct params *p, const struct commit_no *nos, uint32_t n); /* three arrays */
void put_limit(struct params *p, uint32_t n); /* an int, as much of it as there is room for */
int send_number(struct lane *n, struct work *w);
int send_trim(struct lane *n, struct work *w);
int send_alive(struct lane *n, struct work *w);
void put_roster(struct params *p,
                const struct roster *r); /* exact types, patterns as expressions */
bool is_pattern(struct str type);
struct str pattern_expression(struct str pattern, char *buffer, size_t size); /* p NULL: too long */

enum cancel_result cancel_result(enum job_state before);

/* --- rows (rows.c) ---------------------------------------------------------------------------- */

/* The parameters rows, firsts, lasts, atomics, rkeys, rhashes of submissions; *ret_rows: all rows,
 * in order. parents: also that parameter: of each submission's, counted from 1. */
struct unit {
        struct submission *s;
        uint32_t parent;
};
int put_units(struct lane *n, struct work *w, const struct unit *units, uint32_t n_units,
              bool parents);
bool key_tells_text(const struct submit_row *r);
void put_key_text(struct params *p, const struct submit_row *r);
void put_row(struct lane *n, const struct submit_row *r, uint64_t fingerprint, bool redelivered);
void put_extra(struct params *p, const struct submit_row *r); /* its fields */
bool has_extra(const struct submit_row *r);
bool has_keys(const struct submit_row *r); /* that pruned or unique jobs may have: the slow way */

/* --- columns (columns.c) ---------------------------------------------------------------------- */

/* Rows to be sent as one array a column, which is empty when all are as `common`. */
struct columns {
        struct submit_row **rows;
        uint32_t n;
};
enum text_column {
        TEXT_QUEUE,
        TEXT_TYPE,
        TEXT_HEADERS,
        TEXT_CONTENT_TYPE,
        TEXT_TAGS,
        TEXT_POLICY,
};
enum number_column {
        NUMBER_PRIORITY,
        NUMBER_REASON,
        NUMBER_LANE, /* lane_base() */
        NUMBER_MAX_ATTEMPTS,
        NUMBER_TIMEOUT,
        NUMBER_DEADLINE,
        NUMBER_AT,
        NUMBER_AFTER,
        NUMBER_RETRY_UNTIL,
        NUMBER_HEARTBEAT,
};
int64_t lane_base(const struct submit_row *r); /* of its lane, without its seq; -1: in none */
void put_text_column(struct params *p, const struct columns *k, enum text_column which,
                     struct str common);
void put_number_column(struct params *p, const struct columns *k, enum number_column which,
                       int64_t common, uint32_t oid);
void put_id_columns(struct params *p, const struct columns *k); /* ids; keys, none when none has */
void put_key_text_column(struct params *p, const struct columns *k);
void put_payload_column(struct params *p, const struct columns *k);

/* Of the type `said`. */
enum said_kind {
        SAID_CREATED,
        SAID_EXISTS,
        SAID_CONFLICT,
        SAID_UNSTORABLE,
        SAID_UNDONE,
        SAID_REQUEST, /* its key was used with another body */
        SAID_OUTBOX,
        SAID_HIT,        /* the fence held */
        SAID_HIT_BURIED, /* the same, but its data was refused */
        SAID_AMBIGUOUS,
        SAID_HELD,
        SAID_REPLACED,
        SAID_FULL,
        SAID_REPLY,
};

/* The row that a `said` names by id or by ord; NULL: none. */
struct submit_row *said_row(struct work *w, const PGresult *r, int i);
void said_apply(struct submit_row *row, const PGresult *r, int i);
struct submit_row *work_row(struct work *w, const struct job_id *id); /* quick when in order */
void submit_row_reset(struct submit_row *r);                          /* its answers */

/* --- the quick way of SUBMIT (submit_quick.c) ------------------------------------------------- */

bool submit_is_quick(struct pg_ledger *l, const struct work *w, const struct ledger_submit *b);
int submit_send_quick(struct lane *n, struct work *w, const struct ledger_submit *b);
int submit_take_quick(struct work *w, struct ledger_submit *b, enum statement which,
                      const PGresult *r);

int64_t ref_of(const struct job_id *id); /* never 0 */
/* A job of `handed`, texts copied into the claim. */
int handed_read(struct claim *c, const PGresult *r, int i, struct job *j);
/* An empty claim under this number, with room for n jobs. */
int claim_begin(struct claim *c, const struct commit_no *no, uint64_t token, uint32_t n);

#endif
