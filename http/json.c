/*
 * The scanner: one loop, one bit per open container. It must never recurse, allocate or look beyond
 * its text. Most bytes are those of long strings, so plain ones are passed eight at a time.
 */
#include "http/json.h"

#include <endian.h>

struct scan {
        const char *p;
        size_t n, at;
        unsigned has;
        uint32_t depth;
        uint8_t objects[JSON_DEPTH_MAX / 8]; /* bit set: this level is an object */
        struct json_fault *fault;
};

static int fail_at(struct scan *s, size_t at, const char *what)
{
        *s->fault = (struct json_fault){at, what};
        return JSON_BAD;
}

static int fail(struct scan *s, const char *what)
{
        return fail_at(s, s->at, s->at < s->n ? what : "the text ends in the middle of a value");
}

static void skip_space(struct scan *s)
{
        while (s->at < s->n && (s->p[s->at] == ' ' || s->p[s->at] == '\n' || s->p[s->at] == '\r' ||
                                s->p[s->at] == '\t')) {
                s->at++;
        }
}

static bool next_is(const struct scan *s, char c)
{
        return s->at < s->n && s->p[s->at] == c;
}

/* Bytes of the character that a first byte announces; 0: it begins none. */
static size_t announced(uint8_t first)
{
        if (first < 0x80) {
                return 1;
        }
        if (first < 0xc2 || first > 0xf4) {
                return 0; /* a continuation, overlong, or beyond U+10FFFF */
        }
        return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t utf8_length(const char *text, size_t n)
{
        const uint8_t *p = (const uint8_t *)text;
        size_t want = n ? announced(p[0]) : 0;
        if (want > n) {
                return 0;
        }
        for (size_t i = 1; i < want; i++) {
                if ((p[i] & 0xc0) != 0x80) {
                        return 0;
                }
        }
        if (want < 3) {
                return want;
        }
        uint32_t c = (uint32_t)(p[0] & (want == 3 ? 15 : 7)) << 6 |
                     (p[1] & 63); /* the upper bits are enough */
        bool overlong = c < (want == 3 ? 0x800u >> 6 : 0x10000u >> 12);
        bool surrogate = want == 3 && c >= 0xd800u >> 6 && c <= 0xdfffu >> 6;
        bool beyond = want == 4 && c > 0x10ffffu >> 12;
        return overlong || surrogate || beyond ? 0 : want;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9') {
                return c - '0';
        }
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits at p, or -1. */
static int32_t hex4(const char *p, size_t n)
{
        int32_t v = 0;
        if (n < 4) {
                return -1;
        }
        for (int i = 0; i < 4; i++) {
                int d = hex_value(p[i]);
                if (d < 0) {
                        return -1;
                }
                v = v << 4 | d;
        }
        return v;
}

/* The unit of a low surrogate's escape at p, or -1. */
static int32_t low_surrogate(const char *p, size_t n)
{
        if (n < 6 || p[0] != '\\' || p[1] != 'u') {
                return -1;
        }
        int32_t unit = hex4(p + 2, n - 2);
        return unit >= 0xdc00 && unit <= 0xdfff ? unit : -1;
}

/* At the backslash. */
static int scan_escape(struct scan *s)
{
        s->has |= JSON_HAS_ESCAPE;
        if (s->at + 1 >= s->n) {
                s->at = s->n;
                return fail(s, "");
        }
        char c = s->p[s->at + 1];
        if (c != 'u') {
                if (c == 0 || !strchr("\"\\/bfnrt", c)) {
                        return fail(s, "unknown escape; JSON knows \\\" \\\\ \\/ \\b \\f \\n \\r "
                                       "\\t and \\uXXXX");
                }
                s->at += 2;
                return 0;
        }
        int32_t unit = hex4(s->p + s->at + 2, s->n - s->at - 2);
        if (unit < 0) {
                return fail(s, "\\u must be followed by four hexadecimal digits");
        }
        s->at += 6;
        if (unit == 0) {
                s->has |= JSON_HAS_NUL;
        } else if (unit >= 0xd800 && unit <= 0xdbff &&
                   low_surrogate(s->p + s->at, s->n - s->at) >= 0) {
                s->at += 6;
        } else if (unit >= 0xd800 && unit <= 0xdfff) {
                s->has |= JSON_HAS_LONE;
        }
        return 0;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The eight bytes at p: the top bit of the first that is no plain ASCII (a control character, a
 * quote, a backslash, a byte beyond 0x7f), and perhaps of some behind it. 0: all are plain. */
static uint64_t special_bytes(const char *p)
{
        uint64_t v;
        memcpy(&v, p, sizeof v);
        v = le64toh(v);
        uint64_t quote = (v ^ EACH('"')) - EACH(1), slash = (v ^ EACH('\\')) - EACH(1);
        return (v | (v - EACH(0x20)) | quote | slash) & EACH(0x80);
}

static void skip_plain(struct scan *s)
{
        uint64_t special = 0;
        while (!special && s->n - s->at >= 8) {
                special = special_bytes(s->p + s->at);
                s->at += special ? (size_t)__builtin_ctzll(special) / 8 : 8;
        }
}

/* At the opening quote; afterwards behind the closing one. */
static int scan_string(struct scan *s)
{
        size_t from = s->at++;
        while (s->at < s->n) {
                skip_plain(s);
                if (s->at == s->n) {
                        break;
                }
                uint8_t c = (uint8_t)s->p[s->at];
                if (c == '"') {
                        s->at++;
                        return 0;
                }
                if (c == '\\') {
                        int r = scan_escape(s);
                        if (r) {
                                return r;
                        }
                } else if (c < 0x20) {
                        return fail(s, "a string must not contain a raw control character; write "
                                       "\\n, \\t or \\u00XX");
                } else {
                        size_t n = utf8_length(s->p + s->at, s->n - s->at);
                        if (n == 0) {
                                return fail(s, "not UTF-8");
                        }
                        s->at += n;
                }
        }
        return fail_at(s, from, "this string does not end");
}

static size_t skip_digits(struct scan *s)
{
        size_t from = s->at;
        while (s->at < s->n && s->p[s->at] >= '0' && s->p[s->at] <= '9') {
                s->at++;
        }
        return s->at - from;
}

static int scan_number(struct scan *s)
{
        size_t from = s->at;
        s->at += next_is(s, '-');
        bool zero = next_is(s, '0');
        size_t digits = skip_digits(s);
        if (digits == 0 || (zero && digits > 1)) {
                return fail_at(s, from, "a number is digits without leading zeros or plus sign");
        }
        if (next_is(s, '.')) {
                s->at++;
                if (skip_digits(s) == 0) {
                        return fail(s, "digits must follow the decimal point");
                }
        }
        if (next_is(s, 'e') || next_is(s, 'E')) {
                s->at++;
                s->at += next_is(s, '+') || next_is(s, '-');
                if (skip_digits(s) == 0) {
                        return fail(s, "digits must follow the exponent");
                }
        }
        return 0;
}

static int scan_word(struct scan *s)
{
        static const struct str words[] = {{"true", 4}, {"false", 5}, {"null", 4}};
        for (size_t i = 0; i < ARRAY_LEN(words); i++) {
                if (s->n - s->at >= words[i].n &&
                    memcmp(s->p + s->at, words[i].p, words[i].n) == 0) {
                        s->at += words[i].n;
                        return 0;
                }
        }
        return fail(s, "a JSON value must begin here: object, array, string in double quotes, "
                       "number, true, false, null");
}

static int scan_scalar(struct scan *s)
{
        if (s->at >= s->n) {
                return fail(s, "");
        }
        char c = s->p[s->at];
        if (c == '"') {
                return scan_string(s);
        }
        return c == '-' || (c >= '0' && c <= '9') ? scan_number(s) : scan_word(s);
}

/* A member's name and its colon. */
static int scan_name(struct scan *s)
{
        skip_space(s);
        if (!next_is(s, '"')) {
                return fail(s, "the name of a member, in double quotes, must stand here");
        }
        int r = scan_string(s);
        if (r) {
                return r;
        }
        skip_space(s);
        if (!next_is(s, ':')) {
                return fail(s, "a colon must follow the name of a member");
        }
        s->at++;
        return 0;
}

static bool in_object(const struct scan *s)
{
        uint32_t level = s->depth - 1;
        return s->objects[level / 8] >> (level % 8) & 1;
}

/* At a bracket: one level deeper. *ret_open: it holds something, and its first value is next. */
static int open_container(struct scan *s, bool *ret_open)
{
        bool object = s->p[s->at] == '{';
        if (s->depth == JSON_DEPTH_MAX) {
                return fail(s, "nested deeper than 512 levels");
        }
        uint8_t *byte = &s->objects[s->depth / 8];
        uint8_t bit = (uint8_t)(1u << (s->depth % 8));
        *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
        s->depth++;
        s->at++;
        skip_space(s);
        *ret_open = !next_is(s, object ? '}' : ']');
        if (!*ret_open) {
                s->at++;
                s->depth--;
                return 0;
        }
        return object ? scan_name(s) : 0;
}

/* Behind a value: closes what ends here. *ret_more: another value of the innermost container is
 * next. */
static int close_containers(struct scan *s, bool *ret_more)
{
        while (s->depth > 0) {
                bool object = in_object(s);
                skip_space(s);
                if (next_is(s, ',')) {
                        s->at++;
                        *ret_more = true;
                        return object ? scan_name(s) : 0;
                }
                if (!next_is(s, object ? '}' : ']')) {
                        return fail(s, object ? "a comma or } must follow a member"
                                              : "a comma or ] must follow an element");
                }
                s->at++;
                s->depth--;
        }
        *ret_more = false;
        return 0;
}

/* One value; s->at is left behind its last byte. */
static int scan_value(struct scan *s)
{
        bool more = true;
        while (more) {
                bool open = false;
                skip_space(s);
                int r =
                    next_is(s, '{') || next_is(s, '[') ? open_container(s, &open) : scan_scalar(s);
                if (r == 0 && !open) {
                        r = close_containers(s, &more);
                }
                if (r) {
                        return r;
                }
        }
        return 0;
}

static int check_end(struct scan *s)
{
        skip_space(s);
        return s->at == s->n ? 0 : fail(s, "something follows the value; one value is expected");
}

int json_check(struct str text, struct json_fault *ret_fault)
{
        struct scan s = {.p = text.p, .n = text.n, .fault = ret_fault};
        int r = scan_value(&s);
        return r ? r : check_end(&s);
}

int json_walk_begin(struct json_walk *w, struct str text, struct json_fault *ret_fault)
{
        struct scan s = {.p = text.p, .n = text.n, .fault = ret_fault};
        skip_space(&s);
        if (!next_is(&s, '{') && !next_is(&s, '[')) {
                return fail_at(&s, s.at,
                               s.at < s.n ? "an object or array must stand here"
                                          : "the text is empty");
        }
        *w = (struct json_walk){
            .text = text, .at = s.at + 1, .object = text.p[s.at] == '{', .first = true};
        return 0;
}

/* To the first byte of the next item. JSON_END, with w->at behind the walk's end. */
static int step(struct json_walk *w, struct scan *s)
{
        skip_space(s);
        if (next_is(s, w->object ? '}' : ']')) {
                w->at = ++s->at;
                int r = w->within ? 0 : check_end(s);
                return r ? r : JSON_END;
        }
        if (!w->first) {
                if (!next_is(s, ',')) {
                        return fail(s, w->object ? "a comma or } must follow a member"
                                                 : "a comma or ] must follow an element");
                }
                s->at++;
        }
        skip_space(s);
        return 0;
}

static int take_name(struct scan *s, struct json_item *item)
{
        size_t quote = s->at;
        int r = scan_name(s);
        if (r) {
                return r;
        }
        size_t end = s->at - 1;
        while (s->p[end] != '"') {
                end--; /* from the colon back to the closing quote */
        }
        item->name = (struct str){s->p + quote + 1, (uint32_t)(end - quote - 1)};
        item->name_has = s->has;
        s->has = 0;
        skip_space(s);
        return 0;
}

int json_walk_enter(struct json_walk *w, struct json_walk *ret_inner, struct json_fault *ret_fault)
{
        struct scan s = {.p = w->text.p, .n = w->text.n, .at = w->at, .fault = ret_fault};
        int r = step(w, &s);
        if (r == 0) {
                *ret_inner = (struct json_walk){.text = w->text,
                                                .at = s.at + 1,
                                                .object = next_is(&s, '{'),
                                                .first = true,
                                                .within = true};
        }
        return r;
}

void json_walk_leave(struct json_walk *w, const struct json_walk *inner)
{
        w->at = inner->at;
        w->first = false;
}

int json_walk_next(struct json_walk *w, struct json_item *ret_item, struct json_fault *ret_fault)
{
        struct scan s = {.p = w->text.p, .n = w->text.n, .at = w->at, .fault = ret_fault};
        struct json_item item = {0};
        int r = step(w, &s);
        if (r == 0 && w->object) {
                r = take_name(&s, &item);
        }
        if (r) {
                return r;
        }
        size_t from = s.at;
        r = scan_value(&s);
        if (r) {
                return r;
        }
        item.value = (struct str){s.p + from, (uint32_t)(s.at - from)};
        item.value_has = s.has;
        w->at = s.at;
        w->first = false;
        *ret_item = item;
        return 0;
}

static uint32_t put_utf8(uint32_t c, char *to)
{
        if (c < 0x80) {
                to[0] = (char)c;
                return 1;
        }
        if (c < 0x800) {
                to[0] = (char)(0xc0 | c >> 6);
                to[1] = (char)(0x80 | (c & 63));
                return 2;
        }
        if (c < 0x10000) {
                to[0] = (char)(0xe0 | c >> 12);
                to[1] = (char)(0x80 | (c >> 6 & 63));
                to[2] = (char)(0x80 | (c & 63));
                return 3;
        }
        to[0] = (char)(0xf0 | c >> 18);
        to[1] = (char)(0x80 | (c >> 12 & 63));
        to[2] = (char)(0x80 | (c >> 6 & 63));
        to[3] = (char)(0x80 | (c & 63));
        return 4;
}

/* The \uXXXX at raw.p[*at]; moves *at behind it, and behind its second half. */
static uint32_t read_unit(struct str raw, uint32_t *at)
{
        uint32_t c = (uint32_t)hex4(raw.p + *at + 2, raw.n - *at - 2);
        *at += 6;
        if (c < 0xd800 || c > 0xdfff) {
                return c;
        }
        int32_t low = c < 0xdc00 ? low_surrogate(raw.p + *at, raw.n - *at) : -1;
        if (low < 0) {
                return 0xfffd;
        }
        *at += 6;
        return 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
}

uint32_t json_unescape(struct str raw, char *to)
{
        static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
        uint32_t n = 0;
        for (uint32_t i = 0; i < raw.n;) {
                if (raw.p[i] != '\\') {
                        to[n++] = raw.p[i++];
                } else if (raw.p[i + 1] == 'u') {
                        n += put_utf8(read_unit(raw, &i), to + n);
                } else {
                        to[n++] = into[strchr(from, raw.p[i + 1]) - from];
                        i += 2;
                }
        }
        return n;
}

bool json_media_type(struct str type)
{
        uint32_t n = 0;
        while (n < type.n && type.p[n] != ';' && type.p[n] != ' ') {
                n++;
        }
        return (n == 16 && strncasecmp(type.p, "application/json", n) == 0) ||
               (n > 5 && strncasecmp(type.p + n - 5, "+json", 5) == 0);
}

void json_place(struct str text, size_t at, uint32_t *ret_line, uint32_t *ret_column)
{
        uint32_t line = 1, column = 1;
        for (size_t i = 0; i < at && i < text.n; i++) {
                if (text.p[i] == '\n') {
                        line++;
                        column = 1;
                } else if (((uint8_t)text.p[i] & 0xc0) != 0x80) {
                        column++;
                }
        }
        *ret_line = line;
        *ret_column = column;
}
