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

/* What a job is given, whoever makes it. */
#define JOB_FLAGS                                                                                  \
        {"queue", 'q', FLAG_VALUE, "QUEUE", "the queue; else the one whose types match best"},     \
            {"priority", 'p', FLAG_VALUE, "N", "0 to 9, 9 first"},                                 \
            {"max-attempts", 0, FLAG_VALUE, "N", "attempts, the first included"},                  \
            {"retry", 0, FLAG_VALUE, "POLICY",                                                     \
             "\"exponential base=1s cap=10m jitter=0.2 for=2h\", \"table=1s,10s,2m attempts=5\""}, \
            {"timeout", 0, FLAG_VALUE, "DURATION", "time-out of each attempt"},                    \
            {"heartbeat", 0, FLAG_VALUE, "DURATION",                                               \
             "an attempt without a sign of life for so long is timed out"},                        \
            {"tag", 't', FLAG_LIST, "TAG", "a tag; may be given again"},                           \
            {"header", 'H', FLAG_LIST, "'NAME: VALUE'",                                            \
             "a header for the handler; may be given again"},                                      \
            {"unique", 'u', FLAG_VALUE, "KEY",                                                     \
             "while a job with this key waits or runs: that one"},                                 \
            {"unique-scope", 0, FLAG_VALUE, "WHAT",                                                \
             "what else must be equal: type,queue (default), payload"},                            \
            {"unique-states", 0, FLAG_VALUE, "STATES",                                             \
             "the states that block: incomplete, all, ..."},                                       \
            {"unique-for", 0, FLAG_VALUE, "DURATION", "blocks at least so long"},                  \
            {"unique-conflict", 0, FLAG_VALUE, "keep|replace",                                     \
             "replace: the waiting one gets this payload and time"},                               \
            {"reply-to", 0, FLAG_VALUE, "ADDRESS", "where the broker shall publish its end"},      \
            {"correlation-id", 0, FLAG_VALUE, "ID", "sent with the reply"},                        \
        {                                                                                          \
                "parent-id", 0, FLAG_VALUE, "ID", "the job that this one comes from"               \
        }

static const struct flag enqueue_flags[] = {
    JOB_FLAGS,
    {"in", 0, FLAG_VALUE, "DURATION", "start so much later: 30s, 5m, 2h"},
    {"at", 0, FLAG_VALUE, "TIME", "start then: 2026-01-31T14:30:00Z, \"2026-01-31 14:30\", 14:30"},
    {"deadline", 0, FLAG_VALUE, "WHEN", "not started after it: a time, or a duration from now"},
    {"key", 0, FLAG_VALUE, "KEY", "your own name for the job; repeating it is the same job"},
    {"wait", 'w', FLAG_OPTIONAL, "SECONDS", "wait for the end and print the result"},
    {"file", 'f', FLAG_VALUE, "FILE", "NDJSON: one job object a line; - is standard input"},
    {"retry-for", 0, FLAG_VALUE, "DURATION", "patience with a server that does not answer (30s)"},
    {NULL},
};

#define FILTER_FLAGS                                                                               \
        {"type", 't', FLAG_VALUE, "TYPE", "a type or pattern: email.send, email.>"},               \
            {"queue", 'q', FLAG_VALUE, "QUEUE", "jobs of this queue"},                             \
            {"tag", 0, FLAG_VALUE, "TAG", "jobs with this tag"},                                   \
        {                                                                                          \
                "since", 0, FLAG_VALUE, "WHEN",                                                    \
                    "created since then: 2h (ago), or 2026-01-31T14:30:00Z"                        \
        }

#define STATE_FLAG                                                                                 \
        {                                                                                          \
                "state", 's', FLAG_VALUE, "STATE",                                                 \
                    "scheduled pending running retrying completed dead cancelled"                  \
        }

#define ERROR_FLAGS                                                                                \
        {                                                                                          \
                "fingerprint", 0, FLAG_VALUE, "HEX",                                               \
                    "jobs with this error; `skep dead groups` lists them"                          \
        }

#define OPERATION_FLAGS                                                                            \
        {"error", 0, FLAG_VALUE, "CLASS", "failed, crashed, timed_out, oom, lost, ..."},           \
            {"before", 0, FLAG_VALUE, "WHEN", "created before then"},                              \
            {"all", 'a', FLAG_SWITCH, NULL, "without any of these filters"},                       \
            {"dry-run", 0, FLAG_SWITCH, NULL, "say how many it would be"},                         \
            {"rate", 0, FLAG_VALUE, "N", "at most so many a second"},                              \
        {                                                                                          \
                "limit", 'n', FLAG_VALUE, "N", "at most so many"                                   \
        }

static const struct flag jobs_ls_flags[] = {
    STATE_FLAG,
    FILTER_FLAGS,
    ERROR_FLAGS,
    {"limit", 'n', FLAG_VALUE, "N", "at most so many (50)"},
    {"all", 'a', FLAG_SWITCH, NULL, "all of them, page by page"},
    {NULL},
};

static const struct flag dead_ls_flags[] = {
    FILTER_FLAGS,
    ERROR_FLAGS,
    {"limit", 'n', FLAG_VALUE, "N", "at most so many (50)"},
    {"all", 'a', FLAG_SWITCH, NULL, "all of them, page by page"},
    {NULL},
};

static const struct flag dead_groups_flags[] = {
    FILTER_FLAGS,
    {"error", 0, FLAG_VALUE, "CLASS", "failed, crashed, timed_out, oom, lost, ..."},
    {NULL},
};

static const struct flag dead_requeue_flags[] = {
    FILTER_FLAGS,
    ERROR_FLAGS,
    OPERATION_FLAGS,
    {"ended-before", 0, FLAG_VALUE, "WHEN", "dead since before then"},
    {"stop-when", 0, FLAG_VALUE, "SHARE",
     "stop by itself when, of 20 and more, this share died again (0.2; 0: never)"},
    {NULL},
};

static const struct flag dead_purge_flags[] = {
    FILTER_FLAGS,    ERROR_FLAGS,
    OPERATION_FLAGS, {"ended-before", 0, FLAG_VALUE, "WHEN", "dead since before then"},
    {NULL},
};

static const struct flag dead_edit_flags[] = {
    JOB_FLAGS,
    {"type", 0, FLAG_VALUE, "TYPE", "another type"},
    {NULL},
};

static const struct flag dead_export_flags[] = {FILTER_FLAGS, ERROR_FLAGS, {NULL}};

static const struct flag dead_import_flags[] = {
    {"retry-for", 0, FLAG_VALUE, "DURATION", "patience with a server that does not answer (30s)"},
    {NULL},
};

static const struct flag cron_add_flags[] = {
    JOB_FLAGS,
    {"zone", 'z', FLAG_VALUE, "ZONE", "time zone: Europe/Berlin (UTC)"},
    {"catch-up", 0, FLAG_VALUE, "none|last|all", "what is made up for after a time without a node"},
    {"catch-max", 0, FLAG_VALUE, "N", "with all: at most so many"},
    {"overlap", 0, FLAG_VALUE, "allow|skip|buffer|cancel", "while its last job has not ended"},
    {"paused", 0, FLAG_SWITCH, NULL, "put it in, but do not run it yet"},
    {NULL},
};

static const struct flag cron_rm_flags[] = {
    {"force", 0, FLAG_SWITCH, NULL, "also one of the configuration; its next reload puts it back"},
    {NULL},
};

static const struct flag cron_next_flags[] = {
    {"zone", 'z', FLAG_VALUE, "ZONE", "time zone: Europe/Berlin (UTC)"},
    {"limit", 'n', FLAG_VALUE, "N", "so many times (5)"},
    {NULL},
};

static const struct flag queues_limit_flags[] = {
    {"concurrency", 0, FLAG_VALUE, "N", "workers of each node; 0: all; default: as configured"},
    {"global", 0, FLAG_VALUE, "N",
     "running jobs on all nodes; 0: no limit; default: as configured"},
    {NULL},
};

static const struct flag jobs_show_flags[] = {
    {"queue", 'q', FLAG_VALUE, "QUEUE", "the queue of key:KEY"},
    {NULL},
};

static const struct flag jobs_cancel_flags[] = {STATE_FLAG, FILTER_FLAGS, OPERATION_FLAGS, {NULL}};

static const struct flag dev_flags[] = {
    {"state", 0, FLAG_VALUE, "DIR", "its own directory (~/.local/state/skep/dev)"},
    {"handlers", 0, FLAG_VALUE, "DIR", "directory of handlers (those that ship with skep)"},
    {"set", 0, FLAG_LIST, "KEY=VALUE", "a setting, passed on to skepd; may be given again"},
    {"demo", 0, FLAG_SWITCH, NULL, "submit a few jobs and show what becomes of them"},
    {"once", 0, FLAG_SWITCH, NULL, "with --demo: stop after it"},
    {NULL},
};

static const struct flag bench_flags[] = {
    {"config", 'c', FLAG_VALUE, "FILE", "configuration file of skepd; else where it looks itself"},
    {"dir", 0, FLAG_VALUE, "DIR", "make its folder there; else beside the ledger's file"},
    {"database", 0, FLAG_VALUE, "NAME",
     "PostgreSQL: an empty database for it; else it makes one and drops it"},
    {"transport", 0, FLAG_VALUE, "NAME",
     "through this broker of the configuration, with a queue of its own; else the ledger alone"},
    {"jobs", 'n', FLAG_VALUE, "N", "jobs of the backlog (50000)"},
    {"payload", 0, FLAG_VALUE, "BYTES", "bytes of their payloads (256)"},
    {"seconds", 0, FLAG_VALUE, "N", "seconds of single jobs, 200 each (5)"},
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
    {"jobs", "cancel", "[ID...|-]", "cancel jobs that wait, ask running ones to stop",
     "- reads ids from standard input. Without ids: all that the filters name, page by page:\n"
     "  skep jobs cancel --type report.make --since 2h --dry-run",
     OUT_LIST " id", 0, -1, jobs_cancel_flags, jobs_cancel_run},
    {"dead", "ls", NULL, "list dead jobs, newest first", NULL, OUT_LIST " id", 0, 0, dead_ls_flags,
     dead_ls_run},
    {"dead", "groups", NULL, "dead jobs by what killed them, the largest group first", NULL,
     OUT_LIST, 0, 0, dead_groups_flags, dead_groups_run},
    {"dead", "requeue", NULL, "run dead jobs again: same ids, attempts from the start",
     "Stops by itself when too many of them die again.\n\n"
     "  skep dead requeue --fingerprint 90f3b2a1c4d5e6f7 --dry-run\n"
     "  skep dead requeue --type 'email.>' --rate 50",
     "table tsv json ndjson", 0, 0, dead_requeue_flags, dead_requeue_run},
    {"dead", "purge", NULL, "delete dead jobs for good; `skep dead export` keeps a copy", NULL,
     "table tsv json ndjson", 0, 0, dead_purge_flags, dead_purge_run},
    {"dead", "edit", "ID [BODY|-]", "submit a dead job anew with changes; the dead one stays",
     "The new job names the old one as its parent. What no flag changes is as it was.",
     "table tsv json ndjson id", 1, 2, dead_edit_flags, dead_edit_run},
    {"dead", "export", NULL, "write dead jobs as NDJSON, with payload and errors", NULL, NULL, 0, 0,
     dead_export_flags, dead_export_run},
    {"dead", "import", "FILE|-", "submit the jobs of an export anew; twice is once", NULL, NULL, 1,
     1, dead_import_flags, dead_import_run},
    {"explain", NULL, "ID...", "why is this job not running?", NULL, "table json ndjson", 1, -1,
     NULL, explain_run},
    {"queues", "ls", NULL, "list queues: what waits, what runs, limits", NULL, OUT_LIST, 0, 0, NULL,
     queues_ls_run},
    {"queues", "show", "NAME...", "one queue", NULL, OUT_LIST, 1, -1, NULL, queues_show_run},
    {"queues", "pause", "NAME...", "start no more of its jobs, on any node; running ones go on",
     NULL, OUT_LIST, 1, -1, NULL, queues_pause_run},
    {"queues", "resume", "NAME...", "start its jobs again", NULL, OUT_LIST, 1, -1, NULL,
     queues_resume_run},
    {"queues", "limit", "NAME...", "how many of its jobs may run at once", NULL, OUT_LIST, 1, -1,
     queues_limit_flags, queues_limit_run},
    {"cron", "ls", NULL, "list schedules", NULL, OUT_LIST, 0, 0, NULL, cron_ls_run},
    {"cron", "show", "NAME", "one schedule and its next runs", NULL, OUT_LIST, 1, 1, NULL,
     cron_show_run},
    {"cron", "add", "NAME CRON TYPE [BODY|-]", "make a schedule, or change the one of this name",
     "CRON: 5 fields, 6 with seconds first, @hourly and its kin, @every 90s.\n\n"
     "  skep cron add nightly '30 3 * * *' report.make '{\"all\":true}' -z Europe/Berlin",
     OUT_LIST, 3, 4, cron_add_flags, cron_add_run},
    {"cron", "rm", "NAME", "remove a schedule; its jobs stay", NULL, OUT_LIST, 1, 1, cron_rm_flags,
     cron_rm_run},
    {"cron", "run", "NAME", "make its job now, besides its times", NULL, OUT_LIST " id", 1, 1, NULL,
     cron_run_run},
    {"cron", "pause", "NAME", "make no jobs until it is resumed", NULL, OUT_LIST, 1, 1, NULL,
     cron_pause_run},
    {"cron", "resume", "NAME", "make jobs again", NULL, OUT_LIST, 1, 1, NULL, cron_resume_run},
    {"cron", "next", "CRON", "when an expression would run", NULL, "table json ndjson", 1, 1,
     cron_next_flags, cron_next_run},
    {"operations", "ls", NULL, "operations over many jobs: those that run, and the last hour's",
     NULL, OUT_LIST, 0, 0, NULL, operations_ls_run},
    {"operations", "stop", "ID", "stop one; what it did stays done", NULL, OUT_LIST, 1, 1, NULL,
     operations_stop_run},
    {"reconcile", NULL, NULL, "look in every broker's queue for jobs that it lost",
     "Sends a mark through each queue and offers from the ledger what was passed over. Up to a "
     "minute.",
     OUT_LIST, 0, 0, NULL, reconcile_run},
    {"nodes", "ls", NULL, "list the nodes that share this ledger", NULL, OUT_LIST, 0, 0, NULL,
     nodes_ls_run},
    {"handlers", "ls", NULL, "list plug-ins, served or refused, and why", NULL, OUT_LIST, 0, 0,
     NULL, handlers_ls_run},
    {"handlers", "show", "NAME", "a plug-in's handlers, options and schema, by file or type", NULL,
     "json ndjson", 1, 1, NULL, handlers_show_run},
    {"workers", "ls", NULL, "list worker processes and what they run", NULL, OUT_LIST, 0, 0, NULL,
     workers_ls_run},
    {"workers", "resize", "N|default", "run with so many workers until skepd ends", NULL, OUT_LIST,
     1, 1, NULL, workers_resize_run},
    {"stats", NULL, NULL, "how many jobs each queue has in each state", NULL, OUT_LIST, 0, 0, NULL,
     stats_run},
    {"bench", NULL, NULL, "what this machine and this ledger can do",
     "Starts a skepd of its own with a handler that does nothing, on a ledger of its own beside\n"
     "that of the configuration, and removes both. No job, queue or broker of yours is touched.\n\n"
     "  skep bench\n"
     "  sudo -u skep skep bench --jobs 500000 --payload 4096",
     OUT_LIST, 0, 0, bench_flags, bench_run},
    {"doctor", NULL, NULL, "what is wrong here, and what to do about it",
     "Asks skepd for what it sees, and looks at configuration, folders, clock and limits of this\n"
     "machine; the latter also while skepd does not run. Exit code 1 when a check fails.",
     OUT_LIST, 0, 0, doctor_flags, doctor_run},
    {"help", NULL, "[NOUN [VERB]]", "help on a verb", NULL, NULL, 0, 2, NULL, help_run},
    {"version", NULL, NULL, "the version of this program", NULL, NULL, 0, 0, NULL, version_run},
    {NULL},
};
