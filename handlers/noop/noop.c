/* Does nothing, for measurements: what a job of this type costs is what skep costs. */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("noop", SKEP_VERSION,
            {SKEP_HANDLER, .type = "noop", .summary = "does nothing, at once", .run = run})
