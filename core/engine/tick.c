/*
 * What becomes of a tick: which of those that are due make jobs (catch-up), what the job of the one
 * before means for it (overlap), and the one write that makes the jobs and moves the schedule on.
 *
 * Ticks of a moment ago are on time, whatever catch_up says: a node may have been busy, or its beat
 * late. Of several that are due at once and may not overlap one makes its job, the latest, except
 * that a buffered one comes first. The key of each job names schedule and tick, so that a tick is
 * made once even if the schedule is changed and changed back meanwhile.
 */
#include "core/engine/cron.h"

#include "core/rfc3339.h"

#include <stdio.h>

#define ON_TIME_MAX                                                                                \
        64 /* ticks that are on time at once: of each second of two beats of 10 s, and more */
#define WINDOW_US (60 * US_PER_S)
#define RUN_TRIES 10

/* --- which ticks are due ---------------------------------------------------------------------- */

/* The latest ones, as a ring of `room`. */
struct ticks {
        int64_t ring[SCHEDULE_CATCH_MAX];
        uint32_t room, seen;
        int64_t next_us; /* the first that is not due */
};

static int64_t nth_latest(const struct ticks *t, uint32_t i)
{
        return t->ring[(t->seen - 1 - i) % t->room];
}

/* Looks back in windows that grow: after a year's sleep an every-second schedule has too many ticks
 * to count them all. */
static void collect(const struct plan *p, const struct zone *z, int64_t now_us, struct ticks *t)
{
        int64_t first = p->row.next_us;
        for (int64_t window = WINDOW_US;; window *= 4) {
                int64_t from = window < now_us - first ? now_us - window : first;
                int64_t at = from == first ? first : cron_next(&p->cron, z, first, from);
                t->seen = 0;
                while (at && at <= now_us) {
                        t->ring[t->seen++ % t->room] = at;
                        at = cron_next(&p->cron, z, first, at);
                }
                t->next_us = at;
                if (from == first || t->seen >= t->room) {
                        return;
                }
        }
}

/* How many of the latest make jobs. */
static uint32_t catch_up(const struct engine *e, const struct plan *p, const struct ticks *t)
{
        int64_t late_us = 2 * (int64_t)e->config->beat_ms * 1000 + US_PER_S;
        uint32_t n = t->seen < t->room ? t->seen : t->room, on_time = 0;
        while (on_time < n && nth_latest(t, on_time) >= e->now.wall_us - late_us) {
                on_time++;
        }
        switch (p->row.catch_up) {
        case CATCH_ALL: return PLANT(ticks_lost) && n > 1 ? 1 : n;
        case CATCH_LAST: return on_time == 0 && n > 0 ? 1 : on_time;
        case CATCH_NONE: break;
        }
        return on_time;
}

/* --- which of them make jobs ------------------------------------------------------------------ */

struct decision {
        int64_t made[SCHEDULE_CATCH_MAX + 1]; /* ascending */
        uint32_t n;
        int64_t buffered_us;
        bool cancel;
        struct schedule_counts counts;
};

bool plan_active(const struct plan *p)
{
        static const struct job_id none;
        return !job_id_eq(&p->row.last_job, &none) && p->row.last_state != STATE_NONE &&
               !state_terminal(p->row.last_state);
}

/* All that could make jobs now, in d->made: how they may stand beside each other and the last job.
 */
static void overlap(const struct plan *p, struct decision *d)
{
        uint32_t n = d->n;
        bool active = plan_active(p);
        if (n == 0 || p->row.overlap == OVERLAP_ALLOW || PLANT(overlap_blind)) {
                return;
        }
        if (p->row.overlap == OVERLAP_BUFFER) {
                d->n = active ? 0 : 1;
                d->buffered_us = n > d->n ? d->made[d->n] : 0;
                uint32_t buffered = d->buffered_us != 0;
                d->counts.buffered += buffered && d->buffered_us != p->row.buffered_us;
                d->counts.skipped += n - d->n - buffered;
                return;
        }
        bool skip = active && p->row.overlap == OVERLAP_SKIP;
        d->made[0] = d->made[n - 1];
        d->n = skip ? 0 : 1;
        d->cancel = active && !skip;
        d->counts.skipped += n - d->n;
}

static void decide(const struct engine *e, const struct plan *p, const struct ticks *t,
                   struct decision *d)
{
        uint32_t wanted = catch_up(e, p, t);
        if (p->row.buffered_us) {
                d->made[d->n++] = p->row.buffered_us;
        }
        for (uint32_t i = wanted; i > 0; i--) {
                d->made[d->n++] = nth_latest(t, i - 1);
        }
        d->counts.missed = t->seen - wanted;
        overlap(p, d);
}

/* --- the write -------------------------------------------------------------------------------- */

/* "cron:nightly:2031-05-04T04:30:00Z" */
static struct str tick_key(struct arena *a, const char *kind, struct str name, int64_t tick_us)
{
        char time[RFC3339_TEXT];
        rfc3339_text(tick_us, time);
        if (tick_us % US_PER_S == 0) {
                memcpy(time + strlen("2031-05-04T04:30:00"), "Z", 2);
        }
        return arena_printf(a, "%s:%.*s:%s", kind, (int)name.n, name.p, time);
}

/* What each job of it has; the texts are copied once. false: no memory. */
static bool job_template(const struct engine *e, struct submission *s,
                         const struct schedule_row *from, struct submit_row *ret)
{
        struct submit_row row = from->job;
        struct str *const texts[] = {&row.queue, &row.type,    &row.headers, &row.content_type,
                                     &row.tags,  &row.payload, &row.policy};
        if (row.queue.n == 0) {
                int at = config_queue_for(e->config, row.type);
                row.queue = at < 0 ? STR("default") : e->config->queues[at].name;
                unique_key_move(&row.unique, (struct str){0}, row.queue);
        }
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = arena_str(&s->arena, *texts[i]);
                if (!texts[i]->p) {
                        return false;
                }
        }
        row.state = STATE_PENDING;
        row.reason = REASON_NONE;
        row.band = BAND_OFFERED;
        row.at_us = row.after_us = row.inbox = 0;
        row.error_text = STR("");
        *ret = row;
        return true;
}

static struct submission *make_jobs(struct engine *e, const struct schedule_row *row,
                                    const char *kind, const int64_t *ticks, uint32_t n)
{
        struct submit_row each;
        struct submission *s = submission_new();
        bool ok = s && job_template(e, s, row, &each);
        if (ok) {
                s->rows = arena_alloc(&s->arena, n * sizeof *s->rows);
                ok = s->rows != NULL;
        }
        for (uint32_t i = 0; ok && i < n; i++) {
                each.id = id_mint(&e->mint, e->now.wall_us);
                each.key_text = tick_key(&s->arena, kind, row->name, ticks[i]);
                ok = each.key_text.p != NULL;
                if (ok) {
                        each.key = key_from_text(each.key_text);
                        s->rows[s->n++] = each;
                }
        }
        if (!ok) {
                return submission_free(s);
        }
        submit_place(e, s, false);
        return s;
}

static struct ledger_tick *new_tick(const struct schedule_row *row)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_TICK);
        if (!b) {
                return NULL;
        }
        struct ledger_tick *t = LEDGER_AS(tick, TICK, b);
        t->name = arena_str(&b->arena, row->name);
        t->revision = row->revision;
        t->next_us = row->next_us;
        t->buffered_us = row->buffered_us;
        if (!t->name.p) {
                ledger_batch_free(b);
                return NULL;
        }
        return t;
}

static void count(struct schedule_counts *to, const struct schedule_counts *add)
{
        to->missed += add->missed;
        to->skipped += add->skipped;
        to->buffered += add->buffered;
}

static void note_tick(struct engine *e, const struct plan *p, const struct decision *d,
                      int64_t next_us)
{
        struct str name = p->row.name;
        if (d->counts.missed) {
                engine_note(e, 6, NULL, "schedule %.*s: %llu missed ticks are not made up for",
                            (int)name.n, name.p, (unsigned long long)d->counts.missed);
        }
        if (d->counts.skipped) {
                engine_note(e, 7, &p->row.last_job,
                            "schedule %.*s: %llu ticks pass, their last job has not ended",
                            (int)name.n, name.p, (unsigned long long)d->counts.skipped);
        }
        if (next_us == 0) {
                engine_note(e, 5, NULL, "schedule %.*s has run for the last time", (int)name.n,
                            name.p);
        }
}

void plan_tick(struct engine *e, struct plan *p, const struct zone *z)
{
        struct ticks t = {.next_us = p->row.next_us};
        struct decision d = {0};
        t.room = p->row.catch_up == CATCH_ALL ? p->row.catch_max : ON_TIME_MAX;
        t.room = t.room < 1 ? 1 : t.room > SCHEDULE_CATCH_MAX ? SCHEDULE_CATCH_MAX : t.room;
        if (p->row.next_us && p->row.next_us <= e->now.wall_us) {
                collect(p, z, e->now.wall_us, &t);
        }
        decide(e, p, &t, &d);
        struct ledger_tick *b = new_tick(&p->row);
        if (b && d.n) {
                b->jobs = make_jobs(e, &p->row, "cron", d.made, d.n);
        }
        if (!b || (d.n && !b->jobs)) {
                ledger_batch_free(b ? &b->base : NULL);
                plan_wait(e, p, CRON_RETRY_NS);
                return;
        }
        b->next_us = t.next_us;
        b->last_us = d.n ? d.made[d.n - 1] : 0;
        b->buffered_us = d.buffered_us;
        b->has_cancel = d.cancel;
        b->cancel = p->row.last_job;
        b->base.cookie = p;
        p->pending = d.counts;
        if (post_batch(e, &b->base)) {
                p->posted = b;
                e->cron->ticking++;
                note_tick(e, p, &d, t.next_us);
        }
}

/* --- the answer ------------------------------------------------------------------------------- */

/* The job that a row became; all zero: none. */
static struct job_id job_of(const struct submit_row *row)
{
        switch (row->result) {
        case SUBMIT_CREATED: return row->id;
        case SUBMIT_EXISTS:
        case SUBMIT_HELD:
        case SUBMIT_REPLACED: return row->existing;
        default: return (struct job_id){0};
        }
}

static void note_refused(struct engine *e, struct str name, const struct submit_row *row)
{
        if (row->result == SUBMIT_UNSTORABLE || row->result == SUBMIT_CONFLICT) {
                engine_note(e, 3, &row->id,
                            "schedule %.*s: the ledger did not take the job of %.*s", (int)name.n,
                            name.p, (int)row->key_text.n, row->key_text.p);
        }
}

/* The plan as it stands after its own tick: no need to read it again. */
static void take_tick(struct engine *e, struct plan *p, const struct ledger_tick *b)
{
        struct cron_books *c = e->cron;
        struct schedule_row *r = &p->row;
        r->next_us = b->next_us;
        r->last_us = b->last_us ? b->last_us : r->last_us;
        r->buffered_us = b->buffered_us;
        r->revision = b->now_revision;
        for (uint32_t i = 0; b->jobs && i < b->jobs->n; i++) {
                const struct submit_row *row = &b->jobs->rows[i];
                if (row->result == SUBMIT_CREATED || row->result == SUBMIT_EXISTS) {
                        r->last_job = job_of(row);
                        r->last_state = STATE_PENDING;
                }
        }
        if (b->now_revision == c->revision + 1) {
                c->revision = b->now_revision;
        }
}

static void tick_done(struct engine *e, struct plan *p, const struct ledger_tick *b)
{
        for (uint32_t i = 0; b->jobs && i < b->jobs->n; i++) {
                note_refused(e, b->name, &b->jobs->rows[i]);
                if (p) {
                        p->counts.made += b->jobs->rows[i].result == SUBMIT_CREATED;
                }
        }
        if (b->jobs) {
                submit_hint(e, b->jobs);
                e->dirty = true;
        }
        if (b->has_cancel && b->cancelled == CANCEL_ASKED && b->cancel_holder == e->holder) {
                worker_cancel(e, &b->cancel);
        }
        if (p) {
                p->counts.cancelled +=
                    b->has_cancel && (b->cancelled == CANCEL_ASKED || b->cancelled == CANCEL_DONE);
                take_tick(e, p, b);
        }
}

static void forget_gone(struct cron_books *c, struct plan *p)
{
        struct plan **link = &c->gone;
        while (*link != p) {
                link = &(*link)->next;
        }
        *link = p->next;
        plan_free(p);
}

static void plan_answered(struct engine *e, struct plan *p, const struct ledger_tick *b)
{
        bool committed = b->base.outcome == LEDGER_COMMITTED;
        p->posted = NULL;
        if (committed && b->done) {
                count(&p->counts, &p->pending);
                tick_done(e, p, b);
        }
        if (p->gone) {
                forget_gone(e->cron, p);
                return;
        }
        if (!committed) {
                p->not_before_ns = e->now.mono_ns + CRON_RETRY_NS;
        }
        if (committed ? !b->done : b->base.outcome == LEDGER_UNKNOWN) {
                p->asked = cron_ask(e, b->name); /* another node was faster, or may have been */
        }
}

/* --- runs by hand ----------------------------------------------------------------------------- */

void run_found(struct engine *e, struct cron_run *r, const struct schedule_row *row)
{
        struct ledger_tick *b = new_tick(row);
        if (b) {
                b->jobs = make_jobs(e, row, "run", &r->at_us, 1);
        }
        if (!b || !b->jobs) {
                ledger_batch_free(b ? &b->base : NULL);
                run_end(e, r, NULL, "out of memory");
                return;
        }
        b->jobs->rows[0].id = r->id;
        if (post_batch(e, &b->base)) {
                r->posted = b;
                e->cron->ticking++;
        }
}

static void run_answered(struct engine *e, struct cron_run *r, const struct ledger_tick *b)
{
        static const struct job_id none;
        bool known = b->base.outcome == LEDGER_COMMITTED;
        r->posted = NULL;
        if (known && b->done) {
                struct job_id id = job_of(&b->jobs->rows[0]);
                tick_done(e, plan_find(e->cron, b->name), b);
                run_end(e, r, &id, job_id_eq(&id, &none) ? "the ledger did not take its job" : "");
        } else if (!known && b->base.outcome != LEDGER_UNKNOWN) {
                run_end(e, r, NULL, b->base.note[0] ? b->base.note : "the ledger refuses");
        } else if (r->tries++ == RUN_TRIES) {
                run_end(e, r, NULL,
                        known ? "the schedule changes all the time"
                              : "the ledger did not say what became of it");
        } else if (!cron_ask(e, r->name)) {
                run_end(e, r, NULL, "out of memory");
        }
}

void tick_answered(struct engine *e, struct ledger_tick *b)
{
        struct plan *p = b->base.cookie;
        struct cron_run *r = e->cron->runs;
        e->cron->ticking--;
        if (b->base.outcome == LEDGER_FENCED) {
                fence_node(e, b->base.no.holder);
        }
        while (r && r->posted != b) {
                r = r->next;
        }
        if (p) {
                plan_answered(e, p, b);
        } else if (r) {
                run_answered(e, r, b);
        }
        cron_look(e->cron);
        ledger_batch_free(&b->base);
}
