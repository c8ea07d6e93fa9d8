/*
 * How many rows of a queue wait or run: read from the counters, which are exact, since deltas are
 * written with what they count. A batch with bounds counts once per queue and goes on from there.
 * Discarded: a count over the index, which grows with the queue.
 */
#include "ledgers/sqlite/life.h"

int tx_count(struct tx *t, struct str queue, enum job_state state, int64_t *ret_n)
{
        struct binder b = bind_start(db_get(t->db, ST_COUNTED));
        bind_text(&b, queue);
        bind_int(&b, state);
        int rc = sqlite3_step(b.s);
        *ret_n = rc == SQLITE_ROW ? sqlite3_column_int64(b.s, 0) : 0;
        (void)sqlite3_reset(b.s);
        for (uint32_t i = 0; i < t->n_deltas; i++) {
                if (str_eq(t->deltas[i].queue, queue)) {
                        *ret_n += t->deltas[i].n[state];
                }
        }
        return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int limits_start(struct tx *t, struct limits *l, const struct queue_bound *bounds, uint32_t n)
{
        l->bounds = bounds;
        l->n = n;
        l->waiting = n ? arena_alloc(&t->scratch, n * sizeof *l->waiting) : NULL;
        if (n && !l->waiting) {
                return SQLITE_NOMEM;
        }
        t->limits = n ? l : NULL;
        limits_forget(t);
        return SQLITE_OK;
}

void limits_forget(struct tx *t)
{
        for (uint32_t i = 0; t->limits && i < t->limits->n; i++) {
                t->limits->waiting[i] = -1;
        }
}

static bool is_waiting(enum job_state state)
{
        return state == STATE_PENDING || state == STATE_SCHEDULED || state == STATE_RETRYING;
}

/* n: the queue has no bound, or the row does not wait. */
static uint32_t bound_of(const struct limits *l, const struct submit_row *r)
{
        uint32_t i = is_waiting(r->state) ? 0 : l->n;
        while (i < l->n && !str_eq(l->bounds[i].queue, r->queue)) {
                i++;
        }
        return i;
}

static int count_waiting(struct tx *t, struct str queue, int64_t *ret_n)
{
        static const enum job_state states[] = {STATE_PENDING, STATE_SCHEDULED, STATE_RETRYING};
        int rc = SQLITE_OK;
        *ret_n = 0;
        for (size_t i = 0; i < ARRAY_LEN(states) && !rc; i++) {
                int64_t n;
                rc = tx_count(t, queue, states[i], &n);
                *ret_n += n;
        }
        return rc;
}

/* --- the oldest goes -------------------------------------------------------------------------- */

static int oldest_between(struct tx *t, struct str queue, int64_t first, int64_t last,
                          bool in_order, int64_t *best)
{
        struct binder b = bind_start(db_get(t->db, in_order ? ST_LANE_FIRST : ST_LANE_OLDEST));
        bind_text(&b, queue);
        bind_int(&b, first);
        bind_int(&b, last);
        int rc = sqlite3_step(b.s);
        int64_t seq = rc == SQLITE_ROW ? sqlite3_column_int64(b.s, 0) : 0;
        (void)sqlite3_reset(b.s);
        if (seq && (!*best || seq < *best)) {
                *best = seq;
        }
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Within a priority, and within the broker's band, the first is the oldest; parked rows stand by
 * their type. 0: nothing is pending. */
static int find_oldest(struct tx *t, struct str queue, int64_t *ret_seq)
{
        int64_t first, last, end;
        int rc = SQLITE_OK;
        *ret_seq = 0;
        lane_range(BAND_OFFERED, &first, &end);
        for (int p = PRIORITY_MAX; p >= 0 && !rc; p--, first = last + 1) {
                last = p ? lane_value(BAND_OFFERED, (uint8_t)(p - 1), 0) - 1 : end;
                rc = oldest_between(t, queue, first, last, true, ret_seq);
        }
        lane_range(BAND_BROKER, &first, &last);
        rc = rc ? rc : oldest_between(t, queue, first, last, true, ret_seq);
        lane_range(BAND_PARKED, &first, &last);
        return rc ? rc : oldest_between(t, queue, first, last, false, ret_seq);
}

static int drop_oldest(struct tx *t, struct str queue, bool *ret_dropped)
{
        int64_t seq;
        int rc = find_oldest(t, queue, &seq);
        *ret_dropped = !rc && seq;
        if (rc || !seq) {
                return rc;
        }
        struct binder b = bind_start(db_get(t->db, ST_DROP));
        bind_int(&b, t->now_us);
        bind_int(&b, seq);
        rc = bind_run(&b);
        rc = rc ? rc : tx_delta(t, queue, STATE_PENDING, -1);
        return rc ? rc : tx_delta(t, queue, STATE_CANCELLED, 1);
}

/* --- a row meets its bound -------------------------------------------------------------------- */

int limits_meet(struct tx *t, struct submit_row *r, bool *ret_met)
{
        struct limits *l = t->limits;
        uint32_t i = bound_of(l, r);
        if (i == l->n) {
                return SQLITE_OK;
        }
        const struct queue_bound *bound = &l->bounds[i];
        int rc = l->waiting[i] < 0 ? count_waiting(t, r->queue, &l->waiting[i]) : SQLITE_OK;
        if (rc || l->waiting[i] < bound->max) {
                return rc;
        }
        rc = row_meet(t, r, ret_met); /* what is there needs no room */
        if (rc || *ret_met) {
                return rc;
        }
        bool dropped = false;
        rc = bound->drop_oldest ? drop_oldest(t, r->queue, &dropped) : SQLITE_OK;
        l->waiting[i] -= dropped;
        if (!rc && !dropped && !l->letters) {
                r->result = SUBMIT_FULL;
                *ret_met = true;
        }
        return rc;
}

void limits_note(struct tx *t, const struct submit_row *r)
{
        uint32_t i = bound_of(t->limits, r);
        if (i < t->limits->n && t->limits->waiting[i] >= 0) {
                t->limits->waiting[i]++;
        }
}
