/*
 * Replies: written with the end of a job, brought by RELAY until RUNG says that they arrived.
 */
#include "tests/conformance/bed_life.h"

#define OLDER (5 * SECOND)

static const struct ledger_relay *relay(struct bed *bed, uint32_t limit)
{
        struct ledger_relay *b = NEW(relay, RELAY);
        b->older_us = OLDER;
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static void rung(struct bed *bed, int64_t *replies, uint32_t n)
{
        struct ledger_rung *b = NEW(rung, RUNG);
        b->replies = replies;
        b->n_replies = n;
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
}

static struct job_reply reply_for(const struct job *j)
{
        return (struct job_reply){
            .queue = STR("q"),
            .to = STR("amq.gen-1"),
            .correlation_id = STR("c-1"),
            .content_type = STR("application/json"),
            .body = {"{\0}", 3},
            .job = j->id,
            .state = STATE_COMPLETED,
        };
}

/* Ends a new job with a reply; returns the reply's number. */
static int64_t reply_one(struct bed *bed)
{
        (void)bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        struct job_reply r = reply_for(&c->jobs[0]);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
        v.reply = &r;
        CU_ASSERT(bed_finish_one(bed, v));
        CU_ASSERT(r.no != 0);
        claim_free(c);
        return r.no;
}

static void same_reply(const struct job_reply *a, const struct job_reply *b)
{
        CU_ASSERT(a->no == b->no && str_eq(a->queue, b->queue) && str_eq(a->to, b->to));
        CU_ASSERT(str_eq(a->correlation_id, b->correlation_id));
        CU_ASSERT(str_eq(a->content_type, b->content_type) && str_eq(a->body, b->body));
        CU_ASSERT(job_id_eq(&a->job, &b->job) && a->state == b->state && a->reason == b->reason);
        CU_ASSERT(str_eq(a->error_text, b->error_text));
}

static void is_relayed_until_it_is_rung(void)
{
        struct bed *bed = bed_new();
        (void)bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        struct job_reply r = reply_for(&c->jobs[0]);
        r.state = STATE_DEAD;
        r.reason = REASON_REJECTED;
        r.error_text = STR("bad address");
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_DEAD);
        v.error = ERROR_REJECTED;
        v.reply = &r;
        CU_ASSERT(bed_finish_one(bed, v) && r.no != 0);
        CU_ASSERT(relay(bed, 10)->n_replies == 0); /* somebody is at it */
        for (int i = 0; i < 2; i++) {
                fixture->advance(bed->store, OLDER);
                const struct ledger_relay *b = relay(bed, 10);
                CU_ASSERT_FATAL(b->n_replies == 1 && b->n == 0);
                same_reply(&b->replies[0], &r);
                CU_ASSERT(relay(bed, 10)->n_replies == 0); /* put off */
        }
        rung(bed, &r.no, 1);
        fixture->advance(bed->store, OLDER);
        CU_ASSERT(relay(bed, 10)->n_replies == 0);
        rung(bed, &r.no, 1); /* again: no harm */
        claim_free(c);
        bed_free(bed);
}

static void plain_replies_may_be_empty(void)
{
        struct bed *bed = bed_new();
        (void)bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        struct job_reply r = {
            .queue = STR("q"), .to = STR("x"), .job = c->jobs[0].id, .state = STATE_COMPLETED};
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
        v.reply = &r;
        CU_ASSERT(bed_finish_one(bed, v));
        fixture->advance(bed->store, OLDER);
        const struct ledger_relay *b = relay(bed, 10);
        CU_ASSERT_FATAL(b->n_replies == 1);
        same_reply(&b->replies[0], &r);
        claim_free(c);
        bed_free(bed);
}

static void a_stale_verdict_writes_none(void)
{
        struct bed *bed = bed_new();
        (void)bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        struct job_reply r = reply_for(&c->jobs[0]);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
        v.token ^= 1;
        v.reply = &r;
        CU_ASSERT(!bed_finish_one(bed, v));
        fixture->advance(bed->store, OLDER);
        CU_ASSERT(relay(bed, 10)->n_replies == 0);
        claim_free(c);
        bed_free(bed);
}

static void numbers_are_never_given_twice(void)
{
        struct bed *bed = bed_new();
        int64_t first = reply_one(bed), second = reply_one(bed);
        CU_ASSERT(first != second);
        rung(bed, &second, 1);
        rung(bed, &first, 1);
        int64_t third = reply_one(bed);
        CU_ASSERT(third != first && third != second);
        int64_t old[] = {first, second};
        rung(bed, old, 2); /* late, and for others */
        fixture->advance(bed->store, OLDER);
        CU_ASSERT(relay(bed, 10)->n_replies == 1);
        bed_free(bed);
}

static void pages_and_other_nodes(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        for (int i = 0; i < 5; i++) {
                (void)reply_one(bed);
        }
        fixture->advance(bed->store, OLDER);
        uint32_t a = relay(bed, 3)->n_replies, b = relay(other, 10)->n_replies;
        CU_ASSERT(a <= 3 && a > 0 && a + b == 5);
        CU_ASSERT(relay(bed, 10)->n_replies == 0);
        bed_free(other);
        bed_free(bed);
}

static void doorbells_and_replies_in_one(void)
{
        struct bed *bed = bed_new();
        (void)bed_add_broker(bed);
        int64_t no = reply_one(bed);
        fixture->advance(bed->store, OLDER);
        const struct ledger_relay *b = relay(bed, 10);
        CU_ASSERT_FATAL(b->n == 1 && b->n_replies == 1);
        struct ledger_rung *r = NEW(rung, RUNG);
        int64_t row = b->rows[0].no;
        r->rows = &row;
        r->n = 1;
        r->replies = &no;
        r->n_replies = 1;
        bed_must(bed, &r->base);
        ledger_batch_free(&r->base);
        fixture->advance(bed->store, OLDER);
        b = relay(bed, 10);
        CU_ASSERT(b->n == 0 && b->n_replies == 0);
        bed_free(bed);
}

/* The answer was lost: RELAY finds the reply, if the verdict was written. */
static void an_unknown_verdict_keeps_its_reply(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                (void)bed_add_one(bed);
                struct claim *c = bed_claim(bed, 1);
                struct job_reply r = reply_for(&c->jobs[0]);
                struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
                v.reply = &r;
                struct ledger_finish *b = bed_finish_batch(&v, 1);
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                CU_ASSERT(bed_resolve(bed, b->base.no) == (i == 1));
                ledger_batch_free(&b->base);
                fixture->advance(bed->store, OLDER);
                const struct ledger_relay *got = relay(bed, 10);
                CU_ASSERT_FATAL(got->n_replies == (uint32_t)i);
                CU_ASSERT(!i || job_id_eq(&got->replies[0].job, &r.job));
                claim_free(c);
                bed_free(bed);
        }
}

/* The store refused what the handler left: who waits for it is told the truth. */
static void a_refused_result_is_told(void)
{
        static char large[RESULT_MAX + 1];
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        struct job_reply r = reply_for(&c->jobs[0]);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
        v.result = (struct str){large, sizeof large};
        v.reply = &r;
        CU_ASSERT(bed_finish_one(bed, v));
        CU_ASSERT(bed_show(bed, &id)->reason == REASON_UNSTORABLE);
        fixture->advance(bed->store, OLDER);
        const struct ledger_relay *b = relay(bed, 10);
        CU_ASSERT_FATAL(b->n_replies == 1);
        CU_ASSERT(b->replies[0].state == STATE_DEAD && b->replies[0].body.n == 0);
        CU_ASSERT(b->replies[0].reason == REASON_UNSTORABLE);
        claim_free(c);
        bed_free(bed);
}

CASES(cases_reply, {"is relayed until it is rung", is_relayed_until_it_is_rung, 0},
      {"plain replies may be empty", plain_replies_may_be_empty, 0},
      {"a stale verdict writes none", a_stale_verdict_writes_none, 0},
      {"numbers are never given twice", numbers_are_never_given_twice, 0},
      {"pages and other nodes", pages_and_other_nodes, NEED_SHARE},
      {"an unknown verdict keeps its reply", an_unknown_verdict_keeps_its_reply, NEED_FAULT},
      {"a refused result is told", a_refused_result_is_told, 0},
      {"doorbells and replies in one", doorbells_and_replies_in_one, 0});
