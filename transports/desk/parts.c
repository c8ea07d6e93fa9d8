/*
 * By bytes alone; what a part means is for its transport to say.
 */
#include "transports/desk/parts.h"

struct str part_cut(struct str s, uint32_t from, uint32_t to)
{
        return (struct str){s.p + from, to - from};
}

uint32_t part_find(struct str s, char c)
{
        const char *p = s.n ? memchr(s.p, c, s.n) : NULL;
        return p ? (uint32_t)(p - s.p) : s.n;
}

uint32_t part_find_last(struct str s, char c)
{
        const char *p = s.n ? memrchr(s.p, c, s.n) : NULL;
        return p ? (uint32_t)(p - s.p) : s.n;
}

static int hex(char c)
{
        if (c >= '0' && c <= '9') {
                return c - '0';
        }
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *part_decode(struct arena *a, struct str s, bool *ret_bad)
{
        char *p = arena_alloc(a, (size_t)s.n + 1), *q = p;
        if (!p) {
                return NULL;
        }
        for (uint32_t i = 0; s.p && i < s.n; i++) {
                int c = (unsigned char)s.p[i];
                if (c == '%') {
                        int high = i + 2 < s.n ? hex(s.p[i + 1]) : -1;
                        int low = i + 2 < s.n ? hex(s.p[i + 2]) : -1;
                        c = high < 0 || low < 0 ? 0 : high << 4 | low;
                        i += 2;
                }
                *ret_bad = *ret_bad || c < 0x20 || c == 0x7f;
                *q++ = (char)c;
        }
        *q = '\0';
        return p;
}
