"""The log of a stopped node: read by the tools, and damaged by position."""
import json
import os
import struct
import sys

import cluster
from cluster import thole

sys.path.insert(0, os.path.join(cluster.REPOSITORY, "tests", "cli"))
from support import crc32c  # pylint: disable=wrong-import-position

PAGE = 4096
PAYLOAD = 184  # Where the payload of an entry's first record begins ...
MARK = 4080  # ... and a page's mark.
SUPERBLOCKS = [0, 65536, 131072, 196608]  # Slot 0, slot 1, slot 0 again, slot 1 again.
WATERMARKS = [262144, 327680]


def run_json(*arguments, code=0):
    """A command that ends with a code, and the object it prints."""
    done = thole("log", *arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def dump(data, *more):
    """The objects of `dump --json`, and the summary."""
    done = thole("log", "dump", data, "--json", *more)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["type"] == "summary"
    assert all(line["type"] in ("entry", "pages") for line in lines[:-1])
    return lines[:-1], lines[-1]


class LogFile:
    """The log in a folder, to be read and damaged by position."""

    def __init__(self, data):
        self.path = os.path.join(data, "log")
        self.ring_bytes = run_json("ls", data)["ring_bytes"]
        self.ring_offset = os.path.getsize(self.path) - self.ring_bytes

    def read(self, position, count=PAGE):
        with open(self.path, "rb") as file:
            file.seek(self.ring_offset + position % self.ring_bytes)
            return file.read(count)

    def write(self, position, data):
        self.write_at(self.ring_offset + position % self.ring_bytes, data)

    def write_at(self, offset, data):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)
            os.fsync(file.fileno())

    def flip(self, position):
        self.write(position, bytes([self.read(position, 1)[0] ^ 0x10]))

    def flip_at(self, *offsets):
        for offset in offsets:
            with open(self.path, "rb") as file:
                file.seek(offset)
                byte = file.read(1)[0]
            self.write_at(offset, bytes([byte ^ 0x10]))

    def swap(self, one, other):
        first, second = self.read(one), self.read(other)
        self.write(one, second)
        self.write(other, first)

    def forge(self, position, at):
        """Change a body byte of a first page, and mend its mark: a rot that no checksum finds."""
        page = bytearray(self.read(position))
        page[at] ^= 0x10
        seed = bytes.fromhex(cluster.CLUSTER_ID)[::-1]
        page[-4:] = struct.pack("<I", crc32c(seed + bytes(page[64:-4])))
        self.write(position, bytes(page))
