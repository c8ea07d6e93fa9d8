/*
 * Which worker gets which job.
 *
 * A worker holds jobs of one queue at a time; queues take turns. Fast jobs travel together, slow
 * and unknown ones singly. When a job turns out to be slow, what waits behind it in its worker is
 * taken back and given to others.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

static bool ring_grow(struct job_ring *r)
{
        if (r->n < r->capacity) {
                return true;
        }
        uint32_t capacity = r->capacity ? r->capacity * 2 : 64;
        struct job **slots = malloc(capacity * sizeof *slots);
        if (!slots) {
                return false;
        }
        for (uint32_t i = 0; i < r->n; i++) {
                slots[i] = r->slots[(r->head + i) & (r->capacity - 1)];
        }
        free(r->slots);
        *r = (struct job_ring){slots, 0, r->n, capacity};
        return true;
}

bool ring_push(struct job_ring *r, struct job *j)
{
        if (!ring_grow(r)) {
                return false;
        }
        r->slots[(r->head + r->n++) & (r->capacity - 1)] = j;
        return true;
}

bool ring_push_front(struct job_ring *r, struct job *j)
{
        if (!ring_grow(r)) {
                return false;
        }
        r->head = (r->head - 1) & (r->capacity - 1);
        r->slots[r->head] = j;
        r->n++;
        return true;
}

struct job *ring_pop(struct job_ring *r)
{
        if (r->n == 0) {
                return NULL;
        }
        struct job *j = r->slots[r->head];
        r->head = (r->head + 1) & (r->capacity - 1);
        r->n--;
        return j;
}

/* Before the less urgent ones, behind its equals. In a claim's order nothing moves. */
bool ring_push_urgent(struct job_ring *r, struct job *j)
{
        if (!ring_push(r, j)) {
                return false;
        }
        uint32_t mask = r->capacity - 1;
        for (uint32_t i = r->n - 1; i > 0; i--) {
                struct job **before = &r->slots[(r->head + i - 1) & mask];
                if ((*before)->priority >= j->priority) {
                        break;
                }
                r->slots[(r->head + i) & mask] = *before;
                *before = j;
        }
        return true;
}

void give_back_queue(struct engine *e, struct queue_books *q)
{
        struct job *j;
        if (q->gathered) {
                batch_spill(e, (uint32_t)(q - e->queues));
        }
        while ((j = ring_pop(&q->ready))) {
                finish_unstarted(e, j);
        }
}

void give_back_ready(struct engine *e)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                give_back_queue(e, &e->queues[i]);
        }
}

/* The job's holder was declared dead before it started: others run it; nothing is written. */
static void drop_job(struct engine *e, struct job *j)
{
        struct claim *c = j->of;
        j->ended = true;
        c->unretired = true;
        e->claimed--;
        if (--c->open == 0) {
                claim_let_go(e, c);
        }
}

void give_drop_ready(struct engine *e)
{
        batch_spill_all(e);
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct job *j;
                while ((j = ring_pop(&e->queues[i].ready))) {
                        drop_job(e, j);
                }
        }
}

static bool of_dead_holder(const struct engine *e, const struct job *j)
{
        return j->of->no.holder != e->holder || !e->registered;
}

/* --- taking back ------------------------------------------------------------------------------ */

void recall_worker(struct engine *e, uint32_t worker, uint32_t position)
{
        const struct worker_books *w = &e->workers[worker];
        bool lives = w->state == WORKER_READY || w->state == WORKER_DRAINING;
        if (!lives || (int32_t)(w->tail - position) <= 0) {
                return;
        }
        struct engine_action *a = engine_act(e, ACT_RECALL);
        if (a) {
                a->worker = worker;
                a->position = position;
                e->view.recalls++;
        }
}

void recall_unstarted(struct engine *e)
{
        for (uint32_t w = 0; w < e->workers_top; w++) {
                recall_worker(e, w, e->workers[w].head);
        }
}

/* Ring positions from `position` on belong to the engine again. */
void ring_returned(struct engine *e, uint32_t worker, uint32_t position, bool drop)
{
        struct worker_books *w = &e->workers[worker];
        if ((int32_t)(position - w->head) < 0) {
                position = w->head;
        }
        struct queue_books *q = &e->queues[w->queue];
        bool held = w->tail != w->head;
        while ((int32_t)(w->tail - position) > 0) {
                struct job *j = w->ring[--w->tail % ENGINE_RING];
                q->given--;
                handler_left(e, worker, j);
                if (drop || of_dead_holder(e, j)) {
                        drop_job(e, j);
                } else if (!line_push(e, j, true)) {
                        drop_job(e, j); /* no memory: it stays running in the ledger until this node
                                           is rescued */
                        e->again = true;
                }
        }
        if (held && w->tail == w->head) {
                q->busy--;
                w->group_n = 0;
        }
        if (w->why && (int32_t)(w->asked_position - w->tail) >= 0) {
                w->why = 0; /* who was asked to stop had not started */
        }
}

void engine_recalled(struct engine *e, uint32_t worker, uint32_t position)
{
        struct worker_books *w = &e->workers[worker];
        if ((int32_t)(w->tail - position) <= 0) {
                return;
        }
        ring_returned(e, worker,
                      PLANT(recall_started) && position != w->head ? position - 1 : position,
                      false);
        e->again = true;
}

/* --- giving ----------------------------------------------------------------------------------- */

/* How many of a queue's jobs one worker may hold. */
static uint32_t window(const struct queue_books *q)
{
        if (q->service_ns <= 0) {
                return 1;
        }
        int64_t n = queue_ahead_ns(q) / q->service_ns;
        return n < 1 ? 1 : n > ENGINE_RING ? ENGINE_RING : (uint32_t)n;
}

static bool others_wait(const struct engine *e, uint32_t worker, uint32_t queue)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                if (i != queue && handler_opens(e, worker, &e->queues[i].ready)) {
                        return true;
                }
        }
        return false;
}

static bool may_give(const struct engine *e, uint32_t worker, uint32_t at)
{
        const struct queue_books *q = &e->queues[at];
        bool room =
            (!q->paused || PLANT(pause_gives)) && (!q->concurrency || q->busy < q->concurrency);
        return room && (handler_opens(e, worker, &q->ready) || (q->gathered && batch_due(e, at)));
}

/* The queue whose jobs this worker shall get next, or -1. */
static int choose_queue(struct engine *e, uint32_t worker)
{
        const struct worker_books *w = &e->workers[worker];
        if (w->head != w->tail) {
                const struct queue_books *q = &e->queues[w->queue];
                bool more = !q->paused && !w->group_n && handler_opens(e, worker, &q->ready) &&
                            !others_wait(e, worker, w->queue);
                return more ? (int)w->queue : -1;
        }
        for (uint32_t i = 0; i < e->n_queues; i++) {
                uint32_t at = (e->next_queue + i) % e->n_queues;
                if (may_give(e, worker, at)) {
                        return (int)at;
                }
        }
        return -1;
}

static uint32_t ready_workers(const struct engine *e)
{
        uint32_t n = 0;
        for (uint32_t w = 0; w < e->workers_top; w++) {
                n += e->workers[w].state == WORKER_READY;
        }
        return n ? n : 1;
}

/* Pops a job that may start: a handler is there and nobody cancelled it. */
static struct job *pop_startable(struct engine *e, struct queue_books *q)
{
        struct job *j;
        while ((j = ring_pop(&q->ready))) {
                j->handler = roster_find(e->roster, j->type);
                if (j->handler >= 0 && !j->cancel_asked) {
                        return j;
                }
                finish_unstarted(e, j);
        }
        return NULL;
}

/* Those that it may not have stay where they were in the line. */
static uint32_t fill_worker(struct engine *e, uint32_t worker, struct queue_books *q, uint32_t room)
{
        struct worker_books *w = &e->workers[worker];
        struct job *j, *passed[HANDLER_LOOK];
        uint32_t n = 0, n_passed = 0;
        while (n < room && n_passed < HANDLER_LOOK && (j = pop_startable(e, q))) {
                if (!e->handlers || handler_admits(e, worker, j)) {
                        w->ring[(w->tail + n++) % ENGINE_RING] = j;
                } else {
                        passed[n_passed++] = j;
                }
        }
        while (n_passed) {
                ring_push_front(&q->ready, passed[--n_passed]); /* there is room */
        }
        return n;
}

/* As many as the worker shall hold; 0: it waits for a worthwhile refill. */
static uint32_t fill_singly(struct engine *e, uint32_t worker, struct queue_books *q)
{
        const struct worker_books *w = &e->workers[worker];
        uint32_t given = w->tail - w->head;
        uint32_t most = window(q);
        uint32_t ready = ready_workers(e);
        uint32_t share = (q->ready.n + ready - 1) / ready;
        uint32_t room = most > given ? most - given : 0;
        room = room > share ? share : room;
        bool refill = given > 0 && room < most / 4 && room < q->ready.n;
        return refill ? 0 : fill_worker(e, worker, q, room);
}

static void tell_give(struct engine *e, uint32_t worker, uint32_t position, uint32_t n)
{
        struct worker_books *w = &e->workers[worker];
        while (n > 0) { /* a ring's wrap splits the list */
                uint32_t at = position % ENGINE_RING;
                uint32_t run = n < ENGINE_RING - at ? n : ENGINE_RING - at;
                struct engine_action *a = engine_act(e, ACT_GIVE);
                if (!a) {
                        return;
                }
                a->worker = worker;
                a->position = position;
                a->jobs = &w->ring[at];
                a->n = run;
                a->group = w->group_n ? e->group_last : 0;
                a->group_n = w->group_n;
                position += run;
                n -= run;
        }
}

/* To one that is at a slow job nothing is given that would only be taken back. */
static bool give_worker(struct engine *e, uint32_t worker)
{
        struct worker_books *w = &e->workers[worker];
        int at = worker_stuck(e, w) ? -1 : choose_queue(e, worker);
        if (at < 0) {
                return false;
        }
        struct queue_books *q = &e->queues[at];
        uint32_t given = w->tail - w->head;
        uint32_t n = given == 0 && q->gathered ? batch_fill(e, w, (uint32_t)at) : 0;
        n = n ? n : fill_singly(e, worker, q);
        if (n == 0) {
                return false;
        }
        if (given == 0) {
                q->busy++;
                w->queue = (uint32_t)at;
                w->running = false;
        }
        handler_took(e, worker, w->tail, n);
        tell_give(e, worker, w->tail, n);
        w->tail += n;
        q->given += n;
        if (w->group_n) {
                w->limits = watch_group_limits(e, w);
        }
        return true;
}

void give_pump(struct engine *e)
{
        if (!e->roster || e->draining || !e->registered || e->now.mono_ns >= e->lease_until_ns) {
                return;
        }
        for (uint32_t pass = 0; pass < 2; pass++) { /* idle workers first */
                for (uint32_t w = 0; w < e->workers_top; w++) {
                        const struct worker_books *b = &e->workers[w];
                        bool idle = b->head == b->tail;
                        if (b->state == WORKER_READY && idle == (pass == 0) && !b->why) {
                                give_worker(e, w);
                        }
                }
        }
}
