/*
 * The configuration from all its layers: defaults < file < conf.d < credentials < environment <
 * flags.
 *
 * A function of its sources and of the files that they name: no globals, no exit, no log, so that a
 * reload is the same call, and the old configuration stays when it is refused. The caller prints
 * the report; skepd ends with 78 (EX_CONFIG) when it was refused at the start.
 */
#ifndef SKEP_DAEMON_CONFIG_LOAD_H
#define SKEP_DAEMON_CONFIG_LOAD_H

#include "core/config.h"

/* One setting from the command line. `flag` is how messages call it ("--workers"). */
struct config_flag {
        const char *flag;
        const char *key;   /* dotted: "handlers.workers", "queues.email.concurrency", or NULL: */
        const char *value; /* then value is "key=value" as given to --set */
};

struct config_sources {
        const char *file;           /* --config: must exist; NULL: looked for; "": none at all */
        const char *const *environ; /* "NAME=value" ..., NULL; as main got it; may be NULL */
        const struct config_flag *flags; /* a later one wins */
        uint32_t n_flags;
        const struct config_flag *defaults; /* this build's own: handlers.dir; shown as defaults */
        uint32_t n_defaults;
        bool root; /* effective uid 0: decides where things live by default */
};

#define CONFIG_ERRORS_MAX 20 /* lines kept; the rest is counted */

struct config_report {
        struct arena arena;
        struct str errors[CONFIG_ERRORS_MAX]; /* "FILE:LINE: KEY: VALUE ...; what is allowed" */
        uint32_t n_errors;                    /* may be more than are kept */
        struct str warnings[CONFIG_ERRORS_MAX];
        uint32_t n_warnings;
        struct str file; /* the main file that was read, or empty; each text ends with a NUL */
};

/* 0, or -ENOMEM, or > 0: refused, the report says why. *ret is untouched unless 0; the report is
 * filled in each case and the caller's to deinit. */
#define CONFIG_LOAD_REFUSED 1
int config_load(const struct config_sources *s, struct config *ret,
                struct config_report *ret_report);
void config_report_deinit(struct config_report *r);

/* How many lines of the report are kept (n_errors may be more). */
static inline uint32_t config_lines(uint32_t n)
{
        return n < CONFIG_ERRORS_MAX ? n : CONFIG_ERRORS_MAX;
}

#endif
