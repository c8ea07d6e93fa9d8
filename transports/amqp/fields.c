/*
 * Any field of an AMQP table as text: the one place where kinds are told apart. Text and bytes stay
 * what they are; all else is written as JSON would write it, nested tables and arrays with it.
 *
 * What it reads is anybody's: depth and size are bounded, bytes that are no UTF-8 become U+FFFD, an
 * unknown kind becomes null.
 */
#include "transports/amqp/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define DEPTH_MAX 16
#define JSON_MAX  8192 /* more than that a job does not keep of all its headers together */

static const char too_large[] = "(larger than 8 KiB)";

struct json {
        char *p;
        size_t n; /* JSON_MAX + 1: it did not fit */
};

static void put(struct json *j, const char *bytes, size_t n)
{
        if (j->n + n > JSON_MAX) {
                j->n = JSON_MAX + 1;
                return;
        }
        memcpy(j->p + j->n, bytes, n);
        j->n += n;
}

__attribute__((format(printf, 2, 3))) static void put_format(struct json *j, const char *fmt, ...)
{
        char text[400];
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        if (n > 0) {
                put(j, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
        }
}

/* Bytes of the UTF-8 character at p, or 0. RFC 3629: no surrogates, no overlong forms. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
        static const struct {
                unsigned char low, high, second_low, second_high, length;
        } forms[] = {
            {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
            {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
            {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
        };
        for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
                if (p[0] < forms[i].low || p[0] > forms[i].high) {
                        continue;
                }
                if (n < forms[i].length || p[1] < forms[i].second_low ||
                    p[1] > forms[i].second_high) {
                        return 0;
                }
                for (size_t k = 2; k < forms[i].length; k++) {
                        if ((p[k] & 0xc0) != 0x80) {
                                return 0;
                        }
                }
                return forms[i].length;
        }
        return 0;
}

static void put_string(struct json *j, amqp_bytes_t b)
{
        const unsigned char *p = b.bytes;
        put(j, "\"", 1);
        for (size_t i = 0; i < b.len && j->n <= JSON_MAX;) {
                size_t n = p[i] < 0x80 ? 1 : utf8_length(p + i, b.len - i);
                if (p[i] == '"' || p[i] == '\\') {
                        put_format(j, "\\%c", p[i]);
                } else if (p[i] < 0x20) {
                        put_format(j, "\\u%04x", p[i]);
                } else if (n == 0) {
                        put(j, "\\ufffd", 6);
                } else {
                        put(j, (const char *)p + i, n);
                }
                i += n ? n : 1;
        }
        put(j, "\"", 1);
}

static void put_real(struct json *j, double v, int digits)
{
        if (isfinite(v)) {
                put_format(j, "%.*g", digits, v);
        } else {
                put(j, "null", 4);
        }
}

/* Signed on the wire (AMQP 0-9-1, 4.2.5.5), whatever the library's type says. */
static void put_decimal(struct json *j, amqp_decimal_t d)
{
        char digits[16];
        int64_t value = (int32_t)d.value;
        uint32_t magnitude = (uint32_t)(value < 0 ? -value : value);
        put(j, "-", value < 0 ? 1 : 0);
        if (d.decimals == 0 || d.decimals > 20) {
                put_format(j, d.decimals ? "%" PRIu32 "e-%d" : "%" PRIu32, magnitude,
                           (int)d.decimals);
                return;
        }
        int n = snprintf(digits, sizeof digits, "%" PRIu32, magnitude);
        int whole = n - d.decimals;
        if (whole > 0) {
                put_format(j, "%.*s.%s", whole, digits, digits + whole);
        } else {
                put_format(j, "0.%.*s%s", -whole, "00000000000000000000", digits);
        }
}

static bool put_number(struct json *j, const amqp_field_value_t *v)
{
        switch (v->kind) {
        case AMQP_FIELD_KIND_I8: put_format(j, "%d", v->value.i8); break;
        case AMQP_FIELD_KIND_U8: put_format(j, "%u", v->value.u8); break;
        case AMQP_FIELD_KIND_I16: put_format(j, "%d", v->value.i16); break;
        case AMQP_FIELD_KIND_U16: put_format(j, "%u", v->value.u16); break;
        case AMQP_FIELD_KIND_I32: put_format(j, "%" PRId32, v->value.i32); break;
        case AMQP_FIELD_KIND_U32: put_format(j, "%" PRIu32, v->value.u32); break;
        case AMQP_FIELD_KIND_I64: put_format(j, "%" PRId64, v->value.i64); break;
        case AMQP_FIELD_KIND_U64:
        case AMQP_FIELD_KIND_TIMESTAMP: put_format(j, "%" PRIu64, v->value.u64); break;
        case AMQP_FIELD_KIND_F32: put_real(j, (double)v->value.f32, 9); break;
        case AMQP_FIELD_KIND_F64: put_real(j, v->value.f64, 17); break;
        case AMQP_FIELD_KIND_DECIMAL: put_decimal(j, v->value.decimal); break;
        default: return false;
        }
        return true;
}

static void put_value(struct json *j, const amqp_field_value_t *v, int depth);

static void put_table(struct json *j, const amqp_table_t *t, int depth)
{
        put(j, "{", 1);
        for (int i = 0; i < t->num_entries && j->n <= JSON_MAX; i++) {
                put(j, ",", i ? 1 : 0);
                put_string(j, t->entries[i].key);
                put(j, ":", 1);
                put_value(j, &t->entries[i].value, depth + 1);
        }
        put(j, "}", 1);
}

static void put_array(struct json *j, const amqp_array_t *a, int depth)
{
        put(j, "[", 1);
        for (int i = 0; i < a->num_entries && j->n <= JSON_MAX; i++) {
                put(j, ",", i ? 1 : 0);
                put_value(j, &a->entries[i], depth + 1);
        }
        put(j, "]", 1);
}

static void put_value(struct json *j, const amqp_field_value_t *v, int depth)
{
        if (put_number(j, v)) {
                return;
        }
        bool deep = depth >= DEPTH_MAX;
        if (v->kind == AMQP_FIELD_KIND_BOOLEAN) {
                put_format(j, "%s", v->value.boolean ? "true" : "false");
        } else if (v->kind == AMQP_FIELD_KIND_UTF8 || v->kind == AMQP_FIELD_KIND_BYTES) {
                put_string(j, v->value.bytes);
        } else if (v->kind == AMQP_FIELD_KIND_TABLE && !deep) {
                put_table(j, &v->value.table, depth);
        } else if (v->kind == AMQP_FIELD_KIND_ARRAY && !deep) {
                put_array(j, &v->value.array, depth);
        } else {
                put(j, "null", 4);
        }
}

struct str field_text(const amqp_field_value_t *v, struct arena *a)
{
        char text[JSON_MAX];
        struct json j = {text, 0};
        if (v->kind == AMQP_FIELD_KIND_UTF8 || v->kind == AMQP_FIELD_KIND_BYTES) {
                struct str s = {v->value.bytes.bytes, (uint32_t)v->value.bytes.len};
                return arena_str(a, s);
        }
        put_value(&j, v, 0);
        struct str whole = {text, (uint32_t)j.n};
        return arena_str(a, j.n > JSON_MAX ? STR(too_large) : whole);
}
