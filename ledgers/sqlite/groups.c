/*
 * GROUPS: dead jobs by what ended them. They are read from the latest on and counted in a table in
 * memory, so that nothing has to be kept up to date while jobs die.
 */
#include "ledgers/sqlite/life.h"

#include <stdlib.h>

#define LOOK_AT_MOST 100000

struct grouping {
        struct db *db;
        struct ledger_groups *b;
        struct error_group *groups;
        uint32_t n, size;
        uint32_t *slots; /* index + 1 of a group; 0: empty */
        uint32_t n_slots;
};

static uint32_t mix(uint32_t h, const void *p, size_t n)
{
        const uint8_t *bytes = p;
        for (size_t i = 0; i < n; i++) {
                h = (h ^ bytes[i]) * 16777619u;
        }
        return h;
}

static uint32_t hash_group(const struct error_group *g)
{
        uint32_t h = mix(2166136261u, g->queue.p, g->queue.n);
        h = mix(h, g->type.p, g->type.n);
        h = mix(h, &g->fingerprint, sizeof g->fingerprint);
        return mix(h, &g->error, sizeof g->error);
}

static bool same_group(const struct error_group *a, const struct error_group *b)
{
        return a->fingerprint == b->fingerprint && a->error == b->error &&
               str_eq(a->type, b->type) && str_eq(a->queue, b->queue);
}

static uint32_t *slot_of(const struct grouping *k, const struct error_group *g)
{
        uint32_t i = hash_group(g) % k->n_slots;
        while (k->slots[i] && !same_group(&k->groups[k->slots[i] - 1], g)) {
                i = (i + 1) % k->n_slots;
        }
        return &k->slots[i];
}

static bool grow(struct grouping *k)
{
        struct arena *a = &k->b->base.arena;
        uint32_t size = k->size ? k->size * 2 : 64;
        struct error_group *groups = arena_alloc(a, size * sizeof *groups);
        uint32_t *slots = arena_zalloc(a, 2 * size * sizeof *slots);
        if (!groups || !slots) {
                return false;
        }
        if (k->n) {
                memcpy(groups, k->groups, k->n * sizeof *groups);
        }
        k->groups = groups;
        k->slots = slots;
        k->size = size;
        k->n_slots = 2 * size;
        for (uint32_t i = 0; i < k->n; i++) {
                *slot_of(k, &groups[i]) = i + 1;
        }
        return true;
}

/* Rows come from the latest on: the first of a group is its latest. */
static int begin_group(struct grouping *k, struct pick *p, struct error_group *g, uint32_t *slot)
{
        struct arena *a = &k->b->base.arena;
        struct last_error e;
        int rc = pick_keep(a, p);
        rc = rc ? rc : last_error(k->db, a, p->seq, &e);
        if (rc || !e.text.p) {
                return rc ? rc : SQLITE_NOMEM;
        }
        g->queue = p->queue;
        g->type = p->type;
        g->text = e.text;
        g->reason = p->reason;
        g->sample = p->id;
        g->first_us = g->last_us = p->ended_us;
        k->groups[k->n++] = *g;
        *slot = k->n;
        return SQLITE_OK;
}

static int count_row(struct grouping *k, struct pick *p)
{
        struct last_error e;
        int rc = last_error(k->db, NULL, p->seq, &e);
        if (rc || (k->n == k->size && !grow(k))) {
                return rc ? rc : SQLITE_NOMEM;
        }
        struct error_group g = {
            .queue = p->queue, .type = p->type, .error = e.error, .fingerprint = e.fingerprint};
        uint32_t *slot = slot_of(k, &g);
        rc = *slot ? SQLITE_OK : begin_group(k, p, &g, slot);
        if (!rc) {
                struct error_group *own = &k->groups[*slot - 1];
                own->n++;
                own->first_us = p->ended_us < own->first_us ? p->ended_us : own->first_us;
        }
        return rc;
}

static int larger_first(const void *a, const void *b)
{
        const struct error_group *x = a, *y = b;
        if (x->n != y->n) {
                return x->n < y->n ? 1 : -1;
        }
        return (x->last_us < y->last_us) - (x->last_us > y->last_us);
}

static int read_dead(struct grouping *k)
{
        struct ledger_groups *b = k->b;
        struct binder q = bind_start(db_get(k->db, ST_PICK_DEAD));
        if (b->filter.queue.n) {
                bind_text(&q, b->filter.queue);
        } else {
                bind_null(&q);
        }
        bind_int(&q, LOOK_AT_MOST + 1);
        uint32_t looked = 0;
        int rc = SQLITE_OK, step = SQLITE_ROW;
        while (!rc && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                struct pick p;
                bool yes;
                if (looked++ == LOOK_AT_MOST) {
                        b->partial = true;
                        break;
                }
                pick_read(q.s, &p);
                rc = pick_matches(k->db, &p, &b->filter, &yes);
                rc = rc || !yes ? rc : count_row(k, &p);
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

int groups_run(struct db *db, struct ledger_groups *b)
{
        struct grouping k = {.db = db, .b = b};
        uint32_t limit = b->limit < 1 ? 1 : b->limit > 1000 ? 1000 : b->limit;
        b->n = 0;
        b->more = b->partial = false;
        int rc = read_dead(&k);
        if (rc) {
                return rc;
        }
        if (k.n) {
                qsort(k.groups, k.n, sizeof *k.groups, larger_first);
        }
        b->groups = k.groups;
        b->more = k.n > limit;
        b->n = b->more ? limit : k.n;
        return SQLITE_OK;
}
