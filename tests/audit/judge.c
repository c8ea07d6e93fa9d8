/*
 * The last step: brings the evidence into one picture (what ended a run that nobody lived to end,
 * who was cut off, whose node lives), lets the library judge each job, judges what no single job
 * shows, and counts how much there was to judge.
 */
#include <stdlib.h>

#include "tests/audit/evidence.h"

/* --- one picture -------------------------------------------------------------------------- */

static int by_start(const void *p, const void *q)
{
        const struct audit_run *x = p, *y = q;
        return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

/* A killed run writes no end. When the ledger keeps its try, that tells when it was over at the
 * latest; else nothing does, and then it is not taken to overlap with others. The try of a claim
 * that ran twice, since its batch died, is that of its last run. */
static void end_run(const struct audit_job *j, uint32_t at)
{
        struct audit_run *r = &j->runs[at];
        const struct audit_try *t = audit_try_of(j, r->claim);
        for (uint32_t i = at + 1; i < j->n_runs; i++) {
                t = j->runs[i].claim == r->claim ? NULL : t;
        }
        int64_t ran_us = t && t->ended_us > r->start_wall_us ? t->ended_us - r->start_wall_us : 0;
        if (r->end == AUDIT_RUNNING) {
                r->end = AUDIT_KILLED;
                r->end_ns = r->start_ns + ran_us * 1000;
        }
}

/* When a clock was moved, times are told by the one that cannot be: from the intent on. */
static void straighten_clock(const struct evidence *e)
{
        for (const struct intent *i = e->intents; i; i = i->hh.next) {
                for (uint32_t k = 0; i->not_before_us && i->job && k < i->job->n_runs; k++) {
                        struct audit_run *r = &i->job->runs[k];
                        r->start_wall_us = i->wall_us + (r->start_ns - i->mono_ns) / 1000;
                }
        }
}

static void gather_runs(struct evidence *e)
{
        struct audit_job *j, *next;
        HASH_ITER (hh, e->audit.jobs, j, next) {
                if (j->n_runs > 1) {
                        qsort(j->runs, j->n_runs, sizeof *j->runs, by_start);
                }
                for (uint32_t i = 0; i < j->n_runs; i++) {
                        end_run(j, i);
                }
        }
        if (e->audit.clock_moved) {
                straighten_clock(e);
        }
}

static bool cuts_off(enum fault_kind k)
{
        return k == FAULT_KILL || k == FAULT_STOP || k == FAULT_CUT;
}

/* Of this node, this supervisor, or both. A worker's pid is no supervisor's: killing one cuts
 * nobody off. */
static bool concerns(const struct fault *f, const struct word *holder)
{
        return (!f->has_node || str_eq(holder->text, f->node)) &&
               (!f->has_pid || (uint64_t)f->pid == holder->n);
}

static void gather_cuts(struct evidence *e, const struct fault *f)
{
        bool named = f->has_node || f->has_pid;
        int64_t until = f->kind == FAULT_KILL && !f->has_to ? INT64_MAX : f->to_ns;
        if (!named && f->kind != FAULT_KILL) {
                audit_cut_off(&e->audit, &(struct audit_cut){0, f->from_ns, until});
        }
        for (const struct word *w = named ? e->holders : NULL; w; w = w->next) {
                if (concerns(f, w)) {
                        uint64_t holder = hash_holder(w->text, (int64_t)w->n);
                        audit_cut_off(&e->audit, &(struct audit_cut){holder, f->from_ns, until});
                }
        }
}

static void gather_faults(struct evidence *e, struct audit_report *r)
{
        for (const struct fault *f = e->faults; f; f = f->next) {
                e->audit.kills_noted |= f->kind == FAULT_KILL;
                e->audit.clock_moved |= f->kind == FAULT_CLOCK;
                if (cuts_off(f->kind)) {
                        gather_cuts(e, f);
                }
                if (f->ledger_clock) {
                        report_unjudged(r, "I12",
                                        "the ledger's clock was moved, and calendar "
                                        "times with it");
                }
        }
}

static bool node_lives(const struct evidence *e, uint64_t holder)
{
        for (uint32_t i = 0; i < e->n_nodes; i++) {
                const struct node_row *n = &e->nodes[i];
                if (n->holder == holder) {
                        int64_t age_us = e->dumped_us - n->beat_at_us;
                        return !n->dead && age_us < 2 * e->options.lease_ms * 1000;
                }
        }
        return false;
}

static void gather_rows(struct evidence *e)
{
        for (uint32_t i = 0; i < e->n_rows; i++) {
                struct audit_row *r = &e->rows[i]->row;
                r->held = r->state == STATE_RUNNING && node_lives(e, r->holder);
        }
        e->audit.end_wall_us = e->dumped_us - e->options.settle_ms * 1000;
}

/* --- what no single job shows ------------------------------------------------------------- */

/* A submission whose row has another number of attempts than it asked for. */
static void judge_policy(const struct evidence *e, struct audit_verdict *v)
{
        for (const struct intent *i = e->intents; i; i = i->hh.next) {
                const struct audit_job *j = i->job;
                if (j && j->rowed && i->max_attempts && i->max_attempts != j->row.max_attempts) {
                        audit_blame(v, "I6", &j->id, "asked for %u attempts, the row allows %u",
                                    i->max_attempts, j->row.max_attempts);
                }
        }
}

static void judge_broker(const struct evidence *e, struct audit_report *r)
{
        char text[120];
        for (const struct word *w = e->unacked; w; w = w->next) {
                if (w->n) {
                        snprintf(text, sizeof text, "%llu messages of queue %.*s unacknowledged",
                                 (unsigned long long)w->n, (int)w->text.n, w->text.p);
                        report_violation(r, "I15", "", text);
                }
        }
        for (const struct word *w = e->ready; w; w = w->next) {
                if (w->n && !word_find(e->options.paused, w->text)) {
                        snprintf(text, sizeof text, "%llu messages still wait in queue %.*s",
                                 (unsigned long long)w->n, (int)w->text.n, w->text.p);
                        report_violation(r, "I1b", "", text);
                }
        }
        if (e->inbox) {
                snprintf(text, sizeof text, "%llu letters still wait in the inbox",
                         (unsigned long long)e->inbox);
                report_violation(r, "I1b", "", text);
        }
        if (e->late_outbox) {
                snprintf(text, sizeof text, "%llu outbox rows are older than 10 s",
                         (unsigned long long)e->late_outbox);
                report_violation(r, "I15", "", text);
        }
}

static void judge_idless(const struct evidence *e, struct audit_report *r)
{
        uint64_t allowed = e->idless * e->options.extra_permille / 1000;
        for (const struct fault *f = e->faults; f; f = f->next) {
                allowed += f->kind == FAULT_REDELIVERED ? (uint64_t)f->n : 0;
        }
        if (e->idless_extra > allowed) {
                char text[120];
                snprintf(text, sizeof text,
                         "%llu second rows of %llu letters without an id; %llu are tolerated",
                         (unsigned long long)e->idless_extra, (unsigned long long)e->idless,
                         (unsigned long long)allowed);
                report_violation(r, "I1", "", text);
        }
}

/* A worker's parent is the supervisor: a node has one more than it was killed or stopped. */
static void judge_supervisors(const struct evidence *e, struct audit_report *r)
{
        for (const struct word *w = e->holders; w; w = w->next) {
                uint64_t seen = 0, ends = 0, noted = 0;
                for (const struct word *x = e->holders; x; x = x->next) {
                        seen += str_eq(x->text, w->text);
                }
                for (const struct fault *f = e->faults; f; f = f->next) {
                        bool mine = f->has_node && str_eq(f->node, w->text);
                        noted += mine;
                        ends += mine && (f->kind == FAULT_KILL || f->kind == FAULT_TERM);
                }
                if (noted && seen > ends + 1) {
                        char text[120];
                        snprintf(text, sizeof text,
                                 "node %.*s had %llu supervisors, and %llu of its ends were noted",
                                 (int)w->text.n, w->text.p, (unsigned long long)seen,
                                 (unsigned long long)ends);
                        report_violation(r, "I16", "", text);
                        return;
                }
        }
}

static void judge_term(const struct fault *f, struct audit_report *r)
{
        char text[120];
        int64_t took_ms = (f->to_ns - f->from_ns) / NS_PER_MS;
        report_judged(r, "I17", 1);
        if (f->has_to && took_ms > f->grace_ms + 2000) {
                snprintf(text, sizeof text, "node %.*s needed %lld ms to end, its grace is %lld ms",
                         (int)f->node.n, f->node.p, (long long)took_ms, (long long)f->grace_ms);
                report_violation(r, "I17", "", text);
        }
        if (f->code) {
                snprintf(text, sizeof text, "node %.*s ended with %lld after SIGTERM",
                         (int)f->node.n, f->node.p, (long long)f->code);
                report_violation(r, "I17", "", text);
        }
}

/* Claims made just before an outage may start for a lease; no longer. */
static void judge_outage(const struct evidence *e, const struct fault *f, struct audit_verdict *v)
{
        int64_t from = f->from_ns + e->options.lease_ms * NS_PER_MS;
        for (const struct audit_job *j = e->audit.jobs; j; j = j->hh.next) {
                for (uint32_t i = 0; i < j->n_runs; i++) {
                        int64_t at = j->runs[i].start_ns;
                        if (at > from && at < f->to_ns) {
                                audit_blame(v, "I19", &j->id,
                                            "claim %u started %lld ms into an outage of the ledger",
                                            j->runs[i].claim,
                                            (long long)((at - f->from_ns) / NS_PER_MS));
                        }
                }
        }
        report_judged(v->report, "I19", e->starts);
}

static void judge_faults(const struct evidence *e, struct audit_verdict *v)
{
        for (const struct fault *f = e->faults; f; f = f->next) {
                if (f->kind == FAULT_TERM) {
                        judge_term(f, v->report);
                } else if (f->kind == FAULT_LEDGER) {
                        judge_outage(e, f, v);
                }
        }
}

/* --- how much there was ------------------------------------------------------------------- */

static void count_intents(struct evidence *e, struct audit_report *r)
{
        for (const struct intent *i = e->intents; i; i = i->hh.next) {
                bool idless = i->amqp && !i->keyed;
                report_judged(r, "I1", i->accepted || i->confirmed);
                report_judged(r, "I1b", i->letter && i->confirmed);
                report_judged(r, "I7", i->poison && i->job);
                report_judged(r, "I10", i->job && i->job->rowed);
                report_judged(r, "I12", i->job && i->not_before_us && i->job->n_runs);
                e->idless += idless && i->confirmed;
        }
        report_judged(r, "I12", e->delayed);
        report_judged(r, "I14", e->cancels);
}

static void count_job(const struct evidence *e, const struct audit_job *j, struct audit_report *r)
{
        const struct audit_row *row = &j->row;
        report_judged(r, "I2", j->rowed && state_terminal(row->state) ? j->n_runs : 0);
        report_judged(r, "I3", j->rowed && row->claim);
        report_judged(r, "I6", j->rowed && (row->attempt || j->n_tries));
        report_judged(r, "I7", j->rowed && row->strikes && !j->intent.poison);
        report_judged(r, "I8", j->rowed && (row->state == STATE_DEAD || row->generation));
        report_judged(r, "I12", row->tick_us != 0);
        report_judged(r, "I13", (row->tick_us != 0) + (j->rowed && j->intent.alone));
        report_judged(r, "I9", HASH_COUNT(e->intents) ? j->n_runs + j->rowed : 0);
        report_judged(r, "I10", j->n_runs);
        report_judged(r, "I15", j->rowed);
        report_judged(r, "I16", j->rowed && row->watched ? j->n_tries + (row->claim > 0) : 0);
        report_judged(r, "I22", j->rowed);
        for (uint32_t i = 0; i < j->n_tries; i++) {
                report_judged(r, "I17", j->tries[i].error == ERROR_STOPPED);
        }
}

static void count_all(struct evidence *e, struct audit_report *r)
{
        count_intents(e, r);
        for (const struct audit_job *j = e->audit.jobs; j; j = j->hh.next) {
                count_job(e, j, r);
        }
        report_judged(r, "I4", e->starts);
}

static bool has_submissions(const struct evidence *e)
{
        for (const struct intent *i = e->intents; i; i = i->hh.next) {
                if (!i->child) {
                        return true;
                }
        }
        return false;
}

void evidence_judge(struct evidence *e, struct audit_report *r)
{
        struct audit *a = &e->audit;
        struct audit_verdict v = {.report = r};
        a->outside = true;
        a->strangers = e->options.strangers || !has_submissions(e);
        a->unwatched = e->starts == 0;
        a->lease_ns = e->options.lease_ms * NS_PER_MS;
        a->grace_ns = e->options.grace_ms * NS_PER_MS;
        gather_faults(e, r);
        gather_runs(e);
        gather_rows(e);
        count_all(e, r);
        audit_judge_all(a, r);
        judge_policy(e, &v);
        judge_broker(e, r);
        judge_idless(e, r);
        judge_supervisors(e, r);
        judge_faults(e, &v);
}
