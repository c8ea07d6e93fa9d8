/*
 * The runner that every C test program shares: CUnit's basic interface, then the closing line
 * `N passed, N failed, N skipped` that counts test cases.
 *
 *     UNIT_TESTS = {{"adds two numbers", test_adds}, ...};
 *     UNIT_MAIN("calculator")
 */
#ifndef SKEP_TESTS_UNIT_H
#define SKEP_TESTS_UNIT_H

#include <CUnit/Basic.h>
#include <stdio.h>

struct unit_test {
        const char *name;
        void (*run)(void);
};

#define UNIT_TESTS static const struct unit_test unit_tests[]

static inline int unit_run(const char *suite_name, const struct unit_test *tests, size_t n)
{
        if (CU_initialize_registry() != CUE_SUCCESS) {
                return 1;
        }
        CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
        for (size_t i = 0; suite && i < n; i++) {
                if (!CU_add_test(suite, tests[i].name, tests[i].run)) {
                        suite = NULL;
                }
        }
        if (!suite) {
                fprintf(stderr, "%s: cannot register tests: %s\n", suite_name, CU_get_error_msg());
                return 1;
        }
        CU_basic_set_mode(CU_BRM_VERBOSE);
        CU_basic_run_tests();
        unsigned failed = CU_get_number_of_tests_failed();
        unsigned ran = CU_get_number_of_tests_run();
        CU_cleanup_registry();
        printf("\n%u passed, %u failed, 0 skipped\n", ran - failed, failed + (unsigned)(n - ran));
        return failed != 0 || ran != n;
}

#define UNIT_MAIN(name)                                                                            \
        int main(void)                                                                             \
        {                                                                                          \
                return unit_run(name, unit_tests, sizeof unit_tests / sizeof *unit_tests);         \
        }

#endif
