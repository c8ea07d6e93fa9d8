/*
 * Job types and the patterns that handlers and queues serve them with.
 *
 * A type is 1 to 255 bytes of tokens joined by dots: [A-Za-z0-9_-]+(.[A-Za-z0-9_-]+)*. In a pattern
 * a token may be `*` (exactly one token) and the last may be `>` (one or more). The most literal
 * tokens win; two patterns that match a type equally well are a tie, which configuration and
 * plug-in loading refuse by naming both.
 */
#ifndef SKEP_CORE_PATTERN_H
#define SKEP_CORE_PATTERN_H

#include "core/base.h"

#define TYPE_MAX 255

bool type_valid(struct str type);
bool pattern_valid(struct str pattern);
bool pattern_match(struct str pattern, struct str type);

/* How specific a pattern is; of two that match a type the greater wins, equal is a tie. An exact
 * type is above every pattern, then more literal tokens, then `*` above `>`. */
uint32_t pattern_rank(struct str pattern);

/* Is there a type that both match? */
bool pattern_overlap(struct str a, struct str b);

/* Do two patterns of equal rank match a common type? Then together they are ambiguous. */
bool pattern_tie(struct str a, struct str b);

#endif
