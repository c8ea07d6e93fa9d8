/*
 * The seam: batches in, batches out, the descriptors to watch, and the word to other nodes that
 * rows are offered.
 *
 * NOTIFY takes a lock of the whole server at its commit, so it stands in no transaction that writes
 * jobs: one of its own follows on the beat's connection, at most every 5 ms.
 */
#include "ledgers/postgres/postgres.h"
#include "ledgers/postgres/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NOTIFY_PAUSE_NS (5 * NS_PER_MS)

int64_t pg_now_ns(void)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* --- in --------------------------------------------------------------------------------------- */

static void post_pg(struct ledger *base, struct ledger_batch *b)
{
        struct pg_ledger *l = (struct pg_ledger *)base;
        struct work *w = calloc(1, sizeof *w);
        b->outcome = LEDGER_REFUSED;
        b->note[0] = 0;
        b->next = NULL;
        if (!w) {
                snprintf(b->note, sizeof b->note, "out of memory");
                *l->done_tail = b;
                l->done_tail = &b->next;
                return;
        }
        w->b = b;
        w->op = op_of(b->op);
        lane_post(&l->lanes[ledger_op_lane(b->op)], w);
}

/* --- NOTIFY ----------------------------------------------------------------------------------- */

static bool can_notify(const struct pg_ledger *l)
{
        const struct lane *n = &l->lanes[LANE_BEAT];
        return l->offered && !l->notifying && n->state == LANE_READY && !n->landing;
}

static void notify_others(struct pg_ledger *l, int64_t now_ns)
{
        struct work *w = can_notify(l) && now_ns >= l->notify_ns ? calloc(1, sizeof *w) : NULL;
        if (w) {
                w->op = &op_notify;
                l->offered = false;
                l->notifying = true;
                l->notify_ns = now_ns + NOTIFY_PAUSE_NS;
                lane_post(&l->lanes[LANE_BEAT], w);
        }
}

static bool heard_pg(struct ledger *base)
{
        struct pg_ledger *l = (struct pg_ledger *)base;
        bool heard = l->heard;
        l->heard = false;
        return heard;
}

/* --- out -------------------------------------------------------------------------------------- */

static uint32_t pollfds_pg(struct ledger *base, struct pollfd *fds, uint32_t max)
{
        struct pg_ledger *l = (struct pg_ledger *)base;
        uint32_t k = 0;
        for (int i = 0; i < LEDGER_LANES && k < max; i++) {
                struct lane *n = &l->lanes[i];
                int fd = n->c ? PQsocket(n->c) : -1;
                if (fd >= 0) {
                        fds[k++] = (struct pollfd){.fd = fd, .events = n->events};
                }
        }
        return k;
}

static int64_t deadline_pg(struct ledger *base)
{
        struct pg_ledger *l = (struct pg_ledger *)base;
        int64_t first = l->done ? 0 : INT64_MAX;
        if (can_notify(l) && l->notify_ns < first) {
                first = l->notify_ns;
        }
        for (int i = 0; i < LEDGER_LANES; i++) {
                int64_t at = lane_deadline(&l->lanes[i]);
                first = at < first ? at : first;
        }
        return first;
}

static struct ledger_batch *dispatch_pg(struct ledger *base, int64_t now_ns)
{
        struct pg_ledger *l = (struct pg_ledger *)base;
        lane_run(&l->lanes[LANE_BEAT], now_ns); /* first: the others wait for the schema */
        for (int i = 0; i < LEDGER_LANES; i++) {
                if (i != LANE_BEAT) {
                        lane_run(&l->lanes[i], now_ns);
                }
        }
        notify_others(l, now_ns);
        struct ledger_batch *list = STEAL(l->done);
        l->done_tail = &l->done;
        return list;
}

/* --- life ------------------------------------------------------------------------------------- */

static void free_list(struct ledger_batch *b)
{
        while (b) {
                struct ledger_batch *next = b->next;
                ledger_batch_free(b);
                b = next;
        }
}

static bool is_busy(const struct pg_ledger *l)
{
        bool busy = false;
        for (int i = 0; i < LEDGER_LANES; i++) {
                const struct lane *n = &l->lanes[i];
                busy |= n->waiting.head || n->flight.head || n->again.head;
        }
        return busy;
}

/* What waits is written, refused when an attempt to connect fails, or unknown after a minute. */
static void drain(struct pg_ledger *l)
{
        while (is_busy(l) || (can_notify(l) && !l->done)) {
                struct pollfd fds[LEDGER_LANES];
                uint32_t n = pollfds_pg(&l->base, fds, LEDGER_LANES);
                int64_t left = deadline_pg(&l->base) - pg_now_ns();
                (void)poll(fds, n,
                           left <= 0                ? 0
                           : left > 100 * NS_PER_MS ? 100
                                                    : (int)(left / NS_PER_MS) + 1);
                free_list(dispatch_pg(&l->base, pg_now_ns()));
        }
}

static struct ledger *close_pg(struct ledger *base)
{
        struct pg_ledger *l = (struct pg_ledger *)base;
        if (!l) {
                return NULL;
        }
        drain(l);
        free_list(l->done);
        for (int i = 0; i < LEDGER_LANES; i++) {
                lane_deinit(&l->lanes[i]);
        }
        url_deinit(&l->url);
        free(l);
        return NULL;
}

static void close_p(struct pg_ledger **l)
{
        if (*l) {
                close_pg(&(*l)->base);
        }
}

static const struct ledger_ops pg_ops = {
    .scheme = "postgres",
    .post = post_pg,
    .pollfds = pollfds_pg,
    .deadline_ns = deadline_pg,
    .dispatch = dispatch_pg,
    .heard = heard_pg,
    .close = close_pg,
};

bool postgres_ready(const struct ledger *base)
{
        const struct pg_ledger *l = (const struct pg_ledger *)base;
        bool ready = true;
        for (int i = 0; i < LEDGER_LANES; i++) {
                ready &= l->lanes[i].state == LANE_READY;
        }
        return ready;
}

int postgres_open_hooked(const char *url, const struct postgres_options *o,
                         const struct postgres_hooks *hooks, struct ledger **ret, char *note,
                         size_t note_size)
{
        CLEANUP(close_p)
        struct pg_ledger *l = calloc(1, sizeof *l);
        if (!l) {
                return -ENOMEM;
        }
        l->base.ops = &pg_ops;
        l->done_tail = &l->done;
        l->unsafe = o->unsafe;
        l->hooks = hooks ? *hooks : (struct postgres_hooks){0};
        l->random = (uint64_t)pg_now_ns() ^ (uint64_t)getpid() << 32 ^ 88172645463325252ull;
        for (int i = 0; i < LEDGER_LANES; i++) {
                lane_init(&l->lanes[i], l, (enum ledger_lane)i);
        }
        int r = url_read(&l->url, url, o->unsafe, o->application, note, note_size);
        if (r) {
                return r;
        }
        snprintf(l->note, sizeof l->note, "%s: not connected yet", l->url.place);
        struct pg_ledger *done = STEAL(l);
        *ret = &done->base;
        return 0;
}

int postgres_open(const char *url, const struct postgres_options *o, struct ledger **ret,
                  char *note, size_t note_size)
{
        return postgres_open_hooked(url, o, NULL, ret, note, note_size);
}
