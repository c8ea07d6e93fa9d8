/*
 * From the daemon's answer to a response. What the ledger could not do is 503 and says that it may
 * be repeated; what does not exist is 404; no answer of the daemon makes a 500.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/call.h"
#include "http/render.h"

void call_refuse(struct call *call, enum problem_kind kind, const char *fmt, ...)
{
        char detail[640];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(detail, sizeof detail, fmt, ap);
        va_end(ap);
        problem_set(&call->problem, kind, "%s", detail);
        call->failed = true;
}

void call_header(struct call *call, const char *name, const char *fmt, ...)
{
        char text[1024];
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        if (n < 0 || n >= (int)sizeof text || call->n_headers == HEADERS_EXTRA) {
                return; /* too long a Link: the body has the cursor as well */
        }
        struct str kept = arena_str(&call->arena, (struct str){text, (uint32_t)n});
        if (kept.p) {
                call->headers[call->n_headers].name = name;
                call->headers[call->n_headers++].value = kept;
        }
}

static void set_response(struct call *call, unsigned status, const char *content_type,
                         struct MHD_Response *response)
{
        if (!response) {
                return;
        }
        MHD_add_response_header(response, "Content-Type", content_type);
        MHD_add_response_header(response, "Cache-Control", "no-store");
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        call->response = response;
        call->status = status;
}

void call_respond_static(struct call *call, unsigned status, const char *content_type,
                         const char *text, size_t n)
{
        set_response(
            call, status, content_type,
            MHD_create_response_from_buffer(n, (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT));
}

static void respond_short_of_memory(struct call *call)
{
        static const char text[] =
            "{\"type\":\"urn:skep:problem:unavailable\",\"title\":\"skepd cannot do this right "
            "now\",\"status\":503,\"detail\":\"out of memory for the answer; repeat the request "
            "later\"}";
        call_respond_static(call, 503, "application/problem+json", text, sizeof text - 1);
}

void call_respond(struct call *call, unsigned status, const char *content_type, struct out *body)
{
        bool large = body->n > (64u << 10);
        if (body->failed || (large && !call_hold(call, body->capacity))) {
                out_deinit(body);
                respond_short_of_memory(call);
                return;
        }
        set_response(call, status, content_type,
                     MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_FREE));
        if (call->response) {
                *body = (struct out){0};
        } else {
                out_deinit(body);
        }
}

void call_respond_problem(struct call *call)
{
        struct out o = {0};
        const struct problem *p = &call->problem;
        problem_write(&o, p);
        if (p->retry_after_s) {
                call_header(call, "Retry-After", "%u", p->retry_after_s);
        }
        call_respond(call, problem_status(p), "application/problem+json", &o);
}

void call_respond_json(struct call *call, unsigned status, struct out *o)
{
        call_respond(call, status, "application/json", o);
}

static void set_unavailable(struct call *call, const char *note)
{
        problem_set(&call->problem, PROBLEM_UNAVAILABLE, "%s; repeat the request later",
                    note[0] ? note : "the ledger cannot be reached");
        call->failed = true;
}

void call_no_job(struct call *call)
{
        char text[JOB_ID_TEXT], quoted[QUOTE_TEXT], queue[QUOTE_TEXT];
        id_text(&call->match.id, text);
        if (call->match.route == ROUTE_JOB_KEY) {
                problem_set(&call->problem, PROBLEM_NOT_FOUND,
                            "no job has the key \"%s\" in the queue \"%s\"",
                            quote_text(call->match.key, quoted),
                            quote_text(call->query.queue, queue));
        } else {
                problem_set(&call->problem, PROBLEM_NOT_FOUND, "no job has the id %s", text);
        }
        call->failed = true;
}

bool call_batch_done(struct call *call, const struct api_request *r, enum ledger_op op)
{
        if (r->batch && r->batch->op == op && r->batch->outcome == LEDGER_COMMITTED) {
                return true;
        }
        set_unavailable(call, r->batch ? r->batch->note : r->note);
        return false;
}

static void answer_show(struct call *call, struct api_request *r)
{
        struct out o = {0};
        if (!call_batch_done(call, r, LEDGER_SHOW)) {
                return;
        }
        struct ledger_show *show = LEDGER_AS(show, SHOW, r->batch);
        if (!show->found) {
                call_no_job(call);
                return;
        }
        if (r->kind == API_READ && call->wait_s && !state_terminal(show->row.state)) {
                call_wait(call, &show->row.id); /* asked by key: now the id is known */
                return;
        }
        if (call->wait_s) {
                call_header(call, "Preference-Applied", "wait=%u", call->wait_s);
        }
        render_job(&o, &show->row);
        call_respond_json(call, 200, &o);
}

static void answer_list(struct call *call, struct api_request *r)
{
        struct out o = {0}, link = {0};
        char cursor[CURSOR_TEXT];
        if (!call_batch_done(call, r, LEDGER_LIST)) {
                return;
        }
        render_list(&o, &call->query, LEDGER_AS(list, LIST, r->batch), cursor);
        if (cursor[0]) {
                query_next(&link, &call->query, cursor);
                if (!link.failed) {
                        call_header(call, "Link", "<%.*s>; rel=\"next\"", (int)link.n, link.p);
                }
        }
        out_deinit(&link);
        call_respond_json(call, 200, &o);
}

static void set_conflict(struct call *call, enum job_state state, const char *what)
{
        char text[JOB_ID_TEXT];
        id_text(&call->match.id, text);
        problem_set(&call->problem, PROBLEM_CONFLICT, "job %s is %s and %s", text,
                    state_name(state), what);
        call->problem.job_state = state_name(state);
        call->failed = true;
}

static void respond_state(struct call *call, unsigned status, const char *state, const char *flag,
                          bool value)
{
        struct out o = {0};
        out_text(&o, "{");
        out_id(&o, "id", &call->match.id);
        out_member(&o, "state", str_of(state));
        out_bool(&o, flag, value);
        out_text(&o, "}");
        call_respond_json(call, status, &o);
}

static void answer_cancel(struct call *call, struct api_request *r)
{
        if (!call_batch_done(call, r, LEDGER_CANCEL)) {
                return;
        }
        const struct ledger_cancel *c = LEDGER_AS(cancel, CANCEL, r->batch);
        switch (c->result) {
        case CANCEL_DONE:
                respond_state(call, 200, state_name(STATE_CANCELLED), "cancel_asked", false);
                break;
        case CANCEL_ASKED:
                respond_state(call, 202, state_name(STATE_RUNNING), "cancel_asked", true);
                break;
        case CANCEL_TERMINAL:
                set_conflict(call, c->state, "has ended; there is nothing to cancel");
                break;
        case CANCEL_NOT_FOUND: call_no_job(call); break;
        }
}

static void answer_requeue(struct call *call, struct api_request *r)
{
        if (!call_batch_done(call, r, LEDGER_REQUEUE)) {
                return;
        }
        const struct ledger_requeue *q = LEDGER_AS(requeue, REQUEUE, r->batch);
        switch (q->result) {
        case REQUEUE_DONE:
        case REQUEUE_NOW:
                respond_state(call, 200, state_name(STATE_PENDING), "changed", true);
                break;
        case REQUEUE_UNCHANGED:
                respond_state(call, 200, state_name(STATE_PENDING), "changed", false);
                break;
        case REQUEUE_REFUSED:
                set_conflict(call, q->state,
                             q->state == STATE_COMPLETED
                                 ? "is never run again; submit a new job"
                                 : "cannot be started a second time; cancel it first");
                break;
        case REQUEUE_NOT_FOUND: call_no_job(call); break;
        }
}

static void answer_text(struct call *call, const struct api_request *r, unsigned status,
                        const char *content_type)
{
        struct out o = {0};
        out_put(&o, r->text.p, r->text.n);
        call_respond(call, status, content_type, &o);
}

void call_respond_text(struct call *call, unsigned status, const struct api_request *r)
{
        answer_text(call, r, status, "application/json");
}

/* The end of a wait after POST: the job was created whatever became of the wait. */
static void answer_created(struct call *call, struct api_request *r)
{
        struct out o = {0};
        const struct ledger_show *show = NULL;
        if (!r->unavailable && r->batch && r->batch->op == LEDGER_SHOW &&
            r->batch->outcome == LEDGER_COMMITTED) {
                show = LEDGER_AS(show, SHOW, r->batch);
        }
        if (!show || !show->found) {
                call_respond_json(call, 201, &call->created);
                return;
        }
        call_header(call, "Preference-Applied", "wait=%u", call->wait_s);
        render_job(&o, &show->row);
        call_respond_json(call, 201, &o);
}

static void answer_kind(struct call *call, struct api_request *r)
{
        if (call->created.n) {
                answer_created(call, r);
                return;
        }
        if (r->unavailable && r->kind != API_SUBMIT) {
                set_unavailable(call, r->note);
                return;
        }
        if (call->answered) {
                call->answered(call, r);
                return;
        }
        switch (r->kind) {
        case API_SUBMIT:
                if (call->stream) {
                        stream_answer(call, r);
                } else {
                        submit_answer(call, r);
                }
                break;
        case API_READ:
                if (call->match.route == ROUTE_JOBS) {
                        answer_list(call, r);
                } else {
                        answer_show(call, r);
                }
                break;
        case API_WAIT: answer_show(call, r); break;
        case API_CANCEL: answer_cancel(call, r); break;
        case API_REQUEUE: answer_requeue(call, r); break;
        case API_HANDLERS:
        case API_DOCTOR:
        case API_STATS: call_respond_text(call, 200, r); break;
        case API_METRICS:
                answer_text(call, r, 200, "text/plain; version=0.0.4; charset=utf-8");
                break;
        case API_READY: call_respond_text(call, r->status == 200 ? 200 : 503, r); break;
        default: break; /* asked by an area, which has looked at it */
        }
}

void call_answer(struct call *call, struct api_request *r)
{
        call->listener->n_waiting--;
        call->listener->n_long_waits -= call->takes_long;
        call->request = NULL;
        answer_kind(call, r);
        request_free(r);
        if (call->request) {
                return; /* it asked on */
        }
        if (call->failed && call->complete && !call->response) {
                call_respond_problem(call);
        }
        call_resume(call);
}
