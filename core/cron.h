/*
 * Cron expressions: parsed, refused with the place of the mistake, and the next instant.
 *
 *   5 fields   minute hour day-of-month month day-of-week       "30 4 1,15 * 5"
 *   6 fields   second before them                               "0 30 4 * * *"
 *   names      JAN to DEC, SUN to SAT, in any case; Sunday is 0 and 7
 *   a,b  a-b  /n after a star or range  a/n: from a on; L as day of month: the last one
 *   @yearly @annually @monthly @weekly @daily @midnight @hourly
 *   @every DURATION           counted from when the schedule was made or last changed; 1s to 365d
 *
 * When both days are restricted either is enough (the rule of Vixie's cron); a field that begins
 * with
 * `*` is not restricted: then both must fit.
 *
 * Days of clock change, in the schedule's zone: a civil time that is skipped runs at the instant
 * of the change, once; of one that comes twice the first counts. Where the hour field begins with
 * `*` it is real time that counts: what is skipped is not made up for, and what comes twice runs
 * twice, so that a step of minutes runs every ten minutes, and an hourly schedule every hour.
 */
#ifndef SKEP_CORE_CRON_H
#define SKEP_CORE_CRON_H

#include "core/base.h"
#include "core/zone.h"

#define CRON_TEXT_MAX 255
#define CRON_NOTE_MAX 256 /* room that the longest note needs */

struct cron {
        uint64_t second, minute;             /* bits 0 to 59 */
        uint32_t hour, day, month, weekday;  /* bits 0 to 23, 1 to 31, 1 to 12, 0 to 6 */
        bool day_any, weekday_any, hour_any; /* the field begins with * */
        bool last_day;
        int64_t every_us; /* @every: then all else is zero */
};

/* > 0: refused; `note` names the field, the position (1 is the first character) and a valid
 * example. */
#define CRON_REFUSED 1
int cron_parse(struct str text, struct cron *ret, char *note, size_t note_size);

/* The first instant after `after_us` (wall µs) at which it runs; 0: none within 28 years (such as
 * the 30th of February). `origin_us`: what @every counts from. */
int64_t cron_next(const struct cron *c, const struct zone *z, int64_t origin_us, int64_t after_us);

#endif
