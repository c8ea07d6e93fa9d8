/*
 * Owed replies: a job that asked for one and ended without a FINISH leaves it in the transaction
 * that ended it, whoever that was: an operator, a deadline, a bound, a schedule, its own letter.
 */
#include "tests/conformance/bed_life.h"

#define OLDER (5 * SECOND)

static const char headers[] = "correlation-id\0c-1\0reply-to\0answers";
#define ASKS ((struct str){headers, sizeof headers})

static const struct ledger_relay *relay(struct bed *bed)
{
        struct ledger_relay *b = NEW(relay, RELAY);
        b->older_us = OLDER;
        b->limit = 10;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static void rung(struct bed *bed, int64_t no)
{
        struct ledger_rung *b = NEW(rung, RUNG);
        b->replies = &no;
        b->n_replies = 1;
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
}

/* Exactly this one is owed, at once; returns its number. */
static int64_t owes(struct bed *bed, const struct job_id *id, enum job_state state,
                    enum job_reason reason, const char *text)
{
        const struct ledger_relay *b = relay(bed);
        CU_ASSERT_FATAL(b->n_replies == 1);
        const struct job_reply *r = &b->replies[0];
        CU_ASSERT(job_id_eq(&r->job, id) && r->no != 0 && str_eq(r->queue, STR("q")));
        CU_ASSERT(r->state == state && r->reason == reason);
        CU_ASSERT(str_eq(r->headers, ASKS) && r->to.n == 0 && r->body.n == 0);
        CU_ASSERT(text ? memmem(r->error_text.p, r->error_text.n, text, strlen(text)) != NULL
                       : r->error_text.n == 0);
        return r->no;
}

static void owes_one(struct bed *bed, const struct job_id *id, enum job_state state,
                     enum job_reason reason, const char *text)
{
        rung(bed, owes(bed, id, state, reason, text));
        fixture->advance(bed->store, OLDER);
        CU_ASSERT(relay(bed)->n_replies == 0);
}

static struct submit_row asking(struct bed *bed)
{
        struct submit_row row = bed_row(bed);
        row.headers = ASKS;
        return row;
}

static struct job_id add_asking(struct bed *bed)
{
        struct submit_row row = asking(bed);
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        return row.id;
}

static void by_a_cancel(void)
{
        struct bed *bed = bed_new();
        struct job_id id = add_asking(bed), plain = bed_add_one(bed);
        CU_ASSERT(relay(bed)->n_replies == 0);
        CU_ASSERT(bed_cancel(bed, &plain) == CANCEL_DONE);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_DONE);
        int64_t no = owes(bed, &id, STATE_CANCELLED, REASON_OPERATOR, NULL);
        CU_ASSERT(relay(bed)->n_replies == 0); /* put off */
        fixture->advance(bed->store, OLDER);
        CU_ASSERT(owes(bed, &id, STATE_CANCELLED, REASON_OPERATOR, NULL) == no);
        rung(bed, no);
        CU_ASSERT(bed_requeue(bed, &id) == REQUEUE_DONE);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_DONE); /* a second end */
        CU_ASSERT(owes(bed, &id, STATE_CANCELLED, REASON_OPERATOR, NULL) != no);
        bed_free(bed);
}

static void those_that_wait_for_a_time(void)
{
        struct bed *bed = bed_new();
        struct submit_row later = asking(bed);
        later.state = STATE_SCHEDULED;
        later.at_us = fixture->now_us(bed->store) + HOUR;
        CU_ASSERT(bed_add(bed, &later) == SUBMIT_CREATED);
        CU_ASSERT(bed_cancel(bed, &later.id) == CANCEL_DONE);
        owes_one(bed, &later.id, STATE_CANCELLED, REASON_OPERATOR, NULL);
        struct job_id id = add_asking(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_RETRYING);
        v.after_us = HOUR;
        CU_ASSERT(bed_finish_one(bed, v) && relay(bed)->n_replies == 0);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_DONE);
        owes_one(bed, &id, STATE_CANCELLED, REASON_OPERATOR, NULL);
        claim_free(c);
        bed_free(bed);
}

static void by_a_page_of_cancels(void)
{
        struct bed *bed = bed_new();
        for (int i = 0; i < 3; i++) {
                (void)add_asking(bed);
                (void)bed_add_one(bed);
        }
        struct ledger_bulk like = {.kind = BULK_CANCEL, .limit = 100};
        CU_ASSERT(bed_bulk(bed, &like)->done == 6);
        const struct ledger_relay *b = relay(bed);
        CU_ASSERT_FATAL(b->n_replies == 3);
        CU_ASSERT(b->replies[0].no != b->replies[1].no && b->replies[1].no != b->replies[2].no);
        bed_free(bed);
}

static void by_a_deadline(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = asking(bed);
        row.deadline_us = fixture->now_us(bed->store) + SECOND;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct submit_row rings = asking(bed);
        rings.band = BAND_BROKER;
        rings.deadline_us = row.deadline_us;
        fixture->advance(bed->store, 2 * SECOND);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(c->n == 0);
        claim_free(c);
        owes_one(bed, &row.id, STATE_DEAD, REASON_EXPIRED, NULL);
        rings.deadline_us = fixture->now_us(bed->store) + SECOND;
        CU_ASSERT(bed_add(bed, &rings) == SUBMIT_CREATED);
        (void)relay(bed); /* its doorbell */
        fixture->advance(bed->store, 2 * SECOND);
        struct arrival a = bed_doorbell(&rings.id, true);
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_KNOWN);
        owes_one(bed, &rings.id, STATE_DEAD, REASON_EXPIRED, NULL);
        bed_free(bed);
}

static void by_a_bound(void)
{
        struct bed *bed = bed_new();
        struct job_id first = add_asking(bed);
        struct submit_row row = bed_row(bed);
        CU_ASSERT(bed_add_bound(bed, &row, 1, true) == SUBMIT_CREATED);
        owes_one(bed, &first, STATE_CANCELLED, REASON_DROPPED, NULL);
        bed_free(bed);
}

static void by_a_schedule(void)
{
        struct bed *bed = bed_new();
        struct job_id id = add_asking(bed);
        struct schedule_row s = bed_schedule_row("a");
        const struct ledger_schedule *put = bed_put(bed, &s, 0);
        CU_ASSERT_FATAL(put->done);
        struct ledger_tick *t = bed_tick_batch("a", put->row.revision, 5);
        t->has_cancel = true;
        t->cancel = id;
        bed_must(bed, &t->base);
        CU_ASSERT(t->done && t->cancelled == CANCEL_DONE);
        ledger_batch_free(&t->base);
        owes_one(bed, &id, STATE_CANCELLED, REASON_OVERLAPPED, NULL);
        bed_free(bed);
}

static struct arrival asking_letter(struct bed *bed)
{
        struct arrival a = bed_letter(bed);
        a.row.headers = ASKS;
        return a;
}

static void by_a_letter_that_is_none(void)
{
        struct bed *bed = bed_new();
        struct arrival a = asking_letter(bed);
        a.start = false;
        a.row.state = STATE_DEAD;
        a.row.reason = REASON_MALFORMED;
        a.row.error_text = STR("job-priority: not a number");
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        owes_one(bed, &a.row.id, STATE_DEAD, REASON_MALFORMED, "not a number");
        bed_free(bed);
}

static void by_a_key_of_another(void)
{
        struct bed *bed = bed_new();
        struct submit_row first = bed_row(bed);
        first.key = key_from_text(STR("k"));
        first.unique = bed_unique("u");
        CU_ASSERT(bed_add(bed, &first) == SUBMIT_CREATED);
        struct arrival a = asking_letter(bed), b = asking_letter(bed), known = asking_letter(bed);
        a.row.key = known.row.key = first.key;
        a.row.payload = STR("other");
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_CONFLICT);
        owes_one(bed, &a.row.id, STATE_DEAD, REASON_ID_CONFLICT, "its key names job");
        b.row.unique = bed_unique("u");
        CU_ASSERT(bed_arrive_one(bed, &b) == ARRIVAL_DUPLICATE);
        owes_one(bed, &b.row.id, STATE_CANCELLED, REASON_DUPLICATE, "its unique key is held by");
        CU_ASSERT(bed_arrive_one(bed, &known) == ARRIVAL_KNOWN); /* its job goes on */
        CU_ASSERT(relay(bed)->n_replies == 0);
        bed_free(bed);
}

/* What runs is ended by a FINISH, which brings its reply with it. */
static void nothing_while_it_runs(void)
{
        struct bed *bed = bed_new();
        struct job_id id = add_asking(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED && relay(bed)->n_replies == 0);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_CANCELLED);
        v.reason = REASON_OPERATOR;
        CU_ASSERT(bed_finish_one(bed, v));
        fixture->advance(bed->store, OLDER);
        CU_ASSERT(relay(bed)->n_replies == 0);
        claim_free(c);
        bed_free(bed);
}

static void what_is_not_committed_owes_nothing(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                struct ledger_cancel *b = NEW(cancel, CANCEL);
                b->id = add_asking(bed);
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                CU_ASSERT(bed_resolve(bed, b->base.no) == (i == 1));
                ledger_batch_free(&b->base);
                CU_ASSERT(relay(bed)->n_replies == (uint32_t)i);
                bed_free(bed);
        }
}

/* Asked by a node that can carry nothing, and shall keep nobody else waiting. */
static void nothing_else_if_only_that_is_asked(void)
{
        struct bed *bed = bed_new();
        (void)bed_add_broker(bed);
        struct job_id id = add_asking(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        struct job_reply r = {.queue = STR("q"), .to = STR("x"), .job = id, .state = STATE_DEAD};
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_DEAD);
        v.reply = &r;
        CU_ASSERT(bed_finish_one(bed, v));
        fixture->advance(bed->store, OLDER);
        struct job_id other = add_asking(bed);
        CU_ASSERT(bed_cancel(bed, &other) == CANCEL_DONE);
        for (int i = 0; i < 3; i++) {
                struct ledger_relay *b = NEW(relay, RELAY);
                b->older_us = OLDER;
                b->limit = 10;
                b->owed_only = i < 2;
                bed_must(bed, &b->base);
                CU_ASSERT(b->n == (i == 2) && b->n_replies == 1 + (uint32_t)(i == 2));
                CU_ASSERT(i == 2 || job_id_eq(&b->replies[0].job, &other));
                ledger_batch_free(&b->base);
                fixture->advance(bed->store, OLDER);
        }
        claim_free(c);
        bed_free(bed);
}

CASES(cases_owed, {"by a cancel", by_a_cancel, 0},
      {"by a cancel of those that wait for a time", those_that_wait_for_a_time, 0},
      {"by a page of cancels", by_a_page_of_cancels, 0}, {"by a deadline", by_a_deadline, 0},
      {"by a bound", by_a_bound, 0}, {"by a schedule", by_a_schedule, 0},
      {"by a letter that is none", by_a_letter_that_is_none, 0},
      {"by a key of another", by_a_key_of_another, 0},
      {"nothing while it runs", nothing_while_it_runs, 0},
      {"nothing else if only that is asked", nothing_else_if_only_that_is_asked, 0},
      {"what is not committed owes nothing", what_is_not_committed_owes_nothing, NEED_FAULT});
