/*
 * What a job is given where it states nothing itself: by its type (the configuration's `types`, the
 * most literal pattern wins), else by its queue. The one place that decides it, for HTTP, letters,
 * children, schedules and the inbox alike: the engine calls it for every row that goes to the
 * ledger.
 *
 * Who reads a producer's words checks them (retry_parse() and its kin) and leaves at 0 what was not
 * said; a priority that was not said is ROW_PRIORITY_UNSET or the queue's.
 */
#ifndef SKEP_CORE_DEFAULTS_H
#define SKEP_CORE_DEFAULTS_H

#include "core/arrival.h"
#include "core/config.h"

#define ROW_PRIORITY_UNSET UINT8_MAX

/* Fills in priority, max_attempts and retry_until_us, each only where the row says nothing;
 * time-out and heartbeat stay 0, since there the handler is asked before type and queue. q: the
 * row's queue, NULL: it is not configured. wall_us: now; the budget of wall time counts from then,
 * or from the time that the row is scheduled for. Harmless to repeat. */
void row_defaults(const struct config *c, const struct queue_config *q, struct submit_row *row,
                  int64_t wall_us);

/* The policy of a job: *policy, which is its queue's, overlaid with its type's and its own words. A
 * text that cannot be read (an older version wrote it) changes nothing. For jobs that failed: it
 * parses, so that the happy path need not. */
void policy_overlay(const struct config *c, struct str type, struct str own,
                    struct retry_policy *policy);

#endif
