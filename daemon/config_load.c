/*
 * The layers in their order, each of which overrides the ones before it key by key. Nothing stops
 * at the first mistake: people mend a file in one go. What a service manager hands over as
 * credentials comes after the files, so that a file may hold a harmless default.
 */
#include "daemon/config_load.h"
#include "daemon/config_apply.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DROPINS_MAX 256

/* --- environment ------------------------------------------------------------------------------ */

/* A variable's value; NULL: unset. */
static const char *variable(const struct config_sources *s, const char *name)
{
        size_t n = strlen(name);
        for (const char *const *e = s->environ; e && *e; e++) {
                if (strncmp(*e, name, n) == 0 && (*e)[n] == '=') {
                        return *e + n + 1;
                }
        }
        return NULL;
}

/* SKEP_HANDLERS__WORKERS=4: the part after SKEP_ in lower case, double underscores as dots. */
static int apply_variable(struct config_build *b, struct str name, const char *value)
{
        struct str source =
            arena_printf(&b->config->arena, "environment %.*s", (int)name.n, name.p);
        char *dotted = arena_alloc(&b->report->arena, name.n + 1);
        uint32_t n = 0;
        if (!source.p || !dotted) {
                return -ENOMEM;
        }
        for (uint32_t i = strlen("SKEP_"); i < name.n; i++) {
                char c = name.p[i];
                bool twice = c == '_' && i + 1 < name.n && name.p[i + 1] == '_';
                dotted[n++] = twice ? '.' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
                i += twice;
        }
        dotted[n] = 0;
        return config_apply_name(b, (struct str){dotted, n}, str_of(value), true, "",
                                 (struct config_origin){source, 0});
}

static int apply_environment(struct config_build *b, const struct config_sources *s)
{
        int r = 0;
        for (const char *const *e = s->environ; e && *e && r == 0; e++) {
                const char *equals = strchr(*e, '=');
                const char *twice = strstr(*e, "__");
                if (strncmp(*e, "SKEP_", 5) == 0 && equals && twice && twice < equals) {
                        struct str name = {*e, (uint32_t)(equals - *e)};
                        r = apply_variable(b, name, equals + 1);
                }
        }
        return r;
}

/* --- flags ------------------------------------------------------------------------------------ */

static int apply_flag(struct config_build *b, const struct config_flag *f)
{
        struct str source = arena_printf(&b->config->arena, "flag %s", f->flag);
        if (!source.p) {
                return -ENOMEM;
        }
        struct config_origin where = {source, 0};
        const char *value = f->value;
        struct str key = str_of(f->key);
        if (!f->key) {
                const char *equals = strchr(f->value, '=');
                if (!equals || equals == f->value) {
                        return config_error(b, where,
                                            "write it as key=value, such as "
                                            "handlers.workers=4");
                }
                key = arena_str(&b->report->arena,
                                (struct str){f->value, (uint32_t)(equals - f->value)});
                value = equals + 1;
        }
        if (!key.p) {
                return -ENOMEM;
        }
        if (config_has_password(str_of(value))) {
                return config_error(b, where,
                                    "%s: a password on the command line can be read by every user; "
                                    "put the value into a file and name that with ledger.url_file, "
                                    "or use the credential ledger-url or the environment",
                                    key.p);
        }
        struct str shown = arena_printf(&b->report->arena, "%s: ", key.p);
        return shown.p ? config_apply_name(b, key, str_of(value), false, shown.p, where) : -ENOMEM;
}

static int apply_flags(struct config_build *b, const struct config_sources *s)
{
        int r = 0;
        for (uint32_t i = 0; i < s->n_flags && r == 0; i++) {
                r = apply_flag(b, &s->flags[i]);
        }
        return r;
}

/* --- defaults --------------------------------------------------------------------------------- */

static int put_default(struct config_build *b, const char *name, struct str value)
{
        struct config_scope whole = config_scope_whole(b->config);
        bool by_file;
        const struct config_key *k = config_key_find(config_keys, str_of(name), &by_file);
        if (!k) {
                return config_error(b, (struct config_origin){0}, "default %s: unknown key", name);
        }
        return config_put(b, &whole, k, value, false, (struct config_origin){0});
}

static int apply_defaults(struct config_build *b, const struct config_sources *s,
                          struct config_places *ret_places)
{
        struct config_surroundings around = {
            .root = s->root,
            .home = variable(s, "HOME"),
            .xdg_config_home = variable(s, "XDG_CONFIG_HOME"),
            .xdg_state_home = variable(s, "XDG_STATE_HOME"),
            .xdg_runtime_dir = variable(s, "XDG_RUNTIME_DIR"),
            .state_directory = variable(s, "STATE_DIRECTORY"),
            .runtime_directory = variable(s, "RUNTIME_DIRECTORY"),
        };
        int r = config_places(&around, &b->report->arena, ret_places);
        if (r == 0) {
                r = put_default(b, "node.state_dir", ret_places->state_dir);
        }
        if (r == 0) {
                r = put_default(b, "http.socket", ret_places->http_socket);
        }
        for (uint32_t i = 0; i < s->n_defaults && r == 0; i++) {
                r = put_default(b, s->defaults[i].key, str_of(s->defaults[i].value));
        }
        return r;
}

/* The ledger stands in the state directory unless somebody said otherwise. */
static int default_ledger(struct config_build *b)
{
        struct config *c = b->config;
        for (size_t i = 0; config_keys[i].name; i++) {
                if (strcmp(config_keys[i].name, "ledger.url") != 0 ||
                    (c->origins && c->origins[i].source.n)) {
                        continue;
                }
                c->ledger_url = arena_printf(&c->arena, "sqlite:%s/skep.db", c->state_dir.p);
        }
        return c->ledger_url.p ? 0 : -ENOMEM;
}

/* --- files ------------------------------------------------------------------------------------ */

/* Did a value with a password come from this source? */
static bool holds_password(const struct config_scope *s, struct str source)
{
        for (size_t i = 0; *s->origins && s->keys[i].name; i++) {
                const struct str *text = (const void *)((const char *)s->base + s->keys[i].offset);
                if (s->keys[i].by_file && (*s->origins)[i].source.p == source.p &&
                    config_has_password(*text)) {
                        return true;
                }
        }
        return false;
}

/* A file that everyone may read and that holds a password. */
static int warn_of_password(struct config_build *b, struct str source)
{
        struct config *c = b->config;
        struct config_scope s = config_scope_whole(c);
        bool held = holds_password(&s, source);
        for (uint32_t i = 0; i < c->n_transports && !held; i++) {
                s = config_scope_entry(c, &config_lists[LIST_TRANSPORTS], i);
                held = holds_password(&s, source);
        }
        return held ? config_warn(b, (struct config_origin){source, 0},
                                  "holds a password and every user can read it; chmod o= %s",
                                  source.p)
                    : 0;
}

/* > 0: there is no such file. */
static int apply_path(struct config_build *b, const char *path)
{
        char note[CONFIG_NOTE_MAX];
        mode_t mode = 0;
        struct str text = {0};
        struct config_node root = {0};
        struct config_origin where = {arena_str(&b->config->arena, str_of(path)), 0};
        if (!where.source.p) {
                return -ENOMEM;
        }
        int r = config_file_slurp(path, &b->report->arena, &text, &mode, note, sizeof note);
        if (r == CONFIG_FILE_MISSING || r < 0) {
                return r;
        }
        if (r == 0) {
                r = config_file_parse(text, &b->report->arena, &root, &where.line, note,
                                      sizeof note);
        }
        if (r > 0) {
                b->unparsed = true;
                return config_error(b, where, "%s", note);
        }
        if (r == 0) {
                r = config_apply_file(b, &root, where.source);
        }
        return r == 0 && (mode & S_IROTH) ? warn_of_password(b, where.source) : r;
}

static void close_folder(DIR **d)
{
        if (*d) {
                closedir(*d);
        }
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a folder that end in .conf and are not hidden, in order. > 0: no such folder. */
static int list_dropins(struct config_build *b, const char *folder,
                        const char *ret_names[static DROPINS_MAX], uint32_t *ret_n)
{
        struct config_origin where = {str_of(folder), 0};
        struct dirent *e;
        uint32_t n = 0;
        DIR *d CLEANUP(close_folder)
        = opendir(folder);
        if (!d && errno == ENOENT) {
                return CONFIG_FILE_MISSING;
        }
        if (!d) {
                b->unparsed = true;
                *ret_n = 0;
                return config_error(b, where, "cannot be read: %s", strerror(errno));
        }
        while ((e = readdir(d))) {
                size_t length = strlen(e->d_name);
                if (e->d_name[0] == '.' || length <= 5 ||
                    strcmp(e->d_name + length - 5, ".conf") != 0) {
                        continue;
                }
                if (n == DROPINS_MAX) {
                        return config_error(b, where, "more than %d files are not allowed",
                                            DROPINS_MAX);
                }
                ret_names[n] = arena_str(&b->report->arena, str_of(e->d_name)).p;
                if (!ret_names[n++]) {
                        return -ENOMEM;
                }
        }
        qsort(ret_names, n, sizeof *ret_names, compare_names);
        *ret_n = n;
        return 0;
}

/* conf.d beside the file. > 0: there is none. */
static int apply_dropins(struct config_build *b, const char *file)
{
        const char *names[DROPINS_MAX];
        uint32_t n = 0;
        const char *slash = strrchr(file, '/');
        struct str folder =
            slash ? arena_printf(&b->report->arena, "%.*s/conf.d", (int)(slash - file), file)
                  : arena_str(&b->report->arena, STR("conf.d"));
        if (!folder.p) {
                return -ENOMEM;
        }
        int r = list_dropins(b, folder.p, names, &n);
        for (uint32_t i = 0; i < n && r == 0; i++) {
                struct str path = arena_printf(&b->report->arena, "%s/%s", folder.p, names[i]);
                r = path.p ? apply_path(b, path.p) : -ENOMEM;
                if (r == CONFIG_FILE_MISSING) {
                        /* A link to nowhere: the name is there. */
                        b->unparsed = true;
                        r = config_error(b, (struct config_origin){path, 0}, "does not exist");
                }
        }
        return r;
}

/* The file and its conf.d. > 0: neither is there. */
static int apply_place(struct config_build *b, const char *file, bool must_exist)
{
        int main_file = apply_path(b, file);
        if (main_file < 0) {
                return main_file;
        }
        if (main_file == 0) {
                b->report->file = arena_str(&b->report->arena, str_of(file));
        } else if (must_exist) {
                b->unparsed = true;
                int r = config_error(b, (struct config_origin){str_of(file), 0}, "does not exist");
                return r;
        }
        int dropins = apply_dropins(b, file);
        if (dropins < 0) {
                return dropins;
        }
        return main_file > 0 && dropins > 0 ? CONFIG_FILE_MISSING : 0;
}

static int apply_files(struct config_build *b, const struct config_sources *s,
                       const struct config_places *places)
{
        if (s->file) {
                return s->file[0] ? apply_place(b, s->file, true) : 0;
        }
        for (size_t i = 0; i < ARRAY_LEN(places->files) && places->files[i].p; i++) {
                int r = apply_place(b, places->files[i].p, false);
                if (r <= 0) {
                        return r;
                }
        }
        return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

struct complaint_sink {
        struct config_build *build;
        int r;
};

static void take_complaint(void *ctx, struct config_origin where, const char *note)
{
        struct complaint_sink *sink = ctx;
        if (sink->r == 0) {
                sink->r = config_error(sink->build, where, "%s", note);
        }
}

/* What is allowed and yet hardly meant. */
static int warn_of_oddities(struct config_build *b)
{
        int r = 0;
        for (uint32_t i = 0; i < b->config->n_queues && r == 0; i++) {
                const struct queue_config *q = &b->config->queues[i];
                struct config_origin where = {0};
                for (size_t k = 0; q->origins && config_queue_keys[k].name; k++) {
                        if (strcmp(config_queue_keys[k].name, "retry.base") == 0) {
                                where = q->origins[k];
                        }
                }
                if (q->retry.base_ms > q->retry.cap_ms) {
                        r = config_warn(b, where,
                                        "queue %s: retry.base is above retry.cap; every delay is "
                                        "the cap",
                                        q->name.p);
                }
        }
        return r;
}

static int check(struct config_build *b)
{
        struct complaint_sink sink = {b, 0};
        if (b->unparsed) {
                return 0;
        }
        config_complaints(b->config, take_complaint, &sink);
        int r = sink.r == 0 ? config_check_backends(b) : sink.r;
        return r == 0 ? warn_of_oddities(b) : r;
}

static int build(struct config_build *b, const struct config_sources *s)
{
        struct config_places places;
        struct queue_config *queue;
        b->config->n_queues = 0; /* `default` is there only when no file names a queue */
        int r = apply_defaults(b, s, &places);
        if (r == 0) {
                r = apply_files(b, s, &places);
        }
        if (r == 0 && b->config->n_queues == 0) {
                r = config_queue_add(b->config, STR("default"), &queue);
        }
        const char *credentials = variable(s, "CREDENTIALS_DIRECTORY");
        if (r == 0 && credentials && credentials[0]) {
                r = config_apply_credentials(b, credentials);
        }
        if (r == 0) {
                r = apply_environment(b, s);
        }
        if (r == 0) {
                r = apply_flags(b, s);
        }
        if (r == 0) {
                r = default_ledger(b);
        }
        r = r == 0 ? check(b) : r;
        return r == 0 ? config_index(b->config) : r;
}

int config_load(const struct config_sources *s, struct config *ret,
                struct config_report *ret_report)
{
        struct config c CLEANUP(config_deinit) = {0};
        *ret_report = (struct config_report){0};
        struct config_build b = {.config = &c, .report = ret_report};
        int r = config_init(&c);
        if (r == 0) {
                r = build(&b, s);
        }
        if (r < 0) {
                return r;
        }
        if (ret_report->n_errors > 0) {
                return CONFIG_LOAD_REFUSED;
        }
        *ret = c;
        c = (struct config){0};
        return 0;
}

void config_report_deinit(struct config_report *r)
{
        arena_deinit(&r->arena);
        *r = (struct config_report){0};
}
