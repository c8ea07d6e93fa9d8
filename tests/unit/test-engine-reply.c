/*
 * Replies: written with the verdict that ends the job, sent once it is durable, and again until a
 * broker has confirmed them.
 */
#include "tests/unit/engine-desk.h"

static const struct handler_desc noop = {.pattern = STR("noop"), .timeout_ms = 0};

static const char headers[] = "reply-to\0answers.7\0correlation-id\0c-1\0x-other\0y";

static void brokered(struct config *c)
{
        c->queues[0].transport = STR("rabbit");
}

static void transport_goes(struct desk *d, enum transport_change change)
{
        struct engine_event ev = {.kind = EV_TRANSPORT};
        ev.transport.change = change;
        ev.transport.name = STR("rabbit");
        tell(d, ev);
}

/* A desk with one job that wants a reply, given to the worker. */
static void open_asked(struct desk *d, void (*configure)(struct config *c))
{
        open_desk_with(d, noop, 1, configure);
        struct ledger_batch *b = take_posted(d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct claim *c = LEDGER_AS(claim, CLAIM, b)->got;
        fill_claim(d, c, 1);
        c->jobs[0].headers = (struct str){headers, sizeof headers};
        answer(d, b, LEDGER_COMMITTED);
}

static struct ledger_finish *end_with(struct desk *d, struct verdict v)
{
        struct engine_event ev = {.kind = EV_VERDICTS};
        v.run_ns = 1000;
        v.started_wall_us = d->now.wall_us;
        ev.verdicts.n = 1;
        ev.verdicts.list = &v;
        tell(d, ev);
        struct ledger_batch *b = take_posted(d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return LEDGER_AS(finish, FINISH, b);
}

static void test_a_result_goes_to_whoever_asked(void)
{
        struct desk d;
        open_asked(&d, brokered);
        transport_goes(&d, CHANGE_UP);
        struct ledger_finish *f = end_with(&d, (struct verdict){.kind = VERDICT_DONE,
                                                                .result = STR("42"),
                                                                .result_type = STR("text/plain")});
        struct job_reply *r = f->rows[0].reply;
        CU_ASSERT_PTR_NOT_NULL_FATAL(r);
        CU_ASSERT(str_eq(r->to, STR("answers.7")) && str_eq(r->correlation_id, STR("c-1")));
        CU_ASSERT(str_eq(r->body, STR("42")) && str_eq(r->content_type, STR("text/plain")));
        CU_ASSERT(r->state == STATE_COMPLETED && str_eq(r->queue, STR("default")));
        CU_ASSERT_PTR_NULL(told(&d, ACT_REPLY)); /* not before it is durable */
        r->no = 31;
        answer(&d, &f->base, LEDGER_COMMITTED);
        const struct engine_action *a = told(&d, ACT_REPLY);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT_TRUE(str_eq(a->transport, STR("rabbit")));
        struct replies *out = a->replies;
        CU_ASSERT(out->n == 1 && out->items[0].no == 31 && str_eq(out->items[0].body, STR("42")));
        out->confirmed = true;
        tell(&d, (struct engine_event){.kind = EV_REPLIED, .replies = out});
        struct ledger_batch *rung = take_posted(&d, LEDGER_RUNG);
        CU_ASSERT_PTR_NOT_NULL_FATAL(rung);
        CU_ASSERT(LEDGER_AS(rung, RUNG, rung)->n_replies == 1 &&
                  LEDGER_AS(rung, RUNG, rung)->replies[0] == 31);
        answer(&d, rung, LEDGER_REFUSED); /* then it is told again */
        pass_time(&d, 600);
        rung = take_posted(&d, LEDGER_RUNG);
        CU_ASSERT(rung && LEDGER_AS(rung, RUNG, rung)->n_replies == 1);
        answer(&d, rung, LEDGER_COMMITTED);
        struct engine_view v;
        engine_look(d.engine, &v);
        CU_ASSERT_EQUAL(v.replies, 1);
        close_desk(&d);
}

static void test_a_failure_is_told_as_json(void)
{
        struct desk d;
        open_asked(&d, brokered);
        struct ledger_finish *f = end_with(
            &d, (struct verdict){.kind = VERDICT_DEAD, .text = STR("no \"such\"\n\xff user")});
        struct job_reply *r = f->rows[0].reply;
        CU_ASSERT_PTR_NOT_NULL_FATAL(r);
        CU_ASSERT(r->state == STATE_DEAD && r->reason == REASON_REJECTED);
        CU_ASSERT_TRUE(str_eq(r->content_type, STR("application/json")));
        CU_ASSERT_TRUE(str_eq(r->body, STR("{\"error\":{\"class\":\"rejected\",\"text\":\"no "
                                           "\\\"such\\\"\\u000a? user\"}}")));
        answer(&d, &f->base, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(told(&d, ACT_REPLY)); /* its transport is down: it stays in the ledger */
        close_desk(&d);
}

static void test_a_job_that_goes_on_has_no_reply_yet(void)
{
        struct desk d;
        open_asked(&d, brokered);
        struct ledger_finish *f = end_with(&d, (struct verdict){.kind = VERDICT_RETRY});
        CU_ASSERT(f->rows[0].to == STATE_RETRYING && !f->rows[0].reply);
        answer(&d, &f->base, LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_a_letters_own_headers_come_first(void)
{
        static const char both[] =
            "correlation-id\0c-1\0job-correlation-id\0c-2\0reply-to\0a\0job-reply-to\0b";
        struct desk d;
        open_desk_with(&d, noop, 1, brokered);
        struct ledger_batch *b = take_posted(&d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        fill_claim(&d, LEDGER_AS(claim, CLAIM, b)->got, 1);
        LEDGER_AS(claim, CLAIM, b)->got->jobs[0].headers = (struct str){both, sizeof both};
        answer(&d, b, LEDGER_COMMITTED);
        struct ledger_finish *f = end_with(&d, (struct verdict){.kind = VERDICT_DONE});
        const struct job_reply *r = f->rows[0].reply;
        CU_ASSERT_PTR_NOT_NULL_FATAL(r);
        CU_ASSERT(str_eq(r->to, STR("b")) && str_eq(r->correlation_id, STR("c-2")));
        answer(&d, &f->base, LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_a_stale_verdict_sends_nothing(void)
{
        struct desk d;
        open_asked(&d, brokered);
        transport_goes(&d, CHANGE_UP);
        struct ledger_finish *f = end_with(&d, (struct verdict){.kind = VERDICT_DONE});
        f->rows[0].stale = true;
        f->stale = 1;
        answer(&d, &f->base, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(told(&d, ACT_REPLY));
        close_desk(&d);
}

static void test_a_queue_without_transport_says_so_once(void)
{
        struct desk d;
        open_asked(&d, NULL);
        struct ledger_finish *f = end_with(&d, (struct verdict){.kind = VERDICT_DONE});
        CU_ASSERT_PTR_NULL(f->rows[0].reply);
        const struct engine_action *note = told(&d, ACT_NOTE);
        CU_ASSERT(note && memmem(note->text.p, note->text.n, "replies", 7));
        answer(&d, &f->base, LEDGER_COMMITTED);
        close_desk(&d);
}

static void test_what_was_not_confirmed_is_relayed(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, brokered);
        transport_goes(&d, CHANGE_UP);
        struct ledger_batch *b = take_posted(&d, LEDGER_RELAY);
        for (int i = 0; i < 100 && !b; i++) {
                pass_time(&d, 100);
                b = take_posted(&d, LEDGER_RELAY);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct job_reply rows[2] = {
            {.no = 5, .queue = STR("default"), .to = STR("a"), .state = STATE_COMPLETED},
            {.no = 6, .queue = STR("nobody's"), .to = STR("b"), .state = STATE_DEAD}};
        LEDGER_AS(relay, RELAY, b)->replies = rows;
        LEDGER_AS(relay, RELAY, b)->n_replies = 2;
        answer(&d, b, LEDGER_COMMITTED);
        const struct engine_action *a = told(&d, ACT_REPLY);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT(a->replies->n == 1 && a->replies->items[0].no == 5);
        struct replies *out = a->replies; /* not confirmed: nothing is told */
        tell(&d, (struct engine_event){.kind = EV_REPLIED, .replies = out});
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_RUNG));
        close_desk(&d);
}

static struct ledger_relay *next_relay(struct desk *d)
{
        struct ledger_batch *b = take_posted(d, LEDGER_RELAY);
        for (int i = 0; i < 100 && !b; i++) {
                pass_time(d, 100);
                b = take_posted(d, LEDGER_RELAY);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return LEDGER_AS(relay, RELAY, b);
}

static struct job_reply owed_reply(int64_t no, enum job_state state, enum job_reason reason)
{
        return (struct job_reply){.no = no,
                                  .queue = STR("default"),
                                  .state = state,
                                  .reason = reason,
                                  .headers = {headers, sizeof headers}};
}

static void test_what_is_owed_is_addressed(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, brokered);
        transport_goes(&d, CHANGE_UP);
        struct ledger_relay *b = next_relay(&d);
        struct job_reply rows[] = {owed_reply(5, STATE_CANCELLED, REASON_OPERATOR),
                                   owed_reply(6, STATE_DEAD, REASON_MALFORMED)};
        rows[1].error_text = STR("job-priority: \"x\"");
        b->replies = rows;
        b->n_replies = 2;
        answer(&d, &b->base, LEDGER_COMMITTED);
        const struct engine_action *a = told(&d, ACT_REPLY);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT_EQUAL_FATAL(a->replies->n, 2);
        const struct job_reply *r = a->replies->items;
        CU_ASSERT(r[0].no == 5 && str_eq(r[0].to, STR("answers.7")));
        CU_ASSERT(str_eq(r[0].correlation_id, STR("c-1")));
        CU_ASSERT_TRUE(str_eq(r[0].body, STR("{\"error\":{\"class\":\"operator\",\"text\":"
                                             "\"it was cancelled before it ran\"}}")));
        CU_ASSERT_TRUE(str_eq(r[1].body, STR("{\"error\":{\"class\":\"malformed\",\"text\":"
                                             "\"job-priority: \\\"x\\\"\"}}")));
        CU_ASSERT_TRUE(str_eq(r[1].content_type, STR("application/json")));
        a->replies->confirmed = true;
        tell(&d, (struct engine_event){.kind = EV_REPLIED, .replies = a->replies});
        struct ledger_batch *rung = take_posted(&d, LEDGER_RUNG);
        CU_ASSERT(rung && LEDGER_AS(rung, RUNG, rung)->n_replies == 2);
        answer(&d, rung, LEDGER_COMMITTED);
        close_desk(&d);
}

/* Else they would come again for ever. */
static void test_what_is_owed_to_nobody_goes(void)
{
        static const char none[] = "x-reply-to\0a";
        struct desk d;
        open_desk_with(&d, noop, 1, brokered);
        transport_goes(&d, CHANGE_UP);
        struct ledger_relay *b = next_relay(&d);
        struct job_reply row = owed_reply(7, STATE_CANCELLED, REASON_OPERATOR);
        row.headers = (struct str){none, sizeof none};
        b->replies = &row;
        b->n_replies = 1;
        answer(&d, &b->base, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(told(&d, ACT_REPLY));
        struct ledger_batch *rung = take_posted(&d, LEDGER_RUNG);
        CU_ASSERT_PTR_NOT_NULL_FATAL(rung);
        CU_ASSERT(LEDGER_AS(rung, RUNG, rung)->replies[0] == 7);
        answer(&d, rung, LEDGER_COMMITTED);
        close_desk(&d);
}

/* Nobody shall wait for the next round of RELAY to hear of a cancel. */
static void test_a_cancel_asks_for_what_is_owed(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, brokered);
        transport_goes(&d, CHANGE_UP);
        answer(&d, &next_relay(&d)->base, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_RELAY));
        tell(&d, (struct engine_event){.kind = EV_CANCEL});
        struct ledger_batch *c = take_posted(&d, LEDGER_CANCEL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(c);
        LEDGER_AS(cancel, CANCEL, c)->result = CANCEL_DONE;
        answer(&d, c, LEDGER_COMMITTED);
        ledger_batch_free(told(&d, ACT_CANCEL_ANSWER)->batch);
        struct ledger_batch *b = take_posted(&d, LEDGER_RELAY);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        answer(&d, b, LEDGER_COMMITTED);
        close_desk(&d);
}

UNIT_TESTS = {
    {"a result goes to whoever asked", test_a_result_goes_to_whoever_asked},
    {"a failure is told as JSON", test_a_failure_is_told_as_json},
    {"a job that goes on has no reply yet", test_a_job_that_goes_on_has_no_reply_yet},
    {"a letter's own headers come first", test_a_letters_own_headers_come_first},
    {"a stale verdict sends nothing", test_a_stale_verdict_sends_nothing},
    {"a queue without transport says so once", test_a_queue_without_transport_says_so_once},
    {"what was not confirmed is relayed", test_what_was_not_confirmed_is_relayed},
    {"what is owed is addressed", test_what_is_owed_is_addressed},
    {"what is owed to nobody goes", test_what_is_owed_to_nobody_goes},
    {"a cancel asks for what is owed", test_a_cancel_asks_for_what_is_owed},
};
UNIT_MAIN("engine-reply")
