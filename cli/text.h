/*
 * Text for the command line: growing buffers, escaping for terminals and tab-separated output, and
 * the nearest word for "did you mean".
 *
 * Allocation failure ends the program (exit 71): a command that lives for seconds has nothing
 * better to do. That is why nothing outside cli/ may use this file.
 */
#ifndef SKEP_CLI_TEXT_H
#define SKEP_CLI_TEXT_H

#include "core/base.h"

/* An all-zero buf is empty and ready. p is NUL-terminated whenever it is not NULL. */
struct buf {
        char *p;
        size_t n, room;
};

void buf_deinit(struct buf *b);
void buf_reset(struct buf *b); /* empty, keeps its memory */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_text(struct buf *b, const char *z);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *buf_take(struct buf *b); /* the text, never NULL; the caller frees it; b is empty again */
const char *buf_z(const struct buf *b); /* "" when empty */
void free_text(char **p);               /* for CLEANUP */

void *text_alloc(size_t n); /* zeroed, never NULL */
void *text_grow(void *p, size_t n);
char *text_copy(const char *z);
char *text_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

enum escape_style {
        ESCAPE_LINE,  /* one line for people: \n \t \u001b; a backslash stays */
        ESCAPE_FIELD, /* one field of a tab-separated row: reversible, a backslash is doubled */
        ESCAPE_BLOCK, /* many lines for people: newline and tab stay */
};

/* Control characters (C0, DEL, C1), line separators and bidirectional overrides never come through;
 * bytes that are not UTF-8 come as \xNN. */
void text_escape(struct buf *out, const char *p, size_t n, enum escape_style style);

/* The same, for stderr messages: a copy that the caller frees. */
char *text_safe(const char *z);

bool utf8_valid(const char *p, size_t n);

/* Is it text that a person wrote: UTF-8 without NUL? */
bool text_plain(const char *p, size_t n);

void add_base64(struct buf *out, struct str bytes);

/* Appends `p` as a JSON string literal; p must be UTF-8. NUL is written as \u0000. */
void json_quote(struct buf *out, const char *p, size_t n);

/* How many single edits (insert, delete, replace, swap) lie between two words. */
size_t word_distance(const char *a, const char *b);

/* Is `b` near enough to `a` to be what was meant? */
bool word_near(const char *written, const char *word, size_t *ret_distance);

#endif
