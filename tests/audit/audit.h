/*
 * The auditor: decides from outside whether what must hold has held. It reads what producers wrote
 * down (an intent before sending, the answer after), what handlers wrote down (start and end of
 * every run), what operators were answered, what the nemesis did (which node was cut off or killed,
 * and when), and a dump of the ledger at the end.
 *
 * It knows jobs, states and claims, and nothing of an engine, a worker or a simulator. The
 * simulator fills in these records itself, with the ledger's history of changes. skep-audit fills
 * them in from files that real processes wrote; there is no history then (`outside`), but the tries
 * that the ledger keeps. It is trusted only because planted bugs make it fail. Times are
 * nanoseconds of one observer's clock; `wall_us` is the ledger's clock.
 */
#ifndef SKEP_AUDIT_H
#define SKEP_AUDIT_H

#include <uthash.h>

#include "core/base.h"
#include "core/state.h"

enum audit_answer {
        AUDIT_UNANSWERED, /* the producer does not know */
        AUDIT_CREATED,
        AUDIT_EXISTS,
        AUDIT_CONFLICT,
        AUDIT_REFUSED,  /* nothing of it may exist */
        AUDIT_HELD,     /* likewise: another job holds its unique key */
        AUDIT_REPLACED, /* likewise, and that one has its payload now */
};

struct audit_intent {
        struct job_id id;
        uint32_t group; /* atomic submission that it belongs to; 0: none */
        bool keyed;
        uint32_t queue; /* any number that tells queues apart */
        uint8_t key[16];
        uint64_t payload;      /* hash */
        int64_t not_before_us; /* ledger's clock; 0: at once */
        uint16_t max_attempts;
        bool poison; /* its handler always takes the worker down */
        bool unique; /* it may be no job at all, though its array is accepted */
        bool child;
        struct job_id parent;
        uint32_t parent_claim;
        uint32_t alone; /* of all with this number one is there at a time; 0: no such wish. From
                           outside only */
};

/* RUNNING: never ended, or nobody lived to tell; CRASHED: by itself; KILLED: from outside. */
#define AUDIT_ENDS(X)                                                                              \
        X(RUNNING) X(DONE) X(RETRY) X(SNOOZE) X(DISCARD) X(DEAD) X(CANCELLED) X(CRASHED) X(KILLED)

enum audit_end {
#define X(name) AUDIT_##name,
        AUDIT_ENDS(X)
#undef X
};
const char *audit_end_name(enum audit_end e);

struct audit_run {
        struct job_id id;
        uint32_t claim, generation;
        uint64_t token, payload, holder;
        uint16_t attempt;
        int64_t start_ns, start_wall_us, end_ns;
        enum audit_end end;
        uint64_t result;  /* hash of what it returned */
        int64_t asked_ns; /* when it was first asked to stop; 0: never */
        uint32_t batch;   /* jobs that its handler was given at once; 0: as 1 */

        /* From outside only. */
        int32_t pid;
        int64_t after_ms; /* the delay that it asked for with RETRY or SNOOZE; 0: none */
        bool resulted;    /* `result` is known */
        bool deaf;        /* a handler that does not look whether it is asked to stop */
        bool exclusive;   /* may overlap with no other run, cut off or not */
};

/* A try that did not complete its job, as the ledger keeps it. From outside only. */
struct audit_try {
        struct job_id id;
        uint32_t claim, generation;
        uint16_t attempt;
        enum error_class error;
        bool ended_job;
        int64_t started_us, ended_us;
};

/* One change of a row in the ledger; to == PENDING from PENDING is not told. */
struct audit_change {
        struct job_id id;
        int64_t at_ns, wall_us;
        enum job_state from, to;
        enum job_reason reason;
        enum error_class error;
        uint32_t generation;
        uint32_t claim; /* after the change */
        uint64_t token; /* after */
        uint32_t claim_before,
            claim_shown; /* shown: by the writer; 0 with token 0: no fence applies */
        uint64_t token_before, token_shown;
        uint64_t holder; /* who held the job before the change, or holds it now */
        uint16_t attempt_before, attempt, max_attempts;
        uint8_t strikes;
        int64_t due_before_us;
        bool operator_; /* an operator asked for it */
        bool budgeted;  /* it is tried for so long only */
};

struct audit_row {
        struct job_id id;
        enum job_state state;
        enum job_reason reason;
        bool parked, served; /* served: some live node has a handler for its type */
        bool keyed;
        uint32_t queue;
        uint8_t key[16];
        uint64_t payload, result;
        uint16_t attempt, max_attempts;
        uint8_t strikes;
        uint32_t generation, claim;
        int64_t due_us;

        /* From outside only. */
        bool held;                 /* by a node that lives */
        bool watched;              /* its handler writes its runs down */
        bool lane, due, parked_at; /* which of the three waiting columns are set */
        bool resulted;             /* `result` is known */
        bool told_key;             /* `key` is only what its letter bore: it could not be a job */
        bool bare;                 /* its payload is missing */
        uint16_t snoozes;
        uint64_t token, holder;
        int64_t created_us, finished_us;
        uint32_t schedule; /* that made it, as a number; 0: none */
        int64_t tick_us;   /* for which of its ticks; 0: by hand */
};

/* From `from_ns` to `to_ns` (INT64_MAX: for ever) this holder did not hear or was not heard. holder
 * 0: everybody. */
struct audit_cut {
        uint64_t holder;
        int64_t from_ns, to_ns;
};

/* A holder was declared dead: nothing of it may be claimed from then on. */
struct audit_burial {
        uint64_t holder;
        int64_t at_ns;
};

struct audit_job {
        struct job_id id;
        bool intended, accepted, refused, rowed;
        struct audit_intent intent;
        struct audit_row row;
        uint32_t rows;
        uint64_t *payloads; /* that it was given in place of its own */
        uint32_t n_payloads, payloads_capacity;
        int64_t cancel_ns; /* when an operator was last told that the running job is being asked */
        struct audit_run *runs;
        uint32_t n_runs, runs_capacity;
        struct audit_change *changes;
        uint32_t n_changes, changes_capacity;

        /* From outside only. */
        struct audit_try *tries;
        uint32_t n_tries, tries_capacity;
        uint32_t requeues_asked, requeued_to; /* how often; the highest generation answered */
        int64_t stopped_ns; /* when an operator was last told that it is cancelled */
        int64_t revived_ns; /* when an operator last asked for a requeue */
        bool hurried;       /* an operator offered it before its time */
        UT_hash_handle hh;
};

struct audit_said { /* an answer that named a job */
        struct job_id id, existing;
        enum audit_answer answer;
};

struct audit {
        struct audit_job *jobs;
        struct audit_said *said;
        uint32_t n_said, said_capacity;
        struct audit_cut *cuts;
        uint32_t n_cuts, cuts_capacity;
        struct audit_burial *burials;
        uint32_t n_burials, burials_capacity;
        uint32_t claims_left,
            nodes_left; /* in the ledger at the end: claims kept, dead nodes kept */
        int64_t end_wall_us;
        int64_t lease_ns;

        bool outside;     /* no history of changes: rows and tries instead */
        bool strangers;   /* there may be rows, runs and requeues that nobody wrote down */
        bool unwatched;   /* no handler wrote anything down */
        bool clock_moved; /* wall clocks were moved: what needs them is not judged */
        bool kills_noted; /* workers or nodes were killed */
        int64_t grace_ns; /* of a cancel; 0: not judged */
};

void audit_deinit(struct audit *a);

void audit_intend(struct audit *a, const struct audit_intent *i);
void audit_answer(struct audit *a, const struct job_id *id, enum audit_answer answer,
                  const struct job_id *existing);
/* Returns the run's number within its job, for audit_ended(). */
uint32_t audit_started(struct audit *a, const struct audit_run *r);
void audit_ended(struct audit *a, const struct job_id *id, uint32_t run, enum audit_end end,
                 int64_t at_ns);
void audit_result(struct audit *a, const struct job_id *id, uint32_t run, uint64_t result);
void audit_asked(struct audit *a, const struct job_id *id, uint32_t run, int64_t at_ns);
/* An operator's cancel was answered "asked" (202). */
void audit_cancel(struct audit *a, const struct job_id *id, int64_t at_ns);
/* Another gave it its payload and time: it may have this one from now on, and start earlier. */
void audit_replaced(struct audit *a, const struct job_id *id, uint64_t payload);
void audit_changed(struct audit *a, const struct audit_change *c);
void audit_buried(struct audit *a, uint64_t holder, int64_t at_ns);
void audit_cut_off(struct audit *a, const struct audit_cut *c);
void audit_row(struct audit *a, const struct audit_row *r);
void audit_tried(struct audit *a, const struct audit_try *t);
struct audit_job *audit_job(struct audit *a, const struct job_id *id);        /* makes it */
struct audit_job *audit_find(const struct audit *a, const struct job_id *id); /* NULL: unknown */

/* Was this holder cut off, or just back, at some time between the two? */
bool audit_was_cut(const struct audit *a, uint64_t holder, int64_t from_ns, int64_t to_ns);

/* The first violation, as "I3 job 0198...: text" in ret_text; false: everything held. */
bool audit_judge(const struct audit *a, char *ret_text, size_t size);

struct audit_report;
/* All violations, by invariant, into a report that was zeroed. */
void audit_judge_all(const struct audit *a, struct audit_report *report);

/* --- audit_*.c among themselves ----------------------------------------------------------- */

struct audit_verdict {
        char *text;
        size_t size;
        bool found;
        struct audit_report *report; /* gathers all instead of the first; or NULL */
};
void audit_blame(struct audit_verdict *v, const char *which, const struct job_id *id,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Seen and allowed: listed, when somebody gathers. */
void audit_excuse(struct audit_verdict *v, const char *which, const struct job_id *id,
                  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
const struct audit_try *audit_try_of(const struct audit_job *j, uint32_t claim);
/* The one that counts: a batch that died is followed by another of the same claim. */
const struct audit_run *audit_run_of(const struct audit_job *j, uint32_t claim);
bool audit_is_payload(const struct audit_job *j, uint64_t payload);
/* Did it die as one of several that a worker ran at once? */
bool audit_died_in_batch(const struct audit_run *r);
void audit_history(const struct audit *a, const struct audit_job *j, struct audit_verdict *v);
void audit_runs(const struct audit *a, const struct audit_job *j, struct audit_verdict *v);
void audit_books(const struct audit *a, const struct audit_job *j, struct audit_verdict *v);
void audit_tries(const struct audit *a, const struct audit_job *j, struct audit_verdict *v);
void audit_shape(const struct audit_job *j, struct audit_verdict *v);
void audit_across(const struct audit *a, struct audit_verdict *v);
/* Among the jobs that are chosen, in order: looks at each two neighbours; with `equal`, at those
 * that compare as equal. */
void audit_neighbours(const struct audit *a, struct audit_verdict *v, bool equal,
                      bool (*choose)(const struct audit_job *),
                      int (*compare)(const void *, const void *),
                      void (*check)(const struct audit_job *, const struct audit_job *,
                                    struct audit_verdict *));
void audit_times(const struct audit *a, struct audit_verdict *v);

#endif
