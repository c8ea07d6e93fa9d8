/*
 * From frames to batches. A message is a method, a header and body frames; several channels' may
 * interleave, so each channel keeps its own. What is complete goes into the channel's batch, and
 * the batch to the desk when it is full, when 4 ms are over, or at once when nothing more is there
 * and the batch before was small.
 *
 * A batch is a run of delivery tags without a gap. An oversized letter makes a batch of its own,
 * which waits until the publisher has it safe; those behind it do not.
 */
#include "transports/amqp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define BATCH_LEAST      32
#define BATCH_BYTES      (1u << 20)
#define SPOOL_RETRY_NS   (2 * NS_PER_S)
#define SCRATCH_KEPT     (256u << 10)
#define REFUSED_BODY_MAX (1u << 30) /* the broker's own limit is half of it */

static int64_t wall_us(void)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_REALTIME, &ts);
        return ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

/* --- batches ---------------------------------------------------------------------------------- */

static struct arrivals *new_batch(struct consumer *c, struct channel *ch, uint32_t capacity,
                                  uint64_t last_tag)
{
        struct arrivals *a = arrivals_new(capacity);
        if (!a) {
                return NULL;
        }
        a->queue = ch->tap->order->queue;
        a->connection = ch->connection;
        a->receipt = receipt_make(c->rabbit, ch->connection, last_tag);
        return a->receipt ? a : arrivals_free(a);
}

static bool open_envelope(struct channel *ch, struct arrivals *a)
{
        struct arrival *item = &a->items[a->n];
        const struct order *o = ch->tap->order;
        if (envelope_open(&ch->letter.envelope, &o->defaults, wall_us(), &a->arena, item) < 0) {
                return false;
        }
        a->n++;
        a->bytes += item->row.payload.n;
        return true;
}

void deliver_flush(struct consumer *c, struct channel *ch)
{
        struct arrivals *a = STEAL(ch->batch);
        if (!a) {
                return;
        }
        ch->batch_before = a->n;
        ((struct rabbit_receipt *)a->receipt)->last_tag = ch->batch_tag;
        if (!channel_opened_batch(ch, ch->batch_tag, a->n)) {
                receipt_drop(a->receipt);
                arrivals_free(a);
                channel_close(c, ch, true);
                return;
        }
        desk_arrivals(&c->rabbit->desk, a);
}

void deliver_drop(struct channel *ch)
{
        if (ch->batch) {
                receipt_drop(ch->batch->receipt);
                ch->batch = arrivals_free(ch->batch);
        }
        ch->in.oversize = oversize_free(ch->in.oversize);
        ch->in.state = MESSAGE_NONE;
}

/* Half as many again as came together before: what is not filled is memory for nothing. */
static uint32_t batch_room(const struct channel *ch)
{
        uint32_t n = ch->batch_before + ch->batch_before / 2 + BATCH_LEAST;
        return n < BATCH_MAX ? n : BATCH_MAX;
}

static bool add_to_batch(struct consumer *c, struct channel *ch)
{
        if (ch->batch && ch->batch_redelivered != ch->letter.envelope.redelivered) {
                deliver_flush(c, ch);
        }
        if (!ch->batch) {
                ch->batch_redelivered = ch->letter.envelope.redelivered;
                ch->batch = new_batch(c, ch, batch_room(ch), 0);
                ch->batch_ns = clock_ns();
        }
        if (!ch->batch || !open_envelope(ch, ch->batch)) {
                return false;
        }
        ch->batch_tag = ch->in.tag;
        if (ch->batch->n == ch->batch->capacity || ch->batch->bytes >= BATCH_BYTES) {
                deliver_flush(c, ch);
        }
        return true;
}

/* --- oversized letters ------------------------------------------------------------------------ */

static bool begin_oversize(struct consumer *c, struct channel *ch, const amqp_frame_t *f)
{
        int r = oversize_new(c->rabbit->settings.spool_dir, f, &ch->in.oversize);
        if (r < 0) {
                topology_say(c, ch->tap, LEVEL_ERROR,
                             "queue %s: a letter of %llu bytes cannot be spooled to %s: %s",
                             ch->tap->order->name, (unsigned long long)ch->in.size,
                             c->rabbit->settings.spool_dir, strerror(-r));
                return false;
        }
        deliver_flush(c, ch);
        return true;
}

static bool end_oversize(struct consumer *c, struct channel *ch)
{
        struct oversize *o = ch->in.oversize;
        o->connection = ch->connection;
        o->batch = new_batch(c, ch, 1, ch->in.tag);
        if (!o->batch || !open_envelope(ch, o->batch) || !channel_opened_batch(ch, ch->in.tag, 1)) {
                return false;
        }
        rabbit_publish_oversize(c->rabbit, STEAL(ch->in.oversize));
        return true;
}

void deliver_answered(struct consumer *c, struct oversize *o)
{
        if (!channel_of(c, o->connection)) {
                oversize_free(o);
        } else if (o->safe) {
                desk_arrivals(&c->rabbit->desk, STEAL(o->batch));
                oversize_free(o);
        } else {
                c->base_declared = false; /* perhaps its queue is gone */
                o->again_ns = clock_ns() + SPOOL_RETRY_NS;
                o->next = c->retries;
                c->retries = o;
        }
}

void deliver_retry(struct consumer *c, int64_t now)
{
        for (struct oversize **p = &c->retries; *p;) {
                struct oversize *o = *p;
                if (now < o->again_ns && channel_of(c, o->connection)) {
                        p = &o->next;
                        continue;
                }
                *p = o->next;
                if (channel_of(c, o->connection)) {
                        rabbit_publish_oversize(c->rabbit, o);
                } else {
                        oversize_free(o);
                }
        }
}

/* --- frames ----------------------------------------------------------------------------------- */

static bool end_message(struct consumer *c, struct channel *ch)
{
        struct tap *t = ch->tap;
        ch->in.state = MESSAGE_NONE;
        ch->unacked++;
        ch->last_tag = ch->in.tag;
        ch->letter.envelope.body = (struct str){ch->in.body, (uint32_t)ch->in.size};
        t->delivered_ns = clock_ns();
        t->mean_bytes = t->mean_bytes - t->mean_bytes / 16 + ch->in.size / 16;
        if (ch->in.oversize) {
                ch->letter.envelope.body = (struct str){0};
                ch->letter.envelope.too_large = true;
                return end_oversize(c, ch);
        }
        return add_to_batch(c, ch);
}

bool deliver_begin(struct consumer *c, struct channel *ch, const amqp_basic_deliver_t *d)
{
        (void)c;
        struct envelope *e = &ch->letter.envelope;
        if (ch->in.scratch.bytes > SCRATCH_KEPT) {
                arena_deinit(&ch->in.scratch);
        }
        arena_reset(&ch->in.scratch);
        *e = (struct envelope){.redelivered = d->redelivered};
        ch->in.state = MESSAGE_HEADER;
        ch->in.tag = d->delivery_tag;
        ch->in.got = 0;
        ch->in.body = NULL;
        if (!ch->first_tag && d->consumer_tag.len == strlen(ch->tag) &&
            memcmp(d->consumer_tag.bytes, ch->tag, d->consumer_tag.len) == 0) {
                ch->first_tag = d->delivery_tag;
        }
        e->address = arena_str(&ch->in.scratch,
                               (struct str){d->routing_key.bytes, (uint32_t)d->routing_key.len});
        return e->address.p != NULL;
}

bool deliver_header(struct consumer *c, struct channel *ch, const amqp_frame_t *f)
{
        if (ch->in.state != MESSAGE_HEADER) {
                return true; /* of something that is not ours to read */
        }
        ch->in.size = f->payload.properties.body_size;
        ch->letter.envelope.body_size = ch->in.size;
        ch->in.state = MESSAGE_BODY;
        if (ch->in.size > REFUSED_BODY_MAX ||
            !letter_read(&ch->letter, f->payload.properties.decoded, &ch->in.scratch)) {
                return false;
        }
        if (ch->in.size > c->rabbit->settings.payload_max) {
                return begin_oversize(c, ch, f);
        }
        return ch->in.size > 0 || end_message(c, ch);
}

static bool keep_part(struct channel *ch, amqp_bytes_t part)
{
        if (part.len == ch->in.size) {
                ch->in.body = part.bytes; /* all of it: core copies it before the frame is gone */
                return true;
        }
        if (!ch->in.body) {
                ch->in.body = arena_alloc(&ch->in.scratch, ch->in.size);
        }
        if (ch->in.body) {
                memcpy(ch->in.body + ch->in.got, part.bytes, part.len);
        }
        return ch->in.body != NULL;
}

bool deliver_body(struct consumer *c, struct channel *ch, amqp_bytes_t part)
{
        if (ch->in.state != MESSAGE_BODY) {
                return true;
        }
        if (part.len > ch->in.size - ch->in.got) {
                return false; /* more than its header said */
        }
        int r = ch->in.oversize ? oversize_write(ch->in.oversize, part) : 0;
        if (r < 0) {
                topology_say(c, ch->tap, LEVEL_ERROR,
                             "queue %s: a letter of %llu bytes cannot be spooled: %s",
                             ch->tap->order->name, (unsigned long long)ch->in.size, strerror(-r));
                return false;
        }
        if (!ch->in.oversize && !keep_part(ch, part)) {
                return false;
        }
        ch->in.got += part.len;
        return ch->in.got < ch->in.size || end_message(c, ch);
}
