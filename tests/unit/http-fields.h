/*
 * What the tests of submitted fields share: the settings of one configuration, and the way from a
 * text to a row.
 */
#ifndef SKEP_TESTS_UNIT_HTTP_FIELDS_H
#define SKEP_TESTS_UNIT_HTTP_FIELDS_H

#include "tests/unit/unit.h"

#include "http/fields.h"

#define NOW INT64_C(1700000000000000)

static struct config config;
static struct settings *settings;
static struct arena arena;

static inline void tear_down(void)
{
        settings = settings_free(settings);
        arena_deinit(&arena);
}

static inline int parse(const char *text, struct submit_row *row, struct problem *p)
{
        struct str s = str_of(text);
        return fields_parse(settings, &arena, s, s, NOW, row, p);
}

/* Of a text that must be right. */
static inline struct submit_row row_of(const char *text)
{
        struct submit_row row = {0};
        struct problem p;
        int r = parse(text, &row, &p);
        if (r) {
                fprintf(stderr, "  %s: %s\n", text, p.detail);
        }
        CU_ASSERT_EQUAL(r, 0);
        return row;
}

#endif
