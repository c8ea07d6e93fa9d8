/*
 * The configuration on paper: as a file, as the reference page, as the commented example. All three
 * come from the tables of keys, and the committed pages are compared with them by a test.
 */
#ifndef SKEP_DAEMON_CONFIG_PRINT_H
#define SKEP_DAEMON_CONFIG_PRINT_H

#include "core/config.h"

#include <stdio.h>

/* All values as a file that could be loaded again (but for masked passwords); with `origin` each
 * line ends with where its value came from. All of these: 0 or -ENOMEM; the caller checks ferror().
 */
int config_print(FILE *out, const struct config *c, bool origin);

int config_print_reference(FILE *out); /* docs/configuration.md */
int config_print_example(FILE *out);   /* etc/skep.conf */

#endif
