/*
 * What has to be on the broker: looked at passively first, since an active declare needs more
 * rights and fails on any difference; declared when it is missing; compared when it is there. A
 * difference is told once with the broker's words and the thing is used as it is: to change a queue
 * is the operator's to do, and a declare that can never succeed must not become a loop.
 */
#include "transports/amqp/internal.h"

#include <stdarg.h>
#include <stdio.h>

/* An exchange when it has a type, else a queue. */
struct thing {
        const char *name, *type;
        const char *argument, *value; /* the one argument that we ask for, or NULL */
};

/* A complaint, told again after a while at the soonest. Without a tap: of the topology as a whole.
 */
void topology_say(struct consumer *c, struct tap *t, int level, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        said_vnote(t ? &t->said : &c->base_said, &c->rabbit->desk, level, fmt, args);
        va_end(args);
}

static int declare(struct consumer *c, const struct thing *what, bool passive, struct reply *ret)
{
        amqp_table_entry_t argument = {bytes_of(what->argument ? what->argument : ""),
                                       {.kind = AMQP_FIELD_KIND_UTF8,
                                        .value.bytes = bytes_of(what->value ? what->value : "")}};
        amqp_table_t arguments = {what->argument && !passive ? 1 : 0, &argument};
        if (what->type) {
                amqp_exchange_declare_t m = {.exchange = bytes_of(what->name),
                                             .type = bytes_of(what->type),
                                             .passive = passive,
                                             .durable = 1,
                                             .arguments = arguments};
                return call(c, AMQP_EXCHANGE_DECLARE_METHOD, &m, ret);
        }
        amqp_queue_declare_t m = {.queue = bytes_of(what->name),
                                  .passive = passive,
                                  .durable = 1,
                                  .arguments = arguments};
        return call(c, AMQP_QUEUE_DECLARE_METHOD, &m, ret);
}

static void say_mismatch(struct consumer *c, struct tap *t, const struct thing *what,
                         const char *text)
{
        const char *reason = strstr(text, " - "), *argument = what->argument;
        topology_say(c, t, LEVEL_WARNING, "%s %s is used as it is, durable%s%s%s%s was wanted: %s",
                     what->type ? "exchange" : "queue", what->name, argument ? " with " : "",
                     argument ? argument : "", argument ? "=" : "", argument ? what->value : "",
                     reason ? reason + 3 : text);
}

/* True: it is there, *ret_anew: by us, just now. */
static bool ensure(struct consumer *c, struct tap *t, const struct thing *what, bool *ret_anew)
{
        struct reply reply;
        const char *kind = what->type ? "exchange" : "queue";
        int r = declare(c, what, true, &reply);
        bool missing = r == CALL_CLOSED && reply.code == AMQP_NOT_FOUND;
        *ret_anew = false;
        if (r < 0) {
                return false;
        }
        if (r > 0 && !missing) {
                topology_say(c, t, LEVEL_ERROR, "%s %s cannot be used: %s", kind, what->name,
                             reply.text);
                return false;
        }
        r = declare(c, what, false, &reply);
        *ret_anew = missing && r == 0;
        if (missing && r > 0) {
                topology_say(c, t, LEVEL_ERROR, "%s %s is not there and cannot be declared: %s",
                             kind, what->name, reply.text);
        } else if (r == CALL_CLOSED && reply.code == AMQP_PRECONDITION_FAILED) {
                say_mismatch(c, t, what, reply.text);
        }
        return r == 0 || (r > 0 && !missing);
}

static bool bind_key(struct consumer *c, struct tap *t, const char *queue, const char *exchange,
                     const char *key)
{
        struct reply reply;
        amqp_queue_bind_t m = {
            .queue = bytes_of(queue), .exchange = bytes_of(exchange), .routing_key = bytes_of(key)};
        int r = call(c, AMQP_QUEUE_BIND_METHOD, &m, &reply);
        if (r > 0) {
                topology_say(c, t, LEVEL_ERROR, "queue %s cannot be bound to %s by '%s': %s", queue,
                             exchange, key, reply.text);
        }
        return r == 0;
}

static bool unbind_key(struct consumer *c, struct tap *t, const char *key)
{
        struct reply reply;
        const char *exchange = c->rabbit->settings.exchange;
        amqp_queue_unbind_t m = {.queue = bytes_of(t->order->name),
                                 .exchange = bytes_of(exchange),
                                 .routing_key = bytes_of(key)};
        int r = call(c, AMQP_QUEUE_UNBIND_METHOD, &m, &reply);
        if (r > 0) {
                topology_say(c, t, LEVEL_ERROR, "queue %s cannot be unbound from %s by '%s': %s",
                             t->order->name, exchange, key, reply.text);
        }
        return r >= 0;
}

bool topology_base(struct consumer *c)
{
        const struct settings *s = &c->rabbit->settings;
        const struct thing unrouted = {.name = s->unrouted, .type = "fanout"};
        const struct thing jobs = {s->exchange, "topic", "alternate-exchange", s->unrouted};
        const struct thing refused = {
            .name = s->refused, .argument = "x-queue-type", .value = "quorum"};
        bool anew;
        bool ok = ensure(c, NULL, &unrouted, &anew);
        ok = ensure(c, NULL, &jobs, &anew) && ok;
        if (ensure(c, NULL, &refused, &anew)) {
                route_declared(c->rabbit, ROUTE_REFUSED, anew);
        } else {
                ok = false;
        }
        return ok;
}

static bool has_key(const struct order *o, const char *key)
{
        for (uint32_t i = 0; i < o->n_keys; i++) {
                if (strcmp(o->keys[i], key) == 0) {
                        return true;
                }
        }
        return false;
}

bool topology_tap(struct consumer *c, struct tap *t)
{
        const struct order *o = t->order, *before = t->bound;
        const struct settings *s = &c->rabbit->settings;
        const struct thing queue = {.name = o->name, .argument = "x-queue-type", .value = "quorum"};
        const char *exchange = o->slot == UNROUTED_SLOT ? s->unrouted : s->exchange;
        bool anew, ok = true;
        if (!ensure(c, t, &queue, &anew)) {
                return false;
        }
        for (uint32_t i = 0; i < o->n_keys; i++) {
                ok = bind_key(c, t, o->name, exchange, o->keys[i]) && ok;
        }
        for (uint32_t i = 0; before && i < before->n_keys; i++) {
                if (!has_key(o, before->keys[i])) {
                        ok = unbind_key(c, t, before->keys[i]) && ok;
                }
        }
        if (c->wire.dead || t->order != o) {
                return false; /* attached anew meanwhile: once more */
        }
        t->bound = ok ? o : anew || before == o ? NULL : before;
        route_declared(c->rabbit, o->slot, anew);
        return true;
}
