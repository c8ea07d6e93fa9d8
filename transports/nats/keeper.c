/*
 * The keeping thread: everything that waits for an answer. It opens the link, looks at the stream
 * and the consumers, makes what is missing, watches them from outside, and tells the receiver what
 * to consume. It never touches a message of a queue.
 *
 * A link that broke is given up as a whole, and the next one begins with a look at everything: what
 * was true before the server went away need not be true after.
 */
#include "transports/desk/thread.h"
#include "transports/nats/internal.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS  5000
#define STREAM_EVERY   (5 * NS_PER_S)
#define STREAM_SOON    (200 * NS_PER_MS)
#define REFUSED_EVERY  (5 * NS_PER_S)
#define NAMES_EVERY    (30 * NS_PER_S)
#define PROBE_FIRST    NS_PER_S
#define LOOK_AGAIN     NS_PER_S
#define FOUND_MAX      64
#define DENIAL_EVERY   NS_PER_S

void keeper_say(struct keeper *k, struct post *p, int level, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        said_vnote(p ? &p->said : &k->said, &k->jet->desk, level, fmt, args);
        va_end(args);
}

void keeper_look(struct jet *jet, uint32_t post, enum look_why why)
{
        struct keeper *k = &jet->keeper;
        struct look *l = calloc(1, sizeof *l);
        if (!l) {
                return; /* the next probe finds it */
        }
        l->post = post;
        l->why = why;
        pthread_mutex_lock(&k->inbox.mutex);
        l->next = k->inbox.looks;
        k->inbox.looks = l;
        pthread_mutex_unlock(&k->inbox.mutex);
        desk_wake(k->wake_fd);
}

/* --- orders to the receiver ------------------------------------------------------------------- */

/* Out of memory gives the link up: everything is told again with the next one. */
static bool tell(struct keeper *k, enum deed_kind kind, struct post *p, const char *text)
{
        struct deed *d = deed_new(kind);
        if (!d) {
                k->dropped = true;
                snprintf(k->why, sizeof k->why, "out of memory");
                return false;
        }
        snprintf(d->text, sizeof d->text, "%s", text ? text : "");
        d->post = p;
        if (p) {
                d->order = p->order;
                d->pattern = p->pattern;
                d->ack_wait_ns = p->ack_wait_ns;
                d->history = k->history;
                d->anew = p->anew;
        }
        if (kind == DEED_LINK) {
                d->link = k->link;
                atomic_fetch_add(&k->link->users, 1);
                atomic_fetch_add(&k->link->refs, 1);
        }
        receiver_do(k->jet, d);
        return true;
}

void keeper_open(struct keeper *k, struct post *p)
{
        if (tell(k, DEED_OPEN, p, NULL)) {
                p->open = p->told = true;
                p->open_ns = clock_ns();
                p->anew = p->silent = false;
                p->waiting_ns = 0;
        }
}

void keeper_close(struct keeper *k, struct post *p)
{
        if (p->open) {
                (void)tell(k, DEED_CLOSE, p, NULL);
        }
        p->open = p->told = false;
        p->anew = true;
}

static void forget_posts(struct keeper *k)
{
        for (struct line *line = k->lines; line; line = line->next) {
                for (struct post *p = line->posts; p; p = p->next) {
                        p->looked = p->ready = p->open = p->told = p->silent = false;
                        p->anew = true;
                        p->look_ns = 0;
                }
        }
}

/* All sessions end with it. */
void keeper_down(struct keeper *k, const char *text)
{
        k->told_up = false;
        (void)tell(k, DEED_DOWN, NULL, text);
        forget_posts(k);
}

/* --- queues ----------------------------------------------------------------------------------- */

static struct line *line_of(struct keeper *k, uint32_t queue)
{
        struct line *line = k->lines;
        while (line && line->order->queue != queue) {
                line = line->next;
        }
        return line;
}

static struct post *take_post(struct line *line, const char *filter)
{
        for (struct post **at = &line->posts; *at; at = &(*at)->next) {
                struct post *p = *at;
                if (strcmp(p->pattern->filter, filter) == 0) {
                        *at = p->next;
                        return p;
                }
        }
        return NULL;
}

static struct post *make_post(struct keeper *k)
{
        struct post *p = calloc(1, sizeof *p);
        if (p) {
                p->id = ++k->posts;
                p->anew = true;
        }
        return p;
}

static void part_post(struct keeper *k, struct post *p)
{
        keeper_close(k, p);
        desk_note(&k->jet->desk, LEVEL_NOTICE,
                  "queue %s: consumer %s of stream %s is not used any more; it keeps its messages "
                  "until it is removed",
                  p->order->name, p->pattern->durable, k->jet->settings.stream);
        p->next = k->gone; /* the receiver may still look at it */
        k->gone = p;
}

static void obey(struct keeper *k, struct order *o)
{
        struct line *line = line_of(k, o->queue);
        struct post *posts = NULL, **tail = &posts;
        o->next = k->orders;
        k->orders = o;
        if (!line) {
                line = calloc(1, sizeof *line);
                if (line) {
                        line->next = k->lines;
                        k->lines = line;
                }
        }
        for (uint32_t i = 0; line && i < o->n_patterns; i++) {
                struct post *p = take_post(line, o->patterns[i].filter);
                p = p ? p : make_post(k);
                if (p) {
                        p->order = o;
                        p->pattern = &o->patterns[i];
                        p->told = false;
                        p->next = NULL;
                        *tail = p;
                        tail = &p->next;
                }
        }
        while (line && line->posts) {
                struct post *p = line->posts;
                line->posts = p->next;
                part_post(k, p);
        }
        if (line) {
                line->order = o;
                line->posts = posts;
        }
}

/* --- the inbox -------------------------------------------------------------------------------- */

static struct post *post_of(struct keeper *k, uint32_t id)
{
        for (struct line *line = k->lines; line; line = line->next) {
                for (struct post *p = line->posts; p; p = p->next) {
                        if (p->id == id) {
                                return p;
                        }
                }
        }
        return NULL;
}

static void take_floor(struct keeper *k, const struct floor_answer *a)
{
        char name[256];
        for (struct line *line = k->lines; line; line = line->next) {
                for (struct post *p = line->posts; p; p = p->next) {
                        history_name(k, p, name);
                        if (!p->floor_known && strcmp(name, a->history) == 0) {
                                p->floor_known = true;
                                p->floor = a->floor > p->floor_told ? a->floor : p->floor_told;
                                p->look_ns = 0;
                        }
                }
        }
}

static void take_look(struct keeper *k, const struct look *l)
{
        struct post *p = post_of(k, l->post);
        if (p && p->open) {
                p->told = p->ready = false;
                p->look_ns = p->open_ns + LOOK_AGAIN; /* what is refused at once, again and again */
                p->silent = l->why == LOOK_SILENT;
                k->stream_ns = l->why == LOOK_GONE ? 0 : k->stream_ns;
        }
}

static void take_inbox(struct keeper *k)
{
        pthread_mutex_lock(&k->inbox.mutex);
        struct order *orders = k->inbox.orders;
        struct floor_answer *floors = k->inbox.floors;
        struct look *looks = k->inbox.looks;
        k->inbox.orders = NULL;
        k->inbox.orders_tail = &k->inbox.orders;
        k->inbox.floors = NULL;
        k->inbox.looks = NULL;
        k->stopping = k->inbox.stop;
        pthread_mutex_unlock(&k->inbox.mutex);
        while (orders) {
                struct order *next = orders->next;
                obey(k, orders);
                orders = next;
        }
        while (floors) {
                struct floor_answer *next = floors->next;
                take_floor(k, floors);
                free(floors);
                floors = next;
        }
        while (looks) {
                struct look *next = looks->next;
                take_look(k, looks);
                free(looks);
                looks = next;
        }
}

static void wait_until(struct keeper *k, int64_t at)
{
        int64_t left = at - clock_ns();
        left = left < 0 ? 0 : left;
        struct timespec ts = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
        struct pollfd fd = {.fd = k->wake_fd, .events = POLLIN};
        uint64_t count;
        if (ppoll(&fd, 1, at == INT64_MAX ? NULL : &ts, NULL) > 0) {
                ssize_t n = read(k->wake_fd, &count, sizeof count);
                (void)n;
        }
        take_inbox(k);
}

/* --- looking ---------------------------------------------------------------------------------- */

static bool alive(const struct keeper *k)
{
        return !k->stopping && !k->dropped && !atomic_load(&k->link->closed);
}

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

static void look_at(struct keeper *k, struct post *p)
{
        if (p->silent) {
                probe_silent(k, p);
        }
        if (alive(k)) {
                durable_look(k, p);
        }
}

/* All were looked at, whatever came of it. */
static bool look_at_posts(struct keeper *k, int64_t *ret_due)
{
        bool all = true;
        for (struct line *line = k->lines; line; line = line->next) {
                for (struct post *p = line->posts; p && alive(k) && k->usable; p = p->next) {
                        if (!p->ready && clock_ns() >= p->look_ns) {
                                look_at(k, p);
                        }
                        all = all && p->looked;
                        *ret_due = p->ready ? *ret_due : earlier(*ret_due, p->look_ns);
                }
        }
        return all && alive(k) && k->usable;
}

static void tell_posts(struct keeper *k)
{
        for (struct line *line = k->lines; line; line = line->next) {
                for (struct post *p = line->posts; p; p = p->next) {
                        if (p->ready && !p->told) {
                                line->probe_ns =
                                    p->open ? line->probe_ns : clock_ns() + PROBE_FIRST;
                                keeper_open(k, p);
                        }
                }
        }
}

static void probe(struct keeper *k, int64_t *ret_due)
{
        for (struct line *line = k->lines; line; line = line->next) {
                if (alive(k) && clock_ns() >= line->probe_ns) {
                        probe_line(k, line);
                }
                *ret_due = earlier(*ret_due, line->probe_ns);
        }
}

/* --- what else is due ------------------------------------------------------------------------- */

static void note_found(struct keeper *k)
{
        char **servers = NULL;
        int n = 0;
        if (natsConnection_GetDiscoveredServers(k->link->nc, &servers, &n) != NATS_OK) {
                return;
        }
        if (n > 0) {
                char(*found)[256] = calloc(FOUND_MAX, sizeof *found);
                k->n_found = 0;
                for (int i = 0; found && i < n && k->n_found < FOUND_MAX; i++) {
                        snprintf(found[k->n_found++], sizeof *found, "%s", servers[i]);
                }
                free(k->found);
                k->found = found;
        }
        for (int i = 0; i < n; i++) {
                free(servers[i]);
        }
        free(servers);
}

static void look_at_stream(struct keeper *k, int64_t now)
{
        if (now < k->stream_ns) {
                return;
        }
        k->usable = stream_look(k);
        /* a server that has just deleted a stream needs a moment before it makes one of its name */
        k->stream_fails = k->usable ? 0 : k->stream_fails + 1;
        int64_t wait =
            k->usable || k->stream_fails > 5 ? STREAM_EVERY : STREAM_SOON << (k->stream_fails - 1);
        k->stream_ns = now + wait;
        if (alive(k)) {
                note_found(k);
        }
}

static void look_at_rest(struct keeper *k, int64_t now)
{
        if (now >= k->refused_ns && !k->refused_ready) {
                k->refused_ns = now + REFUSED_EVERY;
                k->refused_ready = stream_refused(k);
        }
        if (alive(k) && now >= k->names_ns) {
                k->names_ns = now + NAMES_EVERY;
                names_look(k);
        }
}

static void note_lame(struct keeper *k)
{
        if (!k->lame && atomic_load(&k->link->lame)) {
                k->lame = true;
                desk_note(&k->jet->desk, LEVEL_NOTICE,
                          "%s: the server is about to end (lame duck mode)",
                          k->jet->settings.place);
        }
}

/* A subject that bears a number is told without it: one complaint for all messages. */
static void note_denial(struct keeper *k, int64_t now, int64_t *due)
{
        struct link *l = k->link;
        if (!atomic_load(&l->denied)) {
                return;
        }
        if (now < k->denial_ns) {
                *due = earlier(*due, k->denial_ns);
                return;
        }
        char *ack = strstr(l->denial, "$JS.ACK."), *inbox = strstr(l->denial, "_INBOX.");
        char *end = ack ? strchr(ack + strlen("$JS.ACK."), '.') : inbox ? strchr(inbox, '.') : NULL;
        if (end) {
                snprintf(end, sizeof l->denial - (size_t)(end - l->denial), ".>\"");
        }
        keeper_say(k, NULL, LEVEL_ERROR, "%s: this user lacks a permission: %s",
                   k->jet->settings.place, l->denial);
        k->denial_ns = now + DENIAL_EVERY;
        atomic_store(&l->denied, false);
}

/* Returns when there is more to do. */
static int64_t tend(struct keeper *k)
{
        int64_t now = clock_ns(), due = now + STREAM_EVERY;
        note_lame(k);
        note_denial(k, now, &due);
        look_at_stream(k, now);
        if (k->usable && alive(k) && look_at_posts(k, &due) && !k->told_up) {
                k->told_up = tell(k, DEED_UP, NULL, k->jet->settings.place);
        }
        if (k->told_up && alive(k)) {
                tell_posts(k);
                probe(k, &due);
                look_at_rest(k, now);
        }
        if (alive(k) && k->doubt) {
                bool deaf;
                k->doubt = false;
                (void)api_hears(k, &deaf);
        }
        return earlier(due, k->stream_ns);
}

/* --- the thread ------------------------------------------------------------------------------- */

static void serve(struct keeper *k)
{
        k->dropped = k->doubt = k->lame = k->usable = k->refused_ready = false;
        k->stream_ns = k->refused_ns = 0;
        k->stream_fails = 0;
        k->names_ns = clock_ns() + PROBE_FIRST;
        forget_posts(k);
        (void)tell(k, DEED_LINK, NULL, NULL);
        while (alive(k)) {
                int64_t at = tend(k);
                if (alive(k)) {
                        wait_until(k, at);
                }
        }
}

static void why_closed(struct keeper *k, char *note, size_t size)
{
        const char *text = k->dropped ? k->why : NULL;
        if (!text && natsConnection_GetLastError(k->link->nc, &text) == NATS_NOT_PERMITTED) {
                text = NULL; /* the last one, but it closes nothing */
        }
        snprintf(note, size, "%s: %s", k->jet->settings.place,
                 text && *text ? text : "the connection broke off");
}

/* False: it cannot be reached. */
static bool one_link(struct keeper *k)
{
        char note[256];
        if (link_open(k->jet, ++k->links, &k->link, note, sizeof note)) {
                keeper_down(k, note);
                return false;
        }
        serve(k);
        note_denial(k, clock_ns(), &(int64_t){0}); /* it may be why nothing was answered */
        why_closed(k, note, sizeof note);
        keeper_down(k, note);
        (void)tell(k, DEED_LEAVE, NULL, NULL);
        k->link = link_leave(k->link);
        return true;
}

static void rest(struct keeper *k, uint32_t ms)
{
        int64_t until = clock_ns() + jittered(&k->random, ms) * NS_PER_MS;
        while (!k->stopping && clock_ns() < until) {
                wait_until(k, until);
        }
}

void *keeper_run(void *arg)
{
        struct keeper *k = arg;
        struct jet *jet = k->jet;
        uint32_t delay = RETRY_FIRST_MS;
        thread_yield_wakeups();
        (void)nats_SetMessageDeliveryPoolSize(1);
        while (!k->stopping && !atomic_load(&jet->polled)) {
                wait_until(k, INT64_MAX);
        }
        take_inbox(k);
        while (!k->stopping) {
                int64_t began = clock_ns();
                bool reached = one_link(k) && clock_ns() - began > NS_PER_S;
                delay = reached ? RETRY_FIRST_MS : delay;
                rest(k, delay);
                delay = delay * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : delay * 2;
        }
        free(k->found);
        k->found = NULL;
        k->n_found = 0;
        jet_unref(jet);
        return NULL;
}
