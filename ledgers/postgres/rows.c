/*
 * Rows on their way in (SUBMIT, the children of a FINISH, letters that need care), and what the
 * schema's functions said of each.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

/* What is shown as the error of a row that came in dead. */
static enum error_class error_of(const struct submit_row *r)
{
        bool says = r->state == STATE_DEAD && r->error_text.n;
        return says ? reason_error(r->reason) : ERROR_NONE;
}

/* A key that is an id is shown from the key itself, and its text is not stored. */
bool key_tells_text(const struct submit_row *r)
{
        struct job_id id;
        char text[JOB_ID_TEXT];
        memcpy(id.b, r->key.b, sizeof id.b);
        id_text(&id, text);
        return r->key.set && str_eq(r->key_text, str_of(text));
}

void put_key_text(struct params *p, const struct submit_row *r)
{
        if (r->key.set && !key_tells_text(r)) {
                put_bytes(p, r->key_text);
        } else {
                put_blob(p, r->key.set ? (struct str){0} : r->key_text);
        }
}

bool has_extra(const struct submit_row *r)
{
        return r->policy.n || r->retry_until_us || r->heartbeat_ms || r->unique.set;
}

bool has_keys(const struct submit_row *r)
{
        return r->key.set || r->unique.set;
}

static void put_above_zero(struct params *p, int64_t v)
{
        if (v > 0) {
                put_i64(p, v);
        } else {
                put_null(p, OID_INT8);
        }
}

/* In the order of the type extra. */
void put_extra(struct params *p, const struct submit_row *r)
{
        put_blob(p, r->policy);
        put_above_zero(p, r->retry_until_us);
        put_above_zero(p, r->heartbeat_ms);
        put_uuid(p, r->unique.set, r->unique.hash);
        put_i16(p, r->unique.states);
        put_bool(p, r->unique.replace);
        put_i64(p, r->unique.for_us);
        put_bool(p, r->unique.of_queue);
}

/* In the order of the type new_row. */
void put_row(struct lane *n, const struct submit_row *r, uint64_t fingerprint, bool redelivered)
{
        struct params *p = &n->params;
        record_begin(p);
        put_id(p, &r->id);
        put_uuid(p, r->key.set, r->key.b);
        put_key_text(p, r);
        put_bytes(p, r->queue);
        put_bytes(p, r->type);
        put_i16(p, (int16_t)r->state);
        put_i16(p, (int16_t)r->reason);
        put_i16(p, (int16_t)r->band);
        put_i16(p, r->priority);
        put_i32(p, r->max_attempts);
        put_i64(p, r->timeout_ms);
        put_i64(p, r->at_us);
        put_i64(p, r->after_us);
        put_i64(p, r->deadline_us);
        put_blob(p, r->content_type);
        put_blob(p, r->headers);
        put_bytes(p, r->payload);
        put_blob(p, r->tags);
        put_i16(p, (int16_t)error_of(r));
        put_blob(p, r->error_text);
        put_i64(p, r->inbox);
        put_u64(p, fingerprint);
        put_bool(p, redelivered);
        if (has_extra(r)) {
                nest_begin(p, n->l->oid_extra);
                put_extra(p, r);
                nest_end(p);
        } else {
                put_null(p, n->l->oid_extra);
        }
        record_end(p);
}

/* --- units ------------------------------------------------------------------------------------ */

/* Neighbours without a key that are not atomic are inserted together. */
struct run {
        uint32_t first, last;
        bool atomic, bury, happened;
        const struct submission *keyed; /* NULL: no request key */
        uint32_t parent;
};

static struct run run_of(const struct unit *u, uint32_t first)
{
        const struct submission *s = u->s;
        return (struct run){
            .first = first,
            .last = first + s->n - 1,
            .atomic = s->atomic && (s->n > 1 || s->request_key.set),
            .bury = !s->atomic,
            .happened = s->happened,
            .keyed = s->request_key.set ? s : NULL,
            .parent = u->parent,
        };
}

static bool joins(const struct run *a, const struct run *b)
{
        return !a->atomic && !b->atomic && !a->keyed && !b->keyed && a->bury == b->bury &&
               a->happened == b->happened && a->parent == b->parent;
}

static void put_runs(struct params *p, const struct run *runs, uint32_t n, bool parents)
{
        static const uint32_t oids[] = {OID_INT4, OID_INT4, OID_BOOL, OID_BOOL,
                                        OID_UUID, OID_UUID, OID_INT4};
        for (size_t k = 0; k < ARRAY_LEN(oids) - !parents; k++) {
                array_begin(p, oids[k]);
                for (uint32_t i = 0; i < n; i++) {
                        const struct run *r = &runs[i];
                        const struct submission *s = r->keyed;
                        static const uint8_t none[16];
                        switch (k) {
                        case 0: put_i32(p, (int32_t)r->first); break;
                        case 1: put_i32(p, (int32_t)r->last); break;
                        case 2: put_bool(p, r->atomic); break;
                        case 3: put_bool(p, r->bury); break;
                        case 4: put_uuid(p, s != NULL, s ? s->request_key.b : none); break;
                        case 5: put_uuid(p, s != NULL, s ? s->request_hash : none); break;
                        default: put_i32(p, (int32_t)r->parent); break;
                        }
                }
                array_end(p);
        }
}

void submit_row_reset(struct submit_row *r)
{
        r->result = SUBMIT_UNDONE;
        r->existing = (struct job_id){{0}};
        r->seq = 0;
}

static uint32_t count_rows(const struct unit *units, uint32_t n)
{
        uint32_t rows = 0;
        for (uint32_t i = 0; i < n; i++) {
                rows += units[i].s->n;
        }
        return rows;
}

int put_units(struct lane *n, struct work *w, const struct unit *units, uint32_t n_units,
              bool parents)
{
        struct params *p = &n->params;
        uint32_t rows = count_rows(units, n_units), n_runs = 0;
        struct submit_row **list = arena_alloc(&w->b->arena, (rows + 1) * sizeof *list);
        struct run *runs = arena_alloc(&w->b->arena, (n_units + 1) * sizeof *runs);
        if (!list || !runs) {
                return -ENOMEM;
        }
        w->rows = list;
        w->n_rows = 0;
        array_begin(p, n->l->oid_new_row);
        for (uint32_t u = 0; u < n_units; u++) {
                struct submission *s = units[u].s;
                struct run run = run_of(&units[u], w->n_rows + 1);
                s->refused = s->request_conflict = false;
                for (uint32_t i = 0; i < s->n; i++) {
                        submit_row_reset(&s->rows[i]);
                        put_row(n, &s->rows[i], 0, false);
                        list[w->n_rows++] = &s->rows[i];
                }
                if (n_runs && joins(&runs[n_runs - 1], &run)) {
                        runs[n_runs - 1].last = run.last;
                } else if (s->n) {
                        runs[n_runs++] = run;
                }
        }
        array_end(p);
        put_runs(p, runs, n_runs, parents);
        return 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

enum { SAID_KIND, SAID_ORD, SAID_ID, SAID_STATE, SAID_SEQ, SAID_QUEUE };

struct submit_row *work_row(struct work *w, const struct job_id *id)
{
        for (uint32_t k = 0; k < w->n_rows; k++) {
                uint32_t at = (w->next_row + k) % w->n_rows;
                if (job_id_eq(&w->rows[at]->id, id)) {
                        w->next_row = at + 1;
                        return w->rows[at];
                }
        }
        return NULL;
}

/* Created ones are named by their id. */
struct submit_row *said_row(struct work *w, const PGresult *r, int i)
{
        if (!cell_null(r, i, SAID_ORD)) {
                uint32_t ord = (uint32_t)cell_i32(r, i, SAID_ORD);
                return ord >= 1 && ord <= w->n_rows ? w->rows[ord - 1] : NULL;
        }
        struct job_id id = cell_id(r, i, SAID_ID);
        return work_row(w, &id);
}

void said_apply(struct submit_row *row, const PGresult *r, int i)
{
        switch (cell_i16(r, i, SAID_KIND)) {
        case SAID_CREATED:
                row->result = SUBMIT_CREATED;
                row->seq = cell_i64(r, i, SAID_SEQ);
                return;
        case SAID_EXISTS:
        case SAID_CONFLICT:
                if (row->result == SUBMIT_CREATED) {
                        return; /* it exists since it was created just now */
                }
                row->result =
                    cell_i16(r, i, SAID_KIND) == SAID_EXISTS ? SUBMIT_EXISTS : SUBMIT_CONFLICT;
                row->existing = cell_id(r, i, SAID_ID);
                row->existing_state = (enum job_state)cell_i16(r, i, SAID_STATE);
                return;
        case SAID_HELD:
        case SAID_REPLACED:
                row->result =
                    cell_i16(r, i, SAID_KIND) == SAID_HELD ? SUBMIT_HELD : SUBMIT_REPLACED;
                row->existing = cell_id(r, i, SAID_ID);
                row->existing_state = (enum job_state)cell_i16(r, i, SAID_STATE);
                return;
        case SAID_FULL: row->result = SUBMIT_FULL; return;
        case SAID_UNSTORABLE: row->result = SUBMIT_UNSTORABLE; return;
        default: row->result = SUBMIT_UNDONE; return;
        }
}
