/*
 * SHOW, LIST, STATS: what people and the API read. Never on the writer's connection (but for
 * ":memory:", which has no other), and never a scan that grows with the number of finished jobs
 * when the state asked for has an index of its own.
 */
#include "core/pattern.h"
#include "ledgers/sqlite/life.h"

#define SORT_AT_MOST                                                                               \
        10000 /* rows of a state that are cheaper sorted than found by walking all ids */

/* Columns of ROW_COLUMNS, then those that SHOW adds. */
enum {
        ROW_SEQ,
        ROW_ID,
        ROW_QUEUE,
        ROW_TYPE,
        ROW_KEY_TEXT,
        ROW_TAGS,
        ROW_STATE,
        ROW_REASON,
        ROW_LANE,
        ROW_PRIORITY,
        ROW_STRIKES,
        ROW_ATTEMPT,
        ROW_MAX_ATTEMPTS,
        ROW_SNOOZES,
        ROW_GENERATION,
        ROW_CLAIM,
        ROW_TIMEOUT_MS,
        ROW_HOLDER,
        ROW_CANCEL_ASKED,
        ROW_CREATED,
        ROW_DUE,
        ROW_DEADLINE,
        ROW_STARTED,
        ROW_FINISHED,
        ROW_LIFE,
        ROW_CONTENT_TYPE,
        ROW_HEADERS,
        ROW_PAYLOAD,
        ROW_RESULT,
        ROW_RESULT_TYPE,
};

static enum lane_band band_of(int64_t lane)
{
        enum lane_band band = BAND_OFFERED;
        for (int64_t first, last; band < BAND_PARKED; band++) {
                lane_range(band, &first, &last);
                if (lane >= first && lane <= last) {
                        break;
                }
        }
        return band;
}

static struct attempt_row read_attempt(struct arena *a, sqlite3_stmt *s)
{
        return (struct attempt_row){
            .attempt = (uint16_t)sqlite3_column_int(s, 0),
            .generation = (uint32_t)sqlite3_column_int64(s, 1),
            .claim = (uint32_t)sqlite3_column_int64(s, 2),
            .error = (enum error_class)sqlite3_column_int(s, 3),
            .error_text = column_copy(a, s, 4),
            .build = column_copy(a, s, 5),
            .holder = (uint64_t)sqlite3_column_int64(s, 6),
            .worker = (uint16_t)sqlite3_column_int(s, 7),
            .worker_pid = sqlite3_column_int(s, 8),
            .started_us = sqlite3_column_int64(s, 9),
            .ended_us = sqlite3_column_int64(s, 10),
            .fingerprint = (uint64_t)sqlite3_column_int64(s, 11),
        };
}

static int read_last(struct db *db, struct arena *a, int64_t seq, struct job_row *r)
{
        struct binder q = bind_start(db_get(db, ST_ATTEMPT_LAST));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        if (rc == SQLITE_ROW) {
                r->last = read_attempt(a, q.s);
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_life(struct db *db, struct arena *a, int64_t seq, int bits, struct job_row *r)
{
        struct life life = {0};
        int rc = bits & LIFE_OWN ? life_read(db, a, seq, &life) : SQLITE_OK;
        r->policy = life.policy;
        r->retry_until_us = life.retry_until_us;
        r->heartbeat_ms = life.heartbeat_ms;
        return rc || !(bits & LIFE_SAVED) ? rc : save_show(db, seq, r);
}

static int read_row(struct db *db, struct arena *a, sqlite3_stmt *s, struct job_row *r)
{
        *r = (struct job_row){
            .id = column_id(s, ROW_ID),
            .queue = column_copy(a, s, ROW_QUEUE),
            .type = column_copy(a, s, ROW_TYPE),
            .key_text = column_copy(a, s, ROW_KEY_TEXT),
            .tags = column_copy(a, s, ROW_TAGS),
            .state = (enum job_state)sqlite3_column_int(s, ROW_STATE),
            .reason = (enum job_reason)sqlite3_column_int(s, ROW_REASON),
            .band = band_of(sqlite3_column_int64(s, ROW_LANE)),
            .priority = (uint8_t)sqlite3_column_int(s, ROW_PRIORITY),
            .strikes = (uint8_t)sqlite3_column_int(s, ROW_STRIKES),
            .attempt = (uint16_t)sqlite3_column_int(s, ROW_ATTEMPT),
            .max_attempts = (uint16_t)sqlite3_column_int(s, ROW_MAX_ATTEMPTS),
            .snoozes = (uint16_t)sqlite3_column_int(s, ROW_SNOOZES),
            .generation = (uint32_t)sqlite3_column_int64(s, ROW_GENERATION),
            .claim = (uint32_t)sqlite3_column_int64(s, ROW_CLAIM),
            .timeout_ms = (uint32_t)sqlite3_column_int64(s, ROW_TIMEOUT_MS),
            .holder = (uint64_t)sqlite3_column_int64(s, ROW_HOLDER),
            .cancel_asked = sqlite3_column_int(s, ROW_CANCEL_ASKED) != 0,
            .created_us = sqlite3_column_int64(s, ROW_CREATED),
            .due_us = sqlite3_column_int64(s, ROW_DUE),
            .deadline_us = sqlite3_column_int64(s, ROW_DEADLINE),
            .started_us = sqlite3_column_int64(s, ROW_STARTED),
            .finished_us = sqlite3_column_int64(s, ROW_FINISHED),
        };
        if (!r->queue.p || !r->type.p || !r->key_text.p || !r->tags.p) {
                return SQLITE_NOMEM;
        }
        int64_t seq = sqlite3_column_int64(s, ROW_SEQ);
        int life = (int)(sqlite3_column_int64(s, ROW_LIFE) & LIFE_BITS);
        int rc = life ? read_life(db, a, seq, life, r) : SQLITE_OK;
        return rc ? rc : read_last(db, a, seq, r);
}

/* --- SHOW ------------------------------------------------------------------------------------- */

static int read_attempts(struct db *db, struct arena *a, int64_t seq, struct job_row *r)
{
        struct binder q = bind_start(db_get(db, ST_ATTEMPTS));
        bind_int(&q, seq);
        uint32_t size = 0;
        int rc;
        while ((rc = sqlite3_step(q.s)) == SQLITE_ROW) {
                if (r->n_attempts == size) {
                        size = size ? size * 2 : 4;
                        struct attempt_row *rows = arena_alloc(a, size * sizeof *rows);
                        if (!rows) {
                                rc = SQLITE_NOMEM;
                                break;
                        }
                        if (r->n_attempts) {
                                memcpy(rows, r->attempts, r->n_attempts * sizeof *rows);
                        }
                        r->attempts = rows;
                }
                r->attempts[r->n_attempts++] = read_attempt(a, q.s);
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_blob(struct db *db, struct arena *a, int64_t seq, struct str *ret)
{
        struct binder q = bind_start(db_get(db, ST_BLOB_SHOW));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        if (rc == SQLITE_ROW) {
                *ret = column_copy(a, q.s, 0);
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int count_ahead(struct db *db, struct job_row *r, int64_t lane)
{
        int64_t first, last;
        lane_range(r->band, &first, &last);
        struct binder q = bind_start(db_get(db, ST_AHEAD));
        bind_text(&q, r->queue);
        bind_int(&q, first);
        bind_int(&q, lane);
        int rc = sqlite3_step(q.s);
        r->ahead = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(q.s, 0) : 0;
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int read_all(struct db *db, struct arena *a, sqlite3_stmt *s, struct job_row *r)
{
        int64_t seq = sqlite3_column_int64(s, ROW_SEQ);
        int rc = read_row(db, a, s, r);
        if (rc) {
                return rc;
        }
        r->content_type = column_copy(a, s, ROW_CONTENT_TYPE);
        r->headers = column_copy(a, s, ROW_HEADERS);
        r->payload = column_copy(a, s, ROW_PAYLOAD);
        r->result = column_copy(a, s, ROW_RESULT);
        r->result_type = column_copy(a, s, ROW_RESULT_TYPE);
        if (!r->content_type.p || !r->headers.p || !r->payload.p || !r->result.p ||
            !r->result_type.p) {
                return SQLITE_NOMEM;
        }
        rc = r->payload.n ? SQLITE_OK : read_blob(db, a, seq, &r->payload);
        rc = rc ? rc : read_attempts(db, a, seq, r);
        bool pending = r->state == STATE_PENDING;
        return rc || !pending ? rc : count_ahead(db, r, sqlite3_column_int64(s, ROW_LANE));
}

int show_run(struct db *db, struct ledger_show *b)
{
        struct binder q = bind_start(db_get(db, b->key.set ? ST_SHOW_KEY : ST_SHOW_ID));
        struct job_key key = key_within(b->queue, &b->key);
        if (b->key.set) {
                bind_key(&q, &key);
        } else {
                bind_id(&q, &b->id);
        }
        int rc = sqlite3_step(q.s);
        b->found = rc == SQLITE_ROW;
        if (b->found) {
                rc = read_all(db, &b->base.arena, q.s, &b->row);
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* --- LIST ------------------------------------------------------------------------------------- */

static enum statement state_index(int state)
{
        switch (state) {
        case STATE_PENDING: return ST_LIST_WAITING;
        case STATE_SCHEDULED:
        case STATE_RETRYING: return ST_LIST_DUE;
        case STATE_DEAD:
        case STATE_CANCELLED: return ST_LIST_PARKED;
        default: return ST_LIST;
        }
}

/* Few rows of that state: sort them. Many: the newest are found soon by walking the ids. */
static enum statement choose_list(struct db *db, int state)
{
        enum statement which = state_index(state);
        if (which == ST_LIST) {
                return which;
        }
        struct binder q = bind_start(db_get(db, ST_STATE_FEW));
        bind_int(&q, state);
        int64_t n = sqlite3_step(q.s) == SQLITE_ROW ? sqlite3_column_int64(q.s, 0) : 0;
        (void)sqlite3_reset(q.s);
        return n <= SORT_AT_MOST ? which : ST_LIST;
}

static bool is_pattern(struct str type)
{
        return type.n && (memchr(type.p, '*', type.n) || memchr(type.p, '>', type.n));
}

static void bind_filter(struct binder *q, struct str v)
{
        if (v.n) {
                bind_text(q, v);
        } else {
                bind_null(q);
        }
}

static struct binder bind_list(struct db *db, struct ledger_list *b, struct str needle)
{
        static const uint8_t last[17] = {255, 255, 255, 255, 255, 255, 255, 255, 255,
                                         255, 255, 255, 255, 255, 255, 255, 255};
        struct binder q = bind_start(db_get(db, choose_list(db, b->state)));
        if (b->has_before) {
                bind_id(&q, &b->before);
        } else {
                bind_bytes(&q, last, sizeof last);
        }
        bind_int(&q, b->state);
        bind_filter(&q, b->queue);
        bind_filter(&q, is_pattern(b->type) ? (struct str){0} : b->type);
        bind_blob(&q, needle);
        bind_int(&q, b->since_us);
        return q;
}

/* What no statement says of the filter. */
static int is_meant(struct db *db, const struct ledger_list *b, bool pattern, sqlite3_stmt *s,
                    bool *ret_yes)
{
        *ret_yes = !pattern || pattern_match(b->type, column_str(s, ROW_TYPE));
        if (!*ret_yes || (b->error == ERROR_NONE && !b->fingerprint)) {
                return SQLITE_OK;
        }
        struct last_error e;
        int rc = last_error(db, NULL, sqlite3_column_int64(s, ROW_SEQ), &e);
        *ret_yes = (b->error == ERROR_NONE || b->error == e.error) &&
                   (!b->fingerprint || b->fingerprint == e.fingerprint);
        return rc;
}

static int read_whole(struct db *db, struct arena *a, int64_t seq, struct job_row *r)
{
        struct binder q = bind_start(db_get(db, ST_WHOLE));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        if (rc == SQLITE_ROW) {
                r->content_type = column_copy(a, q.s, 0);
                r->headers = column_copy(a, q.s, 1);
                r->payload = column_copy(a, q.s, 2);
                r->result = column_copy(a, q.s, 3);
                r->result_type = column_copy(a, q.s, 4);
        }
        (void)sqlite3_reset(q.s);
        bool all =
            r->content_type.p && r->headers.p && r->payload.p && r->result.p && r->result_type.p;
        if (rc != SQLITE_ROW || !all) {
                return rc == SQLITE_DONE ? SQLITE_OK : all ? rc : SQLITE_NOMEM;
        }
        return r->payload.n ? SQLITE_OK : read_blob(db, a, seq, &r->payload);
}

static int list_row(struct db *db, struct ledger_list *b, sqlite3_stmt *s, struct job_row *r)
{
        int rc = read_row(db, &b->base.arena, s, r);
        if (rc || !b->whole) {
                return rc;
        }
        return read_whole(db, &b->base.arena, sqlite3_column_int64(s, ROW_SEQ), r);
}

int list_run(struct db *db, struct ledger_list *b)
{
        struct arena *a = &b->base.arena;
        struct str needle = {0};
        uint32_t limit = b->limit < 1 ? 1 : b->limit > 1000 ? 1000 : b->limit;
        b->n = 0;
        b->more = false;
        b->rows = arena_alloc(a, limit * sizeof *b->rows);
        if (b->tag.n) {
                needle = arena_printf(a, ",%.*s,", (int)b->tag.n, b->tag.p);
        }
        if (!b->rows || (b->tag.n && !needle.p)) {
                return SQLITE_NOMEM;
        }
        bool pattern = is_pattern(b->type);
        struct binder q = bind_list(db, b, needle);
        int rc = q.rc, step = SQLITE_ROW;
        while (!rc && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                bool meant;
                rc = is_meant(db, b, pattern, q.s, &meant);
                if (rc || !meant) {
                        continue;
                }
                if (b->n == limit) {
                        b->more = true;
                        break;
                }
                rc = list_row(db, b, q.s, &b->rows[b->n]);
                b->n += !rc;
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

/* --- STATS ------------------------------------------------------------------------------------ */

struct counting {
        struct db *db;
        struct ledger_stats *b;
        uint32_t size;
};

static struct queue_stat *stat_of(struct counting *k, struct str queue)
{
        struct ledger_stats *b = k->b;
        if (b->n && str_eq(b->queues[b->n - 1].queue, queue)) {
                return &b->queues[b->n - 1];
        }
        if (b->n == k->size) {
                k->size = k->size ? k->size * 2 : 16;
                struct queue_stat *q = arena_alloc(&b->base.arena, k->size * sizeof *q);
                if (!q) {
                        return NULL;
                }
                if (b->n) {
                        memcpy(q, b->queues, b->n * sizeof *q);
                }
                b->queues = q;
        }
        struct str copy = queue.n ? arena_str(&b->base.arena, queue) : (struct str){"", 0};
        b->queues[b->n] = (struct queue_stat){.queue = copy};
        return copy.p ? &b->queues[b->n++] : NULL;
}

static int read_counters(struct counting *k)
{
        sqlite3_stmt *s = db_get(k->db, ST_STATS);
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
                struct queue_stat *q = stat_of(k, column_str(s, 0));
                int state = sqlite3_column_int(s, 1);
                int64_t n = sqlite3_column_int64(s, 2);
                if (!q) {
                        rc = SQLITE_NOMEM;
                        break;
                }
                if (state >= 0 && state < JOB_STATE_COUNT) {
                        q->jobs[state] = n > 0 ? (uint64_t)n : 0;
                }
        }
        (void)sqlite3_reset(s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int64_t read_created(struct db *db, int64_t seq)
{
        struct binder q = bind_start(db_get(db, ST_CREATED));
        bind_int(&q, seq);
        int64_t created = sqlite3_step(q.s) == SQLITE_ROW ? sqlite3_column_int64(q.s, 0) : 0;
        (void)sqlite3_reset(q.s);
        return created;
}

static void keep_oldest(struct counting *k, struct queue_stat *q, int64_t seq)
{
        int64_t created = seq ? read_created(k->db, seq) : 0;
        if (created && (!q->oldest_pending_us || created < q->oldest_pending_us)) {
                q->oldest_pending_us = created;
        }
}

/* Within a priority, and within the broker's band, rows stand in the order of their seq: the first
 * is the oldest. */
static int look_at_lanes(struct counting *k, struct queue_stat *q, int64_t first, int64_t last)
{
        struct binder s = bind_start(db_get(k->db, ST_LANE_FIRST));
        bind_text(&s, q->queue);
        bind_int(&s, first);
        bind_int(&s, last);
        int rc = sqlite3_step(s.s);
        int64_t seq = rc == SQLITE_ROW ? sqlite3_column_int64(s.s, 0) : 0;
        (void)sqlite3_reset(s.s);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
                return rc;
        }
        keep_oldest(k, q, seq);
        return SQLITE_OK;
}

static int look_at_offered(struct counting *k, struct queue_stat *q)
{
        int64_t first, last, end;
        int rc = SQLITE_OK;
        lane_range(BAND_OFFERED, &first, &end);
        for (int p = PRIORITY_MAX; p >= 0 && !rc; p--, first = last + 1) {
                last = p ? lane_value(BAND_OFFERED, (uint8_t)(p - 1), 0) - 1 : end;
                rc = look_at_lanes(k, q, first, last);
        }
        return rc;
}

static int look_at_broker(struct counting *k, struct queue_stat *q)
{
        int64_t first, last;
        lane_range(BAND_BROKER, &first, &last);
        return look_at_lanes(k, q, first, last);
}

static int look_at_parked(struct counting *k, struct queue_stat *q)
{
        int64_t first, last;
        lane_range(BAND_PARKED, &first, &last);
        struct binder s = bind_start(db_get(k->db, ST_LANE_COUNT));
        bind_text(&s, q->queue);
        bind_int(&s, first);
        bind_int(&s, last);
        int rc = sqlite3_step(s.s);
        int64_t seq = 0;
        if (rc == SQLITE_ROW) {
                q->parked = (uint64_t)sqlite3_column_int64(s.s, 0);
                seq = sqlite3_column_int64(s.s, 1);
                rc = SQLITE_OK;
        }
        (void)sqlite3_reset(s.s);
        keep_oldest(k, q, seq);
        return rc;
}

int stats_run(struct db *db, struct ledger_stats *b)
{
        struct counting k = {.db = db, .b = b};
        b->n = 0;
        int rc = read_counters(&k);
        for (uint32_t i = 0; i < b->n && !rc; i++) {
                struct queue_stat *q = &b->queues[i];
                if (!q->jobs[STATE_PENDING]) {
                        continue;
                }
                rc = look_at_offered(&k, q);
                rc = rc ? rc : look_at_broker(&k, q);
                rc = rc ? rc : look_at_parked(&k, q);
        }
        return rc;
}
