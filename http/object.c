/*
 * The walk over an object's members. See object.h.
 */
#include "http/object.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* --- names ------------------------------------------------------------------------------- */

static uint32_t edit_distance(struct str a, struct str b)
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

/* What other systems call it. */
static const char *find_alias(const char *const *names, size_t n, struct str written)
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
                       {"expires_at", "deadline"},
                       {"backoff", "retry"},
                       {"unique", "unique_key"},
                       {"dedupe", "unique_key"},
                       {"callback", "reply_to"},
                       {"parent", "parent_id"},
                       {"schedule", "cron"},
                       {"expression", "cron"},
                       {"spec", "cron"},
                       {"timezone", "zone"},
                       {"tz", "zone"},
                       {"enabled", "paused"},
                       {"states", "state"}};
        for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
                for (size_t k = 0; k < n && str_eq(written, str_of(aliases[i].written)); k++) {
                        if (strcmp(names[k], aliases[i].meant) == 0) {
                                return names[k];
                        }
                }
        }
        return NULL;
}

const char *nearest_name(const char *const *names, size_t n, struct str written)
{
        const char *name = find_alias(names, n, written);
        for (size_t i = 0; !name && i < n; i++) { /* "prio" */
                if (written.n >= 3 && strlen(names[i]) > written.n &&
                    memcmp(names[i], written.p, written.n) == 0) {
                        name = names[i];
                }
        }
        if (name) {
                return name;
        }
        uint32_t best = 3 + written.n / 8;
        for (size_t i = 0; i < n; i++) {
                uint32_t d = edit_distance(str_of(names[i]), written);
                if (d < best && d < strlen(names[i])) {
                        best = d;
                        name = names[i];
                }
        }
        return name;
}

/* --- refusals ---------------------------------------------------------------------------- */

void object_malformed(struct str body, size_t at, const char *what, struct problem *ret_problem)
{
        uint32_t line, column;
        json_place(body, at, &line, &column);
        problem_set(ret_problem, PROBLEM_MALFORMED, "line %u, column %u: %s", line, column, what);
        ret_problem->line = line;
        ret_problem->column = column;
}

static void name_field(struct taking *t, const struct field *f)
{
        snprintf(t->problem->field, sizeof t->problem->field, "%s%s", t->prefix, f->name);
        t->problem->allowed = f->allowed;
}

int field_refuse(struct taking *t, const struct field *f)
{
        char quoted[QUOTE_TEXT];
        problem_set(t->problem, PROBLEM_INVALID, "%s%s: %s is not allowed; write %s", t->prefix,
                    f->name, quote_text(t->raw, quoted), f->allowed);
        name_field(t, f);
        return OBJECT_REFUSED;
}

int field_missing(struct taking *t, const struct field *f)
{
        problem_set(t->problem, PROBLEM_INVALID, "%s%s: missing; write %s", t->prefix, f->name,
                    f->allowed);
        name_field(t, f);
        return OBJECT_REFUSED;
}

int field_refuse_text(struct taking *t, const struct field *f, const char *fmt, ...)
{
        char text[640];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        problem_set(t->problem, PROBLEM_INVALID, "%s%s", t->prefix, text);
        name_field(t, f);
        return OBJECT_REFUSED;
}

static int refuse_place(struct taking *t, const char *at, const char *what)
{
        object_malformed(t->body, (size_t)(at - t->body.p), what, t->problem);
        return OBJECT_REFUSED;
}

static int note_unknown(struct taking *t, struct str name)
{
        const char *names[OBJECT_FIELDS];
        char quoted[QUOTE_TEXT];
        size_t n = 0;
        for (const struct field *f = t->table; f->name; f++) {
                names[n++] = f->name;
        }
        struct unknown_fields *u = t->unknown;
        u = u ? u : arena_zalloc(t->arena, sizeof *u);
        if (!u) {
                return -ENOMEM;
        }
        t->unknown = u;
        u->n++;
        if (u->n > UNKNOWN_NAMED) {
                return 0;
        }
        const char *near = nearest_name(names, n, name);
        int k = snprintf(u->text + u->text_n, sizeof u->text - u->text_n, "%s\"%s%s\"%s%s%s",
                         u->n > 1 ? ", " : "", t->prefix, quote_text(name, quoted),
                         near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
        u->text_n += (size_t)k;
        if (u->n == 1) {
                snprintf(u->first, sizeof u->first, "%s", quoted);
        }
        return 0;
}

static int refuse_unknown(struct taking *t)
{
        struct problem *p = t->problem;
        const struct unknown_fields *u = t->unknown;
        problem_set(p, PROBLEM_UNKNOWN_FIELD, "unknown field%s: %s", u->n > 1 ? "s" : "", u->text);
        if (u->n > UNKNOWN_NAMED) {
                size_t n = strlen(p->detail);
                snprintf(p->detail + n, sizeof p->detail - n, " and %u more", u->n - UNKNOWN_NAMED);
        }
        snprintf(p->field, sizeof p->field, "%s%s", t->prefix, u->first);
        size_t at = 0;
        for (const struct field *f = t->table; f->name && at < sizeof p->allowed_text; f++) {
                at += (size_t)snprintf(p->allowed_text + at, sizeof p->allowed_text - at, "%s%s",
                                       at ? ", " : "", f->name);
        }
        return OBJECT_REFUSED;
}

/* --- members ----------------------------------------------------------------------------- */

bool object_has(const struct taking *t, unsigned index)
{
        return t->seen >> index & 1;
}

struct str json_str(const json_t *v)
{
        return (struct str){json_string_value(v), (uint32_t)json_string_length(v)};
}

int object_keep(struct taking *t, struct str s, struct str *ret)
{
        struct str kept = arena_str(t->arena, s);
        if (!kept.p) {
                return -ENOMEM;
        }
        *ret = kept;
        return 0;
}

/* The field's entry, or NULL, which is noted; the name may be written with escapes. */
static int find_field(struct taking *t, const struct json_item *item, const struct field **ret)
{
        char room[192];
        struct str name = item->name;
        *ret = NULL;
        if (name.n > sizeof room) {
                return note_unknown(t, name);
        }
        if (item->name_has & JSON_HAS_ESCAPE) {
                name = (struct str){room, json_unescape(name, room)};
        }
        for (const struct field *f = t->table; f->name; f++) {
                if (str_eq(name, str_of(f->name))) {
                        *ret = f;
                        return 0;
                }
        }
        return note_unknown(t, name);
}

static bool type_fits(enum field_type type, char c)
{
        bool number = c == '-' || (c >= '0' && c <= '9');
        switch (type) {
        case FIELD_STRING: return c == '"';
        case FIELD_INTEGER:
        case FIELD_NUMBER: return number;
        case FIELD_BOOL: return c == 't' || c == 'f';
        case FIELD_ARRAY: return c == '[';
        case FIELD_OBJECT: return c == '{';
        case FIELD_ANY: break;
        }
        return true;
}

/* The value through jansson. */
static int take_value(struct taking *t, const struct field *f, const struct json_item *item)
{
        json_error_t error;
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

/* Without jansson, which would allocate for each. */
static int take_text(struct taking *t, const struct field *f, const struct json_item *item)
{
        struct str v = {item->value.p + 1, item->value.n - 2};
        if (item->value_has & JSON_HAS_ESCAPE) {
                char *room = arena_alloc(t->arena, v.n);
                if (!room) {
                        return -ENOMEM;
                }
                v = (struct str){room, json_unescape(v, room)};
        }
        return f->take_text(t, f, v);
}

static int take_member(struct taking *t, const struct json_item *item)
{
        if ((item->name_has & (JSON_HAS_NUL | JSON_HAS_LONE)) != 0) {
                return refuse_place(
                    t, item->name.p,
                    "\\u0000 and half surrogate pairs are not allowed in a field's name");
        }
        const struct field *f;
        int r = find_field(t, item, &f);
        if (!f) {
                return r; /* told together, at the end */
        }
        uint32_t bit = 1u << (f - t->table);
        if (t->seen & bit) {
                char text[128];
                snprintf(text, sizeof text, "the field \"%s\" is given twice; keep one", f->name);
                r = refuse_place(t, item->name.p, text);
                snprintf(t->problem->field, sizeof t->problem->field, "%s%s", t->prefix, f->name);
                return r;
        }
        t->seen |= bit;
        if (!f->opaque && (item->value_has & (JSON_HAS_NUL | JSON_HAS_LONE))) {
                return refuse_place(
                    t, item->value.p,
                    item->value_has & JSON_HAS_NUL
                        ? "\\u0000 is allowed in the payload only; leave it out"
                        : "half a surrogate pair is no character; write both halves");
        }
        t->raw = item->value;
        if (!type_fits(f->type, item->value.p[0]) || item->value.n > f->raw_max) {
                return field_refuse(t, f);
        }
        if (f->take_text) {
                return take_text(t, f, item);
        }
        return f->take_raw ? f->take_raw(t, f, item) : take_value(t, f, item);
}

void object_inner(const struct taking *outer, const char *prefix, struct taking *ret)
{
        *ret = (struct taking){.settings = outer->settings,
                               .arena = outer->arena,
                               .body = outer->body,
                               .now_us = outer->now_us,
                               .problem = outer->problem,
                               .prefix = prefix,
                               .example = "an object must stand here"};
}

int object_walk(struct taking *t, struct json_walk *walk)
{
        struct json_item item;
        struct json_fault fault;
        if (!walk->object) {
                return refuse_place(t, walk->text.p + walk->at - 1, t->example);
        }
        int r;
        while ((r = json_walk_next(walk, &item, &fault)) == 0) {
                int refused = take_member(t, &item);
                if (refused) {
                        return refused;
                }
        }
        if (r == JSON_BAD) {
                return refuse_place(t, walk->text.p + fault.at, fault.what);
        }
        return t->unknown ? refuse_unknown(t) : 0;
}

int object_take(struct taking *t, struct str text)
{
        struct json_walk walk;
        struct json_fault fault;
        int r = json_walk_begin(&walk, text, &fault);
        if (r == JSON_BAD && fault.at == text.n) {
                return refuse_place(t, text.p + fault.at, fault.what);
        }
        if (r == JSON_BAD || !walk.object) {
                return refuse_place(t, text.p, t->example);
        }
        return object_walk(t, &walk);
}
