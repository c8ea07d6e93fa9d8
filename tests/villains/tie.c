/* Wants the type that swap.c serves. */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("tie", "1", {SKEP_HANDLER, .type = "test.swap", .run = run})
