/*
 * Filters from JSON and from queries. A filter that is not understood must never become one that
 * fits more: so every member is checked, and one that is not known is refused.
 */
#include "http/filter.h"

#include <errno.h>
#include <stdio.h>

#include "core/pattern.h"
#include "core/rfc3339.h"
#include "http/fields.h"

enum filter_field {
        F_STATE,
        F_TYPE,
        F_QUEUE,
        F_TAG,
        F_ERROR,
        F_FINGERPRINT,
        F_SINCE,
        F_BEFORE,
        F_ENDED_BEFORE,
};

struct filter_taking {
        struct taking t;
        struct job_filter filter;
        uint8_t states;
};

static struct filter_taking *filter_of(struct taking *t)
{
        return CONTAINER_OF(t, struct filter_taking, t);
}

/* "dead, cancelled" */
static void list_states(uint8_t states, char *ret_text, size_t size)
{
        size_t at = 0;
        for (unsigned s = 0; s < JOB_STATE_COUNT && at < size; s++) {
                if (states >> s & 1) {
                        at += (size_t)snprintf(ret_text + at, size - at, "%s%s", at ? ", " : "",
                                               state_name((enum job_state)s));
                }
        }
}

static bool add_state(struct filter_taking *f, const json_t *v)
{
        enum job_state s;
        if (!json_is_string(v) || !state_parse(json_str(v), &s) || s >= JOB_STATE_COUNT ||
            !(f->states >> s & 1)) {
                return false;
        }
        f->filter.states |= (uint8_t)(1u << s);
        return true;
}

static int take_state(struct taking *t, const struct field *f, json_t *v)
{
        struct filter_taking *filter = filter_of(t);
        bool fits = json_is_array(v) ? json_array_size(v) > 0 : add_state(filter, v);
        for (size_t i = 0; fits && i < json_array_size(v); i++) {
                fits = add_state(filter, json_array_get(v, i));
        }
        if (fits) {
                return 0;
        }
        char quoted[QUOTE_TEXT], names[96];
        list_states(filter->states, names, sizeof names);
        field_refuse_text(t, f,
                          "state: %s is not allowed here; write one of %s, or an array of them",
                          quote_text(t->raw, quoted), names);
        snprintf(t->problem->allowed_text, sizeof t->problem->allowed_text, "%s", names);
        return OBJECT_REFUSED;
}

static int take_type(struct taking *t, const struct field *f, json_t *v)
{
        return pattern_valid(json_str(v)) ? object_keep(t, json_str(v), &filter_of(t)->filter.type)
                                          : field_refuse(t, f);
}

static int take_queue(struct taking *t, const struct field *f, json_t *v)
{
        struct str s = json_str(v);
        return s.n >= 1 && s.n <= 255 ? object_keep(t, s, &filter_of(t)->filter.queue)
                                      : field_refuse(t, f);
}

static int take_tag(struct taking *t, const struct field *f, json_t *v)
{
        struct str s = json_str(v);
        return s.n >= 1 && s.n <= TAG_MAX && !memchr(s.p, ',', s.n)
                   ? object_keep(t, s, &filter_of(t)->filter.tag)
                   : field_refuse(t, f);
}

static int take_error(struct taking *t, const struct field *f, json_t *v)
{
        return error_class_parse(json_str(v), &filter_of(t)->filter.error) ? 0 : field_refuse(t, f);
}

static int take_fingerprint(struct taking *t, const struct field *f, json_t *v)
{
        return fingerprint_parse(json_str(v), &filter_of(t)->filter.fingerprint)
                   ? 0
                   : field_refuse(t, f);
}

static int take_time(struct taking *t, const struct field *f, json_t *v)
{
        struct job_filter *filter = &filter_of(t)->filter;
        int64_t *to = f - t->table == F_SINCE    ? &filter->since_us
                      : f - t->table == F_BEFORE ? &filter->before_us
                                                 : &filter->ended_before_us;
        return rfc3339_parse(json_str(v), to) && *to > 0 ? 0 : field_refuse(t, f);
}

static const struct field filter_table[] = {
    [F_STATE] = {"state", FIELD_ANY, FIELD_SHORT, "a state, or an array of states", take_state,
                 NULL},
    [F_TYPE] = {"type", FIELD_STRING, FIELD_SHORT, "a job type, or a pattern as in \"email.*\"",
                take_type, NULL},
    [F_QUEUE] = {"queue", FIELD_STRING, FIELD_SHORT, "the name of a queue, as a string", take_queue,
                 NULL},
    [F_TAG] = {"tag", FIELD_STRING, FIELD_SHORT, "one tag as a string, without commas", take_tag,
               NULL},
    [F_ERROR] = {"error", FIELD_STRING, FIELD_SHORT, ERROR_CLASSES_ALLOWED, take_error, NULL},
    [F_FINGERPRINT] = {"fingerprint", FIELD_STRING, FIELD_SHORT, FINGERPRINT_ALLOWED,
                       take_fingerprint, NULL},
    [F_SINCE] = {"since", FIELD_STRING, FIELD_SHORT, TIME_TEXT, take_time, NULL},
    [F_BEFORE] = {"before", FIELD_STRING, FIELD_SHORT, TIME_TEXT, take_time, NULL},
    [F_ENDED_BEFORE] = {"ended_before", FIELD_STRING, FIELD_SHORT, TIME_TEXT, take_time, NULL},
    {0},
};

int filter_take(const struct taking *outer, struct str object, uint8_t states, uint8_t fallback,
                struct job_filter *ret, bool *ret_any)
{
        struct filter_taking f = {.states = states};
        object_inner(outer, "filter.", &f.t);
        f.t.table = filter_table;
        f.t.example = "a filter is an object, as in {\"queue\":\"email\",\"error\":\"crashed\"}";
        int r = object_take(&f.t, object);
        if (r) {
                return r;
        }
        if (f.filter.states == 0) {
                f.filter.states = fallback;
        }
        *ret = f.filter;
        *ret_any = f.t.seen != 0;
        return 0;
}

bool filter_of_query(const struct query *q, struct arena *a, struct job_filter *ret)
{
        *ret = (struct job_filter){
            .type = arena_str(a, q->type),
            .queue = arena_str(a, q->queue),
            .tag = arena_str(a, q->tag),
            .error = q->error,
            .fingerprint = q->fingerprint,
            .since_us = q->since_us,
            .before_us = q->before_us,
            .ended_before_us = q->ended_before_us,
        };
        return ret->type.p && ret->queue.p && ret->tag.p;
}
