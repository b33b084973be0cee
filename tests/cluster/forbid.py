"""Run a command to which the kernel refuses io_uring, as a container's seccomp profile does:
forbid.py ERROR COMMAND..., where ERROR is ENOSYS or EPERM; or for which reads that begin at an
offset of a file fail: forbid.py EIO@OFFSET COMMAND..., or never end: forbid.py HANG@OFFSET
COMMAND.... Its process id is the command's."""
import ctypes
import errno
import os
import platform
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF = 0x7fff0000, 0x00050000, 0x7fc00000
SECCOMP = 317 if platform.machine() == "x86_64" else 277
IO_URING_SETUP = 425  # On every architecture.
PREADV2 = 327 if platform.machine() == "x86_64" else 286
OFFSET_AT = 40  # Of its fourth argument, of which the low half is enough here.
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # The call's number stands at offset 0.


LIBC = ctypes.CDLL(None, use_errno=True)
ZERO = ctypes.c_ulong(0)


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8),
                ("value", ctypes.c_uint32)]


class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction))]


def hold(parent):
    """Keep the descriptor that would answer the filter, and do not, for as long as the command
    lives."""
    child = os.fork()
    if child == 0:
        LIBC.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), ZERO, ZERO, ZERO)
        while os.getppid() == parent:
            signal.pause()
        os._exit(0)


def forbid(verdict, offset):
    checks = [Instruction(LOAD, 0, 0, 0), Instruction(JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP)]
    if offset is not None:
        checks = [Instruction(LOAD, 0, 0, 0), Instruction(JUMP_IF_EQUAL, 0, 3, PREADV2),
                  Instruction(LOAD, 0, 0, OFFSET_AT), Instruction(JUMP_IF_EQUAL, 0, 1, offset)]
    checks += [Instruction(RETURN, 0, 0, verdict), Instruction(RETURN, 0, 0, SECCOMP_RET_ALLOW)]
    program = Program(len(checks), (Instruction * len(checks))(*checks))
    hangs = verdict == SECCOMP_RET_USER_NOTIF
    flags = ctypes.c_ulong(SECCOMP_FILTER_FLAG_NEW_LISTENER if hangs else 0)
    if (LIBC.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), ZERO, ZERO, ZERO) != 0 or
            LIBC.syscall(ctypes.c_long(SECCOMP), ctypes.c_ulong(SECCOMP_SET_MODE_FILTER), flags,
                         ctypes.byref(program)) < 0):
        sys.exit(f"cannot set a filter: {os.strerror(ctypes.get_errno())}")
    if hangs:
        hold(os.getpid())


if __name__ == "__main__":
    name, _, at = sys.argv[1].partition("@")
    forbid(SECCOMP_RET_USER_NOTIF if name == "HANG" else SECCOMP_RET_ERRNO | getattr(errno, name),
           int(at) if at else None)
    os.execvp(sys.argv[2], sys.argv[2:])
