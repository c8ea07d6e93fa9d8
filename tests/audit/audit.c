/*
 * What the auditor is told, kept by job; and the order in which it judges.
 */
#include "tests/audit/audit.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/id.h"
#include "tests/audit/report.h"

const char *audit_end_name(enum audit_end e)
{
        static const char *const names[] = {
#define X(name) #name,
            AUDIT_ENDS(X)
#undef X
        };
        return e < ARRAY_LEN(names) ? names[e] : "?";
}

static void *grown(void *list, uint32_t n, uint32_t *capacity, size_t size)
{
        if (n < *capacity) {
                return list;
        }
        *capacity = *capacity ? *capacity * 2 : 4;
        list = realloc(list, *capacity * size);
        assert(list);
        return list;
}

struct audit_job *audit_job(struct audit *a, const struct job_id *id)
{
        struct audit_job *j;
        HASH_FIND(hh, a->jobs, id->b, sizeof id->b, j);
        if (!j) {
                j = calloc(1, sizeof *j);
                assert(j);
                j->id = *id;
                HASH_ADD(hh, a->jobs, id, sizeof j->id, j);
        }
        return j;
}

struct audit_job *audit_find(const struct audit *a, const struct job_id *id)
{
        struct audit_job *j;
        HASH_FIND(hh, a->jobs, id->b, sizeof id->b, j);
        return j;
}

void audit_deinit(struct audit *a)
{
        struct audit_job *j, *next;
        HASH_ITER (hh, a->jobs, j, next) {
                HASH_DELETE(hh, a->jobs, j);
                free(j->runs);
                free(j->changes);
                free(j->tries);
                free(j->payloads);
                free(j);
        }
        free(a->said);
        free(a->cuts);
        free(a->burials);
        *a = (struct audit){0};
}

void audit_intend(struct audit *a, const struct audit_intent *i)
{
        struct audit_job *j = audit_job(a, &i->id);
        j->intended = true;
        j->intent = *i;
}

void audit_answer(struct audit *a, const struct job_id *id, enum audit_answer answer,
                  const struct job_id *existing)
{
        struct audit_job *j = audit_job(a, id);
        bool own = !existing || job_id_eq(id, existing);
        j->accepted |= answer == AUDIT_CREATED || (answer == AUDIT_EXISTS && own);
        j->refused |=
            answer == AUDIT_REFUSED || answer == AUDIT_CONFLICT ||
            ((answer == AUDIT_EXISTS || answer == AUDIT_HELD || answer == AUDIT_REPLACED) && !own);
        a->said = grown(a->said, a->n_said, &a->said_capacity, sizeof *a->said);
        a->said[a->n_said++] = (struct audit_said){*id, existing ? *existing : *id, answer};
}

uint32_t audit_started(struct audit *a, const struct audit_run *r)
{
        struct audit_job *j = audit_job(a, &r->id);
        j->runs = grown(j->runs, j->n_runs, &j->runs_capacity, sizeof *j->runs);
        j->runs[j->n_runs] = *r;
        return j->n_runs++;
}

void audit_ended(struct audit *a, const struct job_id *id, uint32_t run, enum audit_end end,
                 int64_t at_ns)
{
        struct audit_job *j = audit_job(a, id);
        assert(run < j->n_runs);
        j->runs[run].end = end;
        j->runs[run].end_ns = at_ns;
}

void audit_result(struct audit *a, const struct job_id *id, uint32_t run, uint64_t result)
{
        struct audit_job *j = audit_job(a, id);
        assert(run < j->n_runs);
        j->runs[run].result = result;
}

void audit_asked(struct audit *a, const struct job_id *id, uint32_t run, int64_t at_ns)
{
        struct audit_job *j = audit_job(a, id);
        assert(run < j->n_runs);
        if (!j->runs[run].asked_ns) {
                j->runs[run].asked_ns = at_ns;
        }
}

void audit_cancel(struct audit *a, const struct job_id *id, int64_t at_ns)
{
        audit_job(a, id)->cancel_ns = at_ns;
}

void audit_replaced(struct audit *a, const struct job_id *id, uint64_t payload)
{
        struct audit_job *j = audit_job(a, id);
        j->payloads = grown(j->payloads, j->n_payloads, &j->payloads_capacity, sizeof *j->payloads);
        j->payloads[j->n_payloads++] = payload;
        j->hurried = true;
}

bool audit_is_payload(const struct audit_job *j, uint64_t payload)
{
        for (uint32_t i = 0; i < j->n_payloads; i++) {
                if (j->payloads[i] == payload) {
                        return true;
                }
        }
        return payload == j->intent.payload;
}

void audit_changed(struct audit *a, const struct audit_change *c)
{
        struct audit_job *j = audit_job(a, &c->id);
        j->changes = grown(j->changes, j->n_changes, &j->changes_capacity, sizeof *j->changes);
        j->changes[j->n_changes++] = *c;
}

void audit_buried(struct audit *a, uint64_t holder, int64_t at_ns)
{
        a->burials = grown(a->burials, a->n_burials, &a->burials_capacity, sizeof *a->burials);
        a->burials[a->n_burials++] = (struct audit_burial){holder, at_ns};
}

void audit_cut_off(struct audit *a, const struct audit_cut *c)
{
        a->cuts = grown(a->cuts, a->n_cuts, &a->cuts_capacity, sizeof *a->cuts);
        a->cuts[a->n_cuts++] = *c;
}

void audit_row(struct audit *a, const struct audit_row *r)
{
        struct audit_job *j = audit_job(a, &r->id);
        j->row = *r;
        j->rowed = true;
        j->rows++;
}

void audit_tried(struct audit *a, const struct audit_try *t)
{
        struct audit_job *j = audit_job(a, &t->id);
        j->tries = grown(j->tries, j->n_tries, &j->tries_capacity, sizeof *j->tries);
        j->tries[j->n_tries++] = *t;
}

bool audit_was_cut(const struct audit *a, uint64_t holder, int64_t from_ns, int64_t to_ns)
{
        for (uint32_t i = 0; i < a->n_cuts; i++) {
                const struct audit_cut *c = &a->cuts[i];
                int64_t until = c->to_ns == INT64_MAX ? INT64_MAX : c->to_ns + a->lease_ns;
                bool whom = c->holder == holder || c->holder == 0;
                if (whom && c->from_ns <= to_ns && until >= from_ns) {
                        return true;
                }
        }
        return false;
}

const struct audit_run *audit_run_of(const struct audit_job *j, uint32_t claim)
{
        const struct audit_run *r = NULL;
        for (uint32_t i = 0; i < j->n_runs; i++) {
                if (j->runs[i].claim == claim && (!r || audit_died_in_batch(r))) {
                        r = &j->runs[i];
                }
        }
        return r;
}

bool audit_died_in_batch(const struct audit_run *r)
{
        bool died = r->end == AUDIT_CRASHED || r->end == AUDIT_KILLED || r->end == AUDIT_RUNNING;
        return died && r->batch > 1;
}

const struct audit_try *audit_try_of(const struct audit_job *j, uint32_t claim)
{
        for (uint32_t i = 0; i < j->n_tries; i++) {
                if (j->tries[i].claim == claim) {
                        return &j->tries[i];
                }
        }
        return NULL;
}

void audit_neighbours(const struct audit *a, struct audit_verdict *v, bool equal,
                      bool (*choose)(const struct audit_job *),
                      int (*compare)(const void *, const void *),
                      void (*check)(const struct audit_job *, const struct audit_job *,
                                    struct audit_verdict *))
{
        uint32_t n = 0;
        struct audit_job *j, *next, **list = malloc((HASH_COUNT(a->jobs) + 1) * sizeof *list);
        assert(list);
        HASH_ITER (hh, a->jobs, j, next) {
                if (choose(j)) {
                        list[n++] = j;
                }
        }
        qsort(list, n, sizeof *list, compare);
        for (uint32_t i = 1; i < n; i++) {
                if (!equal || compare(&list[i - 1], &list[i]) == 0) {
                        check(list[i - 1], list[i], v);
                }
        }
        free(list);
}

void audit_blame(struct audit_verdict *v, const char *which, const struct job_id *id,
                 const char *fmt, ...)
{
        if (v->found && !v->report) {
                return; /* the first one counts; the others often follow from it */
        }
        v->found = true;
        char text[200], name[JOB_ID_TEXT] = "";
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        if (id) {
                id_text(id, name);
        }
        if (v->report) {
                report_violation(v->report, which, name, text);
        } else {
                snprintf(v->text, v->size, "%s%s%s: %s", which, id ? " job " : "", name, text);
        }
}

void audit_excuse(struct audit_verdict *v, const char *which, const struct job_id *id,
                  const char *fmt, ...)
{
        if (!v->report) {
                return;
        }
        char text[200], name[JOB_ID_TEXT];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        id_text(id, name);
        report_excuse(v->report, which, name, text);
}

static void judge(const struct audit *a, struct audit_verdict *v)
{
        struct audit_job *j, *next;
        HASH_ITER (hh, a->jobs, j, next) {
                audit_history(a, j, v);
        }
        HASH_ITER (hh, a->jobs, j, next) {
                audit_runs(a, j, v);
        }
        HASH_ITER (hh, a->jobs, j, next) {
                audit_books(a, j, v);
        }
        for (j = a->outside ? a->jobs : NULL; j; j = j->hh.next) {
                audit_tries(a, j, v);
                audit_shape(j, v);
        }
        audit_across(a, v);
        if (a->outside) {
                audit_times(a, v);
        }
}

bool audit_judge(const struct audit *a, char *ret_text, size_t size)
{
        struct audit_verdict v = {ret_text, size, false, NULL};
        judge(a, &v);
        return v.found;
}

void audit_judge_all(const struct audit *a, struct audit_report *report)
{
        struct audit_verdict v = {.report = report};
        judge(a, &v);
}
