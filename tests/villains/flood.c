/* Floods the log, then is done. */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)state;
        for (int i = 0; i < 5000; i++) {
                job->services->log(job, 6, "line %d of a flood", i);
        }
        return SKEP_DONE;
}

SKEP_PLUGIN("flood", "1", {SKEP_HANDLER, .type = "villain.flood", .run = run})
