/*
 * What may stand in the way of a row that carries more than a plain one: the key of a pruned row, a
 * unique key, the bound of its queue. Each is looked at only for rows, batches and stores that have
 * it, so that a plain row is one insert and nothing more.
 */
#include "ledgers/sqlite/life.h"

#include <stdio.h>

bool row_has_life(const struct submit_row *r)
{
        return r->policy.n || r->retry_until_us || r->heartbeat_ms || r->unique.set;
}

int life_put(struct tx *t, const struct submit_row *r, int64_t seq)
{
        struct str hash = {(const char *)r->unique.hash, sizeof r->unique.hash};
        struct binder b = bind_start(db_get(t->db, ST_LIFE_PUT));
        bind_int(&b, seq);
        bind_blob(&b, r->policy);
        bind_int(&b, r->retry_until_us);
        bind_int(&b, r->heartbeat_ms);
        bind_blob(&b, unique_counts(r) ? hash : (struct str){0});
        return bind_run(&b);
}

int life_read(struct db *db, struct arena *a, int64_t seq, struct life *ret)
{
        struct binder q = bind_start(db_get(db, ST_LIFE_SHOW));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        *ret = (struct life){.policy = {"", 0}};
        if (rc == SQLITE_ROW) {
                struct str unique = column_str(q.s, 3);
                ret->policy = column_copy(a, q.s, 0);
                ret->retry_until_us = sqlite3_column_int64(q.s, 1);
                ret->heartbeat_ms = (uint32_t)sqlite3_column_int64(q.s, 2);
                ret->unique = unique.n == sizeof ret->unique_hash;
                if (ret->unique) {
                        memcpy(ret->unique_hash, unique.p, unique.n);
                }
                rc = ret->policy.p ? SQLITE_OK : SQLITE_NOMEM;
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* --- its id, its key -------------------------------------------------------------------------- */

/* The row's payload was replaced, and its key stands for the one that it came with. */
static bool came_with(const struct submit_row *r, struct str hash)
{
        uint8_t own[16];
        hash16(r->payload, own);
        return str_eq(hash, (struct str){(const char *)own, sizeof own});
}

/* Is the row that the statement found of the same payload? */
static bool same_payload(const struct submit_row *r, sqlite3_stmt *s)
{
        struct str hash = column_str(s, 4);
        if (sqlite3_column_int(s, 2) == REASON_UNSTORABLE) {
                return true; /* it was lost: nothing to compare */
        }
        return hash.n ? came_with(r, hash) : str_eq(column_str(s, 3), r->payload);
}

int row_meet(struct tx *t, struct submit_row *r, bool *ret_met)
{
        int rc = row_find(t, &r->id, ret_met, &r->existing_state);
        if (rc || *ret_met) {
                r->result = SUBMIT_EXISTS;
                r->existing = r->id;
                return rc;
        }
        if (!r->key.set) {
                return SQLITE_OK;
        }
        struct job_key key = key_within(r->queue, &r->key);
        struct binder b = bind_start(db_get(t->db, ST_BY_KEY));
        bind_key(&b, &key);
        rc = sqlite3_step(b.s);
        *ret_met = rc == SQLITE_ROW;
        if (*ret_met) {
                r->result = same_payload(r, b.s) ? SUBMIT_EXISTS : SUBMIT_CONFLICT;
                r->existing = column_id(b.s, 0);
                r->existing_state = (enum job_state)sqlite3_column_int(b.s, 1);
        }
        (void)sqlite3_reset(b.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int meet_all(struct tx *t, struct submit_row *r, bool *ret_met)
{
        int64_t next;
        int rc = tx_seq(t, &next); /* learns t->keys_kept as well */
        if (!rc && t->keys_kept && r->key.set) {
                rc = kept_meet(t, r, ret_met);
        }
        if (!rc && !*ret_met && r->unique.set && unique_counts(r)) {
                rc = unique_meet(t, r, ret_met);
        }
        if (!rc && !*ret_met && t->limits) {
                rc = limits_meet(t, r, ret_met);
        }
        return rc;
}

/* A letter that met something gets a row that ends with that, and is told so if it asked. */
static int letter_owed(struct tx *t, const struct submit_row *r)
{
        char text[96], id[JOB_ID_TEXT];
        bool conflict = r->result == SUBMIT_CONFLICT;
        if (!r->headers.n || r->result == SUBMIT_EXISTS) {
                return SQLITE_OK;
        }
        id_text(&r->existing, id);
        int n = snprintf(text, sizeof text,
                         conflict ? "its key names job %s, which has another payload"
                                  : "its unique key is held by job %s",
                         id);
        struct submit_row over = *r;
        over.state = conflict ? STATE_DEAD : STATE_CANCELLED;
        over.reason = conflict ? REASON_ID_CONFLICT : REASON_DUPLICATE;
        over.error_text = (struct str){text, (uint32_t)n};
        return reply_owe(t, &over);
}

int row_admit(struct tx *t, struct submit_row *r, const struct taker *by, int64_t *ret_seq)
{
        bool met = false, letter = by != NULL;
        *ret_seq = 0;
        int rc = meet_all(t, r, &met);
        if (!rc && !met) {
                rc = row_put(t, r, by, ret_seq);
                met = !*ret_seq;
                rc = rc || !met ? rc : row_explain(t, r);
        }
        if (!rc && ((met && letter) || state_terminal(r->state))) {
                rc = met ? letter_owed(t, r) : reply_owe(t, r);
        }
        if (rc || met) {
                return rc;
        }
        if (t->limits) {
                limits_note(t, r);
        }
        return r->unique.set && unique_counts(r) ? unique_take(t, r) : SQLITE_OK;
}
