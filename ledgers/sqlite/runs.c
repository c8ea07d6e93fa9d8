/*
 * What a claim took, as runs of consecutive seq: that is how `commits` keeps it until all of it has
 * ended. Jobs that came together stand together, so that a claim of a thousand is mostly one run.
 */
#include "ledgers/sqlite/internal.h"

#include <stdlib.h>

static int compare_refs(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return (x > y) - (x < y);
}

struct str runs_of(struct arena *a, int64_t *refs, uint32_t n)
{
        struct run *runs = arena_alloc(a, n * sizeof *runs + 1);
        if (!runs) {
                return (struct str){NULL, 1};
        }
        bool sorted = true;
        for (uint32_t i = 1; i < n; i++) {
                sorted = sorted && refs[i] > refs[i - 1];
        }
        if (!sorted) {
                qsort(refs, n, sizeof *refs, compare_refs);
        }
        uint32_t used = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (used && refs[i] == runs[used - 1].first + runs[used - 1].n) {
                        runs[used - 1].n++;
                } else {
                        runs[used++] = (struct run){refs[i], 1};
                }
        }
        return (struct str){(const char *)runs, (uint32_t)(used * sizeof *runs)};
}

static struct run run_at(struct str runs, uint32_t i)
{
        struct run run;
        memcpy(&run, runs.p + i * sizeof run, sizeof run);
        return run;
}

uint64_t runs_count(struct str runs)
{
        uint64_t n = 0;
        for (uint32_t i = 0; (i + 1) * sizeof(struct run) <= runs.n; i++) {
                n += (uint64_t)run_at(runs, i).n;
        }
        return n;
}

int runs_walk(const struct walk *w, enum statement which, void *ctx, visit_fn *visit)
{
        int rc = SQLITE_OK;
        for (uint32_t i = 0; !rc && (i + 1) * sizeof(struct run) <= w->runs.n; i++) {
                struct run run = run_at(w->runs, i);
                struct binder b = bind_start(db_get(w->db, which));
                bind_int(&b, run.first);
                bind_int(&b, run.first + run.n - 1);
                bind_u64(&b, w->token);
                bind_u64(&b, w->holder);
                int step = SQLITE_ROW;
                while (!rc && (step = sqlite3_step(b.s)) == SQLITE_ROW) {
                        rc = visit(ctx, b.s);
                }
                (void)sqlite3_reset(b.s);
                rc = rc || step == SQLITE_ROW || step == SQLITE_DONE ? rc : step;
        }
        return rc;
}
