/*
 * What may stand behind the question mark, and the cursor that pages through GET /v1/jobs. A cursor
 * holds a hash of its filters, because going on with another filter would silently skip jobs.
 */
#include <errno.h>
#include <stdio.h>

#include "core/pattern.h"
#include "core/rfc3339.h"
#include "http/base64.h"
#include "http/fields.h"
#include "http/route.h"

/* name, allowed */
#define PARAMETERS(X)                                                                              \
        X(QUEUE, "queue", "the name of a queue")                                                   \
        X(STATE, "state", "scheduled, pending, running, retrying, completed, dead or cancelled")   \
        X(TYPE, "type", "a job type, or a pattern as in email.*")                                  \
        X(TAG, "tag", "one tag, without commas")                                                   \
        X(ERROR, "error", ERROR_CLASSES_ALLOWED)                                                   \
        X(FINGERPRINT, "fingerprint", FINGERPRINT_ALLOWED)                                         \
        X(SINCE, "since", TIME_ALLOWED)                                                            \
        X(BEFORE, "before", TIME_ALLOWED)                                                          \
        X(ENDED_BEFORE, "ended_before", TIME_ALLOWED)                                              \
        X(LIMIT, "limit", "a number from 1 to 1000")                                               \
        X(CURSOR, "cursor",                                                                        \
          "the cursor of an earlier answer's Link header, with the same filters")                  \
        X(WHOLE, "whole", "true or false")                                                         \
        X(AFTER, "after", "the name of a schedule; those behind it are listed")                    \
        X(FORCE, "force", "true or false")
#define TIME_ALLOWED "an RFC 3339 time, as in 2031-05-04T13:00:00Z (a + in it is written %2B)"

enum parameter {
#define X(enumerator, name, allowed) Q_##enumerator,
        PARAMETERS(X)
#undef X
            Q_COUNT
};

static const struct {
        const char *name, *allowed;
} parameters[Q_COUNT] = {
#define X(enumerator, name, allowed) [Q_##enumerator] = {name, allowed},
    PARAMETERS(X)
#undef X
};

/* Which of them a route knows, a bit each. */
static unsigned known_by(enum route r)
{
        const unsigned filter = 1u << Q_QUEUE | 1u << Q_TYPE | 1u << Q_TAG | 1u << Q_ERROR |
                                1u << Q_FINGERPRINT | 1u << Q_SINCE | 1u << Q_BEFORE;
        switch (r) {
        case ROUTE_JOBS:
                return filter | 1u << Q_STATE | 1u << Q_LIMIT | 1u << Q_CURSOR | 1u << Q_WHOLE;
        case ROUTE_JOB_KEY: return 1u << Q_QUEUE;
        case ROUTE_DEAD_GROUPS: return filter | 1u << Q_ENDED_BEFORE | 1u << Q_LIMIT;
        case ROUTE_SCHEDULES: return 1u << Q_AFTER | 1u << Q_LIMIT;
        case ROUTE_SCHEDULE: return 1u << Q_FORCE;
        default: return 0;
        }
}

static int refuse_value(enum parameter i, struct str value, struct problem *p)
{
        char quoted[QUOTE_TEXT];
        problem_set(p, PROBLEM_INVALID, "%s: \"%s\" is not allowed in the query; write %s",
                    parameters[i].name, quote_text(value, quoted), parameters[i].allowed);
        snprintf(p->field, sizeof p->field, "%s", parameters[i].name);
        p->allowed = parameters[i].allowed;
        return ROUTE_REFUSED;
}

static int refuse_name(enum route r, struct str name, struct problem *p)
{
        const char *names[Q_COUNT];
        char quoted[QUOTE_TEXT];
        size_t n = 0, at = 0;
        for (unsigned i = 0; i < Q_COUNT; i++) {
                if (known_by(r) >> i & 1) {
                        names[n++] = parameters[i].name;
                }
        }
        const char *near = nearest_name(names, n, name);
        quote_text(name, quoted);
        problem_set(p, PROBLEM_UNKNOWN_FIELD, "unknown query parameter \"%s\"%s%s%s%s", quoted,
                    near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "",
                    n ? "" : "; this route takes none");
        snprintf(p->field, sizeof p->field, "%s", quoted);
        for (size_t i = 0; i < n; i++) {
                at += (size_t)snprintf(p->allowed_text + at, sizeof p->allowed_text - at, "%s%s",
                                       i ? ", " : "", names[i]);
        }
        return ROUTE_REFUSED;
}

/* --- values ------------------------------------------------------------------------------ */

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

static bool take_time(struct str v, int64_t *ret_us)
{
        return rfc3339_parse(v, ret_us) && *ret_us > 0;
}

static bool take_flag(struct str v, bool *ret)
{
        *ret = str_eq(v, STR("true"));
        return *ret || str_eq(v, STR("false"));
}

bool error_class_parse(struct str text, enum error_class *ret)
{
        static const enum error_class all[] = {
#define X(number, name, text) ERROR_##name,
            ERROR_CLASSES(X)
#undef X
        };
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
                if (text.n && str_eq(text, str_of(error_class_name(all[i])))) {
                        *ret = all[i];
                        return true;
                }
        }
        return false;
}

bool fingerprint_parse(struct str text, uint64_t *ret)
{
        uint64_t v = 0;
        for (uint32_t i = 0; i < text.n && i < 17; i++) {
                char c = text.p[i], l = (char)(c | 0x20);
                bool digit = c >= '0' && c <= '9', letter = l >= 'a' && l <= 'f';
                if (!digit && !letter) {
                        return false;
                }
                v = v << 4 | (uint64_t)(digit ? c - '0' : l - 'a' + 10);
        }
        *ret = v;
        return text.n == 16 && v != 0;
}

static bool take_one(struct query *q, enum parameter i, struct str v)
{
        switch (i) {
        case Q_QUEUE: q->queue = v; return v.n >= 1 && v.n <= 255;
        case Q_STATE: return take_state(q, v);
        case Q_TYPE: q->type = v; return pattern_valid(v);
        case Q_TAG: q->tag = v; return v.n >= 1 && v.n <= TAG_MAX && !memchr(v.p, ',', v.n);
        case Q_ERROR: return error_class_parse(v, &q->error);
        case Q_FINGERPRINT: return fingerprint_parse(v, &q->fingerprint);
        case Q_SINCE: return rfc3339_parse(v, &q->since_us);
        case Q_BEFORE: return take_time(v, &q->before_us);
        case Q_ENDED_BEFORE: return take_time(v, &q->ended_before_us);
        case Q_LIMIT: return take_limit(q, v);
        case Q_WHOLE: return take_flag(v, &q->whole);
        case Q_AFTER: q->after = v; return v.n >= 1 && v.n <= NAME_PIECE_MAX;
        case Q_FORCE: return take_flag(v, &q->force);
        default: q->cursor = v; return v.n == CURSOR_TEXT - 1;
        }
}

int query_take(struct query *q, struct arena *a, enum route route, struct str name,
               struct str value, struct problem *ret_problem)
{
        struct str plain_name = name, plain = value;
        unsigned i = 0, known = known_by(route);
        if (!percent_decode(a, name, &plain_name) || !percent_decode(a, value, &plain)) {
                problem_set(ret_problem, PROBLEM_MALFORMED,
                            "the query is not percent-encoded text; write %%25 for %%, and no NUL");
                return ROUTE_REFUSED;
        }
        if (!plain_name.p || !plain.p) {
                return -ENOMEM;
        }
        while (i < Q_COUNT &&
               (!(known >> i & 1) || !str_eq(plain_name, str_of(parameters[i].name)))) {
                i++;
        }
        if (i == Q_COUNT) {
                return refuse_name(route, plain_name, ret_problem);
        }
        if (q->seen >> i & 1) {
                problem_set(ret_problem, PROBLEM_INVALID, "%s: given twice in the query; keep one",
                            parameters[i].name);
                snprintf(ret_problem->field, sizeof ret_problem->field, "%s", parameters[i].name);
                return ROUTE_REFUSED;
        }
        q->seen |= 1u << i;
        return take_one(q, (enum parameter)i, plain)
                   ? 0
                   : refuse_value((enum parameter)i, plain, ret_problem);
}

/* --- cursors ----------------------------------------------------------------------------- */

#define BYTES_OF(x) ((struct str){(const char *)&(x), sizeof(x)})

static uint32_t hash_filters(const struct query *q)
{
        uint32_t h = 2166136261u;
        const struct str parts[] = {q->type,
                                    q->queue,
                                    q->tag,
                                    BYTES_OF(q->state),
                                    BYTES_OF(q->error),
                                    BYTES_OF(q->fingerprint),
                                    BYTES_OF(q->since_us),
                                    BYTES_OF(q->before_us)};
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
        char since[RFC3339_TEXT] = "", before[RFC3339_TEXT] = "", fingerprint[20] = "";
        if (q->since_us) {
                rfc3339_text(q->since_us, since);
        }
        if (q->before_us) {
                rfc3339_text(q->before_us, before);
        }
        if (q->fingerprint) {
                snprintf(fingerprint, sizeof fingerprint, "%016llx",
                         (unsigned long long)q->fingerprint);
        }
        const struct {
                const char *name;
                struct str value;
        } texts[] = {{"state", str_of(q->state >= 0 ? state_name((enum job_state)q->state) : "")},
                     {"type", q->type},
                     {"queue", q->queue},
                     {"tag", q->tag},
                     {"error", str_of(error_class_name(q->error))},
                     {"fingerprint", str_of(fingerprint)},
                     {"since", str_of(since)},
                     {"before", str_of(before)},
                     {"whole", str_of(q->whole ? "true" : "")}};
        out_printf(o, "/v1/jobs?limit=%u", q->limit);
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                if (texts[i].value.n) {
                        out_printf(o, "&%s=", texts[i].name);
                        percent_encode(o, texts[i].value);
                }
        }
        out_printf(o, "&cursor=%s", cursor);
}
