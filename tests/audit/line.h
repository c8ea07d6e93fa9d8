/*
 * One record of a log: a line of tab-separated fields. The first is WORD/VERSION, the others are
 * NAME=VALUE. Bytes below 0x20, 0x7f and the percent sign stand as %XX in values. README.md lists
 * the words.
 */
#ifndef SKEP_AUDIT_LINE_H
#define SKEP_AUDIT_LINE_H

#include "core/base.h"

#define LINE_FIELDS 32

struct line {
        struct str word;
        unsigned version;
        struct {
                struct str name, value;
        } fields[LINE_FIELDS];
        unsigned n;
        const char *fault; /* why line_parse() or a getter refused it */
};

/* In place: `text` is changed, and borrowed by the line. No newline at its end. */
bool line_parse(char *text, size_t n, struct line *ret_line);

/* All getters: false when the field is not there. One that is there and cannot be read sets
 * `fault`, which stays: look at it once, at the end. */
bool line_text(struct line *l, const char *name, struct str *ret);
bool line_int(struct line *l, const char *name, int64_t *ret);
bool line_hex(struct line *l, const char *name, uint64_t *ret); /* the first 16 digits */
bool line_id(struct line *l, const char *name, struct job_id *ret);
bool line_flag(struct line *l, const char *name); /* 1: true; 0 or not there: false */

/* Sets the fault when a getter said that a field that must be there is not. */
void line_must(struct line *l, bool got, const char *fault);

/* 1 to 16 or more hexadecimal digits, of which the first 16 count. */
bool hex64(struct str digits, uint64_t *ret);

#endif
