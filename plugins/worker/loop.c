/*
 * A worker's life: read a message, run the jobs of a frame in order, say so once per frame or after
 * 2 ms. Per job there is no system call of ours: the state stands in the page, one clock reading
 * parts a job from the next.
 */
#include "plugins/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define NOTICE_EVERY_NS (2 * NS_PER_MS)

static int64_t read_clock(clockid_t id)
{
        struct timespec t;
        clock_gettime(id, &t);
        return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_ns(void)
{
        return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_set(struct worker *w)
{
        int64_t now = clock_ns();
        w->wall_minus_mono_ns = read_clock(CLOCK_REALTIME) - now;
        return now;
}

/* skepd gone: end quietly. Our own descriptor spoiled: say so in the page, since nothing else can.
 */
void send_or_end(struct worker *w, const void *bytes, size_t n, const int *fds, uint32_t n_fds)
{
        int r = wire_frame_send(FD_SOCKET, bytes, n, fds, n_fds, 0);
        if (r == -EPIPE || r == -ECONNRESET) {
                _exit(0);
        }
        if (r < 0) {
                int len =
                    snprintf(w->page->crash_text, CRASH_TEXT,
                             "the socket to skepd does not work any more: %s (a handler closed or "
                             "replaced descriptors it did not open)",
                             strerrordesc_np(-r));
                atomic_store_explicit(&w->page->crash_n, (uint32_t)len, memory_order_release);
                _exit(EXIT_NO_SOCKET);
        }
}

void say_ended(struct worker *w, uint32_t position, int64_t now)
{
        struct wire_part notice = {WIRE_NOTICE, position};
        send_or_end(w, &notice, sizeof notice, NULL, 0);
        w->noticed_ns = now;
}

/* A cancel of an earlier job must not wake the next one. */
static void forget_cancels(struct worker *w)
{
        uint32_t raised = atomic_load_explicit(&w->page->cancels, memory_order_acquire);
        if (raised != w->cancels_seen) {
                uint64_t ignored;
                ssize_t r = read(FD_CANCEL, &ignored, sizeof ignored);
                (void)r;
                w->cancels_seen = raised;
        }
}

static struct live
    live; /* one at a time; static because a handler's overflowing stack must not reach it */

static int64_t run_job(struct worker *w, const struct incoming *in, struct slot *s,
                       uint32_t position, uint32_t epoch)
{
        struct live *l = &live;
        live_begin(l, w, in, position);
        live_run(l, in->j.plugin, in->j.handler);
        int64_t now = clock_ns();
        s->ended_mono_ns = now;
        live_end(l, s, epoch);
        if (l->arena.head) {
                arena_reset(&l->arena);
        }
        return now;
}

void give_up(struct worker *w, const char *why)
{
        int n = snprintf(w->page->crash_text, CRASH_TEXT, "%s: %s", why, strerrordesc_np(errno));
        atomic_store_explicit(&w->page->crash_n, (uint32_t)n, memory_order_release);
        _exit(EXIT_NO_SOCKET);
}

/* The worker may lose the swap against a recall; a slot of another epoch belongs to a later frame.
 */
bool slot_take(struct worker *w, struct slot *s, uint32_t epoch, int64_t now)
{
        uint32_t given = SLOT_WORD(epoch, SLOT_GIVEN);
        if (atomic_load_explicit(&s->word, memory_order_relaxed) != given) {
                return false;
        }
        forget_cancels(w);        /* before it starts: who asks this very job finds it running */
        s->started_mono_ns = now; /* before the swap: whoever sees RUNNING sees since when */
        s->started_wall_us = (now + w->wall_minus_mono_ns) / 1000;
        atomic_store_explicit(&w->page->progress_ns, now, memory_order_relaxed);
        return atomic_compare_exchange_strong_explicit(&s->word, &given,
                                                       SLOT_WORD(epoch, SLOT_RUNNING),
                                                       memory_order_acq_rel, memory_order_relaxed);
}

/* Past the node's lease others may run its jobs: nothing starts until it is extended or the slot is
 * taken back. Returns the time. */
int64_t slot_await_lease(const struct worker *w, const struct slot *s, uint32_t epoch, int64_t now)
{
        for (;;) {
                int64_t lease = atomic_load_explicit(&w->page->lease_ns, memory_order_relaxed);
                uint32_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
                if (lease == 0 || now < lease || word != SLOT_WORD(epoch, SLOT_GIVEN)) {
                        return now;
                }
                nanosleep(&(struct timespec){0, 5 * NS_PER_MS}, NULL);
                now = clock_ns();
        }
}

static void run_jobs(struct worker *w, struct frame *f, const struct wire_frame *head)
{
        struct incoming in;
        int64_t now = clock_set(w);
        bool unsaid = false;
        uint32_t last = 0;
        w->noticed_ns = now;
        for (uint32_t i = 0; i < head->n; i++) {
                frame_next(f, &in);
                uint32_t position = head->first + i;
                struct slot *s = page_slot(w->page, position);
                now = slot_await_lease(w, s, head->epoch, now);
                if (slot_take(w, s, head->epoch, now)) {
                        now = run_job(w, &in, s, position, head->epoch);
                        last = position;
                        unsaid = true;
                }
                incoming_done(&in);
                if (unsaid && now - w->noticed_ns > NOTICE_EVERY_NS) {
                        say_ended(w, last, now);
                        unsaid = false;
                }
        }
        if (unsaid) {
                say_ended(w, last, now);
        }
}

static void run_frame(struct worker *w, const uint8_t *bytes, size_t n, const int *fds,
                      uint32_t n_fds)
{
        struct wire_frame head;
        if (n < sizeof head) {
                return;
        }
        memcpy(&head, bytes, sizeof head);
        if (head.group) {
                group_frame(w, &head, bytes, n, fds, n_fds);
                return;
        }
        struct frame f = {w, bytes, n, sizeof head, fds, n_fds, 0};
        group_run(w);
        run_jobs(w, &f, &head);
}

/* --- plug-ins ------------------------------------------------------------ */

static void add_plugin(struct worker *w, const uint8_t *bytes, size_t n, int *fds, uint32_t n_fds)
{
        char *copy = malloc(n);
        if (!copy || n_fds != 1) {
                give_up(w, "a plug-in cannot be taken");
        }
        memcpy(copy, bytes, n);
        struct wire_in in = {(const uint8_t *)copy, n, 4, false};
        uint32_t index = wire_get_u32(&in);
        struct str name = wire_get_str(&in);
        uint32_t n_set = wire_get_u32(&in);
        if (in.bad || index > 4096 || n_set > 4096) {
                give_up(w, "a plug-in's message cannot be read");
        }
        if (index >= w->n_plugins) {
                struct loaded_plugin *grown = realloc(w->plugins, (index + 1) * sizeof *grown);
                if (!grown) {
                        give_up(w, "a plug-in cannot be taken");
                }
                memset(grown + w->n_plugins, 0, (index + 1 - w->n_plugins) * sizeof *grown);
                w->plugins = grown;
                w->n_plugins = index + 1;
        }
        struct loaded_plugin *p = &w->plugins[index];
        *p = (struct loaded_plugin){.message = copy, .name = name.p, .fd = fds[0], .n_set = n_set};
        fds[0] = -1;
        p->set = calloc(n_set ? n_set : 1, sizeof *p->set);
        for (uint32_t i = 0; p->set && i < n_set; i++) {
                p->set[i].type = wire_get_str(&in).p;
                p->set[i].name = wire_get_str(&in).p;
                p->set[i].value = wire_get_str(&in).p;
        }
}

/* Its pages are there already: one call instead of their faults, one by one. */
static void take_belt(struct worker *w, const int *fds, uint32_t n_fds)
{
        void *p = n_fds == 1
                      ? mmap(NULL, BELT_BYTES, PROT_READ, MAP_SHARED | MAP_POPULATE, fds[0], 0)
                      : MAP_FAILED;
        if (p == MAP_FAILED) {
                give_up(w, "the memory for large payloads cannot be mapped");
        }
        w->belt = p;
}

static void retire(struct worker *w)
{
        for (uint32_t i = w->n_plugins; i-- > 0;) {
                for (uint32_t k = w->plugins[i].n_handlers; k-- > 0;) {
                        struct loaded_handler *h = &w->plugins[i].handlers[k];
                        if (h->ready && h->h.fini) {
                                h->h.fini(h->state);
                        }
                }
        }
        _exit(0);
}

/* --- messages ------------------------------------------------------------ */

/* While a checkpoint waits for its answer frames may come first: they are kept for later, in order.
 */
int wait_saved(struct worker *w, uint32_t position)
{
        for (;;) {
                struct stashed *s = malloc(sizeof *s + WIRE_MAX);
                if (!s) {
                        return -ENOMEM;
                }
                ssize_t got =
                    wire_recv(FD_SOCKET, s->bytes, WIRE_MAX, s->fds, WIRE_FDS, &s->n_fds, 0);
                if (got <= 0) {
                        _exit(0);
                }
                struct wire_saved saved;
                memcpy(&saved, s->bytes, sizeof saved < (size_t)got ? sizeof saved : (size_t)got);
                if (got == sizeof saved && saved.kind == WIRE_SAVED && saved.position == position) {
                        free(s);
                        return saved.result;
                }
                s->n = (size_t)got;
                s->next = NULL;
                struct stashed *small = realloc(s, sizeof *s + s->n);
                s = small ? small : s;
                *w->stash_end = s;
                w->stash_end = &s->next;
        }
}

static void obey(struct worker *w, const uint8_t *bytes, size_t n, int *fds, uint32_t n_fds)
{
        uint32_t kind = 0;
        memcpy(&kind, bytes, n < sizeof kind ? n : sizeof kind);
        if (kind == WIRE_FRAME) {
                run_frame(w, bytes, n, fds, n_fds);
        } else if (kind == WIRE_PLUGIN) {
                add_plugin(w, bytes, n, fds, n_fds);
        } else if (kind == WIRE_BELT) {
                take_belt(w, fds, n_fds);
        } else if (kind == WIRE_RETIRE) {
                group_run(w);
                retire(w);
        }
        close_fds(fds, n_fds);
}

static void obey_stashed(struct worker *w)
{
        while (w->stash) {
                struct stashed *s = w->stash;
                w->stash = s->next;
                if (!w->stash) {
                        w->stash_end = &w->stash;
                }
                obey(w, s->bytes, s->n, s->fds, s->n_fds);
                free(s);
        }
}

/* It is skepd's: that of another version lies differently, as would all that it sends. */
static void check_page(struct worker *w)
{
        const struct page *p = w->page;
        if (p->magic != PAGE_MAGIC) {
                _exit(EXIT_NO_SOCKET);
        }
        if (p->version != PAGE_VERSION || p->n_slots != RING_SLOTS ||
            p->slot_size != sizeof(struct slot)) {
                errno = EPROTO;
                give_up(w, "the worker program is of another version than skepd (was the package "
                           "replaced? restart skepd)");
        }
}

void worker_main(int32_t parent)
{
        static struct worker w;
        static _Alignas(16) uint8_t bytes[WIRE_MAX];
        int fds[WIRE_FDS];
        uint32_t n_fds;
        child_settle(parent);
        prctl(PR_SET_NAME, "skep-worker");
        w.page = mmap(NULL, sizeof *w.page, PROT_READ | PROT_WRITE, MAP_SHARED, FD_PAGE, 0);
        if (w.page == MAP_FAILED) {
                _exit(EXIT_NO_SOCKET);
        }
        close(FD_PAGE);
        check_page(&w);
        fcntl(FD_SOCKET, F_SETFD,
              FD_CLOEXEC); /* programs that a handler starts have no use for them */
        fcntl(FD_CANCEL, F_SETFD, FD_CLOEXEC);
        w.stash_end = &w.stash;
        crash_watch(w.page);
        for (;;) {
                ssize_t got = wire_recv(FD_SOCKET, bytes, sizeof bytes, fds, WIRE_FDS, &n_fds, 0);
                if (got == 0 || got == -ECONNRESET) {
                        _exit(0);
                }
                if (got < 0) {
                        errno = (int)-got;
                        give_up(&w,
                                "the socket to skepd does not work any more (a handler closed or "
                                "replaced descriptors it did not open)");
                }
                obey(&w, bytes, (size_t)got, fds, n_fds);
                obey_stashed(&w);
        }
}
