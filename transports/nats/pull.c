/*
 * Pull requests: at most two are out for a consumer, one of a third of the room and one of the
 * rest, so that one is always far from its end when the other is used up. The server serves the
 * requests of a consumer in turns, and so are they counted here; it tells when one ends early.
 *
 * What is asked for and what is unanswered are bounded together, by count and by bytes: more than
 * the ledger takes in the time of two commits only fills memory.
 *
 * A request cannot be taken back but by unsubscribing its inbox. That is done gently, so that
 * messages under way are still delivered: they would hang until the server gives up waiting for
 * them.
 */
#include "transports/nats/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPIRES_NS   (30 * NS_PER_S)
#define BEAT_NS      (5 * NS_PER_S)
#define SILENT_NS    (11 * NS_PER_S) /* two beats did not come */
#define ZERO_WAIT_NS (200 * NS_PER_MS)
#define OVER_WAIT_NS (500 * NS_PER_MS)
#define HUSH_MS      5000
#define HELD_ROOMS   4 /* so many rooms may be unanswered, */
#define HELD_LEAST   64
#define HELD_MOST    6000 /* but not more */
#define PULL_PARTS   4    /* of the bytes that may be unanswered a request is for one */

static uint32_t asked(const struct tap *t)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < t->n_pulls; i++) {
                n += t->pulls[i].left;
        }
        return n;
}

static void show(const struct tap *t)
{
        atomic_store_explicit(&t->post->gauge.asked, asked(t), memory_order_relaxed);
}

/* A queue's room is shared by its patterns, and so are the bytes that may be unanswered. */
static uint32_t share(const struct tap *t)
{
        uint32_t n = t->order->n_patterns;
        return (t->room + n - 1) / n;
}

static uint64_t share_bytes(const struct receiver *r, const struct tap *t)
{
        return r->jet->settings.prefetch_bytes / t->order->n_patterns;
}

static void end_pull(struct tap *t, uint32_t i)
{
        t->pulls[i] = t->pulls[--t->n_pulls];
        show(t);
}

void pull_delivered(struct tap *t, int64_t now)
{
        t->heard_ns = now;
        atomic_store_explicit(&t->post->gauge.delivered_ns, now, memory_order_relaxed);
        if (t->n_pulls) {
                uint32_t i = t->turn++ % t->n_pulls;
                t->bare = false;
                if (--t->pulls[i].left == 0) {
                        end_pull(t, i);
                } else {
                        show(t);
                }
        }
}

/* --- statuses --------------------------------------------------------------------------------- */

static const char *header(natsMsg *msg, const char *name)
{
        const char *value = NULL;
        return natsMsgHeader_Get(msg, name, &value) == NATS_OK && value ? value : "";
}

static uint32_t pull_of(const struct tap *t, const char *subject)
{
        const char *last = strrchr(subject, '.');
        uint64_t number = last ? strtoull(last + 1, NULL, 10) : 0;
        uint32_t i = 0;
        while (i < t->n_pulls && t->pulls[i].number != number) {
                i++;
        }
        return i;
}

/* The consumer, or what leads to it, is not as it was: the keeper has to look before more is asked.
 */
static void doubt(struct receiver *r, struct tap *t, enum look_why why)
{
        if (!t->doubted) {
                t->doubted = true;
                keeper_look(r->jet, t->id, why);
        }
}

void pull_status(struct receiver *r, struct tap *t, natsMsg *msg, int64_t now)
{
        int status = atoi(header(msg, "Status"));
        const char *text = header(msg, "Description");
        uint32_t i = pull_of(t, natsMsg_GetSubject(msg));
        t->heard_ns = now;
        if (status == 100) {
                return;
        }
        bool large = status == 409 && strstr(text, "MaxBytes");
        if (i < t->n_pulls) {
                t->bare = t->bare || (large && t->n_pulls == 1);
                end_pull(t, i);
        }
        bool fine = status == 408 || (status == 404 && strstr(text, "No Messages")) || large ||
                    (status == 409 && strstr(text, "Completed"));
        if (!fine) {
                doubt(r, t, LOOK_GONE);
        }
}

/* --- asking ----------------------------------------------------------------------------------- */

static bool listen_tap(struct receiver *r, struct tap *t)
{
        char subject[sizeof t->inbox + 2];
        snprintf(t->inbox, sizeof t->inbox, "%s.t.%" PRIu32 ".%" PRIu64, r->link->inbox, t->id,
                 ++r->pulls);
        snprintf(subject, sizeof subject, "%s.*", t->inbox);
        t->sub = link_listen(r->link, subject, t->id);
        return t->sub != NULL;
}

static bool ask(struct receiver *r, struct tap *t, uint32_t n, int64_t now)
{
        char body[160], reply[sizeof t->inbox + 24];
        struct pull *p = &t->pulls[t->n_pulls];
        uint64_t bytes = share_bytes(r, t) / PULL_PARTS;
        *p = (struct pull){.number = ++r->pulls,
                           .left = t->bare ? 1 : n,
                           .bare = t->bare,
                           .until_ns = now + EXPIRES_NS + BEAT_NS};
        int size =
            snprintf(body, sizeof body,
                     "{\"batch\":%" PRIu32 ",\"expires\":%" PRId64 ",\"idle_heartbeat\":%" PRId64,
                     p->left, EXPIRES_NS, BEAT_NS);
        if (!p->bare) {
                size += snprintf(body + size, sizeof body - (size_t)size, ",\"max_bytes\":%" PRIu64,
                                 bytes);
        }
        size += snprintf(body + size, sizeof body - (size_t)size, "}");
        snprintf(reply, sizeof reply, "%s.%" PRIu64, t->inbox, p->number);
        if (natsConnection_PublishRequest(r->link->nc, t->pattern->next, reply, body, size) !=
            NATS_OK) {
                return false;
        }
        if (t->n_pulls++ == 0) {
                t->heard_ns = now;
                atomic_store_explicit(&t->post->gauge.delivered_ns, now, memory_order_relaxed);
        }
        show(t);
        return true;
}

/* How many more may be asked for: what is asked for and what is unanswered are bounded together. */
static uint32_t may_ask(const struct receiver *r, const struct tap *t, uint32_t room)
{
        uint64_t most = (uint64_t)room * HELD_ROOMS, prefetch = share_bytes(r, t);
        most = most < HELD_LEAST ? HELD_LEAST : most > HELD_MOST ? HELD_MOST : most;
        uint64_t out = asked(t), bytes = t->held_bytes + (t->n_pulls + 1) * prefetch / PULL_PARTS;
        if (bytes > prefetch || out >= room || t->held + out >= most) {
                return 0;
        }
        uint64_t left = most - t->held - out;
        return left < room - out ? (uint32_t)left : room - (uint32_t)out;
}

static void fill(struct receiver *r, struct tap *t, int64_t now)
{
        uint32_t room = share(t);
        while (t->n_pulls < PULLS_MAX) {
                uint32_t n = may_ask(r, t, room);
                uint32_t least = (room < HELD_MOST ? room : HELD_MOST) / 4;
                if (n == 0 || n < least || (t->bare && t->n_pulls)) {
                        return;
                }
                if (!t->n_pulls && n > 2) {
                        n /= 3;
                }
                if (!ask(r, t, n, now)) {
                        return;
                }
        }
}

/* --- tending ---------------------------------------------------------------------------------- */

static void drop_late(struct tap *t, int64_t now)
{
        for (uint32_t i = t->n_pulls; i-- > 0;) {
                if (now >= t->pulls[i].until_ns) {
                        end_pull(t, i);
                }
        }
}

/* More is out than can be used, and not only for a moment. */
static bool is_over(struct tap *t, int64_t now)
{
        if (asked(t) <= 2 * share(t) + 16) {
                t->over_ns = 0;
        } else if (!t->over_ns) {
                t->over_ns = now;
        }
        return t->over_ns && now - t->over_ns >= OVER_WAIT_NS;
}

void pull_tend(struct receiver *r, struct tap *t, int64_t now)
{
        if (!t->open || !r->link) {
                return;
        }
        if (!t->room) {
                if (t->sub && now - t->room_ns >= ZERO_WAIT_NS) {
                        pull_stop(r, t);
                }
                return;
        }
        if (t->sub && is_over(t, now)) {
                pull_stop(r, t);
        }
        if (t->n_pulls && now - t->heard_ns >= SILENT_NS) {
                pull_stop(r, t);
                doubt(r, t, LOOK_SILENT);
        }
        drop_late(t, now);
        if (!t->doubted && (t->sub || listen_tap(r, t))) {
                fill(r, t, now);
        }
}

int64_t pull_due(const struct tap *t, int64_t now)
{
        if (!t->open) {
                return INT64_MAX;
        }
        if (!t->room) {
                return t->sub ? t->room_ns + ZERO_WAIT_NS : INT64_MAX;
        }
        if (t->over_ns) {
                return t->over_ns + OVER_WAIT_NS;
        }
        return t->n_pulls ? t->heard_ns + SILENT_NS : now + NS_PER_S;
}

/* --- stopping --------------------------------------------------------------------------------- */

void pull_forget(struct receiver *r, struct tap *t, bool wait)
{
        natsSubscription *sub = STEAL(t->sub);
        t->n_pulls = 0;
        t->over_ns = 0;
        show(t);
        struct hush *h = sub && wait ? calloc(1, sizeof *h) : NULL;
        if (!h || natsSubscription_DrainTimeout(sub, HUSH_MS) != NATS_OK) {
                natsSubscription_Destroy(sub);
                free(h);
                return;
        }
        h->sub = sub;
        h->next = r->hushes;
        r->hushes = h;
}

void pull_stop(struct receiver *r, struct tap *t)
{
        pull_forget(r, t, true);
}

void pull_sweep(struct receiver *r, bool all)
{
        for (struct hush **at = &r->hushes; *at;) {
                struct hush *h = *at;
                if (all || !natsSubscription_IsValid(h->sub)) {
                        *at = h->next;
                        natsSubscription_Destroy(h->sub);
                        free(h);
                } else {
                        at = &h->next;
                }
        }
}
