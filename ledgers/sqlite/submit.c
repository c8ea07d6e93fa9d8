/*
 * SUBMIT: many callers' submissions, each on its own. Savepoints are for atomic arrays, for
 * requests with a key, and for what happened before and is only looked at; never for a single row.
 */
#include "ledgers/sqlite/life.h"

static int submit_row(struct tx *t, struct submit_row *r, bool atomic)
{
        int64_t seq;
        if (r->inbox) { /* there is no inbox here: its letter is gone */
                r->result = SUBMIT_UNDONE;
                return SQLITE_OK;
        }
        int rc = row_admit(t, r, NULL, &seq);
        if (!rc && seq) {
                r->result = SUBMIT_CREATED;
                r->seq = seq;
                return SQLITE_OK;
        }
        if (!db_data_error(rc)) {
                return rc;
        }
        r->result = SUBMIT_UNSTORABLE;
        return atomic ? SQLITE_OK : row_bury(t, r);
}

/* Does this row undo the others? */
static bool row_fails(const struct submission *s, const struct submit_row *r)
{
        switch (r->result) {
        case SUBMIT_FULL: return s->atomic || s->request_key.set;
        case SUBMIT_CONFLICT:
        case SUBMIT_UNSTORABLE:
        case SUBMIT_UNDONE: return s->atomic;
        default: return false;
        }
}

/* Those that go in together, from row *at on, which it moves behind them. */
static int submit_alike(struct tx *t, struct submission *s, uint32_t *at)
{
        struct incoming x = {.first = s->rows + *at, .stride = sizeof *s->rows, .n = s->n - *at};
        uint32_t done;
        int rc = incoming_put(t, x, NULL, &done);
        for (uint32_t i = 0; i < done; i++, (*at)++) {
                s->rows[*at].result = SUBMIT_CREATED;
                s->rows[*at].seq = t->seq - done + 1 + i;
        }
        return rc;
}

static int submit_rows(struct tx *t, struct submission *s, uint32_t *ret_failed)
{
        *ret_failed = s->n;
        for (uint32_t i = 0; i < s->n; i++) {
                int rc = submit_alike(t, s, &i);
                if (rc || i == s->n) {
                        return rc;
                }
                struct submit_row *r = &s->rows[i];
                rc = submit_row(t, r, s->atomic);
                if (rc) {
                        return rc;
                }
                if (row_fails(s, r)) {
                        *ret_failed = i;
                        break;
                }
        }
        return SQLITE_OK;
}

/* The answer to a request that was made before: the ids that it got then. */
static int replay_request(struct tx *t, struct submission *s, struct str ids)
{
        if (ids.n != s->n * sizeof(struct job_id)) {
                s->request_conflict = true;
                return SQLITE_OK;
        }
        for (uint32_t i = 0; i < s->n; i++) {
                struct submit_row *r = &s->rows[i];
                bool found;
                memcpy(r->existing.b, ids.p + i * sizeof r->existing, sizeof r->existing);
                r->result = SUBMIT_EXISTS;
                r->existing_state = STATE_NONE;
                int rc = row_find(t, &r->existing, &found, &r->existing_state);
                if (rc) {
                        return rc;
                }
        }
        return SQLITE_OK;
}

static int find_request(struct tx *t, struct submission *s, bool *ret_answered)
{
        struct binder b = bind_start(db_get(t->db, ST_REQUEST_SHOW));
        bind_key(&b, &s->request_key);
        bind_int(&b, t->now_us);
        int rc = sqlite3_step(b.s);
        *ret_answered = rc == SQLITE_ROW;
        if (*ret_answered) {
                struct str body = {(const char *)s->request_hash, sizeof s->request_hash};
                rc = SQLITE_OK;
                if (str_eq(column_str(b.s, 0), body)) {
                        rc = replay_request(t, s, column_str(b.s, 1));
                } else {
                        s->request_conflict = true;
                }
        }
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int keep_request(struct tx *t, const struct submission *s)
{
        struct job_id *ids = arena_alloc(&t->scratch, s->n * sizeof *ids + 1);
        if (!ids) {
                return SQLITE_NOMEM;
        }
        for (uint32_t i = 0; i < s->n; i++) {
                const struct submit_row *r = &s->rows[i];
                bool own = r->result == SUBMIT_CREATED || r->result == SUBMIT_UNSTORABLE;
                ids[i] = own ? r->id : r->existing;
        }
        struct binder b = bind_start(db_get(t->db, ST_REQUEST_INSERT));
        bind_key(&b, &s->request_key);
        bind_bytes(&b, s->request_hash, sizeof s->request_hash);
        bind_bytes(&b, ids, s->n * sizeof *ids);
        bind_int(&b, t->now_us + KEY_LIFE_US);
        return bind_run(&b);
}

static void answer_undone(struct submission *s, uint32_t failed)
{
        for (uint32_t i = 0; i < s->n; i++) {
                if (i != failed) {
                        s->rows[i].result = SUBMIT_UNDONE;
                }
        }
}

/* Takes the whole submission back. The deltas of before it are kept by their copy. */
static int undo_all(struct tx *t, int64_t seq)
{
        t->n_deltas = 0;
        t->seq = seq;
        limits_forget(t);
        return db_run(db_get(t->db, ST_UNDO));
}

/* What was written long ago is not written again: what would have gone in is gone since. */
static void answer_gone(struct submission *s)
{
        for (uint32_t i = 0; i < s->n; i++) {
                struct submit_row *r = &s->rows[i];
                if (r->result == SUBMIT_CREATED) {
                        r->result = SUBMIT_EXISTS;
                        r->existing = r->id;
                        r->existing_state = STATE_NONE;
                }
        }
}

static int submit_guarded(struct tx *t, struct submission *s)
{
        bool answered = false;
        uint32_t failed = s->n;
        int rc = s->request_key.set ? find_request(t, s, &answered) : SQLITE_OK;
        if (rc || answered) {
                return rc;
        }
        rc = tx_flush(t); /* so that what is undone is this submission's alone */
        rc = rc ? rc : db_run(db_get(t->db, ST_SAVE));
        int64_t seq = t->seq;
        rc = rc ? rc : submit_rows(t, s, &failed);
        if (!rc && failed < s->n) {
                answer_undone(s, failed);
                rc = undo_all(t, seq);
        } else if (!rc && s->happened) {
                answer_gone(s);
                rc = undo_all(t, seq);
        } else if (!rc && s->request_key.set) {
                rc = keep_request(t, s);
        }
        return rc ? rc : db_run(db_get(t->db, ST_RELEASE));
}

int submission_run(struct tx *t, struct submission *s)
{
        s->refused = false;
        s->request_conflict = false;
        if (s->request_key.set || (s->atomic && s->n > 1) || s->happened) {
                return submit_guarded(t, s);
        }
        uint32_t failed;
        return submit_rows(t, s, &failed);
}

int submit_run(struct tx *t, struct ledger_submit *b)
{
        struct limits limits = {0};
        int rc = tx_number(t, &b->base.no);
        rc = rc ? rc : limits_start(t, &limits, b->bounds, b->n_bounds);
        for (struct submission *s = b->list; s && !rc; s = s->next) {
                rc = submission_run(t, s);
        }
        t->limits = NULL;
        return rc ? rc : outbox_put(t, b);
}
