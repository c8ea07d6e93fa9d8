/*
 * The parts of a broker's URL, for every transport: found, cut and percent-decoded.
 */
#ifndef SKEP_TRANSPORTS_PARTS_H
#define SKEP_TRANSPORTS_PARTS_H

#include "core/arena.h"

struct str part_cut(struct str s, uint32_t from, uint32_t to);
/* Index of the first (or last) c, or s.n. */
uint32_t part_find(struct str s, char c);
uint32_t part_find_last(struct str s, char c);
/* NULL: out of memory. *ret_bad when a percent sign stands alone or a control character is meant.
 */
const char *part_decode(struct arena *a, struct str s, bool *ret_bad);

#endif
