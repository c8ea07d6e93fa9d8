/*
 * CLAIM: which jobs, in which order, how many, and what is met on the way.
 */
#include "tests/conformance/bed.h"

static struct job_id add_with(struct bed *bed, uint8_t priority, struct str type,
                              struct str payload)
{
        struct submit_row row = bed_row(bed);
        row.priority = priority;
        row.type = type;
        row.payload = payload;
        CU_ASSERT_FATAL(bed_add(bed, &row) == SUBMIT_CREATED);
        return row.id;
}

static void hands_over_every_field(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.content_type = STR("text/plain");
        row.headers = (struct str){"h\0v\0", 4};
        row.timeout_ms = 77;
        row.deadline_us = fixture->now_us(bed->store) + SECOND;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT_FATAL(c->n == 1 && c->open == 1);
        CU_ASSERT(c->token == bed->token && c->no.holder == bed->holder && c->no.n != 0);
        bed_same(bed, &c->jobs[0], &row);
        claim_free(c);
        bed_free(bed);
}

static void marks_the_row_as_running(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 5), *none = bed_claim(bed, 5);
        CU_ASSERT(c->n == 1 && none->n == 0);
        const struct job_row *r = bed_show(bed, &id);
        CU_ASSERT(r->state == STATE_RUNNING && r->claim == 1 && r->attempt == 1);
        CU_ASSERT(r->holder == bed->holder && r->started_us == fixture->now_us(bed->store));
        claim_free(c);
        claim_free(none);
        bed_free(bed);
}

static void takes_the_most_urgent_first_then_the_oldest(void)
{
        static const uint8_t priorities[] = {5, 9, 0, 5, 9, 3};
        static const int order[] = {1, 4, 0, 3, 5, 2};
        struct bed *bed = bed_new();
        struct job_id ids[6];
        for (int i = 0; i < 6; i++) {
                ids[i] = add_with(bed, priorities[i], STR("noop"), STR("x"));
        }
        struct claim *first = bed_claim(bed, 4), *second = bed_claim(bed, 4);
        CU_ASSERT_FATAL(first->n == 4 && second->n == 2);
        for (int i = 0; i < 6; i++) {
                const struct job *j = i < 4 ? &first->jobs[i] : &second->jobs[i - 4];
                CU_ASSERT(job_id_eq(&j->id, &ids[order[i]]));
        }
        claim_free(first);
        claim_free(second);
        bed_free(bed);
}

static void keeps_queues_apart(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.queue = STR("other");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 0);
        claim_free(c);
        bed_free(bed);
}

static void says_whether_there_is_more(void)
{
        struct bed *bed = bed_new();
        for (int i = 0; i < 3; i++) {
                bed_add_one(bed);
        }
        for (uint32_t want = 2; want <= 3; want++) {
                struct ledger_claim *b = bed_claim_batch(bed, want);
                bed_must(bed, &b->base);
                CU_ASSERT(b->got->n == (want == 2 ? 2 : 1));
                CU_ASSERT(b->more == (want == 2));
                ledger_batch_free(&b->base);
        }
        bed_free(bed);
}

static void keeps_to_its_byte_budget(void)
{
        struct bed *bed = bed_new();
        static char big[3000];
        memset(big, 'b', sizeof big);
        for (int i = 0; i < 4; i++) {
                add_with(bed, 5, STR("noop"), (struct str){big, sizeof big});
        }
        struct ledger_claim *two = bed_claim_batch(bed, 10), *one = bed_claim_batch(bed, 10);
        two->max_bytes = 6500;
        bed_must(bed, &two->base);
        CU_ASSERT(two->got->n == 2 && two->more);
        one->max_bytes = 1; /* one job at least */
        bed_must(bed, &one->base);
        CU_ASSERT(one->got->n == 1 && one->more);
        ledger_batch_free(&two->base);
        ledger_batch_free(&one->base);
        bed_free(bed);
}

static void leaves_other_bands_alone(void)
{
        struct bed *bed = bed_new();
        struct submit_row broker = bed_row(bed), parked = bed_row(bed);
        broker.band = BAND_BROKER;
        parked.band = BAND_PARKED;
        parked.reason = REASON_NO_HANDLER;
        CU_ASSERT(bed_add(bed, &broker) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &parked) == SUBMIT_CREATED);
        CU_ASSERT(bed_show(bed, &broker.id)->band == BAND_BROKER);
        CU_ASSERT(bed_show(bed, &parked.id)->band == BAND_PARKED);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 0);
        claim_free(c);
        bed_free(bed);
}

static void parks_what_the_roster_does_not_serve(void)
{
        struct bed *bed = bed_new();
        struct job_id odd = add_with(bed, 5, STR("odd.type"), STR("x"));
        struct job_id mail = add_with(bed, 5, STR("mail.send"), STR("x"));
        struct job_id odd2 = add_with(bed, 5, STR("odd.type"), STR("x"));
        struct job_id noop = add_with(bed, 5, STR("noop"), STR("x"));
        struct ledger_claim *b = bed_claim_batch(bed, 5);
        bed_must(bed, &b->base);
        CU_ASSERT(b->parked == 2 && b->expired == 0 && !b->more);
        CU_ASSERT_FATAL(b->got->n == 2);
        CU_ASSERT(job_id_eq(&b->got->jobs[0].id, &mail) && job_id_eq(&b->got->jobs[1].id, &noop));
        ledger_batch_free(&b->base);
        const struct job_id *parked[] = {&odd, &odd2};
        for (int i = 0; i < 2; i++) {
                const struct job_row *j = bed_show(bed, parked[i]);
                CU_ASSERT(j->state == STATE_PENDING && j->reason == REASON_NO_HANDLER);
                CU_ASSERT(j->band == BAND_PARKED && j->claim == 0);
        }
        bed_free(bed);
}

/* Of a hundred, each matches one type of these alone. */
static void knows_a_hundred_patterns(void)
{
        enum { MANY = 100 };
        struct bed *bed = bed_new();
        struct handler_desc handlers[MANY] = {0};
        char patterns[MANY][24], type[24];
        for (int i = 0; i < MANY; i++) {
                snprintf(patterns[i], sizeof patterns[i], i % 2 ? "p%d.*" : "p%d.>", i);
                handlers[i].pattern = str_of(patterns[i]);
                handlers[i].plugin = STR("test.so");
                snprintf(type, sizeof type, "p%d.x", i);
                add_with(bed, 5, str_of(type), STR("x"));
        }
        add_with(bed, 5, STR("xp1.x"), STR("x"));
        add_with(bed, 5, STR("p100.x"), STR("x"));
        struct roster *roster = roster_new(1, handlers, MANY);
        struct ledger_claim *b = bed_claim_batch(bed, MANY + 2);
        b->roster = roster;
        bed_must(bed, &b->base);
        CU_ASSERT(b->got->n == MANY && b->parked == 2 && !b->more);
        ledger_batch_free(&b->base);
        roster_unref(roster);
        bed_free(bed);
}

static void finds_more_behind_unserved_rows(void)
{
        struct bed *bed = bed_new();
        add_with(bed, 5, STR("noop"), STR("x"));
        add_with(bed, 5, STR("odd.type"), STR("x"));
        add_with(bed, 5, STR("noop"), STR("x"));
        struct ledger_claim *b = bed_claim_batch(bed, 1);
        bed_must(bed, &b->base);
        CU_ASSERT(b->got->n == 1 && b->more);
        ledger_batch_free(&b->base);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 1);
        claim_free(c);
        bed_free(bed);
}

static void buries_what_is_past_its_deadline(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.deadline_us = fixture->now_us(bed->store) + 5 * SECOND;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct job_id open = bed_add_one(bed);
        fixture->advance(bed->store, 6 * SECOND);
        struct ledger_claim *b = bed_claim_batch(bed, 5);
        bed_must(bed, &b->base);
        CU_ASSERT(b->expired == 1 && b->parked == 0);
        CU_ASSERT(b->got->n == 1 && job_id_eq(&b->got->jobs[0].id, &open));
        ledger_batch_free(&b->base);
        const struct job_row *j = bed_show(bed, &row.id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_EXPIRED && j->attempt == 0);
        CU_ASSERT(j->finished_us == fixture->now_us(bed->store));
        bed_free(bed);
}

static void is_fenced_without_a_registered_holder(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        bed->holder = 999;
        struct ledger_claim *b = bed_claim_batch(bed, 5);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_FENCED);
        CU_ASSERT(b->got->n == 0);
        ledger_batch_free(&b->base);
        CU_ASSERT(bed_state(bed, &id) == STATE_PENDING);
        bed_free(bed);
}

static void gives_each_job_to_one_of_many(void)
{
        enum { JOBS = 300, BEDS = 4 };
        struct bed *beds[BEDS] = {bed_new()};
        for (int i = 1; i < BEDS; i++) {
                beds[i] = bed_join(beds[0], 200 + (uint64_t)i);
        }
        struct submission *s = bed_submission(beds[0], JOBS);
        struct ledger_submit *b = bed_submit(s);
        bed_must(beds[0], &b->base);
        struct ledger_claim *claims[BEDS][20];
        for (int k = 0; k < 20; k++) {
                for (int i = 0; i < BEDS; i++) {
                        claims[i][k] = bed_claim_batch(beds[i], 7);
                        bed_post(beds[i], &claims[i][k]->base);
                }
        }
        uint32_t taken = 0;
        for (int k = 0; k < 20; k++) {
                for (int i = 0; i < BEDS; i++) {
                        bed_wait(beds[i], &claims[i][k]->base);
                        CU_ASSERT(claims[i][k]->base.outcome == LEDGER_COMMITTED);
                        struct claim *c = claims[i][k]->got;
                        for (uint32_t j = 0; j < c->n; j++) {
                                CU_ASSERT(c->jobs[j].claim == 1);
                        }
                        taken += c->n;
                        ledger_batch_free(&claims[i][k]->base);
                }
        }
        CU_ASSERT(taken == JOBS);
        ledger_batch_free(&b->base);
        submission_free(s);
        for (int i = BEDS - 1; i >= 0; i--) {
                bed_free(beds[i]);
        }
}

CASES(cases_claim, {"hands over every field", hands_over_every_field, 0},
      {"marks the row as running", marks_the_row_as_running, 0},
      {"takes the most urgent first, then the oldest", takes_the_most_urgent_first_then_the_oldest,
       0},
      {"keeps queues apart", keeps_queues_apart, 0},
      {"says whether there is more", says_whether_there_is_more, 0},
      {"keeps to its byte budget, one job at least", keeps_to_its_byte_budget, 0},
      {"leaves the broker's and the parked band alone", leaves_other_bands_alone, 0},
      {"parks what the roster does not serve", parks_what_the_roster_does_not_serve, 0},
      {"knows a hundred patterns", knows_a_hundred_patterns, 0},
      {"finds more behind unserved rows", finds_more_behind_unserved_rows, 0},
      {"buries what is past its deadline", buries_what_is_past_its_deadline, 0},
      {"is fenced without a registered holder", is_fenced_without_a_registered_holder, 0},
      {"gives each job to one of many", gives_each_job_to_one_of_many, NEED_SHARE});
