/*
 * `skep bench`: what a private skepd reaches on the ledger's disk or server, without touching what
 * is there.
 */
#ifndef SKEP_CLI_BENCH_H
#define SKEP_CLI_BENCH_H

#include "cli/client.h"
#include "cli/text.h"

#include <jansson.h>
#include <sys/types.h>

struct bench {
        char *skepd, *worker, *scratch, *noop; /* programs, and the handler */
        json_t *made;                          /* what skep-scratch said */
        const char *folder;                    /* in `made` */
        struct client *client;
        pid_t pid; /* of skepd; 0: does not run */
        long jobs, payload, seconds;
        json_t *figures;
};

/* Somebody asked to stop (SIGINT, SIGTERM, SIGHUP, which are blocked meanwhile). */
bool bench_asked(void);

/* cli/bench_node.c. Each 0, or an exit code after a message. */
int bench_make(struct invocation *in, struct bench *b);
int bench_start(struct bench *b);
int bench_stop(struct bench *b);
int bench_remove(struct bench *b); /* whatever was made */

/* cli/bench_load.c: puts what it measured into b->figures. 0, or an exit code after a message. */
int bench_measure(struct bench *b);

#endif
