/*
 * An engine by hand, for the tests test-engine*.c: single steps against a ledger and workers that
 * the test plays itself, in a time of its own.
 */
#ifndef SKEP_TESTS_UNIT_ENGINE_DESK_H
#define SKEP_TESTS_UNIT_ENGINE_DESK_H

#include "core/engine.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

struct desk { /* an engine, its actions, and what was posted and not answered */
        struct config config;
        struct engine *engine;
        struct engine_actions actions;
        struct instant now;
        struct ledger_batch *posted[256];
        uint32_t n_posted;
        struct engine_action last[256]; /* other actions of the last step */
        uint32_t n_last;
        uint64_t jobs_made;
};

static inline void tell(struct desk *d, struct engine_event ev)
{
        d->actions.n = 0;
        engine_step(d->engine, &ev, d->now, &d->actions);
        d->n_last = 0;
        for (uint32_t i = 0; i < d->actions.n; i++) {
                const struct engine_action *a = &d->actions.list[i];
                if (a->kind == ACT_POST) {
                        d->posted[d->n_posted++] = a->batch;
                } else {
                        d->last[d->n_last++] = *a;
                }
        }
        CU_ASSERT_PTR_NULL(engine_check(d->engine));
}

static inline struct ledger_batch *take_posted(struct desk *d, enum ledger_op op)
{
        for (uint32_t i = 0; i < d->n_posted; i++) {
                struct ledger_batch *b = d->posted[i];
                if (b->op == op) {
                        d->posted[i] = d->posted[--d->n_posted];
                        return b;
                }
        }
        return NULL;
}

static inline void answer(struct desk *d, struct ledger_batch *b, enum ledger_outcome outcome)
{
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        b->outcome = outcome;
        tell(d, (struct engine_event){.kind = EV_LEDGER, .batch = b});
}

static inline void pass_time(struct desk *d, int64_t ms)
{
        d->now.mono_ns += ms * NS_PER_MS;
        d->now.wall_us += ms * 1000;
        tell(d, (struct engine_event){.kind = EV_TIMER});
}

static inline const struct engine_action *told(const struct desk *d, enum engine_action_kind kind)
{
        for (uint32_t i = 0; i < d->n_last; i++) {
                if (d->last[i].kind == kind) {
                        return &d->last[i];
                }
        }
        return NULL;
}

/* A registered engine with these handlers, and `workers` workers that are up. configure: NULL, or
 * what to change of the defaults before it begins. */
static inline void open_desk_for(struct desk *d, const struct handler_desc *handlers, uint32_t n,
                                 uint32_t workers, void (*configure)(struct config *c))
{
        *d = (struct desk){.now = {NS_PER_S, 1700000000 * US_PER_S}};
        CU_ASSERT_EQUAL_FATAL(config_init(&d->config), 0);
        d->config.workers = workers;
        if (configure) {
                configure(&d->config);
        }
        struct engine_config ec = {
            .config = &d->config, .seed = {1, 2, 3, 4}, .host = STR("h"), .version = STR("0")};
        d->engine = engine_new(&ec);
        CU_ASSERT_PTR_NOT_NULL_FATAL(d->engine);
        tell(d, (struct engine_event){.kind = EV_START});
        answer(d, take_posted(d, LEDGER_REGISTER), LEDGER_COMMITTED);
        answer(d, take_posted(d, LEDGER_BEAT), LEDGER_COMMITTED); /* it tells the controls */
        tell(d, (struct engine_event){.kind = EV_ROSTER, .roster = roster_new(1, handlers, n)});
        CU_ASSERT_PTR_NOT_NULL_FATAL(told(d, ACT_SPAWN));
        for (uint32_t i = 0; i < workers; i++) {
                struct engine_event up = {.kind = EV_WORKER_UP};
                up.up.worker = i;
                up.up.generation = 1;
                tell(d, up);
        }
}

static inline void open_desk_with(struct desk *d, struct handler_desc h, uint32_t workers,
                                  void (*configure)(struct config *c))
{
        open_desk_for(d, &h, 1, workers, configure);
}

/* With one handler, `noop`, and one worker. */
static inline void open_desk(struct desk *d)
{
        open_desk_with(d, (struct handler_desc){.pattern = STR("noop"), .timeout_ms = 1000}, 1,
                       NULL);
}

static inline void close_desk(struct desk *d)
{
        while (d->n_posted) {
                struct ledger_batch *b = d->posted[--d->n_posted];
                if (b->op == LEDGER_CLAIM) {
                        roster_unref((struct roster *)LEDGER_AS(claim, CLAIM, b)->roster);
                } else if (b->op == LEDGER_UNPARK) {
                        roster_unref((struct roster *)LEDGER_AS(unpark, UNPARK, b)->roster);
                }
                ledger_batch_free(b);
        }
        engine_free(d->engine);
        config_deinit(&d->config);
        free(d->actions.list);
}

static inline void fill_claim(struct desk *d, struct claim *c, uint32_t n)
{
        c->jobs = arena_zalloc(&c->arena, n * sizeof *c->jobs);
        c->n = n;
        for (uint32_t i = 0; i < n; i++) {
                struct job *j = &c->jobs[i];
                d->jobs_made++;
                memcpy(j->id.b, &d->jobs_made, sizeof d->jobs_made);
                j->claim = 1;
                j->token = 77;
                j->attempt = 1;
                j->max_attempts = 3;
                j->queue = STR("default");
                j->type = STR("noop");
        }
}

static inline void claim_jobs(struct desk *d, uint32_t n)
{
        struct ledger_batch *b = take_posted(d, LEDGER_CLAIM);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        fill_claim(d, LEDGER_AS(claim, CLAIM, b)->got, n);
        LEDGER_AS(claim, CLAIM, b)->more = true;
        answer(d, b, LEDGER_COMMITTED);
}

static inline void end_jobs(struct desk *d, uint32_t first, uint32_t n, enum verdict_kind kind)
{
        struct verdict list[64] = {{0}};
        for (uint32_t i = 0; i < n; i++) {
                list[i] = (struct verdict){
                    .kind = kind, .run_ns = 1000, .started_wall_us = d->now.wall_us};
        }
        struct engine_event ev = {.kind = EV_VERDICTS};
        ev.verdicts.first = first;
        ev.verdicts.n = n;
        ev.verdicts.list = list;
        tell(d, ev);
}

#endif
