/*
 * What went wrong, said to people: unreachable servers and problem documents (RFC 9457). Part of
 * client.h.
 *
 * Every text here may come from a stranger's server; say() escapes it.
 */
#include "cli/client.h"

#include "cli/places.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A `skep dev` of this user, if its socket is there. The caller frees it. */
static char *find_dev_socket(void)
{
        CLEANUP(free_text)
        char *dir = place_dev();
        char *path = text_printf("%s/skep.sock", dir ? dir : "");
        struct stat st;
        if (stat(path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
                free(path);
                return NULL;
        }
        return path;
}

static int say_unreachable(const struct client *c)
{
        const char *url = client_url(c);
        bool is_unix = strncmp(url, "unix:", 5) == 0;
        const char *path = url + (is_unix ? 5 : 0);
        struct stat st;
        int why = is_unix && stat(path, &st) != 0 ? errno : 0;
        if (is_unix &&
            (why == EACCES || (why == 0 && access(path, W_OK) != 0 && errno == EACCES))) {
                say("cannot open %s: permission denied; the socket's mode decides who may use it",
                    url);
                return EXIT_AUTH;
        }
        say("cannot reach skepd at %s: %s", url, why ? strerror(why) : client_failure(c));
        CLEANUP(free_text)
        char *dev = find_dev_socket();
        if (dev && strcmp(dev, path) != 0) {
                say("is skepd running? a `skep dev` has its socket at %s: try SKEP_URL=unix:%s",
                    dev, dev);
        } else {
                say("is skepd running? try: skep dev (or name another server with --url or "
                    "SKEP_URL)");
        }
        return EXIT_UNREACHABLE;
}

int client_say_failure(const struct client *c, int failure)
{
        if (failure == CALL_UNREACHABLE) {
                return say_unreachable(c);
        }
        if (failure == CALL_CUT) {
                say("the connection to %s was cut before an answer came: %s", client_url(c),
                    client_failure(c));
        } else {
                say("%s does not answer as skepd does: %s", client_url(c), client_failure(c));
        }
        return EXIT_UNREACHABLE;
}

/* Appends ` (field "x", line 3)` of what the object says about the place. */
static void add_place(struct buf *out, const json_t *o)
{
        static const char *const names[] = {"field", "pointer", "line", "column"};
        const char *sep = " (";
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                const json_t *v = json_object_get(o, names[i]);
                const char *text = json_string_value(v);
                if (text && !strstr(buf_z(out), text)) { /* the detail may have named it already */
                        buf_printf(out, "%s%s %s", sep, names[i], text);
                } else if (json_is_integer(v)) {
                        buf_printf(out, "%s%s %lld", sep, names[i],
                                   (long long)json_integer_value(v));
                } else {
                        continue;
                }
                sep = ", ";
        }
        if (sep[0] == ',') {
                buf_text(out, ")");
        }
}

static const char *first_text(const json_t *o, const char *a, const char *b)
{
        const char *z = json_string_value(json_object_get(o, a));
        return z ? z : json_string_value(json_object_get(o, b));
}

static void add_errors(struct buf *out, const json_t *errors)
{
        size_t i;
        json_t *e;
        json_array_foreach((json_t *)errors, i, e)
        {
                const char *text =
                    json_is_string(e) ? json_string_value(e) : first_text(e, "detail", "message");
                buf_printf(out, "\n      %s", text ? text : "?");
                add_place(out, e);
        }
}

char *client_problem_text(const struct response *r)
{
        struct buf out = {0};
        json_t *o = r->json ? json_loadb(buf_z(&r->body), r->body.n, 0, NULL) : NULL;
        const char *text = first_text(o, "detail", "title");
        if (text) {
                buf_text(&out, text);
                add_place(&out, o);
                add_errors(&out, json_object_get(o, "errors"));
        } else {
                size_t n = r->body.n < 200 ? r->body.n : 200;
                buf_printf(&out, "the server answered %ld%s%.*s", r->status, n ? ": " : "", (int)n,
                           buf_z(&r->body));
        }
        json_decref(o);
        return buf_take(&out);
}

int client_say_problem(const struct response *r, const char *about)
{
        CLEANUP(free_text)
        char *text = client_problem_text(r);
        say("%s%s%s", about ? about : "", about ? ": " : "", text);
        switch (r->status) {
        case 401: say("a token is needed here: --token-file or SKEP_TOKEN_FILE"); return EXIT_AUTH;
        case 403: return EXIT_AUTH;
        case 429:
        case 503: return EXIT_LATER;
        default: return EXIT_REFUSED;
        }
}
