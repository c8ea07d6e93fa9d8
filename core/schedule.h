/*
 * Words and bounds of schedules that the ledger, the configuration, the API and the engine share.
 */
#ifndef SKEP_CORE_SCHEDULE_H
#define SKEP_CORE_SCHEDULE_H

#include "core/base.h"

#define SCHEDULE_NAME_MAX  128
#define SCHEDULE_SPEC_MAX  255
#define SCHEDULE_CATCH_MAX 1000 /* ticks that one catch-up makes up for, at most */

/* What becomes of ticks that were missed: nothing; one job for the latest; one for each, up to a
 * bound. */
#define CATCH_UPS(X) X(NONE, "none") X(LAST, "last") X(ALL, "all")
enum catch_up {
#define X(name, text) CATCH_##name,
        CATCH_UPS(X)
#undef X
};

/* What becomes of a tick while the job of the one before has not ended: it makes its job; it
 * passes; it waits, one at most; it makes its job, and the older one is cancelled. */
#define OVERLAPS(X) X(ALLOW, "allow") X(SKIP, "skip") X(BUFFER, "buffer") X(CANCEL, "cancel")
enum overlap {
#define X(name, text) OVERLAP_##name,
        OVERLAPS(X)
#undef X
};

const char *catch_up_name(enum catch_up c);
const char *overlap_name(enum overlap o);
bool catch_up_parse(struct str name, enum catch_up *ret);
bool overlap_parse(struct str name, enum overlap *ret);

/* 1 to SCHEDULE_NAME_MAX letters, digits, '.', '_' and '-'; a letter, digit or '_' first. */
bool schedule_name_valid(struct str name);

#endif
