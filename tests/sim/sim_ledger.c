/*
 * One node's connection to the simulated server: flights in lanes, fates drawn at the post.
 */
#include "tests/sim/sim_ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plant.h"

struct flight {
        struct flight *next;
        struct ledger_batch *b;      /* the poster's; NULL when it was abandoned */
        struct ledger_batch *shadow; /* what the server works on when the poster must not see it */
        enum sim_fate fate;
        int64_t apply_ns, answer_ns;
        bool applied, forced;
};

struct lane {
        struct flight *head, **tail;
        int64_t apply_ns, answer_ns; /* of the last one posted */
};

struct sim_ledger {
        struct ledger base;
        struct sim_ledger_server *server;
        int64_t now_ns;
        struct lane lanes[LEDGER_LANES];
        struct flight *late; /* by time */
        int64_t heard_ns;    /* something was offered by others; INT64_MAX: nothing new */
};

static struct sim_ledger *sim_of(const struct ledger *l)
{
        return (struct sim_ledger *)CONTAINER_OF(l, struct sim_ledger, base);
}

void sim_ledger_tick(struct ledger *l, int64_t now_ns)
{
        struct sim_ledger *s = sim_of(l);
        if (now_ns > s->now_ns) {
                s->now_ns = now_ns;
        }
}

static bool is_write(enum ledger_op op)
{
        return ledger_op_numbered(op) || op == LEDGER_FLOOR || op == LEDGER_SAVE ||
               op == LEDGER_RESOLVE;
}

/* Behind an unknown one on the same connection nothing gets through. */
static bool is_cut(const struct lane *lane)
{
        for (const struct flight *f = lane->head; f; f = f->next) {
                if (f->fate >= FATE_NEVER && !f->forced) {
                        return true;
                }
        }
        return false;
}

static enum sim_fate draw_fate(struct sim_ledger *s, const struct lane *lane, enum ledger_op op)
{
        const struct sim_ledger_faults *x = &s->server->faults;
        struct rng *rng = &s->server->rng;
        if (s->server->force != FATE_GOOD && ledger_op_numbered(op)) {
                enum sim_fate forced = s->server->force;
                s->server->force = FATE_GOOD;
                return forced;
        }
        if (x->down || is_cut(lane) || (x->refuse && rng_chance(rng, x->refuse))) {
                return FATE_REFUSED;
        }
        if (!x->unknown || !is_write(op) || !rng_chance(rng, x->unknown)) {
                return FATE_GOOD;
        }
        bool voidable = op != LEDGER_RESOLVE && op != LEDGER_SAVE;
        return (enum sim_fate)rng_between(rng, FATE_NEVER, voidable ? FATE_LATE : FATE_BEFORE);
}

static int64_t draw_latency(struct sim_ledger *s)
{
        const struct sim_ledger_faults *x = &s->server->faults;
        struct rng *rng = &s->server->rng;
        if (x->slow && rng_chance(rng, x->slow)) {
                return rng_between(rng, x->latency_max_ns, x->slow_ns);
        }
        return x->latency_max_ns ? rng_between(rng, x->latency_min_ns, x->latency_max_ns) : 0;
}

static void post(struct ledger *l, struct ledger_batch *b)
{
        struct sim_ledger *s = sim_of(l);
        struct lane *lane = &s->lanes[ledger_op_lane(b->op)];
        struct flight *f = calloc(1, sizeof *f);
        assert(f);
        int64_t latency = draw_latency(s);
        f->b = b;
        f->forced = s->server->force != FATE_GOOD;
        f->fate = draw_fate(s, lane, b->op);
        f->apply_ns = s->now_ns + latency / 2;
        f->apply_ns = f->apply_ns < lane->apply_ns ? lane->apply_ns : f->apply_ns;
        f->answer_ns = f->apply_ns + latency - latency / 2;
        f->answer_ns = f->answer_ns < lane->answer_ns ? lane->answer_ns : f->answer_ns;
        lane->apply_ns = f->apply_ns;
        lane->answer_ns = f->answer_ns;
        if (f->fate == FATE_BEFORE || f->fate == FATE_LATE) {
                f->shadow = sim_batch_clone(b);
        }
        s->server->unknowns += f->fate >= FATE_NEVER;
        *lane->tail = f;
        lane->tail = &f->next;
}

static bool may_offer(enum ledger_op op)
{
        return op == LEDGER_SUBMIT || op == LEDGER_ARRIVE || op == LEDGER_FINISH ||
               op == LEDGER_REQUEUE || op == LEDGER_DUE || op == LEDGER_UNPARK ||
               op == LEDGER_TIDE || op == LEDGER_TICK || op == LEDGER_BULK;
}

/* The others hear of it a little later, or not: a listener's connection may be lost too. */
static void notify_others(struct sim_ledger *s, const struct ledger_batch *b, int64_t at_ns)
{
        struct sim_ledger_server *v = s->server;
        bool worth = v->hears && b->outcome == LEDGER_COMMITTED && may_offer(b->op);
        for (uint32_t i = 0; worth && i < v->n_open; i++) {
                struct sim_ledger *other = sim_of(v->open[i]);
                if (other != s && rng_chance(&v->rng, 950)) {
                        int64_t at = at_ns + draw_latency(other);
                        other->heard_ns = at < other->heard_ns ? at : other->heard_ns;
                }
        }
}

static void apply_to_store(struct sim_ledger *s, struct ledger_batch *b, int64_t at_ns,
                           const char *how)
{
        struct sim_ledger_server *v = s->server;
        v->store.now_ns = at_ns;
        v->store.now_us = v->wall_offset_us + (v->frozen ? 0 : at_ns / 1000);
        store_apply(&v->store, b);
        notify_others(s, b, at_ns);
        if (v->on_apply) {
                v->on_apply(v->watcher, b, how);
        }
}

static void move_to_late(struct sim_ledger *s, struct ledger_batch *shadow, int64_t at_ns)
{
        struct flight *f = calloc(1, sizeof *f);
        assert(f);
        f->shadow = shadow;
        f->fate = FATE_LATE;
        f->apply_ns = at_ns;
        struct flight **at = &s->late;
        while (*at && (*at)->apply_ns <= at_ns) {
                at = &(*at)->next;
        }
        f->next = *at;
        *at = f;
}

static void apply_flight(struct sim_ledger *s, struct flight *f)
{
        f->applied = true;
        switch (f->fate) {
        case FATE_GOOD: apply_to_store(s, f->b, f->apply_ns, "applied"); break;
        case FATE_BEFORE:
                apply_to_store(s, f->shadow, f->apply_ns, "applied, answer lost");
                f->shadow = sim_batch_drop(f->shadow);
                break;
        case FATE_LATE: {
                int64_t late = rng_between(&s->server->rng, 0, s->server->faults.late_ns);
                move_to_late(s, STEAL(f->shadow), f->apply_ns + late);
                break;
        }
        case FATE_REFUSED:
        case FATE_NEVER:
                if (planted(PLANT_RETIRE_EARLY) && f->b->op == LEDGER_FINISH) {
                        store_retire(&s->server->store, LEDGER_AS(finish, FINISH, f->b));
                }
                break;
        }
}

static void apply_late(struct sim_ledger *s)
{
        struct flight *f = s->late;
        s->late = f->next;
        apply_to_store(s, f->shadow, f->apply_ns, "applied late");
        s->server->late_commits += f->shadow->outcome == LEDGER_COMMITTED;
        s->server->late_voided += f->shadow->outcome != LEDGER_COMMITTED;
        sim_batch_drop(f->shadow);
        free(f);
}

static struct flight *next_flight(const struct sim_ledger *s)
{
        struct flight *first = s->late;
        for (int i = 0; i < LEDGER_LANES; i++) {
                struct flight *f = s->lanes[i].head;
                while (f && f->applied) {
                        f = f->next;
                }
                if (f && (!first || f->apply_ns < first->apply_ns)) {
                        first = f;
                }
        }
        return first;
}

int64_t sim_ledger_next_apply(const struct ledger *l)
{
        const struct flight *f = next_flight(sim_of(l));
        return f ? f->apply_ns : INT64_MAX;
}

bool sim_ledger_late(const struct ledger *l)
{
        return sim_of(l)->late != NULL;
}

void sim_ledger_run(struct ledger *l, int64_t now_ns)
{
        struct sim_ledger *s = sim_of(l);
        sim_ledger_tick(l, now_ns);
        struct flight *f;
        while ((f = next_flight(s)) && f->apply_ns <= now_ns) {
                if (f == s->late) {
                        apply_late(s);
                } else {
                        apply_flight(s, f);
                }
        }
}

static struct flight *take_answered(struct sim_ledger *s, int64_t now_ns)
{
        struct lane *first = NULL;
        for (int i = 0; i < LEDGER_LANES; i++) {
                struct lane *lane = &s->lanes[i];
                bool ready = lane->head && lane->head->answer_ns <= now_ns;
                if (ready && (!first || lane->head->answer_ns < first->head->answer_ns)) {
                        first = lane;
                }
        }
        if (!first) {
                return NULL;
        }
        struct flight *f = first->head;
        first->head = f->next;
        if (!first->head) {
                first->tail = &first->head;
        }
        return f;
}

static void word_answer(struct flight *f)
{
        if (f->fate == FATE_GOOD) {
                return;
        }
        if (f->fate == FATE_REFUSED) {
                store_refuse(f->b, "the ledger does not take writes now");
                return;
        }
        f->b->outcome = LEDGER_UNKNOWN;
        snprintf(f->b->note, sizeof f->b->note, "the connection was lost during the commit");
}

static struct ledger_batch *dispatch(struct ledger *l, int64_t now_ns)
{
        struct sim_ledger *s = sim_of(l);
        sim_ledger_run(l, now_ns);
        struct ledger_batch *head = NULL, **tail = &head;
        struct flight *f;
        while ((f = take_answered(s, now_ns))) {
                word_answer(f);
                f->b->next = NULL;
                *tail = f->b;
                tail = &f->b->next;
                free(f);
        }
        return head;
}

static uint32_t pollfds(struct ledger *l, struct pollfd *fds, uint32_t max)
{
        (void)l;
        (void)fds;
        (void)max;
        return 0;
}

static int64_t deadline_ns(struct ledger *l)
{
        const struct sim_ledger *s = sim_of(l);
        int64_t at = s->heard_ns;
        for (int i = 0; i < LEDGER_LANES; i++) {
                const struct flight *f = s->lanes[i].head;
                if (f && f->answer_ns < at) {
                        at = f->answer_ns;
                }
        }
        return at;
}

static bool heard(struct ledger *l)
{
        struct sim_ledger *s = sim_of(l);
        bool some = s->heard_ns <= s->now_ns;
        s->heard_ns = some ? INT64_MAX : s->heard_ns;
        return some;
}

static void leave_server(struct sim_ledger *s)
{
        struct sim_ledger_server *v = s->server;
        for (uint32_t i = 0; i < v->n_open; i++) {
                if (v->open[i] == &s->base) {
                        v->open[i] = v->open[--v->n_open];
                        break;
                }
        }
        if (v->n_open == 0) {
                free(v->open);
                v->open = NULL;
        }
}

/* What had been sent will happen at its time; what had not been sent never does. */
static void abandon_flight(struct sim_ledger *s, struct flight *f)
{
        bool sent = !f->applied && is_write(f->b->op) && f->fate == FATE_GOOD &&
                    rng_chance(&s->server->rng, 500);
        struct ledger_batch *shadow = sent ? sim_batch_clone(f->b) : STEAL(f->shadow);
        if (shadow) {
                struct rng *rng = &s->server->rng;
                bool hangs = rng_chance(rng, 500);
                int64_t late = hangs ? rng_between(rng, 0, s->server->faults.late_ns) : 0;
                move_to_late(s, shadow, f->apply_ns + late);
        }
        sim_batch_drop(f->b);
        free(f);
}

void sim_ledger_abandon(struct ledger *l)
{
        struct sim_ledger *s = sim_of(l);
        leave_server(s);
        for (int i = 0; i < LEDGER_LANES; i++) {
                struct flight *f = s->lanes[i].head;
                while (f) {
                        struct flight *next = f->next;
                        abandon_flight(s, f);
                        f = next;
                }
                s->lanes[i] = (struct lane){.tail = &s->lanes[i].head};
        }
}

/* What a poster left to us is written and freed; what it carried by reference stays its poster's.
 */
static void finish_lane(struct sim_ledger *s, struct lane *lane)
{
        while (lane->head) {
                struct flight *f = lane->head;
                lane->head = f->next;
                if (!f->applied) {
                        apply_flight(s, f);
                }
                ledger_batch_free(f->b);
                free(f);
        }
}

static struct ledger *close_ledger(struct ledger *l)
{
        if (!l) {
                return NULL;
        }
        struct sim_ledger *s = sim_of(l);
        for (int i = 0; i < LEDGER_LANES; i++) {
                finish_lane(s, &s->lanes[i]);
        }
        while (s->late) {
                apply_late(s);
        }
        leave_server(s);
        free(s);
        return NULL;
}

static const struct ledger_ops sim_ops = {
    .scheme = "sim",
    .post = post,
    .pollfds = pollfds,
    .deadline_ns = deadline_ns,
    .dispatch = dispatch,
    .close = close_ledger,
};

static const struct ledger_ops sim_hearing_ops = {
    .scheme = "sim",
    .post = post,
    .pollfds = pollfds,
    .deadline_ns = deadline_ns,
    .dispatch = dispatch,
    .heard = heard,
    .close = close_ledger,
};

static void join_server(struct sim_ledger *s)
{
        struct sim_ledger_server *v = s->server;
        v->open = realloc(v->open, (v->n_open + 1) * sizeof(struct ledger *));
        assert(v->open);
        v->open[v->n_open++] = &s->base;
}

struct ledger *sim_ledger_new(struct sim_ledger_server *server)
{
        struct sim_ledger *s = calloc(1, sizeof *s);
        assert(s);
        s->base.ops = server->hears ? &sim_hearing_ops : &sim_ops;
        s->server = server;
        s->heard_ns = INT64_MAX;
        join_server(s);
        for (int i = 0; i < LEDGER_LANES; i++) {
                s->lanes[i].tail = &s->lanes[i].head;
        }
        return &s->base;
}
