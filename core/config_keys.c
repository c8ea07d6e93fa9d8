/*
 * Every key there is: the one place that a new setting is written down. What is not in these tables
 * cannot be configured, and the reference page, the example file, the checks and `did you mean` all
 * come from here. Values that no key states (queue names, handler options) have no row.
 */
#include "core/config.h"
#include "core/job.h"
#include "core/pattern.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)
#define KIB    INT64_C(1024)
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)

#define PATH_BYTES   4095
#define SOCKET_BYTES 107 /* sun_path, less its NUL */
#define URL_BYTES    2048
#define TYPES_MAX    256
#define JOBS_MAX     INT64_C(1000000000) /* of a queue's length */
#define FOREVER_MAX  (10 * YEAR)

#define OF(type, field) offsetof(struct type, field), sizeof(((struct type *)NULL)->field)
#define WHOLE(field)    OF(config, field)
#define QUEUE(field)    OF(queue_config, field)
#define TYPE(field)     OF(type_config, field)
#define SCHEDULE(field) OF(schedule_config, field)

#define X(name, text) text " "
static const char backoffs[] = BACKOFFS(X);
static const char catch_ups[] = CATCH_UPS(X);
static const char overlaps[] = OVERLAPS(X);
#undef X

const struct config_key config_keys[] = {
    {"ledger.url", CONFIG_TEXT, WHOLE(ledger_url), "sqlite:/var/lib/skep/skep.db", 1, URL_BYTES,
     .by_file = true,
     .help = "The durable record of all jobs, as a URL: postgresql://USER@HOST/DATABASE, "
             "sqlite:PATH or "
             "sqlite::memory:. Without it: skep.db within node.state_dir."},
    {"ledger.unsafe", CONFIG_CHOICE, WHOLE(ledger_unsafe), "no", .choices = "no yes",
     .help = "yes: a PostgreSQL that does not make commits durable, or plain text to another host, "
             "is used all the same. Jobs may be lost."},
    {"node.state_dir", CONFIG_TEXT, WHOLE(state_dir), "/var/lib/skep", 1, PATH_BYTES,
     .help = "Folder of this node alone: its lock, its run pages and, by default, its ledger."},
    {"node.beat", CONFIG_DURATION, WHOLE(beat_ms), "1s", 50, 10 * SECOND,
     .help = "How often the node tells the ledger that it lives, as a duration."},
    {"node.lease", CONFIG_DURATION, WHOLE(lease_ms), "15s", 200, 10 * MINUTE,
     .help = "How long a node may be silent before others rescue its jobs, as a duration; at least "
             "three beats."},
    {"node.shutdown_grace", CONFIG_DURATION, WHOLE(shutdown_grace_ms), "30s", 0, HOUR,
     .help = "How long running jobs may go on after the node was asked to stop, as a duration. A "
             "ledger "
             "that is slow just then gets up to node.lease more."},
    {"handlers.dir", CONFIG_TEXT, WHOLE(handlers_dir), "/usr/lib/skep/handlers", 1, PATH_BYTES,
     .help = "Folder that is watched for plug-ins (.so files)."},
    {"handlers.workers", CONFIG_COUNT, WHOLE(workers), "2", 1, 256,
     .help = "Number of worker processes in which handlers run, one job at a time each."},
    {"handlers.cancel_grace", CONFIG_DURATION, WHOLE(cancel_grace_ms), "5s", 0, HOUR,
     .help = "From asking a handler to stop (cancel, time-out) to killing its worker, as a "
             "duration."},
    {"handlers.probe_timeout", CONFIG_DURATION, WHOLE(probe_timeout_ms), "5s", 100, MINUTE,
     .help = "How long a new plug-in may take to load before it is refused, as a duration."},
    {"jobs.payload_max", CONFIG_SIZE, WHOLE(payload_max), "1M", KIB, 64 * MIB,
     .help = "The largest payload of a job, in bytes or with k, M."},
    {"retention.completed", CONFIG_DURATION, WHOLE(retention.completed_ms), "7d", SECOND,
     FOREVER_MAX, .word = "forever",
     .help = "How long completed jobs are kept after they ended, as a duration."},
    {"retention.dead", CONFIG_DURATION, WHOLE(retention.dead_ms), "forever", SECOND, FOREVER_MAX,
     .word = "forever", .help = "How long dead jobs are kept, as a duration."},
    {"retention.cancelled", CONFIG_DURATION, WHOLE(retention.cancelled_ms), "7d", SECOND,
     FOREVER_MAX, .word = "forever", .help = "How long cancelled jobs are kept, as a duration."},
    {"http.socket", CONFIG_TEXT, WHOLE(http_socket), "/run/skep/skep.sock", 1, SOCKET_BYTES,
     .help = "Path of the Unix socket of the HTTP API."},
    {"http.listen", CONFIG_TEXT, WHOLE(http_listen), "", 0, 255,
     .help = "Address and port of the HTTP API over TCP, such as 127.0.0.1:8290 or [::1]:8290; "
             "loopback only, and only with http.token_file. Empty: no TCP."},
    {"http.token_file", CONFIG_TEXT, WHOLE(http_token_file), "", 0, PATH_BYTES,
     .help = "File with the tokens that HTTP over TCP asks for, one per line; not readable by "
             "others. Empty: none."},
    {"log.level", CONFIG_CHOICE, WHOLE(log_level), "info", .choices = "debug info warn error",
     .help = "The least important messages that are logged."},
    {"log.format", CONFIG_CHOICE, WHOLE(log_format), "auto", .choices = "auto logfmt json",
     .help = "Form of log lines; auto is logfmt on a terminal and JSON elsewhere."},
    {0},
};

const struct config_key config_queue_keys[] = {
    [CONFIG_KEY_NAME] = {"name", CONFIG_TEXT, QUEUE(name), "default", 1, QUEUE_NAME_MAX,
                         .help = "The queue's name; an entry with the name of an earlier one "
                                 "changes that one key by key."},
    {"transport", CONFIG_TEXT, QUEUE(transport), "", 0, 64,
     .help = "Name of the transport that brings its jobs. Empty: they come from the ledger alone."},
    {"order", CONFIG_CHOICE, QUEUE(order), "fifo", .choices = "fifo priority",
     .help = "fifo: jobs start as its transport brings them. priority: they are taken into the "
             "ledger as they come, and the most urgent starts first."},
    {"types", CONFIG_TEXTS, QUEUE(types), "", 0, TYPES_MAX,
     .help = "Patterns of job types that belong here when a job names no queue; * is one token, > "
             "is one or more at the end."},
    {"default_type", CONFIG_TEXT, QUEUE(default_type), "", 0, 255,
     .help = "Type of jobs that arrive without one. Empty: they are refused."},
    {"concurrency", CONFIG_COUNT, QUEUE(concurrency), "0", 0, 256,
     .help = "Number of this node's workers that may hold its jobs at once; 0: all of them."},
    {"global", CONFIG_COUNT, QUEUE(global), "0", 0, 65535,
     .help = "Number of its jobs that may run at once on all nodes together; 0: no limit. Its jobs "
             "are taken into the ledger as they come."},
    {"max_waiting", CONFIG_COUNT, QUEUE(max_waiting), "0", 0, JOBS_MAX,
     .help = "Number of jobs that may wait in it, those for later included; 0: no bound."},
    {"when_full", CONFIG_CHOICE, QUEUE(when_full), "reject", .choices = "reject drop_oldest",
     .help = "What becomes of a job that comes when max_waiting is reached. reject: it is refused, "
             "and nothing is taken from a broker. drop_oldest: the job that waits longest is "
             "cancelled for it."},
    {"priority", CONFIG_COUNT, QUEUE(priority), "5", 0, PRIORITY_MAX,
     .help = "Priority of jobs that state none; 9 is first, 0 is last."},
    {"timeout", CONFIG_DURATION, QUEUE(timeout_ms), "0", 0, 30 * DAY,
     .help = "Time limit of one attempt where neither job nor handler sets one, as a duration; 0: "
             "none."},
    {"heartbeat", CONFIG_DURATION, QUEUE(heartbeat_ms), "0", 0, DAY,
     .help = "An attempt that gives no sign of life for so long is timed out, as a duration, where "
             "neither job nor handler says so; 0: none is asked for."},
    {"retry.max_attempts", CONFIG_COUNT, QUEUE(retry.max_attempts), "3", 1, 1000,
     .help = "Number of attempts before a job is dead, the first included."},
    {"retry.backoff", CONFIG_CHOICE, QUEUE(retry.backoff), "exponential", .choices = backoffs,
     .help = "How the delay between attempts grows: doubled each time, by the base each time, not "
             "at all, or as retry.table says."},
    {"retry.base", CONFIG_DURATION, QUEUE(retry.base_ms), "1s", 0, YEAR,
     .help = "Delay after the first attempt, as a duration."},
    {"retry.cap", CONFIG_DURATION, QUEUE(retry.cap_ms), "10m", 0, YEAR,
     .help = "The longest delay before jitter, as a duration."},
    {"retry.jitter", CONFIG_RATIO, QUEUE(retry.jitter_permille), "0.2", 0, 1000,
     .help = "Random part of each delay, as a share of it: 0.2 is up to 20 % shorter or longer."},
    {"retry.table", CONFIG_DELAYS, QUEUE(retry.n_table), "", 0, RETRY_TABLE_MAX,
     .help =
         "The delays themselves, durations, with retry.backoff = \"table\"; the last one counts "
         "from there on."},
    {"retry.for", CONFIG_DURATION, QUEUE(retry.for_ms), "0", 0, YEAR,
     .help = "How long a job is tried at all after it was made or due, as a duration: no attempt "
             "begins later; 0: no limit."},
    {"retention.completed", CONFIG_DURATION, QUEUE(retention.completed_ms), "0", 0, FOREVER_MAX,
     .word = "forever",
     .help =
         "How long its completed jobs are kept, as a duration; 0: as retention.completed of the "
         "whole says."},
    {"retention.dead", CONFIG_DURATION, QUEUE(retention.dead_ms), "0", 0, FOREVER_MAX,
     .word = "forever", .help = "Likewise its dead jobs."},
    {"retention.cancelled", CONFIG_DURATION, QUEUE(retention.cancelled_ms), "0", 0, FOREVER_MAX,
     .word = "forever", .help = "Likewise its cancelled jobs."},
    {0},
};

const struct config_key config_type_keys[] = {
    [CONFIG_KEY_NAME] = {"pattern", CONFIG_TEXT, TYPE(pattern), "", 1, TYPE_MAX,
                         .help = "A type or pattern of types; * is one token, > is one or more at "
                                 "the end. The most literal one that fits a job counts."},
    {"retry", CONFIG_TEXT, TYPE(retry), "", 0, RETRY_TEXT_MAX,
     .help = "What of the queue's retry policy is another for these jobs, in words: exponential, "
             "linear, fixed or table=1s,10s,2m; base=1s, cap=10m, jitter=0.2, attempts=5, for=2h."},
    {"timeout", CONFIG_DURATION, TYPE(timeout_ms), "0", 0, 30 * DAY,
     .help = "Time limit of one attempt where neither job nor handler sets one, as a duration; 0: "
             "the queue's."},
    {"heartbeat", CONFIG_DURATION, TYPE(heartbeat_ms), "0", 0, DAY,
     .help =
         "An attempt that gives no sign of life for so long is timed out, as a duration; 0: the "
         "queue's."},
    {0},
};

const struct config_key config_schedule_keys[] = {
    [CONFIG_KEY_NAME] = {"name", CONFIG_TEXT, SCHEDULE(name), "", 1, SCHEDULE_NAME_MAX,
                         .help = "The schedule's name; one for all nodes of a ledger."},
    {"cron", CONFIG_TEXT, SCHEDULE(cron), "", 1, SCHEDULE_SPEC_MAX,
     .help = "When it runs: five fields (minute, hour, day of month, month, day of week), six with "
             "the second before them, @hourly and its kin, or @every with a duration."},
    {"zone", CONFIG_TEXT, SCHEDULE(zone), "", 0, 64,
     .help = "The time zone of cron, such as Europe/Berlin. Empty: UTC."},
    {"type", CONFIG_TEXT, SCHEDULE(type), "", 1, TYPE_MAX,
     .help = "Type of the jobs that it makes."},
    {"queue", CONFIG_TEXT, SCHEDULE(queue), "", 0, QUEUE_NAME_MAX,
     .help = "Their queue. Empty: that of their type."},
    {"payload", CONFIG_TEXT, SCHEDULE(payload), "", 0, 64 * KIB,
     .help = "Their payload, as it is."},
    {"content_type", CONFIG_TEXT, SCHEDULE(content_type), "application/json", 1, 255,
     .help = "Content type of the payload."},
    {"catch_up", CONFIG_CHOICE, SCHEDULE(catch_up), "last", .choices = catch_ups,
     .help =
         "What becomes of ticks that no node was there for: nothing, one job for the latest, or "
         "a job for each."},
    {"catch_max", CONFIG_COUNT, SCHEDULE(catch_max), "100", 1, SCHEDULE_CATCH_MAX,
     .help = "With catch_up = \"all\" at most so many, the latest."},
    {"overlap", CONFIG_CHOICE, SCHEDULE(overlap), "allow", .choices = overlaps,
     .help = "What becomes of a tick while the job of the one before has not ended: it makes its "
             "job, it passes, one waits, or the older job is cancelled."},
    {"retry", CONFIG_TEXT, SCHEDULE(retry), "", 0, RETRY_TEXT_MAX,
     .help = "Their retry policy, in the words of types.retry. Empty: the type's or queue's."},
    {"priority", CONFIG_COUNT, SCHEDULE(priority), "queue", 0, PRIORITY_MAX, .word = "queue",
     .help = "Their priority; queue: the queue's."},
    {"timeout", CONFIG_DURATION, SCHEDULE(timeout_ms), "0", 0, 30 * DAY,
     .help = "Time limit of one attempt, as a duration; 0: the type's or queue's."},
    {0},
};

const struct config_key config_transport_keys[] = {
    {"url", CONFIG_TEXT, OF(transport_config, url), "", 1, URL_BYTES, .by_file = true,
     .help = "Where the broker is, as a URL: amqp://USER:PASSWORD@HOST:PORT/VHOST for RabbitMQ, "
             "nats://USER:PASSWORD@HOST:PORT for NATS, several servers as A:PORT,B:PORT; amqps:// "
             "or tls:// for TLS, which any host but this one needs."},
    {"password_file", CONFIG_TEXT, OF(transport_config, password_file), "", 0, PATH_BYTES,
     .help =
         "File with the password, instead of one in the URL; read at each connect, not readable "
         "by others."},
    {"ca_file", CONFIG_TEXT, OF(transport_config, ca_file), "", 0, PATH_BYTES,
     .help = "PEM file of the authorities that may vouch for the broker. Empty: those of the "
             "system."},
    {"cert_file", CONFIG_TEXT, OF(transport_config, cert_file), "", 0, PATH_BYTES,
     .help = "PEM file of this node's certificate, shown to the broker. Empty: none."},
    {"key_file", CONFIG_TEXT, OF(transport_config, key_file), "", 0, PATH_BYTES,
     .help = "PEM file of the key of cert_file."},
    {"exchange", CONFIG_TEXT, OF(transport_config, exchange), "jobs", 1, 100,
     .help = "RabbitMQ: the topic exchange that producers publish to; NAME.unrouted and "
             "NAME.refused are the "
             "queues for what no queue takes and what is too large."},
    {"token_file", CONFIG_TEXT, OF(transport_config, token_file), "", 0, PATH_BYTES,
     .help = "NATS: file with the token, instead of one in the URL; read at each connect, not "
             "readable by others."},
    {"creds_file", CONFIG_TEXT, OF(transport_config, creds_file), "", 0, PATH_BYTES,
     .help = "NATS: credentials file with a user's JWT and seed."},
    {"nkey_file", CONFIG_TEXT, OF(transport_config, nkey_file), "", 0, PATH_BYTES,
     .help = "NATS: file with a user's nkey seed; its public key is derived."},
    {"stream", CONFIG_TEXT, OF(transport_config, stream), "JOBS", 1, 200,
     .help = "NATS: the JetStream stream that holds the jobs; NAME_REFUSED is the one for what is "
             "too large."},
    {"subject", CONFIG_TEXT, OF(transport_config, subject), "jobs", 1, 100,
     .help = "NATS: what stands before a job's type in its subject: jobs.email.send."},
    {"replicas", CONFIG_COUNT, OF(transport_config, replicas), "1", 1, 5,
     .help = "NATS: copies of a stream that skepd makes; 3 for a cluster."},
    {"create", CONFIG_CHOICE, OF(transport_config, create), "yes", .choices = "yes no",
     .help = "NATS: whether streams and consumers that are missing are made; no: they are named "
             "and waited for."},
    {"heartbeat", CONFIG_DURATION, OF(transport_config, heartbeat_ms), "10s", SECOND, HOUR,
     .help = "How often the connection proves that it lives, as a duration in whole seconds."},
    {"prefetch", CONFIG_SIZE, OF(transport_config, prefetch_bytes), "8M", 64 * KIB, GIB,
     .help = "Bytes of payloads that may be on their way to this node unanswered, per queue."},
    {0},
};
