/*
 * What the tests of the configuration model share: a key by its name, a value that must be
 * accepted.
 */
#ifndef SKEP_TESTS_UNIT_CONFIG_MODEL_H
#define SKEP_TESTS_UNIT_CONFIG_MODEL_H

#include "core/config.h"
#include "tests/unit/unit.h"

static inline const struct config_key *key_of(const char *name)
{
        const struct config_key *const tables[] = {config_keys, config_queue_keys,
                                                   config_transport_keys, config_type_keys,
                                                   config_schedule_keys};
        for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
                for (const struct config_key *k = tables[t]; k->name; k++) {
                        if (strcmp(k->name, name) == 0) {
                                return k;
                        }
                }
        }
        return NULL;
}

static inline void set(struct config *c, void *in, const char *key, const char *value)
{
        char note[CONFIG_NOTE_MAX];
        CU_ASSERT_EQUAL(config_set(in, &c->arena, key_of(key), str_of(value), note, sizeof note),
                        0);
}

/* A key of a table whose names others have too. */
static inline void set_in(struct config *c, const struct config_key *keys, void *entry,
                          const char *key, const char *value)
{
        char note[CONFIG_NOTE_MAX];
        while (keys->name && strcmp(keys->name, key) != 0) {
                keys++;
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(keys->name);
        CU_ASSERT_EQUAL(config_set(entry, &c->arena, keys, str_of(value), note, sizeof note), 0);
}

static inline struct queue_config *add_queue(struct config *c, const char *name)
{
        struct queue_config *q = NULL;
        CU_ASSERT_EQUAL_FATAL(config_queue_add(c, str_of(name), &q), 0);
        return q;
}

#endif
