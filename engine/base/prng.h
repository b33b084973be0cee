/* prng.h: a seeded generator (xoshiro256**, seeded by splitmix64). Same seed, same run.
 *
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021).
 */
#ifndef ENGINE_BASE_PRNG_H
#define ENGINE_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t state[4];
};

void prng_init(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);

/* Uniform in [0, bound); bound > 0. */
uint64_t prng_below(struct prng *prng, uint64_t bound);

/* Uniform in [low, high]. */
uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high);

/* True in `parts` of a million. */
bool prng_chance(struct prng *prng, uint32_t parts_per_million);

#endif
