/* Crashes while it is loaded. */
#include <skep/handler.h>
#include <stddef.h>

static volatile int *volatile nothing;

__attribute__((constructor)) static void crash(void)
{
        *nothing = 1;
}

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("ctor-crash", "1", {SKEP_HANDLER, .type = "villain.ctor-crash", .run = run})
