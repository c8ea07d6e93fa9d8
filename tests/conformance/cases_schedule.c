/*
 * Schedules: how they are kept, and TICK, which of many nodes only one can win.
 */
#include "tests/conformance/bed_life.h"

/* --- kept ------------------------------------------------------------------------------------- */

static struct schedule_row full_row(void)
{
        struct schedule_row r = bed_schedule_row("nightly");
        r.spec = STR("0 3 * * mon-fri");
        r.zone = STR("Europe/Berlin");
        r.catch_up = CATCH_ALL;
        r.overlap = OVERLAP_CANCEL;
        r.catch_max = 17;
        r.paused = r.from_config = true;
        r.next_us = 123456789;
        r.last_us = 1111;
        r.buffered_us = 2222;
        r.last_job.b[4] = 9;
        r.job = (struct submit_row){
            .queue = STR("mail"),
            .type = STR("mail.report"),
            .priority = 7,
            .max_attempts = 12,
            .timeout_ms = 30000,
            .heartbeat_ms = 2000,
            .deadline_us = 77,
            .retry_until_us = 88,
            .content_type = STR("application/json"),
            .headers = {"trace\0x", 7},
            .payload = {"{\"a\":\0}", 7},
            .tags = STR(",red,blue,"),
            .policy = STR("fixed base=1s"),
            .unique = bed_unique("report"),
        };
        r.job.unique.replace = true;
        r.job.unique.for_us = HOUR;
        r.job.unique.of_queue = true;
        return r;
}

static void same_job(const struct submit_row *a, const struct submit_row *b)
{
        CU_ASSERT(str_eq(a->queue, b->queue) && str_eq(a->type, b->type));
        CU_ASSERT(a->priority == b->priority && a->max_attempts == b->max_attempts);
        CU_ASSERT(a->timeout_ms == b->timeout_ms && a->heartbeat_ms == b->heartbeat_ms);
        CU_ASSERT(a->deadline_us == b->deadline_us && a->retry_until_us == b->retry_until_us);
        CU_ASSERT(str_eq(a->content_type, b->content_type) && str_eq(a->headers, b->headers));
        CU_ASSERT(str_eq(a->payload, b->payload) && str_eq(a->tags, b->tags));
        CU_ASSERT(str_eq(a->policy, b->policy));
        CU_ASSERT(a->unique.set == b->unique.set && a->unique.states == b->unique.states);
        CU_ASSERT(memcmp(a->unique.hash, b->unique.hash, 16) == 0);
        CU_ASSERT(a->unique.replace == b->unique.replace && a->unique.for_us == b->unique.for_us);
        CU_ASSERT(a->unique.of_queue == b->unique.of_queue);
}

static void same_schedule(const struct schedule_row *a, const struct schedule_row *b)
{
        CU_ASSERT(str_eq(a->name, b->name) && str_eq(a->spec, b->spec) && str_eq(a->zone, b->zone));
        CU_ASSERT(a->catch_up == b->catch_up && a->overlap == b->overlap);
        CU_ASSERT(a->catch_max == b->catch_max && a->paused == b->paused);
        CU_ASSERT(a->from_config == b->from_config && a->next_us == b->next_us);
        same_job(&a->job, &b->job);
}

static void keeps_all_of_it(void)
{
        struct bed *bed = bed_new();
        struct schedule_row row = full_row();
        const struct ledger_schedule *b = bed_put(bed, &row, 0);
        CU_ASSERT(b->done && !b->found && b->row.revision != 0);
        CU_ASSERT(b->row.created_us == fixture->now_us(bed->store));
        const struct schedule_row *s = bed_schedule(bed, "nightly");
        CU_ASSERT_FATAL(s != NULL);
        same_schedule(s, &row);
        CU_ASSERT(s->last_us == 1111 && s->buffered_us == 2222);
        CU_ASSERT(job_id_eq(&s->last_job, &row.last_job) && s->last_state == STATE_NONE);
        CU_ASSERT(s->revision == b->row.revision && s->created_us == b->row.created_us);
        row = bed_schedule_row("plain");
        CU_ASSERT(bed_put(bed, &row, 0)->done);
        s = bed_schedule(bed, "plain");
        CU_ASSERT_FATAL(s != NULL);
        same_schedule(s, &row);
        CU_ASSERT(s->last_us == 0 && s->buffered_us == 0 && !s->job.unique.set);
        CU_ASSERT(bed_schedule(bed, "other") == NULL);
        bed_free(bed);
}

static void an_edit_keeps_what_ran(void)
{
        struct bed *bed = bed_new();
        struct schedule_row row = full_row();
        const struct ledger_schedule *b = bed_put(bed, &row, 0);
        uint64_t first = b->row.revision;
        int64_t created = fixture->now_us(bed->store);
        fixture->advance(bed->store, HOUR);
        row = bed_schedule_row("nightly");
        row.next_us = 5;
        b = bed_put(bed, &row, first);
        CU_ASSERT(b->done && b->found && b->row.revision > first);
        const struct schedule_row *s = bed_schedule(bed, "nightly"), *rows[] = {s, &b->row};
        CU_ASSERT_FATAL(s != NULL);
        for (int i = 0; i < 2; i++) {
                same_schedule(rows[i], &row);
                CU_ASSERT(rows[i]->last_us == 1111 && rows[i]->buffered_us == 2222);
                CU_ASSERT(rows[i]->last_job.b[4] == 9 && rows[i]->created_us == created);
        }
        bed_free(bed);
}

static void an_expected_revision_must_stand(void)
{
        struct bed *bed = bed_new();
        struct schedule_row row = bed_schedule_row("a"), other = row;
        other.spec = STR("@hourly");
        CU_ASSERT(!bed_put(bed, &row, 5)->done); /* none is there */
        CU_ASSERT(bed_put(bed, &row, 5)->row.revision == 0);
        CU_ASSERT(bed_schedule(bed, "a") == NULL);
        uint64_t first = bed_put(bed, &row, 0)->row.revision;
        const struct ledger_schedule *b = bed_put(bed, &other, 0); /* one is there */
        CU_ASSERT(!b->done && b->found && b->row.revision == first);
        CU_ASSERT(str_eq(b->row.spec, other.spec)); /* as given: it may be posted again */
        CU_ASSERT(b->stands.revision == first);
        same_schedule(&b->stands, &row);
        CU_ASSERT(!bed_put(bed, &other, first + 1)->done);
        CU_ASSERT(str_eq(bed_schedule(bed, "a")->spec, row.spec));
        uint64_t second = bed_put(bed, &other, SCHEDULE_ANY)->row.revision;
        CU_ASSERT(second > first && str_eq(bed_schedule(bed, "a")->spec, other.spec));
        CU_ASSERT(!bed_put(bed, &row, first)->done);
        CU_ASSERT(!bed_drop(bed, "a", first)->done && bed_schedule(bed, "a") != NULL);
        b = bed_drop(bed, "a", second);
        CU_ASSERT(b->done && b->found && bed_schedule(bed, "a") == NULL);
        b = bed_drop(bed, "a", SCHEDULE_ANY);
        CU_ASSERT(b->done && !b->found);
        CU_ASSERT(!bed_drop(bed, "a", second)->done);
        CU_ASSERT(bed_put(bed, &row, 0)->row.revision > second); /* never an old one again */
        bed_free(bed);
}

static void refuses_names_and_texts_that_are_too_long(void)
{
        static char text[SCHEDULE_SPEC_MAX + 2];
        memset(text, 'x', sizeof text - 1);
        struct bed *bed = bed_new();
        struct schedule_row rows[4];
        for (int i = 0; i < 4; i++) {
                rows[i] = bed_schedule_row("a");
        }
        rows[0].name = (struct str){"", 0};
        rows[1].name = (struct str){text, SCHEDULE_NAME_MAX + 1};
        rows[2].spec = (struct str){text, SCHEDULE_SPEC_MAX + 1};
        rows[3].zone = rows[2].spec;
        for (int i = 0; i < 4; i++) {
                struct ledger_schedule *b = NEW(schedule, SCHEDULE);
                b->row = rows[i];
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_REFUSED && b->base.note[0]);
                ledger_batch_free(&b->base);
        }
        rows[0].name = (struct str){text, SCHEDULE_NAME_MAX};
        rows[0].spec = rows[0].zone = (struct str){text, SCHEDULE_SPEC_MAX};
        CU_ASSERT(bed_put(bed, &rows[0], 0)->done);
        bed_free(bed);
}

static void pages_by_name(void)
{
        static const char *const names[] = {"b", "a", "a.b", "Z", "a-b", "\xc3\xa9", "aa"};
        static const char *const sorted[] = {"Z", "a", "a-b", "a.b", "aa", "b", "\xc3\xa9"};
        struct bed *bed = bed_new();
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                struct schedule_row row = bed_schedule_row(names[i]);
                CU_ASSERT(bed_put(bed, &row, 0)->done);
        }
        uint32_t seen = 0;
        const char *after = "";
        const struct ledger_schedules *page;
        do {
                page = bed_schedules(bed, after, 3);
                CU_ASSERT_FATAL(page->n >= 1 && page->n <= 3 && seen + page->n <= 7);
                for (uint32_t i = 0; i < page->n; i++, seen++) {
                        CU_ASSERT(str_eq(page->rows[i].name, str_of(sorted[seen])));
                }
                after = sorted[seen - 1];
        } while (page->more);
        CU_ASSERT(seen == 7);
        CU_ASSERT(bed_schedules(bed, after, 3)->n == 0);
        bed_free(bed);
}

static void a_beat_tells_that_something_changed(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(bed_beat(bed)->schedules == 0 && bed_schedules(bed, "", 5)->revision == 0);
        struct schedule_row row = bed_schedule_row("a");
        uint64_t revision = bed_put(bed, &row, 0)->row.revision;
        uint64_t first = bed_beat(bed)->schedules;
        CU_ASSERT(first != 0 && bed_beat(bed)->schedules == first);
        CU_ASSERT(bed_schedules(bed, "", 5)->revision == first);
        struct ledger_tick *t = bed_tick_batch("a", revision, 77);
        bed_must(bed, &t->base);
        uint64_t second = bed_beat(bed)->schedules;
        CU_ASSERT(t->done && second != first && second != 0);
        CU_ASSERT(bed_schedules(bed, "", 5)->revision == second);
        ledger_batch_free(&t->base);
        row = bed_schedule_row("b");
        CU_ASSERT(bed_put(bed, &row, 0)->done);
        uint64_t third = bed_beat(bed)->schedules;
        CU_ASSERT(bed_drop(bed, "b", SCHEDULE_ANY)->done);
        uint64_t fourth = bed_beat(bed)->schedules;
        CU_ASSERT(third != second && fourth != third && fourth != second && fourth != 0);
        CU_ASSERT(bed_drop(bed, "a", SCHEDULE_ANY)->done);
        CU_ASSERT(bed_beat(bed)->schedules == 0);
        bed_free(bed);
}

/* --- TICK ------------------------------------------------------------------------------------- */

static uint64_t put_one(struct bed *bed, const char *name)
{
        struct schedule_row row = bed_schedule_row(name);
        const struct ledger_schedule *b = bed_put(bed, &row, SCHEDULE_ANY);
        CU_ASSERT_FATAL(b->done);
        return b->row.revision;
}

/* A tick of one job; kept with the bed. */
static struct ledger_tick *tick_one(struct bed *bed, uint64_t revision, const char *key)
{
        struct ledger_tick *t = bed_tick_batch("a", revision, 60000000);
        t->last_us = 50000000;
        t->jobs = bed_submission(bed, 1);
        t->jobs->rows[0].key = key_from_text(str_of(key));
        t->jobs->rows[0].key_text = str_of(key);
        return t;
}

static void makes_its_job_once(void)
{
        struct bed *bed = bed_new();
        uint64_t revision = put_one(bed, "a");
        struct ledger_tick *t = tick_one(bed, revision, "cron:a:1");
        t->buffered_us = 7;
        bed_must(bed, &t->base);
        bed_keep(bed, &t->base);
        const struct submit_row *made = &t->jobs->rows[0];
        CU_ASSERT(t->done && t->now_revision > revision && made->result == SUBMIT_CREATED);
        CU_ASSERT(bed_state(bed, &made->id) == STATE_PENDING);
        const struct schedule_row *s = bed_schedule(bed, "a");
        CU_ASSERT_FATAL(s != NULL);
        CU_ASSERT(s->revision == t->now_revision && s->next_us == 60000000);
        CU_ASSERT(s->last_us == 50000000 && s->buffered_us == 7);
        CU_ASSERT(job_id_eq(&s->last_job, &made->id) && s->last_state == STATE_PENDING);
        struct ledger_tick *late =
            tick_one(bed, revision, "cron:a:2"); /* the revision has passed */
        bed_must(bed, &late->base);
        CU_ASSERT(!late->done && late->now_revision == t->now_revision);
        ledger_batch_free(&late->base);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 1);
        struct ledger_tick *next = tick_one(bed, t->now_revision, "cron:a:2");
        bed_must(bed, &next->base);
        CU_ASSERT(next->done && next->jobs->rows[0].result == SUBMIT_CREATED);
        late = tick_one(bed, next->now_revision, "cron:a:1"); /* it was made before an edit */
        ledger_batch_free(&next->base);
        bed_must(bed, &late->base);
        CU_ASSERT(late->done && late->jobs->rows[0].result == SUBMIT_EXISTS);
        CU_ASSERT(job_id_eq(&bed_schedule(bed, "a")->last_job, &made->id));
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 2);
        ledger_batch_free(&late->base);
        bed_free(bed);
}

static void may_make_none_or_many(void)
{
        struct bed *bed = bed_new();
        uint64_t revision = put_one(bed, "a");
        struct ledger_tick *t = bed_tick_batch("a", revision, 60000000); /* skipped */
        bed_must(bed, &t->base);
        CU_ASSERT(t->done);
        revision = t->now_revision;
        ledger_batch_free(&t->base);
        const struct schedule_row *s = bed_schedule(bed, "a");
        CU_ASSERT(s->next_us == 60000000 && s->last_us == 0 && s->last_state == STATE_NONE);
        t = bed_tick_batch("a", revision, 70000000);
        t->last_us = 69000000;
        t->jobs = bed_submission(bed, 4); /* it catches up */
        bed_must(bed, &t->base);
        CU_ASSERT(t->done && bed_count(bed, "q", STATE_PENDING) == 4);
        revision = t->now_revision;
        s = bed_schedule(bed, "a");
        CU_ASSERT(job_id_eq(&s->last_job, &t->jobs->rows[3].id) && s->last_us == 69000000);
        bed_keep(bed, &t->base);
        struct ledger_tick *more =
            bed_tick_batch("a", revision, 80000000); /* last_us 0: as it was */
        bed_must(bed, &more->base);
        s = bed_schedule(bed, "a");
        CU_ASSERT(s->last_us == 69000000 && job_id_eq(&s->last_job, &t->jobs->rows[3].id));
        ledger_batch_free(&more->base);
        bed_free(bed);
}

/* A unique job whose key is held: the tick is over, and the last job is still the last. */
static void a_held_job_is_not_the_last(void)
{
        struct bed *bed = bed_new();
        uint64_t revision = put_one(bed, "a");
        struct ledger_tick *t = tick_one(bed, revision, "cron:a:1");
        t->jobs->rows[0].unique = bed_unique("u");
        bed_must(bed, &t->base);
        bed_keep(bed, &t->base);
        struct ledger_tick *next = tick_one(bed, t->now_revision, "cron:a:2");
        next->jobs->rows[0].unique = bed_unique("u");
        bed_must(bed, &next->base);
        CU_ASSERT(next->done && next->jobs->rows[0].result == SUBMIT_HELD);
        CU_ASSERT(job_id_eq(&bed_schedule(bed, "a")->last_job, &t->jobs->rows[0].id));
        ledger_batch_free(&next->base);
        bed_free(bed);
}

static void tells_what_became_of_the_last_job(void)
{
        struct bed *bed = bed_new();
        struct ledger_tick *t = tick_one(bed, put_one(bed, "a"), "cron:a:1");
        bed_must(bed, &t->base);
        ledger_batch_free(&t->base);
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1);
        CU_ASSERT(bed_schedule(bed, "a")->last_state == STATE_RUNNING);
        bed_end(bed, c, STATE_COMPLETED);
        CU_ASSERT(bed_schedules(bed, "", 5)->rows[0].last_state == STATE_COMPLETED);
        CU_ASSERT(bed_prune_all(bed, STATE_COMPLETED) == 1);
        CU_ASSERT(bed_schedule(bed, "a")->last_state == STATE_NONE);
        /* The tick's key is remembered: an edit does not make it again. */
        t = tick_one(bed, put_one(bed, "a"), "cron:a:1");
        bed_must(bed, &t->base);
        CU_ASSERT(t->done && t->jobs->rows[0].result == SUBMIT_EXISTS);
        CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 0);
        ledger_batch_free(&t->base);
        bed_free(bed);
}

/* A row that the store refuses is buried; the tick is over all the same. */
static void an_unstorable_tick_goes_on(void)
{
        static char long_type[300];
        memset(long_type, 't', sizeof long_type);
        struct bed *bed = bed_new();
        struct ledger_tick *t = tick_one(bed, put_one(bed, "a"), "cron:a:1");
        t->jobs->rows[0].type = (struct str){long_type, sizeof long_type};
        bed_must(bed, &t->base);
        CU_ASSERT(t->done && t->jobs->rows[0].result == SUBMIT_UNSTORABLE);
        CU_ASSERT(bed_schedule(bed, "a")->next_us == 60000000);
        CU_ASSERT(bed_count(bed, "q", STATE_DEAD) == 1);
        ledger_batch_free(&t->base);
        bed_free(bed);
}

static void an_edit_or_drop_undoes_a_tick_under_way(void)
{
        struct bed *bed = bed_new();
        uint64_t old = put_one(bed, "a"), now = put_one(bed, "a");
        struct ledger_tick *t = tick_one(bed, old, "cron:a:1");
        bed_must(bed, &t->base);
        CU_ASSERT(!t->done && t->now_revision == now);
        ledger_batch_free(&t->base);
        CU_ASSERT(bed_drop(bed, "a", SCHEDULE_ANY)->done);
        t = tick_one(bed, now, "cron:a:1");
        bed_must(bed, &t->base);
        CU_ASSERT(!t->done && t->now_revision == 0);
        ledger_batch_free(&t->base);
        CU_ASSERT(bed_stats(bed)->n == 0);
        bed_free(bed);
}

static void of_many_nodes_one_wins(void)
{
        enum { NODES = 6 };
        struct bed *bed = bed_new(), *beds[NODES];
        uint64_t revision = put_one(bed, "a");
        struct ledger_tick *t[NODES];
        for (int h = 0; h < NODES; h++) {
                beds[h] = bed_join(bed, 200 + (uint64_t)h);
        }
        for (int h = 0; h < NODES; h++) {
                t[h] = tick_one(beds[h], revision, h % 2 ? "cron:a:1" : "cron:a:2");
                bed_post(beds[h], &t[h]->base);
        }
        uint32_t won = 0;
        for (int h = 0; h < NODES; h++) {
                bed_wait(beds[h], &t[h]->base);
                CU_ASSERT(t[h]->base.outcome == LEDGER_COMMITTED && t[h]->now_revision > revision);
                won += t[h]->done;
                ledger_batch_free(&t[h]->base);
                bed_free(beds[h]);
        }
        CU_ASSERT(won == 1 && bed_count(bed, "q", STATE_PENDING) == 1);
        bed_free(bed);
}

static enum cancel_result tick_cancel(struct bed *bed, const struct job_id *id, uint64_t *holder)
{
        struct ledger_tick *t = bed_tick_batch("a", put_one(bed, "a"), 5);
        t->has_cancel = true;
        t->cancel = *id;
        bed_must(bed, &t->base);
        CU_ASSERT(t->done);
        enum cancel_result result = t->cancelled;
        *holder = t->cancel_holder;
        ledger_batch_free(&t->base);
        return result;
}

/* Whoever was asked by a schedule says so, and who was asked by people before that does not. */
static void is_overlapped_when_it_stops(struct bed *bed)
{
        (void)bed_add_one(bed);
        (void)bed_add_one(bed);
        struct claim *c = bed_claim(bed, 2);
        CU_ASSERT_FATAL(c->n == 2);
        uint64_t holder;
        CU_ASSERT(bed_cancel(bed, &c->jobs[1].id) == CANCEL_ASKED);
        for (uint32_t i = 0; i < 2; i++) {
                CU_ASSERT(tick_cancel(bed, &c->jobs[i].id, &holder) == CANCEL_ASKED);
                struct finish_row v = bed_verdict(&c->jobs[i], STATE_CANCELLED);
                v.reason = REASON_OPERATOR;
                v.error = ERROR_CANCELLED;
                CU_ASSERT(bed_finish_one(bed, v));
                const struct job_row *j = bed_show(bed, &c->jobs[i].id);
                CU_ASSERT(j->state == STATE_CANCELLED);
                CU_ASSERT(j->reason == (i ? REASON_OPERATOR : REASON_OVERLAPPED));
        }
        claim_free(c);
}

static void cancels_the_older_job(void)
{
        struct bed *bed = bed_new();
        struct job_id waits = bed_job_in(bed, STATE_PENDING), runs = bed_job_in(bed, STATE_RUNNING);
        struct job_id ended = bed_job_in(bed, STATE_COMPLETED), nobody = ended;
        struct job_id retries = bed_job_in(bed, STATE_RETRYING);
        uint64_t holder;
        CU_ASSERT(tick_cancel(bed, &waits, &holder) == CANCEL_DONE);
        CU_ASSERT(tick_cancel(bed, &retries, &holder) == CANCEL_DONE);
        CU_ASSERT(bed_show(bed, &waits)->state == STATE_CANCELLED);
        CU_ASSERT(bed_show(bed, &waits)->reason == REASON_OVERLAPPED);
        CU_ASSERT(bed_show(bed, &retries)->reason == REASON_OVERLAPPED);
        CU_ASSERT(tick_cancel(bed, &runs, &holder) == CANCEL_ASKED && holder == bed->holder);
        CU_ASSERT(bed_show(bed, &runs)->cancel_asked);
        CU_ASSERT(bed_beat(bed)->n_cancels == 1);
        is_overlapped_when_it_stops(bed);
        CU_ASSERT(tick_cancel(bed, &ended, &holder) == CANCEL_TERMINAL);
        nobody.b[7] ^= 1;
        CU_ASSERT(tick_cancel(bed, &nobody, &holder) == CANCEL_NOT_FOUND);
        bed_free(bed);
}

static void a_stale_tick_cancels_nothing(void)
{
        struct bed *bed = bed_new();
        struct job_id id = bed_job_in(bed, STATE_PENDING);
        struct ledger_tick *t = bed_tick_batch("a", put_one(bed, "a") + 1, 5);
        t->has_cancel = true;
        t->cancel = id;
        bed_must(bed, &t->base);
        CU_ASSERT(!t->done && bed_state(bed, &id) == STATE_PENDING);
        ledger_batch_free(&t->base);
        bed_free(bed);
}

/* An unknown tick is resolved, or simply made again: its revision has passed. */
static void an_unknown_tick_is_made_once(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                uint64_t revision = put_one(bed, "a");
                struct ledger_tick *t = tick_one(bed, revision, "cron:a:1");
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &t->base) == LEDGER_UNKNOWN);
                CU_ASSERT(bed_resolve(bed, t->base.no) == (i == 1));
                ledger_batch_free(&t->base);
                t = tick_one(bed, revision, "cron:a:1");
                bed_must(bed, &t->base);
                CU_ASSERT(t->done == (i == 0));
                CU_ASSERT(bed_count(bed, "q", STATE_PENDING) == 1);
                ledger_batch_free(&t->base);
                bed_free(bed);
        }
}

CASES(cases_schedule, {"keeps all of it", keeps_all_of_it, 0},
      {"an edit keeps what ran", an_edit_keeps_what_ran, 0},
      {"an expected revision must stand", an_expected_revision_must_stand, 0},
      {"refuses names and texts that are too long", refuses_names_and_texts_that_are_too_long, 0},
      {"pages by name", pages_by_name, 0},
      {"a beat tells that something changed", a_beat_tells_that_something_changed, 0},
      {"makes its job once", makes_its_job_once, 0},
      {"may make none or many", may_make_none_or_many, 0},
      {"a held job is not the last", a_held_job_is_not_the_last, 0},
      {"tells what became of the last job", tells_what_became_of_the_last_job, 0},
      {"an unstorable tick goes on", an_unstorable_tick_goes_on, 0},
      {"an edit or drop undoes a tick under way", an_edit_or_drop_undoes_a_tick_under_way, 0},
      {"of many nodes one wins", of_many_nodes_one_wins, NEED_SHARE},
      {"cancels the older job", cancels_the_older_job, 0},
      {"a stale tick cancels nothing", a_stale_tick_cancels_nothing, 0},
      {"an unknown tick is made once", an_unknown_tick_is_made_once, NEED_FAULT});
