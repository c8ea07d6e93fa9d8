/*
 * The fields themselves. A field that is not in the table does not exist; openapi.json describes
 * the same list, and a test compares the two.
 */
#include "http/fields_table.h"

#include <errno.h>
#include <stdio.h>

#include "core/pattern.h"
#include "http/base64.h"
#include "core/rfc3339.h"

#define TIMEOUT_MAX_MS (INT64_C(30) * 86400000)
#define DELAY_MAX_MS   (INT64_C(3660) * 86400000)

enum field_index {
        F_TYPE,
        F_QUEUE,
        F_KEY,
        F_PRIORITY,
        F_RUN_AT,
        F_DELAY,
        F_DEADLINE,
        F_TIMEOUT,
        F_MAX_ATTEMPTS,
        F_TAGS,
        F_HEADERS,
        F_PAYLOAD,
        F_PAYLOAD_BASE64,
        F_CONTENT_TYPE,
        F_UNIQUE_KEY,
        F_UNIQUE_FOR,
};

static bool has(const struct taking *t, enum field_index i)
{
        return t->seen >> i & 1;
}

static void name_field(struct taking *t, const struct field *f)
{
        snprintf(t->problem->field, sizeof t->problem->field, "%s", f->name);
        if (!t->problem->allowed_text[0]) {
                t->problem->allowed = f->allowed;
        }
}

int field_refuse(struct taking *t, const struct field *f)
{
        char quoted[QUOTE_TEXT];
        problem_set(t->problem, PROBLEM_INVALID, "%s: %s is not allowed; write %s", f->name,
                    quote_text(t->raw, quoted), f->allowed);
        name_field(t, f);
        return FIELDS_REFUSED;
}

static struct str text_of(const json_t *v)
{
        return (struct str){json_string_value(v), (uint32_t)json_string_length(v)};
}

static int keep(struct taking *t, struct str s, struct str *ret)
{
        struct str kept = arena_str(t->arena, s);
        if (!kept.p) {
                return -ENOMEM;
        }
        *ret = kept;
        return 0;
}

static int take_type(struct taking *t, const struct field *f, json_t *v)
{
        return type_valid(text_of(v)) ? keep(t, text_of(v), &t->row.type) : field_refuse(t, f);
}

static int take_queue(struct taking *t, const struct field *f, json_t *v)
{
        if (config_queue_named(&t->settings->config, text_of(v)) >= 0) {
                return keep(t, text_of(v), &t->row.queue);
        }
        char quoted[QUOTE_TEXT];
        problem_set(
            t->problem, PROBLEM_INVALID,
            "queue: %s is not configured; configured: %s. Leave the field out to choose by type",
            quote_text(t->raw, quoted), t->settings->queue_names);
        snprintf(t->problem->allowed_text, sizeof t->problem->allowed_text, "%s",
                 t->settings->queue_names);
        name_field(t, f);
        return FIELDS_REFUSED;
}

static int take_key(struct taking *t, const struct field *f, json_t *v)
{
        struct str text = text_of(v);
        if (text.n < 1 || text.n > KEY_TEXT_MAX) {
                return field_refuse(t, f);
        }
        t->row.key = key_from_text(text);
        return keep(t, text, &t->row.key_text);
}

static int take_priority(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) > PRIORITY_MAX) {
                return field_refuse(t, f);
        }
        t->row.priority = (uint8_t)json_integer_value(v);
        return 0;
}

static int take_max_attempts(struct taking *t, const struct field *f, json_t *v)
{
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 1000) {
                return field_refuse(t, f);
        }
        t->row.max_attempts = (uint16_t)json_integer_value(v);
        return 0;
}

static int take_run_at(struct taking *t, const struct field *f, json_t *v)
{
        return rfc3339_parse(text_of(v), &t->run_at_us) ? 0 : field_refuse(t, f);
}

static int take_deadline(struct taking *t, const struct field *f, json_t *v)
{
        return rfc3339_parse(text_of(v), &t->row.deadline_us) && t->row.deadline_us > 0
                   ? 0
                   : field_refuse(t, f);
}

static int take_delay(struct taking *t, const struct field *f, json_t *v)
{
        bool fits = duration_parse(text_of(v), &t->delay_ms) && t->delay_ms >= 0 &&
                    t->delay_ms <= DELAY_MAX_MS;
        return fits ? 0 : field_refuse(t, f);
}

static int take_timeout(struct taking *t, const struct field *f, json_t *v)
{
        int64_t ms;
        if (!duration_parse(text_of(v), &ms) || ms < 1 || ms > TIMEOUT_MAX_MS) {
                return field_refuse(t, f);
        }
        t->row.timeout_ms = (uint32_t)ms;
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
                if (!json_is_string(tag) || !tag_valid(text_of(tag))) {
                        return field_refuse(t, f);
                }
                char wanted[TAG_MAX + 3];
                int k = snprintf(wanted, sizeof wanted, ",%s,", json_string_value(tag));
                if (!memmem(text, n, wanted, (size_t)k)) {
                        memcpy(text + n, wanted + 1, (size_t)k - 1);
                        n += (uint32_t)k - 1;
                }
        }
        return n == 1 ? 0 : keep(t, (struct str){text, n}, &t->row.tags);
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
                        problem_set(t->problem, PROBLEM_INVALID,
                                    "headers: \"%s\" is given twice; names are the same in upper "
                                    "and lower case",
                                    name);
                        name_field(t, f);
                        return FIELDS_REFUSED;
                }
                memcpy(text + n, name, k + 1);
                memcpy(text + n + k + 1, json_string_value(value), m + 1);
                n += (uint32_t)(k + m + 2);
        }
        return n == 0 ? 0 : keep(t, (struct str){text, n}, &t->row.headers);
}

static int take_content_type(struct taking *t, const struct field *f, json_t *v)
{
        struct str s = text_of(v);
        const char *slash = memchr(s.p, '/', s.n);
        bool fits = slash && slash > s.p && slash < s.p + s.n - 1 && s.n <= 255;
        for (uint32_t i = 0; fits && i < s.n; i++) {
                fits = s.p[i] >= 0x20 && s.p[i] < 0x7f;
        }
        return fits ? keep(t, s, &t->row.content_type) : field_refuse(t, f);
}

static int refuse_unsupported(struct taking *t, const struct field *f, const struct json_item *item)
{
        (void)item;
        problem_set(t->problem, PROBLEM_UNSUPPORTED,
                    "%s: known, but this version does not support unique jobs yet; leave it out. "
                    "To make repeating "
                    "a submission safe use \"key\"",
                    f->name);
        name_field(t, f);
        return FIELDS_REFUSED;
}

static int refuse_large(struct taking *t, const struct field *f, size_t bytes)
{
        problem_set(t->problem, PROBLEM_TOO_LARGE,
                    "%s: %zu bytes are more than the limit of %u; keep large data elsewhere and "
                    "send a reference, or "
                    "raise payload_max in the configuration",
                    f->name, bytes, t->settings->config.payload_max);
        name_field(t, f);
        return FIELDS_REFUSED;
}

int field_payload(struct taking *t, const struct field *f, const struct json_item *item)
{
        if (item->value.n > t->settings->config.payload_max) {
                return refuse_large(t, f, item->value.n);
        }
        return keep(t, item->value, &t->row.payload);
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
        t->row.payload = (struct str){room, n};
        return 0;
}

#define DURATIONS "\"250ms\", \"30s\", \"5m\", \"2h\" or \"7d\""
#define SHORT     4096u
#define ANY_SIZE  UINT32_MAX

const struct field fields_table[] = {
    [F_TYPE] = {"type", FIELD_STRING, SHORT,
                "a string of 1 to 255 bytes: letters, digits, _ and - in words joined by dots, as "
                "in \"email.send\"",
                take_type, NULL},
    [F_QUEUE] = {"queue", FIELD_STRING, SHORT, "the name of a configured queue, as a string",
                 take_queue, NULL},
    [F_KEY] = {"key", FIELD_STRING, SHORT, "a string of 1 to 255 bytes", take_key, NULL},
    [F_PRIORITY] = {"priority", FIELD_INTEGER, SHORT, "an integer from 0 (last) to 9 (first)",
                    take_priority, NULL},
    [F_RUN_AT] = {"run_at", FIELD_STRING, SHORT, "an RFC 3339 time, as in \"2031-05-04T13:00:00Z\"",
                  take_run_at, NULL},
    [F_DELAY] = {"delay", FIELD_STRING, SHORT, "a duration of at most 3660d, as in " DURATIONS,
                 take_delay, NULL},
    [F_DEADLINE] = {"deadline", FIELD_STRING, SHORT,
                    "an RFC 3339 time, as in \"2031-05-04T13:00:00Z\"", take_deadline, NULL},
    [F_TIMEOUT] = {"timeout", FIELD_STRING, SHORT, "a duration from 1ms to 30d, as in " DURATIONS,
                   take_timeout, NULL},
    [F_MAX_ATTEMPTS] = {"max_attempts", FIELD_INTEGER, SHORT,
                        "an integer from 1 to 1000, the first attempt included", take_max_attempts,
                        NULL},
    [F_TAGS] = {"tags", FIELD_ARRAY, 16384,
                "an array of at most 32 strings of 1 to 64 bytes each, without commas, spaces and "
                "control characters",
                take_tags, NULL},
    [F_HEADERS] = {"headers", FIELD_OBJECT, 8 * HEADERS_MAX,
                   "an object of strings, at most 8 KiB in all; names are letters, digits and "
                   "!#$%&'*+-.^_`|~",
                   take_headers, NULL},
    [F_PAYLOAD] = {"payload", FIELD_ANY, ANY_SIZE, "any JSON value", NULL, field_payload},
    [F_PAYLOAD_BASE64] = {"payload_base64", FIELD_STRING, ANY_SIZE,
                          "a string of base64 (RFC 4648 section 4, padded)", NULL, take_base64},
    [F_CONTENT_TYPE] = {"content_type", FIELD_STRING, SHORT,
                        "a media type as a string, as in \"image/png\"", take_content_type, NULL},
    [F_UNIQUE_KEY] = {"unique_key", FIELD_ANY, ANY_SIZE, "nothing yet", NULL, refuse_unsupported},
    [F_UNIQUE_FOR] = {"unique_for", FIELD_ANY, ANY_SIZE, "nothing yet", NULL, refuse_unsupported},
    {0},
};

static int refuse_pair(struct taking *t, enum field_index i, const char *text)
{
        problem_set(t->problem, PROBLEM_INVALID, "%s", text);
        snprintf(t->problem->field, sizeof t->problem->field, "%s", fields_table[i].name);
        return FIELDS_REFUSED;
}

static int finish_queue(struct taking *t)
{
        const struct config *c = &t->settings->config;
        int i = has(t, F_QUEUE) ? config_queue_named(c, t->row.queue)
                                : config_queue_for(c, t->row.type);
        if (i < 0) {
                problem_set(t->problem, PROBLEM_INVALID,
                            "queue: none was given, none is configured for the type \"%.*s\", and "
                            "there is no queue "
                            "\"default\"; configured: %s",
                            (int)t->row.type.n, t->row.type.p, t->settings->queue_names);
                snprintf(t->problem->allowed_text, sizeof t->problem->allowed_text, "%s",
                         t->settings->queue_names);
                name_field(t, &fields_table[F_QUEUE]);
                return FIELDS_REFUSED;
        }
        const struct queue_config *q = &c->queues[i];
        if (!has(t, F_PRIORITY)) {
                t->row.priority = (uint8_t)q->priority;
        }
        if (!has(t, F_MAX_ATTEMPTS)) {
                t->row.max_attempts = q->retry.max_attempts;
        }
        return has(t, F_QUEUE) ? 0 : keep(t, q->name, &t->row.queue);
}

static int finish_times(struct taking *t)
{
        if (has(t, F_DELAY) && has(t, F_RUN_AT)) {
                return refuse_pair(t, F_DELAY,
                                   "delay and run_at were both given; keep one of them");
        }
        t->row.state = STATE_PENDING;
        t->row.band = BAND_OFFERED;
        if (t->delay_ms > 0) {
                t->row.state = STATE_SCHEDULED;
                t->row.after_us = t->delay_ms * 1000;
        } else if (has(t, F_RUN_AT) && t->run_at_us > t->now_us) {
                t->row.state = STATE_SCHEDULED;
                t->row.at_us = t->run_at_us;
        }
        if (has(t, F_DEADLINE) && has(t, F_RUN_AT) && t->row.deadline_us <= t->run_at_us) {
                return refuse_pair(t, F_DEADLINE,
                                   "deadline lies before run_at, so the job could never start; "
                                   "write a later deadline or an earlier run_at");
        }
        return 0;
}

static int finish_payload(struct taking *t)
{
        if (has(t, F_PAYLOAD) && has(t, F_PAYLOAD_BASE64)) {
                return refuse_pair(t, F_PAYLOAD_BASE64,
                                   "payload and payload_base64 were both given; keep one of them");
        }
        if (has(t, F_PAYLOAD) && has(t, F_CONTENT_TYPE) && !json_media_type(t->row.content_type)) {
                return refuse_pair(
                    t, F_CONTENT_TYPE,
                    "content_type: payload is always JSON; send other content as payload_base64");
        }
        if (!has(t, F_CONTENT_TYPE)) {
                t->row.content_type = has(t, F_PAYLOAD_BASE64) ? STR("application/octet-stream")
                                                               : STR("application/json");
        }
        if (!has(t, F_PAYLOAD) && !has(t, F_PAYLOAD_BASE64)) {
                t->row.payload = STR("");
                t->row.content_type =
                    has(t, F_CONTENT_TYPE) ? t->row.content_type : STR("application/octet-stream");
        }
        return 0;
}

int fields_finish(struct taking *t)
{
        if (!has(t, F_TYPE)) {
                problem_set(t->problem, PROBLEM_INVALID, "type: missing; write %s",
                            fields_table[F_TYPE].allowed);
                name_field(t, &fields_table[F_TYPE]);
                return FIELDS_REFUSED;
        }
        int r = finish_times(t);
        if (r == 0) {
                r = finish_payload(t);
        }
        return r ? r : finish_queue(t);
}
