/*
 * One row of `jobs` goes in, whoever brings it: SUBMIT, ARRIVE, the children of a FINISH. Inserted
 * as if nothing stood in the way; only one that does not go in takes the slow path (this very id,
 * its key, or data that the store refuses). Each row is one statement, so a refused one leaves its
 * neighbours alone without any bisection or savepoint.
 */
#include "ledgers/sqlite/life.h"

#define NAME_BYTES_MAX 255 /* of a queue, of a type */

static void bind_where(struct binder *b, int64_t v)
{
        if (v == NOWHERE) {
                bind_null(b);
        } else {
                bind_int(b, v);
        }
}

struct waiting row_place(int64_t now_us, const struct submit_row *r, int64_t seq)
{
        struct waiting w = {NOWHERE, NOWHERE, NOWHERE};
        switch (r->state) {
        case STATE_PENDING:
                w.lane = r->band == BAND_PARKED ? lane_parked(r->type, seq)
                                                : lane_value(r->band, r->priority, seq);
                break;
        case STATE_SCHEDULED: w.due = r->after_us ? now_us + r->after_us : r->at_us; break;
        case STATE_DEAD:
        case STATE_CANCELLED: w.parked_at = now_us; break;
        default: break;
        }
        return w;
}

static int insert_job(struct tx *t, const struct submit_row *r, const struct taker *by, int64_t seq)
{
        static const struct taker nobody;
        struct waiting w = row_place(t->now_us, r, seq);
        bool inside = r->payload.n <= PAYLOAD_INLINE_MAX, runs = r->state == STATE_RUNNING;
        by = runs ? by : &nobody;
        struct job_key key = key_within(r->queue, &r->key);
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
        bind_key(&b, &key);
        bind_blob(&b, r->key_text);
        bind_blob(&b, r->content_type);
        bind_blob(&b, r->tags);
        bind_blob(&b, r->headers);
        bind_int(&b, r->payload.n);
        bind_blob(&b, inside ? r->payload : (struct str){0});
        bind_int(&b, runs);
        bind_u64(&b, by->token);
        bind_u64(&b, by->holder);
        bind_int(&b, runs ? t->now_us : 0);
        bind_blob(&b, runs ? STR(FINISH_ROOM) : (struct str){0});
        if (row_has_life(r)) {
                bind_int(&b, LIFE_OWN);
        } else {
                bind_null(&b);
        }
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

int row_put_error(struct tx *t, int64_t seq, bool ended_job, const struct attempt_row *a)
{
        struct binder b = bind_start(db_get(t->db, ST_ATTEMPT_INSERT));
        bind_int(&b, seq);
        bind_int(&b, a->claim);
        bind_int(&b, ended_job);
        bind_int(&b, a->attempt);
        bind_int(&b, a->generation);
        bind_int(&b, a->error);
        bind_blob(&b, a->error_text);
        bind_blob(&b, a->build);
        bind_u64(&b, a->holder);
        bind_int(&b, a->worker);
        bind_int(&b, a->worker_pid);
        bind_int(&b, a->started_us);
        bind_int(&b, a->ended_us);
        bind_u64(&b, a->fingerprint);
        return bind_run(&b);
}

/* What every row that went in leaves behind it. */
static int settle_row(struct tx *t, const struct submit_row *r, int64_t seq)
{
        t->seq = seq;
        int rc = tx_delta(t, r->queue, r->state, 1);
        rc = rc || !row_has_life(r) ? rc : life_put(t, r, seq);
        if (!rc && state_terminal(r->state) && r->error_text.n) {
                struct attempt_row why = {.error = reason_error(r->reason),
                                          .error_text = r->error_text,
                                          .ended_us = t->now_us};
                rc = row_put_error(t, seq, true, &why);
        }
        return rc;
}

/* An illegal first state is looked for here, since the schema's guard takes the whole transaction
 * down. */
/* What every row would pay for if the schema asked it, too. */
bool row_fits(const struct submit_row *r, const struct taker *by)
{
        bool legal = r->state == STATE_RUNNING ? by != NULL : state_edge(STATE_NONE, r->state);
        return legal && r->queue.n <= NAME_BYTES_MAX && r->type.n <= NAME_BYTES_MAX &&
               r->max_attempts >= 1 && r->priority <= 9;
}

int row_put(struct tx *t, const struct submit_row *r, const struct taker *by, int64_t *ret_seq)
{
        int64_t seq;
        int rc = row_fits(r, by) ? tx_seq(t, &seq) : SQLITE_MISMATCH;
        bool apart = r->payload.n > PAYLOAD_INLINE_MAX;
        if (!rc && apart) {
                rc = insert_blob(t, r, seq);
        }
        if (rc) {
                return rc;
        }
        rc = insert_job(t, r, by, seq);
        bool is_new = !rc && sqlite3_changes(t->db->sql) > 0;
        *ret_seq = is_new ? seq : 0;
        if (is_new) {
                return settle_row(t, r, seq);
        }
        int undone = apart ? delete_blob(t, seq) : SQLITE_OK;
        return rc ? rc : undone;
}

int row_find(struct tx *t, const struct job_id *id, bool *ret_found, enum job_state *ret_state)
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

int row_explain(struct tx *t, struct submit_row *r)
{
        bool met;
        int rc = row_meet(t, r, &met);
        return rc || met ? rc : SQLITE_CORRUPT;
}

/* The row is remembered without anything that its producer wrote, so that nobody looks for it in
 * vain; under its key too, unless that names another job. */
int row_bury(struct tx *t, const struct submit_row *r)
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
        int64_t seq;
        int rc = row_put(t, &dead, NULL, &seq);
        if (rc || seq || !r->key.set) {
                return rc;
        }
        struct submit_row met = *r;
        rc = row_explain(t, &met);
        if (rc || met.result == SUBMIT_EXISTS) {
                return rc;
        }
        dead.key.set = false;
        return row_put(t, &dead, NULL, &seq);
}
