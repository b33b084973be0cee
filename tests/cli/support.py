"""What the tests of the program share: running it, a scratch folder, and a CRC of its pages.

A test that cannot run here skips with its reason, which unittest prints beside its name; a file of
which every test was skipped exits 77, its last line saying why.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
THOLE = os.environ.get("THOLE", os.path.join(REPOSITORY, "build", "thole"))
QUICK = ["--duration", "300ms", "--warmup", "100ms", "--log-size", "64MiB", "--seed", "7"]
PAGE = 4096


def thole(*arguments, cwd=None, env=None, before=()):
    """Run the program; returns the finished process with text output."""
    return subprocess.run([*before, THOLE, *arguments], cwd=cwd, env=env, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)


def crc32c(data):
    """CRC-32C, bit by bit: a page takes a few milliseconds, and no library is needed."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class Case(unittest.TestCase):
    """A test with a scratch folder beside the build, on a real filesystem."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="thole-cli-", dir=os.getcwd())
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def assert_exit(self, process, code):
        self.assertEqual(process.returncode, code,
                         f"stdout: {process.stdout[-2000:]}\nstderr: {process.stderr[-2000:]}")

    def assert_says(self, process, *words):
        for word in words:
            self.assertIn(word, process.stderr)
        self.assertNotIn("EAL:", process.stderr)

    def object_of(self, process):
        """The one JSON object that stdout must be."""
        return json.loads(process.stdout)

    def configuration(self, nodes=1, size="64MiB", segment="1MiB"):
        """A configuration file; returns its path."""
        path = self.path("cluster.ini")
        with open(path, "w", encoding="ascii") as out:
            out.write("[cluster]\nid = 9f3c0a4e5b6d7788\n")
            for node in range(1, nodes + 1):
                out.write(f"[node {node}]\naddress = 127.0.0.1:{7000 + node}\ndata = n{node}\n")
            out.write(f"[storage]\nsegment = {segment}\nsize = {size}\n")
        return path

    def formatted(self, size="64MiB"):
        """A fresh log of node 1; returns its folder."""
        process = thole("format", "-c", self.configuration(size=size), "--node", "1")
        self.assert_exit(process, 0)
        return self.path("n1")

    def rewrite_superblocks(self, log, change):
        """Let `change` edit every superblock page, and mend its CRC."""
        with open(log, "r+b") as file:
            for slot in range(4):
                file.seek(slot * 65536)
                page = bytearray(file.read(PAGE))
                change(page)
                page[-4:] = struct.pack("<I", crc32c(page[:-4]))
                file.seek(slot * 65536)
                file.write(page)
            os.fsync(file.fileno())


def main():
    """Run the tests of the calling file on the program named first; 77 when all were skipped."""
    global THOLE
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        THOLE = os.path.abspath(sys.argv.pop(1))
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun > len(result.skipped):
        sys.exit(0)
    print("skipped: " + "; ".join(f"{test.id().split('.')[-1]}: {why}"
                                  for test, why in result.skipped), file=sys.stderr)
    sys.exit(77)
