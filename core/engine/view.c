/*
 * What may be known of the engine from outside, for people and for tests. Nothing is changed here,
 * and nothing is handed out that lives longer than the next step.
 */
#include "core/engine/inner.h"

void engine_look(const struct engine *e, struct engine_view *ret_view)
{
        *ret_view = e->view;
        ret_view->holder = e->holder;
        ret_view->registered = e->registered;
        ret_view->ledger_up = e->ledger_up;
        ret_view->draining = e->draining;
        ret_view->claimed = e->claimed;
}

uint32_t engine_workers(const struct engine *e, struct worker_view *ret_views, uint32_t max)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < e->workers_top && n < max; i++) {
                const struct worker_books *w = &e->workers[i];
                if (w->state == WORKER_NONE) {
                        continue;
                }
                struct worker_view *v = &ret_views[n++];
                *v = (struct worker_view){
                    i, w->generation, w->tail - w->head, w->state, w->finished, {{0}}, {0}, false};
                if (w->tail != w->head) {
                        const struct job *j = w->ring[w->head % ENGINE_RING];
                        v->running = j->id;
                        v->type = j->type;
                        v->busy = true;
                }
        }
        return n;
}

const char *engine_check(const struct engine *e)
{
        uint32_t open = 0, held = 0;
        for (const struct claim *c = e->claims; c; c = c->next) {
                open += c->open;
        }
        for (uint32_t i = 0; i < e->n_queues; i++) {
                const struct queue_books *q = &e->queues[i];
                uint32_t given = 0, busy = 0;
                for (uint32_t w = 0; w < e->workers_top; w++) {
                        const struct worker_books *b = &e->workers[w];
                        if (b->head != b->tail && b->queue == i) {
                                given += b->tail - b->head;
                                busy++;
                        }
                }
                if (given != q->given || busy != q->busy) {
                        return "a queue's count of given jobs or busy workers is off";
                }
                if (batch_gathered(e, i) != q->gathered) {
                        return "a queue's count of gathered jobs is off";
                }
                held += given + q->ready.n + q->gathered;
        }
        if (!handler_counts(e)) {
                return "a handler's count of workers is off";
        }
        if (open != held) {
                return "a claimed job is neither ready, given nor ended";
        }
        if (e->claimed < open) {
                return "fewer jobs are counted as claimed than are open";
        }
        return NULL;
}
