/*
 * What operators and duties do to single rows: CANCEL, REQUEUE, DUE, UNPARK, FOLD, RESOLVE. Each
 * looks first and writes its number only when there is something to write.
 */
#include "ledgers/sqlite/life.h"

#define MOVE_AT_MOST 1000 /* rows that DUE and UNPARK hold at once */

int seen_find(struct tx *t, const struct job_id *id, struct seen *ret)
{
        struct binder b = bind_start(db_get(t->db, ST_BY_ID));
        bind_id(&b, id);
        int rc = sqlite3_step(b.s);
        struct seen j = {.found = rc == SQLITE_ROW};
        if (j.found) {
                j.seq = sqlite3_column_int64(b.s, 0);
                j.state = (enum job_state)sqlite3_column_int(b.s, 1);
                j.holder = (uint64_t)sqlite3_column_int64(b.s, 2);
                j.priority = (uint8_t)sqlite3_column_int(b.s, 3);
                j.cancel_asked = sqlite3_column_int(b.s, 4) != 0;
                j.queue = column_copy(&t->scratch, b.s, 5);
        }
        (void)sqlite3_reset(b.s);
        *ret = j;
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int seen_moved(struct tx *t, const struct seen *j, enum job_state to)
{
        int rc = tx_delta(t, j->queue, j->state, -1);
        return rc ? rc : tx_delta(t, j->queue, to, 1);
}

/* --- CANCEL ----------------------------------------------------------------------------------- */

int seen_cancel(struct tx *t, const struct seen *j, enum job_reason reason)
{
        struct binder b = bind_start(db_get(t->db, ST_CANCEL));
        bind_int(&b, t->now_us);
        bind_int(&b, j->seq);
        bind_int(&b, reason);
        int rc = bind_run(&b);
        return rc ? rc : seen_moved(t, j, STATE_CANCELLED);
}

int seen_ask(struct tx *t, const struct seen *j, enum job_reason reason)
{
        struct binder b = bind_start(db_get(t->db, ST_CANCEL_ASK));
        bind_int(&b, reason == REASON_OVERLAPPED ? reason : REASON_NONE);
        bind_int(&b, j->seq);
        int rc = bind_run(&b);
        if (rc) {
                return rc;
        }
        struct binder n = bind_start(db_get(t->db, ST_CANCEL_NOTE));
        bind_u64(&n, j->holder);
        bind_int(&n, j->seq);
        return bind_run(&n);
}

int cancel_run(struct tx *t, struct ledger_cancel *b)
{
        struct seen j;
        int rc = seen_find(t, &b->id, &j);
        b->result = CANCEL_NOT_FOUND;
        b->holder = 0;
        if (rc || !j.found) {
                return rc;
        }
        b->state = j.state;
        if (state_terminal(j.state)) {
                b->result = CANCEL_TERMINAL;
                return SQLITE_OK;
        }
        bool running = j.state == STATE_RUNNING;
        b->result = running ? CANCEL_ASKED : CANCEL_DONE;
        b->holder = running ? j.holder : 0;
        if (running && j.cancel_asked) {
                return SQLITE_OK; /* asked before: its holder was told, or will be */
        }
        rc = tx_number(t, &b->base.no);
        if (rc) {
                return rc;
        }
        return running ? seen_ask(t, &j, REASON_OPERATOR) : seen_cancel(t, &j, REASON_OPERATOR);
}

/* --- REQUEUE ---------------------------------------------------------------------------------- */

int seen_revive(struct tx *t, const struct seen *j)
{
        struct binder b = bind_start(db_get(t->db, ST_REQUEUE));
        bind_int(&b, lane_value(BAND_OFFERED, j->priority, j->seq));
        bind_int(&b, j->seq);
        int rc = bind_run(&b);
        struct binder l = bind_start(db_get(t->db, ST_LIFE_TIMELESS));
        bind_int(&l, j->seq);
        rc = rc ? rc : bind_run(&l);
        return rc ? rc : seen_moved(t, j, STATE_PENDING);
}

int seen_offer(struct tx *t, const struct seen *j, enum job_reason reason, bool due)
{
        struct binder b = bind_start(db_get(t->db, ST_TO_PENDING));
        bind_int(&b, reason);
        bind_int(&b, lane_value(BAND_OFFERED, j->priority, j->seq));
        bind_int(&b, due);
        bind_int(&b, j->seq);
        int rc = bind_run(&b);
        return rc ? rc : seen_moved(t, j, STATE_PENDING);
}

static enum requeue_result judge_requeue(const struct seen *j)
{
        if (!j->found) {
                return REQUEUE_NOT_FOUND;
        }
        switch (j->state) {
        case STATE_DEAD:
        case STATE_CANCELLED: return REQUEUE_DONE;
        case STATE_SCHEDULED:
        case STATE_RETRYING: return REQUEUE_NOW;
        case STATE_PENDING: return REQUEUE_UNCHANGED;
        default: return REQUEUE_REFUSED;
        }
}

int requeue_run(struct tx *t, struct ledger_requeue *b)
{
        struct seen j;
        int rc = seen_find(t, &b->id, &j);
        if (rc) {
                return rc;
        }
        b->state = j.state;
        b->result = judge_requeue(&j);
        if (b->result != REQUEUE_DONE && b->result != REQUEUE_NOW) {
                return SQLITE_OK;
        }
        rc = tx_number(t, &b->base.no);
        if (!rc) {
                bool ended = b->result == REQUEUE_DONE;
                rc = ended ? seen_revive(t, &j) : seen_offer(t, &j, REASON_REQUEUED, false);
        }
        return rc;
}

/* --- DUE -------------------------------------------------------------------------------------- */

static int list_due(struct tx *t, uint32_t limit, struct seen *jobs, uint32_t *ret_n)
{
        struct binder q = bind_start(db_get(t->db, ST_DUE));
        bind_int(&q, t->now_us);
        bind_int(&q, limit);
        uint32_t n = 0;
        int rc;
        while ((rc = sqlite3_step(q.s)) == SQLITE_ROW && n < limit) {
                jobs[n++] = (struct seen){
                    .seq = sqlite3_column_int64(q.s, 0),
                    .priority = (uint8_t)sqlite3_column_int(q.s, 1),
                    .queue = column_copy(&t->scratch, q.s, 2),
                    .state = (enum job_state)sqlite3_column_int(q.s, 3),
                };
        }
        (void)sqlite3_reset(q.s);
        *ret_n = n;
        return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int see_next(struct tx *t, int64_t *ret_next_us)
{
        sqlite3_stmt *s = db_get(t->db, ST_DUE_NEXT);
        int rc = sqlite3_step(s);
        *ret_next_us = -1;
        if (rc == SQLITE_ROW) {
                int64_t left = sqlite3_column_int64(s, 0) - t->now_us;
                *ret_next_us = left > 0 ? left : 0;
        }
        (void)sqlite3_reset(s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static uint32_t page_of(uint32_t limit, uint32_t done)
{
        return limit - done < MOVE_AT_MOST ? limit - done : MOVE_AT_MOST;
}

int due_run(struct tx *t, struct ledger_due *b)
{
        uint32_t n, page;
        int rc = SQLITE_OK;
        struct seen *jobs = arena_alloc(&t->scratch, MOVE_AT_MOST * sizeof *jobs);
        b->moved = 0;
        if (!jobs) {
                return SQLITE_NOMEM;
        }
        do {
                page = page_of(b->limit, b->moved);
                rc = list_due(t, page, jobs, &n);
                if (!rc && n && !b->moved) {
                        rc = tx_number(t, &b->base.no);
                }
                for (uint32_t i = 0; i < n && !rc; i++) {
                        rc = seen_offer(t, &jobs[i], REASON_NONE, true);
                        b->moved += !rc;
                }
        } while (!rc && n == page && b->moved < b->limit);
        return rc ? rc : see_next(t, &b->next_us);
}

/* --- UNPARK ----------------------------------------------------------------------------------- */

static int list_parked(struct tx *t, const struct ledger_unpark *b, struct str queue, uint32_t page,
                       struct seen *jobs, uint32_t *ret_n)
{
        int64_t first, last;
        lane_range(BAND_PARKED, &first, &last);
        struct binder q = bind_start(db_get(t->db, ST_PARKED));
        bind_text(&q, queue);
        bind_int(&q, first);
        bind_int(&q, last);
        uint32_t n = 0;
        int rc;
        while ((rc = sqlite3_step(q.s)) == SQLITE_ROW) {
                if (roster_find(b->roster, column_str(q.s, 2)) < 0) {
                        continue;
                }
                jobs[n++] = (struct seen){.seq = sqlite3_column_int64(q.s, 0),
                                          .priority = (uint8_t)sqlite3_column_int(q.s, 1)};
                if (n == page) {
                        break;
                }
        }
        (void)sqlite3_reset(q.s);
        *ret_n = n;
        return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int unpark_jobs(struct tx *t, struct ledger_unpark *b, const struct seen *jobs, uint32_t n)
{
        int rc = n && !b->moved ? tx_number(t, &b->base.no) : SQLITE_OK;
        for (uint32_t i = 0; i < n && !rc; i++) {
                struct binder u = bind_start(db_get(t->db, ST_OFFER));
                bind_int(&u, lane_value(BAND_OFFERED, jobs[i].priority, jobs[i].seq));
                bind_int(&u, jobs[i].seq);
                rc = bind_run(&u);
                b->moved += !rc;
        }
        return rc;
}

static int unpark_queue(struct tx *t, struct ledger_unpark *b, struct str queue, struct seen *jobs)
{
        int rc = SQLITE_OK;
        uint32_t n, page;
        do {
                page = page_of(b->limit, b->moved);
                rc = list_parked(t, b, queue, page, jobs, &n);
                rc = rc ? rc : unpark_jobs(t, b, jobs, n);
        } while (!rc && n == page && b->moved < b->limit);
        return rc;
}

int unpark_run(struct tx *t, struct ledger_unpark *b)
{
        struct seen *jobs = arena_alloc(&t->scratch, MOVE_AT_MOST * sizeof *jobs);
        struct str queue = {"", 0};
        b->moved = 0;
        if (!jobs) {
                return SQLITE_NOMEM;
        }
        while (b->moved < b->limit) {
                struct binder q = bind_start(db_get(t->db, ST_NEXT_QUEUE));
                bind_text(&q, queue);
                int rc = sqlite3_step(q.s);
                if (rc == SQLITE_ROW) {
                        queue = column_copy(&t->scratch, q.s, 0);
                }
                (void)sqlite3_reset(q.s);
                if (rc != SQLITE_ROW) {
                        return rc == SQLITE_DONE ? SQLITE_OK : rc;
                }
                rc = unpark_queue(t, b, queue, jobs);
                if (rc) {
                        return rc;
                }
        }
        return SQLITE_OK;
}

/* --- FOLD, RESOLVE ---------------------------------------------------------------------------- */

int fold_run(struct tx *t, struct ledger_fold *b)
{
        sqlite3_stmt *any = db_get(t->db, ST_FOLD_ANY);
        int rc = sqlite3_step(any);
        (void)sqlite3_reset(any);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
                return rc;
        }
        bool deltas = rc == SQLITE_ROW, old;
        rc = journal_is_old(t, &old);
        if (rc || (!deltas && !old)) {
                return rc;
        }
        rc = tx_number(t, &b->base.no);
        rc = rc || !old ? rc : journal_expire(t);
        rc = rc ? rc : db_run(db_get(t->db, ST_FOLD));
        return rc ? rc : db_run(db_get(t->db, ST_FOLD_CLEAR));
}

static int node_gone(struct tx *t, uint64_t holder, bool *ret_gone)
{
        sqlite3_stmt *s = db_get(t->db, ST_NODE_SHOW);
        struct binder b = bind_start(s);
        bind_u64(&b, holder);
        int rc = sqlite3_step(s);
        (void)sqlite3_reset(s);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
                return rc;
        }
        *ret_gone = rc == SQLITE_DONE;
        return SQLITE_OK;
}

static int number_is_void(struct tx *t, const struct commit_no *no, bool *ret_void)
{
        sqlite3_stmt *s = db_get(t->db, ST_NUMBER_VOID);
        struct binder b = bind_start(s);
        bind_u64(&b, no->holder);
        bind_int(&b, no->writer);
        bind_u64(&b, no->n);
        int rc = sqlite3_step(s);
        *ret_void = rc == SQLITE_ROW && sqlite3_column_int(s, 0) != 0;
        (void)sqlite3_reset(s);
        return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* A number put here is void: it has a token and no runs, as no transaction's own number has. */
int resolve_run(struct tx *t, struct ledger_resolve *b)
{
        bool is_void = true;
        int rc = tx_void_number(t, &b->of);
        tx_resolved(t, &b->of);
        if (rc == TX_TAKEN) {
                rc = number_is_void(t, &b->of, &is_void);
        }
        b->happened = rc == SQLITE_OK && !is_void;
        return rc || b->happened ? rc : node_gone(t, b->of.holder, &b->forgotten);
}
