/*
 * The AMQP transport over a real RabbitMQ, which is told by two variables of the environment:
 * SKEP_TEST_AMQP, its URL, and SKEP_TEST_SERVERS_CONTROL, a command that moves it
 * (tests/servers.py). The broker is restarted, killed and wiped, so it must be nobody else's.
 *
 * The transports reach it through a proxy that can cut, refuse and swallow; the fixture itself has
 * a connection past it. Each store has an exchange and queues of its own.
 */
#include "tests/conformance/amqp_ear.h"
#include "tests/conformance/amqp_proxy.h"
#include "tests/conformance/transport_fixture.h"
#include "transports/amqp/amqp.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define QUEUES_MAX  8
#define NAME_SIZE   128
#define PATIENCE_MS 60000
#define LISTEN_MS   10000
#define CHANNEL     1
#define PUBLISHER   2 /* the channel with confirms */

struct store {
        struct proxy *proxy;
        amqp_connection_state_t c; /* NULL: not connected */
        char exchange[64], refused[NAME_SIZE], unrouted[NAME_SIZE], spool[64];
        struct {
                char name[16], of_broker[NAME_SIZE];
        } queues[QUEUES_MAX];
        uint32_t n_queues;
        struct amqp_ear *ear;
};

/* What a case that failed may leave behind; the next one begins by mending it. */
static bool blocked, stopped;

static void fail(const char *doing, const char *why)
{
        fprintf(stderr, "amqp: %s: %s\n", doing, why);
        exit(1);
}

/* --- the broker ------------------------------------------------------------------------------- */

static const char *url(void)
{
        return getenv("SKEP_TEST_AMQP");
}

static void read_url(struct amqp_connection_info *ret)
{
        static char text[512];
        snprintf(text, sizeof text, "%s", url());
        if (amqp_parse_url(text, ret) != AMQP_STATUS_OK) {
                fail(url(), "not a URL");
        }
}

static void control(const char *words)
{
        char command[1024];
        snprintf(command, sizeof command, "%s %s >/dev/null", getenv("SKEP_TEST_SERVERS_CONTROL"),
                 words);
        if (system(command) != 0) {
                fail(command, "failed");
        }
}

static void unblock(void)
{
        control("eval 'rabbit_alarm:clear_alarm({resource_limit, memory, node()}).'");
}

static bool able(void)
{
        if (!url() || !getenv("SKEP_TEST_SERVERS_CONTROL")) {
                fprintf(stderr,
                        "amqp: SKEP_TEST_AMQP (the URL of a RabbitMQ that may be killed and "
                        "wiped) and SKEP_TEST_SERVERS_CONTROL (the command that does it) "
                        "must be set; tests/servers.py env prints both\n");
                return false;
        }
        unblock(); /* an earlier run may have been ended while it was */
        return true;
}

static bool good(amqp_rpc_reply_t r)
{
        return r.reply_type == AMQP_RESPONSE_NORMAL;
}

static void hang_up(struct store *s)
{
        if (s->c) {
                amqp_destroy_connection(s->c);
                s->c = NULL;
        }
}

static bool try_connect(struct store *s)
{
        struct amqp_connection_info info;
        struct timeval limit = {.tv_sec = 10};
        read_url(&info);
        s->c = amqp_new_connection();
        amqp_socket_t *socket = amqp_tcp_socket_new(s->c);
        bool well =
            socket && amqp_set_handshake_timeout(s->c, &limit) == AMQP_STATUS_OK &&
            amqp_socket_open_noblock(socket, info.host, info.port, &limit) == AMQP_STATUS_OK &&
            good(amqp_login(s->c, info.vhost, 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN,
                            info.user, info.password)) &&
            amqp_channel_open(s->c, PUBLISHER) && amqp_confirm_select(s->c, PUBLISHER);
        if (!well) {
                hang_up(s);
        }
        return well;
}

static void connect_broker(struct store *s)
{
        for (int waited = 0; !s->c && !try_connect(s); waited += 100) {
                if (waited > PATIENCE_MS) {
                        fail(url(), "no answer");
                }
                (void)poll(NULL, 0, 100);
        }
}

/* A channel for one thing: what the broker refuses closes it. */
static void begin(struct store *s)
{
        connect_broker(s);
        if (!amqp_channel_open(s->c, CHANNEL)) {
                hang_up(s);
                connect_broker(s);
                if (!amqp_channel_open(s->c, CHANNEL)) {
                        fail("a channel", "refused");
                }
        }
}

static void end(struct store *s)
{
        if (good(amqp_get_rpc_reply(s->c))) {
                amqp_channel_close(s->c, CHANNEL, AMQP_REPLY_SUCCESS);
        } else {
                hang_up(s);
        }
}

static amqp_bytes_t bytes(struct str s)
{
        return (amqp_bytes_t){s.n, (char *)s.p};
}

static void block(void *store, bool on)
{
        (void)store;
        if (on) {
                control("eval 'rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).'");
        } else {
                unblock();
        }
        blocked = on;
}

static void mend(void)
{
        if (stopped) {
                control("start rabbitmq");
                stopped = false;
        }
        if (blocked) {
                block(NULL, false);
        }
}

/* --- life ------------------------------------------------------------------------------------- */

static void *setup(void)
{
        static unsigned count;
        struct amqp_connection_info info;
        struct store *s = calloc(1, sizeof *s);
        if (!s) {
                fail("setup", "out of memory");
        }
        mend();
        read_url(&info);
        snprintf(s->exchange, sizeof s->exchange, "conform-%ld-%u", (long)getpid(), ++count);
        snprintf(s->refused, sizeof s->refused, "%s.refused", s->exchange);
        snprintf(s->unrouted, sizeof s->unrouted, "%s.unrouted", s->exchange);
        snprintf(s->spool, sizeof s->spool, "/tmp/skep-conform-XXXXXX");
        s->proxy = amqp_proxy_new(info.port);
        if (!s->proxy || !mkdtemp(s->spool)) {
                fail("setup", strerror(errno));
        }
        connect_broker(s);
        return s;
}

static void delete_named(struct store *s, struct str queue)
{
        begin(s);
        amqp_queue_delete(s->c, CHANNEL, bytes(queue), 0, 0);
        end(s);
}

static void teardown(void *store)
{
        struct store *s = store;
        mend();
        for (uint32_t i = 0; i < s->n_queues; i++) {
                delete_named(s, str_of(s->queues[i].of_broker));
        }
        delete_named(s, str_of(s->refused));
        delete_named(s, str_of(s->unrouted));
        begin(s);
        amqp_exchange_delete(s->c, CHANNEL, amqp_cstring_bytes(s->exchange), 0);
        amqp_exchange_delete(s->c, CHANNEL, amqp_cstring_bytes(s->unrouted), 0);
        end(s);
        amqp_ear_free(s->ear);
        hang_up(s);
        proxy_free(s->proxy);
        (void)rmdir(s->spool);
        free(s);
}

static int open_transport(void *store, struct transport **ret_transport, char *note,
                          size_t note_size)
{
        struct store *s = store;
        struct amqp_connection_info info;
        char through[256];
        read_url(&info);
        snprintf(through, sizeof through, "amqp://%s:%s@127.0.0.1:%d/%s", info.user, info.password,
                 proxy_port(s->proxy), strcmp(info.vhost, "/") == 0 ? "" : info.vhost);
        struct transport_config config = {
            .name = STR("rabbit"), .url = str_of(through), .exchange = str_of(s->exchange)};
        struct amqp_options o = {.config = &config,
                                 .payload_max = FIXTURE_PAYLOAD_MAX,
                                 .spool_dir = s->spool,
                                 .application = "conformance-transport"};
        int r = amqp_open(&o, ret_transport, note, note_size);
        return r > 0 ? -EINVAL : r;
}

static struct str queue_name(void *store, const char *name)
{
        struct store *s = store;
        for (uint32_t i = 0; i < s->n_queues; i++) {
                if (strcmp(s->queues[i].name, name) == 0) {
                        return str_of(s->queues[i].of_broker);
                }
        }
        if (s->n_queues == QUEUES_MAX) {
                fail(name, "too many queues");
        }
        uint32_t i = s->n_queues++;
        snprintf(s->queues[i].name, sizeof s->queues[i].name, "%s", name);
        snprintf(s->queues[i].of_broker, NAME_SIZE, "%s-%s", s->exchange, name);
        return str_of(s->queues[i].of_broker);
}

static struct str refused(void *store)
{
        return str_of(((struct store *)store)->refused);
}

/* --- time ------------------------------------------------------------------------------------- */

static int64_t now_ns(void *store)
{
        struct timespec ts;
        (void)store;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void wait_for(void *store, struct transport *const *ts, uint32_t n, int64_t at_most_ns)
{
        struct pollfd fds[32];
        uint32_t n_fds = 0;
        int64_t until = now_ns(store) + at_most_ns;
        for (uint32_t i = 0; i < n; i++) {
                int64_t deadline = ts[i]->ops->deadline_ns(ts[i]);
                until = deadline < until ? deadline : until;
                n_fds += ts[i]->ops->pollfds(ts[i], fds + n_fds, (uint32_t)ARRAY_LEN(fds) - n_fds);
        }
        int64_t left = until - now_ns(store);
        (void)poll(fds, n_fds, left <= 0 ? 0 : (int)((left + NS_PER_MS - 1) / NS_PER_MS));
}

/* --- publishing ------------------------------------------------------------------------------- */

static void set_text(amqp_basic_properties_t *p, amqp_flags_t flag, amqp_bytes_t *field,
                     struct str s)
{
        if (s.p) {
                p->_flags |= flag;
                *field = bytes(s);
        }
}

static void set_headers(amqp_basic_properties_t *p, amqp_table_entry_t *entries,
                        const struct envelope *e)
{
        for (uint32_t i = 0; i < e->n_headers; i++) {
                entries[i].key = bytes(e->headers[i].name);
                entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
                entries[i].value.value.bytes = bytes(e->headers[i].value);
        }
        p->headers.num_entries = (int)e->n_headers;
        p->headers.entries = entries;
        p->_flags |= e->n_headers ? AMQP_BASIC_HEADERS_FLAG : 0;
}

static bool send_letter(struct store *s, struct str queue, const struct envelope *e)
{
        amqp_basic_properties_t p = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
        amqp_table_entry_t entries[ENVELOPE_HEADERS_MAX];
        set_text(&p, AMQP_BASIC_TYPE_FLAG, &p.type, e->type);
        set_text(&p, AMQP_BASIC_MESSAGE_ID_FLAG, &p.message_id, e->message_id);
        set_text(&p, AMQP_BASIC_CONTENT_TYPE_FLAG, &p.content_type, e->content_type);
        set_text(&p, AMQP_BASIC_CONTENT_ENCODING_FLAG, &p.content_encoding, e->content_encoding);
        set_text(&p, AMQP_BASIC_REPLY_TO_FLAG, &p.reply_to, e->reply_to);
        set_text(&p, AMQP_BASIC_CORRELATION_ID_FLAG, &p.correlation_id, e->correlation_id);
        set_text(&p, AMQP_BASIC_APP_ID_FLAG, &p.app_id, e->app_id);
        set_text(&p, AMQP_BASIC_USER_ID_FLAG, &p.user_id, e->user_id);
        set_text(&p, AMQP_BASIC_EXPIRATION_FLAG, &p.expiration, e->expiration);
        if (e->priority >= 0) {
                p._flags |= AMQP_BASIC_PRIORITY_FLAG;
                p.priority = (uint8_t)e->priority;
        }
        if (e->timestamp_s) {
                p._flags |= AMQP_BASIC_TIMESTAMP_FLAG;
                p.timestamp = (uint64_t)e->timestamp_s;
        }
        set_headers(&p, entries, e);
        amqp_bytes_t exchange = queue.n ? amqp_empty_bytes : amqp_cstring_bytes(s->exchange);
        return amqp_basic_publish(s->c, PUBLISHER, exchange, bytes(queue.n ? queue : e->address), 1,
                                  0, &p, bytes(e->body)) == AMQP_STATUS_OK;
}

/* Confirms of letters that went to several queues come in any order. */
struct confirms {
        bool *done; /* by delivery tag */
        uint64_t n, missing;
};

static void confirm(struct confirms *c, uint64_t tag)
{
        if (tag <= c->n && !c->done[tag]) {
                c->done[tag] = true;
                c->missing--;
        }
}

/* One frame of the confirming channel. False: the connection is gone, or a letter was refused. */
static bool take_confirm(struct store *s, struct confirms *c)
{
        amqp_frame_t f;
        struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
        if (amqp_simple_wait_frame_noblock(s->c, &f, &limit) != AMQP_STATUS_OK) {
                return false;
        }
        if (f.frame_type != AMQP_FRAME_METHOD) {
                return true;
        }
        if (f.payload.method.id != AMQP_BASIC_ACK_METHOD) {
                fprintf(stderr, "amqp: %s instead of a confirm\n",
                        amqp_method_name(f.payload.method.id));
                return false;
        }
        const amqp_basic_ack_t *ack = f.payload.method.decoded;
        for (uint64_t tag = ack->multiple ? 1 : ack->delivery_tag; tag <= ack->delivery_tag;
             tag++) {
                confirm(c, tag);
        }
        return true;
}

static bool await_confirms(struct store *s, uint64_t n)
{
        struct confirms c = {calloc(n + 1, sizeof(bool)), n, n};
        bool taken = c.done != NULL;
        while (taken && c.missing) {
                taken = take_confirm(s, &c);
        }
        free(c.done);
        return taken;
}

/* The channel is opened anew for each call, so that its tags count from 1. */
static bool publish(void *store, struct str queue, const struct envelope *letters, uint32_t n)
{
        struct store *s = store;
        hang_up(s);
        connect_broker(s);
        for (uint32_t i = 0; i < n; i++) {
                if (!send_letter(s, queue, &letters[i])) {
                        fprintf(stderr, "amqp: letter %u of %u could not be sent\n", i, n);
                        return false;
                }
        }
        if (!await_confirms(s, n)) {
                fprintf(stderr, "amqp: not all letters were taken\n");
                hang_up(s);
                return false;
        }
        return true;
}

static int64_t ready(void *store, struct str queue)
{
        struct store *s = store;
        begin(s);
        amqp_queue_declare_ok_t *ok =
            amqp_queue_declare(s->c, CHANNEL, bytes(queue), 1, 0, 0, 0, amqp_empty_table);
        int64_t n = ok ? (int64_t)ok->message_count : -1;
        end(s);
        return n;
}

/* --- what can be done to them ----------------------------------------------------------------- */

static void move_broker(void *store, enum broker_move move)
{
        struct store *s = store;
        hang_up(s);
        stopped = move == BROKER_STOP;
        switch (move) {
        case BROKER_RESTART: control("restart rabbitmq"); break;
        case BROKER_STOP: control("stop rabbitmq"); return;
        case BROKER_START: control("start rabbitmq"); break;
        case BROKER_WIPE: control("wipe rabbitmq"); break;
        case BROKER_KILL:
                control("kill rabbitmq");
                control("start rabbitmq");
                break;
        }
        connect_broker(s);
}

static void cut(void *store)
{
        proxy_cut(((struct store *)store)->proxy);
}

static void refuse(void *store, bool on)
{
        proxy_refuse(((struct store *)store)->proxy, on);
}

static void lose(void *store)
{
        proxy_lose(((struct store *)store)->proxy);
}

static void deafen(void *store)
{
        amqp_proxy_deafen(((struct store *)store)->proxy);
}

static void delete_queue(void *store, struct str queue)
{
        delete_named(store, queue);
}

/* Held before it is deleted, so that no declare slips in between. */
static void hide_queue(void *store, struct str queue, bool on)
{
        struct store *s = store;
        amqp_proxy_hold_declare(s->proxy, on ? queue : STR(""));
        if (on) {
                delete_named(s, queue);
        }
}

static struct str start_listening(void *store, bool direct)
{
        struct store *s = store;
        char name[NAME_SIZE];
        snprintf(name, sizeof name, "%s-replies", s->exchange);
        s->ear = amqp_ear_new(url(), direct ? NULL : name);
        return amqp_ear_address(s->ear);
}

static bool heard(void *store, struct fixture_reply *ret_reply)
{
        return amqp_ear_next(((struct store *)store)->ear, LISTEN_MS, ret_reply);
}

const struct transport_fixture fixture_amqp = {
    .name = "amqp",
    .has = NEED_BROKER | NEED_WIPE | NEED_CUT | NEED_LOSE | NEED_BLOCK | NEED_DEAF | NEED_HIDE |
           NEED_PROPERTIES | NEED_DIRECT | NEED_UNROUTED | NEED_SHARE | NEED_KEPT | NEED_EAR |
           NEED_EAR_DIRECT,
    .lacks = "a broker does not tell its clients what others hold unacknowledged",
    .able = able,
    .setup = setup,
    .teardown = teardown,
    .open = open_transport,
    .queue = queue_name,
    .refused = refused,
    .now_ns = now_ns,
    .wait = wait_for,
    .publish = publish,
    .ready = ready,
    .broker = move_broker,
    .cut = cut,
    .refuse = refuse,
    .lose = lose,
    .block = block,
    .deafen = deafen,
    .delete_queue = delete_queue,
    .hide_queue = hide_queue,
    .listen = start_listening,
    .heard = heard,
};
