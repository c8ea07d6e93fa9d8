/*
 * What a worker says: ends in its page, everything else by message. All of it may be forged by a
 * handler, so a number that cannot be ends the worker, and a flood makes it wait.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/id.h"
#include "core/ledger.h"
#include "core/pattern.h"
#include "core/retry.h"
#include "core/unique.h"

#define PRIORITY_UNSET UINT8_MAX

struct extra *extra_free(struct extra *x)
{
        if (x) {
                submission_free(x->children);
                arena_deinit(&x->arena);
                free(x);
        }
        return NULL;
}

void crew_doom(struct crew *w, const char *why)
{
        if (!w->doomed) {
                w->doomed = strdup(why);
        }
        crew_kill(w);
}

static void distrust(struct crew *w, const char *why)
{
        w->nonsense = true;
        crew_doom(w, why);
}

/* --- ends ------------------------------------------------------------ */

static bool slot_sane(const struct slot *s)
{
        return s->verdict < VERDICT_KINDS && s->delay_ms >= 0 && s->delay_ms <= DELAY_MAX_MS &&
               (uint32_t)s->text_n + s->type_n + s->result_n <= SLOT_TEXT &&
               s->parts <= PARTS_MAX && s->started_mono_ns > 0 &&
               s->ended_mono_ns >= s->started_mono_ns && s->started_wall_us > 0;
}

static struct str keep(struct host *h, const char *p, uint32_t n)
{
        if (n == 0) {
                return (struct str){0};
        }
        struct str s = arena_str(&h->scratch, (struct str){p, n});
        return s.p ? s : (struct str){0};
}

/* The verdict of a slot, copied out first: its page may change under our eyes. */
static void read_verdict(struct host *h, struct given *g, const struct slot *s, struct verdict *ret)
{
        *ret = (struct verdict){
            .kind = (enum verdict_kind)s->verdict,
            .delay_ms = s->delay_ms,
            .run_ns = s->ended_mono_ns - s->started_mono_ns,
            .started_wall_us = s->started_wall_us,
            .text = keep(h, s->text, s->text_n),
            .result_type = keep(h, s->text + s->text_n, s->type_n),
            .result = keep(h, s->text + s->text_n + s->type_n, s->result_n),
        };
        struct extra *x = g->extra;
        if (!x) {
                return;
        }
        if (x->text.n) {
                ret->text = keep(h, x->text.p, x->text.n);
        }
        if (x->result.n || x->result_type.n) {
                ret->result = keep(h, x->result.p, x->result.n);
                ret->result_type = keep(h, x->result_type.p, x->result_type.n);
        }
        ret->children = x->children;
        x->children = NULL;
        g->extra = extra_free(x);
}

/* Is a further peek of use? Not while a job runs whose end will be told by itself: it started more
 * than 2 ms after, or is, the first that was not told. */
static void rearm_peek(struct host *h, struct crew *w)
{
        w->peek_ns = 0;
        if (w->told == w->next || w->state == CREW_ENDED) {
                return;
        }
        const struct slot *s = page_slot(w->page, w->told);
        uint32_t word = atomic_load_explicit(&s->word, memory_order_acquire);
        bool slow =
            SLOT_STATE(word) == SLOT_RUNNING && h->now_ns - s->started_mono_ns > 2 * NS_PER_MS;
        if (!slow && w->next - w->told > 1) {
                w->peek_ns = h->now_ns + PEEK_NS;
        }
}

/* The ends from the first untold on, in order. What was not sent cannot have ended. */
static uint32_t collect(struct host *h, struct crew *w)
{
        uint32_t n = 0;
        while (w->told != w->sent) {
                struct given *g = &w->given[w->told % RING_SLOTS];
                struct slot *shared = page_slot(w->page, w->told), s;
                uint32_t word = atomic_load_explicit(&shared->word, memory_order_acquire);
                if (word != SLOT_WORD(g->epoch, SLOT_ENDED)) {
                        if (word != SLOT_WORD(g->epoch, SLOT_GIVEN) &&
                            word != SLOT_WORD(g->epoch, SLOT_RUNNING)) {
                                distrust(w, "its page holds nonsense: a handler wrote over it");
                        }
                        break;
                }
                memcpy(&s, shared, sizeof s);
                if (!slot_sane(&s) || s.parts < g->parts) {
                        distrust(w, "its page holds nonsense: a handler wrote over it");
                        break;
                }
                if (s.parts > g->parts) {
                        break; /* they are on their way */
                }
                read_verdict(h, g, &s, &h->verdicts[n++]);
                w->belt.done = g->belt_end;
                w->told++;
        }
        return n;
}

bool crew_tell(struct host *h, struct crew *w, struct host_event *ret)
{
        uint32_t first = w->told;
        uint32_t n = w->nonsense ? 0 : collect(h, w);
        if (n && w->sent != w->next) {
                crew_send_given(h, w);
        }
        rearm_peek(h, w);
        if (n == 0) {
                return false;
        }
        w->notices_due = w->notices_due + n < RING_SLOTS ? w->notices_due + n : RING_SLOTS;
        *ret = (struct host_event){
            .kind = HOST_VERDICTS,
            .worker = w->number,
            .generation = w->lineup ? w->lineup->roster->generation : 0,
            .pid = w->pid,
            .first = first,
            .n_verdicts = n,
            .verdicts = h->verdicts,
        };
        return true;
}

/* --- parts of a verdict ------------------------------------------------------------ */

static struct extra *extra_of(struct given *g)
{
        if (!g->extra) {
                g->extra = calloc(1, sizeof *g->extra);
        }
        return g->extra;
}

static bool keep_text(struct given *g, struct wire_in *in)
{
        struct extra *x = extra_of(g);
        struct str s = wire_get_str(in);
        if (!x || in->bad || s.n > ERROR_TEXT_MAX) {
                return false;
        }
        x->text = arena_str(&x->arena, s);
        return x->text.p;
}

static bool keep_result(struct given *g, struct wire_in *in)
{
        struct extra *x = extra_of(g);
        struct str type = wire_get_str(in), bytes = wire_get_str(in);
        if (!x || in->bad || bytes.n > RESULT_MAX || type.n > 255) {
                return false;
        }
        x->result_type = arena_str(&x->arena, type);
        x->result = arena_str(&x->arena, bytes);
        return x->result_type.p && x->result.p;
}

/* A payload that came as descriptor: only a memfd, of exactly this size, is read; anything else
 * might block. */
static bool read_payload(struct arena *a, int fd, uint32_t n, struct str *ret)
{
        struct stat st;
        int seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 ||
            st.st_size != (off_t)n + 1) {
                return false;
        }
        char *p = arena_alloc(a, (size_t)n + 1);
        if (!p || pread(fd, p, n, 0) != (ssize_t)n) {
                return false;
        }
        p[n] = 0;
        *ret = (struct str){p, n};
        return true;
}

struct child_texts {
        struct wire_child fixed;
        struct str type, queue, key, content_type, tags, retry, unique, headers;
};

static bool child_texts_sane(const struct child_texts *c)
{
        bool ended = c->headers.n == 0 || c->headers.p[c->headers.n - 1] == 0;
        bool keyed = !c->fixed.has_key || (c->key.n > 0 && c->key.n <= KEY_TEXT_MAX);
        return ended && keyed && type_valid(c->type) && c->headers.n <= HEADERS_MAX &&
               c->queue.n <= CHILD_TEXT_MAX && c->content_type.n <= CHILD_TEXT_MAX &&
               c->tags.n <= CHILD_TAGS_MAX && c->retry.n <= CHILD_TEXT_MAX;
}

static bool child_retry_sane(struct str retry)
{
        struct retry_policy unused = RETRY_POLICY_DEFAULT;
        char note[256];
        return retry.n == 0 || retry_parse(retry, &unused, note, sizeof note) == 0;
}

static bool child_unique_sane(const struct child_texts *c)
{
        const struct wire_child *f = &c->fixed;
        uint32_t scopes = SCOPE_TYPE | SCOPE_QUEUE | SCOPE_PAYLOAD;
        return c->unique.n <= CHILD_TEXT_MAX && (c->unique.n || f->scope & SCOPE_PAYLOAD) &&
               !(f->scope & ~scopes) && f->unique_ms >= 0 && f->unique_ms <= DELAY_MAX_MS;
}

static bool child_numbers_sane(const struct wire_child *c)
{
        return c->delay_ms >= 0 && c->delay_ms <= DELAY_MAX_MS && c->run_at_us >= 0 &&
               c->deadline_us >= 0 && !(c->delay_ms && c->run_at_us) &&
               c->payload_n <= CHILD_PAYLOAD_MAX &&
               (!c->has_priority || c->priority <= PRIORITY_MAX);
}

static bool read_child(struct wire_in *in, struct child_texts *c)
{
        wire_get(in, &c->fixed, sizeof c->fixed);
        c->type = wire_get_str(in);
        c->queue = wire_get_str(in);
        c->key = wire_get_str(in);
        c->content_type = wire_get_str(in);
        c->tags = wire_get_str(in);
        c->retry = wire_get_str(in);
        c->unique = wire_get_str(in);
        c->headers = wire_get_str(in);
        return !in->bad && child_texts_sane(c) && child_numbers_sane(&c->fixed) &&
               child_retry_sane(c->retry) && (!c->fixed.has_unique || child_unique_sane(c));
}

/* Room for one more row; the array doubles. Old arrays stay in the arena until all of it goes. */
static struct submit_row *add_row(struct submission *s)
{
        if ((s->n & (s->n - 1)) == 0) {
                size_t room = s->n ? (size_t)s->n * 2 : 1;
                struct submit_row *rows = arena_alloc(&s->arena, room * sizeof *rows);
                if (!rows) {
                        return NULL;
                }
                if (s->n) {
                        memcpy(rows, s->rows, s->n * sizeof *rows);
                }
                s->rows = rows;
        }
        struct submit_row *row = &s->rows[s->n++];
        *row = (struct submit_row){0};
        return row;
}

static bool fill_row(struct submission *s, const struct child_texts *c, struct str payload)
{
        struct submit_row *row = add_row(s);
        if (!row) {
                return false;
        }
        const struct wire_child *f = &c->fixed;
        row->type = arena_str(&s->arena, c->type);
        row->queue = arena_str(&s->arena, c->queue);
        row->content_type = arena_str(&s->arena, c->content_type);
        row->tags = arena_str(&s->arena, c->tags);
        row->headers = arena_str(&s->arena, c->headers);
        row->payload = payload;
        row->state = f->delay_ms || f->run_at_us ? STATE_SCHEDULED : STATE_PENDING;
        row->after_us = f->delay_ms * 1000;
        row->at_us = f->run_at_us;
        row->deadline_us = f->deadline_us;
        row->band = BAND_OFFERED;
        row->priority = f->has_priority ? f->priority : PRIORITY_UNSET;
        row->max_attempts = f->max_attempts;
        row->timeout_ms = f->timeout_ms;
        row->heartbeat_ms = f->heartbeat_ms;
        row->policy = arena_str(&s->arena, c->retry);
        if (f->has_unique) {
                struct unique_wish wish = {c->unique, f->scope, f->states,
                                           f->replace ? UNIQUE_REPLACE : UNIQUE_KEEP, f->unique_ms};
                unique_key_of(&wish, row->type, row->queue, row->payload, &row->unique);
        }
        if (f->has_key) {
                row->key_text = arena_str(&s->arena, c->key);
                row->key = key_from_text(c->key);
        }
        return row->type.p && row->queue.p && row->headers.p && row->tags.p &&
               row->content_type.p && row->policy.p;
}

static bool child_payload(struct arena *a, const struct wire_child *c, struct wire_in *in, int fd,
                          struct str *ret)
{
        if (c->by_fd) {
                return fd >= 0 && read_payload(a, fd, c->payload_n, ret);
        }
        if (in->n - in->at != c->payload_n) {
                return false;
        }
        *ret = arena_str(a, (struct str){(const char *)in->p + in->at, c->payload_n});
        return ret->p;
}

static bool keep_child(struct given *g, struct wire_in *in, int fd)
{
        struct extra *x = extra_of(g);
        struct child_texts c;
        struct str payload = {0};
        if (!x || !read_child(in, &c)) {
                return false;
        }
        if (!x->children) {
                x->children = submission_new();
        }
        x->children_bytes += c.fixed.payload_n;
        if (!x->children || x->children->n >= CHILDREN_MAX || x->children_bytes > CHILDREN_BYTES) {
                return false;
        }
        x->children->atomic = true;
        return child_payload(&x->children->arena, &c.fixed, in, fd, &payload) &&
               fill_row(x->children, &c, payload);
}

/* --- messages ------------------------------------------------------------ */

/* Messages that bring no work forward are counted; too many in a moment and the worker is not heard
 * for a while. Its sends then block, which slows nobody but the handler that floods. */
static bool chatters(struct host *h, struct crew *w)
{
        if (h->now_ns - w->chatter_since_ns > CHATTER_NS) {
                w->chatter_since_ns = h->now_ns;
                w->chatter = 0;
        }
        if (++w->chatter < CHATTER_MAX || w->state == CREW_ENDED || w->muted) {
                return false;
        }
        w->muted = true;
        w->unmute_ns = h->now_ns + CHATTER_NS;
        crew_interest(h, w);
        return true;
}

static bool hear_notice(struct host *h, struct crew *w, uint32_t position, struct host_event *ret)
{
        uint32_t open = w->next - w->told;
        if (position - w->told >= open) {
                /* seen in the page before its notice came: once per job that is no chatter */
                if (w->notices_due) {
                        w->notices_due--;
                } else {
                        chatters(h, w);
                }
                return false;
        }
        bool told = crew_tell(h, w, ret);
        if (position - w->told < w->next - w->told && !w->nonsense) {
                distrust(
                    w, "it says that a job ended whose verdict is not there: a handler wrote into "
                       "its page or its socket");
        }
        return told;
}

void crew_tell_dropped(struct host *h, struct crew *w)
{
        if (w->log_dropped && h->now_ns - w->log_since_ns >= NS_PER_S) {
                struct host_event *e =
                    host_tell(h, HOST_LOG, NULL,
                              "%u lines of this worker's handlers were dropped: more "
                              "than %u in a second",
                              w->log_dropped, LOG_LINES_MAX);
                e->worker = w->number;
                e->pid = w->pid;
                e->level = 4;
                w->log_dropped = 0;
        }
}

/* False: the line has no place any more in this second. */
static bool log_has_room(struct host *h, struct crew *w)
{
        if (h->now_ns - w->log_since_ns >= NS_PER_S) {
                crew_tell_dropped(h, w);
                w->log_since_ns = h->now_ns;
                w->log_lines = 0;
        }
        if (w->log_lines >= LOG_LINES_MAX) {
                w->log_dropped++;
                return false;
        }
        w->log_lines++;
        return true;
}

static bool hear_log(struct host *h, struct crew *w, struct given *g, struct wire_in *in,
                     struct host_event *ret)
{
        uint32_t level = wire_get_u32(in);
        struct str text = wire_get_str(in);
        if (in->bad || level > 7 || text.n > LOG_TEXT_MAX) {
                return false;
        }
        if (!log_has_room(h, w)) {
                return true;
        }
        *ret = (struct host_event){
            .kind = HOST_LOG,
            .worker = w->number,
            .pid = w->pid,
            .job = g->id,
            .level = (int)level,
            .text = text,
        };
        return true;
}

static bool hear_checkpoint(struct crew *w, struct given *g, uint32_t position, struct wire_in *in,
                            struct host_event *ret)
{
        struct str bytes = wire_get_str(in);
        if (in->bad || bytes.n > CHECKPOINT_MAX) {
                return false;
        }
        *ret = (struct host_event){
            .kind = HOST_CHECKPOINT,
            .worker = w->number,
            .pid = w->pid,
            .first = position,
            .job = g->id,
            .bytes = bytes,
        };
        return true;
}

static bool keep_part(struct given *g, uint32_t kind, struct wire_in *in, int fd)
{
        g->parts++;
        return g->parts <= PARTS_MAX && (kind == WIRE_TEXT     ? keep_text(g, in)
                                         : kind == WIRE_RESULT ? keep_result(g, in)
                                                               : keep_child(g, in, fd));
}

/* False: nonsense. */
static bool understand(struct host *h, struct crew *w, struct wire_in *in, int fd,
                       struct host_event *ret)
{
        struct wire_part head;
        if (!wire_get(in, &head, sizeof head)) {
                return false;
        }
        if (head.kind == WIRE_NOTICE) {
                hear_notice(h, w, head.position, ret);
                return true;
        }
        if (head.position - w->told >= w->next - w->told) {
                return false; /* of a job that it was not given, or that has ended */
        }
        struct given *g = &w->given[head.position % RING_SLOTS];
        switch (head.kind) {
        case WIRE_TEXT:
        case WIRE_RESULT:
        case WIRE_CHILD: return keep_part(g, head.kind, in, fd);
        case WIRE_LOG: chatters(h, w); return hear_log(h, w, g, in, ret);
        case WIRE_CHECKPOINT: chatters(h, w); return hear_checkpoint(w, g, head.position, in, ret);
        default: return false;
        }
}

enum heard crew_hear(struct host *h, struct crew *w, struct host_event *ret)
{
        int fds[WIRE_FDS];
        uint32_t n_fds = 0;
        if (w->sock < 0 || w->nonsense || (w->muted && w->state != CREW_ENDED)) {
                return HEARD_NOTHING;
        }
        ssize_t n = wire_recv(w->sock, h->in, WIRE_MAX, fds, WIRE_FDS, &n_fds, MSG_DONTWAIT);
        if (n == -EAGAIN) {
                return HEARD_NOTHING;
        }
        if (n <= 0 && n != -EMSGSIZE) {
                /* closed: by a handler, or by death, which the pidfd tells; do not spin until then
                 */
                epoll_ctl(h->ep, EPOLL_CTL_DEL, w->sock, NULL);
                return HEARD_NOTHING;
        }
        struct wire_in in = {h->in, n > 0 ? (size_t)n : 0, 0, false};
        ret->kind = HOST_NONE;
        if (!understand(h, w, &in, n_fds ? fds[0] : -1, ret)) {
                distrust(w, "it sent a message that makes no sense: a handler wrote to its socket");
        }
        close_fds(fds, n_fds);
        return ret->kind != HOST_NONE ? HEARD_EVENT : HEARD_SOMETHING;
}
