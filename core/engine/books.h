/*
 * What the engine remembers: of queues, workers, nodes, and of what is on its way.
 *
 * Read and written by the files of this folder alone, each its own part; inner.h says what they do
 * for each other.
 */
#ifndef SKEP_CORE_ENGINE_BOOKS_H
#define SKEP_CORE_ENGINE_BOOKS_H

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
        bool deep;             /* it left some behind */
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
        uint32_t next_turn; /* whose turn it is to claim a portion */
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
        bool beat_again;     /* what holds was changed while one was on its way */
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

#endif
