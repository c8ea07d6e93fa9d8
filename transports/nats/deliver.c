/*
 * From messages to batches. A message goes into the batch of its consumer, and the batch to the
 * desk when it is full, when 4 ms are over, or at once when nothing more is there and the flow is
 * not full.
 *
 * The payload is copied once, by core into the batch; the caller frees the message. An oversized
 * letter makes a batch of its own, which waits until the stream of the refused has it; those behind
 * it do not.
 */
#include "transports/nats/internal.h"

#include <stdlib.h>
#include <time.h>

#define BATCH_LEAST   32
#define BATCH_BYTES   (1u << 20)
#define REFUSED_AGAIN (2 * NS_PER_S)
#define NOTE_AGAIN    (60 * NS_PER_S)

static int64_t wall_us(void)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_REALTIME, &ts);
        return ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

/* --- batches ---------------------------------------------------------------------------------- */

static struct arrivals *new_batch(struct receiver *r, struct tap *t, uint32_t capacity)
{
        struct arrivals *a = arrivals_new(capacity);
        if (!a) {
                return NULL;
        }
        struct jet_receipt *receipt = jet_receipt_new(r->jet, t->id, t->connection);
        if (!receipt) {
                return arrivals_free(a);
        }
        a->queue = t->order->queue;
        a->connection = t->connection;
        a->receipt = &receipt->base;
        return a;
}

/* The message is in the batch, and its acknowledgement in the receipt; or in none of them. */
static bool add(const struct letter *l, const struct tap *t, struct arrivals *a, const char *reply)
{
        struct arrival *item = &a->items[a->n];
        struct jet_receipt *receipt = (struct jet_receipt *)a->receipt;
        if (envelope_open(&l->envelope, &t->order->defaults, wall_us(), &a->arena, item) < 0 ||
            !jet_receipt_add(receipt, reply)) {
                return false;
        }
        a->n++;
        a->bytes += item->row.payload.n;
        receipt->bytes += item->row.payload.n;
        return true;
}

void batch_flush(struct receiver *r, struct tap *t)
{
        struct arrivals *a = STEAL(t->batch);
        if (a && a->n == 0) {
                jet_receipt_drop(a->receipt);
                arrivals_free(a);
        } else if (a) {
                t->batch_before = a->n;
                tap_hold(t, (struct jet_receipt *)a->receipt, clock_ns());
                desk_arrivals(&r->jet->desk, a);
        }
}

void batch_drop(struct tap *t)
{
        if (t->batch) {
                jet_receipt_drop(t->batch->receipt);
                t->batch = arrivals_free(t->batch);
        }
}

/* Half as many again as came together before: what is not filled is memory for nothing. */
static uint32_t batch_room(const struct tap *t)
{
        uint32_t n = t->batch_before + t->batch_before / 2 + BATCH_LEAST;
        return n < BATCH_MAX ? n : BATCH_MAX;
}

static bool add_to_batch(struct receiver *r, struct tap *t, const char *reply, int64_t now)
{
        const struct letter *l = &r->letter;
        if (t->batch && t->batch_redelivered != l->envelope.redelivered) {
                batch_flush(r, t);
        }
        if (!t->batch) {
                t->batch_redelivered = l->envelope.redelivered;
                t->batch = new_batch(r, t, batch_room(t));
                t->batch_ns = now;
        }
        if (!t->batch || !add(l, t, t->batch, reply)) {
                return false;
        }
        if (t->batch->n == t->batch->capacity || t->batch->bytes >= BATCH_BYTES) {
                batch_flush(r, t);
        }
        return true;
}

/* --- oversized letters ------------------------------------------------------------------------ */

/* Its receipt may be held by its tap, and is let go of like any other that nobody settles. */
struct oversize *refused_free(struct oversize *o)
{
        if (o) {
                if (o->batch) {
                        struct jet_receipt *receipt = (struct jet_receipt *)o->batch->receipt;
                        receipt->jet->desk.drop(&receipt->base);
                        arrivals_free(o->batch);
                }
                natsMsg_Destroy(o->msg);
                free(o);
        }
        return NULL;
}

static struct oversize *make_oversize(struct receiver *r, struct tap *t, natsMsg *msg)
{
        struct oversize *o = calloc(1, sizeof *o);
        if (o) {
                o->tap = t->id;
                o->connection = t->connection;
                o->msg = letter_refuse(&r->letter, msg, t->order->refused);
                o->batch = new_batch(r, t, 1);
        }
        return o && o->msg && o->batch ? o : refused_free(o);
}

static bool refuse(struct receiver *r, struct tap *t, natsMsg *msg, int64_t now)
{
        struct letter *l = &r->letter;
        batch_flush(r, t);
        struct oversize *o = make_oversize(r, t, msg);
        l->envelope.too_large = true;
        l->envelope.body = (struct str){0};
        if (!o || !add(l, t, o->batch, natsMsg_GetReply(msg))) {
                refused_free(o);
                return false;
        }
        tap_hold(t, (struct jet_receipt *)o->batch->receipt, now);
        bells_add_oversize(r, o);
        return true;
}

/* False: its session is over, and the server will send it again. */
static bool is_current(struct receiver *r, const struct oversize *o)
{
        const struct tap *t = tap_find(r, o->tap);
        return t && t->open && t->connection == o->connection;
}

void refused_answered(struct receiver *r, struct oversize *o, bool safe)
{
        int64_t now = clock_ns();
        if (!is_current(r, o)) {
                refused_free(o);
        } else if (safe) {
                desk_arrivals(&r->jet->desk, STEAL(o->batch));
                refused_free(o);
        } else {
                if (now - r->refused_ns > NOTE_AGAIN) {
                        r->refused_ns = now;
                        desk_note(&r->jet->desk, LEVEL_WARNING,
                                  "an oversized letter cannot be put into stream %s; it is tried "
                                  "again and waits unacknowledged",
                                  r->jet->settings.refused_stream);
                }
                o->again_ns = now + REFUSED_AGAIN;
                o->next = r->retries;
                r->retries = o;
        }
}

void refused_retry(struct receiver *r, int64_t now)
{
        for (struct oversize **at = &r->retries; *at;) {
                struct oversize *o = *at;
                bool current = is_current(r, o);
                if (current && now < o->again_ns) {
                        at = &o->next;
                        continue;
                }
                *at = o->next;
                if (current) {
                        bells_add_oversize(r, o);
                } else {
                        refused_free(o);
                }
        }
}

/* --- messages --------------------------------------------------------------------------------- */

/* What cannot be taken is left: the server sends it again. */
void deliver(struct receiver *r, struct tap *t, natsMsg *msg, int64_t now)
{
        struct letter *l = &r->letter;
        size_t prefix = strlen(r->jet->settings.subject) + 1;
        pull_delivered(t, now);
        t->came++;
        if (letter_take(l, msg, prefix, t->history)) {
                reach_note(&r->jet->reach, t->history, l->sequence);
                bool large = l->envelope.body.n > r->jet->settings.payload_max;
                bool ok =
                    large ? refuse(r, t, msg, now) : add_to_batch(r, t, natsMsg_GetReply(msg), now);
                if (!ok) {
                        desk_note(&r->jet->desk, LEVEL_ERROR,
                                  "queue %s: out of memory; a letter has to wait", t->order->name);
                }
        }
}
