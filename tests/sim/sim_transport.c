/*
 * One node's connection to the simulated broker, behind the seam: its time, its settings, its life.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/sim_transport_inner.h"

#define UNROUTED_ROOM 10

struct sim_transport *sim_transport_of(const struct transport *t)
{
        return (struct sim_transport *)CONTAINER_OF(t, struct sim_transport, base);
}

struct transport *sim_transport_base(struct sim_transport *t)
{
        return &t->base;
}

struct sim_transport *sim_transport_next(struct sim_transport *t)
{
        return t->next;
}

void sim_transport_tick(struct transport *base, int64_t now_ns)
{
        struct sim_transport *t = sim_transport_of(base);
        t->now_ns = now_ns > t->now_ns ? now_ns : t->now_ns;
}

/* --- time --------------------------------------------------------------------------------- */

static void land(struct sim_transport *t, struct flight *f)
{
        switch (f->kind) {
        case FLY_ARRIVALS: wire_arrivals(t, f->arrivals); break;
        case FLY_ACK: flow_land_ack(t, f->receipt); break;
        case FLY_ACKED: flow_land_acked(t, f->receipt); break;
        case FLY_PUBLISH: flow_land_publish(t, f); break;
        case FLY_TOLD: wire_bells(t, f->bells); break;
        case FLY_REPLY: flow_land_reply(t, f); break;
        case FLY_REPLIED: wire_replies(t, f->replies); break;
        case FLY_NEWS: {
                struct transport_news *n = wire_news(t, f->news->kind, "");
                n->queue = f->news->queue;
                n->connection = f->news->connection;
                free(f->news);
                break;
        }
        }
        free(f);
}

static void run(struct sim_transport *t)
{
        while (t->flights && t->flights->at_ns <= t->now_ns) {
                struct flight *f = t->flights;
                t->flights = f->next;
                land(t, f);
        }
        if (t->reopen) {
                wire_reopen(t, true);
        }
        if (!t->up && t->connect_ns <= t->now_ns) {
                wire_connect(t);
        }
        if (t->up && t->deaf && t->heal_ns <= t->now_ns) {
                wire_heal(t);
        }
        if (t->up && t->probe_ns <= t->now_ns) {
                flow_probe(t);
        }
        flow_pull(t);
}

static bool has_answers(const struct sim_transport *t)
{
        const struct transport_answers *a = &t->answers;
        return a->news || a->arrivals || a->bells || a->replies || a->confirmed;
}

static int64_t deadline_ns(struct transport *base)
{
        struct sim_transport *t = sim_transport_of(base);
        if (has_answers(t) || t->reopen) {
                return t->now_ns;
        }
        for (const struct slot *s = t->slots; s && flow_may_deliver(t); s = s->next) {
                if (flow_wanted(s)) {
                        return t->now_ns;
                }
        }
        int64_t at = t->flights ? t->flights->at_ns : INT64_MAX;
        int64_t timer = t->up ? t->probe_ns : t->connect_ns;
        timer = t->up && t->deaf && t->heal_ns < timer ? t->heal_ns : timer;
        return timer < at ? timer : at;
}

static void dispatch(struct transport *base, int64_t now_ns, struct transport_answers *ret)
{
        struct sim_transport *t = sim_transport_of(base);
        sim_transport_tick(base, now_ns);
        run(t);
        *ret = t->answers;
        t->answers = (struct transport_answers){0};
}

static uint32_t pollfds(struct transport *t, struct pollfd *fds, uint32_t max)
{
        (void)t;
        (void)fds;
        (void)max;
        return 0;
}

/* --- settings ----------------------------------------------------------------------------- */

static struct slot *add_slot(struct sim_transport *t, uint32_t index, struct str name)
{
        struct slot *s = calloc(1, sizeof *s), **at = &t->slots;
        assert(s);
        s->index = index;
        s->queue = sim_broker_queue(t->broker, name, t->up);
        if (!s->queue) {
                s->queue = sim_broker_queue(t->broker, name, true);
        }
        while (*at) {
                at = &(*at)->next;
        }
        *at = s;
        return s;
}

static void attach(struct transport *base, uint32_t queue, const struct queue_config *settings)
{
        struct sim_transport *t = sim_transport_of(base);
        struct slot *s = wire_slot(t, queue);
        s = s ? s : add_slot(t, queue, settings->name);
        free((char *)s->default_type.p);
        s->settings = *settings;
        char *type = malloc((size_t)settings->default_type.n + 1);
        assert(type);
        memcpy(type, settings->default_type.p ? settings->default_type.p : "",
               settings->default_type.n);
        s->default_type = (struct str){type, settings->default_type.n};
        sim_broker_bind(t->broker, s->queue, settings->name);
        for (uint32_t i = 0; i < settings->n_types; i++) {
                sim_broker_bind(t->broker, s->queue, settings->types[i]);
        }
}

static void consume(struct transport *base, uint32_t queue, uint32_t room)
{
        struct sim_transport *t = sim_transport_of(base);
        struct slot *s = wire_slot(t, queue);
        if (!s) {
                return;
        }
        s->room = room;
        if (!wire_slot(t, TRANSPORT_UNROUTED)) {
                s = add_slot(t, TRANSPORT_UNROUTED, STR(QUEUE_UNROUTED));
                s->room = UNROUTED_ROOM;
                s->settings.retry.max_attempts = 3;
                s->settings.priority = PRIORITY_DEFAULT;
        }
}

/* --- life --------------------------------------------------------------------------------- */

static void free_answers(struct sim_transport *t)
{
        struct transport_answers *a = &t->answers;
        while (a->news) {
                struct transport_news *next = a->news->next;
                free(a->news);
                a->news = next;
        }
        wire_drop_told(t);
        while (a->bells) {
                struct doorbells *next = a->bells->next;
                doorbells_free(a->bells);
                a->bells = next;
        }
        while (a->replies) {
                struct replies *next = a->replies->next;
                replies_free(a->replies);
                a->replies = next;
        }
        a->confirmed = NULL;
}

void sim_transport_abandon(struct transport *base)
{
        struct sim_transport *t = sim_transport_of(base);
        for (struct flight *f = t->flights; f && t->up; f = f->next) {
                bool sent = rng_chance(&t->broker->rng, 500) && !t->muted;
                if (sent && f->kind == FLY_ACK) {
                        flow_apply_ack(t, f->receipt);
                } else if (sent && f->kind == FLY_PUBLISH && !t->broker->blocked) {
                        flow_publish(t, f->bells);
                } else if (sent && f->kind == FLY_REPLY && !t->broker->blocked) {
                        flow_send(t, f->replies);
                }
        }
}

static struct transport *close_transport(struct transport *base)
{
        if (!base) {
                return NULL;
        }
        struct sim_transport *t = sim_transport_of(base);
        sim_transport_cut(t, true);
        free_answers(t);
        while (t->slots) {
                struct slot *next = t->slots->next;
                free((char *)t->slots->default_type.p);
                free(t->slots);
                t->slots = next;
        }
        for (struct sim_receipt *r = t->broker->receipts; r; r = r->older) {
                if (r->transport == t) {
                        r->transport = NULL;
                }
        }
        struct sim_transport **at = &t->broker->transports;
        while (*at != t) {
                at = &(*at)->next;
        }
        *at = t->next;
        free(t);
        return NULL;
}

static const struct transport_ops sim_ops = {
    .scheme = "sim",
    .attach = attach,
    .consume = consume,
    .settle = flow_settle,
    .receipt_free = wire_receipt_free,
    .ring = flow_ring,
    .reply = flow_reply,
    .floor = flow_floor,
    .pollfds = pollfds,
    .deadline_ns = deadline_ns,
    .dispatch = dispatch,
    .close = close_transport,
};

struct transport *sim_transport_new(struct sim_broker *broker, int64_t now_ns,
                                    int64_t wall_offset_us)
{
        struct sim_transport *t = calloc(1, sizeof *t);
        assert(t);
        t->base.ops = &sim_ops;
        t->broker = broker;
        t->now_ns = now_ns;
        t->wall_offset_us = wall_offset_us;
        t->connect_ns = wire_soon(t);
        t->next = broker->transports;
        broker->transports = t;
        return &t->base;
}
