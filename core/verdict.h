/*
 * What a handler said of its job, as it reaches the engine: the same from a real worker, from the
 * page of a dead one, and from the simulator.
 */
#ifndef SKEP_CORE_VERDICT_H
#define SKEP_CORE_VERDICT_H

#include "core/base.h"

/* The numbers are those of enum skep_verdict in include/skep/handler.h. */
enum verdict_kind {
        VERDICT_DONE = 0,
        VERDICT_RETRY = 1,
        VERDICT_SNOOZE = 2,
        VERDICT_DISCARD = 3,
        VERDICT_DEAD = 4,
        VERDICT_CANCELLED = 5,
        VERDICT_KINDS,
};

struct submission;

struct verdict {
        enum verdict_kind kind;
        int64_t delay_ms; /* RETRY, SNOOZE: when > 0 */
        int64_t run_ns;   /* how long it ran */
        int64_t started_wall_us;
        struct str text; /* the reason given, borrowed for the call */
        struct str result, result_type;
        struct submission *children; /* buffered until DONE; passes to the engine */
};

#endif
