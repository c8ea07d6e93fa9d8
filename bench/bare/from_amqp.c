/*
 * The bare loop's side to RabbitMQ: one connection, a prefetch of three batches, one
 * acknowledgement for each batch.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bare/loop.h"
#include "bench/kit.h"
#include "bench/kit_amqp.h"

#define PATIENCE_S 20 /* for the next letter */

struct rabbit {
        struct bare_broker base;
        amqp_connection_state_t connection;
};

static amqp_connection_state_t connection_of(struct bare_broker *b)
{
        return ((struct rabbit *)b)->connection;
}

static void limit_prefetch(amqp_connection_state_t c, long prefetch)
{
        amqp_basic_qos(c, CHANNEL, 0, (uint16_t)(prefetch < 65535 ? prefetch : 65535), 0);
        broker_must(c, "basic.qos");
}

static struct bare_broker *open_rabbit(const char *url, const char *queue, long n, long together)
{
        struct rabbit *r = calloc(1, sizeof *r);
        if (!r) {
                die("no memory");
        }
        (void)n; /* letters come as long as there are any */
        *r = (struct rabbit){{&bare_amqp}, broker_connect(url)};
        limit_prefetch(r->connection, 3 * together);
        amqp_basic_consume(r->connection, CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0,
                           0, 0, amqp_empty_table);
        broker_must(r->connection, "basic.consume");
        return &r->base;
}

/* False: none is there, and it was not to wait. */
static bool receive_letter(amqp_connection_state_t c, struct batch *b, bool wait)
{
        const struct timeval patience = {wait ? PATIENCE_S : 0, 0};
        amqp_envelope_t e;
        amqp_maybe_release_buffers(c);
        amqp_rpc_reply_t r = amqp_consume_message(c, &e, &patience, 0);
        if (!wait && r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
            r.library_error == AMQP_STATUS_TIMEOUT) {
                return false;
        }
        if (r.reply_type != AMQP_RESPONSE_NORMAL || e.message.body.len != (size_t)payload_size) {
                die("no letter of %ld bytes came within %d s", payload_size, PATIENCE_S);
        }
        amqp_bytes_t id = e.message.properties.message_id;
        if (uuid_parse(id.bytes, id.len, b->ids + 16 * b->n) != 0) {
                make_uuid(b->ids + 16 * b->n);
        }
        memcpy(b->payloads + payload_size * b->n, e.message.body.bytes, e.message.body.len);
        b->mark = e.delivery_tag;
        b->n++;
        amqp_destroy_envelope(&e);
        return true;
}

static void receive(struct bare_broker *b, long least, long most, struct batch *ret)
{
        ret->n = 0;
        while (ret->n < most && receive_letter(connection_of(b), ret, ret->n < least)) {}
}

static void acknowledge(struct bare_broker *b, struct batch *batch)
{
        if (amqp_basic_ack(connection_of(b), CHANNEL, batch->mark, 1) != AMQP_STATUS_OK) {
                die("the broker went away");
        }
}

/* A round trip: the channel has seen the acknowledgements. */
static void settle(struct bare_broker *b)
{
        limit_prefetch(connection_of(b), 1);
}

static void close_rabbit(struct bare_broker *b)
{
        broker_leave(connection_of(b));
        free(b);
}

const struct bare_broker_ops bare_amqp = {
    .open = open_rabbit,
    .receive = receive,
    .acknowledge = acknowledge,
    .settle = settle,
    .close = close_rabbit,
};
