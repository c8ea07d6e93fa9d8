/*
 * REGISTER and BEAT: who is there, and what was asked of them. A beat hands out the cancels of its
 * holder until it is known that an answer with them arrived: every beat from the first that told a
 * request repeats it, so any of those that the holder knows of will do. A holder that claims the
 * job later reads the wish in the row.
 */
#include "ledgers/sqlite/life.h"

#include <stdio.h>

static int find_node(struct tx *t, uint64_t holder, bool *ret_found)
{
        struct binder b = bind_start(db_get(t->db, ST_NODE_SHOW));
        bind_u64(&b, holder);
        int rc = sqlite3_step(b.s);
        (void)sqlite3_reset(b.s);
        *ret_found = rc == SQLITE_ROW;
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int register_run(struct tx *t, struct ledger_register *r)
{
        bool found;
        int rc = find_node(t, r->base.no.holder, &found);
        if (!rc && found) {
                snprintf(r->base.note, sizeof r->base.note,
                         "this incarnation is registered already; draw a new one");
                return TX_REFUSED;
        }
        rc = rc ? rc : tx_number(t, &r->base.no);
        if (rc) {
                return rc;
        }
        struct binder b = bind_start(db_get(t->db, ST_NODE_INSERT));
        bind_u64(&b, r->base.no.holder);
        bind_blob(&b, r->host);
        bind_int(&b, r->pid);
        bind_blob(&b, r->version);
        bind_int(&b, t->now_us);
        bind_int(&b, t->now_us);
        return bind_run(&b);
}

static uint64_t count_rows(sqlite3_stmt *s, int *ret_rc)
{
        uint64_t n = 0;
        int rc;
        while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
                n++;
        }
        (void)sqlite3_reset(s);
        *ret_rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
        return n;
}

static int list_nodes(struct tx *t, struct ledger_beat *b)
{
        sqlite3_stmt *s = db_get(t->db, ST_NODE_LIST);
        int rc;
        uint64_t n = count_rows(s, &rc);
        b->nodes = rc ? NULL : arena_alloc(&b->base.arena, (n + 1) * sizeof *b->nodes);
        if (!b->nodes) {
                return rc ? rc : SQLITE_NOMEM;
        }
        while ((rc = sqlite3_step(s)) == SQLITE_ROW && b->n_nodes < n) {
                b->nodes[b->n_nodes++] = (struct node_seen){
                    .holder = (uint64_t)sqlite3_column_int64(s, 0),
                    .beat = (uint64_t)sqlite3_column_int64(s, 1),
                    .dead = sqlite3_column_int(s, 2) != 0,
                    .host = column_copy(&b->base.arena, s, 3),
                    .pid = sqlite3_column_int(s, 4),
                };
        }
        (void)sqlite3_reset(s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int forget_told(struct tx *t, const struct ledger_beat *b)
{
        struct binder d = bind_start(db_get(t->db, ST_CANCELS_KNOWN));
        bind_u64(&d, b->base.no.holder);
        bind_u64(&d, b->known);
        return bind_run(&d);
}

static int note_told(struct tx *t, const struct ledger_beat *b)
{
        struct binder u = bind_start(db_get(t->db, ST_CANCELS_TOLD));
        bind_u64(&u, b->base.no.n);
        bind_u64(&u, b->base.no.holder);
        return bind_run(&u);
}

static int list_cancels(struct tx *t, struct ledger_beat *b)
{
        struct binder q = bind_start(db_get(t->db, ST_CANCELS_LIST));
        bind_u64(&q, b->base.no.holder);
        int rc;
        uint64_t n = count_rows(q.s, &rc);
        b->cancels = rc ? NULL : arena_alloc(&b->base.arena, (n + 1) * sizeof *b->cancels);
        if (!b->cancels) {
                return rc ? rc : SQLITE_NOMEM;
        }
        while ((rc = sqlite3_step(q.s)) == SQLITE_ROW && b->n_cancels < n) {
                b->cancels[b->n_cancels++] = column_id(q.s, 0);
        }
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int see_changes(struct tx *t, struct ledger_beat *b)
{
        sqlite3_stmt *s = db_get(t->db, ST_DATA_VERSION);
        int rc = sqlite3_step(s);
        if (rc == SQLITE_ROW) {
                int64_t version = sqlite3_column_int64(s, 0);
                b->changed = version != t->db->data_version;
                t->db->data_version = version;
        }
        (void)sqlite3_reset(s);
        return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int keep_told(struct tx *t, const struct ledger_beat *b)
{
        struct binder u = bind_start(db_get(t->db, ST_NODE_TELL));
        bind_blob(&u, b->serves);
        bind_blob(&u, b->queues);
        bind_int(&u, b->workers);
        bind_u64(&u, b->base.no.holder);
        return bind_run(&u);
}

int beat_run(struct tx *t, struct ledger_beat *b)
{
        b->n_nodes = b->n_cancels = 0;
        b->changed = b->inbox = false;
        int rc = tx_number(t, &b->base.no);
        if (rc) {
                return rc;
        }
        struct binder u = bind_start(db_get(t->db, ST_NODE_BEAT));
        bind_int(&u, t->now_us);
        bind_u64(&u, b->base.no.holder);
        rc = bind_run(&u);
        rc = rc || !b->tells ? rc : keep_told(t, b);
        rc = rc ? rc : list_nodes(t, b);
        rc = rc ? rc : controls_list(t, b);
        rc = rc ? rc : schedules_revision(t->db, &b->schedules);
        rc = rc ? rc : forget_told(t, b);
        rc = rc ? rc : list_cancels(t, b);
        rc = rc ? rc : note_told(t, b);
        return rc ? rc : see_changes(t, b);
}

/* --- NODES ------------------------------------------------------------------------------------ */

static int read_node(struct arena *a, sqlite3_stmt *s, struct node_row *r)
{
        *r = (struct node_row){
            .holder = (uint64_t)sqlite3_column_int64(s, 0),
            .host = column_copy(a, s, 1),
            .version = column_copy(a, s, 2),
            .serves = column_copy(a, s, 3),
            .queues = column_copy(a, s, 4),
            .pid = sqlite3_column_int(s, 5),
            .workers = (uint32_t)sqlite3_column_int64(s, 6),
            .dead = sqlite3_column_int(s, 7) != 0,
            .registered_us = sqlite3_column_int64(s, 8),
            .beat_us = sqlite3_column_int64(s, 9),
        };
        bool all = r->host.p && r->version.p && r->serves.p && r->queues.p;
        return all ? SQLITE_OK : SQLITE_NOMEM;
}

int nodes_run(struct db *db, struct ledger_nodes *b)
{
        sqlite3_stmt *s = db_get(db, ST_NODES_ALL);
        uint32_t size = 0;
        int rc = SQLITE_OK, step = SQLITE_ROW;
        b->n = 0;
        while (!rc && (step = sqlite3_step(s)) == SQLITE_ROW) {
                if (b->n == size) {
                        size = size ? size * 2 : 16;
                        struct node_row *rows = arena_alloc(&b->base.arena, size * sizeof *rows);
                        if (!rows) {
                                rc = SQLITE_NOMEM;
                                break;
                        }
                        if (b->n) {
                                memcpy(rows, b->rows, b->n * sizeof *rows);
                        }
                        b->rows = rows;
                }
                rc = read_node(&b->base.arena, s, &b->rows[b->n]);
                b->n += !rc;
        }
        (void)sqlite3_reset(s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}
