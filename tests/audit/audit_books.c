/*
 * Do the producers' books and the ledger's last page agree? One row per accepted submission, with
 * an end or a way to one (I1, I15), its payload (I8, I10), one row per key (I13), arrays whole or
 * not at all, children if and only if their parent completed, no claim or dead node left behind.
 */
#include <string.h>

#include "core/job.h"
#include "tests/audit/audit.h"

static void check_path(const struct audit *a, const struct audit_row *r, struct audit_verdict *v)
{
        bool waits = r->state == STATE_SCHEDULED || r->state == STATE_RETRYING;
        if (r->state == STATE_RUNNING && r->held) {
                audit_excuse(v, "I15", &r->id, "still running, and its node lives");
        } else if (r->state == STATE_RUNNING) {
                audit_blame(v, "I15", &r->id, "still running after everything has settled");
        } else if (waits && r->due_us < a->end_wall_us) {
                audit_blame(v, "I1", &r->id, "%s, due, and nobody offers it", state_name(r->state));
        } else if (r->state == STATE_PENDING && r->served) {
                audit_blame(v, "I1", &r->id, "pending%s, and nobody runs it",
                            r->parked ? " (parked)" : "");
        }
}

static void check_end(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_row *r = &j->row;
        const struct audit_run *last = audit_run_of(j, r->claim);
        if (r->state == STATE_COMPLETED && last && !a->outside && last->result != r->result) {
                audit_blame(v, "I1", &j->id, "completed, with another result than its handler's");
        }
        if (r->attempt > r->max_attempts) {
                audit_blame(v, "I6", &j->id, "attempt %u of %u", r->attempt, r->max_attempts);
        }
        if (j->intent.poison && r->state == STATE_COMPLETED) {
                audit_blame(v, "I7", &j->id, "poison, and completed");
        }
        if ((r->reason == REASON_CRASHED) !=
            (r->state == STATE_DEAD && r->strikes >= STRIKES_MAX)) {
                audit_blame(v, "I7", &j->id, "%s(%s) with %u strikes", state_name(r->state),
                            reason_name(r->reason), r->strikes);
        }
}

static void check_row(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_row *r = &j->row;
        if (!j->intended && !a->strangers && !r->schedule) {
                audit_blame(v, "I9", &j->id, "a row that nobody submitted");
                return;
        }
        if (j->rows > 1) {
                audit_blame(v, "I1", &j->id, "%u rows", j->rows);
        }
        if (j->refused) {
                audit_blame(v, "I1", &j->id,
                            "a row, though the producer was told that there is none");
        }
        if (j->intended && !r->bare && !audit_is_payload(j, r->payload)) {
                audit_blame(v, "I10", &j->id, "the row holds another payload");
        }
        check_end(a, j, v);
        check_path(a, r, v);
}

static bool completed_by(const struct audit *a, const struct audit_job *j, uint32_t claim)
{
        if (a->outside) {
                return j->row.state == STATE_COMPLETED && j->row.claim == claim;
        }
        for (uint32_t i = 0; i < j->n_changes; i++) {
                if (j->changes[i].to == STATE_COMPLETED && j->changes[i].claim == claim) {
                        return true;
                }
        }
        return false;
}

static void check_child(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_job *parent = audit_find(a, &j->intent.parent);
        bool should = parent && completed_by(a, parent, j->intent.parent_claim);
        if (should != j->rowed) {
                audit_blame(v, "I1", &j->id,
                            should ? "its parent completed, and it is not there"
                                   : "it is there, and its parent did not complete");
        }
}

void audit_books(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        if (j->accepted && !j->rowed) {
                audit_blame(v, "I1", &j->id, "accepted, and lost");
        }
        if (j->rowed) {
                check_row(a, j, v);
        }
        if (j->intended && j->intent.child) {
                check_child(a, j, v);
        }
}

/* --- what must be one among all ------------------------------------------------------------ */

static int compare_keys(const uint8_t *x, uint32_t x_queue, const uint8_t *y, uint32_t y_queue)
{
        return x_queue != y_queue ? (x_queue > y_queue) - (x_queue < y_queue) : memcmp(x, y, 16);
}

static int by_row_key(const void *p, const void *q)
{
        const struct audit_job *x = *(struct audit_job *const *)p,
                               *y = *(struct audit_job *const *)q;
        return compare_keys(x->row.key, x->row.queue, y->row.key, y->row.queue);
}

static int by_intent_key(const void *p, const void *q)
{
        const struct audit_job *x = *(struct audit_job *const *)p,
                               *y = *(struct audit_job *const *)q;
        return compare_keys(x->intent.key, x->intent.queue, y->intent.key, y->intent.queue);
}

static int by_group(const void *p, const void *q)
{
        const struct audit_job *x = *(struct audit_job *const *)p,
                               *y = *(struct audit_job *const *)q;
        return (x->intent.group > y->intent.group) - (x->intent.group < y->intent.group);
}

static bool bears_key(const struct audit_job *j)
{
        return j->rowed && j->row.keyed;
}

/* A letter that cannot be a job has its key in the intent, and its row bears none. */
static bool wants_key(const struct audit_job *j)
{
        enum job_reason r = j->row.reason;
        bool none = r == REASON_ID_CONFLICT || r == REASON_MALFORMED || r == REASON_TOO_LARGE;
        return j->rowed && j->intended && j->intent.keyed && !none;
}

static bool is_grouped(const struct audit_job *j)
{
        return j->intended && j->intent.group && !j->intent.unique;
}

static void check_two_rows(const struct audit_job *x, const struct audit_job *y,
                           struct audit_verdict *v)
{
        (void)x;
        audit_blame(v, "I13", &y->id, "two rows bear its key");
}

static void check_together(const struct audit_job *x, const struct audit_job *y,
                           struct audit_verdict *v)
{
        if (x->rowed != y->rowed) {
                audit_blame(v, "I1", x->rowed ? &y->id : &x->id, "half of an atomic array");
        }
}

static bool names_another(enum audit_answer answer)
{
        return answer == AUDIT_EXISTS || answer == AUDIT_CONFLICT || answer == AUDIT_HELD ||
               answer == AUDIT_REPLACED;
}

static void check_said(const struct audit *a, struct audit_verdict *v)
{
        for (uint32_t i = 0; i < a->n_said; i++) {
                const struct audit_said *s = &a->said[i];
                if (!names_another(s->answer)) {
                        continue;
                }
                const struct audit_job *mine = audit_find(a, &s->id);
                const struct audit_job *other = audit_find(a, &s->existing);
                if (!other || !other->rowed) {
                        audit_blame(v, "I13", &s->id,
                                    "the producer was shown a job that is not there");
                        continue;
                }
                bool compared = (s->answer == AUDIT_EXISTS && !mine->intent.unique) ||
                                s->answer == AUDIT_CONFLICT; /* a request's own may be held */
                bool same = mine->intent.payload == other->intent.payload;
                if (compared && same != (s->answer == AUDIT_EXISTS)) {
                        audit_blame(v, "I13", &s->id,
                                    same ? "an equal job was called a conflict"
                                         : "another payload was called the same job");
                }
        }
}

void audit_across(const struct audit *a, struct audit_verdict *v)
{
        check_said(a, v);
        audit_neighbours(a, v, true, bears_key, by_row_key, check_two_rows);
        audit_neighbours(a, v, true, wants_key, by_intent_key, check_two_rows);
        audit_neighbours(a, v, true, is_grouped, by_group, check_together);
        if (a->claims_left) {
                audit_blame(v, "I15", NULL, "%u claims were never retired", a->claims_left);
        }
        if (a->nodes_left) {
                audit_blame(v, "I15", NULL, "%u dead nodes were never forgotten", a->nodes_left);
        }
}
