/*
 * What running jobs leave behind: checkpoints and progress.
 *
 * They gather in one SAVE while the one before is on its way. A checkpoint goes at once, since its
 * handler waits for it; progress alone once a second, the last word of each job, since nobody waits
 * for it and the next one is more true. The fence of each row decides, as with verdicts: what comes
 * from a claim that is over is not written. A refused SAVE is offered again for five seconds, then
 * its handlers are told that nothing was saved. It must never say "saved" of what may not be
 * durable. Members of a batch that dies run again without another claim, so what is saved of them
 * is kept here too, in the arena of their claim: twice CHECKPOINT_MAX for each at most.
 * Discarded: a SAVE for each checkpoint, which costs a commit each.
 */
#include "core/engine/inner.h"

#define PROGRESS_EVERY NS_PER_S
#define OFFER_AGAIN    (200 * NS_PER_MS)
#define OFFER_FOR      (5 * NS_PER_S)
#define FIGURE_MAX     1e300

/* Whom to answer, for each row of a SAVE; in its arena, named by its cookie. */
struct save_asker {
        bool asks;
        uint32_t worker, position;
};

struct save_cookie {
        struct save_asker *askers;
        int64_t posted_ns; /* the first time */
};

static bool saves_start(struct engine *e)
{
        struct ledger_batch *b = e->saves ? NULL : ledger_batch_new(LEDGER_SAVE);
        if (e->saves || !b) {
                return e->saves != NULL;
        }
        b->cookie = arena_zalloc(&b->arena, sizeof(struct save_cookie));
        if (!b->cookie) {
                ledger_batch_free(b);
                return false;
        }
        e->saves = LEDGER_AS(save, SAVE, b);
        e->saves_capacity = 0;
        e->saves_urgent = false;
        return true;
}

static bool saves_grow(struct engine *e)
{
        struct ledger_save *b = e->saves;
        if (b->n < e->saves_capacity) {
                return true;
        }
        struct save_cookie *cookie = b->base.cookie;
        uint32_t capacity = e->saves_capacity ? e->saves_capacity * 2 : 16;
        struct save_row *rows = arena_alloc(&b->base.arena, capacity * sizeof *rows);
        struct save_asker *askers = arena_alloc(&b->base.arena, capacity * sizeof *askers);
        if (!rows || !askers) {
                return false;
        }
        if (b->n) {
                memcpy(rows, b->rows, b->n * sizeof *rows);
                memcpy(askers, cookie->askers, b->n * sizeof *askers);
        }
        b->rows = rows;
        cookie->askers = askers;
        e->saves_capacity = capacity;
        return true;
}

/* The job's row among those that are gathered, a new one if need be. NULL: no memory. */
static struct save_row *row_of(struct engine *e, struct job *j)
{
        if (!saves_start(e)) {
                return NULL;
        }
        struct ledger_save *b = e->saves;
        for (uint32_t i = 0; i < b->n; i++) {
                if (job_id_eq(&b->rows[i].id, &j->id) && b->rows[i].claim == j->claim) {
                        return &b->rows[i];
                }
        }
        if (!saves_grow(e)) {
                return NULL;
        }
        ((struct save_cookie *)b->base.cookie)->askers[b->n] = (struct save_asker){0};
        struct save_row *row = &b->rows[b->n++];
        *row = (struct save_row){
            .id = j->id, .ref = j->ref, .claim = j->claim, .token = j->token, .n = ++j->saves};
        return row;
}

/* What the worker holds at this position; NULL: nothing. */
static struct job *job_at(struct engine *e, uint32_t worker, uint32_t position)
{
        struct worker_books *w = worker < ENGINE_WORKERS_MAX ? &e->workers[worker] : NULL;
        bool holds = w && w->state != WORKER_NONE && position - w->head < w->tail - w->head;
        return holds ? w->ring[position % ENGINE_RING] : NULL;
}

static void tell_saved(struct engine *e, uint32_t worker, uint32_t position, bool ok)
{
        struct engine_action *a = engine_act(e, ACT_SAVED);
        if (a) {
                a->worker = worker;
                a->position = position;
                a->ok = ok;
        }
}

void save_arrived(struct engine *e, uint32_t worker, uint32_t position, struct str checkpoint)
{
        struct job *j = job_at(e, worker, position);
        struct save_row *row = j && checkpoint.n <= CHECKPOINT_MAX ? row_of(e, j) : NULL;
        struct str kept = {0};
        if (row) {
                kept = arena_str(&e->saves->base.arena, checkpoint);
        }
        if (!kept.p) {
                tell_saved(e, worker, position, false);
                return;
        }
        struct save_cookie *cookie = e->saves->base.cookie;
        row->has_checkpoint = true;
        row->checkpoint = kept;
        cookie->askers[row - e->saves->rows] = (struct save_asker){true, worker, position};
        j->left_work = true;
        e->saves_urgent = true;
}

static double figure(double x)
{
        return x >= 0 && x < FIGURE_MAX ? x : 0; /* not a number: 0 */
}

void progress_told(struct engine *e, uint32_t worker, uint32_t position, double done, double total)
{
        struct job *j = job_at(e, worker, position);
        struct save_row *row = j ? row_of(e, j) : NULL;
        if (row) {
                row->has_progress = true;
                row->done = figure(done);
                row->total = figure(total);
                j->left_work = true;
        }
}

/* --- out and back ----------------------------------------------------------------------------- */

static int64_t save_time(const struct engine *e)
{
        if (!e->saves || e->saves->n == 0 || e->saving || e->leaving) {
                return NEVER;
        }
        return e->saves_urgent ? 0 : e->save_ns;
}

void save_pump(struct engine *e)
{
        if (save_time(e) > e->now.mono_ns) {
                return;
        }
        struct ledger_save *b = STEAL(e->saves);
        ((struct save_cookie *)b->base.cookie)->posted_ns = e->now.mono_ns;
        e->save_ns = e->now.mono_ns + PROGRESS_EVERY;
        e->saving = post_batch(e, &b->base);
}

int64_t save_wake_ns(const struct engine *e)
{
        return save_time(e);
}

/* Should its batch die, the job loads this when it runs again. Rooms double: all that it outgrew
 * is less than the last one. */
static void keep_checkpoint(struct engine *e, struct job *j, struct str saved)
{
        if (saved.n > j->checkpoint_room || !j->checkpoint_room) {
                uint32_t room = 64;
                while (room < saved.n) {
                        room *= 2;
                }
                char *p = arena_alloc(&j->of->arena, room + 1);
                if (!p) {
                        e->out->out_of_memory = true; /* then it loads what it loaded before */
                        return;
                }
                j->checkpoint.p = p;
                j->checkpoint_room = room;
        }
        char *to = (char *)j->checkpoint.p;
        memcpy(to, saved.p, saved.n);
        to[saved.n] = 0; /* as behind every text of an arena */
        j->checkpoint.n = saved.n;
}

/* A handler that died meanwhile, or whose worker did, hears nothing. */
static void tell_asker(struct engine *e, const struct save_asker *asker, const struct save_row *row,
                       bool ok)
{
        struct job *j = job_at(e, asker->worker, asker->position);
        if (!j || !job_id_eq(&j->id, &row->id) || j->claim != row->claim) {
                return;
        }
        bool again = e->workers[asker->worker].group_n && !PLANT(checkpoint_unkept);
        if (ok && row->has_checkpoint && again) {
                keep_checkpoint(e, j, row->checkpoint);
        }
        tell_saved(e, asker->worker, asker->position, ok);
}

void save_answered(struct engine *e, struct ledger_save *b)
{
        const struct save_cookie *cookie = b->base.cookie;
        bool ok = b->base.outcome == LEDGER_COMMITTED || PLANT(saved_assumed);
        if (!ok && e->now.mono_ns - cookie->posted_ns < OFFER_FOR && !e->leaving) {
                post_later(e, &b->base, OFFER_AGAIN);
                return;
        }
        e->saving = false;
        for (uint32_t i = 0; i < b->n; i++) {
                if (cookie->askers[i].asks) {
                        tell_asker(e, &cookie->askers[i], &b->rows[i], ok && !b->rows[i].stale);
                }
        }
        ledger_batch_free(&b->base);
}
