/*
 * CONTROL: what operators set for a queue at runtime. A row only as long as it says something.
 */
#include "ledgers/sqlite/life.h"

static int32_t read_limit(sqlite3_stmt *s, int i)
{
        bool unset = sqlite3_column_type(s, i) == SQLITE_NULL;
        return unset ? CONTROL_UNSET : sqlite3_column_int(s, i);
}

static int show_control(struct tx *t, struct queue_control *c)
{
        struct binder q = bind_start(db_get(t->db, ST_CONTROL_SHOW));
        bind_text(&q, c->queue);
        int rc = sqlite3_step(q.s);
        c->paused = rc == SQLITE_ROW && sqlite3_column_int(q.s, 0) != 0;
        c->concurrency = rc == SQLITE_ROW ? read_limit(q.s, 1) : CONTROL_UNSET;
        c->global = rc == SQLITE_ROW ? read_limit(q.s, 2) : CONTROL_UNSET;
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void bind_limit(struct binder *b, int32_t v)
{
        if (v < 0) {
                bind_null(b);
        } else {
                bind_int(b, v);
        }
}

static int put_control(struct tx *t, const struct queue_control *c)
{
        bool says = c->paused || c->concurrency >= 0 || c->global >= 0;
        struct binder b = bind_start(db_get(t->db, says ? ST_CONTROL_PUT : ST_CONTROL_DELETE));
        bind_text(&b, c->queue);
        if (says) {
                bind_int(&b, c->paused);
                bind_limit(&b, c->concurrency);
                bind_limit(&b, c->global);
        }
        return bind_run(&b);
}

int control_run(struct tx *t, struct ledger_control *b)
{
        struct queue_control now = {.queue = b->control.queue}, to = b->control;
        int rc = show_control(t, &now);
        rc = rc || !b->set ? rc : tx_number(t, &b->base.no);
        if (rc) {
                return rc;
        }
        if (b->set & CONTROL_PAUSED) {
                now.paused = to.paused;
        }
        if (b->set & CONTROL_CONCURRENCY) {
                now.concurrency = to.concurrency < 0 ? CONTROL_UNSET : to.concurrency;
        }
        if (b->set & CONTROL_GLOBAL) {
                now.global = to.global < 0 ? CONTROL_UNSET : to.global;
        }
        rc = b->set ? put_control(t, &now) : SQLITE_OK;
        if (!rc) {
                b->control = now;
        }
        return rc;
}

static bool make_room(struct ledger_beat *b, uint32_t *size)
{
        if (b->n_controls < *size) {
                return true;
        }
        *size = *size ? *size * 2 : 8;
        struct queue_control *c = arena_alloc(&b->base.arena, *size * sizeof *c);
        if (c && b->n_controls) {
                memcpy(c, b->controls, b->n_controls * sizeof *c);
        }
        b->controls = c;
        return c != NULL;
}

int controls_list(struct tx *t, struct ledger_beat *b)
{
        sqlite3_stmt *s = db_get(t->db, ST_CONTROL_LIST);
        uint32_t size = 0;
        int rc = SQLITE_OK, step = SQLITE_ROW;
        b->n_controls = 0;
        while (!rc && (step = sqlite3_step(s)) == SQLITE_ROW) {
                struct queue_control c = {
                    .queue = column_copy(&b->base.arena, s, 0),
                    .paused = sqlite3_column_int(s, 1) != 0,
                    .concurrency = read_limit(s, 2),
                    .global = read_limit(s, 3),
                };
                rc = c.queue.p && make_room(b, &size) ? SQLITE_OK : SQLITE_NOMEM;
                if (!rc) {
                        b->controls[b->n_controls++] = c;
                }
        }
        (void)sqlite3_reset(s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}
