/* Overflows its stack. */
#include <skep/handler.h>
#include <string.h>

static volatile int depth_wanted = 1 << 30;

SKEP_EXPORT int villain_digs(int depth);
__attribute__((noinline)) int villain_digs(int depth)
{
        volatile char room[1024];
        memset((char *)room, depth, sizeof room);
        return depth < depth_wanted ? villain_digs(depth + 1) + room[depth & 1023] : 0;
}

static int run(struct skep_job *job, void *state)
{
        (void)job;
        (void)state;
        return villain_digs(0) == 42;
}

SKEP_PLUGIN("overflow", "1", {SKEP_HANDLER, .type = "villain.overflow", .run = run})
