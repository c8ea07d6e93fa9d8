/*
 * Could this row have come about through the listed edges alone (I22)? Its waiting columns, reason,
 * claim, holder and times must fit its state.
 */
#include "core/job.h"
#include "tests/audit/audit.h"

#define IN(state) (1u << STATE_##state)

/* The states in which a reason may stand. */
static unsigned states_of(enum job_reason r)
{
        static const unsigned states[] = {
            [REASON_NONE] = ~0u & ~IN(DEAD) & ~IN(CANCELLED),
            [REASON_NO_HANDLER] = IN(PENDING),
            [REASON_EXHAUSTED] = IN(DEAD),
            [REASON_CRASHED] = IN(DEAD),
            [REASON_REJECTED] = IN(DEAD),
            [REASON_SNOOZED_OUT] = IN(DEAD),
            [REASON_EXPIRED] = IN(DEAD),
            [REASON_UNSTORABLE] = IN(DEAD),
            [REASON_ID_CONFLICT] = IN(DEAD),
            [REASON_MALFORMED] = IN(DEAD),
            [REASON_TOO_LARGE] = IN(DEAD),
            [REASON_DISCARDED] = IN(CANCELLED),
            [REASON_OPERATOR] = IN(CANCELLED),
            [REASON_GIVEN_BACK] = IN(PENDING),
            [REASON_REQUEUED] = IN(PENDING),
            [REASON_SNOOZED] = IN(SCHEDULED),
            [REASON_DUPLICATE] = IN(CANCELLED),
            [REASON_NO_QUEUE] = IN(PENDING),
            [REASON_DROPPED] = IN(CANCELLED),
            [REASON_OVERLAPPED] = IN(CANCELLED),
            [REASON_REPLACED] = IN(SCHEDULED),
        };
        return (size_t)r < ARRAY_LEN(states) ? states[r] : 0;
}

static const char *waiting_fault(const struct audit_row *r)
{
        bool due = r->state == STATE_SCHEDULED || r->state == STATE_RETRYING;
        bool parked = r->state == STATE_DEAD || r->state == STATE_CANCELLED;
        if (r->lane != (r->state == STATE_PENDING)) {
                return r->lane ? "it stands in a lane" : "it stands in no lane";
        }
        if (r->due != due) {
                return r->due ? "it has a due time" : "it has no due time";
        }
        if (r->parked_at != parked) {
                return r->parked_at ? "it is parked" : "it is not parked";
        }
        return NULL;
}

static const char *claim_fault(const struct audit_row *r)
{
        bool claimed =
            r->state == STATE_RUNNING || r->state == STATE_RETRYING || r->state == STATE_COMPLETED;
        if (claimed && (!r->claim || !r->holder)) {
                return "it was never claimed";
        }
        if (state_terminal(r->state) && !r->finished_us) {
                return "it has no time of its end";
        }
        if (!state_terminal(r->state) && r->finished_us) {
                return "it has a time of its end";
        }
        if (!(states_of(r->reason) & 1u << r->state)) {
                return "that reason does not belong to that state";
        }
        return NULL;
}

void audit_shape(const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_row *r = &j->row;
        if (!j->rowed) {
                return;
        }
        const char *fault = waiting_fault(r);
        fault = fault ? fault : claim_fault(r);
        if (fault) {
                audit_blame(v, "I22", &j->id, "%s(%s), and %s", state_name(r->state),
                            reason_name(r->reason), fault);
        }
}
