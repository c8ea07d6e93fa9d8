/*
 * Settings by name: flags (`queues.email.concurrency`), environment variables
 * (SKEP_QUEUES__EMAIL__CONCURRENCY) and credentials (ledger-url). Names here reach what exists;
 * they never create a queue or transport, so a mistyped name is found.
 */
#include "daemon/config_apply.h"

#include <errno.h>
#include <stdio.h>

static char fold(char letter)
{
        if (letter >= 'A' && letter <= 'Z') {
                return (char)(letter | 0x20);
        }
        return letter == '.' || letter == '-' || letter == '*' || letter == '>' ? '_' : letter;
}

/* Does `text` begin with `name` and a dot? folded: as the environment can write the name. */
static bool begins_with(struct str text, struct str name, bool folded)
{
        if (text.n <= name.n || text.p[name.n] != '.') {
                return false;
        }
        for (uint32_t i = 0; i < name.n; i++) {
                if (text.p[i] != (folded ? fold(name.p[i]) : name.p[i])) {
                        return false;
                }
        }
        return true;
}

/* Dotted lower case to a variable's name. */
static struct str variable_name(struct arena *a, struct str dotted)
{
        struct str name = arena_str(a, STR("SKEP_"));
        char part[2] = "";
        for (uint32_t i = 0; i < dotted.n && name.p; i++) {
                char c = dotted.p[i];
                part[0] = c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
                name = arena_printf(a, "%s%s", name.p, c == '.' ? "__" : part);
        }
        return name;
}

/* Unknown: the nearest is offered in the form that was used. `before`: the part ahead of the key.
 */
static int refuse_name(struct config_build *b, const struct config_key *keys, struct str before,
                       struct str rest, bool folded, const char *shown, struct config_origin where)
{
        const char *near = config_nearest(keys, rest);
        if (!near) {
                return config_error(b, where, "%sunknown key", shown);
        }
        struct str full = arena_printf(&b->report->arena, "%.*s%s", (int)before.n, before.p, near);
        if (full.p && folded) {
                full = variable_name(&b->report->arena, full);
        }
        if (!full.p) {
                return -ENOMEM;
        }
        return config_error(b, where, "%sunknown key; did you mean `%s`?", shown, full.p);
}

static const struct config_list *list_of(const struct config_key *keys)
{
        size_t i = 0;
        while (i + 1 < CONFIG_LISTS && config_lists[i].keys != keys) {
                i++;
        }
        return &config_lists[i];
}

static int put_named(struct config_build *b, const struct config_scope *s, struct str before,
                     struct str rest, struct str value, bool folded, const char *shown,
                     struct config_origin where)
{
        bool by_file = false;
        const struct config_key *k = config_key_find(s->keys, rest, &by_file);
        if (!k) {
                return refuse_name(b, s->keys, before, rest, folded, shown, where);
        }
        if (k == &s->keys[CONFIG_KEY_NAME] && s->keys != config_keys &&
            s->keys != config_transport_keys) {
                return config_error(b, where, "%sa %s's %s is set in a file alone", shown,
                                    list_of(s->keys)->one, k->name);
        }
        return config_put(b, s, k, value, by_file, where);
}

/* The names of all entries, for messages. */
static struct str list_names(struct config_build *b, const struct config_list *l)
{
        struct str all = STR("");
        for (uint32_t i = 0; i < config_entries(b->config, l) && i < 8 && all.p; i++) {
                struct str name = config_entry_name(b->config, l, i);
                all = arena_printf(&b->report->arena, "%s%s%s", all.p, i ? ", " : "", name.p);
        }
        return all;
}

/* The entry that text begins with, the longest name of all; -1: none, -2: two fit equally. */
static int find_entry(const struct config *c, const struct config_list *l, struct str text,
                      bool folded)
{
        int best = -1;
        uint32_t best_n = 0;
        for (uint32_t i = 0; i < config_entries(c, l); i++) {
                struct str name = config_entry_name(c, l, i);
                if (!begins_with(text, name, folded) || name.n < best_n) {
                        continue;
                }
                best = name.n == best_n ? -2 : (int)i;
                best_n = name.n;
        }
        return best;
}

static int apply_entry(struct config_build *b, const struct config_list *l, struct str name,
                       struct str value, bool folded, const char *shown, struct config_origin where)
{
        struct config *c = b->config;
        struct str head = {name.p, (uint32_t)strcspn(name.p, ".") + 1};
        struct str text = {name.p + head.n, name.n - head.n};
        int i = find_entry(c, l, text, folded);
        if (i == -2) {
                return config_error(b, where, "%sfits two %s; set it in a file", shown, l->name);
        }
        if (i < 0) {
                struct str names = list_names(b, l);
                if (!names.p) {
                        return -ENOMEM;
                }
                return config_error(b, where, "%sthere is no such %s; there %s %s", shown, l->one,
                                    names.n ? "are:" : "is", names.n ? names.p : "none");
        }
        struct config_scope s = config_scope_entry(c, l, (uint32_t)i);
        uint32_t n = config_entry_name(c, l, (uint32_t)i).n;
        struct str before = {name.p, head.n + n + 1};
        struct str rest = {text.p + n + 1, text.n - n - 1};
        return put_named(b, &s, before, rest, value, folded, shown, where);
}

int config_apply_name(struct config_build *b, struct str name, struct str value, bool folded,
                      const char *shown, struct config_origin where)
{
        for (size_t i = 0; i < CONFIG_LISTS; i++) {
                if (begins_with(name, str_of(config_lists[i].name), false)) {
                        return apply_entry(b, &config_lists[i], name, value, folded, shown, where);
                }
        }
        struct config_scope whole = config_scope_whole(b->config);
        return put_named(b, &whole, STR(""), name, value, folded, shown, where);
}

/* --- credentials ------------------------------------------------------------------------------ */

/* Sets k from FOLDER/PREFIXkey, dots as dashes, if that file is there. */
static int apply_credential(struct config_build *b, const struct config_scope *s,
                            const struct config_key *k, const char *folder, const char *prefix)
{
        char note[160];
        mode_t mode;
        struct str text;
        struct str source = arena_printf(&b->config->arena, "credential %s%s", prefix, k->name);
        if (!source.p) {
                return -ENOMEM;
        }
        for (char *dot = strchr(source.p, '.'); dot; dot = strchr(dot, '.')) {
                *dot = '-';
        }
        struct config_origin where = {source, 0};
        const char *name = source.p + strlen("credential ");
        struct str path = arena_printf(&b->report->arena, "%s/%s", folder, name);
        if (!path.p) {
                return -ENOMEM;
        }
        int r = config_file_slurp(path.p, &b->report->arena, &text, &mode, note, sizeof note);
        if (r == CONFIG_FILE_MISSING) {
                return 0;
        }
        if (r > 0) {
                return config_error(b, where, "%s %s", path.p, note);
        }
        if (r < 0) {
                return r;
        }
        while (text.n > 0 && strchr("\r\n", text.p[text.n - 1])) {
                text.n--;
        }
        return config_put(b, s, k, text, false, where);
}

static int apply_credentials(struct config_build *b, const struct config_scope *s,
                             const char *folder, const char *prefix)
{
        int r = 0;
        for (const struct config_key *k = s->keys; k->name && r == 0; k++) {
                if (k->by_file) {
                        r = apply_credential(b, s, k, folder, prefix);
                }
        }
        return r;
}

int config_apply_credentials(struct config_build *b, const char *folder)
{
        struct config *c = b->config;
        struct config_scope s = config_scope_whole(c);
        int r = apply_credentials(b, &s, folder, "");
        for (uint32_t i = 0; i < c->n_transports && r == 0; i++) {
                s = config_scope_entry(c, &config_lists[LIST_TRANSPORTS], i);
                struct str prefix =
                    arena_printf(&b->report->arena, "transports-%s-", c->transports[i].name.p);
                r = prefix.p ? apply_credentials(b, &s, folder, prefix.p) : -ENOMEM;
        }
        return r;
}
