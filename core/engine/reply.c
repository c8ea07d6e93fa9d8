/*
 * Replies: whoever asked for one is told how the job ended, through the transport of its queue.
 *
 * The address is the header `job-reply-to` or `reply-to` of the job, its mark `job-correlation-id`
 * or `correlation-id`: the former are headers of letters, the latter properties and fields. The
 * reply is written in the transaction that ends the job, so that one is owed exactly when the job
 * has ended; it is sent once that is durable, and again by any node until a broker has confirmed
 * it. Jobs without headers, nearly all of them, cost one branch. It must never go out before the
 * commit. A job that nobody ran (expired, cancelled while it waited, malformed) ends without
 * passing here: the ledger writes that a reply is owed, and RELAY brings it, to be addressed then.
 * Discarded: to keep the address in a column of its own, which every row would pay for.
 */
#include "core/engine/inner.h"

#include <stdio.h>

#define ADDRESS_MAX    255
#define TRANSPORTS_MAX CONFIG_TRANSPORTS_MAX

/* Value of a header in the row's form, name NUL value NUL ...; empty: there is none. */
static struct str header_of(struct str h, struct str name)
{
        for (uint32_t i = 0; i < h.n;) {
                struct str key = {h.p + i, (uint32_t)strnlen(h.p + i, h.n - i)};
                uint32_t at = i + key.n + 1;
                uint32_t n = at < h.n ? (uint32_t)strnlen(h.p + at, h.n - at) : 0;
                if (n && str_eq(key, name)) {
                        return (struct str){h.p + at, n};
                }
                i = at + n + 1;
        }
        return (struct str){0};
}

static struct str either(struct str h, struct str own, struct str common)
{
        struct str s = header_of(h, own);
        return s.n ? s : header_of(h, common);
}

/* --- the body of a job that failed ------------------------------------------------------------ */

/* Bytes of a well-formed UTF-8 sequence at s, or 0. Overlong forms and surrogates are let through:
 * they break no reader's framing. */
static uint32_t sequence(struct str s)
{
        uint8_t c = (uint8_t)s.p[0];
        uint32_t n = c < 0x80                ? 1
                     : c >= 0xc2 && c < 0xe0 ? 2
                     : c >= 0xe0 && c < 0xf0 ? 3
                     : c >= 0xf0 && c < 0xf5 ? 4
                                             : 0;
        if (n > s.n) {
                return 0;
        }
        for (uint32_t i = 1; i < n; i++) {
                if (((uint8_t)s.p[i] & 0xc0) != 0x80) {
                        return 0;
                }
        }
        return n;
}

/* As the inside of a JSON string; `out` has room for six bytes for each of s. */
static uint32_t json_escape(struct str s, char *out)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < s.n;) {
                uint32_t bytes = sequence((struct str){s.p + i, s.n - i});
                uint8_t c = (uint8_t)s.p[i];
                if (bytes == 0) {
                        out[n++] = '?';
                        bytes = 1;
                } else if (c == '"' || c == '\\') {
                        out[n++] = '\\';
                        out[n++] = (char)c;
                } else if (c < 0x20) {
                        n += (uint32_t)snprintf(out + n, 7, "\\u%04x", c);
                } else {
                        memcpy(out + n, s.p + i, bytes);
                        n += bytes;
                }
                i += bytes;
        }
        return n;
}

static struct str error_body(struct arena *a, const char *class, struct str why)
{
        char *text = arena_alloc(a, (size_t)why.n * 6 + 1);
        if (!text) {
                return (struct str){0};
        }
        uint32_t n = json_escape(why, text);
        return arena_printf(a, "{\"error\":{\"class\":\"%s\",\"text\":\"%.*s\"}}", class, (int)n,
                            text);
}

static struct str body_of(struct arena *a, const struct finish_row *row)
{
        const char *class = row->error != ERROR_NONE     ? error_class_name(row->error)
                            : row->reason != REASON_NONE ? reason_name(row->reason)
                                                         : state_name(row->to);
        return error_body(a, class, row->error_text);
}

/* --- into the write --------------------------------------------------------------------------- */

static void note_nowhere(struct engine *e, struct queue_books *q, const struct job_id *id)
{
        if (!q->told_reply) {
                q->told_reply = true;
                engine_note(e, 4, id,
                            "queue %.*s has no transport: replies to its jobs go nowhere (told "
                            "once)",
                            (int)q->name.n, q->name.p);
        }
}

static void add_reply(struct engine *e, struct ledger_finish *f, struct finish_row *row,
                      struct queue_books *q, struct str headers)
{
        struct str to = either(headers, STR("job-reply-to"), STR("reply-to"));
        struct str mark = either(headers, STR("job-correlation-id"), STR("correlation-id"));
        struct arena *a = &f->base.arena;
        if (to.n == 0 || to.n > ADDRESS_MAX) {
                return;
        }
        if (q->transport.n == 0) {
                note_nowhere(e, q, &row->id);
                return;
        }
        struct job_reply *r = arena_zalloc(a, sizeof *r);
        if (!r) {
                return;
        }
        bool done = row->to == STATE_COMPLETED;
        *r = (struct job_reply){
            .queue = arena_str(a, q->name),
            .to = arena_str(a, to),
            .correlation_id = arena_str(a, mark),
            .content_type = done ? row->result_type : STR("application/json"),
            .body = done ? row->result : body_of(a, row),
            .job = row->id,
            .state = row->to,
            .reason = row->reason,
            .error_text = row->error_text,
        };
        row->reply = r->queue.p && r->to.p && (done || r->body.p) ? r : NULL;
}

void reply_fill(struct engine *e, struct ledger_finish *f)
{
        for (uint32_t i = 0; i < f->n; i++) {
                struct finish_row *row = &f->rows[i];
                const struct job *j = row->job;
                if (j->headers.n && state_terminal(row->to)) {
                        add_reply(e, f, row, &e->queues[j->queue_index], j->headers);
                }
        }
}

void reply_held(struct engine *e, struct ledger_finish *f, struct finish_row *row,
                const struct held_job *h)
{
        int at = queue_find(e, h->queue);
        if (at >= 0 && h->headers.n && state_terminal(row->to) && !PLANT(reply_of_lost)) {
                add_reply(e, f, row, &e->queues[at], h->headers);
        }
}

/* --- out -------------------------------------------------------------------------------------- */

/* Which transport carries it, as the engine counts them; -1: none that is up. */
static int transport_of(const struct engine *e, const struct job_reply *r)
{
        int at = queue_find(e, r->queue);
        for (uint32_t i = 0; at >= 0 && i < e->n_transports && i < TRANSPORTS_MAX; i++) {
                if (e->transports[i].up && str_eq(e->transports[i].name, e->queues[at].transport)) {
                        return (int)i;
                }
        }
        return -1;
}

static bool copy_reply(struct arena *a, const struct job_reply *from, struct job_reply *to)
{
        *to = *from;
        to->queue = arena_str(a, from->queue);
        to->to = arena_str(a, from->to);
        to->correlation_id = arena_str(a, from->correlation_id);
        to->content_type = arena_str(a, from->content_type);
        to->body = arena_str(a, from->body);
        to->error_text = arena_str(a, from->error_text);
        return to->queue.p && to->to.p && to->correlation_id.p && to->content_type.p &&
               to->body.p && to->error_text.p;
}

struct reply_bags { /* one for each transport */
        struct replies *open[TRANSPORTS_MAX];
        uint32_t most;
};

/* What cannot be sent now stays in the ledger. */
static void bag_reply(struct engine *e, struct reply_bags *bags, const struct job_reply *r)
{
        int at = transport_of(e, r);
        if (at < 0) {
                return;
        }
        if (!bags->open[at]) {
                bags->open[at] = replies_new(bags->most);
        }
        struct replies *bag = bags->open[at];
        if (bag && copy_reply(&bag->arena, r, &bag->items[bag->n])) {
                bag->n++;
        }
}

static void send_bags(struct engine *e, struct reply_bags *bags)
{
        for (uint32_t i = 0; i < e->n_transports && i < TRANSPORTS_MAX; i++) {
                struct replies *bag = STEAL(bags->open[i]);
                struct engine_action *a = bag && bag->n ? engine_act(e, ACT_REPLY) : NULL;
                if (!a) {
                        replies_free(bag);
                        continue;
                }
                a->replies = bag;
                a->transport = e->transports[i].name;
        }
}

void reply_written(struct engine *e, const struct ledger_finish *f)
{
        struct reply_bags bags = {.most = f->n};
        for (uint32_t i = 0; i < f->n; i++) {
                if (f->rows[i].reply && !f->rows[i].stale) {
                        bag_reply(e, &bags, f->rows[i].reply);
                }
        }
        send_bags(e, &bags);
}

/* --- owed ------------------------------------------------------------------------------------- */

static struct str words_for(enum job_reason reason)
{
        switch (reason) {
        case REASON_EXPIRED: return STR("it was not started before its deadline");
        case REASON_OPERATOR: return STR("it was cancelled before it ran");
        case REASON_DROPPED: return STR("its queue was full and dropped its oldest");
        case REASON_OVERLAPPED: return STR("the next run of its schedule was due");
        case REASON_DUPLICATE: return STR("its unique key is held by another job");
        default: return STR("it ended before it ran");
        }
}

/* Gives a reply that the ledger wrote as owed its address and its body. False: nobody waits for it,
 * or nothing can carry it. A queue that this node does not know may have a transport elsewhere. */
static bool owed_filled(struct engine *e, struct arena *a, struct job_reply *r)
{
        int at = queue_find(e, r->queue);
        r->to = either(r->headers, STR("job-reply-to"), STR("reply-to"));
        r->correlation_id = either(r->headers, STR("job-correlation-id"), STR("correlation-id"));
        if (r->to.n == 0 || r->to.n > ADDRESS_MAX || PLANT(reply_owed)) {
                return false;
        }
        if (at >= 0 && e->queues[at].transport.n == 0) {
                note_nowhere(e, &e->queues[at], &r->job);
                return false;
        }
        if (r->error_text.n == 0) {
                r->error_text = words_for(r->reason);
        }
        r->content_type = STR("application/json");
        r->body = error_body(a, reason_name(r->reason), r->error_text);
        return true;
}

void reply_relayed(struct engine *e, struct ledger_relay *b)
{
        struct reply_bags bags = {.most = b->n_replies};
        for (uint32_t i = 0; i < b->n_replies && !PLANT(reply_once); i++) {
                struct job_reply *r = &b->replies[i];
                if (r->to.n == 0 && !owed_filled(e, &b->base.arena, r)) {
                        number_add(&e->replied, r->no);
                } else {
                        bag_reply(e, &bags, r);
                }
        }
        send_bags(e, &bags);
}

static bool ends_waiting(struct ledger_batch *b)
{
        switch (b->op) {
        case LEDGER_CLAIM: return LEDGER_AS(claim, CLAIM, b)->expired > 0;
        case LEDGER_CANCEL: return LEDGER_AS(cancel, CANCEL, b)->result == CANCEL_DONE;
        case LEDGER_BULK: return LEDGER_AS(bulk, BULK, b)->kind == BULK_CANCEL;
        case LEDGER_TICK: return LEDGER_AS(tick, TICK, b)->has_cancel;
        default: return false;
        }
}

void reply_hint(struct engine *e, struct ledger_batch *b)
{
        if (b->outcome == LEDGER_COMMITTED && ends_waiting(b)) {
                e->relay_ns = engine_min(e->relay_ns, e->now.mono_ns);
        }
}

/* --- the answer ------------------------------------------------------------------------------- */

void reply_answered(struct engine *e, struct replies *list)
{
        while (list) {
                struct replies *r = list;
                list = r->next;
                bool sure = r->confirmed || PLANT(reply_unconfirmed);
                for (uint32_t i = 0; sure && i < r->n; i++) {
                        e->view.replies++;
                        number_add(&e->replied, r->items[i].no); /* no memory: it goes once more */
                }
                replies_free(r);
        }
}
