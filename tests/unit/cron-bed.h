/*
 * A bed for tests of schedules: engines by hand in virtual time over a table of schedules that the
 * bed keeps as a ledger would, in turns until nothing is left to answer.
 */
#ifndef SKEP_TESTS_CRON_BED_H
#define SKEP_TESTS_CRON_BED_H

#include "core/rfc3339.h"
#include "core/zone.h"
#include "tests/unit/engine-desk.h"
#include "tests/unit/test-zone.h"

#define NODES 2

struct made {
        struct job_id id;
        char key[300], type[64];
        enum job_state state;
        enum job_reason reason;
        uint8_t priority;
};

struct stored {
        struct schedule_row row;
        char text[6][128];
};

/* The ledger: schedules and the jobs that their ticks made. */
static struct {
        struct stored rows[8];
        uint32_t n;
        uint64_t revision;
        struct made made[512];
        uint32_t n_made;
        uint32_t ticks, lost_ticks, reads;
        enum ledger_outcome
            tick_outcome;  /* of the next TICK, but for COMMITTED nothing is done ... */
        bool tick_happens; /* ... unless this is set */
        int tick_failures; /* so many TICKs end so */
} table;

static struct desk desks[NODES];
static uint32_t n_desks;
static struct engine_action ran[8];
static char ran_text[8][128];
static uint32_t n_ran;
static uint32_t notes_of_level[8];
static struct zone *berlin;
static bool zones_missing;
static uint32_t zones_asked;

/* --- the table -------------------------------------------------------------------------------- */

static inline int64_t at(const char *text)
{
        int64_t us = -1;
        CU_ASSERT_FATAL(rfc3339_parse(str_of(text), &us));
        return us;
}

static inline struct stored *find_stored(struct str name)
{
        for (uint32_t i = 0; i < table.n; i++) {
                if (str_eq(table.rows[i].row.name, name)) {
                        return &table.rows[i];
                }
        }
        return NULL;
}

static inline void keep_text(struct stored *s, int i, struct str *text)
{
        snprintf(s->text[i], sizeof s->text[i], "%.*s", (int)text->n, text->p ? text->p : "");
        *text = str_of(s->text[i]);
}

static inline struct stored *store(const struct schedule_row *row)
{
        struct stored *s = find_stored(row->name);
        struct schedule_row before = s ? s->row : (struct schedule_row){0};
        bool found = s != NULL;
        s = s ? s : &table.rows[table.n++];
        s->row = *row;
        keep_text(s, 0, &s->row.name);
        keep_text(s, 1, &s->row.spec);
        keep_text(s, 2, &s->row.zone);
        keep_text(s, 3, &s->row.job.type);
        keep_text(s, 4, &s->row.job.queue);
        keep_text(s, 5, &s->row.job.payload);
        s->row.revision = ++table.revision;
        if (found) {
                s->row.last_us = before.last_us;
                s->row.last_job = before.last_job;
                s->row.buffered_us = before.buffered_us;
        }
        return s;
}

static inline void drop(const char *name)
{
        struct stored *s = find_stored(str_of(name));
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        for (uint32_t i = (uint32_t)(s - table.rows); i + 1 < table.n; i++) {
                struct schedule_row row = table.rows[i + 1].row;
                memcpy(&table.rows[i], &table.rows[i + 1], sizeof *table.rows);
                struct stored *moved = &table.rows[i];
                moved->row.name = (struct str){moved->text[0], row.name.n};
                moved->row.spec = (struct str){moved->text[1], row.spec.n};
                moved->row.zone = (struct str){moved->text[2], row.zone.n};
                moved->row.job.type = (struct str){moved->text[3], row.job.type.n};
                moved->row.job.queue = (struct str){moved->text[4], row.job.queue.n};
                moved->row.job.payload = (struct str){moved->text[5], row.job.payload.n};
        }
        table.n--;
        table.revision++;
}

static inline struct made *find_made(const struct job_id *id)
{
        for (uint32_t i = 0; i < table.n_made; i++) {
                if (job_id_eq(&table.made[i].id, id)) {
                        return &table.made[i];
                }
        }
        return NULL;
}

static inline struct made *find_key(struct str key)
{
        for (uint32_t i = 0; i < table.n_made; i++) {
                if (str_eq(str_of(table.made[i].key), key)) {
                        return &table.made[i];
                }
        }
        return NULL;
}

static inline void tell_row(const struct stored *s, struct schedule_row *ret)
{
        *ret = s->row;
        const struct made *m = find_made(&s->row.last_job);
        ret->last_state = m ? m->state : STATE_NONE;
}

#define PAGE 2 /* however many were asked for: pages end early in this ledger */

static inline int order(struct str a, struct str b)
{
        int by = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
        return by ? by : (int)a.n - (int)b.n;
}

/* The first one behind a name; NULL: none. */
static inline struct stored *stored_behind(struct str name)
{
        struct stored *best = NULL;
        for (uint32_t i = 0; i < table.n; i++) {
                struct stored *s = &table.rows[i];
                bool behind = name.n == 0 || order(s->row.name, name) > 0;
                if (behind && (!best || order(s->row.name, best->row.name) < 0)) {
                        best = s;
                }
        }
        return best;
}

static inline void serve_read(struct ledger_schedules *b)
{
        struct str last = b->after;
        struct stored *s = b->name.n ? find_stored(b->name) : stored_behind(last);
        table.reads++;
        b->rows = arena_zalloc(&b->base.arena, PAGE * sizeof *b->rows);
        b->revision = table.n ? table.revision : 0;
        for (; s && b->n < PAGE; s = b->name.n ? NULL : stored_behind(last)) {
                last = s->row.name;
                tell_row(s, &b->rows[b->n++]);
        }
        b->more = s != NULL;
}

static inline void serve_put(struct ledger_schedule *b)
{
        struct stored *s = find_stored(b->row.name);
        uint64_t stands = s ? s->row.revision : 0;
        b->found = s != NULL;
        b->done = b->expected == SCHEDULE_ANY || b->expected == stands;
        if (b->done && b->drop) {
                char name[64];
                snprintf(name, sizeof name, "%.*s", (int)b->row.name.n, b->row.name.p);
                drop(name);
        } else if (b->done) {
                b->row = store(&b->row)->row;
        }
}

static inline void insert_job(struct stored *s, struct submit_row *row)
{
        struct made *m = find_made(&row->id);
        m = m ? m : find_key(row->key_text);
        if (m) {
                row->result = SUBMIT_EXISTS;
                row->existing = m->id;
        } else {
                m = &table.made[table.n_made++];
                row->result = SUBMIT_CREATED;
                m->id = row->id;
                m->state = row->state;
                m->priority = row->priority;
                snprintf(m->key, sizeof m->key, "%.*s", (int)row->key_text.n, row->key_text.p);
                snprintf(m->type, sizeof m->type, "%.*s", (int)row->type.n, row->type.p);
        }
        s->row.last_job = m->id;
}

static inline void do_tick(struct ledger_tick *b)
{
        struct stored *s = find_stored(b->name);
        struct made *older = find_made(&b->cancel);
        b->done = s && s->row.revision == b->revision;
        b->now_revision = s ? s->row.revision : 0;
        if (!b->done) {
                table.lost_ticks++;
                return;
        }
        table.ticks++;
        if (b->has_cancel && older) {
                b->cancelled = older->state == STATE_RUNNING ? CANCEL_ASKED : CANCEL_DONE;
                older->state = older->state == STATE_RUNNING ? STATE_RUNNING : STATE_CANCELLED;
                older->reason = REASON_OVERLAPPED;
        }
        for (uint32_t i = 0; b->jobs && i < b->jobs->n; i++) {
                insert_job(s, &b->jobs->rows[i]);
        }
        s->row.next_us = b->next_us;
        s->row.last_us = b->last_us ? b->last_us : s->row.last_us;
        s->row.buffered_us = b->buffered_us;
        b->now_revision = s->row.revision = ++table.revision;
}

static inline enum ledger_outcome serve_tick(struct ledger_tick *b)
{
        if (table.tick_failures == 0) {
                do_tick(b);
                return LEDGER_COMMITTED;
        }
        table.tick_failures--;
        if (table.tick_happens) {
                do_tick(b);
                b->done = false;
        }
        return table.tick_outcome;
}

static inline enum ledger_outcome serve(struct ledger_batch *b)
{
        switch (b->op) {
        case LEDGER_SCHEDULES: serve_read(LEDGER_AS(schedules, SCHEDULES, b)); break;
        case LEDGER_SCHEDULE: serve_put(LEDGER_AS(schedule, SCHEDULE, b)); break;
        case LEDGER_TICK: return serve_tick(LEDGER_AS(tick, TICK, b));
        case LEDGER_BEAT: LEDGER_AS(beat, BEAT, b)->schedules = table.n ? table.revision : 0; break;
        case LEDGER_DUE: LEDGER_AS(due, DUE, b)->next_us = -1; break;
        case LEDGER_PRUNE: LEDGER_AS(prune, PRUNE, b)->end = true; break;
        default: break;
        }
        return LEDGER_COMMITTED;
}

/* --- the nodes -------------------------------------------------------------------------------- */

static inline void take_actions(struct desk *d)
{
        char zone[64] = "";
        for (uint32_t i = 0; i < d->n_last; i++) {
                const struct engine_action *a = &d->last[i];
                if (a->kind == ACT_RAN) {
                        snprintf(ran_text[n_ran], sizeof ran_text[0], "%.*s", (int)a->text.n,
                                 a->text.p);
                        ran[n_ran++] = *a;
                } else if (a->kind == ACT_NOTE) {
                        notes_of_level[a->level & 7]++;
                } else if (a->kind == ACT_ZONE) {
                        snprintf(zone, sizeof zone, "%.*s", (int)a->text.n, a->text.p);
                }
        }
        d->n_last = 0;
        if (zone[0]) {
                struct engine_event ev = {.kind = EV_ZONE};
                ev.zone.name = str_of(zone);
                ev.zone.zone = zones_missing ? NULL : berlin;
                zones_asked++;
                tell(d, ev);
                take_actions(d);
        }
}

/* The ledger answers all that was posted, in turns, until nothing is left. */
static inline void settle(void)
{
        bool more = true;
        while (more) {
                more = false;
                for (uint32_t i = 0; i < n_desks; i++) {
                        struct desk *d = &desks[i];
                        take_actions(d);
                        if (d->n_posted > 0) {
                                struct ledger_batch *b = d->posted[0];
                                memmove(d->posted, d->posted + 1,
                                        --d->n_posted * sizeof d->posted[0]);
                                answer(d, b, serve(b));
                                take_actions(d);
                                more = true;
                        }
                }
        }
}

static inline void timer(int64_t mono_ns)
{
        for (uint32_t i = 0; i < n_desks; i++) {
                struct desk *d = &desks[i];
                int64_t step = mono_ns - d->now.mono_ns;
                d->now.mono_ns += step;
                d->now.wall_us += step / 1000;
                tell(d, (struct engine_event){.kind = EV_TIMER});
        }
        settle();
}

/* Time goes on until then, from one wake to the next. */
static inline void until(const char *text)
{
        int64_t end_us = at(text);
        settle();
        while (desks[0].now.wall_us < end_us) {
                int64_t next = desks[0].now.mono_ns + (end_us - desks[0].now.wall_us) * 1000;
                for (uint32_t i = 0; i < n_desks; i++) {
                        int64_t wake = engine_wake_ns(desks[i].engine);
                        next = wake < next ? wake : next;
                }
                timer(next > desks[0].now.mono_ns ? next : desks[0].now.mono_ns + 1000);
        }
}

static inline void open_node(const char *now)
{
        struct desk *d = &desks[n_desks++];
        struct engine_config ec = {
            .seed = {n_desks, 2, 3, 4}, .host = STR("h"), .version = STR("0")};
        *d = (struct desk){.now = {NS_PER_S, at(now)}};
        CU_ASSERT_EQUAL_FATAL(config_init(&d->config), 0);
        ec.config = &d->config;
        d->engine = engine_new(&ec);
        CU_ASSERT_PTR_NOT_NULL_FATAL(d->engine);
}

static inline void start_node(uint32_t i)
{
        tell(&desks[i], (struct engine_event){.kind = EV_START});
        settle();
}

static inline void open_table(void)
{
        memset(&table, 0, sizeof table);
        memset(notes_of_level, 0, sizeof notes_of_level);
        n_desks = n_ran = zones_asked = 0;
        zones_missing = false;
        berlin = zone_of_rule(BERLIN);
}

static inline void close_table(void)
{
        while (n_desks) {
                close_desk(&desks[--n_desks]);
        }
        zone_free(berlin);
}

static inline struct schedule_row row_of(const char *name, const char *spec, const char *next)
{
        return (struct schedule_row){
            .name = str_of(name),
            .spec = str_of(spec),
            .zone = STR(""),
            .catch_up = CATCH_LAST,
            .catch_max = 100,
            .next_us = next ? at(next) : 0,
            .job = {.type = STR("noop"), .queue = STR("default"), .priority = 3},
        };
}

/* One node, one schedule. */
static inline struct schedule_row *open_with(const char *now, const struct schedule_row *row)
{
        open_table();
        store(row);
        open_node(now);
        start_node(0);
        return &table.rows[0].row;
}

/* The keys of all jobs made so far, times alone, blanks between. */
static inline void expect_made(const char *wanted)
{
        char all[4096] = "";
        for (uint32_t i = 0; i < table.n_made; i++) {
                const char *time = strchr(strchr(table.made[i].key, ':') + 1, ':') + 1;
                strcat(all, i ? " " : "");
                strcat(all, time);
        }
        if (strcmp(all, wanted) != 0) {
                printf("\n  made:   %s\n  wanted: %s\n", all, wanted);
                CU_FAIL("jobs of ticks");
        }
}

#endif
