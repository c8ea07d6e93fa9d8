/*
 * The keys of pruned rows: kind 3 of `keys`, by the hash of queue and key, until a week after the
 * row came. And what goes out of `keys` when its time is over, whatever its kind.
 */
#include "ledgers/sqlite/life.h"

#define OLD_AT_MOST 10000 /* keys that one call takes out */

static int hash_key(struct tx *t, struct str queue, const struct job_key *key,
                    uint8_t ret_hash[static 16])
{
        uint32_t n = queue.n + 1 + (uint32_t)sizeof key->b;
        char *p = arena_alloc(&t->scratch, n);
        if (!p) {
                return SQLITE_NOMEM;
        }
        memcpy(p, queue.p ? queue.p : "", queue.n);
        p[queue.n] = '\0';
        memcpy(p + queue.n + 1, key->b, sizeof key->b);
        hash16((struct str){p, n}, ret_hash);
        return SQLITE_OK;
}

int kept_meet(struct tx *t, struct submit_row *r, bool *ret_met)
{
        uint8_t hash[16], payload[16];
        int rc = hash_key(t, r->queue, &r->key, hash);
        if (rc) {
                return rc;
        }
        struct binder q = bind_start(db_get(t->db, ST_KEPT_SHOW));
        bind_bytes(&q, hash, sizeof hash);
        bind_int(&q, t->now_us);
        rc = sqlite3_step(q.s);
        *ret_met = rc == SQLITE_ROW;
        if (*ret_met) {
                struct str was = column_str(q.s, 1), is = {(const char *)payload, sizeof payload};
                hash16(r->payload, payload);
                r->result = !was.n || str_eq(was, is) ? SUBMIT_EXISTS : SUBMIT_CONFLICT;
                r->existing = column_id(q.s, 0);
                r->existing_state = STATE_NONE;
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int payload_hash(struct tx *t, int64_t seq, uint8_t ret_hash[static 16])
{
        struct binder q = bind_start(db_get(t->db, ST_PAYLOAD_OF));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        if (rc == SQLITE_ROW) {
                struct str came_with = column_str(q.s, 1);
                if (came_with.n == 16) {
                        memcpy(ret_hash, came_with.p, 16);
                } else {
                        hash16(column_str(q.s, 0), ret_hash);
                }
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

int kept_put(struct tx *t, const struct pick *p)
{
        uint8_t hash[16], payload[16];
        int64_t until = p->created_us + KEY_LIFE_US;
        if (!p->key.set || until <= t->now_us) {
                return SQLITE_OK;
        }
        bool lost = p->reason == REASON_UNSTORABLE; /* its payload was: nothing to compare */
        int rc = hash_key(t, p->queue, &p->key, hash);
        rc = rc || lost ? rc : payload_hash(t, p->seq, payload);
        if (rc) {
                return rc;
        }
        struct binder b = bind_start(db_get(t->db, ST_KEPT_PUT));
        bind_bytes(&b, hash, sizeof hash);
        bind_blob(&b, lost ? (struct str){0} : (struct str){(char *)payload, sizeof payload});
        bind_id(&b, &p->id);
        bind_int(&b, until);
        t->keys_kept = true;
        return bind_run(&b);
}

int unique_leave(struct tx *t, const struct pick *p)
{
        struct life life = {0};
        int rc = p->life & LIFE_OWN ? life_read(t->db, &t->scratch, p->seq, &life) : SQLITE_OK;
        if (rc || !life.unique) {
                return rc;
        }
        struct binder b = bind_start(db_get(t->db, ST_UNIQUE_LEAVE));
        bind_bytes(&b, life.unique_hash, sizeof life.unique_hash);
        bind_id(&b, &p->id);
        bind_int(&b, t->now_us);
        return bind_run(&b);
}

/* --- what is over ----------------------------------------------------------------------------- */

struct old_key {
        int kind;
        uint8_t hash[32];
        uint32_t n;
        bool held; /* a unique key whose period is over and whose holder is there: it stays */
};

static int list_old(struct tx *t, struct old_key *keys, uint32_t *ret_n)
{
        struct binder q = bind_start(db_get(t->db, ST_KEYS_OLD));
        bind_int(&q, t->now_us);
        bind_int(&q, OLD_AT_MOST);
        uint32_t n = 0;
        int rc;
        while ((rc = sqlite3_step(q.s)) == SQLITE_ROW && n < OLD_AT_MOST) {
                struct str hash = column_str(q.s, 1);
                struct old_key *k = &keys[n++];
                *k = (struct old_key){.kind = sqlite3_column_int(q.s, 0),
                                      .n = hash.n <= sizeof k->hash ? hash.n : 0,
                                      .held = sqlite3_column_int(q.s, 2) != 0};
                memcpy(k->hash, hash.p ? hash.p : "", k->n);
        }
        (void)sqlite3_reset(q.s);
        *ret_n = n;
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int keys_expire(struct tx *t, const struct commit_no *no)
{
        uint32_t n;
        struct old_key *keys = arena_alloc(&t->scratch, OLD_AT_MOST * sizeof *keys);
        int rc = keys ? list_old(t, keys, &n) : SQLITE_NOMEM;
        rc = rc || !n || !no ? rc : tx_number(t, no);
        for (uint32_t i = 0; !rc && i < n; i++) {
                enum statement which = keys[i].held ? ST_KEY_TIMELESS : ST_KEY_DELETE;
                struct binder b = bind_start(db_get(t->db, which));
                bind_int(&b, keys[i].kind);
                bind_bytes(&b, keys[i].hash, keys[i].n);
                rc = bind_run(&b);
        }
        return rc;
}
