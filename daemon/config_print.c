/*
 * One walk over a table of keys opens and closes its sections; what is written for a key differs: a
 * value with its origin, or a comment with the help and the default. The pages name the defaults of
 * root: what they are for other users is told in words.
 */
#include "daemon/config_print.h"

#include "daemon/config_apply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define COLUMNS 100

struct page {
        FILE *out;
        struct arena *arena;
        const struct config *config; /* NULL: the example */
        const void *base;            /* of the keys being written */
        const struct config_origin *origins;
        bool origin;
        int indent;
};

static void __attribute__((format(printf, 2, 3))) put(struct page *p, const char *fmt, ...)
{
        va_list args;
        fprintf(p->out, "%*s", p->indent, "");
        va_start(args, fmt);
        vfprintf(p->out, fmt, args);
        va_end(args);
}

/* A comment, broken at blanks. */
static void put_comment(struct page *p, const char *text)
{
        while (*text) {
                size_t room = (size_t)(COLUMNS - 2 - p->indent), n = strlen(text);
                if (n > room) {
                        for (n = room; n > 0 && text[n] != ' '; n--) {}
                        n = n ? n : strlen(text);
                }
                put(p, "# %.*s\n", (int)n, text);
                text += n;
                text += strspn(text, " ");
        }
}

static void put_origin(struct page *p, struct config_origin o)
{
        if (!p->origin) {
                fputs("\n", p->out);
        } else if (!o.source.n) {
                fputs(" # default\n", p->out);
        } else if (o.line > 0) {
                fprintf(p->out, " # %.*s:%d\n", (int)o.source.n, o.source.p, o.line);
        } else {
                fprintf(p->out, " # %.*s\n", (int)o.source.n, o.source.p);
        }
}

/* The last part of a dotted name. */
static const char *leaf(const char *name)
{
        const char *dot = strrchr(name, '.');
        return dot ? dot + 1 : name;
}

static int put_value(struct page *p, const struct config_key *keys, const struct config_key *k)
{
        struct str text = config_show(p->base, p->arena, k);
        struct str literal = text.p ? config_literal(p->arena, k, text) : text;
        if (!literal.p) {
                return -ENOMEM;
        }
        put(p, "%s = %.*s;", leaf(k->name), (int)literal.n, literal.p);
        put_origin(p, p->origins ? p->origins[k - keys] : (struct config_origin){0});
        return 0;
}

/* Help, what is allowed, and the default behind a # without a blank: that one is meant to go. */
static int put_example(struct page *p, const struct config_key *keys, const struct config_key *k)
{
        char allowed[160];
        bool live = keys == config_queue_keys && k == &keys[CONFIG_KEY_NAME];
        struct str literal = config_literal(p->arena, k, str_of(k->fallback));
        if (!literal.p) {
                return -ENOMEM;
        }
        put_comment(p, k->help);
        if (k->type != CONFIG_TEXT && k->type != CONFIG_TEXTS && k->type != CONFIG_DELAYS) {
                config_allowed(k, allowed, sizeof allowed);
                put(p, "# Allowed: %s.\n", allowed);
        }
        put(p, "%s%s = %.*s;\n", live ? "" : "#", leaf(k->name), (int)literal.n, literal.p);
        return 0;
}

static int put_options(struct page *p);

static int close_section(struct page *p, const struct config_key *keys, struct str section)
{
        int r = 0;
        if (section.n == 0) {
                return 0;
        }
        if (keys == config_keys && str_eq(section, STR("handlers"))) {
                r = put_options(p);
        }
        p->indent -= 8;
        put(p, "};\n");
        if (keys == config_keys && !p->config) {
                fputs("\n", p->out);
        }
        return r;
}

static int put_keys(struct page *p, const struct config_key *keys)
{
        struct str section = STR("");
        int r = 0;
        for (const struct config_key *k = keys; k->name && r == 0; k++) {
                const char *dot = strchr(k->name, '.');
                struct str own = {k->name, dot ? (uint32_t)(dot - k->name) : 0};
                if (!str_eq(own, section)) {
                        r = close_section(p, keys, section);
                        section = own;
                        put(p, "%.*s = {\n", (int)own.n, own.p);
                        p->indent += 8;
                }
                bool foreign = keys == config_transport_keys && p->base &&
                               config_key_foreign(k, ((struct transport_config *)p->base)->url);
                if (r == 0 && !foreign) {
                        r = p->config ? put_value(p, keys, k) : put_example(p, keys, k);
                }
        }
        return r == 0 ? close_section(p, keys, section) : r;
}

/* --- entries ---------------------------------------------------------------------------------- */

/* May the value of such an option be shown? */
static bool is_private(struct str name)
{
        static const char *const words[] = {"secret", "password", "token", "key"};
        for (size_t i = 0; i < ARRAY_LEN(words); i++) {
                if (strcasestr(name.p, words[i])) {
                        return true;
                }
        }
        return false;
}

static int put_option(struct page *p, const struct handler_option_config *o)
{
        static const struct config_key as_text = {.type = CONFIG_TEXT};
        struct str value = is_private(o->name) ? STR("***") : config_mask(p->arena, o->value);
        struct str literal = value.p ? config_literal(p->arena, &as_text, value) : value;
        struct str type = config_literal(p->arena, &as_text, o->type);
        if (!literal.p || !type.p) {
                return -ENOMEM;
        }
        put(p, "{ type = %s; set = { %s = %s; }; }", type.p, o->name.p, literal.p);
        return 0;
}

static int put_options(struct page *p)
{
        int r = 0;
        if (!p->config) {
                put_comment(p, "Options of handlers, as `skep handlers show` lists them:");
                put_comment(p, "options = ( { type = \"webhook\"; set = { url = "
                               "\"https://example.org/hook\"; }; } );");
                return 0;
        }
        if (p->config->n_handler_options == 0) {
                return 0;
        }
        put(p, "options = (\n");
        p->indent += 8;
        for (uint32_t i = 0; i < p->config->n_handler_options && r == 0; i++) {
                const struct handler_option_config *o = &p->config->handler_options[i];
                r = put_option(p, o);
                fputs(i + 1 < p->config->n_handler_options ? "," : "", p->out);
                put_origin(p, o->origin);
        }
        p->indent -= 8;
        put(p, ");\n");
        return r;
}

static int put_transports(struct page *p)
{
        int r = 0;
        if (p->config->n_transports == 0) {
                return 0;
        }
        put(p, "transports = {\n");
        p->indent += 8;
        for (uint32_t i = 0; i < p->config->n_transports && r == 0; i++) {
                const struct transport_config *t = &p->config->transports[i];
                put(p, "%.*s = {\n", (int)t->name.n, t->name.p);
                p->indent += 8;
                p->base = t;
                p->origins = t->origins;
                r = put_keys(p, config_transport_keys);
                p->indent -= 8;
                put(p, "};\n");
        }
        p->indent -= 8;
        put(p, "};\n");
        return r;
}

static int put_entry(struct page *p, const struct config_list *l, uint32_t i)
{
        char *entry = p->config ? config_entry(p->config, l, i) : NULL;
        bool last = !p->config || i + 1 == config_entries(p->config, l);
        put(p, "{\n");
        p->indent += 8;
        p->base = entry;
        p->origins = entry ? *(struct config_origin **)(void *)(entry + l->origins) : NULL;
        int r = put_keys(p, l->keys);
        p->indent -= 8;
        put(p, last ? "}\n" : "},\n");
        return r;
}

static int put_entries(struct page *p, const struct config_list *l)
{
        uint32_t n = config_entries(p->config, l);
        int r = 0;
        if (n == 0) {
                return 0;
        }
        put(p, "%s = (\n", l->name);
        p->indent += 8;
        for (uint32_t i = 0; i < n && r == 0; i++) {
                r = put_entry(p, l, i);
        }
        p->indent -= 8;
        put(p, ");\n");
        return r;
}

int config_print(FILE *out, const struct config *c, bool origin)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        struct page p = {out, &a, c, c, c->origins, origin, 0};
        int r = put_keys(&p, config_keys);
        if (r == 0) {
                r = put_transports(&p);
        }
        static const enum config_list_id lists[] = {LIST_QUEUES, LIST_TYPES, LIST_SCHEDULES};
        for (size_t i = 0; i < ARRAY_LEN(lists) && r == 0; i++) {
                r = put_entries(&p, &config_lists[lists[i]]);
        }
        return r;
}

/* What stands there for a key that has no default. */
static const struct {
        const char *key, *value;
} samples[] = {
    {"url", "amqp://localhost"}, {"pattern", "email.>"},     {"name", "nightly"},
    {"cron", "30 4 * * *"},      {"type", "report.nightly"},
};

static const char *sample_of(const struct config_key *k)
{
        for (size_t i = 0; i < ARRAY_LEN(samples) && !k->fallback[0] && k->min > 0; i++) {
                if (strcmp(samples[i].key, k->name) == 0) {
                        return samples[i].value;
                }
        }
        return k->fallback;
}

/* All of it stands behind "# ": such an entry has no default that could be loaded. */
static int put_entry_example(struct page *p, const struct config_list *l, const char *words,
                             const char *open, const char *close)
{
        put_comment(p, words);
        put(p, "# %s = %s\n", l->name, open);
        for (const struct config_key *k = l->keys; k->name; k++) {
                struct str literal = config_literal(p->arena, k, str_of(sample_of(k)));
                if (!literal.p) {
                        return -ENOMEM;
                }
                put(p, "#         # %s\n", k->help);
                put(p, "#         %s = %.*s;\n", k->name, (int)literal.n, literal.p);
        }
        put(p, "# %s\n", close);
        return 0;
}

int config_print_example(FILE *out)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        struct page p = {.out = out, .arena = &a};
        fputs("# skep's configuration. Every key is here with its default behind a #; take the # "
              "away "
              "to\n"
              "# change it. Files in conf.d beside this one are merged over it in the order of "
              "their\n"
              "# names, then come the environment (SKEP_HANDLERS__WORKERS=4) and flags.\n"
              "# Check it with `skepd -t`. The form is libconfig's; docs/configuration.md has "
              "more.\n\n",
              out);
        int r = put_keys(&p, config_keys);
        if (r == 0) {
                r = put_entry_example(&p, &config_lists[LIST_TRANSPORTS],
                                      "Brokers that queues may name, here one called rabbit. The "
                                      "keys with their defaults:",
                                      "{ rabbit = {", "}; };");
        }
        put(&p, "\nqueues = (\n");
        p.indent += 8;
        r = r == 0 ? put_entry(&p, &config_lists[LIST_QUEUES], 0) : r;
        p.indent -= 8;
        put(&p, ");\n\n");
        if (r == 0) {
                r = put_entry_example(&p, &config_lists[LIST_TYPES],
                                      "What jobs of a type get where they say nothing themselves, "
                                      "over their queue's:",
                                      "( {", "} );");
        }
        fputs("\n", out);
        if (r == 0) {
                r = put_entry_example(&p, &config_lists[LIST_SCHEDULES],
                                      "Jobs that are made by the clock; docs/schedules.md:", "( {",
                                      "} );");
        }
        return r;
}
