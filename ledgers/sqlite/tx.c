/*
 * What every write shares: its number in `commits`, the next seq, the deltas of the counters.
 *
 * A number goes in before the first write of its batch, so that one that is taken refuses the batch
 * with nothing to undo. A batch that found nothing to write writes no number either: then idle
 * polls cost no fsync, and RESOLVE rightly says that nothing of it happened.
 */
#include "ledgers/sqlite/internal.h"

void tx_begin(struct tx *t, struct db *db, int64_t now_us)
{
        t->db = db;
        t->now_us = now_us;
        t->seq = -1;
        t->n_deltas = 0;
        t->keys_kept = false;
        t->limits = NULL;
        arena_reset(&t->scratch);
}

static struct trim *find_trim(struct tx *t, const struct commit_no *no)
{
        for (size_t i = 0; i < ARRAY_LEN(t->trims); i++) {
                struct trim *m = &t->trims[i];
                if (m->holder == no->holder && m->writer == no->writer) {
                        return m;
                }
        }
        struct trim *m = &t->trims[t->trim_next++ % ARRAY_LEN(t->trims)];
        *m = (struct trim){.holder = no->holder, .writer = no->writer};
        return m;
}

/* The last number that may be deleted. Only such as were known to be durable before this
 * transaction began count: those of this one may have to be resolved yet. */
static uint64_t trim_limit(const struct trim *m)
{
        uint64_t last = m->known;
        if (m->held_first && m->held_first <= last) {
                last = m->held_first - 1;
        }
        return last > NUMBERS_KEPT ? last - NUMBERS_KEPT : 0;
}

/* Deletes numbers that nobody will ask for. */
static int trim_numbers(struct tx *t, const struct commit_no *no)
{
        struct trim *m = find_trim(t, no);
        if (!m->pending_first) {
                m->pending_first = no->n;
        }
        m->pending_last = no->n > m->pending_last ? no->n : m->pending_last;
        uint64_t limit = trim_limit(m);
        if (limit <= m->upto) {
                return SQLITE_OK;
        }
        struct binder b = bind_start(db_get(t->db, ST_NUMBER_TRIM));
        bind_u64(&b, no->holder);
        bind_int(&b, no->writer);
        bind_u64(&b, m->upto);
        bind_u64(&b, limit);
        m->upto = limit;
        return bind_run(&b);
}

static void end_trim(struct trim *m, enum tx_fate fate)
{
        if (fate == TX_WRITTEN) {
                m->known = m->pending_last > m->known ? m->pending_last : m->known;
        } else {
                m->upto = 0;
        }
        if (fate == TX_UNKNOWN && m->pending_first) {
                m->held_first = m->held_first ? m->held_first : m->pending_first;
                m->held_last = m->pending_last;
        }
        m->pending_first = m->pending_last = 0;
}

void tx_end(struct tx *t, enum tx_fate fate)
{
        for (size_t i = 0; i < ARRAY_LEN(t->trims); i++) {
                end_trim(&t->trims[i], fate);
        }
}

void tx_resolved(struct tx *t, const struct commit_no *no)
{
        struct trim *m = find_trim(t, no);
        if (no->n >= m->held_last) {
                m->held_first = m->held_last = 0;
        }
}

static int insert_number(struct tx *t, const struct commit_no *no, bool with_token, uint64_t token,
                         struct str runs)
{
        struct binder b = bind_start(db_get(t->db, ST_NUMBER));
        bind_u64(&b, no->holder);
        bind_int(&b, no->writer);
        bind_u64(&b, no->n);
        if (with_token) {
                bind_u64(&b, token);
        } else {
                bind_null(&b);
        }
        bind_blob(&b, runs);
        int rc = bind_run(&b);
        return rc || sqlite3_changes(t->db->sql) ? rc : TX_TAKEN;
}

int tx_insert_number(struct tx *t, const struct commit_no *no, uint64_t token, struct str runs)
{
        return insert_number(t, no, runs.n > 0, token, runs);
}

int tx_void_number(struct tx *t, const struct commit_no *no)
{
        return insert_number(t, no, true, 0, (struct str){0});
}

int tx_number_claim(struct tx *t, const struct commit_no *no, uint64_t token, struct str runs)
{
        if (!no->n) {
                return SQLITE_OK;
        }
        int rc = tx_insert_number(t, no, token, runs);
        return rc ? rc : trim_numbers(t, no);
}

int tx_number_free(struct tx *t, const struct commit_no *no)
{
        struct binder b = bind_start(db_get(t->db, ST_NUMBER_TAKEN));
        bind_u64(&b, no->holder);
        bind_int(&b, no->writer);
        bind_u64(&b, no->n);
        int rc = sqlite3_step(b.s);
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc == SQLITE_ROW ? TX_TAKEN : rc;
}

int tx_number(struct tx *t, const struct commit_no *no)
{
        return tx_number_claim(t, no, 0, (struct str){0});
}

int tx_seq(struct tx *t, int64_t *ret_seq)
{
        if (t->seq < 0) {
                sqlite3_stmt *s = db_get(t->db, ST_SEQ_LAST);
                int rc = sqlite3_step(s);
                if (rc == SQLITE_ROW) {
                        t->seq = sqlite3_column_int64(s, 0);
                        t->keys_kept = sqlite3_column_int(s, 1) != 0;
                }
                (void)sqlite3_reset(s);
                if (rc != SQLITE_ROW) {
                        return rc;
                }
        }
        *ret_seq = t->seq + 1;
        return SQLITE_OK;
}

int tx_flush(struct tx *t)
{
        sqlite3_stmt *s = db_get(t->db, ST_DELTA);
        for (uint32_t i = 0; i < t->n_deltas; i++) {
                const struct delta *d = &t->deltas[i];
                for (int state = 0; state < JOB_STATE_COUNT; state++) {
                        if (!d->n[state]) {
                                continue;
                        }
                        struct binder b = bind_start(s);
                        bind_text(&b, d->queue);
                        bind_int(&b, state);
                        bind_int(&b, d->n[state]);
                        int rc = bind_run(&b);
                        if (rc) {
                                return rc;
                        }
                }
        }
        t->n_deltas = 0;
        return SQLITE_OK;
}

int tx_delta(struct tx *t, struct str queue, enum job_state state, int64_t n)
{
        uint32_t i = 0;
        while (i < t->n_deltas && !str_eq(t->deltas[i].queue, queue)) {
                i++;
        }
        if (i == DELTAS_MAX) {
                int rc = tx_flush(t);
                if (rc) {
                        return rc;
                }
                i = 0;
        }
        if (i == t->n_deltas) {
                struct str copy = arena_str(&t->scratch, queue);
                if (!copy.p) {
                        return SQLITE_NOMEM;
                }
                t->deltas[t->n_deltas++] = (struct delta){.queue = copy};
        }
        t->deltas[i].n[state] += n;
        return SQLITE_OK;
}

int tx_alive(struct tx *t, uint64_t holder)
{
        struct binder b = bind_start(db_get(t->db, ST_NODE_ALIVE));
        bind_u64(&b, holder);
        int rc = sqlite3_step(b.s);
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? TX_FENCED : rc;
}
