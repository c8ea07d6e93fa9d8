/*
 * The handlers directory: which names changed, told once they have been quiet for two looks with
 * the same size. A directory that is not there is looked for twice a second; one that is moved or
 * removed takes its plug-ins with it.
 */
#include "plugins/inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SETTLE_NS (50 * NS_PER_MS)
#define ABSENT_NS (500 * NS_PER_MS)

#define WATCHED                                                                                    \
        (IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_ATTRIB | IN_MOVED_TO | IN_MOVED_FROM |        \
         IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

static bool is_plugin_name(const char *name)
{
        size_t n = strlen(name);
        return n > 3 && name[0] != '.' && strcmp(name + n - 3, ".so") == 0;
}

static void mark_dirty(struct host *h, const char *name)
{
        struct dirty_name **d = &h->watch.dirty;
        if (!is_plugin_name(name)) {
                return;
        }
        while (*d && strcmp((*d)->name, name) != 0) {
                d = &(*d)->next;
        }
        if (!*d) {
                size_t n = strlen(name) + 1;
                *d = calloc(1, sizeof **d + n);
                if (!*d) {
                        return;
                }
                memcpy((*d)->name, name, n);
        }
        (*d)->seen = false;
        (*d)->due_ns = h->now_ns + SETTLE_NS;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

/* All that lies there now, and all that was known before: a name that is gone is a change as well.
 */
void host_rescan(struct host *h)
{
        struct dirent **names = NULL;
        int n = scandir(h->o.handlers_dir, &names, NULL, by_name);
        for (int i = 0; i < n; i++) {
                mark_dirty(h, names[i]->d_name);
                free(names[i]);
        }
        free(names);
        for (struct shelf_file *f = h->shelf.files; f; f = f->next) {
                mark_dirty(h, f->name);
        }
}

static void find_directory(struct host *h)
{
        struct watch *w = &h->watch;
        w->wd = inotify_add_watch(w->inotify, h->o.handlers_dir, WATCHED);
        w->again_ns = w->wd < 0 ? h->now_ns + ABSENT_NS : 0;
        if (w->wd >= 0) {
                host_rescan(h);
        }
}

int watch_start(struct host *h)
{
        h->watch.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (h->watch.inotify < 0) {
                return -errno;
        }
        host_watch_fd(h, h->watch.inotify, SOURCE_WATCH, 0, EPOLLIN);
        find_directory(h);
        return 0;
}

void watch_stop(struct host *h)
{
        while (h->watch.dirty) {
                struct dirty_name *d = h->watch.dirty;
                h->watch.dirty = d->next;
                free(d);
        }
        close_fds(&h->watch.inotify, 1);
}

static void lose_directory(struct host *h)
{
        struct watch *w = &h->watch;
        if (w->wd >= 0) {
                inotify_rm_watch(w->inotify, w->wd);
        }
        w->wd = -1;
        w->again_ns = h->now_ns;
        host_rescan(h);
}

static void read_event(struct host *h, const struct inotify_event *e)
{
        if (e->mask & IN_Q_OVERFLOW) {
                host_rescan(h);
                return;
        }
        if (e->wd != h->watch.wd) {
                return; /* of a directory we left */
        }
        if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) {
                lose_directory(h);
        } else if (e->len) {
                mark_dirty(h, e->name);
        } else if (e->mask & IN_ATTRIB) {
                host_rescan(h); /* its own mode or owner: what was refused for that may pass now */
        }
}

void watch_readable(struct host *h)
{
        _Alignas(struct inotify_event) char bytes[8192];
        ssize_t n = read(h->watch.inotify, bytes, sizeof bytes);
        for (ssize_t at = 0; n > 0 && at < n;) {
                const struct inotify_event *e = (const struct inotify_event *)(bytes + at);
                read_event(h, e);
                at += (ssize_t)(sizeof *e + e->len);
        }
}

/* Two looks in a row with the same size and time, or the file is not there. */
static bool settled(struct host *h, struct dirty_name *d)
{
        char path[4096];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", h->o.handlers_dir, d->name);
        if (lstat(path, &st) < 0) {
                return true;
        }
        int64_t mtime_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
        if (d->seen && d->size == (uint64_t)st.st_size && d->mtime_ns == mtime_ns) {
                return true;
        }
        d->seen = true;
        d->size = (uint64_t)st.st_size;
        d->mtime_ns = mtime_ns;
        d->due_ns = h->now_ns + SETTLE_NS;
        return false;
}

void watch_step(struct host *h)
{
        struct watch *w = &h->watch;
        if (w->again_ns && w->again_ns <= h->now_ns) {
                find_directory(h);
        }
        for (struct dirty_name **at = &w->dirty; *at;) {
                struct dirty_name *d = *at;
                if (d->due_ns > h->now_ns || !settled(h, d)) {
                        at = &d->next;
                        continue;
                }
                *at = d->next;
                shelf_look(h, d->name);
                free(d);
        }
}

int64_t watch_deadline_ns(const struct host *h)
{
        int64_t at = h->watch.again_ns ? h->watch.again_ns : INT64_MAX;
        for (const struct dirty_name *d = h->watch.dirty; d; d = d->next) {
                at = d->due_ns < at ? d->due_ns : at;
        }
        return at;
}
