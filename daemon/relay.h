/*
 * The transports of a node: opened as configured, polled by its loop, their events handed to the
 * engine and its actions to them. Decides nothing.
 */
#ifndef SKEP_DAEMON_RELAY_H
#define SKEP_DAEMON_RELAY_H

#include "core/arena.h"
#include "core/config.h"
#include "core/engine.h"
#include "core/transport.h"

struct node;
struct pollfd;

/* One configured transport. */
struct relay_line {
        struct str name; /* a copy */
        struct transport *transport;
        bool up;
        uint64_t ups;   /* times that it came up */
        uint64_t deaf;  /* times that a channel was found silent and reopened */
        char text[256]; /* why it is down */
};

struct relay {
        struct relay_line *lines;
        uint32_t n;
};

/* Opens what the configuration names and is not yet open, tells it its queues; what left the
 * configuration goes on until skepd ends, without queues. > 0: refused, with a note. */
#define RELAY_REFUSED 1
int relay_configure(struct node *n, const struct config *c, char *note, size_t note_size);

void relay_take(struct node *n); /* what happened → the engine */
void relay_carry(struct node *n, const struct engine_action *a);
uint32_t relay_pollfds(const struct node *n, struct pollfd *fds, uint32_t max);
int64_t relay_deadline_ns(const struct node *n);
void relay_close(struct node *n);

#endif
