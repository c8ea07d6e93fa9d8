/*
 * The producer's half of NATS JetStream: plain publishes whose reply subject carries the letter's
 * number, so that each PubAck says which letter the stream has. The library's own asynchronous
 * publishing keeps a table of them and copies each letter once more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kit.h"
#include "bench/kit_nats.h"
#include "bench/publish.h"

#define PATIENCE_MS 20000

struct nats {
        struct producer base;
        natsConnection *connection;
        natsSubscription *confirms;
        natsInbox *inbox;
        size_t inbox_length;
        const char *subject;
        enum letter_ids ids;
};

static struct nats *of(struct producer *p)
{
        return (struct nats *)p;
}

/* --- sending ---------------------------------------------------------------------------------- */

static void begin(struct producer *p, const char *key, enum letter_ids ids)
{
        struct nats *n = of(p);
        n->subject = key;
        n->ids = ids;
        n->confirms = stream_listen(n->connection, ".*", &n->inbox);
        n->inbox_length = strlen(n->inbox);
}

static void add_id(natsMsg *m, enum letter_ids ids)
{
        char text[37];
        make_id_text(ids, text);
        stream_must(natsMsgHeader_Set(m, "Nats-Msg-Id", text), "message id");
}

static void send_letter(struct nats *n, uint64_t number)
{
        char payload[PAYLOAD_MAX], reply[256];
        natsMsg *m;
        make_payload(wall_us(), (long)number, payload);
        snprintf(reply, sizeof reply, "%s.%llu", n->inbox, (unsigned long long)number);
        stream_must(natsMsg_Create(&m, n->subject, reply, payload, (int)payload_size), "letter");
        if (n->ids) {
                add_id(m, n->ids);
        }
        stream_must(natsConnection_PublishMsg(n->connection, m), "publish");
        natsMsg_Destroy(m);
}

static void send_letters(struct producer *p, struct window *w, uint64_t n)
{
        for (uint64_t i = 0; i < n; i++) {
                send_letter(of(p), w->sent++);
        }
}

/* {"stream":"JOBS", "seq":1}; or {"error":{...}, ...}, or with "duplicate": true */
static void take_confirm(struct nats *n, struct window *w, natsMsg *m)
{
        const char *said = natsMsg_GetData(m);
        if (!strstr(said, "\"seq\"") || strstr(said, "\"error\"") ||
            strstr(said, "\"duplicate\"")) {
                die("the stream says %s", said);
        }
        window_confirm(w, strtoull(natsMsg_GetSubject(m) + n->inbox_length + 1, NULL, 10));
        natsMsg_Destroy(m);
}

static void take_confirms(struct producer *p, struct window *w, bool wait)
{
        for (;; wait = false) {
                natsMsg *m;
                natsStatus s =
                    natsSubscription_NextMsg(&m, of(p)->confirms, wait ? PATIENCE_MS : 0);
                if (s == NATS_TIMEOUT && !wait) {
                        return;
                }
                if (s == NATS_NO_RESPONDERS) {
                        die("no stream keeps %s", of(p)->subject);
                }
                stream_must(s, "waiting for confirms");
                take_confirm(of(p), w, m);
        }
}

/* --- streams ---------------------------------------------------------------------------------- */

/* All subjects that begin as this one, as skepd's own stream takes more than one type of job. */
static void declare(struct producer *p, const char *stream, const char *subject)
{
        char all[128];
        snprintf(all, sizeof all, "%.*s.>", (int)strcspn(subject, "."), subject);
        stream_declare(of(p)->connection, stream, all);
        stream_declare_consumer(of(p)->connection, stream, subject);
}

static long depth(struct producer *p, const char *stream)
{
        return stream_depth(of(p)->connection, stream);
}

static void purge(struct producer *p, const char *stream)
{
        stream_purge(of(p)->connection, stream);
}

/* --- the seam --------------------------------------------------------------------------------- */

static struct producer *open_nats(const char *url, bool paced)
{
        struct nats *n = calloc(1, sizeof *n);
        if (!n) {
                die("no memory");
        }
        n->base.ops = &producer_nats;
        n->connection = stream_connect(url, paced);
        return &n->base;
}

static void close_nats(struct producer *p)
{
        natsSubscription_Destroy(of(p)->confirms);
        natsInbox_Destroy(of(p)->inbox);
        stream_leave(of(p)->connection);
        free(p);
}

const struct producer_ops producer_nats = {
    .open = open_nats,
    .declare = declare,
    .depth = depth,
    .purge = purge,
    .begin = begin,
    .send = send_letters,
    .take = take_confirms,
    .close = close_nats,
};
