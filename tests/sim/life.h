/*
 * What jobs ask for beyond being run once, and what must come of it: retry policies, unique keys,
 * replies, checkpoints, schedules, limits. life.c writes wishes into rows and letters; life_audit.c
 * watches the store and judges. Nothing here looks into an engine.
 */
#ifndef SKEP_SIM_LIFE_H
#define SKEP_SIM_LIFE_H

#include "tests/sim/world.h"

struct sim_life {
        struct job_id id;
        uint32_t letter;      /* its number; 0: it came in no letter */
        uint32_t saved, sent; /* the number of the last checkpoint that was told durable, or sent */
        uint32_t ended, owed, told; /* of one who wants a reply; replies that must be, are */
        bool delayed;               /* its handler asked for a delay of its own */
        UT_hash_handle hh;
};

struct sim_holder {
        uint8_t hash[16];
        struct job_id id;
        struct unique_key key;
        int64_t since_us;
        UT_hash_handle hh;
};

/* An operation that was asked for; its texts are static or the configuration's. */
struct sim_bulk {
        enum bulk_kind kind;
        struct job_filter filter;
};

/* A schedule as its operator meant it. */
struct sim_clockwork {
        char name[24], spec[24];
        uint32_t step_s; /* every so many seconds */
        bool aligned;    /* at multiples of it; else from when it was made */
        bool dropped;
        enum catch_up catch_up;
        enum overlap overlap;
        uint32_t edits, by_hand;
        int64_t made_us; /* 0: not yet */
        int64_t *ticks;  /* those that have a job */
        uint32_t n_ticks, capacity;
};

struct sim_life *life_of(struct world *w, const struct job_id *id); /* makes it */
struct sim_life *life_find(const struct world *w, const struct job_id *id);
void life_deinit(struct world *w);

/* life.c */
bool life_outlives(const struct swarm *s); /* must rows that ended stay for a while? */
void life_configure(struct world *w, struct config *c);
void life_dress(struct world *w, uint64_t stream, struct arena *a, struct submit_row *row);
void life_dress_letter(struct world *w, uint32_t number, struct arena *a, struct envelope *e);
struct str life_headers(struct arena *a, uint32_t number);

/* life_audit.c */
void life_watch(struct world *w);
void life_changed(struct world *w, const struct store_change *c);
void life_applied(struct world *w, const struct ledger_batch *b);
void life_posted(struct world *w, const struct sim_node *n, const struct ledger_batch *b);
void life_given(struct world *w, const struct sim_node *n, const struct job *j);
void life_asked(struct world *w, const struct sim_node *n, const struct worker_slot *s, int why);
void life_ended(struct world *w, const struct sim_node *n, const struct worker_slot *s);
void life_audit(struct world *w);

#endif
