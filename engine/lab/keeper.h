/* keeper.h: the process that holds a lab's namespaces, and is the lab's life. See lab.h. */
#ifndef ENGINE_LAB_KEEPER_H
#define ENGINE_LAB_KEEPER_H

#include "engine/lab/lab.h"

/* Make the namespaces of the hosts in `lab` and the process that holds them; fills `keeper` and the
 * inodes. With `tied` it ends when this process does. 0, or -errno with the fault told: what is
 * forbidden here, by name. */
MUST_USE int keeper_start(struct lab *lab, bool tied, struct fault *fault);

/* End it, and with it the nodes and the network. */
void keeper_end(const struct lab *lab);

#endif
