/*
 * Does the ledger's history of one job make sense by itself, and does it agree with what the
 * handlers wrote down? Edges (I22), claims and fences (I3, I4), attempts (I6), strikes (I7, I16),
 * times (I12).
 */
#include "core/job.h"
#include "tests/audit/audit.h"

/* A strike is an end of the worker while it ran the job: crashed, out of memory, or killed past its
 * time-out. One that stopped when it was asked took nobody down. */
static bool is_strike(const struct audit_job *j, const struct audit_change *c)
{
        const struct audit_run *r = audit_run_of(j, c->claim);
        bool died = r && (r->end == AUDIT_KILLED || r->end == AUDIT_CRASHED);
        return c->error == ERROR_CRASHED || c->error == ERROR_OOM ||
               (c->error == ERROR_TIMED_OUT && died);
}

static void check_claim(const struct audit_change *c, const struct audit_change *before,
                        struct audit_verdict *v)
{
        uint32_t claim = before ? before->claim : 0;
        uint16_t attempt = before ? before->attempt : 0;
        if (c->claim != claim + 1) {
                audit_blame(v, "I3", &c->id, "claim %u follows claim %u", c->claim, claim);
        }
        if (c->attempt != attempt + 1) {
                audit_blame(v, "I6", &c->id, "claim %u has attempt %u, after attempt %u", c->claim,
                            c->attempt, attempt);
        }
        if (c->attempt > c->max_attempts) {
                audit_blame(v, "I6", &c->id, "claim %u is attempt %u of %u", c->claim, c->attempt,
                            c->max_attempts);
        }
}

static void check_fence(const struct audit_change *c, struct audit_verdict *v)
{
        bool fenced = c->claim_shown || c->token_shown;
        if (fenced && (c->claim_shown != c->claim_before || c->token_shown != c->token_before)) {
                audit_blame(v, "I3", &c->id, "a write of claim %u was accepted under claim %u%s",
                            c->claim_shown, c->claim_before,
                            c->claim_shown == c->claim_before ? " with another token" : "");
        }
}

/* Dead before its attempts are spent: only by its budget of time. */
static void check_exhausted(const struct audit_change *c, struct audit_verdict *v)
{
        if (c->reason == REASON_EXHAUSTED && c->attempt < c->max_attempts && !c->budgeted) {
                audit_blame(v, "I6", &c->id, "exhausted after attempt %u of %u", c->attempt,
                            c->max_attempts);
        }
}

/* What of attempt and strikes may a try's end spend? */
static void check_spent(const struct audit_job *j, const struct audit_change *c,
                        uint8_t strikes_before, struct audit_verdict *v)
{
        bool unspent = c->to == STATE_PENDING || c->to == STATE_SCHEDULED;
        uint16_t want = (uint16_t)(c->attempt_before - (unspent ? 1 : 0));
        bool unstarted_cancel = c->to == STATE_CANCELLED && c->error == ERROR_NONE;
        if (c->attempt != want && !unstarted_cancel) {
                audit_blame(v, unspent ? "I17" : "I6", &c->id,
                            "attempt %u became %u when claim %u went to %s", c->attempt_before,
                            c->attempt, c->claim, state_name(c->to));
        }
        if (c->to == STATE_RETRYING && c->attempt >= c->max_attempts) {
                audit_blame(v, "I6", &c->id, "retrying after attempt %u of %u", c->attempt,
                            c->max_attempts);
        }
        if (c->strikes != strikes_before + (is_strike(j, c) ? 1 : 0)) {
                audit_blame(v, "I7", &c->id, "%u strikes became %u by an end of class '%s'",
                            strikes_before, c->strikes, error_class_name(c->error));
        }
        if (c->to == STATE_RETRYING && c->strikes >= STRIKES_MAX) {
                audit_blame(v, "I7", &c->id, "retrying after %u strikes", c->strikes);
        }
        check_exhausted(c, v);
}

#define END(name) (1u << AUDIT_##name)

/* What may the handler have written for the ledger to say this? 0: nothing is needed. */
static uint32_t wanted_ends(const struct audit_change *c)
{
        static const struct {
                enum job_state to;
                enum job_reason reason;
                uint32_t ends;
        } table[] = {
            {STATE_COMPLETED, REASON_NONE, END(DONE)},
            {STATE_SCHEDULED, REASON_SNOOZED, END(SNOOZE)},
            {STATE_CANCELLED, REASON_DISCARDED, END(DISCARD)},
            {STATE_DEAD, REASON_REJECTED, END(DEAD)},
        };
        for (size_t i = 0; i < ARRAY_LEN(table); i++) {
                if (c->to == table[i].to && c->reason == table[i].reason) {
                        return table[i].ends;
                }
        }
        switch (c->error) {
        case ERROR_FAILED: return END(RETRY) | END(CANCELLED);
        case ERROR_CRASHED:
        case ERROR_OOM: return END(CRASHED);
        case ERROR_TIMED_OUT: /* killed; or asked, and then it stopped or fell over */
                return END(KILLED) | END(CRASHED) | END(RETRY) | END(CANCELLED);
        default: return 0;
        }
}

/* Nobody knows whose fault it was: they run singly next, and nothing is spent. */
static void check_batch(const struct audit_change *c, const struct audit_run *r,
                        struct audit_verdict *v)
{
        bool charged =
            c->error == ERROR_CRASHED || c->error == ERROR_OOM || c->error == ERROR_TIMED_OUT;
        if (charged && audit_died_in_batch(r)) {
                audit_blame(v, "I6", &c->id, "claim %u pays for the end of a batch of %u", c->claim,
                            r->batch);
        }
}

static void check_evidence(const struct audit_job *j, const struct audit_change *c,
                           struct audit_verdict *v)
{
        const struct audit_run *r = audit_run_of(j, c->claim);
        uint32_t ends = wanted_ends(c);
        if (r) {
                check_batch(c, r, v);
        }
        if (ends && !r) {
                audit_blame(v, "I16", &c->id, "claim %u ended as %s(%s) and never started",
                            c->claim, state_name(c->to), error_class_name(c->error));
        } else if (ends && !(ends & 1u << r->end)) {
                audit_blame(v, "I16", &c->id, "claim %u ended as %s(%s); its handler says %s",
                            c->claim, state_name(c->to), error_class_name(c->error),
                            audit_end_name(r->end));
        }
        if (c->error == ERROR_STOPPED && !r) {
                audit_blame(v, "I17", &c->id, "claim %u was stopped and never started", c->claim);
        }
        if (c->to == STATE_PENDING && r && !audit_died_in_batch(r)) {
                audit_blame(v, "I17", &c->id, "claim %u was given back and had started", c->claim);
        }
}

static void check_rescue(const struct audit *a, const struct audit_job *j,
                         const struct audit_change *c, int64_t claimed_ns, struct audit_verdict *v)
{
        (void)j;
        if (c->error == ERROR_LOST && !audit_was_cut(a, c->holder, claimed_ns, c->at_ns)) {
                audit_blame(v, "I4", &c->id, "claim %u was rescued from a node that lived",
                            c->claim);
        }
}

static void check_holder(const struct audit *a, const struct audit_change *c,
                         struct audit_verdict *v)
{
        for (uint32_t i = 0; i < a->n_burials; i++) {
                if (a->burials[i].holder == c->holder && a->burials[i].at_ns < c->at_ns) {
                        audit_blame(v, "I4", &c->id,
                                    "claim %u was given to a node that had been declared dead",
                                    c->claim);
                }
        }
}

static void check_entry(const struct audit_change *c, struct audit_verdict *v)
{
        if (c->from != STATE_NONE) {
                audit_blame(v, "I22", &c->id, "its history begins with %s", state_name(c->from));
        }
}

static void check_chain(const struct audit_change *c, const struct audit_change *before,
                        struct audit_verdict *v)
{
        if (c->from != before->to || !state_edge(c->from, c->to)) {
                audit_blame(v, "I22", &c->id, "from %s to %s (it was %s)", state_name(c->from),
                            state_name(c->to), state_name(before->to));
        }
        if (state_terminal(c->from) && !(c->operator_ && c->generation == before->generation + 1)) {
                audit_blame(v, "I2", &c->id, "left %s without an operator", state_name(c->from));
        }
        bool waited = c->from == STATE_SCHEDULED || c->from == STATE_RETRYING;
        if (waited && c->to == STATE_PENDING && !c->operator_ && c->wall_us < c->due_before_us) {
                audit_blame(v, "I12", &c->id, "offered %lld us before it was due",
                            (long long)(c->due_before_us - c->wall_us));
        }
}

void audit_history(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        uint8_t strikes = 0;
        int64_t claimed_ns = 0;
        for (uint32_t i = 0; i < j->n_changes; i++) {
                const struct audit_change *c = &j->changes[i];
                const struct audit_change *before = i ? c - 1 : NULL;
                if (!before) {
                        check_entry(c, v);
                } else {
                        check_chain(c, before, v);
                }
                check_fence(c, v);
                if (c->to == STATE_RUNNING) {
                        check_claim(c, before, v);
                        check_holder(a, c, v);
                        claimed_ns = c->at_ns;
                } else if (c->from == STATE_RUNNING) {
                        check_spent(j, c, strikes, v);
                        check_evidence(j, c, v);
                        check_rescue(a, j, c, claimed_ns, v);
                }
                strikes = c->strikes;
        }
}
