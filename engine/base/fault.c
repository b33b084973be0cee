/* fault.c: see fault.h. */
#include "engine/base/fault.h"

#include "engine/base/assert.h"

#include <stdarg.h>
#include <stdio.h>

void fault_set(struct fault *fault, int code, const char *format, ...)
{
    ASSERT(fault != NULL);
    ASSERT(code >= FAULT_FAILED);
    ASSERT(code <= FAULT_INTERNAL);

    fault->code = code;
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(fault->text, sizeof(fault->text), format, arguments);
    va_end(arguments);
    if (written < 0) {
        fault->text[0] = '\0';
    }
}
