/*
 * A skepd of `skep dev`: started, watched, stopped. And the demo that runs on it.
 */
#ifndef SKEP_CLI_DEV_H
#define SKEP_CLI_DEV_H

#include "cli/client.h"
#include "core/base.h"

#include <sys/types.h>

struct dev {
        char *state, *socket, *url;
        char *skepd, *worker, *handlers;
        struct client *client;
        pid_t pid; /* 0: not running */
        int pid_fd, signal_fd;
        int status; /* of waitpid, once it ended */
};

/* Waits up to timeout_ms (-1: for ever). DEV_ENDED: skepd is gone and reaped; DEV_SIGNAL: somebody
 * asked to stop. */
#define DEV_ENDED  1
#define DEV_SIGNAL 2
int dev_watch(struct dev *d, int timeout_ms);

/* cli/demo.c: submits the jobs of the demo, waits for them, prints them. The exit code. */
int demo_run(struct invocation *in, struct dev *d);

#endif
