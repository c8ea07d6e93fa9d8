/*
 * SHOW, LIST, STATS.
 */
#include "tests/conformance/bed.h"

static void shows_by_key_and_says_when_nothing_is_there(void)
{
        struct bed *bed = bed_new();
        struct submit_row row = bed_row(bed);
        row.key = key_from_text(STR("order-7"));
        row.key_text = STR("order-7");
        CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
        static const char *const keys[] = {"order-7", "order-8"};
        for (int i = 0; i < 2; i++) {
                struct ledger_show *b = NEW(show, SHOW);
                b->queue = STR("q");
                b->key = key_from_text(str_of(keys[i]));
                bed_must(bed, &b->base);
                CU_ASSERT(b->found == (i == 0));
                CU_ASSERT(i == 1 || job_id_eq(&b->row.id, &row.id));
                ledger_batch_free(&b->base);
        }
        struct job_id nobody = id_mint(&bed->mint, 1);
        CU_ASSERT(bed_state(bed, &nobody) == STATE_NONE);
        bed_free(bed);
}

static void pages_newest_first(void)
{
        enum { JOBS = 95 };
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, JOBS);
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        struct ledger_list filter = {.state = -1, .limit = 20};
        uint32_t seen = 0, pages = 0;
        const struct ledger_list *page;
        do {
                page = bed_list(bed, &filter);
                for (uint32_t i = 0; i < page->n; i++, seen++) {
                        CU_ASSERT_FATAL(seen < JOBS);
                        CU_ASSERT(job_id_eq(&page->rows[i].id, &s->rows[JOBS - 1 - seen].id));
                        CU_ASSERT(page->rows[i].payload.n == 0);
                }
                CU_ASSERT_FATAL(page->n > 0);
                filter.has_before = true;
                filter.before = page->rows[page->n - 1].id;
                pages++;
        } while (page->more && pages < 10);
        CU_ASSERT(seen == JOBS && pages == 5);
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

static uint32_t count(struct bed *bed, struct ledger_list filter)
{
        filter.limit = 1000;
        return bed_list(bed, &filter)->n;
}

static void filters(void)
{
        struct bed *bed = bed_new();
        static const char *const types[] = {"mail.send", "mail.bounce.hard", "noop", "noop"};
        static const char *const tags[] = {",red,blue,", ",red,", "", ",redder,"};
        for (int i = 0; i < 4; i++) {
                struct submit_row row = bed_row(bed);
                row.type = str_of(types[i]);
                row.tags = str_of(tags[i]);
                row.queue = i == 3 ? STR("other") : STR("q");
                CU_ASSERT(bed_add(bed, &row) == SUBMIT_CREATED);
                fixture->advance(bed->store, SECOND);
        }
        int64_t now = fixture->now_us(bed->store);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1}) == 4);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1, .type = STR("noop")}) == 2);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1, .type = STR("mail.*")}) == 1);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1, .type = STR("mail.>")}) == 2);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1, .queue = STR("other")}) == 1);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1, .tag = STR("red")}) == 2);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1, .tag = STR("blue")}) == 1);
        CU_ASSERT(count(bed, (struct ledger_list){.state = -1, .since_us = now - 2 * SECOND}) == 2);
        CU_ASSERT(count(bed, (struct ledger_list){.state = STATE_PENDING}) == 4);
        CU_ASSERT(count(bed, (struct ledger_list){.state = STATE_DEAD}) == 0);
        bed_free(bed);
}

static void lists_each_state(void)
{
        struct bed *bed = bed_new();
        struct job_id ids[JOB_STATE_COUNT];
        for (int state = JOB_STATE_COUNT - 1; state >= 0; state--) {
                ids[state] = bed_job_in(bed, (enum job_state)state);
        }
        for (int state = 0; state < JOB_STATE_COUNT; state++) {
                struct ledger_list filter = {.state = state, .limit = 10};
                const struct ledger_list *b = bed_list(bed, &filter);
                CU_ASSERT_FATAL(b->n == 1);
                CU_ASSERT(job_id_eq(&b->rows[0].id, &ids[state]) && !b->more);
                CU_ASSERT(b->rows[0].state == (enum job_state)state);
        }
        bed_free(bed);
}

static void tells_what_waits(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(bed_stats(bed)->n == 0);
        int64_t first = fixture->now_us(bed->store);
        struct submit_row parked = bed_row(bed), urgent = bed_row(bed), done = bed_row(bed);
        parked.band = BAND_PARKED;
        parked.reason = REASON_NO_HANDLER;
        parked.type = STR("odd.type");
        done.queue = STR("done");
        done.state = STATE_DEAD;
        CU_ASSERT(bed_add(bed, &parked) == SUBMIT_CREATED);
        fixture->advance(bed->store, SECOND);
        urgent.priority = 9;
        CU_ASSERT(bed_add(bed, &urgent) == SUBMIT_CREATED);
        CU_ASSERT(bed_add(bed, &done) == SUBMIT_CREATED);
        bed_add_one(bed);
        const struct ledger_stats *s = bed_stats(bed);
        CU_ASSERT_FATAL(s->n == 2);
        for (uint32_t i = 0; i < 2; i++) {
                const struct queue_stat *q = &s->queues[i];
                bool mine = str_eq(q->queue, STR("q"));
                CU_ASSERT(mine || str_eq(q->queue, STR("done")));
                CU_ASSERT(q->jobs[STATE_PENDING] == (mine ? 3 : 0));
                CU_ASSERT(q->jobs[STATE_DEAD] == (mine ? 0 : 1));
                CU_ASSERT(q->parked == (mine ? 1 : 0));
                CU_ASSERT(q->oldest_pending_us == (mine ? first : 0));
        }
        bed_free(bed);
}

CASES(cases_read,
      {"shows by key, and says when nothing is there", shows_by_key_and_says_when_nothing_is_there,
       0},
      {"pages newest first", pages_newest_first, 0}, {"filters", filters, 0},
      {"lists each state", lists_each_state, 0}, {"tells what waits", tells_what_waits, 0});
