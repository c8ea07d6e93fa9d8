/*
 * NDJSON: any number of jobs in bounded memory. Lines are cut out of the stream as it comes,
 * gathered into pages of up to 1,000, and each page is one submission whose rows stand for
 * themselves. While a page is written the connection is suspended, so a fast client is slowed down
 * to the ledger's pace.
 *
 * The answer can only be sent when the body is complete (libmicrohttpd's rule), so what became of
 * each line is kept until then: 32 bytes for a job, the rendered problem for a bad line. Both are
 * bounded; what does not fit is said.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/call.h"
#include "http/json.h"
#include "http/render.h"

#define ERRORS_MAX (4u << 20) /* bytes of rendered problems per request */
#define NO_TEXT    UINT32_MAX

struct outcome {
        uint32_t line;
        uint16_t status;
        uint8_t state;
        bool pending; /* a row of the page that is out */
        struct job_id id;
        uint32_t at, n; /* its problem, in `errors`; n 0: none */
};

/* What the answer needs; passes to the response. */
struct outcomes {
        struct outcome *list;
        uint32_t n, capacity;
        struct out errors;
        /* while it is being sent */
        uint32_t next;
        struct out text;
        size_t sent;
};

struct stream {
        struct outcomes *outcomes;
        struct submission *page;
        size_t page_bytes;
        uint32_t page_lines, page_first; /* outcomes of this page begin there */
        uint64_t pages;
        uint32_t line;   /* number of the line being read */
        struct out text; /* its bytes so far */
        bool too_long;   /* they are dropped until it ends */
        bool full;       /* no further line is taken */
        bool out;        /* a page is with the daemon */
        bool any_written;
        struct http *http;
};

static struct outcomes *free_outcomes(struct outcomes *o)
{
        if (o) {
                free(o->list);
                out_deinit(&o->errors);
                out_deinit(&o->text);
                free(o);
        }
        return NULL;
}

struct stream *stream_free(struct stream *s)
{
        if (s) {
                s->http->n_streams--;
                free_outcomes(s->outcomes);
                submission_free(s->page);
                out_deinit(&s->text);
                free(s);
        }
        return NULL;
}

struct stream *stream_new(struct call *call)
{
        struct http *h = call->http;
        if (h->n_streams >= STREAMS_MAX) {
                problem_set(&call->problem, PROBLEM_TOO_MANY,
                            "%u NDJSON requests are being read already; repeat it later",
                            h->n_streams);
                call->failed = true;
                return NULL;
        }
        if (!call_hold(call, NDJSON_PAGE_BYTES + h->settings->object_max)) {
                return NULL;
        }
        struct stream *s = calloc(1, sizeof *s);
        struct outcomes *o = calloc(1, sizeof *o);
        if (!s || !o) {
                free(s);
                free(o);
                call_out_of_memory(call);
                return NULL;
        }
        s->http = h;
        s->outcomes = o;
        h->n_streams++;
        return s;
}

/* NULL with the problem: memory is out. */
static struct outcome *add_outcome(struct call *call)
{
        struct stream *s = call->stream;
        struct outcomes *o = s->outcomes;
        if (o->n + 1 >= o->capacity) { /* one is kept in reserve, for close_stream() */
                uint32_t wanted = o->capacity ? o->capacity * 2 : 256;
                if (!call_hold(call, (wanted - o->capacity) * sizeof *o->list)) {
                        return NULL;
                }
                struct outcome *list = realloc(o->list, wanted * sizeof *list);
                if (!list) {
                        call_out_of_memory(call);
                        return NULL;
                }
                o->list = list;
                o->capacity = wanted;
        }
        o->list[o->n] = (struct outcome){.line = s->line};
        return &o->list[o->n++];
}

static void note_problem(struct stream *s, struct outcome *to, struct problem *p)
{
        struct outcomes *o = s->outcomes;
        to->status = (uint16_t)problem_status(p);
        to->pending = false;
        if (o->errors.n > ERRORS_MAX) {
                return; /* the status alone */
        }
        p->line = to->line;
        to->at = (uint32_t)o->errors.n;
        problem_write(&o->errors, p);
        to->n = o->errors.failed ? 0 : (uint32_t)o->errors.n - to->at;
}

static bool open_page(struct call *call)
{
        struct stream *s = call->stream;
        if (s->page) {
                return true;
        }
        s->page = submission_new();
        struct submit_row *rows =
            s->page ? arena_zalloc(&s->page->arena, NDJSON_PAGE * sizeof *rows) : NULL;
        if (!rows) {
                s->page = submission_free(s->page);
                call_out_of_memory(call);
                return false;
        }
        s->page->rows = rows;
        s->page_first = s->outcomes->n;
        s->page_lines = 0;
        s->page_bytes = 0;
        return true;
}

static bool blank(struct str text)
{
        for (uint32_t i = 0; i < text.n; i++) {
                if (text.p[i] != ' ' && text.p[i] != '\t' && text.p[i] != '\r') {
                        return false;
                }
        }
        return true;
}

static void chain_hash(struct stream *s, struct str text)
{
        uint8_t joined[32];
        memcpy(joined, s->page->request_hash, 16);
        hash16(text, joined + 16);
        hash16((struct str){(const char *)joined, sizeof joined}, s->page->request_hash);
}

/* Something stands in the way of this line and all after it. If nothing was written so far, it is
 * the whole request's problem; else the earlier lines keep their answers. */
static void close_stream(struct call *call)
{
        struct stream *s = call->stream;
        struct outcomes *o = s->outcomes;
        if (!s->any_written || o->n == o->capacity) {
                return;
        }
        struct problem p = call->problem;
        for (uint32_t i = s->page_first; i < o->n; i++) {
                if (o->list[i].pending) {
                        note_problem(s, &o->list[i], &p);
                }
        }
        s->page = submission_free(s->page);
        o->list[o->n] = (struct outcome){.line = s->line + 1};
        note_problem(s, &o->list[o->n++], &p);
        s->full = true;
        s->out = false;
        call->failed = false;
        peer_enter(call->peer, PHASE_BODY);
}

/* A whole line, without its end. */
static void take_line(struct call *call, struct str text)
{
        struct stream *s = call->stream;
        struct problem p;
        struct submit_row row;
        s->line++;
        if (s->full || (blank(text) && !s->too_long) || !open_page(call)) {
                return;
        }
        struct outcome *o = add_outcome(call);
        if (!o) {
                return;
        }
        s->page_lines++;
        s->page_bytes += text.n;
        if (s->outcomes->n > NDJSON_LINES_MAX) {
                problem_set(&p, PROBLEM_TOO_LARGE,
                            "one request takes at most %d lines; send this one and all after it in "
                            "another request",
                            NDJSON_LINES_MAX);
                note_problem(s, o, &p);
                s->full = true;
                peer_enter(call->peer, PHASE_BODY); /* what follows is only read to its end */
                return;
        }
        if (s->too_long) {
                problem_set(&p, PROBLEM_TOO_LARGE,
                            "the line is longer than %zu bytes (payload_max is %u)",
                            s->http->settings->object_max, s->http->settings->config.payload_max);
                note_problem(s, o, &p);
                return;
        }
        int64_t now = now_wall_us();
        int r = fields_parse(s->http->settings, &s->page->arena, text, text, now, &row, &p);
        if (r == -ENOMEM) {
                call_out_of_memory(call);
        } else if (r) {
                note_problem(s, o, &p);
        } else {
                row.id = id_mint(&s->http->mint, now);
                s->page->rows[s->page->n++] = row;
                o->pending = true;
                if (call->request_key.n) {
                        chain_hash(s, text);
                }
        }
}

/* The request's key names each of its pages; the same body makes the same pages. */
static void name_page(struct call *call)
{
        struct stream *s = call->stream;
        uint8_t bytes[KEY_TEXT_MAX + 8];
        uint32_t n = call->request_key.n;
        memcpy(bytes, call->request_key.p, n);
        for (int i = 0; i < 8; i++) {
                bytes[n + i] = (uint8_t)(s->pages >> (8 * i));
        }
        hash16((struct str){(const char *)bytes, n + 8}, s->page->request_key.b);
        s->page->request_key.set = true;
}

static void post_page(struct call *call)
{
        struct stream *s = call->stream;
        s->pages++;
        if (!s->page || s->page->n == 0) {
                s->page = submission_free(s->page);
                return;
        }
        if (call->request_key.n) {
                name_page(call);
        }
        struct api_request *r = call_request(call, API_SUBMIT);
        if (r) {
                r->submission = STEAL(s->page);
                call_post(call, r);
                s->out = !call->failed;
        }
}

static bool page_full(const struct stream *s)
{
        return s->page && (s->page_lines >= NDJSON_PAGE || s->page_bytes >= NDJSON_PAGE_BYTES);
}

static void keep_text(struct call *call, const char *data, size_t n)
{
        struct stream *s = call->stream;
        if (s->full) {
                return;
        }
        if (s->text.n + n > s->http->settings->object_max) {
                s->too_long = true;
        }
        if (s->too_long) {
                s->text.n = 0;
                return;
        }
        out_put(&s->text, data, n);
        if (s->text.failed) {
                call_out_of_memory(call);
        }
}

static void end_line(struct call *call)
{
        struct stream *s = call->stream;
        take_line(call, (struct str){s->text.p ? s->text.p : "", (uint32_t)s->text.n});
        s->text.n = 0;
        s->too_long = false;
}

size_t stream_feed(struct call *call, const char *data, size_t n)
{
        size_t at = 0;
        while (at < n && !call->failed && !call->suspended) {
                const char *end = memchr(data + at, '\n', n - at);
                size_t k = end ? (size_t)(end - data) - at : n - at;
                keep_text(call, data + at, k);
                at += k + (end != NULL);
                if (end && !call->failed) {
                        end_line(call);
                }
                if (!call->failed && page_full(call->stream)) {
                        post_page(call);
                }
                if (call->failed) {
                        close_stream(call);
                }
        }
        return call->failed ? n : at;
}

/* --- the answer -------------------------------------------------------------------------- */

static void render_outcome(struct out *o, const struct outcomes *all, const struct outcome *x)
{
        out_text(o, "{");
        out_number(o, "line", x->line);
        out_number(o, "status", x->status);
        if (x->status == 201) {
                out_id(o, "id", &x->id);
                if (x->state != STATE_NONE) {
                        out_member(o, "state", str_of(state_name((enum job_state)x->state)));
                }
        } else if (x->n) {
                out_name(o, "error");
                out_put(o, all->errors.p + x->at, x->n);
        }
        out_text(o, "}\n");
}

static ssize_t read_outcomes(void *cls, uint64_t pos, char *to, size_t room)
{
        struct outcomes *o = cls;
        size_t n = 0;
        (void)pos;
        while (n < room) {
                if (o->sent == o->text.n) {
                        o->sent = o->text.n = 0;
                        if (o->next == o->n) {
                                break;
                        }
                        render_outcome(&o->text, o, &o->list[o->next++]);
                        if (o->text.failed) {
                                return MHD_CONTENT_READER_END_WITH_ERROR;
                        }
                }
                size_t k = o->text.n - o->sent < room - n ? o->text.n - o->sent : room - n;
                memcpy(to + n, o->text.p + o->sent, k);
                o->sent += k;
                n += k;
        }
        return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static void release_outcomes(void *cls)
{
        free_outcomes(cls);
}

static void respond(struct call *call)
{
        struct stream *s = call->stream;
        if (s->outcomes->n == 0) {
                problem_set(&call->problem, PROBLEM_MALFORMED,
                            "the body has no line with a job; send an object per line, as in "
                            "{\"type\":\"echo\"}");
                call->failed = true;
                return;
        }
        struct outcomes *o = s->outcomes;
        struct MHD_Response *r = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, 16384, read_outcomes, o, release_outcomes);
        if (!r) {
                call_out_of_memory(call);
                return;
        }
        s->outcomes = NULL;
        MHD_add_response_header(r, "Content-Type", "application/x-ndjson");
        MHD_add_response_header(r, "Cache-Control", "no-store");
        MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
        call->response = r;
        call->status = 200;
}

void stream_end(struct call *call)
{
        struct stream *s = call->stream;
        if (s->text.n > 0 || s->too_long) {
                end_line(call);
        }
        if (!call->failed) {
                post_page(call);
        }
        if (call->failed) {
                close_stream(call);
        }
        if (!call->failed && !s->out) {
                respond(call);
        }
}

static void note_row(struct stream *s, struct outcome *o, const struct submit_row *row)
{
        struct problem p;
        if (submit_failed_row(s->http->settings, row, &p)) {
                note_problem(s, o, &p);
                return;
        }
        enum job_state state;
        submitted_job(row, &o->id, &state);
        o->pending = false;
        o->status = 201;
        o->state = (uint8_t)state;
        s->any_written = true;
}

/* The whole page shares one fate. */
static void fail_page(struct stream *s, struct problem *p)
{
        for (uint32_t i = s->page_first; i < s->outcomes->n; i++) {
                if (s->outcomes->list[i].pending) {
                        note_problem(s, &s->outcomes->list[i], p);
                }
        }
}

void stream_answer(struct call *call, struct api_request *r)
{
        struct stream *s = call->stream;
        const struct submission *page = r->submission;
        struct problem p;
        s->out = false;
        if (r->unavailable || page->refused) {
                const char *note = page->refused ? page->note : r->note;
                problem_set(&p, PROBLEM_UNAVAILABLE,
                            "%s; this line was not written. Repeat it later",
                            note[0] ? note : "the ledger cannot be reached");
                if (!s->any_written) {
                        call->problem =
                            p; /* nothing came of the request so far: say so for the whole */
                        call->failed = true;
                }
                fail_page(s, &p);
        } else if (page->request_conflict) {
                problem_set(&p, PROBLEM_KEY_CONFLICT,
                            "Idempotency-Key: it was used for a request with another body; this "
                            "line was not written");
                fail_page(s, &p);
        } else {
                uint32_t k = 0;
                for (uint32_t i = s->page_first; i < s->outcomes->n; i++) {
                        if (s->outcomes->list[i].pending && k < page->n) {
                                note_row(s, &s->outcomes->list[i], &page->rows[k++]);
                        }
                }
        }
        if (call->complete && !call->failed) {
                respond(call);
        }
}
