/* Ends the process that loads it, as if all were well. */
#include <skep/handler.h>
#include <stdlib.h>

__attribute__((constructor)) static void leave(void)
{
        exit(0);
}

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("ctor-exit", "1", {SKEP_HANDLER, .type = "villain.ctor-exit", .run = run})
