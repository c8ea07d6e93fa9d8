/*
 * SCHEDULE, SCHEDULES, TICK. All changes of schedules go one after the other, behind the row of
 * `schedule_clock`, whose number is what nodes watch and what each change stamps its row with.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>
#include <stdio.h>

/* In the order of SCHEDULE_COLUMNS. */
enum {
        AT_NAME,
        AT_SPEC,
        AT_ZONE,
        AT_CATCH_UP,
        AT_OVERLAP,
        AT_CATCH_MAX,
        AT_PAUSED,
        AT_FROM_CONFIG,
        AT_CREATED,
        AT_NEXT,
        AT_LAST,
        AT_BUFFERED,
        AT_LAST_JOB,
        AT_REVISION,
        AT_LAST_STATE,
        AT_QUEUE,
        AT_TYPE,
        AT_PRIORITY,
        AT_MAX_ATTEMPTS,
        AT_TIMEOUT_MS,
        AT_DEADLINE,
        AT_CONTENT_TYPE,
        AT_HEADERS,
        AT_PAYLOAD,
        AT_TAGS,
        AT_POLICY,
        AT_RETRY_UNTIL,
        AT_HEARTBEAT_MS,
        AT_HASH,
        AT_STATES,
        AT_REPLACES,
        AT_PERIOD,
        AT_OF_QUEUE,
};

/* --- rows ------------------------------------------------------------------------------------- */

static int read_what(struct arena *a, const PGresult *r, int i, struct submit_row *j)
{
        *j = (struct submit_row){
            .queue = cell_copy(a, r, i, AT_QUEUE),
            .type = cell_copy(a, r, i, AT_TYPE),
            .state = STATE_PENDING,
            .priority = (uint8_t)cell_i16(r, i, AT_PRIORITY),
            .max_attempts = (uint16_t)cell_i32(r, i, AT_MAX_ATTEMPTS),
            .timeout_ms = (uint32_t)cell_i64(r, i, AT_TIMEOUT_MS),
            .deadline_us = cell_i64(r, i, AT_DEADLINE),
            .content_type = cell_copy(a, r, i, AT_CONTENT_TYPE),
            .headers = cell_copy(a, r, i, AT_HEADERS),
            .payload = cell_copy(a, r, i, AT_PAYLOAD),
            .tags = cell_copy(a, r, i, AT_TAGS),
            .policy = cell_copy(a, r, i, AT_POLICY),
            .retry_until_us = cell_i64(r, i, AT_RETRY_UNTIL),
            .heartbeat_ms = (uint32_t)cell_i64(r, i, AT_HEARTBEAT_MS),
            .unique = {.set = !cell_null(r, i, AT_HASH),
                       .of_queue = cell_bool(r, i, AT_OF_QUEUE),
                       .states = (uint8_t)cell_i16(r, i, AT_STATES),
                       .replace = cell_bool(r, i, AT_REPLACES),
                       .for_us = cell_i64(r, i, AT_PERIOD)},
        };
        struct job_id hash = cell_id(r, i, AT_HASH);
        memcpy(j->unique.hash, hash.b, sizeof j->unique.hash);
        bool out = !j->queue.p || !j->type.p || !j->content_type.p || !j->headers.p ||
                   !j->payload.p || !j->tags.p || !j->policy.p;
        return out ? -ENOMEM : 0;
}

static int read_schedule(struct arena *a, const PGresult *r, int i, struct schedule_row *s)
{
        *s = (struct schedule_row){
            .name = cell_copy(a, r, i, AT_NAME),
            .spec = cell_copy(a, r, i, AT_SPEC),
            .zone = cell_copy(a, r, i, AT_ZONE),
            .catch_up = (enum catch_up)cell_i16(r, i, AT_CATCH_UP),
            .overlap = (enum overlap)cell_i16(r, i, AT_OVERLAP),
            .catch_max = (uint32_t)cell_i64(r, i, AT_CATCH_MAX),
            .paused = cell_bool(r, i, AT_PAUSED),
            .from_config = cell_bool(r, i, AT_FROM_CONFIG),
            .created_us = cell_i64(r, i, AT_CREATED),
            .next_us = cell_i64(r, i, AT_NEXT),
            .last_us = cell_i64(r, i, AT_LAST),
            .buffered_us = cell_i64(r, i, AT_BUFFERED),
            .last_job = cell_id(r, i, AT_LAST_JOB),
            .revision = (uint64_t)cell_i64(r, i, AT_REVISION),
            .last_state = cell_null(r, i, AT_LAST_STATE)
                              ? STATE_NONE
                              : (enum job_state)cell_i16(r, i, AT_LAST_STATE),
        };
        bool out = !s->name.p || !s->spec.p || !s->zone.p;
        return out ? -ENOMEM : read_what(a, r, i, &s->job);
}

/* --- SCHEDULES -------------------------------------------------------------------------------- */

static uint32_t page_of(const struct ledger_schedules *b)
{
        return b->limit < 1 ? 1 : b->limit > 1000 ? 1000 : b->limit;
}

/* The number first: what is read after it may be newer, and is read again then. */
static int send_schedules(struct lane *n, struct work *w)
{
        struct ledger_schedules *b = LEDGER_AS(schedules, SCHEDULES, w->b);
        params_for(n);
        int r = work_send(n, w, ST_SCHEDULES_NUMBER);
        struct params *p = params_for(n);
        if (b->name.n) {
                put_bytes(p, b->name);
                return r ? r : work_send(n, w, ST_SCHEDULE_ONE);
        }
        put_bytes(p, b->after);
        put_i64(p, (int64_t)page_of(b) + 1);
        return r ? r : work_send(n, w, ST_SCHEDULES_PAGE);
}

static int take_schedules(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_schedules *b = LEDGER_AS(schedules, SCHEDULES, w->b);
        (void)n;
        if (which == ST_SCHEDULES_NUMBER) {
                b->revision = (uint64_t)cell_i64(r, 0, 0);
                return 0;
        }
        uint32_t rows = (uint32_t)PQntuples(r), page = page_of(b);
        b->n = 0;
        b->more = rows > page;
        rows = b->more ? page : rows;
        b->rows = arena_alloc(&b->base.arena, (rows + 1) * sizeof *b->rows);
        int rc = b->rows ? 0 : -ENOMEM;
        for (; b->n < rows && !rc; b->n += !rc) {
                rc = read_schedule(&b->base.arena, r, (int)b->n, &b->rows[b->n]);
        }
        return rc;
}

const struct op op_schedules = {.send = send_schedules, .take = take_schedules};

/* --- SCHEDULE --------------------------------------------------------------------------------- */

static bool is_set(const struct job_id *id)
{
        static const struct job_id none;
        return !job_id_eq(id, &none);
}

static void put_schedule(struct lane *n, const struct ledger_schedule *b)
{
        struct params *p = &n->params;
        const struct schedule_row *s = &b->row;
        struct submit_row job = s->job;
        put_bytes(p, s->spec);
        put_bytes(p, s->zone);
        put_i16(p, (int16_t)s->catch_up);
        put_i16(p, (int16_t)s->overlap);
        put_i64(p, s->catch_max);
        put_bool(p, s->paused);
        put_bool(p, s->from_config);
        put_i64(p, s->next_us);
        put_i64(p, s->last_us);
        put_i64(p, s->buffered_us);
        put_uuid(p, is_set(&s->last_job), s->last_job.b);
        job.key = (struct job_key){0}; /* the tick's own */
        job.key_text = job.error_text = (struct str){0};
        array_begin(p, n->l->oid_new_row);
        put_row(n, &job, 0, false);
        array_end(p);
}

static int send_schedule(struct lane *n, struct work *w)
{
        struct ledger_schedule *b = LEDGER_AS(schedule, SCHEDULE, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_u64(p, b->expected); /* SCHEDULE_ANY is -1 there */
        put_bytes(p, b->row.name);
        if (!b->drop) {
                put_schedule(n, b);
        }
        int r = work_send(n, w, b->drop ? ST_SCHEDULE_DROP : ST_SCHEDULE_PUT);
        put_bytes(params_for(n), b->row.name);
        return r ? r : work_send(n, w, ST_SCHEDULE_ONE);
}

static int take_schedule(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_schedule *b = LEDGER_AS(schedule, SCHEDULE, w->b);
        (void)n;
        if (which == ST_SCHEDULE_PUT || which == ST_SCHEDULE_DROP) {
                b->done = cell_bool(r, 0, 0);
                b->found = cell_bool(r, 0, 1);
        } else if (which == ST_SCHEDULE_ONE && b->done && !b->drop) {
                return read_schedule(&b->base.arena, r, 0, &b->row);
        } else if (which == ST_SCHEDULE_ONE) {
                b->row.revision = PQntuples(r) ? (uint64_t)cell_i64(r, 0, AT_REVISION) : 0;
                return PQntuples(r) && !b->done ? read_schedule(&b->base.arena, r, 0, &b->stands)
                                                : 0;
        }
        return 0;
}

const struct op op_schedule = {.send = send_schedule, .take = take_schedule};

/* --- TICK ------------------------------------------------------------------------------------- */

static int send_tick(struct lane *n, struct work *w)
{
        struct ledger_tick *b = LEDGER_AS(tick, TICK, w->b);
        struct unit unit = {.s = b->jobs};
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_bytes(p, b->name);
        put_u64(p, b->revision);
        put_i64(p, b->next_us);
        put_i64(p, b->last_us);
        put_i64(p, b->buffered_us);
        put_uuid(p, b->has_cancel, b->cancel.b);
        put_bool(p, w->careful);
        int r = put_units(n, w, &unit, b->jobs && b->jobs->n ? 1 : 0, false);
        return r ? r : work_send(n, w, ST_TICK);
}

static void take_head(struct ledger_tick *b, const PGresult *r, int i)
{
        b->done = cell_bool(r, i, 6);
        b->now_revision = (uint64_t)cell_i64(r, i, 7);
        if (!cell_null(r, i, 8)) {
                b->cancelled = cancel_result((enum job_state)cell_i16(r, i, 8));
                b->cancel_holder = (uint64_t)cell_i64(r, i, 9);
        }
}

static int take_tick(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_tick *b = LEDGER_AS(tick, TICK, w->b);
        for (int i = 0; which == ST_TICK && i < PQntuples(r); i++) {
                struct submit_row *row = NULL;
                if (cell_null(r, i, 0)) {
                        take_head(b, r, i);
                } else if (cell_i16(r, i, 0) != SAID_OUTBOX) {
                        row = said_row(w, r, i);
                        if (!row) {
                                return -EBADMSG;
                        }
                        said_apply(row, r, i);
                        n->l->offered = true;
                }
        }
        return 0;
}

const struct op op_tick = {.send = send_tick, .take = take_tick, .can_care = true};
