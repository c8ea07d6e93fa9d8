/*
 * Copies the queues out of a configuration whose owner may free it a moment later.
 */
#include "http/settings.h"

#include <stdio.h>
#include <stdlib.h>

struct settings *settings_free(struct settings *s)
{
        if (s) {
                arena_deinit(&s->config.arena);
                free(s);
        }
        return NULL;
}

static void free_settings(struct settings **s)
{
        settings_free(*s);
}

static bool copy_text(struct arena *a, struct str *s)
{
        *s = arena_str(a, *s);
        return s->p != NULL || s->n == 0;
}

static bool copy_queue(struct arena *a, const struct queue_config *from, struct queue_config *to)
{
        *to = *from;
        if (!copy_text(a, &to->name) || !copy_text(a, &to->transport) ||
            !copy_text(a, &to->default_type)) {
                return false;
        }
        to->types = arena_alloc(a, sizeof *to->types * (from->n_types + 1));
        for (uint32_t i = 0; to->types && i < from->n_types; i++) {
                to->types[i] = from->types[i];
                if (!copy_text(a, &to->types[i])) {
                        return false;
                }
        }
        return to->types != NULL;
}

static void list_names(struct settings *s)
{
        size_t at = 0;
        for (uint32_t i = 0; i < s->config.n_queues; i++) {
                struct str name = s->config.queues[i].name;
                if (at + name.n + 8 > sizeof s->queue_names) {
                        snprintf(s->queue_names + at, sizeof s->queue_names - at, ", ...");
                        return;
                }
                at += (size_t)snprintf(s->queue_names + at, sizeof s->queue_names - at, "%s%.*s",
                                       i ? ", " : "", (int)name.n, name.p);
        }
}

struct settings *settings_new(const struct config *c)
{
        CLEANUP(free_settings)
        struct settings *s = calloc(1, sizeof *s);
        if (!s) {
                return NULL;
        }
        s->config.payload_max = c->payload_max;
        s->config.queues = arena_alloc(&s->config.arena, sizeof *c->queues * (c->n_queues + 1));
        if (!s->config.queues) {
                return NULL;
        }
        for (uint32_t i = 0; i < c->n_queues; i++) {
                if (!copy_queue(&s->config.arena, &c->queues[i], &s->config.queues[i])) {
                        return NULL;
                }
                s->config.n_queues++;
        }
        s->object_max = (size_t)c->payload_max / 3 * 4 + 4 + (64u << 10);
        s->array_max = s->object_max > ARRAY_BYTES_MIN ? s->object_max : ARRAY_BYTES_MIN;
        s->held_max = s->array_max * 4 > HELD_MIN ? s->array_max * 4 : HELD_MIN;
        list_names(s);
        return STEAL(s);
}
