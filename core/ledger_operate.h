/*
 * The part of the ledger's seam that serves operators, schedules and housekeeping. Included by
 * core/ledger.h alone; the rules of that header hold for each batch here.
 */
#ifndef SKEP_CORE_LEDGER_OPERATE_H
#define SKEP_CORE_LEDGER_OPERATE_H

/* --- queues ----------------------------------------------------------------------------------- */

#define CONTROL_UNSET (-1)

/* What operators set for a queue at runtime, over its configuration, for all nodes. */
struct queue_control {
        struct str queue;
        bool paused;
        int32_t concurrency; /* per node; CONTROL_UNSET: as configured */
        int32_t global;      /* over all nodes; CONTROL_UNSET: as configured */
};
#define CONTROL_NONE ((struct queue_control){{0}, false, CONTROL_UNSET, CONTROL_UNSET})

/* CONTROL: changes what `set` names of a queue's control; a row that says nothing any more goes.
 * Every node learns it with its next BEAT. */
enum control_part { CONTROL_PAUSED = 1, CONTROL_CONCURRENCY = 2, CONTROL_GLOBAL = 4 };
struct ledger_control {
        struct ledger_batch base;
        uint32_t set;                 /* enum control_part; 0: only asks */
        struct queue_control control; /* in: queue and the new values; answer: all that now holds */
};

/* --- what running jobs leave behind ----------------------------------------------------------- */

/* SAVE: checkpoints and progress of running jobs, each fenced by (id, claim, token, running); a
 * later one replaces an earlier one of the same job. It has no commit number: whatever the outcome
 * but COMMITTED, it may have been written, or be written yet by a connection that hung; `n` keeps
 * that from undoing what came after it. A checkpoint is handed over with each later claim of the
 * job; it and the progress go when the job completes, or with its row. */
struct save_row {
        struct job_id id;
        int64_t ref;
        uint32_t claim;
        uint64_t token;
        uint32_t n; /* rises with each save of a claim: one below that which stands under the same
                       claim writes nothing and is not stale; the same one again is written */
        bool has_checkpoint, has_progress;
        struct str checkpoint; /* CHECKPOINT_MAX bytes at most */
        double done, total;    /* progress; total 0: not known */
        bool stale;            /* answer */
};

struct ledger_save {
        struct ledger_batch base;
        struct save_row *rows;
        uint32_t n;
};

/* --- schedules -------------------------------------------------------------------------------- */

/* A schedule as the ledger keeps it. Times are wall µs, 0: none. */
struct schedule_row {
        struct str name;
        struct str spec, zone; /* as core/cron.h reads them; zone empty: UTC */
        enum catch_up catch_up;
        enum overlap overlap;
        uint32_t catch_max; /* CATCH_ALL: at most so many missed ticks, the latest */
        bool paused, from_config;
        int64_t created_us;
        int64_t next_us;           /* its next tick; 0: it has none any more */
        int64_t last_us;           /* the tick that made last_job */
        int64_t buffered_us;       /* OVERLAP_BUFFER: a tick that waits for last_job to end */
        struct job_id last_job;    /* all zero: none yet */
        uint64_t revision;         /* rises with each change; never 0 */
        struct submit_row job;     /* what each tick makes; id, key, state are the tick's own */
        enum job_state last_state; /* answer: of last_job; STATE_NONE: no such row (any more) */
};

/* SCHEDULES: those with a name above `after`, in order of their names' bytes. */
struct ledger_schedules {
        struct ledger_batch base;
        struct str name;           /* only this one; empty: all */
        struct str after;          /* empty: from the first */
        uint32_t limit;            /* 1 to 1000 */
        struct schedule_row *rows; /* answers */
        uint32_t n;
        bool more;
        uint64_t revision; /* of the table: as BEAT tells it */
};

/* SCHEDULE: puts one in, in place of the one of its name, or drops it. `expected`: the revision
 * that must still stand; 0: none of the name may be there; SCHEDULE_ANY: whatever is there. A put
 * keeps created_us, last_us, last_job and buffered_us of the one it replaces; a new one is created
 * now, its other three are taken as given. Of `job` all is kept but id, key, key_text, state,
 * reason, band, at_us, after_us, error_text and inbox. A name that is not 1 to SCHEDULE_NAME_MAX
 * bytes, a spec or zone over SCHEDULE_SPEC_MAX: REFUSED. */
#define SCHEDULE_ANY UINT64_MAX
struct ledger_schedule {
        struct ledger_batch base;
        bool drop;
        uint64_t expected;
        struct schedule_row
            row;    /* drop: its name alone; answer: revision, and all that now holds */
        bool done;  /* answer: false: the expected revision did not stand, nothing written;
                       row.revision is what stands (0: nothing), the rest is as given. A drop with
                       SCHEDULE_ANY is done even if nothing was there */
        bool found; /* answer: one of the name was there before */
        struct schedule_row stands; /* answer: it was found and is not done: all that stands */
        bool repeated;              /* the poster's own; ledgers never read it */
};

/* Is what people may ask for the same in both, the pause and whose it is as well? Times, last job
 * and revision are not looked at, nor what is a tick's own. */
bool schedule_row_same(const struct schedule_row *a, const struct schedule_row *b);

/* TICK: the jobs of a schedule's due ticks, and its new place in time; all of it, or, when the
 * revision has passed, nothing. Rows are inserted as SUBMIT does (their keys name schedule and
 * tick, so that none is made twice), never in the BROKER band and whatever the bound of their
 * queue; `cancel`: the older job is cancelled as by an operator, with reason OVERLAPPED. A run by
 * hand is a TICK too: rows, and next_us as it was. When one that ran and was asked by this ends as
 * cancelled(OPERATOR), its row says OVERLAPPED all the same. */
struct ledger_tick {
        struct ledger_batch base;
        struct str name;
        uint64_t revision;
        int64_t next_us, last_us, buffered_us; /* to be stored; last_us 0: as it was */
        struct submission *jobs; /* the poster's, freed with the batch; NULL: none. Not atomic. Its
                                    last row that is CREATED or EXISTS becomes last_job */
        bool has_cancel;
        struct job_id cancel;
        /* answers */
        bool done;                    /* false: the revision has passed, nothing written */
        uint64_t now_revision;        /* what stands now; 0: there is no such schedule */
        enum cancel_result cancelled; /* of has_cancel */
        uint64_t cancel_holder;       /* when ASKED */
};

/* --- many jobs at once ------------------------------------------------------------------------ */

/* Which jobs. Everything that is given must hold. */
struct job_filter {
        uint8_t states;              /* bit 1 << state; 0: any */
        struct str type;             /* a type or pattern; empty: any */
        struct str queue, tag;       /* empty: any */
        enum error_class error;      /* of the last error; NONE: any */
        uint64_t fingerprint;        /* of the last error; 0: any */
        int64_t since_us, before_us; /* created at or after, before; 0: any */
        int64_t ended_before_us;     /* terminal, and so since before it; 0: any */
};

enum bulk_kind {
        BULK_COUNT,   /* nothing is written */
        BULK_REQUEUE, /* dead, cancelled → pending, as REQUEUE */
        BULK_CANCEL,  /* waiting → cancelled; running: asked, as CANCEL */
        BULK_PURGE,   /* dead, cancelled, completed: the rows go, as PRUNE takes them */
};

/* BULK: one page of an operation over the jobs of a filter, in order of their ids. Looks at a
 * bounded number of rows (MAY end a page early), writes to at most `limit`. Repeating a page after
 * an unknown commit is harmless. */
struct ledger_bulk {
        struct ledger_batch base;
        enum bulk_kind kind;
        struct job_filter filter;
        bool has_after;
        struct job_id after;    /* only ids above */
        uint32_t limit;         /* 1 to 1000 */
        int64_t again_since_us; /* REQUEUE: jobs of the filter that died again since are counted */
        /* answers */
        uint32_t done;  /* COUNT: how many of this page match, whatever `limit` */
        uint32_t asked; /* CANCEL: running ones among them, those asked before too */
        uint32_t again; /* dead now, since again_since_us, with a generation above 0, of the
                           filter's queue, type, tag and time of creation (they may have died of
                           something else); counted up to 10,000 */
        bool more;
        struct job_id last; /* where the next page goes on, when `more` */
};

/* GROUPS: dead jobs by queue, type, class and fingerprint of their last error, the largest group
 * first, of equal ones that with the latest. Times are those at which they died. Looks at 100,000
 * dead jobs at most, the latest first. */
struct error_group {
        struct str queue, type, text; /* text: of the latest */
        enum error_class error;
        enum job_reason reason; /* of the latest */
        uint64_t fingerprint;
        uint64_t n;
        int64_t first_us, last_us;
        struct job_id sample; /* the latest */
};

struct ledger_groups {
        struct ledger_batch base;
        struct job_filter filter;   /* states are not looked at */
        uint32_t limit;             /* 1 to 1000 */
        struct error_group *groups; /* answers */
        uint32_t n;
        bool more, partial; /* partial: there were more dead jobs than were looked at */
};

/* --- housekeeping ----------------------------------------------------------------------------- */

/* How long rows stay after they ended. The first rule that fits a row decides; none: it stays. */
struct prune_rule {
        struct str queue;     /* empty: every queue */
        enum job_state state; /* COMPLETED, DEAD, CANCELLED */
        int64_t keep_us;      /* after finished; < 0: for ever */
};

/* PRUNE: one page of a walk over the jobs from the oldest id on: rows that a rule lets go are
 * deleted with their attempts, checkpoint and payload. The key of one that was created less than
 * KEY_LIFE_US ago is remembered until then: a letter or submission with it is KNOWN, EXISTS or
 * CONFLICT as if the row were there (existing_state: STATE_NONE). Looks at `limit` rows at most;
 * ends the walk at rows younger than the shortest rule. The walk is one holder's at a time: a page
 * takes it, or keeps it, for PRUNE_HOLD_US; the one that ends it gives it back; while it is
 * another's, nothing is looked at (`done` false, `last` as `after`). */
#define KEY_LIFE_US   (INT64_C(7) * 86400 * US_PER_S)
#define PRUNE_HOLD_US (60 * US_PER_S)
struct ledger_prune {
        struct ledger_batch base;
        const struct prune_rule *rules; /* the poster's */
        uint32_t n_rules;
        bool has_after;
        struct job_id after;
        uint32_t limit; /* 1 to 10000 */
        /* answers */
        uint32_t pruned;
        struct job_id last;
        bool done; /* false: another holder walks, nothing was looked at */
        bool end;  /* the walk is through: begin anew, later */
};

/* --- nodes, for people ------------------------------------------------------------------------ */

struct node_row {
        uint64_t holder;
        struct str host, version;
        struct str serves; /* patterns of its handlers, one a line */
        struct str queues; /* names of its queues, one a line */
        int32_t pid;
        uint32_t workers;
        bool dead;
        int64_t registered_us, beat_us;
};

/* NODES: all of them, as they told themselves with REGISTER and BEAT. */
struct ledger_nodes {
        struct ledger_batch base;
        struct node_row *rows; /* answers */
        uint32_t n;
};

#endif
