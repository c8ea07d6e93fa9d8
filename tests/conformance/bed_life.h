/*
 * More of the test bed: one call for each operation that operators, schedules and housekeeping use,
 * in the manner of bed.h. Answers of type pointer live until the bed is freed.
 */
#ifndef SKEP_TESTS_CONFORMANCE_BED_LIFE_H
#define SKEP_TESTS_CONFORMANCE_BED_LIFE_H

#include "tests/conformance/bed.h"

#define MINUTE (60 * US_PER_S)
#define HOUR   (3600 * US_PER_S)

/* --- jobs --- */
struct unique_key bed_unique(const char *key); /* until it ended, no period, keep */
enum submit_result bed_add_bound(struct bed *bed, struct submit_row *row, uint32_t max,
                                 bool drop_oldest);
struct job_id bed_fail(struct bed *bed, const char *type, uint64_t fingerprint,
                       const char *text); /* a new job of queue "q", dead(exhausted) at once */
struct claim *bed_claim_global(struct bed *bed, uint32_t want, uint32_t global, bool *ret_limited);
struct claim *bed_claim_of(struct bed *bed, const char *queue, uint32_t want);
void bed_end(struct bed *bed, struct claim *c, enum job_state to); /* takes c: all its jobs */
enum requeue_result bed_requeue(struct bed *bed, const struct job_id *id);
uint32_t bed_due(struct bed *bed);
void bed_fold(struct bed *bed);
uint64_t bed_count(struct bed *bed, const char *queue, enum job_state state); /* as STATS says */

/* --- operators --- */
struct queue_control bed_control(struct bed *bed, const char *queue, uint32_t set,
                                 struct queue_control to);
const struct ledger_bulk *bed_bulk(struct bed *bed, const struct ledger_bulk *like);
const struct ledger_groups *bed_groups(struct bed *bed, struct job_filter filter, uint32_t limit);

/* --- running jobs --- */
struct save_row bed_save_row(const struct job *j);
uint32_t bed_save(struct bed *bed, const struct save_row *rows, uint32_t n); /* how many stale */

/* --- schedules --- */
struct schedule_row bed_schedule_row(const char *name); /* noop each minute in queue "q" */
const struct ledger_schedule *bed_put(struct bed *bed, const struct schedule_row *row,
                                      uint64_t expected);
const struct ledger_schedule *bed_drop(struct bed *bed, const char *name, uint64_t expected);
const struct ledger_schedules *bed_schedules(struct bed *bed, const char *after, uint32_t limit);
const struct schedule_row *bed_schedule(struct bed *bed, const char *name); /* NULL: none */
struct ledger_tick *bed_tick_batch(const char *name, uint64_t revision, int64_t next_us);

/* --- housekeeping --- */
const struct ledger_prune *bed_prune(struct bed *bed, const struct prune_rule *rules, uint32_t n,
                                     const struct job_id *after, uint32_t limit);
uint32_t bed_prune_all(struct bed *bed, enum job_state state); /* what ended; how many went */

#endif
