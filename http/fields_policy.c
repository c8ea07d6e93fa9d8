/*
 * The fields of a job that core reads as texts: its retry policy and its unique key. Each may be
 * given as JSON too (an object, an array); that is turned into the text, so that core alone judges
 * it.
 */
#include <errno.h>
#include <stdio.h>

#include "core/retry.h"
#include "http/fields_table.h"

#define DELAY_MAX_MS (INT64_C(3660) * 86400000)

/* --- retry ------------------------------------------------------------------------------------ */

enum retry_index { R_BACKOFF, R_BASE, R_CAP, R_JITTER, R_ATTEMPTS, R_FOR, R_TABLE };

struct retry_taking {
        struct taking t;
        enum backoff backoff;
        size_t n;
        char text[RETRY_TEXT_MAX + 1];
};

static struct retry_taking *retry_of(struct taking *t)
{
        return CONTAINER_OF(t, struct retry_taking, t);
}

__attribute__((format(printf, 2, 3))) static void add_word(struct retry_taking *r, const char *fmt,
                                                           ...)
{
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(r->text + r->n, sizeof r->text - r->n, fmt, ap);
        va_end(ap);
        r->n += (size_t)n < sizeof r->text - r->n ? (size_t)n : sizeof r->text - 1 - r->n;
}

static int take_backoff(struct taking *t, const struct field *f, json_t *v)
{
        if (!backoff_parse(json_str(v), &retry_of(t)->backoff)) {
                return field_refuse(t, f);
        }
        if (retry_of(t)->backoff != BACKOFF_TABLE) {
                add_word(retry_of(t), " %s", json_string_value(v));
        }
        return 0;
}

static int take_duration(struct taking *t, const struct field *f, json_t *v)
{
        int64_t ms;
        if (!duration_parse(json_str(v), &ms) || ms < 0) {
                return field_refuse(t, f);
        }
        add_word(retry_of(t), " %s=%s", f->name, json_string_value(v));
        return 0;
}

static int take_jitter(struct taking *t, const struct field *f, json_t *v)
{
        double share = json_number_value(v);
        if (!(share >= 0 && share <= 1)) {
                return field_refuse(t, f);
        }
        unsigned permille = (unsigned)(share * 1000 + 0.5);
        add_word(retry_of(t), " jitter=%u.%03u", permille / 1000, permille % 1000);
        return 0;
}

static int take_attempts(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 1 ||
            json_integer_value(v) > RETRY_ATTEMPTS_MAX) {
                return field_refuse(t, f);
        }
        add_word(retry_of(t), " attempts=%d", (int)json_integer_value(v));
        return 0;
}

static int take_table(struct taking *t, const struct field *f, json_t *v)
{
        size_t n = json_array_size(v);
        bool fits = n >= 1 && n <= RETRY_TABLE_MAX;
        for (size_t i = 0; fits && i < n; i++) {
                const json_t *one = json_array_get(v, i);
                int64_t ms;
                fits = json_is_string(one) && duration_parse(json_str(one), &ms) && ms >= 0;
                if (fits) {
                        add_word(retry_of(t), "%s%s", i ? "," : " table=", json_string_value(one));
                }
        }
        return fits ? 0 : field_refuse(t, f);
}

static const struct field retry_table[] = {
    [R_BACKOFF] = {"backoff", FIELD_STRING, FIELD_SHORT, "exponential, linear, fixed or table",
                   take_backoff, NULL},
    [R_BASE] = {"base", FIELD_STRING, FIELD_SHORT, "a duration, as in " DURATIONS, take_duration,
                NULL},
    [R_CAP] = {"cap", FIELD_STRING, FIELD_SHORT, "a duration, as in " DURATIONS, take_duration,
               NULL},
    [R_JITTER] = {"jitter", FIELD_NUMBER, FIELD_SHORT, "a number from 0 to 1", take_jitter, NULL},
    [R_ATTEMPTS] = {"attempts", FIELD_INTEGER, FIELD_SHORT,
                    "an integer from 1 to 1000, the first attempt included", take_attempts, NULL},
    [R_FOR] = {"for", FIELD_STRING, FIELD_SHORT, "a duration, as in " DURATIONS, take_duration,
               NULL},
    [R_TABLE] = {"table", FIELD_ARRAY, FIELD_SHORT,
                 "an array of 1 to 16 durations, as in [\"1s\",\"10s\",\"2m\"]", take_table, NULL},
    {0},
};

/* The object as a text that begins with a blank; into *ret, in the arena. */
static int retry_text(const struct taking *outer, struct str object, struct str *ret)
{
        struct retry_taking r = {.backoff = BACKOFF_TABLE};
        object_inner(outer, outer->prefix[0] ? "job.retry." : "retry.", &r.t);
        r.t.table = retry_table;
        int failed = object_take(&r.t, object);
        if (failed) {
                return failed;
        }
        bool table = object_has(&r.t, R_TABLE), backoff = object_has(&r.t, R_BACKOFF);
        if (backoff && (r.backoff == BACKOFF_TABLE) != table) {
                return field_refuse_text(&r.t, &retry_table[R_TABLE], "%s",
                                         table ? "table: it belongs to the backoff \"table\" alone"
                                               : "table: missing; the backoff \"table\" needs it");
        }
        if (r.n == 0) {
                return field_refuse_text(&r.t, &retry_table[R_BACKOFF],
                                         "backoff: the object is empty; leave the field out");
        }
        return object_keep(&r.t, (struct str){r.text + 1, (uint32_t)r.n - 1}, ret);
}

int field_retry(struct taking *t, const struct field *f, const struct json_item *item)
{
        struct submit_row *row = &job_of(t)->row;
        struct str raw = item->value, text = {0};
        int r = 0;
        if (raw.p[0] == '{' && raw.n <= f->raw_max) {
                r = retry_text(t, raw, &text);
        } else if (raw.p[0] == '"' && raw.n > 2 && raw.n <= f->raw_max) {
                char room[FIELD_SHORT];
                uint32_t n = json_unescape((struct str){raw.p + 1, raw.n - 2}, room);
                r = object_keep(t, (struct str){room, n}, &text);
        } else {
                r = field_refuse(t, f);
        }
        if (r) {
                return r;
        }
        char note[256];
        struct retry_policy policy = RETRY_POLICY_DEFAULT;
        if (text.n > RETRY_TEXT_MAX) {
                return field_refuse_text(t, f, "retry: longer than %d bytes; write %s",
                                         RETRY_TEXT_MAX, f->allowed);
        }
        if (retry_parse(text, &policy, note, sizeof note)) {
                return field_refuse_text(t, f, "retry: %s", note);
        }
        row->policy = text;
        return 0;
}

/* --- unique ----------------------------------------------------------------------------------- */

/* A text, or an array of texts joined by commas. false: neither, or too long. */
static bool list_text(const json_t *v, char *ret_text, size_t size)
{
        size_t at = 0;
        if (json_is_string(v) && json_string_length(v) < size) {
                memcpy(ret_text, json_string_value(v), json_string_length(v) + 1);
                return true;
        }
        for (size_t i = 0; i < json_array_size(v); i++) {
                const json_t *one = json_array_get(v, i);
                if (!json_is_string(one) || at + json_string_length(one) + 2 > size ||
                    strchr(json_string_value(one), ',')) {
                        return false;
                }
                at += (size_t)sprintf(ret_text + at, "%s%s", i ? "," : "", json_string_value(one));
        }
        return at > 0;
}

static bool take_period(struct str s, int64_t *ret_ms)
{
        return duration_parse(s, ret_ms) && *ret_ms >= 1 && *ret_ms <= DELAY_MAX_MS;
}

int field_unique(struct taking *t, const struct field *f, json_t *v)
{
        struct unique_wish *u = &job_of(t)->unique;
        char list[128];
        bool fits = false;
        switch ((enum field_index)(f - fields_table)) {
        case F_UNIQUE_KEY:
                if (json_string_length(v) > KEY_TEXT_MAX) {
                        break;
                }
                return object_keep(t, json_str(v), &u->key);
        case F_UNIQUE_SCOPE:
                fits =
                    list_text(v, list, sizeof list) && unique_scope_parse(str_of(list), &u->scope);
                break;
        case F_UNIQUE_STATES:
                fits = list_text(v, list, sizeof list) &&
                       unique_states_parse(str_of(list), &u->states);
                break;
        case F_UNIQUE_FOR: fits = take_period(json_str(v), &u->for_ms); break;
        case F_UNIQUE_CONFLICT: fits = unique_conflict_parse(json_str(v), &u->conflict); break;
        default: break;
        }
        return fits ? 0 : field_refuse(t, f);
}

/* Once type, queue and payload are known. */
int fields_finish_unique(struct job_taking *j)
{
        static const enum field_index parts[] = {F_UNIQUE_SCOPE, F_UNIQUE_STATES, F_UNIQUE_FOR,
                                                 F_UNIQUE_CONFLICT};
        bool asked = object_has(&j->t, F_UNIQUE_KEY);
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
                asked |= object_has(&j->t, parts[i]);
        }
        if (!asked) {
                return 0;
        }
        if (j->unique.key.n == 0 && !(j->unique.scope & SCOPE_PAYLOAD)) {
                return field_refuse_text(
                    &j->t, &fields_table[F_UNIQUE_KEY],
                    "unique_key: %s; write one, or add \"payload\" to unique_scope, so that jobs "
                    "with equal payloads are one",
                    object_has(&j->t, F_UNIQUE_KEY) ? "it is empty" : "missing");
        }
        unique_key_of(&j->unique, j->row.type, j->row.queue, j->row.payload, &j->row.unique);
        return 0;
}
