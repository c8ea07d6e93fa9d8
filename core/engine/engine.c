/*
 * The step: one event in, decisions out. Each event changes the books; then every pump looks at
 * them once and says what is to be done now. The order of the pumps is the order of a job's way, so
 * that one step carries it as far as it can go.
 */
#include "core/engine/inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int64_t engine_min(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

/* xoshiro256** (Blackman, Vigna: "Scrambled linear pseudorandom number generators", 2018) */
uint64_t engine_random(struct engine *e)
{
        uint64_t *s = e->random;
        uint64_t x = s[1] * 5;
        uint64_t result = (x << 7 | x >> 57) * 9;
        uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3] << 45 | s[3] >> 19;
        return result;
}

struct engine_action *engine_act(struct engine *e, enum engine_action_kind kind)
{
        struct engine_actions *out = e->out;
        if (out->n == out->capacity) {
                uint32_t capacity = out->capacity ? out->capacity * 2 : 64;
                struct engine_action *grown = realloc(out->list, capacity * sizeof *grown);
                if (!grown) {
                        out->out_of_memory = true;
                        return NULL;
                }
                out->list = grown;
                out->capacity = capacity;
        }
        struct engine_action *a = &out->list[out->n++];
        *a = (struct engine_action){.kind = kind};
        return a;
}

void engine_note(struct engine *e, int level, const struct job_id *job, const char *fmt, ...)
{
        char text[512];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        struct engine_action *a = engine_act(e, ACT_NOTE);
        if (a) {
                a->level = level;
                a->text = arena_str(&e->notes, str_of(text));
                a->job = job ? *job : (struct job_id){0};
        }
}

bool engine_copy(struct str s, struct str *ret)
{
        char *p = malloc((size_t)s.n + 1);
        if (!p) {
                return false;
        }
        memcpy(p, s.p ? s.p : "", s.n);
        p[s.n] = 0;
        *ret = (struct str){p, s.n};
        return true;
}

struct engine *engine_new(const struct engine_config *c)
{
        struct engine *e = calloc(1, sizeof *e);
        if (!e) {
                return NULL;
        }
        e->config = c->config;
        memcpy(e->random, c->seed, sizeof e->random);
        e->pid = c->pid;
        e->mint.random = engine_random(e) | 1;
        e->later_ns = NEVER;
        e->ledger_up = true;
        if (!engine_copy(c->host, &e->host) || !engine_copy(c->version, &e->version) ||
            queues_configure(e, c->config) < 0) {
                return engine_free(e);
        }
        return e;
}

static void free_list(struct ledger_batch *b)
{
        while (b) {
                struct ledger_batch *next = b->next;
                ledger_batch_free(b);
                b = next;
        }
}

static void free_submissions(struct submission *s)
{
        while (s) {
                struct submission *next = s->next;
                submission_free(s);
                s = next;
        }
}

/* Batches that were not under way: with all that the engine hung on them. Receipts are the
 * transports', which let them go with their connections. */
static void drop_list(struct ledger_batch *b)
{
        while (b) {
                struct ledger_batch *next = b->next;
                if (b->op == LEDGER_RESOLVE) {
                        struct ledger_batch *unknown = b->cookie;
                        unknown->next = NULL;
                        drop_list(unknown);
                } else if (b->op == LEDGER_CLAIM) {
                        roster_unref((struct roster *)LEDGER_AS(claim, CLAIM, b)->roster);
                } else if (b->op == LEDGER_ARRIVE) {
                        arrivals_free_list(LEDGER_AS(arrive, ARRIVE, b)->list);
                } else if (b->op == LEDGER_SUBMIT) {
                        free_submissions(LEDGER_AS(submit, SUBMIT, b)->list);
                }
                ledger_batch_free(b);
                b = next;
        }
}

struct engine *engine_free(struct engine *e)
{
        if (!e) {
                return NULL;
        }
        drop_list(e->later);
        free_list(STEAL(e->told));
        for (uint32_t l = 0; l < LEDGER_LANES; l++) {
                drop_list(e->held[l]);
        }
        ledger_batch_free(e->filling ? &e->filling->base : NULL);
        ledger_batch_free(e->unwritten ? &e->unwritten->base : NULL);
        while (e->claims) {
                struct claim *next = e->claims->next;
                claim_free(e->claims);
                e->claims = next;
        }
        free_submissions(e->waiting);
        for (uint32_t i = 0; i < e->n_queues; i++) {
                free((char *)e->queues[i].name.p);
                free((char *)e->queues[i].transport.p);
                arrivals_free_list(e->queues[i].arrived);
                free(e->queues[i].ready.slots);
        }
        free(e->queues);
        free(e->journal);
        for (uint32_t i = 0; i < e->n_transports; i++) {
                free((char *)e->transports[i].name.p);
        }
        free(e->transports);
        batch_deinit(e);
        free(e->handlers);
        free(e->rung.items);
        free(e->replied.items);
        bulk_deinit(e);
        cron_deinit(e);
        reconcile_deinit(e);
        ledger_batch_free(e->saves ? &e->saves->base : NULL);
        free(e->former);
        arena_deinit(&e->former_arena);
        arena_deinit(&e->notes);
        roster_unref(e->roster);
        free((char *)e->host.p);
        free((char *)e->version.p);
        free(e);
        return NULL;
}

/* --- events ----------------------------------------------------------------------------------- */

static void read_answered(struct engine *e, struct ledger_batch *b)
{
        struct engine_action *a = engine_act(e, ACT_READ);
        if (a) {
                a->batch = b;
                a->cookie = b->cookie;
        } else {
                ledger_batch_free(b);
        }
}

static void ledger_reached(struct engine *e, const struct ledger_batch *b)
{
        bool up = b->outcome != LEDGER_REFUSED && b->outcome != LEDGER_UNKNOWN;
        if (b->op == LEDGER_BEAT || b->op == LEDGER_REGISTER || b->op == LEDGER_FINISH || up) {
                bool news = !up && strcmp(b->note, e->view.ledger_note) != 0;
                if (up != e->ledger_up || news) {
                        engine_note(e, up ? 5 : 3, NULL,
                                    up ? "the ledger answers again" : "the ledger refuses: %s",
                                    b->note);
                }
                e->ledger_up = up;
                snprintf(e->view.ledger_note, sizeof e->view.ledger_note, "%s", up ? "" : b->note);
        }
}

/* --- the end of a drain ----------------------------------------------------------------------- */

static void stop(struct engine *e)
{
        e->stopped = true;
        engine_act(e, ACT_STOPPED);
}

/* This node buries itself: first declared dead, then, since it holds nothing, forgotten. */
static void post_own_burial(struct engine *e, bool forget)
{
        struct ledger_batch *b = e->registered ? ledger_batch_new(LEDGER_BURY) : NULL;
        e->leaving = true;
        if (!b) {
                stop(e);
                return;
        }
        struct ledger_bury *bury = LEDGER_AS(bury, BURY, b);
        bury->victim = e->holder;
        bury->any_beat = true;
        bury->forget = forget;
        post_batch(e, b);
}

static void leave_answered(struct engine *e, struct ledger_bury *b)
{
        if (b->forget || b->base.outcome != LEDGER_COMMITTED) {
                stop(e); /* what could not be forgotten now is rescued, and found empty, later */
        } else {
                post_own_burial(e, true);
        }
        ledger_batch_free(&b->base);
}

static void ledger_answered(struct engine *e, struct ledger_batch *b)
{
        ledger_reached(e, b);
        reply_hint(e, b);
        if (cron_owns(e, b)) {
                cron_answered(e, b);
                return;
        }
        switch (b->op) {
        case LEDGER_SUBMIT: submit_answered(e, LEDGER_AS(submit, SUBMIT, b)); break;
        case LEDGER_ARRIVE: arrive_answered(e, LEDGER_AS(arrive, ARRIVE, b)); break;
        case LEDGER_RELAY:
        case LEDGER_RUNG: ring_ledger_answered(e, b); break;
        case LEDGER_TIDE:
                if (b->cookie) {
                        reconcile_answered(e, LEDGER_AS(tide, TIDE, b));
                } else {
                        tide_answered(e, LEDGER_AS(tide, TIDE, b));
                }
                break;
        case LEDGER_PRUNE: prune_answered(e, LEDGER_AS(prune, PRUNE, b)); break;
        case LEDGER_SAVE: save_answered(e, LEDGER_AS(save, SAVE, b)); break;
        case LEDGER_CONTROL:
        case LEDGER_SCHEDULE: operate_back(e, b); break;
        case LEDGER_BULK:
                if (bulk_owns(e, b)) {
                        bulk_answered(e, LEDGER_AS(bulk, BULK, b));
                } else {
                        operate_back(e, b);
                }
                break;
        case LEDGER_FLOOR: floor_answered(e, LEDGER_AS(floor, FLOOR, b)); break;
        case LEDGER_INBOX: inbox_answered(e, LEDGER_AS(inbox, INBOX, b)); break;
        case LEDGER_CLAIM: claim_answered(e, LEDGER_AS(claim, CLAIM, b)); break;
        case LEDGER_RECALL: recall_answered(e, LEDGER_AS(recall, RECALL, b)); break;
        case LEDGER_RESOLVE: resolve_answered(e, LEDGER_AS(resolve, RESOLVE, b)); break;
        case LEDGER_CANCEL:
        case LEDGER_REQUEUE: operator_answered(e, b); break;
        case LEDGER_HELD: rescue_answered(e, b); break;
        case LEDGER_BURY:
                if (e->leaving) {
                        leave_answered(e, LEDGER_AS(bury, BURY, b));
                } else {
                        rescue_answered(e, b);
                }
                break;
        case LEDGER_FINISH:
                if (e->rescue.writing == LEDGER_AS(finish, FINISH, b)) {
                        rescue_answered(e, b);
                } else {
                        finish_answered(e, LEDGER_AS(finish, FINISH, b));
                }
                break;
        case LEDGER_STATS:
                if (bounds_own(e, b)) {
                        bounds_answered(e, LEDGER_AS(stats, STATS, b));
                } else {
                        read_answered(e, b);
                }
                break;
        case LEDGER_SHOW:
        case LEDGER_LIST:
        case LEDGER_GROUPS:
        case LEDGER_SCHEDULES:
        case LEDGER_NODES: read_answered(e, b); break;
        default: duty_answered(e, b); break;
        }
}

static void drain_start(struct engine *e)
{
        if (e->draining) {
                return;
        }
        int64_t grace = (int64_t)e->config->shutdown_grace_ms * NS_PER_MS;
        int64_t soft = (int64_t)e->config->cancel_grace_ms * NS_PER_MS;
        e->draining = true;
        e->drain_kill_ns = e->now.mono_ns + grace;
        e->drain_ask_ns = e->drain_kill_ns - (soft < grace ? soft : grace / 2);
        submit_refuse_all(e, "skepd is stopping");
        bulk_stop_all(e, "skepd stopped before its end");
        recall_unstarted(e);
}

/* What an operator asked for. */
static void take_wish(struct engine *e, const struct engine_event *ev)
{
        switch (ev->kind) {
        case EV_OPERATE: operate_arrived(e, ev->batch); break;
        case EV_BULK: bulk_arrived(e, ev->bulk.request, ev->bulk.cookie); break;
        case EV_BULK_STOP: bulk_stop(e, ev->bulk_no); break;
        case EV_RECONCILE: reconcile_arrived(e, ev->cookie); break;
        case EV_RUN_SCHEDULE: cron_run(e, ev->run_schedule.name, ev->run_schedule.cookie); break;
        default: /* EV_RESIZE */
                e->resize = PLANT(resize_unheard) ? 0 : ev->resize;
                e->tells = true;
                break;
        }
}

static void take_event(struct engine *e, const struct engine_event *ev)
{
        switch (ev->kind) {
        case EV_START:
                e->started = true;
                cron_configure(e);
                break;
        case EV_FORMER:
                if (rescue_former(e, ev->former.holder, ev->former.jobs, ev->former.n) < 0) {
                        e->out->out_of_memory = true;
                }
                break;
        case EV_TIMER:
                e->looked_ns = e->now.mono_ns;
                worker_watch(e);
                break;
        case EV_LEDGER: ledger_answered(e, ev->batch); break;
        case EV_SUBMIT: submit_arrived(e, ev->submissions); break;
        case EV_CANCEL:
                operator_arrived(e, LEDGER_CANCEL, &ev->operator_.id, ev->operator_.cookie);
                break;
        case EV_REQUEUE:
                operator_arrived(e, LEDGER_REQUEUE, &ev->operator_.id, ev->operator_.cookie);
                break;
        case EV_READ: post_batch(e, ev->batch); break;
        case EV_ROSTER: worker_roster(e, ev->roster); break;
        case EV_CONFIG:
                e->config = ev->config;
                if (queues_configure(e, ev->config) < 0) {
                        e->out->out_of_memory = true;
                }
                cron_configure(e);
                prune_configure(e);
                e->tells = true;
                e->again = true;
                break;
        case EV_WORKER_UP: worker_up(e, ev); break;
        case EV_VERDICTS:
                worker_verdicts(e, ev->verdicts.worker, ev->verdicts.first, ev->verdicts.n,
                                ev->verdicts.list);
                break;
        case EV_SEEN:
                worker_seen(e, ev->seen.worker, ev->seen.running, ev->seen.position,
                            ev->seen.since_ns, ev->seen.life_ns);
                break;
        case EV_WORKER_GONE: worker_gone(e, ev); break;
        case EV_ARRIVALS: arrive_came(e, ev->arrivals); break;
        case EV_RUNG: ring_answered(e, ev->bells); break;
        case EV_ACKNOWLEDGED: journal_acknowledged(e, ev->receipts); break;
        case EV_TRANSPORT: transport_changed(e, ev); break;
        case EV_HEARD:
                e->unpark_ns = engine_min(e->unpark_ns, e->now.mono_ns + NS_PER_S);
                claim_hint_all(e);
                break;
        case EV_DRAIN: drain_start(e); break;
        case EV_SAVE: save_arrived(e, ev->save.worker, ev->save.position, ev->save.bytes); break;
        case EV_PROGRESS:
                progress_told(e, ev->progress.worker, ev->progress.position, ev->progress.done,
                              ev->progress.total);
                break;
        case EV_REPLIED: reply_answered(e, ev->replies); break;
        case EV_ZONE: cron_zone(e, ev); break;
        case EV_OPERATE:
        case EV_BULK:
        case EV_BULK_STOP:
        case EV_RECONCILE:
        case EV_RUN_SCHEDULE:
        case EV_RESIZE: take_wish(e, ev); break;
        }
}

/* --- the end of a drain ----------------------------------------------------------------------- */

static bool all_ended(const struct engine *e)
{
        bool coming = false;
        for (uint32_t i = 0; i < e->n_queues; i++) {
                coming |= e->queues[i].claiming || e->queues[i].arriving;
        }
        return e->claimed == 0 && !coming && e->recalling == 0 && !e->finishing && !e->unwritten &&
               !e->submitting && !e->later && !cron_busy(e);
}

/* What transports acknowledged last must be known to be so, and told, before this node is
 * forgotten: the ledger takes what a forgotten node left open for lost. */
static bool journal_told(struct engine *e)
{
        if (journal_busy(e) && e->drain_journal_ns == 0) {
                e->drain_journal_ns = e->now.mono_ns + 3 * NS_PER_S;
        }
        return !journal_busy(e) || e->now.mono_ns >= e->drain_journal_ns;
}

static bool may_leave(struct engine *e)
{
        return !e->leaving && all_ended(e) && !e->beating && !e->rescue.posted && journal_told(e);
}

/* A slow ledger is waited for, a lease long at most, as long as this node is surely taken for
 * alive: what it does not write is rescued as lost, though it is known how it ended. */
static int64_t give_up_ns(const struct engine *e)
{
        int64_t last = e->drain_kill_ns + (int64_t)e->config->lease_ms * NS_PER_MS;
        int64_t alive = engine_min(e->lease_until_ns, last);
        int64_t least = e->drain_kill_ns + NS_PER_S;
        return alive > least ? alive : least;
}

static void drain_pump(struct engine *e)
{
        if (!e->draining || e->stopped) {
                return;
        }
        e->drain_give_up_ns = give_up_ns(e);
        give_back_ready(e);
        if (may_leave(e)) {
                for (uint32_t i = 0; i < e->n_queues; i++) {
                        arrive_drop(e, &e->queues[i], 0);
                }
                post_own_burial(e, false);
        } else if (e->now.mono_ns >= e->drain_give_up_ns) {
                engine_note(
                    e, 3, NULL,
                    "the ledger did not take everything in time: what is left is rescued later");
                stop(e);
        }
}

/* What people asked for, and what running jobs want kept. */
static void people_pump(struct engine *e)
{
        save_pump(e);
        cron_pump(e);
        bulk_pump(e);
        prune_pump(e);
        reconcile_pump(e);
        bounds_pump(e);
}

static int64_t people_wake_ns(const struct engine *e)
{
        int64_t at = engine_min(engine_min(save_wake_ns(e), bulk_wake_ns(e)),
                                engine_min(prune_wake_ns(e), reconcile_wake_ns(e)));
        return engine_min(at, engine_min(bounds_wake_ns(e), cron_wake_ns(e)));
}

void engine_step(struct engine *e, const struct engine_event *ev, struct instant now,
                 struct engine_actions *actions)
{
        e->now = now;
        e->out = actions;
        e->again = false;
        arena_reset(&e->notes);
        free_list(STEAL(e->told));
        take_event(e, ev);
        if (!e->stopped) {
                post_waiting(e);
                duty_pump(e);
                rescue_pump(e);
                submit_pump(e);
                inbox_pump(e);
                ring_pump(e);
                tide_pump(e);
                worker_pump(e);
                control_pump(e);
                give_pump(e);
                drain_pump(e);
                arrive_pump(e);
                claim_pump(e);
                if (ev->kind != EV_CONFIG) { /* transports learn of new queues after that step */
                        consume_pump(e);
                }
                finish_pump(e);
                people_pump(e);
        }
        e->out = NULL;
}

int64_t engine_wake_ns(const struct engine *e)
{
        if (e->stopped) {
                return NEVER;
        }
        if (e->again) {
                return 0;
        }
        int64_t at = engine_min(duty_wake_ns(e), rescue_wake_ns(e));
        at = engine_min(at, engine_min(claim_wake_ns(e), finish_wake_ns(e)));
        at = engine_min(at, engine_min(arrive_wake_ns(e), ring_wake_ns(e)));
        at = engine_min(at, engine_min(tide_wake_ns(e), inbox_wake_ns(e)));
        at = engine_min(at, engine_min(people_wake_ns(e), e->later_ns));
        at = engine_min(at, e->drain_journal_ns && !e->leaving ? e->drain_journal_ns : NEVER);
        return engine_min(at, engine_min(worker_wake_ns(e), batch_wake_ns(e)));
}

int engine_queue(const struct engine *e, struct str name)
{
        return queue_find(e, name);
}

uint32_t engine_queues(const struct engine *e)
{
        return e->n_queues;
}

struct str engine_queue_transport(const struct engine *e, uint32_t queue)
{
        return queue < e->n_queues ? e->queues[queue].transport : (struct str){0};
}
