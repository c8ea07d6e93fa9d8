/*
 * Times as people write them: RFC 3339. Durations are core's (duration_parse, duration_text).
 */
#ifndef SKEP_HTTP_INSTANT_H
#define SKEP_HTTP_INSTANT_H

#include "core/base.h"

#define INSTANT_TEXT 28 /* 2031-01-02T03:04:05.123456Z and a NUL */

/* RFC 3339 date-time with Z or an offset, years 1970 to 9999; what is finer than a microsecond is
 * cut off. */
bool instant_parse(struct str text, int64_t *ret_wall_us);

/* Always UTC with microseconds. Outside 1970 to 9999 the nearest end of it. */
void instant_text(int64_t wall_us, char ret_text[static INSTANT_TEXT]);

#endif
