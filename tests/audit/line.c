/*
 * Reads one record. It is strict: a log is written by our own programs, so that what does not fit
 * is a mistake that must not be passed over.
 */
#include "tests/audit/line.h"

#include <stdlib.h>

#include "core/id.h"

static int digit(char c)
{
        if (c >= '0' && c <= '9') {
                return c - '0';
        }
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; returns false for a broken escape. */
static bool unescape(char *p, uint32_t *n)
{
        uint32_t to = 0;
        for (uint32_t i = 0; i < *n; i++) {
                if (p[i] != '%') {
                        p[to++] = p[i];
                        continue;
                }
                int high = i + 2 < *n + 0u ? digit(p[i + 1]) : -1;
                int low = high >= 0 ? digit(p[i + 2]) : -1;
                if (low < 0) {
                        return false;
                }
                p[to++] = (char)(high << 4 | low);
                i += 2;
        }
        *n = to;
        return true;
}

static bool refuse(struct line *l, const char *fault)
{
        l->fault = l->fault ? l->fault : fault;
        return false;
}

static bool parse_word(struct line *l, char *p, uint32_t n)
{
        char *slash = memchr(p, '/', n);
        uint32_t version = slash ? n - (uint32_t)(slash + 1 - p) : 0;
        if (!slash || version != 1 || digit(slash[1]) < 0) {
                return refuse(l, "it does not begin with WORD/VERSION");
        }
        l->word = (struct str){p, (uint32_t)(slash - p)};
        l->version = (unsigned)digit(slash[1]);
        return true;
}

static bool parse_field(struct line *l, char *p, uint32_t n)
{
        char *equals = memchr(p, '=', n);
        if (!equals || equals == p) {
                return refuse(l, "a field is not NAME=VALUE");
        }
        if (l->n == LINE_FIELDS) {
                return refuse(l, "too many fields");
        }
        struct str value = {equals + 1, n - (uint32_t)(equals + 1 - p)};
        if (!unescape(equals + 1, &value.n)) {
                return refuse(l, "a broken %XX");
        }
        l->fields[l->n].name = (struct str){p, (uint32_t)(equals - p)};
        l->fields[l->n++].value = value;
        return true;
}

bool line_parse(char *text, size_t n, struct line *ret_line)
{
        struct line *l = ret_line;
        l->n = 0;
        l->fault = NULL;
        bool first = true;
        char *p = text, *end = text + n;
        while (p <= end) {
                char *tab = memchr(p, '\t', (size_t)(end - p));
                char *stop = tab ? tab : end;
                uint32_t length = (uint32_t)(stop - p);
                if (!(first ? parse_word(l, p, length) : parse_field(l, p, length))) {
                        return false;
                }
                first = false;
                p = stop + 1;
        }
        return true;
}

bool line_text(struct line *l, const char *name, struct str *ret)
{
        struct str wanted = str_of(name);
        for (unsigned i = 0; i < l->n; i++) {
                if (str_eq(l->fields[i].name, wanted)) {
                        *ret = l->fields[i].value;
                        return true;
                }
        }
        return false;
}

bool line_int(struct line *l, const char *name, int64_t *ret)
{
        struct str s;
        if (!line_text(l, name, &s)) {
                return false;
        }
        char text[24], *end;
        if (!s.n || s.n >= sizeof text) {
                return refuse(l, "a number cannot be read");
        }
        memcpy(text, s.p, s.n);
        text[s.n] = 0;
        int64_t v = strtoll(text, &end, 10);
        if (*end || text[0] == ' ' || text[0] == '+') {
                return refuse(l, "a number cannot be read");
        }
        *ret = v;
        return true;
}

bool hex64(struct str digits, uint64_t *ret)
{
        uint64_t v = 0;
        if (!digits.n) {
                return false;
        }
        for (uint32_t i = 0; i < digits.n; i++) {
                int d = digit(digits.p[i]);
                if (d < 0) {
                        return false;
                }
                v = i < 16 ? v << 4 | (uint64_t)d : v;
        }
        *ret = v;
        return true;
}

bool line_hex(struct line *l, const char *name, uint64_t *ret)
{
        struct str s;
        if (!line_text(l, name, &s)) {
                return false;
        }
        return hex64(s, ret) || refuse(l, "a hexadecimal number cannot be read");
}

bool line_id(struct line *l, const char *name, struct job_id *ret)
{
        struct str s;
        if (!line_text(l, name, &s)) {
                return false;
        }
        return id_parse(s, ret) || refuse(l, "an id cannot be read");
}

bool line_flag(struct line *l, const char *name)
{
        int64_t v = 0;
        return line_int(l, name, &v) && v != 0;
}

void line_must(struct line *l, bool got, const char *fault)
{
        if (!got) {
                refuse(l, fault);
        }
}
