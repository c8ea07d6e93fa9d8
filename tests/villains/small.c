/* No villain: a plug-in built in the past, when struct skep_handler ended with run. */
#include <skep/handler.h>
#include <string.h>

struct old_handler {
        char members[offsetof(struct skep_handler, run) + sizeof(void *)];
};

static union {
        struct old_handler old[2];
        void *align;
} handlers;

static int run_first(struct skep_job *job, void *state)
{
        (void)state;
        job->services->result(job, NULL, "first", 5);
        return SKEP_DONE;
}

static int run_second(struct skep_job *job, void *state)
{
        (void)state;
        job->services->result(job, NULL, "second", 6);
        return SKEP_DONE;
}

__attribute__((constructor)) static void fill(void)
{
        struct skep_handler h[2] = {
            {.type = "small.first", .run = run_first},
            {.type = "small.second", .run = run_second},
        };
        for (int i = 0; i < 2; i++) {
                h[i].size = sizeof(struct old_handler);
                memcpy(&handlers.old[i], &h[i], sizeof(struct old_handler));
        }
}

SKEP_EXPORT const struct skep_plugin skep_plugin = {
    SKEP_ABI, sizeof(struct skep_plugin), "small", "0.9", (const void *)&handlers,
    2,        sizeof(struct old_handler),
};
