/*
 * Verdicts gather in one FINISH batch while the one before is on its way. A job's row is written
 * under its fence; a stale one writes nothing and is counted. The batch that ends the last open job
 * of a claim also retires it, in the same transaction. A refused batch is kept and offered again:
 * verdicts are never dropped.
 */
#include "core/engine/inner.h"

#include "core/defaults.h"

#include <stdlib.h>

struct settle_job settle_job_of(const struct engine *e, const struct job *j)
{
        return (struct settle_job){
            .id = j->id,
            .ref = j->ref,
            .claim = j->claim,
            .token = j->token,
            .attempt = j->attempt,
            .max_attempts = j->max_attempts,
            .snoozes = j->snoozes,
            .strikes = j->strikes,
            .cancel_asked = j->cancel_asked,
            .left_work = j->left_work,
            .retry_until_us = j->retry_until_us,
            .wall_us = e->now.wall_us,
        };
}

/* Of a job that failed; on the happy path nobody asks. `room`: where it may be made up. */
const struct retry_policy *job_policy(const struct engine *e, int queue, struct str type,
                                      struct str own, struct retry_policy *room)
{
        static const struct retry_policy plain = RETRY_POLICY_DEFAULT;
        const struct retry_policy *base = queue < 0 ? &plain : &e->queues[queue].retry;
        if ((e->config->n_types == 0 && own.n == 0) || PLANT(policy_of_queue)) {
                return base;
        }
        *room = *base;
        policy_overlay(e->config, type, own, room);
        return room;
}

static bool filling_start(struct engine *e)
{
        if (!e->filling) {
                struct ledger_batch *b = ledger_batch_new(LEDGER_FINISH);
                e->filling = b ? LEDGER_AS(finish, FINISH, b) : NULL;
                e->filling_capacity = 0;
                e->filling_since_ns = e->now.mono_ns;
        }
        return e->filling != NULL;
}

static bool filling_grow(struct engine *e)
{
        struct ledger_finish *f = e->filling;
        if (f->n < e->filling_capacity) {
                return true;
        }
        uint32_t first = e->last_finish < 32 ? 32 : e->last_finish + e->last_finish / 8;
        uint32_t capacity = e->filling_capacity ? e->filling_capacity * 2 : first;
        struct finish_row *rows = arena_alloc(&f->base.arena, capacity * sizeof *rows);
        if (!rows) {
                return false;
        }
        if (f->n) {
                memcpy(rows, f->rows, f->n * sizeof *rows);
        }
        f->rows = rows;
        e->filling_capacity = capacity;
        return true;
}

/* Takes a claim whose jobs have all ended out of the list of live ones. */
static void unlink_claim(struct engine *e, struct claim *c)
{
        if (c->prev) {
                c->prev->next = c->next;
        } else {
                e->claims = c->next;
        }
        if (c->next) {
                c->next->prev = c->prev;
        }
        c->prev = c->next = NULL;
}

/* The last open job of a claim was let go. Verdicts of others of it may still be on their way, and
 * name them: it is freed with those that are written last. */
void claim_let_go(struct engine *e, struct claim *c)
{
        unlink_claim(e, c);
        bool named = e->finishing || e->unwritten || (e->filling && e->filling->n);
        if (named && filling_start(e)) {
                c->next = e->filling->ended;
                e->filling->ended = c;
        } else if (!named) {
                e->claimed_bytes -= c->bytes;
                claim_free(c);
        }
}

/* The next row, all zero; the caller fills it by settle_*(). NULL: out of memory, the job stays
 * running in the ledger and is rescued later. */
struct finish_row *finish_add(struct engine *e, struct job *j)
{
        if (!filling_start(e) || !filling_grow(e)) {
                e->out->out_of_memory = true;
                return NULL;
        }
        struct ledger_finish *f = e->filling;
        j->ended = true;
        j->of->open--;
        if (j->of->open == 0) {
                /* this batch ends its claim: chain it, so that it is retired with it */
                struct claim *c = j->of;
                unlink_claim(e, c);
                c->next = f->ended;
                f->ended = c;
                f->n_retire += !c->unretired;
        }
        struct finish_row *row = &f->rows[f->n++];
        *row = (struct finish_row){.job = j, .queue = j->queue};
        return row;
}

void finish_unstarted(struct engine *e, struct job *j)
{
        struct finish_row *row = finish_add(e, j);
        if (row) {
                struct settle_job s = settle_job_of(e, j);
                settle_unstarted(&s, row);
                if (PLANT(give_back_spends)) {
                        row->attempt = j->attempt;
                }
        }
}

struct str finish_text(struct ledger_finish *f, struct str s, uint32_t max)
{
        if (s.n == 0) {
                return (struct str){0};
        }
        s.n = s.n > max ? max : s.n;
        s = arena_str(&f->base.arena, s);
        return s.p ? s : (struct str){0};
}

void finish_hint_due(struct engine *e, const struct finish_row *row)
{
        if (row->to == STATE_RETRYING || row->to == STATE_SCHEDULED) {
                e->due_ns = engine_min(e->due_ns, e->now.mono_ns + row->after_us * 1000);
        }
}

static bool list_retired(struct ledger_finish *f)
{
        f->retire =
            f->n_retire ? arena_alloc(&f->base.arena, f->n_retire * sizeof *f->retire) : NULL;
        if (f->n_retire && !f->retire) {
                return false;
        }
        uint32_t n = 0;
        for (struct claim *c = f->ended; c; c = c->next) {
                if (!c->unretired && f->retire) {
                        f->retire[n++] = c->no;
                }
        }
        return true;
}

static int64_t finish_time(const struct engine *e)
{
        const struct ledger_finish *f = e->filling;
        if (e->finishing || e->unwritten || !f || f->n == 0 || e->frozen[LANE_VERDICTS]) {
                return NEVER;
        }
        bool more = f->n < HOLD_ROWS && !e->draining;
        uint32_t given = 0;
        for (uint32_t i = 0; more && i < e->n_queues; i++) {
                given += e->queues[i].given;
        }
        return given ? e->filling_since_ns + hold_ns(e->last_finish) : 0;
}

int64_t finish_wake_ns(const struct engine *e)
{
        return e->unwritten && !e->finishing ? e->unwritten_ns : finish_time(e);
}

void finish_pump(struct engine *e)
{
        if (e->unwritten && !e->finishing && e->now.mono_ns >= e->unwritten_ns) {
                e->finishing = post_batch(e, &STEAL(e->unwritten)->base);
                return;
        }
        if (finish_time(e) > e->now.mono_ns || !list_retired(e->filling)) {
                return;
        }
        struct ledger_finish *f = STEAL(e->filling);
        e->last_finish = f->n;
        reply_fill(e, f);
        e->finishing = post_batch(e, &f->base);
}

static void finish_over(struct engine *e, struct ledger_finish *f)
{
        if (f->stale) {
                e->view.fenced_writes += f->stale;
                engine_note(e, 4, NULL, "%u verdicts were refused by their fence", f->stale);
        }
        bool replies = false;
        struct str hinted = {0};
        for (uint32_t i = 0; i < f->n; i++) {
                bool pending = f->rows[i].to == STATE_PENDING && !f->rows[i].stale;
                if (pending && !str_eq(f->rows[i].queue, hinted)) {
                        hinted = f->rows[i].queue;
                        claim_hint(e, hinted);
                }
                replies |= f->rows[i].reply != NULL;
                finish_hint_due(e, &f->rows[i]);
                if (f->rows[i].children && !f->rows[i].stale) {
                        submit_hint(e, f->rows[i].children);
                }
        }
        if (replies) {
                reply_written(e, f);
        }
        e->claimed -= f->n;
        for (const struct claim *c = f->ended; c; c = c->next) {
                e->claimed_bytes -= c->bytes;
        }
        limit_ended(e, f);
        e->dirty = true;
        struct engine_action *a = engine_act(e, ACT_SETTLED);
        if (a) {
                a->finish = f;
        }
}

/* The batch and the claims that it ended are told as ACT_SETTLED and stay alive until the next
 * step. */
static void finish_keep(struct engine *e, struct ledger_finish *f)
{
        f->base.next = e->told;
        e->told = &f->base;
}

static void finish_refused(struct engine *e, struct ledger_finish *f)
{
        e->finishing = false;
        e->unwritten = f;
        e->unwritten_ns = e->now.mono_ns + 100 * NS_PER_MS;
}

void finish_answered(struct engine *e, struct ledger_finish *f)
{
        switch (f->base.outcome) {
        case LEDGER_COMMITTED:
                e->finishing = false;
                e->view.commits++;
                finish_over(e, f);
                finish_keep(e, f);
                break;
        case LEDGER_UNKNOWN: resolve_batch(e, &f->base); break;
        case LEDGER_FENCED: /* this node is dead to the others, yet each row's fence decides */
                fence_node(e, f->base.no.holder);
                finish_refused(e, f);
                break;
        case LEDGER_REFUSED: finish_refused(e, f); break;
        }
}

void finish_resolved(struct engine *e, struct ledger_finish *f, bool happened)
{
        if (!happened) {
                finish_refused(e, f);
                return;
        }
        e->finishing = false;
        f->base.outcome = LEDGER_COMMITTED;
        finish_over(e, f);
        finish_keep(e, f);
}
