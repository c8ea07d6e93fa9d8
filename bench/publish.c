/*
 * The producer of the benchmarks: fills a queue with persistent letters of 256 bytes and leaves
 * when the broker has confirmed all of them. No program of skep has a part in it.
 *
 *     bench-publish URL declare QUEUE KEY             a durable quorum queue, bound to `jobs`
 *     bench-publish URL fill KEY N [uuid|none]        as fast as the broker confirms
 *     bench-publish URL pace KEY N RATE [uuid|none]   at a steady rate
 *     bench-publish URL depth QUEUE                   prints how many messages are ready
 *     bench-publish URL purge QUEUE
 *
 * uuid: each letter has a message_id, a UUID (v7) as text. The three frames of a letter are encoded
 * once, by rabbitmq-c, and patched from then on, so that many letters leave with one system call;
 * amqp_basic_publish() makes three calls a letter, and then the producer is what one measures. A
 * letter that no queue is bound for ends the program: it is published as mandatory.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bench/kit.h"
#include "bench/kit_amqp.h"

#define EXCHANGE    "jobs"
#define WINDOW      2048 /* letters without a confirm; a power of two */
#define TOGETHER    64   /* letters in one send */
#define LETTER_MAX  1024
#define LETTERS_MAX 100000000
#define RATE_MAX    100000
#define FRAME_HEAD  7
#define FRAME_END   0xce
#define CLASS_BASIC 60

/* One letter as it goes over the wire. */
struct letter {
        char bytes[LETTER_MAX];
        size_t n, payload, id; /* where what is patched stands; id 0: none */
};

/* Confirms may come out of order one by one: `low` is what all up to are confirmed. */
struct window {
        uint64_t sent, low;
        bool confirmed[WINDOW];
};

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
        int n = amqp_encode_method(AMQP_BASIC_PUBLISH_METHOD, &publish,
                                   (amqp_bytes_t){LETTER_MAX / 2, p + 4});
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
        put_u32(p + 8, PAYLOAD);
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
        l->n = close_frame(l, at, AMQP_FRAME_BODY, PAYLOAD);
}

static void copy_letter(const struct letter *l, long number, char *to)
{
        memcpy(to, l->bytes, l->n);
        make_payload(wall_us(), number, to + l->payload);
        if (l->id) {
                uint8_t id[16];
                char text[37];
                make_uuid(id);
                uuid_text(id, text);
                memcpy(to + l->id, text, 36);
        }
}

/* --- sending ---------------------------------------------------------------------------------- */

static void send_all(int fd, const char *bytes, size_t n)
{
        while (n > 0) {
                ssize_t r = send(fd, bytes, n, MSG_NOSIGNAL);
                if (r < 0 && errno != EINTR) {
                        die("send: %s", strerror(errno));
                }
                bytes += r > 0 ? r : 0;
                n -= r > 0 ? (size_t)r : 0;
        }
}

static void send_letters(amqp_connection_state_t c, const struct letter *l, struct window *w,
                         uint64_t n)
{
        static char bytes[TOGETHER * LETTER_MAX];
        for (uint64_t i = 0; i < n; i++) {
                w->confirmed[w->sent % WINDOW] = false;
                copy_letter(l, (long)w->sent++, bytes + i * l->n);
        }
        send_all(amqp_get_sockfd(c), bytes, n * l->n);
}

static void take_confirm(struct window *w, const amqp_basic_ack_t *a)
{
        if (a->multiple) {
                while (w->low < a->delivery_tag) {
                        w->confirmed[w->low++ % WINDOW] = true;
                }
        } else {
                w->confirmed[(a->delivery_tag - 1) % WINDOW] = true;
        }
        while (w->low < w->sent && w->confirmed[w->low % WINDOW]) {
                w->low++;
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
static void take_confirms(amqp_connection_state_t c, struct window *w, bool wait)
{
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

static void sleep_until(double when_s)
{
        double left = when_s - monotonic_s();
        if (left > 0) {
                nanosleep(
                    &(struct timespec){(time_t)left, (long)((left - (double)(time_t)left) * 1e9)},
                    NULL);
        }
}

/* rate 0: as many as the window lets through */
static void publish(amqp_connection_state_t c, const struct letter *l, long n, long rate)
{
        static struct window w;
        double begin = monotonic_s();
        amqp_confirm_select(c, CHANNEL);
        broker_must(c, "confirm.select");
        while (w.low < (uint64_t)n) {
                uint64_t room = WINDOW - (w.sent - w.low), left = (uint64_t)n - w.sent;
                uint64_t most = rate ? 1 : TOGETHER;
                uint64_t now = left < most ? left : most;
                if (now && rate) {
                        sleep_until(begin + (double)w.sent / (double)rate);
                }
                if (now && now <= room) {
                        send_letters(c, l, &w, now);
                        take_confirms(c, &w, false);
                } else {
                        take_confirms(c, &w, true);
                }
        }
        double seconds = monotonic_s() - begin;
        printf("{\"letters\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f}\n", n,
               seconds, (double)n / seconds, cpu_seconds() * 1e4 / (double)n);
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

static void declare(amqp_connection_state_t c, char **args)
{
        amqp_bytes_t queue = amqp_cstring_bytes(args[0]);
        amqp_table_entry_t kind = {.key = amqp_cstring_bytes("x-queue-type"),
                                   .value = {.kind = AMQP_FIELD_KIND_UTF8}};
        kind.value.value.bytes = amqp_cstring_bytes("quorum");
        declare_exchange(c);
        amqp_queue_declare(c, CHANNEL, queue, 0, 1, 0, 0, (amqp_table_t){1, &kind});
        broker_must(c, "queue.declare");
        amqp_queue_bind(c, CHANNEL, queue, amqp_cstring_bytes(EXCHANGE),
                        amqp_cstring_bytes(args[1]), amqp_empty_table);
        broker_must(c, "queue.bind");
}

static void print_depth(amqp_connection_state_t c, char **args)
{
        amqp_queue_declare_ok_t *ok = amqp_queue_declare(c, CHANNEL, amqp_cstring_bytes(args[0]), 1,
                                                         0, 0, 0, amqp_empty_table);
        broker_must(c, "queue.declare");
        printf("%u\n", ok->message_count);
}

static void purge(amqp_connection_state_t c, char **args)
{
        amqp_queue_purge(c, CHANNEL, amqp_cstring_bytes(args[0]));
        broker_must(c, "queue.purge");
}

/* --- the program ------------------------------------------------------------------------------ */

static bool wants_ids(const char *word)
{
        if (word && strcmp(word, "uuid") != 0 && strcmp(word, "none") != 0) {
                die("%s: ids are uuid or none", word);
        }
        return !word || strcmp(word, "uuid") == 0;
}

static void fill(amqp_connection_state_t c, char **args)
{
        struct letter l;
        encode_letter(&l, args[0], wants_ids(args[2]));
        publish(c, &l, number_of(args[1], 1, LETTERS_MAX), 0);
}

static void pace(amqp_connection_state_t c, char **args)
{
        struct letter l;
        encode_letter(&l, args[0], wants_ids(args[3]));
        publish(c, &l, number_of(args[1], 1, LETTERS_MAX), number_of(args[2], 1, RATE_MAX));
}

static const struct verb {
        const char *name;
        int args; /* at least */
        void (*run)(amqp_connection_state_t c, char **args);
} verbs[] = {
    {"declare", 2, declare},   {"fill", 2, fill},   {"pace", 3, pace},
    {"depth", 1, print_depth}, {"purge", 1, purge},
};

int main(int argc, char **argv)
{
        for (size_t i = 0; i < sizeof verbs / sizeof *verbs && argc > 3; i++) {
                if (strcmp(argv[2], verbs[i].name) == 0 && argc >= 3 + verbs[i].args) {
                        amqp_connection_state_t c = broker_connect(argv[1]);
                        verbs[i].run(c, argv + 3);
                        broker_leave(c);
                        return 0;
                }
        }
        fputs(
            "usage: bench-publish URL declare QUEUE KEY | fill KEY N [IDS] | pace KEY N RATE [IDS] "
            "| depth QUEUE | purge QUEUE\n",
            stderr);
        return 64;
}
