/*
 * What a node holds, read back through the runs that its claims left in `commits`: RECALL for a
 * claim whose commit was unknown, HELD for a rescue. A row counts only while it runs under the
 * token of that very claim: what was given back and claimed anew belongs to the later one.
 */
#include "ledgers/sqlite/internal.h"

/* --- RECALL ----------------------------------------------------------------------------------- */

struct recalling {
        struct db *db;
        struct claim *c;
};

static int recall_row(void *ctx, sqlite3_stmt *s)
{
        struct recalling *k = ctx;
        return job_recall(k->db, k->c, s);
}

int recall_run(struct db *db, struct ledger_recall *b)
{
        struct claim *c = b->got;
        struct binder q = bind_start(db_get(db, ST_COMMIT_RUNS));
        bind_u64(&q, b->of.holder);
        bind_int(&q, b->of.writer);
        bind_u64(&q, b->of.n);
        int rc = sqlite3_step(q.s);
        bool there = rc == SQLITE_ROW;
        struct str runs = there ? column_str(q.s, 1) : (struct str){0};
        if (there || rc == SQLITE_DONE) {
                rc = job_start_claim(c, &b->of, b->token, runs_count(runs));
        }
        if (!rc && runs.n) {
                struct walk w = {db, b->of.holder, b->token, runs};
                struct recalling k = {db, c};
                rc = runs_walk(&w, ST_RUN_JOBS, &k, recall_row);
        }
        (void)sqlite3_reset(q.s);
        job_read_end(db);
        c->open = c->n;
        return rc;
}

/* --- HELD ------------------------------------------------------------------------------------- */

struct holding {
        struct db *db;
        struct ledger_held *b;
        uint32_t size; /* of b->jobs */
};

static bool grow(struct holding *k)
{
        if (k->b->n < k->size) {
                return true;
        }
        uint32_t size = k->size ? k->size * 2 : 64;
        struct held_job *jobs = arena_alloc(&k->b->base.arena, size * sizeof *jobs);
        if (!jobs) {
                return false;
        }
        if (k->b->n) {
                memcpy(jobs, k->b->jobs, k->b->n * sizeof *jobs);
        }
        k->b->jobs = jobs;
        k->size = size;
        return true;
}

static int hold_row(void *ctx, sqlite3_stmt *s)
{
        struct holding *k = ctx;
        static const struct job none;
        struct job j;
        int rc = grow(k) ? job_read_books(k->db, &k->b->base.arena, &none, s, &j) : SQLITE_NOMEM;
        if (rc) {
                return rc;
        }
        k->b->jobs[k->b->n++] = (struct held_job){
            .id = j.id,
            .ref = j.ref,
            .claim = j.claim,
            .token = j.token,
            .attempt = j.attempt,
            .max_attempts = j.max_attempts,
            .snoozes = j.snoozes,
            .strikes = j.strikes,
            .cancel_asked = j.cancel_asked,
            .left_work = j.left_work,
            .created_us = j.created_us,
            .retry_until_us = j.retry_until_us,
            .policy = j.policy,
            .headers = column_copy(&k->b->base.arena, s, JOB_HEADERS),
            .queue = j.queue,
            .type = j.type,
        };
        return k->b->jobs[k->b->n - 1].headers.p ? SQLITE_OK : SQLITE_NOMEM;
}

static int hold_commit(struct db *db, struct holding *k, sqlite3_stmt *s)
{
        struct walk w = {db, k->b->victim, (uint64_t)sqlite3_column_int64(s, 1), column_str(s, 2)};
        k->b->covered[k->b->n_covered++] = (uint64_t)sqlite3_column_int64(s, 0);
        return runs_walk(&w, ST_RUN_JOBS, k, hold_row);
}

int held_run(struct db *db, struct ledger_held *b)
{
        b->jobs = NULL;
        b->n = b->n_covered = 0;
        b->more = false;
        b->covered = arena_alloc(&b->base.arena, (b->limit + 1) * sizeof *b->covered);
        if (!b->covered) {
                return SQLITE_NOMEM;
        }
        struct holding k = {db, b, 0};
        struct binder q = bind_start(db_get(db, ST_HELD_COMMITS));
        bind_u64(&q, b->victim);
        bind_int(&q, LANE_CLAIMS);
        bind_u64(&q, b->after);
        bind_int(&q, (int64_t)b->limit + 1);
        int rc = SQLITE_OK, step = SQLITE_ROW;
        while (!rc && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                if (b->n_covered == b->limit) {
                        b->more = true;
                        break;
                }
                rc = hold_commit(db, &k, q.s);
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

/* --- BURY ------------------------------------------------------------------------------------- */

static int say_open(void *ctx, sqlite3_stmt *s)
{
        (void)s;
        *(bool *)ctx = true;
        return SQLITE_OK;
}

/* Does the victim still hold a job? */
static int holds_any(struct tx *t, uint64_t victim, bool *ret_any)
{
        struct binder q = bind_start(db_get(t->db, ST_HELD_COMMITS));
        bind_u64(&q, victim);
        bind_int(&q, LANE_CLAIMS);
        bind_int(&q, 0);
        bind_int(&q, INT64_MAX);
        int rc = SQLITE_OK, step = SQLITE_ROW;
        *ret_any = false;
        while (!rc && !*ret_any && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                struct walk w = {t->db, victim, (uint64_t)sqlite3_column_int64(q.s, 1),
                                 column_str(q.s, 2)};
                rc = runs_walk(&w, ST_RUN_OPEN, ret_any, say_open);
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

static int run_for(struct tx *t, enum statement which, uint64_t holder)
{
        struct binder b = bind_start(db_get(t->db, which));
        bind_u64(&b, holder);
        return bind_run(&b);
}

static int forget(struct tx *t, struct ledger_bury *b)
{
        bool any;
        int rc = holds_any(t, b->victim, &any);
        if (rc || any) {
                return rc;
        }
        rc = tx_number(t, &b->base.no);
        if (rc == TX_TAKEN) {
                return rc;
        }
        rc = rc ? rc : run_for(t, ST_COMMITS_FORGET, b->victim);
        rc = rc ? rc : run_for(t, ST_CANCELS_FORGET, b->victim);
        rc = rc ? rc : run_for(t, ST_NODE_DELETE, b->victim);
        b->done = !rc;
        return rc;
}

static int declare(struct tx *t, struct ledger_bury *b)
{
        int rc = tx_number(t, &b->base.no);
        rc = rc ? rc : run_for(t, ST_NODE_BURY, b->victim);
        b->done = !rc;
        return rc;
}

int bury_run(struct tx *t, struct ledger_bury *b)
{
        b->done = false;
        struct binder q = bind_start(db_get(t->db, ST_NODE_SHOW));
        bind_u64(&q, b->victim);
        int rc = sqlite3_step(q.s);
        bool there = rc == SQLITE_ROW;
        uint64_t beat = there ? (uint64_t)sqlite3_column_int64(q.s, 0) : 0;
        bool dead = there && sqlite3_column_int(q.s, 1);
        (void)sqlite3_reset(q.s);
        if (!there) {
                b->done = b->forget; /* somebody was faster */
                return rc == SQLITE_DONE ? SQLITE_OK : rc;
        }
        if (b->forget) {
                return dead ? forget(t, b) : SQLITE_OK;
        }
        if (dead) {
                b->done = true;
                return SQLITE_OK;
        }
        return b->any_beat || beat == b->seen_beat ? declare(t, b) : SQLITE_OK;
}
