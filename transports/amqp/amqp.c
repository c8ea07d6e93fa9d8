/*
 * The seam: copies what the engine says into the threads' inboxes and hands back what lies on the
 * desk. Never blocks but for a mutex that is held for a few assignments.
 *
 * The whole is counted: the engine, each thread and each receipt hold a reference, so that a
 * receipt may be freed after close(), and a thread that hangs in a name look-up longer than close()
 * may take is left behind and frees the rest when it comes back.
 */
#include "transports/amqp/internal.h"
#include "transports/desk/thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_BYTES                                                                                \
        (64u << 20) /* the library walks nested tables by recursion: 128 KiB of them               \
                     */
#define CLOSE_LIMIT_NS (4500 * NS_PER_MS)
#define UNROUTED_ROOM  16 /* until the engine asks for more or less */

uint32_t queue_slot(uint32_t queue)
{
        if (queue == TRANSPORT_UNROUTED) {
                return UNROUTED_SLOT;
        }
        return queue < UNROUTED_SLOT ? queue : UINT32_MAX;
}

void route_declared(struct rabbit *r, uint32_t slot, bool anew)
{
        int64_t now = clock_ns();
        pthread_mutex_lock(&r->routes.mutex);
        struct route *route = &r->routes.of[slot];
        if (anew || !route->trusted_ns) {
                route->trusted_ns = anew ? now + TRUST_AFTER_NS : now;
        }
        pthread_mutex_unlock(&r->routes.mutex);
        desk_wake(r->publisher.wake_fd);
}

/* --- receipts --------------------------------------------------------------------------------- */

struct receipt *receipt_make(struct rabbit *r, uint64_t connection, uint64_t last_tag)
{
        struct rabbit_receipt *receipt = calloc(1, sizeof *receipt);
        if (!receipt) {
                return NULL;
        }
        atomic_fetch_add(&r->refs, 1);
        receipt->rabbit = r;
        receipt->connection = connection;
        receipt->last_tag = last_tag;
        return &receipt->base;
}

struct receipt *receipt_drop(struct receipt *base)
{
        struct rabbit_receipt *r = (struct rabbit_receipt *)base;
        if (r) {
                rabbit_unref(r->rabbit);
                free(r);
        }
        return NULL;
}

/* False: nobody is there any more. */
static bool give_receipt(struct rabbit_receipt *r)
{
        struct consumer *c = &r->rabbit->consumer;
        pthread_mutex_lock(&c->inbox.mutex);
        bool there = c->started && !c->inbox.stop;
        if (there) {
                r->base.next = NULL;
                *c->inbox.receipts_tail = r;
                c->inbox.receipts_tail = (struct rabbit_receipt **)&r->base.next;
                desk_wake(c->wake_fd);
        }
        pthread_mutex_unlock(&c->inbox.mutex);
        return there;
}

static void settle_amqp(struct transport *t, struct receipt *base)
{
        struct rabbit_receipt *r = (struct rabbit_receipt *)base;
        (void)t;
        r->settled = true;
        if (!give_receipt(r)) {
                receipt_drop(base);
        }
}

static struct receipt *free_receipt(struct receipt *base)
{
        struct rabbit_receipt *r = (struct rabbit_receipt *)base;
        if (r && (r->spent || !give_receipt(r))) {
                receipt_drop(base);
        }
        return NULL;
}

/* --- queues ----------------------------------------------------------------------------------- */

/* `a.>` is one token or more behind a; AMQP's # may be none. */
static const char *binding_key(struct arena *a, struct str pattern)
{
        if (pattern.n && pattern.p[pattern.n - 1] == '>') {
                return arena_printf(a, "%.*s*.#", (int)pattern.n - 1, pattern.p).p;
        }
        return arena_str(a, pattern).p;
}

static bool copy_keys(struct order *o, const struct queue_config *q)
{
        uint32_t n = q->n_types ? q->n_types : 1;
        o->keys = arena_alloc(&o->arena, n * sizeof *o->keys);
        for (uint32_t i = 0; o->keys && i < n; i++) {
                o->keys[i] = q->n_types ? binding_key(&o->arena, q->types[i]) : o->name;
                if (!o->keys[i]) {
                        return false;
                }
                o->n_keys++;
        }
        return o->keys != NULL;
}

static void order_free_p(struct order **o)
{
        if (*o) {
                arena_deinit(&(*o)->arena);
                free(*o);
        }
}

static struct order *make_order(struct rabbit *r, uint32_t queue, const struct queue_config *q)
{
        CLEANUP(order_free_p)
        struct order *o = calloc(1, sizeof *o);
        if (!o) {
                return NULL;
        }
        struct str name = arena_str(&o->arena, q->name);
        struct str type = arena_str(&o->arena, q->default_type);
        o->queue = queue;
        o->slot = queue_slot(queue);
        o->name = name.p;
        bool unrouted = queue == TRANSPORT_UNROUTED;
        o->defaults = (struct envelope_defaults){.queue = unrouted ? (struct str){"", 0} : name,
                                                 .default_type = type,
                                                 .priority = (uint8_t)q->priority,
                                                 .payload_max = r->settings.payload_max};
        return name.p && type.p && copy_keys(o, q) ? STEAL(o) : NULL;
}

/* The name of a route is kept for good: the publisher may be using it. */
static bool set_route(struct rabbit *r, uint32_t slot, const char *name)
{
        pthread_mutex_lock(&r->routes.mutex);
        struct route *route = &r->routes.of[slot];
        if (!route->name) {
                route->name = strdup(name);
        }
        bool ok = route->name != NULL;
        pthread_mutex_unlock(&r->routes.mutex);
        return ok;
}

static void attach_amqp(struct transport *base, uint32_t queue, const struct queue_config *q)
{
        struct rabbit *r = (struct rabbit *)base;
        struct consumer *c = &r->consumer;
        struct order *o = queue_slot(queue) != UINT32_MAX ? make_order(r, queue, q) : NULL;
        if (!o || !set_route(r, o->slot, o->name)) {
                desk_note(&r->desk, LEVEL_ERROR, "queue %.*s: %s; it is not served", (int)q->name.n,
                          q->name.p,
                          queue_slot(queue) == UINT32_MAX ? "too many queues" : "out of memory");
                order_free_p(&o);
                return;
        }
        pthread_mutex_lock(&c->inbox.mutex);
        o->next = NULL;
        *c->inbox.orders_tail = o;
        c->inbox.orders_tail = &o->next;
        c->inbox.rooms_changed = true;
        pthread_mutex_unlock(&c->inbox.mutex);
        desk_wake(c->wake_fd);
}

/* The thread is woken for what it would act upon; the rest it finds when it wakes. */
static void consume_amqp(struct transport *base, uint32_t queue, uint32_t room)
{
        struct consumer *c = &((struct rabbit *)base)->consumer;
        uint32_t slot = queue_slot(queue);
        if (slot == UINT32_MAX) {
                return;
        }
        pthread_mutex_lock(&c->inbox.mutex);
        uint32_t before = c->inbox.woken_for[slot];
        uint32_t a = flow_rung(before), b = flow_rung(room);
        bool wake = (room == 0) != (before == 0) || b > a || a - b >= 2;
        c->inbox.rooms[slot] = room;
        c->inbox.rooms_changed = true;
        if (wake) {
                c->inbox.woken_for[slot] = room;
        }
        pthread_mutex_unlock(&c->inbox.mutex);
        if (wake) {
                desk_wake(c->wake_fd);
        }
}

/* --- publishing ------------------------------------------------------------------------------- */

static void ring_amqp(struct transport *base, struct doorbells *bells)
{
        struct rabbit *r = (struct rabbit *)base;
        struct publisher *p = &r->publisher;
        if (!desk_up(&r->desk)) {
                desk_bells(&r->desk, bells, false); /* the thread may be busy connecting */
                return;
        }
        pthread_mutex_lock(&p->inbox.mutex);
        bells->next = NULL;
        *p->inbox.bells_tail = bells;
        p->inbox.bells_tail = &bells->next;
        pthread_mutex_unlock(&p->inbox.mutex);
        desk_wake(p->wake_fd);
}

static void reply_amqp(struct transport *base, struct replies *replies)
{
        struct rabbit *r = (struct rabbit *)base;
        struct publisher *p = &r->publisher;
        if (!desk_up(&r->desk)) {
                desk_replies(&r->desk, replies, false);
                return;
        }
        pthread_mutex_lock(&p->inbox.mutex);
        replies->next = NULL;
        *p->inbox.replies_tail = replies;
        p->inbox.replies_tail = &replies->next;
        pthread_mutex_unlock(&p->inbox.mutex);
        desk_wake(p->wake_fd);
}

void rabbit_publish_oversize(struct rabbit *r, struct oversize *o)
{
        struct publisher *p = &r->publisher;
        pthread_mutex_lock(&p->inbox.mutex);
        bool there = !p->inbox.stop;
        if (there) {
                o->next = NULL;
                *p->inbox.oversizes_tail = o;
                p->inbox.oversizes_tail = &o->next;
        }
        pthread_mutex_unlock(&p->inbox.mutex);
        if (there) {
                desk_wake(p->wake_fd);
        } else {
                oversize_free(o);
        }
}

void rabbit_answer_oversize(struct rabbit *r, struct oversize *o)
{
        struct consumer *c = &r->consumer;
        pthread_mutex_lock(&c->inbox.mutex);
        bool there = !c->inbox.stop;
        if (there) {
                o->next = NULL;
                *c->inbox.answered_tail = o;
                c->inbox.answered_tail = &o->next;
        }
        pthread_mutex_unlock(&c->inbox.mutex);
        if (there) {
                desk_wake(c->wake_fd);
        } else {
                oversize_free(o);
        }
}

/* --- the engine's poll ------------------------------------------------------------------------ */

/* The consumer begins with the engine's loop: UP then holds for all that was attached before. */
static void begin_loop(struct rabbit *r)
{
        if (!atomic_load(&r->polled)) {
                atomic_store(&r->polled, true);
                desk_wake(r->consumer.wake_fd);
        }
}

static uint32_t pollfds_amqp(struct transport *base, struct pollfd *fds, uint32_t max)
{
        begin_loop((struct rabbit *)base);
        if (max < 1) {
                return 0;
        }
        fds[0] = (struct pollfd){.fd = ((struct rabbit *)base)->desk.event_fd, .events = POLLIN};
        return 1;
}

static int64_t deadline_amqp(struct transport *base)
{
        (void)base;
        return INT64_MAX; /* the eventfd tells all */
}

static void dispatch_amqp(struct transport *base, int64_t now_ns, struct transport_answers *ret)
{
        (void)now_ns;
        begin_loop((struct rabbit *)base);
        desk_take(&((struct rabbit *)base)->desk, ret);
}

/* --- life ------------------------------------------------------------------------------------- */

struct rabbit *rabbit_unref(struct rabbit *r)
{
        if (!r || atomic_fetch_sub(&r->refs, 1) != 1) {
                return NULL;
        }
        desk_deinit(&r->desk);
        for (uint32_t i = 0; i < ARRAY_LEN(r->routes.of); i++) {
                free(r->routes.of[i].name);
        }
        pthread_mutex_destroy(&r->routes.mutex);
        pthread_mutex_destroy(&r->consumer.inbox.mutex);
        pthread_mutex_destroy(&r->publisher.inbox.mutex);
        if (r->consumer.wake_fd >= 0) {
                close(r->consumer.wake_fd);
        }
        if (r->publisher.wake_fd >= 0) {
                close(r->publisher.wake_fd);
        }
        if (r->settings.password) {
                explicit_bzero((char *)r->settings.password, strlen(r->settings.password));
        }
        arena_deinit(&r->settings.arena);
        free(r);
        return NULL;
}

static struct transport *close_amqp(struct transport *base)
{
        struct rabbit *r = (struct rabbit *)base;
        if (!r) {
                return NULL;
        }
        int64_t until = clock_ns() + CLOSE_LIMIT_NS;
        thread_stop(&r->consumer.inbox.mutex, &r->consumer.inbox.stop, r->consumer.wake_fd);
        thread_stop(&r->publisher.inbox.mutex, &r->publisher.inbox.stop, r->publisher.wake_fd);
        thread_join(r->consumer.thread, r->consumer.started, until);
        thread_join(r->publisher.thread, r->publisher.started, until);
        desk_drain(&r->desk); /* its receipts hold references */
        rabbit_unref(r);
        return NULL;
}

static const struct transport_ops amqp_ops = {
    .scheme = "amqp",
    .attach = attach_amqp,
    .consume = consume_amqp,
    .settle = settle_amqp,
    .receipt_free = free_receipt,
    .ring = ring_amqp,
    .reply = reply_amqp,
    .pollfds = pollfds_amqp,
    .deadline_ns = deadline_amqp,
    .dispatch = dispatch_amqp,
    .close = close_amqp,
};

static struct rabbit *make_rabbit(void)
{
        struct rabbit *r = calloc(1, sizeof *r);
        if (!r) {
                return NULL;
        }
        struct consumer *c = &r->consumer;
        struct publisher *p = &r->publisher;
        r->base.ops = &amqp_ops;
        atomic_init(&r->refs, 1);
        atomic_init(&r->polled, false);
        c->rabbit = p->rabbit = r;
        c->wire.fd = p->wire.fd = -1;
        c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        c->inbox.receipts_tail = &c->inbox.receipts;
        c->inbox.answered_tail = &c->inbox.answered;
        c->inbox.orders_tail = &c->inbox.orders;
        p->inbox.bells_tail = &p->inbox.bells;
        p->inbox.replies_tail = &p->inbox.replies;
        p->inbox.oversizes_tail = &p->inbox.oversizes;
        p->flights_tail = &p->flights;
        pthread_mutex_init(&r->routes.mutex, NULL);
        pthread_mutex_init(&c->inbox.mutex, NULL);
        pthread_mutex_init(&p->inbox.mutex, NULL);
        bool ok =
            desk_init(&r->desk, SIDES, receipt_drop) == 0 && c->wake_fd >= 0 && p->wake_fd >= 0;
        return ok ? r : rabbit_unref(r);
}

/* Signals are the main thread's. */
static int start(struct rabbit *r, pthread_t *thread, void *(*run)(void *), void *arg,
                 bool *started)
{
        sigset_t all, before;
        pthread_attr_t attr;
        sigfillset(&all);
        pthread_attr_init(&attr);
        (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
        atomic_fetch_add(&r->refs, 1);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        *started = true;
        int e = pthread_create(thread, &attr, run, arg);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        if (e) {
                *started = false;
                atomic_fetch_sub(&r->refs, 1);
        }
        return -e;
}

static int begin(struct rabbit *r)
{
        struct queue_config unrouted = {.name = str_of(r->settings.unrouted), .priority = 5};
        struct transport *base = &r->base;
        if (!set_route(r, ROUTE_REFUSED, r->settings.refused)) {
                return -ENOMEM;
        }
        unrouted.retry = RETRY_POLICY_DEFAULT;
        attach_amqp(base, TRANSPORT_UNROUTED, &unrouted);
        consume_amqp(base, TRANSPORT_UNROUTED, UNROUTED_ROOM);
        int e = start(r, &r->consumer.thread, consumer_run, &r->consumer, &r->consumer.started);
        return e ? e
                 : start(r, &r->publisher.thread, publisher_run, &r->publisher,
                         &r->publisher.started);
}

int amqp_open(const struct amqp_options *o, struct transport **ret, char *note, size_t note_size)
{
        struct rabbit *r = make_rabbit();
        if (!r) {
                snprintf(note, note_size, "out of memory or descriptors");
                return -ENOMEM;
        }
        int e = settings_init(&r->settings, o, note, note_size);
        if (e == 0) {
                e = begin(r);
                if (e < 0) {
                        snprintf(note, note_size, "cannot start a thread: %s", strerror(-e));
                }
        }
        if (e) {
                close_amqp(&r->base);
                return e;
        }
        *ret = &r->base;
        return 0;
}
