/*
 * Workers' lives: spawned when the roster has handlers, replaced when it changes or they die, asked
 * and then killed when a job outlives its time-out or is cancelled. A worker that dies before it
 * finished anything slows the next spawn down.
 */
#include "core/engine_inner.h"

#include <stdio.h>

enum { WHY_CANCEL = 1, WHY_TIMEOUT = 2, WHY_SHUTDOWN = 3 }; /* enum skep_why of the handler ABI */

#define SPAWN_PAUSE_FIRST (100 * NS_PER_MS)
#define SPAWN_PAUSE_LAST  (10 * NS_PER_S)

static bool current(const struct engine *e, const struct worker_books *w)
{
        return (w->state == WORKER_STARTING || w->state == WORKER_READY) && e->roster &&
               w->generation == e->roster->generation;
}

uint32_t workers_able(const struct engine *e)
{
        uint32_t n = 0;
        for (uint32_t w = 0; w < e->workers_top; w++) {
                n += current(e, &e->workers[w]);
        }
        return n;
}

static void retire(struct engine *e, uint32_t worker)
{
        struct worker_books *w = &e->workers[worker];
        if (w->state != WORKER_READY) {
                return;
        }
        recall_worker(e, worker, w->head);
        w->state = WORKER_DRAINING;
        struct engine_action *a = engine_act(e, ACT_RETIRE);
        if (a) {
                a->worker = worker;
        }
}

static void spawn(struct engine *e)
{
        for (uint32_t i = 0; i < ENGINE_WORKERS_MAX; i++) {
                struct worker_books *w = &e->workers[i];
                if (w->state != WORKER_NONE) {
                        continue;
                }
                *w = (struct worker_books){.state = WORKER_STARTING,
                                           .generation = e->roster->generation};
                e->workers_top = i + 1 > e->workers_top ? i + 1 : e->workers_top;
                struct engine_action *a = engine_act(e, ACT_SPAWN);
                if (a) {
                        a->worker = i;
                }
                return;
        }
}

void worker_pump(struct engine *e)
{
        uint32_t want = e->draining || !e->roster || e->roster->n == 0 ? 0 : e->config->workers;
        uint32_t able = workers_able(e);
        while (able < want && able < ENGINE_WORKERS_MAX && e->now.mono_ns >= e->spawn_after_ns) {
                spawn(e);
                able++;
        }
        for (uint32_t w = e->workers_top; w-- > 0;) {
                bool ready = e->workers[w].state == WORKER_READY;
                bool old = ready && !current(e, &e->workers[w]);
                if (old || (ready && able > want && !e->draining)) {
                        able -= !old;
                        retire(e, w);
                }
        }
}

void worker_up(struct engine *e, uint32_t worker, uint32_t generation)
{
        struct worker_books *w = &e->workers[worker];
        if (w->state == WORKER_STARTING) {
                w->state = WORKER_READY;
                w->generation = generation;
        }
}

void worker_roster(struct engine *e, struct roster *r)
{
        roster_unref(e->roster);
        e->roster = r;
        e->spawn_pause_ns = 0;
        e->spawn_after_ns = 0;
        e->unpark_ns = e->now.mono_ns;
        for (uint32_t i = 0; i < e->n_queues; i++) {
                e->queues[i].parked = 0;
                e->queues[i].told_parked = false;
        }
        claim_hint_all(e);
}

/* --- verdicts --------------------------------------------------------------------------------- */

static void measure(struct queue_books *q, int64_t run_ns)
{
        run_ns = run_ns < 100 ? 100 : run_ns;
        if (q->service_ns == 0) {
                q->service_ns = run_ns;
        } else {
                /* up quickly, down slowly: one slow job among fast ones shall count */
                int64_t step = (run_ns - q->service_ns) / (run_ns > q->service_ns ? 8 : 32);
                q->service_ns += step;
        }
}

static void note_run(struct engine *e, struct finish_row *row, uint32_t worker,
                     const struct verdict *v)
{
        row->worker = (uint16_t)worker;
        row->started_us = v->started_wall_us;
        row->ended_us = v->started_wall_us + v->run_ns / 1000;
        row->error_text = finish_text(e->filling, v->text, ERROR_TEXT_MAX);
        row->result = finish_text(e->filling, v->result, RESULT_MAX);
        row->result_type = finish_text(e->filling, v->result_type, 255);
}

static void settle_job(struct engine *e, uint32_t worker, struct job *j, const struct verdict *v,
                       int why)
{
        struct settle_job s = settle_job_of(j);
        const struct handler_desc *h =
            j->handler >= 0 && e->roster && (uint32_t)j->handler < e->roster->n
                ? &e->roster->handlers[j->handler]
                : NULL;
        struct finish_row *row = finish_add(e, j);
        if (!row) {
                submission_free(v->children);
                return;
        }
        settle_verdict(&s, v->kind, v->delay_ms, &e->queues[j->queue_index].retry, engine_random(e),
                       row);
        if (PLANT(verdict_of_another)) {
                row->claim = 0;
        }
        note_run(e, row, worker, v);
        row->children = v->children;
        if (v->children) {
                child_complete(e, j, v->children);
        }
        if (row->error == ERROR_FAILED && why == WHY_TIMEOUT) {
                row->error = ERROR_TIMED_OUT; /* it stopped when asked: no strike */
        } else if (row->error == ERROR_FAILED && why == WHY_SHUTDOWN) {
                row->error = ERROR_STOPPED;
        }
        row->build = h ? finish_text(e->filling, str_of(h->build), BUILD_ID_MAX) : (struct str){0};
}

void worker_verdicts(struct engine *e, uint32_t worker, uint32_t first, uint32_t n,
                     const struct verdict *list)
{
        struct worker_books *w = &e->workers[worker];
        if (first != w->head || n > w->tail - w->head) {
                for (uint32_t i = 0; i < n;
                     i++) { /* not what this engine gave: nothing of it counts */
                        submission_free(list[i].children);
                }
                return;
        }
        struct queue_books *q = &e->queues[w->queue];
        for (uint32_t i = 0; i < n; i++) {
                struct job *j = w->ring[w->head % ENGINE_RING];
                int why = w->why && w->asked_position == w->head ? w->why : 0;
                if (why) {
                        w->why = 0;
                }
                measure(q, list[i].run_ns);
                settle_job(e, worker, j, &list[i], why);
                w->head++;
        }
        q->given -= n;
        q->busy -= w->head == w->tail;
        w->finished += n;
        w->running = false;
        e->spawn_pause_ns = 0;
}

/* --- time-outs, cancels ----------------------------------------------------------------------- */

void worker_seen(struct engine *e, uint32_t worker, bool running, uint32_t position,
                 int64_t since_ns)
{
        struct worker_books *w = &e->workers[worker];
        uint32_t given = w->tail - w->head;
        w->running = running && position - w->head < given;
        w->running_position = position;
        w->running_since_ns = since_ns;
}

static void ask_worker(struct engine *e, uint32_t worker, uint32_t position, int why)
{
        struct worker_books *w = &e->workers[worker];
        struct engine_action *a = engine_act(e, ACT_ASK);
        if (a) {
                a->worker = worker;
                a->position = position;
                a->why = why;
        }
        w->why = why;
        w->asked_position = position;
        w->kill_at_ns = e->now.mono_ns + (int64_t)e->config->cancel_grace_ms * NS_PER_MS;
}

static int64_t timeout_ns(const struct engine *e, const struct job *j)
{
        uint32_t ms = j->timeout_ms;
        if (!ms && j->handler >= 0 && e->roster && (uint32_t)j->handler < e->roster->n) {
                ms = e->roster->handlers[j->handler].timeout_ms;
        }
        if (!ms) {
                ms = e->queues[j->queue_index].timeout_ms;
        }
        return ms ? (int64_t)ms * NS_PER_MS : NEVER;
}

static void kill_worker(struct engine *e, uint32_t worker)
{
        struct worker_books *w = &e->workers[worker];
        w->state = WORKER_KILLED;
        struct engine_action *a = engine_act(e, ACT_KILL);
        if (a) {
                a->worker = worker;
        }
}

static void watch_worker(struct engine *e, uint32_t worker)
{
        struct worker_books *w = &e->workers[worker];
        int64_t now = e->now.mono_ns;
        bool passed = w->running && w->running_position != w->asked_position;
        if (w->why && ((int32_t)(w->asked_position - w->head) < 0 || passed)) {
                w->why = 0; /* it has ended, even if its verdict is still on its way: nobody else
                               dies for it */
        }
        if (w->why && now >= w->kill_at_ns) {
                kill_worker(e, worker);
        } else if (w->running && !w->why) {
                const struct job *j = w->ring[w->running_position % ENGINE_RING];
                int64_t limit = timeout_ns(e, j);
                if (limit != NEVER && now - w->running_since_ns >= limit) {
                        ask_worker(e, worker, w->running_position, WHY_TIMEOUT);
                }
        }
        bool slow = w->running && now - w->running_since_ns > AHEAD_NS;
        if (slow && w->tail - w->running_position > 1) {
                recall_worker(e, worker, w->running_position + 1);
        }
}

static bool works(const struct worker_books *w)
{
        return (w->state == WORKER_READY || w->state == WORKER_DRAINING) && w->head != w->tail;
}

/* The end of the shutdown grace: what still runs is asked to stop, then killed. */
static void watch_drain(struct engine *e)
{
        bool ask = !e->drain_asked && e->now.mono_ns >= e->drain_ask_ns;
        bool kill = !e->drain_killed && e->now.mono_ns >= e->drain_kill_ns;
        for (uint32_t w = 0; (ask || kill) && w < e->workers_top; w++) {
                struct worker_books *b = &e->workers[w];
                if (works(b) && ask && !b->why) {
                        ask_worker(e, w, b->head, WHY_SHUTDOWN);
                }
                if (works(b) && kill) {
                        b->why = b->why ? b->why : WHY_SHUTDOWN;
                        kill_worker(e, w);
                }
        }
        e->drain_asked |= ask;
        e->drain_killed |= kill;
}

void worker_watch(struct engine *e)
{
        for (uint32_t w = 0; w < e->workers_top; w++) {
                if (works(&e->workers[w])) {
                        watch_worker(e, w);
                }
        }
        if (e->draining) {
                watch_drain(e);
        }
}

/* When this worker next needs a look. Busy ones are looked at now and then, since only their page
 * knows what runs. */
static int64_t watch_wake(const struct engine *e, const struct worker_books *w)
{
        if (!works(w)) {
                return NEVER;
        }
        int64_t at = w->why ? w->kill_at_ns : NEVER;
        if (!w->running) {
                return engine_min(at, e->looked_ns + WATCH_NS);
        }
        int64_t limit = timeout_ns(e, w->ring[w->running_position % ENGINE_RING]);
        if (!w->why && limit != NEVER) {
                at = engine_min(at, w->running_since_ns + limit);
        }
        bool behind = w->tail - w->running_position > 1;
        return behind || limit != NEVER ? engine_min(at, e->looked_ns + WATCH_NS) : at;
}

int64_t worker_wake_ns(const struct engine *e)
{
        int64_t at = NEVER;
        for (uint32_t w = 0; w < e->workers_top; w++) {
                at = engine_min(at, watch_wake(e, &e->workers[w]));
        }
        bool wanted =
            !e->draining && e->roster && e->roster->n && workers_able(e) < e->config->workers;
        if (wanted) {
                at = engine_min(at, e->spawn_after_ns);
        }
        if (e->draining) {
                at = engine_min(at, e->drain_asked ? NEVER : e->drain_ask_ns);
                at = engine_min(at, e->drain_killed ? NEVER : e->drain_kill_ns);
                at = engine_min(at, e->drain_give_up_ns);
        }
        return at;
}

static bool cancel_ready(struct engine *e, const struct job_id *id)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct job_ring *r = &e->queues[i].ready;
                uint32_t n = r->n;
                bool found = false;
                for (uint32_t k = 0; k < n;
                     k++) { /* once around: what is kept goes to the back, in order */
                        struct job *j = ring_pop(r);
                        if (!found && job_id_eq(&j->id, id)) {
                                j->cancel_asked = true;
                                finish_unstarted(e, j);
                                found = true;
                        } else {
                                ring_push(r, j);
                        }
                }
                if (found) {
                        return true;
                }
        }
        return false;
}

/* A cancel was recorded for a job that this node holds: what has not started never will, what runs
 * is asked. */
void worker_cancel(struct engine *e, const struct job_id *id)
{
        if (cancel_ready(e, id)) {
                return;
        }
        for (uint32_t w = 0; w < e->workers_top; w++) {
                struct worker_books *b = &e->workers[w];
                for (uint32_t p = b->head; p != b->tail; p++) {
                        struct job *j = b->ring[p % ENGINE_RING];
                        if (job_id_eq(&j->id, id) && j->cancel_asked) {
                                return; /* a beat may tell it more than once */
                        }
                        if (job_id_eq(&j->id, id)) {
                                j->cancel_asked = true;
                                recall_worker(e, w, p);
                                ask_worker(e, w, p, WHY_CANCEL);
                                return;
                        }
                }
        }
}

/* --- deaths ----------------------------------------------------------------------------------- */

static enum error_class death_class(const struct worker_books *w, uint32_t position,
                                    enum error_class how)
{
        if (w->why && w->asked_position == position) {
                switch (w->why) {
                case WHY_TIMEOUT: return ERROR_TIMED_OUT;
                case WHY_CANCEL: return ERROR_CANCELLED;
                case WHY_SHUTDOWN: return ERROR_STOPPED;
                default: break;
                }
        }
        bool ours =
            w->state == WORKER_KILLED; /* meant for another job that ended at that very moment */
        return ours ? ERROR_STOPPED : how == ERROR_NONE ? ERROR_CRASHED : how;
}

static void settle_death(struct engine *e, const struct engine_event *ev, uint32_t position)
{
        struct worker_books *w = &e->workers[ev->gone.worker];
        struct job *j = w->ring[position % ENGINE_RING];
        enum error_class how = death_class(w, position, ev->gone.how);
        struct settle_job s = settle_job_of(j);
        struct finish_row *row = finish_add(e, j);
        if (!row) {
                return;
        }
        settle_failure(&s, how, &e->queues[j->queue_index].retry, engine_random(e), row);
        row->worker = (uint16_t)ev->gone.worker;
        row->worker_pid = ev->gone.pid;
        row->started_us = ev->gone.started_wall_us;
        row->ended_us = e->now.wall_us;
        row->error_text = finish_text(e->filling, ev->gone.text, ERROR_TEXT_MAX);
        if (how == ERROR_CRASHED || how == ERROR_OOM) {
                e->view.crashes++;
        }
        engine_note(e, 4, &row->id, "worker %u (pid %d) %s while running it: strike %u: %.*s",
                    ev->gone.worker, ev->gone.pid, error_class_name(how), row->strikes,
                    (int)(ev->gone.text.n > 120 ? 120 : ev->gone.text.n),
                    ev->gone.text.p ? ev->gone.text.p : "");
}

/* A death while a job ran is bounded by that job's strikes; one without a job would otherwise be a
 * storm of forks. */
static void throttle_spawn(struct engine *e, const struct worker_books *w, bool ran)
{
        if (ran || w->finished > 0 || w->state == WORKER_DRAINING || w->why) {
                return;
        }
        e->spawn_pause_ns = e->spawn_pause_ns ? e->spawn_pause_ns * 2 : SPAWN_PAUSE_FIRST;
        e->spawn_pause_ns = engine_min(e->spawn_pause_ns, SPAWN_PAUSE_LAST);
        e->spawn_after_ns = e->now.mono_ns + e->spawn_pause_ns;
}

void worker_gone(struct engine *e, const struct engine_event *ev)
{
        struct worker_books *w = &e->workers[ev->gone.worker];
        struct queue_books *q = &e->queues[w->queue];
        uint32_t given = w->tail - w->head;
        uint32_t victim = ev->gone.position;
        bool ran = ev->gone.running && victim - w->head < given;
        if (ran && PLANT(strike_bystander) && victim + 1 != w->tail) {
                victim++;
        }
        if (ran) {
                /* what is behind it goes back first, so that the ring's tail is the victim */
                ring_returned(e, ev->gone.worker, victim + 1, false);
                settle_death(e, ev, victim);
                w->tail--;
                q->given--;
                q->busy -= w->tail == w->head;
        }
        ring_returned(e, ev->gone.worker, w->head, false);
        throttle_spawn(e, w, ran);
        *w = (struct worker_books){.state = WORKER_NONE};
}
