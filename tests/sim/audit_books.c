/*
 * Do the producers' books and the ledger's last page agree? One row per accepted submission, with
 * an end or a way to one (I1, I15), its payload (I8, I10), one row per key (I13), arrays whole or
 * not at all, children if and only if their parent completed, no claim or dead node left behind.
 */
#include <string.h>

#include "core/job.h"
#include "tests/sim/audit.h"

static void check_path(const struct audit *a, const struct audit_row *r, struct audit_verdict *v)
{
        bool waits = r->state == STATE_SCHEDULED || r->state == STATE_RETRYING;
        if (r->state == STATE_RUNNING) {
                audit_blame(v, "I15", &r->id, "still running after everything has settled");
        } else if (waits && r->due_us < a->end_wall_us) {
                audit_blame(v, "I1", &r->id, "%s, due, and nobody offers it", state_name(r->state));
        } else if (r->state == STATE_PENDING && r->served) {
                audit_blame(v, "I1", &r->id, "pending%s, and nobody runs it",
                            r->parked ? " (parked)" : "");
        }
}

static void check_row(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        const struct audit_row *r = &j->row;
        if (!j->intended) {
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
        if (r->payload != j->intent.payload) {
                audit_blame(v, "I10", &j->id, "the row holds another payload");
        }
        const struct audit_run *last = audit_run_of(j, r->claim);
        if (r->state == STATE_COMPLETED && last && last->result != r->result) {
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
        check_path(a, r, v);
}

static bool completed_by(const struct audit_job *j, uint32_t claim)
{
        for (uint32_t i = 0; i < j->n_changes; i++) {
                if (j->changes[i].to == STATE_COMPLETED && j->changes[i].claim == claim) {
                        return true;
                }
        }
        return false;
}

static void check_child(const struct audit *a, const struct audit_job *j, struct audit_verdict *v)
{
        struct audit_job *parent;
        HASH_FIND(hh, a->jobs, j->intent.parent.b, sizeof j->intent.parent.b, parent);
        bool should = parent && completed_by(parent, j->intent.parent_claim);
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

static const struct audit_job *find_job(const struct audit *a, const struct job_id *id)
{
        struct audit_job *j;
        HASH_FIND(hh, a->jobs, id->b, sizeof id->b, j);
        return j;
}

static bool same_key(const struct audit_job *x, const struct audit_job *y)
{
        return x->rowed && y->rowed && x->row.keyed && y->row.keyed &&
               x->row.queue == y->row.queue && memcmp(x->row.key, y->row.key, 16) == 0;
}

static bool intends_key(const struct audit_job *x, const struct audit_job *y)
{
        return x->intent.keyed && y->intent.keyed && x->intent.queue == y->intent.queue &&
               memcmp(x->intent.key, y->intent.key, 16) == 0;
}

static void check_pairs(const struct audit *a, struct audit_verdict *v)
{
        struct audit_job *x, *y, *next_x, *next_y;
        HASH_ITER (hh, a->jobs, x, next_x) {
                if (!x->intended || (!x->intent.keyed && !x->intent.group)) {
                        continue;
                }
                HASH_ITER (hh, a->jobs, y, next_y) {
                        if (x == y || !y->intended) {
                                continue;
                        }
                        if (same_key(x, y) || (intends_key(x, y) && x->rowed && y->rowed)) {
                                audit_blame(v, "I13", &x->id, "two rows bear its key");
                        }
                        bool together = x->intent.group && x->intent.group == y->intent.group;
                        if (together && x->rowed != y->rowed) {
                                audit_blame(v, "I1", &x->id, "half of an atomic array");
                        }
                }
        }
}

static void check_said(const struct audit *a, struct audit_verdict *v)
{
        for (uint32_t i = 0; i < a->n_said; i++) {
                const struct audit_said *s = &a->said[i];
                if (s->answer != AUDIT_EXISTS && s->answer != AUDIT_CONFLICT) {
                        continue;
                }
                const struct audit_job *mine = find_job(a, &s->id);
                const struct audit_job *other = find_job(a, &s->existing);
                if (!other || !other->rowed) {
                        audit_blame(v, "I13", &s->id,
                                    "the producer was shown a job that is not there");
                        continue;
                }
                bool same = mine->intent.payload == other->intent.payload;
                if (same != (s->answer == AUDIT_EXISTS)) {
                        audit_blame(v, "I13", &s->id,
                                    same ? "an equal job was called a conflict"
                                         : "another payload was called the same job");
                }
        }
}

void audit_across(const struct audit *a, struct audit_verdict *v)
{
        check_said(a, v);
        check_pairs(a, v);
        if (a->claims_left) {
                audit_blame(v, "I15", NULL, "%u claims were never retired", a->claims_left);
        }
        if (a->nodes_left) {
                audit_blame(v, "I15", NULL, "%u dead nodes were never forgotten", a->nodes_left);
        }
}
