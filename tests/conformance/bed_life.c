/*
 * Each call posts, waits, and asserts that it was COMMITTED, as those of bed.c do.
 */
#include "tests/conformance/bed_life.h"

/* --- jobs ------------------------------------------------------------------------------------- */

struct unique_key bed_unique(const char *key)
{
        struct unique_key u = {.set = true, .states = UNIQUE_STATES_DEFAULT};
        hash16(str_of(key), u.hash);
        return u;
}

enum submit_result bed_add_bound(struct bed *bed, struct submit_row *row, uint32_t max,
                                 bool drop_oldest)
{
        struct queue_bound bounds[] = {{STR("elsewhere"), 1, false},
                                       {row->queue, max, drop_oldest}};
        struct submission s = {.rows = row, .n = 1};
        struct ledger_submit *b = bed_submit(&s);
        b->bounds = bounds;
        b->n_bounds = 2;
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
        return row->result;
}

struct job_id bed_fail(struct bed *bed, const char *type, uint64_t fingerprint, const char *text)
{
        struct arrival a = bed_letter(bed);
        a.row.type = str_of(type);
        CU_ASSERT_FATAL(bed_arrive_one(bed, &a) == ARRIVAL_TAKEN);
        struct finish_row v = {
            .id = a.row.id,
            .ref = a.ref,
            .claim = 1,
            .token = bed->token,
            .to = STATE_DEAD,
            .reason = REASON_EXHAUSTED,
            .error = ERROR_FAILED,
            .attempt = 1,
            .error_text = str_of(text),
            .fingerprint = fingerprint,
        };
        CU_ASSERT_FATAL(bed_finish_one(bed, v));
        return a.row.id;
}

struct claim *bed_claim_global(struct bed *bed, uint32_t want, uint32_t global, bool *ret_limited)
{
        struct ledger_claim *b = bed_claim_batch(bed, want);
        b->global = global;
        bed_must(bed, &b->base);
        struct claim *c = STEAL(b->got);
        CU_ASSERT(!b->limited || b->more);
        *ret_limited = b->limited;
        ledger_batch_free(&b->base);
        return c;
}

struct claim *bed_claim_of(struct bed *bed, const char *queue, uint32_t want)
{
        struct ledger_claim *b = bed_claim_batch(bed, want);
        b->queue = str_of(queue);
        bed_must(bed, &b->base);
        struct claim *c = STEAL(b->got);
        ledger_batch_free(&b->base);
        return c;
}

void bed_end(struct bed *bed, struct claim *c, enum job_state to)
{
        for (uint32_t i = 0; i < c->n; i++) {
                struct finish_row v = bed_verdict(&c->jobs[i], to);
                v.after_us = HOUR;
                v.left_work = c->jobs[i].left_work;
                CU_ASSERT(bed_finish_one(bed, v));
        }
        claim_free(c);
}

enum requeue_result bed_requeue(struct bed *bed, const struct job_id *id)
{
        struct ledger_requeue *b = NEW(requeue, REQUEUE);
        b->id = *id;
        bed_must(bed, &b->base);
        enum requeue_result result = b->result;
        ledger_batch_free(&b->base);
        return result;
}

uint32_t bed_due(struct bed *bed)
{
        struct ledger_due *b = NEW(due, DUE);
        b->limit = 1000;
        bed_must(bed, &b->base);
        uint32_t moved = b->moved;
        ledger_batch_free(&b->base);
        return moved;
}

void bed_fold(struct bed *bed)
{
        struct ledger_fold *b = NEW(fold, FOLD);
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
}

uint64_t bed_count(struct bed *bed, const char *queue, enum job_state state)
{
        const struct ledger_stats *s = bed_stats(bed);
        for (uint32_t i = 0; i < s->n; i++) {
                if (str_eq(s->queues[i].queue, str_of(queue))) {
                        return s->queues[i].jobs[state];
                }
        }
        return 0;
}

/* --- operators -------------------------------------------------------------------------------- */

struct queue_control bed_control(struct bed *bed, const char *queue, uint32_t set,
                                 struct queue_control to)
{
        struct ledger_control *b = NEW(control, CONTROL);
        b->set = set;
        b->control = to;
        b->control.queue = str_of(queue);
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        CU_ASSERT(str_eq(b->control.queue, str_of(queue)));
        return b->control;
}

const struct ledger_bulk *bed_bulk(struct bed *bed, const struct ledger_bulk *like)
{
        struct ledger_bulk *b = NEW(bulk, BULK);
        struct ledger_batch base = b->base;
        *b = *like;
        b->base = base;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

const struct ledger_groups *bed_groups(struct bed *bed, struct job_filter filter, uint32_t limit)
{
        struct ledger_groups *b = NEW(groups, GROUPS);
        b->filter = filter;
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

/* --- running jobs ----------------------------------------------------------------------------- */

struct save_row bed_save_row(const struct job *j)
{
        return (struct save_row){.id = j->id, .ref = j->ref, .claim = j->claim, .token = j->token};
}

uint32_t bed_save(struct bed *bed, const struct save_row *rows, uint32_t n)
{
        struct ledger_save *b = NEW(save, SAVE);
        b->rows = arena_zalloc(&b->base.arena, (n + 1) * sizeof *b->rows);
        memcpy(b->rows, rows, n * sizeof *rows);
        b->n = n;
        bed_must(bed, &b->base);
        uint32_t stale = 0;
        for (uint32_t i = 0; i < n; i++) {
                stale += b->rows[i].stale;
        }
        ledger_batch_free(&b->base);
        return stale;
}

/* --- schedules -------------------------------------------------------------------------------- */

struct schedule_row bed_schedule_row(const char *name)
{
        return (struct schedule_row){
            .name = str_of(name),
            .spec = STR("* * * * *"),
            .catch_max = 10,
            .job = {.queue = STR("q"),
                    .type = STR("noop"),
                    .priority = PRIORITY_DEFAULT,
                    .max_attempts = 3},
        };
}

static const struct ledger_schedule *schedule(struct bed *bed, struct ledger_schedule *b)
{
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

const struct ledger_schedule *bed_put(struct bed *bed, const struct schedule_row *row,
                                      uint64_t expected)
{
        struct ledger_schedule *b = NEW(schedule, SCHEDULE);
        b->row = *row;
        b->expected = expected;
        return schedule(bed, b);
}

const struct ledger_schedule *bed_drop(struct bed *bed, const char *name, uint64_t expected)
{
        struct ledger_schedule *b = NEW(schedule, SCHEDULE);
        b->drop = true;
        b->row.name = str_of(name);
        b->expected = expected;
        return schedule(bed, b);
}

static const struct ledger_schedules *read_schedules(struct bed *bed, struct ledger_schedules *b)
{
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

const struct ledger_schedules *bed_schedules(struct bed *bed, const char *after, uint32_t limit)
{
        struct ledger_schedules *b = NEW(schedules, SCHEDULES);
        b->after = str_of(after);
        b->limit = limit;
        return read_schedules(bed, b);
}

const struct schedule_row *bed_schedule(struct bed *bed, const char *name)
{
        struct ledger_schedules *b = NEW(schedules, SCHEDULES);
        b->name = str_of(name);
        b->limit = 10;
        (void)read_schedules(bed, b);
        CU_ASSERT(b->n <= 1 && !b->more);
        CU_ASSERT(!b->n || str_eq(b->rows[0].name, str_of(name)));
        return b->n ? &b->rows[0] : NULL;
}

struct ledger_tick *bed_tick_batch(const char *name, uint64_t revision, int64_t next_us)
{
        struct ledger_tick *b = NEW(tick, TICK);
        b->name = str_of(name);
        b->revision = revision;
        b->next_us = next_us;
        return b;
}

/* --- housekeeping ----------------------------------------------------------------------------- */

const struct ledger_prune *bed_prune(struct bed *bed, const struct prune_rule *rules, uint32_t n,
                                     const struct job_id *after, uint32_t limit)
{
        struct ledger_prune *b = NEW(prune, PRUNE);
        b->rules = rules;
        b->n_rules = n;
        b->has_after = after != NULL;
        b->after = after ? *after : (struct job_id){{0}};
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

/* Time goes on by a millisecond, so that what ended now is old enough. */
uint32_t bed_prune_all(struct bed *bed, enum job_state state)
{
        struct prune_rule rule = {.state = state};
        fixture->advance(bed->store, 1000);
        const struct ledger_prune *b = bed_prune(bed, &rule, 1, NULL, 10000);
        CU_ASSERT(b->done && b->end);
        return b->pruned;
}
