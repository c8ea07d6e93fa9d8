/*
 * What to claim, and when.
 *
 * A node claims what its workers will start within about 250 ms: the mean service time of the
 * queue's jobs decides how many that are, from one a worker (slow or unknown) to thousands (fast).
 * Under load small claims starve the machine, so after a large one the next waits for room for
 * 2,000 jobs or 20 ms, or, among queues that take turns (share.c), for its turn.
 * Never more than 8,000 claimed and unfinished, nor of payloads more than 12 MiB and what the
 * workers run: memory is bounded whatever they are and however long their ends cannot be written.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

#define CLAIM_BYTES_MAX (8u << 20) /* in one claim */

int queue_find(const struct engine *e, struct str name)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                if (str_eq(e->queues[i].name, name)) {
                        return (int)i;
                }
        }
        return -1;
}

static int queue_add(struct engine *e, struct str name)
{
        struct queue_books *grown = realloc(e->queues, (e->n_queues + 1) * sizeof *grown);
        if (!grown) {
                return -1;
        }
        e->queues = grown;
        struct str copy;
        if (!engine_copy(name, &copy)) {
                return -1;
        }
        e->queues[e->n_queues] =
            (struct queue_books){.name = copy, .config = -1, .control = CONTROL_NONE};
        return (int)e->n_queues++;
}

int queue_unrouted(struct engine *e)
{
        int at = queue_find(e, STR(QUEUE_UNROUTED));
        at = at < 0 ? queue_add(e, STR(QUEUE_UNROUTED)) : at;
        if (at >= 0) {
                e->queues[at].gone = true; /* nothing is ever claimed from it */
        }
        return at;
}

static bool queue_transport(struct queue_books *q, struct str name)
{
        if (str_eq(q->transport, name)) {
                return true;
        }
        free((char *)q->transport.p);
        q->transport = (struct str){0};
        q->asked = 0;
        return name.n == 0 || engine_copy(name, &q->transport);
}

/* Queues keep their index for life: jobs in workers name them by it. One that left the
 * configuration claims no more. */
int queues_configure(struct engine *e, const struct config *c)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                e->queues[i].gone = true;
                e->queues[i].config = -1;
        }
        for (uint32_t i = 0; i < c->n_queues; i++) {
                int at = queue_find(e, c->queues[i].name);
                at = at < 0 ? queue_add(e, c->queues[i].name) : at;
                if (at < 0) {
                        return -1;
                }
                struct queue_books *q = &e->queues[at];
                q->gone = false;
                q->config = (int)i;
                q->retry = c->queues[i].retry;
                q->configured_concurrency = c->queues[i].concurrency;
                q->configured_global = c->queues[i].global;
                q->max_waiting = c->queues[i].max_waiting;
                q->drop_oldest = c->queues[i].when_full == FULL_DROP_OLDEST;
                q->timeout_ms = c->queues[i].timeout_ms;
                q->heartbeat_ms = c->queues[i].heartbeat_ms;
                q->by_priority = c->queues[i].order == ORDER_PRIORITY;
                if (!queue_transport(q, c->queues[i].transport)) {
                        return -1;
                }
                queue_apply(e, q);
        }
        return 0;
}

void claim_hint_all(struct engine *e)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                e->queues[i].may_have_work = true;
        }
}

void claim_hint(struct engine *e, struct str queue)
{
        int at = queue_find(e, queue);
        if (at >= 0) {
                e->queues[at].may_have_work = true;
        }
}

/* Where memory is what bounds a claim it waits for room that is worth a commit, unless workers do
 * for it. */
static bool worth_claiming(const struct engine *e, const struct queue_books *q)
{
        return q->ready.n + q->gathered + q->given < workers_able(e) ||
               claim_bytes_left(e) >= CLAIMED_BYTES / 3;
}

static bool could_claim(const struct queue_books *q)
{
        return !q->gone && !q->claiming && q->may_have_work && !q->paused;
}

/* When may this queue claim? Now (<= now), later, or NEVER until an event changes it. */
static int64_t claim_time(const struct engine *e, const struct queue_books *q,
                          const struct tally *t, uint32_t *ret_want)
{
        uint32_t want = could_claim(q) && !takes_turns(q, t) ? share_want(e, q, t) : 0;
        if (want == 0 || !worth_claiming(e, q)) {
                return NEVER;
        }
        *ret_want = want;
        int64_t at = q->not_before_ns;
        int64_t held = want < HOLD_ROWS ? q->answered_ns + hold_ns(q->last_claim) : 0;
        return held > at ? held : at;
}

/* The same of those who take turns: of the one whose turn it is. Who waits for room lets none of
 * them pass; who has enough, or was refused, does. */
static int64_t turn_time(const struct engine *e, const struct tally *t, uint32_t *ret_queue,
                         uint32_t *ret_want)
{
        int64_t at = NEVER;
        bool waits = false;
        for (uint32_t i = 0; t->turns && i < e->n_queues && !waits && at > e->now.mono_ns; i++) {
                uint32_t queue = (e->next_turn + i) % e->n_queues;
                const struct queue_books *q = &e->queues[queue];
                bool later = q->not_before_ns > e->now.mono_ns;
                if (!could_claim(q) || !takes_turns(q, t)) {
                        continue;
                }
                uint32_t want = later ? 0 : turn_want(e, q, t, &waits);
                at = later || want ? engine_min(at, q->not_before_ns) : at;
                *ret_queue = queue;
                *ret_want = want;
        }
        return at;
}

static bool may_claim(const struct engine *e)
{
        return e->registered && e->controls_known && !e->draining && e->roster &&
               e->roster->n > 0 && e->now.mono_ns < e->lease_until_ns && !e->frozen[LANE_CLAIMS];
}

/* One job comes however large it is. */
static uint64_t claim_bytes(const struct engine *e)
{
        uint64_t left = claim_bytes_left(e);
        return left < CLAIM_BYTES_MAX ? left : CLAIM_BYTES_MAX;
}

static bool claim_queue(struct engine *e, struct queue_books *q, uint32_t want)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_CLAIM);
        struct claim *empty = claim_new();
        if (!b || !empty) {
                ledger_batch_free(b);
                claim_free(empty);
                q->not_before_ns = e->now.mono_ns + NS_PER_S;
                return false;
        }
        struct ledger_claim *c = LEDGER_AS(claim, CLAIM, b);
        c->queue = q->name;
        c->roster = roster_ref(e->roster);
        c->want = want;
        c->global = PLANT(global_untold) ? 0 : q->global;
        c->max_bytes = claim_bytes(e);
        c->token = engine_random(e);
        c->got = empty;
        q->claiming = true;
        q->may_have_work = false; /* what is heard of from now on, this claim may not see */
        q->coming = want;
        return post_batch(e, b);
}

/* Those who hold few first: what they take is little, and may have come just now. */
static bool claim_shares(struct engine *e, struct tally *t)
{
        for (uint32_t i = 0; i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[(e->next_queue + i) % e->n_queues];
                uint32_t want = 0;
                if (claim_time(e, q, t, &want) > e->now.mono_ns) {
                        continue;
                }
                if (!claim_queue(e, q, want)) {
                        return false;
                }
                *t = claims_tally(e);
        }
        return true;
}

static bool claim_turns(struct engine *e, struct tally *t)
{
        uint32_t queue = 0, want = 0;
        while (turn_time(e, t, &queue, &want) <= e->now.mono_ns) {
                if (!claim_queue(e, &e->queues[queue], want)) {
                        return false;
                }
                e->next_turn = queue + 1;
                *t = claims_tally(e);
        }
        return true;
}

void claim_pump(struct engine *e)
{
        if (!may_claim(e)) {
                return;
        }
        struct tally t = claims_tally(e);
        if (claim_shares(e, &t) && claim_turns(e, &t)) {
                e->next_queue++;
        }
}

int64_t claim_wake_ns(const struct engine *e)
{
        if (!may_claim(e)) {
                return NEVER;
        }
        struct tally t = claims_tally(e);
        uint32_t queue = 0, want = 0;
        int64_t at = turn_time(e, &t, &queue, &want);
        for (uint32_t i = 0; i < e->n_queues; i++) {
                at = engine_min(at, claim_time(e, &e->queues[i], &t, &want));
        }
        return at;
}

/* A running mean, so that what is asked for next has room. */
static void weigh_jobs(struct engine *e, struct claim *c, uint32_t queue)
{
        struct queue_books *q = &e->queues[queue];
        for (uint32_t i = 0; i < c->n; i++) {
                c->bytes += c->jobs[i].payload.n;
        }
        e->claimed_bytes += c->bytes;
        uint64_t each = c->bytes / c->n;
        q->job_bytes = q->job_bytes < each ? each : q->job_bytes - (q->job_bytes - each) / 8;
}

static void take_jobs(struct engine *e, struct claim *c, uint32_t queue)
{
        weigh_jobs(e, c, queue);
        c->open = c->n;
        c->prev = NULL;
        c->next = e->claims;
        if (c->next) {
                c->next->prev = c;
        }
        e->claims = c;
        e->claimed += c->n;
        for (uint32_t i = 0; i < c->n; i++) {
                struct job *j = &c->jobs[i];
                j->of = c;
                j->queue_index = queue;
                j->handler = -1;
                if (e->draining || !line_push(e, j, false)) {
                        finish_unstarted(e, j);
                }
        }
}

/* Jobs that arrived under this incarnation's name become the engine's; those of an incarnation that
 * was declared dead meanwhile are being rescued by others and are not touched. */
void take_claim(struct engine *e, struct claim **got, struct commit_no no, uint64_t token,
                uint32_t queue)
{
        struct claim *c = STEAL(*got);
        if (!c || c->n == 0 || no.holder != e->holder || !e->registered) {
                claim_free(c);
                return;
        }
        c->no = no;
        c->token = token;
        c->taken_us = e->now.wall_us;
        take_jobs(e, c, queue);
}

static void claim_over(struct engine *e, struct ledger_claim *b, struct queue_books *q)
{
        q->claiming = false;
        q->answered_ns = e->now.mono_ns;
        b->roster = roster_unref((struct roster *)b->roster);
}

void claim_answered(struct engine *e, struct ledger_claim *b)
{
        uint32_t at = (uint32_t)queue_find(e, b->queue);
        struct queue_books *q = &e->queues[at];
        if (b->base.outcome == LEDGER_UNKNOWN) {
                resolve_batch(e, &b->base);
                return;
        }
        claim_over(e, b, q);
        q->may_have_work |= b->base.outcome != LEDGER_COMMITTED;
        q->last_claim = 0;
        if (b->base.outcome == LEDGER_FENCED) {
                fence_node(e, b->base.no.holder);
        } else if (b->base.outcome == LEDGER_REFUSED) {
                q->not_before_ns = e->now.mono_ns + 250 * NS_PER_MS;
        } else {
                q->not_before_ns = 0;
                q->last_claim = b->got->n;
                q->may_have_work |= b->more;
                q->deep = b->more;
                if (b->limited || q->limited) {
                        limit_met(e, q, b->limited);
                }
                uint32_t gone = b->got->n + b->parked + b->expired;
                q->backlog = b->more && q->backlog > gone ? q->backlog - gone : 0;
                e->view.claims++;
                e->dirty = true;
                take_claim(e, &b->got, b->base.no, b->token, at);
        }
        ledger_batch_free(&b->base);
}

/* What a claim took is read back: its commit happened, its answer was lost. */
void recall_claim(struct engine *e, struct commit_no no, uint64_t token, uint32_t queue)
{
        struct ledger_batch *r = ledger_batch_new(LEDGER_RECALL);
        struct claim *empty = r ? claim_new() : NULL;
        if (!empty) {
                ledger_batch_free(r);
                e->out->out_of_memory = true;
                return;
        }
        struct ledger_recall *recall = LEDGER_AS(recall, RECALL, r);
        recall->of = no;
        recall->token = token;
        recall->got = empty;
        r->cookie = (void *)(uintptr_t)queue;
        e->recalling += post_batch(e, r);
}

void claim_resolved(struct engine *e, struct ledger_claim *b, bool happened)
{
        uint32_t at = (uint32_t)queue_find(e, b->queue);
        struct queue_books *q = &e->queues[at];
        if (happened) {
                recall_claim(e, b->base.no, b->token, at);
        } else {
                q->last_claim = 0;
        }
        q->may_have_work = true;
        claim_over(e, b, q);
        ledger_batch_free(&b->base);
}

void recall_answered(struct engine *e, struct ledger_recall *b)
{
        if (b->base.outcome != LEDGER_COMMITTED) {
                post_later(e, &b->base, 200 * NS_PER_MS);
                return;
        }
        e->recalling--;
        take_claim(e, &b->got, b->of, b->token, (uint32_t)(uintptr_t)b->base.cookie);
        ledger_batch_free(&b->base);
}
