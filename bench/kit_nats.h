/*
 * nats.c for the publisher and the bare loops: a connection, a stream as skepd makes its own, and
 * calls that must succeed. Pulls and acknowledgements are plain messages: nats.c 3.4.1 writes past
 * its memory in natsSubscription_Fetch(), and natsMsg_Ack() knows its own subscriptions alone.
 */
#ifndef SKEP_BENCH_KIT_NATS_H
#define SKEP_BENCH_KIT_NATS_H

#include <nats/nats.h>
#include <stdbool.h>

#define STREAM_CONSUMER "bare" /* the durable that a bare loop pulls from */

/* at_once: each message leaves for itself; otherwise the library gathers them for a millisecond. */
natsConnection *stream_connect(const char *url, bool at_once);
void stream_leave(natsConnection *c);
void stream_must(natsStatus s, const char *what);

/* A subscription to an inbox of its own; `tail` is what follows its name ("" or ".*"). */
natsSubscription *stream_listen(natsConnection *c, const char *tail, natsInbox **ret_inbox);

/* Made, unless it is there already: in a file, WorkQueue, two minutes of message ids. */
void stream_declare(natsConnection *c, const char *stream, const char *subjects);
long stream_depth(natsConnection *c, const char *stream);
void stream_purge(natsConnection *c, const char *stream);

/* Likewise: a durable pull consumer of one subject, each letter acknowledged for itself. */
void stream_declare_consumer(natsConnection *c, const char *stream, const char *subject);
long stream_unsettled(natsConnection *c, const char *stream); /* given to it, not acknowledged */

#endif
