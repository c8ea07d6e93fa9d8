/*
 * The simulated ledger. It lives in this process and belongs to one thread; handles are guarded by
 * one lock, so that the cases with several threads may share it. What a foreign program could do to
 * its rows goes through the store's own guard.
 */
#include "tests/conformance/fixture.h"
#include "tests/sim/sim_ledger.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define EPOCH_US INT64_C(1760000000000000)

struct shared {
        struct sim_ledger_server server;
        pthread_mutex_t lock;
};

struct guarded {
        struct ledger base;
        struct shared *shared;
        struct ledger *inner;
};

static struct guarded *guarded_of(struct ledger *l)
{
        return CONTAINER_OF(l, struct guarded, base);
}

static void post(struct ledger *l, struct ledger_batch *b)
{
        struct guarded *g = guarded_of(l);
        pthread_mutex_lock(&g->shared->lock);
        g->inner->ops->post(g->inner, b);
        pthread_mutex_unlock(&g->shared->lock);
}

static uint32_t pollfds(struct ledger *l, struct pollfd *fds, uint32_t max)
{
        struct guarded *g = guarded_of(l);
        return g->inner->ops->pollfds(g->inner, fds, max);
}

static int64_t deadline_ns(struct ledger *l)
{
        struct guarded *g = guarded_of(l);
        pthread_mutex_lock(&g->shared->lock);
        int64_t at = g->inner->ops->deadline_ns(g->inner);
        pthread_mutex_unlock(&g->shared->lock);
        return at;
}

static struct ledger_batch *dispatch(struct ledger *l, int64_t now_ns)
{
        struct guarded *g = guarded_of(l);
        pthread_mutex_lock(&g->shared->lock);
        struct ledger_batch *list = g->inner->ops->dispatch(g->inner, now_ns);
        pthread_mutex_unlock(&g->shared->lock);
        return list;
}

static struct ledger *close_handle(struct ledger *l)
{
        if (l) {
                struct guarded *g = guarded_of(l);
                pthread_mutex_lock(&g->shared->lock);
                g->inner->ops->close(g->inner);
                pthread_mutex_unlock(&g->shared->lock);
                free(g);
        }
        return NULL;
}

static const struct ledger_ops guarded_ops = {
    .scheme = "sim",
    .post = post,
    .pollfds = pollfds,
    .deadline_ns = deadline_ns,
    .dispatch = dispatch,
    .close = close_handle,
};

static void *setup(void)
{
        struct shared *s = calloc(1, sizeof *s);
        assert(s);
        s->server.frozen = true;
        s->server.wall_offset_us = EPOCH_US;
        s->server.rng = rng_seeded(1, 1);
        pthread_mutex_init(&s->lock, NULL);
        return s;
}

static void teardown(void *store)
{
        struct shared *s = store;
        store_deinit(&s->server.store);
        pthread_mutex_destroy(&s->lock);
        free(s);
}

static int open_handle(void *store, struct ledger **ret_ledger, char *note, size_t note_size)
{
        (void)note;
        (void)note_size;
        struct guarded *g = calloc(1, sizeof *g);
        assert(g);
        g->base.ops = &guarded_ops;
        g->shared = store;
        pthread_mutex_lock(&g->shared->lock);
        g->inner = sim_ledger_new(&g->shared->server);
        pthread_mutex_unlock(&g->shared->lock);
        *ret_ledger = &g->base;
        return 0;
}

static int64_t now_us(void *store)
{
        return ((struct shared *)store)->server.wall_offset_us;
}

static void advance(void *store, int64_t us)
{
        ((struct shared *)store)->server.wall_offset_us += us;
}

static void fail_next(void *store, enum fixture_fault fault)
{
        static const enum sim_fate fates[] = {
            [FAULT_NONE] = FATE_GOOD,
            [FAULT_REFUSE] = FATE_REFUSED,
            [FAULT_UNKNOWN_LOST] = FATE_NEVER,
            [FAULT_UNKNOWN_WRITTEN] = FATE_BEFORE,
        };
        ((struct shared *)store)->server.force = fates[fault];
}

static bool raw_insert(struct store *s, const struct job_id *id, enum job_state to)
{
        struct submit_row row = {
            .id = *id,
            .queue = STR("raw"),
            .type = STR("noop"),
            .state = STATE_PENDING,
            .priority = PRIORITY_DEFAULT,
            .max_attempts = 3,
        };
        struct submission one = {.rows = &row, .n = 1};
        if (!store_allows(STATE_NONE, to, false)) {
                return false;
        }
        row.state = to == STATE_RUNNING || to == STATE_CANCELLED ? STATE_PENDING : to;
        store_submit(s, &one);
        if (row.state != to) {
                store_set_state(s, store_find(s, id), &(struct store_move){.to = to});
        }
        return true;
}

static bool raw_state(void *store, const struct job_id *id, enum job_state from, enum job_state to,
                      bool raise_generation)
{
        struct store *s = &((struct shared *)store)->server.store;
        if (from == STATE_NONE) {
                return raw_insert(s, id, to);
        }
        struct store_job *j = store_find(s, id);
        if (!j || !store_allows(j->row.state, to, raise_generation)) {
                return false;
        }
        j->row.generation += raise_generation;
        j->row.claim = j->row.claim ? j->row.claim : 1;
        store_set_state(s, j, &(struct store_move){.to = to, .band = BAND_BROKER, .due_us = 1});
        j->row.holder = j->row.holder ? j->row.holder : 1;
        return true;
}

static int64_t count_commits(void *store)
{
        return (int64_t)HASH_COUNT(((struct shared *)store)->server.store.commits);
}

const struct ledger_fixture fixture_sim = {
    .name = "sim",
    .has = NEED_REOPEN | NEED_SHARE | NEED_FAULT | NEED_RAW,
    .lacks = "",
    .setup = setup,
    .teardown = teardown,
    .open = open_handle,
    .now_us = now_us,
    .advance = advance,
    .fail_next = fail_next,
    .raw_state = raw_state,
    .count_commits = count_commits,
};
