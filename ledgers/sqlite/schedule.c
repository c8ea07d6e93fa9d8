/*
 * Schedules: SCHEDULES, SCHEDULE and TICK. The ledger keeps them and lets one of many nodes win;
 * what a schedule means is core's. A revision is drawn for each change from one counter, so that a
 * schedule that was dropped and made anew never has one that somebody read before.
 */
#include "ledgers/sqlite/life.h"

#include <stdio.h>

/* Columns of SCHEDULE_COLUMNS. */
enum {
        SC_NAME,
        SC_SPEC,
        SC_ZONE,
        SC_CATCH_UP,
        SC_OVERLAP,
        SC_CATCH_MAX,
        SC_PAUSED,
        SC_FROM_CONFIG,
        SC_CREATED,
        SC_NEXT,
        SC_LAST,
        SC_BUFFERED,
        SC_LAST_JOB,
        SC_REVISION,
        SC_QUEUE,
        SC_TYPE,
        SC_PRIORITY,
        SC_MAX_ATTEMPTS,
        SC_TIMEOUT_MS,
        SC_HEARTBEAT_MS,
        SC_DEADLINE,
        SC_RETRY_UNTIL,
        SC_CONTENT_TYPE,
        SC_HEADERS,
        SC_PAYLOAD,
        SC_TAGS,
        SC_POLICY,
        SC_UNIQUE_HASH,
        SC_UNIQUE_STATES,
        SC_UNIQUE_REPLACE,
        SC_UNIQUE_FOR,
        SC_UNIQUE_OF_QUEUE,
};

/* --- a row out -------------------------------------------------------------------------------- */

static struct unique_key read_unique(sqlite3_stmt *s)
{
        struct unique_key u = {
            .states = (uint8_t)sqlite3_column_int(s, SC_UNIQUE_STATES),
            .replace = sqlite3_column_int(s, SC_UNIQUE_REPLACE) != 0,
            .for_us = sqlite3_column_int64(s, SC_UNIQUE_FOR),
            .of_queue = sqlite3_column_int(s, SC_UNIQUE_OF_QUEUE) != 0,
        };
        struct str hash = column_str(s, SC_UNIQUE_HASH);
        u.set = hash.n == sizeof u.hash;
        if (u.set) {
                memcpy(u.hash, hash.p, sizeof u.hash);
        }
        return u;
}

static int read_job(struct arena *a, sqlite3_stmt *s, struct submit_row *r)
{
        *r = (struct submit_row){
            .queue = column_copy(a, s, SC_QUEUE),
            .type = column_copy(a, s, SC_TYPE),
            .priority = (uint8_t)sqlite3_column_int(s, SC_PRIORITY),
            .max_attempts = (uint16_t)sqlite3_column_int(s, SC_MAX_ATTEMPTS),
            .timeout_ms = (uint32_t)sqlite3_column_int64(s, SC_TIMEOUT_MS),
            .heartbeat_ms = (uint32_t)sqlite3_column_int64(s, SC_HEARTBEAT_MS),
            .deadline_us = sqlite3_column_int64(s, SC_DEADLINE),
            .retry_until_us = sqlite3_column_int64(s, SC_RETRY_UNTIL),
            .content_type = column_copy(a, s, SC_CONTENT_TYPE),
            .headers = column_copy(a, s, SC_HEADERS),
            .payload = column_copy(a, s, SC_PAYLOAD),
            .tags = column_copy(a, s, SC_TAGS),
            .policy = column_copy(a, s, SC_POLICY),
            .unique = read_unique(s),
        };
        bool all = r->queue.p && r->type.p && r->content_type.p && r->headers.p && r->payload.p &&
                   r->tags.p && r->policy.p;
        return all ? SQLITE_OK : SQLITE_NOMEM;
}

static int read_schedule(struct arena *a, sqlite3_stmt *s, struct schedule_row *r)
{
        *r = (struct schedule_row){
            .name = column_copy(a, s, SC_NAME),
            .spec = column_copy(a, s, SC_SPEC),
            .zone = column_copy(a, s, SC_ZONE),
            .catch_up = (enum catch_up)sqlite3_column_int(s, SC_CATCH_UP),
            .overlap = (enum overlap)sqlite3_column_int(s, SC_OVERLAP),
            .catch_max = (uint32_t)sqlite3_column_int64(s, SC_CATCH_MAX),
            .paused = sqlite3_column_int(s, SC_PAUSED) != 0,
            .from_config = sqlite3_column_int(s, SC_FROM_CONFIG) != 0,
            .created_us = sqlite3_column_int64(s, SC_CREATED),
            .next_us = sqlite3_column_int64(s, SC_NEXT),
            .last_us = sqlite3_column_int64(s, SC_LAST),
            .buffered_us = sqlite3_column_int64(s, SC_BUFFERED),
            .last_job = column_id(s, SC_LAST_JOB),
            .revision = (uint64_t)sqlite3_column_int64(s, SC_REVISION),
        };
        bool all = r->name.p && r->spec.p && r->zone.p;
        return all ? read_job(a, s, &r->job) : SQLITE_NOMEM;
}

static int read_state(struct db *db, const struct job_id *id, enum job_state *ret_state)
{
        struct binder q = bind_start(db_get(db, ST_STATE_OF));
        bind_id(&q, id);
        int rc = sqlite3_step(q.s);
        *ret_state = rc == SQLITE_ROW ? (enum job_state)sqlite3_column_int(q.s, 0) : STATE_NONE;
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* --- SCHEDULES -------------------------------------------------------------------------------- */

int schedules_revision(struct db *db, uint64_t *ret_revision)
{
        sqlite3_stmt *s = db_get(db, ST_SCHEDULES_REVISION);
        int rc = sqlite3_step(s);
        *ret_revision = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
        (void)sqlite3_reset(s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static struct binder bind_schedules(struct db *db, const struct ledger_schedules *b, uint32_t limit)
{
        bool one = b->name.n > 0;
        struct str first = one ? b->name : b->after;
        struct binder q = bind_start(db_get(db, one ? ST_SCHEDULE_SHOW : ST_SCHEDULE_LIST));
        bind_bytes(&q, first.p, first.n);
        if (!one) {
                bind_int(&q, (int64_t)limit + 1);
        }
        return q;
}

/* The revision is read first: what changes meanwhile makes a later one, and is read again. */
int schedules_run(struct db *db, struct ledger_schedules *b)
{
        uint32_t limit = b->limit < 1 ? 1 : b->limit > 1000 ? 1000 : b->limit;
        int rc = schedules_revision(db, &b->revision), step = SQLITE_ROW;
        b->n = 0;
        b->more = false;
        b->rows = arena_alloc(&b->base.arena, limit * sizeof *b->rows);
        if (rc || !b->rows) {
                return rc ? rc : SQLITE_NOMEM;
        }
        struct binder q = bind_schedules(db, b, limit);
        while (!rc && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                if (b->n == limit) {
                        b->more = true;
                        break;
                }
                struct schedule_row *r = &b->rows[b->n];
                rc = read_schedule(&b->base.arena, q.s, r);
                rc = rc ? rc : read_state(db, &r->last_job, &r->last_state);
                b->n += !rc;
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

/* --- SCHEDULE --------------------------------------------------------------------------------- */

/* What a put keeps of the one that it replaces. */
struct standing {
        bool found;
        uint64_t revision;
        int64_t created_us, last_us, buffered_us;
        struct job_id last_job;
};

static int find_standing(struct tx *t, struct str name, struct standing *ret)
{
        struct binder q = bind_start(db_get(t->db, ST_SCHEDULE_SHOW));
        bind_bytes(&q, name.p, name.n);
        int rc = sqlite3_step(q.s);
        *ret = (struct standing){.found = rc == SQLITE_ROW};
        if (ret->found) {
                ret->revision = (uint64_t)sqlite3_column_int64(q.s, SC_REVISION);
                ret->created_us = sqlite3_column_int64(q.s, SC_CREATED);
                ret->last_us = sqlite3_column_int64(q.s, SC_LAST);
                ret->buffered_us = sqlite3_column_int64(q.s, SC_BUFFERED);
                ret->last_job = column_id(q.s, SC_LAST_JOB);
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int next_revision(struct tx *t, uint64_t *ret_revision)
{
        sqlite3_stmt *s = db_get(t->db, ST_SCHEDULES_NEXT);
        int rc = sqlite3_step(s);
        uint64_t revision = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
        if (rc == SQLITE_ROW) {
                rc = sqlite3_step(s); /* to its end: it writes */
        }
        (void)sqlite3_reset(s);
        *ret_revision = revision;
        return rc == SQLITE_DONE && revision ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

static void bind_times(struct binder *b, const struct schedule_row *r)
{
        bind_bytes(b, r->name.p, r->name.n);
        bind_bytes(b, r->spec.p, r->spec.n);
        bind_bytes(b, r->zone.p, r->zone.n);
        bind_int(b, r->catch_up);
        bind_int(b, r->overlap);
        bind_int(b, r->catch_max);
        bind_int(b, r->paused);
        bind_int(b, r->from_config);
        bind_int(b, r->created_us);
        bind_int(b, r->next_us);
        bind_int(b, r->last_us);
        bind_int(b, r->buffered_us);
        bind_id(b, &r->last_job);
        bind_u64(b, r->revision);
}

static int put_schedule(struct tx *t, const struct schedule_row *r)
{
        const struct submit_row *j = &r->job;
        struct str hash = {(const char *)j->unique.hash, sizeof j->unique.hash};
        struct binder b = bind_start(db_get(t->db, ST_SCHEDULE_PUT));
        bind_times(&b, r);
        bind_text(&b, j->queue);
        bind_text(&b, j->type);
        bind_int(&b, j->priority);
        bind_int(&b, j->max_attempts);
        bind_int(&b, j->timeout_ms);
        bind_int(&b, j->heartbeat_ms);
        bind_int(&b, j->deadline_us);
        bind_int(&b, j->retry_until_us);
        bind_blob(&b, j->content_type);
        bind_blob(&b, j->headers);
        bind_blob(&b, j->payload);
        bind_blob(&b, j->tags);
        bind_blob(&b, j->policy);
        bind_blob(&b, j->unique.set ? hash : (struct str){0});
        bind_int(&b, j->unique.states);
        bind_int(&b, j->unique.replace);
        bind_int(&b, j->unique.for_us);
        bind_int(&b, j->unique.of_queue);
        return bind_run(&b);
}

static int drop_schedule(struct tx *t, struct str name)
{
        struct binder b = bind_start(db_get(t->db, ST_SCHEDULE_DELETE));
        bind_bytes(&b, name.p, name.n);
        return bind_run(&b);
}

static bool fits(struct ledger_schedule *b)
{
        const struct schedule_row *r = &b->row;
        if (r->name.n < 1 || r->name.n > SCHEDULE_NAME_MAX) {
                snprintf(b->base.note, sizeof b->base.note,
                         "the name of a schedule has 1 to %d bytes, not %u", SCHEDULE_NAME_MAX,
                         r->name.n);
                return false;
        }
        if (r->spec.n > SCHEDULE_SPEC_MAX || r->zone.n > SCHEDULE_SPEC_MAX) {
                snprintf(b->base.note, sizeof b->base.note,
                         "the times and the zone of a schedule have %d bytes at most",
                         SCHEDULE_SPEC_MAX);
                return false;
        }
        return true;
}

static void keep_standing(const struct tx *t, struct schedule_row *r, const struct standing *s)
{
        r->created_us = s->found ? s->created_us : t->now_us;
        if (s->found) {
                r->last_us = s->last_us;
                r->buffered_us = s->buffered_us;
                r->last_job = s->last_job;
        }
}

static int show_standing(struct tx *t, struct ledger_schedule *b)
{
        struct binder q = bind_start(db_get(t->db, ST_SCHEDULE_SHOW));
        bind_bytes(&q, b->row.name.p, b->row.name.n);
        int rc = sqlite3_step(q.s);
        rc = rc == SQLITE_ROW ? read_schedule(&b->base.arena, q.s, &b->stands) : rc;
        (void)sqlite3_reset(q.s);
        return rc ? rc : read_state(t->db, &b->stands.last_job, &b->stands.last_state);
}

int schedule_run(struct tx *t, struct ledger_schedule *b)
{
        struct standing s;
        if (!fits(b)) {
                return TX_REFUSED;
        }
        int rc = find_standing(t, b->row.name, &s);
        b->found = s.found;
        b->row.revision = s.revision;
        b->done = b->expected == SCHEDULE_ANY || b->expected == s.revision;
        if (!rc && s.found && !b->done) {
                return show_standing(t, b);
        }
        if (rc || !b->done || (b->drop && !s.found)) {
                return rc;
        }
        rc = tx_number(t, &b->base.no);
        rc = rc ? rc : next_revision(t, &b->row.revision);
        if (rc || b->drop) {
                return rc ? rc : drop_schedule(t, b->row.name);
        }
        keep_standing(t, &b->row, &s);
        rc = put_schedule(t, &b->row);
        return rc ? rc : read_state(t->db, &b->row.last_job, &b->row.last_state);
}

/* --- TICK ------------------------------------------------------------------------------------- */

static int cancel_older(struct tx *t, struct ledger_tick *b)
{
        struct seen j;
        int rc = seen_find(t, &b->cancel, &j);
        b->cancelled = CANCEL_NOT_FOUND;
        if (rc || !j.found) {
                return rc;
        }
        if (state_terminal(j.state)) {
                b->cancelled = CANCEL_TERMINAL;
                return SQLITE_OK;
        }
        bool running = j.state == STATE_RUNNING;
        b->cancelled = running ? CANCEL_ASKED : CANCEL_DONE;
        b->cancel_holder = running ? j.holder : 0;
        if (!running) {
                return seen_cancel(t, &j, REASON_OVERLAPPED);
        }
        return j.cancel_asked ? SQLITE_OK : seen_ask(t, &j, REASON_OVERLAPPED);
}

/* The last that was made, or stood there already. NULL: none. */
static const struct job_id *last_made(const struct submission *s)
{
        for (uint32_t i = s ? s->n : 0; i > 0; i--) {
                const struct submit_row *r = &s->rows[i - 1];
                if (r->result == SUBMIT_CREATED) {
                        return &r->id;
                }
                if (r->result == SUBMIT_EXISTS) {
                        return &r->existing;
                }
        }
        return NULL;
}

static int move_on(struct tx *t, const struct ledger_tick *b)
{
        const struct job_id *last = last_made(b->jobs);
        struct binder u = bind_start(db_get(t->db, ST_SCHEDULE_TICK));
        bind_int(&u, b->next_us);
        bind_int(&u, b->last_us);
        bind_int(&u, b->buffered_us);
        if (last) {
                bind_id(&u, last);
        } else {
                bind_null(&u);
        }
        bind_u64(&u, b->now_revision);
        bind_bytes(&u, b->name.p, b->name.n);
        return bind_run(&u);
}

int tick_run(struct tx *t, struct ledger_tick *b)
{
        struct standing s;
        int rc = find_standing(t, b->name, &s);
        b->now_revision = s.revision;
        b->cancel_holder = 0;
        b->done = s.found && s.revision == b->revision;
        if (rc || !b->done) {
                return rc;
        }
        rc = tx_number(t, &b->base.no);
        rc = rc ? rc : next_revision(t, &b->now_revision);
        rc = rc || !b->has_cancel ? rc : cancel_older(t, b);
        rc = rc || !b->jobs ? rc : submission_run(t, b->jobs);
        return rc ? rc : move_on(t, b);
}
