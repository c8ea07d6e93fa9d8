/*
 * TIDE: what a broker passed over is offered by the ledger.
 */
#include "tests/conformance/bed.h"

#define OLDER (10 * SECOND)
#define ALL   INT64_MAX

static struct ledger_tide *tide(struct bed *bed, int64_t below, uint32_t limit)
{
        struct ledger_tide *b = NEW(tide, TIDE);
        b->queue = STR("q");
        b->below = below;
        b->older_us = OLDER;
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static struct submit_row add(struct bed *bed, uint8_t priority)
{
        struct submit_row row = bed_row(bed);
        row.band = BAND_BROKER;
        row.priority = priority;
        CU_ASSERT_FATAL(bed_add(bed, &row) == SUBMIT_CREATED);
        CU_ASSERT_FATAL(row.seq > 0);
        return row;
}

static enum lane_band band(struct bed *bed, const struct submit_row *row)
{
        const struct job_row *j = bed_show(bed, &row->id);
        CU_ASSERT(j->state == STATE_PENDING && j->claim == 0 && j->attempt == 0);
        return j->band;
}

static void offers_only_what_was_passed_over(void)
{
        struct bed *bed = bed_new();
        struct submit_row rows[4];
        for (int i = 0; i < 4; i++) {
                rows[i] = add(bed, 5);
        }
        fixture->advance(bed->store, OLDER + SECOND);
        struct ledger_tide *b = tide(bed, rows[2].seq, 10);
        CU_ASSERT(b->moved == 2 && !b->more && b->waiting);
        for (int i = 0; i < 4; i++) {
                CU_ASSERT(band(bed, &rows[i]) == (i < 2 ? BAND_OFFERED : BAND_BROKER));
        }
        b = tide(bed, rows[2].seq, 10);
        CU_ASSERT(b->moved == 0 && !b->more && b->waiting);
        b = tide(bed, ALL, 10);
        CU_ASSERT(b->moved == 2 && !b->more && !b->waiting);
        CU_ASSERT(band(bed, &rows[3]) == BAND_OFFERED);
        bed_free(bed);
}

static void leaves_the_young(void)
{
        struct bed *bed = bed_new();
        struct submit_row old = add(bed, 5);
        fixture->advance(bed->store, OLDER - 2 * SECOND);
        struct submit_row young = add(bed, 5);
        struct ledger_tide *b = tide(bed, ALL, 10);
        CU_ASSERT(b->moved == 0 && !b->more && !b->waiting);
        fixture->advance(bed->store, 3 * SECOND);
        b = tide(bed, ALL, 10);
        CU_ASSERT(b->moved == 1 && !b->more && !b->waiting); /* the other is not that old */
        CU_ASSERT(band(bed, &old) == BAND_OFFERED && band(bed, &young) == BAND_BROKER);
        bed_free(bed);
}

static void keeps_to_its_limit_oldest_first(void)
{
        struct bed *bed = bed_new();
        struct submit_row rows[5];
        for (int i = 0; i < 5; i++) {
                rows[i] = add(bed, (uint8_t)(2 * i)); /* the oldest first, not the most urgent */
        }
        fixture->advance(bed->store, OLDER + SECOND);
        struct ledger_tide *b = tide(bed, ALL, 2);
        CU_ASSERT(b->moved == 2 && b->more && b->waiting);
        for (int i = 0; i < 5; i++) {
                CU_ASSERT(band(bed, &rows[i]) == (i < 2 ? BAND_OFFERED : BAND_BROKER));
        }
        b = tide(bed, rows[4].seq, 2);
        CU_ASSERT(b->moved == 2 && !b->more && b->waiting); /* the fifth is not below */
        b = tide(bed, ALL, 2);
        CU_ASSERT(b->moved == 1 && !b->more && !b->waiting);
        bed_free(bed);
}

static void a_limit_of_nothing_looks(void)
{
        struct bed *bed = bed_new();
        struct ledger_tide *b = tide(bed, ALL, 0);
        CU_ASSERT(b->moved == 0 && !b->more && !b->waiting);
        struct submit_row one = add(bed, 5), two = add(bed, 5);
        b = tide(bed, ALL, 0);
        CU_ASSERT(b->moved == 0 && !b->more && !b->waiting && b->last == two.seq);
        fixture->advance(bed->store, OLDER + SECOND);
        b = tide(bed, ALL, 0);
        CU_ASSERT(b->moved == 0 && b->more && b->waiting);
        b = tide(bed, one.seq, 0);
        CU_ASSERT(b->moved == 0 && !b->more && b->waiting);
        CU_ASSERT(band(bed, &one) == BAND_BROKER && band(bed, &two) == BAND_BROKER);
        bed_free(bed);
}

/* Whatever the queue, the band, the state: a mark that carries it stands behind all of them. */
static void tells_the_last_seq(void)
{
        struct bed *bed = bed_new();
        int64_t none = tide(bed, ALL, 0)->last;
        struct submit_row one = add(bed, 5);
        CU_ASSERT(one.seq > none && tide(bed, ALL, 0)->last == one.seq);
        (void)bed_add_one(bed);
        struct arrival letter = bed_letter(bed);
        CU_ASSERT(bed_arrive_one(bed, &letter) == ARRIVAL_TAKEN);
        int64_t between = tide(bed, ALL, 0)->last;
        CU_ASSERT(between >= one.seq);
        struct submit_row other = bed_row(bed);
        other.band = BAND_BROKER;
        other.queue = STR("q2");
        CU_ASSERT(bed_add(bed, &other) == SUBMIT_CREATED);
        CU_ASSERT(other.seq > between && tide(bed, ALL, 0)->last == other.seq);
        bed_free(bed);
}

static void keeps_to_its_queue_and_band(void)
{
        struct bed *bed = bed_new();
        struct submit_row other = bed_row(bed), parked = bed_row(bed);
        other.band = BAND_BROKER;
        other.queue = STR("q2");
        parked.band = BAND_PARKED;
        parked.reason = REASON_NO_HANDLER;
        CU_ASSERT(bed_add(bed, &other) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &parked) == SUBMIT_CREATED);
        struct job_id offered = bed_add_one(bed), gone = bed_add_broker(bed);
        CU_ASSERT(bed_cancel(bed, &gone) == CANCEL_DONE);
        fixture->advance(bed->store, OLDER + SECOND);
        struct ledger_tide *b = tide(bed, ALL, 10);
        CU_ASSERT(b->moved == 0 && !b->more && !b->waiting);
        CU_ASSERT(bed_show(bed, &other.id)->band == BAND_BROKER);
        CU_ASSERT(bed_show(bed, &parked.id)->band == BAND_PARKED);
        CU_ASSERT(bed_show(bed, &offered)->band == BAND_OFFERED);
        CU_ASSERT(bed_state(bed, &gone) == STATE_CANCELLED);
        bed_free(bed);
}

static void priorities_count_again(void)
{
        static const uint8_t priorities[] = {5, 9, 0, 5, 9, 3};
        static const int order[] = {1, 4, 0, 3, 5, 2};
        struct bed *bed = bed_new();
        struct submit_row rows[6];
        for (int i = 0; i < 6; i++) {
                rows[i] = add(bed, priorities[i]);
        }
        fixture->advance(bed->store, OLDER + SECOND);
        CU_ASSERT(tide(bed, ALL, 10)->moved == 6);
        struct claim *c = bed_claim(bed, 10);
        CU_ASSERT_FATAL(c->n == 6);
        for (int i = 0; i < 6; i++) {
                CU_ASSERT(job_id_eq(&c->jobs[i].id, &rows[order[i]].id));
                CU_ASSERT(c->jobs[i].claim == 1 && c->jobs[i].attempt == 1);
        }
        claim_free(c);
        bed_free(bed);
}

/* A false alarm costs one dropped doorbell. */
static void a_doorbell_that_comes_after_all_is_dropped(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = add(bed, 5);
        fixture->advance(bed->store, OLDER + SECOND);
        CU_ASSERT(tide(bed, ALL, 10)->moved == 1);
        struct arrival bell = bed_doorbell(&row.id, true), late = bell;
        CU_ASSERT(bed_arrive_one(bed, &bell) == ARRIVAL_KNOWN);
        CU_ASSERT(band(bed, &row) == BAND_OFFERED);
        struct claim *c = bed_claim(bed, 10);
        CU_ASSERT_FATAL(c->n == 1);
        CU_ASSERT(bed_arrive_one(bed, &late) == ARRIVAL_KNOWN);
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_COMPLETED)));
        claim_free(c);
        bed_free(bed);
}

static void moves_many_in_one_go(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 2500);
        for (uint32_t i = 0; i < s->n; i++) {
                s->rows[i].band = BAND_BROKER;
        }
        struct ledger_submit *sub = bed_submit(s);
        bed_must(bed, &sub->base);
        fixture->advance(bed->store, OLDER + SECOND);
        struct ledger_tide *b = tide(bed, ALL, 2200);
        CU_ASSERT(b->moved == 2200 && b->more && b->waiting);
        b = tide(bed, ALL, 2200);
        CU_ASSERT(b->moved == 300 && !b->more && !b->waiting);
        struct claim *c = bed_claim(bed, 3000);
        CU_ASSERT(c->n == 2500);
        claim_free(c);
        ledger_batch_free(&sub->base);
        submission_free(s);
        bed_free(bed);
}

/* Within one transaction and the next, seq rises in the order in which rows came. */
static void seq_rises(void)
{
        struct bed *bed = bed_new();
        int64_t last = 0;
        for (int round = 0; round < 3; round++) {
                struct submission *s = bed_submission(bed, 20);
                for (uint32_t i = 0; i < s->n; i++) {
                        s->rows[i].band = BAND_BROKER;
                }
                struct ledger_submit *sub = bed_submit(s);
                bed_must(bed, &sub->base);
                for (uint32_t i = 0; i < s->n; i++) {
                        CU_ASSERT(s->rows[i].seq > last);
                        last = s->rows[i].seq;
                }
                ledger_batch_free(&sub->base);
                submission_free(s);
        }
        bed_free(bed);
}

CASES(cases_tide, {"offers only what was passed over", offers_only_what_was_passed_over, 0},
      {"leaves the young", leaves_the_young, 0},
      {"keeps to its limit, oldest first", keeps_to_its_limit_oldest_first, 0},
      {"a limit of nothing looks", a_limit_of_nothing_looks, 0},
      {"tells the last seq", tells_the_last_seq, 0},
      {"keeps to its queue and band", keeps_to_its_queue_and_band, 0},
      {"priorities count again", priorities_count_again, 0},
      {"a doorbell that comes after all is dropped", a_doorbell_that_comes_after_all_is_dropped, 0},
      {"moves many in one go", moves_many_in_one_go, 0}, {"seq rises", seq_rises, 0});
