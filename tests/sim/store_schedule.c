/*
 * Schedules: rows in order of their names, each with a revision that rises with every change, and
 * TICK, which makes a schedule's jobs and moves it on in one transaction. Whether a tick is due is
 * never looked at: that is the engine's.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

#define TEXTS_MAX 12

static uint32_t texts_of(struct schedule_row *r, struct str *ret[static TEXTS_MAX])
{
        struct str *all[] = {&r->name,        &r->spec,     &r->zone,        &r->job.key_text,
                             &r->job.queue,   &r->job.type, &r->job.headers, &r->job.content_type,
                             &r->job.payload, &r->job.tags, &r->job.policy,  &r->job.error_text};
        for (uint32_t i = 0; i < ARRAY_LEN(all); i++) {
                ret[i] = all[i];
        }
        return ARRAY_LEN(all);
}

static void own_texts(struct schedule_row *r, struct arena *a)
{
        struct str *texts[TEXTS_MAX];
        uint32_t n = texts_of(r, texts);
        for (uint32_t i = 0; i < n; i++) {
                *texts[i] = a ? arena_str(a, *texts[i]) : store_dup(*texts[i]);
        }
}

static void free_texts(struct schedule_row *r)
{
        struct str *texts[TEXTS_MAX];
        uint32_t n = texts_of(r, texts);
        for (uint32_t i = 0; i < n; i++) {
                free((char *)texts[i]->p);
        }
}

static int compare_names(struct str a, struct str b)
{
        uint32_t n = a.n < b.n ? a.n : b.n;
        int order = n ? memcmp(a.p, b.p, n) : 0;
        return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Where it is, or where it would be. */
static struct store_schedule **place_of(struct store *s, struct str name)
{
        struct store_schedule **at = &s->schedules;
        while (*at && compare_names((*at)->row.name, name) < 0) {
                at = &(*at)->next;
        }
        return at;
}

static struct store_schedule *find(struct store *s, struct str name)
{
        struct store_schedule *x = *place_of(s, name);
        return x && str_eq(x->row.name, name) ? x : NULL;
}

static void copy_out(struct store *s, struct arena *a, const struct store_schedule *x,
                     struct schedule_row *to)
{
        *to = x->row;
        own_texts(to, a);
        const struct store_job *last = store_find(s, &x->row.last_job);
        to->last_state = last ? last->row.state : STATE_NONE;
}

void store_apply_schedules(struct store *s, struct ledger_schedules *b)
{
        b->n = 0;
        b->more = false;
        b->revision = s->schedules ? s->schedule_no : 0;
        b->rows = arena_zalloc(&b->base.arena, ((size_t)b->limit + 1) * sizeof *b->rows);
        assert(b->rows);
        for (const struct store_schedule *x = s->schedules; x && !b->more; x = x->next) {
                bool named = !b->name.n || str_eq(x->row.name, b->name);
                if (!named || (b->after.n && compare_names(x->row.name, b->after) <= 0)) {
                        continue;
                }
                b->more = b->n == b->limit;
                if (!b->more) {
                        copy_out(s, &b->base.arena, x, &b->rows[b->n++]);
                }
        }
}

/* --- changes ------------------------------------------------------------------------------ */

static void drop(struct store *s, struct str name)
{
        struct store_schedule **at = place_of(s, name), *x = *at;
        *at = x->next;
        free_texts(&x->row);
        free(x);
        s->schedule_no++;
}

/* What is the tick's own, not the schedule's. */
static void clear_tick(struct submit_row *r)
{
        memset(&r->id, 0, sizeof r->id);
        memset(&r->key, 0, sizeof r->key);
        r->key_text = r->error_text = (struct str){0};
        r->state = STATE_PENDING;
        r->reason = REASON_NONE;
        r->band = BAND_OFFERED;
        r->at_us = r->after_us = r->inbox = 0;
}

static void put(struct store *s, const struct schedule_row *from)
{
        struct store_schedule *x = find(s, from->name);
        struct schedule_row row = *from;
        clear_tick(&row.job);
        own_texts(&row, NULL);
        row.revision = ++s->schedule_no;
        row.created_us = s->now_us;
        if (x) {
                row.created_us = x->row.created_us;
                row.last_us = x->row.last_us;
                row.last_job = x->row.last_job;
                row.buffered_us = x->row.buffered_us;
                free_texts(&x->row);
        } else {
                struct store_schedule **at = place_of(s, from->name);
                x = calloc(1, sizeof *x);
                assert(x);
                x->next = *at;
                *at = x;
        }
        x->row = row;
}

static bool is_allowed(const struct ledger_schedule *b)
{
        const struct schedule_row *r = &b->row;
        return r->name.n >= 1 && r->name.n <= SCHEDULE_NAME_MAX && r->spec.n <= SCHEDULE_SPEC_MAX &&
               r->zone.n <= SCHEDULE_SPEC_MAX;
}

void store_apply_schedule(struct store *s, struct ledger_schedule *b)
{
        if (!is_allowed(b)) {
                store_refuse(&b->base,
                             "a schedule's name, spec or zone is too long, or it has none");
                return;
        }
        const struct store_schedule *x = find(s, b->row.name);
        uint64_t stands = x ? x->row.revision : 0;
        b->found = x != NULL;
        b->done = b->expected == SCHEDULE_ANY || b->expected == stands;
        if (b->done && b->drop && x) {
                drop(s, b->row.name);
        } else if (b->done && !b->drop) {
                put(s, &b->row);
        }
        x = find(s, b->row.name);
        b->row.revision = x ? x->row.revision : 0;
        if (x) {
                copy_out(s, &b->base.arena, x, b->done ? &b->row : &b->stands);
        }
}

/* --- ticks -------------------------------------------------------------------------------- */

static void cancel_older(struct store *s, struct ledger_tick *b)
{
        struct store_job *j = store_find(s, &b->cancel);
        b->cancelled = CANCEL_NOT_FOUND;
        b->cancel_holder = 0;
        if (!j) {
                return;
        }
        if (state_terminal(j->row.state)) {
                b->cancelled = CANCEL_TERMINAL;
        } else if (store_cancel(s, j, REASON_OVERLAPPED)) {
                b->cancelled = CANCEL_DONE;
        } else {
                b->cancelled = CANCEL_ASKED;
                b->cancel_holder = j->row.holder;
        }
}

static const struct submit_row *last_made(const struct submission *jobs)
{
        for (uint32_t i = jobs ? jobs->n : 0; i-- > 0;) {
                enum submit_result r = jobs->rows[i].result;
                if (r == SUBMIT_CREATED || r == SUBMIT_EXISTS) {
                        return &jobs->rows[i];
                }
        }
        return NULL;
}

void store_apply_tick(struct store *s, struct ledger_tick *b)
{
        struct store_schedule *x = find(s, b->name);
        b->now_revision = x ? x->row.revision : 0;
        b->done = x && (x->row.revision == b->revision || planted(PLANT_TICK_STALE));
        if (!b->done) {
                return;
        }
        if (b->has_cancel) {
                cancel_older(s, b);
        }
        if (b->jobs) {
                store_submit(s, b->jobs);
        }
        const struct submit_row *last = last_made(b->jobs);
        if (last) {
                x->row.last_job = last->existing;
        }
        x->row.next_us = b->next_us;
        x->row.last_us = b->last_us ? b->last_us : x->row.last_us;
        x->row.buffered_us = b->buffered_us;
        x->row.revision = ++s->schedule_no;
        b->now_revision = x->row.revision;
}

void store_schedule_deinit(struct store *s)
{
        while (s->schedules) {
                drop(s, s->schedules->row.name);
        }
}
