/*
 * Giving jobs to a worker and taking them back. What can go wrong with the jobs themselves is found
 * before the first of them is given, so that a give is whole or not at all. A frame is built in
 * place and sent at once; from the first large payload on that finds no room on the belt, what was
 * given waits here, in order, until ends were told. Taking back swaps the states of slots: whoever
 * swaps first has the job, and what was taken back is never read, wherever its payload lies.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <unistd.h>

/* Where a frame is being built. */
struct building {
        struct host *h;
        struct crew *w;
        size_t n;
        struct wire_frame head;
        int fds[WIRE_FDS];
        uint32_t n_fds;
        uint64_t belt_from; /* of its first payload on the belt */
        bool no_belt;       /* none could be made just now */
};

/* What fails here is the worker's death; no job of this frame is there to be put down to it. */
static void send_frame(struct building *b)
{
        struct crew *w = b->w;
        if (b->head.n) {
                memcpy(b->h->frame, &b->head, sizeof b->head);
                if (belt_flush(&w->belt) < 0) {
                        crew_doom(w, "the memory that it shares with skepd cannot be written");
                }
                if (w->killed || crew_send(b->h, w, b->h->frame, b->n, b->fds, b->n_fds) < 0) {
                        w->sent = b->head.first;
                }
        }
        close_fds(b->fds, b->n_fds);
        b->n_fds = 0;
        b->head.n = 0;
}

static size_t texts_size(const struct job *j)
{
        return (size_t)j->queue.n + j->type.n + j->content_type.n + j->headers.n + j->checkpoint.n +
               5;
}

static size_t job_size(const struct job *j)
{
        size_t inlined = j->payload.n > PAYLOAD_INLINE ? 0 : j->payload.n;
        return sizeof(struct wire_job) + texts_size(j) + 16 + inlined + 16;
}

static uint8_t *put_text(uint8_t *at, struct str s)
{
        if (s.n) {
                memcpy(at, s.p, s.n);
        }
        at[s.n] = 0;
        return at + s.n + 1;
}

static void put_job(struct building *b, const struct job *j, const struct handler_desc *d,
                    enum wire_by by, uint32_t payload_at)
{
        struct wire_job head = {
            .token = j->token,
            .created_us = j->created_us,
            .deadline_us = j->deadline_us,
            .claim = j->claim,
            .generation = j->generation,
            .timeout_ms = j->timeout_ms ? j->timeout_ms : d->timeout_ms,
            .payload_n = j->payload.n,
            .headers_n = j->headers.n,
            .checkpoint_n = j->checkpoint.n,
            .plugin = (uint16_t)d->plugin_index,
            .handler = (uint16_t)d->handler_index,
            .attempt = j->attempt,
            .max_attempts = j->max_attempts,
            .queue_n = (uint16_t)j->queue.n,
            .type_n = (uint16_t)j->type.n,
            .content_type_n = (uint16_t)j->content_type.n,
            .priority = j->priority,
            .by = (uint8_t)by,
            .payload_at = payload_at,
        };
        uint8_t *frame = b->h->frame, *at = frame + b->n;
        memcpy(head.id, j->id.b, sizeof head.id);
        memcpy(at, &head, sizeof head);
        at = put_text(at + sizeof head, j->queue);
        at = put_text(at, j->type);
        at = put_text(at, j->content_type);
        at = put_text(at, j->headers);
        at = put_text(at, j->checkpoint);
        size_t n = ((size_t)(at - frame) + 15) & ~(size_t)15;
        if (by == BY_FRAME) {
                n = ((size_t)(put_text(frame + n, j->payload) - frame) + 7) & ~(size_t)7;
        }
        b->n = n;
        b->head.n++;
}

static void give_slot(struct crew *w, const struct job *j, uint32_t group, uint32_t group_n)
{
        uint32_t position = w->next++;
        struct slot *s = page_slot(w->page, position);
        struct given *g = &w->given[position % RING_SLOTS];
        g->id = j->id;
        g->epoch = w->epoch;
        g->parts = 0;
        g->group = group;
        g->group_n = group_n;
        g->job = j;
        memcpy(s->id, j->id.b, sizeof s->id);
        s->token = j->token;
        s->claim = j->claim;
        g->words = 0;
        atomic_store_explicit(&s->words, 0, memory_order_relaxed);
        atomic_store_explicit(&s->asked, 0, memory_order_relaxed);
        atomic_store_explicit(&s->word, SLOT_WORD(w->epoch, SLOT_GIVEN), memory_order_release);
}

/* In the worker's own generation, which may differ from the one that the job was claimed with: the
 * job's index is only a hint, good when it names the exact type. */
static const struct handler_desc *handler_of(const struct crew *w, const struct job *j)
{
        const struct roster *r = w->lineup ? w->lineup->roster : NULL;
        if (!r) {
                return NULL;
        }
        if (j->handler >= 0 && (uint32_t)j->handler < r->n &&
            str_eq(r->handlers[j->handler].pattern, j->type)) {
                return &r->handlers[j->handler];
        }
        int found = roster_find(r, j->type);
        return found < 0 ? NULL : &r->handlers[found];
}

/* All that can go wrong with the jobs themselves, before the first of them is given. */
static int check_jobs(const struct crew *w, struct job *const *jobs, uint32_t n)
{
        if (n > RING_SLOTS - (w->next - w->told)) {
                return -ENOSPC;
        }
        for (uint32_t i = 0; i < n; i++) {
                const struct job *j = jobs[i];
                if (!handler_of(w, j)) {
                        return -ENOENT;
                }
                if (job_size(j) > FRAME_BYTES - sizeof(struct wire_frame) ||
                    j->queue.n > UINT16_MAX || j->type.n > UINT16_MAX ||
                    j->content_type.n > UINT16_MAX) {
                        return -E2BIG;
                }
        }
        return 0;
}

/* --- sending ------------------------------------------------------------ */

/* What will not be otherwise tomorrow; anything else is tried again with the next give. */
static bool lasts(int error)
{
        return error == -ENOSYS || error == -EPERM || error == -EACCES || error == -ENOENT;
}

static bool has_belt(struct building *b)
{
        struct crew *w = b->w;
        if (w->belt.fd < 0 && !w->belt.none && !b->no_belt) {
                uint32_t kind = WIRE_BELT;
                int reader, r = belt_make(&w->belt, &reader);
                if (r < 0) {
                        w->belt.none = lasts(r);
                        b->no_belt = true;
                } else {
                        crew_send(b->h, w, &kind, sizeof kind, &reader, 1);
                        close(reader);
                }
        }
        return w->belt.fd >= 0;
}

/* Members of a batch do not wait for room: all of them are needed before the first one ends. > 0:
 * the payload has to wait. */
static int place_payload(struct building *b, const struct given *g, enum wire_by *ret_by,
                         uint32_t *ret_at)
{
        struct str payload = g->job->payload;
        *ret_by = BY_FRAME;
        if (payload.n <= PAYLOAD_INLINE) {
                return 0;
        }
        if (payload.n <= BELT_PAYLOAD_MAX && has_belt(b)) {
                *ret_by = BY_BELT;
                if (belt_put(&b->w->belt, payload, ret_at)) {
                        return 0;
                }
                if (!g->group) {
                        return 1;
                }
        }
        *ret_by = BY_FD;
        int fd = memfd_of("skep-payload", payload.p, payload.n);
        if (fd < 0) {
                return fd;
        }
        b->fds[b->n_fds++] = fd;
        return 0;
}

/* Half of the belt at most in one frame, so that one half is filled while the other is worked on.
 */
static bool fits(const struct building *b, const struct given *next)
{
        return b->head.epoch == next->epoch && b->head.group == next->group &&
               b->head.n < FRAME_JOBS && b->n_fds < WIRE_FDS &&
               b->n + job_size(next->job) <= FRAME_BYTES && belt_ready(&b->w->belt) &&
               b->w->belt.put - b->belt_from < BELT_BYTES / 2;
}

static void begin_frame(struct building *b, const struct given *first)
{
        b->head = (struct wire_frame){WIRE_FRAME,   b->w->sent,   0,
                                      first->epoch, first->group, first->group_n};
        b->n = sizeof b->head;
        b->belt_from = b->w->belt.put;
}

/* Adds the next job to the frame. False: it, and all behind it, has to wait. */
static bool send_next(struct building *b)
{
        struct crew *w = b->w;
        struct given *g = &w->given[w->sent % RING_SLOTS];
        enum wire_by by;
        uint32_t at = 0;
        if (b->head.n && !fits(b, g)) {
                send_frame(b);
        }
        if (w->killed) {
                return false;
        }
        if (!b->head.n) {
                begin_frame(b, g);
        }
        int r = place_payload(b, g, &by, &at);
        if (r < 0 && (g->group || w->sent == w->told)) {
                crew_doom(w, "skepd has no memory or descriptor left for a payload");
        }
        if (r != 0) {
                return false; /* when an end was told it is tried again */
        }
        put_job(b, g->job, handler_of(w, g->job), by, at);
        g->job = NULL;
        g->belt_end = w->belt.put;
        w->sent++;
        return true;
}

/* What fails from here on is the worker's death, told as such. */
void crew_send_given(struct host *h, struct crew *w)
{
        struct building b = {.h = h, .w = w};
        uint32_t retire = WIRE_RETIRE;
        if (w->state == CREW_ENDED || w->killed) {
                return;
        }
        if (w->sent == w->told) {
                w->belt.put = w->belt.done = 0; /* nobody reads there: the same pages again */
        }
        while (w->sent != w->next && send_next(&b)) {}
        send_frame(&b);
        if (w->retiring && !w->retire_sent && w->sent == w->next) {
                w->retire_sent = true;
                crew_send(h, w, &retire, sizeof retire, NULL, 0);
        }
}

static int give(struct host *h, uint32_t worker, struct job *const *jobs, uint32_t n,
                uint32_t group, uint32_t group_n)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        if (!w || w->state == CREW_ENDED || w->retiring) {
                return -ESRCH;
        }
        int r = check_jobs(w, jobs, n);
        if (r < 0) {
                return r;
        }
        for (uint32_t i = 0; i < n; i++) {
                give_slot(w, jobs[i], group, group_n);
        }
        crew_send_given(h, w);
        if (w->next - w->told > 1) {
                w->peek_ns = h->now_ns + PEEK_NS;
        }
        return 0;
}

int host_worker_give(struct host *h, uint32_t worker, struct job *const *jobs, uint32_t n)
{
        return give(h, worker, jobs, n, 0, 0);
}

int host_worker_give_batch(struct host *h, uint32_t worker, struct job *const *jobs, uint32_t n,
                           uint32_t group, uint32_t group_n)
{
        return give(h, worker, jobs, n, group, group_n);
}

uint32_t host_worker_recall(struct host *h, uint32_t worker, uint32_t position)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        if (!w) {
                return position;
        }
        uint32_t first = w->next;
        while (first != w->told && first != position) {
                uint32_t at = first - 1;
                uint32_t given = SLOT_WORD(w->given[at % RING_SLOTS].epoch, SLOT_GIVEN);
                uint32_t back = SLOT_WORD(w->given[at % RING_SLOTS].epoch, SLOT_RECALLED);
                if (!atomic_compare_exchange_strong_explicit(&page_slot(w->page, at)->word, &given,
                                                             back, memory_order_acq_rel,
                                                             memory_order_acquire)) {
                        break; /* it started first */
                }
                first = at;
        }
        if (first == w->next) {
                return first;
        }
        w->next = first;
        w->epoch = (w->epoch + 1) & EPOCH_MASK;
        if (first - w->told < w->sent - w->told) {
                w->sent = first;
                w->belt.put =
                    first == w->told ? w->belt.done : w->given[(first - 1) % RING_SLOTS].belt_end;
        }
        if (w->retiring) {
                crew_send_given(h, w);
        }
        return first;
}
