/*
 * Operators' writes, resizing, and what a node tells of itself.
 */
#include "tests/unit/engine-desk.h"

/* --- writes ----------------------------------------------------------------------------------- */

static struct ledger_batch *control_batch(void)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_CONTROL);
        LEDGER_AS(control, CONTROL, b)->set = CONTROL_PAUSED;
        LEDGER_AS(control, CONTROL, b)->control =
            (struct queue_control){STR("default"), true, CONTROL_UNSET, CONTROL_UNSET};
        return b;
}

static void operate(struct desk *d, struct ledger_batch *b)
{
        tell(d, (struct engine_event){.kind = EV_OPERATE, .batch = b});
}

/* Takes what was given back; the caller frees it. */
static struct ledger_batch *operated(const struct desk *d)
{
        const struct engine_action *a = told(d, ACT_OPERATED);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        return a->batch;
}

static void test_a_write_is_posted_and_given_back(void)
{
        static int cookie;
        struct desk d;
        open_desk(&d);
        struct ledger_batch *mine = control_batch();
        mine->cookie = &cookie;
        operate(&d, mine);
        struct ledger_batch *b = take_posted(&d, LEDGER_CONTROL);
        CU_ASSERT_PTR_EQUAL(b, mine);
        CU_ASSERT(b->no.n > 0 && b->no.writer == LANE_VERDICTS);
        CU_ASSERT_PTR_NULL(told(&d, ACT_OPERATED));
        answer(&d, b, LEDGER_COMMITTED);
        const struct engine_action *a = told(&d, ACT_OPERATED);
        CU_ASSERT(a && a->batch == mine && a->cookie == &cookie);
        ledger_batch_free(mine);
        close_desk(&d);
}

static void test_a_refused_write_is_given_back_as_it_is(void)
{
        struct desk d;
        open_desk(&d);
        operate(&d, control_batch());
        answer(&d, take_posted(&d, LEDGER_CONTROL), LEDGER_REFUSED);
        CU_ASSERT_EQUAL(operated(&d)->outcome, LEDGER_REFUSED);
        ledger_batch_free(operated(&d));
        close_desk(&d);
}

/* Posts it, lets its outcome be unknown, says what became of it: it is posted again. */
static struct ledger_batch *repeat(struct desk *d, enum ledger_op op, bool happened)
{
        answer(d, take_posted(d, op), LEDGER_UNKNOWN);
        CU_ASSERT_PTR_NULL(told(d, ACT_OPERATED));
        struct ledger_batch *r = take_posted(d, LEDGER_RESOLVE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(r);
        LEDGER_AS(resolve, RESOLVE, r)->happened = happened;
        answer(d, r, LEDGER_COMMITTED);
        struct ledger_batch *b = take_posted(d, op);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return b;
}

static void test_an_unknown_write_is_resolved_and_repeated(void)
{
        for (int happened = 0; happened < 2; happened++) {
                struct desk d;
                open_desk(&d);
                operate(&d, control_batch());
                answer(&d, repeat(&d, LEDGER_CONTROL, happened), LEDGER_COMMITTED);
                CU_ASSERT_EQUAL(operated(&d)->outcome, LEDGER_COMMITTED);
                ledger_batch_free(operated(&d));
                close_desk(&d);
        }
}

static struct ledger_batch *schedule_batch(uint64_t expected)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_SCHEDULE);
        struct ledger_schedule *s = LEDGER_AS(schedule, SCHEDULE, b);
        s->expected = expected;
        s->row.name = STR("nightly");
        s->row.spec = STR("0 3 * * *");
        s->row.job.type = STR("report");
        return b;
}

/* The repetition finds a newer revision: its own, or another's, which may differ in anything. */
static void test_what_the_first_write_did_is_not_called_undone(void)
{
        struct schedule_row rows[24], *r = rows;
        struct ledger_batch *wish = schedule_batch(7);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                rows[i] = LEDGER_AS(schedule, SCHEDULE, wish)->row;
                rows[i].revision = 8;
        }
        r++->last_us = 5; /* its own, and it has run meanwhile */
        r++->spec = STR("0 4 * * *");
        r++->zone = STR("Europe/Berlin");
        r++->catch_up = CATCH_ALL;
        r++->overlap = OVERLAP_SKIP;
        r++->catch_max = 3;
        r++->paused = true;
        r++->from_config = true;
        r++->job.type = STR("other");
        r++->job.queue = STR("mail");
        r++->job.payload = STR("{}");
        r++->job.content_type = STR("text/plain");
        r++->job.headers = (struct str){"a\0b", 3};
        r++->job.tags = STR(",red,");
        r++->job.policy = STR("none");
        r++->job.priority = 9;
        r++->job.max_attempts = 2;
        r++->job.timeout_ms = 1;
        r++->job.heartbeat_ms = 1;
        r++->job.deadline_us = 1;
        r++->job.retry_until_us = 1;
        r++->job.unique.set = true;
        CU_ASSERT_FATAL(r <= rows + ARRAY_LEN(rows));
        for (const struct schedule_row *stands = rows; stands < r; stands++) {
                struct desk d;
                open_desk(&d);
                operate(&d, schedule_batch(7));
                struct ledger_batch *b = repeat(&d, LEDGER_SCHEDULE, true);
                struct ledger_schedule *s = LEDGER_AS(schedule, SCHEDULE, b);
                s->row.revision = 8; /* the rest of it is as it was given */
                s->stands = *stands;
                s->found = true;
                answer(&d, b, LEDGER_COMMITTED);
                s = LEDGER_AS(schedule, SCHEDULE, operated(&d));
                CU_ASSERT(s->done == (stands == rows) && s->row.revision == 8);
                CU_ASSERT_EQUAL(s->row.last_us, s->done ? 5 : 0);
                ledger_batch_free(operated(&d));
                close_desk(&d);
        }
        ledger_batch_free(wish);
}

static void test_what_never_happened_is_answered_by_its_repetition(void)
{
        struct desk d;
        open_desk(&d);
        operate(&d, schedule_batch(7));
        struct ledger_batch *b = repeat(&d, LEDGER_SCHEDULE, false);
        struct ledger_schedule *s = LEDGER_AS(schedule, SCHEDULE, b);
        s->row.revision = 9; /* another's change came between, the same by chance */
        s->stands = s->row;
        s->found = true;
        answer(&d, b, LEDGER_COMMITTED);
        CU_ASSERT_FALSE(LEDGER_AS(schedule, SCHEDULE, operated(&d))->done);
        ledger_batch_free(operated(&d));
        close_desk(&d);
}

/* Whatever people read comes back to them, not to the engine. */
static void test_reads_come_back_to_who_asked(void)
{
        static const enum ledger_op reads[] = {LEDGER_SHOW,   LEDGER_LIST,  LEDGER_STATS,
                                               LEDGER_GROUPS, LEDGER_NODES, LEDGER_SCHEDULES};
        static int cookie;
        struct desk d;
        open_desk(&d);
        for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
                struct ledger_batch *mine = ledger_batch_new(reads[i]);
                mine->cookie = &cookie;
                tell(&d, (struct engine_event){.kind = EV_READ, .batch = mine});
                answer(&d, mine, LEDGER_COMMITTED);
                const struct engine_action *a = told(&d, ACT_READ);
                CU_ASSERT(a && a->batch == mine && a->cookie == &cookie);
                for (uint32_t k = 0; k < d.n_posted; k++) {
                        if (d.posted[k] == mine) {
                                d.posted[k] = d.posted[--d.n_posted];
                        }
                }
                ledger_batch_free(mine);
        }
        close_desk(&d);
}

/* --- what a node tells ------------------------------------------------------------------------ */

/* The next beat; answered. */
static struct ledger_beat next_beat(struct desk *d, struct str *ret_serves, char *text, size_t size)
{
        struct ledger_batch *b = NULL;
        for (int i = 0; i < 20 && !b; i++) {
                pass_time(d, 200);
                b = take_posted(d, LEDGER_BEAT);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        struct ledger_beat copy = *LEDGER_AS(beat, BEAT, b);
        snprintf(text, size, "%.*s", (int)copy.serves.n, copy.serves.p ? copy.serves.p : "");
        *ret_serves = str_of(text);
        answer(d, b, LEDGER_COMMITTED);
        return copy;
}

static void test_a_beat_tells_what_changed_and_nothing_else(void)
{
        struct desk d;
        char text[64];
        struct str serves;
        open_desk(&d);
        struct ledger_batch *first = take_posted(&d, LEDGER_BEAT); /* from before the handlers */
        if (first) {
                answer(&d, first, LEDGER_COMMITTED);
        }
        struct ledger_beat b = next_beat(&d, &serves, text, sizeof text);
        CU_ASSERT_TRUE(b.tells);
        CU_ASSERT(str_eq(serves, STR("noop")) && b.workers == 1);
        b = next_beat(&d, &serves, text, sizeof text);
        CU_ASSERT_FALSE(b.tells);
        struct handler_desc two[] = {{.pattern = STR("noop")}, {.pattern = STR("mail.>")}};
        tell(&d, (struct engine_event){.kind = EV_ROSTER, .roster = roster_new(2, two, 2)});
        b = next_beat(&d, &serves, text, sizeof text);
        CU_ASSERT_TRUE(b.tells);
        CU_ASSERT_TRUE(str_eq(serves, STR("noop\nmail.>")));
        close_desk(&d);
}

static void test_what_a_lost_beat_told_is_told_again(void)
{
        struct desk d;
        char text[64];
        struct str serves;
        open_desk(&d);
        struct ledger_batch *b = take_posted(&d, LEDGER_BEAT);
        for (int i = 0; i < 20 && (!b || !LEDGER_AS(beat, BEAT, b)->tells); i++) {
                if (b) {
                        answer(&d, b, LEDGER_COMMITTED);
                }
                pass_time(&d, 200);
                b = take_posted(&d, LEDGER_BEAT);
        }
        answer(&d, b, LEDGER_UNKNOWN);
        CU_ASSERT_TRUE(next_beat(&d, &serves, text, sizeof text).tells);
        CU_ASSERT_FALSE(next_beat(&d, &serves, text, sizeof text).tells);
        close_desk(&d);
}

/* --- resizing --------------------------------------------------------------------------------- */

static uint32_t count_told(const struct desk *d, enum engine_action_kind kind)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < d->n_last; i++) {
                n += d->last[i].kind == kind;
        }
        return n;
}

static void bring_up(struct desk *d, uint32_t worker)
{
        struct engine_event up = {.kind = EV_WORKER_UP};
        up.up.worker = worker;
        up.up.generation = 1;
        tell(d, up);
}

static void test_workers_are_resized_while_it_runs(void)
{
        struct desk d;
        open_desk(&d);
        struct engine_event resize = {.kind = EV_RESIZE};
        resize.resize = 4;
        tell(&d, resize);
        CU_ASSERT_EQUAL(count_told(&d, ACT_SPAWN), 3);
        for (uint32_t w = 1; w < 4; w++) {
                bring_up(&d, w);
        }
        resize.resize = 2;
        tell(&d, resize);
        CU_ASSERT_EQUAL(count_told(&d, ACT_RETIRE), 2);
        resize.resize = 0; /* as configured: 1 */
        tell(&d, resize);
        CU_ASSERT_EQUAL(count_told(&d, ACT_RETIRE), 1);
        close_desk(&d);
}

UNIT_TESTS = {
    {"a write is posted and given back", test_a_write_is_posted_and_given_back},
    {"a refused write is given back as it is", test_a_refused_write_is_given_back_as_it_is},
    {"an unknown write is resolved and repeated", test_an_unknown_write_is_resolved_and_repeated},
    {"what the first write did is not called undone",
     test_what_the_first_write_did_is_not_called_undone},
    {"what never happened is answered by its repetition",
     test_what_never_happened_is_answered_by_its_repetition},
    {"what people read comes back to who asked", test_reads_come_back_to_who_asked},
    {"a beat tells what changed and nothing else", test_a_beat_tells_what_changed_and_nothing_else},
    {"what a lost beat told is told again", test_what_a_lost_beat_told_is_told_again},
    {"workers are resized while it runs", test_workers_are_resized_while_it_runs},
};
UNIT_MAIN("engine-operate")
