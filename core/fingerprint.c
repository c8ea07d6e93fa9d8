/*
 * One pass over the first line: each particular becomes one byte, the rest goes into the hash as it
 * is. Nothing is allocated and no normalised text is kept: people are shown the latest error of a
 * group as it was.
 */
#include "core/fingerprint.h"

#define LINE_MAX_BYTES 512
#define HEX_RUN        8
#define NUMBER_MARK    '#'
#define QUOTE_MARK     '"'

static const uint64_t prime = UINT64_C(0x100000001b3); /* of FNV-1a, 64 bits */

static uint64_t add_byte(uint64_t h, uint8_t b)
{
        return (h ^ b) * prime;
}

static bool digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool hex(char c)
{
        return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool word(char c)
{
        return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static uint32_t hex_run(struct str s, uint32_t at)
{
        uint32_t i = at;
        while (i < s.n && hex(s.p[i])) {
                i++;
        }
        return i - at;
}

/* 8-4-4-4-12 hexadecimal digits. */
static bool uuid_at(struct str s, uint32_t at)
{
        static const uint8_t groups[] = {8, 4, 4, 4, 12};
        for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
                if (hex_run(s, at) != groups[g]) {
                        return false;
                }
                at += groups[g];
                if (g + 1 < ARRAY_LEN(groups) && (at >= s.n || s.p[at++] != '-')) {
                        return false;
                }
        }
        return true;
}

/* How many bytes of a number begin here; 0: none. `start`: a word may begin here. */
static uint32_t number_at(struct str s, uint32_t at, bool start)
{
        if (start && uuid_at(s, at)) {
                return 36;
        }
        if (start && s.n - at > 2 && s.p[at] == '0' && (s.p[at + 1] | 0x20) == 'x') {
                uint32_t n = hex_run(s, at + 2);
                return n ? n + 2 : 1;
        }
        uint32_t n = start ? hex_run(s, at) : 0;
        if (n >= HEX_RUN && (at + n == s.n || !word(s.p[at + n]))) {
                return n;
        }
        for (n = 0; at + n < s.n && digit(s.p[at + n]); n++) {}
        return n;
}

/* How many bytes a quotation that begins here has, quotes included; 0: none. An apostrophe within a
 * word begins none. */
static uint32_t quote_at(struct str s, uint32_t at, bool start)
{
        char c = s.p[at];
        if ((c != '"' && c != '\'' && c != '`') || (c == '\'' && !start)) {
                return 0;
        }
        for (uint32_t i = at + 1; i < s.n; i++) {
                bool within = c == '\'' && i + 1 < s.n && word(s.p[i + 1]);
                if (s.p[i] == c && !within) {
                        return i + 1 - at;
                }
        }
        return 0;
}

static struct str first_line(struct str s)
{
        const char *end = s.n ? memchr(s.p, '\n', s.n) : NULL;
        s.n = end ? (uint32_t)(end - s.p) : s.n;
        s.n = s.n > LINE_MAX_BYTES ? LINE_MAX_BYTES : s.n;
        while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\t')) {
                s.n--;
        }
        return s;
}

static uint64_t add_line(uint64_t h, struct str s)
{
        for (uint32_t i = 0; i < s.n;) {
                bool start = i == 0 || !word(s.p[i - 1]);
                uint32_t quoted = quote_at(s, i, start);
                uint32_t number = quoted ? 0 : number_at(s, i, start);
                uint32_t n = quoted + number;
                h = add_byte(h, quoted ? QUOTE_MARK : number ? NUMBER_MARK : (uint8_t)s.p[i]);
                i += n ? n : 1;
        }
        return h;
}

uint64_t error_fingerprint(struct str type, enum error_class error, struct str text)
{
        uint64_t h = UINT64_C(0xcbf29ce484222325);
        for (uint32_t i = 0; i < type.n; i++) {
                h = add_byte(h, (uint8_t)type.p[i]);
        }
        h = add_byte(add_byte(h, 0), (uint8_t)error);
        h = add_line(h, first_line(text));
        h ^= h >> 32; /* the last bytes reach the low bits too */
        return h ? h : 1;
}
