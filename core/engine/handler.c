/*
 * Handlers that run on so many workers at a time and no more.
 *
 * A worker runs one job, or one batch, at a time: what counts is how many workers hold jobs of the
 * handler, however many each of them holds. The counts follow workers' rings. A job that no worker
 * may have yet keeps its place in its queue's line and is passed over; so many are looked at before
 * the line is left alone, and so many do not keep the queue from claiming what may stand behind
 * them. Discarded: a line for each such handler, in which a job would lose its place among the
 * others of its queue.
 *
 * Without such a handler in the roster there are no counts, and none of this is ever entered.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

/* A handler of the roster: how many workers hold jobs of it, and how many each. */
struct handler_books {
        uint32_t workers;
        uint16_t held[ENGINE_WORKERS_MAX];
};

static uint32_t limit_of(const struct engine *e, int32_t handler)
{
        return handler < 0 ? 0 : e->roster->handlers[handler].concurrency;
}

static void took(struct engine *e, uint32_t worker, const struct job *j)
{
        if (limit_of(e, j->handler)) {
                struct handler_books *h = &e->handlers[j->handler];
                h->workers += h->held[worker]++ == 0;
        }
}

void handler_took(struct engine *e, uint32_t worker, uint32_t position, uint32_t n)
{
        for (uint32_t i = 0; e->handlers && i < n; i++) {
                took(e, worker, e->workers[worker].ring[(position + i) % ENGINE_RING]);
        }
}

void handler_left(struct engine *e, uint32_t worker, const struct job *j)
{
        if (e->handlers && limit_of(e, j->handler)) {
                struct handler_books *h = &e->handlers[j->handler];
                h->workers -= --h->held[worker] == 0;
        }
}

bool handler_full(const struct engine *e, int32_t handler)
{
        uint32_t limit = e->handlers ? limit_of(e, handler) : 0;
        return limit && e->handlers[handler].workers >= limit && !PLANT(handler_unlimited);
}

bool handler_admits(const struct engine *e, uint32_t worker, const struct job *j)
{
        return !handler_full(e, j->handler) || e->handlers[j->handler].held[worker];
}

/* --- a queue's line --------------------------------------------------------------------------- */

bool handler_opens(const struct engine *e, uint32_t worker, const struct job_ring *r)
{
        uint32_t n = !e->handlers ? 0 : r->n < HANDLER_LOOK ? r->n : HANDLER_LOOK;
        for (uint32_t i = 0; i < n; i++) {
                if (handler_admits(e, worker, r->slots[(r->head + i) & (r->capacity - 1)])) {
                        return true;
                }
        }
        return !e->handlers && r->n > 0;
}

/* Under a limit over all nodes none: whoever claims more keeps others from running them. */
uint32_t handler_passed(const struct engine *e, const struct queue_books *q)
{
        const struct job_ring *r = &q->ready;
        uint32_t n = r->n < HANDLER_LOOK ? r->n : HANDLER_LOOK, passed = 0;
        if (!e->handlers || q->global) {
                return 0;
        }
        for (uint32_t i = 0; i < n; i++) {
                passed += handler_full(e, r->slots[(r->head + i) & (r->capacity - 1)]->handler);
        }
        for (uint32_t i = 0; i < e->n_batches; i++) {
                const struct batch_books *b = &e->batches[i];
                bool waits = &e->queues[b->queue] == q && handler_full(e, b->handler);
                passed += waits ? b->jobs.n : 0;
        }
        return passed < HANDLER_LOOK ? passed : HANDLER_LOOK;
}

/* --- another roster --------------------------------------------------------------------------- */

/* Handlers have other numbers now. What runs under a former roster counts for the handler that
 * would get it today. */
static void number_anew(struct engine *e)
{
        for (uint32_t w = 0; w < e->workers_top; w++) {
                const struct worker_books *b = &e->workers[w];
                for (uint32_t p = b->head; p != b->tail; p++) {
                        struct job *j = b->ring[p % ENGINE_RING];
                        j->handler = roster_find(e->roster, j->type);
                }
                handler_took(e, w, b->head, b->tail - b->head);
        }
        for (uint32_t i = 0; e->handlers && i < e->n_queues; i++) {
                const struct job_ring *r = &e->queues[i].ready;
                for (uint32_t k = 0; k < r->n; k++) {
                        struct job *j = r->slots[(r->head + k) & (r->capacity - 1)];
                        j->handler = roster_find(e->roster, j->type);
                }
        }
}

void handler_roster(struct engine *e)
{
        bool limited = false;
        free(STEAL(e->handlers));
        for (uint32_t i = 0; e->roster && i < e->roster->n; i++) {
                limited |= e->roster->handlers[i].concurrency > 0;
        }
        if (limited) {
                e->handlers = calloc(e->roster->n, sizeof *e->handlers);
                e->out->out_of_memory |= !e->handlers;
        }
        number_anew(e);
}

/* --- for engine_check ------------------------------------------------------------------------- */

static uint32_t count_held(const struct engine *e, uint32_t worker, uint32_t handler)
{
        const struct worker_books *w = &e->workers[worker];
        uint32_t n = 0;
        for (uint32_t p = w->head; p != w->tail; p++) {
                n += w->ring[p % ENGINE_RING]->handler == (int32_t)handler;
        }
        return n;
}

bool handler_counts(const struct engine *e)
{
        for (uint32_t h = 0; e->handlers && h < e->roster->n; h++) {
                uint32_t workers = 0;
                for (uint32_t w = 0; limit_of(e, (int32_t)h) && w < e->workers_top; w++) {
                        uint32_t held = count_held(e, w, h);
                        workers += held > 0;
                        if (held != e->handlers[h].held[w]) {
                                return false;
                        }
                }
                if (workers != e->handlers[h].workers) {
                        return false;
                }
        }
        return true;
}
