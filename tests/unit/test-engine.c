/*
 * The engine by hand: single steps against a ledger and workers that the test plays itself. What
 * only appears under faults and in time is the simulator's (tests/sim).
 */
#include "tests/unit/engine-desk.h"

static void test_a_job_from_claim_to_retirement(void)
{
        struct desk d;
        open_desk(&d);
        claim_jobs(&d, 1);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(give);
        CU_ASSERT(give->n == 1 && give->position == 0);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        struct ledger_batch *b = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        const struct ledger_finish *f = LEDGER_AS(finish, FINISH, b);
        CU_ASSERT(f->n == 1 && f->rows[0].to == STATE_COMPLETED && f->rows[0].token == 77);
        CU_ASSERT(f->n_retire == 1 &&
                  f->retire[0].writer == LANE_CLAIMS); /* retired with its last job */
        struct engine_view v;
        engine_look(d.engine, &v);
        CU_ASSERT_EQUAL(v.claimed, 1);
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_SETTLED));
        engine_look(d.engine, &v);
        CU_ASSERT_EQUAL(v.claimed, 0);
        close_desk(&d);
}

static void test_unknown_type_of_job_is_given_singly_until_it_is_known_as_fast(void)
{
        struct desk d;
        open_desk(&d);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_EQUAL(LEDGER_AS(claim, CLAIM, b)->want, 1);
        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 1);
        LEDGER_AS(claim, CLAIM, b)->more = true;
        answer(&d, b, LEDGER_COMMITTED);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT(LEDGER_AS(claim, CLAIM, b)->want >= 500);
        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 40);
        answer(&d, b, LEDGER_COMMITTED);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 40 && give->position == 1);
        close_desk(&d);
}

static void test_large_payloads_bound_what_is_claimed(void)
{
        struct desk d;
        open_desk(&d);
        claim_jobs(&d, 1);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        answer(&d, take_posted(&d, LEDGER_FINISH), LEDGER_COMMITTED);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct ledger_claim *c = LEDGER_AS(claim, CLAIM, b);
        fill_claim(&d, c->got, 40);
        for (uint32_t i = 0; i < 40; i++) {
                c->got->jobs[i].payload.n = 1u << 20; /* nobody reads it here */
        }
        c->more = true;
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        end_jobs(&d, 1, 40, VERDICT_DONE); /* it has nothing to do, and they still take memory */
        b = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM));
        answer(&d, b, LEDGER_COMMITTED);
        b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        c = LEDGER_AS(claim, CLAIM, b);
        CU_ASSERT(c->want == 12 && c->max_bytes == 8u << 20);
        answer(&d, b, LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_a_refused_finish_is_offered_again(void)
{
        struct desk d;
        open_desk(&d);
        claim_jobs(&d, 1);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        answer(&d, take_posted(&d, LEDGER_FINISH), LEDGER_REFUSED);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_FINISH));
        pass_time(&d, 150);
        struct ledger_batch *b = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT_EQUAL(LEDGER_AS(finish, FINISH, b)->n, 1);
        answer(&d, b, LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_an_unknown_claim_is_resolved_and_read_back(void)
{
        struct desk d;
        open_desk(&d);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        uint64_t token = LEDGER_AS(claim, CLAIM, b)->token;
        struct commit_no no = b->no;
        answer(&d, b, LEDGER_UNKNOWN);
        struct ledger_batch *r = take_posted(&d, LEDGER_RESOLVE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(r);
        CU_ASSERT_EQUAL(LEDGER_AS(resolve, RESOLVE, r)->of.n, no.n);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_CLAIM)); /* the lane is frozen */
        LEDGER_AS(resolve, RESOLVE, r)->happened = true;
        answer(&d, r, LEDGER_COMMITTED);
        b = take_posted(&d, LEDGER_RECALL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT_EQUAL(LEDGER_AS(recall, RECALL, b)->token, token);
        fill_claim(&d, LEDGER_AS(recall, RECALL, b)->got, 1);
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_GIVE));
        close_desk(&d);
}

static void test_a_crash_costs_the_running_job_alone(void)
{
        struct desk d;
        open_desk(&d);
        claim_jobs(&d, 1);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        claim_jobs(&d, 10);
        struct engine_event gone = {.kind = EV_WORKER_GONE};
        gone.gone.how = ERROR_CRASHED;
        gone.gone.running = true;
        gone.gone.position = 1;
        gone.gone.text = STR("SIGSEGV");
        tell(&d, gone);
        struct ledger_batch *b = take_posted(&d, LEDGER_FINISH);
        answer(&d, b, LEDGER_COMMITTED); /* of the first job */
        b = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        const struct ledger_finish *f = LEDGER_AS(finish, FINISH, b);
        CU_ASSERT(f->n == 1 && f->rows[0].error == ERROR_CRASHED && f->rows[0].strikes == 1);
        CU_ASSERT(f->rows[0].to == STATE_RETRYING && f->rows[0].keep_attempt);
        const struct engine_action *spawn = told(&d, ACT_SPAWN);
        pass_time(&d, 500);
        spawn = spawn ? spawn : told(&d, ACT_SPAWN);
        struct engine_event up = {.kind = EV_WORKER_UP};
        up.up.generation = 1;
        tell(&d, up);
        const struct engine_action *give = told(&d, ACT_GIVE);
        CU_ASSERT(give && give->n == 9); /* the bystanders, under the same claim */
        ledger_batch_free(b);
        close_desk(&d);
}

static void test_a_time_out_is_asked_then_killed(void)
{
        struct desk d;
        open_desk(&d);
        claim_jobs(&d, 1);
        struct engine_event seen = {.kind = EV_SEEN};
        seen.seen.running = true;
        seen.seen.since_ns = d.now.mono_ns;
        tell(&d, seen);
        pass_time(&d, 900);
        CU_ASSERT_PTR_NULL(told(&d, ACT_ASK));
        CU_ASSERT(engine_wake_ns(d.engine) <= seen.seen.since_ns + NS_PER_S);
        pass_time(&d, 150);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_ASK));
        pass_time(&d, d.config.cancel_grace_ms + 1);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_KILL));
        close_desk(&d);
}

static void test_a_drain_gives_back_what_has_not_started(void)
{
        struct desk d;
        open_desk(&d);
        claim_jobs(&d, 1);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        answer(&d, take_posted(&d, LEDGER_FINISH), LEDGER_COMMITTED);
        claim_jobs(&d, 5);
        tell(&d, (struct engine_event){.kind = EV_DRAIN});
        const struct engine_action *recall = told(&d, ACT_RECALL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(recall);
        engine_recalled(d.engine, recall->worker, 2); /* position 1 runs */
        CU_ASSERT_EQUAL(engine_wake_ns(d.engine), 0);
        pass_time(&d, 1);
        struct ledger_batch *b = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        const struct ledger_finish *f = LEDGER_AS(finish, FINISH, b);
        CU_ASSERT_EQUAL(f->n, 4);
        for (uint32_t i = 0; i < f->n; i++) {
                CU_ASSERT(f->rows[i].to == STATE_PENDING && f->rows[i].attempt == 0);
        }
        answer(&d, b, LEDGER_COMMITTED);
        end_jobs(&d, 1, 1, VERDICT_DONE);
        answer(&d, take_posted(&d, LEDGER_FINISH), LEDGER_COMMITTED);
        static const enum ledger_op late[] = {LEDGER_CLAIM, LEDGER_BEAT};
        for (size_t i = 0; i < ARRAY_LEN(late);
             i++) { /* what was on its way when the drain began */
                struct ledger_batch *on_its_way = take_posted(&d, late[i]);
                if (on_its_way) {
                        answer(&d, on_its_way, LEDGER_COMMITTED);
                }
        }
        for (int forget = 0; forget < 2;
             forget++) { /* it declares itself dead, then is forgotten */
                CU_ASSERT_PTR_NULL(told(&d, ACT_STOPPED));
                struct ledger_batch *bury = take_posted(&d, LEDGER_BURY);
                CU_ASSERT_PTR_NOT_NULL_FATAL(bury);
                CU_ASSERT_EQUAL(LEDGER_AS(bury, BURY, bury)->forget, forget);
                answer(&d, bury, LEDGER_COMMITTED);
        }
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_STOPPED));
        close_desk(&d);
}

/* How long after its grace a node stops whose last verdict the ledger has and does not answer. */
static int64_t drain_without_answer(enum ledger_outcome beats)
{
        struct desk d;
        open_desk(&d);
        claim_jobs(&d, 1);
        tell(&d, (struct engine_event){.kind = EV_DRAIN});
        end_jobs(&d, 0, 1, VERDICT_DONE);
        struct ledger_batch *verdict = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL(verdict);
        int64_t ms = -(int64_t)d.config.shutdown_grace_ms;
        while (!told(&d, ACT_STOPPED) && ms < 60000) {
                pass_time(&d, 100);
                ms += 100;
                struct ledger_batch *beat =
                    told(&d, ACT_STOPPED) ? NULL : take_posted(&d, LEDGER_BEAT);
                if (beat) {
                        answer(&d, beat, beats);
                }
        }
        ledger_batch_free(verdict);
        close_desk(&d);
        return ms;
}

static void test_a_drain_waits_for_a_slow_ledger(void)
{
        CU_ASSERT_EQUAL(drain_without_answer(LEDGER_COMMITTED), 15000);
        CU_ASSERT_EQUAL(drain_without_answer(LEDGER_REFUSED), 1000);
}

static void test_a_fenced_node_starts_nothing_and_registers_anew(void)
{
        struct desk d;
        open_desk(&d);
        struct engine_view before, after;
        engine_look(d.engine, &before);
        claim_jobs(&d, 1);
        pass_time(&d, 1100);
        struct ledger_batch *beat = take_posted(&d, LEDGER_BEAT);
        if (!beat) {
                pass_time(&d, 1000);
                beat = take_posted(&d, LEDGER_BEAT);
        }
        answer(&d, beat, LEDGER_FENCED);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_RECALL));
        CU_ASSERT_PTR_NULL(told(&d, ACT_GIVE));
        engine_look(d.engine, &after);
        CU_ASSERT(after.holder != before.holder && !after.registered);
        struct ledger_batch *again = take_posted(&d, LEDGER_REGISTER);
        CU_ASSERT_PTR_NOT_NULL(again);
        ledger_batch_free(again);
        close_desk(&d);
}

/* --- floors ----------------------------------------------------------------------------------- */

static void tell_floor(struct desk *d, const char *transport, const char *history, int64_t floor)
{
        struct engine_event ev = {.kind = EV_TRANSPORT};
        ev.transport.change = CHANGE_FLOOR;
        ev.transport.name = str_of(transport);
        ev.transport.history = str_of(history);
        ev.transport.floor = floor;
        tell(d, ev);
}

static void test_a_floor_is_told_and_answered(void)
{
        struct desk d;
        char transport[] = "hub", history[] = "JOBS:1:skep-mail";
        open_desk(&d);
        tell_floor(&d, transport, history, 7);
        memset(transport, '#', sizeof transport - 1); /* the event's texts are gone by then */
        memset(history, '#', sizeof history - 1);
        struct ledger_batch *b = take_posted(&d, LEDGER_FLOOR);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct ledger_floor *f = LEDGER_AS(floor, FLOOR, b);
        CU_ASSERT(f->floor == 7 && str_eq(f->history, STR("JOBS:1:skep-mail")) && b->no.n == 0);
        CU_ASSERT_PTR_NULL(told(&d, ACT_FLOOR)); /* not before it is durable */
        f->floor = 9;
        answer(&d, b, LEDGER_COMMITTED);
        const struct engine_action *a = told(&d, ACT_FLOOR);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT(a->floor == 9 && str_eq(a->transport, STR("hub")) &&
                  str_eq(a->text, STR("JOBS:1:skep-mail")));
        close_desk(&d);
}

static void test_an_unwritten_floor_is_dropped_and_told_again(void)
{
        static const enum ledger_outcome outcomes[] = {LEDGER_REFUSED, LEDGER_UNKNOWN};
        struct desk d;
        open_desk(&d);
        for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
                tell_floor(&d, "hub", "h", 7);
                answer(&d, take_posted(&d, LEDGER_FLOOR), outcomes[i]);
                CU_ASSERT_PTR_NULL(told(&d, ACT_FLOOR));
                CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_RESOLVE));
                pass_time(&d, 1000);
                CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_FLOOR));
        }
        tell_floor(&d, "hub", "h", 0);
        answer(&d, take_posted(&d, LEDGER_FLOOR), LEDGER_COMMITTED);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_FLOOR));
        close_desk(&d);
}

static uint32_t count_floors(struct desk *d)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < d->n_posted; i++) {
                n += d->posted[i]->op == LEDGER_FLOOR;
        }
        return n;
}

static void test_one_floor_of_a_history_at_a_time(void)
{
        struct desk d;
        open_desk(&d);
        tell_floor(&d, "hub", "h", 1);
        tell_floor(&d, "hub", "h", 2);
        CU_ASSERT_EQUAL(count_floors(&d), 1);
        tell_floor(&d, "hub", "i", 1);
        tell_floor(&d, "rim", "h", 1); /* another's of the same name */
        CU_ASSERT_EQUAL(count_floors(&d), 3);
        while (count_floors(&d)) {
                answer(&d, take_posted(&d, LEDGER_FLOOR), LEDGER_COMMITTED);
        }
        tell_floor(&d, "hub", "h", 2);
        CU_ASSERT_EQUAL(count_floors(&d), 1);
        close_desk(&d);
}

static void test_floors_under_way_are_bounded(void)
{
        struct desk d;
        struct ledger_batch *way[200];
        uint32_t n = 0;
        open_desk(&d);
        for (uint32_t i = 0; i < ARRAY_LEN(way); i++) {
                char history[16];
                snprintf(history, sizeof history, "h%u", i);
                tell_floor(&d, "hub", history, 1);
                struct ledger_batch *b = take_posted(&d, LEDGER_FLOOR);
                if (b) {
                        way[n++] = b;
                }
        }
        CU_ASSERT(n >= 16 && n < ARRAY_LEN(way));
        for (uint32_t i = 0; i < n; i += 2) { /* not in order */
                answer(&d, way[i], LEDGER_COMMITTED);
        }
        for (uint32_t i = 1; i < n; i += 2) {
                answer(&d, way[i], LEDGER_REFUSED);
        }
        tell_floor(&d, "hub", "h199", 1);
        CU_ASSERT_EQUAL(count_floors(&d), 1);
        close_desk(&d);
}

UNIT_TESTS = {
    {"a job from its claim to its retirement", test_a_job_from_claim_to_retirement},
    {"unknown jobs go singly, fast ones in batches",
     test_unknown_type_of_job_is_given_singly_until_it_is_known_as_fast},
    {"large payloads bound what is claimed", test_large_payloads_bound_what_is_claimed},
    {"a refused finish is offered again", test_a_refused_finish_is_offered_again},
    {"an unknown claim is resolved and read back", test_an_unknown_claim_is_resolved_and_read_back},
    {"a crash costs the running job alone", test_a_crash_costs_the_running_job_alone},
    {"a time-out is asked, then killed", test_a_time_out_is_asked_then_killed},
    {"a drain gives back what has not started", test_a_drain_gives_back_what_has_not_started},
    {"a drain waits for a slow ledger", test_a_drain_waits_for_a_slow_ledger},
    {"a fenced node starts nothing and registers anew",
     test_a_fenced_node_starts_nothing_and_registers_anew},
    {"a floor is told and answered", test_a_floor_is_told_and_answered},
    {"an unwritten floor is dropped, and told again",
     test_an_unwritten_floor_is_dropped_and_told_again},
    {"one floor of a history at a time", test_one_floor_of_a_history_at_a_time},
    {"floors under way are bounded", test_floors_under_way_are_bounded},
};
UNIT_MAIN("engine")
