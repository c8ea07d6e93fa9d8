/*
 * Problem documents. Texts are built in fixed room: a problem must be tellable when memory is
 * short, and a hostile request must not make it long.
 */
#include "http/problem.h"

#include <stdarg.h>
#include <stdio.h>

#include "http/json.h"

static const struct {
        unsigned status;
        const char *name, *title;
} kinds[] = {
#define X(enumerator, status, text, title) {status, text, title},
    PROBLEMS(X)
#undef X
};

/* Where a text of n bytes may end so that it stays UTF-8. */
static size_t cut_text(const char *p, size_t n)
{
        size_t at = 0;
        while (at < n) {
                size_t one = utf8_length(p + at, n - at);
                if (one == 0 && n - at < 4) {
                        break;
                }
                at += one ? one : 1;
        }
        return at;
}

void problem_set(struct problem *p, enum problem_kind kind, const char *fmt, ...)
{
        *p = (struct problem){.kind = kind, .index = -1};
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(p->detail, sizeof p->detail, fmt, ap);
        va_end(ap);
        if (n >= (int)sizeof p->detail) {
                p->detail[cut_text(p->detail, sizeof p->detail - 1)] = 0;
        }
        if (kinds[kind].status == 503 || kinds[kind].status == 429) {
                p->retry_after_s = 1;
        }
}

unsigned problem_status(const struct problem *p)
{
        return kinds[p->kind].status;
}

void problem_write(struct out *o, const struct problem *p)
{
        out_text(o, "{\"type\":\"urn:skep:problem:");
        out_text(o, kinds[p->kind].name);
        out_text(o, "\"");
        out_member(o, "title", str_of(kinds[p->kind].title));
        out_number(o, "status", kinds[p->kind].status);
        out_member(o, "detail", str_of(p->detail));
        if (p->field[0]) {
                out_member(o, "field", str_of(p->field));
        }
        if (p->index >= 0) {
                out_number(o, "index", p->index);
        }
        if (p->line) {
                out_number(o, "line", p->line);
        }
        if (p->column) {
                out_number(o, "column", p->column);
        }
        if (p->allowed_text[0] || p->allowed) {
                out_member(o, "allowed", str_of(p->allowed_text[0] ? p->allowed_text : p->allowed));
        }
        if (p->has_job) {
                out_id(o, "job", &p->job);
        }
        if (p->job_state) {
                out_member(o, "state", str_of(p->job_state));
        }
        out_text(o, "}");
}

const char *quote_text(struct str s, char ret_text[static QUOTE_TEXT])
{
        uint32_t n = s.n > 48 ? (uint32_t)cut_text(s.p, 48) : s.n;
        for (uint32_t i = 0; i < n; i++) {
                uint8_t c = (uint8_t)s.p[i];
                ret_text[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
        }
        memcpy(ret_text + n, s.n > n ? "..." : "", s.n > n ? 4 : 1);
        return ret_text;
}
