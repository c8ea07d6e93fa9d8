/*
 * What the files of this folder do for each other, and nobody else may use; books.h is what they
 * share.
 *
 *   engine.c       the step, the clock, the views
 *   post.c         numbering, frozen lanes, unknown commits: everything that goes to the ledger
 *   submit.c       submissions in, answers out; operators' requests
 *   claim.c        what to claim, and when
 *   share.c        how many of it: shares of the room, and turns
 *   arrive.c       what transports brought: placed, answered in one write, acknowledged
 *   journal.c      letters without ids, until their acknowledgement is sure
 *   consume.c      how much transports shall bring; what becomes of them
 *   floor.c        how far brokers' histories were taken in
 *   ring.c         doorbells out, the outbox
 *   tide.c         what a broker lost
 *   inbox.c        letters of SQL producers
 *   give.c         which worker gets which job; taking back
 *   hoard.c        what was claimed ahead and is not got to
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

#include "core/engine/books.h"

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
void take_claim(struct engine *e, struct claim **got, struct commit_no no, uint64_t token,
                uint32_t queue);

void recall_claim(struct engine *e, struct commit_no no, uint64_t token, uint32_t queue);

/* share.c */
struct tally {           /* what all queues hold and ask for, at one moment */
        uint32_t able;   /* workers */
        uint32_t active; /* queues that have jobs or may have some; at least 1 */
        uint32_t turns;  /* those of them that take turns */
        uint32_t held;   /* claimed by these and not ended, or asked for */
        uint32_t begun;  /* claimed by any and not ended */
        uint32_t coming; /* asked for by any, or arriving to start */
        bool claiming;   /* a claim is on its way */
        bool idle;       /* a worker has nothing to do */
};

struct tally claims_tally(const struct engine *e);
bool takes_turns(const struct queue_books *q, const struct tally *t);
/* How many this queue may claim, of its share; of one that takes turns, if it is its turn. 0: none;
 * ret_waits (else untouched): since there is no room for a portion. */
uint32_t share_want(const struct engine *e, const struct queue_books *q, const struct tally *t);
uint32_t turn_want(const struct engine *e, const struct queue_books *q, const struct tally *t,
                   bool *ret_waits);
uint32_t queue_want(const struct engine *e, const struct queue_books *q); /* of its share, now */
uint32_t queue_target(const struct queue_books *q, uint32_t able);
uint64_t claim_bytes_left(const struct engine *e);
int64_t queue_ahead_ns(const struct queue_books *q); /* what starts within so long is claimed */

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
