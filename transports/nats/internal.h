/*
 * What the files of the NATS transport share. Which thread owns what stands at each struct. Four
 * kinds of threads meet here: the engine's, our receiver, our keeper, and those of nats.c, which
 * only put messages into the mailbox and say that a connection is gone. They meet at `struct desk`,
 * the mailbox and the two inboxes, each under its own mutex; no two of these are ever held at once.
 */
#ifndef SKEP_TRANSPORTS_NATS_INTERNAL_H
#define SKEP_TRANSPORTS_NATS_INTERNAL_H

#include "core/envelope.h"
#include "transports/desk/desk.h"
#include "transports/desk/pause.h"
#include "transports/desk/said.h"
#include "transports/nats/settings.h"

#include <pthread.h>
#include <stdatomic.h>

#define QUEUES_MAX    1024 /* indexes of the engine */
#define BATCH_MAX     1000
#define LINGER_NS     (4 * NS_PER_MS)
#define BELL_LIMIT_NS (28 * NS_PER_S)
#define SUBJECT_BYTES 512 /* of subjects that we make, with the NUL */
#define INBOX_BYTES   128
#define ACK_WAIT_NS   (10 * NS_PER_S) /* of consumers that we make */
#define ACK_PENDING   50000
#define FOUND_ODD_NS  (5 * NS_PER_S) /* what could not be used is looked at again */

struct jet;

/* --- the link: one connection, never reconnected ------------------------------------------------
 *
 * Made by the keeper, lent to the receiver. nats.c's threads hold it through the ears of its
 * subscriptions, and may call them until the last of these is told complete.
 */

struct link {
        atomic_int refs;  /* keeper, receiver, each ear */
        atomic_int users; /* keeper, receiver: the last closes the connection */
        struct jet *jet;  /* a reference */
        natsConnection *nc;
        uint64_t number;
        char inbox[INBOX_BYTES]; /* all subjects that we listen to begin with it */
        natsSubscription *answers, *echo;
        atomic_bool closed; /* by nats.c */
        atomic_uint echoed; /* messages to ourselves that came back */
        atomic_bool lame;   /* the server is about to end */
        atomic_bool denied; /* `denial` is the keeper's to read until it says false */
        char denial[192];   /* what the user may not do, in the server's words */
};

/* 0, or NATS_DOWN and the like as settings_login() says, noted. Blocks for seconds. */
int link_open(struct jet *jet, uint64_t number, struct link **ret, char *note, size_t size);
struct link *link_unref(struct link *l);
/* Closes the connection when the other one has left too. NULL-safe, returns NULL. */
struct link *link_leave(struct link *l);

#define EAR_ANSWERS UINT32_MAX
#define EAR_ECHO    (UINT32_MAX - 1)

/* Messages to `subject` go to the mailbox under this tap's id. NULL: not now. */
natsSubscription *link_listen(struct link *l, const char *subject, uint32_t number);

struct mail {
        natsMsg *msg;
        uint32_t ear;
        uint64_t link;
};

struct mailbox {
        pthread_mutex_t mutex;
        struct mail *items;
        uint32_t n, capacity;
        uint32_t patience; /* the receiver is rung once so many more have come; 0: at the first */
};

/* --- queues: as the engine said -----------------------------------------------------------------
 *
 * Never changed once made; freed with the whole.
 */

struct pattern_of {
        const char *filter;  /* "jobs.mail.>" */
        const char *durable; /* name of its consumer */
        const char *next;    /* subject of its pull requests */
};

struct order {
        struct order *next;
        struct arena arena;
        uint32_t queue;
        const char *name;
        struct pattern_of *patterns;
        uint32_t n_patterns;
        const char *bell;    /* where its doorbells go */
        const char *refused; /* where its oversized letters go */
        struct envelope_defaults defaults;
};

struct order *order_new(const struct settings *s, uint32_t queue, const struct queue_config *q);
struct order *order_free(struct order *o); /* NULL-safe; all that follow it too */

/* --- letters ------------------------------------------------------------------------------------
 */

struct letter {
        struct envelope envelope;
        struct envelope_header headers[ENVELOPE_HEADERS_MAX];
        struct arena scratch; /* of this message */
        uint64_t delivered, sequence, stamp_ns;
};

/* From a delivered message; texts are borrowed from it and from the letter's scratch. False: it is
 * none (its reply subject cannot be read). */
bool letter_take(struct letter *l, natsMsg *msg, size_t prefix, uint32_t history);
bool letter_is_one(natsMsg *msg);
uint32_t history_hash(const char *stream, const char *created);
/* The same message for the stream of the refused. NULL: out of memory. */
natsMsg *letter_refuse(struct letter *l, natsMsg *msg, const char *subject);

/* headers.c: into an envelope that has none yet, borrowed from the message. */
void headers_read(struct letter *l, natsMsg *msg);

/* --- receipts -----------------------------------------------------------------------------------
 *
 * The engine touches `base` alone. The rest is the receiver's, also while the engine has it.
 */

struct jet_receipt {
        struct receipt base;
        struct jet *jet; /* a reference */
        uint32_t tap;
        uint64_t connection;
        bool settled, spent; /* written by the engine's thread before it hands it over */
        bool held;           /* in its tap's list */
        struct jet_receipt *older, *newer;
        int64_t alive_ns; /* when the server last heard of it */
        uint32_t n, answered;
        uint64_t bytes, number;
        char *acks; /* reply subjects, each with its NUL */
        uint32_t acks_n, acks_capacity;
};

struct jet_receipt *jet_receipt_new(struct jet *jet, uint32_t tap, uint64_t connection);
struct receipt *jet_receipt_drop(struct receipt *base); /* frees, without more */
bool jet_receipt_add(struct jet_receipt *r, const char *reply);

/* --- what the keeper knows of a consumer --------------------------------------------------------
 */

/* Shared: written by the receiver, read by the keeper. */
struct gauge {
        atomic_uint asked;
        atomic_uint held;
        _Atomic int64_t delivered_ns; /* last delivery, or since when something was asked for */
};

/* One durable consumer: a pattern of a queue. The keeper's, but for the gauge and what is const;
 * kept until the whole ends. */
struct post {
        struct post *next;
        uint32_t id;
        const struct order *order;
        const struct pattern_of *pattern;
        struct gauge gauge;
        bool looked;      /* on this link */
        bool ready;       /* its consumer can be used */
        bool open;        /* the receiver has a session of it */
        int64_t open_ns;  /* since when */
        bool told;        /* and knows the newest of it */
        bool anew;        /* the next one is another */
        bool silent;      /* asked for, and nothing came: not even a heartbeat */
        int64_t look_ns;  /* not before */
        char created[40]; /* the consumer's */
        int64_t ack_wait_ns;
        uint64_t max_ack_pending;
        uint64_t delivered, acknowledged, pending, unacknowledged; /* as it was last seen */
        unsigned ahead;  /* how often it was found ahead of its stream, */
        unsigned passed; /* or its stream to hold what it passed over */
        unsigned deaf;   /* how often it delivered nothing, all that time at deaf_at */
        uint64_t deaf_at;
        int64_t waiting_ns; /* since a probe saw messages and nothing came; 0: it did not */
        bool floor_known;
        int64_t floor, floor_told, floor_ns; /* floor_ns: last told or asked */
        struct said said;
};

struct line {
        struct line *next;
        const struct order *order;
        struct post *posts;
        int64_t probe_ns;
};

/* --- from the keeper to the receiver ------------------------------------------------------------
 */

enum deed_kind {
        DEED_LINK,  /* use this link */
        DEED_UP,    /* tell it */
        DEED_DOWN,  /* tell it; sessions end */
        DEED_LEAVE, /* the link is gone: let go of it */
        DEED_OPEN,  /* consume this post; `anew`: in a new session */
        DEED_CLOSE, /* do not any more */
};

struct deed {
        struct deed *next;
        enum deed_kind kind;
        struct link *link;
        struct post *post;
        const struct order *order;
        const struct pattern_of *pattern;
        int64_t ack_wait_ns;
        uint32_t history;
        bool anew;
        char text[256];
};

/* --- receiver: of its own thread, but for inbox and mailbox -------------------------------------
 */

#define PULLS_MAX 2

struct pull {
        uint64_t number;
        uint32_t left;
        bool bare; /* without a bound of bytes */
        int64_t until_ns;
};

struct hush { /* a subscription on its way out: what is under way to it still comes */
        struct hush *next;
        natsSubscription *sub;
};

struct tap {
        struct tap *next;
        uint32_t id;
        struct post *post;
        const struct order *order;
        const struct pattern_of *pattern;
        bool open;    /* a session is there */
        bool doubted; /* nothing is asked for until the keeper has looked */
        uint64_t connection;
        int64_t ack_wait_ns;
        uint32_t history;
        /* flow */
        uint32_t room;
        int64_t room_ns; /* since when it is (or is not) 0 */
        int64_t over_ns; /* since when much more than the room is asked for; 0: it is not */
        natsSubscription *sub;
        char inbox[INBOX_BYTES + 32];
        struct pull pulls[PULLS_MAX];
        uint32_t n_pulls, turn;
        bool bare; /* the next message is larger than what may be asked for */
        int64_t heard_ns;
        /* what the server waits for */
        struct jet_receipt *oldest, *newest; /* by alive_ns */
        uint64_t held, held_bytes;
        /* the batch that is being filled */
        struct arrivals *batch;
        bool batch_redelivered;
        int64_t batch_ns;
        uint32_t batch_before;
        /* the flow */
        uint32_t came;   /* letters, since */
        int64_t came_ns; /* then */
        bool full;       /* so many came in the time that a batch lingers */
};

struct oversize {
        struct oversize *next;
        struct arrivals *batch; /* of one; handed over once the message is safe */
        uint32_t tap;
        uint64_t connection;
        natsMsg *msg; /* as it is published, less the reply subject */
        int64_t again_ns;
};

struct oversize *refused_free(struct oversize *o); /* NULL-safe; the batch and its receipt too */

struct flight {
        struct flight *next;
        struct doorbells *bells; /* or */
        struct replies *replies; /* or */
        struct oversize *oversize;
        uint32_t sent, open; /* messages; of replies only the proofs are open */
        bool failed;
        int64_t until_ns;
};

#define WINDOW_SLOTS 8192u

struct window {
        uint64_t low, next; /* numbers: unanswered are low .. next - 1 */
        struct {
                struct flight *flight; /* NULL: nobody waits for it */
                bool open;
        } slots[WINDOW_SLOTS];
};

struct receiver {
        struct jet *jet;
        pthread_t thread;
        bool started;
        int wake_fd;
        struct {
                pthread_mutex_t mutex;
                bool stop, gone; /* gone: nobody takes anything any more */
                struct jet_receipt *receipts, **receipts_tail;
                struct doorbells *bells, **bells_tail;
                struct replies *replies, **replies_tail;
                struct deed *deeds, **deeds_tail;
                bool rooms_changed;
                uint32_t rooms[QUEUES_MAX], woken_for[QUEUES_MAX];
        } inbox;
        struct mailbox mailbox;
        struct mail *mail; /* taken out */
        uint32_t mail_capacity;
        bool patient; /* it was not asked to be rung for the next message */
        bool stopping;
        bool up;
        struct link *link; /* NULL: none */
        struct tap *taps;
        uint32_t rooms[QUEUES_MAX];
        struct hush *hushes;
        uint64_t connections, pulls, numbers;
        struct jet_receipt *proving; /* journalled, acknowledged, not all answered */
        struct flight *flights, **flights_tail;
        struct oversize *retries;
        struct window window;
        struct letter letter;
        int64_t refused_ns; /* when a refusal was last noted */
};

void *receiver_run(void *arg);
void receiver_do(struct jet *jet, struct deed *d /* takes d */);
struct deed *deed_new(enum deed_kind kind); /* NULL: out of memory */

/* tap.c */
struct tap *tap_find(struct receiver *r, uint32_t id);
struct tap *tap_open(struct receiver *r, const struct deed *d);
void tap_close(struct receiver *r, struct tap *t); /* tells that its session is lost */
void tap_free_all(struct receiver *r);
void tap_hold(struct tap *t, struct jet_receipt *receipt, int64_t now);
void tap_settle(struct receiver *r, struct jet_receipt *receipt /* takes receipt */);
void tap_prove(struct receiver *r, uint64_t number, bool taken);
void tap_keep_alive(struct receiver *r, struct tap *t, int64_t now);
int64_t tap_alive_due(const struct tap *t);

/* pull.c */
void pull_tend(struct receiver *r, struct tap *t, int64_t now);
int64_t pull_due(const struct tap *t, int64_t now);
void pull_delivered(struct tap *t, int64_t now);
void pull_status(struct receiver *r, struct tap *t, natsMsg *msg, int64_t now);
void pull_stop(struct receiver *r, struct tap *t); /* what is under way still comes */
void pull_forget(struct receiver *r, struct tap *t, bool wait);
void pull_sweep(struct receiver *r, bool all);

/* deliver.c */
void deliver(struct receiver *r, struct tap *t, natsMsg *msg, int64_t now);
void batch_flush(struct receiver *r, struct tap *t);
void batch_drop(struct tap *t);
void refused_answered(struct receiver *r, struct oversize *o /* takes o */, bool safe);
void refused_retry(struct receiver *r, int64_t now);

/* bells.c */
void bells_add(struct receiver *r, struct doorbells *bells /* takes bells */);
void bells_add_replies(struct receiver *r, struct replies *replies /* takes replies */);
void bells_add_oversize(struct receiver *r, struct oversize *o /* takes o */);
void bells_send(struct receiver *r);
void bells_answered(struct receiver *r, uint64_t number, natsMsg *msg);
void bells_end(struct receiver *r, bool every);

/* replies.c: publishes, unless it can never be delivered. False: not now; the link is on its way
 * out. */
bool reply_publish(struct receiver *r, struct arena *scratch, const struct job_reply *reply);

/* --- keeper: of its own thread, but for the inbox -----------------------------------------------
 */

struct floor_answer {
        struct floor_answer *next;
        int64_t floor;
        char history[256];
};

enum look_why { LOOK_SILENT, LOOK_GONE };

struct look {
        struct look *next;
        uint32_t post;
        enum look_why why;
};

struct keeper {
        struct jet *jet;
        pthread_t thread;
        bool started;
        int wake_fd;
        struct {
                pthread_mutex_t mutex;
                bool stop;
                struct order *orders, **orders_tail;
                struct floor_answer *floors;
                struct look *looks;
        } inbox;
        bool stopping;
        struct link *link;
        uint64_t links;
        struct order *orders; /* all ever given */
        struct line *lines;
        struct post *gone; /* patterns that no queue has any more */
        uint32_t posts;    /* how many there ever were */
        bool told_up, usable;
        unsigned stream_fails;
        bool doubt;   /* an answer did not come */
        bool dropped; /* the link is to be given up */
        char why[200];
        int64_t stream_ns, refused_ns, names_ns, denial_ns;
        int64_t missing_ns; /* since when the stream is not there; 0: it is */
        bool lame;
        bool refused_ready;
        /* the stream as it was last seen */
        char created[40];
        int64_t created_ns;
        uint64_t last_seq;
        bool work_queue, replicated;
        uint32_t history;
        uint64_t names_hash;
        int64_t names_told_ns;
        char (*found)[256]; /* servers of a cluster that the present one told of */
        uint32_t n_found;
        struct said said;
        uint64_t random;
};

void *keeper_run(void *arg);
void keeper_look(struct jet *jet, uint32_t post, enum look_why why); /* from the receiver */
void keeper_open(struct keeper *k, struct post *p);
void keeper_close(struct keeper *k, struct post *p);
void keeper_down(struct keeper *k, const char *text);
void keeper_say(struct keeper *k, struct post *p, int level, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* api.c */
#define API_GONE  1 /* no connection any more */
#define API_LATE  2 /* no answer */
#define API_ERROR 3 /* the server said no */

struct json_t;

struct answer {
        struct json_t *root;
        int code, err_code;
        char text[160];
};

/* Takes body, which may be NULL. 0 or API_*; the answer is to be freed in any case. */
int api_call(struct keeper *k, struct answer *ret, struct json_t *body, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void answer_free(struct answer *a);
/* Does a message to ourselves come back? If not, the link is to be dropped, *ret_deaf: the server
 * answers otherwise. */
bool api_hears(struct keeper *k, bool *ret_deaf);
const char *answer_text(const struct json_t *object, const char *name); /* "" when there is none */
int64_t answer_number(const struct json_t *object, const char *name);

/* stream.c: false: not usable now; looked at again later */
bool stream_look(struct keeper *k);
bool stream_refused(struct keeper *k);
bool stream_refresh(struct keeper *k); /* last_seq alone */
bool subject_covers(const char *wide, const char *narrow);
bool subject_overlaps(const char *a, const char *b);

/* durable.c */
void durable_look(struct keeper *k, struct post *p);                    /* looked, ready, look_ns */
int durable_info(struct keeper *k, struct post *p, struct answer *ret); /* as api_call() */
bool durable_is_ahead(struct keeper *k, struct post *p);
void durable_remake(struct keeper *k, struct post *p);
void history_name(const struct keeper *k, const struct post *p, char ret_name[static 256]);

/* probe.c */
void probe_line(struct keeper *k, struct line *line);
void probe_silent(struct keeper *k, struct post *p);
void line_free_all(struct keeper *k);

/* names.c */
void names_look(struct keeper *k);
/* Another consumer of the stream whose filter overlaps; empty: none found. */
void names_overlapping(struct keeper *k, const struct post *p, char *ret_text, size_t size);

/* --- the whole ----------------------------------------------------------------------------------
 */

/* How far the stream surely reached: written by the receiver and the keeper. */
struct reach {
        _Atomic uint32_t history; /* of this stream */
        _Atomic uint64_t last;    /* highest sequence that was seen of it */
};

void reach_note(struct reach *r, uint32_t history, uint64_t sequence);

struct jet {
        struct transport base;
        atomic_int refs;    /* the engine, each thread, each receipt, each link */
        atomic_bool polled; /* the engine's loop runs: what it begins with is attached */
        struct settings settings;
        struct desk desk;
        struct reach reach;
        struct receiver receiver;
        struct keeper keeper;
};

struct jet *jet_unref(struct jet *jet); /* NULL-safe, returns NULL */
void jet_ref(struct jet *jet);

#endif
