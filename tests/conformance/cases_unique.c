/*
 * Unique keys: who holds one, how long it blocks, and what becomes of who comes later.
 */
#include "tests/conformance/bed_life.h"

#define BIT(state) (1u << STATE_##state)

static struct submit_row unique_row(struct bed *bed, const char *key)
{
        struct submit_row row = bed_row(bed);
        row.unique = bed_unique(key);
        return row;
}

/* Asserts that the row loses to `holder` and is not there. */
static void held_by(struct bed *bed, struct submit_row row, const struct job_id *holder,
                    enum job_state state)
{
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_HELD);
        CU_ASSERT(job_id_eq(&row.existing, holder) && row.existing_state == state);
        CU_ASSERT(bed_state(bed, &row.id) == STATE_NONE);
}

static struct job_id created(struct bed *bed, struct submit_row row)
{
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        CU_ASSERT(bed_state(bed, &row.id) == row.state);
        return row.id;
}

/* --- how long --------------------------------------------------------------------------------- */

static void holds_until_it_ended(void)
{
        struct bed *bed = bed_new();
        struct job_id id = created(bed, unique_row(bed, "a"));
        held_by(bed, unique_row(bed, "a"), &id, STATE_PENDING);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT_FATAL(c->n == 1);
        held_by(bed, unique_row(bed, "a"), &id, STATE_RUNNING);
        bed_end(bed, c, STATE_RETRYING);
        held_by(bed, unique_row(bed, "a"), &id, STATE_RETRYING);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 0);
        fixture->advance(bed->store, HOUR);
        CU_ASSERT(bed_due(bed) == 1);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        struct job_id next = created(bed, unique_row(bed, "a"));
        held_by(bed, unique_row(bed, "a"), &next, STATE_PENDING);
        bed_free(bed);
}

static void frees_the_key_however_it_ended(void)
{
        static const enum job_state ends[] = {STATE_DEAD, STATE_CANCELLED};
        struct bed *bed = bed_new();
        for (int i = 0; i < 2; i++) {
                (void)created(bed, unique_row(bed, "a"));
                bed_end(bed, bed_claim(bed, 1), ends[i]);
        }
        struct job_id id = created(bed, unique_row(bed, "a"));
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_DONE);
        (void)created(bed, unique_row(bed, "a"));
        bed_free(bed);
}

static void other_keys_and_plain_rows_go_by(void)
{
        struct bed *bed = bed_new();
        struct job_id id = created(bed, unique_row(bed, "a"));
        (void)created(bed, unique_row(bed, "b"));
        (void)created(bed, bed_row(bed));
        struct submit_row other = unique_row(bed, "a");
        other.queue = STR("other"); /* the hash says it all: queue and type are part of it or not */
        held_by(bed, other, &id, STATE_PENDING);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 3);
        CU_ASSERT(bed_count(bed, "other", STATE_PENDING) == 0);
        bed_free(bed);
}

static void blocks_in_its_own_states_alone(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.unique.states = BIT(PENDING);
        struct job_id first = created(bed, row);
        held_by(bed, unique_row(bed, "a"), &first, STATE_PENDING);
        claim_free(bed_claim(bed, 1));
        struct job_id second = created(bed, unique_row(bed, "a")); /* the first runs: it is free */
        held_by(bed, unique_row(bed, "a"), &second, STATE_PENDING);
        bed_free(bed);
}

static void may_block_after_its_end(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.unique.states = UNIQUE_STATES_DEFAULT | BIT(COMPLETED);
        struct job_id id = created(bed, row);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        held_by(bed, unique_row(bed, "a"), &id, STATE_COMPLETED);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        (void)created(bed, unique_row(bed, "a"));
        bed_free(bed);
}

static void blocks_for_its_period(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.unique.for_us = MINUTE;
        struct job_id id = created(bed, row);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        fixture->advance(bed->store, MINUTE - 1);
        held_by(bed, unique_row(bed, "a"), &id, STATE_COMPLETED);
        fixture->advance(bed->store, 1);
        row.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        struct job_id next = created(bed, row);
        fixture->advance(bed->store, 2 * MINUTE); /* over, but it still waits */
        held_by(bed, unique_row(bed, "a"), &next, STATE_PENDING);
        bed_free(bed);
}

static void blocks_for_its_period_without_its_row(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.unique.for_us = MINUTE;
        struct job_id id = created(bed, row);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        CU_ASSERT(bed_state(bed, &id) == STATE_NONE);
        held_by(bed, unique_row(bed, "a"), &id, STATE_NONE);
        fixture->advance(bed->store, MINUTE);
        (void)created(bed, unique_row(bed, "a"));
        bed_free(bed);
}

/* What housekeeping takes out is what blocks nobody. */
static void housekeeping_frees_no_key(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "waits");
        row.unique.for_us = MINUTE;
        struct job_id waits = created(bed, row);
        row = unique_row(bed, "gone");
        row.unique.for_us = HOUR;
        row.priority = PRIORITY_MAX;
        struct job_id gone = created(bed, row);
        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
        row = unique_row(bed, "dead");
        row.unique.for_us = MINUTE;
        row.priority = PRIORITY_MAX;
        struct job_id dead = created(bed, row);
        bed_end(bed, bed_claim(bed, 1), STATE_DEAD);
        fixture->advance(bed->store, 2 * MINUTE); /* two of the periods are over */
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 0);
        held_by(bed, unique_row(bed, "waits"), &waits, STATE_PENDING);
        held_by(bed, unique_row(bed, "gone"), &gone, STATE_NONE);
        CU_ASSERT(bed_requeue(bed, &dead) == REQUEUE_DONE);
        held_by(bed, unique_row(bed, "dead"), &dead, STATE_PENDING);
        fixture->advance(bed->store, HOUR);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 0);
        (void)created(bed, unique_row(bed, "gone"));
        held_by(bed, unique_row(bed, "waits"), &waits, STATE_PENDING);
        bed_free(bed);
}

static void a_requeued_job_holds_its_key_again(void)
{
        struct bed *bed = bed_new();
        struct job_id id = created(bed, unique_row(bed, "a"));
        bed_end(bed, bed_claim(bed, 1), STATE_DEAD);
        CU_ASSERT(bed_requeue(bed, &id) == REQUEUE_DONE);
        held_by(bed, unique_row(bed, "a"), &id, STATE_PENDING);
        bed_end(bed, bed_claim(bed, 1), STATE_DEAD);
        struct job_id other = created(bed, unique_row(bed, "a"));
        CU_ASSERT(bed_requeue(bed, &id) == REQUEUE_DONE); /* another has it now: both may run */
        held_by(bed, unique_row(bed, "a"), &other, STATE_PENDING);
        bed_free(bed);
}

/* --- who asks --------------------------------------------------------------------------------- */

static void one_of_a_batch(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 5), *next = bed_submission(bed, 3);
        s->next = next;
        for (uint32_t i = 0; i < 8; i++) {
                struct submit_row *r = i < 5 ? &s->rows[i] : &next->rows[i - 5];
                r->unique = bed_unique(i == 3 ? "other" : "a");
        }
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        for (uint32_t i = 0; i < 8; i++) {
                struct submit_row *r = i < 5 ? &s->rows[i] : &next->rows[i - 5];
                bool is_new = i == 0 || i == 3;
                CU_ASSERT(r->result == (is_new ? SUBMIT_CREATED : SUBMIT_HELD));
                CU_ASSERT(is_new || job_id_eq(&r->existing, &s->rows[0].id));
        }
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 2);
        ledger_batch_free(&b->base);
        submission_free(next);
        submission_free(s);
        bed_free(bed);
}

static void the_same_row_again_is_not_held(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.key = key_from_text(STR("order-7"));
        struct job_id id = created(bed, row);
        struct submit_row again = row;
        CU_ASSERT(bed_add(bed, &again) == SUBMIT_EXISTS); /* its id */
        CU_ASSERT(job_id_eq(&again.existing, &id));
        again = unique_row(bed, "a");
        again.key = row.key;
        CU_ASSERT(bed_add(bed, &again) == SUBMIT_EXISTS); /* its key */
        CU_ASSERT(job_id_eq(&again.existing, &id));
        again = unique_row(bed, "b"); /* the unique key is free, the other is not */
        again.key = row.key;
        again.payload = STR("y");
        CU_ASSERT(bed_add(bed, &again) == SUBMIT_CONFLICT);
        (void)created(bed, unique_row(bed, "b")); /* nothing took it */
        bed_free(bed);
}

static void dead_rows_neither_hold_nor_meet_it(void)
{
        struct bed *bed = bed_new();
        struct submit_row dead = unique_row(bed, "a");
        dead.state = STATE_DEAD;
        dead.reason = REASON_MALFORMED;
        (void)created(bed, dead);
        struct job_id id = created(bed, unique_row(bed, "a"));
        dead.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        (void)created(bed, dead);
        held_by(bed, unique_row(bed, "a"), &id, STATE_PENDING);
        bed_free(bed);
}

static void a_refused_row_holds_nothing(void)
{
        static char long_type[300];
        memset(long_type, 't', sizeof long_type);
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.type = (struct str){long_type, sizeof long_type};
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_UNSTORABLE);
        (void)created(bed, unique_row(bed, "a"));
        bed_free(bed);
}

/* --- atomic ----------------------------------------------------------------------------------- */

static void held_rows_leave_an_atomic_submission(void)
{
        struct bed *bed = bed_new();
        struct job_id id = created(bed, unique_row(bed, "a"));
        struct submission *s = bed_submission(bed, 3);
        s->atomic = true;
        s->rows[1].unique = bed_unique("a");
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_CREATED && s->rows[2].result == SUBMIT_CREATED);
        CU_ASSERT(s->rows[1].result == SUBMIT_HELD && job_id_eq(&s->rows[1].existing, &id));
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 3);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

/* What is undone gives back what it took and what it replaced. */
static void an_undone_submission_leaves_keys_alone(void)
{
        struct bed *bed = bed_new();
        struct submit_row keyed = bed_row(bed);
        keyed.key = key_from_text(STR("order-7"));
        (void)created(bed, keyed);
        struct job_id holder = created(bed, unique_row(bed, "b"));
        struct submission *s = bed_submission(bed, 3);
        s->atomic = true;
        s->rows[0].unique = bed_unique("a");
        s->rows[1].unique = bed_unique("b");
        s->rows[1].unique.replace = true;
        s->rows[1].payload = STR("new");
        s->rows[2].key = keyed.key;
        s->rows[2].payload = STR("other");
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_UNDONE && s->rows[1].result == SUBMIT_UNDONE);
        CU_ASSERT(s->rows[2].result == SUBMIT_CONFLICT);
        CU_ASSERT(str_eq(bed_show(bed, &holder)->payload, STR("x")));
        struct job_id id = created(bed, unique_row(bed, "a"));
        held_by(bed, unique_row(bed, "a"), &id, STATE_PENDING);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 3);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void a_request_remembers_the_holder(void)
{
        struct bed *bed = bed_new();
        struct job_id id = created(bed, unique_row(bed, "a"));
        struct submission *s = bed_submission(bed, 1);
        s->rows[0].unique = bed_unique("a");
        s->request_key = key_from_text(STR("request-1"));
        memset(s->request_hash, 7, sizeof s->request_hash);
        static const enum submit_result results[] = {SUBMIT_HELD, SUBMIT_EXISTS};
        for (int i = 0; i < 2; i++) {
                struct ledger_submit *b = bed_submit(s);
                bed_must(bed, &b->base);
                CU_ASSERT(s->rows[0].result == results[i]);
                CU_ASSERT(job_id_eq(&s->rows[0].existing, &id));
                ledger_batch_free(&b->base);
                if (i == 0) {
                        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
                }
        }
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 0);
        submission_free(s);
        bed_free(bed);
}

/* --- replace ---------------------------------------------------------------------------------- */

static struct submit_row replacing(struct bed *bed, const char *key, struct str payload)
{
        struct submit_row row = unique_row(bed, key);
        row.unique.replace = true;
        row.payload = payload;
        row.content_type = STR("text/new");
        row.headers = (struct str){"new\0yes", 8};
        return row;
}

static const struct job_row *replaced(struct bed *bed, struct submit_row row,
                                      const struct job_id *holder)
{
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_REPLACED);
        CU_ASSERT(job_id_eq(&row.existing, holder));
        CU_ASSERT(bed_state(bed, &row.id) == STATE_NONE);
        const struct job_row *j = bed_show(bed, holder);
        CU_ASSERT(str_eq(j->payload, row.payload) && str_eq(j->content_type, row.content_type));
        CU_ASSERT(str_eq(j->headers, row.headers));
        CU_ASSERT(row.existing_state == j->state);
        return j;
}

/* Small and large payloads may be kept apart: from each to each. */
static void replaces_the_payload_of_one_that_waits(void)
{
        static char large[3000];
        memset(large, 'l', sizeof large);
        struct str big = {large, sizeof large}, bigger = {large, sizeof large - 7};
        const struct str payloads[] = {STR("small"), big, bigger, STR("s"), {"", 0}, big};
        struct bed *bed = bed_new();
        struct job_id id = created(bed, unique_row(bed, "a"));
        for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
                const struct job_row *j = replaced(bed, replacing(bed, "a", payloads[i]), &id);
                CU_ASSERT(j->state == STATE_PENDING && j->attempt == 0 && j->generation == 0);
        }
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT_FATAL(c->n == 1);
        CU_ASSERT(job_id_eq(&c->jobs[0].id, &id) && str_eq(c->jobs[0].payload, big));
        CU_ASSERT(str_eq(c->jobs[0].content_type, STR("text/new")));
        bed_end(bed, c, STATE_RETRYING);
        (void)replaced(bed, replacing(bed, "a", payloads[4]), &id); /* nothing at all */
        c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 1 && c->jobs[0].payload.n == 0);
        claim_free(c);
        bed_free(bed);
}

static void replaces_the_time_of_one_that_waits(void)
{
        struct bed *bed = bed_new();
        int64_t now = fixture->now_us(bed->store);
        struct submit_row row = unique_row(bed, "a");
        row.state = STATE_SCHEDULED;
        row.after_us = HOUR;
        struct job_id id = created(bed, row);
        row = replacing(bed, "a", STR("later"));
        row.state = STATE_SCHEDULED;
        row.after_us = 2 * HOUR;
        const struct job_row *j = replaced(bed, row, &id);
        CU_ASSERT(j->state == STATE_SCHEDULED && j->due_us == now + 2 * HOUR);
        j = replaced(bed, replacing(bed, "a", STR("now")), &id); /* at once */
        CU_ASSERT(j->state == STATE_PENDING && j->band == BAND_OFFERED && j->due_us == 0);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 1);
        row = replacing(bed, "a", STR("again later"));
        row.state = STATE_SCHEDULED;
        row.at_us = now + 3 * HOUR;
        j = replaced(bed, row, &id);
        CU_ASSERT(j->state == STATE_SCHEDULED && j->reason == REASON_REPLACED);
        CU_ASSERT(j->due_us == now + 3 * HOUR);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 0);
        CU_ASSERT(bed_count(bed, "q", STATE_SCHEDULED) == 1);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 0);
        claim_free(c);
        bed_free(bed);
}

static void replaces_one_that_retries(void)
{
        struct bed *bed = bed_new();
        int64_t now = fixture->now_us(bed->store);
        struct job_id id = created(bed, unique_row(bed, "a"));
        bed_end(bed, bed_claim(bed, 1), STATE_RETRYING);
        struct submit_row row = replacing(bed, "a", STR("later"));
        row.state = STATE_SCHEDULED;
        row.after_us = 2 * HOUR;
        const struct job_row *j = replaced(bed, row, &id);
        CU_ASSERT(j->state == STATE_RETRYING && j->due_us == now + 2 * HOUR && j->attempt == 1);
        j = replaced(bed, replacing(bed, "a", STR("now")), &id);
        CU_ASSERT(j->state == STATE_PENDING && j->attempt == 1 && j->due_us == 0);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 1 && c->jobs[0].attempt == 2);
        CU_ASSERT(str_eq(c->jobs[0].payload, STR("now")));
        claim_free(c);
        bed_free(bed);
}

/* Whoever submitted it may repeat that after an answer that was lost. */
static void its_own_key_stands_for_what_it_came_with(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.key = key_from_text(STR("order-7"));
        row.payload = STR("first");
        struct job_id id = created(bed, row);
        (void)replaced(bed, replacing(bed, "a", STR("second")), &id);
        (void)replaced(bed, replacing(bed, "a", STR("third")), &id);
        for (int pruned = 0; pruned < 2; pruned++) {
                struct submit_row again = bed_row(bed);
                again.key = row.key;
                again.payload = row.payload;
                CU_ASSERT(bed_add(bed, &again) == SUBMIT_EXISTS && job_id_eq(&again.existing, &id));
                again = bed_row(bed);
                again.key = row.key;
                again.payload = STR("third");
                CU_ASSERT(bed_add(bed, &again) == SUBMIT_CONFLICT);
                if (!pruned) {
                        bed_end(bed, bed_claim(bed, 1), STATE_COMPLETED);
                        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
                }
        }
        bed_free(bed);
}

/* Its doorbell may be on its way: it is dropped when it comes. */
static void moves_one_out_of_the_broker(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.band = BAND_BROKER;
        struct job_id id = created(bed, row);
        row = replacing(bed, "a", STR("later"));
        row.state = STATE_SCHEDULED;
        row.after_us = HOUR;
        CU_ASSERT(replaced(bed, row, &id)->state == STATE_SCHEDULED);
        struct arrival bell = bed_doorbell(&id, true);
        CU_ASSERT(bed_arrive_one(bed, &bell) == ARRIVAL_KNOWN);
        fixture->advance(bed->store, HOUR);
        CU_ASSERT(bed_due(bed) == 1);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(c->n == 1 && str_eq(c->jobs[0].payload, STR("later")));
        claim_free(c);
        bed_free(bed);
}

static void replaces_none_that_runs_or_has_ended(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = unique_row(bed, "a");
        row.unique.states = UNIQUE_STATES_DEFAULT | BIT(COMPLETED);
        struct job_id id = created(bed, row);
        struct claim *c = bed_claim(bed, 1);
        held_by(bed, replacing(bed, "a", STR("new")), &id, STATE_RUNNING);
        bed_end(bed, c, STATE_COMPLETED);
        held_by(bed, replacing(bed, "a", STR("new")), &id, STATE_COMPLETED);
        CU_ASSERT(str_eq(bed_show(bed, &id)->payload, STR("x")));
        bed_free(bed);
}

static void a_replaced_job_keeps_its_place(void)
{
        struct bed *bed = bed_new();
        struct job_id id = created(bed, unique_row(bed, "a"));
        (void)bed_add_one(bed);
        (void)replaced(bed, replacing(bed, "a", STR("new")), &id);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(c->n == 1 && job_id_eq(&c->jobs[0].id, &id));
        claim_free(c);
        struct submit_row row = unique_row(bed, "b");
        row.band = BAND_BROKER;
        struct job_id other = created(bed, row);
        const struct job_row *j = replaced(bed, replacing(bed, "b", STR("new")), &other);
        CU_ASSERT(j->state == STATE_PENDING && j->band == BAND_BROKER);
        struct arrival bell = bed_doorbell(&other, true);
        CU_ASSERT(bed_arrive_one(bed, &bell) == ARRIVAL_TAKEN);
        bed_free(bed);
}

CASES(cases_unique, {"holds until it ended", holds_until_it_ended, 0},
      {"frees the key however it ended", frees_the_key_however_it_ended, 0},
      {"other keys and plain rows go by", other_keys_and_plain_rows_go_by, 0},
      {"blocks in its own states alone", blocks_in_its_own_states_alone, 0},
      {"may block after its end", may_block_after_its_end, 0},
      {"blocks for its period", blocks_for_its_period, 0},
      {"blocks for its period without its row", blocks_for_its_period_without_its_row, 0},
      {"housekeeping frees no key", housekeeping_frees_no_key, 0},
      {"a requeued job holds its key again", a_requeued_job_holds_its_key_again, 0},
      {"one of a batch", one_of_a_batch, 0},
      {"the same row again is not held", the_same_row_again_is_not_held, 0},
      {"dead rows neither hold nor meet it", dead_rows_neither_hold_nor_meet_it, 0},
      {"a refused row holds nothing", a_refused_row_holds_nothing, 0},
      {"held rows leave an atomic submission", held_rows_leave_an_atomic_submission, 0},
      {"an undone submission leaves keys alone", an_undone_submission_leaves_keys_alone, 0},
      {"a request remembers the holder", a_request_remembers_the_holder, 0},
      {"replaces the payload of one that waits", replaces_the_payload_of_one_that_waits, 0},
      {"replaces the time of one that waits", replaces_the_time_of_one_that_waits, 0},
      {"replaces one that retries", replaces_one_that_retries, 0},
      {"its own key stands for what it came with", its_own_key_stands_for_what_it_came_with, 0},
      {"moves one out of the broker", moves_one_out_of_the_broker, 0},
      {"replaces none that runs or has ended", replaces_none_that_runs_or_has_ended, 0},
      {"a replaced job keeps its place", a_replaced_job_keeps_its_place, 0});
