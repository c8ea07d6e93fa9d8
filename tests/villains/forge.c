/* Writes to the socket it inherited: messages of a kind and about a job that it has no right to. */
#include <skep/handler.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int run(struct skep_job *job, void *state)
{
        unsigned junk[64];
        (void)state;
        memset(junk, 0x7f, sizeof junk);
        if (job->payload.n) {
                junk[0] = 7; /* "this job has ended", of a later one */
                junk[1] = 1;
        }
        send(3, junk, sizeof junk, MSG_NOSIGNAL);
        for (;;) {
                pause();
        }
        return SKEP_DONE;
}

SKEP_PLUGIN("forge", "1", {SKEP_HANDLER, .type = "villain.forge", .run = run})
