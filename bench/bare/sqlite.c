/*
 * The bare loop for the SQLite ledger alone: what a drain costs at least when done by hand in one
 * process.
 *
 *     bare-sqlite FILE fill N          makes a table and N pending jobs of 256 bytes
 *     bare-sqlite FILE drain BATCH     select BATCH pending with their payload, one commit that
 * claims them, a no-op, one commit that finishes them, until none is left; prints one JSON line
 *     bare-sqlite FILE latency N RATE  N times at RATE a second: insert commit, claim commit;
 * prints the time between
 *
 * The same durability as skep's: WAL, synchronous=FULL. No guard, no fence, no keys, no isolation:
 * that is the point.
 */
#include <math.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#define PAYLOAD   256
#define BATCH_MAX 10000

static sqlite3 *db;

static void die(const char *what)
{
        fprintf(stderr, "bare-sqlite: %s: %s\n", what, db ? sqlite3_errmsg(db) : "");
        exit(1);
}

static int64_t now_us(clockid_t clock)
{
        struct timespec t;
        clock_gettime(clock, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void run(const char *sql)
{
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
                die(sql);
        }
}

static sqlite3_stmt *prepare(const char *sql)
{
        sqlite3_stmt *s;
        if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
                die(sql);
        }
        return s;
}

static void step(sqlite3_stmt *s)
{
        if (sqlite3_step(s) != SQLITE_DONE) {
                die(sqlite3_sql(s));
        }
        sqlite3_reset(s);
}

static void open_file(const char *path)
{
        if (sqlite3_open(path, &db) != SQLITE_OK) {
                die(path);
        }
        run("pragma journal_mode=wal");
        run("pragma synchronous=full");
        run("create table if not exists jobs(seq integer primary key, id blob not null unique, "
            "type text not null,"
            " payload blob not null, state int not null, lane int, created int, started int, "
            "finished int)");
        run("create index if not exists waiting on jobs(lane) where lane is not null");
}

static void make_job(uint8_t id[16], char payload[PAYLOAD])
{
        int64_t ms = now_us(CLOCK_REALTIME) / 1000;
        if (getrandom(id, 16, 0) != 16) {
                die("getrandom");
        }
        for (int i = 0; i < 6; i++) {
                id[i] = (uint8_t)(ms >> (40 - 8 * i));
        }
        memset(payload, 'x', PAYLOAD);
}

static void insert(sqlite3_stmt *s, int64_t lane)
{
        uint8_t id[16];
        char payload[PAYLOAD];
        make_job(id, payload);
        sqlite3_bind_blob(s, 1, id, 16, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, "noop", 4, SQLITE_STATIC);
        sqlite3_bind_blob(s, 3, payload, PAYLOAD, SQLITE_STATIC);
        sqlite3_bind_int64(s, 4, lane);
        sqlite3_bind_int64(s, 5, now_us(CLOCK_REALTIME));
        step(s);
}

static const char insert_sql[] =
    "insert into jobs(id, type, payload, state, lane, created) values(?1, ?2, ?3, 1, ?4, ?5)";

static void fill(long n)
{
        sqlite3_stmt *s = prepare(insert_sql);
        for (long i = 0; i < n;) {
                run("begin immediate");
                for (long j = 0; j < 1000 && i < n; j++) {
                        insert(s, ++i);
                }
                run("commit");
        }
        run("pragma wal_checkpoint(truncate)");
        sqlite3_finalize(s);
}

static int noop(const void *payload, int size)
{
        return payload && size == PAYLOAD ? 0 : 1;
}

static int (*volatile handler)(const void *, int);

static double cpu_seconds(void)
{
        struct rusage u;
        getrusage(RUSAGE_SELF, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long take_batch(sqlite3_stmt *select, long batch, int64_t *seqs, char *payloads)
{
        long n = 0;
        sqlite3_bind_int64(select, 1, batch);
        while (sqlite3_step(select) == SQLITE_ROW) {
                seqs[n] = sqlite3_column_int64(select, 0);
                memcpy(payloads + n * PAYLOAD, sqlite3_column_blob(select, 1), PAYLOAD);
                n++;
        }
        sqlite3_reset(select);
        return n;
}

static void write_all(sqlite3_stmt *s, const int64_t *seqs, long n)
{
        int64_t now = now_us(CLOCK_REALTIME);
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
        char *payloads = malloc((size_t)batch * PAYLOAD);
        sqlite3_stmt *select =
            prepare("select seq, payload from jobs where lane is not null order by lane limit ?1");
        sqlite3_stmt *claim =
            prepare("update jobs set state = 2, lane = null, started = ?2 where seq = ?1");
        sqlite3_stmt *finish = prepare("update jobs set state = 4, finished = ?2 where seq = ?1");
        int64_t start = now_us(CLOCK_MONOTONIC);
        long done = 0, n;
        int failed = 0;
        handler = noop;
        while ((n = take_batch(select, batch, seqs, payloads)) > 0) {
                write_all(claim, seqs, n);
                for (long i = 0; i < n; i++) {
                        failed += handler(payloads + i * PAYLOAD, PAYLOAD);
                }
                write_all(finish, seqs, n);
                done += n;
        }
        double seconds = (double)(now_us(CLOCK_MONOTONIC) - start) / 1e6;
        printf("{\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f,\"failed\":%d}\n",
               done, seconds, (double)done / seconds, cpu_seconds() * 1e4 / (double)done, failed);
        sqlite3_finalize(select);
        sqlite3_finalize(claim);
        sqlite3_finalize(finish);
        free(payloads);
}

static int compare(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return x < y ? -1 : x > y;
}

static void latency(long n, long rate)
{
        sqlite3_stmt *s = prepare(insert_sql);
        sqlite3_stmt *claim =
            prepare("update jobs set state = 2, lane = null, started = ?2 where seq = ?1");
        int64_t *took = calloc((size_t)n, sizeof *took), next = now_us(CLOCK_MONOTONIC);
        for (long i = 0; i < n; i++) {
                next += 1000000 / rate;
                int64_t left = next - now_us(CLOCK_MONOTONIC);
                if (left > 0) {
                        nanosleep(&(struct timespec){left / 1000000, left % 1000000 * 1000}, NULL);
                }
                int64_t begin = now_us(CLOCK_MONOTONIC);
                run("begin immediate");
                insert(s, i);
                run("commit");
                int64_t seq = sqlite3_last_insert_rowid(db);
                write_all(claim, &seq, 1);
                took[i] = now_us(CLOCK_MONOTONIC) - begin;
        }
        long middle = n / 2, high = n * 99 / 100;
        qsort(took, (size_t)n, sizeof *took, compare);
        printf("{\"jobs\":%ld,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", n, (double)took[middle] / 1e3,
               (double)took[high] / 1e3);
        free(took);
        sqlite3_finalize(s);
        sqlite3_finalize(claim);
}

int main(int argc, char **argv)
{
        if (argc >= 4 && strcmp(argv[2], "fill") == 0) {
                open_file(argv[1]);
                fill(atol(argv[3]));
        } else if (argc >= 4 && strcmp(argv[2], "drain") == 0 && atol(argv[3]) <= BATCH_MAX) {
                open_file(argv[1]);
                drain(atol(argv[3]));
        } else if (argc >= 5 && strcmp(argv[2], "latency") == 0) {
                open_file(argv[1]);
                latency(atol(argv[3]), atol(argv[4]));
        } else {
                fputs("usage: bare-sqlite FILE fill N | drain BATCH | latency N RATE\n", stderr);
                return 64;
        }
        sqlite3_close(db);
        return 0;
}
