/*
 * The bare loop for PostgreSQL alone: what a queue in a table costs at least when drained by hand
 * in one process.
 *
 *     bare-postgres URL fill N [BATCH]
 *             a new table `bare` with N pending rows, BATCH (1000) in a commit
 *     bare-postgres URL drain BATCH
 *             claims BATCH rows by SKIP LOCKED (one commit), a no-op, finishes them (one commit),
 *             until none is left
 *     bare-postgres URL latency N RATE [BATCH]
 *             N jobs at RATE a second, BATCH (1) at once: insert commit, claim commit; the time
 * from before to after
 *
 * Before URL may stand `--payload BYTES`. Each prints one JSON line.
 *
 * Two connections: one claims the next batch while the other finishes the one before. The table is
 * as cheap as such a queue can be: one index besides the primary key, on a column that only waiting
 * rows have, room in the pages so that finishing touches no index, and a claim begins where the
 * last one ended instead of wading through what is claimed already. Payloads are stored as they
 * came, as skep does it: compressed, those of the benchmark would be next to nothing to read. No
 * guard, no fence, no keys, no isolation: that is the point. After the JSON line the rows are
 * counted: all are completed with their payload, or the program fails.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kit.h"
#include "bench/kit_postgres.h"

#define PAGE     1000
#define ROWS_MAX 100000000

static const char table_sql[] =
    "drop table if exists bare; drop sequence if exists bare_lanes; create sequence bare_lanes;"
    "create table bare (id uuid primary key, lane bigint default nextval('bare_lanes'),"
    " type text not null, payload bytea not null, state smallint not null,"
    " created timestamptz not null default now(), started timestamptz, finished timestamptz)"
    " with (fillfactor = 50);"
    "alter table bare alter payload set storage external;"
    "create index on bare (lane) where lane is not null";

static const char insert_sql[] =
    "insert into bare (id, type, payload, state) select id, type, payload, 1"
    " from unnest($1::uuid[], $2::text[], $3::bytea[]) as x (id, type, payload)";

/* The batch is part of the text: for a LIMIT that it does not know the planner scans the table. */
static const char claim_sql[] =
    "update bare set state = 2, lane = null, started = now() from"
    " (select id, lane from bare where lane > $1::bigint order by lane limit %ld"
    " for update skip locked) as c where bare.id = c.id returning bare.id, c.lane, bare.payload";

static const char finish_sql[] =
    "update bare set state = 4, finished = now() where id = any($1::uuid[])";

static const char bad_sql[] =
    "select count(*) from bare where state <> 4 or length(payload) <> %ld or started is null"
    " or finished is null";

struct loop {
        PGconn *claims, *finishes;
        struct pg_value after, ids;
        uint64_t after_lane; /* big-endian: `after` points at it */
        int64_t highest;
        int finishing; /* rows of the finish that is under way */
        long done;
        double seconds; /* from the first claim to the last finish */
};

/* --- filling ---------------------------------------------------------------------------------- */

static void insert_page(PGconn *c, struct pg_value values[3], long from, long n)
{
        static const uint32_t oids[3] = {PG_OID_UUID, PG_OID_TEXT, PG_OID_BYTEA};
        uint8_t id[16];
        static char payload[PAYLOAD_MAX];
        for (int i = 0; i < 3; i++) {
                pg_array_begin(&values[i], oids[i]);
        }
        for (long i = 0; i < n; i++) {
                make_uuid(id);
                make_payload(wall_us(), from + i, payload);
                pg_array_add(&values[0], id, 16);
                pg_array_add(&values[1], "noop", 4);
                pg_array_add(&values[2], payload, (uint32_t)payload_size);
        }
        for (int i = 0; i < 3; i++) {
                pg_array_end(&values[i]);
        }
        pg_send(c, "insert", values, 3);
        pg_affected(c);
}

static void fill(const char *url, long n, long page)
{
        struct pg_value values[3] = {0};
        PGconn *c = pg_connect(url);
        pg_run(c, table_sql);
        pg_prepare(c, "insert", insert_sql);
        double begin = monotonic_s();
        for (long i = 0; i < n; i += page) {
                insert_page(c, values, i, n - i < page ? n - i : page);
        }
        double seconds = monotonic_s() - begin;
        printf("{\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f}\n", n, seconds, (double)n / seconds);
        pg_run(c, "vacuum analyze bare");
        for (int i = 0; i < 3; i++) {
                free(values[i].bytes);
        }
        PQfinish(c);
}

/* --- draining --------------------------------------------------------------------------------- */

static int noop(const char *payload, int size)
{
        return payload && size == payload_size ? 0 : 1;
}

static int (*volatile handler)(const char *, int) = noop;

static void send_claim(struct loop *l)
{
        l->after_lane = htobe64((uint64_t)l->highest);
        l->after = (struct pg_value){.bytes = (char *)&l->after_lane, .n = sizeof l->after_lane};
        pg_send(l->claims, "claim", &l->after, 1);
}

static void note_lane(struct loop *l, const char *bytes)
{
        uint64_t lane;
        memcpy(&lane, bytes, sizeof lane);
        lane = be64toh(lane);
        if ((int64_t)lane > l->highest) {
                l->highest = (int64_t)lane;
        }
}

static void end_finish(struct loop *l)
{
        if (l->finishing && pg_affected(l->finishes) != l->finishing) {
                die("a finish met other rows than those that were claimed");
        }
        l->done += l->finishing;
        l->finishing = 0;
}

static void send_finish(struct loop *l, PGresult *rows)
{
        pg_array_begin(&l->ids, PG_OID_UUID);
        for (int i = 0; i < PQntuples(rows); i++) {
                pg_array_add(&l->ids, PQgetvalue(rows, i, 0), 16);
        }
        pg_array_end(&l->ids);
        pg_send(l->finishes, "finish", &l->ids, 1);
        l->finishing = PQntuples(rows);
}

static int run_handlers(PGresult *rows)
{
        int failed = 0;
        for (int i = 0; i < PQntuples(rows); i++) {
                failed += handler(PQgetvalue(rows, i, 2), PQgetlength(rows, i, 2));
        }
        return failed;
}

static PGresult *take_claim(struct loop *l)
{
        PGresult *rows = pg_answer(l->claims);
        for (int i = 0; i < PQntuples(rows); i++) {
                note_lane(l, PQgetvalue(rows, i, 1));
        }
        return rows;
}

static int drain_all(struct loop *l)
{
        int failed = 0;
        double begin = monotonic_s();
        send_claim(l);
        for (;;) {
                PGresult *rows = take_claim(l);
                if (PQntuples(rows) == 0) {
                        PQclear(rows);
                        break;
                }
                send_claim(l);
                failed += run_handlers(rows);
                end_finish(l);
                send_finish(l, rows);
                PQclear(rows);
        }
        end_finish(l);
        l->seconds = monotonic_s() - begin;
        return failed;
}

static void open_loop(struct loop *l, const char *url, long batch)
{
        char sql[sizeof claim_sql + 20];
        snprintf(sql, sizeof sql, claim_sql, batch);
        *l = (struct loop){.claims = pg_connect(url), .finishes = pg_connect(url)};
        pg_run(l->claims, "set enable_hashjoin = off; set enable_mergejoin = off;"
                          "set enable_seqscan = off");
        pg_prepare(l->claims, "claim", sql);
        pg_prepare(l->finishes, "finish", finish_sql);
}

static void drain(const char *url, long batch)
{
        struct loop l;
        char bad[sizeof bad_sql + 20];
        open_loop(&l, url, batch);
        int failed = drain_all(&l);
        printf("{\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f,\"failed\":%d}\n",
               l.done, l.seconds, (double)l.done / l.seconds, cpu_seconds() * 1e4 / (double)l.done,
               failed);
        fflush(stdout);
        snprintf(bad, sizeof bad, bad_sql, payload_size);
        if (pg_number(l.claims, bad) != 0 ||
            pg_number(l.claims, "select count(*) from bare") != l.done) {
                die("not all rows are completed with their payload");
        }
        free(l.ids.bytes);
        PQfinish(l.claims);
        PQfinish(l.finishes);
}

/* --- latency ---------------------------------------------------------------------------------- */

static void latency(const char *url, long n, long rate, long batch)
{
        struct pg_value values[3] = {0};
        struct loop l;
        double *took = calloc((size_t)n, sizeof *took);
        PGconn *c = pg_connect(url);
        pg_run(c, table_sql);
        pg_prepare(c, "insert", insert_sql);
        open_loop(&l, url, batch);
        double start = monotonic_s();
        for (long i = 0; i + batch <= n; i += batch) {
                sleep_until(start + (double)i / (double)rate);
                double begin = monotonic_s();
                insert_page(c, values, i, batch);
                send_claim(&l);
                PGresult *rows = take_claim(&l);
                for (long k = 0; k < batch; k++) {
                        took[i + k] = monotonic_s() - begin;
                }
                PQclear(rows);
        }
        print_latency(took, n / batch * batch);
        free(took);
        for (int i = 0; i < 3; i++) {
                free(values[i].bytes);
        }
        PQfinish(c);
        PQfinish(l.claims);
        PQfinish(l.finishes);
}

static long optional(char **argv, int argc, int at, long otherwise)
{
        return argc > at ? number_of(argv[at], 1, BATCH_MAX) : otherwise;
}

int main(int argc, char **argv)
{
        take_payload_size(&argc, &argv);
        const char *verb = argc > 3 ? argv[2] : "";
        if (strcmp(verb, "fill") == 0) {
                fill(argv[1], number_of(argv[3], 1, ROWS_MAX), optional(argv, argc, 4, PAGE));
        } else if (strcmp(verb, "drain") == 0) {
                drain(argv[1], number_of(argv[3], 1, BATCH_MAX));
        } else if (strcmp(verb, "latency") == 0 && argc > 4) {
                latency(argv[1], number_of(argv[3], 1, ROWS_MAX), number_of(argv[4], 1, 1000000),
                        optional(argv, argc, 5, 1));
        } else {
                fputs("usage: bare-postgres [--payload BYTES] URL fill N [BATCH] | drain BATCH |"
                      " latency N RATE [BATCH]\n",
                      stderr);
                return 64;
        }
        return 0;
}
