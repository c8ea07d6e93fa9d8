/* Dereferences NULL, two calls deep, so that the backtrace has something to show. */
#include <skep/handler.h>

static volatile int *volatile nothing;

SKEP_EXPORT void villain_touches_null(void);
__attribute__((noinline)) void villain_touches_null(void)
{
        *nothing = 1;
}

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        villain_touches_null();
        return SKEP_DONE;
}

SKEP_PLUGIN("null", "1", {SKEP_HANDLER, .type = "villain.null", .run = run})
