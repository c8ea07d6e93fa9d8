/*
 * Reconciling: on request, each broker's queue is compared with what the ledger thinks is in it.
 *
 * The ledger says how high its numbers are by now; a mark with that place goes through the queue;
 * when it, or a doorbell behind it, has come out, or the broker has said twice since that it holds
 * nothing, every row below that place which still waits for its doorbell was passed over, and is
 * offered. That is the tide on request, without its patience. A doorbell that comes late is
 * dropped, so it may be asked for at any time. What could not be looked at within the time is said
 * to be so: it must never be told as found in order. Requests that come while one runs wait for the
 * next run, since its mark was rung before they asked; their time counts from when they came, so
 * that a mark that got lost before does not make them late as well.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

#define WITHIN      (55 * NS_PER_S)
#define ASKERS_MAX  64
#define PAGE_ROWS   1000
#define MARK_AGAIN  (15 * NS_PER_S) /* marks get lost like all else */
#define RETRY_AFTER (500 * NS_PER_MS)

enum step { STEP_LOOK, STEP_WAIT, STEP_SWEEP, STEP_OVER };

struct reconcile_queue {
        enum step step;
        bool posted;
        int64_t place;    /* of the mark */
        int64_t mark_ns;  /* when it is rung next */
        uint64_t empties; /* how often the broker had said so when it was rung first */
        int64_t next_ns;  /* after a refusal */
        uint32_t found;
        bool looked;
        const char *why;
};

struct reconcile_books {
        bool running;
        int64_t until_ns, later_until_ns; /* of this run, of the next */
        struct reconcile_queue *queues;   /* by the engine's index */
        uint32_t n;
        void *askers[ASKERS_MAX], *later[ASKERS_MAX];
        uint32_t n_askers, n_later;
        struct arena answer; /* of the last run */
};

void reconcile_deinit(struct engine *e)
{
        if (e->reconcile) {
                arena_deinit(&e->reconcile->answer);
                free(e->reconcile->queues);
                free(STEAL(e->reconcile));
        }
}

static void answer_all(struct engine *e, void *const *cookies, uint32_t n,
                       const struct reconciled *what)
{
        for (uint32_t i = 0; i < n && !PLANT(reconcile_mute); i++) {
                struct engine_action *a = engine_act(e, ACT_RECONCILED);
                if (a) {
                        a->cookie = cookies[i];
                        a->reconciled = what;
                }
        }
}

/* --- begin ------------------------------------------------------------------------------------ */

static void queue_over(struct reconcile_queue *k, bool looked, const char *why)
{
        k->step = STEP_OVER;
        k->looked = looked;
        k->why = why;
}

static void begin(struct engine *e, int64_t until_ns)
{
        struct reconcile_books *r = e->reconcile;
        struct reconcile_queue *fresh = calloc(e->n_queues ? e->n_queues : 1, sizeof *fresh);
        if (!fresh) {
                e->out->out_of_memory = true;
                return;
        }
        free(r->queues);
        r->queues = fresh;
        r->n = e->n_queues;
        r->running = true;
        r->until_ns = until_ns;
        for (uint32_t i = 0; i < r->n; i++) {
                const struct queue_books *q = &e->queues[i];
                if (!q->transport.n || q->gone) {
                        queue_over(&r->queues[i], true, "");
                }
        }
}

void reconcile_arrived(struct engine *e, void *cookie)
{
        static const struct reconciled nothing;
        struct reconcile_books *r = e->reconcile;
        if (!r) {
                r = e->reconcile = calloc(1, sizeof *r);
        }
        if (!r || e->draining || (r->running && r->n_later == ASKERS_MAX) ||
            r->n_askers == ASKERS_MAX) {
                answer_all(e, &cookie, 1, &nothing);
        } else if (r->running) {
                r->later_until_ns = r->n_later ? r->later_until_ns : e->now.mono_ns + WITHIN;
                r->later[r->n_later++] = cookie;
        } else {
                r->askers[r->n_askers++] = cookie;
                begin(e, e->now.mono_ns + WITHIN);
        }
}

/* --- each queue ------------------------------------------------------------------------------- */

/* `place` INT64_MAX with `limit` 0: only to learn how high the numbers are. */
static void post_look(struct engine *e, uint32_t queue, bool sweep)
{
        struct reconcile_queue *k = &e->reconcile->queues[queue];
        struct ledger_batch *batch = ledger_batch_new(LEDGER_TIDE);
        if (!batch) {
                k->next_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        struct ledger_tide *b = LEDGER_AS(tide, TIDE, batch);
        b->queue = e->queues[queue].name;
        b->below = sweep ? k->place : INT64_MAX;
        b->limit = sweep ? PAGE_ROWS : 0;
        batch->cookie = e->reconcile;
        k->posted = post_batch(e, batch);
}

static void wait_for_mark(struct engine *e, uint32_t queue)
{
        struct reconcile_queue *k = &e->reconcile->queues[queue];
        struct queue_books *q = &e->queues[queue];
        if (!queue_up(e, q)) {
                queue_over(k, false, "its transport is down");
        } else if (q->tide_seq >= k->place || q->empties >= k->empties + 2) {
                k->step = STEP_SWEEP;
        } else if (e->now.mono_ns >= k->mark_ns) {
                struct doorbell mark = {.seq = k->place};
                ring_bells(e, queue, &mark, 1, 0);
                k->mark_ns = e->now.mono_ns + MARK_AGAIN;
        }
}

static const char *late(const struct reconcile_queue *k)
{
        return k->step == STEP_WAIT
                   ? "its mark did not come back in time: it is not consumed here, another node "
                     "took it, or much waits before it"
                   : "the ledger did not answer in time";
}

static void queue_pump(struct engine *e, uint32_t queue)
{
        struct reconcile_queue *k = &e->reconcile->queues[queue];
        if (k->step != STEP_OVER && e->now.mono_ns >= e->reconcile->until_ns) {
                queue_over(k, false, late(k));
        }
        if (k->posted || e->now.mono_ns < k->next_ns || !e->registered) {
                return;
        }
        if (k->step == STEP_LOOK) {
                if (queue_up(e, &e->queues[queue])) {
                        post_look(e, queue, false);
                } else {
                        queue_over(k, false, "its transport is down");
                }
        }
        if (k->step == STEP_WAIT) {
                wait_for_mark(e, queue);
        }
        if (k->step == STEP_SWEEP && !k->posted) {
                post_look(e, queue, true);
        }
}

void reconcile_answered(struct engine *e, struct ledger_tide *b)
{
        int at = queue_find(e, b->queue);
        struct reconcile_books *r = e->reconcile;
        struct reconcile_queue *k = at >= 0 && (uint32_t)at < r->n ? &r->queues[at] : NULL;
        if (k) {
                k->posted = false;
        }
        if (!k || b->base.outcome != LEDGER_COMMITTED) {
                if (k) {
                        k->next_ns = e->now.mono_ns + RETRY_AFTER;
                }
        } else if (k->step == STEP_LOOK) {
                k->place = b->last + 1;
                k->empties = e->queues[at].empties;
                k->step = STEP_WAIT;
        } else if (k->step == STEP_SWEEP) {
                k->found += b->moved;
                e->view.tide += b->moved;
                e->dirty |= b->moved > 0;
                e->queues[at].may_have_work |= b->moved > 0;
                e->queues[at].backlog += b->moved;
                if (!b->more) {
                        queue_over(k, true, "");
                }
        }
        ledger_batch_free(&b->base);
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool all_over(const struct reconcile_books *r)
{
        for (uint32_t i = 0; i < r->n; i++) {
                if (r->queues[i].step != STEP_OVER) { /* a late answer does no harm */
                        return false;
                }
        }
        return true;
}

static const struct reconciled *make_answer(struct engine *e)
{
        struct reconcile_books *r = e->reconcile;
        arena_reset(&r->answer);
        struct reconciled *what = arena_zalloc(&r->answer, sizeof *what);
        struct reconciled_queue *rows = arena_zalloc(&r->answer, (r->n ? r->n : 1) * sizeof *rows);
        if (!what || !rows) {
                return NULL;
        }
        what->queues = rows;
        for (uint32_t i = 0; i < r->n; i++) {
                const struct reconcile_queue *k = &r->queues[i];
                const struct queue_books *q = &e->queues[i];
                if (q->transport.n && !q->gone) {
                        rows[what->n++] = (struct reconciled_queue){
                            arena_str(&r->answer, q->name), k->found, k->looked, str_of(k->why)};
                }
        }
        return what;
}

static void finish(struct engine *e)
{
        static const struct reconciled nothing;
        struct reconcile_books *r = e->reconcile;
        const struct reconciled *what = make_answer(e);
        r->running = false;
        answer_all(e, r->askers, r->n_askers, what ? what : &nothing);
        memcpy(r->askers, r->later, r->n_later * sizeof *r->later);
        r->n_askers = r->n_later;
        r->n_later = 0;
        if (r->n_askers) {
                begin(e, r->later_until_ns);
        }
}

void reconcile_pump(struct engine *e)
{
        struct reconcile_books *r = e->reconcile;
        if (!r || !r->running) {
                return;
        }
        if (e->draining) {
                r->until_ns = e->now.mono_ns;
        }
        for (uint32_t i = 0; i < r->n; i++) {
                queue_pump(e, i);
        }
        if (all_over(r)) {
                finish(e);
                e->again |= r->running;
        }
}

int64_t reconcile_wake_ns(const struct engine *e)
{
        const struct reconcile_books *r = e->reconcile;
        if (!r || !r->running) {
                return NEVER;
        }
        int64_t at = r->until_ns;
        for (uint32_t i = 0; i < r->n; i++) {
                const struct reconcile_queue *k = &r->queues[i];
                if (k->step == STEP_WAIT) {
                        at = engine_min(at, k->mark_ns);
                } else if (k->step != STEP_OVER && !k->posted) {
                        at = engine_min(at, k->next_ns);
                }
        }
        return at > e->now.mono_ns ? at : e->now.mono_ns + RETRY_AFTER;
}
