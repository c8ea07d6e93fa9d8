/*
 * CLAIM.
 *
 * A claim reads the first offered rows in lane order, moves what cannot run out of the way, and
 * then takes the whole range of lanes with one UPDATE: per job there is one step of a cursor on the
 * way in and none on the way out. The jobs go into `commits` as runs of consecutive seq.
 */
#include "ledgers/sqlite/life.h"

#define LOOK_AT_MOST                                                                               \
        4096 /* rows that a claim moves out of the way before it answers with what it has */

/* Rows met on the way that cannot run: moved away before the range is taken. */
struct aside {
        int64_t seq, lane; /* lane: where it is parked */
        bool expired;
};

struct taking {
        struct tx *t;
        struct ledger_claim *b;
        struct aside *aside;
        uint32_t n_aside;
        uint32_t room; /* how many may be taken: `want`, or what `global` leaves of it */
        uint64_t bytes;
        int64_t last_lane;
        struct str type; /* the one asked for last, and the answer: types come in long runs */
        bool served;
        char type_bytes[256];
};

static bool is_served(struct taking *k, struct str type)
{
        if (!str_eq(type, k->type) || !k->type.n) {
                k->served = roster_find(k->b->roster, type) >= 0;
                uint32_t n = type.n < sizeof k->type_bytes ? type.n : 0;
                memcpy(k->type_bytes, type.p ? type.p : "", n);
                k->type = (struct str){k->type_bytes, n};
        }
        return k->served;
}

static int put_aside(struct taking *k, sqlite3_stmt *s, bool expired)
{
        if (!k->aside) {
                k->aside = arena_alloc(&k->t->scratch, LOOK_AT_MOST * sizeof *k->aside);
                if (!k->aside) {
                        return SQLITE_NOMEM;
                }
        }
        int64_t seq = sqlite3_column_int64(s, JOB_SEQ);
        int64_t lane = expired ? 0 : lane_parked(column_str(s, JOB_TYPE), seq);
        k->aside[k->n_aside++] = (struct aside){seq, lane, expired};
        k->b->expired += expired;
        k->b->parked += !expired;
        return SQLITE_OK;
}

/* One offered row. *ret_end: the claim is full, this row is for the next. */
static int look_at(struct taking *k, sqlite3_stmt *s, bool *ret_end)
{
        struct claim *c = k->b->got;
        int64_t deadline = sqlite3_column_int64(s, JOB_DEADLINE);
        bool expired = deadline && deadline <= k->t->now_us;
        if (expired || !is_served(k, column_str(s, JOB_TYPE))) {
                *ret_end = k->b->more = k->n_aside == LOOK_AT_MOST;
                return *ret_end ? SQLITE_OK : put_aside(k, s, expired);
        }
        uint64_t size = (uint64_t)sqlite3_column_int64(s, JOB_SIZE);
        bool full = c->n == k->room;
        if (full || (c->n && k->bytes + size > k->b->max_bytes)) {
                *ret_end = k->b->more = true;
                k->b->limited = full && k->room < k->b->want;
                return SQLITE_OK;
        }
        k->bytes += size;
        k->last_lane = sqlite3_column_int64(s, JOB_LANE);
        return job_take(k->t->db, c, s, k->t->now_us);
}

static int select_offered(struct taking *k)
{
        int64_t first, last;
        lane_range(BAND_OFFERED, &first, &last);
        struct binder b = bind_start(db_get(k->t->db, ST_OFFERED));
        bind_text(&b, k->b->queue);
        bind_int(&b, first);
        bind_int(&b, last);
        bool end = false;
        int rc = SQLITE_OK, step = SQLITE_ROW;
        while (!rc && !end && (step = sqlite3_step(b.s)) == SQLITE_ROW) {
                rc = look_at(k, b.s, &end);
        }
        (void)sqlite3_reset(b.s);
        job_read_end(k->t->db);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

static struct str list_runs(struct arena *a, const struct claim *c)
{
        int64_t *refs = arena_alloc(a, c->n * sizeof *refs);
        for (uint32_t i = 0; refs && i < c->n; i++) {
                refs[i] = c->jobs[i].ref;
        }
        return refs ? runs_of(a, refs, c->n) : (struct str){NULL, 1};
}

static int move_aside(struct taking *k)
{
        struct tx *t = k->t;
        int rc = SQLITE_OK;
        for (uint32_t i = 0; i < k->n_aside && !rc; i++) {
                struct binder b =
                    bind_start(db_get(t->db, k->aside[i].expired ? ST_EXPIRE : ST_PARK));
                bind_int(&b, k->aside[i].expired ? t->now_us : k->aside[i].lane);
                bind_int(&b, k->aside[i].seq);
                rc = bind_run(&b);
        }
        if (!rc && k->b->expired) {
                rc = tx_delta(t, k->b->queue, STATE_PENDING, -(int64_t)k->b->expired);
                rc = rc ? rc : tx_delta(t, k->b->queue, STATE_DEAD, k->b->expired);
        }
        return rc;
}

static int take_range(struct taking *k)
{
        struct tx *t = k->t;
        int64_t first, last;
        lane_range(BAND_OFFERED, &first, &last);
        struct binder b = bind_start(db_get(t->db, ST_CLAIM));
        bind_u64(&b, k->b->token);
        bind_u64(&b, k->b->base.no.holder);
        bind_int(&b, t->now_us);
        bind_text(&b, k->b->queue);
        bind_int(&b, first);
        bind_int(&b, k->last_lane);
        int rc = bind_run(&b);
        if (!rc && (uint32_t)sqlite3_changes(t->db->sql) != k->b->got->n) {
                return SQLITE_CORRUPT; /* the index and the table disagree */
        }
        rc = rc ? rc : tx_delta(t, k->b->queue, STATE_PENDING, -(int64_t)k->b->got->n);
        return rc ? rc : tx_delta(t, k->b->queue, STATE_RUNNING, k->b->got->n);
}

static int find_room(struct taking *k)
{
        int64_t running = 0, global = k->b->global;
        k->room = k->b->want;
        if (!global) {
                return SQLITE_OK;
        }
        int rc = tx_count(k->t, k->b->queue, STATE_RUNNING, &running);
        int64_t left = running < global ? global - running : 0;
        if (left < k->room) {
                k->room = (uint32_t)left;
        }
        return rc;
}

int claim_run(struct tx *t, struct ledger_claim *b)
{
        struct claim *c = b->got;
        b->more = b->limited = false;
        b->parked = b->expired = 0;
        struct taking k = {.t = t, .b = b};
        int rc = job_start_claim(c, &b->base.no, b->token, b->want);
        rc = rc ? rc : find_room(&k);
        rc = rc ? rc : select_offered(&k);
        if (rc || (!c->n && !k.n_aside)) {
                return rc;
        }
        struct str runs = c->n ? list_runs(&t->scratch, c) : (struct str){0};
        if (runs.n && !runs.p) {
                return SQLITE_NOMEM;
        }
        c->open = c->n;
        rc = tx_number_claim(t, &b->base.no, b->token, runs);
        if (rc) {
                c->n = c->open = 0;
                return rc;
        }
        rc = move_aside(&k);
        return rc || !c->n ? rc : take_range(&k);
}
