/*
 * Jobs come in: rows, keys, request keys, atomic arrays. Within a submission rows are inserted one
 * after the other, so that a key repeated within a batch meets its first bearer; an atomic
 * submission that fails deletes what it inserted before anyone is told of it.
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
        if (r->state != STATE_DEAD) {
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
            .last = wrong_with(s, r),
        };
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

static void answer(struct submit_row *r, enum submit_result result, const struct store_job *other)
{
        r->result = result;
        r->existing = other ? other->row.id : r->id;
        r->existing_state = other ? other->row.state : r->state;
}

static void submit_row(struct store *s, struct submit_row *r, bool atomic)
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
                if (!atomic) {
                        store_insert_unstorable(s, r);
                }
                return;
        }
        struct store_key key;
        const struct store_job *other = store_keyed(s, r, &key);
        if (other && !planted(PLANT_KEY_TWICE)) {
                bool same = str_eq(other->row.payload, r->payload);
                answer(r, same ? SUBMIT_EXISTS : SUBMIT_CONFLICT, other);
                store_letter_take(s, same ? r->inbox : 0);
                return;
        }
        const struct store_job *row = store_insert(s, r, &key, r->key.set && !other);
        store_letter_take(s, r->inbox);
        r->seq = r->state == STATE_PENDING && r->band == BAND_BROKER ? row->seq : 0;
        answer(r, SUBMIT_CREATED, NULL);
}

static bool is_failure(const struct submit_row *r)
{
        return r->result == SUBMIT_CONFLICT || r->result == SUBMIT_UNSTORABLE;
}

static void undo(struct store *s, struct submission *sub)
{
        for (uint32_t i = 0; i < sub->n; i++) {
                struct submit_row *r = &sub->rows[i];
                if (r->result == SUBMIT_CREATED) {
                        store_delete(s, store_find(s, &r->id));
                }
                if (!is_failure(r)) {
                        r->result = SUBMIT_UNDONE;
                }
        }
}

static void remember_request(struct store *s, const struct submission *sub)
{
        struct store_request *q = calloc(1, sizeof *q);
        assert(q);
        memcpy(q->key, sub->request_key.b, sizeof q->key);
        memcpy(q->hash, sub->request_hash, sizeof q->hash);
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
        if (!q) {
                return false;
        }
        sub->request_conflict = memcmp(q->hash, sub->request_hash, sizeof q->hash) != 0;
        for (uint32_t i = 0; i < sub->n; i++) {
                struct submit_row *r = &sub->rows[i];
                const struct store_job *first = i < q->n ? store_find(s, &q->ids[i]) : NULL;
                if (sub->request_conflict || !first) {
                        r->result = SUBMIT_UNDONE;
                } else {
                        answer(r, SUBMIT_EXISTS, first);
                }
        }
        return true;
}

static void tell_created(struct store *s, const struct submission *sub)
{
        for (uint32_t i = 0; i < sub->n; i++) {
                const struct submit_row *r = &sub->rows[i];
                bool written =
                    r->result == SUBMIT_CREATED || (r->result == SUBMIT_UNSTORABLE && !sub->atomic);
                if (written) {
                        store_entered(s, store_find(s, &r->id));
                }
        }
}

static void submit_one(struct store *s, struct submission *sub)
{
        sub->refused = false;
        sub->request_conflict = false;
        if (sub->request_key.set && repeat_request(s, sub)) {
                return;
        }
        bool failed = false;
        for (uint32_t i = 0; i < sub->n; i++) {
                submit_row(s, &sub->rows[i], sub->atomic);
                failed |= is_failure(&sub->rows[i]);
        }
        if (sub->atomic && failed) {
                undo(s, sub);
                return;
        }
        tell_created(s, sub);
        if (sub->request_key.set) {
                remember_request(s, sub);
        }
}

void store_submit(struct store *s, struct submission *list)
{
        for (struct submission *sub = list; sub; sub = sub->next) {
                submit_one(s, sub);
        }
}
