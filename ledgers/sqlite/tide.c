/*
 * TIDE: rows of the broker's band whose doorbells went by are offered instead. The band has no
 * priorities, so its lanes stand in the order of seq, and of age: the first that is too young ends
 * the look. (A clock that was set back can only make rows look younger: they wait a little.)
 */
#include "ledgers/sqlite/internal.h"

#define MOVE_AT_MOST 1000 /* rows held at once */

struct passed {
        int64_t seq;
        uint8_t priority;
};

static struct binder bind_band(struct tx *t, struct str queue, int64_t first, int64_t last)
{
        struct binder q = bind_start(db_get(t->db, ST_BROKER));
        bind_text(&q, queue);
        bind_int(&q, first);
        bind_int(&q, last);
        return q;
}

static bool is_old(const struct tx *t, const struct ledger_tide *b, sqlite3_stmt *s)
{
        return sqlite3_column_int64(s, 2) <= t->now_us - b->older_us;
}

/* Up to `page` rows, and whether there is one more. */
static int list_passed(struct tx *t, struct ledger_tide *b, uint32_t page, struct passed *rows,
                       uint32_t *ret_n)
{
        int64_t first, last;
        lane_range(BAND_BROKER, &first, &last);
        if (b->below <= b->last) { /* else the mask of a lane's seq would cut it */
                last = b->below > 0 ? lane_value(BAND_BROKER, 0, b->below) - 1 : first - 1;
        }
        struct binder q = bind_band(t, b->queue, first, last);
        uint32_t n = 0;
        int rc;
        b->more = false;
        while ((rc = sqlite3_step(q.s)) == SQLITE_ROW && is_old(t, b, q.s)) {
                if (n == page) {
                        b->more = true;
                        break;
                }
                rows[n++] = (struct passed){sqlite3_column_int64(q.s, 0),
                                            (uint8_t)sqlite3_column_int(q.s, 1)};
        }
        (void)sqlite3_reset(q.s);
        *ret_n = n;
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int offer_passed(struct tx *t, struct ledger_tide *b, const struct passed *rows, uint32_t n)
{
        int rc = n && !b->moved ? tx_number(t, &b->base.no) : SQLITE_OK;
        for (uint32_t i = 0; i < n && !rc; i++) {
                struct binder u = bind_start(db_get(t->db, ST_OFFER));
                bind_int(&u, lane_value(BAND_OFFERED, rows[i].priority, rows[i].seq));
                bind_int(&u, rows[i].seq);
                rc = bind_run(&u);
                b->moved += !rc;
        }
        return rc;
}

static int see_waiting(struct tx *t, struct ledger_tide *b)
{
        int64_t first, last;
        lane_range(BAND_BROKER, &first, &last);
        struct binder q = bind_band(t, b->queue, first, last);
        int rc = sqlite3_step(q.s);
        b->waiting = rc == SQLITE_ROW && is_old(t, b, q.s);
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int tide_run(struct tx *t, struct ledger_tide *b)
{
        uint32_t n, page;
        int64_t next;
        struct passed *rows = arena_alloc(&t->scratch, MOVE_AT_MOST * sizeof *rows);
        int rc = rows ? tx_seq(t, &next) : SQLITE_NOMEM;
        if (rc) {
                return rc;
        }
        b->moved = 0;
        b->last = next - 1;
        do {
                uint32_t left = b->limit - b->moved;
                page = left < MOVE_AT_MOST ? left : MOVE_AT_MOST;
                rc = list_passed(t, b, page, rows, &n);
                rc = rc ? rc : offer_passed(t, b, rows, n);
        } while (!rc && b->more && b->moved < b->limit);
        return rc ? rc : see_waiting(t, b);
}
