/* Sleeps for ever and does not care who asks it to stop; blocks every signal that can be blocked.
 */
#include <skep/handler.h>
#include <signal.h>
#include <unistd.h>

static int run(struct skep_job *job, void *state)
{
        sigset_t all;
        (void)state;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        job->services->log(job, 6, "it never ends");
        for (;;) {
                pause();
        }
        return SKEP_DONE;
}

SKEP_PLUGIN("stubborn", "1", {SKEP_HANDLER, .type = "villain.stubborn", .run = run})
