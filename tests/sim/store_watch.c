/*
 * The server's view: its history and its last page for the auditor, and whether everything has
 * settled.
 */
#include "tests/sim/life.h"

#include <stdio.h>

/* By an operator, or by another job that took its place. */
static bool is_asked_for(const struct store_change *c)
{
        bool replaced = c->from == STATE_SCHEDULED || c->from == STATE_RETRYING;
        return c->op == LEDGER_CANCEL || c->op == LEDGER_REQUEUE || c->op == LEDGER_BULK ||
               (replaced && c->op != LEDGER_DUE);
}

static void on_change(void *watcher, const struct store_change *c)
{
        struct world *w = watcher;
        const struct job_row *r = &c->job->row;
        struct audit_change a = {
            .id = r->id,
            .at_ns = w->server.store.now_ns,
            .wall_us = w->server.store.now_us,
            .from = c->from,
            .to = r->state,
            .reason = r->reason,
            .error = c->error,
            .generation = r->generation,
            .claim = r->claim,
            .token = c->job->token,
            .claim_before = c->claim_before,
            .claim_shown = c->claim_shown,
            .token_before = c->token_before,
            .token_shown = c->token_shown,
            .holder = r->state == STATE_RUNNING ? r->holder : c->holder_before,
            .attempt_before = c->attempt_before,
            .attempt = r->attempt,
            .max_attempts = r->max_attempts,
            .strikes = r->strikes,
            .due_before_us = c->due_before,
            .operator_ = is_asked_for(c),
            .budgeted = r->retry_until_us != 0,
        };
        life_changed(w, c);
        audit_changed(&w->audit, &a);
        w->ended_ns = state_terminal(r->state) ? w->now_ns : w->ended_ns;
        w->seen.claims += r->state == STATE_RUNNING;
        w->seen.rescues += c->error == ERROR_LOST;
        char id[JOB_ID_TEXT] = "";
        if (c->from == STATE_NONE) {
                id_text(&r->id, id);
        }
        TRACE(w, "  job %lld %s%s -> %s%s%s claim %u attempt %u strikes %u%s%s",
              (long long)c->job->seq, id, c->from == STATE_NONE ? " none" : state_name(c->from),
              state_name(r->state), r->reason ? " " : "", reason_name(r->reason), r->claim,
              r->attempt, r->strikes, c->error ? " " : "", error_class_name(c->error));
}

#define TIDE_OLDER_US (10 * US_PER_S)

static void on_offer(void *watcher, const struct store_job *j, enum ledger_op op,
                     enum lane_band from)
{
        struct world *w = watcher;
        TRACE(w, "  job %lld offered by %s", (long long)j->seq, ledger_op_name(op));
        int64_t age = w->server.store.now_us - j->row.created_us;
        w->seen.tide += op == LEDGER_TIDE;
        if (op == LEDGER_TIDE && from == BAND_BROKER && age < TIDE_OLDER_US &&
            !w->swarm.reconcile) {
                world_violate(w, "tide: job %lld is offered %lld ms after it was submitted",
                              (long long)j->seq, (long long)age / 1000);
        }
}

static void watch_letters(struct world *w, struct ledger_batch *b)
{
        if (b->op == LEDGER_ARRIVE && LEDGER_AS(arrive, ARRIVE, b)->undecided) {
                letters_undecided(w, LEDGER_AS(arrive, ARRIVE, b));
        }
        if (b->outcome != LEDGER_COMMITTED) {
                return;
        }
        if (b->op == LEDGER_ARRIVE) {
                letters_arrived(w, LEDGER_AS(arrive, ARRIVE, b));
        } else if (b->op == LEDGER_SUBMIT) {
                letters_submitted(w, LEDGER_AS(submit, SUBMIT, b));
        }
}

/* Whoever could not beat for a lease may be buried, whatever kept it from it. */
static void note_silence(struct world *w, uint64_t victim)
{
        const struct store_node *n = store_node_of(&w->server.store, victim);
        int64_t now = w->server.store.now_ns;
        if (n && now - n->beat_ns >= w->audit.lease_ns) {
                struct audit_cut cut = {victim, n->beat_ns, now};
                audit_cut_off(&w->audit, &cut);
        }
}

static void watch_burial(struct world *w, const struct ledger_batch *b)
{
        if (b->op != LEDGER_BURY || b->outcome != LEDGER_COMMITTED) {
                return;
        }
        const struct ledger_bury *bury = LEDGER_AS(bury, BURY, (struct ledger_batch *)b);
        if (!bury->done || bury->forget) {
                return;
        }
        audit_buried(&w->audit, bury->victim, w->server.store.now_ns);
        note_silence(w, bury->victim);
        if (bury->victim != b->no.holder) { /* who leaves can tell all before */
                letters_buried(w, bury->victim);
        }
}

static void on_apply(void *watcher, const struct ledger_batch *b, const char *how)
{
        TRACE((struct world *)watcher, "server %s %016llx %u/%llu %s: %d", ledger_op_name(b->op),
              (unsigned long long)b->no.holder, b->no.writer, (unsigned long long)b->no.n, how,
              b->outcome);
        watch_burial(watcher, b);
        life_applied(watcher, b);
        watch_letters(watcher, (struct ledger_batch *)b);
}

void watch_server(struct world *w)
{
        w->server.store.on_change = on_change;
        w->server.store.on_offer = on_offer;
        w->server.store.watcher = w;
        w->server.on_apply = on_apply;
        w->server.watcher = w;
}

static bool is_served(const struct store_job *j)
{
        const struct job_row *r = &j->row;
        return r->type.n && !str_eq(r->type, STR("never.type")) &&
               !str_eq(r->type, STR(ENVELOPE_TYPE_UNKNOWN)) &&
               !str_eq(r->queue, STR(QUEUE_UNROUTED)) && !str_eq(r->queue, SIM_NOWHERE);
}

static uint32_t count_claims(const struct store *s)
{
        uint32_t n = 0;
        struct store_commit *c, *next;
        HASH_ITER (hh, s->commits, c, next) {
                n += c->jobs != NULL;
        }
        return n;
}

static bool is_alive(const struct world *w, uint64_t holder)
{
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                if (w->nodes[i].state != NODE_DOWN && w->nodes[i].holder == holder) {
                        return true;
                }
        }
        return false;
}

static uint32_t count_dead_nodes(const struct world *w)
{
        uint32_t n = 0;
        struct store_node *x, *next;
        HASH_ITER (hh, w->server.store.nodes, x, next) {
                n += !is_alive(w, x->holder);
        }
        return n;
}

static bool rows_settled(const struct world *w)
{
        struct store_job *j, *next;
        HASH_ITER (hh, w->server.store.jobs, j, next) {
                bool parked = j->row.state == STATE_PENDING && !is_served(j);
                if (!state_terminal(j->row.state) && !parked) {
                        return false;
                }
        }
        return true;
}

static void check_drains(const struct world *w)
{
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                const struct sim_node *n = &w->nodes[i];
                int64_t most = (int64_t)w->config.shutdown_grace_ms + w->config.lease_ms + 1000;
                if (n->draining && n->state == NODE_UP &&
                    w->now_ns - n->drain_since_ns > most * NS_PER_MS) {
                        world_violate((struct world *)w,
                                      "I17: node %u drains for longer than its "
                                      "grace, a lease and a second",
                                      i);
                }
        }
}

static bool late_commits(const struct world *w)
{
        for (uint32_t i = 0; i < SIM_NODES + w->n_orphans; i++) {
                const struct ledger *l =
                    i < SIM_NODES ? w->nodes[i].ledger : w->orphans[i - SIM_NODES];
                if (l && sim_ledger_late(l)) {
                        return true;
                }
        }
        return false;
}

bool world_settled(const struct world *w)
{
        check_drains(w);
        for (uint32_t i = 0; i < w->swarm.nodes; i++) {
                if (w->nodes[i].state != NODE_UP || w->nodes[i].draining) {
                        return false;
                }
        }
        return produce_done(w) && letters_drained(w) && !w->server.store.outbox &&
               !w->server.store.replies && operate_over(w) && !late_commits(w) && rows_settled(w) &&
               count_claims(&w->server.store) == 0 && count_dead_nodes(w) == 0;
}

void world_audit_row(struct world *w, const struct store_job *j)
{
        const struct job_row *r = &j->row;
        struct audit_row a = {
            .id = r->id,
            .state = r->state,
            .reason = r->reason,
            .parked = r->band == BAND_PARKED,
            .served = is_served(j),
            .keyed = j->keyed,
            .queue = (uint32_t)hash_bytes(r->queue.p, r->queue.n),
            .payload = hash_bytes(r->payload.p, r->payload.n),
            .result = hash_bytes(r->result.p, r->result.n),
            .attempt = r->attempt,
            .max_attempts = r->max_attempts,
            .strikes = r->strikes,
            .generation = r->generation,
            .claim = r->claim,
            .due_us = r->due_us,
        };
        memcpy(a.key, j->key.b, sizeof a.key);
        audit_row(&w->audit, &a);
}

void world_audit(struct world *w)
{
        struct store_job *j, *next;
        HASH_ITER (hh, w->server.store.jobs, j, next) {
                world_audit_row(w, j);
        }
        w->audit.claims_left = count_claims(&w->server.store);
        w->audit.nodes_left = count_dead_nodes(w);
        w->audit.end_wall_us = world_wall_us(w);
        letters_audit(w);
        life_audit(w);
        char text[300];
        if (audit_judge(&w->audit, text, sizeof text)) {
                world_violate(w, "%s", text);
        }
}
