/*
 * The bare loop of a broker and a ledger; see bare/loop.h.
 */
#include "bench/bare/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kit.h"

#define SOME     1000 /* letters at once, when they are taken as they come */
#define JOBS_MAX 100000000

struct loop {
        struct bare_broker *broker;
        struct bare_ledger *ledger;
        int failed;
        double seconds; /* from the first claim to the last finish */
};

static int noop(const char *payload, int size)
{
        return payload && size == payload_size ? 0 : 1;
}

static int (*volatile handler)(const char *, int) = noop;

static void new_batch(struct batch *b, long size)
{
        size_t n = (size_t)size;
        *b = (struct batch){.ids = malloc(16 * n),
                            .payloads = malloc((size_t)payload_size * n),
                            .letters = calloc(n, sizeof *b->letters)};
        if (!b->ids || !b->payloads || !b->letters) {
                die("no memory");
        }
}

static void drop_batch(struct batch *b)
{
        free(b->ids);
        free(b->payloads);
        free(b->letters);
}

/* --- draining --------------------------------------------------------------------------------- */

static void receive(struct loop *l, long n, struct batch *ret)
{
        l->broker->ops->receive(l->broker, n, n, ret);
}

/* The claim of b is under way. */
static void complete(struct loop *l, struct batch *b)
{
        l->ledger->ops->end_claim(l->ledger);
        l->broker->ops->acknowledge(l->broker, b);
        for (long i = 0; i < b->n; i++) {
                l->failed += handler(b->payloads + payload_size * i, (int)payload_size);
        }
        l->ledger->ops->finish(l->ledger, b);
}

static void drain_all(struct loop *l, struct batch batches[2], long n, long size)
{
        struct batch *b = &batches[0], *next = &batches[1];
        receive(l, n < size ? n : size, b);
        double begin = monotonic_s();
        l->ledger->ops->begin_claim(l->ledger, b);
        for (long got = b->n; got < n; got += b->n) {
                receive(l, n - got < size ? n - got : size, next);
                complete(l, b);
                l->ledger->ops->begin_claim(l->ledger, next);
                struct batch *done = b;
                b = next;
                next = done;
        }
        complete(l, b);
        l->seconds = monotonic_s() - begin;
        l->broker->ops->settle(l->broker);
}

/* --- the program ------------------------------------------------------------------------------ */

static void audit(struct loop *l, long n)
{
        long rows, bad;
        l->ledger->ops->count(l->ledger, &rows, &bad);
        if (rows != n || bad) {
                die("of %ld jobs there are %ld rows, %ld of them not completed with their payload",
                    n, rows, bad);
        }
}

static void drain(struct loop *l, long n, long size)
{
        struct batch batches[2];
        new_batch(&batches[0], size);
        new_batch(&batches[1], size);
        drain_all(l, batches, n, size);
        printf("{\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f,\"failed\":%d}\n",
               n, l->seconds, (double)n / l->seconds, cpu_seconds() * 1e4 / (double)n, l->failed);
        fflush(stdout);
        drop_batch(&batches[0]);
        drop_batch(&batches[1]);
}

static void latency(struct loop *l, long n)
{
        struct batch b;
        double *took = calloc((size_t)n, sizeof *took);
        new_batch(&b, SOME);
        for (long i = 0; i < n;) {
                l->broker->ops->receive(l->broker, 1, n - i < SOME ? n - i : SOME, &b);
                l->ledger->ops->begin_claim(l->ledger, &b);
                l->ledger->ops->end_claim(l->ledger);
                for (long k = 0; k < b.n; k++) {
                        int64_t sent_us = payload_time(b.payloads + payload_size * k);
                        took[i++] = (double)(wall_us() - sent_us) / 1e6;
                }
                l->broker->ops->acknowledge(l->broker, &b);
                l->ledger->ops->finish(l->ledger, &b);
        }
        l->broker->ops->settle(l->broker);
        print_latency(took, n);
        fflush(stdout);
        free(took);
        drop_batch(&b);
}

static int usage(void)
{
        fprintf(stderr, "usage: %s BROKER LEDGER reset | drain QUEUE N BATCH | latency QUEUE N\n",
                program_invocation_short_name);
        return 64;
}

int bare_main(int argc, char **argv, const struct bare_broker_ops *broker,
              const struct bare_ledger_ops *ledger)
{
        take_payload_size(&argc, &argv);
        if (argc == 4 && strcmp(argv[3], "reset") == 0) {
                ledger->reset(argv[2]);
                return 0;
        }
        bool draining = argc == 7 && strcmp(argv[3], "drain") == 0;
        if (!draining && (argc != 6 || strcmp(argv[3], "latency") != 0)) {
                return usage();
        }
        long n = number_of(argv[5], 1, JOBS_MAX);
        long size = draining ? number_of(argv[6], 1, BATCH_MAX) : SOME;
        struct loop l = {.ledger = ledger->open(argv[2]),
                         .broker = broker->open(argv[1], argv[4], n, size)};
        if (draining) {
                drain(&l, n, size);
        } else {
                latency(&l, n);
        }
        audit(&l, n);
        broker->close(l.broker);
        ledger->close(l.ledger);
        return 0;
}
