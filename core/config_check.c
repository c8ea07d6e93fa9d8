/*
 * What no single key can tell: how values fit together. Each complaint carries the origin of the
 * value that is to blame, so that the loader can name file and line. Never stops at the first:
 * people mend a file in one go.
 */
#include "core/config.h"
#include "core/cron.h"
#include "core/host.h"
#include "core/pattern.h"
#include "core/patterns.h"

#include <stdio.h>
#include <stdarg.h>

/* --- checks between values -------------------------------------------------------------------- */

struct complaints {
        const struct config *config;
        config_complain_fn *complain;
        void *ctx;
        uint32_t n;
};

static void __attribute__((format(printf, 3, 4)))
complain(struct complaints *s, struct config_origin where, const char *fmt, ...)
{
        char note[CONFIG_NOTE_MAX];
        va_list args;
        va_start(args, fmt);
        vsnprintf(note, sizeof note, fmt, args);
        va_end(args);
        s->complain(s->ctx, where, note);
        s->n++;
}

/* Where the value of the named key came from. */
static struct config_origin origin_of(const struct config_key *keys,
                                      const struct config_origin *origins, const char *name)
{
        for (size_t i = 0; origins && keys[i].name; i++) {
                if (strcmp(keys[i].name, name) == 0) {
                        return origins[i];
                }
        }
        return (struct config_origin){0};
}

static struct config_origin queue_origin(const struct queue_config *q, const char *name)
{
        return origin_of(config_queue_keys, q->origins, name);
}

static void check_queue_name(struct complaints *s, uint32_t i)
{
        const struct queue_config *q = &s->config->queues[i];
        struct config_origin where = queue_origin(q, "name");
        if (q->name.n == 0) {
                complain(s, where, "queues: entry %u has no name", i + 1);
        } else if (q->name.n > QUEUE_NAME_MAX || !type_valid(q->name)) {
                complain(s, where,
                         "queues: the name %.*s is not allowed; tokens of letters, digits, _ and "
                         "- joined by dots, %u bytes at most",
                         (int)q->name.n, q->name.p, QUEUE_NAME_MAX);
        } else if (config_queue_named(s->config, q->name) != (int)i) {
                complain(s, where, "queues: there are two queues named %.*s", (int)q->name.n,
                         q->name.p);
        }
}

static void check_queue_values(struct complaints *s, const struct queue_config *q)
{
        const struct config *c = s->config;
        bool known = q->transport.n == 0;
        for (uint32_t i = 0; i < c->n_transports && !known; i++) {
                known = str_eq(c->transports[i].name, q->transport);
        }
        if (!known) {
                complain(s, queue_origin(q, "transport"),
                         "queue %.*s: there is no transport %.*s; define it under transports",
                         (int)q->name.n, q->name.p, (int)q->transport.n, q->transport.p);
        }
        if (q->default_type.n && !type_valid(q->default_type)) {
                complain(s, queue_origin(q, "default_type"),
                         "queue %.*s: default_type: %.*s is not a job type; tokens of letters, "
                         "digits, _ and - joined by dots",
                         (int)q->name.n, q->name.p, (int)q->default_type.n, q->default_type.p);
        }
        for (uint32_t i = 0; i < q->n_types; i++) {
                if (!pattern_valid(q->types[i])) {
                        complain(s, queue_origin(q, "types"),
                                 "queue %.*s: types: %.*s is not a pattern; tokens joined by dots, "
                                 "each literal or *, the last may be >",
                                 (int)q->name.n, q->name.p, (int)q->types[i].n, q->types[i].p);
                }
        }
}

static void check_queue_retry(struct complaints *s, const struct queue_config *q)
{
        const struct retry_policy *r = &q->retry;
        struct config_origin where = queue_origin(q, "retry.table");
        int64_t longest = 0;
        for (uint32_t i = 0; i < r->n_table; i++) {
                longest = r->table_ms[i] > longest ? r->table_ms[i] : longest;
        }
        if (r->backoff == BACKOFF_TABLE && r->n_table == 0) {
                complain(s, queue_origin(q, "retry.backoff"),
                         "queue %.*s: retry.backoff = \"table\" needs retry.table, such as "
                         "[ \"1s\", \"10s\", \"2m\" ]",
                         (int)q->name.n, q->name.p);
        } else if (r->backoff != BACKOFF_TABLE && r->n_table > 0) {
                complain(s, where,
                         "queue %.*s: retry.table needs retry.backoff = \"table\"; it is \"%s\"",
                         (int)q->name.n, q->name.p, backoff_name(r->backoff));
        } else if (longest > r->cap_ms) {
                char delay[DURATION_TEXT_MAX], cap[DURATION_TEXT_MAX];
                duration_text(longest, delay);
                duration_text(r->cap_ms, cap);
                complain(s, where, "queue %.*s: retry.table: %s is above retry.cap, which is %s",
                         (int)q->name.n, q->name.p, delay, cap);
        }
}

/* Of a thousand types every two are compared: most are told by their length. */
static bool patterns_tie(struct str a, struct str b)
{
        if (!pattern_wild(a) || !pattern_wild(b)) {
                return str_eq(a, b) && pattern_valid(a);
        }
        return pattern_valid(a) && pattern_valid(b) && pattern_tie(a, b);
}

/* Every pattern of queue b against pattern `mine` of queue a. */
static void check_tie(struct complaints *s, const struct queue_config *a,
                      const struct queue_config *b, struct str mine)
{
        for (uint32_t i = 0; i < b->n_types; i++) {
                if (patterns_tie(mine, b->types[i])) {
                        complain(s, queue_origin(b, "types"),
                                 "queues %.*s and %.*s: the patterns %.*s and %.*s match the same "
                                 "types equally well; make one of them more literal",
                                 (int)a->name.n, a->name.p, (int)b->name.n, b->name.p, (int)mine.n,
                                 mine.p, (int)b->types[i].n, b->types[i].p);
                }
        }
}

static void check_ties(struct complaints *s)
{
        const struct config *c = s->config;
        for (uint32_t i = 0; i < c->n_queues; i++) {
                for (uint32_t j = i + 1; j < c->n_queues; j++) {
                        for (uint32_t k = 0; k < c->queues[i].n_types; k++) {
                                check_tie(s, &c->queues[i], &c->queues[j], c->queues[i].types[k]);
                        }
                }
        }
}

static void check_transports(struct complaints *s)
{
        const struct config *c = s->config;
        for (uint32_t i = 0; i < c->n_transports; i++) {
                const struct transport_config *t = &c->transports[i];
                struct config_origin where = origin_of(config_transport_keys, t->origins, "url");
                where = where.source.n ? where : t->origin;
                if (t->name.n == 0) {
                        complain(s, where, "transports: entry %u has no name", i + 1);
                }
                if (t->url.n == 0) {
                        complain(s, where, "transport %.*s: it has no url", (int)t->name.n,
                                 t->name.p);
                }
                for (uint32_t j = 0; j < i; j++) {
                        if (str_eq(c->transports[j].name, t->name)) {
                                complain(s, where, "transports: there are two named %.*s",
                                         (int)t->name.n, t->name.p);
                        }
                }
        }
}

/* host:port with a port of 1 to 65535; the host without the brackets of IPv6. */
static bool split_address(struct str address, struct str *ret_host)
{
        const char *colon = address.p ? memrchr(address.p, ':', address.n) : NULL;
        if (!colon || colon == address.p) {
                return false;
        }
        struct str host = {address.p, (uint32_t)(colon - address.p)};
        struct str port = {colon + 1, address.n - host.n - 1};
        int64_t number;
        if (port.n == 0 || port.p[port.n - 1] > '9' || !size_parse(port, &number) || number < 1 ||
            number > 65535) {
                return false;
        }
        bool bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
        if (!bracketed && memchr(host.p, ':', host.n)) {
                return false;
        }
        *ret_host = bracketed ? (struct str){host.p + 1, host.n - 2} : host;
        return true;
}

static void check_http(struct complaints *s)
{
        const struct config *c = s->config;
        struct config_origin where = origin_of(config_keys, c->origins, "http.listen");
        struct str host, listen = c->http_listen;
        if (listen.n == 0) {
                return;
        }
        if (!split_address(listen, &host)) {
                complain(s, where,
                         "http.listen: %.*s is not an address and port such as 127.0.0.1:8290 or "
                         "[::1]:8290",
                         (int)listen.n, listen.p);
                return;
        }
        if (!host_is_loopback(host)) {
                complain(s, where,
                         "http.listen: %.*s is not a loopback address; use 127.0.0.1 or [::1], and "
                         "a proxy with TLS for others",
                         (int)listen.n, listen.p);
        }
        if (c->http_token_file.n == 0) {
                complain(s, where, "http.listen: HTTP over TCP needs http.token_file");
        }
}

static void check_whole(struct complaints *s)
{
        const struct config *c = s->config;
        check_http(s);
        if (c->lease_ms < 3 * c->beat_ms) {
                char lease[DURATION_TEXT_MAX], beat[DURATION_TEXT_MAX];
                duration_text(c->lease_ms, lease);
                duration_text(c->beat_ms, beat);
                struct config_origin where = origin_of(config_keys, c->origins, "node.lease");
                if (!where.source.n) {
                        where = origin_of(config_keys, c->origins, "node.beat");
                }
                complain(s, where,
                         "node.lease: %s is not allowed with node.beat = %s; at least three beats",
                         lease, beat);
        }
        if (c->n_queues == 0) {
                complain(s, (struct config_origin){0}, "queues: there is none");
        }
        for (uint32_t i = 0; i < c->n_handler_options; i++) {
                const struct handler_option_config *o = &c->handler_options[i];
                if (!pattern_valid(o->type)) {
                        complain(s, o->origin,
                                 "handlers.options: type: %.*s is not a handler's type or pattern",
                                 (int)o->type.n, o->type.p);
                }
        }
}

/* --- types and schedules ---------------------------------------------------------------------- */

static void check_retry(struct complaints *s, struct config_origin where, const char *what,
                        struct str name, struct str text)
{
        char note[CONFIG_NOTE_MAX / 2];
        struct retry_policy policy = RETRY_POLICY_DEFAULT;
        if (text.n && retry_parse(text, &policy, note, sizeof note) > 0) {
                complain(s, where, "%s %.*s: retry: %s", what, (int)(name.n < 128 ? name.n : 128),
                         name.p, note);
        }
}

/* Where the value came from, or at least its entry. */
static struct config_origin entry_origin(const struct config_key *keys,
                                         const struct config_origin *origins, const char *name,
                                         struct config_origin entry)
{
        struct config_origin where = origin_of(keys, origins, name);
        return where.source.n ? where : entry;
}

static void check_type(struct complaints *s, uint32_t i)
{
        const struct type_config *list = s->config->types, *t = &list[i];
        struct config_origin where = entry_origin(config_type_keys, t->origins, "retry", t->origin);
        bool wild = pattern_wild(t->pattern);
        check_retry(s, where, "type", t->pattern, t->retry);
        if (!pattern_valid(t->pattern)) {
                complain(s, t->origin,
                         "types: %.*s is not a pattern; tokens joined by dots, each literal or *, "
                         "the last may be >",
                         (int)t->pattern.n, t->pattern.p);
        }
        for (uint32_t j = 0; j < i; j++) {
                if (str_eq(list[j].pattern, t->pattern)) {
                        complain(s, t->origin, "types: there are two of %.*s", (int)t->pattern.n,
                                 t->pattern.p);
                } else if (wild && patterns_tie(list[j].pattern, t->pattern)) {
                        complain(s, t->origin,
                                 "types: the patterns %.*s and %.*s match the same types equally "
                                 "well; make one of them more literal",
                                 (int)list[j].pattern.n, list[j].pattern.p, (int)t->pattern.n,
                                 t->pattern.p);
                }
        }
}

static struct config_origin schedule_origin(const struct schedule_config *d, const char *name)
{
        return entry_origin(config_schedule_keys, d->origins, name, d->origin);
}

static void check_schedule_name(struct complaints *s, uint32_t i)
{
        const struct schedule_config *d = &s->config->schedules[i];
        if (!schedule_name_valid(d->name)) {
                complain(s, d->origin,
                         "schedules: the name %.*s is not allowed; letters, digits, _, . and -, %u "
                         "bytes at most",
                         (int)(d->name.n < 128 ? d->name.n : 128), d->name.p, SCHEDULE_NAME_MAX);
        } else if (config_entry_named(s->config, &config_lists[LIST_SCHEDULES], d->name) !=
                   (int)i) {
                complain(s, d->origin, "schedules: there are two named %.*s", (int)d->name.n,
                         d->name.p);
        }
}

/* Which queue its jobs go to must be plain. */
static void check_schedule_queue(struct complaints *s, const struct schedule_config *d)
{
        const struct config *c = s->config;
        if (d->queue.n && config_queue_named(c, d->queue) < 0) {
                complain(s, schedule_origin(d, "queue"),
                         "schedule %.*s: queue: there is no queue %.*s", (int)d->name.n, d->name.p,
                         (int)d->queue.n, d->queue.p);
        } else if (d->queue.n == 0 && type_valid(d->type) && config_queue_for(c, d->type) < 0) {
                complain(s, schedule_origin(d, "type"),
                         "schedule %.*s: no queue takes jobs of type %.*s; name one with queue",
                         (int)d->name.n, d->name.p, (int)d->type.n, d->type.p);
        }
}

static void check_schedule(struct complaints *s, const struct schedule_config *d)
{
        char note[CRON_NOTE_MAX];
        struct cron cron;
        if (d->cron.n == 0) {
                complain(s, d->origin,
                         "schedule %.*s: it has no cron, for example cron = \"30 4 * * 1\"",
                         (int)d->name.n, d->name.p);
        } else if (cron_parse(d->cron, &cron, note, sizeof note) > 0) {
                complain(s, schedule_origin(d, "cron"), "schedule %.*s: cron: %s", (int)d->name.n,
                         d->name.p, note);
        }
        if (d->zone.n && !zone_name_valid(d->zone)) {
                complain(s, schedule_origin(d, "zone"),
                         "schedule %.*s: zone: %.*s is not the name of a time zone, such as "
                         "Europe/Berlin",
                         (int)d->name.n, d->name.p, (int)d->zone.n, d->zone.p);
        }
        if (!type_valid(d->type)) {
                complain(
                    s, schedule_origin(d, "type"),
                    "schedule %.*s: type: %.*s is not a job type; tokens of letters, digits, _ "
                    "and - joined by dots",
                    (int)d->name.n, d->name.p, d->type.n ? (int)d->type.n : 7,
                    d->type.n ? d->type.p : "nothing");
        }
        check_schedule_queue(s, d);
        check_retry(s, schedule_origin(d, "retry"), "schedule", d->name, d->retry);
}

uint32_t config_complaints(const struct config *c, config_complain_fn *complain_fn, void *ctx)
{
        struct complaints s = {c, complain_fn, ctx, 0};
        check_whole(&s);
        check_transports(&s);
        for (uint32_t i = 0; i < c->n_queues; i++) {
                check_queue_name(&s, i);
                check_queue_values(&s, &c->queues[i]);
                check_queue_retry(&s, &c->queues[i]);
        }
        check_ties(&s);
        for (uint32_t i = 0; i < c->n_types; i++) {
                check_type(&s, i);
        }
        for (uint32_t i = 0; i < c->n_schedules; i++) {
                check_schedule_name(&s, i);
                check_schedule(&s, &c->schedules[i]);
        }
        return s.n;
}

struct first_note {
        char *note;
        size_t size;
        bool taken;
};

static void keep_first(void *ctx, struct config_origin where, const char *note)
{
        struct first_note *f = ctx;
        (void)where;
        if (!f->taken) {
                snprintf(f->note, f->size, "%s", note);
                f->taken = true;
        }
}

int config_check(const struct config *c, char *note, size_t note_size)
{
        struct first_note first = {note, note_size, false};
        return config_complaints(c, keep_first, &first) > 0 ? CONFIG_REFUSED : 0;
}
