/*
 * FINISH: what a verdict writes, and what the fence refuses.
 */
#include "tests/conformance/bed.h"

static void writes_a_completion(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
        v.result = STR("42");
        v.result_type = STR("text/plain");
        v.started_us = fixture->now_us(bed->store) + 10;
        v.ended_us = v.started_us + 20;
        CU_ASSERT(bed_finish_one(bed, v));
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->state == STATE_COMPLETED && j->attempt == 1 && j->claim == 1);
        CU_ASSERT(str_eq(j->result, v.result) && str_eq(j->result_type, v.result_type));
        CU_ASSERT(j->started_us == v.started_us && j->finished_us == v.ended_us);
        CU_ASSERT(j->last.error == ERROR_NONE && j->n_attempts == 0);
        claim_free(c);
        bed_free(bed);
}

static void finds_the_row_without_its_ref(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
        v.ref = 0;
        CU_ASSERT(bed_finish_one(bed, v));
        CU_ASSERT(bed_state(bed, &id) == STATE_COMPLETED);
        claim_free(c);
        bed_free(bed);
}

static void refuses_every_stale_fence(void)
{
        struct bed *bed = bed_new();
        struct job_id a = bed_add_one(bed), b = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 2);
        CU_ASSERT_FATAL(c->n == 2);
        for (int to = 0; to < 2; to++) {
                enum job_state state = to ? STATE_DEAD : STATE_COMPLETED;
                struct finish_row token = bed_verdict(&c->jobs[0], state), claim = token,
                                  id = token;
                token.token ^= 1;
                claim.claim++;
                id.id = b;
                struct finish_row rows[] = {token, claim, id};
                CU_ASSERT(bed_finish(bed, rows, 3) == 3);
        }
        CU_ASSERT(bed_state(bed, &a) == STATE_RUNNING && bed_state(bed, &b) == STATE_RUNNING);
        struct finish_row twice[] = {bed_verdict(&c->jobs[0], STATE_COMPLETED),
                                     bed_verdict(&c->jobs[0], STATE_DEAD),
                                     bed_verdict(&c->jobs[1], STATE_COMPLETED)};
        CU_ASSERT(bed_finish(bed, twice, 3) == 1);
        CU_ASSERT(bed_state(bed, &a) == STATE_COMPLETED && bed_state(bed, &b) == STATE_COMPLETED);
        CU_ASSERT(bed_finish(bed, twice, 3) == 3);
        claim_free(c);
        bed_free(bed);
}

/* Most ended in a row and alike; a few of them not, one not for the first time. */
static void completes_many_together(void)
{
        enum { MANY = 40, ENDED = 5, FORGED = 12, OTHER = 20, TELLS = 30 };
        struct bed *bed = bed_new();
        for (int i = 0; i < MANY; i++) {
                bed_add_one(bed);
        }
        struct claim *c = bed_claim(bed, MANY);
        CU_ASSERT_FATAL(c->n == MANY);
        struct finish_row rows[MANY];
        for (int i = 0; i < MANY; i++) {
                rows[i] = bed_verdict(&c->jobs[i], STATE_COMPLETED);
                rows[i].started_us = 1000 + i;
                rows[i].ended_us = 2000 + 2 * i;
        }
        CU_ASSERT(bed_finish_one(bed, rows[ENDED]));
        rows[FORGED].token ^= 1;
        rows[OTHER].to = STATE_CANCELLED;
        rows[TELLS].result = STR("42");
        CU_ASSERT(bed_finish(bed, rows, MANY) == 2);
        for (int i = 0; i < MANY; i++) {
                const struct job_row *j = bed_show(bed, &c->jobs[i].id);
                CU_ASSERT(j->state == (i == FORGED  ? STATE_RUNNING
                                       : i == OTHER ? STATE_CANCELLED
                                                    : STATE_COMPLETED));
                CU_ASSERT(i == FORGED || (j->started_us == 1000 + i &&
                                          j->finished_us == 2000 + 2 * i && j->attempt == 1));
                CU_ASSERT(str_eq(j->result, i == TELLS ? STR("42") : (struct str){0}));
        }
        const struct ledger_stats *n = bed_stats(bed);
        CU_ASSERT_FATAL(n->n == 1);
        CU_ASSERT(n->queues[0].jobs[STATE_COMPLETED] == MANY - 2);
        CU_ASSERT(n->queues[0].jobs[STATE_RUNNING] == 1);
        claim_free(c);
        bed_free(bed);
}

/* Of the queue named so; 0 when it has none. */
static uint64_t completed_of(struct bed *bed, const char *queue)
{
        const struct ledger_stats *s = bed_stats(bed);
        uint64_t n = 0;
        for (uint32_t i = 0; i < s->n; i++) {
                if (str_eq(s->queues[i].queue, str_of(queue))) {
                        n += (uint64_t)s->queues[i].jobs[STATE_COMPLETED];
                }
        }
        return n;
}

/* Nothing but their times differs: each queue counts its own, told or not; the second time all are
 * stale. */
static void counts_completions_by_queue(void)
{
        enum { MANY = 12 };
        static const char *const queues[] = {"q", "other", "q", "third"};
        struct bed *bed = bed_new();
        for (int told = 0; told < 2; told++) {
                struct finish_row rows[MANY];
                struct arrival letters[MANY];
                for (int i = 0; i < MANY; i++) {
                        letters[i] = bed_letter(bed);
                        letters[i].row.queue = str_of(queues[i % 4]);
                }
                for (int i = 0; i < MANY; i++) {
                        struct ledger_arrive *b = bed_arrive(bed, &letters[i], 1);
                        b->queue = letters[i].row.queue;
                        bed_must(bed, &b->base);
                        rows[i] = (struct finish_row){.id = b->list->items[0].row.id,
                                                      .claim = 1,
                                                      .token = b->token,
                                                      .to = STATE_COMPLETED,
                                                      .attempt = 1,
                                                      .queue = told ? letters[i].row.queue
                                                                    : (struct str){0},
                                                      .started_us = 1000 + i,
                                                      .ended_us = 2000 + i};
                        bed_arrive_free(b);
                }
                CU_ASSERT(bed_finish(bed, rows, MANY) == 0);
                CU_ASSERT(completed_of(bed, "q") == MANY / 2 * (uint64_t)(told + 1));
                CU_ASSERT(completed_of(bed, "other") == MANY / 4 * (uint64_t)(told + 1));
                CU_ASSERT(completed_of(bed, "third") == MANY / 4 * (uint64_t)(told + 1));
                CU_ASSERT(bed_show(bed, &rows[5].id)->finished_us == 2005);
                CU_ASSERT(bed_finish(bed, rows, MANY) == MANY);
                CU_ASSERT(completed_of(bed, "q") == MANY / 2 * (uint64_t)(told + 1));
        }
        bed_free(bed);
}

static void refuses_the_verdict_of_an_earlier_claim(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *old = bed_claim(bed, 1);
        struct finish_row back = bed_verdict(&old->jobs[0], STATE_PENDING);
        back.attempt = 0;
        CU_ASSERT(bed_finish_one(bed, back));
        struct claim *now = bed_claim(bed, 1);
        CU_ASSERT_FATAL(now->n == 1);
        CU_ASSERT(now->jobs[0].claim == 2 && now->jobs[0].attempt == 1);
        CU_ASSERT(!bed_finish_one(bed, bed_verdict(&old->jobs[0], STATE_COMPLETED)));
        CU_ASSERT(bed_state(bed, &id) == STATE_RUNNING);
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&now->jobs[0], STATE_COMPLETED)));
        claim_free(old);
        claim_free(now);
        bed_free(bed);
}

static void gives_back_to_its_own_place(void)
{
        struct bed *bed = bed_new();
        struct job_id first = bed_add_one(bed), second = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        struct finish_row back = bed_verdict(&c->jobs[0], STATE_PENDING);
        back.attempt = 0;
        back.reason = REASON_GIVEN_BACK;
        CU_ASSERT(bed_finish_one(bed, back));
        const struct job_row *j = bed_show(bed, &first);
        CU_ASSERT(j->state == STATE_PENDING && j->band == BAND_OFFERED && j->attempt == 0);
        CU_ASSERT(j->reason == REASON_GIVEN_BACK && j->claim == 1 && j->n_attempts == 0);
        struct claim *again = bed_claim(bed, 2);
        CU_ASSERT_FATAL(again->n == 2);
        CU_ASSERT(job_id_eq(&again->jobs[0].id, &first) && job_id_eq(&again->jobs[1].id, &second));
        CU_ASSERT(again->jobs[0].claim == 2 && again->jobs[0].attempt == 1);
        claim_free(c);
        claim_free(again);
        bed_free(bed);
}

static struct finish_row failed_try(const struct job *j, enum job_state to)
{
        struct finish_row v = bed_verdict(j, to);
        v.error = ERROR_FAILED;
        v.error_text = STR("no route to host");
        v.build = STR("abc123");
        v.worker = 3;
        v.worker_pid = 4242;
        v.started_us = 1000;
        v.ended_us = 2000;
        return v;
}

/* Fails the one job of the queue; the third time it is dead. */
static void fail_once(struct bed *bed, uint16_t attempt)
{
        bool last = attempt == 3;
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1 && c->jobs[0].attempt == attempt);
        struct finish_row v = failed_try(&c->jobs[0], last ? STATE_DEAD : STATE_RETRYING);
        v.keep_attempt = !last;
        v.reason = last ? REASON_EXHAUSTED : REASON_NONE;
        v.after_us = SECOND;
        CU_ASSERT(bed_finish_one(bed, v));
        claim_free(c);
        fixture->advance(bed->store, 2 * SECOND);
        struct ledger_due *due = NEW(due, DUE);
        due->limit = 10;
        bed_must(bed, &due->base);
        CU_ASSERT(due->moved == !last);
        ledger_batch_free(&due->base);
}

static void check_try(const struct attempt_row *a, uint16_t attempt)
{
        CU_ASSERT(a->attempt == attempt && a->claim == attempt && a->generation == 0);
        CU_ASSERT(a->error == ERROR_FAILED && str_eq(a->error_text, STR("no route to host")));
        CU_ASSERT(str_eq(a->build, STR("abc123")) && a->holder != 0);
        CU_ASSERT(a->worker == 3 && a->worker_pid == 4242);
        CU_ASSERT(a->started_us == 1000 && a->ended_us == 2000);
}

static void keeps_the_history_of_tries(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        for (uint16_t attempt = 1; attempt <= 3; attempt++) {
                fail_once(bed, attempt);
        }
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_EXHAUSTED && j->attempt == 3);
        CU_ASSERT_FATAL(j->n_attempts == 2);
        check_try(&j->attempts[0], 1);
        check_try(&j->attempts[1], 2);
        check_try(&j->last, 3);
        bed_free(bed);
}

static void stores_the_counts_of_the_verdict(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_SCHEDULED);
        v.reason = REASON_SNOOZED;
        v.attempt = 0;
        v.snoozes = 17;
        v.strikes = 2;
        v.after_us = 3 * SECOND;
        CU_ASSERT(bed_finish_one(bed, v));
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->state == STATE_SCHEDULED && j->reason == REASON_SNOOZED && j->attempt == 0);
        CU_ASSERT(j->snoozes == 17 && j->strikes == 2);
        CU_ASSERT(j->due_us == fixture->now_us(bed->store) + 3 * SECOND && j->finished_us == 0);
        claim_free(c);
        bed_free(bed);
}

static void survives_a_poisoned_result_among_500(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 500);
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        struct claim *c = bed_claim(bed, 500);
        CU_ASSERT_FATAL(c->n == 500);
        struct finish_row *rows = calloc(500, sizeof *rows);
        char *huge = calloc(1, RESULT_MAX + 1);
        for (uint32_t i = 0; i < c->n; i++) {
                rows[i] = bed_verdict(&c->jobs[i], STATE_COMPLETED);
        }
        rows[99].result =
            (struct str){huge, RESULT_MAX + 1}; /* no store keeps more than RESULT_MAX */
        CU_ASSERT(bed_finish(bed, rows, 500) == 0);
        const struct job_row *j = bed_show(bed, &c->jobs[99].id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_UNSTORABLE && j->result.n == 0);
        CU_ASSERT(j->last.error == ERROR_UNSTORABLE);
        for (uint32_t i = 0; i < 500; i += 49) {
                CU_ASSERT(i == 99 || bed_state(bed, &c->jobs[i].id) == STATE_COMPLETED);
        }
        CU_ASSERT(bed_state(bed, &c->jobs[98].id) == STATE_COMPLETED);
        CU_ASSERT(bed_state(bed, &c->jobs[100].id) == STATE_COMPLETED);
        free(huge);
        free(rows);
        claim_free(c);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void children_come_with_completion_alone(void)
{
        struct bed *bed = bed_new();
        static const enum job_state to[] = {STATE_COMPLETED, STATE_DEAD, STATE_COMPLETED};
        for (int i = 0; i < 3; i++) {
                bed_add_one(bed);
                struct claim *c = bed_claim(bed, 1);
                CU_ASSERT_FATAL(c->n == 1);
                struct submission *children = bed_submission(bed, 2);
                children->rows[0].queue = children->rows[1].queue = STR("children");
                struct job_id ids[] = {children->rows[0].id, children->rows[1].id};
                struct finish_row v = bed_verdict(&c->jobs[0], to[i]);
                v.children = children; /* goes with the batch */
                v.token ^= i == 2;     /* the third is stale */
                struct ledger_finish *b = bed_finish_batch(&v, 1);
                bed_must(bed, &b->base);
                CU_ASSERT(b->stale == (i == 2));
                CU_ASSERT(i != 0 || children->rows[0].result == SUBMIT_CREATED);
                ledger_batch_free(&b->base);
                enum job_state expected = i == 0 ? STATE_PENDING : STATE_NONE;
                CU_ASSERT(bed_state(bed, &ids[0]) == expected);
                CU_ASSERT(bed_state(bed, &ids[1]) == expected);
                claim_free(c);
        }
        bed_free(bed);
}

CASES(cases_finish, {"writes a completion with its result", writes_a_completion, 0},
      {"finds the row without its ref", finds_the_row_without_its_ref, 0},
      {"refuses every stale fence", refuses_every_stale_fence, 0},
      {"completes many together", completes_many_together, 0},
      {"counts completions by queue", counts_completions_by_queue, 0},
      {"refuses the verdict of an earlier claim", refuses_the_verdict_of_an_earlier_claim, 0},
      {"gives back to its own place, without an attempt", gives_back_to_its_own_place, 0},
      {"keeps the history of tries", keeps_the_history_of_tries, 0},
      {"stores the counts of the verdict", stores_the_counts_of_the_verdict, 0},
      {"survives a poisoned result among 500", survives_a_poisoned_result_among_500, 0},
      {"children come with a completion alone", children_come_with_completion_alone, 0});
