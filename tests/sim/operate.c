/*
 * Operators: cancels and requeues of one job or of many, queues paused, resumed and limited,
 * schedules made, changed and dropped, workers resized, marks asked for. Whatever they left
 * switched off is switched on again at the end.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/life.h"

#define RECONCILE_MS  60000
#define PURGE_AGED_US (20 * US_PER_S)

static void read_something(struct world *w, struct sim_node *n)
{
        static const enum ledger_op reads[] = {LEDGER_STATS, LEDGER_NODES, LEDGER_GROUPS,
                                               LEDGER_SCHEDULES};
        bool life = w->swarm.bulk || w->swarm.controls;
        struct ledger_batch *b = ledger_batch_new(
            life ? reads[rng_between(&w->rng_env, 0, ARRAY_LEN(reads) - 1)] : LEDGER_STATS);
        assert(b);
        if (b->op == LEDGER_GROUPS) {
                LEDGER_AS(groups, GROUPS, b)->limit = 10;
        } else if (b->op == LEDGER_SCHEDULES) {
                LEDGER_AS(schedules, SCHEDULES, b)->limit = 10;
        }
        node_step(w, n, &(struct engine_event){.kind = EV_READ, .batch = b});
}

static struct str any_queue(struct world *w)
{
        return w->config.queues[rng_between(&w->rng_life, 0, w->config.n_queues - 1)].name;
}

/* --- queues ------------------------------------------------------------------------------- */

static void control_something(struct world *w, struct sim_node *n)
{
        struct rng *g = &w->rng_life;
        struct ledger_batch *batch = ledger_batch_new(LEDGER_CONTROL);
        assert(batch);
        struct ledger_control *b = LEDGER_AS(control, CONTROL, batch);
        b->control.queue = any_queue(w);
        switch (rng_between(g, 0, 3)) {
        case 0:
                b->set = CONTROL_CONCURRENCY;
                b->control.concurrency = (int32_t)rng_between(g, CONTROL_UNSET, 3);
                break;
        case 1:
                b->set = CONTROL_GLOBAL;
                b->control.global = (int32_t)rng_between(g, CONTROL_UNSET, 4);
                w->global_most[config_queue_named(&w->config, b->control.queue)] = 0;
                break;
        default:
                b->set = CONTROL_PAUSED;
                b->control.paused = rng_chance(g, 400);
                break;
        }
        w->seen.controls++;
        node_step(w, n, &(struct engine_event){.kind = EV_OPERATE, .batch = batch});
}

/* --- many jobs ---------------------------------------------------------------------------- */

static void post_bulk(struct world *w, struct sim_node *n, const struct bulk_request *r)
{
        w->seen.bulk++;
        w->bulks = realloc(w->bulks, (w->n_bulks + 1) * sizeof *w->bulks);
        assert(w->bulks);
        w->bulks[w->n_bulks++] = (struct sim_bulk){r->kind, r->filter};
        struct engine_event ev = {.kind = EV_BULK};
        ev.bulk.request = r;
        node_step(w, n, &ev);
}

static void begin_bulk(struct world *w, struct sim_node *n)
{
        struct rng *g = &w->rng_life;
        struct bulk_request r = {.kind = (enum bulk_kind)rng_between(g, BULK_COUNT, BULK_PURGE)};
        if (r.kind == BULK_CANCEL && rng_chance(g, 700)) {
                r.kind = BULK_REQUEUE; /* or little would be left to run */
        }
        r.filter.states = r.kind == BULK_REQUEUE  ? 1u << STATE_DEAD
                          : r.kind == BULK_CANCEL ? 1u << STATE_PENDING | 1u << STATE_RUNNING
                                                  : 0;
        if (r.kind == BULK_PURGE && life_outlives(&w->swarm)) {
                r.filter.ended_before_us = world_wall_us(w) - PURGE_AGED_US;
        }
        if (rng_chance(g, 500)) {
                r.filter.queue = any_queue(w);
        }
        if (r.kind == BULK_CANCEL || rng_chance(g, 400)) {
                r.filter.type = rng_chance(g, 500) ? STR("work.a") : STR("work.>");
        }
        if (rng_chance(g, 300)) {
                r.filter.error = ERROR_FAILED;
        }
        r.rate = rng_chance(g, 500) ? (uint32_t)rng_between(g, 20, 500) : 0;
        r.limit = rng_chance(g, 500) ? (uint64_t)rng_between(g, 1, 60) : 0;
        r.stop_permille = rng_chance(g, 500) ? 200 : 0;
        post_bulk(w, n, &r);
}

/* --- schedules ---------------------------------------------------------------------------- */

#define CLOCKWORKS_MAX 4

static struct sim_clockwork *new_clockwork(struct world *w)
{
        struct rng *g = &w->rng_life;
        w->clockworks = realloc(w->clockworks, (w->n_clockworks + 1) * sizeof *w->clockworks);
        assert(w->clockworks);
        struct sim_clockwork *x = &w->clockworks[w->n_clockworks++];
        memset(x, 0, sizeof *x);
        snprintf(x->name, sizeof x->name, "clock-%u", w->n_clockworks);
        x->step_s = (uint32_t)rng_between(g, 1, 5);
        x->step_s = x->step_s == 4 ? 6 : x->step_s; /* a divisor of a minute */
        x->aligned = rng_chance(g, 700);
        if (w->swarm.steady) {
                x->step_s = 1;
                x->aligned = true;
        }
        if (x->aligned) {
                snprintf(x->spec, sizeof x->spec, "*/%u * * * * *", x->step_s);
        } else {
                snprintf(x->spec, sizeof x->spec, "@every %us", x->step_s);
        }
        x->catch_up = (enum catch_up)rng_between(g, CATCH_NONE, CATCH_ALL);
        x->overlap = (enum overlap)rng_between(g, OVERLAP_ALLOW, OVERLAP_CANCEL);
        if (w->swarm.steady) {
                x->catch_up = CATCH_ALL;
                x->overlap = OVERLAP_ALLOW;
        }
        return x;
}

static int64_t first_tick(const struct sim_clockwork *x, int64_t now_us)
{
        int64_t step = x->step_s * US_PER_S;
        return x->aligned ? (now_us / step + 1) * step : now_us + step;
}

static void put_clockwork(struct world *w, struct sim_node *n, struct sim_clockwork *x, bool drop)
{
        struct rng *g = &w->rng_life;
        struct ledger_batch *batch = ledger_batch_new(LEDGER_SCHEDULE);
        assert(batch);
        struct ledger_schedule *b = LEDGER_AS(schedule, SCHEDULE, batch);
        int64_t now_us = world_wall_us(w);
        b->drop = drop;
        b->expected = SCHEDULE_ANY;
        b->row = (struct schedule_row){
            .name = arena_str(&batch->arena, str_of(x->name)),
            .spec = arena_str(&batch->arena, str_of(x->spec)),
            .zone = rng_chance(g, 500) ? STR("Sim/Town") : (struct str){0},
            .catch_up = x->catch_up,
            .overlap = x->overlap,
            .catch_max = 100,
            .paused = x->made_us && rng_chance(g, 400),
            .next_us = first_tick(x, now_us),
            .job = {.queue = w->config.queues[0].name,
                    .type = STR("work.a"),
                    .priority = PRIORITY_DEFAULT,
                    .max_attempts = 2,
                    .payload = arena_printf(&batch->arena, "tick of %s", x->name)},
        };
        x->dropped = drop;
        x->edits += x->made_us != 0;
        x->made_us = x->made_us ? x->made_us : now_us;
        node_step(w, n, &(struct engine_event){.kind = EV_OPERATE, .batch = batch});
}

static void run_by_hand(struct world *w, struct sim_node *n, struct sim_clockwork *x)
{
        struct engine_event ev = {.kind = EV_RUN_SCHEDULE};
        ev.run_schedule.name = str_of(x->name);
        x->by_hand++;
        node_step(w, n, &ev);
}

static void touch_schedule(struct world *w, struct sim_node *n)
{
        struct rng *g = &w->rng_life;
        if (w->n_clockworks < CLOCKWORKS_MAX && (!w->n_clockworks || rng_chance(g, 300))) {
                put_clockwork(w, n, new_clockwork(w), false);
                return;
        }
        struct sim_clockwork *x = &w->clockworks[rng_between(g, 0, w->n_clockworks - 1)];
        if (rng_chance(g, 200)) {
                run_by_hand(w, n, x);
        } else if (!w->swarm.steady && rng_chance(g, 300)) {
                put_clockwork(w, n, x, rng_chance(g, 300));
        }
}

/* --- one of them -------------------------------------------------------------------------- */

static void live(struct world *w, struct sim_node *n)
{
        const struct swarm *s = &w->swarm;
        struct rng *g = &w->rng_life;
        switch (rng_between(g, 0, 5)) {
        case 0:
                if (s->controls) {
                        control_something(w, n);
                }
                break;
        case 1:
                if (s->bulk) {
                        begin_bulk(w, n);
                }
                break;
        case 2:
                if (s->resize) {
                        struct engine_event ev = {.kind = EV_RESIZE};
                        ev.resize = (uint32_t)rng_between(g, 0, 7);
                        n->resize = ev.resize;
                        node_step(w, n, &ev);
                }
                break;
        case 3:
                if (s->reconcile) {
                        n->reconciles++;
                        n->reconcile_ns = w->now_ns;
                        node_step(w, n, &(struct engine_event){.kind = EV_RECONCILE});
                }
                break;
        default:
                if (s->schedules) {
                        touch_schedule(w, n);
                }
                break;
        }
}

static void cancel_or_requeue(struct world *w, struct sim_node *n)
{
        uint32_t recent = w->n_known < 20 ? w->n_known : 20;
        bool late = rng_chance(&w->rng_env, 700);
        uint32_t from = late ? w->n_known - recent : 0;
        struct engine_event ev = {0};
        ev.operator_.id = w->known[rng_between(&w->rng_env, from, w->n_known - 1)];
        bool cancel = rng_chance(&w->rng_env, 500);
        if (w->swarm.reads && rng_chance(&w->rng_env, 200)) {
                read_something(w, n);
        } else if (cancel && w->swarm.cancel) {
                ev.kind = EV_CANCEL;
                node_step(w, n, &ev);
        } else if (!cancel && w->swarm.requeue) {
                ev.kind = EV_REQUEUE;
                node_step(w, n, &ev);
        }
}

void operate_event(struct world *w)
{
        const struct swarm *s = &w->swarm;
        struct sim_node *n = node_any(w);
        if (n && s->purges) {
                post_bulk(w, n, &(struct bulk_request){.kind = BULK_PURGE});
                return;
        }
        bool lives = s->controls || s->bulk || s->resize || s->reconcile || s->schedules;
        if (n && lives && rng_chance(&w->rng_life, 500)) {
                live(w, n);
        } else if (n && w->n_known) {
                cancel_or_requeue(w, n);
        }
}

/* --- answers ------------------------------------------------------------------------------ */

/* Does a beat get through within a second in this world? */
static bool is_prompt(const struct swarm *s)
{
        return !s->windows && !s->faults.slow && !s->faults.refuse;
}

static void cancel_answered(struct world *w, const struct ledger_cancel *c)
{
        TRACE(w, "operator cancel %d %d", c->base.outcome, c->result);
        w->seen.cancels++;
        if (c->base.outcome == LEDGER_COMMITTED && c->result == CANCEL_ASKED &&
            is_prompt(&w->swarm)) {
                audit_cancel(&w->audit, &c->id, w->now_ns);
        }
}

static void answered(struct world *w, struct ledger_batch *b)
{
        if (b->op == LEDGER_CANCEL) {
                cancel_answered(w, LEDGER_AS(cancel, CANCEL, b));
        } else if (b->op == LEDGER_REQUEUE) {
                TRACE(w, "operator requeue %d %d", b->outcome,
                      LEDGER_AS(requeue, REQUEUE, b)->result);
                w->seen.requeues++;
        } else {
                TRACE(w, "operator %s %d", ledger_op_name(b->op), b->outcome);
        }
        ledger_batch_free(b);
}

void operate_carry(struct world *w, struct sim_node *n, struct engine_action *a)
{
        switch (a->kind) {
        case ACT_CANCEL_ANSWER:
        case ACT_REQUEUE_ANSWER:
        case ACT_OPERATED:
        case ACT_READ: answered(w, a->batch); break;
        case ACT_BULK:
                TRACE(w, "n%u operation %llu %.*s", n->index, (unsigned long long)a->bulk_no,
                      a->bulk_no ? 0 : (int)a->text.n, a->text.p);
                break;
        case ACT_RECONCILED:
                TRACE(w, "n%u reconciled %u queues", n->index, a->reconciled->n);
                n->reconciles--;
                break;
        case ACT_RAN: TRACE(w, "n%u ran %.*s", n->index, (int)a->text.n, a->text.p); break;
        default: break;
        }
}

void operate_end(struct world *w)
{
        struct store *s = &w->server.store;
        for (struct store_queue *q = s->queues; q; q = q->next) {
                q->controlled = false;
        }
        for (uint32_t i = 0; i < w->n_clockworks; i++) {
                w->clockworks[i].dropped = true;
        }
        store_schedule_deinit(s);
}

/* Has every node as many workers as it was asked for? */
bool operate_resized(const struct world *w)
{
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                const struct sim_node *n = &w->nodes[i];
                uint32_t up = 0, want = n->resize ? n->resize : n->config->workers;
                for (uint32_t k = 0; k < SIM_WORKERS; k++) {
                        const struct sim_worker *x = &n->workers[k];
                        up += x->state != SIM_ABSENT && !x->retiring &&
                              x->roster->generation == n->roster->generation;
                }
                if (n->state == NODE_UP && !n->draining && up != want) {
                        return false;
                }
        }
        return true;
}

bool operate_over(const struct world *w)
{
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                const struct sim_node *n = &w->nodes[i];
                if (n->engine && n->reconciles) {
                        if (w->now_ns > n->reconcile_ns + MS(RECONCILE_MS)) {
                                world_violate((struct world *)w,
                                              "reconcile: node %u has not answered for long", i);
                        }
                        return false;
                }
        }
        struct bulk_view views[100];
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                const struct sim_node *n = &w->nodes[i];
                uint32_t k = n->engine && w->swarm.bulk
                                 ? engine_bulks(n->engine, views, ARRAY_LEN(views))
                                 : 0;
                while (k-- > 0) {
                        if (!views[k].over) {
                                return false;
                        }
                }
        }
        return true;
}
