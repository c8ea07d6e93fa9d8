/*
 * How much transports shall bring, and what becomes of them.
 *
 * What arrives beyond the room of the workers waits in the ledger, so the flow is stopped while
 * the workers are full and twice as much waits there: a backlog belongs in the broker. Room is told
 * in powers of two, since a change of it costs the transport a new consumer.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

#define TAKE_IN 500 /* room where workers do not bound the flow */

static uint32_t power_of_two(uint32_t n)
{
        uint32_t p = 1;
        while (p < n) {
                p *= 2;
        }
        return p;
}

static bool full(const struct queue_books *q, uint32_t target)
{
        uint32_t here = q->ready.n + q->gathered + q->given + q->starting;
        return here >= target && q->backlog >= 2 * target;
}

static bool may_consume(const struct engine *e, const struct queue_books *q)
{
        return q->transport.n && !q->gone && !q->paused && !q->full && !e->draining &&
               e->registered && e->controls_known && e->roster && e->roster->n &&
               q->parked < PARKED_MAX;
}

static uint32_t room_wanted(const struct engine *e, const struct queue_books *q)
{
        if (!may_consume(e, q)) {
                return 0;
        }
        if (q->taken_in) {
                return TAKE_IN;
        }
        uint32_t able = workers_able(e), target = queue_target(q, able);
        if (target == 0) {
                return 0;
        }
        if (q->job_bytes && CLAIMED_BYTES / q->job_bytes < target) {
                uint32_t fit = (uint32_t)(CLAIMED_BYTES / q->job_bytes);
                target = fit < able ? able : fit;
        }
        if (q->idle_arrivals && target < TAKE_IN) {
                target = TAKE_IN; /* workers are not what bounds it */
        }
        bool resume = q->asked == 0 && q->backlog >= target; /* not before half of it is gone */
        return resume || full(q, target) ? 0 : power_of_two(target);
}

static void tell_room(struct engine *e, uint32_t queue, uint32_t room)
{
        struct engine_action *a = engine_act(e, ACT_CONSUME);
        if (a) {
                e->queues[queue].asked = room;
                a->queue = queue;
                a->n = room;
        }
}

void consume_pump(struct engine *e)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                uint32_t room = q->transport.n ? room_wanted(e, q) : 0;
                bool coarse = room > q->asked || room < q->asked / 4 || room == 0;
                if (q->transport.n && room != q->asked && coarse) {
                        tell_room(e, i, room);
                }
                if (q->parked >= PARKED_MAX && room == 0 && !q->told_parked) {
                        q->told_parked = true;
                        engine_note(
                            e, 4, NULL,
                            "queue %.*s is not consumed: %u of its jobs wait for a handler; "
                            "drop the handler in, and it goes on",
                            (int)q->name.n, q->name.p, q->parked);
                }
        }
}

/* --- what becomes of them --------------------------------------------------------------------- */

static struct transport_books *transport_find(const struct engine *e, struct str name)
{
        for (uint32_t i = 0; i < e->n_transports; i++) {
                if (str_eq(e->transports[i].name, name)) {
                        return &e->transports[i];
                }
        }
        return NULL;
}

static struct transport_books *transport_add(struct engine *e, struct str name)
{
        struct transport_books *grown =
            realloc(e->transports, (e->n_transports + 1) * sizeof *grown);
        e->transports = grown ? grown : e->transports;
        struct str copy;
        if (!grown || !engine_copy(name, &copy)) {
                e->out->out_of_memory = true;
                return NULL;
        }
        struct transport_books *t = &e->transports[e->n_transports++];
        *t = (struct transport_books){.name = copy};
        return t;
}

bool queue_up(const struct engine *e, const struct queue_books *q)
{
        const struct transport_books *t = q->transport.n ? transport_find(e, q->transport) : NULL;
        return t && t->up;
}

bool queue_down_for(const struct engine *e, const struct queue_books *q, int64_t ns)
{
        const struct transport_books *t = q->transport.n ? transport_find(e, q->transport) : NULL;
        return t && !t->up && e->now.mono_ns - t->down_ns >= ns;
}

static void connection_lost(struct engine *e, uint64_t connection)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                const struct arrivals *arriving = q->arriving ? q->arriving->list : NULL;
                q->arriving_lost |= arriving && arriving->connection == connection;
                arrive_drop(e, q, connection);
        }
        journal_lost(e, connection);
}

static void up_or_down(struct engine *e, struct str name, bool up)
{
        struct transport_books *t = transport_find(e, name);
        t = t ? t : transport_add(e, name);
        if (!t) {
                return;
        }
        if (!up && (t->up || t->down_ns == 0)) {
                t->down_ns = e->now.mono_ns;
        }
        t->up = up;
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                if (q->transport.n && str_eq(q->transport, name)) {
                        q->empty = 0;
                        q->asked = 0;                /* it shall be told again */
                        q->mark_ns = e->now.mono_ns; /* what was rung before may be gone */
                }
        }
}

void transport_changed(struct engine *e, const struct engine_event *ev)
{
        switch (ev->transport.change) {
        case CHANGE_UP:
        case CHANGE_DOWN:
                up_or_down(e, ev->transport.name, ev->transport.change == CHANGE_UP);
                break;
        case CHANGE_LOST: connection_lost(e, ev->transport.connection); break;
        case CHANGE_EMPTY:
                if (ev->transport.queue <
                    e->n_queues) { /* nothing is looked for among the unrouted */
                        e->queues[ev->transport.queue].empty++;
                        e->queues[ev->transport.queue].empties++;
                }
                break;
        case CHANGE_FLOOR: floor_came(e, ev); break;
        }
}
