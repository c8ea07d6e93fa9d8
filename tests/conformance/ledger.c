/*
 * conformance-ledger IMPLEMENTATION: runs every case over one ledger. Without an argument it names
 * the implementations. A case that the implementation cannot offer is skipped aloud.
 */
#include "tests/conformance/fixture.h"

#include <CUnit/Basic.h>
#include <stdio.h>

const struct ledger_fixture *fixture;

static const struct ledger_fixture *const fixtures[] = {
    &fixture_sqlite,
    &fixture_sqlite_memory,
    &fixture_postgres,
#ifdef CONFORMANCE_SIM
    &fixture_sim,
#endif
};

static const struct {
        const char *name;
        const struct case_list *list;
} suites[] = {
    {"submit", &cases_submit},
    {"claim", &cases_claim},
    {"arrive", &cases_arrive},
    {"doorbell", &cases_doorbell},
    {"journal", &cases_journal},
    {"relay", &cases_relay},
    {"tide", &cases_tide},
    {"finish", &cases_finish},
    {"node", &cases_node},
    {"rescue", &cases_rescue},
    {"operator", &cases_operator},
    {"duty", &cases_duty},
    {"floor", &cases_floor},
    {"commit", &cases_commit},
    {"read", &cases_read},
    {"store", &cases_store},
    {"save", &cases_save},
    {"unique", &cases_unique},
    {"unique letters", &cases_unique_letters},
    {"limits", &cases_limits},
    {"schedule", &cases_schedule},
    {"bulk", &cases_bulk},
    {"prune", &cases_prune},
    {"reply", &cases_reply},
    {"owed", &cases_owed},
    {"nodes", &cases_nodes},
};

static unsigned skipped;

static int add_suite(const char *name, const struct case_list *list)
{
        CU_pSuite suite = CU_add_suite(name, NULL, NULL);
        for (size_t i = 0; suite && i < list->n; i++) {
                const struct conformance_case *c = &list->cases[i];
                if (c->needs & ~fixture->has) {
                        printf("skipped: %s: %s (%s)\n", name, c->name, fixture->lacks);
                        skipped++;
                } else if (!CU_add_test(suite, c->name, c->run)) {
                        suite = NULL;
                }
        }
        return suite ? 0 : -1;
}

static int run_all(void)
{
        if (CU_initialize_registry() != CUE_SUCCESS) {
                return 1;
        }
        for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
                if (add_suite(suites[i].name, suites[i].list) < 0) {
                        fprintf(stderr, "cannot register the cases: %s\n", CU_get_error_msg());
                        return 1;
                }
        }
        CU_basic_set_mode(CU_BRM_VERBOSE);
        CU_basic_run_tests();
        unsigned failed = CU_get_number_of_tests_failed(), ran = CU_get_number_of_tests_run();
        CU_cleanup_registry();
        printf("\n%u passed, %u failed, %u skipped\n", ran - failed, failed, skipped);
        return failed != 0 || ran == 0;
}

int main(int argc, char **argv)
{
        for (size_t i = 0; argc == 2 && i < ARRAY_LEN(fixtures); i++) {
                if (strcmp(fixtures[i]->name, argv[1]) == 0) {
                        fixture = fixtures[i];
                        return run_all();
                }
        }
        fprintf(stderr, "usage: conformance-ledger IMPLEMENTATION, one of:");
        for (size_t i = 0; i < ARRAY_LEN(fixtures); i++) {
                fprintf(stderr, " %s", fixtures[i]->name);
        }
        fprintf(stderr, "\n");
        return 64;
}
