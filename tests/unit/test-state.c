/* The tables of states, edges, reasons and error classes. */
#include "core/state.h"
#include "tests/unit/unit.h"

static void test_names_go_both_ways(void)
{
        for (unsigned s = 0; s < JOB_STATE_COUNT; s++) {
                enum job_state back = STATE_NONE;
                CU_ASSERT(state_parse(str_of(state_name(s)), &back) && back == s);
        }
        enum job_state untouched = STATE_DEAD;
        CU_ASSERT(!state_parse(STR("Pending"), &untouched) && untouched == STATE_DEAD);
        CU_ASSERT(!state_parse(STR(""), &untouched));
        CU_ASSERT_STRING_EQUAL(state_name(STATE_NONE), "?");
        CU_ASSERT_STRING_EQUAL(reason_name(REASON_NO_HANDLER), "no_handler");
        CU_ASSERT_STRING_EQUAL(reason_name(99), "?");
        CU_ASSERT_STRING_EQUAL(error_class_name(ERROR_TIMED_OUT), "timed_out");
        CU_ASSERT_STRING_EQUAL(error_class_name(-1), "?");
}

/* Written out by hand from the design, not from the table: rows from (the last is "no row yet"),
 * columns to. */
static void test_edges(void)
{
        static const char *const legal[] = {
            /* s p r y c d x */
            ".#...##", /* scheduled → pending, dead, cancelled */
            "#.#..##", /* pending → scheduled, running, dead, cancelled */
            "##.####", /* running → scheduled, pending, retrying, completed, dead, cancelled */
            ".#...##", /* retrying → pending, dead, cancelled */
            ".......", /* completed → nothing */
            ".#.....", /* dead → pending, by an operator */
            ".#.....", /* cancelled → pending, by an operator */
            "###..##", /* new → scheduled, pending, running, dead, cancelled */
        };
        for (unsigned from = 0; from < ARRAY_LEN(legal); from++) {
                for (unsigned to = 0; to < JOB_STATE_COUNT; to++) {
                        CU_ASSERT_EQUAL(state_edge(from, to), legal[from][to] == '#');
                }
        }
        CU_ASSERT(!state_edge(STATE_RUNNING, STATE_RUNNING));
        CU_ASSERT(!state_edge(STATE_PENDING, STATE_NONE));
        CU_ASSERT(state_edge_by_operator(STATE_DEAD, STATE_PENDING));
        CU_ASSERT(!state_edge_by_operator(STATE_RETRYING, STATE_PENDING));
}

static void test_terminal_states_are_left_by_operators_alone(void)
{
        for (unsigned from = 0; from < JOB_STATE_COUNT; from++) {
                for (unsigned to = 0; to < JOB_STATE_COUNT; to++) {
                        if (state_terminal(from) && state_edge(from, to)) {
                                CU_ASSERT(state_edge_by_operator(from, to));
                        }
                }
        }
        CU_ASSERT(state_terminal(STATE_COMPLETED) && state_terminal(STATE_DEAD));
        CU_ASSERT(!state_terminal(STATE_RETRYING) && !state_terminal(STATE_NONE));
}

UNIT_TESTS = {
    {"names go both ways", test_names_go_both_ways},
    {"the edges are those of the design", test_edges},
    {"terminal states are left by operators alone",
     test_terminal_states_are_left_by_operators_alone},
};
UNIT_MAIN("state")
