/*
 * The plug-in host: what skepd's engine thread needs of handlers and workers.
 *
 * skepd never loads a plug-in. The host keeps a directory of `.so` files watched, has each new one
 * probed in a throw-away child, keeps a sealed copy of what was checked, starts the worker program
 * once (it is its own zygote) and has it fork workers from its clean image. All of it is
 * asynchronous and polled by the engine's one loop.
 *
 * Threads: everything here is called from the engine's thread, which must be the thread that called
 * host_start() (PR_SET_PDEATHSIG follows that thread).
 */
#ifndef SKEP_PLUGINS_HOST_H
#define SKEP_PLUGINS_HOST_H

#include "core/base.h"
#include "core/job.h"
#include "core/roster.h"
#include "core/verdict.h"

struct pollfd;
struct host;

struct host_options {
        const char *handlers_dir;   /* watched; may be missing at start, then it is waited for */
        const char *state_dir;      /* run pages live in state_dir/pages/ */
        const char *worker_program; /* path of the worker executable */
        uint32_t probe_timeout_ms;  /* a constructor that hangs is refused after so long */
        uint64_t payload_max;       /* bytes */
        /* options of handlers from configuration: plug-in, handler type, name → value;
         * NULL-terminated array */
        const struct handler_option *options;
};

struct handler_option {
        const char *type; /* pattern of the handler, as the handler declares it */
        const char *name, *value;
};

/* What the host tells the engine's loop. Texts are valid until the next call of host_next(). */
enum host_event_kind {
        HOST_NONE,
        HOST_ROSTER,   /* the set of accepted plug-ins changed: `roster` (a reference is passed) */
        HOST_REFUSED,  /* a plug-in was refused: `plugin`, `text` */
        HOST_ACCEPTED, /* a plug-in was probed and will serve: `plugin`, `text` (types, build id) */
        HOST_WORKER_UP, /* worker `worker` runs, pid `pid`, with the roster generation `generation`
                         */
        HOST_VERDICTS,  /* the next `n_verdicts` slots of worker's ring, from `first`, have ended */
        HOST_WORKER_GONE, /* the worker was reaped; all its verdicts have been told before; `gone`
                           */
        HOST_LOG,         /* a handler logged: `worker`, `job`, `level` (syslog), `text` */
        HOST_CHECKPOINT,  /* a handler saves a checkpoint for the job in ring position `first`:
                             `bytes`;  answer with host_checkpoint_saved() once it is durable */
        HOST_FAILED, /* the zygote died or cannot start: `text`; the host starts it again by itself
                      */
};

struct worker_gone {
        enum error_class
            how; /* CRASHED, OOM; NONE: it ended by itself after host_worker_retire() */
        int signal, exit_code; /* one of them, else 0 */
        bool running;          /* its page said that it was running ring position `position` */
        uint32_t position;
        uint32_t n_running; /* jobs from `position` on that it ran together; 1: that one alone */
        int64_t started_wall_us;
        struct str text; /* "SIGSEGV (address 0x0)" and the backtrace, or "exit(0) called", ... */
};

/* Rows of a verdict's children are as the handler wrote them, checked for form: the engine mints
 * `id`, finds the queue when `queue` is empty, and fills in what is 0 (max_attempts, timeout_ms)
 * or, for `priority`, UINT8_MAX: the queue's own. State SCHEDULED with after_us, else PENDING and
 * offered. The submission is atomic and passes to the engine. */
struct host_event {
        enum host_event_kind kind;
        uint32_t worker, generation;
        int32_t pid;
        uint32_t first, n_verdicts;
        const struct verdict *verdicts;
        struct worker_gone gone;
        struct roster *roster;
        struct str plugin, text, bytes;
        struct job_id job;
        int level;
};

/* Starts the worker program and the watch. Call before any library or thread is initialised in this
 * process. < 0: -errno, note filled. */
int host_start(const struct host_options *o, struct host **ret, char *note, size_t note_size);
struct host *host_stop(struct host *h); /* kills what is left; NULL-safe, returns NULL */

uint32_t host_pollfds(struct host *h, struct pollfd *fds, uint32_t max);
int64_t host_deadline_ns(struct host *h);

/* Does what is ready, tells one event; HOST_NONE when there is no more. Call until then. */
void host_next(struct host *h, int64_t now_ns, struct host_event *ret_event);

/* --- workers: numbers are the engine's, 0 to 255, reused only after HOST_WORKER_GONE ---------- */

#define WORKERS_MAX    256
#define RING_SLOTS     512 /* jobs given to a worker and not yet ended, at most */
#define FRAME_JOBS     250
#define FRAME_BYTES    (128u << 10)
#define PAYLOAD_INLINE (32u << 10) /* larger payloads travel on the worker's belt or as memfds */

/* Asks the zygote for a worker with the current roster generation. HOST_WORKER_UP follows, or
 * HOST_WORKER_GONE. */
int host_worker_spawn(struct host *h, uint32_t worker);

/* Gives jobs to a worker, in order, at the next ring positions (position rises by one per job, from
 * 0 for each new worker; slot = position % RING_SLOTS). A job, with all that it points to, must
 * stay until its verdict was told, it was taken back, or its worker is gone: those with large
 * payloads wait here for room. Splits into frames by itself; never blocks: what the socket does not
 * take now is kept and sent when it does. The caller keeps within RING_SLOTS. `timeout_ms`s are the
 * caller's to watch. */
int host_worker_give(struct host *h, uint32_t worker, struct job *const *jobs, uint32_t n);

/* The same for jobs of batch `group` (not 0), which has `group_n` jobs in all and is run as one
 * once the last of them was given; `group` was not used for this worker before. Only for
 * an idle worker, the end of whose last job was told: a batch does not wait for room that others
 * take up. All of its jobs are given before anything else is, and are running together from the
 * moment the first of them does. Each gets a verdict of its own, whose run_ns is the whole batch's
 * time. */
int host_worker_give_batch(struct host *h, uint32_t worker, struct job *const *jobs, uint32_t n,
                           uint32_t group, uint32_t group_n);

/* Takes back the jobs of a worker that have not started, from the newest down to `position`: marks
 * their slots, so that the worker skips them. Returns the first position that was taken back (==
 * the next position to give when none was); positions from there on are given anew afterwards. */
uint32_t host_worker_recall(struct host *h, uint32_t worker, uint32_t position);

/* What the page says now: is something running, which position (of a batch the first), since when
 * (mono_ns), and when did it give a sign of life last (start, progress, checkpoint)? */
bool host_worker_running(struct host *h, uint32_t worker, uint32_t *ret_position,
                         int64_t *ret_since_ns, int64_t *ret_progress_ns);

/* How far a running job says it is. Looks from ring position *position on, and moves it to the
 * first one whose handler has said something that was not told yet; false: none has. Of several
 * words the latest counts; anything may stand there, a NaN too. */
bool host_worker_progress(struct host *h, uint32_t worker, uint32_t *position, double *ret_done,
                          double *ret_total);

/* Asks the running job at that position to stop, with the reason (enum skep_why). Of a batch: one
 * that is cancelled is asked alone, any other reason is asked of all from that position on. */
void host_worker_ask(struct host *h, uint32_t worker, uint32_t position, int why);

void host_worker_kill(struct host *h, uint32_t worker); /* SIGKILL to its process group */
void host_worker_retire(struct host *h,
                        uint32_t worker); /* ends by itself after its last given job */

/* No worker starts a job after this instant (CLOCK_MONOTONIC) unless a later call says so: kept in
 * every page, so that it holds even while this process is stopped. A worker whose lease is over
 * waits with its next job until it is extended or the job is recalled. Before the first call: no
 * limit. */
void host_lease(struct host *h, int64_t until_ns);

int32_t host_worker_pid(const struct host *h, uint32_t worker); /* 0: none */

void host_checkpoint_saved(struct host *h, uint32_t worker, uint32_t position, bool ok);

/* --- for people ------------------------------------------------------------------------------- */

/* Every plug-in file that was looked at, refused ones included. Rows are valid until the next
 * host_next(). */
struct plugin_row {
        struct str file, summary, types; /* types: comma-separated */
        bool serving;
        struct str reason; /* why it was refused */
        char build[BUILD_ID_MAX];
        uint64_t bytes;
        int64_t probed_wall_us;
        const char *manifest_json; /* full description: handlers with pattern, summary, options,
                                      schema, time-out */
};
uint32_t host_plugins(struct host *h, const struct plugin_row **ret_rows);

/* Asks for a new look at the directory now (SIGHUP). */
void host_rescan(struct host *h);

/* --- after a restart -------------------------------------------------------------------------- */

/* Before host_start(): reads what a former skepd with this state directory left behind: its pages,
 * and ends (SIGKILL, and waits for) those of its workers that still live, recognised by pid and
 * start time. `same_boot` false: pages are not to be trusted, none is reported. */
struct former_slot {
        struct job_id id;
        uint32_t claim;
        uint64_t token;
        bool started, ended;
        struct verdict verdict; /* when ended; texts live in the former's arena */
};
struct former {
        struct arena arena;
        struct former_slot *slots;
        uint32_t n;
        uint32_t ended_workers;
};
int former_read(const char *state_dir, struct former *ret_former, char *note, size_t note_size);
void former_deinit(struct former *f);

#endif
