/*
 * Letters from outside: messages that producers publish to the broker, and letters that SQL
 * producers leave in the inbox.
 *
 * A letter's number names its content: built from it alone, so that saying it again is the same
 * bytes. It travels as a header, which the row keeps.
 */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/letters.h"
#include "tests/sim/life.h"
#include "tests/sim/sim_transport.h"

/* --- the list ----------------------------------------------------------------------------- */

struct letter *letter_at(const struct world *w, uint32_t number)
{
        assert(number > 0 && number <= w->n_letters);
        return &w->letters[number - 1];
}

static uint32_t new_letter(struct world *w, const struct letter *l)
{
        if (w->n_letters == w->letters_capacity) {
                w->letters_capacity = w->letters_capacity ? w->letters_capacity * 2 : 64;
                w->letters = realloc(w->letters, w->letters_capacity * sizeof *w->letters);
                assert(w->letters);
        }
        w->letters[w->n_letters++] = *l;
        return w->n_letters;
}

/* --- building: from the number alone ------------------------------------------------------ */

static struct str type_of(struct world *w, struct rng *g)
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

struct str letter_body(struct arena *a, uint32_t number, const struct letter *l)
{
        if (l->kind == LETTER_TOO_LARGE) {
                char *p = arena_zalloc(a, SIM_PAYLOAD_MAX + 1);
                assert(p);
                return (struct str){p, SIM_PAYLOAD_MAX + 1};
        }
        return arena_printf(a, "letter %u", number);
}

static void add_header(struct envelope *e, struct str name, struct str value)
{
        struct envelope_header *h = (struct envelope_header *)e->headers;
        h[e->n_headers++] = (struct envelope_header){name, value};
}

static void dress(struct envelope *e, struct arena *a, struct rng *g, const struct letter *l)
{
        if (l->key) {
                struct str key = arena_printf(a, "letter-key-%u", l->key);
                if (rng_chance(g, 500)) {
                        e->message_id = key;
                } else {
                        add_header(e, STR("Job-Id"), key);
                }
        }
        if (l->kind == LETTER_MALFORMED) {
                add_header(e, STR("job-priority"), STR("eleven"));
        } else if (rng_chance(g, 200)) {
                e->priority = (int)rng_between(g, 0, 12);
        }
        if (l->kind == LETTER_DELAYED) {
                add_header(e, STR("job-delay"),
                           arena_printf(a, "%lldms", (long long)rng_between(g, 1, 4000)));
        }
        if (l->kind == LETTER_EXPIRING) {
                e->expiration = arena_printf(a, "%lld", (long long)rng_between(g, 1, 1500));
        }
}

static struct envelope build(struct world *w, uint32_t number, struct arena *a)
{
        const struct letter *l = letter_at(w, number);
        struct rng g = rng_seeded(w->seed, UINT64_C(1) << 42 | number);
        struct envelope e = {.address = l->queue, .priority = -1};
        e.headers = arena_zalloc(a, 8 * sizeof *e.headers);
        assert(e.headers);
        add_header(&e, STR(NUMBER_HEADER), arena_printf(a, "%u", number));
        struct str type = type_of(w, &g);
        if (rng_chance(&g, 500)) {
                e.type = type;
        } else {
                add_header(&e, STR("job-type"), type);
        }
        dress(&e, a, &g, l);
        life_dress_letter(w, number, a, &e);
        e.body = letter_body(a, number, l);
        e.body_size = e.body.n;
        return e;
}

/* --- publishing --------------------------------------------------------------------------- */

static void publish(struct world *w, uint32_t number)
{
        struct letter *l = letter_at(w, number);
        struct arena a = {0};
        struct envelope e = build(w, number, &a);
        struct sim_queue *q = sim_broker_queue(&w->broker, l->queue, false);
        bool takes = !w->broker.down && !w->broker.blocked;
        if (takes && l->kind == LETTER_UNROUTED) {
                e.address = STR("nobody.knows");
                sim_broker_route(&w->broker, &e, number);
                l->published++;
        } else if (takes && sim_broker_publish(&w->broker, q, &e, number)) {
                l->published++;
        }
        TRACE(w, "producer letter %u kind %d key %u: published %u", number, l->kind, l->key,
              l->published);
        arena_deinit(&a);
}

/* A job that waits for its doorbell in another queue than this. */
static bool find_waiting(const struct world *w, struct str other, struct job_id *ret_id)
{
        int64_t first, last;
        lane_range(BAND_BROKER, &first, &last);
        for (const struct store_queue *q = w->server.store.queues; q; q = q->next) {
                uint32_t i = store_index_from(&q->lanes, first);
                bool some = i < q->lanes.n && q->lanes.list[i].at <= last;
                if (some && !str_eq(q->name, other)) {
                        *ret_id = q->lanes.list[i].job->row.id;
                        return true;
                }
        }
        return false;
}

/* Doorbells are ours; a stranger's must do no harm: for no job, for one that is done, or for one of
 * another queue. */
static void ring_as_stranger(struct world *w)
{
        const struct queue_config *c =
            &w->config.queues[rng_between(&w->rng_env, 0, w->swarm.queues - 1)];
        struct job_id id = id_mint(&w->mint, world_wall_us(w));
        if (!find_waiting(w, c->name, &id) && w->n_known && rng_chance(&w->rng_env, 700)) {
                id = w->known[rng_between(&w->rng_env, 0, w->n_known - 1)];
        }
        char text[JOB_ID_TEXT];
        id_text(&id, text);
        struct envelope_header headers[] = {{STR(BELL_HEADER), str_of(text)},
                                            {STR(BELL_SEQ_HEADER), STR("1")}};
        struct envelope e = {
            .address = c->name, .headers = headers, .n_headers = 2, .priority = -1};
        sim_broker_publish(&w->broker, sim_broker_queue(&w->broker, c->name, false), &e, 0);
}

static enum letter_kind draw_kind(struct world *w)
{
        static const enum letter_kind odd[] = {LETTER_MALFORMED, LETTER_TOO_LARGE, LETTER_EXPIRING,
                                               LETTER_DELAYED,   LETTER_UNROUTED,  LETTER_BELL};
        if (w->swarm.letter_odd && rng_chance(&w->rng_env, w->swarm.letter_odd)) {
                return odd[rng_between(&w->rng_env, 0, ARRAY_LEN(odd) - 1)];
        }
        bool keyed = w->swarm.letter_keyed && rng_chance(&w->rng_env, w->swarm.letter_keyed);
        return keyed ? LETTER_KEYED : LETTER_PLAIN;
}

/* A key that was used before, with another content; it stays in its queue. */
static void draw_key(struct world *w, struct letter *l)
{
        l->key = w->n_letters + 1;
        const struct letter *old = w->n_letters && rng_chance(&w->rng_env, 200)
                                       ? &w->letters[rng_between(&w->rng_env, 0, w->n_letters - 1)]
                                       : NULL;
        if (old && old->kind == LETTER_KEYED && old->inbox == l->inbox) {
                l->key = old->key;
                l->queue = old->queue;
        }
}

static void leave_in_inbox(struct world *w, uint32_t number)
{
        struct arena a = {0};
        struct letter *l = letter_at(w, number);
        struct rng g = rng_seeded(w->seed, UINT64_C(1) << 43 | number);
        char name[] = NUMBER_HEADER "\0"; /* name NUL value NUL */
        struct str value = arena_printf(&a, "%u", number);
        char *headers = arena_alloc(&a, sizeof name + value.n);
        assert(headers);
        memcpy(headers, name, sizeof name - 1);
        memcpy(headers + sizeof name - 1, value.p, value.n + 1);
        struct inbox_letter in = {
            .queue = l->queue,
            .type = type_of(w, &g),
            .headers = {headers, (uint32_t)sizeof name - 1 + value.n + 1},
            .payload = letter_body(&a, number, l),
            .priority = -1,
            .at_us =
                l->kind == LETTER_DELAYED ? world_wall_us(w) + rng_between(&g, 1, 3000) * 1000 : 0,
        };
        if (l->key) {
                in.key = arena_printf(&a, "letter-key-%u", l->key);
        } else if (l->kind == LETTER_MALFORMED) {
                in.key = arena_printf(&a, "%0*u", KEY_TEXT_MAX + 1, number);
        } else if (l->kind == LETTER_UNROUTED) { /* by its type, if any queue takes that */
                in.queue = rng_chance(&g, 500) ? SIM_NOWHERE : (struct str){0};
        }
        store_letter_add(&w->server.store, &in);
        l->published++;
        arena_deinit(&a);
}

static void draw_letter(struct world *w)
{
        struct letter l = {.kind = draw_kind(w)};
        l.queue = w->config.queues[rng_between(&w->rng_env, 0, w->swarm.queues - 1)].name;
        l.inbox = w->swarm.inbox && (!w->swarm.broker || rng_chance(&w->rng_env, 300));
        if (l.inbox && (l.kind == LETTER_EXPIRING || l.kind == LETTER_BELL)) {
                l.kind = LETTER_PLAIN;
        }
        if (l.kind == LETTER_BELL) {
                ring_as_stranger(w);
                return;
        }
        bool keyed = l.kind == LETTER_KEYED;
        if (keyed) {
                draw_key(w, &l);
        }
        uint32_t number = new_letter(w, &l);
        if (l.inbox) {
                leave_in_inbox(w, number);
                return;
        }
        publish(w, number);
        /* a producer that was not sure says it again; equal letters without a key are two jobs */
        while ((keyed && rng_chance(&w->rng_env, 150)) ||
               (!keyed && w->swarm.twins && rng_chance(&w->rng_env, 500))) {
                publish(w, number);
        }
}

void letters_event(struct world *w)
{
        if (w->chaos) {
                draw_letter(w);
                world_at(w, rng_between(&w->rng_env, 0, 2 * w->swarm.letters_ns), WE_LETTER);
        }
}
