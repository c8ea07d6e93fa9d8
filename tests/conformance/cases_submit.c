/*
 * SUBMIT: what goes in, what is there already, what the store refuses, and what comes as one
 * request.
 */
#include "tests/conformance/bed.h"

#include <stdio.h>

#define POISON_TYPE 300 /* bytes: no store takes a type above TYPE_MAX */

static struct str long_type(void)
{
        static char type[POISON_TYPE];
        memset(type, 'x', sizeof type);
        return (struct str){type, sizeof type};
}

static struct job_key key_of(const char *text)
{
        return key_from_text(str_of(text));
}

static void keeps_every_field(void)
{
        struct bed *bed = bed_new();
        static const char payload[] = "a\0b\xff";
        struct submit_row row = bed_row(bed);
        row.key = key_of("order-1");
        row.key_text = STR("order-1");
        row.priority = 7;
        row.max_attempts = 9;
        row.timeout_ms = 1234;
        row.deadline_us = fixture->now_us(bed->store) + 60 * SECOND;
        row.content_type = STR("text/plain");
        row.headers = (struct str){"a\0b\0", 4};
        row.payload = (struct str){payload, 4};
        row.tags = STR(",red,blue,");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        const struct job_row *j = bed_show(bed, &row.id);
        CU_ASSERT(j->state == STATE_PENDING && j->band == BAND_OFFERED);
        CU_ASSERT(str_eq(j->queue, row.queue) && str_eq(j->type, row.type));
        CU_ASSERT(str_eq(j->key_text, row.key_text) && str_eq(j->tags, row.tags));
        CU_ASSERT(str_eq(j->content_type, row.content_type) && str_eq(j->headers, row.headers));
        CU_ASSERT(str_eq(j->payload, row.payload));
        CU_ASSERT(j->priority == 7 && j->max_attempts == 9 && j->timeout_ms == 1234);
        CU_ASSERT(j->deadline_us == row.deadline_us && j->attempt == 0 && j->claim == 0);
        CU_ASSERT(j->created_us == fixture->now_us(bed->store) && j->finished_us == 0);
        bed_free(bed);
}

static void keeps_payloads_of_any_size(void)
{
        static const uint32_t sizes[] = {0, 1, 255, 1023, 1024, 1025, 4096, 70000, 1 << 20};
        struct bed *bed = bed_new();
        char *bytes = malloc(1 << 20);
        for (uint32_t i = 0; i < 1 << 20; i++) {
                bytes[i] = (char)(i * 31 + 7);
        }
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
                struct submit_row row = bed_row(bed);
                row.payload = (struct str){bytes, sizes[i]};
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                CU_ASSERT(str_eq(bed_show(bed, &row.id)->payload, row.payload));
                struct claim *c = bed_claim(bed, 1);
                CU_ASSERT_FATAL(c->n == 1);
                CU_ASSERT(str_eq(c->jobs[0].payload, row.payload));
                claim_free(c);
        }
        free(bytes);
        bed_free(bed);
}

static void begins_in_each_first_state(void)
{
        struct bed *bed = bed_new();
        int64_t now = fixture->now_us(bed->store);
        struct submit_row later = bed_row(bed), at = bed_row(bed), dead = bed_row(bed);
        later.state = at.state = STATE_SCHEDULED;
        later.after_us = 5 * SECOND;
        at.at_us = now + 7 * SECOND;
        dead.state = STATE_DEAD;
        dead.reason = REASON_MALFORMED;
        CU_ASSERT(bed_add(bed, &later) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &at) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &dead) == SUBMIT_CREATED);
        CU_ASSERT(bed_show(bed, &later.id)->due_us == now + 5 * SECOND);
        CU_ASSERT(bed_show(bed, &at.id)->due_us == now + 7 * SECOND);
        const struct job_row *j = bed_show(bed, &dead.id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_MALFORMED && j->finished_us == now);
        struct claim *c = bed_claim(bed, 10);
        CU_ASSERT(c->n == 0);
        claim_free(c);
        bed_free(bed);
}

static void a_dead_row_says_why(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.state = STATE_DEAD;
        row.reason = REASON_MALFORMED;
        row.error_text = STR("headers: not pairs");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        const struct job_row *j = bed_show(bed, &row.id);
        CU_ASSERT(j->state == STATE_DEAD && j->last.error == ERROR_MALFORMED);
        CU_ASSERT(str_eq(j->last.error_text, row.error_text) && j->n_attempts == 0);
        CU_ASSERT(j->last.holder == 0 && j->last.claim == 0 && j->last.attempt == 0);
        CU_ASSERT(j->last.started_us == 0 && j->last.ended_us == fixture->now_us(bed->store));
        bed_free(bed);
}

static void is_the_same_job_under_its_key(void)
{
        struct bed *bed = bed_new();
        struct submit_row first = bed_row(bed), again = bed_row(bed), other = bed_row(bed),
                          elsewhere = bed_row(bed);
        first.key = again.key = other.key = elsewhere.key = key_of("k");
        other.payload = STR("y");
        elsewhere.queue = STR("q2");
        CU_ASSERT(bed_add(bed, &first) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &again) == SUBMIT_EXISTS);
        CU_ASSERT(job_id_eq(&again.existing, &first.id) && again.existing_state == STATE_PENDING);
        CU_ASSERT(bed_state(bed, &again.id) == STATE_NONE);
        CU_ASSERT(bed_add(bed, &other) == SUBMIT_CONFLICT);
        CU_ASSERT(job_id_eq(&other.existing, &first.id));
        CU_ASSERT(bed_state(bed, &other.id) == STATE_NONE);
        CU_ASSERT(bed_add(bed, &elsewhere) == SUBMIT_CREATED); /* keys are per queue */
        bed_free(bed);
}

static void compares_large_payloads_too(void)
{
        struct bed *bed = bed_new();
        static char one[5000], two[5000];
        memset(one, 'a', sizeof one);
        memset(two, 'a', sizeof two);
        two[4999] = 'b';
        struct submit_row first = bed_row(bed), same = bed_row(bed), other = bed_row(bed);
        first.key = same.key = other.key = key_of("large");
        first.payload = same.payload = (struct str){one, sizeof one};
        other.payload = (struct str){two, sizeof two};
        CU_ASSERT(bed_add(bed, &first) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &same) == SUBMIT_EXISTS);
        CU_ASSERT(bed_add(bed, &other) == SUBMIT_CONFLICT);
        bed_free(bed);
}

static void says_exists_for_this_very_id(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_EXISTS);
        CU_ASSERT(job_id_eq(&row.existing, &row.id));
        bed_free(bed);
}

static void takes_duplicates_one_after_the_other(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 4);
        s->rows[0].key = s->rows[2].key = s->rows[3].key = key_of("twice");
        s->rows[3].payload = STR("other");
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_CREATED && s->rows[1].result == SUBMIT_CREATED);
        CU_ASSERT(s->rows[2].result == SUBMIT_EXISTS);
        CU_ASSERT(job_id_eq(&s->rows[2].existing, &s->rows[0].id));
        CU_ASSERT(s->rows[3].result == SUBMIT_CONFLICT);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void survives_one_poisoned_row_in_500(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 500);
        s->rows[217].type = long_type();
        s->rows[217].key_text = STR("its text");
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        uint32_t created = 0;
        for (uint32_t i = 0; i < s->n; i++) {
                created += s->rows[i].result == SUBMIT_CREATED;
        }
        CU_ASSERT(created == 499);
        CU_ASSERT(s->rows[217].result == SUBMIT_UNSTORABLE);
        const struct job_row *j = bed_show(bed, &s->rows[217].id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_UNSTORABLE);
        CU_ASSERT(j->payload.n == 0 && j->key_text.n == 0 && j->type.n == 0);
        CU_ASSERT(bed_state(bed, &s->rows[216].id) == STATE_PENDING);
        CU_ASSERT(bed_state(bed, &s->rows[218].id) == STATE_PENDING);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void undoes_an_atomic_array(void)
{
        struct bed *bed = bed_new();
        struct submit_row there = bed_row(bed);
        there.key = key_of("taken");
        CU_ASSERT(bed_add(bed, &there) == SUBMIT_CREATED);
        struct submission *bad = bed_submission(bed, 3), *good = bed_submission(bed, 2);
        bad->atomic = good->atomic = true;
        bad->rows[1].key = key_of("taken");
        bad->rows[1].payload = STR("another");
        bad->next = good;
        struct ledger_submit *b = bed_submit(bad);
        b->rows = 5;
        bed_must(bed, &b->base);
        CU_ASSERT(bad->rows[0].result == SUBMIT_UNDONE && bad->rows[2].result == SUBMIT_UNDONE);
        CU_ASSERT(bad->rows[1].result == SUBMIT_CONFLICT);
        CU_ASSERT(job_id_eq(&bad->rows[1].existing, &there.id));
        CU_ASSERT(bed_state(bed, &bad->rows[0].id) == STATE_NONE);
        CU_ASSERT(bed_state(bed, &bad->rows[2].id) == STATE_NONE);
        CU_ASSERT(good->rows[0].result == SUBMIT_CREATED && good->rows[1].result == SUBMIT_CREATED);
        CU_ASSERT(bed_state(bed, &good->rows[1].id) == STATE_PENDING);
        ledger_batch_free(&b->base);
        submission_free(bad);
        submission_free(good);
        bed_free(bed);
}

static void undoes_an_atomic_array_with_a_poisoned_row(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 3);
        s->atomic = true;
        s->rows[2].type = long_type();
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_UNDONE && s->rows[1].result == SUBMIT_UNDONE);
        CU_ASSERT(s->rows[2].result == SUBMIT_UNSTORABLE);
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(bed_state(bed, &s->rows[i].id) == STATE_NONE);
        }
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

/* --- many at once ----------------------------------------------------------------------------- */

/* Each but the first differs from it in something. */
static void vary(struct submission *s, int64_t now)
{
        struct submit_row *r = s->rows;
        r[1].type = STR("mail.send");
        r[2].content_type = STR("text/plain");
        r[3].headers = (struct str){"a\0b\0", 4};
        r[4].tags = STR(",red,");
        r[5].key = key_of("its key");
        r[5].key_text = STR("its key");
        r[6].key_text = STR("a text without a key");
        r[7].priority = 9;
        r[8].max_attempts = 9;
        r[9].timeout_ms = 1234;
        r[10].deadline_us = now + 60 * SECOND;
        r[11].payload = (struct str){"", 0};
        r[12].queue = STR("q2");
        r[13].state = STATE_SCHEDULED;
        r[13].after_us = 5 * SECOND;
        r[14].state = STATE_SCHEDULED;
        r[14].at_us = now + 7 * SECOND;
        r[15].band = BAND_PARKED;
        r[15].reason = REASON_NO_HANDLER;
        r[16].policy = STR("fixed base=1s");
        r[16].retry_until_us = now + 90 * SECOND;
        r[17].heartbeat_ms = 700;
}

static bool same_texts(const struct job_row *j, const struct submit_row *r)
{
        return str_eq(j->queue, r->queue) && str_eq(j->type, r->type) &&
               str_eq(j->key_text, r->key_text) && str_eq(j->tags, r->tags) &&
               str_eq(j->content_type, r->content_type) && str_eq(j->headers, r->headers) &&
               str_eq(j->payload, r->payload) && str_eq(j->policy, r->policy);
}

static bool same_numbers(const struct job_row *j, const struct submit_row *r)
{
        return j->priority == r->priority && j->max_attempts == r->max_attempts &&
               j->timeout_ms == r->timeout_ms && j->deadline_us == r->deadline_us &&
               j->retry_until_us == r->retry_until_us && j->heartbeat_ms == r->heartbeat_ms &&
               j->claim == 0;
}

static bool is_shown(struct bed *bed, const struct submit_row *r, int64_t now)
{
        const struct job_row *j = bed_show(bed, &r->id);
        int64_t due = r->after_us ? now + r->after_us : r->at_us;
        bool place = j->state == r->state && j->reason == r->reason && j->due_us == due &&
                     (j->state != STATE_PENDING || j->band == r->band);
        return same_texts(j, r) && same_numbers(j, r) && place && j->created_us == now;
}

static void keeps_what_differs_from_row_to_row(void)
{
        struct bed *bed = bed_new();
        int64_t now = fixture->now_us(bed->store);
        struct submission *s = bed_submission(bed, 19);
        vary(s, now);
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        for (uint32_t i = 0; i < s->n; i++) {
                CU_ASSERT(s->rows[i].result == SUBMIT_CREATED);
                CU_ASSERT(is_shown(bed, &s->rows[i], now));
        }
        struct claim *c = bed_claim(bed, 100);
        CU_ASSERT_FATAL(c->n == 15); /* of q: neither scheduled nor parked ones */
        CU_ASSERT(job_id_eq(&c->jobs[0].id, &s->rows[7].id));
        CU_ASSERT(job_id_eq(&c->jobs[1].id, &s->rows[0].id));
        CU_ASSERT(job_id_eq(&c->jobs[14].id, &s->rows[18].id));
        claim_free(c);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

/* Three submissions, and in the midst of the second a key that is taken. */
static void meets_a_key_among_many(void)
{
        struct bed *bed = bed_new();
        struct submit_row there = bed_row(bed);
        there.key = key_of("taken");
        CU_ASSERT(bed_add(bed, &there) == SUBMIT_CREATED);
        struct submission *all[] = {bed_submission(bed, 50), bed_submission(bed, 50),
                                    bed_submission(bed, 50)};
        all[0]->atomic = true;
        all[0]->next = all[1];
        all[1]->next = all[2];
        all[1]->rows[20].key = key_of("taken");
        for (int again = 0; again < 2; again++) {
                struct ledger_submit *b = bed_submit(all[0]);
                b->rows = 150;
                bed_must(bed, &b->base);
                for (uint32_t i = 0; i < 150; i++) {
                        const struct submit_row *r = &all[i / 50]->rows[i % 50];
                        bool met = i == 70;
                        CU_ASSERT(r->result == (met || again ? SUBMIT_EXISTS : SUBMIT_CREATED));
                        CU_ASSERT(bed_state(bed, &r->id) == (met ? STATE_NONE : STATE_PENDING));
                        CU_ASSERT(r->result == SUBMIT_CREATED ||
                                  job_id_eq(&r->existing, met ? &there.id : &r->id));
                }
                ledger_batch_free(&b->base);
        }
        const struct ledger_stats *stats = bed_stats(bed);
        CU_ASSERT(stats->n == 1 && stats->queues[0].jobs[STATE_PENDING] == 150);
        for (int i = 0; i < 3; i++) {
                submission_free(all[i]);
        }
        bed_free(bed);
}

/* --- the inbox -------------------------------------------------------------------------------- */

static void an_empty_inbox_gives_none(void)
{
        struct bed *bed = bed_new();
        struct ledger_inbox *b = NEW(inbox, INBOX);
        b->limit = 10;
        bed_must(bed, &b->base);
        CU_ASSERT(b->n == 0 && !b->more && !bed_beat(bed)->inbox);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

static void a_row_whose_letter_is_gone_is_undone(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 3);
        s->rows[1].inbox = 4711;
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_CREATED && s->rows[2].result == SUBMIT_CREATED);
        CU_ASSERT(s->rows[1].result == SUBMIT_UNDONE);
        CU_ASSERT(bed_state(bed, &s->rows[1].id) == STATE_NONE);
        CU_ASSERT(bed_state(bed, &s->rows[2].id) == STATE_PENDING);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

/* --- requests --------------------------------------------------------------------------------- */

/* One request with a key, as a caller repeats it: new ids each time. */
static struct submission *request(struct bed *bed, const char *key, uint8_t body)
{
        struct submission *s = bed_submission(bed, 2);
        s->atomic = true;
        s->request_key = key_of(key);
        memset(s->request_hash, body, sizeof s->request_hash);
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
        return s;
}

static void answers_a_request_key_again(void)
{
        struct bed *bed = bed_new();
        struct submission *first = request(bed, "r", 1), *again = request(bed, "r", 1),
                          *other = request(bed, "r", 2), *fresh = request(bed, "s", 1);
        for (int i = 0; i < 2; i++) {
                CU_ASSERT(first->rows[i].result == SUBMIT_CREATED);
                CU_ASSERT(again->rows[i].result == SUBMIT_EXISTS);
                CU_ASSERT(job_id_eq(&again->rows[i].existing, &first->rows[i].id));
                CU_ASSERT(again->rows[i].existing_state == STATE_PENDING);
                CU_ASSERT(bed_state(bed, &again->rows[i].id) == STATE_NONE);
                CU_ASSERT(bed_state(bed, &other->rows[i].id) == STATE_NONE);
                CU_ASSERT(fresh->rows[i].result == SUBMIT_CREATED);
        }
        CU_ASSERT(!again->request_conflict && other->request_conflict);
        submission_free(first);
        submission_free(again);
        submission_free(other);
        submission_free(fresh);
        bed_free(bed);
}

static void forgets_the_key_of_a_request_that_failed(void)
{
        struct bed *bed = bed_new();
        struct submit_row there = bed_row(bed);
        there.key = key_of("taken");
        CU_ASSERT(bed_add(bed, &there) == SUBMIT_CREATED);
        struct submission *s = bed_submission(bed, 1);
        s->atomic = true;
        s->request_key = key_of("r");
        s->rows[0].key = key_of("taken");
        s->rows[0].payload = STR("another");
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_CONFLICT);
        struct submission *next = request(bed, "r", 9);
        CU_ASSERT(next->rows[0].result == SUBMIT_CREATED && !next->request_conflict);
        ledger_batch_free(&b->base);
        submission_free(s);
        submission_free(next);
        bed_free(bed);
}

CASES(cases_submit, {"keeps every field", keeps_every_field, 0},
      {"keeps payloads of any size", keeps_payloads_of_any_size, 0},
      {"begins in each first state", begins_in_each_first_state, 0},
      {"a dead row says why", a_dead_row_says_why, 0},
      {"keeps what differs from row to row", keeps_what_differs_from_row_to_row, 0},
      {"meets a key among many", meets_a_key_among_many, 0},
      {"an empty inbox gives none", an_empty_inbox_gives_none, 0},
      {"a row whose letter is gone is undone", a_row_whose_letter_is_gone_is_undone, 0},
      {"a key names one job of its queue", is_the_same_job_under_its_key, 0},
      {"compares large payloads too", compares_large_payloads_too, 0},
      {"says EXISTS for this very id", says_exists_for_this_very_id, 0},
      {"takes duplicates within a batch one after the other", takes_duplicates_one_after_the_other,
       0},
      {"survives one poisoned row in 500", survives_one_poisoned_row_in_500, 0},
      {"an atomic array is undone by a conflict", undoes_an_atomic_array, 0},
      {"an atomic array is undone by a poisoned row", undoes_an_atomic_array_with_a_poisoned_row,
       0},
      {"a request key gives the first answer again", answers_a_request_key_again, 0},
      {"a request that failed leaves its key free", forgets_the_key_of_a_request_that_failed, 0});
