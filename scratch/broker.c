/*
 * What a scratch transport left on its broker: on RabbitMQ the queue, the exchange and the two that
 * go with it, on NATS the stream and that of the refused. skepd makes them and never removes any,
 * so it is done here, by names that begin with the prefix and no others.
 *
 * Connections in plain text to this host alone: logging in with certificates and key files is the
 * transports' own, and a bench that cannot remove what it made must not begin.
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "core/config.h"
#include "scratch/scratch.h"

#define CHANNEL    1
#define FRAME_MAX  131072
#define WAIT_S     10
#define NAME_BYTES 128

static bool is_amqp(const struct transport_config *t)
{
        return strncmp(t->url.p, "amqp://", 7) == 0;
}

int broker_judge(const struct transport_config *t)
{
        bool plain = is_amqp(t) || strncmp(t->url.p, "nats://", 7) == 0;
        if (!plain || strchr(t->url.p, ',') || t->token_file.n || t->creds_file.n ||
            t->nkey_file.n || t->password_file.n) {
                return refuse(EX_UNAVAILABLE,
                              "--transport %s: only one server is reached here, as amqp:// or "
                              "nats:// and by its URL alone; without --transport the ledger is "
                              "measured",
                              t->name.p);
        }
        return t->create == CREATE_NOTHING && !is_amqp(t)
                   ? refuse(EX_NOPERM, "--transport %s: it must not make streams (create = no)",
                            t->name.p)
                   : 0;
}

/* --- RabbitMQ --------------------------------------------------------------------------------- */

static int open_rabbit(const char *url, amqp_connection_state_t *ret)
{
        char text[2100];
        struct amqp_connection_info to;
        const struct timeval wait = {WAIT_S, 0};
        snprintf(text, sizeof text, "%s", url);
        if (amqp_parse_url(text, &to) != AMQP_STATUS_OK) {
                return refuse(EX_CONFIG, "the transport's URL is not understood here");
        }
        amqp_connection_state_t c = amqp_new_connection();
        amqp_socket_t *s = c ? amqp_tcp_socket_new(c) : NULL;
        int r = 0;
        if (!s || amqp_socket_open_noblock(s, to.host, to.port, &wait) != AMQP_STATUS_OK) {
                r = refuse(EX_UNAVAILABLE, "no broker answers at %s:%d", to.host, to.port);
        } else if (amqp_login(c, to.vhost, 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, to.user,
                              to.password)
                       .reply_type != AMQP_RESPONSE_NORMAL) {
                r = refuse(EX_NOPERM, "%s:%d does not let %s in", to.host, to.port, to.user);
        }
        if (r) {
                amqp_destroy_connection(c);
                return r;
        }
        *ret = c;
        return 0;
}

/* What is not there is none to delete; RabbitMQ says so with success. */
static bool delete_rabbit(amqp_connection_state_t c, const char *name, bool queue)
{
        amqp_channel_open(c, CHANNEL);
        if (queue) {
                amqp_queue_delete(c, CHANNEL, amqp_cstring_bytes(name), 0, 0);
        } else {
                amqp_exchange_delete(c, CHANNEL, amqp_cstring_bytes(name), 0);
        }
        bool done = amqp_get_rpc_reply(c).reply_type == AMQP_RESPONSE_NORMAL;
        amqp_channel_close(c, CHANNEL, AMQP_REPLY_SUCCESS);
        return done;
}

static int clear_rabbit(const struct transport_config *t)
{
        char refused[NAME_BYTES], unrouted[NAME_BYTES];
        amqp_connection_state_t c = NULL;
        int r = open_rabbit(t->url.p, &c);
        if (r) {
                return r;
        }
        snprintf(refused, sizeof refused, "%s.refused", t->exchange.p);
        snprintf(unrouted, sizeof unrouted, "%s.unrouted", t->exchange.p);
        const struct {
                const char *name;
                bool queue;
        } all[] = {{t->exchange.p, true},
                   {refused, true},
                   {unrouted, true},
                   {t->exchange.p, false},
                   {unrouted, false}};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                if (!delete_rabbit(c, all[i].name, all[i].queue)) {
                        r = refuse(EX_UNAVAILABLE, "%s %s stays",
                                   all[i].queue ? "queue" : "exchange", all[i].name);
                }
        }
        amqp_connection_close(c, AMQP_REPLY_SUCCESS);
        amqp_destroy_connection(c);
        return r;
}

/* --- NATS ------------------------------------------------------------------------------------- */

static int clear_nats(const struct transport_config *t)
{
        natsConnection *c = NULL;
        jsCtx *js = NULL;
        char refused[NAME_BYTES];
        const char *names[] = {t->stream.p, refused};
        int r = 0;
        snprintf(refused, sizeof refused, "%s_REFUSED", t->stream.p);
        natsStatus s = natsConnection_ConnectTo(&c, t->url.p);
        s = s ? s : natsConnection_JetStream(&js, c, NULL);
        if (s) {
                r = refuse(EX_UNAVAILABLE, "NATS: %s", natsStatus_GetText(s));
        }
        for (size_t i = 0; i < 2 && !s; i++) {
                jsErrCode code = 0;
                natsStatus gone = js_DeleteStream(js, names[i], NULL, &code);
                if (gone && gone != NATS_NOT_FOUND && code != JSStreamNotFoundErr) {
                        r = refuse(EX_UNAVAILABLE, "stream %s stays: %s", names[i],
                                   natsStatus_GetText(gone));
                }
        }
        jsCtx_Destroy(js);
        natsConnection_Destroy(c);
        nats_Close();
        return r;
}

int broker_clear(const struct transport_config *t)
{
        const char *name = is_amqp(t) ? t->exchange.p : t->subject.p;
        if (strncmp(name, SCRATCH_PREFIX, sizeof SCRATCH_PREFIX - 1) != 0) {
                return refuse(EX_USAGE, "%s: not a name that `make` made", name);
        }
        return is_amqp(t) ? clear_rabbit(t) : clear_nats(t);
}
