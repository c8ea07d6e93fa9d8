/*
 * SUBMIT's quick way: rows that wait or are due later, and of which nothing is known yet. One
 * INSERT without ON CONFLICT for all of them, whoever sent them, and nothing is said of a row: that
 * it is committed means that it was created. A key or an id that is there already and data that the
 * store refuses take the transaction down, and put_units() in the schema is asked then, which looks
 * at each row. Nor does it come here for requests with a key, unique jobs, bounds, letters of the
 * inbox and what begins dead.
 *
 * A client that sends again what is there already would pay for both ways each time. So after a
 * batch that failed the next ones with keys are not tried.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

#define KEYS_WARY 32 /* batches */

static bool is_plain(const struct submit_row *r)
{
        return (r->state == STATE_PENDING || r->state == STATE_SCHEDULED) && !r->unique.set &&
               !r->inbox && !r->error_text.n;
}

bool submit_is_quick(struct pg_ledger *l, const struct work *w, const struct ledger_submit *b)
{
        bool quick = !w->careful && !w->slow && !b->n_bounds, keys = false;
        for (const struct submission *s = b->list; s && quick; s = s->next) {
                quick = !s->request_key.set && !s->happened;
                for (uint32_t i = 0; i < s->n && quick; i++) {
                        quick = is_plain(&s->rows[i]);
                        keys |= s->rows[i].key.set;
                }
        }
        if (w->careful) {
                l->wary = KEYS_WARY;
        } else if (quick && keys && l->wary) {
                l->wary--;
                return false;
        }
        return quick && b->list;
}

static int gather_rows(struct work *w, const struct ledger_submit *b)
{
        uint32_t n = 0;
        for (const struct submission *s = b->list; s; s = s->next) {
                n += s->n;
        }
        w->rows = arena_alloc(&w->b->arena, (n + 1) * sizeof *w->rows);
        w->n_rows = 0;
        if (!w->rows) {
                return -ENOMEM;
        }
        for (struct submission *s = b->list; s; s = s->next) {
                s->refused = s->request_conflict = false;
                for (uint32_t i = 0; i < s->n; i++) {
                        submit_row_reset(&s->rows[i]);
                        w->rows[w->n_rows++] = &s->rows[i];
                }
        }
        return 0;
}

/* --- counts ----------------------------------------------------------------------------------- */

/* Rows of one queue that begin in one state. */
struct share {
        struct str queue;
        enum job_state state;
        int64_t n;
};

static bool is_of(const struct share *s, const struct submit_row *r)
{
        return s->state == r->state && str_eq(s->queue, r->queue);
}

static int put_shares(struct params *p, struct work *w)
{
        struct share *shares = arena_alloc(&w->b->arena, (w->n_rows + 1) * sizeof *shares);
        uint32_t n = 0;
        if (!shares) {
                return -ENOMEM;
        }
        for (uint32_t i = 0, at = 0; i < w->n_rows; i++) {
                const struct submit_row *r = w->rows[i];
                if (at == n || !is_of(&shares[at], r)) {
                        for (at = 0; at < n && !is_of(&shares[at], r); at++) {}
                }
                if (at == n) {
                        shares[n++] = (struct share){.queue = r->queue, .state = r->state};
                }
                shares[at].n++;
        }
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < n; i++) {
                put_bytes(p, shares[i].queue);
        }
        array_end(p);
        array_begin(p, OID_INT2);
        for (uint32_t i = 0; i < n; i++) {
                put_i16(p, (int16_t)shares[i].state);
        }
        array_end(p);
        array_begin(p, OID_INT8);
        for (uint32_t i = 0; i < n; i++) {
                put_i64(p, shares[i].n);
        }
        array_end(p);
        return 0;
}

/* --- the statement ---------------------------------------------------------------------------- */

/* Has nothing that the short statement leaves out. */
static bool is_short(const struct submit_row *r)
{
        return r->state == STATE_PENDING && r->band != BAND_BROKER && !r->headers.n && !r->tags.n &&
               !has_extra(r) && !r->deadline_us &&
               (r->key.set ? key_tells_text(r) : !r->key_text.n);
}

static bool alike(const struct submit_row *a, const struct submit_row *b)
{
        return a->band == b->band && a->reason == b->reason && a->priority == b->priority &&
               a->max_attempts == b->max_attempts && a->timeout_ms == b->timeout_ms &&
               str_eq(a->queue, b->queue) && str_eq(a->type, b->type) &&
               str_eq(a->content_type, b->content_type);
}

static bool all_alike(const struct work *w)
{
        uint32_t i = 0;
        while (i < w->n_rows && is_short(w->rows[i]) && alike(w->rows[i], w->rows[0])) {
                i++;
        }
        return i == w->n_rows;
}

static void put_common(struct params *p, const struct submit_row *one)
{
        put_bytes(p, one->queue);
        put_bytes(p, one->type);
        put_blob(p, one->content_type);
        put_i64(p, lane_base(one));
        put_i16(p, (int16_t)one->reason);
        put_i16(p, one->priority);
        put_i32(p, one->max_attempts);
        put_i64(p, one->timeout_ms);
}

static void put_columns(struct params *p, const struct columns *k)
{
        const struct submit_row *one = k->rows[0];
        put_common(p, one);
        put_id_columns(p, k);
        put_text_column(p, k, TEXT_QUEUE, one->queue);
        put_text_column(p, k, TEXT_TYPE, one->type);
        put_payload_column(p, k);
        put_text_column(p, k, TEXT_HEADERS, (struct str){0});
        put_text_column(p, k, TEXT_CONTENT_TYPE, one->content_type);
        put_key_text_column(p, k);
        put_text_column(p, k, TEXT_TAGS, (struct str){0});
        put_text_column(p, k, TEXT_POLICY, (struct str){0});
        put_number_column(p, k, NUMBER_LANE, lane_base(one), OID_INT8);
        put_number_column(p, k, NUMBER_REASON, one->reason, OID_INT2);
        put_number_column(p, k, NUMBER_PRIORITY, one->priority, OID_INT2);
        put_number_column(p, k, NUMBER_MAX_ATTEMPTS, one->max_attempts, OID_INT4);
        put_number_column(p, k, NUMBER_TIMEOUT, one->timeout_ms, OID_INT8);
        put_number_column(p, k, NUMBER_DEADLINE, 0, OID_INT8);
        put_number_column(p, k, NUMBER_AT, 0, OID_INT8);
        put_number_column(p, k, NUMBER_AFTER, 0, OID_INT8);
        put_number_column(p, k, NUMBER_RETRY_UNTIL, 0, OID_INT8);
        put_number_column(p, k, NUMBER_HEARTBEAT, 0, OID_INT8);
}

static int send_alike(struct lane *n, struct work *w)
{
        struct columns k = {w->rows, w->n_rows};
        struct params *p = params_for(n);
        put_common(p, k.rows[0]);
        put_id_columns(p, &k);
        put_payload_column(p, &k);
        put_i64(p, k.n);
        return work_send(n, w, ST_SUBMIT_ALIKE);
}

int submit_send_quick(struct lane *n, struct work *w, const struct ledger_submit *b)
{
        int r = gather_rows(w, b);
        if (r || !w->n_rows) {
                return r;
        }
        if (all_alike(w)) {
                return send_alike(n, w);
        }
        bool rings = false;
        for (uint32_t i = 0; i < w->n_rows; i++) {
                const struct submit_row *row = w->rows[i];
                rings |= row->state == STATE_PENDING && row->band == BAND_BROKER;
        }
        struct params *p = params_for(n);
        put_columns(p, &(struct columns){w->rows, w->n_rows});
        r = put_shares(p, w);
        return r ? r : work_send(n, w, rings ? ST_SUBMIT_RING : ST_SUBMIT_QUICK);
}

/* --- answers ---------------------------------------------------------------------------------- */

enum { BOX_NO, BOX_QUEUE, BOX_IDS, BOX_SEQS };

static int take_box(struct work *w, struct outbox_row *box, const PGresult *r, int i)
{
        struct arena *a = &w->b->arena;
        struct cells ids = cell_array(r, i, BOX_IDS, sizeof(struct job_id)),
                     seqs = cell_array(r, i, BOX_SEQS, 8);
        *box = (struct outbox_row){.no = cell_i64(r, i, BOX_NO),
                                   .queue = cell_copy(a, r, i, BOX_QUEUE),
                                   .bells = arena_alloc(a, (ids.n + 1) * sizeof *box->bells),
                                   .n = ids.n};
        if (!box->queue.p || !box->bells) {
                return -ENOMEM;
        }
        for (uint32_t k = 0; k < ids.n && k < seqs.n; k++) {
                box->bells[k] = (struct doorbell){cells_id(&ids, k), cells_int(&seqs, k)};
                struct submit_row *row = work_row(w, &box->bells[k].id);
                if (!row) {
                        return -EBADMSG;
                }
                row->seq = box->bells[k].seq;
        }
        return ids.n == seqs.n ? 0 : -EBADMSG;
}

static int take_boxes(struct work *w, struct ledger_submit *b, const PGresult *r)
{
        uint32_t n = (uint32_t)PQntuples(r);
        b->outbox = arena_alloc(&b->base.arena, (n + 1) * sizeof *b->outbox);
        if (!b->outbox) {
                return -ENOMEM;
        }
        for (b->n_outbox = 0; b->n_outbox < n; b->n_outbox++) {
                int rc = take_box(w, &b->outbox[b->n_outbox], r, (int)b->n_outbox);
                if (rc) {
                        return rc;
                }
        }
        return 0;
}

int submit_take_quick(struct work *w, struct ledger_submit *b, enum statement which,
                      const PGresult *r)
{
        for (uint32_t i = 0; i < w->n_rows; i++) {
                w->rows[i]->result = SUBMIT_CREATED;
        }
        return which == ST_SUBMIT_RING ? take_boxes(w, b, r) : 0;
}
