/*
 * The lists of a file: queues, types, schedules, transports, options of handlers. Merging is here:
 * an entry whose name is known changes that one key by key, a new one is appended; the same name
 * twice in one file is an error. A list that replaced an earlier file's list was discarded: a
 * drop-in file should need to say only what it changes.
 */
#include "daemon/config_apply.h"

#include <errno.h>

static const struct config_node *member(const struct config_node *group, const char *name)
{
        for (uint32_t i = 0; i < group->n; i++) {
                if (str_eq(group->children[i].name, str_of(name))) {
                        return &group->children[i];
                }
        }
        return NULL;
}

/* The entry of the list that is meant, appended when it is new. > 0: refused. */
static int find_entry(struct config_build *b, const struct config_list *l,
                      const struct config_node *name, struct config_origin where, uint32_t *ret)
{
        char note[CONFIG_NOTE_MAX];
        struct str try;
        void *entry;
        struct config_key key = l->keys[CONFIG_KEY_NAME];
        key.offset = 0;
        int r = config_set(&try, &b->report->arena, &key, name->text, note, sizeof note);
        if (r > 0) {
                r = config_error(b, where, "%s: %s", l->name, note);
                return r < 0 ? r : CONFIG_REFUSED;
        }
        int known = r == 0 ? config_entry_named(b->config, l, name->text) : -1;
        if (known >= 0) {
                *ret = (uint32_t)known;
                return 0;
        }
        r = r == 0 ? config_entry_add(b->config, l, name->text, &entry) : r;
        if (r > 0) {
                r = config_error(b, where, "%s: more than %u are not allowed", l->name, l->max);
                return r < 0 ? r : CONFIG_REFUSED;
        }
        *ret = config_entries(b->config, l) - 1;
        return r;
}

/* Types and schedules know where their entry began. */
static void note_entry(struct config *c, const struct config_list *l, uint32_t i,
                       struct config_origin where)
{
        if (l == &config_lists[LIST_TYPES]) {
                c->types[i].origin = where;
        } else if (l == &config_lists[LIST_SCHEDULES]) {
                c->schedules[i].origin = where;
        }
}

static int apply_entry(struct config_build *b, const struct config_list *l,
                       const struct config_node *entry, uint32_t index, struct str source)
{
        uint32_t i = 0;
        const char *key = l->keys[CONFIG_KEY_NAME].name;
        struct config_origin where = {source, entry->line};
        const struct config_node *name = member(entry, key);
        if (entry->kind != NODE_GROUP) {
                return config_error(b, where,
                                    "%s: entry %u is %s; it takes a section "
                                    "{ %s = \"email\"; }",
                                    l->name, index + 1, config_kind_names[entry->kind], key);
        }
        if (!name || name->kind != NODE_TEXT) {
                return config_error(b, where, "%s: entry %u needs a %s = \"...\"", l->name,
                                    index + 1, key);
        }
        where.line = name->line;
        int r = find_entry(b, l, name, where, &i);
        if (r != 0) {
                return r < 0 ? r : 0;
        }
        struct config_scope s = config_scope_entry(b->config, l, i);
        struct config_origin *slot = config_origin_slot(b, &s, &s.keys[CONFIG_KEY_NAME]);
        if (!slot) {
                return -ENOMEM;
        }
        if (slot->source.p == where.source.p) {
                return config_error(b, where, "%s: %s is there twice, see line %d", l->name,
                                    name->text.p, slot->line);
        }
        *slot = where;
        note_entry(b->config, l, i, where);
        return config_apply_group(b, &s, entry, STR(""), source);
}

int config_apply_entries(struct config_build *b, const struct config_list *l,
                         const struct config_node *list, struct str source)
{
        struct config_origin where = {source, list->line};
        int r = 0;
        if (list->kind != NODE_LIST) {
                return config_error(b, where,
                                    "%s: takes a list of sections, ( { %s = "
                                    "\"email\"; } ), not %s",
                                    l->name, l->keys[CONFIG_KEY_NAME].name,
                                    config_kind_names[list->kind]);
        }
        for (uint32_t i = 0; i < list->n && r == 0; i++) {
                r = apply_entry(b, l, &list->children[i], i, source);
        }
        return r;
}

static int apply_transport(struct config_build *b, const struct config_node *entry,
                           struct str source)
{
        const struct config_list *l = &config_lists[LIST_TRANSPORTS];
        struct config *c = b->config;
        struct config_origin where = {source, entry->line};
        struct transport_config *t;
        if (entry->kind != NODE_GROUP) {
                return config_error(b, where,
                                    "transports: %s: takes a section { url = \"...\"; }, "
                                    "not %s",
                                    entry->name.p, config_kind_names[entry->kind]);
        }
        if (entry->name.n > 64) {
                return config_error(b, where, "transports: a name of more than 64 bytes");
        }
        int i = config_entry_named(c, l, entry->name);
        int r = i >= 0 ? 0 : config_transport_add(c, entry->name, &t);
        if (r > 0) {
                return config_error(b, where, "transports: more than %d are not allowed",
                                    CONFIG_TRANSPORTS_MAX);
        }
        if (r < 0) {
                return r;
        }
        uint32_t at = i >= 0 ? (uint32_t)i : c->n_transports - 1;
        c->transports[at].origin = where;
        struct config_scope s = config_scope_entry(c, l, at);
        return config_apply_group(b, &s, entry, STR(""), source);
}

int config_apply_transports(struct config_build *b, const struct config_node *group,
                            struct str source)
{
        int r = 0;
        if (group->kind != NODE_GROUP) {
                return config_error(b, (struct config_origin){source, group->line},
                                    "transports: takes a section of sections, { rabbit = { url = "
                                    "\"...\"; }; }, not %s",
                                    config_kind_names[group->kind]);
        }
        for (uint32_t i = 0; i < group->n && r == 0; i++) {
                r = apply_transport(b, &group->children[i], source);
        }
        return r;
}

/* --- options of handlers ---------------------------------------------------------------------- */

static int put_option(struct config_build *b, struct str type, const struct config_node *n,
                      struct config_origin where)
{
        struct config *c = b->config;
        struct handler_option_config *o = NULL;
        int r = 0;
        where.line = n->line;
        if (n->kind == NODE_GROUP || n->kind == NODE_LIST) {
                return config_error(b, where,
                                    "handlers.options: %s: takes a text, a number, true "
                                    "or false, not %s",
                                    n->name.p, config_kind_names[n->kind]);
        }
        for (uint32_t i = 0; i < c->n_handler_options; i++) {
                if (str_eq(c->handler_options[i].type, type) &&
                    str_eq(c->handler_options[i].name, n->name)) {
                        o = &c->handler_options[i];
                }
        }
        if (o && o->origin.source.p == where.source.p) {
                return config_error(b, where,
                                    "handlers.options: %s of %s is given twice, see line "
                                    "%d",
                                    n->name.p, type.p, o->origin.line);
        }
        r = o ? 0 : config_option_add(c, &o);
        if (r > 0) {
                return config_error(b, where, "handlers.options: more than %d are not allowed",
                                    CONFIG_OPTIONS_MAX);
        }
        if (r < 0) {
                return r;
        }
        *o = (struct handler_option_config){arena_str(&c->arena, type),
                                            arena_str(&c->arena, n->name),
                                            arena_str(&c->arena, n->text), where};
        return o->type.p && o->name.p && o->value.p ? 0 : -ENOMEM;
}

/* One entry { type = "webhook"; set = { url = "..."; }; }. */
static int apply_option(struct config_build *b, const struct config_node *entry,
                        struct config_origin where)
{
        bool group = entry->kind == NODE_GROUP;
        const struct config_node *type = group ? member(entry, "type") : NULL;
        const struct config_node *set = group ? member(entry, "set") : NULL;
        where.line = entry->line;
        if (!type || type->kind != NODE_TEXT || !set || set->kind != NODE_GROUP || entry->n != 2) {
                return config_error(b, where,
                                    "handlers.options: an entry takes the form "
                                    "{ type = \"webhook\"; set = { name = value; }; }");
        }
        int r = 0;
        for (uint32_t i = 0; i < set->n && r == 0; i++) {
                r = put_option(b, type->text, &set->children[i], where);
        }
        return r;
}

int config_apply_options(struct config_build *b, const struct config_node *list, struct str source)
{
        struct config_origin where = {source, list->line};
        int r = 0;
        if (list->kind != NODE_LIST) {
                return config_error(b, where,
                                    "handlers.options: takes a list of sections, "
                                    "( { type = \"webhook\"; set = { name = value; }; } ), not %s",
                                    config_kind_names[list->kind]);
        }
        for (uint32_t i = 0; i < list->n && r == 0; i++) {
                r = apply_option(b, &list->children[i], where);
        }
        return r;
}
