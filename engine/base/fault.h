/* fault.h: why an open, a format or a start failed, as a text for the user.
 *
 * A fault is made once, where the cause is known, and printed once, by the command that gives up.
 * Its text names what failed, the causes that were checked, and what mends it (one line, no final
 * newline). The code is the program's exit code (docs/ARCHITECTURE.md). Never on the data path.
 */
#ifndef ENGINE_BASE_FAULT_H
#define ENGINE_BASE_FAULT_H

#define FAULT_TEXT_BYTES 512u
#define FAULT_MEND_BYTES 320u

/* The program's exit codes beside 0. */
enum fault_code {
    FAULT_FAILED = 1,      /* A check failed: unhealthy, corrupt, invalid or refused. */
    FAULT_USAGE = 2,       /* Wrong flags or a bad configuration. */
    FAULT_ENVIRONMENT = 3, /* The machine or a data folder is not as needed. */
    FAULT_UNAVAILABLE = 4, /* No leader, no quorum, or a timeout. */
    FAULT_INTERNAL = 5,    /* A fatal disk error while serving, or a broken program. */
};

struct fault {
    int code; /* enum fault_code; 0: none. */
    char text[FAULT_TEXT_BYTES];
    char mend[FAULT_MEND_BYTES]; /* The command that mends it, if one does; a part of the text. */
};

/* Fill `fault`, cutting a text that is too long. A later fault replaces an earlier one. */
void fault_set(struct fault *fault, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Name the command that mends a fault just set. It ends the text, between backticks ("... Set it up
 * with" + " `ip link set dev eth1 up`"), and stands alone in `mend`, for tables. A command too long
 * is only in the text, as far as that goes: half a command would be none. */
void fault_mend(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
