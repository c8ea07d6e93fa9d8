/*
 * Workers as skepd drives them: spawn, give, recall, ask, kill. Nothing waits for a worker; what
 * its socket does not take now is kept in order and sent when it does.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "skep/handler.h"

#define SOCKET_BUFFER (512 << 10) /* two frames in flight; the kernel may grant less */
#define ASK_AGAIN_NS  (20 * NS_PER_MS)

/* --- the queue towards a worker ------------------------------------------------------------ */

void crew_interest(struct host *h, struct crew *w)
{
        uint32_t events = (w->muted ? 0 : EPOLLIN) | (w->want_write ? EPOLLOUT : 0);
        if (w->sock >= 0) {
                host_change_fd(h, w->sock, SOURCE_WORKER_SOCKET, w->number, events);
        }
}

static void outgoing_free(struct outgoing *o)
{
        close_fds(o->fds, o->n_fds);
        free(o);
}

/* Keeps its own duplicates of the descriptors. */
static int keep_outgoing(struct crew *w, const void *bytes, size_t n, const int *fds,
                         uint32_t n_fds)
{
        struct outgoing *o = malloc(sizeof *o + n);
        if (!o) {
                return -ENOMEM;
        }
        o->next = NULL;
        o->n = n;
        memcpy(o->bytes, bytes, n);
        for (o->n_fds = 0; o->n_fds < n_fds; o->n_fds++) {
                o->fds[o->n_fds] = fcntl(fds[o->n_fds], F_DUPFD_CLOEXEC, 0);
                if (o->fds[o->n_fds] < 0) {
                        int r = -errno;
                        outgoing_free(o);
                        return r;
                }
        }
        *w->out_end = o;
        w->out_end = &o->next;
        return 0;
}

int crew_send(struct host *h, struct crew *w, const void *bytes, size_t n, const int *fds,
              uint32_t n_fds)
{
        int r = w->out ? -EAGAIN : wire_frame_send(w->sock, bytes, n, fds, n_fds, MSG_DONTWAIT);
        if (r == -EAGAIN || r == -ENOBUFS || r == -ETOOMANYREFS) {
                r = keep_outgoing(w, bytes, n, fds, n_fds);
                if (!w->want_write) {
                        w->want_write = true;
                        crew_interest(h, w);
                }
        }
        if (r == -EPIPE || r == -ECONNRESET) {
                r = 0; /* it died; the pidfd tells */
        }
        if (r < 0) {
                crew_doom(w, "skepd has no memory left to talk to this worker");
        }
        return r;
}

void crew_flush(struct host *h, struct crew *w)
{
        while (w->out) {
                struct outgoing *o = w->out;
                int r = wire_frame_send(w->sock, o->bytes, o->n, o->fds, o->n_fds, MSG_DONTWAIT);
                if (r == -EAGAIN || r == -ENOBUFS || r == -ETOOMANYREFS) {
                        return;
                }
                w->out = o->next;
                if (!w->out) {
                        w->out_end = &w->out;
                }
                outgoing_free(o);
        }
        w->want_write = false;
        crew_interest(h, w);
}

/* --- birth ------------------------------------------------------------ */

static int make_page(struct host *h, struct crew *w)
{
        char path[4096];
        snprintf(path, sizeof path, "%s/pages/%u", h->o.state_dir, w->number);
        unlink(path); /* a former worker may still have the old one mapped */
        w->page_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (w->page_fd < 0) {
                return -errno;
        }
        int r =
            posix_fallocate(w->page_fd, 0, sizeof *w->page); /* no SIGBUS on a full disk later */
        if (r != 0) {
                return -r;
        }
        void *p = mmap(NULL, sizeof *w->page, PROT_READ | PROT_WRITE, MAP_SHARED, w->page_fd, 0);
        if (p == MAP_FAILED) {
                return -errno;
        }
        w->page = p;
        w->page->version = PAGE_VERSION;
        w->page->n_slots = RING_SLOTS;
        w->page->slot_size = sizeof(struct slot);
        w->page->worker = w->number;
        atomic_store_explicit(&w->page->lease_ns, h->lease_ns, memory_order_relaxed);
        w->page->magic = PAGE_MAGIC;
        return 0;
}

static int make_channel(struct crew *w)
{
        int pair[2], size = SOCKET_BUFFER;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
                return -errno;
        }
        w->sock = pair[0];
        w->child_sock = pair[1];
        setsockopt(w->sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        setsockopt(w->child_sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        w->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return w->cancel_fd < 0 ? -errno : 0;
}

static void put_options(struct host *h, const struct plugin *p, struct wire_out *o)
{
        uint32_t n = 0;
        size_t n_at = o->n;
        wire_put_u32(o, 0);
        for (const struct handler_option *s = h->o.options; s && s->type; s++) {
                for (uint32_t i = 0; i < p->manifest.n; i++) {
                        if (str_eq(str_of(s->type), p->manifest.handlers[i].type)) {
                                wire_put_str(o, str_of(s->type));
                                wire_put_str(o, str_of(s->name));
                                wire_put_str(o, str_of(s->value));
                                n++;
                        }
                }
        }
        if (!o->full) {
                memcpy(o->p + n_at, &n, sizeof n);
        }
}

/* First of all messages: the plug-ins of its generation, so that a job finds its handler. */
static int send_plugins(struct host *h, struct crew *w)
{
        for (uint32_t i = 0; w->lineup && i < w->lineup->n; i++) {
                struct plugin *p = w->lineup->plugins[i];
                struct wire_out o = {.p = h->frame, .max = WIRE_MAX};
                wire_put_u32(&o, WIRE_PLUGIN);
                wire_put_u32(&o, i);
                wire_put_str(&o, str_of(p->file));
                put_options(h, p, &o);
                int r = o.full ? -EMSGSIZE : crew_send(h, w, o.p, o.n, &p->memfd, 1);
                if (r < 0) {
                        return r;
                }
        }
        return 0;
}

static void order_worker(struct host *h, struct crew *w)
{
        int fds[3] = {w->child_sock, w->page_fd, w->cancel_fd};
        if (nursery_order(h, SPAWN_WORKER, w->number, fds, 3) != 0) {
                return; /* crew_step() asks again */
        }
        w->state = CREW_ORDERED;
        close_fds(&w->child_sock, 1);
        close_fds(&w->page_fd, 1);
}

int host_worker_spawn(struct host *h, uint32_t worker)
{
        if (worker >= WORKERS_MAX || h->crew[worker]) {
                return -EINVAL;
        }
        struct crew *w = calloc(1, sizeof *w);
        if (!w) {
                return -ENOMEM;
        }
        w->number = worker;
        w->pidfd = w->sock = w->cancel_fd = w->page_fd = w->child_sock = w->belt.fd = -1;
        w->out_end = &w->out;
        if (h->shelf.now) {
                w->lineup = h->shelf.now;
                w->lineup->refs++;
        }
        int r = make_page(h, w);
        r = r < 0 ? r : make_channel(w);
        if (r == 0) {
                host_watch_fd(h, w->sock, SOURCE_WORKER_SOCKET, worker, EPOLLIN);
                r = send_plugins(h, w);
        }
        if (r < 0) {
                crew_free(h, w);
                return r;
        }
        h->crew[worker] = w;
        h->crew_end = worker >= h->crew_end ? worker + 1 : h->crew_end;
        order_worker(h, w);
        return 0;
}

void crew_spawned(struct host *h, uint32_t number, int32_t pid)
{
        struct crew *w = number < WORKERS_MAX ? h->crew[number] : NULL;
        if (!w || w->state != CREW_ORDERED) {
                if (pid > 0) {
                        kill(pid, SIGKILL);
                        waitpid(pid, NULL, 0);
                }
                return;
        }
        char why[128];
        w->pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        if (w->pidfd < 0) {
                snprintf(why, sizeof why, "it could not be started: %s",
                         strerrordesc_np(pid < 0 ? -pid : errno));
                crew_failed(h, w, why);
                return;
        }
        w->pid = pid;
        w->state = CREW_RUNS;
        w->up_ns = h->now_ns;
        record_worker(h->record_fd, number, pid);
        host_watch_fd(h, w->pidfd, SOURCE_WORKER_PID, number, EPOLLIN);
        if (w->killed) {
                crew_kill(w);
        }
        struct host_event *e =
            host_tell(h, HOST_WORKER_UP, NULL, "worker %u has pid %d", number, pid);
        e->worker = number;
        e->pid = pid;
        e->generation = w->lineup ? w->lineup->roster->generation : 0;
}

void crew_lost_zygote(struct host *h)
{
        for (uint32_t i = 0; i < h->crew_end; i++) {
                if (h->crew[i] && h->crew[i]->state == CREW_ORDERED) {
                        crew_failed(h, h->crew[i], "the worker program ended while it was forked");
                }
        }
}

/* --- questions and orders ------------------------------------------------------------ */

/* A word that comes meanwhile is told the next time. */
bool host_worker_progress(struct host *h, uint32_t worker, uint32_t *position, double *ret_done,
                          double *ret_total)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        for (uint32_t at = *position; w && at - w->told < w->next - w->told; at++) {
                struct slot *s = page_slot(w->page, at);
                struct given *g = &w->given[at % RING_SLOTS];
                uint32_t word = atomic_load_explicit(&s->word, memory_order_acquire);
                uint32_t words = atomic_load_explicit(&s->words, memory_order_acquire);
                if (word != SLOT_WORD(g->epoch, SLOT_RUNNING)) {
                        return false;
                }
                if (words != g->words) {
                        g->words = words;
                        *ret_done = atomic_load_explicit(&s->done, memory_order_relaxed);
                        *ret_total = atomic_load_explicit(&s->total, memory_order_relaxed);
                        *position = at;
                        return true;
                }
        }
        return false;
}

bool host_worker_running(struct host *h, uint32_t worker, uint32_t *ret_position,
                         int64_t *ret_since_ns, int64_t *ret_progress_ns)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        if (!w || w->told == w->next) {
                return false;
        }
        /* jobs run in order, so it is the first that has not ended; some may have ended untold */
        for (uint32_t at = w->told; at != w->next; at++) {
                const struct slot *s = page_slot(w->page, at);
                uint32_t word = atomic_load_explicit(&s->word, memory_order_acquire);
                if (SLOT_STATE(word) == SLOT_ENDED) {
                        continue;
                }
                if (word != SLOT_WORD(w->given[at % RING_SLOTS].epoch, SLOT_RUNNING)) {
                        return false;
                }
                int64_t since = s->started_mono_ns;
                int64_t progress =
                    atomic_load_explicit(&w->page->progress_ns, memory_order_relaxed);
                int64_t soon = h->now_ns + NS_PER_S;
                *ret_position = at;
                /* numbers that the handler may have forged: never before the worker was up, never
                 * in times to come */
                *ret_since_ns = since < w->up_ns || since > soon ? w->up_ns : since;
                *ret_progress_ns =
                    progress < *ret_since_ns || progress > soon ? *ret_since_ns : progress;
                return true;
        }
        return false;
}

void host_worker_ask(struct host *h, uint32_t worker, uint32_t position, int why)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        if (!w || position - w->told >= w->next - w->told) {
                return; /* it has ended */
        }
        uint64_t one = 1;
        uint32_t group = why == SKEP_WHY_CANCEL ? 0 : w->given[position % RING_SLOTS].group;
        do {
                atomic_store_explicit(&page_slot(w->page, position)->asked, (uint8_t)why,
                                      memory_order_release);
                position++;
        } while (group && position != w->next && w->given[position % RING_SLOTS].group == group);
        atomic_fetch_add_explicit(&w->page->cancels, 1, memory_order_release);
        ssize_t ignored = write(w->cancel_fd, &one, sizeof one);
        (void)ignored;
}

void crew_kill(struct crew *w)
{
        w->killed = true;
        if (w->pidfd >= 0 && !w->reaped) {
                kill(-w->pid, SIGKILL);
                syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
        }
}

void host_lease(struct host *h, int64_t until_ns)
{
        h->lease_ns = until_ns;
        for (uint32_t i = 0; i < WORKERS_MAX; i++) {
                if (h->crew[i] && h->crew[i]->page) {
                        atomic_store_explicit(&h->crew[i]->page->lease_ns, until_ns,
                                              memory_order_relaxed);
                }
        }
}

int32_t host_worker_pid(const struct host *h, uint32_t worker)
{
        return worker < WORKERS_MAX && h->crew[worker] && h->crew[worker]->pid > 0
                   ? h->crew[worker]->pid
                   : 0;
}

void host_worker_kill(struct host *h, uint32_t worker)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        if (w) {
                crew_kill(w);
        }
}

void host_worker_retire(struct host *h, uint32_t worker)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        if (w && !w->retiring) {
                w->retiring = true;
                crew_send_given(h, w); /* the order to end comes behind it */
        }
}

void host_checkpoint_saved(struct host *h, uint32_t worker, uint32_t position, bool ok)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        struct wire_saved saved = {WIRE_SAVED, position, ok ? 0 : -EIO};
        if (w) {
                crew_send(h, w, &saved, sizeof saved, NULL, 0);
        }
}

/* --- time and end ------------------------------------------------------------ */

void crew_step(struct host *h)
{
        for (uint32_t i = 0; i < h->crew_end; i++) {
                struct crew *w = h->crew[i];
                if (!w) {
                        continue;
                }
                if (w->state == CREW_WAITS) {
                        order_worker(h, w);
                }
                if (w->muted && w->unmute_ns <= h->now_ns) {
                        w->muted = false;
                        crew_interest(h, w);
                }
                crew_tell_dropped(h, w);
                if (w->retiring && !w->retire_ns && w->told == w->next) {
                        w->retire_ns = h->now_ns + RETIRE_NS;
                }
                if (w->retire_ns && w->retire_ns <= h->now_ns) {
                        w->retire_ns = INT64_MAX;
                        crew_kill(w); /* fini() does not return */
                }
        }
}

int64_t crew_deadline_ns(const struct host *h)
{
        int64_t at = INT64_MAX;
        for (uint32_t i = 0; i < h->crew_end; i++) {
                const struct crew *w = h->crew[i];
                if (!w) {
                        continue;
                }
                int64_t mine[] = {
                    w->state == CREW_WAITS ? h->now_ns + ASK_AGAIN_NS : INT64_MAX,
                    w->muted ? w->unmute_ns : INT64_MAX,
                    w->log_dropped ? w->log_since_ns + NS_PER_S : INT64_MAX,
                    w->peek_ns ? w->peek_ns : INT64_MAX,
                    w->retire_ns ? w->retire_ns : INT64_MAX,
                };
                for (size_t k = 0; k < ARRAY_LEN(mine); k++) {
                        at = mine[k] < at ? mine[k] : at;
                }
        }
        return at;
}

static void close_worker_fds(struct crew *w)
{
        close_fds(&w->pidfd, 1);
        close_fds(&w->sock, 1);
        close_fds(&w->cancel_fd, 1);
        close_fds(&w->page_fd, 1);
        close_fds(&w->child_sock, 1);
        belt_drop(&w->belt);
}

struct crew *crew_free(struct host *h, struct crew *w)
{
        if (!w) {
                return NULL;
        }
        if (w->pidfd >= 0 && !w->reaped) {
                siginfo_t info;
                crew_kill(w);
                waitid((idtype_t)P_PIDFD, (id_t)w->pidfd, &info, WEXITED);
        }
        if (w->pid) {
                record_worker(h->record_fd, w->number, 0);
        }
        close_worker_fds(w);
        while (w->out) {
                struct outgoing *o = w->out;
                w->out = o->next;
                outgoing_free(o);
        }
        for (uint32_t i = 0; i < RING_SLOTS; i++) {
                w->given[i].extra = extra_free(w->given[i].extra);
        }
        if (w->page) {
                munmap(w->page, sizeof *w->page);
        }
        lineup_unref(w->lineup);
        free(w->doomed);
        free(w);
        return NULL;
}
