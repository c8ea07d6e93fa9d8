/*
 * skep-worker: the program that runs handlers. skepd starts it; it is of no use by hand.
 *
 *   --zygote         waits on descriptor 3 for orders to fork workers and probes
 *   --worker PARENT  a worker (only when built with a sanitizer, whose runtime does not survive a
 * raw clone:
 *   --probe PARENT    the forked child then starts this program afresh)
 */
#include "plugins/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

#if SANITIZED
/* The environment is empty, so what ASAN_OPTIONS would say stands here: our own crash handler
 * reports signals, and whatever a sanitizer finds ends the process so that a test notices. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
        return "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:"
               "handle_sigfpe=0:use_sigaltstack=0:exitcode=66";
}

const char *__tsan_default_options(void)
{
        return "handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0:"
               "use_sigaltstack=0:exitcode=66:halt_on_error=1";
}

const char *__ubsan_default_options(void)
{
        return "halt_on_error=1:print_stacktrace=1";
}
#endif

int main(int argc, char **argv)
{
        if (argc == 2 && strcmp(argv[1], "--version") == 0) {
                printf("skep-worker %s (handler ABI %u)\n", SKEP_VERSION, SKEP_ABI);
                return 0;
        }
        if (argc == 2 && strcmp(argv[1], "--zygote") == 0) {
                zygote_main();
        }
        if (argc == 3 && strcmp(argv[1], "--worker") == 0) {
                worker_main(atoi(argv[2]));
        }
        if (argc == 3 && strcmp(argv[1], "--probe") == 0) {
                probe_main(atoi(argv[2]));
        }
        fprintf(stderr, "skep-worker: skepd starts this program to run handlers; "
                        "to look at a plug-in: skep handlers show\n");
        return 64;
}
