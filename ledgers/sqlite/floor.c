/*
 * FLOOR: the highest number of a broker's history up to which everything was taken in. A row that
 * only rises; so it needs no number in `commits` and may be written again at any time.
 */
#include "ledgers/sqlite/internal.h"

#include <stdio.h>

static int raise_floor(struct tx *t, const struct ledger_floor *b)
{
        struct binder u = bind_start(db_get(t->db, ST_FLOOR_RAISE));
        bind_bytes(&u, b->history.p, b->history.n);
        bind_int(&u, b->floor);
        return bind_run(&u);
}

int floor_run(struct tx *t, struct ledger_floor *b)
{
        if (b->history.n < 1 || b->history.n > FLOOR_NAME_MAX || b->floor < 0) {
                snprintf(b->base.note, sizeof b->base.note,
                         "a history's name is 1 to %d bytes, its floor not below 0",
                         FLOOR_NAME_MAX);
                return TX_REFUSED;
        }
        int rc = b->floor > 0 ? raise_floor(t, b) : SQLITE_OK;
        if (rc) {
                return rc;
        }
        struct binder q = bind_start(db_get(t->db, ST_FLOOR));
        bind_bytes(&q, b->history.p, b->history.n);
        rc = sqlite3_step(q.s);
        b->floor = rc == SQLITE_ROW ? sqlite3_column_int64(q.s, 0) : 0;
        (void)sqlite3_reset(q.s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}
