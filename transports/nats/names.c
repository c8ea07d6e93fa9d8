/*
 * Names what nobody consumes: subjects of ours that hold messages in the stream and that no
 * consumer, ours or anybody's, asks for. In AMQP such letters would be unrouted; here they stay
 * where they are, so that a queue that is configured later still gets them.
 */
#include "transports/nats/internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define NAMED_MAX  5
#define AGAIN_NS   (3600 * NS_PER_S)
#define PAGES_MAX  20 /* of consumers */
#define LIST_BYTES 200

/* --- consumers -------------------------------------------------------------------------------- */

/* Calls fn with each filter of each consumer until it says true; then so does this. */
typedef bool filter_fn(void *ctx, const char *consumer, const char *filter);

static bool each_filter(const json_t *consumer, filter_fn *fn, void *ctx)
{
        const json_t *config = json_object_get(consumer, "config");
        const json_t *several = json_object_get(config, "filter_subjects");
        const char *name = answer_text(consumer, "name"),
                   *one = answer_text(config, "filter_subject");
        for (size_t i = 0; i < json_array_size(several); i++) {
                const char *filter = json_string_value(json_array_get(several, i));
                if (filter && fn(ctx, name, filter)) {
                        return true;
                }
        }
        return json_array_size(several) == 0 && fn(ctx, name, *one ? one : ">");
}

static bool each_consumer(struct keeper *k, filter_fn *fn, void *ctx)
{
        int64_t offset = 0, total = 1;
        bool found = false;
        for (int page = 0; page < PAGES_MAX && offset < total && !found; page++) {
                struct answer a;
                int r = api_call(k, &a, json_pack("{s:I}", "offset", (json_int_t)offset),
                                 "$JS.API.CONSUMER.LIST.%s", k->jet->settings.stream);
                const json_t *list = json_object_get(a.root, "consumers");
                size_t n = r == 0 ? json_array_size(list) : 0;
                for (size_t i = 0; i < n && !found; i++) {
                        found = each_filter(json_array_get(list, i), fn, ctx);
                }
                total = n ? answer_number(a.root, "total") : 0;
                offset += (int64_t)n;
                answer_free(&a);
        }
        return found;
}

struct subject_overlap {
        const struct post *post;
        char *text;
        size_t size;
};

static bool overlaps(void *ctx, const char *consumer, const char *filter)
{
        const struct subject_overlap *o = ctx;
        if (strcmp(consumer, o->post->pattern->durable) == 0 ||
            !subject_overlaps(filter, o->post->pattern->filter)) {
                return false;
        }
        snprintf(o->text, o->size, "consumer %s on %s", consumer, filter);
        return true;
}

void names_overlapping(struct keeper *k, const struct post *p, char *ret_text, size_t size)
{
        struct subject_overlap o = {p, ret_text, size};
        ret_text[0] = '\0';
        (void)each_consumer(k, overlaps, &o);
}

/* --- subjects --------------------------------------------------------------------------------- */

/* Takes out what the filter matches; true when nothing is left. */
static bool strike_out(void *ctx, const char *consumer, const char *filter)
{
        json_t *subjects = ctx;
        const char *name;
        json_t *count;
        void *next;
        (void)consumer;
        json_object_foreach_safe(subjects, next, name, count)
        {
                if (subject_covers(filter, name)) {
                        json_object_del(subjects, name);
                }
        }
        return json_object_size(subjects) == 0;
}

static bool strike_out_ours(struct keeper *k, json_t *subjects)
{
        for (const struct line *line = k->lines; line; line = line->next) {
                for (const struct post *p = line->posts; p; p = p->next) {
                        if (strike_out(subjects, NULL, p->pattern->filter)) {
                                return true;
                        }
                }
        }
        return false;
}

static uint64_t names_hash(const json_t *subjects)
{
        uint64_t sum = 0;
        const char *name;
        json_t *count;
        json_object_foreach((json_t *)subjects, name, count)
        {
                uint64_t h = 0xcbf29ce484222325;
                for (const char *p = name; *p; p++) {
                        h = (h ^ (unsigned char)*p) * 0x100000001b3;
                }
                sum += h; /* in any order */
        }
        return sum;
}

static void tell_names(struct keeper *k, const json_t *subjects)
{
        char list[LIST_BYTES] = "";
        int n = 0;
        size_t named = 0, all = json_object_size(subjects);
        const char *name;
        json_t *count;
        json_object_foreach((json_t *)subjects, name, count)
        {
                int size = snprintf(list + n, sizeof list - (size_t)n, "%s%.80s (%lld)",
                                    n ? ", " : "", name, (long long)json_integer_value(count));
                if (named == NAMED_MAX || n + size >= (int)sizeof list) {
                        list[n] = '\0';
                        break;
                }
                n += size;
                named++;
        }
        desk_note(&k->jet->desk, LEVEL_WARNING, "no queue takes these of stream %s: %s%s",
                  k->jet->settings.stream, list, named < all ? ", and more" : "");
}

void names_look(struct keeper *k)
{
        char wide[SUBJECT_BYTES];
        struct answer a;
        snprintf(wide, sizeof wide, "%s.>", k->jet->settings.subject);
        int r = api_call(k, &a, json_pack("{s:s}", "subjects_filter", wide),
                         "$JS.API.STREAM.INFO.%s", k->jet->settings.stream);
        json_t *subjects = json_object_get(json_object_get(a.root, "state"), "subjects");
        bool none = r != 0 || json_object_size(subjects) == 0 || strike_out_ours(k, subjects) ||
                    each_consumer(k, strike_out, subjects);
        uint64_t hash = none ? 0 : names_hash(subjects);
        int64_t now = clock_ns();
        if (hash && (hash != k->names_hash || now - k->names_told_ns >= AGAIN_NS)) {
                k->names_told_ns = now;
                tell_names(k, subjects);
        }
        k->names_hash = r == 0 ? hash : k->names_hash;
        answer_free(&a);
}
