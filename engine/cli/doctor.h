/* doctor.h: whether a machine is fit for what is to run on it: facts in, a table out.
 *
 * doctor_look() asks the machine, doctor_judge() is pure: every row of the table follows from the
 * facts alone, so that each severity is a unit test. What a start would refuse is in the facts as
 * the refusal itself, from the function that refuses. Nothing is changed and no rights are needed;
 * what cannot be seen without them is a row that says so.
 */
#ifndef ENGINE_CLI_DOCTOR_H
#define ENGINE_CLI_DOCTOR_H

#include "engine/base/fault.h"
#include "engine/base/host.h"
#include "engine/config.h"
#include "engine/idle.h"
#include "net/spec.h"
#include "net/survey.h"
#include "storage/disk_survey.h"
#include "storage/recover.h"

#include <stdbool.h>
#include <stdint.h>

#define DOCTOR_ROWS_MAX   40u
#define DOCTOR_TEXT_BYTES 192u
#define DOCTOR_CPUS_MAX   16u

enum doctor_severity {
    DOCTOR_OK,
    DOCTOR_NOTE,    /* Worth knowing; or it could not be looked at. */
    DOCTOR_WARNING, /* It works, and slower or less safely than it could. */
    DOCTOR_ERROR,   /* A start is refused, or cannot work. */
};
#define DOCTOR_SEVERITIES 4u

struct doctor_row {
    const char *condition;
    enum doctor_severity severity;
    char required[DOCTOR_TEXT_BYTES];
    char current[FAULT_TEXT_BYTES];
    char mend[FAULT_MEND_BYTES]; /* A command that can be typed, or "". */
};

struct doctor_rows {
    uint32_t count;
    uint32_t counts[DOCTOR_SEVERITIES];
    struct doctor_row rows[DOCTOR_ROWS_MAX];
};

/* What is to run here. */
struct doctor_plan {
    const char *config; /* The file; NULL: the demo of this folder. */
    uint32_t node;
    uint64_t cluster;
    bool has_peers; /* There are other nodes, which a damaged log may be mended from. */
    bool durable;
    enum idle_mode idle;
    uint32_t cpu_count; /* Given by --cpu; 0: none. The first is the poller's. */
    int cpus[DOCTOR_CPUS_MAX];
    const char *data; /* A folder, there or not, or a block device. */
    const char *log;  /* The log's path in it. */
    uint64_t log_bytes;
    uint64_t memory_bytes; /* Of the process, which the disk's ring is to lock. */
    const char *spec_text;
    struct nic_spec spec;
    struct nic_address self;
    uint32_t frame_bytes_min;
};

/* What the machine is. A fault whose code is 0 is nothing to say. */
struct doctor_facts {
    struct doctor_plan plan;
    struct host host;
    int cpu; /* Looked at: the poller's, or the one it would rather have. */
    struct host_cpu host_cpu;
    bool uring_modern;
    struct fault uring;
    struct disk_survey disk; /* With a durable log. */
    /* The log of the node, if there is one that nobody has open, as its start finds it: */
    bool log_judged;
    bool log_denied;        /* This user may not read it. */
    struct fault log;       /* A start refuses it. */
    struct recovery found;  /* Otherwise. */
    uint64_t log_cut_bytes; /* Of a truncated file, as long as it was; 0: of no other. */
    bool has_interface;     /* The spec's interface is there: */
    struct survey_interface interface;
    struct survey_port port;
    struct fault mtu;
    struct fault socket;  /* Of udp: the address cannot be bound. */
    struct fault device;  /* Of tap and pci. */
    struct fault address; /* Of tap, pci and vdev: the kernel has it. */
};

/* Ask the machine. */
void doctor_look(const struct doctor_plan *plan, struct doctor_facts *facts);

/* Judge what it said. */
void doctor_judge(const struct doctor_facts *facts, struct doctor_rows *rows);

/* The rows about the port, and those about the disk: parts of the above. */
void doctor_judge_net(const struct doctor_facts *facts, struct doctor_rows *rows);
void doctor_judge_disk(const struct doctor_facts *facts, struct doctor_rows *rows);

/* "ok", "note", "warning", "error". */
const char *doctor_severity_name(enum doctor_severity severity);

/* Add a row; its mend is "" until doctor_mend(). */
struct doctor_row *doctor_add(struct doctor_rows *rows,
                              const char *condition,
                              enum doctor_severity severity,
                              const char *required,
                              const char *format,
                              ...) __attribute__((format(printf, 5, 6)));
void doctor_mend(struct doctor_row *row, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Add a row from a refusal: an error with its first sentence and its command; or, when there is no
 * refusal, ok with `current`. */
struct doctor_row *doctor_add_fault(struct doctor_rows *rows,
                                    const char *condition,
                                    const char *required,
                                    const struct fault *fault,
                                    const char *current);

/* Mend a row by the command that this plan is run with, with other flags: "thole start -c FILE
 * --node 1 --idle yield". */
void doctor_mend_run(struct doctor_row *row, const struct doctor_plan *plan, const char *flags);

#endif
