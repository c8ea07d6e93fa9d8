/*
 * FINISH: verdicts. The fence is the WHERE of the update itself, never a look before it.
 *
 * Completions take one statement that changes no indexed column. When they differ in nothing but
 * their times, as on the happy path, it does not even say which of them it met: a fence that does
 * not hold takes the transaction down, and they are sent once more by the other. Verdicts of other
 * kinds go through finish() in the schema, and the whole batch does when the store refused
 * something of it.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>
#include <stdlib.h>

struct finishing {
        struct finish_row **done, **other;
        uint32_t n_done, n_other;
};

static bool is_done(const struct finish_row *r)
{
        return r->to == STATE_COMPLETED && r->reason == REASON_NONE && !r->keep_attempt &&
               r->error == ERROR_NONE && !r->children && !r->left_work && !r->reply;
}

/* By id, so that no two nodes wait for each other; equal ones stay in order. */
static int compare_rows(const void *a, const void *b)
{
        const struct finish_row *const *x = a, *const *y = b;
        int by_id = memcmp(&(*x)->id, &(*y)->id, sizeof(*x)->id);
        return by_id ? by_id : (*x > *y) - (*x < *y);
}

static struct finishing *sort_rows(struct ledger_finish *b, bool careful)
{
        struct arena *a = &b->base.arena;
        struct finishing *k = arena_zalloc(a, sizeof *k);
        struct finish_row **all = arena_alloc(a, ((size_t)b->n * 2 + 1) * sizeof *all);
        if (!k || !all) {
                return NULL;
        }
        k->done = all;
        k->other = all + b->n;
        for (uint32_t i = 0; i < b->n; i++) {
                struct finish_row *r = &b->rows[i];
                r->stale = true;
                if (r->reply) {
                        r->reply->no = 0;
                }
                if (r->ref && r->ref != ref_of(&r->id)) {
                        continue; /* the handle of another row */
                }
                if (!careful && is_done(r)) {
                        k->done[k->n_done++] = r;
                } else {
                        k->other[k->n_other++] = r;
                }
        }
        qsort(k->done, k->n_done, sizeof *k->done, compare_rows);
        qsort(k->other, k->n_other, sizeof *k->other, compare_rows);
        return k;
}

/* --- completions ------------------------------------------------------------------------------ */

enum column { CLAIM, ATTEMPT, SNOOZES, STRIKES, TOKEN, STARTED, ENDED };

static int64_t value_of(const struct finish_row *r, enum column which)
{
        switch (which) {
        case CLAIM: return r->claim;
        case TOKEN: return (int64_t)r->token;
        case ATTEMPT: return r->attempt;
        case SNOOZES: return r->snoozes;
        case STRIKES: return r->strikes;
        case STARTED: return r->started_us;
        default: return r->ended_us;
        }
}

/* All the same as `common`: none is sent, and each counts as that. */
static void put_column(struct params *p, const struct finishing *k, enum column which,
                       int64_t common)
{
        bool wide = which >= TOKEN, same = true;
        for (uint32_t i = 0; i < k->n_done && same; i++) {
                same = value_of(k->done[i], which) == common;
        }
        array_begin(p, wide ? OID_INT8 : OID_INT4);
        for (uint32_t i = 0; i < k->n_done && !same; i++) {
                int64_t v = value_of(k->done[i], which);
                if (wide) {
                        put_i64(p, v);
                } else {
                        put_i32(p, (int32_t)v);
                }
        }
        array_end(p);
}

static void put_ids(struct params *p, const struct finishing *k)
{
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n_done; i++) {
                put_id(p, &k->done[i]->id);
        }
        array_end(p);
}

static void put_results(struct params *p, const struct finishing *k, bool types)
{
        bool any = false;
        for (uint32_t i = 0; i < k->n_done; i++) {
                any |= (types ? k->done[i]->result_type : k->done[i]->result).n > 0;
        }
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < k->n_done && any; i++) {
                put_blob(p, types ? k->done[i]->result_type : k->done[i]->result);
        }
        array_end(p);
}

static int send_done(struct lane *n, struct work *w, const struct finishing *k)
{
        const struct finish_row *one = k->done[0];
        struct params *p = params_for(n);
        put_ids(p, k);
        put_column(p, k, CLAIM, one->claim);
        put_column(p, k, TOKEN, (int64_t)one->token);
        put_column(p, k, ATTEMPT, one->attempt);
        put_column(p, k, SNOOZES, one->snoozes);
        put_column(p, k, STRIKES, one->strikes);
        put_column(p, k, STARTED, 0);
        put_column(p, k, ENDED, 0);
        put_results(p, k, false);
        put_results(p, k, true);
        put_i16(p, (int16_t)one->reason);
        put_i32(p, one->attempt);
        put_i32(p, one->snoozes);
        put_i32(p, one->strikes);
        put_i32(p, (int32_t)one->claim);
        put_u64(p, one->token);
        put_i64(p, k->n_done);
        return work_send(n, w, ST_FINISH_DONE);
}

static void all_held(struct finishing *k)
{
        for (uint32_t i = 0; i < k->n_done; i++) {
                k->done[i]->stale = false;
        }
}

static int take_done(struct finishing *k, const PGresult *r)
{
        if (cell_i64(r, 0, 0) == k->n_done) {
                all_held(k);
                return 0;
        }
        struct cells hits = cell_array(r, 0, 1, 4);
        for (uint32_t i = 0; i < hits.n; i++) {
                int64_t no = cells_int(&hits, i);
                if (no < 1 || no > k->n_done) {
                        return -EBADMSG;
                }
                k->done[no - 1]->stale = false;
        }
        return 0;
}

/* --- completions that differ in nothing but their times --------------------------------------- */

static bool is_plain(const struct work *w, const struct finishing *k)
{
        const struct finish_row *one = k->done[0];
        bool plain = !w->stale;
        for (uint32_t i = 0; plain && i < k->n_done; i++) {
                const struct finish_row *r = k->done[i];
                plain = r->queue.n && !r->result.n && !r->result_type.n && r->claim == one->claim &&
                        r->attempt == one->attempt && r->snoozes == one->snoozes &&
                        r->strikes == one->strikes;
        }
        return plain;
}

/* Runs of rows of one queue: mostly there is one run. The server adds up those of a queue. */
static void put_counts(struct params *p, const struct finishing *k)
{
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < k->n_done; i++) {
                if (!i || !str_eq(k->done[i]->queue, k->done[i - 1]->queue)) {
                        put_bytes(p, k->done[i]->queue);
                }
        }
        array_end(p);
        array_begin(p, OID_INT8);
        for (uint32_t i = 0, n = 0; i < k->n_done; i++) {
                n++;
                if (i + 1 == k->n_done || !str_eq(k->done[i]->queue, k->done[i + 1]->queue)) {
                        put_i64(p, n);
                        n = 0;
                }
        }
        array_end(p);
}

static int send_plain(struct lane *n, struct work *w, const struct finishing *k)
{
        const struct finish_row *one = k->done[0];
        struct params *p = params_for(n);
        put_ids(p, k);
        for (enum column which = TOKEN; which <= ENDED; which++) { /* wide ones, whole */
                array_begin(p, OID_INT8);
                for (uint32_t i = 0; i < k->n_done; i++) {
                        put_i64(p, value_of(k->done[i], which));
                }
                array_end(p);
        }
        put_i32(p, (int32_t)one->claim);
        put_i32(p, one->attempt);
        put_i32(p, one->snoozes);
        put_i32(p, one->strikes);
        put_counts(p, k);
        return work_send(n, w, ST_FINISH_PLAIN);
}

/* --- others ----------------------------------------------------------------------------------- */

/* In the order of the type `verdict`. */
static void put_verdict(struct params *p, const struct finish_row *r)
{
        record_begin(p);
        put_id(p, &r->id);
        put_i32(p, (int32_t)r->claim);
        put_u64(p, r->token);
        put_i16(p, (int16_t)r->to);
        put_i16(p, (int16_t)r->reason);
        put_i16(p, (int16_t)r->error);
        put_i32(p, r->attempt);
        put_i32(p, r->snoozes);
        put_i16(p, r->strikes);
        put_bool(p, r->keep_attempt);
        put_i64(p, r->after_us);
        put_i64(p, r->started_us);
        put_i64(p, r->ended_us);
        put_i32(p, r->worker);
        put_i32(p, r->worker_pid);
        put_blob(p, r->error_text);
        put_blob(p, r->build);
        put_blob(p, r->result);
        put_blob(p, r->result_type);
        put_u64(p, r->fingerprint);
        put_bool(p, r->left_work);
        record_end(p);
}

static int put_children(struct lane *n, struct work *w, const struct finishing *k)
{
        struct unit *units = arena_alloc(&w->b->arena, (k->n_other + 1) * sizeof *units);
        uint32_t n_units = 0;
        for (uint32_t i = 0; units && i < k->n_other; i++) {
                struct submission *s = k->other[i]->children;
                if (s && k->other[i]->to == STATE_COMPLETED) {
                        units[n_units++] = (struct unit){s, i + 1};
                }
        }
        return units ? put_units(n, w, units, n_units, true) : -ENOMEM;
}

/* In the order of the type reply. */
static void put_replies(struct lane *n, const struct finishing *k)
{
        struct params *p = &n->params;
        array_begin(p, n->l->oid_reply);
        for (uint32_t i = 0; i < k->n_other; i++) {
                const struct job_reply *m = k->other[i]->reply;
                if (m) {
                        record_begin(p);
                        put_i32(p, (int32_t)i + 1);
                        put_bytes(p, m->queue);
                        put_bytes(p, m->to);
                        put_blob(p, m->correlation_id);
                        put_blob(p, m->content_type);
                        put_blob(p, m->body);
                        put_i16(p, (int16_t)m->state);
                        put_i16(p, (int16_t)m->reason);
                        put_blob(p, m->error_text);
                        record_end(p);
                }
        }
        array_end(p);
}

/* Children whose keys may be held, or be those of pruned jobs. */
static bool has_slow_children(const struct finishing *k)
{
        bool slow = false;
        for (uint32_t i = 0; i < k->n_other; i++) {
                const struct submission *s = k->other[i]->children;
                for (uint32_t c = 0; s && c < s->n; c++) {
                        slow |= has_keys(&s->rows[c]);
                }
        }
        return slow;
}

static int send_other(struct lane *n, struct work *w, const struct ledger_finish *b,
                      const struct finishing *k)
{
        struct params *p = params_for(n);
        put_u64(p, b->base.no.holder);
        array_begin(p, n->l->oid_verdict);
        for (uint32_t i = 0; i < k->n_other; i++) {
                put_verdict(p, k->other[i]);
        }
        array_end(p);
        int r = put_children(n, w, k);
        put_bool(p, w->careful);
        put_bool(p, has_slow_children(k));
        put_replies(n, k);
        return r ? r : work_send(n, w, ST_FINISH);
}

static int take_other(struct finishing *k, struct lane *n, struct work *w, const PGresult *r)
{
        for (int i = 0; i < PQntuples(r); i++) {
                int kind = cell_i16(r, i, 0), ord = cell_i32(r, i, 1);
                bool verdict = kind == SAID_HIT || kind == SAID_HIT_BURIED || kind == SAID_REPLY;
                if (verdict && (ord < 1 || (uint32_t)ord > k->n_other)) {
                        return -EBADMSG;
                }
                if (kind == SAID_REPLY) {
                        k->other[ord - 1]->reply->no = cell_i64(r, i, 4);
                } else if (verdict) {
                        k->other[ord - 1]->stale = false;
                        n->l->offered |= k->other[ord - 1]->to == STATE_PENDING;
                } else if (kind != SAID_OUTBOX) {
                        struct submit_row *row = said_row(w, r, i);
                        if (!row) {
                                return -EBADMSG;
                        }
                        said_apply(row, r, i);
                        n->l->offered = true;
                }
        }
        return 0;
}

/* --- the batch -------------------------------------------------------------------------------- */

static int send_finish(struct lane *n, struct work *w)
{
        struct ledger_finish *b = LEDGER_AS(finish, FINISH, w->b);
        struct finishing *k = sort_rows(b, w->careful);
        if (!k) {
                return -ENOMEM;
        }
        b->stale = 0;
        w->finishing = k;
        int r = send_number(n, w);
        if (!r && k->n_done) {
                r = is_plain(w, k) ? send_plain(n, w, k) : send_done(n, w, k);
        }
        if (!r && k->n_other) {
                r = send_other(n, w, b, k);
        }
        if (!r && b->n_retire) {
                put_numbers(params_for(n), b->retire, b->n_retire);
                r = work_send(n, w, ST_RETIRE);
        }
        return r;
}

static int take_finish(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        switch (which) {
        case ST_FINISH_PLAIN: all_held(w->finishing); return 0; /* or it would not be answered */
        case ST_FINISH_DONE: return take_done(w->finishing, r);
        case ST_FINISH: return take_other(w->finishing, n, w, r);
        default: return 0;
        }
}

static int end_finish(struct lane *n, struct work *w)
{
        struct ledger_finish *b = LEDGER_AS(finish, FINISH, w->b);
        (void)n;
        for (uint32_t i = 0; i < b->n; i++) {
                b->stale += b->rows[i].stale;
        }
        return 0;
}

const struct op op_finish = {
    .send = send_finish, .take = take_finish, .end = end_finish, .can_care = true};
