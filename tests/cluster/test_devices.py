"""What a log may stand on: block devices with blocks of 512 and of 4096 bytes, and filesystems;
what is refused, and by which name; what is told of caches."""
import json
import os
import shutil
import subprocess

import blocks
import cluster
import network
from cluster import thole
from test_records import Records

MIB = 1 << 20
BLOCKS = 512, 4096
SIZE = 40 * MIB  # Of a device; the log is smaller.
SIGNATURES = {  # Offset and bytes, and what it is called.
    "an ext2, ext3 or ext4 filesystem": (0x438, b"\x53\xef"),
    "an xfs filesystem": (0, b"XFSB"),
    "a btrfs filesystem": (0x10040, b"_BHRfS_M"),
    "an f2fs filesystem": (0x400, b"\x10\x20\xf5\xf2"),
    "an encrypted volume (LUKS)": (0, b"LUKS\xba\xbe"),
    "a physical volume of LVM": (0x200, b"LABELONE"),
    "a part of a RAID (md)": (0x1000, b"\xfc\x4e\x2b\xa9"),
    "swap space": (0xff6, b"SWAPSPACE2"),
    "an ISO 9660 filesystem": (0x8001, b"CD001"),
    "a partition table (GPT)": (0x200, b"EFI PART"),
    "a partition table or a boot sector": (0x1fe, b"\x55\xaa"),
    "something that is not zero": (SIZE - 1, b"x"),
}
MENDING = "findmnt --types ext4,xfs"


def made_with(tool):
    """Why no filesystem can be made by this tool, or None."""
    return None if shutil.which(tool) else f"missing: {tool}"


class Devices(Records):
    def device(self, name, block_bytes, size_bytes=SIZE):
        """Its file lies beside the clusters of this process, and is gone with its name."""
        image = os.path.join(os.getcwd(), f"{cluster.FOLDER}{os.getpid()}-{name}.image")
        self.addCleanup(os.unlink, image)
        return blocks.make(self, image, size_bytes, block_bytes)

    def on(self, devices, **more):
        """A cluster, each node's log on one of them."""
        return self.cluster(len(devices), data=[device.path for device in devices], **more)

    def look(self, made, place=network.HERE):
        """Doctor's rows about node 1."""
        done = thole("doctor", "-c", made.path, "--node", "1", "--json", place=place)
        found = json.loads(done.stdout)
        return {row["condition"]: row for row in found["rows"]}, done.returncode


class Raw(Devices):
    def cluster_on(self, block_bytes):
        devices = [self.device(f"{block_bytes}-{number}", block_bytes) for number in (1, 2, 3)]
        made = self.on(devices)
        for device in devices:
            self.assertEqual(device.fact("logical_block_size"), str(block_bytes))
            device.write(36 * MIB, b"not the log's")  # Behind its 32 MiB.
        made.format()
        made.start()
        made.wait_healthy()
        return devices, made

    def serves_restarts_and_is_read(self, block_bytes):
        devices, made = self.cluster_on(block_bytes)
        said = made[1].said()
        self.assertIn(f"no filesystem on {devices[0].name} (below others", said)
        self.assertIn(f"blocks of {block_bytes} bytes", said)
        lines = [b"record %d" % number for number in range(500)] + [b"x" * 60000]
        self.append(made, b"".join(line + b"\n" for line in lines))
        self.read_everywhere(made, lines)
        for node in made.nodes:
            node.kill()
        for node in made.nodes:
            node.start()
        made.wait_healthy()
        self.read_everywhere(made, lines)
        done = thole("bench", "run", "-c", made.path, "--json", "--no-floor", "--rate", "200",
                     "--duration", "500ms", "--warmup", "100ms")
        found = json.loads(done.stdout)
        self.assertEqual((found["verify"]["lost"], found["verify"]["duplicated"]), (0, 0))
        self.assertGreater(found["verify"]["acked"], 0)
        self.assertEqual(found["env"]["device"], devices[0].name)
        self.assertEqual(found["env"]["logical_block_bytes"], block_bytes)
        self.assertEqual(found["env"]["write_cache"], devices[0].fact("write_cache"))
        self.assertEqual(found["env"]["fua"], devices[0].fact("fua") == "1")
        made.stop()
        for device in devices:
            self.assert_exit(thole("log", "verify", device.path), 0)
            self.assertEqual(device.read(36 * MIB, 13), b"not the log's")
        self.assert_exit(thole("log", "diff", devices[0].path, devices[1].path), 0)
        listed = json.loads(thole("log", "ls", devices[0].path, "--json").stdout)
        self.assertLess(listed["ring_bytes"], 32 * MIB)
        self.assertIn("record 499", thole("log", "dump", devices[0].path).stdout)

    def test_a_cluster_on_devices_of_512_bytes_a_block_serves_restarts_and_is_read(self):
        self.serves_restarts_and_is_read(512)

    def test_a_cluster_on_devices_of_4096_bytes_a_block_serves_restarts_and_is_read(self):
        self.serves_restarts_and_is_read(4096)

    def test_damage_on_a_device_is_found_by_verify_and_mended_from_the_others(self):
        devices, made = self.cluster_on(4096)
        self.append(made, b"one\ntwo\n")
        self.append(made, b"three\n")
        made.stop()
        listed = json.loads(thole("log", "ls", devices[1].path, "--json").stdout)
        lines = [json.loads(line) for line in
                 thole("log", "dump", devices[1].path, "--json").stdout.splitlines()]
        entry = next(line for line in lines if line.get("kind") == "client")
        ring_offset = 32 * MIB - listed["ring_bytes"]
        at = ring_offset + entry["position"] + 200
        devices[1].write(at, bytes([devices[1].read(at, 1)[0] ^ 1]))
        self.assert_exit(thole("log", "verify", devices[1].path), 1)
        for node in made.nodes:
            node.start(waits=False)
        made.wait_healthy()
        self.assertIn("node 2 has mended its log", made[2].said())
        made.stop()
        self.assert_exit(thole("log", "verify", devices[1].path), 0)

    def test_a_backup_is_restored_onto_devices_that_hold_nothing_else(self):
        made, _ = self.healthy()
        self.append(made, b"one\ntwo\n")
        backup = os.path.join(made.folder, "backup")
        self.assert_exit(thole("backup", "-c", made.path, "--output", backup), 0)
        made.stop()
        devices = [self.device(f"restored-{number}", 4096) for number in (1, 2, 3)]
        new = self.on(devices)
        with open(new.path, encoding="ascii") as file:
            text = file.read().replace(cluster.CLUSTER_ID, "1f3c0a4e5b6d7788")
        with open(new.path, "w", encoding="ascii") as out:
            out.write(text)
        devices[0].write(0, b"XFSB")
        done = thole("restore", "-c", new.path, backup)
        self.assert_exit(done, 3, f"{devices[0].path} holds an xfs filesystem", "blkdiscard")
        self.assertEqual(devices[0].read(0, 4), b"XFSB")
        devices[0].write(0, bytes(4))
        for device in devices:
            device.write(36 * MIB, b"not the log's")
        self.assert_exit(thole("restore", "-c", new.path, backup), 0)
        new.start()
        new.wait_healthy()
        self.assertEqual(self.read(new, "--linearizable"), [(0, b"one"), (1, b"two")])
        new.stop()
        for device in devices:
            self.assert_exit(thole("log", "verify", device.path), 0)
            self.assertEqual(device.read(36 * MIB, 13), b"not the log's")

    def test_a_device_that_a_node_has_open_is_refused_to_others(self):
        devices, made = self.cluster_on(512)
        in_use = f"{devices[0].path} is locked by another process, {made[1].process.pid};"
        self.assert_exit(thole("format", "-c", made.path, "--node", "1"), 3, in_use)
        self.assert_exit(thole("format", "-c", made.path, "--node", "1", "--force"), 3, in_use)
        self.assert_exit(thole("start", "-c", made.path, "--node", "1"), 3, in_use)
        elsewhere = ["unshare", "--pid", "--fork", "--mount-proc", cluster.THOLE]
        done = subprocess.run([*elsewhere, "start", "-c", made.path, "--node", "1"], text=True,
                              capture_output=True, check=False, timeout=60)
        self.assert_exit(done, 3, "another process, which /proc/locks does not show here")
        self.assert_exit(thole("log", "verify", devices[0].path), 3, "thole read -c FILE --node 1")
        rows, _ = self.look(made)
        self.assertIn("log in use", rows)
        self.append(made, b"it serves on\n")


class Content(Devices):
    def test_what_a_device_holds_is_named_and_not_destroyed_without_force(self):
        device = self.device("held", 512)
        made = self.on([device])
        for name, (offset, mark) in SIGNATURES.items():
            device.write(offset, mark)
            done = thole("format", "-c", made.path, "--node", "1")
            self.assert_exit(done, 3, f"{device.path} holds {name}", "--force")
            self.assertEqual(device.read(offset, len(mark)), mark)
            self.assertEqual(thole("start", "-c", made.path, "--node", "1").returncode, 3)
            rows, code = self.look(made)
            self.assertEqual((rows["log pre-written"]["severity"], code), ("error", 1), rows)
            self.assertIn(name, rows["log pre-written"]["current"])
            device.write(offset, bytes(len(mark)))
        device.write(0, b"LUKS\xba\xbe")
        made[1].format("--force")
        done = thole("format", "-c", made.path, "--node", "1")
        self.assert_exit(done, 3, f"{device.path} holds a log already", "--force")
        made.start()
        made.wait_healthy()
        self.append(made, b"one\n")
        self.assertEqual(made[1].stop(), 0)
        made[1].format("--force")
        made.start()
        made.wait_healthy()
        self.assertEqual(self.read(made, "--linearizable"), [])

    def test_what_is_left_of_a_log_behind_a_beginning_that_is_gone_is_not_destroyed(self):
        device = self.device("left", 4096)
        made = self.on([device])
        made[1].format()
        made.start()
        made.wait_healthy()
        self.append(made, b"one\n")
        backup = os.path.join(made.folder, "backup")
        self.assert_exit(thole("backup", "-c", made.path, "--output", backup), 0)
        self.assertEqual(made[1].stop(), 0)
        device.write(0, bytes(MIB))
        log = device.read(0, SIZE)
        self.assert_exit(thole("start", "-c", made.path, "--node", "1"), 1, "superblocks are gone")
        done = thole("format", "-c", made.path, "--node", "1")
        self.assert_exit(done, 3, f"{device.path} holds what is left of a log of node 1 of cluster",
                         "whose superblocks are gone", "give --force to destroy it")
        other = self.on([device])
        with open(other.path, encoding="ascii") as config:
            text = config.read()
        with open(other.path, "w", encoding="ascii") as config:
            config.write(text.replace(cluster.CLUSTER_ID, "9f3c0a4e5b6d7799"))
        self.assert_exit(thole("restore", "-c", other.path, backup), 3, "what is left of a log",
                         f"`blkdiscard --zeroout {device.path}`")
        self.assertEqual(device.read(0, SIZE), log)
        made[1].format("--force")
        made.start()
        made.wait_healthy()

    def test_an_empty_device_is_told_as_not_formatted_and_a_small_one_as_too_small(self):
        device = self.device("empty", 4096)
        made = self.on([device])
        self.assert_exit(thole("start", "-c", made.path, "--node", "1"), 3, "thole format")
        rows, code = self.look(made)
        self.assertEqual((rows["log pre-written"]["severity"], code), ("note", 0))
        self.assertIn("thole format", rows["log pre-written"]["mend"])
        self.assertEqual(rows["space"]["severity"], "ok")
        made = self.on([device], size="64MiB")
        done = thole("format", "-c", made.path, "--node", "1")
        self.assert_exit(done, 3, "too little space", "needs 64 MiB", "40 MiB")
        self.assertEqual(self.look(made)[0]["space"]["severity"], "error")

    def test_a_mounted_device_is_refused_even_with_force(self):
        if made_with("mkfs.ext4"):
            self.skipTest(made_with("mkfs.ext4"))
        device = self.device("mounted", 4096)
        made = self.on([device])
        folder = os.path.join(made.folder, "mounted")
        os.mkdir(folder)
        subprocess.run(["mkfs.ext4", "-q", device.path], check=True)
        place = blocks.mounts(self, f"mount {device.path} {folder}")
        for at in (network.HERE, place):
            for more in [], ["--force"]:
                done = thole("format", "-c", made.path, "--node", "1", *more, place=at)
                self.assert_exit(done, 3, f"{device.path} is in use: mounted")
        rows, code = self.look(made)
        self.assertEqual((rows["O_DIRECT, O_DSYNC"]["severity"], code), ("error", 1))


class Filesystems(Devices):
    def on_filesystem(self, name, make, block_bytes, options="defaults"):
        """One node whose data folder is a filesystem of its own; the place where it can be seen,
        and the device."""
        tool = make.split()[0]
        if made_with(tool):
            self.skipTest(made_with(tool))
        device = self.device(f"{name}{block_bytes}", block_bytes, 400 * MIB)
        made = self.cluster(1)
        os.mkdir(made[1].data)
        subprocess.run([*make.split(), device.path], check=True, capture_output=True)
        made[1].place = blocks.mounts(self, f"mount -o {options} {device.path} {made[1].data}")
        return made, device

    def serves(self, made, told):
        self.assert_exit(thole("format", "-c", made.path, "--node", "1", place=made[1].place), 0)
        rows, code = self.look(made, made[1].place)
        self.assertEqual(code, 0)
        made.start()
        self.assertIn(told, made[1].said())
        made.wait_healthy()
        self.append(made, b"one\n")
        made[1].kill()
        made.start()
        made.wait_healthy()
        self.assertEqual(self.read(made, "--linearizable"), [(0, b"one")])
        self.assertEqual(made[1].stop(), 0)
        self.assert_exit(thole("log", "verify", made[1].data, place=made[1].place), 0)
        return rows

    def refused(self, made, *words):
        place = made[1].place
        done = thole("format", "-c", made.path, "--node", "1", place=place)
        self.assert_exit(done, 3, MENDING, *words)
        rows, code = self.look(made, place)
        row = next(row for row in rows.values() if row["severity"] == "error")
        self.assertEqual((row["mend"], code), (MENDING, 1))
        self.assertIn(words[0], row["current"])

    def test_a_file_on_ext4_serves_with_both_sizes_of_blocks(self):
        for block_bytes in BLOCKS:
            made, device = self.on_filesystem("ext4", "mkfs.ext4 -q", block_bytes)
            rows = self.serves(made, f"ext4 on {device.name} ")
            self.assertIn(f"blocks of {block_bytes} bytes", rows["device"]["current"])

    def test_a_file_on_xfs_serves_with_both_sizes_of_blocks(self):
        for block_bytes in BLOCKS:
            made, device = self.on_filesystem("xfs", "mkfs.xfs -q", block_bytes)
            self.serves(made, f"xfs on {device.name} ")

    def test_ext4_that_journals_data_has_no_direct_io_though_it_takes_the_flag(self):
        if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 1):
            self.skipTest("a kernel before 6.1 does not tell")
        made, _ = self.on_filesystem("journal", "mkfs.ext4 -q", 4096, "data=journal")
        self.refused(made, "ext4", "no direct I/O")
        self.assertFalse(os.path.exists(os.path.join(made[1].data, "log")))

    def test_btrfs_is_refused_by_name(self):
        made, _ = self.on_filesystem("btrfs", "mkfs.btrfs -q", 4096)
        self.refused(made, "btrfs", "copies on write")

    def test_f2fs_is_refused_by_name(self):
        made, _ = self.on_filesystem("f2fs", "mkfs.f2fs -q", 4096)
        self.refused(made, "f2fs", "copies on write")

    def test_memory_is_refused_by_name(self):
        for kind in "tmpfs", "ramfs":
            made = self.cluster(1)
            os.mkdir(made[1].data)
            made[1].place = blocks.mounts(self, f"mount -t {kind} none {made[1].data}")
            self.refused(made, kind, "memory")

    def test_an_overlay_that_passes_direct_io_serves_and_is_told(self):
        made = self.cluster(1)
        parts = {name: os.path.join(made.folder, name) for name in ("low", "up", "work")}
        for folder in [*parts.values(), made[1].data]:
            os.mkdir(folder)
        made[1].place = blocks.mounts(
            self, f"mount -t overlay none {made[1].data} "
                  f"-o lowerdir={parts['low']},upperdir={parts['up']},workdir={parts['work']}")
        rows = self.serves(made, "overlay")
        self.assertEqual(rows["filesystem"]["severity"], "note")
        self.assertIn("overlay", rows["filesystem"]["current"])


if __name__ == "__main__":
    cluster.main()
