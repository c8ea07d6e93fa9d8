/* Wants more jobs at once than a worker may hold. */
#include "skep/handler.h"

static void run_batch(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)jobs;
        (void)n;
        (void)state;
}

SKEP_PLUGIN("batch-huge", "1.0",
            {SKEP_HANDLER, .type = "villain.batchhuge", .batch_max = 513, .run_batch = run_batch})
