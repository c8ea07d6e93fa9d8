/*
 * Jobs are claimed, and what a claim took is found again: CLAIM, RECALL, HELD.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

void store_fill_job(struct arena *a, const struct store_job *from, struct job *to)
{
        const struct job_row *r = &from->row;
        *to = (struct job){
            .id = r->id,
            .ref = from->seq,
            .claim = r->claim,
            .token = from->token,
            .attempt = r->attempt,
            .max_attempts = r->max_attempts,
            .snoozes = r->snoozes,
            .strikes = r->strikes,
            .priority = r->priority,
            .generation = r->generation,
            .timeout_ms = r->timeout_ms,
            .cancel_asked = r->cancel_asked,
            .heartbeat_ms = r->heartbeat_ms,
            .created_us = r->created_us,
            .deadline_us = r->deadline_us,
            .retry_until_us = r->retry_until_us,
            .policy = arena_str(a, r->policy),
            .late_us = from->was_due_us ? r->started_us - from->was_due_us : 0,
            .checkpoint =
                arena_str(a, planted(PLANT_CHECKPOINT_LOST) ? (struct str){0} : from->checkpoint),
            .left_work = store_left_work(from),
            .queue = arena_str(a, r->queue),
            .type = arena_str(a, r->type),
            .content_type = arena_str(a, r->content_type),
            .headers = arena_str(a, r->headers),
            .payload = arena_str(a, r->payload),
        };
}

void store_expire(struct store *s, struct store_job *j)
{
        struct store_move dead = {STATE_DEAD, REASON_EXPIRED, .error = ERROR_EXPIRED,
                                  .attempt = j->row.attempt};
        struct attempt_row last = {.attempt = j->row.attempt,
                                   .generation = j->row.generation,
                                   .claim = j->row.claim,
                                   .error = ERROR_EXPIRED,
                                   .ended_us = s->now_us};
        store_set_last(j, &last);
        store_set_state(s, j, &dead);
}

/* Moves on what may not be claimed: true when the row left the offered band. */
static bool sift(struct store *s, struct ledger_claim *b, struct store_job *j)
{
        if (j->row.deadline_us && j->row.deadline_us <= s->now_us) {
                store_expire(s, j);
                b->expired++;
                return true;
        }
        if (roster_find(b->roster, j->row.type) < 0) {
                struct store_move park = {STATE_PENDING, REASON_NO_HANDLER, BAND_PARKED,
                                          .attempt = j->row.attempt};
                store_set_state(s, j, &park);
                b->parked++;
                return true;
        }
        return false;
}

void store_take(struct store *s, const struct ledger_batch *b, uint64_t token, struct store_job *j)
{
        struct store_move run = {STATE_RUNNING, REASON_NONE};
        run.attempt = j->row.attempt + !planted(PLANT_ATTEMPT_FLAT);
        j->row.claim++;
        j->token = token;
        j->row.holder = b->no.holder;
        j->row.started_us = s->now_us;
        j->cancel_fresh = false; /* the claim itself says it */
        store_set_state(s, j, &run);
}

void store_record(struct store *s, const struct ledger_batch *b, uint64_t token,
                  struct store_job *const *jobs, uint32_t n)
{
        struct store_commit *c = store_commit_add(s, &b->no);
        c->token = token;
        c->n = n;
        c->jobs = calloc(n ? n : 1, sizeof(struct store_job *));
        assert(c->jobs);
        memcpy(c->jobs, jobs, n * sizeof(struct store_job *));
}

static void record_claim(struct store *s, const struct ledger_claim *b, const struct claim *got)
{
        struct store_job **jobs = calloc(got->n, sizeof(struct store_job *));
        assert(jobs);
        for (uint32_t i = 0; i < got->n; i++) {
                jobs[i] = store_find(s, &got->jobs[i].id);
        }
        store_record(s, &b->base, b->token, jobs, got->n);
        free(jobs);
}

/* Do as many run already as may? */
static bool is_limited(const struct ledger_claim *b, const struct store_queue *q)
{
        return b->global && q->counts[STATE_RUNNING] >= b->global && !planted(PLANT_GLOBAL_LOOSE);
}

static void claim_from(struct store *s, struct ledger_claim *b, struct store_queue *q)
{
        struct claim *got = b->got;
        int64_t first, last;
        lane_range(BAND_OFFERED, &first, &last);
        uint32_t i = store_index_from(&q->lanes, first);
        uint32_t room = q->lanes.n - i;
        room = room < b->want ? room : b->want;
        got->jobs = arena_zalloc(&got->arena, (room ? room : 1) * sizeof *got->jobs);
        assert(got->jobs);
        uint64_t bytes = 0;
        while (i < q->lanes.n && q->lanes.list[i].at <= last) {
                struct store_job *j = q->lanes.list[i].job;
                if (sift(s, b, j)) {
                        continue;
                }
                bytes += j->row.payload.n;
                if (is_limited(b, q)) {
                        b->more = b->limited = true;
                        break;
                }
                if (got->n == b->want || (got->n > 0 && bytes > b->max_bytes)) {
                        b->more = true;
                        break;
                }
                store_take(s, &b->base, b->token, j);
                store_fill_job(&got->arena, j, &got->jobs[got->n++]);
                if (i < q->lanes.n && q->lanes.list[i].job == j) {
                        i++; /* only a planted bug leaves it there */
                }
        }
}

void store_apply_claim(struct store *s, struct ledger_claim *b)
{
        b->more = b->limited = false;
        b->parked = b->expired = 0;
        b->got->n = 0;
        if (store_fenced(s, b->base.no.holder)) {
                b->base.outcome = LEDGER_FENCED;
                return;
        }
        b->got->no = b->base.no;
        b->got->token = b->token;
        struct store_queue *q = store_queue_of(s, b->queue, false);
        if (q && b->want) {
                claim_from(s, b, q);
        }
        b->got->open = b->got->n;
        if (b->got->n && b->base.no.n) {
                record_claim(s, b, b->got);
        }
}

static bool still_held(const struct store_job *j, uint64_t holder, uint64_t token)
{
        return j && j->row.state == STATE_RUNNING && j->row.holder == holder && j->token == token;
}

void store_apply_recall(struct store *s, struct ledger_recall *b)
{
        struct store_commit *c = store_commit_find(s, &b->of);
        struct claim *got = b->got;
        got->no = b->of;
        got->token = b->token;
        got->n = 0;
        uint32_t n = c ? c->n : 0;
        got->jobs = arena_zalloc(&got->arena, (n ? n : 1) * sizeof *got->jobs);
        assert(got->jobs);
        for (uint32_t i = 0; i < n; i++) {
                if (still_held(c->jobs[i], b->of.holder, b->token)) {
                        store_fill_job(&got->arena, c->jobs[i], &got->jobs[got->n++]);
                }
        }
        got->open = got->n;
}

static int compare_commits(const void *a, const void *b)
{
        const struct store_commit *x = *(struct store_commit *const *)a;
        const struct store_commit *y = *(struct store_commit *const *)b;
        return x->no.n < y->no.n ? -1 : x->no.n > y->no.n;
}

/* The victim's claim commits after `after`, in order. */
static struct store_commit **claims_of(const struct store *s, uint64_t victim, uint64_t after,
                                       uint32_t *ret_n)
{
        struct store_commit *c, *next, **list = NULL;
        uint32_t n = 0;
        HASH_ITER (hh, s->commits, c, next) {
                if (c->no.holder != victim || !c->jobs || c->no.n <= after) {
                        continue;
                }
                list = realloc(list, (n + 1) * sizeof *list);
                assert(list);
                list[n++] = c;
        }
        if (n) {
                qsort(list, n, sizeof *list, compare_commits);
        }
        *ret_n = n;
        return list;
}

static void fill_held(struct arena *a, const struct store_job *j, struct held_job *h)
{
        *h = (struct held_job){
            .id = j->row.id,
            .ref = j->seq,
            .claim = j->row.claim,
            .token = j->token,
            .attempt = j->row.attempt,
            .max_attempts = j->row.max_attempts,
            .snoozes = j->row.snoozes,
            .strikes = j->row.strikes,
            .cancel_asked = j->row.cancel_asked,
            .left_work = store_left_work(j),
            .created_us = j->row.created_us,
            .retry_until_us = j->row.retry_until_us,
            .queue = arena_str(a, j->row.queue),
            .type = arena_str(a, j->row.type),
            .policy = arena_str(a, j->row.policy),
            .headers = arena_str(a, j->row.headers),
        };
}

void store_apply_held(struct store *s, struct ledger_held *b)
{
        uint32_t n;
        struct store_commit **list = claims_of(s, b->victim, b->after, &n);
        b->more = n > b->limit;
        n = b->more ? b->limit : n;
        uint32_t jobs = 0;
        for (uint32_t i = 0; i < n; i++) {
                jobs += list[i]->n;
        }
        b->jobs = arena_zalloc(&b->base.arena, (jobs ? jobs : 1) * sizeof *b->jobs);
        b->covered = arena_zalloc(&b->base.arena, (n ? n : 1) * sizeof *b->covered);
        assert(b->jobs && b->covered);
        b->n = 0;
        b->n_covered = n;
        for (uint32_t i = 0; i < n; i++) {
                b->covered[i] = list[i]->no.n;
                for (uint32_t k = 0; k < list[i]->n; k++) {
                        if (still_held(list[i]->jobs[k], b->victim, list[i]->token)) {
                                fill_held(&b->base.arena, list[i]->jobs[k], &b->jobs[b->n++]);
                        }
                }
        }
        free(list);
}
