/*
 * The loop. What is ready is taken in the order of a job's way: the ledger's answers, the workers'
 * verdicts, requests; then the engine's timer. It sleeps in one poll().
 */
#include "daemon/node.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

#define FDS_MAX    (WORKERS_MAX * 2 + 256)
#define MANY_JOBS  100
#define MANY_BYTES (1u << 20)
#define REST_NS    (3 * NS_PER_S)
#define WORDS_NS   (NS_PER_S / 2)

static uint32_t batch_jobs(struct ledger_batch *b)
{
        return b->op == LEDGER_CLAIM    ? LEDGER_AS(claim, CLAIM, b)->got->n
               : b->op == LEDGER_FINISH ? LEDGER_AS(finish, FINISH, b)->n
               : b->op == LEDGER_ARRIVE ? LEDGER_AS(arrive, ARRIVE, b)->n
               : b->op == LEDGER_SUBMIT ? LEDGER_AS(submit, SUBMIT, b)->rows
                                        : 0;
}

/* What comes and goes with it, roughly: a claim's memory is given up with the last of its ends. */
static uint64_t batch_bytes(struct ledger_batch *b)
{
        uint64_t bytes = b->arena.bytes;
        if (b->op == LEDGER_CLAIM) {
                bytes += LEDGER_AS(claim, CLAIM, b)->got->arena.bytes;
        } else if (b->op == LEDGER_FINISH) {
                for (const struct claim *c = LEDGER_AS(finish, FINISH, b)->ended; c; c = c->next) {
                        bytes += c->bytes;
                }
        } else if (b->op == LEDGER_ARRIVE) {
                for (const struct arrivals *a = LEDGER_AS(arrive, ARRIVE, b)->list; a;
                     a = a->next) {
                        bytes += a->bytes;
                }
        } else if (b->op == LEDGER_SUBMIT) {
                for (const struct submission *s = LEDGER_AS(submit, SUBMIT, b)->list; s;
                     s = s->next) {
                        bytes += s->arena.bytes;
                }
        }
        return bytes;
}

static void take_ledger(struct node *n)
{
        int64_t now = node_now().mono_ns;
        struct ledger_batch *b = n->ledger->ops->dispatch(n->ledger, now);
        while (b) {
                struct ledger_batch *next = b->next;
                uint32_t jobs = batch_jobs(b);
                metrics_committed(n->metrics, b->op, now - b->posted_ns, jobs);
                if (jobs >= MANY_JOBS || batch_bytes(b) >= MANY_BYTES) {
                        n->worked_ns = now;
                }
                b->next = NULL;
                node_step(n, &(struct engine_event){.kind = EV_LEDGER, .batch = b});
                b = next;
        }
        if (n->ledger->ops->heard && n->ledger->ops->heard(n->ledger)) {
                node_step(n, &(struct engine_event){.kind = EV_HEARD});
        }
}

/* --- the plug-in host ------------------------------------------------------------------------- */

static void log_plugin(struct node *n, int level, const struct host_event *ev, const char *what)
{
        char plugin[256];
        snprintf(plugin, sizeof plugin, "%.*s", (int)ev->plugin.n,
                 ev->plugin.p ? ev->plugin.p : "");
        const char *fields[] = {"plugin", plugin, NULL};
        log_line(n->log, level, fields, "%s: %.*s", what, (int)ev->text.n,
                 ev->text.p ? ev->text.p : "");
}

static void log_handler(struct node *n, const struct host_event *ev)
{
        char id[JOB_ID_TEXT];
        id_text(&ev->job, id);
        const char *fields[] = {"job_id", id, "from", "handler", NULL};
        log_line(n->log, ev->level, fields, "%.*s", (int)ev->text.n, ev->text.p ? ev->text.p : "");
}

static void tell_gone(struct node *n, const struct host_event *ev)
{
        struct engine_event gone = {.kind = EV_WORKER_GONE};
        gone.gone.worker = ev->worker;
        gone.gone.how = ev->gone.how;
        gone.gone.running = ev->gone.running;
        gone.gone.position = ev->gone.position;
        gone.gone.n_running = ev->gone.n_running ? ev->gone.n_running : 1;
        gone.gone.started_wall_us = ev->gone.started_wall_us;
        gone.gone.pid = ev->pid;
        gone.gone.text = ev->gone.text;
        node_step(n, &gone);
}

static void tell_verdicts(struct node *n, const struct host_event *ev)
{
        struct engine_event v = {.kind = EV_VERDICTS};
        v.verdicts.worker = ev->worker;
        v.verdicts.first = ev->first;
        v.verdicts.n = ev->n_verdicts;
        v.verdicts.list = ev->verdicts;
        node_step(n, &v);
}

static void tell_save(struct node *n, const struct host_event *ev)
{
        struct engine_event save = {.kind = EV_SAVE};
        save.save.worker = ev->worker;
        save.save.position = ev->first;
        save.save.bytes = ev->bytes;
        node_step(n, &save);
}

static void take_host_event(struct node *n, const struct host_event *ev)
{
        switch (ev->kind) {
        case HOST_ROSTER:
                n->generation = ev->roster->generation;
                node_step(n, &(struct engine_event){.kind = EV_ROSTER, .roster = ev->roster});
                break;
        case HOST_REFUSED: log_plugin(n, LOG_WARN_, ev, "plug-in refused"); break;
        case HOST_ACCEPTED: log_plugin(n, LOG_INFO_, ev, "plug-in serves"); break;
        case HOST_WORKER_UP: {
                struct engine_event up = {.kind = EV_WORKER_UP};
                up.up.worker = ev->worker;
                up.up.generation = ev->generation;
                up.up.pid = ev->pid;
                LOG(n->log, LOG_DEBUG_, "worker %u is up, pid %d", ev->worker, ev->pid);
                node_step(n, &up);
                break;
        }
        case HOST_VERDICTS: tell_verdicts(n, ev); break;
        case HOST_WORKER_GONE: tell_gone(n, ev); break;
        case HOST_LOG: log_handler(n, ev); break;
        case HOST_CHECKPOINT: tell_save(n, ev); break;
        case HOST_FAILED: log_plugin(n, LOG_ERR_, ev, "worker program"); break;
        case HOST_NONE: break;
        }
}

static void take_host(struct node *n)
{
        int64_t now = node_now().mono_ns;
        for (;;) {
                struct host_event ev;
                host_next(n->host, now, &ev);
                if (ev.kind == HOST_NONE || n->broken) {
                        return;
                }
                take_host_event(n, &ev);
        }
}

/* --- time ------------------------------------------------------------------------------------- */

static void tell_progress(struct node *n, uint32_t worker, uint32_t position)
{
        struct engine_event ev = {.kind = EV_PROGRESS};
        ev.progress.worker = worker;
        ev.progress.position = position;
        while (host_worker_progress(n->host, worker, &ev.progress.position, &ev.progress.done,
                                    &ev.progress.total)) {
                node_step(n, &ev);
                ev.progress.position++;
        }
}

/* What the pages of busy workers say. Signs of life each time; words of progress, each of which is
 * a step, now and then, since it may be called as often as a batch ends. */
static void tell_seen(struct node *n, int64_t now)
{
        bool words = now >= n->words_ns;
        n->words_ns = words ? now + WORDS_NS : n->words_ns;
        struct worker_view views[ENGINE_WORKERS_MAX];
        uint32_t count = engine_workers(n->engine, views, ENGINE_WORKERS_MAX);
        for (uint32_t i = 0; i < count; i++) {
                if (!views[i].busy) {
                        continue;
                }
                struct engine_event ev = {.kind = EV_SEEN};
                ev.seen.worker = views[i].worker;
                ev.seen.running = host_worker_running(n->host, views[i].worker, &ev.seen.position,
                                                      &ev.seen.since_ns, &ev.seen.life_ns);
                node_step(n, &ev);
                if (ev.seen.running && words) {
                        tell_progress(n, views[i].worker, ev.seen.position);
                }
        }
}

/* What a burst took from the system goes back after it, with the first thing that wakes the loop.
 */
static void give_memory_back(struct node *n, int64_t now)
{
        if (n->worked_ns && now - n->worked_ns >= REST_NS) {
                n->worked_ns = 0;
                malloc_trim(0);
        }
}

static void take_time(struct node *n)
{
        int64_t now = node_now().mono_ns;
        if (engine_wake_ns(n->engine) <= now) {
                tell_seen(n, now);
                node_step(n, &(struct engine_event){.kind = EV_TIMER});
        }
        if (api_wake_ns(n) <= now) {
                api_look_at_waiters(n, now);
        }
        give_memory_back(n, now);
        operate_look(n);
}

static void take_signals(struct node *n)
{
        struct signalfd_siginfo s;
        while (read(n->signals, &s, sizeof s) == sizeof s) {
                if (s.ssi_signo == SIGHUP) {
                        n->reload(n, n->reload_ctx);
                        continue;
                }
                if (n->stopping) {
                        LOG(n->log, LOG_WARN_,
                            "second signal: stopping now; what runs is given to the next start");
                        n->stopped = true;
                        continue;
                }
                n->stopping = true;
                LOG(n->log, LOG_INFO_, "stopping: running jobs have %u s",
                    n->config->shutdown_grace_ms / 1000);
                api_refuse_waiters(n);
                node_step(n, &(struct engine_event){.kind = EV_DRAIN});
        }
}

/* --- the loop --------------------------------------------------------------------------------- */

static int64_t wake_ns(const struct node *n)
{
        int64_t at = engine_wake_ns(n->engine);
        int64_t others[] = {api_wake_ns(n), operate_wake_ns(n), host_deadline_ns(n->host),
                            relay_deadline_ns(n), n->ledger->ops->deadline_ns(n->ledger)};
        for (size_t i = 0; i < ARRAY_LEN(others); i++) {
                at = others[i] < at ? others[i] : at;
        }
        return at;
}

static bool requests_wait(const struct node *n)
{
        int events = 0;
        size_t size = sizeof events;
        zmq_getsockopt(n->requests, ZMQ_EVENTS, &events, &size);
        return events & ZMQ_POLLIN;
}

static void sleep_until_ready(struct node *n)
{
        struct pollfd fds[FDS_MAX];
        int requests;
        size_t size = sizeof requests;
        zmq_getsockopt(n->requests, ZMQ_FD, &requests, &size);
        fds[0] = (struct pollfd){n->signals, POLLIN, 0};
        fds[1] = (struct pollfd){requests, POLLIN, 0};
        uint32_t count = 2;
        count += n->ledger->ops->pollfds(n->ledger, fds + count, FDS_MAX - count);
        count += relay_pollfds(n, fds + count, FDS_MAX - count);
        count += host_pollfds(n->host, fds + count, FDS_MAX - count);
        /* ZeroMQ's descriptor is edge-triggered: ask once more before sleeping */
        int64_t at = requests_wait(n) ? 0 : wake_ns(n);
        int64_t now = node_now().mono_ns;
        int64_t left = at <= now ? 0 : at - now;
        struct timespec wait = {left / NS_PER_S, left % NS_PER_S};
        ppoll(fds, count, at == INT64_MAX ? NULL : &wait, NULL);
}

static void tell_former(struct node *n, const struct former *former)
{
        uint64_t holder = state_dir_former(n->state);
        struct former_job *jobs = calloc(former->n + 1, sizeof *jobs);
        if (!holder || !jobs) {
                free(jobs);
                return;
        }
        for (uint32_t i = 0; i < former->n; i++) {
                const struct former_slot *s = &former->slots[i];
                jobs[i] = (struct former_job){s->id,      s->claim, s->token,
                                              s->started, s->ended, s->verdict};
        }
        LOG(n->log, LOG_INFO_,
            "a former skepd ran here: its pages show %u jobs, %u workers of it were ended",
            former->n, former->ended_workers);
        struct engine_event ev = {.kind = EV_FORMER};
        ev.former.holder = holder;
        ev.former.jobs = jobs;
        ev.former.n = former->n;
        node_step(n, &ev);
        free(jobs);
}

int node_run(struct node *n, const struct former *former)
{
        tell_former(n, former);
        node_step(n, &(struct engine_event){.kind = EV_START});
        while (!n->stopped && !n->broken) {
                sleep_until_ready(n);
                take_ledger(n);
                relay_take(n);
                take_host(n);
                api_take_requests(n);
                take_time(n);
                take_signals(n);
        }
        struct engine_view v;
        engine_look(n->engine, &v);
        if (!n->broken && v.claimed == 0) {
                state_dir_remember(n->state, 0);
        }
        return n->broken ? EX_OSERR : EX_OK;
}

void node_configure(struct node *n, const struct config *fresh)
{
        n->config = fresh;
        http_configure(n->http, fresh);
        host_rescan(n->host);
        node_step(n, &(struct engine_event){.kind = EV_CONFIG, .config = fresh});
        char note[512];
        if (relay_configure(n, fresh, note, sizeof note) != 0) {
                LOG(n->log, LOG_ERR_, "%s; its queues are claimed from the ledger", note);
        }
}
