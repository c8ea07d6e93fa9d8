/*
 * The simulator's only source of chance: xoshiro256** (Blackman and Vigna, public domain), seeded
 * through splitmix64. Streams are split by name, so that a further draw in one part of the world
 * does not change what another part draws.
 */
#ifndef SKEP_SIM_RNG_H
#define SKEP_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
        uint64_t s[4];
};

static inline uint64_t rng_mix(uint64_t *x)
{
        uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

static inline struct rng rng_seeded(uint64_t seed, uint64_t stream)
{
        uint64_t x = seed * UINT64_C(0xd6e8feb86659fd93) ^ stream;
        struct rng r;
        for (int i = 0; i < 4; i++) {
                r.s[i] = rng_mix(&x);
        }
        return r;
}

static inline uint64_t rng_next(struct rng *r)
{
        uint64_t *s = r->s;
        uint64_t result = s[1] * 5;
        result = (result << 7 | result >> 57) * 9;
        uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3] << 45 | s[3] >> 19;
        return result;
}

/* Uniform in [lo, hi]; the bias of the remainder is of no concern here. */
static inline int64_t rng_between(struct rng *r, int64_t lo, int64_t hi)
{
        return hi <= lo ? lo : lo + (int64_t)(rng_next(r) % (uint64_t)(hi - lo + 1));
}

/* True in `permille` of 1,000 draws. */
static inline bool rng_chance(struct rng *r, uint32_t permille)
{
        return rng_next(r) % 1000 < permille;
}

#endif
