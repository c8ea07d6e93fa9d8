/*
 * What must come of the wishes. Each rule is judged from the store's history and its rows alone, by
 * other means than the store decides them.
 */
#include "tests/sim/life.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/rfc3339.h"

#define MS_US    INT64_C(1000)
#define SLACK_US US_PER_S

static int queue_index(const struct world *w, struct str name)
{
        return config_queue_named(&w->config, name);
}

/* --- unique keys: the one that took it last decides ---------------------------------------- */

static bool still_blocks(const struct world *w, const struct sim_holder *h)
{
        const struct store_job *j = store_find(&w->server.store, &h->id);
        bool by_period = h->since_us + h->key.for_us > w->server.store.now_us;
        return (h->key.for_us && by_period) || (j && h->key.states >> j->row.state & 1);
}

static void check_holder(struct world *w, const struct store_job *j)
{
        struct sim_holder *h;
        HASH_FIND(hh, w->holders, j->unique.hash, sizeof h->hash, h);
        if (h && still_blocks(w, h)) {
                char id[JOB_ID_TEXT];
                id_text(&j->row.id, id);
                world_violate(w, "I13 job %s: it was made while another holds its unique key", id);
        }
        if (!h) {
                h = calloc(1, sizeof *h);
                assert(h);
                memcpy(h->hash, j->unique.hash, sizeof h->hash);
                HASH_ADD(hh, w->holders, hash, sizeof h->hash, h);
        }
        h->id = j->row.id;
        h->key = j->unique;
        h->since_us = w->server.store.now_us;
}

/* --- retries ------------------------------------------------------------------------------- */

/* What was configured and what the job says, as they overlay. false: it cannot be read. */
static bool policy_of(const struct world *w, const struct job_row *r, struct retry_policy *p)
{
        char note[200];
        int at = queue_index(w, r->queue);
        if (at < 0) {
                return false;
        }
        *p = w->config.queues[at].retry;
        bool typed = w->config.n_types && str_eq(r->type, w->config.types[0].pattern);
        return !(typed && retry_parse(w->config.types[0].retry, p, note, sizeof note)) &&
               !(r->policy.n && retry_parse(r->policy, p, note, sizeof note));
}

static void check_delay(struct world *w, const struct store_change *c)
{
        const struct job_row *r = &c->job->row;
        const struct sim_life *x = life_find(w, &r->id);
        struct retry_policy p;
        bool answered = c->error == ERROR_FAILED || c->error == ERROR_TIMED_OUT;
        if ((answered && x && x->delayed) || !policy_of(w, r, &p)) {
                return;
        }
        int64_t spread = p.jitter_permille;
        p.jitter_permille = 0;
        int64_t delay = (r->due_us - w->server.store.now_us) / MS_US;
        int64_t plain = retry_delay_ms(&p, r->attempt, 0);
        int64_t least = plain * (1000 - spread) / 1000 - 1,
                most = plain * (1000 + spread) / 1000 + 1;
        char id[JOB_ID_TEXT];
        id_text(&r->id, id);
        if (delay < least || delay > most) {
                world_violate(
                    w, "I12 job %s: attempt %u (%s) is followed by %lld ms, not %lld to %lld", id,
                    r->attempt, error_class_name(c->error), (long long)delay, (long long)least,
                    (long long)most);
        }
}

/* Clocks that agree and a ledger that answers at once: then the budget is exact to a second. */
static void check_budget(struct world *w, const struct store_change *c)
{
        const struct job_row *r = &c->job->row;
        const struct swarm *s = &w->swarm;
        bool exact = !s->clocks && !s->windows && !s->pause && !s->faults.slow &&
                     !s->faults.refuse && !s->faults.unknown;
        if (exact && r->retry_until_us && r->due_us > r->retry_until_us + SLACK_US) {
                char id[JOB_ID_TEXT];
                id_text(&r->id, id);
                world_violate(w, "I12 job %s: it is tried again %lld ms after its time was up", id,
                              (long long)(r->due_us - r->retry_until_us) / MS_US);
        }
}

/* --- limits -------------------------------------------------------------------------------- */

static void check_global(struct world *w, const struct store_job *j)
{
        int at = queue_index(w, j->row.queue);
        uint32_t most = at >= 0 ? w->global_most[at] : 0;
        if (most && j->queue->counts[STATE_RUNNING] > most) {
                world_violate(w, "limit: %u jobs of queue %.*s run, its limit is %u",
                              j->queue->counts[STATE_RUNNING], (int)j->row.queue.n, j->row.queue.p,
                              most);
        }
}

static void check_bound(struct world *w, const struct ledger_submit *b)
{
        for (const struct submission *s = b->list; s; s = s->next) {
                for (uint32_t i = 0; i < s->n; i++) {
                        const struct submit_row *r = &s->rows[i];
                        int at = queue_index(w, r->queue);
                        const struct queue_config *c = at >= 0 ? &w->config.queues[at] : NULL;
                        uint32_t most = c && c->when_full == FULL_REJECT ? c->max_waiting : 0;
                        const struct store_queue *q =
                            store_queue_of(&w->server.store, r->queue, false);
                        bool waits = r->state == STATE_PENDING || r->state == STATE_SCHEDULED;
                        w->seen.full += r->result == SUBMIT_FULL;
                        w->seen.held += r->result == SUBMIT_HELD;
                        w->seen.replaced += r->result == SUBMIT_REPLACED;
                        if (most && r->result == SUBMIT_CREATED && waits && q &&
                            store_waiting(q) > most) {
                                world_violate(w,
                                              "limit: %u jobs wait in queue %.*s, its bound is %u",
                                              store_waiting(q), (int)r->queue.n, r->queue.p, most);
                        }
                }
        }
}

/* A page is of an operation that somebody asked for. */
static void check_bulk(struct world *w, const struct ledger_bulk *b)
{
        const struct job_filter *f = &b->filter;
        for (uint32_t i = 0; i < w->n_bulks; i++) {
                const struct job_filter *x = &w->bulks[i].filter;
                bool same = w->bulks[i].kind == b->kind && x->states == f->states &&
                            x->error == f->error && str_eq(x->queue, f->queue) &&
                            str_eq(x->type, f->type);
                if (same) {
                        return;
                }
        }
        world_violate(w, "bulk: a page of an operation that nobody asked for");
}

/* Who was told that a queue is paused claims nothing of it. */
void life_posted(struct world *w, const struct sim_node *n, const struct ledger_batch *b)
{
        struct str queue = {0};
        bool starts = b->op == LEDGER_CLAIM;
        if (starts) {
                queue = LEDGER_AS(claim, CLAIM, (struct ledger_batch *)b)->queue;
        } else if (b->op == LEDGER_ARRIVE) {
                const struct ledger_arrive *a = LEDGER_AS(arrive, ARRIVE, (struct ledger_batch *)b);
                queue = a->queue;
                for (const struct arrivals *l = a->list; l; l = l->next) {
                        for (uint32_t i = 0; i < l->n; i++) {
                                starts |= l->items[i].start;
                        }
                }
        }
        if (b->op == LEDGER_BULK) {
                check_bulk(w, LEDGER_AS(bulk, BULK, (struct ledger_batch *)b));
        }
        int at = starts ? queue_index(w, queue) : -1;
        if (at >= 0 && n->paused >> at & 1) {
                world_violate(w, "paused: node %u takes jobs of queue %.*s", n->index, (int)queue.n,
                              queue.p);
        }
}

/* --- checkpoints --------------------------------------------------------------------------- */

static uint32_t number_of(struct str checkpoint)
{
        return checkpoint.n ? (uint32_t)strtoul(checkpoint.p, NULL, 10) : 0;
}

/* What was told durable is handed over, or what was sent after it. */
void life_given(struct world *w, const struct sim_node *n, const struct job *j)
{
        const struct sim_life *x = life_find(w, &j->id);
        uint32_t number = number_of(j->checkpoint);
        int at = queue_index(w, j->queue);
        if (at >= 0 && n->paused >> at & 1) {
                world_violate(w, "paused: node %u begins a job of queue %.*s", n->index,
                              (int)j->queue.n, j->queue.p);
        }
        bool right = x ? number >= x->saved && number <= x->sent : number == 0;
        if (!right && !store_fenced(&w->server.store, n->holder)) {
                char id[JOB_ID_TEXT];
                id_text(&j->id, id);
                world_violate(w, "checkpoint: job %s is given number %u; %u was saved, %u sent", id,
                              number, x ? x->saved : 0, x ? x->sent : 0);
        }
}

/* --- runs ---------------------------------------------------------------------------------- */

/* From the config, and the job's own: the most that could hold; 0: none could. */
static uint32_t most_heartbeat(const struct world *w, const struct worker_slot *s)
{
        uint32_t most = s->heartbeat_ms;
        for (uint32_t i = 0; i < w->config.n_queues; i++) {
                uint32_t ms = w->config.queues[i].heartbeat_ms;
                most = ms > most ? ms : most;
        }
        return most;
}

static uint32_t least_heartbeat(const struct world *w, const struct worker_slot *s)
{
        uint32_t least = s->heartbeat_ms ? s->heartbeat_ms : UINT32_MAX;
        for (uint32_t i = 0; i < w->config.n_queues; i++) {
                uint32_t ms = w->config.queues[i].heartbeat_ms;
                least = ms && ms < least ? ms : least;
        }
        return least;
}

#define WHY_TIMEOUT 2    /* enum skep_why */
#define TIMEOUT_MS  2000 /* the least of those of handlers and queues */

/* A time-out asks nobody whose time is not over, and who was heard of in time. */
void life_asked(struct world *w, const struct sim_node *n, const struct worker_slot *s, int why)
{
        uint32_t least = s->timeout_ms && s->timeout_ms < TIMEOUT_MS ? s->timeout_ms : TIMEOUT_MS;
        bool over = w->now_ns - s->since_ns >= MS(least);
        bool silent = w->now_ns - s->life_ns >= MS((int64_t)least_heartbeat(w, s));
        if (why == WHY_TIMEOUT && !over && !silent) {
                char id[JOB_ID_TEXT];
                id_text(&s->id, id);
                world_violate(
                    w,
                    "time-out: node %u asks job %s to stop after %lld ms, heard of %lld ms "
                    "ago",
                    n->index, id, (long long)(w->now_ns - s->since_ns) / NS_PER_MS,
                    (long long)(w->now_ns - s->life_ns) / NS_PER_MS);
        }
}

#define ASKED_WITHIN_MS 1500

/* Who is silent for too long is asked, by a node that was not kept from it. */
void life_ended(struct world *w, const struct sim_node *n, const struct worker_slot *s)
{
        bool delayed = s->verdict.delay_ms > 0;
        if (delayed || life_find(w, &s->id)) {
                life_of(w, &s->id)->delayed = delayed;
        }
        int64_t most = most_heartbeat(w, s);
        int64_t silent = w->now_ns - s->life_ns;
        if (w->swarm.heartbeat && !w->swarm.pause && !s->asked && most &&
            silent > MS(most + ASKED_WITHIN_MS)) {
                char id[JOB_ID_TEXT];
                id_text(&s->id, id);
                world_violate(w,
                              "heartbeat: job %s was silent for %lld ms on node %u, and not asked",
                              id, (long long)silent / NS_PER_MS, n->index);
        }
}

static void on_saved(void *watcher, const struct store_job *j, const struct save_row *r)
{
        struct world *w = watcher;
        bool ours = r->claim == j->row.claim && r->token == j->token;
        if (!ours) {
                world_violate(w, "I3: claim %u saves what claim %u runs", r->claim, j->row.claim);
        }
        w->seen.saves += r->has_checkpoint;
}

/* --- schedules ----------------------------------------------------------------------------- */

/* "cron:NAME:TIME" is a tick's, "run:NAME:TIME" that of a run by hand; ret_time: TIME. */
static struct sim_clockwork *clockwork_of(struct world *w, struct str key, bool *ret_by_hand,
                                          struct str *ret_time)
{
        *ret_by_hand = key.n > 4 && memcmp(key.p, "run:", 4) == 0;
        uint32_t from = *ret_by_hand ? 4 : 5;
        bool tick = *ret_by_hand || (key.n > 5 && memcmp(key.p, "cron:", 5) == 0);
        for (uint32_t i = 0; tick && i < w->n_clockworks; i++) {
                struct sim_clockwork *x = &w->clockworks[i];
                uint32_t n = (uint32_t)strlen(x->name), at = from + n;
                if (key.n > at && memcmp(key.p + from, x->name, n) == 0 && key.p[at] == ':') {
                        *ret_time = (struct str){key.p + at + 1, key.n - at - 1};
                        return x;
                }
        }
        return NULL;
}

static void remember_tick(struct sim_clockwork *x, int64_t at_us)
{
        if (x->n_ticks == x->capacity) {
                x->capacity = x->capacity ? x->capacity * 2 : 32;
                x->ticks = realloc(x->ticks, x->capacity * sizeof *x->ticks);
                assert(x->ticks);
        }
        x->ticks[x->n_ticks++] = at_us;
}

static void check_tick(struct world *w, struct sim_clockwork *x, int64_t at_us)
{
        int64_t step_us = x->step_s * US_PER_S, early = at_us - w->server.store.now_us;
        if (x->aligned && at_us % step_us != 0) {
                world_violate(w, "I12: schedule %s (%s) ran for second %lld", x->name, x->spec,
                              (long long)(at_us / US_PER_S));
        }
        if (!w->swarm.clocks && early > 0) {
                world_violate(w, "I12: schedule %s ran %lld us before its tick", x->name,
                              (long long)early);
        }
        for (uint32_t i = 0; i < x->n_ticks; i++) {
                if (x->ticks[i] == at_us) {
                        world_violate(w, "I13: a tick of schedule %s has two jobs", x->name);
                }
        }
        remember_tick(x, at_us);
}

/* The job before must have ended. */
static void check_overlap(struct world *w, const struct sim_clockwork *x)
{
        const struct store_schedule *s = w->server.store.schedules;
        while (s && !str_eq(s->row.name, str_of(x->name))) {
                s = s->next;
        }
        const struct store_job *last = s ? store_find(&w->server.store, &s->row.last_job) : NULL;
        bool skips = s && (s->row.overlap == OVERLAP_SKIP || s->row.overlap == OVERLAP_BUFFER);
        if (skips && last && !state_terminal(last->row.state) && last->row.generation == 0 &&
            !x->by_hand) {
                world_violate(w, "overlap: schedule %s runs, its job before is %s", x->name,
                              state_name(last->row.state));
        }
}

/* Nobody but the schedule intended it. */
static void intend_tick(struct world *w, const struct store_job *j)
{
        struct audit_intent intent = {
            .id = j->row.id,
            .keyed = j->keyed,
            .queue = (uint32_t)hash_bytes(j->row.queue.p, j->row.queue.n),
            .payload = hash_bytes(j->row.payload.p, j->row.payload.n),
            .max_attempts = j->row.max_attempts,
        };
        memcpy(intent.key, j->key.b, sizeof intent.key);
        audit_intend(&w->audit, &intent);
        w->seen.ticks++;
        bool by_hand;
        struct str time = {0};
        int64_t at_us;
        struct sim_clockwork *x = clockwork_of(w, j->row.key_text, &by_hand, &time);
        if (!x || !rfc3339_parse(time, &at_us) || (by_hand && !x->by_hand)) {
                world_violate(w, "schedule: a tick's key is \"%.*s\"", (int)j->row.key_text.n,
                              j->row.key_text.p);
        } else if (!by_hand) {
                check_overlap(w, x);
                check_tick(w, x, at_us);
        }
}

static bool has_tick(const struct sim_clockwork *x, int64_t at_us)
{
        for (uint32_t i = 0; i < x->n_ticks; i++) {
                if (x->ticks[i] == at_us) {
                        return true;
                }
        }
        return false;
}

static bool is_whole(const struct world *w, const struct sim_clockwork *x)
{
        return x->catch_up == CATCH_ALL && x->overlap == OVERLAP_ALLOW && !x->edits && x->aligned &&
               !w->swarm.clocks && x->n_ticks > 0;
}

/* One that makes up for all and never skips has a job for each tick between the first and the
 * last. */
static void judge_ticks(struct world *w, const struct sim_clockwork *x)
{
        int64_t first = INT64_MAX, last = 0, step = x->step_s * US_PER_S;
        for (uint32_t i = 0; i < x->n_ticks; i++) {
                first = x->ticks[i] < first ? x->ticks[i] : first;
                last = x->ticks[i] > last ? x->ticks[i] : last;
        }
        for (int64_t at = first; is_whole(w, x) && at < last; at += step) {
                if (!has_tick(x, at)) {
                        world_violate(w, "schedule %s (%s): no job for second %lld", x->name,
                                      x->spec, (long long)(at / US_PER_S));
                        return;
                }
        }
}

/* --- replies ------------------------------------------------------------------------------- */

static bool wants_reply(const struct store_job *j)
{
        return j->row.headers.n > 9 && memcmp(j->row.headers.p, "reply-to", 9) == 0;
}

/* It has ended, whoever ended it. */
static void must_tell(struct world *w, const struct store_job *j)
{
        int at = queue_index(w, j->row.queue);
        bool carried = at >= 0 && w->config.queues[at].transport.n && !w->swarm.rewire;
        life_of(w, &j->row.id)->ended++;
        life_of(w, &j->row.id)->owed += carried;
}

static void on_reply(void *watcher, const struct job_reply *r)
{
        struct world *w = watcher;
        struct sim_life *x = life_of(w, &r->job);
        x->told++;
        w->seen.replies++;
        if (!x->ended) {
                char id[JOB_ID_TEXT];
                id_text(&r->job, id);
                world_violate(w, "reply: job %s is told, and has not ended", id);
        }
}

/* --- rows that go -------------------------------------------------------------------------- */

static void on_gone(void *watcher, const struct store_job *j)
{
        struct world *w = watcher;
        const struct retention *r = &w->config.retention;
        int64_t keep = j->row.state == STATE_COMPLETED ? r->completed_ms
                       : j->row.state == STATE_DEAD    ? r->dead_ms
                                                       : r->cancelled_ms;
        int64_t age = w->server.store.now_us - j->row.finished_us;
        bool early = w->server.store.op == LEDGER_PRUNE && age < keep * MS_US;
        if (!state_terminal(j->row.state) || early) {
                world_violate(w, "retention: a job that is %s for %lld ms is pruned",
                              state_name(j->row.state), (long long)age / MS_US);
        }
        world_audit_row(w, j);
        w->seen.pruned++;
}

static void on_replaced(void *watcher, const struct store_job *j)
{
        struct world *w = watcher;
        audit_replaced(&w->audit, &j->row.id, hash_bytes(j->row.payload.p, j->row.payload.n));
}

/* --- all of it ----------------------------------------------------------------------------- */

static void entered(struct world *w, const struct store_change *c)
{
        const struct store_job *j = c->job;
        enum job_state to = j->row.state;
        if (c->op == LEDGER_TICK) {
                intend_tick(w, j);
        }
        if (j->unique.set && to != STATE_DEAD && to != STATE_CANCELLED) {
                check_holder(w, j);
        }
}

static void tried(struct world *w, const struct store_change *c)
{
        const struct store_job *j = c->job;
        enum job_state to = j->row.state;
        if (to == STATE_RETRYING) {
                check_delay(w, c);
                check_budget(w, c);
        }
        if (to == STATE_COMPLETED && store_left_work(j)) {
                world_violate(w, "checkpoint: a job is completed, and leaves work behind");
        }
}

void life_changed(struct world *w, const struct store_change *c)
{
        enum job_state to = c->job->row.state;
        if (state_terminal(to) && wants_reply(c->job)) {
                must_tell(w, c->job);
        }
        if (c->from == STATE_NONE) {
                entered(w, c);
        } else if (c->from == STATE_RUNNING) {
                tried(w, c);
        }
        if (to == STATE_RUNNING) {
                check_global(w, c->job);
        }
        w->seen.dropped += c->job->row.reason == REASON_DROPPED;
}

void life_applied(struct world *w, const struct ledger_batch *b)
{
        if (b->outcome != LEDGER_COMMITTED) {
                return;
        }
        if (b->op == LEDGER_SUBMIT) {
                check_bound(w, LEDGER_AS(submit, SUBMIT, (struct ledger_batch *)b));
        } else if (b->op == LEDGER_CLAIM) {
                w->seen.limited += LEDGER_AS(claim, CLAIM, (struct ledger_batch *)b)->limited;
        }
}

void life_watch(struct world *w)
{
        w->server.store.on_saved = on_saved;
        w->server.store.on_gone = on_gone;
        w->server.store.on_replaced = on_replaced;
        w->broker.on_reply = on_reply;
}

void life_audit(struct world *w)
{
        struct sim_life *x, *next;
        HASH_ITER (hh, w->lives, x, next) {
                if (x->told < x->owed) {
                        char id[JOB_ID_TEXT];
                        id_text(&x->id, id);
                        world_violate(w,
                                      "reply: job %s has ended %u times, and %u replies were sent",
                                      id, x->owed, x->told);
                }
        }
        if (w->server.store.replies) {
                world_violate(w, "I15: replies are left in the ledger");
        }
        for (uint32_t i = 0; i < w->n_clockworks; i++) {
                judge_ticks(w, &w->clockworks[i]);
        }
}
