/*
 * What a ledger gives to be run through the conformance cases: a store that can be made fresh,
 * opened, and, as far as it is able, set back, broken and looked into from outside. A new
 * implementation adds one file with one of these and its line in fixtures.c; the cases do not
 * change.
 *
 * A case that needs what a fixture lacks is printed as skipped, with the reason, and counted.
 */
#ifndef SKEP_TESTS_CONFORMANCE_FIXTURE_H
#define SKEP_TESTS_CONFORMANCE_FIXTURE_H

#include "core/ledger.h"

enum fixture_need {
        NEED_REOPEN = 1, /* the store outlives its last handle */
        NEED_SHARE = 2,  /* several handles on one store at once, from several threads */
        NEED_FAULT = 4,  /* fail_next() */
        NEED_RAW = 8,    /* raw_state(), count_commits(): writes and reads past the ledger */
};

enum fixture_fault {
        FAULT_NONE,
        FAULT_REFUSE,          /* the next write transaction is REFUSED */
        FAULT_UNKNOWN_LOST,    /* UNKNOWN, and it did not happen */
        FAULT_UNKNOWN_WRITTEN, /* UNKNOWN, and it happened */
};

struct ledger_fixture {
        const char *name;
        unsigned has;   /* of enum fixture_need */
        uint32_t crowd; /* an unknown number is resolved even after so many later ones; 0: the 40 of
                           all */
        const char *lacks; /* why the rest is missing; shown with skipped cases */

        /* A fresh, empty store. NULL: not possible here; the reason is printed. */
        void *(*setup)(void);
        void (*teardown)(void *store);

        /* Another handle on the store. 0 or -errno, noted. */
        int (*open)(void *store, struct ledger **ret_ledger, char *note, size_t note_size);

        /* The ledger's own clock: frozen, moved by hand. */
        int64_t (*now_us)(void *store);
        void (*advance)(void *store, int64_t us);

        /* MAY be NULL where `has` says so. */
        void (*fail_next)(void *store, enum fixture_fault fault);

        /* Puts the row into state `to` as a foreign program would: every other column that the edge
         * touches (waiting columns, claim, holder) as it ought to be, generation raised when asked.
         * STATE_NONE in `from`: inserts a row with this id. True: the store let it happen. */
        bool (*raw_state)(void *store, const struct job_id *id, enum job_state from,
                          enum job_state to, bool raise_generation);
        int64_t (*count_commits)(void *store);
};

extern const struct ledger_fixture fixture_sqlite, fixture_sqlite_memory, fixture_postgres,
    fixture_sim;

/* The one that this run is for. */
extern const struct ledger_fixture *fixture;

struct conformance_case {
        const char *name;
        void (*run)(void);
        unsigned needs; /* of enum fixture_need */
};

struct case_list {
        const struct conformance_case *cases;
        size_t n;
};

/* One per file of cases. */
extern const struct case_list cases_arrive, cases_bulk, cases_claim, cases_commit, cases_doorbell,
    cases_duty, cases_finish, cases_floor, cases_journal, cases_limits, cases_node, cases_nodes,
    cases_operator, cases_owed, cases_prune, cases_read, cases_relay, cases_reply, cases_rescue,
    cases_save, cases_schedule, cases_store, cases_submit, cases_tide, cases_unique,
    cases_unique_letters;

#define CASES(name, ...)                                                                           \
        static const struct conformance_case name##_table[] = {__VA_ARGS__};                       \
        const struct case_list name = {name##_table, sizeof name##_table / sizeof *name##_table}

#endif
