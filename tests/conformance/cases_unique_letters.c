/*
 * Unique keys where they come by other ways than SUBMIT: letters of a broker, children of a job,
 * a thousand callers at once.
 */
#include "tests/conformance/bed_life.h"

static struct arrival unique_letter(struct bed *bed, const char *key)
{
        struct arrival a = bed_letter(bed);
        a.row.unique = bed_unique(key);
        return a;
}

static struct job_id submit_unique(struct bed *bed, const char *key, enum submit_result want)
{
        struct submit_row row = bed_row(bed);
        row.unique = bed_unique(key);
        CU_ASSERT(bed_add(bed, &row) == want);
        return want == SUBMIT_CREATED ? row.id : row.existing;
}

static bool text_names(struct str text, const struct job_id *id)
{
        char name[JOB_ID_TEXT];
        id_text(id, name);
        return text.n >= JOB_ID_TEXT - 1 && memmem(text.p, text.n, name, JOB_ID_TEXT - 1);
}

static void is_a_duplicate(struct bed *bed, const struct job_id *id, const struct job_id *holder)
{
        const struct job_row *j = bed_show(bed, id);
        CU_ASSERT(j->state == STATE_CANCELLED && j->reason == REASON_DUPLICATE);
        CU_ASSERT(j->last.error == ERROR_DUPLICATE && text_names(j->last.error_text, holder));
        CU_ASSERT(j->finished_us != 0 && j->claim == 0 && j->attempt == 0);
        CU_ASSERT(str_eq(j->payload, STR("x")));
}

static void a_letter_that_loses_is_cancelled(void)
{
        struct bed *bed = bed_new();
        struct job_id id = submit_unique(bed, "a", SUBMIT_CREATED);
        struct arrival a = unique_letter(bed, "a");
        a.row.key = key_from_text(STR("letter-1"));
        struct arrival again = a;
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_DUPLICATE);
        CU_ASSERT(job_id_eq(&a.row.existing, &id));
        is_a_duplicate(bed, &a.row.id, &id);
        again.row.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        again.redelivered = true;
        CU_ASSERT(bed_arrive_one(bed, &again) == ARRIVAL_KNOWN);
        CU_ASSERT(job_id_eq(&again.row.existing, &a.row.id));
        CU_ASSERT(bed_count(bed, "q", STATE_CANCELLED) == 1);
        CU_ASSERT(bed_count(bed, "q", STATE_RUNNING) == 0);
        bed_free(bed);
}

static void a_letter_holds_as_well(void)
{
        struct bed *bed = bed_new();
        struct arrival a = unique_letter(bed, "a");
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        struct job_id holder = submit_unique(bed, "a", SUBMIT_HELD);
        CU_ASSERT(job_id_eq(&holder, &a.row.id));
        struct arrival b = unique_letter(bed, "a");
        CU_ASSERT(bed_arrive_one(bed, &b) == ARRIVAL_DUPLICATE);
        is_a_duplicate(bed, &b.row.id, &a.row.id);
        bed_free(bed);
}

/* Those that lose are neither claimed nor recalled, though they asked to run. */
static void one_letter_of_a_batch_runs(void)
{
        struct bed *bed = bed_new();
        struct arrival items[6];
        for (int i = 0; i < 6; i++) {
                items[i] = unique_letter(bed, i == 4 ? "b" : "a");
                items[i].fingerprint = 100 + (uint64_t)i;
        }
        struct ledger_arrive *b = bed_arrive(bed, items, 6);
        bed_must(bed, &b->base);
        const struct arrival *out = b->list->items;
        for (int i = 0; i < 6; i++) {
                bool taken = i == 0 || i == 4;
                CU_ASSERT(out[i].result == (taken ? ARRIVAL_TAKEN : ARRIVAL_DUPLICATE));
                if (!taken) {
                        CU_ASSERT(job_id_eq(&out[i].row.existing, &items[0].row.id));
                        is_a_duplicate(bed, &items[i].row.id, &items[0].row.id);
                }
        }
        struct claim *c = bed_recall(bed, b->base.no, b->token);
        CU_ASSERT(c->n == 2);
        claim_free(c);
        /* The broker brings a loser again: the journal knows it. */
        struct ledger_arrive *lost = bed_arrive(bed, &items[1], 1);
        lost->list->items[0].redelivered = true;
        lost->list->items[0].row.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        struct commit_no before = b->base.no;
        lost->lost = &before;
        lost->n_lost = 1;
        bed_must(bed, &lost->base);
        CU_ASSERT(lost->list->items[0].result == ARRIVAL_KNOWN);
        CU_ASSERT(job_id_eq(&lost->list->items[0].row.existing, &items[1].row.id));
        bed_arrive_free(lost);
        bed_arrive_free(b);
        bed_free(bed);
}

static void a_letter_may_replace(void)
{
        struct bed *bed = bed_new();
        struct job_id id = submit_unique(bed, "a", SUBMIT_CREATED);
        struct arrival a = unique_letter(bed, "a");
        a.row.unique.replace = true;
        a.row.payload = STR("new");
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_DUPLICATE);
        const struct job_row *loser = bed_show(bed, &a.row.id);
        CU_ASSERT(loser->state == STATE_CANCELLED && loser->reason == REASON_DUPLICATE);
        const struct job_row *j = bed_show(bed, &id);
        CU_ASSERT(j->state == STATE_PENDING && str_eq(j->payload, STR("new")));
        bed_free(bed);
}

/* It asked to run at once: a holder that waits for its time is offered now. */
static void a_letter_that_starts_brings_the_time_forward(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.unique = bed_unique("a");
        row.state = STATE_SCHEDULED;
        row.after_us = HOUR;
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        struct arrival a = unique_letter(bed, "a");
        a.row.unique.replace = true;
        CU_ASSERT(bed_arrive_one(bed, &a) == ARRIVAL_DUPLICATE);
        CU_ASSERT(bed_state(bed, &row.id) == STATE_PENDING);
        struct claim *c = bed_claim(bed, 5);
        CU_ASSERT(c->n == 1 && job_id_eq(&c->jobs[0].id, &row.id));
        claim_free(c);
        CU_ASSERT(bed_requeue(bed, &a.row.id) == REQUEUE_DONE); /* and the loser, if one wants */
        CU_ASSERT(bed_state(bed, &a.row.id) == STATE_PENDING);
        bed_free(bed);
}

static void a_loser_that_cannot_be_stored(void)
{
        static char long_type[300];
        memset(long_type, 't', sizeof long_type);
        struct bed *bed = bed_new();
        (void)submit_unique(bed, "a", SUBMIT_CREATED);
        struct arrival items[] = {unique_letter(bed, "a"), unique_letter(bed, "b")};
        items[0].row.type = (struct str){long_type, sizeof long_type};
        struct ledger_arrive *b = bed_arrive(bed, items, 2);
        bed_must(bed, &b->base);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_UNSTORABLE);
        CU_ASSERT(b->list->items[1].result == ARRIVAL_TAKEN);
        CU_ASSERT(bed_show(bed, &items[0].row.id)->reason == REASON_UNSTORABLE);
        bed_arrive_free(b);
        bed_free(bed);
}

static void children_meet_it_too(void)
{
        struct bed *bed = bed_new();
        struct job_id id = submit_unique(bed, "a", SUBMIT_CREATED);
        (void)bed_add_one(bed);
        struct claim *c = bed_claim(bed, 2);
        CU_ASSERT_FATAL(c->n == 2);
        struct submission *s = bed_submission(bed, 3);
        s->rows[0].unique = bed_unique("a");
        s->rows[1].unique = bed_unique("b");
        s->rows[2].unique = bed_unique("b");
        struct finish_row v = bed_verdict(&c->jobs[1], STATE_COMPLETED);
        v.children = s;
        CU_ASSERT(bed_finish_one(bed, v)); /* the children go with the batch */
        struct job_id holder = submit_unique(bed, "b", SUBMIT_HELD);
        CU_ASSERT(bed_state(bed, &holder) == STATE_PENDING);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 1); /* one child of three */
        CU_ASSERT(bed_state(bed, &id) == STATE_RUNNING);
        claim_free(c);
        bed_free(bed);
}

/* --- at once ---------------------------------------------------------------------------------- */

enum { HANDLES = 8, EACH = 125 };

static void post_all(struct bed *bed, struct submission **subs, struct ledger_submit **batches)
{
        for (int i = 0; i < EACH; i++) {
                subs[i] = bed_submission(bed, 1);
                subs[i]->rows[0].unique = bed_unique("the one");
                batches[i] = bed_submit(subs[i]);
                bed_post(bed, &batches[i]->base);
        }
}

/* Returns how many were created; the id that all name is the same. */
static uint32_t judge(struct submission **subs, struct job_id *id, bool *known)
{
        uint32_t made = 0;
        for (int i = 0; i < EACH; i++) {
                const struct submit_row *r = &subs[i]->rows[0];
                bool is_new = r->result == SUBMIT_CREATED;
                const struct job_id *names = is_new ? &r->id : &r->existing;
                CU_ASSERT(is_new || r->result == SUBMIT_HELD);
                if (!*known) {
                        *id = *names;
                        *known = true;
                }
                CU_ASSERT(job_id_eq(names, id));
                made += is_new;
        }
        return made;
}

static void a_thousand_callers_make_one_row(void)
{
        struct bed *bed = bed_new(), *beds[HANDLES];
        static struct submission *subs[HANDLES][EACH];
        static struct ledger_submit *batches[HANDLES][EACH];
        for (int h = 0; h < HANDLES; h++) {
                beds[h] = bed_join(bed, 200 + (uint64_t)h);
        }
        for (int h = 0; h < HANDLES; h++) {
                post_all(beds[h], subs[h], batches[h]);
        }
        struct job_id id;
        bool known = false;
        uint32_t made = 0;
        for (int h = 0; h < HANDLES; h++) {
                for (int i = 0; i < EACH; i++) {
                        bed_wait(beds[h], &batches[h][i]->base);
                        CU_ASSERT_FATAL(batches[h][i]->base.outcome == LEDGER_COMMITTED);
                }
                made += judge(subs[h], &id, &known);
        }
        CU_ASSERT(made == 1);
        CU_ASSERT(bed_state(bed, &id) == STATE_PENDING);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 1);
        for (int h = 0; h < HANDLES; h++) {
                for (int i = 0; i < EACH; i++) {
                        ledger_batch_free(&batches[h][i]->base);
                        submission_free(subs[h][i]);
                }
                bed_free(beds[h]);
        }
        bed_free(bed);
}

/* The same through a broker: every letter has a row, one of them runs. */
static void a_thousand_letters_run_once(void)
{
        struct bed *bed = bed_new(), *beds[HANDLES];
        struct ledger_arrive *batches[HANDLES][5];
        for (int h = 0; h < HANDLES; h++) {
                beds[h] = bed_join(bed, 200 + (uint64_t)h);
        }
        for (int i = 0; i < 5; i++) {
                for (int h = 0; h < HANDLES; h++) {
                        struct arrival items[25];
                        for (int k = 0; k < 25; k++) {
                                items[k] = unique_letter(beds[h], "the one");
                        }
                        batches[h][i] = bed_arrive(beds[h], items, 25);
                        bed_post(beds[h], &batches[h][i]->base);
                }
        }
        uint32_t ran = 0;
        for (int h = 0; h < HANDLES; h++) {
                for (int i = 0; i < 5; i++) {
                        bed_wait(beds[h], &batches[h][i]->base);
                        CU_ASSERT(batches[h][i]->base.outcome == LEDGER_COMMITTED);
                        for (int k = 0; k < 25; k++) {
                                ran += batches[h][i]->list->items[k].result == ARRIVAL_TAKEN;
                        }
                        bed_arrive_free(batches[h][i]);
                }
                bed_free(beds[h]);
        }
        CU_ASSERT(ran == 1 && bed_count(bed, "q", STATE_RUNNING) == 1);
        CU_ASSERT(bed_count(bed, "q", STATE_CANCELLED) == HANDLES * EACH - 1);
        bed_free(bed);
}

CASES(cases_unique_letters,
      {"a letter that loses is cancelled", a_letter_that_loses_is_cancelled, 0},
      {"a letter holds as well", a_letter_holds_as_well, 0},
      {"one letter of a batch runs", one_letter_of_a_batch_runs, 0},
      {"a letter may replace", a_letter_may_replace, 0},
      {"a letter that starts brings the time forward", a_letter_that_starts_brings_the_time_forward,
       0},
      {"a loser that cannot be stored", a_loser_that_cannot_be_stored, 0},
      {"children meet it too", children_meet_it_too, 0},
      {"a thousand letters run once", a_thousand_letters_run_once, NEED_SHARE},
      {"a thousand callers make one row", a_thousand_callers_make_one_row, NEED_SHARE});
