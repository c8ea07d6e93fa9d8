/*
 * Fills a ledger with pending no-op jobs through the ledger seam itself, so that a drain can be
 * measured alone.
 *
 *     bench-fill [--payload BYTES] URL N [QUEUES [TYPES]]
 *
 * URL is sqlite:PATH or postgresql://...; with QUEUES the jobs are spread over q0, q1, ..., with
 * TYPES over t.0, t.1, ... Without jobs (N is 0) it makes the tables.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/kit.h"
#include "ledgers/postgres/postgres.h"
#include "ledgers/sqlite/sqlite.h"

#define PAGE    1000
#define POLLFDS 16

static int64_t now_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static struct ledger_batch *wait_answer(struct ledger *l)
{
        for (;;) {
                struct ledger_batch *b = l->ops->dispatch(l, now_ns());
                if (b) {
                        return b;
                }
                struct pollfd fds[POLLFDS];
                uint32_t n = l->ops->pollfds(l, fds, POLLFDS);
                poll(fds, n, 10);
        }
}

static struct str make_body(struct arena *a, long number)
{
        char *bytes = arena_zalloc(a, (size_t)payload_size);
        make_payload(wall_us(), number, bytes);
        return (struct str){bytes, (uint32_t)payload_size};
}

/* Jobs go round: queue 0, 1, ... of type 0, 1, ...; with 1 queue and type they are `default` and
 * `noop`. */
struct spread {
        long queues, types;
};

static struct str make_name(struct arena *a, const char *one, const char *form, long n, long number)
{
        return n == 1 ? str_of(one) : arena_printf(a, form, number % n);
}

static struct submission *make_page(struct id_mint *mint, const struct spread *spread, long from,
                                    uint32_t n)
{
        struct submission *s = submission_new();
        s->rows = arena_zalloc(&s->arena, n * sizeof *s->rows);
        s->n = n;
        for (uint32_t i = 0; i < n; i++) {
                s->rows[i] = (struct submit_row){
                    .id = id_mint(mint, wall_us()),
                    .queue = make_name(&s->arena, "default", "q%ld", spread->queues, from + i),
                    .type = make_name(&s->arena, "noop", "t.%ld", spread->types, from + i),
                    .state = STATE_PENDING,
                    .band = BAND_OFFERED,
                    .priority = PRIORITY_DEFAULT,
                    .max_attempts = 3,
                    .content_type = STR("application/octet-stream"),
                    .payload = make_body(&s->arena, from + i),
                };
        }
        return s;
}

static void join(struct ledger *l)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_REGISTER);
        b->no = (struct commit_no){1, LANE_BEAT, 1};
        l->ops->post(l, b);
        b = wait_answer(l);
        if (b->outcome != LEDGER_COMMITTED) {
                die("%s", b->note);
        }
        ledger_batch_free(b);
}

/* Leaves in order: declared dead, then forgotten. */
static void leave(struct ledger *l)
{
        for (int forget = 0; forget < 2; forget++) {
                struct ledger_batch *b = ledger_batch_new(LEDGER_BURY);
                b->no = (struct commit_no){1, LANE_BEAT, 2 + (uint64_t)forget};
                LEDGER_AS(bury, BURY, b)->victim = 1;
                LEDGER_AS(bury, BURY, b)->any_beat = true;
                LEDGER_AS(bury, BURY, b)->forget = forget;
                l->ops->post(l, b);
                ledger_batch_free(wait_answer(l));
        }
}

static void submit_page(struct ledger *l, struct submission *s, uint64_t number)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_SUBMIT);
        b->no = (struct commit_no){1, LANE_CLAIMS, number};
        LEDGER_AS(submit, SUBMIT, b)->list = s;
        LEDGER_AS(submit, SUBMIT, b)->rows = s->n;
        l->ops->post(l, b);
        b = wait_answer(l);
        if (b->outcome != LEDGER_COMMITTED || s->refused) {
                die("%s", s->refused ? s->note : b->note);
        }
        ledger_batch_free(b);
        submission_free(s);
}

static struct ledger *open_ledger(const char *url)
{
        char note[512];
        struct ledger *l;
        struct postgres_options p = {.application = "bench-fill"};
        struct ledger_sqlite_options s = {.path = ledger_sqlite_url_path(url)};
        int r = s.path ? ledger_sqlite_open(&s, &l, note, sizeof note)
                       : postgres_open(url, &p, &l, note, sizeof note);
        if (r != 0) {
                die("%s", note);
        }
        return l;
}

int main(int argc, char **argv)
{
        take_payload_size(&argc, &argv);
        if (argc < 3 || argc > 5) {
                fputs("usage: bench-fill [--payload BYTES] URL N [QUEUES [TYPES]]\n", stderr);
                return 64;
        }
        long n = number_of(argv[2], 0, 100000000);
        struct ledger *l = open_ledger(argv[1]);
        struct id_mint mint = {.random = (uint64_t)wall_us() | 1};
        struct spread spread = {.queues = argc > 3 ? number_of(argv[3], 1, 256) : 1,
                                .types = argc > 4 ? number_of(argv[4], 1, 100000) : 1};
        uint64_t number = 0;
        join(l);
        for (long i = 0; i < n; i += PAGE) {
                uint32_t page = n - i < PAGE ? (uint32_t)(n - i) : PAGE;
                submit_page(l, make_page(&mint, &spread, i, page), ++number);
        }
        leave(l);
        l->ops->close(l);
        return 0;
}
