/*
 * Looks at a queue from outside: how many messages are ready. Tells that it is empty, and finds the
 * consumer that is up and deaf: credit is open, messages wait, nothing comes.
 *
 * The number does not hold what anybody has unacknowledged; ours is known, others' are not.
 */
#include "transports/amqp/internal.h"

#define PROBE_EVERY_NS (5 * NS_PER_S)
#define DEAF_AFTER_NS  (24 * NS_PER_S) /* and up to 5 s until the first probe: within 30 s */
#define QUIET_NS       NS_PER_S        /* a delivery may be slower than the number */

static bool credit_is_open(const struct tap *t)
{
        return t->room && t->channel && t->channel->consuming &&
               channel_credit_used(t->channel) < t->channel->prefetch;
}

static void reopen(struct consumer *c, struct tap *t, uint32_t messages, int64_t waited_ns)
{
        desk_note(&c->rabbit->desk, LEVEL_WARNING,
                  "queue %s: %u messages wait and none was delivered for %d s; its channel is "
                  "opened anew",
                  t->order->name, messages, (int)(waited_ns / NS_PER_S));
        desk_tell(&c->rabbit->desk, TRANSPORT_DEAF, t->order->queue);
        t->waiting_ns = 0;
        channel_close(c, t->channel, true);
}

/* Counted is the time since a probe first saw messages and nothing came: a queue may have been idle
 * for hours before. */
static void judge(struct consumer *c, struct tap *t, uint32_t messages)
{
        int64_t now = clock_ns();
        bool ours = t->channel && t->channel->unacked;
        if (messages == 0 && !ours && now - t->delivered_ns >= QUIET_NS) {
                desk_tell(&c->rabbit->desk, TRANSPORT_EMPTY, t->order->queue);
        }
        if (messages == 0 || !credit_is_open(t)) {
                t->waiting_ns = 0;
        } else if (t->waiting_ns <= t->delivered_ns) {
                t->waiting_ns = now;
        } else if (now - t->waiting_ns >= DEAF_AFTER_NS) {
                reopen(c, t, messages, now - t->delivered_ns);
        }
}

void probe_tap(struct consumer *c, struct tap *t)
{
        struct reply reply;
        amqp_queue_declare_t m = {.queue = bytes_of(t->order->name), .passive = 1};
        int r = call(c, AMQP_QUEUE_DECLARE_METHOD, &m, &reply);
        t->probe_ns = clock_ns() + PROBE_EVERY_NS;
        if (r == 0) {
                judge(c, t, reply.messages);
        } else if (r == CALL_CLOSED && reply.code == AMQP_NOT_FOUND) {
                topology_say(c, t, LEVEL_WARNING, "queue %s: %s", t->order->name, reply.text);
                t->declared = false;
                t->declare_ns = 0;
        } else if (r > 0) {
                topology_say(c, t, LEVEL_WARNING, "queue %s: cannot be looked at: %s",
                             t->order->name, reply.text);
        }
}
