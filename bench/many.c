/* Does nothing, for jobs of many types: t.0, t.1, ... */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("many", SKEP_VERSION,
            {SKEP_HANDLER, .type = "t.*", .summary = "does nothing, at once", .run = run})
