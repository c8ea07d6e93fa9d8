/*
 * Replies: told confirmed only when the broker has every one of them, or they can never be
 * delivered; and what whoever asked gets of them.
 */
#include "core/ledger.h"
#include "tests/conformance/transport_bed.h"

#include <stdlib.h>

static struct replies *replies_to(struct str to, uint32_t first, uint32_t n)
{
        struct replies *r = replies_new(n);
        if (!r) {
                abort(); /* no memory */
        }
        r->n = n;
        for (uint32_t i = 0; i < n; i++) {
                r->items[i] = (struct job_reply){
                    .no = first + i,
                    .to = arena_str(&r->arena, to),
                    .correlation_id = arena_printf(&r->arena, "c%u", first + i),
                    .content_type = STR("text/plain"),
                    .body = arena_printf(&r->arena, "%u", first + i),
                    .job = bed_id(first + i),
                    .state = STATE_COMPLETED,
                };
        }
        return r;
}

static bool send(struct bed *bed, struct replies *r)
{
        bed_reply(bed, r);
        r = bed_replied(bed);
        bool confirmed = r->confirmed;
        replies_free(r);
        return confirmed;
}

static bool sends(struct bed *bed, struct str to, uint32_t first, uint32_t n)
{
        return send(bed, replies_to(to, first, n));
}

static uint32_t number_of(struct str s)
{
        return s.n > 1 ? (uint32_t)strtoul(s.p + 1, NULL, 10) : UINT32_MAX;
}

/* How many times each of n replies was heard, until nothing more comes or all were. */
static uint32_t hear(struct bed *bed, uint8_t *ret_times, uint32_t n)
{
        struct fixture_reply got;
        uint32_t different = 0;
        memset(ret_times, 0, n);
        while (different < n && fixture->heard(bed->store, &got)) {
                uint32_t at = number_of(got.correlation_id);
                CU_ASSERT_FATAL(at < n);
                different += ret_times[at]++ == 0;
        }
        return different;
}

static void with_all_that_it_says(void)
{
        struct bed *bed = bed_serving();
        struct str to = fixture->listen(bed->store, false);
        struct replies *r = replies_to(to, 7, 2);
        struct fixture_reply got;
        char id[JOB_ID_TEXT];
        r->items[0].body = (struct str){"{\"x\":\0 1}", 9};
        r->items[0].content_type = STR("application/json");
        r->items[1].state = STATE_DEAD;
        r->items[1].reason = REASON_EXHAUSTED;
        r->items[1].error_text = STR("it said: no");
        r->items[1].body = (struct str){0};
        r->items[1].content_type = (struct str){0};
        CU_ASSERT(send(bed, r));
        CU_ASSERT_FATAL(fixture->heard(bed->store, &got));
        struct job_id first = bed_id(7);
        id_text(&first, id);
        CU_ASSERT(str_eq(got.id, str_of(id)) && str_eq(got.state, STR("completed")));
        CU_ASSERT(got.reason.n == 0 && got.error.n == 0);
        CU_ASSERT(str_eq(got.correlation_id, STR("c7")));
        CU_ASSERT(str_eq(got.content_type, STR("application/json")));
        CU_ASSERT(got.body.n == 9 && memcmp(got.body.p, "{\"x\":\0 1}", 9) == 0);
        CU_ASSERT_FATAL(fixture->heard(bed->store, &got));
        CU_ASSERT(str_eq(got.state, STR("dead")) && str_eq(got.reason, STR("exhausted")));
        CU_ASSERT(str_eq(got.error, STR("it said: no")));
        CU_ASSERT(got.body.n == 0 && got.content_type.n == 0);
        bed_free(bed);
}

/* Whatever stands in texts that strangers wrote, the rest arrives as it is. */
static void with_hostile_texts(void)
{
        struct bed *bed = bed_serving();
        struct str to = fixture->listen(bed->store, false);
        struct replies *r = replies_to(to, 1, 1);
        struct fixture_reply got;
        static const char forged[] = "a\r\njob-state: completed\r\n\r\nb\n\tc\x01";
        static char longer[4096];
        memset(longer, 'x', sizeof longer);
        memcpy(longer, forged, sizeof forged - 1);
        r->items[0].state = STATE_DEAD;
        r->items[0].error_text = (struct str){longer, sizeof longer};
        CU_ASSERT(send(bed, r));
        CU_ASSERT_FATAL(fixture->heard(bed->store, &got));
        CU_ASSERT(str_eq(got.state, STR("dead")) && str_eq(got.body, STR("1")));
        CU_ASSERT(got.error.n == sizeof longer && got.error.p[0] == 'a');
        bed_free(bed);
}

static void nobody_listens(void)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(sends(bed, STR("conform.nobody.is.here"), 1, 10));
        CU_ASSERT(bed_ring(bed, Q, 1, 3) && bed_came(bed, 3));
        bed_settle_all(bed);
        bed_free(bed);
}

/* They can never be delivered, so nobody shall try for ever; and they harm nothing. */
static void impossible_addresses(void)
{
        static char longer[2000];
        struct bed *bed = bed_serving();
        memset(longer, 'x', sizeof longer);
        const struct str to[] = {
            STR("a b"),
            STR("a\r\nPUB x 1\r\n1\r\n"),
            STR("jobs.*"),
            STR(">"),
            STR(".a"),
            STR("a..b"),
            STR("a."),
            {"a\0b", 3},
            {longer, 256},
            {longer, sizeof longer},
            STR("$JS.API.STREAM.LIST"),
            STR("amq.rabbitmq.reply-to"),
            STR("amq.rabbitmq.reply-to.x"),
        };
        for (size_t i = 0; i < ARRAY_LEN(to); i++) {
                CU_ASSERT(sends(bed, to[i], (uint32_t)i, 1));
        }
        CU_ASSERT(bed_ring(bed, Q, 1, 3) && bed_came(bed, 3));
        CU_ASSERT(bed->up[0] && bed->news[TRANSPORT_DOWN] == 0);
        bed_settle_all(bed);
        bed_free(bed);
}

/* RabbitMQ ends the connection over it: once, and not whenever somebody tries again. */
static void a_forged_direct_address(void)
{
        const struct str to =
            STR("amq.rabbitmq.reply-to.g1h2AA5yZXBseUAxMjM0NTY3OAAAAAAAAAAAAAAAAA==.gone");
        struct bed *bed = bed_serving();
        bool sent = sends(bed, to, 1, 3);
        for (int tries = 0; tries < 5 && !sent; tries++) {
                bed_pass(bed, 500);
                CU_ASSERT(bed_up(bed));
                sent = sends(bed, to, 1, 3);
        }
        uint32_t down = bed->news[TRANSPORT_DOWN];
        CU_ASSERT(sent && down <= 1);
        CU_ASSERT(sends(bed, to, 10, 100));
        CU_ASSERT(bed_ring(bed, Q, 1, 3));
        CU_ASSERT(bed->up[0] && bed->news[TRANSPORT_DOWN] == down);
        bed_free(bed);
}

static void many_at_once(void)
{
        enum { N = 2000, LARGE = 60 };
        static uint8_t times[N + LARGE];
        static char large[64 << 10];
        struct bed *bed = bed_serving();
        struct str to = fixture->listen(bed->store, false);
        struct replies *r = replies_to(to, N, LARGE);
        memset(large, 'x', sizeof large);
        for (uint32_t i = 0; i < LARGE; i++) {
                r->items[i].body = (struct str){large, sizeof large};
        }
        bed_reply(bed, r);
        bed_reply(bed, replies_to(to, 0, N / 2));
        bed_reply(bed, replies_to(to, N / 2, N / 2));
        CU_ASSERT(bed_ring(bed, Q, 1, 10)); /* they do not stand in the way */
        for (int i = 0; i < 3; i++) {
                r = bed_replied(bed);
                CU_ASSERT(r->confirmed);
                replies_free(r);
        }
        CU_ASSERT(hear(bed, times, N + LARGE) == N + LARGE);
        bed_free(bed);
}

static void unconfirmed_while_down(void)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(sends(bed, STR("conform.nobody"), 1, 1));
        fixture->broker(bed->store, BROKER_STOP);
        CU_ASSERT(!sends(bed, STR("conform.nobody"), 2, 5));
        CU_ASSERT(!bed->up[0]);
        fixture->broker(bed->store, BROKER_START);
        CU_ASSERT(bed_up(bed));
        CU_ASSERT(sends(bed, STR("conform.nobody"), 10, 5));
        bed_free(bed);
}

/* Each answered, once; and what is confirmed was sent. */
static void cut_while_replying(void)
{
        enum { BATCHES = 60, EACH = 10 };
        static uint8_t times[BATCHES * EACH];
        bool confirmed[BATCHES] = {0};
        struct bed *bed = bed_serving();
        struct str to = fixture->listen(bed->store, false);
        uint32_t missing = 0;
        for (uint32_t i = 0; i < BATCHES; i++) {
                bed_reply(bed, replies_to(to, i * EACH, EACH));
                if (i % 20 == 10) {
                        bed_turn(bed);
                        fixture->cut(bed->store);
                }
        }
        for (uint32_t i = 0; i < BATCHES; i++) {
                struct replies *r = bed_replied(bed);
                CU_ASSERT_FATAL(r->n == EACH && r->items[0].no / EACH < BATCHES);
                confirmed[r->items[0].no / EACH] = r->confirmed;
                replies_free(r);
        }
        CU_ASSERT(bed_up(bed));
        (void)hear(bed, times, BATCHES * EACH);
        for (uint32_t i = 0; i < BATCHES * EACH; i++) {
                missing += confirmed[i / EACH] && !times[i];
        }
        CU_ASSERT(missing == 0);
        CU_ASSERT(sends(bed, to, 0, 1));
        bed_free(bed);
}

/* What never reaches the broker is not confirmed, however well the connection seems. */
static void lost_on_the_way(void)
{
        struct bed *bed = bed_serving();
        struct str to = fixture->listen(bed->store, false);
        CU_ASSERT(sends(bed, to, 0, 1));
        fixture->lose(bed->store);
        bed_reply(bed, replies_to(to, 1, 5));
        bed_pass(bed, 1000);
        CU_ASSERT(bed->replies == NULL);
        fixture->cut(bed->store);
        struct replies *r = bed_replied(bed);
        CU_ASSERT(!r->confirmed);
        replies_free(r);
        bed_free(bed);
}

static void by_the_brokers_own_means(void)
{
        static uint8_t times[50];
        struct bed *bed = bed_serving();
        struct str to = fixture->listen(bed->store, true);
        CU_ASSERT(sends(bed, to, 0, ARRAY_LEN(times)));
        CU_ASSERT(hear(bed, times, ARRAY_LEN(times)) == ARRAY_LEN(times));
        bed_free(bed);
}

TRANSPORT_CASES(
    transport_cases_reply, {"a reply with all that it says", with_all_that_it_says, NEED_EAR},
    {"a reply with hostile texts", with_hostile_texts, NEED_EAR},
    {"a reply that nobody waits for: confirmed", nobody_listens, 0},
    {"a reply to an impossible address: confirmed", impossible_addresses, 0},
    {"a reply to a forged address: it harms once", a_forged_direct_address, 0},
    {"2,060 replies at once", many_at_once, NEED_EAR},
    {"replies while the broker is down: unconfirmed", unconfirmed_while_down, NEED_BROKER},
    {"cut while replying: what is confirmed was sent", cut_while_replying, NEED_EAR | NEED_CUT},
    {"replies lost on the way: unconfirmed", lost_on_the_way, NEED_EAR | NEED_LOSE | NEED_CUT},
    {"a reply by the broker's own means", by_the_brokers_own_means, NEED_EAR_DIRECT}, );
