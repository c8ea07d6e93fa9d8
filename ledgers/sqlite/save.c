/*
 * What running jobs leave behind (SAVE), and the replies that ended ones owe. Neither stands in the
 * row of the job: that would be copied with each change of its state. A flag in the row tells a
 * claim that there is something to read.
 */
#include "ledgers/sqlite/life.h"

#include <stdio.h>

/* --- SAVE ------------------------------------------------------------------------------------- */

static int fence_save(struct tx *t, const struct save_row *r, int64_t ref, bool *ret_hit)
{
        struct binder b = bind_start(db_get(t->db, ST_SAVE_FENCE));
        bind_int(&b, ref);
        bind_id(&b, &r->id);
        bind_int(&b, r->claim);
        bind_u64(&b, r->token);
        int rc = bind_run(&b);
        *ret_hit = !rc && sqlite3_changes(t->db->sql) > 0;
        return rc;
}

static struct binder bind_save(struct tx *t, enum statement st, const struct save_row *r,
                               int64_t ref)
{
        struct binder b = bind_start(db_get(t->db, st));
        bind_int(&b, ref);
        bind_int(&b, r->claim);
        bind_int(&b, r->n);
        return b;
}

static int put_checkpoint(struct tx *t, const struct save_row *r, int64_t ref)
{
        struct binder b = bind_save(t, ST_SAVE_CHECKPOINT, r, ref);
        bind_blob(&b, r->checkpoint);
        return bind_run(&b);
}

static void bind_double(struct binder *b, double v)
{
        int rc = sqlite3_bind_double(b->s, ++b->i, v);
        b->rc = b->rc ? b->rc : rc;
}

static int put_progress(struct tx *t, const struct save_row *r, int64_t ref)
{
        struct binder b = bind_save(t, ST_SAVE_PROGRESS, r, ref);
        bind_double(&b, r->done);
        bind_double(&b, r->total);
        bind_int(&b, t->now_us);
        return bind_run(&b);
}

static int save_one(struct tx *t, struct save_row *r)
{
        bool hit = true;
        int64_t ref = r->ref;
        int rc = SQLITE_OK;
        if (!ref) {
                struct seen j;
                rc = seen_find(t, &r->id, &j);
                ref = j.seq;
        }
        rc = rc ? rc : fence_save(t, r, ref, &hit);
        r->stale = !hit;
        if (rc || !hit) {
                return rc;
        }
        rc = r->has_checkpoint ? put_checkpoint(t, r, ref) : SQLITE_OK;
        return rc || !r->has_progress ? rc : put_progress(t, r, ref);
}

int save_run(struct tx *t, struct ledger_save *b)
{
        for (uint32_t i = 0; i < b->n; i++) {
                if (b->rows[i].checkpoint.n > CHECKPOINT_MAX) {
                        snprintf(b->base.note, sizeof b->base.note,
                                 "a checkpoint has %u bytes at most, not %u", CHECKPOINT_MAX,
                                 b->rows[i].checkpoint.n);
                        return TX_REFUSED;
                }
        }
        int rc = SQLITE_OK;
        for (uint32_t i = 0; i < b->n && !rc; i++) {
                rc = save_one(t, &b->rows[i]);
        }
        return rc;
}

int save_read(struct db *db, struct arena *a, int64_t seq, struct str *ret_checkpoint)
{
        struct binder q = bind_start(db_get(db, ST_SAVE_SHOW));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        if (rc == SQLITE_ROW) {
                *ret_checkpoint = column_copy(a, q.s, 0);
                rc = ret_checkpoint->p ? SQLITE_OK : SQLITE_NOMEM;
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int save_show(struct db *db, int64_t seq, struct job_row *r)
{
        struct binder q = bind_start(db_get(db, ST_SAVE_SHOW));
        bind_int(&q, seq);
        int rc = sqlite3_step(q.s);
        if (rc == SQLITE_ROW) {
                r->has_progress = sqlite3_column_type(q.s, 3) != SQLITE_NULL;
                r->done = sqlite3_column_double(q.s, 1);
                r->total = sqlite3_column_double(q.s, 2);
                r->progress_us = sqlite3_column_int64(q.s, 3);
                r->checkpoint_size = (uint32_t)sqlite3_column_int64(q.s, 4);
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int save_delete(struct tx *t, int64_t seq)
{
        struct binder b = bind_start(db_get(t->db, ST_SAVE_DELETE));
        bind_int(&b, seq);
        return bind_run(&b);
}

/* --- replies ---------------------------------------------------------------------------------- */

int reply_put(struct tx *t, struct job_reply *r)
{
        struct binder b = bind_start(db_get(t->db, ST_REPLY_INSERT));
        bind_text(&b, r->queue);
        bind_int(&b, t->now_us);
        bind_bytes(&b, r->to.p, r->to.n);
        bind_blob(&b, r->correlation_id);
        bind_blob(&b, r->content_type);
        bind_blob(&b, r->body);
        bind_id(&b, &r->job);
        bind_int(&b, r->state);
        bind_int(&b, r->reason);
        bind_blob(&b, r->error_text);
        int rc = bind_run(&b);
        r->no = rc ? 0 : sqlite3_last_insert_rowid(t->db->sql);
        return rc;
}

/* A row that begins terminal; those that wait are the schema's (jobs_owe). */
int reply_owe(struct tx *t, const struct submit_row *r)
{
        static const char sign[] = "reply-to";
        if (!r->headers.n || !memmem(r->headers.p, r->headers.n, sign, sizeof sign - 1)) {
                return SQLITE_OK;
        }
        struct binder b = bind_start(db_get(t->db, ST_REPLY_OWE));
        bind_text(&b, r->queue);
        bind_id(&b, &r->id);
        bind_int(&b, r->state);
        bind_int(&b, r->reason);
        bind_blob(&b, r->error_text);
        bind_blob(&b, r->headers);
        return bind_run(&b);
}

static int gather_owed(struct tx *t)
{
        sqlite3_stmt *any = db_get(t->db, ST_OWED_ANY);
        int rc = sqlite3_step(any);
        (void)sqlite3_reset(any);
        if (rc != SQLITE_ROW) {
                return rc == SQLITE_DONE ? SQLITE_OK : rc;
        }
        rc = db_run(db_get(t->db, ST_OWED_MOVE));
        return rc ? rc : db_run(db_get(t->db, ST_OWED_CLEAR));
}

static int read_reply(struct arena *a, sqlite3_stmt *s, struct job_reply *r)
{
        *r = (struct job_reply){
            .no = sqlite3_column_int64(s, 0),
            .queue = column_copy(a, s, 1),
            .to = column_copy(a, s, 2),
            .correlation_id = column_copy(a, s, 3),
            .content_type = column_copy(a, s, 4),
            .body = column_copy(a, s, 5),
            .job = column_id(s, 6),
            .state = (enum job_state)sqlite3_column_int(s, 7),
            .reason = (enum job_reason)sqlite3_column_int(s, 8),
            .error_text = column_copy(a, s, 9),
            .headers = column_copy(a, s, 10),
        };
        bool all = r->queue.p && r->to.p && r->correlation_id.p && r->content_type.p && r->body.p &&
                   r->error_text.p && r->headers.p;
        return all ? SQLITE_OK : SQLITE_NOMEM;
}

int reply_relay(struct tx *t, struct ledger_relay *b, uint32_t limit)
{
        b->n_replies = 0;
        b->replies = NULL;
        int rc = gather_owed(t), step = SQLITE_ROW;
        struct binder q = bind_start(db_get(t->db, ST_REPLY_OLD));
        bind_int(&q, t->now_us - b->older_us);
        bind_int(&q, b->owed_only);
        bind_int(&q, limit);
        while (!rc && b->n_replies < limit && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                if (!b->replies) {
                        b->replies = arena_alloc(&b->base.arena, limit * sizeof *b->replies);
                }
                rc = b->replies ? read_reply(&b->base.arena, q.s, &b->replies[b->n_replies])
                                : SQLITE_NOMEM;
                b->n_replies += !rc;
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

int reply_put_off(struct tx *t, const struct ledger_relay *b)
{
        int rc = SQLITE_OK;
        for (uint32_t i = 0; i < b->n_replies && !rc; i++) {
                struct binder u = bind_start(db_get(t->db, ST_REPLY_PUT_OFF));
                bind_int(&u, t->now_us);
                bind_int(&u, b->replies[i].no);
                rc = bind_run(&u);
        }
        return rc;
}

int reply_rung(struct tx *t, const struct ledger_rung *b)
{
        int rc = SQLITE_OK;
        for (uint32_t i = 0; i < b->n_replies && !rc; i++) {
                struct binder d = bind_start(db_get(t->db, ST_REPLY_DELETE));
                bind_int(&d, b->replies[i]);
                rc = bind_run(&d);
        }
        return rc;
}
