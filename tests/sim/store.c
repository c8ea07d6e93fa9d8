/*
 * The tables themselves: indexes, rows, commits, and the one function that changes a state. Every
 * edge is checked here against core's table, so that a wrong engine meets the same wall as with a
 * real ledger.
 */
#include "tests/sim/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plant.h"

#define NUMBERS_KEPT 64

uint32_t store_index_from(const struct store_index *x, int64_t at)
{
        uint32_t lo = 0, hi = x->n;
        while (lo < hi) {
                uint32_t mid = lo + (hi - lo) / 2;
                if (x->list[mid].at < at) {
                        lo = mid + 1;
                } else {
                        hi = mid;
                }
        }
        return lo;
}

static uint32_t find_entry(const struct store_index *x, int64_t at, int64_t seq)
{
        uint32_t i = store_index_from(x, at);
        while (i < x->n && x->list[i].at == at && x->list[i].seq < seq) {
                i++;
        }
        return i;
}

void store_index_add(struct store_index *x, int64_t at, struct store_job *j)
{
        if (x->n == x->capacity) {
                x->capacity = x->capacity ? x->capacity * 2 : 64;
                x->list = realloc(x->list, x->capacity * sizeof *x->list);
                assert(x->list);
        }
        uint32_t i = find_entry(x, at, j->seq);
        memmove(x->list + i + 1, x->list + i, (x->n - i) * sizeof *x->list);
        x->list[i] = (struct store_entry){at, j->seq, j};
        x->n++;
}

void store_index_remove(struct store_index *x, int64_t at, const struct store_job *j)
{
        uint32_t i = find_entry(x, at, j->seq);
        if (i < x->n && x->list[i].job == j) {
                x->n--;
                memmove(x->list + i, x->list + i + 1, (x->n - i) * sizeof *x->list);
        }
}

struct str store_dup(struct str s)
{
        char *p = malloc((size_t)s.n + 1);
        assert(p);
        if (s.n) {
                memcpy(p, s.p, s.n);
        }
        p[s.n] = 0;
        return (struct str){p, s.n};
}

static void free_str(struct str *s)
{
        free((char *)s->p);
        *s = (struct str){0};
}

void store_put(struct str *at, struct str by)
{
        struct str copy = store_dup(by);
        free_str(at);
        *at = copy;
}

void store_set_last(struct store_job *j, const struct attempt_row *last)
{
        free_str(&j->row.last.error_text);
        free_str(&j->row.last.build);
        j->row.last = *last;
}

struct store_queue *store_queue_of(struct store *s, struct str name, bool create)
{
        struct store_queue **at = &s->queues;
        while (*at && !str_eq((*at)->name, name)) {
                at = &(*at)->next;
        }
        if (!*at && create) {
                *at = calloc(1, sizeof **at);
                assert(*at);
                (*at)->name = store_dup(name);
        }
        return *at;
}

struct store_job *store_find(const struct store *s, const struct job_id *id)
{
        struct store_job *j;
        HASH_FIND(hh, s->jobs, id->b, sizeof id->b, j);
        return j;
}

static void tell(struct store *s, const struct store_change *c)
{
        if (s->on_change) {
                s->on_change(s->watcher, c);
        }
}

static struct store_change change_of(const struct store *s, const struct store_job *j)
{
        return (struct store_change){
            .job = j,
            .op = s->op,
            .from = j->row.state,
            .claim_before = j->row.claim,
            .token_before = j->token,
            .holder_before = j->row.holder,
            .attempt_before = j->row.attempt,
            .due_before = j->row.due_us,
        };
}

void store_entered(struct store *s, struct store_job *j)
{
        struct store_change c = change_of(s, j);
        c.from = STATE_NONE;
        if (state_terminal(j->row.state)) {
                store_reply_owe(s, j);
        }
        tell(s, &c);
}

void store_detach(struct store *s, struct store_job *j)
{
        if (j->row.state == STATE_PENDING) {
                store_index_remove(&j->queue->lanes, j->lane, j);
        } else if (j->row.state == STATE_SCHEDULED || j->row.state == STATE_RETRYING) {
                store_index_remove(&s->due, j->row.due_us, j);
        }
}

static void attach(struct store *s, struct store_job *j)
{
        if (j->row.state == STATE_PENDING) {
                j->lane = j->row.band == BAND_PARKED
                              ? lane_parked(j->row.type, j->seq)
                              : lane_value(j->row.band, j->row.priority, j->seq);
                store_index_add(&j->queue->lanes, j->lane, j);
        } else if (j->row.state == STATE_SCHEDULED || j->row.state == STATE_RETRYING) {
                store_index_add(&s->due, j->row.due_us, j);
        }
}

bool store_allows(enum job_state from, enum job_state to, bool generation_raised)
{
        return state_edge(from, to) && (!state_edge_by_operator(from, to) || generation_raised);
}

static void give_state(struct store_job *j, const struct store_move *m)
{
        bool waits = m->to == STATE_SCHEDULED || m->to == STATE_RETRYING;
        j->queue->counts[j->row.state]--;
        j->queue->counts[m->to]++;
        j->row.state = m->to;
        j->row.reason = m->reason;
        j->row.band = m->band;
        j->row.due_us = waits ? m->due_us : 0;
        j->row.attempt = m->attempt;
}

/* A parked row that is offered again stays pending, one whose time was replaced scheduled: that is
 * no edge. */
void store_set_state(struct store *s, struct store_job *j, const struct store_move *m)
{
        struct store_change c = change_of(s, j);
        bool same = j->row.state == m->to && !state_terminal(m->to) && m->to != STATE_RUNNING;
        assert(same || state_edge(j->row.state, m->to) || planted(PLANT_DUE_TWICE) ||
               planted(PLANT_CANCEL_FORGOTTEN) || planted(PLANT_FOREIGN_VERDICT) ||
               planted(PLANT_RESCUE_UNFENCED));
        c.claim_shown = m->claim_shown;
        c.token_shown = m->token_shown;
        c.error = m->error;
        enum lane_band band = j->row.band;
        store_detach(s, j);
        give_state(j, m);
        if (state_terminal(m->to)) {
                j->row.finished_us = s->now_us;
                if (c.from != STATE_RUNNING) {
                        store_reply_owe(s, j);
                }
        }
        if (m->to != STATE_RUNNING) {
                j->row.holder = 0;
        }
        attach(s, j);
        if (!same) {
                tell(s, &c);
        } else if (s->on_offer && m->to == STATE_PENDING && band != m->band) {
                s->on_offer(s->watcher, j, s->op, band);
        }
}

void store_delete(struct store *s, struct store_job *j)
{
        store_detach(s, j);
        j->queue->counts[j->row.state]--;
        HASH_DELETE(hh, s->jobs, j);
        if (j->keyed) {
                HASH_DELETE(hh_key, s->keys, j);
        }
        struct str *texts[] = {
            &j->row.type, &j->row.key_text, &j->row.content_type, &j->row.headers, &j->row.payload,
            &j->row.tags, &j->row.result,   &j->row.result_type,  &j->row.policy,  &j->checkpoint};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                free_str(texts[i]);
        }
        for (uint32_t i = 0; i < j->row.n_attempts; i++) {
                free_str(&j->row.attempts[i].error_text);
                free_str(&j->row.attempts[i].build);
        }
        free_str(&j->row.last.error_text);
        free_str(&j->row.last.build);
        free(j->row.attempts);
        free(j);
}

static struct commit_no packed(const struct commit_no *no)
{
        struct commit_no key;
        memset(&key, 0, sizeof key); /* the hash reads its padding too */
        key.holder = no->holder;
        key.writer = no->writer;
        key.n = no->n;
        return key;
}

struct store_commit *store_commit_find(const struct store *s, const struct commit_no *no)
{
        struct commit_no key = packed(no);
        struct store_commit *c;
        HASH_FIND(hh, s->commits, &key, sizeof key, c);
        return c;
}

bool store_has_commit(const struct store *s, const struct commit_no *no)
{
        return store_commit_find(s, no) != NULL;
}

struct store_commit *store_commit_add(struct store *s, const struct commit_no *no)
{
        struct store_commit *c = calloc(1, sizeof *c);
        assert(c);
        c->no = packed(no);
        HASH_ADD(hh, s->commits, no, sizeof c->no, c);
        return c;
}

void store_commit_delete(struct store *s, struct store_commit *c)
{
        HASH_DELETE(hh, s->commits, c);
        free(c->jobs);
        free(c);
}

static bool comes_too_late(const struct store *s, const struct ledger_batch *b)
{
        bool of_the_living = b->op == LEDGER_SUBMIT || b->op == LEDGER_ARRIVE ||
                             b->op == LEDGER_CANCEL || b->op == LEDGER_REQUEUE;
        return of_the_living && store_fenced(s, b->no.holder);
}

static void apply_op(struct store *s, struct ledger_batch *b)
{
        if (comes_too_late(s, b)) {
                b->outcome = LEDGER_FENCED;
                return;
        }
        switch (b->op) {
        case LEDGER_REGISTER: store_apply_register(s, LEDGER_AS(register, REGISTER, b)); break;
        case LEDGER_BEAT: store_apply_beat(s, LEDGER_AS(beat, BEAT, b)); break;
        case LEDGER_BURY: store_apply_bury(s, LEDGER_AS(bury, BURY, b)); break;
        case LEDGER_SUBMIT: store_apply_submit(s, LEDGER_AS(submit, SUBMIT, b)); break;
        case LEDGER_ARRIVE: store_apply_arrive(s, LEDGER_AS(arrive, ARRIVE, b)); break;
        case LEDGER_CLAIM: store_apply_claim(s, LEDGER_AS(claim, CLAIM, b)); break;
        case LEDGER_FINISH: store_apply_finish(s, LEDGER_AS(finish, FINISH, b)); break;
        case LEDGER_CANCEL: store_apply_cancel(s, LEDGER_AS(cancel, CANCEL, b)); break;
        case LEDGER_REQUEUE: store_apply_requeue(s, LEDGER_AS(requeue, REQUEUE, b)); break;
        case LEDGER_DUE: store_apply_due(s, LEDGER_AS(due, DUE, b)); break;
        case LEDGER_UNPARK: store_apply_unpark(s, LEDGER_AS(unpark, UNPARK, b)); break;
        case LEDGER_FOLD: store_apply_fold(s, LEDGER_AS(fold, FOLD, b)); break;
        case LEDGER_RELAY: store_apply_relay(s, LEDGER_AS(relay, RELAY, b)); break;
        case LEDGER_RUNG: store_apply_rung(s, LEDGER_AS(rung, RUNG, b)); break;
        case LEDGER_TIDE: store_apply_tide(s, LEDGER_AS(tide, TIDE, b)); break;
        case LEDGER_FLOOR: store_apply_floor(s, LEDGER_AS(floor, FLOOR, b)); break;
        case LEDGER_TICK: store_apply_tick(s, LEDGER_AS(tick, TICK, b)); break;
        case LEDGER_PRUNE: store_apply_prune(s, LEDGER_AS(prune, PRUNE, b)); break;
        case LEDGER_CONTROL: store_apply_control(s, LEDGER_AS(control, CONTROL, b)); break;
        case LEDGER_SCHEDULE: store_apply_schedule(s, LEDGER_AS(schedule, SCHEDULE, b)); break;
        case LEDGER_BULK: store_apply_bulk(s, LEDGER_AS(bulk, BULK, b)); break;
        case LEDGER_SAVE: store_apply_save(s, LEDGER_AS(save, SAVE, b)); break;
        case LEDGER_RESOLVE: store_apply_resolve(s, LEDGER_AS(resolve, RESOLVE, b)); break;
        case LEDGER_RECALL: store_apply_recall(s, LEDGER_AS(recall, RECALL, b)); break;
        case LEDGER_INBOX: store_apply_inbox(s, LEDGER_AS(inbox, INBOX, b)); break;
        case LEDGER_HELD: store_apply_held(s, LEDGER_AS(held, HELD, b)); break;
        case LEDGER_SHOW: store_apply_show(s, LEDGER_AS(show, SHOW, b)); break;
        case LEDGER_LIST: store_apply_list(s, LEDGER_AS(list, LIST, b)); break;
        case LEDGER_STATS: store_apply_stats(s, LEDGER_AS(stats, STATS, b)); break;
        case LEDGER_SCHEDULES: store_apply_schedules(s, LEDGER_AS(schedules, SCHEDULES, b)); break;
        case LEDGER_GROUPS: store_apply_groups(s, LEDGER_AS(groups, GROUPS, b)); break;
        case LEDGER_NODES: store_apply_nodes(s, LEDGER_AS(nodes, NODES, b)); break;
        }
}

static void refuse_submissions(struct ledger_batch *b)
{
        struct submission *sub = b->op == LEDGER_SUBMIT ? LEDGER_AS(submit, SUBMIT, b)->list : NULL;
        for (; sub; sub = sub->next) {
                sub->refused = true;
                snprintf(sub->note, sizeof sub->note, "%s", b->note);
        }
}

void store_refuse(struct ledger_batch *b, const char *note)
{
        b->outcome = LEDGER_REFUSED;
        snprintf(b->note, sizeof b->note, "%s", note);
        refuse_submissions(b);
}

/* Old numbers that nobody will ask for go; what keeps a late transaction out stays. */
static void trim_numbers(struct store *s, const struct commit_no *no)
{
        struct commit_no old = *no;
        old.n = no->n > NUMBERS_KEPT ? no->n - NUMBERS_KEPT : 0;
        struct store_commit *c = old.n ? store_commit_find(s, &old) : NULL;
        if (c && !c->jobs && !c->voided) {
                store_commit_delete(s, c);
        }
}

/* A node that leaves takes its last number with it. */
static bool has_left(struct ledger_batch *b)
{
        const struct ledger_bury *bury = b->op == LEDGER_BURY ? LEDGER_AS(bury, BURY, b) : NULL;
        return bury && bury->forget && bury->done && bury->victim == b->no.holder;
}

void store_apply(struct store *s, struct ledger_batch *b)
{
        bool numbered = ledger_op_numbered(b->op) && b->no.n != 0;
        b->outcome = LEDGER_COMMITTED;
        b->note[0] = 0;
        if (numbered && store_has_commit(s, &b->no)) {
                store_refuse(b, "this transaction number is taken");
                return;
        }
        s->op = b->op;
        apply_op(s, b);
        if (b->outcome != LEDGER_COMMITTED) {
                return;
        }
        if (numbered && !has_left(b) && !store_has_commit(s, &b->no)) {
                store_commit_add(s, &b->no);
        }
        if (numbered) {
                trim_numbers(s, &b->no);
        }
        s->writes += ledger_op_numbered(b->op) && b->op != LEDGER_BEAT;
}

static void free_nodes(struct store *s)
{
        struct store_node *n, *next;
        HASH_ITER (hh, s->nodes, n, next) {
                HASH_DELETE(hh, s->nodes, n);
                free_str(&n->host);
                free_str(&n->version);
                free_str(&n->serves);
                free_str(&n->queues);
                free(n);
        }
}

void store_deinit(struct store *s)
{
        struct store_job *j, *next_job;
        HASH_ITER (hh, s->jobs, j, next_job) {
                store_delete(s, j);
        }
        struct store_commit *c, *next_commit;
        HASH_ITER (hh, s->commits, c, next_commit) {
                store_commit_delete(s, c);
        }
        struct store_request *r, *next_request;
        HASH_ITER (hh, s->requests, r, next_request) {
                HASH_DELETE(hh, s->requests, r);
                free(r->ids);
                free(r);
        }
        free_nodes(s);
        store_outbox_deinit(s);
        store_unique_deinit(s);
        store_schedule_deinit(s);
        store_save_deinit(s);
        while (s->queues) {
                struct store_queue *q = s->queues;
                s->queues = q->next;
                free_str(&q->name);
                free(q->lanes.list);
                free(q);
        }
        free(s->due.list);
        *s = (struct store){0};
}
