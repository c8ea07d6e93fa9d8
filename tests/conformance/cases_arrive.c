/*
 * ARRIVE, letters: what a producer's message becomes, and that it becomes so once.
 */
#include "tests/conformance/bed.h"

#include <stdio.h>

static struct job_key key_of(const char *text)
{
        return key_from_text(str_of(text));
}

static struct finish_row verdict_of(const struct ledger_arrive *b, uint32_t i, enum job_state to)
{
        const struct arrival *a = &b->list->items[i];
        return (struct finish_row){
            .id = a->row.id, .ref = a->ref, .claim = 1, .token = b->token, .to = to, .attempt = 1};
}

/* --- started ---------------------------------------------------------------------------------- */

static void a_started_letter_is_a_claim(void)
{
        struct bed *bed = bed_new();
        struct arrival letters[] = {bed_letter(bed), bed_letter(bed), bed_letter(bed)};
        struct ledger_arrive *b = bed_arrive(bed, letters, 3);
        bed_must(bed, &b->base);
        CU_ASSERT(b->got->n == 0 && b->known + b->conflicts + b->unstorable + b->ambiguous == 0);
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(b->list->items[i].result == ARRIVAL_TAKEN);
                CU_ASSERT(b->list->items[i].ref != 0);
                const struct job_row *j = bed_show(bed, &letters[i].row.id);
                CU_ASSERT(j->state == STATE_RUNNING && j->claim == 1 && j->attempt == 1);
                CU_ASSERT(j->holder == bed->holder && j->generation == 0 && !j->cancel_asked);
                CU_ASSERT(j->started_us == fixture->now_us(bed->store) && j->finished_us == 0);
        }
        const struct ledger_held *h = bed_held(bed, bed->holder, 0, 10);
        CU_ASSERT_FATAL(h->n == 3 && h->n_covered == 1 && h->covered[0] == b->base.no.n);
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(h->jobs[i].claim == 1 && h->jobs[i].attempt == 1);
                CU_ASSERT(h->jobs[i].token == b->token && h->jobs[i].max_attempts == 3);
        }
        bed_arrive_free(b);
        bed_free(bed);
}

static void a_letter_keeps_every_field(void)
{
        struct bed *bed = bed_new();
        static const char payload[] = "a\0b\xff";
        struct arrival a = bed_letter(bed);
        a.row.key = key_of("order-1");
        a.row.key_text = STR("order-1");
        a.row.priority = 7;
        a.row.max_attempts = 9;
        a.row.timeout_ms = 1234;
        a.row.deadline_us = fixture->now_us(bed->store) + 60 * SECOND;
        a.row.content_type = STR("text/plain");
        a.row.headers = (struct str){"a\0b\0", 4};
        a.row.payload = (struct str){payload, 4};
        a.row.tags = STR(",red,blue,");
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        const struct job_row *j = bed_show(bed, &a.row.id);
        CU_ASSERT(str_eq(j->queue, a.row.queue) && str_eq(j->type, a.row.type));
        CU_ASSERT(str_eq(j->key_text, a.row.key_text) && str_eq(j->tags, a.row.tags));
        CU_ASSERT(str_eq(j->content_type, a.row.content_type));
        CU_ASSERT(str_eq(j->headers, a.row.headers) && str_eq(j->payload, a.row.payload));
        CU_ASSERT(j->priority == 7 && j->max_attempts == 9 && j->timeout_ms == 1234);
        CU_ASSERT(j->deadline_us == a.row.deadline_us);
        CU_ASSERT(j->created_us == fixture->now_us(bed->store));
        bed_free(bed);
}

static void a_started_letter_is_finished_with_children(void)
{
        struct bed *bed = bed_new();
        struct arrival letters[] = {bed_letter(bed), bed_letter(bed)};
        struct ledger_arrive *b = bed_arrive(bed, letters, 2);
        bed_must(bed, &b->base);
        struct finish_row rows[] = {verdict_of(b, 0, STATE_COMPLETED),
                                    verdict_of(b, 1, STATE_RETRYING)};
        rows[0].children = bed_submission(bed, 2);
        struct job_id child = rows[0].children->rows[1].id;
        rows[0].result = STR("42");
        rows[1].after_us = 60 * SECOND;
        rows[1].error = ERROR_FAILED;
        rows[1].keep_attempt = true;
        struct ledger_finish *f = bed_finish_batch(rows, 2); /* frees the children */
        f->retire = &b->base.no;
        f->n_retire = 1;
        bed_must(bed, &f->base);
        CU_ASSERT(f->stale == 0);
        CU_ASSERT(str_eq(bed_show(bed, &letters[0].row.id)->result, STR("42")));
        CU_ASSERT(bed_state(bed, &letters[0].row.id) == STATE_COMPLETED);
        CU_ASSERT(bed_state(bed, &letters[1].row.id) == STATE_RETRYING);
        CU_ASSERT(bed_state(bed, &child) == STATE_PENDING);
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == 0);
        ledger_batch_free(&f->base);
        bed_arrive_free(b);
        bed_free(bed);
}

static void a_started_letter_goes_back_and_is_claimed_again(void)
{
        struct bed *bed = bed_new();
        struct arrival letter = bed_letter(bed);
        struct ledger_arrive *b = bed_arrive(bed, &letter, 1);
        bed_must(bed, &b->base);
        struct finish_row back = verdict_of(b, 0, STATE_PENDING), late = back;
        back.attempt = 0;
        late.to = STATE_COMPLETED;
        CU_ASSERT(bed_finish_one(bed, back));
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT_FATAL(c->n == 1);
        CU_ASSERT(job_id_eq(&c->jobs[0].id, &letter.row.id) && c->jobs[0].claim == 2);
        CU_ASSERT(str_eq(c->jobs[0].payload, STR("x")) && c->jobs[0].attempt == 1);
        CU_ASSERT(!bed_finish_one(bed, late));
        claim_free(c);
        bed_arrive_free(b);
        bed_free(bed);
}

static void the_holder_is_told_of_a_cancel(void)
{
        struct bed *bed = bed_new();
        struct arrival a = bed_letter(bed);
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        CU_ASSERT(bed_cancel(bed, &a.row.id) == CANCEL_ASKED);
        const struct ledger_beat *beat = bed_beat(bed);
        CU_ASSERT(beat->n_cancels == 1 && job_id_eq(&beat->cancels[0], &a.row.id));
        bed_free(bed);
}

/* --- other first states ----------------------------------------------------------------------- */

static void a_letter_may_wait(void)
{
        struct bed *bed = bed_new();
        struct arrival now = bed_letter(bed), later = bed_letter(bed), parked = bed_letter(bed);
        now.start = later.start = parked.start = false;
        now.row.state = parked.row.state = STATE_PENDING;
        parked.row.band = BAND_PARKED;
        parked.row.reason = REASON_NO_HANDLER;
        later.row.state = STATE_SCHEDULED;
        later.row.at_us = fixture->now_us(bed->store) + 5 * SECOND;
        struct arrival items[] = {now, later, parked};
        struct ledger_arrive *b = bed_arrive(bed, items, 3);
        bed_must(bed, &b->base);
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(b->list->items[i].result == ARRIVAL_TAKEN);
        }
        bed_arrive_free(b);
        CU_ASSERT(bed_show(bed, &later.row.id)->due_us == later.row.at_us);
        CU_ASSERT(bed_show(bed, &parked.row.id)->band == BAND_PARKED);
        CU_ASSERT(bed_show(bed, &parked.row.id)->reason == REASON_NO_HANDLER);
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == 0);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 1 && job_id_eq(&c->jobs[0].id, &now.row.id) && c->jobs[0].claim == 1);
        claim_free(c);
        bed_free(bed);
}

static void a_letter_may_be_dead_and_says_why(void)
{
        static const struct {
                enum job_reason reason;
                enum error_class error;
        } kinds[] = {
            {REASON_MALFORMED, ERROR_MALFORMED},
            {REASON_TOO_LARGE, ERROR_TOO_LARGE},
            {REASON_EXPIRED, ERROR_EXPIRED},
        };
        struct bed *bed = bed_new();
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                struct arrival a = bed_letter(bed);
                a.start = false;
                a.row.state = STATE_DEAD;
                a.row.reason = kinds[i].reason;
                a.row.error_text = STR("job-priority: not a number");
                CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
                const struct job_row *j = bed_show(bed, &a.row.id);
                CU_ASSERT(j->state == STATE_DEAD && j->reason == kinds[i].reason);
                CU_ASSERT(j->finished_us == fixture->now_us(bed->store) && j->claim == 0);
                CU_ASSERT(j->last.error == kinds[i].error && j->n_attempts == 0);
                CU_ASSERT(str_eq(j->last.error_text, a.row.error_text));
                CU_ASSERT(str_eq(j->payload, STR("x")) && j->attempt == 0);
        }
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == 0);
        bed_free(bed);
}

/* --- keys, ids -------------------------------------------------------------------------------- */

static void a_known_key_writes_nothing(void)
{
        struct bed *bed = bed_new();
        struct submit_row first = bed_row(bed);
        first.key = key_of("k");
        CU_ASSERT(bed_add(bed, &first) == SUBMIT_CREATED);
        struct arrival again = bed_letter(bed), waiting = bed_letter(bed), other = bed_letter(bed);
        again.row.key = waiting.row.key = other.row.key = key_of("k");
        waiting.start = false;
        waiting.row.state = STATE_PENDING;
        other.row.queue = STR("q2");
        CU_ASSERT(bed_arrive_one(bed, &again) == ARRIVAL_KNOWN);
        CU_ASSERT(job_id_eq(&again.row.existing, &first.id));
        CU_ASSERT(again.row.existing_state == STATE_PENDING);
        CU_ASSERT(bed_arrive_one(bed, &waiting) == ARRIVAL_KNOWN);
        CU_ASSERT(job_id_eq(&waiting.row.existing, &first.id));
        CU_ASSERT(bed_state(bed, &again.row.id) == STATE_NONE);
        CU_ASSERT(bed_state(bed, &waiting.row.id) == STATE_NONE);
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == 0);
        struct ledger_arrive *b = bed_arrive(bed, &other, 1); /* keys are per queue */
        b->queue = STR("q2");
        bed_must(bed, &b->base);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_TAKEN);
        bed_arrive_free(b);
        bed_free(bed);
}

static bool names(struct str text, const struct job_id *id)
{
        char wanted[JOB_ID_TEXT];
        id_text(id, wanted);
        return text.n >= JOB_ID_TEXT - 1 && memmem(text.p, text.n, wanted, JOB_ID_TEXT - 1);
}

static void another_payload_under_a_key_is_a_conflict(void)
{
        struct bed *bed = bed_new();
        struct arrival first = bed_letter(bed), other = bed_letter(bed);
        first.row.key = other.row.key = key_of("k");
        other.row.payload = STR("another");
        CU_ASSERT(bed_arrive_one(bed, &first) == ARRIVAL_TAKEN);
        CU_ASSERT(bed_arrive_one(bed, &other) == ARRIVAL_CONFLICT);
        CU_ASSERT(job_id_eq(&other.row.existing, &first.row.id));
        const struct job_row *j = bed_show(bed, &other.row.id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_ID_CONFLICT && j->claim == 0);
        CU_ASSERT(str_eq(j->payload, STR("another")) && j->attempt == 0 && j->holder == 0);
        CU_ASSERT(j->last.error == ERROR_ID_CONFLICT);
        CU_ASSERT(names(j->last.error_text, &first.row.id));
        CU_ASSERT(bed_state(bed, &first.row.id) == STATE_RUNNING);
        struct ledger_show *b = NEW(show, SHOW);
        b->queue = STR("q");
        b->key = key_of("k");
        bed_must(bed, &b->base);
        CU_ASSERT(b->found && job_id_eq(&b->row.id, &first.row.id));
        ledger_batch_free(&b->base);
        bed_free(bed);
}

/* The same, when the first has ended: a key outlives its job. */
static void a_key_is_known_after_its_job_ended(void)
{
        struct bed *bed = bed_new();
        struct arrival first = bed_letter(bed), again = bed_letter(bed);
        first.row.key = again.row.key = key_of("k");
        struct ledger_arrive *b = bed_arrive(bed, &first, 1);
        bed_must(bed, &b->base);
        CU_ASSERT(bed_finish_one(bed, verdict_of(b, 0, STATE_COMPLETED)));
        CU_ASSERT(bed_arrive_one(bed, &again) == ARRIVAL_KNOWN);
        CU_ASSERT(again.row.existing_state == STATE_COMPLETED);
        CU_ASSERT(bed_state(bed, &first.row.id) == STATE_COMPLETED);
        bed_arrive_free(b);
        bed_free(bed);
}

/* One batch of two pages: what comes later sees what came before it. */
static void duplicates_in_a_batch_come_one_after_the_other(void)
{
        struct bed *bed = bed_new();
        struct arrival letters[4];
        for (int i = 0; i < 4; i++) {
                letters[i] = bed_letter(bed);
                letters[i].row.key = i == 1 ? letters[i].row.key : key_of("twice");
        }
        letters[3].row.payload = STR("other");
        struct ledger_arrive *b = bed_arrive(bed, letters, 3),
                             *page = bed_arrive(bed, letters + 3, 1);
        b->list->next = STEAL(page->list);
        b->n = 4;
        bed_must(bed, &b->base);
        const struct arrival *one = b->list->items, *last = b->list->next->items;
        CU_ASSERT(one[0].result == ARRIVAL_TAKEN && one[1].result == ARRIVAL_TAKEN);
        CU_ASSERT(one[2].result == ARRIVAL_KNOWN && last->result == ARRIVAL_CONFLICT);
        CU_ASSERT(job_id_eq(&one[2].row.existing, &letters[0].row.id));
        CU_ASSERT(job_id_eq(&last->row.existing, &letters[0].row.id));
        CU_ASSERT(b->known == 1 && b->conflicts == 1);
        CU_ASSERT(bed_state(bed, &letters[2].row.id) == STATE_NONE);
        CU_ASSERT(bed_state(bed, &letters[3].row.id) == STATE_DEAD);
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == 2);
        bed_arrive_free(page);
        bed_arrive_free(b);
        bed_free(bed);
}

static void one_poisoned_letter_in_500(void)
{
        enum { LETTERS = 500, BAD = 217 };
        static char long_type[300]; /* no store takes a type above 255 bytes */
        memset(long_type, 'x', sizeof long_type);
        struct bed *bed = bed_new();
        static struct arrival letters[LETTERS];
        for (int i = 0; i < LETTERS; i++) {
                letters[i] = bed_letter(bed);
        }
        letters[BAD].row.type = (struct str){long_type, sizeof long_type};
        letters[BAD].row.key_text = STR("its text");
        struct ledger_arrive *b = bed_arrive(bed, letters, LETTERS);
        bed_must(bed, &b->base);
        uint32_t taken = 0;
        for (int i = 0; i < LETTERS; i++) {
                taken += b->list->items[i].result == ARRIVAL_TAKEN;
        }
        CU_ASSERT(taken == LETTERS - 1 && b->unstorable == 1);
        CU_ASSERT(b->list->items[BAD].result == ARRIVAL_UNSTORABLE);
        const struct job_row *j = bed_show(bed, &letters[BAD].row.id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_UNSTORABLE && j->claim == 0);
        CU_ASSERT(j->payload.n == 0 && j->key_text.n == 0 && j->type.n == 0);
        CU_ASSERT(bed_state(bed, &letters[BAD - 1].row.id) == STATE_RUNNING);
        CU_ASSERT(bed_state(bed, &letters[BAD + 1].row.id) == STATE_RUNNING);
        CU_ASSERT(bed_held(bed, bed->holder, 0, 10)->n == LETTERS - 1);
        bed_arrive_free(b);
        bed_free(bed);
}

/* Its key is another job's: it leaves a row all the same, and the other keeps the key. */
static void a_poisoned_letter_under_a_taken_key(void)
{
        struct bed *bed = bed_new();
        static char long_type[300];
        memset(long_type, 'x', sizeof long_type);
        struct arrival first = bed_letter(bed), bad = bed_letter(bed), again = bed_letter(bed);
        first.row.key = bad.row.key = again.row.key = key_of("k");
        bad.row.type = (struct str){long_type, sizeof long_type};
        bad.row.payload = STR("another");
        CU_ASSERT(bed_arrive_one(bed, &first) == ARRIVAL_TAKEN);
        CU_ASSERT(bed_arrive_one(bed, &bad) == ARRIVAL_UNSTORABLE);
        const struct job_row *j = bed_show(bed, &bad.row.id);
        CU_ASSERT(j->state == STATE_DEAD && j->reason == REASON_UNSTORABLE);
        CU_ASSERT(bed_arrive_one(bed, &again) == ARRIVAL_KNOWN);
        CU_ASSERT(job_id_eq(&again.row.existing, &first.row.id));
        bed_free(bed);
}

static void marks_and_nothing_write_nothing(void)
{
        struct bed *bed = bed_new();
        struct arrival marks[] = {{.kind = ARRIVAL_MARK, .seq = 7}, {.kind = ARRIVAL_MARK}};
        for (uint32_t n = 0; n <= 2; n += 2) {
                struct ledger_arrive *b = bed_arrive(bed, marks, n);
                bed_must(bed, &b->base);
                CU_ASSERT(b->known + b->conflicts + b->unstorable + b->ambiguous == 0);
                CU_ASSERT(b->got->n == 0);
                bed_arrive_free(b);
        }
        struct ledger_list all = {.state = -1, .limit = 10};
        CU_ASSERT(bed_list(bed, &all)->n == 0);
        bed_free(bed);
}

static void counters_hold(void)
{
        struct bed *bed = bed_new();
        struct arrival items[6];
        for (int i = 0; i < 6; i++) {
                items[i] = bed_letter(bed);
        }
        items[1].row.key = items[2].row.key = items[3].row.key = key_of("k");
        items[3].row.payload = STR("other"); /* a conflict; items[2] is known */
        items[4].start = items[5].start = false;
        items[4].row.state = STATE_PENDING;
        items[5].row.state = STATE_DEAD;
        items[5].row.reason = REASON_MALFORMED;
        struct ledger_arrive *b = bed_arrive(bed, items, 6);
        bed_must(bed, &b->base);
        const struct ledger_stats *s = bed_stats(bed);
        CU_ASSERT_FATAL(s->n == 1);
        CU_ASSERT(s->queues[0].jobs[STATE_RUNNING] == 2 && s->queues[0].jobs[STATE_PENDING] == 1);
        CU_ASSERT(s->queues[0].jobs[STATE_DEAD] == 2);
        bed_arrive_free(b);
        bed_free(bed);
}

/* --- fates ------------------------------------------------------------------------------------ */

static void is_fenced_when_its_node_is_dead(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(bed_bury(bed, bed->holder, 0, true, false));
        struct job_id bell = {{1}};
        struct arrival items[] = {bed_letter(bed), bed_doorbell(&bell, true)};
        struct ledger_arrive *b = bed_arrive(bed, items, 2);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_FENCED);
        CU_ASSERT(b->got->n == 0);
        CU_ASSERT(bed_state(bed, &items[0].row.id) == STATE_NONE);
        bed_arrive_free(b);
        bed->holder = 999; /* never registered */
        b = bed_arrive(bed, items, 2);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_FENCED);
        CU_ASSERT(bed_state(bed, &items[0].row.id) == STATE_NONE);
        bed_arrive_free(b);
        bed_free(bed);
}

static void a_number_that_is_taken_refuses_it(void)
{
        struct bed *bed = bed_new();
        struct job_id bell = bed_add_broker(bed);
        struct arrival items[] = {bed_letter(bed), bed_doorbell(&bell, true)};
        struct ledger_arrive *b = bed_arrive(bed, items, 2);
        b->base.no = (struct commit_no){bed->holder, LANE_CLAIMS, ++bed->n[LANE_CLAIMS]};
        CU_ASSERT(!bed_resolve(bed, b->base.no)); /* void: it never can happen */
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_REFUSED);
        CU_ASSERT(b->got->n == 0);
        CU_ASSERT(bed_state(bed, &items[0].row.id) == STATE_NONE);
        CU_ASSERT(bed_show(bed, &bell)->band == BAND_BROKER);
        bed_arrive_free(b);
        bed_free(bed);
}

static void an_unknown_arrival_that_was_lost_is_posted_again(void)
{
        struct bed *bed = bed_new();
        struct job_id bell = bed_add_broker(bed);
        struct arrival items[] = {bed_letter(bed), bed_doorbell(&bell, true)};
        items[0].fingerprint = 77;
        struct ledger_arrive *b = bed_arrive(bed, items, 2);
        fixture->fail_next(bed->store, FAULT_UNKNOWN_LOST);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
        CU_ASSERT(!bed_resolve(bed, b->base.no));
        CU_ASSERT(bed_state(bed, &items[0].row.id) == STATE_NONE);
        CU_ASSERT(bed_state(bed, &bell) == STATE_PENDING);
        b->base.no.n = 0; /* the next number */
        bed_must(bed, &b->base);
        CU_ASSERT(b->known == 0 && b->got->n == 1);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_TAKEN);
        CU_ASSERT(b->list->items[1].result == ARRIVAL_TAKEN);
        CU_ASSERT(bed_finish_one(bed, verdict_of(b, 0, STATE_COMPLETED)));
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&b->got->jobs[0], STATE_COMPLETED)));
        bed_arrive_free(b);
        bed_free(bed);
}

static void an_unknown_arrival_that_was_written_is_recalled(void)
{
        enum { BELLS = 3, LETTERS = 4, ALL = BELLS + LETTERS };
        struct bed *bed = bed_new();
        static char large[70000];
        memset(large, 'l', sizeof large);
        struct arrival items[ALL];
        for (int i = 0; i < BELLS; i++) {
                struct submit_row row = bed_row(bed);
                row.band = BAND_BROKER;
                row.payload = i ? STR("bell") : (struct str){large, sizeof large};
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                items[2 * i] = bed_doorbell(&row.id, true);
        }
        for (int i = 0; i < LETTERS; i++) {
                int at = i < BELLS ? 2 * i + 1 : ALL - 1;
                items[at] = bed_letter(bed);
                items[at].row.payload = i ? STR("letter") : (struct str){large, sizeof large};
        }
        items[3].start = false; /* in between, and not claimed */
        items[3].row.state = STATE_PENDING;
        struct ledger_arrive *b = bed_arrive(bed, items, ALL);
        fixture->fail_next(bed->store, FAULT_UNKNOWN_WRITTEN);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
        CU_ASSERT(bed_resolve(bed, b->base.no));
        struct claim *c = bed_recall(bed, b->base.no, b->token);
        CU_ASSERT_FATAL(c->n == ALL - 1 && c->open == c->n);
        uint32_t big = 0, small = 0;
        struct finish_row rows[ALL];
        for (uint32_t i = 0; i < c->n; i++) {
                const struct job *j = &c->jobs[i];
                big += str_eq(j->payload, (struct str){large, sizeof large});
                small += str_eq(j->payload, STR("bell")) || str_eq(j->payload, STR("letter"));
                CU_ASSERT(j->claim == 1 && j->attempt == 1 && j->token == b->token);
                CU_ASSERT(str_eq(j->queue, STR("q")) && str_eq(j->type, STR("noop")));
                rows[i] = bed_verdict(j, STATE_COMPLETED);
        }
        CU_ASSERT(big == 2 && small == 4);
        CU_ASSERT(bed_finish(bed, rows, c->n) == 0);
        CU_ASSERT(bed_state(bed, &items[3].row.id) == STATE_PENDING);
        claim_free(c);
        bed_arrive_free(b);
        bed_free(bed);
}

/* When nobody can tell whether it happened, the same ids come again: each job is there once. */
static void an_arrival_that_happened_is_posted_again(void)
{
        struct bed *bed = bed_new();
        struct job_id bell = bed_add_broker(bed);
        struct arrival items[] = {bed_letter(bed), bed_doorbell(&bell, true), bed_letter(bed)};
        items[2].fingerprint = 9;
        struct ledger_arrive *b = bed_arrive(bed, items, 3), *again = bed_arrive(bed, items, 3);
        bed_must(bed, &b->base);
        bed_must(bed, &again->base);
        CU_ASSERT(again->known == 3 && again->got->n == 0);
        for (int i = 0; i < 3; i += 2) {
                const struct arrival *a = &again->list->items[i];
                CU_ASSERT(a->result == ARRIVAL_KNOWN);
                CU_ASSERT(job_id_eq(&a->row.existing, &a->row.id));
                CU_ASSERT(bed_show(bed, &a->row.id)->claim == 1);
                CU_ASSERT(bed_finish_one(bed, verdict_of(b, (uint32_t)i, STATE_COMPLETED)));
        }
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&b->got->jobs[0], STATE_COMPLETED)));
        bed_arrive_free(b);
        bed_arrive_free(again);
        bed_free(bed);
}

static void sees_what_was_posted_before_it(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.band = BAND_BROKER;
        struct submission s = {.rows = &row, .n = 1};
        struct arrival letter = bed_letter(bed), bell = bed_doorbell(&row.id, true);
        letter.start = false;
        letter.row.state = STATE_PENDING;
        struct ledger_submit *first = bed_submit(&s);
        struct ledger_arrive *second = bed_arrive(bed, &bell, 1),
                             *third = bed_arrive(bed, &letter, 1);
        struct ledger_claim *fourth = bed_claim_batch(bed, 5);
        bed_post(bed, &first->base);
        bed_post(bed, &second->base);
        bed_post(bed, &third->base);
        bed_post(bed, &fourth->base);
        bed_wait(bed, &fourth->base);
        bed_wait(bed, &third->base);
        bed_wait(bed, &second->base);
        bed_wait(bed, &first->base);
        CU_ASSERT(second->got->n == 1 && job_id_eq(&second->got->jobs[0].id, &row.id));
        CU_ASSERT(fourth->got->n == 1 && job_id_eq(&fourth->got->jobs[0].id, &letter.row.id));
        ledger_batch_free(&first->base);
        bed_arrive_free(second);
        bed_arrive_free(third);
        ledger_batch_free(&fourth->base);
        bed_free(bed);
}

CASES(cases_arrive, {"a started letter is a claim", a_started_letter_is_a_claim, 0},
      {"a letter keeps every field", a_letter_keeps_every_field, 0},
      {"a started letter is finished, with children", a_started_letter_is_finished_with_children,
       0},
      {"a started letter goes back and is claimed again",
       a_started_letter_goes_back_and_is_claimed_again, 0},
      {"the holder is told of a cancel", the_holder_is_told_of_a_cancel, 0},
      {"a letter may wait", a_letter_may_wait, 0},
      {"a letter may be dead, and says why", a_letter_may_be_dead_and_says_why, 0},
      {"a known key writes nothing", a_known_key_writes_nothing, 0},
      {"another payload under a key is a conflict", another_payload_under_a_key_is_a_conflict, 0},
      {"a key is known after its job ended", a_key_is_known_after_its_job_ended, 0},
      {"duplicates in a batch come one after the other",
       duplicates_in_a_batch_come_one_after_the_other, 0},
      {"one poisoned letter in 500", one_poisoned_letter_in_500, 0},
      {"a poisoned letter under a taken key", a_poisoned_letter_under_a_taken_key, 0},
      {"marks, and nothing, write nothing", marks_and_nothing_write_nothing, 0},
      {"counters hold", counters_hold, 0},
      {"is fenced when its node is dead", is_fenced_when_its_node_is_dead, 0},
      {"a number that is taken refuses it", a_number_that_is_taken_refuses_it, 0},
      {"an unknown arrival that was lost is posted again",
       an_unknown_arrival_that_was_lost_is_posted_again, NEED_FAULT},
      {"an unknown arrival that was written is recalled",
       an_unknown_arrival_that_was_written_is_recalled, NEED_FAULT},
      {"an arrival that happened is posted again", an_arrival_that_happened_is_posted_again, 0},
      {"sees what was posted before it", sees_what_was_posted_before_it, 0});
