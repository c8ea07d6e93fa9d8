/*
 * Publishing: doorbells and marks, replies, and letters for the stream of the refused. A batch is a
 * flight; it is answered when the stream said of each message that it has it, when it refused one,
 * when its time is over, or when the connection is gone. Nothing is ever sent twice here: what is
 * to be rung again is the engine's to decide.
 *
 * Every message has a number in its reply subject, which finds its slot in a ring. The bound keeps
 * a send from waiting: the ring's messages fit into the socket's buffers.
 *
 * Replies go to plain subjects, of which nobody says that he has them. A message to ourselves goes
 * behind them: once it is back the server has taken them all.
 */
#include "transports/nats/internal.h"

#include "core/ledger.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTE_AGAIN    (5 * NS_PER_S)
#define REPLY_BYTES   (INBOX_BYTES + 32)
#define OVERSIZES_MAX 4            /* at once: each is a megabyte or more */
#define REPLIES_BYTES (256u << 10) /* before the next proof */

/* --- the window ------------------------------------------------------------------------------- */

static bool has_room(const struct window *w)
{
        return w->next - w->low < WINDOW_SLOTS;
}

static void sent(struct window *w, struct flight *f)
{
        uint64_t i = w->next++ % WINDOW_SLOTS;
        w->slots[i].flight = f;
        w->slots[i].open = true;
        f->open++;
}

static struct flight *answered(struct window *w, uint64_t number)
{
        if (number < w->low || number >= w->next) {
                return NULL; /* never published, or answered before */
        }
        uint64_t i = number % WINDOW_SLOTS;
        struct flight *f = w->slots[i].open ? w->slots[i].flight : NULL;
        w->slots[i].flight = NULL;
        w->slots[i].open = false;
        while (w->low < w->next && !w->slots[w->low % WINDOW_SLOTS].open) {
                w->low++;
        }
        return f;
}

/* Nobody waits for its messages any more; their slots are free again, answered or not. */
static void forget(struct window *w, const struct flight *f)
{
        for (uint64_t n = w->low; f->open && n < w->next; n++) {
                if (w->slots[n % WINDOW_SLOTS].flight == f) {
                        w->slots[n % WINDOW_SLOTS].flight = NULL;
                        w->slots[n % WINDOW_SLOTS].open = false;
                }
        }
        while (w->low < w->next && !w->slots[w->low % WINDOW_SLOTS].open) {
                w->low++;
        }
}

/* --- flights ---------------------------------------------------------------------------------- */

static uint32_t total(const struct flight *f)
{
        return f->bells ? f->bells->n : f->replies ? f->replies->n : 1;
}

static void tell_flight(struct receiver *r, const struct flight *f, bool confirmed)
{
        if (f->bells) {
                desk_bells(&r->jet->desk, f->bells, confirmed);
        } else if (f->replies) {
                desk_replies(&r->jet->desk, f->replies, confirmed);
        } else {
                refused_answered(r, f->oversize, confirmed);
        }
}

static void add_flight(struct receiver *r, const struct flight *what)
{
        struct flight *f = malloc(sizeof *f);
        if (!f) {
                tell_flight(r, what, false);
                return;
        }
        *f = *what;
        f->until_ns = clock_ns() + BELL_LIMIT_NS;
        *r->flights_tail = f;
        r->flights_tail = &f->next;
}

void bells_add(struct receiver *r, struct doorbells *bells)
{
        add_flight(r, &(struct flight){.bells = bells});
}

void bells_add_replies(struct receiver *r, struct replies *replies)
{
        add_flight(r, &(struct flight){.replies = replies});
}

void bells_add_oversize(struct receiver *r, struct oversize *o)
{
        add_flight(r, &(struct flight){.oversize = o});
}

static void end_flight(struct receiver *r, struct flight *f, bool confirmed)
{
        forget(&r->window, f);
        tell_flight(r, f, confirmed);
        free(f);
}

/* Ends those that are answered, or whose time is over; all of them when `every`. */
void bells_end(struct receiver *r, bool every)
{
        int64_t now = r->flights ? clock_ns() : 0;
        struct flight **at = &r->flights;
        while (*at) {
                struct flight *f = *at;
                bool whole = f->sent == total(f) && f->open == 0;
                if (!every && !whole && !f->failed && now < f->until_ns) {
                        at = &f->next;
                        continue;
                }
                *at = f->next;
                end_flight(r, f, whole && !f->failed);
        }
        r->flights_tail = at;
}

/* --- sending ---------------------------------------------------------------------------------- */

static bool is_mark(const struct doorbell *b)
{
        static const struct job_id none;
        return job_id_eq(&b->id, &none);
}

static natsStatus publish_bell(struct receiver *r, const struct doorbell *b, const char *subject,
                               const char *reply)
{
        char id[JOB_ID_TEXT] = BELL_MARK, seq[24];
        natsMsg *msg = NULL;
        if (!is_mark(b)) {
                id_text(&b->id, id);
        }
        snprintf(seq, sizeof seq, "%" PRId64, b->seq);
        natsStatus e = natsMsg_Create(&msg, subject, reply, NULL, 0);
        e = e ? e : natsMsgHeader_Set(msg, BELL_HEADER, id);
        e = e ? e : natsMsgHeader_Set(msg, BELL_SEQ_HEADER, seq);
        e = e ? e : natsConnection_PublishMsg(r->link->nc, msg);
        natsMsg_Destroy(msg);
        return e;
}

static void reply_subject(const struct receiver *r, char ret_reply[static REPLY_BYTES])
{
        snprintf(ret_reply, REPLY_BYTES, "%s.r.b.%" PRIu64, r->link->inbox, r->window.next);
}

/* A queue's doorbells wait until its consumer is there: on a stream that keeps only what somebody
 * waits for they would be confirmed and gone. */
static const char *bell_subject(const struct receiver *r, uint32_t queue)
{
        for (const struct tap *t = r->taps; t; t = t->next) {
                if (t->open && t->order->queue == queue && t->pattern == t->order->patterns) {
                        return t->doubted ? NULL : t->order->bell;
                }
        }
        return NULL;
}

static void send_bells(struct receiver *r, struct flight *f)
{
        char reply[REPLY_BYTES];
        const char *subject = bell_subject(r, f->bells->queue);
        while (subject && f->sent < f->bells->n && has_room(&r->window) && !f->failed) {
                reply_subject(r, reply);
                f->failed = publish_bell(r, &f->bells->items[f->sent], subject, reply) != NATS_OK;
                sent(&r->window, f);
                f->sent++;
        }
}

static natsStatus copy_header(natsMsg *from, natsMsg *to, const char *name)
{
        const char **values = NULL;
        int n = 0;
        natsStatus e = natsMsgHeader_Values(from, name, &values, &n);
        for (int i = 0; i < n && !e; i++) {
                e = natsMsgHeader_Add(to, name, values[i]);
        }
        free(values);
        return e;
}

static natsStatus copy_headers(natsMsg *from, natsMsg *to)
{
        const char **names = NULL;
        int n = 0;
        natsStatus e = natsMsgHeader_Keys(from, &names, &n);
        e = e == NATS_NOT_FOUND ? NATS_OK : e;
        for (int i = 0; i < n && !e; i++) {
                e = copy_header(from, to, names[i]);
        }
        free(names);
        return e;
}

/* A message bears its reply subject from its making, so each try is made of the one that is kept.
 */
static natsStatus publish_oversize(struct receiver *r, natsMsg *kept, const char *reply, bool bare)
{
        natsMsg *msg = NULL;
        natsStatus e = natsMsg_Create(&msg, natsMsg_GetSubject(kept), reply, natsMsg_GetData(kept),
                                      natsMsg_GetDataLength(kept));
        e = e || bare ? e : copy_headers(kept, msg);
        e = e ? e : natsConnection_PublishMsg(r->link->nc, msg);
        natsMsg_Destroy(msg);
        return e;
}

static void send_oversize(struct receiver *r, struct flight *f)
{
        char reply[REPLY_BYTES];
        if (!has_room(&r->window)) {
                return;
        }
        reply_subject(r, reply);
        natsStatus e = publish_oversize(r, f->oversize->msg, reply, false);
        if (e == NATS_MAX_PAYLOAD) { /* what was added is too much */
                e = publish_oversize(r, f->oversize->msg, reply, true);
        }
        f->failed = e != NATS_OK;
        sent(&r->window, f);
        f->sent++;
}

/* Some of them and the proof; more once it is back. */
static void send_replies(struct receiver *r, struct flight *f)
{
        char proof[REPLY_BYTES];
        uint32_t bytes = 0;
        if (!has_room(&r->window)) {
                return;
        }
        while (f->sent < f->replies->n && bytes < REPLIES_BYTES && !f->failed) {
                const struct job_reply *reply = &f->replies->items[f->sent++];
                f->failed = !reply_publish(r, &f->replies->arena, reply);
                bytes += reply->body.n + reply->error_text.n + 512;
        }
        reply_subject(r, proof);
        f->failed = f->failed || natsConnection_Publish(r->link->nc, proof, NULL, 0) != NATS_OK;
        sent(&r->window, f);
}

void bells_send(struct receiver *r)
{
        uint32_t large = 0;
        bool replying = false;
        for (struct flight *f = r->flights; f && r->link && r->up; f = f->next) {
                large += f->oversize && f->open;
                replying = replying || (f->replies && f->open);
                if (f->failed || f->sent == total(f)) {
                        continue;
                }
                if (f->bells) {
                        send_bells(r, f);
                } else if (f->replies && !replying) {
                        send_replies(r, f);
                        replying = true;
                } else if (f->oversize && large++ < OVERSIZES_MAX) {
                        send_oversize(r, f);
                }
        }
}

/* --- answers ---------------------------------------------------------------------------------- */

/* True: the stream that it was meant for has it. Another stream may have come to own the subject.
 */
static bool read_answer(struct receiver *r, const struct flight *f, natsMsg *msg,
                        char ret_why[static 120])
{
        const char *stream = f->bells ? r->jet->settings.stream : r->jet->settings.refused_stream;
        if (natsMsg_IsNoResponders(msg)) {
                snprintf(ret_why, 120, "no stream takes them");
                return false;
        }
        json_t *root =
            json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), 0, NULL);
        const char *by = json_string_value(json_object_get(root, "stream"));
        const json_t *error = json_object_get(root, "error");
        const char *text = json_string_value(json_object_get(error, "description"));
        bool ok = !error && by && strcmp(by, stream) == 0;
        if (ok && f->bells) {
                json_int_t sequence = json_integer_value(json_object_get(root, "seq"));
                reach_note(&r->jet->reach, atomic_load(&r->jet->reach.history), (uint64_t)sequence);
        }
        snprintf(ret_why, 120, "%s", error ? text ? text : "refused" : "another stream took them");
        json_decref(root);
        return ok;
}

void bells_answered(struct receiver *r, uint64_t number, natsMsg *msg)
{
        char why[120];
        struct flight *f = answered(&r->window, number);
        if (!f) {
                return;
        }
        f->open--;
        if (f->replies) {
                return; /* the proof is back */
        }
        if (read_answer(r, f, msg, why)) {
                return;
        }
        int64_t now = clock_ns();
        if (!f->failed && f->bells && now - r->refused_ns > NOTE_AGAIN) {
                r->refused_ns = now;
                desk_note(&r->jet->desk, LEVEL_WARNING,
                          "doorbells are not confirmed by stream %s: %s", r->jet->settings.stream,
                          why);
        }
        f->failed = true;
}
