/*
 * Looks at the consumers of a queue from outside. Tells that the queue is empty, how far a history
 * was taken in, and finds what is up and deaf: something is asked for, messages wait, nothing
 * comes.
 *
 * The server counts what waits and what anybody holds unacknowledged, so EMPTY is exact.
 */
#include "transports/nats/internal.h"

#include <jansson.h>
#include <stdlib.h>

#define PROBE_EVERY_NS (5 * NS_PER_S)
#define DEAF_AFTER_NS  (20 * NS_PER_S) /* and up to 5 s until the first probe: within 30 s */
#define DEAF_TIMES     2
#define FLOOR_EVERY_NS (5 * NS_PER_S)
#define QUIET_NS       NS_PER_S

static void tell_floor(struct keeper *k, struct post *p)
{
        int64_t now = clock_ns(), floor = (int64_t)p->acknowledged;
        if (k->work_queue || floor <= p->floor_told ||
            (p->floor_told && now - p->floor_ns < FLOOR_EVERY_NS)) {
                return;
        }
        struct transport_news n = {
            .kind = TRANSPORT_FLOOR, .queue = p->order->queue, .floor = floor};
        history_name(k, p, n.text);
        p->floor_told = floor;
        p->floor_ns = now;
        desk_news(&k->jet->desk, &n);
}

/* Asking anew heals what went wrong between us and the server. A consumer that hangs in the server
 * is made anew: what it had not seen acknowledged comes again, and is known. */
static void reopen(struct keeper *k, struct post *p)
{
        bool stuck = p->deaf && p->delivered == p->deaf_at;
        p->deaf = stuck ? p->deaf + 1 : 1;
        p->deaf_at = p->delivered;
        desk_note(&k->jet->desk, LEVEL_WARNING,
                  "queue %s: %llu messages wait in consumer %s and nothing was delivered; it is "
                  "asked anew",
                  p->order->name, (unsigned long long)p->pending, p->pattern->durable);
        desk_tell(&k->jet->desk, TRANSPORT_DEAF, p->order->queue);
        if (p->deaf >= DEAF_TIMES && k->jet->settings.create) {
                durable_remake(k, p);
                return;
        }
        keeper_close(k, p);
        p->ready = false;
        p->look_ns = 0;
}

static bool is_full(const struct post *p)
{
        return p->max_ack_pending && p->unacknowledged >= p->max_ack_pending;
}

/* Counted is the time since a probe first saw messages and nothing came: a queue may have been idle
 * for hours before. */
static void judge(struct keeper *k, struct post *p)
{
        int64_t now = clock_ns(), delivered = atomic_load(&p->gauge.delivered_ns);
        if (p->pending == 0 || atomic_load(&p->gauge.asked) == 0 || is_full(p)) {
                p->waiting_ns = 0;
        } else if (p->waiting_ns <= delivered) {
                p->waiting_ns = now;
        } else if (now - p->waiting_ns >= DEAF_AFTER_NS) {
                reopen(k, p);
        }
}

/* What the stream holds for this consumer; UINT64_MAX: it did not say. */
static uint64_t stored_for(struct keeper *k, const struct post *p)
{
        struct answer a;
        const char *subject;
        json_t *count;
        uint64_t n = 0;
        int r = api_call(k, &a, json_pack("{s:s}", "subjects_filter", p->pattern->filter),
                         "$JS.API.STREAM.INFO.%s", k->jet->settings.stream);
        json_t *subjects = json_object_get(json_object_get(a.root, "state"), "subjects");
        json_object_foreach(subjects, subject, count)
        {
                n += (uint64_t)json_integer_value(count);
        }
        answer_free(&a);
        return r == 0 ? n : UINT64_MAX;
}

/* A consumer of nats-server 2.9 whose client left while a message was under way may count one that
 * is not there, and go on counting it. What waits can be no more than the stream holds. */
static void correct_pending(struct keeper *k, struct post *p)
{
        int64_t quiet = clock_ns() - atomic_load(&p->gauge.delivered_ns);
        if (!k->work_queue || p->pending == 0 || quiet < QUIET_NS) {
                return;
        }
        uint64_t stored = stored_for(k, p);
        uint64_t most = stored > p->unacknowledged ? stored - p->unacknowledged : 0;
        p->pending = most < p->pending ? most : p->pending;
}

/* False: nothing can be said of it now. */
static bool probe_post(struct keeper *k, struct post *p)
{
        struct answer a;
        int r = durable_info(k, p, &a);
        bool same = r == 0 && strcmp(answer_text(a.root, "created"), p->created) == 0;
        answer_free(&a);
        if (!same || durable_is_ahead(k, p)) {
                p->told = p->ready = p->told && r != 0 && r != API_ERROR;
                p->look_ns = 0;
                return false;
        }
        tell_floor(k, p);
        correct_pending(k, p);
        judge(k, p);
        return true;
}

void probe_line(struct keeper *k, struct line *line)
{
        bool empty = line->posts != NULL;
        for (struct post *p = line->posts; p && !atomic_load(&k->link->closed); p = p->next) {
                bool known = p->told && probe_post(k, p);
                empty = empty && known && p->pending == 0 && p->unacknowledged == 0;
        }
        line->probe_ns = clock_ns() + PROBE_EVERY_NS;
        if (empty && !atomic_load(&k->link->closed)) {
                desk_tell(&k->jet->desk, TRANSPORT_EMPTY, line->order->queue);
        }
}

/* Not even a heartbeat came. Either the whole connection is deaf, or the consumer is. */
void probe_silent(struct keeper *k, struct post *p)
{
        struct answer a;
        bool deaf;
        p->silent = false;
        if (!api_hears(k, &deaf)) {
                if (deaf) {
                        desk_tell(&k->jet->desk, TRANSPORT_DEAF, p->order->queue);
                }
                return;
        }
        int r = durable_info(k, p, &a);
        answer_free(&a);
        if (r == 0) {
                correct_pending(k, p);
        }
        if (r == 0 && p->pending > 0 && !is_full(p)) {
                reopen(k, p);
        }
}

void line_free_all(struct keeper *k)
{
        while (k->lines) {
                struct line *line = k->lines;
                k->lines = line->next;
                while (line->posts) {
                        struct post *p = line->posts;
                        line->posts = p->next;
                        free(p);
                }
                free(line);
        }
        while (k->gone) {
                struct post *p = k->gone;
                k->gone = p->next;
                free(p);
        }
}
