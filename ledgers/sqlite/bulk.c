/*
 * BULK: one page of an operation over many jobs. The page is read first and written then: a
 * statement must not walk an index that its own writes change.
 */
#include "ledgers/sqlite/life.h"

#define LOOK_AT_MOST  5000  /* rows that a page looks at */
#define SORT_AT_MOST  10000 /* rows of a state that are cheaper sorted than found by walking ids */
#define AGAIN_AT_MOST 10000

#define BIT(state) (1u << STATE_##state)
#define PARKED     (BIT(DEAD) | BIT(CANCELLED))
#define DUE        (BIT(SCHEDULED) | BIT(RETRYING))
#define ANY        ((1u << JOB_STATE_COUNT) - 1)

static unsigned states_of(const struct ledger_bulk *b)
{
        unsigned asked = b->filter.states ? b->filter.states : ANY;
        switch (b->kind) {
        case BULK_REQUEUE: return asked & PARKED;
        case BULK_CANCEL: return asked & (DUE | BIT(PENDING) | BIT(RUNNING));
        case BULK_PURGE: return asked & (PARKED | BIT(COMPLETED));
        default: return asked & ANY;
        }
}

static int count_state(struct db *db, int state, int64_t *n)
{
        struct binder q = bind_start(db_get(db, ST_STATE_FEW));
        bind_int(&q, state);
        int rc = sqlite3_step(q.s);
        *n += rc == SQLITE_ROW ? sqlite3_column_int64(q.s, 0) : 0;
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Few rows in an index of their own: sort them. Else the ids are walked. */
static int choose_walk(struct db *db, unsigned states, enum statement *ret_which)
{
        static const struct {
                unsigned states;
                enum statement which;
        } own[] = {{PARKED, ST_PICK_PARKED}, {DUE, ST_PICK_DUE}, {BIT(PENDING), ST_PICK_WAITING}};
        *ret_which = ST_PICK;
        for (size_t i = 0; i < ARRAY_LEN(own); i++) {
                int64_t n = 0;
                int rc = SQLITE_OK;
                if (states & ~own[i].states) {
                        continue;
                }
                for (int s = 0; s < JOB_STATE_COUNT && !rc; s++) {
                        rc = own[i].states >> s & 1 ? count_state(db, s, &n) : SQLITE_OK;
                }
                *ret_which = n <= SORT_AT_MOST ? own[i].which : ST_PICK;
                return rc;
        }
        return SQLITE_OK;
}

/* --- the page --------------------------------------------------------------------------------- */

struct page {
        struct pick *rows;
        uint32_t n, room, looked;
};

static int look_at(struct tx *t, struct ledger_bulk *b, unsigned states, sqlite3_stmt *s,
                   struct page *page)
{
        struct pick p;
        bool yes = false;
        pick_read(s, &p);
        int rc = states >> p.state & 1 ? pick_matches(t->db, &p, &b->filter, &yes) : SQLITE_OK;
        b->last = p.id;
        page->looked++;
        b->done += yes;
        if (rc || !yes || b->kind == BULK_COUNT) {
                return rc;
        }
        rc = pick_keep(&t->scratch, &p);
        page->rows[page->n] = p;
        page->n += !rc;
        return rc;
}

static int read_page(struct tx *t, struct ledger_bulk *b, unsigned states, struct page *page)
{
        enum statement which;
        int rc = choose_walk(t->db, states, &which), step = SQLITE_ROW;
        if (rc) {
                return rc;
        }
        struct binder q = bind_start(db_get(t->db, which));
        bind_bytes(&q, b->after.b, b->has_after ? sizeof b->after.b : 0);
        bind_int(&q, LOOK_AT_MOST + 1);
        while (!rc && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                if (page->n == page->room || page->looked == LOOK_AT_MOST) {
                        b->more = true;
                        break;
                }
                rc = look_at(t, b, states, q.s, page);
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

static int cancel_one(struct tx *t, struct ledger_bulk *b, const struct pick *p,
                      const struct seen *j)
{
        if (p->state != STATE_RUNNING) {
                return seen_cancel(t, j, REASON_OPERATOR);
        }
        b->asked++;
        return p->cancel_asked ? SQLITE_OK : seen_ask(t, j, REASON_OPERATOR);
}

static int write_one(struct tx *t, struct ledger_bulk *b, const struct pick *p)
{
        struct seen j = {.found = true,
                         .seq = p->seq,
                         .state = p->state,
                         .holder = p->holder,
                         .priority = p->priority,
                         .queue = p->queue};
        switch (b->kind) {
        case BULK_REQUEUE: return seen_revive(t, &j);
        case BULK_CANCEL: return cancel_one(t, b, p, &j);
        default: return pick_delete(t, p);
        }
}

/* --- what died again -------------------------------------------------------------------------- */

static int again_in(struct tx *t, struct ledger_bulk *b, struct str queue)
{
        struct job_filter f = {.type = b->filter.type,
                               .tag = b->filter.tag,
                               .since_us = b->filter.since_us,
                               .before_us = b->filter.before_us};
        struct binder q = bind_start(db_get(t->db, ST_PICK_SINCE));
        bind_text(&q, queue);
        bind_int(&q, b->again_since_us);
        int rc = SQLITE_OK, step = SQLITE_ROW;
        while (!rc && b->again < AGAIN_AT_MOST && (step = sqlite3_step(q.s)) == SQLITE_ROW) {
                struct pick p;
                bool yes = false;
                pick_read(q.s, &p);
                rc = pick_matches(t->db, &p, &f, &yes);
                b->again += yes;
        }
        (void)sqlite3_reset(q.s);
        return rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
}

/* The index goes by queue: each of them in turn. */
static int count_again(struct tx *t, struct ledger_bulk *b)
{
        struct str queue = {"", 0};
        int rc = SQLITE_OK;
        if (b->filter.queue.n) {
                return again_in(t, b, b->filter.queue);
        }
        while (!rc && b->again < AGAIN_AT_MOST) {
                struct binder q = bind_start(db_get(t->db, ST_PARKED_QUEUE));
                bind_text(&q, queue);
                int step = sqlite3_step(q.s);
                if (step == SQLITE_ROW) {
                        queue = column_copy(&t->scratch, q.s, 0);
                }
                (void)sqlite3_reset(q.s);
                if (step != SQLITE_ROW) {
                        return step == SQLITE_DONE ? SQLITE_OK : step;
                }
                rc = queue.p ? again_in(t, b, queue) : SQLITE_NOMEM;
        }
        return rc;
}

/* --- a count by state ------------------------------------------------------------------------- */

/* Nothing is asked for but states and a queue: the counters know. */
static bool counters_know(const struct ledger_bulk *b)
{
        const struct job_filter *f = &b->filter;
        bool times = f->since_us || f->before_us || f->ended_before_us;
        bool error = f->error != ERROR_NONE || f->fingerprint;
        return b->kind == BULK_COUNT && !b->has_after && !f->type.n && !f->tag.n && !times &&
               !error;
}

static int count_states(struct tx *t, struct ledger_bulk *b, unsigned states)
{
        int64_t all = 0;
        int rc = SQLITE_OK;
        for (int s = 0; s < JOB_STATE_COUNT && !rc; s++) {
                int64_t n = 0;
                if (states >> s & 1) {
                        rc = b->filter.queue.n ? tx_count(t, b->filter.queue, (enum job_state)s, &n)
                                               : count_state(t->db, s, &n);
                }
                all += n;
        }
        b->done = all < UINT32_MAX ? (uint32_t)all : UINT32_MAX;
        return rc;
}

/* --- all of it -------------------------------------------------------------------------------- */

int bulk_run(struct tx *t, struct ledger_bulk *b)
{
        struct page page = {.room = b->limit < 1 ? 1 : b->limit > 1000 ? 1000 : b->limit};
        unsigned states = states_of(b);
        b->done = b->asked = b->again = 0;
        b->more = false;
        b->last = b->after;
        if (counters_know(b)) {
                return count_states(t, b, states);
        }
        page.rows = arena_alloc(&t->scratch, page.room * sizeof *page.rows);
        int rc = page.rows ? SQLITE_OK : SQLITE_NOMEM;
        rc = rc || !states ? rc : read_page(t, b, states, &page);
        rc = rc || !page.n ? rc : tx_number(t, &b->base.no);
        for (uint32_t i = 0; i < page.n && !rc; i++) {
                rc = write_one(t, b, &page.rows[i]);
        }
        bool again = b->kind == BULK_REQUEUE && b->again_since_us;
        return rc || !again ? rc : count_again(t, b);
}
