/*
 * Schedules in virtual time: engines by hand over a table of schedules that the test keeps as a
 * ledger would. Catch-up, overlap, two nodes, changes meanwhile, runs by hand, zones, the
 * configuration.
 */
#include "tests/unit/cron-bed.h"

/* --- ticks ------------------------------------------------------------------------------------ */

static void test_ticks(void)
{
        struct schedule_row row = row_of("n", "*/10 * * * *", "2026-05-01T10:00:00Z");
        struct schedule_row *kept = open_with("2026-05-01T09:59:00Z", &row);
        until("2026-05-01T10:25:00Z");
        expect_made("2026-05-01T10:00:00Z 2026-05-01T10:10:00Z 2026-05-01T10:20:00Z");
        CU_ASSERT_STRING_EQUAL(table.made[0].key, "cron:n:2026-05-01T10:00:00Z");
        CU_ASSERT_STRING_EQUAL(table.made[0].type, "noop");
        CU_ASSERT_EQUAL(table.made[0].priority, 3);
        CU_ASSERT(kept->next_us == at("2026-05-01T10:30:00Z"));
        CU_ASSERT(kept->last_us == at("2026-05-01T10:20:00Z"));
        CU_ASSERT(job_id_eq(&kept->last_job, &table.made[2].id));
        CU_ASSERT_EQUAL(table.reads, 1); /* its own ticks tell a node all that it needs */
        struct schedule_view view;
        CU_ASSERT_EQUAL(engine_schedules(desks[0].engine, &view, 1), 1);
        CU_ASSERT_EQUAL(view.counts.made, 3);
        CU_ASSERT(str_eq(view.name, STR("n")));
        close_table();
}

static void test_every(void)
{
        struct schedule_row row = row_of("n", "@every 25s", "2026-05-01T10:00:07.25Z");
        open_with("2026-05-01T10:00:00Z", &row);
        until("2026-05-01T10:01:00Z");
        expect_made("2026-05-01T10:00:07.250000Z 2026-05-01T10:00:32.250000Z "
                    "2026-05-01T10:00:57.250000Z");
        close_table();
}

static void test_last_time(void)
{
        struct schedule_row row = row_of("n", "0 0 30 2 *", "2026-05-01T10:00:00Z");
        struct schedule_row *kept = open_with("2026-05-01T09:59:59Z", &row);
        until("2026-05-01T11:00:00Z");
        expect_made("2026-05-01T10:00:00Z");
        CU_ASSERT(kept->next_us == 0);
        CU_ASSERT_EQUAL(table.ticks, 1);
        close_table();
}

/* Whoever is first: one job a tick, and the other one learns of it. */
static void test_two_nodes(void)
{
        struct schedule_row row = row_of("n", "* * * * *", "2026-05-01T10:00:00Z");
        open_table();
        store(&row);
        open_node("2026-05-01T09:59:30Z");
        open_node("2026-05-01T09:59:30Z");
        start_node(0);
        start_node(1);
        until("2026-05-01T12:00:30Z");
        CU_ASSERT_EQUAL(table.n_made, 121);
        CU_ASSERT_EQUAL(table.ticks, 121);
        CU_ASSERT(table.lost_ticks > 0);
        close_table();
}

static void test_paused_and_changed(void)
{
        struct schedule_row row = row_of("n", "* * * * *", "2026-05-01T10:00:00Z");
        open_with("2026-05-01T09:59:30Z", &row);
        until("2026-05-01T10:01:30Z");
        row = row_of("n", "* * * * *", "2026-05-01T10:02:00Z");
        row.paused = true;
        store(&row);
        until("2026-05-01T10:05:30Z");
        CU_ASSERT_EQUAL(table.n_made, 2);
        row = row_of("n", "*/30 * * * * *", "2026-05-01T10:06:00Z");
        store(&row);
        until("2026-05-01T10:06:40Z");
        expect_made("2026-05-01T10:00:00Z 2026-05-01T10:01:00Z 2026-05-01T10:06:00Z "
                    "2026-05-01T10:06:30Z");
        row = row_of("second", "30 * * * * *", "2026-05-01T10:07:30Z");
        store(&row);
        drop("n");
        until("2026-05-01T10:08:20Z");
        CU_ASSERT_EQUAL(table.n_made, 5);
        CU_ASSERT_STRING_EQUAL(table.made[4].key, "cron:second:2026-05-01T10:07:30Z");
        drop("second");
        until("2026-05-01T10:10:00Z");
        CU_ASSERT_EQUAL(table.n_made, 5);
        CU_ASSERT_EQUAL(engine_schedules(desks[0].engine, NULL, 0), 0);
        close_table();
}

/* What cannot be read is left alone, and said once. */
static void test_unreadable(void)
{
        struct schedule_row row = row_of("n", "* * * * * * * *", "2026-05-01T10:00:00Z");
        open_with("2026-05-01T09:59:30Z", &row);
        until("2026-05-01T10:05:00Z");
        CU_ASSERT_EQUAL(table.n_made, 0);
        CU_ASSERT_EQUAL(table.ticks, 0);
        CU_ASSERT_EQUAL(notes_of_level[4], 1);
        close_table();
}

/* --- catch-up --------------------------------------------------------------------------------- */

static void catch_up_after(enum catch_up how, uint32_t max, const char *now, const char *wanted)
{
        struct schedule_row row = row_of("n", "*/10 * * * *", "2026-05-01T09:00:00Z");
        row.catch_up = how;
        row.catch_max = max;
        struct schedule_row *kept = open_with(now, &row);
        settle();
        expect_made(wanted);
        CU_ASSERT(kept->next_us > desks[0].now.wall_us);
        CU_ASSERT_EQUAL(table.ticks, 1);
        close_table();
}

static void test_catch_up(void)
{
        catch_up_after(CATCH_NONE, 100, "2026-05-01T09:35:00Z", "");
        catch_up_after(CATCH_LAST, 100, "2026-05-01T09:35:00Z", "2026-05-01T09:30:00Z");
        catch_up_after(CATCH_ALL, 100, "2026-05-01T09:35:00Z",
                       "2026-05-01T09:00:00Z 2026-05-01T09:10:00Z 2026-05-01T09:20:00Z "
                       "2026-05-01T09:30:00Z");
        catch_up_after(CATCH_ALL, 2, "2026-05-01T09:35:00Z",
                       "2026-05-01T09:20:00Z 2026-05-01T09:30:00Z");
        /* one that is on time is made whatever became of those before */
        catch_up_after(CATCH_NONE, 100, "2026-05-01T09:40:02Z", "2026-05-01T09:40:00Z");
        catch_up_after(CATCH_LAST, 100, "2026-05-01T09:40:02Z", "2026-05-01T09:40:00Z");
        catch_up_after(CATCH_NONE, 100, "2026-05-01T09:00:02.9Z", "2026-05-01T09:00:00Z");
        catch_up_after(CATCH_NONE, 100, "2026-05-01T09:00:03.1Z", "");
}

/* Years of seconds are not counted one by one. */
static void test_long_sleep(void)
{
        struct schedule_row row = row_of("n", "* * * * * *", "2006-05-01T00:00:00Z");
        row.catch_up = CATCH_ALL;
        row.catch_max = 3;
        open_with("2026-05-01T00:00:00.5Z", &row);
        settle();
        expect_made("2026-04-30T23:59:58Z 2026-04-30T23:59:59Z 2026-05-01T00:00:00Z");
        close_table();
        row = row_of("n", "0 0 29 2 *", "2008-02-29T00:00:00Z");
        row.catch_up = CATCH_ALL;
        open_with("2026-05-01T00:00:00Z", &row);
        settle();
        expect_made("2008-02-29T00:00:00Z 2012-02-29T00:00:00Z 2016-02-29T00:00:00Z "
                    "2020-02-29T00:00:00Z 2024-02-29T00:00:00Z");
        close_table();
}

/* --- overlap ---------------------------------------------------------------------------------- */

static struct schedule_row *open_overlap(enum overlap how)
{
        struct schedule_row row = row_of("n", "* * * * *", "2026-05-01T10:00:00Z");
        row.overlap = how;
        struct schedule_row *kept = open_with("2026-05-01T09:59:30Z", &row);
        until("2026-05-01T10:00:10Z");
        CU_ASSERT_EQUAL_FATAL(table.n_made, 1);
        table.made[0].state = STATE_RUNNING;
        return kept;
}

static void test_allow(void)
{
        open_overlap(OVERLAP_ALLOW);
        until("2026-05-01T10:02:10Z");
        CU_ASSERT_EQUAL(table.n_made, 3);
        close_table();
}

static void test_skip(void)
{
        struct schedule_row *kept = open_overlap(OVERLAP_SKIP);
        until("2026-05-01T10:02:10Z");
        expect_made("2026-05-01T10:00:00Z");
        CU_ASSERT(kept->next_us == at("2026-05-01T10:03:00Z"));
        CU_ASSERT(kept->last_us == at("2026-05-01T10:00:00Z"));
        table.made[0].state = STATE_DEAD;
        until("2026-05-01T10:03:10Z");
        expect_made("2026-05-01T10:00:00Z 2026-05-01T10:03:00Z");
        struct schedule_view view;
        engine_schedules(desks[0].engine, &view, 1);
        CU_ASSERT_EQUAL(view.counts.skipped, 2);
        close_table();
}

static void test_buffer(void)
{
        struct schedule_row *kept = open_overlap(OVERLAP_BUFFER);
        until("2026-05-01T10:03:10Z");
        expect_made("2026-05-01T10:00:00Z");
        CU_ASSERT(kept->buffered_us == at("2026-05-01T10:01:00Z"));
        table.made[0].state = STATE_COMPLETED;
        until("2026-05-01T10:03:15Z");
        expect_made("2026-05-01T10:00:00Z 2026-05-01T10:01:00Z");
        CU_ASSERT(kept->buffered_us == 0);
        table.made[1].state = STATE_COMPLETED;
        until("2026-05-01T10:04:10Z");
        expect_made("2026-05-01T10:00:00Z 2026-05-01T10:01:00Z 2026-05-01T10:04:00Z");
        struct schedule_view view;
        engine_schedules(desks[0].engine, &view, 1);
        CU_ASSERT_EQUAL(view.counts.buffered, 1);
        CU_ASSERT_EQUAL(view.counts.skipped, 2);
        close_table();
}

static void test_cancel(void)
{
        open_overlap(OVERLAP_CANCEL);
        until("2026-05-01T10:01:10Z");
        CU_ASSERT_EQUAL_FATAL(table.n_made, 2);
        CU_ASSERT_EQUAL(table.made[0].reason, REASON_OVERLAPPED); /* it runs: it was asked */
        CU_ASSERT_EQUAL(table.made[0].state, STATE_RUNNING);
        until("2026-05-01T10:02:10Z");
        CU_ASSERT_EQUAL_FATAL(table.n_made, 3);
        CU_ASSERT_EQUAL(table.made[1].state, STATE_CANCELLED);
        table.made[2].state = STATE_COMPLETED;
        until("2026-05-01T10:03:10Z");
        CU_ASSERT_EQUAL(table.made[2].state, STATE_COMPLETED);
        CU_ASSERT_EQUAL(table.made[2].reason, REASON_NONE);
        close_table();
}

/* Several that are due at once may not overlap each other either. */
static void test_overlap_of_missed(void)
{
        static const struct {
                enum overlap how;
                const char *made, *buffered;
        } cases[] = {
            {OVERLAP_SKIP, "2026-05-01T10:04:00Z", NULL},
            {OVERLAP_CANCEL, "2026-05-01T10:04:00Z", NULL},
            {OVERLAP_BUFFER, "2026-05-01T10:00:00Z", "2026-05-01T10:01:00Z"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct schedule_row row = row_of("n", "* * * * *", "2026-05-01T10:00:00Z");
                row.catch_up = CATCH_ALL;
                row.overlap = cases[i].how;
                struct schedule_row *kept = open_with("2026-05-01T10:04:10Z", &row);
                settle();
                expect_made(cases[i].made);
                CU_ASSERT(kept->buffered_us == (cases[i].buffered ? at(cases[i].buffered) : 0));
                close_table();
        }
}

/* --- when the ledger does not say ------------------------------------------------------------- */

static void test_unknown(void)
{
        static const enum ledger_outcome outcomes[] = {LEDGER_UNKNOWN, LEDGER_UNKNOWN,
                                                       LEDGER_REFUSED};
        for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
                struct schedule_row row = row_of("n", "* * * * *", "2026-05-01T10:00:00Z");
                open_with("2026-05-01T09:59:30Z", &row);
                table.tick_failures = 1;
                table.tick_outcome = outcomes[i];
                table.tick_happens = i == 0;
                until("2026-05-01T10:01:30Z");
                expect_made("2026-05-01T10:00:00Z 2026-05-01T10:01:00Z");
                close_table();
        }
}

/* --- runs by hand ----------------------------------------------------------------------------- */

static void run_now(const char *name)
{
        static char cookie;
        struct engine_event ev = {.kind = EV_RUN_SCHEDULE};
        ev.run_schedule.name = str_of(name);
        ev.run_schedule.cookie = &cookie;
        tell(&desks[0], ev);
        settle();
        CU_ASSERT_FATAL(n_ran > 0);
        CU_ASSERT_PTR_EQUAL(ran[n_ran - 1].cookie, &cookie);
}

static void test_run_now(void)
{
        static const struct job_id none;
        struct schedule_row row = row_of("n", "0 0 1 1 *", "2027-01-01T00:00:00Z");
        row.paused = true;
        struct schedule_row *kept = open_with("2026-05-01T10:00:00.5Z", &row);
        run_now("n");
        CU_ASSERT_EQUAL_FATAL(table.n_made, 1);
        CU_ASSERT_STRING_EQUAL(table.made[0].key, "run:n:2026-05-01T10:00:00.500000Z");
        CU_ASSERT(job_id_eq(&ran[0].job, &table.made[0].id));
        CU_ASSERT_EQUAL(ran[0].text.n, 0);
        CU_ASSERT(kept->next_us == at("2027-01-01T00:00:00Z"));
        CU_ASSERT(kept->last_us == 0);
        run_now("other");
        CU_ASSERT(job_id_eq(&ran[1].job, &none));
        CU_ASSERT_STRING_EQUAL(ran_text[1], "there is no such schedule");
        /* the answer gets lost, whether it happened or not: one job */
        for (int happens = 0; happens < 2; happens++) {
                until(happens ? "2026-05-01T10:00:09Z" : "2026-05-01T10:00:07Z");
                table.tick_failures = 1;
                table.tick_outcome = LEDGER_UNKNOWN;
                table.tick_happens = happens;
                run_now("n");
                CU_ASSERT_EQUAL(table.n_made, 2 + (uint32_t)happens);
                CU_ASSERT(job_id_eq(&ran[n_ran - 1].job, &table.made[table.n_made - 1].id));
        }
        table.tick_failures = 1;
        table.tick_outcome = LEDGER_REFUSED;
        run_now("n");
        CU_ASSERT(job_id_eq(&ran[n_ran - 1].job, &none));
        CU_ASSERT(strlen(ran_text[n_ran - 1]) > 0);
        tell(&desks[0], (struct engine_event){.kind = EV_DRAIN});
        run_now("n");
        CU_ASSERT_STRING_EQUAL(ran_text[n_ran - 1], "skepd is stopping");
        close_table();
}

/* --- zones ------------------------------------------------------------------------------------ */

static void test_zone(void)
{
        struct schedule_row row = row_of("n", "30 2 * * *", "2026-03-28T01:30:00Z");
        row.zone = STR("Europe/Berlin");
        open_with("2026-03-28T01:00:00Z", &row);
        until("2026-03-30T12:00:00Z");
        expect_made("2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z");
        CU_ASSERT_EQUAL(zones_asked, 1);
        close_table();
}

/* It waits, says so once, and goes on when there is one. */
static void test_zone_missing(void)
{
        struct schedule_row row = row_of("n", "0 * * * *", "2026-03-28T02:00:00Z");
        row.zone = STR("Europe/Berlin");
        row.catch_up = CATCH_ALL;
        open_table();
        zones_missing = true;
        store(&row);
        open_node("2026-03-28T01:59:00Z");
        start_node(0);
        until("2026-03-28T02:30:00Z");
        CU_ASSERT_EQUAL(table.n_made, 0);
        CU_ASSERT(zones_asked > 10);
        CU_ASSERT_EQUAL(notes_of_level[4], 1);
        zones_missing = false;
        until("2026-03-28T02:32:00Z");
        expect_made("2026-03-28T02:00:00Z");
        close_table();
}

/* --- the configuration ------------------------------------------------------------------------ */

static struct schedule_config *configure(struct config *c, const char *name, const char *spec)
{
        const struct config_list *l = &config_lists[LIST_SCHEDULES];
        int known = config_entry_named(c, l, str_of(name));
        void *entry = known < 0 ? NULL : config_entry(c, l, (uint32_t)known);
        CU_ASSERT_EQUAL_FATAL(entry ? 0 : config_entry_add(c, l, str_of(name), &entry), 0);
        struct schedule_config *d = entry;
        d->cron = str_of(spec);
        d->type = STR("noop");
        return d;
}

static void reload(uint32_t i)
{
        struct engine_event ev = {.kind = EV_CONFIG, .config = &desks[i].config};
        tell(&desks[i], ev);
        settle();
}

static void test_configured(void)
{
        open_table();
        open_node("2026-05-01T09:59:30Z");
        open_node("2026-05-01T09:59:30Z");
        configure(&desks[0].config, "a", "* * * * *");
        configure(&desks[0].config, "b", "@daily")->zone = STR("Europe/Berlin");
        configure(&desks[1].config, "a", "* * * * *");
        start_node(0);
        start_node(1);
        until("2026-05-01T10:01:30Z");
        CU_ASSERT_EQUAL_FATAL(table.n, 2);
        expect_made("2026-05-01T10:00:00Z 2026-05-01T10:01:00Z");
        const struct schedule_row *a = &find_stored(STR("a"))->row,
                                  *b = &find_stored(STR("b"))->row;
        CU_ASSERT(a->from_config && b->from_config);
        CU_ASSERT(b->next_us == at("2026-05-01T22:00:00Z"));
        CU_ASSERT_EQUAL(a->job.priority, UINT8_MAX);
        CU_ASSERT(str_eq(a->job.queue, STR("default")));
        uint64_t revision = b->revision;

        /* a pause of people stays, a change of the file goes in, what is the same is left alone */
        find_stored(STR("a"))->row.paused = true;
        find_stored(STR("a"))->row.revision = ++table.revision;
        configure(&desks[0].config, "a", "30 * * * * *");
        reload(0);
        CU_ASSERT(a->paused);
        CU_ASSERT(str_eq(a->spec, STR("30 * * * * *")));
        CU_ASSERT(a->next_us == at("2026-05-01T10:02:30Z") ||
                  a->next_us == at("2026-05-01T10:01:30Z"));
        CU_ASSERT(b->revision == revision);

        /* what a reload no longer names goes, but for what was never its own */
        struct schedule_row theirs = row_of("theirs", "@yearly", "2027-01-01T00:00:00Z");
        theirs.from_config = true;
        store(&theirs);
        desks[0].config.n_schedules = 1; /* b is gone */
        reload(0);
        CU_ASSERT_PTR_NULL(find_stored(STR("b")));
        CU_ASSERT_PTR_NOT_NULL(find_stored(STR("a")));
        CU_ASSERT_PTR_NOT_NULL(find_stored(STR("theirs")));

        /* what people made theirs is not dropped */
        find_stored(STR("a"))->row.from_config = false;
        find_stored(STR("a"))->row.revision = ++table.revision;
        desks[0].config.n_schedules = 0;
        reload(0);
        CU_ASSERT_PTR_NOT_NULL(find_stored(STR("a")));
        close_table();
}

/* Pages of the table, and a few ticks at a time. */
static void test_many(void)
{
        static const char *const names[] = {"g", "a", "f", "b", "e", "c", "d"};
        open_table();
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                struct schedule_row row = row_of(names[i], "* * * * *", "2026-05-01T10:00:00Z");
                store(&row);
        }
        open_node("2026-05-01T09:59:30Z");
        start_node(0);
        until("2026-05-01T10:02:30Z");
        CU_ASSERT_EQUAL(table.n_made, 21);
        CU_ASSERT_EQUAL(table.reads, 4);
        CU_ASSERT_EQUAL(table.lost_ticks, 0);
        drop("d");
        until("2026-05-01T10:03:30Z");
        CU_ASSERT_EQUAL(table.n_made, 27);
        close_table();
}

static void test_drain(void)
{
        struct schedule_row row = row_of("n", "* * * * *", "2026-05-01T10:00:00Z");
        open_with("2026-05-01T09:59:30Z", &row);
        tell(&desks[0], (struct engine_event){.kind = EV_DRAIN});
        until("2026-05-01T10:05:00Z");
        CU_ASSERT_EQUAL(table.n_made, 0);
        close_table();
}

UNIT_TESTS = {
    {"ticks make jobs", test_ticks},
    {"@every", test_every},
    {"a last time", test_last_time},
    {"two nodes, one job a tick", test_two_nodes},
    {"paused, changed, dropped", test_paused_and_changed},
    {"an expression of a later version", test_unreadable},
    {"catch-up", test_catch_up},
    {"catch-up after years", test_long_sleep},
    {"overlap: allow", test_allow},
    {"overlap: skip", test_skip},
    {"overlap: buffer", test_buffer},
    {"overlap: cancel", test_cancel},
    {"overlap of missed ticks", test_overlap_of_missed},
    {"ticks whose commit is not known", test_unknown},
    {"runs by hand", test_run_now},
    {"a time zone", test_zone},
    {"a time zone that is not there yet", test_zone_missing},
    {"schedules of the configuration", test_configured},
    {"many", test_many},
    {"none while draining", test_drain},
};
UNIT_MAIN("engine-cron")
