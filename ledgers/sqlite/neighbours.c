/*
 * Verdicts of neighbours: jobs of one claim with consecutive seqs that simply completed, as most of
 * a busy queue's do. They take one statement together, which walks along their rows; a statement
 * for each costs twice as much. What differs from row to row, the times, the statement asks for
 * through two functions of its connection. They are asked once the fence has let a row through, so
 * they also tell which rows it did let through. Ids are not compared: within a claim, which its
 * token names, a seq has one.
 */
#include "ledgers/sqlite/internal.h"

static struct finish_row *verdict_of(sqlite3_context *c, sqlite3_value **args)
{
        const struct neighbours *of = sqlite3_user_data(c);
        int64_t i = of->rows ? sqlite3_value_int64(args[0]) - of->rows->ref : -1;
        if (i < 0 || i >= of->n) {
                sqlite3_result_error_code(c, SQLITE_MISUSE);
                return NULL;
        }
        return &of->rows[i];
}

static void tell_started(sqlite3_context *c, int n, sqlite3_value **args)
{
        (void)n;
        const struct finish_row *r = verdict_of(c, args);
        if (r) {
                sqlite3_result_int64(c, r->started_us);
        }
}

static void tell_ended(sqlite3_context *c, int n, sqlite3_value **args)
{
        (void)n;
        struct finish_row *r = verdict_of(c, args);
        if (r) {
                r->stale = false;
                sqlite3_result_int64(c, r->ended_us);
        }
}

int neighbours_open(struct db *db)
{
        const int how = SQLITE_UTF8 | SQLITE_DIRECTONLY;
        int rc = sqlite3_create_function_v2(db->sql, "verdict_started", 1, how, &db->neighbours,
                                            tell_started, NULL, NULL, NULL);
        return rc ? rc
                  : sqlite3_create_function_v2(db->sql, "verdict_ended", 1, how, &db->neighbours,
                                               tell_ended, NULL, NULL, NULL);
}

static bool simply_completed(const struct finish_row *r)
{
        return r->to == STATE_COMPLETED && r->error == ERROR_NONE && !r->keep_attempt &&
               r->result.n == 0 && r->result_type.n == 0 && !r->children && !r->left_work &&
               !r->reply && r->ref && r->started_us && r->ended_us;
}

static bool alike(const struct finish_row *a, const struct finish_row *b)
{
        return a->token == b->token && a->claim == b->claim && a->reason == b->reason &&
               a->attempt == b->attempt && a->snoozes == b->snoozes && a->strikes == b->strikes;
}

uint32_t neighbours_count(const struct finish_row *rows, uint32_t n)
{
        uint32_t i = 0;
        while (i < n && simply_completed(&rows[i]) && alike(&rows[i], rows) &&
               rows[i].ref == rows->ref + i) {
                i++;
        }
        return i;
}

int neighbours_finish(struct tx *t, struct finish_row *rows, uint32_t n, struct str queue)
{
        for (uint32_t i = 0; i < n; i++) {
                rows[i].stale = true;
        }
        t->db->neighbours = (struct neighbours){rows, n};
        struct binder b = bind_start(db_get(t->db, ST_FINISH_NEIGHBOURS));
        bind_int(&b, rows->reason);
        bind_int(&b, rows->attempt);
        bind_int(&b, rows->snoozes);
        bind_int(&b, rows->strikes);
        bind_int(&b, rows->ref);
        bind_int(&b, rows->ref + n - 1);
        bind_int(&b, rows->claim);
        bind_u64(&b, rows->token);
        bind_text(&b, queue);
        int rc = bind_run(&b);
        t->db->neighbours = (struct neighbours){0};
        int64_t ended = rc ? 0 : sqlite3_changes(t->db->sql);
        rc = rc || !ended ? rc : tx_delta(t, queue, STATE_RUNNING, -ended);
        return rc || !ended ? rc : tx_delta(t, queue, STATE_COMPLETED, ended);
}
