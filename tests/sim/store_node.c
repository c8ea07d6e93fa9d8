/*
 * Nodes: their rows, their beats, their burial; and the fate of numbered transactions.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

struct store_node *store_node_of(const struct store *s, uint64_t holder)
{
        struct store_node *n;
        HASH_FIND(hh, s->nodes, &holder, sizeof holder, n);
        return n;
}

bool store_fenced(const struct store *s, uint64_t holder)
{
        const struct store_node *n = store_node_of(s, holder);
        return (!n || n->dead) && !planted(PLANT_DEAD_CLAIMS);
}

void store_apply_register(struct store *s, struct ledger_register *b)
{
        if (store_node_of(s, b->base.no.holder)) {
                b->base.outcome = LEDGER_REFUSED;
                snprintf(b->base.note, sizeof b->base.note, "this holder is registered already");
                return;
        }
        struct store_node *n = calloc(1, sizeof *n);
        assert(n);
        n->holder = b->base.no.holder;
        n->beat = 1;
        n->beat_ns = s->now_ns;
        n->host = store_dup(b->host);
        n->version = store_dup(b->version);
        n->serves = store_dup((struct str){0});
        n->queues = store_dup((struct str){0});
        n->pid = b->pid;
        n->registered_us = n->beat_us = s->now_us;
        HASH_ADD(hh, s->nodes, holder, sizeof n->holder, n);
}

static void list_nodes(const struct store *s, struct ledger_beat *b)
{
        b->n_nodes = 0;
        b->nodes = arena_zalloc(&b->base.arena, (HASH_COUNT(s->nodes) + 1) * sizeof *b->nodes);
        assert(b->nodes);
        struct store_node *n, *next;
        HASH_ITER (hh, s->nodes, n, next) {
                b->nodes[b->n_nodes++] = (struct node_seen){
                    .holder = n->holder,
                    .beat = n->beat,
                    .dead = n->dead,
                    .host = arena_str(&b->base.arena, n->host),
                    .pid = n->pid,
                };
        }
}

/* Is a cancel to be told by this beat? One whose answer may have been lost did not tell it. */
static bool is_untold(const struct store_job *j, const struct ledger_beat *b)
{
        bool known = j->cancel_told && j->cancel_told <= b->known;
        return j->row.state == STATE_RUNNING && j->cancel_fresh &&
               j->row.holder == b->base.no.holder && !known && !planted(PLANT_CANCEL_UNTOLD);
}

/* Cancels asked of this holder's running jobs. Found through its claims, as a real ledger would. */
static void list_cancels(struct store *s, struct ledger_beat *b)
{
        uint32_t capacity = 16;
        b->cancels = arena_alloc(&b->base.arena, capacity * sizeof *b->cancels);
        b->n_cancels = 0;
        assert(b->cancels);
        struct store_commit *c, *next;
        HASH_ITER (hh, s->commits, c, next) {
                for (uint32_t i = 0; c->no.holder == b->base.no.holder && i < c->n; i++) {
                        struct store_job *j = c->jobs[i];
                        bool present = j->token == c->token; /* not an earlier claim of it */
                        if (!present || !is_untold(j, b) || b->n_cancels == capacity) {
                                continue;
                        }
                        j->cancel_told = j->cancel_told ? j->cancel_told : b->base.no.n;
                        b->cancels[b->n_cancels++] = j->row.id;
                }
        }
}

void store_apply_beat(struct store *s, struct ledger_beat *b)
{
        struct store_node *n = store_node_of(s, b->base.no.holder);
        if (!n || n->dead) {
                b->base.outcome = LEDGER_FENCED;
                return;
        }
        bool late = b->base.no.n < n->number; /* nobody reads its answer */
        n->number = late ? n->number : b->base.no.n;
        n->beat++;
        n->beat_ns = s->now_ns;
        n->beat_us = s->now_us;
        if (b->tells && !late) {
                store_put(&n->serves, b->serves);
                store_put(&n->queues, b->queues);
                n->workers = b->workers;
        }
        b->changed = true;
        b->inbox = s->inbox != NULL;
        b->schedules = s->schedules ? s->schedule_no : 0;
        list_nodes(s, b);
        store_list_controls(s, b);
        if (!late) {
                list_cancels(s, b);
        }
}

static bool holds_jobs(const struct store *s, uint64_t victim)
{
        struct store_job *j, *next;
        HASH_ITER (hh, s->jobs, j, next) {
                if (j->row.state == STATE_RUNNING && j->row.holder == victim) {
                        return true;
                }
        }
        return false;
}

static void forget(struct store *s, struct store_node *n, uint64_t victim)
{
        struct store_commit *c, *next;
        HASH_ITER (hh, s->commits, c, next) {
                if (c->no.holder == victim && !c->voided) { /* those still keep late ones out */
                        store_commit_delete(s, c);
                }
        }
        if (n) {
                HASH_DELETE(hh, s->nodes, n);
                struct str *texts[] = {&n->host, &n->version, &n->serves, &n->queues};
                for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                        free((char *)texts[i]->p);
                }
                free(n);
        }
}

/* A victim without a row is as dead as can be: nothing of it can commit. */
void store_apply_bury(struct store *s, struct ledger_bury *b)
{
        struct store_node *n = store_node_of(s, b->victim);
        if (b->forget) {
                b->done = (!n || n->dead) && !holds_jobs(s, b->victim);
                if (b->done) {
                        forget(s, n, b->victim);
                }
                return;
        }
        b->done = !n || n->dead || b->any_beat || n->beat == b->seen_beat;
        if (b->done && n) {
                n->dead = true;
        }
}

/* A resolved number is remembered as void, so that it may be asked for any number of times. */
void store_apply_resolve(struct store *s, struct ledger_resolve *b)
{
        struct store_commit *c = store_commit_find(s, &b->of);
        b->happened = c && (!c->voided || planted(PLANT_RESOLVE_OWN));
        b->forgotten = !b->happened && !store_node_of(s, b->of.holder);
        if (!c) {
                store_commit_add(s, &b->of)->voided = true;
        }
}

static int compare_nodes(const void *a, const void *b)
{
        const struct node_row *x = a, *y = b;
        return x->registered_us != y->registered_us
                   ? (x->registered_us > y->registered_us) - (x->registered_us < y->registered_us)
                   : (x->holder > y->holder) - (x->holder < y->holder);
}

void store_apply_nodes(struct store *s, struct ledger_nodes *b)
{
        struct arena *a = &b->base.arena;
        b->n = 0;
        b->rows = arena_zalloc(a, (HASH_COUNT(s->nodes) + 1) * sizeof *b->rows);
        assert(b->rows);
        struct store_node *n, *next;
        HASH_ITER (hh, s->nodes, n, next) {
                b->rows[b->n++] = (struct node_row){
                    .holder = n->holder,
                    .host = arena_str(a, n->host),
                    .version = arena_str(a, n->version),
                    .serves = arena_str(a, n->serves),
                    .queues = arena_str(a, n->queues),
                    .pid = n->pid,
                    .workers = n->workers,
                    .dead = n->dead,
                    .registered_us = n->registered_us,
                    .beat_us = n->beat_us,
                };
        }
        qsort(b->rows, b->n, sizeof *b->rows, compare_nodes);
}
