/*
 * Making a configuration: the defaults come from the tables, through the same config_set() that a
 * file's values go through, so that a default outside its own range is found by the first test.
 * All texts and lists live in the configuration's arena and go with it; growing a list leaves its
 * former place behind, which is bounded by the few entries that people write.
 */
#include "core/config.h"
#include "core/pattern.h"

#include <assert.h>
#include <errno.h>

static int set_defaults(void *base, struct arena *a, const struct config_key *keys)
{
        char note[CONFIG_NOTE_MAX];
        for (const struct config_key *k = keys; k->name; k++) {
                if (k->fallback[0] == 0) {
                        continue;
                }
                int r = config_set(base, a, k, str_of(k->fallback), note, sizeof note);
                assert(r <= 0);
                if (r < 0) {
                        return r;
                }
        }
        return 0;
}

int config_init(struct config *c)
{
        struct config new = {0};
        struct queue_config *queue;
        int r = set_defaults(&new, &new.arena, config_keys);
        if (r == 0) {
                r = config_queue_add(&new, STR("default"), &queue);
        }
        if (r < 0) {
                config_deinit(&new);
                return r;
        }
        *c = new;
        return 0;
}

void config_deinit(struct config *c)
{
        arena_deinit(&c->arena);
        *c = (struct config){0};
}

/* Room for one more entry, zeroed; the count is raised. */
static int add_entry(struct arena *a, void **list, uint32_t *n, size_t size, uint32_t max)
{
        if (*n >= max) {
                return CONFIG_FULL;
        }
        char *grown = arena_zalloc(a, (*n + 1) * size);
        if (!grown) {
                return -ENOMEM;
        }
        if (*list) {
                memcpy(grown, *list, *n * size);
        }
        *list = grown;
        (*n)++;
        return 0;
}

int config_queue_add(struct config *c, struct str name, struct queue_config **ret)
{
        struct queue_config q = {0};
        void *list = c->queues;
        int r = set_defaults(&q, &c->arena, config_queue_keys);
        if (r < 0) {
                return r;
        }
        q.name = arena_str(&c->arena, name);
        if (!q.name.p) {
                return -ENOMEM;
        }
        r = add_entry(&c->arena, &list, &c->n_queues, sizeof q, CONFIG_QUEUES_MAX);
        if (r != 0) {
                return r;
        }
        c->queues = list;
        *ret = &c->queues[c->n_queues - 1];
        **ret = q;
        return 0;
}

int config_transport_add(struct config *c, struct str name, struct transport_config **ret)
{
        struct transport_config t = {0};
        void *list = c->transports;
        int r = set_defaults(&t, &c->arena, config_transport_keys);
        if (r < 0) {
                return r;
        }
        t.name = arena_str(&c->arena, name);
        if (!t.name.p) {
                return -ENOMEM;
        }
        r = add_entry(&c->arena, &list, &c->n_transports, sizeof **ret, CONFIG_TRANSPORTS_MAX);
        if (r != 0) {
                return r;
        }
        c->transports = list;
        *ret = &c->transports[c->n_transports - 1];
        **ret = t;
        return 0;
}

int config_option_add(struct config *c, struct handler_option_config **ret)
{
        void *list = c->handler_options;
        int r =
            add_entry(&c->arena, &list, &c->n_handler_options, sizeof **ret, CONFIG_OPTIONS_MAX);
        if (r != 0) {
                return r;
        }
        c->handler_options = list;
        *ret = &c->handler_options[c->n_handler_options - 1];
        return 0;
}

int config_queue_named(const struct config *c, struct str name)
{
        for (uint32_t i = 0; i < c->n_queues; i++) {
                if (str_eq(c->queues[i].name, name)) {
                        return (int)i;
                }
        }
        return -1;
}

int config_queue_for(const struct config *c, struct str type)
{
        int best = -1;
        uint32_t best_rank = 0;
        for (uint32_t i = 0; i < c->n_queues; i++) {
                const struct queue_config *q = &c->queues[i];
                for (uint32_t j = 0; j < q->n_types; j++) {
                        uint32_t rank = pattern_rank(q->types[j]);
                        if (pattern_match(q->types[j], type) && (best < 0 || rank > best_rank)) {
                                best = (int)i;
                                best_rank = rank;
                        }
                }
        }
        return best >= 0 ? best : config_queue_named(c, STR("default"));
}
