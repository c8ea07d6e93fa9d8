/*
 * SUBMIT: the quick way where it can be taken (submit_quick.c), else one call of put_units() in the
 * schema. First without care: an existing key costs nothing then, and data that the store refuses
 * takes the transaction down, which is sent again with care. Unique rows, bounds and what happened
 * before go the slow way from the start, keys of pruned jobs when one is met.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

/* What its rows need that few do. */
struct needs {
        bool slow, keys;
};

static struct needs needs_of(const struct work *w, const struct ledger_submit *b)
{
        struct needs k = {.slow = w->slow || b->n_bounds > 0};
        for (const struct submission *s = b->list; s; s = s->next) {
                k.slow |= s->happened;
                for (uint32_t i = 0; i < s->n; i++) {
                        k.slow |= s->rows[i].unique.set;
                        k.keys |= s->rows[i].key.set;
                }
        }
        return k;
}

static void put_bounds(struct params *p, const struct ledger_submit *b)
{
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < b->n_bounds; i++) {
                put_bytes(p, b->bounds[i].queue);
        }
        array_end(p);
        array_begin(p, OID_INT4);
        for (uint32_t i = 0; i < b->n_bounds; i++) {
                put_limit(p, b->bounds[i].max);
        }
        array_end(p);
        array_begin(p, OID_BOOL);
        for (uint32_t i = 0; i < b->n_bounds; i++) {
                put_bool(p, b->bounds[i].drop_oldest);
        }
        array_end(p);
}

/* The places of the rows with which such submissions begin that happened before. */
static void put_happened(struct params *p, const struct ledger_submit *b)
{
        int32_t place = 1;
        array_begin(p, OID_INT4);
        for (const struct submission *s = b->list; s; s = s->next) {
                if (s->happened) {
                        put_i32(p, place);
                }
                place += (int32_t)s->n;
        }
        array_end(p);
}

static int send_rows(struct lane *n, struct work *w, const struct ledger_submit *b,
                     const struct unit *units, uint32_t n_units, bool slow)
{
        put_u64(params_for(n), b->base.no.holder);
        int r = put_units(n, w, units, n_units, false);
        put_bool(&n->params, w->careful);
        if (slow) {
                put_bounds(&n->params, b);
                put_happened(&n->params, b);
        }
        return r ? r : work_send(n, w, slow ? ST_SUBMIT_SLOW : ST_SUBMIT);
}

/* The keys of a quick batch are looked for among those of pruned jobs, once its rows are in. */
static int send_keys(struct lane *n, struct work *w, const struct ledger_submit *b)
{
        struct params *p = params_for(n);
        put_u64(p, b->base.no.holder);
        if (!n->l->old_keys) {
                return work_send(n, w, ST_ALIVE_QUICK);
        }
        array_begin(p, OID_UUID);
        for (const struct submission *s = b->list; s; s = s->next) {
                for (uint32_t i = 0; i < s->n; i++) {
                        if (s->rows[i].key.set) {
                                put_uuid(p, true, s->rows[i].key.b);
                        }
                }
        }
        array_end(p);
        return work_send(n, w, ST_ALIVE_KEYED);
}

static int send_units(struct lane *n, struct work *w, const struct ledger_submit *b, bool slow)
{
        uint32_t n_units = 0;
        for (const struct submission *s = b->list; s; s = s->next) {
                n_units++;
        }
        struct unit *units = arena_alloc(&w->b->arena, (n_units + 1) * sizeof *units);
        if (!units) {
                return -ENOMEM;
        }
        n_units = 0;
        for (struct submission *s = b->list; s; s = s->next) {
                units[n_units++] = (struct unit){.s = s};
        }
        return send_rows(n, w, b, units, n_units, slow);
}

static int send_submit(struct lane *n, struct work *w)
{
        struct ledger_submit *b = LEDGER_AS(submit, SUBMIT, w->b);
        struct needs k = needs_of(w, b);
        b->outbox = NULL;
        b->n_outbox = 0;
        int r = send_number(n, w);
        if (r) {
                return r;
        }
        r = submit_is_quick(n->l, w, b) ? submit_send_quick(n, w, b) : send_units(n, w, b, k.slow);
        if (r) {
                return r;
        }
        return k.keys && !k.slow ? send_keys(n, w, b) : send_alive(n, w);
}

/* --- doorbells -------------------------------------------------------------------------------- */

static bool rings(const struct submit_row *r)
{
        return r->result == SUBMIT_CREATED && r->state == STATE_PENDING && r->band == BAND_BROKER;
}

static int fill_box(struct work *w, struct ledger_submit *b, const PGresult *r, int i)
{
        struct submit_row **rows = w->rows;
        struct outbox_row *box = &b->outbox[b->n_outbox];
        *box = (struct outbox_row){.no = cell_i64(r, i, 4)};
        box->queue = cell_copy(&b->base.arena, r, i, 5);
        box->bells = arena_alloc(&b->base.arena, (w->n_rows + 1) * sizeof *box->bells);
        if (!box->queue.p || !box->bells) {
                return -ENOMEM;
        }
        for (uint32_t k = 0; k < w->n_rows; k++) {
                if (rings(rows[k]) && str_eq(rows[k]->queue, box->queue)) {
                        box->bells[box->n++] = (struct doorbell){rows[k]->id, rows[k]->seq};
                }
        }
        b->n_outbox++;
        return 0;
}

/* Outbox rows come last. */
static int take_box(struct work *w, struct ledger_submit *b, const PGresult *r, int i)
{
        if (!b->outbox) {
                uint32_t left = (uint32_t)(PQntuples(r) - i);
                b->outbox = arena_alloc(&b->base.arena, left * sizeof *b->outbox);
        }
        return b->outbox ? fill_box(w, b, r, i) : -ENOMEM;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void mark_conflict(struct ledger_submit *b, const struct submit_row *row)
{
        for (struct submission *s = b->list; s; s = s->next) {
                s->request_conflict |= row >= s->rows && row < s->rows + s->n;
        }
}

static int take_submit(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_submit *b = LEDGER_AS(submit, SUBMIT, w->b);
        (void)n;
        if (which == ST_SUBMIT_ALIKE || which == ST_SUBMIT_QUICK || which == ST_SUBMIT_RING) {
                return submit_take_quick(w, b, which, r);
        }
        for (int i = 0; (which == ST_SUBMIT || which == ST_SUBMIT_SLOW) && i < PQntuples(r); i++) {
                int kind = cell_i16(r, i, 0);
                if (kind == SAID_OUTBOX) {
                        int rc = take_box(w, b, r, i);
                        if (rc) {
                                return rc;
                        }
                        continue;
                }
                struct submit_row *row = said_row(w, r, i);
                if (!row) {
                        return -EBADMSG;
                }
                if (kind == SAID_REQUEST) {
                        mark_conflict(b, row);
                } else {
                        said_apply(row, r, i);
                }
        }
        return 0;
}

static int end_submit(struct lane *n, struct work *w)
{
        struct submit_row **rows = w->rows;
        for (uint32_t i = 0; i < w->n_rows; i++) {
                n->l->offered |= rows[i]->result == SUBMIT_REPLACED;
                n->l->offered |= rows[i]->result == SUBMIT_CREATED &&
                                 rows[i]->state == STATE_PENDING && rows[i]->band == BAND_OFFERED;
        }
        return 0;
}

const struct op op_submit = {
    .send = send_submit, .take = take_submit, .end = end_submit, .can_care = true};
