/*
 * What this build can talk to. A new ledger or transport adds its scheme here and nowhere else in
 * configuration; core knows none of them.
 */
#include "daemon/config_apply.h"

#include <errno.h>

static const char *const ledger_schemes[] = {"postgresql", "postgres", "sqlite", NULL};
static const char *const transport_schemes[] = {"amqp", "amqps", NULL};

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
                struct config_scope s = config_scope_queue(q);
                return config_error(b, origin_of(&s, "transport"),
                                    "queue %s: transport: %s is %.*s:, which this build cannot "
                                    "speak (it has %s); leave transport out and the queue's jobs "
                                    "come from the ledger",
                                    q->name.p, t->name.p, (int)(scheme.n < 32 ? scheme.n : 32),
                                    scheme.p, list_schemes(&b->report->arena, transport_schemes));
        }
        return 0;
}

int config_check_backends(struct config_build *b)
{
        int r = check_ledger(b);
        for (uint32_t i = 0; i < b->config->n_queues && r == 0; i++) {
                r = check_queue(b, &b->config->queues[i]);
        }
        return r;
}
