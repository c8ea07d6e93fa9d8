/*
 * Workers: they take the jobs they were given in order, one at a time, for drawn times, and die in
 * the drawn ways. What they do is written into their slots at once (the page); the node hears of it
 * a little later, or never.
 */
#include "tests/sim/life.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plant.h"

struct world_event *worker_at(struct world *w, struct sim_node *n, uint32_t at, int64_t delay_ns,
                              enum world_event_kind kind)
{
        struct world_event *ev = world_at(w, delay_ns, kind);
        ev->node = n->index;
        ev->node_life = n->life;
        ev->worker = at;
        ev->worker_life = n->workers[at].life;
        return ev;
}

static int64_t draw_us(struct world *w, int64_t lo, int64_t hi)
{
        return rng_between(&w->rng_work, lo, hi) * 1000;
}

void worker_spawn(struct world *w, struct sim_node *n, uint32_t at)
{
        if (at >= SIM_WORKERS || n->workers[at].state != SIM_ABSENT) {
                world_violate(w, "spawn: node %u starts worker %u, which is there", n->index, at);
                return;
        }
        struct sim_worker *k = &n->workers[at];
        uint32_t life = k->life + 1;
        memset(k, 0, sizeof *k);
        k->life = life;
        k->state = SIM_STARTING;
        k->roster = roster_ref(n->roster);
        TRACE(w, "n%u w%u spawn", n->index, at);
        worker_at(w, n, at, draw_us(w, 500, 20000), WE_UP);
}

/* --- a run -------------------------------------------------------------------------------- */

static int64_t draw_service(struct world *w)
{
        if (w->swarm.tail && rng_chance(&w->rng_work, w->swarm.tail)) {
                return draw_us(w, 200000, 2300000);
        }
        int64_t us = 100 << rng_between(&w->rng_work, 0, 5 + 3 * w->swarm.speed);
        if (w->now_ns < w->brown_until_ns) {
                us = us * 300 < 1000000 ? us * 300 : 1000000;
        }
        return draw_us(w, us / 2, us * 2);
}

static enum audit_end draw_end(struct world *w, struct worker_slot *s)
{
        struct verdict *v = &s->verdict;
        if (s->poison || (w->chaos && w->swarm.crash && rng_chance(&w->rng_work, w->swarm.crash))) {
                return AUDIT_CRASHED;
        }
        if (!w->swarm.fail || !rng_chance(&w->rng_work, w->swarm.fail) ||
            (!w->chaos && rng_chance(&w->rng_work, 700))) {
                return AUDIT_DONE;
        }
        switch (rng_between(&w->rng_work, 0, 6)) {
        case 0: v->delay_ms = rng_between(&w->rng_work, 0, 2000); return AUDIT_SNOOZE;
        case 1: return AUDIT_DISCARD;
        case 2: return AUDIT_DEAD;
        case 3: return AUDIT_CANCELLED;
        case 4: v->delay_ms = rng_between(&w->rng_work, 1, 1500); return AUDIT_RETRY;
        default: return AUDIT_RETRY;
        }
}

static void record_start(struct world *w, const struct sim_node *n, struct worker_slot *s,
                         uint32_t batch)
{
        struct audit_run r = {
            .id = s->id,
            .claim = s->claim,
            .generation = s->generation,
            .token = s->token,
            .payload = s->payload,
            .holder = n->holder,
            .attempt = s->attempt,
            .start_ns = w->now_ns,
            .start_wall_us = world_wall_us(w),
            .batch = batch,
        };
        s->run = audit_started(&w->audit, &r);
        w->seen.runs++;
}

/* Every roster of a world has the same handlers at the same places. */
static void check_handler(struct world *w, const struct sim_node *n, int handler)
{
        uint32_t most = handler < 0 ? 0 : n->roster->handlers[handler].concurrency, run = 0;
        for (uint32_t i = 0; most && i < SIM_WORKERS; i++) {
                const struct sim_worker *k = &n->workers[i];
                bool runs = k->state == SIM_UP && k->running;
                run += runs && k->ring[k->next % ENGINE_RING].handler == handler;
        }
        if (run > most) {
                world_violate(w, "limit: %u workers of node %u run jobs of handler %d, %u may", run,
                              n->index, handler, most);
        }
}

static bool may_start(const struct world *w, const struct sim_node *n)
{
        return planted(PLANT_LEASE_IGNORED) || w->now_ns + n->mono_offset_ns < n->lease_until_ns;
}

static struct worker_slot *slot_of(struct sim_worker *k, uint32_t position)
{
        return &k->ring[position % ENGINE_RING];
}

/* How many the next run takes at once; 0: not all of its batch is here yet. */
static uint32_t batch_of(struct sim_worker *k)
{
        const struct worker_slot *s = slot_of(k, k->next);
        uint32_t n = s->group ? s->group_n : 1;
        return k->tail - k->next >= n ? n : 0;
}

/* A handler may save a checkpoint on its way (of a batch: that of the first job), and wait until it
 * is safe. */
static void plan_run(struct world *w, struct sim_node *n, uint32_t at, int64_t service_ns)
{
        struct sim_worker *k = &n->workers[at];
        struct worker_slot *s = slot_of(k, k->next);
        const struct swarm *x = &w->swarm;
        if (x->progress && k->batch == 1 && rng_chance(&w->rng_life, x->progress)) {
                worker_at(w, n, at, rng_between(&w->rng_life, 0, MS(400)), WE_ALIVE)->position =
                    k->next;
        }
        if (x->saves && rng_chance(&w->rng_life, x->saves)) {
                s->rest_ns = service_ns / 2;
                worker_at(w, n, at, service_ns / 2, WE_SAVE)->position = k->next;
                return;
        }
        worker_end(w, n, at, s->end, service_ns);
}

static void start_run(struct world *w, struct sim_node *n, uint32_t at)
{
        struct sim_worker *k = &n->workers[at];
        uint32_t batch = batch_of(k);
        struct worker_slot *s = slot_of(k, k->next);
        if (!batch) {
                return;
        }
        bool crash = false;
        k->running = true;
        k->batch = batch;
        for (uint32_t i = 0; i < batch; i++) {
                struct worker_slot *x = slot_of(k, k->next + i);
                x->started = true;
                x->since_ns = x->life_ns = w->now_ns;
                x->verdict.started_wall_us = node_instant(w, n).wall_us;
                record_start(w, n, x, batch);
                x->end = draw_end(w, x);
                crash |= x->end == AUDIT_CRASHED;
        }
        check_handler(w, n, s->handler);
        w->seen.batches += batch > 1;
        s->end = crash ? AUDIT_CRASHED : s->end;
        TRACE(w, "n%u w%u start @%u +%u claim %u", n->index, at, k->next, batch, s->claim);
        if (w->chaos && !s->poison && rng_chance(&w->rng_work, w->swarm.hang)) {
                return; /* until somebody asks, or kills */
        }
        plan_run(w, n, at, draw_service(w));
}

/* The run under way ends so, after so long; an earlier end wins. */
void worker_end(struct world *w, struct sim_node *n, uint32_t at, enum audit_end end,
                int64_t delay_ns)
{
        struct world_event *ev = worker_at(w, n, at, delay_ns, WE_END);
        ev->position = n->workers[at].next;
        ev->value = end;
}

void worker_look(struct world *w, struct sim_node *n, uint32_t at)
{
        struct sim_worker *k = &n->workers[at];
        if (k->state != SIM_UP || k->running) {
                return;
        }
        if (k->next != k->tail) {
                if (may_start(w, n)) {
                        start_run(w, n, at);
                }
        } else if (k->retiring) {
                worker_die(w, n, at, ERROR_NONE);
        }
}

/* One job's verdict. */
static void end_job(struct world *w, struct sim_node *n, uint32_t at, struct worker_slot *s,
                    enum audit_end end)
{
        static const enum verdict_kind kinds[] = {
            [AUDIT_DONE] = VERDICT_DONE,     [AUDIT_RETRY] = VERDICT_RETRY,
            [AUDIT_SNOOZE] = VERDICT_SNOOZE, [AUDIT_DISCARD] = VERDICT_DISCARD,
            [AUDIT_DEAD] = VERDICT_DEAD,     [AUDIT_CANCELLED] = VERDICT_CANCELLED,
        };
        s->ended = true;
        s->saving = 0;
        s->verdict.kind = kinds[end];
        s->verdict.run_ns = w->now_ns - s->since_ns;
        if (end == AUDIT_DONE && w->swarm.children && rng_chance(&w->rng_work, w->swarm.children)) {
                s->verdict.children = produce_children(w, s);
                s->more = true;
        }
        if (end == AUDIT_DONE && rng_chance(&w->rng_work, 300)) {
                snprintf(s->result, sizeof s->result, "result of %u", s->claim);
                s->verdict.result = str_of(s->result);
                s->more = true;
        }
        life_ended(w, n, s);
        audit_ended(&w->audit, &s->id, s->run, end, w->now_ns);
        audit_result(&w->audit, &s->id, s->run,
                     hash_bytes(s->verdict.result.p, s->verdict.result.n));
        TRACE(w, "n%u w%u end claim %u %s", n->index, at, s->claim, audit_end_name(end));
}

static void end_run(struct world *w, struct sim_node *n, uint32_t at, enum audit_end end)
{
        struct sim_worker *k = &n->workers[at];
        if (end == AUDIT_CRASHED) {
                worker_die(w, n, at, ERROR_CRASHED);
                return;
        }
        for (uint32_t i = 0; i < k->batch; i++) {
                struct worker_slot *s = slot_of(k, k->next + i);
                enum audit_end drawn = s->end == AUDIT_CRASHED ? AUDIT_DONE : s->end;
                enum audit_end own = k->batch == 1 ? end : s->asked ? AUDIT_CANCELLED : drawn;
                end_job(w, n, at, s, own);
        }
        k->running = false;
        k->next += k->batch;
        worker_at(w, n, at, draw_us(w, 5, 800), WE_TELL);
        if (w->chaos && w->swarm.between && rng_chance(&w->rng_work, w->swarm.between)) {
                worker_die(w, n, at, ERROR_CRASHED);
        } else {
                worker_at(w, n, at, draw_us(w, 1, 20), WE_FIRST);
        }
}

void worker_die(struct world *w, struct sim_node *n, uint32_t at, enum error_class how)
{
        struct sim_worker *k = &n->workers[at];
        if (k->state == SIM_ABSENT || k->state == SIM_DYING) {
                return;
        }
        TRACE(w, "n%u w%u dies %s", n->index, at, k->running ? "running" : "idle");
        for (uint32_t i = 0; k->running && i < k->batch; i++) {
                struct worker_slot *s = slot_of(k, k->next + i);
                bool self = how == ERROR_CRASHED && slot_of(k, k->next)->crashes;
                audit_ended(&w->audit, &s->id, s->run, self ? AUDIT_CRASHED : AUDIT_KILLED,
                            w->now_ns);
                w->seen.crashes += self;
        }
        w->seen.batches_died += k->running && k->batch > 1;
        k->died_running = k->running;
        k->running = false;
        k->state = SIM_DYING;
        k->how = how;
        worker_at(w, n, at, draw_us(w, 50, 5000), WE_REAP);
}

/* --- what the node hears ------------------------------------------------------------------ */

static void tell_verdicts(struct world *w, struct sim_node *n, uint32_t at)
{
        struct sim_worker *k = &n->workers[at];
        struct verdict list[ENGINE_RING];
        uint32_t count = 0;
        while (k->told + count != k->next && k->ring[(k->told + count) % ENGINE_RING].ended) {
                list[count] = k->ring[(k->told + count) % ENGINE_RING].verdict;
                count++;
        }
        if (!count) {
                return;
        }
        struct engine_event ev = {.kind = EV_VERDICTS};
        ev.verdicts.worker = at;
        ev.verdicts.first = k->told;
        ev.verdicts.n = count;
        ev.verdicts.list = list;
        for (uint32_t i = 0; i < count; i++) {
                k->ring[(k->told + i) % ENGINE_RING].verdict.children = NULL; /* the engine's now */
        }
        TRACE(w, "n%u w%u tells @%u +%u", n->index, at, k->told, count);
        k->told += count;
        node_step(w, n, &ev);
}

static void tell_gone(struct world *w, struct sim_node *n, uint32_t at)
{
        struct sim_worker *k = &n->workers[at];
        uint32_t life = n->life;
        if (!planted(PLANT_VERDICT_LOST)) {
                tell_verdicts(w, n, at);
        }
        if (n->life != life) {
                return;
        }
        const struct worker_slot *s = &k->ring[k->next % ENGINE_RING];
        struct engine_event ev = {.kind = EV_WORKER_GONE};
        ev.gone.worker = at;
        ev.gone.how = k->how;
        ev.gone.running = k->died_running;
        ev.gone.position = k->next;
        ev.gone.n_running = k->died_running ? k->batch : 0;
        ev.gone.started_wall_us = k->died_running ? s->verdict.started_wall_us : 0;
        ev.gone.pid = (int32_t)(1000 + at);
        ev.gone.text = k->how == ERROR_NONE ? (struct str){0} : STR("signal");
        worker_clear(w, n, at);
        TRACE(w, "n%u w%u gone", n->index, at);
        node_step(w, n, &ev);
}

static void come_up(struct world *w, struct sim_node *n, uint32_t at)
{
        struct sim_worker *k = &n->workers[at];
        if (k->state != SIM_STARTING) {
                return;
        }
        if (w->chaos && w->swarm.spawn_fail && rng_chance(&w->rng_work, w->swarm.spawn_fail)) {
                worker_die(w, n, at, ERROR_CRASHED);
                return;
        }
        k->state = SIM_UP;
        struct engine_event ev = {.kind = EV_WORKER_UP};
        ev.up.worker = at;
        ev.up.generation = k->roster->generation;
        TRACE(w, "n%u w%u up", n->index, at);
        node_step(w, n, &ev);
}

void worker_seen_all(struct world *w, struct sim_node *n)
{
        uint32_t life = n->life;
        for (uint32_t i = 0; i < SIM_WORKERS && n->life == life; i++) {
                const struct sim_worker *k = &n->workers[i];
                if (k->state != SIM_UP || k->told == k->tail) {
                        continue;
                }
                struct engine_event ev = {.kind = EV_SEEN};
                ev.seen.worker = i;
                ev.seen.position = k->next;
                ev.seen.running = k->running;
                const struct worker_slot *s = slot_of((struct sim_worker *)k, k->next);
                ev.seen.since_ns = k->running ? s->since_ns + n->mono_offset_ns : 0;
                ev.seen.life_ns = k->running ? s->life_ns + n->mono_offset_ns : 0;
                node_step(w, n, &ev);
        }
}

void worker_clear(struct world *w, struct sim_node *n, uint32_t at)
{
        struct sim_worker *k = &n->workers[at];
        if (k->state == SIM_ABSENT) {
                return;
        }
        for (uint32_t i = 0; k->running && i < k->batch; i++) {
                const struct worker_slot *s = slot_of(k, k->next + i);
                audit_ended(&w->audit, &s->id, s->run, AUDIT_KILLED, w->now_ns);
        }
        for (uint32_t p = k->told; p != k->tail; p++) {
                submission_free(k->ring[p % ENGINE_RING].verdict.children);
        }
        uint32_t life = k->life;
        roster_unref(k->roster);
        memset(k, 0, sizeof *k);
        k->life = life;
}

/* --- checkpoints, signs of life ----------------------------------------------------------- */

static bool runs_at(const struct sim_worker *k, uint32_t position)
{
        return k->state == SIM_UP && k->running && k->next == position;
}

static void send_checkpoint(struct world *w, struct sim_node *n, uint32_t at, uint32_t position)
{
        struct sim_worker *k = &n->workers[at];
        struct worker_slot *s = slot_of(k, position);
        if (!runs_at(k, position)) {
                return;
        }
        char text[24];
        struct engine_event ev = {.kind = EV_SAVE};
        s->saving = ++life_of(w, &s->id)->sent;
        s->life_ns = w->now_ns;
        snprintf(text, sizeof text, "%u", s->saving);
        ev.save.worker = at;
        ev.save.position = position;
        ev.save.bytes = str_of(text);
        TRACE(w, "n%u w%u saves @%u number %u", n->index, at, position, s->saving);
        node_step(w, n, &ev);
}

void worker_saved(struct world *w, struct sim_node *n, const struct engine_action *a)
{
        struct sim_worker *k = &n->workers[a->worker];
        struct worker_slot *s = slot_of(k, a->position);
        TRACE(w, "n%u w%u saved @%u %d", n->index, a->worker, a->position, a->ok);
        if (!runs_at(k, a->position) || !s->saving) {
                return;
        }
        struct sim_life *x = life_of(w, &s->id);
        x->saved = a->ok && s->saving > x->saved ? s->saving : x->saved;
        s->saving = 0;
        worker_end(w, n, a->worker, s->end, s->rest_ns);
}

static void tell_alive(struct world *w, struct sim_node *n, uint32_t at, uint32_t position)
{
        struct sim_worker *k = &n->workers[at];
        if (!runs_at(k, position)) {
                return;
        }
        struct engine_event ev = {.kind = EV_PROGRESS};
        slot_of(k, position)->life_ns = w->now_ns;
        ev.progress.worker = at;
        ev.progress.position = position;
        ev.progress.done = (double)rng_between(&w->rng_life, 0, 100);
        ev.progress.total = 100;
        worker_at(w, n, at, rng_between(&w->rng_life, MS(50), MS(600)), WE_ALIVE)->position =
            position;
        node_step(w, n, &ev);
}

static bool is_internal(enum world_event_kind kind)
{
        return kind == WE_FIRST || kind == WE_END;
}

void worker_event(struct world *w, struct sim_node *n, const struct world_event *ev)
{
        struct sim_worker *k = &n->workers[ev->worker];
        if (ev->worker_life != k->life) {
                return;
        }
        if (n->state == NODE_PAUSED && !is_internal(ev->kind)) {
                struct world_event *again =
                    worker_at(w, n, ev->worker, n->paused_until_ns - w->now_ns + 1000, ev->kind);
                again->position = ev->position;
                return;
        }
        switch (ev->kind) {
        case WE_UP: come_up(w, n, ev->worker); break;
        case WE_FIRST: worker_look(w, n, ev->worker); break;
        case WE_END:
                if (k->state == SIM_UP && k->running && k->next == ev->position) {
                        k->ring[k->next % ENGINE_RING].crashes = ev->value == AUDIT_CRASHED;
                        end_run(w, n, ev->worker, (enum audit_end)ev->value);
                }
                break;
        case WE_TELL:
                if (k->state == SIM_UP) {
                        tell_verdicts(w, n, ev->worker);
                }
                break;
        case WE_SAVE: send_checkpoint(w, n, ev->worker, ev->position); break;
        case WE_ALIVE: tell_alive(w, n, ev->worker, ev->position); break;
        case WE_REAP: tell_gone(w, n, ev->worker); break;
        default: break;
        }
}
