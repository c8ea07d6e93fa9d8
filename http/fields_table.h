/*
 * Inner to http/fields*.c: the table of fields and what is being taken.
 */
#ifndef SKEP_HTTP_FIELDS_TABLE_H
#define SKEP_HTTP_FIELDS_TABLE_H

#include <jansson.h>

#include "http/fields.h"
#include "http/json.h"

#define UNKNOWN_NAMED 8

struct taking {
        const struct settings *settings;
        struct arena *arena;
        struct str body;
        int64_t now_us;
        struct problem *problem;
        struct submit_row row;
        uint32_t seen;  /* bit per field of the table */
        struct str raw; /* the value being taken */
        int64_t delay_ms, run_at_us;
        uint32_t unknown;
        size_t unknown_n;
        char unknown_text[UNKNOWN_NAMED * (QUOTE_TEXT + 48)];
        char unknown_first[QUOTE_TEXT];
};

enum field_type { FIELD_STRING, FIELD_INTEGER, FIELD_ARRAY, FIELD_OBJECT, FIELD_ANY };

struct field {
        const char *name;
        enum field_type type;
        uint32_t raw_max; /* bytes of the value as written */
        const char *allowed;
        int (*take)(struct taking *t, const struct field *f, json_t *v);
        int (*take_raw)(struct taking *t, const struct field *f, const struct json_item *item);
};

extern const struct field fields_table[]; /* ends with name NULL */

/* 422 with field, value and what is allowed. Returns FIELDS_REFUSED. */
int field_refuse(struct taking *t, const struct field *f);

int field_payload(struct taking *t, const struct field *f, const struct json_item *item);

/* What no single field can tell: type given, queue found, times in order, payload given once. */
int fields_finish(struct taking *t);

uint32_t edit_distance(struct str a, struct str b);

#endif
