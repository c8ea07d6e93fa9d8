/*
 * Jobs come in: rows, keys, request keys, unique keys, bounds, atomic arrays. Within a submission
 * rows are inserted one after the other, so that a key repeated within a batch meets its first
 * bearer; an atomic submission that fails deletes what it inserted before anyone is told of it.
 *
 * What a row does to others (it replaces, it drops) is put off to the end of a submission that may
 * be undone: others are never put back.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/pattern.h"
#include "tests/sim/plant.h"
#include "tests/sim/store.h"

/* What a real ledger would refuse by a CHECK or a type: stands for any data error. */
bool store_storable(const struct submit_row *r)
{
        bool typed = r->type.n > 0 || r->state == STATE_DEAD; /* a letter may have none */
        bool texts = typed && r->type.n <= TYPE_MAX && r->queue.n > 0 &&
                     (!r->type.n || !memchr(r->type.p, 0, r->type.n));
        return texts && r->priority <= PRIORITY_MAX && r->max_attempts >= 1 &&
               state_edge(STATE_NONE, r->state);
}

static struct store_job *find_key(const struct store *s, const struct store_key *key)
{
        struct store_job *j;
        HASH_FIND(hh_key, s->keys, key, sizeof *key, j);
        return j;
}

/* What was wrong with it, as an attempt that ended it. */
static struct attempt_row wrong_with(const struct store *s, const struct submit_row *r)
{
        if (r->state != STATE_DEAD && r->state != STATE_CANCELLED) {
                return (struct attempt_row){0};
        }
        return (struct attempt_row){.error = reason_error(r->reason),
                                    .error_text = store_dup(r->error_text),
                                    .ended_us = s->now_us};
}

struct store_job *store_insert(struct store *s, const struct submit_row *r,
                               const struct store_key *key, bool keyed)
{
        struct store_job *j = calloc(1, sizeof *j);
        assert(j);
        j->seq = ++s->seq;
        j->queue = store_queue_of(s, r->queue, true);
        j->keyed = keyed;
        j->key = *key;
        j->row = (struct job_row){
            .id = r->id,
            .queue = j->queue->name,
            .type = store_dup(r->type),
            .key_text = store_dup(r->key_text),
            .content_type = store_dup(r->content_type),
            .headers = store_dup(r->headers),
            .payload = store_dup(r->payload),
            .tags = store_dup(r->tags),
            .state = r->state,
            .reason = r->reason,
            .band = r->band,
            .priority = r->priority,
            .max_attempts = r->max_attempts,
            .timeout_ms = r->timeout_ms,
            .created_us = s->now_us,
            .deadline_us = r->deadline_us,
            .policy = store_dup(r->policy),
            .retry_until_us = r->retry_until_us,
            .heartbeat_ms = r->heartbeat_ms,
            .last = wrong_with(s, r),
        };
        j->unique = r->unique;
        j->queue->counts[r->state]++;
        HASH_ADD(hh, s->jobs, row.id, sizeof j->row.id, j);
        if (keyed) {
                HASH_ADD(hh_key, s->keys, key, sizeof j->key, j);
        }
        if (r->state == STATE_PENDING) {
                j->lane = r->band == BAND_PARKED ? lane_parked(j->row.type, j->seq)
                                                 : lane_value(r->band, r->priority, j->seq);
                store_index_add(&j->queue->lanes, j->lane, j);
        } else if (r->state == STATE_SCHEDULED) {
                j->row.due_us = r->after_us ? s->now_us + r->after_us : r->at_us;
                store_index_add(&s->due, j->row.due_us, j);
        } else if (r->state != STATE_RUNNING) {
                j->row.finished_us = s->now_us;
        }
        return j;
}

struct store_job *store_keyed(struct store *s, const struct submit_row *r,
                              struct store_key *ret_key)
{
        memset(ret_key, 0, sizeof *ret_key);
        if (!r->key.set) {
                return NULL;
        }
        ret_key->queue = store_queue_of(s, r->queue, true);
        memcpy(ret_key->b, r->key.b, sizeof ret_key->b);
        return find_key(s, ret_key);
}

void store_insert_unstorable(struct store *s, const struct submit_row *r)
{
        struct submit_row bare = {
            .id = r->id,
            .key = r->key,
            .queue = r->queue.n ? r->queue : STR("default"),
            .state = STATE_DEAD,
            .reason = REASON_UNSTORABLE,
            .max_attempts = 1,
        };
        struct store_key key;
        bool taken = store_keyed(s, &bare, &key) != NULL;
        store_insert(s, &bare, &key, bare.key.set && !taken);
}

/* --- one row after the other -------------------------------------------------------------- */

/* What one submission has done so far. */
struct submitting {
        struct submission *sub;
        bool whole; /* it may be taken back as a whole */
        const struct queue_bound *bounds;
        uint32_t n_bounds;
        struct {
                struct store_unique before; /* of a key that a row took; hh is not read */
                bool was_there;
                struct store_job *holder; /* to be replaced by the row; NULL: none */
                struct store_job *drop;   /* to be dropped for it; NULL: none */
        } * done;                         /* by row */
};

static void answer(struct submit_row *r, enum submit_result result, const struct store_job *other)
{
        r->result = result;
        r->existing = other ? other->row.id : r->id;
        r->existing_state = other ? other->row.state : r->state;
}

/* True when a row, or the key of one that was pruned, answers for it. */
static bool is_keyed_already(struct store *s, struct submit_row *r, struct store_key *ret_key)
{
        const struct store_job *other = store_keyed(s, r, ret_key);
        const struct store_gone *gone = r->key.set ? store_gone_of(s, ret_key) : NULL;
        if ((!other && !gone) || planted(PLANT_KEY_TWICE)) {
                return false;
        }
        bool same = other ? store_came_with(other, r->payload) : store_gone_same(gone, r->payload);
        answer(r, same ? SUBMIT_EXISTS : SUBMIT_CONFLICT, other);
        if (!other) {
                r->existing = gone->id;
                r->existing_state = STATE_NONE;
        }
        store_letter_take(s, same ? r->inbox : 0);
        return true;
}

static bool is_held(struct store *s, const struct submitting *w, struct submit_row *r, uint32_t i)
{
        const struct store_unique *x = store_unique_of(s, &r->unique);
        if (!x || r->state == STATE_DEAD || !store_unique_blocks(s, x)) {
                return false;
        }
        struct store_job *holder = store_find(s, &x->holder);
        bool replaces = r->unique.replace && store_replaceable(holder);
        answer(r, replaces ? SUBMIT_REPLACED : SUBMIT_HELD, holder);
        r->existing = x->holder;
        r->existing_state = holder ? holder->row.state : STATE_NONE;
        w->done[i].holder = replaces ? holder : NULL;
        store_letter_take(s, r->inbox);
        return true;
}

static uint32_t drops_of(const struct submitting *w, const struct store_queue *q, uint32_t i)
{
        uint32_t n = 0;
        for (uint32_t k = 0; k < i && w->whole; k++) {
                n += w->done[k].drop && w->done[k].drop->queue == q;
        }
        return n;
}

/* True when its queue has no room; one that makes room is noted. */
static bool is_full(struct store *s, const struct submitting *w, struct submit_row *r, uint32_t i)
{
        const struct queue_bound *b = w->bounds;
        while (b < w->bounds + w->n_bounds && !str_eq(b->queue, r->queue)) {
                b++;
        }
        bool waits = r->state == STATE_PENDING || r->state == STATE_SCHEDULED;
        if (b == w->bounds + w->n_bounds || !b->max || !waits || planted(PLANT_BOUND_LOOSE)) {
                return false;
        }
        struct store_queue *q = store_queue_of(s, r->queue, true);
        uint32_t drops = drops_of(w, q, i);
        if (store_waiting(q) - drops < b->max) {
                return false;
        }
        w->done[i].drop = b->drop_oldest ? store_oldest(q, NULL) : NULL;
        if (w->done[i].drop) {
                w->done[i].drop->doomed = true;
                return false;
        }
        answer(r, SUBMIT_FULL, NULL);
        return true;
}

static void take_unique(struct store *s, const struct submitting *w, const struct submit_row *r,
                        uint32_t i)
{
        const struct store_unique *x = store_unique_of(s, &r->unique);
        w->done[i].was_there = x != NULL;
        if (x) {
                w->done[i].before = *x;
        }
        store_unique_take(s, r);
}

static void submit_row(struct store *s, const struct submitting *w, struct submit_row *r,
                       uint32_t i)
{
        const struct store_job *there = store_find(s, &r->id);
        if (there) {
                answer(r, SUBMIT_EXISTS, there);
                return;
        }
        if (r->inbox && !store_letter_find(s, r->inbox)) {
                r->result = SUBMIT_UNDONE; /* another node took the letter */
                return;
        }
        if (!store_storable(r)) {
                answer(r, SUBMIT_UNSTORABLE, NULL);
                if (!w->sub->atomic) {
                        store_insert_unstorable(s, r);
                }
                return;
        }
        struct store_key key;
        if (is_keyed_already(s, r, &key) || is_held(s, w, r, i) || is_full(s, w, r, i)) {
                return;
        }
        bool keyed = r->key.set && !store_keyed(s, r, &key);
        const struct store_job *row = store_insert(s, r, &key, keyed);
        take_unique(s, w, r, i);
        store_letter_take(s, r->inbox);
        r->seq = r->state == STATE_PENDING && r->band == BAND_BROKER ? row->seq : 0;
        answer(r, SUBMIT_CREATED, NULL);
}

static bool is_failure(const struct submit_row *r)
{
        return r->result == SUBMIT_CONFLICT || r->result == SUBMIT_UNSTORABLE ||
               r->result == SUBMIT_FULL;
}

/* Does it take the others of its submission with it? */
static bool undoes(const struct submission *sub, const struct submit_row *r)
{
        return (sub->atomic && is_failure(r)) || (sub->request_key.set && r->result == SUBMIT_FULL);
}

/* What it inserted goes, and what it took. */
static void take_back(struct store *s, const struct submitting *w)
{
        const struct submission *sub = w->sub;
        for (uint32_t i = 0; i < sub->n; i++) {
                if (w->done[i].drop) {
                        w->done[i].drop->doomed = false;
                }
        }
        for (uint32_t i = sub->n; i-- > 0;) {
                const struct submit_row *r = &sub->rows[i];
                bool inserted =
                    r->result == SUBMIT_CREATED || (r->result == SUBMIT_UNSTORABLE && !sub->atomic);
                if (inserted) {
                        store_delete(s, store_find(s, &r->id));
                }
                if (r->result == SUBMIT_CREATED) {
                        store_unique_put(s, &r->unique,
                                         w->done[i].was_there ? &w->done[i].before : NULL);
                }
        }
}

static void undo(struct store *s, const struct submitting *w)
{
        take_back(s, w);
        for (uint32_t i = 0; i < w->sub->n; i++) {
                if (!is_failure(&w->sub->rows[i])) {
                        w->sub->rows[i].result = SUBMIT_UNDONE;
                }
        }
}

/* What would have gone in is gone since it did. */
static void look_back(struct store *s, const struct submitting *w)
{
        take_back(s, w);
        for (uint32_t i = 0; i < w->sub->n; i++) {
                struct submit_row *r = &w->sub->rows[i];
                if (r->result == SUBMIT_CREATED) {
                        answer(r, SUBMIT_EXISTS, NULL);
                        r->existing_state = STATE_NONE;
                }
        }
}

/* What it does to others. */
static void touch_others(struct store *s, const struct submitting *w, uint32_t i)
{
        struct store_job *holder = w->done[i].holder;
        if (holder) {
                store_replace(s, holder, &w->sub->rows[i]);
                w->sub->rows[i].existing_state = holder->row.state;
        }
        if (w->done[i].drop) {
                w->done[i].drop->doomed = false;
                store_cancel(s, w->done[i].drop, REASON_DROPPED);
        }
}

static void remember_request(struct store *s, const struct submission *sub)
{
        struct store_request *q = calloc(1, sizeof *q);
        assert(q);
        memcpy(q->key, sub->request_key.b, sizeof q->key);
        memcpy(q->hash, sub->request_hash, sizeof q->hash);
        q->until_us = s->now_us + KEY_LIFE_US;
        q->n = sub->n;
        q->ids = calloc(sub->n ? sub->n : 1, sizeof *q->ids);
        assert(q->ids);
        for (uint32_t i = 0; i < sub->n; i++) {
                q->ids[i] = sub->rows[i].existing;
        }
        HASH_ADD(hh, s->requests, key, sizeof q->key, q);
}

/* True when the request key was seen before: answered from memory, or refused. */
static bool repeat_request(struct store *s, struct submission *sub)
{
        struct store_request *q;
        HASH_FIND(hh, s->requests, sub->request_key.b, sizeof sub->request_key.b, q);
        if (q && q->until_us <= s->now_us) {
                HASH_DELETE(hh, s->requests, q);
                free(q->ids);
                free(q);
                q = NULL;
        }
        if (!q) {
                return false;
        }
        sub->request_conflict = memcmp(q->hash, sub->request_hash, sizeof q->hash) != 0;
        for (uint32_t i = 0; i < sub->n; i++) {
                struct submit_row *r = &sub->rows[i];
                if (sub->request_conflict || i >= q->n) {
                        r->result = SUBMIT_UNDONE;
                        continue;
                }
                const struct store_job *first = store_find(s, &q->ids[i]);
                answer(r, SUBMIT_EXISTS, first);
                r->existing = q->ids[i];
                r->existing_state = first ? first->row.state : STATE_NONE;
        }
        return true;
}

static void tell_created(struct store *s, const struct submission *sub, uint32_t i)
{
        const struct submit_row *r = &sub->rows[i];
        bool written =
            r->result == SUBMIT_CREATED || (r->result == SUBMIT_UNSTORABLE && !sub->atomic);
        if (written) {
                store_entered(s, store_find(s, &r->id));
        }
}

static void submit_rows(struct store *s, const struct submitting *w)
{
        struct submission *sub = w->sub;
        bool failed = false;
        for (uint32_t i = 0; i < sub->n; i++) {
                submit_row(s, w, &sub->rows[i], i);
                failed |= undoes(sub, &sub->rows[i]);
                if (!w->whole) {
                        tell_created(s, sub, i);
                        touch_others(s, w, i);
                }
        }
        if (failed) {
                undo(s, w);
                return;
        }
        if (sub->happened) {
                look_back(s, w);
                return;
        }
        for (uint32_t i = 0; i < sub->n && w->whole; i++) {
                tell_created(s, sub, i);
                touch_others(s, w, i);
        }
        if (sub->request_key.set) {
                remember_request(s, sub);
        }
}

void store_submit_bound(struct store *s, struct submission *list, const struct queue_bound *bounds,
                        uint32_t n_bounds)
{
        for (struct submission *sub = list; sub; sub = sub->next) {
                sub->refused = false;
                sub->request_conflict = false;
                if (sub->request_key.set && repeat_request(s, sub)) {
                        continue;
                }
                struct submitting w = {.sub = sub,
                                       .whole =
                                           sub->atomic || sub->request_key.set || sub->happened,
                                       .bounds = bounds,
                                       .n_bounds = n_bounds};
                w.done = calloc(sub->n + 1, sizeof *w.done);
                assert(w.done);
                submit_rows(s, &w);
                free(w.done);
        }
}

void store_submit(struct store *s, struct submission *list)
{
        store_submit_bound(s, list, NULL, 0);
}
