/* Looks at payloads that repeat their first byte, adding one at each step; does to them what the
 * type says. */
#include <skep/handler.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *kept; /* of the job before, which has ended */

static int look(struct skep_job *job)
{
        const unsigned char *p = (const unsigned char *)job->payload.p;
        size_t n = job->payload.n;
        if ((uintptr_t)p % 16 != 0 || p[n] != 0) {
                return skep_dead(job, "it is not aligned, or has no NUL behind it");
        }
        for (size_t i = 0; i < n; i++) {
                if (p[i] != (unsigned char)(p[0] + i)) {
                        return skep_dead(job, "byte %zu of %zu is not as it was sent", i, n);
                }
        }
        return job->services->verdict(job, SKEP_DONE, 0, "%zu bytes from %d on", n, n ? p[0] : 0);
}

static int run_look(struct skep_job *job, void *state)
{
        (void)state;
        return look(job);
}

/* Others are put behind it meanwhile. */
static int run_wait(struct skep_job *job, void *state)
{
        const struct skep_services *s = job->services;
        struct pollfd p = {.fd = s->cancel_fd(job), .events = POLLIN};
        (void)state;
        s->log(job, 6, "waiting");
        while (!s->cancelled(job)) {
                poll(&p, 1, -1);
        }
        return look(job);
}

static int run_write(struct skep_job *job, void *state)
{
        (void)state;
        memset((void *)(uintptr_t)job->payload.p, 0, 1);
        return skep_dead(job, "it could be written to");
}

static int run_unlock(struct skep_job *job, void *state)
{
        uintptr_t from = (uintptr_t)job->payload.p & ~(uintptr_t)4095;
        (void)state;
        if (mprotect((void *)from, 4096, PROT_READ | PROT_WRITE) == 0) {
                return skep_dead(job, "it could be made writable");
        }
        return errno == EACCES ? look(job) : skep_dead(job, "%s", strerror(errno));
}

/* Reads what it must not read any more: whatever stands there, nobody else is hurt. */
static int run_keep(struct skep_job *job, void *state)
{
        volatile char sum = 0;
        (void)state;
        for (size_t i = 0; kept && i < 32768; i++) {
                sum = (char)(sum + kept[i]);
        }
        kept = job->payload.p;
        return look(job);
}

static int run_hoard(struct skep_job *job, void *state)
{
        (void)state;
        while (dup(0) >= 0) {}
        return look(job);
}

static int run_crash(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        abort();
}

static void run_batch(struct skep_job *const *jobs, size_t n, void *state)
{
        (void)state;
        for (size_t i = 0; i < n; i++) {
                look(jobs[i]);
        }
}

SKEP_PLUGIN("large", "1", {SKEP_HANDLER, .type = "large.look", .run = run_look},
            {SKEP_HANDLER, .type = "large.wait", .run = run_wait},
            {SKEP_HANDLER, .type = "large.write", .run = run_write},
            {SKEP_HANDLER, .type = "large.unlock", .run = run_unlock},
            {SKEP_HANDLER, .type = "large.keep", .run = run_keep},
            {SKEP_HANDLER, .type = "large.hoard", .run = run_hoard},
            {SKEP_HANDLER, .type = "large.crash", .run = run_crash},
            {SKEP_HANDLER, .type = "large.batch", .batch_max = 512, .run_batch = run_batch})
