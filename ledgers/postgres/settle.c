/*
 * What becomes of a batch: handed back with its outcome, or sent once more.
 *
 * An error is always the server's word that the whole transaction is rolled back, so REFUSED is
 * true. Only a connection that breaks leaves a batch UNKNOWN (lane.c).
 */
#include "ledgers/postgres/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TRIES_MAX 6

/* --- hand back -------------------------------------------------------------------------------- */

static void refuse_submissions(struct ledger_batch *b)
{
        for (struct submission *s = LEDGER_AS(submit, SUBMIT, b)->list; s; s = s->next) {
                s->refused = true;
                snprintf(s->note, sizeof s->note, "%s", b->note);
        }
}

/* What was read before the transaction was rolled back. */
static void forget_claim(struct ledger_batch *b)
{
        struct claim *c = b->op == LEDGER_CLAIM    ? LEDGER_AS(claim, CLAIM, b)->got
                          : b->op == LEDGER_ARRIVE ? LEDGER_AS(arrive, ARRIVE, b)->got
                                                   : NULL;
        if (c) {
                c->n = c->open = 0;
        }
}

/* A number that is unknown holds all after it until it is resolved. */
static void keep_trim(struct pg_ledger *l, const struct ledger_batch *b,
                      enum ledger_outcome outcome)
{
        struct trim *t = &l->lanes[ledger_op_lane(b->op)].trim;
        if (t->holder != b->no.holder) {
                *t = (struct trim){.holder = b->no.holder};
        }
        if (outcome == LEDGER_UNKNOWN) {
                t->held_first = t->held_first ? t->held_first : b->no.n;
                t->held_last = b->no.n > t->held_last ? b->no.n : t->held_last;
        }
        if (outcome == LEDGER_COMMITTED) {
                t->known = b->no.n > t->known ? b->no.n : t->known;
        } else {
                t->upto = 0; /* what was to be deleted may not be */
        }
}

void work_settle(struct pg_ledger *l, struct work *w, enum ledger_outcome outcome, const char *note)
{
        struct ledger_batch *b = w->b;
        if (b) {
                b->outcome = outcome;
                snprintf(b->note, sizeof b->note, "%s", note ? note : "");
                if (ledger_op_numbered(b->op)) {
                        keep_trim(l, b, outcome);
                }
                if (outcome == LEDGER_REFUSED && b->op == LEDGER_SUBMIT) {
                        refuse_submissions(b);
                }
                if (outcome != LEDGER_COMMITTED) {
                        forget_claim(b);
                }
                b->next = NULL;
                *l->done_tail = b;
                l->done_tail = &b->next;
        } else {
                l->notifying = false;
        }
        free(w);
}

void work_refuse(struct pg_ledger *l, struct work *w, const char *note)
{
        work_settle(l, w, LEDGER_REFUSED, note);
}

/* --- judge ------------------------------------------------------------------------------------ */

static bool is(const struct work *w, const char *state)
{
        return strncmp(w->state, state, strlen(state)) == 0;
}

/* The row's own data, or its key: found with care. */
static bool at_fault_is_a_row(const struct work *w)
{
        return is(w, "22") || is(w, "23") || is(w, "54");
}

static bool try_again(struct work *w)
{
        if (is(w, "SK002")) {
                return true; /* not its own fault, and not counted */
        }
        if (w->op->can_care && !w->careful && at_fault_is_a_row(w)) {
                w->careful = true;
                return true;
        }
        if (is(w, "SK005") && !w->slow) {
                w->slow = true;
                return true;
        }
        if (is(w, "SK006") && !w->stale) {
                w->stale = true;
                return true;
        }
        return (is(w, "40P01") || is(w, "40001")) && ++w->tries < TRIES_MAX;
}

/* A server that became read-only, or a session that lost its statements, is left. */
static bool session_is_useless(const struct work *w)
{
        return is(w, "25006") || is(w, "26000") || is(w, "0A000") || is(w, "42P01") ||
               is(w, "42883") || is(w, "3F000");
}

static enum fate end_failed(struct lane *n, struct work *w)
{
        struct pg_ledger *l = n->l;
        l->old_keys |= is(w, "SK005");
        char note[NOTE_SIZE];
        bool unique = is(w, "23505");
        if (is(w, "SK001")) {
                work_settle(l, w, LEDGER_FENCED, w->note);
        } else if (is(w, "SK004")) {
                LEDGER_AS(arrive, ARRIVE, w->b)->undecided = true;
                work_refuse(l, w, w->note);
        } else if (unique && strcmp(w->constraint, "commits_pkey") == 0) {
                work_refuse(l, w, "commit number taken");
        } else if (unique && strcmp(w->constraint, "nodes_pkey") == 0) {
                work_refuse(l, w, "this incarnation is registered already; draw a new one");
        } else if (try_again(w)) {
                return FATE_AGAIN;
        } else {
                snprintf(note, sizeof note, "%.60s: %.80s (%s)", l->url.place, w->note, w->state);
                if (session_is_useless(w)) {
                        snprintf(l->note, sizeof l->note, "%s", note);
                        n->drop = true;
                }
                work_refuse(l, w, note);
        }
        return FATE_SETTLED;
}

enum fate work_end(struct lane *n, struct work *w)
{
        struct pg_ledger *l = n->l;
        if (w->failed) {
                return end_failed(n, w);
        }
        if (!w->error && w->op->end) {
                w->error = w->op->end(n, w);
        }
        if (w->error) { /* committed, but the answer could not be read */
                bool write = w->b && ledger_op_numbered(w->b->op);
                work_settle(l, w, write ? LEDGER_UNKNOWN : LEDGER_REFUSED,
                            "no memory for the ledger's answer");
        } else if (w->written) {
                work_settle(l, w, LEDGER_UNKNOWN, "made unknown by a test after the commit");
        } else {
                work_settle(l, w, LEDGER_COMMITTED, NULL);
        }
        return FATE_SETTLED;
}
