/*
 * Was every run of a handler allowed? Each start needs an accepted job (I9), its payload (I10), a
 * claim that was committed before and had not ended (I2, I4), a time that had come (I12); a claim
 * runs once, and once more, alone, when it took part in a batch that died (I6). What a node does
 * while it is cut off is listed by the fence, not by us: such starts are excused when the nemesis
 * says that the node was cut off since its claim.
 */
#include "tests/audit/audit.h"

#define ASK_WITHIN_NS (1300 * NS_PER_MS)

struct span {
        const struct audit_change *begin, *end; /* of the claim, in the ledger */
};

static struct span span_of(const struct audit_job *j, uint32_t claim)
{
        struct span s = {0};
        for (uint32_t i = 0; i < j->n_changes; i++) {
                const struct audit_change *c = &j->changes[i];
                if (c->claim != claim) {
                        continue;
                }
                if (c->to == STATE_RUNNING) {
                        s.begin = c;
                } else if (c->from == STATE_RUNNING && !s.end) {
                        s.end = c;
                }
        }
        return s;
}

static void check_claimed(const struct audit_job *j, const struct audit_run *r,
                          struct audit_verdict *v)
{
        struct span s = span_of(j, r->claim);
        if (!s.begin || s.begin->token != r->token) {
                audit_blame(v, "I4", &r->id, "a run of claim %u that the ledger never gave",
                            r->claim);
                return;
        }
        if (s.begin->attempt != r->attempt || s.begin->generation != r->generation) {
                audit_blame(v, "I6", &r->id, "claim %u ran as attempt %u, the ledger says %u",
                            r->claim, r->attempt, s.begin->attempt);
        }
        if (s.begin->at_ns > r->start_ns) {
                audit_blame(v, "I19", &r->id, "claim %u started before its commit", r->claim);
        }
        if (s.end && s.end->at_ns < r->start_ns) {
                audit_blame(v, state_terminal(s.end->to) ? "I2" : "I4", &r->id,
                            "claim %u started %lld us after it had become %s", r->claim,
                            (long long)(r->start_ns - s.end->at_ns) / 1000, state_name(s.end->to));
        }
}

static void check_alone(const struct audit *a, const struct audit_job *j, uint32_t at,
                        struct audit_verdict *v)
{
        const struct audit_run *r = &j->runs[at];
        for (uint32_t i = 0; i < at; i++) {
                const struct audit_run *x = &j->runs[i];
                if (x->claim == r->claim && !audit_died_in_batch(x)) {
                        audit_blame(v, "I4", &r->id, "claim %u was started twice", r->claim);
                } else if (x->claim == r->claim && r->batch > 1) {
                        audit_blame(v, "I6", &r->id,
                                    "claim %u was in a batch that died, and runs in one again",
                                    r->claim);
                }
                bool meets = x->end == AUDIT_RUNNING || x->end_ns > r->start_ns;
                bool cut = meets && audit_was_cut(a, x->holder, x->start_ns, r->start_ns);
                if (meets && cut && !x->exclusive) {
                        audit_excuse(v, "I4", &r->id,
                                     "claims %u and %u overlapped while a node was cut off",
                                     x->claim, r->claim);
                } else if (meets) {
                        audit_blame(v, "I4", &r->id, "claims %u and %u ran at the same time",
                                    x->claim, r->claim);
                }
        }
}

/* An operator may have offered it before its time. */
static bool was_hurried(const struct audit_job *j)
{
        if (j->hurried) {
                return true;
        }
        for (uint32_t i = 0; i < j->n_changes; i++) {
                if (j->changes[i].operator_ && j->changes[i].to == STATE_PENDING) {
                        return true;
                }
        }
        return false;
}

/* A run that goes on after a cancel was accepted is asked within a second (and the latency of a
 * beat). */
static void check_asked(const struct audit *a, const struct audit_job *j, const struct audit_run *r,
                        struct audit_verdict *v)
{
        int64_t at = j->cancel_ns, until = at + ASK_WITHIN_NS;
        bool ran =
            at && !r->deaf && r->start_ns < at && (r->end == AUDIT_RUNNING || r->end_ns > until);
        bool asked = r->asked_ns && r->asked_ns <= until;
        if (ran && !asked && !audit_was_cut(a, r->holder, at, until)) {
                audit_blame(v, "I14", &r->id, "claim %u ran on unasked after a cancel", r->claim);
        }
}

void audit_runs(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        for (uint32_t i = 0; i < j->n_runs; i++) {
                const struct audit_run *r = &j->runs[i];
                if (!j->intended && !a->strangers && !j->row.schedule) {
                        audit_blame(v, "I9", &r->id, "nobody submitted it, and it ran");
                        return;
                }
                if (j->intended && !audit_is_payload(j, r->payload)) {
                        audit_blame(v, "I10", &r->id, "claim %u saw another payload", r->claim);
                }
                if (r->start_wall_us < j->intent.not_before_us && !was_hurried(j)) {
                        audit_blame(v, "I12", &r->id, "started %lld us before its time",
                                    (long long)(j->intent.not_before_us - r->start_wall_us));
                }
                if (!a->outside) {
                        check_claimed(j, r, v);
                }
                check_alone(a, j, i, v);
                check_asked(a, j, r, v);
        }
}
