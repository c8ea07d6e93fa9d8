/*
 * Operations over many jobs, in virtual time: pages, rates, stops, and what is remembered of them.
 */
#include "tests/unit/engine-desk.h"

static struct bulk_request requeue_mail(void)
{
        return (struct bulk_request){.kind = BULK_REQUEUE,
                                     .filter = {.states = 1u << STATE_DEAD, .type = STR("mail.*")}};
}

/* Its number, or 0 with the reason in *ret_why. */
static uint64_t begin(struct desk *d, const struct bulk_request *r, struct str *ret_why)
{
        static int cookie;
        struct engine_event ev = {.kind = EV_BULK};
        ev.bulk.request = r;
        ev.bulk.cookie = &cookie;
        tell(d, ev);
        const struct engine_action *a = told(d, ACT_BULK);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT_PTR_EQUAL(a->cookie, &cookie);
        if (ret_why) {
                *ret_why = a->text;
        }
        return a->bulk_no;
}

/* Answers the page that was posted. */
static void answer_page(struct desk *d, uint32_t done, uint32_t again, bool more)
{
        struct ledger_batch *batch = take_posted(d, LEDGER_BULK);
        CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
        struct ledger_bulk *b = LEDGER_AS(bulk, BULK, batch);
        b->done = done;
        b->again = again;
        b->more = more;
        b->last.b[15] = (uint8_t)(b->after.b[15] + 1);
        answer(d, batch, LEDGER_COMMITTED);
}

static struct bulk_view look(const struct desk *d, uint64_t no)
{
        struct bulk_view v = {0};
        CU_ASSERT_TRUE(engine_bulk(d->engine, no, &v));
        return v;
}

static void test_it_goes_page_by_page_to_its_end(void)
{
        struct desk d;
        open_desk(&d);
        char type[] = "mail.*";
        struct bulk_request r = requeue_mail();
        r.filter.type = str_of(type);
        uint64_t no = begin(&d, &r, NULL);
        memset(type, '#', sizeof type - 1); /* the request's texts are gone by then */
        CU_ASSERT(no > 0);
        struct ledger_batch *b = take_posted(&d, LEDGER_BULK);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT_FALSE(LEDGER_AS(bulk, BULK, b)->has_after);
        CU_ASSERT_EQUAL(LEDGER_AS(bulk, BULK, b)->limit, 1000);
        CU_ASSERT_TRUE(str_eq(LEDGER_AS(bulk, BULK, b)->filter.type, STR("mail.*")));
        d.posted[d.n_posted++] = b;
        answer_page(&d, 1000, 0, true);
        b = take_posted(&d, LEDGER_BULK);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT(LEDGER_AS(bulk, BULK, b)->has_after &&
                  LEDGER_AS(bulk, BULK, b)->after.b[15] == 1);
        d.posted[d.n_posted++] = b;
        CU_ASSERT_FALSE(look(&d, no).over);
        answer_page(&d, 7, 0, false);
        struct bulk_view v = look(&d, no);
        CU_ASSERT(v.over && v.done == 1007 && v.note[0] == 0 && v.over_us >= v.begun_us);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_BULK));
        close_desk(&d);
}

static void test_a_rate_holds_over_any_second(void)
{
        struct desk d;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        r.rate = 40;
        uint64_t no = begin(&d, &r, NULL);
        uint64_t at_second[12] = {0};
        for (int ms = 0; ms < 12000; ms += 10) {
                struct ledger_batch *b = take_posted(&d, LEDGER_BULK);
                if (b) {
                        uint32_t limit = LEDGER_AS(bulk, BULK, b)->limit;
                        CU_ASSERT(limit >= 1 && limit <= 10);
                        d.posted[d.n_posted++] = b;
                        answer_page(&d, limit, 0, true);
                }
                at_second[ms / 1000] = look(&d, no).done;
                pass_time(&d, 10);
                while ((b = take_posted(&d, LEDGER_BEAT))) {
                        answer(&d, b, LEDGER_COMMITTED);
                }
        }
        for (int s = 1; s < 12; s++) {
                uint64_t in_it = at_second[s] - at_second[s - 1];
                CU_ASSERT(in_it >= 30 && in_it <= 50);
        }
        CU_ASSERT(at_second[11] >= 430 && at_second[11] <= 490);
        close_desk(&d);
}

static void test_a_limit_ends_it(void)
{
        struct desk d;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        r.limit = 1500;
        uint64_t no = begin(&d, &r, NULL);
        answer_page(&d, 1000, 0, true);
        struct ledger_batch *b = take_posted(&d, LEDGER_BULK);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT_EQUAL(LEDGER_AS(bulk, BULK, b)->limit, 500);
        d.posted[d.n_posted++] = b;
        answer_page(&d, 500, 0, true);
        CU_ASSERT(look(&d, no).over && look(&d, no).done == 1500);
        close_desk(&d);
}

static void test_it_stops_when_too_many_die_again(void)
{
        struct desk d;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        r.stop_permille = 200;
        uint64_t no = begin(&d, &r, NULL);
        answer_page(&d, 10, 9, true); /* too few to judge by */
        CU_ASSERT_FALSE(look(&d, no).over);
        pass_time(&d, 10000);          /* the page is paid for */
        answer_page(&d, 90, 19, true); /* 19 of 100 */
        CU_ASSERT_FALSE(look(&d, no).over);
        pass_time(&d, 10000);
        answer_page(&d, 0, 20, true);
        struct bulk_view v = look(&d, no);
        CU_ASSERT(v.over && v.again == 20);
        CU_ASSERT_STRING_EQUAL(v.note, "20 of the 100 requeued jobs died again");
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_BULK));
        close_desk(&d);
}

/* What it did after so many seconds in which each page was taken whole, or until it stopped. Those
 * requeued die again three seconds later, if `die`. */
static uint64_t requeued_in(struct desk *d, uint64_t no, int seconds, bool die)
{
        uint64_t before[64] = {0};
        for (int tick = 0; tick < seconds * 20; tick++) {
                struct ledger_batch *batch = take_posted(d, LEDGER_BULK);
                if (batch) {
                        struct ledger_bulk *b = LEDGER_AS(bulk, BULK, batch);
                        b->done = b->limit;
                        b->again = die && tick >= 60 ? (uint32_t)before[tick / 20 - 3] : 0;
                        b->more = true;
                        answer(d, batch, LEDGER_COMMITTED);
                }
                before[tick / 20] = look(d, no).done;
                pass_time(d, 50);
        }
        return look(d, no).done;
}

static void test_without_a_rate_it_watches_slowly(void)
{
        struct desk d;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        r.stop_permille = 200;
        uint64_t no = begin(&d, &r, NULL);
        uint64_t done = requeued_in(&d, no, 20, true);
        CU_ASSERT_TRUE(look(&d, no).over);
        CU_ASSERT(done >= 100 && done <= 700); /* of as many as there are */
        uint64_t second = begin(&d, &r, NULL);
        done = requeued_in(&d, second, 30, false);
        CU_ASSERT_FALSE(look(&d, second).over);
        CU_ASSERT(done >= 8000 && done <= 10500);
        close_desk(&d);
}

static void test_an_operator_stops_it(void)
{
        struct desk d;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        uint64_t no = begin(&d, &r, NULL);
        struct engine_event stop = {.kind = EV_BULK_STOP};
        stop.bulk_no = no;
        tell(&d, stop);
        CU_ASSERT_FALSE(look(&d, no).over); /* what is on its way still counts */
        answer_page(&d, 1000, 0, true);
        struct bulk_view v = look(&d, no);
        CU_ASSERT(v.over && v.done == 1000);
        CU_ASSERT_STRING_EQUAL(v.note, "stopped by an operator");
        tell(&d, stop); /* again, and of one that is not there: nothing */
        stop.bulk_no = 999;
        tell(&d, stop);
        close_desk(&d);
}

static void test_a_page_that_was_not_written_is_posted_again(void)
{
        static const enum ledger_outcome outcomes[] = {LEDGER_REFUSED, LEDGER_UNKNOWN};
        struct desk d;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        uint64_t no = begin(&d, &r, NULL);
        answer_page(&d, 1000, 0, true);
        for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
                answer(&d, take_posted(&d, LEDGER_BULK), outcomes[i]);
                CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_BULK));
                CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_RESOLVE));
                pass_time(&d, 600);
                struct ledger_batch *b = take_posted(&d, LEDGER_BULK);
                CU_ASSERT_PTR_NOT_NULL_FATAL(b);
                CU_ASSERT_EQUAL(LEDGER_AS(bulk, BULK, b)->after.b[15], 1);
                d.posted[d.n_posted++] = b;
        }
        answer_page(&d, 5, 0, false);
        CU_ASSERT(look(&d, no).over && look(&d, no).done == 1005);
        close_desk(&d);
}

static void test_sixteen_at_once(void)
{
        struct desk d;
        struct str why;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        for (int i = 0; i < 16; i++) {
                CU_ASSERT(begin(&d, &r, NULL) != 0);
        }
        CU_ASSERT_EQUAL(begin(&d, &r, &why), 0);
        CU_ASSERT(why.n > 0);
        answer_page(&d, 0, 0, false);
        CU_ASSERT(begin(&d, &r, NULL) != 0);
        struct bulk_view views[64];
        CU_ASSERT_EQUAL(engine_bulks(d.engine, views, 64), 17);
        CU_ASSERT(views[0].no > views[1].no); /* the latest first */
        CU_ASSERT_EQUAL(engine_bulks(d.engine, views, 3), 3);
        close_desk(&d);
}

static void test_ended_ones_are_remembered_for_an_hour(void)
{
        struct desk d;
        struct bulk_view v;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        uint64_t no = begin(&d, &r, NULL);
        answer_page(&d, 3, 0, false);
        pass_time(&d, 3590 * 1000);
        CU_ASSERT_TRUE(engine_bulk(d.engine, no, &v));
        pass_time(&d, 20 * 1000);
        CU_ASSERT_FALSE(engine_bulk(d.engine, no, &v));
        CU_ASSERT_EQUAL(engine_bulks(d.engine, &v, 1), 0);
        close_desk(&d);
}

static void test_a_count_writes_nothing_and_knows_no_rate(void)
{
        struct desk d;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        r.kind = BULK_COUNT;
        r.rate = 1;
        uint64_t no = begin(&d, &r, NULL);
        answer_page(&d, 1000, 0, true);
        answer_page(&d, 1000, 0, true);
        answer_page(&d, 1, 0, false);
        CU_ASSERT(look(&d, no).over && look(&d, no).done == 2001);
        close_desk(&d);
}

static void test_a_drain_ends_all(void)
{
        struct desk d;
        struct str why;
        open_desk(&d);
        struct bulk_request r = requeue_mail();
        uint64_t no = begin(&d, &r, NULL);
        tell(&d, (struct engine_event){.kind = EV_DRAIN});
        answer_page(&d, 10, 0, true);
        CU_ASSERT_TRUE(look(&d, no).over);
        CU_ASSERT(look(&d, no).note[0] != 0);
        CU_ASSERT_EQUAL(begin(&d, &r, &why), 0);
        CU_ASSERT(why.n > 0);
        close_desk(&d);
}

UNIT_TESTS = {
    {"it goes page by page to its end", test_it_goes_page_by_page_to_its_end},
    {"a rate holds over any second", test_a_rate_holds_over_any_second},
    {"a limit ends it", test_a_limit_ends_it},
    {"it stops when too many die again", test_it_stops_when_too_many_die_again},
    {"without a rate it watches slowly", test_without_a_rate_it_watches_slowly},
    {"an operator stops it", test_an_operator_stops_it},
    {"a page that was not written is posted again",
     test_a_page_that_was_not_written_is_posted_again},
    {"sixteen at once", test_sixteen_at_once},
    {"ended ones are remembered for an hour", test_ended_ones_are_remembered_for_an_hour},
    {"a count writes nothing and knows no rate", test_a_count_writes_nothing_and_knows_no_rate},
    {"a drain ends all", test_a_drain_ends_all},
};
UNIT_MAIN("engine-bulk")
