/*
 * Commit numbers: a transaction happens once or never, and its fate can be asked for.
 */
#include "tests/conformance/bed_life.h"

#include <stdio.h>

static struct commit_no number(const struct bed *bed, enum ledger_lane lane, uint64_t n)
{
        return (struct commit_no){bed->holder, lane, n};
}

static void refuses_a_number_twice(void)
{
        struct bed *bed = bed_new();
        struct submit_row one = bed_row(bed), two = bed_row(bed);
        struct submission first = {.rows = &one, .n = 1}, second = {.rows = &two, .n = 1};
        struct ledger_submit *a = bed_submit(&first), *b = bed_submit(&second);
        bed_must(bed, &a->base);
        b->base.no = a->base.no;
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_REFUSED);
        CU_ASSERT(b->base.note[0] != '\0' && second.refused && second.note[0] != '\0');
        CU_ASSERT(bed_state(bed, &two.id) == STATE_NONE);
        ledger_batch_free(&a->base);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

static void a_resolved_number_can_never_happen(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct commit_no no = number(bed, LANE_CLAIMS, bed->n[LANE_CLAIMS] + 1);
        CU_ASSERT(bed_resolve(bed, number(bed, LANE_CLAIMS, bed->n[LANE_CLAIMS])));
        CU_ASSERT(!bed_resolve(bed, no));
        CU_ASSERT(!bed_resolve(
            bed, no)); /* the answer may have been lost: asked again it says the same */
        struct ledger_claim *b = bed_claim_batch(bed, 1);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_REFUSED);
        CU_ASSERT(b->got->n == 0);
        CU_ASSERT(bed_state(bed, &id) == STATE_PENDING);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

static void a_refused_batch_wrote_nothing(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        fixture->fail_next(bed->store, FAULT_REFUSE);
        struct ledger_claim *b = bed_claim_batch(bed, 1);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_REFUSED);
        CU_ASSERT(b->base.note[0] != '\0');
        CU_ASSERT(bed_state(bed, &id) == STATE_PENDING);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_COMMITTED); /* may be posted again, as it is */
        CU_ASSERT(b->got->n == 1);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

static void an_unknown_claim_that_was_lost(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        fixture->fail_next(bed->store, FAULT_UNKNOWN_LOST);
        struct ledger_claim *b = bed_claim_batch(bed, 1);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
        CU_ASSERT(!bed_resolve(bed, b->base.no));
        CU_ASSERT(bed_state(bed, &id) == STATE_PENDING);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(c->n == 1 && c->jobs[0].claim == 1);
        claim_free(c);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

static void an_unknown_claim_that_was_written(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 5);
        s->rows[2].queue = STR("elsewhere"); /* so that the claim is not one range */
        struct ledger_submit *sub = bed_submit(s);
        bed_must(bed, &sub->base);
        fixture->fail_next(bed->store, FAULT_UNKNOWN_WRITTEN);
        struct ledger_claim *b = bed_claim_batch(bed, 10);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
        CU_ASSERT(bed_resolve(bed, b->base.no));
        struct claim *c = bed_recall(bed, b->base.no, b->token);
        CU_ASSERT_FATAL(c->n == 4 && c->open == 4);
        CU_ASSERT(c->token == b->token && c->no.n == b->base.no.n);
        struct finish_row rows[4];
        for (uint32_t i = 0; i < 4; i++) {
                const struct job *j = &c->jobs[i];
                CU_ASSERT(j->claim == 1 && j->attempt == 1 && j->token == b->token);
                CU_ASSERT(str_eq(j->payload, STR("x")) && str_eq(j->type, STR("noop")));
                rows[i] = bed_verdict(j, STATE_COMPLETED);
        }
        CU_ASSERT(bed_finish(bed, rows, 2) == 0);
        struct claim *rest = bed_recall(bed, b->base.no, b->token);
        CU_ASSERT(rest->n == 2); /* as far as it still runs */
        CU_ASSERT(bed_finish(bed, rows + 2, 2) == 0);
        struct claim *wrong = bed_recall(bed, b->base.no, b->token ^ 1);
        CU_ASSERT(wrong->n == 0);
        claim_free(c);
        claim_free(rest);
        claim_free(wrong);
        ledger_batch_free(&b->base);
        ledger_batch_free(&sub->base);
        submission_free(s);
        bed_free(bed);
}

static void an_unknown_submit_posted_again(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                struct submit_row row = bed_row(bed);
                struct submission s = {.rows = &row, .n = 1};
                struct ledger_submit *b = bed_submit(&s);
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                CU_ASSERT(bed_resolve(bed, b->base.no) == (i == 1));
                b->base.no.n = 0; /* the next number */
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_COMMITTED);
                CU_ASSERT(row.result == (i == 1 ? SUBMIT_EXISTS : SUBMIT_CREATED));
                CU_ASSERT(i == 0 || job_id_eq(&row.existing, &row.id));
                CU_ASSERT(bed_state(bed, &row.id) == STATE_PENDING);
                ledger_batch_free(&b->base);
                bed_free(bed);
        }
}

/* --- posted again, known to have happened ----------------------------------------------------- */

/* The same rows once more; the number is the next one. */
static void repeat(struct bed *bed, struct ledger_submit *b)
{
        for (struct submission *s = b->list; s; s = s->next) {
                s->happened = true;
        }
        b->base.no.n = 0;
        bed_must(bed, &b->base);
}

static bool was_there(const struct submit_row *r, enum job_state state)
{
        return r->result == SUBMIT_EXISTS && job_id_eq(&r->existing, &r->id) &&
               r->existing_state == state;
}

/* Each kind of row of which some have ended and are gone by then, next to one that still waits and
 * to a caller that comes for the first time. */
static void what_happened_and_is_gone_stays_gone(void)
{
        enum { PLAIN, KEYED, UNIQUE, BELL, ROWS };
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, ROWS), *pair = bed_submission(bed, 2);
        struct submission *asked = bed_submission(bed, 2), *waits = bed_submission(bed, 1);
        struct submission *fresh = bed_submission(bed, 1);
        s->rows[KEYED].key = key_from_text(STR("order-7"));
        s->rows[UNIQUE].unique = bed_unique("a");
        s->rows[BELL].band = BAND_BROKER;
        s->next = pair;
        pair->atomic = true;
        pair->next = asked;
        asked->request_key = key_from_text(STR("request-7"));
        asked->next = waits;
        waits->rows[0].type = STR("nobody.serves.it");
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(b->n_outbox == 1 && waits->rows[0].result == SUBMIT_CREATED);
        struct arrival bell = bed_doorbell(&s->rows[BELL].id, false);
        CU_ASSERT(bed_arrive_one(bed, &bell) == ARRIVAL_TAKEN);
        bed_end(bed, bed_claim(bed, 100), STATE_COMPLETED);
        fixture->advance(bed->store, SECOND);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == ROWS + 2 + 2);

        repeat(bed, b);
        b->base.no.n = 0; /* its answer may be lost as well */
        fresh->next = b->list;
        b->list = fresh;
        b->rows++;
        bed_must(bed, &b->base);
        CU_ASSERT(b->n_outbox == 0);
        for (uint32_t i = 0; i < ROWS; i++) {
                CU_ASSERT(was_there(&s->rows[i], STATE_NONE));
        }
        for (uint32_t i = 0; i < 2; i++) {
                CU_ASSERT(was_there(&pair->rows[i], STATE_NONE));
                CU_ASSERT(was_there(&asked->rows[i], STATE_NONE));
        }
        CU_ASSERT(was_there(&waits->rows[0], STATE_PENDING));
        CU_ASSERT(fresh->rows[0].result == SUBMIT_CREATED);
        bed_fold(bed);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 2);
        struct claim *c = bed_claim(bed, 100);
        CU_ASSERT(c->n == 1 && job_id_eq(&c->jobs[0].id, &fresh->rows[0].id));
        struct submit_row next = bed_row(bed);
        next.unique = bed_unique("a"); /* the key was not taken a second time */
        CU_ASSERT(bed_add(bed, &next) == SUBMIT_CREATED);
        claim_free(c);
        while (b->list) {
                struct submission *done = b->list;
                b->list = done->next;
                submission_free(done);
        }
        ledger_batch_free(&b->base);
        bed_free(bed);
}

/* What it did to another job then is not done again. */
static void what_happened_changes_no_other(void)
{
        struct bed *bed = bed_new();
        struct submit_row first = bed_row(bed), second = bed_row(bed), third = bed_row(bed);
        first.unique = second.unique = third.unique = bed_unique("a");
        second.unique.replace = third.unique.replace = true;
        second.payload = STR("second");
        third.payload = STR("third");
        CU_ASSERT(bed_add(bed, &first) == SUBMIT_CREATED);
        struct submission s = {.rows = &second, .n = 1};
        struct ledger_submit *b = bed_submit(&s);
        bed_must(bed, &b->base);
        CU_ASSERT(second.result == SUBMIT_REPLACED);
        CU_ASSERT(bed_add(bed, &third) == SUBMIT_REPLACED);
        repeat(bed, b);
        CU_ASSERT(second.result == SUBMIT_REPLACED && job_id_eq(&second.existing, &first.id));
        struct claim *c = bed_claim(bed, 10);
        CU_ASSERT(c->n == 1 && str_eq(c->jobs[0].payload, STR("third")));
        claim_free(c);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

/* Refused then, refused again: none of an array that failed is told to have been there. */
static void what_happened_and_failed_fails_again(void)
{
        struct bed *bed = bed_new();
        struct submit_row other = bed_row(bed);
        other.key = key_from_text(STR("order-7"));
        CU_ASSERT(bed_add(bed, &other) == SUBMIT_CREATED);
        struct submission *array = bed_submission(bed, 2), *odd = bed_submission(bed, 2);
        array->atomic = odd->atomic = true;
        array->next = odd;
        array->rows[1].key = other.key;
        array->rows[1].payload = STR("not the same");
        odd->rows[1].max_attempts = 0; /* no ledger stores that */
        struct ledger_submit *b = bed_submit(array);
        bed_must(bed, &b->base);
        for (int i = 0; i < 2; i++) {
                CU_ASSERT(array->rows[0].result == SUBMIT_UNDONE);
                CU_ASSERT(array->rows[1].result == SUBMIT_CONFLICT);
                CU_ASSERT(odd->rows[0].result == SUBMIT_UNDONE);
                CU_ASSERT(odd->rows[1].result == SUBMIT_UNSTORABLE);
                if (i == 0) {
                        repeat(bed, b);
                }
        }
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 1);
        ledger_batch_free(&b->base);
        submission_free(array);
        submission_free(odd);
        bed_free(bed);
}

/* --- others ----------------------------------------------------------------------------------- */

static void an_unknown_finish_both_ways(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                struct job_id id = bed_add_one(bed);
                struct claim *c = bed_claim(bed, 1);
                struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
                struct ledger_finish *b = bed_finish_batch(&v, 1);
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                CU_ASSERT(bed_resolve(bed, b->base.no) == (i == 1));
                CU_ASSERT(bed_state(bed, &id) == (i == 1 ? STATE_COMPLETED : STATE_RUNNING));
                ledger_batch_free(&b->base);
                claim_free(c);
                bed_free(bed);
        }
}

/* Posted in one go: those after the unknown transaction are committed before it is resolved, and
 * must not take its numbers for old ones. */
static void every_number_of_an_unknown_crowd_can_be_resolved(void)
{
        enum { CROWD_MAX = 300, CROWD = 40 };
        static struct submit_row rows[CROWD_MAX];
        static struct submission subs[CROWD_MAX];
        static struct ledger_submit *batches[CROWD_MAX];
        uint32_t crowd = fixture->crowd ? fixture->crowd : CROWD, lost = 0;
        CU_ASSERT_FATAL(crowd >= CROWD && crowd <= CROWD_MAX);
        struct bed *bed = bed_new();
        fixture->fail_next(bed->store, FAULT_UNKNOWN_WRITTEN);
        for (uint32_t i = 0; i < crowd; i++) {
                rows[i] = bed_row(bed);
                subs[i] = (struct submission){.rows = &rows[i], .n = 1};
                batches[i] = bed_submit(&subs[i]);
                bed_post(bed, &batches[i]->base);
        }
        for (uint32_t i = 0; i < crowd; i++) {
                bed_wait(bed, &batches[i]->base);
        }
        CU_ASSERT(batches[0]->base.outcome == LEDGER_UNKNOWN);
        for (uint32_t i = 0; i < crowd; i++) {
                bool known = batches[i]->base.outcome == LEDGER_COMMITTED;
                lost += !known && !bed_resolve(bed, batches[i]->base.no);
                lost += bed_state(bed, &rows[i].id) != STATE_PENDING;
                ledger_batch_free(&batches[i]->base);
        }
        CU_ASSERT(lost == 0);
        bed_free(bed);
}

static void keeps_order_within_a_lane(void)
{
        enum { ROUNDS = 30 };
        struct bed *bed = bed_new();
        struct submit_row rows[ROUNDS];
        struct submission subs[ROUNDS];
        struct ledger_submit *submits[ROUNDS];
        struct ledger_claim *claims[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
                rows[i] = bed_row(bed);
                subs[i] = (struct submission){.rows = &rows[i], .n = 1};
                submits[i] = bed_submit(&subs[i]);
                claims[i] = bed_claim_batch(bed, 10);
                bed_post(bed, &submits[i]->base);
                bed_post(bed, &claims[i]->base);
        }
        for (int i = 0; i < ROUNDS; i++) {
                bed_wait(bed, &submits[i]->base);
                bed_wait(bed, &claims[i]->base);
                CU_ASSERT(claims[i]->base.outcome == LEDGER_COMMITTED);
                CU_ASSERT(claims[i]->got->n == 1);
                CU_ASSERT(claims[i]->got->n != 1 ||
                          job_id_eq(&claims[i]->got->jobs[0].id, &rows[i].id));
                ledger_batch_free(&submits[i]->base);
                ledger_batch_free(&claims[i]->base);
        }
        bed_free(bed);
}

/* A batch that is refused for its own reason takes none of its neighbours with it. */
static void a_refused_batch_leaves_its_neighbours(void)
{
        enum { CROWD = 20 };
        struct bed *bed = bed_new();
        struct submit_row rows[CROWD];
        struct submission subs[CROWD];
        struct ledger_submit *batches[CROWD];
        for (int i = 0; i < CROWD; i++) {
                rows[i] = bed_row(bed);
                subs[i] = (struct submission){.rows = &rows[i], .n = 1};
                batches[i] = bed_submit(&subs[i]);
                if (i == 7) {
                        batches[i]->base.no = batches[6]->base.no;
                }
                bed_post(bed, &batches[i]->base);
        }
        for (int i = 0; i < CROWD; i++) {
                bed_wait(bed, &batches[i]->base);
                CU_ASSERT(batches[i]->base.outcome == (i == 7 ? LEDGER_REFUSED : LEDGER_COMMITTED));
                CU_ASSERT(bed_state(bed, &rows[i].id) == (i == 7 ? STATE_NONE : STATE_PENDING));
                ledger_batch_free(&batches[i]->base);
        }
        bed_free(bed);
}

static void the_table_of_commits_stays_small(void)
{
        struct bed *bed = bed_new();
        for (int i = 0; i < 300; i++) {
                bed_add_one(bed);
                struct claim *c = bed_claim(bed, 1);
                CU_ASSERT_FATAL(c->n == 1);
                struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
                struct ledger_finish *b = bed_finish_batch(&v, 1);
                b->retire = &c->no;
                b->n_retire = 1;
                bed_must(bed, &b->base);
                ledger_batch_free(&b->base);
                (void)bed_beat(bed);
                claim_free(c);
        }
        CU_ASSERT(fixture->count_commits(bed->store) <= 300);
        bed_free(bed);
}

CASES(cases_commit, {"a number is refused the second time", refuses_a_number_twice, 0},
      {"a number resolved as lost can never happen", a_resolved_number_can_never_happen, 0},
      {"a refused batch wrote nothing", a_refused_batch_wrote_nothing, NEED_FAULT},
      {"an unknown claim that was lost", an_unknown_claim_that_was_lost, NEED_FAULT},
      {"an unknown claim that was written is recalled", an_unknown_claim_that_was_written,
       NEED_FAULT},
      {"an unknown submission is posted again", an_unknown_submit_posted_again, NEED_FAULT},
      {"what happened and is gone stays gone", what_happened_and_is_gone_stays_gone, 0},
      {"what happened changes no other", what_happened_changes_no_other, 0},
      {"what happened and failed fails again", what_happened_and_failed_fails_again, 0},
      {"an unknown finish, both ways", an_unknown_finish_both_ways, NEED_FAULT},
      {"every number of an unknown crowd can be resolved",
       every_number_of_an_unknown_crowd_can_be_resolved, NEED_FAULT},
      {"keeps order within a lane", keeps_order_within_a_lane, 0},
      {"a refused batch leaves its neighbours", a_refused_batch_leaves_its_neighbours, 0},
      {"the table of commits stays small", the_table_of_commits_stays_small, NEED_RAW});
