/*
 * The nemesis: kills, clean stops, pauses, busy windows of the ledger, clocks that jump, handlers
 * that come and go.
 */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdio.h>

#include "tests/sim/sim_transport.h"

#define FREEZE_AFTER_NS MS(400)
#define FREEZE_NS       MS(6000) /* three leases */

/* --- the nemesis -------------------------------------------------------------------------- */

/* A number below n. Most blows miss, since most of them this world does not know. */
static int64_t draw_blow(struct world *w, const bool *on, uint32_t n)
{
        int64_t what;
        int tries = w->swarm.fierce ? 40 : 1;
        do {
                what = rng_between(&w->rng_env, 0, (int64_t)n - 1);
        } while (--tries > 0 && !on[what]);
        return what;
}

static void restart_later(struct world *w, struct sim_node *n, int64_t delay_ns)
{
        struct world_event *ev = world_at(w, delay_ns, WE_RESTART);
        ev->node = n->index;
        ev->node_life = n->life;
}

static void pause_for(struct world *w, struct sim_node *n, int64_t pause)
{
        n->state = NODE_PAUSED;
        n->paused_until_ns = w->now_ns + pause;
        struct audit_cut cut = {n->holder, w->now_ns, w->now_ns + pause};
        audit_cut_off(&w->audit, &cut);
        struct world_event *ev = world_at(w, pause, WE_RESUME);
        ev->node = n->index;
        ev->node_life = n->life;
        w->seen.pauses++;
        TRACE(w, "n%u paused for %lld ms", n->index, (long long)(pause / NS_PER_MS));
}

static void pause_node(struct world *w, struct sim_node *n)
{
        int64_t pause = MS(rng_between(&w->rng_env, 50, 7000));
        if (rng_chance(&w->rng_env, 500)) { /* a stall of the host slows its handlers too */
                w->brown_until_ns = w->now_ns + pause;
        }
        pause_for(w, n, pause);
}

/* The handlers are slow first, so that the workers are full of jobs when their node stands still.
 */
static void freeze_node(struct world *w, struct sim_node *n)
{
        struct world_event *ev = world_at(w, FREEZE_AFTER_NS, WE_FREEZE);
        ev->node = n->index;
        ev->node_life = n->life;
        w->brown_until_ns = w->now_ns + FREEZE_AFTER_NS + FREEZE_NS;
        TRACE(w, "n%u becomes slow", n->index);
}

static void open_window(struct world *w)
{
        w->server.faults.down = true;
        world_at(w, MS(rng_between(&w->rng_env, 20, 3000)), WE_WINDOW_END);
        TRACE(w, "the ledger is busy");
}

static void jump_clock(struct world *w, struct sim_node *n)
{
        int64_t jump = rng_between(&w->rng_env, -3600, 3600) * US_PER_S;
        if (rng_chance(&w->rng_env, 300)) {
                w->server.wall_offset_us += rng_between(&w->rng_env, -500, 500) * 1000;
        }
        n->wall_offset_us += jump;
        TRACE(w, "n%u clock jumps", n->index);
}

static void kill_node(struct world *w, struct sim_node *n)
{
        node_kill(w, n);
        restart_later(w, n, MS(rng_between(&w->rng_env, 1, 5000)));
}

static void change_roster(struct world *w, struct sim_node *n)
{
        node_roster(w, n, n->roster->generation + 1);
}

/* --- the broker --------------------------------------------------------------------------- */

static void broker_back(struct world *w, int64_t at_most_ms)
{
        world_at(w, MS(rng_between(&w->rng_env, 1, at_most_ms)), WE_BROKER_UP);
}

/* Down for a while; what it held may be gone when it is back. */
static void stop_broker(struct world *w, uint32_t lost)
{
        bool marked = !w->swarm.unmarked || rng_chance(&w->rng_env, 500);
        TRACE(w, "the broker stops%s, %u lost", marked ? "" : " (unmarked)", lost);
        sim_broker_stop(&w->broker, marked);
        sim_broker_lose(&w->broker, lost);
        w->seen.brokers_lost += lost != 0;
        broker_back(w, rng_chance(&w->rng_env, 200) ? 20000 : 3000);
}

static void hurt_transport(struct world *w, bool deafen)
{
        struct sim_node *n = &w->nodes[rng_between(&w->rng_env, 0, w->swarm.nodes - 1)];
        if (!n->transport) {
                return;
        }
        TRACE(w, "n%u %s", n->index, deafen ? "hears nothing" : "is cut off the broker");
        sim_transport_tick(n->transport, w->now_ns);
        if (deafen) {
                sim_transport_deafen(sim_transport_of(n->transport));
        } else {
                sim_transport_cut(sim_transport_of(n->transport), true);
        }
}

static void block_broker(struct world *w)
{
        TRACE(w, "the broker takes nothing");
        w->broker.blocked = true;
        broker_back(w, rng_chance(&w->rng_env, 200) ? 25000 : 4000);
}

static void remove_queue(struct world *w)
{
        const struct queue_config *c =
            &w->config.queues[rng_between(&w->rng_env, 0, w->swarm.queues - 1)];
        struct sim_queue *q = sim_broker_queue(&w->broker, c->name, false);
        if (q) {
                TRACE(w, "queue %.*s is deleted", (int)c->name.n, c->name.p);
                sim_broker_delete(&w->broker, q);
        }
}

static void strike_broker(struct world *w)
{
        const struct swarm *s = &w->swarm;
        if (w->broker.down || w->broker.blocked) {
                return;
        }
        sim_broker_tick(&w->broker, w->now_ns);
        const bool on[] = {s->restarts, s->loses_all, s->loses_tail, s->blocks,
                           s->deafens,  s->removes,   s->cuts,       s->cuts};
        switch (draw_blow(w, on, ARRAY_LEN(on))) {
        case 0:
                if (s->restarts) {
                        stop_broker(w, 0);
                }
                break;
        case 1:
                if (s->loses_all) {
                        stop_broker(w, UINT32_MAX);
                }
                break;
        case 2:
                if (s->loses_tail) {
                        stop_broker(w, (uint32_t)rng_between(&w->rng_env, 1, 30));
                }
                break;
        case 3:
                if (s->blocks) {
                        block_broker(w);
                }
                break;
        case 4:
                if (s->deafens) {
                        hurt_transport(w, true);
                }
                break;
        case 5:
                if (s->removes) {
                        remove_queue(w);
                }
                break;
        default:
                if (s->cuts) {
                        hurt_transport(w, false);
                }
                break;
        }
}

/* The last blow: what is lost now no later doorbell will tell of. */
static void strike_last(struct world *w)
{
        if (w->swarm.broker && w->swarm.loses_all && rng_chance(&w->rng_env, 500)) {
                TRACE(w, "the broker loses all");
                sim_broker_tick(&w->broker, w->now_ns);
                sim_broker_stop(&w->broker, true);
                sim_broker_lose(&w->broker, UINT32_MAX);
                w->seen.brokers_lost++;
        }
}

static void mend_broker(struct world *w)
{
        sim_broker_start(&w->broker);
        w->broker.blocked = false;
        TRACE(w, "the broker is well");
}

/* --- all of it ---------------------------------------------------------------------------- */

static void strike(struct world *w)
{
        const struct swarm *s = &w->swarm;
        void (*const pause)(struct world *, struct sim_node *) =
            s->freezes ? freeze_node : pause_node;
        void (*const blows[])(struct world *, struct sim_node *) = {
            NULL, kill_node, node_drain, pause, jump_clock, change_roster, node_reload};
        const bool on[] = {s->windows, s->kill,    s->drain, s->pause,
                           s->clocks,  s->rosters, s->reload};
        if (s->broker && rng_chance(&w->rng_env, 600)) {
                strike_broker(w);
                return;
        }
        struct sim_node *n = node_any(w);
        int64_t what = draw_blow(w, on, ARRAY_LEN(on));
        if (what == 0) {
                if (s->windows && !w->server.faults.down) {
                        open_window(w);
                }
        } else if (n && on[what]) {
                blows[what](w, n);
        }
}

static void resume(struct world *w, struct sim_node *n)
{
        if (n->state == NODE_PAUSED) {
                n->state = NODE_UP;
                TRACE(w, "n%u resumed", n->index);
        }
}

void chaos_event(struct world *w, const struct world_event *ev)
{
        struct sim_node *n = &w->nodes[ev->node];
        switch (ev->kind) {
        case WE_OPERATE:
                if (w->chaos) {
                        operate_event(w);
                        world_at(w, MS(rng_between(&w->rng_env, 5, w->swarm.purges ? 40 : 300)),
                                 WE_OPERATE);
                }
                break;
        case WE_CHAOS:
                if (w->chaos) {
                        strike(w);
                        world_at(w, MS(rng_between(&w->rng_env, 50, 1500)), WE_CHAOS);
                }
                break;
        case WE_RESTART:
                if (n->life == ev->node_life && n->state == NODE_DOWN) {
                        node_start(w, n);
                }
                break;
        case WE_FREEZE:
                if (n->life == ev->node_life && n->state == NODE_UP) {
                        pause_for(w, n, FREEZE_NS);
                }
                break;
        case WE_RESUME:
                if (n->life == ev->node_life) {
                        resume(w, n);
                }
                break;
        case WE_BROKER_UP: mend_broker(w); break;
        case WE_WINDOW_END: w->server.faults.down = false; break;
        default: break;
        }
}

void chaos_begin(struct world *w)
{
        world_at(w, MS(20), WE_PRODUCE);
        world_at(w, MS(100), WE_OPERATE);
        world_at(w, MS(300), WE_CHAOS);
        if (w->swarm.broker || w->swarm.inbox) {
                world_at(w, MS(200), WE_LETTER);
        }
}

/* Faults end: everything is repaired, every handler is there, and what is left must come to an end.
 */
void chaos_end(struct world *w)
{
        TRACE(w, "chaos ends");
        w->chaos = false;
        struct sim_ledger_faults *f = &w->server.faults;
        f->refuse = f->unknown = f->slow = 0;
        f->down = false;
        struct sim_broker_faults *b = &w->broker.faults;
        *b = (struct sim_broker_faults){.latency_min_ns = b->latency_min_ns,
                                        .latency_max_ns = b->latency_max_ns};
        strike_last(w);
        mend_broker(w);
        w->config.n_schedules = w->reloaded.n_schedules = 0;
        operate_end(w);
        for (uint32_t i = 0; i < w->n_requests; i++) {
                struct request *r = w->requests[i];
                if (r->state == REQUEST_OPEN && !r->repeats) {
                        r->state = REQUEST_DONE;
                }
        }
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                struct sim_node *n = &w->nodes[i];
                if (n->state == NODE_PAUSED) {
                        n->paused_until_ns = w->now_ns;
                        resume(w, n);
                }
                if (n->other_config && w->swarm.rewire && n->state == NODE_UP) {
                        node_reload(w, n);
                }
                n->other_config &= !w->swarm.rewire;
                if (w->swarm.schedules && n->state == NODE_UP) {
                        node_step(w, n,
                                  &(struct engine_event){.kind = EV_CONFIG, .config = n->config});
                }
                uint32_t generation = n->roster->generation;
                if (generation % 2) {
                        node_roster(w, n, generation + 1);
                }
        }
        world_at(w, MS(10), WE_PRODUCE);
}
