/*
 * Rows that come in side by side and differ in little: one statement puts in all of them, reading
 * them where they are through the virtual table `incoming`. A statement for each costs half as much
 * again, most of it for opening five indexes each time.
 *
 * It stops at the first row that does not go in (its id or its key is there, or its data is
 * refused), with those before it written; that one is then taken alone, by who knows what to say of
 * it. Where many stop, as when a file is sent a second time, rows are taken alone for a while.
 */
#include "ledgers/sqlite/life.h"

#define ALONE_AFTER_STOP 32
#define PAYLOAD_MAX      (1u << 20) /* larger ones alone: nothing of them is refused too late */

/* --- the table -------------------------------------------------------------------------------- */

enum {
        COLUMN_SEQ,
        COLUMN_ID,
        COLUMN_LANE,
        COLUMN_DUE,
        COLUMN_KEY,
        COLUMN_KEY_TEXT,
        COLUMN_HEADERS,
        COLUMN_SIZE,
        COLUMN_PAYLOAD,
        COLUMN_APART
};
#define TABLE                                                                                      \
        "create table x (seq integer, id blob, lane integer, due integer, key blob, "              \
        "key_text blob, headers blob, size integer, payload blob, apart blob)"

struct table {
        sqlite3_vtab base;
        struct incoming *of;
};

static int table_connect(sqlite3 *sql, void *ctx, int argc, const char *const *argv,
                         sqlite3_vtab **ret, char **ret_error)
{
        (void)argc;
        (void)argv;
        (void)ret_error;
        int rc = sqlite3_declare_vtab(sql, TABLE);
        struct table *x = rc ? NULL : sqlite3_malloc(sizeof *x);
        if (!x) {
                return rc ? rc : SQLITE_NOMEM;
        }
        *x = (struct table){.of = ctx};
        *ret = &x->base;
        return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *x)
{
        sqlite3_free(x);
        return SQLITE_OK;
}

static int table_plan(sqlite3_vtab *x, sqlite3_index_info *plan)
{
        (void)x;
        plan->estimatedCost = 1000;
        return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *x, sqlite3_vtab_cursor **ret)
{
        (void)x;
        *ret = sqlite3_malloc(sizeof **ret);
        if (*ret) {
                **ret = (sqlite3_vtab_cursor){0};
        }
        return *ret ? SQLITE_OK : SQLITE_NOMEM;
}

static int cursor_close(sqlite3_vtab_cursor *c)
{
        sqlite3_free(c);
        return SQLITE_OK;
}

static struct incoming *of_cursor(sqlite3_vtab_cursor *c)
{
        return CONTAINER_OF(c->pVtab, struct table, base)->of;
}

static int cursor_start(sqlite3_vtab_cursor *c, int plan, const char *text, int n,
                        sqlite3_value **args)
{
        (void)plan;
        (void)text;
        (void)n;
        (void)args;
        of_cursor(c)->at = 0;
        return SQLITE_OK;
}

static int cursor_next(sqlite3_vtab_cursor *c)
{
        of_cursor(c)->at++;
        return SQLITE_OK;
}

static int cursor_end(sqlite3_vtab_cursor *c)
{
        const struct incoming *x = of_cursor(c);
        return x->at >= x->n;
}

static int cursor_number(sqlite3_vtab_cursor *c, sqlite3_int64 *ret)
{
        const struct incoming *x = of_cursor(c);
        *ret = x->seq + x->at;
        return SQLITE_OK;
}

static void tell_bytes(sqlite3_context *c, const void *p, size_t n)
{
        if (n) { /* else null, which it is already */
                sqlite3_result_blob64(c, p, n, SQLITE_STATIC);
        }
}

static void tell_where(sqlite3_context *c, int64_t v)
{
        if (v != NOWHERE) {
                sqlite3_result_int64(c, v);
        }
}

static void tell_key(sqlite3_context *c, struct incoming *x, const struct submit_row *r)
{
        if (r->key.set) {
                x->key = key_within(r->queue, &r->key);
                sqlite3_result_blob(c, x->key.b, sizeof x->key.b, SQLITE_STATIC);
        }
}

static int cursor_column(sqlite3_vtab_cursor *cursor, sqlite3_context *c, int column)
{
        struct incoming *x = of_cursor(cursor);
        const struct submit_row *r = incoming_row(x, x->at);
        bool apart = r->payload.n > PAYLOAD_INLINE_MAX;
        int64_t seq = x->seq + x->at;
        switch (column) {
        case COLUMN_SEQ: sqlite3_result_int64(c, seq); break;
        case COLUMN_ID: tell_bytes(c, r->id.b, sizeof r->id.b); break;
        case COLUMN_LANE: tell_where(c, row_place(x->now_us, r, seq).lane); break;
        case COLUMN_DUE: tell_where(c, row_place(x->now_us, r, seq).due); break;
        case COLUMN_KEY: tell_key(c, x, r); break;
        case COLUMN_KEY_TEXT: tell_bytes(c, r->key_text.p, r->key_text.n); break;
        case COLUMN_HEADERS: tell_bytes(c, r->headers.p, r->headers.n); break;
        case COLUMN_SIZE: sqlite3_result_int64(c, r->payload.n); break;
        case COLUMN_PAYLOAD: tell_bytes(c, r->payload.p, apart ? 0 : r->payload.n); break;
        default: tell_bytes(c, r->payload.p, apart ? r->payload.n : 0);
        }
        return SQLITE_OK;
}

int incoming_open(struct db *db)
{
        static const sqlite3_module module = {
            .xConnect = table_connect,
            .xBestIndex = table_plan,
            .xDisconnect = table_disconnect,
            .xOpen = cursor_open,
            .xClose = cursor_close,
            .xFilter = cursor_start,
            .xNext = cursor_next,
            .xEof = cursor_end,
            .xColumn = cursor_column,
            .xRowid = cursor_number,
        };
        return sqlite3_create_module_v2(db->sql, "incoming", &module, &db->incoming, NULL);
}

/* --- rows that go together -------------------------------------------------------------------- */

/* Nothing may stand in its way but what the statement itself meets. */
static bool is_plain(const struct tx *t, const struct submit_row *r, const struct taker *by)
{
        return row_fits(r, by) && !state_terminal(r->state) && !row_has_life(r) && !r->inbox &&
               r->payload.n <= PAYLOAD_MAX && !(t->keys_kept && r->key.set);
}

static bool alike(const struct submit_row *a, const struct submit_row *b)
{
        return a->state == b->state && a->reason == b->reason && a->priority == b->priority &&
               a->max_attempts == b->max_attempts && a->timeout_ms == b->timeout_ms &&
               a->deadline_us == b->deadline_us && str_eq(a->queue, b->queue) &&
               str_eq(a->type, b->type) && str_eq(a->content_type, b->content_type) &&
               str_eq(a->tags, b->tags);
}

static uint32_t count_alike(const struct tx *t, const struct incoming *x, const struct taker *by)
{
        const struct submit_row *first = incoming_row(x, 0);
        uint32_t i = 0;
        while (i < x->n && is_plain(t, incoming_row(x, i), by) &&
               (i == 0 || alike(first, incoming_row(x, i)))) {
                i++;
        }
        return i;
}

static int insert_jobs(struct tx *t, const struct submit_row *one, const struct taker *by)
{
        bool runs = one->state == STATE_RUNNING;
        struct binder b = bind_start(db_get(t->db, ST_INCOMING));
        bind_text(&b, one->queue);
        bind_text(&b, one->type);
        bind_int(&b, one->state);
        bind_int(&b, one->reason);
        bind_int(&b, one->max_attempts);
        bind_int(&b, one->priority);
        bind_int(&b, one->timeout_ms);
        bind_int(&b, t->now_us);
        bind_int(&b, one->deadline_us);
        bind_blob(&b, one->content_type);
        bind_blob(&b, one->tags);
        bind_int(&b, runs);
        bind_u64(&b, runs ? by->token : 0);
        bind_u64(&b, runs ? by->holder : 0);
        bind_int(&b, runs ? t->now_us : 0);
        bind_blob(&b, runs ? STR(FINISH_ROOM) : (struct str){0});
        return bind_run(&b);
}

static int insert_payloads(struct tx *t, const struct incoming *x, uint32_t done)
{
        bool apart = false;
        for (uint32_t i = 0; i < done && !apart; i++) {
                apart = incoming_row(x, i)->payload.n > PAYLOAD_INLINE_MAX;
        }
        t->db->incoming.n = done;
        return apart ? db_run(db_get(t->db, ST_INCOMING_BLOBS)) : SQLITE_OK;
}

int incoming_put(struct tx *t, struct incoming x, const struct taker *by, uint32_t *ret_done)
{
        *ret_done = 0;
        if (t->alone || t->limits || x.n < 2) {
                t->alone -= t->alone > 0;
                return SQLITE_OK;
        }
        int rc = tx_seq(t, &x.seq);
        x.n = rc ? 0 : count_alike(t, &x, by);
        if (x.n < 2) {
                return rc;
        }
        x.now_us = t->now_us;
        t->db->incoming = x;
        rc = insert_jobs(t, incoming_row(&x, 0), by);
        uint32_t done = rc ? t->db->incoming.at : x.n;
        if (db_data_error(rc)) {
                t->alone = ALONE_AFTER_STOP;
                rc = SQLITE_OK;
        }
        rc = rc || !done ? rc : insert_payloads(t, &x, done);
        t->db->incoming = (struct incoming){0};
        if (rc || !done) {
                return rc;
        }
        t->seq += done;
        *ret_done = done;
        return tx_delta(t, incoming_row(&x, 0)->queue, incoming_row(&x, 0)->state, done);
}
