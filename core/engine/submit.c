/*
 * Submissions gather while one batch is on its way to the ledger; the next takes all of them (group
 * commit by nature: one job alone is one commit at once). A batch that is full anyway goes at once
 * behind the one before it, so that the ledger never waits for the answer to be looked at. After an
 * unknown commit the same rows are written again: their ids make that harmless. Operators' requests
 * go through one at a time as they come.
 */
#include "core/engine/inner.h"

#include "core/defaults.h"

#include <stdio.h>

#define WAITING_ROWS_MAX 200000
#define SUBMIT_FLIGHT    2 /* full batches at once */

static void refuse(struct engine *e, struct submission *s, const char *note)
{
        if (s->from_inbox) {
                inbox_submitted(e, s, false);
                return;
        }
        s->refused = true;
        snprintf(s->note, sizeof s->note, "%s", note);
        struct engine_action *a = engine_act(e, ACT_ANSWER);
        if (a) {
                a->submission = s;
        } else {
                submission_free(s);
        }
}

/* While a broker cannot be reached its queues are claimed from the ledger, like those without one.
 */
static bool goes_through_broker(const struct engine *e, struct str queue)
{
        int at = queue_find(e, queue);
        const struct queue_books *q = at < 0 ? NULL : &e->queues[at];
        return q && !q->taken_in && queue_up(e, q);
}

/* A type that no handler here serves is parked as it comes, so that it never stands before others
 * in its lane. */
void submit_place(const struct engine *e, struct submission *s, bool ring)
{
        const struct queue_config *q = NULL;
        for (uint32_t i = 0; i < s->n; i++) {
                struct submit_row *row = &s->rows[i];
                if (!q || !str_eq(q->name, row->queue)) {
                        int at = config_queue_named(e->config, row->queue);
                        q = at < 0 ? NULL : &e->config->queues[at];
                }
                row_defaults(e->config, q, row, e->now.wall_us);
                if (row->state != STATE_PENDING || row->band != BAND_OFFERED) {
                        continue;
                }
                if (e->roster && roster_find(e->roster, row->type) < 0) {
                        row->band = BAND_PARKED;
                        row->reason = REASON_NO_HANDLER;
                } else if (ring && goes_through_broker(e, row->queue)) {
                        row->band = BAND_BROKER;
                }
        }
}

void submit_arrived(struct engine *e, struct submission *list)
{
        while (list) {
                struct submission *s = list;
                list = s->next;
                s->next = NULL;
                if (e->draining) {
                        refuse(e, s, "skepd is stopping");
                } else if (!e->registered || !e->ledger_up) {
                        refuse(e, s, "the ledger cannot be reached");
                } else if (e->waiting_rows + s->n > WAITING_ROWS_MAX && e->waiting_rows > 0) {
                        refuse(e, s, "too many submissions wait for the ledger");
                } else {
                        submit_place(e, s, !s->from_inbox);
                        if (!e->waiting) {
                                e->waiting_tail = &e->waiting;
                        }
                        *e->waiting_tail = s;
                        e->waiting_tail = &s->next;
                        e->waiting_rows += s->n;
                }
        }
}

void submit_refuse_all(struct engine *e, const char *note)
{
        struct submission *s = STEAL(e->waiting);
        e->waiting_rows = 0;
        while (s) {
                struct submission *next = s->next;
                s->next = NULL;
                refuse(e, s, note);
                s = next;
        }
}

static void post_gathered(struct engine *e)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_SUBMIT);
        if (!b) {
                submit_refuse_all(e, "out of memory");
                return;
        }
        struct ledger_submit *submit = LEDGER_AS(submit, SUBMIT, b);
        struct submission **tail = &submit->list;
        while (e->waiting && (submit->rows == 0 || submit->rows + e->waiting->n <= SUBMIT_ROWS)) {
                struct submission *s = e->waiting;
                e->waiting = s->next;
                s->next = NULL;
                *tail = s;
                tail = &s->next;
                submit->rows += s->n;
        }
        e->waiting_rows -= submit->rows;
        bounds_tell(e, submit);
        e->submitting += post_batch(e, b);
}

void submit_pump(struct engine *e)
{
        if (!e->submitting && e->waiting && e->registered) {
                post_gathered(e);
        }
        while (e->submitting && e->submitting < SUBMIT_FLIGHT && e->waiting_rows >= SUBMIT_ROWS) {
                uint32_t before = e->submitting;
                post_gathered(e);
                if (e->submitting == before) {
                        return;
                }
        }
}

void submit_hint(struct engine *e, const struct submission *s)
{
        struct str last = {0};
        for (uint32_t i = 0; i < s->n; i++) {
                const struct submit_row *row = &s->rows[i];
                e->view.unique_held += row->result == SUBMIT_HELD;
                if (row->state == STATE_SCHEDULED) {
                        int64_t wait_us =
                            row->after_us > 0 ? row->after_us : row->at_us - e->now.wall_us;
                        wait_us = wait_us < 0 ? 0 : wait_us;
                        e->due_ns = engine_min(e->due_ns, e->now.mono_ns + wait_us * 1000);
                } else if (!str_eq(row->queue, last)) {
                        last = row->queue;
                        claim_hint(e, last);
                }
        }
}

static void answer_list(struct engine *e, struct ledger_submit *b)
{
        struct submission *s = STEAL(b->list);
        while (s) {
                struct submission *next = s->next;
                s->next = NULL;
                if (b->base.outcome == LEDGER_COMMITTED) {
                        submit_hint(e, s);
                }
                if (b->base.outcome == LEDGER_COMMITTED && s->from_inbox) {
                        inbox_submitted(e, s, true);
                } else if (b->base.outcome == LEDGER_COMMITTED) {
                        struct engine_action *a = engine_act(e, ACT_ANSWER);
                        if (a) {
                                a->submission = s;
                        } else {
                                submission_free(s);
                        }
                } else {
                        refuse(e, s, b->base.note);
                }
                s = next;
        }
}

void submit_answered(struct engine *e, struct ledger_submit *b)
{
        if (b->base.outcome == LEDGER_UNKNOWN) {
                resolve_batch(e, &b->base);
                return;
        }
        if (b->base.outcome == LEDGER_FENCED) {
                fence_node(e, b->base.no.holder);
        }
        if (b->base.outcome != LEDGER_COMMITTED && b->base.cookie) {
                post_later(e, &b->base,
                           200 * NS_PER_MS); /* the rows exist: refused would be a lie */
                return;
        }
        e->submitting--;
        e->dirty = true;
        if (b->base.outcome == LEDGER_COMMITTED) {
                ring_outbox(e, b->outbox, b->n_outbox);
        }
        answer_list(e, b);
        ledger_batch_free(&b->base);
}

static bool has_bound(const struct ledger_submit *b, struct str queue)
{
        uint32_t i = 0;
        while (i < b->n_bounds && !str_eq(b->bounds[i].queue, queue)) {
                i++;
        }
        return i < b->n_bounds;
}

/* May other jobs have kept it out then, by a unique key or by being too many? A row that is not
 * there may never have been, then. To insert it could run it twice, not to could lose one of which
 * its producer is told that it exists. */
static bool may_be_left_out(const struct ledger_submit *b, const struct submission *s)
{
        bool may = false;
        for (uint32_t i = 0; i < s->n && !may; i++) {
                may = s->rows[i].unique.set || has_bound(b, s->rows[i].queue);
        }
        return may;
}

/* Letters of the inbox need no such word: they go with the commit that writes their rows. */
static void tell_happened(struct ledger_submit *b)
{
        for (struct submission *s = b->list; s; s = s->next) {
                s->happened |= !s->from_inbox && !may_be_left_out(b, s) && !PLANT(happened_untold);
        }
}

/* The commit's fate is known, its answers are not: the same rows again. Those that are there say so
 * by their id. */
void submit_repeat(struct engine *e, struct ledger_submit *b, bool happened, bool maybe)
{
        if (happened) {
                tell_happened(b);
        }
        if (happened || maybe) {
                b->base.cookie = b; /* its rows may be there: to be repeated until it is answered */
        }
        if (!post_batch(e, &b->base)) {
                e->submitting--;
        }
}

/* --- operators -------------------------------------------------------------------------------- */

void operator_arrived(struct engine *e, enum ledger_op op, const struct job_id *id, void *cookie)
{
        struct ledger_batch *b = ledger_batch_new(op);
        if (!b) {
                e->out->out_of_memory = true;
                return;
        }
        b->cookie = cookie;
        if (op == LEDGER_CANCEL) {
                LEDGER_AS(cancel, CANCEL, b)->id = *id;
        } else {
                LEDGER_AS(requeue, REQUEUE, b)->id = *id;
        }
        post_batch(e, b);
}

static void answer_operator(struct engine *e, struct ledger_batch *b)
{
        struct engine_action *a =
            engine_act(e, b->op == LEDGER_CANCEL ? ACT_CANCEL_ANSWER : ACT_REQUEUE_ANSWER);
        if (!a) {
                ledger_batch_free(b);
                return;
        }
        a->batch = b;
        a->cookie = b->cookie;
}

bool operator_knows(struct engine *e, struct ledger_batch *b)
{
        if (b->outcome == LEDGER_UNKNOWN) {
                resolve_batch(e, b);
                return false;
        }
        if (b->outcome == LEDGER_FENCED) {
                fence_node(e, b->no.holder);
                b->outcome = LEDGER_REFUSED;
                snprintf(b->note, sizeof b->note, "this node was declared dead; it registers anew");
        }
        return true;
}

void operator_answered(struct engine *e, struct ledger_batch *b)
{
        if (!operator_knows(e, b)) {
                return;
        }
        if (b->outcome == LEDGER_COMMITTED) {
                e->dirty = true;
                if (b->op == LEDGER_CANCEL) {
                        const struct ledger_cancel *c = LEDGER_AS(cancel, CANCEL, b);
                        if (c->result == CANCEL_ASKED && c->holder == e->holder) {
                                worker_cancel(e, &c->id);
                        }
                } else {
                        claim_hint_all(e);
                }
        }
        answer_operator(e, b);
}

/* Repeating the request tells what is so now; only if it had happened does "already so" mean that
 * it was done by it. */
void operator_resolved(struct engine *e, struct ledger_batch *b, bool happened)
{
        if (!happened) {
                post_batch(e, b);
                return;
        }
        b->outcome = LEDGER_COMMITTED;
        if (b->op == LEDGER_CANCEL) {
                struct ledger_cancel *c = LEDGER_AS(cancel, CANCEL, b);
                c->result = CANCEL_ASKED; /* the weaker promise: its row is cancelled, or remembers
                                             the request */
                c->holder = e->holder;
        } else {
                LEDGER_AS(requeue, REQUEUE, b)->result = REQUEUE_UNCHANGED;
        }
        operator_answered(e, b);
}
