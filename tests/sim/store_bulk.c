/*
 * Many jobs at once: filters, pages of an operation, and dead jobs by what ended them.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/pattern.h"
#include "tests/sim/plant.h"
#include "tests/sim/store.h"

#define LOOKED_MAX  4000 /* rows that one page looks at */
#define AGAIN_MAX   10000
#define GROUPED_MAX 100000

static int compare_ids(const void *a, const void *b)
{
        const struct store_job *x = *(struct store_job *const *)a;
        const struct store_job *y = *(struct store_job *const *)b;
        return memcmp(x->row.id.b, y->row.id.b, sizeof x->row.id.b);
}

struct store_job **store_by_id(const struct store *s, uint32_t *ret_n)
{
        struct store_job **all = calloc(HASH_COUNT(s->jobs) + 1, sizeof *all), *j, *next;
        assert(all);
        uint32_t n = 0;
        HASH_ITER (hh, s->jobs, j, next) {
                all[n++] = j;
        }
        qsort(all, n, sizeof *all, compare_ids);
        *ret_n = n;
        return all;
}

/* What a job is, whatever became of it. */
static bool is_of(const struct job_filter *f, const struct job_row *r)
{
        return (!f->queue.n || str_eq(r->queue, f->queue)) &&
               (!f->type.n || str_eq(r->type, f->type) || pattern_match(f->type, r->type)) &&
               (!f->tag.n || store_has_tag(r->tags, f->tag)) && r->created_us >= f->since_us &&
               (!f->before_us || r->created_us < f->before_us);
}

static bool failed_so(const struct job_filter *f, const struct job_row *r)
{
        return (f->error == ERROR_NONE || r->last.error == f->error) &&
               (!f->fingerprint || r->last.fingerprint == f->fingerprint);
}

static bool ended_before(const struct job_row *r, int64_t us)
{
        return !us || (state_terminal(r->state) && r->finished_us < us);
}

static bool matches(const struct job_filter *f, const struct job_row *r)
{
        return is_of(f, r) && failed_so(f, r) && (!f->states || f->states >> r->state & 1) &&
               ended_before(r, f->ended_before_us);
}

/* Is it a state that the operation starts from? */
static bool is_fit(enum bulk_kind kind, enum job_state s)
{
        switch (kind) {
        case BULK_REQUEUE: return s == STATE_DEAD || s == STATE_CANCELLED;
        case BULK_CANCEL: return !state_terminal(s);
        case BULK_PURGE: return state_terminal(s);
        case BULK_COUNT: break;
        }
        return true;
}

static void treat(struct store *s, struct ledger_bulk *b, struct store_job *j)
{
        b->done++;
        switch (b->kind) {
        case BULK_COUNT: break;
        case BULK_REQUEUE: store_requeue(s, j, true); break;
        case BULK_CANCEL: b->asked += !store_cancel(s, j, REASON_OPERATOR); break;
        case BULK_PURGE: store_forget_job(s, j); break;
        }
}

static bool died_again(const struct ledger_bulk *b, const struct job_row *r)
{
        return r->state == STATE_DEAD && r->generation > 0 && r->finished_us >= b->again_since_us &&
               is_of(&b->filter, r);
}

void store_apply_bulk(struct store *s, struct ledger_bulk *b)
{
        uint32_t n, looked = 0;
        struct store_job **all = store_by_id(s, &n);
        b->done = b->asked = b->again = 0;
        b->more = false;
        for (uint32_t i = 0; i < n && b->kind == BULK_REQUEUE; i++) {
                b->again += b->again < AGAIN_MAX && died_again(b, &all[i]->row);
        }
        for (uint32_t i = 0; i < n; i++) {
                struct store_job *j = all[i];
                if (b->has_after && memcmp(j->row.id.b, b->after.b, sizeof b->after.b) <= 0) {
                        continue;
                }
                bool full = b->kind != BULK_COUNT && b->done == b->limit;
                if (full || looked == LOOKED_MAX) {
                        b->more = true;
                        break;
                }
                looked++;
                b->last = j->row.id;
                if (matches(&b->filter, &j->row) && is_fit(b->kind, j->row.state)) {
                        treat(s, b, j);
                }
        }
        free(all);
}

/* --- groups ------------------------------------------------------------------------------- */

static bool is_same_group(const struct error_group *g, const struct job_row *r)
{
        return g->error == r->last.error && g->fingerprint == r->last.fingerprint &&
               str_eq(g->queue, r->queue) && str_eq(g->type, r->type);
}

static void group_job(struct ledger_groups *b, const struct job_row *r)
{
        struct error_group *g = b->groups;
        while (g < b->groups + b->n && !is_same_group(g, r)) {
                g++;
        }
        if (g == b->groups + b->n) {
                b->n++;
                *g = (struct error_group){.queue = r->queue,
                                          .type = r->type,
                                          .error = r->last.error,
                                          .fingerprint = r->last.fingerprint,
                                          .first_us = r->finished_us,
                                          .last_us = INT64_MIN};
        }
        g->n++;
        g->first_us = r->finished_us < g->first_us ? r->finished_us : g->first_us;
        if (r->finished_us >= g->last_us) {
                g->last_us = r->finished_us;
                g->text = r->last.error_text;
                g->reason = r->reason;
                g->sample = r->id;
        }
}

static int compare_groups(const void *a, const void *b)
{
        const struct error_group *x = a, *y = b;
        return x->n != y->n ? (x->n < y->n) - (x->n > y->n)
                            : (x->last_us < y->last_us) - (x->last_us > y->last_us);
}

static int compare_ends(const void *a, const void *b)
{
        const struct store_job *x = *(struct store_job *const *)a;
        const struct store_job *y = *(struct store_job *const *)b;
        int64_t p = x->row.finished_us, q = y->row.finished_us;
        return p != q ? (p < q) - (p > q) : -compare_ids(a, b);
}

void store_apply_groups(struct store *s, struct ledger_groups *b)
{
        struct arena *a = &b->base.arena;
        uint32_t n, looked = 0;
        struct store_job **all = store_by_id(s, &n);
        qsort(all, n, sizeof *all, compare_ends);
        b->n = 0;
        b->groups = arena_zalloc(a, ((size_t)n + 1) * sizeof *b->groups);
        assert(b->groups);
        for (uint32_t i = 0; i < n && looked < GROUPED_MAX; i++) {
                const struct job_row *r = &all[i]->row;
                bool dead = r->state == STATE_DEAD;
                looked += dead;
                bool wanted = is_of(&b->filter, r) && failed_so(&b->filter, r) &&
                              ended_before(r, b->filter.ended_before_us);
                if (dead && wanted) {
                        group_job(b, r);
                }
        }
        b->partial = looked == GROUPED_MAX;
        free(all);
        qsort(b->groups, b->n, sizeof *b->groups, compare_groups);
        b->more = b->n > b->limit;
        b->n = b->more ? b->limit : b->n;
        for (uint32_t i = 0; i < b->n; i++) {
                struct error_group *g = &b->groups[i];
                g->queue = arena_str(a, g->queue);
                g->type = arena_str(a, g->type);
                g->text = arena_str(a, g->text);
        }
}
