/*
 * What the head of a request says, checked before a byte of its body is kept: who asks, whom, what,
 * and how much is to come. Over TCP the Host header and the token come first, so that nobody
 * without one learns which routes exist.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/call.h"

static const char *header(const struct call *call, const char *name)
{
        return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

struct counted {
        const char *twice;
        unsigned seen;
};

/* Headers that must stand once: two of them are how one request is smuggled into another. */
static enum MHD_Result count_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
        static const char *const single[] = {
            "Host",          "Content-Length",  "Transfer-Encoding", "Content-Type",
            "Authorization", "Idempotency-Key", "Content-Encoding"};
        struct counted *c = cls;
        (void)kind;
        (void)value;
        for (size_t i = 0; i < ARRAY_LEN(single); i++) {
                if (strcasecmp(name, single[i]) == 0) {
                        c->twice = c->seen >> i & 1 ? single[i] : c->twice;
                        c->seen |= 1u << i;
                }
        }
        return MHD_YES;
}

static void check_framing(struct call *call)
{
        struct counted c = {0};
        MHD_get_connection_values(call->connection, MHD_HEADER_KIND, count_header, &c);
        const char *coding = header(call, "Transfer-Encoding");
        if (c.twice) {
                call_refuse(call, PROBLEM_MALFORMED, "the header %s is given twice; send it once",
                            c.twice);
        } else if (coding && header(call, "Content-Length")) {
                call_refuse(
                    call, PROBLEM_MALFORMED,
                    "Content-Length and Transfer-Encoding are both given; send one of them");
        } else if (coding && strcasecmp(coding, "chunked") != 0) {
                call_refuse(call, PROBLEM_MALFORMED,
                            "Transfer-Encoding: only \"chunked\" is understood");
        }
        call->hurried = call->failed; /* nobody knows where this request ends */
}

/* A page in a browser may make a name of its own point to 127.0.0.1; it cannot make the browser
 * send another Host. */
static void check_host(struct call *call)
{
        static const char *const ours[] = {"localhost", "127.0.0.1", "[::1]"};
        const char *host = header(call, "Host");
        for (size_t i = 0; host && i < ARRAY_LEN(ours); i++) {
                size_t n = strlen(ours[i]);
                if (strncasecmp(host, ours[i], n) == 0) {
                        const char *rest = host + n;
                        if (*rest == 0 ||
                            (*rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1))) {
                                return;
                        }
                }
        }
        char quoted[QUOTE_TEXT];
        call_refuse(
            call, PROBLEM_MISDIRECTED,
            "Host: \"%s\" is not this server; use localhost, 127.0.0.1 or [::1], with the port",
            quote_text(str_of(host ? host : ""), quoted));
}

static void check_token(struct call *call)
{
        const char *given = header(call, "Authorization");
        if (!tokens_accept(call->http->tokens, given)) {
                call_refuse(call, PROBLEM_UNAUTHORIZED, "%s",
                            given ? "Authorization: this is no valid token; send "
                                    "\"Bearer\" and a token of the server's token file"
                                  : "over TCP every request needs the header "
                                    "\"Authorization: Bearer TOKEN\" with a token of the "
                                    "server's token file");
                call_header(call, "WWW-Authenticate", "Bearer realm=\"skep\"");
        }
}

static bool media_type_is(const char *value, const char *type)
{
        size_t n = strlen(type);
        return strncasecmp(value, type, n) == 0 &&
               (value[n] == 0 || value[n] == ';' || value[n] == ' ');
}

static void check_media_type(struct call *call)
{
        const char *type = header(call, "Content-Type"), *coding = header(call, "Content-Encoding");
        char quoted[QUOTE_TEXT];
        if (coding && strcasecmp(coding, "identity") != 0) {
                call_refuse(
                    call, PROBLEM_MEDIA_TYPE,
                    "Content-Encoding: \"%s\" is not understood; send the body uncompressed",
                    quote_text(str_of(coding), quoted));
                return;
        }
        call->body_kind = BODY_JSON;
        if (!type || media_type_is(type, "application/json")) {
                return;
        }
        bool jobs = call->match.route == ROUTE_JOBS;
        if (jobs && (media_type_is(type, "application/x-ndjson") ||
                     media_type_is(type, "application/ndjson"))) {
                call->body_kind = BODY_NDJSON;
                return;
        }
        call_refuse(call, PROBLEM_MEDIA_TYPE,
                    "Content-Type: \"%s\" is not understood; send application/json%s",
                    quote_text(str_of(type), quoted),
                    jobs ? " (one object or an array) or application/x-ndjson (an object per line)"
                         : "");
}

static void check_length(struct call *call)
{
        const char *text = header(call, "Content-Length");
        unsigned long long n = text ? strtoull(text, NULL, 10) : 0;
        const struct settings *s = call->http->settings;
        if (call->body_kind == BODY_NONE && n > 0) {
                call_refuse(call, PROBLEM_MALFORMED, "%s takes no body; leave it out",
                            route_path(call->match.route));
        } else if (call->body_kind == BODY_JSON && n > s->array_max) {
                call_refuse(
                    call, PROBLEM_TOO_LARGE,
                    "the body has %llu bytes; at most %zu for one object (payload_max is %u) "
                    "and %zu for an array. "
                    "Send many jobs as application/x-ndjson",
                    n, s->object_max, s->config.payload_max, s->array_max);
        }
}

static void read_key(struct call *call)
{
        const char *text = header(call, "Idempotency-Key");
        if (!text) {
                return;
        }
        struct str key = str_of(text);
        if (key.n >= 2 && key.p[0] == '"' && key.p[key.n - 1] == '"') {
                key = (struct str){
                    key.p + 1, key.n - 2}; /* a structured field's string, as the draft writes it */
        }
        if (key.n < 1 || key.n > KEY_TEXT_MAX) {
                call_refuse(call, PROBLEM_INVALID,
                            "Idempotency-Key: %u bytes are not allowed; 1 to 255 are", key.n);
                snprintf(call->problem.field, sizeof call->problem.field, "Idempotency-Key");
                return;
        }
        call->request_key = arena_str(&call->arena, key);
        if (!call->request_key.p) {
                call_out_of_memory(call);
        }
}

/* RFC 7240: what is not understood is ignored. */
static void read_prefer(struct call *call)
{
        const char *p = header(call, "Prefer");
        while (p && *p) {
                p += strspn(p, " \t,;");
                if (strncasecmp(p, "wait", 4) == 0) {
                        const char *v = p + 4 + strspn(p + 4, " \t");
                        if (*v == '=') {
                                v += 1 + strspn(v + 1, " \t\"");
                                size_t digits = strspn(v, "0123456789");
                                unsigned long n = digits ? strtoul(v, NULL, 10) : 0;
                                call->wait_s = n > WAIT_MAX_S ? WAIT_MAX_S : (uint32_t)n;
                                return;
                        }
                }
                p += strcspn(p, ",;");
        }
}

static enum MHD_Result take_argument(void *cls, enum MHD_ValueKind kind, const char *name,
                                     size_t name_n, const char *value, size_t value_n)
{
        struct call *call = cls;
        (void)kind;
        int r = query_take(
            &call->query, &call->arena, call->match.route, (struct str){name, (uint32_t)name_n},
            (struct str){value ? value : "", value ? (uint32_t)value_n : 0}, &call->problem);
        if (r == -ENOMEM) {
                call_out_of_memory(call);
        }
        call->failed |= r != 0;
        return r == 0 ? MHD_YES : MHD_NO;
}

static void check_query(struct call *call)
{
        struct job_id last;
        call->query = QUERY_DEFAULT;
        MHD_get_connection_values_n(call->connection, MHD_GET_ARGUMENT_KIND, take_argument, call);
        if (!call->failed && call->query.cursor.n &&
            !cursor_parse(&call->query, call->query.cursor, &last)) {
                call_refuse(
                    call, PROBLEM_INVALID,
                    "cursor: it does not belong to this query; take it from the answer's Link "
                    "header, or begin "
                    "without a cursor");
                snprintf(call->problem.field, sizeof call->problem.field, "cursor");
        }
}

static void check_route(struct call *call, const char *url, const char *method)
{
        int r = route_parse(&call->arena, str_of(url), &call->match, &call->problem);
        if (r) {
                call->failed = true;
                if (r < 0) {
                        call_out_of_memory(call);
                }
                return;
        }
        unsigned allowed = route_methods(call->match.route);
        call->method = method_parse(method);
        if (!(call->method & allowed)) {
                char quoted[QUOTE_TEXT];
                call_refuse(call, PROBLEM_METHOD, "%s is not a method of %s; it knows %s",
                            quote_text(str_of(method), quoted), route_path(call->match.route),
                            route_allow(allowed));
                call_header(call, "Allow", "%s", route_allow(allowed));
        }
}

static void check_body(struct call *call)
{
        if (call->method & route_bodies(call->match.route)) {
                check_media_type(call);
                if (!call->failed && call->match.route == ROUTE_JOBS) {
                        read_key(call);
                }
        }
        if (!call->failed) {
                check_length(call);
        }
}

void call_begin(struct call *call, const char *url, const char *method)
{
        bool open = strcmp(url, "/livez") == 0 || strcmp(url, "/readyz") == 0;
        check_framing(call);
        if (!call->failed && call->listener->tcp) {
                check_host(call);
        }
        if (!call->failed && call->listener->tcp && !open) {
                check_token(call);
        }
        if (!call->failed) {
                check_route(call, url, method);
        }
        if (!call->failed) {
                check_query(call);
        }
        if (!call->failed) {
                check_body(call);
        }
        read_prefer(call);
}
