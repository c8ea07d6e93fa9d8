/*
 * skep: the operator's and producer's command. All it knows of jobs it asks skepd over HTTP.
 */
#include "cli/command.h"
#include "cli/verbs.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static int run_help(int argc, char **argv, const struct invocation *in)
{
        if (in->command) {
                help_command(in->command);
                return 0;
        }
        for (int i = 1; i < argc; i++) {
                if (argv[i][0] != '-') {
                        return help_about(argv[i], NULL);
                }
        }
        help_all();
        return 0;
}

int main(int argc, char **argv)
{
        CLEANUP(invocation_deinit)
        struct invocation in = {0};
        setlocale(LC_CTYPE, "");
        signal(SIGPIPE,
               SIG_IGN); /* a reader that leaves is seen below, a server that leaves by libcurl */
        if (argc > 1 && strcmp(argv[1], "--version") == 0) {
                return version_run(NULL);
        }
        int r = invocation_parse(argc, argv, &in);
        if (r == 0 && in.help) {
                r = run_help(argc, argv, &in);
        } else if (r == 0 && !in.command) {
                r = say_usage(NULL, "nothing to do");
        } else if (r == 0) {
                r = in.command->run(&in);
        }
        errno = 0;
        if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE) {
                say("cannot write the output: %s", strerror(errno));
                r = r ? r : EX_IOERR;
        }
        return r;
}
