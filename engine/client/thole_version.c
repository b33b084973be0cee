/* thole_version.c: the version, which meson knows. */
#include "engine/client/thole.h"

const char *thole_version(void)
{
    return THOLE_VERSION;
}
