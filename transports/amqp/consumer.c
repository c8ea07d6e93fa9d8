/*
 * The consuming thread: one loop over its connection and its inbox. A turn sleeps, takes what the
 * engine asked for, reads frames, hands batches over; topology and probes are calls between turns,
 * and turn the loop themselves while they wait (rpc.c). Acknowledgements are sent from here alone.
 */
#include "transports/amqp/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define FRAMES_PER_TURN 4096
#define BATCH_LARGE     100
#define RETRY_FIRST_MS  100
#define RETRY_LAST_MS   5000
#define RETRY_DENIED_MS 5000
#define TOPOLOGY_AGAIN  (5 * NS_PER_S)
#define BIND_AGAIN      (30 * NS_PER_S)
#define MEAN_BYTES_FIRST                                                                           \
        (64u << 10) /* until letters were seen: a queue of large ones must not flood us */
#define STEADY_NS (10 * NS_PER_S)

/* --- the inbox -------------------------------------------------------------------------------- */

static struct tap *tap_of(struct consumer *c, uint32_t slot)
{
        struct tap *t = c->taps;
        while (t && t->order->slot != slot) {
                t = t->next;
        }
        return t;
}

static void obey(struct consumer *c, struct order *o)
{
        struct tap *t = tap_of(c, o->slot);
        o->next = c->orders;
        c->orders = o;
        if (!t) {
                t = calloc(1, sizeof *t);
                if (!t) {
                        desk_note(&c->rabbit->desk, LEVEL_ERROR,
                                  "queue %s: out of memory; it is not served", o->name);
                        return;
                }
                t->mean_bytes = MEAN_BYTES_FIRST;
                t->next = c->taps;
                c->taps = t;
        }
        t->order = o;
        t->declared = false;
        t->declare_ns = 0;
}

static void set_rooms(struct consumer *c, const uint32_t *rooms)
{
        int64_t now = clock_ns();
        for (struct tap *t = c->taps; t; t = t->next) {
                uint32_t room = rooms[t->order->slot];
                if ((room == 0) != (t->room == 0)) {
                        t->room_ns = now;
                        t->delivered_ns = now;
                }
                t->room = room;
        }
}

static void take_inbox(struct consumer *c)
{
        uint32_t rooms[QUEUES_MAX];
        pthread_mutex_lock(&c->inbox.mutex);
        struct rabbit_receipt *receipts = c->inbox.receipts;
        struct oversize *answered = c->inbox.answered;
        struct order *orders = c->inbox.orders;
        bool rooms_changed = c->inbox.rooms_changed;
        c->inbox.receipts = NULL;
        c->inbox.receipts_tail = &c->inbox.receipts;
        c->inbox.answered = NULL;
        c->inbox.answered_tail = &c->inbox.answered;
        c->inbox.orders = NULL;
        c->inbox.orders_tail = &c->inbox.orders;
        c->inbox.rooms_changed = false;
        c->stopping = c->inbox.stop;
        if (rooms_changed) {
                memcpy(rooms, c->inbox.rooms, sizeof rooms);
        }
        pthread_mutex_unlock(&c->inbox.mutex);
        while (orders) {
                struct order *next = orders->next;
                obey(c, orders);
                orders = next;
        }
        if (rooms_changed) {
                set_rooms(c, rooms);
        }
        while (receipts) {
                struct rabbit_receipt *next = (struct rabbit_receipt *)receipts->base.next;
                channel_settle(c, receipts);
                receipts = next;
        }
        while (answered) {
                struct oversize *next = answered->next;
                deliver_answered(c, answered);
                answered = next;
        }
}

/* --- frames ----------------------------------------------------------------------------------- */

/* Its queue is looked at again, soon at first. */
static void again(struct tap *t, int64_t now)
{
        if (now - t->consumed_ns > STEADY_NS) {
                t->failures = 0;
        }
        int64_t wait = t->failures ? (100 * NS_PER_MS) << (t->failures < 7 ? t->failures : 6) : 0;
        wait = wait > TOPOLOGY_AGAIN ? TOPOLOGY_AGAIN : wait;
        t->failures++;
        t->declared = false;
        t->declare_ns = t->open_ns = now + wait;
}

static void broke(struct consumer *c, struct channel *ch)
{
        struct tap *t = ch->tap;
        if (t) {
                topology_say(c, t, LEVEL_ERROR,
                             "queue %s: a message could not be taken; its channel is opened anew",
                             t->order->name);
                again(t, clock_ns());
                channel_close(c, ch, true);
        }
}

static void closed_by_broker(struct consumer *c, struct channel *ch, const amqp_channel_close_t *m)
{
        char text[200];
        amqp_channel_close_ok_t ok = {0};
        struct tap *t = ch->tap;
        snprintf(text, sizeof text, "%u ", m->reply_code);
        text_copy(m->reply_text, text + strlen(text), sizeof text - strlen(text));
        (void)wire_send(&c->wire, ch->number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
        if (ch->waiting) {
                ch->waiting->code = m->reply_code;
                memcpy(ch->waiting->text, text, sizeof text);
        }
        if (t) {
                topology_say(c, t, LEVEL_WARNING, "queue %s: the broker closed its channel: %s",
                             t->order->name, text);
                again(t, clock_ns());
        }
        if (!ch->closing) {
                channel_closed(c, ch, true);
        } /* else: its answer to our close is on the way */
}

static void cancelled_by_broker(struct consumer *c, struct channel *ch)
{
        struct tap *t = ch->tap;
        if (t) {
                topology_say(c, t, LEVEL_WARNING,
                             "queue %s: the broker cancelled its consumer (deleted, or moved)",
                             t->order->name);
                again(t, clock_ns());
                channel_close(c, ch, true);
        }
}

static void answered(struct channel *ch, const amqp_method_t *m)
{
        struct reply *r = ch->waiting;
        if (r) {
                ch->waiting = NULL;
                r->done = true;
                if (m->id == AMQP_QUEUE_DECLARE_OK_METHOD) {
                        r->messages = ((amqp_queue_declare_ok_t *)m->decoded)->message_count;
                }
        }
}

static void handle_method(struct consumer *c, struct channel *ch, const amqp_method_t *m)
{
        switch (m->id) {
        case AMQP_BASIC_DELIVER_METHOD:
                if (!ch->closing && !deliver_begin(c, ch, m->decoded)) {
                        broke(c, ch);
                }
                break;
        case AMQP_BASIC_QOS_OK_METHOD: channel_qos_ok(c, ch); break;
        case AMQP_BASIC_CANCEL_METHOD: cancelled_by_broker(c, ch); break;
        case AMQP_CHANNEL_CLOSE_METHOD: closed_by_broker(c, ch, m->decoded); break;
        case AMQP_CHANNEL_CLOSE_OK_METHOD: channel_closed(c, ch, false); break;
        case AMQP_EXCHANGE_DECLARE_OK_METHOD:
        case AMQP_QUEUE_DECLARE_OK_METHOD:
        case AMQP_QUEUE_BIND_OK_METHOD:
        case AMQP_QUEUE_UNBIND_OK_METHOD: answered(ch, m); break;
        default: break; /* open-ok, consume-ok: what was sent behind them needs no answer */
        }
}

static void handle_frame(struct consumer *c, const amqp_frame_t *f)
{
        struct channel *ch = f->channel < CHANNELS_MAX ? c->channels[f->channel] : NULL;
        if (!ch) {
                return;
        }
        bool ok = true;
        if (f->frame_type == AMQP_FRAME_METHOD) {
                handle_method(c, ch, &f->payload.method);
        } else if (ch->closing || !ch->tap) {
                return;
        } else if (f->frame_type == AMQP_FRAME_HEADER) {
                ok = deliver_header(c, ch, f);
        } else if (f->frame_type == AMQP_FRAME_BODY) {
                ok = deliver_body(c, ch, f->payload.body_fragment);
        }
        if (!ok) {
                broke(c, ch);
        }
}

/* True: there is nothing more for now. */
static bool read_frames(struct consumer *c)
{
        amqp_frame_t f;
        for (int i = 0; i < FRAMES_PER_TURN; i++) {
                if (wire_next(&c->wire, &f) <= 0) {
                        return true;
                }
                handle_frame(c, &f);
                amqp_maybe_release_buffers_on_channel(c->wire.state, f.channel);
        }
        return false;
}

/* --- turns ------------------------------------------------------------------------------------ */

static void flush(struct consumer *c, bool drained)
{
        int64_t now = clock_ns();
        for (struct tap *t = c->taps; t; t = t->next) {
                struct channel *ch = t->channel;
                if (!ch) {
                        continue;
                }
                bool small = ch->batch_before < BATCH_LARGE;
                if (ch->batch && ((drained && small) || now - ch->batch_ns >= LINGER_NS)) {
                        deliver_flush(c, ch);
                }
                if (t->channel) {
                        channel_prove(c, ch, now);
                }
        }
}

void consumer_turn(struct consumer *c, int64_t until_ns)
{
        int64_t now = clock_ns(), due = flow_deadline(c, now);
        wire_wait(&c->wire, c->wake_fd, due < until_ns ? due : until_ns);
        take_inbox(c);
        now = clock_ns();
        deliver_retry(c, now);
        flow_tend(c, now);
        bool drained = read_frames(c);
        flush(c, drained);
}

static bool is_complete(const struct tap *t)
{
        return t->declared && t->bound == t->order;
}

static int64_t due_ns(const struct tap *t)
{
        bool declare = !is_complete(t) && (!t->declared || t->declare_ns < t->probe_ns);
        return declare ? t->declare_ns : t->probe_ns;
}

/* Declares what is missing and probes what is due. Returns when there is more to do. */
static int64_t tend(struct consumer *c)
{
        int64_t at = clock_ns() + NS_PER_S;
        if (!c->base_declared && clock_ns() >= c->base_ns) {
                c->base_declared = topology_base(c);
                c->base_ns = clock_ns() + TOPOLOGY_AGAIN;
        }
        for (struct tap *t = c->taps; t && !c->wire.dead && !c->stopping; t = t->next) {
                int64_t now = clock_ns();
                if (!is_complete(t) && now >= t->declare_ns) {
                        t->declare_ns = now + (t->declared ? BIND_AGAIN : TOPOLOGY_AGAIN);
                        t->probe_ns = t->declared ? t->probe_ns : now + NS_PER_S;
                        t->declared = topology_tap(c, t);
                } else if (t->declared && now >= t->probe_ns) {
                        probe_tap(c, t);
                }
                now = due_ns(t);
                at = now < at ? now : at;
        }
        return at;
}

static void serve(struct consumer *c)
{
        c->opened_ns = clock_ns();
        int64_t at = tend(c);
        c->looked = true;
        if (!c->wire.dead && !c->stopping) {
                desk_side(&c->rabbit->desk, SIDE_CONSUMER, true, c->wire.place->text);
        }
        while (!c->wire.dead && !c->stopping) {
                consumer_turn(c, at);
                if (!c->wire.dead && !c->stopping) {
                        at = tend(c);
                }
        }
}

/* --- the thread ------------------------------------------------------------------------------- */

static void part(struct consumer *c)
{
        for (struct tap *t = c->taps; t; t = t->next) {
                channel_release(c, t->channel);
        }
        c->looked = c->ready = false;
        channel_forget_all(c);
        wire_close(&c->wire, c->stopping);
        c->base_declared = false;
        c->base_ns = 0;
        for (struct tap *t = c->taps; t; t = t->next) {
                t->declared = false;
                t->declare_ns = t->open_ns = 0;
                t->failures = 0;
        }
        deliver_retry(c, clock_ns());
}

static void wait_down(struct consumer *c, int64_t until_ns)
{
        while (!c->stopping && clock_ns() < until_ns) {
                wire_wait(&c->wire, c->wake_fd, until_ns);
                take_inbox(c);
        }
}

static void free_taps(struct consumer *c)
{
        while (c->taps) {
                struct tap *t = c->taps;
                c->taps = t->next;
                free(t);
        }
        while (c->orders) {
                struct order *o = c->orders;
                c->orders = o->next;
                arena_deinit(&o->arena);
                free(o);
        }
}

void *consumer_run(void *arg)
{
        struct consumer *c = arg;
        struct rabbit *r = c->rabbit;
        unsigned delay = RETRY_FIRST_MS;
        while (!c->stopping && !atomic_load(&r->polled)) {
                wire_wait(&c->wire, c->wake_fd, INT64_MAX);
                take_inbox(c);
        }
        take_inbox(c);
        char note[256];
        while (!c->stopping) {
                int denied = wire_open(&c->wire, &r->settings, "consumer", note, sizeof note);
                if (denied == 0) {
                        delay = RETRY_FIRST_MS;
                        serve(c);
                        take_inbox(c); /* acknowledges what is settled, if it still can */
                        snprintf(note, sizeof note, "%s: %s", c->wire.place->text, c->wire.why);
                } else if (wire_more(&c->wire, &r->settings)) {
                        take_inbox(c);
                        continue;
                }
                desk_side(&r->desk, SIDE_CONSUMER, false, note); /* DOWN before LOST */
                part(c);
                uint32_t ms = denied == WIRE_DENIED ? RETRY_DENIED_MS : delay;
                wait_down(c, clock_ns() + jittered(&c->random, ms) * NS_PER_MS);
                delay = delay * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : delay * 2;
        }
        take_inbox(c);
        part(c);
        free_taps(c);
        rabbit_unref(r);
        return NULL;
}
