/*
 * The command line of skepd. Every flag but a few is a configuration key (`--set key=value`).
 */
#ifndef SKEP_DAEMON_OPTIONS_H
#define SKEP_DAEMON_OPTIONS_H

#include "daemon/config_load.h"

#define FLAGS_MAX 64

struct options {
        const char *config;
        const char *worker; /* path of the worker program */
        bool test, help, version, reference, show, brokers;
        struct config_flag flags[FLAGS_MAX];
        uint32_t n_flags;
};

/* 0, or > 0: a usage error, which was printed to stderr. */
int options_parse(int argc, char **argv, struct options *ret);
void options_help(void);

#endif
