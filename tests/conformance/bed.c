/*
 * Each call waits for its own batch alone, so that cases read as a story; those about order and
 * about batches that coincide post by hand.
 */
#include "tests/conformance/bed.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>

#define PATIENCE_S 60 /* a batch that is not back by then never comes */

static int64_t monotonic_ns(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* --- life ------------------------------------------------------------------------------------- */

struct roster *bed_roster(const char *const *patterns, uint32_t n)
{
        struct handler_desc handlers[8] = {0};
        for (uint32_t i = 0; i < n; i++) {
                handlers[i].pattern = str_of(patterns[i]);
                handlers[i].plugin = STR("test.so");
        }
        return roster_new(1, handlers, n);
}

static void open_handle(struct bed *bed)
{
        char note[256] = "";
        int r = fixture->open(bed->store, &bed->l, note, sizeof note);
        if (r < 0) {
                fprintf(stderr, "%s: %s\n", fixture->name, note);
                exit(1);
        }
}

static struct bed *new_bed(void *store, uint64_t holder)
{
        static const char *const served[] = {"noop", "mail.>"};
        struct bed *bed = calloc(1, sizeof *bed);
        bed->store = store;
        bed->holder = holder;
        bed->mint.random = 88172645463325252ull + holder;
        bed->token = holder << 32;
        bed->roster = bed_roster(served, 2);
        open_handle(bed);
        return bed;
}

struct bed *bed_new(void)
{
        void *store = fixture->setup();
        if (!store) {
                exit(1);
        }
        struct bed *bed = new_bed(store, 101);
        bed->owns_store = true;
        CU_ASSERT_FATAL(bed_register(bed) == LEDGER_COMMITTED);
        return bed;
}

struct bed *bed_join(struct bed *other, uint64_t holder)
{
        struct bed *bed = new_bed(other->store, holder);
        CU_ASSERT_FATAL(bed_register(bed) == LEDGER_COMMITTED);
        return bed;
}

static struct ledger_batch *free_list(struct ledger_batch *b)
{
        while (b) {
                struct ledger_batch *next = b->next;
                ledger_batch_free(b);
                b = next;
        }
        return NULL;
}

struct bed *bed_free(struct bed *bed)
{
        bed->l = bed->l->ops->close(bed->l);
        bed->done = free_list(bed->done);
        bed->kept = free_list(bed->kept);
        roster_unref(bed->roster);
        if (bed->owns_store) {
                fixture->teardown(bed->store);
        }
        free(bed);
        return NULL;
}

void bed_reopen(struct bed *bed)
{
        bed->l = bed->l->ops->close(bed->l);
        open_handle(bed);
}

/* --- batches ---------------------------------------------------------------------------------- */

void bed_post(struct bed *bed, struct ledger_batch *b)
{
        if (ledger_op_numbered(b->op) && !b->no.n) {
                enum ledger_lane lane = ledger_op_lane(b->op);
                b->no = (struct commit_no){bed->holder, lane, ++bed->n[lane]};
        }
        bed->l->ops->post(bed->l, b);
}

static bool take_done(struct bed *bed, struct ledger_batch *b)
{
        for (struct ledger_batch **at = &bed->done; *at; at = &(*at)->next) {
                if (*at == b) {
                        *at = b->next;
                        b->next = NULL;
                        return true;
                }
        }
        return false;
}

static void append_done(struct bed *bed, struct ledger_batch *list)
{
        struct ledger_batch **at = &bed->done;
        while (*at) {
                at = &(*at)->next;
        }
        *at = list;
}

static void wait_for_any(struct bed *bed, int64_t now)
{
        struct pollfd fds[8];
        uint32_t n = bed->l->ops->pollfds(bed->l, fds, 8);
        int64_t left = bed->l->ops->deadline_ns(bed->l);
        left = left == INT64_MAX ? NS_PER_S : left - now;
        int ms = left <= 0 ? 0 : left > NS_PER_S ? 1000 : (int)(left / NS_PER_MS) + 1;
        (void)poll(fds, n, ms);
}

void bed_wait(struct bed *bed, struct ledger_batch *b)
{
        int64_t start = monotonic_ns(), now = start;
        while (now - start < PATIENCE_S * NS_PER_S) {
                append_done(bed, bed->l->ops->dispatch(bed->l, now));
                if (take_done(bed, b)) {
                        return;
                }
                wait_for_any(bed, now);
                now = monotonic_ns();
        }
        fprintf(stderr, "%s: a %s never came back\n", fixture->name, ledger_op_name(b->op));
        exit(1);
}

enum ledger_outcome bed_do(struct bed *bed, struct ledger_batch *b)
{
        bed_post(bed, b);
        bed_wait(bed, b);
        return b->outcome;
}

void bed_must(struct bed *bed, struct ledger_batch *b)
{
        if (bed_do(bed, b) != LEDGER_COMMITTED) {
                fprintf(stderr, "\n%s: outcome %d: %s\n", ledger_op_name(b->op), b->outcome,
                        b->note);
                CU_ASSERT_FATAL(b->outcome == LEDGER_COMMITTED);
        }
}

void bed_keep(struct bed *bed, struct ledger_batch *b)
{
        b->next = bed->kept;
        bed->kept = b;
}

enum ledger_outcome bed_register(struct bed *bed)
{
        struct ledger_register *r = NEW(register, REGISTER);
        r->host = STR("host");
        r->version = STR("0");
        r->pid = 4711;
        enum ledger_outcome outcome = bed_do(bed, &r->base);
        ledger_batch_free(&r->base);
        return outcome;
}

/* --- submit ----------------------------------------------------------------------------------- */

struct submit_row bed_row(struct bed *bed)
{
        return (struct submit_row){
            .id = id_mint(&bed->mint, fixture->now_us(bed->store)),
            .queue = STR("q"),
            .type = STR("noop"),
            .state = STATE_PENDING,
            .band = BAND_OFFERED,
            .priority = PRIORITY_DEFAULT,
            .max_attempts = 3,
            .payload = STR("x"),
        };
}

struct submission *bed_submission(struct bed *bed, uint32_t n)
{
        struct submission *s = submission_new();
        s->rows = arena_zalloc(&s->arena, (n + 1) * sizeof *s->rows);
        s->n = n;
        for (uint32_t i = 0; i < n; i++) {
                s->rows[i] = bed_row(bed);
        }
        return s;
}

struct ledger_submit *bed_submit(struct submission *s)
{
        struct ledger_submit *b = NEW(submit, SUBMIT);
        b->list = s;
        b->rows = s->n;
        return b;
}

enum submit_result bed_add(struct bed *bed, struct submit_row *row)
{
        struct submission s = {.rows = row, .n = 1};
        struct ledger_submit *b = bed_submit(&s);
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
        return row->result;
}

struct job_id bed_add_one(struct bed *bed)
{
        struct submit_row row = bed_row(bed);
        CU_ASSERT_FATAL(bed_add(bed, &row) == SUBMIT_CREATED);
        return row.id;
}

/* --- claim ------------------------------------------------------------------------------------ */

struct ledger_claim *bed_claim_batch(struct bed *bed, uint32_t want)
{
        struct ledger_claim *b = NEW(claim, CLAIM);
        b->queue = STR("q");
        b->roster = bed->roster;
        b->want = want;
        b->max_bytes = 1 << 20;
        b->token = ++bed->token;
        b->got = claim_new();
        return b;
}

struct claim *bed_claim(struct bed *bed, uint32_t want)
{
        struct ledger_claim *b = bed_claim_batch(bed, want);
        bed_must(bed, &b->base);
        struct claim *c = STEAL(b->got);
        ledger_batch_free(&b->base);
        return c;
}

void bed_same(struct bed *bed, const struct job *j, const struct submit_row *row)
{
        CU_ASSERT(job_id_eq(&j->id, &row->id) && j->ref != 0 && j->token == bed->token);
        CU_ASSERT(j->claim == 1 && j->attempt == 1 && j->max_attempts == row->max_attempts);
        CU_ASSERT(j->snoozes == 0 && j->strikes == 0 && j->generation == 0 && !j->cancel_asked);
        CU_ASSERT(j->priority == row->priority && j->timeout_ms == row->timeout_ms);
        CU_ASSERT(j->created_us == fixture->now_us(bed->store));
        CU_ASSERT(j->deadline_us == row->deadline_us);
        CU_ASSERT(str_eq(j->queue, row->queue) && str_eq(j->type, row->type));
        CU_ASSERT(str_eq(j->content_type, row->content_type) && str_eq(j->headers, row->headers));
        CU_ASSERT(str_eq(j->payload, row->payload));
}

struct claim *bed_recall(struct bed *bed, struct commit_no of, uint64_t token)
{
        struct ledger_recall *b = NEW(recall, RECALL);
        b->of = of;
        b->token = token;
        b->got = claim_new();
        bed_must(bed, &b->base);
        struct claim *c = STEAL(b->got);
        ledger_batch_free(&b->base);
        return c;
}

struct ledger_held *bed_held(struct bed *bed, uint64_t victim, uint64_t after, uint32_t limit)
{
        struct ledger_held *b = NEW(held, HELD);
        b->victim = victim;
        b->after = after;
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

bool bed_bury(struct bed *bed, uint64_t victim, uint64_t seen_beat, bool any_beat, bool forget)
{
        struct ledger_bury *b = NEW(bury, BURY);
        b->victim = victim;
        b->seen_beat = seen_beat;
        b->any_beat = any_beat;
        b->forget = forget;
        bed_must(bed, &b->base);
        bool done = b->done;
        ledger_batch_free(&b->base);
        return done;
}

/* --- arrive ----------------------------------------------------------------------------------- */

struct arrival bed_letter(struct bed *bed)
{
        struct arrival a = {.kind = ARRIVAL_LETTER, .start = true, .row = bed_row(bed)};
        a.row.state = STATE_RUNNING;
        return a;
}

struct arrival bed_doorbell(const struct job_id *id, bool start)
{
        return (struct arrival){.kind = ARRIVAL_DOORBELL, .start = start, .row.id = *id};
}

struct ledger_arrive *bed_arrive(struct bed *bed, const struct arrival *items, uint32_t n)
{
        struct ledger_arrive *b = NEW(arrive, ARRIVE);
        b->queue = STR("q");
        b->list = arrivals_new(n);
        if (n) {
                memcpy(b->list->items, items, n * sizeof *items);
        }
        b->list->n = b->n = n;
        b->token = ++bed->token;
        b->got = claim_new();
        return b;
}

struct ledger_arrive *bed_arrive_free(struct ledger_arrive *b)
{
        while (b->list) {
                struct arrivals *next = b->list->next;
                arrivals_free(b->list);
                b->list = next;
        }
        ledger_batch_free(&b->base);
        return NULL;
}

enum arrival_result bed_arrive_one(struct bed *bed, struct arrival *a)
{
        struct ledger_arrive *b = bed_arrive(bed, a, 1);
        bed_must(bed, &b->base);
        *a = b->list->items[0];
        CU_ASSERT(b->known == (a->result == ARRIVAL_KNOWN));
        CU_ASSERT(b->conflicts == (a->result == ARRIVAL_CONFLICT));
        CU_ASSERT(b->unstorable == (a->result == ARRIVAL_UNSTORABLE));
        bool bell = a->kind == ARRIVAL_DOORBELL && a->start && a->result == ARRIVAL_TAKEN;
        CU_ASSERT(b->got->n == bell && b->got->open == bell);
        bed_arrive_free(b);
        return a->result;
}

struct job_id bed_add_broker(struct bed *bed)
{
        struct submit_row row = bed_row(bed);
        row.band = BAND_BROKER;
        CU_ASSERT_FATAL(bed_add(bed, &row) == SUBMIT_CREATED);
        return row.id;
}

/* --- finish ----------------------------------------------------------------------------------- */

struct finish_row bed_verdict(const struct job *j, enum job_state to)
{
        return (struct finish_row){
            .id = j->id,
            .ref = j->ref,
            .queue = j->queue,
            .claim = j->claim,
            .token = j->token,
            .to = to,
            .attempt = j->attempt,
            .snoozes = j->snoozes,
            .strikes = j->strikes,
        };
}

struct ledger_finish *bed_finish_batch(const struct finish_row *rows, uint32_t n)
{
        struct ledger_finish *b = NEW(finish, FINISH);
        b->rows = arena_zalloc(&b->base.arena, (n + 1) * sizeof *b->rows);
        if (n) {
                memcpy(b->rows, rows, n * sizeof *rows);
        }
        b->n = n;
        return b;
}

uint32_t bed_finish(struct bed *bed, const struct finish_row *rows, uint32_t n)
{
        struct ledger_finish *b = bed_finish_batch(rows, n);
        bed_must(bed, &b->base);
        uint32_t stale = b->stale, counted = 0;
        for (uint32_t i = 0; i < n; i++) {
                counted += b->rows[i].stale;
        }
        CU_ASSERT(counted == stale);
        ledger_batch_free(&b->base);
        return stale;
}

bool bed_finish_one(struct bed *bed, struct finish_row row)
{
        return bed_finish(bed, &row, 1) == 0;
}

static void claim_and_end(struct bed *bed, const struct job_id *id, enum job_state to)
{
        struct claim *c = bed_claim(bed, 1);
        CU_ASSERT_FATAL(c->n == 1 && job_id_eq(&c->jobs[0].id, id));
        if (to != STATE_RUNNING) {
                struct finish_row v = bed_verdict(&c->jobs[0], to);
                v.after_us = 3600 * SECOND;
                CU_ASSERT_FATAL(bed_finish_one(bed, v));
        }
        claim_free(c);
}

/* What is claimed on its way goes before all that waits: priority 9. */
struct job_id bed_job_in(struct bed *bed, enum job_state state)
{
        struct submit_row row = bed_row(bed);
        bool waits = state == STATE_SCHEDULED || state == STATE_PENDING;
        row.priority = waits ? PRIORITY_DEFAULT : PRIORITY_MAX;
        if (state == STATE_SCHEDULED) {
                row.state = STATE_SCHEDULED;
                row.after_us = 3600 * SECOND;
        }
        CU_ASSERT_FATAL(bed_add(bed, &row) == SUBMIT_CREATED);
        if (!waits) {
                claim_and_end(bed, &row.id, state);
        }
        return row.id;
}

/* --- read ------------------------------------------------------------------------------------- */

static const struct ledger_show *show(struct bed *bed, const struct job_id *id)
{
        struct ledger_show *b = NEW(show, SHOW);
        b->id = *id;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

const struct job_row *bed_show(struct bed *bed, const struct job_id *id)
{
        const struct ledger_show *b = show(bed, id);
        CU_ASSERT_FATAL(b->found);
        return &b->row;
}

enum job_state bed_state(struct bed *bed, const struct job_id *id)
{
        const struct ledger_show *b = show(bed, id);
        return b->found ? b->row.state : STATE_NONE;
}

const struct ledger_list *bed_list(struct bed *bed, const struct ledger_list *filter)
{
        struct ledger_list *b = NEW(list, LIST);
        struct ledger_batch base = b->base;
        *b = *filter;
        b->base = base;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

const struct ledger_stats *bed_stats(struct bed *bed)
{
        struct ledger_stats *b = NEW(stats, STATS);
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

const struct ledger_beat *bed_beat(struct bed *bed)
{
        struct ledger_beat *b = NEW(beat, BEAT);
        b->known = bed->heard.holder == bed->holder ? bed->heard.n : 0;
        bed_must(bed, &b->base);
        bed->heard = b->base.no;
        bed_keep(bed, &b->base);
        return b;
}

enum cancel_result bed_cancel(struct bed *bed, const struct job_id *id)
{
        struct ledger_cancel *b = NEW(cancel, CANCEL);
        b->id = *id;
        bed_must(bed, &b->base);
        enum cancel_result result = b->result;
        CU_ASSERT(result != CANCEL_ASKED || b->holder != 0);
        ledger_batch_free(&b->base);
        return result;
}

bool bed_resolve(struct bed *bed, struct commit_no of)
{
        struct ledger_resolve *b = NEW(resolve, RESOLVE);
        b->of = of;
        bed_must(bed, &b->base);
        bool happened = b->happened;
        ledger_batch_free(&b->base);
        return happened;
}
