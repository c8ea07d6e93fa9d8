/*
 * Passwords within URLs, so that no message, page or process list shows them. Masking errs on the
 * side of hiding too much: whatever stands between the first colon after `//` and the last `@` is
 * taken for a password, since one with an unescaped slash in it would otherwise be printed.
 */
#include "core/config.h"

/* The part of text after `//` from its first colon to its last @: where a password stands. */
static bool find_password(struct str text, uint32_t *ret_from, uint32_t *ret_to)
{
        const char *slashes = text.p ? memmem(text.p, text.n, "://", 3) : NULL;
        const char *at = slashes ? memrchr(text.p, '@', text.n) : NULL;
        if (!at || at < slashes + 3) {
                return false;
        }
        const char *colon = memchr(slashes + 3, ':', (size_t)(at - slashes - 3));
        if (!colon || colon + 1 == at) {
                return false;
        }
        *ret_from = (uint32_t)(colon + 1 - text.p);
        *ret_to = (uint32_t)(at - text.p);
        return true;
}

/* The next value of a parameter such as password=, at or after *from. */
static bool find_parameter(struct str text, uint32_t from, uint32_t *ret_from, uint32_t *ret_to)
{
        static const char *const names[] = {"password=", "passwd=", "secret=", "token="};
        for (uint32_t i = from; i < text.n; i++) {
                for (size_t k = 0; k < ARRAY_LEN(names); k++) {
                        uint32_t n = (uint32_t)strlen(names[k]);
                        if (text.n - i <= n || strncasecmp(text.p + i, names[k], n) != 0) {
                                continue;
                        }
                        uint32_t to = i + n;
                        while (to < text.n && text.p[to] != '&') {
                                to++;
                        }
                        if (to > i + n) {
                                *ret_from = i + n;
                                *ret_to = to;
                                return true;
                        }
                }
        }
        return false;
}

bool config_has_password(struct str text)
{
        uint32_t from, to;
        return find_password(text, &from, &to) || find_parameter(text, 0, &from, &to);
}

static struct str mask_part(struct arena *a, struct str text, uint32_t from, uint32_t to)
{
        return arena_printf(a, "%.*s***%.*s", (int)from, text.p, (int)(text.n - to), text.p + to);
}

struct str config_mask(struct arena *a, struct str text)
{
        uint32_t from, to, after = 0;
        struct str masked = arena_str(a, text);
        if (masked.p && find_password(masked, &from, &to)) {
                masked = mask_part(a, masked, from, to);
        }
        while (masked.p && find_parameter(masked, after, &from, &to)) {
                masked = mask_part(a, masked, from, to);
                after = from + 3;
        }
        return masked;
}
