/* Starts a process of its own while it is loaded, in a session of its own, to outlive whoever loads
 * it. */
#include <skep/handler.h>
#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void settle_in(void)
{
        if (fork() == 0) {
                setsid();
                for (;;) {
                        pause();
                }
        }
}

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

SKEP_PLUGIN("ctor-fork", "1", {SKEP_HANDLER, .type = "villain.ctor-fork", .run = run})
