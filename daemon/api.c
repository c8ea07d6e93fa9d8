/*
 * Requests of the HTTP thread: into events, and back when the engine answers. Waiters are requests
 * that want to know when a job has ended: they are woken by the verdicts that this node writes, and
 * looked up once a second for those of others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>
#include <zmq.h>

#include "daemon/node.h"

#define LOOK_EVERY     NS_PER_S
#define STATS_FRESH_NS (250 * NS_PER_MS)

struct waiter {
        struct api_request *request;
        struct job_id id;
        int64_t until_ns;
        bool reading; /* a SHOW is on its way */
        bool again;   /* it ended while that was so: read once more */
        UT_hash_handle hh;
};

void api_answer(struct node *n, struct api_request *r)
{
        http_answer(n->http, r);
}

void api_refuse(struct node *n, struct api_request *r, const char *note)
{
        r->unavailable = true;
        snprintf(r->note, sizeof r->note, "%s", note);
        api_answer(n, r);
}

static void post_read(struct node *n, struct ledger_batch *b, void *cookie)
{
        b->cookie = cookie;
        node_read(n, b);
}

/* --- waiters ---------------------------------------------------------------------------------- */

static void read_waiter(struct node *n, struct waiter *w)
{
        if (w->reading) {
                w->again = true;
                return;
        }
        struct ledger_batch *b = ledger_batch_new(LEDGER_SHOW);
        if (b) {
                LEDGER_AS(show, SHOW, b)->id = w->id;
                w->reading = true;
                w->again = false;
                post_read(n, b, w->request);
        }
}

static struct waiter *waiter_of(struct node *n, const struct api_request *r)
{
        struct waiter *w;
        HASH_FIND_PTR(n->waiters, &r, w);
        return w;
}

static void waiter_end(struct node *n, struct waiter *w)
{
        HASH_DEL(n->waiters, w);
        free(w);
}

static void wait_for(struct node *n, struct api_request *r)
{
        struct waiter *w = calloc(1, sizeof *w);
        if (!w) {
                api_refuse(n, r, "out of memory");
                return;
        }
        w->request = r;
        w->id = r->id;
        w->until_ns = node_now().mono_ns + (int64_t)r->wait_ms * NS_PER_MS;
        HASH_ADD_PTR(n->waiters, request, w);
        n->waiters_ns = n->waiters_ns && n->waiters_ns < w->until_ns ? n->waiters_ns : w->until_ns;
        read_waiter(n, w);
}

static void waiter_answered(struct node *n, struct waiter *w, struct ledger_batch *b)
{
        const struct ledger_show *show = LEDGER_AS(show, SHOW, b);
        bool over =
            node_now().mono_ns >= w->until_ns || b->outcome != LEDGER_COMMITTED || n->stopping;
        w->reading = false;
        if (!over && show->found && !state_terminal(show->row.state)) {
                ledger_batch_free(b);
                if (w->again) {
                        read_waiter(n, w);
                }
                return;
        }
        struct api_request *r = w->request;
        waiter_end(n, w);
        r->batch = b;
        if (b->outcome != LEDGER_COMMITTED) {
                api_refuse(n, r, b->note);
        } else {
                api_answer(n, r);
        }
}

void api_settled(struct node *n, const struct ledger_finish *f)
{
        if (!n->waiters) {
                return;
        }
        struct waiter *w, *next;
        HASH_ITER (hh, n->waiters, w, next) {
                for (uint32_t i = 0; i < f->n; i++) {
                        if (job_id_eq(&f->rows[i].id, &w->id)) {
                                read_waiter(n, w);
                                break;
                        }
                }
        }
}

void api_look_at_waiters(struct node *n, int64_t now_ns)
{
        struct waiter *w, *next;
        n->waiters_ns = now_ns + LOOK_EVERY;
        HASH_ITER (hh, n->waiters, w, next) {
                if (w->until_ns > now_ns && w->until_ns < n->waiters_ns) {
                        n->waiters_ns = w->until_ns;
                }
                read_waiter(n, w);
        }
}

int64_t api_wake_ns(const struct node *n)
{
        return n->waiters ? n->waiters_ns : INT64_MAX;
}

void api_refuse_waiters(struct node *n)
{
        struct waiter *w, *next;
        HASH_ITER (hh, n->waiters, w, next) {
                if (!w->reading) {
                        struct api_request *r = w->request;
                        waiter_end(n, w);
                        api_refuse(n, r, "skepd is stopping");
                }
        }
}

/* --- requests in ------------------------------------------------------------------------------ */

static void answer_metrics(struct node *n, struct api_request *r, struct ledger_batch *stats)
{
        r->text = metrics_text(n->metrics, n->engine, &n->relay,
                               stats ? LEDGER_AS(stats, STATS, stats) : NULL, &r->arena);
        api_answer(n, r);
}

static bool stats_are_fresh(const struct node *n)
{
        return n->stats && node_now().mono_ns - n->stats_ns < STATS_FRESH_NS;
}

/* Those who ask for metrics get what the last of them got of the ledger, if that was just now. */
static void read_stats(struct node *n, struct api_request *r)
{
        if (r->kind == API_METRICS && stats_are_fresh(n)) {
                answer_metrics(n, r, n->stats);
                return;
        }
        struct ledger_batch *b = ledger_batch_new(LEDGER_STATS);
        if (b) {
                post_read(n, b, r);
        } else {
                api_refuse(n, r, "out of memory");
        }
}

static void tell_operator(struct node *n, struct api_request *r)
{
        struct engine_event ev = {.kind = r->kind == API_CANCEL ? EV_CANCEL : EV_REQUEUE};
        ev.operator_.id = r->id;
        ev.operator_.cookie = r;
        node_step(n, &ev);
}

static void post_write(struct node *n, struct api_request *r)
{
        if (n->stopping) {
                api_refuse(n, r, "skepd is stopping");
                return;
        }
        struct engine_event ev = {.kind = EV_OPERATE, .batch = STEAL(r->batch)};
        ev.batch->cookie = r;
        node_step(n, &ev);
}

static void take_request(struct node *n, struct api_request *r, struct submission ***tail)
{
        switch (r->kind) {
        case API_SUBMIT:
                r->submission->cookie = r;
                r->submission->next = NULL;
                **tail = r->submission;
                *tail = &r->submission->next;
                break;
        case API_READ: post_read(n, STEAL(r->batch), r); break;
        case API_CANCEL:
        case API_REQUEUE:
                if (n->stopping) {
                        api_refuse(n, r, "skepd is stopping");
                } else {
                        tell_operator(n, r);
                }
                break;
        case API_WAIT: wait_for(n, r); break;
        case API_HANDLERS:
                r->text = view_handlers(n, &r->arena);
                api_answer(n, r);
                break;
        case API_WORKERS:
                r->text = view_workers(n, &r->arena);
                api_answer(n, r);
                break;
        case API_DOCTOR:
                r->text = view_doctor(n, &r->arena);
                api_answer(n, r);
                break;
        case API_READY:
                r->text = view_ready(n, &r->arena, &r->status);
                api_answer(n, r);
                break;
        case API_STATS:
        case API_METRICS: read_stats(n, r); break;
        case API_OPERATE: post_write(n, r); break;
        default: operate_request(n, r); break;
        }
}

void api_take_requests(struct node *n)
{
        struct submission *list = NULL, **tail = &list;
        struct api_request *r;
        for (unsigned i = 0;
             i < 1000 && zmq_recv(n->requests, &r, sizeof r, ZMQ_DONTWAIT) == sizeof r; i++) {
                (void)atomic_load_explicit(&n->handed, memory_order_acquire);
                take_request(n, r, &tail);
        }
        if (list) {
                node_step(n, &(struct engine_event){.kind = EV_SUBMIT, .submissions = list});
        }
}

/* --- answers out ------------------------------------------------------------------------------ */

void api_answer_submission(struct node *n, struct submission *s)
{
        struct api_request *r = s->cookie;
        if (!r) {
                submission_free(s); /* children travel inside FINISH; nothing else has no request */
                return;
        }
        r->unavailable = s->refused;
        snprintf(r->note, sizeof r->note, "%s", s->note);
        metrics_submitted(n->metrics, s);
        api_answer(n, r);
}

void api_answer_operator(struct node *n, struct ledger_batch *b, void *cookie)
{
        struct api_request *r = cookie;
        r->batch = b;
        if (b->outcome != LEDGER_COMMITTED) {
                api_refuse(n, r, b->note);
                return;
        }
        if (b->op == LEDGER_CANCEL) { /* whoever waits for it learns it now */
                struct waiter *w, *next;
                HASH_ITER (hh, n->waiters, w, next) {
                        if (job_id_eq(&w->id, &r->id)) {
                                read_waiter(n, w);
                        }
                }
        }
        api_answer(n, r);
}

void api_answer_read(struct node *n, struct ledger_batch *b)
{
        struct api_request *r = b->cookie;
        if (r->kind == API_WAIT) {
                waiter_answered(n, waiter_of(n, r), b);
                return;
        }
        if (operate_read(n, r, b)) {
                return;
        }
        bool ok = b->outcome == LEDGER_COMMITTED;
        if (r->kind == API_METRICS) {
                ledger_batch_free(n->stats);
                n->stats = ok ? b : NULL;
                n->stats_ns = node_now().mono_ns;
                answer_metrics(n, r, n->stats);
                if (!ok) {
                        ledger_batch_free(b);
                }
        } else if (!ok) {
                r->batch = b;
                api_refuse(n, r, b->note);
        } else if (r->kind == API_STATS) {
                r->text = view_stats(n, LEDGER_AS(stats, STATS, b), &r->arena);
                ledger_batch_free(b);
                api_answer(n, r);
        } else {
                r->batch = b;
                r->holder = n->holder;
                api_answer(n, r);
        }
}

void api_answer_written(struct node *n, struct ledger_batch *b)
{
        struct api_request *r = b->cookie;
        r->batch = b;
        if (b->outcome == LEDGER_COMMITTED) {
                api_answer(n, r);
        } else {
                api_refuse(n, r, b->note);
        }
}
