/* host.c: what a result says of the machine: as engine/base/host.h and storage/disk_survey.h see
 * it.
 */
#include "bench/result.h"

#include "engine/base/assert.h"
#include "engine/base/host.h"
#include "storage/disk_survey.h"

#include <stdio.h>
#include <sys/resource.h>

void result_machine(struct result_machine *machine, const char *folder)
{
    struct host host;
    struct disk_device device;
    struct rlimit limit;
    host_look(&host);
    disk_device_look(&device, folder);
    *machine = (struct result_machine){
        .cpu_count = host.cpu_count,
        .disk_irq_cpu = device.interrupt_cpu,
        .fua = device.fua,
        .logical_bytes = device.logical_bytes,
        .memlock_bytes = UINT64_MAX,
    };
    (void)snprintf(machine->cpu, sizeof(machine->cpu), "%s", host.cpu);
    (void)snprintf(machine->kernel, sizeof(machine->kernel), "%s", host.kernel);
    (void)snprintf(machine->filesystem, sizeof(machine->filesystem), "%s", device.filesystem);
    (void)snprintf(machine->device, sizeof(machine->device), "%s", device.name);
    (void)snprintf(machine->write_cache, sizeof(machine->write_cache), "%s", device.write_cache);
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        machine->memlock_bytes = limit.rlim_cur;
    }
    ASSERT(machine->disk_irq_cpu >= -1);
}
