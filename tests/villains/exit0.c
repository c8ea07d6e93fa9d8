/* Ends the process as if all were well. */
#include <skep/handler.h>
#include <stdlib.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        exit(0);
}

SKEP_PLUGIN("exit0", "1", {SKEP_HANDLER, .type = "villain.exit0", .run = run})
