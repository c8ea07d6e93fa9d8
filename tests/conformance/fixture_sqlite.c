/*
 * The SQLite ledger, in a file of its own and in memory. What only a foreign program could do goes
 * through a connection of the fixture's own, past the ledger.
 */
#include "ledgers/sqlite/sqlite.h"
#include "tests/conformance/fixture.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EPOCH_US INT64_C(1760000000000000)

struct store {
        char dir[64], path[96];
        bool memory;
        _Atomic int64_t now_us;
        _Atomic int fault; /* enum fixture_fault, for the next transaction */
};

static void *setup(bool memory)
{
        struct store *s = calloc(1, sizeof *s);
        const char *tmp = getenv("TMPDIR");
        s->memory = memory;
        atomic_store(&s->now_us, EPOCH_US);
        snprintf(s->dir, sizeof s->dir, "%.40s/skep-conform-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!memory && !mkdtemp(s->dir)) {
                perror(s->dir);
                free(s);
                return NULL;
        }
        snprintf(s->path, sizeof s->path, "%s", ":memory:");
        if (!memory) {
                snprintf(s->path, sizeof s->path, "%s/skep.db", s->dir);
        }
        return s;
}

static void *setup_file(void)
{
        return setup(false);
}

static void *setup_memory(void)
{
        return setup(true);
}

static void teardown(void *store)
{
        struct store *s = store;
        static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
        for (size_t i = 0; !s->memory && i < ARRAY_LEN(tails); i++) {
                char path[128];
                snprintf(path, sizeof path, "%s%s", s->path, tails[i]);
                (void)unlink(path);
        }
        if (!s->memory) {
                (void)rmdir(s->dir);
        }
        free(s);
}

static int64_t now_us(void *store)
{
        return atomic_load(&((struct store *)store)->now_us);
}

static void advance(void *store, int64_t us)
{
        atomic_fetch_add(&((struct store *)store)->now_us, us);
}

static void fail_next(void *store, enum fixture_fault fault)
{
        atomic_store(&((struct store *)store)->fault, (int)fault);
}

static int fail_at(void *store, enum ledger_sqlite_point point)
{
        static const enum ledger_sqlite_point points[] = {
            [FAULT_REFUSE] = LEDGER_SQLITE_BEGIN,
            [FAULT_UNKNOWN_LOST] = LEDGER_SQLITE_BEFORE_COMMIT,
            [FAULT_UNKNOWN_WRITTEN] = LEDGER_SQLITE_AFTER_COMMIT,
        };
        struct store *s = store;
        int fault = atomic_load(&s->fault);
        if (fault == FAULT_NONE || points[fault] != point) {
                return 0;
        }
        atomic_store(&s->fault, FAULT_NONE);
        return 1;
}

static int open_handle(void *store, struct ledger **ret_ledger, char *note, size_t note_size)
{
        struct store *s = store;
        struct ledger_sqlite_options o = {
            .path = s->path,
            .wall_us = now_us,
            .wall_ctx = s,
            .busy_timeout_ms = 30000,
            .fault = fail_at,
            .fault_ctx = s,
        };
        return ledger_sqlite_open(&o, ret_ledger, note, note_size);
}

/* --- past the ledger -------------------------------------------------------------------------- */

static sqlite3 *open_raw(const struct store *s)
{
        sqlite3 *sql = NULL;
        if (sqlite3_open(s->path, &sql) != SQLITE_OK) {
                fprintf(stderr, "%s: %s\n", s->path, sqlite3_errmsg(sql));
                exit(1);
        }
        (void)sqlite3_busy_timeout(sql, 30000);
        return sql;
}

static const char raw_insert[] =
    "insert into jobs (id, queue, type, state, max_attempts, priority, created, lane, due, "
    "parked_at, room) "
    "values (?1, 'raw', 'noop', ?2, 3, 5, 1, case when ?2 = 1 then 1 end, "
    "case when ?2 in (0, 3) then 1 end, case when ?2 in (5, 6) then 1 end, "
    "case when ?2 = 2 then x'00' end)";

static const char raw_update[] =
    "update jobs set state = ?2, lane = case when ?2 = 1 then (1 << 61) + seq end, "
    "due = case when ?2 in (0, 3) then 1 end, parked_at = case when ?2 in (5, 6) then 1 end, "
    "room = case when ?2 = 2 then x'00' end, finished = case when ?2 > 3 then 1 else finished end, "
    "claim = max(claim, 1), holder = max(holder, 1), generation = generation + ?3 where id = ?1";

static bool raw_state(void *store, const struct job_id *id, enum job_state from, enum job_state to,
                      bool raise_generation)
{
        sqlite3 *sql = open_raw(store);
        sqlite3_stmt *s = NULL;
        bool insert = from == STATE_NONE;
        if (sqlite3_prepare_v2(sql, insert ? raw_insert : raw_update, -1, &s, NULL) != SQLITE_OK) {
                fprintf(stderr, "%s\n", sqlite3_errmsg(sql));
                exit(1);
        }
        sqlite3_bind_blob(s, 1, id->b, sizeof id->b, SQLITE_STATIC);
        sqlite3_bind_int(s, 2, (int)to);
        if (!insert) {
                sqlite3_bind_int(s, 3, raise_generation);
        }
        bool done = sqlite3_step(s) == SQLITE_DONE && sqlite3_changes(sql) == 1;
        sqlite3_finalize(s);
        sqlite3_close(sql);
        return done;
}

static int64_t count_commits(void *store)
{
        sqlite3 *sql = open_raw(store);
        sqlite3_stmt *s = NULL;
        int64_t n = -1;
        if (sqlite3_prepare_v2(sql, "select count(*) from commits", -1, &s, NULL) == SQLITE_OK &&
            sqlite3_step(s) == SQLITE_ROW) {
                n = sqlite3_column_int64(s, 0);
        }
        sqlite3_finalize(s);
        sqlite3_close(sql);
        return n;
}

const struct ledger_fixture fixture_sqlite = {
    .name = "sqlite",
    .has = NEED_REOPEN | NEED_SHARE | NEED_FAULT | NEED_RAW,
    .crowd = 300,
    .lacks = "",
    .setup = setup_file,
    .teardown = teardown,
    .open = open_handle,
    .now_us = now_us,
    .advance = advance,
    .fail_next = fail_next,
    .raw_state = raw_state,
    .count_commits = count_commits,
};

const struct ledger_fixture fixture_sqlite_memory = {
    .name = "sqlite-memory",
    .has = NEED_FAULT,
    .crowd = 300,
    .lacks = "a database in memory has one handle, and nobody else can look into it",
    .setup = setup_memory,
    .teardown = teardown,
    .open = open_handle,
    .now_us = now_us,
    .advance = advance,
    .fail_next = fail_next,
};
