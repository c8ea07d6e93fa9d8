/*
 * The query of GET /v1/jobs and of GET /v1/jobs/key:KEY, and the cursor that pages through the
 * first. A cursor holds a hash of its filters, because going on with another filter would silently
 * skip jobs.
 */
#include <errno.h>
#include <stdio.h>

#include "core/pattern.h"
#include "http/base64.h"
#include "http/fields.h"
#include "core/rfc3339.h"
#include "http/route.h"

enum parameter { Q_QUEUE, Q_STATE, Q_TYPE, Q_TAG, Q_SINCE, Q_LIMIT, Q_CURSOR, Q_COUNT };

static const char *const names[Q_COUNT] = {
    [Q_QUEUE] = "queue", [Q_STATE] = "state", [Q_TYPE] = "type",     [Q_TAG] = "tag",
    [Q_SINCE] = "since", [Q_LIMIT] = "limit", [Q_CURSOR] = "cursor",
};
static const char *const allowed[Q_COUNT] = {
    [Q_QUEUE] = "the name of a queue",
    [Q_STATE] = "scheduled, pending, running, retrying, completed, dead or cancelled",
    [Q_TYPE] = "a job type, or a pattern as in email.*",
    [Q_TAG] = "one tag, without commas",
    [Q_SINCE] = "an RFC 3339 time, as in 2031-05-04T13:00:00Z (a + in it is written %2B)",
    [Q_LIMIT] = "a number from 1 to 1000",
    [Q_CURSOR] = "the cursor of an earlier answer's Link header, with the same filters",
};

static int refuse_value(enum parameter i, struct str value, struct problem *p)
{
        char quoted[QUOTE_TEXT];
        problem_set(p, PROBLEM_INVALID, "%s: \"%s\" is not allowed in the query; write %s",
                    names[i], quote_text(value, quoted), allowed[i]);
        snprintf(p->field, sizeof p->field, "%s", names[i]);
        p->allowed = allowed[i];
        return ROUTE_REFUSED;
}

/* How many of the names a route knows, from the first on. */
static size_t known_by(enum route r)
{
        return r == ROUTE_JOBS ? Q_COUNT : r == ROUTE_JOB_KEY ? 1 : 0;
}

static int refuse_name(enum route r, struct str name, struct problem *p)
{
        char quoted[QUOTE_TEXT];
        size_t known = known_by(r), at = 0;
        const char *near = nearest_name(names, known, name);
        quote_text(name, quoted);
        problem_set(p, PROBLEM_UNKNOWN_FIELD, "unknown query parameter \"%s\"%s%s%s%s", quoted,
                    near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "",
                    known ? "" : "; this route takes none");
        snprintf(p->field, sizeof p->field, "%s", quoted);
        for (size_t i = 0; i < known; i++) {
                at += (size_t)snprintf(p->allowed_text + at, sizeof p->allowed_text - at, "%s%s",
                                       i ? ", " : "", names[i]);
        }
        return ROUTE_REFUSED;
}

static bool take_limit(struct query *q, struct str v)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < v.n && i < 5; i++) {
                if (v.p[i] < '0' || v.p[i] > '9') {
                        return false;
                }
                n = n * 10 + (uint32_t)(v.p[i] - '0');
        }
        q->limit = n;
        return v.n >= 1 && v.n <= 4 && n >= 1 && n <= 1000;
}

static bool take_state(struct query *q, struct str v)
{
        enum job_state s;
        if (!state_parse(v, &s) || s >= JOB_STATE_COUNT) {
                return false;
        }
        q->state = (int)s;
        return true;
}

static bool take_one(struct query *q, enum parameter i, struct str v)
{
        switch (i) {
        case Q_QUEUE: q->queue = v; return v.n >= 1 && v.n <= 255;
        case Q_STATE: return take_state(q, v);
        case Q_TYPE: q->type = v; return pattern_valid(v);
        case Q_TAG: q->tag = v; return v.n >= 1 && v.n <= TAG_MAX && !memchr(v.p, ',', v.n);
        case Q_SINCE: q->has_since = true; return rfc3339_parse(v, &q->since_us);
        case Q_LIMIT: return take_limit(q, v);
        default: q->cursor = v; return v.n == CURSOR_TEXT - 1;
        }
}

int query_take(struct query *q, struct arena *a, enum route route, struct str name,
               struct str value, struct problem *ret_problem)
{
        struct str plain_name = name, plain = value;
        size_t i = 0;
        if (!percent_decode(a, name, &plain_name) || !percent_decode(a, value, &plain)) {
                problem_set(ret_problem, PROBLEM_MALFORMED,
                            "the query is not percent-encoded text; write %%25 for %%, and no NUL");
                return ROUTE_REFUSED;
        }
        if (!plain_name.p || !plain.p) {
                return -ENOMEM;
        }
        while (i < known_by(route) && !str_eq(plain_name, str_of(names[i]))) {
                i++;
        }
        if (i == known_by(route)) {
                return refuse_name(route, plain_name, ret_problem);
        }
        if (q->seen >> i & 1) {
                problem_set(ret_problem, PROBLEM_INVALID, "%s: given twice in the query; keep one",
                            names[i]);
                snprintf(ret_problem->field, sizeof ret_problem->field, "%s", names[i]);
                return ROUTE_REFUSED;
        }
        q->seen |= 1u << i;
        return take_one(q, (enum parameter)i, plain)
                   ? 0
                   : refuse_value((enum parameter)i, plain, ret_problem);
}

static uint32_t hash_filters(const struct query *q)
{
        uint32_t h = 2166136261u;
        const struct str parts[] = {q->type,
                                    q->queue,
                                    q->tag,
                                    {(const char *)&q->state, sizeof q->state},
                                    {(const char *)&q->since_us, sizeof q->since_us}};
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
                for (uint32_t k = 0; k < parts[i].n; k++) {
                        h = (h ^ (uint8_t)parts[i].p[k]) * 16777619u;
                }
                h = (h ^ 0xff) * 16777619u;
        }
        return h;
}

void cursor_text(const struct query *q, const struct job_id *last,
                 char ret_text[static CURSOR_TEXT])
{
        uint8_t bytes[21] = {1};
        uint32_t h = hash_filters(q);
        size_t n = base64_encoded(sizeof bytes);
        memcpy(bytes + 1, last->b, 16);
        for (int i = 0; i < 4; i++) {
                bytes[17 + i] = (uint8_t)(h >> (8 * i));
        }
        base64_encode((struct str){(const char *)bytes, sizeof bytes}, ret_text);
        base64_to_url(ret_text, &n);
        ret_text[n] = 0;
}

bool cursor_parse(const struct query *q, struct str text, struct job_id *ret_last)
{
        char padded[CURSOR_TEXT + 3];
        size_t n;
        uint32_t k, h = 0;
        if (text.n != CURSOR_TEXT - 1 || !base64_from_url(text, padded, sizeof padded, &n) ||
            !base64_decode((struct str){padded, (uint32_t)n}, padded, &k) || k != 21 ||
            padded[0] != 1) {
                return false;
        }
        for (int i = 0; i < 4; i++) {
                h |= (uint32_t)(uint8_t)padded[17 + i] << (8 * i);
        }
        if (h != hash_filters(q)) {
                return false;
        }
        memcpy(ret_last->b, padded + 1, 16);
        return true;
}

void query_next(struct out *o, const struct query *q, const char *cursor)
{
        const struct {
                const char *name;
                struct str value;
        } texts[] = {{"state", str_of(q->state >= 0 ? state_name((enum job_state)q->state) : "")},
                     {"type", q->type},
                     {"queue", q->queue},
                     {"tag", q->tag}};
        out_printf(o, "/v1/jobs?limit=%u", q->limit);
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                if (texts[i].value.n) {
                        out_printf(o, "&%s=", texts[i].name);
                        percent_encode(o, texts[i].value);
                }
        }
        if (q->has_since) {
                char since[RFC3339_TEXT];
                rfc3339_text(q->since_us, since);
                out_text(o, "&since=");
                percent_encode(o, str_of(since));
        }
        out_printf(o, "&cursor=%s", cursor);
}
