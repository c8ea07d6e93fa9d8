/*
 * Deep copies of batches: what was sent to the server lives on when its sender is dead.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/sim_ledger.h"

static struct submission *clone_submission(const struct submission *from)
{
        struct submission *s = submission_new();
        assert(s);
        *s = (struct submission){
            .n = from->n, .atomic = from->atomic, .request_key = from->request_key};
        memcpy(s->request_hash, from->request_hash, sizeof s->request_hash);
        s->rows = arena_zalloc(&s->arena, (from->n + 1) * sizeof *s->rows);
        assert(s->rows);
        for (uint32_t i = 0; i < from->n; i++) {
                struct submit_row *r = &s->rows[i];
                *r = from->rows[i];
                struct str *texts[] = {&r->key_text, &r->queue,   &r->type, &r->content_type,
                                       &r->headers,  &r->payload, &r->tags};
                for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
                        *texts[k] = arena_str(&s->arena, *texts[k]);
                }
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
        }
}

static size_t size_of(enum ledger_op op)
{
        static const size_t sizes[] = {
            [LEDGER_REGISTER] = sizeof(struct ledger_register),
            [LEDGER_BEAT] = sizeof(struct ledger_beat),
            [LEDGER_BURY] = sizeof(struct ledger_bury),
            [LEDGER_SUBMIT] = sizeof(struct ledger_submit),
            [LEDGER_CLAIM] = sizeof(struct ledger_claim),
            [LEDGER_FINISH] = sizeof(struct ledger_finish),
            [LEDGER_CANCEL] = sizeof(struct ledger_cancel),
            [LEDGER_REQUEUE] = sizeof(struct ledger_requeue),
            [LEDGER_DUE] = sizeof(struct ledger_due),
            [LEDGER_UNPARK] = sizeof(struct ledger_unpark),
            [LEDGER_FOLD] = sizeof(struct ledger_fold),
            [LEDGER_RESOLVE] = sizeof(struct ledger_resolve),
        };
        assert(op < ARRAY_LEN(sizes) && sizes[op]);
        return sizes[op];
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
        case LEDGER_SUBMIT: {
                struct ledger_submit *s = LEDGER_AS(submit, SUBMIT, c);
                s->list = clone_list(s->list);
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
        case LEDGER_FINISH: clone_finish(LEDGER_AS(finish, FINISH, c)); break;
        default: break;
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
