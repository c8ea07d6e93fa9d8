/* Closes every descriptor it can think of. */
#include <skep/handler.h>
#include <unistd.h>

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        for (int fd = 0; fd < 1024; fd++) {
                close(fd);
        }
        return SKEP_DONE;
}

SKEP_PLUGIN("close-all", "1", {SKEP_HANDLER, .type = "villain.close-all", .run = run})
