/* keep.h: memory that a target fills once, and finds so again before every input.
 *
 * A running replica is megabytes, of which an input touches a few pages. keep_traced.c knows which,
 * because the compiler tells it of every store (-fsanitize-coverage=trace-stores, and the wrapped
 * memcpy, memmove and memset of the address sanitizer), so that going back costs microseconds: for
 * libFuzzer. keep_whole.c copies everything, with any compiler: for the replay of corpora.
 */
#ifndef TESTS_FUZZ_KEEP_H
#define TESTS_FUZZ_KEEP_H

#include <stdint.h>

#define KEEP_BYTES_MAX (160u * 1024 * 1024) /* Of all keeps of one program. */

struct keep {
    uint8_t *base; /* Page aligned, zero at first. */
    uint8_t *saved;
    uint64_t bytes;
};

/* Take whole pages; never given back. */
void keep_open(struct keep *keep, uint64_t bytes);

/* What stands there now is what keep_back() brings back. */
void keep_save(struct keep *keep);
void keep_back(struct keep *keep);

#endif
