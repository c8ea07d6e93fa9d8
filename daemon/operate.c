/*
 * Requests of operators: operations over many jobs, reconciling, schedules run by hand, resizing,
 * zones, and the views that need the engine and the ledger together (queues, explain).
 *
 * Who waits for an operation is looked at after each pass of the loop; there are few of them. What
 * cannot be answered before skepd ends is answered by the HTTP server itself, as unavailable.
 */
#include "daemon/node.h"

#include <stdio.h>
#include <stdlib.h>

struct bulk_waiter {
        struct bulk_waiter *next;
        struct api_request *request;
        int64_t until_ns;
};

static bool stopping(struct node *n, struct api_request *r)
{
        if (n->stopping) {
                api_refuse(n, r, "skepd is stopping");
        }
        return n->stopping;
}

static void say_text(struct node *n, struct api_request *r, struct str text, int status)
{
        r->text = text;
        r->status = status;
        if (text.p) {
                api_answer(n, r);
        } else {
                api_refuse(n, r, "out of memory");
        }
}

/* --- operations over many jobs ---------------------------------------------------------------- */

static void show_bulk(struct node *n, struct api_request *r)
{
        struct bulk_view *v = arena_alloc(&r->arena, sizeof *v);
        if (!v) {
                api_refuse(n, r, "out of memory");
                return;
        }
        r->n_views = engine_bulk(n->engine, r->no, v);
        r->views = v;
        api_answer(n, r);
}

static bool is_over(const struct node *n, uint64_t no)
{
        struct bulk_view v;
        return !engine_bulk(n->engine, no, &v) || v.over;
}

static void wait_or_show(struct node *n, struct api_request *r)
{
        struct bulk_waiter *w =
            r->wait_ms && !is_over(n, r->no) && !n->stopping ? calloc(1, sizeof *w) : NULL;
        if (!w) {
                show_bulk(n, r);
                return;
        }
        w->request = r;
        w->until_ns = node_now().mono_ns + (int64_t)r->wait_ms * NS_PER_MS;
        w->next = n->bulk_waiters;
        n->bulk_waiters = w;
}

void operate_look(struct node *n)
{
        struct bulk_waiter **at = &n->bulk_waiters;
        int64_t now = n->bulk_waiters ? node_now().mono_ns : 0;
        while (*at) {
                struct bulk_waiter *w = *at;
                if (now < w->until_ns && !is_over(n, w->request->no) && !n->stopping) {
                        at = &w->next;
                        continue;
                }
                *at = w->next;
                show_bulk(n, w->request);
                free(w);
        }
}

int64_t operate_wake_ns(const struct node *n)
{
        int64_t at = INT64_MAX;
        for (const struct bulk_waiter *w = n->bulk_waiters; w; w = w->next) {
                at = w->until_ns < at ? w->until_ns : at;
        }
        return at;
}

void operate_deinit(struct node *n)
{
        while (n->bulk_waiters) { /* their requests are the HTTP server's */
                struct bulk_waiter *next = n->bulk_waiters->next;
                free(n->bulk_waiters);
                n->bulk_waiters = next;
        }
}

static void begin_bulk(struct node *n, struct api_request *r)
{
        struct engine_event ev = {.kind = EV_BULK};
        ev.bulk.request = r->bulk;
        ev.bulk.cookie = r;
        node_step(n, &ev);
}

static void bulk_begun(struct node *n, const struct engine_action *a)
{
        struct api_request *r = a->cookie;
        r->no = a->bulk_no;
        if (a->bulk_no) {
                wait_or_show(n, r);
                return;
        }
        snprintf(r->note, sizeof r->note, "%.*s", (int)a->text.n, a->text.p ? a->text.p : "");
        api_answer(n, r);
}

static void list_bulks(struct node *n, struct api_request *r)
{
        enum { MOST = 128 };
        r->views = arena_alloc(&r->arena, MOST * sizeof *r->views);
        r->n_views = r->views ? engine_bulks(n->engine, r->views, MOST) : 0;
        api_answer(n, r);
}

static void stop_bulk(struct node *n, struct api_request *r)
{
        struct engine_event ev = {.kind = EV_BULK_STOP};
        ev.bulk_no = r->no;
        node_step(n, &ev);
        show_bulk(n, r);
}

/* --- the rest of what the engine answers ------------------------------------------------------ */

static void reconcile(struct node *n, struct api_request *r)
{
        struct engine_event ev = {.kind = EV_RECONCILE};
        ev.cookie = r;
        node_step(n, &ev);
}

static void run_schedule(struct node *n, struct api_request *r)
{
        struct engine_event ev = {.kind = EV_RUN_SCHEDULE};
        ev.run_schedule.name = r->name;
        ev.run_schedule.cookie = r;
        node_step(n, &ev);
}

static void schedule_ran(struct node *n, const struct engine_action *a)
{
        struct api_request *r = a->cookie;
        r->id = a->job;
        snprintf(r->note, sizeof r->note, "%.*s", (int)a->text.n, a->text.p ? a->text.p : "");
        api_answer(n, r);
}

static void resize(struct node *n, struct api_request *r)
{
        struct engine_event ev = {.kind = EV_RESIZE};
        ev.resize = r->workers;
        node_step(n, &ev);
        uint32_t wanted = r->workers ? r->workers : n->config->workers;
        LOG(n->log, LOG_INFO_, "%u workers from now on%s", wanted,
            r->workers ? ", as an operator said" : ", as configured");
        say_text(n, r,
                 arena_printf(&r->arena, "{\"workers\":%u,\"configured\":%u}", wanted,
                              n->config->workers),
                 200);
}

void operate_carry(struct node *n, const struct engine_action *a)
{
        struct api_request *r = a->cookie;
        switch (a->kind) {
        case ACT_BULK: bulk_begun(n, a); break;
        case ACT_RECONCILED: say_text(n, r, view_reconciled(a->reconciled, &r->arena), 200); break;
        case ACT_RAN: schedule_ran(n, a); break;
        default: break;
        }
}

/* --- views that need the ledger --------------------------------------------------------------- */

static void read_for(struct node *n, struct api_request *r, enum ledger_op op)
{
        struct ledger_batch *b = ledger_batch_new(op);
        if (!b) {
                api_refuse(n, r, "out of memory");
                return;
        }
        if (op == LEDGER_SHOW) {
                LEDGER_AS(show, SHOW, b)->id = r->id;
        }
        b->cookie = r;
        node_read(n, b);
}

static void queues_read(struct node *n, struct api_request *r, struct ledger_batch *b)
{
        bool found = true;
        struct str text = view_queues(n, LEDGER_AS(stats, STATS, b), r->name, &r->arena, &found);
        ledger_batch_free(b);
        say_text(n, r, text, found ? 200 : 404);
}

/* SHOW, then NODES, then STATS if it matters; what was read hangs on the request, the latest first.
 */
static void explain_read(struct node *n, struct api_request *r, struct ledger_batch *b)
{
        b->next = r->batch;
        r->batch = b;
        if (b->op == LEDGER_SHOW && LEDGER_AS(show, SHOW, b)->found) {
                read_for(n, r, LEDGER_NODES);
                return;
        }
        if (b->op == LEDGER_NODES && view_explain_counts(LEDGER_AS(show, SHOW, b->next))) {
                read_for(n, r, LEDGER_STATS);
                return;
        }
        bool found = b->op != LEDGER_SHOW;
        struct str text = found ? view_explain(n, r->batch, &r->arena) : STR("{}");
        for (b = STEAL(r->batch); b;) {
                struct ledger_batch *next = b->next;
                ledger_batch_free(b);
                b = next;
        }
        say_text(n, r, text, found ? 200 : 404);
}

bool operate_read(struct node *n, struct api_request *r, struct ledger_batch *b)
{
        if (r->kind != API_QUEUES && r->kind != API_EXPLAIN) {
                return false;
        }
        if (b->outcome != LEDGER_COMMITTED) {
                api_refuse(n, r, b->note);
                ledger_batch_free(b);
        } else if (r->kind == API_QUEUES) {
                queues_read(n, r, b);
        } else {
                explain_read(n, r, b);
        }
        return true;
}

/* --- in --------------------------------------------------------------------------------------- */

void operate_request(struct node *n, struct api_request *r)
{
        switch (r->kind) {
        case API_QUEUES: read_for(n, r, LEDGER_STATS); break;
        case API_EXPLAIN: read_for(n, r, LEDGER_SHOW); break;
        case API_OPERATIONS: list_bulks(n, r); break;
        case API_OPERATION: wait_or_show(n, r); break;
        case API_OPERATION_STOP: stop_bulk(n, r); break;
        case API_ZONE:
                r->zone = zones_find(&n->zones, r->name);
                api_answer(n, r);
                break;
        case API_BULK:
                if (!stopping(n, r)) {
                        begin_bulk(n, r);
                }
                break;
        case API_RECONCILE:
                if (!stopping(n, r)) {
                        reconcile(n, r);
                }
                break;
        case API_RUN_SCHEDULE:
                if (!stopping(n, r)) {
                        run_schedule(n, r);
                }
                break;
        case API_RESIZE:
                if (!stopping(n, r)) {
                        resize(n, r);
                }
                break;
        default: api_refuse(n, r, "skepd does not know this request"); break;
        }
}
