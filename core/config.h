/*
 * The configuration model: plain data, and one table of every key (name, type, range, default,
 * help) that parses, validates, prints `skep config show` and the reference page. Reading files,
 * the environment and flags is the daemon's; here is only what a key means.
 */
#ifndef SKEP_CORE_CONFIG_H
#define SKEP_CORE_CONFIG_H

#include "core/arena.h"
#include "core/base.h"
#include "core/retry.h"

/* Where a value came from, for `config show --origin` and error messages. */
struct config_origin {
        struct str source; /* a file's path, "environment", "flag", "default" */
        int line;          /* 0: none */
};

struct queue_config {
        struct str name;
        struct str transport; /* name of a transport, or empty: jobs come from the ledger alone */
        struct str *types;    /* patterns; none: only what names the queue */
        uint32_t n_types;
        struct str default_type;
        uint32_t concurrency; /* workers of this node that may hold its jobs; 0: all */
        uint32_t priority;    /* default of its jobs, 0 to 9 */
        uint32_t timeout_ms;  /* per attempt; 0: none */
        struct retry_policy retry;
};

struct transport_config {
        struct str name, url;
};

struct handler_option_config {
        struct str type, name, value;
};

struct config {
        struct arena arena; /* all texts */
        struct str ledger_url;
        struct transport_config *transports;
        uint32_t n_transports;
        struct queue_config *queues;
        uint32_t n_queues;
        struct str handlers_dir;
        uint32_t workers;
        struct handler_option_config *handler_options;
        uint32_t n_handler_options;
        struct str http_socket, http_listen, http_token_file;
        struct str state_dir;
        uint32_t payload_max;
        uint32_t beat_ms, lease_ms;       /* DESIGN: 1 s, 15 s */
        uint32_t cancel_grace_ms;         /* 5 s: from asking a handler to killing it */
        uint32_t shutdown_grace_ms;       /* 30 s */
        uint32_t probe_timeout_ms;        /* 5 s: a plug-in's constructor may take so long */
        struct str log_level, log_format; /* debug info warn error; auto logfmt json */
};

/* --- the table
 * ------------------------------------------------------------------------------------ */

enum config_type {
        CONFIG_TEXT,
        CONFIG_COUNT,
        CONFIG_DURATION,
        CONFIG_SIZE,
        CONFIG_RATIO,
        CONFIG_CHOICE,
        CONFIG_TEXTS
};

struct config_key {
        const char *name; /* dotted: "http.socket"; within a queue: "retry.base" */
        enum config_type type;
        size_t offset;        /* in struct config or struct queue_config */
        const char *fallback; /* as it would be written in a file */
        int64_t min, max;     /* of the stored unit */
        const char *choices;  /* CONFIG_CHOICE: "exponential linear fixed" */
        bool secret;          /* shown as *** (URL passwords are always masked) */
        const char *help;     /* one sentence, with the unit */
};

extern const struct config_key config_keys[];       /* of the whole, ends with name NULL */
extern const struct config_key config_queue_keys[]; /* of a queue, ends with name NULL */

/* Fills in all defaults and the one queue `default` when there is none. -ENOMEM. */
int config_init(struct config *c);
void config_deinit(struct config *c);

/* Sets one key from its text form; `base` is a struct config or struct queue_config. > 0: refused,
 * note says what is allowed ("workers: 300 is not allowed; 1 to 256"). */
#define CONFIG_REFUSED 1
int config_set(void *base, struct arena *a, const struct config_key *k, struct str value,
               char *note, size_t note_size);

/* The value's text form, as a file would write it; secrets masked. */
struct str config_show(const void *base, struct arena *a, const struct config_key *k);

/* The name in `keys` nearest to what was written, or NULL: for "did you mean". */
const char *config_nearest(const struct config_key *keys, struct str written);

/* What no single key can tell: duplicate queues, unknown transports, tied patterns, empty names. >
 * 0 with note. */
int config_check(const struct config *c, char *note, size_t note_size);

/* Index of the queue for a type (most literal pattern), or of `default`, or -1. */
int config_queue_for(const struct config *c, struct str type);
int config_queue_named(const struct config *c, struct str name);

/* Durations "250ms" "30s" "5m" "2h" "7d" (a bare 0 too) to milliseconds; sizes "64k" "1M" "2G" to
 * bytes. */
bool duration_parse(struct str text, int64_t *ret_ms);
bool size_parse(struct str text, int64_t *ret_bytes);

#endif
