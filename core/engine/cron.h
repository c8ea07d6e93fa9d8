/*
 * The books of schedules, shared by cron.c (what is known of them), tick.c (what
 * becomes of a tick) and cron_config.c (those of the configuration). All inner.h's
 * rules hold.
 */
#ifndef SKEP_CORE_ENGINE_CRON_H
#define SKEP_CORE_ENGINE_CRON_H

#include "core/cron.h"
#include "core/engine/inner.h"

#define TICKS_POSTED_MAX 16 /* at once: the beat shares their lane */
#define CRON_RETRY_NS    (500 * NS_PER_MS)
#define CRON_POLL_NS                                                                               \
        NS_PER_S /* how often it is asked whether a job has ended that a tick waits for */
#define ZONE_RETRY_NS (60 * NS_PER_S)

/* A schedule as the ledger told it. */
struct plan {
        struct schedule_row row; /* its texts belong to it */
        char *texts;
        struct cron cron;
        bool unreadable;            /* row.spec is nothing that this version can read */
        bool gone;                  /* no longer there; kept until its TICK is back */
        bool asked;                 /* it is being read again, alone */
        bool fresh;                 /* it just was */
        bool zone_told;             /* that its zone is not known */
        uint32_t reading;           /* the last whole reading that saw it */
        struct ledger_tick *posted; /* on its way; NULL: none is */
        int64_t not_before_ns;
        int64_t poll_ns; /* the job that its buffered tick waits for is not looked at before */
        struct schedule_counts counts, pending; /* pending: of its TICK on the way */
        struct plan *next;                      /* of those that are gone */
};

struct zone_books {
        struct str name;
        const struct zone *zone; /* NULL: it is being asked for, or there is none */
        bool asked;
        int64_t ask_ns; /* not asked for again before */
        struct zone_books *next;
};

/* A run by hand. Its job has one id and key whatever happens, so that it is made once. */
struct cron_run {
        struct str name;
        void *cookie;
        struct job_id id;
        int64_t at_us;
        uint32_t tries;
        struct ledger_tick *posted;
        struct cron_run *next;
};

/* A schedule of this node's configuration, now or before. */
struct cron_own {
        struct str name;
        bool drop;    /* the configuration no longer has it */
        bool pending; /* to be compared with what the ledger has */
        struct cron_own *next;
};

struct cron_books {
        struct plan **plans; /* by name */
        uint32_t n, capacity;
        struct plan *gone;
        uint64_t revision;        /* of the table, as the plans have it */
        uint32_t reading;         /* counts whole readings */
        bool known;               /* the first has ended */
        bool wanted;              /* another one is */
        bool posted;              /* a page of it is on its way */
        int64_t read_ns;          /* not before */
        uint64_t read_revision;   /* of its first page */
        uint32_t ticking;         /* TICKs on their way */
        int64_t look_ns, look_us; /* when a plan is due for a look: monotonic, wall */
        struct zone_books *zones;
        struct cron_run *runs;
        struct cron_own *own;
        struct ledger_schedule *putting; /* one of the configuration's, on its way */
        uint32_t put_reading;            /* not before a reading later than this */
        int64_t put_ns;
};

/* cron.c */
struct cron_books *cron_books_of(struct engine *e); /* made at need; NULL: no memory */
struct plan *plan_find(const struct cron_books *c, struct str name);
void plan_free(struct plan *p); /* NULL-safe */
/* The zone of that name; NULL: not known, or not yet: *ret_missing tells which. */
const struct zone *cron_zone_find(struct engine *e, struct str name, bool *ret_missing);
bool cron_ask(struct engine *e,
              struct str name);       /* this schedule is read again; false: no memory */
void cron_look(struct cron_books *c); /* all plans are due for a look */
void plan_wait(struct engine *e, struct plan *p, int64_t delay_ns);

/* tick.c */
void plan_tick(struct engine *e, struct plan *p, const struct zone *z);
bool plan_active(const struct plan *p); /* the job of its last tick has not ended */
void run_found(struct engine *e, struct cron_run *r, const struct schedule_row *row);
void run_end(struct engine *e, struct cron_run *r /* takes */, const struct job_id *id,
             const char *why);
void tick_answered(struct engine *e, struct ledger_tick *b /* takes */);

/* cron_config.c */
void cron_own_pump(struct engine *e);
void cron_own_answered(struct engine *e, struct ledger_schedule *b /* takes */);
int64_t cron_own_wake_ns(const struct engine *e);
void cron_own_deinit(struct cron_books *c);

#endif
