/*
 * How the rows are written: HOT updates, plans that never scan, the lanes' numbers, locks of
 * strangers, and what other nodes hear.
 */
#include "tests/conformance/postgres_own.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static struct ledger_arrive *arrive_letters(struct bed *bed, uint32_t n)
{
        struct arrival *letters = calloc(n, sizeof *letters);
        for (uint32_t i = 0; i < n; i++) {
                letters[i] = bed_letter(bed);
        }
        struct ledger_arrive *b = bed_arrive(bed, letters, n);
        bed_must(bed, &b->base);
        free(letters);
        return b;
}

static void finish_letters(struct bed *bed, const struct ledger_arrive *b, struct str result)
{
        struct finish_row *rows = calloc(b->n, sizeof *rows);
        for (uint32_t i = 0; i < b->n; i++) {
                const struct arrival *a = &b->list->items[i];
                rows[i] = (struct finish_row){.id = a->row.id,
                                              .ref = a->ref,
                                              .claim = 1,
                                              .token = b->token,
                                              .to = STATE_COMPLETED,
                                              .attempt = 1,
                                              .result = result};
        }
        CU_ASSERT(bed_finish(bed, rows, b->n) == 0);
        free(rows);
}

/* --- HOT -------------------------------------------------------------------------------------- */

/* How many of 1,000 finishes were HOT. */
static int64_t count_hot(struct str result)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        for (int i = 0; i < 4; i++) {
                struct ledger_arrive *b = arrive_letters(bed, 250);
                finish_letters(bed, b, result);
                bed_arrive_free(b);
        }
        end_sessions(bed, c);
        int64_t updates =
            ask_number(c, "select n_tup_upd from pg_stat_user_tables where relname = 'jobs'");
        int64_t hot =
            ask_number(c, "select n_tup_hot_upd from pg_stat_user_tables where relname = 'jobs'");
        CU_ASSERT(updates == 1000);
        PQfinish(c);
        open_again(bed);
        bed_free(bed);
        return hot;
}

/* A result makes the row longer than the half page that is left for it. */
static void a_finish_is_a_hot_update(void)
{
        CU_ASSERT(count_hot((struct str){0}) >= 990);
        CU_ASSERT(count_hot(STR("done")) >= 900);
}

/* --- plans ------------------------------------------------------------------------------------ */

static void duties(struct bed *bed)
{
        struct ledger_due *due = NEW(due, DUE);
        struct ledger_unpark *unpark = NEW(unpark, UNPARK);
        struct ledger_fold *fold = NEW(fold, FOLD);
        struct ledger_relay *relay = NEW(relay, RELAY);
        struct ledger_tide *tide = NEW(tide, TIDE);
        due->limit = unpark->limit = relay->limit = tide->limit = 10;
        unpark->roster = bed->roster;
        tide->queue = STR("q");
        tide->below = INT64_MAX;
        struct ledger_batch *all[] = {&due->base, &unpark->base, &fold->base, &relay->base,
                                      &tide->base};
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
                bed_must(bed, all[i]);
                ledger_batch_free(all[i]);
        }
}

/* A bit of everything, on a store that nobody ever analysed. */
static void work_through(struct bed *bed)
{
        for (int state = 0; state < JOB_STATE_COUNT; state++) {
                struct job_id id = bed_job_in(bed, (enum job_state)state);
                struct ledger_list filter = {.state = state, .limit = 10};
                (void)bed_list(bed, &filter);
                (void)bed_cancel(bed, &id);
                (void)bed_show(bed, &id);
        }
        struct submit_row keyed = bed_row(bed);
        keyed.key = key_from_text(STR("k"));
        CU_ASSERT(bed_add(bed, &keyed) == SUBMIT_CREATED);
        keyed.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        CU_ASSERT(bed_add(bed, &keyed) == SUBMIT_EXISTS);
        struct job_id bell = bed_add_broker(bed);
        struct arrival items[] = {bed_doorbell(&bell, true), bed_letter(bed), bed_letter(bed)};
        items[2].row.key = keyed.key;
        struct ledger_arrive *b = bed_arrive(bed, items, 3);
        bed_must(bed, &b->base);
        CU_ASSERT(b->known == 1 && b->got->n == 1);
        bed_arrive_free(b);
        duties(bed);
        (void)bed_held(bed, bed->holder, 0, 10);
        (void)bed_stats(bed);
        (void)bed_beat(bed);
        CU_ASSERT(bed_bury(bed, bed->holder, 0, true, false));
        CU_ASSERT(!bed_bury(bed, bed->holder, 0, false, true));
}

static void no_plan_scans_a_table(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        work_through(bed);
        end_sessions(bed, c);
        CU_ASSERT(ask_number(c, "select sum(seq_scan) from pg_stat_user_tables where relname in "
                                "('jobs', 'attempts', 'commits', 'keys', 'cancels')") == 0);
        CU_ASSERT(ask_number(c, "select sum(idx_scan) from pg_stat_user_tables where "
                                "relname = 'jobs'") > 10);
        PQfinish(c);
        open_again(bed);
        bed_free(bed);
}

/* Ten jobs by ARRIVE, FINISH of every way, ten by SUBMIT and CLAIM. */
static void turn_over(struct bed *bed)
{
        struct ledger_arrive *letters = arrive_letters(bed, 10);
        finish_letters(bed, letters, (struct str){0});
        bed_arrive_free(letters);
        letters = arrive_letters(bed, 10);
        finish_letters(bed, letters, STR("done"));
        bed_arrive_free(letters);
        for (int i = 0; i < 10; i++) {
                (void)bed_add_one(bed);
        }
        struct claim *c = bed_claim(bed, 10);
        struct finish_row rows[10];
        CU_ASSERT_FATAL(c->n == ARRAY_LEN(rows));
        for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
                rows[i] = bed_verdict(&c->jobs[i], i % 2 ? STATE_DEAD : STATE_COMPLETED);
        }
        CU_ASSERT(bed_finish(bed, rows, ARRAY_LEN(rows)) == 0);
        claim_free(c);
}

/* A table that was empty when it was analyzed: to the planner it is for as long as the plan lives. */
static void no_plan_walks_through_what_was_empty(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        must_run(c, "vacuum (analyze) skep.jobs");
        for (int i = 0; i < 50; i++) {
                turn_over(bed);
        }
        end_sessions(bed, c);
        int64_t read = ask_number(c, "select sum(idx_tup_read) from pg_stat_user_indexes where "
                                     "relname = 'jobs'");
        CU_ASSERT(read >= 50 * 30 && read < INT64_C(50) * 30 * 10);
        PQfinish(c);
        open_again(bed);
        bed_free(bed);
}

/* EXPLAIN of the hot statement, as the ledger's sessions plan it. */
static void hot_statements_use_the_primary_key(void)
{
        static const struct {
                const char *name, *index;
                int params;
        } rows[] = {
            {"FINISH_DONE", "jobs_pkey", 17},
            {"RETIRE", "commits_pkey", 3},
            {"RECALL", "jobs_pkey", 4},
        };
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        must_run(c, postgres_session);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char sql[4000], plan[8000] = "";
                snprintf(sql, sizeof sql, "prepare p%zu as %s", i,
                         postgres_statement(rows[i].name));
                must_run(c, sql);
                int n = snprintf(sql, sizeof sql, "explain execute p%zu(null", i);
                for (int k = 1; k < rows[i].params; k++) {
                        n += snprintf(sql + n, sizeof sql - (size_t)n, ", null");
                }
                snprintf(sql + n, sizeof sql - (size_t)n, ")");
                PGresult *r = PQexec(c, sql);
                CU_ASSERT_FATAL(PQresultStatus(r) == PGRES_TUPLES_OK);
                for (int k = 0; k < PQntuples(r); k++) {
                        strncat(plan, PQgetvalue(r, k, 0), sizeof plan - strlen(plan) - 2);
                        strcat(plan, "\n");
                }
                PQclear(r);
                CU_ASSERT(strstr(plan, rows[i].index) != NULL);
                CU_ASSERT(strstr(plan, "Seq Scan") == NULL);
        }
        PQfinish(c);
        bed_free(bed);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void lanes_are_those_of_all_ledgers(void)
{
        static const int64_t seqs[] = {1, 77, INT64_C(1) << 36, (INT64_C(1) << 57) - 1};
        static const char *const types[] = {"noop", "mail.send", "x"};
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        char sql[200];
        for (size_t i = 0; i < ARRAY_LEN(seqs); i++) {
                for (int band = BAND_OFFERED; band <= BAND_BROKER; band++) {
                        for (int p = 0; p <= PRIORITY_MAX; p++) {
                                snprintf(sql, sizeof sql, "select lane_of(%d, %d, %lld)", band, p,
                                         (long long)seqs[i]);
                                CU_ASSERT(ask_number(c, sql) ==
                                          lane_value((enum lane_band)band, (uint8_t)p, seqs[i]));
                        }
                }
                for (size_t k = 0; k < ARRAY_LEN(types); k++) {
                        snprintf(sql, sizeof sql, "select lane_parked('%s', %lld)", types[k],
                                 (long long)seqs[i]);
                        CU_ASSERT(ask_number(c, sql) == lane_parked(str_of(types[k]), seqs[i]));
                }
        }
        PQfinish(c);
        bed_free(bed);
}

/* --- strangers -------------------------------------------------------------------------------- */

static void a_strangers_lock_refuses_and_passes(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        struct postgres_options o = {.unsafe = true};
        struct postgres_hooks hooks = {.lock_timeout_ms = 200};
        char note[200];
        bed->l = bed->l->ops->close(bed->l);
        CU_ASSERT_FATAL(postgres_open_hooked(store_url(bed->store), &o, &hooks, &bed->l, note,
                                             sizeof note) == 0);
        CU_ASSERT_FATAL(wait_ready(bed->l));
        struct ledger_arrive *b = arrive_letters(bed, 3);
        must_run(c, "begin; select 1 from jobs for update");
        struct finish_row v = {.id = b->list->items[1].row.id,
                               .claim = 1,
                               .token = b->token,
                               .to = STATE_COMPLETED,
                               .attempt = 1};
        struct ledger_finish *f = bed_finish_batch(&v, 1);
        CU_ASSERT(bed_do(bed, &f->base) == LEDGER_REFUSED);
        CU_ASSERT(strstr(f->base.note, "lock timeout") != NULL);
        CU_ASSERT(bed_state(bed, &v.id) == STATE_RUNNING);
        (void)bed_beat(bed); /* goes on */
        must_run(c, "rollback");
        CU_ASSERT(bed_do(bed, &f->base) == LEDGER_COMMITTED && f->stale == 0);
        CU_ASSERT(bed_state(bed, &v.id) == STATE_COMPLETED);
        ledger_batch_free(&f->base);
        bed_arrive_free(b);
        PQfinish(c);
        bed_free(bed);
}

/* Two transactions that wait for each other: ours is the one that the server ends, or the
 * stranger's; either way the batch is written. */
static void a_deadlock_is_tried_again(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        struct ledger_arrive *b = arrive_letters(bed, 2);
        char low[JOB_ID_TEXT], high[JOB_ID_TEXT], sql[200];
        id_text(&b->list->items[0].row.id, low);
        id_text(&b->list->items[1].row.id, high);
        must_run(c, "set deadlock_timeout = '30s'"); /* so that it is ours that notices */
        snprintf(sql, sizeof sql, "begin; select 1 from jobs where id = '%s' for update", high);
        must_run(c, sql);
        struct finish_row rows[2];
        for (int i = 0; i < 2; i++) {
                rows[i] = (struct finish_row){.id = b->list->items[i].row.id,
                                              .claim = 1,
                                              .token = b->token,
                                              .to = STATE_COMPLETED,
                                              .attempt = 1};
        }
        struct ledger_finish *f = bed_finish_batch(rows, 2);
        bed_post(bed, &f->base); /* takes the low one, waits for the high one */
        PGconn *look = connect_to(store_url(bed->store));
        while (ask_number(look, "select count(*) from pg_locks where not granted") == 0) {
                (void)poll(NULL, 0, 5);
        }
        snprintf(sql, sizeof sql, "select 1 from jobs where id = '%s' for update", low);
        CU_ASSERT(PQsendQuery(c, sql));
        for (PGresult *r; (r = PQgetResult(c));) { /* it has both: ours was ended */
                CU_ASSERT(PQresultStatus(r) == PGRES_TUPLES_OK);
                PQclear(r);
        }
        must_run(c, "rollback");
        bed_wait(bed, &f->base);
        CU_ASSERT(f->base.outcome == LEDGER_COMMITTED);
        CU_ASSERT(f->stale == 0 && bed_state(bed, &rows[0].id) == STATE_COMPLETED);
        ledger_batch_free(&f->base);
        bed_arrive_free(b);
        PQfinish(look);
        PQfinish(c);
        bed_free(bed);
}

/* A beat whose connection hung commits after the next one: it takes no cancel with it. */
static void a_late_beat_gives_out_nothing(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_job_in(bed, STATE_RUNNING);
        uint64_t late = ++bed->n[LANE_BEAT];
        const struct ledger_beat *heard = bed_beat(bed);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_ASKED);
        struct ledger_beat *b = NEW(beat, BEAT);
        b->base.no = (struct commit_no){bed->holder, LANE_BEAT, late};
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_COMMITTED && b->n_cancels == 0);
        CU_ASSERT(heard->n_cancels == 0 && bed_beat(bed)->n_cancels == 1);
        ledger_batch_free(&b->base);
        bed_free(bed);
}

/* They are on their way together, and the first is rolled back and sent again. */
static void batches_see_what_was_tried_again_before_them(void)
{
        static char long_type[300];
        memset(long_type, 'x', sizeof long_type);
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 2);
        s->rows[0].type = (struct str){long_type, sizeof long_type};
        struct ledger_submit *first = bed_submit(s);
        struct ledger_claim *second = bed_claim_batch(bed, 5), *third = bed_claim_batch(bed, 5);
        bed_post(bed, &first->base);
        bed_post(bed, &second->base);
        bed_post(bed, &third->base);
        bed_wait(bed, &first->base);
        bed_wait(bed, &second->base);
        bed_wait(bed, &third->base);
        CU_ASSERT(first->base.outcome == LEDGER_COMMITTED);
        CU_ASSERT(s->rows[0].result == SUBMIT_UNSTORABLE && s->rows[1].result == SUBMIT_CREATED);
        CU_ASSERT(second->base.outcome == LEDGER_COMMITTED && second->got->n == 1);
        CU_ASSERT(third->base.outcome == LEDGER_COMMITTED && third->got->n == 0);
        ledger_batch_free(&first->base);
        ledger_batch_free(&second->base);
        ledger_batch_free(&third->base);
        submission_free(s);
        bed_free(bed);
}

/* --- NOTIFY ----------------------------------------------------------------------------------- */

static bool hears(struct bed *bed, struct bed *teller)
{
        for (int64_t start = own_now_ns(); own_now_ns() - start < 20 * NS_PER_S;) {
                CU_ASSERT(!bed->l->ops->dispatch(bed->l, own_now_ns()));
                CU_ASSERT(!teller->l->ops->dispatch(teller->l, own_now_ns()));
                if (bed->l->ops->heard(bed->l)) {
                        return true;
                }
                (void)poll(NULL, 0, 1);
        }
        return false;
}

static void another_handle_hears_of_offered_rows(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        (void)bed->l->ops->heard(bed->l);
        (void)other->l->ops->heard(other->l);
        bed_add_one(bed);
        CU_ASSERT(hears(other, bed));
        CU_ASSERT(!other->l->ops->heard(other->l)); /* once */
        (void)bed_beat(bed);                        /* its own came before this answer */
        CU_ASSERT(!bed->l->ops->heard(bed->l));
        struct job_id bell = bed_add_broker(bed); /* the broker tells of that one */
        (void)bell;
        for (int i = 0; i < 20; i++) {
                (void)bed_beat(bed);
                (void)bed_beat(other);
        }
        CU_ASSERT(!other->l->ops->heard(other->l));
        bed_free(other);
        bed_free(bed);
}

CASES(postgres_cases_store, {"a finish is a HOT update", a_finish_is_a_hot_update, 0},
      {"no plan scans a table", no_plan_scans_a_table, 0},
      {"no plan walks through what was empty", no_plan_walks_through_what_was_empty, 0},
      {"hot statements use the primary key", hot_statements_use_the_primary_key, 0},
      {"lanes are those of all ledgers", lanes_are_those_of_all_ledgers, 0},
      {"a stranger's lock refuses, and passes", a_strangers_lock_refuses_and_passes, 0},
      {"a deadlock is tried again", a_deadlock_is_tried_again, 0},
      {"a late beat gives out nothing", a_late_beat_gives_out_nothing, 0},
      {"batches see what was tried again before them", batches_see_what_was_tried_again_before_them,
       0},
      {"another handle hears of offered rows", another_handle_hears_of_offered_rows, 0});
