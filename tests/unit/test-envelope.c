/*
 * The envelope's fields: every row of its table; which of header, property and default wins; what
 * is malformed.
 */
#include "tests/unit/test-envelope.h"

#include <inttypes.h>

/* --- a complete job without anything ---------------------------------------------------------- */

static void test_bare(void)
{
        struct envelope in = plain();
        struct arrival a = open_plain(&in);
        static const struct job_id none;
        CU_ASSERT(well(&a) && !a.redelivered && !a.start && a.ref == 0);
        CU_ASSERT(job_id_eq(&a.row.id, &none) && !a.row.key.set && a.row.key_text.n == 0);
        CU_ASSERT(text_is(a.row.queue, "email") && text_is(a.row.type, "email.send"));
        CU_ASSERT(a.row.priority == 4 && a.row.max_attempts == 0 && a.row.timeout_ms == 0);
        CU_ASSERT(a.row.policy.n == 0 && a.row.heartbeat_ms == 0 && !a.row.unique.set);
        CU_ASSERT(a.row.at_us == 0 && a.row.after_us == 0 && a.row.deadline_us == 0);
        CU_ASSERT(text_is(a.row.content_type, "application/octet-stream"));
        CU_ASSERT(a.row.headers.n == 0 && a.row.tags.n == 0);
        CU_ASSERT(text_is(a.row.payload, "{\"to\":\"x\"}") && a.row.payload.p != in.body.p);
        CU_ASSERT(a.fingerprint != 0);
}

static void test_redelivered(void)
{
        struct envelope in = plain();
        in.redelivered = true;
        struct arrival a = open_plain(&in);
        CU_ASSERT(well(&a) && a.redelivered);
}

static void test_empty_body(void)
{
        struct envelope in = plain();
        in.body = (struct str){NULL, 0};
        struct arrival a = open_plain(&in);
        CU_ASSERT(well(&a) && a.row.payload.n == 0 && a.fingerprint != 0);
}

/* Texts outlive the message. */
static void test_copies(void)
{
        char queue[] = "qq", type[] = "a.b", body[] = "bytes", id[] = "id-1", name[] = "X-Kept",
             value[] = "v", tags[] = "t";
        struct envelope_header h[] = {{str_of(name), str_of(value)},
                                      {STR("job-tags"), str_of(tags)}};
        struct envelope in = {.address = str_of(type),
                              .body = str_of(body),
                              .message_id = str_of(id),
                              .content_type = str_of(type),
                              .headers = h,
                              .n_headers = 2,
                              .priority = -1};
        struct envelope_defaults d = defaults;
        d.queue = str_of(queue);
        struct arrival a = open_with(&in, &d);
        char *const all[] = {queue, type, body, id, name, value, tags};
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
                memset(all[i], '#', strlen(all[i]));
        }
        CU_ASSERT(text_is(a.row.queue, "qq") && text_is(a.row.type, "a.b"));
        CU_ASSERT(text_is(a.row.payload, "bytes") && text_is(a.row.key_text, "id-1"));
        CU_ASSERT(text_is(a.row.content_type, "a.b") && text_is(a.row.tags, ",t,"));
        CU_ASSERT(kept_is(&a, "x-kept", "v"));
}

/* --- type ------------------------------------------------------------------------------------- */

static void test_type(void)
{
        static const struct {
                const char *header, *property, *address, *fallback;
                const char *type; /* NULL: malformed */
                const char *routing_key;
        } cases[] = {
            {"a.header", "a.property", "an.address", "a.default", "a.header", "an.address"},
            {NULL, "a.property", "an.address", "a.default", "a.property", "an.address"},
            {NULL, "", "an.address", "a.default", "an.address", NULL},
            {NULL, NULL, "an.address", "a.default", "an.address", NULL},
            {NULL, NULL, "email", "a.default", "a.default", "email"},
            {NULL, NULL, "", "a.default", "a.default", NULL},
            {NULL, NULL, NULL, "a.default", "a.default", NULL},
            {NULL, NULL, "email", "", NULL, "email"},
            {NULL, NULL, NULL, NULL, NULL, NULL},
            {"", "a.property", "an.address", "a.default", NULL, "an.address"},
            {"no good", "a.property", "an.address", "a.default", NULL, "an.address"},
            {"a..b", NULL, "an.address", "a.default", NULL, "an.address"},
            {"a.*", NULL, "an.address", "a.default", NULL, "an.address"},
            {NULL, "a.", "an.address", "a.default", NULL, "an.address"},
            {NULL, NULL, "an address", "a.default", NULL, "an address"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct envelope_header h = {STR("job-type"), str_of(cases[i].header)};
                struct envelope in = plain();
                struct envelope_defaults d = defaults;
                in.headers = &h;
                in.n_headers = cases[i].header != NULL;
                in.type = str_of(cases[i].property);
                in.address = str_of(cases[i].address);
                d.default_type = str_of(cases[i].fallback);
                struct arrival a = open_with(&in, &d);
                bool right = cases[i].type ? well(&a) && text_is(a.row.type, cases[i].type)
                                           : dead(&a, REASON_MALFORMED) &&
                                                 text_is(a.row.type, ENVELOPE_TYPE_UNKNOWN) &&
                                                 text_is(a.row.payload, "{\"to\":\"x\"}");
                right &= cases[i].routing_key ? kept_is(&a, "routing-key", cases[i].routing_key)
                                              : !kept(&a, "routing-key");
                if (!right) {
                        printf("\ntype %zu: %.*s, %.*s\n", i, (int)a.row.type.n, a.row.type.p,
                               (int)a.row.error_text.n, a.row.error_text.p);
                        CU_FAIL("a type");
                }
        }
}

static void test_type_length(void)
{
        char type[257];
        memset(type, 'x', 256);
        type[255] = 0;
        struct arrival a = HEADERS("job-type", type);
        CU_ASSERT(well(&a) && a.row.type.n == 255);
        memcpy(type + 255, "x", 2);
        a = HEADERS("job-type", type);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "job-type: \"xxx") && says(&a, "..."));
        struct envelope in = plain();
        in.address = STR("email");
        struct envelope_defaults d = defaults;
        d.default_type = STR("");
        a = open_with(&in, &d);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "no type"));
}

/* --- id --------------------------------------------------------------------------------------- */

static bool key_is(const struct arrival *a, const char *text)
{
        struct job_key k = key_from_text(str_of(text));
        return a->row.key.set && memcmp(k.b, a->row.key.b, 16) == 0 &&
               text_is(a->row.key_text, text) && a->fingerprint == 0;
}

static void test_id(void)
{
        char text[257];
        struct envelope in = plain();
        struct arrival a = HEADERS("job-id", UUID);
        CU_ASSERT(well(&a) && key_is(&a, UUID));
        in.message_id = STR("order-1");
        a = open_plain(&in);
        CU_ASSERT(well(&a) && key_is(&a, "order-1"));
        struct envelope_header h = {STR("JOB-ID"), STR("order-2")};
        in.headers = &h;
        in.n_headers = 1;
        a = open_plain(&in);
        CU_ASSERT(well(&a) && key_is(&a, "order-2"));
        in.n_headers = 0;
        in.message_id = STR("");
        a = open_plain(&in);
        CU_ASSERT(well(&a) && !a.row.key.set && a.fingerprint);
        memset(text, 'k', 256);
        text[255] = text[256] = 0;
        a = HEADERS("job-id", text);
        CU_ASSERT(well(&a) && key_is(&a, text));
        text[255] = 'k';
        a = HEADERS("job-id", text);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && !a.row.key.set && a.fingerprint);
        in.message_id = str_of(text);
        a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "message_id"));
        a = HEADERS("job-id", "");
        CU_ASSERT(dead(&a, REASON_MALFORMED));
}

/* A letter that is mended and sent again under its id must become a job. */
static void test_dead_letters_keep_no_key(void)
{
        struct arrival a = HEADERS("job-id", "order-1", "job-priority", "high");
        CU_ASSERT(dead(&a, REASON_MALFORMED) && !a.row.key.set && a.fingerprint);
        CU_ASSERT(text_is(a.row.key_text, "order-1"));
        a = HEADERS("job-id", "order-1", "job-deadline", PAST);
        CU_ASSERT(dead(&a, REASON_EXPIRED) && key_is(&a, "order-1"));
}

static bool named_by(const struct arrival *a, const struct job_key *origin, const char *text)
{
        return a->row.key.set && memcmp(a->row.key.b, origin->b, 16) == 0 && a->fingerprint == 0 &&
               text_is(a->row.key_text, text);
}

/* The broker's own name of a message is the key of what has no id that counts. */
static void test_origin(void)
{
        char long_id[257];
        memset(long_id, 'k', 256);
        long_id[256] = 0;
        const struct {
                const char *id, *message_id, *header, *value;
                const char *text; /* shown */
                enum job_reason reason;
                bool own; /* its id is its key */
        } cases[] = {
            {NULL, NULL, NULL, NULL, "", REASON_NONE, false},
            {NULL, "", NULL, NULL, "", REASON_NONE, false},
            {"order-1", NULL, NULL, NULL, "order-1", REASON_NONE, true},
            {NULL, "order-1", NULL, NULL, "order-1", REASON_NONE, true},
            {NULL, NULL, "job-priority", "high", "", REASON_MALFORMED, false},
            {"order-1", NULL, "job-priority", "high", "order-1", REASON_MALFORMED, false},
            {NULL, "order-1", "job-priority", "high", "order-1", REASON_MALFORMED, false},
            {"", NULL, NULL, NULL, "", REASON_MALFORMED, false},
            {long_id, "order-1", NULL, NULL, "", REASON_MALFORMED, false},
            {NULL, long_id, NULL, NULL, "", REASON_MALFORMED, false},
            {NULL, NULL, "skep-bell", "mark", "", REASON_MALFORMED, false}, /* with a body */
            {NULL, NULL, "job-deadline", PAST, "", REASON_EXPIRED, false},
            {"order-1", NULL, "job-deadline", PAST, "order-1", REASON_EXPIRED, true},
        };
        struct job_key origin = {.set = true, .b = "0123456789abcde"};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct envelope_header h[2];
                struct envelope in = plain();
                in.headers = h;
                if (cases[i].id) {
                        h[in.n_headers++] =
                            (struct envelope_header){STR("job-id"), str_of(cases[i].id)};
                }
                if (cases[i].header) {
                        h[in.n_headers++] = (struct envelope_header){str_of(cases[i].header),
                                                                     str_of(cases[i].value)};
                }
                in.message_id = str_of(cases[i].message_id);
                in.origin = origin;
                struct arrival a = open_plain(&in);
                bool right = cases[i].reason ? dead(&a, cases[i].reason) : well(&a);
                right &=
                    cases[i].own ? key_is(&a, cases[i].text) : named_by(&a, &origin, cases[i].text);
                if (!right) {
                        printf("\norigin %zu\n", i);
                        CU_FAIL("a key");
                }
        }
}

static void test_origin_of_the_too_large(void)
{
        struct envelope in = plain();
        in.origin = (struct job_key){.set = true, .b = "0123456789abcde"};
        in.message_id = STR("order-1");
        in.too_large = true;
        struct arrival a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_TOO_LARGE) && named_by(&a, &in.origin, "order-1"));
        in.origin.set = false;
        a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_TOO_LARGE) && !a.row.key.set && a.fingerprint);
}

/* --- numbers, times --------------------------------------------------------------------------- */

static void test_priority(void)
{
        static const struct {
                const char *header;
                int property, priority; /* -1: malformed */
        } cases[] = {
            {NULL, -1, 4},  {NULL, 0, 0},    {NULL, 9, 9},
            {NULL, 10, 9},  {NULL, 255, 9},  {"0", 7, 0},
            {"9", -1, 9},   {"10", -1, -1},  {"-1", 3, -1},
            {"", 3, -1},    {"high", 3, -1}, {"5.0", -1, -1},
            {" 5", -1, -1}, {"05", -1, 5},   {"99999999999999999999", 1, -1},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct envelope_header h = {STR("job-priority"), str_of(cases[i].header)};
                struct envelope in = plain();
                in.headers = &h;
                in.n_headers = cases[i].header != NULL;
                in.priority = cases[i].property;
                struct arrival a = open_plain(&in);
                if (cases[i].priority < 0 ? !dead(&a, REASON_MALFORMED)
                                          : !well(&a) || a.row.priority != cases[i].priority) {
                        printf("\npriority %zu: %u\n", i, a.row.priority);
                        CU_FAIL("a priority");
                }
        }
}

/* Headers of one value each: the state that it brings, and a number to look at. */
static void test_values(void)
{
        enum { AT, AFTER, DEADLINE, TIMEOUT, ATTEMPTS, HEARTBEAT, NOTHING };
        static const struct {
                const char *name, *value;
                enum job_state state;
                int look;
                int64_t number;
        } cases[] = {
            {"job-run-at", LATE, STATE_SCHEDULED, AT, LATE_US},
            {"job-run-at", "2031-05-04T15:00:00.000001+02:00", STATE_SCHEDULED, AT, LATE_US + 1},
            {"job-run-at", PAST, STATE_PENDING, AT, 0},
            {"job-run-at", "2030-03-17T17:46:40Z", STATE_PENDING, AT, 0},
            {"job-run-at", "tomorrow", STATE_DEAD, NOTHING, 0},
            {"job-run-at", "2031-05-04 13:00:00", STATE_DEAD, NOTHING, 0},
            {"job-run-at", "", STATE_DEAD, NOTHING, 0},
            {"job-delay", "30s", STATE_SCHEDULED, AFTER, 30000000},
            {"job-delay", "3660d", STATE_SCHEDULED, AFTER, INT64_C(3660) * 86400 * 1000000},
            {"job-delay", "0", STATE_PENDING, AFTER, 0},
            {"job-delay", "3661d", STATE_DEAD, NOTHING, 0},
            {"job-delay", "30", STATE_DEAD, NOTHING, 0},
            {"job-delay", "-30s", STATE_DEAD, NOTHING, 0},
            {"job-deadline", LATE, STATE_PENDING, DEADLINE, LATE_US},
            {"job-deadline", PAST, STATE_DEAD, DEADLINE, INT64_C(1577836800000000)},
            {"job-deadline", "1970-01-01T00:00:00Z", STATE_DEAD, NOTHING, 0},
            {"job-deadline", "soon", STATE_DEAD, DEADLINE, 0},
            {"job-timeout", "1ms", STATE_PENDING, TIMEOUT, 1},
            {"job-timeout", "30d", STATE_PENDING, TIMEOUT, INT64_C(2592000000)},
            {"job-timeout", "0", STATE_DEAD, NOTHING, 0},
            {"job-timeout", "31d", STATE_DEAD, NOTHING, 0},
            {"job-timeout", "1.5s", STATE_DEAD, NOTHING, 0},
            {"job-max-attempts", "1", STATE_PENDING, ATTEMPTS, 1},
            {"job-max-attempts", "1000", STATE_PENDING, ATTEMPTS, 1000},
            {"job-max-attempts", "0", STATE_DEAD, NOTHING, 0},
            {"job-max-attempts", "1001", STATE_DEAD, NOTHING, 0},
            {"job-max-attempts", "many", STATE_DEAD, NOTHING, 0},
            {"job-heartbeat", "100ms", STATE_PENDING, HEARTBEAT, 100},
            {"job-heartbeat", "30d", STATE_PENDING, HEARTBEAT, INT64_C(2592000000)},
            {"job-heartbeat", "99ms", STATE_DEAD, NOTHING, 0},
            {"job-heartbeat", "31d", STATE_DEAD, NOTHING, 0},
            {"job-heartbeat", "", STATE_DEAD, NOTHING, 0},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct arrival a = HEADERS(cases[i].name, cases[i].value);
                const int64_t seen[] = {a.row.at_us,
                                        a.row.after_us,
                                        a.row.deadline_us,
                                        a.row.timeout_ms,
                                        a.row.max_attempts,
                                        a.row.heartbeat_ms,
                                        0};
                if (a.row.state != cases[i].state || seen[cases[i].look] != cases[i].number ||
                    (a.row.state == STATE_DEAD) != (a.row.error_text.n > 0)) {
                        printf("\n%s: %s: %s %lld\n", cases[i].name, cases[i].value,
                               state_name(a.row.state), (long long)seen[cases[i].look]);
                        CU_FAIL("a value");
                }
        }
}

/* --- retries and uniqueness ------------------------------------------------------------------- */

static void test_retry(void)
{
        struct arrival a = HEADERS("Job-Retry", "fixed base=5s attempts=9");
        CU_ASSERT(well(&a) && text_is(a.row.policy, "fixed base=5s attempts=9"));
        CU_ASSERT(a.row.max_attempts == 0 && a.row.headers.n == 0);
        a = HEADERS("job-retry", "fixed base=5");
        CU_ASSERT(dead(&a, REASON_MALFORMED) && a.row.policy.n == 0);
        CU_ASSERT(says(&a, "job-retry: at byte 7: \"base=5\" is not allowed; write base= and"));
        a = HEADERS("job-retry", "");
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "job-retry: \"\" is not allowed"));
}

static struct unique_key key_of(const struct unique_wish *wish)
{
        struct unique_key k;
        unique_key_of(wish, STR("email.send"), STR("email"), STR("{\"to\":\"x\"}"), &k);
        return k;
}

static bool wishes(const struct arrival *a, struct unique_wish wish)
{
        struct unique_key k = key_of(&wish);
        return well(a) && a->row.unique.set && memcmp(a->row.unique.hash, k.hash, 16) == 0 &&
               a->row.unique.states == k.states && a->row.unique.replace == k.replace &&
               a->row.unique.for_us == k.for_us;
}

static void test_unique(void)
{
        struct arrival a = HEADERS("job-unique-key", "k");
        CU_ASSERT(wishes(&a, (struct unique_wish){.key = STR("k")}));
        CU_ASSERT(kept_is(&a, "job-unique-key", "k"));
        a = HEADERS("job-unique-key", "k", "job-unique-for", "1h", "job-unique-scope", "type",
                    "job-unique-states", "running", "job-unique-conflict", "replace");
        CU_ASSERT(wishes(&a, (struct unique_wish){.key = STR("k"),
                                                  .for_ms = 3600000,
                                                  .scope = SCOPE_TYPE,
                                                  .states = 1u << STATE_RUNNING,
                                                  .conflict = UNIQUE_REPLACE}));
        a = HEADERS("job-unique-scope", "payload,queue");
        CU_ASSERT(wishes(&a, (struct unique_wish){.scope = SCOPE_PAYLOAD | SCOPE_QUEUE}));
}

static void test_unique_refused(void)
{
        static const char *const cases[][2] = {
            {"job-unique-for", "0"},        {"job-unique-for", "3661d"},
            {"job-unique-scope", "tenant"}, {"job-unique-scope", ""},
            {"job-unique-states", "open"},  {"job-unique-conflict", "drop"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct arrival a = HEADERS("job-unique-key", "k", cases[i][0], cases[i][1]);
                CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, cases[i][0]) && says(&a, "write"));
                CU_ASSERT(!a.row.unique.set); /* a dead letter holds no key */
        }
        struct arrival a = HEADERS("job-unique-for", "1h", "job-unique-conflict", "keep");
        CU_ASSERT(dead(&a, REASON_MALFORMED) &&
                  says(&a, "job-unique-for was given without job-unique-key"));
        a = HEADERS("job-unique-key", "k", "job-deadline", PAST);
        CU_ASSERT(dead(&a, REASON_EXPIRED) && !a.row.unique.set);
}

static void test_times_together(void)
{
        struct arrival a = HEADERS("job-run-at", LATE, "job-delay", "30s");
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "keep one"));
        a = HEADERS("job-run-at", LATE, "job-deadline", LATE);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "never start"));
        a = HEADERS("job-run-at", LATE, "job-deadline", "2031-05-04T13:00:01Z");
        CU_ASSERT(a.row.state == STATE_SCHEDULED && a.row.deadline_us == LATE_US + 1000000);
        a = HEADERS("job-delay", "30s", "job-deadline", LATE);
        CU_ASSERT(a.row.state == STATE_SCHEDULED && a.row.after_us == 30000000);
        a = HEADERS("job-delay", "30s", "job-deadline", PAST);
        CU_ASSERT(dead(&a, REASON_EXPIRED) && a.row.after_us == 0 && a.row.payload.n);
}

static void test_expiration(void)
{
        static const struct {
                const char *expiration, *header;
                enum job_state state;
                int64_t deadline_us;
        } cases[] = {
            {"60000", NULL, STATE_PENDING, NOW + 60000000},
            {"0", NULL, STATE_DEAD, NOW},
            {"60000", LATE, STATE_PENDING, LATE_US},
            {"soon", LATE, STATE_PENDING, LATE_US},
            {"soon", NULL, STATE_DEAD, 0},
            {"-1", NULL, STATE_DEAD, 0},
            {"99999999999999999999", NULL, STATE_DEAD, 0},
            {"", NULL, STATE_PENDING, 0},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct envelope_header h = {STR("job-deadline"), str_of(cases[i].header)};
                struct envelope in = plain();
                in.headers = &h;
                in.n_headers = cases[i].header != NULL;
                in.expiration = str_of(cases[i].expiration);
                struct arrival a = open_plain(&in);
                CU_ASSERT(a.row.state == cases[i].state);
                CU_ASSERT(a.row.deadline_us == cases[i].deadline_us);
        }
}

/* --- tags ------------------------------------------------------------------------------------- */

static void test_tags(void)
{
        static const struct {
                const char *value, *tags; /* NULL: malformed */
        } cases[] = {
            {"a", ",a,"},
            {"a,b", ",a,b,"},
            {" a , b\t", ",a,b,"},
            {"a,,b,", ",a,b,"},
            {"", ""},
            {" , ", ""},
            {"a,a,ab,a", ",a,ab,"},
            {"a b", NULL},
            {"a,\x01", NULL},
            {"gr\xc3\xbcn", ",gr\xc3\xbcn,"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct arrival a = HEADERS("job-tags", cases[i].value);
                CU_ASSERT(cases[i].tags ? well(&a) && text_is(a.row.tags, cases[i].tags)
                                        : dead(&a, REASON_MALFORMED));
        }
        char many[33 * 66] = "", *at = many;
        for (int i = 0; i < 33; i++) {
                at += sprintf(at, "%064d,", i);
                struct arrival a = HEADERS("job-tags", many);
                CU_ASSERT(i < 32 ? well(&a) && a.row.tags.n == (uint32_t)(at - many) + 1
                                 : dead(&a, REASON_MALFORMED));
        }
        char longer[66];
        memset(longer, 't', 65);
        longer[65] = 0;
        struct arrival a = HEADERS("job-tags", longer);
        CU_ASSERT(dead(&a, REASON_MALFORMED));
}

UNIT_TESTS = {
    {"a letter without any header is a complete job", test_bare},
    {"a redelivered letter says so", test_redelivered},
    {"an empty body is a payload", test_empty_body},
    {"texts outlive the message", test_copies},
    {"type: header, property, address, default", test_type},
    {"type: its length; none at all", test_type_length},
    {"id: header, property, length", test_id},
    {"id: a letter that cannot be read leaves it free", test_dead_letters_keep_no_key},
    {"id: the broker's own name where there is none", test_origin},
    {"id: the broker's own name of a letter that is too large", test_origin_of_the_too_large},
    {"priority: header, property, default", test_priority},
    {"times, time-out, attempts", test_values},
    {"times that do not go together", test_times_together},
    {"retry", test_retry},
    {"unique keys", test_unique},
    {"unique keys that cannot be read", test_unique_refused},
    {"deadline: header, expiration", test_expiration},
    {"tags", test_tags},
};
UNIT_MAIN("envelope")
