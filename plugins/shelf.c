/*
 * The files that were looked at, which of them serve, and the roster of each generation. A file
 * that is replaced goes on serving as its former version until the new one passed its probe; when
 * the new one is refused the former stays, and the reason says so. Of two plug-ins in a tie the one
 * that came later is refused; it gets its turn when the other goes.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/pattern.h"

#define GATHER_NS (200 * NS_PER_MS) /* a change waits so long for probes that still run */

struct plugin *plugin_unref(struct plugin *p)
{
        if (p && --p->refs == 0) {
                manifest_deinit(&p->manifest);
                close_fds(&p->memfd, 1);
                free(p->file);
                free(p->json);
                free(p->types);
                free(p);
        }
        return NULL;
}

struct lineup *lineup_unref(struct lineup *l)
{
        if (l && --l->refs == 0) {
                for (uint32_t i = 0; i < l->n; i++) {
                        plugin_unref(l->plugins[i]);
                }
                roster_unref(l->roster);
                free(l->plugins);
                free(l);
        }
        return NULL;
}

struct signature signature_of(const struct stat *st)
{
        return (struct signature){
            .dev = st->st_dev,
            .ino = st->st_ino,
            .size = (uint64_t)st->st_size,
            .mtime_ns = st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec,
            .ctime_ns = st->st_ctim.tv_sec * NS_PER_S + st->st_ctim.tv_nsec,
            .mode = st->st_mode,
            .uid = st->st_uid,
        };
}

/* --- files ------------------------------------------------------------ */

static struct shelf_file *file_free(struct shelf_file *f)
{
        plugin_unref(f->plugin);
        free(f->name);
        free(f->reason);
        free(f);
        return NULL;
}

/* The place of a name in the list, which is kept in order of names. */
static struct shelf_file **place_of(struct host *h, const char *name)
{
        struct shelf_file **at = &h->shelf.files;
        while (*at && strcmp((*at)->name, name) < 0) {
                at = &(*at)->next;
        }
        return at;
}

static struct shelf_file *add_file(struct shelf_file **at, const char *name)
{
        struct shelf_file *f = calloc(1, sizeof *f);
        if (!f || !(f->name = strdup(name))) {
                free(f);
                return NULL;
        }
        f->next = *at;
        *at = f;
        return f;
}

static void mark_changed(struct host *h)
{
        if (!h->shelf.changed) {
                h->shelf.changed = true;
                h->shelf.changed_ns = h->now_ns;
        }
}

static void remove_file(struct host *h, struct shelf_file **at)
{
        struct shelf_file *f = *at;
        probe_cancel(h, f);
        if (f->plugin) {
                mark_changed(h);
        }
        *at = f->next;
        file_free(f);
}

void shelf_look(struct host *h, const char *name)
{
        char path[4096];
        struct stat st;
        struct shelf_file **at = place_of(h, name);
        bool known = *at && strcmp((*at)->name, name) == 0;
        snprintf(path, sizeof path, "%s/%s", h->o.handlers_dir, name);
        if (lstat(path, &st) < 0) {
                if (known) {
                        remove_file(h, at);
                }
                return;
        }
        struct signature now = signature_of(&st);
        struct shelf_file *f = known ? *at : add_file(at, name);
        if (!f || (known && memcmp(&f->seen, &now, sizeof now) == 0)) {
                return;
        }
        probe_cancel(h, f);
        f->seen = now;
        f->bytes = now.size;
        f->probe_wanted = true;
}

static void set_reason(struct shelf_file *f, char *reason /* takes reason */)
{
        free(f->reason);
        f->reason = reason;
}

void shelf_accept(struct host *h, struct shelf_file *f, struct plugin *p)
{
        char note[400];
        f->probed_wall_us = wall_us();
        if (!manifest_options_fit(&p->manifest, h->o.options, note, sizeof note)) {
                plugin_unref(p);
                shelf_refuse(h, f, note);
                return;
        }
        set_reason(f, NULL);
        plugin_unref(f->plugin);
        f->plugin = p;
        f->serving = false; /* until the ties are settled */
        if (!f->order) {
                f->order = ++h->shelf.orders;
        }
        mark_changed(h);
}

void shelf_refuse(struct host *h, struct shelf_file *f, const char *reason)
{
        f->probed_wall_us = wall_us();
        set_reason(f, text_of("%s%s", reason,
                              f->plugin ? " (the file's former version goes on serving)" : ""));
        host_tell(h, HOST_REFUSED, f->name, "%s", f->reason ? f->reason : reason);
}

/* --- who serves ------------------------------------------------------------ */

static const struct shelf_file *tie_with(const struct plugin *p, struct shelf_file *const *taken,
                                         uint32_t n, struct str *ret_a, struct str *ret_b)
{
        for (uint32_t i = 0; i < n; i++) {
                const struct manifest *other = &taken[i]->plugin->manifest;
                for (uint32_t a = 0; a < p->manifest.n; a++) {
                        for (uint32_t b = 0; b < other->n; b++) {
                                *ret_a = p->manifest.handlers[a].type;
                                *ret_b = other->handlers[b].type;
                                if (pattern_tie(*ret_a, *ret_b)) {
                                        return taken[i];
                                }
                        }
                }
        }
        return NULL;
}

static int by_order(const void *a, const void *b)
{
        const struct shelf_file *x = *(struct shelf_file *const *)a,
                                *y = *(struct shelf_file *const *)b;
        return x->order < y->order ? -1 : x->order > y->order;
}

static void say_tie(struct host *h, struct shelf_file *f, const struct shelf_file *other,
                    struct str a, struct str b)
{
        char *why =
            text_of("%s serves \"%s\" and %s serves \"%s\": both match the same types equally "
                    "well; remove one of them or make one type more exact",
                    f->name, a.p, other->name, b.p);
        if (why && (!f->reason || strcmp(f->reason, why) != 0)) {
                host_tell(h, HOST_REFUSED, f->name, "%s", why);
        }
        f->serving = false;
        set_reason(f, why);
}

static void say_accepted(struct host *h, struct shelf_file *f)
{
        if (!f->serving) {
                host_tell(h, HOST_ACCEPTED, f->name, "serves %s (build %s)", f->plugin->types,
                          f->plugin->build);
                set_reason(f, NULL);
        }
        f->serving = true;
}

/* Fills `taken` (room for all files) in order of acceptance; returns how many serve. */
static uint32_t settle_ties(struct host *h, struct shelf_file **taken)
{
        uint32_t n = 0, kept = 0;
        for (struct shelf_file *f = h->shelf.files; f; f = f->next) {
                if (f->plugin) {
                        taken[n++] = f;
                }
        }
        qsort(taken, n, sizeof(struct shelf_file *), by_order);
        for (uint32_t i = 0; i < n; i++) {
                struct str a, b;
                const struct shelf_file *other = tie_with(taken[i]->plugin, taken, kept, &a, &b);
                if (other) {
                        say_tie(h, taken[i], other, a, b);
                } else {
                        say_accepted(h, taken[i]);
                        taken[kept++] = taken[i];
                }
        }
        return kept;
}

static bool same_plugins(const struct lineup *l, struct shelf_file *const *taken, uint32_t n)
{
        bool same = l ? l->n == n : n == 0;
        for (uint32_t i = 0; same && i < n; i++) {
                same = l->plugins[i] == taken[i]->plugin;
        }
        return same;
}

static void describe(const struct plugin *p, uint32_t index, struct handler_desc *ret)
{
        for (uint32_t i = 0; i < p->manifest.n; i++) {
                const struct manifest_handler *m = &p->manifest.handlers[i];
                ret[i] = (struct handler_desc){
                    .pattern = m->type,
                    .plugin = str_of(p->file),
                    .plugin_index = index,
                    .handler_index = i,
                    .timeout_ms = m->timeout_ms,
                    .concurrency = m->concurrency,
                    .flags = m->flags,
                    .heartbeat_ms = m->heartbeat_ms,
                    .batch_max = m->batch_max,
                    .batch_wait_ms = m->batch_wait_ms,
                };
                memcpy(ret[i].build, p->build, sizeof ret[i].build);
        }
}

static void drop_files(struct shelf_file ***files)
{
        free(*files);
}

/* All handlers of all plug-ins that serve, in an array of the caller's; NULL when memory is out. */
static struct handler_desc *describe_all(struct shelf_file *const *taken, uint32_t n,
                                         uint32_t *ret_n)
{
        uint32_t handlers = 0, at = 0;
        for (uint32_t i = 0; i < n; i++) {
                handlers += taken[i]->plugin->manifest.n;
        }
        struct handler_desc *all = calloc(handlers + 1, sizeof *all);
        for (uint32_t i = 0; all && i < n; i++) {
                describe(taken[i]->plugin, i, all + at);
                at += taken[i]->plugin->manifest.n;
        }
        *ret_n = at;
        return all;
}

static bool fill_lineup(struct lineup *l, uint32_t generation, struct shelf_file *const *taken,
                        uint32_t n)
{
        uint32_t handlers;
        l->refs = 1;
        l->plugins = calloc(n + 1, sizeof(struct plugin *));
        for (uint32_t i = 0; l->plugins && i < n; i++) {
                taken[i]->plugin->refs++;
                l->plugins[l->n++] = taken[i]->plugin;
        }
        struct handler_desc *all = describe_all(taken, n, &handlers);
        l->roster = all && l->plugins ? roster_new(generation, all, handlers) : NULL;
        free(all);
        return l->roster;
}

static struct lineup *new_lineup(uint32_t generation, struct shelf_file *const *taken, uint32_t n)
{
        struct lineup *l = calloc(1, sizeof *l);
        return l && fill_lineup(l, generation, taken, n) ? l : lineup_unref(l);
}

static void renew_roster(struct host *h)
{
        uint32_t n_files = 0;
        for (struct shelf_file *f = h->shelf.files; f; f = f->next) {
                n_files++;
        }
        CLEANUP(drop_files)
        struct shelf_file **taken = calloc(n_files + 1, sizeof *taken);
        if (!taken) {
                return;
        }
        uint32_t n = settle_ties(h, taken);
        h->shelf.changed = false;
        if (same_plugins(h->shelf.now, taken, n)) {
                return;
        }
        struct lineup *l = new_lineup(h->shelf.generation + 1, taken, n);
        if (!l) {
                h->shelf.changed = true; /* memory is out: tried again */
                h->shelf.changed_ns = h->now_ns;
                return;
        }
        h->shelf.generation++;
        lineup_unref(h->shelf.now);
        h->shelf.now = l;
        struct host_event *e =
            host_tell(h, HOST_ROSTER, NULL, "%u plug-ins, %u handlers", n, l->roster->n);
        if (e->kind == HOST_ROSTER) { /* else memory is out and nobody is told */
                e->roster = roster_ref(l->roster);
                e->generation = h->shelf.generation;
        }
}

void shelf_step(struct host *h)
{
        bool waiting = probe_any(h);
        for (struct shelf_file *f = h->shelf.files; f; f = f->next) {
                if (f->probe_wanted) {
                        f->probe_wanted = !probe_begin(h, f);
                        waiting = true;
                }
        }
        if (h->shelf.changed && (!waiting || h->now_ns - h->shelf.changed_ns >= GATHER_NS)) {
                renew_roster(h);
        }
}

int64_t shelf_deadline_ns(const struct host *h)
{
        return h->shelf.changed ? h->shelf.changed_ns + (probe_any(h) ? GATHER_NS : 0) : INT64_MAX;
}

void shelf_stop(struct host *h)
{
        while (h->shelf.files) {
                remove_file(h, &h->shelf.files);
        }
        h->shelf.now = lineup_unref(h->shelf.now);
        free(h->shelf.rows);
}

/* --- for people ------------------------------------------------------------ */

static void show(const struct shelf_file *f, struct plugin_row *r)
{
        const struct plugin *p = f->plugin;
        *r = (struct plugin_row){
            .file = str_of(f->name),
            .serving = f->serving,
            .reason = str_of(f->reason),
            .bytes = f->bytes,
            .probed_wall_us = f->probed_wall_us,
        };
        if (p) {
                r->summary = p->manifest.handlers[0].summary;
                r->types = str_of(p->types);
                r->manifest_json = p->json;
                r->bytes = p->bytes;
                memcpy(r->build, p->build, sizeof r->build);
        }
}

uint32_t host_plugins(struct host *h, const struct plugin_row **ret_rows)
{
        uint32_t n = 0, i = 0;
        for (struct shelf_file *f = h->shelf.files; f; f = f->next) {
                n++;
        }
        struct plugin_row *rows = realloc(h->shelf.rows, (n + 1) * sizeof *rows);
        if (!rows) {
                return 0;
        }
        h->shelf.rows = rows;
        for (struct shelf_file *f = h->shelf.files; f; f = f->next) {
                show(f, &rows[i++]);
        }
        *ret_rows = rows;
        return n;
}
