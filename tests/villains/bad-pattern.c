/* Serves a type that is none. */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("bad-pattern", "1", {SKEP_HANDLER, .type = "test..>.x", .run = run})
