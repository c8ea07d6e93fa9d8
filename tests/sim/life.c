/*
 * Wishes: what producers and operators of this world ask of the life of their jobs, drawn from
 * streams of their own, so that a world that asks for none of it is the same as ever.
 */
#include "tests/sim/life.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define UNIQUE_KEYS 7

struct sim_life *life_find(const struct world *w, const struct job_id *id)
{
        struct sim_life *x;
        HASH_FIND(hh, w->lives, id->b, sizeof id->b, x);
        return x;
}

struct sim_life *life_of(struct world *w, const struct job_id *id)
{
        struct sim_life *x = life_find(w, id);
        if (!x) {
                x = calloc(1, sizeof *x);
                assert(x);
                x->id = *id;
                HASH_ADD(hh, w->lives, id, sizeof x->id, x);
        }
        return x;
}

void life_deinit(struct world *w)
{
        struct sim_life *x, *next;
        HASH_ITER (hh, w->lives, x, next) {
                HASH_DELETE(hh, w->lives, x);
                free(x);
        }
        struct sim_holder *h, *next_holder;
        HASH_ITER (hh, w->holders, h, next_holder) {
                HASH_DELETE(hh, w->holders, h);
                free(h);
        }
        for (uint32_t i = 0; i < w->n_clockworks; i++) {
                free(w->clockworks[i].ticks);
        }
        free(w->clockworks);
        free(w->bulks);
}

/* --- configuration ------------------------------------------------------------------------ */

static const struct retry_policy policies[] = {
    {3, BACKOFF_LINEAR, 100, 1500, 0, .for_ms = 0},
    {4, BACKOFF_FIXED, 250, 2000, 500, .for_ms = 0},
    {5, BACKOFF_TABLE, 100, 2000, 100, .n_table = 3, .table_ms = {50, 300, 900}},
};

/* One that the configuration holds; the other configuration may not. */
static void configure_schedule(struct world *w, struct config *c, struct rng *r)
{
        struct sim_clockwork *x = calloc(1, sizeof *x);
        c->schedules = arena_zalloc(&c->arena, sizeof *c->schedules);
        assert(x && c->schedules);
        *x = (struct sim_clockwork){.name = "configured",
                                    .spec = "*/3 * * * * *",
                                    .step_s = 3,
                                    .aligned = true,
                                    .edits = 1,
                                    .catch_up = CATCH_LAST,
                                    .overlap = OVERLAP_SKIP};
        w->clockworks = x;
        w->n_clockworks = 1;
        c->schedules[0] = (struct schedule_config){
            .name = STR("configured"),
            .cron = STR("*/3 * * * * *"),
            .zone = rng_chance(r, 500) ? STR("Sim/Town") : (struct str){0},
            .type = STR("work.a"),
            .queue = c->queues[0].name,
            .payload = STR("as configured"),
            .catch_up = CATCH_LAST,
            .overlap = OVERLAP_SKIP,
            .priority = UINT32_MAX,
            .catch_max = 10,
        };
        c->n_schedules = 1;
}

/* Rows that others may keep out are inserted anew when a submission of unknown fate is repeated:
 * they must not be gone by then. */
bool life_outlives(const struct swarm *s)
{
        return s->unique || s->bounded;
}

void life_configure(struct world *w, struct config *c)
{
        const struct swarm *s = &w->swarm;
        struct rng r = rng_seeded(w->seed, UINT64_C(1) << 45);
        for (uint32_t i = 0; i < c->n_queues; i++) {
                struct queue_config *q = &c->queues[i];
                uint32_t global = (uint32_t)rng_between(&r, 1, 4);
                uint32_t most = (uint32_t)rng_between(&r, 3, 40);
                q->global = s->global >> i & 1 ? global : 0;
                w->global_most[i] = q->global;
                q->max_waiting = s->bounded >> i & 1 ? most : 0;
                q->when_full = rng_chance(&r, 500) ? FULL_REJECT : FULL_DROP_OLDEST;
                q->heartbeat_ms = s->heartbeat ? (uint32_t)rng_between(&r, 300, 900) : 0;
                if (s->policy && rng_chance(&r, 600)) {
                        q->retry = policies[rng_between(&r, 0, ARRAY_LEN(policies) - 1)];
                }
        }
        if (s->retry_by_type) {
                c->types = arena_zalloc(&c->arena, sizeof *c->types);
                assert(c->types);
                c->types[0] = (struct type_config){.pattern = STR("work.b"),
                                                   .retry = STR("fixed base=300ms jitter=0.1")};
                c->n_types = 1;
        }
        if (s->schedules && rng_chance(&r, 500)) {
                configure_schedule(w, c, &r);
        }
        if (s->prune) {
                int64_t least = life_outlives(s) ? 8000 : 100;
                c->retention = (struct retention){.completed_ms = rng_between(&r, least, 12000),
                                                  .dead_ms = rng_between(&r, least, 20000),
                                                  .cancelled_ms = rng_between(&r, least, 20000)};
        }
}

/* --- rows --------------------------------------------------------------------------------- */

/* Every wish with one key is the same but for what becomes of the loser. */
static struct unique_key unique_of(uint32_t number, bool replace)
{
        char text[32];
        snprintf(text, sizeof text, "unique-%u", number);
        struct unique_key u = {.set = true, .states = UNIQUE_STATES_DEFAULT, .replace = replace};
        if (number % 4 == 1) {
                u.states = 1u << STATE_SCHEDULED | 1u << STATE_PENDING;
        } else if (number % 4 == 2) {
                u.for_us = 2 * US_PER_S;
        } else if (number % 4 == 3) {
                u.states |= 1u << STATE_COMPLETED;
        }
        hash16(str_of(text), u.hash);
        return u;
}

struct str life_headers(struct arena *a, uint32_t number)
{
        char text[100] = "reply-to";
        uint32_t at = sizeof "reply-to";
        at += (uint32_t)snprintf(text + at, sizeof text - at, "client.%u", number) + 1;
        at += (uint32_t)snprintf(text + at, sizeof text - at, "correlation-id") + 1;
        at += (uint32_t)snprintf(text + at, sizeof text - at, "c%u", number) + 1;
        return arena_str(a, (struct str){text, at});
}

static void draw_policy(struct rng *g, struct arena *a, struct submit_row *row)
{
        static const struct {
                const char *text;
                uint16_t attempts;
                int64_t for_ms;
        } texts[] = {
            {"fixed base=200ms attempts=4", 4, 0},
            {"linear base=100ms cap=400ms jitter=0", 0, 0},
            {"table=50ms,300ms,900ms jitter=0.5 attempts=5", 5, 0},
            {"exponential base=80ms cap=600ms jitter=0.3 attempts=9 for=2s", 9, 2000},
            {"fixed base=2s attempts=5 for=1s", 5, 1000},
            {"attempts=2", 2, 0},
        };
        size_t i = (size_t)rng_between(g, 0, ARRAY_LEN(texts) - 1);
        row->policy = arena_str(a, str_of(texts[i].text));
        row->max_attempts = texts[i].attempts ? texts[i].attempts : row->max_attempts;
        row->retry_until_us = texts[i].for_ms; /* from its time on; see life_dress() */
}

/* A row that is drawn already; `stream` names its content. */
void life_dress(struct world *w, uint64_t stream, struct arena *a, struct submit_row *row)
{
        const struct swarm *s = &w->swarm;
        struct rng g = rng_seeded(w->seed, UINT64_C(1) << 46 ^ stream);
        bool batch = rng_chance(&g, s->batch), policy = rng_chance(&g, s->policy);
        bool unique = rng_chance(&g, s->unique), replies = rng_chance(&g, s->replies);
        if (batch) {
                row->type = STR("bulk.a");
        }
        if (policy) {
                draw_policy(&g, a, row);
        }
        if (row->retry_until_us) {
                int64_t from = row->at_us ? row->at_us : world_wall_us(w) + row->after_us;
                row->retry_until_us = from + row->retry_until_us * 1000;
        }
        if (unique) {
                row->unique =
                    unique_of((uint32_t)rng_between(&g, 0, UNIQUE_KEYS - 1), rng_chance(&g, 300));
        }
        if (replies) {
                row->headers = life_headers(a, (uint32_t)(stream & 0xffffff));
        }
}

/* A letter's wishes are headers. */
void life_dress_letter(struct world *w, uint32_t number, struct arena *a, struct envelope *e)
{
        const struct swarm *s = &w->swarm;
        struct rng g = rng_seeded(w->seed, UINT64_C(1) << 47 ^ number);
        struct envelope_header *h = (struct envelope_header *)e->headers;
        if (rng_chance(&g, s->replies)) {
                e->reply_to = arena_printf(a, "client.l%u", number);
                e->correlation_id = arena_printf(a, "l%u", number);
        }
        if (rng_chance(&g, s->unique)) {
                struct str key =
                    arena_printf(a, "letter-%u", (uint32_t)rng_between(&g, 0, UNIQUE_KEYS - 1));
                h[e->n_headers++] = (struct envelope_header){STR("job-unique-key"), key};
        }
        if (rng_chance(&g, s->policy)) {
                h[e->n_headers++] =
                    (struct envelope_header){STR("job-retry"), STR("fixed base=150ms jitter=0.2")};
        }
}
