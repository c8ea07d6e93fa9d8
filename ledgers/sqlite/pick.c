/*
 * Rows as BULK, GROUPS and PRUNE look at them: which a filter means, and how one goes.
 */
#include "core/pattern.h"
#include "ledgers/sqlite/life.h"

void pick_read(sqlite3_stmt *s, struct pick *ret)
{
        struct str key = column_str(s, 13);
        *ret = (struct pick){
            .seq = sqlite3_column_int64(s, 0),
            .id = column_id(s, 1),
            .queue = column_str(s, 2),
            .type = column_str(s, 3),
            .state = (enum job_state)sqlite3_column_int(s, 4),
            .reason = (enum job_reason)sqlite3_column_int(s, 5),
            .holder = (uint64_t)sqlite3_column_int64(s, 6),
            .priority = (uint8_t)sqlite3_column_int(s, 7),
            .cancel_asked = sqlite3_column_int(s, 8) != 0,
            .created_us = sqlite3_column_int64(s, 9),
            .tags = column_str(s, 12),
            .key.set = key.n == sizeof ret->key.b,
            .life = (int)(sqlite3_column_int64(s, 14) & LIFE_BITS),
        };
        bool parked = ret->state == STATE_DEAD || ret->state == STATE_CANCELLED;
        if (state_terminal(ret->state)) {
                ret->ended_us = sqlite3_column_int64(s, parked ? 11 : 10);
        }
        if (ret->key.set) {
                memcpy(ret->key.b, key.p, key.n);
                ret->key = key_within(ret->queue, &ret->key);
        }
}

static bool copy_text(struct arena *a, struct str *v)
{
        *v = v->n ? arena_str(a, *v) : (struct str){"", 0};
        return v->p != NULL;
}

int pick_keep(struct arena *a, struct pick *p)
{
        bool all = copy_text(a, &p->queue) && copy_text(a, &p->type) && copy_text(a, &p->tags);
        return all ? SQLITE_OK : SQLITE_NOMEM;
}

int last_error(struct db *db, struct arena *a, int64_t seq, struct last_error *ret)
{
        struct binder q = bind_start(db_get(db, ST_LAST_ERROR));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        *ret = (struct last_error){.text = {"", 0}};
        if (rc == SQLITE_ROW) {
                ret->error = (enum error_class)sqlite3_column_int(q.s, 0);
                ret->fingerprint = (uint64_t)sqlite3_column_int64(q.s, 1);
                if (a) {
                        ret->text = column_copy(a, q.s, 2);
                }
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* --- filters ---------------------------------------------------------------------------------- */

/* tags: ",a,b," */
static bool has_tag(struct str tags, struct str tag)
{
        for (uint32_t i = 0; i + tag.n + 1 < tags.n; i++) {
                if (tags.p[i] == ',' && tags.p[i + 1 + tag.n] == ',' &&
                    memcmp(tags.p + i + 1, tag.p, tag.n) == 0) {
                        return true;
                }
        }
        return false;
}

static bool names_match(const struct pick *p, const struct job_filter *f)
{
        return (!f->queue.n || str_eq(f->queue, p->queue)) &&
               (!f->type.n || pattern_match(f->type, p->type)) &&
               (!f->tag.n || has_tag(p->tags, f->tag));
}

static bool times_match(const struct pick *p, const struct job_filter *f)
{
        return p->created_us >= f->since_us && (!f->before_us || p->created_us < f->before_us) &&
               (!f->ended_before_us || (p->ended_us && p->ended_us < f->ended_before_us));
}

int pick_matches(struct db *db, const struct pick *p, const struct job_filter *f, bool *ret_yes)
{
        *ret_yes = times_match(p, f) && names_match(p, f);
        if (!*ret_yes || (f->error == ERROR_NONE && !f->fingerprint)) {
                return SQLITE_OK;
        }
        struct last_error e;
        int rc = last_error(db, NULL, p->seq, &e);
        *ret_yes = (f->error == ERROR_NONE || f->error == e.error) &&
                   (!f->fingerprint || f->fingerprint == e.fingerprint);
        return rc;
}

/* --- a row goes ------------------------------------------------------------------------------- */

int pick_delete(struct tx *t, const struct pick *p)
{
        int rc = kept_put(t, p);
        rc = rc ? rc : unique_leave(t, p);
        if (rc) {
                return rc;
        }
        struct binder b = bind_start(db_get(t->db, ST_DELETE_JOB));
        bind_int(&b, p->seq);
        rc = bind_run(&b);
        return rc ? rc : tx_delta(t, p->queue, p->state, -1);
}
