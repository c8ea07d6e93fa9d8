/*
 * An engine with one queue, `default`: what operators set for it, and letters that come to it.
 */
#ifndef SKEP_TESTS_UNIT_ENGINE_QUEUES_H
#define SKEP_TESTS_UNIT_ENGINE_QUEUES_H

#include "tests/unit/engine-desk.h"

static const struct handler_desc noop = {.pattern = {"noop", 4}};

/* One queue that comes through a broker, `default`. */
static inline void brokered(struct config *c)
{
        c->queues[0].transport = STR("rabbit");
}

static inline void transport_up(struct desk *d)
{
        struct engine_event ev = {.kind = EV_TRANSPORT};
        ev.transport.change = CHANGE_UP;
        ev.transport.name = STR("rabbit");
        tell(d, ev);
}

static inline struct ledger_batch *next_beat(struct desk *d)
{
        struct ledger_batch *b = NULL;
        for (int i = 0; i < 30 && !b; i++) {
                pass_time(d, 100);
                b = take_posted(d, LEDGER_BEAT);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return b;
}

/* The next beat tells this control of `default`; NULL: none. */
static inline void beat(struct desk *d, const struct queue_control *control)
{
        struct ledger_batch *b = next_beat(d);
        struct ledger_beat *beat = LEDGER_AS(beat, BEAT, b);
        if (control) {
                beat->controls = arena_zalloc(&b->arena, sizeof *control);
                *beat->controls = *control;
                beat->n_controls = 1;
        }
        answer(d, b, LEDGER_COMMITTED);
}

static inline struct queue_control control(bool paused, int32_t concurrency, int32_t global)
{
        return (struct queue_control){STR("default"), paused, concurrency, global};
}

static inline struct queue_view look(const struct desk *d)
{
        struct queue_view v = {0};
        CU_ASSERT_EQUAL(engine_queue_views(d->engine, &v, 1), 1);
        return v;
}

static inline struct arrivals *letters(uint32_t n)
{
        struct arrivals *a = arrivals_new(n);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        a->n = n;
        a->connection = 1;
        for (uint32_t i = 0; i < n; i++) {
                a->items[i] = (struct arrival){
                    .kind = ARRIVAL_LETTER,
                    .row = {.type = STR("noop"), .state = STATE_PENDING, .priority = 5}};
        }
        return a;
}

static inline struct ledger_arrive *arrive(struct desk *d, uint32_t n)
{
        struct engine_event ev = {.kind = EV_ARRIVALS, .arrivals = letters(n)};
        tell(d, ev);
        struct ledger_batch *b = take_posted(d, LEDGER_ARRIVE);
        for (int i = 0; i < 10 && !b; i++) {
                pass_time(d, 10);
                b = take_posted(d, LEDGER_ARRIVE);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return LEDGER_AS(arrive, ARRIVE, b);
}

static inline uint32_t count_started(const struct ledger_arrive *b)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < b->list->n; i++) {
                n += b->list->items[i].start;
        }
        return n;
}

#endif
