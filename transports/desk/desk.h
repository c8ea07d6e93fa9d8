/*
 * The desk of a transport: where its threads lay down what the engine's dispatch() takes away.
 * Lists under one mutex, and an eventfd that is rung when the desk was empty. Also decides what is
 * UP and DOWN, which may take several sides (connections).
 *
 * Any thread may call any of these; none waits for longer than a few assignments.
 */
#ifndef SKEP_TRANSPORTS_DESK_H
#define SKEP_TRANSPORTS_DESK_H

#include "core/transport.h"

#include <pthread.h>

#define LEVEL_ERROR   3
#define LEVEL_WARNING 4
#define LEVEL_NOTICE  5
#define LEVEL_INFO    6

#define DESK_SIDES_MAX 4

struct desk {
        pthread_mutex_t mutex;
        int event_fd;
        struct receipt *(*drop)(struct receipt *r /* takes r */); /* one that nobody will settle */
        uint32_t n_sides;
        struct transport_news *news, **news_tail;
        struct arrivals *arrivals, **arrivals_tail;
        struct doorbells *bells, **bells_tail;
        struct receipt *confirmed, **confirmed_tail;
        struct replies *replies, **replies_tail;
        bool usable[DESK_SIDES_MAX], told, told_up;
        char told_text[256];
};

/* UP takes so many sides. `drop` is called without the desk's mutex. 0 or -errno; desk_deinit() is
 * due in any case. */
int desk_init(struct desk *d, uint32_t n_sides, struct receipt *(*drop)(struct receipt *r));
void desk_drain(struct desk *d); /* frees what lies there */
void desk_deinit(struct desk *d);
void desk_take(struct desk *d, struct transport_answers *ret);

void desk_note(struct desk *d, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void desk_tell(struct desk *d, enum transport_news_kind kind, uint32_t queue);
void desk_news(struct desk *d, const struct transport_news *news); /* copies */
void desk_lost(struct desk *d, uint64_t connection); /* drops its arrivals that still lie here */
/* Tells a change, and another reason. */
void desk_side(struct desk *d, uint32_t side, bool usable, const char *text);
bool desk_up(struct desk *d);

void desk_arrivals(struct desk *d, struct arrivals *a /* takes a */);
void desk_bells(struct desk *d, struct doorbells *b /* takes b */, bool confirmed);
void desk_confirmed(struct desk *d, struct receipt *r /* takes r */);
void desk_replies(struct desk *d, struct replies *r /* takes r */, bool confirmed);

/* An eventfd that some thread sleeps on. */
void desk_wake(int wake_fd);

#endif
