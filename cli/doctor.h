/*
 * What `skep doctor` found: one row per check, from skepd and from this machine.
 */
#ifndef SKEP_CLI_DOCTOR_H
#define SKEP_CLI_DOCTOR_H

#include "cli/text.h"

#include <jansson.h>

#define STATUS_OK   "ok"
#define STATUS_WARN "warn"
#define STATUS_FAIL "fail"

/* Appends {"name","status","detail","advice"} to the array `checks`. Takes `detail`; `advice` may
 * be NULL. */
void doctor_note(json_t *checks, const char *name, const char *status, char *detail,
                 const char *advice);

struct doctor_places { /* as the configuration says; NULL: not known */
        char *state, *handlers, *socket, *ledger;
};
void doctor_places_deinit(struct doctor_places *p);

/* cli/doctor_config.c: has skepd read the configuration (of `file`, else as process `pid` did if
 * that is known and ours, else the default's) and fills in the places. */
void doctor_config(json_t *checks, const char *file, int pid, struct doctor_places *ret);

/* cli/doctor_local.c: what can be seen of this machine. `pid`: skepd's process, or 0. */
void doctor_local(json_t *checks, const struct doctor_places *p, int pid);

#endif
