/*
 * Which row belongs to which submission? By the id that its producer was told; else by its key;
 * else by its payload, which producers make unique. What is left over is a second row of a
 * submission, or a row that nobody wrote down.
 *
 * Letters without an id are delivered at least once: a second row of such a one is counted and
 * judged by its share. Anything that bears a name tolerates none.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/id.h"
#include "tests/audit/evidence.h"

struct index { /* rows, sorted */
        struct audit_job **rows;
        uint32_t n;
};

struct matching {
        struct evidence *e;
        struct audit_verdict v;
        struct index by_key, by_payload, told;
};

static const char *name_of(const struct intent *i, char ret_ref[static 40])
{
        snprintf(ret_ref, 40, "%.*s", (int)(i->ref.n < 39 ? i->ref.n : 39), i->ref.p);
        return ret_ref;
}

static void blame(struct matching *m, const char *which, const struct intent *i, const char *text)
{
        char ref[40];
        report_violation(m->v.report, which, name_of(i, ref), text);
}

/* --- indexes ------------------------------------------------------------------------------ */

static int compare_key(const struct audit_row *r, uint32_t queue, const uint8_t *key)
{
        return r->queue != queue ? (r->queue > queue) - (r->queue < queue)
                                 : memcmp(r->key, key, 16);
}

static int by_key(const void *p, const void *q)
{
        const struct audit_row *x = &(*(struct audit_job *const *)p)->row;
        const struct audit_row *y = &(*(struct audit_job *const *)q)->row;
        return compare_key(x, y->queue, y->key);
}

static int by_payload(const void *p, const void *q)
{
        const struct audit_row *x = &(*(struct audit_job *const *)p)->row;
        const struct audit_row *y = &(*(struct audit_job *const *)q)->row;
        return (x->payload > y->payload) - (x->payload < y->payload);
}

static bool any_row(const struct audit_row *r)
{
        (void)r;
        return true;
}

static bool keyed_row(const struct audit_row *r)
{
        return r->keyed;
}

static bool told_row(const struct audit_row *r)
{
        return r->told_key;
}

static struct index make_index(struct evidence *e, bool (*choose)(const struct audit_row *),
                               int (*compare)(const void *, const void *))
{
        struct index x = {.rows = malloc((e->n_rows + 1) * sizeof *x.rows)};
        assert(x.rows);
        for (uint32_t i = 0; i < e->n_rows; i++) {
                if (choose(&e->rows[i]->row)) {
                        x.rows[x.n++] = e->rows[i];
                }
        }
        qsort(x.rows, x.n, sizeof *x.rows, compare);
        return x;
}

static struct audit_job *find_by_key(const struct matching *m, uint32_t queue, const uint8_t *key)
{
        uint32_t low = 0, high = m->by_key.n;
        while (low < high) {
                uint32_t middle = (low + high) / 2;
                int c = compare_key(&m->by_key.rows[middle]->row, queue, key);
                if (c == 0) {
                        return m->by_key.rows[middle];
                }
                low = c < 0 ? middle + 1 : low;
                high = c < 0 ? high : middle;
        }
        return NULL;
}

/* The first row with that payload, or where it would stand. */
static uint32_t first_by_payload(const struct index *x, uint64_t payload)
{
        uint32_t low = 0, high = x->n;
        while (low < high) {
                uint32_t middle = (low + high) / 2;
                if (x->rows[middle]->row.payload < payload) {
                        low = middle + 1;
                } else {
                        high = middle;
                }
        }
        return low;
}

static struct audit_job *free_by_payload(const struct matching *m, const struct intent *i)
{
        const struct index *x = &m->by_payload;
        for (uint32_t k = first_by_payload(x, i->payload); k < x->n; k++) {
                const struct audit_row *r = &x->rows[k]->row;
                if (r->payload != i->payload) {
                        return NULL;
                }
                bool queue = !i->has_queue || i->queue == r->queue;
                if (!x->rows[k]->intended && queue && !r->bare) {
                        return x->rows[k];
                }
        }
        return NULL;
}

/* --- one submission ----------------------------------------------------------------------- */

static bool same_name(const struct intent *x, const struct audit_intent *y)
{
        return x->keyed && y->keyed && memcmp(x->key16, y->key, 16) == 0;
}

static void bind_job(struct matching *m, struct intent *i, struct audit_job *j)
{
        struct audit *a = &m->e->audit;
        bool named = i->unique.n || i->request.n;
        i->job = j;
        if (j->intended && i->unique.n) { /* it may have been held, and it may have replaced */
                audit_replaced(a, &j->id, i->payload);
                return;
        }
        if (j->intended) {
                if (j->intent.payload != i->payload) {
                        blame(m, "I13", i, "another payload was taken for the same job");
                } else if (!named && !same_name(i, &j->intent)) {
                        blame(m, "I13", i, "two submissions without a common name have one job");
                }
                return;
        }
        struct audit_intent known = {
            .id = j->id,
            .group = i->group,
            .keyed = i->keyed,
            .queue = i->has_queue ? i->queue : j->row.queue,
            .payload = i->payload,
            .not_before_us = i->not_before_us,
            .max_attempts = i->max_attempts,
            .poison = i->poison,
            .child = i->child,
            .parent = i->parent,
            .parent_claim = i->parent_claim,
            .alone = i->unique.n ? hash32(i->unique) | 1 : 0,
        };
        memcpy(known.key, i->key16, sizeof known.key);
        audit_intend(a, &known);
}

static void match_by_id(struct matching *m, struct intent *i)
{
        if (!i->has_id) {
                return;
        }
        struct audit_job *j = audit_job(&m->e->audit, &i->id);
        if (i->accepted) {
                audit_answer(&m->e->audit, &j->id, AUDIT_CREATED, NULL);
        }
        bind_job(m, i, j);
        if (i->told_two) {
                blame(m, "I13", i, "its producer was told two jobs for one submission");
        }
}

static void match_by_key(struct matching *m, struct intent *i)
{
        if (i->job || !i->keyed || !i->has_queue) {
                return;
        }
        struct audit_job *j = find_by_key(m, i->queue, i->key16);
        if (j && (j->row.bare || j->row.payload == i->payload)) {
                bind_job(m, i, j);
        } else if (j && i->letter) {
                i->conflict = true; /* its row is one that tells of the conflict */
        }
}

static void match_by_payload(struct matching *m, struct intent *i)
{
        if (i->job || i->conflict || (i->refused && !i->letter) || (i->keyed && i->has_queue)) {
                return;
        }
        struct audit_job *j = free_by_payload(m, i);
        if (j) {
                bind_job(m, i, j);
        }
}

/* A letter that could not be a job left a row that tells of it, by its key or its payload. */
static void match_refusal(struct matching *m, struct intent *i)
{
        for (uint32_t k = 0; i->letter && i->keyed && !i->job && k < m->told.n; k++) {
                struct audit_job *j = m->told.rows[k];
                bool same = i->has_queue && compare_key(&j->row, i->queue, i->key16) == 0;
                if (same && !j->intended && (j->row.bare || j->row.payload == i->payload)) {
                        bind_job(m, i, j);
                }
        }
}

/* --- what is left over -------------------------------------------------------------------- */

struct by_payload { /* intents, sorted by payload */
        struct intent **list;
        uint32_t n;
};

static int compare_intents(const void *p, const void *q)
{
        const struct intent *x = *(struct intent *const *)p, *y = *(struct intent *const *)q;
        return (x->payload > y->payload) - (x->payload < y->payload);
}

static struct intent *find_intent(const struct by_payload *x, uint64_t payload)
{
        struct intent wanted = {.payload = payload}, *p = &wanted;
        struct intent **found = bsearch(&p, x->list, x->n, sizeof *x->list, compare_intents);
        return found ? *found : NULL;
}

static void judge_extra(struct matching *m, struct intent *i, struct audit_job *j)
{
        struct evidence *e = m->e;
        struct audit_intent known = {
            .id = j->id, .payload = i->payload, .not_before_us = i->not_before_us};
        audit_intend(&e->audit, &known);
        if (i->amqp && !i->keyed) {
                audit_excuse(&m->v, "I1", &j->id,
                             "a second row of the letter %.*s, which has no id", (int)i->ref.n,
                             i->ref.p);
                e->idless_extra++;
        } else if (i->refused && !i->letter) {
                audit_blame(&m->v, "I1", &j->id, "a row of %.*s, which was refused", (int)i->ref.n,
                            i->ref.p);
        } else {
                audit_blame(&m->v, "I1", &j->id, "a second row of the submission %.*s",
                            (int)i->ref.n, i->ref.p);
        }
}

static void judge_leftovers(struct matching *m)
{
        struct evidence *e = m->e;
        uint32_t n = HASH_COUNT(e->intents);
        struct by_payload x = {.list = malloc((n + 1) * sizeof *x.list)};
        assert(x.list);
        for (struct intent *i = e->intents; i; i = i->hh.next) {
                x.list[x.n++] = i;
        }
        qsort(x.list, x.n, sizeof *x.list, compare_intents);
        for (uint32_t k = 0; k < e->n_rows; k++) {
                struct audit_job *j = e->rows[k];
                struct intent *i =
                    j->intended || j->row.bare ? NULL : find_intent(&x, j->row.payload);
                if (i) {
                        judge_extra(m, i, j);
                }
        }
        free(x.list);
}

/* By a loss that was noted: confirmed after what the broker had safe by then, and before it. */
static bool was_broker_lost(const struct evidence *e, const struct intent *i)
{
        for (const struct fault *f = e->faults; f; f = f->next) {
                if (f->kind == FAULT_BROKER_LOST && i->confirmed_ns >= f->from_ns &&
                    i->confirmed_ns <= f->to_ns) {
                        return true;
                }
        }
        return false;
}

static void name_lost(struct matching *m, const struct intent *i)
{
        char ref[40], text[200];
        snprintf(text, sizeof text,
                 "lost by its broker, which had confirmed it: payload %016llx, %s%.*s",
                 (unsigned long long)i->payload, i->keyed ? "key " : "without an id",
                 (int)(i->key.n < 100 ? i->key.n : 100), i->key.p);
        report_excuse(m->v.report, "I1b", name_of(i, ref), text);
        m->e->lost_with_broker++;
}

static void judge_child(struct matching *m, struct intent *i)
{
        const struct audit_job *parent = audit_find(&m->e->audit, &i->parent);
        bool made = parent && parent->rowed && parent->row.state == STATE_COMPLETED &&
                    parent->row.claim == i->parent_claim;
        if (i->child && !i->job && made) {
                blame(m, "I1", i, "its parent completed, and it is not there");
        }
}

static void judge_lost(struct matching *m, struct intent *i)
{
        judge_child(m, i);
        if (i->job || !i->confirmed) {
                return;
        }
        if (was_broker_lost(m->e, i)) {
                name_lost(m, i);
        } else {
                blame(m, "I1b", i,
                      i->keyed ? "confirmed by the broker, and no row has its key"
                               : "confirmed by the broker, and no row has its payload");
        }
}

/* --- names -------------------------------------------------------------------------------- */

static int compare_str(struct str x, struct str y)
{
        int c = memcmp(x.p ? x.p : "", y.p ? y.p : "", x.n < y.n ? x.n : y.n);
        return c ? c : (x.n > y.n) - (x.n < y.n);
}

/* Key, unique key or request, whichever is there: in that order. */
static int compare_names(const void *p, const void *q)
{
        const struct intent *x = *(struct intent *const *)p, *y = *(struct intent *const *)q;
        int c = x->has_queue && y->has_queue && (x->key.n || y->key.n)
                    ? (x->queue > y->queue) - (x->queue < y->queue)
                    : 0;
        c = c ? c : compare_str(x->key, y->key);
        c = c ? c : compare_str(x->unique, y->unique);
        return c ? c : compare_str(x->request, y->request);
}

/* A unique key alone: another job may have it later. */
static bool is_only_unique(const struct intent *i)
{
        return i->unique.n && !i->key.n && !i->request.n;
}

static void judge_name(struct matching *m, const struct intent *x, const struct intent *y,
                       uint64_t *judged)
{
        if (compare_names(&x, &y) != 0 || is_only_unique(x)) {
                return;
        }
        ++*judged;
        bool same = x->payload == y->payload;
        if (x->accepted && y->accepted && !job_id_eq(&x->id, &y->id) && same) {
                blame(m, "I13", y, "equal submissions under one name were given two jobs");
        } else if (x->accepted && y->accepted && !same) {
                blame(m, "I13", y, "another payload was accepted under a name that was taken");
        } else if (y->conflict && same && x->accepted && !y->letter) {
                blame(m, "I13", y, "an equal submission was called a conflict");
        }
}

static void judge_names(struct matching *m)
{
        struct evidence *e = m->e;
        uint32_t n = 0;
        struct intent **list = malloc((HASH_COUNT(e->intents) + 1) * sizeof *list);
        assert(list);
        for (struct intent *i = e->intents; i; i = i->hh.next) {
                if (i->key.n || i->unique.n || i->request.n) {
                        list[n++] = i;
                }
        }
        qsort(list, n, sizeof *list, compare_names);
        uint64_t judged = 0;
        for (uint32_t k = 1; k < n; k++) {
                judge_name(m, list[k - 1], list[k], &judged);
        }
        report_judged(m->v.report, "I13", judged);
        free(list);
}

static void each(struct matching *m, void (*step)(struct matching *, struct intent *))
{
        for (struct intent *i = m->e->intents; i; i = i->hh.next) {
                step(m, i);
        }
}

void evidence_match(struct evidence *e, struct audit_report *r)
{
        struct matching m = {
            .e = e,
            .v = {.report = r},
            .by_key = make_index(e, keyed_row, by_key),
            .by_payload = make_index(e, any_row, by_payload),
            .told = make_index(e, told_row, by_key),
        };
        each(&m, match_by_id);
        each(&m, match_by_key);
        each(&m, match_by_payload);
        each(&m, match_refusal);
        judge_leftovers(&m);
        each(&m, judge_lost);
        judge_names(&m);
        free(m.by_key.rows);
        free(m.by_payload.rows);
        free(m.told.rows);
}
