/*
 * Themes: every 16th seed is a world in which one thing goes wrong again and again and nearly all
 * else is well, in turn for each theme. Some mistakes show only where several rare things meet: a
 * node that is paused for longer than its lease while its workers hold jobs that have not begun, a
 * node that is away for several ticks of a schedule that nobody edits. Worlds whose faults are all
 * drawn by chance are such a place once in thousands.
 *
 * The draws of a world are made before its theme is set, so that all other worlds stay as they are;
 * and a theme sets what happens, never what is judged.
 */
#include "tests/sim/world.h"

#define THEME_EVERY 16
#define THEME_NS    (20 * NS_PER_S)

/* What was drawn of its size stays; no faults, no wishes, a broker that works. */
static void calm(struct swarm *s)
{
        struct sim_ledger_faults *f = &s->faults;
        struct sim_broker_faults *b = &s->broker_faults;
        struct swarm calm = {
            .nodes = s->nodes,
            .workers = s->workers,
            .queues = s->queues,
            .chaos_ns = THEME_NS,
            .produce_ns = MS(40),
            .letters_ns = MS(200),
            .faults = {.latency_min_ns = f->latency_min_ns,
                       .latency_max_ns = f->latency_max_ns,
                       .slow_ns = f->slow_ns,
                       .late_ns = f->late_ns},
            .broker_faults = {.latency_min_ns = b->latency_min_ns,
                              .latency_max_ns = b->latency_max_ns,
                              .late_ns = b->late_ns},
            .silent = s->silent,
            .stream = s->stream,
            .hears = s->hears,
        };
        *s = calm;
}

/* Nodes that are paused for longer than their lease, their workers full of jobs. */
static void set_lease(struct swarm *s)
{
        s->nodes = SIM_NODES;
        s->workers = s->workers > 2 ? 2 : s->workers;
        s->produce_ns = MS(15);
        s->array = 400;
        s->pause = s->freezes = true;
}

/* Nodes that die with writes on their way, some of which arrive long after. */
static void set_late(struct swarm *s)
{
        s->nodes = SIM_NODES;
        s->produce_ns = MS(20);
        s->array = 400;
        s->kill = s->fierce = true;
        s->faults.latency_min_ns = MS(20);
        s->faults.latency_max_ns = MS(80);
        s->faults.late_ns = MS(9000);
        s->faults.unknown = 50;
}

/* One node that is away for a while again and again, schedules that nobody edits, retries with a
 * budget of time. */
static void set_time(struct swarm *s)
{
        s->nodes = 1;
        s->fail = 500;
        s->policy = 500;
        s->kill = s->fierce = s->schedules = s->steady = true;
}

/* Jobs of which somebody waits to hear, and nodes that disappear while they run. */
static void set_replies(struct swarm *s)
{
        s->nodes = SIM_NODES;
        s->speed = 2;
        s->tail = 200;
        s->fail = 300;
        s->replies = 900;
        s->policy = 300;
        s->kill = s->fierce = s->cuts = s->broker = true;
        s->through = 7;
        s->broker_faults.confirm_lost = 60;
        s->broker_faults.returned = 60;
}

/* Letters without a key, connections that break, nodes that are paused, and a ledger that does not
 * always say what happened. */
static void set_letters(struct swarm *s)
{
        s->nodes = SIM_NODES;
        s->produce_ns = MS(200);
        s->letters_ns = MS(8);
        s->broker = s->twins = s->cuts = s->deafens = s->fierce = true;
        s->pause = s->windows = true;
        s->through = 7;
        s->stream = false;
        s->faults.unknown = 120;
        s->faults.refuse = 150;
        s->faults.slow = 60;
        s->broker_faults.cut_before = 15;
        s->broker_faults.cut_after = 60;
        s->broker_faults.confirm_lost = 40;
        s->broker_faults.reorder = 300; /* twins part ways */
}

/* A broker that loses what it holds, and few doorbells after that. */
static void set_losses(struct swarm *s)
{
        s->nodes = s->workers = 1;
        s->speed = 2;
        s->produce_ns = MS(30);
        s->letters_ns = 2 * NS_PER_S;
        s->broker = s->silent = s->loses_all = s->loses_tail = true;
        s->through = 7;
}

void theme_set(struct world *w)
{
        static void (*const themes[])(struct swarm * s) = {set_lease,   set_time,   set_replies,
                                                           set_letters, set_losses, set_late};
        if (w->seed == 0 || w->seed % THEME_EVERY != 0) {
                return;
        }
        calm(&w->swarm);
        themes[(w->seed / THEME_EVERY - 1) % ARRAY_LEN(themes)](&w->swarm);
}
