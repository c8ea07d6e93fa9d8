/*
 * The outbox: which doorbells nobody is known to have heard. A SUBMIT writes one row per queue with
 * all of its jobs; whoever rang them takes it out (RUNG), or anybody rings them again (RELAY).
 *
 * A row's number is the seq of its first job: it is never given twice, so a RUNG that comes late
 * takes no other row.
 */
#include "ledgers/sqlite/life.h"

#define RELAY_AT_MOST 1000 /* rows of one answer */

/* --- SUBMIT's part ---------------------------------------------------------------------------- */

struct outgoing {
        struct arena *arena;
        struct outbox_row *rows;
        uint32_t n, capacity, last; /* last: the queue that was asked for last */
};

static bool rings(const struct submit_row *r)
{
        return r->result == SUBMIT_CREATED && r->state == STATE_PENDING && r->band == BAND_BROKER;
}

/* NULL: out of memory. */
static struct outbox_row *row_for(struct outgoing *o, struct str queue)
{
        if (o->last < o->n && str_eq(o->rows[o->last].queue, queue)) {
                return &o->rows[o->last];
        }
        for (o->last = 0; o->last < o->n; o->last++) {
                if (str_eq(o->rows[o->last].queue, queue)) {
                        return &o->rows[o->last];
                }
        }
        if (o->n == o->capacity) {
                uint32_t capacity = o->capacity ? o->capacity * 2 : 8;
                struct outbox_row *rows = arena_alloc(o->arena, capacity * sizeof *rows);
                if (!rows) {
                        return NULL;
                }
                if (o->n) {
                        memcpy(rows, o->rows, o->n * sizeof *rows);
                }
                o->rows = rows;
                o->capacity = capacity;
        }
        struct str copy = arena_str(o->arena, queue);
        o->rows[o->n] = (struct outbox_row){.queue = copy};
        return copy.p ? &o->rows[o->n++] : NULL;
}

typedef void ringing_fn(struct outbox_row *o, const struct submit_row *r);

static void count_bell(struct outbox_row *o, const struct submit_row *r)
{
        (void)r;
        o->n++;
}

static void note_bell(struct outbox_row *o, const struct submit_row *r)
{
        o->bells[o->n++] = (struct doorbell){r->id, r->seq};
}

/* Once over all rows whose doorbells are to be rung. */
static int each_ringing(struct outgoing *o, const struct ledger_submit *b, ringing_fn *visit)
{
        for (const struct submission *s = b->list; s; s = s->next) {
                for (uint32_t i = 0; i < s->n && !s->request_conflict; i++) {
                        if (!rings(&s->rows[i])) {
                                continue;
                        }
                        struct outbox_row *row = row_for(o, s->rows[i].queue);
                        if (!row) {
                                return SQLITE_NOMEM;
                        }
                        visit(row, &s->rows[i]);
                }
        }
        return SQLITE_OK;
}

static int insert_row(struct tx *t, const struct outbox_row *o)
{
        struct binder b = bind_start(db_get(t->db, ST_OUTBOX_INSERT));
        bind_int(&b, o->no);
        bind_text(&b, o->queue);
        bind_int(&b, t->now_us);
        bind_bytes(&b, o->bells, o->n * sizeof *o->bells);
        return bind_run(&b);
}

int outbox_put(struct tx *t, struct ledger_submit *b)
{
        struct outgoing o = {.arena = &b->base.arena};
        b->outbox = NULL;
        b->n_outbox = 0;
        int rc = each_ringing(&o, b, count_bell);
        for (uint32_t i = 0; i < o.n && !rc; i++) {
                struct outbox_row *row = &o.rows[i];
                row->bells = arena_zalloc(o.arena, row->n * sizeof *row->bells);
                row->n = 0;
                rc = row->bells ? SQLITE_OK : SQLITE_NOMEM;
        }
        rc = rc || !o.n ? rc : each_ringing(&o, b, note_bell);
        for (uint32_t i = 0; i < o.n && !rc; i++) {
                o.rows[i].no = o.rows[i].bells[0].seq;
                rc = insert_row(t, &o.rows[i]);
        }
        b->outbox = o.rows;
        b->n_outbox = rc ? 0 : o.n;
        return rc;
}

/* --- RELAY ------------------------------------------------------------------------------------ */

static int read_row(struct ledger_relay *b, sqlite3_stmt *s)
{
        struct arena *a = &b->base.arena;
        struct str bells = column_copy(a, s, 2); /* an arena's pieces are aligned for any type */
        struct outbox_row *row = &b->rows[b->n];
        *row = (struct outbox_row){
            .no = sqlite3_column_int64(s, 0),
            .queue = column_copy(a, s, 1),
            .bells = (struct doorbell *)(uintptr_t)bells.p,
            .n = (uint32_t)(bells.n / sizeof *row->bells),
        };
        b->n += row->queue.p && bells.p;
        return row->queue.p && bells.p ? SQLITE_OK : SQLITE_NOMEM;
}

static int list_old(struct tx *t, struct ledger_relay *b, uint32_t limit)
{
        struct binder q = bind_start(db_get(t->db, ST_OUTBOX_OLD));
        bind_int(&q, t->now_us - b->older_us);
        bind_int(&q, limit);
        int rc = SQLITE_OK, step = SQLITE_ROW;
        while (!rc && b->n < limit && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                rc = read_row(b, q.s);
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

static int put_off(struct tx *t, int64_t no)
{
        struct binder b = bind_start(db_get(t->db, ST_OUTBOX_PUT_OFF));
        bind_int(&b, t->now_us);
        bind_int(&b, no);
        return bind_run(&b);
}

int relay_run(struct tx *t, struct ledger_relay *b)
{
        uint32_t limit = b->limit < RELAY_AT_MOST ? b->limit : RELAY_AT_MOST;
        b->n = 0;
        b->rows = arena_alloc(&b->base.arena, (limit + 1) * sizeof *b->rows);
        int rc = !b->rows ? SQLITE_NOMEM : b->owed_only ? SQLITE_OK : list_old(t, b, limit);
        rc = rc ? rc : reply_relay(t, b, limit);
        rc = rc || (!b->n && !b->n_replies) ? rc : tx_number(t, &b->base.no);
        for (uint32_t i = 0; i < b->n && !rc; i++) {
                rc = put_off(t, b->rows[i].no);
        }
        return rc ? rc : reply_put_off(t, b);
}

/* --- RUNG ------------------------------------------------------------------------------------- */

int rung_run(struct tx *t, struct ledger_rung *b)
{
        int rc = b->n || b->n_replies ? tx_number(t, &b->base.no) : SQLITE_OK;
        for (uint32_t i = 0; i < b->n && !rc; i++) {
                struct binder d = bind_start(db_get(t->db, ST_OUTBOX_DELETE));
                bind_int(&d, b->rows[i]);
                rc = bind_run(&d);
        }
        return rc ? rc : reply_rung(t, b);
}
