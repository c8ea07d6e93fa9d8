/*
 * One call from libmicrohttpd's point of view: it calls back for the head, for each piece of the
 * body, at its end, and again whenever the connection is resumed. An error is answered only after
 * the body has been read and dropped (up to a bound): closing on a client that still writes would
 * cost it the answer.
 */
#include <stdlib.h>

#include "http/call.h"
#include "http/json.h"

static struct call *new_call(struct listener *l, struct MHD_Connection *c)
{
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct peer *peer = info ? info->socket_context : NULL;
        struct call *call = peer ? calloc(1, sizeof *call) : NULL;
        if (call) {
                call->http = l->http;
                call->listener = l;
                call->peer = peer;
                call->connection = c;
                call->body_max = l->http->settings->array_max;
        }
        return call;
}

void call_out_of_memory(struct call *call)
{
        problem_set(&call->problem, PROBLEM_UNAVAILABLE,
                    "out of memory; nothing was done, repeat the request later");
        call->failed = true;
}

bool call_hold(struct call *call, size_t bytes)
{
        if (call->http->held + bytes > call->http->settings->held_max) {
                problem_set(&call->problem, PROBLEM_UNAVAILABLE,
                            "other requests hold the memory that bodies and answers may take; "
                            "repeat it later");
                call->failed = true;
                return false;
        }
        call->http->held += bytes;
        call->held += bytes;
        return true;
}

void call_done(void *cls, struct MHD_Connection *c, void **ctx,
               enum MHD_RequestTerminationCode code)
{
        struct call *call = *ctx;
        (void)cls;
        (void)c;
        (void)code;
        if (!call) {
                return;
        }
        *ctx = NULL;
        if (call->response) {
                MHD_destroy_response(call->response);
        }
        peer_enter(call->peer, PHASE_HEAD);
        call->http->held -= call->held;
        stream_free(call->stream);
        out_deinit(&call->body);
        out_deinit(&call->created);
        arena_deinit(&call->arena);
        free(call);
}

void call_resume(struct call *call)
{
        *(call->prev ? &call->prev->next : &call->http->waiting) = call->next;
        if (call->next) {
                call->next->prev = call->prev;
        }
        call->prev = call->next = NULL;
        call->suspended = false;
        peer_enter(call->peer, call->response ? PHASE_SEND : PHASE_STREAM);
        MHD_resume_connection(call->connection);
}

void call_abort(struct call *call)
{
        problem_set(&call->problem, PROBLEM_UNAVAILABLE,
                    "skepd is stopping; it is not known whether this was done. Repeat it with the "
                    "same key");
        call->failed = true;
        if (call->complete) {
                call_respond_problem(call);
        }
        call_resume(call);
}

static enum MHD_Result send_response(struct call *call)
{
        for (uint32_t i = 0; i < call->n_headers; i++) {
                MHD_add_response_header(call->response, call->headers[i].name,
                                        call->headers[i].value.p);
        }
        peer_enter(call->peer, PHASE_SEND);
        enum MHD_Result r = MHD_queue_response(call->connection, call->status, call->response);
        MHD_destroy_response(call->response);
        call->response = NULL;
        return r;
}

/* At the head. An error is told at once only where reading the body first would be worse. */
static enum MHD_Result begin(struct call *call, const char *url, const char *method)
{
        const char *length =
            MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Content-Length");
        const char *expect =
            MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Expect");
        if (call->http->draining) {
                problem_set(&call->problem, PROBLEM_UNAVAILABLE,
                            "skepd is stopping; repeat the request later");
                call->failed = true;
        } else {
                call_begin(call, url, method);
        }
        if (!call->failed && call->body_kind == BODY_NDJSON) {
                call->stream = stream_new(call);
        }
        peer_enter(call->peer, call->stream ? PHASE_STREAM : PHASE_BODY);
        bool hurried =
            call->hurried || expect || (length && strtoull(length, NULL, 10) > DRAIN_MAX);
        if (call->failed && hurried) {
                call_header(call, "Connection", "close");
                call_respond_problem(call);
                return call->response ? send_response(call) : MHD_NO;
        }
        return MHD_YES;
}

static void refuse_body(struct call *call)
{
        problem_set(&call->problem, PROBLEM_TOO_LARGE,
                    "the body is larger than %zu bytes, the limit for %s (payload_max is %u). Send "
                    "many jobs as "
                    "application/x-ndjson",
                    call->body_max, call->array ? "an array" : "one object",
                    call->http->settings->config.payload_max);
        call->failed = true;
        out_deinit(&call->body);
}

/* What the first character says: an object has the smaller bound. */
static void look_at_first(struct call *call, const char *data, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (data[i] != ' ' && data[i] != '\n' && data[i] != '\r' && data[i] != '\t') {
                        call->looked = true;
                        call->array = data[i] == '[';
                        call->body_max = call->array ? call->http->settings->array_max
                                                     : call->http->settings->object_max;
                        return;
                }
        }
}

static void keep_body(struct call *call, const char *data, size_t n)
{
        size_t before = call->body.capacity;
        if (!call->looked) {
                look_at_first(call, data, n);
        }
        if (call->body.n + n > call->body_max) {
                refuse_body(call);
                return;
        }
        if (before - call->body.n < n && !call_hold(call, n > before ? n : before)) {
                out_deinit(&call->body);
                return;
        }
        out_put(&call->body, data, n);
        if (call->body.failed) {
                out_deinit(&call->body);
                call_out_of_memory(call);
        }
}

static enum MHD_Result take_upload(struct call *call, const char *data, size_t *size)
{
        size_t took = *size;
        if (!call->failed && call->body_kind == BODY_NDJSON) {
                took = stream_feed(call, data, *size);
        } else if (!call->failed && call->body_kind == BODY_JSON) {
                keep_body(call, data, *size);
        } else if (!call->failed) {
                problem_set(&call->problem, PROBLEM_MALFORMED, "%s takes no body; leave it out",
                            route_path(call->match.route));
                call->failed = true;
        }
        call->received += call->failed ? took : 0;
        *size -= took;
        return call->received > DRAIN_MAX ? MHD_NO : MHD_YES;
}

enum MHD_Result call_handle(void *cls, struct MHD_Connection *c, const char *url,
                            const char *method, const char *version, const char *data, size_t *size,
                            void **ctx)
{
        struct call *call = *ctx;
        (void)version;
        if (!call) {
                call = new_call(cls, c);
                *ctx = call;
                return call ? begin(call, url, method) : MHD_NO;
        }
        if (*size > 0) {
                return take_upload(call, data, size);
        }
        if (!call->complete) {
                call->complete = true;
                if (call->failed) {
                        call_respond_problem(call);
                } else {
                        call_dispatch(call);
                }
        }
        if (call->suspended) {
                return MHD_YES;
        }
        return call->response ? send_response(call) : MHD_NO;
}
