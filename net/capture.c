/* capture.c: see capture.h. */
#include "net/capture.h"

COUNTERS_DEFINE(capture, CAPTURE_COUNTERS);
