/*
 * Unique keys: a row of `keys` of kind 2 says which job took one, in which states that job blocks
 * and until when at least. It stays when its holder has ended (a requeue holds it again) and goes
 * with the holder's row, or after its period.
 */
#include "ledgers/sqlite/life.h"

struct holding {
        struct job_id id;
        uint8_t states;
        int64_t until;
        struct seen job;
};

bool unique_counts(const struct submit_row *r)
{
        return r->unique.set && r->state != STATE_DEAD && r->state != STATE_CANCELLED;
}

static int find_holder(struct tx *t, const struct submit_row *r, struct holding *ret,
                       bool *ret_found)
{
        struct binder b = bind_start(db_get(t->db, ST_UNIQUE_SHOW));
        bind_bytes(&b, r->unique.hash, sizeof r->unique.hash);
        int rc = sqlite3_step(b.s);
        *ret_found = rc == SQLITE_ROW;
        if (*ret_found) {
                ret->id = column_id(b.s, 0);
                ret->states = (uint8_t)sqlite3_column_int(b.s, 1);
                ret->until = sqlite3_column_int64(b.s, 2);
        }
        (void)sqlite3_reset(b.s);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
                return rc;
        }
        return *ret_found ? seen_find(t, &ret->id, &ret->job) : SQLITE_OK;
}

/* --- replace ---------------------------------------------------------------------------------- */

/* Its own key goes on to stand for what it came with: whoever repeats that means this job. */
static int keep_first(struct tx *t, int64_t seq)
{
        uint8_t hash[16];
        int rc = payload_hash(t, seq, hash);
        if (rc) {
                return rc;
        }
        struct binder b = bind_start(db_get(t->db, ST_LIFE_CAME_WITH));
        bind_bytes(&b, hash, sizeof hash);
        bind_int(&b, seq);
        return bind_run(&b);
}

static int replace_payload(struct tx *t, const struct submit_row *r, int64_t seq)
{
        bool inside = r->payload.n <= PAYLOAD_INLINE_MAX;
        struct binder b = bind_start(db_get(t->db, ST_REPLACE_PAYLOAD));
        bind_blob(&b, inside ? r->payload : (struct str){0});
        bind_int(&b, r->payload.n);
        bind_blob(&b, r->content_type);
        bind_blob(&b, r->headers);
        bind_int(&b, seq);
        int rc = bind_run(&b);
        if (rc) {
                return rc;
        }
        struct binder p = bind_start(db_get(t->db, inside ? ST_BLOB_DELETE : ST_BLOB_PUT));
        bind_int(&p, seq);
        if (!inside) {
                bind_bytes(&p, r->payload.p, r->payload.n);
        }
        return bind_run(&p);
}

static int set_due(struct tx *t, const struct submit_row *r, enum statement which, int64_t seq)
{
        struct binder b = bind_start(db_get(t->db, which));
        bind_int(&b, r->after_us ? t->now_us + r->after_us : r->at_us);
        bind_int(&b, seq);
        return bind_run(&b);
}

/* A pending holder stays where it waits: its doorbell may be on its way. */
static int replace_time(struct tx *t, const struct submit_row *r, struct seen *j)
{
        enum job_state from = j->state;
        if (r->state == STATE_SCHEDULED && from == STATE_PENDING) {
                int rc = set_due(t, r, ST_REPLACE_TO_SCHEDULED, j->seq);
                rc = rc ? rc : seen_moved(t, j, STATE_SCHEDULED);
                j->state = STATE_SCHEDULED;
                return rc;
        }
        if (r->state == STATE_SCHEDULED) {
                return set_due(t, r, ST_REPLACE_DUE, j->seq);
        }
        if (from == STATE_PENDING) {
                return SQLITE_OK;
        }
        int rc = seen_offer(t, j, REASON_NONE, false);
        j->state = STATE_PENDING;
        return rc;
}

static int replace_holder(struct tx *t, struct submit_row *r, struct seen *j)
{
        int rc = keep_first(t, j->seq);
        rc = rc ? rc : replace_payload(t, r, j->seq);
        rc = rc ? rc : replace_time(t, r, j);
        r->result = SUBMIT_REPLACED;
        r->existing_state = j->state;
        return rc;
}

/* --- meet and take ---------------------------------------------------------------------------- */

int unique_meet(struct tx *t, struct submit_row *r, bool *ret_met)
{
        struct holding h = {0};
        bool found;
        int rc = find_holder(t, r, &h, &found);
        bool blocks = found && h.job.found && (h.states >> h.job.state & 1);
        *ret_met = blocks || (found && h.until > t->now_us);
        if (rc || !*ret_met) {
                return rc;
        }
        bool known; /* the very row again, or its key, says so rather than that it is held */
        rc = row_meet(t, r, &known);
        if (rc || known) {
                return rc;
        }
        bool waits = h.job.found && !state_terminal(h.job.state) && h.job.state != STATE_RUNNING;
        r->result = SUBMIT_HELD;
        r->existing = h.id;
        r->existing_state = h.job.found ? h.job.state : STATE_NONE;
        return r->unique.replace && waits ? replace_holder(t, r, &h.job) : SQLITE_OK;
}

int unique_take(struct tx *t, const struct submit_row *r)
{
        struct binder b = bind_start(db_get(t->db, ST_UNIQUE_TAKE));
        bind_bytes(&b, r->unique.hash, sizeof r->unique.hash);
        bind_id(&b, &r->id);
        bind_int(&b, r->unique.for_us > 0 ? t->now_us + r->unique.for_us : 0);
        bind_int(&b, r->unique.states);
        return bind_run(&b);
}
