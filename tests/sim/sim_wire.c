/*
 * What is under way between a simulated transport and its broker, by time; what waits for
 * dispatch(); and the connection: how it is lost, made anew, and found to be deaf.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim_transport_inner.h"

/* --- flights ------------------------------------------------------------------------------ */

struct flight *wire_fly(struct sim_transport *t, enum flight_kind kind, int64_t at_ns)
{
        struct flight *f = calloc(1, sizeof *f), **at = &t->flights;
        assert(f);
        f->kind = kind;
        f->at_ns = at_ns;
        f->since_ns = t->now_ns;
        f->connection = t->connection;
        while (*at && (*at)->at_ns <= at_ns) {
                at = &(*at)->next;
        }
        f->next = *at;
        *at = f;
        return f;
}

int64_t wire_soon(struct sim_transport *t)
{
        return t->now_ns + sim_broker_latency(t->broker);
}

struct transport_news *wire_news(struct sim_transport *t, enum transport_news_kind kind,
                                 const char *text)
{
        struct transport_news *n = calloc(1, sizeof *n), **at = &t->answers.news;
        assert(n);
        n->kind = kind;
        n->connection = t->connection;
        snprintf(n->text, sizeof n->text, "%s", text);
        while (*at) {
                at = &(*at)->next;
        }
        *at = n;
        return n;
}

void wire_arrivals(struct sim_transport *t, struct arrivals *a)
{
        struct arrivals **at = &t->answers.arrivals;
        while (*at) {
                at = &(*at)->next;
        }
        a->next = NULL;
        *at = a;
}

void wire_bells(struct sim_transport *t, struct doorbells *d)
{
        struct doorbells **at = &t->answers.bells;
        while (*at) {
                at = &(*at)->next;
        }
        d->next = NULL;
        *at = d;
}

void wire_replies(struct sim_transport *t, struct replies *r)
{
        struct replies **at = &t->answers.replies;
        while (*at) {
                at = &(*at)->next;
        }
        r->next = NULL;
        *at = r;
}

void wire_confirmed(struct sim_transport *t, struct receipt *r)
{
        struct receipt **at = &t->answers.confirmed;
        while (*at) {
                at = &(*at)->next;
        }
        r->next = NULL;
        *at = r;
}

struct slot *wire_slot(const struct sim_transport *t, uint32_t index)
{
        struct slot *s = t->slots;
        while (s && s->index != index) {
                s = s->next;
        }
        return s;
}

struct slot *wire_slot_by_queue(const struct sim_transport *t, const struct sim_queue *q)
{
        struct slot *s = t->slots;
        while (s && s->queue != q) {
                s = s->next;
        }
        return s;
}

/* What is let go on a connection that lives comes again by opening it anew. */
struct receipt *wire_receipt_free(struct receipt *r)
{
        if (r) {
                struct sim_receipt *mine =
                    (struct sim_receipt *)CONTAINER_OF(r, struct sim_receipt, base);
                struct sim_transport *t = mine->transport;
                bool alive = t && t->up && mine->connection == t->connection;
                if (t && mine->state == RECEIPT_OUT) {
                        t->reopen |= alive;
                }
                mine->state = RECEIPT_FREED;
        }
        return NULL;
}

/* --- the connection ----------------------------------------------------------------------- */

/* Deliveries under way never come; publishes are not known to have come. */
static void drop_flight(struct sim_transport *t, struct flight *f)
{
        if (f->arrivals) {
                f->receipt = (struct sim_receipt *)f->arrivals->receipt;
                f->receipt->state = RECEIPT_FREED;
                arrivals_free(f->arrivals);
        } else if (f->bells) {
                f->bells->confirmed = false;
                wire_bells(t, f->bells);
        } else if (f->replies) {
                f->replies->confirmed = false;
                wire_replies(t, f->replies);
        } else if (f->receipt) {
                f->receipt->state = RECEIPT_FREED;
        }
        free(f->news);
        free(f);
}

static void take_back(struct sim_transport *t, bool marked)
{
        struct sim_broker *b = t->broker;
        for (struct sim_message *m = b->messages; m; m = m->older) {
                if (m->fate == MESSAGE_UNACKED && m->owner == t) {
                        sim_broker_put_back(b, m, marked);
                }
        }
        for (struct sim_receipt *r = b->receipts; r; r = r->older) {
                r->stale |= r->transport == t && r->connection == t->connection;
        }
        for (struct slot *s = t->slots; s; s = s->next) {
                s->unacked = 0;
        }
}

/* Arrivals that nobody fetched: they would come behind the news of their loss. */
void wire_drop_told(struct sim_transport *t)
{
        while (t->answers.arrivals) {
                struct arrivals *next = t->answers.arrivals->next;
                wire_receipt_free(t->answers.arrivals->receipt);
                arrivals_free(t->answers.arrivals);
                t->answers.arrivals = next;
        }
}

static void drop_flights(struct sim_transport *t, bool publishes)
{
        struct flight **at = &t->flights;
        while (*at) {
                struct flight *f = *at;
                if ((f->bells || f->replies) && !publishes) {
                        at = &f->next;
                } else {
                        *at = f->next;
                        drop_flight(t, f);
                }
        }
}

/* What was delivered is taken back; publishing has a connection of its own. */
void wire_reopen(struct sim_transport *t, bool marked)
{
        drop_flights(t, false);
        take_back(t, marked);
        wire_drop_told(t);
        wire_news(t, TRANSPORT_LOST, "");
        t->connection = ++t->broker->connection;
        t->deaf = t->reopen = false;
}

void sim_transport_cut(struct sim_transport *t, bool marked)
{
        if (!t->up) {
                return;
        }
        drop_flights(t, true);
        wire_reopen(t, marked);
        wire_news(t, TRANSPORT_DOWN, "the connection was lost");
        t->up = t->muted = false;
        t->connect_ns = t->now_ns + rng_between(&t->broker->rng, 20, 800) * NS_PER_MS;
}

void sim_transport_mute(struct sim_transport *t)
{
        t->muted = true;
}

void sim_transport_deafen(struct sim_transport *t)
{
        t->deaf = t->up;
        t->heal_ns = t->now_ns + rng_between(&t->broker->rng, 2, 15) * NS_PER_S;
}

static void make_queues(struct sim_transport *t)
{
        for (struct slot *s = t->slots; s; s = s->next) {
                sim_broker_queue(t->broker, s->queue->name, true);
        }
}

void wire_connect(struct sim_transport *t)
{
        if (t->broker->down || t->broker->refusing) {
                t->connect_ns = t->now_ns + rng_between(&t->broker->rng, 100, 1000) * NS_PER_MS;
                return;
        }
        t->up = true;
        t->connection = ++t->broker->connection;
        t->probe_ns = t->now_ns + SIM_PROBE_NS;
        make_queues(t);
        wire_news(t, TRANSPORT_UP, "");
}

/* Messages wait, credit is open, nothing comes: found after a while, and opened anew. */
void wire_heal(struct sim_transport *t)
{
        bool waiting = false;
        for (const struct slot *s = t->slots; s; s = s->next) {
                waiting |= s->room > 0 && s->queue->n_ready > 0;
        }
        t->heal_ns = t->now_ns + NS_PER_S;
        if (waiting) {
                wire_news(t, TRANSPORT_DEAF, "messages wait and none is delivered");
                wire_reopen(t, true);
        }
}
