/*
 * DUE, UNPARK, FOLD: periodic work that any node may do.
 */
#include "tests/conformance/bed.h"

static struct ledger_due *due(struct bed *bed, uint32_t limit)
{
        struct ledger_due *b = NEW(due, DUE);
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static uint32_t unpark(struct bed *bed, const struct roster *roster, uint32_t limit)
{
        struct ledger_unpark *b = NEW(unpark, UNPARK);
        b->roster = roster;
        b->limit = limit;
        bed_must(bed, &b->base);
        uint32_t moved = b->moved;
        ledger_batch_free(&b->base);
        return moved;
}

static void fold(struct bed *bed)
{
        struct ledger_fold *b = NEW(fold, FOLD);
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
}

static void offers_what_is_due_and_nothing_before(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(due(bed, 10)->next_us == -1);
        struct job_id ids[3];
        for (int i = 0; i < 3; i++) {
                struct submit_row row = bed_row(bed);
                row.state = STATE_SCHEDULED;
                row.after_us = SECOND * 10 * (i + 1);
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                ids[i] = row.id;
        }
        struct ledger_due *b = due(bed, 10);
        CU_ASSERT(b->moved == 0 && b->next_us == 10 * SECOND);
        fixture->advance(bed->store, 21 * SECOND);
        b = due(bed, 1);
        CU_ASSERT(b->moved == 1 && b->next_us == 0);
        b = due(bed, 10);
        CU_ASSERT(b->moved == 1 && b->next_us == 9 * SECOND);
        CU_ASSERT(bed_state(bed, &ids[2]) == STATE_SCHEDULED);
        struct claim *c = bed_claim(bed, 10);
        CU_ASSERT_FATAL(c->n == 2);
        CU_ASSERT(job_id_eq(&c->jobs[0].id, &ids[0]) && job_id_eq(&c->jobs[1].id, &ids[1]));
        claim_free(c);
        bed_free(bed);
}

static void offers_retries_when_due(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_job_in(bed, STATE_RETRYING);
        CU_ASSERT(due(bed, 10)->next_us == 3600 * SECOND);
        fixture->advance(bed->store, 3600 * SECOND);
        CU_ASSERT(due(bed, 10)->moved == 1);
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->state == STATE_PENDING && j->band == BAND_OFFERED && j->due_us == 0);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(c->n == 1 && c->jobs[0].attempt == 2 && c->jobs[0].claim == 2);
        claim_free(c);
        bed_free(bed);
}

static void moves_many_in_one_go(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 2500);
        for (uint32_t i = 0; i < s->n; i++) {
                s->rows[i].state = STATE_SCHEDULED;
                s->rows[i].after_us = SECOND;
        }
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        fixture->advance(bed->store, SECOND);
        CU_ASSERT(due(bed, 2200)->moved == 2200);
        CU_ASSERT(due(bed, 2200)->moved == 300);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void unparks_what_a_new_roster_serves(void)
{
        struct bed *bed = bed_new();
        static const char *const types[] = {"odd.one", "odd.two", "even.one", "odd.one"};
        struct job_id ids[4];
        for (int i = 0; i < 4; i++) {
                struct submit_row row = bed_row(bed);
                row.type = str_of(types[i]);
                row.queue = i == 3 ? STR("zz") : STR("q");
                row.band = i == 1 ? BAND_PARKED : BAND_OFFERED;
                row.reason = i == 1 ? REASON_NO_HANDLER : REASON_NONE;
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                ids[i] = row.id;
        }
        struct claim *c = bed_claim(bed, 5); /* parks two of queue q */
        CU_ASSERT(c->n == 0);
        claim_free(c);
        CU_ASSERT(unpark(bed, bed->roster, 10) == 0);
        static const char *const odd[] = {"odd.*"};
        struct roster *next = bed_roster(odd, 1);
        CU_ASSERT(unpark(bed, next, 1) == 1);
        CU_ASSERT(unpark(bed, next, 10) == 1);
        CU_ASSERT(unpark(bed, next, 10) == 0);
        for (int i = 0; i < 3; i++) {
                const struct job_row *j = bed_show(bed, &ids[i]);
                CU_ASSERT(j->state == STATE_PENDING);
                CU_ASSERT(j->band == (i == 2 ? BAND_PARKED : BAND_OFFERED));
                CU_ASSERT(j->reason == (i == 2 ? REASON_NO_HANDLER : REASON_NONE));
        }
        roster_unref(next);
        bed_free(bed);
}

/* Whose queue nobody knows, no roster can help. */
static void unparks_only_what_had_no_handler(void)
{
        struct bed *bed = bed_new();
        struct submit_row lost = bed_row(bed), parked = bed_row(bed);
        lost.band = parked.band = BAND_PARKED;
        lost.reason = REASON_NO_QUEUE;
        parked.reason = REASON_NO_HANDLER;
        CU_ASSERT(bed_add(bed, &lost) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &parked) == SUBMIT_CREATED);
        CU_ASSERT(unpark(bed, bed->roster, 10) == 1);
        CU_ASSERT(unpark(bed, bed->roster, 10) == 0);
        CU_ASSERT(bed_show(bed, &parked.id)->band == BAND_OFFERED);
        CU_ASSERT(bed_show(bed, &lost.id)->band == BAND_PARKED);
        CU_ASSERT(bed_show(bed, &lost.id)->reason == REASON_NO_QUEUE);
        bed_free(bed);
}

static const struct queue_stat *stat_of(const struct ledger_stats *s, struct str queue)
{
        for (uint32_t i = 0; i < s->n; i++) {
                if (str_eq(s->queues[i].queue, queue)) {
                        return &s->queues[i];
                }
        }
        return NULL;
}

/* Counts the rows themselves and compares with what the counters say. */
static void check_counters(struct bed *bed, struct str queue)
{
        const struct queue_stat *q = stat_of(bed_stats(bed), queue);
        for (int state = 0; state < JOB_STATE_COUNT; state++) {
                struct ledger_list filter = {.state = state, .queue = queue, .limit = 1000};
                uint32_t n = bed_list(bed, &filter)->n;
                CU_ASSERT((q ? q->jobs[state] : 0) == n);
        }
}

static void complete_all(struct bed *bed)
{
        struct finish_row rows[100];
        struct claim *c = bed_claim(bed, ARRAY_LEN(rows));
        for (uint32_t i = 0; i < c->n; i++) {
                rows[i] = bed_verdict(&c->jobs[i], STATE_COMPLETED);
        }
        CU_ASSERT(bed_finish(bed, rows, c->n) == 0);
        claim_free(c);
}

static void counters_equal_a_recount(void)
{
        struct bed *bed = bed_new();
        for (int round = 0; round < 3; round++) {
                for (int state = 0; state < JOB_STATE_COUNT; state++) {
                        (void)bed_job_in(bed, (enum job_state)state);
                }
                struct submit_row other = bed_row(bed), expired = bed_row(bed);
                other.queue = STR("q2");
                expired.deadline_us = 1;
                CU_ASSERT(bed_add(bed, &other) == SUBMIT_CREATED);
                CU_ASSERT(bed_add(bed, &expired) == SUBMIT_CREATED);
                struct submission *s = bed_submission(bed, 3); /* undone: counts nothing */
                s->atomic = true;
                s->rows[2].key = key_from_text(STR("k"));
                s->rows[2].payload = round ? STR("other") : STR("x");
                struct ledger_submit *b = bed_submit(s);
                bed_must(bed, &b->base);
                CU_ASSERT(s->rows[0].result == (round ? SUBMIT_UNDONE : SUBMIT_CREATED));
                ledger_batch_free(&b->base);
                submission_free(s);
                check_counters(bed, STR("q"));
                fold(bed);
                check_counters(bed, STR("q"));
                check_counters(bed, STR("q2"));
                struct claim *c = bed_claim(bed, 2);
                claim_free(c);
                fixture->advance(bed->store, 4000 * SECOND);
                CU_ASSERT(due(bed, 1)->moved == 1);
                check_counters(bed, STR("q"));
                complete_all(bed);
                check_counters(bed, STR("q"));
        }
        bed_free(bed);
}

CASES(cases_duty, {"offers what is due, nothing before", offers_what_is_due_and_nothing_before, 0},
      {"offers retries when due", offers_retries_when_due, 0},
      {"moves many in one go", moves_many_in_one_go, 0},
      {"unparks what a new roster serves", unparks_what_a_new_roster_serves, 0},
      {"unparks only what had no handler", unparks_only_what_had_no_handler, 0},
      {"counters equal a recount", counters_equal_a_recount, 0});
