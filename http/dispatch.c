/*
 * From a call with its body to a request for the daemon. Nothing here waits: a posted request
 * suspends its connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/call.h"
#include "http/render.h"

struct api_request *call_request(struct call *call, enum api_kind kind)
{
        struct api_request *r = calloc(1, sizeof *r);
        if (!r) {
                call_out_of_memory(call);
                return NULL;
        }
        r->kind = kind;
        return r;
}

/* Holds its place among those that wait for more than the ledger. */
static bool takes_long(const struct api_request *r)
{
        return r->wait_ms > 0 || r->kind == API_WAIT || r->kind == API_RECONCILE;
}

/* Does the call have a place among those that wait? */
static bool admit(struct call *call, const struct api_request *r)
{
        struct listener *l = call->listener;
        if (call->http->draining) {
                problem_set(&call->problem, PROBLEM_UNAVAILABLE,
                            "skepd is stopping; repeat the request later");
                return false;
        }
        if (r->kind == API_READY) {
                return true;
        }
        if (l->n_waiting >= l->waiting_max) {
                problem_set(&call->problem, PROBLEM_TOO_MANY,
                            "%u requests wait already; repeat it later", l->n_waiting);
                return false;
        }
        if (takes_long(r) && l->n_long_waits >= l->long_waits_max) {
                problem_set(&call->problem, PROBLEM_TOO_MANY,
                            "%u requests wait for an end already; ask without \"Prefer: wait\", "
                            "or later",
                            l->n_long_waits);
                return false;
        }
        return true;
}

static void count_ref(struct http *h, int change)
{
        pthread_mutex_lock(&h->lock);
        h->refs = (uint32_t)((int64_t)h->refs + change);
        pthread_mutex_unlock(&h->lock);
}

static void suspend(struct call *call)
{
        call->suspended = true;
        call->next = call->http->waiting;
        if (call->next) {
                call->next->prev = call;
        }
        call->http->waiting = call;
        peer_enter(call->peer, PHASE_WAIT);
        MHD_suspend_connection(call->connection);
}

void call_post(struct call *call, struct api_request *r)
{
        struct http *h = call->http;
        if (!admit(call, r)) {
                call->failed = true;
                request_free(r);
                return;
        }
        r->connection = call;
        call->request = r;
        call->listener->n_waiting++;
        call->takes_long = takes_long(r);
        call->listener->n_long_waits += call->takes_long;
        count_ref(h, 1);
        if (h->post(h->ctx, r)) { /* its answer is looked at by this thread, later */
                if (!call->suspended) {
                        suspend(call);
                }
                return;
        }
        count_ref(h, -1);
        call->listener->n_waiting--;
        call->listener->n_long_waits -= call->takes_long;
        call->request = NULL;
        request_free(r);
        problem_set(&call->problem, PROBLEM_UNAVAILABLE,
                    "skepd is stopping; repeat the request later");
        call->failed = true;
}

static void post_simple(struct call *call, enum api_kind kind)
{
        struct api_request *r = call_request(call, kind);
        if (r) {
                r->id = call->match.id;
                call_post(call, r);
        }
}

void call_wait(struct call *call, const struct job_id *id)
{
        struct api_request *r = call_request(call, API_WAIT);
        if (r) {
                r->id = *id;
                r->wait_ms = call->wait_s * 1000;
                call_post(call, r);
        }
}

static void post_batch(struct call *call, enum api_kind kind, struct ledger_batch *b)
{
        struct api_request *r = call_request(call, kind);
        if (!r) {
                ledger_batch_free(b);
                return;
        }
        r->batch = b;
        call_post(call, r);
}

void call_read(struct call *call, struct ledger_batch *b)
{
        post_batch(call, API_READ, b);
}

void call_operate(struct call *call, struct ledger_batch *b)
{
        post_batch(call, API_OPERATE, b);
}

static void show_job(struct call *call)
{
        if (call->wait_s && call->match.route == ROUTE_JOB) {
                call_wait(call, &call->match.id);
                return;
        }
        struct ledger_batch *b = ledger_batch_new(LEDGER_SHOW);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        struct ledger_show *show = LEDGER_AS(show, SHOW, b);
        show->id = call->match.id;
        if (call->match.route == ROUTE_JOB_KEY) {
                if (!call->query.queue.n) {
                        problem_set(&call->problem, PROBLEM_INVALID,
                                    "queue: missing in the query; keys belong to a queue, as in "
                                    "/v1/jobs/key:KEY?queue=default. Configured: %s",
                                    call->http->settings->queue_names);
                        snprintf(call->problem.field, sizeof call->problem.field, "queue");
                        call->failed = true;
                        ledger_batch_free(b);
                        return;
                }
                show->key = key_from_text(call->match.key);
                show->queue = arena_str(&b->arena, call->query.queue);
        }
        call_read(call, b);
}

/* Only jobs below it are wanted: the cursor's, and those whose ids were minted before a time. */
static bool list_below(const struct query *q, struct job_id *ret)
{
        struct job_id minted = {0};
        uint64_t ms = (uint64_t)q->before_us / 1000;
        bool has = q->cursor.n && cursor_parse(q, q->cursor, ret);
        for (int i = 0; i < 6; i++) {
                minted.b[i] = (uint8_t)(ms >> (40 - 8 * i));
        }
        if (q->before_us && (!has || memcmp(minted.b, ret->b, sizeof minted.b) < 0)) {
                *ret = minted;
                has = true;
        }
        return has;
}

static void list_jobs(struct call *call)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_LIST);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        struct ledger_list *list = LEDGER_AS(list, LIST, b);
        const struct query *q = &call->query;
        list->state = q->state;
        list->type = arena_str(&b->arena, q->type);
        list->queue = arena_str(&b->arena, q->queue);
        list->tag = arena_str(&b->arena, q->tag);
        list->error = q->error;
        list->fingerprint = q->fingerprint;
        list->since_us = q->since_us;
        list->whole = q->whole;
        list->limit = q->whole && q->limit > LIST_WHOLE_MAX ? LIST_WHOLE_MAX : q->limit;
        list->has_before = list_below(q, &list->before);
        call_read(call, b);
}

bool call_take_object(struct call *call, const struct field *table, const char *example,
                      struct arena *arena, struct taking *t)
{
        struct str body = {call->body.p, (uint32_t)call->body.n};
        *t = (struct taking){.settings = call->http->settings,
                             .arena = arena,
                             .body = body,
                             .now_us = now_wall_us(),
                             .problem = &call->problem,
                             .table = table,
                             .prefix = "",
                             .example = example};
        if (body.n == 0) {
                call_refuse(call, PROBLEM_MALFORMED, "the body is empty; %s", example);
                return false;
        }
        int r = object_take(t, body);
        call->failed |= r != 0;
        if (r == -ENOMEM) {
                call_out_of_memory(call);
        }
        return r == 0;
}

static void jobs_call(struct call *call)
{
        if (call->method == METHOD_GET) {
                list_jobs(call);
        } else if (call->body_kind == BODY_NDJSON) {
                stream_end(call);
        } else {
                submit_body(call);
        }
}

static void job_call(struct call *call)
{
        if (call->method == METHOD_DELETE) {
                post_simple(call, API_CANCEL);
        } else {
                show_job(call);
        }
}

static void route_call(struct call *call)
{
        switch (call->match.route) {
        case ROUTE_JOBS: jobs_call(call); break;
        case ROUTE_JOB: job_call(call); break;
        case ROUTE_JOB_KEY: show_job(call); break;
        case ROUTE_RETRY: post_simple(call, API_REQUEUE); break;
        case ROUTE_QUEUES:
        case ROUTE_QUEUE:
        case ROUTE_QUEUE_PAUSE:
        case ROUTE_QUEUE_RESUME: queues_call(call); break;
        case ROUTE_SCHEDULES:
        case ROUTE_PREVIEW:
        case ROUTE_SCHEDULE:
        case ROUTE_SCHEDULE_RUN:
        case ROUTE_SCHEDULE_PAUSE:
        case ROUTE_SCHEDULE_RESUME: schedules_call(call); break;
        case ROUTE_JOBS_CANCEL:
        case ROUTE_DEAD_GROUPS:
        case ROUTE_DEAD_REQUEUE:
        case ROUTE_DEAD_PURGE: dead_call(call); break;
        case ROUTE_OPERATIONS:
        case ROUTE_OPERATION: operations_call(call); break;
        case ROUTE_EXPLAIN:
        case ROUTE_RECONCILE:
        case ROUTE_NODES:
        case ROUTE_WORKERS: nodes_call(call); break;
        case ROUTE_HANDLERS: post_simple(call, API_HANDLERS); break;
        case ROUTE_DOCTOR: post_simple(call, API_DOCTOR); break;
        case ROUTE_STATS: post_simple(call, API_STATS); break;
        case ROUTE_METRICS: post_simple(call, API_METRICS); break;
        case ROUTE_READY:
        case ROUTE_HEALTH: post_simple(call, API_READY); break;
        case ROUTE_LIVE:
                call_respond_static(call, 200, "application/json", "{\"status\":\"ok\"}", 15);
                break;
        case ROUTE_OPENAPI:
                call_respond_static(call, 200, "application/vnd.oai.openapi+json;version=3.1",
                                    openapi_json, openapi_json_size);
                break;
        case ROUTE_COUNT: break;
        }
}

void call_dispatch(struct call *call)
{
        route_call(call);
        if (call->failed && !call->suspended) {
                call_respond_problem(call);
        }
}
