"""Run a command to which the kernel refuses io_uring, as a container's seccomp profile does:
forbid.py ERROR COMMAND..., where ERROR is ENOSYS or EPERM; or for which reads that begin at an
offset of a file fail: forbid.py EIO@OFFSET COMMAND.... Its process id is the command's."""
import ctypes
import errno
import os
import platform
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7fff0000, 0x00050000
IO_URING_SETUP = 425  # On every architecture.
PREADV2 = 327 if platform.machine() == "x86_64" else 286
OFFSET_AT = 40  # Of its fourth argument, of which the low half is enough here.
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # The call's number stands at offset 0.


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8),
                ("value", ctypes.c_uint32)]


class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction))]


def forbid(error, offset):
    checks = [Instruction(LOAD, 0, 0, 0), Instruction(JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP)]
    if offset is not None:
        checks = [Instruction(LOAD, 0, 0, 0), Instruction(JUMP_IF_EQUAL, 0, 3, PREADV2),
                  Instruction(LOAD, 0, 0, OFFSET_AT), Instruction(JUMP_IF_EQUAL, 0, 1, offset)]
    checks += [Instruction(RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
               Instruction(RETURN, 0, 0, SECCOMP_RET_ALLOW)]
    program = Program(len(checks), (Instruction * len(checks))(*checks))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if (libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0 or
            libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER),
                       ctypes.byref(program), zero, zero) != 0):
        sys.exit(f"cannot set a filter: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    name, _, at = sys.argv[1].partition("@")
    forbid(getattr(errno, name), int(at) if at else None)
    os.execvp(sys.argv[2], sys.argv[2:])
