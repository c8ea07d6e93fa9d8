/*
 * Rows that have been there long enough go: a walk over all of them, page by page, again after as
 * long as the shortest rule keeps a row, but not before five seconds and within ten minutes.
 *
 * A page takes at most a tenth of the time: it is followed by a pause of nine times as long as it
 * took. The ledger lets one node walk at a time; the others look again after a minute. A page whose
 * fate is not known is walked again. Nothing of this is urgent, so whatever goes wrong just waits.
 * Discarded: to delete all that is old in one statement, which holds locks and grows the log for as
 * long as it takes.
 */
#include "core/engine/inner.h"

#define WALK_MOST   (600 * NS_PER_S)
#define WALK_LEAST  (5 * NS_PER_S)
#define FIRST_WAIT  (30 * NS_PER_S) /* a node that was just started has other things to do */
#define TAKEN_WAIT  (60 * NS_PER_S)
#define PAGE_ROWS   1000
#define PAUSE_TIMES 9
#define PAUSE_LEAST (10 * NS_PER_MS)
#define PAUSE_MOST  (20 * NS_PER_S) /* well within PRUNE_HOLD_US, or another node would go on */

static const enum job_state ended[] = {STATE_COMPLETED, STATE_DEAD, STATE_CANCELLED};

static int64_t kept_ms(const struct retention *r, enum job_state state)
{
        return state == STATE_COMPLETED && !PLANT(prune_mixed) ? r->completed_ms
               : state == STATE_DEAD                           ? r->dead_ms
                                                               : r->cancelled_ms;
}

/* 0: nothing is said of it. */
static bool add_rule(struct prune_rule *rules, uint32_t *n, struct str queue, enum job_state state,
                     int64_t ms)
{
        if (ms != 0) {
                rules[(*n)++] = (struct prune_rule){queue, state, ms < 0 ? -1 : ms * 1000};
        }
        return ms > 0;
}

/* Queues' own first, since the first that fits decides. false: nothing ever goes. */
static bool list_rules(const struct config *c, struct prune_rule *rules, uint32_t *ret_n)
{
        bool any = false;
        *ret_n = 0;
        for (uint32_t i = 0; i < c->n_queues; i++) {
                for (size_t s = 0; s < ARRAY_LEN(ended); s++) {
                        any |= add_rule(rules, ret_n, c->queues[i].name, ended[s],
                                        kept_ms(&c->queues[i].retention, ended[s]));
                }
        }
        for (size_t s = 0; s < ARRAY_LEN(ended); s++) {
                any |= add_rule(rules, ret_n, (struct str){0}, ended[s],
                                kept_ms(&c->retention, ended[s]));
        }
        return any;
}

static int64_t shorter(int64_t ns, const struct retention *r)
{
        for (size_t s = 0; s < ARRAY_LEN(ended); s++) {
                int64_t ms = kept_ms(r, ended[s]);
                ns = ms > 0 && ms < ns / NS_PER_MS ? ms * NS_PER_MS : ns;
        }
        return ns;
}

static int64_t walk_every(const struct engine *e)
{
        int64_t ns = shorter(WALK_MOST, &e->config->retention);
        for (uint32_t i = 0; i < e->config->n_queues; i++) {
                ns = shorter(ns, &e->config->queues[i].retention);
        }
        return ns < WALK_LEAST ? WALK_LEAST : ns;
}

/* The rules may be shorter now. */
void prune_configure(struct engine *e)
{
        struct prune_books *p = &e->prune;
        if (p->next_ns) {
                p->next_ns = engine_min(p->next_ns, e->now.mono_ns + walk_every(e));
        }
}

static void post_page(struct engine *e)
{
        struct prune_books *p = &e->prune;
        struct ledger_batch *batch = ledger_batch_new(LEDGER_PRUNE);
        size_t most = (e->config->n_queues + 1) * ARRAY_LEN(ended);
        struct prune_rule *rules = batch ? arena_zalloc(&batch->arena, most * sizeof *rules) : NULL;
        uint32_t n = 0;
        if (!rules || !list_rules(e->config, rules, &n)) {
                p->next_ns = e->now.mono_ns + WALK_MOST;
                ledger_batch_free(batch);
                return;
        }
        struct ledger_prune *b = LEDGER_AS(prune, PRUNE, batch);
        b->rules = rules;
        b->n_rules = n;
        b->has_after = p->has_after;
        b->after = p->after;
        b->limit = PAGE_ROWS;
        p->begun_ns = p->has_after ? p->begun_ns : e->now.mono_ns;
        p->posted_ns = e->now.mono_ns;
        p->posted = post_batch(e, batch);
}

static bool takes_part(const struct engine *e)
{
        return e->registered && !e->draining && !e->prune.posted;
}

void prune_pump(struct engine *e)
{
        struct prune_books *p = &e->prune;
        if (!takes_part(e)) {
                return;
        }
        if (p->next_ns == 0) {
                p->next_ns = e->now.mono_ns + engine_min(FIRST_WAIT, walk_every(e));
        }
        if (e->now.mono_ns >= p->next_ns) {
                post_page(e);
        }
}

int64_t prune_wake_ns(const struct engine *e)
{
        return takes_part(e) ? e->prune.next_ns : NEVER;
}

static void page_walked(struct engine *e, const struct ledger_prune *b)
{
        struct prune_books *p = &e->prune;
        int64_t pause = (e->now.mono_ns - p->posted_ns) * PAUSE_TIMES;
        e->view.pruned += b->pruned;
        e->dirty |= b->pruned > 0;
        p->has_after = !b->end;
        p->after = b->last;
        if (b->end) {
                p->next_ns = p->begun_ns + walk_every(e);
        } else {
                pause = pause < PAUSE_LEAST ? PAUSE_LEAST : engine_min(pause, PAUSE_MOST);
                p->next_ns = e->now.mono_ns + pause;
        }
}

void prune_answered(struct engine *e, struct ledger_prune *b)
{
        struct prune_books *p = &e->prune;
        p->posted = false;
        if (b->base.outcome == LEDGER_COMMITTED && b->done) {
                page_walked(e, b);
        } else { /* so that nodes do not ask in step */
                int64_t wait = engine_min(TAKEN_WAIT, walk_every(e));
                p->next_ns =
                    e->now.mono_ns + wait + (int64_t)(engine_random(e) % (uint64_t)(wait / 4));
        }
        ledger_batch_free(&b->base);
}
