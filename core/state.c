/*
 * The tables of core/state.h as names and as one bit mask of legal edges.
 */
#include "core/state.h"

static const char *const state_names[] = {
#define X(number, name, text, terminal) [number] = text,
    JOB_STATES(X)
#undef X
};

static const bool state_terminals[] = {
#define X(number, name, text, terminal) [number] = terminal,
    JOB_STATES(X)
#undef X
};

static const char *const reason_names[] = {
#define X(number, name, text) [number] = text,
    JOB_REASONS(X)
#undef X
};

static const char *const error_names[] = {
#define X(number, name, text) [number] = text,
    ERROR_CLASSES(X)
#undef X
};

#define EDGE_BIT(from, to) (UINT64_C(1) << ((from)*8 + (to)))

static const uint64_t edges = 0
#define X(from, to, when) | EDGE_BIT(STATE_##from, STATE_##to)
    JOB_EDGES(X)
#undef X
    ;

const char *state_name(enum job_state s)
{
        return (unsigned)s < JOB_STATE_COUNT ? state_names[s] : "?";
}

bool state_parse(struct str name, enum job_state *ret_state)
{
        for (unsigned s = 0; s < JOB_STATE_COUNT; s++) {
                if (str_eq(name, str_of(state_names[s]))) {
                        *ret_state = (enum job_state)s;
                        return true;
                }
        }
        return false;
}

bool state_terminal(enum job_state s)
{
        return (unsigned)s < JOB_STATE_COUNT && state_terminals[s];
}

bool state_edge(enum job_state from, enum job_state to)
{
        return (unsigned)from <= STATE_NONE && (unsigned)to < JOB_STATE_COUNT &&
               (edges & EDGE_BIT((unsigned)from, (unsigned)to)) != 0;
}

bool state_edge_by_operator(enum job_state from, enum job_state to)
{
        return (from == STATE_DEAD || from == STATE_CANCELLED) && to == STATE_PENDING;
}

const char *reason_name(enum job_reason r)
{
        return (unsigned)r < ARRAY_LEN(reason_names) ? reason_names[r] : "?";
}

const char *error_class_name(enum error_class c)
{
        return (unsigned)c < ARRAY_LEN(error_names) ? error_names[c] : "?";
}
