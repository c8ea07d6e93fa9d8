/*
 * What operators set for queues, and the order of priorities: as an engine acts upon them.
 */
#include "tests/unit/engine-queues.h"

/* --- pause ------------------------------------------------------------------------------------ */

static void test_nothing_before_the_first_beat(void)
{
        struct desk d;
        open_desk(&d);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        answer(&d, b, LEDGER_COMMITTED);
        beat(&d, NULL);
        pass_time(&d, 1000);
        answer(&d, take_posted(&d, LEDGER_BEAT), LEDGER_FENCED); /* it begins anew */
        answer(&d, take_posted(&d, LEDGER_REGISTER), LEDGER_COMMITTED);
        tell(&d, (struct engine_event){.kind = EV_HEARD});
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        answer(&d, take_posted(&d, LEDGER_BEAT), LEDGER_COMMITTED);
        b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        answer(&d, b, LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_a_paused_queue_starts_nothing_more(void)
{
        struct desk d;
        struct queue_control paused = control(true, CONTROL_UNSET, CONTROL_UNSET);
        open_desk(&d);
        claim_jobs(&d, 1);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        claim_jobs(&d, 40); /* in the worker */
        struct ledger_batch *late = take_posted(&d, LEDGER_CLAIM);
        struct ledger_batch *f = take_posted(&d, LEDGER_FINISH);
        answer(&d, f, LEDGER_COMMITTED);
        beat(&d, &paused);
        const struct engine_action *recall = told(&d, ACT_RECALL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(recall);
        engine_recalled(d.engine, recall->worker, 2); /* the one at 1 runs */
        pass_time(&d, 1);
        f = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        CU_ASSERT_EQUAL(LEDGER_AS(finish, FINISH, f)->n, 39);
        CU_ASSERT(LEDGER_AS(finish, FINISH, f)->rows[0].to == STATE_PENDING);
        answer(&d, f, LEDGER_COMMITTED);
        if (late) { /* a claim that was on its way */
                fill_claim(&d, LEDGER_AS(claim, CLAIM, late)->got, 3);
                answer(&d, late, LEDGER_COMMITTED);
                CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
                pass_time(&d, 30);
                f = take_posted(&d, LEDGER_FINISH);
                CU_ASSERT(f && LEDGER_AS(finish, FINISH, f)->n == 3);
                answer(&d, f, LEDGER_COMMITTED);
        }
        tell(&d, (struct engine_event){.kind = EV_HEARD});
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        CU_ASSERT(look(&d).paused);
        CU_ASSERT(engine_wake_ns(d.engine) > d.now.mono_ns); /* it does not spin */
        beat(&d, NULL);
        CU_ASSERT(!look(&d).paused);
        answer(&d, take_posted(&d, LEDGER_CLAIM), LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_a_paused_queue_is_not_consumed(void)
{
        struct desk d;
        struct queue_control paused = control(true, CONTROL_UNSET, CONTROL_UNSET);
        open_desk_with(&d, noop, 2, brokered);
        transport_up(&d);
        const struct engine_action *consume = told(&d, ACT_CONSUME);
        CU_ASSERT(consume && consume->n > 0);
        CU_ASSERT(look(&d).transport_up && look(&d).not_consumed.n == 0);
        answer(&d, take_posted(&d, LEDGER_CLAIM), LEDGER_COMMITTED);
        beat(&d, &paused);
        consume = told(&d, ACT_CONSUME);
        CU_ASSERT(consume && consume->n == 0);
        CU_ASSERT(str_eq(look(&d).not_consumed, STR("it is paused")));
        struct ledger_arrive *b = arrive(&d, 3); /* that were on their way */
        CU_ASSERT_EQUAL(count_started(b), 0);
        CU_ASSERT(b->list->items[0].row.state == STATE_PENDING);
        CU_ASSERT(b->list->items[0].row.max_attempts == 3); /* by its queue */
        answer(&d, &b->base, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        beat(&d, NULL);
        claim_jobs(&d, 2);
        struct ledger_batch *claim = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NULL(claim); /* as many as there are workers */
        end_jobs(&d, 0, 1, VERDICT_DONE);
        consume = told(&d, ACT_CONSUME); /* what had come before is nearly done */
        CU_ASSERT(consume && consume->n > 0);
        close_desk(&d);
}

static void test_concurrency_is_changed_live(void)
{
        struct desk d;
        struct queue_control one = control(false, 1, CONTROL_UNSET);
        open_desk_with(&d, noop, 4, NULL);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_EQUAL(LEDGER_AS(claim, CLAIM, b)->want, 4);
        answer(&d, b, LEDGER_COMMITTED);
        beat(&d, &one);
        CU_ASSERT_EQUAL(look(&d).concurrency, 1);
        b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_FATAL(b != NULL);
        CU_ASSERT_EQUAL(LEDGER_AS(claim, CLAIM, b)->want, 1);
        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 3);
        LEDGER_AS(claim, CLAIM, b)->more = true;
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT_EQUAL(look(&d).busy, 1); /* the others wait, though workers are idle */
        beat(&d, NULL);
        CU_ASSERT_EQUAL(look(&d).busy, 3);
        close_desk(&d);
}

/* --- priorities ------------------------------------------------------------------------------- */

#define WAITING 10000

static void by_priority(struct config *c)
{
        c->queues[0].order = ORDER_PRIORITY;
}

/* Two workers, and a ledger of jobs by priority; each claim takes the most urgent. */
struct line {
        struct desk d;
        uint32_t lanes[PRIORITY_MAX + 1];
        uint8_t given[2][ENGINE_RING]; /* priorities, by ring position */
        uint32_t heads[2];
        uint32_t done;
        uint32_t n[PRIORITY_MAX + 1]; /* that started, by priority */
};

static void note_given(struct line *l)
{
        for (uint32_t i = 0; i < l->d.n_last; i++) {
                const struct engine_action *a = &l->d.last[i];
                for (uint32_t k = 0; a->kind == ACT_GIVE && k < a->n; k++) {
                        l->given[a->worker][(a->position + k) % ENGINE_RING] = a->jobs[k]->priority;
                }
        }
}

static void answer_claims(struct line *l)
{
        struct ledger_batch *b;
        while ((b = take_posted(&l->d, LEDGER_CLAIM))) {
                struct ledger_claim *c = LEDGER_AS(claim, CLAIM, b);
                uint32_t n = 0;
                CU_ASSERT(c->want <= 50); /* what two workers start in 25 ms */
                fill_claim(&l->d, c->got, c->want);
                for (int p = PRIORITY_MAX; p >= 0; p--) {
                        for (; n < c->want && l->lanes[p]; l->lanes[p]--) {
                                c->got->jobs[n++].priority = (uint8_t)p;
                        }
                }
                c->got->n = n;
                c->more = n == c->want;
                answer(&l->d, b, LEDGER_COMMITTED);
                note_given(l);
        }
}

static void end_one(struct line *l, uint32_t worker)
{
        struct verdict done = {
            .kind = VERDICT_DONE, .run_ns = NS_PER_MS, .started_wall_us = l->d.now.wall_us};
        struct engine_event ev = {.kind = EV_VERDICTS};
        ev.verdicts.worker = worker;
        ev.verdicts.first = l->heads[worker];
        ev.verdicts.n = 1;
        ev.verdicts.list = &done;
        l->n[l->given[worker][l->heads[worker]++ % ENGINE_RING]]++;
        l->done++;
        tell(&l->d, ev);
        note_given(l);
}

/* A millisecond, in which each worker that has a job runs one. */
static void run_line(struct line *l)
{
        struct worker_view v[2];
        struct ledger_batch *f = take_posted(&l->d, LEDGER_FINISH);
        if (f) {
                answer(&l->d, f, LEDGER_COMMITTED);
                note_given(l);
        }
        answer_claims(l);
        struct ledger_batch *b = take_posted(&l->d, LEDGER_BEAT);
        if (b) {
                answer(&l->d, b, LEDGER_COMMITTED);
                note_given(l);
        }
        pass_time(&l->d, 1);
        note_given(l);
        for (uint32_t w = 0; w < 2; w++) {
                CU_ASSERT_EQUAL_FATAL(engine_workers(l->d.engine, v, 2), 2);
                if (v[w].given) {
                        end_one(l, w);
                }
        }
}

static void test_ten_thousand_in_the_order_of_their_priorities(void)
{
        struct line l = {0};
        open_desk_with(&l.d, noop, 2, by_priority);
        for (int p = 0; p <= PRIORITY_MAX; p++) {
                l.lanes[p] = WAITING / 10;
        }
        for (int round = 0; l.done < WAITING / 2 && round < 4 * WAITING; round++) {
                run_line(&l);
                for (int p = 0; p < PRIORITY_MAX;
                     p++) { /* none overtakes by more than is claimed */
                        CU_ASSERT(l.n[p] == 0 || l.n[p + 1] >= WAITING / 10 - 100);
                }
        }
        CU_ASSERT(l.n[0] == 0 && l.n[3] == 0);
        uint32_t before = l.done;
        l.lanes[PRIORITY_MAX] = 200; /* urgent ones come late: before 4,900 that wait */
        for (int round = 0; l.n[PRIORITY_MAX] < WAITING / 10 + 200 && round < 1000; round++) {
                run_line(&l);
        }
        CU_ASSERT_EQUAL(l.n[PRIORITY_MAX], WAITING / 10 + 200);
        CU_ASSERT(l.done - before <= 200 + 100);
        for (int round = 0; l.done < WAITING + 200 && round < 4 * WAITING; round++) {
                run_line(&l);
        }
        CU_ASSERT_EQUAL(l.done, WAITING + 200);
        close_desk(&l.d);
}

UNIT_TESTS = {
    {"nothing is claimed before the first beat", test_nothing_before_the_first_beat},
    {"a paused queue starts nothing more", test_a_paused_queue_starts_nothing_more},
    {"a paused queue is not consumed", test_a_paused_queue_is_not_consumed},
    {"concurrency is changed live", test_concurrency_is_changed_live},
    {"10,000 jobs in the order of their priorities",
     test_ten_thousand_in_the_order_of_their_priorities},
};
UNIT_MAIN("engine-control")
