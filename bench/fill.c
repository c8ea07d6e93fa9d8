/*
 * Fills a SQLite ledger with pending no-op jobs through the ledger seam itself, so that a drain can
 * be measured alone.
 *
 *     bench-fill FILE N [PAYLOAD-BYTES]
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ledgers/sqlite/sqlite.h"

#define PAGE 1000

static struct ledger_batch *wait_answer(struct ledger *l)
{
        for (;;) {
                struct pollfd fds[8];
                uint32_t n = l->ops->pollfds(l, fds, 8);
                poll(fds, n, 100);
                struct ledger_batch *b = l->ops->dispatch(l, 0);
                if (b) {
                        return b;
                }
        }
}

static struct submission *make_page(struct id_mint *mint, uint32_t n, struct str payload)
{
        struct submission *s = submission_new();
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        s->rows = arena_zalloc(&s->arena, n * sizeof *s->rows);
        s->n = n;
        for (uint32_t i = 0; i < n; i++) {
                s->rows[i] = (struct submit_row){
                    .id = id_mint(mint, now.tv_sec * US_PER_S + now.tv_nsec / 1000),
                    .queue = STR("default"),
                    .type = STR("noop"),
                    .state = STATE_PENDING,
                    .band = BAND_OFFERED,
                    .priority = PRIORITY_DEFAULT,
                    .max_attempts = 3,
                    .content_type = STR("application/octet-stream"),
                    .payload = payload,
                };
        }
        return s;
}

static int join(struct ledger *l)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_REGISTER);
        b->no = (struct commit_no){1, LANE_BEAT, 1};
        l->ops->post(l, b);
        b = wait_answer(l);
        int bad = b->outcome != LEDGER_COMMITTED;
        ledger_batch_free(b);
        return bad;
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

static int submit_page(struct ledger *l, struct submission *s, uint64_t number)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_SUBMIT);
        b->no = (struct commit_no){1, LANE_CLAIMS, number};
        LEDGER_AS(submit, SUBMIT, b)->list = s;
        LEDGER_AS(submit, SUBMIT, b)->rows = s->n;
        l->ops->post(l, b);
        b = wait_answer(l);
        int bad = b->outcome != LEDGER_COMMITTED;
        if (bad) {
                fprintf(stderr, "bench-fill: %s\n", b->note);
        }
        ledger_batch_free(b);
        submission_free(s);
        return bad;
}

int main(int argc, char **argv)
{
        char note[256];
        struct ledger *l;
        struct ledger_sqlite_options o = {.path = argc > 1 ? argv[1] : ""};
        long n = argc > 2 ? atol(argv[2]) : 0;
        uint32_t size = argc > 3 ? (uint32_t)atol(argv[3]) : 256;
        if (n <= 0 || ledger_sqlite_open(&o, &l, note, sizeof note) != 0) {
                fprintf(stderr, "usage: bench-fill FILE N [PAYLOAD-BYTES]; %s\n",
                        n > 0 ? note : "");
                return 1;
        }
        char *bytes = malloc(size);
        memset(bytes, 'x', size);
        struct id_mint mint = {.random = (uint64_t)time(NULL) | 1};
        uint64_t number = 0;
        int r = join(l);
        for (long left = n; left > 0 && r == 0; left -= PAGE) {
                uint32_t page = left < PAGE ? (uint32_t)left : PAGE;
                r = submit_page(l, make_page(&mint, page, (struct str){bytes, size}), ++number);
        }
        leave(l);
        l->ops->close(l);
        free(bytes);
        return r;
}
