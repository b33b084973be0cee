/* prng.c: xoshiro256** and what is drawn from it. No state but the caller's.
 *
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021); bounded
 * numbers by Lemire, "Fast random integer generation in an interval" (2019).
 */
#include "engine/base/prng.h"

#include "engine/base/assert.h"

#define CHANCE_PARTS 1000000u

__extension__ typedef unsigned __int128 uint128;

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static uint64_t splitmix64(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

void prng_init(struct prng *prng, uint64_t seed)
{
    /* Four consecutive outputs of splitmix64 are never all zero, which xoshiro could not leave. */
    uint64_t state = seed;
    for (unsigned i = 0; i < 4; i++) {
        prng->state[i] = splitmix64(&state);
    }
    ASSERT((prng->state[0] | prng->state[1] | prng->state[2] | prng->state[3]) != 0);
}

uint64_t prng_next(struct prng *prng)
{
    uint64_t *state = prng->state;
    uint64_t result = rotate_left(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    ASSERT(bound > 0);
    uint128 product = (uint128)prng_next(prng) * bound;
    if ((uint64_t)product < bound) {
        /* Draws below 2^64 mod bound would make some results likelier: draw again. Each turn ends
         * the loop with a chance of at least one half. */
        uint64_t unfair = (0 - bound) % bound;
        while ((uint64_t)product < unfair) {
            product = (uint128)prng_next(prng) * bound;
        }
    }
    uint64_t result = (uint64_t)(product >> 64);
    ASSERT(result < bound);
    return result;
}

uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high)
{
    ASSERT(low <= high);
    uint64_t span = high - low;
    return span == UINT64_MAX ? prng_next(prng) : low + prng_below(prng, span + 1);
}

bool prng_chance(struct prng *prng, uint32_t parts_per_million)
{
    ASSERT(parts_per_million <= CHANCE_PARTS);
    return prng_below(prng, CHANCE_PARTS) < parts_per_million;
}
