/*
 * The bare loop's side to SQLite: one file, as durable as skep's (WAL, synchronous = FULL). A claim
 * is committed as it begins; what is received meanwhile the broker's library receives. A large
 * payload stands in a table of its own: SQLite writes a row that is updated as a whole.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bare/loop.h"
#include "bench/kit.h"

static const char table_sql[] =
    "drop table if exists bare; drop table if exists large;"
    "create table bare (id blob primary key, type text not null, payload blob,"
    " state int not null, attempts int not null, created int not null, started int not null,"
    " finished int);"
    "create table large (of integer primary key, payload blob not null)";

/* A letter that comes again is claimed again, unless its row is completed. */
static const char claim_sql[] =
    "insert into bare (id, type, payload, state, attempts, created, started)"
    " values (?1, ?2, ?3, 2, 1, ?4, ?4)"
    " on conflict (id) do update set state = 2, attempts = attempts + 1,"
    " started = excluded.started where state <> 4";

static const char large_sql[] =
    "insert or ignore into large (of, payload) select rowid, ?2 from bare where id = ?1";

static const char finish_sql[] = "update bare set state = 4, finished = ?2 where id = ?1";

static const char bad_sql[] =
    "select count(*) from bare b where state <> 4 or finished is null or length(coalesce(payload,"
    " (select l.payload from large l where l.of = b.rowid))) is not %ld";

enum { BEGIN, CLAIM, LARGE, FINISH, COMMIT, STATEMENTS };

struct sqlite {
        struct bare_ledger base;
        sqlite3 *db;
        sqlite3_stmt *statements[STATEMENTS];
};

static struct sqlite *of(struct bare_ledger *l)
{
        return (struct sqlite *)l;
}

static sqlite3 *open_file(const char *url)
{
        const char *path = strncmp(url, "sqlite:", 7) == 0 ? url + 7 : url;
        sqlite3 *db;
        if (sqlite3_open(path, &db) != SQLITE_OK ||
            sqlite3_exec(db, "pragma journal_mode = wal; pragma synchronous = full", NULL, NULL,
                         NULL) != SQLITE_OK) {
                die("%s: %s", path, sqlite3_errmsg(db));
        }
        return db;
}

static void reset(const char *url)
{
        sqlite3 *db = open_file(url);
        if (sqlite3_exec(db, table_sql, NULL, NULL, NULL) != SQLITE_OK) {
                die("%s", sqlite3_errmsg(db));
        }
        sqlite3_close(db);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
        sqlite3_stmt *s;
        if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
                die("%s", sqlite3_errmsg(db));
        }
        return s;
}

static struct bare_ledger *open_sqlite(const char *url)
{
        static const char *const texts[] = {
            [BEGIN] = "begin immediate", [CLAIM] = claim_sql, [LARGE] = large_sql,
            [FINISH] = finish_sql,       [COMMIT] = "commit",
        };
        struct sqlite *s = calloc(1, sizeof *s);
        if (!s) {
                die("no memory");
        }
        s->base.ops = &bare_sqlite;
        s->db = open_file(url);
        for (int i = 0; i < STATEMENTS; i++) {
                s->statements[i] = prepare(s->db, texts[i]);
        }
        return &s->base;
}

static void step(struct sqlite *s, int which)
{
        if (sqlite3_step(s->statements[which]) != SQLITE_DONE) {
                die("%s", sqlite3_errmsg(s->db));
        }
        sqlite3_reset(s->statements[which]);
}

static void write_large(struct sqlite *s, const uint8_t *id, const char *payload)
{
        sqlite3_bind_blob(s->statements[LARGE], 1, id, 16, SQLITE_STATIC);
        sqlite3_bind_blob(s->statements[LARGE], 2, payload, (int)payload_size, SQLITE_STATIC);
        step(s, LARGE);
}

static void begin_claim(struct bare_ledger *l, const struct batch *b)
{
        struct sqlite *s = of(l);
        sqlite3_stmt *claim = s->statements[CLAIM];
        int64_t now = wall_us();
        step(s, BEGIN);
        for (long i = 0; i < b->n; i++) {
                const char *payload = b->payloads + payload_size * i;
                sqlite3_bind_blob(claim, 1, b->ids + 16 * i, 16, SQLITE_STATIC);
                sqlite3_bind_text(claim, 2, "noop", 4, SQLITE_STATIC);
                sqlite3_bind_blob(claim, 3, payload_is_large() ? NULL : payload, (int)payload_size,
                                  SQLITE_STATIC); /* NULL: null */
                sqlite3_bind_int64(claim, 4, now);
                step(s, CLAIM);
                if (payload_is_large()) {
                        write_large(s, b->ids + 16 * i, payload);
                }
        }
        step(s, COMMIT);
}

static void end_claim(struct bare_ledger *l)
{
        (void)l;
}

static void finish(struct bare_ledger *l, const struct batch *b)
{
        struct sqlite *s = of(l);
        int64_t now = wall_us();
        step(s, BEGIN);
        for (long i = 0; i < b->n; i++) {
                sqlite3_bind_blob(s->statements[FINISH], 1, b->ids + 16 * i, 16, SQLITE_STATIC);
                sqlite3_bind_int64(s->statements[FINISH], 2, now);
                step(s, FINISH);
                if (sqlite3_changes(s->db) != 1) {
                        die("a finish met other rows than those that were claimed");
                }
        }
        step(s, COMMIT);
}

static long number(sqlite3 *db, const char *sql)
{
        sqlite3_stmt *s = prepare(db, sql);
        if (sqlite3_step(s) != SQLITE_ROW) {
                die("%s", sqlite3_errmsg(db));
        }
        long n = (long)sqlite3_column_int64(s, 0);
        sqlite3_finalize(s);
        return n;
}

static void count(struct bare_ledger *l, long *ret_rows, long *ret_bad)
{
        *ret_rows = number(of(l)->db, "select count(*) from bare");
        char sql[sizeof bad_sql + 20];
        snprintf(sql, sizeof sql, bad_sql, payload_size);
        *ret_bad = number(of(l)->db, sql);
}

static void close_sqlite(struct bare_ledger *l)
{
        for (int i = 0; i < STATEMENTS; i++) {
                sqlite3_finalize(of(l)->statements[i]);
        }
        sqlite3_close(of(l)->db);
        free(l);
}

const struct bare_ledger_ops bare_sqlite = {
    .reset = reset,
    .open = open_sqlite,
    .begin_claim = begin_claim,
    .end_claim = end_claim,
    .finish = finish,
    .count = count,
    .close = close_sqlite,
};
