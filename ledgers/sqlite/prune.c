/*
 * PRUNE: a walk over all rows by their ids, in pages, that one node does at a time. The page that
 * ends the walk takes out what is over in `keys` too. Discarded: an index on the end of each job,
 * which every finish would have to write.
 */
#include "ledgers/sqlite/life.h"

struct walking {
        struct tx *t;
        struct ledger_prune *b;
        int64_t shortest; /* no row that was created after this can be old enough */
        struct pick *rows;
        uint32_t n;
        bool ours; /* the duty stands in our name */
};

/* Is the walk another's? */
static int see_duty(struct walking *w, bool *ret_taken)
{
        sqlite3_stmt *s = db_get(w->t->db, ST_DUTY_SHOW);
        int rc = sqlite3_step(s);
        *ret_taken = false;
        if (rc == SQLITE_ROW) {
                w->ours = (uint64_t)sqlite3_column_int64(s, 0) == w->b->base.no.holder;
                *ret_taken = !w->ours && sqlite3_column_int64(s, 1) > w->t->now_us;
        }
        (void)sqlite3_reset(s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int keep_duty(struct walking *w)
{
        struct binder b = bind_start(db_get(w->t->db, ST_DUTY_TAKE));
        bind_u64(&b, w->b->base.no.holder);
        bind_int(&b, w->t->now_us + PRUNE_HOLD_US);
        return bind_run(&b);
}

/* < 0: no rule lets anything go. */
static int64_t shortest_rule(const struct ledger_prune *b)
{
        int64_t shortest = -1;
        for (uint32_t i = 0; i < b->n_rules; i++) {
                int64_t keep = b->rules[i].keep_us;
                if (keep >= 0 && (shortest < 0 || keep < shortest)) {
                        shortest = keep;
                }
        }
        return shortest;
}

static bool may_go(const struct walking *w, const struct pick *p)
{
        for (uint32_t i = 0; i < w->b->n_rules && state_terminal(p->state); i++) {
                const struct prune_rule *r = &w->b->rules[i];
                if (r->state == p->state && (!r->queue.n || str_eq(r->queue, p->queue))) {
                        return r->keep_us >= 0 && p->ended_us < w->t->now_us - r->keep_us;
                }
        }
        return false;
}

static int look_at(struct walking *w, sqlite3_stmt *s)
{
        struct pick p;
        pick_read(s, &p);
        if (p.created_us >= w->shortest) {
                w->b->end = true;
                return SQLITE_OK;
        }
        w->b->last = p.id;
        if (!may_go(w, &p)) {
                return SQLITE_OK;
        }
        int rc = pick_keep(&w->t->scratch, &p);
        w->rows[w->n] = p;
        w->n += !rc;
        return rc;
}

static int read_page(struct walking *w, uint32_t limit)
{
        struct ledger_prune *b = w->b;
        struct binder q = bind_start(db_get(w->t->db, ST_PICK));
        bind_bytes(&q, b->after.b, b->has_after ? sizeof b->after.b : 0);
        bind_int(&q, limit);
        uint32_t looked = 0;
        int rc = SQLITE_OK, step = SQLITE_ROW;
        while (!rc && !b->end && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                looked++;
                rc = look_at(w, q.s);
        }
        (void)sqlite3_reset(q.s);
        b->end = b->end || looked < limit;
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

/* Nothing is written by a page that ends the walk and finds nothing: then it writes no number. */
static int write_page(struct walking *w)
{
        struct ledger_prune *b = w->b;
        bool writes = w->n || !b->end || w->ours;
        int rc = writes ? tx_number(w->t, &b->base.no) : SQLITE_OK;
        for (uint32_t i = 0; i < w->n && !rc; i++) {
                rc = pick_delete(w->t, &w->rows[i]);
                b->pruned += !rc;
        }
        if (rc || !b->end) {
                return rc ? rc : keep_duty(w);
        }
        rc = w->ours ? db_run(db_get(w->t->db, ST_DUTY_LEAVE)) : SQLITE_OK;
        return rc ? rc : keys_expire(w->t, writes ? NULL : &b->base.no);
}

int prune_run(struct tx *t, struct ledger_prune *b)
{
        struct walking w = {.t = t, .b = b};
        uint32_t limit = b->limit < 1 ? 1 : b->limit > 10000 ? 10000 : b->limit;
        int64_t shortest = shortest_rule(b);
        bool taken;
        b->pruned = 0;
        b->done = b->end = false;
        b->last = b->after;
        int rc = see_duty(&w, &taken);
        if (rc || taken) {
                return rc;
        }
        b->done = true;
        b->end = shortest < 0;
        w.shortest = t->now_us - shortest;
        w.rows = arena_alloc(&t->scratch, limit * sizeof *w.rows);
        rc = w.rows ? SQLITE_OK : SQLITE_NOMEM;
        rc = rc || b->end ? rc : read_page(&w, limit);
        return rc ? rc : write_page(&w);
}
