/* No villain: waits until it is asked to stop, by the descriptor, and says why it was. */
#include <skep/handler.h>
#include <poll.h>

static int run(struct skep_job *job, void *state)
{
        const struct skep_services *s = job->services;
        struct pollfd p = {.fd = s->cancel_fd(job), .events = POLLIN};
        (void)state;
        s->log(job, 6, "waiting");
        while (!s->cancelled(job)) {
                poll(&p, 1, -1);
        }
        return s->verdict(job, SKEP_CANCELLED, 0, "asked to stop, reason %d", s->cancelled(job));
}

SKEP_PLUGIN("polite", "1", {SKEP_HANDLER, .type = "test.polite", .run = run})
