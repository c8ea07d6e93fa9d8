/*
 * libpq for the bare loops; see kit_postgres.h.
 */
#include "bench/kit_postgres.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kit.h"

#define ARGUMENTS_MAX 4

/* "table does not exist, skipping" is no news here. */
static void ignore_notice(void *arg, const char *text)
{
        (void)arg, (void)text;
}

PGconn *pg_connect(const char *url)
{
        PGconn *c = PQconnectdb(url);
        if (PQstatus(c) != CONNECTION_OK) {
                die("%s", PQerrorMessage(c));
        }
        PQsetNoticeProcessor(c, ignore_notice, NULL);
        return c;
}

static PGresult *check(PGconn *c, PGresult *r)
{
        ExecStatusType status = PQresultStatus(r);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
                die("%s", PQerrorMessage(c));
        }
        return r;
}

void pg_run(PGconn *c, const char *sql)
{
        PQclear(check(c, PQexec(c, sql)));
}

long pg_number(PGconn *c, const char *sql)
{
        PGresult *r = check(c, PQexec(c, sql));
        long n = PQntuples(r) ? atol(PQgetvalue(r, 0, 0)) : 0;
        PQclear(r);
        return n;
}

void pg_prepare(PGconn *c, const char *name, const char *sql)
{
        PQclear(check(c, PQprepare(c, name, sql, 0, NULL)));
}

static void put(struct pg_value *a, const void *bytes, size_t n)
{
        if (a->n + n > a->room) {
                a->room = (a->n + n) * 2 + 4096;
                a->bytes = realloc(a->bytes, a->room);
                if (!a->bytes) {
                        die("no memory");
                }
        }
        memcpy(a->bytes + a->n, bytes, n);
        a->n += n;
}

static void put_u32(struct pg_value *a, uint32_t value)
{
        value = htonl(value);
        put(a, &value, 4);
}

/* Dimensions, has nulls, type; then items and lower bound of the one dimension. */
void pg_array_begin(struct pg_value *a, uint32_t oid)
{
        const uint32_t head[] = {1, 0, oid, 0, 1};
        a->n = 0;
        a->items = 0;
        for (int i = 0; i < 5; i++) {
                put_u32(a, head[i]);
        }
}

void pg_array_add(struct pg_value *a, const void *bytes, uint32_t n)
{
        put_u32(a, n);
        put(a, bytes, n);
        a->items++;
}

void pg_array_end(struct pg_value *a)
{
        uint32_t items = htonl(a->items);
        memcpy(a->bytes + 12, &items, 4);
}

void pg_send(PGconn *c, const char *name, const struct pg_value *arguments, int n)
{
        static const int binary[ARGUMENTS_MAX] = {1, 1, 1, 1};
        const char *values[ARGUMENTS_MAX];
        int sizes[ARGUMENTS_MAX];
        for (int i = 0; i < n; i++) {
                values[i] = arguments[i].bytes;
                sizes[i] = (int)arguments[i].n;
        }
        if (!PQsendQueryPrepared(c, name, n, values, sizes, binary, 1)) {
                die("%s", PQerrorMessage(c));
        }
}

PGresult *pg_answer(PGconn *c)
{
        PGresult *first = NULL, *r;
        while ((r = PQgetResult(c))) {
                check(c, r);
                if (first) {
                        PQclear(r);
                } else {
                        first = r;
                }
        }
        return first;
}

long pg_affected(PGconn *c)
{
        PGresult *r = pg_answer(c);
        long n = atol(PQcmdTuples(r));
        PQclear(r);
        return n;
}
