/*
 * /v1/schedules. A change is read, judge, write: what stands is read first, and the write names the
 * revision that it was judged by, so that two changes at once do not undo each other; the loser
 * reads again. Next runs are computed here by core/cron; ticks are the engine's.
 *
 *   PUT             read → zone → write           GET one   read → zone
 *   pause, resume   read → zone → write           DELETE    read → write
 *   run             read → run → show the job     preview   zone
 */
#include <stdio.h>

#include "core/schedule.h"
#include "http/render.h"
#include "http/schedule.h"

#define TRIES_MAX 5

static struct plan *new_plan(struct call *call)
{
        struct plan *plan = arena_zalloc(&call->arena, sizeof *plan);
        if (!plan) {
                call_out_of_memory(call);
        }
        call->plan = plan;
        return plan;
}

static void refuse_name(struct call *call)
{
        char quoted[QUOTE_TEXT];
        call_refuse(call, PROBLEM_NOT_FOUND, "no schedule is called \"%s\"",
                    quote_text(call->match.name, quoted));
}

static void respond(struct call *call, unsigned status)
{
        struct plan *plan = call->plan;
        struct out o = {0};
        schedule_render(&o, plan, now_wall_us(), plan->zone && plan->readable);
        call_respond_json(call, status, &o);
}

/* --- the zone --------------------------------------------------------------------------------- */

static void answer_zone(struct call *call, struct api_request *r)
{
        struct plan *plan = call->plan;
        plan->zone = r->zone;
        plan->then(call);
}

/* Goes on with `then` when plan->zone is known; it may be NULL then: there is none of the name. */
static void with_zone(struct call *call, void (*then)(struct call *call))
{
        struct plan *plan = call->plan;
        plan->then = then;
        if (plan->row.zone.n == 0 || str_eq(plan->row.zone, STR("UTC"))) {
                plan->zone = zone_utc();
        }
        if (plan->zone) {
                then(call);
                return;
        }
        struct api_request *r = call_request(call, API_ZONE);
        if (r) {
                r->name = arena_str(&r->arena, plan->row.zone);
                call->answered = answer_zone;
                call_post(call, r);
        }
}

/* false, with the problem. */
static bool zone_known(struct call *call)
{
        const struct plan *plan = call->plan;
        char quoted[QUOTE_TEXT];
        if (!plan->zone) {
                call_refuse(call, PROBLEM_INVALID,
                            "zone: \"%s\" is not a time zone that this node knows; write a name of "
                            "its zoneinfo, as in \"Europe/Berlin\", or leave it out: UTC",
                            quote_text(plan->row.zone, quoted));
                snprintf(call->problem.field, sizeof call->problem.field, "zone");
                call->problem.allowed = ZONE_ALLOWED;
        }
        return plan->zone != NULL;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void read_schedules(struct call *call, struct str name,
                           void (*answered)(struct call *call, struct api_request *r))
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_SCHEDULES);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        struct ledger_schedules *s = LEDGER_AS(schedules, SCHEDULES, b);
        s->name = arena_str(&b->arena, name);
        s->after = arena_str(&b->arena, call->query.after);
        s->limit = name.n ? 1 : call->query.limit;
        call->answered = answered;
        call_read(call, b);
}

/* What stands under the name of the path. NULL: nothing, or the ledger did not answer: then the
 * call has failed. */
static const struct schedule_row *row_read(struct call *call, struct api_request *r)
{
        if (!call_batch_done(call, r, LEDGER_SCHEDULES)) {
                return NULL;
        }
        const struct ledger_schedules *s = LEDGER_AS(schedules, SCHEDULES, r->batch);
        return s->n && str_eq(s->rows[0].name, call->match.name) ? &s->rows[0] : NULL;
}

/* The same, kept as the plan. false, with the problem. */
static bool plan_read(struct call *call, struct api_request *r)
{
        struct plan *plan = call->plan;
        char note[CRON_NOTE_MAX];
        const struct schedule_row *row = row_read(call, r);
        if (!row) {
                if (!call->failed) {
                        refuse_name(call);
                }
                return false;
        }
        if (!schedule_copy(&call->arena, row, &plan->row)) {
                call_out_of_memory(call);
                return false;
        }
        plan->readable = cron_parse(plan->row.spec, &plan->cron, note, sizeof note) == 0;
        return true;
}

static void answer_list(struct call *call, struct api_request *r)
{
        struct out o = {0};
        struct plan shown = {0};
        if (!call_batch_done(call, r, LEDGER_SCHEDULES)) {
                return;
        }
        const struct ledger_schedules *s = LEDGER_AS(schedules, SCHEDULES, r->batch);
        out_text(&o, "{\"schedules\":[");
        for (uint32_t i = 0; i < s->n; i++) {
                shown.row = s->rows[i];
                schedule_render(&o, &shown, 0, false);
        }
        out_text(&o, "]");
        if (s->more && s->n) {
                struct out link = {0};
                struct str last = s->rows[s->n - 1].name;
                out_member(&o, "next", last);
                percent_encode(&link, last);
                if (!link.failed) {
                        call_header(call, "Link",
                                    "</v1/schedules?limit=%u&after=%.*s>; rel=\"next\"",
                                    call->query.limit, (int)link.n, link.p);
                }
                out_deinit(&link);
        }
        out_text(&o, "}");
        call_respond_json(call, 200, &o);
}

static void respond_shown(struct call *call)
{
        respond(call, 200);
}

static void answer_show(struct call *call, struct api_request *r)
{
        if (plan_read(call, r)) {
                with_zone(call, respond_shown);
        }
}

/* --- writing ---------------------------------------------------------------------------------- */

static void begin(struct call *call);

static void answer_write(struct call *call, struct api_request *r)
{
        struct plan *plan = call->plan;
        if (!call_batch_done(call, r, LEDGER_SCHEDULE)) {
                return;
        }
        struct ledger_schedule *s = LEDGER_AS(schedule, SCHEDULE, r->batch);
        if (!s->done && ++plan->tries < TRIES_MAX) {
                begin(call);
        } else if (!s->done) {
                call_refuse(call, PROBLEM_NOT_NOW,
                            "others keep changing this schedule; repeat the request");
        } else if (s->drop) {
                plan->zone = NULL; /* nothing follows any more */
                respond(call, 200);
        } else if (!schedule_copy(&call->arena, &s->row, &plan->row)) {
                call_out_of_memory(call);
        } else {
                respond(call, s->found ? 200 : 201);
        }
}

/* The plan's row in place of what stood under `expected`. */
static void write_row(struct call *call, uint64_t expected, bool drop)
{
        const struct plan *plan = call->plan;
        struct ledger_batch *b = ledger_batch_new(LEDGER_SCHEDULE);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        struct ledger_schedule *s = LEDGER_AS(schedule, SCHEDULE, b);
        s->drop = drop;
        s->expected = expected;
        if (!schedule_copy(&b->arena, &plan->row, &s->row)) {
                ledger_batch_free(b);
                call_out_of_memory(call);
                return;
        }
        call->answered = answer_write;
        call_operate(call, b);
}

static bool from_config(struct call *call, const struct schedule_row *row)
{
        if (row->from_config && !call->query.force) {
                call_refuse(
                    call, PROBLEM_FROM_CONFIG,
                    "this schedule comes from the configuration; change it there, or repeat "
                    "the request with ?force=true: that holds until the configuration is "
                    "read again");
                return true;
        }
        return false;
}

static void put_row(struct call *call)
{
        struct plan *plan = call->plan;
        struct schedule_row *row = &plan->row;
        char quoted[QUOTE_TEXT];
        int64_t now = now_wall_us();
        if (!zone_known(call)) {
                return;
        }
        if (row->next_us == 0) {
                row->next_us = cron_next(&plan->cron, plan->zone, now, now);
        }
        if (row->next_us == 0) {
                call_refuse(call, PROBLEM_INVALID,
                            "cron: \"%s\" has no date within 28 years, so it would never run",
                            quote_text(row->spec, quoted));
                snprintf(call->problem.field, sizeof call->problem.field, "cron");
                call->problem.allowed = CRON_ALLOWED;
                return;
        }
        write_row(call, row->revision, false);
}

/* What stands gives the new row its revision, and its next run when that stays the same. */
static void answer_before_put(struct call *call, struct api_request *r)
{
        struct plan *plan = call->plan;
        const struct schedule_row *was = row_read(call, r);
        if (call->failed || (was && from_config(call, was))) {
                return;
        }
        plan->row.revision = was ? was->revision : 0;
        plan->row.next_us = 0;
        if (was && str_eq(was->spec, plan->row.spec) && str_eq(was->zone, plan->row.zone) &&
            was->next_us > now_wall_us()) {
                plan->row.next_us = was->next_us;
        }
        with_zone(call, put_row);
}

static void answer_before_drop(struct call *call, struct api_request *r)
{
        struct plan *plan = call->plan;
        if (plan_read(call, r) && !from_config(call, &plan->row)) {
                write_row(call, plan->row.revision, true);
        }
}

/* A schedule that goes on goes on from now: what a pause passed over was not missed. */
static void pause_row(struct call *call)
{
        struct plan *plan = call->plan;
        bool paused = call->match.route == ROUTE_SCHEDULE_PAUSE;
        int64_t now = now_wall_us();
        if (plan->row.paused == paused) {
                respond(call, 200);
                return;
        }
        if (!paused && !plan->readable) {
                call_refuse(call, PROBLEM_NOT_NOW, "its expression cannot be read by this skepd");
                return;
        }
        if (!paused && !zone_known(call)) {
                return;
        }
        if (!paused && plan->row.next_us <= now) {
                plan->row.next_us = cron_next(&plan->cron, plan->zone, plan->row.next_us, now);
        }
        plan->row.paused = paused;
        write_row(call, plan->row.revision, false);
}

static void answer_before_pause(struct call *call, struct api_request *r)
{
        if (plan_read(call, r)) {
                with_zone(call, pause_row);
        }
}

/* --- running once ----------------------------------------------------------------------------- */

static void answer_made(struct call *call, struct api_request *r)
{
        struct out o = {0};
        if (!call_batch_done(call, r, LEDGER_SHOW)) {
                return;
        }
        const struct ledger_show *show = LEDGER_AS(show, SHOW, r->batch);
        if (!show->found) {
                call_refuse(call, PROBLEM_NOT_NOW, "its job ended and is gone already");
                return;
        }
        render_job(&o, &show->row);
        call_respond_json(call, 201, &o);
}

static void answer_ran(struct call *call, struct api_request *r)
{
        static const struct job_id none;
        char id[JOB_ID_TEXT];
        if (job_id_eq(&r->id, &none)) {
                call_refuse(call, PROBLEM_NOT_NOW, "it was not run: %s",
                            r->note[0] ? r->note : "try again");
                return;
        }
        id_text(&r->id, id);
        call_header(call, "Location", "/v1/jobs/%s", id);
        struct ledger_batch *b = ledger_batch_new(LEDGER_SHOW);
        if (!b) {
                call_out_of_memory(call);
                return;
        }
        LEDGER_AS(show, SHOW, b)->id = r->id;
        call->answered = answer_made;
        call_read(call, b);
}

static void answer_before_run(struct call *call, struct api_request *r)
{
        if (!row_read(call, r)) {
                if (!call->failed) {
                        refuse_name(call);
                }
                return;
        }
        struct api_request *run = call_request(call, API_RUN_SCHEDULE);
        if (run) {
                run->name = arena_str(&run->arena, call->match.name);
                call->answered = answer_ran;
                call_post(call, run);
        }
}

/* --- previews --------------------------------------------------------------------------------- */

static void respond_preview(struct call *call)
{
        const struct plan *plan = call->plan;
        struct out o = {0};
        int64_t now = now_wall_us();
        if (!zone_known(call)) {
                return;
        }
        out_text(&o, "{\"next\":");
        schedule_render_times(&o, plan, cron_next(&plan->cron, plan->zone, now, now), plan->n);
        out_text(&o, "}");
        call_respond_json(call, 200, &o);
}

/* --- routes ----------------------------------------------------------------------------------- */

/* Reads what stands, then goes on by route and method; again when another was faster. */
static void begin(struct call *call)
{
        void (*answered)(struct call * call, struct api_request * r) = answer_before_pause;
        if (call->match.route == ROUTE_SCHEDULE_RUN) {
                answered = answer_before_run;
        } else if (call->match.route == ROUTE_SCHEDULE) {
                answered = call->method == METHOD_PUT      ? answer_before_put
                           : call->method == METHOD_DELETE ? answer_before_drop
                                                           : answer_show;
        }
        read_schedules(call, call->match.name, answered);
}

static void begin_put(struct call *call)
{
        struct plan *plan = call->plan;
        char quoted[QUOTE_TEXT];
        if (!schedule_name_valid(call->match.name)) {
                call_refuse(call, PROBLEM_INVALID,
                            "name: \"%s\" is not allowed; write 1 to 128 letters, digits, '.', '_' "
                            "and '-', the first of them no '.' and no '-'",
                            quote_text(call->match.name, quoted));
                snprintf(call->problem.field, sizeof call->problem.field, "name");
                return;
        }
        if (schedule_take(call, plan)) {
                plan->row.name = call->match.name;
                begin(call);
        }
}

void schedules_call(struct call *call)
{
        struct plan *plan = new_plan(call);
        if (!plan) {
                return;
        }
        if (call->match.route == ROUTE_SCHEDULES) {
                read_schedules(call, (struct str){0}, answer_list);
        } else if (call->match.route == ROUTE_PREVIEW) {
                if (preview_take(call, plan)) {
                        with_zone(call, respond_preview);
                }
        } else if (call->method == METHOD_PUT) {
                begin_put(call);
        } else {
                begin(call);
        }
}
