/*
 * Counters and histograms of this node, and their Prometheus text (exposition format 0.0.4).
 * Engine's thread only. Base units, no ids as labels; the label `type` is capped at 200 values, the
 * rest is "other".
 */
#ifndef SKEP_DAEMON_METRICS_H
#define SKEP_DAEMON_METRICS_H

#include "core/arena.h"
#include "core/engine.h"
#include "core/ledger.h"

struct metrics;

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m); /* NULL-safe, returns NULL */

void metrics_submitted(struct metrics *m, const struct submission *s);
void metrics_settled(struct metrics *m, const struct ledger_finish *f);
void metrics_committed(struct metrics *m, enum ledger_op op, int64_t ns, uint32_t jobs);

/* stats may be NULL: the ledger does not answer. */
struct relay;
struct str metrics_text(const struct metrics *m, const struct engine *e, const struct relay *relay,
                        const struct ledger_stats *stats, struct arena *a);

#endif
