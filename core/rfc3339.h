/*
 * Times as people and producers write them (RFC 3339), read and written without the C library: its
 * functions depend on the locale and accept what the RFC does not. Durations are read by
 * duration_parse (core/config.h).
 */
#ifndef SKEP_CORE_RFC3339_H
#define SKEP_CORE_RFC3339_H

#include "core/base.h"

#define RFC3339_TEXT 28 /* 2031-01-02T03:04:05.123456Z and a NUL */

/* The last microsecond of 9999. */
#define RFC3339_LAST_US INT64_C(253402300799999999)

/* A date-time with Z or an offset, years 1970 to 9999, in microseconds since 1970; what is finer is
 * cut off. A leap second is the second after it. */
bool rfc3339_parse(struct str text, int64_t *ret_wall_us);

/* Always UTC with microseconds. Outside 1970 to 9999 the nearest end of it. */
void rfc3339_text(int64_t wall_us, char ret_text[static RFC3339_TEXT]);

#endif
