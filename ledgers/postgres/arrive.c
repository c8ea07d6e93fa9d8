/*
 * ARRIVE: letters, doorbells and marks of one queue.
 *
 * The quick way is for letters that start and are new: one INSERT without ON CONFLICT, and nothing
 * is looked at. A key or an id that is there already, data that the store refuses, a letter that
 * waits or may stand in the journal: those take arrive_letters() in the schema.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>
#include <stdlib.h>

struct bell {
        struct arrival *a;
        uint32_t no;
};

/* The batch's items by kind. Borrowed; in the batch's arena. */
struct arriving {
        struct arrival **letters, **starts, **offers;
        struct bell *bells;
        struct submit_row **rows; /* of the letters */
        uint32_t n_letters, n_bells, n_starts, n_offers, n_running, n_prints, n_again;
        uint32_t n_keys, n_extras;
        struct job_id first, last; /* of the running letters */
};

/* --- sorting out ------------------------------------------------------------------------------ */

static void sort_letter(struct arriving *k, struct arrival *a)
{
        if (a->row.state == STATE_RUNNING) {
                bool none = !k->n_running++;
                if (none || memcmp(&a->row.id, &k->first, sizeof k->first) < 0) {
                        k->first = a->row.id;
                }
                if (none || memcmp(&a->row.id, &k->last, sizeof k->last) > 0) {
                        k->last = a->row.id;
                }
        }
        k->n_prints += a->fingerprint != 0;
        k->n_again += a->fingerprint && a->redelivered;
        k->n_keys += a->row.key.set;
        k->n_extras += has_extra(&a->row);
        k->rows[k->n_letters] = &a->row;
        k->letters[k->n_letters++] = a;
}

static void sort_arrival(struct arriving *k, struct arrival *a)
{
        a->ref = 0;
        a->result = a->kind == ARRIVAL_DOORBELL ? ARRIVAL_KNOWN : ARRIVAL_TAKEN;
        if (a->kind == ARRIVAL_LETTER) {
                sort_letter(k, a);
        } else if (a->kind == ARRIVAL_DOORBELL) {
                k->bells[k->n_bells] = (struct bell){a, k->n_bells};
                k->n_bells++;
        }
}

static int compare_bells(const void *a, const void *b)
{
        const struct bell *x = a, *y = b;
        int by_id = memcmp(&x->a->row.id, &y->a->row.id, sizeof x->a->row.id);
        return by_id ? by_id : (x->no > y->no) - (x->no < y->no);
}

/* Rows are locked in the order of their ids, so that two nodes cannot wait for each other. Of
 * several doorbells for one job the first is looked at; the others find nobody. */
static void sort_bells(struct arriving *k)
{
        qsort(k->bells, k->n_bells, sizeof *k->bells, compare_bells);
        for (uint32_t i = 0; i < k->n_bells; i++) {
                struct arrival *a = k->bells[i].a;
                if (i && job_id_eq(&a->row.id, &k->bells[i - 1].a->row.id)) {
                        continue;
                }
                if (a->start) {
                        k->starts[k->n_starts++] = a;
                } else {
                        k->offers[k->n_offers++] = a;
                }
        }
}

static struct arriving *sort_out(struct ledger_arrive *b)
{
        struct arena *a = &b->base.arena;
        struct arriving *k = arena_zalloc(a, sizeof *k);
        size_t size = ((size_t)b->n + 1) * sizeof(void *);
        if (!k) {
                return NULL;
        }
        k->letters = arena_alloc(a, size);
        k->rows = arena_alloc(a, size);
        k->bells = arena_alloc(a, ((size_t)b->n + 1) * sizeof *k->bells);
        k->starts = arena_alloc(a, size);
        k->offers = arena_alloc(a, size);
        if (!k->letters || !k->rows || !k->bells || !k->starts || !k->offers) {
                return NULL;
        }
        for (struct arrivals *l = b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        sort_arrival(k, &l->items[i]);
                }
        }
        sort_bells(k);
        return k;
}

/* --- the number, the journal ------------------------------------------------------------------ */

static int send_claim_number(struct lane *n, struct work *w, const struct ledger_arrive *b,
                             const struct arriving *k)
{
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        if (k->n_running || k->n_starts) {
                put_u64(p, b->token);
        } else {
                put_null(p, OID_INT8);
        }
        put_uuid(p, k->n_running, k->first.b);
        put_uuid(p, k->n_running, k->last.b);
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n_starts; i++) {
                put_id(p, &k->starts[i]->row.id);
        }
        array_end(p);
        return work_send(n, w, ST_CLAIM_NUMBER);
}

/* What is over, and what may be forgotten. */
static int send_settled(struct lane *n, struct work *w, const struct ledger_arrive *b)
{
        int r = 0;
        if (b->n_acknowledged) {
                put_numbers(params_for(n), b->acknowledged, b->n_acknowledged);
                r = work_send(n, w, ST_JOURNAL_DONE);
        }
        if (!r && b->n_lost) {
                put_numbers(params_for(n), b->lost, b->n_lost);
                r = work_send(n, w, ST_JOURNAL_OVER);
        }
        return r;
}

static int send_journal(struct lane *n, struct work *w, const struct ledger_arrive *b,
                        const struct arriving *k)
{
        struct params *p = params_for(n);
        if (!k->n_prints) {
                return 0;
        }
        put_number(p, &b->base.no);
        put_bytes(p, b->queue);
        array_begin(p, OID_INT8);
        for (uint32_t i = 0; i < k->n_letters; i++) {
                if (k->letters[i]->fingerprint) {
                        put_u64(p, k->letters[i]->fingerprint);
                }
        }
        array_end(p);
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n_letters; i++) {
                if (k->letters[i]->fingerprint) {
                        put_id(p, &k->rows[i]->id);
                }
        }
        array_end(p);
        return work_send(n, w, ST_JOURNAL);
}

/* --- letters ---------------------------------------------------------------------------------- */

static int send_letters(struct lane *n, struct work *w, const struct ledger_arrive *b,
                        const struct arriving *k)
{
        const struct submit_row *one = k->rows[0];
        struct columns rows = {k->rows, k->n_letters};
        struct params *p = params_for(n);
        put_bytes(p, b->queue);
        put_u64(p, b->base.no.holder);
        put_u64(p, b->token);
        put_bytes(p, one->type);
        put_blob(p, one->content_type);
        put_i16(p, one->priority);
        put_i32(p, one->max_attempts);
        put_i64(p, one->timeout_ms);
        put_id_columns(p, &rows);
        put_payload_column(p, &rows);
        put_text_column(p, &rows, TEXT_TYPE, one->type);
        put_text_column(p, &rows, TEXT_HEADERS, (struct str){0});
        put_text_column(p, &rows, TEXT_CONTENT_TYPE, one->content_type);
        put_key_text_column(p, &rows);
        put_text_column(p, &rows, TEXT_TAGS, (struct str){0});
        put_number_column(p, &rows, NUMBER_PRIORITY, one->priority, OID_INT2);
        put_number_column(p, &rows, NUMBER_MAX_ATTEMPTS, one->max_attempts, OID_INT4);
        put_number_column(p, &rows, NUMBER_TIMEOUT, one->timeout_ms, OID_INT8);
        put_number_column(p, &rows, NUMBER_DEADLINE, 0, OID_INT8);
        int r = work_send(n, w, params_cut(p, LETTERS_PLAIN) ? ST_LETTERS_PLAIN : ST_LETTERS);
        r = r ? r : send_journal(n, w, b, k);
        p = params_for(n);
        put_bytes(p, b->queue);
        put_i64(p, k->n_letters);
        return r ? r : work_send(n, w, ST_LETTERS_COUNT);
}

static int send_letters_with_care(struct lane *n, struct work *w, const struct ledger_arrive *b,
                                  const struct arriving *k)
{
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_bytes(p, b->queue);
        put_u64(p, b->token);
        array_begin(p, n->l->oid_new_row);
        for (uint32_t i = 0; i < k->n_letters; i++) {
                put_row(n, k->rows[i], k->letters[i]->fingerprint, k->letters[i]->redelivered);
        }
        array_end(p);
        put_limit(p, b->drop_above);
        return work_send(n, w, ST_LETTERS_CARE);
}

/* --- doorbells -------------------------------------------------------------------------------- */

static int send_bells(struct lane *n, struct work *w, const struct ledger_arrive *b,
                      const struct arriving *k)
{
        struct params *p = params_for(n);
        put_u64(p, b->base.no.holder);
        put_bytes(p, b->queue);
        put_u64(p, b->token);
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n_starts; i++) {
                put_id(p, &k->starts[i]->row.id);
        }
        array_end(p);
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n_offers; i++) {
                put_id(p, &k->offers[i]->row.id);
        }
        array_end(p);
        return work_send(n, w, ST_BELLS);
}

static int take_bells(struct arriving *k, struct ledger_arrive *b, const PGresult *r)
{
        struct claim *c = b->got;
        for (int i = 0; i < PQntuples(r); i++) {
                bool started = !cell_null(r, i, HANDED_TYPE);
                uint32_t no = (uint32_t)cell_i32(r, i, HANDED_NO) - 1;
                if (no >= (started ? k->n_starts : k->n_offers)) {
                        return -EBADMSG;
                }
                (started ? k->starts : k->offers)[no]->result = ARRIVAL_TAKEN;
                if (started && handed_read(c, r, i, &c->jobs[c->n]) < 0) {
                        return -ENOMEM;
                }
                c->n += started;
        }
        return 0;
}

/* --- the batch -------------------------------------------------------------------------------- */

/* A claim that took nothing must not stay in `commits` for a verdict that never comes. */
static int send_end(struct lane *n, struct work *w, const struct ledger_arrive *b)
{
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_u64(p, b->token);
        return work_send(n, w, ST_ARRIVE_END);
}

static bool is_quick(const struct work *w, const struct arriving *k)
{
        return !w->careful && !w->slow && k->n_running == k->n_letters && !k->n_again &&
               !k->n_extras;
}

static int send_items(struct lane *n, struct work *w, const struct ledger_arrive *b,
                      const struct arriving *k)
{
        bool quick = is_quick(w, k), sure = quick && k->n_letters;
        int r = 0;
        if (k->n_letters) {
                r = quick ? send_letters(n, w, b, k) : send_letters_with_care(n, w, b, k);
        }
        if (!r && k->n_starts + k->n_offers) {
                r = send_bells(n, w, b, k);
        }
        bool claims = k->n_running + k->n_starts > 0;
        return r || sure || !claims ? r : send_end(n, w, b);
}

/* The last word of the quick way; its keys may be those of pruned jobs. */
static int send_last(struct lane *n, struct work *w, const struct arriving *k)
{
        if (!k->n_keys) {
                return send_alive(n, w);
        }
        struct params *p = params_for(n);
        put_u64(p, w->b->no.holder);
        if (!n->l->old_keys) {
                return work_send(n, w, ST_ALIVE_QUICK);
        }
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n_letters; i++) {
                if (k->rows[i]->key.set) {
                        put_uuid(p, true, k->rows[i]->key.b);
                }
        }
        array_end(p);
        return work_send(n, w, ST_ALIVE_KEYED);
}

/* With care, the node is looked at first: a dead one is not told to wait. */
static int send_arrive(struct lane *n, struct work *w)
{
        struct ledger_arrive *b = LEDGER_AS(arrive, ARRIVE, w->b);
        struct arriving *k = sort_out(b);
        int r = k ? claim_begin(b->got, &b->base.no, b->token, k->n_starts) : -ENOMEM;
        if (r) {
                return r;
        }
        bool first = !is_quick(w, k);
        w->arriving = k;
        b->undecided = false;
        b->known = b->conflicts = b->unstorable = b->ambiguous = 0;
        r = send_claim_number(n, w, b, k);
        r = r ? r : send_trim(n, w);
        r = r || !first ? r : send_alive(n, w);
        r = r ? r : send_settled(n, w, b);
        r = r ? r : send_items(n, w, b, k);
        return r || first ? r : send_last(n, w, k);
}

static int take_letters(struct arriving *k, struct ledger_arrive *b, struct work *w,
                        const PGresult *r)
{
        w->rows = k->rows;
        w->n_rows = k->n_letters;
        for (uint32_t i = 0; i < k->n_letters; i++) {
                k->rows[i]->result = SUBMIT_UNDONE;
        }
        for (int i = 0; i < PQntuples(r); i++) {
                struct submit_row *row = said_row(w, r, i);
                if (!row) {
                        return -EBADMSG;
                }
                if (cell_i16(r, i, 0) == SAID_AMBIGUOUS) {
                        b->ambiguous++;
                } else {
                        said_apply(row, r, i);
                }
        }
        for (uint32_t i = 0; i < k->n_letters; i++) {
                static const enum arrival_result results[] = {
                    [SUBMIT_CREATED] = ARRIVAL_TAKEN,      [SUBMIT_EXISTS] = ARRIVAL_KNOWN,
                    [SUBMIT_CONFLICT] = ARRIVAL_CONFLICT,  [SUBMIT_UNSTORABLE] = ARRIVAL_UNSTORABLE,
                    [SUBMIT_UNDONE] = ARRIVAL_UNSTORABLE,  [SUBMIT_HELD] = ARRIVAL_DUPLICATE,
                    [SUBMIT_REPLACED] = ARRIVAL_DUPLICATE, [SUBMIT_FULL] = ARRIVAL_UNSTORABLE,
                };
                k->letters[i]->result = results[k->rows[i]->result];
        }
        return 0;
}

static int take_arrive(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_arrive *b = LEDGER_AS(arrive, ARRIVE, w->b);
        (void)n;
        switch (which) {
        case ST_LETTERS_CARE: return take_letters(w->arriving, b, w, r);
        case ST_BELLS: return take_bells(w->arriving, b, r);
        default: return 0;
        }
}

static int end_arrive(struct lane *n, struct work *w)
{
        struct ledger_arrive *b = LEDGER_AS(arrive, ARRIVE, w->b);
        struct arriving *k = w->arriving;
        b->got->open = b->got->n;
        for (struct arrivals *l = b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        struct arrival *a = &l->items[i];
                        bool offered =
                            a->kind == ARRIVAL_DOORBELL ? !a->start : a->row.state == STATE_PENDING;
                        b->known += a->result == ARRIVAL_KNOWN;
                        b->conflicts += a->result == ARRIVAL_CONFLICT;
                        b->unstorable += a->result == ARRIVAL_UNSTORABLE;
                        n->l->offered |= a->result == ARRIVAL_DUPLICATE;
                        n->l->offered |=
                            a->result == ARRIVAL_TAKEN && offered && a->kind != ARRIVAL_MARK;
                }
        }
        for (uint32_t i = 0; i < k->n_letters; i++) {
                k->letters[i]->ref = ref_of(&k->rows[i]->id);
        }
        return 0;
}

const struct op op_arrive = {
    .send = send_arrive, .take = take_arrive, .end = end_arrive, .can_care = true};
