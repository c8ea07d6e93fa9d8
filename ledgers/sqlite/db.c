/*
 * A connection to the file, its statements, and the words for what goes wrong with it. Knows
 * nothing of batches. Must never be shared by two threads: it is opened with NOMUTEX.
 *
 * No automatic checkpoint: the writer runs it when it has nothing else to do.
 */
#include "ledgers/sqlite/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define APPLICATION_ID "1936418160" /* "skep" */

static const char *const sql_of[] = {
#define X(name, sql) [ST_##name] = sql,
    STATEMENTS(X) STATEMENTS_LIFE(X)
#undef X
};

sqlite3_stmt *db_get(struct db *db, enum statement which)
{
        sqlite3_stmt **s = &db->st[which];
        if (!*s) {
                (void)sqlite3_prepare_v3(db->sql, sql_of[which], -1, SQLITE_PREPARE_PERSISTENT, s,
                                         NULL);
        }
        return *s;
}

int db_run(sqlite3_stmt *s)
{
        int rc;
        do {
                rc = sqlite3_step(s);
        } while (rc == SQLITE_ROW);
        (void)sqlite3_reset(s); /* says what step said */
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

bool db_data_error(int rc)
{
        int primary = rc & 0xff;
        return rc > 0 && (primary == SQLITE_CONSTRAINT || primary == SQLITE_TOOBIG ||
                          primary == SQLITE_MISMATCH);
}

static int errno_of(int rc)
{
        switch (rc & 0xff) {
        case SQLITE_BUSY: return -EBUSY;
        case SQLITE_FULL: return -ENOSPC;
        case SQLITE_READONLY:
        case SQLITE_PERM: return -EACCES;
        case SQLITE_NOTADB: return -EMEDIUMTYPE;
        case SQLITE_NOMEM: return -ENOMEM;
        default: return -EIO;
        }
}

/* Why a file cannot be opened is for stat and access to say: SQLite only says that it cannot. */
static int note_open(const char *path, char *note, size_t size)
{
        char dir[4096];
        const char *slash = strrchr(path, '/');
        struct stat st;
        int n = slash ? (int)(slash - path) : 1;
        snprintf(dir, sizeof dir, "%.*s", n ? n : 1, slash ? path : ".");
        if (stat(dir, &st) < 0) {
                snprintf(note, size, "%s: the directory does not exist; create it first", dir);
                return -ENOENT;
        }
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
                snprintf(note, size, "%s is a directory; name a file in it", path);
                return -EISDIR;
        }
        if (access(path, F_OK) == 0 && access(path, R_OK | W_OK) < 0) {
                snprintf(note, size, "%s: not readable and writable for this user; check its owner",
                         path);
                return -EACCES;
        }
        if (access(dir, W_OK | X_OK) < 0) {
                snprintf(note, size,
                         "%s: no files can be created here (SQLite keeps -wal and -shm beside the "
                         "database); check its owner and mode",
                         dir);
                return -EACCES;
        }
        snprintf(note, size, "%s: cannot be opened", path);
        return -EIO;
}

int db_note(int rc, sqlite3 *sql, const char *path, char *note, size_t size)
{
        switch (rc & 0xff) {
        case SQLITE_CANTOPEN: return note_open(path, note, size);
        case SQLITE_BUSY:
                snprintf(note, size, "%s: locked by another process; end it or wait", path);
                break;
        case SQLITE_FULL: snprintf(note, size, "%s: disk full; free some space", path); break;
        case SQLITE_READONLY:
        case SQLITE_PERM:
                snprintf(note, size, "%s: read-only; check the file, its directory and its mount",
                         path);
                break;
        case SQLITE_NOTADB:
                snprintf(note, size, "%s: not a SQLite database; name another file", path);
                break;
        case SQLITE_CORRUPT:
                snprintf(note, size, "%s: the database is damaged; restore it from a backup", path);
                break;
        default:
                snprintf(note, size, "%s: %s (SQLite code %d)", path,
                         sql ? sqlite3_errmsg(sql) : sqlite3_errstr(rc), rc);
        }
        return errno_of(rc);
}

static int note_pages(void *ctx, sqlite3 *sql, const char *name, int pages)
{
        (void)sql;
        (void)name;
        ((struct db *)ctx)->wal_pages = pages;
        return SQLITE_OK;
}

/* The change to WAL can say BUSY without asking the busy handler, when many open at once. */
static int run_patiently(sqlite3 *sql, const char *text, int timeout_ms)
{
        int rc = sqlite3_exec(sql, text, NULL, NULL, NULL);
        for (int waited = 0; (rc & 0xff) == SQLITE_BUSY && waited < timeout_ms; waited += 10) {
                nanosleep(&(struct timespec){.tv_nsec = 10 * NS_PER_MS}, NULL);
                rc = sqlite3_exec(sql, text, NULL, NULL, NULL);
        }
        return rc;
}

static int read_int(void *ret, int n, char **values, char **names)
{
        (void)names;
        *(int64_t *)ret = n > 0 && values[0] ? strtoll(values[0], NULL, 10) : 0;
        return 0;
}

/* A database of some other program is not ours to fill with tables. The tables are counted before
 * the mark is read: another process may just be making them, and it makes both in one transaction.
 */
static int check_owner(sqlite3 *sql, const char *path, char *note, size_t size)
{
        int64_t id = 0, tables = 0;
        int rc = sqlite3_exec(sql, "select count(*) from sqlite_schema", read_int, &tables, NULL);
        if (!rc) {
                rc = sqlite3_exec(sql, "pragma application_id", read_int, &id, NULL);
        }
        if (rc) {
                return db_note(rc, sql, path, note, size);
        }
        if (id == strtoll(APPLICATION_ID, NULL, 10) || (id == 0 && tables == 0)) {
                return 0;
        }
        snprintf(note, size, "%s: a database of another program; name another file", path);
        return -EMEDIUMTYPE;
}

static int configure(struct db *db, int timeout_ms, bool read_only)
{
        (void)sqlite3_extended_result_codes(db->sql, 1);
        (void)sqlite3_busy_timeout(db->sql, timeout_ms);
        (void)sqlite3_db_config(db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        /* Reads do not create the file's first pages, nor touch the journal mode. */
        int rc =
            read_only ? SQLITE_OK : run_patiently(db->sql, "pragma journal_mode = wal", timeout_ms);
        if (rc) {
                return rc;
        }
        (void)sqlite3_wal_hook(db->sql, note_pages, db);
        return run_patiently(db->sql,
                             read_only ? "pragma temp_store = memory; pragma cache_size = -2000;"
                                         "pragma query_only = 1"
                                       : "pragma synchronous = full; pragma foreign_keys = off;"
                                         "pragma temp_store = memory; pragma cache_size = -8000;"
                                         "pragma journal_size_limit = 67108864;",
                             timeout_ms);
}

int db_open(const char *path, int busy_timeout_ms, bool read_only, char *note, size_t note_size,
            struct db **ret_db)
{
        CLEANUP(db_close_p)
        struct db *db = calloc(1, sizeof *db);
        if (!db) {
                snprintf(note, note_size, "%s: out of memory", path);
                return -ENOMEM;
        }
        /* Counting memory takes a lock at each allocation. Refused once SQLite is in use, which is
         * fine. */
        (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        int rc = sqlite3_open_v2(path, &db->sql,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                 read_only ? NULL : ahead_vfs());
        if (rc) {
                return db_note(rc, db->sql, path, note, note_size);
        }
        if (sqlite3_db_readonly(db->sql, "main") == 1) {
                return db_note(SQLITE_READONLY, db->sql, path, note, note_size);
        }
        (void)sqlite3_busy_timeout(db->sql, busy_timeout_ms);
        int r = check_owner(db->sql, path, note, note_size);
        if (r < 0) {
                return r;
        }
        rc = configure(db, busy_timeout_ms, read_only);
        rc = rc ? rc : neighbours_open(db);
        rc = rc ? rc : incoming_open(db);
        if (rc) {
                return db_note(rc, db->sql, path, note, note_size);
        }
        *ret_db = STEAL(db);
        return 0;
}

struct db *db_close(struct db *db)
{
        if (db) {
                for (int i = 0; i < STATEMENTS_N; i++) {
                        (void)sqlite3_finalize(db->st[i]);
                }
                (void)sqlite3_close(db->sql);
                free(db);
        }
        return NULL;
}

void db_close_p(struct db **db)
{
        *db = db_close(*db);
}
