/*
 * The one table of what `skep` can do, and what was asked of it this time.
 *
 * The table (cli/commands.c) drives parsing, help, usage errors and "did you mean"; completion and
 * the manual page are to be made from it too. A verb never parses arguments by itself. getopt_long
 * was discarded: it takes abbreviated flags silently and its messages name neither the verb nor the
 * nearest flag.
 */
#ifndef SKEP_CLI_COMMAND_H
#define SKEP_CLI_COMMAND_H

#include "cli/text.h"
#include "core/base.h"

#include <sysexits.h>

/* Exit codes, besides 0: 1 the API refused or the job did not complete; the rest are sysexits. */
#define EXIT_REFUSED     1
#define EXIT_USAGE       EX_USAGE       /* 64 */
#define EXIT_NO_INPUT    EX_NOINPUT     /* 66 */
#define EXIT_UNREACHABLE EX_UNAVAILABLE /* 69 */
#define EXIT_SYSTEM      EX_OSERR       /* 71 */
#define EXIT_LATER       EX_TEMPFAIL    /* 75 */
#define EXIT_AUTH        EX_NOPERM      /* 77 */

enum flag_kind {
        FLAG_SWITCH,   /* --all */
        FLAG_VALUE,    /* --queue Q; the last one counts */
        FLAG_LIST,     /* --tag T, as often as wanted */
        FLAG_OPTIONAL, /* --wait or --wait=60 */
};

struct flag {
        const char *name; /* without dashes */
        char letter;      /* 0: none */
        enum flag_kind kind;
        const char *value; /* what the value is called in help; NULL for a switch */
        const char *help;
};

enum output { OUTPUT_AUTO, OUTPUT_TABLE, OUTPUT_TSV, OUTPUT_JSON, OUTPUT_NDJSON, OUTPUT_ID };

struct invocation;

struct command {
        const char *noun; /* "jobs", or the verb itself when it has no noun */
        const char *verb; /* "ls", or NULL */
        const char *arguments;
        const char *summary;
        const char *detail;       /* more for `skep help NOUN VERB`, or NULL */
        const char *outputs;      /* what -o takes: "table tsv json ndjson id", or NULL: no -o */
        int min_args, max_args;   /* max -1: any number */
        const struct flag *flags; /* ends with name NULL, or NULL */
        int (*run)(struct invocation *in);
};

extern const struct command commands[];  /* ends with noun NULL */
extern const struct flag global_flags[]; /* what every verb takes */

struct given {
        const struct flag *flag;
        const char *value; /* NULL for a switch, or an optional value not given */
};

struct invocation {
        const struct command *command;
        const char **args; /* positional, NULL-terminated */
        int n_args;
        struct given *given;
        size_t n_given;
        enum output output;
        bool help; /* -h */
};

void invocation_deinit(struct invocation *in);

/* Finds the command and takes its arguments apart. 0, or an exit code after a message on stderr. A
 * `help` invocation is not checked further. */
int invocation_parse(int argc, char **argv, struct invocation *ret);

bool invocation_has(const struct invocation *in, const char *flag);
const char *invocation_get(const struct invocation *in, const char *flag); /* NULL: not given */

/* The next value of a FLAG_LIST; *at starts at 0. NULL: no more. */
const char *invocation_next(const struct invocation *in, const char *flag, size_t *at);

/* A value that must be a whole number within [min, max]; `otherwise` when not given. 0 or
 * EXIT_USAGE. */
int invocation_number(const struct invocation *in, const char *flag, long min, long max,
                      long otherwise, long *ret);

/* `skep: …` on stderr, escaped. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same, then the verb's usage line; returns EXIT_USAGE. `in` may be NULL. */
int say_usage(const struct invocation *in, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* help.c */
void help_all(void);
int help_about(const char *noun,
               const char *verb); /* verb NULL: the noun's; EXIT_USAGE with a message */
void help_command(const struct command *c);
void help_usage_line(struct buf *out, const struct command *c);

#endif
