/*
 * The producer's half of RabbitMQ: persistent, mandatory letters to the exchange `jobs`.
 *
 * The three frames of a letter are encoded once, by rabbitmq-c, and patched from then on, so that
 * many letters leave with one system call; amqp_basic_publish() makes three calls a letter, and
 * then the producer is what one measures.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bench/kit.h"
#include "bench/kit_amqp.h"
#include "bench/publish.h"

#define EXCHANGE    "jobs"
#define LETTER_MAX  (PAYLOAD_MAX + 1024)
#define FRAME_HEAD  7
#define FRAME_END   0xce
#define CLASS_BASIC 60

/* One letter as it goes over the wire. */
struct letter {
        char bytes[LETTER_MAX];
        size_t n, payload, id; /* where what is patched stands; id 0: none */
};

struct rabbit {
        struct producer base;
        amqp_connection_state_t connection;
        struct letter letter;
        enum letter_ids ids;
};

static struct rabbit *of(struct producer *p)
{
        return (struct rabbit *)p;
}

/* --- encoding --------------------------------------------------------------------------------- */

static void put_u32(char *p, uint32_t v)
{
        for (int i = 0; i < 4; i++) {
                p[i] = (char)(v >> (24 - 8 * i));
        }
}

/* Closes the frame that begins at `at` and has n bytes of content; returns where the next begins.
 */
static size_t close_frame(struct letter *l, size_t at, char type, size_t n)
{
        l->bytes[at] = type;
        l->bytes[at + 1] = 0;
        l->bytes[at + 2] = CHANNEL;
        put_u32(l->bytes + at + 3, (uint32_t)n);
        l->bytes[at + FRAME_HEAD + n] = (char)FRAME_END;
        return at + FRAME_HEAD + n + 1;
}

static size_t encode_method(struct letter *l, size_t at, const char *key)
{
        amqp_basic_publish_t publish = {
            .exchange = amqp_cstring_bytes(EXCHANGE),
            .routing_key = amqp_cstring_bytes(key),
            .mandatory = 1,
        };
        char *p = l->bytes + at + FRAME_HEAD;
        put_u32(p, AMQP_BASIC_PUBLISH_METHOD);
        int n = amqp_encode_method(AMQP_BASIC_PUBLISH_METHOD, &publish, (amqp_bytes_t){400, p + 4});
        if (n < 0) {
                die("the routing key is too long");
        }
        return close_frame(l, at, AMQP_FRAME_METHOD, 4 + (size_t)n);
}

static size_t encode_header(struct letter *l, size_t at, bool ids)
{
        char zeros[37] = "00000000-0000-0000-0000-000000000000";
        amqp_basic_properties_t properties = {
            ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | (ids ? AMQP_BASIC_MESSAGE_ID_FLAG : 0u),
            .delivery_mode = AMQP_DELIVERY_PERSISTENT,
            .message_id = amqp_cstring_bytes(zeros),
        };
        char *p = l->bytes + at + FRAME_HEAD;
        memset(p, 0, 12);
        p[1] = CLASS_BASIC; /* class, weight, body size (64 bits) */
        put_u32(p + 8, (uint32_t)payload_size);
        int n = amqp_encode_properties(CLASS_BASIC, &properties, (amqp_bytes_t){200, p + 12});
        if (n < 0) {
                die("the properties cannot be encoded");
        }
        if (ids) { /* the last property */
                l->id = at + FRAME_HEAD + 12 + (size_t)n - 36;
        }
        return close_frame(l, at, AMQP_FRAME_HEADER, 12 + (size_t)n);
}

static void encode_letter(struct letter *l, const char *key, bool ids)
{
        *l = (struct letter){0};
        size_t at = encode_header(l, encode_method(l, 0, key), ids);
        l->payload = at + FRAME_HEAD;
        l->n = close_frame(l, at, AMQP_FRAME_BODY, (size_t)payload_size);
}

static void copy_letter(const struct letter *l, enum letter_ids ids, long number, char *to)
{
        memcpy(to, l->bytes, l->n);
        make_payload(wall_us(), number, to + l->payload);
        if (l->id) {
                char text[37];
                make_id_text(ids, text);
                memcpy(to + l->id, text, 36);
        }
}

/* --- sending ---------------------------------------------------------------------------------- */

static void send_all(int fd, const char *bytes, size_t n)
{
        while (n > 0) {
                ssize_t r = send(fd, bytes, n, MSG_NOSIGNAL);
                if (r < 0 && errno == EAGAIN) { /* the library's socket never waits */
                        poll(&(struct pollfd){fd, POLLOUT, 0}, 1, -1);
                } else if (r < 0 && errno != EINTR) {
                        die("send: %s", strerror(errno));
                }
                bytes += r > 0 ? r : 0;
                n -= r > 0 ? (size_t)r : 0;
        }
}

static void send_letters(struct producer *p, struct window *w, uint64_t n)
{
        static char bytes[TOGETHER * LETTER_MAX];
        const struct letter *l = &of(p)->letter;
        for (uint64_t i = 0; i < n; i++) {
                copy_letter(l, of(p)->ids, (long)w->sent++, bytes + i * l->n);
        }
        send_all(amqp_get_sockfd(of(p)->connection), bytes, n * l->n);
}

static void take_confirm(struct window *w, const amqp_basic_ack_t *a)
{
        if (a->multiple) {
                while (w->low < a->delivery_tag) {
                        window_confirm(w, w->low);
                }
        } else {
                window_confirm(w, a->delivery_tag - 1);
        }
}

static const char *surprise(const amqp_frame_t *f)
{
        switch (f->frame_type == AMQP_FRAME_METHOD ? f->payload.method.id : 0) {
        case AMQP_BASIC_RETURN_METHOD: return "no queue is bound for the routing key";
        case AMQP_BASIC_NACK_METHOD: return "the broker refused a letter";
        case AMQP_CHANNEL_CLOSE_METHOD:
                return "the broker closed the channel; exchange " EXCHANGE "?";
        default: return "the broker says what was not expected";
        }
}

/* Takes what the broker says; `wait`: at least one thing. */
static void take_confirms(struct producer *p, struct window *w, bool wait)
{
        amqp_connection_state_t c = of(p)->connection;
        const struct timeval at_once = {0, 0};
        amqp_frame_t frame;
        for (;; wait = false) {
                int r = amqp_simple_wait_frame_noblock(c, &frame, wait ? NULL : &at_once);
                if (r == AMQP_STATUS_TIMEOUT) {
                        return;
                }
                if (r != AMQP_STATUS_OK) {
                        die("waiting for confirms: %s", amqp_error_string2(r));
                }
                if (frame.frame_type != AMQP_FRAME_METHOD ||
                    frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
                        die("%s", surprise(&frame));
                }
                take_confirm(w, frame.payload.method.decoded);
                amqp_maybe_release_buffers(c);
        }
}

static void begin(struct producer *p, const char *key, enum letter_ids ids)
{
        of(p)->ids = ids;
        encode_letter(&of(p)->letter, key, ids != IDS_NONE);
        amqp_confirm_select(of(p)->connection, CHANNEL);
        broker_must(of(p)->connection, "confirm.select");
}

/* --- queues ----------------------------------------------------------------------------------- */

/* skepd's own, with what it gave it, or else a plain one. */
static void declare_exchange(amqp_connection_state_t c)
{
        amqp_exchange_declare(c, CHANNEL, amqp_cstring_bytes(EXCHANGE), amqp_cstring_bytes("topic"),
                              1, 1, 0, 0, amqp_empty_table);
        if (amqp_get_rpc_reply(c).reply_type != AMQP_RESPONSE_NORMAL) { /* closed the channel */
                amqp_channel_close_ok_t ok = {0};
                amqp_send_method(c, CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
                amqp_channel_open(c, CHANNEL);
                broker_must(c, "channel.open");
                amqp_exchange_declare(c, CHANNEL, amqp_cstring_bytes(EXCHANGE),
                                      amqp_cstring_bytes("topic"), 0, 1, 0, 0, amqp_empty_table);
                broker_must(c, "exchange.declare");
        }
}

static void declare(struct producer *p, const char *name, const char *key)
{
        amqp_connection_state_t c = of(p)->connection;
        amqp_bytes_t queue = amqp_cstring_bytes(name);
        amqp_table_entry_t kind = {.key = amqp_cstring_bytes("x-queue-type"),
                                   .value = {.kind = AMQP_FIELD_KIND_UTF8}};
        kind.value.value.bytes = amqp_cstring_bytes("quorum");
        declare_exchange(c);
        amqp_queue_declare(c, CHANNEL, queue, 0, 1, 0, 0, (amqp_table_t){1, &kind});
        broker_must(c, "queue.declare");
        amqp_queue_bind(c, CHANNEL, queue, amqp_cstring_bytes(EXCHANGE), amqp_cstring_bytes(key),
                        amqp_empty_table);
        broker_must(c, "queue.bind");
}

static long depth(struct producer *p, const char *queue)
{
        amqp_connection_state_t c = of(p)->connection;
        amqp_queue_declare_ok_t *ok =
            amqp_queue_declare(c, CHANNEL, amqp_cstring_bytes(queue), 1, 0, 0, 0, amqp_empty_table);
        broker_must(c, "queue.declare");
        return ok->message_count;
}

static void purge(struct producer *p, const char *queue)
{
        amqp_queue_purge(of(p)->connection, CHANNEL, amqp_cstring_bytes(queue));
        broker_must(of(p)->connection, "queue.purge");
}

/* --- the seam --------------------------------------------------------------------------------- */

static struct producer *open_rabbit(const char *url, bool paced)
{
        struct rabbit *r = calloc(1, sizeof *r);
        if (!r) {
                die("no memory");
        }
        (void)paced; /* each send is one system call anyway */
        r->base.ops = &producer_amqp;
        r->connection = broker_connect(url);
        return &r->base;
}

static void close_rabbit(struct producer *p)
{
        broker_leave(of(p)->connection);
        free(p);
}

const struct producer_ops producer_amqp = {
    .open = open_rabbit,
    .declare = declare,
    .depth = depth,
    .purge = purge,
    .begin = begin,
    .send = send_letters,
    .take = take_confirms,
    .close = close_rabbit,
};
