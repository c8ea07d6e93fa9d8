/*
 * Why a job is where it is. The states that end or time a job explain themselves; what waits is
 * asked about in the order in which something must hold before it can start: somebody who could run
 * it, its way to them, their limits, those before it. The first that fails is the answer, so that
 * whoever mends it gets the next one. It must never name a reason that is only likely.
 */
#include "core/explain.h"

#include <stdio.h>

#include "core/pattern.h"
#include "core/rfc3339.h"

const char *explain_name(enum explain_code c)
{
        static const char *const names[] = {
#define X(name, text) text,
            EXPLAIN_CODES(X)
#undef X
        };
        return (unsigned)c < ARRAY_LEN(names) ? names[c] : "?";
}

/* --- words ------------------------------------------------------------------------------------ */

struct telling { /* one explanation being made */
        const struct explain_facts *f;
        const struct job_row *job;
        struct arena *a;
        struct explanation *out;
};

#define TIME_TEXT 32

struct when {
        char text[TIME_TEXT];
};

/* Seconds are enough for people. */
static struct when at(int64_t wall_us)
{
        char full[RFC3339_TEXT];
        struct when w;
        rfc3339_text(wall_us, full);
        snprintf(w.text, sizeof w.text, "%.19sZ", full);
        return w;
}

/* "3 s", "5 min", "2 h", "4 days": the largest unit with two of it at least. */
static struct when lasting(int64_t us)
{
        static const struct {
                int64_t seconds;
                const char *name;
        } units[] = {{86400, "days"}, {3600, "h"}, {60, "min"}};
        struct when w;
        int64_t s = us / US_PER_S;
        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
                if (s >= 2 * units[i].seconds) {
                        snprintf(w.text, sizeof w.text, "%lld %s",
                                 (long long)(s / units[i].seconds), units[i].name);
                        return w;
                }
        }
        if (us < US_PER_S) {
                snprintf(w.text, sizeof w.text, "%lld ms", (long long)(us < 0 ? 0 : us / 1000));
        } else {
                snprintf(w.text, sizeof w.text, "%lld s", (long long)s);
        }
        return w;
}

static struct explain_detail *detail(struct telling *t, const char *name, enum detail_kind kind)
{
        static struct explain_detail spare; /* never read: twelve are enough for every code */
        struct explanation *out = t->out;
        struct explain_detail *d =
            out->n_details < EXPLAIN_DETAILS_MAX ? &out->details[out->n_details++] : &spare;
        *d = (struct explain_detail){.name = name, .kind = kind};
        return d;
}

static void detail_text(struct telling *t, const char *name, struct str s)
{
        if (s.n) {
                detail(t, name, DETAIL_TEXT)->text = s;
        }
}

static void detail_number(struct telling *t, const char *name, int64_t n)
{
        detail(t, name, DETAIL_NUMBER)->number = n;
}

static void detail_time(struct telling *t, const char *name, int64_t us)
{
        if (us > 0) {
                detail(t, name, DETAIL_TIME)->number = us;
        }
}

static void say(struct telling *t, enum explain_code code, struct str sentence)
{
        t->out->code = code;
        t->out->sentence = sentence;
}

#define SAY(t, code, ...) say((t), EXPLAIN_##code, arena_printf((t)->a, __VA_ARGS__))
#define S(s)              (int)(s).n, (s).p ? (s).p : ""

/* The first line of an error, for a sentence. */
static struct str first_line(struct str s)
{
        const char *end = s.n ? memchr(s.p, '\n', s.n) : NULL;
        uint32_t n = end ? (uint32_t)(end - s.p) : s.n;
        return (struct str){s.p, n > 200 ? 200 : n};
}

/* ": <what was wrong>", or the end of the sentence. */
static struct str because(struct telling *t)
{
        struct str line = first_line(t->job->last.error_text);
        return line.n ? arena_printf(t->a, ": %.*s", S(line)) : STR(".");
}

/* --- nodes ------------------------------------------------------------------------------------ */

static const struct node_row *node_of(const struct explain_facts *f, uint64_t holder)
{
        for (uint32_t i = 0; i < f->n_nodes; i++) {
                if (f->nodes[i].holder == holder) {
                        return &f->nodes[i];
                }
        }
        return NULL;
}

static bool lives(const struct explain_facts *f, const struct node_row *n)
{
        return !n->dead && (f->silent_us <= 0 || f->now_us - n->beat_us < f->silent_us);
}

static struct str node_text(struct telling *t, uint64_t holder)
{
        const struct node_row *n = node_of(t->f, holder);
        return arena_printf(t->a, "%.*s%s(%016llx)", n ? (int)n->host.n : 0,
                            n && n->host.p ? n->host.p : "", n ? " " : "",
                            (unsigned long long)holder);
}

/* Does one of the lines, patterns or names, stand for it? */
static bool one_matches(struct str lines, struct str what, bool patterns)
{
        for (uint32_t i = 0; i < lines.n;) {
                const char *end = memchr(lines.p + i, '\n', lines.n - i);
                uint32_t n = end ? (uint32_t)(end - lines.p) - i : lines.n - i;
                struct str line = {lines.p + i, n};
                if (n && (patterns ? pattern_match(line, what) : str_eq(line, what))) {
                        return true;
                }
                i += n + 1;
        }
        return false;
}

/* How many of the nodes could run it, and what they lack. */
struct able {
        uint32_t alive, with_queue, with_handler, both;
        bool self;                    /* this node is one of `both` */
        const struct node_row *other; /* one of them that is not this one */
};

static struct able look_at_nodes(const struct explain_facts *f)
{
        struct able n = {0};
        for (uint32_t i = 0; i < f->n_nodes; i++) {
                const struct node_row *node = &f->nodes[i];
                if (!lives(f, node)) {
                        continue;
                }
                bool queue = one_matches(node->queues, f->job->queue, false);
                bool handler = one_matches(node->serves, f->job->type, true);
                n.alive++;
                n.with_queue += queue;
                n.with_handler += handler;
                n.both += queue && handler;
                n.self |= queue && handler && node->holder == f->self;
                n.other = queue && handler && node->holder != f->self ? node : n.other;
        }
        return n;
}

/* --- jobs that have ended --------------------------------------------------------------------- */

static void explain_dead(struct telling *t)
{
        const struct job_row *j = t->job;
        struct str why = because(t);
        struct when when = at(j->finished_us);
        detail_text(t, "reason", str_of(reason_name(j->reason)));
        detail_time(t, "since", j->finished_us);
        detail_number(t, "attempts", j->attempt);
        switch (j->reason) {
        case REASON_EXPIRED:
                detail_time(t, "deadline", j->deadline_us);
                SAY(t, EXPIRED, "It had not started by its deadline, %s, and is dead since %s.",
                    at(j->deadline_us).text, when.text);
                break;
        case REASON_EXHAUSTED:
                SAY(t, DEAD, "It is dead since %s: its attempts are spent, %u of %u%.*s", when.text,
                    j->attempt, j->max_attempts, S(why));
                break;
        case REASON_CRASHED:
                SAY(t, DEAD, "It is dead since %s: %u workers ended while they ran it%.*s",
                    when.text, j->strikes, S(why));
                break;
        case REASON_REJECTED:
                SAY(t, DEAD, "It is dead since %s: its handler said that it can never work%.*s",
                    when.text, S(why));
                break;
        case REASON_SNOOZED_OUT:
                SAY(t, DEAD, "It is dead since %s: its handler put it off %u times.", when.text,
                    j->snoozes);
                break;
        default:
                SAY(t, DEAD, "It is dead since %s (%s)%.*s", when.text, reason_name(j->reason),
                    S(why));
                break;
        }
}

static void explain_cancelled(struct telling *t)
{
        const struct job_row *j = t->job;
        struct when when = at(j->finished_us);
        detail_text(t, "reason", str_of(reason_name(j->reason)));
        detail_time(t, "since", j->finished_us);
        switch (j->reason) {
        case REASON_DUPLICATE:
                SAY(t, DUPLICATE, "It is the duplicate of another job and was never run%.*s",
                    S(because(t)));
                break;
        case REASON_DISCARDED:
                SAY(t, CANCELLED, "Its handler discarded it at %s%.*s", when.text, S(because(t)));
                break;
        case REASON_DROPPED:
                SAY(t, CANCELLED,
                    "It was dropped at %s: its queue was full, and drops its oldest jobs.",
                    when.text);
                break;
        case REASON_OVERLAPPED:
                SAY(t, CANCELLED, "It was cancelled at %s: the next run of its schedule was due.",
                    when.text);
                break;
        default: SAY(t, CANCELLED, "It was cancelled at %s by an operator.", when.text); break;
        }
}

static void explain_completed(struct telling *t)
{
        const struct job_row *j = t->job;
        detail_time(t, "since", j->finished_us);
        detail_number(t, "attempts", j->attempt);
        SAY(t, COMPLETED, "It was completed at %s, with attempt %u of %u.", at(j->finished_us).text,
            j->attempt, j->max_attempts);
}

/* --- slots
 * ---------------------------------------------------------------------------------------- */

struct slots {
        uint32_t up, busy, most; /* most: of the type that has the most */
        struct str type;
};

static struct slots look_at_workers(const struct explain_facts *f)
{
        struct slots s = {0};
        for (uint32_t i = 0; i < f->n_workers; i++) {
                const struct worker_view *w = &f->workers[i];
                bool ready = w->state == WORKER_READY;
                uint32_t same = 0;
                s.up += ready;
                s.busy += ready && w->busy;
                for (uint32_t k = 0; ready && w->busy && k < f->n_workers; k++) {
                        same += f->workers[k].state == WORKER_READY && f->workers[k].busy &&
                                str_eq(f->workers[k].type, w->type);
                }
                if (same > s.most) {
                        s.most = same;
                        s.type = w->type;
                }
        }
        return s;
}

/* All taken, or all that the queue may have of them. true: that was said. */
static bool explain_taken(struct telling *t, struct str then)
{
        const struct queue_view *q = t->f->queue;
        struct slots s = look_at_workers(t->f);
        bool own_limit = q && q->concurrency && q->busy >= q->concurrency;
        uint32_t n = own_limit ? q->concurrency : s.up;
        if (s.up == 0 || (s.busy < s.up && !own_limit)) {
                return false;
        }
        detail_number(t, "slots", n);
        detail_text(t, "taken_by", s.type);
        detail_number(t, "taken_n", s.most);
        const char *whose = own_limit ? "that its queue has on this node" : "of this node";
        if (n == 1) {
                SAY(t, SLOTS_TAKEN, "The only slot %s is taken by a job of type %.*s; %.*s.", whose,
                    S(s.type), S(then));
        } else {
                SAY(t, SLOTS_TAKEN,
                    "All %u slots %s are taken, %u of them by jobs of type %.*s; %.*s.", n, whose,
                    s.most, S(s.type), S(then));
        }
        return true;
}

/* --- jobs that run ---------------------------------------------------------------------------- */

/* The worker of this node that is at it; NULL: none, or it runs elsewhere. */
static const struct worker_view *worker_of(const struct explain_facts *f)
{
        for (uint32_t i = 0; f->job->holder == f->self && i < f->n_workers; i++) {
                if (f->workers[i].busy && job_id_eq(&f->workers[i].running, &f->job->id)) {
                        return &f->workers[i];
                }
        }
        return NULL;
}

static struct str progress_text(struct telling *t)
{
        const struct job_row *j = t->job;
        if (!j->has_progress) {
                return STR("");
        }
        detail(t, "done", DETAIL_FIGURE)->figure = j->done;
        detail_time(t, "progress_at", j->progress_us);
        if (j->total <= 0) {
                return arena_printf(t->a, ", %g done", j->done);
        }
        detail(t, "total", DETAIL_FIGURE)->figure = j->total;
        return arena_printf(t->a, ", %g of %g done (%.0f %%)", j->done, j->total,
                            100 * j->done / j->total);
}

static void explain_running(struct telling *t)
{
        const struct job_row *j = t->job;
        const struct worker_view *w = worker_of(t->f);
        const struct node_row *node = node_of(t->f, j->holder);
        struct str where = node_text(t, j->holder);
        detail_text(t, "node", arena_printf(t->a, "%016llx", (unsigned long long)j->holder));
        detail_text(t, "host", node ? node->host : STR(""));
        detail_time(t, "since", j->started_us);
        detail_number(t, "attempt", j->attempt);
        if (!node || !lives(t->f, node)) {
                SAY(t, NODE_LOST,
                    "It was running on node %.*s, which is gone or silent; another node takes it "
                    "over once the lease is over.",
                    S(where));
                return;
        }
        struct str progress = progress_text(t);
        struct str worker = STR("");
        if (w) {
                detail_number(t, "worker", w->worker);
                worker = arena_printf(t->a, ", worker %u", w->worker);
        } else if (j->holder == t->f->self) {
                if (!explain_taken(t, STR("it is claimed, and starts when one is free"))) {
                        SAY(t, CLAIMED,
                            "It was claimed at %s by node %.*s and starts within moments.",
                            at(j->started_us).text, S(where));
                }
                return;
        }
        if (j->cancel_asked) {
                SAY(t, CANCEL_ASKED,
                    "It runs on node %.*s%.*s since %s%.*s, and was asked to stop: somebody "
                    "cancelled it.",
                    S(where), S(worker), at(j->started_us).text, S(progress));
        } else {
                SAY(t, RUNNING, "It runs on node %.*s%.*s since %s, attempt %u of %u%.*s.",
                    S(where), S(worker), at(j->started_us).text, j->attempt, j->max_attempts,
                    S(progress));
        }
}

/* --- jobs that wait for their time ------------------------------------------------------------ */

static void explain_timed(struct telling *t)
{
        const struct job_row *j = t->job;
        int64_t left = j->due_us - t->f->now_us;
        struct when when = at(j->due_us), in = lasting(left);
        detail_time(t, "due", j->due_us);
        detail_text(t, "reason", str_of(reason_name(j->reason)));
        if (j->state == STATE_RETRYING) {
                detail_number(t, "attempt", j->attempt + 1);
                detail_number(t, "max_attempts", j->max_attempts);
                detail_time(t, "retry_until", j->retry_until_us);
        }
        if (left <= 0) {
                SAY(t, DUE, "Its time, %s, has come: it is offered within moments.", when.text);
        } else if (j->state == STATE_RETRYING) {
                SAY(t, RETRYING, "It waits until %s (%s) for its retry, attempt %u of %u%.*s",
                    when.text, in.text, j->attempt + 1u, j->max_attempts, S(because(t)));
        } else if (j->reason == REASON_SNOOZED) {
                SAY(t, SCHEDULED, "It waits until %s (%s): its handler put it off.", when.text,
                    in.text);
        } else {
                SAY(t, SCHEDULED, "It waits until %s (%s), the time it is scheduled for.",
                    when.text, in.text);
        }
}

/* --- jobs that could start -------------------------------------------------------------------- */

/* Nobody could run it, wherever it waits. true: that was said. */
static bool explain_nobody(struct telling *t, const struct able *n)
{
        const struct job_row *j = t->job;
        detail_text(t, "queue", j->queue);
        detail_text(t, "type", j->type);
        if (t->f->queue && t->f->queue->paused) {
                SAY(t, PAUSED, "Its queue %.*s is paused by an operator.", S(j->queue));
        } else if (j->reason == REASON_NO_QUEUE) {
                SAY(t, NO_QUEUE, "No queue takes jobs of type %.*s: it is parked.", S(j->type));
        } else if (n->alive == 0) {
                SAY(t, NO_NODE, "No node is up.");
        } else if (n->with_queue == 0) {
                SAY(t, QUEUE_NOT_SERVED, "No node has queue %.*s in its configuration.",
                    S(j->queue));
        } else if (n->with_handler == 0) {
                SAY(t, NO_HANDLER, "No node has a handler for type %.*s.", S(j->type));
        } else if (n->both == 0) {
                SAY(t, NO_HANDLER,
                    "No node that has queue %.*s has a handler for type %.*s (with the queue: %u, "
                    "with a handler: %u).",
                    S(j->queue), S(j->type), n->with_queue, n->with_handler);
        } else {
                return false;
        }
        return true;
}

/* Its doorbell is somewhere between here and the broker. */
static void explain_in_broker(struct telling *t)
{
        const struct job_row *j = t->job;
        const struct queue_view *q = t->f->queue;
        struct str name = q ? q->transport : STR("");
        detail_text(t, "transport", name);
        detail_time(t, "since", j->created_us);
        if (q && q->transport.n && !q->transport_up) {
                SAY(t, TRANSPORT_DOWN,
                    "It waits for its doorbell through transport %.*s, which is down here; after "
                    "ten seconds its queue is claimed from the ledger instead.",
                    S(name));
        } else if (q && q->not_consumed.n) {
                detail_text(t, "why", q->not_consumed);
                SAY(t, NOT_CONSUMED,
                    "Its doorbell waits in the broker, and queue %.*s is not consumed here: %.*s.",
                    S(j->queue), S(q->not_consumed));
        } else {
                SAY(t, IN_BROKER, "Its doorbell waits in queue %.*s of transport %.*s since %s.",
                    S(j->queue), S(name), at(j->created_us).text);
        }
}

static struct str ahead_text(struct telling *t)
{
        uint64_t n = t->job->ahead;
        if (n == 0) {
                return STR("it is the next of its queue");
        }
        if (n == 1) {
                return STR("one job of its queue is before it");
        }
        return arena_printf(t->a, "%s%llu jobs of its queue are before it",
                            n >= 10000 ? "more than " : "", (unsigned long long)n);
}

static void explain_slots(struct telling *t)
{
        struct str ahead = ahead_text(t);
        detail_number(t, "ahead", (int64_t)t->job->ahead);
        if (look_at_workers(t->f).up == 0) {
                SAY(t, NO_WORKER, "No worker of this node is up yet; %.*s.", S(ahead));
        } else if (explain_taken(t, ahead)) {
                return;
        } else if (t->job->ahead) {
                SAY(t, BEHIND, "It waits its turn: %.*s.", S(ahead));
        } else {
                SAY(t, READY, "Nothing holds it: it starts within moments.");
        }
}

/* It can be claimed from the ledger. */
static void explain_offered(struct telling *t, const struct able *n)
{
        const struct queue_view *q = t->f->queue;
        if (!n->self && n->other) {
                struct str where = node_text(t, n->other->holder);
                detail_number(t, "ahead", (int64_t)t->job->ahead);
                detail_text(t, "host", n->other->host);
                SAY(t, ELSEWHERE, "Node %.*s serves it, this one does not: ask there; %.*s.",
                    S(where), S(ahead_text(t)));
        } else if (q && q->global && (q->limited || t->f->queue_running >= (int64_t)q->global)) {
                detail_number(t, "global", q->global);
                detail_number(t, "running", t->f->queue_running);
                SAY(t, GLOBAL_LIMIT,
                    "Queue %.*s may run %u jobs at once on all nodes together, and does; %.*s.",
                    S(t->job->queue), q->global, S(ahead_text(t)));
        } else {
                explain_slots(t);
        }
}

static void explain_pending(struct telling *t)
{
        struct able n = look_at_nodes(t->f);
        if (explain_nobody(t, &n)) {
                return;
        }
        switch (t->job->band) {
        case BAND_BROKER: explain_in_broker(t); break;
        case BAND_PARKED:
                SAY(t, PARKED,
                    "It was parked for want of a handler; one is there by now, and it is offered "
                    "within seconds.");
                break;
        case BAND_OFFERED: explain_offered(t, &n); break;
        }
}

void explain_job(const struct explain_facts *f, struct arena *a, struct explanation *ret)
{
        struct telling t = {f, f->job, a, ret};
        *ret = (struct explanation){0};
        switch (f->job->state) {
        case STATE_COMPLETED: explain_completed(&t); break;
        case STATE_DEAD: explain_dead(&t); break;
        case STATE_CANCELLED: explain_cancelled(&t); break;
        case STATE_RUNNING: explain_running(&t); break;
        case STATE_SCHEDULED:
        case STATE_RETRYING: explain_timed(&t); break;
        case STATE_PENDING:
        case STATE_NONE: explain_pending(&t); break;
        }
}
