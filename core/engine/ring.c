/*
 * Doorbells go out: from memory as soon as their jobs are committed, else from the outbox, which
 * any node reads for rows that nobody confirmed within five seconds. A row goes once the broker has
 * confirmed all of its doorbells. Ringing twice costs a dropped doorbell; nothing waits for it.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

#define RELAY_EVERY (5 * NS_PER_S)
#define RELAY_OLDER (5 * US_PER_S)
#define RELAY_LIMIT 50
#define RUNG_MAX    1000
#define RETRY_AFTER (500 * NS_PER_MS)

bool ring_bells(struct engine *e, uint32_t queue, const struct doorbell *bells, uint32_t n,
                int64_t outbox)
{
        struct doorbells *d = doorbells_new(n);
        struct engine_action *a = d ? engine_act(e, ACT_RING) : NULL;
        if (!a) {
                doorbells_free(d);
                return false;
        }
        memcpy(d->items, bells, n * sizeof *bells);
        d->n = n;
        d->queue = queue;
        d->outbox = outbox;
        a->queue = queue;
        a->bells = d;
        return true;
}

/* What cannot be rung now stays in the outbox. */
void ring_outbox(struct engine *e, const struct outbox_row *rows, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                int at = queue_find(e, rows[i].queue);
                if (at >= 0 && queue_up(e, &e->queues[at])) {
                        ring_bells(e, (uint32_t)at, rows[i].bells, rows[i].n, rows[i].no);
                }
        }
}

bool number_add(struct number_list *l, int64_t number)
{
        if (l->n == l->capacity) {
                uint32_t capacity = l->capacity ? l->capacity * 2 : 64;
                int64_t *grown = realloc(l->items, capacity * sizeof *grown);
                if (!grown) {
                        return false;
                }
                l->items = grown;
                l->capacity = capacity;
        }
        l->items[l->n++] = number;
        return true;
}

void ring_answered(struct engine *e, struct doorbells *list)
{
        while (list) {
                struct doorbells *d = list;
                list = d->next;
                if (d->outbox && (d->confirmed || PLANT(outbox_unconfirmed))) {
                        number_add(&e->rung, d->outbox); /* no memory: it is rung once more */
                }
                doorbells_free(d);
        }
}

/* --- the ledger's side ------------------------------------------------------------------------ */

/* Takes up to RUNG_MAX numbers off the list's end. NULL: no memory, the list is as it was. */
static int64_t *take_numbers(struct number_list *l, struct arena *a, uint32_t *ret_n)
{
        uint32_t n = l->n < RUNG_MAX ? l->n : RUNG_MAX;
        int64_t *taken = arena_alloc(a, (n ? n : 1) * sizeof *taken);
        *ret_n = taken ? n : 0;
        if (taken && n) {
                l->n -= n;
                memcpy(taken, l->items + l->n, n * sizeof *taken);
        }
        return taken;
}

static void post_rung(struct engine *e)
{
        struct ledger_batch *batch = ledger_batch_new(LEDGER_RUNG);
        struct ledger_rung *b = batch ? LEDGER_AS(rung, RUNG, batch) : NULL;
        e->rung_ns = e->now.mono_ns + RETRY_AFTER; /* should there be no memory */
        if (!b) {
                return;
        }
        b->rows = take_numbers(&e->rung, &batch->arena, &b->n);
        b->replies = take_numbers(&e->replied, &batch->arena, &b->n_replies);
        if (b->n + b->n_replies == 0) {
                ledger_batch_free(batch);
                return;
        }
        e->ringing = post_batch(e, batch);
}

static void post_relay(struct engine *e)
{
        struct ledger_batch *batch = ledger_batch_new(LEDGER_RELAY);
        e->relay_ns = e->now.mono_ns + RELAY_EVERY;
        if (!batch) {
                return;
        }
        struct ledger_relay *b = LEDGER_AS(relay, RELAY, batch);
        b->older_us = RELAY_OLDER;
        b->owed_only = e->n_transports == 0;
        b->limit = RELAY_LIMIT;
        e->relaying = post_batch(e, batch);
}

static bool any_up(const struct engine *e)
{
        for (uint32_t i = 0; i < e->n_transports; i++) {
                if (e->transports[i].up) {
                        return true;
                }
        }
        return false;
}

static bool rung_wanted(const struct engine *e)
{
        return (e->rung.n || e->replied.n) && !e->ringing;
}

/* A node without any transport looks for owed replies alone: those of its queues go nowhere. */
static bool relay_wanted(const struct engine *e)
{
        return !e->relaying && !e->draining && (any_up(e) || e->n_transports == 0);
}

void ring_pump(struct engine *e)
{
        if (!e->registered || e->leaving) {
                return;
        }
        if (rung_wanted(e) && e->now.mono_ns >= e->rung_ns) {
                post_rung(e);
        }
        if (relay_wanted(e) && e->now.mono_ns >= e->relay_ns) {
                post_relay(e);
        }
}

int64_t ring_wake_ns(const struct engine *e)
{
        if (!e->registered || e->leaving) {
                return NEVER;
        }
        return engine_min(rung_wanted(e) ? e->rung_ns : NEVER,
                          relay_wanted(e) ? e->relay_ns : NEVER);
}

static void rung_answered(struct engine *e, struct ledger_rung *b)
{
        e->ringing = false;
        e->rung_ns = b->base.outcome == LEDGER_COMMITTED ? 0 : e->now.mono_ns + RETRY_AFTER;
        if (b->base.outcome == LEDGER_COMMITTED) {
                return;
        }
        for (uint32_t i = 0; i < b->n; i++) {
                number_add(&e->rung, b->rows[i]);
        }
        for (uint32_t i = 0; i < b->n_replies; i++) {
                number_add(&e->replied, b->replies[i]);
        }
}

static void relay_answered(struct engine *e, struct ledger_relay *b)
{
        e->relaying = false;
        if (b->base.outcome != LEDGER_COMMITTED) {
                e->relay_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        ring_outbox(e, b->rows, b->n);
        reply_relayed(e, b);
        if (b->n == RELAY_LIMIT || b->n_replies == RELAY_LIMIT) {
                e->relay_ns = e->now.mono_ns;
        }
}

void ring_ledger_answered(struct engine *e, struct ledger_batch *b)
{
        if (b->op == LEDGER_RUNG) {
                rung_answered(e, LEDGER_AS(rung, RUNG, b));
        } else {
                relay_answered(e, LEDGER_AS(relay, RELAY, b));
        }
        ledger_batch_free(b);
}
