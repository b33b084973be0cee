/* fault.c: see fault.h. */
#include "engine/base/fault.h"

#include "engine/base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fault_set(struct fault *fault, int code, const char *format, ...)
{
    ASSERT(fault != NULL);
    ASSERT(code >= FAULT_FAILED);
    ASSERT(code <= FAULT_INTERNAL);

    fault->code = code;
    fault->mend[0] = '\0';
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(fault->text, sizeof(fault->text), format, arguments);
    va_end(arguments);
    if (written < 0) {
        fault->text[0] = '\0';
    }
}

void fault_mend(struct fault *fault, const char *format, ...)
{
    ASSERT(fault->code != 0);
    ASSERT(fault->mend[0] == '\0');

    char command[FAULT_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    ASSERT(written >= 0);
    size_t text_bytes = strlen(fault->text);
    (void)snprintf(fault->text + text_bytes, sizeof(fault->text) - text_bytes, " `%s`", command);
    if ((size_t)written < sizeof(fault->mend)) {
        memcpy(fault->mend, command, (size_t)written + 1);
    }
}
