/*
 * The SQLite ledger's words for a file that it cannot use: each names what, where, and what to do.
 */
#include "tests/conformance/sqlite_open.h"
#include "ledgers/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[300];

bool expect(bool condition, const char *what, const char *note)
{
        if (!condition) {
                printf("  not so: %s (note: %s)\n", what, note);
        }
        return condition;
}

static const char *file_in(const char *dir, const char *name)
{
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return path;
}

/* Opening must fail with this errno, and the note must hold these words and the path. */
static enum verdict must_refuse(const char *file, int error, const char *words)
{
        char note[300] = "";
        struct ledger *l = NULL;
        struct ledger_sqlite_options o = {.path = file, .busy_timeout_ms = 50};
        int r = ledger_sqlite_open(&o, &l, note, sizeof note);
        if (l) {
                l->ops->close(l);
        }
        bool well = expect(r == -error, words, note);
        well = expect(strstr(note, words) != NULL, words, note) && well;
        return well ? PASSED : FAILED;
}

static void run_sql(const char *file, const char *sql)
{
        sqlite3 *db = NULL;
        if (sqlite3_open(file, &db) != SQLITE_OK ||
            sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
                printf("  %s: %s\n", file, sqlite3_errmsg(db));
        }
        sqlite3_close(db);
}

static bool open_once(const char *file)
{
        char note[300] = "";
        struct ledger *l = NULL;
        struct ledger_sqlite_options o = {.path = file};
        int r = ledger_sqlite_open(&o, &l, note, sizeof note);
        if (l) {
                l->ops->close(l);
        }
        return expect(r == 0, "opens", note);
}

static enum verdict test_missing_directory(const char *dir)
{
        return must_refuse(file_in(dir, "nowhere/skep.db"), ENOENT, "the directory does not exist");
}

static enum verdict test_directory_in_its_place(const char *dir)
{
        return must_refuse(dir, EISDIR, "is a directory");
}

static enum verdict test_not_a_database(const char *dir)
{
        const char *file = file_in(dir, "notes.txt");
        int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        bool well = fd >= 0;
        for (int i = 0; well && i < 100; i++) {
                well = write(fd, "this is no database\n", 20) == 20;
        }
        if (fd >= 0) {
                close(fd);
        }
        return well ? must_refuse(file, EMEDIUMTYPE, "not a SQLite database") : FAILED;
}

static enum verdict test_another_program(const char *dir)
{
        const char *file = file_in(dir, "contacts.db");
        run_sql(file, "create table contacts (name text)");
        return must_refuse(file, EMEDIUMTYPE, "a database of another program");
}

static enum verdict test_newer_schema(const char *dir)
{
        const char *file = file_in(dir, "newer.db");
        if (!open_once(file)) {
                return FAILED;
        }
        run_sql(file, "insert into schema_migrations values (9, 'sharded', 1);");
        if (!open_once(file)) { /* it says that older programs may use it */
                return FAILED;
        }
        run_sql(file, "update meta set value = 9 where name = 'oldest_program'");
        return must_refuse(file, EPROTONOSUPPORT, "schema 009-sharded is newer than this program");
}

static int keep_count(void *ret, int n, char **values, char **names)
{
        (void)names;
        *(int *)ret = n > 0 && values[0] ? atoi(values[0]) : -1;
        return 0;
}

/* Takes the later migrations back, and lets the program bring them on again: rows stay. */
static enum verdict test_older_schema(const char *dir)
{
        const char *file = file_in(dir, "older.db");
        int kept = -1;
        sqlite3 *db = NULL;
        if (!open_once(file)) {
                return FAILED;
        }
        run_sql(file,
                "drop table outbox; drop table journal; drop table floors;"
                "alter table cancels drop column told;"
                "drop trigger jobs_pruned; drop trigger jobs_owe; drop table owed;"
                "drop table saves; drop table lives; drop table controls;"
                "drop table schedules; drop table replies; drop table duties;"
                "alter table jobs drop column life;"
                "alter table attempts drop column fingerprint;"
                "alter table nodes drop column serves; alter table nodes drop column queues;"
                "alter table nodes drop column workers; drop index keys_until;"
                "alter table keys drop column states; delete from meta where name = 'schedules';"
                "create trigger jobs_pruned after delete on jobs begin select 1; end;"
                "delete from schema_migrations where number > 1;"
                "insert into cancels (holder, seq) values (1, 2)");
        if (!open_once(file)) {
                return FAILED;
        }
        if (sqlite3_open(file, &db) == SQLITE_OK) {
                (void)sqlite3_exec(
                    db,
                    "select (select count(*) from cancels where told = 0) + "
                    "(select count(*) from outbox) + (select count(*) from journal) + "
                    "(select count(*) from floors) + (select count(*) from schedules)",
                    keep_count, &kept, NULL);
        }
        sqlite3_close(db);
        return expect(kept == 1, "has the new tables, and the old row", "") ? PASSED : FAILED;
}

static enum verdict test_locked(const char *dir)
{
        const char *file = file_in(dir, "locked.db");
        sqlite3 *db = NULL;
        if (sqlite3_open(file, &db) != SQLITE_OK ||
            sqlite3_exec(db, "begin exclusive; create table t (x)", NULL, NULL, NULL) !=
                SQLITE_OK) {
                return FAILED;
        }
        enum verdict v = must_refuse(file, EBUSY, "locked by another process");
        sqlite3_close(db);
        return v;
}

static enum verdict test_read_only(const char *dir)
{
        if (geteuid() == 0) {
                return SKIPPED; /* root may write everywhere */
        }
        const char *file = file_in(dir, "readonly.db");
        if (!open_once(file) || chmod(file, 0400) < 0) {
                return FAILED;
        }
        enum verdict v = must_refuse(file, EACCES, "check");
        if (chmod(dir, 0500) < 0) {
                return FAILED;
        }
        enum verdict w =
            must_refuse(file_in(dir, "new.db"), EACCES, "no files can be created here");
        (void)chmod(dir, 0700);
        return v == PASSED ? w : v;
}

/* Processes, not threads: file locks are a process's. */
static enum verdict test_ten_processes(const char *dir)
{
        enum { MANY = 10 };
        const char *file = file_in(dir, "ten.db");
        int go[2], failed = 0;
        char byte;
        fflush(NULL);
        if (pipe(go) < 0) {
                return FAILED;
        }
        for (int i = 0; i < MANY; i++) {
                pid_t pid = fork();
                if (pid == 0) {
                        close(go[1]);
                        (void)!read(go[0], &byte, 1); /* the end of the pipe: all are there */
                        bool well = open_once(file);
                        fflush(NULL);
                        _exit(well ? 0 : 1);
                }
                failed += pid < 0;
        }
        close(go[0]);
        close(go[1]);
        for (int i = 0, status; i < MANY && wait(&status) > 0; i++) {
                failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        }
        return expect(failed == 0, "all open", "") && open_once(file) ? PASSED : FAILED;
}

static enum verdict test_urls(const char *dir)
{
        static const struct {
                const char *url, *path;
        } rows[] = {
            {"sqlite:/var/lib/skep.db", "/var/lib/skep.db"},
            {"sqlite:///var/lib/skep.db", "/var/lib/skep.db"},
            {"sqlite:skep.db", "skep.db"},
            {"sqlite::memory:", ":memory:"},
            {"sqlite:", NULL},
            {"sqlite://host/skep.db", NULL},
            {"postgresql://localhost/skep", NULL},
            {"", NULL},
        };
        (void)dir;
        bool well = true;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                const char *got = ledger_sqlite_url_path(rows[i].url);
                bool same =
                    got && rows[i].path ? strcmp(got, rows[i].path) == 0 : got == rows[i].path;
                well = expect(same, rows[i].url, got ? got : "none") && well;
        }
        return well ? PASSED : FAILED;
}

static const struct {
        const char *name;
        enum verdict (*run)(const char *dir);
} tests[] = {
    {"directory missing", test_missing_directory},
    {"a directory in its place", test_directory_in_its_place},
    {"not a database", test_not_a_database},
    {"another program's database", test_another_program},
    {"a newer schema", test_newer_schema},
    {"an older schema", test_older_schema},
    {"locked", test_locked},
    {"read-only (needs: not root)", test_read_only},
    {"ten processes at once", test_ten_processes},
    {"URLs", test_urls},
    {"disk full (needs: mount)", test_full_disk},
};

static void remove_all(const char *dir)
{
        static const char *const names[] = {"notes.txt", "contacts.db", "newer.db", "older.db",
                                            "locked.db", "readonly.db", "ten.db"};
        static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                for (size_t k = 0; k < ARRAY_LEN(tails); k++) {
                        char file[400];
                        snprintf(file, sizeof file, "%s/%s%s", dir, names[i], tails[k]);
                        (void)unlink(file);
                }
        }
        (void)rmdir(dir);
}

int main(void)
{
        char dir[128];
        const char *tmp = getenv("TMPDIR");
        unsigned count[3] = {0};
        snprintf(dir, sizeof dir, "%.90s/skep-open-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(dir)) {
                perror(dir);
                return 1;
        }
        for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
                static const char *const words[] = {"passed", "FAILED", "skipped"};
                enum verdict v = tests[i].run(dir);
                printf("%s: %s\n", tests[i].name, words[v]);
                count[v]++;
        }
        remove_all(dir);
        printf("%u passed, %u failed, %u skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
        return count[FAILED] != 0;
}
