/*
 * FINISH: verdicts. The fence is the WHERE of the update itself, never a look before it. Completed
 * jobs take a statement that touches no index, many of them together (neighbours.c).
 *
 * The counters need the queue, which a verdict does not carry: jobs of one token were claimed from
 * one queue, so the last one's serves for the next, and the statement checks that it was right.
 */
#include "ledgers/sqlite/life.h"

struct ending {
        struct tx *t;
        struct ledger_finish *b;
        uint64_t token; /* whose queue this is */
        struct str queue;
        char queue_bytes[256];
};

static int64_t ref_by_id(struct tx *t, const struct job_id *id)
{
        struct binder b = bind_start(db_get(t->db, ST_BY_ID));
        bind_id(&b, id);
        int64_t ref = sqlite3_step(b.s) == SQLITE_ROW ? sqlite3_column_int64(b.s, 0) : 0;
        (void)sqlite3_reset(b.s);
        return ref;
}

static void keep_queue(struct ending *e, uint64_t token, struct str queue)
{
        uint32_t n = queue.n <= sizeof e->queue_bytes ? queue.n : 0;
        memcpy(e->queue_bytes, queue.p ? queue.p : "", n);
        e->queue = (struct str){e->queue_bytes, n};
        e->token = token;
}

static int learn_queue(struct ending *e, const struct finish_row *r, int64_t ref)
{
        struct binder b = bind_start(db_get(e->t->db, ST_QUEUE_OF));
        bind_int(&b, ref);
        bind_id(&b, &r->id);
        int rc = sqlite3_step(b.s);
        keep_queue(e, r->token, rc == SQLITE_ROW ? column_str(b.s, 0) : (struct str){0});
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int64_t end_time(const struct tx *t, const struct finish_row *r)
{
        return r->ended_us ? r->ended_us : t->now_us;
}

static int update_done(struct ending *e, const struct finish_row *r, int64_t ref, bool *ret_hit)
{
        struct binder b = bind_start(db_get(e->t->db, ST_FINISH_DONE));
        bind_int(&b, r->reason);
        bind_int(&b, r->attempt);
        bind_int(&b, r->snoozes);
        bind_int(&b, r->strikes);
        bind_int(&b, r->started_us);
        bind_int(&b, end_time(e->t, r));
        bind_blob(&b, r->result);
        bind_blob(&b, r->result_type);
        bind_int(&b, ref);
        bind_id(&b, &r->id);
        bind_int(&b, r->claim);
        bind_u64(&b, r->token);
        bind_text(&b, e->queue);
        int rc = bind_run(&b);
        *ret_hit = !rc && sqlite3_changes(e->t->db->sql) > 0;
        return rc;
}

/* *ret_hit false: the fence did not match. */
static int finish_done(struct ending *e, const struct finish_row *r, int64_t ref, bool *ret_hit)
{
        *ret_hit = false;
        int rc = SQLITE_OK;
        if (e->token == r->token && e->queue.n) {
                rc = update_done(e, r, ref, ret_hit);
        }
        if (!rc && !*ret_hit) {
                rc = learn_queue(e, r, ref);
                rc = rc || !e->queue.n ? rc : update_done(e, r, ref, ret_hit);
        }
        return rc;
}

/* What the row says that the verdict does not. */
struct fenced {
        uint32_t generation;
        uint64_t holder;
        uint8_t priority;
};

static int read_fenced(struct ending *e, const struct finish_row *r, int64_t ref,
                       struct fenced *ret_row, bool *ret_hit)
{
        struct binder b = bind_start(db_get(e->t->db, ST_FENCE));
        bind_int(&b, ref);
        bind_id(&b, &r->id);
        bind_int(&b, r->claim);
        bind_u64(&b, r->token);
        int rc = sqlite3_step(b.s);
        *ret_hit = rc == SQLITE_ROW;
        if (*ret_hit) {
                keep_queue(e, r->token, column_str(b.s, 0));
                *ret_row = (struct fenced){(uint32_t)sqlite3_column_int64(b.s, 2),
                                           (uint64_t)sqlite3_column_int64(b.s, 3),
                                           (uint8_t)sqlite3_column_int(b.s, 1)};
        }
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void bind_if(struct binder *b, bool set, int64_t v)
{
        if (set) {
                bind_int(b, v);
        } else {
                bind_null(b);
        }
}

static int update_state(struct ending *e, const struct finish_row *r, int64_t ref,
                        const struct fenced *f, bool *ret_hit)
{
        int64_t now = e->t->now_us;
        bool waits = r->to == STATE_RETRYING || r->to == STATE_SCHEDULED;
        bool parked = r->to == STATE_DEAD || r->to == STATE_CANCELLED;
        struct binder b = bind_start(db_get(e->t->db, ST_FINISH));
        bind_int(&b, r->to);
        bind_int(&b, r->reason);
        bind_if(&b, r->to == STATE_PENDING, lane_value(BAND_OFFERED, f->priority, ref));
        bind_if(&b, waits, now + r->after_us);
        bind_if(&b, parked, now);
        bind_int(&b, r->attempt);
        bind_int(&b, r->snoozes);
        bind_int(&b, r->strikes);
        bind_int(&b, r->started_us);
        bind_int(&b, state_terminal(r->to) ? end_time(e->t, r) : 0);
        bind_blob(&b, r->result);
        bind_blob(&b, r->result_type);
        bind_int(&b, ref);
        bind_id(&b, &r->id);
        bind_int(&b, r->claim);
        bind_u64(&b, r->token);
        int rc = bind_run(&b);
        *ret_hit = !rc && sqlite3_changes(e->t->db->sql) > 0;
        return rc;
}

static int keep_error(struct ending *e, const struct finish_row *r, int64_t ref,
                      const struct fenced *f)
{
        struct attempt_row a = {
            .attempt = r->attempt,
            .generation = f->generation,
            .claim = r->claim,
            .error = r->error,
            .error_text = r->error_text,
            .build = r->build,
            .holder = f->holder,
            .worker = r->worker,
            .worker_pid = r->worker_pid,
            .started_us = r->started_us,
            .ended_us = end_time(e->t, r),
            .fingerprint = r->fingerprint,
        };
        return row_put_error(e->t, ref, !r->keep_attempt, &a);
}

static int finish_otherwise(struct ending *e, const struct finish_row *r, int64_t ref,
                            bool *ret_hit)
{
        struct fenced f = {0};
        int rc = read_fenced(e, r, ref, &f, ret_hit);
        if (rc || !*ret_hit) {
                return rc;
        }
        rc = update_state(e, r, ref, &f, ret_hit);
        if (!rc && *ret_hit && (r->keep_attempt || r->error != ERROR_NONE)) {
                rc = keep_error(e, r, ref, &f);
        }
        return rc;
}

static int finish_row(struct ending *e, const struct finish_row *r, int64_t ref, bool *ret_hit)
{
        bool plain = r->to == STATE_COMPLETED && !r->keep_attempt && r->error == ERROR_NONE;
        if (!state_edge(STATE_RUNNING, r->to)) {
                return SQLITE_MISMATCH; /* before the schema's guard takes the transaction down */
        }
        if (r->result.n > RESULT_MAX) {
                return SQLITE_TOOBIG;
        }
        int rc = plain ? finish_done(e, r, ref, ret_hit) : finish_otherwise(e, r, ref, ret_hit);
        if (!rc && *ret_hit) {
                rc = tx_delta(e->t, e->queue, STATE_RUNNING, -1);
                rc = rc ? rc : tx_delta(e->t, e->queue, r->to, 1);
        }
        return rc;
}

/* The store refused what the handler left. The job ends all the same, and says why. */
static int finish_unstorable(struct ending *e, const struct finish_row *r, int64_t ref,
                             bool *ret_hit)
{
        struct finish_row dead = {
            .id = r->id,
            .claim = r->claim,
            .token = r->token,
            .to = STATE_DEAD,
            .reason = REASON_UNSTORABLE,
            .error = ERROR_UNSTORABLE,
            .attempt = r->attempt,
            .snoozes = r->snoozes,
            .strikes = r->strikes,
            .started_us = r->started_us,
            .ended_us = r->ended_us,
            .worker = r->worker,
            .worker_pid = r->worker_pid,
        };
        return finish_row(e, &dead, ref, ret_hit);
}

/* What the verdict leaves beside its row; refused: the job is dead(unstorable) instead. */
static int finish_rest(struct ending *e, struct finish_row *r, int64_t ref, bool refused)
{
        bool completed = r->to == STATE_COMPLETED && !refused;
        int rc = SQLITE_OK;
        if (r->left_work && completed) {
                rc = save_delete(e->t, ref);
        }
        if (!rc && r->children && completed) {
                rc = submission_run(e->t, r->children);
        }
        if (!rc && r->reply && refused) {
                r->reply->state = STATE_DEAD;
                r->reply->reason = REASON_UNSTORABLE;
                r->reply->body = r->reply->error_text = (struct str){0};
        }
        return rc || !r->reply ? rc : reply_put(e->t, r->reply);
}

static int finish_one(struct ending *e, struct finish_row *r)
{
        int64_t ref = r->ref ? r->ref : ref_by_id(e->t, &r->id);
        bool hit = false, refused = false;
        int rc = finish_row(e, r, ref, &hit);
        if (db_data_error(rc)) {
                refused = true;
                rc = finish_unstorable(e, r, ref, &hit);
        }
        r->stale = !rc && !hit;
        e->b->stale += r->stale;
        bool plain = !r->left_work && !r->children && !r->reply;
        return rc || !hit || plain ? rc : finish_rest(e, r, ref, refused);
}

/* *ret_n: how many of the rows this dealt with. Those of neighbours that did not match are looked
 * at once more, singly. */
static int finish_some(struct ending *e, struct finish_row *rows, uint32_t n, uint32_t *ret_n)
{
        uint32_t together = e->token == rows->token && e->queue.n ? neighbours_count(rows, n) : 0;
        int rc = SQLITE_OK;
        if (together > 1) {
                rc = neighbours_finish(e->t, rows, together, e->queue);
        }
        *ret_n = together > 1 ? together : 1;
        for (uint32_t i = 0; i < *ret_n && !rc; i++) {
                rc = together > 1 && !rows[i].stale ? SQLITE_OK : finish_one(e, &rows[i]);
        }
        return rc;
}

static int retire(struct tx *t, const struct commit_no *no)
{
        struct binder b = bind_start(db_get(t->db, ST_NUMBER_RETIRE));
        bind_u64(&b, no->holder);
        bind_int(&b, no->writer);
        bind_u64(&b, no->n);
        return bind_run(&b);
}

int finish_run(struct tx *t, struct ledger_finish *b)
{
        struct ending e = {.t = t, .b = b};
        b->stale = 0;
        int rc = tx_number(t, &b->base.no);
        for (uint32_t i = 0, n; i < b->n && !rc; i += n) {
                rc = finish_some(&e, &b->rows[i], b->n - i, &n);
        }
        for (uint32_t i = 0; i < b->n_retire && !rc; i++) {
                rc = retire(t, &b->retire[i]);
        }
        return rc;
}
