/*
 * A database of its own on the server of the configured one. The ledger's schema has one name, so a
 * schema beside the real one is no way; and nothing of a bench shall count in the real database's
 * statistics or wait in its vacuum.
 */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>

#include "ledgers/postgres/url.h"
#include "scratch/scratch.h"

#define NAME_MAX_ 64

/* --- URLs ------------------------------------------------------------------------------------- */

/* Where its database's name stands: from there up to `?` or the end. NULL: not a URL. */
static const char *path_of(const char *url, size_t *ret_n)
{
        const char *at = strstr(url, "://");
        if (!at) {
                return NULL;
        }
        at += 3;
        at += strcspn(at, "/?");
        at += *at == '/';
        *ret_n = strcspn(at, "?");
        return at;
}

static int with_database(const char *url, const char *name, char *ret, size_t size)
{
        size_t n;
        const char *path = path_of(url, &n);
        if (!path || strstr(path + n, "dbname=")) {
                return refuse(EX_CONFIG, "ledger.url names its database in a way that is not "
                                         "understood here; write postgresql://HOST/DATABASE");
        }
        bool slash = path > url && path[-1] == '/' && path[-2] != '/';
        int made = snprintf(ret, size, "%.*s%s%s%s", (int)(path - url), url, slash ? "" : "/", name,
                            path + n);
        return made < (int)size ? 0 : refuse(EX_CONFIG, "ledger.url is too long");
}

static bool is_plain(const char *name)
{
        return *name && strlen(name) < NAME_MAX_ &&
               strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name);
}

static int name_of(const char *url, char ret[NAME_MAX_])
{
        size_t n;
        const char *path = path_of(url, &n);
        if (!path || n >= NAME_MAX_) {
                return refuse(EX_CONFIG, "the scratch ledger's URL is not understood");
        }
        memcpy(ret, path, n);
        ret[n] = 0;
        return is_plain(ret) ? 0 : refuse(EX_CONFIG, "%s: not a name that is handled here", ret);
}

/* --- statements ------------------------------------------------------------------------------- */

static void ignore_notice(void *arg, const char *text)
{
        (void)arg, (void)text;
}

int database_connect(const char *text, bool unsafe, PGconn **ret)
{
        char note[512];
        struct url url = {0};
        const char *words[URL_WORDS_MAX], *values[URL_WORDS_MAX];
        int r = url_read(&url, text, unsafe, "skep-scratch", note, sizeof note);
        if (r) {
                return refuse(EX_CONFIG, "%s", r > 0 ? note : "out of memory");
        }
        url_words(&url, words, values);
        PGconn *c = PQconnectdbParams(words, values, 0);
        if (PQstatus(c) == CONNECTION_OK) {
                PQsetNoticeProcessor(c, ignore_notice, NULL);
                *ret = c;
        } else {
                r = refuse(EX_UNAVAILABLE, "%s: %s", url.place, PQerrorMessage(c));
                PQfinish(c);
        }
        url_deinit(&url);
        return r;
}

static bool run(PGconn *c, const char *sql)
{
        PGresult *r = PQexec(c, sql);
        ExecStatusType s = PQresultStatus(r);
        PQclear(r);
        return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK;
}

static bool says_yes(PGconn *c, const char *sql)
{
        PGresult *r = PQexec(c, sql);
        bool yes = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 &&
                   strcmp(PQgetvalue(r, 0, 0), "t") == 0;
        PQclear(r);
        return yes;
}

/* --- making and dropping ---------------------------------------------------------------------- */

static int take_given(const char *url, bool unsafe, const char *given, char *ret_url, size_t size)
{
        PGconn *c = NULL;
        if (!is_plain(given)) {
                return refuse(EX_USAGE, "--database: lower-case letters, digits, _ and - alone");
        }
        int r = with_database(url, given, ret_url, size);
        r = r ? r : database_connect(ret_url, unsafe, &c);
        if (r == 0 && !says_yes(c, "select to_regnamespace('skep') is null")) {
                r = refuse(EX_USAGE,
                           "--database %s: it holds a schema `skep`, which may be somebody's "
                           "ledger; name an empty one",
                           given);
        }
        if (r == 0 &&
            !says_yes(c, "select has_database_privilege(current_database(), 'create') and "
                         "has_schema_privilege('public', 'create')")) {
                r = refuse(EX_NOPERM,
                           "--database %s: this user may not create in it and its schema public; "
                           "make the database with it as owner",
                           given);
        }
        PQfinish(c);
        return r;
}

int database_make(const char *url, bool unsafe, const char *given, char *ret_url, size_t size)
{
        char name[NAME_MAX_], sql[2 * NAME_MAX_];
        uint32_t random = 0;
        PGconn *c = NULL;
        if (given) {
                return take_given(url, unsafe, given, ret_url, size);
        }
        if (getrandom(&random, sizeof random, 0) != sizeof random) {
                return refuse(EX_OSERR, "no random numbers from the kernel");
        }
        snprintf(name, sizeof name, SCRATCH_PREFIX "%08x", random);
        int r = with_database(url, name, ret_url, size);
        r = r ? r : database_connect(url, unsafe, &c);
        if (r) {
                return r;
        }
        snprintf(sql, sizeof sql, "create database \"%s\"", name);
        if (!run(c, sql)) {
                r = refuse(EX_NOPERM,
                           "a database of its own cannot be made beside the ledger's: %s"
                           "let an administrator say `alter role %s createdb`, or make an empty "
                           "database and name it with --database",
                           PQerrorMessage(c), PQuser(c));
        }
        PQfinish(c);
        return r;
}

/* The database cannot be dropped from within: from `postgres`, or else `template1`. */
static int drop_from(const char *url, bool unsafe, const char *name, const char *other)
{
        char from[4096], sql[2 * NAME_MAX_];
        PGconn *c = NULL;
        int r = with_database(url, other, from, sizeof from);
        r = r ? r : database_connect(from, unsafe, &c);
        if (r) {
                return r;
        }
        snprintf(sql, sizeof sql, "drop database if exists \"%s\" with (force)", name);
        if (!run(c, sql)) {
                r = refuse(EX_UNAVAILABLE, "database %s stays: %s", name, PQerrorMessage(c));
        }
        PQfinish(c);
        return r;
}

int database_drop(const char *url, bool unsafe)
{
        char name[NAME_MAX_];
        PGconn *c = NULL;
        int r = name_of(url, name);
        if (r == 0 && strncmp(name, SCRATCH_PREFIX, sizeof SCRATCH_PREFIX - 1) == 0) {
                r = drop_from(url, unsafe, name, "postgres");
                return r ? drop_from(url, unsafe, name, "template1") : 0;
        }
        r = r ? r : database_connect(url, unsafe, &c);
        if (r) {
                return r;
        }
        if (!run(c, "drop schema if exists skep, skep_bench_probe cascade")) {
                r = refuse(EX_UNAVAILABLE, "schema skep of %s stays: %s", name, PQerrorMessage(c));
        }
        PQfinish(c);
        return r;
}

/* --- how fast it commits ---------------------------------------------------------------------- */

int database_probe(const char *url, bool unsafe, double seconds, struct probe *ret)
{
        PGconn *c = NULL;
        int r = database_connect(url, unsafe, &c);
        if (r) {
                return r;
        }
        bool ok =
            run(c,
                "drop schema if exists skep_bench_probe cascade; create schema skep_bench_probe") &&
            run(c, "create table skep_bench_probe.probe (n bigint)");
        for (probe_begin(ret); ok && probe_goes_on(ret, seconds); probe_mark(ret)) {
                ok = run(c, "insert into skep_bench_probe.probe values (1)");
        }
        ok = ok && run(c, "drop schema skep_bench_probe cascade");
        r = ok ? 0 : refuse(EX_UNAVAILABLE, "%s", PQerrorMessage(c));
        PQfinish(c);
        return r;
}
