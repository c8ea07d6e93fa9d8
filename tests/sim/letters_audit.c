/*
 * What became of the letters. What is published is counted by content; at the end each content must
 * have as many rows as the fates of its letters allow (I1b, I13), and nothing may have been
 * acknowledged that no transaction had answered (I5).
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/letters.h"
#include "tests/sim/life.h"
#include "tests/sim/sim_transport.h"

static bool is_keyed(const struct letter *l)
{
        return l->key != 0;
}

/* --- what became of them ------------------------------------------------------------------ */

/* The number that a row's headers name; 0: none. */
static uint32_t number_in(struct str headers)
{
        const size_t n = sizeof NUMBER_HEADER;
        for (uint32_t i = 0; i + n < headers.n; i++) {
                bool starts = i == 0 || headers.p[i - 1] == 0;
                if (starts && memcmp(headers.p + i, NUMBER_HEADER, n) == 0) {
                        return (uint32_t)strtoul(headers.p + i + n, NULL, 10);
                }
        }
        return 0;
}

static void row_created(struct world *w, uint32_t number, const struct submit_row *row,
                        bool conflict)
{
        struct letter *l = letter_at(w, number);
        const struct store_job *j = store_find(&w->server.store, &row->id);
        bool bare = row->reason == REASON_TOO_LARGE;
        struct arena a = {0};
        struct str body = letter_body(&a, number, l);
        struct audit_intent intent = {
            .id = row->id,
            .keyed = row->key.set && !conflict,
            .queue = (uint32_t)hash_bytes(row->queue.p, row->queue.n),
            .payload = bare ? hash_bytes(NULL, 0) : hash_bytes(body.p, body.n),
            .not_before_us = row->state == STATE_SCHEDULED && !w->swarm.clocks ? j->row.due_us : 0,
            .max_attempts = row->max_attempts,
            .poison = str_eq(row->type, STR("poison.pill")),
        };
        memcpy(intent.key, row->key.b, sizeof intent.key);
        life_of(w, &row->id)->letter = number;
        audit_intend(&w->audit, &intent);
        audit_answer(&w->audit, &row->id, AUDIT_CREATED, &row->id);
        produce_remember(w, &row->id);
        l->rows += !conflict;
        l->conflicts += conflict;
        arena_deinit(&a);
}

/* Taken for a letter that came before: is it that one? */
static void check_known(struct world *w, uint32_t number, const struct arrival *a)
{
        const struct sim_life *x = life_find(w, &a->row.existing);
        uint32_t other = x ? x->letter : 0;
        bool same = other == number;
        if (!same) {
                world_violate(w, "I1b letter %u was taken for letter %u", number, other);
        }
}

static void letter_answered(struct world *w, const struct ledger_arrive *b, uint32_t number,
                            const struct arrival *a)
{
        TRACE(w, "  letter %u%s: %d, fingerprint %llx", number, a->redelivered ? " again" : "",
              a->result, (unsigned long long)a->fingerprint);
        switch (a->result) {
        case ARRIVAL_KNOWN: check_known(w, number, a); break;
        case ARRIVAL_CONFLICT: row_created(w, number, &a->row, true); break;
        default:
                row_created(w, number, &a->row, false);
                letter_at(w, number)->ambiguous += b->ambiguous && a->redelivered && a->fingerprint;
                break;
        }
}

static void bell_answered(struct world *w, const struct ledger_arrive *b, const struct arrival *a)
{
        const struct store_job *j = store_find(&w->server.store, &a->row.id);
        if (a->kind == ARRIVAL_DOORBELL && a->result == ARRIVAL_TAKEN && j &&
            !str_eq(j->row.queue, b->queue)) {
                world_violate(w, "tide: a doorbell of queue %.*s took a job of queue %.*s",
                              (int)b->queue.n, b->queue.p, (int)j->row.queue.n, j->row.queue.p);
        }
        w->seen.bells += a->kind == ARRIVAL_DOORBELL;
}

static void trace_journal(struct world *w, const struct ledger_arrive *b)
{
        for (uint32_t i = 0; i < b->n_acknowledged + b->n_lost; i++) {
                bool lost = i >= b->n_acknowledged;
                struct commit_no no = lost ? b->lost[i - b->n_acknowledged] : b->acknowledged[i];
                TRACE(w, "  journal %llu %s", (unsigned long long)no.n,
                      lost ? "lost" : "acknowledged");
        }
}

/* What does it wait for? */
void letters_undecided(struct world *w, const struct ledger_arrive *b)
{
        const struct arrivals *l = b->list;
        for (const struct store_line *x = w->server.store.journal; l && x; x = x->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        if (x->fingerprint == l->items[i].fingerprint) {
                                TRACE(w, "  undecided by %016llx %u/%llu",
                                      (unsigned long long)x->no.holder, x->no.writer,
                                      (unsigned long long)x->no.n);
                        }
                }
        }
}

void letters_arrived(struct world *w, const struct ledger_arrive *b)
{
        trace_journal(w, b);
        for (const struct arrivals *l = b->list; l; l = l->next) {
                if (!l->receipt) {
                        world_violate(w, "arrive: arrivals without their receipt");
                        return;
                }
                struct sim_receipt *r =
                    (struct sim_receipt *)CONTAINER_OF(l->receipt, struct sim_receipt, base);
                assert(r->n == l->n);
                for (uint32_t i = 0; i < l->n; i++) {
                        struct sim_message *m = r->messages[i];
                        const struct arrival *a = &l->items[i];
                        m->answers++;
                        m->stale += r->stale;
                        if (a->kind == ARRIVAL_LETTER) {
                                letter_answered(w, b, m->letter, a);
                        } else {
                                bell_answered(w, b, a);
                        }
                }
        }
}

/* Rows that wait for a doorbell stand in the outbox from the same commit on. */
static void check_outbox(struct world *w, const struct submit_row *row)
{
        if (row->result != SUBMIT_CREATED || row->state != STATE_PENDING ||
            row->band != BAND_BROKER) {
                return;
        }
        for (const struct store_outbox *o = w->server.store.outbox; o; o = o->next) {
                for (uint32_t i = 0; i < o->n; i++) {
                        if (job_id_eq(&o->bells[i].id, &row->id)) {
                                return;
                        }
                }
        }
        world_violate(w, "I1: a job waits for its doorbell, and no outbox row has it");
}

void letters_submitted(struct world *w, const struct ledger_submit *b)
{
        for (const struct submission *s = b->list; s; s = s->next) {
                for (uint32_t i = 0; i < s->n; i++) {
                        const struct submit_row *row = &s->rows[i];
                        check_outbox(w, row);
                        if (row->inbox && row->result == SUBMIT_CREATED) {
                                row_created(w, number_in(row->headers), row,
                                            row->reason == REASON_ID_CONFLICT);
                        }
                }
        }
}

/* I5: whatever is acknowledged was answered by a committed transaction, marks excepted. */
static void on_ack(void *watcher, const struct sim_message *m)
{
        struct world *w = watcher;
        const struct envelope *e = &m->envelope;
        bool mark = m->letter == 0 && e->n_headers && str_eq(e->headers[0].value, STR(BELL_MARK));
        if (m->answers == 0 && !mark) {
                world_violate(w, "I5: %s %u is acknowledged before a commit",
                              m->letter ? "letter" : "a doorbell", m->letter);
        }
}

static void on_complaint(void *watcher, const char *text)
{
        world_violate(watcher, "%s", text);
}

/* A doorbell of ours has come into the broker: from then on a confirm is no lie. */
static void on_store(void *watcher, const struct sim_message *m)
{
        struct world *w = watcher;
        struct job_id id;
        const struct envelope *e = &m->envelope;
        if (m->letter == 0 && e->n_headers && id_parse(e->headers[0].value, &id)) {
                struct store_job *j = store_find(&w->server.store, &id);
                if (j && str_eq(j->row.queue, m->queue->name)) {
                        j->belled = true;
                }
        }
}

static bool waits_for_bell(const struct store_job *j)
{
        return j && j->row.state == STATE_PENDING && j->row.band == BAND_BROKER;
}

static void on_rung(void *watcher, const struct store_outbox *o)
{
        struct world *w = watcher;
        for (uint32_t i = 0; i < o->n; i++) {
                const struct store_job *j = store_find(&w->server.store, &o->bells[i].id);
                if (waits_for_bell(j) && !j->belled) {
                        world_violate(w,
                                      "I1: job %lld leaves the outbox, its doorbell was never "
                                      "in the broker",
                                      (long long)j->seq);
                }
        }
}

void letters_watch(struct world *w)
{
        w->server.store.on_rung = on_rung;
        w->broker.on_store = on_store;
        w->broker.on_ack = on_ack;
        w->broker.complain = on_complaint;
        w->broker.watcher = w;
}

/* A node that is declared dead may have known of acknowledgements that it had not told: an equal
 * letter that comes again may be taken for one that is gone (decision 0008). */
void letters_buried(struct world *w, uint64_t holder)
{
        for (const struct store_line *x = w->server.store.journal; x; x = x->next) {
                const struct sim_life *life = life_find(w, &x->id);
                uint32_t number = life && x->no.holder == holder ? life->letter : 0;
                if (number) {
                        letter_at(w, number)->untold++;
                }
        }
}

/* --- the audit ---------------------------------------------------------------------------- */

/* Does the broker still hold something for a queue that is served? */
bool letters_drained(const struct world *w)
{
        for (const struct sim_queue *q = w->broker.queues; q; q = q->next) {
                bool ours = !str_eq(q->name, STR("jobs.refused"));
                if (ours && (q->n_ready || q->n_unacked)) {
                        return false;
                }
        }
        return w->server.store.inbox == NULL;
}

static void count_messages(struct world *w)
{
        for (const struct sim_message *m = w->broker.messages; m; m = m->older) {
                if (!m->letter) {
                        continue;
                }
                struct letter *l = letter_at(w, m->letter);
                l->acked += m->fate == MESSAGE_ACKED;
                l->unsure += m->fate == MESSAGE_ACKED && !m->sure;
                l->answered += m->answers > 0;
                l->unmarked += m->unmarked;
                l->stale += m->stale;
                l->deliveries += m->deliveries;
                w->seen.redelivered += m->deliveries > 1;
        }
}

static bool same_commit(const struct commit_no *a, const struct commit_no *b)
{
        return a->holder == b->holder && a->writer == b->writer && a->n == b->n;
}

/* Was another part of its batch acknowledged for sure? */
static bool is_half(const struct world *w, const struct sim_receipt *r)
{
        for (const struct sim_receipt *o = w->broker.receipts; o; o = o->older) {
                if (o->sure && o->base.journalled && same_commit(&o->base.no, &r->base.no)) {
                        return true;
                }
        }
        return false;
}

/* A batch of which the end of its connection let only one part through is forgotten: what it took
 * back of the other is a new job when it comes again (decision 0008). */
static void count_halved(struct world *w)
{
        for (const struct sim_receipt *r = w->broker.receipts; r; r = r->older) {
                bool back = r->base.journalled && r->stale && !r->taken && is_half(w, r);
                for (uint32_t i = 0; back && i < r->n; i++) {
                        uint32_t number = r->messages[i]->letter;
                        if (number) {
                                letter_at(w, number)->halved++;
                        }
                }
        }
}

static void judge_keyed(struct world *w, uint32_t number, const struct letter *l)
{
        uint32_t must = l->inbox ? l->published : l->acked;
        if (must && l->rows + l->conflicts == 0) {
                world_violate(w, "I1b letter %u: acknowledged, and no row tells of it", number);
        }
        if (l->rows > 1) {
                world_violate(w, "I13 letter %u: %u rows under one key", number, l->rows);
        }
        if (l->conflicts > (l->inbox ? 1 : l->deliveries)) {
                world_violate(w, "I13 letter %u: %u conflicts of %u deliveries", number,
                              l->conflicts, l->deliveries);
        }
}

/* Of equal letters one may be lost, when another was acknowledged without our knowing (decision
 * 0008). */
static void judge_plain(struct world *w, uint32_t number, const struct letter *l)
{
        uint32_t excused = l->acked > 1 ? l->unsure + l->untold : 0;
        uint32_t extra = l->unmarked + l->stale + l->ambiguous + l->halved;
        if (w->swarm.stream && !w->swarm.rewire) { /* each letter has a name of its own */
                excused = extra = 0;
        }
        uint32_t least = l->inbox ? l->published : l->acked > excused ? l->acked - excused : 0;
        uint32_t most = l->inbox ? l->published : l->answered + extra;
        if (l->rows < least) {
                world_violate(w, "I1b letter %u: %u acknowledged, %u rows", number, least, l->rows);
        }
        if (l->rows > most) {
                world_violate(w,
                              "I13 letter %u: %u rows, %u letters (%u unmarked, %u stale, %u "
                              "ambiguous, %u halved)",
                              number, l->rows, l->answered, l->unmarked, l->stale, l->ambiguous,
                              l->halved);
        }
        w->seen.letters_twice += l->rows > l->answered && !l->inbox;
}

static void judge_left(struct world *w)
{
        for (const struct sim_queue *q = w->broker.queues; q; q = q->next) {
                bool ours = !str_eq(q->name, STR("jobs.refused"));
                if (ours && (q->n_ready || q->n_unacked)) {
                        world_violate(w, "I15: %u messages wait in queue %.*s, %u unacknowledged",
                                      q->n_ready, (int)q->name.n, q->name.p, q->n_unacked);
                }
        }
        for (const struct store_outbox *o = w->server.store.outbox; o; o = o->next) {
                world_violate(w, "I15: an outbox row of queue %.*s is left", (int)o->queue->name.n,
                              o->queue->name.p);
        }
        if (w->server.store.inbox) {
                world_violate(w, "I15: letters are left in the inbox");
        }
}

void letters_audit(struct world *w)
{
        count_messages(w);
        count_halved(w);
        for (uint32_t i = 1; i <= w->n_letters; i++) {
                const struct letter *l = letter_at(w, i);
                if (is_keyed(l)) {
                        judge_keyed(w, i, l);
                } else {
                        judge_plain(w, i, l);
                }
        }
        judge_left(w);
        w->seen.letters = w->n_letters;
}
