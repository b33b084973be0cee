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


class Trace:
    """The opens of files named `log`, apart by who opens them, and every call that writes to one.

    `format` makes its file first (O_CREAT) and then opens it to write the superblocks; a replica
    opens what is there. So of each path the first open without O_CREAT is format's, and the rest
    must be as a replica's. Descriptors of all threads are one process's.
    """

    def __init__(self, lines):
        self.made = []  # Lines of the opens with O_CREAT.
        self.format_opens = {}  # Path -> line.
        self.served = []  # (path, flags, line) of all other opens to write.
        self.offences = []  # Calls that write, on such a descriptor.
        self.rings = 0
        self.serving = {}  # Descriptor -> path.
        for line in lines:
            match = CALL.match(line)
            if match is not None:
                self.call(line, *match.groups())

    def call(self, line, call, rest):
        if call == "openat":
            self.opened(line, rest)
        elif call == "close":
            number = rest.split(")")[0]
            if number.isdigit():
                self.serving.pop(int(number), None)
        elif call == "io_uring_enter":
            self.rings += 1
        elif call in WRITES:
            number = re.match(r"(\d+)", rest)
            if number is not None and int(number.group(1)) in self.serving:
                self.offences.append(line)

    def opened(self, line, rest):
        parts = re.match(r'[^,]+, "([^"]*)", ([A-Z_|]+).*= (\d+)$', rest)
        if parts is None:
            return
        path, flags, number = parts.group(1), parts.group(2).split("|"), int(parts.group(3))
        self.serving.pop(number, None)
        if os.path.basename(path) != "log" or not {"O_RDWR", "O_WRONLY"} & set(flags):
            return
        if "O_CREAT" in flags:
            self.made.append(line)
        elif path not in self.format_opens:
            self.format_opens[path] = line
        else:
            self.served.append((path, flags, line))
            self.serving[number] = path


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
            found = Trace(file)
        self.assertEqual(len(found.made), 3)
        self.assertEqual(len(found.format_opens), 3)
        self.assertEqual(sorted(path for path, _, _ in found.served), sorted(found.format_opens))
        for _, flags, line in found.served:
            self.assertIn("O_DIRECT", flags, line)
            self.assertIn("O_DSYNC", flags, line)
        for line in found.format_opens.values():
            self.assertIn("O_DSYNC", line)
        self.assertEqual(found.offences, [])
        self.assertGreater(found.rings, result["verify"]["acked"])

    def test_trace_catches_a_replica_without_o_dsync(self):
        # The judge itself: opens as format makes them, and a replica's that forgot a flag.
        lines = []
        for node in range(1, 4):
            path = f'"d/n{node}/log"'
            lines += [f'1 openat(AT_FDCWD, {path}, O_RDWR|O_CREAT|O_EXCL|O_DIRECT, 0644) = 5',
                      '1 close(5) = 0',
                      f'1 openat(AT_FDCWD, {path}, O_RDWR|O_DSYNC|O_DIRECT|O_CLOEXEC) = 5',
                      '1 close(5) = 0',
                      f'1 openat(AT_FDCWD, {path}, O_RDWR|O_DIRECT|O_CLOEXEC) = {node + 5}',
                      f'2 pwrite64({node + 5}, "x", 1, 0) = 1']
        found = Trace(lines)
        self.assertEqual(len(found.served), 3)
        self.assertTrue(all("O_DSYNC" not in flags for _, flags, _ in found.served))
        self.assertEqual(len(found.offences), 3)


if __name__ == "__main__":
    support.main()
