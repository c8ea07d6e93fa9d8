/*
 * The NATS transport over a real nats-server, which is told by two variables of the environment:
 * SKEP_TEST_NATS, its URL, and SKEP_TEST_SERVERS_CONTROL, a command that moves it
 * (tests/servers.py). The server is restarted, killed and wiped, so it must be nobody else's.
 *
 * The transports reach it through a proxy that can cut, refuse and swallow; the fixture itself goes
 * past it. Each store has a stream of its own. A queue is what its consumer sees: deleted, it goes
 * with its messages; hidden, the whole stream, and none is made anew.
 *
 * What waits: the server counts together what clients hold and what it will bring again because
 * the client is gone. Here only the first are taken off. Neither count can be trusted alone, so the
 * smaller one is told: a consumer of 2.9.10 whose client left while a message was on its way counts
 * its newest message twice, and a stream that was killed counts what was acknowledged.
 */
#include "tests/conformance/nats_proxy.h"
#include "tests/conformance/nats_wire.h"
#include "tests/conformance/transport_fixture.h"
#include "transports/nats/nats.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NAME_SIZE   96
#define PATIENCE_MS 60000
#define LETTER_MS   60000 /* a PubAck comes within */
#define LISTEN_MS   10000 /* a reply, if any */
#define HELD        1     /* the number of the pull that holds a message */
#define HELD_MS     2000  /* it asks for more time so often: AckWait is longer */

/* What the test bed attaches: names and patterns. */
static const struct {
        const char *name, *types;
} kinds[] = {{"q", "mail.>"}, {"r", "text.>"}};

struct store {
        struct proxy *proxy;
        struct nats_wire *w; /* NULL: not connected */
        char stream[64], subject[64], refused[NAME_SIZE], queues[ARRAY_LEN(kinds)][NAME_SIZE];
        char held[256],
            held_of[NAME_SIZE]; /* the reply subject of the message it holds, or empty */
        int64_t held_ns;        /* when it last asked for more time */
        struct nats_wire *ear;
        char address[NAME_SIZE];
};

/* What a case that failed may leave behind; the next one begins by mending it. (A blocked stream
 * goes with its store.) */
static bool stopped;

static void fail(const char *doing, const char *why)
{
        fprintf(stderr, "nats: %s: %s\n", doing, why);
        exit(1);
}

/* --- the server ------------------------------------------------------------------------------- */

static const char *url(void)
{
        return getenv("SKEP_TEST_NATS");
}

static int server_port(void)
{
        return (int)strtol(strrchr(url(), ':') + 1, NULL, 10); /* servers.py tells the port */
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

static bool able(void)
{
        if (!url() || !getenv("SKEP_TEST_SERVERS_CONTROL")) {
                fprintf(stderr,
                        "nats: SKEP_TEST_NATS (the URL of a nats-server with JetStream that "
                        "may be killed and wiped) and SKEP_TEST_SERVERS_CONTROL (the "
                        "command that does it) must be set: tests/with_broker.py\n");
                return false;
        }
        return true;
}

static void hang_up(struct store *s)
{
        s->w = nats_wire_free(s->w);
        s->held[0] = 0; /* who is gone holds nothing for long */
}

static void connect_broker(struct store *s)
{
        for (int waited = 0; !s->w && !(s->w = nats_wire_new(server_port())); waited += 100) {
                if (waited > PATIENCE_MS) {
                        fail(url(), "no answer");
                }
                (void)poll(NULL, 0, 100);
        }
}

/* The answer of $JS.API.<words>, NULL when it is an error; a server that has just started may need
 * a moment. The caller frees it. */
static json_t *ask(struct store *s, const char *words, const char *body)
{
        json_t *said = NULL;
        for (int tries = 0; tries < 5 && !said; tries++) {
                connect_broker(s);
                said = nats_wire_api(s->w, words, body);
                if (!said) {
                        hang_up(s);
                }
        }
        if (!said) {
                fail(words, "JetStream does not answer");
        }
        if (json_object_get(said, "error")) {
                json_decref(said);
                return NULL;
        }
        return said;
}

static json_t *ask_of(struct store *s, const char *words, const char *name)
{
        char text[256];
        snprintf(text, sizeof text, "%s.%s", words, name);
        return ask(s, text, "");
}

static bool tell(struct store *s, const char *words, const char *body)
{
        json_t *said = ask(s, words, body);
        json_decref(said);
        return said != NULL;
}

/* Max_msg_size 1: everything that has a header or a body is refused, and what is stored stays. */
static bool limit_messages(struct store *s, int size)
{
        char words[128];
        json_t *info = ask_of(s, "STREAM.INFO", s->stream);
        json_t *config = json_object_get(info, "config");
        bool done = false;
        if (config) {
                json_object_set_new(config, "max_msg_size", json_integer(size));
                char *text = json_dumps(config, 0);
                snprintf(words, sizeof words, "STREAM.UPDATE.%s", s->stream);
                done = tell(s, words, text);
                free(text);
        }
        json_decref(info);
        return done;
}

static void block(void *store, bool on)
{
        if (!limit_messages(store, on ? 1 : -1)) {
                fail("block", "the stream cannot be changed");
        }
}

static void mend(void)
{
        if (stopped) {
                control("start nats");
                stopped = false;
        }
}

/* --- life ------------------------------------------------------------------------------------- */

static void *setup(void)
{
        static unsigned count;
        struct store *s = calloc(1, sizeof *s);
        if (!s) {
                fail("setup", "out of memory");
        }
        mend();
        snprintf(s->stream, sizeof s->stream, "CONFORM_%ld_%u", (long)getpid(), ++count);
        snprintf(s->subject, sizeof s->subject, "conform-%ld-%u", (long)getpid(), count);
        snprintf(s->refused, sizeof s->refused, "%s_REFUSED", s->stream);
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                snprintf(s->queues[i], NAME_SIZE, "%s-%s", s->subject, kinds[i].name);
        }
        s->proxy = nats_proxy_new(server_port());
        if (!s->proxy) {
                fail("setup", strerror(errno));
        }
        connect_broker(s);
        return s;
}

static void delete_stream(struct store *s, const char *stream)
{
        json_decref(ask_of(s, "STREAM.DELETE", stream));
}

static void teardown(void *store)
{
        struct store *s = store;
        mend();
        delete_stream(s, s->stream);
        delete_stream(s, s->refused);
        hang_up(s);
        nats_wire_free(s->ear);
        proxy_free(s->proxy);
        free(s);
}

static int open_transport(void *store, struct transport **ret_transport, char *note,
                          size_t note_size)
{
        struct store *s = store;
        char through[64];
        snprintf(through, sizeof through, "nats://127.0.0.1:%d", proxy_port(s->proxy));
        struct transport_config config = {.name = STR("nats"),
                                          .url = str_of(through),
                                          .stream = str_of(s->stream),
                                          .subject = str_of(s->subject)};
        struct nats_options o = {.config = &config,
                                 .payload_max = FIXTURE_PAYLOAD_MAX,
                                 .application = "conformance-transport"};
        int r = nats_open(&o, ret_transport, note, note_size);
        return r > 0 ? -EINVAL : r;
}

static struct str queue_name(void *store, const char *name)
{
        struct store *s = store;
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                if (strcmp(kinds[i].name, name) == 0) {
                        return str_of(s->queues[i]);
                }
        }
        fail(name, "the cases have a new queue: say its types here");
        return (struct str){0};
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

static void answer_held(struct store *s, const char *word)
{
        struct nats_letter l = {.subject = s->held, .body = str_of(word)};
        if (!nats_wire_publish(s->w, &l)) {
                fail("holding a message", "the server hung up");
        }
        s->held_ns = now_ns(s);
}

static void wait_for(void *store, struct transport *const *ts, uint32_t n, int64_t at_most_ns)
{
        struct store *s = store;
        struct pollfd fds[32];
        uint32_t n_fds = 0;
        int64_t until = now_ns(store) + at_most_ns;
        for (uint32_t i = 0; i < n; i++) {
                int64_t deadline = ts[i]->ops->deadline_ns(ts[i]);
                until = deadline < until ? deadline : until;
                n_fds += ts[i]->ops->pollfds(ts[i], fds + n_fds, (uint32_t)ARRAY_LEN(fds) - n_fds);
        }
        if (s->held[0] && now_ns(s) - s->held_ns > HELD_MS * NS_PER_MS) {
                answer_held(s, "+WPI");
        }
        int64_t left = until - now_ns(store);
        (void)poll(fds, n_fds, left <= 0 ? 0 : (int)((left + NS_PER_MS - 1) / NS_PER_MS));
}

/* --- publishing ------------------------------------------------------------------------------- */

static bool send_letter(struct store *s, const struct envelope *e, uint32_t number)
{
        char subject[256];
        snprintf(subject, sizeof subject, "%s.%.*s", s->subject, (int)e->address.n, e->address.p);
        struct nats_letter l = {.subject = subject,
                                .answer = number,
                                .headers = e->headers,
                                .n_headers = e->n_headers,
                                .body = e->body};
        return nats_wire_publish(s->w, &l);
}

static bool is_taken(const struct nats_answer *a)
{
        json_t *said = a->status ? NULL : json_loads(a->body.p, 0, NULL);
        bool taken = json_object_get(said, "seq") && !json_object_get(said, "error");
        if (!taken) {
                fprintf(stderr, "nats: a letter was not taken: %d %s\n", a->status, a->body.p);
        }
        json_decref(said);
        return taken;
}

static bool publish(void *store, struct str queue, const struct envelope *letters, uint32_t n)
{
        struct store *s = store;
        if (queue.n) {
                fail("publish", "straight into a queue");
        }
        connect_broker(s);
        for (uint32_t i = 0; i < n; i++) {
                if (!send_letter(s, &letters[i], i + 1)) {
                        fprintf(stderr, "nats: letter %u of %u could not be sent\n", i, n);
                        hang_up(s);
                        return false;
                }
        }
        for (uint32_t i = 0; i < n;) {
                struct nats_answer a;
                if (!nats_wire_next(s->w, LETTER_MS, &a)) {
                        fprintf(stderr, "nats: only %u of %u letters were answered\n", i, n);
                        hang_up(s);
                        return false;
                }
                if (a.number >= 1 && a.number <= n) {
                        if (!is_taken(&a)) {
                                return false;
                        }
                        i++;
                }
        }
        return true;
}

/* --- counting --------------------------------------------------------------------------------- */

static const char *types_of(struct store *s, struct str queue)
{
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                if (str_eq(queue, str_of(s->queues[i]))) {
                        return kinds[i].types;
                }
        }
        return NULL;
}

/* The queue's consumer, as the server describes it, NULL: none. The caller frees *ret_list. */
static json_t *find_consumer(struct store *s, struct str queue, json_t **ret_list)
{
        char filter[NAME_SIZE];
        size_t i;
        json_t *one;
        snprintf(filter, sizeof filter, "%s.%s", s->subject, types_of(s, queue));
        *ret_list = ask_of(s, "CONSUMER.LIST", s->stream);
        json_array_foreach(json_object_get(*ret_list, "consumers"), i, one)
        {
                json_t *of = json_object_get(json_object_get(one, "config"), "filter_subject");
                if (json_is_string(of) && strcmp(json_string_value(of), filter) == 0) {
                        return one;
                }
        }
        return NULL;
}

static int64_t number_of(const json_t *object, const char *name)
{
        return json_integer_value(json_object_get(object, name));
}

static int64_t stored(struct store *s, const char *stream)
{
        json_t *info = ask_of(s, "STREAM.INFO", stream);
        int64_t n = info ? number_of(json_object_get(info, "state"), "messages") : -1;
        json_decref(info);
        return n;
}

/* All that the stream has for the queue, whoever holds it. */
static int64_t stored_for(struct store *s, struct str queue)
{
        char words[128], body[128];
        const char *subject;
        json_t *count;
        int64_t n = 0;
        snprintf(words, sizeof words, "STREAM.INFO.%s", s->stream);
        snprintf(body, sizeof body, "{\"subjects_filter\":\"%s.%s\"}", s->subject,
                 types_of(s, queue));
        json_t *info = ask(s, words, body);
        json_t *subjects = json_object_get(json_object_get(info, "state"), "subjects");
        json_object_foreach(subjects, subject, count)
        {
                n += json_integer_value(count);
        }
        json_decref(info);
        return n;
}

static int64_t ready(void *store, struct str queue)
{
        struct store *s = store;
        json_t *list;
        int64_t n = -1;
        if (str_eq(queue, str_of(s->refused))) {
                return stored(s, s->refused);
        }
        json_t *consumer = find_consumer(s, queue, &list);
        if (consumer) {
                const char *name = json_string_value(json_object_get(consumer, "name"));
                int64_t pending = number_of(consumer, "num_pending");
                int64_t unanswered = number_of(consumer, "num_ack_pending");
                int64_t held = nats_proxy_unanswered(s->proxy, str_of(s->stream), str_of(name)) +
                               (s->held[0] && strcmp(s->held_of, name) == 0);
                int64_t there = stored_for(s, queue) - held;
                n = pending + (unanswered > held ? unanswered - held : 0);
                n = there < n ? there : n;
                n = n > 0 ? n : 0;
        }
        json_decref(list);
        return n;
}

/* --- what can be done to them ----------------------------------------------------------------- */

static void move_broker(void *store, enum broker_move move)
{
        struct store *s = store;
        hang_up(s);
        stopped = move == BROKER_STOP;
        switch (move) {
        case BROKER_RESTART: control("restart nats"); break;
        case BROKER_STOP: control("stop nats"); return;
        case BROKER_START: control("start nats"); break;
        case BROKER_WIPE: control("wipe nats"); break;
        case BROKER_KILL:
                control("kill nats");
                control("start nats");
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
        nats_proxy_deafen(((struct store *)store)->proxy);
}

static void delete_queue(void *store, struct str queue)
{
        struct store *s = store;
        json_t *list;
        char words[256], body[256];
        json_t *consumer = find_consumer(s, queue, &list);
        if (consumer) {
                const char *name = json_string_value(json_object_get(consumer, "name"));
                snprintf(words, sizeof words, "CONSUMER.DELETE.%s.%s", s->stream, name);
                (void)tell(s, words, "");
                nats_proxy_forget(s->proxy, str_of(s->stream), str_of(name));
        }
        json_decref(list);
        snprintf(words, sizeof words, "STREAM.PURGE.%s", s->stream);
        snprintf(body, sizeof body, "{\"filter\":\"%s.%s\"}", s->subject, types_of(s, queue));
        (void)tell(s, words, body);
}

/* Creation is held before the stream is deleted, so that none slips in between. */
static void hide_queue(void *store, struct str queue, bool on)
{
        struct store *s = store;
        char create[128];
        (void)queue;
        snprintf(create, sizeof create, "$JS.API.STREAM.CREATE.%s", s->stream);
        nats_proxy_hold(s->proxy, on ? str_of(create) : STR(""));
        if (on) {
                delete_stream(s, s->stream);
        }
}

static bool hold(void *store, struct str queue)
{
        struct store *s = store;
        json_t *list;
        char subject[256];
        struct nats_answer a = {.status = 404};
        json_t *consumer = find_consumer(s, queue, &list);
        if (consumer) {
                snprintf(s->held_of, sizeof s->held_of, "%s",
                         json_string_value(json_object_get(consumer, "name")));
                snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", s->stream,
                         s->held_of);
                struct nats_letter l = {.subject = subject,
                                        .answer = HELD,
                                        .body = STR("{\"batch\":1,\"no_wait\":true}")};
                bool asked = nats_wire_publish(s->w, &l);
                while (asked && nats_wire_next(s->w, LETTER_MS, &a) && !a.reply[0]) {
                        asked = a.number != HELD; /* else the answer is that none waits */
                }
        }
        json_decref(list);
        if (a.reply[0]) {
                memcpy(s->held, a.reply, sizeof s->held);
                s->held_ns = now_ns(s);
        }
        return s->held[0] != 0;
}

static void release(void *store, bool acknowledge)
{
        struct store *s = store;
        if (s->held[0]) {
                answer_held(s, acknowledge ? "+ACK" : "-NAK");
                s->held[0] = 0;
        }
}

static struct str start_listening(void *store, bool direct)
{
        struct store *s = store;
        (void)direct;
        s->ear = nats_wire_new(server_port());
        if (!s->ear) {
                fail("listening", "no answer");
        }
        snprintf(s->address, sizeof s->address, "%s.1", nats_wire_inbox(s->ear));
        return str_of(s->address);
}

static bool heard(void *store, struct fixture_reply *ret_reply)
{
        static struct nats_answer a;
        if (!nats_wire_next(((struct store *)store)->ear, LISTEN_MS, &a)) {
                return false;
        }
        *ret_reply = (struct fixture_reply){
            .correlation_id = nats_answer_header(&a, "correlation-id"),
            .content_type = nats_answer_header(&a, "content-type"),
            .body = a.body,
            .id = nats_answer_header(&a, "job-id"),
            .state = nats_answer_header(&a, "job-state"),
            .reason = nats_answer_header(&a, "job-reason"),
            .error = nats_answer_header(&a, "job-error"),
        };
        return true;
}

const struct transport_fixture fixture_nats = {
    .name = "nats",
    .has = NEED_BROKER | NEED_WIPE | NEED_CUT | NEED_LOSE | NEED_BLOCK | NEED_DEAF | NEED_HIDE |
           NEED_HOLD | NEED_SHARE | NEED_KEPT | NEED_EAR,
    .lacks = "a NATS message has a subject and headers, no queue and no properties; what no "
             "consumer asks for stays in its stream",
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
    .hold = hold,
    .release = release,
    .listen = start_listening,
    .heard = heard,
};
