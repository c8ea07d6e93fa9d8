/*
 * Jobs end, wait again, or are moved by operators and duties: FINISH, CANCEL, REQUEUE, DUE, UNPARK.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

static bool fence_holds(const struct store_job *j, const struct finish_row *r)
{
        if (!j || (r->ref && r->ref != j->seq)) {
                return false;
        }
        if (planted(PLANT_RESCUE_UNFENCED) && r->error == ERROR_LOST) {
                return !state_terminal(j->row.state) || r->to != j->row.state;
        }
        bool running = j->row.state == STATE_RUNNING;
        bool bare = r->claim == 0 && (planted(PLANT_CORE_RESCUE) || planted(PLANT_CORE_VERDICT));
        if (planted(PLANT_FOREIGN_VERDICT) || bare) {
                return running; /* a statement without its fence */
        }
        return running && j->row.claim == r->claim && j->token == r->token;
}

static struct attempt_row attempt_of(const struct store_job *j, const struct finish_row *r)
{
        return (struct attempt_row){
            .fingerprint = r->fingerprint,
            .attempt = j->row.attempt,
            .generation = j->row.generation,
            .claim = j->row.claim,
            .error = r->error,
            .error_text = store_dup(r->error_text),
            .build = store_dup(r->build),
            .holder = j->row.holder,
            .worker = r->worker,
            .worker_pid = r->worker_pid,
            .started_us = r->started_us,
            .ended_us = r->ended_us,
        };
}

static void keep_attempt(struct store_job *j, const struct finish_row *r)
{
        if (j->row.n_attempts == j->attempts_capacity) {
                j->attempts_capacity = j->attempts_capacity ? j->attempts_capacity * 2 : 4;
                size_t bytes = j->attempts_capacity * sizeof *j->row.attempts;
                j->row.attempts = realloc(j->row.attempts, bytes);
                assert(j->row.attempts);
        }
        j->row.attempts[j->row.n_attempts++] = attempt_of(j, r);
}

/* Data that no store would keep: the row ends, its neighbours are not touched. */
static struct finish_row storable(const struct finish_row *r)
{
        struct finish_row s = *r;
        if (r->result.n > RESULT_MAX) {
                s.to = STATE_DEAD;
                s.reason = REASON_UNSTORABLE;
                s.error = ERROR_UNSTORABLE;
                s.result = (struct str){0};
        }
        return s;
}

static void store_verdict(struct store *s, struct store_job *j, const struct finish_row *r)
{
        if (r->to != STATE_PENDING) {
                struct attempt_row last = attempt_of(j, r);
                store_set_last(j, &last);
        } else if (planted(PLANT_LOST_PAYLOAD) && j->row.payload.n) {
                j->row.payload.n--;
        }
        if (r->keep_attempt) {
                keep_attempt(j, r);
        }
        j->was_due_us = 0;
        j->row.snoozes = r->snoozes;
        j->row.strikes = r->strikes;
        if (r->started_us) {
                j->row.started_us = r->started_us;
        }
        if (r->to == STATE_COMPLETED) {
                store_put(&j->row.result, r->result);
                store_put(&j->row.result_type, r->result_type);
        }
        if (r->to == STATE_COMPLETED && r->left_work) {
                store_put(&j->checkpoint, (struct str){0});
                j->row.has_progress = false;
                j->row.done = j->row.total = 0;
                j->row.progress_us = 0;
        }
        bool overlapped = r->reason == REASON_OPERATOR && j->row.reason == REASON_OVERLAPPED;
        struct store_move m = {
            .to = r->to,
            .reason = overlapped ? REASON_OVERLAPPED : r->reason,
            .band = BAND_OFFERED,
            .due_us = s->now_us + r->after_us,
            .claim_shown = r->claim,
            .token_shown = r->token,
            .error = r->error,
            .attempt = r->attempt,
        };
        store_set_state(s, j, &m);
        if (state_terminal(r->to) && r->ended_us) {
                j->row.finished_us = r->ended_us;
        }
}

static void finish_one(struct store *s, struct store_job *j, const struct finish_row *row)
{
        struct finish_row r = storable(row);
        store_verdict(s, j, &r);
        if (r.to == STATE_COMPLETED && r.children) {
                store_submit(s, r.children);
                store_outbox_add(s, r.children, NULL, NULL, NULL);
        }
        if (r.reply && r.to != row->to) { /* the truth, and not what could not be kept */
                r.reply->state = r.to;
                r.reply->reason = r.reason;
                r.reply->body = r.reply->content_type = (struct str){0};
        }
        if (r.reply && !planted(PLANT_REPLY_LOST)) {
                store_reply_add(s, r.reply);
        }
}

static bool edges_legal(struct ledger_finish *b)
{
        for (uint32_t i = 0; i < b->n; i++) {
                if (!state_edge(STATE_RUNNING, b->rows[i].to)) {
                        b->base.outcome = LEDGER_REFUSED;
                        snprintf(b->base.note, sizeof b->base.note, "no edge from running to %s",
                                 state_name(b->rows[i].to));
                        return false;
                }
        }
        return true;
}

void store_retire(struct store *s, const struct ledger_finish *b)
{
        for (uint32_t i = 0; i < b->n_retire; i++) {
                struct store_commit *c = store_commit_find(s, &b->retire[i]);
                if (c) {
                        store_commit_delete(s, c);
                }
        }
}

void store_apply_finish(struct store *s, struct ledger_finish *b)
{
        if (!edges_legal(b)) {
                return;
        }
        b->stale = 0;
        for (uint32_t i = 0; i < b->n; i++) {
                struct finish_row *r = &b->rows[i];
                struct store_job *j = store_find(s, &r->id);
                r->stale = !fence_holds(j, r);
                b->stale += r->stale;
                if (!r->stale) {
                        finish_one(s, j, r);
                        s->op = LEDGER_FINISH;
                }
        }
        store_retire(s, b);
}

static void cancel_waiting(struct store *s, struct store_job *j, enum job_reason why)
{
        struct store_move m = {STATE_CANCELLED, why, .attempt = j->row.attempt};
        bool keep = planted(PLANT_CANCEL_FORGOTTEN) && j->row.state == STATE_PENDING;
        int64_t lane = j->lane;
        store_set_state(s, j, &m);
        if (keep) {
                store_index_add(&j->queue->lanes, lane, j);
        }
}

bool store_cancel(struct store *s, struct store_job *j, enum job_reason why)
{
        if (j->row.state != STATE_RUNNING) {
                cancel_waiting(s, j, why);
                return true;
        }
        bool fresh = !j->row.cancel_asked;
        if (fresh) {
                j->cancel_fresh = true;
                j->cancel_told = 0;
        }
        j->row.cancel_asked = true;
        j->row.reason = fresh && why == REASON_OVERLAPPED ? why : j->row.reason;
        return false;
}

void store_apply_cancel(struct store *s, struct ledger_cancel *b)
{
        struct store_job *j = store_find(s, &b->id);
        if (!j) {
                b->result = CANCEL_NOT_FOUND;
                return;
        }
        b->state = j->row.state;
        b->holder = 0;
        if (state_terminal(j->row.state)) {
                b->result = CANCEL_TERMINAL;
        } else if (store_cancel(s, j, REASON_OPERATOR)) {
                b->result = CANCEL_DONE;
        } else {
                b->holder = j->row.holder;
                b->result = CANCEL_ASKED;
        }
}

void store_requeue(struct store *s, struct store_job *j, bool anew)
{
        struct store_move m = {STATE_PENDING, REASON_REQUEUED, BAND_OFFERED,
                               .attempt = anew ? 0 : j->row.attempt};
        j->was_due_us = 0;
        if (anew) {
                j->row.generation++;
                j->row.strikes = 0;
                j->row.snoozes = 0;
                j->row.cancel_asked = false;
                j->cancel_fresh = false;
                j->row.finished_us = 0;
                j->row.deadline_us = 0;
                j->row.retry_until_us = 0;
        }
        store_set_state(s, j, &m);
}

void store_apply_requeue(struct store *s, struct ledger_requeue *b)
{
        struct store_job *j = store_find(s, &b->id);
        if (!j) {
                b->result = REQUEUE_NOT_FOUND;
                return;
        }
        b->state = j->row.state;
        switch (j->row.state) {
        case STATE_DEAD:
        case STATE_CANCELLED:
                store_requeue(s, j, true);
                b->result = REQUEUE_DONE;
                break;
        case STATE_SCHEDULED:
        case STATE_RETRYING:
                store_requeue(s, j, false);
                b->result = REQUEUE_NOW;
                break;
        case STATE_PENDING: b->result = REQUEUE_UNCHANGED; break;
        default: b->result = REQUEUE_REFUSED; break;
        }
}

void store_apply_due(struct store *s, struct ledger_due *b)
{
        int64_t until = s->now_us + (planted(PLANT_DUE_EARLY) ? 300000 : 0);
        b->moved = 0;
        while (s->due.n && s->due.list[0].at <= until && b->moved < b->limit) {
                struct store_job *j = s->due.list[0].job;
                struct store_move m = {STATE_PENDING, REASON_NONE, BAND_OFFERED,
                                       .attempt = j->row.attempt};
                j->was_due_us = j->row.due_us;
                store_set_state(s, j, &m);
                if (planted(PLANT_DUE_TWICE)) {
                        store_index_add(&j->queue->lanes, j->lane, j);
                }
                b->moved++;
        }
        b->next_us = -1;
        if (s->due.n) {
                b->next_us = s->due.list[0].at > s->now_us ? s->due.list[0].at - s->now_us : 0;
        }
}

static void unpark_queue(struct store *s, struct ledger_unpark *b, struct store_queue *q)
{
        int64_t first, last;
        lane_range(BAND_PARKED, &first, &last);
        uint32_t i = store_index_from(&q->lanes, first);
        for (; i < q->lanes.n && b->moved < b->limit; i++) { /* a row that moves goes before i */
                struct store_job *j = q->lanes.list[i].job;
                if (j->row.reason != REASON_NO_HANDLER || roster_find(b->roster, j->row.type) < 0) {
                        continue;
                }
                struct store_move m = {STATE_PENDING, REASON_NONE, BAND_OFFERED,
                                       .attempt = j->row.attempt};
                store_set_state(s, j, &m);
                b->moved++;
        }
}

void store_apply_unpark(struct store *s, struct ledger_unpark *b)
{
        b->moved = 0;
        for (struct store_queue *q = s->queues; q; q = q->next) {
                unpark_queue(s, b, q);
        }
}
