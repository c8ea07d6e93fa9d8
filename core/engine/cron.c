/*
 * Schedules: what this node knows of them, when one is due for a look, their time zones, and runs
 * by hand. Every node knows all schedules and computes their ticks; of those that post a tick the
 * ledger lets one through, by the revision that the tick names. So there is no leader, and one that
 * dies between two ticks is missed by nobody.
 *
 * It must never make a job by itself: each goes into the ledger together with the schedule's new
 * place in time, or not at all. Discarded: to read a schedule before each of its ticks; a table of
 * thousands would be read each minute by every node.
 */
#include "core/engine/cron.h"

#include <stdlib.h>

#define PAGE 500

/* --- the list --------------------------------------------------------------------------------- */

static int compare_names(struct str a, struct str b)
{
        uint32_t n = a.n < b.n ? a.n : b.n;
        int order = n ? memcmp(a.p, b.p, n) : 0;
        return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Where a name is, or would be. */
static uint32_t place_of(const struct cron_books *c, struct str name)
{
        uint32_t low = 0, high = c->n;
        while (low < high) {
                uint32_t middle = low + (high - low) / 2;
                if (compare_names(c->plans[middle]->row.name, name) < 0) {
                        low = middle + 1;
                } else {
                        high = middle;
                }
        }
        return low;
}

struct plan *plan_find(const struct cron_books *c, struct str name)
{
        uint32_t at = place_of(c, name);
        return at < c->n && str_eq(c->plans[at]->row.name, name) ? c->plans[at] : NULL;
}

void plan_free(struct plan *p)
{
        if (p) {
                free(p->texts);
                free(p);
        }
}

/* What is known of it is another now. false: no memory, all is as it was. */
static bool take_row(struct plan *p, const struct schedule_row *from)
{
        struct schedule_row row = *from;
        struct str *const texts[] = {
            &row.name,      &row.spec,        &row.zone,        &row.job.key_text,
            &row.job.queue, &row.job.type,    &row.job.headers, &row.job.content_type,
            &row.job.tags,  &row.job.payload, &row.job.policy,  &row.job.error_text,
        };
        size_t n = 1;
        char note[CRON_NOTE_MAX];
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                n += texts[i]->n;
        }
        char *room = malloc(n), *at = room;
        if (!room) {
                return false;
        }
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                if (texts[i]->n) {
                        memcpy(at, texts[i]->p, texts[i]->n);
                }
                texts[i]->p = at;
                at += texts[i]->n;
        }
        free(p->texts);
        p->texts = room;
        p->row = row;
        p->unreadable = cron_parse(row.spec, &p->cron, note, sizeof note) != 0;
        p->zone_told = false;
        return true;
}

static struct plan *insert_plan(struct cron_books *c, const struct schedule_row *row)
{
        if (c->n == c->capacity) {
                uint32_t capacity = c->capacity ? c->capacity * 2 : 16;
                struct plan **grown = realloc(c->plans, capacity * sizeof(struct plan *));
                if (!grown) {
                        return NULL;
                }
                c->plans = grown;
                c->capacity = capacity;
        }
        struct plan *p = calloc(1, sizeof *p);
        if (!p || !take_row(p, row)) {
                plan_free(p);
                return NULL;
        }
        uint32_t at = place_of(c, row->name);
        memmove(c->plans + at + 1, c->plans + at, (c->n - at) * sizeof(struct plan *));
        c->plans[at] = p;
        c->n++;
        return p;
}

static void remove_plan(struct cron_books *c, uint32_t at)
{
        struct plan *p = c->plans[at];
        memmove(c->plans + at, c->plans + at + 1, (c->n - at - 1) * sizeof(struct plan *));
        c->n--;
        if (p->posted) {
                p->gone = true;
                p->next = c->gone;
                c->gone = p;
        } else {
                plan_free(p);
        }
}

/* As the ledger told it, unless a tick of this node has told something later. */
static struct plan *learn(struct engine *e, const struct schedule_row *row)
{
        struct plan *p = plan_find(e->cron, row->name);
        if (!p) {
                p = insert_plan(e->cron, row);
                if (p && p->unreadable) {
                        engine_note(e, 4, NULL, "schedule %.*s: this version cannot read \"%.*s\"",
                                    (int)row->name.n, row->name.p, (int)row->spec.n, row->spec.p);
                }
                return p;
        }
        if (row->revision > p->row.revision && !take_row(p, row)) {
                return NULL;
        }
        if (row->revision == p->row.revision) {
                p->row.last_state = row->last_state;
        }
        return p;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct cron_books *cron_books_of(struct engine *e)
{
        if (!e->cron) {
                e->cron = calloc(1, sizeof *e->cron);
                if (e->cron) {
                        e->cron->wanted = true;
                }
        }
        return e->cron;
}

void cron_look(struct cron_books *c)
{
        c->look_ns = c->look_us = 0;
}

void cron_told(struct engine *e, uint64_t revision)
{
        struct cron_books *c = revision ? cron_books_of(e) : e->cron;
        if (c && (!c->known || revision != c->revision)) {
                c->wanted = true;
        }
}

static bool post_read(struct engine *e, struct str name, struct str after, uint32_t limit)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_SCHEDULES);
        if (!b) {
                return false;
        }
        struct ledger_schedules *s = LEDGER_AS(schedules, SCHEDULES, b);
        s->name = arena_str(&b->arena, name);
        s->after = arena_str(&b->arena, after);
        s->limit = limit;
        b->cookie = e;
        if (!s->name.p || !s->after.p) {
                ledger_batch_free(b);
                return false;
        }
        return post_batch(e, b);
}

bool cron_ask(struct engine *e, struct str name)
{
        return post_read(e, name, STR(""), 1);
}

static void read_all(struct engine *e)
{
        struct cron_books *c = e->cron;
        c->reading++;
        c->posted = post_read(e, STR(""), STR(""), PAGE);
        c->wanted = !c->posted;
        c->read_ns = e->now.mono_ns + (c->posted ? 0 : CRON_RETRY_NS);
}

static void end_reading(struct cron_books *c)
{
        for (uint32_t i = c->n; i > 0; i--) {
                if (c->plans[i - 1]->reading != c->reading) {
                        remove_plan(c, i - 1);
                }
        }
        c->revision = c->read_revision;
        c->known = true;
        cron_look(c);
}

static void page_answered(struct engine *e, struct ledger_schedules *b)
{
        struct cron_books *c = e->cron;
        bool ok = b->base.outcome == LEDGER_COMMITTED;
        c->posted = false;
        if (ok && b->after.n == 0) {
                c->read_revision = b->revision;
        }
        for (uint32_t i = 0; ok && i < b->n; i++) {
                struct plan *p = learn(e, &b->rows[i]);
                if (p) {
                        p->reading = c->reading;
                }
                ok = p != NULL;
        }
        if (ok && b->more && b->n > 0) {
                ok = c->posted = post_read(e, STR(""), b->rows[b->n - 1].name, PAGE);
        } else if (ok) {
                end_reading(c);
        }
        if (!ok) {
                c->wanted = true;
                c->read_ns = e->now.mono_ns + CRON_RETRY_NS;
        }
}

/* --- runs by hand ----------------------------------------------------------------------------- */

void run_end(struct engine *e, struct cron_run *r, const struct job_id *id, const char *why)
{
        struct cron_run **link = &e->cron->runs;
        while (*link != r) {
                link = &(*link)->next;
        }
        *link = r->next;
        struct engine_action *a = engine_act(e, ACT_RAN);
        if (a) {
                a->cookie = r->cookie;
                a->job = id ? *id : (struct job_id){0};
                a->text = arena_str(&e->notes, str_of(why));
        }
        free((char *)r->name.p);
        free(r);
}

static void refuse_run(struct engine *e, void *cookie, const char *why)
{
        struct engine_action *a = engine_act(e, ACT_RAN);
        if (a) {
                a->cookie = cookie;
                a->text = arena_str(&e->notes, str_of(why));
        }
}

void cron_run(struct engine *e, struct str name, void *cookie)
{
        struct cron_books *c = cron_books_of(e);
        struct cron_run *r = c ? calloc(1, sizeof *r) : NULL;
        if (!r || !engine_copy(name, &r->name)) {
                free(r);
                refuse_run(e, cookie, "out of memory");
                return;
        }
        r->cookie = cookie;
        r->id = id_mint(&e->mint, e->now.wall_us);
        r->at_us = e->now.wall_us;
        r->next = c->runs;
        c->runs = r;
        if (e->draining || !e->registered) {
                run_end(e, r, NULL,
                        e->draining ? "skepd is stopping" : "the ledger cannot be reached");
        } else if (!cron_ask(e, name)) {
                run_end(e, r, NULL, "out of memory");
        }
}

/* Runs that waited for this schedule to be read. */
static void runs_go_on(struct engine *e, const struct ledger_schedules *b)
{
        struct cron_run *next;
        for (struct cron_run *r = e->cron->runs; r; r = next) {
                next = r->next;
                if (r->posted || !str_eq(r->name, b->name)) {
                        continue;
                }
                if (b->base.outcome != LEDGER_COMMITTED) {
                        run_end(e, r, NULL, b->base.note[0] ? b->base.note : "the ledger refuses");
                } else if (b->n == 0) {
                        run_end(e, r, NULL, "there is no such schedule");
                } else if (e->draining) {
                        run_end(e, r, NULL, "skepd is stopping");
                } else {
                        run_found(e, r, &b->rows[0]);
                }
        }
}

static void one_answered(struct engine *e, struct ledger_schedules *b)
{
        struct cron_books *c = e->cron;
        uint32_t at = place_of(c, b->name);
        struct plan *p = plan_find(c, b->name);
        runs_go_on(e, b);
        if (p) {
                p->asked = false;
        }
        if (b->base.outcome != LEDGER_COMMITTED) {
                if (p) {
                        p->not_before_ns = e->now.mono_ns + CRON_RETRY_NS;
                }
        } else if (b->n > 0) {
                p = learn(e, &b->rows[0]);
                if (p) {
                        p->fresh = true;
                }
        } else if (p) {
                remove_plan(c, at);
        }
        cron_look(c);
}

/* TICKs, and of SCHEDULE and SCHEDULES those that are not people's. */
bool cron_owns(const struct engine *e, const struct ledger_batch *b)
{
        bool either = b->op == LEDGER_SCHEDULE || b->op == LEDGER_SCHEDULES;
        return b->op == LEDGER_TICK || (either && b->cookie == e);
}

void cron_answered(struct engine *e, struct ledger_batch *b)
{
        switch (b->op) {
        case LEDGER_TICK: tick_answered(e, LEDGER_AS(tick, TICK, b)); return;
        case LEDGER_SCHEDULE: cron_own_answered(e, LEDGER_AS(schedule, SCHEDULE, b)); return;
        default: break;
        }
        struct ledger_schedules *s = LEDGER_AS(schedules, SCHEDULES, b);
        if (s->name.n) {
                one_answered(e, s);
        } else {
                page_answered(e, s);
        }
        ledger_batch_free(b);
}

/* --- zones ------------------------------------------------------------------------------------ */

static struct zone_books *zone_book(struct cron_books *c, struct str name)
{
        struct zone_books *z = c->zones;
        while (z && !str_eq(z->name, name)) {
                z = z->next;
        }
        if (!z) {
                z = calloc(1, sizeof *z);
                if (!z || !engine_copy(name, &z->name)) {
                        free(z);
                        return NULL;
                }
                z->next = c->zones;
                c->zones = z;
        }
        return z;
}

const struct zone *cron_zone_find(struct engine *e, struct str name, bool *ret_missing)
{
        *ret_missing = false;
        if (name.n == 0 || str_eq(name, STR("UTC"))) {
                return zone_utc();
        }
        struct zone_books *z = zone_book(e->cron, name);
        if (!z || z->zone) {
                return z ? z->zone : NULL;
        }
        *ret_missing = z->ask_ns > 0 && !z->asked;
        if (!z->asked && e->now.mono_ns >= z->ask_ns) {
                struct engine_action *a = engine_act(e, ACT_ZONE);
                if (a) {
                        a->text = z->name;
                        z->asked = true;
                }
        }
        return NULL;
}

void cron_zone(struct engine *e, const struct engine_event *ev)
{
        struct zone_books *z = e->cron ? zone_book(e->cron, ev->zone.name) : NULL;
        if (z) {
                z->asked = false;
                z->zone = ev->zone.zone;
                z->ask_ns = e->now.mono_ns + ZONE_RETRY_NS;
                cron_look(e->cron);
        }
}

/* --- what is due ------------------------------------------------------------------------------ */

static void wait_until(struct cron_books *c, int64_t mono_ns, int64_t wall_us)
{
        c->look_ns = engine_min(c->look_ns, mono_ns);
        c->look_us = engine_min(c->look_us, wall_us);
}

void plan_wait(struct engine *e, struct plan *p, int64_t delay_ns)
{
        p->not_before_ns = e->now.mono_ns + delay_ns;
        wait_until(e->cron, p->not_before_ns, NEVER);
}

/* NULL: it waits for its zone. */
static const struct zone *zone_of_plan(struct engine *e, struct plan *p)
{
        bool missing;
        const struct zone *z = cron_zone_find(e, p->row.zone, &missing);
        if (missing && !p->zone_told) {
                p->zone_told = true;
                engine_note(e, 4, NULL,
                            "schedule %.*s waits: the time zone %.*s is not known on this machine",
                            (int)p->row.name.n, p->row.name.p, (int)p->row.zone.n, p->row.zone.p);
        }
        if (!z) {
                wait_until(e->cron, e->now.mono_ns + ZONE_RETRY_NS, NEVER);
        }
        return z;
}

/* A tick that depends on what became of the job before it needs to know that of this moment. */
static bool ask_first(struct engine *e, struct plan *p)
{
        static const struct job_id none;
        if (p->row.overlap == OVERLAP_ALLOW || job_id_eq(&p->row.last_job, &none) || p->fresh) {
                return false;
        }
        p->asked = cron_ask(e, p->row.name);
        if (!p->asked) {
                plan_wait(e, p, CRON_RETRY_NS);
        }
        return true;
}

/* An answer, or a change of it, makes another look. */
static bool resting(const struct plan *p)
{
        return p->posted || p->asked || p->unreadable || p->row.paused;
}

/* Something to be done with it now? Else it is noted when there may be. */
static bool due(struct engine *e, struct plan *p)
{
        const struct schedule_row *r = &p->row;
        if (resting(p)) {
                return false;
        }
        if (e->now.mono_ns < p->not_before_ns) {
                wait_until(e->cron, p->not_before_ns, NEVER);
                return false;
        }
        if (r->next_us && e->now.wall_us >= r->next_us) {
                return true;
        }
        if (r->buffered_us && p->fresh && r->overlap == OVERLAP_BUFFER && plan_active(p)) {
                p->poll_ns = e->now.mono_ns + CRON_POLL_NS;
        }
        if (r->buffered_us && e->now.mono_ns >= p->poll_ns) {
                return true;
        }
        wait_until(e->cron, r->buffered_us ? p->poll_ns : NEVER, r->next_us ? r->next_us : NEVER);
        return false;
}

static void look_at(struct engine *e, struct plan *p)
{
        /* With all places taken the next answer makes another look. */
        if (due(e, p) && e->cron->ticking < TICKS_POSTED_MAX) {
                const struct zone *z = zone_of_plan(e, p);
                if (z && !ask_first(e, p)) {
                        plan_tick(e, p, z);
                }
        }
        p->fresh = false;
}

void cron_pump(struct engine *e)
{
        struct cron_books *c = e->cron;
        if (!c || !e->registered || e->draining) {
                return;
        }
        if (c->wanted && !c->posted && e->now.mono_ns >= c->read_ns) {
                read_all(e);
        }
        if (!c->known) {
                return;
        }
        cron_own_pump(e);
        if (e->now.mono_ns < c->look_ns && e->now.wall_us < c->look_us) {
                return;
        }
        c->look_ns = c->look_us = NEVER;
        for (uint32_t i = 0; i < c->n; i++) {
                look_at(e, c->plans[i]);
        }
}

int64_t cron_wake_ns(const struct engine *e)
{
        const struct cron_books *c = e->cron;
        if (!c || !e->registered || e->draining) {
                return NEVER;
        }
        int64_t at = c->wanted && !c->posted ? c->read_ns : NEVER;
        if (!c->known) {
                return at;
        }
        if (c->look_us != NEVER) {
                int64_t wait_us = c->look_us - e->now.wall_us;
                wait_us = wait_us < 0 ? 0 : wait_us < 60 * US_PER_S ? wait_us : 60 * US_PER_S;
                at = engine_min(at, e->now.mono_ns + wait_us * 1000);
        }
        return engine_min(engine_min(at, c->look_ns), cron_own_wake_ns(e));
}

bool cron_busy(const struct engine *e)
{
        return e->cron && e->cron->ticking > 0;
}

void cron_deinit(struct engine *e)
{
        struct cron_books *c = STEAL(e->cron);
        if (!c) {
                return;
        }
        for (uint32_t i = 0; i < c->n; i++) {
                plan_free(c->plans[i]);
        }
        free(c->plans);
        while (c->gone) {
                struct plan *next = c->gone->next;
                plan_free(c->gone);
                c->gone = next;
        }
        while (c->zones) {
                struct zone_books *next = c->zones->next;
                free((char *)c->zones->name.p);
                free(c->zones);
                c->zones = next;
        }
        while (c->runs) {
                struct cron_run *next = c->runs->next;
                free((char *)c->runs->name.p);
                free(c->runs);
                c->runs = next;
        }
        cron_own_deinit(c);
        free(c);
}

uint32_t engine_schedules(const struct engine *e, struct schedule_view *ret_views, uint32_t max)
{
        uint32_t n = e->cron ? e->cron->n : 0;
        for (uint32_t i = 0; i < n && i < max; i++) {
                const struct plan *p = e->cron->plans[i];
                ret_views[i] = (struct schedule_view){p->row.name, p->counts};
        }
        return n < max ? n : max;
}
