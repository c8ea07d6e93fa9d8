/*
 * Why a job is where it is: each code with the facts that lead to it, and the order in which they
 * are asked.
 */
#include "core/explain.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define NOW (INT64_C(1700000000) * US_PER_S)

struct scene { /* a job that nothing holds, on a node that serves it */
        struct job_row job;
        struct node_row nodes[3];
        struct queue_view queue;
        struct worker_view workers[4];
        struct explain_facts f;
        struct arena a;
        struct explanation e;
        char text[512];
};

static void set(struct scene *s)
{
        *s = (struct scene){.job = {.id = {{7}},
                                    .queue = STR("mail"),
                                    .type = STR("mail.send"),
                                    .state = STATE_PENDING,
                                    .attempt = 1,
                                    .max_attempts = 3,
                                    .created_us = NOW - 60 * US_PER_S}};
        s->nodes[0] = (struct node_row){.holder = 1,
                                        .host = STR("ant"),
                                        .serves = STR("noop\nmail.>"),
                                        .queues = STR("default\nmail"),
                                        .beat_us = NOW - US_PER_S};
        s->nodes[1] = (struct node_row){.holder = 2,
                                        .host = STR("bee"),
                                        .serves = STR("noop"),
                                        .queues = STR("default"),
                                        .beat_us = NOW};
        s->queue = (struct queue_view){.name = STR("mail")};
        for (uint32_t i = 0; i < 4; i++) {
                s->workers[i] = (struct worker_view){.worker = i, .state = WORKER_READY};
        }
        s->f = (struct explain_facts){.now_us = NOW,
                                      .job = &s->job,
                                      .self = 1,
                                      .nodes = s->nodes,
                                      .n_nodes = 2,
                                      .silent_us = 30 * US_PER_S,
                                      .queue = &s->queue,
                                      .queue_running = -1,
                                      .workers = s->workers,
                                      .n_workers = 4};
}

/* Explains it; its code and a part of its sentence must be these. */
static void expect(struct scene *s, enum explain_code code, const char *part)
{
        explain_job(&s->f, &s->a, &s->e);
        snprintf(s->text, sizeof s->text, "%.*s", (int)s->e.sentence.n, s->e.sentence.p);
        bool ok = s->e.code == code && strstr(s->text, part);
        if (!ok) {
                printf("\n  %s: %s (wanted %s: %s)", explain_name(s->e.code), s->text,
                       explain_name(code), part);
        }
        CU_ASSERT_TRUE(ok);
        arena_deinit(&s->a);
}

static const struct explain_detail *detail_of(const struct scene *s, const char *name)
{
        for (uint32_t i = 0; i < s->e.n_details; i++) {
                if (strcmp(s->e.details[i].name, name) == 0) {
                        return &s->e.details[i];
                }
        }
        return NULL;
}

static void test_what_has_ended(void)
{
        struct scene s;
        set(&s);
        s.job.state = STATE_COMPLETED;
        s.job.finished_us = NOW;
        expect(&s, EXPLAIN_COMPLETED, "completed at 2023-11-14T22:13:20Z, with attempt 1 of 3");
        s.job.state = STATE_DEAD;
        s.job.reason = REASON_EXHAUSTED;
        s.job.attempt = 3;
        s.job.last.error_text = STR("no such user\nmore");
        expect(&s, EXPLAIN_DEAD, "its attempts are spent, 3 of 3: no such user");
        CU_ASSERT_PTR_NULL(strstr(s.text, "more"));
        s.job.reason = REASON_EXPIRED;
        s.job.deadline_us = NOW - US_PER_S;
        expect(&s, EXPLAIN_EXPIRED, "by its deadline, 2023-11-14T22:13:19Z");
        s.job.reason = REASON_CRASHED;
        s.job.strikes = 3;
        expect(&s, EXPLAIN_DEAD, "3 workers ended while they ran it");
        s.job.reason = REASON_MALFORMED;
        expect(&s, EXPLAIN_DEAD, "(malformed)");
        s.job.state = STATE_CANCELLED;
        s.job.reason = REASON_OPERATOR;
        expect(&s, EXPLAIN_CANCELLED, "by an operator");
        s.job.reason = REASON_DUPLICATE;
        s.job.last.error_text = STR("its unique key is held by job X");
        expect(&s, EXPLAIN_DUPLICATE, "its unique key is held by job X");
}

static void test_what_runs(void)
{
        struct scene s;
        set(&s);
        s.job.state = STATE_RUNNING;
        s.job.holder = 1;
        s.job.started_us = NOW - 5 * US_PER_S;
        expect(&s, EXPLAIN_CLAIMED, "starts within moments");
        for (uint32_t i = 0; i < 4; i++) {
                s.workers[i].busy = true;
                s.workers[i].type = STR("report");
        }
        expect(
            &s, EXPLAIN_SLOTS_TAKEN,
            "All 4 slots of this node are taken, 4 of them by jobs of type report; it is claimed");
        s.workers[2].busy = true;
        s.workers[2].running = s.job.id;
        expect(&s, EXPLAIN_RUNNING,
               "It runs on node ant (0000000000000001), worker 2 since 2023-11-14T22:13:15Z, "
               "attempt 1 of 3.");
        CU_ASSERT(detail_of(&s, "worker") && detail_of(&s, "worker")->number == 2);
        s.job.has_progress = true;
        s.job.done = 30;
        s.job.total = 120;
        expect(&s, EXPLAIN_RUNNING, "30 of 120 done (25 %)");
        s.job.cancel_asked = true;
        expect(&s, EXPLAIN_CANCEL_ASKED, "was asked to stop");
        s.job.holder = 2; /* elsewhere: its worker is not known here */
        s.job.cancel_asked = false;
        expect(&s, EXPLAIN_RUNNING, "on node bee (0000000000000002) since");
        s.nodes[1].dead = true;
        expect(&s, EXPLAIN_NODE_LOST, "gone or silent");
        s.job.holder = 99;
        expect(&s, EXPLAIN_NODE_LOST, "(0000000000000063)");
}

static void test_what_waits_for_its_time(void)
{
        struct scene s;
        set(&s);
        s.job.state = STATE_SCHEDULED;
        s.job.due_us = NOW + 150 * US_PER_S;
        expect(&s, EXPLAIN_SCHEDULED, "until 2023-11-14T22:15:50Z (2 min)");
        CU_ASSERT(detail_of(&s, "due") && detail_of(&s, "due")->number == s.job.due_us);
        s.job.reason = REASON_SNOOZED;
        expect(&s, EXPLAIN_SCHEDULED, "put it off");
        s.job.state = STATE_RETRYING;
        s.job.reason = REASON_NONE;
        s.job.last.error_text = STR("timeout");
        expect(&s, EXPLAIN_RETRYING, "for its retry, attempt 2 of 3: timeout");
        s.job.due_us = NOW - 1;
        expect(&s, EXPLAIN_DUE, "has come");
}

/* Each fact is mended in turn: the next one shows. */
static void test_the_first_that_fails_is_the_answer(void)
{
        struct scene s;
        set(&s);
        s.queue = (struct queue_view){.name = STR("mail"), .paused = true};
        s.nodes[0].dead = s.nodes[1].dead = true;
        s.job.ahead = 12;
        expect(&s, EXPLAIN_PAUSED, "queue mail is paused");
        s.queue.paused = false;
        expect(&s, EXPLAIN_NO_NODE, "No node is up");
        s.nodes[1].dead = false;
        expect(&s, EXPLAIN_QUEUE_NOT_SERVED, "queue mail");
        s.nodes[1].queues = STR("mail");
        expect(&s, EXPLAIN_NO_HANDLER, "No node has a handler for type mail.send");
        s.nodes[0].dead = false;
        s.nodes[0].queues = STR("default");
        expect(&s, EXPLAIN_NO_HANDLER, "(with the queue: 1, with a handler: 1)");
        s.nodes[1].serves = STR("mail.*");
        expect(&s, EXPLAIN_ELSEWHERE, "Node bee (0000000000000002) serves it");
        s.nodes[0].queues = STR("mail");
        s.queue.global = 5;
        s.f.queue_running = 5;
        expect(&s, EXPLAIN_GLOBAL_LIMIT, "may run 5 jobs at once");
        s.f.queue_running = 4;
        for (uint32_t i = 0; i < 4; i++) {
                s.workers[i].busy = true;
                s.workers[i].type = i < 3 ? STR("report") : STR("noop");
        }
        expect(&s, EXPLAIN_SLOTS_TAKEN,
               "All 4 slots of this node are taken, 3 of them by jobs of type report; 12 jobs of "
               "its queue are before it");
        CU_ASSERT(detail_of(&s, "taken_by") &&
                  str_eq(detail_of(&s, "taken_by")->text, STR("report")));
        s.workers[0].busy = false;
        expect(&s, EXPLAIN_BEHIND, "12 jobs");
        s.job.ahead = 0;
        expect(&s, EXPLAIN_READY, "Nothing holds it");
}

static void test_its_queues_own_slots(void)
{
        struct scene s;
        set(&s);
        s.queue.concurrency = 2;
        s.queue.busy = 2;
        s.workers[0].busy = s.workers[1].busy = true;
        s.workers[0].type = s.workers[1].type = STR("mail.send");
        expect(&s, EXPLAIN_SLOTS_TAKEN, "All 2 slots that its queue has on this node");
        s.queue.concurrency = s.queue.busy = 1;
        s.job.ahead = 1;
        expect(&s, EXPLAIN_SLOTS_TAKEN,
               "The only slot that its queue has on this node is taken by a job of type mail.send; "
               "one job of its queue is before it.");
        s.f.n_workers = 0;
        s.queue.concurrency = 0;
        expect(&s, EXPLAIN_NO_WORKER, "No worker of this node is up");
}

static void test_what_is_in_the_broker(void)
{
        struct scene s;
        set(&s);
        s.job.band = BAND_BROKER;
        s.queue.transport = STR("rabbit");
        expect(&s, EXPLAIN_TRANSPORT_DOWN, "rabbit, which is down");
        s.queue.transport_up = true;
        s.queue.not_consumed = STR("10000 of its jobs wait for a handler");
        expect(&s, EXPLAIN_NOT_CONSUMED, "not consumed here: 10000 of its jobs");
        s.queue.not_consumed = STR("");
        expect(&s, EXPLAIN_IN_BROKER,
               "in queue mail of transport rabbit since 2023-11-14T22:12:20Z");
}

static void test_what_is_parked(void)
{
        struct scene s;
        set(&s);
        s.job.band = BAND_PARKED;
        s.job.reason = REASON_NO_HANDLER;
        expect(&s, EXPLAIN_PARKED, "one is there by now");
        s.nodes[0].serves = STR("noop");
        expect(&s, EXPLAIN_NO_HANDLER, "mail.send");
        s.job.reason = REASON_NO_QUEUE;
        expect(&s, EXPLAIN_NO_QUEUE, "No queue takes jobs of type mail.send");
}

static void test_a_silent_node_is_not_counted_on(void)
{
        struct scene s;
        set(&s);
        s.nodes[0].beat_us = NOW - 31 * US_PER_S;
        expect(&s, EXPLAIN_QUEUE_NOT_SERVED, "No node has queue mail");
        s.f.silent_us = 0;
        expect(&s, EXPLAIN_READY, "");
}

static void test_every_code_has_a_name_of_its_own(void)
{
        for (unsigned i = 0; i <= EXPLAIN_READY; i++) {
                CU_ASSERT(strcmp(explain_name(i), "?") != 0);
                for (unsigned k = 0; k < i; k++) {
                        CU_ASSERT(strcmp(explain_name(i), explain_name(k)) != 0);
                }
        }
        CU_ASSERT_STRING_EQUAL(explain_name(EXPLAIN_READY + 1), "?");
}

UNIT_TESTS = {
    {"what has ended", test_what_has_ended},
    {"what runs", test_what_runs},
    {"what waits for its time", test_what_waits_for_its_time},
    {"the first that fails is the answer", test_the_first_that_fails_is_the_answer},
    {"its queue's own slots", test_its_queues_own_slots},
    {"what is in the broker", test_what_is_in_the_broker},
    {"what is parked", test_what_is_parked},
    {"a silent node is not counted on", test_a_silent_node_is_not_counted_on},
    {"every code has a name of its own", test_every_code_has_a_name_of_its_own},
};
UNIT_MAIN("explain")
