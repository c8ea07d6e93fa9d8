/*
 * Rows that have ended go, a page of a walk at a time, from the oldest id on. The walk is one
 * holder's at a time.
 */
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

static bool fits(const struct prune_rule *rule, const struct job_row *r)
{
        return rule->state == r->state && (!rule->queue.n || str_eq(rule->queue, r->queue));
}

/* Does the first rule that fits it let it go? */
static bool may_go(const struct store *s, const struct ledger_prune *b, const struct job_row *r)
{
        int64_t now_us = s->now_us + (planted(PLANT_PRUNE_EARLY) ? 10 * US_PER_S : 0);
        for (uint32_t i = 0; state_terminal(r->state) && i < b->n_rules; i++) {
                if (fits(&b->rules[i], r)) {
                        int64_t keep = b->rules[i].keep_us;
                        return keep >= 0 && r->finished_us + keep <= now_us;
                }
        }
        return false;
}

static int64_t shortest(const struct ledger_prune *b)
{
        int64_t keep = INT64_MAX;
        for (uint32_t i = 0; i < b->n_rules; i++) {
                int64_t k = b->rules[i].keep_us;
                keep = k >= 0 && k < keep ? k : keep;
        }
        return keep;
}

static bool is_behind(const struct ledger_prune *b, const struct job_row *r)
{
        return !b->has_after || memcmp(r->id.b, b->after.b, sizeof b->after.b) > 0;
}

void store_apply_prune(struct store *s, struct ledger_prune *b)
{
        uint32_t n, looked = 0;
        b->pruned = 0;
        b->last = b->after;
        b->end = false;
        b->done = s->pruner_until_us <= s->now_us || s->pruner == b->base.no.holder;
        if (!b->done) {
                return;
        }
        struct store_job **all = store_by_id(s, &n);
        int64_t keep = shortest(b);
        b->end = keep == INT64_MAX;
        for (uint32_t i = 0; i < n && looked < b->limit && !b->end; i++) {
                struct store_job *j = all[i];
                if (!is_behind(b, &j->row)) {
                        continue;
                }
                b->end = j->row.created_us > s->now_us - keep && !planted(PLANT_PRUNE_EARLY);
                if (b->end) {
                        break;
                }
                looked++;
                b->last = j->row.id;
                if (may_go(s, b, &j->row)) {
                        store_forget_job(s, j);
                        b->pruned++;
                }
        }
        b->end |= looked < b->limit;
        s->pruner = b->base.no.holder;
        s->pruner_until_us = b->end ? 0 : s->now_us + PRUNE_HOLD_US;
        free(all);
}
