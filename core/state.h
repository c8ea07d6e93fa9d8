/*
 * The states of a job and the only edges between them, listed once. The names below are the names
 * in SQL, JSON, the CLI, metrics and the docs; the numbers are stored in ledgers and never change.
 */
#ifndef SKEP_CORE_STATE_H
#define SKEP_CORE_STATE_H

#include "core/base.h"

/*      number, enumerator, name, terminal */
#define JOB_STATES(X)                                                                              \
        X(0, SCHEDULED, "scheduled", false)                                                        \
        X(1, PENDING, "pending", false)                                                            \
        X(2, RUNNING, "running", false)                                                            \
        X(3, RETRYING, "retrying", false)                                                          \
        X(4, COMPLETED, "completed", true)                                                         \
        X(5, DEAD, "dead", true)                                                                   \
        X(6, CANCELLED, "cancelled", true)

enum job_state {
#define X(number, name, text, terminal) STATE_##name = number,
        JOB_STATES(X)
#undef X
            STATE_NONE = 7, /* before the row exists; never stored */
};
#define JOB_STATE_COUNT 7

/*      from, to, when; OPERATOR edges need generation + 1 */
#define JOB_EDGES(X)                                                                               \
        X(NONE, PENDING, "submitted")                                                              \
        X(NONE, SCHEDULED, "submitted with a later start")                                         \
        X(NONE, RUNNING, "a letter, claimed as it arrives")                                        \
        X(NONE, DEAD, "malformed, too large, unstorable")                                          \
        X(NONE, CANCELLED, "a duplicate of a unique job")                                          \
        X(PENDING, RUNNING, "claimed")                                                             \
        X(PENDING, CANCELLED, "cancelled")                                                         \
        X(PENDING, DEAD, "expired")                                                                \
        X(PENDING, SCHEDULED, "its time was replaced")                                             \
        X(SCHEDULED, PENDING, "due")                                                               \
        X(SCHEDULED, CANCELLED, "cancelled")                                                       \
        X(SCHEDULED, DEAD, "expired")                                                              \
        X(RETRYING, PENDING, "due")                                                                \
        X(RETRYING, CANCELLED, "cancelled")                                                        \
        X(RETRYING, DEAD, "expired")                                                               \
        X(RUNNING, COMPLETED, "done")                                                              \
        X(RUNNING, RETRYING, "failed, attempts left")                                              \
        X(RUNNING, SCHEDULED, "snoozed")                                                           \
        X(RUNNING, PENDING, "given back unstarted")                                                \
        X(RUNNING, DEAD, "failed for good")                                                        \
        X(RUNNING, CANCELLED, "cancelled or discarded")                                            \
        X(DEAD, PENDING, "requeued by an operator")                                                \
        X(CANCELLED, PENDING, "requeued by an operator")

const char *state_name(enum job_state s);                     /* "?" when out of range */
bool state_parse(struct str name, enum job_state *ret_state); /* false: no such state */
bool state_terminal(enum job_state s);
bool state_edge(enum job_state from, enum job_state to); /* is the edge listed above? */
bool state_edge_by_operator(enum job_state from, enum job_state to);

/* Why a job is in its state, where the state alone does not say. Stored by number. */
#define JOB_REASONS(X)                                                                             \
        X(0, NONE, "")                                                                             \
        X(1, NO_HANDLER, "no_handler")   /* pending: no handler for its type */                    \
        X(2, EXHAUSTED, "exhausted")     /* dead: attempts spent */                                \
        X(3, CRASHED, "crashed")         /* dead: three strikes */                                 \
        X(4, REJECTED, "rejected")       /* dead: the handler said DEAD */                         \
        X(5, SNOOZED_OUT, "snoozed_out") /* dead: the 1,001st snooze */                            \
        X(6, EXPIRED, "expired")         /* dead: not started before its deadline */               \
        X(7, UNSTORABLE, "unstorable")   /* dead: the ledger refuses its data */                   \
        X(8, ID_CONFLICT, "id_conflict") /* dead: key taken by another payload */                  \
        X(9, MALFORMED, "malformed")     /* dead: a known header cannot be read */                 \
        X(10, TOO_LARGE, "too_large")    /* dead: payload over the limit */                        \
        X(11, DISCARDED, "discarded")    /* cancelled: the handler said DISCARD */                 \
        X(12, OPERATOR, "operator")      /* cancelled: by request */                               \
        X(13, GIVEN_BACK, "given_back")  /* pending again: claimed, never started */               \
        X(14, REQUEUED, "requeued")      /* pending again: by an operator */                       \
        X(15, SNOOZED, "snoozed")        /* scheduled: the handler said SNOOZE */                  \
        X(16, DUPLICATE, "duplicate")    /* cancelled: its unique key was taken */                 \
        X(17, NO_QUEUE, "no_queue")      /* pending: no queue takes its type */                    \
        X(18, DROPPED, "dropped")        /* cancelled: its queue was full, and drops its oldest */ \
        X(19, OVERLAPPED, "overlapped")  /* cancelled: the next run of its schedule was due */     \
        X(20, REPLACED, "replaced")      /* scheduled: another with its unique key moved it */

enum job_reason {
#define X(number, name, text) REASON_##name = number,
        JOB_REASONS(X)
#undef X
};
const char *reason_name(enum job_reason r); /* "" for NONE, "?" when out of range */

/* What ended a try that failed. Stored by number. */
#define ERROR_CLASSES(X)                                                                           \
        X(0, NONE, "")                                                                             \
        X(1, FAILED, "failed")       /* the handler said RETRY */                                  \
        X(2, CRASHED, "crashed")     /* the worker died of a signal or exit() while running it */  \
        X(3, TIMED_OUT, "timed_out") /* killed past its time-out */                                \
        X(4, OOM, "oom")             /* the kernel's out-of-memory killer */                       \
        X(5, LOST, "lost")           /* its node disappeared */                                    \
        X(6, STOPPED, "stopped")     /* still running at the end of the shutdown grace */          \
        X(7, REJECTED, "rejected")   /* the handler said DEAD */                                   \
        X(8, EXPIRED, "expired")                                                                   \
        X(9, MALFORMED, "malformed")                                                               \
        X(10, TOO_LARGE, "too_large")                                                              \
        X(11, UNSTORABLE, "unstorable")                                                            \
        X(12, ID_CONFLICT, "id_conflict")                                                          \
        X(13, CANCELLED, "cancelled") /* stopped or killed after a cancel */                       \
        X(14, DUPLICATE, "duplicate") /* its unique key was held by another */

enum error_class {
#define X(number, name, text) ERROR_##name = number,
        ERROR_CLASSES(X)
#undef X
};
const char *error_class_name(enum error_class c);

#endif
