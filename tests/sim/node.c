/*
 * A node: the daemon's part in virtual time. It feeds the engine with events and carries its
 * actions out; the engine itself is the production code, unchanged.
 */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/life.h"
#include "tests/sim/plant.h"

#define DRAIN_SLACK_NS (3 * NS_PER_S)

struct instant node_instant(const struct world *w, const struct sim_node *n)
{
        return (struct instant){w->now_ns + n->mono_offset_ns,
                                w->now_ns / 1000 + SIM_WALL_US + n->wall_offset_us};
}

struct sim_node *node_any(struct world *w)
{
        uint32_t first = (uint32_t)rng_between(&w->rng_env, 0, w->swarm.nodes - 1);
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                struct sim_node *n = &w->nodes[(first + i) % w->swarm.nodes];
                if (n->state == NODE_UP && !n->draining) {
                        return n;
                }
        }
        return NULL;
}

int64_t node_next(struct world *w, const struct sim_node *n)
{
        if (n->state != NODE_UP || n->stopped) {
                return INT64_MAX;
        }
        int64_t at = n->ledger->ops->deadline_ns(n->ledger);
        if (n->transport) {
                int64_t due = n->transport->ops->deadline_ns(n->transport);
                at = due < at ? due : at;
        }
        int64_t wake = engine_wake_ns(n->engine);
        if (wake != INT64_MAX) {
                wake = wake < n->mono_offset_ns ? w->now_ns : wake - n->mono_offset_ns;
                at = wake < at ? wake : at;
        }
        return at < w->now_ns ? w->now_ns : at;
}

/* --- actions ------------------------------------------------------------------------------ */

static void trace_finish(struct world *w, const struct ledger_finish *f)
{
        for (uint32_t i = 0; i < f->n; i++) {
                char id[JOB_ID_TEXT];
                id_text(&f->rows[i].id, id);
                TRACE(w, "  row %s claim %u %s", id, f->rows[i].claim, state_name(f->rows[i].to));
        }
        for (uint32_t i = 0; i < f->n_retire; i++) {
                TRACE(w, "  retires %016llx %u/%llu", (unsigned long long)f->retire[i].holder,
                      f->retire[i].writer, (unsigned long long)f->retire[i].n);
        }
}

static void carry_post(struct world *w, struct sim_node *n, struct ledger_batch *b)
{
        TRACE(w, "n%u post %s %u/%llu", n->index, ledger_op_name(b->op), b->no.writer,
              (unsigned long long)b->no.n);
        if (b->op == LEDGER_FINISH) {
                trace_finish(w, LEDGER_AS(finish, FINISH, b));
        }
        life_posted(w, n, b);
        sim_ledger_tick(n->ledger, w->now_ns);
        n->ledger->ops->post(n->ledger, b);
}

static void carry_lease(struct world *w, struct sim_node *n, int64_t until_ns)
{
        n->lease_until_ns = until_ns;
        for (uint32_t i = 0; i < SIM_WORKERS; i++) {
                struct sim_worker *k = &n->workers[i];
                if (k->state == SIM_UP && !k->running && k->next != k->tail) {
                        worker_at(w, n, i, 1000, WE_FIRST);
                }
        }
}

static void carry_retire(struct world *w, struct sim_node *n, uint32_t worker)
{
        n->workers[worker].retiring = true;
        worker_at(w, n, worker, 1000, WE_FIRST);
}

static void carry_settled(struct world *w, struct sim_node *n, const struct ledger_finish *f)
{
        w->seen.fenced += f->stale;
        TRACE(w, "n%u settled %u rows, %u stale, %u claims retired", n->index, f->n, f->stale,
              f->n_retire);
}

#define NO_ZONE STR("Sim/Nowhere")

/* There is one zone; its file is found a little later. */
static void carry_zone(struct world *w, struct sim_node *n, struct str name)
{
        TRACE(w, "n%u looks for zone %.*s", n->index, (int)name.n, name.p);
        struct world_event *ev = world_at(w, MS(rng_between(&w->rng_life, 0, 50)), WE_ZONE);
        ev->node = n->index;
        ev->node_life = n->life;
        ev->value = str_eq(name, NO_ZONE);
}

void node_zone(struct world *w, struct sim_node *n, bool nowhere)
{
        struct engine_event ev = {.kind = EV_ZONE};
        ev.zone.name = nowhere ? NO_ZONE : STR("Sim/Town");
        ev.zone.zone = nowhere ? NULL : zone_utc();
        node_step(w, n, &ev);
}

static void carry_action(struct world *w, struct sim_node *n, struct engine_action *a)
{
        switch (a->kind) {
        case ACT_POST: carry_post(w, n, a->batch); break;
        case ACT_SPAWN: worker_spawn(w, n, a->worker); break;
        case ACT_GIVE: carry_give(w, n, a); break;
        case ACT_RECALL: carry_recall(w, n, a); break;
        case ACT_LEASE: carry_lease(w, n, a->until_ns); break;
        case ACT_ASK: carry_ask(w, n, a); break;
        case ACT_KILL: worker_die(w, n, a->worker, ERROR_CRASHED); break;
        case ACT_RETIRE: carry_retire(w, n, a->worker); break;
        case ACT_ANSWER: produce_answered(w, a->submission); break;
        case ACT_CANCEL_ANSWER:
        case ACT_REQUEUE_ANSWER:
        case ACT_READ:
        case ACT_OPERATED:
        case ACT_BULK:
        case ACT_RECONCILED:
        case ACT_RAN: operate_carry(w, n, a); break;
        case ACT_SAVED: worker_saved(w, n, a); break;
        case ACT_REPLY: carry_reply(w, n, a->replies); break;
        case ACT_ZONE: carry_zone(w, n, a->text); break;
        case ACT_CONSUME: carry_consume(w, n, a); break;
        case ACT_SETTLE: carry_settle(w, n, a->receipt); break;
        case ACT_DROP: carry_drop(n, a->receipt); break;
        case ACT_RING: carry_ring(w, n, a->bells); break;
        case ACT_FLOOR: carry_floor(w, n, a); break;
        case ACT_SETTLED: carry_settled(w, n, a->finish); break;
        case ACT_NOTE: TRACE(w, "n%u note: %.*s", n->index, (int)a->text.n, a->text.p); break;
        case ACT_STOPPED: n->stopped = true; break;
        }
}

/* --- the step ----------------------------------------------------------------------------- */

static void check_still(struct world *w, struct sim_node *n)
{
        n->steps++;
        n->still = n->still_ns == w->now_ns ? n->still + 1 : 0;
        n->still_ns = w->now_ns;
        if (n->still > SIM_STEPS_STILL) {
                world_violate(w, "spin: node %u takes step after step at one instant", n->index);
        }
}

/* A clean end leaves nothing of this holder behind. */
static void check_stopped(struct world *w, struct sim_node *n)
{
        bool quiet = !w->server.faults.down;
        struct store_job *j, *next;
        HASH_ITER (hh, w->server.store.jobs, j, next) {
                if (j->row.state != STATE_RUNNING || j->row.holder != n->holder) {
                        continue;
                }
                struct audit_cut cut = {n->holder, n->drain_since_ns, INT64_MAX};
                audit_cut_off(&w->audit, &cut);
                int64_t took = w->now_ns - n->drain_since_ns;
                if (quiet && took < (int64_t)w->config.shutdown_grace_ms * NS_PER_MS) {
                        char id[JOB_ID_TEXT];
                        id_text(&j->row.id, id);
                        world_violate(w, "I17 job %s: still running when its node had stopped", id);
                }
        }
}

static void end_life(struct world *w, struct sim_node *n)
{
        for (uint32_t i = 0; i < SIM_WORKERS; i++) {
                worker_clear(w, n, i);
        }
        sim_ledger_abandon(n->ledger);
        carry_close(n);
        w->orphans = realloc(w->orphans, (w->n_orphans + 1) * sizeof *w->orphans);
        assert(w->orphans);
        w->orphans[w->n_orphans++] = STEAL(n->ledger);
        n->engine = engine_free(n->engine);
        n->state = NODE_DOWN;
        n->life++;
        produce_lost(w, n->index);
}

static void finish_stop(struct world *w, struct sim_node *n)
{
        TRACE(w, "n%u stopped", n->index);
        check_stopped(w, n);
        end_life(w, n);
        n->has_former = false;
        struct world_event *ev = world_at(w, MS(rng_between(&w->rng_env, 10, 800)), WE_RESTART);
        ev->node = n->index;
        ev->node_life = n->life;
}

void node_step(struct world *w, struct sim_node *n, const struct engine_event *ev)
{
        check_still(w, n);
        n->actions.n = 0;
        engine_step(n->engine, ev, node_instant(w, n), &n->actions);
        assert(!n->actions.out_of_memory);
        struct engine_view view;
        engine_look(n->engine, &view);
        n->holder = view.holder;
        for (uint32_t i = 0; i < n->actions.n; i++) {
                carry_action(w, n, &n->actions.list[i]);
        }
        const char *wrong = engine_check(n->engine);
        if (wrong) {
                world_violate(w, "books: node %u: %s", n->index, wrong);
        }
        if (n->stopped) {
                finish_stop(w, n);
        }
}

static void trace_answer(struct world *w, const struct sim_node *n, const struct ledger_batch *b)
{
        static const char *const outcomes[] = {"committed", "refused", "unknown", "fenced"};
        TRACE(w, "n%u answer %s %u/%llu %s", n->index, ledger_op_name(b->op), b->no.writer,
              (unsigned long long)b->no.n, outcomes[b->outcome]);
}

/* Planted here: what a careless carrier would do with an unknown commit. */
static void bend_answer(struct ledger_batch *b)
{
        if (b->outcome != LEDGER_UNKNOWN) {
                return;
        }
        if (planted(PLANT_CLAIM_FORGOTTEN) && b->op == LEDGER_CLAIM) {
                b->outcome = LEDGER_REFUSED;
        } else if (planted(PLANT_FINISH_ASSUMED) && b->op == LEDGER_FINISH) {
                b->outcome = LEDGER_COMMITTED;
        }
}

/* What a beat says of the queues. */
static void note_controls(struct world *w, struct sim_node *n, struct ledger_batch *b)
{
        if (b->op != LEDGER_BEAT || b->outcome != LEDGER_COMMITTED) {
                return;
        }
        const struct ledger_beat *beat = LEDGER_AS(beat, BEAT, b);
        n->paused = 0;
        for (uint32_t i = 0; i < beat->n_controls; i++) {
                int at = config_queue_named(&w->config, beat->controls[i].queue);
                if (at >= 0 && beat->controls[i].paused) {
                        n->paused |= 1u << at;
                }
        }
}

void node_turn(struct world *w, struct sim_node *n)
{
        uint32_t life = n->life;
        struct ledger_batch *b = n->ledger->ops->dispatch(n->ledger, w->now_ns);
        while (b) {
                struct ledger_batch *next = b->next;
                b->next = NULL;
                if (n->life != life) {
                        sim_batch_drop(b); /* the node stopped while it read its answers */
                } else {
                        trace_answer(w, n, b);
                        bend_answer(b);
                        note_controls(w, n, b);
                        node_step(w, n, &(struct engine_event){.kind = EV_LEDGER, .batch = b});
                }
                b = next;
        }
        bool heard = n->life == life && n->ledger->ops->heard && n->ledger->ops->heard(n->ledger);
        if (heard) {
                node_step(w, n, &(struct engine_event){.kind = EV_HEARD});
        }
        if (n->life == life) {
                carry_turn(w, n);
        }
        if (n->life == life && engine_wake_ns(n->engine) <= w->now_ns + n->mono_offset_ns) {
                worker_seen_all(w, n);
                if (n->life == life) {
                        node_step(w, n, &(struct engine_event){.kind = EV_TIMER});
                }
        }
}

/* --- lives -------------------------------------------------------------------------------- */

void node_roster(struct world *w, struct sim_node *n, uint32_t generation)
{
        struct handler_desc all[] = {
            {.pattern = STR("work.>"),
             .plugin = STR("work.so"),
             .timeout_ms = 2000,
             .concurrency = w->seed % 5 == 1 ? 1 + (uint32_t)(w->seed / 5 % 2) : 0},
            {.pattern = STR("poison.pill"), .plugin = STR("poison.so")},
            {.pattern = STR("bulk.>"),
             .plugin = STR("bulk.so"),
             .batch_max = w->swarm.batch ? 2 + (uint32_t)(w->seed % 7) : 0,
             .batch_wait_ms = (uint32_t)(w->seed % 3) * 40,
             .concurrency = w->seed % 7 == 3},
            {.pattern = STR("late.type"), .plugin = STR("late.so")},
        };
        bool late = generation % 2 == 0; /* even generations serve it too */
        roster_unref(n->roster);
        n->roster = roster_new(generation, all, late ? 4 : 3);
        assert(n->roster);
        TRACE(w, "n%u roster %u", n->index, generation);
        if (n->state == NODE_UP) {
                node_step(
                    w, n,
                    &(struct engine_event){.kind = EV_ROSTER, .roster = roster_ref(n->roster)});
        }
}

void node_reload(struct world *w, struct sim_node *n)
{
        n->other_config = !n->other_config;
        uint32_t life = n->life;
        n->config = n->other_config ? &w->reloaded : &w->config;
        TRACE(w, "n%u reload %d", n->index, n->other_config);
        node_step(w, n, &(struct engine_event){.kind = EV_CONFIG, .config = n->config});
        if (n->life == life) {
                carry_reload(n);
        }
}

static void tell_former(struct world *w, struct sim_node *n)
{
        if (!n->has_former) {
                return;
        }
        struct engine_event ev = {.kind = EV_FORMER};
        ev.former.holder = n->holder;
        ev.former.jobs = n->former;
        ev.former.n = n->n_former;
        TRACE(w, "n%u former %u jobs", n->index, n->n_former);
        node_step(w, n, &ev);
        free(n->former);
        n->former = NULL;
        n->n_former = 0;
        n->has_former = false;
}

void node_start(struct world *w, struct sim_node *n)
{
        n->config = n->other_config ? &w->reloaded : &w->config;
        struct engine_config c = {.config = n->config,
                                  .host = STR("sim"),
                                  .version = STR("0"),
                                  .pid = (int32_t)(100 + n->index)};
        for (int i = 0; i < 4; i++) {
                c.seed[i] = rng_next(&w->rng) | 1;
        }
        uint64_t former = n->holder;
        n->mono_offset_ns = rng_between(&w->rng, 0, 1000) * NS_PER_S;
        n->wall_offset_us = 0;
        n->lease_until_ns = 0;
        n->paused = n->resize = n->reconciles = 0;
        n->draining = n->stopped = false;
        n->ledger = sim_ledger_new(&w->server);
        n->engine = engine_new(&c);
        assert(n->engine);
        n->state = NODE_UP;
        carry_open(w, n);
        TRACE(w, "n%u start", n->index);
        n->holder = former;
        tell_former(w, n);
        node_step(w, n, &(struct engine_event){.kind = EV_START});
        uint32_t generation = n->roster ? n->roster->generation : 1;
        node_roster(w, n, generation);
}

/* What the pages say: every slot that was given and not overwritten since. */
static void read_pages(struct world *w, struct sim_node *n)
{
        n->former = calloc(SIM_WORKERS * ENGINE_RING, sizeof *n->former);
        assert(n->former);
        n->n_former = 0;
        for (uint32_t i = 0; i < SIM_WORKERS; i++) {
                const struct sim_worker *k = &n->workers[i];
                uint32_t from = k->tail > 32 ? k->tail - 32 : 0;
                from = from > k->told ? k->told : from;
                for (uint32_t p = from; p != k->tail; p++) {
                        const struct worker_slot *s = &k->ring[p % ENGINE_RING];
                        struct former_job *f = &n->former[n->n_former++];
                        *f = (struct former_job){s->id,      s->claim, s->token,
                                                 s->started, s->ended, s->verdict};
                        f->ended = f->ended && !s->more; /* half a verdict is none */
                        f->verdict.children = NULL;
                }
        }
        if (!w->swarm.pages) {
                n->n_former = 0; /* after a reboot they are not to be trusted */
        }
        n->has_former = true;
}

void node_kill(struct world *w, struct sim_node *n)
{
        TRACE(w, "n%u killed", n->index);
        w->seen.kills++;
        struct audit_cut cut = {n->holder, w->now_ns, INT64_MAX};
        audit_cut_off(&w->audit, &cut);
        if (w->swarm.former) {
                free(n->former);
                read_pages(w, n);
        }
        end_life(w, n);
}

void node_drain(struct world *w, struct sim_node *n)
{
        TRACE(w, "n%u drain", n->index);
        w->seen.drains++;
        n->draining = true;
        n->drain_since_ns = w->now_ns;
        node_step(w, n, &(struct engine_event){.kind = EV_DRAIN});
}
