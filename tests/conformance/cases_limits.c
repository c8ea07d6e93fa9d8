/*
 * What holds a queue back: controls that operators set, a limit over all nodes, a bound of its
 * length.
 */
#include "tests/conformance/bed_life.h"

/* --- controls --------------------------------------------------------------------------------- */

static const struct queue_control unset = {
    .concurrency = CONTROL_UNSET,
    .global = CONTROL_UNSET,
};

static bool says(struct queue_control c, bool paused, int32_t concurrency, int32_t global)
{
        return c.paused == paused && c.concurrency == concurrency && c.global == global;
}

static const struct queue_control *told(const struct ledger_beat *b, const char *queue)
{
        for (uint32_t i = 0; i < b->n_controls; i++) {
                if (str_eq(b->controls[i].queue, str_of(queue))) {
                        return &b->controls[i];
                }
        }
        return NULL;
}

static void sets_one_part_and_leaves_the_others(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(says(bed_control(bed, "q", 0, unset), false, CONTROL_UNSET, CONTROL_UNSET));
        struct queue_control to = {.paused = true, .concurrency = 7, .global = 9};
        CU_ASSERT(
            says(bed_control(bed, "q", CONTROL_PAUSED, to), true, CONTROL_UNSET, CONTROL_UNSET));
        CU_ASSERT(says(bed_control(bed, "q", CONTROL_CONCURRENCY, to), true, 7, CONTROL_UNSET));
        to.concurrency = 0;
        to.paused = false;
        CU_ASSERT(says(bed_control(bed, "q", CONTROL_GLOBAL, to), true, 7, 9));
        CU_ASSERT(says(bed_control(bed, "q", 0, to), true, 7, 9));
        CU_ASSERT(says(bed_control(bed, "other", 0, to), false, CONTROL_UNSET, CONTROL_UNSET));
        CU_ASSERT(
            says(bed_control(bed, "q", CONTROL_PAUSED | CONTROL_CONCURRENCY, to), false, 0, 9));
        bed_free(bed);
}

static void every_beat_tells_them(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(bed_beat(bed)->n_controls == 0);
        struct queue_control to = {.paused = true, .concurrency = 3, .global = 4};
        (void)bed_control(bed, "q", CONTROL_PAUSED, to);
        (void)bed_control(bed, "mail", CONTROL_CONCURRENCY | CONTROL_GLOBAL, to);
        for (int i = 0; i < 2; i++) {
                const struct ledger_beat *b = bed_beat(bed);
                CU_ASSERT_FATAL(b->n_controls == 2 && told(b, "q") && told(b, "mail"));
                CU_ASSERT(says(*told(b, "q"), true, CONTROL_UNSET, CONTROL_UNSET));
                CU_ASSERT(says(*told(b, "mail"), false, 3, 4));
        }
        (void)bed_control(bed, "mail", CONTROL_CONCURRENCY, unset);
        (void)bed_control(bed, "q", CONTROL_PAUSED, unset); /* says nothing any more: it goes */
        const struct ledger_beat *b = bed_beat(bed);
        CU_ASSERT_FATAL(b->n_controls == 1 && told(b, "mail"));
        CU_ASSERT(says(*told(b, "mail"), false, CONTROL_UNSET, 4));
        (void)bed_control(bed, "mail", CONTROL_GLOBAL, unset);
        CU_ASSERT(bed_beat(bed)->n_controls == 0);
        bed_free(bed);
}

static void other_nodes_are_told(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        (void)bed_control(bed, "q", CONTROL_PAUSED, (struct queue_control){.paused = true});
        const struct ledger_beat *b = bed_beat(other);
        CU_ASSERT_FATAL(b->n_controls == 1);
        CU_ASSERT(told(b, "q") && told(b, "q")->paused);
        bed_free(other);
        bed_free(bed);
}

/* --- global ----------------------------------------------------------------------------------- */

static uint32_t claim_n(struct bed *bed, uint32_t want, uint32_t global, bool limited)
{
        bool was;
        struct claim *c = bed_claim_global(bed, want, global, &was);
        uint32_t n = c->n;
        CU_ASSERT(was == limited);
        claim_free(c);
        return n;
}

static void add_many(struct bed *bed, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                (void)bed_add_one(bed);
        }
}

static void no_more_run_than_the_limit(void)
{
        struct bed *bed = bed_new();
        add_many(bed, 10);
        bool limited;
        struct claim *c = bed_claim_global(bed, 3, 5, &limited);
        CU_ASSERT(c->n == 3 && !limited); /* asked for no more */
        CU_ASSERT(claim_n(bed, 9, 5, true) == 2);
        CU_ASSERT(claim_n(bed, 9, 5, true) == 0);
        bed_fold(bed);
        CU_ASSERT(claim_n(bed, 9, 5, true) == 0);
        bed_end(bed, c, STATE_COMPLETED);
        CU_ASSERT(claim_n(bed, 2, 5, false) == 2);
        CU_ASSERT(claim_n(bed, 2, 5, true) == 1);
        CU_ASSERT(claim_n(bed, 9, 3, true) == 0);  /* lowered below what runs */
        CU_ASSERT(claim_n(bed, 9, 0, false) == 2); /* no such limit */
        CU_ASSERT(claim_n(bed, 9, 1, false) == 0); /* nothing is there to claim */
        bed_free(bed);
}

static void every_end_makes_room(void)
{
        static const enum job_state ends[] = {STATE_COMPLETED, STATE_RETRYING, STATE_SCHEDULED,
                                              STATE_DEAD, STATE_CANCELLED};
        struct bed *bed = bed_new();
        add_many(bed, 8);
        for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
                bool limited;
                struct claim *c = bed_claim_global(bed, 5, 1, &limited);
                CU_ASSERT_FATAL(c->n == 1 && limited);
                CU_ASSERT(claim_n(bed, 5, 1, true) == 0);
                bed_end(bed, c, ends[i]);
        }
        CU_ASSERT(claim_n(bed, 5, 1, true) == 1);
        bed_free(bed);
}

static void letters_and_other_claims_count(void)
{
        struct bed *bed = bed_new();
        struct arrival a = bed_letter(bed);
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        struct submit_row row = bed_row(bed);
        row.queue = STR("other");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        claim_free(bed_claim_of(bed, "other", 1));
        add_many(bed, 4);
        CU_ASSERT(claim_n(bed, 9, 2, true) == 1);
        bed_free(bed);
}

static void holds_over_all_nodes(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        add_many(bed, 10);
        CU_ASSERT(claim_n(bed, 2, 5, false) == 2);
        CU_ASSERT(claim_n(other, 9, 5, true) == 3);
        CU_ASSERT(claim_n(bed, 9, 5, true) == 0);
        bed_free(other);
        bed_free(bed);
}

/* Rescues all that the victim holds, as retrying. */
static uint32_t rescue(struct bed *bed, uint64_t victim)
{
        const struct ledger_held *h = bed_held(bed, victim, 0, 100);
        for (uint32_t i = 0; i < h->n; i++) {
                struct job j = {.id = h->jobs[i].id,
                                .ref = h->jobs[i].ref,
                                .claim = h->jobs[i].claim,
                                .token = h->jobs[i].token,
                                .attempt = h->jobs[i].attempt};
                struct finish_row v = bed_verdict(&j, STATE_RETRYING);
                v.error = ERROR_LOST;
                v.keep_attempt = true;
                v.after_us = HOUR;
                CU_ASSERT(bed_finish_one(bed, v));
        }
        return h->n;
}

static void a_dead_holder_leaks_nothing(void)
{
        struct bed *bed = bed_new(), *victim = bed_join(bed, 102);
        add_many(bed, 10);
        CU_ASSERT(claim_n(victim, 9, 3, true) == 3);
        CU_ASSERT(bed_bury(bed, victim->holder, 0, true, false));
        CU_ASSERT(claim_n(bed, 9, 3, true) == 0); /* they may run yet */
        CU_ASSERT(rescue(bed, victim->holder) == 3);
        CU_ASSERT(claim_n(bed, 9, 3, true) == 3);
        CU_ASSERT(bed_bury(bed, victim->holder, 0, false, true));
        CU_ASSERT(claim_n(bed, 9, 3, true) == 0);
        CU_ASSERT(claim_n(bed, 9, 4, true) == 1);
        bed_free(victim);
        bed_free(bed);
}

/* Eight nodes ask at once, again and again, and none gives back: not one too many runs. */
static void holds_when_all_ask_at_once(void)
{
        enum { NODES = 8, ROUNDS = 5, LIMIT = 20 };
        struct bed *bed = bed_new(), *beds[NODES];
        struct ledger_claim *claims[NODES][ROUNDS];
        add_many(bed, 100);
        for (int h = 0; h < NODES; h++) {
                beds[h] = bed_join(bed, 200 + (uint64_t)h);
        }
        for (int r = 0; r < ROUNDS; r++) {
                for (int h = 0; h < NODES; h++) {
                        claims[h][r] = bed_claim_batch(beds[h], 3);
                        claims[h][r]->global = LIMIT;
                        bed_post(beds[h], &claims[h][r]->base);
                }
        }
        uint32_t got = 0;
        for (int h = 0; h < NODES; h++) {
                for (int r = 0; r < ROUNDS; r++) {
                        bed_wait(beds[h], &claims[h][r]->base);
                        CU_ASSERT(claims[h][r]->base.outcome == LEDGER_COMMITTED);
                        got += claims[h][r]->got->n;
                        ledger_batch_free(&claims[h][r]->base);
                }
        }
        CU_ASSERT(got == LIMIT);
        CU_ASSERT(bed_count(bed, "q", STATE_RUNNING) == LIMIT);
        for (int h = 0; h < NODES; h++) {
                bed_free(beds[h]);
        }
        bed_free(bed);
}

/* What cannot run on the way to it does not count, and is not in its way. */
static void rows_that_cannot_run_take_no_room(void)
{
        struct bed *bed = bed_new();
        struct submit_row late = bed_row(bed), odd = bed_row(bed);
        late.deadline_us = fixture->now_us(bed->store) + 1;
        odd.type = STR("odd.type");
        CU_ASSERT(bed_add(bed, &late) == SUBMIT_CREATED && bed_add(bed, &odd) == SUBMIT_CREATED);
        add_many(bed, 3);
        fixture->advance(bed->store, SECOND);
        CU_ASSERT(claim_n(bed, 9, 2, true) == 2);
        CU_ASSERT(bed_state(bed, &late.id) == STATE_DEAD);
        CU_ASSERT(bed_show(bed, &odd.id)->band == BAND_PARKED);
        CU_ASSERT(bed_count(bed, "q", STATE_RUNNING) == 2);
        bed_free(bed);
}

static void an_unknown_claim_counts(void)
{
        struct bed *bed = bed_new();
        add_many(bed, 6);
        struct ledger_claim *b = bed_claim_batch(bed, 2);
        b->global = 3;
        fixture->fail_next(bed->store, FAULT_UNKNOWN_WRITTEN);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
        CU_ASSERT(bed_resolve(bed, b->base.no));
        ledger_batch_free(&b->base);
        fixture->fail_next(bed->store, FAULT_UNKNOWN_LOST);
        b = bed_claim_batch(bed, 2);
        b->global = 3;
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
        CU_ASSERT(!bed_resolve(bed, b->base.no));
        ledger_batch_free(&b->base);
        CU_ASSERT(claim_n(bed, 9, 3, true) == 1);
        bed_free(bed);
}

/* --- the bound of a queue --------------------------------------------------------------------- */

static enum submit_result add_bound(struct bed *bed, uint32_t max, bool drop)
{
        struct submit_row row = bed_row(bed);
        enum submit_result r = bed_add_bound(bed, &row, max, drop);
        CU_ASSERT(bed_state(bed, &row.id) == (r == SUBMIT_CREATED ? STATE_PENDING : STATE_NONE));
        return r;
}

static void is_full_at_its_bound(void)
{
        struct bed *bed = bed_new();
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(add_bound(bed, 3, false) == SUBMIT_CREATED);
        }
        CU_ASSERT(add_bound(bed, 3, false) == SUBMIT_FULL);
        bed_fold(bed);
        CU_ASSERT(add_bound(bed, 3, false) == SUBMIT_FULL);
        struct submit_row other = bed_row(bed);
        other.queue = STR("other");
        CU_ASSERT(bed_add_bound(bed, &other, 3, false) == SUBMIT_CREATED);
        struct claim *c = bed_claim(bed, 1); /* what runs does not count */
        CU_ASSERT(add_bound(bed, 3, false) == SUBMIT_CREATED);
        CU_ASSERT(add_bound(bed, 3, false) == SUBMIT_FULL);
        bed_end(bed, c, STATE_RETRYING); /* what waits again does */
        CU_ASSERT(add_bound(bed, 4, false) == SUBMIT_FULL);
        CU_ASSERT(add_bound(bed, 5, false) == SUBMIT_CREATED);
        bed_free(bed);
}

static void scheduled_and_parked_rows_count(void)
{
        struct bed *bed = bed_new();
        (void)bed_job_in(bed, STATE_SCHEDULED);
        struct submit_row row = bed_row(bed);
        row.band = BAND_PARKED;
        row.reason = REASON_NO_HANDLER;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        (void)bed_add_broker(bed);
        (void)bed_job_in(bed, STATE_COMPLETED);
        CU_ASSERT(add_bound(bed, 3, false) == SUBMIT_FULL);
        CU_ASSERT(add_bound(bed, 4, false) == SUBMIT_CREATED);
        bed_free(bed);
}

static void what_is_there_is_not_refused(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.key = key_from_text(STR("order-7"));
        row.unique = bed_unique("a");
        CU_ASSERT(bed_add_bound(bed, &row, 1, false) == SUBMIT_CREATED);
        struct submit_row again = bed_row(bed);
        again.key = row.key;
        CU_ASSERT(bed_add_bound(bed, &again, 1, false) == SUBMIT_EXISTS);
        again = bed_row(bed);
        again.key = row.key;
        again.payload = STR("y");
        CU_ASSERT(bed_add_bound(bed, &again, 1, true) == SUBMIT_CONFLICT);
        again = bed_row(bed);
        again.unique = row.unique;
        CU_ASSERT(bed_add_bound(bed, &again, 1, false) == SUBMIT_HELD);
        CU_ASSERT(bed_add_bound(bed, &again, 1, true) == SUBMIT_HELD);
        CU_ASSERT(bed_state(bed, &row.id) == STATE_PENDING);
        struct submit_row dead = bed_row(bed);
        dead.state = STATE_DEAD;
        dead.reason = REASON_MALFORMED;
        CU_ASSERT(bed_add_bound(bed, &dead, 1, false) == SUBMIT_CREATED); /* it does not wait */
        bed_free(bed);
}

static void a_full_row_takes_no_unique_key(void)
{
        struct bed *bed = bed_new();
        (void)bed_add_one(bed);
        struct submit_row row = bed_row(bed);
        row.unique = bed_unique("a");
        CU_ASSERT(bed_add_bound(bed, &row, 1, false) == SUBMIT_FULL);
        CU_ASSERT(bed_add_bound(bed, &row, 2, false) == SUBMIT_CREATED);
        bed_free(bed);
}

static struct ledger_submit *bound_batch(struct submission *s, struct queue_bound *bound)
{
        struct ledger_submit *b = bed_submit(s);
        b->bounds = bound;
        b->n_bounds = 1;
        return b;
}

static void a_batch_fills_it_to_the_brim(void)
{
        struct queue_bound bound = {STR("q"), 5, false};
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 8), *all = bed_submission(bed, 3);
        struct submission *after = bed_submission(bed, 2);
        struct ledger_submit *b = bound_batch(s, &bound);
        bed_must(bed, &b->base);
        for (uint32_t i = 0; i < 8; i++) {
                CU_ASSERT(s->rows[i].result == (i < 5 ? SUBMIT_CREATED : SUBMIT_FULL));
        }
        ledger_batch_free(&b->base);
        bound.max = 7;
        all->atomic = true; /* two have room, the third has not: and so the next two have */
        all->next = after;
        b = bound_batch(all, &bound);
        bed_must(bed, &b->base);
        CU_ASSERT(all->rows[0].result == SUBMIT_UNDONE && all->rows[1].result == SUBMIT_UNDONE);
        CU_ASSERT(all->rows[2].result == SUBMIT_FULL);
        CU_ASSERT(after->rows[0].result == SUBMIT_CREATED);
        CU_ASSERT(after->rows[1].result == SUBMIT_CREATED);
        ledger_batch_free(&b->base);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 7);
        CU_ASSERT(add_bound(bed, 7, false) == SUBMIT_FULL);
        CU_ASSERT(add_bound(bed, 8, false) == SUBMIT_CREATED);
        submission_free(after);
        submission_free(all);
        submission_free(s);
        bed_free(bed);
}

/* The request may be made again, and is not answered with ids that were never there. */
static void a_full_request_is_not_remembered(void)
{
        struct queue_bound bound = {STR("q"), 1, false};
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 2);
        s->request_key = key_from_text(STR("request-1"));
        struct ledger_submit *b = bound_batch(s, &bound);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_UNDONE && s->rows[1].result == SUBMIT_FULL);
        CU_ASSERT(bed_state(bed, &s->rows[0].id) == STATE_NONE);
        ledger_batch_free(&b->base);
        bound.max = 2;
        b = bound_batch(s, &bound);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_CREATED && s->rows[1].result == SUBMIT_CREATED);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void is_dropped(struct bed *bed, const struct job_id *id)
{
        const struct job_row *j = bed_show(bed, id);
        CU_ASSERT(j->state == STATE_CANCELLED && j->reason == REASON_DROPPED);
        CU_ASSERT(j->finished_us != 0);
}

static void drops_the_oldest_pending(void)
{
        struct bed *bed = bed_new();
        struct job_id scheduled = bed_job_in(bed, STATE_SCHEDULED), ids[3];
        for (int i = 0; i < 3; i++) {
                struct submit_row row = bed_row(bed);
                row.priority = i == 0 ? PRIORITY_MAX : 1; /* urgent, and oldest all the same */
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                ids[i] = row.id;
        }
        CU_ASSERT(add_bound(bed, 4, true) == SUBMIT_CREATED);
        is_dropped(bed, &ids[0]);
        CU_ASSERT(bed_state(bed, &ids[1]) == STATE_PENDING);
        CU_ASSERT(add_bound(bed, 4, true) == SUBMIT_CREATED);
        is_dropped(bed, &ids[1]);
        CU_ASSERT(bed_state(bed, &scheduled) == STATE_SCHEDULED);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 3);
        CU_ASSERT(bed_count(bed, "q", STATE_CANCELLED) == 2);
        bed_free(bed);
}

static void drops_from_every_band(void)
{
        struct bed *bed = bed_new();
        struct submit_row parked = bed_row(bed);
        parked.band = BAND_PARKED;
        parked.reason = REASON_NO_HANDLER;
        CU_ASSERT(bed_add(bed, &parked) == SUBMIT_CREATED);
        struct job_id belled = bed_add_broker(bed), offered = bed_add_one(bed);
        CU_ASSERT(add_bound(bed, 3, true) == SUBMIT_CREATED);
        is_dropped(bed, &parked.id);
        CU_ASSERT(add_bound(bed, 3, true) == SUBMIT_CREATED);
        is_dropped(bed, &belled);
        struct arrival bell = bed_doorbell(&belled, true);
        CU_ASSERT(bed_arrive_one(bed, &bell) == ARRIVAL_KNOWN);
        CU_ASSERT(add_bound(bed, 3, true) == SUBMIT_CREATED);
        is_dropped(bed, &offered);
        bed_free(bed);
}

static void nothing_pending_nothing_dropped(void)
{
        struct bed *bed = bed_new();
        (void)bed_job_in(bed, STATE_SCHEDULED);
        CU_ASSERT(add_bound(bed, 1, true) == SUBMIT_FULL);
        CU_ASSERT(bed_count(bed, "q", STATE_SCHEDULED) == 1);
        struct submission *s = bed_submission(bed, 4); /* more than the bound: the last stay */
        struct queue_bound bound = {STR("q"), 3, true};
        struct ledger_submit *b = bound_batch(s, &bound);
        bed_must(bed, &b->base);
        for (uint32_t i = 0; i < 4; i++) {
                CU_ASSERT(s->rows[i].result == SUBMIT_CREATED);
        }
        is_dropped(bed, &s->rows[0].id);
        is_dropped(bed, &s->rows[1].id);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 2);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void arrive_above(struct bed *bed, struct arrival *items, uint32_t n, uint32_t above)
{
        struct ledger_arrive *b = bed_arrive(bed, items, n);
        b->drop_above = above;
        bed_must(bed, &b->base);
        for (uint32_t i = 0; i < n; i++) {
                CU_ASSERT(b->list->items[i].result == ARRIVAL_TAKEN);
        }
        bed_arrive_free(b);
}

static void letters_drop_the_oldest(void)
{
        struct bed *bed = bed_new();
        struct job_id first = bed_add_one(bed), second = bed_add_one(bed);
        struct arrival items[3];
        for (int i = 0; i < 3; i++) {
                items[i] = bed_letter(bed);
                items[i].start = i == 0;
                items[i].row.state = i == 0 ? STATE_RUNNING : STATE_PENDING;
        }
        arrive_above(bed, items, 3, 3); /* the first runs: it does not wait */
        is_dropped(bed, &first);
        CU_ASSERT(bed_state(bed, &second) == STATE_PENDING);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 3);
        CU_ASSERT(bed_count(bed, "q", STATE_RUNNING) == 1);
        items[1] = bed_letter(bed);
        items[1].start = false;
        items[1].row.state = STATE_PENDING;
        arrive_above(bed, &items[1], 1, 0); /* no bound */
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 4);
        bed_free(bed);
}

static void a_letter_is_never_refused(void)
{
        struct bed *bed = bed_new();
        (void)bed_job_in(bed, STATE_SCHEDULED);
        struct arrival a = bed_letter(bed);
        a.start = false;
        a.row.state = STATE_PENDING;
        arrive_above(bed, &a, 1, 1);
        CU_ASSERT(bed_state(bed, &a.row.id) == STATE_PENDING);
        bed_free(bed);
}

/* Two nodes submit at once: together they do not pass the bound. */
static void two_nodes_do_not_pass_it_together(void)
{
        enum { EACH = 60, MAX = 50 };
        struct queue_bound bound = {STR("q"), MAX, false};
        struct bed *bed = bed_new(), *beds[2] = {bed_join(bed, 102), bed_join(bed, 103)};
        struct submission *s[2][EACH];
        struct ledger_submit *b[2][EACH];
        for (int i = 0; i < EACH; i++) {
                for (int h = 0; h < 2; h++) {
                        s[h][i] = bed_submission(beds[h], 1);
                        b[h][i] = bound_batch(s[h][i], &bound);
                        bed_post(beds[h], &b[h][i]->base);
                }
        }
        uint32_t made = 0;
        for (int h = 0; h < 2; h++) {
                for (int i = 0; i < EACH; i++) {
                        bed_wait(beds[h], &b[h][i]->base);
                        enum submit_result r = s[h][i]->rows[0].result;
                        CU_ASSERT(b[h][i]->base.outcome == LEDGER_COMMITTED);
                        CU_ASSERT(r == SUBMIT_CREATED || r == SUBMIT_FULL);
                        made += r == SUBMIT_CREATED;
                        ledger_batch_free(&b[h][i]->base);
                        submission_free(s[h][i]);
                }
                bed_free(beds[h]);
        }
        CU_ASSERT(made == MAX && bed_count(bed, "q", STATE_PENDING) == MAX);
        bed_free(bed);
}

CASES(cases_limits, {"sets one part and leaves the others", sets_one_part_and_leaves_the_others, 0},
      {"every beat tells the controls", every_beat_tells_them, 0},
      {"other nodes are told the controls", other_nodes_are_told, NEED_SHARE},
      {"no more run than the limit", no_more_run_than_the_limit, 0},
      {"every end makes room", every_end_makes_room, 0},
      {"letters and other claims count", letters_and_other_claims_count, 0},
      {"the limit holds over all nodes", holds_over_all_nodes, NEED_SHARE},
      {"a dead holder leaks nothing", a_dead_holder_leaks_nothing, NEED_SHARE},
      {"the limit holds when all ask at once", holds_when_all_ask_at_once, NEED_SHARE},
      {"rows that cannot run take no room", rows_that_cannot_run_take_no_room, 0},
      {"an unknown claim counts", an_unknown_claim_counts, NEED_FAULT},
      {"is full at its bound", is_full_at_its_bound, 0},
      {"scheduled and parked rows count", scheduled_and_parked_rows_count, 0},
      {"what is there is not refused", what_is_there_is_not_refused, 0},
      {"a full row takes no unique key", a_full_row_takes_no_unique_key, 0},
      {"a batch fills it to the brim", a_batch_fills_it_to_the_brim, 0},
      {"a full request is not remembered", a_full_request_is_not_remembered, 0},
      {"drops the oldest pending", drops_the_oldest_pending, 0},
      {"drops from every band", drops_from_every_band, 0},
      {"nothing pending, nothing dropped", nothing_pending_nothing_dropped, 0},
      {"letters drop the oldest", letters_drop_the_oldest, 0},
      {"a letter is never refused", a_letter_is_never_refused, 0},
      {"two nodes do not pass the bound together", two_nodes_do_not_pass_it_together, NEED_SHARE});
