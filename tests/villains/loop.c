/* Never ends, never sleeps, never asks whether it is cancelled. */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        for (volatile unsigned n = 0;; n++) {}
        return SKEP_DONE;
}

SKEP_PLUGIN("loop", "1", {SKEP_HANDLER, .type = "villain.loop", .run = run})
