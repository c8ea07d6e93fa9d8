/*
 * The bare loop for the SQLite ledger alone: what a drain costs at least when done by hand in one
 * process.
 *
 *     bare-sqlite FILE fill N [BATCH]          a new table and N pending jobs, BATCH (1000) in a
 *                                              commit
 *     bare-sqlite FILE drain BATCH             select BATCH pending with their payload, one commit
 *                                              that claims them, a no-op, one commit that finishes
 *                                              them, until none is left
 *     bare-sqlite FILE latency N RATE [BATCH]  N jobs at RATE a second, BATCH (1) at once: insert
 *                                              commit, claim commit; the time from before to after
 *
 * Before FILE may stand `--payload BYTES`. Each prints one JSON line. The same durability as
 * skep's: WAL, synchronous=FULL. No guard, no fence, no keys, no isolation: that is the point. A
 * large payload stands in a table of its own: SQLite writes a row that is updated as a whole.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kit.h"

#define PAGE 1000

static sqlite3 *db;

static void run(const char *sql)
{
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
                die("%s: %s", sql, sqlite3_errmsg(db));
        }
}

static sqlite3_stmt *prepare(const char *sql)
{
        sqlite3_stmt *s;
        if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
                die("%s: %s", sql, sqlite3_errmsg(db));
        }
        return s;
}

static void step(sqlite3_stmt *s)
{
        if (sqlite3_step(s) != SQLITE_DONE) {
                die("%s: %s", sqlite3_sql(s), sqlite3_errmsg(db));
        }
        sqlite3_reset(s);
}

static void open_file(const char *url)
{
        const char *path = strncmp(url, "sqlite:", 7) == 0 ? url + 7 : url;
        if (sqlite3_open(path, &db) != SQLITE_OK) {
                die("%s: %s", path, sqlite3_errmsg(db));
        }
        run("pragma journal_mode=wal");
        run("pragma synchronous=full");
        run("create table if not exists jobs(seq integer primary key, id blob not null unique, "
            "type text not null,"
            " payload blob, state int not null, lane int, created int, started int, "
            "finished int)");
        run("create index if not exists waiting on jobs(lane) where lane is not null");
        run("create table if not exists large(of integer primary key, payload blob not null)");
}

/* --- filling ---------------------------------------------------------------------------------- */

static const char insert_sql[] =
    "insert into jobs(id, type, payload, state, lane, created) values(?1, ?2, ?3, 1, ?4, ?5)";

#define LARGE "(select l.payload from large l where l.of = jobs.seq)"

static const char claim_sql[] =
    "update jobs set state = 2, lane = null, started = ?2 where seq = ?1";

static void insert_large(int64_t seq, const char *payload)
{
        static sqlite3_stmt *s; /* ends with the program */
        s = s ? s : prepare("insert into large(of, payload) values(?1, ?2)");
        sqlite3_bind_int64(s, 1, seq);
        sqlite3_bind_blob(s, 2, payload, (int)payload_size, SQLITE_STATIC);
        step(s);
}

static int64_t insert(sqlite3_stmt *s, int64_t lane)
{
        static char payload[PAYLOAD_MAX];
        uint8_t id[16];
        int64_t now = wall_us();
        make_uuid(id);
        make_payload(now, lane, payload);
        sqlite3_bind_blob(s, 1, id, 16, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, "noop", 4, SQLITE_STATIC);
        sqlite3_bind_blob(s, 3, payload_is_large() ? NULL : payload, (int)payload_size,
                          SQLITE_STATIC); /* NULL: null */
        sqlite3_bind_int64(s, 4, lane);
        sqlite3_bind_int64(s, 5, now);
        step(s);
        int64_t seq = sqlite3_last_insert_rowid(db);
        if (payload_is_large()) {
                insert_large(seq, payload);
        }
        return seq;
}

static void fill(long n, long batch)
{
        sqlite3_stmt *s = prepare(insert_sql);
        double begin = monotonic_s();
        for (long i = 0; i < n;) {
                run("begin immediate");
                for (long j = 0; j < batch && i < n; j++) {
                        insert(s, ++i);
                }
                run("commit");
        }
        double seconds = monotonic_s() - begin;
        printf("{\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f}\n", n, seconds, (double)n / seconds);
        run("pragma wal_checkpoint(truncate)");
        sqlite3_finalize(s);
}

/* --- draining --------------------------------------------------------------------------------- */

static int noop(const void *payload, long size)
{
        return payload && size == payload_size ? 0 : 1;
}

static int (*volatile handler)(const void *, long) = noop;

static long take_batch(sqlite3_stmt *select, long batch, int64_t *seqs, char *payloads)
{
        long n = 0;
        sqlite3_bind_int64(select, 1, batch);
        while (sqlite3_step(select) == SQLITE_ROW) {
                if (sqlite3_column_bytes(select, 1) != payload_size) {
                        die("a payload has other than %ld bytes", payload_size);
                }
                seqs[n] = sqlite3_column_int64(select, 0);
                memcpy(payloads + n * payload_size, sqlite3_column_blob(select, 1),
                       (size_t)payload_size);
                n++;
        }
        sqlite3_reset(select);
        return n;
}

static void write_all(sqlite3_stmt *s, const int64_t *seqs, long n)
{
        int64_t now = wall_us();
        run("begin immediate");
        for (long i = 0; i < n; i++) {
                sqlite3_bind_int64(s, 1, seqs[i]);
                sqlite3_bind_int64(s, 2, now);
                step(s);
        }
        run("commit");
}

static void drain(long batch)
{
        static int64_t seqs[BATCH_MAX];
        char *payloads = malloc((size_t)(batch * payload_size));
        sqlite3_stmt *select = prepare("select seq, coalesce(payload, " LARGE
                                       ") from jobs where lane is not null order by lane limit ?1");
        sqlite3_stmt *claim = prepare(claim_sql);
        sqlite3_stmt *finish = prepare("update jobs set state = 4, finished = ?2 where seq = ?1");
        double begin = monotonic_s();
        long done = 0, n;
        int failed = 0;
        while ((n = take_batch(select, batch, seqs, payloads)) > 0) {
                write_all(claim, seqs, n);
                for (long i = 0; i < n; i++) {
                        failed += handler(payloads + i * payload_size, payload_size);
                }
                write_all(finish, seqs, n);
                done += n;
        }
        double seconds = monotonic_s() - begin;
        printf("{\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f,\"failed\":%d}\n",
               done, seconds, (double)done / seconds, cpu_seconds() * 1e4 / (double)done, failed);
        fflush(stdout);
        sqlite3_finalize(select);
        sqlite3_finalize(claim);
        sqlite3_finalize(finish);
        free(payloads);
}

static void audit(void)
{
        sqlite3_stmt *s =
            prepare("select count(*) from jobs where state <> 4 or finished is null or"
                    " length(coalesce(payload, " LARGE ")) is not ?1");
        sqlite3_bind_int64(s, 1, payload_size);
        if (sqlite3_step(s) != SQLITE_ROW || sqlite3_column_int64(s, 0) != 0) {
                die("not all rows are completed with their payload");
        }
        sqlite3_finalize(s);
}

/* --- latency ---------------------------------------------------------------------------------- */

static void latency(long n, long rate, long batch)
{
        static int64_t seqs[BATCH_MAX];
        sqlite3_stmt *s = prepare(insert_sql), *claim = prepare(claim_sql);
        double *took = calloc((size_t)n, sizeof *took), start = monotonic_s();
        for (long i = 0; i + batch <= n; i += batch) {
                sleep_until(start + (double)i / (double)rate);
                double begin = monotonic_s();
                run("begin immediate");
                for (long k = 0; k < batch; k++) {
                        seqs[k] = insert(s, i + k);
                }
                run("commit");
                write_all(claim, seqs, batch);
                for (long k = 0; k < batch; k++) {
                        took[i + k] = monotonic_s() - begin;
                }
        }
        print_latency(took, n / batch * batch);
        free(took);
        sqlite3_finalize(s);
        sqlite3_finalize(claim);
}

static long optional(char **argv, int argc, int at, long otherwise)
{
        return argc > at ? number_of(argv[at], 1, BATCH_MAX) : otherwise;
}

int main(int argc, char **argv)
{
        take_payload_size(&argc, &argv);
        const char *verb = argc >= 4 ? argv[2] : "";
        if (strcmp(verb, "fill") == 0) {
                open_file(argv[1]);
                fill(number_of(argv[3], 1, 100000000), optional(argv, argc, 4, PAGE));
        } else if (strcmp(verb, "drain") == 0) {
                open_file(argv[1]);
                drain(number_of(argv[3], 1, BATCH_MAX));
                audit();
        } else if (strcmp(verb, "latency") == 0 && argc >= 5) {
                open_file(argv[1]);
                latency(number_of(argv[3], 1, 100000000), number_of(argv[4], 1, 1000000),
                        optional(argv, argc, 5, 1));
        } else {
                fputs("usage: bare-sqlite [--payload BYTES] FILE fill N [BATCH] | drain BATCH |"
                      " latency N RATE [BATCH]\n",
                      stderr);
                return 64;
        }
        sqlite3_close(db);
        return 0;
}
