/*
 * Many jobs at once: what died, grouped by its error; requeue, purge and cancel by a filter. An
 * operation over everything must be asked for in so many words ("all"), and can be counted before
 * ("dry_run").
 */
#include <stdio.h>

#include "http/call.h"
#include "http/filter.h"
#include "http/operations.h"

#define DRY_RUN_MS   60000
#define RATE_MAX     1000000
#define LIMIT_MAX    INT64_C(1000000000000)
#define STOP_DEFAULT 200 /* of 1,000 */

#define BIT(state) (1u << STATE_##state)

/* What each route does, and to which jobs. */
static const struct verb {
        enum route route;
        enum bulk_kind kind;
        uint8_t states, fallback;
} verbs[] = {
    {ROUTE_DEAD_REQUEUE, BULK_REQUEUE, BIT(DEAD) | BIT(CANCELLED), BIT(DEAD)},
    {ROUTE_DEAD_PURGE, BULK_PURGE, BIT(DEAD) | BIT(CANCELLED) | BIT(COMPLETED), BIT(DEAD)},
    {ROUTE_JOBS_CANCEL, BULK_CANCEL, BIT(SCHEDULED) | BIT(PENDING) | BIT(RUNNING) | BIT(RETRYING),
     BIT(SCHEDULED) | BIT(PENDING) | BIT(RUNNING) | BIT(RETRYING)},
};

static const struct verb *verb_of(enum route route)
{
        const struct verb *v = verbs;
        while (v->route != route) {
                v++;
        }
        return v;
}

/* --- the body --------------------------------------------------------------------------------- */

enum bulk_field { B_FILTER, B_ALL, B_DRY_RUN, B_RATE, B_LIMIT, B_STOP_WHEN };

struct bulk_taking {
        struct taking t;
        const struct verb *verb;
        struct bulk_request *request;
        bool any, all, dry_run;
};

static struct bulk_taking *bulk_of(struct taking *t)
{
        return CONTAINER_OF(t, struct bulk_taking, t);
}

static int take_filter(struct taking *t, const struct field *f, const struct json_item *item)
{
        struct bulk_taking *b = bulk_of(t);
        (void)f;
        return filter_take(t, item->value, b->verb->states, b->verb->fallback, &b->request->filter,
                           &b->any);
}

static int take_flag(struct taking *t, const struct field *f, json_t *v)
{
        struct bulk_taking *b = bulk_of(t);
        *(f - t->table == B_ALL ? &b->all : &b->dry_run) = json_is_true(v);
        return 0;
}

static int take_rate(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > RATE_MAX) {
                return field_refuse(t, f);
        }
        bulk_of(t)->request->rate = (uint32_t)json_integer_value(v);
        return 0;
}

static int take_limit(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > LIMIT_MAX) {
                return field_refuse(t, f);
        }
        bulk_of(t)->request->limit = (uint64_t)json_integer_value(v);
        return 0;
}

static int take_stop(struct taking *t, const struct field *f, json_t *v)
{
        double share = json_number_value(v);
        if (!(share >= 0 && share <= 1)) {
                return field_refuse(t, f);
        }
        if (bulk_of(t)->verb->kind != BULK_REQUEUE) {
                return field_refuse_text(t, f,
                                         "stop_when: only a requeue can stop when jobs die again; "
                                         "leave it out");
        }
        bulk_of(t)->request->stop_permille = (uint16_t)(share * 1000 + 0.5);
        return 0;
}

static const struct field bulk_table[] = {
    [B_FILTER] = {"filter", FIELD_OBJECT, 65536,
                  "an object of state, type, queue, tag, error, fingerprint, since, before, "
                  "ended_before",
                  NULL, take_filter, true},
    [B_ALL] = {"all", FIELD_BOOL, FIELD_SHORT, "true or false", take_flag, NULL},
    [B_DRY_RUN] = {"dry_run", FIELD_BOOL, FIELD_SHORT, "true or false", take_flag, NULL},
    [B_RATE] = {"rate", FIELD_INTEGER, FIELD_SHORT, "jobs a second, an integer from 1 to 1000000",
                take_rate, NULL},
    [B_LIMIT] = {"limit", FIELD_INTEGER, FIELD_SHORT,
                 "how many jobs at most, an integer from 1 to 1000000000000", take_limit, NULL},
    [B_STOP_WHEN] = {"stop_when", FIELD_NUMBER, FIELD_SHORT,
                     "a share of those requeued that died again, from 0 (never) to 1", take_stop,
                     NULL},
    {0},
};

static bool take_bulk(struct call *call, struct api_request *r, bool *ret_dry_run)
{
        struct bulk_taking b = {.verb = verb_of(call->match.route), .request = r->bulk};
        *r->bulk = (struct bulk_request){
            .kind = b.verb->kind,
            .filter.states = b.verb->fallback,
            .stop_permille = b.verb->kind == BULK_REQUEUE ? STOP_DEFAULT : 0,
        };
        if (!call_take_object(call, bulk_table,
                              "send which jobs, as in {\"filter\":{\"queue\":\"email\"}}",
                              &r->arena, &b.t)) {
                return false;
        }
        if (!b.any && !b.all) {
                call_refuse(call, PROBLEM_INVALID,
                            "filter: missing or empty; say which jobs, or write \"all\":true for "
                            "every job of the states that this is for");
                snprintf(call->problem.field, sizeof call->problem.field, "filter");
                call->problem.allowed = bulk_table[B_FILTER].allowed;
                return false;
        }
        *ret_dry_run = b.dry_run;
        return true;
}

/* --- operations ------------------------------------------------------------------------------- */

static void answer_count(struct call *call, struct api_request *r)
{
        struct out o = {0};
        if (r->n_views == 0 || !r->views[0].over || r->views[0].note[0]) {
                operation_answer(call, r);
                return;
        }
        out_text(&o, "{");
        out_number(&o, "count", (int64_t)r->views[0].done);
        out_text(&o, "}");
        call_respond_json(call, 200, &o);
}

static void begin_operation(struct call *call)
{
        struct api_request *r = call_request(call, API_BULK);
        bool dry_run = false;
        if (!r) {
                return;
        }
        r->bulk = arena_zalloc(&r->arena, sizeof *r->bulk);
        if (!r->bulk) {
                call_out_of_memory(call);
        }
        if (!r->bulk || !take_bulk(call, r, &dry_run)) {
                request_free(r);
                return;
        }
        if (dry_run) {
                r->bulk->kind = BULK_COUNT;
                r->bulk->rate = 0;
                r->bulk->stop_permille = 0;
        }
        r->wait_ms = dry_run ? DRY_RUN_MS : call->wait_s * 1000;
        call->answered = dry_run ? answer_count : operation_answer;
        call_post(call, r);
}

/* --- groups ----------------------------------------------------------------------------------- */

static void put_group(struct out *o, const struct error_group *g)
{
        out_comma(o);
        out_text(o, "{");
        out_member(o, "queue", g->queue);
        out_member(o, "type", g->type);
        out_member(o, "error", str_of(error_class_name(g->error)));
        out_member(o, "reason", str_of(reason_name(g->reason)));
        out_fingerprint(o, g->fingerprint);
        out_number(o, "count", (int64_t)g->n);
        out_time(o, "first_at", g->first_us);
        out_time(o, "last_at", g->last_us);
        out_member(o, "text", g->text);
        out_id(o, "sample", &g->sample);
        out_text(o, "}");
}

static void answer_groups(struct call *call, struct api_request *r)
{
        struct out o = {0};
        if (!call_batch_done(call, r, LEDGER_GROUPS)) {
                return;
        }
        const struct ledger_groups *g = LEDGER_AS(groups, GROUPS, r->batch);
        out_text(&o, "{\"groups\":[");
        for (uint32_t i = 0; i < g->n; i++) {
                put_group(&o, &g->groups[i]);
        }
        out_text(&o, "]");
        out_bool(&o, "more", g->more);
        out_bool(&o, "partial", g->partial);
        out_text(&o, "}");
        call_respond_json(call, 200, &o);
}

static void list_groups(struct call *call)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_GROUPS);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        struct ledger_groups *g = LEDGER_AS(groups, GROUPS, b);
        g->limit = call->query.limit;
        if (!filter_of_query(&call->query, &b->arena, &g->filter)) {
                ledger_batch_free(b);
                call_out_of_memory(call);
                return;
        }
        call->answered = answer_groups;
        call_read(call, b);
}

void dead_call(struct call *call)
{
        if (call->match.route == ROUTE_DEAD_GROUPS) {
                list_groups(call);
        } else {
                begin_operation(call);
        }
}
