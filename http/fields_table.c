/*
 * The fields themselves. A field that is not in the table does not exist; openapi.json describes
 * the same list, and a test compares the two.
 */
#include "http/fields_table.h"

#include <errno.h>
#include <stdio.h>

#include "core/pattern.h"
#include "core/rfc3339.h"
#include "http/base64.h"

#define TIMEOUT_MAX_MS   (INT64_C(30) * 86400000)
#define DELAY_MAX_MS     (INT64_C(3660) * 86400000)
#define HEARTBEAT_MIN_MS 100
#define ADDRESS_MAX      255 /* bytes of reply_to, correlation_id */

static int take_type(struct taking *t, const struct field *f, struct str v)
{
        return type_valid(v) ? object_keep(t, v, &job_of(t)->row.type) : field_refuse(t, f);
}

static int take_queue(struct taking *t, const struct field *f, struct str v)
{
        if (config_queue_named(&t->settings->config, v) >= 0) {
                return object_keep(t, v, &job_of(t)->row.queue);
        }
        char quoted[QUOTE_TEXT];
        field_refuse_text(
            t, f,
            "queue: %s is not configured; configured: %s. Leave the field out to choose by type",
            quote_text(t->raw, quoted), t->settings->queue_names);
        snprintf(t->problem->allowed_text, sizeof t->problem->allowed_text, "%s",
                 t->settings->queue_names);
        return OBJECT_REFUSED;
}

static int take_key(struct taking *t, const struct field *f, struct str v)
{
        if (v.n < 1 || v.n > KEY_TEXT_MAX) {
                return field_refuse(t, f);
        }
        job_of(t)->row.key = key_from_text(v);
        return object_keep(t, v, &job_of(t)->row.key_text);
}

static int take_priority(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) > PRIORITY_MAX) {
                return field_refuse(t, f);
        }
        job_of(t)->row.priority = (uint8_t)json_integer_value(v);
        return 0;
}

static int take_max_attempts(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 1000) {
                return field_refuse(t, f);
        }
        job_of(t)->row.max_attempts = (uint16_t)json_integer_value(v);
        return 0;
}

static int take_run_at(struct taking *t, const struct field *f, struct str v)
{
        return rfc3339_parse(v, &job_of(t)->run_at_us) ? 0 : field_refuse(t, f);
}

static int take_deadline(struct taking *t, const struct field *f, struct str v)
{
        return rfc3339_parse(v, &job_of(t)->row.deadline_us) && job_of(t)->row.deadline_us > 0
                   ? 0
                   : field_refuse(t, f);
}

static int take_delay(struct taking *t, const struct field *f, struct str v)
{
        int64_t *ms = &job_of(t)->delay_ms;
        bool fits = duration_parse(v, ms) && *ms >= 0 && *ms <= DELAY_MAX_MS;
        return fits ? 0 : field_refuse(t, f);
}

static int take_timeout(struct taking *t, const struct field *f, struct str v)
{
        int64_t ms;
        if (!duration_parse(v, &ms) || ms < 1 || ms > TIMEOUT_MAX_MS) {
                return field_refuse(t, f);
        }
        job_of(t)->row.timeout_ms = (uint32_t)ms;
        return 0;
}

static int take_heartbeat(struct taking *t, const struct field *f, struct str v)
{
        int64_t ms;
        if (!duration_parse(v, &ms) || ms < HEARTBEAT_MIN_MS || ms > TIMEOUT_MAX_MS) {
                return field_refuse(t, f);
        }
        job_of(t)->row.heartbeat_ms = (uint32_t)ms;
        return 0;
}

static bool tag_valid(struct str s)
{
        for (uint32_t i = 0; i < s.n; i++) {
                uint8_t c = (uint8_t)s.p[i];
                if (c <= 0x20 || c == 0x7f || c == ',') {
                        return false;
                }
        }
        return s.n >= 1 && s.n <= TAG_MAX;
}

/* To ",a,b," with each tag once. */
static int take_tags(struct taking *t, const struct field *f, json_t *v)
{
        char text[TAGS_MAX * (TAG_MAX + 1) + 2] = ",";
        uint32_t n = 1;
        if (json_array_size(v) > TAGS_MAX) {
                return field_refuse(t, f);
        }
        for (size_t i = 0; i < json_array_size(v); i++) {
                json_t *tag = json_array_get(v, i);
                if (!json_is_string(tag) || !tag_valid(json_str(tag))) {
                        return field_refuse(t, f);
                }
                char wanted[TAG_MAX + 3];
                int k = snprintf(wanted, sizeof wanted, ",%s,", json_string_value(tag));
                if (!memmem(text, n, wanted, (size_t)k)) {
                        memcpy(text + n, wanted + 1, (size_t)k - 1);
                        n += (uint32_t)k - 1;
                }
        }
        return n == 1 ? 0 : object_keep(t, (struct str){text, n}, &job_of(t)->row.tags);
}

static bool header_name_valid(struct str s)
{
        for (uint32_t i = 0; i < s.n; i++) {
                char c = s.p[i];
                bool alnum =
                    (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                if (c == 0 || (!alnum && !strchr("!#$%&'*+-.^_`|~", c))) {
                        return false;
                }
        }
        return s.n >= 1 && s.n <= 255;
}

static bool header_there(const char *p, uint32_t n, const char *name, size_t name_n)
{
        for (uint32_t i = 0; i < n;) {
                size_t k = strlen(p + i);
                if (k == name_n && memcmp(p + i, name, k) == 0) {
                        return true;
                }
                i += (uint32_t)k + 1;
                i += (uint32_t)strlen(p + i) + 1;
        }
        return false;
}

/* To name NUL value NUL ..., names in lower case. */
static int take_headers(struct taking *t, const struct field *f, json_t *v)
{
        char text[HEADERS_MAX];
        uint32_t n = 0;
        const char *key;
        json_t *value;
        json_object_foreach(v, key, value)
        {
                size_t k = strlen(key), m = json_is_string(value) ? json_string_length(value) : 0;
                if (!json_is_string(value) || !header_name_valid(str_of(key)) ||
                    n + k + m + 2 > sizeof text) {
                        return field_refuse(t, f);
                }
                char name[256];
                for (size_t i = 0; i <= k; i++) {
                        name[i] = (char)(key[i] >= 'A' && key[i] <= 'Z' ? key[i] | 0x20 : key[i]);
                }
                if (header_there(text, n, name, k)) {
                        return field_refuse_text(t, f,
                                                 "headers: \"%s\" is given twice; names are the "
                                                 "same in upper and lower case",
                                                 name);
                }
                memcpy(text + n, name, k + 1);
                memcpy(text + n + k + 1, json_string_value(value), m + 1);
                n += (uint32_t)(k + m + 2);
        }
        return n == 0 ? 0 : object_keep(t, (struct str){text, n}, &job_of(t)->row.headers);
}

static int take_content_type(struct taking *t, const struct field *f, struct str v)
{
        const char *slash = memchr(v.p, '/', v.n);
        bool fits = slash && slash > v.p && slash < v.p + v.n - 1 && v.n <= 255;
        for (uint32_t i = 0; fits && i < v.n; i++) {
                fits = v.p[i] >= 0x20 && v.p[i] < 0x7f;
        }
        return fits ? object_keep(t, v, &job_of(t)->row.content_type) : field_refuse(t, f);
}

/* 1 to ADDRESS_MAX bytes without control characters. */
static int take_address(struct taking *t, const struct field *f, struct str v)
{
        struct job_taking *j = job_of(t);
        bool fits = v.n >= 1 && v.n <= ADDRESS_MAX;
        for (uint32_t i = 0; fits && i < v.n; i++) {
                fits = (uint8_t)v.p[i] >= 0x20 && v.p[i] != 0x7f;
        }
        bool reply = f == &fields_table[F_REPLY_TO];
        return fits ? object_keep(t, v, reply ? &j->reply_to : &j->correlation_id)
                    : field_refuse(t, f);
}

static int take_parent(struct taking *t, const struct field *f, struct str v)
{
        struct job_id id;
        return id_parse(v, &id) ? object_keep(t, v, &job_of(t)->parent_id) : field_refuse(t, f);
}

static int refuse_large(struct taking *t, const struct field *f, size_t bytes)
{
        problem_set(t->problem, PROBLEM_TOO_LARGE,
                    "%s%s: %zu bytes are more than the limit of %u; keep large data elsewhere and "
                    "send a reference, or raise payload_max in the configuration",
                    t->prefix, f->name, bytes, t->settings->config.payload_max);
        snprintf(t->problem->field, sizeof t->problem->field, "%s%s", t->prefix, f->name);
        t->problem->allowed = f->allowed;
        return OBJECT_REFUSED;
}

static int take_payload(struct taking *t, const struct field *f, const struct json_item *item)
{
        if (item->value.n > t->settings->config.payload_max) {
                return refuse_large(t, f, item->value.n);
        }
        return object_keep(t, item->value, &job_of(t)->row.payload);
}

static int take_base64(struct taking *t, const struct field *f, const struct json_item *item)
{
        t->raw = item->value;
        if (item->value.n < 2 || item->value.p[0] != '"') {
                return field_refuse(t, f);
        }
        struct str text = {item->value.p + 1, item->value.n - 2};
        char *room = arena_alloc(t->arena, text.n + 1u);
        if (!room) {
                return -ENOMEM;
        }
        text = (struct str){room, json_unescape(text, room)};
        if (text.n / 4 * 3 > (uint64_t)t->settings->config.payload_max + 2) {
                return refuse_large(t, f, text.n / 4 * 3);
        }
        uint32_t n = 0;
        if (!base64_decode(text, room, &n)) {
                return field_refuse(t, f);
        }
        if (n > t->settings->config.payload_max) {
                return refuse_large(t, f, n);
        }
        job_of(t)->row.payload = (struct str){room, n};
        return 0;
}

#define NAMES_ALLOWED "letters, digits and !#$%&'*+-.^_`|~"

const struct field fields_table[] = {
    [F_TYPE] = {"type", FIELD_STRING, FIELD_SHORT,
                "a string of 1 to 255 bytes: letters, digits, _ and - in words joined by dots, as "
                "in \"email.send\"",
                .take_text = take_type},
    [F_QUEUE] = {"queue", FIELD_STRING, FIELD_SHORT, "the name of a configured queue, as a string",
                 .take_text = take_queue},
    [F_KEY] = {"key", FIELD_STRING, FIELD_SHORT, "a string of 1 to 255 bytes",
               .take_text = take_key},
    [F_PRIORITY] = {"priority", FIELD_INTEGER, FIELD_SHORT, "an integer from 0 (last) to 9 (first)",
                    take_priority, NULL},
    [F_RUN_AT] = {"run_at", FIELD_STRING, FIELD_SHORT, TIME_TEXT, .take_text = take_run_at},
    [F_DELAY] = {"delay", FIELD_STRING, FIELD_SHORT,
                 "a duration of at most 3660d, as in " DURATIONS, .take_text = take_delay},
    [F_DEADLINE] = {"deadline", FIELD_STRING, FIELD_SHORT, TIME_TEXT, .take_text = take_deadline},
    [F_TIMEOUT] = {"timeout", FIELD_STRING, FIELD_SHORT,
                   "a duration from 1ms to 30d, as in " DURATIONS, .take_text = take_timeout},
    [F_HEARTBEAT] = {"heartbeat", FIELD_STRING, FIELD_SHORT,
                     "a duration from 100ms to 30d, as in " DURATIONS, .take_text = take_heartbeat},
    [F_MAX_ATTEMPTS] = {"max_attempts", FIELD_INTEGER, FIELD_SHORT,
                        "an integer from 1 to 1000, the first attempt included", take_max_attempts,
                        NULL},
    [F_RETRY] = {"retry", FIELD_ANY, FIELD_SHORT,
                 "a text as in \"exponential base=1s cap=10m jitter=0.2 attempts=5 for=2h\" or "
                 "\"table=1s,10s,2m\", or an object of backoff, base, cap, jitter, attempts, for, "
                 "table",
                 NULL, field_retry},
    [F_TAGS] = {"tags", FIELD_ARRAY, 16384,
                "an array of at most 32 strings of 1 to 64 bytes each, without commas, spaces and "
                "control characters",
                take_tags, NULL},
    [F_HEADERS] = {"headers", FIELD_OBJECT, 8 * HEADERS_MAX,
                   "an object of strings, at most 8 KiB in all; names are " NAMES_ALLOWED,
                   take_headers, NULL},
    [F_PAYLOAD] = {"payload", FIELD_ANY, FIELD_LARGE, "any JSON value", NULL, take_payload, true},
    [F_PAYLOAD_BASE64] = {"payload_base64", FIELD_STRING, FIELD_LARGE,
                          "a string of base64 (RFC 4648 section 4, padded)", NULL, take_base64},
    [F_CONTENT_TYPE] = {"content_type", FIELD_STRING, FIELD_SHORT,
                        "a media type as a string, as in \"image/png\"",
                        .take_text = take_content_type},
    [F_UNIQUE_KEY] = {"unique_key", FIELD_STRING, FIELD_SHORT,
                      "a string of at most 255 bytes; an empty one with \"payload\" in "
                      "unique_scope",
                      field_unique, NULL},
    [F_UNIQUE_SCOPE] = {"unique_scope", FIELD_ANY, FIELD_SHORT,
                        UNIQUE_SCOPE_ALLOWED "; or an array of them", field_unique, NULL},
    [F_UNIQUE_STATES] = {"unique_states", FIELD_ANY, FIELD_SHORT,
                         UNIQUE_STATES_ALLOWED "; or an array of states", field_unique, NULL},
    [F_UNIQUE_FOR] = {"unique_for", FIELD_STRING, FIELD_SHORT,
                      "a duration from 1ms to 3660d, as in " DURATIONS, field_unique, NULL},
    [F_UNIQUE_CONFLICT] = {"unique_conflict", FIELD_STRING, FIELD_SHORT, UNIQUE_CONFLICT_ALLOWED,
                           field_unique, NULL},
    [F_REPLY_TO] = {"reply_to", FIELD_STRING, FIELD_SHORT,
                    "an address of the queue's transport (AMQP: a queue's name, NATS: a subject), "
                    "1 to 255 bytes without control characters",
                    .take_text = take_address},
    [F_CORRELATION_ID] = {"correlation_id", FIELD_STRING, FIELD_SHORT,
                          "a string of 1 to 255 bytes without control characters",
                          .take_text = take_address},
    [F_PARENT_ID] = {"parent_id", FIELD_STRING, FIELD_SHORT,
                     "a job's id, a UUID in its form of 36 characters", .take_text = take_parent},
    {0},
};
