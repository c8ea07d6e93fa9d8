/*
 * Text for the command line. See text.h.
 *
 * Escaping stands between what producers and handlers wrote and the terminal of an operator: every
 * cell, message and record of this program goes through text_escape(). A library's own escaping
 * (libsmartcols has one) was not relied upon: it differs between table and plain output.
 */
#include "cli/text.h"

#include "http/base64.h"
#include "http/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

static void *must(void *p)
{
        if (!p) {
                fputs("skep: out of memory\n", stderr);
                exit(EX_OSERR);
        }
        return p;
}

void *text_alloc(size_t n)
{
        return must(calloc(1, n ? n : 1));
}

void *text_grow(void *p, size_t n)
{
        return must(realloc(p, n ? n : 1));
}

char *text_copy(const char *z)
{
        return must(strdup(z));
}

void free_text(char **p)
{
        free(*p);
        *p = NULL;
}

/* --- buf -------------------------------------------------------------------------------------- */

void buf_deinit(struct buf *b)
{
        free(b->p);
        *b = (struct buf){0};
}

void buf_reset(struct buf *b)
{
        b->n = 0;
        if (b->p) {
                b->p[0] = 0;
        }
}

static void make_room(struct buf *b, size_t n)
{
        if (b->room - b->n > n) { /* one more for the NUL */
                return;
        }
        size_t room = b->room ? b->room : 64;
        while (room - b->n <= n) {
                room *= 2;
        }
        b->p = text_grow(b->p, room);
        b->room = room;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
        make_room(b, n);
        if (n > 0) {
                memcpy(b->p + b->n, p, n);
        }
        b->n += n;
        b->p[b->n] = 0;
}

void buf_text(struct buf *b, const char *z)
{
        buf_add(b, z, strlen(z));
}

static void add_formatted(struct buf *b, const char *fmt, va_list args)
{
        va_list again;
        va_copy(again, args);
        int n = vsnprintf(NULL, 0, fmt, again);
        va_end(again);
        if (n > 0) {
                make_room(b, (size_t)n);
                vsnprintf(b->p + b->n, (size_t)n + 1, fmt, args);
                b->n += (size_t)n;
        }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        add_formatted(b, fmt, args);
        va_end(args);
}

char *text_printf(const char *fmt, ...)
{
        struct buf b = {0};
        va_list args;
        va_start(args, fmt);
        add_formatted(&b, fmt, args);
        va_end(args);
        return buf_take(&b);
}

char *buf_take(struct buf *b)
{
        if (!b->p) {
                buf_add(b, "", 0);
        }
        char *p = b->p;
        *b = (struct buf){0};
        return p;
}

const char *buf_z(const struct buf *b)
{
        return b->p ? b->p : "";
}

/* --- UTF-8 ------------------------------------------------------------------------------------ */

/* Length of the character at p and its number; 0: not UTF-8. */
static size_t read_rune(const char *p, size_t n, uint32_t *ret_rune)
{
        static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
        size_t len = utf8_length(p, n);
        uint32_t rune = len ? (unsigned char)p[0] & lead[len] : 0;
        for (size_t i = 1; i < len; i++) {
                rune = rune << 6 | ((unsigned char)p[i] & 0x3f);
        }
        *ret_rune = rune;
        return len;
}

bool utf8_valid(const char *p, size_t n)
{
        for (size_t i = 0, len; i < n; i += len) {
                len = utf8_length(p + i, n - i);
                if (len == 0) {
                        return false;
                }
        }
        return true;
}

bool text_plain(const char *p, size_t n)
{
        return (n == 0 || !memchr(p, 0, n)) && utf8_valid(p, n);
}

/* --- escaping --------------------------------------------------------------------------------- */

/* Does it move the cursor, break the line or turn the direction of what follows? */
static bool is_hostile(uint32_t rune)
{
        return rune < 0x20 || (rune >= 0x7f && rune <= 0x9f) || rune == 0x2028 || rune == 0x2029 ||
               (rune >= 0x202a && rune <= 0x202e) || (rune >= 0x2066 && rune <= 0x2069) ||
               rune == 0x200e || rune == 0x200f || rune == 0xfeff;
}

static void escape_rune(struct buf *out, uint32_t rune, enum escape_style style)
{
        switch (rune) {
        case '\n': buf_text(out, style == ESCAPE_BLOCK ? "\n" : "\\n"); return;
        case '\t': buf_text(out, style == ESCAPE_BLOCK ? "\t" : "\\t"); return;
        case '\r': buf_text(out, "\\r"); return;
        default: buf_printf(out, "\\u%04x", (unsigned)rune);
        }
}

void text_escape(struct buf *out, const char *p, size_t n, enum escape_style style)
{
        size_t len;
        for (size_t i = 0; i < n; i += len) {
                uint32_t rune = 0;
                len = read_rune(p + i, n - i, &rune);
                if (len == 0) {
                        buf_printf(out, "\\x%02x", (unsigned char)p[i]);
                        len = 1;
                } else if (is_hostile(rune)) {
                        escape_rune(out, rune, style);
                } else if (rune == '\\' && style == ESCAPE_FIELD) {
                        buf_text(out, "\\\\");
                } else {
                        buf_add(out, p + i, len);
                }
        }
}

char *text_safe(const char *z)
{
        struct buf b = {0};
        text_escape(&b, z, strlen(z), ESCAPE_LINE);
        return buf_take(&b);
}

void json_quote(struct buf *out, const char *p, size_t n)
{
        buf_text(out, "\"");
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)p[i];
                if (c == '"' || c == '\\') {
                        buf_printf(out, "\\%c", c);
                } else if (c < 0x20 || c == 0x7f) {
                        buf_printf(out, "\\u%04x", c);
                } else {
                        buf_add(out, p + i, 1);
                }
        }
        buf_text(out, "\"");
}

/* --- base64 ----------------------------------------------------------------------------------- */

void add_base64(struct buf *out, struct str bytes)
{
        size_t n = base64_encoded(bytes.n);
        make_room(out, n);
        base64_encode(bytes, out->p + out->n);
        out->n += n;
        out->p[out->n] = 0;
}

/* --- did you mean ----------------------------------------------------------------------------- */

#define WORD_MAX 40

static size_t least_of(size_t a, size_t b)
{
        return a < b ? a : b;
}

size_t word_distance(const char *a, const char *b)
{
        size_t n = strlen(a), m = strlen(b);
        if (n > WORD_MAX || m > WORD_MAX) {
                return SIZE_MAX;
        }
        size_t d[WORD_MAX + 1][WORD_MAX + 1];
        for (size_t i = 0; i <= n; i++) {
                for (size_t j = 0; j <= m; j++) {
                        if (i == 0 || j == 0) {
                                d[i][j] = i + j;
                                continue;
                        }
                        size_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
                        d[i][j] = least_of(change, least_of(d[i - 1][j], d[i][j - 1]) + 1);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                                d[i][j] = least_of(d[i][j], d[i - 2][j - 2] + 1);
                        }
                }
        }
        return d[n][m];
}

bool word_near(const char *written, const char *word, size_t *ret_distance)
{
        size_t distance = word_distance(written, word);
        size_t n = strlen(written);
        bool begins = n >= 3 && strncmp(written, word, n) == 0;
        if (!begins && distance > (n <= 3 ? 1 : n <= 6 ? 2 : 3)) {
                return false;
        }
        *ret_distance = begins ? 1 : distance;
        return true;
}
