/*
 * Before there is a ledger: URLs, ten nodes that migrate at once, schemas that are newer.
 */
#include "tests/conformance/postgres_own.h"

#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- URLs ------------------------------------------------------------------------------------- */

static void urls_are_judged(void)
{
        static const struct {
                const char *url;
                bool well, well_when_unsafe;
        } rows[] = {
            {"postgresql://u@127.0.0.1:5/d", true, true},
            {"postgres://u@localhost/d", true, true},
            {"postgresql://u@[::1]/d", true, true},
            {"postgresql:///d?host=/run/postgresql", true, true},
            {"postgresql://u@127.0.0.1,127.9.9.9/d", true, true},
            {"postgresql://u@10.0.0.1/d?sslmode=verify-full", true, true},
            {"postgresql://u@db.example/d?sslmode=verify-full", true, true},
            {"postgresql://u@10.0.0.1/d", false, true},
            {"postgresql://u@db.example/d?sslmode=disable", false, true},
            {"postgresql://u@db.example/d?sslmode=require", false, true},
            {"postgresql://u@db.example/d?sslmode=verify-ca", false, true},
            {"postgresql://u@127.0.0.1,10.0.0.1/d", false, true},
            {"postgresql://u@localhost/d?hostaddr=10.0.0.1", false, true},
            {"postgresql://u@127.0.0.1.example/d", false, true},
            {"postgresql://u:secret@127.0.0.1/d?nosuchoption=1", false, false},
            {"postgresql://u:secret%zz@127.0.0.1/d", false, false},
            {"mysql://u:secret@127.0.0.1/d", false, false},
            {"host=127.0.0.1 password=secret", false, false},
            {"", false, false},
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                for (int unsafe = 0; unsafe < 2; unsafe++) {
                        struct postgres_options o = {.unsafe = unsafe};
                        char note[200] = "";
                        struct ledger *l = NULL;
                        int r = postgres_open(rows[i].url, &o, &l, note, sizeof note);
                        bool well = unsafe ? rows[i].well_when_unsafe : rows[i].well;
                        if ((r == 0) != well) {
                                printf("\n%s: %d %s\n", rows[i].url, r, note);
                        }
                        CU_ASSERT(r == (well ? 0 : POSTGRES_REFUSED));
                        CU_ASSERT(well || note[0]);
                        CU_ASSERT(!strstr(note, "secret"));
                        if (l) {
                                l->ops->close(l);
                        }
                }
        }
}

static void a_plaintext_url_is_told_what_to_do(void)
{
        struct postgres_options o = {0};
        char note[200] = "";
        struct ledger *l = NULL;
        int r = postgres_open("postgresql://u:secret@db.example:6/jobs", &o, &l, note, sizeof note);
        CU_ASSERT(r == POSTGRES_REFUSED && strstr(note, "db.example:6/jobs"));
        CU_ASSERT(strstr(note, "sslmode=verify-full") && !strstr(note, "secret"));
}

/* --- migrations ------------------------------------------------------------------------------- */

struct fresh {
        char name[64], url[512];
        PGconn *server;
};

static struct fresh make_fresh(void)
{
        static int count;
        struct fresh f;
        f.server = connect_to(server_url());
        snprintf(f.name, sizeof f.name, "skep_fresh_%d_%d", (int)getpid(), ++count);
        create_database(f.server, f.name, "template0");
        database_url(f.name, f.url, sizeof f.url);
        return f;
}

static void drop_fresh(struct fresh *f)
{
        char sql[200];
        snprintf(sql, sizeof sql, "drop database %s with (force)", f->name);
        must_run(f->server, sql);
        PQfinish(f->server);
}

static bool opens(const char *url)
{
        struct postgres_options o = {.unsafe = true};
        char note[200] = "";
        struct ledger *l = NULL;
        bool ready = postgres_open(url, &o, &l, note, sizeof note) == 0 && wait_ready(l);
        if (l) {
                l->ops->close(l);
        }
        return ready;
}

static void ten_processes_migrate_at_once(void)
{
        enum { MANY = 10 };
        struct fresh f = make_fresh();
        int go[2], failed = 0;
        char byte;
        CU_ASSERT_FATAL(pipe(go) == 0);
        fflush(NULL);
        for (int i = 0; i < MANY; i++) {
                pid_t pid = fork();
                if (pid == 0) {
                        close(go[1]);
                        (void)!read(go[0], &byte, 1); /* the end of the pipe: all are there */
                        _exit(opens(f.url) ? 0 : 1);
                }
                failed += pid < 0;
        }
        close(go[0]);
        close(go[1]);
        for (int i = 0, status; i < MANY && wait(&status) > 0; i++) {
                failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        }
        CU_ASSERT(failed == 0);
        PGconn *c = connect_to(f.url);
        CU_ASSERT(ask_number(c, "select count(*) - max(number) from schema_migrations") == 0);
        CU_ASSERT(ask_number(c, "select value from meta where name = 'oldest_program'") == 1);
        PQfinish(c);
        drop_fresh(&f);
}

static void a_newer_schema_is_used_if_it_allows(void)
{
        struct fresh f = make_fresh();
        CU_ASSERT_FATAL(opens(f.url));
        PGconn *c = connect_to(f.url);
        must_run(c, "insert into schema_migrations values (99, 'sharded', 1)");
        CU_ASSERT(opens(f.url));
        must_run(c, "update meta set value = 99 where name = 'oldest_program'");
        struct postgres_options o = {.unsafe = true};
        char note[200] = "";
        struct ledger *l = NULL;
        CU_ASSERT_FATAL(postgres_open(f.url, &o, &l, note, sizeof note) == 0);
        const char *why = refusal(l);
        CU_ASSERT(strstr(why, "schema 099-sharded is newer than this program") != NULL);
        CU_ASSERT(strstr(why, f.name) != NULL);
        l->ops->close(l);
        PQfinish(c);
        drop_fresh(&f);
}

/* --- who is not let in ------------------------------------------------------------------------ */

static void names_what_is_missing(void)
{
        static const struct {
                const char *path, *words;
        } rows[] = {
            {"skep_no_such_database", "does not exist"},
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char url[512];
                struct postgres_options o = {.unsafe = true};
                char note[200] = "";
                struct ledger *l = NULL;
                database_url(rows[i].path, url, sizeof url);
                CU_ASSERT_FATAL(postgres_open(url, &o, &l, note, sizeof note) == 0);
                const char *why = refusal(l);
                CU_ASSERT(strstr(why, rows[i].words) && strstr(why, rows[i].path));
                l->ops->close(l);
        }
        struct postgres_options o = {0};
        char note[200] = "";
        struct ledger *l = NULL;
        CU_ASSERT_FATAL(
            postgres_open("postgresql://u:secret@127.0.0.1:1/d", &o, &l, note, sizeof note) == 0);
        const char *why = refusal(l);
        CU_ASSERT(strstr(why, "127.0.0.1:1/d") && strstr(why, "refused") && !strstr(why, "secret"));
        l->ops->close(l);
}

/* Never waits, whoever listens there and says nothing; closing does not either. */
static void open_does_not_wait(void)
{
        struct postgres_options o = {0};
        char note[200] = "";
        struct ledger *l = NULL;
        CU_ASSERT_FATAL(postgres_open("postgresql://u@127.0.0.1:1/d", &o, &l, note, sizeof note) ==
                        0);
        CU_ASSERT(!postgres_ready(l));
        CU_ASSERT(l->ops->deadline_ns(l) <= own_now_ns());
        l->ops->close(l);
}

/* Looked up without waiting. 127.1 is a name to all but the resolver, which needs nobody for it. */
static void names_are_looked_up(void)
{
        struct postgres_options o = {.unsafe = true};
        struct fresh f = make_fresh();
        char note[200] = "", url[600];
        struct ledger *l = NULL;
        const char *at = strstr(f.url, "127.0.0.1");
        CU_ASSERT_FATAL(at != NULL);
        snprintf(url, sizeof url, "%.*s127.1%s", (int)(at - f.url), f.url, at + 9);
        CU_ASSERT(opens(url));
        CU_ASSERT_FATAL(postgres_open("postgresql://u@no-such-host.invalid:5/d", &o, &l, note,
                                      sizeof note) == 0);
        const char *why = refusal(l);
        CU_ASSERT(strstr(why, "no-such-host.invalid:5/d") != NULL);
        l->ops->close(l);
        drop_fresh(&f);
}

CASES(postgres_cases_open, {"URLs are judged", urls_are_judged, 0},
      {"a plaintext URL is told what to do", a_plaintext_url_is_told_what_to_do, 0},
      {"open does not wait", open_does_not_wait, 0},
      {"names what is missing", names_what_is_missing, 0},
      {"names are looked up", names_are_looked_up, 0},
      {"ten processes migrate at once", ten_processes_migrate_at_once, 0},
      {"a newer schema is used if it allows", a_newer_schema_is_used_if_it_allows, 0});
