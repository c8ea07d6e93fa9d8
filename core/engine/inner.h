/*
 * The engine's own books, shared by the files of this folder and by nobody else.
 *
 *   engine.c       the step, the clock, the views
 *   post.c         numbering, frozen lanes, unknown commits: everything that goes to the ledger
 *   submit.c       submissions in, answers out; operators' requests
 *   claim.c        what to claim, and when
 *   arrive.c       what transports brought: placed, answered in one write, acknowledged
 *   journal.c      letters without ids, until their acknowledgement is sure
 *   consume.c      how much transports shall bring; what becomes of them
 *   floor.c        how far brokers' histories were taken in
 *   ring.c         doorbells out, the outbox
 *   tide.c         what a broker lost
 *   inbox.c        letters of SQL producers
 *   give.c         which worker gets which job; taking back
 *   batch.c        jobs of handlers that take several at once
 *   handler.c      handlers that run on so many workers at a time and no more
 *   control.c      what operators set for queues, limits and bounds
 *   worker.c       workers' lives: spawn, verdicts, deaths
 *   watch.c        time-outs, heartbeats, cancels
 *   child.c        jobs that a handler enqueued, completed with ids and defaults
 *   finish.c       verdicts into ledger writes, retiring claims
 *   duty.c         register, beat, due, unpark, fold
 *   rescue.c       jobs of nodes that are gone
 *   cron.c         schedules: what is known of them, zones, runs by hand
 *   tick.c         what becomes of a schedule's tick
 *   cron_config.c  schedules of the configuration
 *   operate.c      operators' writes
 *   bulk.c         operations over many jobs
 *   prune.c        rows that have been there long enough
 *   progress.c     checkpoints and progress of running jobs
 *   reply.c        what those who asked for a reply are told
 *   reconcile.c    brokers' queues against the ledger, on request
 *   view.c         what may be known of it from outside
 */
#ifndef SKEP_CORE_ENGINE_INNER_H
#define SKEP_CORE_ENGINE_INNER_H

#include "core/engine.h"
#include "core/id.h"
#include "core/plant.h"
#include "core/settle.h"
#include "core/transport.h"

#define CLAIMED_MAX   8000        /* jobs claimed and not durably ended */
#define CLAIMED_BYTES (12u << 20) /* of payloads; beyond it only for workers that have nothing */
#define LOADED        100         /* a batch that took so many says: we are under load */
#define HOLD_ROWS     2000        /* then small batches wait for so many */
#define HOLD_NS       (20 * NS_PER_MS) /* or so long, */
#define HOLD_EACH_NS  20000            /* but not longer than this for each row of the last one */
#define SUBMIT_ROWS   1000
#define AHEAD_NS      (250 * NS_PER_MS) /* claim what starts within about so long */
#define WATCH_NS      (100 * NS_PER_MS) /* how often busy workers are looked at */
#define HANDLER_LOOK  64                /* jobs of a line that may be passed over */
#define NODES_MAX     64
#define NEVER         INT64_MAX

#define PARKED_MAX    10000 /* letters parked for want of a handler before a queue is not consumed */
#define TIDE_OLDER_US (10 * US_PER_S)

/* How long a batch that could go may wait to become larger, after one of `last` rows. */
static inline int64_t hold_ns(uint32_t last)
{
        int64_t ns = last < LOADED ? 0 : (int64_t)last * HOLD_EACH_NS;
        return ns < HOLD_NS ? ns : HOLD_NS;
}

struct transport_books {
        struct str name;
        bool up;
        int64_t down_ns; /* since when it is not */
};

/* A growing ring of job pointers. */
struct job_ring {
        struct job **slots;
        uint32_t head, n, capacity; /* capacity: 0 or a power of two */
};

struct queue_books {
        struct str name;
        struct retry_policy retry;
        uint32_t concurrency, global; /* as they hold now; 0: no limit */
        uint32_t timeout_ms, heartbeat_ms;
        int config; /* in the configuration; -1: gone */
        bool by_priority;
        uint32_t max_waiting; /* the bound of its length; 0: none */
        bool drop_oldest;     /* what it does when that is met */
        uint32_t configured_concurrency, configured_global;
        struct queue_control control; /* what operators set over that */
        bool paused;
        bool limited;          /* the last claim met its limit over all nodes */
        bool full;             /* its bound is met: nothing is consumed */
        uint64_t waiting;      /* of a queue whose bound refuses: about so many wait */
        bool gone;             /* no longer configured: nothing new is claimed */
        bool may_have_work;    /* there may be something to claim */
        bool claiming;         /* a claim is on its way */
        uint32_t coming;       /* jobs asked for by it */
        uint32_t last_claim;   /* jobs that the last one brought */
        uint64_t job_bytes;    /* of a payload, about */
        int64_t answered_ns;   /* when */
        int64_t not_before_ns; /* back-off after a refusal */
        uint32_t given;        /* jobs in workers' rings */
        uint32_t busy;         /* workers that hold its jobs */
        int64_t service_ns;    /* moving mean of a job's run; 0: not known */
        bool stuck;            /* no worker gets to its jobs: nothing is claimed (hoard.c) */
        struct job_ring ready;
        uint32_t gathered;  /* claimed too, waiting for others of their batch */
        uint32_t batch_max; /* the largest batch that a handler of its jobs takes; 0: none does */

        /* what its transport brings; all zero without one */
        struct str transport;
        bool taken_in;                            /* nothing starts as it arrives */
        uint32_t asked;                           /* room that the transport was told */
        struct arrivals *arrived, **arrived_tail; /* not yet on their way to the ledger */
        uint32_t n_arrived;
        struct ledger_arrive *arriving;
        uint32_t starting;  /* jobs that it will start at most */
        bool idle_arrivals; /* the last ones kept no worker busy: they were dead, parked or known */
        uint32_t last_arrive; /* arrivals of the one before */
        int64_t arrive_after_ns;
        int64_t refused_told_ns; /* when it was last said that the ledger refuses its arrivals */
        bool arriving_lost;      /* its connection went away while the ledger writes it */
        uint32_t backlog;        /* rows that arrivals left to be claimed from the ledger, about */
        bool told_parked;
        bool told_reply; /* that its jobs' replies go nowhere */
        uint32_t parked; /* letters that were parked since the handlers changed */

        /* the tide */
        int64_t tide_seq; /* the highest seq that came in with a doorbell or mark */
        uint32_t empty;   /* times in a row that the broker said it holds nothing */
        uint64_t empties; /* times in all */
        int64_t tide_ns;  /* when it is looked at next */
        int64_t mark_ns;  /* when the next mark may be rung */
        bool tide_posted;
};

/* A batch of letters without ids, from its commit until the ledger knows what became of its
 * acknowledgement. */
enum journal_fate { FATE_OPEN, FATE_ACKNOWLEDGED, FATE_LOST };

struct journal_entry {
        struct commit_no no;
        uint64_t connection;
        uint32_t receipts; /* of its batches, whose acknowledgement is not yet sure */
        bool partly;       /* of another it is */
        enum journal_fate fate;
};

/* Why a worker was asked to stop a job: enum skep_why of the handler ABI. */
enum { WHY_CANCEL = 1, WHY_TIMEOUT = 2, WHY_SHUTDOWN = 3 };

/* Growing list of numbers that wait to be told to the ledger. */
struct number_list {
        int64_t *items;
        uint32_t n, capacity;
};

struct limits {
        uint32_t timeout_ms, heartbeat_ms; /* 0: none */
};

struct worker_books {
        enum worker_state state;
        uint32_t generation;
        int32_t pid;
        uint32_t head, tail; /* ring positions: given are [head, tail) */
        uint32_t queue;      /* whose jobs it holds while the ring is not empty */
        uint64_t finished;
        bool running; /* as last seen */
        uint32_t running_position;
        int64_t running_since_ns;
        int why; /* asked to stop the job at asked_position; 0: not asked */
        uint32_t asked_position;
        int64_t kill_at_ns;
        int64_t life_ns;      /* the last sign of life of what runs, as last seen */
        uint32_t silent_ms;   /* it was asked for want of one for so long; 0: for something else */
        uint32_t group_n;     /* its ring holds one batch, of so many at first; 0: single jobs */
        struct limits limits; /* of what runs, as last seen; of a batch, as it was given */
        struct job *ring[ENGINE_RING];
};

struct node_books {
        uint64_t holder, beat;
        int64_t silent_ns; /* counted only while the ledger could be read */
        bool dead, seen;
};

/* The walk over all rows that lets go of old ones. */
struct prune_books {
        bool posted, has_after;
        struct job_id after;
        int64_t next_ns;   /* when the next page is due */
        int64_t posted_ns; /* when the one on its way was posted */
        int64_t begun_ns;  /* when the walk began; 0: it has not */
};

/* Jobs of one queue and handler that wait to be run as one batch. */
struct batch_books {
        uint32_t queue;
        int32_t handler; /* in the roster */
        struct job_ring jobs;
        int64_t since_ns; /* when the first of them came, about */
};

enum rescue_phase { RESCUE_IDLE, RESCUE_BURY, RESCUE_READ, RESCUE_WRITE, RESCUE_FORGET };

struct rescue {
        enum rescue_phase phase;
        uint64_t victim, after, after_next;
        uint64_t
            seen_beat; /* that stood still for a lease; a later one says that the victim lives */
        bool more, posted, former;
        struct ledger_finish *writing; /* its FINISH on the way, told apart from the engine's own */
        int64_t not_before_ns;
};

struct engine {
        const struct config *config;
        struct str host, version;
        int32_t pid;
        uint64_t random[4];
        struct id_mint mint; /* ids of children */

        /* the node */
        uint64_t holder;
        bool started, registered, registering, ledger_up;
        bool draining, leaving, stopped;
        bool stuck; /* a queue is */
        int64_t drain_kill_ns, drain_ask_ns, drain_give_up_ns;
        bool drain_asked, drain_killed;
        int64_t drain_journal_ns; /* so long it is waited for acknowledgements to be sure */
        int64_t lease_until_ns;
        struct roster *roster;

        /* the ledger */
        uint64_t numbers[LEDGER_LANES];
        uint32_t frozen[LEDGER_LANES]; /* unknown commits being resolved */
        struct ledger_batch *held[LEDGER_LANES], **held_tail[LEDGER_LANES];
        struct ledger_batch *later; /* to be posted again at later_ns */
        int64_t later_ns;

        /* submissions */
        struct submission *waiting, **waiting_tail;
        uint32_t waiting_rows;
        uint32_t submitting; /* batches on their way */

        /* transports */
        struct transport_books *transports; /* that were heard of */
        uint32_t n_transports;
        struct journal_entry *journal; /* batches whose letters the ledger has in its journal */
        uint32_t n_journal, journal_capacity;
        int64_t
            journal_ns; /* since when one of them waits to be told to the ledger; 0: none does */
        struct floor_ask *floors; /* their batches are on their way */
        uint32_t n_floors;
        struct number_list rung;    /* outbox rows whose doorbells are confirmed */
        struct number_list replied; /* replies that are */
        bool ringing;               /* a RUNG is on its way */
        int64_t rung_ns;            /* not posted before */
        bool relaying;
        int64_t relay_ns;
        bool inbox_waits, inbox_posted;
        int64_t inbox_ns; /* not read before */

        /* controls, limits, bounds */
        bool controls_known; /* a beat has told them */
        bool bounded;        /* some queue has a bound */
        bool counts_waiting; /* some queue's bound keeps letters out */
        bool counting;       /* its STATS are on their way */
        int64_t count_ns;    /* when they are asked for next */
        uint32_t limits_met; /* queues that are `limited` */

        /* claims and jobs */
        struct queue_books *queues;
        uint32_t n_queues, next_queue;
        struct claim *claims;
        uint32_t claimed;
        uint64_t claimed_bytes; /* of payloads */
        uint32_t recalling;     /* claims that happened and are being read back */
        struct worker_books workers[ENGINE_WORKERS_MAX];
        uint32_t workers_top; /* slots in use are below it */
        bool batching;        /* some handler of the roster takes several jobs at once */
        struct batch_books *batches;
        uint32_t n_batches, group_last;
        struct handler_books *handlers; /* of the roster; NULL: none of them has a limit */
        int64_t spawn_after_ns, spawn_pause_ns;

        /* verdicts */
        struct ledger_finish *filling; /* being gathered */
        uint32_t filling_capacity;
        int64_t filling_since_ns;
        struct ledger_finish *unwritten; /* refused; posted again at unwritten_ns */
        int64_t unwritten_ns;
        bool finishing;
        uint32_t last_finish;
        struct ledger_batch
            *told; /* settled batches of this step, freed at the start of the next */

        /* duties */
        int64_t beat_ns, due_ns, fold_ns, unpark_ns, register_ns;
        int64_t beat_posted_ns, beat_answered_ns;
        uint64_t beat_known; /* number of the last one whose answer arrived */
        bool beating, due_posted, folding, unparking, dirty;
        bool tells; /* what others may know of this node has changed since a beat told it */
        struct node_books nodes[NODES_MAX];
        uint32_t n_nodes;
        struct rescue rescue;
        struct former_job *former; /* sorted by id, until the former node is rescued */
        uint32_t n_former;
        uint64_t former_holder;
        struct arena former_arena;

        struct cron_books *cron; /* NULL: no schedule was ever heard of */

        /* on behalf of people */
        struct bulk_books *bulks; /* the latest first */
        uint64_t bulk_last;
        struct prune_books prune;
        struct reconcile_books *reconcile; /* NULL: none was ever asked for */
        uint32_t resize; /* so many workers, whatever the configuration says; 0: as it says */

        /* what running jobs leave behind */
        struct ledger_save *saves; /* being gathered; NULL: nothing is */
        uint32_t saves_capacity;
        bool saves_urgent; /* a checkpoint is among them */
        bool saving;       /* a SAVE is on its way */
        int64_t save_ns;   /* progress alone is not written before */

        /* the step */
        struct instant now;
        struct engine_actions *out;
        struct arena notes; /* texts of this step's actions */
        int64_t looked_ns;  /* the last EV_TIMER */
        bool again;         /* something changed outside a step: wake at once */
        struct engine_view view;
};

/* engine.c */
struct engine_action *engine_act(struct engine *e, enum engine_action_kind kind);
void engine_note(struct engine *e, int level, const struct job_id *job, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
uint64_t engine_random(struct engine *e);
bool engine_copy(struct str s, struct str *ret); /* with a NUL behind it; false: no memory */
int64_t engine_min(int64_t a, int64_t b);

/* post.c */
bool post_batch(struct engine *e,
                struct ledger_batch *b); /* takes b; false: no memory for the action */
void post_later(struct engine *e, struct ledger_batch *b, int64_t delay_ns); /* takes b */
void post_waiting(struct engine *e);
void resolve_batch(struct engine *e, struct ledger_batch *unknown /* takes */);
void resolve_answered(struct engine *e, struct ledger_resolve *r /* takes */);
void fence_node(struct engine *e, uint64_t holder); /* this holder was declared dead */

/* submit.c */
void submit_arrived(struct engine *e, struct submission *list /* takes */);
void submit_pump(struct engine *e);
void submit_answered(struct engine *e, struct ledger_submit *b /* takes */);
void submit_repeat(struct engine *e, struct ledger_submit *b /* takes */, bool happened,
                   bool maybe);
void submit_refuse_all(struct engine *e, const char *note);
/* Gives rows their defaults, parks what no handler here serves; `ring`: what goes through a broker
 * waits for its doorbell. */
void submit_place(const struct engine *e, struct submission *s, bool ring);
void submit_hint(struct engine *e,
                 const struct submission *s); /* it is in the ledger: who may claim it, when */
void operator_arrived(struct engine *e, enum ledger_op op, const struct job_id *id, void *cookie);
void operator_answered(struct engine *e, struct ledger_batch *b /* takes */);

/* Has an operator's request an outcome that can be told? False: it is being resolved, and taken. */
bool operator_knows(struct engine *e, struct ledger_batch *b);
void operator_resolved(struct engine *e, struct ledger_batch *b /* takes */, bool happened);

/* child.c */
void child_complete(struct engine *e, const struct job *parent, struct submission *children);

/* claim.c */
void claim_pump(struct engine *e);
void claim_answered(struct engine *e, struct ledger_claim *b /* takes */);
void claim_resolved(struct engine *e, struct ledger_claim *b /* takes */, bool happened);
void recall_answered(struct engine *e, struct ledger_recall *b /* takes */);
void claim_hint_all(struct engine *e);
void claim_hint(struct engine *e, struct str queue);
int64_t claim_wake_ns(const struct engine *e);
int queue_find(const struct engine *e, struct str name);
int queue_unrouted(struct engine *e); /* of arrivals that no queue takes; -1: no memory */
int queues_configure(struct engine *e, const struct config *c);

uint32_t queue_want(const struct engine *e, const struct queue_books *q);
uint32_t queue_target(const struct queue_books *q, uint32_t able);
uint64_t claim_bytes_left(const struct engine *e);
int64_t queue_ahead_ns(const struct queue_books *q); /* what starts within so long is claimed */
void take_claim(struct engine *e, struct claim **got, struct commit_no no, uint64_t token,
                uint32_t queue);

void recall_claim(struct engine *e, struct commit_no no, uint64_t token, uint32_t queue);

/* arrive.c */
void arrive_came(struct engine *e, struct arrivals *list /* takes */);
void arrive_pump(struct engine *e);
void arrive_answered(struct engine *e, struct ledger_arrive *b /* takes */);
void arrive_resolved(struct engine *e, struct ledger_arrive *b /* takes */, bool happened);
void arrive_drop(struct engine *e, struct queue_books *q, uint64_t connection); /* 0: all */
int64_t arrive_wake_ns(const struct engine *e);

/* journal.c */
void journal_add(struct engine *e, const struct journal_entry *entry);
void journal_acknowledged(struct engine *e, const struct receipt *list);
void journal_lost(struct engine *e, uint64_t connection);
void journal_tell(struct engine *e, struct ledger_arrive *b);
void journal_untold(struct engine *e, const struct ledger_arrive *b);
bool journal_busy(const struct engine *e); /* something is still to be known or told */
int64_t journal_wake_ns(const struct engine *e);

/* consume.c */
bool queue_up(const struct engine *e, const struct queue_books *q); /* its transport is */
bool queue_down_for(const struct engine *e, const struct queue_books *q, int64_t ns);
void transport_changed(struct engine *e, const struct engine_event *ev);
void consume_pump(struct engine *e);

/* floor.c */
void floor_came(struct engine *e, const struct engine_event *ev);
void floor_answered(struct engine *e, struct ledger_floor *b /* takes */);

/* ring.c */
void ring_outbox(struct engine *e, const struct outbox_row *rows, uint32_t n);
bool ring_bells(struct engine *e, uint32_t queue, const struct doorbell *bells, uint32_t n,
                int64_t outbox);
void ring_answered(struct engine *e, struct doorbells *list /* takes */);
bool number_add(struct number_list *l, int64_t number); /* false: no memory */
void ring_pump(struct engine *e);
void ring_ledger_answered(struct engine *e, struct ledger_batch *b /* takes */);
int64_t ring_wake_ns(const struct engine *e);

/* tide.c */
void tide_pump(struct engine *e);
void tide_answered(struct engine *e, struct ledger_tide *b /* takes */);
int64_t tide_wake_ns(const struct engine *e);

/* inbox.c */
void inbox_pump(struct engine *e);
void inbox_answered(struct engine *e, struct ledger_inbox *b /* takes */);
void inbox_submitted(struct engine *e, struct submission *s /* takes */, bool committed);
int64_t inbox_wake_ns(const struct engine *e);

/* give.c */
bool ring_push(struct job_ring *r, struct job *j);
bool ring_push_front(struct job_ring *r, struct job *j);
bool ring_push_urgent(struct job_ring *r, struct job *j);
struct job *ring_pop(struct job_ring *r);
void give_pump(struct engine *e);
void give_back_queue(struct engine *e, struct queue_books *q);
void give_back_ready(struct engine *e);  /* every ready job → pending, unstarted */
void give_drop_ready(struct engine *e);  /* every ready job is forgotten: its holder is dead */
void recall_unstarted(struct engine *e); /* asks for everything that workers have not started */
void recall_worker(struct engine *e, uint32_t worker, uint32_t position);
void ring_returned(struct engine *e, uint32_t worker, uint32_t position, bool drop);

/* control.c */
void queue_apply(struct engine *e, struct queue_books *q);
void controls_told(struct engine *e, const struct queue_control *controls, uint32_t n);
void control_pump(struct engine *e);
void limit_met(struct engine *e, struct queue_books *q, bool limited);
void limit_ended(struct engine *e, const struct ledger_finish *f);
void bounds_tell(struct engine *e, struct ledger_submit *b);
void bound_counted(struct engine *e, struct queue_books *q); /* one more job of it waits */
void bounds_pump(struct engine *e);
int64_t bounds_wake_ns(const struct engine *e);
bool bounds_own(const struct engine *e, const struct ledger_batch *b);
void bounds_answered(struct engine *e, struct ledger_stats *b /* takes */);

/* batch.c */
bool line_push(struct engine *e, struct job *j, bool front); /* it waits for a worker; false: no
                                                                memory */
void batch_roster(struct engine *e);
void batch_spill(struct engine *e, uint32_t queue); /* what gathered goes back into its line */
void batch_spill_all(struct engine *e);
bool batch_due(const struct engine *e, uint32_t queue);
uint32_t batch_fill(struct engine *e, struct worker_books *w, uint32_t queue); /* 0: none is due */
uint32_t batch_gathered(const struct engine *e, uint32_t queue);
int64_t batch_wake_ns(const struct engine *e);
void batch_deinit(struct engine *e);

/* handler.c */
void handler_roster(struct engine *e);
void handler_took(struct engine *e, uint32_t worker, uint32_t position, uint32_t n);
void handler_left(struct engine *e, uint32_t worker, const struct job *j);
bool handler_full(const struct engine *e, int32_t handler); /* an idle worker gets none of it */
bool handler_admits(const struct engine *e, uint32_t worker, const struct job *j);
/* Is something for this worker among the first of this line? */
bool handler_opens(const struct engine *e, uint32_t worker, const struct job_ring *r);
/* So many of the queue's jobs that are here wait for their handler, as far as it is looked. */
uint32_t handler_passed(const struct engine *e, const struct queue_books *q);
bool handler_counts(const struct engine *e); /* false: they are off */

/* worker.c */
void worker_pump(struct engine *e);
void worker_up(struct engine *e, const struct engine_event *ev);
void worker_verdicts(struct engine *e, uint32_t worker, uint32_t first, uint32_t n,
                     const struct verdict *list);
void worker_gone(struct engine *e, const struct engine_event *ev);
void worker_roster(struct engine *e, struct roster *r /* takes */);
int64_t worker_wake_ns(const struct engine *e);
uint32_t workers_able(const struct engine *e);   /* workers of the current roster, up or starting */
uint32_t workers_wanted(const struct engine *e); /* as configured, or as operators resized */

/* watch.c */
void worker_seen(struct engine *e, uint32_t worker, bool running, uint32_t position,
                 int64_t since_ns, int64_t life_ns);
void worker_watch(struct engine *e);

void worker_cancel(struct engine *e, const struct job_id *id);
struct limits watch_group_limits(const struct engine *e, const struct worker_books *w);
struct str watch_silence(struct ledger_finish *f, uint32_t silent_ms, struct str text);
int64_t watch_wake_ns(const struct engine *e, const struct worker_books *w);

/* hoard.c */
bool worker_stuck(const struct engine *e,
                  const struct worker_books *w); /* at one job for longer than claims look ahead */
void hoard_watch(struct engine *e);
void hoard_over(struct engine *e); /* a worker got on, or there is one more */

/* finish.c */
struct finish_row *finish_add(struct engine *e, struct job *j);
void finish_unstarted(struct engine *e, struct job *j);
void finish_pump(struct engine *e);
void finish_answered(struct engine *e, struct ledger_finish *f /* takes */);
void finish_resolved(struct engine *e, struct ledger_finish *f /* takes */, bool happened);
void finish_hint_due(struct engine *e, const struct finish_row *row);
int64_t finish_wake_ns(const struct engine *e);
void claim_let_go(struct engine *e, struct claim *c /* takes */);
struct str finish_text(struct ledger_finish *f, struct str s, uint32_t max);
struct settle_job settle_job_of(const struct engine *e, const struct job *j);
const struct retry_policy *job_policy(const struct engine *e, int queue, struct str type,
                                      struct str own, struct retry_policy *room);

/* duty.c */
void duty_pump(struct engine *e);
void duty_answered(struct engine *e, struct ledger_batch *b /* takes */);
int64_t duty_wake_ns(const struct engine *e);

/* rescue.c */
int rescue_former(struct engine *e, uint64_t holder, const struct former_job *jobs, uint32_t n);
void rescue_seen(struct engine *e, const struct ledger_beat *b, int64_t elapsed_ns);
void rescue_pump(struct engine *e);
void rescue_answered(struct engine *e, struct ledger_batch *b /* takes */);
int64_t rescue_wake_ns(const struct engine *e);

/* operate.c */
void operate_arrived(struct engine *e, struct ledger_batch *b /* takes */);
void operate_back(struct engine *e, struct ledger_batch *b /* takes */);
void operate_resolved(struct engine *e, struct ledger_batch *b /* takes */, bool happened);

/* bulk.c */
void bulk_arrived(struct engine *e, const struct bulk_request *request, void *cookie);
void bulk_stop(struct engine *e, uint64_t no);
void bulk_stop_all(struct engine *e, const char *why);
void bulk_pump(struct engine *e);
bool bulk_owns(const struct engine *e, const struct ledger_batch *b); /* a page of an operation */
void bulk_answered(struct engine *e, struct ledger_bulk *b /* takes */);
int64_t bulk_wake_ns(const struct engine *e);
void bulk_deinit(struct engine *e);

/* prune.c */
void prune_configure(struct engine *e);
void prune_pump(struct engine *e);
void prune_answered(struct engine *e, struct ledger_prune *b /* takes */);
int64_t prune_wake_ns(const struct engine *e);

/* progress.c */
void save_arrived(struct engine *e, uint32_t worker, uint32_t position, struct str checkpoint);
void progress_told(struct engine *e, uint32_t worker, uint32_t position, double done, double total);
void save_pump(struct engine *e);
void save_answered(struct engine *e, struct ledger_save *b /* takes */);
int64_t save_wake_ns(const struct engine *e);

/* reply.c */
void reply_fill(struct engine *e, struct ledger_finish *f); /* before it is posted */
void reply_held(struct engine *e, struct ledger_finish *f, struct finish_row *row,
                const struct held_job *h);                           /* of a rescued job */
void reply_written(struct engine *e, const struct ledger_finish *f); /* it is durable */
void reply_relayed(struct engine *e, struct ledger_relay *b);
/* What ends waiting jobs may owe replies: they are asked for at once. */
void reply_hint(struct engine *e, struct ledger_batch *b);
void reply_answered(struct engine *e, struct replies *list /* takes */);

/* reconcile.c */
void reconcile_arrived(struct engine *e, void *cookie);
void reconcile_pump(struct engine *e);
void reconcile_answered(struct engine *e, struct ledger_tide *b /* takes */);
int64_t reconcile_wake_ns(const struct engine *e);
void reconcile_deinit(struct engine *e);

/* --- schedules -------------------------------------------------------------------------------- */

/* cron.c, tick.c, cron_config.c */
void cron_told(struct engine *e, uint64_t revision); /* of the table, by a beat */
void cron_configure(struct engine *e);               /* the configuration is there, or another */
void cron_zone(struct engine *e, const struct engine_event *ev);
void cron_run(struct engine *e, struct str name, void *cookie);
void cron_pump(struct engine *e);
bool cron_owns(const struct engine *e, const struct ledger_batch *b);
void cron_answered(struct engine *e, struct ledger_batch *b /* takes */);
bool cron_busy(const struct engine *e); /* ticks are on their way */
int64_t cron_wake_ns(const struct engine *e);
void cron_deinit(struct engine *e);

#endif
