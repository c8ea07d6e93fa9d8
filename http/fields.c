/*
 * One table of the fields: name, JSON type, what is allowed, and who takes the value. The
 * envelope's small values are read with jansson; `payload` and `payload_base64` never are, since
 * they are kept as bytes.
 */
#include "http/fields.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "core/pattern.h"
#include "http/base64.h"
#include "http/fields_table.h"
#include "http/json.h"

const char *nearest_name(const char *const *names, size_t n, struct str written)
{
        static const struct {
                const char *written, *meant;
        } aliases[] = {{"id", "key"},
                       {"job_id", "key"},
                       {"message_id", "key"},
                       {"data", "payload"},
                       {"body", "payload"},
                       {"args", "payload"},
                       {"params", "payload"},
                       {"retries", "max_attempts"},
                       {"max_retries", "max_attempts"},
                       {"job_type", "type"},
                       {"name", "type"},
                       {"in", "delay"},
                       {"at", "run_at"},
                       {"scheduled_at", "run_at"},
                       {"expires_at", "deadline"}};
        for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
                for (size_t k = 0; k < n && str_eq(written, str_of(aliases[i].written)); k++) {
                        if (strcmp(names[k], aliases[i].meant) == 0) {
                                return names[k];
                        }
                }
        }
        for (size_t i = 0; i < n; i++) { /* "prio" */
                if (written.n >= 3 && strlen(names[i]) > written.n &&
                    memcmp(names[i], written.p, written.n) == 0) {
                        return names[i];
                }
        }
        uint32_t best = 3 + written.n / 8;
        const char *name = NULL;
        for (size_t i = 0; i < n; i++) {
                uint32_t d = edit_distance(str_of(names[i]), written);
                if (d < best && d < strlen(names[i])) {
                        best = d;
                        name = names[i];
                }
        }
        return name;
}

uint32_t edit_distance(struct str a, struct str b)
{
        uint32_t row[33];
        if (a.n > 32 || b.n > 32) {
                return UINT32_MAX;
        }
        for (uint32_t i = 0; i <= a.n; i++) {
                row[i] = i;
        }
        for (uint32_t j = 1; j <= b.n; j++) {
                uint32_t corner = row[0];
                row[0] = j;
                for (uint32_t i = 1; i <= a.n; i++) {
                        uint32_t change = corner + (a.p[i - 1] != b.p[j - 1]);
                        uint32_t shorter = row[i] < row[i - 1] ? row[i] : row[i - 1];
                        corner = row[i];
                        row[i] = change < shorter + 1 ? change : shorter + 1;
                }
        }
        return row[a.n];
}

void fields_malformed(struct str body, size_t at, const char *what, struct problem *ret_problem)
{
        uint32_t line, column;
        json_place(body, at, &line, &column);
        problem_set(ret_problem, PROBLEM_MALFORMED, "line %u, column %u: %s", line, column, what);
        ret_problem->line = line;
        ret_problem->column = column;
}

static int refuse_place(struct taking *t, const char *at, const char *what)
{
        fields_malformed(t->body, (size_t)(at - t->body.p), what, t->problem);
        return FIELDS_REFUSED;
}

static void note_unknown(struct taking *t, struct str name)
{
        const char *names[32];
        char quoted[QUOTE_TEXT];
        size_t n = 0;
        for (const struct field *f = fields_table; f->name; f++) {
                names[n++] = f->name;
        }
        t->unknown++;
        if (t->unknown > UNKNOWN_NAMED) {
                return;
        }
        const char *near = nearest_name(names, n, name);
        int k = snprintf(t->unknown_text + t->unknown_n, sizeof t->unknown_text - t->unknown_n,
                         "%s\"%s\"%s%s%s", t->unknown > 1 ? ", " : "", quote_text(name, quoted),
                         near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
        t->unknown_n += (size_t)k;
        if (t->unknown == 1) {
                snprintf(t->unknown_first, sizeof t->unknown_first, "%s", quoted);
        }
}

static int refuse_unknown(struct taking *t)
{
        problem_set(t->problem, PROBLEM_UNKNOWN_FIELD, "unknown field%s: %s",
                    t->unknown > 1 ? "s" : "", t->unknown_text);
        if (t->unknown > UNKNOWN_NAMED) {
                size_t n = strlen(t->problem->detail);
                snprintf(t->problem->detail + n, sizeof t->problem->detail - n, " and %u more",
                         t->unknown - UNKNOWN_NAMED);
        }
        snprintf(t->problem->field, sizeof t->problem->field, "%s", t->unknown_first);
        size_t at = 0;
        for (const struct field *f = fields_table; f->name; f++) {
                at += (size_t)snprintf(t->problem->allowed_text + at,
                                       sizeof t->problem->allowed_text - at, "%s%s", at ? ", " : "",
                                       f->name);
        }
        return FIELDS_REFUSED;
}

/* The field's entry, or NULL; the name may be written with escapes. */
static const struct field *find_field(struct taking *t, const struct json_item *item)
{
        char room[192];
        struct str name = item->name;
        if (name.n > sizeof room) {
                note_unknown(t, name);
                return NULL;
        }
        if (item->name_has & JSON_HAS_ESCAPE) {
                name = (struct str){room, json_unescape(name, room)};
        }
        for (const struct field *f = fields_table; f->name; f++) {
                if (str_eq(name, str_of(f->name))) {
                        return f;
                }
        }
        note_unknown(t, name);
        return NULL;
}

/* The value through jansson, its type checked. */
static int take_value(struct taking *t, const struct field *f, const struct json_item *item)
{
        json_error_t error;
        t->raw = item->value;
        char c = item->value.p[0];
        bool type_fits = f->type == FIELD_STRING    ? c == '"'
                         : f->type == FIELD_INTEGER ? c == '-' || (c >= '0' && c <= '9')
                         : f->type == FIELD_ARRAY   ? c == '['
                                                    : c == '{';
        if (!type_fits || item->value.n > f->raw_max) {
                return field_refuse(t, f);
        }
        json_t *v = json_loadb(item->value.p, item->value.n,
                               JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
        if (!v) {
                enum json_error_code code = json_error_code(&error);
                if (code == json_error_out_of_memory) {
                        return -ENOMEM;
                }
                if (code == json_error_duplicate_key) {
                        return refuse_place(t, item->value.p,
                                            "a name is given twice in this object; keep one");
                }
                return field_refuse(t, f); /* a number beyond 64 bits */
        }
        int r = f->take(t, f, v);
        json_decref(v);
        return r;
}

static int take_item(struct taking *t, const struct json_item *item)
{
        if ((item->name_has & (JSON_HAS_NUL | JSON_HAS_LONE)) != 0) {
                return refuse_place(
                    t, item->name.p,
                    "\\u0000 and half surrogate pairs are not allowed in a field's name");
        }
        const struct field *f = find_field(t, item);
        if (!f) {
                return 0; /* told together, at the end */
        }
        uint32_t bit = 1u << (f - fields_table);
        if (t->seen & bit) {
                char text[128];
                snprintf(text, sizeof text, "the field \"%s\" is given twice; keep one", f->name);
                int r = refuse_place(t, item->name.p, text);
                snprintf(t->problem->field, sizeof t->problem->field, "%s", f->name);
                return r;
        }
        t->seen |= bit;
        if (f->take_raw == field_payload) {
                return field_payload(t, f, item);
        }
        if (item->value_has & (JSON_HAS_NUL | JSON_HAS_LONE)) {
                return refuse_place(
                    t, item->value.p,
                    item->value_has & JSON_HAS_NUL
                        ? "\\u0000 is allowed in the payload only; leave it out"
                        : "half a surrogate pair is no character; write both halves");
        }
        return f->take_raw ? f->take_raw(t, f, item) : take_value(t, f, item);
}

int fields_parse(const struct settings *s, struct arena *a, struct str body, struct str text,
                 int64_t now_us, struct submit_row *ret_row, struct problem *ret_problem)
{
        struct taking t = {
            .settings = s, .arena = a, .body = body, .now_us = now_us, .problem = ret_problem};
        struct json_walk walk;
        struct json_item item;
        struct json_fault fault;
        int r = json_walk_begin(&walk, text, &fault);
        if (r == JSON_BAD ? fault.at < text.n : !walk.object) {
                return refuse_place(&t, text.p,
                                    "a job is an object, as in {\"type\":\"echo\",\"payload\":{}}");
        }
        while (r == 0) {
                r = json_walk_next(&walk, &item, &fault);
                if (r == 0) {
                        r = take_item(&t, &item);
                        if (r) {
                                return r;
                        }
                }
        }
        if (r == JSON_BAD) {
                return refuse_place(&t, text.p + fault.at, fault.what);
        }
        if (t.unknown) {
                return refuse_unknown(&t);
        }
        r = fields_finish(&t);
        if (r == 0) {
                *ret_row = t.row;
        }
        return r;
}
