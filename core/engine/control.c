/*
 * What holds for a queue now: its configuration, and over it what operators set at runtime, which
 * each beat tells. Who is paused claims and starts nothing and takes nothing from its broker; who
 * has a limit over all nodes, or a bound that refuses, is taken in: what arrives waits in the
 * ledger, where it can be counted and chosen.
 *
 * Nothing is claimed or consumed before the first beat has told the controls: a node that starts
 * must not run jobs of a queue that was paused while it was away.
 *
 * How full a bounded queue is, as far as letters are concerned, is read from the ledger once a
 * second and counted on in between: the bound holds for them within what a second brings.
 */
#include "core/engine/inner.h"

#include <stdio.h>

#define LIMITED_WAIT (100 * NS_PER_MS)
#define STATS_EVERY  NS_PER_S

/* --- what holds ------------------------------------------------------------------------------- */

static bool refuses_letters(const struct queue_books *q)
{
        return q->max_waiting && !q->drop_oldest && q->transport.n && !q->gone;
}

/* After a change of what is configured or controlled. */
void queue_apply(struct engine *e, struct queue_books *q)
{
        int32_t concurrency = q->control.concurrency, global = q->control.global;
        q->paused = q->control.paused;
        q->concurrency =
            concurrency == CONTROL_UNSET ? q->configured_concurrency : (uint32_t)concurrency;
        q->global = global == CONTROL_UNSET ? q->configured_global : (uint32_t)global;
        q->taken_in = q->by_priority || q->global || (q->max_waiting && !q->drop_oldest);
        q->full = q->full && refuses_letters(q);
        if (q->limited && !q->global) {
                limit_met(e, q, false);
        }
        q->may_have_work = true;
        e->bounded = e->counts_waiting = false;
        for (uint32_t i = 0; i < e->n_queues; i++) {
                e->bounded |= e->queues[i].max_waiting && !e->queues[i].gone;
                e->counts_waiting |= refuses_letters(&e->queues[i]);
        }
}

/* What has not started shall not: it is asked back from the workers, and from there given back. */
static void recall_queue(struct engine *e, const struct queue_books *q)
{
        for (uint32_t w = 0; w < e->workers_top; w++) {
                const struct worker_books *b = &e->workers[w];
                if (b->head != b->tail && &e->queues[b->queue] == q) {
                        recall_worker(e, w, b->head);
                }
        }
}

static void note_change(struct engine *e, const struct queue_books *q,
                        const struct queue_control *now)
{
        const struct queue_control *was = &q->control;
        if (was->paused != now->paused) {
                engine_note(e, 5, NULL, "queue %.*s: %s by an operator", (int)q->name.n, q->name.p,
                            now->paused ? "paused" : "resumed");
        }
        if (was->concurrency != now->concurrency || was->global != now->global) {
                char here[24] = "as configured", all[24] = "as configured";
                if (now->concurrency != CONTROL_UNSET) {
                        snprintf(here, sizeof here, "%d", now->concurrency);
                }
                if (now->global != CONTROL_UNSET) {
                        snprintf(all, sizeof all, "%d", now->global);
                }
                engine_note(e, 5, NULL,
                            "queue %.*s: an operator set concurrency %s on each node, %s on all",
                            (int)q->name.n, q->name.p, here, all);
        }
}

static void control_queue(struct engine *e, struct queue_books *q, const struct queue_control *now)
{
        bool same = q->control.paused == now->paused &&
                    q->control.concurrency == now->concurrency && q->control.global == now->global;
        if (same || PLANT(controls_unheard)) {
                return;
        }
        bool was_paused = q->paused;
        note_change(e, q, now);
        q->control = *now;
        q->control.queue = q->name;
        queue_apply(e, q);
        if (q->paused && !was_paused) {
                recall_queue(e, q);
        }
}

void controls_told(struct engine *e, const struct queue_control *controls, uint32_t n)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct queue_control now = CONTROL_NONE;
                for (uint32_t k = 0; k < n; k++) {
                        if (str_eq(controls[k].queue, e->queues[i].name)) {
                                now = controls[k];
                        }
                }
                control_queue(e, &e->queues[i], &now);
        }
        e->controls_known = true;
}

/* What was claimed before its queue was paused, and had not started. */
void control_pump(struct engine *e)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                if (q->paused && (q->ready.n || q->gathered) && !PLANT(pause_gives)) {
                        give_back_queue(e, q);
                }
        }
}

/* --- a limit over all nodes ------------------------------------------------------------------- */

/* The ledger said that the limit was met: it is asked again a little later, sooner when no other
 * node can end one of them unseen. */
void limit_met(struct engine *e, struct queue_books *q, bool limited)
{
        e->limits_met += limited - q->limited;
        q->limited = limited;
        if (limited) {
                int64_t jitter =
                    e->n_nodes ? (int64_t)(engine_random(e) % (uint64_t)LIMITED_WAIT) : 0;
                q->not_before_ns = e->now.mono_ns + LIMITED_WAIT + jitter;
                q->may_have_work = true;
        }
}

/* Jobs ended: where a limit was met there is room now. */
void limit_ended(struct engine *e, const struct ledger_finish *f)
{
        for (uint32_t i = 0; e->limits_met && i < f->n; i++) {
                const struct job *j = f->rows[i].job;
                struct queue_books *q = j ? &e->queues[j->queue_index] : NULL;
                if (q && q->limited) {
                        limit_met(e, q, false);
                        q->not_before_ns = 0;
                }
        }
}

/* --- bounds ----------------------------------------------------------------------------------- */

/* Of all queues that have one. No memory: the batch goes without, and the ledger takes it all. */
void bounds_tell(struct engine *e, struct ledger_submit *b)
{
        struct queue_bound *bounds =
            e->bounded ? arena_alloc(&b->base.arena, e->n_queues * sizeof *bounds) : NULL;
        b->n_bounds = 0;
        for (uint32_t i = 0; bounds && i < e->n_queues; i++) {
                const struct queue_books *q = &e->queues[i];
                if (q->max_waiting && !q->gone && !PLANT(bounds_untold)) {
                        bounds[b->n_bounds++] =
                            (struct queue_bound){q->name, q->max_waiting, q->drop_oldest};
                }
        }
        b->bounds = bounds;
}

/* Full, and not so again before a tenth of it is free: a queue at its bound is not taken up and
 * left again for each job. */
static void fill_state(struct engine *e, struct queue_books *q)
{
        uint64_t again = q->max_waiting - q->max_waiting / 10;
        bool full = refuses_letters(q) && q->waiting >= (q->full ? again : q->max_waiting);
        if (full && !q->full) {
                engine_note(e, 5, NULL, "queue %.*s is not consumed: %llu jobs wait, %u may",
                            (int)q->name.n, q->name.p, (unsigned long long)q->waiting,
                            q->max_waiting);
        }
        q->full = full;
}

void bound_counted(struct engine *e, struct queue_books *q)
{
        if (refuses_letters(q)) {
                q->waiting++;
                fill_state(e, q);
        }
}

static bool stats_wanted(const struct engine *e)
{
        return e->counts_waiting && !e->counting && e->registered && !e->draining;
}

void bounds_pump(struct engine *e)
{
        struct ledger_batch *b = stats_wanted(e) && e->now.mono_ns >= e->count_ns
                                     ? ledger_batch_new(LEDGER_STATS)
                                     : NULL;
        if (b) {
                b->cookie = e;
                e->counting = post_batch(e, b);
        }
}

int64_t bounds_wake_ns(const struct engine *e)
{
        return stats_wanted(e) ? e->count_ns : NEVER;
}

bool bounds_own(const struct engine *e, const struct ledger_batch *b)
{
        return b->cookie == e;
}

void bounds_answered(struct engine *e, struct ledger_stats *b)
{
        e->counting = false;
        e->count_ns = e->now.mono_ns + STATS_EVERY;
        for (uint32_t i = 0; b->base.outcome == LEDGER_COMMITTED && i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                q->waiting = 0;
                for (uint32_t k = 0; k < b->n; k++) {
                        const struct queue_stat *s = &b->queues[k];
                        if (str_eq(s->queue, q->name)) {
                                q->waiting = s->jobs[STATE_PENDING] + s->jobs[STATE_SCHEDULED] +
                                             s->jobs[STATE_RETRYING];
                        }
                }
                fill_state(e, q);
        }
        ledger_batch_free(&b->base);
}

/* --- what people may know --------------------------------------------------------------------- */

static struct str not_consumed(const struct engine *e, const struct queue_books *q)
{
        const struct {
                bool so;
                struct str why;
        } reasons[] = {
            {q->transport.n == 0, {0}},
            {q->gone, STR("it is not configured any more")},
            {e->draining, STR("skepd is stopping")},
            {!e->registered || !e->controls_known, STR("the ledger has not answered yet")},
            {q->paused, STR("it is paused")},
            {!queue_up(e, q), STR("its transport is not connected")},
            {!e->roster || e->roster->n == 0, STR("there is no handler")},
            {q->full, STR("as many of its jobs wait as may")},
            {q->parked >= PARKED_MAX, STR("too many of its jobs wait for a handler")},
            {q->asked == 0, STR("its workers have enough to do")},
        };
        for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
                if (reasons[i].so) {
                        return reasons[i].why;
                }
        }
        return (struct str){0};
}

uint32_t engine_queue_views(const struct engine *e, struct queue_view *ret_views, uint32_t max)
{
        uint32_t n = 0;
        for (; n < e->n_queues && n < max; n++) {
                const struct queue_books *q = &e->queues[n];
                ret_views[n] = (struct queue_view){
                    .name = q->name,
                    .transport = q->transport,
                    .gone = q->gone,
                    .paused = q->paused,
                    .taken_in = q->taken_in,
                    .transport_up = queue_up(e, q),
                    .limited = q->limited,
                    .concurrency = q->concurrency,
                    .global = q->global,
                    .max_waiting = q->max_waiting,
                    .drop_oldest = q->drop_oldest,
                    .busy = q->busy,
                    .given = q->given,
                    .ready = q->ready.n + q->gathered,
                    .service_ns = q->service_ns,
                    .not_consumed = not_consumed(e, q),
                };
        }
        return n;
}
