/*
 * Jobs of handlers that take several at once.
 *
 * Such jobs leave their queue's line as they are claimed and gather, each handler's of a queue
 * apart, until there are as many as it takes or the first of them has waited as long as it may.
 * Then an idle worker gets all of them, and nothing else until they have ended: so a batch is
 * exactly what a worker's ring holds, and its death is told from that of single jobs.
 *
 * Whoever was in a batch that took its worker down, and whoever has a strike, runs singly.
 *
 * Without a batching handler in the roster none of this is ever entered.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

static uint32_t most_of(const struct handler_desc *h)
{
        return h->batch_max > ENGINE_RING ? ENGINE_RING : h->batch_max;
}

/* The handler that takes this job together with others; -1: it runs singly. */
static int batch_handler(const struct engine *e, const struct job *j)
{
        if (!e->batching || j->alone || j->strikes) {
                return -1;
        }
        int at = roster_find(e->roster, j->type);
        return at >= 0 && e->roster->handlers[at].batch_max > 1 ? at : -1;
}

static struct batch_books *batch_find(struct engine *e, uint32_t queue, int handler)
{
        for (uint32_t i = 0; i < e->n_batches; i++) {
                if (e->batches[i].queue == queue && e->batches[i].handler == handler) {
                        return &e->batches[i];
                }
        }
        struct batch_books *grown = realloc(e->batches, (e->n_batches + 1) * sizeof *grown);
        if (!grown) {
                return NULL;
        }
        e->batches = grown;
        struct batch_books *b = &e->batches[e->n_batches++];
        *b = (struct batch_books){.queue = queue, .handler = handler};
        return b;
}

static bool gather(struct engine *e, struct job *j, int handler, bool front)
{
        struct batch_books *b = batch_find(e, j->queue_index, handler);
        if (!b || !(front ? ring_push_front(&b->jobs, j) : ring_push(&b->jobs, j))) {
                return false;
        }
        struct queue_books *q = &e->queues[j->queue_index];
        uint32_t most = most_of(&e->roster->handlers[handler]);
        if (b->jobs.n == 1) {
                b->since_ns = e->now.mono_ns;
        }
        j->handler = handler;
        q->gathered++;
        q->batch_max = most > q->batch_max ? most : q->batch_max;
        return true;
}

/* --- the line --------------------------------------------------------------------------------- */

bool line_push(struct engine *e, struct job *j, bool front)
{
        struct queue_books *q = &e->queues[j->queue_index];
        if (!e->batching && !e->handlers && !front && !q->by_priority) {
                return ring_push(&q->ready, j); /* as nearly always */
        }
        if (e->handlers) {
                j->handler = roster_find(e->roster, j->type);
        }
        int handler = batch_handler(e, j);
        if (handler >= 0) {
                return gather(e, j, handler, front);
        }
        if (front) {
                return ring_push_front(&q->ready, j);
        }
        return q->by_priority ? ring_push_urgent(&q->ready, j) : ring_push(&q->ready, j);
}

/* What has gathered stands in the line again, first. */
static void spill(struct engine *e, struct batch_books *b)
{
        struct queue_books *q = &e->queues[b->queue];
        while (b->jobs.n) {
                struct job *j =
                    b->jobs.slots[(b->jobs.head + b->jobs.n - 1) & (b->jobs.capacity - 1)];
                if (!ring_push_front(&q->ready, j)) {
                        e->out->out_of_memory = true;
                        return;
                }
                b->jobs.n--;
                q->gathered--;
        }
}

void batch_spill_all(struct engine *e)
{
        for (uint32_t i = 0; i < e->n_batches; i++) {
                spill(e, &e->batches[i]);
        }
}

void batch_spill(struct engine *e, uint32_t queue)
{
        for (uint32_t i = 0; i < e->n_batches; i++) {
                if (e->batches[i].queue == queue) {
                        spill(e, &e->batches[i]);
                }
        }
}

void batch_deinit(struct engine *e)
{
        for (uint32_t i = 0; i < e->n_batches; i++) {
                free(e->batches[i].jobs.slots);
        }
        free(STEAL(e->batches));
        e->n_batches = 0;
}

/* Handlers have other numbers now, and other sizes: every line is sorted anew. */
void batch_roster(struct engine *e)
{
        bool before = e->batching;
        batch_spill_all(e);
        batch_deinit(e);
        e->batching = false;
        for (uint32_t i = 0; e->roster && i < e->roster->n; i++) {
                e->batching |= e->roster->handlers[i].batch_max > 1;
        }
        for (uint32_t i = 0; (before || e->batching) && i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                q->batch_max = 0;
                for (uint32_t n = q->ready.n; n > 0; n--) {
                        struct job *j = ring_pop(&q->ready);
                        int handler = batch_handler(e, j);
                        if (handler < 0 || !gather(e, j, handler, false)) {
                                ring_push(&q->ready, j); /* there is room: it was just popped */
                        }
                }
        }
}

/* --- giving ----------------------------------------------------------------------------------- */

static int64_t due_ns(const struct engine *e, const struct batch_books *b)
{
        const struct handler_desc *h = &e->roster->handlers[b->handler];
        if (b->jobs.n == 0) {
                return NEVER;
        }
        return b->jobs.n >= most_of(h) ? 0 : b->since_ns + (int64_t)h->batch_wait_ms * NS_PER_MS;
}

static bool is_due(const struct engine *e, const struct batch_books *b)
{
        return due_ns(e, b) <= e->now.mono_ns && !handler_full(e, b->handler);
}

bool batch_due(const struct engine *e, uint32_t queue)
{
        for (uint32_t i = 0; i < e->n_batches; i++) {
                const struct batch_books *b = &e->batches[i];
                if (b->queue == queue && is_due(e, b)) {
                        return true;
                }
        }
        return false;
}

/* The one that has been due for longest. */
static struct batch_books *choose_batch(struct engine *e, uint32_t queue)
{
        struct batch_books *best = NULL;
        for (uint32_t i = 0; i < e->n_batches; i++) {
                struct batch_books *b = &e->batches[i];
                bool due = b->queue == queue && is_due(e, b);
                if (due && (!best || b->since_ns < best->since_ns)) {
                        best = b;
                }
        }
        return best;
}

uint32_t batch_fill(struct engine *e, struct worker_books *w, uint32_t queue)
{
        struct batch_books *b = choose_batch(e, queue);
        if (!b) {
                return 0;
        }
        uint32_t most = most_of(&e->roster->handlers[b->handler]), n = 0;
        while (n < most && b->jobs.n) {
                w->ring[(w->tail + n++) % ENGINE_RING] = ring_pop(&b->jobs);
        }
        e->queues[queue].gathered -= n;
        b->since_ns = e->now.mono_ns;
        w->group_n = n;
        e->group_last = e->group_last == UINT32_MAX ? 1 : e->group_last + 1;
        return n;
}

/* Those that are due already wait for a worker, not for the clock. */
int64_t batch_wake_ns(const struct engine *e)
{
        int64_t at = NEVER;
        for (uint32_t i = 0; i < e->n_batches; i++) {
                int64_t due = due_ns(e, &e->batches[i]);
                at = due > e->now.mono_ns ? engine_min(at, due) : at;
        }
        return at;
}

/* --- for engine_check ------------------------------------------------------------------------- */

uint32_t batch_gathered(const struct engine *e, uint32_t queue)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < e->n_batches; i++) {
                n += e->batches[i].queue == queue ? e->batches[i].jobs.n : 0;
        }
        return n;
}
