/*
 * Schedules as JSON: from a body to a row, and from a row to an answer.
 */
#ifndef SKEP_HTTP_SCHEDULE_H
#define SKEP_HTTP_SCHEDULE_H

#include "core/cron.h"
#include "http/call.h"

#define SCHEDULE_NEXT    5   /* next runs that are shown */
#define PREVIEW_NEXT_MAX 100 /* that a preview shows at most */

#define CRON_ALLOWED                                                                               \
        "five fields (minute, hour, day of month, month, day of week) as in \"30 4 * * "           \
        "MON-FRI\", "                                                                              \
        "six with the second before them, @hourly and its kin, or \"@every 10m\""
#define ZONE_ALLOWED "a time zone's name as in \"Europe/Berlin\", or an empty string: UTC"

/* A schedule on its way: of the body, of the ledger, to the ledger. In the call's arena. */
struct plan {
        struct schedule_row row;
        struct cron cron;
        bool readable; /* cron is that of the row: a newer skepd may have written another form */
        const struct zone *zone;
        uint32_t n;                      /* a preview: how many */
        uint32_t tries;                  /* of a write that met another's */
        void (*then)(struct call *call); /* once the zone is known */
};

/* The body of PUT, of a preview: row (its name is not set) and cron. false: the problem is told. */
bool schedule_take(struct call *call, struct plan *plan);
bool preview_take(struct call *call, struct plan *plan);

/* With all its texts. false: memory is out. */
bool schedule_copy(struct arena *a, const struct schedule_row *from, struct schedule_row *to);

/* `next`: are the next runs shown? Then plan->cron and plan->zone are needed. */
void schedule_render(struct out *o, const struct plan *plan, int64_t now_us, bool next);

/* A JSON array of the n next instants from `first_us` on (0: none). */
void schedule_render_times(struct out *o, const struct plan *plan, int64_t first_us, uint32_t n);

#endif
