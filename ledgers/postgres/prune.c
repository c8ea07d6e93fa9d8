/*
 * PRUNE: one page of the walk over what has ended. The walk is one holder's at a time, by a lease
 * in the table `duties`: it takes many transactions, and an advisory lock lasts for one.
 */
#include "ledgers/postgres/internal.h"

static void put_rules(struct params *p, const struct ledger_prune *b)
{
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < b->n_rules; i++) {
                put_bytes(p, b->rules[i].queue);
        }
        array_end(p);
        array_begin(p, OID_INT2);
        for (uint32_t i = 0; i < b->n_rules; i++) {
                put_i16(p, (int16_t)b->rules[i].state);
        }
        array_end(p);
        array_begin(p, OID_INT8);
        for (uint32_t i = 0; i < b->n_rules; i++) {
                put_i64(p, b->rules[i].keep_us);
        }
        array_end(p);
}

static int send_prune(struct lane *n, struct work *w)
{
        struct ledger_prune *b = LEDGER_AS(prune, PRUNE, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_rules(p, b);
        put_uuid(p, b->has_after, b->after.b);
        put_limit(p, b->limit);
        return work_send(n, w, ST_PRUNE);
}

static int take_prune(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_prune *b = LEDGER_AS(prune, PRUNE, w->b);
        (void)n;
        if (which == ST_PRUNE) {
                b->pruned = (uint32_t)cell_i32(r, 0, 0);
                b->last = cell_null(r, 0, 1) ? b->after : cell_id(r, 0, 1);
                b->done = cell_bool(r, 0, 2);
                b->end = cell_bool(r, 0, 3);
        }
        return 0;
}

const struct op op_prune = {.send = send_prune, .take = take_prune};
