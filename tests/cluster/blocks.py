"""Block devices for tests: loop devices over files, with blocks of a size of one's own.

The kernel takes a device away when nobody has it open any more, and the test that made it does: so
none is left behind, however the test ends.
"""
import fcntl
import os
import struct
import subprocess

import network

CTL_GET_FREE, CONFIGURE = 0x4c82, 0x4c0a
FLAG_AUTOCLEAR, FLAG_DIRECT_IO = 4, 16
TRIES = 20  # Another process may take the number that was free.


class Device:
    """One loop device over a new file of zeros."""

    def __init__(self, image, size_bytes, block_bytes):
        self.image = image
        self.path = None
        with open(image, "wb") as file:
            file.truncate(size_bytes)
        with open(image, "r+b") as file:
            for _ in range(TRIES):
                if self.attach(file.fileno(), block_bytes):
                    return
        raise OSError("no loop device is free for long enough")

    def attach(self, file, block_bytes):
        """False: somebody else was faster."""
        with open("/dev/loop-control", "r+b", buffering=0) as control:
            number = fcntl.ioctl(control, CTL_GET_FREE)
        self.path = f"/dev/loop{number}"
        if not os.path.exists(self.path):
            raise OSError(f"{self.path} is not there")
        self.fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        # struct loop_config: the file, the size of a block, struct loop_info64, eight reserved.
        info = bytearray(232)
        struct.pack_into("<I", info, 52, FLAG_AUTOCLEAR | FLAG_DIRECT_IO)
        try:
            fcntl.ioctl(self.fd, CONFIGURE,
                        struct.pack("<II", file, block_bytes) + bytes(info) + bytes(64))
            return True
        except OSError as error:
            os.close(self.fd)
            if error.errno not in (16, 6):  # EBUSY, ENXIO
                raise
            return False

    @property
    def name(self):
        return os.path.basename(self.path)

    def fact(self, name):
        """What the kernel says of its queue."""
        with open(f"/sys/block/{self.name}/queue/{name}", encoding="ascii") as file:
            return file.read().strip()

    def read(self, offset, count):
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(count)

    def write(self, offset, data):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)
            os.fsync(file.fileno())

    def close(self):
        os.close(self.fd)


def make(case, image, size_bytes, block_bytes):
    """A device for a test, which is skipped with the reason where there is none."""
    try:
        device = Device(image, size_bytes, block_bytes)
    except OSError as error:
        case.skipTest(f"no loop device of {block_bytes} bytes a block here: {error}")
    case.addCleanup(device.close)
    return device


def mounts(case, *commands):
    """A place that has mounts of its own, made by these commands; they end with the test, or its
    process."""
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private",
         "sh", "-c", " && ".join([*commands, "echo made", "exec sleep infinity"])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def close():
        holder.kill()
        holder.communicate()
    case.addCleanup(close)
    if holder.stdout.readline() != "made\n":
        case.skipTest(f"cannot mount here: {holder.communicate()[1].strip()}")
    return network.Place(["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"])
