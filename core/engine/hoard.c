/*
 * What was claimed ahead and is not got to.
 *
 * Claims look ahead by what a queue's jobs took so far. When the next ones are of another kind, the
 * workers may all be at it for hours while thousands stand ready behind them, and other nodes are
 * free. So once every worker has been at one job for longer than claims look ahead, what has not
 * started goes back, no attempt spent, and nothing is claimed until one of them gets on. A node
 * that is alone keeps what it has: nobody would run it sooner.
 *
 * Weighing each job's type apart was discarded: that a job is slow is known only once it runs.
 */
#include "core/engine/inner.h"

bool worker_stuck(const struct engine *e, const struct worker_books *w)
{
        return w->running && e->now.mono_ns - w->running_since_ns > AHEAD_NS;
}

/* No worker will take up a job of this queue soon. */
static bool queue_is_stuck(const struct engine *e, uint32_t at)
{
        const struct queue_books *q = &e->queues[at];
        bool full = q->concurrency && q->busy >= q->concurrency;
        uint32_t n = 0;
        for (uint32_t i = 0; i < e->workers_top; i++) {
                const struct worker_books *w = &e->workers[i];
                bool idle = w->head == w->tail;
                if (w->state != WORKER_READY || (full && (idle || w->queue != at))) {
                        continue;
                }
                if (idle || !worker_stuck(e, w)) {
                        return false;
                }
                n++;
        }
        return n > 0;
}

void hoard_watch(struct engine *e)
{
        if (!e->n_nodes || e->draining) {
                return;
        }
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                if (q->stuck || queue_is_stuck(e, i)) {
                        q->stuck = e->stuck = true;
                        give_back_queue(e, q); /* also what was recalled since */
                }
        }
}

void hoard_over(struct engine *e)
{
        for (uint32_t i = 0; e->stuck && i < e->n_queues; i++) {
                e->queues[i].stuck = false;
        }
        e->stuck = false;
}
