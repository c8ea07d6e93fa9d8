/*
 * Producers: single rows, arrays, atomic arrays, keys said again, whole requests said again, rows
 * for later. One that is not answered, or refused, says it again if it has a key; all of it is
 * written down for the auditor before it is sent.
 */
#include "tests/sim/life.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS_MAX  8
#define BURST_MAX 400

static struct request *new_request(struct world *w)
{
        if (w->n_requests == w->requests_capacity) {
                w->requests_capacity = w->requests_capacity ? w->requests_capacity * 2 : 64;
                w->requests = realloc(w->requests, w->requests_capacity * sizeof *w->requests);
                assert(w->requests);
        }
        struct request *r = calloc(1, sizeof *r);
        assert(r);
        r->number = w->n_requests;
        w->requests[w->n_requests++] = r;
        return r;
}

static void draw_request(struct world *w)
{
        struct rng *g = &w->rng_env;
        const struct swarm *s = &w->swarm;
        struct request *r = new_request(w);
        r->rows = 1;
        if (s->keyed && rng_chance(g, s->keyed)) {
                r->keyed = r->repeats = true;
                bool again = w->keys && rng_chance(g, 400);
                r->key = again ? (uint32_t)rng_between(g, 0, w->keys - 1) : w->keys++;
                r->other_payload = again && rng_chance(g, 200);
        } else if (s->array && rng_chance(g, s->array)) {
                bool burst = !w->swarm.speed && rng_chance(g, s->burst);
                r->rows = (uint32_t)rng_between(g, 2, burst ? BURST_MAX : ROWS_MAX);
                r->atomic = s->atomic && rng_chance(g, s->atomic);
                r->named = r->repeats = s->requested && rng_chance(g, s->requested);
        }
}

/* --- building: the same request always gives the same rows, but for their ids ------------- */

static struct str draw_type(struct world *w, struct rng *g)
{
        const struct swarm *s = &w->swarm;
        if (s->poison && rng_chance(g, s->poison)) {
                return STR("poison.pill");
        }
        if (s->late_type && rng_chance(g, s->late_type)) {
                return STR("late.type");
        }
        if (s->never_type && rng_chance(g, s->never_type)) {
                return STR("never.type");
        }
        return rng_chance(g, 500) ? STR("work.a") : STR("work.b");
}

static void draw_time(struct world *w, struct rng *g, struct submit_row *row)
{
        const struct swarm *s = &w->swarm;
        row->state = STATE_PENDING;
        row->band = BAND_OFFERED;
        if (s->scheduled && rng_chance(g, s->scheduled)) {
                int64_t after = rng_between(g, 1, 4000) * 1000;
                row->state = STATE_SCHEDULED;
                if (rng_chance(g, 500)) {
                        row->after_us = after;
                } else {
                        row->at_us = world_wall_us(w) + after;
                }
        } else if (s->deadline && rng_chance(g, s->deadline)) {
                row->deadline_us = world_wall_us(w) + rng_between(g, 10, 2000) * 1000;
        }
}

static void build_row(struct world *w, const struct request *r, uint32_t i, struct rng *g,
                      struct arena *a, struct submit_row *row)
{
        row->id = id_mint(&w->mint, world_wall_us(w));
        draw_time(w, g, row);
        row->priority = (uint8_t)(rng_chance(g, 800) ? PRIORITY_DEFAULT : rng_between(g, 0, 9));
        row->max_attempts = (uint16_t)rng_between(g, 1, 5);
        row->timeout_ms = rng_chance(g, 100) ? (uint32_t)rng_between(g, 50, 1000) : 0;
        struct rng k = rng_seeded(w->seed, UINT64_C(1) << 40 | r->key);
        struct rng *from = r->keyed ? &k : g;
        row->queue = w->config.queues[rng_between(from, 0, w->swarm.queues - 1)].name;
        row->type = draw_type(w, from);
        row->content_type = STR("text/plain");
        if (r->keyed) {
                row->key_text = arena_printf(a, "key-%u", r->key);
                row->key = key_from_text(row->key_text);
                row->payload = arena_printf(a, "key %u%s", r->key, r->other_payload ? "!" : "");
        } else {
                row->payload = arena_printf(a, "request %u row %u", r->number, i);
        }
        life_dress(w, r->keyed ? UINT64_C(1) << 32 | r->key : (uint64_t)r->number << 10 | i, a,
                   row);
}

static void intend(struct world *w, const struct submit_row *row, uint32_t group)
{
        int64_t due = row->at_us ? row->at_us : world_wall_us(w) + row->after_us;
        struct audit_intent intent = {
            .id = row->id,
            .group = group,
            .keyed = row->key.set,
            .queue = (uint32_t)hash_bytes(row->queue.p, row->queue.n),
            .payload = hash_bytes(row->payload.p, row->payload.n),
            .not_before_us = row->state == STATE_SCHEDULED && !w->swarm.clocks ? due : 0,
            .max_attempts = row->max_attempts,
            .poison = str_eq(row->type, STR("poison.pill")),
            .unique = row->unique.set,
        };
        memcpy(intent.key, row->key.b, sizeof intent.key);
        audit_intend(&w->audit, &intent);
}

static struct submission *build(struct world *w, const struct request *r)
{
        struct submission *s = submission_new();
        assert(s);
        s->n = r->rows;
        s->atomic = r->atomic;
        s->rows = arena_zalloc(&s->arena, r->rows * sizeof *s->rows);
        assert(s->rows);
        struct rng g = rng_seeded(w->seed, UINT64_C(1) << 41 | r->number);
        uint32_t group = r->atomic ? ++w->groups : 0;
        for (uint32_t i = 0; i < r->rows; i++) {
                build_row(w, r, i, &g, &s->arena, &s->rows[i]);
                intend(w, &s->rows[i], group);
        }
        if (r->named) {
                struct str name = arena_printf(&s->arena, "request-%u", r->number);
                s->request_key = key_from_text(name);
                hash16(name, s->request_hash);
        }
        return s;
}

/* --- sending, answers --------------------------------------------------------------------- */

static void send_request(struct world *w, struct request *r)
{
        struct sim_node *n = node_any(w);
        if (!n) {
                r->retry_ns = w->now_ns + MS(100);
                return;
        }
        struct submission *s = build(w, r);
        s->cookie = r;
        r->sent = s;
        r->state = REQUEST_SENT;
        r->node = n->index;
        TRACE(w, "producer request %u rows %u to n%u", r->number, r->rows, n->index);
        node_step(w, n, &(struct engine_event){.kind = EV_SUBMIT, .submissions = s});
}

void produce_event(struct world *w)
{
        if (w->chaos) {
                draw_request(w);
                world_at(w, rng_between(&w->rng_env, 0, 2 * w->swarm.produce_ns), WE_PRODUCE);
        } else if (!produce_done(w)) {
                world_at(w, MS(50), WE_PRODUCE);
        }
        for (uint32_t i = 0; i < w->n_requests; i++) {
                struct request *r = w->requests[i];
                if (r->state == REQUEST_OPEN && r->retry_ns <= w->now_ns) {
                        send_request(w, r);
                }
        }
}

/* One of each, and as it was said first. */
void produce_again(struct world *w)
{
        for (uint32_t i = 0; i < w->n_requests; i++) {
                struct request *r = w->requests[i];
                if (r->keyed && !r->other_payload) {
                        r->state = REQUEST_OPEN;
                        r->retry_ns = 0;
                }
        }
        w->again = true;
        world_at(w, MS(10), WE_PRODUCE);
}

void produce_remember(struct world *w, const struct job_id *id)
{
        if (w->n_known == w->known_capacity) {
                w->known_capacity = w->known_capacity ? w->known_capacity * 2 : 64;
                w->known = realloc(w->known, w->known_capacity * sizeof *w->known);
                assert(w->known);
        }
        w->known[w->n_known++] = *id;
}

static enum audit_answer word(const struct submission *s, const struct submit_row *row)
{
        if (s->refused || s->request_conflict) {
                return AUDIT_REFUSED;
        }
        switch (row->result) {
        case SUBMIT_CREATED: return AUDIT_CREATED;
        case SUBMIT_EXISTS: return AUDIT_EXISTS;
        case SUBMIT_CONFLICT: return AUDIT_CONFLICT;
        case SUBMIT_HELD: return AUDIT_HELD;
        case SUBMIT_REPLACED: return AUDIT_REPLACED;
        default: return AUDIT_REFUSED;
        }
}

void produce_answered(struct world *w, struct submission *s)
{
        struct request *r = s->cookie;
        r->state = s->refused && r->repeats ? REQUEST_OPEN : REQUEST_DONE;
        r->retry_ns = w->now_ns + MS(rng_between(&w->rng_env, 20, 400));
        TRACE(w, "producer request %u %s", r->number, s->refused ? s->note : "answered");
        for (uint32_t i = 0; i < s->n; i++) {
                const struct submit_row *row = &s->rows[i];
                enum audit_answer answer = word(s, row);
                audit_answer(&w->audit, &row->id, answer, &row->existing);
                if (answer == AUDIT_CREATED) {
                        produce_remember(w, &row->id);
                }
        }
        submission_free(s);
}

void produce_lost(struct world *w, uint32_t node)
{
        for (uint32_t i = 0; i < w->n_requests; i++) {
                struct request *r = w->requests[i];
                if (r->state == REQUEST_SENT && r->node == node) {
                        r->state = r->repeats ? REQUEST_OPEN : REQUEST_DONE;
                        r->retry_ns = w->now_ns + MS(50);
                        r->sent = NULL;
                }
        }
}

bool produce_done(const struct world *w)
{
        for (uint32_t i = 0; i < w->n_requests; i++) {
                if (w->requests[i]->state != REQUEST_DONE) {
                        return false;
                }
        }
        return true;
}

struct submission *produce_children(struct world *w, const struct worker_slot *slot)
{
        struct submission *s = submission_new();
        assert(s);
        s->n = (uint32_t)rng_between(&w->rng_work, 1, 2);
        s->rows = arena_zalloc(&s->arena, s->n * sizeof *s->rows);
        assert(s->rows);
        for (uint32_t i = 0; i < s->n; i++) {
                struct submit_row *row = &s->rows[i];
                row->id = id_mint(&w->mint, world_wall_us(w));
                row->state = STATE_PENDING;
                row->band = BAND_OFFERED;
                row->priority = PRIORITY_DEFAULT;
                row->max_attempts = 3;
                row->queue = w->config.queues[0].name;
                row->type = STR("work.a");
                row->payload = arena_printf(&s->arena, "child %u", w->payloads++);
                struct audit_intent intent = {
                    .id = row->id,
                    .payload = hash_bytes(row->payload.p, row->payload.n),
                    .max_attempts = 3,
                    .child = true,
                    .parent = slot->id,
                    .parent_claim = slot->claim,
                };
                audit_intend(&w->audit, &intent);
        }
        return s;
}
