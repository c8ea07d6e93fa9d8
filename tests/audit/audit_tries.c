/*
 * From outside there is no history of changes. What stands for it: the row (its last claim, token
 * and state), the tries that the ledger keeps, and what the handlers wrote down. Every run must be
 * one that the ledger gave (I2, I3, I4) and whose end it knows (I16, I17), every attempt must be
 * accounted for (I6), strikes are what the tries say (I7), a dead job keeps its tries (I8).
 *
 * A run's end line is written before its verdict leaves the handler. So a verdict that the ledger
 * took must have its line; a line may have no verdict, when the worker died in between.
 */
#include "core/job.h"
#include "tests/audit/audit.h"

#define CLOCK_SLACK_US  5000
#define ENDING_SLACK_US (1000 * INT64_C(1000)) /* of the run that ended the job */

static bool ended(const struct audit_row *r)
{
        return state_terminal(r->state);
}

/* --- one run against the row -------------------------------------------------------------- */

static void check_fence(const struct audit_job *j, const struct audit_run *r,
                        struct audit_verdict *v)
{
        const struct audit_row *row = &j->row;
        if (r->claim > row->claim) {
                audit_blame(v, ended(row) ? "I2" : "I3", &j->id,
                            "claim %u started, the ledger is at claim %u (%s)", r->claim,
                            row->claim, state_name(row->state));
        } else if (r->claim == row->claim && r->token != row->token) {
                audit_blame(v, "I3", &j->id, "claim %u ran with a token that is not the row's",
                            r->claim);
        }
        if (r->generation > row->generation) {
                audit_blame(v, "I2", &j->id, "ran in generation %u, the row is in %u",
                            r->generation, row->generation);
        }
}

static void check_after_end(const struct audit *a, const struct audit_job *j,
                            const struct audit_run *r, struct audit_verdict *v)
{
        const struct audit_row *row = &j->row;
        bool same = ended(row) && r->generation == row->generation && row->finished_us;
        bool asked = row->reason == REASON_OPERATOR || row->reason == REASON_OVERLAPPED;
        bool by_other = asked && !audit_try_of(j, r->claim);
        bool its_end = r->claim == row->claim && !by_other;
        int64_t slack = its_end ? ENDING_SLACK_US : CLOCK_SLACK_US;
        int64_t late = r->start_wall_us - row->finished_us;
        if (same && !a->clock_moved && late > slack) {
                audit_blame(v, "I2", &j->id, "claim %u started %lld us after the job was %s",
                            r->claim, (long long)late, state_name(row->state));
        }
}

static void check_try(const struct audit_job *j, const struct audit_run *r, struct audit_verdict *v)
{
        const struct audit_try *t = audit_try_of(j, r->claim);
        bool leaves_none =
            r->end == AUDIT_SNOOZE || r->end == AUDIT_DISCARD || audit_died_in_batch(r);
        if (!t && r->claim < j->row.claim && !leaves_none) {
                audit_blame(v, "I17", &j->id, "claim %u ran (%s), and no try of it is kept",
                            r->claim, audit_end_name(r->end));
        }
        if (t && (t->attempt != r->attempt || t->generation != r->generation)) {
                audit_blame(v, "I6", &j->id, "claim %u ran as attempt %u, its try says %u",
                            r->claim, r->attempt, t->attempt);
        }
        bool said = r->end == AUDIT_RETRY || r->end == AUDIT_CANCELLED;
        bool its_own =
            audit_run_of(j, r->claim) == r; /* not that of the run after its batch died */
        if (t && its_own && t->error == ERROR_FAILED && !said) {
                audit_blame(v, "I16", &j->id, "claim %u is kept as failed; its handler says %s",
                            r->claim, audit_end_name(r->end));
        }
}

static void check_attempt(const struct audit_job *j, uint32_t at, struct audit_verdict *v)
{
        const struct audit_run *r = &j->runs[at];
        if (r->attempt > j->row.max_attempts) {
                audit_blame(v, "I6", &j->id, "claim %u ran as attempt %u of %u", r->claim,
                            r->attempt, j->row.max_attempts);
        }
        for (uint32_t i = 0; i < at; i++) {
                const struct audit_run *x = &j->runs[i];
                bool again = x->attempt == r->attempt && x->generation == r->generation;
                bool unspent = x->end == AUDIT_SNOOZE || audit_died_in_batch(x);
                if (again && x->claim != r->claim && !unspent) {
                        audit_blame(v, "I6", &j->id, "claims %u and %u are both attempt %u",
                                    x->claim, r->claim, r->attempt);
                }
                if (x->claim > r->claim) {
                        audit_blame(v, "I3", &j->id, "claim %u started after claim %u", r->claim,
                                    x->claim);
                }
                if (x->generation > r->generation) {
                        audit_blame(v, "I2", &j->id, "generation %u ran after generation %u",
                                    r->generation, x->generation);
                }
        }
}

/* A handler whose verdict was taken, and who asked for a delay, gets at least that. */
static void check_delay(const struct audit_job *j, const struct audit_run *r,
                        struct audit_verdict *v)
{
        const struct audit_run *x = audit_run_of(j, r->claim - 1);
        if (!x || !x->after_ms || j->hurried || x->generation != r->generation) {
                return;
        }
        const struct audit_try *t = audit_try_of(j, x->claim);
        bool taken = t ? t->error == ERROR_FAILED : x->end == AUDIT_SNOOZE;
        int64_t early = x->end_ns + x->after_ms * NS_PER_MS - r->start_ns;
        if (taken && early > CLOCK_SLACK_US * 1000) {
                audit_blame(v, "I12", &j->id, "claim %u started %lld us before its delay was over",
                            r->claim, (long long)early / 1000);
        }
}

/* After a cancel was answered 200 nothing starts; one that was asked is gone at grace. */
static void check_cancel(const struct audit *a, const struct audit_job *j,
                         const struct audit_run *r, struct audit_verdict *v)
{
        bool revived = j->revived_ns > j->stopped_ns;
        if (j->stopped_ns && r->start_ns > j->stopped_ns && !revived) {
                audit_blame(v, "I14", &j->id,
                            "claim %u started %lld us after the cancel was answered", r->claim,
                            (long long)(r->start_ns - j->stopped_ns) / 1000);
        }
        int64_t until = j->cancel_ns + a->grace_ns;
        bool ran = j->cancel_ns && r->start_ns < j->cancel_ns && r->end_ns > until;
        if (ran && a->grace_ns && !audit_was_cut(a, r->holder, j->cancel_ns, until)) {
                audit_blame(v, "I14", &j->id, "claim %u went on for %lld ms after it was to stop",
                            r->claim, (long long)(r->end_ns - j->cancel_ns) / 1000000);
        }
}

/* --- the row by itself and against its last run --------------------------------------------- */

static void check_result(const struct audit_job *j, const struct audit_run *last,
                         struct audit_verdict *v)
{
        if (!last->resulted || !j->row.resulted || last->result == j->row.result) {
                return;
        }
        for (uint32_t i = 0; i < j->n_runs; i++) {
                if (j->runs[i].resulted && j->runs[i].result == j->row.result) {
                        audit_blame(v, "I4", &j->id,
                                    "completed under claim %u with the result of claim %u",
                                    last->claim, j->runs[i].claim);
                        return;
                }
        }
        audit_blame(v, "I4", &j->id, "completed, with another result than its handler's");
}

/* What the last run must have said for the row to be as it is. */
static void check_last(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        static const struct {
                enum job_state state;
                enum job_reason reason;
                enum audit_end end;
        } says[] = {
            {STATE_COMPLETED, REASON_NONE, AUDIT_DONE},
            {STATE_DEAD, REASON_REJECTED, AUDIT_DEAD},
            {STATE_CANCELLED, REASON_DISCARDED, AUDIT_DISCARD},
            {STATE_SCHEDULED, REASON_SNOOZED, AUDIT_SNOOZE},
        };
        const struct audit_row *row = &j->row;
        const struct audit_run *last = audit_run_of(j, row->claim);
        for (size_t i = 0; i < ARRAY_LEN(says); i++) {
                if (row->state != says[i].state || row->reason != says[i].reason) {
                        continue;
                }
                if (!last && row->watched && !a->unwatched) {
                        audit_blame(v, "I16", &j->id, "%s by claim %u, which never started",
                                    state_name(row->state), row->claim);
                } else if (last && last->end != says[i].end) {
                        audit_blame(v, "I16", &j->id, "%s by claim %u; its handler says %s",
                                    state_name(row->state), row->claim, audit_end_name(last->end));
                }
        }
        if (last && row->state == STATE_COMPLETED) {
                check_result(j, last, v);
        }
}

/* How many attempts of this generation have no try: those that a try's record does not end with. */
static void open_attempts(const struct audit_row *r, int *ret_least, int *ret_most)
{
        bool without = r->state == STATE_DEAD && r->reason == REASON_SNOOZED_OUT;
        *ret_least = r->state == STATE_COMPLETED || r->state == STATE_RUNNING || without;
        *ret_most = *ret_least || r->state == STATE_CANCELLED;
}

struct tally {
        uint32_t tries, crashes, timeouts, highest_before;
};

static struct tally count_tries(const struct audit_job *j)
{
        struct tally t = {0};
        for (uint32_t i = 0; i < j->n_tries; i++) {
                const struct audit_try *x = &j->tries[i];
                if (x->generation != j->row.generation) {
                        t.highest_before =
                            x->claim > t.highest_before ? x->claim : t.highest_before;
                        continue;
                }
                t.tries += x->claim > 0; /* a letter that never was a job has one of claim 0 */
                t.crashes += x->error == ERROR_CRASHED || x->error == ERROR_OOM;
                t.timeouts += x->error == ERROR_TIMED_OUT;
        }
        return t;
}

static void check_accounts(const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_row *r = &j->row;
        struct tally t = count_tries(j);
        int least, most, open = (int)r->attempt - (int)t.tries;
        open_attempts(r, &least, &most);
        if (open < least || open > most) {
                audit_blame(v, r->state == STATE_DEAD ? "I8" : "I6", &j->id,
                            "%s at attempt %u with %u tries kept", state_name(r->state), r->attempt,
                            t.tries);
        }
        if (r->claim < t.highest_before + r->attempt + r->snoozes) {
                audit_blame(v, "I3", &j->id, "at claim %u after %u attempts and %u snoozes",
                            r->claim, r->attempt, r->snoozes);
        }
        if (r->strikes < t.crashes || r->strikes > t.crashes + t.timeouts) {
                audit_blame(v, "I7", &j->id, "%u strikes; %u of its tries crashed, %u timed out",
                            r->strikes, t.crashes, t.timeouts);
        }
}

static void check_tries(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        for (uint32_t i = 0; i < j->n_tries; i++) {
                const struct audit_try *t = &j->tries[i];
                bool ran = audit_run_of(j, t->claim) != NULL || !j->row.watched || a->unwatched;
                bool struck = t->error == ERROR_CRASHED || t->error == ERROR_OOM;
                if (t->claim > j->row.claim) {
                        audit_blame(v, "I3", &j->id, "a try of claim %u is kept, the row is at %u",
                                    t->claim, j->row.claim);
                }
                if (!ran && struck && !a->kills_noted) {
                        audit_blame(v, "I16", &j->id, "claim %u has crashed, and never started",
                                    t->claim);
                }
                if (!ran && t->error == ERROR_STOPPED) {
                        audit_blame(v, "I17", &j->id, "claim %u was stopped, and never started",
                                    t->claim);
                }
                if (!ran && t->error == ERROR_FAILED) {
                        audit_blame(v, "I16", &j->id, "claim %u has failed, and never started",
                                    t->claim);
                }
        }
}

static void check_dead(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_row *r = &j->row;
        bool kept = r->reason != REASON_TOO_LARGE && r->reason != REASON_UNSTORABLE;
        if (r->state == STATE_DEAD && r->bare && kept) {
                audit_blame(v, "I8", &j->id, "dead, and its payload is gone");
        }
        if (r->generation < j->requeued_to) {
                audit_blame(v, "I8", &j->id, "requeued to generation %u, the row is in %u",
                            j->requeued_to, r->generation);
        }
        if (r->generation > j->requeues_asked && !a->strangers) {
                audit_blame(v, "I8", &j->id, "in generation %u, and %u requeues were asked for",
                            r->generation, j->requeues_asked);
        }
        bool revived = j->revived_ns > j->stopped_ns;
        if (j->stopped_ns && !revived && r->state != STATE_CANCELLED) {
                audit_blame(v, "I14", &j->id, "its cancel was answered 200, and it is %s",
                            state_name(r->state));
        }
}

static void check_poison(const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_row *r = &j->row;
        bool spent = r->reason == REASON_EXHAUSTED && r->strikes < STRIKES_MAX;
        bool right = r->state == STATE_DEAD && (r->reason == REASON_CRASHED || spent);
        if (!right && ended(r)) {
                audit_blame(v, "I7", &j->id, "poison, and %s(%s)", state_name(r->state),
                            reason_name(r->reason));
        }
}

void audit_tries(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        if (!j->rowed) {
                if (j->n_runs && a->strangers && !j->accepted) {
                        audit_blame(v, "I9", &j->id, "it ran, and there is no row of it");
                }
                return;
        }
        for (uint32_t i = 0; i < j->n_runs; i++) {
                check_fence(j, &j->runs[i], v);
                check_after_end(a, j, &j->runs[i], v);
                check_try(j, &j->runs[i], v);
                check_attempt(j, i, v);
                check_delay(j, &j->runs[i], v);
                check_cancel(a, j, &j->runs[i], v);
        }
        check_last(a, j, v);
        check_accounts(j, v);
        check_tries(a, j, v);
        check_dead(a, j, v);
        if (j->intended && j->intent.poison) {
                check_poison(j, v);
        }
}
