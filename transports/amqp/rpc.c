/*
 * A method and its answer on the spare channel, for declares and probes. While the answer is
 * awaited everything else goes on: frames of other channels, acknowledgements, rooms. The library's
 * own calls would not read those.
 *
 * An error closes a channel in this protocol, so the spare one is thrown away with it and opened
 * anew for the next call.
 */
#include "transports/amqp/internal.h"

#include <errno.h>
#include <stdio.h>

static int await(struct consumer *c, struct reply *r)
{
        int64_t until = clock_ns() + RPC_LIMIT_NS;
        while (!r->done) {
                int64_t now = clock_ns();
                if (c->wire.dead || c->stopping) {
                        break;
                }
                if (now >= until) {
                        channel_close(c, c->spare, false);
                        snprintf(r->text, sizeof r->text, "no answer within %d s",
                                 (int)(RPC_LIMIT_NS / NS_PER_S));
                        return CALL_LATE;
                }
                consumer_turn(c, until);
        }
        if (c->wire.dead || !r->done) {
                if (c->spare) {
                        c->spare->waiting = NULL;
                }
                return -EPIPE;
        }
        return r->closed ? CALL_CLOSED : 0;
}

int call(struct consumer *c, amqp_method_number_t id, void *method, struct reply *ret)
{
        *ret = (struct reply){0};
        if (c->wire.dead) {
                return -EPIPE;
        }
        if (!c->spare) {
                c->spare = channel_open(c, NULL); /* what follows may be sent before its answer */
                if (!c->spare) {
                        snprintf(ret->text, sizeof ret->text, "no channel is left");
                        return CALL_LATE;
                }
        }
        c->spare->waiting = ret;
        (void)wire_send(&c->wire, c->spare->number, id, method);
        return await(c, ret);
}
