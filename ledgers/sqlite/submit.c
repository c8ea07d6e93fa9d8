/*
 * SUBMIT: rows are inserted as if nothing stood in the way; only one that does not go in takes the
 * slow path (this very id, its key, or data that the store refuses). Each row is one statement, so
 * a refused one leaves its neighbours alone without any bisection. Savepoints are for atomic arrays
 * and for requests with a key, never for a single row.
 */
#include "ledgers/sqlite/internal.h"

#define KEY_LIFE_US (INT64_C(7) * 24 * 3600 * US_PER_S)

/* Where a new row waits; exactly one of the three, or none. */
struct waiting {
        int64_t lane, due, parked_at;
};
#define NOWHERE INT64_MIN

static void bind_where(struct binder *b, int64_t v)
{
        if (v == NOWHERE) {
                bind_null(b);
        } else {
                bind_int(b, v);
        }
}

static struct waiting place_row(const struct tx *t, const struct submit_row *r, int64_t seq)
{
        struct waiting w = {NOWHERE, NOWHERE, NOWHERE};
        switch (r->state) {
        case STATE_PENDING:
                w.lane = r->band == BAND_PARKED ? lane_parked(r->type, seq)
                                                : lane_value(r->band, r->priority, seq);
                break;
        case STATE_SCHEDULED: w.due = r->after_us ? t->now_us + r->after_us : r->at_us; break;
        case STATE_DEAD:
        case STATE_CANCELLED: w.parked_at = t->now_us; break;
        default: break; /* the store refuses it */
        }
        return w;
}

static int insert_job(struct tx *t, const struct submit_row *r, int64_t seq)
{
        struct waiting w = place_row(t, r, seq);
        bool inside = r->payload.n <= PAYLOAD_INLINE_MAX;
        struct binder b = bind_start(db_get(t->db, ST_INSERT));
        bind_int(&b, seq);
        bind_id(&b, &r->id);
        bind_text(&b, r->queue);
        bind_text(&b, r->type);
        bind_int(&b, r->state);
        bind_int(&b, r->reason);
        bind_where(&b, w.lane);
        bind_where(&b, w.due);
        bind_where(&b, w.parked_at);
        bind_int(&b, r->max_attempts);
        bind_int(&b, r->priority);
        bind_int(&b, r->timeout_ms);
        bind_int(&b, t->now_us);
        bind_int(&b, state_terminal(r->state) ? t->now_us : 0);
        bind_int(&b, r->deadline_us);
        bind_key(&b, &r->key);
        bind_blob(&b, r->key_text);
        bind_blob(&b, r->content_type);
        bind_blob(&b, r->tags);
        bind_blob(&b, r->headers);
        bind_int(&b, r->payload.n);
        bind_blob(&b, inside ? r->payload : (struct str){0});
        return bind_run(&b);
}

static int insert_blob(struct tx *t, const struct submit_row *r, int64_t seq)
{
        struct binder b = bind_start(db_get(t->db, ST_BLOB_INSERT));
        bind_int(&b, seq);
        bind_bytes(&b, r->payload.p, r->payload.n);
        return bind_run(&b);
}

static int delete_blob(struct tx *t, int64_t seq)
{
        struct binder b = bind_start(db_get(t->db, ST_BLOB_DELETE));
        bind_int(&b, seq);
        return bind_run(&b);
}

/* Puts the row in with its payload, or nothing of it. An illegal first state is looked for here,
 * since the schema's guard takes the whole transaction down. */
static int put_row(struct tx *t, const struct submit_row *r, bool *ret_new)
{
        int64_t seq;
        int rc = state_edge(STATE_NONE, r->state) && r->state != STATE_RUNNING ? tx_seq(t, &seq)
                                                                               : SQLITE_MISMATCH;
        bool apart = r->payload.n > PAYLOAD_INLINE_MAX;
        if (!rc && apart) {
                rc = insert_blob(t, r, seq);
        }
        if (rc) {
                return rc;
        }
        rc = insert_job(t, r, seq);
        *ret_new = !rc && sqlite3_changes(t->db->sql) > 0;
        if (*ret_new) {
                t->seq = seq;
                return tx_delta(t, r->queue, r->state, 1);
        }
        int undone = apart ? delete_blob(t, seq) : SQLITE_OK;
        return rc ? rc : undone;
}

/* The job with this very id. */
static int find_id(struct tx *t, const struct job_id *id, bool *ret_found,
                   enum job_state *ret_state)
{
        struct binder b = bind_start(db_get(t->db, ST_BY_ID));
        bind_id(&b, id);
        int rc = sqlite3_step(b.s);
        *ret_found = rc == SQLITE_ROW;
        if (*ret_found) {
                *ret_state = (enum job_state)sqlite3_column_int(b.s, 1);
        }
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Something with its id or its key is there: what is it? */
static int explain_existing(struct tx *t, struct submit_row *r)
{
        bool found;
        int rc = find_id(t, &r->id, &found, &r->existing_state);
        if (rc || found) {
                r->result = SUBMIT_EXISTS;
                r->existing = r->id;
                return rc;
        }
        struct binder b = bind_start(db_get(t->db, ST_BY_KEY));
        bind_text(&b, r->queue);
        bind_key(&b, &r->key);
        rc = sqlite3_step(b.s);
        if (rc == SQLITE_ROW) {
                /* A row whose data was refused has lost its payload: nothing to compare. */
                bool lost = sqlite3_column_int(b.s, 2) == REASON_UNSTORABLE;
                r->result = lost || str_eq(column_str(b.s, 4), r->payload) ? SUBMIT_EXISTS
                                                                           : SUBMIT_CONFLICT;
                r->existing = column_id(b.s, 0);
                r->existing_state = (enum job_state)sqlite3_column_int(b.s, 1);
                rc = SQLITE_OK;
        }
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

/* The row is remembered without anything that its producer wrote, so that nobody looks for it in
 * vain. */
static int bury_unstorable(struct tx *t, const struct submit_row *r)
{
        struct submit_row dead = {
            .id = r->id,
            .key = r->key,
            .queue = r->queue.n <= 255 ? r->queue : (struct str){"", 0},
            .state = STATE_DEAD,
            .reason = REASON_UNSTORABLE,
            .max_attempts = r->max_attempts ? r->max_attempts : 1,
            .priority = r->priority > PRIORITY_MAX ? PRIORITY_DEFAULT : r->priority,
        };
        bool is_new;
        return put_row(t, &dead, &is_new);
}

static int submit_row(struct tx *t, struct submit_row *r, bool atomic)
{
        bool is_new;
        int rc = put_row(t, r, &is_new);
        if (!rc && is_new) {
                r->result = SUBMIT_CREATED;
                return SQLITE_OK;
        }
        if (!rc) {
                return explain_existing(t, r);
        }
        if (!db_data_error(rc)) {
                return rc;
        }
        r->result = SUBMIT_UNSTORABLE;
        return atomic ? SQLITE_OK : bury_unstorable(t, r);
}

static int submit_rows(struct tx *t, struct submission *s, uint32_t *ret_failed)
{
        *ret_failed = s->n;
        for (uint32_t i = 0; i < s->n; i++) {
                struct submit_row *r = &s->rows[i];
                int rc = submit_row(t, r, s->atomic);
                if (rc) {
                        return rc;
                }
                if (s->atomic && r->result >= SUBMIT_CONFLICT) {
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
                int rc = find_id(t, &r->existing, &found, &r->existing_state);
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
                bool other = r->result == SUBMIT_EXISTS || r->result == SUBMIT_CONFLICT;
                ids[i] = other ? r->existing : r->id;
        }
        struct binder b = bind_start(db_get(t->db, ST_REQUEST_INSERT));
        bind_key(&b, &s->request_key);
        bind_bytes(&b, s->request_hash, sizeof s->request_hash);
        bind_bytes(&b, ids, s->n * sizeof *ids);
        bind_int(&b, t->now_us + KEY_LIFE_US);
        return bind_run(&b);
}

/* All rows or none: takes the whole submission back. The deltas of before it are kept by their
 * copy. */
static int undo_all(struct tx *t, struct submission *s, uint32_t failed)
{
        for (uint32_t i = 0; i < s->n; i++) {
                if (i != failed) {
                        s->rows[i].result = SUBMIT_UNDONE;
                }
        }
        return db_run(db_get(t->db, ST_UNDO));
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
                t->n_deltas = 0;
                t->seq = seq;
                rc = undo_all(t, s, failed);
        } else if (!rc && s->request_key.set) {
                rc = keep_request(t, s);
        }
        return rc ? rc : db_run(db_get(t->db, ST_RELEASE));
}

int submission_run(struct tx *t, struct submission *s)
{
        s->refused = false;
        s->request_conflict = false;
        if (s->request_key.set || (s->atomic && s->n > 1)) {
                return submit_guarded(t, s);
        }
        uint32_t failed;
        return submit_rows(t, s, &failed);
}

int submit_run(struct tx *t, struct ledger_submit *b)
{
        int rc = tx_number(t, &b->base.no);
        for (struct submission *s = b->list; s && !rc; s = s->next) {
                rc = submission_run(t, s);
        }
        return rc;
}
