/*
 * What two jobs must not be at one time: two of a unique key, two of one tick of a schedule. And no
 * tick is made before its time. Judged from the ledger's own times of creation and end; a job that
 * was requeued may stand beside its successor, and a duplicate that was told to be one never ran.
 */
#include "tests/audit/audit.h"

#define SLACK_US      5000
#define TICK_SLACK_US (1000 * INT64_C(1000)) /* between a node's clock and the ledger's */

static bool is_alone(const struct audit_job *j)
{
        return j->rowed && j->intended && j->intent.alone && j->row.generation == 0 &&
               j->row.reason != REASON_DUPLICATE;
}

static bool is_tick(const struct audit_job *j)
{
        return j->rowed && j->row.tick_us;
}

static int by_wish(const void *p, const void *q)
{
        const struct audit_job *x = *(struct audit_job *const *)p,
                               *y = *(struct audit_job *const *)q;
        return x->intent.alone != y->intent.alone
                   ? (x->intent.alone > y->intent.alone) - (x->intent.alone < y->intent.alone)
                   : (x->row.created_us > y->row.created_us) -
                         (x->row.created_us < y->row.created_us);
}

static int by_tick(const void *p, const void *q)
{
        const struct audit_job *x = *(struct audit_job *const *)p,
                               *y = *(struct audit_job *const *)q;
        return x->row.schedule != y->row.schedule
                   ? (x->row.schedule > y->row.schedule) - (x->row.schedule < y->row.schedule)
                   : (x->row.tick_us > y->row.tick_us) - (x->row.tick_us < y->row.tick_us);
}

static void check_unique(const struct audit_job *x, const struct audit_job *y,
                         struct audit_verdict *v)
{
        bool over = state_terminal(x->row.state);
        int64_t early = x->row.finished_us - y->row.created_us;
        if (x->intent.alone == y->intent.alone && (!over || early > SLACK_US)) {
                audit_blame(v, "I13", &y->id, "it was made while another held its unique key");
        }
}

static void check_ticks(const struct audit_job *x, const struct audit_job *y,
                        struct audit_verdict *v)
{
        (void)x;
        audit_blame(v, "I13", &y->id, "a tick of its schedule has two jobs");
}

static void check_early(const struct audit *a, struct audit_verdict *v)
{
        for (const struct audit_job *j = a->jobs; j && !a->clock_moved; j = j->hh.next) {
                int64_t early = j->row.tick_us - j->row.created_us;
                if (is_tick(j) && early > TICK_SLACK_US) {
                        audit_blame(v, "I12", &j->id, "made %lld us before its tick",
                                    (long long)early);
                }
        }
}

void audit_times(const struct audit *a, struct audit_verdict *v)
{
        audit_neighbours(a, v, false, is_alone, by_wish, check_unique);
        audit_neighbours(a, v, true, is_tick, by_tick, check_ticks);
        check_early(a, v);
}
