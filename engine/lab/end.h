/* end.h: the end of a lab, and what a crash has left of one. */
#ifndef ENGINE_LAB_END_H
#define ENGINE_LAB_END_H

#include "engine/lab/lab.h"

/* Stop the nodes cleanly, kill whatever else runs at its hosts (not this process and those it
 * descends from), end the keeper; then take away what says that there is a lab. The nodes' files
 * and cluster.ini stay. Of a dead lab, the last part alone. */
void lab_end(struct lab *lab);

/* After lab_end(): take away the files that `lab up` and the nodes made, and DIR when it is empty
 * then. 0, or -errno with the fault told. */
MUST_USE int lab_remove_files(const struct lab *lab, struct fault *fault);

#endif
