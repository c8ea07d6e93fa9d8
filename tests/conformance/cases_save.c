/*
 * What a job brings with it and gathers on its way: its own policy and times, checkpoints,
 * progress, the fingerprints of its errors. All of it is handed over with each claim.
 */
#include "tests/conformance/bed_life.h"

/* --- policy, retry_until, heartbeat ----------------------------------------------------------- */

static struct submit_row with_policy(struct bed *bed)
{
        struct submit_row row = bed_row(bed);
        row.policy = STR("linear base=2s attempts=7");
        row.retry_until_us = fixture->now_us(bed->store) + HOUR;
        row.heartbeat_ms = 30000;
        return row;
}

static void has_policy(const struct job *j, const struct submit_row *row)
{
        CU_ASSERT(job_id_eq(&j->id, &row->id));
        CU_ASSERT(str_eq(j->policy, row->policy) && j->retry_until_us == row->retry_until_us);
        CU_ASSERT(j->heartbeat_ms == row->heartbeat_ms);
        CU_ASSERT(!j->left_work && j->checkpoint.n == 0);
}

static void shows_policy(struct bed *bed, const struct submit_row *row)
{
        const struct job_row *j = bed_show(bed, &row->id);
        CU_ASSERT(str_eq(j->policy, row->policy) && j->retry_until_us == row->retry_until_us);
        CU_ASSERT(j->heartbeat_ms == row->heartbeat_ms);
        struct ledger_list filter = {.state = -1, .limit = 1};
        const struct ledger_list *l = bed_list(bed, &filter);
        CU_ASSERT_FATAL(l->n == 1);
        CU_ASSERT(str_eq(l->rows[0].policy, row->policy));
        CU_ASSERT(l->rows[0].retry_until_us == row->retry_until_us);
        CU_ASSERT(l->rows[0].heartbeat_ms == row->heartbeat_ms);
}

static void a_claim_brings_the_policy(void)
{
        struct bed *bed = bed_new();
        struct submit_row plain = bed_row(bed), row = with_policy(bed);
        CU_ASSERT(bed_add(bed, &plain) == SUBMIT_CREATED);
        shows_policy(bed, &plain);
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        shows_policy(bed, &row);
        struct claim *c = bed_claim(bed, 2);
        CU_ASSERT_FATAL(c->n == 2);
        has_policy(&c->jobs[0], &plain);
        has_policy(&c->jobs[1], &row);
        struct claim *again = bed_recall(bed, c->no, c->token);
        CU_ASSERT_FATAL(again->n == 2);
        const struct job *first = &again->jobs[0];
        bool swapped = !job_id_eq(&first->id, &plain.id);
        has_policy(&again->jobs[swapped], &plain);
        has_policy(&again->jobs[!swapped], &row);
        claim_free(again);
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

static void letters_and_doorbells_bring_it(void)
{
        struct bed *bed = bed_new();
        struct arrival a = bed_letter(bed);
        struct submit_row row = with_policy(bed);
        row.state = STATE_RUNNING;
        a.row = row;
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        shows_policy(bed, &row);
        row = with_policy(bed);
        row.band = BAND_BROKER;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct arrival bell = bed_doorbell(&row.id, true);
        struct ledger_arrive *b = bed_arrive(bed, &bell, 1);
        bed_must(bed, &b->base);
        CU_ASSERT_FATAL(b->got->n == 1);
        has_policy(&b->got->jobs[0], &row);
        bed_arrive_free(b);
        bed_free(bed);
}

/* A requeue begins anew: the old limit of time would end it at its first failure. */
static void a_requeue_clears_the_limit_of_time(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = with_policy(bed);
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim(bed, 1), STATE_RETRYING);
        fixture->advance(bed->store, HOUR);
        CU_ASSERT(bed_due(bed) == 1);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        CU_ASSERT(c->jobs[0].retry_until_us == row.retry_until_us);
        bed_end(bed, c, STATE_DEAD);
        CU_ASSERT(bed_requeue(bed, &row.id) == REQUEUE_DONE);
        row.retry_until_us = 0;
        c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        has_policy(&c->jobs[0], &row);
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

static void a_rescuer_learns_it(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = with_policy(bed);
        int64_t created = fixture->now_us(bed->store);
        row.headers = (struct str){"reply-to\0there", 14};
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        for (int saved = 0; saved < 2; saved++) {
                const struct ledger_held *h = bed_held(bed, bed->holder, 0, 10);
                CU_ASSERT_FATAL(h->n == 1);
                const struct held_job *j = &h->jobs[0];
                CU_ASSERT(str_eq(j->policy, row.policy) && str_eq(j->headers, row.headers));
                CU_ASSERT(j->retry_until_us == row.retry_until_us && j->created_us == created);
                CU_ASSERT(j->left_work == (saved == 1));
                struct save_row s = bed_save_row(&c->jobs[0]);
                s.has_progress = true;
                s.done = 1;
                CU_ASSERT(bed_save(bed, &s, 1) == 0);
        }
        claim_free(c);
        bed_free(bed);
}

/* --- checkpoints and progress ----------------------------------------------------------------- */

static bool save_checkpoint(struct bed *bed, const struct job *j, struct str bytes)
{
        struct save_row s = bed_save_row(j);
        s.has_checkpoint = true;
        s.checkpoint = bytes;
        return bed_save(bed, &s, 1) == 0;
}

static bool save_progress(struct bed *bed, const struct job *j, double done, double total)
{
        struct save_row s = bed_save_row(j);
        s.has_progress = true;
        s.done = done;
        s.total = total;
        return bed_save(bed, &s, 1) == 0;
}

static struct claim *claim_one(struct bed *bed)
{
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        return c;
}

static void the_next_attempt_has_the_checkpoint(void)
{
        static char large[CHECKPOINT_MAX];
        memset(large, 'c', sizeof large);
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = claim_one(bed);
        CU_ASSERT(save_checkpoint(bed, &c->jobs[0], STR("page 1")));
        CU_ASSERT(save_checkpoint(bed, &c->jobs[0], STR("page\0 2")));
        CU_ASSERT(bed_show(bed, &id)->checkpoint_size == 7);
        struct claim *again = bed_recall(bed, c->no, c->token);
        CU_ASSERT_FATAL(again->n == 1);
        CU_ASSERT(again->jobs[0].left_work && str_eq(again->jobs[0].checkpoint, STR("page\0 2")));
        claim_free(again);
        bed_end(bed, c, STATE_RETRYING);
        fixture->advance(bed->store, HOUR);
        CU_ASSERT(bed_due(bed) == 1);
        (void)bed_add_one(bed);
        c = bed_claim(bed, 2);
        CU_ASSERT_FATAL(c->n == 2);
        CU_ASSERT(c->jobs[0].left_work && str_eq(c->jobs[0].checkpoint, STR("page\0 2")));
        CU_ASSERT(!c->jobs[1].left_work && c->jobs[1].checkpoint.n == 0);
        CU_ASSERT(save_checkpoint(bed, &c->jobs[0], (struct str){large, sizeof large}));
        bed_end(bed, c, STATE_DEAD); /* and a dead one keeps it for a requeue */
        CU_ASSERT(bed_show(bed, &id)->checkpoint_size == sizeof large);
        CU_ASSERT(bed_requeue(bed, &id) == REQUEUE_DONE);
        c = claim_one(bed);
        CU_ASSERT(str_eq(c->jobs[0].checkpoint, ((struct str){large, sizeof large})));
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

static void checkpoint_and_progress_leave_each_other(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        CU_ASSERT(!bed_show(bed, &id)->has_progress);
        struct claim *c = claim_one(bed);
        CU_ASSERT(save_progress(bed, &c->jobs[0], 0.5, 10));
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->has_progress && j->done == 0.5 && j->total == 10 && j->checkpoint_size == 0);
        CU_ASSERT(j->progress_us == fixture->now_us(bed->store));
        CU_ASSERT(save_checkpoint(bed, &c->jobs[0], STR("here")));
        int64_t told = fixture->now_us(bed->store);
        fixture->advance(bed->store, SECOND);
        CU_ASSERT(save_checkpoint(bed, &c->jobs[0], STR("there")));
        j = bed_show(bed, &id);
        CU_ASSERT(j->has_progress && j->done == 0.5 && j->progress_us == told);
        CU_ASSERT(save_progress(bed, &c->jobs[0], 3, 0));
        j = bed_show(bed, &id);
        CU_ASSERT(j->done == 3 && j->total == 0 && j->checkpoint_size == 5);
        CU_ASSERT(j->progress_us == told + SECOND && j->state == STATE_RUNNING);
        struct ledger_list filter = {.state = -1, .limit = 5};
        CU_ASSERT(bed_list(bed, &filter)->rows[0].has_progress);
        CU_ASSERT(bed_list(bed, &filter)->rows[0].done == 3);
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

static void many_in_one_batch(void)
{
        enum { JOBS = 40 };
        struct bed *bed = bed_new();
        for (int i = 0; i < JOBS; i++) {
                (void)bed_add_one(bed);
        }
        struct claim *c = bed_claim(bed, JOBS);
        CU_ASSERT_FATAL(c->n == JOBS);
        struct save_row rows[JOBS + 1];
        for (int i = 0; i < JOBS; i++) {
                rows[i] = bed_save_row(&c->jobs[i]);
                rows[i].has_progress = true;
                rows[i].done = i;
        }
        rows[JOBS] = rows[3]; /* a later one of the same job */
        rows[JOBS].done = 99;
        rows[7].token++;
        CU_ASSERT(bed_save(bed, rows, JOBS + 1) == 1);
        for (int i = 0; i < JOBS; i++) {
                const struct job_row *j = bed_show(bed, &c->jobs[i].id);
                CU_ASSERT(j->has_progress == (i != 7));
                CU_ASSERT(i == 7 || j->done == (i == 3 ? 99 : i));
        }
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

static void a_completed_job_keeps_neither(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = claim_one(bed);
        CU_ASSERT(save_progress(bed, &c->jobs[0], 1, 2));
        CU_ASSERT(save_checkpoint(bed, &c->jobs[0], STR("here")));
        c->jobs[0].left_work = true; /* as the engine notes it */
        bed_end(bed, c, STATE_COMPLETED);
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->state == STATE_COMPLETED && !j->has_progress && j->checkpoint_size == 0);
        bed_free(bed);
}

static void only_the_run_that_holds_it_may_save(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = claim_one(bed);
        struct job wrong = c->jobs[0];
        wrong.token ^= 1;
        CU_ASSERT(!save_checkpoint(bed, &wrong, STR("no")));
        wrong = c->jobs[0];
        wrong.claim++;
        CU_ASSERT(!save_checkpoint(bed, &wrong, STR("no")));
        wrong = c->jobs[0];
        wrong.id.b[3] ^= 1;
        CU_ASSERT(!save_progress(bed, &wrong, 1, 1));
        CU_ASSERT(!bed_show(bed, &id)->has_progress && bed_show(bed, &id)->checkpoint_size == 0);
        wrong = c->jobs[0];
        wrong.ref = 0; /* found by its id */
        CU_ASSERT(save_checkpoint(bed, &wrong, STR("yes")));
        struct job old = c->jobs[0];
        bed_end(bed, c, STATE_PENDING);
        CU_ASSERT(!save_checkpoint(bed, &old, STR("late")));
        c = claim_one(bed);
        CU_ASSERT(!save_checkpoint(bed, &old, STR("late")));
        CU_ASSERT(str_eq(c->jobs[0].checkpoint, STR("yes")));
        bed_end(bed, c, STATE_COMPLETED);
        CU_ASSERT(!save_progress(bed, &old, 1, 1));
        CU_ASSERT(!bed_show(bed, &id)->has_progress);
        bed_free(bed);
}

/* As a connection that hung may write it, long after another has written the next. */
static bool save_numbered(struct bed *bed, const struct job *j, uint32_t n, struct str checkpoint,
                          double done)
{
        struct save_row s = bed_save_row(j);
        s.n = n;
        s.has_checkpoint = checkpoint.n > 0;
        s.checkpoint = checkpoint;
        s.has_progress = done > 0;
        s.done = done;
        return bed_save(bed, &s, 1) == 0;
}

static void an_older_save_undoes_nothing(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = claim_one(bed);
        CU_ASSERT(save_numbered(bed, &c->jobs[0], 0xfffffff0, STR("page 7"), 7));
        CU_ASSERT(save_numbered(bed, &c->jobs[0], 6, STR("page six"), 6)); /* it is not stale */
        CU_ASSERT(save_numbered(bed, &c->jobs[0], 5, STR("page five"), 0));
        CU_ASSERT(save_numbered(bed, &c->jobs[0], 4, STR(""), 4));
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->done == 7 && j->checkpoint_size == 6);
        CU_ASSERT(save_numbered(bed, &c->jobs[0], 0xfffffff0, STR("page 7"), 7)); /* once more */
        CU_ASSERT(save_numbered(bed, &c->jobs[0], 0xfffffff1, STR(""), 8));       /* the next */
        CU_ASSERT(save_numbered(bed, &c->jobs[0], 0xfffffff0, STR("again"), 0));
        CU_ASSERT(bed_show(bed, &id)->done == 8);
        bed_end(bed, c, STATE_PENDING);
        c = claim_one(bed);
        CU_ASSERT(str_eq(c->jobs[0].checkpoint, STR("page 7")));
        CU_ASSERT(
            save_numbered(bed, &c->jobs[0], 1, STR("page 8"), 0)); /* each claim counts anew */
        bed_end(bed, c, STATE_PENDING);
        c = claim_one(bed);
        CU_ASSERT(str_eq(c->jobs[0].checkpoint, STR("page 8")));
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

static void refuses_a_checkpoint_that_is_too_large(void)
{
        static char large[CHECKPOINT_MAX + 1];
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        struct claim *c = claim_one(bed);
        struct save_row rows[] = {bed_save_row(&c->jobs[0]), bed_save_row(&c->jobs[0])};
        rows[0].has_progress = rows[1].has_checkpoint = true;
        rows[1].checkpoint = (struct str){large, sizeof large};
        struct ledger_save *b = NEW(save, SAVE);
        b->rows = rows;
        b->n = 2;
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_REFUSED && b->base.note[0]);
        ledger_batch_free(&b->base);
        CU_ASSERT(!bed_show(bed, &id)->has_progress);
        bed_end(bed, c, STATE_COMPLETED);
        bed_free(bed);
}

/* --- lateness --------------------------------------------------------------------------------- */

static void late_by(struct bed *bed, int64_t us, enum job_state to)
{
        struct claim *c = claim_one(bed);
        CU_ASSERT(c->jobs[0].late_us == us);
        struct claim *again = bed_recall(bed, c->no, c->token);
        CU_ASSERT(again->n == 1 && again->jobs[0].late_us == us);
        claim_free(again);
        bed_end(bed, c, to);
}

static void a_claim_tells_how_late_it_is(void)
{
        struct bed *bed = bed_new();
        (void)bed_add_one(bed);
        fixture->advance(bed->store, SECOND);
        late_by(bed, 0, STATE_RETRYING); /* it waited, but for no time */
        fixture->advance(bed->store, HOUR + SECOND);
        CU_ASSERT(bed_due(bed) == 1);
        fixture->advance(bed->store, 2 * SECOND);
        late_by(bed, 3 * SECOND, STATE_SCHEDULED);
        fixture->advance(bed->store, HOUR);
        CU_ASSERT(bed_due(bed) == 1);
        late_by(bed, 0, STATE_DEAD);
        struct submit_row row = bed_row(bed);
        row.state = STATE_SCHEDULED;
        row.after_us = HOUR;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        CU_ASSERT(bed_requeue(bed, &row.id) == REQUEUE_NOW);
        late_by(bed, 0, STATE_COMPLETED); /* an operator's wish */
        bed_free(bed);
}

/* --- fingerprints ----------------------------------------------------------------------------- */

static void tries_keep_their_fingerprint(void)
{
        static const uint64_t prints[] = {0x0123456789abcdef, 0xfedcba9876543210, 0};
        struct bed *bed = bed_new();
        struct job_id id = bed_add_one(bed);
        for (int i = 0; i < 3; i++) {
                struct claim *c = claim_one(bed);
                struct finish_row v = bed_verdict(&c->jobs[0], i < 2 ? STATE_RETRYING : STATE_DEAD);
                v.keep_attempt = i < 2;
                v.error = ERROR_FAILED;
                v.error_text = STR("no");
                v.fingerprint = prints[i];
                CU_ASSERT(bed_finish_one(bed, v));
                CU_ASSERT(bed_show(bed, &id)->last.fingerprint == prints[i]);
                (void)bed_due(bed);
                claim_free(c);
        }
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT_FATAL(j->n_attempts == 2);
        CU_ASSERT(j->attempts[0].fingerprint == prints[0]);
        CU_ASSERT(j->attempts[1].fingerprint == prints[1]);
        bed_free(bed);
}

CASES(cases_save, {"a claim brings the policy", a_claim_brings_the_policy, 0},
      {"letters and doorbells bring it", letters_and_doorbells_bring_it, 0},
      {"a requeue clears the limit of time", a_requeue_clears_the_limit_of_time, 0},
      {"a rescuer learns it", a_rescuer_learns_it, 0},
      {"the next attempt has the checkpoint", the_next_attempt_has_the_checkpoint, 0},
      {"checkpoint and progress leave each other", checkpoint_and_progress_leave_each_other, 0},
      {"many in one batch", many_in_one_batch, 0},
      {"a completed job keeps neither", a_completed_job_keeps_neither, 0},
      {"only the run that holds it may save", only_the_run_that_holds_it_may_save, 0},
      {"an older save undoes nothing", an_older_save_undoes_nothing, 0},
      {"refuses a checkpoint that is too large", refuses_a_checkpoint_that_is_too_large, 0},
      {"a claim tells how late it is", a_claim_tells_how_late_it_is, 0},
      {"tries keep their fingerprint", tries_keep_their_fingerprint, 0});
