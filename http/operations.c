/*
 * /v1/operations: requeues, purges and cancels by filter, that this node carries out page by page.
 * They are this node's: another node does not know them, and they end with it.
 */
#include "http/operations.h"

#include <stdio.h>

static const char *kind_name(enum bulk_kind kind)
{
        switch (kind) {
        case BULK_COUNT: return "count";
        case BULK_REQUEUE: return "requeue";
        case BULK_CANCEL: return "cancel";
        case BULK_PURGE: return "purge";
        }
        return "?";
}

static void put_operation(struct out *o, const struct bulk_view *v)
{
        char no[24];
        snprintf(no, sizeof no, "%llu", (unsigned long long)v->no);
        out_comma(o);
        out_text(o, "{");
        out_member(o, "id", str_of(no));
        out_member(o, "kind", str_of(kind_name(v->kind)));
        out_number(o, "done", (int64_t)v->done);
        out_number(o, "asked", (int64_t)v->asked);
        out_number(o, "died_again", (int64_t)v->again);
        out_bool(o, "over", v->over);
        if (v->note[0]) {
                out_member(o, "note", str_of(v->note));
        }
        out_time(o, "begun_at", v->begun_us);
        if (v->over_us) {
                out_time(o, "over_at", v->over_us);
        }
        out_text(o, "}");
}

static void respond(struct call *call, const struct bulk_view *v, unsigned status)
{
        struct out o = {0};
        if (call->wait_s) {
                call_header(call, "Preference-Applied", "wait=%u", call->wait_s);
        }
        put_operation(&o, v);
        call_respond_json(call, status, &o);
}

void operation_answer(struct call *call, struct api_request *r)
{
        if (r->n_views == 0) {
                call_refuse(call, PROBLEM_TOO_MANY, "the operation does not begin: %s",
                            r->note[0] ? r->note : "others run; see /v1/operations");
                return;
        }
        call_header(call, "Location", "/v1/operations/%llu", (unsigned long long)r->views[0].no);
        respond(call, &r->views[0], r->views[0].over ? 200 : 202);
}

static void answer_one(struct call *call, struct api_request *r)
{
        if (r->n_views == 0) {
                call_refuse(call, PROBLEM_NOT_FOUND,
                            "this node has no operation %llu; those that ended are forgotten after "
                            "an hour, and with a restart",
                            (unsigned long long)call->match.no);
                return;
        }
        respond(call, &r->views[0], 200);
}

static void answer_list(struct call *call, struct api_request *r)
{
        struct out o = {0};
        out_text(&o, "{\"operations\":[");
        for (uint32_t i = 0; i < r->n_views; i++) {
                put_operation(&o, &r->views[i]);
        }
        out_text(&o, "]}");
        call_respond_json(call, 200, &o);
}

void operations_call(struct call *call)
{
        bool list = call->match.route == ROUTE_OPERATIONS;
        struct api_request *r =
            call_request(call, list                            ? API_OPERATIONS
                               : call->method == METHOD_DELETE ? API_OPERATION_STOP
                                                               : API_OPERATION);
        if (!r) {
                return;
        }
        r->no = call->match.no;
        r->wait_ms = r->kind == API_OPERATION ? call->wait_s * 1000 : 0;
        call->answered = list ? answer_list : answer_one;
        call_post(call, r);
}
