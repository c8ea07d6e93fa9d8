/* Wants batches and has nothing that takes them. */
#include "skep/handler.h"

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("batch-less", "1.0",
            {SKEP_HANDLER, .type = "villain.batchless", .batch_max = 5, .run = run})
