/*
 * Numbered migrations, applied in order inside one BEGIN IMMEDIATE, so that ten processes which
 * start at once apply each of them once. A file whose schema is newer than this program is used
 * only if its row meta('oldest_program') says that this program may: else it is refused by name.
 */
#include "ledgers/sqlite/internal.h"

#include <errno.h>
#include <stdio.h>

static int exec(sqlite3 *sql, const char *text)
{
        return sqlite3_exec(sql, text, NULL, NULL, NULL);
}

/* The newest migration in the file; 0: none. */
static int read_newest(sqlite3 *sql, int *ret_number, char *name, size_t name_size)
{
        sqlite3_stmt *s = NULL;
        int rc = sqlite3_prepare_v2(
            sql, "select number, name from schema_migrations order by number desc limit 1", -1, &s,
            NULL);
        if (!rc) {
                rc = sqlite3_step(s);
                *ret_number = 0;
                if (rc == SQLITE_ROW) {
                        *ret_number = sqlite3_column_int(s, 0);
                        snprintf(name, name_size, "%s", (const char *)sqlite3_column_text(s, 1));
                }
                rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
        }
        (void)sqlite3_finalize(s);
        return rc;
}

static int read_oldest_program(sqlite3 *sql)
{
        sqlite3_stmt *s = NULL;
        int oldest = 0;
        if (!sqlite3_prepare_v2(sql, "select value from meta where name = 'oldest_program'", -1, &s,
                                NULL) &&
            sqlite3_step(s) == SQLITE_ROW) {
                oldest = sqlite3_column_int(s, 0);
        }
        (void)sqlite3_finalize(s);
        return oldest;
}

static int record(sqlite3 *sql, const struct migration *m, int64_t now_us)
{
        char *text = sqlite3_mprintf(
            "insert into schema_migrations (number, name, applied_us) values (%d, %Q, %lld);"
            "insert or ignore into meta (name, value) values ('oldest_program', %d)",
            m->number, m->name, (long long)now_us, m->number);
        int rc = text ? exec(sql, text) : SQLITE_NOMEM;
        sqlite3_free(text);
        return rc;
}

static int apply(sqlite3 *sql, int newest, int64_t now_us)
{
        int rc = SQLITE_OK;
        for (int i = 0; i < sqlite_migrations_n && !rc; i++) {
                const struct migration *m = &sqlite_migrations[i];
                if (m->number > newest) {
                        rc = exec(sql, m->sql);
                        rc = rc ? rc : record(sql, m, now_us);
                }
        }
        return rc;
}

static int migrate(sqlite3 *sql, const char *path, int64_t now_us, char *note, size_t note_size)
{
        int newest = 0, known = sqlite_migrations[sqlite_migrations_n - 1].number;
        char name[64] = "";
        int rc =
            exec(sql, "create table if not exists schema_migrations (number integer primary key, "
                      "name text not null, applied_us integer not null);"
                      "create table if not exists meta (name text primary key, value integer "
                      "not null) without rowid;"
                      "pragma application_id = 1936418160");
        rc = rc ? rc : read_newest(sql, &newest, name, sizeof name);
        if (!rc && newest > known && read_oldest_program(sql) > known) {
                snprintf(
                    note, note_size,
                    "%s: schema %03d-%s is newer than this program (it knows %03d); upgrade skep",
                    path, newest, name, known);
                return -EPROTONOSUPPORT;
        }
        rc = rc ? rc : apply(sql, newest, now_us);
        return rc ? db_note(rc, sql, path, note, note_size) : 0;
}

/* Without a write, whether there is nothing to do: a start must not wait for another's transaction.
 */
static bool is_current(sqlite3 *sql)
{
        int newest = 0;
        char name[64];
        return !read_newest(sql, &newest, name, sizeof name) &&
               newest == sqlite_migrations[sqlite_migrations_n - 1].number;
}

int db_migrate(sqlite3 *sql, const char *path, int64_t now_us, char *note, size_t note_size)
{
        if (is_current(sql)) {
                return 0;
        }
        int rc = exec(sql, "begin immediate");
        if (rc) {
                return db_note(rc, sql, path, note, note_size);
        }
        int r = migrate(sql, path, now_us, note, note_size);
        if (r < 0) {
                (void)exec(sql, "rollback");
                return r;
        }
        rc = exec(sql, "commit");
        if (rc) {
                r = db_note(rc, sql, path, note, note_size);
                (void)exec(sql, "rollback");
        }
        return r;
}
