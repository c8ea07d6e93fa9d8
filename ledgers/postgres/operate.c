/*
 * CANCEL, REQUEUE, CONTROL: what operators do to one job or queue; and SAVE. Each is one function
 * of the schema, which writes the batch's number only when it writes anything else.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>
#include <stdlib.h>

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

enum cancel_result cancel_result(enum job_state before)
{
        switch (before) {
        case STATE_NONE: return CANCEL_NOT_FOUND;
        case STATE_RUNNING: return CANCEL_ASKED;
        default: return state_terminal(before) ? CANCEL_TERMINAL : CANCEL_DONE;
        }
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
        b->result = cancel_result(b->state);
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

/* --- CONTROL ---------------------------------------------------------------------------------- */

static int send_control(struct lane *n, struct work *w)
{
        struct ledger_control *b = LEDGER_AS(control, CONTROL, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_bytes(p, b->control.queue);
        put_i32(p, (int32_t)b->set);
        put_bool(p, b->control.paused);
        put_i32(p, b->control.concurrency);
        put_i32(p, b->control.global);
        return work_send(n, w, ST_CONTROL);
}

static int take_control(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_control *b = LEDGER_AS(control, CONTROL, w->b);
        (void)n;
        if (which == ST_CONTROL) {
                b->control.paused = cell_bool(r, 0, 0);
                b->control.concurrency = cell_i32(r, 0, 1);
                b->control.global = cell_i32(r, 0, 2);
        }
        return 0;
}

const struct op op_control = {.send = send_control, .take = take_control};

/* --- SAVE ------------------------------------------------------------------------------------- */

static int compare_saves(const void *a, const void *b)
{
        const struct save_row *const *x = a, *const *y = b;
        int by_id = memcmp(&(*x)->id, &(*y)->id, sizeof(*x)->id);
        return by_id ? by_id : (*x > *y) - (*x < *y);
}

/* By id, as FINISH locks them; those of one job in their order. */
static int sort_saves(struct work *w, const struct ledger_save *b)
{
        w->saves = arena_alloc(&w->b->arena, (b->n + 1) * sizeof(void *));
        for (uint32_t i = 0; w->saves && i < b->n; i++) {
                b->rows[i].stale = true;
                w->saves[i] = &b->rows[i];
        }
        if (w->saves) {
                qsort(w->saves, b->n, sizeof *w->saves, compare_saves);
        }
        return w->saves ? 0 : -ENOMEM;
}

static void put_save(struct params *p, const struct save_row *s, int column)
{
        switch (column) {
        case 0: put_id(p, &s->id); break;
        case 1: put_i32(p, (int32_t)s->claim); break;
        case 2: put_u64(p, s->token); break;
        case 3: put_i64(p, s->n); break;
        case 4:
                if (s->has_checkpoint) {
                        put_bytes(p, s->checkpoint);
                } else {
                        put_null(p, OID_BYTEA);
                }
                break;
        case 5: put_bool(p, s->has_progress); break;
        case 6: put_f64(p, s->done); break;
        default: put_f64(p, s->total); break;
        }
}

static int send_save(struct lane *n, struct work *w)
{
        static const uint32_t oids[] = {OID_UUID,  OID_INT4, OID_INT8,   OID_INT8,
                                        OID_BYTEA, OID_BOOL, OID_FLOAT8, OID_FLOAT8};
        struct ledger_save *b = LEDGER_AS(save, SAVE, w->b);
        struct params *p = params_for(n);
        int r = sort_saves(w, b);
        for (size_t k = 0; k < ARRAY_LEN(oids) && !r; k++) {
                array_begin(p, oids[k]);
                for (uint32_t i = 0; i < b->n; i++) {
                        put_save(p, w->saves[i], (int)k);
                }
                array_end(p);
        }
        return r ? r : work_send(n, w, ST_SAVE);
}

static int take_save(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_save *b = LEDGER_AS(save, SAVE, w->b);
        (void)n;
        for (int i = 0; which == ST_SAVE && i < PQntuples(r); i++) {
                int32_t ord = cell_i32(r, i, 0);
                if (ord < 1 || (uint32_t)ord > b->n) {
                        return -EBADMSG;
                }
                w->saves[ord - 1]->stale = false;
        }
        return 0;
}

const struct op op_save = {.send = send_save, .take = take_save};
