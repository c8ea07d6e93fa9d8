/*
 * How many jobs a queue may claim: what its workers start soon, within its share of the room that
 * all queues have.
 *
 * A claim has a fixed price: half of what one of 36 jobs cost PostgreSQL. Among a hundred queues a
 * share is 80 jobs, and half of it is free at a time. So queues with a backlog of quick jobs take
 * turns: one claims a portion as soon as there is room for one, then the next of them. Whoever
 * claims slow jobs, or holds few, does it at once and within a share, and a part of the room is
 * never claimed in turns: not even jobs that no worker may run now keep others from it. Discarded:
 * portions of a thousand, which cost the same (measured) and would let each queue wait twice as
 * long for its turn.
 */
#include "core/engine/inner.h"

#define CLAIM_MAX       2000             /* jobs in one claim */
#define AHEAD_URGENT_NS (25 * NS_PER_MS) /* where the order counts */
#define TURN_ROWS       500              /* a portion */
#define TURN_NS         (25 * NS_PER_MS) /* of slower jobs what takes so long */
#define TURN_BYTES      (CLAIMED_BYTES / 3)
#define TURNS_MAX       (CLAIMED_MAX - CLAIMED_MAX / 8)

/* What was claimed cannot be overtaken by what is more urgent and comes later. */
int64_t queue_ahead_ns(const struct queue_books *q)
{
        return q->by_priority ? AHEAD_URGENT_NS : AHEAD_NS;
}

static uint32_t workers_of(const struct queue_books *q, uint32_t able)
{
        return q->concurrency && q->concurrency < able ? q->concurrency : able;
}

/* How many of its jobs this node should hold: what its workers start soon; under a limit over all
 * nodes what they start at once, since whoever claims more keeps others from running them. */
uint32_t queue_target(const struct queue_books *q, uint32_t able)
{
        bool ahead = q->service_ns > 0 && !q->global;
        int64_t each = ahead ? queue_ahead_ns(q) / q->service_ns : 1;
        each = each < q->batch_max ? q->batch_max : each < 1 ? 1 : each;
        int64_t target = each > CLAIMED_MAX ? CLAIMED_MAX : each * workers_of(q, able);
        return target > CLAIMED_MAX ? CLAIMED_MAX : (uint32_t)target;
}

/* --- what all queues hold --------------------------------------------------------------------- */

static bool is_active(const struct queue_books *q)
{
        return q->may_have_work || q->claiming || q->ready.n || q->gathered || q->given ||
               q->n_arrived || q->arriving;
}

static uint32_t begun(const struct queue_books *q)
{
        return q->ready.n + q->gathered + q->given;
}

static uint32_t coming(const struct queue_books *q)
{
        return q->starting + (q->claiming ? q->coming : 0);
}

static bool some_worker_is_idle(const struct engine *e)
{
        for (uint32_t w = 0; w < e->workers_top; w++) {
                const struct worker_books *b = &e->workers[w];
                if (b->state == WORKER_READY && b->head == b->tail) {
                        return true;
                }
        }
        return false;
}

static bool is_quick(const struct queue_books *q, uint32_t able)
{
        return q->deep && q->service_ns > 0 && !q->global && !q->gone && !q->paused && !q->stuck &&
               q->service_ns * LOADED <= TURN_NS * workers_of(q, able) &&
               q->job_bytes * LOADED <= TURN_BYTES;
}

struct tally claims_tally(const struct engine *e)
{
        struct tally t = {.able = workers_able(e), .idle = some_worker_is_idle(e)};
        for (uint32_t i = 0; i < e->n_queues; i++) {
                const struct queue_books *q = &e->queues[i];
                t.active += is_active(q);
                t.begun += begun(q);
                t.coming += coming(q);
                if (is_quick(q, t.able)) {
                        t.claiming |= q->claiming;
                        t.turns++;
                        t.held += begun(q) + coming(q);
                }
        }
        t.turns = t.active > 1 ? t.turns : 0; /* one alone has all of the room */
        t.active = t.active ? t.active : 1;
        return t;
}

bool takes_turns(const struct queue_books *q, const struct tally *t)
{
        return t->turns && is_quick(q, t->able);
}

/* Bytes that may still be claimed, when what is under way is as large as its queue's jobs are. */
uint64_t claim_bytes_left(const struct engine *e)
{
        uint64_t held = e->claimed_bytes;
        for (uint32_t i = 0; i < e->n_queues; i++) {
                held += e->queues[i].job_bytes * coming(&e->queues[i]);
        }
        return held < CLAIMED_BYTES ? CLAIMED_BYTES - held : 0;
}

/* --- a queue's claim -------------------------------------------------------------------------- */

static uint32_t less(uint32_t a, uint32_t b)
{
        return a > b ? a - b : 0;
}

/* So many of a queue's jobs have room in memory; those that a worker waits for always have. */
static uint32_t fitting(const struct engine *e, const struct queue_books *q, uint32_t idle)
{
        uint64_t n = q->job_bytes ? claim_bytes_left(e) / q->job_bytes : UINT32_MAX;
        return n < idle ? idle : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* What it lacks of its target, or of so many. */
static uint32_t lacking(const struct engine *e, const struct queue_books *q, const struct tally *t,
                        uint32_t most)
{
        uint32_t target = queue_target(q, t->able);
        target = target > most ? most : target;
        target = q->global && target > q->global ? q->global : target;
        return less(target, begun(q) + coming(q) - handler_passed(e, q));
}

/* As many of these as there is room for, of whomever. */
static uint32_t roomy(const struct engine *e, const struct queue_books *q, const struct tally *t,
                      uint32_t want)
{
        uint32_t busy = e->claimed + t->coming;
        uint32_t here = begun(q) + coming(q) - handler_passed(e, q);
        uint32_t free = less(CLAIMED_MAX, busy);
        want = want > free ? free : want;
        bool few = busy < 2 * t->able; /* ended ones that cannot be written take memory too */
        uint32_t fit = fitting(e, q, few ? less(t->able, here) : 0);
        want = want > fit ? fit : want;
        return want > CLAIM_MAX ? CLAIM_MAX : want;
}

/* Of what is never claimed in turns each queue has as much: whatever fills the rest of the room,
 * and however long it stays there, each can begin something. */
static uint32_t spared(const struct queue_books *q, const struct tally *t)
{
        uint32_t each = (CLAIMED_MAX - TURNS_MAX) / t->active;
        return less(each ? each : 1, begun(q) + coming(q));
}

uint32_t share_want(const struct engine *e, const struct queue_books *q, const struct tally *t)
{
        bool tight = t->turns && e->claimed + t->coming > TURNS_MAX;
        uint32_t want = q->stuck ? 0 : lacking(e, q, t, CLAIMED_MAX / t->active);
        uint32_t spare = tight ? spared(q, t) : want;
        return roomy(e, q, t, want > spare ? spare : want);
}

uint32_t queue_want(const struct engine *e, const struct queue_books *q)
{
        struct tally t = claims_tally(e);
        return share_want(e, q, &t);
}

/* --- turns ------------------------------------------------------------------------------------ */

/* So many are claimed at once when it is a queue's turn. */
static uint32_t portion(const struct queue_books *q, uint32_t able)
{
        int64_t n = engine_min(TURN_ROWS, TURN_NS * workers_of(q, able) / q->service_ns);
        if (q->job_bytes) {
                n = engine_min(n, (int64_t)(TURN_BYTES / q->job_bytes));
        }
        return (uint32_t)engine_min(n, queue_target(q, able));
}

/* Of the room for turns, the part of those who take them. */
static uint32_t part_of(const struct tally *t)
{
        return TURNS_MAX * t->turns / t->active;
}

/* Theirs is at least their part, and at most what nobody else holds. */
static uint32_t turn_room(const struct engine *e, const struct tally *t)
{
        uint32_t part = less(part_of(t), t->held);
        uint32_t left = less(TURNS_MAX, e->claimed + t->coming);
        return part > left ? part : left;
}

/* Nothing is on its way to its workers, or to others that are idle. */
static bool starves(const struct queue_books *q, const struct tally *t)
{
        return !t->claiming && (t->idle || t->begun < TURN_ROWS) && begun(q) < t->able;
}

uint32_t turn_want(const struct engine *e, const struct queue_books *q, const struct tally *t,
                   bool *ret_waits)
{
        uint32_t least = portion(q, t->able), most = TURNS_MAX / t->turns;
        uint32_t lack = lacking(e, q, t, most > least ? most : least);
        uint32_t want = roomy(e, q, t, lack), room = turn_room(e, t);
        if (part_of(t) < least && t->held == 0) {
                least = part_of(t); /* few among many that take none */
        }
        if ((want < room ? want : room) >= least) {
                return want < room ? want : room;
        }
        if (starves(q, t)) {
                return want < spared(q, t) ? want : spared(q, t);
        }
        *ret_waits = lack >= least && !t->idle;
        return 0;
}
