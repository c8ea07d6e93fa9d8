/*
 * Many patterns, and which of them a type goes to: the most literal one that matches it, the first
 * of several that do so equally well. Immutable once built; any number of threads may look.
 */
#ifndef SKEP_CORE_PATTERNS_H
#define SKEP_CORE_PATTERNS_H

#include "core/arena.h"
#include "core/base.h"

struct patterns {
        const struct str *texts;
        int32_t *exact; /* hash table of indices, -1: free */
        uint32_t mask;  /* of its size */
        uint32_t n_wild;
        int32_t *wild; /* indices of the others, the most literal first */
};

bool pattern_wild(struct str pattern); /* matches more than itself */

/* What is found is an index of `texts`, which must stay as they are. All memory is of the arena. 0
 * or -ENOMEM. */
int patterns_build(struct arena *a, const struct str *texts, uint32_t n, struct patterns *ret);

/* -1: none matches. All-zero patterns are none. */
int patterns_find(const struct patterns *p, struct str type);

#endif
