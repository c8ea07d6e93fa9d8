/*
 * What transports brought: letters and doorbells become jobs here.
 *
 * Arrivals of a queue gather while its last batch is on its way to the ledger; the next answers all
 * of them in one write: what workers will soon start is claimed by it, the rest waits in the ledger
 * from then on. Only after the commit are they acknowledged. While the ledger does not answer, they
 * wait here, unacknowledged; those whose connection goes away meanwhile come again and are dropped.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

#include "core/defaults.h"

#define REFUSED_WAIT   (100 * NS_PER_MS)
#define REFUSED_TOLD   (30 * NS_PER_S)
#define UNDECIDED_WAIT (250 * NS_PER_MS)
#define ARRIVE_MAX     2000              /* arrivals answered in one write, */
#define ARRIVE_BYTES   (3u << 20)        /* of so many bytes of payloads, or in one batch */
#define ROOM_WAIT      (100 * NS_PER_MS) /* while workers are busy, for room to start all */

static void receipt_out(struct engine *e, enum engine_action_kind kind, struct arrivals *a)
{
        struct engine_action *act = a->receipt ? engine_act(e, kind) : NULL;
        if (act) {
                act->receipt = STEAL(a->receipt);
        }
}

/* They stay unacknowledged and come again. */
static void drop_arrivals(struct engine *e, struct arrivals *a /* takes */)
{
        receipt_out(e, ACT_DROP, a);
        arrivals_free(a);
}

void arrive_came(struct engine *e, struct arrivals *list)
{
        while (list) {
                struct arrivals *a = list;
                list = a->next;
                a->next = NULL;
                int at = a->queue == TRANSPORT_UNROUTED ? queue_unrouted(e) : (int)a->queue;
                if (e->leaving || at < 0) {
                        drop_arrivals(e, a);
                        continue;
                }
                struct queue_books *q = &e->queues[at];
                if (!q->arrived) {
                        q->arrived_tail = &q->arrived;
                }
                a->came_ns = e->now.mono_ns;
                *q->arrived_tail = a;
                q->arrived_tail = &a->next;
                q->n_arrived += a->n;
                q->empty = 0;
        }
}

void arrive_drop(struct engine *e, struct queue_books *q, uint64_t connection)
{
        struct arrivals **at = &q->arrived;
        while (*at) {
                struct arrivals *a = *at;
                if (connection && a->connection != connection) {
                        at = &a->next;
                        continue;
                }
                *at = a->next;
                q->n_arrived -= a->n;
                drop_arrivals(e, a);
        }
        q->arrived_tail = at;
}

/* --- what each becomes ------------------------------------------------------------------------ */

/* A letter that no queue was bound for may have a queue all the same: its binding came later. */
static bool route_letter(const struct engine *e, const struct queue_books *q,
                         struct submit_row *row)
{
        struct str from = row->queue;
        int at = q->config;
        bool takes = true;
        row->queue = q->name;
        if (str_eq(q->name, STR(QUEUE_UNROUTED))) {
                at = config_queue_for(e->config, row->type);
                takes = at >= 0 && e->config->queues[at].n_types > 0;
                row->queue = takes ? e->config->queues[at].name : q->name;
                unique_key_move(&row->unique, from, row->queue);
        }
        row_defaults(e->config, at < 0 ? NULL : &e->config->queues[at], row, e->now.wall_us);
        return takes;
}

static void park_letter(struct submit_row *row, enum job_reason reason)
{
        row->state = STATE_PENDING;
        row->band = BAND_PARKED;
        row->reason = reason;
}

/* A batch that was refused is placed again: what stood in it from the last time must not count. */
static void place_letter(struct engine *e, struct queue_books *q, struct arrival *a, bool may_start)
{
        static const struct job_id none;
        struct submit_row *row = &a->row;
        if (job_id_eq(&row->id, &none)) {
                row->id = id_mint(&e->mint, e->now.wall_us);
        }
        if (row->state == STATE_RUNNING) {
                row->state = STATE_PENDING;
        }
        if (!route_letter(e, q, row) && row->state != STATE_DEAD) {
                park_letter(row, REASON_NO_QUEUE); /* its time does not matter then */
        } else if (row->state != STATE_PENDING) {
                return;
        } else if (e->roster && roster_find(e->roster, row->type) < 0) {
                park_letter(row, REASON_NO_HANDLER);
        } else {
                row->band = BAND_OFFERED;
                row->reason = REASON_NONE;
                a->start = may_start;
                row->state = may_start ? STATE_RUNNING : STATE_PENDING;
        }
}

static void place(struct engine *e, struct queue_books *q, struct arrivals *list, uint32_t room)
{
        q->starting = 0;
        for (; list; list = list->next) {
                for (uint32_t i = 0; i < list->n; i++) {
                        struct arrival *a = &list->items[i];
                        bool may_start = q->starting < room;
                        a->start = false;
                        if (a->kind == ARRIVAL_LETTER) {
                                place_letter(e, q, a, may_start);
                        } else if (a->kind == ARRIVAL_DOORBELL) {
                                a->start = may_start;
                        }
                        q->starting += a->start;
                }
        }
}

static uint32_t room_of(const struct engine *e, const struct queue_books *q)
{
        bool may = !e->draining && e->roster && e->roster->n && !q->taken_in && !q->gone &&
                   !q->paused && e->now.mono_ns < e->lease_until_ns;
        return may ? queue_want(e, q) : 0;
}

/* --- posting ---------------------------------------------------------------------------------- */

/* Transports do not mix what came again with what is new. */
static bool came_again(const struct arrivals *a)
{
        return a->n && a->items[0].redelivered;
}

static bool goes_with(const struct engine *e, const struct ledger_arrive *b,
                      const struct arrivals *a)
{
        if (a->not_before_ns > e->now.mono_ns) {
                return false;
        }
        if (!b->list) { /* what may have to wait for news of the journal does not hold them up */
                return !came_again(a) || journal_wake_ns(e) == NEVER;
        }
        return b->list->connection == a->connection && came_again(b->list) == came_again(a);
}

/* A letter that cannot start is written once more before it does. So while workers have enough to
 * do, and nothing of the queue waits elsewhere, only so many are taken as can start at once; and so
 * it is while memory is what bounds them. */
static bool room_is_worth_waiting_for(const struct engine *e, const struct queue_books *q)
{
        bool tight = e->claimed_bytes && claim_bytes_left(e) < CLAIMED_BYTES / 2;
        return (tight || (q->ready.n > 0 && !q->backlog)) && !q->taken_in && !q->paused;
}

static uint32_t arrive_most(const struct engine *e, const struct queue_books *q)
{
        uint32_t room = room_is_worth_waiting_for(e, q) ? room_of(e, q) : 0;
        return room && room < ARRIVE_MAX ? room : ARRIVE_MAX;
}

/* Of one connection, since the journal is kept by batch. What waits for its fate is passed over;
 * but for that nothing overtakes: the tide would take it for lost. */
static void take_arrived(struct engine *e, struct queue_books *q, struct ledger_arrive *b)
{
        struct arrivals **tail = &b->list, **at = &q->arrived;
        uint32_t most = arrive_most(e, q);
        uint64_t bytes = 0;
        bool full = false;
        while (*at) {
                struct arrivals *a = *at;
                full |= b->n && (b->n + a->n > most || bytes + a->bytes > ARRIVE_BYTES);
                if (full || !goes_with(e, b, a)) {
                        at = &a->next;
                        continue;
                }
                *at = a->next;
                a->next = NULL;
                *tail = a;
                tail = &a->next;
                b->n += a->n;
                bytes += a->bytes;
        }
        q->n_arrived -= b->n;
        q->arrived_tail = at;
}

static void post_arrive(struct engine *e, struct queue_books *q)
{
        struct ledger_batch *batch = ledger_batch_new(LEDGER_ARRIVE);
        struct claim *empty = claim_new();
        if (!batch || !empty) {
                ledger_batch_free(batch);
                claim_free(empty);
                q->arrive_after_ns = e->now.mono_ns + NS_PER_S;
                return;
        }
        struct ledger_arrive *b = LEDGER_AS(arrive, ARRIVE, batch);
        if (!e->draining) {
                take_arrived(e, q, b);
        }
        place(e, q, b->list, room_of(e, q));
        journal_tell(e, b);
        b->queue = q->name;
        b->drop_above = q->drop_oldest ? q->max_waiting : 0;
        b->token = engine_random(e);
        b->got = empty;
        q->arriving = b;
        q->arriving_lost = false;
        if (!post_batch(e, batch)) {
                q->arriving = NULL;
        }
}

static int64_t arrive_time(const struct engine *e, const struct queue_books *q)
{
        if (q->arriving || !q->arrived || q->n_arrived == 0 || e->draining) {
                return q->arriving || q != e->queues ? NEVER : journal_wake_ns(e);
        }
        int64_t ready = NEVER;
        for (const struct arrivals *a = q->arrived; a; a = a->next) {
                ready = engine_min(ready, a->not_before_ns);
        }
        bool more = q->n_arrived < HOLD_ROWS;
        int64_t held = more ? q->arrived->came_ns + hold_ns(q->last_arrive) : 0;
        if (room_is_worth_waiting_for(e, q) && room_of(e, q) < q->arrived->n) {
                held = q->arrived->came_ns + ROOM_WAIT;
        }
        held = q->arrive_after_ns > held ? q->arrive_after_ns : held;
        return ready > held ? ready : held;
}

static bool may_arrive(const struct engine *e)
{
        return e->registered && !e->leaving && !e->frozen[LANE_CLAIMS];
}

void arrive_pump(struct engine *e)
{
        for (uint32_t i = 0; may_arrive(e) && i < e->n_queues; i++) {
                struct queue_books *q = &e->queues[i];
                if (arrive_time(e, q) <= e->now.mono_ns) {
                        post_arrive(e, q);
                }
        }
}

int64_t arrive_wake_ns(const struct engine *e)
{
        int64_t at = NEVER;
        for (uint32_t i = 0; may_arrive(e) && i < e->n_queues; i++) {
                at = engine_min(at, arrive_time(e, &e->queues[i]));
        }
        return at;
}

/* --- the answer ------------------------------------------------------------------------------- */

static void letter_job(const struct arrival *a, uint64_t token, int64_t now_us, struct job *ret)
{
        const struct submit_row *row = &a->row;
        *ret = (struct job){
            .id = row->id,
            .ref = a->ref,
            .claim = 1,
            .token = token,
            .attempt = 1,
            .max_attempts = row->max_attempts,
            .priority = row->priority,
            .timeout_ms = row->timeout_ms,
            .heartbeat_ms = row->heartbeat_ms,
            .created_us = now_us,
            .deadline_us = row->deadline_us,
            .retry_until_us = row->retry_until_us,
            .policy = row->policy,
            .queue = row->queue,
            .type = row->type,
            .content_type = row->content_type,
            .headers = row->headers,
            .payload = row->payload,
        };
}

static bool started(const struct arrival *a)
{
        return a->kind == ARRIVAL_LETTER && a->start && a->result == ARRIVAL_TAKEN;
}

static uint32_t count_started(const struct arrivals *list)
{
        uint32_t n = 0;
        for (; list; list = list->next) {
                for (uint32_t i = 0; i < list->n; i++) {
                        n += started(&list->items[i]);
                }
        }
        return n;
}

/* The letters' jobs join those of the doorbells; the claim keeps the batches that hold their texts,
 * but not their items, which are more than the texts of small letters. No memory: they are rescued
 * later. */
static void join_letters(struct engine *e, struct ledger_arrive *b, struct claim *c)
{
        uint32_t letters = count_started(b->list);
        if (letters == 0) {
                return;
        }
        struct job *jobs = arena_alloc(&c->arena, (c->n + letters) * sizeof *jobs);
        if (!jobs) {
                e->out->out_of_memory = true;
                return;
        }
        if (c->n) {
                memcpy(jobs, c->jobs, c->n * sizeof *jobs);
        }
        for (struct arrivals *l = b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        if (started(&l->items[i])) {
                                letter_job(&l->items[i], b->token, e->now.wall_us, &jobs[c->n++]);
                        }
                }
                arrivals_drop_items(l);
        }
        c->jobs = jobs;
        c->letters = STEAL(b->list);
}

static void hint_due(struct engine *e, const struct submit_row *row)
{
        int64_t us = row->after_us > 0 ? row->after_us : row->at_us - e->now.wall_us;
        e->due_ns = engine_min(e->due_ns, e->now.mono_ns + (us < 0 ? 0 : us) * 1000);
}

/* The holder of its unique key may wait for its time, or for a claim, now. */
static void hint_duplicate(struct engine *e, const struct submit_row *row)
{
        e->view.unique_held++;
        if (row->unique.replace && row->state == STATE_SCHEDULED) {
                hint_due(e, row);
        } else if (row->unique.replace) {
                claim_hint(e, row->queue);
        }
}

static void hint_letter(struct engine *e, struct queue_books *q, const struct arrival *a)
{
        const struct submit_row *row = &a->row;
        e->view.letters++;
        e->view.letters_known += a->result == ARRIVAL_KNOWN;
        if (a->result == ARRIVAL_DUPLICATE) {
                hint_duplicate(e, row);
        }
        if (a->result != ARRIVAL_TAKEN || a->start) {
                return;
        }
        if (row->state == STATE_SCHEDULED) {
                hint_due(e, row);
        } else if (row->state == STATE_PENDING && row->band == BAND_OFFERED) {
                claim_hint(e, row->queue);
                q->backlog++;
        } else if (row->state == STATE_PENDING) {
                q->parked++;
        }
        bound_counted(e, q);
}

static void note_bell(struct engine *e, struct queue_books *q, const struct arrival *a)
{
        q->tide_seq = a->seq > q->tide_seq ? a->seq : q->tide_seq;
        if (a->kind == ARRIVAL_MARK) {
                return;
        }
        e->view.bells++;
        e->view.bells_known += a->result == ARRIVAL_KNOWN;
        if (a->result == ARRIVAL_TAKEN && !a->start) {
                q->may_have_work = true;
                q->backlog++;
        }
}

static bool has_journal(const struct arrivals *list)
{
        for (; list; list = list->next) {
                for (uint32_t i = 0; i < list->n; i++) {
                        if (list->items[i].fingerprint) {
                                return true;
                        }
                }
        }
        return false;
}

/* The commit made them redundant. */
static void settle_list(struct engine *e, struct ledger_arrive *b, const struct queue_books *q)
{
        struct journal_entry entry = {.no = b->base.no,
                                      .connection = b->list ? b->list->connection : 0,
                                      .fate = q->arriving_lost ? FATE_LOST : FATE_OPEN};
        bool journalled = has_journal(b->list);
        for (struct arrivals *l = b->list; l; l = l->next) {
                if (l->receipt) {
                        l->receipt->journalled = journalled;
                        l->receipt->no = b->base.no;
                        entry.receipts++;
                }
                receipt_out(e, ACT_SETTLE, l);
        }
        if (journalled) {
                journal_add(e, &entry);
        }
}

static void arrive_committed(struct engine *e, struct ledger_arrive *b, struct queue_books *q,
                             uint32_t at)
{
        for (struct arrivals *l = b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        if (l->items[i].kind == ARRIVAL_LETTER) {
                                hint_letter(e, q, &l->items[i]);
                        } else {
                                note_bell(e, q, &l->items[i]);
                        }
                }
        }
        settle_list(e, b, q);
        q->last_arrive = b->n;
        q->idle_arrivals = b->n && !b->got->n && !count_started(b->list) && !q->backlog;
        e->dirty = true;
        e->view.claims++;
        join_letters(e, b, b->got);
        take_claim(e, &b->got, b->base.no, b->token, at);
        arrivals_free_list(STEAL(b->list));
        ledger_batch_free(&b->base);
}

/* Nothing of it was written: the arrivals stand first in line again. */
static void arrive_again(struct engine *e, struct ledger_arrive *b, struct queue_books *q,
                         int64_t delay_ns)
{
        struct arrivals *last = b->list;
        for (; last && last->next; last = last->next) {}
        while (q->arriving_lost && b->list &&
               !PLANT(journal_open)) { /* they come again over another connection */
                struct arrivals *a = b->list;
                b->list = a->next;
                b->n -= a->n;
                drop_arrivals(e, a);
                last = NULL;
        }
        if (last) {
                if (!q->arrived) {
                        q->arrived_tail = &last->next;
                }
                for (struct arrivals *a = b->list; a; a = a->next) {
                        a->not_before_ns = e->now.mono_ns + delay_ns;
                }
                last->next = q->arrived;
                q->arrived = STEAL(b->list);
                q->n_arrived += b->n;
        }
        journal_untold(e, b);
        ledger_batch_free(&b->base);
}

static void note_refused(struct engine *e, struct queue_books *q, const struct ledger_arrive *b)
{
        if (b->undecided || e->now.mono_ns - q->refused_told_ns < REFUSED_TOLD) {
                return;
        }
        q->refused_told_ns = e->now.mono_ns;
        engine_note(e, 4, NULL, "queue %.*s: %u arrivals wait, since the ledger refuses them: %s",
                    (int)q->name.n, q->name.p, b->n, b->base.note);
}

void arrive_answered(struct engine *e, struct ledger_arrive *b)
{
        if (b->base.outcome == LEDGER_UNKNOWN && PLANT(arrive_assumed)) {
                b->base.outcome = LEDGER_COMMITTED;
        }
        if (b->base.outcome == LEDGER_UNKNOWN) {
                resolve_batch(e, &b->base);
                return;
        }
        uint32_t at = (uint32_t)queue_find(e, b->queue);
        struct queue_books *q = &e->queues[at];
        q->arriving = NULL;
        q->starting = 0;
        switch (b->base.outcome) {
        case LEDGER_COMMITTED: arrive_committed(e, b, q, at); break;
        case LEDGER_FENCED:
                fence_node(e, b->base.no.holder);
                arrive_again(e, b, q, 0);
                break;
        default:
                if (PLANT(refused_dropped)) {
                        settle_list(e, b, q);
                }
                note_refused(e, q, b);
                arrive_again(e, b, q, b->undecided ? UNDECIDED_WAIT : REFUSED_WAIT);
                break;
        }
}

/* It happened: what it claimed is read back, and all of it is redundant. Else the same rows, with
 * the same ids, are written again. */
void arrive_resolved(struct engine *e, struct ledger_arrive *b, bool happened)
{
        uint32_t at = (uint32_t)queue_find(e, b->queue);
        struct queue_books *q = &e->queues[at];
        q->arriving = NULL;
        q->starting = 0;
        if (!happened || PLANT(arrive_forgotten)) {
                arrive_again(e, b, q, 0);
                return;
        }
        settle_list(e, b, q);
        q->may_have_work = true;
        e->dirty = true;
        recall_claim(e, b->base.no, b->token, at);
        arrivals_free_list(STEAL(b->list));
        ledger_batch_free(&b->base);
}
