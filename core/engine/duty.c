/*
 * The node's own row and the periodic duties: beat, due, unpark, fold. Each is one short
 * transaction that is harmless to repeat, so an unknown or refused one is just done again.
 */
#include "core/engine/inner.h"

#define DUE_LIMIT    1000
#define DUE_AT_LEAST (5 * NS_PER_S) /* other nodes' schedules are looked for so often */
#define FOLD_EVERY   NS_PER_S
#define UNPARK_EVERY (5 * NS_PER_S)
#define UNPARK_LIMIT 1000
#define RETRY_AFTER  (500 * NS_PER_MS)

static int64_t beat_every(const struct engine *e)
{
        return (int64_t)e->config->beat_ms * NS_PER_MS;
}

/* Jobs may start until two thirds of the lease have passed since the last beat that is known to be
 * durable was sent. */
static void extend_lease(struct engine *e, int64_t from_ns)
{
        e->lease_until_ns = from_ns + (int64_t)e->config->lease_ms * NS_PER_MS * 2 / 3;
        struct engine_action *a = engine_act(e, ACT_LEASE);
        if (a) {
                a->until_ns = e->lease_until_ns;
        }
}

static void register_node(struct engine *e)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_REGISTER);
        if (!b) {
                e->register_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        struct ledger_register *r = LEDGER_AS(register, REGISTER, b);
        r->host = e->host;
        r->version = e->version;
        r->pid = e->pid;
        e->holder = engine_random(e) >> 1 | 1;
        e->beat_known = 0;
        e->controls_known = false;
        e->beat_posted_ns = e->now.mono_ns;
        e->registering = post_batch(e, b);
}

static void registered(struct engine *e, struct ledger_register *b)
{
        e->registering = false;
        if (b->base.outcome == LEDGER_COMMITTED) {
                e->registered = true;
                e->tells = true;
                e->beat_answered_ns = e->now.mono_ns;
                e->beat_ns = e->now.mono_ns;
                e->due_ns = e->fold_ns = e->unpark_ns = e->now.mono_ns;
                extend_lease(e, e->beat_posted_ns);
                claim_hint_all(e);
        } else {
                e->register_ns = e->now.mono_ns + RETRY_AFTER;
        }
        ledger_batch_free(&b->base);
}

static void beat_answered(struct engine *e, struct ledger_beat *b)
{
        e->beating = false;
        e->beat_ns = e->now.mono_ns + (e->beat_again ? 0 : beat_every(e));
        e->beat_again = false;
        e->tells |= b->tells && b->base.outcome != LEDGER_COMMITTED;
        if (b->base.outcome == LEDGER_FENCED) {
                fence_node(e, b->base.no.holder);
        } else if (b->base.outcome == LEDGER_COMMITTED) {
                int64_t elapsed = e->now.mono_ns - e->beat_answered_ns;
                e->beat_known = b->base.no.n;
                e->inbox_waits |= b->inbox;
                controls_told(e, b->controls, b->n_controls);
                cron_told(e, b->schedules);
                e->beat_answered_ns = e->now.mono_ns;
                extend_lease(e, e->beat_posted_ns);
                for (uint32_t i = 0; i < b->n_cancels; i++) {
                        worker_cancel(e, &b->cancels[i]);
                }
                if (b->changed) {
                        claim_hint_all(e);
                }
                rescue_seen(e, b, elapsed);
        }
        ledger_batch_free(&b->base);
}

static void due_answered(struct engine *e, struct ledger_due *b)
{
        e->due_posted = false;
        int64_t next = e->now.mono_ns + DUE_AT_LEAST;
        if (b->base.outcome != LEDGER_COMMITTED) {
                next = e->now.mono_ns + RETRY_AFTER;
        } else if (b->moved == b->limit) {
                next = e->now.mono_ns;
        } else if (b->next_us >= 0) {
                next = engine_min(next, e->now.mono_ns + b->next_us * 1000);
        }
        if (b->base.outcome == LEDGER_COMMITTED && b->moved) {
                claim_hint_all(e);
                e->dirty = true;
        }
        e->due_ns = engine_min(e->due_ns, next);
        ledger_batch_free(&b->base);
}

static void unpark_answered(struct engine *e, struct ledger_unpark *b)
{
        e->unparking = false;
        b->roster = roster_unref((struct roster *)b->roster);
        bool more = b->base.outcome == LEDGER_COMMITTED && b->moved == b->limit;
        e->unpark_ns = engine_min(e->unpark_ns, e->now.mono_ns + (more ? 0 : UNPARK_EVERY));
        if (b->base.outcome == LEDGER_COMMITTED && b->moved) {
                claim_hint_all(e);
                e->dirty = true;
        }
        ledger_batch_free(&b->base);
}

void duty_answered(struct engine *e, struct ledger_batch *b)
{
        switch (b->op) {
        case LEDGER_REGISTER: registered(e, LEDGER_AS(register, REGISTER, b)); break;
        case LEDGER_BEAT: beat_answered(e, LEDGER_AS(beat, BEAT, b)); break;
        case LEDGER_DUE: due_answered(e, LEDGER_AS(due, DUE, b)); break;
        case LEDGER_UNPARK: unpark_answered(e, LEDGER_AS(unpark, UNPARK, b)); break;
        default:
                e->folding = false;
                e->fold_ns = e->now.mono_ns + FOLD_EVERY;
                ledger_batch_free(b);
                break;
        }
}

static void pump_due(struct engine *e)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_DUE);
        if (!b) {
                e->due_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        LEDGER_AS(due, DUE, b)->limit = DUE_LIMIT;
        e->due_ns = NEVER; /* what becomes known while it is on its way lowers it again */
        e->due_posted = post_batch(e, b);
}

static void pump_unpark(struct engine *e)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_UNPARK);
        if (!b) {
                e->unpark_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        struct ledger_unpark *u = LEDGER_AS(unpark, UNPARK, b);
        u->roster = roster_ref(e->roster);
        u->limit = UNPARK_LIMIT;
        e->unpark_ns = NEVER;
        e->unparking = post_batch(e, b);
}

static bool unpark_wanted(const struct engine *e)
{
        return !e->unparking && e->roster && e->roster->n;
}

/* The texts one a line. p NULL: no memory. */
static struct str join_lines(struct arena *a, const struct str *texts, uint32_t n)
{
        size_t bytes = 1;
        for (uint32_t i = 0; i < n; i++) {
                bytes += texts[i].n + 1;
        }
        char *p = arena_alloc(a, bytes);
        uint32_t at = 0;
        for (uint32_t i = 0; p && i < n; i++) {
                if (at) {
                        p[at++] = '\n';
                }
                memcpy(p + at, texts[i].p, texts[i].n);
                at += texts[i].n;
        }
        return (struct str){p, at};
}

/* What others may know of this node. No memory: with the next beat. */
static void beat_tell(struct engine *e, struct ledger_beat *b)
{
        struct arena *a = &b->base.arena;
        uint32_t n = e->roster ? e->roster->n : 0, queues = 0;
        struct str *texts = arena_alloc(a, (n + e->n_queues + 1) * sizeof *texts);
        for (uint32_t i = 0; texts && i < n; i++) {
                texts[i] = e->roster->handlers[i].pattern;
        }
        for (uint32_t i = 0; texts && i < e->n_queues; i++) {
                if (!e->queues[i].gone) {
                        texts[n + queues++] = e->queues[i].name;
                }
        }
        if (texts) {
                b->serves = join_lines(a, texts, n);
                b->queues = join_lines(a, texts + n, queues);
        }
        b->workers = workers_wanted(e);
        b->tells = texts && b->serves.p && b->queues.p;
        e->tells = !b->tells;
}

static void pump_beat(struct engine *e)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_BEAT);
        if (!b) {
                e->beat_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        LEDGER_AS(beat, BEAT, b)->known = e->beat_known;
        if (e->tells) {
                beat_tell(e, LEDGER_AS(beat, BEAT, b));
        }
        e->beat_posted_ns = e->now.mono_ns;
        e->beating = post_batch(e, b);
}

static void pump_fold(struct engine *e)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_FOLD);
        if (!b) {
                e->fold_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        e->dirty = false;
        e->folding = post_batch(e, b);
}

/* What a node does for all, while it takes part. */
static void pump_duties(struct engine *e)
{
        int64_t now = e->now.mono_ns;
        if (!e->due_posted && now >= e->due_ns) {
                pump_due(e);
        }
        if (unpark_wanted(e) && now >= e->unpark_ns) {
                pump_unpark(e);
        }
        if (e->dirty && !e->folding && now >= e->fold_ns) {
                pump_fold(e);
        }
}

void duty_pump(struct engine *e)
{
        int64_t now = e->now.mono_ns;
        if (!e->started || e->leaving) {
                return;
        }
        if (!e->registered) {
                if (!e->registering && now >= e->register_ns && !e->draining) {
                        register_node(e);
                }
                return;
        }
        if (!e->beating && now >= e->beat_ns) {
                pump_beat(e);
        }
        if (!e->draining) {
                pump_duties(e);
        }
}

int64_t duty_wake_ns(const struct engine *e)
{
        if (!e->started || e->leaving) {
                return NEVER;
        }
        if (!e->registered) {
                return e->registering || e->draining ? NEVER : e->register_ns;
        }
        int64_t at = e->beating ? NEVER : e->beat_ns;
        if (e->draining) {
                return at;
        }
        at = engine_min(at, e->due_posted ? NEVER : e->due_ns);
        at = engine_min(at, unpark_wanted(e) ? e->unpark_ns : NEVER);
        return engine_min(at, e->dirty && !e->folding ? e->fold_ns : NEVER);
}
