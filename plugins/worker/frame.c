/*
 * Reading the jobs of a frame, and making of one what its handler sees. skepd wrote the frame;
 * still nothing is read past its end. Texts and payloads stay where they are: the frame outlives
 * its jobs. Discarded: copying each job out first, which costs more than the rest of its way.
 */
#include "plugins/worker/worker.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

static _Noreturn void be_short(const struct frame *f, const char *of)
{
        errno = EPROTO;
        give_up(f->w, of);
}

/* skepd puts nothing else there before this job's end was told. */
static void find_on_belt(const struct frame *f, struct incoming *ret)
{
        const struct wire_job *j = &ret->j;
        if (!f->w->belt || (uint64_t)j->payload_at + j->payload_n >= BELT_BYTES) {
                be_short(f, "a payload is not in the memory for large ones");
        }
        ret->payload = f->w->belt + j->payload_at;
}

static void map_payload(struct frame *f, struct incoming *ret)
{
        if (f->fd_at >= f->n_fds) { /* the kernel drops what exceeds the limit */
                be_short(
                    f, "a payload's descriptor did not arrive (do handlers leave too many open?)");
        }
        size_t n = (size_t)ret->j.payload_n + 1;
        void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, f->fds[f->fd_at++], 0);
        if (p == MAP_FAILED) {
                give_up(f->w, "a payload cannot be mapped");
        }
        ret->payload = p;
        ret->mapped = n;
}

void frame_next(struct frame *f, struct incoming *ret)
{
        struct wire_job *j = &ret->j;
        if (f->n - f->at < sizeof *j) {
                be_short(f, "a frame ends before its jobs do");
        }
        memcpy(j, f->p + f->at, sizeof *j);
        ret->texts = f->p + f->at + sizeof *j;
        size_t texts =
            (size_t)j->queue_n + j->type_n + j->content_type_n + j->headers_n + j->checkpoint_n + 5;
        size_t payload = (f->at + sizeof *j + texts + 15) & ~(size_t)15;
        size_t end = j->by == BY_FRAME ? (payload + j->payload_n + 1 + 7) & ~(size_t)7 : payload;
        if (end > f->n) {
                be_short(f, "a frame ends before its jobs do");
        }
        ret->payload = f->p + payload;
        ret->mapped = 0;
        f->at = end;
        if (j->by == BY_BELT) {
                find_on_belt(f, ret);
        } else if (j->by == BY_FD) {
                map_payload(f, ret);
        }
}

void incoming_done(struct incoming *in)
{
        if (in->mapped) {
                munmap((void *)in->payload, in->mapped);
                in->mapped = 0;
        }
}

/* --- what the handler sees ------------------------------------------------------------ */

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

void live_begin(struct live *l, struct worker *w, const struct incoming *in, uint32_t position)
{
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
        fill_job(l, in, page_slot(w->page, position)->started_wall_us);
}
