/*
 * libpq for the bare loops: a connection, statements that must succeed, and binary arrays. Blocking
 * throughout; what overlaps is sent first and read later.
 */
#ifndef SKEP_BENCH_KIT_POSTGRES_H
#define SKEP_BENCH_KIT_POSTGRES_H

#include <libpq-fe.h>
#include <stdint.h>

/* An argument in PostgreSQL's binary format, here mostly a one-dimensional array. {0} is a new one;
 * its memory is kept from use to use. */
struct pg_value {
        char *bytes;
        size_t n, room;
        uint32_t items;
};

enum { PG_OID_UUID = 2950, PG_OID_TEXT = 25, PG_OID_BYTEA = 17, PG_OID_INT2 = 21 };

PGconn *pg_connect(const char *url);
void pg_run(PGconn *c, const char *sql);
long pg_number(PGconn *c, const char *sql); /* the first column of its first row */
void pg_prepare(PGconn *c, const char *name, const char *sql);

void pg_array_begin(struct pg_value *a, uint32_t oid);
void pg_array_add(struct pg_value *a, const void *bytes, uint32_t n);
void pg_array_end(struct pg_value *a);

/* Sends a prepared statement with n arguments (4 at most); answers come in binary. */
void pg_send(PGconn *c, const char *name, const struct pg_value *arguments, int n);

/* Waits for the answer of what was sent. NULL-safe to PQclear. */
PGresult *pg_answer(PGconn *c);
long pg_affected(PGconn *c); /* the same, when only the number of rows counts */

#endif
