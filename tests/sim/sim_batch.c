/*
 * Deep copies of batches: what was sent to the server lives on when its sender is dead.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/sim_ledger.h"

static void clone_row(struct arena *a, struct submit_row *r)
{
        struct str *texts[] = {&r->key_text,     &r->queue,      &r->type,
                               &r->content_type, &r->headers,    &r->payload,
                               &r->tags,         &r->error_text, &r->policy};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = arena_str(a, *texts[i]);
        }
}

static struct submission *clone_submission(const struct submission *from)
{
        struct submission *s = submission_new();
        assert(s);
        *s = (struct submission){.n = from->n,
                                 .atomic = from->atomic,
                                 .request_key = from->request_key,
                                 .happened = from->happened};
        memcpy(s->request_hash, from->request_hash, sizeof s->request_hash);
        s->rows = arena_zalloc(&s->arena, (from->n + 1) * sizeof *s->rows);
        assert(s->rows);
        for (uint32_t i = 0; i < from->n; i++) {
                s->rows[i] = from->rows[i];
                clone_row(&s->arena, &s->rows[i]);
        }
        return s;
}

static struct submission *clone_list(const struct submission *from)
{
        struct submission *head = NULL, **tail = &head;
        for (; from; from = from->next) {
                *tail = clone_submission(from);
                tail = &(*tail)->next;
        }
        return head;
}

static struct job_reply *clone_reply(struct arena *a, const struct job_reply *from)
{
        struct job_reply *r = from ? arena_alloc(a, sizeof *r) : NULL;
        assert(r || !from);
        if (r) {
                *r = *from;
                struct str *texts[] = {&r->queue,        &r->to,   &r->correlation_id,
                                       &r->content_type, &r->body, &r->error_text};
                for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                        *texts[i] = arena_str(a, *texts[i]);
                }
        }
        return r;
}

static void free_list(struct submission *s)
{
        while (s) {
                struct submission *next = s->next;
                submission_free(s);
                s = next;
        }
}

static void clone_finish(struct ledger_finish *f)
{
        struct arena *a = &f->base.arena;
        const struct finish_row *rows = f->rows;
        const struct commit_no *retire = f->retire;
        f->ended = NULL; /* the poster's */
        f->rows = arena_zalloc(a, (f->n + 1) * sizeof *f->rows);
        f->retire = arena_zalloc(a, (f->n_retire + 1) * sizeof *f->retire);
        assert(f->rows && f->retire);
        for (uint32_t i = 0; i < f->n_retire; i++) {
                f->retire[i] = retire[i];
        }
        for (uint32_t i = 0; i < f->n; i++) {
                struct finish_row *r = &f->rows[i];
                *r = rows[i];
                struct str *texts[] = {&r->error_text, &r->build, &r->result, &r->result_type};
                for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
                        *texts[k] = arena_str(a, *texts[k]);
                }
                r->children = clone_list(r->children);
                r->reply = clone_reply(a, r->reply);
        }
}

/* The receipts stay the transport's; the copies point at them so that watchers know what came. */
static struct arrivals *clone_arrivals(const struct arrivals *from)
{
        struct arrivals *head = NULL, **tail = &head;
        for (; from; from = from->next) {
                struct arrivals *a = arrivals_new(from->n);
                assert(a);
                a->n = from->n;
                a->bytes = from->bytes;
                a->queue = from->queue;
                a->receipt = from->receipt;
                a->connection = from->connection;
                for (uint32_t i = 0; i < from->n; i++) {
                        a->items[i] = from->items[i];
                        clone_row(&a->arena, &a->items[i].row);
                }
                *tail = a;
                tail = &a->next;
        }
        return head;
}

static void free_arrivals(struct arrivals *a)
{
        while (a) {
                struct arrivals *next = a->next;
                arrivals_free(a);
                a = next;
        }
}

static struct commit_no *clone_numbers(struct arena *a, const struct commit_no *from, uint32_t n)
{
        struct commit_no *to = arena_alloc(a, (n + 1) * sizeof *to);
        assert(to);
        for (uint32_t i = 0; i < n; i++) {
                to[i] = from[i];
        }
        return to;
}

static void clone_arrive(struct ledger_arrive *b)
{
        struct arena *a = &b->base.arena;
        b->queue = arena_str(a, b->queue);
        b->list = clone_arrivals(b->list);
        b->got = claim_new();
        b->acknowledged = clone_numbers(a, b->acknowledged, b->n_acknowledged);
        b->lost = clone_numbers(a, b->lost, b->n_lost);
        assert(b->got);
}

static int64_t *clone_places(struct arena *a, const int64_t *from, uint32_t n)
{
        int64_t *to = arena_alloc(a, (n + 1) * sizeof *to);
        assert(to);
        if (n) {
                memcpy(to, from, n * sizeof *to);
        }
        return to;
}

static void clone_rung(struct ledger_rung *b)
{
        b->rows = clone_places(&b->base.arena, b->rows, b->n);
        b->replies = clone_places(&b->base.arena, b->replies, b->n_replies);
}

static void clone_submit(struct ledger_submit *b)
{
        struct arena *a = &b->base.arena;
        struct queue_bound *bounds = arena_alloc(a, (b->n_bounds + 1) * sizeof *bounds);
        assert(bounds);
        for (uint32_t i = 0; i < b->n_bounds; i++) {
                bounds[i] = b->bounds[i];
                bounds[i].queue = arena_str(a, bounds[i].queue);
        }
        b->bounds = bounds;
        b->list = clone_list(b->list);
}

static void clone_schedule(struct ledger_schedule *b)
{
        struct arena *a = &b->base.arena;
        b->row.name = arena_str(a, b->row.name);
        b->row.spec = arena_str(a, b->row.spec);
        b->row.zone = arena_str(a, b->row.zone);
        clone_row(a, &b->row.job);
}

static void clone_prune(struct ledger_prune *b)
{
        struct arena *a = &b->base.arena;
        struct prune_rule *rules = arena_alloc(a, (b->n_rules + 1) * sizeof *rules);
        assert(rules);
        for (uint32_t i = 0; i < b->n_rules; i++) {
                rules[i] = b->rules[i];
                rules[i].queue = arena_str(a, rules[i].queue);
        }
        b->rules = rules;
}

static void clone_save(struct ledger_save *b)
{
        struct arena *a = &b->base.arena;
        struct save_row *rows = arena_alloc(a, (b->n + 1) * sizeof *rows);
        assert(rows);
        for (uint32_t i = 0; i < b->n; i++) {
                rows[i] = b->rows[i];
                rows[i].checkpoint = arena_str(a, rows[i].checkpoint);
        }
        b->rows = rows;
}

static size_t size_of(enum ledger_op op)
{
        static const size_t sizes[] = {
            [LEDGER_REGISTER] = sizeof(struct ledger_register),
            [LEDGER_BEAT] = sizeof(struct ledger_beat),
            [LEDGER_BURY] = sizeof(struct ledger_bury),
            [LEDGER_SUBMIT] = sizeof(struct ledger_submit),
            [LEDGER_ARRIVE] = sizeof(struct ledger_arrive),
            [LEDGER_RELAY] = sizeof(struct ledger_relay),
            [LEDGER_RUNG] = sizeof(struct ledger_rung),
            [LEDGER_TIDE] = sizeof(struct ledger_tide),
            [LEDGER_CLAIM] = sizeof(struct ledger_claim),
            [LEDGER_FINISH] = sizeof(struct ledger_finish),
            [LEDGER_CANCEL] = sizeof(struct ledger_cancel),
            [LEDGER_REQUEUE] = sizeof(struct ledger_requeue),
            [LEDGER_DUE] = sizeof(struct ledger_due),
            [LEDGER_UNPARK] = sizeof(struct ledger_unpark),
            [LEDGER_FOLD] = sizeof(struct ledger_fold),
            [LEDGER_FLOOR] = sizeof(struct ledger_floor),
            [LEDGER_TICK] = sizeof(struct ledger_tick),
            [LEDGER_PRUNE] = sizeof(struct ledger_prune),
            [LEDGER_CONTROL] = sizeof(struct ledger_control),
            [LEDGER_SCHEDULE] = sizeof(struct ledger_schedule),
            [LEDGER_BULK] = sizeof(struct ledger_bulk),
            [LEDGER_SAVE] = sizeof(struct ledger_save),
            [LEDGER_RESOLVE] = sizeof(struct ledger_resolve),
        };
        assert(op < ARRAY_LEN(sizes) && sizes[op]);
        return sizes[op];
}

/* Of the operators' batches and the schedules'. */
static void clone_operate(struct ledger_batch *c, struct arena *a)
{
        switch (c->op) {
        case LEDGER_TICK: {
                struct ledger_tick *t = LEDGER_AS(tick, TICK, c);
                t->name = arena_str(a, t->name);
                t->jobs = clone_list(t->jobs);
                break;
        }
        case LEDGER_CONTROL: {
                struct ledger_control *k = LEDGER_AS(control, CONTROL, c);
                k->control.queue = arena_str(a, k->control.queue);
                break;
        }
        case LEDGER_BULK: {
                struct job_filter *f = &LEDGER_AS(bulk, BULK, c)->filter;
                f->type = arena_str(a, f->type);
                f->queue = arena_str(a, f->queue);
                f->tag = arena_str(a, f->tag);
                break;
        }
        case LEDGER_SCHEDULE: clone_schedule(LEDGER_AS(schedule, SCHEDULE, c)); break;
        case LEDGER_PRUNE: clone_prune(LEDGER_AS(prune, PRUNE, c)); break;
        case LEDGER_SAVE: clone_save(LEDGER_AS(save, SAVE, c)); break;
        default: break;
        }
}

static void clone_inner(struct ledger_batch *c, struct arena *a)
{
        switch (c->op) {
        case LEDGER_REGISTER: {
                struct ledger_register *r = LEDGER_AS(register, REGISTER, c);
                r->host = arena_str(a, r->host);
                r->version = arena_str(a, r->version);
                break;
        }
        case LEDGER_BEAT: {
                struct ledger_beat *b = LEDGER_AS(beat, BEAT, c);
                b->serves = arena_str(a, b->serves);
                b->queues = arena_str(a, b->queues);
                break;
        }
        case LEDGER_CLAIM: {
                struct ledger_claim *k = LEDGER_AS(claim, CLAIM, c);
                k->queue = arena_str(a, k->queue);
                k->roster = roster_ref((struct roster *)k->roster);
                k->got = claim_new();
                assert(k->got);
                break;
        }
        case LEDGER_UNPARK: {
                struct ledger_unpark *u = LEDGER_AS(unpark, UNPARK, c);
                u->roster = roster_ref((struct roster *)u->roster);
                break;
        }
        case LEDGER_TIDE: {
                struct ledger_tide *t = LEDGER_AS(tide, TIDE, c);
                t->queue = arena_str(a, t->queue);
                break;
        }
        case LEDGER_FLOOR: {
                struct ledger_floor *f = LEDGER_AS(floor, FLOOR, c);
                f->history = arena_str(a, f->history);
                break;
        }
        case LEDGER_SUBMIT: clone_submit(LEDGER_AS(submit, SUBMIT, c)); break;
        case LEDGER_ARRIVE: clone_arrive(LEDGER_AS(arrive, ARRIVE, c)); break;
        case LEDGER_RUNG: clone_rung(LEDGER_AS(rung, RUNG, c)); break;
        case LEDGER_FINISH: clone_finish(LEDGER_AS(finish, FINISH, c)); break;
        default: clone_operate(c, a); break;
        }
}

struct ledger_batch *sim_batch_clone(const struct ledger_batch *b)
{
        struct ledger_batch *c = ledger_batch_new(b->op);
        assert(c);
        memcpy(c, b, size_of(b->op));
        c->arena = (struct arena){0};
        c->next = NULL;
        c->cookie = NULL;
        clone_inner(c, &c->arena);
        return c;
}

static void free_submissions(struct ledger_batch *b)
{
        if (b->op == LEDGER_SUBMIT) {
                free_list(LEDGER_AS(submit, SUBMIT, b)->list);
        } else if (b->op == LEDGER_ARRIVE) {
                free_arrivals(LEDGER_AS(arrive, ARRIVE, b)->list);
        }
}

/* What an engine hangs on its batches while they are under way. */
static void free_cookie(struct ledger_batch *b)
{
        if (b->op == LEDGER_RESOLVE) {
                sim_batch_drop(b->cookie);
        }
}

struct ledger_batch *sim_batch_drop(struct ledger_batch *b)
{
        if (!b) {
                return NULL;
        }
        free_cookie(b);
        free_submissions(b);
        if (b->op == LEDGER_CLAIM) {
                roster_unref((struct roster *)LEDGER_AS(claim, CLAIM, b)->roster);
        } else if (b->op == LEDGER_UNPARK) {
                roster_unref((struct roster *)LEDGER_AS(unpark, UNPARK, b)->roster);
        }
        return ledger_batch_free(b);
}
