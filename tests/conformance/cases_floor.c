/*
 * FLOOR: the highest number that was ever told of a history, whoever told it.
 */
#include "tests/conformance/bed.h"

static enum ledger_outcome try_floor(struct bed *bed, struct str history, int64_t *floor)
{
        struct ledger_floor *b = NEW(floor, FLOOR);
        b->history = history;
        b->floor = *floor;
        enum ledger_outcome outcome = bed_do(bed, &b->base);
        *floor = b->floor;
        ledger_batch_free(&b->base);
        return outcome;
}

static int64_t tell(struct bed *bed, struct str history, int64_t floor)
{
        CU_ASSERT_EQUAL(try_floor(bed, history, &floor), LEDGER_COMMITTED);
        return floor;
}

static int64_t ask(struct bed *bed, struct str history)
{
        return tell(bed, history, 0);
}

static void what_is_told_rises_and_never_falls(void)
{
        struct bed *bed = bed_new();
        struct str h = STR("JOBS:1760000000000000000:skep-email_send");
        CU_ASSERT_EQUAL(tell(bed, h, 5), 5);
        CU_ASSERT_EQUAL(tell(bed, h, 5), 5);
        CU_ASSERT_EQUAL(tell(bed, h, 7), 7);
        CU_ASSERT_EQUAL(tell(bed, h, 6), 7);
        CU_ASSERT_EQUAL(tell(bed, h, 1), 7);
        CU_ASSERT_EQUAL(ask(bed, h), 7);
        CU_ASSERT_EQUAL(tell(bed, h, INT64_MAX), INT64_MAX);
        CU_ASSERT_EQUAL(tell(bed, h, 8), INT64_MAX);
        bed_free(bed);
}

/* A question leaves nothing behind that could be taken for an answer. */
static void nothing_asks_only(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT_EQUAL(ask(bed, STR("h")), 0);
        CU_ASSERT_EQUAL(ask(bed, STR("h")), 0);
        CU_ASSERT_EQUAL(tell(bed, STR("h"), 1), 1);
        CU_ASSERT_EQUAL(ask(bed, STR("h")), 1);
        bed_free(bed);
}

/* Names are bytes, compared as such; 255 of them at most. */
static void names_are_bytes(void)
{
        enum { NAMES = 9 };
        static char longest[FLOOR_NAME_MAX], other[FLOOR_NAME_MAX];
        memset(longest, 'x', sizeof longest);
        memset(other, 'x', sizeof other);
        other[sizeof other - 1] = 'y';
        const struct str names[NAMES] = {STR("h"),
                                         STR("H"),
                                         STR("h "),
                                         STR("h\0"),
                                         STR("h\0i"),
                                         STR("\xff'"),
                                         STR("%_"),
                                         {longest, sizeof longest},
                                         {other, sizeof other}};
        struct bed *bed = bed_new();
        for (int i = 0; i < NAMES; i++) {
                CU_ASSERT_EQUAL(tell(bed, names[i], i + 1), i + 1);
        }
        for (int i = 0; i < NAMES; i++) {
                CU_ASSERT_EQUAL(ask(bed, names[i]), i + 1);
        }
        bed_free(bed);
}

static void refuses_what_is_none(void)
{
        static char name[FLOOR_NAME_MAX + 1];
        memset(name, 'x', sizeof name);
        struct bed *bed = bed_new();
        for (int64_t floor = 0; floor < 2; floor++) { /* asked, told */
                int64_t answer = floor;
                struct str longer = {name, sizeof name};
                CU_ASSERT_EQUAL(try_floor(bed, longer, &answer), LEDGER_REFUSED);
                answer = floor;
                CU_ASSERT_EQUAL(try_floor(bed, STR(""), &answer), LEDGER_REFUSED);
        }
        int64_t below = -1;
        CU_ASSERT_EQUAL(try_floor(bed, STR("h"), &below), LEDGER_REFUSED);
        CU_ASSERT_EQUAL(ask(bed, STR("h")), 0);
        CU_ASSERT_EQUAL(ask(bed, (struct str){name, FLOOR_NAME_MAX}), 0);
        bed_free(bed);
}

/* Neither the handle nor the node that told it need live. */
static void outlives_its_teller(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT_EQUAL(tell(bed, STR("h"), 41), 41);
        CU_ASSERT(bed_bury(bed, bed->holder, 0, true, false));
        CU_ASSERT(bed_bury(bed, bed->holder, 0, true, true));
        CU_ASSERT_EQUAL(tell(bed, STR("h"), 42), 42);
        bed_reopen(bed);
        CU_ASSERT_EQUAL(ask(bed, STR("h")), 42);
        CU_ASSERT_EQUAL(tell(bed, STR("h"), 7), 42);
        bed_free(bed);
}

static void two_handles_tell_the_same_history(void)
{
        struct bed *one = bed_new(), *two = bed_join(one, 77);
        CU_ASSERT_EQUAL(tell(one, STR("h"), 3), 3);
        CU_ASSERT_EQUAL(ask(two, STR("h")), 3);
        CU_ASSERT_EQUAL(tell(two, STR("h"), 9), 9);
        CU_ASSERT_EQUAL(tell(one, STR("h"), 4), 9);
        CU_ASSERT_EQUAL(ask(one, STR("h")), 9);
        bed_free(two);
        bed_free(one);
}

/* Posted back to back through both: each is answered no less than it told, and the end is the
 * highest. */
static void two_handles_at_once(void)
{
        enum { ROUNDS = 40 };
        struct bed *one = bed_new(), *two = bed_join(one, 77);
        struct ledger_floor *told[2][ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
                for (int side = 0; side < 2; side++) {
                        struct ledger_floor *b = told[side][i] = NEW(floor, FLOOR);
                        b->history = STR("h");
                        b->floor = side ? ROUNDS - i : i + 1;
                        bed_post(side ? two : one, &b->base);
                }
        }
        for (int i = 0; i < ROUNDS; i++) {
                for (int side = 0; side < 2; side++) {
                        struct ledger_floor *b = told[side][i];
                        bed_wait(side ? two : one, &b->base);
                        CU_ASSERT_EQUAL(b->base.outcome, LEDGER_COMMITTED);
                        CU_ASSERT(b->floor >= (side ? ROUNDS : i + 1) && b->floor <= ROUNDS);
                        ledger_batch_free(&b->base);
                }
        }
        CU_ASSERT_EQUAL(ask(one, STR("h")), ROUNDS);
        CU_ASSERT_EQUAL(ask(two, STR("h")), ROUNDS);
        bed_free(two);
        bed_free(one);
}

/* It stands in line with numbered writes, and takes no number. */
static void takes_no_number(void)
{
        struct bed *bed = bed_new();
        (void)bed_beat(bed);
        int64_t before = fixture->count_commits(bed->store);
        for (int i = 1; i <= 3; i++) {
                CU_ASSERT_EQUAL(tell(bed, STR("h"), i), i);
        }
        CU_ASSERT_EQUAL(fixture->count_commits(bed->store), before);
        (void)bed_beat(bed);
        bed_free(bed);
}

CASES(cases_floor, {"what is told rises and never falls", what_is_told_rises_and_never_falls, 0},
      {"nothing asks only", nothing_asks_only, 0}, {"names are bytes", names_are_bytes, 0},
      {"refuses what is none", refuses_what_is_none, 0},
      {"outlives its teller", outlives_its_teller, NEED_REOPEN},
      {"two handles tell the same history", two_handles_tell_the_same_history, NEED_SHARE},
      {"two handles at once", two_handles_at_once, NEED_SHARE},
      {"takes no number", takes_no_number, NEED_RAW});
