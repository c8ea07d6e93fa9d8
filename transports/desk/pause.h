/*
 * Monotonic time, and pauses that do not fall together: what is tried again by many at once must
 * not come back in step.
 */
#ifndef SKEP_TRANSPORTS_PAUSE_H
#define SKEP_TRANSPORTS_PAUSE_H

#include <stdint.h>

int64_t clock_ns(void); /* monotonic */
/* Between half of it and all. *random is the caller's, 0 at first. */
uint32_t jittered(uint64_t *random, uint32_t ms);

#endif
