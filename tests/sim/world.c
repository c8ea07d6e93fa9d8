/*
 * The loop: whatever is next in virtual time happens; after it the books are checked. First come
 * the commits that reach the server, then the world's own events, then the nodes.
 */
#include "tests/sim/life.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FNV_BASIS    UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME    UINT64_C(0x100000001b3)
#define SETTLE_NS    (60 * NS_PER_S)
#define STALL_NS     (90 * NS_PER_S)
#define MARKS_NS     (150 * NS_PER_S)
#define IDLE_NS      (4 * NS_PER_S)
#define AFTERMATH_NS (700 * NS_PER_S)
#define IDLE_STEPS   400 /* a node without work, in IDLE_NS */

static uint64_t hash_on(uint64_t h, const void *p, size_t n)
{
        const uint8_t *b = p;
        for (size_t i = 0; i < n; i++) {
                h = (h ^ b[i]) * FNV_PRIME;
        }
        return h;
}

uint64_t hash_bytes(const void *p, size_t n)
{
        return hash_on(FNV_BASIS, p, n);
}

void world_trace(struct world *w, const char *fmt, ...)
{
        char line[400];
        int at = snprintf(line, sizeof line, "%lld.%09lld ", (long long)(w->now_ns / NS_PER_S),
                          (long long)(w->now_ns % NS_PER_S));
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(line + at, sizeof line - (size_t)at, fmt, args);
        va_end(args);
        size_t length = (size_t)at + (size_t)n;
        length = length < sizeof line ? length : sizeof line - 1;
        w->hash = hash_on(w->hash, line, length);
        if (w->tracing) {
                printf("%s\n", line);
        }
}

void world_violate(struct world *w, const char *fmt, ...)
{
        if (w->violation[0]) {
                return;
        }
        va_list args;
        va_start(args, fmt);
        vsnprintf(w->violation, sizeof w->violation, fmt, args);
        va_end(args);
        TRACE(w, "VIOLATION %s", w->violation);
}

int64_t world_wall_us(const struct world *w)
{
        return w->now_ns / 1000 + w->server.wall_offset_us;
}

/* --- the heap ----------------------------------------------------------------------------- */

static bool is_before(const struct world_event *a, const struct world_event *b)
{
        return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->seq < b->seq);
}

static void swap_events(struct world_event *a, struct world_event *b)
{
        struct world_event t = *a;
        *a = *b;
        *b = t;
}

/* Valid until the next call: the caller fills in what the kind needs (not the time). */
struct world_event *world_at(struct world *w, int64_t delay_ns, enum world_event_kind kind)
{
        if (w->n_heap == w->heap_capacity) {
                w->heap_capacity = w->heap_capacity ? w->heap_capacity * 2 : 256;
                w->heap = realloc(w->heap, w->heap_capacity * sizeof *w->heap);
                assert(w->heap);
        }
        uint32_t i = w->n_heap++;
        w->heap[i] = (struct world_event){.at_ns = w->now_ns + (delay_ns > 0 ? delay_ns : 0),
                                          .seq = w->event_seq++,
                                          .kind = kind};
        while (i > 0 && is_before(&w->heap[i], &w->heap[(i - 1) / 2])) {
                swap_events(&w->heap[i], &w->heap[(i - 1) / 2]);
                i = (i - 1) / 2;
        }
        return &w->heap[i];
}

static struct world_event pop_event(struct world *w)
{
        struct world_event top = w->heap[0];
        w->heap[0] = w->heap[--w->n_heap];
        uint32_t i = 0;
        for (;;) {
                uint32_t least = i, l = 2 * i + 1;
                if (l < w->n_heap && is_before(&w->heap[l], &w->heap[least])) {
                        least = l;
                }
                if (l + 1 < w->n_heap && is_before(&w->heap[l + 1], &w->heap[least])) {
                        least = l + 1;
                }
                if (least == i) {
                        return top;
                }
                swap_events(&w->heap[i], &w->heap[least]);
                i = least;
        }
}

/* --- what is next ------------------------------------------------------------------------- */

static struct ledger *next_commit(struct world *w, int64_t *at_ns)
{
        struct ledger *first = NULL;
        for (uint32_t i = 0; i < SIM_NODES + w->n_orphans; i++) {
                struct ledger *l = i < SIM_NODES ? w->nodes[i].ledger : w->orphans[i - SIM_NODES];
                int64_t at = l ? sim_ledger_next_apply(l) : INT64_MAX;
                if (at < *at_ns) {
                        *at_ns = at;
                        first = l;
                }
        }
        return first;
}

static struct sim_node *next_node(struct world *w, int64_t *at_ns)
{
        struct sim_node *first = NULL;
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                int64_t at = node_next(w, &w->nodes[i]);
                if (at < *at_ns) {
                        *at_ns = at;
                        first = &w->nodes[i];
                }
        }
        return first;
}

static void happen(struct world *w, const struct world_event *ev)
{
        switch (ev->kind) {
        case WE_UP:
        case WE_FIRST:
        case WE_END:
        case WE_TELL:
        case WE_SAVE:
        case WE_ALIVE:
        case WE_REAP: {
                struct sim_node *n = &w->nodes[ev->node];
                if (ev->node_life == n->life) {
                        worker_event(w, n, ev);
                }
                break;
        }
        case WE_ZONE:
                if (ev->node_life == w->nodes[ev->node].life) {
                        node_zone(w, &w->nodes[ev->node], ev->value);
                }
                break;
        case WE_PRODUCE: produce_event(w); break;
        case WE_LETTER: letters_event(w); break;
        default: chaos_event(w, ev); break;
        }
}

/* Does the next thing, unless it is later than `until_ns`. */
static bool advance(struct world *w, int64_t until_ns)
{
        int64_t at = INT64_MAX;
        struct ledger *commit = next_commit(w, &at);
        int64_t event_at = w->n_heap ? w->heap[0].at_ns : INT64_MAX;
        bool event = event_at < at;
        at = event ? event_at : at;
        struct sim_node *node = next_node(w, &at);
        if (at > until_ns || w->violation[0]) {
                w->now_ns = w->violation[0] || until_ns == INT64_MAX ? w->now_ns : until_ns;
                return false;
        }
        w->now_ns = at > w->now_ns ? at : w->now_ns;
        w->events++;
        if (node) {
                node_turn(w, node);
        } else if (event) {
                struct world_event ev = pop_event(w);
                happen(w, &ev);
        } else {
                sim_ledger_run(commit, w->now_ns);
        }
        return true;
}

/* Long enough for every node to walk over all rows, and then all keys are said again: what they
 * name may be gone, and is no less known. */
static void run_aftermath(struct world *w)
{
        int64_t until = w->now_ns + AFTERMATH_NS;
        while (advance(w, until)) {}
        produce_again(w);
        until = w->now_ns + SETTLE_NS;
        bool settled = false;
        while (!w->violation[0] && !settled && w->now_ns < until) {
                int64_t look = w->now_ns + MS(200);
                while (advance(w, look)) {}
                settled = world_settled(w);
        }
}

static void check_idle(struct world *w)
{
        /* after crashes a worker is spawned later */
        for (int64_t most = w->now_ns + 15 * NS_PER_S; !operate_resized(w) && w->now_ns < most;) {
                int64_t look = w->now_ns + MS(200);
                while (advance(w, look)) {}
        }
        if (!operate_resized(w)) {
                world_violate(w, "resize: a node has not as many workers as were asked for");
        }
        uint64_t before[SIM_NODES];
        for (uint32_t i = 0; i < SIM_NODES; i++) {
                before[i] = w->nodes[i].steps;
        }
        int64_t until = w->now_ns + IDLE_NS;
        while (advance(w, until)) {}
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                uint64_t steps = w->nodes[i].steps - before[i];
                if (steps > IDLE_STEPS) {
                        world_violate(w, "idle: node %u took %llu steps in %lld s without work", i,
                                      (unsigned long long)steps, (long long)(IDLE_NS / NS_PER_S));
                }
        }
}

/* How long it may take until everything is settled, from what is seen now. */
static int64_t settle_until(const struct world *w, int64_t until)
{
        int64_t marks = w->swarm.chaos_ns + MARKS_NS; /* operations say themselves when */
        until = w->ended_ns + STALL_NS > until ? w->ended_ns + STALL_NS : until; /* a backlog */
        return !operate_over(w) && until < marks ? marks : until;
}

static bool settle(struct world *w)
{
        int64_t until = w->now_ns + SETTLE_NS;
        int64_t look = w->now_ns + MS(200);
        bool settled = false;
        while (!w->violation[0] && !settled && w->now_ns < until) {
                while (advance(w, look)) {}
                look += MS(200);
                operate_end(w); /* what was on its way when faults ended may have come since */
                settled = world_settled(w);
                until = settle_until(w, until);
        }
        return settled;
}

bool world_run(struct world *w)
{
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                node_start(w, &w->nodes[i]);
        }
        chaos_begin(w);
        while (advance(w, w->swarm.chaos_ns)) {}
        if (!w->violation[0]) {
                chaos_end(w);
        }
        bool settled = settle(w);
        if (settled && !w->violation[0]) {
                check_idle(w);
        }
        if (settled && w->swarm.aftermath && !w->violation[0]) {
                run_aftermath(w);
        }
        if (!w->violation[0]) {
                world_audit(w);
        }
        return !w->violation[0];
}

/* --- life --------------------------------------------------------------------------------- */

static bool through_broker(const struct world *w, uint32_t queue)
{
        return w->swarm.broker && w->swarm.through >> queue & 1;
}

static void configure(struct world *w)
{
        assert(config_init(&w->config) == 0);
        struct config *c = &w->config;
        static const struct str names[SIM_QUEUES] = {{"alpha", 5}, {"beta", 4}, {"gamma", 5}};
        c->queues = arena_zalloc(&c->arena, SIM_QUEUES * sizeof *c->queues);
        assert(c->queues);
        c->n_queues = w->swarm.queues;
        for (uint32_t i = 0; i < c->n_queues; i++) {
                c->queues[i] = (struct queue_config){
                    .name = names[i],
                    .concurrency = i == 1 ? 1 : 0,
                    .transport = through_broker(w, i) ? STR("sim") : (struct str){0},
                    .order = w->swarm.by_priority >> i & 1 ? ORDER_PRIORITY : ORDER_FIFO,
                    .priority = PRIORITY_DEFAULT,
                    .timeout_ms = 2500,
                    .retry = {3, BACKOFF_EXPONENTIAL, 100, 2000, 200},
                };
        }
        static struct str types[] = {{"work.>", 6}};
        if (w->swarm.typed) {
                c->queues[0].types = types;
                c->queues[0].n_types = ARRAY_LEN(types);
        }
        life_configure(w, c);
        c->payload_max = SIM_PAYLOAD_MAX;
        c->workers = w->swarm.workers;
        c->beat_ms = 200;
        c->lease_ms = 2000;
        c->cancel_grace_ms = 500;
        c->shutdown_grace_ms = 3000;
        struct config *o = &w->reloaded;
        *o = *c;
        o->arena = (struct arena){0};
        o->workers = (uint32_t)rng_between(&w->rng, 1, 6);
        o->queues = arena_alloc(&c->arena, c->n_queues * sizeof *o->queues);
        assert(o->queues);
        memcpy(o->queues, c->queues, c->n_queues * sizeof *o->queues);
        o->queues[0].concurrency = o->workers > 2 ? 2 : 0;
        o->queues[0].retry.max_attempts = 5;
        o->n_schedules = w->seed % 2 ? 0 : o->n_schedules;
        if (w->swarm.rewire) {
                o->queues[0].transport = (struct str){0};
        }
}

struct world *world_new(uint64_t seed, int64_t chaos_ns, bool tracing)
{
        struct world *w = calloc(1, sizeof *w);
        assert(w);
        w->seed = seed;
        w->rng = rng_seeded(seed, 1);
        w->rng_work = rng_seeded(seed, 2);
        w->rng_env = rng_seeded(seed, 3);
        w->rng_life = rng_seeded(seed, 6);
        w->server.rng = rng_seeded(seed, 4);
        w->server.wall_offset_us = SIM_WALL_US;
        w->mint.random = rng_next(&w->rng_env) | 1;
        w->hash = FNV_BASIS;
        w->tracing = tracing;
        w->chaos = true;
        swarm_draw(w, chaos_ns);
        w->server.faults = w->swarm.faults;
        w->server.hears = w->swarm.hears;
        w->broker.rng = rng_seeded(seed, 5);
        w->broker.silent = w->swarm.silent;
        w->broker.stream = w->swarm.stream;
        w->broker.payload_max = SIM_PAYLOAD_MAX;
        w->broker.faults = w->swarm.broker_faults;
        w->audit.lease_ns = MS(2000);
        configure(w);
        watch_server(w);
        letters_watch(w);
        life_watch(w);
        for (uint32_t i = 0; i < SIM_NODES; i++) {
                w->nodes[i].index = i;
        }
        return w;
}

static void free_requests(struct world *w)
{
        for (uint32_t i = 0; i < w->n_requests; i++) {
                free(w->requests[i]);
        }
        free(w->requests);
}

struct world *world_free(struct world *w)
{
        for (uint32_t i = 0; i < SIM_NODES; i++) {
                struct sim_node *n = &w->nodes[i];
                if (n->engine) {
                        node_kill(w, n);
                }
                free(n->former);
                free(n->actions.list);
                roster_unref(n->roster);
        }
        for (uint32_t i = 0; i < w->n_orphans; i++) {
                w->orphans[i]->ops->close(w->orphans[i]);
        }
        free(w->orphans);
        store_deinit(&w->server.store);
        sim_broker_deinit(&w->broker);
        free(w->letters);
        audit_deinit(&w->audit);
        config_deinit(&w->config);
        free_requests(w);
        life_deinit(w);
        free(w->heap);
        free(w->known);
        free(w);
        return NULL;
}
