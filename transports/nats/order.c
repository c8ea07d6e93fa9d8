/*
 * What the engine said of a queue, in JetStream's words: the subjects of its patterns, the names of
 * their consumers, where its doorbells and its refused letters go.
 *
 * The name of a consumer is made of its subject alone: every node, also an older or younger one,
 * that serves the pattern has to share the same consumer, or a WorkQueue stream refuses it.
 */
#include "transports/nats/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define DURABLE_MAX 120 /* a history's name holds it and the stream's */
#define TYPE_BYTES  255

/* FNV-1a. */
static uint32_t text_hash(const char *text)
{
        uint32_t h = 0x811c9dc5;
        for (; *text; text++) {
                h = (h ^ (unsigned char)*text) * 0x01000193;
        }
        return h;
}

static const char *durable_name(struct arena *a, struct str pattern, const char *filter)
{
        char text[3 * TYPE_BYTES + 1];
        uint32_t n = 0;
        bool changed = pattern.n > TYPE_BYTES;
        for (uint32_t i = 0; i < pattern.n && n < TYPE_BYTES; i++) {
                char c = pattern.p[i];
                const char *word = c == '.' ? "_" : c == '*' ? "any" : c == '>' ? "all" : NULL;
                changed = changed || word;
                n += (uint32_t)snprintf(text + n, sizeof text - n, "%.*s",
                                        word ? (int)strlen(word) : 1, word ? word : &c);
        }
        changed = changed || n > DURABLE_MAX;
        n = n > DURABLE_MAX ? DURABLE_MAX : n;
        return changed ? arena_printf(a, "skep-%.*s-%08x", (int)n, text, text_hash(filter)).p
                       : arena_printf(a, "skep-%.*s", (int)n, text).p;
}

static bool make_pattern(struct order *o, const struct settings *s, struct str pattern)
{
        struct arena *a = &o->arena;
        struct pattern_of *p = &o->patterns[o->n_patterns];
        p->filter = arena_printf(a, "%s.%.*s", s->subject, (int)pattern.n, pattern.p).p;
        p->durable = p->filter ? durable_name(a, pattern, p->filter) : NULL;
        if (!p->durable) {
                return false;
        }
        p->next = arena_printf(a, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", s->stream, p->durable).p;
        o->n_patterns++;
        return p->next != NULL;
}

/* A subject that the pattern matches, and no producer's. */
static const char *bell_subject(struct arena *a, const char *filter)
{
        size_t n = strlen(filter), at = 0;
        char *text = arena_alloc(a, n * 5 + 1);
        for (size_t i = 0; text && i < n; i++) {
                if (filter[i] == '*' || filter[i] == '>') {
                        memcpy(text + at, "_bell", 5);
                        at += 5;
                } else {
                        text[at++] = filter[i];
                }
        }
        if (text) {
                text[at] = '\0';
        }
        return text;
}

static void free_p(struct order **o)
{
        order_free(*o);
}

struct order *order_new(const struct settings *s, uint32_t queue, const struct queue_config *q)
{
        CLEANUP(free_p)
        struct order *o = calloc(1, sizeof *o);
        if (!o) {
                return NULL;
        }
        uint32_t n = q->n_types ? q->n_types : 1;
        struct str name = arena_str(&o->arena, q->name);
        struct str type = arena_str(&o->arena, q->default_type);
        o->queue = queue;
        o->name = name.p;
        o->patterns = arena_zalloc(&o->arena, n * sizeof *o->patterns);
        if (!name.p || !type.p || !o->patterns) {
                return NULL;
        }
        for (uint32_t i = 0; i < n; i++) {
                if (!make_pattern(o, s, q->n_types ? q->types[i] : name)) {
                        return NULL;
                }
        }
        o->bell = bell_subject(&o->arena, o->patterns[0].filter);
        o->refused = arena_printf(&o->arena, "%s.%s", s->refused_subject, o->name).p;
        o->defaults = (struct envelope_defaults){.queue = name,
                                                 .default_type = type,
                                                 .priority = (uint8_t)q->priority,
                                                 .payload_max = s->payload_max};
        return o->bell && o->refused ? STEAL(o) : NULL;
}

struct order *order_free(struct order *o)
{
        while (o) {
                struct order *next = o->next;
                arena_deinit(&o->arena);
                free(o);
                o = next;
        }
        return NULL;
}
