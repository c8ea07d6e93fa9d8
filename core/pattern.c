/*
 * Types and patterns, token by token and without allocation.
 */
#include "core/pattern.h"

struct tokens {
        struct str rest;
        struct str token;
        bool more; /* a dot followed, so another token must come */
};

static bool next_token(struct tokens *t)
{
        if (!t->rest.p || (!t->more && t->rest.n == 0)) {
                return false;
        }
        const char *dot = t->rest.n ? memchr(t->rest.p, '.', t->rest.n) : NULL;
        uint32_t n = dot ? (uint32_t)(dot - t->rest.p) : t->rest.n;
        t->token = (struct str){t->rest.p, n};
        t->more = dot != NULL;
        t->rest = (struct str){t->rest.p + n + t->more, t->rest.n - n - t->more};
        return true;
}

static bool token_literal(struct str token)
{
        for (uint32_t i = 0; i < token.n; i++) {
                char c = token.p[i];
                bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-') {
                        return false;
                }
        }
        return token.n > 0;
}

static bool valid(struct str text, bool wild)
{
        struct tokens t = {.rest = text};
        if (text.n == 0 || text.n > TYPE_MAX) {
                return false;
        }
        while (next_token(&t)) {
                bool star = wild && str_eq(t.token, STR("*"));
                bool tail = wild && !t.more && str_eq(t.token, STR(">"));
                if (!star && !tail && !token_literal(t.token)) {
                        return false;
                }
        }
        return true;
}

bool type_valid(struct str type)
{
        return valid(type, false);
}

bool pattern_valid(struct str pattern)
{
        return valid(pattern, true);
}

bool pattern_match(struct str pattern, struct str type)
{
        struct tokens p = {.rest = pattern}, t = {.rest = type};
        while (next_token(&p)) {
                if (!next_token(&t)) {
                        return false;
                }
                if (str_eq(p.token, STR(">"))) {
                        return true;
                }
                if (!str_eq(p.token, STR("*")) && !str_eq(p.token, t.token)) {
                        return false;
                }
        }
        return !next_token(&t);
}

uint32_t pattern_rank(struct str pattern)
{
        struct tokens p = {.rest = pattern};
        uint32_t literals = 0, wilds = 0, tail = 0;
        while (next_token(&p)) {
                bool star = str_eq(p.token, STR("*"));
                bool rest = str_eq(p.token, STR(">"));
                literals += !star && !rest;
                wilds += star;
                tail |= rest;
        }
        uint32_t exact = wilds == 0 && tail == 0;
        return exact << 31 | literals << 16 | (uint32_t)(!tail) << 15 | wilds;
}

/* Walks token by token; a `>` on one side takes whatever is left on the other. */
bool pattern_overlap(struct str a, struct str b)
{
        struct tokens x = {.rest = a}, y = {.rest = b};
        for (;;) {
                bool more_x = next_token(&x), more_y = next_token(&y);
                if (!more_x || !more_y) {
                        return more_x == more_y;
                }
                if (str_eq(x.token, STR(">")) || str_eq(y.token, STR(">"))) {
                        return true;
                }
                bool wild = str_eq(x.token, STR("*")) || str_eq(y.token, STR("*"));
                if (!wild && !str_eq(x.token, y.token)) {
                        return false;
                }
        }
}

bool pattern_tie(struct str a, struct str b)
{
        return pattern_rank(a) == pattern_rank(b) && pattern_overlap(a, b);
}
