/*
 * What transports brought becomes rows: ARRIVE and its journal.
 *
 * The journal answers one question: is this redelivered letter, which has no key, one that a batch
 * before it wrote down already? An entry of the batch under way never says so: two equal letters
 * that come together are two.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

#define JOURNAL_KEPT_US (3600 * US_PER_S)

/* What one ARRIVE has done so far. */
struct arriving {
        struct ledger_arrive *b;
        struct store_job **taken; /* running now: doorbells' and letters' */
        uint32_t n_taken;
};

static bool same_commit(const struct commit_no *a, const struct commit_no *b)
{
        return a->holder == b->holder && a->writer == b->writer && a->n == b->n;
}

/* --- the journal -------------------------------------------------------------------------- */

static void write_down(struct store *s, const struct arriving *w, const struct arrival *a)
{
        struct store_line *l = calloc(1, sizeof *l);
        assert(l);
        l->no = w->b->base.no;
        l->queue = store_queue_of(s, w->b->queue, true);
        l->fingerprint = a->fingerprint;
        l->id = a->row.id;
        l->at_us = s->now_us;
        l->next = s->journal;
        s->journal = l;
}

static bool is_named(const struct commit_no *list, uint32_t n, const struct store_line *l)
{
        for (uint32_t i = 0; i < n; i++) {
                if (same_commit(&list[i], &l->no)) {
                        return true;
                }
        }
        return false;
}

/* The entries that this letter may be: of its queue, not of this batch, not told to be forgotten.
 */
static struct store_line *next_line(const struct ledger_arrive *b, const struct arrival *a,
                                    struct store_line *l)
{
        for (; l; l = l->next) {
                bool equal = l->fingerprint == a->fingerprint && str_eq(l->queue->name, b->queue);
                bool own = same_commit(&l->no, &b->base.no) && !planted(PLANT_JOURNAL_TWINS);
                if (equal && !own && !is_named(b->acknowledged, b->n_acknowledged, l)) {
                        return l;
                }
        }
        return NULL;
}

static bool is_over(const struct store *s, const struct ledger_arrive *b,
                    const struct store_line *l)
{
        const struct store_node *n = store_node_of(s, l->no.holder);
        return l->over || !n || n->dead || is_named(b->lost, b->n_lost, l) ||
               planted(PLANT_JOURNAL_HASTY);
}

static bool asks_journal(const struct arrival *a)
{
        return a->kind == ARRIVAL_LETTER && a->redelivered && a->fingerprint &&
               !planted(PLANT_JOURNAL_BLIND);
}

/* Is there a letter whose first delivery may still be acknowledged? */
static bool is_undecided(const struct store *s, const struct ledger_arrive *b)
{
        for (const struct arrivals *l = b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        const struct arrival *a = &l->items[i];
                        bool asks = asks_journal(a) && !store_find(s, &a->row.id);
                        struct store_line *at = asks ? next_line(b, a, s->journal) : NULL;
                        for (; at; at = next_line(b, a, at->next)) {
                                if (!is_over(s, b, at)) {
                                        return true;
                                }
                        }
                }
        }
        return false;
}

/* Is it there already, by the journal? */
static bool is_written_down(struct store *s, struct arriving *w, struct arrival *a)
{
        struct store_line *l = asks_journal(a) ? next_line(w->b, a, s->journal) : NULL;
        if (!l) {
                return false;
        }
        bool twins = next_line(w->b, a, l->next) != NULL;
        w->b->ambiguous += twins;
        if (twins) {
                return false;
        }
        l->no = w->b->base.no;
        l->over = false;
        a->row.existing = l->id;
        return true;
}

static void tell_journal(struct store *s, const struct ledger_arrive *b)
{
        struct store_line **at = &s->journal;
        while (*at) {
                struct store_line *l = *at;
                if (is_named(b->acknowledged, b->n_acknowledged, l)) {
                        *at = l->next;
                        free(l);
                } else {
                        l->over |= is_named(b->lost, b->n_lost, l);
                        at = &l->next;
                }
        }
}

void store_apply_fold(struct store *s, struct ledger_fold *b)
{
        (void)b; /* counters are counted when they are asked for */
        struct store_line **at = &s->journal;
        while (*at) {
                struct store_line *l = *at;
                if (l->at_us < s->now_us - JOURNAL_KEPT_US) {
                        *at = l->next;
                        free(l);
                } else {
                        at = &l->next;
                }
        }
}

/* --- letters and doorbells ---------------------------------------------------------------- */

static void answer(struct arrival *a, enum arrival_result result, const struct store_job *existing)
{
        a->result = result;
        a->row.result = result == ARRIVAL_TAKEN ? SUBMIT_CREATED : SUBMIT_EXISTS;
        a->row.existing = existing ? existing->row.id : a->row.id;
        a->row.existing_state = existing ? existing->row.state : a->row.state;
}

static void insert_conflict(struct store *s, const struct arrival *a, const struct job_id *other)
{
        char name[JOB_ID_TEXT], text[100];
        id_text(other, name);
        snprintf(text, sizeof text, "its key names job %s, which has another payload", name);
        struct submit_row row = a->row;
        row.state = STATE_DEAD;
        row.reason = REASON_ID_CONFLICT;
        row.error_text = str_of(text);
        struct store_key none = {0};
        store_entered(s, store_insert(s, &row, &none, false));
}

static void insert_letter(struct store *s, struct arriving *w, struct arrival *a,
                          struct store_key *key)
{
        bool keyed =
            a->row.key.set && !(planted(PLANT_KNOWN_AGAIN) && store_keyed(s, &a->row, key));
        struct store_job *j = store_insert(s, &a->row, key, keyed);
        a->ref = j->seq;
        if (a->row.state == STATE_RUNNING) {
                j->row.claim = 1;
                j->row.attempt = 1;
                j->token = w->b->token;
                j->row.holder = w->b->base.no.holder;
                j->row.started_us = s->now_us;
                w->taken[w->n_taken++] = j;
        }
        store_unique_take(s, &a->row);
        store_entered(s, j);
        if (a->fingerprint) {
                write_down(s, w, a);
        }
        answer(a, ARRIVAL_TAKEN, NULL);
        bool waits = a->row.state == STATE_PENDING || a->row.state == STATE_SCHEDULED;
        bool over = waits && w->b->drop_above && store_waiting(j->queue) > w->b->drop_above;
        struct store_job *oldest = over ? store_oldest(j->queue, j) : NULL;
        if (oldest) {
                store_cancel(s, oldest, REASON_DROPPED);
        }
}

/* A row of its own, cancelled, that names the holder of its unique key. */
static void insert_duplicate(struct store *s, struct arriving *w, struct arrival *a,
                             const struct store_unique *x, const struct store_key *key)
{
        char name[JOB_ID_TEXT], text[100];
        id_text(&x->holder, name);
        snprintf(text, sizeof text, "its unique key is held by job %s", name);
        struct store_job *holder = store_find(s, &x->holder);
        struct submit_row row = a->row;
        row.state = STATE_CANCELLED;
        row.reason = REASON_DUPLICATE;
        row.error_text = str_of(text);
        store_entered(s, store_insert(s, &row, key, a->row.key.set));
        if (a->row.unique.replace && store_replaceable(holder)) {
                store_replace(s, holder, &a->row);
        }
        if (a->fingerprint) {
                write_down(s, w, a);
        }
        answer(a, ARRIVAL_DUPLICATE, holder);
        a->row.existing = x->holder;
        a->row.existing_state = holder ? holder->row.state : STATE_NONE;
}

/* Who keeps it from being a job of its own; NULL: nobody. */
static const struct store_unique *holder_of(const struct store *s, const struct arrival *a)
{
        const struct store_unique *x = store_unique_of(s, &a->row.unique);
        return x && a->row.state != STATE_DEAD && store_unique_blocks(s, x) ? x : NULL;
}

/* A dead row of its own, which says what was wrong. other: the job that has its key. */
static void bury_letter(struct store *s, struct arriving *w, struct arrival *a,
                        const struct job_id *other)
{
        if (other) {
                insert_conflict(s, a, other);
                answer(a, ARRIVAL_CONFLICT, store_find(s, other));
                a->row.existing = *other;
        } else {
                store_insert_unstorable(s, &a->row);
                store_entered(s, store_find(s, &a->row.id));
                answer(a, ARRIVAL_UNSTORABLE, NULL);
        }
        if (a->fingerprint) {
                write_down(s, w, a);
        }
}

/* What has its key. */
struct bearer {
        struct job_id id;
        const struct store_job *job; /* NULL: it was pruned */
        bool there, same;
};

static struct bearer bearer_of(struct store *s, const struct arrival *a, struct store_key *ret_key)
{
        const struct store_job *j = store_keyed(s, &a->row, ret_key);
        const struct store_gone *gone = a->row.key.set && !j ? store_gone_of(s, ret_key) : NULL;
        struct bearer b = {.job = j, .there = j || gone};
        if (j) {
                b.id = j->row.id;
                b.same = store_came_with(j, a->row.payload);
        } else if (gone) {
                b.id = gone->id;
                b.same = store_gone_same(gone, a->row.payload);
        }
        if (planted(PLANT_KNOWN_AGAIN) && b.same) {
                b = (struct bearer){0};
        }
        return b;
}

static void take_letter(struct store *s, struct arriving *w, struct arrival *a)
{
        const struct store_job *there = store_find(s, &a->row.id);
        bool storable = store_storable(&a->row);
        struct store_key key;
        struct bearer named = {0};
        if (storable) {
                named = bearer_of(s, a, &key);
        }
        const struct store_unique *held = storable ? holder_of(s, a) : NULL;
        if (there || named.same) {
                answer(a, ARRIVAL_KNOWN, there ? there : named.job);
                a->row.existing = there ? there->row.id : named.id;
        } else if (is_written_down(s, w, a)) {
                struct job_id first = a->row.existing;
                answer(a, ARRIVAL_KNOWN, store_find(s, &first));
                a->row.existing = first;
        } else if (named.there || !storable) {
                bury_letter(s, w, a, named.there ? &named.id : NULL);
        } else if (held) {
                insert_duplicate(s, w, a, held, &key);
        } else {
                insert_letter(s, w, a, &key);
        }
        w->b->known += a->result == ARRIVAL_KNOWN;
        w->b->conflicts += a->result == ARRIVAL_CONFLICT;
        w->b->unstorable += a->result == ARRIVAL_UNSTORABLE;
}

/* Does this row wait for its doorbell? */
static bool waits_for_bell(const struct ledger_arrive *b, const struct store_job *j)
{
        bool here = j && (str_eq(j->row.queue, b->queue) || planted(PLANT_FOREIGN_BELL));
        return here && j->row.state == STATE_PENDING && j->row.band == BAND_BROKER;
}

/* Planted: a doorbell without its job makes one. */
static void invent_job(struct store *s, const struct arriving *w, const struct arrival *a)
{
        struct store_key none = {0};
        struct submit_row row = {.id = a->row.id,
                                 .queue = w->b->queue,
                                 .type = STR("work.a"),
                                 .state = STATE_PENDING,
                                 .max_attempts = 1};
        store_entered(s, store_insert(s, &row, &none, false));
}

static void take_bell(struct store *s, struct arriving *w, struct arrival *a)
{
        struct store_job *j = store_find(s, &a->row.id);
        if (!waits_for_bell(w->b, j)) {
                if (!j && planted(PLANT_BELL_CREATES)) {
                        invent_job(s, w, a);
                }
                answer(a, ARRIVAL_KNOWN, j);
                w->b->known++;
                return;
        }
        if (j->row.deadline_us && j->row.deadline_us <= s->now_us) {
                store_expire(s, j);
                answer(a, ARRIVAL_KNOWN, j);
                w->b->known++;
                return;
        }
        if (a->start) {
                store_take(s, &w->b->base, w->b->token, j);
                w->taken[w->n_taken++] = j;
                store_fill_job(&w->b->got->arena, j, &w->b->got->jobs[w->b->got->n++]);
        } else {
                struct store_move m = {STATE_PENDING, REASON_NONE, BAND_OFFERED,
                                       .attempt = j->row.attempt};
                store_set_state(s, j, &m);
        }
        answer(a, ARRIVAL_TAKEN, j);
}

static uint32_t count_items(const struct arrivals *l)
{
        uint32_t n = 0;
        for (; l; l = l->next) {
                n += l->n;
        }
        return n;
}

static void take_all(struct store *s, struct arriving *w)
{
        for (struct arrivals *l = w->b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        struct arrival *a = &l->items[i];
                        if (a->kind == ARRIVAL_LETTER) {
                                take_letter(s, w, a);
                        } else if (a->kind == ARRIVAL_DOORBELL) {
                                take_bell(s, w, a);
                        }
                }
        }
}

void store_apply_arrive(struct store *s, struct ledger_arrive *b)
{
        b->undecided = is_undecided(s, b);
        if (b->undecided) {
                store_refuse(&b->base, "the fate of an earlier delivery is not known yet");
                return;
        }
        uint32_t n = count_items(b->list);
        struct claim *got = b->got;
        struct arriving w = {.b = b, .taken = calloc(n + 1, sizeof(struct store_job *))};
        got->jobs = arena_zalloc(&got->arena, (n + 1) * sizeof *got->jobs);
        assert(w.taken && got->jobs);
        b->known = b->conflicts = b->unstorable = b->ambiguous = 0;
        got->n = 0;
        got->no = b->base.no;
        got->token = b->token;
        tell_journal(s, b);
        take_all(s, &w);
        got->open = got->n;
        if (w.n_taken && b->base.no.n) {
                store_record(s, &b->base, b->token, w.taken, w.n_taken);
        }
        free(w.taken);
}
