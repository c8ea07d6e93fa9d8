/*
 * Jobs of nodes that are gone.
 *
 * A node whose beat does not change for a lease - counted only while this node could read the
 * ledger itself - is declared dead; from then on none of its claims commit. Its running jobs are
 * read in pages through the ranges of its claim commits and written by ordinary FINISH rows under
 * their own fence: two rescuers, or a rescuer and a late verdict, cannot both win. The former node
 * of this state directory is rescued at once, by what its pages say.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

#define PAGE_COMMITS 16
#define RETRY_AFTER  (500 * NS_PER_MS)

static int compare_former(const void *a, const void *b)
{
        return memcmp(((const struct former_job *)a)->id.b, ((const struct former_job *)b)->id.b,
                      16);
}

int rescue_former(struct engine *e, uint64_t holder, const struct former_job *jobs, uint32_t n)
{
        e->former_holder = holder;
        e->former = calloc(n ? n : 1, sizeof *jobs);
        if (!e->former) {
                return -1;
        }
        for (uint32_t i = 0; i < n; i++) {
                struct verdict *v = &e->former[i].verdict;
                e->former[i] = jobs[i];
                v->text = arena_str(&e->former_arena, v->text);
                v->result = v->result_type = (struct str){0};
                v->children = NULL;
        }
        e->n_former = n;
        qsort(e->former, n, sizeof *e->former, compare_former);
        return 0;
}

static void former_forget(struct engine *e)
{
        free(STEAL(e->former));
        e->n_former = 0;
        e->former_holder = 0;
        arena_deinit(&e->former_arena);
}

/* --- who is silent ---------------------------------------------------------------------------- */

static struct node_books *node_find(struct engine *e, uint64_t holder)
{
        for (uint32_t i = 0; i < e->n_nodes; i++) {
                if (e->nodes[i].holder == holder) {
                        return &e->nodes[i];
                }
        }
        if (e->n_nodes == NODES_MAX) {
                return NULL;
        }
        struct node_books *n = &e->nodes[e->n_nodes++];
        *n = (struct node_books){.holder = holder};
        return n;
}

void rescue_seen(struct engine *e, const struct ledger_beat *b, int64_t elapsed_ns)
{
        int64_t most = 3 * (int64_t)e->config->beat_ms *
                       NS_PER_MS; /* a pause of our own is not their silence */
        elapsed_ns = elapsed_ns > most ? most : elapsed_ns;
        for (uint32_t i = 0; i < e->n_nodes; i++) {
                e->nodes[i].seen = false;
        }
        for (uint32_t i = 0; i < b->n_nodes; i++) {
                const struct node_seen *s = &b->nodes[i];
                struct node_books *n = s->holder == e->holder ? NULL : node_find(e, s->holder);
                if (!n) {
                        continue;
                }
                bool moved = n->beat != s->beat;
                n->silent_ns = moved ? 0 : n->silent_ns + elapsed_ns;
                n->beat = s->beat;
                n->dead = s->dead;
                n->seen = true;
        }
        uint32_t kept = 0;
        for (uint32_t i = 0; i < e->n_nodes; i++) {
                if (e->nodes[i].seen) {
                        e->nodes[kept++] = e->nodes[i];
                }
        }
        e->n_nodes = kept;
}

static void choose_victim(struct engine *e)
{
        struct rescue *r = &e->rescue;
        int64_t lease = (int64_t)e->config->lease_ms * NS_PER_MS;
        if (e->former_holder) {
                *r = (struct rescue){
                    .phase = RESCUE_BURY, .victim = e->former_holder, .former = true};
                return;
        }
        for (uint32_t i = 0; i < e->n_nodes; i++) {
                const struct node_books *n = &e->nodes[i];
                if (n->silent_ns >= lease || n->dead) {
                        engine_note(e, 4, NULL,
                                    "node %016llx is silent for a lease: rescuing its jobs",
                                    (unsigned long long)n->holder);
                        *r = (struct rescue){.phase = n->dead ? RESCUE_READ : RESCUE_BURY,
                                             .victim = n->holder,
                                             .seen_beat = n->beat};
                        return;
                }
        }
}

/* --- the phases ------------------------------------------------------------------------------- */

static void post_bury(struct engine *e, bool forget)
{
        struct rescue *r = &e->rescue;
        struct ledger_batch *b = ledger_batch_new(LEDGER_BURY);
        if (!b) {
                r->not_before_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        struct ledger_bury *bury = LEDGER_AS(bury, BURY, b);
        bury->victim = r->victim;
        bury->seen_beat = r->seen_beat;
        bury->any_beat = r->former;
        bury->forget = forget;
        r->posted = post_batch(e, b);
}

static void post_held(struct engine *e)
{
        struct rescue *r = &e->rescue;
        struct ledger_batch *b = ledger_batch_new(LEDGER_HELD);
        if (!b) {
                r->not_before_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        struct ledger_held *held = LEDGER_AS(held, HELD, b);
        held->victim = r->victim;
        held->after = r->after;
        held->limit = PAGE_COMMITS;
        b->cookie = r;
        r->posted = post_batch(e, b);
}

void rescue_pump(struct engine *e)
{
        struct rescue *r = &e->rescue;
        if (!e->registered || e->draining || r->posted || e->now.mono_ns < r->not_before_ns) {
                return;
        }
        if (r->phase == RESCUE_IDLE) {
                choose_victim(e);
        }
        switch (r->phase) {
        case RESCUE_BURY: post_bury(e, false); break;
        case RESCUE_READ: post_held(e); break;
        case RESCUE_FORGET: post_bury(e, true); break;
        default: break;
        }
}

int64_t rescue_wake_ns(const struct engine *e)
{
        const struct rescue *r = &e->rescue;
        bool waits = e->registered && !e->draining && !r->posted && r->phase != RESCUE_IDLE;
        return waits ? r->not_before_ns : NEVER;
}

static void rescue_end(struct engine *e)
{
        if (e->rescue.former) {
                former_forget(e);
        }
        for (uint32_t i = 0; i < e->n_nodes; i++) {
                if (e->nodes[i].holder == e->rescue.victim) {
                        e->nodes[i] = e->nodes[--e->n_nodes];
                        break;
                }
        }
        e->rescue = (struct rescue){0};
}

static void buried(struct engine *e, struct ledger_bury *b)
{
        struct rescue *r = &e->rescue;
        r->posted = false;
        if (b->base.outcome != LEDGER_COMMITTED) {
                r->not_before_ns = e->now.mono_ns + RETRY_AFTER;
        } else if (!b->forget) {
                if (b->done || r->former) {
                        r->phase = RESCUE_READ;
                } else {
                        rescue_end(e); /* its beat moved: it lives */
                }
        } else if (b->done) {
                rescue_end(e);
        } else { /* it holds jobs still: read again from the start */
                r->after = 0;
                r->phase = RESCUE_READ;
                r->not_before_ns = e->now.mono_ns + RETRY_AFTER;
        }
        ledger_batch_free(&b->base);
}

static void settle_held(struct engine *e, const struct held_job *h, struct ledger_finish *f)
{
        struct settle_job s = {
            .id = h->id,
            .ref = h->ref,
            .claim = h->claim,
            .token = h->token,
            .attempt = h->attempt,
            .max_attempts = h->max_attempts,
            .snoozes = h->snoozes,
            .strikes = h->strikes,
            .cancel_asked = h->cancel_asked,
            .left_work = h->left_work,
            .retry_until_us = h->retry_until_us,
            .wall_us = e->now.wall_us,
        };
        struct retry_policy room;
        const struct retry_policy *policy =
            job_policy(e, queue_find(e, h->queue), h->type, h->policy, &room);
        struct former_job key = {.id = h->id}, *former = NULL;
        if (e->rescue.former && e->n_former) {
                former = bsearch(&key, e->former, e->n_former, sizeof *e->former, compare_former);
        }
        if (former && (former->claim != h->claim || former->token != h->token)) {
                former = NULL; /* the page remembers an older claim of this job */
        }
        struct finish_row *row = &f->rows[f->n++];
        if (former && former->ended) {
                const struct verdict *v = &former->verdict;
                settle_verdict(&s, v->kind, v->delay_ms, policy, engine_random(e), row);
                row->started_us = v->started_wall_us;
                row->ended_us = v->started_wall_us + v->run_ns / 1000;
                row->error_text = finish_text(f, v->text, ERROR_TEXT_MAX);
        } else if (former && !former->started) {
                settle_unstarted(&s, row);
        } else {
                settle_failure(&s, ERROR_LOST, policy, engine_random(e), row);
                row->error_text =
                    finish_text(f, STR("the node that ran it disappeared"), ERROR_TEXT_MAX);
        }
        settle_fingerprint(row, h->type);
        if (PLANT(rescue_unfenced)) {
                row->claim = 0;
        }
}

static bool write_page(struct engine *e, struct ledger_held *h)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_FINISH);
        if (!b) {
                return false;
        }
        struct ledger_finish *f = LEDGER_AS(finish, FINISH, b);
        f->rows = arena_zalloc(&b->arena, (h->n + 1) * sizeof *f->rows);
        f->retire = arena_zalloc(&b->arena, (h->n_covered + 1) * sizeof *f->retire);
        if (!f->rows || !f->retire) {
                ledger_batch_free(b);
                return false;
        }
        for (uint32_t i = 0; i < h->n; i++) {
                settle_held(e, &h->jobs[i], f);
                reply_held(e, f, &f->rows[i], &h->jobs[i]);
                finish_hint_due(e, &f->rows[i]);
        }
        for (uint32_t i = 0; i < h->n_covered; i++) {
                f->retire[f->n_retire++] =
                    (struct commit_no){h->victim, LANE_CLAIMS, h->covered[i]};
        }
        e->rescue.writing = f;
        e->rescue.posted = post_batch(e, b);
        return e->rescue.posted;
}

static void held_read(struct engine *e, struct ledger_held *h)
{
        struct rescue *r = &e->rescue;
        r->posted = false;
        if (h->base.outcome != LEDGER_COMMITTED) {
                r->not_before_ns = e->now.mono_ns + RETRY_AFTER;
        } else if (h->n == 0 && h->n_covered == 0) {
                r->phase = RESCUE_FORGET;
        } else {
                r->more = h->more;
                r->after_next = h->n_covered ? h->covered[h->n_covered - 1] : r->after;
                r->phase = RESCUE_WRITE;
                if (!write_page(e, h)) {
                        r->phase = RESCUE_READ;
                        r->not_before_ns = e->now.mono_ns + RETRY_AFTER;
                }
        }
        ledger_batch_free(&h->base);
}

/* Whatever its fate: the same page is read again unless it is known to be written. The fence makes
 * that harmless. */
static void page_written(struct engine *e, struct ledger_finish *f)
{
        struct rescue *r = &e->rescue;
        r->posted = false;
        r->writing = NULL;
        if (f->base.outcome != LEDGER_COMMITTED) {
                r->phase = RESCUE_READ;
                r->not_before_ns = e->now.mono_ns + RETRY_AFTER;
        } else {
                e->dirty = true;
                claim_hint_all(e);
                reply_written(e, f);
                engine_note(e, 5, NULL, "rescued %u jobs of node %016llx (%u had ended meanwhile)",
                            f->n - f->stale, (unsigned long long)r->victim, f->stale);
                r->after = r->after_next;
                r->phase = r->more ? RESCUE_READ : RESCUE_FORGET;
        }
        ledger_batch_free(&f->base);
}

void rescue_answered(struct engine *e, struct ledger_batch *b)
{
        switch (b->op) {
        case LEDGER_BURY: buried(e, LEDGER_AS(bury, BURY, b)); break;
        case LEDGER_HELD: held_read(e, LEDGER_AS(held, HELD, b)); break;
        default: page_written(e, LEDGER_AS(finish, FINISH, b)); break;
        }
}
