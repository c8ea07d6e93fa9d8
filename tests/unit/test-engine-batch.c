/*
 * Handlers that take several jobs at once: gathered, given as one, a verdict each; and what becomes
 * of them when their worker dies.
 */
#include "tests/unit/engine-desk.h"

static const struct handler_desc ten = {
    .pattern = {"noop", 4}, .timeout_ms = 1000, .batch_max = 10, .batch_wait_ms = 200};

static void open_ten(struct desk *d, uint32_t workers)
{
        open_desk_with(d, ten, workers, NULL);
}

static void claim_some(struct desk *d, uint32_t n, bool more)
{
        struct ledger_batch *b = take_posted(d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        fill_claim(d, LEDGER_AS(claim, CLAIM, b)->got, n);
        LEDGER_AS(claim, CLAIM, b)->more = more;
        answer(d, b, LEDGER_COMMITTED);
}

static struct ledger_finish *take_finish(struct desk *d)
{
        struct ledger_batch *b = take_posted(d, LEDGER_FINISH);
        for (int i = 0; i < 30 && !b; i++) {
                pass_time(d, 1);
                b = take_posted(d, LEDGER_FINISH);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return LEDGER_AS(finish, FINISH, b);
}

static void up(struct desk *d, uint32_t worker)
{
        struct engine_event ev = {.kind = EV_WORKER_UP};
        for (int i = 0; i < 30 && !told(d, ACT_SPAWN); i++) {
                pass_time(d, 100);
        }
        ev.up.worker = worker;
        ev.up.generation = 1;
        tell(d, ev);
}

static void gone(struct desk *d, uint32_t worker, uint32_t position, uint32_t n_running)
{
        struct engine_event ev = {.kind = EV_WORKER_GONE};
        ev.gone.worker = worker;
        ev.gone.how = ERROR_CRASHED;
        ev.gone.running = true;
        ev.gone.position = position;
        ev.gone.n_running = n_running;
        ev.gone.text = STR("SIGSEGV");
        tell(d, ev);
}

static void seen(struct desk *d, uint32_t position, int64_t since_ns)
{
        struct engine_event ev = {.kind = EV_SEEN};
        ev.seen.running = true;
        ev.seen.position = position;
        ev.seen.since_ns = since_ns;
        tell(d, ev);
}

/* --- gathering -------------------------------------------------------------------------------- */

static void test_a_full_batch_goes_at_once(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true); /* nobody knew that its handler takes ten */
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_FATAL(b != NULL); /* now that it is known, more are claimed */
        CU_ASSERT_EQUAL(LEDGER_AS(claim, CLAIM, b)->want, 9);
        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 9);
        LEDGER_AS(claim, CLAIM, b)->more = true;
        answer(&d, b, LEDGER_COMMITTED);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT_FATAL(give != NULL);
        CU_ASSERT(give->n == 10 && give->group != 0 && give->group_n == 10);
        uint32_t group = give->group;
        end_jobs(&d, 0, 4, VERDICT_DONE); /* verdicts may come in parts */
        end_jobs(&d, 4, 6, VERDICT_DONE);
        struct ledger_finish *f = take_finish(&d);
        uint32_t n = f->n;
        answer(&d, &f->base, LEDGER_COMMITTED);
        if (n < 10) {
                f = take_finish(&d);
                n += f->n;
                answer(&d, &f->base, LEDGER_COMMITTED);
        }
        CU_ASSERT_EQUAL(n, 10);
        claim_some(&d, 10, false);
        give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 10 && give->group != group && give->position == 10);
        close_desk(&d);
}

static void test_a_small_batch_waits(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 2, false);
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
        CU_ASSERT(engine_wake_ns(d.engine) <= d.now.mono_ns + 200 * NS_PER_MS);
        pass_time(&d, 199);
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
        pass_time(&d, 1);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 3 && give->group_n == 3);
        close_desk(&d);
}

static void test_a_batch_that_is_due_waits_for_a_worker_without_spinning(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 9, true);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_GIVE));
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM)); /* one batch a worker is enough */
        struct ledger_batch *b;
        end_jobs(&d, 0, 10, VERDICT_DONE);
        claim_some(&d, 64, true);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 10);
        b = take_posted(&d, LEDGER_CLAIM);
        if (b) {
                answer(&d, b, LEDGER_COMMITTED);
        }
        pass_time(&d, 300); /* the other 54 have waited long enough, the worker is busy */
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
        CU_ASSERT(engine_wake_ns(d.engine) > d.now.mono_ns);
        end_jobs(&d, 10, 10, VERDICT_DONE);
        give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 10 && give->position == 20);
        close_desk(&d);
}

static void test_the_ring_wraps_within_a_batch(void)
{
        struct desk d;
        uint32_t at = 0;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 9, true);
        for (int i = 0; i < 51; i++) { /* 510 positions */
                end_jobs(&d, at, 10, VERDICT_DONE);
                at += 10;
                for (int k = 0; k < 4 && !told(&d, ACT_GIVE); k++) {
                        struct ledger_batch *f = take_posted(&d, LEDGER_FINISH);
                        if (f) {
                                answer(&d, f, LEDGER_COMMITTED);
                        }
                        if (!told(&d, ACT_GIVE)) {
                                claim_some(&d, 10, true);
                        }
                }
        }
        uint32_t gives = 0, n = 0, group = 0;
        for (uint32_t i = 0; i < d.n_last; i++) {
                if (d.last[i].kind == ACT_GIVE) {
                        gives++;
                        n += d.last[i].n;
                        CU_ASSERT(d.last[i].group_n == 10 && (!group || d.last[i].group == group));
                        group = d.last[i].group;
                }
        }
        CU_ASSERT(gives == 2 && n == 10);
        close_desk(&d);
}

/* --- deaths ----------------------------------------------------------------------------------- */

static void test_members_of_a_crashed_batch_run_singly(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 9, false);
        gone(&d, 0, 0, 10);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_FINISH)); /* none has spent anything */
        up(&d, 0);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT_FATAL(give != NULL);
        CU_ASSERT(give->n == 1 && give->group == 0 && give->group_n == 0);
        CU_ASSERT(give->jobs[0]->strikes == 0 && give->jobs[0]->attempt == 1);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->group == 0);
        uint32_t n = give ? give->n : 0; /* they are known to be quick now */
        struct ledger_finish *f = take_finish(&d);
        CU_ASSERT(f->n == 1 && f->rows[0].to == STATE_COMPLETED);
        answer(&d, &f->base, LEDGER_COMMITTED);
        gone(&d, 0, 1, 1); /* it was this one */
        f = take_finish(&d);
        CU_ASSERT(f->n == 1 && f->rows[0].error == ERROR_CRASHED && f->rows[0].strikes == 1);
        CU_ASSERT(f->rows[0].fingerprint != 0);
        answer(&d, &f->base, LEDGER_COMMITTED);
        up(&d, 0);
        give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->group == 0 && give->n <= 8 && n <= 9);
        close_desk(&d);
}

static void test_who_has_a_strike_runs_singly(void)
{
        struct desk d;
        open_ten(&d, 2);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        struct claim *c = LEDGER_AS(claim, CLAIM, b)->got;
        fill_claim(&d, c, 2);
        c->jobs[0].strikes = 1;
        answer(&d, b, LEDGER_COMMITTED);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 1 && give->group == 0 && give->jobs[0]->strikes == 1);
        close_desk(&d);
}

static void test_the_time_out_of_a_batch_is_its_longest(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        struct claim *c = LEDGER_AS(claim, CLAIM, b)->got;
        fill_claim(&d, c, 9);
        c->jobs[4].timeout_ms = 3000;
        c->jobs[5].timeout_ms = 20;
        answer(&d, b, LEDGER_COMMITTED);
        int64_t since = d.now.mono_ns;
        seen(&d, 0, since);
        pass_time(&d, 2999);
        seen(&d, 0, since);
        CU_ASSERT_PTR_NULL(told(&d, ACT_ASK));
        CU_ASSERT_PTR_NULL(told(&d, ACT_RECALL)); /* nobody waits behind another in it */
        pass_time(&d, 2);
        const struct engine_action *ask = told(&d, ACT_ASK);
        CU_ASSERT(ask && ask->position == 0 && ask->why == 2);
        pass_time(&d, d.config.cancel_grace_ms + 1);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_KILL));
        up(&d, 1); /* in its place */
        gone(&d, 0, 0, 10);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_FINISH));
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 1 && give->group == 0);
        close_desk(&d);
}

static void test_a_batch_that_stops_when_asked_has_timed_out(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 9, false);
        seen(&d, 0, d.now.mono_ns);
        pass_time(&d, 1001);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_ASK));
        end_jobs(&d, 0, 5, VERDICT_RETRY);
        end_jobs(&d, 5, 5, VERDICT_RETRY);
        struct ledger_finish *f = take_finish(&d);
        uint32_t n = 0;
        for (; n < f->n; n++) {
                CU_ASSERT(f->rows[n].error == ERROR_TIMED_OUT && f->rows[n].strikes == 0);
        }
        CU_ASSERT(n >= 5);
        ledger_batch_free(&f->base);
        close_desk(&d);
}

/* --- taking back ------------------------------------------------------------------------------ */

static void test_a_cancel_of_one_does_not_kill_the_others(void)
{
        struct desk d;
        struct engine_event ev = {.kind = EV_CANCEL};
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 9, false);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT_FATAL(give != NULL);
        ev.operator_.id = give->jobs[3]->id;
        seen(&d, 0, d.now.mono_ns);
        tell(&d, ev);
        struct ledger_batch *b = take_posted(&d, LEDGER_CANCEL);
        struct engine_view v;
        engine_look(d.engine, &v);
        LEDGER_AS(cancel, CANCEL, b)->result = CANCEL_ASKED;
        LEDGER_AS(cancel, CANCEL, b)->holder = v.holder;
        answer(&d, b, LEDGER_COMMITTED);
        const struct engine_action *ask = told(&d, ACT_ASK), *recall = told(&d, ACT_RECALL);
        CU_ASSERT(ask && ask->position == 3 && ask->why == 1);
        CU_ASSERT(recall && recall->position == 0); /* all of it or nothing */
        ledger_batch_free(told(&d, ACT_CANCEL_ANSWER)->batch);
        seen(&d, 0, d.now.mono_ns);
        pass_time(&d, 900);
        CU_ASSERT_PTR_NULL(told(&d, ACT_KILL));
        end_jobs(&d, 0, 10, VERDICT_RETRY);
        struct ledger_finish *f = take_finish(&d);
        for (uint32_t i = 0; i < f->n; i++) {
                CU_ASSERT(f->rows[i].to == (i == 3 ? STATE_CANCELLED : STATE_RETRYING));
        }
        ledger_batch_free(&f->base);
        close_desk(&d);
}

static void test_a_cancel_of_one_that_gathers(void)
{
        struct desk d;
        struct engine_event ev = {.kind = EV_CANCEL};
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 2, false);
        tell(&d, ev); /* of the job with the number 2 */
        struct ledger_batch *b = take_posted(&d, LEDGER_CANCEL);
        struct engine_view v;
        engine_look(d.engine, &v);
        uint64_t second = 2;
        memcpy(LEDGER_AS(cancel, CANCEL, b)->id.b, &second, sizeof second);
        LEDGER_AS(cancel, CANCEL, b)->result = CANCEL_ASKED;
        LEDGER_AS(cancel, CANCEL, b)->holder = v.holder;
        answer(&d, b, LEDGER_COMMITTED);
        ledger_batch_free(told(&d, ACT_CANCEL_ANSWER)->batch);
        struct ledger_finish *f = take_finish(&d);
        CU_ASSERT(f->n == 1 && f->rows[0].to == STATE_CANCELLED);
        answer(&d, &f->base, LEDGER_COMMITTED);
        pass_time(&d, 200);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->group_n == 2);
        close_desk(&d);
}

static void test_a_drain_gives_back_what_gathers(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 4, false);
        tell(&d, (struct engine_event){.kind = EV_DRAIN});
        struct ledger_finish *f = take_finish(&d);
        CU_ASSERT_EQUAL(f->n, 5);
        for (uint32_t i = 0; i < f->n; i++) {
                CU_ASSERT(f->rows[i].to == STATE_PENDING && f->rows[i].attempt == 0);
        }
        ledger_batch_free(&f->base);
        close_desk(&d);
}

static void test_killed_at_the_end_of_the_grace(void)
{
        struct desk d;
        struct handler_desc endless = ten;
        endless.timeout_ms = 0;
        open_desk_with(&d, endless, 1, NULL);
        claim_some(&d, 1, true);
        claim_some(&d, 9, false);
        tell(&d, (struct engine_event){.kind = EV_DRAIN});
        seen(&d, 0, d.now.mono_ns);
        pass_time(&d, d.config.shutdown_grace_ms);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_KILL));
        gone(&d, 0, 0, 10);
        struct ledger_finish *f = take_finish(&d);
        CU_ASSERT_EQUAL(f->n, 10);
        for (uint32_t i = 0; i < f->n; i++) {
                CU_ASSERT(f->rows[i].error == ERROR_STOPPED && f->rows[i].strikes == 0);
                CU_ASSERT(f->rows[i].to == STATE_RETRYING && f->rows[i].attempt == 1);
        }
        ledger_batch_free(&f->base);
        close_desk(&d);
}

static void test_another_roster_sorts_anew(void)
{
        struct desk d;
        open_ten(&d, 1);
        claim_some(&d, 1, true);
        claim_some(&d, 4, false);
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
        struct handler_desc h[2] = {{.pattern = STR("other")}, ten};
        h[1].batch_max = 0;
        tell(&d, (struct engine_event){.kind = EV_ROSTER, .roster = roster_new(2, h, 2)});
        const struct engine_action *give = told(&d, ACT_GIVE);
        bool singly = give && give->group == 0;
        for (int i = 0; i < 5 && !give; i++) { /* by a worker of the new roster */
                pass_time(&d, 100);
                give = told(&d, ACT_GIVE);
        }
        CU_ASSERT(!give || singly || give->group == 0);
        h[1].batch_max = 3;
        tell(&d, (struct engine_event){.kind = EV_ROSTER, .roster = roster_new(3, h, 2)});
        close_desk(&d); /* engine_check() has looked at the books after each step */
}

UNIT_TESTS = {
    {"a full batch goes at once", test_a_full_batch_goes_at_once},
    {"a small one waits", test_a_small_batch_waits},
    {"one that is due waits for a worker without spinning",
     test_a_batch_that_is_due_waits_for_a_worker_without_spinning},
    {"the ring wraps within a batch", test_the_ring_wraps_within_a_batch},
    {"members of a crashed batch run singly", test_members_of_a_crashed_batch_run_singly},
    {"who has a strike runs singly", test_who_has_a_strike_runs_singly},
    {"the time-out of a batch is its longest", test_the_time_out_of_a_batch_is_its_longest},
    {"a batch that stops when asked has timed out",
     test_a_batch_that_stops_when_asked_has_timed_out},
    {"a cancel of one does not kill the others", test_a_cancel_of_one_does_not_kill_the_others},
    {"a cancel of one that gathers", test_a_cancel_of_one_that_gathers},
    {"a drain gives back what gathers", test_a_drain_gives_back_what_gathers},
    {"killed at the end of the shutdown grace", test_killed_at_the_end_of_the_grace},
    {"another roster sorts anew", test_another_roster_sorts_anew},
};
UNIT_MAIN("engine-batch")
