/*
 * A hundred queues, and room for the jobs of some: queues with a backlog claim in turns, portions
 * that are worth a commit; slow ones, and those that hold few, do not wait for turns.
 */
#include "tests/unit/engine-desk.h"

#define MANY    100
#define WORKERS 2
#define QUICK   (5000)           /* ns */
#define SLOW    (20 * NS_PER_MS) /* too slow for turns */
#define LARGE   100000           /* bytes of a payload: too large for turns */

/* The queues 1 to MANY with a backlog each, and number 0, which has none. A ledger that knows how
 * many wait in each of them. */
struct bed {
        struct desk d;
        struct config config;
        struct queue_config queues[MANY + 1];
        char names[MANY + 1][8];
        uint32_t n; /* queues with a backlog, */
        bool mixed; /* all but the last of mail */
        uint32_t waiting[MANY + 1], ended[MANY + 1];
        int64_t run_ns[MANY + 1];
        uint32_t bytes[MANY + 1];            /* of each payload */
        uint32_t all;                        /* that ended */
        uint32_t claims, portions, rows;     /* answered: all, those of 100 rows and more */
        uint8_t given[WORKERS][ENGINE_RING]; /* whose job, by ring position */
        uint32_t heads[WORKERS];
        int64_t spare_ns[WORKERS]; /* time that it has for jobs */
};

static void note_given(struct bed *b)
{
        for (uint32_t i = 0; i < b->d.n_last; i++) {
                const struct engine_action *a = &b->d.last[i];
                for (uint32_t k = 0; a->kind == ACT_GIVE && k < a->n; k++) {
                        b->given[a->worker][(a->position + k) % ENGINE_RING] =
                            (uint8_t)a->jobs[k]->queue_index;
                }
        }
}

/* So many jobs a claim gets, one at least however large it is. */
static uint32_t claimable(const struct bed *b, const struct ledger_claim *c, int queue)
{
        uint32_t n = c->want < b->waiting[queue] ? c->want : b->waiting[queue];
        uint32_t fit = b->bytes[queue] ? (uint32_t)(c->max_bytes / b->bytes[queue]) : n;
        return n <= fit ? n : fit ? fit : 1;
}

static void answer_claims(struct bed *b)
{
        static const char payload[LARGE];
        for (struct ledger_batch *p; (p = take_posted(&b->d, LEDGER_CLAIM));) {
                struct ledger_claim *c = LEDGER_AS(claim, CLAIM, p);
                int at = engine_queue(b->d.engine, c->queue);
                uint32_t n = claimable(b, c, at);
                fill_claim(&b->d, c->got, n);
                for (uint32_t i = 0; i < n; i++) {
                        bool mail = b->mixed && at < (int)b->n;
                        c->got->jobs[i].queue = c->queue;
                        c->got->jobs[i].type = mail ? STR("mail") : STR("noop");
                        c->got->jobs[i].payload = (struct str){payload, b->bytes[at]};
                }
                b->waiting[at] -= n;
                b->claims++;
                b->portions += n >= 100;
                b->rows += n >= 100 ? n : 0;
                c->more = b->waiting[at] > 0;
                answer(&b->d, p, LEDGER_COMMITTED);
                note_given(b);
        }
}

/* What a worker does in the millisecond that has passed: at most so many jobs. */
static void end_some(struct bed *b, uint32_t worker, uint32_t most)
{
        static struct verdict list[ENGINE_RING];
        struct worker_view v[WORKERS];
        CU_ASSERT_EQUAL_FATAL(engine_workers(b->d.engine, v, WORKERS), WORKERS);
        struct engine_event ev = {.kind = EV_VERDICTS};
        ev.verdicts.worker = worker;
        ev.verdicts.first = b->heads[worker];
        ev.verdicts.list = list;
        b->spare_ns[worker] = v[worker].given ? b->spare_ns[worker] + NS_PER_MS : 0;
        for (uint32_t i = 0; i < v[worker].given && i < most; i++) {
                uint8_t queue = b->given[worker][b->heads[worker] % ENGINE_RING];
                if (b->spare_ns[worker] < b->run_ns[queue]) {
                        break;
                }
                list[ev.verdicts.n++] = (struct verdict){.kind = VERDICT_DONE,
                                                         .run_ns = b->run_ns[queue],
                                                         .started_wall_us = b->d.now.wall_us};
                b->spare_ns[worker] -= b->run_ns[queue];
                b->heads[worker]++;
                b->ended[queue]++;
                b->all++;
        }
        if (ev.verdicts.n) {
                tell(&b->d, ev);
                note_given(b);
        }
}

static void answer_one(struct bed *b, enum ledger_op op)
{
        struct ledger_batch *p = take_posted(&b->d, op);
        if (p) {
                answer(&b->d, p, LEDGER_COMMITTED);
                note_given(b);
        }
}

/* The ledger answers, then each worker ends up to so many of its jobs. */
static void run_round(struct bed *b, uint32_t most)
{
        struct engine_view v;
        answer_one(b, LEDGER_FINISH);
        answer_one(b, LEDGER_BEAT);
        answer_claims(b);
        for (uint32_t w = 0; w < WORKERS; w++) {
                end_some(b, w, most);
        }
        pass_time(&b->d, 1);
        note_given(b);
        engine_look(b->d.engine, &v);
        CU_ASSERT(v.claimed <= 8000);
}

/* The same while one job of mail does not end, and with it no other. */
static void run_round_but_mail(struct bed *b, uint32_t most)
{
        struct worker_view v[WORKERS];
        answer_one(b, LEDGER_FINISH);
        answer_one(b, LEDGER_BEAT);
        answer_claims(b);
        CU_ASSERT_EQUAL(engine_workers(b->d.engine, v, WORKERS), WORKERS);
        bool mail = v[0].given && b->given[0][b->heads[0] % ENGINE_RING] != b->n;
        end_some(b, mail ? 1 : 0, most);
        pass_time(&b->d, 1);
        note_given(b);
}

static const struct handler_desc handlers[] = {{.pattern = {"noop", 4}},
                                               {.pattern = {"mail", 4}, .concurrency = 1}};

static void open_bed(struct bed *b, uint32_t n, uint32_t waiting, uint32_t n_handlers)
{
        open_desk_for(&b->d, handlers, n_handlers, WORKERS, NULL);
        b->n = n;
        b->config = b->d.config;
        b->config.queues = b->queues;
        b->config.n_queues = n + 1;
        b->queues[0] = b->d.config.queues[0];
        for (uint32_t i = 1; i <= n; i++) {
                snprintf(b->names[i], sizeof b->names[i], "q%u", i);
                b->queues[i] = b->queues[0];
                b->queues[i].name = str_of(b->names[i]);
                b->waiting[i] = waiting;
                b->run_ns[i] = QUICK;
        }
        b->run_ns[0] = QUICK;
        tell(&b->d, (struct engine_event){.kind = EV_CONFIG, .config = &b->config});
        note_given(b);
}

static uint32_t least_ended(const struct bed *b)
{
        uint32_t least = UINT32_MAX;
        for (uint32_t i = 1; i <= b->n; i++) {
                least = b->ended[i] < least ? b->ended[i] : least;
        }
        return least;
}

static void test_all_of_a_hundred_get_on(void)
{
        static struct bed b;
        open_bed(&b, MANY, 3000, 1);
        while (b.all < MANY * 1500 && b.claims < 100000) {
                run_round(&b, 200);
        }
        CU_ASSERT(least_ended(&b) >= b.all / MANY / 2);
        CU_ASSERT(b.portions &&
                  b.rows >= b.portions * 450); /* and the others are those of the beginning */
        CU_ASSERT(b.claims - b.portions <= 3 * MANY);
        while (b.all < MANY * 3000 && b.claims < 100000) {
                run_round(&b, 250);
        }
        CU_ASSERT_EQUAL(least_ended(&b), 3000);
        close_desk(&b.d);
}

static void test_who_comes_late_does_not_wait_for_the_backlogs(void)
{
        static struct bed b;
        open_bed(&b, MANY, 100000, 1);
        while (b.all < 30000 && b.claims < 100000) {
                run_round(&b, 200);
        }
        for (int i = 0; i < 50; i++) { /* no worker gets on: all is claimed that will be */
                run_round(&b, 0);
        }
        struct engine_view v;
        engine_look(b.d.engine, &v);
        CU_ASSERT(v.claimed > 6000 && v.claimed <= 7500); /* some room is left to others */
        uint32_t before = b.all;
        b.waiting[0] = 1;
        tell(&b.d, (struct engine_event){.kind = EV_HEARD});
        struct ledger_batch *p = take_posted(&b.d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p);
        CU_ASSERT(str_eq(LEDGER_AS(claim, CLAIM, p)->queue, STR("default")));
        b.d.posted[b.d.n_posted++] = p;
        while (b.ended[0] == 0 && b.claims < 100000) {
                run_round(&b, 50);
        }
        CU_ASSERT(b.ended[0] == 1);
        CU_ASSERT(b.all - before <= 8000); /* and not 9,900,000 */
        close_desk(&b.d);
}

static void test_a_quick_one_among_slow_ones_gets_on(void)
{
        static struct bed b;
        open_bed(&b, 40, 100000, 1);
        for (uint32_t i = 2; i <= 40; i++) {
                b.run_ns[i] = SLOW;
        }
        while (least_ended(&b) < 8 && b.claims < 100000) {
                run_round(&b, 200);
        }
        for (uint32_t i = 2; i <= 40; i++) {
                CU_ASSERT(b.ended[i] >= 8 && b.ended[1] > b.ended[i]);
        }
        CU_ASSERT(b.portions > 0);
        close_desk(&b.d);
}

/* The jobs that are claimed may have to wait for one another: a worker that is idle is fed even so.
 */
static void test_no_worker_starves_while_turns_are_waited_for(void)
{
        static struct bed b;
        open_bed(&b, MANY, 100000, 1);
        b.d.n_last = 0;
        for (uint32_t i = 1; i <= MANY; i++) {
                b.queues[i].concurrency = 1;
        }
        tell(&b.d, (struct engine_event){.kind = EV_CONFIG, .config = &b.config});
        note_given(&b);
        while (b.all < 20000 && b.claims < 100000) {
                run_round(&b, 200);
        }
        for (int i = 0; i < 300; i++) { /* the first worker is at a job that does not end */
                uint32_t before = b.all;
                answer_one(&b, LEDGER_FINISH);
                answer_one(&b, LEDGER_BEAT);
                answer_claims(&b);
                end_some(&b, 1, 250);
                pass_time(&b.d, 1);
                note_given(&b);
                CU_ASSERT(b.all > before);
        }
        close_desk(&b.d);
}

/* Mail of 99 queues fills what may be claimed in turns, and one job of it does not end. */
static void test_what_may_not_run_keeps_nobody_from_a_turn(void)
{
        static struct bed b;
        b.mixed = true;
        open_bed(&b, MANY, 100000, 2);
        while (b.all < 20000 && b.claims < 100000) {
                run_round(&b, 200);
        }
        for (int i = 0; i < 100; i++) {
                uint32_t before = b.ended[MANY];
                for (int k = 0; k < 20; k++) {
                        run_round_but_mail(&b, 250);
                }
                CU_ASSERT(i < 50 || b.ended[MANY] > before);
        }
        close_desk(&b.d);
}

static void test_large_payloads_of_many_queues(void)
{
        static struct bed b;
        open_bed(&b, 20, 1000, 1);
        struct ledger_batch *p;
        static char large[1 << 20];
        for (int round = 0; round < 200; round++) {
                answer_one(&b, LEDGER_FINISH);
                answer_one(&b, LEDGER_BEAT);
                while ((p = take_posted(&b.d, LEDGER_CLAIM))) {
                        struct ledger_claim *c = LEDGER_AS(claim, CLAIM, p);
                        uint32_t most = (uint32_t)(c->max_bytes / sizeof large);
                        most = most ? most : 1;
                        fill_claim(&b.d, c->got, c->want < most ? c->want : most);
                        for (uint32_t i = 0; i < c->got->n; i++) {
                                c->got->jobs[i].queue = c->queue;
                                c->got->jobs[i].payload = (struct str){large, sizeof large};
                        }
                        c->more = true;
                        answer(&b.d, p, LEDGER_COMMITTED);
                        note_given(&b);
                }
                end_some(&b, 0, 2);
                end_some(&b, 1, 2);
                pass_time(&b.d, 1);
                note_given(&b);
                CU_ASSERT(b.all >= (uint32_t)round); /* they go on */
        }
        CU_ASSERT(least_ended(&b) > 0);
        close_desk(&b.d);
}

/* How much is asked for by a queue's claim that is on its way; 0: there is none. */
static uint32_t asked(const struct bed *b, uint32_t queue)
{
        for (uint32_t i = 0; i < b->d.n_posted; i++) {
                struct ledger_batch *p = b->d.posted[i];
                if (p->op == LEDGER_CLAIM &&
                    str_eq(LEDGER_AS(claim, CLAIM, p)->queue, str_of(b->names[queue]))) {
                        return LEDGER_AS(claim, CLAIM, p)->want;
                }
        }
        return 0;
}

/* Eight backlogs hold what may be claimed in turns. Of the other four nothing was left behind, so
 * they take none, and a share of one or two of them is all of the rest of the room. */
static void test_who_comes_late_leaves_room_to_the_next(void)
{
        static struct bed b;
        open_bed(&b, 12, 40, 1);
        while (least_ended(&b) < 40 && b.claims < 1000) { /* all are known to be quick */
                run_round(&b, 200);
        }
        for (uint32_t i = 1; i <= 8; i++) {
                b.waiting[i] = 100000;
        }
        tell(&b.d, (struct engine_event){.kind = EV_HEARD});
        for (int i = 0; i < 50; i++) {
                run_round(&b, 0);
        }
        struct engine_view v;
        engine_look(b.d.engine, &v);
        CU_ASSERT(v.claimed > 6400 && v.claimed <= 7000);
        tell(&b.d, (struct engine_event){.kind = EV_HEARD});
        uint32_t large = 0;
        for (uint32_t i = 9; i <= 12; i++) {
                CU_ASSERT(asked(&b, i) > 0);
                large += asked(&b, i) > 1000 / 12; /* that is of an eighth of the room */
        }
        CU_ASSERT(large <= 1); /* the first, as long as what is for turns is not exceeded */
        close_desk(&b.d);
}

/* The portions of 99 queues are smaller than that of the first, whose jobs are quicker: room for
 * one of theirs is there sooner each time. */
static void test_none_overtakes_who_waits_for_its_turn(void)
{
        static struct bed b;
        open_bed(&b, MANY, 100000, 1);
        for (uint32_t i = 2; i <= MANY; i++) {
                b.run_ns[i] = 50 * QUICK;
        }
        while (b.all < 60000 && b.claims < 100000) {
                run_round(&b, 200);
        }
        CU_ASSERT(b.ended[1] >= b.all / MANY); /* that is more than one portion */
        close_desk(&b.d);
}

/* A portion of them would be 40 jobs, those of the others are 500: by turns they would fall behind.
 */
static void test_large_payloads_wait_for_no_turn(void)
{
        static struct bed b;
        open_bed(&b, MANY, 100000, 1);
        b.bytes[1] = LARGE;
        while (b.all < 60000 && b.claims < 100000) {
                run_round(&b, 200);
        }
        CU_ASSERT(b.ended[1] >= b.all / MANY);
        close_desk(&b.d);
}

/* Large ones, which may not run now, take all of the memory that there is for payloads: who waits
 * for memory would keep those from their turns that need none. */
static void test_nobody_waits_for_the_turn_of_large_payloads(void)
{
        static struct bed b;
        b.mixed = true;
        open_bed(&b, 2, 1000000, 2);
        b.bytes[1] = LARGE;
        while (b.ended[1] == 0 && b.claims < 1000) { /* both are known to be quick */
                run_round(&b, 200);
        }
        uint32_t before = b.ended[1];
        for (int i = 0; i < 300; i++) {
                struct engine_view v;
                run_round_but_mail(&b, 200);
                engine_look(b.d.engine, &v);
                CU_ASSERT(i < 50 || v.claimed > 6000);
        }
        CU_ASSERT_EQUAL(b.ended[1], before);
        close_desk(&b.d);
}

UNIT_TESTS = {
    {"all of a hundred get on", test_all_of_a_hundred_get_on},
    {"who comes late does not wait for the backlogs",
     test_who_comes_late_does_not_wait_for_the_backlogs},
    {"a quick one among slow ones gets on", test_a_quick_one_among_slow_ones_gets_on},
    {"no worker starves while turns are waited for",
     test_no_worker_starves_while_turns_are_waited_for},
    {"what may not run keeps nobody from a turn", test_what_may_not_run_keeps_nobody_from_a_turn},
    {"large payloads of many queues", test_large_payloads_of_many_queues},
    {"who comes late leaves room to the next", test_who_comes_late_leaves_room_to_the_next},
    {"none overtakes who waits for its turn", test_none_overtakes_who_waits_for_its_turn},
    {"large payloads wait for no turn", test_large_payloads_wait_for_no_turn},
    {"nobody waits for the turn of large payloads",
     test_nobody_waits_for_the_turn_of_large_payloads},
};
UNIT_MAIN("engine-turns")
