/*
 * BULK and GROUPS: many jobs at once, by a filter and in pages; and what LIST adds for exports.
 */
#include "tests/conformance/bed_life.h"

#define BIT(state) (uint8_t)(1u << STATE_##state)

/* All pages of one operation; returns their sum. */
struct total {
        uint32_t done, asked, pages;
};

static struct total run_all(struct bed *bed, enum bulk_kind kind, struct job_filter filter,
                            uint32_t limit)
{
        struct ledger_bulk like = {.kind = kind, .filter = filter, .limit = limit};
        struct total t = {0};
        const struct ledger_bulk *b;
        do {
                b = bed_bulk(bed, &like);
                CU_ASSERT(kind == BULK_COUNT || b->done <= limit);
                CU_ASSERT_FATAL(!b->more || !like.has_after ||
                                memcmp(b->last.b, like.after.b, 16) > 0);
                t.done += b->done;
                t.asked += b->asked;
                t.pages++;
                like.has_after = true;
                like.after = b->last;
        } while (b->more && t.pages < 1000);
        return t;
}

static uint32_t count(struct bed *bed, struct job_filter filter)
{
        return run_all(bed, BULK_COUNT, filter, 10).done;
}

/* --- filters ---------------------------------------------------------------------------------- */

static void counts_by_each_field(void)
{
        static const char *const types[] = {"mail.send", "mail.bounce.hard", "noop", "noop"};
        static const char *const tags[] = {",red,blue,", ",red,", "", ",redder,"};
        struct bed *bed = bed_new();
        int64_t start = fixture->now_us(bed->store);
        for (int i = 0; i < 4; i++) {
                struct submit_row row = bed_row(bed);
                row.type = str_of(types[i]);
                row.tags = str_of(tags[i]);
                row.queue = i == 3 ? STR("other") : STR("q");
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                fixture->advance(bed->store, SECOND);
        }
        CU_ASSERT(count(bed, (struct job_filter){0}) == 4);
        CU_ASSERT(count(bed, (struct job_filter){.type = STR("noop")}) == 2);
        CU_ASSERT(count(bed, (struct job_filter){.type = STR("mail.*")}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.type = STR("mail.>")}) == 2);
        CU_ASSERT(count(bed, (struct job_filter){.queue = STR("other")}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.tag = STR("red")}) == 2);
        CU_ASSERT(count(bed, (struct job_filter){.tag = STR("blue")}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.since_us = start + SECOND}) == 3);
        CU_ASSERT(count(bed, (struct job_filter){.before_us = start + SECOND}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.queue = STR("q"),
                                                 .tag = STR("red"),
                                                 .type = STR("mail.send")}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.states = BIT(PENDING)}) == 4);
        CU_ASSERT(count(bed, (struct job_filter){.states = BIT(DEAD)}) == 0);
        CU_ASSERT(count(bed, (struct job_filter){.ended_before_us = start + HOUR}) == 0);
        bed_free(bed);
}

static void counts_each_state(void)
{
        struct bed *bed = bed_new();
        for (int state = JOB_STATE_COUNT - 1; state >= 0; state--) {
                (void)bed_job_in(bed, (enum job_state)state);
        }
        for (int state = 0; state < JOB_STATE_COUNT; state++) {
                struct job_filter one = {.states = (uint8_t)(1u << state)};
                CU_ASSERT(count(bed, one) == 1);
        }
        struct job_filter waits = {.states = BIT(PENDING) | BIT(SCHEDULED) | BIT(RETRYING)};
        CU_ASSERT(count(bed, waits) == 3);
        struct job_filter ended = {.states = BIT(DEAD) | BIT(CANCELLED)};
        CU_ASSERT(count(bed, ended) == 2);
        CU_ASSERT(count(bed, (struct job_filter){0}) == 7);
        bed_free(bed);
}

static void counts_by_error_and_end(void)
{
        struct bed *bed = bed_new();
        (void)bed_fail(bed, "noop", 11, "no route 1");
        fixture->advance(bed->store, SECOND);
        int64_t second = fixture->now_us(bed->store);
        (void)bed_fail(bed, "noop", 22, "disk full");
        (void)bed_job_in(bed, STATE_COMPLETED);
        (void)bed_job_in(bed, STATE_PENDING);
        CU_ASSERT(count(bed, (struct job_filter){.fingerprint = 11}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.fingerprint = 33}) == 0);
        CU_ASSERT(count(bed, (struct job_filter){.error = ERROR_FAILED}) == 2);
        CU_ASSERT(count(bed, (struct job_filter){.error = ERROR_OOM}) == 0);
        CU_ASSERT(count(bed, (struct job_filter){.error = ERROR_FAILED, .fingerprint = 22}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.ended_before_us = second}) == 1);
        CU_ASSERT(count(bed, (struct job_filter){.ended_before_us = second + 1}) == 3);
        struct job_filter dead = {.states = BIT(DEAD), .ended_before_us = second + 1};
        CU_ASSERT(count(bed, dead) == 2);
        bed_free(bed);
}

/* --- what it does ----------------------------------------------------------------------------- */

static void requeues_in_pages(void)
{
        enum { JOBS = 25 };
        struct bed *bed = bed_new();
        struct job_id ids[JOBS], other = bed_fail(bed, "mail.send", 1, "no");
        for (int i = 0; i < JOBS; i++) {
                ids[i] = bed_fail(bed, "noop", 1, "no");
        }
        struct job_id gone = bed_job_in(bed, STATE_CANCELLED);
        struct job_filter dead = {.states = BIT(DEAD), .type = STR("noop")};
        struct ledger_bulk like = {.kind = BULK_REQUEUE, .filter = dead, .limit = 10};
        const struct ledger_bulk *b = bed_bulk(bed, &like);
        CU_ASSERT(b->done == 10 && b->more && job_id_eq(&b->last, &ids[9]));
        CU_ASSERT(bed_state(bed, &ids[9]) == STATE_PENDING &&
                  bed_state(bed, &ids[10]) == STATE_DEAD);
        b = bed_bulk(bed, &like); /* the page again: what was done stays done */
        CU_ASSERT(b->done == 10 && bed_count(bed, "q", STATE_PENDING) == 20);
        CU_ASSERT(run_all(bed, BULK_REQUEUE, dead, 10).done == 5);
        for (int i = 0; i < JOBS; i++) {
                const struct job_row *j = bed_show(bed, &ids[i]);
                CU_ASSERT(j->state == STATE_PENDING && j->reason == REASON_REQUEUED);
                CU_ASSERT(j->generation == 1 && j->attempt == 0 && j->band == BAND_OFFERED);
        }
        CU_ASSERT(bed_state(bed, &other) == STATE_DEAD && bed_state(bed, &gone) == STATE_CANCELLED);
        CU_ASSERT(bed_count(bed, "q", STATE_DEAD) == 1);
        struct claim *c = bed_claim(bed, 100);
        CU_ASSERT(c->n == JOBS);
        claim_free(c);
        bed_free(bed);
}

/* A filter of any state means those that the operation is for. */
static void touches_only_what_it_may(void)
{
        struct bed *bed = bed_new();
        struct job_id ids[JOB_STATE_COUNT];
        for (int state = JOB_STATE_COUNT - 1; state >= 0; state--) {
                ids[state] = bed_job_in(bed, (enum job_state)state);
        }
        struct job_filter completed = {.states = BIT(COMPLETED)};
        CU_ASSERT(run_all(bed, BULK_REQUEUE, completed, 10).done == 0);
        CU_ASSERT(run_all(bed, BULK_CANCEL, completed, 10).done == 0);
        struct total t = run_all(bed, BULK_REQUEUE, (struct job_filter){0}, 10);
        CU_ASSERT(t.done == 2); /* dead, cancelled */
        CU_ASSERT(bed_state(bed, &ids[STATE_SCHEDULED]) == STATE_SCHEDULED);
        CU_ASSERT(bed_state(bed, &ids[STATE_RETRYING]) == STATE_RETRYING);
        struct job_filter running = {.states = BIT(RUNNING)};
        CU_ASSERT(run_all(bed, BULK_PURGE, running, 10).done == 0);
        t = run_all(bed, BULK_PURGE, (struct job_filter){0}, 10);
        CU_ASSERT(t.done == 1 && bed_state(bed, &ids[STATE_COMPLETED]) == STATE_NONE);
        CU_ASSERT(count(bed, (struct job_filter){0}) == 6);
        bed_free(bed);
}

static void cancels_what_waits_and_asks_what_runs(void)
{
        struct bed *bed = bed_new();
        struct job_id ids[JOB_STATE_COUNT];
        for (int state = JOB_STATE_COUNT - 1; state >= 0; state--) {
                ids[state] = bed_job_in(bed, (enum job_state)state);
        }
        struct total t = run_all(bed, BULK_CANCEL, (struct job_filter){0}, 2);
        CU_ASSERT(t.done == 4 && t.asked == 1 && t.pages >= 2);
        static const enum job_state waited[] = {STATE_SCHEDULED, STATE_PENDING, STATE_RETRYING};
        for (int i = 0; i < 3; i++) {
                const struct job_row *j = bed_show(bed, &ids[waited[i]]);
                CU_ASSERT(j->state == STATE_CANCELLED && j->reason == REASON_OPERATOR);
        }
        CU_ASSERT(bed_show(bed, &ids[STATE_RUNNING])->cancel_asked);
        const struct ledger_beat *b = bed_beat(bed);
        CU_ASSERT(b->n_cancels == 1 && job_id_eq(&b->cancels[0], &ids[STATE_RUNNING]));
        t = run_all(bed, BULK_CANCEL, (struct job_filter){0}, 2);
        CU_ASSERT(t.done == t.asked && t.asked == 1);
        CU_ASSERT(bed_beat(bed)->n_cancels == 0); /* not told anew */
        CU_ASSERT(bed_count(bed, "q", STATE_CANCELLED) == 4);
        bed_free(bed);
}

static void purges_rows_with_all_of_theirs(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.key = key_from_text(STR("order-7"));
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        bed_end(bed, bed_claim(bed, 1), STATE_DEAD);
        (void)bed_fail(bed, "noop", 1, "no");
        struct job_id kept = bed_fail(bed, "mail.send", 1, "no");
        struct job_filter f = {.states = BIT(DEAD), .type = STR("noop")};
        CU_ASSERT(run_all(bed, BULK_PURGE, f, 1).done == 2);
        CU_ASSERT(bed_state(bed, &row.id) == STATE_NONE && bed_state(bed, &kept) == STATE_DEAD);
        CU_ASSERT(bed_count(bed, "q", STATE_DEAD) == 1);
        struct submit_row again = bed_row(bed);
        again.key = row.key;
        CU_ASSERT(bed_add(bed, &again) == SUBMIT_EXISTS); /* its key is remembered */
        CU_ASSERT(job_id_eq(&again.existing, &row.id) && again.existing_state == STATE_NONE);
        bed_free(bed);
}

/* Few of very many: pages that find nothing go on all the same. */
static void finds_few_among_many(void)
{
        enum { JOBS = 12000 };
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, JOBS);
        for (uint32_t i = 0; i < JOBS; i++) {
                bool meant = i == 3 || i == 7000 || i == JOBS - 1;
                s->rows[i].type = meant ? STR("mail.send") : STR("noop");
        }
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        struct job_filter f = {.type = STR("mail.>")};
        CU_ASSERT(count(bed, f) == 3);
        struct total t = run_all(bed, BULK_CANCEL, f, 2);
        CU_ASSERT(t.done == 3 && t.asked == 0);
        CU_ASSERT(bed_count(bed, "q", STATE_CANCELLED) == 3);
        CU_ASSERT(bed_state(bed, &s->rows[7000].id) == STATE_CANCELLED);
        CU_ASSERT(count(bed, (struct job_filter){.states = BIT(PENDING)}) == JOBS - 3);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static void an_unknown_page_is_done_once(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                struct job_id id = bed_fail(bed, "noop", 1, "no");
                struct ledger_bulk *b = NEW(bulk, BULK);
                b->kind = BULK_REQUEUE;
                b->limit = 10;
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                CU_ASSERT(bed_resolve(bed, b->base.no) == (i == 1));
                ledger_batch_free(&b->base);
                struct ledger_bulk like = {.kind = BULK_REQUEUE, .limit = 10};
                CU_ASSERT(bed_bulk(bed, &like)->done == (i == 0));
                CU_ASSERT(bed_show(bed, &id)->generation == 1);
                bed_free(bed);
        }
}

static void counts_what_died_again(void)
{
        struct bed *bed = bed_new();
        (void)bed_fail(bed, "noop", 1, "no");
        (void)bed_fail(bed, "noop", 1, "no");
        (void)bed_fail(bed, "mail.send", 1, "no");
        struct job_filter f = {.states = BIT(DEAD), .fingerprint = 1};
        fixture->advance(bed->store, SECOND);
        int64_t since = fixture->now_us(bed->store);
        f.ended_before_us = since;
        struct ledger_bulk like = {
            .kind = BULK_REQUEUE, .filter = f, .limit = 10, .again_since_us = since};
        CU_ASSERT(bed_bulk(bed, &like)->again == 0);
        struct claim *c = bed_claim(bed, 3);
        CU_ASSERT_FATAL(c->n == 3);
        for (int i = 0; i < 3; i++) {
                struct finish_row v =
                    bed_verdict(&c->jobs[i], i == 1 ? STATE_COMPLETED : STATE_DEAD);
                v.error = i == 1 ? ERROR_NONE : ERROR_CRASHED; /* of something else */
                CU_ASSERT(bed_finish_one(bed, v));
        }
        claim_free(c);
        (void)bed_fail(bed, "noop", 1, "no"); /* it never was requeued */
        const struct ledger_bulk *b = bed_bulk(bed, &like);
        CU_ASSERT(b->again == 2 && b->done == 0 && !b->more);
        like.filter.type = STR("mail.>");
        CU_ASSERT(bed_bulk(bed, &like)->again == 1);
        like.filter.queue = STR("q");
        CU_ASSERT(bed_bulk(bed, &like)->again == 1);
        like.filter.queue = STR("other");
        CU_ASSERT(bed_bulk(bed, &like)->again == 0);
        like.filter = f;
        like.again_since_us = since + SECOND;
        CU_ASSERT(bed_bulk(bed, &like)->again == 0);
        bed_free(bed);
}

/* --- GROUPS ----------------------------------------------------------------------------------- */

static void groups_what_died_alike(void)
{
        struct bed *bed = bed_new();
        int64_t first = fixture->now_us(bed->store);
        struct job_id ids[6];
        static const uint64_t prints[] = {7, 9, 7, 7, 9, 0xf000000000000001};
        static const char *const texts[] = {"no 1", "full", "no 2", "no 3", "full", "odd"};
        for (int i = 0; i < 6; i++) {
                ids[i] = bed_fail(bed, "noop", prints[i], texts[i]);
                fixture->advance(bed->store, SECOND);
        }
        (void)bed_job_in(bed, STATE_CANCELLED);
        const struct ledger_groups *b = bed_groups(bed, (struct job_filter){0}, 10);
        CU_ASSERT_FATAL(b->n == 3 && !b->more && !b->partial);
        const struct error_group *g = b->groups;
        CU_ASSERT(g[0].n == 3 && g[0].fingerprint == 7 && g[0].error == ERROR_FAILED);
        CU_ASSERT(str_eq(g[0].queue, STR("q")) && str_eq(g[0].type, STR("noop")));
        CU_ASSERT(str_eq(g[0].text, STR("no 3")) && job_id_eq(&g[0].sample, &ids[3]));
        CU_ASSERT(g[0].first_us == first && g[0].last_us == first + 3 * SECOND);
        CU_ASSERT(g[0].reason == REASON_EXHAUSTED);
        CU_ASSERT(g[1].n == 2 && g[1].fingerprint == 9 && job_id_eq(&g[1].sample, &ids[4]));
        CU_ASSERT(g[2].n == 1 && g[2].fingerprint == prints[5]);
        b = bed_groups(bed, (struct job_filter){0}, 2);
        CU_ASSERT(b->n == 2 && b->more && b->groups[1].fingerprint == 9);
        b = bed_groups(bed, (struct job_filter){.states = BIT(PENDING), .fingerprint = 9}, 10);
        CU_ASSERT(b->n == 1 && b->groups[0].n == 2); /* states are not looked at */
        bed_free(bed);
}

static void groups_by_queue_type_and_class(void)
{
        struct bed *bed = bed_new();
        (void)bed_fail(bed, "noop", 7, "no");
        (void)bed_fail(bed, "mail.send", 7, "no");
        struct submit_row row = bed_row(bed); /* born dead: an error without a fingerprint */
        row.state = STATE_DEAD;
        row.reason = REASON_MALFORMED;
        row.error_text = STR("job-priority: no number");
        row.queue = STR("other");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        const struct ledger_groups *b = bed_groups(bed, (struct job_filter){0}, 10);
        CU_ASSERT(b->n == 3);
        b = bed_groups(bed, (struct job_filter){.queue = STR("other")}, 10);
        CU_ASSERT_FATAL(b->n == 1);
        CU_ASSERT(b->groups[0].error == ERROR_MALFORMED && b->groups[0].fingerprint == 0);
        CU_ASSERT(str_eq(b->groups[0].text, row.error_text));
        CU_ASSERT(b->groups[0].reason == REASON_MALFORMED);
        b = bed_groups(bed, (struct job_filter){.type = STR("mail.>")}, 10);
        CU_ASSERT(b->n == 1 && str_eq(b->groups[0].type, STR("mail.send")));
        b = bed_groups(bed, (struct job_filter){.error = ERROR_FAILED}, 10);
        CU_ASSERT(b->n == 2);
        CU_ASSERT(bed_groups(bed, (struct job_filter){.tag = STR("red")}, 10)->n == 0);
        bed_free(bed);
}

/* --- LIST ------------------------------------------------------------------------------------- */

static void lists_whole_rows(void)
{
        static char large[3000];
        memset(large, 'l', sizeof large);
        struct bed *bed = bed_new();
        struct submit_row small = bed_row(bed), big = bed_row(bed);
        small.content_type = STR("text/plain");
        small.headers = (struct str){"a\0b", 3};
        big.payload = (struct str){large, sizeof large};
        CU_ASSERT(bed_add(bed, &small) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &big) == SUBMIT_CREATED);
        struct claim *c = bed_claim(bed, 1);
        struct finish_row v = bed_verdict(&c->jobs[0], STATE_COMPLETED);
        v.result = STR("42");
        v.result_type = STR("text/number");
        CU_ASSERT(bed_finish_one(bed, v));
        claim_free(c);
        for (int whole = 0; whole < 2; whole++) {
                struct ledger_list filter = {.state = -1, .limit = 10, .whole = whole == 1};
                const struct ledger_list *l = bed_list(bed, &filter);
                CU_ASSERT_FATAL(l->n == 2);
                const struct job_row *b = &l->rows[0], *s = &l->rows[1];
                CU_ASSERT(b->payload.n == (whole ? sizeof large : 0));
                CU_ASSERT(!whole || str_eq(b->payload, big.payload));
                CU_ASSERT(!whole ||
                          (str_eq(s->payload, small.payload) &&
                           str_eq(s->content_type, small.content_type) &&
                           str_eq(s->headers, small.headers) && str_eq(s->result, v.result) &&
                           str_eq(s->result_type, v.result_type)));
        }
        bed_free(bed);
}

static void lists_by_error(void)
{
        struct bed *bed = bed_new();
        struct job_id ids[6];
        for (int i = 0; i < 6; i++) {
                ids[i] = bed_fail(bed, "noop", i % 2 ? 7 : 9, "no");
        }
        (void)bed_job_in(bed, STATE_PENDING);
        struct ledger_list filter = {.state = STATE_DEAD, .limit = 2, .fingerprint = 7};
        const struct ledger_list *l = bed_list(bed, &filter);
        CU_ASSERT_FATAL(l->n == 2 && l->more);
        CU_ASSERT(job_id_eq(&l->rows[0].id, &ids[5]) && job_id_eq(&l->rows[1].id, &ids[3]));
        filter.has_before = true;
        filter.before = ids[3];
        l = bed_list(bed, &filter);
        CU_ASSERT(l->n == 1 && !l->more && job_id_eq(&l->rows[0].id, &ids[1]));
        filter = (struct ledger_list){.state = -1, .limit = 10, .error = ERROR_FAILED};
        CU_ASSERT(bed_list(bed, &filter)->n == 6);
        filter.error = ERROR_OOM;
        CU_ASSERT(bed_list(bed, &filter)->n == 0);
        bed_free(bed);
}

static void shows_how_many_are_ahead(void)
{
        struct bed *bed = bed_new();
        struct job_id ids[3];
        for (int i = 0; i < 3; i++) {
                struct submit_row row = bed_row(bed);
                row.priority = i == 2 ? PRIORITY_MAX : PRIORITY_DEFAULT;
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                ids[i] = row.id;
        }
        struct job_id belled = bed_add_broker(bed), again = bed_add_broker(bed);
        struct submit_row other = bed_row(bed);
        other.queue = STR("other");
        CU_ASSERT(bed_add(bed, &other) == SUBMIT_CREATED);
        CU_ASSERT(bed_show(bed, &ids[2])->ahead == 0); /* urgent */
        CU_ASSERT(bed_show(bed, &ids[0])->ahead == 1 && bed_show(bed, &ids[1])->ahead == 2);
        CU_ASSERT(bed_show(bed, &belled)->ahead == 0 && bed_show(bed, &again)->ahead == 1);
        CU_ASSERT(bed_show(bed, &other.id)->ahead == 0);
        struct claim *c = bed_claim(bed, 2);
        CU_ASSERT(bed_show(bed, &ids[1])->ahead == 0);
        CU_ASSERT(bed_show(bed, &ids[0])->ahead == 0); /* it runs */
        claim_free(c);
        bed_free(bed);
}

CASES(cases_bulk, {"counts by each field", counts_by_each_field, 0},
      {"counts each state", counts_each_state, 0},
      {"counts by error and end", counts_by_error_and_end, 0},
      {"requeues in pages", requeues_in_pages, 0},
      {"touches only what it may", touches_only_what_it_may, 0},
      {"cancels what waits and asks what runs", cancels_what_waits_and_asks_what_runs, 0},
      {"purges rows with all of theirs", purges_rows_with_all_of_theirs, 0},
      {"finds few among many", finds_few_among_many, 0},
      {"an unknown page is done once", an_unknown_page_is_done_once, NEED_FAULT},
      {"counts what died again", counts_what_died_again, 0},
      {"groups what died alike", groups_what_died_alike, 0},
      {"groups by queue, type and class", groups_by_queue_type_and_class, 0},
      {"lists whole rows", lists_whole_rows, 0}, {"lists by error", lists_by_error, 0},
      {"shows how many are ahead", shows_how_many_are_ahead, 0});
