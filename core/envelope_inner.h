/*
 * Inner to core/envelope*.c: a message while it is being opened.
 */
#ifndef SKEP_CORE_ENVELOPE_INNER_H
#define SKEP_CORE_ENVELOPE_INNER_H

#include "core/envelope.h"

/* The headers that mean something here, in the order in which they are read. */
enum known_header {
        KNOWN_TYPE,
        KNOWN_ID,
        KNOWN_PRIORITY,
        KNOWN_RUN_AT,
        KNOWN_DELAY,
        KNOWN_DEADLINE,
        KNOWN_TIMEOUT,
        KNOWN_MAX_ATTEMPTS,
        KNOWN_TAGS,
        KNOWN_RETRY,
        KNOWN_HEARTBEAT,
        /* from here on: checked, and kept among the row's headers, since they have no column that
         * shows them */
        KNOWN_UNIQUE_KEY,
        KNOWN_UNIQUE_FOR,
        KNOWN_UNIQUE_SCOPE,
        KNOWN_UNIQUE_STATES,
        KNOWN_UNIQUE_CONFLICT,
        KNOWN_REPLY_TO,
        KNOWN_TENANT,
        KNOWN_PARENT_ID,
        KNOWN_TRACEPARENT,
        KNOWN_TRACESTATE,
        KNOWN_BAGGAGE,
        /* ours */
        KNOWN_BELL,
        KNOWN_SEQ,
        KNOWN_COUNT,
};
#define KNOWN_KEPT_FIRST KNOWN_UNIQUE_KEY

struct opening {
        const struct envelope *in;
        const struct envelope_defaults *defaults;
        int64_t wall_us;
        struct arena *arena;
        struct submit_row *row;
        const struct envelope_header *known[KNOWN_COUNT]; /* the first of each name */
        struct unique_wish unique;
        bool type_from_address;
        bool out_of_memory;
        uint32_t note_n;
        char note[1024]; /* what cannot be read, for people */
};

/* KNOWN_COUNT: none of them. */
enum known_header known_find(struct str name);

/* One more thing that cannot be read: `name: "value" is not allowed; write allowed`. */
void opening_complain(struct opening *o, const char *name, struct str value, const char *allowed);
void opening_complain_text(struct opening *o, const char *text);

/* Reads the known headers, and the properties that stand in for those that are not there. */
void opening_read_fields(struct opening *o);

/* Does it wish to be unique? */
bool opening_unique(const struct opening *o);

/* row.headers: properties, known headers without a column, all the rest, each name once. */
void opening_keep_headers(struct opening *o);

/* Of all that the producer wrote, whatever order the broker brings the headers in; never 0. */
uint64_t opening_fingerprint(const struct opening *o);

/* A header in which the broker keeps its own books (how often, by which way): not the producer's,
 * and other at the next delivery of the same message. */
bool header_of_broker(struct str name);

bool text_has_nul(struct str s);
bool name_equal(struct str name, const char *lower); /* in any case (ASCII) */

#endif
