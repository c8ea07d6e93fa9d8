/*
 * A ledger in memory, behind the ordinary seam, with faults on request.
 *
 * A server is what nodes share: the store, its clock and its present mood. A ledger is one node's
 * connection to it. A posted batch is applied after half its latency and answered after the other
 * half, in order within its lane; a fault drawn at the post decides what happens in between. Time
 * is whatever the caller hands to dispatch() and sim_ledger_run(): virtual in the simulator, real
 * in the conformance binary.
 *
 * An unknown commit has one of three fates: it never happens, it happened before its answer was
 * lost, or it happens later, unless somebody resolves its number first.
 */
#ifndef SKEP_SIM_LEDGER_H
#define SKEP_SIM_LEDGER_H

#include "core/ledger.h"
#include "tests/sim/rng.h"
#include "tests/sim/store.h"

struct sim_ledger_faults {
        int64_t latency_min_ns, latency_max_ns;
        uint32_t refuse, unknown, slow; /* permille of batches */
        int64_t slow_ns;                /* a slow one takes up to so long */
        int64_t late_ns;                /* an unknown one may happen up to so much later */
        bool down;                      /* everything is refused */
};

enum sim_fate {
        FATE_GOOD,
        FATE_REFUSED,
        FATE_NEVER,  /* unknown: it does not happen */
        FATE_BEFORE, /* unknown: it happens, the answer is lost */
        FATE_LATE,   /* unknown: it happens after the answer, if nobody resolves it */
};

struct sim_ledger_server {
        struct store store;
        struct sim_ledger_faults faults;
        int64_t wall_offset_us; /* the server's wall clock is now_ns / 1000 + this */
        bool frozen;            /* the wall clock is wall_offset_us alone, moved by hand */
        enum sim_fate force;    /* of the next write that is posted; GOOD: as drawn */
        struct rng rng;
        bool hears; /* connections are told of what others committed (LISTEN), mostly */
        struct ledger **open;
        uint32_t n_open;
        void (*on_apply)(void *watcher, const struct ledger_batch *b, const char *how);
        void *watcher;
        uint64_t unknowns, late_commits, late_voided; /* how often the rare ways were gone */
};

struct ledger *sim_ledger_new(struct sim_ledger_server *server);

/* The connection's clock: posts are stamped with it. dispatch() and run() set it as well. */
void sim_ledger_tick(struct ledger *l, int64_t now_ns);

/* When something posted here will reach the store; INT64_MAX: nothing is under way. The world must
 * run every connection in order of these times, so that nodes see one history. */
int64_t sim_ledger_next_apply(const struct ledger *l);
bool sim_ledger_late(const struct ledger *l); /* may an unknown commit still happen? */
void sim_ledger_run(struct ledger *l, int64_t now_ns);

/* The node died: of what is under way some was sent and will happen, some was not. Nothing is
 * answered any more; close when next_apply is INT64_MAX, or at the end. */
void sim_ledger_abandon(struct ledger *l);

/* sim_batch.c: a deep copy of a numbered write or a RESOLVE, for fates that outlive the poster. */
struct ledger_batch *sim_batch_clone(const struct ledger_batch *b);
/* Frees a clone, or a batch that its dead poster left behind: all that it carries too. */
struct ledger_batch *sim_batch_drop(struct ledger_batch *b);

#endif
