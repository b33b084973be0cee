/* doctor_disk.c: see doctor.h: the rows about the data folder or device. Pure. */
#include "engine/cli/doctor.h"

#include "engine/base/assert.h"
#include "engine/base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void judge_filesystem(const struct disk_survey *disk, struct doctor_rows *rows)
{
    static const char *const proven[] = {"ext4", "xfs"};
    const char *kind = disk->device.filesystem;
    if (disk->is_device) {
        doctor_add(rows, "filesystem", DOCTOR_OK, "ext4, xfs, or a block device", "none: a device");
        return;
    }
    struct doctor_row *row = doctor_add_fault(rows, "filesystem", "ext4, xfs, or a block device",
                                              &disk->filesystem, kind);
    bool known = false;
    for (uint32_t i = 0; i < sizeof(proven) / sizeof(proven[0]); i++) {
        known = known || strcmp(kind, proven[i]) == 0;
    }
    if (disk->filesystem.code != 0 || known) {
        return;
    }
    const char *why = "not tried with thole";
    if (strcmp(kind, "overlay") == 0) {
        why = "allowed where O_DIRECT passes; each first write may copy a file of its lower layer";
    } else if (strncmp(kind, "nfs", 3) == 0 || strcmp(kind, "cifs") == 0 ||
               strncmp(kind, "fuse", 4) == 0) {
        why = "what is durable there is another program's word";
    }
    row->severity = DOCTOR_NOTE;
    rows->counts[DOCTOR_OK]--;
    rows->counts[DOCTOR_NOTE]++;
    (void)snprintf(row->current, sizeof(row->current), "%s: %s", kind[0] == '\0' ? "unknown" : kind,
                   why);
}

static void judge_place(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    const struct disk_survey *disk = &facts->disk;
    char need[UNITS_TEXT_BYTES];
    char text[UNITS_TEXT_BYTES];
    if (disk->direct_unknown) {
        struct doctor_row *row = doctor_add(rows, "O_DIRECT, O_DSYNC", DOCTOR_NOTE,
                                            "a page written and durable", "not tried: %s %s",
                                            disk->direct.code == 0 ? "a process has it open:"
                                                                   : "this user may not write to",
                                            disk->place);
        doctor_mend(row, "%s", disk->direct.mend);
    } else {
        doctor_add_fault(rows, "O_DIRECT, O_DSYNC", "a page written and durable", &disk->direct,
                         disk->is_device ? "a page was read directly" : "a page was written");
    }
    if (disk->is_device && disk->free_bytes == 0) {
        return; /* Not seen. */
    }
    char required[DOCTOR_TEXT_BYTES];
    (void)snprintf(required, sizeof(required), "%s, all written at format",
                   units_format_size(facts->plan.log_bytes, need));
    char current[DOCTOR_TEXT_BYTES];
    (void)snprintf(current, sizeof(current), "%s%s%s", units_format_size(disk->free_bytes, text),
                   disk->is_device ? "" : " free",
                   disk->log_found ? "; the log is there already" : "");
    struct doctor_row *row = doctor_add_fault(rows, "space", required, &disk->space, current);
    if (row->severity == DOCTOR_ERROR && row->mend[0] == '\0') {
        doctor_mend(row, "%s %s", disk->is_device ? "lsblk" : "df -h", disk->place);
    }
}

static void judge_device(const struct disk_device *device, struct doctor_rows *rows)
{
    if (device->name[0] == '\0') {
        doctor_add(rows, "device", DOCTOR_NOTE, "a disk of this machine",
                   "none that the kernel shows: cache, scheduler and interrupts cannot be seen");
        return;
    }
    bool coarse = device->logical_bytes > PAGE_BYTES;
    bool torn = device->physical_bytes != 0 && device->physical_bytes < PAGE_BYTES;
    enum doctor_severity severity = device->is_stacked ? DOCTOR_NOTE : DOCTOR_OK;
    doctor_add(rows, "device", coarse ? DOCTOR_ERROR : severity, "blocks of at most 4 KiB",
               "%s%s, blocks of %u bytes, %u physically%s", device->name,
               device->is_stacked ? ", below others, whose caches are not seen" : "",
               device->logical_bytes, device->physical_bytes,
               torn ? ": a power cut may tear a page, which recovery knows from damage" : "");
    bool volatile_cache = strcmp(device->write_cache, "write back") == 0;
    bool dear = volatile_cache && device->fua != 1;
    bool unknown = device->write_cache[0] == '\0';
    doctor_add(rows, "write cache", dear || unknown ? DOCTOR_NOTE : DOCTOR_OK,
               "write through, or FUA, for the least latency", "%s", disk_cache_words(device));
    bool none = strcmp(device->scheduler, "none") == 0 || device->scheduler[0] == '\0';
    bool heavy = strcmp(device->scheduler, "bfq") == 0;
    enum doctor_severity light = none ? DOCTOR_OK : DOCTOR_NOTE;
    struct doctor_row *row =
        doctor_add(rows, "I/O scheduler", heavy ? DOCTOR_WARNING : light, "none", "%s",
                   device->scheduler[0] == '\0' ? "not told" : device->scheduler);
    if (!none) {
        doctor_mend(row, "echo none | sudo tee /sys/block/%s/queue/scheduler", device->name);
    }
}

static void judge_layout(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    static const char required[] = "every block of the log written once";
    const struct disk_survey *disk = &facts->disk;
    const struct doctor_plan *plan = &facts->plan;
    char bytes[UNITS_TEXT_BYTES];
    struct doctor_row *row;
    if (disk->is_device && (disk->log_found || disk->content == NULL)) {
        doctor_add(rows, "log pre-written", DOCTOR_OK, required, "a device has no holes");
        return;
    }
    if (disk->content_foreign) {
        doctor_add(rows, "log pre-written", DOCTOR_ERROR, required,
                   "%s holds %s: a start refuses it, and so does `thole format` without --force",
                   disk->place, disk->content);
        return;
    }
    if (!disk->log_found) {
        row = doctor_add(rows, "log pre-written", plan->config == NULL ? DOCTOR_OK : DOCTOR_NOTE,
                         required,
                         plan->config == NULL ? "the demo makes its own" : "there is no log yet");
        if (plan->config != NULL) {
            doctor_mend(row, "thole format -c %s --node %u", plan->config, plan->node);
        }
        return;
    }
    switch (disk->layout) {
    case DISK_LAYOUT_WRITTEN:
        doctor_add(rows, "log pre-written", DOCTOR_OK, required, "all %s of it",
                   units_format_size(disk->log_bytes, bytes));
        return;
    case DISK_LAYOUT_UNKNOWN:
        doctor_add(rows, "log pre-written", DOCTOR_NOTE, required,
                   "not seen: this user may not read it, or its filesystem does not tell");
        return;
    case DISK_LAYOUT_HOLES:
    case DISK_LAYOUT_SHARED:
        break;
    }
    bool shared = disk->layout == DISK_LAYOUT_SHARED;
    row = doctor_add(rows, "log pre-written", DOCTOR_WARNING, required, "%s of it %s",
                     units_format_size(disk->layout_bytes, bytes),
                     shared ? "are shared with another file: a write there copies first"
                            : "were never written: a first write there costs a journal commit");
    if (disk->log_locked) { /* A copy would lack what is written meanwhile. */
        doctor_mend(row, "stop the node, then ask again");
        return;
    }
    const char *name = strrchr(plan->log, '/');
    name = name == NULL ? plan->log : name + 1;
    doctor_mend(row, "cd %s && dd if=%s of=%s.new bs=1M conv=fsync && mv %s.new %s", plan->data,
                name, name, name, name);
}

/* What a start finds in the log. */
static void judge_log(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    static const char name[] = "log whole";
    static const char required[] = "every entry that was ever durable";
    const struct recovery *found = &facts->found;
    const struct doctor_plan *plan = &facts->plan;
    struct doctor_row *row;
    if (facts->log_denied) {
        doctor_add(rows, name, DOCTOR_NOTE, required, "not looked at: this user may not read %s",
                   plan->log);
    } else if (facts->log_judged && facts->log.code != 0) {
        row = doctor_add(rows, name, DOCTOR_ERROR, required, "%s", facts->log.text);
        if (facts->log_cut_bytes != 0) {
            doctor_mend(row, "truncate -s %" PRIu64 " %s", facts->log_cut_bytes, plan->log);
        } else {
            doctor_mend(row, "%s", facts->log.mend);
        }
    } else if (facts->log_judged && !recover_is_whole(found)) {
        row = doctor_add(rows, name, DOCTOR_WARNING, required,
                         "%s: %s; a start asks the other nodes for what is gone, and serves once "
                         "it has it",
                         recover_kind_name(found->kind), found->what);
        doctor_mend(row, "thole start -c %s --node %u", plan->config, plan->node);
    } else if (facts->log_judged && recover_state_is_bad(found)) {
        uint32_t copy = found->state_wrong[0] != NULL ? 0 : 1;
        doctor_add(rows, name, DOCTOR_NOTE, required,
                   "%s: %" PRIu64 " entries; copy %u of the small state at the log start is bad "
                   "(%s): the next start puts it back from the other copy",
                   recover_kind_name(found->kind), found->entry_count, copy,
                   found->state_wrong[copy]);
    } else if (facts->log_judged) {
        doctor_add(rows, name, DOCTOR_OK, required, "%s: %" PRIu64 " entries",
                   recover_kind_name(found->kind), found->entry_count);
    }
}

/* The measured trap: on a device that needs a flush, a durable write completes in a kernel worker
 * on the CPU that took the interrupt, and a poller that never yields there holds it up by a tick.
 */
static void judge_trap(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    static const char name[] = "poller beside the disk";
    static const char required[] =
        "no poller that never yields on the disk's CPU: it makes 4 ms of "
        "80 us where writes are flushed";
    const struct disk_device *device = &facts->disk.device;
    const struct doctor_plan *plan = &facts->plan;
    char where[DOCTOR_TEXT_BYTES] = "its interrupts go to a CPU that is not known";
    if (device->queue_count > 1) {
        (void)snprintf(where, sizeof(where), "it has %u queues and interrupts whoever wrote",
                       device->queue_count);
    } else if (device->interrupt_cpu >= 0) {
        (void)snprintf(where, sizeof(where), "its interrupts go to CPU %d", device->interrupt_cpu);
    }
    if (plan->idle != IDLE_SPIN) {
        doctor_add(rows, name, DOCTOR_OK, required, "--idle %s yields or waits; %s",
                   idle_mode_name(plan->idle), where);
        return;
    }
    bool through = strcmp(device->write_cache, "write through") == 0 || device->fua == 1;
    if (through && !device->is_stacked) {
        doctor_add(rows, name, DOCTOR_OK, required, "writes need no flush; %s", where);
        return;
    }
    bool pinned = plan->cpu_count > 0;
    bool known = device->queue_count > 1 || device->interrupt_cpu >= 0;
    bool apart = pinned && device->queue_count <= 1;
    for (uint32_t i = 0; i < plan->cpu_count; i++) {
        apart = apart && plan->cpus[i] != device->interrupt_cpu;
    }
    if (known && apart) {
        doctor_add(rows, name, DOCTOR_OK, required, "CPU %d polls; %s", plan->cpus[0], where);
        return;
    }
    struct doctor_row *row =
        doctor_add(rows, name, known ? DOCTOR_WARNING : DOCTOR_NOTE, required,
                   "--idle spin never yields%s; %s",
                   pinned                 ? ""
                   : plan->config == NULL ? ", and the demo puts it beside the disk's interrupts"
                                          : ", and may run on any CPU",
                   where);
    doctor_mend_run(row, plan, "--idle yield");
}

void doctor_judge_disk(const struct doctor_facts *facts, struct doctor_rows *rows)
{
    ASSERT(facts->plan.durable);
    judge_filesystem(&facts->disk, rows);
    judge_place(facts, rows);
    judge_device(&facts->disk.device, rows);
    judge_layout(facts, rows);
    judge_log(facts, rows);
    if (facts->disk.log_locked) {
        doctor_add(rows, "log in use", DOCTOR_NOTE, "nobody, before a start",
                   "a process has the log open: the node runs, or a tool reads it");
    }
    judge_trap(facts, rows);
}
