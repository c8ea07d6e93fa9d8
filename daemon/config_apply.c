/*
 * From parsed nodes to values. One walk serves the whole, a queue and a transport: a group is
 * looked up in the scope's table of keys, dotted name by dotted name. A value of the wrong kind is
 * refused even where it could be read ("4" for 4): what a file means must not depend on who reads
 * it.
 */
#include "daemon/config_apply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

/* --- the report ------------------------------------------------------------------------------- */

static int add_line(struct config_report *r, struct str *lines, uint32_t *n,
                    struct config_origin where, const char *fmt, va_list args)
{
        char note[CONFIG_NOTE_MAX], place[32] = "";
        vsnprintf(note, sizeof note, fmt, args);
        if ((*n)++ >= CONFIG_ERRORS_MAX) {
                return 0;
        }
        if (where.line > 0) {
                snprintf(place, sizeof place, ":%d", where.line);
        }
        struct str source = where.source.n ? where.source : STR("configuration");
        struct str line =
            arena_printf(&r->arena, "%.*s%s: %s", (int)source.n, source.p, place, note);
        lines[*n - 1] = line;
        for (char *p = (char *)line.p; p && *p; p++) {
                /* Names and paths may hold anything; a line stays a line. */
                *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
        }
        return line.p ? 0 : -ENOMEM;
}

int config_error(struct config_build *b, struct config_origin where, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        int r = add_line(b->report, b->report->errors, &b->report->n_errors, where, fmt, args);
        va_end(args);
        return r;
}

int config_warn(struct config_build *b, struct config_origin where, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        int r = add_line(b->report, b->report->warnings, &b->report->n_warnings, where, fmt, args);
        va_end(args);
        return r;
}

/* --- one value -------------------------------------------------------------------------------- */

struct config_scope config_scope_whole(struct config *c)
{
        return (struct config_scope){c, config_keys, &c->origins, ""};
}

struct config_scope config_scope_entry(struct config *c, const struct config_list *l, uint32_t i)
{
        char *entry = config_entry(c, l, i);
        struct config_scope s = {entry, l->keys,
                                 (struct config_origin **)(void *)(entry + l->origins), ""};
        struct str name = config_entry_name(c, l, i);
        snprintf(s.label, sizeof s.label, "%s %.*s: ", l->one, (int)name.n, name.p);
        return s;
}

const struct config_key *config_key_find(const struct config_key *keys, struct str name,
                                         bool *ret_by_file)
{
        static const char suffix[] = "_file";
        const uint32_t n = sizeof suffix - 1;
        bool tail = name.n > n && memcmp(name.p + name.n - n, suffix, n) == 0;
        for (const struct config_key *k = keys; k->name; k++) {
                bool exact = str_eq(str_of(k->name), name);
                bool file =
                    tail && k->by_file && str_eq(str_of(k->name), (struct str){name.p, name.n - n});
                if (exact || file) {
                        *ret_by_file = file;
                        return k;
                }
        }
        return NULL;
}

struct config_origin *config_origin_slot(struct config_build *b, const struct config_scope *s,
                                         const struct config_key *k)
{
        if (!*s->origins) {
                size_t n = 0;
                while (s->keys[n].name) {
                        n++;
                }
                *s->origins = arena_zalloc(&b->config->arena, n * sizeof **s->origins);
        }
        return *s->origins ? &(*s->origins)[k - s->keys] : NULL;
}

/* The text of a file that holds one value, without the line ends behind it. */
static int read_value(struct config_build *b, const struct config_scope *s,
                      const struct config_key *k, struct str *value, struct config_origin where)
{
        char note[160];
        mode_t mode;
        struct str text;
        struct str path = arena_str(&b->report->arena, *value);
        if (!path.p) {
                return -ENOMEM;
        }
        int r = config_file_slurp(path.p, &b->report->arena, &text, &mode, note, sizeof note);
        if (r == CONFIG_FILE_MISSING) {
                snprintf(note, sizeof note, "does not exist");
        }
        if (r > 0) {
                int e = config_error(b, where, "%s%s_file: %s %s", s->label, k->name, path.p, note);
                return e < 0 ? e : CONFIG_REFUSED;
        }
        while (r == 0 && text.n > 0 && strchr("\r\n", text.p[text.n - 1])) {
                text.n--;
        }
        if (r == 0 && mode & S_IRWXO) {
                r = config_warn(b, where, "%s%s_file: %s is open to every user; chmod o= %s",
                                s->label, k->name, path.p, path.p);
        }
        *value = text;
        return r;
}

int config_put(struct config_build *b, const struct config_scope *s, const struct config_key *k,
               struct str value, bool by_file, struct config_origin where)
{
        char note[CONFIG_NOTE_MAX];
        struct config_origin *slot = config_origin_slot(b, s, k);
        if (!slot) {
                return -ENOMEM;
        }
        if (where.line > 0 && slot->source.p == where.source.p) {
                return config_error(b, where, "%s%s: is given twice, see line %d", s->label,
                                    k->name, slot->line);
        }
        if (by_file) {
                int r = read_value(b, s, k, &value, where);
                if (r != 0) {
                        return r < 0 ? r : 0;
                }
        }
        int r = config_set(s->base, &b->config->arena, k, value, note, sizeof note);
        if (r > 0) {
                return config_error(b, where, "%s%s", s->label, note);
        }
        if (r == 0) {
                *slot = where;
        }
        return r;
}

/* --- a group of settings ---------------------------------------------------------------------- */

const char *const config_kind_names[] = {
    [NODE_TEXT] = "a text",           [NODE_WHOLE] = "a whole number",
    [NODE_REAL] = "a decimal number", [NODE_BOOL] = "true or false",
    [NODE_GROUP] = "a section { }",   [NODE_LIST] = "a list",
};

static const struct {
        uint32_t kinds; /* bits of config_node_kind */
        const char *takes;
} type_forms[] = {
    [CONFIG_TEXT] = {1u << NODE_TEXT, "a text in quotes"},
    [CONFIG_COUNT] = {1u << NODE_WHOLE, "a whole number without quotes"},
    [CONFIG_DURATION] = {1u << NODE_TEXT | 1u << NODE_WHOLE, "a duration in quotes, \"30s\""},
    [CONFIG_SIZE] = {1u << NODE_TEXT | 1u << NODE_WHOLE, "a number of bytes, or \"1M\""},
    [CONFIG_RATIO] = {1u << NODE_WHOLE | 1u << NODE_REAL, "a number without quotes"},
    [CONFIG_CHOICE] = {1u << NODE_TEXT, "a word in quotes"},
    [CONFIG_TEXTS] = {1u << NODE_LIST, "a list of texts, [ \"a\", \"b\" ]"},
    [CONFIG_DELAYS] = {1u << NODE_LIST, "a list of durations, [ \"1s\", \"10s\" ]"},
};

static int put_list(struct config_build *b, const struct config_scope *s,
                    const struct config_key *k, const struct config_node *n,
                    struct config_origin where)
{
        struct str all = STR("");
        for (uint32_t i = 0; i < n->n && all.p; i++) {
                struct str item = n->children[i].text;
                bool single =
                    n->children[i].kind == NODE_TEXT && item.n > 0 && !memchr(item.p, ',', item.n);
                if (!single) {
                        where.line = n->children[i].line;
                        return config_error(b, where,
                                            "%s%s: entry %u is not a single text; it "
                                            "takes %s",
                                            s->label, k->name, i + 1, type_forms[k->type].takes);
                }
                all = arena_printf(&b->report->arena, "%s%s%s", all.p, i ? "," : "", item.p);
        }
        return all.p ? config_put(b, s, k, all, false, where) : -ENOMEM;
}

static int put_node(struct config_build *b, const struct config_scope *s,
                    const struct config_key *k, const struct config_node *n, bool by_file,
                    struct config_origin where)
{
        bool word = k->word && n->kind == NODE_TEXT && str_eq(n->text, str_of(k->word));
        if (!word && !(type_forms[k->type].kinds & 1u << n->kind)) {
                return config_error(b, where, "%s%s: takes %s, not %s", s->label, k->name,
                                    type_forms[k->type].takes, config_kind_names[n->kind]);
        }
        if (n->kind == NODE_LIST) {
                return put_list(b, s, k, n, where);
        }
        return config_put(b, s, k, n->text, by_file, where);
}

/* Is `name` a section, that is, the beginning of a key up to a dot? */
static bool is_section(const struct config_key *keys, struct str name)
{
        for (const struct config_key *k = keys; k->name; k++) {
                if (strlen(k->name) > name.n && memcmp(k->name, name.p, name.n) == 0 &&
                    k->name[name.n] == '.') {
                        return true;
                }
        }
        return false;
}

/* The section whose name is near to what was written. */
static struct str nearest_section(const struct config_scope *s, struct str written)
{
        struct str best = {0};
        uint32_t best_distance = 3;
        for (const struct config_key *k = s->keys; k->name; k++) {
                struct str first = {k->name, (uint32_t)strcspn(k->name, ".")};
                uint32_t distance = config_distance(first, written);
                if (k->name[first.n] && distance < best_distance) {
                        best = first;
                        best_distance = distance;
                }
        }
        for (size_t i = 0; s->keys == config_keys && i < CONFIG_LISTS; i++) {
                uint32_t distance = config_distance(str_of(config_lists[i].name), written);
                if (distance < best_distance) {
                        best = str_of(config_lists[i].name);
                        best_distance = distance;
                }
        }
        return best;
}

static int refuse_unknown(struct config_build *b, const struct config_scope *s, struct str name,
                          const struct config_node *n, struct config_origin where)
{
        if (is_section(s->keys, name)) {
                return config_error(b, where, "%s%s: is a section: %s = { ... };", s->label, name.p,
                                    name.p);
        }
        bool section = n->kind == NODE_GROUP || n->kind == NODE_LIST;
        struct str near = nearest_section(s, name);
        const char *key = section ? NULL : config_nearest(s->keys, name);
        if (key) {
                near = str_of(key);
        }
        const char *what = section ? "section" : "key";
        if (near.n == 0) {
                return config_error(b, where, "%s%.*s: unknown %s", s->label, 128, name.p, what);
        }
        return config_error(b, where, "%s%.*s: unknown %s; did you mean `%.*s`?", s->label, 128,
                            name.p, what, (int)near.n, near.p);
}

/* The lists that have no row in the table of keys; false: n is none of them. */
static bool apply_list(struct config_build *b, struct str name, const struct config_node *n,
                       struct str source, int *ret)
{
        if (str_eq(name, STR("handlers.options"))) {
                *ret = config_apply_options(b, n, source);
                return true;
        }
        for (size_t i = 0; i < CONFIG_LISTS; i++) {
                if (str_eq(name, str_of(config_lists[i].name))) {
                        *ret = i == LIST_TRANSPORTS
                                   ? config_apply_transports(b, n, source)
                                   : config_apply_entries(b, &config_lists[i], n, source);
                        return true;
                }
        }
        return false;
}

static int apply_node(struct config_build *b, const struct config_scope *s,
                      const struct config_node *n, struct str name, struct str source)
{
        struct config_origin where = {source, n->line};
        bool by_file = false;
        int r = 0;
        const struct config_key *k = config_key_find(s->keys, name, &by_file);
        if (k == &s->keys[CONFIG_KEY_NAME] && s->keys != config_keys &&
            s->keys != config_transport_keys) {
                return 0; /* it said which entry this is */
        }
        if (k) {
                return put_node(b, s, k, n, by_file, where);
        }
        if (s->keys == config_keys && apply_list(b, name, n, source, &r)) {
                return r;
        }
        if (n->kind == NODE_GROUP && is_section(s->keys, name)) {
                return config_apply_group(b, s, n, name, source);
        }
        return refuse_unknown(b, s, name, n, where);
}

int config_apply_group(struct config_build *b, const struct config_scope *s,
                       const struct config_node *group, struct str prefix, struct str source)
{
        int r = 0;
        for (uint32_t i = 0; i < group->n && r == 0; i++) {
                const struct config_node *n = &group->children[i];
                struct str name = arena_printf(&b->report->arena, "%s%s%s", prefix.p,
                                               prefix.n ? "." : "", n->name.p);
                r = name.p ? apply_node(b, s, n, name, source) : -ENOMEM;
        }
        return r;
}

int config_apply_file(struct config_build *b, const struct config_node *root, struct str source)
{
        struct config_scope whole = config_scope_whole(b->config);
        return config_apply_group(b, &whole, root, STR(""), source);
}
