/*
 * The configuration model: plain data, and one table of every key (name, type, range, default,
 * help) that parses, validates, prints `skep config show` and the reference page. Reading files,
 * the environment and flags is the daemon's; here is only what a key means.
 *
 * A value has one text form, the one config_set() reads and config_show() writes: `4`, `30s`, `1M`,
 * `0.2`, `exponential`, `email.>,sms.*`. config_literal() turns it into what a file would hold.
 *
 * Every key of the whole lives in a section ("http.socket"), so that its name in the environment
 * has a double underscore and is told apart from the variables of other programs.
 */
#ifndef SKEP_CORE_CONFIG_H
#define SKEP_CORE_CONFIG_H

#include "core/arena.h"
#include "core/base.h"
#include "core/retry.h"
#include "core/schedule.h"

#define CONFIG_QUEUES_MAX     256
#define CONFIG_TRANSPORTS_MAX 64
#define CONFIG_OPTIONS_MAX    1024
#define CONFIG_TYPES_MAX      1024
#define CONFIG_SCHEDULES_MAX  1024
#define QUEUE_NAME_MAX        64
#define CONFIG_NOTE_MAX       512 /* room that the longest note of this file needs */

/* Where a value came from, for `config show --origin` and error messages. */
struct config_origin {
        struct str source; /* a file's path, "environment NAME", "flag --name", "credential NAME";
                              empty: the default */
        int line;          /* 0: none */
};

enum config_answer { ANSWER_NO, ANSWER_YES };

enum config_create {
        CREATE_MISSING, /* what is not there on the broker is made */
        CREATE_NOTHING, /* it is named and waited for */
};

enum queue_full {
        FULL_REJECT, /* what is submitted is refused; from a broker nothing is taken */
        FULL_DROP_OLDEST,
};

/* How long jobs stay after they ended; CONFIG_WORD (text: "forever"): always. */
#define CONFIG_WORD (-1)
struct retention {
        int64_t completed_ms, dead_ms, cancelled_ms;
};

enum queue_order {
        ORDER_FIFO,     /* jobs start as the broker brings them */
        ORDER_PRIORITY, /* taken in: what arrives waits in the ledger and is chosen there */
};

struct queue_config {
        struct str name;
        struct str transport; /* name of a transport, or empty: jobs come from the ledger alone */
        struct str *types;    /* patterns; none: only what names the queue */
        uint32_t n_types;
        struct str default_type;
        uint32_t concurrency; /* workers of this node that may hold its jobs; 0: all */
        uint32_t priority;    /* default of its jobs, 0 to 9 */
        enum queue_order order;
        uint32_t timeout_ms;   /* per attempt; 0: none */
        uint32_t heartbeat_ms; /* an attempt gives a sign of life so often; 0: need not */
        uint32_t global;       /* jobs that run on all nodes together; 0: no limit */
        uint32_t max_waiting;  /* pending and scheduled jobs; 0: no bound */
        enum queue_full when_full;
        struct retry_policy retry;
        struct retention retention;    /* 0: that of the whole */
        struct config_origin *origins; /* as config_queue_keys counts; NULL: all are defaults */
};

struct transport_config {
        struct str name, url;
        struct str password_file;                /* overrides the URL's; read when connecting */
        struct str ca_file, cert_file, key_file; /* TLS; empty: the system's CAs, no certificate */
        struct str exchange;                     /* AMQP: the topic exchange */
        struct str token_file, creds_file, nkey_file; /* NATS: other ways to log in */
        struct str stream, subject;                   /* NATS: `subject` is the prefix of types */
        uint32_t replicas;                            /* NATS: of a stream that is made */
        enum config_create create;                    /* NATS */
        uint32_t heartbeat_ms;
        uint32_t prefetch_bytes;       /* of payloads that wait unanswered, per queue */
        struct config_origin origin;   /* of the entry */
        struct config_origin *origins; /* as config_transport_keys counts, or NULL */
};

/* What jobs of a type are given where they state nothing themselves; over their queue's. */
struct type_config {
        struct str pattern;
        struct str retry;                  /* as retry_parse() reads it */
        uint32_t timeout_ms, heartbeat_ms; /* 0: the queue's */
        struct config_origin origin, *origins;
};

/* A schedule that the configuration holds; see docs/schedules.md. */
struct schedule_config {
        struct str name, cron;
        struct str zone; /* empty: UTC */
        struct str type, queue, payload, content_type;
        enum catch_up catch_up;
        enum overlap overlap;
        uint32_t catch_max;
        struct str retry;    /* empty: the type's or queue's */
        uint32_t priority;   /* UINT32_MAX: the queue's */
        uint32_t timeout_ms; /* 0: the type's or queue's */
        struct config_origin origin, *origins;
};

struct handler_option_config {
        struct str type, name, value;
        struct config_origin origin;
};

struct config {
        struct arena arena; /* all texts */
        struct str ledger_url;
        enum config_answer ledger_unsafe; /* a ledger whose commits are not durable, or plain text
                                             to another host, is accepted */
        struct transport_config *transports;
        uint32_t n_transports;
        struct queue_config *queues;
        uint32_t n_queues;
        struct type_config *types;
        uint32_t n_types;
        struct schedule_config *schedules;
        uint32_t n_schedules;
        struct retention retention;
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
        struct config_origin *origins;    /* as config_keys counts; NULL: all are defaults */
        const struct config_index *index; /* of config_index(); NULL: none */
};

/* --- the table -------------------------------------------------------------------------------- */

enum config_type {
        CONFIG_TEXT,     /* min to max bytes, no control characters */
        CONFIG_COUNT,    /* a whole number */
        CONFIG_DURATION, /* in milliseconds */
        CONFIG_SIZE,     /* in bytes */
        CONFIG_RATIO,    /* in thousandths */
        CONFIG_CHOICE,   /* a struct str, or an enum that counts the choices in their order */
        CONFIG_TEXTS,    /* min to max texts; two fields: struct str *, then uint32_t */
        CONFIG_DELAYS,   /* min to max durations; two fields: uint32_t, then the array of int64_t */
};

struct config_key {
        const char *name; /* dotted: "http.socket"; within a queue: "retry.base" */
        enum config_type type;
        size_t offset, size;  /* in struct config, queue_config or transport_config */
        const char *fallback; /* in its text form */
        int64_t min, max;     /* of the stored unit */
        const char *choices;  /* CONFIG_CHOICE: "exponential linear fixed" */
        const char *word;     /* a number may be this word instead: all bits are 1 then */
        const char *help;     /* one sentence, with the unit */
        bool secret;          /* shown as *** (URL passwords are always masked) */
        bool by_file;         /* NAME_file may be given instead: the file that holds the value */
};

extern const struct config_key config_keys[];           /* of the whole, ends with name NULL */
extern const struct config_key config_queue_keys[];     /* of a queue, ends with name NULL */
extern const struct config_key config_transport_keys[]; /* of a transport, ends with name NULL */
extern const struct config_key config_type_keys[];      /* of a type, ends with name NULL */
extern const struct config_key config_schedule_keys[];  /* of a schedule, ends with name NULL */

/* The first key of a queue, type and schedule, the name, says which one an entry of a file means.
 */
#define CONFIG_KEY_NAME 0

/* The lists of entries that have names. Each entry begins with its name. */
enum config_list_id { LIST_QUEUES, LIST_TRANSPORTS, LIST_TYPES, LIST_SCHEDULES, CONFIG_LISTS };

struct config_list {
        const char *name, *one; /* "queues", "queue" */
        const struct config_key *keys;
        size_t at;            /* in struct config: the pointer, then an uint32_t, how many */
        size_t size, origins; /* of an entry; where it has its origins */
        uint32_t max;
};

extern const struct config_list config_lists[CONFIG_LISTS];
uint32_t config_entries(const struct config *c, const struct config_list *l);
void *config_entry(const struct config *c, const struct config_list *l, uint32_t i);
struct str config_entry_name(const struct config *c, const struct config_list *l, uint32_t i);
int config_entry_named(const struct config *c, const struct config_list *l, struct str name);

/* Fills in all defaults and the one queue `default`. -ENOMEM.
 * libconfig exports a config_init of its own; the label keeps the two apart in one program, and the
 * one file that includes libconfig.h does not include this header. */
int config_init(struct config *c) __asm__("skep_config_init");
void config_deinit(struct config *c);

/* Appends one with all defaults; name is copied. -ENOMEM, or > 0 when there are too many. Pointers
 * to earlier ones are stale after it. */
#define CONFIG_FULL 1
int config_queue_add(struct config *c, struct str name, struct queue_config **ret);
int config_transport_add(struct config *c, struct str name, struct transport_config **ret);
int config_option_add(struct config *c, struct handler_option_config **ret);
int config_entry_add(struct config *c, const struct config_list *l, struct str name, void **ret);

/* Sets one key from its text form; `base` is the struct that k's table belongs to. > 0: refused,
 * note says what is allowed ("handlers.workers: 300 is not allowed; 1 to 256"). */
#define CONFIG_REFUSED 1
int config_set(void *base, struct arena *a, const struct config_key *k, struct str value,
               char *note, size_t note_size);

/* The value's text form; secrets and passwords within URLs masked. {NULL, 0}: out of memory. */
struct str config_show(const void *base, struct arena *a, const struct config_key *k);

/* A text form as a file would hold it: "30s" in quotes, [ "a", "b" ]. {NULL, 0}: out of memory. */
struct str config_literal(struct arena *a, const struct config_key *k, struct str text);

/* What a key allows, for people: "1 to 256", "one of debug, info, warn, error". */
void config_allowed(const struct config_key *k, char *ret_text, size_t size);

/* The text with passwords of URLs (user:password@, ?password=) replaced by ***. */
struct str config_mask(struct arena *a, struct str text);
bool config_has_password(struct str text);

/* The name in `keys` nearest to what was written, or NULL: for "did you mean". The distance is of
 * the last part alone when `written` has no dot. */
const char *config_nearest(const struct config_key *keys, struct str written);

/* Changed, missing, added and swapped letters between two texts, in any case; of the first 64. */
uint32_t config_distance(struct str a, struct str b);

/* What no single key can tell: duplicate queues, unknown transports, tied patterns, empty names.
 * config_check: > 0 with the first complaint's note. config_complaints: all of them, by callback
 * with the origin of the value that is to blame; returns how many. */
int config_check(const struct config *c, char *note, size_t note_size);
typedef void config_complain_fn(void *ctx, struct config_origin where, const char *note);
uint32_t config_complaints(const struct config *c, config_complain_fn *complain_fn, void *ctx);

/* Makes config_queue_for() and config_type_for() look up what they would otherwise search for,
 * which is per job. To be called last: queues and types must stay as they are. -ENOMEM. */
int config_index(struct config *c);

/* Index of the queue for a type (most literal pattern), or of `default`, or -1. */
int config_queue_for(const struct config *c, struct str type);
int config_queue_named(const struct config *c, struct str name);

/* What the configuration says of a type (most literal pattern); NULL: nothing. */
const struct type_config *config_type_for(const struct config *c, struct str type);

/* Durations "250ms" "30s" "5m" "2h" "7d" (a bare 0 too) to milliseconds; sizes "512" "64k" "1M"
 * "2G" (powers of 1024, either case) to bytes. The other way the largest unit that divides evenly.
 */
bool duration_parse(struct str text, int64_t *ret_ms);
bool size_parse(struct str text, int64_t *ret_bytes);
#define DURATION_TEXT_MAX 24
void duration_text(int64_t ms, char ret_text[static DURATION_TEXT_MAX]);
void size_text(int64_t bytes, char ret_text[static DURATION_TEXT_MAX]);

/* --- places ----------------------------------------------------------------------------------- */

/* What decides where files live: values of the environment, each NULL when unset. */
struct config_surroundings {
        bool root;
        const char *home, *xdg_config_home, *xdg_state_home, *xdg_runtime_dir;
        const char *state_directory, *runtime_directory; /* a service manager's: they win */
};

struct config_places {
        struct str state_dir, http_socket;
        struct str files[2]; /* where a config file is looked for, in order; the rest empty */
};

/* The defaults for this user: root and services in /var/lib, /run and /etc, others in their XDG
 * folders. The daemon and the CLI must agree, so it is told once. -ENOMEM. */
int config_places(const struct config_surroundings *s, struct arena *a, struct config_places *ret);

#endif
