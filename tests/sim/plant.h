/*
 * Planted bugs: each one a mistake that the machinery under test could contain. The simulator is
 * trusted only because it catches every one of them (`sim-plants`). They live where such a bug
 * would live: in the simulated store, in the carrier that stands for the daemon and its plug-in
 * host, in a wrapper of the settle functions (linked into sim-plants alone), or in core behind
 * PLANT(), which is false in every ordinary build (then `core` is its name there).
 */
#ifndef SKEP_SIM_PLANT_H
#define SKEP_SIM_PLANT_H

/*      name, name in core, what it does */
#define SIM_PLANTS(X)                                                                              \
        X(RESCUE_UNFENCED, "", "store: a rescue's finish is not fenced")                           \
        X(FOREIGN_VERDICT, "", "store: the verdict of another claim is accepted")                  \
        X(ATTEMPT_FLAT, "", "store: the attempt is not raised at the claim")                       \
        X(DEAD_CLAIMS, "", "store: a node that was declared dead may go on claiming")              \
        X(DUE_EARLY, "", "store: due moves rows before their time")                                \
        X(DUE_TWICE, "", "store: due offers a row twice")                                          \
        X(KEY_TWICE, "", "store: a key that is taken is inserted again")                           \
        X(LOST_PAYLOAD, "", "store: a job given back loses the end of its payload")                \
        X(CANCEL_FORGOTTEN, "", "store: a cancelled job stays in its lane")                        \
        X(CANCEL_UNTOLD, "", "store: a beat does not tell of cancels")                             \
        X(RESOLVE_OWN, "", "store: a RESOLVE takes the entry of an earlier one for the commit")    \
        X(RETIRE_EARLY, "", "store: claims are retired though the finish was refused")             \
        X(OUTBOX_LOST, "", "store: outbox rows are not kept")                                      \
        X(TIDE_NOTHING, "", "store: the tide counts rows and offers none")                         \
        X(TIDE_YOUNG, "", "store: the tide offers rows whose doorbell is on its way")              \
        X(FLOOR_FALLS, "", "store: a floor is what was told last")                                 \
        X(BELL_CREATES, "", "store: a doorbell without its job makes one")                         \
        X(FOREIGN_BELL, "", "store: a doorbell claims a job of another queue")                     \
        X(JOURNAL_TWINS, "", "store: an entry of the journal answers two letters")                 \
        X(JOURNAL_BLIND, "", "store: the journal is not looked at")                                \
        X(JOURNAL_HASTY, "", "store: the journal does not wait for the fate of a delivery")        \
        X(KNOWN_AGAIN, "", "store: a letter whose key is known is run again")                      \
        X(GLOBAL_LOOSE, "", "store: a claim does not heed the global limit")                       \
        X(BOUND_LOOSE, "", "store: a queue's bound is not heeded")                                 \
        X(UNIQUE_BLIND, "", "store: unique keys are not looked at")                                \
        X(UNIQUE_FREED, "", "store: a unique key is free while its job waits for a retry")         \
        X(GONE_FORGOTTEN, "", "store: the keys of pruned rows are not remembered")                 \
        X(PRUNE_EARLY, "", "store: rows are pruned before their time")                             \
        X(TICK_STALE, "", "store: a tick goes through though its schedule has moved on")           \
        X(SAVE_UNFENCED, "", "store: a checkpoint is taken from another claim")                    \
        X(CHECKPOINT_LOST, "", "store: a claim does not hand the checkpoint over")                 \
        X(REPLY_LOST, "", "store: replies are not written")                                        \
        X(REPLY_UNRUN, "", "store: a job that nobody ran owes no reply")                           \
        X(ACK_EARLY, "", "transport: what arrives is acknowledged before the commit")              \
        X(SETTLE_OTHER, "", "carrier: a commit acknowledges another batch than its own")           \
        X(CLAIM_FORGOTTEN, "", "carrier: a claim of unknown fate is taken for refused")            \
        X(FINISH_ASSUMED, "", "carrier: a finish of unknown fate is taken for committed")          \
        X(RECALL_STARTED, "", "carrier: a recall hands back a job that has started")               \
        X(VERDICT_LOST, "", "carrier: verdicts in a dead worker's page are not told")              \
        X(LEASE_IGNORED, "", "carrier: workers start jobs after their lease has ended")            \
        X(STRIKE_NEVER, "", "settle: a crash is no strike")                                        \
        X(ATTEMPTS_ENDLESS, "", "settle: the last attempt is followed by another")                 \
        X(SNOOZE_SPENDS, "", "settle: a snooze spends the attempt")                                \
        X(CORE_STRIKE, "strike_bystander", "engine: the strike hits the job behind the victim")    \
        X(CORE_GIVE_BACK, "give_back_spends", "engine: giving back unstarted spends the attempt")  \
        X(CORE_RECALL, "recall_started", "engine: a recall takes back the job that runs")          \
        X(CORE_FORGOTTEN, "unknown_forgotten", "engine: an unknown claim is not resolved")         \
        X(CORE_ASSUMED, "unknown_assumed", "engine: an unknown finish is assumed committed")       \
        X(CORE_HAPPENED, "happened_untold", "engine: what happened may go in a second time")       \
        X(CORE_RESCUE, "rescue_unfenced", "engine: a rescue writes without its fence")             \
        X(CORE_VERDICT, "verdict_of_another", "engine: a verdict is written without its fence")    \
        X(CORE_REFUSED, "refused_dropped", "engine: what the ledger refused is acknowledged")      \
        X(CORE_TIDE, "tide_still", "engine: the tide moves nothing")                               \
        X(CORE_ARRIVE_ASSUMED, "arrive_assumed", "engine: an unknown arrive is assumed committed") \
        X(CORE_ARRIVE_LOST, "arrive_forgotten", "engine: an unknown arrive is not read back")      \
        X(CORE_JOURNAL, "journal_hasty", "engine: an acknowledgement is sure when it is sent")     \
        X(CORE_HALVED, "journal_halved", "engine: a batch is lost though part of it is not")       \
        X(CORE_STALE, "journal_open", "engine: arrivals of a lost connection are kept")            \
        X(CORE_MARK, "mark_never", "engine: no mark is rung")                                      \
        X(CORE_OUTBOX, "outbox_unconfirmed", "engine: unconfirmed doorbells leave the outbox")     \
        X(CORE_BUDGET, "budget_ignored", "engine: a job is tried after its time is up")            \
        X(CORE_POLICY, "policy_of_queue", "engine: a job's own retry policy is not looked at")     \
        X(CORE_PAUSE, "controls_unheard", "engine: what operators set for queues is not heard")    \
        X(CORE_PAUSE_GIVES, "pause_gives", "engine: what is claimed of a paused queue is begun")   \
        X(CORE_GLOBAL, "global_untold", "engine: claims do not tell the global limit")             \
        X(CORE_HANDLER, "handler_unlimited", "engine: a handler runs on any number of workers")    \
        X(CORE_BOUNDS, "bounds_untold", "engine: submissions do not tell the bounds")              \
        X(CORE_BATCH, "batch_blamed", "engine: the first of a batch pays for its end")             \
        X(CORE_BATCH_AGAIN, "batch_again", "engine: members of a batch that died run in one")      \
        X(CORE_LIFE, "heartbeat_deaf", "engine: signs of life are not heard")                      \
        X(CORE_SILENCE, "heartbeat_never", "engine: silence is never too long")                    \
        X(CORE_SAVED, "saved_assumed", "engine: a checkpoint of unknown fate is taken for saved")  \
        X(CORE_KEPT, "checkpoint_unkept", "engine: who ran in a batch loads an old checkpoint")    \
        X(CORE_WORK, "work_left", "engine: a completed job leaves its checkpoint behind")          \
        X(CORE_REPLY, "reply_unconfirmed", "engine: unconfirmed replies leave the ledger")         \
        X(CORE_REPLY_OWED, "reply_owed", "engine: owed replies are taken for those of nobody")     \
        X(CORE_RELAY, "reply_once", "engine: a reply is tried once")                               \
        X(CORE_REPLY_LOST, "reply_of_lost", "engine: who waits for a lost job is not told")        \
        X(CORE_TICKS, "ticks_lost", "engine: of several missed ticks one is made up for")          \
        X(CORE_OVERLAP, "overlap_blind", "engine: a schedule's job before is not looked at")       \
        X(CORE_PRUNE, "prune_mixed", "engine: completed jobs are kept as cancelled ones")          \
        X(CORE_BULK, "bulk_unfiltered", "engine: an operation forgets its filter")                 \
        X(CORE_RECONCILE, "reconcile_mute", "engine: who asked for a mark is not answered")        \
        X(CORE_RESIZE, "resize_unheard", "engine: workers are as many as configured")

enum sim_plant {
        PLANT_NONE,
#define X(name, core, text) PLANT_##name,
        SIM_PLANTS(X)
#undef X
            PLANT_COUNT
};

extern enum sim_plant sim_planted; /* one process, one bug */

void plant_set(enum sim_plant p);
const char *plant_name(enum sim_plant p);
const char *plant_core(enum sim_plant p); /* "": it is not in core */
const char *plant_text(enum sim_plant p);

static inline int planted(enum sim_plant p)
{
        return sim_planted == p;
}

#endif
