/*
 * Questions to the node itself and about its neighbours: why a job does not run, what brokers lost,
 * which nodes there are, how many workers this one has.
 */
#include <stdio.h>

#include "http/call.h"

#define WORKERS_MAX 256

/* --- nodes ------------------------------------------------------------------------------------ */

/* One text a line, as an array. */
static void put_lines(struct out *o, const char *name, struct str lines)
{
        out_name(o, name);
        out_text(o, "[");
        for (uint32_t i = 0; i < lines.n;) {
                const char *end = memchr(lines.p + i, '\n', lines.n - i);
                uint32_t n = end ? (uint32_t)(end - lines.p) - i : lines.n - i;
                if (n) {
                        out_string(o, (struct str){lines.p + i, n});
                }
                i += n + 1;
        }
        out_text(o, "]");
}

static void put_node(struct out *o, const struct node_row *n, uint64_t self)
{
        char holder[20];
        snprintf(holder, sizeof holder, "%016llx", (unsigned long long)n->holder);
        out_comma(o);
        out_text(o, "{");
        out_member(o, "holder", str_of(holder));
        out_member(o, "host", n->host);
        out_member(o, "version", n->version);
        out_number(o, "pid", n->pid);
        out_number(o, "workers", n->workers);
        put_lines(o, "serves", n->serves);
        put_lines(o, "queues", n->queues);
        out_time(o, "registered_at", n->registered_us);
        out_time(o, "beat_at", n->beat_us);
        out_bool(o, "dead", n->dead);
        out_bool(o, "self", n->holder == self);
        out_text(o, "}");
}

static void answer_nodes(struct call *call, struct api_request *r)
{
        struct out o = {0};
        if (!call_batch_done(call, r, LEDGER_NODES)) {
                return;
        }
        const struct ledger_nodes *nodes = LEDGER_AS(nodes, NODES, r->batch);
        out_text(&o, "{\"nodes\":[");
        for (uint32_t i = 0; i < nodes->n; i++) {
                put_node(&o, &nodes->rows[i], r->holder);
        }
        out_text(&o, "]}");
        call_respond_json(call, 200, &o);
}

static void list_nodes(struct call *call)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_NODES);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        call->answered = answer_nodes;
        call_read(call, b);
}

/* --- what the daemon says as text ------------------------------------------------------------- */

static void answer_text(struct call *call, struct api_request *r)
{
        if (r->status == 404) {
                call_no_job(call);
        } else {
                call_respond_text(call, 200, r);
        }
}

static void ask(struct call *call, enum api_kind kind, uint32_t workers)
{
        struct api_request *r = call_request(call, kind);
        if (r) {
                r->id = call->match.id;
                r->workers = workers;
                call->answered = answer_text;
                call_post(call, r);
        }
}

/* --- workers ---------------------------------------------------------------------------------- */

struct workers_taking {
        struct taking t;
        uint32_t workers;
};

static int take_workers(struct taking *t, const struct field *f, json_t *v)
{
        bool fits = json_is_integer(v) && json_integer_value(v) >= 1 &&
                    json_integer_value(v) <= WORKERS_MAX;
        if (!fits && !json_is_null(v)) {
                return field_refuse(t, f);
        }
        CONTAINER_OF(t, struct workers_taking, t)->workers =
            fits ? (uint32_t)json_integer_value(v) : 0;
        return 0;
}

static const struct field workers_table[] = {
    {"workers", FIELD_ANY, FIELD_SHORT, "an integer from 1 to 256, or null: as configured",
     take_workers, NULL},
    {0},
};

static void resize(struct call *call)
{
        struct workers_taking w = {0};
        if (!call_take_object(call, workers_table, "send {\"workers\":4}", &call->arena, &w.t)) {
                return;
        }
        if (!object_has(&w.t, 0)) {
                field_missing(&w.t, &workers_table[0]);
                call->failed = true;
                return;
        }
        ask(call, API_RESIZE, w.workers);
}

void nodes_call(struct call *call)
{
        switch (call->match.route) {
        case ROUTE_EXPLAIN: ask(call, API_EXPLAIN, 0); break;
        case ROUTE_RECONCILE: ask(call, API_RECONCILE, 0); break;
        case ROUTE_NODES: list_nodes(call); break;
        default:
                if (call->method == METHOD_GET) {
                        ask(call, API_WORKERS, 0);
                } else {
                        resize(call);
                }
                break;
        }
}
