/*
 * Giving jobs to a worker and taking them back. A frame is built in place and sent at once; what
 * can go wrong with the jobs themselves is found before the first of them is given, so that a give
 * is whole or not at all. Taking back swaps the states of slots: whoever swaps first has the job.
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
};

static int send_frame(struct building *b)
{
        int r = 0;
        if (b->head.n) {
                memcpy(b->h->frame, &b->head, sizeof b->head);
                r = crew_send(b->h, b->w, b->h->frame, b->n, b->fds, b->n_fds);
        }
        close_fds(b->fds, b->n_fds);
        b->n_fds = 0;
        b->head.first += b->head.n;
        b->head.n = 0;
        b->n = sizeof b->head;
        return r;
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

static void put_job(struct building *b, const struct job *j, const struct handler_desc *d, int fd)
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
            .by_fd = fd >= 0,
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
        if (fd >= 0) {
                b->fds[b->n_fds++] = fd;
        } else {
                n = ((size_t)(put_text(frame + n, j->payload) - frame) + 7) & ~(size_t)7;
        }
        b->n = n;
        b->head.n++;
}

static void give_slot(struct crew *w, const struct job *j, uint32_t group)
{
        uint32_t position = w->next++;
        struct slot *s = page_slot(w->page, position);
        struct given *g = &w->given[position % RING_SLOTS];
        g->id = j->id;
        g->epoch = w->epoch;
        g->parts = 0;
        g->group = group;
        memcpy(s->id, j->id.b, sizeof s->id);
        s->token = j->token;
        s->claim = j->claim;
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

/* Payloads that do not go inline, one memfd each, made before anything is given. */
static int make_payloads(struct job *const *jobs, uint32_t n, int *fds)
{
        for (uint32_t i = 0; i < n; i++) {
                fds[i] = -1;
        }
        for (uint32_t i = 0; i < n; i++) {
                if (jobs[i]->payload.n > PAYLOAD_INLINE) {
                        fds[i] = memfd_of("skep-payload", jobs[i]->payload.p, jobs[i]->payload.n);
                        if (fds[i] < 0) {
                                int r = fds[i];
                                close_fds(fds, n);
                                return r;
                        }
                }
        }
        return 0;
}

static bool frame_full(const struct building *b, const struct job *next)
{
        return b->head.n >= FRAME_JOBS || b->n_fds >= WIRE_FDS ||
               b->n + job_size(next) > FRAME_BYTES;
}

static int give(struct host *h, uint32_t worker, struct job *const *jobs, uint32_t n,
                uint32_t group, uint32_t group_n)
{
        struct crew *w = worker < WORKERS_MAX ? h->crew[worker] : NULL;
        int fds[RING_SLOTS];
        if (!w || w->state == CREW_ENDED || w->retiring) {
                return -ESRCH;
        }
        int r = check_jobs(w, jobs, n);
        r = r < 0 ? r : make_payloads(jobs, n, fds);
        if (r < 0) {
                return r;
        }
        struct building b = {.h = h, .w = w, .n = sizeof b.head};
        b.head = (struct wire_frame){WIRE_FRAME, w->next, 0, w->epoch, group, group_n};
        for (uint32_t i = 0; i < n; i++) {
                if (frame_full(&b, jobs[i])) {
                        send_frame(&b);
                }
                put_job(&b, jobs[i], handler_of(w, jobs[i]), fds[i]);
                give_slot(w, jobs[i], group);
        }
        send_frame(&b); /* what fails from here on is the worker's death, told as such */
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
        if (first != w->next) {
                w->next = first;
                w->epoch = (w->epoch + 1) & EPOCH_MASK;
        }
        return first;
}
