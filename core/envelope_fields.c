/*
 * What each field of a letter says. One table: the header's name, what is allowed, who reads it. A
 * property stands in where its header is not there at all; a header that cannot be read is told,
 * and its property is not asked, so that a mistake shows instead of doing something else.
 *
 * An empty property counts as none: many clients cannot leave one out.
 */
#include "core/envelope_inner.h"

#include <stdio.h>

#include "core/pattern.h"
#include "core/rfc3339.h"

#define DAY_MS         INT64_C(86400000)
#define TIMEOUT_MAX_MS (30 * DAY_MS)
#define DELAY_MAX_MS   (3660 * DAY_MS)
#define HEARTBEAT_MIN  100
#define ATTEMPTS_MAX   1000
#define TAGS_MAX       32
#define TAG_MAX        64
#define TRACE_MAX      512
#define BAGGAGE_MAX    HEADERS_MAX

static void keep(struct opening *o, struct str s, struct str *ret)
{
        *ret = arena_str(o->arena, s);
        o->out_of_memory |= !ret->p;
}

static bool read_number(struct str s, int64_t max, int64_t *ret)
{
        int64_t n = 0;
        for (uint32_t i = 0; i < s.n; i++) {
                if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, s.p[i] - '0', &n) || n > max) {
                        return false;
                }
        }
        *ret = n;
        return s.n > 0;
}

/* --- those with a column ---------------------------------------------------------------------- */

static bool take_type(struct opening *o, struct str s)
{
        if (type_valid(s)) {
                keep(o, s, &o->row->type);
                return true;
        }
        return false;
}

static bool take_id(struct opening *o, struct str s)
{
        if (s.n < 1 || s.n > KEY_TEXT_MAX || text_has_nul(s)) {
                return false;
        }
        o->row->key = key_from_text(s);
        keep(o, s, &o->row->key_text);
        return true;
}

static bool take_priority(struct opening *o, struct str s)
{
        int64_t n;
        if (!read_number(s, PRIORITY_MAX, &n)) {
                return false;
        }
        o->row->priority = (uint8_t)n;
        return true;
}

static bool take_run_at(struct opening *o, struct str s)
{
        return rfc3339_parse(s, &o->row->at_us);
}

static bool take_delay(struct opening *o, struct str s)
{
        int64_t ms;
        if (!duration_parse(s, &ms) || ms > DELAY_MAX_MS) {
                return false;
        }
        o->row->after_us = ms * 1000;
        return true;
}

static bool take_deadline(struct opening *o, struct str s)
{
        return rfc3339_parse(s, &o->row->deadline_us) && o->row->deadline_us > 0;
}

static bool take_timeout(struct opening *o, struct str s)
{
        int64_t ms;
        if (!duration_parse(s, &ms) || ms < 1 || ms > TIMEOUT_MAX_MS) {
                return false;
        }
        o->row->timeout_ms = (uint32_t)ms;
        return true;
}

static bool take_max_attempts(struct opening *o, struct str s)
{
        int64_t n;
        if (!read_number(s, ATTEMPTS_MAX, &n) || n < 1) {
                return false;
        }
        o->row->max_attempts = (uint16_t)n;
        return true;
}

static bool tag_valid(struct str s)
{
        for (uint32_t i = 0; i < s.n; i++) {
                uint8_t c = (uint8_t)s.p[i];
                if (c <= 0x20 || c == 0x7f) {
                        return false;
                }
        }
        return s.n <= TAG_MAX;
}

/* The next part of a comma list, without the blanks around it. */
static struct str next_part(struct str *rest)
{
        const char *comma = memchr(rest->p, ',', rest->n);
        uint32_t n = comma ? (uint32_t)(comma - rest->p) : rest->n;
        struct str part = {rest->p, n};
        *rest = (struct str){rest->p + n + (comma != NULL), rest->n - n - (comma != NULL)};
        while (part.n && (part.p[0] == ' ' || part.p[0] == '\t')) {
                part = (struct str){part.p + 1, part.n - 1};
        }
        while (part.n && (part.p[part.n - 1] == ' ' || part.p[part.n - 1] == '\t')) {
                part.n--;
        }
        return part;
}

/* To ",a,b," with each tag once. */
static bool take_tags(struct opening *o, struct str s)
{
        char text[TAGS_MAX * (TAG_MAX + 1) + 1], wanted[TAG_MAX + 2];
        uint32_t n = 1, count = 0;
        text[0] = wanted[0] = ',';
        while (s.n) {
                struct str tag = next_part(&s);
                if (tag.n == 0) {
                        continue;
                }
                if (!tag_valid(tag)) {
                        return false;
                }
                memcpy(wanted + 1, tag.p, tag.n);
                wanted[tag.n + 1] = ',';
                if (memmem(text, n, wanted, tag.n + 2)) {
                        continue;
                }
                if (++count > TAGS_MAX) {
                        return false;
                }
                memcpy(text + n, wanted + 1, tag.n + 1);
                n += tag.n + 1;
        }
        if (count) {
                keep(o, (struct str){text, n}, &o->row->tags);
        }
        return true;
}

/* What is wrong with it is told by who reads it, word by word. */
static bool take_retry(struct opening *o, struct str s)
{
        struct retry_policy any = RETRY_POLICY_DEFAULT;
        char note[256], text[320];
        if (s.n == 0) {
                return false;
        }
        if (retry_parse(s, &any, note, sizeof note)) {
                snprintf(text, sizeof text, "job-retry: %s", note);
                opening_complain_text(o, text);
                return true;
        }
        keep(o, s, &o->row->policy);
        return true;
}

static bool take_heartbeat(struct opening *o, struct str s)
{
        int64_t ms;
        if (!duration_parse(s, &ms) || ms < HEARTBEAT_MIN || ms > TIMEOUT_MAX_MS) {
                return false;
        }
        o->row->heartbeat_ms = (uint32_t)ms;
        return true;
}

/* --- the wish to be unique -------------------------------------------------------------------- */

static bool take_unique_key(struct opening *o, struct str s)
{
        o->unique.key = s;
        return s.n >= 1 && s.n <= KEY_TEXT_MAX;
}

static bool take_unique_for(struct opening *o, struct str s)
{
        return duration_parse(s, &o->unique.for_ms) && o->unique.for_ms >= 1 &&
               o->unique.for_ms <= DELAY_MAX_MS;
}

static bool take_unique_scope(struct opening *o, struct str s)
{
        return unique_scope_parse(s, &o->unique.scope);
}

static bool take_unique_states(struct opening *o, struct str s)
{
        return unique_states_parse(s, &o->unique.states);
}

static bool take_unique_conflict(struct opening *o, struct str s)
{
        return unique_conflict_parse(s, &o->unique.conflict);
}

bool opening_unique(const struct opening *o)
{
        return o->known[KNOWN_UNIQUE_KEY] || (o->unique.scope & SCOPE_PAYLOAD);
}

/* --- those without a column: their form ------------------------------------------------------- */

static bool check_job_id(struct opening *o, struct str s)
{
        struct job_id id;
        (void)o;
        return id_parse(s, &id);
}

static bool printable(struct str s, uint32_t max)
{
        for (uint32_t i = 0; i < s.n; i++) {
                if (s.p[i] < 0x20 || s.p[i] > 0x7e) {
                        return false;
                }
        }
        return s.n <= max;
}

/* n lower-case hex digits from `at` on; `zero`: may they all be 0. */
static bool hex(struct str s, uint32_t at, uint32_t n, bool zero)
{
        for (uint32_t i = at; i < at + n; i++) {
                char c = s.p[i];
                if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
                        return false;
                }
                zero |= c != '0';
        }
        return zero;
}

/* W3C Trace Context, section 3.2: version, trace id, parent id, flags; later versions may add. */
static bool check_traceparent(struct opening *o, struct str s)
{
        (void)o;
        if (s.n < 55 || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-') {
                return false;
        }
        bool first = s.p[0] == '0' && s.p[1] == '0', never = s.p[0] == 'f' && s.p[1] == 'f';
        bool length = first ? s.n == 55 : s.n == 55 || s.p[55] == '-';
        return !never && length && hex(s, 0, 2, true) && hex(s, 3, 32, false) &&
               hex(s, 36, 16, false) && hex(s, 53, 2, true) && printable(s, TRACE_MAX);
}

static bool check_tracestate(struct opening *o, struct str s)
{
        (void)o;
        return printable(s, TRACE_MAX);
}

static bool check_baggage(struct opening *o, struct str s)
{
        (void)o;
        return printable(s, BAGGAGE_MAX);
}

/* --- the table -------------------------------------------------------------------------------- */

#define TYPE_ALLOWED                                                                               \
        "1 to 255 bytes: letters, digits, _ and - in words joined by dots, as in email.send"
#define TIME_ALLOWED     "an RFC 3339 time, as in 2031-05-04T13:00:00Z"
#define DURATION_ALLOWED ", as in 250ms, 30s, 5m, 2h or 7d"

static const struct known {
        const char *name; /* in lower case */
        const char *allowed;
        bool (*take)(struct opening *o, struct str value); /* NULL: any text without NUL */
} known_table[KNOWN_COUNT] = {
    [KNOWN_TYPE] = {"job-type", TYPE_ALLOWED, take_type},
    [KNOWN_ID] = {"job-id", "1 to 255 bytes", take_id},
    [KNOWN_PRIORITY] = {"job-priority", "an integer from 0 (last) to 9 (first)", take_priority},
    [KNOWN_RUN_AT] = {"job-run-at", TIME_ALLOWED, take_run_at},
    [KNOWN_DELAY] = {"job-delay", "a duration of at most 3660d" DURATION_ALLOWED, take_delay},
    [KNOWN_DEADLINE] = {"job-deadline", TIME_ALLOWED, take_deadline},
    [KNOWN_TIMEOUT] = {"job-timeout", "a duration from 1ms to 30d" DURATION_ALLOWED, take_timeout},
    [KNOWN_MAX_ATTEMPTS] = {"job-max-attempts",
                            "an integer from 1 to 1000, the first attempt included",
                            take_max_attempts},
    [KNOWN_TAGS] = {"job-tags",
                    "at most 32 tags joined by commas, of 1 to 64 bytes each, without blanks and "
                    "control characters",
                    take_tags},
    [KNOWN_RETRY] = {"job-retry", "a policy, as in exponential base=1s cap=10m attempts=5",
                     take_retry},
    [KNOWN_HEARTBEAT] = {"job-heartbeat", "a duration from 100ms to 30d" DURATION_ALLOWED,
                         take_heartbeat},
    [KNOWN_UNIQUE_KEY] = {"job-unique-key", "1 to 255 bytes", take_unique_key},
    [KNOWN_UNIQUE_FOR] = {"job-unique-for", "a duration from 1ms to 3660d" DURATION_ALLOWED,
                          take_unique_for},
    [KNOWN_UNIQUE_SCOPE] = {"job-unique-scope", UNIQUE_SCOPE_ALLOWED, take_unique_scope},
    [KNOWN_UNIQUE_STATES] = {"job-unique-states", UNIQUE_STATES_ALLOWED, take_unique_states},
    [KNOWN_UNIQUE_CONFLICT] = {"job-unique-conflict", UNIQUE_CONFLICT_ALLOWED,
                               take_unique_conflict},
    [KNOWN_REPLY_TO] = {"job-reply-to", "text without NUL", NULL},
    [KNOWN_TENANT] = {"job-tenant", "text without NUL", NULL},
    [KNOWN_PARENT_ID] = {"job-parent-id", "a job's id, of 36 characters", check_job_id},
    [KNOWN_TRACEPARENT] = {"traceparent", "what W3C Trace Context says", check_traceparent},
    [KNOWN_TRACESTATE] = {"tracestate", "at most 512 printable ASCII characters", check_tracestate},
    [KNOWN_BAGGAGE] = {"baggage", "at most 8192 printable ASCII characters", check_baggage},
    [KNOWN_BELL] = {BELL_HEADER, NULL, NULL},
    [KNOWN_SEQ] = {BELL_SEQ_HEADER, NULL, NULL},
};

enum known_header known_find(struct str name)
{
        char c = name.n ? (char)(name.p[0] | 0x20) : 0;
        if (c != 'j' && c != 't' && c != 'b' && c != 's') {
                return KNOWN_COUNT;
        }
        for (enum known_header k = 0; k < KNOWN_COUNT; k++) {
                if (name_equal(name, known_table[k].name)) {
                        return k;
                }
        }
        return KNOWN_COUNT;
}

/* --- properties and what belongs together ----------------------------------------------------- */

/* RabbitMQ's own rule: a decimal number of milliseconds. */
static void take_expiration(struct opening *o, struct str s)
{
        int64_t ms;
        if (read_number(s, DELAY_MAX_MS, &ms)) {
                o->row->deadline_us = o->wall_us + ms * 1000;
        } else {
                opening_complain(o, "expiration", s, "milliseconds, 3660 days at most");
        }
}

static void take_content_type(struct opening *o, struct str s)
{
        if (printable(s, 255)) {
                keep(o, s, &o->row->content_type);
        } else {
                opening_complain(o, "content_type", s, "at most 255 printable ASCII characters");
        }
}

static void take_address(struct opening *o)
{
        const struct envelope_defaults *d = o->defaults;
        bool address = o->in->address.n && !str_eq(o->in->address, d->queue);
        struct str s = address ? o->in->address : d->default_type;
        if (s.n == 0) {
                opening_complain_text(o, "no type; write the header job-type, or publish to a "
                                         "routing key that names the type");
        } else if (take_type(o, s)) {
                o->type_from_address = address;
        } else {
                opening_complain(o, address ? "the address as type" : "the queue's default_type", s,
                                 TYPE_ALLOWED);
        }
}

static void take_properties(struct opening *o)
{
        const struct envelope *in = o->in;
        if (!o->known[KNOWN_TYPE] && in->type.n == 0) {
                take_address(o);
        } else if (!o->known[KNOWN_TYPE] && !take_type(o, in->type)) {
                opening_complain(o, "type", in->type, TYPE_ALLOWED);
        }
        if (!o->known[KNOWN_ID] && in->message_id.n && !take_id(o, in->message_id)) {
                opening_complain(o, "message_id", in->message_id, known_table[KNOWN_ID].allowed);
        }
        if (!o->known[KNOWN_PRIORITY] && in->priority >= 0) {
                o->row->priority =
                    (uint8_t)(in->priority > PRIORITY_MAX ? PRIORITY_MAX : in->priority);
        }
        if (!o->known[KNOWN_DEADLINE] && in->expiration.n) {
                take_expiration(o, in->expiration);
        }
        if (in->content_type.n) {
                take_content_type(o, in->content_type);
        }
}

static void check_together(struct opening *o)
{
        struct submit_row *row = o->row;
        if (o->known[KNOWN_RUN_AT] && o->known[KNOWN_DELAY]) {
                opening_complain_text(o,
                                      "job-run-at and job-delay were both given; keep one of them");
        }
        if (row->at_us && o->known[KNOWN_DEADLINE] && row->deadline_us &&
            row->deadline_us <= row->at_us) {
                opening_complain_text(o, "job-deadline lies before job-run-at, so the job could "
                                         "never start");
        }
        for (enum known_header k = KNOWN_UNIQUE_FOR; k <= KNOWN_UNIQUE_CONFLICT; k++) {
                if (o->known[k] && !opening_unique(o)) {
                        char text[160];
                        snprintf(text, sizeof text,
                                 "%s was given without job-unique-key; write the key, or "
                                 "job-unique-scope with payload in it",
                                 known_table[k].name);
                        opening_complain_text(o, text);
                        break;
                }
        }
        if (row->type.n == 0) {
                row->type = STR(ENVELOPE_TYPE_UNKNOWN);
        }
}

void opening_read_fields(struct opening *o)
{
        for (enum known_header k = 0; k < KNOWN_BELL; k++) {
                const struct envelope_header *h = o->known[k];
                const struct known *known = &known_table[k];
                if (h && (text_has_nul(h->value) || (known->take && !known->take(o, h->value)))) {
                        opening_complain(o, known->name, h->value, known->allowed);
                }
        }
        take_properties(o);
        check_together(o);
}
