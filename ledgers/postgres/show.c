/*
 * SHOW, LIST, STATS, INBOX: what people, the API and the engine read, on a connection of their own
 * so that a long list delays no beat.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

/* Columns of ROW_COLUMNS, then those of ATTEMPT_COLUMNS, then what SHOW adds. */
enum {
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
        ROW_POLICY,
        ROW_RETRY_UNTIL,
        ROW_HEARTBEAT_MS,
        ROW_DONE,
        ROW_TOTAL,
        ROW_TOLD,
        ROW_LAST,
        ROW_CONTENT_TYPE = ROW_LAST + 12,
        ROW_HEADERS,
        ROW_PAYLOAD,
        ROW_RESULT,
        ROW_RESULT_TYPE,
        ROW_CHECKPOINT_SIZE,
        ROW_AHEAD,
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

/* No try: all null, all zero. */
static struct attempt_row read_attempt(struct arena *a, const PGresult *r, int i, int first)
{
        return (struct attempt_row){
            .attempt = (uint16_t)cell_i32(r, i, first),
            .generation = (uint32_t)cell_i32(r, i, first + 1),
            .claim = (uint32_t)cell_i32(r, i, first + 2),
            .error = (enum error_class)cell_i16(r, i, first + 3),
            .error_text = cell_copy(a, r, i, first + 4),
            .build = cell_copy(a, r, i, first + 5),
            .holder = (uint64_t)cell_i64(r, i, first + 6),
            .worker = (uint16_t)cell_i32(r, i, first + 7),
            .worker_pid = cell_i32(r, i, first + 8),
            .started_us = cell_i64(r, i, first + 9),
            .ended_us = cell_i64(r, i, first + 10),
            .fingerprint = (uint64_t)cell_i64(r, i, first + 11),
        };
}

static int read_row(struct arena *a, const PGresult *r, int i, struct job_row *row)
{
        *row = (struct job_row){
            .id = cell_id(r, i, ROW_ID),
            .queue = cell_copy(a, r, i, ROW_QUEUE),
            .type = cell_copy(a, r, i, ROW_TYPE),
            .key_text = cell_copy(a, r, i, ROW_KEY_TEXT),
            .tags = cell_copy(a, r, i, ROW_TAGS),
            .state = (enum job_state)cell_i16(r, i, ROW_STATE),
            .reason = (enum job_reason)cell_i16(r, i, ROW_REASON),
            .band = band_of(cell_i64(r, i, ROW_LANE)),
            .priority = (uint8_t)cell_i16(r, i, ROW_PRIORITY),
            .strikes = (uint8_t)cell_i16(r, i, ROW_STRIKES),
            .attempt = (uint16_t)cell_i32(r, i, ROW_ATTEMPT),
            .max_attempts = (uint16_t)cell_i32(r, i, ROW_MAX_ATTEMPTS),
            .snoozes = (uint16_t)cell_i32(r, i, ROW_SNOOZES),
            .generation = (uint32_t)cell_i32(r, i, ROW_GENERATION),
            .claim = (uint32_t)cell_i32(r, i, ROW_CLAIM),
            .timeout_ms = (uint32_t)cell_i64(r, i, ROW_TIMEOUT_MS),
            .holder = (uint64_t)cell_i64(r, i, ROW_HOLDER),
            .cancel_asked = cell_bool(r, i, ROW_CANCEL_ASKED),
            .created_us = cell_i64(r, i, ROW_CREATED),
            .due_us = cell_i64(r, i, ROW_DUE),
            .deadline_us = cell_i64(r, i, ROW_DEADLINE),
            .started_us = cell_i64(r, i, ROW_STARTED),
            .finished_us = cell_i64(r, i, ROW_FINISHED),
            .policy = cell_copy(a, r, i, ROW_POLICY),
            .retry_until_us = cell_i64(r, i, ROW_RETRY_UNTIL),
            .heartbeat_ms = (uint32_t)cell_i64(r, i, ROW_HEARTBEAT_MS),
            .has_progress = !cell_null(r, i, ROW_DONE),
            .done = cell_f64(r, i, ROW_DONE),
            .total = cell_f64(r, i, ROW_TOTAL),
            .progress_us = cell_i64(r, i, ROW_TOLD),
            .last = read_attempt(a, r, i, ROW_LAST),
        };
        bool out = !row->queue.p || !row->type.p || !row->key_text.p || !row->tags.p ||
                   !row->last.error_text.p || !row->last.build.p || !row->policy.p;
        return out ? -ENOMEM : 0;
}

/* --- SHOW ------------------------------------------------------------------------------------- */

static void put_name(struct params *p, const struct ledger_show *b)
{
        if (b->key.set) {
                put_bytes(p, b->queue);
                put_uuid(p, true, b->key.b);
        } else {
                put_id(p, &b->id);
        }
}

static int send_show(struct lane *n, struct work *w)
{
        struct ledger_show *b = LEDGER_AS(show, SHOW, w->b);
        b->found = false;
        put_name(params_for(n), b);
        int r = work_send(n, w, b->key.set ? ST_SHOW_KEY : ST_SHOW_ID);
        put_name(params_for(n), b);
        return r ? r : work_send(n, w, b->key.set ? ST_ATTEMPTS_KEY : ST_ATTEMPTS_ID);
}

/* With what is left out of a list. */
static int read_whole(struct arena *a, const PGresult *r, int i, struct job_row *row)
{
        if (read_row(a, r, i, row) < 0) {
                return -ENOMEM;
        }
        row->content_type = cell_copy(a, r, i, ROW_CONTENT_TYPE);
        row->headers = cell_copy(a, r, i, ROW_HEADERS);
        row->payload = cell_copy(a, r, i, ROW_PAYLOAD);
        row->result = cell_copy(a, r, i, ROW_RESULT);
        row->result_type = cell_copy(a, r, i, ROW_RESULT_TYPE);
        bool out = !row->content_type.p || !row->headers.p || !row->payload.p || !row->result.p ||
                   !row->result_type.p;
        return out ? -ENOMEM : 0;
}

static int take_job(struct ledger_show *b, const PGresult *r)
{
        b->found = PQntuples(r) == 1;
        if (!b->found) {
                return 0;
        }
        int rc = read_whole(&b->base.arena, r, 0, &b->row);
        b->row.checkpoint_size = (uint32_t)cell_i32(r, 0, ROW_CHECKPOINT_SIZE);
        b->row.ahead = (uint64_t)cell_i64(r, 0, ROW_AHEAD);
        return rc;
}

static int take_show(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_show *b = LEDGER_AS(show, SHOW, w->b);
        struct arena *a = &b->base.arena;
        (void)n;
        if (which == ST_SHOW_ID || which == ST_SHOW_KEY) {
                return take_job(b, r);
        }
        uint32_t rows = (uint32_t)PQntuples(r);
        b->row.attempts = arena_alloc(a, (rows + 1) * sizeof *b->row.attempts);
        for (uint32_t i = 0; b->row.attempts && i < rows && b->found; i++) {
                b->row.attempts[i] = read_attempt(a, r, (int)i, 0);
                b->row.n_attempts = i + 1;
        }
        return b->row.attempts ? 0 : -ENOMEM;
}

const struct op op_show = {.send = send_show, .take = take_show};

/* --- LIST ------------------------------------------------------------------------------------- */

static uint32_t page_of(const struct ledger_list *b)
{
        return b->limit < 1 ? 1 : b->limit > 1000 ? 1000 : b->limit;
}

static int send_list(struct lane *n, struct work *w)
{
        struct ledger_list *b = LEDGER_AS(list, LIST, w->b);
        struct params *p = params_for(n);
        struct str needle = {0}, pattern = {0};
        char expression[2048];
        if (b->tag.n) {
                needle = arena_printf(&b->base.arena, ",%.*s,", (int)b->tag.n, b->tag.p);
        }
        if (is_pattern(b->type)) {
                pattern = pattern_expression(b->type, expression, sizeof expression);
        }
        if ((b->tag.n && !needle.p) || (is_pattern(b->type) && !pattern.p)) {
                return -ENOMEM;
        }
        put_uuid(p, b->has_before, b->before.b);
        put_i32(p, b->state);
        put_blob(p, b->queue);
        put_blob(p, pattern.p ? (struct str){0} : b->type);
        if (pattern.p) {
                put_text(p, pattern);
        } else {
                put_null(p, OID_TEXT);
        }
        put_blob(p, needle);
        put_i64(p, b->since_us);
        put_i32(p, (int32_t)page_of(b) + 1);
        put_i16(p, (int16_t)b->error);
        put_u64(p, b->fingerprint);
        return work_send(n, w, b->whole ? ST_LIST_WHOLE : ST_LIST);
}

static int take_list(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_list *b = LEDGER_AS(list, LIST, w->b);
        uint32_t rows = (uint32_t)PQntuples(r), page = page_of(b);
        (void)n;
        (void)which;
        b->n = 0;
        b->more = rows > page;
        rows = b->more ? page : rows;
        b->rows = arena_alloc(&b->base.arena, (rows + 1) * sizeof *b->rows);
        int rc = b->rows ? 0 : -ENOMEM;
        for (; b->n < rows && !rc; b->n += !rc) {
                rc = (b->whole ? read_whole : read_row)(&b->base.arena, r, (int)b->n,
                                                        &b->rows[b->n]);
        }
        return rc;
}

const struct op op_list = {.send = send_list, .take = take_list};

/* --- STATS ------------------------------------------------------------------------------------ */

static int send_stats(struct lane *n, struct work *w)
{
        params_for(n);
        return work_send(n, w, ST_STATS);
}

static int take_stats(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_stats *b = LEDGER_AS(stats, STATS, w->b);
        uint32_t rows = (uint32_t)PQntuples(r);
        (void)n;
        (void)which;
        b->queues = arena_alloc(&b->base.arena, (rows + 1) * sizeof *b->queues);
        for (b->n = 0; b->queues && b->n < rows; b->n++) {
                struct queue_stat *q = &b->queues[b->n];
                struct cells jobs = cell_array(r, (int)b->n, 1, 8);
                *q = (struct queue_stat){
                    .queue = cell_copy(&b->base.arena, r, (int)b->n, 0),
                    .parked = (uint64_t)cell_i64(r, (int)b->n, 2),
                    .oldest_pending_us = cell_i64(r, (int)b->n, 3),
                };
                for (uint32_t s = 0; s < JOB_STATE_COUNT && s < jobs.n; s++) {
                        q->jobs[s] = (uint64_t)cells_int(&jobs, s);
                }
                if (!q->queue.p) {
                        return -ENOMEM;
                }
        }
        return b->queues ? 0 : -ENOMEM;
}

const struct op op_stats = {.send = send_stats, .take = take_stats};

/* --- INBOX ------------------------------------------------------------------------------------ */

static int send_inbox(struct lane *n, struct work *w)
{
        put_i64(params_for(n), (int64_t)LEDGER_AS(inbox, INBOX, w->b)->limit + 1);
        return work_send(n, w, ST_INBOX);
}

static int read_letter(struct arena *a, const PGresult *r, int i, struct inbox_letter *m)
{
        *m = (struct inbox_letter){
            .no = cell_i64(r, i, 0),
            .queue = cell_copy(a, r, i, 1),
            .type = cell_copy(a, r, i, 2),
            .key = cell_copy(a, r, i, 3),
            .content_type = cell_copy(a, r, i, 4),
            .headers = cell_copy(a, r, i, 5),
            .payload = cell_copy(a, r, i, 6),
            .priority = cell_null(r, i, 7) ? -1 : cell_i32(r, i, 7),
            .max_attempts = (uint32_t)cell_i32(r, i, 8),
            .timeout_ms = (uint32_t)cell_i64(r, i, 9),
            .at_us = cell_i64(r, i, 10),
            .deadline_us = cell_i64(r, i, 11),
        };
        bool out = !m->queue.p || !m->type.p || !m->key.p || !m->content_type.p || !m->headers.p ||
                   !m->payload.p;
        return out ? -ENOMEM : 0;
}

static int take_inbox(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_inbox *b = LEDGER_AS(inbox, INBOX, w->b);
        uint32_t rows = (uint32_t)PQntuples(r);
        (void)n;
        (void)which;
        b->n = 0;
        b->more = rows > b->limit;
        rows = b->more ? b->limit : rows;
        b->letters = arena_alloc(&b->base.arena, (rows + 1) * sizeof *b->letters);
        int rc = b->letters ? 0 : -ENOMEM;
        for (; b->n < rows && !rc; b->n += !rc) {
                rc = read_letter(&b->base.arena, r, (int)b->n, &b->letters[b->n]);
        }
        return rc;
}

const struct op op_inbox = {.send = send_inbox, .take = take_inbox};
