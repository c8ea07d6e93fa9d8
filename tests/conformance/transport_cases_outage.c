/*
 * After whatever happened to the broker, it consumes and publishes again by itself.
 */
#include "tests/conformance/transport_bed.h"

/* Letters that nobody routes yet go astray, so a new one is tried until one comes through the
 * queue; then both ways work. */
static void works_again(struct bed *bed)
{
        struct envelope e = bed_letter("mail.again", "again");
        bool heard = false;
        CU_ASSERT_FATAL(bed_up(bed));
        for (int tries = 0; tries < 60 && !heard; tries++) {
                uint32_t n = bed->n;
                if (fixture->ready(bed->store, bed_queue(bed, Q)) >= 0) {
                        bed_publish(bed, &e, 1);
                }
                bed_pass(bed, 500);
                for (uint32_t i = n < bed->n ? n : 0; i < bed->n; i++) {
                        const struct came *c = &bed->came[i];
                        heard |=
                            c->batch->queue == Q && str_eq(c->arrival->row.type, STR("mail.again"));
                }
        }
        CU_ASSERT_FATAL(heard);
        bed_settle_all(bed);
        CU_ASSERT(bed_ring(bed, Q, 1000, 3));
        bed_pass(bed, 1000);
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
}

/* 20 letters that are not settled, and the broker moves. */
static struct bed *moved(enum broker_move move)
{
        struct bed *bed = bed_serving();
        CU_ASSERT(bed_ring(bed, Q, 1, 1) && bed_came(bed, 1)); /* the queue is trusted now */
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        bed_forget(bed);
        bed_send(bed, 0, 20);
        CU_ASSERT_FATAL(bed_came(bed, 20));
        uint64_t connection = bed->came[0].batch->connection;
        fixture->broker(bed->store, move);
        CU_ASSERT_FATAL(bed_told(bed, TRANSPORT_LOST, 1));
        CU_ASSERT(bed_lost(bed, connection) && bed->dropped >= 20);
        bed_forget(bed);
        return bed;
}

static void restarted(void)
{
        struct bed *bed = moved(BROKER_RESTART);
        CU_ASSERT_FATAL(bed_came(bed, 20));
        bed_check(bed, 0, 0, 20);
        CU_ASSERT(bed_told(bed, TRANSPORT_UP, 2) && bed->news[TRANSPORT_DOWN] >= 1);
        bed_settle_all(bed);
        works_again(bed);
        bed_free(bed);
}

/* A killed broker may have forgotten that the doorbell was acknowledged. */
static void killed(void)
{
        struct bed *bed = moved(BROKER_KILL);
        CU_ASSERT_FATAL(bed_came(bed, 20));
        uint32_t again = bed->came[0].arrival->kind == ARRIVAL_DOORBELL;
        CU_ASSERT_FATAL(bed_came(bed, 20 + again));
        bed_check(bed, again, 0, 20);
        bed_settle_all(bed);
        works_again(bed);
        bed_free(bed);
}

static void wiped(void)
{
        struct bed *bed = moved(BROKER_WIPE);
        works_again(bed);
        bed_free(bed);
}

static void opened_while_down(void)
{
        struct bed *bed = bed_new();
        struct transport *t = bed->ts[0];
        fixture->broker(bed->store, BROKER_STOP);
        t->ops->attach(t, Q, &bed->queues[Q]);
        t->ops->consume(t, Q, 100);
        bed_pass(bed, 3000);
        CU_ASSERT(!bed->up[0]);
        fixture->broker(bed->store, BROKER_START);
        works_again(bed);
        bed_free(bed);
}

static void refused(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 5);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        fixture->refuse(bed->store, true);
        fixture->cut(bed->store);
        CU_ASSERT_FATAL(bed_told(bed, TRANSPORT_LOST, 1));
        bed_forget(bed);
        CU_ASSERT(bed_told(bed, TRANSPORT_DOWN, 1));
        bed_pass(bed, 3000);
        CU_ASSERT(bed->n == 0 && !bed->up[0]);
        CU_ASSERT(!bed_ring(bed, Q, 1, 1));
        fixture->refuse(bed->store, false);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        bed_check(bed, 0, 0, 5);
        bed_settle_all(bed);
        works_again(bed);
        bed_free(bed);
}

static void cut_again_and_again(void)
{
        static bool seen[600];
        struct bed *bed = bed_serving();
        uint64_t last = 0;
        uint32_t missing = 0;
        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < 6; i++) {
                bed_send(bed, i * 100, 100);
                CU_ASSERT_FATAL(bed_came(bed, bed->n + 1));
                uint64_t connection = bed->came[bed->n - 1].batch->connection;
                CU_ASSERT(connection >= last);
                last = connection;
                for (uint32_t k = 0; k < bed->n; k++) {
                        seen[bed_number(&bed->came[k]) % 600] = true;
                }
                bed_settle_all(bed);
                fixture->cut(bed->store);
                CU_ASSERT_FATAL(bed_told(bed, TRANSPORT_LOST, i + 1));
        }
        CU_ASSERT(bed_up(bed) && bed_ready(bed, Q, 0));
        bed_pass(bed, 1000);
        for (uint32_t i = 0; i < bed->n; i++) {
                seen[bed_number(&bed->came[i]) % 600] = true;
        }
        for (uint32_t i = 0; i < 600; i++) {
                missing += !seen[i];
        }
        CU_ASSERT(missing == 0);
        bed_settle_all(bed);
        bed_free(bed);
}

static void queue_deleted(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 5);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        bed_settle_all(bed);
        CU_ASSERT(bed_ready(bed, Q, 0));
        for (int i = 0; i < 3; i++) {
                fixture->delete_queue(bed->store, bed_queue(bed, Q));
                bed_forget(bed);
                works_again(bed);
        }
        bed_free(bed);
}

/* What was delivered from it went with it: settling that is harmless. */
static void queue_deleted_with_letters_out(void)
{
        struct bed *bed = bed_serving();
        bed_send(bed, 0, 5);
        CU_ASSERT_FATAL(bed_came(bed, 5));
        fixture->delete_queue(bed->store, bed_queue(bed, Q));
        bed_pass(bed, 500);
        bed_settle_all(bed);
        bed_forget(bed);
        works_again(bed);
        bed_free(bed);
}

static void queue_away_for_long(void)
{
        struct bed *bed = bed_new();
        bed_serve(bed, 0, 2, 100);
        fixture->hide_queue(bed->store, bed_queue(bed, Q), true);
        bed_pass(bed, 5000);
        fixture->hide_queue(bed->store, bed_queue(bed, Q), false);
        works_again(bed);
        struct envelope e = bed_letter("text.send", "r");
        uint32_t n = bed->n;
        bed_publish(bed, &e, 1);
        CU_ASSERT_FATAL(bed_came(bed, n + 1));
        CU_ASSERT(bed->came[n].batch->queue == R);
        bed_settle_all(bed);
        bed_free(bed);
}

TRANSPORT_CASES(transport_cases_outage, {"the broker is restarted", restarted, NEED_BROKER},
                {"the broker is killed", killed, NEED_BROKER},
                {"the broker is wiped", wiped, NEED_BROKER | NEED_WIPE},
                {"opened while the broker is down", opened_while_down, NEED_BROKER},
                {"connections refused for a while", refused, NEED_CUT},
                {"cut again and again", cut_again_and_again, NEED_CUT},
                {"its queue is deleted", queue_deleted, NEED_HIDE},
                {"its queue is deleted with letters out", queue_deleted_with_letters_out,
                 NEED_HIDE},
                {"its queue is away for long", queue_away_for_long, NEED_HIDE}, );
