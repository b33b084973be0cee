"""Disks that do what they should not: for the tests of what a node makes of it."""
import mmap
import os
import struct
import sys

import network
from test_records import Records

HERE = os.path.dirname(os.path.abspath(__file__))


def forbidden(error="EPERM"):
    """A place where io_uring is refused, or reads at an offset fail or never end."""
    return network.Place([sys.executable, os.path.join(HERE, "forbid.py"), error])


class SlowDisk:
    """The numbers of one node's slow disk (storage/disk_slow.h), changed while it runs."""

    def __init__(self, node):
        self.path = os.path.join(node.cluster.folder, f"slow{node.number}")
        self.flag = ["--slow-disk", f"0ms,file={self.path}"]
        self.map = None

    def set(self, delay_s):
        """Hold each write from now on for so long; 0 lets go of whatever is held."""
        if self.map is None:
            with open(self.path, "r+b") as file:
                self.map = mmap.mmap(file.fileno(), 40)
        struct.pack_into("<Q", self.map, 16, 1000000)
        struct.pack_into("<Q", self.map, 8, int(delay_s * 1e9))
        struct.pack_into("<Q", self.map, 32, struct.unpack_from("<Q", self.map, 32)[0] + 1)


class Slowable(Records):
    def slowable(self, *more):
        """Three healthy nodes whose disks can be slowed."""
        made = self.cluster()
        made.format()
        self.slow = {}
        for node in made.nodes:
            self.slow[node.number] = SlowDisk(node)
            node.start(*self.slow[node.number].flag, *more)
        return made, made.wait_healthy()["leader"]
