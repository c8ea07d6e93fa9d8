/*
 * The PostgreSQL ledger, on the server that SKEP_TEST_POSTGRES names: a URL of a superuser, such as
 * postgresql://skep@127.0.0.1:5433/skep. Each store is a database of its own, copied from one that
 * this process migrated once; the clock is a table there. What only a foreign program could do goes
 * through a connection of the fixture's own, past the ledger.
 */
#include "ledgers/postgres/hooks.h"
#include "tests/conformance/fixture.h"
#include "tests/conformance/postgres_own.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define EPOCH_US INT64_C(1760000000000000)

struct store {
        char name[64], url[512];
        PGconn *raw;
        _Atomic int64_t now_us;
        _Atomic int fault; /* enum fixture_fault, for the next transaction */
};

static char template_name[64];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* --- the server ------------------------------------------------------------------------------- */

const char *server_url(void)
{
        const char *url = getenv("SKEP_TEST_POSTGRES");
        if (!url || !*url) {
                fprintf(stderr,
                        "SKEP_TEST_POSTGRES is not set: it must name a PostgreSQL server, as "
                        "postgresql://skep@127.0.0.1:PORT/skep, whose user may create databases\n");
                return NULL;
        }
        return url;
}

void database_url(const char *name, char *to, size_t size)
{
        const char *url = getenv("SKEP_TEST_POSTGRES"), *host = strstr(url, "://") + 3;
        const char *slash = strchr(host, '/'), *rest = strchr(host, '?');
        size_t n = slash && (!rest || slash < rest) ? (size_t)(slash - url)
                   : rest                           ? (size_t)(rest - url)
                                                    : strlen(url);
        snprintf(to, size, "%.*s/%s%s", (int)n, url, name, rest ? rest : "");
}

PGconn *connect_to(const char *url)
{
        PGconn *c = PQconnectdb(url);
        if (PQstatus(c) != CONNECTION_OK) {
                fprintf(stderr, "%s\n", PQerrorMessage(c));
                exit(1);
        }
        PQclear(PQexec(c, "set client_min_messages = error; set search_path = skep, public"));
        return c;
}

bool run_sql(PGconn *c, const char *sql)
{
        PGresult *r = PQexec(c, sql);
        ExecStatusType status = PQresultStatus(r);
        PQclear(r);
        return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

void must_run(PGconn *c, const char *sql)
{
        if (!run_sql(c, sql)) {
                fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(c));
                exit(1);
        }
}

/* A template that was just left may still have a session ending. */
void create_database(PGconn *c, const char *name, const char *from)
{
        char sql[200];
        snprintf(sql, sizeof sql, "create database %s template %s", name, from);
        for (int i = 0; i < 500 && !run_sql(c, sql); i++) {
                if (i == 499 || !strstr(PQerrorMessage(c), "being accessed")) {
                        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(c));
                        exit(1);
                }
                (void)poll(NULL, 0, 10);
        }
}

/* --- open ------------------------------------------------------------------------------------- */

int64_t own_now_ns(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

bool wait_ready(struct ledger *l)
{
        for (int64_t start = own_now_ns(); own_now_ns() - start < 60 * NS_PER_S;) {
                struct pollfd fds[8];
                struct ledger_batch *done = l->ops->dispatch(l, own_now_ns());
                if (done || postgres_ready(l)) {
                        return !done;
                }
                int64_t left = l->ops->deadline_ns(l) - own_now_ns();
                (void)poll(fds, l->ops->pollfds(l, fds, 8),
                           left <= 0              ? 0
                           : left < NS_PER_S / 50 ? 5
                                                  : 20);
        }
        return false;
}

static enum postgres_fault next_fault(void *store)
{
        static const enum postgres_fault faults[] = {
            [FAULT_NONE] = POSTGRES_FAULT_NONE,
            [FAULT_REFUSE] = POSTGRES_FAULT_REFUSE,
            [FAULT_UNKNOWN_LOST] = POSTGRES_FAULT_LOST,
            [FAULT_UNKNOWN_WRITTEN] = POSTGRES_FAULT_WRITTEN,
        };
        return faults[atomic_exchange(&((struct store *)store)->fault, FAULT_NONE)];
}

static int open_handle(void *store, struct ledger **ret_ledger, char *note, size_t note_size)
{
        struct store *s = store;
        struct postgres_options o = {.unsafe = true};
        struct postgres_hooks hooks = {.fault = next_fault, .ctx = s};
        int r = postgres_open_hooked(s->url, &o, &hooks, ret_ledger, note, note_size);
        if (r == 0 && !wait_ready(*ret_ledger)) {
                snprintf(note, note_size, "%s does not get ready", s->name);
                *ret_ledger = (*ret_ledger)->ops->close(*ret_ledger);
                r = -1;
        }
        return r > 0 ? -r : r;
}

/* --- stores ----------------------------------------------------------------------------------- */

static void drop_template(void)
{
        char sql[200];
        PGconn *c = connect_to(server_url());
        snprintf(sql, sizeof sql, "drop database if exists %s with (force)", template_name);
        must_run(c, sql);
        PQfinish(c);
}

static const char clock_sql[] =
    "create table test_clock (id int primary key, now bigint not null);"
    "insert into test_clock values (1, 1760000000000000);"
    "create or replace function skep_now() returns bigint language sql volatile as "
    "$$ select now from skep.test_clock where id = 1 $$";

static void make_template(PGconn *server)
{
        struct store s = {0};
        char note[200] = "";
        struct ledger *l = NULL;
        snprintf(template_name, sizeof template_name, "skep_template_%d", (int)getpid());
        create_database(server, template_name, "template0");
        atexit(drop_template);
        snprintf(s.name, sizeof s.name, "%s", template_name);
        database_url(template_name, s.url, sizeof s.url);
        if (open_handle(&s, &l, note, sizeof note) < 0) {
                fprintf(stderr, "%s\n", note);
                exit(1);
        }
        l->ops->close(l);
        PGconn *c = connect_to(s.url);
        must_run(c, clock_sql);
        PQfinish(c);
}

static void *setup(void)
{
        static int count;
        const char *url = server_url();
        if (!url) {
                return NULL;
        }
        struct store *s = calloc(1, sizeof *s);
        atomic_store(&s->now_us, EPOCH_US);
        PGconn *server = connect_to(url);
        pthread_mutex_lock(&mutex);
        if (!template_name[0]) {
                make_template(server);
        }
        snprintf(s->name, sizeof s->name, "skep_test_%d_%d", (int)getpid(), ++count);
        create_database(server, s->name, template_name);
        pthread_mutex_unlock(&mutex);
        database_url(s->name, s->url, sizeof s->url);
        s->raw = connect_to(s->url);
        PQfinish(server);
        return s;
}

static void teardown(void *store)
{
        struct store *s = store;
        char sql[200];
        PQfinish(s->raw);
        PGconn *server = connect_to(server_url());
        snprintf(sql, sizeof sql, "drop database %s with (force)", s->name);
        must_run(server, sql);
        PQfinish(server);
        free(s);
}

static int64_t now_us(void *store)
{
        return atomic_load(&((struct store *)store)->now_us);
}

static void advance(void *store, int64_t us)
{
        struct store *s = store;
        char sql[100];
        atomic_fetch_add(&s->now_us, us);
        snprintf(sql, sizeof sql, "update test_clock set now = %lld", (long long)now_us(s));
        must_run(s->raw, sql);
}

static void fail_next(void *store, enum fixture_fault fault)
{
        atomic_store(&((struct store *)store)->fault, (int)fault);
}

/* --- past the ledger -------------------------------------------------------------------------- */

static const char raw_insert[] =
    "insert into jobs (id, queue, type, state, max_attempts, priority, created, seq, lane, due, "
    "parked_at) values ($1, 'raw', 'noop', $2, 3, 5, 1, 1, case when $2 = 1 then 1 end, "
    "case when $2 in (0, 3) then 1 end, case when $2 in (5, 6) then 1 end)";

static const char raw_update[] =
    "update jobs set state = $2, seq = coalesce(seq, 1), "
    "lane = case when $2 = 1 then (1::bigint << 61) + coalesce(seq, 1) end, "
    "due = case when $2 in (0, 3) then 1 end, parked_at = case when $2 in (5, 6) then 1 end, "
    "claim = greatest(claim, 1), holder = case when holder = 0 then 1 else holder end, "
    "generation = generation + $3::int where id = $1";

static bool raw_state(void *store, const struct job_id *id, enum job_state from, enum job_state to,
                      bool raise_generation)
{
        struct store *s = store;
        static const Oid types[] = {2950, 21, 23};
        char text[JOB_ID_TEXT], state[16];
        const char *values[] = {text, state, raise_generation ? "1" : "0"};
        bool insert = from == STATE_NONE;
        id_text(id, text);
        snprintf(state, sizeof state, "%d", (int)to);
        PGresult *r = PQexecParams(s->raw, insert ? raw_insert : raw_update, insert ? 2 : 3, types,
                                   values, NULL, NULL, 0);
        bool done = PQresultStatus(r) == PGRES_COMMAND_OK && strcmp(PQcmdTuples(r), "1") == 0;
        PQclear(r);
        return done;
}

static int64_t count_commits(void *store)
{
        PGresult *r = PQexec(((struct store *)store)->raw, "select count(*) from commits");
        int64_t n = PQntuples(r) == 1 ? atoll(PQgetvalue(r, 0, 0)) : -1;
        PQclear(r);
        return n;
}

const char *store_url(void *store)
{
        return ((struct store *)store)->url;
}

const struct ledger_fixture fixture_postgres = {
    .name = "postgres",
    .has = NEED_REOPEN | NEED_SHARE | NEED_FAULT | NEED_RAW,
    .crowd = 300,
    .lacks = "",
    .setup = setup,
    .teardown = teardown,
    .open = open_handle,
    .now_us = now_us,
    .advance = advance,
    .fail_next = fail_next,
    .raw_state = raw_state,
    .count_commits = count_commits,
};
