/*
 * The NATS transport: core/transport.h over JetStream.
 *
 * What is missing on the server is made, if `create` says so: a stream (`JOBS` on `jobs.>`,
 * WorkQueue), a durable pull consumer for each pattern of an attached queue, and STREAM_REFUSED for
 * bodies over the limit. What exists otherwise is named in a note and used as it is, or, where that
 * would lose or stop jobs, not used until somebody mended it.
 *
 * Beyond the seam:
 *  - Every letter has a key: its Nats-Msg-Id, or one made of its stream, sequence and time.
 *  - TRANSPORT_EMPTY is exact: the server counts what waits and what any node holds.
 *  - Messages that no consumer asks for stay in the stream; their subjects are named in notes.
 *  - On a stream that keeps its messages (Limits, Interest) floors are told, so that a consumer
 * that has to be made anew does not bring the history again.
 *  - It connects when pollfds() or dispatch() is first called: UP means that all queues attached
 *    before were looked at.
 *  - A receipt that is freed without settle() hands its messages back, to whichever node.
 */
#ifndef SKEP_TRANSPORTS_NATS_H
#define SKEP_TRANSPORTS_NATS_H

#include "core/transport.h"

struct nats_options {
        const struct transport_config
            *config; /* copied; zeros and empty texts stand for defaults */
        uint32_t payload_max;
        const char *application; /* shown to the server */
};

#define NATS_REFUSED 1 /* the URL or a file cannot be used; the note says why */
#define NATS_DOWN    2 /* the server cannot be used; the note says why */
#define NATS_ODD     3 /* usable, but not as expected or not power-safe; the note says how */

/* Never waits for the server, which may be away. -ENOMEM, -errno of starting threads, or
 * NATS_REFUSED, noted.
 *
 *   nats|tls://[user[:password]@|token@]host[:port][,host[:port]...][?plaintext=yes]
 *
 * Percent-decoded. nats:// to another host than the loopback is refused unless plaintext=yes says
 * that it is meant. */
int nats_open(const struct nats_options *o, struct transport **ret, char *note, size_t note_size);

/* For people: connects, logs in, looks and creates nothing. 0 with the server's version in the
 * note, NATS_REFUSED, NATS_DOWN, NATS_ODD or -ENOMEM. May block up to 10 s. */
int nats_check(const struct nats_options *o, char *note, size_t note_size);

#endif
