/*
 * Doorbells and marks: confirmed only when the broker has every one of them, and the same when they
 * come back.
 */
#include "tests/conformance/transport_bed.h"

#include <inttypes.h>

/* Asserts that arrivals from..from+n-1 are the doorbells with these seqs, in order. */
static void check_bells(struct bed *bed, uint32_t from, int64_t first_seq, uint32_t n)
{
        uint32_t wrong = 0;
        CU_ASSERT_FATAL(from + n <= bed->n);
        for (uint32_t i = 0; i < n; i++) {
                const struct arrival *a = bed->came[from + i].arrival;
                struct job_id id = bed_id(first_seq + i);
                bool right = a->kind == ARRIVAL_DOORBELL && a->seq == first_seq + i &&
                             job_id_eq(&a->row.id, &id) && bed->came[from + i].batch->queue == Q;
                if (!right && wrong++ == 0) {
                        printf("\narrival %u is of kind %d, seq %" PRId64 ", not %" PRId64 "\n",
                               from + i, a->kind, a->seq, first_seq + i);
                }
        }
        CU_ASSERT(wrong == 0);
}

static void come_back_the_same(void)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(bed_ring(bed, Q, 42, 3));
        CU_ASSERT_FATAL(bed_came(bed, 3));
        check_bells(bed, 0, 42, 3);
        struct doorbells *marks = bed_bells(Q, 77, 2);
        marks->items[0] = (struct doorbell){.seq = INT64_MAX};
        marks->items[1] = (struct doorbell){.seq = 0};
        bed_post(bed, marks);
        marks = bed_answer(bed);
        CU_ASSERT(marks->confirmed);
        doorbells_free(marks);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        CU_ASSERT(bed->came[3].arrival->kind == ARRIVAL_MARK);
        CU_ASSERT(bed->came[3].arrival->seq == INT64_MAX);
        CU_ASSERT(bed->came[4].arrival->kind == ARRIVAL_MARK && bed->came[4].arrival->seq == 0);
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_free(bed);
}

/* In whatever order: of so many a broker's queue is near FIFO, no more. */
static void many_at_once(void)
{
        static uint8_t seen[2000];
        struct bed *bed = bed_serving();
        uint32_t wrong = 0;
        memset(seen, 0, sizeof seen);
        CU_ASSERT(bed_ring(bed, Q, 0, ARRAY_LEN(seen)));
        while (bed->n < ARRAY_LEN(seen) && bed_came(bed, bed->n + 1)) {
                bed_settle_all(bed);
        }
        bed_pass(bed, 1000);
        for (uint32_t i = 0; i < bed->n; i++) {
                const struct arrival *a = bed->came[i].arrival;
                struct job_id id = bed_id(a->seq);
                bool right = a->kind == ARRIVAL_DOORBELL && job_id_eq(&a->row.id, &id) &&
                             a->seq >= 0 && a->seq < (int64_t)ARRAY_LEN(seen);
                wrong += !right || seen[a->seq]++;
        }
        CU_ASSERT(wrong == 0 && bed->n == ARRAY_LEN(seen));
        bed_free(bed);
}

static void among_letters(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 10);
        CU_ASSERT(bed_ring(bed, Q, 1, 10));
        bed_send(bed, 10, 10);
        CU_ASSERT_FATAL(bed_came(bed, 30));
        bed_check(bed, 0, 0, 10);
        check_bells(bed, 10, 1, 10);
        bed_check(bed, 20, 10, 10);
        bed_settle_all(bed);
        bed_free(bed);
}

/* So many answers to batches of 10 bells, in any order. A batch is known by its first seq. */
#define BATCHES_MAX 100

static void collect(struct bed *bed, uint32_t answers, bool ret_confirmed[static BATCHES_MAX])
{
        for (uint32_t i = 0; i < answers; i++) {
                struct doorbells *d = bed_answer(bed);
                CU_ASSERT_FATAL(d->n == 10 && d->items[0].seq / 10 < BATCHES_MAX);
                ret_confirmed[d->items[0].seq / 10] = d->confirmed;
                doorbells_free(d);
        }
}

/* How many bells of confirmed batches have not come. */
static uint32_t count_missing(struct bed *bed, const bool confirmed[static BATCHES_MAX])
{
        static uint8_t seen[BATCHES_MAX][10];
        uint32_t missing = 0;
        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < bed->n; i++) {
                const struct arrival *a = bed->came[i].arrival;
                CU_ASSERT_FATAL(a->kind == ARRIVAL_DOORBELL && a->seq < BATCHES_MAX * 10);
                seen[a->seq / 10][a->seq % 10]++;
        }
        for (uint32_t i = 0; i < BATCHES_MAX * 10; i++) {
                missing += confirmed[i / 10] && !seen[i / 10][i % 10];
        }
        return missing;
}

/* Every bell of a confirmed batch comes, those that a broken connection had be it later; then all
 * are settled. */
static void check_confirmed(struct bed *bed, const bool confirmed[static BATCHES_MAX])
{
        bed_pass(bed, 1000);
        for (int tries = 0; tries < 60 && count_missing(bed, confirmed); tries++) {
                bed_pass(bed, 1000);
        }
        CU_ASSERT(count_missing(bed, confirmed) == 0);
        bed_settle_all(bed);
}

static void cut_while_ringing(void)
{
        bool confirmed[BATCHES_MAX] = {0};
        struct bed *bed = bed_serving();
        for (uint32_t i = 0; i < 60; i++) {
                bed_post(bed, bed_bells(Q, i * 10, 10));
                if (i % 20 == 10) {
                        bed_turn(bed);
                        fixture->cut(bed->store);
                }
        }
        collect(bed, 60, confirmed);
        CU_ASSERT(bed_up(bed));
        check_confirmed(bed, confirmed);
        CU_ASSERT(bed_ring(bed, Q, 1, 1));
        bed_free(bed);
}

static void confirmed_survive_a_kill(void)
{
        bool confirmed[BATCHES_MAX] = {0};
        struct bed *bed = bed_serving();
        bed_consume(bed, Q, 0);
        bed_pass(bed, SEEN_MS);
        CU_ASSERT(bed_ring(bed, Q, 0, 10));
        confirmed[0] = true;
        for (uint32_t i = 1; i < 40; i++) {
                bed_post(bed, bed_bells(Q, i * 10, 10));
        }
        collect(bed, 1, confirmed);
        fixture->broker(bed->store, BROKER_KILL);
        collect(bed, 38, confirmed);
        CU_ASSERT(bed_up(bed));
        bed_consume(bed, Q, 1000);
        check_confirmed(bed, confirmed);
        bed_free(bed);
}

static void unconfirmed_without_a_queue(void)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(bed_ring(bed, Q, 1, 1) && bed_came(bed, 1));
        bed_settle_all(bed);
        fixture->hide_queue(bed->store, bed_queue(bed, Q), true);
        CU_ASSERT(!bed_ring(bed, Q, 2, 10));
        fixture->hide_queue(bed->store, bed_queue(bed, Q), false);
        bed_forget(bed);
        for (int tries = 0; tries < 60 && !bed_ring(bed, Q, 100, 1); tries++) {
                bed_pass(bed, 1000);
        }
        CU_ASSERT_FATAL(bed_came(bed, 1));
        CU_ASSERT(bed->came[bed->n - 1].arrival->seq == 100);
        bed_settle_all(bed);
        bed_free(bed);
}

static void unconfirmed_while_down(void)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(bed_ring(bed, Q, 1, 1));
        fixture->broker(bed->store, BROKER_STOP);
        CU_ASSERT(!bed_ring(bed, Q, 2, 5));
        CU_ASSERT(!bed->up[0]);
        fixture->broker(bed->store, BROKER_START);
        CU_ASSERT(bed_up(bed));
        CU_ASSERT(bed_ring(bed, Q, 10, 5));
        bed_free(bed);
}

static void before_it_was_up(void)
{
        struct bed *bed = bed_new();
        struct transport *t = bed->ts[0];
        t->ops->attach(t, Q, &bed->queues[Q]);
        t->ops->consume(t, Q, 100);
        bool early = bed_ring(bed, Q, 1, 5);
        CU_ASSERT(bed_up(bed));
        if (early) {
                CU_ASSERT_FATAL(bed_came(bed, 5));
                check_bells(bed, 0, 1, 5);
        }
        bed_free(bed);
}

static bool ends_with(const struct bed *bed, int64_t seq)
{
        return bed->n > 0 && bed->came[bed->n - 1].arrival->seq == seq;
}

static void blocked_publishers(void)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(bed_ring(bed, Q, 1, 1) && bed_came(bed, 1));
        bed_settle_all(bed);
        bed_consume(bed, Q, 0);
        bed_pass(bed, SEEN_MS);
        bed_send(bed, 0, 100);
        fixture->block(bed->store, true);
        bed_post(bed, bed_bells(Q, 10, 5));
        bed_pass(bed, 500);
        bed_forget(bed);
        bed_consume(bed, Q, 50);
        for (uint32_t n = 0; n < 100;) { /* consuming goes on, acknowledging too */
                CU_ASSERT_FATAL(bed_came(bed, ++n));
                bed_settle_all(bed);
                n = bed->n;
        }
        bed_check(bed, 0, 0, 100);
        CU_ASSERT(bed_ready(bed, Q, 0));
        fixture->block(bed->store, false);
        struct doorbells *d = bed_answer(bed); /* it waited, or was told unconfirmed */
        if (d->confirmed) {
                CU_ASSERT_FATAL(bed_came(bed, 105));
                check_bells(bed, 100, 10, 5);
        }
        doorbells_free(d);
        bed_forget(bed);
        CU_ASSERT(bed_ring(bed, Q, 200, 5));
        for (int tries = 0; tries < 120 && !ends_with(bed, 204); tries++) {
                bed_pass(bed, 500);
        }
        CU_ASSERT_FATAL(bed->n >= 5);
        check_bells(bed, bed->n - 5, 200, 5);
        bed_free(bed);
}

static void blocked_for_long(void)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(bed_ring(bed, Q, 1, 1) && bed_came(bed, 1));
        bed_settle_all(bed);
        bed_forget(bed);
        fixture->block(bed->store, true);
        (void)bed_ring(bed, Q, 10, 3); /* comes back within the limit, blocked or not */
        fixture->block(bed->store, false);
        CU_ASSERT(bed_ring(bed, Q, 20, 3));
        bed_free(bed);
}

TRANSPORT_CASES(transport_cases_bell, {"bells and marks come back the same", come_back_the_same, 0},
                {"2,000 bells at once", many_at_once, 0}, {"bells among letters", among_letters, 0},
                {"cut while ringing: what is confirmed comes", cut_while_ringing, NEED_CUT},
                {"what is confirmed survives a kill", confirmed_survive_a_kill, NEED_BROKER},
                {"a missing queue: unconfirmed", unconfirmed_without_a_queue, NEED_HIDE},
                {"the broker is down: unconfirmed", unconfirmed_while_down, NEED_BROKER},
                {"rung before it was up", before_it_was_up, 0},
                {"blocked publishers: consuming goes on", blocked_publishers, NEED_BLOCK},
                {"blocked publishers: bells come back in time", blocked_for_long, NEED_BLOCK}, );
