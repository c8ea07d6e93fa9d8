/*
 * The bare loop's side to NATS JetStream: a durable pull consumer, two requests in flight of a
 * batch each, and an acknowledgement for each letter: a WorkQueue stream takes no other. The
 * library's own thread reads the socket, so that letters come in while the loop waits for its
 * ledger.
 *
 * QUEUE is a stream that `bench-publish declare` made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bare/loop.h"
#include "bench/kit.h"
#include "bench/kit_nats.h"

#define PATIENCE_S 20 /* for the next letter */

struct nats {
        struct bare_broker base;
        natsConnection *connection;
        natsSubscription *inbox;
        natsInbox *inbox_name;
        const char *stream;
        char next[256], pull[64];       /* where and what is asked for */
        long together, left, under_way; /* letters: per request, not asked for yet, asked for */
};

static struct nats *of(struct bare_broker *b)
{
        return (struct nats *)b;
}

/* Two requests in flight: one is what the loop receives, the other what comes meanwhile. */
static void ask(struct nats *n)
{
        while (n->left && n->under_way <= n->together) {
                long most = n->left < n->together ? n->left : n->together;
                snprintf(n->pull, sizeof n->pull, "{\"batch\":%ld,\"expires\":%lld}", most,
                         600 * 1000000000LL);
                stream_must(natsConnection_PublishRequestString(n->connection, n->next,
                                                                n->inbox_name, n->pull),
                            "pull");
                n->left -= most;
                n->under_way += most;
        }
}

static struct bare_broker *open_nats(const char *url, const char *queue, long letters,
                                     long together)
{
        struct nats *n = calloc(1, sizeof *n);
        if (!n) {
                die("no memory");
        }
        n->base.ops = &bare_nats;
        n->connection = stream_connect(url, false);
        n->inbox = stream_listen(n->connection, "", &n->inbox_name);
        n->stream = queue;
        n->left = letters;
        n->together = together;
        snprintf(n->next, sizeof n->next, "$JS.API.CONSUMER.MSG.NEXT.%s." STREAM_CONSUMER, queue);
        ask(n);
        return &n->base;
}

/* A letter can be acknowledged; anything else that comes says that a request ended. */
static natsMsg *next_letter(struct nats *n, bool wait)
{
        natsMsg *m;
        natsStatus s = natsSubscription_NextMsg(&m, n->inbox, wait ? PATIENCE_S * 1000 : 0);
        if (s == NATS_TIMEOUT && !wait) {
                return NULL;
        }
        stream_must(s, "waiting for a letter");
        const char *reply = natsMsg_GetReply(m);
        if (!reply || strncmp(reply, "$JS.ACK.", 8) != 0) {
                const char *status = "nothing";
                natsMsgHeader_Get(m, "Status", &status);
                die("the server answers a pull with %s", status);
        }
        if (natsMsg_GetDataLength(m) != payload_size) {
                die("a letter has other than %ld bytes", payload_size);
        }
        return m;
}

static void take_letter(struct batch *b, natsMsg *m)
{
        const char *id;
        uint8_t *to = b->ids + 16 * b->n;
        if (natsMsgHeader_Get(m, "Nats-Msg-Id", &id) != NATS_OK ||
            uuid_parse(id, strlen(id), to) != 0) {
                make_uuid(to);
        }
        memcpy(b->payloads + payload_size * b->n, natsMsg_GetData(m), (size_t)payload_size);
        b->letters[b->n++] = m;
}

static void receive(struct bare_broker *b, long least, long most, struct batch *ret)
{
        struct nats *n = of(b);
        natsMsg *m;
        ret->n = 0;
        while (ret->n < most && (m = next_letter(n, ret->n < least))) {
                take_letter(ret, m);
                n->under_way--;
                ask(n);
        }
}

static void acknowledge(struct bare_broker *b, struct batch *batch)
{
        for (long i = 0; i < batch->n; i++) {
                natsMsg *m = batch->letters[i];
                stream_must(
                    natsConnection_Publish(of(b)->connection, natsMsg_GetReply(m), "+ACK", 4),
                    "acknowledge");
                natsMsg_Destroy(m);
        }
}

static void settle(struct bare_broker *b)
{
        double end = monotonic_s() + PATIENCE_S;
        while (stream_unsettled(of(b)->connection, of(b)->stream) > 0) {
                if (monotonic_s() > end) {
                        die("acknowledgements are not taken");
                }
                nats_Sleep(1);
        }
}

static void close_nats(struct bare_broker *b)
{
        struct nats *n = of(b);
        natsSubscription_Destroy(n->inbox);
        stream_leave(n->connection);
        natsInbox_Destroy(n->inbox_name);
        free(n);
}

const struct bare_broker_ops bare_nats = {
    .open = open_nats,
    .receive = receive,
    .acknowledge = acknowledge,
    .settle = settle,
    .close = close_nats,
};
