/* assert.h: assertions that stay on in release builds.
 *
 * ASSERT states what the programmer knows. An operating error (a full disk, a lost frame, a bad
 * peer) is never asserted, it is handled. A failed ASSERT stops the replica: a crash is a failure
 * that Raft tolerates, wrong memory is not.
 */
#ifndef ENGINE_BASE_ASSERT_H
#define ENGINE_BASE_ASSERT_H

#include <stdbool.h>

#define LIKELY(c)   __builtin_expect(!!(c), 1)
#define UNLIKELY(c) __builtin_expect(!!(c), 0)
#define MUST_USE    __attribute__((warn_unused_result))

/* Assert an invariant. Split compounds: ASSERT(a); ASSERT(b); names the one that broke. */
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (UNLIKELY(!(cond))) {                                                                   \
            assert_fail(#cond, __FILE__, __LINE__);                                                \
        }                                                                                          \
    } while (false)

/* Print the expression and abort. Unit tests link tests/support/assert_mock.c instead, whose
 * definition unwinds, so that the objects under test are the objects that ship. */
_Noreturn void assert_fail(const char *expression, const char *file, int line);

#endif
