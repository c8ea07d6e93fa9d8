/*
 * The node's part between engine and transport: news and arrivals in, acknowledgements and
 * doorbells out.
 */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/sim_transport.h"

#define TRANSPORT_NAME STR("sim")

static void attach_all(struct sim_node *n)
{
        const struct config *c = n->config;
        for (uint32_t i = 0; i < c->n_queues; i++) {
                int at = engine_queue(n->engine, c->queues[i].name);
                if (at >= 0 && c->queues[i].transport.n) {
                        n->transport->ops->attach(n->transport, (uint32_t)at, &c->queues[i]);
                }
        }
}

void carry_open(struct world *w, struct sim_node *n)
{
        if (!w->swarm.broker) {
                return;
        }
        n->transport = sim_transport_new(&w->broker, w->now_ns, SIM_WALL_US + n->wall_offset_us);
        attach_all(n);
}

void carry_reload(struct sim_node *n)
{
        if (n->transport) {
                attach_all(n);
        }
}

void carry_close(struct sim_node *n)
{
        if (n->transport) {
                sim_transport_abandon(n->transport);
                n->transport = n->transport->ops->close(n->transport);
        }
}

/* --- actions ------------------------------------------------------------------------------ */

void carry_consume(struct world *w, struct sim_node *n, const struct engine_action *a)
{
        TRACE(w, "n%u consume q%u %u", n->index, a->queue, a->n);
        sim_transport_tick(n->transport, w->now_ns);
        n->transport->ops->consume(n->transport, a->queue, a->n);
}

/* Planted: the oldest batch that is out goes in its stead. */
static struct receipt *another(struct world *w, struct receipt *mine)
{
        const struct sim_receipt *r =
            (struct sim_receipt *)CONTAINER_OF(mine, struct sim_receipt, base);
        for (struct sim_receipt *o = w->broker.receipts; o; o = o->older) {
                if (o != r && o->state == RECEIPT_OUT && o->transport == r->transport) {
                        return &o->base;
                }
        }
        return mine;
}

void carry_settle(struct world *w, struct sim_node *n, struct receipt *r)
{
        sim_transport_tick(n->transport, w->now_ns);
        if (planted(PLANT_SETTLE_OTHER)) {
                r = another(w, r);
        }
        n->transport->ops->settle(n->transport, r);
}

void carry_drop(struct sim_node *n, struct receipt *r)
{
        n->transport->ops->receipt_free(r);
}

void carry_ring(struct world *w, struct sim_node *n, struct doorbells *bells)
{
        TRACE(w, "n%u ring q%u %u bells, outbox %lld", n->index, bells->queue, bells->n,
              (long long)bells->outbox);
        sim_transport_tick(n->transport, w->now_ns);
        n->transport->ops->ring(n->transport, bells);
}

void carry_reply(struct world *w, struct sim_node *n, struct replies *replies)
{
        TRACE(w, "n%u replies %u", n->index, replies->n);
        assert(n->transport);
        sim_transport_tick(n->transport, w->now_ns);
        n->transport->ops->reply(n->transport, replies);
}

void carry_floor(struct world *w, struct sim_node *n, const struct engine_action *a)
{
        TRACE(w, "n%u floor %.*s %lld", n->index, (int)a->text.n, a->text.p, (long long)a->floor);
        assert(str_eq(a->transport, TRANSPORT_NAME));
        n->transport->ops->floor(n->transport, a->text, a->floor);
}

/* --- events ------------------------------------------------------------------------------- */

static void tell_change(struct world *w, struct sim_node *n, const struct transport_news *x)
{
        static const struct {
                bool told;
                enum transport_change change;
        } changes[] = {
            [TRANSPORT_UP] = {true, CHANGE_UP},       [TRANSPORT_DOWN] = {true, CHANGE_DOWN},
            [TRANSPORT_LOST] = {true, CHANGE_LOST},   [TRANSPORT_EMPTY] = {true, CHANGE_EMPTY},
            [TRANSPORT_FLOOR] = {true, CHANGE_FLOOR}, [TRANSPORT_DEAF] = {false},
        };
        TRACE(w, "n%u news %d connection %llu queue %u", n->index, x->kind,
              (unsigned long long)x->connection, x->queue);
        if (!changes[x->kind].told) {
                return;
        }
        struct engine_event ev = {.kind = EV_TRANSPORT};
        ev.transport.change = changes[x->kind].change;
        ev.transport.name = TRANSPORT_NAME;
        ev.transport.connection = x->connection;
        ev.transport.queue = x->queue;
        ev.transport.history = str_of(x->text);
        ev.transport.floor = x->floor;
        node_step(w, n, &ev);
}

static void tell_news(struct world *w, struct sim_node *n, struct transport_news *list)
{
        uint32_t life = n->life;
        while (list) {
                struct transport_news *next = list->next;
                if (n->life == life) {
                        tell_change(w, n, list);
                }
                free(list);
                list = next;
        }
}

static void free_arrivals(struct arrivals *list)
{
        while (list) {
                struct arrivals *next = list->next;
                arrivals_free(list);
                list = next;
        }
}

static void tell_arrivals(struct world *w, struct sim_node *n, struct arrivals *list, bool alive)
{
        for (const struct arrivals *a = list; a; a = a->next) {
                TRACE(w, "n%u arrivals q%u +%u connection %llu", n->index, a->queue, a->n,
                      (unsigned long long)a->connection);
        }
        if (!alive) {
                free_arrivals(list);
        } else if (list) {
                node_step(w, n, &(struct engine_event){.kind = EV_ARRIVALS, .arrivals = list});
        }
}

static void tell_rung(struct world *w, struct sim_node *n, struct doorbells *list, bool alive)
{
        for (const struct doorbells *d = list; d; d = d->next) {
                TRACE(w, "n%u rung q%u %u bells, outbox %lld: %d", n->index, d->queue, d->n,
                      (long long)d->outbox, d->confirmed);
        }
        if (alive && list) {
                node_step(w, n, &(struct engine_event){.kind = EV_RUNG, .bells = list});
                return;
        }
        while (list) {
                struct doorbells *next = list->next;
                doorbells_free(list);
                list = next;
        }
}

static void tell_replied(struct world *w, struct sim_node *n, struct replies *list, bool alive)
{
        if (alive && list) {
                TRACE(w, "n%u replied %u: %d", n->index, list->n, list->confirmed);
                node_step(w, n, &(struct engine_event){.kind = EV_REPLIED, .replies = list});
                return;
        }
        while (list) {
                struct replies *next = list->next;
                replies_free(list);
                list = next;
        }
}

static void tell_acknowledged(struct world *w, struct sim_node *n, struct receipt *list)
{
        for (const struct receipt *r = list; r; r = r->next) {
                TRACE(w, "n%u acknowledged for sure: arrive %llu", n->index,
                      (unsigned long long)r->no.n);
        }
        if (list) {
                node_step(w, n, &(struct engine_event){.kind = EV_ACKNOWLEDGED, .receipts = list});
        }
}

/* A node that stops while it is told has lost its transport with all receipts. */
void carry_turn(struct world *w, struct sim_node *n)
{
        if (!n->transport || n->transport->ops->deadline_ns(n->transport) > w->now_ns) {
                return;
        }
        uint32_t life = n->life;
        struct transport_answers got = {0};
        n->transport->ops->dispatch(n->transport, w->now_ns, &got);
        tell_acknowledged(w, n, got.confirmed);
        tell_news(w, n, got.news);
        tell_arrivals(w, n, got.arrivals, n->life == life);
        tell_rung(w, n, got.bells, n->life == life);
        tell_replied(w, n, got.replies, n->life == life);
}
