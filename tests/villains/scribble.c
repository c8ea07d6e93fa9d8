/* Finds every shared, writable mapping of its process and fills it with 0xff. */
#include <skep/handler.h>
#include <stdio.h>
#include <string.h>

static int run(struct skep_job *job, void *state)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[512];
        (void)job;
        (void)state;
        while (maps && fgets(line, sizeof line, maps)) {
                unsigned long from, to;
                char mode[8];
                if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 &&
                    strcmp(mode, "rw-s") == 0 && strstr(line, "/pages/")) {
                        memset((void *)from, 0xff, to - from);
                }
        }
        if (maps) {
                fclose(maps);
        }
        return SKEP_DONE;
}

SKEP_PLUGIN("scribble", "1", {SKEP_HANDLER, .type = "villain.scribble", .run = run})
