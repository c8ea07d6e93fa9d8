/* Takes its time in init(), crashes there when its option says so. */
#include <skep/handler.h>
#include <string.h>
#include <time.h>

static volatile int *volatile nothing;

static int init(const struct skep_setup *setup, void **state)
{
        struct timespec nap = {0, 200 * 1000 * 1000};
        nanosleep(&nap, NULL);
        if (strcmp(setup->option(setup, "crash"), "true") == 0) {
                *nothing = 1;
        }
        *state = (void *)"ready";
        return 0;
}

static int run(struct skep_job *job, void *state)
{
        job->services->result(job, NULL, state, strlen(state));
        return SKEP_DONE;
}

static const struct skep_option options[] = {
    {"crash", "bool", "false", "dereference NULL in init()"},
};

SKEP_PLUGIN("slow-init", "1",
            {SKEP_HANDLER, .type = "villain.slow-init", .init = init, .run = run,
             SKEP_OPTIONS(options)})
