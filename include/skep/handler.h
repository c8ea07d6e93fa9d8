/*
 * skep/handler.h: everything a handler needs. Header only: a plug-in links against nothing.
 *
 *     #include <skep/handler.h>
 *
 *     static int run(struct skep_job *job, void *state)
 *     {
 *             (void)state;
 *             job->services->result(job, "text/plain", job->payload.p, job->payload.n);
 *             return SKEP_DONE;
 *     }
 *
 *     SKEP_PLUGIN("echo", "1.0", {SKEP_HANDLER, .type = "echo", .run = run})
 *
 *     cc -shared -fPIC $(pkg-config --cflags skep) -o echo.so echo.c
 *
 * How it stays compatible: a plug-in exports one object, `skep_plugin`, whose first members are the
 * ABI number and its size. Another number is refused. Within one number structs only grow at their
 * end; each says its own size first, arrays are stepped by the size that the plug-in was compiled
 * with, and what an older plug-in does not have is zero. Before calling a service that was added
 * later, compare `services->size`. C11 and C++17.
 *
 * Where a handler runs: in a worker process of its own, with no environment and no credentials, one
 * job, or one batch, at a time. It may crash, hang or leak: that costs its own job an attempt and
 * nobody else anything. It must not use descriptors it did not open. A job may run more than once
 * (a crash after its work was done, a node cut off): pass `claim` on as a fence where that matters.
 */
#ifndef SKEP_HANDLER_H
#define SKEP_HANDLER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKEP_ABI 1u

#if defined(__GNUC__) || defined(__clang__)
#define SKEP_EXPORT       __attribute__((visibility("default")))
#define SKEP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define SKEP_EXPORT
#define SKEP_PRINTF(f, a)
#endif

/* What run() says of its job. Any other number counts as SKEP_RETRY and is named in the job's
 * error. */
enum skep_verdict {
        SKEP_DONE = 0, /* completed; result and children are stored with it */
        SKEP_RETRY =
            1, /* failed: again by policy, or after the given delay; dead when attempts are spent */
        SKEP_SNOOZE = 2,  /* not yet: again after the delay (at least 1 s); spends no attempt */
        SKEP_DISCARD = 3, /* no longer wanted: cancelled */
        SKEP_DEAD = 4,    /* can never work: dead now, kept for an operator */
        SKEP_CANCELLED =
            5, /* stopped because cancelled() said so; without a request it counts as SKEP_RETRY */
};

/* Why a running job is asked to stop. */
enum skep_why {
        SKEP_RUN_ON = 0,         /* it is not */
        SKEP_WHY_CANCEL = 1,     /* somebody cancelled the job */
        SKEP_WHY_TIMEOUT = 2,    /* its time is up */
        SKEP_WHY_SHUTDOWN = 3,   /* the node stops */
        SKEP_WHY_LEASE_LOST = 4, /* the node is cut off: another one may run the job soon */
};

enum skep_handler_flags {
        SKEP_THREAD_SAFE = 1, /* run() may be called for several jobs at once in one process */
        SKEP_EXCLUSIVE = 2,   /* must not overlap with a later run of the same job: is stopped
                                 before the node's lease ends */
        SKEP_IDEMPOTENT = 4,  /* running twice does no harm; shown to operators */
};

/* Bytes. Those handed to a handler always have a NUL behind them: p[n] == 0. */
struct skep_str {
        const char *p;
        size_t n;
};

struct skep_job;

/* A job to be made when, and only if, this one ends with SKEP_DONE. Zero members take the default.
 * It names this one as its parent. */
struct skep_child {
        uint32_t size;         /* sizeof(struct skep_child) */
        uint32_t has_priority; /* 0: the queue's own */
        const char *type;      /* required */
        const char *queue;     /* NULL: the one that serves the type */
        const char *key;       /* NULL: none. The same key again is the same job */
        const char *content_type;
        const char *const *headers; /* name, value, name, value, ..., NULL; or NULL */
        const char *tags;           /* comma-separated, or NULL */
        const void *payload;
        size_t payload_size;
        int64_t delay_ms; /* > 0: not before so long after this job's end */
        uint32_t timeout_ms;
        uint16_t max_attempts;
        uint8_t priority;       /* 0 to 9, 9 first */
        uint32_t heartbeat_ms;  /* a sign of life at least so often */
        const char *retry;      /* policy: "exponential base=1s cap=10m attempts=5 for=2h" */
        const char *unique_key; /* NULL: not unique; "" with "payload" in its scope */
        const char *unique_scope, *unique_states,
            *unique_conflict; /* "type,queue", "all", "keep" */
        int64_t unique_ms;    /* the key blocks for at least so long */
        int64_t run_at_us;    /* not before this time, microseconds since 1970; without delay_ms */
        int64_t deadline_us;  /* not started after this time: dead(expired); 0: none */
        const char *reply_to; /* whoever listens there is told how it ended; NULL: nobody */
        const char *correlation_id; /* and finds its question by this; NULL: none */
};

/* What a worker does for its handlers. Unless said otherwise: call from the thread that runs run(),
 * only while it runs; functions that can fail return 0 or -errno. */
struct skep_services {
        uint32_t size;

        /* Value of a header, name in any case; NULL when there is none. Valid while the job runs.
         */
        const char *(*header)(const struct skep_job *job, const char *name);

        /* enum skep_why: 0 while the job shall go on. Costs a memory read: ask often. Any thread.
         */
        int (*cancelled)(const struct skep_job *job);

        /* A descriptor that polls readable once the job is asked to stop; -1: none. Do not read or
         * close it. It may wake up for nothing: then cancelled() says 0. Any thread. */
        int (*cancel_fd)(const struct skep_job *job);

        /* How far it is; total 0: not known. People see the last word with the node's beat, once a
         * second or so; what is said in the last second of an attempt may be left out. A sign of
         * life. Any thread. */
        void (*progress)(struct skep_job *job, double done, double total);

        /* The job's result, at most 64 KiB (-E2BIG). The last call counts; kept when the job ends
         * with SKEP_DONE. */
        int (*result)(struct skep_job *job, const char *content_type, const void *bytes, size_t n);

        /* A line for the log, level as in syslog(3): 3 error, 4 warning, 6 info, 7 debug. Cut at 2
         * KiB; a flood is cut too, and says so. Any thread. */
        void (*log)(struct skep_job *job, int level, const char *fmt, ...) SKEP_PRINTF(3, 4);

        /* Saves up to 64 KiB that a later attempt gets back from checkpoint_load(). When it returns
         * 0 they are durable. It waits for the ledger: not for every row of a loop. */
        int (*checkpoint_save)(struct skep_job *job, const void *bytes, size_t n);

        /* What was saved last, by this attempt or an earlier one; {NULL, 0}: nothing. Valid while
         * the job runs. */
        struct skep_str (*checkpoint_load)(const struct skep_job *job);

        /* Makes a job when this one ends with SKEP_DONE, in the same transaction. Copies what it
         * needs. At most 1,000 children and 8 MiB a job (-ENOSPC); -EINVAL: no valid type, a text
         * too long or not what it should be, a number out of range; -E2BIG: payload over 1 MiB. */
        int (*enqueue)(struct skep_job *job, const struct skep_child *child);

        /* Zeroed memory that is freed when the job ends; NULL when there is none left. */
        void *(*alloc)(struct skep_job *job, size_t n);

        /* Value of an option of this handler: from the configuration, else its default; NULL: no
         * such option. Valid for ever. */
        const char *(*option)(const struct skep_job *job, const char *name);

        /* Says why, and after how long (0: by policy), and returns `verdict`, so that run() may end
         * with return job->services->verdict(job, SKEP_RETRY, 5000, "the server said %d", status);
         * The text is cut at 4 KiB. In run_batch() this is how each job gets its verdict. */
        int (*verdict)(struct skep_job *job, int verdict, int64_t delay_ms, const char *fmt, ...)
            SKEP_PRINTF(4, 5);
};

#define skep_retry(job, delay_ms, ...)                                                             \
        ((job)->services->verdict((job), SKEP_RETRY, (delay_ms), __VA_ARGS__))
#define skep_snooze(job, delay_ms, ...)                                                            \
        ((job)->services->verdict((job), SKEP_SNOOZE, (delay_ms), __VA_ARGS__))
#define skep_dead(job, ...)    ((job)->services->verdict((job), SKEP_DEAD, 0, __VA_ARGS__))
#define skep_discard(job, ...) ((job)->services->verdict((job), SKEP_DISCARD, 0, __VA_ARGS__))

/* One job, as run() sees it. Read-only. Times are microseconds since 1970 (UTC), 0: none. */
struct skep_job {
        uint32_t size;
        const struct skep_services *services;
        struct skep_str id; /* "0190163d-8694-739b-aea5-966c26f8ad91" */
        struct skep_str type, queue;
        struct skep_str payload; /* exactly the bytes that were sent; aligned for any type */
        struct skep_str content_type;
        struct skep_str headers; /* name NUL value NUL ..., names in lower case */
        struct skep_str traceparent, tracestate, baggage; /* W3C trace context; empty: none */
        uint64_t token;      /* of this claim; for audit, never to be interpreted */
        uint32_t generation; /* rises when an operator sends a dead job back */
        uint32_t claim;      /* rises by one with each start, never back: the fence */
        uint32_t attempt;    /* 1 is the first */
        uint32_t max_attempts;
        uint32_t priority;
        uint32_t timeout_ms; /* of this attempt; 0: none */
        int64_t created_us, started_us, deadline_us;
};

/* An option of a handler, set in the node's configuration and checked there. */
struct skep_option {
        const char *name; /* [a-z][a-z0-9_]* */
        const char
            *kind; /* "string", "int", "bool" (true, false), "duration" (30s), "size" (64k) */
        const char *value; /* default; NULL: has none and must be set */
        const char *help;
};

/* What init() gets: options by name (from the configuration, else the default) and a place for its
 * reason. */
struct skep_setup {
        uint32_t size;
        const char *type; /* of the handler, as it declares it */
        const char *(*option)(const struct skep_setup *setup, const char *name);
        char *reason; /* text for people when init() fails */
        size_t reason_size;
};

/* One handler. */
struct skep_handler {
        uint32_t size;  /* SKEP_HANDLER sets it */
        uint32_t flags; /* enum skep_handler_flags */
        const char
            *type; /* "email.send", or a pattern: "email.*" one token, "email.>" one or more */
        const char *summary; /* one line for people, or NULL */
        const char *schema;  /* JSON Schema of the payload, for people and producers, or NULL */
        const struct skep_option *options; /* or NULL */
        uint32_t n_options;
        uint32_t option_size;   /* sizeof(struct skep_option); SKEP_OPTIONS sets all three */
        uint32_t timeout_ms;    /* an attempt may take so long; 0: the queue's */
        uint32_t concurrency;   /* at most so many at a time on a node; 0: no limit of its own */
        uint32_t batch_max;     /* run_batch() takes up to so many jobs, at most 512 ... */
        uint32_t batch_wait_ms; /* ... and waits so long for them, at most ten minutes */

        /* Once per worker process, before the first job, in that job's time. 0: fine, *state is
         * passed to run(). Else the job is retried with the reason, and init() is called again for
         * the next one. Optional. */
        int (*init)(const struct skep_setup *setup, void **state);

        /* When a worker ends in good order. Not after a crash. Optional. */
        void (*fini)(void *state);

        /* Does one job; returns enum skep_verdict. */
        int (*run)(struct skep_job *job, void *state);

        /* Does n jobs of one queue, 1 to batch_max; each gets its verdict through
         * services->verdict(): the last one counts, one that was forgotten counts as SKEP_RETRY.
         * All of them start and end together. When the process dies in here nobody knows through
         * which of them: none is charged, and each comes again alone, to run() if there is one,
         * else with n = 1. One of run and run_batch must be there; without batch_max run is
         * preferred. */
        void (*run_batch)(struct skep_job *const *jobs, size_t n, void *state);

        /* An attempt without a sign of life (start, progress, checkpoint) for so long is asked to
         * stop as if its time was up, then killed; 0: none is asked for. */
        uint32_t heartbeat_ms;
};

struct skep_plugin {
        uint32_t abi;  /* SKEP_ABI */
        uint32_t size; /* sizeof(struct skep_plugin) */
        const char *name, *version;
        const struct skep_handler *handlers;
        uint32_t n_handlers;
        uint32_t handler_size; /* sizeof(struct skep_handler): the step of the array */
};

/* The one symbol that a plug-in exports. */
extern SKEP_EXPORT const struct skep_plugin skep_plugin;

/* In C, first in each handler's braces; all other members are optional but type and run (or
 * run_batch). */
#define SKEP_HANDLER .size = sizeof(struct skep_handler)

/* The options of a handler, from a static array. */
#define SKEP_OPTIONS(array)                                                                        \
        .options = (array), .n_options = sizeof(array) / sizeof *(array),                          \
        .option_size = sizeof(struct skep_option)

/* A plug-in from an array of handlers: C and C++. */
#define SKEP_PLUGIN_TABLE(plugin_name, plugin_version, array)                                      \
        const struct skep_plugin skep_plugin = {                                                   \
            SKEP_ABI,                                                                              \
            sizeof(struct skep_plugin),                                                            \
            plugin_name,                                                                           \
            plugin_version,                                                                        \
            array,                                                                                 \
            sizeof(array) / sizeof *(array),                                                       \
            sizeof(struct skep_handler),                                                           \
        };

/* A plug-in from its handlers, each in braces: C. */
#define SKEP_PLUGIN(plugin_name, plugin_version, ...)                                              \
        static const struct skep_handler skep_handlers_[] = {__VA_ARGS__};                         \
        SKEP_PLUGIN_TABLE(plugin_name, plugin_version, skep_handlers_)

#ifdef __cplusplus
}

/* C++17 has no designated initialisers:
 *     static const skep_handler handlers[] = {skep_make_handler("echo", run, "says it again")};
 *     SKEP_PLUGIN_TABLE("echo", "1.0", handlers)
 * Further members: in a constexpr function of your own that starts from this one. */
constexpr skep_handler skep_make_handler(const char *type, int (*run)(skep_job *, void *),
                                         const char *summary = nullptr)
{
        skep_handler h{};
        h.size = sizeof(skep_handler);
        h.type = type;
        h.summary = summary;
        h.run = run;
        return h;
}
#endif

#endif
