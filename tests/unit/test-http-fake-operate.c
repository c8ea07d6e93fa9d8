/*
 * What operators do with the fake daemon: controls, schedules, operations, texts. It knows no job
 * of its own for them.
 */
#include <stdio.h>

#include "core/schedule.h"
#include "tests/unit/test-http-fake.h"

/* --- queues ----------------------------------------------------------------------------------- */

static void answer_control(struct fake *f, struct ledger_control *c)
{
        struct queue_control *to = &f->controls[str_eq(c->control.queue, STR("email"))];
        to->queue = c->control.queue;
        if (c->set & CONTROL_PAUSED) {
                to->paused = c->control.paused;
        }
        if (c->set & CONTROL_CONCURRENCY) {
                to->concurrency = c->control.concurrency;
        }
        if (c->set & CONTROL_GLOBAL) {
                to->global = c->control.global;
        }
        c->control = *to;
}

static void answer_queues(struct api_request *r)
{
        bool known =
            r->name.n == 0 || str_eq(r->name, STR("default")) || str_eq(r->name, STR("email"));
        r->status = known ? 200 : 404;
        r->text = arena_str(&r->arena, r->name.n ? STR("{\"name\":\"default\"}")
                                                 : STR("{\"queues\":[{\"name\":\"default\"}]}"));
}

/* --- schedules -------------------------------------------------------------------------------- */

static struct schedule_row *find_schedule(struct fake *f, struct str name)
{
        for (uint32_t i = 0; i < f->n_schedules; i++) {
                if (str_eq(f->schedules[i].name, name)) {
                        return &f->schedules[i];
                }
        }
        return NULL;
}

/* Texts go on living with the fake. */
static void keep_schedule(struct fake *f, const struct schedule_row *row, struct schedule_row *to)
{
        *to = *row;
        struct str *texts[] = {&to->name,      &to->spec,        &to->zone,
                               &to->job.queue, &to->job.type,    &to->job.content_type,
                               &to->job.tags,  &to->job.headers, &to->job.payload,
                               &to->job.policy};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = arena_str(&f->arena, *texts[i]);
        }
        to->revision = ++f->revision;
}

static void answer_schedules(struct fake *f, struct ledger_schedules *s)
{
        s->rows = arena_zalloc(&s->base.arena, sizeof f->schedules);
        for (uint32_t i = 0; i < f->n_schedules; i++) {
                const struct schedule_row *row = &f->schedules[i];
                struct str name = row->name;
                uint32_t n = name.n < s->after.n ? name.n : s->after.n;
                int order = n ? memcmp(name.p, s->after.p, n) : 0;
                bool behind = s->after.n == 0 || order > 0 || (order == 0 && name.n > s->after.n);
                if (s->name.n ? !str_eq(name, s->name) : !behind) {
                        continue;
                }
                if (s->n == s->limit) {
                        s->more = true;
                        return;
                }
                s->rows[s->n++] = *row;
        }
}

static void answer_schedule(struct fake *f, struct ledger_schedule *s)
{
        struct schedule_row *old = find_schedule(f, s->row.name);
        s->found = old != NULL;
        if (f->races) {
                f->races--;
                f->revision++;
                if (old) {
                        old->revision = f->revision;
                }
        }
        if (s->expected != SCHEDULE_ANY && s->expected != (old ? old->revision : 0)) {
                return;
        }
        s->done = true;
        if (s->drop) {
                *old = f->schedules[--f->n_schedules];
                return;
        }
        struct schedule_row fresh;
        keep_schedule(f, &s->row, &fresh);
        fresh.created_us = old ? old->created_us : FAKE_NOW;
        fresh.last_us = old ? old->last_us : 0;
        if (!old) {
                old = &f->schedules[f->n_schedules++];
        }
        *old = fresh;
        s->row = fresh;
}

void fake_operate_start(struct fake *f)
{
        struct schedule_row nightly = {.name = STR("nightly"),
                                       .spec = STR("0 3 * * *"),
                                       .zone = STR("Europe/Berlin"),
                                       .catch_up = CATCH_ALL,
                                       .catch_max = 7,
                                       .from_config = true,
                                       .created_us = FAKE_NOW,
                                       .next_us = FAKE_NOW,
                                       .last_us = FAKE_NOW,
                                       .last_job = {{1}},
                                       .last_state = STATE_RUNNING,
                                       .job = {.type = STR("report"),
                                               .queue = STR("default"),
                                               .content_type = STR("application/json"),
                                               .payload = STR("{\"x\":1}"),
                                               .priority = 5,
                                               .max_attempts = 3}};
        keep_schedule(f, &nightly, &f->schedules[f->n_schedules++]);
        for (int i = 0; i < 2; i++) {
                f->controls[i].concurrency = f->controls[i].global = CONTROL_UNSET;
        }
}

/* --- operations ------------------------------------------------------------------------------- */

static void show_bulks(struct fake *f, struct api_request *r, uint32_t from, uint32_t n)
{
        r->views = arena_zalloc(&r->arena, (n + 1) * sizeof *r->views);
        memcpy(r->views, f->bulks + from, n * sizeof *r->views);
        r->n_views = n;
}

static void answer_bulk(struct fake *f, struct api_request *r)
{
        if (f->busy && f->n_bulks) {
                snprintf(r->note, sizeof r->note, "one runs already");
                return;
        }
        f->bulk = *r->bulk;
        f->bulk.filter.queue = arena_str(&f->arena, r->bulk->filter.queue);
        f->bulk.filter.type = arena_str(&f->arena, r->bulk->filter.type);
        f->bulk.filter.tag = arena_str(&f->arena, r->bulk->filter.tag);
        f->bulks[f->n_bulks] = (struct bulk_view){.no = f->n_bulks + 1,
                                                  .kind = r->bulk->kind,
                                                  .done = 17,
                                                  .again = 2,
                                                  .over = r->wait_ms && !f->busy,
                                                  .begun_us = FAKE_NOW};
        show_bulks(f, r, f->n_bulks++, 1);
}

static void answer_operation(struct fake *f, struct api_request *r)
{
        if (r->no > f->n_bulks) {
                return;
        }
        struct bulk_view *v = &f->bulks[r->no - 1];
        if (r->kind == API_OPERATION_STOP) {
                v->over = true;
                v->over_us = FAKE_NOW + 1;
                snprintf(v->note, sizeof v->note, "stopped by an operator");
        }
        show_bulks(f, r, (uint32_t)r->no - 1, 1);
}

static void answer_groups(struct ledger_groups *g)
{
        g->groups = arena_zalloc(&g->base.arena, sizeof *g->groups);
        g->n = 1;
        g->partial = g->filter.error == ERROR_OOM;
        g->groups[0] = (struct error_group){.queue = STR("email"),
                                            .type = STR("email.send"),
                                            .text = STR("no route to \"host\""),
                                            .error = ERROR_FAILED,
                                            .reason = REASON_EXHAUSTED,
                                            .fingerprint = 0x1f,
                                            .n = 3,
                                            .first_us = FAKE_NOW,
                                            .last_us = FAKE_NOW + 1};
}

static void answer_nodes(struct api_request *r, struct ledger_nodes *n)
{
        n->rows = arena_zalloc(&n->base.arena, sizeof *n->rows);
        n->n = 1;
        n->rows[0] = (struct node_row){.holder = 0xab,
                                       .host = STR("h1"),
                                       .version = STR("1"),
                                       .serves = STR("email.>\nreport"),
                                       .queues = STR(""),
                                       .pid = 7,
                                       .workers = 2,
                                       .registered_us = FAKE_NOW,
                                       .beat_us = FAKE_NOW};
        r->holder = 0xab;
}

static bool answer_batch(struct fake *f, struct api_request *r)
{
        struct ledger_batch *b = r->batch;
        switch (b->op) {
        case LEDGER_CONTROL: answer_control(f, LEDGER_AS(control, CONTROL, b)); break;
        case LEDGER_SCHEDULES: answer_schedules(f, LEDGER_AS(schedules, SCHEDULES, b)); break;
        case LEDGER_SCHEDULE: answer_schedule(f, LEDGER_AS(schedule, SCHEDULE, b)); break;
        case LEDGER_GROUPS: answer_groups(LEDGER_AS(groups, GROUPS, b)); break;
        case LEDGER_NODES: answer_nodes(r, LEDGER_AS(nodes, NODES, b)); break;
        default: return false;
        }
        return true;
}

bool fake_operate(struct fake *f, struct api_request *r)
{
        switch (r->kind) {
        case API_READ:
        case API_OPERATE: return answer_batch(f, r);
        case API_QUEUES: answer_queues(r); break;
        case API_EXPLAIN:
                r->status = 404;
                for (uint32_t i = 0; i < f->n; i++) {
                        r->status = job_id_eq(&f->jobs[i].row.id, &r->id) ? 200 : r->status;
                }
                r->text = arena_str(&r->arena, STR("{\"code\":\"paused\"}"));
                break;
        case API_BULK: answer_bulk(f, r); break;
        case API_OPERATIONS: show_bulks(f, r, 0, f->n_bulks); break;
        case API_OPERATION:
        case API_OPERATION_STOP: answer_operation(f, r); break;
        case API_RECONCILE: r->text = arena_str(&r->arena, STR("{\"queues\":[]}")); break;
        case API_RUN_SCHEDULE:
                if (f->n) {
                        r->id = f->jobs[0].row.id;
                } else {
                        snprintf(r->note, sizeof r->note, "there is no node for it");
                }
                break;
        case API_RESIZE:
                f->workers = r->workers;
                r->text = arena_printf(&r->arena, "{\"workers\":%u,\"configured\":2}",
                                       r->workers ? r->workers : 2);
                break;
        case API_ZONE: r->zone = str_eq(r->name, STR("Europe/Berlin")) ? zone_utc() : NULL; break;
        default: return false;
        }
        return true;
}
