/*
 * Time zones: from a TZif file (RFC 8536) as bytes to civil time and back. Pure: whoever needs a
 * zone reads its file (the daemon: /usr/share/zoneinfo) and hands the bytes in.
 *
 * Seconds are Unix time without leap seconds. Beyond the table's last transition the footer's POSIX
 * TZ rule decides; without one the last offset holds.
 */
#ifndef SKEP_CORE_ZONE_H
#define SKEP_CORE_ZONE_H

#include "core/base.h"

struct zone;

/* A civil time, proleptic Gregorian. */
struct civil {
        int32_t year;
        uint8_t month, day;           /* 1 to 12, 1 to 31 */
        uint8_t hour, minute, second; /* 0 to 23, 59, 59 */
        uint8_t weekday;              /* 0 Sunday to 6; only ever an answer */
};

/* NULL: the bytes are no TZif (or one that counts leap seconds), or memory is out. */
struct zone *zone_new(struct str name, struct str tzif);
struct zone *zone_free(struct zone *z); /* NULL-safe, returns NULL */
const struct zone *zone_utc(void);      /* static */
struct str zone_name(const struct zone *z);

/* Is this a name that may be looked for: Area/City, of [A-Za-z0-9_+-/], no "..", 64 bytes? */
bool zone_name_valid(struct str name);

/* The offset from UTC in seconds at an instant. */
int32_t zone_offset(const struct zone *z, int64_t unix_s);
void zone_civil(const struct zone *z, int64_t unix_s, struct civil *ret);

/* The first instant after `unix_s` from which on the offset is another; INT64_MAX: there is none.
 */
int64_t zone_change(const struct zone *z, int64_t unix_s);

/* The instants that have this civil time: 0 (it was skipped as clocks went forward; then ret[0] is
 * the instant at which they did), 1, or 2 (clocks went back; in order). */
uint32_t zone_instants(const struct zone *z, const struct civil *c, int64_t ret[static 2]);

/* Days since 1970-01-01 of a civil date, and back. */
int64_t civil_days(int32_t year, unsigned month, unsigned day);
void civil_of_days(int64_t days, struct civil *ret); /* its time is 00:00:00 */

#endif
