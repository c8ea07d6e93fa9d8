/*
 * Limits over all nodes, those of handlers, and queues that may be so long and no longer.
 */
#include "core/defaults.h"
#include "tests/unit/engine-queues.h"

/* --- a limit over all nodes ------------------------------------------------------------------- */

static void limited(struct config *c)
{
        brokered(c);
        c->queues[0].global = 2;
}

static void test_a_global_limit(void)
{
        struct desk d;
        open_desk_with(&d, noop, 4, limited);
        transport_up(&d);
        CU_ASSERT(look(&d).taken_in && look(&d).global == 2);
        struct ledger_arrive *a = arrive(&d, 5); /* nothing starts as it arrives */
        CU_ASSERT_EQUAL(count_started(a), 0);
        answer(&d, &a->base, LEDGER_COMMITTED);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_FATAL(b != NULL);
        CU_ASSERT(LEDGER_AS(claim, CLAIM, b)->want == 2 && LEDGER_AS(claim, CLAIM, b)->global == 2);
        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 1); /* another node has one */
        LEDGER_AS(claim, CLAIM, b)->limited = true;
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT(look(&d).limited);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        pass_time(&d, 101); /* asked again soon */
        b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_FATAL(b != NULL);
        CU_ASSERT_EQUAL(LEDGER_AS(claim, CLAIM, b)->want, 1);
        LEDGER_AS(claim, CLAIM, b)->limited = true;
        answer(&d, b, LEDGER_COMMITTED);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM)); /* its end is not written yet */
        answer(&d, take_posted(&d, LEDGER_FINISH), LEDGER_COMMITTED);
        b = take_posted(&d, LEDGER_CLAIM); /* now there is room, and it is known here */
        CU_ASSERT_FATAL(b != NULL);
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT(!look(&d).limited);
        struct queue_control off = control(false, CONTROL_UNSET, 0);
        beat(&d, &off);
        CU_ASSERT(!look(&d).taken_in && look(&d).global == 0);
        close_desk(&d);
}

/* --- limits of handlers ----------------------------------------------------------------------- */

static const struct handler_desc one_mail[] = {{.pattern = {"noop", 4}},
                                               {.pattern = {"mail.>", 6}, .concurrency = 1}};

/* The claim that is on its way brings so many jobs for the one, then so many for the other. */
static void claim_mixed(struct desk *d, uint32_t mails, uint32_t others)
{
        struct ledger_batch *b = take_posted(d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct claim *c = LEDGER_AS(claim, CLAIM, b)->got;
        fill_claim(d, c, mails + others);
        for (uint32_t i = 0; i < mails; i++) {
                c->jobs[i].type = STR("mail.out");
        }
        LEDGER_AS(claim, CLAIM, b)->more = true;
        answer(d, b, LEDGER_COMMITTED);
}

static uint64_t number_of(const struct job *j)
{
        uint64_t n;
        memcpy(&n, j->id.b, sizeof n);
        return n;
}

static uint32_t count_gives(const struct desk *d)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < d->n_last; i++) {
                n += d->last[i].kind == ACT_GIVE;
        }
        return n;
}

static void test_a_handler_runs_on_so_many_workers(void)
{
        struct desk d;
        open_desk_for(&d, one_mail, 2, 3, NULL);
        claim_mixed(&d, 3, 0);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->worker == 0 && give->n == 1 && number_of(give->jobs[0]) == 1);
        CU_ASSERT_EQUAL(count_gives(&d), 1);
        claim_mixed(&d, 0, 2); /* two workers are free, so there is room for others behind it */
        CU_ASSERT_EQUAL(count_gives(&d), 2);
        CU_ASSERT(told(&d, ACT_GIVE) && number_of(told(&d, ACT_GIVE)->jobs[0]) == 4);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        pass_time(&d, 1000);
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
        CU_ASSERT(engine_wake_ns(d.engine) > d.now.mono_ns);
        end_jobs(&d, 0, 1, VERDICT_DONE); /* the first mail: now the second may go, in its order */
        give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->worker == 0 && number_of(give->jobs[0]) == 2);
        for (uint32_t i = 0; i < d.n_last; i++) { /* they are quick: it may have the third, too */
                CU_ASSERT(d.last[i].kind != ACT_GIVE || d.last[i].worker == 0);
        }
        close_desk(&d);
}

static void test_one_worker_may_hold_many_of_them(void)
{
        struct desk d;
        open_desk_for(&d, one_mail, 2, 2, NULL);
        claim_mixed(&d, 1, 0);
        end_jobs(&d, 0, 1, VERDICT_DONE); /* it is quick */
        claim_mixed(&d, 100, 0);
        CU_ASSERT(count_gives(&d) == 1 && told(&d, ACT_GIVE)->n == 50);
        uint32_t worker = told(&d, ACT_GIVE)->worker;
        claim_mixed(&d, 0, 100);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->worker != worker); /* past those that it may not have */
        CU_ASSERT(give->n > 0 && str_eq(give->jobs[0]->type, STR("noop")));
        struct engine_event gone = {.kind = EV_WORKER_GONE};
        gone.gone.worker = worker;
        gone.gone.how = ERROR_CRASHED;
        tell(&d,
             gone); /* it had not begun: all of them stand in the line again, for whom it may be */
        give = told(&d, ACT_GIVE);
        CU_ASSERT(!give || give->worker != worker);
        close_desk(&d);
}

static void test_no_more_than_so_many_are_passed_over(void)
{
        struct desk d;
        uint32_t claimed = 0;
        open_desk_for(&d, one_mail, 2, 4, NULL);
        for (int i = 0; i < 200; i++) {
                struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
                if (b) {
                        d.posted[d.n_posted++] = b;
                        claimed += LEDGER_AS(claim, CLAIM, b)->want;
                        claim_mixed(&d, LEDGER_AS(claim, CLAIM, b)->want, 0);
                }
        }
        CU_ASSERT(claimed > 64 && claimed < 80); /* and a whole line of them is not drawn in */
        pass_time(&d, 1);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        CU_ASSERT(engine_wake_ns(d.engine) > d.now.mono_ns);
        close_desk(&d);
}

static void test_a_line_of_them_keeps_no_other_queue_waiting(void)
{
        static struct queue_config queues[2];
        struct desk d;
        open_desk_for(&d, one_mail, 2, 2, NULL);
        queues[0] = d.config.queues[0];
        queues[1] = d.config.queues[0];
        queues[1].name = STR("other");
        struct config two = d.config;
        two.queues = queues;
        two.n_queues = 2;
        tell(&d, (struct engine_event){.kind = EV_CONFIG, .config = &two});
        claim_mixed(&d, 2, 0);
        CU_ASSERT_EQUAL(count_gives(&d), 1);
        struct ledger_batch *b;
        for (int i = 0; i < 5 && (b = take_posted(&d, LEDGER_CLAIM)) != NULL; i++) {
                bool other = str_eq(LEDGER_AS(claim, CLAIM, b)->queue, STR("other"));
                if (other) {
                        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 1);
                        LEDGER_AS(claim, CLAIM, b)->got->jobs[0].queue = STR("other");
                }
                answer(&d, b, LEDGER_COMMITTED);
                if (other) {
                        break;
                }
        }
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->worker == 1 && str_eq(give->jobs[0]->queue, STR("other")));
        close_desk(&d);
}

static void test_a_batch_counts_as_one(void)
{
        struct handler_desc h = {
            .pattern = STR("noop"), .concurrency = 1, .batch_max = 10, .batch_wait_ms = 50};
        struct desk d;
        open_desk_with(&d, h, 2, NULL);
        claim_mixed(&d, 0, 2);
        claim_mixed(&d, 0, 18);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 10 && give->group_n == 10 && count_gives(&d) == 1);
        pass_time(&d, 1000);
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE)); /* the other ten are due, a worker is free */
        CU_ASSERT(engine_wake_ns(d.engine) > d.now.mono_ns);
        end_jobs(&d, 0, 10, VERDICT_DONE);
        give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 10 && count_gives(&d) == 1);
        close_desk(&d);
}

static void test_another_roster_has_other_limits(void)
{
        struct handler_desc next[] = {one_mail[1], one_mail[0], {.pattern = STR("new")}};
        struct desk d;
        open_desk_for(&d, one_mail, 2, 2, NULL);
        claim_mixed(&d, 2, 0);
        CU_ASSERT_EQUAL(count_gives(&d), 1);
        for (uint32_t generation = 2; generation < 5; generation++) {
                next[0].concurrency = 4 - generation; /* 2, 1, none */
                tell(&d, (struct engine_event){.kind = EV_ROSTER,
                                               .roster = roster_new(generation, next, 3)});
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(told(&d, ACT_SPAWN));
        struct engine_event up = {.kind = EV_WORKER_UP};
        up.up.worker = told(&d, ACT_SPAWN)->worker;
        up.up.generation = 4;
        tell(&d, up);
        const struct engine_action *give = told(&d, ACT_GIVE); /* while a former worker runs one */
        CU_ASSERT(give && give->worker == up.up.worker && number_of(give->jobs[0]) == 2);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        close_desk(&d);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void bounded(struct config *c)
{
        brokered(c);
        c->queues[0].max_waiting = 100;
}

static void dropping(struct config *c)
{
        bounded(c);
        c->queues[0].when_full = FULL_DROP_OLDEST;
}

static struct submission *one_row(void)
{
        struct submission *s = submission_new();
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        s->rows = arena_zalloc(&s->arena, sizeof *s->rows);
        s->n = 1;
        s->rows[0] = (struct submit_row){.queue = STR("default"),
                                         .type = STR("noop"),
                                         .state = STATE_PENDING,
                                         .priority = ROW_PRIORITY_UNSET};
        s->rows[0].id.b[0] = 1;
        return s;
}

static void test_submissions_carry_the_bound(void)
{
        struct desk d;
        for (int drop = 0; drop < 2; drop++) {
                open_desk_with(&d, noop, 1, drop ? dropping : bounded);
                transport_up(&d);
                tell(&d, (struct engine_event){.kind = EV_SUBMIT, .submissions = one_row()});
                struct ledger_batch *b = take_posted(&d, LEDGER_SUBMIT);
                struct ledger_submit *s = LEDGER_AS(submit, SUBMIT, b);
                CU_ASSERT_FATAL(s->n_bounds == 1);
                CU_ASSERT(str_eq(s->bounds[0].queue, STR("default")) && s->bounds[0].max == 100);
                CU_ASSERT(s->bounds[0].drop_oldest == drop);
                CU_ASSERT(s->list->rows[0].priority == 5 && s->list->rows[0].max_attempts == 3);
                /* a queue that may close its broker's door must not have its jobs behind it */
                CU_ASSERT(s->list->rows[0].band == (drop ? BAND_BROKER : BAND_OFFERED));
                s->list->rows[0].result = SUBMIT_FULL;
                answer(&d, b, LEDGER_COMMITTED);
                const struct engine_action *a = told(&d, ACT_ANSWER);
                CU_ASSERT_FATAL(a != NULL);
                submission_free(a->submission);
                struct ledger_arrive *ar = arrive(&d, 1);
                CU_ASSERT_EQUAL(ar->drop_above, drop ? 100u : 0u);
                answer(&d, &ar->base, LEDGER_COMMITTED);
                close_desk(&d);
        }
        open_desk(&d);
        tell(&d, (struct engine_event){.kind = EV_SUBMIT, .submissions = one_row()});
        struct ledger_batch *b = take_posted(&d, LEDGER_SUBMIT);
        CU_ASSERT(LEDGER_AS(submit, SUBMIT, b)->n_bounds == 0);
        CU_ASSERT_PTR_NULL(LEDGER_AS(submit, SUBMIT, b)->bounds);
        submission_free(LEDGER_AS(submit, SUBMIT, b)->list);
        ledger_batch_free(b);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_STATS)); /* nobody counts where nobody asks */
        close_desk(&d);
}

static void count(struct desk *d, uint64_t pending, uint64_t retrying)
{
        struct ledger_batch *b = NULL;
        for (int i = 0; i < 20 && !b; i++) {
                pass_time(d, 100);
                b = take_posted(d, LEDGER_STATS);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct ledger_stats *s = LEDGER_AS(stats, STATS, b);
        s->queues = arena_zalloc(&b->arena, sizeof *s->queues);
        s->queues[0].queue = STR("default");
        s->queues[0].jobs[STATE_PENDING] = pending;
        s->queues[0].jobs[STATE_RETRYING] = retrying;
        s->queues[0].jobs[STATE_RUNNING] = 500;
        s->n = 1;
        answer(d, b, LEDGER_COMMITTED);
}

static void test_a_full_queue_is_not_consumed(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, bounded);
        transport_up(&d);
        count(&d, 60, 38);
        CU_ASSERT(look(&d).not_consumed.n == 0);
        struct ledger_arrive *a = arrive(&d, 3); /* counted on between two looks */
        for (uint32_t i = 0; i < 3; i++) {
                CU_ASSERT(!a->list->items[i].start);
        }
        answer(&d, &a->base, LEDGER_COMMITTED);
        const struct engine_action *consume = told(&d, ACT_CONSUME);
        CU_ASSERT(consume && consume->n == 0);
        CU_ASSERT(str_eq(look(&d).not_consumed, STR("as many of its jobs wait as may")));
        count(&d, 91, 0); /* less, but not by a tenth */
        CU_ASSERT(look(&d).not_consumed.n > 0);
        count(&d, 89, 0);
        consume = told(&d, ACT_CONSUME);
        CU_ASSERT(consume && consume->n > 0);
        CU_ASSERT(look(&d).not_consumed.n == 0);
        close_desk(&d);
}

UNIT_TESTS = {
    {"a limit over all nodes", test_a_global_limit},
    {"a handler runs on so many workers", test_a_handler_runs_on_so_many_workers},
    {"one worker may hold many of them", test_one_worker_may_hold_many_of_them},
    {"no more than so many are passed over", test_no_more_than_so_many_are_passed_over},
    {"a line of them keeps no other queue waiting",
     test_a_line_of_them_keeps_no_other_queue_waiting},
    {"a batch counts as one", test_a_batch_counts_as_one},
    {"another roster has other limits", test_another_roster_has_other_limits},
    {"submissions and letters carry the bound", test_submissions_carry_the_bound},
    {"a full queue is not consumed", test_a_full_queue_is_not_consumed},
};
UNIT_MAIN("engine-limits")
