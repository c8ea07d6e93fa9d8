/*
 * `skep-scratch look`: what the ledger's server is set up for, against what it keeps. For `skep
 * doctor`, which cannot ask a database and may not know its password. It changes nothing.
 *
 * Looked at is the index of the jobs' keys. Time-ordered ids (UUIDv7, ULID) go into its last pages;
 * scattered ones (UUIDv4, or texts, which are hashed) each into a page of their own. Then the index
 * has to stay in memory, and after each checkpoint every page of it is written to the WAL once
 * more as a whole. So the server needs shared_buffers of the index's size, and checkpoints begin
 * at about half of max_wal_size: four times that size lets at most every second byte of the WAL be
 * such a page. The memory of the server is not known here, so how much is too much is not said.
 */
#include "scratch/scratch.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define MIB              (1024 * 1024)
#define FEW_KEYS         200 /* of the newest jobs: too few to tell */
#define SCATTERED_BYTES  64  /* different first bytes: of 200 scattered keys there are about 139 */
#define WAL_OF_THE_INDEX 4

static const char question[] =
    "with newest as materialized (select key from skep.jobs order by id desc limit 2000),"
    " seen as (select substr(key::text, 1, 2) as byte from newest where key is not null) "
    "select (select count(*) from seen), (select count(distinct byte) from seen),"
    " pg_relation_size('skep.jobs_key'), pg_size_bytes(current_setting('shared_buffers')),"
    " pg_size_bytes(current_setting('max_wal_size'))";

struct seen {
        int64_t keys, bytes, index, buffers, wal;
};

static bool ask(PGconn *c, struct seen *ret)
{
        int64_t *const fields[] = {&ret->keys, &ret->bytes, &ret->index, &ret->buffers, &ret->wal};
        PGresult *r = PQexec(c, question);
        bool good = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1;
        for (int i = 0; good && i < 5; i++) {
                *fields[i] = strtoll(PQgetvalue(r, 0, i), NULL, 10);
        }
        PQclear(r);
        return good;
}

static int64_t mib(int64_t bytes)
{
        return (bytes + MIB - 1) / MIB;
}

static void print_keys(const struct seen *s)
{
        bool few = s->keys < FEW_KEYS, scattered = !few && s->bytes >= SCATTERED_BYTES;
        bool small = s->index <= s->buffers && WAL_OF_THE_INDEX * s->index <= s->wal;
        printf("ledger keys\t%s\t%s, their index has %" PRId64 " MB; shared_buffers is %" PRId64
               " MB, max_wal_size %" PRId64 " MB\t",
               scattered && !small ? "warn" : "ok",
               few         ? "few of the newest jobs have keys"
               : scattered ? "the newest keys are scattered (random ids, or no UUIDs)"
                           : "the newest keys are in order of time",
               mib(s->index), mib(s->buffers), mib(s->wal));
        if (scattered && !small) {
                printf("let producers use time-ordered ids (UUIDv7, ULID); or set shared_buffers "
                       "to %" PRId64 "MB or more and max_wal_size to %" PRId64
                       "MB or more; or keep "
                       "fewer jobs (retention); see docs/postgresql.md",
                       mib(s->index > s->buffers ? s->index : s->buffers),
                       mib(WAL_OF_THE_INDEX * s->index > s->wal ? WAL_OF_THE_INDEX * s->index
                                                                : s->wal));
        }
        putchar('\n');
}

int database_look(const char *url, bool unsafe)
{
        struct seen s;
        PGconn *c = NULL;
        int r = database_connect(url, unsafe, &c);
        if (r) {
                return r;
        }
        PQclear(PQexec(c, "set statement_timeout = '5s'"));
        PGresult *there = PQexec(c, "select to_regclass('skep.jobs_key') is not null");
        bool made = PQresultStatus(there) == PGRES_TUPLES_OK &&
                    strcmp(PQgetvalue(there, 0, 0), "t") == 0; /* else no skepd was there yet */
        PQclear(there);
        if (made && ask(c, &s)) {
                print_keys(&s);
        } else if (made) {
                r = refuse(EX_UNAVAILABLE, "%s", PQerrorMessage(c));
        }
        PQfinish(c);
        return r;
}
