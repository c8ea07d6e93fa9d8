/*
 * Carries between transports and the engine. A receipt remembers by its carrier which transport it
 * came from; a queue's transport is the one that its configuration names.
 */
#include "daemon/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/node.h"
#include "transports/amqp/amqp.h"
#include "transports/nats/nats.h"

static struct relay_line *line_named(struct relay *r, struct str name)
{
        for (uint32_t i = 0; i < r->n; i++) {
                if (str_eq(r->lines[i].name, name)) {
                        return &r->lines[i];
                }
        }
        return NULL;
}

/* --- opening ---------------------------------------------------------------------------------- */

static const char application[] = "skepd " SKEP_VERSION;

typedef int open_fn(struct node *n, const struct config *c, const struct transport_config *t,
                    struct transport **ret, char *note, size_t note_size);

static int open_amqp(struct node *n, const struct config *c, const struct transport_config *t,
                     struct transport **ret, char *note, size_t note_size)
{
        struct amqp_options o = {
            .config = t,
            .payload_max = c->payload_max,
            .spool_dir = n->state->path,
            .application = application,
        };
        return amqp_open(&o, ret, note, note_size);
}

static int open_nats(struct node *n, const struct config *c, const struct transport_config *t,
                     struct transport **ret, char *note, size_t note_size)
{
        (void)n;
        struct nats_options o = {
            .config = t,
            .payload_max = c->payload_max,
            .application = application,
        };
        return nats_open(&o, ret, note, note_size);
}

static const struct {
        struct str scheme;
        open_fn *open;
} openers[] = {
    {{"nats:", 5}, open_nats},
    {{"tls:", 4}, open_nats},
};

/* A scheme that is none of ours was refused with the configuration. */
static open_fn *find_opener(struct str url)
{
        for (size_t i = 0; i < ARRAY_LEN(openers); i++) {
                struct str s = openers[i].scheme;
                if (url.n >= s.n && memcmp(url.p, s.p, s.n) == 0) {
                        return openers[i].open;
                }
        }
        return open_amqp;
}

static int open_line(struct node *n, const struct config *c, const struct transport_config *t,
                     char *note, size_t note_size)
{
        struct relay *r = &n->relay;
        struct relay_line *grown = realloc(r->lines, (r->n + 1) * sizeof *grown);
        if (!grown) {
                return -ENOMEM;
        }
        r->lines = grown;
        char *name = malloc((size_t)t->name.n + 1);
        if (!name) {
                return -ENOMEM;
        }
        memcpy(name, t->name.p, t->name.n);
        name[t->name.n] = 0;
        struct transport *opened;
        int e = find_opener(t->url)(n, c, t, &opened, note, note_size);
        if (e != 0) {
                free(name);
                return e < 0 ? e : RELAY_REFUSED;
        }
        r->lines[r->n++] = (struct relay_line){
            .name = {name, t->name.n}, .transport = opened, .text = "is being connected"};
        return 0;
}

static void attach_queues(struct node *n, const struct config *c)
{
        for (uint32_t i = 0; i < c->n_queues; i++) {
                const struct queue_config *q = &c->queues[i];
                struct relay_line *l = q->transport.n ? line_named(&n->relay, q->transport) : NULL;
                int at = engine_queue(n->engine, q->name);
                if (l && at >= 0) {
                        l->transport->ops->attach(l->transport, (uint32_t)at, q);
                }
        }
}

/* A queue that was moved to another transport, or away from all, is told to the one that had it. */
static void detach_queues(struct node *n)
{
        for (uint32_t l = 0; l < n->relay.n; l++) {
                struct relay_line *line = &n->relay.lines[l];
                for (uint32_t i = 0; i < engine_queues(n->engine); i++) {
                        if (!str_eq(engine_queue_transport(n->engine, i), line->name)) {
                                line->transport->ops->consume(line->transport, i, 0);
                        }
                }
        }
}

static bool is_used(const struct config *c, struct str transport)
{
        for (uint32_t i = 0; i < c->n_queues; i++) {
                if (str_eq(c->queues[i].transport, transport)) {
                        return true;
                }
        }
        return false;
}

int relay_configure(struct node *n, const struct config *c, char *note, size_t note_size)
{
        for (uint32_t i = 0; i < c->n_transports; i++) {
                const struct transport_config *t = &c->transports[i];
                bool wanted = is_used(c, t->name) && !line_named(&n->relay, t->name);
                int r = wanted ? open_line(n, c, t, note, note_size) : 0;
                if (r != 0) {
                        return r;
                }
        }
        detach_queues(n);
        attach_queues(n, c);
        return 0;
}

void relay_close(struct node *n)
{
        for (uint32_t i = 0; i < n->relay.n; i++) {
                struct relay_line *l = &n->relay.lines[i];
                l->transport->ops->close(l->transport);
                free((char *)l->name.p);
        }
        free(n->relay.lines);
        n->relay = (struct relay){0};
}

/* --- from the transports ---------------------------------------------------------------------- */

static void log_news(struct node *n, const struct relay_line *l, int level, const char *what,
                     const char *text)
{
        const char *fields[] = {"transport", l->name.p, NULL};
        log_line(n->log, level, fields, "%s%s%s", what, *what && *text ? ": " : "", text);
}

/* Transports number their connections each for itself. */
static uint64_t unique(const struct node *n, const struct relay_line *l, uint64_t connection)
{
        return (uint64_t)(l - n->relay.lines + 1) << 48 | connection;
}

static void tell_change(struct node *n, const struct relay_line *l, enum transport_change change,
                        const struct transport_news *news)
{
        struct engine_event ev = {.kind = EV_TRANSPORT};
        ev.transport.change = change;
        ev.transport.name = l->name;
        ev.transport.connection = unique(n, l, news->connection);
        ev.transport.queue = news->queue;
        ev.transport.history = str_of(news->text);
        ev.transport.floor = news->floor;
        node_step(n, &ev);
}

static void take_down(struct node *n, struct relay_line *l, const struct transport_news *news)
{
        if (l->up || strcmp(l->text, news->text) != 0) { /* said once, not at every try */
                log_news(n, l, LOG_WARN_, "the transport is down", news->text);
        }
        l->up = false;
        snprintf(l->text, sizeof l->text, "%s", news->text);
        tell_change(n, l, CHANGE_DOWN, news);
}

static void take_news(struct node *n, struct relay_line *l, const struct transport_news *news)
{
        switch (news->kind) {
        case TRANSPORT_UP:
                log_news(n, l, LOG_INFO_, "the transport is up", news->text);
                l->up = true;
                l->ups++;
                l->text[0] = 0;
                tell_change(n, l, CHANGE_UP, news);
                break;
        case TRANSPORT_DOWN: take_down(n, l, news); break;
        case TRANSPORT_NOTE: log_news(n, l, news->level, "", news->text); break;
        case TRANSPORT_LOST: tell_change(n, l, CHANGE_LOST, news); break;
        case TRANSPORT_EMPTY: tell_change(n, l, CHANGE_EMPTY, news); break;
        case TRANSPORT_FLOOR: tell_change(n, l, CHANGE_FLOOR, news); break;
        case TRANSPORT_DEAF:
                l->deaf++;
                log_news(n, l, LOG_WARN_, "messages wait and none came", news->text);
                break;
        }
}

static void take_confirmed(struct node *n, struct relay_line *l, struct receipt *list)
{
        if (list) {
                node_step(n, &(struct engine_event){.kind = EV_ACKNOWLEDGED, .receipts = list});
        }
        while (list) {
                struct receipt *next = list->next;
                l->transport->ops->receipt_free(list);
                list = next;
        }
}

static void take_line(struct node *n, struct relay_line *l)
{
        struct transport_answers got = {0};
        l->transport->ops->dispatch(l->transport, node_now().mono_ns, &got);
        take_confirmed(n, l, got.confirmed); /* the news may be of its connection's end */
        while (got.news) {
                struct transport_news *next = got.news->next;
                take_news(n, l, got.news);
                free(got.news);
                got.news = next;
        }
        for (struct arrivals *a = got.arrivals; a; a = a->next) {
                a->connection = unique(n, l, a->connection);
                if (a->receipt) {
                        a->receipt->carrier = l->transport;
                }
        }
        if (got.arrivals) {
                node_step(n, &(struct engine_event){.kind = EV_ARRIVALS, .arrivals = got.arrivals});
        }
        if (got.bells) {
                node_step(n, &(struct engine_event){.kind = EV_RUNG, .bells = got.bells});
        }
        if (got.replies) {
                node_step(n, &(struct engine_event){.kind = EV_REPLIED, .replies = got.replies});
        }
}

void relay_take(struct node *n)
{
        for (uint32_t i = 0; i < n->relay.n && !n->broken; i++) {
                take_line(n, &n->relay.lines[i]);
        }
}

/* --- to the transports ------------------------------------------------------------------------ */

static struct transport *transport_of(const struct node *n, uint32_t queue)
{
        struct relay_line *l =
            line_named((struct relay *)&n->relay, engine_queue_transport(n->engine, queue));
        return l ? l->transport : NULL;
}

static void ring(struct node *n, struct doorbells *bells)
{
        struct transport *t = transport_of(n, bells->queue);
        if (t) {
                t->ops->ring(t, bells);
        } else {
                doorbells_free(bells); /* they stay in the outbox */
        }
}

static void reply(struct node *n, const struct engine_action *a)
{
        const struct relay_line *l = line_named(&n->relay, a->transport);
        if (l && l->transport->ops->reply) {
                l->transport->ops->reply(l->transport, a->replies);
        } else {
                replies_free(a->replies); /* they stay in the ledger */
        }
}

static void tell_floor(struct node *n, const struct engine_action *a)
{
        const struct relay_line *l = line_named(&n->relay, a->transport);
        if (l && l->transport->ops->floor) {
                l->transport->ops->floor(l->transport, a->text, a->floor);
        }
}

void relay_carry(struct node *n, const struct engine_action *a)
{
        struct transport *t;
        switch (a->kind) {
        case ACT_CONSUME:
                t = transport_of(n, a->queue);
                if (t) {
                        t->ops->consume(t, a->queue, a->n);
                }
                break;
        case ACT_SETTLE:
                t = a->receipt->carrier;
                t->ops->settle(t, a->receipt);
                break;
        case ACT_DROP:
                t = a->receipt->carrier;
                t->ops->receipt_free(a->receipt);
                break;
        case ACT_FLOOR: tell_floor(n, a); break;
        case ACT_REPLY: reply(n, a); break;
        default: ring(n, a->bells); break;
        }
}

uint32_t relay_pollfds(const struct node *n, struct pollfd *fds, uint32_t max)
{
        uint32_t count = 0;
        for (uint32_t i = 0; i < n->relay.n; i++) {
                struct transport *t = n->relay.lines[i].transport;
                count += t->ops->pollfds(t, fds + count, max - count);
        }
        return count;
}

int64_t relay_deadline_ns(const struct node *n)
{
        int64_t at = INT64_MAX;
        for (uint32_t i = 0; i < n->relay.n; i++) {
                struct transport *t = n->relay.lines[i].transport;
                int64_t one = t->ops->deadline_ns(t);
                at = one < at ? one : at;
        }
        return at;
}
