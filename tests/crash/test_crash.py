#!/usr/bin/env python3
"""Power cuts at every point of a real run: every acknowledged record is there after recovery.

The nodes are `thole start` with io_uring, O_DIRECT and O_DSYNC. Their logs lie on disks that record
what the kernel asks and when it is answered (tests/crash/recorder.c): as files, whose writes are
then through to the medium, or as block devices (a loop device above the file) with a volatile
cache, where the kernel makes a write and a flush of each. Meanwhile records are appended and each
acknowledgement is noted in the order of the recording (tests/crash/writer.c); nodes are killed,
stopped, started again, and hand over. Then images of what power cuts would have left are recovered
and judged (tests/crash/replay.c).

usage: test_crash.py THOLE TOOLS [--images N] [--records N] [--seed N] [TEST...]

TOOLS is the folder of the three programs. Needs /dev/fuse, and either root, or a user namespace for
the tests of files; skips otherwise.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
import cluster  # pylint: disable=wrong-import-position
from cluster import thole  # pylint: disable=wrong-import-position

IMAGES = int(cluster.take_option("--images") or "2700")
RECORDS = int(cluster.take_option("--records") or "5000")
SEGMENT_BYTES = 256 * 1024  # The least.
RETENTION_BYTES = 2 * SEGMENT_BYTES
SIZE = "4608KiB"  # Room for it, beside what is not trimmed yet because a follower lags.
DELAY_US = 2500
SKIPPED = 77
IN_NAMESPACE = "THOLE_CRASH_IN_NAMESPACE"
TOOLS = None


def tool(name):
    return os.path.join(TOOLS, f"crash_{name}")


class Disks:
    """The recorder and what it serves: a path a node, a file or a block device."""

    def __init__(self, case, made, devices):
        self.case = case
        self.folder = os.path.join(made.folder, "disks")
        os.mkdir(self.folder)
        self.journal = os.path.join(made.folder, "journal")
        self.clock = os.path.join(made.folder, "clock")
        self.images = []
        self.loops = []  # Descriptors.
        for node in made.nodes:
            image = os.path.join(made.folder, f"image{node.number}")
            shutil.move(os.path.join(node.data, "log"), image)
            self.images.append(image)
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", tool("recorder"), "--folder", self.folder,
             "--journal", self.journal, "--clock", self.clock, "--seed", str(cluster.SEED),
             "--delay-us", str(DELAY_US), *self.images], stdout=subprocess.PIPE, text=True)
        case.addCleanup(self.close)
        if self.process.stdout.readline() != "ready\n":
            if self.process.wait() == SKIPPED:
                case.skipTest("no filesystem of FUSE can be mounted here")
            raise AssertionError("the recorder did not begin")
        for node in made.nodes:
            path = os.path.join(self.folder, str(node.number))
            os.symlink(self.loop(path) if devices else path, os.path.join(node.data, "log"))

    def loop(self, path):
        done = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", path],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.case.skipTest(f"no loop device: {done.stderr.strip()}")
        device = done.stdout.strip()
        self.loops.append(os.open(device, os.O_RDONLY))
        # Detached when the last one closes it: then it ends with this program, in whatever way.
        subprocess.run(["losetup", "--detach", device], check=True)
        return device

    def close(self):
        """End the recording; what it counted, once."""
        if self.process is None:
            return None
        while self.loops:
            os.close(self.loops.pop())
        self.process.terminate()
        told = self.process.communicate(timeout=cluster.PATIENCE_S)[0]
        code, self.process = self.process.returncode, None
        return json.loads(told) if code == 0 else None


class Crash(cluster.Case):
    """A recorded run, and its power cuts."""

    def record(self, count, devices):
        """A cluster's run of RECORDS acknowledged records: the disks."""
        made = self.cluster(count, size=SIZE, segment="256KiB",
                            storage=f"retention = {RETENTION_BYTES // 1024}KiB\n")
        made.format()
        disks = Disks(self, made, devices)
        self.acks = os.path.join(made.folder, "acks")
        with open(self.acks, "wb"):
            pass
        for node in made.nodes:
            node.start()
        made.wait_healthy()
        # pylint: disable-next=consider-using-with
        writer = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", tool("writer"), "--config", made.path,
             "--clock", disks.clock, "--acks", self.acks, "--seed", str(cluster.SEED),
             "--records", str(RECORDS)], stderr=subprocess.PIPE, text=True)
        self.addCleanup(writer.kill)
        self.disturb(made, writer)
        said = writer.communicate(timeout=10 * cluster.PATIENCE_S)[1]
        self.assertEqual(writer.returncode, 0, said)
        made.wait_healthy()
        for node in made.nodes:
            self.assertEqual(node.stop(), 0, node.said())
        self.counted = disks.close()
        self.assertIsNotNone(self.counted)
        return disks

    def acked(self):
        return os.path.getsize(self.acks) // 24

    def disturb(self, made, writer):
        """Kill, stop and start nodes, one at a time, and hand over, at even parts of the run."""
        random = cluster.rng(self)
        for part in range(1, 7):
            made.wait(lambda part=part: self.acked() >= RECORDS * part // 7
                      or writer.poll() is not None, "records are acknowledged")
            node = made.nodes[random.randrange(len(made.nodes))]
            if part % 3 == 0 and len(made.nodes) > 1:
                thole("leader", "transfer", "-c", made.path)
                continue
            node.process.send_signal(signal.SIGKILL if part % 3 == 1 else signal.SIGTERM)
            writer.send_signal(signal.SIGSTOP)  # A node that is away falls behind at once.
            node.wait_end()
            node.start()
            made.wait_healthy()
            writer.send_signal(signal.SIGCONT)

    def replay_command(self, journal, acks, images):
        return [tool("replay"), "--journal", journal, "--acks", acks,
                "--cluster", cluster.CLUSTER_ID, "--writer-seed", str(cluster.SEED),
                "--retention", str(RETENTION_BYTES), "--seed", str(cluster.SEED),
                "--images", str(IMAGES), *images]

    def replay(self, disks, *more):
        """The replayer's object, and what it says."""
        command = self.replay_command(disks.journal, self.acks, disks.images)
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout), done.stderr

    def keep(self, disks):
        """What a real run did is not repeated by its seed, so it is kept: how to replay it."""
        folder = tempfile.mkdtemp(prefix="thole-crash-", dir=os.getcwd())
        kept = [shutil.copy(path, folder) for path in (disks.journal, self.acks, *disks.images)]
        return f"kept; again with\n{' '.join(self.replay_command(*kept[:2], kept[2:]))}"

    def check(self, count, devices):
        begin = time.monotonic()
        disks = self.record(count, devices)
        middle = time.monotonic()
        found, said = self.replay(disks)
        end = time.monotonic()
        print(f"recorded in {middle - begin:.1f} s, replayed in {end - middle:.1f} s: "
              f"{json.dumps(found)} {json.dumps(self.counted)}", flush=True)
        if found["violations"] > 0:
            self.fail(f"{said}{self.keep(disks)}")
        self.assertGreaterEqual(found["images"], IMAGES * 99 // 100)
        self.assertEqual(found["acks"], RECORDS)
        for name in ("images_torn", "torn", "opened", "opened_cut_short", "superblock_writes",
                     "state_writes", "watermark_writes", "laps", "trimmed"):
            self.assertGreater(found[name], 0, name)
        self.assertGreater(found["terms"], 1)
        if devices:  # The kernel makes a flush of O_DSYNC ...
            self.assertEqual(found["through"], 0)
            self.assertGreater(found["flushes"], 0)
        else:  # ... or passes it on.
            self.assertEqual(found["through"], found["writes"])
        found, said = self.replay(disks, "--lies")
        self.assertGreater(found["losses"], 0, f"disks that lie lose nothing: {said}")


class Alone(Crash):
    def test_one_node_on_a_file_keeps_what_it_acknowledged(self):
        self.check(1, devices=False)

    def test_one_node_on_a_device_keeps_what_it_acknowledged(self):
        self.check(1, devices=True)


class Three(Crash):
    def test_three_nodes_on_files_keep_what_they_acknowledged(self):
        self.check(3, devices=False)

    def test_three_nodes_on_devices_keep_what_they_acknowledged(self):
        self.check(3, devices=True)


def enter_namespace():
    """Mounts are to end with this program, in whatever way it ends."""
    if os.environ.get(IN_NAMESPACE) is not None:
        return
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    within = ["unshare", *user, "--mount", "--propagation", "private", "--"]
    if shutil.which(within[0]) is None or subprocess.run([*within, "true"], check=False,
                                                         capture_output=True).returncode != 0:
        print("skipped: neither root nor a user namespace to mount in")
        sys.exit(SKIPPED)
    os.environ[IN_NAMESPACE] = "1"
    os.execvp(within[0], [*within, *sys.orig_argv])


if __name__ == "__main__":
    if not os.path.exists("/dev/fuse"):
        print("skipped: no /dev/fuse")
        sys.exit(SKIPPED)
    enter_namespace()
    TOOLS = os.path.abspath(sys.argv.pop(2))
    sys.argv[1] = os.path.abspath(sys.argv[1])
    cluster.main()
