/*
 * The AMQP 0.9.1 transport: core/transport.h over RabbitMQ.
 *
 * Two threads with a connection each: one consumes and acknowledges, one publishes doorbells (a
 * memory or disk alarm of the broker stops the second alone). What is missing on the broker is
 * declared: the topic exchange EXCHANGE of the configuration (`jobs`), a quorum queue per attached
 * queue, bound by its patterns, EXCHANGE.unrouted (reached through the alternate exchange of the
 * same name) and EXCHANGE.refused (for bodies over the limit). What exists otherwise is named in a
 * note and used as it is.
 *
 * Beyond the seam:
 *  - Messages that no queue was bound for come as arrivals of the queue TRANSPORT_UNROUTED; without
 *    a consume() of that index a few of them are asked for at a time. Their row.queue is empty.
 *  - TRANSPORT_EMPTY tells what a passive declare tells: no message is ready, and none is
 *    unacknowledged here. Messages that other nodes hold unacknowledged are not in that number, so
 *    EMPTY means more when it is told twice in a row (it is looked at every 5 s).
 *  - It connects when pollfds() or dispatch() is first called: UP means that all queues attached
 *    before were looked at. One that is attached later follows within moments, without news.
 *  - Doorbells for a queue that was declared just now wait 3 s: a broker that is killed within the
 *    first second after a declare forgets the queue with all that it confirmed.
 *  - Arrivals of a lost connection that dispatch() did not hand over yet never are.
 *  - A receipt that is freed without settle() while its channel lives closes that channel, so that
 *    all its unacknowledged messages come again.
 */
#ifndef SKEP_TRANSPORTS_AMQP_H
#define SKEP_TRANSPORTS_AMQP_H

#include "core/transport.h"

struct amqp_options {
        const struct transport_config *config; /* copied; zero heartbeat_ms, prefetch_bytes and an
                                                  empty exchange stand for 10 s, 8 MiB, "jobs" */
        uint32_t payload_max;
        const char *spool_dir;   /* for bodies over payload_max, on their way to EXCHANGE.refused */
        const char *application; /* shown to the broker */
};

#define AMQP_REFUSED 1 /* the URL cannot be used; the note says why */
#define AMQP_DOWN    2 /* the broker cannot be used; the note says why */
#define AMQP_ODD     3 /* usable, but its topology is not as expected; the note says how */

/* Never waits for the broker, which may be away. -ENOMEM, -errno of starting threads, or
 * AMQP_REFUSED, noted.
 *
 *   amqp[s]://[user[:password]@]host[:port][,host[:port]...][/vhost][?plaintext=yes]
 *
 * Percent-decoded; without user guest:guest, without vhost "/". amqp:// to another host than the
 * loopback is refused unless plaintext=yes says that it is meant. Several hosts are the nodes of
 * one cluster: each connection begins with any of them, and one that is lost goes on with another.
 */
int amqp_open(const struct amqp_options *o, struct transport **ret, char *note, size_t note_size);

/* For people: connects, logs in, looks and declares nothing. 0 with the broker's version in the
 * note, AMQP_REFUSED, AMQP_DOWN, AMQP_ODD (of several hosts one cannot be reached, too) or -ENOMEM.
 * May block up to 10 s per host. */
int amqp_check(const struct amqp_options *o, char *note, size_t note_size);

#endif
