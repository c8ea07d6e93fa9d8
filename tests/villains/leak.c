/* Takes 64 MiB and a few hundred descriptors per job and gives nothing back. */
#include <skep/handler.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static int run(struct skep_job *job, void *state)
{
        (void)state;
        char *p = malloc(64u << 20);
        if (!p) {
                return skep_retry(job, 0, "no memory left");
        }
        memset(p, 1, 64u << 20);
        for (int i = 0; i < 300; i++) {
                if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) {
                        break;
                }
        }
        return p[job->payload.n] ? SKEP_DONE : SKEP_DEAD;
}

SKEP_PLUGIN("leak", "1", {SKEP_HANDLER, .type = "villain.leak", .run = run})
