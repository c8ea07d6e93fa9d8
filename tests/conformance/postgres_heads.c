/*
 * Heads: where claims begin. Who writes a row, or takes a claim back, while a head moves on, is not
 * passed over.
 */
#include "tests/conformance/bed_life.h"
#include "tests/conformance/postgres_own.h"

#include <stdio.h>

#define MANY 700 /* more than a head moves at least */

static const char head[] = "select max(lane & ((1::bigint << 56) - 1)) from skep.heads";

/* Each gives the queue something to count, so that there is something to fold. */
static void fold_often(struct bed *bed)
{
        for (int i = 0; i < 5; i++) {
                struct job_id id = bed_add_one(bed);
                CU_ASSERT(bed_cancel(bed, &id) == CANCEL_DONE);
                bed_fold(bed);
        }
}

/* Transactions in other databases of the server hold it up as well. */
static bool moves_on(struct bed *bed, PGconn *c)
{
        for (int i = 0; i < 1000 && ask_number(c, head) <= MANY; i++) {
                fold_often(bed);
        }
        return ask_number(c, head) > MANY;
}

static void run_away(struct bed *bed, uint32_t n)
{
        struct submission *s = bed_submission(bed, n);
        for (uint32_t i = 0; i < n; i++) {
                s->rows[i] = bed_row(bed);
        }
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
        submission_free(s);
        struct claim *c = bed_claim(bed, n);
        CU_ASSERT_FATAL(c->n == n);
        struct finish_row *rows = calloc(n, sizeof *rows);
        for (uint32_t i = 0; i < n; i++) {
                rows[i] = bed_verdict(&c->jobs[i], STATE_COMPLETED);
        }
        CU_ASSERT(bed_finish(bed, rows, n) == 0);
        free(rows);
        claim_free(c);
}

static bool claims(struct bed *bed, const struct job_id *id)
{
        struct claim *c = bed_claim(bed, 1);
        bool is = c->n == 1 && job_id_eq(&c->jobs[0].id, id);
        claim_free(c);
        return is;
}

static void move_on(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        run_away(bed, MANY);
        CU_ASSERT(moves_on(bed, c));
        struct job_id id = bed_add_one(bed);
        fold_often(bed);
        CU_ASSERT(claims(bed, &id));
        PQfinish(c);
        bed_free(bed);
}

/* A transaction that drew a number before many others did, and commits after them. */
static void wait_for_who_is_late(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store)), *late = connect_to(store_url(bed->store));
        struct job_id id = id_mint(&bed->mint, fixture->now_us(bed->store));
        char text[JOB_ID_TEXT], sql[500];
        id_text(&id, text);
        snprintf(sql, sizeof sql,
                 "set search_path = skep; begin; insert into jobs (id, created, lane, seq, "
                 "max_attempts, state, priority, queue, type) select '%s', skep_now(), "
                 "lane_fresh(5, s), s, 1, 1, 5, 'q', 'noop' from nextval('jobs_seq') s",
                 text);
        must_run(late, sql);
        run_away(bed, MANY);
        fold_often(bed);
        CU_ASSERT(ask_number(c, head) <= 1);
        must_run(late, "commit");
        CU_ASSERT(claims(bed, &id));
        CU_ASSERT(moves_on(bed, c));
        PQfinish(late);
        PQfinish(c);
        bed_free(bed);
}

/* What a transaction claims is pending until it commits, whoever skips its lock meanwhile. */
static void wait_for_a_claim_taken_back(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store)), *other = connect_to(store_url(bed->store));
        struct job_id id = bed_add_one(bed);
        must_run(other,
                 "begin; update skep.jobs set state = 2, lane = null, claim = 1, holder = 1");
        run_away(bed, MANY);
        fold_often(bed);
        must_run(other, "rollback");
        CU_ASSERT(claims(bed, &id));
        PQfinish(other);
        PQfinish(c);
        bed_free(bed);
}

static void are_not_before_who_comes_back(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        struct job_id id = bed_add_one(bed);
        struct claim *first = bed_claim(bed, 1);
        CU_ASSERT_FATAL(first->n == 1);
        run_away(bed, MANY);
        CU_ASSERT(moves_on(bed, c));
        struct job_id later = bed_add_one(bed);
        CU_ASSERT(bed_finish_one(bed, bed_verdict(&first->jobs[0], STATE_PENDING)));
        claim_free(first);
        CU_ASSERT(claims(bed, &id));
        CU_ASSERT(claims(bed, &later));
        PQfinish(c);
        bed_free(bed);
}

/* Whatever made it wrong. */
static void mend_themselves(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        run_away(bed, 1);
        fold_often(bed);
        struct job_id id = bed_add_one(bed);
        must_run(c, "update skep.heads set lane = lane + 1000, next = lane + 1000");
        CU_ASSERT(!claims(bed, &id));
        fold_often(bed);
        CU_ASSERT(claims(bed, &id));
        PQfinish(c);
        bed_free(bed);
}

/* Copied rows bring the xids of another server with them. */
static void begin_anew_in_a_copy(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        run_away(bed, MANY);
        must_run(c, "update skep.heads set xid = '900000000000', next = next + 10 * 1000000");
        struct job_id id = bed_add_one(bed);
        CU_ASSERT(moves_on(bed, c));
        CU_ASSERT(claims(bed, &id));
        PQfinish(c);
        bed_free(bed);
}

/* One for each priority, and none for a queue that nothing waits in. */
static void are_few(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        struct submit_row urgent = bed_row(bed), plain = bed_row(bed);
        urgent.priority = 9;
        plain.priority = 2;
        CU_ASSERT(bed_add(bed, &plain) == SUBMIT_CREATED &&
                  bed_add(bed, &urgent) == SUBMIT_CREATED);
        CU_ASSERT(claims(bed, &urgent.id));
        CU_ASSERT(claims(bed, &plain.id));
        CU_ASSERT(ask_number(c, "select count(*) from skep.heads") == 2);
        PQfinish(c);
        bed_free(bed);
}

CASES(postgres_cases_heads, {"move on", move_on, 0},
      {"wait for who is late", wait_for_who_is_late, 0},
      {"wait for a claim taken back", wait_for_a_claim_taken_back, 0},
      {"are not before who comes back", are_not_before_who_comes_back, 0},
      {"mend themselves", mend_themselves, 0}, {"begin anew in a copy", begin_anew_in_a_copy, 0},
      {"are few", are_few, 0});
