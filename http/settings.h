/*
 * The part of the configuration that HTTP needs, as a copy of its own: queues with their patterns
 * and defaults, and the limits that follow from payload_max. Used by the HTTP thread alone; a
 * reload swaps the whole.
 */
#ifndef SKEP_HTTP_SETTINGS_H
#define SKEP_HTTP_SETTINGS_H

#include "core/config.h"

#define ARRAY_ROWS_MAX    10000
#define ARRAY_BYTES_MIN   (16u << 20)
#define NDJSON_LINES_MAX  250000
#define NDJSON_PAGE       1000
#define NDJSON_PAGE_BYTES (4u << 20)
#define HELD_MIN          (96u << 20)

struct settings {
        struct config config;  /* queues and payload_max only */
        size_t object_max;     /* bytes of a body that is one object, and of a line of NDJSON */
        size_t array_max;      /* bytes of a body that is an array */
        size_t held_max;       /* bytes of bodies and answers that all requests together may hold */
        char queue_names[256]; /* "default, email", for error texts */
};

struct settings *settings_new(const struct config *c);
struct settings *settings_free(struct settings *s); /* NULL-safe, returns NULL */

#endif
