/*
 * REGISTER and BEAT: who is there, and which cancels a holder is told of.
 */
#include "tests/conformance/bed.h"

static const struct node_seen *find_node(const struct ledger_beat *b, uint64_t holder)
{
        for (uint32_t i = 0; i < b->n_nodes; i++) {
                if (b->nodes[i].holder == holder) {
                        return &b->nodes[i];
                }
        }
        return NULL;
}

static void registers_and_beats(void)
{
        struct bed *bed = bed_new();
        const struct node_seen *first = find_node(bed_beat(bed), bed->holder);
        const struct node_seen *second = find_node(bed_beat(bed), bed->holder);
        CU_ASSERT_FATAL(first && second);
        CU_ASSERT(first->beat == 2 && second->beat == 3 && !second->dead);
        CU_ASSERT(str_eq(second->host, STR("host")) && second->pid == 4711);
        bed_free(bed);
}

static void refuses_a_second_registration(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(bed_register(bed) == LEDGER_REFUSED);
        bed->holder = 102;
        CU_ASSERT(bed_register(bed) == LEDGER_COMMITTED);
        CU_ASSERT(bed_beat(bed)->n_nodes == 2);
        bed_free(bed);
}

static void fences_the_beat_of_a_stranger(void)
{
        struct bed *bed = bed_new();
        bed->holder = 999;
        struct ledger_beat *b = NEW(beat, BEAT);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_FENCED);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

static void tells_a_cancel_once(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_job_in(bed, STATE_RUNNING), other = bed_job_in(bed, STATE_RUNNING);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
        CU_ASSERT(bed_show(bed, &id)->cancel_asked && !bed_show(bed, &other)->cancel_asked);
        const struct ledger_beat *b = bed_beat(bed);
        CU_ASSERT_FATAL(b->n_cancels == 1);
        CU_ASSERT(job_id_eq(&b->cancels[0], &id));
        CU_ASSERT(bed_beat(bed)->n_cancels == 0);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED); /* again: it was told */
        CU_ASSERT(bed_state(bed, &id) == STATE_RUNNING);
        bed_free(bed);
}

/* A beat by hand: which beat was heard last is what the case is about. */
static struct ledger_beat *beat_knowing(struct bed *bed, uint64_t known)
{
        struct ledger_beat *b = NEW(beat, BEAT);
        b->known = known;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static bool tells(const struct ledger_beat *b, const struct job_id *id)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < b->n_cancels; i++) {
                n += job_id_eq(&b->cancels[i], id);
        }
        CU_ASSERT(n <= 1);
        return n == 1;
}

static void tells_a_cancel_until_the_answer_is_known(void)
{
        struct bed *bed = bed_new();
        struct job_id one = bed_job_in(bed, STATE_RUNNING), two = bed_job_in(bed, STATE_RUNNING);
        uint64_t heard = beat_knowing(bed, 0)->base.no.n;
        CU_ASSERT(bed_cancel(bed, &one) == CANCEL_ASKED);
        CU_ASSERT(tells(beat_knowing(bed, heard), &one)); /* this answer is lost */
        CU_ASSERT(bed_cancel(bed, &two) == CANCEL_ASKED);
        const struct ledger_beat *b = beat_knowing(bed, heard); /* and this one */
        CU_ASSERT(tells(b, &one) && tells(b, &two) && b->n_cancels == 2);
        b = beat_knowing(bed, heard);
        CU_ASSERT(tells(b, &one) && tells(b, &two));
        CU_ASSERT(beat_knowing(bed, b->base.no.n)->n_cancels == 0);
        CU_ASSERT(beat_knowing(bed, b->base.no.n)->n_cancels == 0);
        bed_free(bed);
}

/* The answer of the first beat came, that of the second did not. */
static void tells_again_only_what_came_after_the_known_beat(void)
{
        struct bed *bed = bed_new();
        struct job_id one = bed_job_in(bed, STATE_RUNNING), two = bed_job_in(bed, STATE_RUNNING);
        CU_ASSERT(bed_cancel(bed, &one) == CANCEL_ASKED);
        const struct ledger_beat *first = beat_knowing(bed, 0);
        CU_ASSERT(tells(first, &one) && first->n_cancels == 1);
        CU_ASSERT(bed_cancel(bed, &two) == CANCEL_ASKED);
        CU_ASSERT(tells(beat_knowing(bed, 0), &two));
        const struct ledger_beat *third = beat_knowing(bed, first->base.no.n);
        CU_ASSERT(!tells(third, &one) && tells(third, &two));
        CU_ASSERT(beat_knowing(bed, third->base.no.n)->n_cancels == 0);
        bed_free(bed);
}

static void tells_a_cancel_though_the_beat_was_unknown(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                struct job_id id = bed_job_in(bed, STATE_RUNNING);
                uint64_t heard = bed_beat(bed)->base.no.n;
                CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
                struct ledger_beat *b = NEW(beat, BEAT);
                b->known = heard;
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                ledger_batch_free(&b->base);
                CU_ASSERT(tells(bed_beat(bed), &id));
                CU_ASSERT(bed_beat(bed)->n_cancels == 0);
                bed_free(bed);
        }
}

static void requeue_and_claim(struct bed *bed, const struct job_id *id)
{
        struct ledger_requeue *b = NEW(requeue, REQUEUE);
        b->id = *id;
        bed_must(bed, &b->base);
        CU_ASSERT(b->result == REQUEUE_DONE);
        ledger_batch_free(&b->base);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(c->n == 1 && job_id_eq(&c->jobs[0].id, id) && !c->jobs[0].cancel_asked);
        claim_free(c);
}

/* The job is requeued and runs here again: the old request is not for this run, a new one is. */
static void a_new_run_needs_a_new_cancel(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
        const struct ledger_beat *told = beat_knowing(bed, 0);
        CU_ASSERT(tells(told, &id));
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_CANCELLED)));
        requeue_and_claim(bed, &id);
        CU_ASSERT(beat_knowing(bed, 0)->n_cancels == 0);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
        CU_ASSERT(tells(beat_knowing(bed, told->base.no.n), &id));
        claim_free(c);
        bed_free(bed);
}

static void tells_no_cancel_of_what_has_ended(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_COMPLETED)));
        CU_ASSERT(bed_beat(bed)->n_cancels == 0);
        claim_free(c);
        bed_free(bed);
}

static void tells_only_the_holder(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_job_in(bed, STATE_RUNNING);
        uint64_t holder = bed->holder;
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
        bed->holder = 102;
        CU_ASSERT(bed_register(bed) == LEDGER_COMMITTED);
        CU_ASSERT(bed_beat(bed)->n_cancels == 0);
        bed->holder = holder;
        CU_ASSERT(bed_beat(bed)->n_cancels == 1);
        bed_free(bed);
}

static void carries_the_cancel_to_the_next_claim(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&c->jobs[0], STATE_PENDING)));
        struct claim *next = bed_claim(bed, 1);
        CU_ASSERT_FATAL(next->n == 1);
        CU_ASSERT(next->jobs[0].cancel_asked);
        claim_free(c);
        claim_free(next);
        bed_free(bed);
}

static void sees_that_others_wrote(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        (void)bed_beat(bed);
        bed_add_one(other);
        CU_ASSERT(bed_beat(bed)->changed);
        bed_free(other);
        bed_free(bed);
}

CASES(cases_node, {"registers and beats", registers_and_beats, 0},
      {"refuses a second registration", refuses_a_second_registration, 0},
      {"fences the beat of a stranger", fences_the_beat_of_a_stranger, 0},
      {"tells a cancel once", tells_a_cancel_once, 0},
      {"tells a cancel until the answer is known", tells_a_cancel_until_the_answer_is_known, 0},
      {"tells again only what came after the known beat",
       tells_again_only_what_came_after_the_known_beat, 0},
      {"tells a cancel though the beat was unknown", tells_a_cancel_though_the_beat_was_unknown,
       NEED_FAULT},
      {"a new run needs a new cancel", a_new_run_needs_a_new_cancel, 0},
      {"tells no cancel of what has ended", tells_no_cancel_of_what_has_ended, 0},
      {"tells only the holder", tells_only_the_holder, 0},
      {"carries a cancel to the next claim", carries_the_cancel_to_the_next_claim, 0},
      {"a beat sees that others wrote", sees_that_others_wrote, NEED_SHARE});
