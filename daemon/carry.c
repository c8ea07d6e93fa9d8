/*
 * Carries the engine's actions out. Nothing is decided here: each action has one meaning, in order.
 */
#include <assert.h>
#include <time.h>

#include "daemon/node.h"

struct instant node_now(void)
{
        struct timespec mono, wall;
        clock_gettime(CLOCK_MONOTONIC, &mono);
        clock_gettime(CLOCK_REALTIME, &wall);
        return (struct instant){mono.tv_sec * NS_PER_S + mono.tv_nsec,
                                wall.tv_sec * US_PER_S + wall.tv_nsec / 1000};
}

/* The engine drew a new name for this node: its successor must know it before any job is claimed
 * under it. */
static void remember_holder(struct node *n)
{
        struct engine_view v;
        engine_look(n->engine, &v);
        if (v.holder == n->holder) {
                return;
        }
        int r = state_dir_remember(n->state, v.holder);
        if (r < 0) {
                LOG(n->log, LOG_ERR_,
                    "%s/node: cannot be written: %s; stopping, nothing was claimed", n->state->path,
                    strerror(-r));
                n->broken = true;
        }
        n->holder = v.holder;
}

static void carry_note(struct node *n, const struct engine_action *a)
{
        static const struct job_id none;
        char id[JOB_ID_TEXT];
        const char *fields[] = {NULL, NULL, NULL};
        if (!job_id_eq(&a->job, &none)) {
                id_text(&a->job, id);
                fields[0] = "job_id";
                fields[1] = id;
        }
        log_line(n->log, a->level, fields, "%.*s", (int)a->text.n, a->text.p ? a->text.p : "");
}

static void carry_give(struct node *n, const struct engine_action *a)
{
        int r = a->group ? host_worker_give_batch(n->host, a->worker, a->jobs, a->n, a->group,
                                                  a->group_n)
                         : host_worker_give(n->host, a->worker, a->jobs, a->n);
        if (r < 0) {
                LOG(n->log, LOG_ERR_, "worker %u takes no jobs: %s; it is killed", a->worker,
                    strerror(-r));
                host_worker_kill(n->host, a->worker);
        }
}

static void carry_action(struct node *n, const struct engine_action *a)
{
        switch (a->kind) {
        case ACT_POST:
                a->batch->posted_ns = node_now().mono_ns;
                n->ledger->ops->post(n->ledger, a->batch);
                break;
        case ACT_SPAWN:
                if (host_worker_spawn(n->host, a->worker) < 0) {
                        LOG(n->log, LOG_ERR_, "worker %u cannot be started", a->worker);
                }
                break;
        case ACT_GIVE: carry_give(n, a); break;
        case ACT_RECALL:
                engine_recalled(n->engine, a->worker,
                                host_worker_recall(n->host, a->worker, a->position));
                break;
        case ACT_LEASE: host_lease(n->host, a->until_ns); break;
        case ACT_ASK: host_worker_ask(n->host, a->worker, a->position, a->why); break;
        case ACT_KILL: host_worker_kill(n->host, a->worker); break;
        case ACT_RETIRE: host_worker_retire(n->host, a->worker); break;
        case ACT_ANSWER: api_answer_submission(n, a->submission); break;
        case ACT_CANCEL_ANSWER:
        case ACT_REQUEUE_ANSWER: api_answer_operator(n, a->batch, a->cookie); break;
        case ACT_READ: api_answer_read(n, a->batch); break;
        case ACT_OPERATED: api_answer_written(n, a->batch); break;
        case ACT_CONSUME:
        case ACT_SETTLE:
        case ACT_DROP:
        case ACT_RING:
        case ACT_REPLY:
        case ACT_FLOOR: relay_carry(n, a); break;
        case ACT_SETTLED:
                metrics_settled(n->metrics, a->finish);
                api_settled(n, a->finish);
                break;
        case ACT_NOTE: carry_note(n, a); break;
        case ACT_STOPPED: n->stopped = true; break;
        case ACT_BULK:
        case ACT_RECONCILED:
        case ACT_RAN: operate_carry(n, a); break;
        case ACT_SAVED: host_checkpoint_saved(n->host, a->worker, a->position, a->ok); break;
        case ACT_ZONE: zones_ask(&n->zones, a->text); break;
        }
}

static void step_once(struct node *n, const struct engine_event *ev)
{
        n->actions.n = 0;
        engine_step(n->engine, ev, node_now(), &n->actions);
        remember_holder(n);
        for (uint32_t i = 0; i < n->actions.n && !n->broken; i++) {
                carry_action(n, &n->actions.list[i]);
        }
        if (n->actions.out_of_memory) {
                LOG(n->log, LOG_ERR_,
                    "out of memory: stopping as if killed; the next start rescues what is left");
                n->broken = true;
        }
}

/* Carrying an action out may ask for a read (somebody waits for the job that just ended) or a time
 * zone: their turn comes after the step. */
static void step_asked(struct node *n)
{
        struct engine_event zone = {.kind = EV_ZONE};
        while (n->reads && !n->broken) {
                struct ledger_batch *b = n->reads;
                n->reads = b->next;
                step_once(n, &(struct engine_event){.kind = EV_READ, .batch = b});
        }
        while (!n->broken && zones_next(&n->zones, &zone.zone.name, &zone.zone.zone)) {
                step_once(n, &zone);
        }
}

void node_step(struct node *n, const struct engine_event *ev)
{
        assert(!n->stepping);
        if (n->broken) {
                return;
        }
        n->stepping = true;
        step_once(n, ev);
        step_asked(n);
        n->stepping = false;
}

void node_read(struct node *n, struct ledger_batch *b)
{
        b->next = n->reads;
        n->reads = b;
        if (!n->stepping && !n->broken) {
                n->stepping = true;
                step_asked(n);
                n->stepping = false;
        }
}
