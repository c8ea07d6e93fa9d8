/*
 * A client of NATS over a plain socket, for what a producer, an operator and another consumer do to
 * a stream. It is not the library that the transport uses, so that it shares none of its habits:
 * headers go in the order and the case in which they are given. One thread, blocking calls.
 */
#ifndef SKEP_TESTS_CONFORMANCE_NATS_WIRE_H
#define SKEP_TESTS_CONFORMANCE_NATS_WIRE_H

#include "core/envelope.h"

#include <jansson.h>

struct nats_wire;

/* To 127.0.0.1:port. NULL: it does not answer. */
struct nats_wire *nats_wire_new(int port);
struct nats_wire *nats_wire_free(struct nats_wire *w); /* NULL-safe, returns NULL */

struct nats_letter {
        const char *subject;
        uint32_t answer; /* 0: none is asked for; else the number that the answer will have */
        const struct envelope_header *headers;
        uint32_t n_headers;
        struct str body;
};

bool nats_wire_publish(struct nats_wire *w, const struct nats_letter *letter); /* false: hung up */

struct nats_answer {
        uint32_t
            number; /* of the letter that it answers; means nothing in a message with a reply */
        int status; /* 503: nobody there; 404, 408, 409: no message; 0: it has a body */
        char reply[256];
        struct str headers, body; /* headers: as on the wire; valid until the next call */
};

/* Messages to "INBOX.number" are its answers, whoever sends them. */
const char *nats_wire_inbox(const struct nats_wire *w);

/* Of its headers, in this case; empty: it has none of this name. Valid as the answer is. */
struct str nats_answer_header(const struct nats_answer *a, const char *name);

/* The next answer to whichever letter, or message that a consumer brings; false: none came in time,
 * or the server hung up. */
bool nats_wire_next(struct nats_wire *w, int timeout_ms, struct nats_answer *ret);

/* Asks $JS.API.<words>; the answer, whatever it says, or NULL: none came. The caller frees it.
 * Other answers that come meanwhile are dropped. */
json_t *nats_wire_api(struct nats_wire *w, const char *words, const char *body);

#endif
