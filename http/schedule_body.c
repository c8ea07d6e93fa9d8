/*
 * The words of a schedule: checked here by core's own parsers, so that a mistake is told with its
 * place. Whether its zone exists is the daemon's to say, which has the files.
 */
#include <errno.h>
#include <stdio.h>

#include "core/rfc3339.h"
#include "core/schedule.h"
#include "http/render.h"
#include "http/schedule.h"

#define CATCH_MAX_DEFAULT 100

enum schedule_field { S_CRON, S_ZONE, S_CATCH_UP, S_CATCH_MAX, S_OVERLAP, S_PAUSED, S_JOB };
enum preview_field { P_CRON, P_ZONE, P_N };

struct schedule_taking {
        struct taking t;
        struct plan *plan;
};

static struct plan *plan_of(struct taking *t)
{
        return CONTAINER_OF(t, struct schedule_taking, t)->plan;
}

static int take_cron(struct taking *t, const struct field *f, json_t *v)
{
        char note[CRON_NOTE_MAX];
        if (cron_parse(json_str(v), &plan_of(t)->cron, note, sizeof note)) {
                return field_refuse_text(t, f, "cron: %s", note);
        }
        plan_of(t)->readable = true;
        return object_keep(t, json_str(v), &plan_of(t)->row.spec);
}

static int take_zone(struct taking *t, const struct field *f, json_t *v)
{
        struct str s = json_str(v);
        return s.n == 0 || zone_name_valid(s) ? object_keep(t, s, &plan_of(t)->row.zone)
                                              : field_refuse(t, f);
}

static int take_catch_up(struct taking *t, const struct field *f, json_t *v)
{
        return catch_up_parse(json_str(v), &plan_of(t)->row.catch_up) ? 0 : field_refuse(t, f);
}

static int take_catch_max(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 1 ||
            json_integer_value(v) > SCHEDULE_CATCH_MAX) {
                return field_refuse(t, f);
        }
        plan_of(t)->row.catch_max = (uint32_t)json_integer_value(v);
        return 0;
}

static int take_overlap(struct taking *t, const struct field *f, json_t *v)
{
        return overlap_parse(json_str(v), &plan_of(t)->row.overlap) ? 0 : field_refuse(t, f);
}

static int take_paused(struct taking *t, const struct field *f, json_t *v)
{
        (void)f;
        plan_of(t)->row.paused = json_is_true(v);
        return 0;
}

static int take_job(struct taking *t, const struct field *f, const struct json_item *item)
{
        (void)f;
        return fields_parse_tick(t, item->value, &plan_of(t)->row.job);
}

static int take_n(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 1 ||
            json_integer_value(v) > PREVIEW_NEXT_MAX) {
                return field_refuse(t, f);
        }
        plan_of(t)->n = (uint32_t)json_integer_value(v);
        return 0;
}

static const struct field schedule_table[] = {
    [S_CRON] = {"cron", FIELD_STRING, FIELD_SHORT, CRON_ALLOWED, take_cron, NULL},
    [S_ZONE] = {"zone", FIELD_STRING, FIELD_SHORT, ZONE_ALLOWED, take_zone, NULL},
    [S_CATCH_UP] = {"catch_up", FIELD_STRING, FIELD_SHORT, "none, last or all", take_catch_up,
                    NULL},
    [S_CATCH_MAX] = {"catch_max", FIELD_INTEGER, FIELD_SHORT, "an integer from 1 to 1000",
                     take_catch_max, NULL},
    [S_OVERLAP] = {"overlap", FIELD_STRING, FIELD_SHORT, "allow, skip, buffer or cancel",
                   take_overlap, NULL},
    [S_PAUSED] = {"paused", FIELD_BOOL, FIELD_SHORT, "true or false", take_paused, NULL},
    [S_JOB] = {"job", FIELD_OBJECT, FIELD_LARGE,
               "the job that each run makes, as in {\"type\":\"report\",\"payload\":{}}", NULL,
               take_job, true},
    {0},
};

static const struct field preview_table[] = {
    [P_CRON] = {"cron", FIELD_STRING, FIELD_SHORT, CRON_ALLOWED, take_cron, NULL},
    [P_ZONE] = {"zone", FIELD_STRING, FIELD_SHORT, ZONE_ALLOWED, take_zone, NULL},
    [P_N] = {"n", FIELD_INTEGER, FIELD_SHORT, "an integer from 1 to 100", take_n, NULL},
    {0},
};

static bool needed(struct call *call, struct taking *t, unsigned index)
{
        if (!object_has(t, index)) {
                field_missing(t, &t->table[index]);
                call->failed = true;
        }
        return !call->failed;
}

bool schedule_take(struct call *call, struct plan *plan)
{
        struct schedule_taking s = {.plan = plan};
        plan->row = (struct schedule_row){.zone = STR(""),
                                          .catch_up = CATCH_LAST,
                                          .overlap = OVERLAP_ALLOW,
                                          .catch_max = CATCH_MAX_DEFAULT};
        return call_take_object(call, schedule_table,
                                "send {\"cron\":\"30 4 * * *\",\"job\":{\"type\":\"report\"}}",
                                &call->arena, &s.t) &&
               needed(call, &s.t, S_CRON) && needed(call, &s.t, S_JOB);
}

bool preview_take(struct call *call, struct plan *plan)
{
        struct schedule_taking s = {.plan = plan};
        plan->n = SCHEDULE_NEXT;
        plan->row.zone = STR("");
        return call_take_object(call, preview_table,
                                "send {\"cron\":\"30 4 * * *\",\"zone\":\"Europe/Berlin\"}",
                                &call->arena, &s.t) &&
               needed(call, &s.t, P_CRON);
}

/* --- rows ------------------------------------------------------------------------------------- */

bool schedule_copy(struct arena *a, const struct schedule_row *from, struct schedule_row *to)
{
        *to = *from;
        struct str *texts[] = {
            &to->name,     &to->spec,         &to->zone,        &to->job.queue,
            &to->job.type, &to->job.key_text, &to->job.headers, &to->job.content_type,
            &to->job.tags, &to->job.payload,  &to->job.policy,  &to->job.error_text,
        };
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = arena_str(a, *texts[i]);
                if (!texts[i]->p) {
                        return false;
                }
        }
        return true;
}

void schedule_render_times(struct out *o, const struct plan *plan, int64_t first_us, uint32_t n)
{
        int64_t at = first_us;
        out_text(o, "[");
        for (uint32_t i = 0; i < n && at > 0; i++) {
                char text[RFC3339_TEXT];
                rfc3339_text(at, text);
                out_string(o, str_of(text));
                at = cron_next(&plan->cron, plan->zone, at, at);
        }
        out_text(o, "]");
}

static void put_next(struct out *o, const struct plan *plan, int64_t now_us)
{
        int64_t first = plan->row.next_us;
        if (first && first <= now_us) { /* paused, or made at any moment */
                first = cron_next(&plan->cron, plan->zone, first, now_us);
        }
        out_name(o, "next");
        schedule_render_times(o, plan, first, SCHEDULE_NEXT);
}

static void put_moment(struct out *o, const char *name, int64_t wall_us)
{
        if (wall_us) {
                out_time(o, name, wall_us);
        }
}

void schedule_render(struct out *o, const struct plan *plan, int64_t now_us, bool next)
{
        static const struct job_id none;
        const struct schedule_row *s = &plan->row;
        out_comma(o);
        out_text(o, "{");
        out_member(o, "name", s->name);
        out_member(o, "cron", s->spec);
        out_member(o, "zone", s->zone.n ? s->zone : STR("UTC"));
        out_member(o, "catch_up", str_of(catch_up_name(s->catch_up)));
        out_number(o, "catch_max", s->catch_max);
        out_member(o, "overlap", str_of(overlap_name(s->overlap)));
        out_bool(o, "paused", s->paused);
        out_bool(o, "from_config", s->from_config);
        put_moment(o, "created_at", s->created_us);
        put_moment(o, "next_at", s->next_us);
        put_moment(o, "last_at", s->last_us);
        put_moment(o, "buffered_at", s->buffered_us);
        if (!job_id_eq(&s->last_job, &none)) {
                out_id(o, "last_job", &s->last_job);
        }
        if (s->last_state != STATE_NONE && !job_id_eq(&s->last_job, &none)) {
                out_member(o, "last_state", str_of(state_name(s->last_state)));
        }
        out_number(o, "revision", (int64_t)s->revision);
        if (next) {
                put_next(o, plan, now_us);
        }
        out_name(o, "job");
        render_template(o, &s->job);
        out_text(o, "}");
}
