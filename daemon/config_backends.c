/*
 * What this build can talk to, and what only some of it understands. A new ledger or transport adds
 * its scheme here and nowhere else in configuration; core knows none of them.
 *
 * A key of another scheme is refused instead of passed over: who moves from one broker to another
 * by changing a URL shall not believe that a password file or a stream's name still counts.
 */
#include "core/pattern.h"
#include "core/zone.h"
#include "daemon/config_apply.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define ZONES "/usr/share/zoneinfo"

static const char *const ledger_schemes[] = {"postgresql", "postgres", "sqlite", NULL};
static const char *const transport_schemes[] = {"amqp", "amqps", "nats", "tls", NULL};

/* Whose a transport's key is when it is not everybody's. */
static const struct {
        const char *key;
        bool nats; /* else AMQP's */
} owned_keys[] = {
    {"exchange", false}, {"token_file", true}, {"creds_file", true}, {"nkey_file", true},
    {"stream", true},    {"subject", true},    {"replicas", true},   {"create", true},
};

static struct str scheme_of(struct str url)
{
        const char *colon = url.p ? memchr(url.p, ':', url.n) : NULL;
        return (struct str){url.p, colon ? (uint32_t)(colon - url.p) : 0};
}

static bool is_built_in(const char *const *schemes, struct str scheme)
{
        for (; *schemes; schemes++) {
                if (str_eq(str_of(*schemes), scheme)) {
                        return true;
                }
        }
        return false;
}

static const char *list_schemes(struct arena *a, const char *const *schemes)
{
        struct str all = STR("");
        for (size_t i = 0; schemes[i] && all.p; i++) {
                all = arena_printf(a, "%s%s%s:", all.p, i ? ", " : "", schemes[i]);
        }
        return all.p && all.n ? all.p : "none";
}

static struct config_origin origin_of(const struct config_scope *s, const char *name)
{
        for (size_t i = 0; *s->origins && s->keys[i].name; i++) {
                if (strcmp(s->keys[i].name, name) == 0) {
                        return (*s->origins)[i];
                }
        }
        return (struct config_origin){0};
}

static int check_ledger(struct config_build *b)
{
        struct config *c = b->config;
        struct config_scope s = config_scope_whole(c);
        struct str scheme = scheme_of(c->ledger_url);
        struct str shown = config_mask(&b->report->arena, c->ledger_url);
        struct config_origin where = origin_of(&s, "ledger.url");
        if (!shown.p) {
                return -ENOMEM;
        }
        if (!is_built_in(ledger_schemes, scheme)) {
                return config_error(b, where,
                                    "ledger.url: %.*s: this build has no such ledger; it "
                                    "has %s",
                                    200, shown.p, list_schemes(&b->report->arena, ledger_schemes));
        }
        if (c->ledger_url.n == scheme.n + 1) {
                return config_error(b, where,
                                    "ledger.url: %s names no file; sqlite:/path or "
                                    "sqlite::memory:",
                                    shown.p);
        }
        return 0;
}

/* A transport that a queue names must be one of ours. */
static int check_queue(struct config_build *b, struct queue_config *q)
{
        struct config *c = b->config;
        for (uint32_t i = 0; i < c->n_transports; i++) {
                struct transport_config *t = &c->transports[i];
                struct str scheme = scheme_of(t->url);
                if (!str_eq(t->name, q->transport) || is_built_in(transport_schemes, scheme)) {
                        continue;
                }
                uint32_t index = (uint32_t)(q - b->config->queues);
                struct config_scope s =
                    config_scope_entry(b->config, &config_lists[LIST_QUEUES], index);
                return config_error(b, origin_of(&s, "transport"),
                                    "queue %s: transport: %s is %.*s:, which this build cannot "
                                    "speak (it has %s); leave transport out and the queue's jobs "
                                    "come from the ledger",
                                    q->name.p, t->name.p, (int)(scheme.n < 32 ? scheme.n : 32),
                                    scheme.p, list_schemes(&b->report->arena, transport_schemes));
        }
        return 0;
}

/* --- transports ------------------------------------------------------------------------------- */

static bool is_nats(struct str scheme)
{
        return str_eq(scheme, STR("nats")) || str_eq(scheme, STR("tls"));
}

bool config_key_foreign(const struct config_key *k, struct str url)
{
        struct str scheme = scheme_of(url);
        bool known = is_built_in(transport_schemes, scheme);
        for (size_t i = 0; i < ARRAY_LEN(owned_keys) && known; i++) {
                if (strcmp(owned_keys[i].key, k->name) == 0) {
                        return owned_keys[i].nats != is_nats(scheme);
                }
        }
        return false;
}

static int check_keys(struct config_build *b, struct transport_config *t)
{
        uint32_t index = (uint32_t)(t - b->config->transports);
        struct config_scope s =
            config_scope_entry(b->config, &config_lists[LIST_TRANSPORTS], index);
        struct str scheme = scheme_of(t->url);
        int r = 0;
        for (const struct config_key *k = s.keys; k->name && r == 0; k++) {
                struct config_origin where = origin_of(&s, k->name);
                if (where.source.n && config_key_foreign(k, t->url)) {
                        r = config_error(b, where,
                                         "transport %s: %s is a key of %s, and the url's scheme is "
                                         "%.*s:; leave it out",
                                         t->name.p, k->name,
                                         is_nats(scheme) ? "RabbitMQ (amqp:, amqps:)"
                                                         : "NATS (nats:, tls:)",
                                         (int)scheme.n, scheme.p);
                }
        }
        return r;
}

/* --- what is consumed twice ------------------------------------------------------------------- */

/* On NATS a queue consumes its types' subjects, or the one of its name. */
static uint32_t count_patterns(const struct queue_config *q)
{
        return q->n_types ? q->n_types : 1;
}

static struct str pattern_of(const struct queue_config *q, uint32_t i)
{
        return q->n_types ? q->types[i] : q->name;
}

static int check_pair(struct config_build *b, struct queue_config *q, struct str mine,
                      const struct queue_config *other, struct str theirs)
{
        uint32_t index = (uint32_t)(q - b->config->queues);
        struct config_scope s = config_scope_entry(b->config, &config_lists[LIST_QUEUES], index);
        bool valid = pattern_valid(mine) && pattern_valid(theirs);
        bool tied =
            valid && q != other && q->n_types && other->n_types && pattern_tie(mine, theirs);
        if (!valid || tied || !pattern_overlap(mine, theirs)) {
                return 0; /* what is tied was named by core */
        }
        return config_error(
            b, origin_of(&s, q->n_types ? "types" : "name"),
            "queues %s and %s: the patterns %.*s and %.*s overlap, and on NATS a "
            "message goes to one consumer: make them disjoint%s",
            other->name.p, q->name.p, (int)theirs.n, theirs.p, (int)mine.n, mine.p,
            q->n_types && other->n_types ? "" : " (a queue without types consumes its name)");
}

/* Pattern k of queue i against all that come before it. */
static int check_pattern(struct config_build *b, uint32_t i, uint32_t k)
{
        struct queue_config *queues = b->config->queues, *q = &queues[i];
        int r = 0;
        for (uint32_t j = 0; j <= i && r == 0; j++) {
                uint32_t n = j == i ? k : count_patterns(&queues[j]);
                for (uint32_t m = 0; m < n && r == 0; m++) {
                        if (str_eq(queues[j].transport, q->transport)) {
                                r = check_pair(b, q, pattern_of(q, k), &queues[j],
                                               pattern_of(&queues[j], m));
                        }
                }
        }
        return r;
}

static bool is_on_nats(const struct config *c, const struct queue_config *q)
{
        for (uint32_t i = 0; i < c->n_transports; i++) {
                if (str_eq(c->transports[i].name, q->transport)) {
                        return is_nats(scheme_of(c->transports[i].url));
                }
        }
        return false;
}

static int check_overlaps(struct config_build *b, uint32_t i)
{
        const struct queue_config *q = &b->config->queues[i];
        int r = 0;
        for (uint32_t k = 0; is_on_nats(b->config, q) && k < count_patterns(q) && r == 0; k++) {
                r = check_pattern(b, i, k);
        }
        return r;
}

/* A name that this machine has no file for would leave the schedule waiting. */
static int check_zone(struct config_build *b, uint32_t i)
{
        const struct schedule_config *d = &b->config->schedules[i];
        struct config_scope s = config_scope_entry(b->config, &config_lists[LIST_SCHEDULES], i);
        char path[sizeof ZONES + 80];
        if (d->zone.n == 0 || !zone_name_valid(d->zone)) {
                return 0;
        }
        snprintf(path, sizeof path, ZONES "/%.*s", (int)d->zone.n, d->zone.p);
        if (access(path, R_OK) == 0) {
                return 0;
        }
        return config_error(b, origin_of(&s, "zone"), "%szone: %s cannot be read: %s", s.label,
                            path, strerror(errno));
}

int config_check_backends(struct config_build *b)
{
        int r = check_ledger(b);
        for (uint32_t i = 0; i < b->config->n_schedules && r == 0; i++) {
                r = check_zone(b, i);
        }
        for (uint32_t i = 0; i < b->config->n_transports && r == 0; i++) {
                r = check_keys(b, &b->config->transports[i]);
        }
        for (uint32_t i = 0; i < b->config->n_queues && r == 0; i++) {
                r = check_queue(b, &b->config->queues[i]);
                r = r == 0 ? check_overlaps(b, i) : r;
        }
        return r;
}
