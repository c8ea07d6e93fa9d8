/*
 * RELAY and RUNG: doorbells and replies that no broker is known to have.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

/* --- RELAY ------------------------------------------------------------------------------------ */

static int send_relay(struct lane *n, struct work *w)
{
        struct ledger_relay *b = LEDGER_AS(relay, RELAY, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_i64(p, b->older_us);
        put_limit(p, b->limit);
        put_bool(p, b->owed_only);
        return work_send(n, w, ST_RELAY);
}

/* In the order of the type relayed. */
enum {
        BOX_NO,
        BOX_QUEUE,
        BOX_IDS,
        BOX_SEQS,
        BOX_DEST,
        BOX_CORRELATION,
        BOX_CONTENT_TYPE,
        BOX_BODY,
        BOX_JOB,
        BOX_STATE,
        BOX_REASON,
        BOX_ERROR_TEXT,
        BOX_HEADERS,
};

static int read_box(struct arena *a, const PGresult *r, int i, struct outbox_row *box)
{
        struct cells ids = cell_array(r, i, BOX_IDS, 16), seqs = cell_array(r, i, BOX_SEQS, 8);
        *box = (struct outbox_row){.no = cell_i64(r, i, BOX_NO),
                                   .queue = cell_copy(a, r, i, BOX_QUEUE)};
        box->bells = arena_alloc(a, (ids.n + 1) * sizeof *box->bells);
        for (; box->bells && box->n < ids.n && box->n < seqs.n; box->n++) {
                box->bells[box->n] =
                    (struct doorbell){cells_id(&ids, box->n), cells_int(&seqs, box->n)};
        }
        return box->bells && box->queue.p ? 0 : -ENOMEM;
}

static int read_reply(struct arena *a, const PGresult *r, int i, struct job_reply *m)
{
        *m = (struct job_reply){
            .no = cell_i64(r, i, BOX_NO),
            .queue = cell_copy(a, r, i, BOX_QUEUE),
            .to = cell_copy(a, r, i, BOX_DEST),
            .correlation_id = cell_copy(a, r, i, BOX_CORRELATION),
            .content_type = cell_copy(a, r, i, BOX_CONTENT_TYPE),
            .body = cell_copy(a, r, i, BOX_BODY),
            .job = cell_id(r, i, BOX_JOB),
            .state = (enum job_state)cell_i16(r, i, BOX_STATE),
            .reason = (enum job_reason)cell_i16(r, i, BOX_REASON),
            .error_text = cell_copy(a, r, i, BOX_ERROR_TEXT),
            .headers = cell_copy(a, r, i, BOX_HEADERS),
        };
        bool out = !m->queue.p || !m->to.p || !m->correlation_id.p || !m->content_type.p ||
                   !m->body.p || !m->error_text.p || !m->headers.p;
        return out ? -ENOMEM : 0;
}

/* Doorbells first. */
static int take_relay(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_relay *b = LEDGER_AS(relay, RELAY, w->b);
        struct arena *a = &b->base.arena;
        size_t rows = (size_t)PQntuples(r) + 1;
        (void)n;
        if (which != ST_RELAY) {
                return 0;
        }
        b->n = b->n_replies = 0;
        b->rows = arena_alloc(a, rows * sizeof *b->rows);
        b->replies = arena_alloc(a, rows * sizeof *b->replies);
        int rc = b->rows && b->replies ? 0 : -ENOMEM;
        for (int i = 0; i < PQntuples(r) && !rc; i++) {
                if (cell_null(r, i, BOX_JOB)) {
                        rc = read_box(a, r, i, &b->rows[b->n]);
                        b->n += !rc;
                } else {
                        rc = read_reply(a, r, i, &b->replies[b->n_replies]);
                        b->n_replies += !rc;
                }
        }
        return rc;
}

const struct op op_relay = {.send = send_relay, .take = take_relay};

/* --- RUNG ------------------------------------------------------------------------------------- */

static int send_gone(struct lane *n, struct work *w, enum statement which, const int64_t *nos,
                     uint32_t many)
{
        struct params *p = params_for(n);
        array_begin(p, OID_INT8);
        for (uint32_t i = 0; i < many; i++) {
                put_i64(p, nos[i]);
        }
        array_end(p);
        return work_send(n, w, which);
}

static int send_rung(struct lane *n, struct work *w)
{
        struct ledger_rung *b = LEDGER_AS(rung, RUNG, w->b);
        int r = send_number(n, w);
        if (!r && b->n) {
                r = send_gone(n, w, ST_RUNG, b->rows, b->n);
        }
        if (!r && b->n_replies) {
                r = send_gone(n, w, ST_REPLIED, b->replies, b->n_replies);
        }
        return r;
}

const struct op op_rung = {.send = send_rung};
