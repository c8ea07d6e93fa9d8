/*
 * The envelope around the fields: what is kept of headers and properties, limits, doorbells, the
 * fingerprint.
 */
#include "tests/unit/test-envelope.h"

/* --- those without a column ------------------------------------------------------------------- */

#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void test_kept_fields(void)
{
        static const struct {
                const char *name, *value;
                bool good;
        } cases[] = {
            {"job-unique-key", "k", true},
            {"job-unique-key", "", false},
            {"job-unique-scope", "payload", true},
            {"job-unique-for", "0", false},
            {"job-unique-for", "ever", false},
            {"job-reply-to", "answers", true},
            {"job-tenant", "acme", true},
            {"job-parent-id", UUID, true},
            {"job-parent-id", "7", false},
            {"traceparent", TRACE, true},
            {"traceparent",
             "01"
             "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
             true},
            {"traceparent", TRACE "-more", false},
            {"traceparent", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
            {"traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
            {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
            {"traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false},
            {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
            {"traceparent", "", false},
            {"tracestate", "a=1,b=2", true},
            {"tracestate", "a=\n", false},
            {"baggage", "user=7", true},
            {"baggage", "gr\xc3\xbcn", false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct arrival a = HEADERS(cases[i].name, cases[i].value);
                bool right = cases[i].good ? well(&a)
                                           : dead(&a, REASON_MALFORMED) && says(&a, cases[i].name);
                if (!right || !kept_is(&a, cases[i].name, cases[i].value)) {
                        printf("\n%s: %s\n", cases[i].name, cases[i].value);
                        CU_FAIL("a kept field");
                }
        }
}

static void test_properties_kept(void)
{
        struct envelope_header h[] = {{STR("reply-to"), STR("mine")}, {STR("X"), STR("1")}};
        struct envelope in = plain();
        in.type = STR("a.type");
        in.reply_to = STR("answers");
        in.correlation_id = STR("c-1");
        in.app_id = STR("shop");
        in.user_id = STR("guest");
        in.timestamp_s = NOW / 1000000;
        in.content_encoding = STR("gzip");
        in.content_type = STR("application/json");
        in.headers = h;
        in.n_headers = 2;
        struct arrival a = open_plain(&in);
        CU_ASSERT(well(&a) && text_is(a.row.content_type, "application/json"));
        static const char all[] = "reply-to\0answers\0correlation-id\0c-1\0app-id\0shop\0"
                                  "user-id\0guest\0timestamp\0"
                                  "2030-03-17T17:46:40.000000Z\0"
                                  "content-encoding\0gzip\0routing-key\0email.send\0x\0"
                                  "1";
        CU_ASSERT(str_eq(a.row.headers, (struct str){all, sizeof all}));
        in.timestamp_s = NOW / 1000; /* milliseconds, as some write */
        a = open_plain(&in);
        CU_ASSERT(kept_is(&a, "timestamp", "1900000000000"));
        in.content_type = STR("a\nb");
        a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "content_type: \"a?b\""));
}

/* --- names, duplicates, complaints ------------------------------------------------------------ */

static void test_names(void)
{
        struct arrival a =
            HEADERS("JOB-Priority", "8", "job-priority", "high", "Job-PRIORITY", "1");
        CU_ASSERT(well(&a) && a.row.priority == 8 && a.row.headers.n == 0);
        a = HEADERS("JOB-TAGS", "a", "AZ", "1", "az", "2");
        CU_ASSERT(well(&a) && text_is(a.row.tags, ",a,") && a.row.headers.n == 5);
        CU_ASSERT(kept_is(&a, "az", "1"));
        a = HEADERS("X-One", "1", "x-one", "2", "x-ONE", "3");
        CU_ASSERT(well(&a) && kept_is(&a, "x-one", "1") && a.row.headers.n == 8);
        a = HEADERS("job-prioritty", "8", "jobs", "1", "job-", "2", "traceparen", "3", "j", "4");
        CU_ASSERT(well(&a) && a.row.priority == 4 && kept_is(&a, "job-prioritty", "8"));
        CU_ASSERT(kept_is(&a, "jobs", "1") && kept_is(&a, "job-", "2") && kept_is(&a, "j", "4"));
}

static void test_complaints(void)
{
        struct arrival a =
            HEADERS("job-timeout", "x", "job-priority", "h\x01\xff!", "job-delay", "");
        CU_ASSERT(dead(&a, REASON_MALFORMED) && a.row.payload.n == 10);
        CU_ASSERT(says(&a, "job-priority: \"h\?\?!\" is not allowed; write an integer from 0"));
        CU_ASSERT(says(&a, "; job-delay: \"\" is not") && says(&a, "; job-timeout: \"x\" is not"));
        char bad[300];
        memset(bad, '!', 299);
        bad[299] = 0;
        a = HEADERS("job-type", bad, "job-id", bad, "job-priority", bad, "job-run-at", bad,
                    "job-delay", bad, "job-deadline", bad, "job-timeout", bad, "job-max-attempts",
                    bad, "job-tags", bad, "job-unique-key", bad);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && a.row.error_text.n == 1023);
        CU_ASSERT(strlen(a.row.error_text.p) == 1023);
}

static void test_nul(void)
{
        struct envelope_header h[] = {
            {STR("job-tenant"), STR("a\0b")},
            {STR("x-val"), STR("a\0b")},
            {STR("x\0n"), STR("v")},
            {STR("x-good"), STR("v")},
        };
        struct envelope in = plain();
        in.headers = h;
        in.n_headers = 4;
        struct arrival a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "job-tenant: \"a?b\""));
        CU_ASSERT(kept_is(&a, "skep-dropped-headers", "job-tenant, x-val, x?n"));
        CU_ASSERT(kept_is(&a, "x-good", "v") && !kept(&a, "x-val"));
        struct envelope_header second[] = {h[0], {STR("job-tenant"), STR("acme")}};
        in.headers = second;
        in.n_headers = 2;
        a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && !kept(&a, "job-tenant"));
        in.headers = h + 1;
        in.n_headers = 3;
        in.body = STR("a\0b");
        in.reply_to = STR("a\0b");
        a = open_plain(&in);
        CU_ASSERT(well(&a) && a.row.payload.n == 3);
        CU_ASSERT(kept_is(&a, "skep-dropped-headers", "reply-to, x-val, x?n"));
        in.message_id = STR("a\0b");
        a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "message_id"));
}

static void test_reserved(void)
{
        struct arrival a = HEADERS("skep-anything", "1", "User-Id", "root", "skep-seq", "7",
                                   "skep-dropped-headers", "none", "x", "y");
        CU_ASSERT(well(&a) && !kept(&a, "user-id") && kept_is(&a, "x", "y"));
        CU_ASSERT(kept_is(&a, "skep-dropped-headers",
                          "skep-anything, User-Id, skep-seq, skep-dropped-headers"));
        a = HEADERS("x-death", "1", "x-first-death-queue", "2", "x-delivery-count", "3",
                    "x-last-death-reason", "4", "x-deaths", "5");
        CU_ASSERT(well(&a) && kept_is(&a, "x-deaths", "5") && a.row.headers.n == 11);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_headers_fit(void)
{
        static char value[HEADERS_MAX];
        struct envelope_header h[] = {{STR("x-a"), {value, HEADERS_MAX - 5}}, {STR("y"), STR("1")}};
        struct envelope in = plain();
        memset(value, 'v', sizeof value);
        in.headers = h;
        in.n_headers = 1;
        struct arrival a = open_plain(&in);
        CU_ASSERT(well(&a) && a.row.headers.n == HEADERS_MAX);
        in.n_headers = 2;
        a = open_plain(&in);
        CU_ASSERT(well(&a) && !kept(&a, "x-a") && kept_is(&a, "y", "1"));
        CU_ASSERT(kept_is(&a, "skep-dropped-headers", "x-a"));
        h[0].value.n = HEADERS_MAX - 1;
        a = open_plain(&in);
        CU_ASSERT(kept_is(&a, "skep-dropped-headers", "x-a") && kept_is(&a, "y", "1"));
}

static void test_headers_many(void)
{
        static char names[2000][300];
        static struct envelope_header h[2000];
        struct envelope in = plain();
        in.headers = h;
        for (in.n_headers = 0; in.n_headers < 2000; in.n_headers++) {
                int n = sprintf(names[in.n_headers], "x-%u", in.n_headers);
                h[in.n_headers] =
                    (struct envelope_header){{names[in.n_headers], (uint32_t)n}, STR("v")};
        }
        h[1999] = (struct envelope_header){STR("job-priority"), STR("1")};
        struct arrival a = open_plain(&in);
        CU_ASSERT(well(&a) && a.row.priority == 1 && a.row.headers.n <= HEADERS_MAX);
        CU_ASSERT(kept_is(&a, "x-255", "v") && !kept(&a, "x-256"));
        const char *dropped = kept(&a, "skep-dropped-headers");
        CU_ASSERT(dropped && strncmp(dropped, "x-256, x-257, ", 14) == 0);
        CU_ASSERT(dropped && strstr(dropped, ", and ") && strstr(dropped, " more"));
        memset(names[0], 'n', 256);
        in.headers = h;
        in.n_headers = 1;
        h[0].name.n = 255;
        a = open_plain(&in);
        CU_ASSERT(a.row.headers.n == 258);
        h[0].name.n = 256;
        a = open_plain(&in);
        CU_ASSERT(strncmp(kept(&a, "skep-dropped-headers"), "nnn", 3) == 0);
        h[0].name.n = 0;
        a = open_plain(&in);
        CU_ASSERT(kept_is(&a, "skep-dropped-headers", "1 more"));
}

static void test_too_large(void)
{
        static char body[1001];
        struct envelope_header h = {STR("job-priority"), STR("high")};
        struct envelope in = plain();
        in.body = (struct str){body, 1000};
        struct arrival a = open_plain(&in);
        CU_ASSERT(well(&a) && a.row.payload.n == 1000);
        in.body.n = 1001;
        a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_TOO_LARGE) && a.row.payload.n == 0);
        CU_ASSERT(says(&a, "payload: 1001 bytes are more than the limit of 1000"));
        in.body = (struct str){NULL, 0};
        in.too_large = true;
        in.body_size = UINT64_C(5000000000);
        in.message_id = STR("order-1");
        in.headers = &h;
        in.n_headers = 1;
        a = open_plain(&in);
        CU_ASSERT(dead(&a, REASON_TOO_LARGE) && a.row.payload.n == 0 && !a.row.key.set);
        CU_ASSERT(says(&a, "5000000000 bytes") && says(&a, "job-priority") && a.fingerprint);
        CU_ASSERT(text_is(a.row.type, "email.send") && text_is(a.row.key_text, "order-1"));
}

/* --- doorbells -------------------------------------------------------------------------------- */

static void test_bells(void)
{
        static const struct {
                const char *bell, *seq, *body;
                enum arrival_kind kind; /* LETTER: malformed */
                int64_t number;
        } cases[] = {
            {UUID, "42", "", ARRIVAL_DOORBELL, 42},
            {"mark", "9223372036854775807", "", ARRIVAL_MARK, INT64_MAX},
            {"mark", "0", "", ARRIVAL_MARK, 0},
            {UUID, "42", "a job", ARRIVAL_LETTER, 0},
            {UUID, NULL, "", ARRIVAL_LETTER, 0},
            {UUID, "", "", ARRIVAL_LETTER, 0},
            {UUID, "-1", "", ARRIVAL_LETTER, 0},
            {UUID, "9223372036854775808", "", ARRIVAL_LETTER, 0},
            {UUID, "4x", "", ARRIVAL_LETTER, 0},
            {"Mark", "1", "", ARRIVAL_LETTER, 0},
            {"", "1", "", ARRIVAL_LETTER, 0},
            {"7", "1", "", ARRIVAL_LETTER, 0},
            {"00000000-0000-0000-0000-000000000000", "1", "", ARRIVAL_LETTER, 0},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct envelope_header h[] = {{STR("Skep-Bell"), str_of(cases[i].bell)},
                                              {STR("skep-SEQ"), str_of(cases[i].seq)}};
                struct envelope in = {.address = STR("email"), .priority = -1, .redelivered = true};
                struct job_id id = {{0}};
                in.body = str_of(cases[i].body);
                in.headers = h;
                in.n_headers = cases[i].seq ? 2 : 1;
                if (cases[i].kind == ARRIVAL_DOORBELL) {
                        id_parse(STR(UUID), &id);
                }
                struct arrival a = open_plain(&in);
                CU_ASSERT(a.kind == cases[i].kind && a.seq == cases[i].number && a.redelivered);
                CU_ASSERT(job_id_eq(&a.row.id, &id));
                if (a.kind == ARRIVAL_LETTER) {
                        CU_ASSERT(dead(&a, REASON_MALFORMED) && says(&a, "skep-bell"));
                        CU_ASSERT(text_is(a.row.payload, cases[i].body) && a.fingerprint);
                        CU_ASSERT(kept(&a, "skep-dropped-headers") && !kept(&a, "skep-bell"));
                } else {
                        CU_ASSERT(a.fingerprint == 0);
                }
        }
}

/* --- the fingerprint -------------------------------------------------------------------------- */

/* Each field changes it, and no two of these letters are alike. */
static void test_fingerprint(void)
{
        struct envelope_header one[] = {{STR("a"), STR("b")}}, other[] = {{STR("ab"), STR("")}},
                               two[] = {{STR("a"), STR("b")}, {STR("c"), STR("d")}};
        struct envelope e[20];
        size_t n = 0;
        for (size_t i = 0; i < ARRAY_LEN(e); i++) {
                e[i] = plain();
        }
        e[++n].body = STR("{\"to\":\"y\"}");
        e[++n].body = STR("{\"to\":\"x\"}\0");
        e[++n].body = STR("");
        e[++n].address = STR("email.sent");
        e[++n].type = STR("t");
        e[++n].content_type = STR("t");
        e[++n].content_encoding = STR("t");
        e[++n].reply_to = STR("t");
        e[++n].correlation_id = STR("t");
        e[++n].app_id = STR("t");
        e[++n].user_id = STR("t");
        e[++n].expiration = STR("7");
        e[++n].priority = 0;
        e[++n].timestamp_s = 1;
        e[++n].body_size = 1;
        e[++n].headers = one, e[n].n_headers = 1;
        e[++n].headers = other, e[n].n_headers = 1;
        e[++n].headers = two, e[n].n_headers = 2;
        uint64_t prints[ARRAY_LEN(e)];
        for (size_t i = 0; i <= n; i++) {
                prints[i] = open_plain(&e[i]).fingerprint;
                CU_ASSERT(prints[i] != 0 && prints[i] == open_plain(&e[i]).fingerprint);
                for (size_t k = 0; k < i; k++) {
                        CU_ASSERT(prints[i] != prints[k]);
                }
        }
}

/* What a broker does to a message that it delivers again: it counts, and may sort the headers. */
static void test_fingerprint_redelivered(void)
{
        struct envelope_header first[] = {{STR("b"), STR("2")}, {STR("a"), STR("1")}};
        struct envelope_header again[] = {
            {STR("a"), STR("1")}, {STR("b"), STR("2")}, {STR("x-delivery-count"), STR("1")}};
        struct envelope_header swapped[] = {{STR("a"), STR("2")}, {STR("b"), STR("1")}};
        struct envelope in = plain();
        in.headers = first;
        in.n_headers = 2;
        uint64_t print = open_plain(&in).fingerprint;
        in.headers = swapped;
        CU_ASSERT(print != open_plain(&in).fingerprint);
        in.headers = again;
        in.n_headers = 3;
        in.redelivered = true;
        CU_ASSERT(print == open_plain(&in).fingerprint);
}

UNIT_TESTS = {
    {"fields without a column are checked and kept", test_kept_fields},
    {"properties without a column are kept", test_properties_kept},
    {"names in any case, the first wins, the unknown are kept", test_names},
    {"all that is malformed is told", test_complaints},
    {"NUL is refused in what is known, dropped in the rest", test_nul},
    {"reserved names, the broker's own headers", test_reserved},
    {"headers up to 8 KiB", test_headers_fit},
    {"headers up to 256", test_headers_many},
    {"a payload over the limit", test_too_large},
    {"doorbells, marks, and what only looks like them", test_bells},
    {"the fingerprint tells letters apart", test_fingerprint},
    {"the fingerprint stays at a redelivery", test_fingerprint_redelivered},
};
UNIT_MAIN("envelope-kept")
