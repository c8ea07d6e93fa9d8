/*
 * conformance-transport IMPLEMENTATION [CASE]: runs every case over one transport, or those alone
 * whose name holds CASE. Without an argument it names the implementations. A case that the
 * implementation cannot offer is skipped aloud; a broker that is not there is a failure.
 */
#include "tests/conformance/transport_fixture.h"

#include <CUnit/Basic.h>
#include <stdio.h>

const struct transport_fixture *fixture;

static const struct transport_fixture *const fixtures[] = {
    &fixture_amqp,
    &fixture_nats,
#ifdef CONFORMANCE_SIM_TRANSPORT
    &fixture_sim_transport,
#endif
};

static const struct {
        const char *name;
        const struct transport_case_list *list;
} suites[] = {
    {"letter", &transport_cases_letter}, {"settle", &transport_cases_settle},
    {"flow", &transport_cases_flow},     {"bell", &transport_cases_bell},
    {"reply", &transport_cases_reply},   {"outage", &transport_cases_outage},
};

static unsigned skipped;

static int add_suite(const char *name, const struct transport_case_list *list, const char *only)
{
        CU_pSuite suite = CU_add_suite(name, NULL, NULL);
        for (size_t i = 0; suite && i < list->n; i++) {
                const struct transport_case *c = &list->cases[i];
                if (only && !strstr(c->name, only)) {
                        continue;
                }
                if (c->needs & ~fixture->has) {
                        printf("skipped: %s: %s (%s)\n", name, c->name, fixture->lacks);
                        skipped++;
                } else if (!CU_add_test(suite, c->name, c->run)) {
                        suite = NULL;
                }
        }
        return suite ? 0 : -1;
}

static int run_all(const char *only)
{
        if (!fixture->able() || CU_initialize_registry() != CUE_SUCCESS) {
                printf("\n0 passed, 1 failed, 0 skipped\n");
                return 1;
        }
        for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
                if (add_suite(suites[i].name, suites[i].list, only) < 0) {
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
        setvbuf(stdout, NULL, _IOLBF, 0);
        for (size_t i = 0; argc >= 2 && i < ARRAY_LEN(fixtures); i++) {
                if (strcmp(fixtures[i]->name, argv[1]) == 0) {
                        fixture = fixtures[i];
                        return run_all(argc > 2 ? argv[2] : NULL);
                }
        }
        fprintf(stderr, "usage: conformance-transport IMPLEMENTATION [CASE], one of:");
        for (size_t i = 0; i < ARRAY_LEN(fixtures); i++) {
                fprintf(stderr, " %s", fixtures[i]->name);
        }
        fprintf(stderr, "\n");
        return 64;
}
