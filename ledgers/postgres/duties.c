/*
 * The duties that move rows: DUE, UNPARK, FOLD, TIDE; and FLOOR. Each is one function of the
 * schema, which writes the batch's number only when it writes anything else.
 */
#include "ledgers/postgres/internal.h"

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
