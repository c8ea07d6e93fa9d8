/*
 * What /v1/handlers, /v1/workers, /v1/stats and /readyz show, as JSON text. Small documents, made
 * on request.
 */
#include <stdio.h>

#include "daemon/json.h"
#include "daemon/node.h"

static json_t *show_plugin(const struct plugin_row *p)
{
        json_t *o = json_object();
        json_object_set_new(o, "plugin", json_of(p->file));
        json_object_set_new(o, "state",
                            json_string(p->serving    ? "serving"
                                        : p->reason.n ? "refused"
                                                      : "probing"));
        json_object_set_new(o, "types", json_of(p->types));
        json_object_set_new(o, "summary", json_of(p->summary));
        if (!p->serving && p->reason.n) {
                json_object_set_new(o, "reason", json_of(p->reason));
        }
        json_object_set_new(o, "build", json_string(p->build));
        json_object_set_new(o, "bytes", json_integer((json_int_t)p->bytes));
        json_set_time(o, "probed_at", p->probed_wall_us);
        json_t *manifest = p->manifest_json ? json_loads(p->manifest_json, 0, NULL) : NULL;
        if (manifest) {
                json_object_set_new(o, "manifest", manifest);
        }
        return o;
}

struct str view_handlers(struct node *n, struct arena *a)
{
        const struct plugin_row *rows;
        uint32_t count = host_plugins(n->host, &rows);
        json_t *list = json_array();
        for (uint32_t i = 0; i < count; i++) {
                json_array_append_new(list, show_plugin(&rows[i]));
        }
        json_t *root = json_object();
        json_object_set_new(root, "generation", json_integer(n->generation));
        json_object_set_new(root, "handlers", list);
        return json_print(root, a);
}

struct str view_workers(struct node *n, struct arena *a)
{
        static const char *const states[] = {"none", "starting", "ready", "draining", "killed"};
        struct worker_view views[ENGINE_WORKERS_MAX];
        uint32_t count = engine_workers(n->engine, views, ENGINE_WORKERS_MAX);
        json_t *list = json_array();
        for (uint32_t i = 0; i < count; i++) {
                const struct worker_view *v = &views[i];
                json_t *o = json_object();
                json_object_set_new(o, "worker", json_integer(v->worker));
                json_object_set_new(o, "pid", json_integer(host_worker_pid(n->host, v->worker)));
                json_object_set_new(o, "state", json_string(states[v->state]));
                json_object_set_new(o, "generation", json_integer(v->generation));
                json_object_set_new(o, "given", json_integer(v->given));
                json_object_set_new(o, "finished", json_integer((json_int_t)v->finished));
                if (v->busy) {
                        char id[JOB_ID_TEXT];
                        id_text(&v->running, id);
                        json_object_set_new(o, "job_id", json_string(id));
                        json_object_set_new(o, "type", json_of(v->type));
                }
                json_array_append_new(list, o);
        }
        json_t *root = json_object();
        json_object_set_new(root, "workers", list);
        return json_print(root, a);
}

static json_t *show_queue(const struct queue_stat *q)
{
        json_t *o = json_object(), *jobs = json_object();
        for (unsigned s = 0; s < JOB_STATE_COUNT; s++) {
                json_object_set_new(jobs, state_name(s), json_integer((json_int_t)q->jobs[s]));
        }
        json_object_set_new(o, "queue", json_of(q->queue));
        json_object_set_new(o, "jobs", jobs);
        json_object_set_new(o, "parked", json_integer((json_int_t)q->parked));
        if (q->oldest_pending_us) {
                json_set_time(o, "oldest_pending_at", q->oldest_pending_us);
        }
        return o;
}

struct str view_stats(struct node *n, const struct ledger_stats *s, struct arena *a)
{
        struct engine_view v;
        engine_look(n->engine, &v);
        json_t *queues = json_array(), *root = json_object(), *node = json_object();
        for (uint32_t i = 0; i < s->n; i++) {
                json_array_append_new(queues, show_queue(&s->queues[i]));
        }
        char holder[20];
        snprintf(holder, sizeof holder, "%016llx", (unsigned long long)v.holder);
        json_object_set_new(node, "holder", json_string(holder));
        json_object_set_new(node, "claimed", json_integer(v.claimed));
        json_object_set_new(node, "claims", json_integer((json_int_t)v.claims));
        json_object_set_new(node, "verdict_commits", json_integer((json_int_t)v.commits));
        json_object_set_new(node, "fenced_writes", json_integer((json_int_t)v.fenced_writes));
        json_object_set_new(node, "crashes", json_integer((json_int_t)v.crashes));
        json_object_set_new(root, "queues", queues);
        json_object_set_new(root, "node", node);
        return json_print(root, a);
}

struct str view_ready(struct node *n, struct arena *a, int *ret_status)
{
        struct engine_view v;
        engine_look(n->engine, &v);
        bool ledger = v.registered && v.ledger_up;
        bool ready = ledger && !n->stopping && n->generation > 0;
        json_t *root = json_object(), *transports = json_object();
        for (uint32_t i = 0; i < n->relay.n; i++) {
                const struct relay_line *l = &n->relay.lines[i];
                ready &= l->up;
                json_object_set_new(transports, l->name.p, json_string(l->up ? "up" : l->text));
        }
        json_object_set_new(root, "ready", json_boolean(ready));
        json_object_set_new(root, "ledger", json_string(ledger ? "up" : "down"));
        if (!ledger && v.ledger_note[0]) {
                json_object_set_new(root, "ledger_reason", json_string(v.ledger_note));
        }
        if (n->relay.n) {
                json_object_set(root, "transports", transports);
        }
        json_decref(transports);
        json_object_set_new(root, "handlers",
                            json_string(n->generation ? "loaded" : "being probed"));
        json_object_set_new(root, "stopping", json_boolean(n->stopping));
        *ret_status = ready ? 200 : 503;
        return json_print(root, a);
}

/* --- doctor ----------------------------------------------------------------------------------- */

static void add_check(json_t *list, const char *name, const char *status, const char *detail,
                      const char *advice)
{
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(name));
        json_object_set_new(o, "status", json_string(status));
        json_object_set_new(o, "detail", json_string(detail));
        json_object_set_new(o, "advice", json_string(advice));
        json_array_append_new(list, o);
}

static void check_ledger(struct node *n, json_t *list)
{
        struct engine_view v;
        CLEANUP(arena_deinit)
        struct arena a = {0};
        engine_look(n->engine, &v);
        struct str url = config_mask(&a, n->config->ledger_url);
        bool up = v.ledger_up && v.registered;
        char detail[512];
        snprintf(detail, sizeof detail, "%s%s%s", url.p ? url.p : "?", up ? "" : ": ",
                 up                 ? ""
                 : v.ledger_note[0] ? v.ledger_note
                                    : "has not answered yet");
        add_check(list, "ledger", up ? "ok" : "fail", detail,
                  up ? ""
                     : "nothing is lost and skepd keeps trying; see the reason, then ledger.url");
        if (n->config->ledger_unsafe == ANSWER_YES) {
                add_check(list, "durability", "warn", "ledger.unsafe is yes",
                          "a commit may be lost when the server loses power; set it to no");
        } else {
                add_check(list, "durability", up ? "ok" : "warn",
                          up ? "commits of this ledger are durable"
                             : "not known while the ledger is down",
                          "");
        }
}

static void check_transports(struct node *n, json_t *list)
{
        for (uint32_t i = 0; i < n->relay.n; i++) {
                const struct relay_line *l = &n->relay.lines[i];
                char name[96], detail[320];
                snprintf(name, sizeof name, "transport %s", l->name.p);
                snprintf(detail, sizeof detail,
                         "%s; came up %llu times, reopened silent %llu times",
                         l->up ? "up" : l->text, (unsigned long long)l->ups,
                         (unsigned long long)l->deaf);
                add_check(list, name,
                          !l->up    ? "fail"
                          : l->deaf ? "warn"
                                    : "ok",
                          detail,
                          l->up ? ""
                                : "jobs submitted to skep go on through the ledger; letters wait "
                                  "in the broker");
        }
}

static void check_plugins(struct node *n, json_t *list)
{
        const struct plugin_row *rows;
        uint32_t count = host_plugins(n->host, &rows), refused = 0;
        char detail[512];
        for (uint32_t i = 0; i < count; i++) {
                if (!rows[i].serving && rows[i].reason.n) {
                        refused++;
                        snprintf(detail, sizeof detail, "%.*s: %.*s", (int)rows[i].file.n,
                                 rows[i].file.p, (int)rows[i].reason.n, rows[i].reason.p);
                        add_check(list, "plug-in", "fail", detail, "see skep handlers ls");
                }
        }
        snprintf(detail, sizeof detail, "%u serve, %u are refused", count - refused, refused);
        add_check(list, "plug-ins", count > refused ? "ok" : "warn", detail,
                  count > refused ? "" : "drop a handler into handlers.dir");
}

struct str view_doctor(struct node *n, struct arena *a)
{
        json_t *root = json_object(), *list = json_array();
        check_ledger(n, list);
        check_transports(n, list);
        check_plugins(n, list);
        json_object_set_new(root, "checks", list);
        return json_print(root, a);
}
