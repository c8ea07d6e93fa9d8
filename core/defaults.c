/*
 * Most rows meet a queue without a budget of time and a configuration without types, and say
 * nothing of retries: they are done after one look at each.
 */
#include "core/defaults.h"

static const struct retry_policy plain = RETRY_POLICY_DEFAULT;

static void overlay(const struct type_config *t, struct str own, struct retry_policy *policy)
{
        char note[1];
        if (t && t->retry.n) {
                retry_parse(t->retry, policy, note, sizeof note);
        }
        if (own.n) {
                retry_parse(own, policy, note, sizeof note);
        }
}

void policy_overlay(const struct config *c, struct str type, struct str own,
                    struct retry_policy *policy)
{
        overlay(config_type_for(c, type), own, policy);
}

static void take_policy(struct submit_row *row, const struct retry_policy *p, int64_t wall_us)
{
        if (row->max_attempts == 0) {
                row->max_attempts = p->max_attempts;
        }
        if (row->retry_until_us == 0 && p->for_ms > 0) {
                bool later = row->state == STATE_SCHEDULED && row->at_us > wall_us;
                int64_t at_us = row->after_us > 0 ? wall_us + row->after_us
                                : later           ? row->at_us
                                                  : wall_us;
                row->retry_until_us = at_us + p->for_ms * 1000;
        }
}

void row_defaults(const struct config *c, const struct queue_config *q, struct submit_row *row,
                  int64_t wall_us)
{
        const struct retry_policy *base = q ? &q->retry : &plain;
        const struct type_config *t = c->n_types ? config_type_for(c, row->type) : NULL;
        if (row->priority > PRIORITY_MAX) {
                row->priority = q ? (uint8_t)q->priority : PRIORITY_DEFAULT;
        }
        if (!t && row->policy.n == 0) {
                take_policy(row, base, wall_us);
                return;
        }
        struct retry_policy policy = *base;
        overlay(t, row->policy, &policy);
        take_policy(row, &policy, wall_us);
}
