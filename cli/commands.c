/*
 * The command table: every verb and flag that exists. See command.h.
 */
#include "cli/command.h"
#include "cli/verbs.h"

const struct flag global_flags[] = {
    {"url", 0, FLAG_VALUE, "URL", "the server: unix:/path or http://host:port (SKEP_URL)"},
    {"token-file", 0, FLAG_VALUE, "FILE", "file with the token for http:// (SKEP_TOKEN_FILE)"},
    {"output", 'o', FLAG_VALUE, "FORM", "form of the output"},
    {"json", 0, FLAG_SWITCH, NULL, "short for -o json"},
    {"help", 'h', FLAG_SWITCH, NULL, "what the verb does and takes"},
    {NULL},
};

static const struct flag enqueue_flags[] = {
    {"queue", 'q', FLAG_VALUE, "QUEUE", "the queue; else the one whose types match best"},
    {"priority", 'p', FLAG_VALUE, "N", "0 to 9, 9 first"},
    {"in", 0, FLAG_VALUE, "DURATION", "start so much later: 30s, 5m, 2h"},
    {"at", 0, FLAG_VALUE, "TIME", "start then: 2026-01-31T14:30:00Z, \"2026-01-31 14:30\", 14:30"},
    {"key", 0, FLAG_VALUE, "KEY", "your own name for the job; repeating it is the same job"},
    {"max-attempts", 0, FLAG_VALUE, "N", "attempts, the first included"},
    {"timeout", 0, FLAG_VALUE, "DURATION", "time-out of each attempt"},
    {"tag", 't', FLAG_LIST, "TAG", "a tag; may be given again"},
    {"header", 'H', FLAG_LIST, "'NAME: VALUE'", "a header for the handler; may be given again"},
    {"wait", 'w', FLAG_OPTIONAL, "SECONDS", "wait for the end and print the result"},
    {"file", 'f', FLAG_VALUE, "FILE", "NDJSON: one job object a line; - is standard input"},
    {"retry-for", 0, FLAG_VALUE, "DURATION", "patience with a server that does not answer (30s)"},
    {NULL},
};

static const struct flag jobs_ls_flags[] = {
    {"state", 's', FLAG_VALUE, "STATE",
     "scheduled pending running retrying completed dead cancelled"},
    {"type", 't', FLAG_VALUE, "TYPE", "a type or pattern: email.send, email.>"},
    {"queue", 'q', FLAG_VALUE, "QUEUE", "jobs of this queue"},
    {"tag", 0, FLAG_VALUE, "TAG", "jobs with this tag"},
    {"since", 0, FLAG_VALUE, "WHEN", "created since then: 2h, or 2026-01-31T14:30:00Z"},
    {"limit", 'n', FLAG_VALUE, "N", "at most so many (50)"},
    {"all", 'a', FLAG_SWITCH, NULL, "all of them, page by page"},
    {NULL},
};

static const struct flag jobs_show_flags[] = {
    {"queue", 'q', FLAG_VALUE, "QUEUE", "the queue of key:KEY"},
    {NULL},
};

static const struct flag jobs_cancel_flags[] = {
    {"dry-run", 0, FLAG_SWITCH, NULL, "say what would be done"},
    {NULL},
};

static const struct flag dev_flags[] = {
    {"state", 0, FLAG_VALUE, "DIR", "its own directory (~/.local/state/skep/dev)"},
    {"handlers", 0, FLAG_VALUE, "DIR", "directory of handlers (those that ship with skep)"},
    {"set", 0, FLAG_LIST, "KEY=VALUE", "a setting, passed on to skepd; may be given again"},
    {"demo", 0, FLAG_SWITCH, NULL, "submit a few jobs and show what becomes of them"},
    {"once", 0, FLAG_SWITCH, NULL, "with --demo: stop after it"},
    {NULL},
};

static const struct flag doctor_flags[] = {
    {"config", 'c', FLAG_VALUE, "FILE", "the configuration to look at (the one that skepd takes)"},
    {NULL},
};

#define OUT_LIST "table tsv json ndjson"

const struct command commands[] = {
    {"dev", NULL, NULL, "run skepd here: no config, sample handlers, first job in a minute",
     "Keeps all in one directory: ledger, socket, logs on this terminal. Ctrl-C stops it cleanly.",
     NULL, 0, 0, dev_flags, dev_run},
    {"enqueue", NULL, "TYPE [BODY|-]", "submit a job, or with -f a file of them",
     "BODY that is JSON is kept byte for byte; other text is text/plain, other bytes\n"
     "application/octet-stream. Without --key a key is minted, so that a request whose answer\n"
     "was lost can be repeated and is the same job.\n\n"
     "  skep enqueue email.send '{\"to\":\"x@example.org\"}' --wait\n"
     "  skep enqueue report.make --in 5m -q slow < /dev/null\n"
     "  skep enqueue -f jobs.ndjson",
     "table tsv json ndjson id", 0, 2, enqueue_flags, enqueue_run},
    {"jobs", "ls", NULL, "list jobs, newest first", NULL, OUT_LIST " id", 0, 0, jobs_ls_flags,
     jobs_ls_run},
    {"jobs", "show", "ID...", "everything about a job: attempts, errors, payload, result",
     "ID may be key:KEY, with --queue.", "json ndjson", 1, -1, jobs_show_flags, jobs_show_run},
    {"jobs", "retry", "ID...|-", "run again what is dead or cancelled; run now what waits",
     "- reads ids from standard input: skep jobs ls -s dead -o id | skep jobs retry -",
     OUT_LIST " id", 1, -1, NULL, jobs_retry_run},
    {"jobs", "cancel", "ID...|-", "cancel jobs that wait, ask running ones to stop",
     "- reads ids from standard input: skep jobs ls -t report.make -o id | skep jobs cancel -",
     OUT_LIST " id", 1, -1, jobs_cancel_flags, jobs_cancel_run},
    {"handlers", "ls", NULL, "list plug-ins, served or refused, and why", NULL, OUT_LIST, 0, 0,
     NULL, handlers_ls_run},
    {"handlers", "show", "NAME", "a plug-in's handlers, options and schema, by file or type", NULL,
     "json ndjson", 1, 1, NULL, handlers_show_run},
    {"workers", "ls", NULL, "list worker processes and what they run", NULL, OUT_LIST, 0, 0, NULL,
     workers_ls_run},
    {"stats", NULL, NULL, "how many jobs each queue has in each state", NULL, OUT_LIST, 0, 0, NULL,
     stats_run},
    {"doctor", NULL, NULL, "what is wrong here, and what to do about it",
     "Asks skepd for what it sees, and looks at configuration, folders, clock and limits of this\n"
     "machine; the latter also while skepd does not run. Exit code 1 when a check fails.",
     OUT_LIST, 0, 0, doctor_flags, doctor_run},
    {"help", NULL, "[NOUN [VERB]]", "help on a verb", NULL, NULL, 0, 2, NULL, help_run},
    {"version", NULL, NULL, "the version of this program", NULL, NULL, 0, 0, NULL, version_run},
    {NULL},
};
