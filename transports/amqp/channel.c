/*
 * A consuming channel: its batches that the broker waits for, their acknowledgements, the proof
 * that these arrived, and its end. One per queue, so that an error of one queue leaves the others;
 * each with a connection number of its own.
 *
 * Acknowledged is only the settled prefix of its batches, by one `multiple`: the broker walks a
 * list for every tag out of order. A channel that is lost takes its half-read message, its batch
 * and its receipts with it.
 */
#include "transports/amqp/internal.h"

#include <stdlib.h>

/* --- life ------------------------------------------------------------------------------------- */

struct channel *channel_open(struct consumer *c, struct tap *tap)
{
        uint16_t number = 1;
        while (number < CHANNELS_MAX && c->channels[number]) {
                number++;
        }
        struct channel *ch = number < CHANNELS_MAX ? calloc(1, sizeof *ch) : NULL;
        if (!ch) {
                return NULL;
        }
        ch->number = number;
        ch->tap = tap;
        ch->connection = ++c->connections;
        ch->open_tail = &ch->open;
        ch->proving_tail = &ch->proving;
        c->channels[number] = ch;
        amqp_channel_open_t open = {.out_of_band = amqp_empty_bytes};
        (void)wire_send(&c->wire, number, AMQP_CHANNEL_OPEN_METHOD, &open);
        return ch;
}

struct channel *channel_of(struct consumer *c, uint64_t connection)
{
        for (int i = 1; i < CHANNELS_MAX; i++) {
                struct channel *ch = c->channels[i];
                if (ch && ch->connection == connection && !ch->closing) {
                        return ch;
                }
        }
        return NULL;
}

/* Lets go of all that the broker will send again. */
static void drop_batches(struct channel *ch)
{
        deliver_drop(ch);
        while (ch->open) {
                struct open_batch *b = ch->open;
                ch->open = b->next;
                if (b->receipt) {
                        receipt_drop(&b->receipt->base);
                }
                free(b);
        }
        while (ch->proving) {
                struct receipt *r = &ch->proving->base;
                ch->proving = (struct rabbit_receipt *)r->next;
                receipt_drop(r);
        }
        ch->open_tail = &ch->open;
        ch->proving_tail = &ch->proving;
}

static void part(struct consumer *c, struct channel *ch, bool tell)
{
        drop_batches(ch);
        if (ch->waiting) {
                ch->waiting->done = true;
                ch->waiting->closed = true;
                ch->waiting = NULL;
        }
        if (ch->tap) {
                ch->tap->channel = NULL;
                ch->tap = NULL;
                if (tell) {
                        desk_lost(&c->rabbit->desk, ch->connection);
                }
        }
        if (c->spare == ch) {
                c->spare = NULL;
        }
}

void channel_closed(struct consumer *c, struct channel *ch, bool tell)
{
        part(c, ch, tell);
        arena_deinit(&ch->in.scratch);
        c->channels[ch->number] = NULL;
        free(ch);
}

void channel_close(struct consumer *c, struct channel *ch, bool tell)
{
        amqp_channel_close_t close = {.reply_code = AMQP_REPLY_SUCCESS,
                                      .reply_text = amqp_empty_bytes};
        part(c, ch, tell);
        ch->closing = true;
        (void)wire_send(&c->wire, ch->number, AMQP_CHANNEL_CLOSE_METHOD, &close);
}

void channel_forget_all(struct consumer *c)
{
        for (int i = 1; i < CHANNELS_MAX; i++) {
                if (c->channels[i]) {
                        channel_closed(c, c->channels[i], true);
                }
        }
}

/* --- batches and their acknowledgements ------------------------------------------------------- */

bool channel_opened_batch(struct channel *ch, uint64_t last_tag, uint32_t n)
{
        struct open_batch *b = calloc(1, sizeof *b);
        if (!b) {
                return false;
        }
        b->last_tag = last_tag;
        b->n = n;
        *ch->open_tail = b;
        ch->open_tail = &b->next;
        return true;
}

static void acknowledged(struct channel *ch, struct rabbit_receipt *r, int64_t now)
{
        r->acked_ns = now;
        if (!r->base.journalled) {
                receipt_drop(&r->base);
                return;
        }
        r->base.next = NULL;
        *ch->proving_tail = r;
        ch->proving_tail = (struct rabbit_receipt **)&r->base.next;
}

static void acknowledge_prefix(struct consumer *c, struct channel *ch)
{
        uint64_t upto = 0;
        int64_t now = clock_ns();
        while (!ch->holding && ch->open && ch->open->settled) {
                struct open_batch *b = ch->open;
                ch->open = b->next;
                upto = b->last_tag;
                ch->unacked -= b->n;
                acknowledged(ch, b->receipt, now);
                free(b);
        }
        if (!ch->open) {
                ch->open_tail = &ch->open;
        }
        if (upto) {
                ch->acked_tag = upto;
                amqp_basic_ack_t ack = {.delivery_tag = upto, .multiple = 1};
                (void)wire_send(&c->wire, ch->number, AMQP_BASIC_ACK_METHOD, &ack);
        }
}

/* Unsettled: it was freed, and its messages shall come again, which takes the whole channel. */
void channel_settle(struct consumer *c, struct rabbit_receipt *r)
{
        struct channel *ch = channel_of(c, r->connection);
        if (!ch || !r->settled) {
                if (ch) {
                        channel_close(c, ch, true);
                }
                receipt_drop(&r->base);
                return;
        }
        struct open_batch *b = ch->open;
        while (b && b->last_tag != r->last_tag) {
                b = b->next;
        }
        if (!b || b->settled) {
                receipt_drop(&r->base);
                return;
        }
        b->settled = true;
        b->receipt = r;
        if (b == ch->open) {
                acknowledge_prefix(c, ch);
        }
}

void channel_hold(struct channel *ch, int64_t now)
{
        if (!ch->holding) {
                ch->holding = true;
                ch->holding_ns = now;
        }
}

void channel_release(struct consumer *c, struct channel *ch)
{
        if (ch && ch->holding) {
                ch->holding = false;
                acknowledge_prefix(c, ch);
        }
}

uint64_t channel_credit_used(const struct channel *ch)
{
        if (!ch->first_tag) {
                return 0;
        }
        uint64_t before = ch->first_tag - 1;
        return ch->last_tag - (ch->acked_tag > before ? ch->acked_tag : before);
}

/* --- proofs ----------------------------------------------------------------------------------- */

void channel_qos(struct consumer *c, struct channel *ch, uint16_t prefetch)
{
        amqp_basic_qos_t qos = {.prefetch_count = prefetch};
        ch->prefetch = prefetch;
        ch->qos_sent++;
        (void)wire_send(&c->wire, ch->number, AMQP_BASIC_QOS_METHOD, &qos);
}

void channel_qos_ok(struct consumer *c, struct channel *ch)
{
        ch->qos_done++;
        channel_prove(c, ch, clock_ns());
}

/* The channel's process takes methods in order: its answer to a qos proves the acknowledgements
 * that were sent before. The second is for the queue, which gets them from there. */
static void hand_back_proven(struct consumer *c, struct channel *ch, int64_t now)
{
        while (ch->proving) {
                struct rabbit_receipt *r = ch->proving;
                if (!r->proof || r->proof > ch->qos_done || now - r->acked_ns < PROVEN_AFTER_NS) {
                        return;
                }
                ch->proving = (struct rabbit_receipt *)r->base.next;
                if (!ch->proving) {
                        ch->proving_tail = &ch->proving;
                }
                r->spent = true;
                desk_confirmed(&c->rabbit->desk, &r->base);
        }
}

void channel_prove(struct consumer *c, struct channel *ch, int64_t now)
{
        hand_back_proven(c, ch, now);
        if (!ch->proving || now - ch->proof_ns < NS_PER_S) {
                return;
        }
        bool any = false;
        for (struct rabbit_receipt *r = ch->proving; r; r = (struct rabbit_receipt *)r->base.next) {
                if (!r->proof) {
                        r->proof = ch->qos_sent + 1;
                        any = true;
                }
        }
        if (any) {
                ch->proof_ns = now;
                channel_qos(c, ch, ch->prefetch);
        }
}
