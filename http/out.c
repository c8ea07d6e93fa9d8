/*
 * The one writer of all answers. It grows by doubling and is handed to libmicrohttpd as it is, so
 * that an answer is rendered once and never copied. A tree of JSON values (jansson) was discarded
 * for writing: it would hold every payload twice and allocate per member.
 */
#include "http/out.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/config.h"
#include "http/base64.h"
#include "core/rfc3339.h"
#include "http/json.h"

void out_deinit(struct out *o)
{
        free(o->p);
        *o = (struct out){0};
}

static bool make_room(struct out *o, size_t n)
{
        if (o->failed) {
                return false;
        }
        if (o->capacity - o->n >= n) {
                return true;
        }
        size_t wanted = o->capacity ? o->capacity * 2 : 512;
        while (wanted - o->n < n) {
                wanted *= 2;
        }
        char *p = realloc(o->p, wanted);
        if (!p) {
                o->failed = true;
                return false;
        }
        o->p = p;
        o->capacity = wanted;
        return true;
}

void out_put(struct out *o, const void *bytes, size_t n)
{
        if (n && make_room(o, n)) {
                memcpy(o->p + o->n, bytes, n);
                o->n += n;
        }
}

void out_text(struct out *o, const char *z)
{
        out_put(o, z, strlen(z));
}

void out_printf(struct out *o, const char *fmt, ...)
{
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n < 0 || !make_room(o, (size_t)n + 1)) {
                return;
        }
        va_start(ap, fmt);
        vsnprintf(o->p + o->n, (size_t)n + 1, fmt, ap);
        va_end(ap);
        o->n += (size_t)n;
}

void out_comma(struct out *o)
{
        char last = o->n ? o->p[o->n - 1] : '[';
        if (last != '{' && last != '[' && last != ':') {
                out_put(o, ",", 1);
        }
}

void out_name(struct out *o, const char *name)
{
        out_comma(o);
        out_put(o, "\"", 1);
        out_text(o, name);
        out_put(o, "\":", 2);
}

static bool plain(uint8_t c)
{
        return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* One character that is not plain, at s.p[i]; returns how many bytes it took. */
static uint32_t put_special(struct out *o, struct str s, uint32_t i)
{
        uint8_t c = (uint8_t)s.p[i];
        if (c == '"' || c == '\\') {
                char pair[2] = {'\\', (char)c};
                out_put(o, pair, 2);
                return 1;
        }
        if (c < 0x20 || c == 0x7f) {
                const char *brief = c == '\n'   ? "\\n"
                                    : c == '\t' ? "\\t"
                                    : c == '\r' ? "\\r"
                                                : NULL;
                if (brief) {
                        out_put(o, brief, 2);
                } else {
                        out_printf(o, "\\u%04x", c);
                }
                return 1;
        }
        uint32_t n = (uint32_t)utf8_length(s.p + i, s.n - i);
        if (n == 0) {
                out_text(o, "\\ufffd");
                return 1;
        }
        if (c == 0xc2 && (uint8_t)s.p[i + 1] < 0xa0) {
                out_printf(o, "\\u%04x", (uint8_t)s.p[i + 1]); /* C1: terminals obey some of them */
        } else {
                out_put(o, s.p + i, n);
        }
        return n;
}

void out_string(struct out *o, struct str s)
{
        out_comma(o);
        out_put(o, "\"", 1);
        for (uint32_t i = 0; i < s.n;) {
                uint32_t from = i;
                while (i < s.n && plain((uint8_t)s.p[i])) {
                        i++;
                }
                out_put(o, s.p + from, i - from);
                if (i < s.n) {
                        i += put_special(o, s, i);
                }
        }
        out_put(o, "\"", 1);
}

void out_base64(struct out *o, struct str s)
{
        size_t n = base64_encoded(s.n);
        out_comma(o);
        out_put(o, "\"", 1);
        if (make_room(o, n + 1)) {
                base64_encode(s, o->p + o->n);
                o->n += n;
        }
        out_put(o, "\"", 1);
}

void out_member(struct out *o, const char *name, struct str s)
{
        out_name(o, name);
        out_string(o, s);
}

void out_number(struct out *o, const char *name, int64_t value)
{
        char text[24], *p = text + sizeof text;
        uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
        do {
                *--p = (char)('0' + left % 10);
                left /= 10;
        } while (left);
        if (value < 0) {
                *--p = '-';
        }
        out_name(o, name);
        out_put(o, p, (size_t)(text + sizeof text - p));
}

void out_real(struct out *o, const char *name, double value)
{
        out_name(o, name);
        if (isfinite(value)) {
                out_printf(o, "%.15g", value);
        } else {
                out_text(o, "null");
        }
}

void out_bool(struct out *o, const char *name, bool value)
{
        out_name(o, name);
        out_text(o, value ? "true" : "false");
}

void out_id(struct out *o, const char *name, const struct job_id *id)
{
        char text[JOB_ID_TEXT];
        id_text(id, text);
        out_member(o, name, str_of(text));
}

void out_time(struct out *o, const char *name, int64_t wall_us)
{
        char text[RFC3339_TEXT];
        rfc3339_text(wall_us, text);
        out_member(o, name, str_of(text));
}

void out_duration(struct out *o, const char *name, int64_t ms)
{
        char text[DURATION_TEXT_MAX];
        duration_text(ms, text);
        out_member(o, name, str_of(text));
}

void out_fingerprint(struct out *o, uint64_t fingerprint)
{
        if (fingerprint) {
                out_name(o, "fingerprint");
                out_printf(o, "\"%016llx\"", (unsigned long long)fingerprint);
        }
}
