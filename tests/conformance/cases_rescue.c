/*
 * Rescue: BURY, HELD, FINISH under the victim's fence, forget. Between two rescuers the fence
 * decides.
 */
#include "tests/conformance/bed.h"

#define RESCUER 500

/* Writes what was held as lost, and retires its commits. How many were stale. */
static uint32_t rescue(struct bed *bed, const struct ledger_held *h)
{
        struct ledger_finish *b = bed_finish_batch(NULL, 0);
        b->rows = arena_zalloc(&b->base.arena, (h->n + 1) * sizeof *b->rows);
        b->retire = arena_zalloc(&b->base.arena, (h->n_covered + 1) * sizeof *b->retire);
        for (uint32_t i = 0; i < h->n; i++) {
                const struct held_job *j = &h->jobs[i];
                b->rows[i] = (struct finish_row){
                    .id = j->id,
                    .ref = j->ref,
                    .claim = j->claim,
                    .token = j->token,
                    .attempt = j->attempt,
                    .to = STATE_RETRYING,
                    .error = ERROR_LOST,
                    .keep_attempt = true,
                };
        }
        b->n = h->n;
        for (uint32_t i = 0; i < h->n_covered; i++) {
                b->retire[i] = (struct commit_no){h->victim, LANE_CLAIMS, h->covered[i]};
        }
        b->n_retire = h->n_covered;
        bed_must(bed, &b->base);
        uint32_t stale = b->stale;
        ledger_batch_free(&b->base);
        return stale;
}

/* The bed becomes another node, which buries the first. Returns the victim. */
static uint64_t become_rescuer(struct bed *bed)
{
        uint64_t victim = bed->holder;
        bed->holder = RESCUER;
        memset(bed->n, 0, sizeof bed->n);
        CU_ASSERT_FATAL(bed_register(bed) == LEDGER_COMMITTED);
        return victim;
}

static void buries_only_what_has_not_moved(void)
{
        struct bed *bed = bed_new();
        uint64_t victim = become_rescuer(bed);
        CU_ASSERT(!bed_bury(bed, victim, 7, false, false));
        CU_ASSERT(!bed_bury(bed, victim, 0, false, true)); /* the living are not forgotten */
        CU_ASSERT(bed_bury(bed, victim, 1, false, false));
        CU_ASSERT(bed_bury(bed, victim, 1, false, false)); /* somebody else declared it: go on */
        const struct ledger_beat *b = bed_beat(bed);
        CU_ASSERT_FATAL(b->n_nodes == 2);
        for (uint32_t i = 0; i < 2; i++) {
                CU_ASSERT(b->nodes[i].dead == (b->nodes[i].holder == victim));
        }
        CU_ASSERT(bed_bury(bed, victim, 0, false, true));
        CU_ASSERT(bed_beat(bed)->n_nodes == 1);
        CU_ASSERT(bed_bury(bed, victim, 0, false, true)); /* gone already */
        bed_free(bed);
}

static void fences_the_dead(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        uint64_t n[LEDGER_LANES];
        memcpy(n, bed->n, sizeof n);
        uint64_t victim = become_rescuer(bed);
        CU_ASSERT(bed_bury(bed, victim, 0, true, false));
        bed->holder = victim;
        memcpy(bed->n, n, sizeof n);
        struct ledger_claim *c = bed_claim_batch(bed, 1);
        CU_ASSERT(bed_do(bed, &c->base) == LEDGER_FENCED);
        CU_ASSERT(c->got->n == 0);
        struct ledger_beat *b = NEW(beat, BEAT);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_FENCED);
        CU_ASSERT(bed_state(bed, &id) == STATE_PENDING);
        ledger_batch_free(&c->base);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

static void finds_what_is_held_in_pages(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 50);
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        for (int i = 0; i < 5; i++) {
                struct claim *c = bed_claim(bed, 10);
                CU_ASSERT_FATAL(c->n == 10);
                CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[3], STATE_COMPLETED)));
                claim_free(c);
        }
        uint64_t victim = become_rescuer(bed), after = 0;
        CU_ASSERT(bed_bury(bed, victim, 0, true, false));
        uint32_t found = 0, pages = 0;
        bool more = true;
        while (more && pages < 10) {
                struct ledger_held *h = bed_held(bed, victim, after, 2);
                CU_ASSERT(!bed_bury(bed, victim, 0, false, true)); /* it holds jobs */
                CU_ASSERT_FATAL(h->n_covered > 0 && h->n_covered <= 2);
                CU_ASSERT(h->n == 9 * h->n_covered);
                CU_ASSERT(str_eq(h->jobs[0].queue, STR("q")) &&
                          str_eq(h->jobs[0].type, STR("noop")));
                CU_ASSERT(h->jobs[0].max_attempts == 3 && h->jobs[0].attempt == 1);
                CU_ASSERT(rescue(bed, h) == 0);
                found += h->n;
                pages++;
                after = h->covered[h->n_covered - 1];
                more = h->more;
        }
        CU_ASSERT(found == 45 && pages == 3);
        CU_ASSERT(bed_bury(bed, victim, 0, false, true));
        CU_ASSERT(bed_show(bed, &s->rows[0].id)->state == STATE_RETRYING);
        CU_ASSERT(bed_show(bed, &s->rows[0].id)->last.error == ERROR_LOST);
        CU_ASSERT(bed_state(bed, &s->rows[3].id) == STATE_COMPLETED);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void two_rescuers_write_each_job_once(void)
{
        struct bed *bed = bed_new();
        for (int i = 0; i < 5; i++) {
                bed_add_one(bed);
        }
        struct claim *c = bed_claim(bed, 5);
        uint64_t victim = become_rescuer(bed);
        CU_ASSERT(bed_bury(bed, victim, 0, true, false));
        const struct ledger_held *one = bed_held(bed, victim, 0, 10),
                                 *two = bed_held(bed, victim, 0, 10);
        CU_ASSERT(one->n == 5 && two->n == 5);
        CU_ASSERT(rescue(bed, one) == 0);
        CU_ASSERT(rescue(bed, two) == 5);
        CU_ASSERT(bed_show(bed, &c->jobs[0].id)->n_attempts == 1);
        CU_ASSERT(!bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_COMPLETED))); /* the zombie */
        CU_ASSERT(bed_bury(bed, victim, 0, false, true));
        claim_free(c);
        bed_free(bed);
}

static void holds_only_what_the_last_claim_took(void)
{
        struct bed *bed = bed_new();
        bed_add_one(bed);
        struct claim *first = bed_claim(bed, 1);
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&first->jobs[0], STATE_PENDING)));
        struct claim *second = bed_claim(bed, 1);
        CU_ASSERT_FATAL(second->n == 1);
        const struct ledger_held *h = bed_held(bed, bed->holder, 0, 10);
        CU_ASSERT(h->n == 1 && h->jobs[0].claim == 2 && h->jobs[0].token == second->token);
        claim_free(first);
        claim_free(second);
        bed_free(bed);
}

static void forgets_a_node_that_leaves_in_order(void)
{
        struct bed *bed = bed_new();
        bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(bed_bury(bed, bed->holder, 0, true, false));
        CU_ASSERT(!bed_bury(bed, bed->holder, 0, false, true));
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_COMPLETED)));
        CU_ASSERT(bed_bury(bed, bed->holder, 0, false, true));
        CU_ASSERT(fixture->count_commits(bed->store) == 0);
        struct ledger_resolve *r = NEW(resolve, RESOLVE); /* its numbers are gone, and it says so */
        r->of = c->no;
        bed_must(bed, &r->base);
        CU_ASSERT(!r->happened && r->forgotten);
        ledger_batch_free(&r->base);
        claim_free(c);
        bed_free(bed);
}

CASES(cases_rescue, {"buries only what has not moved", buries_only_what_has_not_moved, 0},
      {"fences the dead", fences_the_dead, 0},
      {"finds what is held, in pages", finds_what_is_held_in_pages, 0},
      {"two rescuers write each job once", two_rescuers_write_each_job_once, 0},
      {"holds only what the last claim took", holds_only_what_the_last_claim_took, 0},
      {"forgets a node that leaves in order", forgets_a_node_that_leaves_in_order, NEED_RAW});
