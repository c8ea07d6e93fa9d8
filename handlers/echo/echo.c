/* The smallest useful handler: says its payload again. Begin your own with a copy of this one. */
#include <skep/handler.h>

static int run(struct skep_job *job, void *state)
{
        (void)state;
        const char *type = job->content_type.n ? job->content_type.p : "application/octet-stream";
        if (job->services->result(job, type, job->payload.p, job->payload.n)) {
                return skep_dead(job, "%zu bytes are too many for a result", job->payload.n);
        }
        return SKEP_DONE;
}

SKEP_PLUGIN("echo", SKEP_VERSION,
            {SKEP_HANDLER, .type = "echo", .summary = "its payload is its result", .run = run})
