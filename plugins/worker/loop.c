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

static void say_ended(struct worker *w, uint32_t position, int64_t now)
{
        struct wire_part notice = {WIRE_NOTICE, position};
        send_or_end(w, &notice, sizeof notice, NULL, 0);
        w->noticed_ns = now;
}

/* --- the end of a job ------------------------------------------------------------ */

static void send_part(struct live *l, uint32_t kind, struct str type, struct str bytes)
{
        static uint8_t message[(64u << 10) + 1024];
        struct wire_out o = {.p = message, .max = sizeof message};
        struct wire_part head = {kind, l->position};
        wire_put(&o, &head, sizeof head);
        if (kind == WIRE_RESULT) {
                wire_put_str(&o, type);
        }
        wire_put_str(&o, bytes);
        send_or_end(l->w, o.p, o.n, NULL, 0);
}

static uint16_t send_children(struct live *l, bool wanted)
{
        uint16_t sent = 0;
        for (struct live_child *c = l->children; c; c = c->next) {
                if (wanted) {
                        send_or_end(l->w, c->message, c->n, &c->fd, c->fd >= 0 ? 1 : 0);
                        sent++;
                }
                close_fds(&c->fd, 1);
        }
        return sent;
}

static uint16_t put_slot_text(char **at, struct str s)
{
        if (s.n) {
                memcpy(*at, s.p, s.n);
                *at += s.n;
        }
        return (uint16_t)s.n;
}

/* Text and result go into the slot when they fit, else ahead as messages. ENDED is written last:
 * all that belongs to the verdict is out of our hands by then. */
static void end_job(struct live *l, struct slot *s, uint32_t epoch)
{
        bool done = l->verdict == SKEP_DONE;
        struct str result = done && l->has_result ? l->result : (struct str){0};
        struct str type = done && l->has_result ? l->result_type : (struct str){0};
        char *at = s->text;
        uint16_t parts = 0;
        s->text_n = s->type_n = s->result_n = 0;
        if (l->text.n > SLOT_TEXT) {
                send_part(l, WIRE_TEXT, (struct str){0}, l->text);
                parts++;
        } else {
                s->text_n = put_slot_text(&at, l->text);
        }
        if ((size_t)type.n + result.n > (size_t)(s->text + SLOT_TEXT - at)) {
                send_part(l, WIRE_RESULT, type, result);
                parts++;
        } else {
                s->type_n = put_slot_text(&at, type);
                s->result_n = put_slot_text(&at, result);
        }
        if (l->children) {
                parts += send_children(l, done);
        }
        s->parts = parts;
        s->verdict = (uint8_t)l->verdict;
        s->delay_ms = l->delay_ms;
        atomic_store_explicit(&s->word, SLOT_WORD(epoch, SLOT_ENDED), memory_order_release);
}

/* --- the start of a job ------------------------------------------------------------ */

static void write_id(const uint8_t b[16], char *text)
{
        static const char hex[] = "0123456789abcdef";
        for (int i = 0; i < 16; i++) {
                *text++ = hex[b[i] >> 4];
                *text++ = hex[b[i] & 15];
                if (i == 3 || i == 5 || i == 7 || i == 9) {
                        *text++ = '-';
                }
        }
        *text = 0;
}

static struct skep_str take_text(const uint8_t **at, uint32_t n)
{
        struct skep_str s = {(const char *)*at, n};
        *at += (size_t)n + 1;
        return s;
}

static struct skep_str header_of(const struct live *l, const char *name)
{
        const char *value = l->pub.headers.n ? worker_services.header(&l->pub, name) : NULL;
        return value ? (struct skep_str){value, strlen(value)} : (struct skep_str){"", 0};
}

/* One job of a frame, as read from it. */
struct incoming {
        struct wire_job j;
        const uint8_t *texts;
        const uint8_t *payload; /* in the frame, or mapped */
        size_t mapped;
};

static void fill_job(struct live *l, const struct incoming *in, int64_t started_wall_us)
{
        const struct wire_job *j = &in->j;
        const uint8_t *at = in->texts;
        struct skep_job *p = &l->pub;
        *p = (struct skep_job){.size = sizeof *p, .services = &worker_services};
        write_id(j->id, l->id);
        p->id = (struct skep_str){l->id, 36};
        p->queue = take_text(&at, j->queue_n);
        p->type = take_text(&at, j->type_n);
        p->content_type = take_text(&at, j->content_type_n);
        p->headers = take_text(&at, j->headers_n);
        l->checkpoint = (struct str){(const char *)at, j->checkpoint_n};
        p->payload = (struct skep_str){(const char *)in->payload, j->payload_n};
        p->traceparent = header_of(l, "traceparent");
        p->tracestate = header_of(l, "tracestate");
        p->baggage = header_of(l, "baggage");
        p->token = j->token;
        p->generation = j->generation;
        p->claim = j->claim;
        p->attempt = j->attempt;
        p->max_attempts = j->max_attempts;
        p->priority = j->priority;
        p->timeout_ms = j->timeout_ms;
        p->created_us = j->created_us;
        p->started_us = started_wall_us;
        p->deadline_us = j->deadline_us;
}

/* A cancel of an earlier job must not wake this one. */
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
                       uint32_t position, uint32_t epoch, int64_t now)
{
        struct live *l = &live;
        forget_cancels(w);
        l->w = w;
        l->handler = NULL;
        l->position = position;
        l->said = l->has_result = false;
        l->verdict = SKEP_RETRY;
        l->delay_ms = 0;
        l->text = (struct str){0};
        l->children = NULL;
        l->children_end = &l->children;
        l->n_children = 0;
        l->children_bytes = 0;
        fill_job(l, in, s->started_wall_us);
        live_run(l, in->j.plugin, in->j.handler);
        now = read_clock(CLOCK_MONOTONIC);
        s->ended_mono_ns = now;
        end_job(l, s, epoch);
        if (l->arena.head) {
                arena_reset(&l->arena);
        }
        return now;
}

/* --- frames ------------------------------------------------------------ */

struct frame {
        const uint8_t *p;
        size_t n, at;
        const int *fds;
        uint32_t n_fds, fd_at;
};

/* skepd wrote it; still nothing is read past the end. */
static bool next_job(struct frame *f, struct incoming *ret)
{
        struct wire_job *j = &ret->j;
        if (f->n - f->at < sizeof *j) {
                return false;
        }
        memcpy(j, f->p + f->at, sizeof *j);
        ret->texts = f->p + f->at + sizeof *j;
        size_t texts =
            (size_t)j->queue_n + j->type_n + j->content_type_n + j->headers_n + j->checkpoint_n + 5;
        size_t payload = (f->at + sizeof *j + texts + 15) & ~(size_t)15;
        size_t end = j->by_fd ? payload : (payload + j->payload_n + 1 + 7) & ~(size_t)7;
        if (end > f->n || (j->by_fd && f->fd_at >= f->n_fds)) {
                return false;
        }
        ret->payload = f->p + payload;
        ret->mapped = 0;
        f->at = end;
        return true;
}

static bool map_payload(struct frame *f, struct incoming *in)
{
        in->mapped = (size_t)in->j.payload_n + 1;
        void *p = mmap(NULL, in->mapped, PROT_READ, MAP_PRIVATE, f->fds[f->fd_at++], 0);
        if (p == MAP_FAILED) {
                in->mapped = 0;
                return false;
        }
        in->payload = p;
        return true;
}

static void give_up(struct worker *w, const char *why)
{
        int n = snprintf(w->page->crash_text, CRASH_TEXT, "%s: %s", why, strerrordesc_np(errno));
        atomic_store_explicit(&w->page->crash_n, (uint32_t)n, memory_order_release);
        _exit(EXIT_NO_SOCKET);
}

/* The worker may lose the swap against a recall; a slot of another epoch belongs to a later frame.
 */
static bool take_slot(struct worker *w, struct slot *s, uint32_t epoch, int64_t now)
{
        uint32_t given = SLOT_WORD(epoch, SLOT_GIVEN);
        if (atomic_load_explicit(&s->word, memory_order_relaxed) != given) {
                return false;
        }
        s->started_mono_ns = now; /* before the swap: whoever sees RUNNING sees since when */
        s->started_wall_us = (now + w->wall_minus_mono_ns) / 1000;
        atomic_store_explicit(&w->page->progress_ns, now, memory_order_relaxed);
        return atomic_compare_exchange_strong_explicit(&s->word, &given,
                                                       SLOT_WORD(epoch, SLOT_RUNNING),
                                                       memory_order_acq_rel, memory_order_relaxed);
}

/* Past the node's lease others may run its jobs: nothing starts until it is extended or the slot is
 * taken back. Returns the time. */
static int64_t await_lease(const struct worker *w, const struct slot *s, uint32_t epoch,
                           int64_t now)
{
        for (;;) {
                int64_t lease = atomic_load_explicit(&w->page->lease_ns, memory_order_relaxed);
                uint32_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
                if (lease == 0 || now < lease || word != SLOT_WORD(epoch, SLOT_GIVEN)) {
                        return now;
                }
                nanosleep(&(struct timespec){0, 5 * NS_PER_MS}, NULL);
                now = read_clock(CLOCK_MONOTONIC);
        }
}

static void run_frame(struct worker *w, const uint8_t *bytes, size_t n, const int *fds,
                      uint32_t n_fds)
{
        struct wire_frame head;
        struct frame f = {bytes, n, sizeof head, fds, n_fds, 0};
        struct incoming in;
        if (n < sizeof head) {
                return;
        }
        memcpy(&head, bytes, sizeof head);
        int64_t now = read_clock(CLOCK_MONOTONIC);
        bool unsaid = false;
        uint32_t last = 0;
        w->wall_minus_mono_ns = read_clock(CLOCK_REALTIME) - now;
        w->noticed_ns = now;
        for (uint32_t i = 0; i < head.n && next_job(&f, &in); i++) {
                uint32_t position = head.first + i;
                struct slot *s = page_slot(w->page, position);
                if (in.j.by_fd && !map_payload(&f, &in)) {
                        give_up(w, "a payload cannot be mapped");
                }
                now = await_lease(w, s, head.epoch, now);
                if (take_slot(w, s, head.epoch, now)) {
                        now = run_job(w, &in, s, position, head.epoch, now);
                        last = position;
                        unsaid = true;
                }
                if (in.mapped) {
                        munmap((void *)in.payload, in.mapped);
                }
                if (unsaid && now - w->noticed_ns > NOTICE_EVERY_NS) {
                        say_ended(w, last, now);
                        unsaid = false;
                }
        }
        if (unsaid) {
                say_ended(w, last, now);
        }
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
        } else if (kind == WIRE_RETIRE) {
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
