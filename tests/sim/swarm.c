/*
 * Which faults exist in this world, and how strong they are: about half of them in each.
 */
#include "tests/sim/world.h"

#include <stdio.h>

/* Half of the worlds know this fault at all. */
static uint32_t maybe(struct rng *r, int64_t lo, int64_t hi)
{
        bool on = rng_chance(r, 500);
        uint32_t much = (uint32_t)rng_between(r, lo, hi);
        return on ? much : 0;
}

static struct sim_ledger_faults draw_faults(struct rng *r)
{
        struct sim_ledger_faults f = {0};
        f.latency_min_ns = rng_between(r, 20, 300) * 1000;
        f.latency_max_ns = f.latency_min_ns * rng_between(r, 2, 20);
        f.refuse = maybe(r, 5, 100);
        f.unknown = maybe(r, 5, 150);
        f.slow = maybe(r, 5, 60);
        f.slow_ns = MS(rng_between(r, 20, 600));
        f.late_ns = MS(rng_between(r, 1, 4000));
        return f;
}

static void draw_work(struct rng *r, struct swarm *s)
{
        s->speed = (uint32_t)rng_between(r, 0, 2);
        s->crash = maybe(r, 10, 120);
        s->between = maybe(r, 5, 60);
        s->hang = maybe(r, 5, 40);
        s->fail = maybe(r, 50, 500);
        s->deaf = maybe(r, 200, 1000);
        s->spawn_fail = maybe(r, 50, 400);
        s->poison = maybe(r, 10, 100);
        s->children = maybe(r, 20, 200);
        s->tail = maybe(r, 5, 60);
}

static void draw_producers(struct rng *r, struct swarm *s)
{
        s->keyed = maybe(r, 50, 500);
        s->array = maybe(r, 50, 400);
        s->burst = maybe(r, 20, 200);
        s->atomic = maybe(r, 200, 800);
        s->scheduled = maybe(r, 30, 300);
        s->requested = maybe(r, 50, 300);
        s->deadline = maybe(r, 10, 100);
        s->late_type = maybe(r, 20, 100);
        s->never_type = maybe(r, 10, 50);
}

void swarm_draw(struct world *w, int64_t chaos_ns)
{
        struct rng *r = &w->rng;
        struct swarm *s = &w->swarm;
        s->nodes = (uint32_t)rng_between(r, 1, SIM_NODES);
        s->workers = (uint32_t)rng_between(r, 1, 6);
        s->queues = (uint32_t)rng_between(r, 1, SIM_QUEUES);
        int64_t drawn = NS_PER_S * rng_between(r, 4, 24);
        s->chaos_ns = chaos_ns ? chaos_ns : drawn;
        s->produce_ns = MS(rng_between(r, 4, 150));
        s->overload = rng_chance(r, 50);
        s->faults = draw_faults(r);
        draw_work(r, s);
        s->produce_ns *= s->overload ? 1 : 1 + 4 * s->speed;
        draw_producers(r, s);
        s->windows = maybe(r, 1, 1);
        s->kill = maybe(r, 1, 1);
        s->pages = maybe(r, 1, 1);
        s->former = maybe(r, 1, 1);
        s->drain = maybe(r, 1, 1);
        s->pause = maybe(r, 1, 1);
        s->rosters = maybe(r, 1, 1);
        s->cancel = maybe(r, 1, 1);
        s->requeue = maybe(r, 1, 1);
        s->clocks = maybe(r, 1, 1);
        s->reads = maybe(r, 1, 1);
        s->reload = maybe(r, 1, 1);
}

void swarm_print(const struct swarm *s)
{
        printf("  nodes %u workers %u queues %u speed %u chaos %lld s produce %lld ms\n", s->nodes,
               s->workers, s->queues, s->speed, (long long)(s->chaos_ns / NS_PER_S),
               (long long)(s->produce_ns / NS_PER_MS));
        const struct sim_ledger_faults *f = &s->faults;
        printf("  ledger: latency %lld-%lld us, refuse %u, unknown %u, slow %u (to %lld ms), late "
               "%lld ms, windows %d\n",
               (long long)f->latency_min_ns / 1000, (long long)f->latency_max_ns / 1000, f->refuse,
               f->unknown, f->slow, (long long)(f->slow_ns / NS_PER_MS),
               (long long)(f->late_ns / NS_PER_MS), s->windows);
        printf("  work: crash %u between %u hang %u fail %u deaf %u spawn_fail %u poison %u "
               "children %u tail %u\n",
               s->crash, s->between, s->hang, s->fail, s->deaf, s->spawn_fail, s->poison,
               s->children, s->tail);
        printf("  submissions: keyed %u array %u burst %u atomic %u scheduled %u requested %u "
               "deadline %u "
               "late_type %u never_type %u\n",
               s->keyed, s->array, s->burst, s->atomic, s->scheduled, s->requested, s->deadline,
               s->late_type, s->never_type);
        printf("  nemesis: kill %d (pages %d former %d) drain %d pause %d rosters %d clocks %d "
               "reload %d; "
               "operators: cancel %d requeue %d reads %d\n",
               s->kill, s->pages, s->former, s->drain, s->pause, s->rosters, s->clocks, s->reload,
               s->cancel, s->requeue, s->reads);
}
