/*
 * What all ledgers share: the batches' life, lane values, and the errors of rows that begin dead.
 */
#include "core/ledger.h"

#include <stdlib.h>

static const struct op_info {
        const char *name;
        enum ledger_lane lane;
        bool numbered;
        size_t size;
} ops[] = {
#define SIZED(OP, kind, lane_, write)                                                              \
        [LEDGER_##OP] = {#kind, LANE_##lane_, write, sizeof(struct ledger_##kind)}
    SIZED(REGISTER, register, BEAT, true),
    SIZED(BEAT, beat, BEAT, true),
    SIZED(BURY, bury, BEAT, true),
    SIZED(SUBMIT, submit, CLAIMS, true),
    SIZED(ARRIVE, arrive, CLAIMS, true),
    SIZED(INBOX, inbox, READS, false),
    SIZED(RELAY, relay, BEAT, true),
    SIZED(RUNG, rung, BEAT, true),
    SIZED(TIDE, tide, BEAT, true),
    SIZED(CLAIM, claim, CLAIMS, true),
    SIZED(FINISH, finish, VERDICTS, true),
    SIZED(CANCEL, cancel, VERDICTS, true),
    SIZED(REQUEUE, requeue, VERDICTS, true),
    SIZED(DUE, due, BEAT, true),
    SIZED(UNPARK, unpark, BEAT, true),
    SIZED(FOLD, fold, BEAT, true),
    SIZED(FLOOR, floor, BEAT, false),
    SIZED(RESOLVE, resolve, BEAT, false),
    SIZED(RECALL, recall, READS, false),
    SIZED(HELD, held, READS, false),
    SIZED(SHOW, show, READS, false),
    SIZED(LIST, list, READS, false),
    SIZED(STATS, stats, READS, false),
    SIZED(TICK, tick, BEAT, true),
    SIZED(PRUNE, prune, BEAT, true),
    SIZED(CONTROL, control, VERDICTS, true),
    SIZED(SCHEDULE, schedule, VERDICTS, true),
    SIZED(BULK, bulk, VERDICTS, true),
    SIZED(SAVE, save, VERDICTS, false),
    SIZED(SCHEDULES, schedules, READS, false),
    SIZED(GROUPS, groups, READS, false),
    SIZED(NODES, nodes, READS, false),
#undef SIZED
};

const char *ledger_op_name(enum ledger_op op)
{
        return (unsigned)op < ARRAY_LEN(ops) ? ops[op].name : "?";
}

enum ledger_lane ledger_op_lane(enum ledger_op op)
{
        return ops[op].lane;
}

bool ledger_op_numbered(enum ledger_op op)
{
        return ops[op].numbered;
}

struct ledger_batch *ledger_batch_new(enum ledger_op op)
{
        struct ledger_batch *b = calloc(1, ops[op].size);
        if (b) {
                b->op = op;
        }
        return b;
}

static void free_finish(struct ledger_finish *f)
{
        while (f->ended) {
                struct claim *next = f->ended->next;
                claim_free(f->ended);
                f->ended = next;
        }
        for (uint32_t i = 0; i < f->n; i++) {
                submission_free(f->rows[i].children);
        }
}

struct ledger_batch *ledger_batch_free(struct ledger_batch *b)
{
        if (!b) {
                return NULL;
        }
        if (b->op == LEDGER_CLAIM) {
                claim_free(LEDGER_AS(claim, CLAIM, b)->got);
        } else if (b->op == LEDGER_ARRIVE) {
                claim_free(LEDGER_AS(arrive, ARRIVE, b)->got);
        } else if (b->op == LEDGER_RECALL) {
                claim_free(LEDGER_AS(recall, RECALL, b)->got);
        } else if (b->op == LEDGER_FINISH) {
                free_finish(LEDGER_AS(finish, FINISH, b));
        } else if (b->op == LEDGER_TICK) {
                submission_free(LEDGER_AS(tick, TICK, b)->jobs);
        }
        arena_deinit(&b->arena);
        free(b);
        return NULL;
}

struct submission *submission_new(void)
{
        return calloc(1, sizeof(struct submission));
}

struct submission *submission_free(struct submission *s)
{
        if (s) {
                arena_deinit(&s->arena);
                free(s);
        }
        return NULL;
}

/* 63 bits: band (2), then 4 of urgency (9 - priority) and 57 of seq; parked: 24 of the type's hash
 * and 37 of seq. */
#define BAND_SHIFT    61
#define URGENCY_SHIFT 57
#define SEQ_MASK      ((INT64_C(1) << URGENCY_SHIFT) - 1)
#define HASH_SHIFT    37
#define PARK_MASK     ((INT64_C(1) << HASH_SHIFT) - 1)

int64_t lane_value(enum lane_band band, uint8_t priority, int64_t seq)
{
        int64_t urgency = PRIORITY_MAX - (priority > PRIORITY_MAX ? PRIORITY_MAX : priority);
        urgency = band == BAND_BROKER ? 0 : urgency;
        return (int64_t)band << BAND_SHIFT | urgency << URGENCY_SHIFT | (seq & SEQ_MASK);
}

static int64_t parked_base(struct str type)
{
        uint8_t hash[16];
        hash16(type, hash);
        int64_t h = (int64_t)hash[0] << 16 | (int64_t)hash[1] << 8 | hash[2];
        return (int64_t)BAND_PARKED << BAND_SHIFT | h << HASH_SHIFT;
}

int64_t lane_parked(struct str type, int64_t seq)
{
        return parked_base(type) | (seq & PARK_MASK);
}

void lane_range(enum lane_band band, int64_t *ret_first, int64_t *ret_last)
{
        *ret_first = (int64_t)band << BAND_SHIFT;
        *ret_last = *ret_first | ((INT64_C(1) << BAND_SHIFT) - 1);
}

void lane_parked_range(struct str type, int64_t *ret_first, int64_t *ret_last)
{
        *ret_first = parked_base(type);
        *ret_last = *ret_first | PARK_MASK;
}

static bool same_unique(const struct unique_key *a, const struct unique_key *b)
{
        bool equal = memcmp(a->hash, b->hash, sizeof a->hash) == 0 && a->states == b->states &&
                     a->replace == b->replace && a->for_us == b->for_us;
        return a->set == b->set && (!a->set || equal);
}

static bool same_texts(const struct submit_row *a, const struct submit_row *b)
{
        return str_eq(a->type, b->type) && str_eq(a->queue, b->queue) &&
               str_eq(a->payload, b->payload) && str_eq(a->content_type, b->content_type) &&
               str_eq(a->headers, b->headers) && str_eq(a->tags, b->tags) &&
               str_eq(a->policy, b->policy);
}

static bool same_job(const struct submit_row *a, const struct submit_row *b)
{
        return same_texts(a, b) && same_unique(&a->unique, &b->unique) &&
               a->priority == b->priority && a->max_attempts == b->max_attempts &&
               a->timeout_ms == b->timeout_ms && a->heartbeat_ms == b->heartbeat_ms &&
               a->deadline_us == b->deadline_us && a->retry_until_us == b->retry_until_us;
}

bool schedule_row_same(const struct schedule_row *a, const struct schedule_row *b)
{
        return str_eq(a->spec, b->spec) && str_eq(a->zone, b->zone) && a->catch_up == b->catch_up &&
               a->overlap == b->overlap && a->catch_max == b->catch_max && a->paused == b->paused &&
               a->from_config == b->from_config && same_job(&a->job, &b->job);
}

enum error_class reason_error(enum job_reason reason)
{
        switch (reason) {
        case REASON_EXPIRED: return ERROR_EXPIRED;
        case REASON_UNSTORABLE: return ERROR_UNSTORABLE;
        case REASON_ID_CONFLICT: return ERROR_ID_CONFLICT;
        case REASON_MALFORMED: return ERROR_MALFORMED;
        case REASON_TOO_LARGE: return ERROR_TOO_LARGE;
        case REASON_REJECTED: return ERROR_REJECTED;
        case REASON_DUPLICATE: return ERROR_DUPLICATE;
        default: return ERROR_NONE;
        }
}
