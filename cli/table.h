/*
 * Rows for people and for pipes.
 *
 * On a terminal: a table (libsmartcols) as wide as the screen, states in colour unless NO_COLOR is
 * set. Else: a header line and tab-separated rows, full values, written as they come, so that a
 * listing of any length needs no memory. Every cell is escaped here and nowhere else.
 */
#ifndef SKEP_CLI_TABLE_H
#define SKEP_CLI_TABLE_H

#include "cli/command.h"
#include "core/base.h"

#include <jansson.h>
#include <stdio.h>

enum cell_kind {
        CELL_TEXT,     /* strings and numbers as they are; arrays joined by commas */
        CELL_STATE,    /* coloured by job state */
        CELL_TIME,     /* RFC 3339; on a terminal how long ago, or "in 5s" */
        CELL_SIZE,     /* bytes; on a terminal with a unit */
        CELL_COUNT,    /* right-aligned */
        CELL_YES_NO,   /* booleans */
        CELL_DURATION, /* milliseconds or text */
};

/* `fields`: names joined by |, the first that the object has counts; a name may be a path,
 * "last_error.class". */
struct column {
        const char *head; /* as in the API; upper case on a terminal */
        const char *fields;
        enum cell_kind kind;
        bool wide; /* may be cut to the screen's width; put it last */
};

/* How many jobs of a queue are in it. */
#define COLUMN_OF_STATE(state)                                                                     \
        {                                                                                          \
                state, "jobs." state "|" state, CELL_COUNT                                         \
        }

struct table;

/* `columns` ends with head NULL and must outlive the table. `people` chooses the form:
 * table_for_people(). */
struct table *table_new(const struct column *columns, bool people);
void table_add(struct table *t, const json_t *object);
void table_flush(
    struct table *t); /* prints what waits; a terminal's next rows make a table of their own */
struct table *table_free(struct table *t); /* flushes; NULL-safe, returns NULL */

/* Table or rows? By -o, else by whether stdout is a terminal. */
bool table_for_people(enum output o);
bool colours_wanted(FILE *f);

/* The cell's text, unescaped; the caller frees it. */
char *cell_text(const struct column *c, const json_t *object, bool people);

/* The first member of `object` that `fields` names; NULL when there is none, or it is null. */
const json_t *pick(const json_t *object, const char *fields);
const char *pick_text(const json_t *object, const char *fields); /* NULL when it is not a string */

/* "completed" → "green"; NULL: no colour. */
const char *state_colour(const char *state);

/* RFC 3339 to µs since 1970; false when it is not that. */
bool time_parse(const char *text, int64_t *ret_us);
void time_format(struct buf *out, int64_t us); /* RFC 3339 UTC, ms */
void time_local(struct buf *out, int64_t us);  /* for people: local, with the zone */
void age_format(struct buf *out, int64_t then_us, int64_t now_us); /* "3m ago", "in 5s" */
void span_format(struct buf *out, int64_t us);                     /* "3m", "150ms" */
int64_t wall_us(void);

#endif
