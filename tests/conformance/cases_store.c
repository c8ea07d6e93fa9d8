/*
 * The store itself: what outlives a handle, what many do at once, and which edges it refuses
 * whoever writes.
 */
#include "tests/conformance/bed.h"

#include <pthread.h>
#include <stdio.h>

static void keeps_all_when_reopened(void)
{
        struct bed *bed = bed_new();
        struct job_id running = bed_job_in(bed, STATE_RUNNING), dead = bed_job_in(bed, STATE_DEAD);
        struct job_id waiting = bed_add_one(bed);
        for (int i = 0; i < 3; i++) {
                bed_reopen(bed);
        }
        CU_ASSERT(bed_state(bed, &running) == STATE_RUNNING);
        CU_ASSERT(bed_state(bed, &dead) == STATE_DEAD);
        CU_ASSERT(bed_state(bed, &waiting) == STATE_PENDING);
        CU_ASSERT(bed_beat(bed)->n_nodes == 1);
        struct ledger_held *h = NEW(held, HELD);
        h->victim = bed->holder;
        h->limit = 10;
        bed_must(bed, &h->base);
        CU_ASSERT(h->n == 1 && job_id_eq(&h->jobs[0].id, &running));
        ledger_batch_free(&h->base);
        struct claim *c = bed_claim(bed, 10);
        CU_ASSERT(c->n == 1);
        claim_free(c);
        bed_free(bed);
}

static void close_waits_for_what_was_posted(void)
{
        enum { JOBS = 200 };
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, JOBS);
        for (uint32_t i = 0; i < JOBS; i++) {
                struct submission *one = arena_zalloc(&s->arena, sizeof *one);
                one->rows = &s->rows[i];
                one->n = 1;
                bed_post(bed, &bed_submit(one)->base);
        }
        bed_reopen(bed);
        CU_ASSERT(bed_state(bed, &s->rows[0].id) == STATE_PENDING);
        CU_ASSERT(bed_state(bed, &s->rows[JOBS - 1].id) == STATE_PENDING);
        submission_free(s);
        bed_free(bed);
}

/* --- ten at once ------------------------------------------------------------------------------ */

struct opener {
        pthread_t thread;
        pthread_barrier_t *start;
        void *store;
        struct ledger *l;
        int r;
        char note[200];
};

static void *open_one(void *arg)
{
        struct opener *o = arg;
        pthread_barrier_wait(o->start);
        o->r = fixture->open(o->store, &o->l, o->note, sizeof o->note);
        return NULL;
}

static void ten_open_a_fresh_store_at_once(void)
{
        enum { MANY = 10 };
        struct opener o[MANY] = {0};
        pthread_barrier_t start;
        void *store = fixture->setup();
        CU_ASSERT_FATAL(store != NULL);
        pthread_barrier_init(&start, NULL, MANY);
        for (int i = 0; i < MANY; i++) {
                o[i].start = &start;
                o[i].store = store;
                pthread_create(&o[i].thread, NULL, open_one, &o[i]);
        }
        for (int i = 0; i < MANY; i++) {
                pthread_join(o[i].thread, NULL);
                if (o[i].r < 0) {
                        fprintf(stderr, "\n%s\n", o[i].note);
                }
                CU_ASSERT(o[i].r == 0);
        }
        for (int i = 0; i < MANY; i++) {
                if (o[i].l) {
                        o[i].l->ops->close(o[i].l);
                }
        }
        pthread_barrier_destroy(&start);
        fixture->teardown(store);
}

static void many_handles_write_one_store(void)
{
        enum { BEDS = 3, EACH = 60 };
        struct bed *beds[BEDS] = {bed_new()};
        beds[1] = bed_join(beds[0], 301);
        beds[2] = bed_join(beds[0], 302);
        struct submission *subs[BEDS];
        struct ledger_submit *batches[BEDS][EACH];
        for (int i = 0; i < BEDS; i++) {
                subs[i] = bed_submission(beds[i], EACH);
                for (int k = 0; k < EACH; k++) {
                        struct submission *one = arena_zalloc(&subs[i]->arena, sizeof *one);
                        one->rows = &subs[i]->rows[k];
                        one->n = 1;
                        batches[i][k] = bed_submit(one);
                        bed_post(beds[i], &batches[i][k]->base);
                }
        }
        for (int i = 0; i < BEDS; i++) {
                for (int k = 0; k < EACH; k++) {
                        bed_wait(beds[i], &batches[i][k]->base);
                        CU_ASSERT(batches[i][k]->base.outcome == LEDGER_COMMITTED);
                        CU_ASSERT(subs[i]->rows[k].result == SUBMIT_CREATED);
                        ledger_batch_free(&batches[i][k]->base);
                }
                submission_free(subs[i]);
        }
        struct ledger_list filter = {.state = -1, .limit = 1000};
        CU_ASSERT(bed_list(beds[0], &filter)->n == BEDS * EACH);
        for (int i = BEDS - 1; i >= 0; i--) {
                bed_free(beds[i]);
        }
}

/* --- edges ------------------------------------------------------------------------------------ */

static void try_edge(struct bed *bed, enum job_state from, enum job_state to, bool raise)
{
        struct job_id id = from == STATE_NONE ? id_mint(&bed->mint, fixture->now_us(bed->store))
                                              : bed_job_in(bed, from);
        bool legal = state_edge(from, to);
        if (from != STATE_NONE && state_edge_by_operator(from, to)) {
                legal = raise;
        }
        bool done = fixture->raw_state(bed->store, &id, from, to, raise);
        if (done != legal) {
                printf("\n%s -> %s%s: %s\n", from == STATE_NONE ? "new" : state_name(from),
                       state_name(to), raise ? " with generation + 1" : "",
                       done ? "went through" : "was refused");
        }
        CU_ASSERT(done == legal);
        CU_ASSERT(bed_state(bed, &id) == (legal ? to : from));
}

static void knows_the_edges_whoever_writes(void)
{
        struct bed *bed = bed_new();
        for (int from = 0; from <= JOB_STATE_COUNT; from++) {
                for (int to = 0; to < JOB_STATE_COUNT; to++) {
                        if (to == from) {
                                continue; /* it stays where it is */
                        }
                        try_edge(bed, (enum job_state)from, (enum job_state)to, false);
                        if (from < JOB_STATE_COUNT) {
                                try_edge(bed, (enum job_state)from, (enum job_state)to, true);
                        }
                }
        }
        bed_free(bed);
}

static void refuses_states_that_do_not_exist(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_job_in(bed, STATE_RUNNING);
        CU_ASSERT(!fixture->raw_state(bed->store, &id, STATE_RUNNING, (enum job_state)7, false));
        CU_ASSERT(!fixture->raw_state(bed->store, &id, STATE_RUNNING, (enum job_state) - 1, false));
        CU_ASSERT(bed_state(bed, &id) == STATE_RUNNING);
        bed_free(bed);
}

CASES(cases_store, {"keeps all when reopened", keeps_all_when_reopened, NEED_REOPEN},
      {"close waits for what was posted", close_waits_for_what_was_posted, NEED_REOPEN},
      {"ten open and migrate a fresh store at once", ten_open_a_fresh_store_at_once, NEED_SHARE},
      {"many handles write one store", many_handles_write_one_store, NEED_SHARE},
      {"knows the edges, whoever writes", knows_the_edges_whoever_writes, NEED_RAW},
      {"refuses states that do not exist", refuses_states_that_do_not_exist, NEED_RAW});
