/*
 * Not a villain but the one who watches: appends a line at each start and end of a run to the file
 * in its option `log`, in one write each, so that a test can tell later who ran when under which
 * claim.
 *
 *     start ID CLAIM TOKEN ATTEMPT PID TIME_US
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <skep/handler.h>

static int open_log(const struct skep_setup *setup, void **state)
{
        const char *path = setup->option(setup, "log");
        int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
        if (fd < 0) {
                snprintf(setup->reason, setup->reason_size,
                         "the option log must name a file that can be written");
                return 1;
        }
        *state = (void *)(intptr_t)fd;
        return 0;
}

static void note(const struct skep_job *job, int fd, const char *word)
{
        char line[200];
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        int n = snprintf(line, sizeof line, "%s %s %u %016llx %u %d %lld\n", word, job->id.p,
                         job->claim, (unsigned long long)job->token, job->attempt, (int)getpid(),
                         (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
        if (write(fd, line, (size_t)n) != n) {
                _exit(3); /* a run that cannot be witnessed must not count */
        }
}

static int run(struct skep_job *job, void *state)
{
        note(job, (int)(intptr_t)state, "start");
        usleep(200);
        note(job, (int)(intptr_t)state, "end");
        return SKEP_DONE;
}

static const struct skep_option options[] = {
    {"log", "string", "", "file that gets a line per start and end"}};

SKEP_PLUGIN("witness", "1.0",
            {SKEP_HANDLER, .type = "witness", .init = open_log, .run = run, SKEP_OPTIONS(options)})
