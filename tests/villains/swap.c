/* No villain: built twice, as version 1 and 2, to be replaced in place. */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)state;
        job->services->result(job, "text/plain", SWAP_VERSION, 2);
        return SKEP_DONE;
}

SKEP_PLUGIN("swap", SWAP_VERSION, {SKEP_HANDLER, .type = "test.swap", .run = run})
