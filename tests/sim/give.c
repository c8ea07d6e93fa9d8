/*
 * Jobs go to workers, come back, and are asked to stop: the plug-in host's part of the engine's
 * actions, and the checks that belong to the moment of giving.
 */
#include "tests/sim/life.h"

#include "tests/sim/plant.h"

static bool is_held(const struct sim_node *n, const struct job *j)
{
        for (uint32_t i = 0; i < SIM_WORKERS; i++) {
                const struct sim_worker *k = &n->workers[i];
                for (uint32_t p = k->told; p != k->tail; p++) {
                        const struct worker_slot *s = &k->ring[p % ENGINE_RING];
                        if (job_id_eq(&s->id, &j->id) && s->claim == j->claim) {
                                return true;
                        }
                }
        }
        return false;
}

static void check_give(struct world *w, const struct sim_node *n, const struct sim_worker *k,
                       const struct job *j)
{
        char id[JOB_ID_TEXT];
        id_text(&j->id, id);
        if (is_held(n, j)) {
                world_violate(w, "I4 job %s: claim %u is given to two workers", id, j->claim);
        }
        if (k->tail - k->told >= ENGINE_RING) {
                world_violate(w, "ring: more than %d jobs given to a worker", ENGINE_RING);
        }
        if (roster_find(k->roster, j->type) < 0) {
                world_violate(w, "roster: job %s was given to a worker without its handler", id);
        }
        const struct store_job *row = store_find(&w->server.store, &j->id);
        bool current = row && row->row.state == STATE_RUNNING && row->row.claim == j->claim &&
                       row->token == j->token;
        if (!current && !store_fenced(&w->server.store, n->holder)) {
                world_violate(w, "I2 job %s: claim %u is given, the ledger says %s claim %u", id,
                              j->claim, row ? state_name(row->row.state) : "nothing",
                              row ? row->row.claim : 0);
        }
}

static bool is_poison(struct str type)
{
        return str_eq(type, STR("poison.pill"));
}

void carry_give(struct world *w, struct sim_node *n, const struct engine_action *a)
{
        struct sim_worker *k = &n->workers[a->worker];
        TRACE(w, "n%u w%u give @%u +%u", n->index, a->worker, a->position, a->n);
        if (a->worker >= SIM_WORKERS || (k->state != SIM_UP && k->state != SIM_DYING) ||
            k->retiring) {
                world_violate(w, "give: node %u gives to worker %u, which does not take jobs",
                              n->index, a->worker);
                return;
        }
        if (a->position != k->tail) {
                world_violate(w, "give: node %u gives at position %u of worker %u, not at %u",
                              n->index, a->position, a->worker, k->tail);
                return;
        }
        for (uint32_t i = 0; i < a->n; i++) {
                const struct job *j = a->jobs[i];
                check_give(w, n, k, j);
                life_given(w, n, j);
                k->ring[k->tail % ENGINE_RING] = (struct worker_slot){
                    .id = j->id,
                    .claim = j->claim,
                    .generation = j->generation,
                    .token = j->token,
                    .attempt = j->attempt,
                    .payload = hash_bytes(j->payload.p, j->payload.n),
                    .poison = is_poison(j->type),
                    .group = a->group,
                    .group_n = a->group_n,
                    .handler = roster_find(k->roster, j->type),
                    .timeout_ms = j->timeout_ms,
                    .heartbeat_ms = j->heartbeat_ms,
                };
                k->tail++;
        }
        worker_at(w, n, a->worker, rng_between(&w->rng_work, 5, 300) * 1000, WE_FIRST);
}

/* Takes back from the newest down to `position`, or to what has started. */
void carry_recall(struct world *w, struct sim_node *n, const struct engine_action *a)
{
        struct sim_worker *k = &n->workers[a->worker];
        bool ran = k->running || (k->state == SIM_DYING && k->died_running);
        uint32_t from = k->next + (ran ? k->batch : 0);
        if (planted(PLANT_RECALL_STARTED) && k->running) {
                from = k->next;
        }
        if ((int32_t)(a->position - from) > 0) {
                from = a->position;
        }
        if ((int32_t)(k->tail - from) < 0) {
                from = k->tail;
        }
        TRACE(w, "n%u w%u recall @%u: from @%u", n->index, a->worker, a->position, from);
        w->seen.recalls += k->tail - from;
        if (!planted(PLANT_RECALL_STARTED) || from > k->next) {
                k->tail = from;
        }
        engine_recalled(n->engine, a->worker, from);
}

void carry_ask(struct world *w, struct sim_node *n, const struct engine_action *a)
{
        struct sim_worker *k = &n->workers[a->worker];
        bool here = k->state == SIM_UP && k->running && a->position - k->next < k->batch;
        TRACE(w, "n%u w%u ask @%u why %d%s", n->index, a->worker, a->position, a->why,
              here ? "" : " (not running)");
        w->seen.asked += here;
        if (here) {
                struct worker_slot *s = &k->ring[a->position % ENGINE_RING];
                s->asked = true;
                audit_asked(&w->audit, &s->id, s->run, w->now_ns);
                life_asked(w, n, s, a->why);
        }
        if (!here || k->ring[k->next % ENGINE_RING].poison ||
            (w->swarm.deaf && rng_chance(&w->rng_work, w->swarm.deaf))) {
                return;
        }
        bool done = rng_chance(&w->rng_work, 200);
        worker_end(w, n, a->worker, done ? AUDIT_DONE : AUDIT_CANCELLED,
                   rng_between(&w->rng_work, 10, 100000) * 1000);
}
