/*
 * AMQP 0.9.1 passes in whole frames (section 4.2.3).
 */
#include "tests/conformance/amqp_proxy.h"

#include <stdio.h>

#define CHANNELS     65536
#define GREETING     8 /* "AMQP" and a version, before the first frame */
#define FRAME_AROUND 8 /* header of 7, end of 1 */

enum frame_type { FRAME_METHOD = 1, FRAME_HEARTBEAT = 8 };

#define METHOD(class, method) ((uint32_t)(class) << 16 | (method))
#define CHANNEL_OPEN          METHOD(20, 10)
#define QUEUE_DECLARE         METHOD(50, 10)
#define BASIC_DELIVER         METHOD(60, 60)

/* Of the whole proxy. */
struct amqp_proxy {
        char hold[256]; /* a queue whose declare is kept back */
};

struct amqp_link {
        bool held, greeted;
        uint8_t deaf[CHANNELS / 8];  /* nothing is delivered on it */
        uint8_t quiet[CHANNELS / 8]; /* within a delivery that is left out */
};

static bool bit(const uint8_t *bits, uint16_t i)
{
        return bits[i / 8] >> (i % 8) & 1;
}

static void set_bit(uint8_t *bits, uint16_t i, bool on)
{
        bits[i / 8] = (uint8_t)((bits[i / 8] & ~(1u << (i % 8))) | (unsigned)on << (i % 8));
}

/* --- what passes ------------------------------------------------------------------------------ */

struct frame {
        const uint8_t *p;
        size_t n;
        uint8_t type;
        uint16_t channel;
        uint32_t method; /* of FRAME_METHOD */
};

static uint32_t big_endian(const uint8_t *p, int n)
{
        uint32_t v = 0;
        for (int i = 0; i < n; i++) {
                v = v << 8 | p[i];
        }
        return v;
}

/* The first whole frame; false: not all of it is here. */
static bool next_frame(const struct proxy_bytes *b, struct frame *ret)
{
        if (b->n < FRAME_AROUND || b->n < FRAME_AROUND + (size_t)big_endian(b->p + 3, 4)) {
                return false;
        }
        uint32_t size = big_endian(b->p + 3, 4);
        bool method = b->p[0] == FRAME_METHOD && size >= 4;
        *ret =
            (struct frame){b->p, FRAME_AROUND + (size_t)size, b->p[0],
                           (uint16_t)big_endian(b->p + 1, 2), method ? big_endian(b->p + 7, 4) : 0};
        return true;
}

/* Queue.Declare: two reserved bytes, then the name. */
static bool declares(const struct frame *f, const char *name)
{
        size_t n = strlen(name);
        return n && f->method == QUEUE_DECLARE && f->n > 14 + n && f->p[13] == n &&
               memcmp(f->p + 14, name, n) == 0;
}

static void from_client(const struct amqp_proxy *p, struct proxy_link *l, const struct frame *f)
{
        struct amqp_link *a = l->state;
        a->held |= declares(f, p->hold);
        if (l->lost) {
                return;
        }
        if (f->method == CHANNEL_OPEN) {
                set_bit(a->deaf, f->channel, false);
        }
        proxy_append(a->held && f->type != FRAME_HEARTBEAT ? &l->waiting : &l->out[1], f->p, f->n);
}

static void from_broker(struct proxy_link *l, const struct frame *f)
{
        struct amqp_link *a = l->state;
        if (f->type == FRAME_METHOD) {
                bool left_out = f->method == BASIC_DELIVER && bit(a->deaf, f->channel);
                set_bit(a->quiet, f->channel, left_out);
        }
        if (f->type == FRAME_HEARTBEAT || !bit(a->quiet, f->channel)) {
                proxy_append(&l->out[0], f->p, f->n);
        }
}

static void pass_frames(void *state, struct proxy_link *l, int side)
{
        struct amqp_link *a = l->state;
        struct proxy_bytes *in = &l->in[side];
        struct frame f;
        if (side == PROXY_CLIENT && !a->greeted) {
                if (in->n < GREETING) {
                        return;
                }
                proxy_append(&l->out[1], in->p, GREETING);
                proxy_consume(in, GREETING);
                a->greeted = true;
        }
        while (next_frame(in, &f)) {
                if (side == PROXY_CLIENT) {
                        from_client(state, l, &f);
                } else {
                        from_broker(l, &f);
                }
                proxy_consume(in, f.n);
        }
}

/* --- what it can do --------------------------------------------------------------------------- */

struct proxy *amqp_proxy_new(int broker_port)
{
        static const struct proxy_protocol amqp = {
            .size = sizeof(struct amqp_proxy),
            .link_size = sizeof(struct amqp_link),
            .pass = pass_frames,
        };
        return proxy_new(broker_port, &amqp);
}

static void deafen_link(struct proxy_link *l, void *ctx)
{
        struct amqp_link *a = l->state;
        (void)ctx;
        memset(a->deaf, 0xff, sizeof a->deaf);
}

static void release_link(struct proxy_link *l, void *ctx)
{
        struct amqp_link *a = l->state;
        (void)ctx;
        proxy_append(&l->out[PROXY_BROKER], l->waiting.p, l->waiting.n);
        l->waiting.n = 0;
        a->held = false;
}

void amqp_proxy_deafen(struct proxy *p)
{
        proxy_lock(p);
        proxy_each(p, deafen_link, NULL);
        proxy_unlock(p);
}

void amqp_proxy_hold_declare(struct proxy *p, struct str queue)
{
        struct amqp_proxy *a = proxy_lock(p);
        snprintf(a->hold, sizeof a->hold, "%.*s", (int)queue.n, queue.n ? queue.p : "");
        if (queue.n == 0) {
                proxy_each(p, release_link, NULL);
        }
        proxy_unlock(p);
}
