/*
 * Failing jobs in the engine: whose policy holds, the budget of wall time, heartbeats, what is kept
 * of the error; letters and children that wish to be unique.
 */
#include "core/defaults.h"
#include "core/fingerprint.h"
#include "core/transport.h"
#include "tests/unit/engine-desk.h"

static struct type_config types[] = {
    {.pattern = {"noop", 4}, .retry = {"linear base=7s", 14}, .heartbeat_ms = 2000},
};

static void configure(struct config *c)
{
        c->queues[0].retry = (struct retry_policy){
            .max_attempts = 5, .backoff = BACKOFF_FIXED, .base_ms = 3000, .cap_ms = 60000};
        c->queues[0].heartbeat_ms = 9000;
}

static const struct handler_desc noop = {.pattern = {"noop", 4}};

/* One job, claimed and in its worker; the caller has changed it before. */
static struct claim *next_claim(struct desk *d)
{
        struct ledger_batch *b = NULL;
        for (int i = 0; i < 20 && !(b = take_posted(d, LEDGER_CLAIM)); i++) {
                tell(d, (struct engine_event){.kind = EV_HEARD});
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        fill_claim(d, LEDGER_AS(claim, CLAIM, b)->got, 1);
        d->posted[d->n_posted++] = b; /* answered by start() */
        return LEDGER_AS(claim, CLAIM, b)->got;
}

static void start(struct desk *d)
{
        answer(d, take_posted(d, LEDGER_CLAIM), LEDGER_COMMITTED);
        CU_ASSERT_PTR_NOT_NULL(told(d, ACT_GIVE));
}

static struct ledger_finish *finish_of(struct desk *d)
{
        struct ledger_batch *b = take_posted(d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return LEDGER_AS(finish, FINISH, b);
}

static void fail_with(struct desk *d, uint32_t first, const char *text)
{
        struct verdict v = {.kind = VERDICT_RETRY,
                            .run_ns = NS_PER_S,
                            .started_wall_us = d->now.wall_us,
                            .text = str_of(text)};
        struct engine_event ev = {.kind = EV_VERDICTS};
        ev.verdicts.first = first;
        ev.verdicts.n = 1;
        ev.verdicts.list = &v;
        tell(d, ev);
}

/* --- policies --------------------------------------------------------------------------------- */

static void test_the_job_over_its_type_over_its_queue(void)
{
        static const struct {
                bool typed;
                const char *own;
                int64_t after_ms;
        } cases[] = {
            {false, "", 3000},         {false, "base=4s", 4000},
            {true, "", 7000},          {true, "base=5s", 5000},
            {true, "table=1m", 60000}, {false, "nonsense", 3000}, /* of another version */
        };
        struct desk d;
        open_desk_with(&d, noop, 1, configure);
        for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
                d.config.types = cases[i].typed ? types : NULL;
                d.config.n_types = cases[i].typed;
                next_claim(&d)->jobs[0].policy = str_of(cases[i].own);
                start(&d);
                fail_with(&d, i, "no luck 1");
                struct ledger_finish *f = finish_of(&d);
                CU_ASSERT(f->n == 1 && f->rows[0].to == STATE_RETRYING);
                CU_ASSERT_EQUAL(f->rows[0].after_us, cases[i].after_ms * 1000);
                CU_ASSERT_EQUAL(f->rows[0].fingerprint,
                                error_fingerprint(STR("noop"), ERROR_FAILED, STR("no luck 22")));
                answer(&d, &f->base, LEDGER_COMMITTED);
        }
        d.config.types = NULL;
        d.config.n_types = 0;
        close_desk(&d);
}

static void test_the_budget_of_wall_time(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, configure);
        for (uint32_t i = 0; i < 2; i++) {
                struct claim *c = next_claim(&d);
                c->jobs[0].retry_until_us = d.now.wall_us + 3 * US_PER_S - (int64_t)i;
                c->jobs[0].left_work = true;
                start(&d);
                fail_with(&d, i, "x");
                struct ledger_finish *f = finish_of(&d);
                CU_ASSERT(f->rows[0].to == (i ? STATE_DEAD : STATE_RETRYING) &&
                          f->rows[0].left_work);
                CU_ASSERT(f->rows[0].reason == (i ? REASON_EXHAUSTED : REASON_NONE));
                answer(&d, &f->base, LEDGER_COMMITTED);
        }
        close_desk(&d);
}

/* --- signs of life ---------------------------------------------------------------------------- */

static void seen(struct desk *d, int64_t since_ns, int64_t life_ns)
{
        struct engine_event ev = {.kind = EV_SEEN};
        ev.seen.running = true;
        ev.seen.since_ns = since_ns;
        ev.seen.life_ns = life_ns;
        tell(d, ev);
}

static void test_no_sign_of_life(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, configure);
        next_claim(&d)->jobs[0].heartbeat_ms = 2000;
        start(&d);
        int64_t since = d.now.mono_ns, life = since;
        for (int i = 0; i < 4; i++) { /* it lives */
                pass_time(&d, 1900);
                seen(&d, since, life = d.now.mono_ns);
                CU_ASSERT_PTR_NULL(told(&d, ACT_ASK));
                CU_ASSERT(engine_wake_ns(d.engine) <= life + 2000 * NS_PER_MS);
        }
        pass_time(&d, 1999);
        seen(&d, since, life);
        CU_ASSERT_PTR_NULL(told(&d, ACT_ASK));
        pass_time(&d, 1);
        const struct engine_action *ask = told(&d, ACT_ASK);
        CU_ASSERT(ask && ask->why == 2);
        pass_time(&d, d.config.cancel_grace_ms);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_KILL));
        struct engine_event gone = {.kind = EV_WORKER_GONE};
        gone.gone.how = ERROR_CRASHED;
        gone.gone.running = true;
        gone.gone.n_running = 1;
        gone.gone.text = STR("SIGKILL");
        tell(&d, gone);
        struct ledger_finish *f = finish_of(&d);
        CU_ASSERT(f->rows[0].error == ERROR_TIMED_OUT && f->rows[0].strikes == 1);
        CU_ASSERT(str_eq(f->rows[0].error_text, STR("no sign of life for 2s: SIGKILL")));
        ledger_batch_free(&f->base);
        close_desk(&d);
}

static void test_it_stops_when_asked(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, configure);
        next_claim(&d); /* its queue's: 9 s */
        start(&d);
        seen(&d, d.now.mono_ns, d.now.mono_ns);
        pass_time(&d, 8999);
        CU_ASSERT_PTR_NULL(told(&d, ACT_ASK));
        pass_time(&d, 1);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_ASK));
        fail_with(&d, 0, "");
        struct ledger_finish *f = finish_of(&d);
        CU_ASSERT(f->rows[0].error == ERROR_TIMED_OUT && f->rows[0].strikes == 0);
        CU_ASSERT(str_eq(f->rows[0].error_text, STR("no sign of life for 9s")));
        ledger_batch_free(&f->base);
        close_desk(&d);
}

/* The job, its handler, its type, its queue: whoever says something first. */
static void test_whose_heartbeat_counts(void)
{
        static const struct {
                uint32_t job, handler;
                bool typed;
                int64_t asked_ms;
        } cases[] = {
            {500, 3000, true, 500}, {0, 3000, true, 3000}, {0, 0, true, 2000}, {0, 0, false, 9000}};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct desk d;
                struct handler_desc h = noop;
                h.heartbeat_ms = cases[i].handler;
                open_desk_with(&d, h, 1, configure);
                d.config.types = cases[i].typed ? types : NULL;
                d.config.n_types = cases[i].typed;
                next_claim(&d)->jobs[0].heartbeat_ms = cases[i].job;
                start(&d);
                seen(&d, d.now.mono_ns, 0);
                pass_time(&d, cases[i].asked_ms - 1);
                CU_ASSERT_PTR_NULL(told(&d, ACT_ASK));
                pass_time(&d, 1);
                CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_ASK));
                d.config.types = NULL;
                d.config.n_types = 0;
                close_desk(&d);
        }
}

static void test_a_time_out_says_nothing_of_life(void)
{
        struct desk d;
        struct handler_desc h = noop;
        h.timeout_ms = 1000;
        h.heartbeat_ms = 5000;
        open_desk_with(&d, h, 1, configure);
        next_claim(&d);
        start(&d);
        seen(&d, d.now.mono_ns, d.now.mono_ns);
        pass_time(&d, 1000);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_ASK));
        fail_with(&d, 0, "slow");
        struct ledger_finish *f = finish_of(&d);
        CU_ASSERT(f->rows[0].error == ERROR_TIMED_OUT &&
                  str_eq(f->rows[0].error_text, STR("slow")));
        ledger_batch_free(&f->base);
        close_desk(&d);
}

/* --- rescue ----------------------------------------------------------------------------------- */

static void test_a_rescued_job_keeps_its_policy(void)
{
        struct desk d = {.now = {NS_PER_S, 1700000000 * US_PER_S}};
        CU_ASSERT_EQUAL_FATAL(config_init(&d.config), 0);
        configure(&d.config);
        struct engine_config ec = {
            .config = &d.config, .seed = {1, 2, 3, 4}, .host = STR("h"), .version = STR("0")};
        d.engine = engine_new(&ec);
        struct engine_event former = {.kind = EV_FORMER};
        former.former.holder = 99;
        tell(&d, former);
        tell(&d, (struct engine_event){.kind = EV_START});
        answer(&d, take_posted(&d, LEDGER_REGISTER), LEDGER_COMMITTED);
        answer(&d, take_posted(&d, LEDGER_BURY), LEDGER_COMMITTED);
        struct ledger_batch *b = take_posted(&d, LEDGER_HELD);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct ledger_held *h = LEDGER_AS(held, HELD, b);
        h->jobs = arena_zalloc(&b->arena, 3 * sizeof *h->jobs);
        h->n = 3;
        for (uint32_t i = 0; i < 3; i++) {
                h->jobs[i] = (struct held_job){.attempt = 1,
                                               .max_attempts = 3,
                                               .claim = 1,
                                               .token = 7,
                                               .queue = STR("default"),
                                               .type = STR("noop")};
        }
        h->jobs[1].policy = STR("base=11s");
        h->jobs[2].retry_until_us = d.now.wall_us;
        h->jobs[2].left_work = true;
        answer(&d, b, LEDGER_COMMITTED);
        struct ledger_finish *f = finish_of(&d);
        CU_ASSERT_FATAL(f->n == 3);
        CU_ASSERT(f->rows[0].after_us == 3 * US_PER_S && f->rows[1].after_us == 11 * US_PER_S);
        CU_ASSERT(f->rows[2].to == STATE_DEAD && f->rows[2].left_work);
        CU_ASSERT(f->rows[0].error == ERROR_LOST && f->rows[0].fingerprint != 0);
        ledger_batch_free(&f->base);
        close_desk(&d);
}

/* --- uniqueness ------------------------------------------------------------------------------- */

static void tell_letter(struct desk *d, struct submit_row row)
{
        struct arrivals *a = arrivals_new(1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        a->n = 1;
        a->connection = 1;
        a->items[0] = (struct arrival){.kind = ARRIVAL_LETTER, .row = row};
        tell(d, (struct engine_event){.kind = EV_ARRIVALS, .arrivals = a});
}

static void test_a_letter_that_loses(void)
{
        struct desk d;
        struct engine_view v;
        struct unique_wish wish = {.key = STR("k"), .conflict = UNIQUE_REPLACE};
        open_desk_with(&d, noop, 1, configure);
        answer(&d, take_posted(&d, LEDGER_CLAIM), LEDGER_COMMITTED);
        struct submit_row row = {.type = STR("noop"), .state = STATE_PENDING};
        unique_key_of(&wish, row.type, STR("default"), row.payload, &row.unique);
        tell_letter(&d, row);
        struct ledger_batch *b = take_posted(&d, LEDGER_ARRIVE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct arrival *a = &LEDGER_AS(arrive, ARRIVE, b)->list->items[0];
        CU_ASSERT(a->start && a->row.unique.set && a->row.max_attempts == 5);
        a->result = ARRIVAL_DUPLICATE;
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE)); /* it does not run */
        engine_look(d.engine, &v);
        CU_ASSERT(v.unique_held == 1 && v.letters == 1 && v.claimed == 0);
        row.state = STATE_SCHEDULED; /* the holder's time is brought forward */
        row.after_us = 700000;
        tell_letter(&d, row);
        b = take_posted(&d, LEDGER_ARRIVE);
        LEDGER_AS(arrive, ARRIVE, b)->list->items[0].result = ARRIVAL_DUPLICATE;
        struct ledger_batch *due = take_posted(&d, LEDGER_DUE);
        LEDGER_AS(due, DUE, due)->next_us = -1;
        answer(&d, due, LEDGER_COMMITTED);
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT(engine_wake_ns(d.engine) <= d.now.mono_ns + 700 * NS_PER_MS);
        pass_time(&d, 700);
        due = take_posted(&d, LEDGER_DUE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(due);
        ledger_batch_free(due);
        close_desk(&d);
}

static void test_an_unrouted_letter_takes_its_key_along(void)
{
        struct desk d;
        struct str post[] = {STR("post.>")};
        struct unique_wish wish = {.key = STR("k")};
        struct unique_key there;
        open_desk_with(&d, noop, 1, configure);
        d.config.queues[0].types = post;
        d.config.queues[0].n_types = 1;
        struct submit_row row = {.type = STR("post.card"), .state = STATE_PENDING};
        unique_key_of(&wish, row.type, row.queue, row.payload, &row.unique);
        unique_key_of(&wish, row.type, STR("default"), row.payload, &there);
        struct arrivals *l = arrivals_new(1);
        l->n = 1;
        l->connection = 1;
        l->queue = TRANSPORT_UNROUTED;
        l->items[0] = (struct arrival){.kind = ARRIVAL_LETTER, .row = row};
        tell(&d, (struct engine_event){.kind = EV_ARRIVALS, .arrivals = l});
        struct ledger_batch *b = take_posted(&d, LEDGER_ARRIVE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        const struct arrival *a = &LEDGER_AS(arrive, ARRIVE, b)->list->items[0];
        CU_ASSERT(str_eq(a->row.queue, STR("default")));
        CU_ASSERT(memcmp(a->row.unique.hash, there.hash, sizeof there.hash) == 0);
        answer(&d, b, LEDGER_REFUSED); /* placed once more: moved once */
        for (int i = 0; i < 30 && !(b = take_posted(&d, LEDGER_ARRIVE)); i++) {
                pass_time(&d, 10);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        a = &LEDGER_AS(arrive, ARRIVE, b)->list->items[0];
        CU_ASSERT(memcmp(a->row.unique.hash, there.hash, sizeof there.hash) == 0);
        answer(&d, b, LEDGER_COMMITTED);
        d.config.queues[0].types = NULL;
        d.config.queues[0].n_types = 0;
        close_desk(&d);
}

static void test_a_child_is_completed(void)
{
        struct desk d;
        struct unique_wish wish = {.key = STR("k")};
        struct unique_key there;
        open_desk_with(&d, noop, 1, configure);
        next_claim(&d);
        start(&d);
        struct submission *s = submission_new();
        s->rows = arena_zalloc(&s->arena, sizeof *s->rows);
        s->n = 1;
        s->rows[0] = (struct submit_row){.type = STR("noop"),
                                         .state = STATE_PENDING,
                                         .priority = ROW_PRIORITY_UNSET,
                                         .policy = STR("attempts=2 for=1m")};
        unique_key_of(&wish, STR("noop"), (struct str){0}, (struct str){0}, &s->rows[0].unique);
        unique_key_of(&wish, STR("noop"), STR("default"), (struct str){0}, &there);
        struct verdict v = {.kind = VERDICT_DONE, .run_ns = 1000, .children = s};
        struct engine_event ev = {.kind = EV_VERDICTS};
        ev.verdicts.n = 1;
        ev.verdicts.list = &v;
        tell(&d, ev);
        struct ledger_finish *f = finish_of(&d);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f->rows[0].children);
        const struct submit_row *row = &f->rows[0].children->rows[0];
        CU_ASSERT(str_eq(row->queue, STR("default")) && row->priority == 5);
        CU_ASSERT(row->max_attempts == 2 && row->retry_until_us == d.now.wall_us + 60 * US_PER_S);
        CU_ASSERT(memcmp(row->unique.hash, there.hash, sizeof there.hash) == 0);
        CU_ASSERT(row->band == BAND_OFFERED);
        ledger_batch_free(&f->base);
        close_desk(&d);
}

UNIT_TESTS = {
    {"the job's policy over its type's over its queue's",
     test_the_job_over_its_type_over_its_queue},
    {"the budget of wall time", test_the_budget_of_wall_time},
    {"no sign of life", test_no_sign_of_life},
    {"a job that stops when asked", test_it_stops_when_asked},
    {"whose heartbeat counts", test_whose_heartbeat_counts},
    {"a time-out says nothing of life", test_a_time_out_says_nothing_of_life},
    {"a rescued job keeps its policy", test_a_rescued_job_keeps_its_policy},
    {"a letter that loses", test_a_letter_that_loses},
    {"an unrouted letter takes its key along", test_an_unrouted_letter_takes_its_key_along},
    {"a child is completed", test_a_child_is_completed},
};
UNIT_MAIN("engine-retry")
