/* Fails an assertion, in effect. */
#include <skep/handler.h>
#include <stdlib.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        abort();
}

SKEP_PLUGIN("abort", "1", {SKEP_HANDLER, .type = "villain.abort", .run = run})
