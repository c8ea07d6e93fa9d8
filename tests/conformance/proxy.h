/*
 * A proxy between a client and a broker that can do what networks and brokers do: cut, refuse,
 * swallow, fall silent. A protocol takes whole units (frames, lines with their payload) off the
 * bytes, so that what is left out leaves a well-formed stream. One thread of its own; each function
 * has taken effect when it returns.
 */
#ifndef SKEP_TESTS_CONFORMANCE_PROXY_H
#define SKEP_TESTS_CONFORMANCE_PROXY_H

#include "core/base.h"

struct proxy;

/* --- for fixtures ----------------------------------------------------------------------------- */

struct proxy *proxy_free(struct proxy *p); /* NULL-safe, returns NULL */
int proxy_port(const struct proxy *p);

void proxy_cut(struct proxy *p);             /* all links end now */
void proxy_refuse(struct proxy *p, bool on); /* new links end as they begin */
void proxy_lose(struct proxy *p);            /* present links: nothing reaches the broker */

/* --- for protocols ---------------------------------------------------------------------------- */

struct proxy_bytes {
        uint8_t *p;
        size_t n, size;
};

void proxy_append(struct proxy_bytes *b, const uint8_t *p, size_t n);
void proxy_consume(struct proxy_bytes *b, size_t n); /* the first n leave */

#define PROXY_CLIENT 0
#define PROXY_BROKER 1

struct proxy_link {
        int fd[2]; /* the client's, the broker's */
        bool dead;
        bool lost;                  /* what the client sends is swallowed */
        struct proxy_bytes in[2];   /* read from fd[i] */
        struct proxy_bytes out[2];  /* to be written to it */
        struct proxy_bytes waiting; /* of the client, kept back for now */
        void *state;                /* the protocol's: link_size bytes, zeros at first */
};

struct proxy_protocol {
        size_t size, link_size;
        /* Takes whole units off l->in[side] and appends what passes to l->out of the other side. On
         * the proxy's thread. */
        void (*pass)(void *state, struct proxy_link *l, int side);
        void (*end)(struct proxy_link *l); /* frees what l->state holds; MAY be NULL */
};

/* To 127.0.0.1:broker_port. NULL: printed. */
struct proxy *proxy_new(int broker_port, const struct proxy_protocol *protocol);

/* Between these two nothing passes. lock() returns the protocol's state: `size` bytes, zeros at
 * first. */
void *proxy_lock(struct proxy *p);
void proxy_unlock(struct proxy *p);
void proxy_each(struct proxy *p, void (*visit)(struct proxy_link *l, void *ctx), void *ctx);

#endif
