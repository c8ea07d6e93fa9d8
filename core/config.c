/*
 * Making a configuration: the defaults come from the tables, through the same config_set() that a
 * file's values go through, so that a default outside its own range is found by the first test.
 * All texts and lists live in the configuration's arena and go with it; a list that outgrows its
 * place leaves it behind and takes one of twice the size, so that what is left is less than the
 * list. Growing by one entry was discarded: 1,000 types left 36 MiB behind.
 */
#include "core/config.h"
#include "core/pattern.h"
#include "core/patterns.h"

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

/* --- lists of entries ------------------------------------------------------------------------- */

#define ENTRY(struct_name, field, struct_entry)                                                    \
        offsetof(struct struct_name, field), sizeof(struct struct_entry),                          \
            offsetof(struct struct_entry, origins)

const struct config_list config_lists[CONFIG_LISTS] = {
    [LIST_QUEUES] = {"queues", "queue", config_queue_keys, ENTRY(config, queues, queue_config),
                     CONFIG_QUEUES_MAX},
    [LIST_TRANSPORTS] = {"transports", "transport", config_transport_keys,
                         ENTRY(config, transports, transport_config), CONFIG_TRANSPORTS_MAX},
    [LIST_TYPES] = {"types", "type", config_type_keys, ENTRY(config, types, type_config),
                    CONFIG_TYPES_MAX},
    [LIST_SCHEDULES] = {"schedules", "schedule", config_schedule_keys,
                        ENTRY(config, schedules, schedule_config), CONFIG_SCHEDULES_MAX},
};

#define COUNTED(list, n_list)                                                                      \
        static_assert(offsetof(struct config, n_list) ==                                           \
                          offsetof(struct config, list) + sizeof(void *),                          \
                      "a list is followed by its count")
COUNTED(queues, n_queues);
COUNTED(transports, n_transports);
COUNTED(types, n_types);
COUNTED(schedules, n_schedules);
static_assert(offsetof(struct queue_config, name) == 0 &&
                  offsetof(struct transport_config, name) == 0 &&
                  offsetof(struct type_config, pattern) == 0 &&
                  offsetof(struct schedule_config, name) == 0,
              "an entry begins with its name");

uint32_t config_entries(const struct config *c, const struct config_list *l)
{
        return *(const uint32_t *)((const char *)c + l->at + sizeof(void *));
}

void *config_entry(const struct config *c, const struct config_list *l, uint32_t i)
{
        char *const *list = (const void *)((const char *)c + l->at);
        return *list + i * l->size;
}

struct str config_entry_name(const struct config *c, const struct config_list *l, uint32_t i)
{
        return *(const struct str *)config_entry(c, l, i);
}

int config_entry_named(const struct config *c, const struct config_list *l, struct str name)
{
        for (uint32_t i = 0; i < config_entries(c, l); i++) {
                if (str_eq(config_entry_name(c, l, i), name)) {
                        return (int)i;
                }
        }
        return -1;
}

/* There is room for 1, 2, 4, 8 ... entries. */
static int grow_list(struct arena *a, void **list, uint32_t n, size_t size)
{
        if ((n & (n - 1)) != 0) {
                return 0;
        }
        char *grown = arena_alloc(a, (n ? n * 2 : 1) * size);
        if (!grown) {
                return -ENOMEM;
        }
        if (n) {
                memcpy(grown, *list, n * size);
        }
        *list = grown;
        return 0;
}

/* Room for one more entry, zeroed; the count is raised. */
static int add_entry(struct arena *a, void **list, uint32_t *n, size_t size, uint32_t max)
{
        if (*n >= max) {
                return CONFIG_FULL;
        }
        int r = grow_list(a, list, *n, size);
        if (r == 0) {
                memset((char *)*list + *n * size, 0, size);
                (*n)++;
        }
        return r;
}

int config_entry_add(struct config *c, const struct config_list *l, struct str name, void **ret)
{
        void **list = (void **)((char *)c + l->at);
        uint32_t *n = (uint32_t *)(list + 1);
        char *entry = arena_zalloc(&c->arena, l->size);
        struct str copy = arena_str(&c->arena, name);
        if (!entry || !copy.p) {
                return -ENOMEM;
        }
        int r = set_defaults(entry, &c->arena, l->keys);
        if (r == 0) {
                r = add_entry(&c->arena, list, n, l->size, l->max);
        }
        if (r != 0) {
                return r;
        }
        *(struct str *)(void *)entry = copy;
        *ret = memcpy((char *)*list + (*n - 1) * l->size, entry, l->size);
        return 0;
}

int config_queue_add(struct config *c, struct str name, struct queue_config **ret)
{
        void *entry;
        int r = config_entry_add(c, &config_lists[LIST_QUEUES], name, &entry);
        if (r == 0) {
                *ret = entry;
        }
        return r;
}

int config_transport_add(struct config *c, struct str name, struct transport_config **ret)
{
        void *entry;
        int r = config_entry_add(c, &config_lists[LIST_TRANSPORTS], name, &entry);
        if (r == 0) {
                *ret = entry;
        }
        return r;
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
        return config_entry_named(c, &config_lists[LIST_QUEUES], name);
}

/* --- which entry a type goes to --------------------------------------------------------------- */

struct config_index {
        struct patterns types, queues;
        uint32_t *queue_of; /* a pattern of `queues` */
};

static int index_types(struct config *c, struct patterns *ret)
{
        struct str *texts = arena_alloc(&c->arena, (c->n_types + 1) * sizeof *texts);
        for (uint32_t i = 0; texts && i < c->n_types; i++) {
                texts[i] = c->types[i].pattern;
        }
        return texts ? patterns_build(&c->arena, texts, c->n_types, ret) : -ENOMEM;
}

static int index_queues(struct config *c, struct patterns *ret, uint32_t **ret_queue_of)
{
        uint32_t n = 0, at = 0;
        for (uint32_t i = 0; i < c->n_queues; i++) {
                n += c->queues[i].n_types;
        }
        struct str *texts = arena_alloc(&c->arena, (n + 1) * sizeof *texts);
        uint32_t *queue_of = arena_alloc(&c->arena, (n + 1) * sizeof *queue_of);
        if (!texts || !queue_of) {
                return -ENOMEM;
        }
        for (uint32_t i = 0; i < c->n_queues; i++) {
                for (uint32_t j = 0; j < c->queues[i].n_types; j++, at++) {
                        texts[at] = c->queues[i].types[j];
                        queue_of[at] = i;
                }
        }
        *ret_queue_of = queue_of;
        return patterns_build(&c->arena, texts, n, ret);
}

int config_index(struct config *c)
{
        struct config_index *x = arena_zalloc(&c->arena, sizeof *x);
        int r = x ? index_types(c, &x->types) : -ENOMEM;
        r = r == 0 ? index_queues(c, &x->queues, &x->queue_of) : r;
        if (r == 0) {
                c->index = x;
        }
        return r;
}

const struct type_config *config_type_for(const struct config *c, struct str type)
{
        const struct type_config *best = NULL;
        uint32_t best_rank = 0;
        if (c->index) {
                int at = patterns_find(&c->index->types, type);
                return at < 0 ? NULL : &c->types[at];
        }
        for (uint32_t i = 0; i < c->n_types; i++) {
                uint32_t rank = pattern_rank(c->types[i].pattern);
                if (pattern_match(c->types[i].pattern, type) && (!best || rank > best_rank)) {
                        best = &c->types[i];
                        best_rank = rank;
                }
        }
        return best;
}

static int search_queue(const struct config *c, struct str type)
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
        return best;
}

int config_queue_for(const struct config *c, struct str type)
{
        int at = c->index ? patterns_find(&c->index->queues, type) : search_queue(c, type);
        if (at >= 0) {
                return c->index ? (int)c->index->queue_of[at] : at;
        }
        return config_queue_named(c, STR("default"));
}
