/*
 * What operators set for queues, limits over all nodes, bounds, and the order of priorities: as an
 * engine acts upon them.
 */
#include "core/defaults.h"
#include "tests/unit/engine-desk.h"

static const struct handler_desc noop = {.pattern = {"noop", 4}};

/* One queue that comes through a broker, `default`. */
static void brokered(struct config *c)
{
        c->queues[0].transport = STR("rabbit");
}

static void transport_up(struct desk *d)
{
        struct engine_event ev = {.kind = EV_TRANSPORT};
        ev.transport.change = CHANGE_UP;
        ev.transport.name = STR("rabbit");
        tell(d, ev);
}

/* The next beat tells this control of `default`; NULL: none. */
static void beat(struct desk *d, const struct queue_control *control)
{
        struct ledger_batch *b = NULL;
        for (int i = 0; i < 30 && !b; i++) {
                pass_time(d, 100);
                b = take_posted(d, LEDGER_BEAT);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct ledger_beat *beat = LEDGER_AS(beat, BEAT, b);
        if (control) {
                beat->controls = arena_zalloc(&b->arena, sizeof *control);
                *beat->controls = *control;
                beat->n_controls = 1;
        }
        answer(d, b, LEDGER_COMMITTED);
}

static struct queue_control control(bool paused, int32_t concurrency, int32_t global)
{
        return (struct queue_control){STR("default"), paused, concurrency, global};
}

static struct queue_view look(const struct desk *d)
{
        struct queue_view v = {0};
        CU_ASSERT_EQUAL(engine_queue_views(d->engine, &v, 1), 1);
        return v;
}

static struct arrivals *letters(uint32_t n)
{
        struct arrivals *a = arrivals_new(n);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        a->n = n;
        a->connection = 1;
        for (uint32_t i = 0; i < n; i++) {
                a->items[i] = (struct arrival){
                    .kind = ARRIVAL_LETTER,
                    .row = {.type = STR("noop"), .state = STATE_PENDING, .priority = 5}};
        }
        return a;
}

static struct ledger_arrive *arrive(struct desk *d, uint32_t n)
{
        struct engine_event ev = {.kind = EV_ARRIVALS, .arrivals = letters(n)};
        tell(d, ev);
        struct ledger_batch *b = take_posted(d, LEDGER_ARRIVE);
        for (int i = 0; i < 10 && !b; i++) {
                pass_time(d, 10);
                b = take_posted(d, LEDGER_ARRIVE);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return LEDGER_AS(arrive, ARRIVE, b);
}

static uint32_t count_started(const struct ledger_arrive *b)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < b->list->n; i++) {
                n += b->list->items[i].start;
        }
        return n;
}

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
    {"a limit over all nodes", test_a_global_limit},
    {"submissions and letters carry the bound", test_submissions_carry_the_bound},
    {"a full queue is not consumed", test_a_full_queue_is_not_consumed},
    {"10,000 jobs in the order of their priorities",
     test_ten_thousand_in_the_order_of_their_priorities},
};
UNIT_MAIN("engine-control")
