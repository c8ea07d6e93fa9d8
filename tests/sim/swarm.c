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
        f.late_ns = MS(rng_between(r, 1, 9000));
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

static void draw_broker(struct rng *r, struct swarm *s)
{
        struct sim_broker_faults *f = &s->broker_faults;
        s->broker = rng_chance(r, 250);
        s->inbox = rng_chance(r, 100);
        s->through = (uint32_t)rng_between(r, 1, 7) | 1;
        s->by_priority = rng_chance(r, 300) ? (uint32_t)rng_between(r, 0, 7) : 0;
        s->typed = maybe(r, 1, 1);
        s->twins = maybe(r, 1, 1);
        s->silent = rng_chance(r, 400);
        s->rewire = rng_chance(r, 200);
        s->letters_ns = MS(rng_between(r, 4, 200)) * (1 + 2 * s->speed);
        s->letter_keyed = maybe(r, 50, 900);
        s->letter_odd = maybe(r, 20, 400);
        f->latency_min_ns = rng_between(r, 20, 500) * 1000;
        f->latency_max_ns = f->latency_min_ns * rng_between(r, 2, 20);
        f->cut_before = maybe(r, 2, 40);
        f->cut_after = maybe(r, 2, 40);
        f->returned = maybe(r, 5, 100);
        f->confirm_lost = maybe(r, 5, 60);
        f->confirm_late = maybe(r, 5, 200);
        f->late_ns = NS_PER_S * rng_between(r, 1, 20);
        f->duplicate = maybe(r, 5, 100);
        f->reorder = maybe(r, 5, 100);
        s->cuts = maybe(r, 1, 1);
        s->restarts = maybe(r, 1, 1);
        s->unmarked = maybe(r, 1, 1);
        s->loses_tail = maybe(r, 1, 1);
        s->loses_all = maybe(r, 1, 1);
        s->blocks = maybe(r, 1, 1);
        s->deafens = maybe(r, 1, 1);
        s->removes = maybe(r, 1, 1);
        s->stream = rng_chance(r, 300);
}

/* From a stream of its own: worlds without any of it stay as they are. */
static void draw_life(struct world *w, struct swarm *s)
{
        struct rng *r = &w->rng_life;
        if (rng_chance(r, 300)) {
                return;
        }
        s->policy = maybe(r, 50, 500);
        s->unique = maybe(r, 50, 400);
        s->replies = maybe(r, 50, 600);
        s->batch = maybe(r, 100, 900);
        s->saves = maybe(r, 50, 600);
        s->progress = maybe(r, 50, 600);
        s->bounded = rng_chance(r, 250) ? (uint32_t)rng_between(r, 1, 7) : 0;
        s->never_type = s->bounded ? 0 : s->never_type; /* they would fill it for ever */
        s->global = rng_chance(r, 300) ? (uint32_t)rng_between(r, 1, 7) : 0;
        s->heartbeat = rng_chance(r, 250);
        s->schedules = rng_chance(r, 350);
        s->controls = rng_chance(r, 300);
        s->bulk = rng_chance(r, 300);
        s->prune = rng_chance(r, 250);
        s->resize = rng_chance(r, 200);
        s->reconcile = rng_chance(r, 200);
        s->retry_by_type = rng_chance(r, 250);
        s->aftermath = s->prune && rng_chance(r, 250);
}

#define PURGES_EVERY 16
#define PURGES_AT    8 /* where no theme is */

/* Writes whose fate is learned late, in a world that forgets what has ended by then. Set after all
 * draws, so that other worlds stay as they are. A node that is silent for a lease is not of it:
 * what it wrote is forgotten with it (decision 0007). */
static void set_purges(struct swarm *s)
{
        s->nodes = SIM_NODES;
        s->speed = s->unique = s->bounded = 0;
        s->produce_ns = MS(20);
        s->windows = s->pause = false;
        s->faults.unknown = 150;
        s->faults.refuse = 250;
        s->purges = true;
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
        s->hears = maybe(r, 1, 1);
        draw_broker(r, s);
        draw_life(w, s);
        theme_set(w);
        if (w->seed % PURGES_EVERY == PURGES_AT) {
                set_purges(s);
        }
        s->chaos_ns = chaos_ns ? chaos_ns : s->chaos_ns;
}

static void print_life(const struct swarm *s)
{
        printf("  life: policy %u unique %u replies %u batch %u saves %u progress %u; bounded %x "
               "global "
               "%x heartbeat %d schedules %d controls %d bulk %d prune %d (aftermath %d) resize %d "
               "reconcile %d retry_by_type %d\n",
               s->policy, s->unique, s->replies, s->batch, s->saves, s->progress, s->bounded,
               s->global, s->heartbeat, s->schedules, s->controls, s->bulk, s->prune, s->aftermath,
               s->resize, s->reconcile, s->retry_by_type);
}

static void print_broker(const struct swarm *s)
{
        const struct sim_broker_faults *f = &s->broker_faults;
        printf("  broker %d inbox %d: queues %x by priority %x rewire %d twins %d silent %d; "
               "letters every "
               "%lld ms, "
               "keyed %u odd %u\n",
               s->broker, s->inbox, s->through, s->by_priority, s->rewire, s->twins, s->silent,
               (long long)(s->letters_ns / NS_PER_MS), s->letter_keyed, s->letter_odd);
        printf(
            "  broker: cut before %u after %u, returned %u, confirms lost %u late %u, duplicate %u "
            "reorder %u\n",
            f->cut_before, f->cut_after, f->returned, f->confirm_lost, f->confirm_late,
            f->duplicate, f->reorder);
        printf(
            "  broker: cuts %d restarts %d unmarked %d loses tail %d all %d blocks %d deafens %d "
            "removes %d\n",
            s->cuts, s->restarts, s->unmarked, s->loses_tail, s->loses_all, s->blocks, s->deafens,
            s->removes);
}

void swarm_print(const struct swarm *s)
{
        printf("  nodes %u workers %u queues %u speed %u chaos %lld s produce %lld ms\n", s->nodes,
               s->workers, s->queues, s->speed, (long long)(s->chaos_ns / NS_PER_S),
               (long long)(s->produce_ns / NS_PER_MS));
        const struct sim_ledger_faults *f = &s->faults;
        printf("  ledger: latency %lld-%lld us, refuse %u, unknown %u, slow %u (to %lld ms), late "
               "%lld ms, windows %d hears %d\n",
               (long long)f->latency_min_ns / 1000, (long long)f->latency_max_ns / 1000, f->refuse,
               f->unknown, f->slow, (long long)(f->slow_ns / NS_PER_MS),
               (long long)(f->late_ns / NS_PER_MS), s->windows, s->hears);
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
        print_life(s);
        if (s->broker || s->inbox) {
                print_broker(s);
        }
}
