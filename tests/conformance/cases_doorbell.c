/*
 * ARRIVE, doorbells: they claim or offer rows of the broker's band, and never anything else.
 */
#include "tests/conformance/bed.h"

static enum arrival_result ring(struct bed *bed, const struct job_id *id, bool start)
{
        struct arrival a = bed_doorbell(id, start);
        return bed_arrive_one(bed, &a);
}

static void hands_over_every_field(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.band = BAND_BROKER;
        row.content_type = STR("text/plain");
        row.headers = (struct str){"h\0v\0", 4};
        row.priority = 7;
        row.timeout_ms = 77;
        row.deadline_us = fixture->now_us(bed->store) + SECOND;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct arrival bell = bed_doorbell(&row.id, true);
        struct ledger_arrive *b = bed_arrive(bed, &bell, 1);
        bed_must(bed, &b->base);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_TAKEN && b->known == 0);
        const struct claim *c = b->got;
        CU_ASSERT_FATAL(c->n == 1 && c->open == 1);
        CU_ASSERT(c->token == b->token && c->no.holder == bed->holder);
        CU_ASSERT(c->no.writer == LANE_CLAIMS && c->no.n == b->base.no.n);
        bed_same(bed, &c->jobs[0], &row);
        const struct job_row *r = bed_show(bed, &row.id);
        CU_ASSERT(r->state == STATE_RUNNING && r->claim == 1 && r->holder == bed->holder);
        CU_ASSERT(r->started_us == fixture->now_us(bed->store));
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == 1);
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_COMPLETED)));
        bed_arrive_free(b);
        bed_free(bed);
}

/* Priorities count again once a row is claimed from the ledger. */
static void without_start_it_is_offered(void)
{
        static const uint8_t priorities[] = {5, 9, 5};
        static const int order[] = {1, 0, 2};
        struct bed *bed = bed_new();
        struct submit_row rows[3];
        for (int i = 0; i < 3; i++) {
                rows[i] = bed_row(bed);
                rows[i].band = BAND_BROKER;
                rows[i].priority = priorities[i];
                CU_ASSERT(bed_add(bed, &rows[i]) == SUBMIT_CREATED);
        }
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(ring(bed, &rows[i].id, false) == ARRIVAL_TAKEN);
                const struct job_row *r = bed_show(bed, &rows[i].id);
                CU_ASSERT(r->state == STATE_PENDING && r->band == BAND_OFFERED && r->claim == 0);
        }
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT_FATAL(c->n == 3);
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(job_id_eq(&c->jobs[i].id, &rows[order[i]].id));
                CU_ASSERT(c->jobs[i].claim == 1 && c->jobs[i].attempt == 1);
        }
        claim_free(c);
        bed_free(bed);
}

static void wakes_only_its_own_queue(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.band = BAND_BROKER;
        row.queue = STR("other");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        CU_ASSERT(ring(bed, &row.id, true) == ARRIVAL_KNOWN);
        CU_ASSERT(ring(bed, &row.id, false) == ARRIVAL_KNOWN);
        const struct job_row *r = bed_show(bed, &row.id);
        CU_ASSERT(r->state == STATE_PENDING && r->band == BAND_BROKER);
        bed_free(bed);
}

static void the_second_finds_nobody(void)
{
        struct bed *bed = bed_new();
        struct job_id one = bed_add_broker(bed), two = bed_add_broker(bed);
        CU_ASSERT(ring(bed, &one, true) == ARRIVAL_TAKEN);
        CU_ASSERT(ring(bed, &one, true) == ARRIVAL_KNOWN);
        CU_ASSERT(ring(bed, &two, false) == ARRIVAL_TAKEN);
        CU_ASSERT(ring(bed, &two, false) == ARRIVAL_KNOWN);
        CU_ASSERT(ring(bed, &two, true) == ARRIVAL_KNOWN);
        CU_ASSERT(bed_show(bed, &one)->claim == 1 && bed_show(bed, &two)->claim == 0);
        bed_free(bed);
}

static void the_second_of_one_batch_finds_nobody(void)
{
        struct bed *bed = bed_new();
        struct job_id a = bed_add_broker(bed), b = bed_add_broker(bed), c = bed_add_broker(bed);
        struct arrival items[] = {
            bed_doorbell(&a, true),  bed_doorbell(&b, true), bed_doorbell(&a, true),
            bed_doorbell(&c, false), bed_doorbell(&c, true), bed_doorbell(&b, false),
        };
        struct ledger_arrive *batch = bed_arrive(bed, items, ARRAY_LEN(items));
        bed_must(bed, &batch->base);
        static const bool taken[] = {true, true, false, true, false, false};
        for (size_t i = 0; i < ARRAY_LEN(items); i++) {
                enum arrival_result wanted = taken[i] ? ARRIVAL_TAKEN : ARRIVAL_KNOWN;
                CU_ASSERT(batch->list->items[i].result == wanted);
        }
        CU_ASSERT(batch->known == 3 && batch->got->n == 2 && batch->got->open == 2);
        CU_ASSERT(bed_show(bed, &a)->claim == 1 && bed_show(bed, &b)->claim == 1);
        CU_ASSERT(bed_show(bed, &c)->band == BAND_OFFERED);
        bed_arrive_free(batch);
        bed_free(bed);
}

static void is_dropped_where_nobody_waits_for_it(void)
{
        struct bed *bed = bed_new();
        struct submit_row parked = bed_row(bed);
        parked.band = BAND_PARKED;
        parked.reason = REASON_NO_HANDLER;
        CU_ASSERT(bed_add(bed, &parked) == SUBMIT_CREATED);
        struct job_id nobody = id_mint(&bed->mint, fixture->now_us(bed->store));
        for (int start = 0; start < 2; start++) {
                for (int state = 0; state < JOB_STATE_COUNT; state++) { /* pending: offered */
                        struct job_id id = bed_job_in(bed, (enum job_state)state);
                        uint32_t claim = bed_show(bed, &id)->claim;
                        CU_ASSERT(ring(bed, &id, start) == ARRIVAL_KNOWN);
                        CU_ASSERT(bed_state(bed, &id) == (enum job_state)state);
                        CU_ASSERT(bed_show(bed, &id)->claim == claim);
                }
                CU_ASSERT(ring(bed, &parked.id, start) == ARRIVAL_KNOWN);
                CU_ASSERT(bed_show(bed, &parked.id)->band == BAND_PARKED);
                CU_ASSERT(ring(bed, &nobody, start) == ARRIVAL_KNOWN);
                CU_ASSERT(bed_state(bed, &nobody) == STATE_NONE);
        }
        bed_free(bed);
}

static void is_dropped_for_a_cancelled_row(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_broker(bed);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_DONE);
        CU_ASSERT(ring(bed, &id, true) == ARRIVAL_KNOWN);
        CU_ASSERT(bed_state(bed, &id) == STATE_CANCELLED);
        bed_free(bed);
}

static void buries_what_is_past_its_deadline(void)
{
        struct bed *bed = bed_new();
        for (int start = 0; start < 2; start++) {
                struct submit_row row = bed_row(bed);
                row.band = BAND_BROKER;
                row.deadline_us = fixture->now_us(bed->store) + 5 * SECOND;
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                fixture->advance(bed->store, 6 * SECOND);
                CU_ASSERT(ring(bed, &row.id, start) == ARRIVAL_KNOWN);
                const struct job_row *r = bed_show(bed, &row.id);
                CU_ASSERT(r->state == STATE_DEAD && r->reason == REASON_EXPIRED && r->attempt == 0);
                CU_ASSERT(r->finished_us == fixture->now_us(bed->store) && r->claim == 0);
        }
        const struct ledger_stats *s = bed_stats(bed);
        CU_ASSERT(s->n == 1 && s->queues[0].jobs[STATE_DEAD] == 2);
        CU_ASSERT(s->n == 1 && s->queues[0].jobs[STATE_PENDING] == 0);
        bed_free(bed);
}

/* In any order, of any size, between letters and marks. */
static void many_in_any_order(void)
{
        enum { BELLS = 300, STEP = 77, ALL = BELLS + 20 };
        static struct arrival items[ALL];
        static char bytes[BELLS * 10];
        memset(bytes, 'p', sizeof bytes);
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, BELLS);
        for (uint32_t i = 0; i < BELLS; i++) {
                s->rows[i].band = BAND_BROKER;
                s->rows[i].payload = (struct str){bytes, i * 10};
        }
        struct ledger_submit *sub = bed_submit(s);
        bed_must(bed, &sub->base);
        uint32_t n = 0;
        for (uint32_t i = 0; i < BELLS; i++) {
                items[n++] = bed_doorbell(&s->rows[i * STEP % BELLS].id, i % 10 != 9);
                if (i % 15 == 0) {
                        items[n++] = i % 2 ? bed_letter(bed)
                                           : (struct arrival){.kind = ARRIVAL_MARK, .seq = i};
                }
        }
        struct ledger_arrive *b = bed_arrive(bed, items, n);
        bed_must(bed, &b->base);
        CU_ASSERT(n == ALL && b->known == 0 && b->got->n == BELLS * 9 / 10);
        uint32_t right = 0;
        for (uint32_t i = 0; i < b->got->n; i++) {
                const struct job *j = &b->got->jobs[i];
                for (uint32_t k = 0; k < BELLS; k++) {
                        right += job_id_eq(&j->id, &s->rows[k].id) &&
                                 str_eq(j->payload, s->rows[k].payload);
                }
        }
        CU_ASSERT(right == b->got->n);
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == BELLS * 9 / 10 + 10);
        struct claim *c = bed_claim(bed, BELLS);
        CU_ASSERT(c->n == BELLS / 10);
        claim_free(c);
        bed_arrive_free(b);
        ledger_batch_free(&sub->base);
        submission_free(s);
        bed_free(bed);
}

static void two_nodes_share_what_rings_twice(void)
{
        enum { JOBS = 40, BEDS = 3 };
        struct bed *beds[BEDS] = {bed_new()};
        struct arrival items[JOBS];
        struct ledger_arrive *batches[BEDS][JOBS];
        for (int i = 1; i < BEDS; i++) {
                beds[i] = bed_join(beds[0], 200 + (uint64_t)i);
        }
        for (int k = 0; k < JOBS; k++) {
                struct job_id id = bed_add_broker(beds[0]);
                items[k] = bed_doorbell(&id, true);
        }
        for (int k = 0; k < JOBS; k++) {
                for (int i = 0; i < BEDS; i++) {
                        batches[i][k] = bed_arrive(beds[i], &items[i == 1 ? JOBS - 1 - k : k], 1);
                        bed_post(beds[i], &batches[i][k]->base);
                }
        }
        uint32_t taken = 0;
        for (int k = 0; k < JOBS; k++) {
                for (int i = 0; i < BEDS; i++) {
                        bed_wait(beds[i], &batches[i][k]->base);
                        CU_ASSERT(batches[i][k]->base.outcome == LEDGER_COMMITTED);
                        taken += batches[i][k]->got->n;
                        bed_arrive_free(batches[i][k]);
                }
        }
        CU_ASSERT(taken == JOBS);
        for (int i = BEDS - 1; i >= 0; i--) {
                bed_free(beds[i]);
        }
}

CASES(cases_doorbell, {"hands over every field", hands_over_every_field, 0},
      {"without start, the row is offered", without_start_it_is_offered, 0},
      {"wakes only its own queue", wakes_only_its_own_queue, 0},
      {"the second finds nobody", the_second_finds_nobody, 0},
      {"the second of one batch finds nobody", the_second_of_one_batch_finds_nobody, 0},
      {"is dropped where nobody waits for it", is_dropped_where_nobody_waits_for_it, 0},
      {"is dropped for a cancelled row", is_dropped_for_a_cancelled_row, 0},
      {"buries what is past its deadline", buries_what_is_past_its_deadline, 0},
      {"many in any order", many_in_any_order, 0},
      {"two nodes share what rings twice", two_nodes_share_what_rings_twice, NEED_SHARE});
