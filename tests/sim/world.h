/*
 * A world: some nodes with the real engine, one simulated ledger server, simulated workers,
 * producers and operators, and whoever breaks things, all in virtual time and all from one seed.
 *
 * Nothing here may read a clock, the environment or an address: the trace of a seed is the same
 * everywhere. Each seed first draws which faults exist at all (swarm testing), because a world in
 * which everything breaks all the time never reaches the rare states.
 */
#ifndef SKEP_SIM_WORLD_H
#define SKEP_SIM_WORLD_H

#include "core/engine.h"
#include "core/id.h"
#include "tests/audit/audit.h"
#include "tests/sim/sim_broker.h"
#include "tests/sim/sim_ledger.h"

#define SIM_NODES       3
#define SIM_QUEUES      3
#define SIM_WORKERS     40 /* slots of one node; the engine uses few */
#define SIM_WALL_US     INT64_C(1800000000000000)
#define MS(n)           ((int64_t)(n)*NS_PER_MS)
#define SIM_NOWHERE     STR("nowhere") /* a queue that is not configured */
#define SIM_PAYLOAD_MAX 4096
#define SIM_STEPS_STILL 2000 /* steps of one node without time passing: it spins */

struct swarm {
        uint32_t nodes, workers, queues;
        int64_t chaos_ns;   /* how long things happen */
        int64_t produce_ns; /* mean time between submissions */
        uint32_t speed;     /* of handlers: 0 quick, 1 mixed, 2 slow */
        struct sim_ledger_faults faults;
        /* permille of runs, submissions, ...; 0: this fault does not exist in this world */
        uint32_t crash, between, hang, fail, deaf, spawn_fail, poison, children, tail;
        uint32_t keyed, array, burst, atomic, scheduled, requested, deadline, late_type, never_type;
        bool windows, kill, pages, former, drain, pause, rosters, cancel, requeue, clocks, reads;
        bool reload, overload, hears;

        /* a broker, and the queues that it carries */
        bool broker, inbox, rewire, twins, typed,
            silent;                    /* rewire: the other configuration takes a queue off it */
        uint32_t through, by_priority; /* bits */
        int64_t letters_ns;            /* mean time between letters */
        uint32_t letter_keyed, letter_odd;
        struct sim_broker_faults broker_faults;
        bool cuts, restarts, unmarked, loses_tail, loses_all, blocks, deafens, removes;
        bool stream; /* the broker names its messages and keeps floors */

        /* the life of a job */
        uint32_t policy, unique, replies, batch, saves, progress; /* permille */
        uint32_t bounded, global;                                 /* bits */
        bool heartbeat, schedules, controls, bulk, prune, resize, reconcile, retry_by_type;
        bool purges;    /* what has ended is purged at once, all the time */
        bool aftermath; /* the world goes on until everything old is pruned */

        bool fierce;  /* no blow misses */
        bool freezes; /* hosts become slow, and are paused for longer than a lease then */
        bool steady;  /* schedules make up for all their ticks, and nobody edits them */
};

enum sim_type { TYPE_WORK, TYPE_POISON, TYPE_LATE, TYPE_NEVER };

struct worker_slot {
        struct job_id id;
        uint32_t claim, generation;
        uint64_t token, payload;
        uint16_t attempt;
        bool poison, started, ended, crashes;
        bool more; /* its verdict has what a page does not hold: a result, children */
        bool asked;
        uint32_t group, group_n;           /* the batch that it belongs to; 0: none */
        int handler;                       /* in its worker's roster */
        uint32_t timeout_ms, heartbeat_ms; /* the least and the most that may hold; 0: none */
        enum audit_end end;                /* drawn when it started */
        int64_t rest_ns;                   /* what is left to do after its checkpoint */
        int64_t life_ns;                   /* the last sign of life */
        uint32_t saving;                   /* the number of the checkpoint under way; 0: none */
        char result[24];
        uint32_t run; /* the auditor's number of it */
        int64_t since_ns;
        struct verdict verdict;
};

enum sim_worker_state { SIM_ABSENT, SIM_STARTING, SIM_UP, SIM_DYING };

struct sim_worker {
        enum sim_worker_state state;
        uint32_t life;
        struct roster *roster;     /* what it was started with */
        uint32_t told, next, tail; /* told <= next <= tail: ended and told, to be run next, given */
        bool running, retiring;
        uint32_t batch;    /* running: so many from `next` on */
        bool died_running; /* SIM_DYING: of what the page says */
        enum error_class how;
        struct worker_slot ring[ENGINE_RING];
};

enum node_state { NODE_DOWN, NODE_UP, NODE_PAUSED };

struct sim_node {
        uint32_t index, life;
        enum node_state state;
        bool draining, stopped, other_config;
        int64_t drain_since_ns, paused_until_ns;
        int64_t mono_offset_ns, wall_offset_us, lease_until_ns /* of the node's clock */;
        struct engine *engine;
        struct ledger *ledger;
        struct transport *transport; /* NULL: this world has no broker */
        const struct config *config; /* the engine's present one */
        struct roster *roster;
        struct engine_actions actions;
        struct sim_worker workers[SIM_WORKERS];
        uint64_t holder;      /* of this life, or of the last one */
        uint32_t resize;      /* so many workers were asked for; 0: as configured */
        uint32_t reconciles;  /* not answered yet */
        int64_t reconcile_ns; /* when the last was asked for */
        uint32_t paused;      /* bits: queues that it was told are paused */
        struct former_job *former;
        uint32_t n_former;
        bool has_former;
        int64_t still_ns; /* the instant of the last step */
        uint32_t still;   /* steps at that instant */
        uint64_t steps;
};

/* What a producer wants, until it is answered. */
struct request {
        uint32_t number;
        enum { REQUEST_OPEN, REQUEST_SENT, REQUEST_DONE } state;
        bool repeats; /* has a key: may be sent until it is answered */
        bool keyed, named, other_payload, atomic;
        uint32_t key, rows;
        int64_t retry_ns;
        struct submission *sent; /* while SENT; identifies the answer */
        uint32_t node;
};

enum world_event_kind {
        WE_UP,    /* worker started */
        WE_FIRST, /* worker looks for a job */
        WE_END,   /* a run ends */
        WE_TELL,  /* ended runs reach the node */
        WE_SAVE,  /* a run saves its checkpoint */
        WE_ALIVE, /* a run tells how far it is */
        WE_ZONE,  /* a time zone was looked for */
        WE_REAP,  /* a dead worker reaches the node */
        WE_PRODUCE,
        WE_LETTER,
        WE_BROKER_UP, /* or unblocked */
        WE_OPERATE,
        WE_CHAOS,
        WE_ROSTER,
        WE_RESTART,
        WE_FREEZE,
        WE_RESUME,
        WE_WINDOW_END,
};

struct world_event {
        int64_t at_ns;
        uint64_t seq;
        enum world_event_kind kind;
        uint32_t node, node_life, worker, worker_life, position;
        uint64_t value;
};

struct world {
        uint64_t seed;
        struct swarm swarm;
        struct rng rng, rng_work, rng_env, rng_life;
        int64_t now_ns;
        int64_t ended_ns;       /* when a job last came to its end */
        int64_t brown_until_ns; /* until then handlers are much slower than they were */
        bool chaos;             /* faults may still be drawn */
        struct sim_ledger_server server;
        struct sim_broker broker;
        struct sim_node nodes[SIM_NODES];
        struct config config;
        struct config reloaded; /* the same with other numbers; borrows config's texts */
        struct audit audit;
        struct id_mint mint;

        struct world_event *heap;
        uint32_t n_heap, heap_capacity;
        uint64_t event_seq;

        struct ledger **orphans; /* connections of nodes that died */
        uint32_t n_orphans;

        struct request **requests;
        uint32_t n_requests, requests_capacity, groups, payloads, keys;
        struct letter *letters; /* by number - 1 */
        uint32_t n_letters, letters_capacity;
        struct job_id *known; /* ids that operators may pick */
        uint32_t n_known, known_capacity;
        struct sim_life *lives;     /* what jobs asked for beyond being run */
        struct sim_holder *holders; /* who took a unique key last */
        struct sim_bulk *bulks;
        uint32_t n_bulks;
        struct sim_clockwork *clockworks;
        uint32_t n_clockworks;
        uint32_t
            global_most[SIM_QUEUES]; /* the highest limit that ever held; 0: none at some time */
        bool again;                  /* the last act: all keys are said once more */

        bool tracing;
        uint64_t hash;
        char violation[320];
        uint64_t events;
        struct { /* what this world went through */
                uint64_t runs, crashes, kills, drains, pauses, recalls, rescues, cancels, requeues;
                uint64_t asked, claims, fenced;
                uint64_t bells, tide, letters, letters_twice, redelivered, brokers_lost;
                uint64_t held, replaced, dropped, full, ticks, batches, batches_died, saves, pruned;
                uint64_t replies, bulk, controls, limited;
        } seen;
};

/* world.c */
struct world *world_new(uint64_t seed, int64_t chaos_ns, bool tracing);
struct world *world_free(struct world *w);
bool world_run(struct world *w); /* true: nothing was violated */
void world_violate(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct world_event *world_at(struct world *w, int64_t delay_ns, enum world_event_kind kind);
void world_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define TRACE(w, ...) world_trace((w), __VA_ARGS__)
int64_t world_wall_us(const struct world *w); /* the ledger's clock */
uint64_t hash_bytes(const void *p, size_t n);

/* swarm.c */
void swarm_draw(struct world *w, int64_t chaos_ns);
void swarm_print(const struct swarm *s);

/* theme.c: some seeds are worlds of one theme */
void theme_set(struct world *w);

/* operate.c: what people do */
void operate_event(struct world *w);
void operate_carry(struct world *w, struct sim_node *n, struct engine_action *a);
void operate_end(struct world *w); /* nothing is paused or scheduled any more */
bool operate_over(const struct world *w);
bool operate_resized(const struct world *w);

/* store_watch.c: what the server tells the auditor */
void watch_server(struct world *w);
bool world_settled(const struct world *w);
void world_audit_row(struct world *w, const struct store_job *j); /* as it is now */
void world_audit(struct world *w);

/* node.c: stands for the daemon */
void node_start(struct world *w, struct sim_node *n);
void node_kill(struct world *w, struct sim_node *n);
void node_drain(struct world *w, struct sim_node *n);
void node_step(struct world *w, struct sim_node *n, const struct engine_event *ev);
void node_turn(struct world *w, struct sim_node *n); /* answers and timers that are due */
int64_t node_next(struct world *w, const struct sim_node *n);
void node_reload(struct world *w, struct sim_node *n); /* to the other configuration */
void node_zone(struct world *w, struct sim_node *n, bool nowhere);
void node_roster(struct world *w, struct sim_node *n, uint32_t generation);
struct instant node_instant(const struct world *w, const struct sim_node *n);
struct sim_node *node_any(struct world *w); /* one that is up, or NULL */

/* give.c: the plug-in host's part of the actions */
void carry_give(struct world *w, struct sim_node *n, const struct engine_action *a);
void carry_recall(struct world *w, struct sim_node *n, const struct engine_action *a);
void carry_ask(struct world *w, struct sim_node *n, const struct engine_action *a);

/* carry.c: the daemon's part between engine and transport */
void carry_open(struct world *w, struct sim_node *n);
void carry_reload(struct sim_node *n);
void carry_close(struct sim_node *n);
void carry_consume(struct world *w, struct sim_node *n, const struct engine_action *a);
void carry_settle(struct world *w, struct sim_node *n, struct receipt *r /* takes r */);
void carry_drop(struct sim_node *n, struct receipt *r /* takes r */);
void carry_ring(struct world *w, struct sim_node *n, struct doorbells *bells /* takes bells */);
void carry_floor(struct world *w, struct sim_node *n, const struct engine_action *a);
void carry_reply(struct world *w, struct sim_node *n, struct replies *replies /* takes */);
void carry_turn(struct world *w, struct sim_node *n);

/* letters.c: messages from outside, and what must become of them */
void letters_event(struct world *w);
void letters_buried(struct world *w, uint64_t holder);
void letters_watch(struct world *w);
void letters_arrived(struct world *w, const struct ledger_arrive *b);
void letters_undecided(struct world *w, const struct ledger_arrive *b);
void letters_submitted(struct world *w, const struct ledger_submit *b);
bool letters_drained(const struct world *w);
void letters_audit(struct world *w);

/* worker.c: stands for the plug-in host and its workers */
void worker_spawn(struct world *w, struct sim_node *n, uint32_t at);
void worker_event(struct world *w, struct sim_node *n, const struct world_event *ev);
void worker_look(struct world *w, struct sim_node *n, uint32_t at);
void worker_end(struct world *w, struct sim_node *n, uint32_t at, enum audit_end end,
                int64_t delay_ns);
void worker_die(struct world *w, struct sim_node *n, uint32_t at, enum error_class how);
void worker_clear(struct world *w, struct sim_node *n, uint32_t at); /* with its node */
void worker_saved(struct world *w, struct sim_node *n, const struct engine_action *a);
void worker_seen_all(struct world *w, struct sim_node *n);
struct world_event *worker_at(struct world *w, struct sim_node *n, uint32_t at, int64_t delay_ns,
                              enum world_event_kind kind);

/* produce.c */
void produce_event(struct world *w);
void produce_again(struct world *w); /* every key once more */
void produce_answered(struct world *w, struct submission *s);
void produce_lost(struct world *w, uint32_t node); /* the node that was asked is gone */
bool produce_done(const struct world *w);
void produce_remember(struct world *w, const struct job_id *id); /* operators may pick it */
struct submission *produce_children(struct world *w, const struct worker_slot *slot);

/* chaos.c */
void chaos_begin(struct world *w);
void chaos_event(struct world *w, const struct world_event *ev);
void chaos_end(struct world *w);

#endif
