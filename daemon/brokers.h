/*
 * `skepd --check-transports`: looks at the brokers that the configuration names, without being a
 * node. For `skep doctor`, which may not know their passwords.
 */
#ifndef SKEP_DAEMON_BROKERS_H
#define SKEP_DAEMON_BROKERS_H

#include "core/config.h"

#include <stdio.h>

/* One line per transport: name, "ok", "warn" or "fail", what was seen, what to do; tabs between
 * them. Blocks up to 10 s for each. */
void brokers_check(const struct config *c, FILE *out);

#endif
