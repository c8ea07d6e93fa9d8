/*
 * /v1/queues: what queues are, and what operators set for them at runtime: pause, and limits over
 * the configured ones. A change holds on every node after its next beat, so its answer tells what
 * was written, not what each node does by now.
 */
#include <stdio.h>

#include "http/call.h"

#define GLOBAL_MAX      1000000
#define CONCURRENCY_MAX 256

enum control_field { C_PAUSED, C_CONCURRENCY, C_GLOBAL };

struct control_taking {
        struct taking t;
        struct ledger_control *control;
};

static const struct queue_config *queue_of(const struct call *call, struct str name)
{
        const struct config *c = &call->http->settings->config;
        int i = config_queue_named(c, name);
        return i < 0 ? NULL : &c->queues[i];
}

static void refuse_queue(struct call *call)
{
        char quoted[QUOTE_TEXT];
        call_refuse(call, PROBLEM_NOT_FOUND, "no queue is called \"%s\"; configured here: %s",
                    quote_text(call->match.name, quoted), call->http->settings->queue_names);
        snprintf(call->problem.allowed_text, sizeof call->problem.allowed_text, "%s",
                 call->http->settings->queue_names);
}

/* --- what they are ---------------------------------------------------------------------------- */

static void answer_queues(struct call *call, struct api_request *r)
{
        if (r->status == 404) {
                refuse_queue(call);
        } else {
                call_respond_text(call, 200, r);
        }
}

static void show_queues(struct call *call)
{
        struct api_request *r = call_request(call, API_QUEUES);
        if (!r) {
                return;
        }
        r->name = arena_str(&r->arena, call->match.name);
        call->answered = answer_queues;
        call_post(call, r);
}

/* --- what is set ------------------------------------------------------------------------------ */

static void put_limits(struct out *o, uint32_t concurrency, uint32_t global)
{
        out_number(o, "concurrency", concurrency);
        out_number(o, "global", global);
}

static uint32_t limit_of(int32_t set, uint32_t configured)
{
        return set == CONTROL_UNSET ? configured : (uint32_t)set;
}

static void render_control(struct out *o, const struct queue_config *q,
                           const struct queue_control *c)
{
        out_text(o, "{");
        out_member(o, "name", q->name);
        out_name(o, "transport");
        if (q->transport.n) {
                out_string(o, q->transport);
        } else {
                out_text(o, "null");
        }
        out_bool(o, "paused", c->paused);
        put_limits(o, limit_of(c->concurrency, q->concurrency), limit_of(c->global, q->global));
        out_name(o, "configured");
        out_text(o, "{");
        put_limits(o, q->concurrency, q->global);
        out_text(o, "}");
        out_number(o, "max_waiting", q->max_waiting);
        out_member(o, "when_full",
                   q->when_full == FULL_DROP_OLDEST ? STR("drop_oldest") : STR("reject"));
        out_member(o, "order", q->order == ORDER_PRIORITY ? STR("priority") : STR("fifo"));
        out_text(o, "}");
}

static void answer_control(struct call *call, struct api_request *r)
{
        struct out o = {0};
        if (!call_batch_done(call, r, LEDGER_CONTROL)) {
                return;
        }
        const struct queue_control *c = &LEDGER_AS(control, CONTROL, r->batch)->control;
        const struct queue_config *q = queue_of(call, call->match.name);
        if (!q) { /* the configuration was reloaded meanwhile */
                refuse_queue(call);
                return;
        }
        render_control(&o, q, c);
        call_respond_json(call, 200, &o);
}

static int take_paused(struct taking *t, const struct field *f, json_t *v)
{
        struct ledger_control *c = CONTAINER_OF(t, struct control_taking, t)->control;
        (void)f;
        c->set |= CONTROL_PAUSED;
        c->control.paused = json_is_true(v);
        return 0;
}

static int take_limit(struct taking *t, const struct field *f, json_t *v)
{
        struct ledger_control *c = CONTAINER_OF(t, struct control_taking, t)->control;
        bool global = f - t->table == C_GLOBAL;
        bool fits = json_is_integer(v) && json_integer_value(v) >= 0 &&
                    json_integer_value(v) <= (global ? GLOBAL_MAX : CONCURRENCY_MAX);
        if (!fits && !json_is_null(v)) {
                return field_refuse(t, f);
        }
        int32_t limit = fits ? (int32_t)json_integer_value(v) : CONTROL_UNSET;
        c->set |= global ? CONTROL_GLOBAL : CONTROL_CONCURRENCY;
        *(global ? &c->control.global : &c->control.concurrency) = limit;
        return 0;
}

static const struct field control_table[] = {
    [C_PAUSED] = {"paused", FIELD_BOOL, FIELD_SHORT, "true or false", take_paused, NULL},
    [C_CONCURRENCY] = {"concurrency", FIELD_ANY, FIELD_SHORT,
                       "an integer from 0 (no limit) to 256, or null: as configured", take_limit,
                       NULL},
    [C_GLOBAL] = {"global", FIELD_ANY, FIELD_SHORT,
                  "an integer from 0 (no limit) to 1000000, or null: as configured", take_limit,
                  NULL},
    {0},
};

static bool take_control(struct call *call, struct ledger_control *c)
{
        struct control_taking t = {.control = c};
        if (!call_take_object(call, control_table,
                              "send what is to be set, as in {\"concurrency\":4,\"paused\":false}",
                              &call->arena, &t.t)) {
                return false;
        }
        if (c->set == 0) {
                call_refuse(call, PROBLEM_INVALID,
                            "the object is empty; write paused, concurrency or global");
                call->problem.allowed = "paused, concurrency, global";
                return false;
        }
        return true;
}

static bool fill_control(struct call *call, struct ledger_control *c)
{
        c->control = (struct queue_control){
            .queue = arena_str(&c->base.arena, call->match.name),
            .concurrency = CONTROL_UNSET,
            .global = CONTROL_UNSET,
        };
        if (call->match.route == ROUTE_QUEUE) {
                return take_control(call, c);
        }
        c->set = CONTROL_PAUSED;
        c->control.paused = call->match.route == ROUTE_QUEUE_PAUSE;
        return true;
}

static void set_control(struct call *call)
{
        if (!queue_of(call, call->match.name)) {
                refuse_queue(call);
                return;
        }
        struct ledger_batch *b = ledger_batch_new(LEDGER_CONTROL);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        if (!fill_control(call, LEDGER_AS(control, CONTROL, b))) {
                ledger_batch_free(b);
                return;
        }
        call->answered = answer_control;
        call_operate(call, b);
}

void queues_call(struct call *call)
{
        if (call->method == METHOD_GET) {
                show_queues(call);
        } else {
                set_control(call);
        }
}
