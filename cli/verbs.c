/*
 * The two verbs that need no server.
 */
#include "cli/verbs.h"

#include <stdio.h>

int help_run(struct invocation *in)
{
        if (in->n_args == 0) {
                help_all();
                return 0;
        }
        return help_about(in->args[0], in->n_args > 1 ? in->args[1] : NULL);
}

int version_run(struct invocation *in)
{
        (void)in;
        puts("skep " SKEP_VERSION);
        return 0;
}
