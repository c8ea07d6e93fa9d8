/*
 * The bare loop's side to PostgreSQL: one connection, a statement for each commit.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bare/loop.h"
#include "bench/kit.h"
#include "bench/kit_postgres.h"

static const char table_sql[] =
    "drop table if exists bare;"
    "create table bare (id uuid primary key, type text not null, payload bytea not null,"
    " state smallint not null, attempts int not null default 0,"
    " created timestamptz not null default now(), started timestamptz, finished timestamptz);"
    "alter table bare alter payload set storage external";

/* A letter that comes again is claimed again, unless its row is completed. */
static const char claim_sql[] =
    "insert into bare (id, type, payload, state, attempts, started)"
    " select id, type, payload, 2, 1, now()"
    " from unnest($1::uuid[], $2::text[], $3::bytea[]) as x (id, type, payload)"
    " on conflict (id) do update set state = 2, attempts = bare.attempts + 1,"
    " started = excluded.started where bare.state <> 4";

static const char finish_sql[] =
    "update bare set state = 4, finished = now() where id = any($1::uuid[])";

static const char bad_sql[] =
    "select count(*) from bare where state <> 4 or length(payload) <> %ld or started is null"
    " or finished is null";

enum { IDS, TYPES, PAYLOADS, VALUES };

struct postgres {
        struct bare_ledger base;
        PGconn *connection;
        struct pg_value values[VALUES];
};

static struct postgres *of(struct bare_ledger *l)
{
        return (struct postgres *)l;
}

static void reset(const char *url)
{
        PGconn *c = pg_connect(url);
        pg_run(c, table_sql);
        PQfinish(c);
}

static struct bare_ledger *open_postgres(const char *url)
{
        struct postgres *p = calloc(1, sizeof *p);
        if (!p) {
                die("no memory");
        }
        p->base.ops = &bare_postgres;
        p->connection = pg_connect(url);
        pg_prepare(p->connection, "claim", claim_sql);
        pg_prepare(p->connection, "finish", finish_sql);
        return &p->base;
}

static void add_ids(struct postgres *p, const struct batch *b)
{
        pg_array_begin(&p->values[IDS], PG_OID_UUID);
        for (long i = 0; i < b->n; i++) {
                pg_array_add(&p->values[IDS], b->ids + 16 * i, 16);
        }
        pg_array_end(&p->values[IDS]);
}

static void begin_claim(struct bare_ledger *l, const struct batch *b)
{
        struct postgres *p = of(l);
        add_ids(p, b);
        pg_array_begin(&p->values[TYPES], PG_OID_TEXT);
        pg_array_begin(&p->values[PAYLOADS], PG_OID_BYTEA);
        for (long i = 0; i < b->n; i++) {
                pg_array_add(&p->values[TYPES], "noop", 4);
                pg_array_add(&p->values[PAYLOADS], b->payloads + payload_size * i,
                             (uint32_t)payload_size);
        }
        pg_array_end(&p->values[TYPES]);
        pg_array_end(&p->values[PAYLOADS]);
        pg_send(p->connection, "claim", p->values, VALUES);
}

static void end_claim(struct bare_ledger *l)
{
        pg_affected(of(l)->connection);
}

static void finish(struct bare_ledger *l, const struct batch *b)
{
        struct postgres *p = of(l);
        add_ids(p, b);
        pg_send(p->connection, "finish", p->values, 1);
        if (pg_affected(p->connection) != b->n) {
                die("a finish met other rows than those that were claimed");
        }
}

static void count(struct bare_ledger *l, long *ret_rows, long *ret_bad)
{
        *ret_rows = pg_number(of(l)->connection, "select count(*) from bare");
        char sql[sizeof bad_sql + 20];
        snprintf(sql, sizeof sql, bad_sql, payload_size);
        *ret_bad = pg_number(of(l)->connection, sql);
}

static void close_postgres(struct bare_ledger *l)
{
        for (int i = 0; i < VALUES; i++) {
                free(of(l)->values[i].bytes);
        }
        PQfinish(of(l)->connection);
        free(l);
}

const struct bare_ledger_ops bare_postgres = {
    .reset = reset,
    .open = open_postgres,
    .begin_claim = begin_claim,
    .end_claim = end_claim,
    .finish = finish,
    .count = count,
    .close = close_postgres,
};
