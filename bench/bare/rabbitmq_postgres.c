/*
 * The bare loop for RabbitMQ and PostgreSQL: what a job costs at least when both are driven by hand
 * in one process. AMQP and PG are their URLs.
 *
 *     bare-rabbitmq-postgres AMQP PG reset
 *             a new table `bare`
 *     bare-rabbitmq-postgres AMQP PG drain QUEUE N BATCH
 *             N letters of a queue become completed rows
 *     bare-rabbitmq-postgres AMQP PG latency QUEUE N
 *             as they come: the time from being sent to being claimed
 *
 * A batch is received and inserted as running with its payload (one commit), acknowledged, put
 * through a no-op, and finished (one more commit); while the database works, the next batch is
 * received. One connection to each server; ids are the letters' own where they have one. No guard,
 * no fence, no journal, no isolation: that is the point. Each drain prints one JSON line and then
 * counts the rows: all are completed with their payload, or the program fails.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kit.h"
#include "bench/kit_amqp.h"
#include "bench/kit_postgres.h"

#define PATIENCE_S 20 /* for the next letter */
#define SOME       100

static const char table_sql[] =
    "drop table if exists bare;"
    "create table bare (id uuid primary key, type text not null, payload bytea not null,"
    " state smallint not null, attempts int not null default 0,"
    " created timestamptz not null default now(), started timestamptz, finished timestamptz)";

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
    "select count(*) from bare where state <> 4 or length(payload) <> 256 or started is null"
    " or finished is null";

struct batch {
        long n;
        uint64_t last_tag;
        uint8_t *ids;
        char *payloads;
};

enum { IDS, TYPES, PAYLOADS, VALUES };

struct loop {
        amqp_connection_state_t broker;
        PGconn *ledger;
        struct pg_value values[VALUES];
        int failed;
        double seconds; /* from the first claim to the last finish */
};

static int noop(const char *payload, int size)
{
        return payload && size == PAYLOAD ? 0 : 1;
}

static int (*volatile handler)(const char *, int) = noop;

/* --- the broker ------------------------------------------------------------------------------- */

static void consume(amqp_connection_state_t c, const char *queue, long prefetch)
{
        amqp_basic_qos(c, CHANNEL, 0, (uint16_t)(prefetch < 65535 ? prefetch : 65535), 0);
        broker_must(c, "basic.qos");
        amqp_basic_consume(c, CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0,
                           amqp_empty_table);
        broker_must(c, "basic.consume");
}

/* False: none is there, and it was not to wait. */
static bool receive_letter(amqp_connection_state_t c, struct batch *b, bool wait)
{
        const struct timeval patience = {wait ? PATIENCE_S : 0, 0};
        amqp_envelope_t e;
        amqp_maybe_release_buffers(c);
        amqp_rpc_reply_t r = amqp_consume_message(c, &e, &patience, 0);
        if (!wait && r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
            r.library_error == AMQP_STATUS_TIMEOUT) {
                return false;
        }
        if (r.reply_type != AMQP_RESPONSE_NORMAL || e.message.body.len != PAYLOAD) {
                die("no letter of %d bytes came within %d s", PAYLOAD, PATIENCE_S);
        }
        amqp_bytes_t id = e.message.properties.message_id;
        if (uuid_parse(id.bytes, id.len, b->ids + 16 * b->n) != 0) {
                make_uuid(b->ids + 16 * b->n);
        }
        memcpy(b->payloads + PAYLOAD * b->n, e.message.body.bytes, PAYLOAD);
        b->last_tag = e.delivery_tag;
        b->n++;
        amqp_destroy_envelope(&e);
        return true;
}

static void receive(amqp_connection_state_t c, struct batch *b, long want)
{
        for (b->n = 0; b->n < want;) {
                receive_letter(c, b, true);
        }
}

/* One at least, and what else is there. */
static void receive_some(amqp_connection_state_t c, struct batch *b, long most)
{
        b->n = 0;
        receive_letter(c, b, true);
        while (b->n < most && receive_letter(c, b, false)) {}
}

static void acknowledge(amqp_connection_state_t c, const struct batch *b)
{
        if (amqp_basic_ack(c, CHANNEL, b->last_tag, 1) != AMQP_STATUS_OK) {
                die("the broker went away");
        }
}

/* --- the ledger ------------------------------------------------------------------------------- */

static void add_ids(struct loop *l, const struct batch *b)
{
        pg_array_begin(&l->values[IDS], PG_OID_UUID);
        for (long i = 0; i < b->n; i++) {
                pg_array_add(&l->values[IDS], b->ids + 16 * i, 16);
        }
        pg_array_end(&l->values[IDS]);
}

static void send_claim(struct loop *l, const struct batch *b)
{
        add_ids(l, b);
        pg_array_begin(&l->values[TYPES], PG_OID_TEXT);
        pg_array_begin(&l->values[PAYLOADS], PG_OID_BYTEA);
        for (long i = 0; i < b->n; i++) {
                pg_array_add(&l->values[TYPES], "noop", 4);
                pg_array_add(&l->values[PAYLOADS], b->payloads + PAYLOAD * i, PAYLOAD);
        }
        pg_array_end(&l->values[TYPES]);
        pg_array_end(&l->values[PAYLOADS]);
        pg_send(l->ledger, "claim", l->values, VALUES);
}

static void finish(struct loop *l, const struct batch *b)
{
        add_ids(l, b);
        pg_send(l->ledger, "finish", l->values, 1);
        if (pg_affected(l->ledger) != b->n) {
                die("a finish met other rows than those that were claimed");
        }
}

/* --- the loop --------------------------------------------------------------------------------- */

/* The claim of b is under way. */
static void complete(struct loop *l, const struct batch *b)
{
        pg_affected(l->ledger);
        acknowledge(l->broker, b);
        for (long i = 0; i < b->n; i++) {
                l->failed += handler(b->payloads + PAYLOAD * i, PAYLOAD);
        }
        finish(l, b);
}

static void drain_all(struct loop *l, struct batch batches[2], long n, long size)
{
        struct batch *b = &batches[0], *next = &batches[1];
        receive(l->broker, b, n < size ? n : size);
        double begin = monotonic_s();
        send_claim(l, b);
        for (long got = b->n; got < n; got += b->n) {
                receive(l->broker, next, n - got < size ? n - got : size);
                complete(l, b);
                send_claim(l, next);
                struct batch *done = b;
                b = next;
                next = done;
        }
        complete(l, b);
        l->seconds = monotonic_s() - begin;
        /* a round trip: the channel has seen the acknowledgements */
        amqp_basic_qos(l->broker, CHANNEL, 0, 1, 0);
        broker_must(l->broker, "basic.qos");
}

static void open_loop(struct loop *l, char **urls)
{
        *l = (struct loop){.broker = broker_connect(urls[0]), .ledger = pg_connect(urls[1])};
        pg_prepare(l->ledger, "claim", claim_sql);
        pg_prepare(l->ledger, "finish", finish_sql);
}

static void close_loop(struct loop *l)
{
        for (int i = 0; i < VALUES; i++) {
                free(l->values[i].bytes);
        }
        broker_leave(l->broker);
        PQfinish(l->ledger);
}

static void new_batch(struct batch *b, long size)
{
        *b = (struct batch){.ids = malloc(16 * (size_t)size),
                            .payloads = malloc(PAYLOAD * (size_t)size)};
        if (!b->ids || !b->payloads) {
                die("no memory");
        }
}

static void drop_batch(struct batch *b)
{
        free(b->ids);
        free(b->payloads);
}

static void audit(PGconn *c, long n)
{
        if (pg_number(c, bad_sql) != 0 || pg_number(c, "select count(*) from bare") != n) {
                die("not all rows are completed with their payload");
        }
}

static void drain(char **urls, const char *queue, long n, long size)
{
        struct loop l;
        struct batch batches[2];
        open_loop(&l, urls);
        new_batch(&batches[0], size);
        new_batch(&batches[1], size);
        consume(l.broker, queue, 3 * size);
        drain_all(&l, batches, n, size);
        printf("{\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f,\"failed\":%d}\n",
               n, l.seconds, (double)n / l.seconds, cpu_seconds() * 1e4 / (double)n, l.failed);
        fflush(stdout);
        audit(l.ledger, n);
        drop_batch(&batches[0]);
        drop_batch(&batches[1]);
        close_loop(&l);
}

static void latency(char **urls, const char *queue, long n)
{
        struct loop l;
        struct batch b;
        double *took = calloc((size_t)n, sizeof *took);
        open_loop(&l, urls);
        new_batch(&b, SOME);
        consume(l.broker, queue, SOME);
        for (long i = 0; i < n;) {
                receive_some(l.broker, &b, n - i < SOME ? n - i : SOME);
                send_claim(&l, &b);
                pg_affected(l.ledger);
                for (long k = 0; k < b.n; k++) {
                        int64_t sent_us = payload_time(b.payloads + PAYLOAD * k);
                        took[i++] = (double)(wall_us() - sent_us) / 1e6;
                }
                acknowledge(l.broker, &b);
                finish(&l, &b);
        }
        print_latency(took, n);
        fflush(stdout);
        audit(l.ledger, n);
        free(took);
        drop_batch(&b);
        close_loop(&l);
}

static void reset(const char *url)
{
        PGconn *c = pg_connect(url);
        pg_run(c, table_sql);
        PQfinish(c);
}

int main(int argc, char **argv)
{
        if (argc == 4 && strcmp(argv[3], "reset") == 0) {
                reset(argv[2]);
        } else if (argc == 7 && strcmp(argv[3], "drain") == 0) {
                drain(argv + 1, argv[4], number_of(argv[5], 1, 100000000),
                      number_of(argv[6], 1, BATCH_MAX));
        } else if (argc == 6 && strcmp(argv[3], "latency") == 0) {
                latency(argv + 1, argv[4], number_of(argv[5], 1, 100000000));
        } else {
                fputs("usage: bare-rabbitmq-postgres AMQP PG reset | drain QUEUE N BATCH | "
                      "latency QUEUE N\n",
                      stderr);
                return 64;
        }
        return 0;
}
