/*
 * Workers' lives: spawned when the roster has handlers, replaced when it changes or they die. What
 * they say of their jobs, and their deaths, become ledger writes here. A worker that dies before it
 * finished anything slows the next spawn down.
 */
#include "core/engine/inner.h"

#include <stdio.h>

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

uint32_t workers_wanted(const struct engine *e)
{
        uint32_t n = e->resize ? e->resize : e->config->workers;
        return n < ENGINE_WORKERS_MAX ? n : ENGINE_WORKERS_MAX;
}

void worker_pump(struct engine *e)
{
        uint32_t want = e->draining || !e->roster || e->roster->n == 0 ? 0 : workers_wanted(e);
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

void worker_up(struct engine *e, const struct engine_event *ev)
{
        struct worker_books *w = &e->workers[ev->up.worker];
        if (w->state == WORKER_STARTING) {
                w->state = WORKER_READY;
                hoard_over(e);
                w->generation = ev->up.generation;
                w->pid = ev->up.pid;
        }
}

void worker_roster(struct engine *e, struct roster *r)
{
        roster_unref(e->roster);
        e->roster = r;
        batch_roster(e);
        handler_roster(e);
        e->spawn_pause_ns = 0;
        e->spawn_after_ns = 0;
        e->unpark_ns = e->now.mono_ns;
        e->tells = true;
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
        row->worker_pid = e->workers[worker].pid;
        row->started_us = v->started_wall_us;
        row->ended_us = v->started_wall_us + v->run_ns / 1000;
        row->error_text = finish_text(e->filling, v->text, ERROR_TEXT_MAX);
        row->result = finish_text(e->filling, v->result, RESULT_MAX);
        row->result_type = finish_text(e->filling, v->result_type, 255);
}

static const struct handler_desc *handler_of(const struct engine *e, const struct job *j)
{
        bool known = j->handler >= 0 && e->roster && (uint32_t)j->handler < e->roster->n;
        return known ? &e->roster->handlers[j->handler] : NULL;
}

/* The row has its class and text: what it still lacks. */
static void note_end(struct engine *e, struct finish_row *row, const struct job *j,
                     const struct worker_books *w)
{
        const struct handler_desc *h = handler_of(e, j);
        row->build = h ? finish_text(e->filling, str_of(h->build), BUILD_ID_MAX) : (struct str){0};
        if (row->error == ERROR_NONE) {
                return;
        }
        if (row->error == ERROR_TIMED_OUT && w->silent_ms) {
                row->error_text = watch_silence(e->filling, w->silent_ms, row->error_text);
        }
        settle_fingerprint(row, j->type);
}

static bool fails(enum verdict_kind kind)
{
        return kind != VERDICT_DONE && kind != VERDICT_SNOOZE && kind != VERDICT_DISCARD &&
               kind != VERDICT_DEAD;
}

static const struct retry_policy *policy_of(const struct engine *e, const struct job *j,
                                            struct retry_policy *room)
{
        return job_policy(e, (int)j->queue_index, j->type, j->policy, room);
}

static void settle_job(struct engine *e, uint32_t worker, struct job *j, const struct verdict *v,
                       int why)
{
        struct settle_job s = settle_job_of(e, j);
        struct retry_policy room;
        struct finish_row *row = finish_add(e, j);
        if (!row) {
                submission_free(v->children);
                return;
        }
        const struct retry_policy *policy =
            fails(v->kind) ? policy_of(e, j, &room) : &e->queues[j->queue_index].retry;
        settle_verdict(&s, v->kind, v->delay_ms, policy, engine_random(e), row);
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
        note_end(e, row, j, &e->workers[worker]);
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
        uint32_t together = w->group_n ? w->group_n : 1; /* each says how long all of them took */
        for (uint32_t i = 0; i < n; i++) {
                struct job *j = w->ring[w->head % ENGINE_RING];
                bool asked = w->asked_position == w->head;
                int why = asked || w->group_n ? w->why : 0;
                measure(q, list[i].run_ns / together);
                if (e->handlers) {
                        handler_left(e, worker, j);
                }
                settle_job(e, worker, j, &list[i], why);
                w->head++;
                if (asked && !w->group_n) {
                        w->why = 0;
                }
        }
        q->given -= n;
        q->busy -= w->head == w->tail;
        w->finished += n;
        w->running = false;
        hoard_over(e);
        if (w->head == w->tail && w->group_n) {
                w->group_n = 0;
                w->why = 0;
        }
        e->spawn_pause_ns = 0;
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
        struct settle_job s = settle_job_of(e, j);
        struct retry_policy room;
        struct finish_row *row = finish_add(e, j);
        if (!row) {
                return;
        }
        settle_failure(&s, how, policy_of(e, j, &room), engine_random(e), row);
        row->worker = (uint16_t)ev->gone.worker;
        row->worker_pid = ev->gone.pid;
        row->started_us = ev->gone.started_wall_us;
        row->ended_us = e->now.wall_us;
        row->error_text = finish_text(e->filling, ev->gone.text, ERROR_TEXT_MAX);
        note_end(e, row, j, w);
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

/* Whose fault it was nobody knows: each of them runs singly next, and none has spent anything. At
 * the end of the shutdown grace there is no next: each has been stopped. */
static void batch_gone(struct engine *e, const struct engine_event *ev, uint32_t first, uint32_t n)
{
        const struct worker_books *w = &e->workers[ev->gone.worker];
        for (uint32_t i = 0; i < n && first + i != w->tail; i++) {
                w->ring[(first + i) % ENGINE_RING]->alone = !PLANT(batch_again);
        }
        e->view.crashes += ev->gone.how == ERROR_CRASHED || ev->gone.how == ERROR_OOM;
        engine_note(e, 4, NULL,
                    "worker %u (pid %d) %s while running a batch of %u: its jobs run singly next: "
                    "%.*s",
                    ev->gone.worker, ev->gone.pid,
                    error_class_name(death_class(w, first, ev->gone.how)), n,
                    (int)(ev->gone.text.n > 120 ? 120 : ev->gone.text.n),
                    ev->gone.text.p ? ev->gone.text.p : "");
}

/* The job at the tail of the worker's ring was running, and is the one to blame. */
static void job_gone(struct engine *e, const struct engine_event *ev)
{
        struct worker_books *w = &e->workers[ev->gone.worker];
        struct queue_books *q = &e->queues[w->queue];
        handler_left(e, ev->gone.worker, w->ring[(w->tail - 1) % ENGINE_RING]);
        settle_death(e, ev, w->tail - 1);
        w->tail--;
        q->given--;
        q->busy -= w->tail == w->head;
}

void worker_gone(struct engine *e, const struct engine_event *ev)
{
        struct worker_books *w = &e->workers[ev->gone.worker];
        uint32_t given = w->tail - w->head;
        uint32_t victim = ev->gone.position, n = ev->gone.n_running;
        bool ran = ev->gone.running && victim - w->head < given;
        bool batch = ran && n > 1 && !PLANT(batch_blamed);
        if (ran && PLANT(strike_bystander) && victim + 1 != w->tail) {
                victim++;
        }
        if (batch && w->why != WHY_SHUTDOWN) {
                batch_gone(e, ev, victim, n);
        } else if (ran) {
                /* what is behind goes back first, so that the ring's tail is the victim */
                ring_returned(e, ev->gone.worker, victim + (batch ? n : 1), false);
                while (w->tail != victim && w->tail != w->head) {
                        job_gone(e, ev);
                }
        }
        ring_returned(e, ev->gone.worker, w->head, false);
        throttle_spawn(e, w, ran);
        *w = (struct worker_books){.state = WORKER_NONE};
}

int64_t worker_wake_ns(const struct engine *e)
{
        int64_t at = NEVER;
        for (uint32_t w = 0; w < e->workers_top; w++) {
                at = engine_min(at, watch_wake_ns(e, &e->workers[w]));
        }
        bool wanted =
            !e->draining && e->roster && e->roster->n && workers_able(e) < workers_wanted(e);
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
