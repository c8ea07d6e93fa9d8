/*
 * What the files of the AMQP transport share. Which thread owns what stands at each struct: the
 * engine's thread, the consumer's and the publisher's meet only at `struct desk`, `struct routes`
 * and the two inboxes, each under its own mutex; no two of these are ever held at once.
 */
#ifndef SKEP_TRANSPORTS_AMQP_INTERNAL_H
#define SKEP_TRANSPORTS_AMQP_INTERNAL_H

#include "core/envelope.h"
#include "transports/amqp/amqp.h"
#include "transports/desk/desk.h"
#include "transports/desk/pause.h"
#include "transports/desk/said.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <pthread.h>
#include <stdatomic.h>

#define QUEUES_MAX      1024 /* indexes of the engine; the last stands for TRANSPORT_UNROUTED */
#define UNROUTED_SLOT   (QUEUES_MAX - 1)
#define CHANNELS_MAX    1024
#define BATCH_MAX       500
#define LINGER_NS       (4 * NS_PER_MS)
#define RPC_LIMIT_NS    (10 * NS_PER_S)
#define TRUST_AFTER_NS  (3 * NS_PER_S)
#define BELL_LIMIT_NS   (28 * NS_PER_S)
#define PROVEN_AFTER_NS NS_PER_S
#define LOGIN_LIMIT_S   5

/* --- settings: never changed after amqp_open ---------------------------------------------------
 */

struct place {
        const char *host, *text; /* text: "host:port", for people */
        int port;
};

struct settings {
        struct arena arena; /* all texts, with a NUL behind */
        bool tls;
        const char *user, *password, *vhost;
        struct place *places;
        uint32_t n_places;
        const char *password_file, *ca_file, *cert_file, *key_file; /* NULL: none */
        const char *exchange, *unrouted, *refused;
        const char *spool_dir, *application;
        int heartbeat_s;
        uint32_t prefetch_bytes, payload_max;
};

/* 0, -ENOMEM or AMQP_REFUSED, noted. */
int settings_init(struct settings *s, const struct amqp_options *o, char *note, size_t note_size);
int settings_read_url(struct settings *s, struct str url, char *note, size_t note_size);

/* --- wire: one connection, of one thread -------------------------------------------------------
 */

struct wire {
        amqp_connection_state_t state; /* NULL: none */
        int fd;
        int heartbeat_s;
        bool dead;
        uint16_t code;             /* of dead: the broker's, 0: it said none */
        char why[200];             /* of dead */
        const struct place *place; /* where it is, was, or was tried; NULL: never opened */
        uint32_t tried;            /* places in vain, of this round; 0: none, or it was opened */
        bool denied;               /* one of those said no */
};

#define WIRE_DOWN   1 /* not now; noted */
#define WIRE_DENIED 2 /* the broker knows us and says no; noted */

/* Connects to the next place and logs in; blocks up to 2 LOGIN_LIMIT_S. While wire_more() says that
 * there are other places to try, it is to be called again at once, with the same note, which gets
 * longer. */
bool wire_more(const struct wire *w, const struct settings *s);
int wire_open(struct wire *w, const struct settings *s, const char *role, char *note, size_t size);
void wire_close(struct wire *w, bool gracefully); /* of a dead or unopened wire too */
/* 1: a frame; 0: none for now; -1: dead. Takes care of channel 0's connection.close. */
int wire_next(struct wire *w, amqp_frame_t *ret_frame);
/* Sleeps until a frame may be there, wake_fd rang or until_ns; empties wake_fd. */
void wire_wait(struct wire *w, int wake_fd, int64_t until_ns);
bool wire_send(struct wire *w, uint16_t channel, amqp_method_number_t id, void *method);
void wire_fail(struct wire *w, int status, const char *doing);
void reply_text(amqp_rpc_reply_t reply, char *text, size_t size); /* what went wrong, for people */
int reply_code(amqp_rpc_reply_t reply); /* of a close by the broker, or 0 */

static inline amqp_bytes_t bytes_of(const char *z)
{
        return (amqp_bytes_t){strlen(z), (char *)z};
}

/* Text of the broker for people: printable, cut. */
void text_copy(amqp_bytes_t b, char *ret_text, size_t size);

/* --- sides of the desk -------------------------------------------------------------------------
 */

enum side { SIDE_CONSUMER, SIDE_PUBLISHER, SIDES };

/* --- routes: where a doorbell of a queue goes --------------------------------------------------
 */

struct route {
        char *name;         /* NULL: not attached; kept until the transport ends */
        int64_t trusted_ns; /* 0: not declared yet */
};

struct routes {
        pthread_mutex_t mutex;
        struct route of[QUEUES_MAX + 1]; /* the last: the queue for refused letters */
};
#define ROUTE_REFUSED QUEUES_MAX

/* --- letters -----------------------------------------------------------------------------------
 */

struct letter {
        struct envelope envelope;
        struct envelope_header headers[ENVELOPE_HEADERS_MAX];
};

/* The properties of a message, copied into the arena. False: out of memory. */
bool letter_read(struct letter *l, const amqp_basic_properties_t *p, struct arena *a);

/* Any field as text, in the arena. {NULL, 0}: out of memory. */
struct str field_text(const amqp_field_value_t *v, struct arena *a);

/* --- oversized letters: from the consumer to the publisher and back ----------------------------
 */

struct oversize {
        struct oversize *next;
        struct arrivals *batch; /* of one; handed over once the message is safe */
        uint64_t connection;
        int fd; /* the body, in an unlinked file */
        uint64_t size, written;
        amqp_bytes_t raw; /* the properties as they came; allocated */
        amqp_pool_t pool; /* what `raw` was decoded into */
        amqp_basic_properties_t *properties;
        bool safe;        /* answer */
        int64_t again_ns; /* when to try again */
};

int oversize_new(const char *spool_dir, const amqp_frame_t *header, struct oversize **ret);
struct oversize *oversize_free(struct oversize *o); /* NULL-safe; the batch and its receipt too */
int oversize_write(struct oversize *o, amqp_bytes_t part);

/* --- receipts ----------------------------------------------------------------------------------
 */

struct rabbit;

struct rabbit_receipt {
        struct receipt base;
        struct rabbit *rabbit; /* a reference */
        uint64_t connection, last_tag;
        bool settled, spent; /* spent: nothing is left to do */
        int64_t acked_ns;
        uint64_t proof; /* number of the qos behind the acknowledgement; 0: not sent */
};

struct receipt *receipt_make(struct rabbit *r, uint64_t connection, uint64_t last_tag);
struct receipt *receipt_drop(struct receipt *base); /* frees, without more */

/* --- consumer ----------------------------------------------------------------------------------
 */

/* A batch that the broker waits for. Of its channel. */
struct open_batch {
        struct open_batch *next;
        uint64_t last_tag;
        uint32_t n;
        bool settled;
        struct rabbit_receipt *receipt; /* once settled */
};

struct reply {
        bool done, closed;
        uint32_t messages; /* of declare-ok */
        uint16_t code;     /* of closed */
        char text[200];
};

enum message_state { MESSAGE_NONE, MESSAGE_HEADER, MESSAGE_BODY };

struct incoming {
        enum message_state state;
        struct arena scratch; /* of this message */
        uint64_t tag, size, got;
        char *body;
        struct oversize *oversize;
};

struct channel {
        uint16_t number;
        bool closing; /* close was sent; it goes with close-ok */
        uint64_t connection;
        struct tap *tap; /* NULL: the spare one, or on its way out */
        struct reply *waiting;
        bool consuming;
        bool holding; /* acknowledgements wait, so that the flow comes to rest (flow.c) */
        int64_t holding_ns;
        uint64_t first_tag, last_tag, acked_tag; /* first of this consumer, or 0 */
        uint16_t prefetch;
        char tag[24];
        struct incoming in;
        struct letter letter;
        struct arrivals *batch;
        uint64_t batch_tag;
        bool batch_redelivered; /* all of it, or nothing */
        int64_t batch_ns;
        uint32_t batch_before; /* size of the batch before */
        struct open_batch *open, **open_tail;
        uint32_t unacked;
        struct rabbit_receipt *proving, **proving_tail;
        uint64_t qos_sent, qos_done;
        int64_t proof_ns; /* when the last proof was sent */
};

/* What attach() said of a queue. Kept until the transport ends: texts of arrivals may borrow. */
struct order {
        struct order *next;
        struct arena arena;
        uint32_t queue, slot;
        const char *name;
        const char **keys; /* AMQP binding keys */
        uint32_t n_keys;
        struct envelope_defaults defaults;
};

struct tap {
        struct tap *next;
        const struct order *order;
        const struct order *bound; /* whose keys are bound, all of them; NULL: none yet */
        uint32_t room;
        struct channel *channel;
        bool declared;
        int64_t declare_ns, open_ns; /* not before */
        unsigned failures;
        int64_t room_ns;      /* since when room is (or is not) 0 */
        int64_t delivered_ns; /* last delivery, or since when credit is open */
        int64_t consumed_ns;  /* last basic.consume */
        int64_t probe_ns;     /* next probe */
        uint64_t mean_bytes;
        int64_t waiting_ns; /* since a probe saw messages and no delivery; 0: it did not */
        struct said said;
};

struct consumer {
        struct rabbit *rabbit;
        pthread_t thread;
        bool started;
        bool looked,
            ready; /* all queues were looked at; the publisher is there, or was waited for */
        int64_t opened_ns;

        int wake_fd;
        struct {
                pthread_mutex_t mutex;
                bool stop;
                struct rabbit_receipt *receipts, **receipts_tail;
                struct oversize *answered, **answered_tail;
                struct order *orders, **orders_tail;
                bool rooms_changed;
                uint32_t rooms[QUEUES_MAX], woken_for[QUEUES_MAX];
        } inbox;
        struct wire wire;
        bool stopping;
        struct tap *taps;
        struct order *orders; /* all ever given */
        struct channel *channels[CHANNELS_MAX];
        struct channel *spare;
        uint64_t connections, tags;
        struct oversize *retries;
        bool base_declared;
        struct said base_said;
        int64_t base_ns;
        uint64_t random;
};

void *consumer_run(void *arg);
void consumer_turn(struct consumer *c, int64_t until_ns);

/* channel.c */
struct channel *channel_open(struct consumer *c, struct tap *tap); /* NULL: none left */
void channel_close(struct consumer *c, struct channel *ch,
                   bool tell); /* says close to the broker */
void channel_closed(struct consumer *c, struct channel *ch, bool tell); /* the broker knows */
void channel_forget_all(struct consumer *c);                            /* the wire is gone */
bool channel_opened_batch(struct channel *ch, uint64_t last_tag, uint32_t n);
void channel_settle(struct consumer *c, struct rabbit_receipt *r /* takes r */);
void channel_hold(struct channel *ch, int64_t now);
void channel_release(struct consumer *c, struct channel *ch); /* NULL-safe */
uint64_t channel_credit_used(const struct channel *ch);       /* unacknowledged of this consumer */
void channel_prove(struct consumer *c, struct channel *ch, int64_t now);
void channel_qos(struct consumer *c, struct channel *ch, uint16_t prefetch);
void channel_qos_ok(struct consumer *c, struct channel *ch);
struct channel *channel_of(struct consumer *c, uint64_t connection);

/* deliver.c: false: the channel has to be opened anew (memory, spool) */
bool deliver_begin(struct consumer *c, struct channel *ch, const amqp_basic_deliver_t *d);
bool deliver_header(struct consumer *c, struct channel *ch, const amqp_frame_t *f);
bool deliver_body(struct consumer *c, struct channel *ch, amqp_bytes_t part);
void deliver_flush(struct consumer *c, struct channel *ch);
void deliver_drop(struct channel *ch); /* what is half read or not handed over */
void deliver_answered(struct consumer *c, struct oversize *o /* takes o */);
void deliver_retry(struct consumer *c, int64_t now);

/* flow.c: opens, consumes, cancels as rooms ask */
void flow_tend(struct consumer *c, int64_t now);
int64_t flow_deadline(const struct consumer *c, int64_t now);
uint32_t flow_rung(uint32_t room);

/* rpc.c: a method and its answer, while everything else goes on */
#define CALL_CLOSED 1 /* the broker closed the channel; ret->code, ret->text */
#define CALL_LATE   2 /* no answer; the channel was given up */
int call(struct consumer *c, amqp_method_number_t id, void *method, struct reply *ret); /* -EPIPE */

/* topology.c */
bool topology_base(struct consumer *c); /* false: not all is there; tried again later */
bool topology_tap(struct consumer *c, struct tap *t); /* false: the queue cannot be consumed */
void topology_say(struct consumer *c, struct tap *t, int level, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* probe.c */
void probe_tap(struct consumer *c, struct tap *t);

/* --- publisher ---------------------------------------------------------------------------------
 */

struct flight {
        struct flight *next;
        struct doorbells *bells; /* or */
        struct replies *replies; /* or */
        struct oversize *oversize;
        uint32_t route;      /* of replies: none */
        uint32_t sent, open; /* messages */
        bool failed;
        int64_t until_ns;
};

#define WINDOW_SLOTS 8192u
#define WINDOW_BYTES (1u << 20)

struct window {
        uint64_t low, next; /* delivery tags: unanswered are low .. next - 1 */
        uint64_t bytes;
        struct {
                struct flight *flight; /* NULL: nobody waits for it */
                uint32_t bytes;        /* 0: answered */
        } slots[WINDOW_SLOTS];
};

void window_reset(struct window *w);
bool window_room(const struct window *w, uint32_t bytes);
void window_sent(struct window *w, struct flight *f, uint32_t bytes);
void window_answered(struct window *w, uint64_t tag, bool multiple, bool ok);
void window_forget(struct window *w, const struct flight *f);
bool window_waits(const struct window *w, uint64_t tag); /* for its answer */

struct publisher {
        struct rabbit *rabbit;
        pthread_t thread;
        bool started;
        int wake_fd;
        struct {
                pthread_mutex_t mutex;
                bool stop;
                struct doorbells *bells, **bells_tail;
                struct replies *replies, **replies_tail;
                struct oversize *oversizes, **oversizes_tail;
        } inbox;
        struct wire wire;
        bool stopping, blocked;
        bool refused;                  /* something, on this channel */
        int64_t healed_ns, refused_ns; /* when the channel was last opened anew for that; noted */
        struct flight *flights, **flights_tail;
        struct window window;
        int64_t returned_ns; /* when a return was last noted */
        struct {
                bool waits;           /* a further one does */
                uint64_t tag;         /* of the one that was published last; 0: none */
                char address[256];    /* its */
                char cursed[16][256]; /* addresses that end a connection */
                uint32_t n_cursed;
        } direct; /* replies to the broker's direct reply-to */
        uint64_t random;
};

void *publisher_run(void *arg);
void publisher_frames(struct publisher *p); /* handles what came */
void publisher_wait(struct publisher *p, int64_t until_ns);
bool bells_publish(struct publisher *p, struct flight *f, const char *queue);
bool replies_publish(struct publisher *p, struct flight *f);
bool replies_go_on(struct publisher *p); /* one that waited for another's confirm can be sent */
void replies_lost(struct publisher *p);  /* the wire is dead */
bool oversize_publish(struct publisher *p, struct flight *f, const char *queue);

/* --- the whole ---------------------------------------------------------------------------------
 */

struct rabbit {
        struct transport base;
        atomic_int refs;    /* the engine, each thread, each receipt */
        atomic_bool polled; /* the engine's loop runs: what it begins with is attached */
        struct settings settings;
        struct desk desk;
        struct routes routes;
        struct consumer consumer;
        struct publisher publisher;
};

struct rabbit *rabbit_unref(struct rabbit *r); /* NULL-safe, returns NULL */
uint32_t queue_slot(uint32_t queue);           /* UINT32_MAX: out of range */
void route_declared(struct rabbit *r, uint32_t slot, bool anew);
void rabbit_publish_oversize(struct rabbit *r, struct oversize *o /* takes o */);
void rabbit_answer_oversize(struct rabbit *r, struct oversize *o /* takes o */);

#endif
