/*
 * What is asked for and what is brought: room, the end of a queue, and a broker that has gone
 * silent.
 */
#include "tests/conformance/transport_bed.h"

static void none_stops_more_resumes(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 5);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        bed_settle_all(bed);
        bed_consume(bed, Q, 0);
        bed_pass(bed, SEEN_MS);
        bed_send(bed, 5, 20);
        bed_pass(bed, 2000);
        CU_ASSERT(bed->n == 5 && fixture->ready(bed->store, bed_queue(bed, Q)) == 20);
        bed_consume(bed, Q, 10);
        while (bed->n < 25 && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        bed_check(bed, 0, 0, 25);
        bed_free(bed);
}

static void handed_over_whatever_the_room(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 500);
        CU_ASSERT_FATAL(bed_came(bed, 1));
        bed_consume(bed, Q, 0);
        bed_pass(bed, SEEN_MS);
        int64_t left = fixture->ready(bed->store, bed_queue(bed, Q));
        CU_ASSERT(left >= 0 && left + bed->n == 500);
        bed_check(bed, 0, 0, bed->n);
        bed_settle_all(bed);
        bed_consume(bed, Q, 1000);
        CU_ASSERT_FATAL(bed_came(bed, 500));
        bed_check(bed, 0, 0, 500);
        bed_settle_all(bed);
        bed_free(bed);
}

static void room_for_one(void)
{
        struct bed *bed = bed_new();
        bed_serve(bed, 0, 1, 1);
        bed_send(bed, 0, 50);
        while (bed->n < 50 && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
                bed_consume(bed, Q, 1);
        }
        bed_check(bed, 0, 0, 50);
        bed_free(bed);
}

static void room_that_changes(void)
{
        struct bed *bed = bed_serving();
        for (uint32_t i = 0; i < 40; i++) {
                bed_consume(bed, Q, i % 4 ? i * 50 : 0);
                bed_send(bed, i * 10, 10);
                bed_turn(bed);
                bed_settle_all(bed);
        }
        bed_consume(bed, Q, 100);
        while (bed->n < 400 && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        bed_pass(bed, 500);
        CU_ASSERT(bed->n == 400);
        bed_check(bed, 0, 0, 400);
        bed_free(bed);
}

/* Without one of them being settled; by less than would be worth it for a small room. */
static void more_room_brings_more(void)
{
        struct bed *bed = bed_new();
        bed_serve(bed, 0, 1, 900);
        bed_send(bed, 0, 4000);
        CU_ASSERT_FATAL(bed_came(bed, 900));
        bed_consume(bed, Q, 2900);
        CU_ASSERT_FATAL(bed_came(bed, 2900));
        bed_settle_all(bed);
        while (bed->n < 4000 && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        bed_check(bed, 0, 0, 4000);
        bed_free(bed);
}

static void nothing_unasked(void)
{
        struct bed *bed = bed_new();
        struct transport *t = bed->ts[0];
        t->ops->attach(t, R, &bed->queues[R]);
        bed_serve(bed, 0, 1, 100);
        bed_pass(bed, 1000);
        struct envelope e = bed_letter("text.send", "r");
        bed_publish(bed, &e, 1);
        bed_send(bed, 0, 1);
        CU_ASSERT_FATAL(bed_came(bed, 1));
        bed_pass(bed, 1500);
        CU_ASSERT(bed->n == 1 && bed->came[0].batch->queue == Q);
        bed_consume(bed, R, 5);
        CU_ASSERT_FATAL(bed_came(bed, 2));
        CU_ASSERT(bed->came[1].batch->queue == R);
        bed_settle_all(bed);
        bed_free(bed);
}

/* Until a letter published by this address comes through the queue. */
static void until_routed(struct bed *bed, const char *address)
{
        struct envelope e = bed_letter(address, "tried");
        for (int tries = 0; tries < 100; tries++) {
                uint32_t n = bed->n;
                bed_publish(bed, &e, 1);
                CU_ASSERT_FATAL(bed_came(bed, n + 1));
                bed_settle_all(bed);
                if (bed->came[n].batch->queue == Q) {
                        return;
                }
                bed_pass(bed, 200);
        }
        CU_FAIL("new settings were never followed");
}

static void settings_that_change(void)
{
        struct str types[2] = {STR("mail.>"), STR("post.>")};
        struct bed *bed = bed_serving();
        struct queue_config changed = bed->queues[Q];
        bed_send(bed, 0, 1);
        CU_ASSERT_FATAL(bed_came(bed, 1));
        CU_ASSERT(bed->came[0].arrival->row.priority == 5);
        bed_settle_all(bed);
        changed.types = types;
        changed.n_types = 2;
        changed.priority = 7;
        bed->ts[0]->ops->attach(bed->ts[0], Q, &changed);
        memset(types, 0, sizeof types); /* settings are copied */
        memset(&changed, 0, sizeof changed);
        until_routed(bed, "post.card");
        const struct submit_row *row = &bed->came[bed->n - 1].arrival->row;
        CU_ASSERT(row->priority == 7 && row->max_attempts == 0); /* core gives the rest */
        CU_ASSERT(str_eq(row->type, STR("post.card")));
        bed_free(bed);
}

static void empty_only_when_empty(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 10);
        CU_ASSERT_FATAL(bed_came(bed, 10));
        bed_pass(bed, SEEN_MS); /* what it saw before they came */
        uint32_t told = bed->empty;
        bed_pass(bed, 8000);
        CU_ASSERT(bed->empty == told);
        bed_settle_all(bed);
        CU_ASSERT(bed_empty(bed, told + 1));
        bed_consume(bed, Q, 0);
        bed_pass(bed, SEEN_MS);
        bed_send(bed, 10, 10);
        bed_pass(bed, SEEN_MS);
        told = bed->empty;
        bed_pass(bed, 8000);
        CU_ASSERT(bed->empty == told);
        bed_free(bed);
}

static void empty_not_while_held(void)
{
        struct bed *bed = bed_serving();
        bed_consume(bed, Q, 0);
        bed_pass(bed, SEEN_MS);
        bed_send(bed, 0, 1);
        CU_ASSERT_FATAL(fixture->hold(bed->store, bed_queue(bed, Q)));
        bed_consume(bed, Q, 100);
        bed_pass(bed, SEEN_MS);
        uint32_t told = bed->empty;
        bed_pass(bed, 15000);
        CU_ASSERT(bed->empty == told && bed->n == 0);
        fixture->release(bed->store, false);
        CU_ASSERT_FATAL(bed_came(bed, 1));
        bed_settle_all(bed);
        CU_ASSERT(bed_empty(bed, told + 1));
        bed_free(bed);
}

static void deaf_is_found(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 5);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_consume(bed, Q, 10);
        bed_pass(bed, 1500);
        fixture->deafen(bed->store);
        bed_send(bed, 5, 2000); /* more than is asked for at once, so that some wait */
        while (bed->n < 2005 && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        CU_ASSERT(bed->n == 2005 && bed->news[TRANSPORT_DEAF] + bed->news[TRANSPORT_LOST] > 0);
        bed_free(bed);
}

TRANSPORT_CASES(transport_cases_flow, {"room 0 stops, more resumes", none_stops_more_resumes, 0},
                {"what was delivered is handed over whatever the room",
                 handed_over_whatever_the_room, 0},
                {"room for one at a time", room_for_one, 0},
                {"room that changes all the time", room_that_changes, 0},
                {"more room brings more", more_room_brings_more, 0},
                {"a queue that nobody asked for brings nothing", nothing_unasked, 0},
                {"settings that change", settings_that_change, NEED_KEPT},
                {"EMPTY only when it is empty", empty_only_when_empty, 0},
                {"EMPTY not while another holds a message", empty_not_while_held, NEED_HOLD},
                {"a deaf connection is found and opened anew", deaf_is_found, NEED_DEAF}, );
