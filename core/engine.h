/*
 * The engine: everything that decides. It is sans-I/O: step(event, now) -> actions. It never reads
 * a clock, draws a random number, touches a socket or logs; the daemon carries its actions out with
 * threads and sockets, the simulator in virtual time.
 *
 *     engine_step(e, &event, now, &actions);
 *     for each action: do it;
 *     sleep until engine_wake_ns(e) or the next event
 *
 * One thread. Events and actions are batches: on the happy path nothing is allocated per job.
 */
#ifndef SKEP_CORE_ENGINE_H
#define SKEP_CORE_ENGINE_H

#include "core/base.h"
#include "core/config.h"
#include "core/job.h"
#include "core/ledger.h"
#include "core/roster.h"
#include "core/verdict.h"
#include "core/zone.h"

#define ENGINE_WORKERS_MAX 256
#define ENGINE_RING        512 /* jobs given to a worker and not ended, at most */

struct engine;

struct engine_config {
        const struct config
            *config;      /* queues, policies, workers, graces; borrowed until the next EV_CONFIG */
        uint64_t seed[4]; /* any, not all zero: tokens, jitter, holders */
        struct str host, version;
        int32_t pid;
};

/* --- events ----------------------------------------------------------------------------------- */

enum engine_event_kind {
        EV_START,   /* once, first: register, spawn workers */
        EV_FORMER,  /* once, before EV_START, when this state directory had a node before: its jobs
                       are rescued */
        EV_TIMER,   /* engine_wake_ns() has passed; tell EV_SEEN of busy workers first */
        EV_LEDGER,  /* a batch came back */
        EV_SUBMIT,  /* a list of submissions (taken) */
        EV_CANCEL,  /* an operator cancels `id` */
        EV_REQUEUE, /* an operator requeues `id` */
        EV_READ,   /* a read batch (SHOW, LIST, STATS) to be posted as it is; comes back as ACT_READ
                    */
        EV_ROSTER, /* the handlers changed (reference taken) */
        EV_CONFIG, /* the configuration was reloaded */
        EV_WORKER_UP,
        EV_VERDICTS, /* the jobs at ring positions first .. first + n - 1 of a worker have ended */
        EV_SEEN,     /* what a worker's page says now */
        EV_WORKER_GONE,  /* a worker died; its verdicts were told before */
        EV_ARRIVALS,     /* a transport brought `arrivals` (a list, taken) */
        EV_RUNG,         /* `bells` (a list, taken) are answered */
        EV_ACKNOWLEDGED, /* the broker surely has the acknowledgements of `receipts` (borrowed) */
        EV_TRANSPORT,    /* what became of a transport */
        EV_HEARD,        /* other nodes may have offered jobs */
        EV_OPERATE,   /* an operator's write (CONTROL, SCHEDULE, BULK) to be posted as it is; comes
                         back   as ACT_OPERATED, its outcome known */
        EV_BULK,      /* an operation over many jobs begins (`bulk`, borrowed): ACT_BULK tells its
                         number, or why not */
        EV_BULK_STOP, /* operation `bulk_no` shall stop */
        EV_RECONCILE, /* a mark through each broker's queue, then the tide: ACT_RECONCILED, within
                         60 s */
        EV_RUN_SCHEDULE, /* schedule `name` runs once now: ACT_RAN */
        EV_RESIZE, /* so many workers from now on, whatever the configuration says; 0: as it says */
        EV_SAVE,   /* a worker saves the checkpoint of the job at `position`: ACT_SAVED */
        EV_PROGRESS, /* a worker's job told how far it is; lossy */
        EV_REPLIED,  /* `replies` (a list, taken) are answered */
        EV_ZONE,     /* the answer to ACT_ZONE */
        EV_DRAIN, /* stop: start nothing new, give back what has not started; ends with ACT_STOPPED
                   */
};

enum transport_change {
        CHANGE_UP,    /* it consumes and publishes */
        CHANGE_DOWN,  /* it does not */
        CHANGE_LOST,  /* arrivals of `connection` cannot be settled any more */
        CHANGE_EMPTY, /* the broker holds nothing for queue `queue` */
        CHANGE_FLOOR, /* everything up to number `floor` of `history` was taken in; 0: only asks.
                         Answered by ACT_FLOOR, or never: it is told again then */
};

struct former_job { /* one slot of a former node's pages */
        struct job_id id;
        uint32_t claim;
        uint64_t token;
        bool started, ended;
        struct verdict verdict;
};

struct engine_event {
        enum engine_event_kind kind;
        union {
                struct {
                        uint64_t holder;
                        const struct former_job *jobs; /* copied */
                        uint32_t n;
                } former;
                struct ledger_batch *batch; /* LEDGER, READ */
                struct submission *submissions;
                struct {
                        struct job_id id;
                        void *cookie;
                } operator_;
                struct arrivals *arrivals;
                struct doorbells *bells;
                const struct receipt *receipts;
                struct {
                        enum transport_change change;
                        struct str name;     /* of the transport, as configured */
                        uint64_t connection; /* LOST; as in the arrivals, unique over all
                                                transports */
                        uint32_t queue;      /* EMPTY */
                        struct str history;  /* FLOOR */
                        int64_t floor;
                } transport;
                struct roster *roster;
                const struct config *config;
                struct {
                        uint32_t worker, generation; /* of the roster that it was started with */
                        int32_t pid;
                } up;
                struct {
                        uint32_t worker, first, n;
                        const struct verdict *list;
                } verdicts;
                struct {
                        uint32_t worker, position;
                        bool running;
                        int64_t since_ns;
                        int64_t life_ns; /* the last sign of life of it, monotonic */
                } seen;
                struct {
                        const struct bulk_request *request;
                        void *cookie;
                } bulk;
                uint64_t bulk_no;
                struct {
                        struct str name;
                        void *cookie;
                } run_schedule;
                void *cookie; /* RECONCILE */
                uint32_t resize;
                struct {
                        uint32_t worker, position;
                        struct str bytes;
                } save;
                struct {
                        uint32_t worker, position;
                        double done, total;
                } progress;
                struct replies *replies;
                struct {
                        struct str name;
                        const struct zone
                            *zone; /* lives as long as the engine; NULL: there is none */
                } zone;
                struct {
                        uint32_t worker;
                        enum error_class how; /* NONE: it ended as it was told to */
                        bool running;
                        uint32_t position;
                        uint32_t
                            n_running; /* jobs from `position` on that ran as one batch; else 1 */
                        int64_t started_wall_us;
                        int32_t pid;
                        struct str text;
                } gone;
        };
};

/* --- actions ---------------------------------------------------------------------------------- */

enum engine_action_kind {
        ACT_POST,  /* post `batch` to the ledger */
        ACT_SPAWN, /* start worker `worker` */
        ACT_GIVE, /* give `jobs` (n) to worker `worker`, in order; `group` not 0: they belong to the
                     batch of that number, which has `group_n` jobs and is run as one */
        ACT_RECALL, /* take back what has not started, from `position` on; tell engine_recalled() at
                       once */
        ACT_LEASE,  /* no worker may start a job after `until_ns` (monotonic), unless a later lease
                       says so */
        ACT_ASK,    /* raise the cancel flag at `position` with `why` (enum skep_why) */
        ACT_KILL,   /* SIGKILL the worker */
        ACT_RETIRE, /* let the worker end after its last job */
        ACT_ANSWER, /* a submission is answered (passes to the carrier) */
        ACT_CANCEL_ANSWER,  /* `batch` is the ledger_cancel, `cookie` the request's */
        ACT_REQUEUE_ANSWER, /* likewise */
        ACT_READ,           /* a read batch is back (passes to the carrier) */
        ACT_CONSUME,  /* ask queue `queue`'s transport for about `n` arrivals at a time; 0: none */
        ACT_SETTLE,   /* acknowledge `receipt` (taken) */
        ACT_DROP,     /* free `receipt` (taken) unsettled: its arrivals come again */
        ACT_RING,     /* publish `bells` (taken) to their queue */
        ACT_FLOOR,    /* tell transport `transport` that the highest floor of its history `text` is
                         `floor` */
        ACT_SETTLED,  /* these finish rows are durable: `finish` (borrowed); for waiters and metrics
                       */
        ACT_OPERATED, /* `batch` (passes to the carrier) of an EV_OPERATE */
        ACT_BULK,     /* `cookie` of EV_BULK: `bulk_no`, or 0 with `text`: why not */
        ACT_RECONCILED, /* `cookie` of EV_RECONCILE: `reconciled` (borrowed) */
        ACT_RAN,        /* `cookie` of EV_RUN_SCHEDULE: `job`; all zero with `text`: why not */
        ACT_SAVED,      /* answer worker `worker` for `position`: `ok` */
        ACT_REPLY,      /* publish `replies` (taken) through transport `transport` */
        ACT_ZONE,       /* look for time zone `text`: EV_ZONE */
        ACT_NOTE,       /* one line for the log: `level`, `text`, `job` */
        ACT_STOPPED,    /* the drain is complete; nothing of this node is left in the ledger */
};

/* An operation over many jobs, carried out page by page by this node while it lives. */
struct bulk_request {
        enum bulk_kind kind;
        struct job_filter filter;
        uint32_t rate;          /* jobs a second; 0: as fast as it goes, but for a REQUEUE with
                                   stop_permille: slowly at first */
        uint64_t limit;         /* at most so many jobs; 0: all */
        uint16_t stop_permille; /* REQUEUE: stops by itself when, of at least 20 requeued, so many
                                   of 1,000 died again; 0: never */
};

struct bulk_view {
        uint64_t no;
        enum bulk_kind kind;
        uint64_t done, asked, again;
        bool over;
        char note[160]; /* over: why it stopped before its end; else empty */
        int64_t begun_us, over_us;
};

struct reconciled_queue {
        struct str queue;
        uint32_t found; /* pending jobs that the broker no longer had: offered now */
        bool looked;    /* false: its mark did not come back in time, or its transport is down */
        struct str why; /* not looked: why */
};

struct reconciled {
        struct reconciled_queue *queues;
        uint32_t n;
};

struct engine_action {
        enum engine_action_kind kind;
        uint32_t worker, position, n;
        uint32_t group, group_n;
        uint64_t bulk_no;
        bool ok;
        uint32_t queue; /* the engine's index: engine_queue() */
        int why, level;
        int64_t until_ns;
        union {
                struct ledger_batch *batch;
                struct job *const *jobs;
                struct submission *submission;
                const struct ledger_finish *finish;
                struct receipt *receipt;
                struct doorbells *bells;
                struct replies *replies;
                const struct reconciled *reconciled;
        };
        void *cookie;
        struct job_id job;          /* NOTE: all zero: none */
        struct str text, transport; /* valid until the next step */
        int64_t floor;
};

struct engine_actions {
        struct engine_action *list;
        uint32_t n, capacity;
        bool out_of_memory; /* an action could not be appended: stop as if killed; the ledger knows
                               all */
};

struct engine *engine_new(const struct engine_config *c);
struct engine *
engine_free(struct engine *e); /* NULL-safe, returns NULL; batches still posted stay the ledger's */

/* Appends to *actions, which the caller empties between steps (n = 0). When engine_view.holder has
 * changed after a step, the carrier must have written it down durably (for the EV_FORMER of its
 * successor) before it carries the actions out. Actions are carried out in order. */
void engine_step(struct engine *e, const struct engine_event *ev, struct instant now,
                 struct engine_actions *actions);

/* The carrier's answer to ACT_RECALL: jobs from `position` on are the engine's again. */
void engine_recalled(struct engine *e, uint32_t worker, uint32_t position);

/* The engine's index of a queue, the same for all its life; -1: it has none of this name. */
int engine_queue(const struct engine *e, struct str name);

uint32_t engine_queues(const struct engine *e); /* how many indexes there are */
struct str engine_queue_transport(const struct engine *e, uint32_t queue); /* empty: none */

/* When EV_TIMER is wanted next, on the monotonic clock; INT64_MAX: never. */
int64_t engine_wake_ns(const struct engine *e);

/* --- what people may know of it --------------------------------------------------------------- */

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_READY, WORKER_DRAINING, WORKER_KILLED };

struct worker_view {
        uint32_t worker, generation, given;
        enum worker_state state;
        uint64_t finished; /* jobs, over its life */
        struct job_id running;
        struct str type; /* of the job at the head of its ring */
        bool busy;
};

struct engine_view {
        uint64_t holder;
        bool registered, ledger_up, draining;
        char ledger_note[160];    /* why it is not up */
        uint32_t claimed;         /* jobs claimed and not durably ended */
        uint64_t fenced_writes;   /* verdicts that a fence refused */
        uint64_t claims, commits; /* batches answered */
        uint64_t crashes;
        uint64_t recalls;
        uint64_t letters, letters_known; /* arrived; dropped since their job was there */
        uint64_t bells, bells_known; /* doorbells arrived; dropped since nothing waited for them */
        uint64_t tide;               /* jobs that a broker lost, found and offered */
        uint64_t unique_held; /* letters and submissions that lost to the holder of their unique
                                 key */
        uint64_t pruned;      /* rows that had been there long enough */
        uint64_t replies;     /* that a broker has confirmed */
};
void engine_look(const struct engine *e, struct engine_view *ret_view);

/* What operators set for a queue, as the last beat told it, and what holds now. */
struct queue_view {
        struct str name, transport;
        bool gone, paused, taken_in; /* taken_in: chosen from the ledger, not as they arrive */
        bool transport_up;
        bool limited; /* its global limit kept the last claim from more */
        uint32_t concurrency, global, max_waiting;
        bool drop_oldest;
        uint32_t busy, given,
            ready; /* workers, jobs in workers, jobs claimed and waiting for one */
        int64_t service_ns;
        struct str not_consumed; /* why nothing is taken from its transport now; empty: it is */
};
uint32_t engine_queue_views(const struct engine *e, struct queue_view *ret_views, uint32_t max);

/* Operations that run, or ended within the last hour; the latest first. */
uint32_t engine_bulks(const struct engine *e, struct bulk_view *ret_views, uint32_t max);
bool engine_bulk(const struct engine *e, uint64_t no, struct bulk_view *ret);
uint32_t engine_workers(const struct engine *e, struct worker_view *ret_views, uint32_t max);

/* What this node made of the ticks of a schedule, by its name. */
struct schedule_counts {
        uint64_t made;      /* ticks that have a job */
        uint64_t missed;    /* that nobody was there for, and that catch_up did not want */
        uint64_t skipped;   /* while the job before had not ended */
        uint64_t buffered;  /* that waited for it */
        uint64_t cancelled; /* jobs that were cancelled for a later one */
};

struct schedule_view {
        struct str name;
        struct schedule_counts counts;
};
uint32_t engine_schedules(const struct engine *e, struct schedule_view *ret_views, uint32_t max);

/* Is there something wrong with the engine's own books? NULL: no. For tests and the simulator. */
const char *engine_check(const struct engine *e);

#endif
