/*
 * rabbitmq-c for the publisher and the bare loop; see kit_amqp.h. Without heartbeats: nobody here
 * would send them while the database works.
 */
#include "bench/kit_amqp.h"

#include <amqp_tcp_socket.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kit.h"

#define FRAME_MAX 131072

void broker_must(amqp_connection_state_t c, const char *what)
{
        amqp_rpc_reply_t r = amqp_get_rpc_reply(c);
        if (r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
                die("%s: %s", what, amqp_error_string2(r.library_error));
        }
        if (r.reply_type != AMQP_RESPONSE_NORMAL) {
                /* channel.close and connection.close begin with the same two fields */
                const amqp_channel_close_t *close = r.reply.decoded;
                die("%s: the broker says %d %.*s", what, close->reply_code,
                    (int)close->reply_text.len, (const char *)close->reply_text.bytes);
        }
}

amqp_connection_state_t broker_connect(const char *url)
{
        struct amqp_connection_info to;
        char *text = strdup(url);
        if (!text || amqp_parse_url(text, &to) != 0) {
                die("%s is no AMQP URL", url);
        }
        amqp_connection_state_t c = amqp_new_connection();
        amqp_socket_t *s = c ? amqp_tcp_socket_new(c) : NULL;
        if (!s || amqp_socket_open(s, to.host, to.port) != 0) {
                die("nobody answers at %s:%d", to.host, to.port);
        }
        amqp_rpc_reply_t r =
            amqp_login(c, to.vhost, 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, to.user, to.password);
        if (r.reply_type != AMQP_RESPONSE_NORMAL) {
                die("cannot log in at %s:%d", to.host, to.port);
        }
        free(text);
        amqp_channel_open(c, CHANNEL);
        broker_must(c, "channel.open");
        return c;
}

void broker_leave(amqp_connection_state_t c)
{
        amqp_channel_close(c, CHANNEL, AMQP_REPLY_SUCCESS);
        amqp_connection_close(c, AMQP_REPLY_SUCCESS);
        amqp_destroy_connection(c);
}
