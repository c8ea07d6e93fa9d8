/*
 * The list of routes, and from a path to a place in it.
 */
#include "http/route.h"

#include <errno.h>
#include <stdio.h>

static const struct {
        const char *path;
        unsigned methods;
        bool open;
} routes[] = {
#define X(name, text, verbs, without_token) {text, verbs, without_token},
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
        default: return "";
        }
}

unsigned method_parse(const char *method)
{
        if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
                return METHOD_GET;
        }
        return strcmp(method, "POST") == 0     ? METHOD_POST
               : strcmp(method, "DELETE") == 0 ? METHOD_DELETE
                                               : 0;
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

static int parse_key(struct arena *a, struct str encoded, struct route_match *ret,
                     struct problem *p)
{
        if (!percent_decode(a, encoded, &ret->key)) {
                problem_set(p, PROBLEM_MALFORMED,
                            "the key in the path is not percent-encoded text; write %%25 for %%, "
                            "and no NUL");
                return ROUTE_REFUSED;
        }
        if (!ret->key.p) {
                return -ENOMEM;
        }
        if (ret->key.n < 1 || ret->key.n > KEY_TEXT_MAX) {
                problem_set(p, PROBLEM_INVALID,
                            "the key in the path has %u bytes; 1 to 255 are allowed", ret->key.n);
                snprintf(p->field, sizeof p->field, "key");
                return ROUTE_REFUSED;
        }
        ret->route = ROUTE_JOB_KEY;
        return 0;
}

static int parse_job(struct arena *a, struct str path, struct str rest, struct route_match *ret,
                     struct problem *p)
{
        if (rest.n >= 4 && memcmp(rest.p, "key:", 4) == 0) {
                return parse_key(a, (struct str){rest.p + 4, rest.n - 4}, ret, p);
        }
        const char *slash = memchr(rest.p, '/', rest.n);
        uint32_t n = slash ? (uint32_t)(slash - rest.p) : rest.n;
        if (slash && !str_eq((struct str){slash, rest.n - n}, STR("/retry"))) {
                return refuse_path(path, p);
        }
        if (!id_parse((struct str){rest.p, n}, &ret->id)) {
                char quoted[QUOTE_TEXT];
                problem_set(p, PROBLEM_NOT_FOUND,
                            "\"%s\" is not a job's id (a UUID in its form of 36 characters); to "
                            "ask by key: "
                            "/v1/jobs/key:KEY?queue=QUEUE",
                            quote_text((struct str){rest.p, n}, quoted));
                return ROUTE_REFUSED;
        }
        ret->route = slash ? ROUTE_RETRY : ROUTE_JOB;
        return 0;
}

int route_parse(struct arena *a, struct str path, struct route_match *ret,
                struct problem *ret_problem)
{
        static const struct str jobs = {"/v1/jobs/", 9};
        for (int i = 0; i < ROUTE_COUNT; i++) {
                if (str_eq(path, str_of(routes[i].path)) && !strchr(routes[i].path, '{')) {
                        ret->route = (enum route)i;
                        return 0;
                }
        }
        if (path.n > jobs.n && memcmp(path.p, jobs.p, jobs.n) == 0) {
                return parse_job(a, path, (struct str){path.p + jobs.n, path.n - jobs.n}, ret,
                                 ret_problem);
        }
        return refuse_path(path, ret_problem);
}
