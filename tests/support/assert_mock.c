/* assert_mock.c: a failed ASSERT becomes something that a unit test can expect.
 *
 * Linked instead of engine/base/assert.c, which stands in a static library and gives way, so that
 * the objects under test are the objects that ship. cmocka's mock_assert() unwinds to
 * expect_assert_failure(), or fails the test when nobody expected it.
 */
#include "engine/base/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

_Noreturn void assert_fail(const char *expression, const char *file, int line)
{
    mock_assert(0, expression, file, line);
    abort(); /* mock_assert(0) does not return. */
}
