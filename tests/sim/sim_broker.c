/*
 * The broker's store: messages in their queues, and the ways in which they are lost or come again.
 */
#include "tests/sim/sim_broker.h"

#include <assert.h>
#include <stdlib.h>

#include "core/pattern.h"
#include "tests/sim/sim_transport.h"

int64_t sim_broker_latency(struct sim_broker *b)
{
        const struct sim_broker_faults *f = &b->faults;
        return f->latency_max_ns ? rng_between(&b->rng, f->latency_min_ns, f->latency_max_ns) : 0;
}

/* --- queues ------------------------------------------------------------------------------- */

static struct str own(struct str s)
{
        char *p = malloc((size_t)s.n + 1);
        assert(p);
        memcpy(p, s.p ? s.p : "", s.n);
        p[s.n] = 0;
        return (struct str){p, s.n};
}

struct sim_queue *sim_broker_queue(struct sim_broker *b, struct str name, bool create)
{
        struct sim_queue **at = &b->queues;
        while (*at && !str_eq((*at)->name, name)) {
                at = &(*at)->next;
        }
        if (!*at && create) {
                *at = calloc(1, sizeof **at);
                assert(*at);
                (*at)->name = own(name);
        }
        if (*at && create && !(*at)->hidden) {
                (*at)->exists = true;
        }
        return *at;
}

void sim_broker_bind(struct sim_broker *b, struct sim_queue *q, struct str pattern)
{
        (void)b;
        for (uint32_t i = 0; i < q->n_patterns; i++) {
                if (str_eq(q->patterns[i], pattern)) {
                        return;
                }
        }
        q->patterns = realloc(q->patterns, (q->n_patterns + 1) * sizeof *q->patterns);
        assert(q->patterns);
        q->patterns[q->n_patterns++] = own(pattern);
}

static bool is_bound(const struct sim_queue *q, struct str address)
{
        for (uint32_t i = 0; i < q->n_patterns; i++) {
                if (str_eq(q->patterns[i], address) || pattern_match(q->patterns[i], address)) {
                        return true;
                }
        }
        return false;
}

/* --- messages ----------------------------------------------------------------------------- */

static uint32_t place_of(const struct sim_queue *q, uint64_t place)
{
        uint32_t i = q->n_ready;
        while (i > 0 && q->ready[i - 1]->place > place) {
                i--;
        }
        return i;
}

static void make_ready(struct sim_message *m)
{
        struct sim_queue *q = m->queue;
        if (q->n_ready == q->capacity) {
                q->capacity = q->capacity ? q->capacity * 2 : 64;
                q->ready = realloc(q->ready, q->capacity * sizeof *q->ready);
                assert(q->ready);
        }
        uint32_t i = place_of(q, m->place);
        memmove(q->ready + i + 1, q->ready + i, (q->n_ready - i) * sizeof *q->ready);
        q->ready[i] = m;
        q->n_ready++;
        m->fate = MESSAGE_READY;
        m->owner = NULL;
}

static void leave_ready(struct sim_message *m, uint32_t i)
{
        struct sim_queue *q = m->queue;
        q->n_ready--;
        memmove(q->ready + i, q->ready + i + 1, (q->n_ready - i) * sizeof *q->ready);
}

static void copy_envelope(struct arena *a, const struct envelope *from, struct envelope *to)
{
        *to = *from;
        struct str *texts[] = {&to->address,    &to->body,           &to->type,
                               &to->message_id, &to->content_type,   &to->content_encoding,
                               &to->reply_to,   &to->correlation_id, &to->app_id,
                               &to->user_id,    &to->expiration};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = texts[i]->p ? arena_str(a, *texts[i]) : (struct str){0};
        }
        struct envelope_header *headers = arena_zalloc(a, (from->n_headers + 1) * sizeof *headers);
        assert(headers);
        for (uint32_t i = 0; i < from->n_headers; i++) {
                headers[i].name = arena_str(a, from->headers[i].name);
                headers[i].value = arena_str(a, from->headers[i].value);
        }
        to->headers = headers;
}

static void store_message(struct sim_broker *b, struct sim_queue *q, const struct envelope *e,
                          uint32_t letter)
{
        struct sim_message *m = calloc(1, sizeof *m);
        assert(m);
        copy_envelope(&m->arena, e, &m->envelope);
        m->envelope.body_size = e->too_large ? e->body_size : e->body.n;
        m->envelope.redelivered = false;
        m->place = ++b->place;
        m->envelope.origin.set = b->stream;
        memcpy(m->envelope.origin.b, &m->place, sizeof m->place);
        m->queue = q;
        m->letter = letter;
        m->older = b->messages;
        b->messages = m;
        make_ready(m);
        if (b->on_store) {
                b->on_store(b->watcher, m);
        }
}

bool sim_broker_publish(struct sim_broker *b, struct sim_queue *q, const struct envelope *e,
                        uint32_t letter)
{
        if (!q || !q->exists || b->down) {
                return false;
        }
        store_message(b, q, e, letter);
        if (letter == 0 && b->faults.duplicate && rng_chance(&b->rng, b->faults.duplicate)) {
                store_message(b, q, e, letter);
        }
        return true;
}

void sim_broker_route(struct sim_broker *b, const struct envelope *e, uint32_t letter)
{
        bool taken = false;
        for (struct sim_queue *q = b->queues; q; q = q->next) {
                if (q->exists && is_bound(q, e->address)) {
                        taken |= sim_broker_publish(b, q, e, letter);
                }
        }
        if (!taken) {
                sim_broker_publish(b, sim_broker_queue(b, STR(QUEUE_UNROUTED), true), e, letter);
        }
}

struct sim_message *sim_broker_take(struct sim_broker *b, struct sim_queue *q, const void *owner)
{
        if (q->n_ready == 0) {
                return NULL;
        }
        uint32_t i = 0;
        if (b->faults.reorder && rng_chance(&b->rng, b->faults.reorder)) {
                i = (uint32_t)rng_between(&b->rng, 0, q->n_ready - 1);
        }
        struct sim_message *m = q->ready[i];
        leave_ready(m, i);
        m->fate = MESSAGE_UNACKED;
        m->owner = owner;
        m->deliveries++;
        q->n_unacked++;
        return m;
}

void sim_broker_ack(struct sim_broker *b, struct sim_message *m)
{
        if (m->fate == MESSAGE_UNACKED) {
                if (b->on_ack) {
                        b->on_ack(b->watcher, m);
                }
                m->queue->n_unacked--;
                m->queue->n_acked++;
                m->fate = MESSAGE_ACKED;
                m->owner = NULL;
        }
}

void sim_broker_put_back(struct sim_broker *b, struct sim_message *m, bool marked)
{
        (void)b;
        if (m->fate != MESSAGE_UNACKED) {
                return;
        }
        m->queue->n_unacked--;
        m->unmarked += !marked;
        m->envelope.redelivered = marked;
        make_ready(m);
}

/* --- what goes wrong ---------------------------------------------------------------------- */

void sim_broker_cut(struct sim_broker *b, bool marked)
{
        for (struct sim_transport *t = b->transports; t; t = sim_transport_next(t)) {
                sim_transport_cut(t, marked);
        }
}

void sim_broker_stop(struct sim_broker *b, bool marked)
{
        b->down = true;
        sim_broker_cut(b, marked);
        for (struct sim_message *m = b->messages; m; m = m->older) {
                sim_broker_put_back(b, m, marked); /* what others hold */
        }
}

void sim_broker_start(struct sim_broker *b)
{
        b->down = false;
}

void sim_broker_tick(struct sim_broker *b, int64_t now_ns)
{
        for (struct sim_transport *t = b->transports; t; t = sim_transport_next(t)) {
                sim_transport_tick(sim_transport_base(t), now_ns);
        }
}

static void lose_message(struct sim_message *m)
{
        struct sim_queue *q = m->queue;
        if (m->fate == MESSAGE_READY) {
                leave_ready(m, place_of(q, m->place) - 1);
        } else {
                q->n_unacked--;
        }
        m->fate = MESSAGE_LOST;
        m->owner = NULL;
}

void sim_broker_lose(struct sim_broker *b, uint32_t n)
{
        for (struct sim_message *m = b->messages; m && n; m = m->older) {
                if (m->fate == MESSAGE_READY || m->fate == MESSAGE_UNACKED) {
                        lose_message(m);
                        n -= n != UINT32_MAX;
                }
        }
}

void sim_broker_delete(struct sim_broker *b, struct sim_queue *q)
{
        q->exists = false;
        for (struct sim_message *m = b->messages; m; m = m->older) {
                bool held = m->fate == MESSAGE_READY || m->fate == MESSAGE_UNACKED;
                if (m->queue == q && held) {
                        lose_message(m);
                }
        }
}

void sim_broker_deinit(struct sim_broker *b)
{
        assert(!b->transports);
        while (b->messages) {
                struct sim_message *older = b->messages->older;
                arena_deinit(&b->messages->arena);
                free(b->messages);
                b->messages = older;
        }
        while (b->receipts) {
                struct sim_receipt *older = b->receipts->older;
                free(b->receipts->messages);
                free(b->receipts);
                b->receipts = older;
        }
        while (b->queues) {
                struct sim_queue *next = b->queues->next;
                for (uint32_t i = 0; i < b->queues->n_patterns; i++) {
                        free((char *)b->queues->patterns[i].p);
                }
                free(b->queues->patterns);
                free((char *)b->queues->name.p);
                free(b->queues->ready);
                free(b->queues);
                b->queues = next;
        }
}
