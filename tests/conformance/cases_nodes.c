/*
 * NODES: who is there, for people, and what each node told of itself.
 */
#include "tests/conformance/bed_life.h"

static const struct node_row *node_of(struct bed *bed, uint64_t holder)
{
        struct ledger_nodes *b = NEW(nodes, NODES);
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        for (uint32_t i = 0; i < b->n; i++) {
                if (b->rows[i].holder == holder) {
                        return &b->rows[i];
                }
        }
        return NULL;
}

static void tell(struct bed *bed, bool tells, const char *serves, const char *queues, uint32_t n)
{
        struct ledger_beat *b = NEW(beat, BEAT);
        b->tells = tells;
        b->serves = str_of(serves);
        b->queues = str_of(queues);
        b->workers = n;
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
}

static void shows_what_they_registered(void)
{
        struct bed *bed = bed_new();
        int64_t start = fixture->now_us(bed->store);
        const struct node_row *n = node_of(bed, bed->holder);
        CU_ASSERT_FATAL(n != NULL);
        CU_ASSERT(str_eq(n->host, STR("host")) && str_eq(n->version, STR("0")) && n->pid == 4711);
        CU_ASSERT(n->registered_us == start && n->beat_us == start && !n->dead);
        CU_ASSERT(n->serves.n == 0 && n->queues.n == 0 && n->workers == 0);
        fixture->advance(bed->store, SECOND);
        (void)bed_beat(bed);
        n = node_of(bed, bed->holder);
        CU_ASSERT(n->registered_us == start && n->beat_us == start + SECOND);
        CU_ASSERT(node_of(bed, 999) == NULL);
        bed_free(bed);
}

static void a_beat_tells_what_it_serves(void)
{
        struct bed *bed = bed_new();
        tell(bed, true, "noop\nmail.>", "q\nmail", 4);
        const struct node_row *n = node_of(bed, bed->holder);
        CU_ASSERT_FATAL(n != NULL);
        CU_ASSERT(str_eq(n->serves, STR("noop\nmail.>")) && str_eq(n->queues, STR("q\nmail")));
        CU_ASSERT(n->workers == 4);
        tell(bed, false, "x", "y", 9); /* a beat that tells nothing leaves it */
        n = node_of(bed, bed->holder);
        CU_ASSERT(str_eq(n->serves, STR("noop\nmail.>")) && n->workers == 4);
        tell(bed, true, "", "q", 0);
        n = node_of(bed, bed->holder);
        CU_ASSERT(n->serves.n == 0 && str_eq(n->queues, STR("q")) && n->workers == 0);
        bed_free(bed);
}

static void shows_all_and_the_dead(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        tell(other, true, "noop", "q", 2);
        const struct node_row *n = node_of(bed, 102);
        CU_ASSERT_FATAL(n != NULL && node_of(bed, bed->holder) != NULL);
        CU_ASSERT(str_eq(n->serves, STR("noop")) && n->workers == 2 && !n->dead);
        CU_ASSERT(node_of(bed, bed->holder)->serves.n == 0);
        CU_ASSERT(bed_bury(bed, 102, 0, true, false));
        n = node_of(bed, 102);
        CU_ASSERT(n && n->dead);
        CU_ASSERT(bed_bury(bed, 102, 0, false, true));
        CU_ASSERT(node_of(bed, 102) == NULL);
        bed_free(other);
        bed_free(bed);
}

CASES(cases_nodes, {"shows what they registered", shows_what_they_registered, 0},
      {"a beat tells what it serves", a_beat_tells_what_it_serves, 0},
      {"shows all, and the dead", shows_all_and_the_dead, NEED_SHARE});
