"""test_syscalls.py: what a trace of system calls shows of a durable run.

The log is opened with O_DIRECT and O_DSYNC, and from then on nothing but io_uring writes to it: no
write(), pwrite() or fsync() of any kind on its descriptor. So every acknowledged write went that
way.
"""

import os
import re

import support
from support import Case, thole

CALL = re.compile(r"^\d+\s+(\w+)\((.*)$")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "fsync", "fdatasync",
          "sync_file_range", "fallocate", "ftruncate", "sendfile", "copy_file_range", "io_submit")


def trace(lines):
    """(descriptor -> flags and path of the logs opened to serve, calls on such a descriptor)."""
    logs, offences, opened, rings = {}, [], 0, 0
    for line in lines:
        match = CALL.match(line)
        if match is None:
            continue
        call, rest = match.groups()
        if call == "openat":
            parts = re.match(r'[^,]+, "([^"]*)", ([A-Z_|]+).*= (\d+)$', rest)
            if parts is None:
                continue
            path, flags, number = parts.group(1), parts.group(2).split("|"), int(parts.group(3))
            logs.pop(number, None)
            if os.path.basename(path) == "log" and "O_DSYNC" in flags and "O_RDWR" in flags:
                logs[number] = (path, flags)
                opened += 1
                if "O_DIRECT" not in flags:
                    offences.append(line)
        elif call == "close":
            number = rest.split(")")[0]
            if number.isdigit():
                logs.pop(int(number), None)
        elif call == "io_uring_enter":
            rings += 1
        elif call in WRITES:
            number = re.match(r"(\d+)", rest)
            if number is not None and int(number.group(1)) in logs:
                offences.append(line)
    return opened, rings, offences


class Syscalls(Case):
    def test_log_is_opened_direct_and_written_through_io_uring_alone(self):
        out = self.path("strace")
        try:
            process = thole("demo", "--json", "--rate", "200", "--duration", "1s",
                            "--warmup", "200ms", "--log-size", "64MiB", "--dir", self.path("logs"),
                            before=["strace", "-f", "-o", out, "-s", "256", "-e",
                                    "trace=openat,close,io_uring_enter," + ",".join(WRITES)])
        except FileNotFoundError:
            self.skipTest("strace is not installed")
        if "ptrace" in process.stderr and not process.stdout:
            self.skipTest("ptrace is not allowed here")
        # Valid or not: a traced program is slow, and its sender late.
        result = self.object_of(process)
        self.assertTrue(result["durable"])
        self.assertGreater(result["verify"]["acked"], 0)
        for fate in ("lost", "duplicated", "out_of_order"):
            self.assertEqual(result["verify"][fate], 0)
        with open(out, encoding="utf-8", errors="replace") as file:
            opened, rings, offences = trace(file)
        self.assertEqual(offences, [])
        self.assertGreaterEqual(opened, 3)
        self.assertGreater(rings, result["verify"]["acked"])


if __name__ == "__main__":
    support.main()
