/*
 * REGISTER, BEAT, BURY, RESOLVE, NODES: who is there, and which transactions happened. A database
 * that went back in time (a fail-over to a replica that lagged) has lost this holder's row, or its
 * numbers: then the next beat is FENCED, and the node registers anew.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

/* --- REGISTER --------------------------------------------------------------------------------- */

static int send_register(struct lane *n, struct work *w)
{
        struct ledger_register *b = LEDGER_AS(register, REGISTER, w->b);
        int r = send_number(n, w);
        struct params *p = params_for(n);
        put_u64(p, b->base.no.holder);
        put_blob(p, b->host);
        put_i32(p, b->pid);
        put_blob(p, b->version);
        return r ? r : work_send(n, w, ST_REGISTER);
}

const struct op op_register = {.send = send_register};

/* --- BEAT ------------------------------------------------------------------------------------- */

static int send_tells(struct lane *n, struct work *w, const struct ledger_beat *b)
{
        struct params *p = params_for(n);
        put_u64(p, b->base.no.holder);
        put_blob(p, b->serves);
        put_blob(p, b->queues);
        put_i64(p, b->workers);
        return work_send(n, w, ST_TELLS);
}

static int send_beat(struct lane *n, struct work *w)
{
        struct ledger_beat *b = LEDGER_AS(beat, BEAT, w->b);
        b->n_nodes = b->n_cancels = b->n_controls = 0;
        int r = send_number(n, w);
        struct params *p = params_for(n);
        put_u64(p, b->base.no.holder);
        put_u64(p, b->base.no.n);
        put_u64(p, b->known);
        r = r ? r : work_send(n, w, ST_BEAT);
        r = r || !b->tells ? r : send_tells(n, w, b);
        params_for(n);
        r = r ? r : work_send(n, w, ST_NODES);
        p = params_for(n);
        put_u64(p, b->base.no.holder);
        put_u64(p, b->base.no.n);
        r = r ? r : work_send(n, w, ST_CANCELS);
        params_for(n);
        return r ? r : work_send(n, w, ST_STANDING);
}

static int take_nodes(struct ledger_beat *b, const PGresult *r)
{
        struct arena *a = &b->base.arena;
        uint32_t n = (uint32_t)PQntuples(r);
        b->nodes = arena_alloc(a, (n + 1) * sizeof *b->nodes);
        for (uint32_t i = 0; b->nodes && i < n; i++) {
                b->nodes[i] = (struct node_seen){
                    .holder = (uint64_t)cell_i64(r, (int)i, 0),
                    .beat = (uint64_t)cell_i64(r, (int)i, 1),
                    .dead = cell_bool(r, (int)i, 2),
                    .host = cell_copy(a, r, (int)i, 3),
                    .pid = cell_i32(r, (int)i, 4),
                };
                if (!b->nodes[i].host.p) {
                        return -ENOMEM;
                }
                b->n_nodes = i + 1;
        }
        return b->nodes ? 0 : -ENOMEM;
}

static int take_cancels(struct ledger_beat *b, const PGresult *r)
{
        uint32_t n = (uint32_t)PQntuples(r);
        b->cancels = arena_alloc(&b->base.arena, (n + 1) * sizeof *b->cancels);
        for (uint32_t i = 0; b->cancels && i < n; i++) {
                b->cancels[b->n_cancels++] = cell_id(r, (int)i, 0);
        }
        return b->cancels ? 0 : -ENOMEM;
}

/* Whether letters wait, the schedules' number, whether there are keys of pruned jobs: in every row,
 * of which there is one at least; and the controls. */
static int take_standing(struct lane *n, struct ledger_beat *b, const PGresult *r)
{
        uint32_t rows = (uint32_t)PQntuples(r);
        b->inbox = cell_bool(r, 0, 0);
        b->schedules = (uint64_t)cell_i64(r, 0, 1);
        n->l->old_keys = cell_bool(r, 0, 2);
        b->controls = arena_alloc(&b->base.arena, (rows + 1) * sizeof *b->controls);
        for (uint32_t i = 0; b->controls && i < rows && !cell_null(r, (int)i, 3); i++) {
                b->controls[i] = (struct queue_control){
                    .queue = cell_copy(&b->base.arena, r, (int)i, 3),
                    .paused = cell_bool(r, (int)i, 4),
                    .concurrency = cell_i32(r, (int)i, 5),
                    .global = cell_i32(r, (int)i, 6),
                };
                if (!b->controls[i].queue.p) {
                        return -ENOMEM;
                }
                b->n_controls = i + 1;
        }
        return b->controls ? 0 : -ENOMEM;
}

static int take_beat(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_beat *b = LEDGER_AS(beat, BEAT, w->b);
        switch (which) {
        case ST_NODES: return take_nodes(b, r);
        case ST_CANCELS: return take_cancels(b, r);
        case ST_STANDING: return take_standing(n, b, r);
        default: return 0;
        }
}

/* Nothing cheap tells who wrote: a look at an empty lane costs less than asking would. */
static int end_beat(struct lane *n, struct work *w)
{
        (void)n;
        LEDGER_AS(beat, BEAT, w->b)->changed = true;
        return 0;
}

const struct op op_beat = {.send = send_beat, .take = take_beat, .end = end_beat};

/* --- BURY ------------------------------------------------------------------------------------- */

static int send_bury(struct lane *n, struct work *w)
{
        struct ledger_bury *b = LEDGER_AS(bury, BURY, w->b);
        struct params *p = params_for(n);
        b->done = false;
        put_number(p, &b->base.no);
        put_u64(p, b->victim);
        put_u64(p, b->seen_beat);
        put_bool(p, b->any_beat);
        put_bool(p, b->forget);
        return work_send(n, w, ST_BURY);
}

static int take_bury(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        (void)n;
        if (which == ST_BURY) {
                LEDGER_AS(bury, BURY, w->b)->done = cell_bool(r, 0, 0);
        }
        return 0;
}

const struct op op_bury = {.send = send_bury, .take = take_bury};

/* --- RESOLVE ---------------------------------------------------------------------------------- */

/* Waits, as long as locks may, for a transaction that is still under way under this number. */
static int send_resolve(struct lane *n, struct work *w)
{
        struct ledger_resolve *b = LEDGER_AS(resolve, RESOLVE, w->b);
        b->happened = b->forgotten = false;
        put_number(params_for(n), &b->of);
        int r = work_send(n, w, ST_VOID);
        put_number(params_for(n), &b->of);
        return r ? r : work_send(n, w, ST_FATE);
}

static int take_resolve(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_resolve *b = LEDGER_AS(resolve, RESOLVE, w->b);
        (void)n;
        if (which == ST_FATE && PQntuples(r) == 1) {
                b->happened = !cell_bool(r, 0, 0);
                b->forgotten = !b->happened && !cell_bool(r, 0, 1);
        }
        return 0;
}

static int end_resolve(struct lane *n, struct work *w)
{
        const struct commit_no *of = &LEDGER_AS(resolve, RESOLVE, w->b)->of;
        struct trim *t = of->writer < LEDGER_LANES ? &n->l->lanes[of->writer].trim : NULL;
        if (t && t->holder == of->holder && of->n >= t->held_last) {
                t->held_first = t->held_last = 0;
        }
        return 0;
}

const struct op op_resolve = {.send = send_resolve, .take = take_resolve, .end = end_resolve};

/* --- NODES ------------------------------------------------------------------------------------ */

static int send_all_nodes(struct lane *n, struct work *w)
{
        params_for(n);
        return work_send(n, w, ST_ALL_NODES);
}

static int read_node(struct arena *a, const PGresult *r, int i, struct node_row *row)
{
        *row = (struct node_row){
            .holder = (uint64_t)cell_i64(r, i, 0),
            .host = cell_copy(a, r, i, 1),
            .version = cell_copy(a, r, i, 2),
            .pid = cell_i32(r, i, 3),
            .dead = cell_bool(r, i, 4),
            .registered_us = cell_i64(r, i, 5),
            .beat_us = cell_i64(r, i, 6),
            .serves = cell_copy(a, r, i, 7),
            .queues = cell_copy(a, r, i, 8),
            .workers = (uint32_t)cell_i64(r, i, 9),
        };
        return row->host.p && row->version.p && row->serves.p && row->queues.p ? 0 : -ENOMEM;
}

static int take_all_nodes(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_nodes *b = LEDGER_AS(nodes, NODES, w->b);
        (void)n;
        (void)which;
        b->n = 0;
        b->rows = arena_alloc(&b->base.arena, ((size_t)PQntuples(r) + 1) * sizeof *b->rows);
        int rc = b->rows ? 0 : -ENOMEM;
        for (int i = 0; i < PQntuples(r) && !rc; i++) {
                rc = read_node(&b->base.arena, r, i, &b->rows[b->n]);
                b->n += !rc;
        }
        return rc;
}

const struct op op_nodes = {.send = send_all_nodes, .take = take_all_nodes};
