/*
 * From a call with its body to a request for the daemon. Nothing here waits: a posted request
 * suspends its connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/call.h"

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
        if (r->kind == API_WAIT && l->n_long_waits >= l->long_waits_max) {
                problem_set(&call->problem, PROBLEM_TOO_MANY,
                            "%u requests wait for jobs to end already; ask without \"Prefer: "
                            "wait\", or later",
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
        call->listener->n_long_waits += r->kind == API_WAIT;
        bool wait = r->kind == API_WAIT;
        count_ref(h, 1);
        if (h->post(h->ctx, r)) { /* its answer is looked at by this thread, later */
                if (!call->suspended) {
                        suspend(call);
                }
                return;
        }
        count_ref(h, -1);
        call->listener->n_waiting--;
        call->listener->n_long_waits -= wait;
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

static void post_read(struct call *call, struct ledger_batch *b)
{
        struct api_request *r = call_request(call, API_READ);
        if (!r) {
                ledger_batch_free(b);
                return;
        }
        r->batch = b;
        call_post(call, r);
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
        post_read(call, b);
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
        list->since_us = q->has_since ? q->since_us : 0;
        list->limit = q->limit;
        list->has_before = q->cursor.n && cursor_parse(q, q->cursor, &list->before);
        post_read(call, b);
}

static void route_call(struct call *call)
{
        switch (call->match.route) {
        case ROUTE_JOBS:
                if (call->method == METHOD_GET) {
                        list_jobs(call);
                } else if (call->body_kind == BODY_NDJSON) {
                        stream_end(call);
                } else {
                        submit_body(call);
                }
                break;
        case ROUTE_JOB:
                if (call->method == METHOD_DELETE) {
                        post_simple(call, API_CANCEL);
                } else {
                        show_job(call);
                }
                break;
        case ROUTE_JOB_KEY: show_job(call); break;
        case ROUTE_RETRY: post_simple(call, API_REQUEUE); break;
        case ROUTE_HANDLERS: post_simple(call, API_HANDLERS); break;
        case ROUTE_WORKERS: post_simple(call, API_WORKERS); break;
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
