/* assert.c: what a failed ASSERT does in the program: say what broke, then stop. */
#include "engine/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void assert_fail(const char *expression, const char *file, int line)
{
    /* stderr is unbuffered: the words are out before the core dump begins. */
    fprintf(stderr, "thole: assertion failed: %s (%s:%d)\n", expression, file, line);
    abort();
}
