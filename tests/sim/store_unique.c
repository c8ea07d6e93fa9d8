/*
 * Keys that outlive the moment: unique keys with their holders, and the keys of rows that are
 * gone. A unique key's entry says who took it last; whether it blocks is decided from that job's
 * present state, so that no edge of a job has to touch it.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

struct store_unique *store_unique_of(const struct store *s, const struct unique_key *u)
{
        struct store_unique *x = NULL;
        if (u->set) {
                HASH_FIND(hh, s->uniques, u->hash, sizeof u->hash, x);
        }
        return x;
}

bool store_unique_blocks(const struct store *s, const struct store_unique *x)
{
        const struct store_job *holder = store_find(s, &x->holder);
        uint8_t states = x->states;
        if (planted(PLANT_UNIQUE_BLIND)) {
                return false;
        }
        if (planted(PLANT_UNIQUE_FREED)) {
                states &= (uint8_t) ~(1u << STATE_RETRYING);
        }
        return x->until_us > s->now_us ||
               (holder && !holder->doomed && states >> holder->row.state & 1);
}

static void put(struct store *s, const uint8_t hash[16], const struct store_unique *from)
{
        struct store_unique *x;
        HASH_FIND(hh, s->uniques, hash, sizeof x->hash, x);
        if (!x) {
                x = calloc(1, sizeof *x);
                assert(x);
                memcpy(x->hash, hash, sizeof x->hash);
                HASH_ADD(hh, s->uniques, hash, sizeof x->hash, x);
        }
        x->holder = from->holder;
        x->states = from->states;
        x->until_us = from->until_us;
}

void store_unique_take(struct store *s, const struct submit_row *r)
{
        bool ends = r->state == STATE_DEAD || r->state == STATE_CANCELLED;
        if (r->unique.set && !ends) {
                struct store_unique mine = {
                    .holder = r->id,
                    .states = r->unique.states,
                    .until_us = r->unique.for_us ? s->now_us + r->unique.for_us : 0,
                };
                put(s, r->unique.hash, &mine);
        }
}

/* As it was before: `old`, or not there. */
void store_unique_put(struct store *s, const struct unique_key *u, const struct store_unique *old)
{
        struct store_unique *x = store_unique_of(s, u);
        if (x && old) {
                put(s, u->hash, old);
        } else if (x) {
                HASH_DELETE(hh, s->uniques, x);
                free(x);
        }
}

/* --- the holder gets another's payload and time ------------------------------------------- */

bool store_replaceable(const struct store_job *holder)
{
        return holder && !holder->doomed &&
               (holder->row.state == STATE_SCHEDULED || holder->row.state == STATE_PENDING ||
                holder->row.state == STATE_RETRYING);
}

/* A job that waits for its retry stays one that does, until it is its time. */
static struct store_move new_time(const struct store *s, const struct store_job *holder,
                                  const struct submit_row *by)
{
        struct store_move m = {
            .to = holder->row.state,
            .reason = holder->row.reason,
            .band = holder->row.band,
            .due_us = by->after_us ? s->now_us + by->after_us : by->at_us,
            .attempt = holder->row.attempt,
        };
        if (by->state == STATE_SCHEDULED && holder->row.state != STATE_RETRYING) {
                m.to = STATE_SCHEDULED;
                m.reason = REASON_REPLACED;
        } else if (by->state != STATE_SCHEDULED && holder->row.state != STATE_PENDING) {
                m.to = STATE_PENDING;
                m.reason = REASON_NONE;
                m.band = BAND_OFFERED;
        }
        return m;
}

/* Its key stands for what it came with, whatever it was given since. */
bool store_came_with(const struct store_job *j, struct str payload)
{
        uint8_t hash[16];
        hash16(payload, hash);
        return j->replaced ? memcmp(hash, j->came_with, sizeof hash) == 0
                           : str_eq(j->row.payload, payload);
}

void store_replace(struct store *s, struct store_job *holder, const struct submit_row *by)
{
        if (!holder->replaced) {
                hash16(holder->row.payload, holder->came_with);
                holder->replaced = true;
        }
        store_put(&holder->row.payload, by->payload);
        store_put(&holder->row.headers, by->headers);
        store_put(&holder->row.content_type, by->content_type);
        struct store_move m = new_time(s, holder, by);
        store_set_state(s, holder, &m);
        if (s->on_replaced) {
                s->on_replaced(s->watcher, holder);
        }
}

/* --- rows that are gone ------------------------------------------------------------------- */

struct store_gone *store_gone_of(const struct store *s, const struct store_key *key)
{
        struct store_gone *g;
        HASH_FIND(hh, s->gone, key, sizeof *key, g);
        return g && g->until_us > s->now_us ? g : NULL;
}

bool store_gone_same(const struct store_gone *g, struct str payload)
{
        uint8_t hash[16];
        hash16(payload, hash);
        return g->bare || memcmp(hash, g->payload, sizeof hash) == 0;
}

static void remember(struct store *s, const struct store_job *j)
{
        struct store_gone *g;
        HASH_FIND(hh, s->gone, &j->key, sizeof j->key, g);
        if (!g) {
                g = calloc(1, sizeof *g);
                assert(g);
                g->key = j->key;
                HASH_ADD(hh, s->gone, key, sizeof g->key, g);
        }
        g->id = j->row.id;
        hash16(j->row.payload, g->payload);
        if (j->replaced) {
                memcpy(g->payload, j->came_with, sizeof g->payload);
        }
        g->bare = j->row.reason == REASON_UNSTORABLE;
        g->until_us = j->row.created_us + KEY_LIFE_US;
}

/* A claim that is not retired yet has one job less. */
static void leave_claims(struct store *s, const struct store_job *j)
{
        struct store_commit *c, *next;
        HASH_ITER (hh, s->commits, c, next) {
                for (uint32_t i = 0; i < c->n; i++) {
                        if (c->jobs[i] == j) {
                                c->jobs[i--] = c->jobs[--c->n];
                        }
                }
        }
}

void store_forget_job(struct store *s, struct store_job *j)
{
        bool young = j->row.created_us + KEY_LIFE_US > s->now_us;
        if (s->on_gone) {
                s->on_gone(s->watcher, j);
        }
        if (j->keyed && young && !planted(PLANT_GONE_FORGOTTEN)) {
                remember(s, j);
        }
        leave_claims(s, j);
        store_delete(s, j);
}

void store_unique_deinit(struct store *s)
{
        struct store_unique *x, *next_unique;
        HASH_ITER (hh, s->uniques, x, next_unique) {
                HASH_DELETE(hh, s->uniques, x);
                free(x);
        }
        struct store_gone *g, *next_gone;
        HASH_ITER (hh, s->gone, g, next_gone) {
                HASH_DELETE(hh, s->gone, g);
                free(g);
        }
}
