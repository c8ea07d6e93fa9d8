/*
 * What producers published, by content: shared by letters.c (who writes them) and letters_audit.c
 * (what became of them).
 */
#ifndef SKEP_SIM_LETTERS_H
#define SKEP_SIM_LETTERS_H

#include "tests/sim/world.h"

#define NUMBER_HEADER "x-letter" /* its value is the letter's number */

enum letter_kind {
        LETTER_PLAIN,
        LETTER_KEYED,
        LETTER_MALFORMED,
        LETTER_TOO_LARGE,
        LETTER_EXPIRING,
        LETTER_DELAYED,
        LETTER_UNROUTED,
        LETTER_BELL, /* a doorbell that a stranger rings */
};

struct letter {
        enum letter_kind kind;
        uint32_t key; /* 0: none */
        bool inbox;
        struct str queue;
        uint32_t published, rows, conflicts, ambiguous, untold;
        /* of its messages, counted at the end */
        uint32_t acked, answered, unmarked, stale, halved, deliveries, unsure;
};

struct letter *letter_at(const struct world *w, uint32_t number);
struct str letter_body(struct arena *a, uint32_t number, const struct letter *l);

#endif
