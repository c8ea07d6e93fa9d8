/*
 * Reading, checking and printing manifests. Pure but for memory; nothing here trusts the probe.
 */
#include "plugins/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/pattern.h"
#include "plugins/wire.h"

#define HANDLERS_MAX 256
#define OPTIONS_MAX  64
#define SUMMARY_MAX  1024

#define BATCH_WAIT_MAX_MS (600u * 1000)

static const char *const kinds[] = {"string", "int", "bool", "duration", "size"};

struct reader {
        struct wire_in in;
        struct manifest *m;
        char *note;
        size_t note_size;
};

static int refuse(struct reader *r, const char *what, struct str name)
{
        snprintf(r->note, r->note_size, "%s: \"%.*s\"", what, (int)(name.n > 80 ? 80 : name.n),
                 name.p ? name.p : "");
        return -EINVAL;
}

static bool text_clean(struct str s)
{
        json_t *j = json_stringn(s.p ? s.p : "", s.n); /* NULL when it is not UTF-8 */
        if (!j) {
                return false;
        }
        json_decref(j);
        for (uint32_t i = 0; i < s.n; i++) {
                if ((unsigned char)s.p[i] < 32 && s.p[i] != '\n' && s.p[i] != '\t') {
                        return false;
                }
        }
        return true;
}

/* A text that may be missing; copied, with a NUL behind it. */
static bool get_text(struct reader *r, struct str *ret)
{
        bool there = wire_get_u32(&r->in) == 1;
        struct str s = wire_get_str(&r->in);
        *ret = arena_str(&r->m->arena, s);
        return there && ret->p;
}

static bool option_name_sane(struct str s)
{
        if (s.n == 0 || s.n > 64 || !islower((unsigned char)s.p[0])) {
                return false;
        }
        for (uint32_t i = 0; i < s.n; i++) {
                unsigned char c = (unsigned char)s.p[i];
                if (!islower(c) && !isdigit(c) && c != '_') {
                        return false;
                }
        }
        return true;
}

static bool kind_known(struct str kind)
{
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                if (str_eq(kind, str_of(kinds[i]))) {
                        return true;
                }
        }
        return false;
}

static bool number_with_unit(const char *z, const char *const *units, size_t n_units)
{
        size_t digits = strspn(z, "0123456789");
        if (digits == 0 || digits > 15) {
                return false;
        }
        for (size_t i = 0; i < n_units; i++) {
                if (strcmp(z + digits, units[i]) == 0) {
                        return true;
                }
        }
        return false;
}

static bool value_fits(struct str kind, const char *z)
{
        static const char *const times[] = {"ms", "s", "m", "h", "d"};
        static const char *const sizes[] = {"", "k", "m", "g", "K", "M", "G"};
        static const char *const none[] = {""};
        if (str_eq(kind, STR("int"))) {
                return number_with_unit(z + (*z == '-'), none, 1);
        }
        if (str_eq(kind, STR("bool"))) {
                return strcmp(z, "true") == 0 || strcmp(z, "false") == 0;
        }
        if (str_eq(kind, STR("duration"))) {
                return number_with_unit(z, times, ARRAY_LEN(times));
        }
        if (str_eq(kind, STR("size"))) {
                return number_with_unit(z, sizes, ARRAY_LEN(sizes));
        }
        return true;
}

static int read_option(struct reader *r, struct manifest_option *o)
{
        bool named = get_text(r, &o->name);
        bool has_kind = get_text(r, &o->kind);
        o->has_value = get_text(r, &o->value);
        get_text(r, &o->help);
        if (r->in.bad) {
                return refuse(r, "its description is cut short in the options", o->name);
        }
        if (!named || !option_name_sane(o->name)) {
                return refuse(r, "an option's name is not of the form [a-z][a-z0-9_]*", o->name);
        }
        if (!has_kind || !kind_known(o->kind)) {
                return refuse(r, "an option's kind is none of string, int, bool, duration, size",
                              o->kind);
        }
        if (!text_clean(o->value) || !text_clean(o->help) || o->help.n > SUMMARY_MAX) {
                return refuse(r, "an option's default or help is not clean UTF-8 text", o->name);
        }
        if (o->has_value && !value_fits(o->kind, o->value.p)) {
                return refuse(r, "an option's default is not of its kind", o->name);
        }
        return 0;
}

static int read_options(struct reader *r, struct manifest_handler *h)
{
        h->n_options = wire_get_u32(&r->in);
        if (r->in.bad || h->n_options > OPTIONS_MAX) {
                return refuse(r,
                              "a handler has more than 64 options, or its description is cut short",
                              h->type);
        }
        h->options = arena_zalloc(&r->m->arena, (h->n_options + 1) * sizeof *h->options);
        if (!h->options) {
                return -ENOMEM;
        }
        for (uint32_t i = 0; i < h->n_options; i++) {
                int e = read_option(r, &h->options[i]);
                if (e < 0) {
                        return e;
                }
                for (uint32_t k = 0; k < i; k++) {
                        if (str_eq(h->options[k].name, h->options[i].name)) {
                                return refuse(r, "an option is there twice", h->options[i].name);
                        }
                }
        }
        return 0;
}

static int check_schema(struct reader *r, const struct manifest_handler *h)
{
        if (h->schema.n == 0) {
                return 0;
        }
        json_error_t error;
        json_t *j = json_loadb(h->schema.p, h->schema.n, JSON_REJECT_DUPLICATES, &error);
        if (!j || !json_is_object(j)) {
                json_decref(j);
                return refuse(r, "the schema of a handler is not a JSON object", h->type);
        }
        json_decref(j);
        return 0;
}

static int read_handler(struct reader *r, struct manifest_handler *h)
{
        h->flags = wire_get_u32(&r->in);
        h->timeout_ms = wire_get_u32(&r->in);
        h->concurrency = wire_get_u32(&r->in);
        h->batch_max = wire_get_u32(&r->in);
        h->batch_wait_ms = wire_get_u32(&r->in);
        h->heartbeat_ms = wire_get_u32(&r->in);
        bool has_type = get_text(r, &h->type);
        get_text(r, &h->summary);
        get_text(r, &h->schema);
        if (r->in.bad) {
                return refuse(r, "its description is cut short", h->type);
        }
        if (!has_type || !pattern_valid(h->type)) {
                return refuse(r,
                              "a handler's type is not a valid type or pattern (tokens of "
                              "A-Z a-z 0-9 _ - joined by dots, * for one token, > at the end)",
                              h->type);
        }
        if (h->batch_max > RING_SLOTS || h->batch_wait_ms > BATCH_WAIT_MAX_MS) {
                return refuse(r,
                              "a handler's batch_max may be at most 512, its batch_wait_ms at most "
                              "600000 (ten minutes)",
                              h->type);
        }
        if (h->summary.n > SUMMARY_MAX || !text_clean(h->summary)) {
                return refuse(r, "a handler's summary is not clean UTF-8 text of at most 1 KiB",
                              h->type);
        }
        int e = check_schema(r, h);
        return e < 0 ? e : read_options(r, h);
}

static int check_ties(struct reader *r)
{
        const struct manifest *m = r->m;
        for (uint32_t i = 0; i < m->n; i++) {
                for (uint32_t k = 0; k < i; k++) {
                        struct str a = m->handlers[k].type, b = m->handlers[i].type;
                        if (pattern_tie(a, b)) {
                                snprintf(r->note, r->note_size,
                                         "two of its handlers match the same types equally well: "
                                         "\"%s\" and \"%s\"",
                                         a.p, b.p);
                                return -EEXIST;
                        }
                }
        }
        return 0;
}

static int read_handlers(struct reader *r)
{
        struct manifest *m = r->m;
        get_text(r, &m->name);
        get_text(r, &m->version);
        m->n = wire_get_u32(&r->in);
        if (r->in.bad || m->n == 0 || m->n > HANDLERS_MAX) {
                return refuse(r, "its description cannot be read", m->name);
        }
        if (!text_clean(m->name) || !text_clean(m->version) || m->name.n + m->version.n > 255) {
                return refuse(r, "its name or version is not clean UTF-8 text", m->name);
        }
        m->handlers = arena_zalloc(&m->arena, m->n * sizeof *m->handlers);
        if (!m->handlers) {
                return -ENOMEM;
        }
        for (uint32_t i = 0; i < m->n; i++) {
                int e = read_handler(r, &m->handlers[i]);
                if (e < 0) {
                        return e;
                }
        }
        return check_ties(r);
}

int manifest_read(const void *bytes, size_t n, struct manifest *ret, char *note, size_t note_size)
{
        struct manifest m = {0};
        struct reader r = {{bytes, n, 0, false}, &m, note, note_size};
        snprintf(note, note_size, "no memory left to read its description");
        uint32_t kind = wire_get_u32(&r.in), abi = wire_get_u32(&r.in);
        (void)kind;
        (void)abi; /* the probe refused any other */
        int e = read_handlers(&r);
        if (e < 0) {
                manifest_deinit(&m);
                return e;
        }
        *ret = m;
        return 0;
}

void manifest_deinit(struct manifest *m)
{
        arena_deinit(&m->arena);
        *m = (struct manifest){0};
}

/* --- options from the configuration -------------------------------------------------------- */

static const struct handler_option *find_set(const struct handler_option *set, struct str type,
                                             struct str name)
{
        for (; set && set->type; set++) {
                if (str_eq(str_of(set->type), type) && str_eq(str_of(set->name), name)) {
                        return set;
                }
        }
        return NULL;
}

static bool handler_knows(const struct manifest_handler *h, const char *name)
{
        for (uint32_t i = 0; i < h->n_options; i++) {
                if (str_eq(h->options[i].name, str_of(name))) {
                        return true;
                }
        }
        return false;
}

static bool handler_options_fit(const struct manifest_handler *h, const struct handler_option *set,
                                char *note, size_t note_size)
{
        for (const struct handler_option *s = set; s && s->type; s++) {
                if (str_eq(str_of(s->type), h->type) && !handler_knows(h, s->name)) {
                        snprintf(note, note_size,
                                 "the configuration sets option \"%.64s\" of %s, which has no such "
                                 "option",
                                 s->name, h->type.p);
                        return false;
                }
        }
        for (uint32_t i = 0; i < h->n_options; i++) {
                const struct manifest_option *o = &h->options[i];
                const struct handler_option *s = find_set(set, h->type, o->name);
                if (!s && !o->has_value) {
                        snprintf(note, note_size,
                                 "option \"%s\" of %s must be set in the configuration", o->name.p,
                                 h->type.p);
                        return false;
                }
                if (s && !value_fits(o->kind, s->value)) {
                        snprintf(note, note_size,
                                 "option \"%s\" of %s wants a value of kind %s, the configuration "
                                 "says \"%.64s\"",
                                 o->name.p, h->type.p, o->kind.p, s->value);
                        return false;
                }
        }
        return true;
}

bool manifest_options_fit(const struct manifest *m, const struct handler_option *set, char *note,
                          size_t note_size)
{
        for (uint32_t i = 0; i < m->n; i++) {
                if (!handler_options_fit(&m->handlers[i], set, note, note_size)) {
                        return false;
                }
        }
        return true;
}

/* --- JSON ------------------------------------------------------------ */

static json_t *text_json(struct str s)
{
        return json_stringn(s.p ? s.p : "", s.n);
}

static json_t *option_json(const struct manifest_option *o)
{
        json_t *j = json_object();
        json_object_set_new(j, "name", text_json(o->name));
        json_object_set_new(j, "kind", text_json(o->kind));
        json_object_set_new(j, "default", o->has_value ? text_json(o->value) : json_null());
        json_object_set_new(j, "help", text_json(o->help));
        return j;
}

static json_t *flags_json(uint32_t flags)
{
        static const char *const names[] = {"thread_safe", "exclusive", "idempotent"};
        json_t *j = json_array();
        for (uint32_t i = 0; i < ARRAY_LEN(names); i++) {
                if (flags & 1u << i) {
                        json_array_append_new(j, json_string(names[i]));
                }
        }
        return j;
}

static json_t *handler_json(const struct manifest_handler *h)
{
        json_t *j = json_object(), *options = json_array();
        json_object_set_new(j, "type", text_json(h->type));
        json_object_set_new(j, "summary", text_json(h->summary));
        if (h->schema.n) {
                json_object_set_new(j, "schema", json_loadb(h->schema.p, h->schema.n, 0, NULL));
        }
        json_object_set_new(j, "timeout_ms", json_integer(h->timeout_ms));
        json_object_set_new(j, "concurrency", json_integer(h->concurrency));
        json_object_set_new(j, "batch_max", json_integer(h->batch_max));
        json_object_set_new(j, "batch_wait_ms", json_integer(h->batch_wait_ms));
        json_object_set_new(j, "heartbeat_ms", json_integer(h->heartbeat_ms));
        json_object_set_new(j, "flags", flags_json(h->flags));
        for (uint32_t i = 0; i < h->n_options; i++) {
                json_array_append_new(options, option_json(&h->options[i]));
        }
        json_object_set_new(j, "options", options);
        return j;
}

char *manifest_json(const struct manifest *m, const char *file, const char *build)
{
        json_t *j = json_object(), *handlers = json_array();
        json_object_set_new(j, "file", json_string(file));
        json_object_set_new(j, "name", text_json(m->name));
        json_object_set_new(j, "version", text_json(m->version));
        json_object_set_new(j, "build", json_string(build));
        for (uint32_t i = 0; i < m->n; i++) {
                json_array_append_new(handlers, handler_json(&m->handlers[i]));
        }
        json_object_set_new(j, "handlers", handlers);
        char *text = json_dumps(j, JSON_COMPACT);
        json_decref(j);
        return text;
}
