/*
 * PRUNE: which rows go, in which pages, and what is remembered of them.
 */
#include "tests/conformance/bed_life.h"

static const struct prune_rule all_completed = {.state = STATE_COMPLETED};

static struct job_id completed_in(struct bed *bed, const char *queue)
{
        struct submit_row row = bed_row(bed);
        row.queue = str_of(queue);
        row.priority = PRIORITY_MAX;
        CU_ASSERT_FATAL(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim_of(bed, queue, 1), STATE_COMPLETED);
        return row.id;
}

static bool there(struct bed *bed, const struct job_id *id)
{
        return bed_state(bed, id) != STATE_NONE;
}

/* --- rules ------------------------------------------------------------------------------------ */

static void takes_what_is_old_enough(void)
{
        struct bed *bed = bed_new();
        struct prune_rule rule = {.state = STATE_COMPLETED, .keep_us = HOUR};
        struct job_id old = completed_in(bed, "q");
        fixture->advance(bed->store, HOUR / 2);
        struct job_id young = completed_in(bed, "q");
        fixture->advance(bed->store, HOUR / 2 - 1);
        const struct ledger_prune *b = bed_prune(bed, &rule, 1, NULL, 100);
        CU_ASSERT(b->done && b->pruned == 0 && b->end);
        fixture->advance(bed->store, 2);
        b = bed_prune(bed, &rule, 1, NULL, 100);
        CU_ASSERT(b->done && b->pruned == 1 && b->end);
        CU_ASSERT(!there(bed, &old) && there(bed, &young));
        CU_ASSERT(bed_count(bed, "q", STATE_COMPLETED) == 1);
        bed_fold(bed);
        CU_ASSERT(bed_count(bed, "q", STATE_COMPLETED) == 1);
        bed_free(bed);
}

static void takes_only_the_states_of_its_rules(void)
{
        struct bed *bed = bed_new();
        struct job_id ids[JOB_STATE_COUNT];
        for (int state = JOB_STATE_COUNT - 1; state >= 0; state--) {
                ids[state] = bed_job_in(bed, (enum job_state)state);
        }
        struct prune_rule rules[] = {
            {.state = STATE_COMPLETED}, {.state = STATE_DEAD}, {.state = STATE_CANCELLED}};
        fixture->advance(bed->store, SECOND);
        CU_ASSERT(bed_prune(bed, rules, 0, NULL, 100)->pruned == 0); /* no rules: all stay */
        CU_ASSERT(bed_prune(bed, rules, 0, NULL, 100)->end);
        CU_ASSERT(bed_prune(bed, rules, 1, NULL, 100)->pruned == 1);
        CU_ASSERT(!there(bed, &ids[STATE_COMPLETED]) && there(bed, &ids[STATE_DEAD]));
        CU_ASSERT(bed_prune(bed, rules, 3, NULL, 100)->pruned == 2);
        for (int state = 0; state < JOB_STATE_COUNT; state++) {
                CU_ASSERT(there(bed, &ids[state]) == !state_terminal((enum job_state)state));
                uint64_t n = bed_count(bed, "q", (enum job_state)state);
                CU_ASSERT(n == !state_terminal((enum job_state)state));
        }
        bed_free(bed);
}

static void the_first_rule_that_fits_decides(void)
{
        struct bed *bed = bed_new();
        struct prune_rule rules[] = {
            {.queue = STR("kept"), .state = STATE_COMPLETED, .keep_us = -1},
            {.queue = STR("q"), .state = STATE_COMPLETED, .keep_us = HOUR},
            {.state = STATE_COMPLETED},
            {.queue = STR("q"), .state = STATE_COMPLETED}, /* too late */
        };
        struct job_id kept = completed_in(bed, "kept"), mine = completed_in(bed, "q");
        struct job_id other = completed_in(bed, "other");
        fixture->advance(bed->store, SECOND);
        CU_ASSERT(bed_prune(bed, rules, 4, NULL, 100)->pruned == 1);
        CU_ASSERT(there(bed, &kept) && there(bed, &mine) && !there(bed, &other));
        fixture->advance(bed->store, HOUR);
        CU_ASSERT(bed_prune(bed, rules, 4, NULL, 100)->pruned == 1);
        CU_ASSERT(there(bed, &kept) && !there(bed, &mine));
        CU_ASSERT(bed_prune(bed, rules, 1, NULL, 100)->end); /* nothing may ever go */
        bed_free(bed);
}

/* --- the walk --------------------------------------------------------------------------------- */

static void walks_in_pages(void)
{
        enum { JOBS = 25 };
        struct prune_rule rule = all_completed;
        struct bed *bed = bed_new();
        struct job_id ids[JOBS], after;
        for (int i = 0; i < JOBS; i++) {
                ids[i] = i % 5 ? completed_in(bed, "q") : bed_job_in(bed, STATE_SCHEDULED);
        }
        fixture->advance(bed->store, SECOND);
        const struct ledger_prune *b = bed_prune(bed, &rule, 1, NULL, 10);
        CU_ASSERT(b->done && !b->end && b->pruned == 8 && job_id_eq(&b->last, &ids[9]));
        CU_ASSERT(!there(bed, &ids[9]) && there(bed, &ids[11]));
        uint32_t pages = 1, pruned = b->pruned;
        while (!b->end && pages < 10) {
                after = b->last;
                b = bed_prune(bed, &rule, 1, &after, 10);
                CU_ASSERT_FATAL(b->done);
                pruned += b->pruned;
                pages++;
        }
        CU_ASSERT(pruned == 20 && b->end && pages <= 4);
        for (int i = 0; i < JOBS; i++) {
                CU_ASSERT(there(bed, &ids[i]) == (i % 5 == 0));
        }
        bed_free(bed);
}

static void ends_at_rows_that_are_too_young(void)
{
        struct prune_rule rules[] = {{.state = STATE_COMPLETED, .keep_us = 2 * HOUR},
                                     {.state = STATE_DEAD, .keep_us = HOUR}};
        struct bed *bed = bed_new();
        struct job_id old = completed_in(bed, "q");
        fixture->advance(bed->store, 2 * HOUR);
        for (int i = 0; i < 20; i++) {
                (void)completed_in(bed, "q");
        }
        fixture->advance(bed->store, HOUR / 2);
        const struct ledger_prune *b = bed_prune(bed, rules, 2, NULL, 10);
        CU_ASSERT(b->pruned == 1 && b->end); /* the second page is not looked at */
        CU_ASSERT(!there(bed, &old));
        bed_free(bed);
}

static void the_walk_is_one_holders(void)
{
        struct prune_rule rule = all_completed;
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        for (int i = 0; i < 6; i++) {
                (void)completed_in(bed, "q");
        }
        fixture->advance(bed->store, SECOND);
        const struct ledger_prune *b = bed_prune(bed, &rule, 1, NULL, 2), *o;
        struct job_id after = b->last;
        CU_ASSERT(b->done && b->pruned == 2 && !b->end);
        o = bed_prune(other, &rule, 1, NULL, 2);
        CU_ASSERT(!o->done && o->pruned == 0 && !o->end);
        o = bed_prune(other, &rule, 1, &after, 2);
        CU_ASSERT(!o->done && o->pruned == 0 && job_id_eq(&o->last, &after));
        CU_ASSERT(bed_count(bed, "q", STATE_COMPLETED) == 4);
        fixture->advance(bed->store, PRUNE_HOLD_US - 1);
        b = bed_prune(bed, &rule, 1, &after, 2); /* keeps it */
        CU_ASSERT(b->done && b->pruned == 2);
        fixture->advance(bed->store, PRUNE_HOLD_US - 1);
        CU_ASSERT(!bed_prune(other, &rule, 1, NULL, 2)->done);
        fixture->advance(bed->store, 1); /* it was left */
        o = bed_prune(other, &rule, 1, NULL, 1);
        CU_ASSERT(o->done && o->pruned == 1 && !o->end);
        CU_ASSERT(!bed_prune(bed, &rule, 1, NULL, 10)->done);
        after = o->last;
        o = bed_prune(other, &rule, 1, &after, 10);
        CU_ASSERT(o->done && o->pruned == 1 && o->end);
        CU_ASSERT(bed_prune(bed, &rule, 1, NULL, 10)->done); /* the end gave it back */
        bed_free(other);
        bed_free(bed);
}

/* --- what is left ----------------------------------------------------------------------------- */

static void takes_all_that_belongs_to_the_row(void)
{
        static char large[3000];
        memset(large, 'l', sizeof large);
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.payload = (struct str){large, sizeof large};
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct claim *c = bed_claim(bed, 1);
        struct save_row s = bed_save_row(&c->jobs[0]);
        s.has_checkpoint = s.has_progress = true;
        s.checkpoint = STR("here");
        CU_ASSERT(bed_save(bed, &s, 1) == 0);
        bed_end(bed, c, STATE_DEAD);
        (void)bed_fail(bed, "noop", 7, "no");
        CU_ASSERT(bed_prune_all(bed, STATE_DEAD) == 2);
        CU_ASSERT(bed_groups(bed, (struct job_filter){0}, 10)->n == 0);
        CU_ASSERT(bed_count(bed, "q", STATE_DEAD) == 0);
        struct submit_row next = bed_row(bed); /* nothing of the old ones is the new one's */
        CU_ASSERT(bed_add(bed, &next) == SUBMIT_CREATED);
        const struct job_row *j = bed_show(bed, &next.id);
        CU_ASSERT(!j->has_progress && j->checkpoint_size == 0 && j->n_attempts == 0);
        CU_ASSERT(j->last.error == ERROR_NONE && str_eq(j->payload, STR("x")));
        bed_free(bed);
}

static struct job_id prune_keyed(struct bed *bed, const char *key, struct str payload)
{
        struct submit_row row = bed_row(bed);
        row.key = key_from_text(str_of(key));
        row.payload = payload;
        CU_ASSERT_FATAL(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        CU_ASSERT(!there(bed, &row.id));
        return row.id;
}

static struct submit_row keyed(struct bed *bed, const char *key, struct str payload)
{
        struct submit_row row = bed_row(bed);
        row.key = key_from_text(str_of(key));
        row.payload = payload;
        return row;
}

static void remembers_the_key_for_submissions(void)
{
        static char large[3000];
        memset(large, 'l', sizeof large);
        const struct str payloads[] = {STR("x"), {large, sizeof large}, {"", 0}};
        for (int i = 0; i < 3; i++) {
                struct bed *bed = bed_new();
                struct job_id id = prune_keyed(bed, "order-7", payloads[i]);
                struct submit_row row = keyed(bed, "order-7", payloads[i]);
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_EXISTS);
                CU_ASSERT(job_id_eq(&row.existing, &id) && row.existing_state == STATE_NONE);
                row = keyed(bed, "order-7", STR("other"));
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CONFLICT);
                CU_ASSERT(job_id_eq(&row.existing, &id) && !there(bed, &row.id));
                row.queue = STR("r"); /* keys are each queue's own */
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                row = keyed(bed, "order-8", STR("other"));
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                (void)bed_add_one(bed);
                bed_free(bed);
        }
}

/* What coincides with the prune: whichever comes first, the key is known. */
static void remembers_the_key_at_once(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = keyed(bed, "order-7", STR("x"));
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        fixture->advance(bed->store, SECOND);
        struct submission *s[] = {bed_submission(bed, 2000), bed_submission(bed, 1),
                                  bed_submission(bed, 1)};
        s[2]->rows[0].key = row.key;
        struct ledger_submit *b[3];
        struct ledger_prune *p = NEW(prune, PRUNE);
        p->rules = &all_completed;
        p->n_rules = 1;
        p->limit = 10;
        for (int i = 0; i < 3; i++) {
                b[i] = bed_submit(s[i]);
                if (i == 2) {
                        bed_post(bed, &p->base);
                }
                bed_post(bed, &b[i]->base);
        }
        bed_wait(bed, &p->base);
        CU_ASSERT(p->base.outcome == LEDGER_COMMITTED && p->pruned == 1);
        for (int i = 0; i < 3; i++) {
                bed_wait(bed, &b[i]->base);
                CU_ASSERT(b[i]->base.outcome == LEDGER_COMMITTED);
        }
        CU_ASSERT(s[2]->rows[0].result == SUBMIT_EXISTS);
        CU_ASSERT(job_id_eq(&s[2]->rows[0].existing, &row.id));
        for (int i = 0; i < 3; i++) {
                ledger_batch_free(&b[i]->base);
                submission_free(s[i]);
        }
        ledger_batch_free(&p->base);
        bed_free(bed);
}

static void remembers_the_key_for_letters(void)
{
        struct bed *bed = bed_new();
        struct job_id id = prune_keyed(bed, "letter-1", STR("x"));
        struct arrival a = bed_letter(bed);
        a.row.key = key_from_text(STR("letter-1"));
        a.redelivered = true;
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_KNOWN);
        CU_ASSERT(job_id_eq(&a.row.existing, &id) && !there(bed, &a.row.id));
        a = bed_letter(bed);
        a.row.key = key_from_text(STR("letter-1"));
        a.row.payload = STR("other");
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_CONFLICT);
        const struct job_row *j = bed_show(bed, &a.row.id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_ID_CONFLICT);
        CU_ASSERT(bed_count(bed, "q", STATE_RUNNING) == 0);
        a = bed_letter(bed);
        a.row.key = key_from_text(STR("letter-2"));
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        bed_free(bed);
}

static void a_bound_and_an_atomic_submission_see_it(void)
{
        struct bed *bed = bed_new();
        (void)prune_keyed(bed, "order-7", STR("x"));
        (void)bed_add_one(bed);
        struct submit_row row = keyed(bed, "order-7", STR("x"));
        CU_ASSERT(bed_add_bound(bed, &row, 1, false) == SUBMIT_EXISTS);
        struct submission *s = bed_submission(bed, 2);
        s->atomic = true;
        s->rows[1].key = row.key;
        s->rows[1].payload = STR("other");
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_UNDONE && s->rows[1].result == SUBMIT_CONFLICT);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void forgets_the_key_a_week_after_the_row_came(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = keyed(bed, "order-7", STR("x"));
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        fixture->advance(bed->store, KEY_LIFE_US - HOUR);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        fixture->advance(bed->store, HOUR - 2000);
        row = keyed(bed, "order-7", STR("x"));
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_EXISTS);
        fixture->advance(bed->store, 1000);
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        row = keyed(bed, "order-7", STR("y"));
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CONFLICT); /* with the new row */
        bed_free(bed);
}

static void an_old_row_leaves_no_key(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = keyed(bed, "order-7", STR("x"));
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        fixture->advance(bed->store, KEY_LIFE_US);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        row = keyed(bed, "order-7", STR("y"));
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_free(bed);
}

/* A request names its jobs though their rows are gone. */
static void a_request_outlives_its_jobs(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 1);
        s->request_key = key_from_text(STR("request-1"));
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        struct job_id first = s->rows[0].id;
        s->rows[0].id = id_mint(&bed->mint, fixture->now_us(bed->store));
        b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_EXISTS);
        CU_ASSERT(job_id_eq(&s->rows[0].existing, &first));
        CU_ASSERT(s->rows[0].existing_state == STATE_NONE);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void an_unstorable_row_leaves_its_key(void)
{
        static char long_type[300];
        memset(long_type, 't', sizeof long_type);
        struct bed *bed = bed_new();
        struct submit_row row = keyed(bed, "order-7", STR("x"));
        row.type = (struct str){long_type, sizeof long_type};
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_UNSTORABLE);
        CU_ASSERT(bed_prune_all(bed, STATE_DEAD) == 1);
        struct submit_row again = keyed(bed, "order-7", STR("y")); /* nothing to compare with */
        CU_ASSERT(bed_add(bed, &again) == SUBMIT_EXISTS && job_id_eq(&again.existing, &row.id));
        bed_free(bed);
}

static void an_unknown_page_is_walked_again(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct prune_rule rule = all_completed;
                struct bed *bed = bed_new();
                (void)completed_in(bed, "q");
                (void)completed_in(bed, "q");
                fixture->advance(bed->store, SECOND);
                struct ledger_prune *b = NEW(prune, PRUNE);
                b->rules = &rule;
                b->n_rules = 1;
                b->limit = 1;
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                ledger_batch_free(&b->base);
                CU_ASSERT(bed_prune(bed, &rule, 1, NULL, 10)->pruned == (i ? 1 : 2));
                CU_ASSERT(bed_count(bed, "q", STATE_COMPLETED) == 0);
                bed_free(bed);
        }
}

/* Numbers, ids and outbox rows go on after the newest row is gone. */
static void goes_on_after_the_last_row_went(void)
{
        struct bed *bed = bed_new();
        (void)bed_job_in(bed, STATE_COMPLETED);
        struct job_id id = bed_add_broker(bed);
        struct arrival bell = bed_doorbell(&id, true);
        CU_ASSERT(bed_arrive_one(bed, &bell) == ARRIVAL_TAKEN);
        struct claim *c = bed_recall(
            bed, (struct commit_no){bed->holder, LANE_CLAIMS, bed->n[LANE_CLAIMS]}, bed->token);
        CU_ASSERT_FATAL(c->n == 1);
        int64_t ref = c->jobs[0].ref;
        bed_end(bed, c, STATE_COMPLETED);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 2);
        (void)bed_add_one(bed);
        c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        CU_ASSERT(c->jobs[0].ref != ref);
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

CASES(cases_prune, {"takes what is old enough", takes_what_is_old_enough, 0},
      {"takes only the states of its rules", takes_only_the_states_of_its_rules, 0},
      {"the first rule that fits decides", the_first_rule_that_fits_decides, 0},
      {"walks in pages", walks_in_pages, 0},
      {"ends at rows that are too young", ends_at_rows_that_are_too_young, 0},
      {"the walk is one holder's", the_walk_is_one_holders, NEED_SHARE},
      {"takes all that belongs to the row", takes_all_that_belongs_to_the_row, 0},
      {"remembers the key for submissions", remembers_the_key_for_submissions, 0},
      {"remembers the key at once", remembers_the_key_at_once, 0},
      {"remembers the key for letters", remembers_the_key_for_letters, 0},
      {"a bound and an atomic submission see it", a_bound_and_an_atomic_submission_see_it, 0},
      {"forgets the key a week after the row came", forgets_the_key_a_week_after_the_row_came, 0},
      {"an old row leaves no key", an_old_row_leaves_no_key, 0},
      {"a request outlives its jobs", a_request_outlives_its_jobs, 0},
      {"an unstorable row leaves its key", an_unstorable_row_leaves_its_key, 0},
      {"an unknown page is walked again", an_unknown_page_is_walked_again, NEED_FAULT},
      {"goes on after the last row went", goes_on_after_the_last_row_went, 0});
