/*
 * Workers at work: asked and then killed when a job outlives its time-out, gives no sign of life or
 * is cancelled, and at the end of the shutdown grace. What waits behind a slow job is taken back.
 */
#include "core/engine/inner.h"

/* --- time-outs, cancels ----------------------------------------------------------------------- */

static uint32_t first_of(uint32_t job, uint32_t handler, uint32_t type, uint32_t queue)
{
        uint32_t said = job ? job : handler;
        return said ? said : type ? type : queue;
}

/* Whoever says something first: the job, its handler, its type, its queue. */
static struct limits limits_of(const struct engine *e, const struct job *j)
{
        static const struct handler_desc silent;
        static const struct type_config none;
        bool known = j->handler >= 0 && e->roster && (uint32_t)j->handler < e->roster->n;
        const struct handler_desc *h = known ? &e->roster->handlers[j->handler] : &silent;
        const struct type_config *t =
            e->config->n_types ? config_type_for(e->config, j->type) : &none;
        const struct queue_books *q = &e->queues[j->queue_index];
        t = t ? t : &none;
        return (struct limits){
            first_of(j->timeout_ms, h->timeout_ms, t->timeout_ms, q->timeout_ms),
            first_of(j->heartbeat_ms, h->heartbeat_ms, t->heartbeat_ms, q->heartbeat_ms)};
}

/* Of a batch the largest of its jobs'; one without a limit frees all of them. */
struct limits watch_group_limits(const struct engine *e, const struct worker_books *w)
{
        struct limits most = {0};
        for (uint32_t p = w->head; p != w->tail; p++) {
                struct limits l = limits_of(e, w->ring[p % ENGINE_RING]);
                bool first = p == w->head;
                bool timeout = first || (most.timeout_ms && l.timeout_ms > most.timeout_ms);
                bool heartbeat = first || (most.heartbeat_ms && l.heartbeat_ms > most.heartbeat_ms);
                most.timeout_ms = timeout || !l.timeout_ms ? l.timeout_ms : most.timeout_ms;
                most.heartbeat_ms =
                    heartbeat || !l.heartbeat_ms ? l.heartbeat_ms : most.heartbeat_ms;
        }
        return most;
}

void worker_seen(struct engine *e, uint32_t worker, bool running, uint32_t position,
                 int64_t since_ns, int64_t life_ns)
{
        struct worker_books *w = &e->workers[worker];
        uint32_t given = w->tail - w->head;
        w->running = running && position - w->head < given;
        w->running_position = position;
        w->running_since_ns = since_ns;
        w->life_ns = life_ns > since_ns && !PLANT(heartbeat_deaf) ? life_ns : since_ns;
        if (w->running && !w->group_n) {
                w->limits = limits_of(e, w->ring[position % ENGINE_RING]);
        }
}

static void tell_ask(struct engine *e, uint32_t worker, uint32_t position, int why)
{
        struct engine_action *a = engine_act(e, ACT_ASK);
        if (a) {
                a->worker = worker;
                a->position = position;
                a->why = why;
        }
}

static void ask_worker(struct engine *e, uint32_t worker, uint32_t position, int why)
{
        struct worker_books *w = &e->workers[worker];
        tell_ask(e, worker, position, why);
        w->why = why;
        w->asked_position = position;
        w->silent_ms = 0;
        w->kill_at_ns = e->now.mono_ns + (int64_t)e->config->cancel_grace_ms * NS_PER_MS;
}

static int64_t after_ms(int64_t from_ns, uint32_t ms)
{
        return ms ? from_ns + (int64_t)ms * NS_PER_MS : NEVER;
}

struct str watch_silence(struct ledger_finish *f, uint32_t silent_ms, struct str text)
{
        char ms[DURATION_TEXT_MAX];
        duration_text(silent_ms, ms);
        struct str all = arena_printf(&f->base.arena, "no sign of life for %s%s%.*s", ms,
                                      text.n ? ": " : "", (int)text.n, text.n ? text.p : "");
        all.n = all.n > ERROR_TEXT_MAX ? ERROR_TEXT_MAX : all.n;
        return all;
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

/* Is its time over, or has it been silent for too long? */
static void watch_limits(struct engine *e, uint32_t worker)
{
        struct worker_books *w = &e->workers[worker];
        int64_t now = e->now.mono_ns;
        bool silent = now >= after_ms(w->life_ns, w->limits.heartbeat_ms);
        if (now >= after_ms(w->running_since_ns, w->limits.timeout_ms)) {
                ask_worker(e, worker, w->running_position, WHY_TIMEOUT);
        } else if (silent && !PLANT(heartbeat_never)) {
                ask_worker(e, worker, w->running_position, WHY_TIMEOUT);
                w->silent_ms = w->limits.heartbeat_ms;
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
                watch_limits(e, worker);
        }
        bool slow = !w->group_n && worker_stuck(e, w);
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
        hoard_watch(e);
        if (e->draining) {
                watch_drain(e);
        }
}

/* When this worker next needs a look. Busy ones are looked at now and then, since only their page
 * knows what runs. */
int64_t watch_wake_ns(const struct engine *e, const struct worker_books *w)
{
        if (!works(w)) {
                return NEVER;
        }
        int64_t at = w->why ? w->kill_at_ns : NEVER;
        if (!w->running) {
                return engine_min(at, e->looked_ns + WATCH_NS);
        }
        struct limits l = w->limits;
        if (!w->why) {
                at = engine_min(at, after_ms(w->running_since_ns, l.timeout_ms));
                at = engine_min(at, after_ms(w->life_ns, l.heartbeat_ms));
        }
        bool behind = w->tail - w->running_position > 1;
        bool hoards = e->n_nodes > 0 && (!e->stuck || e->queues[w->queue].ready.n > 0);
        bool looks = behind || hoards || l.timeout_ms || l.heartbeat_ms;
        return looks ? engine_min(at, e->looked_ns + WATCH_NS) : at;
}

static bool cancel_in(struct engine *e, struct job_ring *r, const struct job_id *id)
{
        bool found = false;
        for (uint32_t n = r->n; n > 0;
             n--) { /* once around: what is kept goes to the back, in order */
                struct job *j = ring_pop(r);
                if (!found && job_id_eq(&j->id, id)) {
                        j->cancel_asked = true;
                        finish_unstarted(e, j);
                        found = true;
                } else {
                        ring_push(r, j);
                }
        }
        return found;
}

static bool cancel_ready(struct engine *e, const struct job_id *id)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                if (cancel_in(e, &e->queues[i].ready, id)) {
                        return true;
                }
        }
        for (uint32_t i = 0; i < e->n_batches; i++) {
                struct batch_books *b = &e->batches[i];
                if (cancel_in(e, &b->jobs, id)) {
                        e->queues[b->queue].gathered--;
                        return true;
                }
        }
        return false;
}

/* One of a batch is asked and never killed for it: the others would have to begin again. */
static void cancel_given(struct engine *e, uint32_t worker, uint32_t position)
{
        struct worker_books *w = &e->workers[worker];
        recall_worker(e, worker, w->group_n ? w->head : position);
        if (!w->group_n) {
                ask_worker(e, worker, position, WHY_CANCEL);
        } else if (w->tail != w->head) {
                tell_ask(e, worker, position, WHY_CANCEL);
        }
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
                                cancel_given(e, w, p);
                                return;
                        }
                }
        }
}
