/*
 * Turns room into prefetch: opens a queue's channel, consumes, consumes anew when the room has
 * grown by a step of a coarse ladder or shrunk by two, cancels when there is none. Everything is
 * sent without waiting: the broker works a channel's methods off in order.
 *
 * Room that is away for a moment only is waited for: cancelling at once would cost more than the
 * few messages that the prefetch lets through.
 */
#include "transports/amqp/internal.h"

#include <stdio.h>

#define ZERO_WAIT_NS      (200 * NS_PER_MS) /* room 0 stops the flow within a second */
#define PUBLISHER_WAIT_NS (2 * NS_PER_S)
#define GROW_WAIT_NS      (20 * NS_PER_MS) /* by several steps */
#define STEP_WAIT_NS      (100 * NS_PER_MS)
#define SHRINK_WAIT_NS    (500 * NS_PER_MS)
#define QUIET_NS          NS_PER_S /* a slower broker would put what is under way at the queue's end */
#define REST_LIMIT_NS     (5 * NS_PER_S)

static const uint16_t ladder[] = {1, 8, 32, 128, 512, 2000, 5000};

static uint32_t rung_of(uint64_t prefetch)
{
        uint32_t i = 0;
        while (i + 1 < ARRAY_LEN(ladder) && ladder[i] < prefetch) {
                i++;
        }
        return i;
}

uint32_t flow_rung(uint32_t room)
{
        uint32_t i = room ? rung_of(2 * (uint64_t)room) : 0;
        return i ? i : room != 0; /* 8 at least, but for large letters */
}

static uint32_t wanted_rung(const struct consumer *c, const struct tap *t)
{
        uint32_t i = flow_rung(t->room);
        uint64_t mean = t->mean_bytes ? t->mean_bytes : 1;
        uint64_t bound = c->rabbit->settings.prefetch_bytes / mean;
        while (i > 0 && ladder[i] > bound) {
                i--;
        }
        return i;
}

static void consume(struct consumer *c, struct tap *t, uint16_t prefetch, int64_t now)
{
        struct channel *ch = t->channel;
        channel_qos(c, ch, prefetch);
        snprintf(ch->tag, sizeof ch->tag, "skep-%llu", (unsigned long long)++c->tags);
        amqp_basic_consume_t m = {.queue = bytes_of(t->order->name),
                                  .consumer_tag = bytes_of(ch->tag)};
        (void)wire_send(&c->wire, ch->number, AMQP_BASIC_CONSUME_METHOD, &m);
        ch->consuming = true;
        ch->first_tag = 0;
        t->consumed_ns = now;
        t->delivered_ns = now;
        t->waiting_ns = 0;
}

/* Without an answer from the broker: nothing hangs on it. */
static void cancel(struct consumer *c, struct channel *ch)
{
        amqp_basic_cancel_t m = {.consumer_tag = bytes_of(ch->tag), .nowait = 1};
        (void)wire_send(&c->wire, ch->number, AMQP_BASIC_CANCEL_METHOD, &m);
        ch->consuming = false;
}

/* A consumer that is cancelled while messages are under way to it has them returned to the queue's
 * other end, counted as delivered: out of order, and nearer to a delivery limit. So the flow is
 * first brought to rest, by keeping acknowledgements back until the credit is used up or nothing
 * comes. */
static bool at_rest(const struct tap *t, int64_t now)
{
        const struct channel *ch = t->channel;
        return channel_credit_used(ch) >= ch->prefetch || now - ch->holding_ns >= REST_LIMIT_NS ||
               (now - t->delivered_ns >= QUIET_NS && now - ch->holding_ns >= QUIET_NS);
}

static void stop_flow(struct consumer *c, struct tap *t, int64_t now)
{
        struct channel *ch = t->channel;
        if (!ch || !ch->consuming) {
                return;
        }
        channel_hold(ch, now);
        if (now - t->room_ns >= ZERO_WAIT_NS && at_rest(t, now)) {
                cancel(c, ch);
                channel_release(c, ch);
        }
}

/* How long a consumer keeps its prefetch although another is wanted. */
static int64_t kept_ns(uint32_t have, uint32_t want)
{
        if (want > have) {
                return want - have > 1 ? GROW_WAIT_NS : STEP_WAIT_NS;
        }
        return have - want > 1 ? SHRINK_WAIT_NS : INT64_MAX;
}

static void adapt_flow(struct consumer *c, struct tap *t, int64_t now)
{
        struct channel *ch = t->channel;
        uint32_t want = wanted_rung(c, t), have = rung_of(ch->prefetch);
        if (now - t->consumed_ns < kept_ns(have, want)) {
                channel_release(c, ch);
                return;
        }
        channel_hold(ch, now);
        if (at_rest(t, now)) {
                cancel(c, ch);
                consume(c, t, ladder[want], now);
                channel_release(c, ch);
        }
}

static void tend_tap(struct consumer *c, struct tap *t, int64_t now)
{
        if (t->room == 0) {
                stop_flow(c, t, now);
                return;
        }
        if (!c->ready || !t->declared || now < t->open_ns) {
                channel_release(c, t->channel);
                return;
        }
        if (!t->channel) {
                t->channel = channel_open(c, t);
                if (!t->channel) {
                        t->open_ns = now + NS_PER_S;
                        return;
                }
        }
        if (t->channel->consuming) {
                adapt_flow(c, t, now);
        } else {
                consume(c, t, ladder[wanted_rung(c, t)], now);
        }
}

/* So that arrivals come after the news that it is up. */
static bool is_ready(const struct consumer *c, int64_t now)
{
        return c->looked && (desk_up(&c->rabbit->desk) || now - c->opened_ns >= PUBLISHER_WAIT_NS);
}

void flow_tend(struct consumer *c, int64_t now)
{
        c->ready = c->ready || is_ready(c, now);
        for (struct tap *t = c->taps; t && !c->wire.dead; t = t->next) {
                tend_tap(c, t, now);
        }
}

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

/* When a flow, a batch or a proof is due that no frame tells of. */
int64_t flow_deadline(const struct consumer *c, int64_t now)
{
        int64_t at = now + (c->looked && !c->ready ? 10 * NS_PER_MS : NS_PER_S);
        for (const struct tap *t = c->taps; t; t = t->next) {
                const struct channel *ch = t->channel;
                if (t->room && t->declared && c->ready && (!ch || !ch->consuming)) {
                        at = earlier(at, t->open_ns);
                }
                if (!ch) {
                        continue;
                }
                if (ch->holding) {
                        at = earlier(at, now + 10 * NS_PER_MS);
                } else if (!t->room && ch->consuming) {
                        at = now;
                }
                if (ch->batch) {
                        at = earlier(at, ch->batch_ns + LINGER_NS);
                }
                if (ch->proving) {
                        at = earlier(at, now + 100 * NS_PER_MS);
                }
        }
        return at;
}
