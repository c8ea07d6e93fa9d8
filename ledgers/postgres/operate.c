/*
 * CANCEL, REQUEUE, and the duties: DUE, UNPARK, FOLD, RELAY, RUNG, TIDE, FLOOR. Each is one
 * function of the schema, which writes the batch's number only when it writes anything else.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

/* --- CANCEL ----------------------------------------------------------------------------------- */

static int send_cancel(struct lane *n, struct work *w)
{
        struct ledger_cancel *b = LEDGER_AS(cancel, CANCEL, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_id(p, &b->id);
        int r = work_send(n, w, ST_CANCEL);
        return r ? r : send_alive(n, w);
}

static int take_cancel(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_cancel *b = LEDGER_AS(cancel, CANCEL, w->b);
        (void)n;
        if (which != ST_CANCEL) {
                return 0;
        }
        b->state = (enum job_state)cell_i16(r, 0, 0);
        b->holder = (uint64_t)cell_i64(r, 0, 1);
        switch (b->state) {
        case STATE_NONE: b->result = CANCEL_NOT_FOUND; break;
        case STATE_RUNNING: b->result = CANCEL_ASKED; break;
        default: b->result = state_terminal(b->state) ? CANCEL_TERMINAL : CANCEL_DONE; break;
        }
        return 0;
}

const struct op op_cancel = {.send = send_cancel, .take = take_cancel};

/* --- REQUEUE ---------------------------------------------------------------------------------- */

static int send_requeue(struct lane *n, struct work *w)
{
        struct ledger_requeue *b = LEDGER_AS(requeue, REQUEUE, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_id(p, &b->id);
        int r = work_send(n, w, ST_REQUEUE);
        return r ? r : send_alive(n, w);
}

static enum requeue_result judge_requeue(enum job_state was)
{
        switch (was) {
        case STATE_NONE: return REQUEUE_NOT_FOUND;
        case STATE_DEAD:
        case STATE_CANCELLED: return REQUEUE_DONE;
        case STATE_SCHEDULED:
        case STATE_RETRYING: return REQUEUE_NOW;
        case STATE_PENDING: return REQUEUE_UNCHANGED;
        default: return REQUEUE_REFUSED;
        }
}

static int take_requeue(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_requeue *b = LEDGER_AS(requeue, REQUEUE, w->b);
        (void)n;
        if (which == ST_REQUEUE) {
                b->state = (enum job_state)cell_i16(r, 0, 0);
                b->result = judge_requeue(b->state);
        }
        return 0;
}

static int end_requeue(struct lane *n, struct work *w)
{
        enum requeue_result result = LEDGER_AS(requeue, REQUEUE, w->b)->result;
        n->l->offered |= result == REQUEUE_DONE || result == REQUEUE_NOW;
        return 0;
}

const struct op op_requeue = {.send = send_requeue, .take = take_requeue, .end = end_requeue};

/* --- DUE, UNPARK, FOLD ------------------------------------------------------------------------ */

static int send_due(struct lane *n, struct work *w)
{
        struct ledger_due *b = LEDGER_AS(due, DUE, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_limit(p, b->limit);
        return work_send(n, w, ST_DUE);
}

static int take_due(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_due *b = LEDGER_AS(due, DUE, w->b);
        if (which == ST_DUE) {
                b->moved = (uint32_t)cell_i32(r, 0, 0);
                b->next_us = cell_i64(r, 0, 1);
                n->l->offered |= b->moved > 0;
        }
        return 0;
}

const struct op op_due = {.send = send_due, .take = take_due};

static int send_unpark(struct lane *n, struct work *w)
{
        struct ledger_unpark *b = LEDGER_AS(unpark, UNPARK, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_limit(p, b->limit);
        put_roster(p, b->roster);
        return work_send(n, w, ST_UNPARK);
}

static int take_unpark(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_unpark *b = LEDGER_AS(unpark, UNPARK, w->b);
        if (which == ST_UNPARK) {
                b->moved = (uint32_t)cell_i32(r, 0, 0);
                n->l->offered |= b->moved > 0;
        }
        return 0;
}

const struct op op_unpark = {.send = send_unpark, .take = take_unpark};

static int send_fold(struct lane *n, struct work *w)
{
        put_number(params_for(n), &w->b->no);
        return work_send(n, w, ST_FOLD);
}

const struct op op_fold = {.send = send_fold};

/* --- RELAY, RUNG ------------------------------------------------------------------------------ */

static int send_relay(struct lane *n, struct work *w)
{
        struct ledger_relay *b = LEDGER_AS(relay, RELAY, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_i64(p, b->older_us);
        put_limit(p, b->limit);
        return work_send(n, w, ST_RELAY);
}

static int read_box(struct arena *a, const PGresult *r, int i, struct outbox_row *box)
{
        struct cells ids = cell_array(r, i, 2, 16), seqs = cell_array(r, i, 3, 8);
        *box = (struct outbox_row){.no = cell_i64(r, i, 0), .queue = cell_copy(a, r, i, 1)};
        box->bells = arena_alloc(a, (ids.n + 1) * sizeof *box->bells);
        for (; box->bells && box->n < ids.n && box->n < seqs.n; box->n++) {
                box->bells[box->n] =
                    (struct doorbell){cells_id(&ids, box->n), cells_int(&seqs, box->n)};
        }
        return box->bells && box->queue.p ? 0 : -ENOMEM;
}

static int take_relay(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_relay *b = LEDGER_AS(relay, RELAY, w->b);
        (void)n;
        if (which != ST_RELAY) {
                return 0;
        }
        b->n = 0;
        b->rows = arena_alloc(&b->base.arena, ((size_t)PQntuples(r) + 1) * sizeof *b->rows);
        int rc = b->rows ? 0 : -ENOMEM;
        for (int i = 0; i < PQntuples(r) && !rc; i++) {
                rc = read_box(&b->base.arena, r, i, &b->rows[b->n]);
                b->n += !rc;
        }
        return rc;
}

const struct op op_relay = {.send = send_relay, .take = take_relay};

static int send_rung(struct lane *n, struct work *w)
{
        struct ledger_rung *b = LEDGER_AS(rung, RUNG, w->b);
        int r = send_number(n, w);
        struct params *p = params_for(n);
        array_begin(p, OID_INT8);
        for (uint32_t i = 0; i < b->n; i++) {
                put_i64(p, b->rows[i]);
        }
        array_end(p);
        return r ? r : work_send(n, w, ST_RUNG);
}

const struct op op_rung = {.send = send_rung};

/* --- TIDE ------------------------------------------------------------------------------------- */

static int send_tide(struct lane *n, struct work *w)
{
        struct ledger_tide *b = LEDGER_AS(tide, TIDE, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_bytes(p, b->queue);
        put_i64(p, b->below);
        put_i64(p, b->older_us);
        put_limit(p, b->limit);
        return work_send(n, w, ST_TIDE);
}

static int take_tide(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_tide *b = LEDGER_AS(tide, TIDE, w->b);
        if (which == ST_TIDE) {
                b->moved = (uint32_t)cell_i32(r, 0, 0);
                b->more = cell_bool(r, 0, 1);
                b->waiting = cell_bool(r, 0, 2);
                b->last = cell_i64(r, 0, 3);
                n->l->offered |= b->moved > 0;
        }
        return 0;
}

const struct op op_tide = {.send = send_tide, .take = take_tide};

/* --- FLOOR ------------------------------------------------------------------------------------ */

static int send_floor(struct lane *n, struct work *w)
{
        struct ledger_floor *b = LEDGER_AS(floor, FLOOR, w->b);
        struct params *p = params_for(n);
        put_bytes(p, b->history);
        put_i64(p, b->floor);
        return work_send(n, w, ST_FLOOR);
}

static int take_floor(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        (void)n;
        (void)which;
        LEDGER_AS(floor, FLOOR, w->b)->floor = cell_i64(r, 0, 0);
        return 0;
}

const struct op op_floor = {.send = send_floor, .take = take_floor};
