/*
 * The list of routes, and from a path to a place in it.
 */
#include "http/route.h"

#include <errno.h>
#include <stdio.h>

static const struct {
        const char *path;
        unsigned methods, bodies;
        bool open;
} routes[] = {
#define X(name, text, verbs, with_body, without_token) {text, verbs, with_body, without_token},
    ROUTES(X)
#undef X
};

const char *route_path(enum route r)
{
        return routes[r].path;
}

unsigned route_methods(enum route r)
{
        return routes[r].methods;
}

unsigned route_bodies(enum route r)
{
        return routes[r].bodies;
}

bool route_open(enum route r)
{
        return routes[r].open;
}

const char *route_allow(unsigned methods)
{
        switch (methods) {
        case METHOD_GET: return "GET, HEAD";
        case METHOD_POST: return "POST";
        case METHOD_GET | METHOD_POST: return "GET, HEAD, POST";
        case METHOD_GET | METHOD_DELETE: return "GET, HEAD, DELETE";
        case METHOD_GET | METHOD_PATCH: return "GET, HEAD, PATCH";
        case METHOD_GET | METHOD_PUT | METHOD_DELETE: return "GET, HEAD, PUT, DELETE";
        default: return "";
        }
}

unsigned method_parse(const char *method)
{
        static const struct {
                const char *name;
                unsigned method;
        } methods[] = {{"GET", METHOD_GET},       {"HEAD", METHOD_GET}, {"POST", METHOD_POST},
                       {"DELETE", METHOD_DELETE}, {"PUT", METHOD_PUT},  {"PATCH", METHOD_PATCH}};
        for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
                if (strcmp(method, methods[i].name) == 0) {
                        return methods[i].method;
                }
        }
        return 0;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9') {
                return c - '0';
        }
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool percent_decode(struct arena *a, struct str s, struct str *ret)
{
        char *to = arena_alloc(a, s.n + 1u);
        uint32_t n = 0;
        for (uint32_t i = 0; to && i < s.n; i++) {
                char c = s.p[i];
                if (c == '%') {
                        int high = s.n - i > 2 ? hex_digit(s.p[i + 1]) : -1;
                        int low = s.n - i > 2 ? hex_digit(s.p[i + 2]) : -1;
                        if (high < 0 || low < 0) {
                                return false;
                        }
                        c = (char)(high << 4 | low);
                        i += 2;
                }
                if (c == 0) {
                        return false;
                }
                to[n++] = c;
        }
        if (to) {
                to[n] = 0;
        }
        *ret = (struct str){to, n};
        return true;
}

void percent_encode(struct out *o, struct str s)
{
        for (uint32_t i = 0; i < s.n; i++) {
                char c = s.p[i];
                bool alnum =
                    (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                if (alnum || (c != 0 && strchr("-._~", c))) {
                        out_put(o, &c, 1);
                } else {
                        out_printf(o, "%%%02X", (uint8_t)c);
                }
        }
}

static int refuse_path(struct str path, struct problem *p)
{
        char quoted[QUOTE_TEXT];
        problem_set(p, PROBLEM_NOT_FOUND,
                    "nothing is at %s; the routes are listed in /openapi.json",
                    quote_text(path, quoted));
        return ROUTE_REFUSED;
}

/* A text of the path. `what`: "key". */
static int parse_text(struct arena *a, struct str encoded, const char *what, uint32_t max,
                      struct str *ret, struct problem *p)
{
        if (!percent_decode(a, encoded, ret)) {
                problem_set(p, PROBLEM_MALFORMED,
                            "the %s in the path is not percent-encoded text; write %%25 for %%, "
                            "and no NUL",
                            what);
                return ROUTE_REFUSED;
        }
        if (!ret->p) {
                return -ENOMEM;
        }
        if (ret->n < 1 || ret->n > max) {
                problem_set(p, PROBLEM_INVALID,
                            "the %s in the path has %u bytes; 1 to %u are allowed", what, ret->n,
                            max);
                snprintf(p->field, sizeof p->field, "%s", what);
                return ROUTE_REFUSED;
        }
        return 0;
}

static int parse_id(struct str piece, struct job_id *ret, struct problem *p)
{
        if (id_parse(piece, ret)) {
                return 0;
        }
        char quoted[QUOTE_TEXT];
        problem_set(p, PROBLEM_NOT_FOUND,
                    "\"%s\" is not a job's id (a UUID in its form of 36 characters); to ask by "
                    "key: /v1/jobs/key:KEY?queue=QUEUE",
                    quote_text(piece, quoted));
        return ROUTE_REFUSED;
}

static int parse_number(struct str piece, uint64_t *ret, struct problem *p)
{
        uint64_t n = 0;
        bool fits = piece.n <= 18;
        for (uint32_t i = 0; fits && i < piece.n; i++) {
                fits = piece.p[i] >= '0' && piece.p[i] <= '9';
                n = n * 10 + (uint64_t)(piece.p[i] - '0');
        }
        if (!fits || n == 0) {
                char quoted[QUOTE_TEXT];
                problem_set(p, PROBLEM_NOT_FOUND,
                            "\"%s\" is not an operation's id (a number, as /v1/operations lists "
                            "them)",
                            quote_text(piece, quoted));
                return ROUTE_REFUSED;
        }
        *ret = n;
        return 0;
}

/* Does the path have the form of the template? *ret_piece is what stands for its braces. */
static bool has_form(const char *template, struct str path, struct str *ret_piece)
{
        const char *open = strchr(template, '{');
        size_t before = open ? (size_t)(open - template) : 0;
        if (!open || path.n < before || memcmp(path.p, template, before) != 0) {
                return false;
        }
        const char *tail = strchr(open, '}') + 1;
        struct str piece = {path.p + before, path.n - (uint32_t)before};
        if (open[1] == 'k') {
                *ret_piece = piece;
                return true;
        }
        const char *slash = memchr(piece.p, '/', piece.n);
        struct str rest = {slash, slash ? (uint32_t)(piece.p + piece.n - slash) : 0};
        piece.n -= rest.n;
        *ret_piece = piece;
        return piece.n > 0 && str_eq(rest, str_of(tail));
}

static int parse_piece(struct arena *a, struct str piece, struct route_match *ret,
                       struct problem *p)
{
        switch (strchr(routes[ret->route].path, '{')[1]) {
        case 'i': return parse_id(piece, &ret->id, p);
        case 'k': return parse_text(a, piece, "key", KEY_TEXT_MAX, &ret->key, p);
        case 'n':
                return strstr(routes[ret->route].path, "{no}")
                           ? parse_number(piece, &ret->no, p)
                           : parse_text(a, piece, "name", NAME_PIECE_MAX, &ret->name, p);
        default: return refuse_path(piece, p);
        }
}

int route_parse(struct arena *a, struct str path, struct route_match *ret,
                struct problem *ret_problem)
{
        struct str piece;
        for (int i = 0; i < ROUTE_COUNT; i++) {
                if (str_eq(path, str_of(routes[i].path)) && !strchr(routes[i].path, '{')) {
                        ret->route = (enum route)i;
                        return 0;
                }
        }
        for (int i = 0; i < ROUTE_COUNT; i++) {
                if (has_form(routes[i].path, path, &piece)) {
                        ret->route = (enum route)i;
                        return parse_piece(a, piece, ret, ret_problem);
                }
        }
        return refuse_path(path, ret_problem);
}
