/*
 * The services of a worker, as handlers see them through struct skep_services. What a job says is
 * kept here until it ends; only the log and checkpoints leave at once, and progress is in the page.
 */
#include "plugins/worker/worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "core/id.h"
#include "core/job.h"
#include "core/pattern.h"
#include "core/retry.h"
#include "core/unique.h"

static const struct live *live_of(const struct skep_job *job)
{
        return (const struct live *)(const void *)job;
}

static struct live *live_to_change(struct skep_job *job)
{
        return (struct live *)(void *)job;
}

static const char *find_header(const struct skep_job *job, const char *name)
{
        const char *p = live_of(job)->pub.headers.p, *end = p + live_of(job)->pub.headers.n;
        while (p < end) {
                const char *value = p + strlen(p) + 1;
                if (value > end) {
                        break;
                }
                if (strcasecmp(p, name) == 0) {
                        return value;
                }
                p = value + strlen(value) + 1;
        }
        return NULL;
}

static int is_cancelled(const struct skep_job *job)
{
        const struct live *l = live_of(job);
        return atomic_load_explicit(&page_slot(l->w->page, l->position)->asked,
                                    memory_order_acquire);
}

static int get_cancel_fd(const struct skep_job *job)
{
        (void)job;
        return FD_CANCEL;
}

static void note_life(struct live *l)
{
        atomic_store_explicit(&l->w->page->progress_ns, clock_ns(), memory_order_relaxed);
}

/* Each word takes the place of the one before, and skepd looks now and then: so the last one is
 * seen, however soon it came after others. Any thread. */
static void note_progress(struct skep_job *job, double done, double total)
{
        struct live *l = live_to_change(job);
        struct slot *s = page_slot(l->w->page, l->position);
        note_life(l);
        atomic_store_explicit(&s->done, done, memory_order_relaxed);
        atomic_store_explicit(&s->total, total, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->words, 1, memory_order_release);
}

static int keep_result(struct skep_job *job, const char *content_type, const void *bytes, size_t n)
{
        struct live *l = live_to_change(job);
        if (n > RESULT_MAX || (content_type && strlen(content_type) > 255)) {
                return -E2BIG;
        }
        struct str copy = arena_str(&l->arena, (struct str){bytes, (uint32_t)n});
        struct str type = arena_str(&l->arena, str_of(content_type ? content_type : ""));
        if (!copy.p || !type.p) {
                return -ENOMEM;
        }
        l->result = copy;
        l->result_type = type;
        l->has_result = true;
        return 0;
}

static void write_log(struct skep_job *job, int level, const char *fmt, ...)
{
        struct live *l = live_to_change(job);
        char text[LOG_TEXT_MAX];
        uint8_t bytes[LOG_TEXT_MAX + 64];
        struct wire_out o = {.p = bytes, .max = sizeof bytes};
        struct wire_part head = {WIRE_LOG, l->position};
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        if (n < 0) {
                return;
        }
        wire_put(&o, &head, sizeof head);
        wire_put_u32(&o, level < 0 || level > 7 ? 6 : (uint32_t)level);
        wire_put_str(&o, str_of(text));
        send_or_end(l->w, o.p, o.n, NULL, 0);
}

static int save_checkpoint(struct skep_job *job, const void *p, size_t n)
{
        struct live *l = live_to_change(job);
        if (n > CHECKPOINT_MAX) {
                return -E2BIG;
        }
        struct str copy = arena_str(&l->arena, (struct str){p, (uint32_t)n});
        size_t size = sizeof(struct wire_part) + 8 + n;
        uint8_t *message = arena_alloc(&l->arena, size);
        if (!copy.p || !message) {
                return -ENOMEM;
        }
        struct wire_out o = {.p = message, .max = size};
        struct wire_part head = {WIRE_CHECKPOINT, l->position};
        wire_put(&o, &head, sizeof head);
        wire_put_str(&o, copy);
        note_life(l);
        send_or_end(l->w, o.p, o.n, NULL, 0);
        int r = wait_saved(l->w, l->position);
        note_life(l);
        if (r == 0) {
                l->checkpoint = copy;
        }
        return r;
}

static struct skep_str load_checkpoint(const struct skep_job *job)
{
        struct str s = live_of(job)->checkpoint;
        return (struct skep_str){s.n ? s.p : NULL, s.n};
}

static void *alloc_zeroed(struct skep_job *job, size_t n)
{
        return arena_zalloc(&live_to_change(job)->arena, n);
}

static const char *get_option(const struct skep_job *job, const char *name)
{
        return loaded_option(live_of(job)->handler, name);
}

static int say_verdict(struct skep_job *job, int verdict, int64_t delay_ms, const char *fmt, ...)
{
        struct live *l = live_to_change(job);
        char text[ERROR_TEXT_MAX + 1];
        va_list ap;
        va_start(ap, fmt);
        int n = fmt ? vsnprintf(text, sizeof text, fmt, ap) : 0;
        va_end(ap);
        l->said = true;
        l->verdict = verdict;
        l->delay_ms = delay_ms <= 0 ? 0 : delay_ms < DELAY_MAX_MS ? delay_ms : DELAY_MAX_MS;
        l->text = n > 0 ? arena_str(&l->arena, str_of(text)) : (struct str){0};
        if (!l->text.p) {
                l->text.n = 0;
        }
        return verdict;
}

/* --- children ------------------------------------------------------------ */

static bool text_fits(const char *z, size_t max)
{
        return !z || strnlen(z, max + 1) <= max;
}

/* Everything that skepd would take for a forgery is the handler's -EINVAL here. */
static bool retry_sane(const char *retry)
{
        struct retry_policy unused = RETRY_POLICY_DEFAULT;
        char note[256];
        return !retry || (text_fits(retry, CHILD_TEXT_MAX) &&
                          retry_parse(str_of(retry), &unused, note, sizeof note) == 0);
}

/* False: one of its texts is not what it should be. */
static bool read_unique(const struct skep_child *c, struct unique_wish *ret)
{
        *ret = (struct unique_wish){.scope = SCOPE_DEFAULT, .states = UNIQUE_STATES_DEFAULT};
        if (!c->unique_key) {
                return true;
        }
        bool fits = text_fits(c->unique_key, CHILD_TEXT_MAX);
        fits =
            fits && (!c->unique_scope || unique_scope_parse(str_of(c->unique_scope), &ret->scope));
        fits = fits &&
               (!c->unique_states || unique_states_parse(str_of(c->unique_states), &ret->states));
        fits = fits && (!c->unique_conflict ||
                        unique_conflict_parse(str_of(c->unique_conflict), &ret->conflict));
        ret->for_ms = c->unique_ms;
        return fits && (*c->unique_key || ret->scope & SCOPE_PAYLOAD) && c->unique_ms >= 0 &&
               c->unique_ms <= DELAY_MAX_MS;
}

static bool child_texts_sane(const struct skep_child *c)
{
        return c->type && type_valid(str_of(c->type)) && (!c->key || *c->key) &&
               text_fits(c->key, KEY_TEXT_MAX) && text_fits(c->queue, CHILD_TEXT_MAX) &&
               text_fits(c->content_type, CHILD_TEXT_MAX) && text_fits(c->tags, CHILD_TAGS_MAX);
}

static bool child_times_sane(const struct skep_child *c)
{
        bool two = c->delay_ms && c->run_at_us;
        bool never = c->deadline_us && c->run_at_us > c->deadline_us;
        return !two && !never && c->delay_ms >= 0 && c->delay_ms <= DELAY_MAX_MS &&
               c->run_at_us >= 0 && c->deadline_us >= 0;
}

static bool child_reply_sane(const struct skep_child *c)
{
        return (!c->reply_to || *c->reply_to) && text_fits(c->reply_to, CHILD_TEXT_MAX) &&
               text_fits(c->correlation_id, CHILD_TEXT_MAX);
}

static bool child_sane(const struct skep_child *c)
{
        return child_texts_sane(c) && retry_sane(c->retry) && child_times_sane(c) &&
               child_reply_sane(c) && (!c->has_priority || c->priority <= PRIORITY_MAX) &&
               (c->payload || c->payload_size == 0);
}

/* The headers that a submission's fields become, name, value, ..., NULL. They come before the
 * handler's own: of two with one name the first counts. */
struct own_headers {
        const char *list[7];
};

static struct own_headers own_headers(const struct live *l, const struct skep_child *c)
{
        struct own_headers h = {{"job-parent-id", l->id}};
        uint32_t n = 2;
        if (c->reply_to) {
                h.list[n++] = "job-reply-to";
                h.list[n++] = c->reply_to;
        }
        if (c->correlation_id) {
                h.list[n++] = "job-correlation-id";
                h.list[n++] = c->correlation_id;
        }
        return h;
}

static size_t list_bytes(const char *const *list)
{
        size_t n = 0;
        for (uint32_t i = 0; list && list[i] && n <= HEADERS_MAX; i++) {
                n += strlen(list[i]) + 1;
        }
        return n;
}

static uint32_t header_bytes(const struct live *l, const struct skep_child *c)
{
        struct own_headers own = own_headers(l, c);
        size_t n = list_bytes(own.list) + list_bytes(c->headers);
        return (uint32_t)(n > HEADERS_MAX ? HEADERS_MAX + 1 : n);
}

static void put_list(struct wire_out *o, const char *const *list)
{
        for (uint32_t i = 0; list && list[i]; i++) {
                wire_put(o, list[i], strlen(list[i]) + 1);
        }
}

/* Length, then name NUL value NUL ..., as in a job. */
static void put_headers(struct wire_out *o, const struct live *l, const struct skep_child *c)
{
        struct own_headers own = own_headers(l, c);
        wire_put_u32(o, header_bytes(l, c));
        put_list(o, own.list);
        put_list(o, c->headers);
        wire_put(o, "", 1);
}

static void put_child(struct wire_out *o, const struct live *l, const struct skep_child *c,
                      const struct unique_wish *wish, bool by_fd)
{
        struct wire_part head = {WIRE_CHILD, l->position};
        struct wire_child fixed = {
            .delay_ms = c->delay_ms,
            .unique_ms = wish->for_ms,
            .run_at_us = c->run_at_us,
            .deadline_us = c->deadline_us,
            .timeout_ms = c->timeout_ms,
            .heartbeat_ms = c->heartbeat_ms,
            .payload_n = (uint32_t)c->payload_size,
            .max_attempts = c->max_attempts,
            .priority = c->priority,
            .has_priority = c->has_priority != 0,
            .has_key = c->key != NULL,
            .by_fd = by_fd,
            .has_unique = c->unique_key != NULL,
            .scope = wish->scope,
            .states = wish->states,
            .replace = wish->conflict == UNIQUE_REPLACE,
        };
        wire_put(o, &head, sizeof head);
        wire_put(o, &fixed, sizeof fixed);
        wire_put_str(o, str_of(c->type));
        wire_put_str(o, str_of(c->queue ? c->queue : ""));
        wire_put_str(o, str_of(c->key ? c->key : ""));
        wire_put_str(o, str_of(c->content_type ? c->content_type : ""));
        wire_put_str(o, str_of(c->tags ? c->tags : ""));
        wire_put_str(o, str_of(c->retry ? c->retry : ""));
        wire_put_str(o, str_of(c->unique_key ? c->unique_key : ""));
        put_headers(o, l, c);
        if (!by_fd) {
                wire_put(o, c->payload, c->payload_size);
        }
}

static size_t text_bytes(const char *z)
{
        return (z ? strlen(z) : 0) + 5;
}

static size_t child_bytes(const struct live *l, const struct skep_child *c)
{
        return sizeof(struct wire_part) + sizeof(struct wire_child) + header_bytes(l, c) + 8 +
               text_bytes(c->type) + text_bytes(c->queue) + text_bytes(c->key) +
               text_bytes(c->content_type) + text_bytes(c->tags) + text_bytes(c->retry) +
               text_bytes(c->unique_key);
}

/* What an older plug-in does not have is zero. */
static bool whole_child(const struct skep_child *from, struct skep_child *ret)
{
        *ret = (struct skep_child){0};
        if (!from || from->size < offsetof(struct skep_child, priority) + 1) {
                return false;
        }
        memcpy(ret, from, from->size < sizeof *ret ? from->size : sizeof *ret);
        return true;
}

static int enqueue_child(struct skep_job *job, const struct skep_child *given)
{
        struct live *l = live_to_change(job);
        struct skep_child whole;
        const struct skep_child *c = &whole;
        struct unique_wish wish;
        if (!whole_child(given, &whole) || !child_sane(c) || !read_unique(c, &wish) ||
            header_bytes(l, c) > HEADERS_MAX) {
                return -EINVAL;
        }
        if (c->payload_size > CHILD_PAYLOAD_MAX) {
                return -E2BIG;
        }
        if (l->n_children >= CHILDREN_MAX || l->children_bytes + c->payload_size > CHILDREN_BYTES) {
                return -ENOSPC;
        }
        bool by_fd = c->payload_size > CHILD_INLINE;
        size_t size = child_bytes(l, c) + (by_fd ? 0 : c->payload_size);
        struct live_child *child = arena_alloc(&l->arena, sizeof *child + size);
        if (!child || size > WIRE_MAX) {
                return child ? -EINVAL : -ENOMEM;
        }
        int fd = by_fd ? memfd_of("skep-child", c->payload, c->payload_size) : -1;
        if (by_fd && fd < 0) {
                return fd;
        }
        struct wire_out o = {.p = child->message, .max = size};
        put_child(&o, l, c, &wish, by_fd);
        child->next = NULL;
        child->fd = fd;
        child->n = o.n;
        *l->children_end = child;
        l->children_end = &child->next;
        l->n_children++;
        l->children_bytes += c->payload_size;
        return 0;
}

const struct skep_services worker_services = {
    .size = sizeof(struct skep_services),
    .header = find_header,
    .cancelled = is_cancelled,
    .cancel_fd = get_cancel_fd,
    .progress = note_progress,
    .result = keep_result,
    .log = write_log,
    .checkpoint_save = save_checkpoint,
    .checkpoint_load = load_checkpoint,
    .enqueue = enqueue_child,
    .alloc = alloc_zeroed,
    .option = get_option,
    .verdict = say_verdict,
};
