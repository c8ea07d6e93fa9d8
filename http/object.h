/*
 * A JSON object read by a table of its members: name, JSON type, what is allowed, who takes the
 * value. Every body that is not a list of jobs is one, and so is a job itself.
 *
 * What is wrong is told with the member's full name ("filter.state"), its value as written, and
 * what is allowed; members that no table has are told together, with the name that was meant. Small
 * values are read with jansson; opaque ones (a payload) never are, they are kept as bytes.
 */
#ifndef SKEP_HTTP_OBJECT_H
#define SKEP_HTTP_OBJECT_H

#include <jansson.h>

#include "core/arena.h"
#include "http/json.h"
#include "http/problem.h"
#include "http/settings.h"

#define OBJECT_REFUSED 1
#define OBJECT_FIELDS  32 /* members of a table, at most */
#define UNKNOWN_NAMED  8

struct field;

/* Members that no table has. */
struct unknown_fields {
        uint32_t n;
        size_t text_n;
        char text[UNKNOWN_NAMED * (QUOTE_TEXT + 48)];
        char first[QUOTE_TEXT];
};

/* An object that is being taken. First member of what its takers fill. */
struct taking {
        const struct settings *settings;
        struct arena *arena; /* for what is kept */
        struct str body;     /* line and column are told within it */
        int64_t now_us;
        struct problem *problem;
        const struct field *table;      /* ends with name NULL */
        const char *prefix;             /* of its members' names: "", "filter." */
        const char *example;            /* told when it is no object */
        uint32_t seen;                  /* bit per field of the table */
        struct str raw;                 /* the value being taken, as written */
        struct unknown_fields *unknown; /* NULL: none */
};

enum field_type {
        FIELD_STRING,
        FIELD_INTEGER,
        FIELD_NUMBER,
        FIELD_BOOL,
        FIELD_ARRAY,
        FIELD_OBJECT,
        FIELD_ANY, /* the taker looks at its type */
};

struct field {
        const char *name;
        enum field_type type;
        uint32_t raw_max; /* bytes of the value as written */
        const char *allowed;
        /* One of the three. */
        int (*take)(struct taking *t, const struct field *f, json_t *v);
        int (*take_raw)(struct taking *t, const struct field *f, const struct json_item *item);
        bool opaque; /* take_raw's: NUL and half surrogates are its own to judge */
        int (*take_text)(struct taking *t, const struct field *f, struct str v); /* of a string */
};

/* Reads the object that fills `text`, a part of t->body. OBJECT_REFUSED with the problem; -ENOMEM;
 * or what a taker returned. */
int object_take(struct taking *t, struct str text);

/* The same with one that is walked already, and stays at its end. */
int object_walk(struct taking *t, struct json_walk *walk);

/* One inside another: shares settings, arena, body, time and problem. */
void object_inner(const struct taking *outer, const char *prefix, struct taking *ret);

bool object_has(const struct taking *t, unsigned index);

/* 422 with field, value and what is allowed. Return OBJECT_REFUSED. */
int field_refuse(struct taking *t, const struct field *f);
int field_missing(struct taking *t, const struct field *f);

/* The same with a text of one's own, which begins with the member's name. */
int field_refuse_text(struct taking *t, const struct field *f, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct str json_str(const json_t *v); /* of a string; borrowed */

/* Into the arena. -ENOMEM. */
int object_keep(struct taking *t, struct str s, struct str *ret);

/* The problem "not JSON, at line, column", for a fault of http/json.h. */
void object_malformed(struct str body, size_t at, const char *what, struct problem *ret_problem);

/* The name among n nearest to what was written, or NULL when none is near. */
const char *nearest_name(const char *const *names, size_t n, struct str written);

#define DURATIONS   "\"250ms\", \"30s\", \"5m\", \"2h\" or \"7d\""
#define TIME_TEXT   "an RFC 3339 time, as in \"2031-05-04T13:00:00Z\""
#define FIELD_SHORT 4096u
#define FIELD_LARGE UINT32_MAX

#endif
