/*
 * The part of the ledger's seam that only looks: jobs for people, lists, counts, the inbox.
 * Included by core/ledger.h alone; the rules of that header hold for each batch here.
 */
#ifndef SKEP_CORE_LEDGER_READS_H
#define SKEP_CORE_LEDGER_READS_H

struct attempt_row {
        uint64_t fingerprint;
        uint16_t attempt;
        uint32_t generation, claim;
        enum error_class error;
        struct str error_text, build;
        uint64_t holder;
        uint16_t worker;
        int32_t worker_pid;
        int64_t started_us, ended_us;
};

/* A job as people see it. Times are wall µs, 0: none. */
struct job_row {
        struct job_id id;
        struct str queue, type, key_text, content_type, headers, payload, tags;
        enum job_state state;
        enum job_reason reason;
        enum lane_band band; /* when PENDING */
        uint8_t priority, strikes;
        uint16_t attempt, max_attempts, snoozes;
        uint32_t generation, claim, timeout_ms;
        uint64_t holder;
        bool cancel_asked;
        int64_t created_us, due_us, deadline_us, started_us, finished_us;
        struct attempt_row
            last; /* the try that ended the job, or the last failed one; error NONE: none */
        struct str result, result_type;
        struct str policy;      /* the job's own retry policy; empty: none */
        int64_t retry_until_us; /* 0: none */
        uint32_t heartbeat_ms;
        bool has_progress;
        double done, total;
        int64_t progress_us;      /* when it was told last */
        uint32_t checkpoint_size; /* SHOW only; 0: none */
        uint64_t ahead; /* SHOW only, of a PENDING row: rows before it in its lane's band, counted
                           up to 10,000 */
        struct attempt_row *attempts; /* SHOW only: tries that did not end the job, oldest first */
        uint32_t n_attempts;
};

/* SHOW: one job, by id, or by (queue, key) when key.set. */
struct ledger_show {
        struct ledger_batch base;
        struct job_id id;
        struct job_key key;
        struct str queue;
        bool found;
        struct job_row row;
};

/* LIST: newest first, below `before` when that is set. Rows come without payload, headers, result.
 */
struct ledger_list {
        struct ledger_batch base;
        int state;                   /* enum job_state, or -1: any */
        struct str type, queue, tag; /* empty: any; type may be a pattern */
        uint64_t fingerprint;        /* of the last error; 0: any */
        enum error_class error;      /* likewise; NONE: any */
        bool whole;                  /* with payload, headers and result, as SHOW has them */
        int64_t since_us;            /* created at or after; 0: any */
        bool has_before;
        struct job_id before;
        uint32_t limit; /* 1 to 1000 */
        struct job_row *rows;
        uint32_t n;
        bool more;
};

/* A letter that an SQL producer wrote into the inbox. */
struct inbox_letter {
        int64_t no;
        struct str queue, type, key, content_type, headers, payload; /* empty: not given */
        int priority;                                                /* -1: the queue's */
        uint32_t max_attempts;                                       /* 0: the queue's */
        uint32_t timeout_ms;
        int64_t at_us, deadline_us; /* 0: none */
};

/* INBOX: up to `limit` letters, oldest first. Taken by a SUBMIT whose rows name them (row.inbox):
 * a row whose letter is gone by then is UNDONE; one that is CONFLICT leaves
 * its letter where it is. Ledgers without an inbox answer none. */
struct ledger_inbox {
        struct ledger_batch base;
        uint32_t limit;
        struct inbox_letter *letters; /* answers */
        uint32_t n;
        bool more;
};

struct queue_stat {
        struct str queue;
        uint64_t jobs[JOB_STATE_COUNT];
        uint64_t parked;           /* of the pending: no handler for their type */
        int64_t oldest_pending_us; /* created; 0: none */
};

struct ledger_stats {
        struct ledger_batch base;
        struct queue_stat *queues;
        uint32_t n;
};

#endif
