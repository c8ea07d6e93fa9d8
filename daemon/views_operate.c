/*
 * What /v1/queues, /v1/jobs/{id}/explain and /v1/reconcile show, as JSON text: what the ledger,
 * this node's engine and its configuration know, put together.
 */
#include "daemon/json.h"
#include "daemon/node.h"

#include <stdlib.h>

#include "core/explain.h"

/* --- queues ----------------------------------------------------------------------------------- */

static void put_jobs(json_t *o, const struct queue_stat *s)
{
        json_t *jobs = json_object();
        for (unsigned i = 0; i < JOB_STATE_COUNT; i++) {
                json_object_set_new(jobs, state_name(i),
                                    json_integer(s ? (json_int_t)s->jobs[i] : 0));
        }
        json_object_set_new(o, "jobs", jobs);
        json_object_set_new(o, "parked", json_integer(s ? (json_int_t)s->parked : 0));
        if (s && s->oldest_pending_us) {
                json_set_time(o, "oldest_pending_at", s->oldest_pending_us);
        }
}

static void put_configured(const struct node *n, json_t *o, struct str name)
{
        int at = config_queue_named(n->config, name);
        if (at < 0) {
                return;
        }
        const struct queue_config *q = &n->config->queues[at];
        json_t *c = json_object();
        json_object_set_new(c, "concurrency", json_integer(q->concurrency));
        json_object_set_new(c, "global", json_integer(q->global));
        json_object_set_new(o, "configured", c);
        json_object_set_new(o, "order",
                            json_string(q->order == ORDER_PRIORITY ? "priority" : "fifo"));
        json_object_set_new(
            o, "when_full",
            json_string(q->when_full == FULL_DROP_OLDEST ? "drop_oldest" : "reject"));
}

/* `v` NULL: the ledger has jobs of it, this node has it not. */
static json_t *show_queue(const struct node *n, struct str name, const struct queue_view *v,
                          const struct queue_stat *s)
{
        json_t *o = json_object();
        json_object_set_new(o, "name", json_of(name));
        json_object_set_new(o, "served", json_boolean(v != NULL));
        if (v) {
                json_object_set_new(o, "transport",
                                    v->transport.n ? json_of(v->transport) : json_null());
                json_object_set_new(o, "transport_up", json_boolean(v->transport_up));
                json_object_set_new(o, "paused", json_boolean(v->paused));
                json_object_set_new(o, "taken_in", json_boolean(v->taken_in));
                json_object_set_new(o, "concurrency", json_integer(v->concurrency));
                json_object_set_new(o, "global", json_integer(v->global));
                json_object_set_new(o, "max_waiting", json_integer(v->max_waiting));
                json_object_set_new(o, "busy", json_integer(v->busy));
                json_object_set_new(o, "ready", json_integer(v->ready));
                json_object_set_new(o, "limited", json_boolean(v->limited));
                json_object_set_new(o, "not_consumed",
                                    v->not_consumed.n ? json_of(v->not_consumed) : json_null());
                put_configured(n, o, name);
        }
        put_jobs(o, s);
        return o;
}

static const struct queue_stat *stat_of(const struct ledger_stats *s, struct str name)
{
        for (uint32_t i = 0; i < s->n; i++) {
                if (str_eq(s->queues[i].queue, name)) {
                        return &s->queues[i];
                }
        }
        return NULL;
}

static const struct queue_view *view_of(const struct queue_view *views, uint32_t n, struct str name)
{
        for (uint32_t i = 0; i < n; i++) {
                if (str_eq(views[i].name, name)) {
                        return &views[i];
                }
        }
        return NULL;
}

/* Those that this node has, in the order of its configuration, then what only the ledger knows. */
static json_t *list_queues(const struct node *n, const struct ledger_stats *s, struct str name,
                           const struct queue_view *views, uint32_t n_views)
{
        json_t *list = json_array();
        for (uint32_t i = 0; i < n_views; i++) {
                if (!views[i].gone && (name.n == 0 || str_eq(name, views[i].name))) {
                        json_array_append_new(list, show_queue(n, views[i].name, &views[i],
                                                               stat_of(s, views[i].name)));
                }
        }
        for (uint32_t i = 0; i < s->n; i++) {
                struct str one = s->queues[i].queue;
                const struct queue_view *v = view_of(views, n_views, one);
                if ((!v || v->gone) && (name.n == 0 || str_eq(name, one))) {
                        json_array_append_new(list, show_queue(n, one, NULL, &s->queues[i]));
                }
        }
        return list;
}

/* NULL: no memory. */
static struct queue_view *look_at_queues(const struct node *n, struct arena *a, uint32_t *ret_n)
{
        uint32_t most = engine_queues(n->engine);
        struct queue_view *views = arena_zalloc(a, (most ? most : 1) * sizeof *views);
        *ret_n = views ? engine_queue_views(n->engine, views, most) : 0;
        return views;
}

struct str view_queues(struct node *n, const struct ledger_stats *s, struct str name,
                       struct arena *a, bool *ret_found)
{
        uint32_t count;
        struct queue_view *views = look_at_queues(n, a, &count);
        json_t *list = views ? list_queues(n, s, name, views, count) : NULL;
        *ret_found = name.n == 0 || json_array_size(list) > 0;
        if (name.n == 0) {
                json_t *root = json_object();
                json_object_set_new(root, "queues", list);
                return json_print(root, a);
        }
        json_t *one = *ret_found ? json_incref(json_array_get(list, 0)) : json_object();
        json_decref(list);
        return json_print(one, a);
}

/* --- reconcile -------------------------------------------------------------------------------- */

struct str view_reconciled(const struct reconciled *what, struct arena *a)
{
        json_t *root = json_object(), *list = json_array();
        for (uint32_t i = 0; i < what->n; i++) {
                const struct reconciled_queue *q = &what->queues[i];
                json_t *o = json_object();
                json_object_set_new(o, "queue", json_of(q->queue));
                json_object_set_new(o, "looked", json_boolean(q->looked));
                json_object_set_new(o, "found", json_integer(q->found));
                if (!q->looked) {
                        json_object_set_new(o, "why", json_of(q->why));
                }
                json_array_append_new(list, o);
        }
        json_object_set_new(root, "queues", list);
        return json_print(root, a);
}

/* --- explain ---------------------------------------------------------------------------------- */

bool view_explain_counts(const struct ledger_show *show)
{
        return show->row.state == STATE_PENDING;
}

static json_t *show_detail(const struct explain_detail *d)
{
        switch (d->kind) {
        case DETAIL_TEXT: return json_of(d->text);
        case DETAIL_NUMBER: return json_integer((json_int_t)d->number);
        case DETAIL_FIGURE: return json_real(d->figure);
        case DETAIL_TIME: break;
        }
        return json_time(d->number);
}

static struct str show_explanation(const struct job_row *j, const struct explanation *e,
                                   struct arena *a)
{
        char id[JOB_ID_TEXT];
        json_t *o = json_object(), *details = json_object();
        id_text(&j->id, id);
        json_object_set_new(o, "id", json_string(id));
        json_object_set_new(o, "state", json_string(state_name(j->state)));
        json_object_set_new(o, "code", json_string(explain_name(e->code)));
        json_object_set_new(o, "sentence", json_of(e->sentence));
        for (uint32_t i = 0; i < e->n_details; i++) {
                json_object_set_new(details, e->details[i].name, show_detail(&e->details[i]));
        }
        json_object_set_new(o, "details", details);
        return json_print(o, a);
}

struct str view_explain(struct node *n, struct ledger_batch *read, struct arena *a)
{
        struct worker_view workers[ENGINE_WORKERS_MAX];
        struct explain_facts f = {
            .now_us = node_now().wall_us,
            .self = n->holder,
            .silent_us = 2 * (int64_t)n->config->lease_ms * 1000,
            .queue_running = -1,
            .workers = workers,
            .n_workers = engine_workers(n->engine, workers, ENGINE_WORKERS_MAX),
        };
        const struct ledger_stats *stats = NULL;
        for (struct ledger_batch *b = read; b; b = b->next) {
                if (b->op == LEDGER_SHOW) {
                        f.job = &LEDGER_AS(show, SHOW, b)->row;
                } else if (b->op == LEDGER_NODES) {
                        f.nodes = LEDGER_AS(nodes, NODES, b)->rows;
                        f.n_nodes = LEDGER_AS(nodes, NODES, b)->n;
                } else {
                        stats = LEDGER_AS(stats, STATS, b);
                }
        }
        if (!f.job) {
                return (struct str){0};
        }
        uint32_t count;
        struct queue_view *views = look_at_queues(n, a, &count);
        const struct queue_view *v = views ? view_of(views, count, f.job->queue) : NULL;
        const struct queue_stat *s = stats ? stat_of(stats, f.job->queue) : NULL;
        f.queue = v && !v->gone ? v : NULL;
        f.queue_running = s ? (int64_t)s->jobs[STATE_RUNNING] : stats ? 0 : -1;
        struct explanation e;
        explain_job(&f, a, &e);
        return e.sentence.p ? show_explanation(f.job, &e, a) : (struct str){0};
}
