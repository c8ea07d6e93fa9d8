/*
 * BULK and GROUPS: what a filter means, a page of it written or all of it counted by error.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

#define GROUPS_LOOKS 100000

/* --- filters ---------------------------------------------------------------------------------- */

/* In the order of the type job_filter, as ten parameters. */
static int put_filter(struct lane *n, struct work *w, const struct job_filter *f)
{
        struct params *p = &n->params;
        struct str tag = {0}, pattern = {0};
        char expression[2048];
        bool wild = is_pattern(f->type);
        if (f->tag.n) {
                tag = arena_printf(&w->b->arena, ",%.*s,", (int)f->tag.n, f->tag.p);
        }
        if (wild) {
                pattern = pattern_expression(f->type, expression, sizeof expression);
        }
        put_i32(p, f->states);
        put_blob(p, f->queue);
        put_blob(p, wild ? (struct str){0} : f->type);
        if (wild && pattern.p) {
                put_text(p, pattern);
        } else {
                put_null(p, OID_TEXT);
        }
        put_blob(p, tag);
        put_i16(p, (int16_t)f->error);
        put_u64(p, f->fingerprint);
        put_i64(p, f->since_us);
        put_i64(p, f->before_us);
        put_i64(p, f->ended_before_us);
        return (f->tag.n && !tag.p) || (wild && !pattern.p) ? -ENOMEM : 0;
}

/* --- BULK ------------------------------------------------------------------------------------- */

static int send_bulk(struct lane *n, struct work *w)
{
        struct ledger_bulk *b = LEDGER_AS(bulk, BULK, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        int r = put_filter(n, w, &b->filter);
        put_i32(p, (int32_t)b->kind);
        put_uuid(p, b->has_after, b->after.b);
        put_limit(p, b->limit > 1000 ? 1000 : b->limit);
        put_i64(p, b->again_since_us);
        return r ? r : work_send(n, w, ST_BULK);
}

static int take_bulk(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_bulk *b = LEDGER_AS(bulk, BULK, w->b);
        if (which == ST_BULK) {
                b->done = (uint32_t)cell_i32(r, 0, 0);
                b->asked = (uint32_t)cell_i32(r, 0, 1);
                b->again = (uint32_t)cell_i32(r, 0, 2);
                b->more = cell_bool(r, 0, 3);
                b->last = cell_null(r, 0, 4) ? b->after : cell_id(r, 0, 4);
                n->l->offered |= b->kind == BULK_REQUEUE && b->done > 0;
        }
        return 0;
}

const struct op op_bulk = {.send = send_bulk, .take = take_bulk};

/* --- GROUPS ----------------------------------------------------------------------------------- */

static uint32_t page_of(const struct ledger_groups *b)
{
        return b->limit < 1 ? 1 : b->limit > 1000 ? 1000 : b->limit;
}

static int send_groups(struct lane *n, struct work *w)
{
        struct ledger_groups *b = LEDGER_AS(groups, GROUPS, w->b);
        params_for(n);
        int r = put_filter(n, w, &b->filter);
        put_i32(&n->params, (int32_t)page_of(b) + 1);
        put_i32(&n->params, GROUPS_LOOKS);
        return r ? r : work_send(n, w, ST_GROUPS);
}

static int read_group(struct arena *a, const PGresult *r, int i, struct error_group *g)
{
        *g = (struct error_group){
            .queue = cell_copy(a, r, i, 0),
            .type = cell_copy(a, r, i, 1),
            .error = (enum error_class)cell_i16(r, i, 2),
            .fingerprint = (uint64_t)cell_i64(r, i, 3),
            .n = (uint64_t)cell_i64(r, i, 4),
            .first_us = cell_i64(r, i, 5),
            .last_us = cell_i64(r, i, 6),
            .sample = cell_id(r, i, 7),
            .reason = (enum job_reason)cell_i16(r, i, 8),
            .text = cell_copy(a, r, i, 9),
        };
        return g->queue.p && g->type.p && g->text.p ? 0 : -ENOMEM;
}

/* The first row tells only whether there were more dead jobs than were looked at. */
static int take_groups(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_groups *b = LEDGER_AS(groups, GROUPS, w->b);
        uint32_t rows = (uint32_t)PQntuples(r) - 1, page = page_of(b);
        (void)n;
        (void)which;
        b->n = 0;
        b->partial = cell_i64(r, 0, 4) != 0;
        b->more = rows > page;
        rows = b->more ? page : rows;
        b->groups = arena_alloc(&b->base.arena, (rows + 1) * sizeof *b->groups);
        int rc = b->groups ? 0 : -ENOMEM;
        for (; b->n < rows && !rc; b->n += !rc) {
                rc = read_group(&b->base.arena, r, (int)b->n + 1, &b->groups[b->n]);
        }
        return rc;
}

const struct op op_groups = {.send = send_groups, .take = take_groups};
