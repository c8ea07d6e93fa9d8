/*
 * A nats-server of one's own for a test: on a free loopback port, data in a folder that goes away
 * with it.
 */
#ifndef SKEP_TESTS_NATS_BED_H
#define SKEP_TESTS_NATS_BED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define BED_FOLDER "/tmp/skep-nats-XXXXXX"

struct nats_bed {
        char folder[sizeof BED_FOLDER];
        pid_t pid;
        int port;
};

/* `config` is appended to listen, store_dir and so on; %s in it stands for the folder. JetStream is
 * on unless config has a word `jetstream`. False: it does not run, its log was printed. */
bool bed_start(struct nats_bed *b, const char *host, const char *config);
void bed_stop(struct nats_bed *b); /* the folder stays, with what it has */

bool bed_make(struct nats_bed *b);   /* the folder */
void bed_deinit(struct nats_bed *b); /* stops, removes */
void bed_write(const struct nats_bed *b, const char *name, const char *text);
const char *bed_path(const struct nats_bed *b, const char *name); /* good for four more calls */

/* Runs a program with its output in the folder's `tool.log`; true when it ended with 0. */
bool bed_run(const struct nats_bed *b, const char *const *argv);

#endif
