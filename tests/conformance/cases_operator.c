/*
 * CANCEL and REQUEUE in every state.
 */
#include "tests/conformance/bed.h"

static struct ledger_cancel *cancel(struct bed *bed, const struct job_id *id)
{
        struct ledger_cancel *b = NEW(cancel, CANCEL);
        b->id = *id;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static struct ledger_requeue *requeue(struct bed *bed, const struct job_id *id)
{
        struct ledger_requeue *b = NEW(requeue, REQUEUE);
        b->id = *id;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static void cancels_in_every_state(void)
{
        static const enum cancel_result expected[] = {
            [STATE_SCHEDULED] = CANCEL_DONE,     [STATE_PENDING] = CANCEL_DONE,
            [STATE_RUNNING] = CANCEL_ASKED,      [STATE_RETRYING] = CANCEL_DONE,
            [STATE_COMPLETED] = CANCEL_TERMINAL, [STATE_DEAD] = CANCEL_TERMINAL,
            [STATE_CANCELLED] = CANCEL_TERMINAL,
        };
        struct bed *bed = bed_new();
        for (int state = 0; state < JOB_STATE_COUNT; state++) {
                struct job_id id = bed_job_in(bed, (enum job_state)state);
                struct ledger_cancel *b = cancel(bed, &id);
                CU_ASSERT(b->result == expected[state]);
                CU_ASSERT(b->state == (enum job_state)state);
                CU_ASSERT(b->holder == (state == STATE_RUNNING ? bed->holder : 0));
                const struct job_row *j = bed_show(bed, &id);
                bool done = expected[state] == CANCEL_DONE;
                CU_ASSERT(j->state == (done ? STATE_CANCELLED : (enum job_state)state));
                CU_ASSERT(!done || j->reason == REASON_OPERATOR);
                CU_ASSERT(!done || j->finished_us == fixture->now_us(bed->store));
                CU_ASSERT(j->cancel_asked == (state == STATE_RUNNING));
        }
        struct claim *c = bed_claim(bed, 10);
        CU_ASSERT(c->n == 0);
        claim_free(c);
        struct job_id nobody = id_mint(&bed->mint, 1);
        CU_ASSERT(cancel(bed, &nobody)->result == CANCEL_NOT_FOUND);
        bed_free(bed);
}

static void requeues_in_every_state(void)
{
        static const enum requeue_result expected[] = {
            [STATE_SCHEDULED] = REQUEUE_NOW,     [STATE_PENDING] = REQUEUE_UNCHANGED,
            [STATE_RUNNING] = REQUEUE_REFUSED,   [STATE_RETRYING] = REQUEUE_NOW,
            [STATE_COMPLETED] = REQUEUE_REFUSED, [STATE_DEAD] = REQUEUE_DONE,
            [STATE_CANCELLED] = REQUEUE_DONE,
        };
        struct bed *bed = bed_new();
        for (int state = 0; state < JOB_STATE_COUNT; state++) {
                struct job_id id = bed_job_in(bed, (enum job_state)state);
                struct job_row before = *bed_show(bed, &id);
                struct ledger_requeue *b = requeue(bed, &id);
                CU_ASSERT(b->result == expected[state]);
                CU_ASSERT(b->state == (enum job_state)state);
                const struct job_row *j = bed_show(bed, &id);
                bool done = b->result == REQUEUE_DONE, moved = done || b->result == REQUEUE_NOW;
                CU_ASSERT(j->state == (moved ? STATE_PENDING : (enum job_state)state));
                CU_ASSERT(j->generation == before.generation + done);
                CU_ASSERT(j->attempt == (done ? 0 : before.attempt));
                CU_ASSERT(j->claim == before.claim); /* claim numbers never go back */
                if (moved) {
                        CU_ASSERT(j->finished_us == 0 && j->due_us == 0);
                        struct claim *c = bed_claim(bed, 1);
                        CU_ASSERT_FATAL(c->n == 1);
                        CU_ASSERT(job_id_eq(&c->jobs[0].id, &id));
                        CU_ASSERT(c->jobs[0].claim == before.claim + 1);
                        CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_COMPLETED)));
                        claim_free(c);
                }
        }
        struct job_id nobody = id_mint(&bed->mint, 1);
        CU_ASSERT(requeue(bed, &nobody)->result == REQUEUE_NOT_FOUND);
        bed_free(bed);
}

static void requeue_begins_anew_and_keeps_the_history(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(cancel(bed, &id)->result == CANCEL_ASKED);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_DEAD);
        v.error = ERROR_CRASHED;
        v.error_text = STR("SIGSEGV");
        v.strikes = 3;
        CU_ASSERT(bed_finish_one(bed, v));
        CU_ASSERT(requeue(bed, &id)->result == REQUEUE_DONE);
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->strikes == 0 && j->attempt == 0 && j->generation == 1 && !j->cancel_asked);
        CU_ASSERT(j->reason == REASON_REQUEUED);
        CU_ASSERT(j->last.error == ERROR_CRASHED && j->last.generation == 0);
        struct claim *next = bed_claim(bed, 1);
        CU_ASSERT_FATAL(next->n == 1);
        CU_ASSERT(next->jobs[0].generation == 1 && !next->jobs[0].cancel_asked);
        claim_free(c);
        claim_free(next);
        bed_free(bed);
}

CASES(cases_operator, {"cancels in every state", cancels_in_every_state, 0},
      {"requeues in every state", requeues_in_every_state, 0},
      {"a requeue begins anew and keeps the history", requeue_begins_anew_and_keeps_the_history,
       0});
