/*
 * Schedules of the configuration. At the start and after a reload each is compared, once, with what
 * the ledger has, and put there if it differs; what people change at runtime stands until the next
 * start or reload. A pause is theirs alone and never undone here.
 *
 * It must never take out what another node's configuration has: a node drops only what its own
 * named before, and only if nobody made it theirs meanwhile. Discarded: to drop whatever carries
 * the mark of a configuration; two nodes with different files would take turns.
 */
#include "core/engine/cron.h"

#include "core/defaults.h"

#include <stdlib.h>

static const struct schedule_config *configured(const struct engine *e, struct str name)
{
        const struct config_list *l = &config_lists[LIST_SCHEDULES];
        int at = config_entry_named(e->config, l, name);
        return at < 0 ? NULL : &e->config->schedules[at];
}

static struct cron_own *find_own(struct cron_books *c, struct str name)
{
        struct cron_own *o = c->own;
        while (o && !str_eq(o->name, name)) {
                o = o->next;
        }
        return o;
}

static bool add_own(struct cron_books *c, struct str name)
{
        struct cron_own *o = calloc(1, sizeof *o);
        if (!o || !engine_copy(name, &o->name)) {
                free(o);
                return false;
        }
        o->next = c->own;
        c->own = o;
        return true;
}

void cron_configure(struct engine *e)
{
        const struct config *conf = e->config;
        struct cron_books *c = conf->n_schedules ? cron_books_of(e) : e->cron;
        if (!c) {
                e->out->out_of_memory |= conf->n_schedules > 0;
                return;
        }
        for (uint32_t i = 0; i < conf->n_schedules; i++) {
                struct str name = conf->schedules[i].name;
                if (!find_own(c, name) && !add_own(c, name)) {
                        e->out->out_of_memory = true;
                }
        }
        for (struct cron_own *o = c->own; o; o = o->next) {
                o->drop = !configured(e, o->name);
                o->pending = true;
        }
        c->wanted = true;
        c->put_reading = c->reading;
}

static void forget_own(struct cron_books *c, struct cron_own *o)
{
        struct cron_own **link = &c->own;
        while (*link != o) {
                link = &(*link)->next;
        }
        *link = o->next;
        free((char *)o->name.p);
        free(o);
}

void cron_own_deinit(struct cron_books *c)
{
        while (c->own) {
                forget_own(c, c->own);
        }
}

/* --- comparing -------------------------------------------------------------------------------- */

/* What the ledger shall have; texts are the configuration's. */
static struct schedule_row wanted_row(const struct engine *e, const struct schedule_config *d)
{
        struct schedule_row row = {
            .name = d->name,
            .spec = d->cron,
            .zone = d->zone,
            .catch_up = d->catch_up,
            .overlap = d->overlap,
            .catch_max = d->catch_max,
            .from_config = true,
        };
        int at = d->queue.n ? -1 : config_queue_for(e->config, d->type);
        row.job = (struct submit_row){
            .type = d->type,
            .queue = at < 0 ? d->queue : e->config->queues[at].name,
            .content_type = d->payload.n ? d->content_type : STR(""),
            .payload = d->payload,
            .headers = STR(""),
            .tags = STR(""),
            .policy = d->retry,
            .priority = d->priority == UINT32_MAX ? ROW_PRIORITY_UNSET : (uint8_t)d->priority,
            .timeout_ms = d->timeout_ms,
        };
        return row;
}

static bool same_times(const struct schedule_row *a, const struct schedule_row *b)
{
        return str_eq(a->spec, b->spec) && str_eq(a->zone, b->zone);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void post_own(struct engine *e, const struct schedule_row *row, uint64_t expected, bool drop)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_SCHEDULE);
        struct cron_books *c = e->cron;
        if (!b) {
                c->put_ns = e->now.mono_ns + CRON_RETRY_NS;
                return;
        }
        struct ledger_schedule *s = LEDGER_AS(schedule, SCHEDULE, b);
        struct str *const texts[] = {
            &s->row.name,      &s->row.spec,        &s->row.zone,       &s->row.job.type,
            &s->row.job.queue, &s->row.job.payload, &s->row.job.policy, &s->row.job.content_type,
        };
        s->drop = drop;
        s->expected = expected;
        s->row = *row;
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = arena_str(&b->arena, *texts[i]); /* a reload frees the configuration */
                if (!texts[i]->p) {
                        ledger_batch_free(b);
                        c->put_ns = e->now.mono_ns + CRON_RETRY_NS;
                        return;
                }
        }
        b->cookie = e;
        if (post_batch(e, b)) {
                c->putting = s;
        }
}

/* true: there is nothing to be written any more. */
static bool put_own(struct engine *e, const struct schedule_config *d, const struct plan *p)
{
        struct schedule_row row = wanted_row(e, d);
        char note[CRON_NOTE_MAX];
        struct cron cron;
        bool missing;
        row.paused = p && p->row.paused; /* that is people's */
        if (p && schedule_row_same(&p->row, &row)) {
                return true;
        }
        const struct zone *z = cron_zone_find(e, row.zone, &missing);
        if (missing) {
                engine_note(e, 4, NULL,
                            "schedule %.*s of the configuration is left out: the time zone %.*s is "
                            "not known on this machine",
                            (int)row.name.n, row.name.p, (int)row.zone.n, row.zone.p);
                return true;
        }
        if (cron_parse(row.spec, &cron, note, sizeof note) != 0) { /* it was checked */
                return true;
        }
        if (z) {
                bool keep = p && same_times(&p->row, &row);
                row.next_us =
                    keep ? p->row.next_us : cron_next(&cron, z, e->now.wall_us, e->now.wall_us);
                post_own(e, &row, p ? p->row.revision : 0, false);
        }
        return false;
}

static bool drop_own(struct engine *e, const struct plan *p)
{
        if (!p || !p->row.from_config) {
                return true;
        }
        post_own(e, &p->row, p->row.revision, true);
        return false;
}

void cron_own_pump(struct engine *e)
{
        struct cron_books *c = e->cron;
        struct cron_own *next;
        if (c->put_reading == c->reading || c->posted || e->now.mono_ns < c->put_ns) {
                return; /* what is known may be of before */
        }
        for (struct cron_own *o = c->own; o && !c->putting; o = next) {
                next = o->next;
                if (!o->pending) {
                        continue;
                }
                const struct plan *p = plan_find(c, o->name);
                const struct schedule_config *d = o->drop ? NULL : configured(e, o->name);
                o->pending = d ? !put_own(e, d, p) : !drop_own(e, p);
                if (!o->pending && !d) {
                        forget_own(c, o);
                }
        }
}

int64_t cron_own_wake_ns(const struct engine *e)
{
        const struct cron_books *c = e->cron;
        bool pending = false;
        for (const struct cron_own *o = c->own; o && !c->putting; o = o->next) {
                pending |= o->pending;
        }
        return pending && c->put_ns > e->now.mono_ns ? c->put_ns : NEVER;
}

/* Whatever became of it, what the ledger has now is read and compared again: so the loser of two
 * nodes that start together finds that nothing is left to do. */
void cron_own_answered(struct engine *e, struct ledger_schedule *b)
{
        struct cron_books *c = e->cron;
        c->putting = NULL;
        if (b->base.outcome == LEDGER_FENCED) {
                fence_node(e, b->base.no.holder);
        } else if (b->base.outcome == LEDGER_COMMITTED && b->done) {
                engine_note(e, 6, NULL, "schedule %.*s: %s", (int)b->row.name.n, b->row.name.p,
                            b->drop    ? "taken out, the configuration no longer has it"
                            : b->found ? "changed to what the configuration says"
                                       : "put in as the configuration says");
        } else if (b->base.outcome != LEDGER_COMMITTED) {
                c->put_ns = e->now.mono_ns + CRON_RETRY_NS;
        }
        c->wanted = true;
        c->put_reading = c->reading;
        ledger_batch_free(&b->base);
}
