/*
 * What only the server can tell of a job's life: which plans and functions are used, and what
 * becomes of two transactions that meet: a key and its pruning, a count and a fold, many keys in
 * any order.
 */
#include "tests/conformance/bed_life.h"
#include "tests/conformance/postgres_own.h"

#include <poll.h>
#include <stdio.h>

/* --- plans ------------------------------------------------------------------------------------ */

static struct submit_row keyed_row(struct bed *bed, const char *key)
{
        struct submit_row row = bed_row(bed);
        row.key = key_from_text(str_of(key));
        row.key_text = str_of(key);
        return row;
}

static void submit_of_all_kinds(struct bed *bed)
{
        for (int i = 0; i < 2; i++) {
                struct submit_row row = bed_row(bed), bound = bed_row(bed);
                row.unique = bed_unique("u");
                row.unique.replace = i == 1;
                row.policy = STR("fixed base=1s");
                CU_ASSERT(bed_add(bed, &row) == (i ? SUBMIT_REPLACED : SUBMIT_CREATED));
                CU_ASSERT(bed_add_bound(bed, &bound, 3, i == 1) == SUBMIT_CREATED);
        }
        struct submit_row old = keyed_row(bed, "old");
        CU_ASSERT(bed_add(bed, &old) == SUBMIT_CREATED);
        CU_ASSERT(bed_cancel(bed, &old.id) == CANCEL_DONE);
        CU_ASSERT(bed_prune_all(bed, STATE_CANCELLED) == 1);
        old.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        CU_ASSERT(bed_add(bed, &old) == SUBMIT_EXISTS);
        CU_ASSERT(bed_beat(bed)->base.outcome == LEDGER_COMMITTED);
        struct arrival letter = bed_letter(bed);
        letter.row.key = old.key;
        CU_ASSERT(bed_arrive_one(bed, &letter) == ARRIVAL_KNOWN);
}

static void run_of_all_kinds(struct bed *bed)
{
        bool limited;
        struct claim *c = bed_claim_global(bed, 10, 2, &limited);
        CU_ASSERT_FATAL(c->n == 2 && limited);
        struct save_row save = bed_save_row(&c->jobs[0]);
        save.has_checkpoint = save.has_progress = true;
        save.checkpoint = STR("here");
        CU_ASSERT(bed_save(bed, &save, 1) == 0);
        c->jobs[0].left_work = true;
        bed_end(bed, c, STATE_RETRYING);
        struct job_id dead = bed_fail(bed, "mail.send", 7, "no such host");
        (void)bed_show(bed, &dead);
        CU_ASSERT(bed_groups(bed, (struct job_filter){.fingerprint = 7}, 10)->n == 1);
        for (int i = 0; i < 2; i++) {
                struct ledger_list filter = {.state = i ? STATE_DEAD : -1,
                                             .limit = 10,
                                             .whole = true,
                                             .fingerprint = 7,
                                             .has_before = true};
                memset(filter.before.b, 0xff, sizeof filter.before.b);
                CU_ASSERT(bed_list(bed, &filter)->n == 1);
        }
}

static void operate_of_all_kinds(struct bed *bed)
{
        static const enum bulk_kind kinds[] = {BULK_COUNT, BULK_REQUEUE, BULK_CANCEL, BULK_PURGE};
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                struct ledger_bulk like = {.kind = kinds[i], .limit = 100, .again_since_us = 1};
                const struct ledger_bulk *b = bed_bulk(bed, &like);
                CU_ASSERT(b->done > 0 && !b->more);
                like.filter = (struct job_filter){.states = 1u << STATE_DEAD | 1u << STATE_PENDING,
                                                  .error = ERROR_FAILED,
                                                  .type = STR("mail.>")};
                (void)bed_bulk(bed, &like);
        }
        struct schedule_row row = bed_schedule_row("a");
        const struct ledger_schedule *put = bed_put(bed, &row, 0);
        struct ledger_tick *tick = bed_tick_batch("a", put->row.revision, 5);
        tick->jobs = bed_submission(bed, 1);
        tick->jobs->rows[0].unique = bed_unique("tick");
        bed_must(bed, &tick->base);
        CU_ASSERT(tick->done);
        ledger_batch_free(&tick->base);
        CU_ASSERT(bed_schedules(bed, "", 10)->n == 1);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 0);
}

static void no_plan_of_a_life_scans_a_table(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        submit_of_all_kinds(bed);
        run_of_all_kinds(bed);
        operate_of_all_kinds(bed);
        end_sessions(bed, c);
        CU_ASSERT(ask_number(c, "select sum(seq_scan) from pg_stat_user_tables where relname in "
                                "('jobs', 'attempts', 'commits', 'keys', 'cancels', 'saves', "
                                "'old_keys')") == 0);
        PQfinish(c);
        open_again(bed);
        bed_free(bed);
}

/* --- the plain way ---------------------------------------------------------------------------- */

static int64_t count_calls(PGconn *c)
{
        must_run(c, "select pg_stat_clear_snapshot()");
        return ask_number(c, "select coalesce(sum(calls), 0) from pg_stat_user_functions where "
                             "funcname in ('put_slow', 'slow_begin', 'slow_end', 'claim_global', "
                             "'arrive_letters', 'work_of')");
}

static void work_plainly(struct bed *bed)
{
        struct submit_row row = keyed_row(bed, "plain");
        (void)bed_add_one(bed);
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim(bed, 2), STATE_COMPLETED);
        struct arrival items[] = {bed_letter(bed), bed_letter(bed)};
        items[1].row.key = key_from_text(STR("letter"));
        struct ledger_arrive *b = bed_arrive(bed, items, 2);
        bed_must(bed, &b->base);
        CU_ASSERT(b->list->items[1].result == ARRIVAL_TAKEN);
        bed_arrive_free(b);
        (void)bed_beat(bed);
}

static void plain_rows_go_the_plain_way(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        must_run(c, "do $$ begin execute format('alter database %I set track_functions = ''all''', "
                    "current_database()); end $$");
        bed_reopen(bed);
        work_plainly(bed);
        end_sessions(bed, c);
        CU_ASSERT(count_calls(c) == 0);
        open_again(bed);
        struct submit_row row = bed_row(bed);
        row.unique = bed_unique("u");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        end_sessions(bed, c);
        CU_ASSERT(count_calls(c) > 0);
        PQfinish(c);
        open_again(bed);
        bed_free(bed);
}

/* --- two at once ------------------------------------------------------------------------------ */

static void wait_for_a_lock(PGconn *look)
{
        while (ask_number(look, "select count(*) from pg_locks where not granted") == 0) {
                (void)poll(NULL, 0, 5);
        }
}

static void begin_pruning(PGconn *c)
{
        must_run(c,
                 "begin; select drop_jobs(array_agg(id), array_agg(generation), skep_now()) from "
                 "jobs where state = 6");
}

/* The quick way has no look at old keys before it inserts: the last word of the batch has. */
static void a_key_that_is_pruned_under_way_is_met(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store)), *look = connect_to(store_url(bed->store));
        for (int letters = 0; letters < 2; letters++) {
                struct submit_row row = keyed_row(bed, letters ? "l" : "s");
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                CU_ASSERT(bed_cancel(bed, &row.id) == CANCEL_DONE);
                must_run(c, "delete from old_keys"); /* it does not know of any */
                (void)bed_beat(bed);
                begin_pruning(c);
                struct arrival a = bed_letter(bed);
                a.row.key = row.key;
                struct submission *s = bed_submission(bed, 1);
                s->rows[0].key = row.key;
                struct ledger_arrive *arrive = bed_arrive(bed, &a, 1);
                struct ledger_submit *submit = bed_submit(s);
                struct ledger_batch *b = letters ? &arrive->base : &submit->base;
                bed_post(bed, b);
                wait_for_a_lock(look); /* the index still has the row that goes */
                must_run(c, "commit");
                bed_wait(bed, b);
                CU_ASSERT(b->outcome == LEDGER_COMMITTED);
                const struct arrival *out = &arrive->list->items[0];
                const struct submit_row *r = letters ? &out->row : &s->rows[0];
                CU_ASSERT(letters ? out->result == ARRIVAL_KNOWN : r->result == SUBMIT_EXISTS);
                CU_ASSERT(job_id_eq(&r->existing, &row.id) && r->existing_state == STATE_NONE);
                bed_arrive_free(arrive);
                ledger_batch_free(&submit->base);
                submission_free(s);
        }
        CU_ASSERT(ask_number(c, "select count(*) from jobs") == 0);
        PQfinish(look);
        PQfinish(c);
        bed_free(bed);
}

static uint32_t claim_of_three(struct bed *bed, struct claim **ret_claim)
{
        bool limited;
        *ret_claim = bed_claim_global(bed, 10, 3, &limited);
        CU_ASSERT(limited);
        return (*ret_claim)->n;
}

static void a_fold_under_way_hides_no_running_job(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        struct claim *first, *next;
        for (int i = 0; i < 9; i++) {
                (void)bed_add_one(bed);
        }
        CU_ASSERT(claim_of_three(bed, &first) == 3);
        for (int i = 0; i < 3; i++) {
                char sql[100];
                snprintf(sql, sizeof sql, "begin; select fold(77, 2::smallint, %d)", i + 1);
                must_run(c, sql);
                CU_ASSERT(claim_of_three(bed, &next) == 0);
                claim_free(next);
                CU_ASSERT(bed_finish_one(bed, bed_verdict(&first->jobs[i], STATE_COMPLETED)));
                must_run(c, i == 1 ? "rollback" : "commit");
                CU_ASSERT(claim_of_three(bed, &next) == 1);
                claim_free(next);
        }
        CU_ASSERT(ask_number(c, "select count(*) from jobs where state = 2") == 3);
        claim_free(first);
        PQfinish(c);
        bed_free(bed);
}

/* --- keys in any order ------------------------------------------------------------------------ */

enum { HANDLES = 6, BATCHES = 15, KEYS = 24 };

static struct ledger_submit *rotated(struct bed *bed, struct submission **ret_s, int by)
{
        struct submission *s = bed_submission(bed, KEYS);
        for (int i = 0; i < KEYS; i++) {
                char key[16];
                int k = by % 2 ? KEYS - 1 - i : i;
                snprintf(key, sizeof key, "key %d", (k + by) % KEYS);
                s->rows[i].unique = bed_unique(key);
                s->rows[i].unique.replace = true;
        }
        *ret_s = s;
        return bed_submit(s);
}

static void keys_in_any_order_never_wait_in_a_circle(void)
{
        struct bed *bed = bed_new(), *beds[HANDLES];
        PGconn *c = connect_to(store_url(bed->store));
        static struct submission *subs[HANDLES][BATCHES];
        static struct ledger_submit *batches[HANDLES][BATCHES];
        for (int h = 0; h < HANDLES; h++) {
                beds[h] = bed_join(bed, 300 + (uint64_t)h);
        }
        for (int i = 0; i < HANDLES * BATCHES; i++) {
                int h = i % HANDLES, k = i / HANDLES;
                batches[h][k] = rotated(beds[h], &subs[h][k], i * 7);
                bed_post(beds[h], &batches[h][k]->base);
        }
        for (int i = 0; i < HANDLES * BATCHES; i++) {
                int h = i % HANDLES, k = i / HANDLES;
                bed_wait(beds[h], &batches[h][k]->base);
                CU_ASSERT(batches[h][k]->base.outcome == LEDGER_COMMITTED);
                ledger_batch_free(&batches[h][k]->base);
                submission_free(subs[h][k]);
        }
        CU_ASSERT(ask_number(c, "select count(*) from jobs") == KEYS);
        CU_ASSERT(ask_number(c, "select count(*) from keys") == KEYS);
        CU_ASSERT(ask_number(c, "select deadlocks from pg_stat_database where "
                                "datname = current_database()") == 0);
        for (int h = 0; h < HANDLES; h++) {
                bed_free(beds[h]);
        }
        PQfinish(c);
        bed_free(bed);
}

/* --- what is left behind ---------------------------------------------------------------------- */

/* Names go in time: requests and old keys a week later, unique keys with their job or after it. */
static void names_are_tidied_up(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        struct submit_row held = bed_row(bed), over = bed_row(bed), keyed = keyed_row(bed, "k");
        held.unique = bed_unique("held");
        held.unique.for_us = over.unique.for_us = HOUR;
        over.unique = bed_unique("over");
        CU_ASSERT(bed_add(bed, &held) == SUBMIT_CREATED && bed_add(bed, &over) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &keyed) == SUBMIT_CREATED);
        struct submit_row loser = held;
        loser.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        CU_ASSERT(bed_add(bed, &loser) == SUBMIT_HELD);
        CU_ASSERT(bed_cancel(bed, &over.id) == CANCEL_DONE);
        CU_ASSERT(bed_cancel(bed, &keyed.id) == CANCEL_DONE);
        CU_ASSERT(bed_prune_all(bed, STATE_CANCELLED) == 2);
        CU_ASSERT(ask_number(c, "select count(*) from old_keys") == 1);
        fixture->advance(bed->store, KEY_LIFE_US);
        CU_ASSERT(bed_prune_all(bed, STATE_CANCELLED) == 0);
        CU_ASSERT(ask_number(c, "select count(*) from old_keys") == 0);
        CU_ASSERT(ask_number(c, "select count(*) from keys") == 1); /* its job is there */
        loser.id = id_mint(&bed->mint, fixture->now_us(bed->store));
        CU_ASSERT(bed_add(bed, &loser) == SUBMIT_HELD);
        CU_ASSERT(bed_cancel(bed, &held.id) == CANCEL_DONE);
        CU_ASSERT(bed_prune_all(bed, STATE_CANCELLED) == 1);
        CU_ASSERT(ask_number(c, "select count(*) from keys") == 0);
        PQfinish(c);
        bed_free(bed);
}

CASES(postgres_cases_life, {"no plan of a life scans a table", no_plan_of_a_life_scans_a_table, 0},
      {"plain rows go the plain way", plain_rows_go_the_plain_way, 0},
      {"a key that is pruned under way is met", a_key_that_is_pruned_under_way_is_met, 0},
      {"a fold under way hides no running job", a_fold_under_way_hides_no_running_job, 0},
      {"keys in any order never wait in a circle", keys_in_any_order_never_wait_in_a_circle, 0},
      {"names are tidied up", names_are_tidied_up, 0});
