/*
 * The publishing thread: doorbells, replies, and letters for the queue of the refused. A batch is a
 * flight; it is answered when the broker confirmed all of its messages, returned or refused one,
 * when its time is over, or when the connection is gone. Nothing is ever sent twice here: what is
 * to be rung again is the engine's to decide.
 *
 * While the broker blocks publishers nothing is sent: flights wait for their time to pass.
 */
#include "transports/amqp/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define RETRY_FIRST_MS  100
#define RETRY_LAST_MS   5000
#define RETRY_DENIED_MS 5000
#define HEAL_AGAIN_NS   NS_PER_S
#define SAY_AGAIN_NS    (5 * NS_PER_S)

/* --- flights ---------------------------------------------------------------------------------- */

static uint32_t flight_total(const struct flight *f)
{
        return f->bells ? f->bells->n : f->replies ? f->replies->n : 1;
}

static void end_flight(struct publisher *p, struct flight *f, bool confirmed)
{
        window_forget(&p->window, f);
        if (f->bells) {
                desk_bells(&p->rabbit->desk, f->bells, confirmed);
        } else if (f->replies) {
                desk_replies(&p->rabbit->desk, f->replies, confirmed);
        } else {
                f->oversize->safe = confirmed;
                rabbit_answer_oversize(p->rabbit, f->oversize);
        }
        free(f);
}

/* Ends those that are answered, or whose time is over; all of them when `every`. */
static void end_flights(struct publisher *p, bool every)
{
        int64_t now = clock_ns();
        struct flight **at = &p->flights;
        while (*at) {
                struct flight *f = *at;
                bool sent = f->sent == flight_total(f);
                bool answered = f->open == 0 && (sent || f->failed);
                if (!every && !answered && now < f->until_ns) {
                        at = &f->next;
                        continue;
                }
                *at = f->next;
                end_flight(p, f, answered && sent && !f->failed);
        }
        p->flights_tail = at;
}

static bool add_flight(struct publisher *p, const struct flight *what)
{
        struct flight *f = malloc(sizeof *f);
        if (!f) {
                return false;
        }
        *f = *what;
        f->route = f->bells ? queue_slot(f->bells->queue) : ROUTE_REFUSED;
        f->failed = f->route == UINT32_MAX;
        f->until_ns = clock_ns() + BELL_LIMIT_NS;
        *p->flights_tail = f;
        p->flights_tail = &f->next;
        return true;
}

static void take_inbox(struct publisher *p)
{
        pthread_mutex_lock(&p->inbox.mutex);
        struct doorbells *bells = p->inbox.bells;
        struct oversize *oversizes = p->inbox.oversizes;
        p->inbox.bells = NULL;
        p->inbox.bells_tail = &p->inbox.bells;
        struct replies *replies = p->inbox.replies;
        p->inbox.replies = NULL;
        p->inbox.replies_tail = &p->inbox.replies;
        p->inbox.oversizes = NULL;
        p->inbox.oversizes_tail = &p->inbox.oversizes;
        p->stopping = p->inbox.stop;
        pthread_mutex_unlock(&p->inbox.mutex);
        while (bells) {
                struct doorbells *next = bells->next;
                if (!add_flight(p, &(struct flight){.bells = bells})) {
                        desk_bells(&p->rabbit->desk, bells, false);
                }
                bells = next;
        }
        while (replies) {
                struct replies *next = replies->next;
                if (!add_flight(p, &(struct flight){.replies = replies})) {
                        desk_replies(&p->rabbit->desk, replies, false);
                }
                replies = next;
        }
        while (oversizes) {
                struct oversize *next = oversizes->next;
                if (!add_flight(p, &(struct flight){.oversize = oversizes})) {
                        oversizes->safe = false;
                        rabbit_answer_oversize(p->rabbit, oversizes);
                }
                oversizes = next;
        }
}

/* The queue's name, or NULL: not yet, *ret_ns says when (or stays). */
static const char *route_name(struct publisher *p, uint32_t slot, int64_t now, int64_t *ret_ns)
{
        pthread_mutex_lock(&p->rabbit->routes.mutex);
        struct route r = p->rabbit->routes.of[slot];
        pthread_mutex_unlock(&p->rabbit->routes.mutex);
        if (r.name && r.trusted_ns && now >= r.trusted_ns) {
                return r.name;
        }
        if (r.name && r.trusted_ns && r.trusted_ns < *ret_ns) {
                *ret_ns = r.trusted_ns;
        }
        return NULL;
}

/* Sends what may be sent. Returns when to look again. */
static int64_t send_flights(struct publisher *p)
{
        int64_t now = clock_ns(), again = now + NS_PER_S;
        for (struct flight *f = p->flights; f && !p->wire.dead && !p->blocked; f = f->next) {
                if (f->failed || f->sent == flight_total(f)) {
                        continue;
                }
                if (f->replies) {
                        (void)replies_publish(p, f);
                        continue;
                }
                uint32_t bytes = f->oversize ? WINDOW_BYTES : 1;
                const char *queue = route_name(p, f->route, now, &again);
                if (!queue || !window_room(&p->window, bytes)) {
                        continue;
                }
                if (f->bells) {
                        (void)bells_publish(p, f, queue);
                } else {
                        (void)oversize_publish(p, f, queue);
                        return now; /* it took a while: look at the inbox first */
                }
        }
        return again;
}

/* --- frames ----------------------------------------------------------------------------------- */

/* A return comes before the confirm of the same message, so its flight is still there. Which one of
 * its queue it was does not matter: all that are out are told unconfirmed. */
static void returned(struct publisher *p, const amqp_basic_return_t *m)
{
        char queue[160], text[80];
        text_copy(m->routing_key, queue, sizeof queue);
        text_copy(m->reply_text, text, sizeof text);
        for (struct flight *f = p->flights; f; f = f->next) {
                int64_t unused = 0;
                const char *name =
                    f->open && !f->replies ? route_name(p, f->route, INT64_MAX, &unused) : NULL;
                f->failed = f->failed || (name && strncmp(name, queue, sizeof queue - 1) == 0);
        }
        int64_t now = clock_ns();
        if (now - p->returned_ns > SAY_AGAIN_NS) {
                p->returned_ns = now;
                desk_note(&p->rabbit->desk, LEVEL_WARNING,
                          "queue %s: the broker returned what was published to it: %u %s", queue,
                          m->reply_code, text);
        }
}

static void blocked(struct publisher *p, const amqp_connection_blocked_t *m)
{
        char reason[120];
        text_copy(m->reason, reason, sizeof reason);
        p->blocked = true;
        desk_note(&p->rabbit->desk, LEVEL_WARNING,
                  "RabbitMQ blocks publishers: %s (memory or disk alarm)", reason);
}

static void channel_gone(struct publisher *p, const amqp_channel_close_t *m)
{
        char text[150];
        text_copy(m->reply_text, text, sizeof text);
        p->wire.dead = true;
        snprintf(p->wire.why, sizeof p->wire.why, "the broker closed the publishing channel: %u %s",
                 m->reply_code, text);
}

/* A reply that was refused is its listener's trouble: nothing of ours is opened anew for it. */
static bool ours_refused(const struct publisher *p)
{
        bool refused = false;
        for (const struct flight *f = p->flights; f; f = f->next) {
                refused = refused || (f->failed && f->sent && !f->replies);
        }
        return refused;
}

static void handle_method(struct publisher *p, const amqp_method_t *m)
{
        switch (m->id) {
        case AMQP_BASIC_ACK_METHOD: {
                const amqp_basic_ack_t *ack = m->decoded;
                window_answered(&p->window, ack->delivery_tag, ack->multiple, true);
                break;
        }
        case AMQP_BASIC_NACK_METHOD: {
                const amqp_basic_nack_t *nack = m->decoded;
                window_answered(&p->window, nack->delivery_tag, nack->multiple, false);
                p->refused = p->refused || ours_refused(p);
                break;
        }
        case AMQP_BASIC_RETURN_METHOD: returned(p, m->decoded); break;
        case AMQP_CONNECTION_BLOCKED_METHOD: blocked(p, m->decoded); break;
        case AMQP_CONNECTION_UNBLOCKED_METHOD:
                p->blocked = false;
                desk_note(&p->rabbit->desk, LEVEL_NOTICE, "RabbitMQ lets publishers go on");
                break;
        case AMQP_CHANNEL_CLOSE_METHOD: channel_gone(p, m->decoded); break;
        default: break;
        }
}

/* Content of returned messages is passed over. */
void publisher_frames(struct publisher *p)
{
        amqp_frame_t f;
        while (wire_next(&p->wire, &f) > 0) {
                if (f.frame_type == AMQP_FRAME_METHOD) {
                        handle_method(p, &f.payload.method);
                }
                amqp_maybe_release_buffers(p->wire.state);
        }
}

void publisher_wait(struct publisher *p, int64_t until_ns)
{
        wire_wait(&p->wire, p->wake_fd, until_ns);
        pthread_mutex_lock(&p->inbox.mutex);
        p->stopping = p->inbox.stop;
        pthread_mutex_unlock(&p->inbox.mutex);
}

/* --- the thread ------------------------------------------------------------------------------- */

static amqp_rpc_reply_t open_channel(struct publisher *p)
{
        amqp_channel_open(p->wire.state, 1);
        amqp_rpc_reply_t reply = amqp_get_rpc_reply(p->wire.state);
        if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
                amqp_confirm_select(p->wire.state, 1);
                reply = amqp_get_rpc_reply(p->wire.state);
        }
        window_reset(&p->window);
        p->direct.tag = 0;
        p->refused = false;
        return reply;
}

static int open_wire(struct publisher *p, char *note, size_t size)
{
        int r = wire_open(&p->wire, &p->rabbit->settings, "publisher", note, size);
        if (r) {
                return r;
        }
        amqp_rpc_reply_t reply = open_channel(p);
        if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
                char text[160];
                reply_text(reply, text, sizeof text);
                snprintf(note, size, "%s: no channel for publishing: %s", p->wire.place->text,
                         text);
                wire_close(&p->wire, false);
                return WIRE_DOWN;
        }
        p->blocked = false;
        return 0;
}

/* When the leader of a quorum queue died RabbitMQ may refuse for ever what comes through a channel
 * that met it, and takes the same through one that was opened once there is a new leader. A queue
 * that is full refuses too. */
static void heal_channel(struct publisher *p)
{
        int64_t now = clock_ns();
        if (!p->refused || p->wire.dead || now - p->healed_ns < HEAL_AGAIN_NS) {
                return;
        }
        p->healed_ns = now;
        end_flights(p, true);
        if (now - p->refused_ns > SAY_AGAIN_NS) {
                p->refused_ns = now;
                desk_note(&p->rabbit->desk, LEVEL_WARNING,
                          "%s refused what was published to it; the channel is opened anew",
                          p->wire.place->text);
        }
        amqp_rpc_reply_t reply = amqp_channel_close(p->wire.state, 1, AMQP_REPLY_SUCCESS);
        reply = reply.reply_type == AMQP_RESPONSE_NORMAL ? open_channel(p) : reply;
        if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
                p->wire.dead = true;
                reply_text(reply, p->wire.why, sizeof p->wire.why);
        }
}

/* What waits while nothing can be published comes back at once. */
static void wait_down(struct publisher *p, int64_t until_ns)
{
        while (!p->stopping && clock_ns() < until_ns) {
                take_inbox(p);
                end_flights(p, true);
                if (!p->stopping) {
                        publisher_wait(p, until_ns);
                }
        }
}

static void serve(struct publisher *p)
{
        while (!p->stopping && !p->wire.dead) {
                take_inbox(p);
                end_flights(p, !desk_up(&p->rabbit->desk));
                int64_t again = send_flights(p);
                publisher_frames(p);
                end_flights(p, false);
                heal_channel(p);
                if (!p->wire.dead && !p->stopping && !replies_go_on(p)) {
                        publisher_wait(p, again);
                }
        }
}

void *publisher_run(void *arg)
{
        struct publisher *p = arg;
        struct settings *s = &p->rabbit->settings;
        unsigned delay = RETRY_FIRST_MS;
        char note[256];
        while (!p->stopping) {
                int r = open_wire(p, note, sizeof note);
                if (r == 0) {
                        delay = RETRY_FIRST_MS;
                        desk_side(&p->rabbit->desk, SIDE_PUBLISHER, true, p->wire.place->text);
                        desk_wake(p->rabbit->consumer.wake_fd); /* it may wait for us */
                        serve(p);
                        snprintf(note, sizeof note, "%s: %s", p->wire.place->text, p->wire.why);
                        replies_lost(p);
                        wire_close(&p->wire, p->stopping);
                } else if (wire_more(&p->wire, s)) {
                        take_inbox(p);
                        end_flights(p, true);
                        continue;
                }
                desk_side(&p->rabbit->desk, SIDE_PUBLISHER, false, note);
                end_flights(p, true);
                uint32_t ms = r == WIRE_DENIED ? RETRY_DENIED_MS : delay;
                wait_down(p, clock_ns() + jittered(&p->random, ms) * NS_PER_MS);
                delay = delay * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : delay * 2;
        }
        take_inbox(p);
        end_flights(p, true);
        rabbit_unref(p->rabbit);
        return NULL;
}
