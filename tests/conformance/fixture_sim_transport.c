/*
 * The simulated broker, in virtual time: it goes by in wait() alone. Everything that the cases do
 * to a broker is one call on its store.
 */
#include "tests/conformance/transport_fixture.h"
#include "tests/sim/sim_transport.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define START_NS (1000 * NS_PER_S)
#define WALL_US  INT64_C(1760000000000000)
#define ADDRESS  "replies"

struct heard {
        struct heard *next;
        struct fixture_reply reply;
        struct arena arena;
};

struct store {
        struct sim_broker broker;
        struct heard *first, **end, *told;
};

static int held; /* owner of what another consumer holds: its address */

static bool able(void)
{
        return true;
}

static void *setup(void)
{
        struct store *s = calloc(1, sizeof *s);
        assert(s);
        s->broker.now_ns = START_NS;
        s->broker.rng = rng_seeded(1, 1);
        s->broker.payload_max = FIXTURE_PAYLOAD_MAX;
        s->broker.faults.latency_min_ns = 50 * 1000;
        s->broker.faults.latency_max_ns = 500 * 1000;
        return s;
}

static struct heard *heard_free(struct heard *h)
{
        if (h) {
                arena_deinit(&h->arena);
                free(h);
        }
        return NULL;
}

static void teardown(void *store)
{
        struct store *s = store;
        heard_free(s->told);
        while (s->first) {
                struct heard *next = s->first->next;
                heard_free(s->first);
                s->first = next;
        }
        sim_broker_deinit(&s->broker);
        free(s);
}

static int open_transport(void *store, struct transport **ret_transport, char *note,
                          size_t note_size)
{
        (void)note;
        (void)note_size;
        struct sim_broker *b = &((struct store *)store)->broker;
        *ret_transport = sim_transport_new(b, b->now_ns, WALL_US);
        return 0;
}

static struct str queue(void *store, const char *name)
{
        (void)store;
        return str_of(name);
}

static struct str refused(void *store)
{
        (void)store;
        return STR("jobs.refused");
}

static int64_t now_ns(void *store)
{
        return ((struct store *)store)->broker.now_ns;
}

static void wait_for(void *store, struct transport *const *ts, uint32_t n, int64_t at_most_ns)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        int64_t at = b->now_ns + at_most_ns;
        for (uint32_t i = 0; i < n; i++) {
                int64_t due = ts[i] ? ts[i]->ops->deadline_ns(ts[i]) : INT64_MAX;
                at = due < at ? due : at;
        }
        b->now_ns = at > b->now_ns ? at : b->now_ns;
        sim_broker_tick(b, b->now_ns);
}

static bool publish(void *store, struct str name, const struct envelope *letters, uint32_t n)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        for (uint32_t i = 0; i < n; i++) {
                struct envelope e = letters[i];
                e.too_large = false;
                if (name.n == 0) {
                        sim_broker_route(b, &e, 1);
                        continue;
                }
                e.address = name;
                if (!sim_broker_publish(b, sim_broker_queue(b, name, false), &e, 1)) {
                        printf("no queue %.*s\n", (int)name.n, name.p);
                        return false;
                }
        }
        return true;
}

static int64_t ready(void *store, struct str name)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        const struct sim_queue *q = sim_broker_queue(b, name, false);
        return q && q->exists ? (int64_t)q->n_ready : -1;
}

static void broker(void *store, enum broker_move move)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        if (move == BROKER_START) {
                sim_broker_start(b);
                return;
        }
        sim_broker_stop(b, true);
        if (move == BROKER_WIPE) {
                for (struct sim_queue *q = b->queues; q; q = q->next) {
                        sim_broker_delete(b, q);
                }
        }
        if (move != BROKER_STOP) {
                sim_broker_start(b);
        }
}

static void cut(void *store)
{
        sim_broker_cut(&((struct store *)store)->broker, true);
}

static void refuse(void *store, bool on)
{
        ((struct store *)store)->broker.refusing = on;
}

static void lose(void *store)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        for (struct sim_transport *t = b->transports; t; t = sim_transport_next(t)) {
                sim_transport_mute(t);
        }
}

static void block(void *store, bool on)
{
        ((struct store *)store)->broker.blocked = on;
}

static void deafen(void *store)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        for (struct sim_transport *t = b->transports; t; t = sim_transport_next(t)) {
                sim_transport_deafen(t);
        }
}

static void delete_queue(void *store, struct str name)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        struct sim_queue *q = sim_broker_queue(b, name, false);
        if (q) {
                sim_broker_delete(b, q);
        }
}

static void hide_queue(void *store, struct str name, bool on)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        delete_queue(store, name);
        struct sim_queue *q = sim_broker_queue(b, name, false);
        if (q) {
                q->hidden = on;
        }
}

static bool hold(void *store, struct str name)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        struct sim_queue *q = sim_broker_queue(b, name, false);
        return q && sim_broker_take(b, q, &held);
}

static void release(void *store, bool acknowledge)
{
        struct sim_broker *b = &((struct store *)store)->broker;
        for (struct sim_message *m = b->messages; m; m = m->older) {
                if (m->fate != MESSAGE_UNACKED || m->owner != &held) {
                        continue;
                }
                if (acknowledge) {
                        sim_broker_ack(b, m);
                } else {
                        sim_broker_put_back(b, m, true);
                }
        }
}

static void note_reply(void *watcher, const struct job_reply *r)
{
        struct store *s = watcher;
        struct heard *h = calloc(1, sizeof *h);
        char id[JOB_ID_TEXT];
        if (!str_eq(r->to, STR(ADDRESS))) {
                free(h);
                return;
        }
        assert(h);
        id_text(&r->job, id);
        struct arena *a = &h->arena;
        h->reply = (struct fixture_reply){
            .correlation_id = arena_str(a, r->correlation_id),
            .content_type = arena_str(a, r->content_type),
            .body = arena_str(a, r->body),
            .id = arena_str(a, str_of(id)),
            .state = str_of(state_name(r->state)),
            .reason = r->reason ? str_of(reason_name(r->reason)) : (struct str){0},
            .error = arena_str(a, r->error_text),
        };
        *s->end = h;
        s->end = &h->next;
}

static struct str start_listening(void *store, bool direct)
{
        struct store *s = store;
        (void)direct;
        s->end = &s->first;
        s->broker.on_reply = note_reply;
        s->broker.watcher = s;
        return STR(ADDRESS);
}

static bool heard(void *store, struct fixture_reply *ret_reply)
{
        struct store *s = store;
        s->told = heard_free(s->told);
        if (!s->first) {
                return false;
        }
        s->told = s->first;
        s->first = s->told->next;
        s->end = s->first ? s->end : &s->first;
        *ret_reply = s->told->reply;
        return true;
}

const struct transport_fixture fixture_sim_transport = {
    .name = "sim",
    .has = NEED_BROKER | NEED_WIPE | NEED_CUT | NEED_LOSE | NEED_BLOCK | NEED_DEAF | NEED_HIDE |
           NEED_HOLD | NEED_PROPERTIES | NEED_DIRECT | NEED_UNROUTED | NEED_SHARE | NEED_KEPT |
           NEED_EAR,
    .lacks = "a simulated broker has one kind of address for replies",
    .able = able,
    .setup = setup,
    .teardown = teardown,
    .open = open_transport,
    .queue = queue,
    .refused = refused,
    .now_ns = now_ns,
    .wait = wait_for,
    .publish = publish,
    .ready = ready,
    .broker = broker,
    .cut = cut,
    .refuse = refuse,
    .lose = lose,
    .block = block,
    .deafen = deafen,
    .delete_queue = delete_queue,
    .hide_queue = hide_queue,
    .hold = hold,
    .release = release,
    .listen = start_listening,
    .heard = heard,
};
