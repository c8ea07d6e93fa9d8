/*
 * Messages and acknowledgements, doorbells and confirms: what a simulated transport carries, and
 * the drawn ways in which it fails to.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/sim_transport_inner.h"

#define BATCH_MAX  50
#define GIVE_UP_NS (20 * NS_PER_S) /* on a publish that is blocked */
#define REFUSED    STR("jobs.refused")

/* --- deliveries --------------------------------------------------------------------------- */

static struct envelope_defaults defaults_of(const struct sim_transport *t, const struct slot *s)
{
        const struct queue_config *c = &s->settings;
        return (struct envelope_defaults){
            .queue = s->queue->name,
            .default_type = s->default_type,
            .priority = (uint8_t)c->priority,
            .payload_max = t->broker->payload_max,
        };
}

static bool is_oversized(const struct sim_transport *t, const struct envelope *e)
{
        return e->too_large || (t->broker->payload_max && e->body.n > t->broker->payload_max);
}

static void open_message(struct sim_transport *t, const struct slot *s, struct sim_message *m,
                         struct arrivals *a)
{
        struct envelope e = m->envelope;
        struct envelope_defaults d = defaults_of(t, s);
        if (is_oversized(t, &e)) {
                e.too_large = true;
                e.body = (struct str){0};
        }
        struct arrival *item = &a->items[a->n++];
        *item = (struct arrival){0};
        int r = envelope_open(&e, &d, t->now_ns / 1000 + t->wall_offset_us, &a->arena, item);
        assert(r == 0);
        a->bytes += e.body.n;
}

/* The first time that it is delivered. */
static void copy_oversized(struct sim_transport *t, const struct sim_message *m)
{
        if (is_oversized(t, &m->envelope) && m->deliveries == 1) {
                sim_broker_publish(t->broker, sim_broker_queue(t->broker, REFUSED, true),
                                   &m->envelope, 0);
        }
}

static struct sim_receipt *new_receipt(struct sim_transport *t, uint32_t room)
{
        struct sim_receipt *r = calloc(1, sizeof *r);
        assert(r);
        r->transport = t;
        r->connection = t->connection;
        r->messages = calloc(room, sizeof(struct sim_message *));
        assert(r->messages);
        r->older = t->broker->receipts;
        t->broker->receipts = r;
        return r;
}

uint32_t flow_wanted(const struct slot *s)
{
        uint32_t n = s->room > s->unacked ? s->room - s->unacked : 0;
        n = n < s->queue->n_ready ? n : s->queue->n_ready;
        return n < BATCH_MAX ? n : BATCH_MAX;
}

static struct arrivals *new_batch(struct sim_transport *t, const struct slot *s, uint32_t room)
{
        struct arrivals *a = arrivals_new(room);
        assert(a);
        a->queue = s->index;
        a->connection = t->connection;
        a->receipt = &new_receipt(t, room)->base;
        return a;
}

static void send_batch(struct sim_transport *t, struct slot *s, struct arrivals *a)
{
        if (a->n == 0) {
                ((struct sim_receipt *)a->receipt)->state = RECEIPT_FREED;
                arrivals_free(a);
                return;
        }
        int64_t at = wire_soon(t);
        s->last_ns = at > s->last_ns ? at : s->last_ns;
        wire_fly(t, FLY_ARRIVALS, s->last_ns)->arrivals = a;
}

/* Letters without key that come again go by themselves: their fate may take a while. */
static void deliver(struct sim_transport *t, struct slot *s, uint32_t n)
{
        struct arrivals *first = new_batch(t, s, n), *again = new_batch(t, s, n);
        for (uint32_t i = 0; i < n; i++) {
                struct sim_message *m = sim_broker_take(t->broker, s->queue, t);
                struct arrivals *a = first;
                copy_oversized(t, m);
                open_message(t, s, m, a);
                if (a->items[a->n - 1].redelivered && a->items[a->n - 1].fingerprint) {
                        a->bytes -= is_oversized(t, &m->envelope) ? 0 : m->envelope.body.n;
                        a->n--;
                        a = again;
                        open_message(t, s, m, a);
                }
                struct sim_receipt *r = (struct sim_receipt *)a->receipt;
                r->messages[r->n++] = m;
                if (planted(PLANT_ACK_EARLY)) {
                        sim_broker_ack(t->broker, m);
                }
        }
        s->unacked += n;
        send_batch(t, s, first);
        send_batch(t, s, again);
}

bool flow_may_deliver(const struct sim_transport *t)
{
        return t->up && !t->deaf && !t->broker->down;
}

void flow_pull(struct sim_transport *t)
{
        for (struct slot *s = t->slots; s && flow_may_deliver(t); s = s->next) {
                uint32_t n;
                while ((n = flow_wanted(s))) {
                        deliver(t, s, n);
                }
        }
}

static void tell_floors(struct sim_transport *t)
{
        for (const struct slot *s = t->slots; s && t->broker->stream; s = s->next) {
                char name[256];
                snprintf(name, sizeof name, "%.*s", (int)s->queue->name.n, s->queue->name.p);
                bool asks = rng_chance(&t->broker->rng, 250);
                wire_news(t, TRANSPORT_FLOOR, name)->floor = asks ? 0 : s->queue->n_acked;
        }
}

void flow_probe(struct sim_transport *t)
{
        tell_floors(t);
        t->probe_ns = t->now_ns + SIM_PROBE_NS;
        for (const struct slot *s = t->slots; s; s = s->next) {
                const struct sim_queue *q = s->queue;
                if (s->index == TRANSPORT_UNROUTED || t->broker->silent || q->n_ready ||
                    q->n_unacked) {
                        continue;
                }
                struct transport_news *n = calloc(1, sizeof *n);
                assert(n);
                n->kind = TRANSPORT_EMPTY;
                n->queue = s->index;
                n->connection = t->connection;
                wire_fly(t, FLY_NEWS, wire_soon(t))->news = n;
        }
        for (const struct slot *s = t->slots; s; s = s->next) {
                if (!s->queue->exists) {
                        sim_broker_queue(t->broker, s->queue->name, true);
                }
        }
}

/* --- acknowledgements --------------------------------------------------------------------- */

static bool draw(struct sim_transport *t, uint32_t permille)
{
        return permille && rng_chance(&t->broker->rng, permille);
}

static void complain(struct sim_transport *t, const char *text)
{
        if (t->broker->complain) {
                t->broker->complain(t->broker->watcher, text);
        }
}

/* It is no more than anybody told, and never falls. */
void flow_floor(struct transport *base, struct str history, int64_t floor)
{
        struct sim_transport *t = sim_transport_of(base);
        for (struct slot *s = t->slots; s; s = s->next) {
                if (str_eq(s->queue->name, history)) {
                        if (floor > s->queue->n_acked || floor < s->floor) {
                                complain(t, "floor: the ledger's answer fell, or was never told");
                        }
                        s->floor = floor;
                }
        }
}

void flow_apply_ack(struct sim_transport *t, struct sim_receipt *r)
{
        r->taken = true;
        for (uint32_t i = 0; i < r->n; i++) {
                struct sim_message *m = r->messages[i];
                struct slot *s = wire_slot_by_queue(t, m->queue);
                if (m->fate == MESSAGE_UNACKED && m->owner == t) {
                        sim_broker_ack(t->broker, m);
                }
                if (s && s->unacked) {
                        s->unacked--;
                }
        }
}

void flow_settle(struct transport *base, struct receipt *r)
{
        struct sim_transport *t = sim_transport_of(base);
        struct sim_receipt *mine = (struct sim_receipt *)CONTAINER_OF(r, struct sim_receipt, base);
        if (mine->state != RECEIPT_OUT) {
                complain(t, "I5: a batch is acknowledged after it was settled or dropped");
                return;
        }
        mine->state = RECEIPT_SETTLED;
        for (uint32_t i = 0; t->broker->on_ack && i < mine->n; i++) {
                t->broker->on_ack(t->broker->watcher, mine->messages[i]);
        }
        if (!t->up || mine->connection != t->connection) {
                return;
        }
        if (draw(t, t->broker->faults.cut_before)) {
                sim_transport_cut(t, true);
        } else {
                int64_t at = wire_soon(t); /* they arrive in order */
                t->ack_ns = at > t->ack_ns ? at : t->ack_ns;
                wire_fly(t, FLY_ACK, t->ack_ns)->receipt = mine;
        }
}

/* --- doorbells ---------------------------------------------------------------------------- */

static bool publish_bell(struct sim_transport *t, struct sim_queue *q, const struct doorbell *bell)
{
        static const struct job_id none;
        char id[JOB_ID_TEXT] = BELL_MARK, seq[24];
        if (!job_id_eq(&bell->id, &none)) {
                id_text(&bell->id, id);
        }
        snprintf(seq, sizeof seq, "%lld", (long long)bell->seq);
        struct envelope_header headers[] = {{STR(BELL_HEADER), str_of(id)},
                                            {STR(BELL_SEQ_HEADER), str_of(seq)}};
        struct envelope e = {
            .address = q->name, .headers = headers, .n_headers = 2, .priority = -1};
        return sim_broker_publish(t->broker, q, &e, 0);
}

void flow_publish(struct sim_transport *t, struct doorbells *d)
{
        struct slot *s = wire_slot(t, d->queue);
        uint32_t returned = UINT32_MAX;
        if (draw(t, t->broker->faults.returned)) {
                returned = (uint32_t)rng_between(&t->broker->rng, 0, d->n);
        }
        d->confirmed = s != NULL;
        for (uint32_t i = 0; s && i < d->n; i++) {
                d->confirmed &= i != returned && publish_bell(t, s->queue, &d->items[i]);
        }
}

void flow_land_publish(struct sim_transport *t, struct flight *f)
{
        if (t->broker->blocked && t->now_ns - f->since_ns < GIVE_UP_NS) {
                struct flight *again = wire_fly(t, FLY_PUBLISH, t->now_ns + 50 * NS_PER_MS);
                again->bells = f->bells;
                again->since_ns = f->since_ns;
                return;
        }
        struct doorbells *d = f->bells;
        if (!t->muted && !t->broker->blocked) {
                flow_publish(t, d);
        }
        if (draw(t, t->broker->faults.confirm_lost)) {
                d->confirmed = false;
                wire_bells(t, d);
                sim_transport_cut(t, true);
                return;
        }
        bool late = draw(t, t->broker->faults.confirm_late);
        int64_t at = late ? rng_between(&t->broker->rng, 0, t->broker->faults.late_ns) : 0;
        wire_fly(t, FLY_TOLD, wire_soon(t) + at + (t->muted ? GIVE_UP_NS : 0))->bells = d;
}

void flow_ring(struct transport *base, struct doorbells *bells)
{
        struct sim_transport *t = sim_transport_of(base);
        bells->confirmed = false;
        if (!t->up) {
                wire_bells(t, bells);
                return;
        }
        wire_fly(t, FLY_PUBLISH, wire_soon(t))->bells = bells;
}

/* --- replies ------------------------------------------------------------------------------ */

/* To whoever listens; nobody need. */
void flow_send(struct sim_transport *t, struct replies *r)
{
        for (uint32_t i = 0; t->broker->on_reply && i < r->n; i++) {
                t->broker->on_reply(t->broker->watcher, &r->items[i]);
        }
        r->confirmed = true;
}

void flow_land_reply(struct sim_transport *t, struct flight *f)
{
        struct replies *r = f->replies;
        bool lost = t->muted || t->broker->blocked || draw(t, t->broker->faults.returned);
        if (!lost) {
                flow_send(t, r);
        }
        if (draw(t, t->broker->faults.confirm_lost)) {
                r->confirmed = false;
                wire_replies(t, r);
                sim_transport_cut(t, true);
                return;
        }
        wire_fly(t, FLY_REPLIED, wire_soon(t) + (lost ? GIVE_UP_NS : 0))->replies = r;
}

void flow_reply(struct transport *base, struct replies *replies)
{
        struct sim_transport *t = sim_transport_of(base);
        replies->confirmed = false;
        if (!t->up) {
                wire_replies(t, replies);
                return;
        }
        wire_fly(t, FLY_REPLY, wire_soon(t))->replies = replies;
}

void flow_land_ack(struct sim_transport *t, struct sim_receipt *r)
{
        if (t->muted) {
                return;
        }
        flow_apply_ack(t, r);
        if (r->base.journalled) {
                wire_fly(t, FLY_ACKED, wire_soon(t))->receipt = r;
        }
        if (draw(t, t->broker->faults.cut_after)) {
                sim_transport_cut(t, true);
        }
}

void flow_land_acked(struct sim_transport *t, struct sim_receipt *r)
{
        r->sure = true;
        for (uint32_t i = 0; i < r->n; i++) {
                r->messages[i]->sure = true;
        }
        wire_confirmed(t, &r->base);
}
