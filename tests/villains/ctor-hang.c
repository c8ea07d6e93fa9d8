/* Waits for ever while it is loaded. */
#include <skep/handler.h>
#include <unistd.h>

__attribute__((constructor)) static void hang(void)
{
        for (;;) {
                pause();
        }
}

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("ctor-hang", "1", {SKEP_HANDLER, .type = "villain.ctor-hang", .run = run})
