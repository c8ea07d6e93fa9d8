/*
 * Reconciling on request: the mark's way out and back, the sweep, and what is said of queues that
 * could not be looked at.
 */
#include "tests/unit/engine-desk.h"

static void two_brokered(struct config *c)
{
        struct queue_config *q;
        c->queues[0].transport = STR("rabbit");
        CU_ASSERT_EQUAL_FATAL(config_queue_add(c, STR("mail"), &q), 0);
        q->transport = STR("rabbit");
        CU_ASSERT_EQUAL_FATAL(config_queue_add(c, STR("plain"), &q), 0);
}

static void one_brokered(struct config *c)
{
        c->queues[0].transport = STR("rabbit");
}

static void transport_goes(struct desk *d, enum transport_change change, uint32_t queue)
{
        struct engine_event ev = {.kind = EV_TRANSPORT};
        ev.transport.change = change;
        ev.transport.name = STR("rabbit");
        ev.transport.queue = queue;
        tell(d, ev);
}

static void open_with(struct desk *d, void (*configure)(struct config *c))
{
        open_desk_with(d, (struct handler_desc){.pattern = STR("noop")}, 1, configure);
        transport_goes(d, CHANGE_UP, 0);
        struct ledger_batch *b; /* the tide's own */
        while ((b = take_posted(d, LEDGER_TIDE))) {
                answer(d, b, LEDGER_COMMITTED);
        }
}

static void reconcile(struct desk *d, void *cookie)
{
        struct engine_event ev = {.kind = EV_RECONCILE};
        ev.cookie = cookie;
        tell(d, ev);
}

static struct ledger_tide *take_tide(struct desk *d, const char *queue)
{
        for (uint32_t i = 0; i < d->n_posted; i++) {
                struct ledger_batch *b = d->posted[i];
                if (b->op == LEDGER_TIDE && b->cookie &&
                    str_eq(LEDGER_AS(tide, TIDE, b)->queue, str_of(queue))) {
                        d->posted[i] = d->posted[--d->n_posted];
                        return LEDGER_AS(tide, TIDE, b);
                }
        }
        return NULL;
}

/* Answers the look; returns the place of the mark that was rung. */
static int64_t answer_look(struct desk *d, const char *queue, int64_t last)
{
        struct ledger_tide *t = take_tide(d, queue);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t);
        CU_ASSERT_EQUAL(t->limit, 0);
        t->last = last;
        answer(d, &t->base, LEDGER_COMMITTED);
        const struct engine_action *ring = told(d, ACT_RING);
        CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
        int64_t seq = ring->bells->items[0].seq;
        CU_ASSERT_EQUAL(ring->bells->n, 1);
        doorbells_free(ring->bells);
        return seq;
}

/* The broker brings a mark. */
static void bring_mark(struct desk *d, uint32_t queue, int64_t seq)
{
        struct arrivals *a = arrivals_new(1);
        a->n = 1;
        a->queue = queue;
        a->connection = 1;
        a->items[0] = (struct arrival){.kind = ARRIVAL_MARK, .seq = seq};
        tell(d, (struct engine_event){.kind = EV_ARRIVALS, .arrivals = a});
        answer(d, take_posted(d, LEDGER_ARRIVE), LEDGER_COMMITTED);
}

static void answer_sweep(struct desk *d, const char *queue, int64_t below, uint32_t moved,
                         bool more)
{
        struct ledger_tide *t = take_tide(d, queue);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t);
        CU_ASSERT(t->below == below && t->older_us == 0 && t->limit == 1000);
        t->moved = moved;
        t->more = more;
        answer(d, &t->base, LEDGER_COMMITTED);
}

static const struct reconciled *reconciled(const struct desk *d, const void *cookie)
{
        const struct engine_action *a = told(d, ACT_RECONCILED);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT_PTR_EQUAL(a->cookie, cookie);
        return a->reconciled;
}

static void test_what_its_mark_passed_is_offered(void)
{
        static int cookie;
        struct desk d;
        open_with(&d, one_brokered);
        reconcile(&d, &cookie);
        int64_t seq = answer_look(&d, "default", 40);
        CU_ASSERT_EQUAL(seq, 41);
        CU_ASSERT_PTR_NULL(take_tide(&d, "default")); /* not before it is back */
        bring_mark(&d, 0, seq);
        answer_sweep(&d, "default", 41, 1000, true);
        answer_sweep(&d, "default", 41, 5, false);
        const struct reconciled *r = reconciled(&d, &cookie);
        CU_ASSERT(r->n == 1 && r->queues[0].looked && r->queues[0].found == 1005);
        close_desk(&d);
}

static void test_an_empty_queue_needs_no_mark(void)
{
        static int cookie;
        struct desk d;
        open_with(&d, one_brokered);
        reconcile(&d, &cookie);
        answer_look(&d, "default", 40);
        transport_goes(&d, CHANGE_EMPTY, 0); /* may have been seen before the mark went in */
        CU_ASSERT_PTR_NULL(take_tide(&d, "default"));
        transport_goes(&d, CHANGE_EMPTY, 0);
        answer_sweep(&d, "default", 41, 3, false);
        CU_ASSERT_EQUAL(reconciled(&d, &cookie)->queues[0].found, 3);
        close_desk(&d);
}

static void test_each_brokered_queue_is_looked_at(void)
{
        static int cookie;
        struct desk d;
        open_with(&d, two_brokered);
        reconcile(&d, &cookie);
        answer_look(&d, "default", 10);
        int64_t seq = answer_look(&d, "mail", 20);
        bring_mark(&d, 1, seq);
        answer_sweep(&d, "mail", 21, 2, false);
        CU_ASSERT_PTR_NULL(told(&d, ACT_RECONCILED)); /* default's mark is still out */
        pass_time(&d, 56000);
        const struct reconciled *r = reconciled(&d, &cookie);
        CU_ASSERT_EQUAL_FATAL(r->n, 2); /* plain has no broker */
        CU_ASSERT(!r->queues[0].looked && r->queues[0].why.n > 0);
        CU_ASSERT(r->queues[1].looked && r->queues[1].found == 2);
        const struct engine_action *ring = told(&d, ACT_RING);
        if (ring) {
                doorbells_free(ring->bells);
        }
        close_desk(&d);
}

static void test_a_transport_that_is_down_is_said_to_be(void)
{
        static int cookie;
        struct desk d;
        open_with(&d, one_brokered);
        transport_goes(&d, CHANGE_DOWN, 0);
        reconcile(&d, &cookie);
        const struct reconciled *r = reconciled(&d, &cookie);
        CU_ASSERT(r->n == 1 && !r->queues[0].looked);
        CU_ASSERT_TRUE(str_eq(r->queues[0].why, STR("its transport is down")));
        close_desk(&d);
}

static void test_who_comes_later_gets_a_run_of_its_own(void)
{
        static int first, second;
        struct desk d;
        open_with(&d, one_brokered);
        reconcile(&d, &first);
        answer_look(&d, "default", 40);
        reconcile(&d, &second);
        bring_mark(&d, 0, 41);
        answer_sweep(&d, "default", 41, 0, false);
        reconciled(&d, &first);
        pass_time(&d, 1);
        CU_ASSERT_EQUAL(answer_look(&d, "default", 50), 51);
        bring_mark(&d, 0, 51);
        answer_sweep(&d, "default", 51, 0, false);
        reconciled(&d, &second);
        close_desk(&d);
}

/* What is rung meanwhile gets lost. */
static void pass_silently(struct desk *d, int64_t ms)
{
        pass_time(d, ms);
        const struct engine_action *ring = told(d, ACT_RING);
        if (ring) {
                doorbells_free(ring->bells);
        }
}

static void test_who_comes_later_is_answered_in_time_too(void)
{
        static int first, second, third;
        struct desk d;
        open_with(&d, one_brokered);
        reconcile(&d, &first);
        (void)answer_look(&d, "default", 7); /* its mark is lost */
        pass_silently(&d, 20000);
        reconcile(&d, &second);
        pass_silently(&d, 20000);
        reconcile(&d, &third);
        pass_silently(&d, 16000);
        CU_ASSERT_FALSE(reconciled(&d, &first)->queues[0].looked);
        CU_ASSERT(engine_wake_ns(d.engine) <= d.now.mono_ns + 24 * NS_PER_S);
        pass_silently(&d, 20000); /* both are due: the later one does not wait for a third run */
        uint32_t answers = 0;
        for (uint32_t i = 0; i < d.n_last; i++) {
                answers += d.last[i].kind == ACT_RECONCILED;
        }
        CU_ASSERT_EQUAL(answers, 2);
        close_desk(&d);
}

static void test_a_node_without_brokers_answers_at_once(void)
{
        static int cookie;
        struct desk d;
        open_desk(&d);
        reconcile(&d, &cookie);
        CU_ASSERT_EQUAL(reconciled(&d, &cookie)->n, 0);
        close_desk(&d);
}

/* Whatever the ledger does, whoever asked is answered. */
static void test_a_ledger_that_hangs_is_not_waited_for(void)
{
        static int cookie;
        struct desk d;
        open_with(&d, one_brokered);
        reconcile(&d, &cookie);
        struct ledger_tide *t = take_tide(&d, "default");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t);
        CU_ASSERT(engine_wake_ns(d.engine) <= d.now.mono_ns + 60 * NS_PER_S);
        pass_time(&d, 56000);
        CU_ASSERT_FALSE(reconciled(&d, &cookie)->queues[0].looked);
        t->last = 7;
        answer(&d, &t->base, LEDGER_COMMITTED); /* too late */
        CU_ASSERT_PTR_NULL(told(&d, ACT_RECONCILED));
        CU_ASSERT_PTR_NULL(told(&d, ACT_RING));
        close_desk(&d);
}

UNIT_TESTS = {
    {"what its mark passed is offered", test_what_its_mark_passed_is_offered},
    {"an empty queue needs no mark", test_an_empty_queue_needs_no_mark},
    {"each brokered queue is looked at", test_each_brokered_queue_is_looked_at},
    {"a transport that is down is said to be", test_a_transport_that_is_down_is_said_to_be},
    {"who comes later gets a run of its own", test_who_comes_later_gets_a_run_of_its_own},
    {"who comes later is answered in time too", test_who_comes_later_is_answered_in_time_too},
    {"a ledger that hangs is not waited for", test_a_ledger_that_hangs_is_not_waited_for},
    {"a node without brokers answers at once", test_a_node_without_brokers_answers_at_once},
};
UNIT_MAIN("engine-reconcile")
