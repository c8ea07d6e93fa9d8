/* Leaves a process behind that keeps the worker's socket open. */
#include <skep/handler.h>
#include <stdio.h>
#include <unistd.h>

static int run(struct skep_job *job, void *state)
{
        char text[32];
        (void)state;
        pid_t pid = fork();
        if (pid == 0) {
                for (;;) {
                        pause();
                }
        }
        int n = snprintf(text, sizeof text, "%d", (int)pid);
        job->services->result(job, "text/plain", text, (size_t)n);
        return SKEP_DONE;
}

SKEP_PLUGIN("orphan", "1", {SKEP_HANDLER, .type = "villain.orphan", .run = run})
