/*
 * Lists with tails, so that laying down costs the same however much lies there, and one eventfd
 * that is written only when the desk was empty: under load the engine's thread is awake anyway.
 *
 * It must never free a receipt under its mutex: dropping one may lock the transport's own.
 */
#include "transports/desk/desk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

void desk_wake(int wake_fd)
{
        uint64_t one = 1;
        ssize_t n = write(wake_fd, &one, sizeof one);
        (void)n; /* can only fail when the counter is full: then it is readable */
}

int desk_init(struct desk *d, uint32_t n_sides, struct receipt *(*drop)(struct receipt *r))
{
        pthread_mutex_init(&d->mutex, NULL);
        d->n_sides = n_sides;
        d->drop = drop;
        d->news_tail = &d->news;
        d->arrivals_tail = &d->arrivals;
        d->bells_tail = &d->bells;
        d->confirmed_tail = &d->confirmed;
        d->replies_tail = &d->replies;
        d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return d->event_fd < 0 ? -errno : 0;
}

static void drop_arrivals(struct desk *d, struct arrivals *a)
{
        d->drop(a->receipt);
        arrivals_free(a);
}

void desk_drain(struct desk *d)
{
        struct transport_answers all;
        desk_take(d, &all);
        while (all.news) {
                struct transport_news *n = all.news;
                all.news = n->next;
                free(n);
        }
        while (all.arrivals) {
                struct arrivals *a = all.arrivals;
                all.arrivals = a->next;
                drop_arrivals(d, a);
        }
        while (all.bells) {
                struct doorbells *b = all.bells;
                all.bells = b->next;
                doorbells_free(b);
        }
        while (all.confirmed) {
                struct receipt *r = all.confirmed;
                all.confirmed = r->next;
                d->drop(r);
        }
        while (all.replies) {
                struct replies *r = all.replies;
                all.replies = r->next;
                replies_free(r);
        }
}

void desk_deinit(struct desk *d)
{
        desk_drain(d);
        if (d->event_fd >= 0) {
                close(d->event_fd);
        }
        pthread_mutex_destroy(&d->mutex);
}

void desk_take(struct desk *d, struct transport_answers *ret)
{
        uint64_t count;
        ssize_t n = read(d->event_fd, &count, sizeof count);
        (void)n; /* EAGAIN: nothing rang */
        pthread_mutex_lock(&d->mutex);
        *ret = (struct transport_answers){d->news, d->arrivals, d->bells, d->confirmed, d->replies};
        d->news = NULL;
        d->news_tail = &d->news;
        d->arrivals = NULL;
        d->arrivals_tail = &d->arrivals;
        d->bells = NULL;
        d->bells_tail = &d->bells;
        d->confirmed = NULL;
        d->confirmed_tail = &d->confirmed;
        d->replies = NULL;
        d->replies_tail = &d->replies;
        pthread_mutex_unlock(&d->mutex);
}

static bool is_empty(const struct desk *d)
{
        return !d->news && !d->arrivals && !d->bells && !d->confirmed && !d->replies;
}

/* Begins laying down; the answer goes to leave(). */
static bool enter(struct desk *d)
{
        pthread_mutex_lock(&d->mutex);
        return is_empty(d);
}

static void leave(struct desk *d, bool was_empty)
{
        bool ring = was_empty && !is_empty(d);
        pthread_mutex_unlock(&d->mutex);
        if (ring) {
                desk_wake(d->event_fd);
        }
}

/* --- news ------------------------------------------------------------------------------------- */

static void push_news(struct desk *d, const struct transport_news *news)
{
        struct transport_news *n = malloc(sizeof *n);
        if (n) {
                *n = *news;
                n->next = NULL;
                *d->news_tail = n;
                d->news_tail = &n->next;
        }
}

void desk_news(struct desk *d, const struct transport_news *news)
{
        bool was_empty = enter(d);
        push_news(d, news);
        leave(d, was_empty);
}

void desk_note(struct desk *d, int level, const char *fmt, ...)
{
        struct transport_news n = {.kind = TRANSPORT_NOTE, .level = level};
        va_list args;
        va_start(args, fmt);
        vsnprintf(n.text, sizeof n.text, fmt, args);
        va_end(args);
        desk_news(d, &n);
}

void desk_tell(struct desk *d, enum transport_news_kind kind, uint32_t queue)
{
        struct transport_news n = {.kind = kind, .queue = queue};
        desk_news(d, &n);
}

void desk_lost(struct desk *d, uint64_t connection)
{
        struct transport_news n = {.kind = TRANSPORT_LOST, .connection = connection};
        struct arrivals *dropped = NULL;
        bool was_empty = enter(d);
        for (struct arrivals **p = &d->arrivals; *p;) {
                struct arrivals *a = *p;
                if (a->connection == connection) {
                        *p = a->next;
                        a->next = dropped;
                        dropped = a;
                } else {
                        p = &a->next;
                }
        }
        for (d->arrivals_tail = &d->arrivals; *d->arrivals_tail;) {
                d->arrivals_tail = &(*d->arrivals_tail)->next;
        }
        push_news(d, &n);
        leave(d, was_empty);
        while (dropped) {
                struct arrivals *next = dropped->next;
                drop_arrivals(d, dropped);
                dropped = next;
        }
}

static bool is_up(const struct desk *d)
{
        for (uint32_t i = 0; i < d->n_sides; i++) {
                if (!d->usable[i]) {
                        return false;
                }
        }
        return true;
}

void desk_side(struct desk *d, uint32_t side, bool usable, const char *text)
{
        bool was_empty = enter(d);
        d->usable[side] = usable;
        bool up = is_up(d);
        bool changed = !d->told ? up || !usable : up != d->told_up;
        if (changed || (!up && !usable && strcmp(text, d->told_text) != 0)) {
                struct transport_news n = {.kind = up ? TRANSPORT_UP : TRANSPORT_DOWN};
                snprintf(n.text, sizeof n.text, "%s", text);
                snprintf(d->told_text, sizeof d->told_text, "%s", text);
                d->told = true;
                d->told_up = up;
                push_news(d, &n);
        }
        leave(d, was_empty);
}

bool desk_up(struct desk *d)
{
        pthread_mutex_lock(&d->mutex);
        bool up = is_up(d);
        pthread_mutex_unlock(&d->mutex);
        return up;
}

/* --- work ------------------------------------------------------------------------------------- */

void desk_arrivals(struct desk *d, struct arrivals *a)
{
        bool was_empty = enter(d);
        a->next = NULL;
        *d->arrivals_tail = a;
        d->arrivals_tail = &a->next;
        leave(d, was_empty);
}

void desk_bells(struct desk *d, struct doorbells *b, bool confirmed)
{
        bool was_empty = enter(d);
        b->confirmed = confirmed;
        b->next = NULL;
        *d->bells_tail = b;
        d->bells_tail = &b->next;
        leave(d, was_empty);
}

void desk_confirmed(struct desk *d, struct receipt *r)
{
        bool was_empty = enter(d);
        r->next = NULL;
        *d->confirmed_tail = r;
        d->confirmed_tail = &r->next;
        leave(d, was_empty);
}

void desk_replies(struct desk *d, struct replies *r, bool confirmed)
{
        bool was_empty = enter(d);
        r->confirmed = confirmed;
        r->next = NULL;
        *d->replies_tail = r;
        d->replies_tail = &r->next;
        leave(d, was_empty);
}
