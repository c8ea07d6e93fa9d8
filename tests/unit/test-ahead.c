/*
 * Reading ahead against a connection without it: whatever is written, moved by checkpoints, cut and
 * read in between, both read the same, and a transaction goes on reading what it began with.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ledgers/sqlite/internal.h"
#include "tests/unit/unit.h"

#define ROWS  60
#define BYTES 65536

static char dir[200], path[256];
static sqlite3 *with, *without;

static void run(sqlite3 *db, const char *sql)
{
        char *why = NULL;
        if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK) {
                fprintf(stderr, "%s: %s\n", sql, why ? why : "?");
                CU_FAIL_FATAL("a statement failed");
        }
}

static sqlite3 *open_file(const char *vfs)
{
        sqlite3 *db;
        CU_ASSERT_EQUAL_FATAL(
            sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs), SQLITE_OK);
        run(db, "pragma journal_mode = wal; pragma synchronous = off; pragma cache_size = 20;"
                "pragma wal_autocheckpoint = 0");
        return db;
}

/* Each byte of a payload is its number. */
static void put(sqlite3 *db, int row, int number, int size)
{
        static char bytes[BYTES];
        sqlite3_stmt *s;
        memset(bytes, number, sizeof bytes);
        sqlite3_prepare_v2(db, "insert or replace into b values(?1, ?2)", -1, &s, NULL);
        sqlite3_bind_int(s, 1, row);
        sqlite3_bind_blob(s, 2, bytes, size, SQLITE_STATIC);
        CU_ASSERT_EQUAL(sqlite3_step(s), SQLITE_DONE);
        sqlite3_finalize(s);
}

/* The number, with the size; < 0: there is none, or its bytes differ. */
static int64_t read_row(sqlite3 *db, int row)
{
        sqlite3_stmt *s;
        int64_t found = -1;
        sqlite3_prepare_v2(db, "select payload from b where seq = ?1", -1, &s, NULL);
        sqlite3_bind_int(s, 1, row);
        if (sqlite3_step(s) == SQLITE_ROW) {
                const unsigned char *p = sqlite3_column_blob(s, 0);
                int n = sqlite3_column_bytes(s, 0);
                found = n ? (int64_t)p[0] << 32 | n : -1;
                for (int i = 0; i < n; i++) {
                        found = p[i] == p[0] ? found : -2;
                }
        }
        sqlite3_finalize(s);
        return found;
}

static void begin(void)
{
        const char *tmp = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/skep-ahead-XXXXXX", tmp ? tmp : "/tmp");
        CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
        snprintf(path, sizeof path, "%s/db", dir);
        CU_ASSERT_PTR_NOT_NULL_FATAL(ahead_vfs());
        without = open_file(NULL);
        run(without, "create table b(seq integer primary key, payload blob)");
        with = open_file(ahead_vfs());
}

static void end(void)
{
        char file[300];
        CU_ASSERT_EQUAL(sqlite3_close(with), SQLITE_OK);
        CU_ASSERT_EQUAL(sqlite3_close(without), SQLITE_OK);
        for (int i = 0; i < 3; i++) {
                static const char *const tail[] = {"", "-wal", "-shm"};
                snprintf(file, sizeof file, "%s%s", path, tail[i]);
                unlink(file);
        }
        rmdir(dir);
}

static void fill(sqlite3 *db, int number)
{
        run(db, "begin");
        for (int i = 0; i < ROWS; i++) {
                put(db, i, number + i, BYTES);
        }
        run(db, "commit");
}

static bool all_are(sqlite3 *db, int from, int to, int number)
{
        bool same = true;
        for (int i = from; i < to; i++) {
                same = same && read_row(db, i) == ((int64_t)(number + i) << 32 | BYTES);
        }
        return same;
}

static void test_reads_what_stands_there(void)
{
        begin();
        fill(without, 0);
        CU_ASSERT_TRUE(all_are(with, 0, ROWS, 0)); /* out of the log */
        run(without, "pragma wal_checkpoint(truncate)");
        CU_ASSERT_TRUE(all_are(with, 0, ROWS, 0)); /* out of the file */
        run(with, "begin");
        CU_ASSERT_TRUE(all_are(with, 0, ROWS, 0));
        run(with, "commit");
        end();
}

/* In the middle of a transaction the file changes under it, as far as the log allows. */
static void test_a_transaction_reads_what_it_began_with(void)
{
        begin();
        fill(without, 0);
        run(without, "pragma wal_checkpoint(truncate)");
        for (int round = 1; round < 40; round++) {
                run(with, "begin");
                CU_ASSERT_TRUE(all_are(with, 0, round, round - 1));
                fill(without, round);
                run(without, "pragma wal_checkpoint(passive)");
                CU_ASSERT_TRUE(all_are(with, round, ROWS, round - 1));
                run(with, "commit");
                run(without, round % 2 ? "pragma wal_checkpoint(truncate)"
                                       : "pragma wal_checkpoint(passive)");
                CU_ASSERT_TRUE(all_are(with, 0, ROWS, round));
        }
        end();
}

static int draw(uint64_t *seed, int n)
{
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        return (int)((*seed >> 33) % (uint64_t)n);
}

static void test_both_read_the_same(void)
{
        uint64_t seed = 7;
        int different = 0;
        begin();
        fill(without, 0);
        for (int step = 0; step < 3000; step++) {
                sqlite3 *db = draw(&seed, 2) ? with : without;
                int row = draw(&seed, ROWS), what = draw(&seed, 100);
                if (what < 30) {
                        put(db, row, draw(&seed, 250), 1 + draw(&seed, BYTES));
                } else if (what < 33) {
                        run(db, "pragma wal_checkpoint(passive)");
                } else if (what == 33) {
                        run(db, "pragma wal_checkpoint(truncate)");
                } else if (what == 34) {
                        run(db, "delete from b where seq % 3 = 1; vacuum");
                } else {
                        for (int i = row; i < row + 4; i++) {
                                different += read_row(with, i) != read_row(without, i);
                        }
                }
        }
        CU_ASSERT_EQUAL(different, 0);
        CU_ASSERT(read_row(with, 0) > 0);
        end();
}

UNIT_TESTS = {
    {"reads what stands there", test_reads_what_stands_there},
    {"a transaction reads what it began with", test_a_transaction_reads_what_it_began_with},
    {"both read the same", test_both_read_the_same},
};
UNIT_MAIN("ahead")
