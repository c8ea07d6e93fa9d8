/*
 * Acknowledging: nothing before settle(), everything after, whatever the order and whatever becomes
 * of the connection in between.
 */
#include "tests/conformance/transport_bed.h"

/* Publishes letters in groups and waits for each, so that they come in several batches. */
static struct bed *in_groups(uint32_t groups, uint32_t size)
{
        struct bed *bed = bed_serving();
        for (uint32_t i = 0; i < groups; i++) {
                bed_send(bed, i * size, size);
                CU_ASSERT_FATAL(bed_came(bed, (i + 1) * size));
        }
        bed_check(bed, 0, 0, groups * size);
        return bed;
}

/* Cuts; all that was not settled comes again, so many of it. */
static void cut_and_come_again(struct bed *bed, uint32_t again)
{
        uint32_t lost = bed->news[TRANSPORT_LOST];
        fixture->cut(bed->store);
        CU_ASSERT_FATAL(bed_told(bed, TRANSPORT_LOST, lost + 1));
        bed_forget(bed);
        CU_ASSERT_FATAL(bed_came(bed, again));
        bed_pass(bed, 1000);
        CU_ASSERT(bed->n == again);
        for (uint32_t i = 0; i < bed->n; i++) {
                CU_ASSERT(bed->came[i].arrival->redelivered);
        }
}

/* The batches of arrivals from..to-1, journalled; how many. */
static uint32_t settle_range(struct bed *bed, uint32_t from, uint32_t to)
{
        uint32_t n = 0;
        for (uint32_t i = from; i < to; i++) {
                if (bed->came[i].batch->receipt) {
                        bed_settle(bed, bed->came[i].batch, true);
                        n++;
                }
        }
        return n;
}

static void nothing_before_settle(void)
{
        struct bed *bed = in_groups(1, 50);
        uint64_t connection = bed->came[0].batch->connection;
        bed_pass(bed, 1500);
        cut_and_come_again(bed, 50);
        CU_ASSERT(bed_lost(bed, connection) && bed->dropped == 50);
        bed_check(bed, 0, 0, 50);
        CU_ASSERT(bed->came[0].batch->connection > connection);
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

static void known_again(void)
{
        struct envelope_header h[] = {{STR("x-b"), STR("2")}, {STR("x-a"), STR("1")}};
        struct bed *bed = bed_serving();
        struct envelope e[2] = {bed_letter("mail.send", "one"), bed_letter("mail.send", "two")};
        e[0].headers = h;
        e[0].n_headers = 2;
        bed_publish(bed, e, 2);
        CU_ASSERT_FATAL(bed_came(bed, 2));
        const struct arrival *one = bed->came[0].arrival, *two = bed->came[1].arrival;
        CU_ASSERT(!bed_same(one, two));
        cut_and_come_again(bed, 2);
        CU_ASSERT(bed_same(bed->came[0].arrival, one) && bed_same(bed->came[1].arrival, two));
        bed_settle_all(bed);
        bed_free(bed);
}

static void in_order(void)
{
        struct bed *bed = in_groups(3, 10);
        uint32_t settled = settle_range(bed, 0, 20);
        CU_ASSERT_FATAL(bed->came[20].batch->receipt != NULL);
        CU_ASSERT(bed_confirmed(bed, settled));
        cut_and_come_again(bed, 10);
        bed_check(bed, 0, 20, 10);
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

/* An implementation may hold a later acknowledgement back until the earlier ones are there: then
 * its receipt does not come back, and its letter comes again. */
static void out_of_order(void)
{
        struct bed *bed = in_groups(3, 1);
        CU_ASSERT(settle_range(bed, 2, 3) == 1);
        bed_pass(bed, SEEN_MS);
        uint32_t taken = bed->n_confirmed;
        CU_ASSERT(taken <= 1);
        cut_and_come_again(bed, 3 - taken);
        for (uint32_t i = 0; i < bed->n; i++) {
                CU_ASSERT(bed_number(&bed->came[i]) < 3 - taken);
        }
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

static void out_of_order_then_all(void)
{
        struct bed *bed = in_groups(5, 4);
        uint32_t settled = 0;
        for (uint32_t i = 20; i-- > 0;) {
                settled += settle_range(bed, i, i + 1);
        }
        CU_ASSERT(settled >= 5 && bed_confirmed(bed, settled));
        fixture->cut(bed->store);
        CU_ASSERT_FATAL(bed_told(bed, TRANSPORT_LOST, 1));
        CU_ASSERT(bed_up(bed) && bed_ready(bed, Q, 0));
        bed_pass(bed, 1000);
        CU_ASSERT(bed->n == 20);
        bed_free(bed);
}

static void after_the_connection(void)
{
        struct bed *bed = in_groups(2, 10);
        struct transport *t = bed->ts[0];
        struct receipt *plain = STEAL(bed->came[0].batch->receipt);
        struct receipt *journalled = STEAL(bed->came[10].batch->receipt);
        CU_ASSERT_FATAL(plain && journalled);
        fixture->cut(bed->store);
        CU_ASSERT_FATAL(bed_told(bed, TRANSPORT_LOST, 1));
        bed_forget(bed);
        journalled->journalled = true;
        t->ops->settle(t, plain);
        CU_ASSERT_FATAL(bed_came(bed, 20));
        t->ops->settle(t, journalled);
        bed_pass(bed, 2000);
        CU_ASSERT(bed->n == 20 && bed->n_confirmed == 0);
        cut_and_come_again(bed, 20);
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

static void journalled_come_back(void)
{
        struct bed *bed = in_groups(10, 3);
        uint32_t settled = 0;
        for (uint32_t i = 0; i < bed->n; i++) {
                if (bed->came[i].batch->receipt) {
                        settled += i % 2;
                        bed_settle(bed, bed->came[i].batch, i % 2);
                }
        }
        CU_ASSERT(settled > 0 && bed_confirmed(bed, settled));
        bed_pass(bed, 1000);
        CU_ASSERT(bed->n_confirmed == settled && bed_ready(bed, Q, 0));
        bed_free(bed);
}

static void never_after_a_lost_acknowledgement(void)
{
        struct bed *bed = in_groups(1, 10);
        fixture->lose(bed->store);
        (void)settle_range(bed, 0, 10);
        bed_pass(bed, 1500);
        CU_ASSERT(bed->n_confirmed == 0);
        cut_and_come_again(bed, 10);
        CU_ASSERT(bed->n_confirmed == 0);
        uint32_t settled = settle_range(bed, 0, 10);
        CU_ASSERT(bed_confirmed(bed, settled) && bed_ready(bed, Q, 0));
        bed_pass(bed, 1000);
        CU_ASSERT(bed->n_confirmed == settled);
        bed_free(bed);
}

static void freed_receipts_come_again(void)
{
        struct bed *bed = in_groups(2, 5);
        CU_ASSERT_FATAL(bed_confirmed(bed, settle_range(bed, 0, 5)));
        bed_forget(bed);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        bed_pass(bed, 1000);
        CU_ASSERT(bed->n == 5);
        for (uint32_t i = 0; i < bed->n; i++) {
                CU_ASSERT(bed->came[i].arrival->redelivered && bed_number(&bed->came[i]) >= 5);
        }
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

static void close_leaves_them(void)
{
        struct bed *bed = in_groups(2, 10);
        CU_ASSERT_FATAL(bed_confirmed(bed, settle_range(bed, 0, 10)));
        bed_close(bed, 0);
        bed_forget(bed);
        CU_ASSERT(bed_ready(bed, Q, 10));
        bed_free(bed);
}

static void close_waits_for_none(void)
{
        struct bed *bed = bed_new();
        bed_close(bed, 0);
        uint32_t second = bed_open(bed);
        bed->ts[second]->ops->attach(bed->ts[second], Q, &bed->queues[Q]);
        bed->ts[second]->ops->consume(bed->ts[second], Q, 1);
        bed_close(bed, second);
        bed_free(bed);
}

TRANSPORT_CASES(transport_cases_settle,
                {"nothing is acknowledged before settle", nothing_before_settle, NEED_CUT},
                {"a redelivered letter is known again", known_again, NEED_CUT},
                {"settled in order", in_order, NEED_CUT},
                {"settled out of order", out_of_order, NEED_CUT},
                {"settled backwards, all of them", out_of_order_then_all, NEED_CUT},
                {"settled after the connection is gone", after_the_connection, NEED_CUT},
                {"journalled receipts come back", journalled_come_back, 0},
                {"no receipt comes back of a lost acknowledgement",
                 never_after_a_lost_acknowledgement, NEED_CUT | NEED_LOSE},
                {"receipts freed unsettled: the letters come again", freed_receipts_come_again, 0},
                {"close leaves what is unsettled in the broker", close_leaves_them, 0},
                {"closed before it was up", close_waits_for_none, 0}, );
