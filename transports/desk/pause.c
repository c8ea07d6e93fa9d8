/*
 * The clock and the dice of the transports' threads. The dice are a plain xorshift: nothing secret
 * hangs on them.
 */
#include "transports/desk/pause.h"

#include "core/base.h"

#include <time.h>

int64_t clock_ns(void)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

uint32_t jittered(uint64_t *random, uint32_t ms)
{
        uint64_t x = *random ? *random : (uint64_t)clock_ns() | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *random = x;
        return ms / 2 + (uint32_t)(x % (ms / 2 + 1));
}
