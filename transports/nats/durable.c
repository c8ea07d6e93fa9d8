/*
 * The consumers: one durable for each pattern, shared by all nodes that serve it. Looked at first,
 * made when it is missing, compared when it is there, and never changed: what would lose or stop
 * jobs is named and the queue is not consumed until somebody mended it, what does not is named and
 * used.
 *
 * On a stream that keeps its messages a new consumer must not bring the history again: the ledger
 * is asked how far it came. And a consumer that remembers more than its stream has (the server lost
 * the end of the stream in a power cut, and kept the consumer) would pass over everything that
 * comes until the numbers have caught up: it is removed and made anew.
 */
#include "transports/nats/internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAM_GONE    10059
#define CONSUMER_GONE  10014
#define NOT_UNIQUE     10100
#define NOT_FILTERED   10099
#define FLOOR_AGAIN_NS (5 * NS_PER_S)
#define AHEAD_AGAIN_NS NS_PER_S
#define AHEAD_TIMES    3 /* what the server's parts say of each other may be late */

/* A stream's name that leaves no room is given by its hash. */
void history_name(const struct keeper *k, const struct post *p, char ret_name[static 256])
{
        const char *stream = k->jet->settings.stream;
        int n = snprintf(ret_name, 256, "%s:%" PRId64 ":%s", stream, k->created_ns,
                         p->pattern->durable);
        if (n >= 256) {
                snprintf(ret_name, 256, "%08" PRIx32 ":%" PRId64 ":%s", history_hash(stream, ""),
                         k->created_ns, p->pattern->durable);
        }
}

/* --- comparing -------------------------------------------------------------------------------- */

struct difference {
        const char *field, *ours;
        char theirs[100];
};

static bool differs(struct difference *d, const char *field, const char *ours, const json_t *value)
{
        d->field = field;
        d->ours = ours;
        if (json_is_string(value)) {
                snprintf(d->theirs, sizeof d->theirs, "%s", json_string_value(value));
        } else {
                char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
                snprintf(d->theirs, sizeof d->theirs, "%s", text ? text : "none");
                free(text);
        }
        return true;
}

/* What would lose or stop jobs. */
static bool find_break(const struct post *p, const json_t *c, struct difference *d)
{
        static const char *const bounds[] = {"max_batch", "max_expires", "max_bytes"};
        const json_t *deliver = json_object_get(c, "deliver_subject");
        if (deliver) {
                return differs(d, "deliver_subject", "none (pull)", deliver);
        }
        if (strcmp(answer_text(c, "ack_policy"), "explicit") != 0) {
                return differs(d, "ack_policy", "explicit", json_object_get(c, "ack_policy"));
        }
        if (strcmp(answer_text(c, "filter_subject"), p->pattern->filter) != 0) {
                return differs(d, "filter_subject", p->pattern->filter,
                               json_object_get(c, "filter_subject"));
        }
        if (answer_number(c, "max_deliver") > 0) {
                return differs(d, "max_deliver", "-1", json_object_get(c, "max_deliver"));
        }
        if (json_is_true(json_object_get(c, "headers_only"))) {
                return differs(d, "headers_only", "false", json_object_get(c, "headers_only"));
        }
        for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
                if (answer_number(c, bounds[i]) > 0) {
                        return differs(d, bounds[i], "none", json_object_get(c, bounds[i]));
                }
        }
        return false;
}

static void name_harmless(struct keeper *k, struct post *p, const json_t *c)
{
        const char *name = p->pattern->durable;
        if (p->ack_wait_ns != ACK_WAIT_NS) {
                keeper_say(k, p, LEVEL_WARNING,
                           "consumer %s is used as it is: ack_wait is %" PRId64
                           " ms, %d ms was wanted",
                           name, p->ack_wait_ns / NS_PER_MS, (int)(ACK_WAIT_NS / NS_PER_MS));
        }
        if (p->max_ack_pending && p->max_ack_pending < ACK_PENDING) {
                keeper_say(k, p, LEVEL_WARNING,
                           "consumer %s is used as it is: max_ack_pending is %" PRIu64
                           ", %d was wanted",
                           name, p->max_ack_pending, ACK_PENDING);
        }
        if (answer_number(c, "inactive_threshold") > 0) {
                keeper_say(k, p, LEVEL_WARNING,
                           "consumer %s is used as it is: inactive_threshold removes it, and on a "
                           "stream that is no work queue what waits in it",
                           name);
        }
}

/* --- looking ---------------------------------------------------------------------------------- */

static int64_t ack_wait(const json_t *c)
{
        const json_t *backoff = json_object_get(c, "backoff");
        int64_t ns = answer_number(c, "ack_wait");
        for (size_t i = 0; i < json_array_size(backoff); i++) {
                int64_t step = json_integer_value(json_array_get(backoff, i));
                ns = step > 0 && (step < ns || ns <= 0) ? step : ns;
        }
        return ns > 0 ? ns : ACK_WAIT_NS;
}

static void read_state(struct post *p, const json_t *root)
{
        int64_t most = answer_number(json_object_get(root, "config"), "max_ack_pending");
        p->max_ack_pending = most > 0 ? (uint64_t)most : 0;
        p->delivered = (uint64_t)answer_number(json_object_get(root, "delivered"), "stream_seq");
        p->acknowledged = (uint64_t)answer_number(json_object_get(root, "ack_floor"), "stream_seq");
        p->pending = (uint64_t)answer_number(root, "num_pending");
        p->unacknowledged = (uint64_t)answer_number(root, "num_ack_pending");
}

int durable_info(struct keeper *k, struct post *p, struct answer *ret)
{
        int r = api_call(k, ret, NULL, "$JS.API.CONSUMER.INFO.%s.%s", k->jet->settings.stream,
                         p->pattern->durable);
        if (r == 0) {
                read_state(p, ret->root);
        }
        return r;
}

bool durable_is_ahead(struct keeper *k, struct post *p)
{
        if (p->delivered <= k->last_seq || !stream_refresh(k) || p->delivered <= k->last_seq) {
                p->ahead = 0;
                return false;
        }
        p->ahead++;
        return true;
}

/* The first message that the stream holds for this consumer; 0: none, or it was not told. */
static uint64_t first_stored(struct keeper *k, const struct post *p)
{
        struct answer a;
        json_t *body = json_pack("{s:i,s:s}", "seq", 1, "next_by_subj", p->pattern->filter);
        int r = api_call(k, &a, body, "$JS.API.STREAM.MSG.GET.%s", k->jet->settings.stream);
        int64_t seq = r == 0 ? answer_number(json_object_get(a.root, "message"), "seq") : 0;
        answer_free(&a);
        return (uint64_t)seq;
}

/* What was acknowledged leaves a work queue. So a message that is not behind the consumer's floor
 * is a new one with an old number: the stream lost its end, and grew past the consumer before
 * anybody looked. No consumer would ever bring it. */
static bool is_passed_over(struct keeper *k, struct post *p)
{
        uint64_t first = k->work_queue && p->acknowledged ? first_stored(k, p) : 0;
        p->passed = first && first <= p->acknowledged ? p->passed + 1 : 0;
        return p->passed > 0;
}

/* Not usable: told, and looked at again later. */
static void unusable(struct keeper *k, struct post *p)
{
        keeper_close(k, p);
        p->ready = false;
        p->look_ns = clock_ns() + FOUND_ODD_NS;
}

static void say_break(struct keeper *k, struct post *p, const struct difference *d)
{
        keeper_say(k, p, LEVEL_ERROR,
                   "queue %s is not consumed: consumer %s has %s %s, %s is needed; remove it: nats "
                   "consumer rm %s %s",
                   p->order->name, p->pattern->durable, d->field, d->theirs, d->ours,
                   k->jet->settings.stream, p->pattern->durable);
        unusable(k, p);
}

static void take_consumer(struct keeper *k, struct post *p, const json_t *root)
{
        const json_t *c = json_object_get(root, "config");
        const char *created = answer_text(root, "created");
        struct difference d;
        if (strcmp(created, p->created) != 0) {
                p->anew = true; /* what was delivered by the one before is void */
                snprintf(p->created, sizeof p->created, "%s", created);
        }
        p->ack_wait_ns = ack_wait(c);
        if (find_break(p, c, &d)) {
                say_break(k, p, &d);
                return;
        }
        bool ahead = durable_is_ahead(k, p), passed = !ahead && is_passed_over(k, p);
        unsigned times = ahead && !k->replicated ? 1 : AHEAD_TIMES;
        if (ahead || passed) {
                if (p->ahead + p->passed < times) {
                        p->look_ns = clock_ns() + AHEAD_AGAIN_NS;
                } else {
                        durable_remake(k, p);
                }
                return;
        }
        name_harmless(k, p, c);
        p->ready = true;
}

/* --- making ----------------------------------------------------------------------------------- */

static json_t *consumer_body(const struct keeper *k, const struct post *p, uint64_t from)
{
        json_t *c = json_pack("{s:s, s:s, s:I, s:i, s:i, s:s, s:s, s:s}", "durable_name",
                              p->pattern->durable, "ack_policy", "explicit", "ack_wait",
                              (json_int_t)ACK_WAIT_NS, "max_deliver", -1, "max_ack_pending",
                              ACK_PENDING, "filter_subject", p->pattern->filter, "replay_policy",
                              "instant", "deliver_policy", from ? "by_start_sequence" : "all");
        if (c && from) {
                json_object_set_new(c, "opt_start_seq", json_integer((json_int_t)from));
        }
        return json_pack("{s:s, s:o}", "stream_name", k->jet->settings.stream, "config", c);
}

/* True: it is known how far the ledger came, or it does not matter. */
static bool knows_floor(struct keeper *k, struct post *p)
{
        int64_t now = clock_ns();
        if (k->work_queue || p->floor_known) {
                return true;
        }
        if (now - p->floor_ns >= FLOOR_AGAIN_NS || !p->floor_ns) {
                struct transport_news n = {.kind = TRANSPORT_FLOOR, .queue = p->order->queue};
                history_name(k, p, n.text);
                p->floor_ns = now;
                desk_news(&k->jet->desk, &n);
        }
        p->look_ns = now + FLOOR_AGAIN_NS;
        return false;
}

/* A floor behind the stream's end: that end was lost, and what comes has the numbers again. */
static uint64_t first_wanted(const struct keeper *k, const struct post *p)
{
        bool known = !k->work_queue && p->floor > 0 && (uint64_t)p->floor <= k->last_seq;
        return known ? (uint64_t)p->floor + 1 : 0;
}

static void say_unmade(struct keeper *k, struct post *p, const struct answer *a)
{
        char by[120] = "";
        if (a->err_code == NOT_UNIQUE || a->err_code == NOT_FILTERED) {
                names_overlapping(k, p, by, sizeof by);
        }
        keeper_say(k, p, LEVEL_ERROR, "queue %s is not consumed: no consumer %s on %s: %s%s%s%s",
                   p->order->name, p->pattern->durable, p->pattern->filter, a->text,
                   by[0] ? "; in its way: " : "", by,
                   by[0] ? "; when nobody serves that any more, remove it: nats consumer rm" : "");
}

static void make_consumer(struct keeper *k, struct post *p)
{
        struct answer a;
        keeper_close(k, p);
        if (!k->jet->settings.create) {
                keeper_say(k, p, LEVEL_ERROR,
                           "queue %s is not consumed: consumer %s is not there, and is not made "
                           "(create)",
                           p->order->name, p->pattern->durable);
                unusable(k, p);
                return;
        }
        if (!knows_floor(k, p)) {
                return;
        }
        int r = api_call(k, &a, consumer_body(k, p, first_wanted(k, p)),
                         "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s", k->jet->settings.stream,
                         p->pattern->durable);
        if (r == 0) {
                if (p->created[0]) {
                        desk_note(&k->jet->desk, LEVEL_WARNING,
                                  "consumer %s of queue %s was gone, and is made anew",
                                  p->pattern->durable, p->order->name);
                }
                p->floor_known = false; /* for the next one the ledger is asked again */
                read_state(p, a.root);
                take_consumer(k, p, a.root);
        } else if (r == API_ERROR) {
                say_unmade(k, p, &a);
                unusable(k, p);
        }
        answer_free(&a);
}

void durable_remake(struct keeper *k, struct post *p)
{
        struct answer a;
        const char *stream = k->jet->settings.stream;
        if (p->deaf) {
                desk_note(&k->jet->desk, LEVEL_WARNING,
                          "consumer %s of stream %s hangs in the server at %" PRIu64
                          ": it is made anew",
                          p->pattern->durable, stream, p->delivered);
        } else if (p->passed) {
                desk_note(&k->jet->desk, LEVEL_WARNING,
                          "consumer %s was at %" PRIu64 " and stream %s holds messages before it: "
                          "the server lost messages; the consumer is made anew",
                          p->pattern->durable, p->acknowledged, stream);
        } else {
                desk_note(&k->jet->desk, LEVEL_WARNING,
                          "consumer %s was at %" PRIu64 " and stream %s ends at %" PRIu64
                          ": the server lost messages; the consumer is made anew",
                          p->pattern->durable, p->delivered, stream, k->last_seq);
        }
        keeper_close(k, p);
        p->ready = false;
        p->ahead = p->passed = p->deaf = 0;
        p->look_ns = clock_ns() + AHEAD_AGAIN_NS;
        int r = api_call(k, &a, NULL, "$JS.API.CONSUMER.DELETE.%s.%s", stream, p->pattern->durable);
        answer_free(&a);
        if (r == 0) {
                p->look_ns = 0;
                p->created[0] = '\0';
        }
}

void durable_look(struct keeper *k, struct post *p)
{
        struct answer a;
        p->look_ns = clock_ns() + NS_PER_S;
        int r = durable_info(k, p, &a);
        if (r == 0) {
                take_consumer(k, p, a.root);
        } else if (r == API_ERROR && a.err_code == CONSUMER_GONE) {
                make_consumer(k, p);
        } else if (r == API_ERROR && a.err_code == STREAM_GONE) {
                keeper_close(k, p);
                k->stream_ns = 0;
        } else if (r == API_ERROR) {
                keeper_say(k, p, LEVEL_WARNING, "queue %s: consumer %s cannot be looked at: %s",
                           p->order->name, p->pattern->durable, a.text);
                p->look_ns = clock_ns() + FOUND_ODD_NS;
        }
        answer_free(&a);
        p->looked = p->looked || r == 0 || r == API_ERROR;
}
