/*
 * Start, stop and the loop behind host_next(). One epoll set holds every descriptor of the host, so
 * the engine polls one. Nothing here waits: host_next() does what is ready, then what is due, one
 * event at a time.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/ledger.h"

#define PROBE_TIMEOUT_MS 5000

int64_t wall_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

char *text_of(const char *fmt, ...)
{
        char *text = NULL;
        va_list ap;
        va_start(ap, fmt);
        int n = vasprintf(&text, fmt, ap);
        va_end(ap);
        return n < 0 ? NULL : text;
}

/* --- descriptors and events ------------------------------------------------------------ */

static void set_fd(struct host *h, int op, int fd, enum source_kind kind, uint32_t index,
                   uint32_t events)
{
        struct epoll_event e = {.events = events, .data.u64 = (uint64_t)kind << 32 | index};
        epoll_ctl(h->ep, op, fd, &e);
}

void host_watch_fd(struct host *h, int fd, enum source_kind kind, uint32_t index, uint32_t events)
{
        set_fd(h, EPOLL_CTL_ADD, fd, kind, index, events);
}

void host_change_fd(struct host *h, int fd, enum source_kind kind, uint32_t index, uint32_t events)
{
        set_fd(h, EPOLL_CTL_MOD, fd, kind, index, events);
}

/* An event for later. Without memory it is lost; then what is returned is a scratch one of kind
 * HOST_NONE. */
struct host_event *host_tell(struct host *h, enum host_event_kind kind, const char *plugin,
                             const char *fmt, ...)
{
        static struct host_event lost;
        struct told *t = calloc(1, sizeof *t);
        if (!t) {
                lost = (struct host_event){.kind = HOST_NONE};
                return &lost;
        }
        va_list ap;
        va_start(ap, fmt);
        if (vasprintf(&t->text, fmt, ap) < 0) {
                t->text = NULL;
        }
        va_end(ap);
        t->plugin = plugin ? strdup(plugin) : NULL;
        t->e.kind = kind;
        t->e.text = str_of(t->text);
        t->e.plugin = str_of(t->plugin);
        *h->end = t;
        h->end = &t->next;
        return &t->e;
}

static struct told *told_free(struct told *t)
{
        if (t) {
                if (t->e.kind == HOST_ROSTER) {
                        roster_unref(t->e.roster); /* nobody took it */
                }
                free(t->text);
                free(t->plugin);
                free(t);
        }
        return NULL;
}

/* What the last event lent to the engine. */
static void forget_last(struct host *h)
{
        h->current = told_free(h->current);
        if (h->scratch.head) {
                arena_reset(&h->scratch);
        }
}

static bool take_told(struct host *h, struct host_event *ret)
{
        struct told *t = h->first;
        if (!t) {
                return false;
        }
        h->first = t->next;
        if (!h->first) {
                h->end = &h->first;
        }
        *ret = t->e;
        t->e.kind = HOST_NONE; /* its roster is the engine's now */
        h->current = t;
        return true;
}

/* --- start ------------------------------------------------------------ */

static const char *keep_text(struct host *h, const char *z)
{
        return arena_str(&h->kept, str_of(z ? z : "")).p;
}

static bool keep_options(struct host *h, const struct host_options *o)
{
        size_t n = 0;
        while (o->options && o->options[n].type) {
                n++;
        }
        struct handler_option *copy = arena_zalloc(&h->kept, (n + 1) * sizeof *copy);
        for (size_t i = 0; copy && i < n; i++) {
                copy[i].type = keep_text(h, o->options[i].type);
                copy[i].name = keep_text(h, o->options[i].name);
                copy[i].value = keep_text(h, o->options[i].value);
                if (!copy[i].type || !copy[i].name || !copy[i].value) {
                        return false;
                }
        }
        h->o = *o;
        h->o.options = copy;
        h->o.handlers_dir = keep_text(h, o->handlers_dir);
        h->o.state_dir = keep_text(h, o->state_dir);
        h->o.worker_program = keep_text(h, o->worker_program);
        h->o.probe_timeout_ms = o->probe_timeout_ms ? o->probe_timeout_ms : PROBE_TIMEOUT_MS;
        return copy && h->o.handlers_dir && h->o.state_dir && h->o.worker_program;
}

static int prepare_state(struct host *h, char *note, size_t note_size)
{
        char path[4096];
        snprintf(path, sizeof path, "%s/pages", h->o.state_dir);
        if (mkdir(path, 0700) < 0 && errno != EEXIST) {
                int e = errno;
                snprintf(note, note_size, "%.200s: %s", path, strerrordesc_np(e));
                return -e;
        }
        h->record_fd = record_open(h->o.state_dir);
        if (h->record_fd < 0) {
                snprintf(note, note_size, "%.200s/workers: %s", h->o.state_dir,
                         strerrordesc_np(-h->record_fd));
                return h->record_fd;
        }
        return 0;
}

static void stop_host(struct host **h)
{
        *h = host_stop(*h);
}

static struct host *new_host(void)
{
        struct host *h = calloc(1, sizeof *h);
        if (!h) {
                return NULL;
        }
        h->end = &h->first;
        h->ep = h->record_fd = -1;
        h->nursery.sock = h->nursery.pidfd = -1;
        h->watch.inotify = h->watch.wd = -1;
        for (uint32_t i = 0; i < PROBES_MAX; i++) {
                struct probe *p = &h->probes[i];
                p->source = p->memfd = p->sock = p->pidfd = -1;
        }
        h->in = malloc(WIRE_MAX);
        h->frame = aligned_alloc(16, WIRE_MAX);
        h->ep = epoll_create1(EPOLL_CLOEXEC);
        return h;
}

/* Whoever started skepd may have ignored SIGCHLD, which hides how children end, or left a small
 * limit of descriptors: a worker takes four, its belt among them, a payload of over 256 KiB one
 * until it is sent. Workers get the usual limit back
 * (worker/child.c). */
static void prepare_process(void)
{
        struct sigaction now;
        struct rlimit files;
        if (sigaction(SIGCHLD, NULL, &now) == 0 && now.sa_handler == SIG_IGN) {
                signal(SIGCHLD, SIG_DFL);
        }
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
}

int host_start(const struct host_options *o, struct host **ret, char *note, size_t note_size)
{
        prepare_process();
        CLEANUP(stop_host)
        struct host *h = new_host();
        if (!h || !h->in || !h->frame || h->ep < 0 || !keep_options(h, o)) {
                snprintf(note, note_size, "no memory or descriptor left for the plug-in host");
                return -ENOMEM;
        }
        int r = prepare_state(h, note, note_size);
        if (r == 0) {
                r = nursery_start(h, note, note_size);
        }
        if (r == 0) {
                r = watch_start(h);
                if (r < 0) {
                        snprintf(note, note_size, "inotify: %s", strerrordesc_np(-r));
                }
        }
        if (r < 0) {
                return r;
        }
        h->oom_kills = read_oom_kills();
        *ret = STEAL(h);
        return 0;
}

static void close_fd(int *fd)
{
        close_fds(fd, 1);
}

struct host *host_stop(struct host *h)
{
        if (!h) {
                return NULL;
        }
        for (uint32_t i = 0; i < WORKERS_MAX; i++) {
                h->crew[i] = crew_free(h, h->crew[i]);
        }
        shelf_stop(h);
        nursery_stop(h);
        watch_stop(h);
        forget_last(h);
        struct host_event e;
        while (take_told(h, &e)) {
                if (e.kind == HOST_ROSTER) {
                        roster_unref(e.roster);
                }
                forget_last(h);
        }
        arena_deinit(&h->scratch);
        arena_deinit(&h->kept);
        close_fd(&h->ep);
        close_fd(&h->record_fd);
        free(h->in);
        free(h->frame);
        free(h);
        return NULL;
}

/* --- the loop ------------------------------------------------------------ */

uint32_t host_pollfds(struct host *h, struct pollfd *fds, uint32_t max)
{
        if (max == 0) {
                return 0;
        }
        fds[0] = (struct pollfd){.fd = h->ep, .events = POLLIN};
        return 1;
}

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

int64_t host_deadline_ns(struct host *h)
{
        int64_t at = h->first || h->ready_at < h->n_ready ? 0 : INT64_MAX;
        at = earlier(at, h->nursery.again_ns ? h->nursery.again_ns : INT64_MAX);
        at = earlier(at, watch_deadline_ns(h));
        at = earlier(at, shelf_deadline_ns(h));
        at = earlier(at, probe_deadline_ns(h));
        return earlier(at, crew_deadline_ns(h));
}

static bool serve_worker(struct host *h, enum source_kind kind, uint32_t events, struct crew *w,
                         struct host_event *ret)
{
        if (!w) {
                return false; /* gone since the set was read */
        }
        if (kind == SOURCE_WORKER_PID) {
                return crew_died(h, w, ret);
        }
        if (events & EPOLLOUT) {
                crew_flush(h, w);
        }
        enum heard heard = events & ~(uint32_t)EPOLLOUT ? HEARD_SOMETHING : HEARD_NOTHING;
        for (int i = 0; i < HEAR_MAX && heard == HEARD_SOMETHING; i++) {
                heard = crew_hear(h, w, ret);
        }
        return heard == HEARD_EVENT;
}

static bool serve(struct host *h, const struct epoll_event *e, struct host_event *ret)
{
        enum source_kind kind = (enum source_kind)(e->data.u64 >> 32);
        uint32_t index = (uint32_t)e->data.u64;
        switch (kind) {
        case SOURCE_ZYGOTE_SOCKET: nursery_readable(h); return false;
        case SOURCE_ZYGOTE_PID: nursery_died(h); return false;
        case SOURCE_WATCH: watch_readable(h); return false;
        case SOURCE_PROBE_SOCKET: probe_readable(h, index); return false;
        case SOURCE_PROBE_PID: probe_died(h, index); return false;
        case SOURCE_WORKER_SOCKET:
        case SOURCE_WORKER_PID: return serve_worker(h, kind, e->events, h->crew[index], ret);
        }
        return false;
}

/* Ends that jobs left in the page without a word yet; armed when a slow job may hide the ends of
 * quick ones. */
static bool peek(struct host *h, struct host_event *ret)
{
        for (uint32_t i = 0; i < h->crew_end; i++) {
                struct crew *w = h->crew[i];
                if (w && w->peek_ns && w->peek_ns <= h->now_ns && crew_tell(h, w, ret)) {
                        return true;
                }
        }
        return false;
}

void host_next(struct host *h, int64_t now_ns, struct host_event *ret_event)
{
        forget_last(h);
        h->now_ns = now_ns;
        *ret_event = (struct host_event){.kind = HOST_NONE};
        for (;;) {
                if (take_told(h, ret_event)) {
                        return;
                }
                if (h->ready_at < h->n_ready) {
                        if (serve(h, &h->ready[h->ready_at++], ret_event)) {
                                return;
                        }
                        continue;
                }
                int n = epoll_wait(h->ep, h->ready, READY_MAX, 0);
                h->n_ready = n > 0 ? (uint32_t)n : 0;
                h->ready_at = 0;
                if (h->n_ready) {
                        continue;
                }
                nursery_step(h);
                watch_step(h);
                probe_step(h);
                shelf_step(h);
                crew_step(h);
                if (peek(h, ret_event)) {
                        return;
                }
                if (!h->first) {
                        return;
                }
        }
}
