/* Cannot be initialised. */
#include <skep/handler.h>
#include <stdio.h>

static int init(const struct skep_setup *setup, void **state)
{
        (void)state;
        snprintf(setup->reason, setup->reason_size, "no %s today", setup->option(setup, "what"));
        return -1;
}

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return SKEP_DONE;
}

static const struct skep_option options[] = {
    {"what", "string", "luck", "what there is none of"},
};

SKEP_PLUGIN("fail-init", "1",
            {SKEP_HANDLER, .type = "villain.fail-init", .init = init, .run = run,
             SKEP_OPTIONS(options)})
