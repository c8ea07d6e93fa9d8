/*
 * Letters: each once, in order, with all that stands on its envelope.
 */
#include "tests/conformance/transport_bed.h"

static void arrive_once_in_order(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 100);
        CU_ASSERT_FATAL(bed_came(bed, 100));
        bed_check(bed, 0, 0, 100);
        for (uint32_t i = 0; i < bed->n; i++) {
                const struct arrival *a = bed->came[i].arrival;
                CU_ASSERT(!a->redelivered && bed_same(a, a));
                CU_ASSERT(i == 0 || !bed_same(a, bed->came[i - 1].arrival));
        }
        bed_settle_all(bed);
        bed_pass(bed, 1000);
        CU_ASSERT(bed->n == 100 && fixture->ready(bed->store, bed_queue(bed, Q)) == 0);
        bed_free(bed);
}

/* One letter through the broker; the arrival stays valid until the bed goes. */
static const struct arrival *through(struct bed *bed, const struct envelope *letter)
{
        uint32_t n = bed->n;
        bed_publish(bed, letter, 1);
        CU_ASSERT_FATAL(bed_came(bed, n + 1));
        bed_settle_all(bed);
        return bed->came[n].arrival;
}

static void bring_their_headers(void)
{
        struct envelope_header h[] = {
            {STR("Job-Priority"), STR("8")},     {STR("job-id"), STR("order-1")},
            {STR("job-max-attempts"), STR("7")}, {STR("job-timeout"), STR("30s")},
            {STR("job-tags"), STR("a,b")},       {STR("X-Mine"), STR("kept \xff as it is")},
        };
        struct bed *bed = bed_serving();
        struct envelope e = bed_letter("mail.send", "body");
        e.headers = h;
        e.n_headers = ARRAY_LEN(h);
        const struct arrival *a = through(bed, &e);
        CU_ASSERT(a->kind == ARRIVAL_LETTER && a->row.state == STATE_PENDING);
        CU_ASSERT(a->row.priority == 8 && a->row.max_attempts == 7 && a->row.timeout_ms == 30000);
        CU_ASSERT(a->row.key.set && str_eq(a->row.key_text, STR("order-1")) && !a->fingerprint);
        CU_ASSERT(str_eq(a->row.tags, STR(",a,b,")) && str_eq(a->row.payload, STR("body")));
        CU_ASSERT(bed_header(a, "x-mine", "kept \xff as it is"));
        CU_ASSERT(bed_header(a, "routing-key", NULL) && bed_header(a, "job-priority", NULL));
        h[0].name = STR("job-type");
        h[0].value = STR("mail.other");
        a = through(bed, &e);
        CU_ASSERT(str_eq(a->row.type, STR("mail.other")));
        CU_ASSERT(bed_header(a, "routing-key", "mail.send"));
        bed_free(bed);
}

static void bring_their_properties(void)
{
        struct bed *bed = bed_serving();
        struct envelope e = bed_letter("mail.send", "body");
        e.type = STR("mail.typed");
        e.message_id = STR("order-2");
        e.content_type = STR("text/plain");
        e.content_encoding = STR("gzip");
        e.reply_to = STR("answers");
        e.correlation_id = STR("c-1");
        e.app_id = STR("shop");
        e.expiration = STR("3600000");
        e.priority = 200;
        e.timestamp_s = 1900000000;
        const struct arrival *a = through(bed, &e);
        CU_ASSERT(a->row.state == STATE_PENDING && str_eq(a->row.type, STR("mail.typed")));
        CU_ASSERT(a->row.key.set && str_eq(a->row.key_text, STR("order-2")));
        CU_ASSERT(str_eq(a->row.content_type, STR("text/plain")) && a->row.priority == 9);
        CU_ASSERT(a->row.deadline_us > 0);
        CU_ASSERT(bed_header(a, "content-encoding", "gzip") && bed_header(a, "app-id", "shop"));
        CU_ASSERT(bed_header(a, "reply-to", "answers") && bed_header(a, "correlation-id", "c-1"));
        CU_ASSERT(bed_header(a, "timestamp", "2030-03-17T17:46:40.000000Z"));
        CU_ASSERT(bed_header(a, "routing-key", "mail.send"));
        bed_free(bed);
}

static void straight_into_the_queue(void)
{
        struct bed *bed = bed_serving();
        struct envelope e = bed_letter("", "body");
        CU_ASSERT_FATAL(fixture->publish(bed->store, bed_queue(bed, Q), &e, 1));
        CU_ASSERT_FATAL(bed_came(bed, 1));
        CU_ASSERT(str_eq(bed->came[0].arrival->row.type, STR("mail.default")));
        CU_ASSERT(str_eq(bed->came[0].arrival->row.payload, STR("body")));
        bed_settle_all(bed);
        bed_free(bed);
}

static void malformed_ones_arrive_dead(void)
{
        struct envelope_header h[] = {{STR("job-priority"), STR("high")}};
        struct bed *bed = bed_serving();
        struct envelope e = bed_letter("mail.send", "body");
        e.headers = h;
        e.n_headers = 1;
        const struct arrival *a = through(bed, &e);
        CU_ASSERT(a->kind == ARRIVAL_LETTER && a->row.state == STATE_DEAD);
        CU_ASSERT(a->row.reason == REASON_MALFORMED && a->row.error_text.n > 0);
        CU_ASSERT(str_eq(a->row.payload, STR("body")));
        h[0] = (struct envelope_header){STR(BELL_HEADER), STR("no id")};
        a = through(bed, &e);
        CU_ASSERT(a->kind == ARRIVAL_LETTER && a->row.reason == REASON_MALFORMED);
        CU_ASSERT(str_eq(a->row.payload, STR("body")));
        bed_free(bed);
}

static void any_bytes_of_any_size(void)
{
        static const uint32_t sizes[] = {0, 1, 255, 4095, 4096, 4097, 65535, FIXTURE_PAYLOAD_MAX};
        static char bytes[FIXTURE_PAYLOAD_MAX];
        struct bed *bed = bed_serving();
        for (uint32_t i = 0; i < sizeof bytes; i++) {
                bytes[i] = (char)(i * 31 + i / 256);
        }
        for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++) {
                struct envelope e = bed_letter("mail.send", "");
                e.body = (struct str){bytes, sizes[i]};
                const struct arrival *a = through(bed, &e);
                CU_ASSERT(a->row.state == STATE_PENDING && str_eq(a->row.payload, e.body));
        }
        bed_free(bed);
}

static void many_headers(void)
{
        static char names[200][16], value[100];
        struct envelope_header h[200];
        struct bed *bed = bed_serving();
        struct envelope e = bed_letter("mail.send", "body");
        memset(value, 'v', sizeof value);
        for (uint32_t i = 0; i < ARRAY_LEN(h); i++) {
                snprintf(names[i], sizeof names[i], "x-%u", i);
                h[i] = (struct envelope_header){str_of(names[i]), {value, sizeof value}};
        }
        e.headers = h;
        e.n_headers = ARRAY_LEN(h);
        const struct arrival *a = through(bed, &e);
        CU_ASSERT(a->row.state == STATE_PENDING && a->row.headers.n <= HEADERS_MAX);
        CU_ASSERT(bed_header(a, "x-199", NULL) && !bed_header(a, "x-0", NULL));
        CU_ASSERT(!bed_header(a, "skep-dropped-headers", NULL));
        bed_free(bed);
}

static void oversized_ones_are_put_aside(void)
{
        static char bytes[3 * FIXTURE_PAYLOAD_MAX];
        struct bed *bed = bed_serving();
        struct envelope letters[3];
        memset(bytes, 'x', sizeof bytes);
        for (uint32_t i = 0; i < 3; i++) {
                letters[i] = bed_letter("mail.send", "small");
        }
        letters[1].body = (struct str){bytes, sizeof bytes};
        bed_publish(bed, letters, 3);
        CU_ASSERT_FATAL(bed_came(bed, 3));
        uint32_t large = 0;
        for (uint32_t i = 0; i < 3; i++) {
                const struct submit_row *row = &bed->came[i].arrival->row;
                bool dead = row->state == STATE_DEAD && row->reason == REASON_TOO_LARGE;
                CU_ASSERT(dead ? row->payload.n == 0 : str_eq(row->payload, STR("small")));
                large += dead;
        }
        CU_ASSERT(large == 1 && fixture->ready(bed->store, fixture->refused(bed->store)) == 1);
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

static void unrouted_ones_are_brought(void)
{
        struct bed *bed = bed_serving();
        struct envelope e = bed_letter("nobody.wants.it", "body");
        bed_publish(bed, &e, 1);
        bed_send(bed, 0, 1);
        CU_ASSERT_FATAL(bed_came(bed, 2));
        uint32_t unrouted = 0;
        for (uint32_t i = 0; i < 2; i++) {
                const struct came *c = &bed->came[i];
                if (c->batch->queue == TRANSPORT_UNROUTED) {
                        unrouted++;
                        CU_ASSERT(str_eq(c->arrival->row.type, STR("nobody.wants.it")));
                        CU_ASSERT(str_eq(c->arrival->row.payload, STR("body")));
                }
        }
        CU_ASSERT(unrouted == 1);
        bed_settle_all(bed);
        bed_pass(bed, 1000);
        CU_ASSERT(bed->n == 2);
        bed_free(bed);
}

static void ten_thousand(void)
{
        static bool seen[10000];
        struct bed *bed = bed_serving();
        uint32_t wrong = 0, sent = 0;
        memset(seen, 0, sizeof seen);
        for (; sent < ARRAY_LEN(seen); sent += 500) {
                bed_send(bed, sent, 500);
                bed_turn(bed);
                bed_settle_all(bed);
        }
        while (bed->n < ARRAY_LEN(seen) && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        bed_pass(bed, 1000);
        for (uint32_t i = 0; i < bed->n; i++) {
                uint32_t number = bed_number(&bed->came[i]);
                wrong += number >= ARRAY_LEN(seen) || seen[number];
                seen[number < ARRAY_LEN(seen) ? number : 0] = true;
        }
        CU_ASSERT(wrong == 0 && bed->n == ARRAY_LEN(seen));
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

static void large_ones_in_number(void)
{
        static char bytes[60000];
        struct bed *bed = bed_serving();
        struct envelope letters[200];
        memset(bytes, 'x', sizeof bytes);
        for (uint32_t i = 0; i < ARRAY_LEN(letters); i++) {
                letters[i] = bed_letter("mail.send", "");
                letters[i].body = (struct str){bytes, sizeof bytes - i};
        }
        bed_publish(bed, letters, ARRAY_LEN(letters));
        while (bed->n < ARRAY_LEN(letters) && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        for (uint32_t i = 0; i < bed->n; i++) {
                CU_ASSERT(bed->came[i].arrival->row.payload.n == sizeof bytes - i);
        }
        CU_ASSERT(bed->n == ARRAY_LEN(letters));
        bed_free(bed);
}

static void each_to_its_queue(void)
{
        struct bed *bed = bed_new();
        struct envelope letters[40];
        bed_serve(bed, 0, 2, 1000);
        for (uint32_t i = 0; i < ARRAY_LEN(letters); i++) {
                letters[i] = bed_letter(i % 2 ? "text.send" : "mail.send", i % 2 ? "r" : "q");
        }
        bed_publish(bed, letters, ARRAY_LEN(letters));
        CU_ASSERT_FATAL(bed_came(bed, ARRAY_LEN(letters)));
        uint32_t n[2] = {0};
        for (uint32_t i = 0; i < bed->n; i++) {
                const struct came *c = &bed->came[i];
                CU_ASSERT_FATAL(c->batch->queue < 2);
                n[c->batch->queue]++;
                CU_ASSERT(str_eq(c->arrival->row.payload, c->batch->queue ? STR("r") : STR("q")));
        }
        CU_ASSERT(n[Q] == 20 && n[R] == 20);
        bed_settle_all(bed);
        bed_free(bed);
}

static void shared_among_two(void)
{
        static bool seen[400];
        struct bed *bed = bed_new();
        uint32_t second = bed_open(bed), doubled = 0;
        memset(seen, 0, sizeof seen);
        bed_serve(bed, 0, 1, 50);
        bed_serve(bed, second, 1, 50);
        bed_send(bed, 0, ARRAY_LEN(seen));
        while (bed->n < ARRAY_LEN(seen) && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        bed_pass(bed, 1000);
        for (uint32_t i = 0; i < bed->n; i++) {
                uint32_t number = bed_number(&bed->came[i]) % ARRAY_LEN(seen);
                doubled += seen[number];
                seen[number] = true;
        }
        CU_ASSERT(bed->n == ARRAY_LEN(seen) && doubled == 0);
        bed_free(bed);
}

TRANSPORT_CASES(transport_cases_letter, {"letters arrive once, in order", arrive_once_in_order, 0},
                {"headers come with them", bring_their_headers, 0},
                {"properties come with them", bring_their_properties, NEED_PROPERTIES},
                {"a letter straight into the queue has the default type", straight_into_the_queue,
                 NEED_DIRECT},
                {"malformed letters arrive dead", malformed_ones_arrive_dead, 0},
                {"payloads of any bytes and size", any_bytes_of_any_size, 0},
                {"more headers than are kept", many_headers, 0},
                {"oversized letters are put aside", oversized_ones_are_put_aside, 0},
                {"unrouted letters are brought", unrouted_ones_are_brought, NEED_UNROUTED},
                {"10,000 letters, none lost or doubled", ten_thousand, 0},
                {"large letters in number", large_ones_in_number, 0},
                {"each queue gets its own", each_to_its_queue, 0},
                {"two transports share a queue", shared_among_two, NEED_SHARE}, );
