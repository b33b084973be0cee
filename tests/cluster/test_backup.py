"""`thole backup` of a cluster that serves, and `thole restore` of new ones: every record at its
offset; what is damaged, cut off, interrupted or of the same cluster is recognised; a node that is
restored anew is a stranger."""
import json
import os
import re
import shutil
import signal
import struct
import subprocess

import cluster
from cluster import main, thole
from logfile import crc32c
from sick import forbidden
from test_reads import Writer
from test_records import Records

NEW_ID = "00000000000000b7"


def renamed(made, old=cluster.CLUSTER_ID, new=NEW_ID):
    """Give a cluster that is not formatted yet an id of its own."""
    with open(made.path, encoding="ascii") as file:
        text = file.read()
    with open(made.path, "w", encoding="ascii") as file:
        file.write(text.replace(old, new))
    return made


class Backups(Records):
    def new_cluster(self, **more):
        return renamed(self.cluster(**more))

    def backup(self, made, *more):
        path = os.path.join(made.folder, "log.bak")
        done = thole("backup", "-c", made.path, "--output", path, "--json", *more)
        self.assert_exit(done, 0)
        told = json.loads(done.stdout)
        self.assertEqual(told["file_bytes"], os.path.getsize(path))
        self.assertEqual(told["records"], told["end_offset"] - told["first_offset"])
        return path, told

    def restore(self, made, path, *more):
        done = thole("restore", "-c", made.path, path, "--json", *more)
        self.assert_exit(done, 0)
        return json.loads(done.stdout)

    def check_restored(self, made, wanted):
        """The nodes are whole before they start, then every one of them has the wanted records,
        the next append comes behind them, and all of it stands when they start again."""
        for node in made.nodes:
            self.assert_exit(thole("log", "verify", node.data), 0)
        made.start()
        made.wait_healthy()
        self.assertEqual(self.read(made, "--linearizable"), wanted)
        for node in made.nodes:
            self.assertEqual(self.read(made, "--node", str(node.number), "--linearizable"), wanted)
        end = wanted[-1][0] + 1 if wanted else 0
        done = subprocess.run([cluster.THOLE, "append", "-c", made.path], input=b"behind\n",
                              capture_output=True, check=False, timeout=60)
        self.assertEqual(done.stdout, b"%d\n" % end, done.stderr)
        for node in made.nodes:
            self.assertEqual(node.stop(), 0)
        made.start()
        made.wait_healthy()
        self.assertEqual(self.read(made, "--linearizable"), wanted + [(end, b"behind")])

    def test_what_is_copied_from_a_follower_under_load_is_a_prefix_and_comes_back_as_it_was(self):
        made, found = self.healthy()
        writer = Writer(self, made)
        made.wait(lambda: writer.acked >= 300, "the load runs")
        acked = writer.acked
        follower = found["leader"] % 3 + 1
        path, told = self.backup(made, "--node", str(follower), "--linearizable")
        self.assertEqual((told["node"], told["first_offset"]), (follower, 0))
        self.assertEqual(told["cluster"], cluster.CLUSTER_ID)
        self.assertGreaterEqual(told["end_offset"], acked)
        before = writer.acked
        made.wait(lambda: writer.acked >= before + 100, "the load goes on")
        writer.stop()
        wanted = self.read(made)[:told["end_offset"]]
        new = self.new_cluster()
        restored = self.restore(new, path)
        self.assertEqual((restored["cluster"], restored["source_cluster"], restored["records"]),
                         (NEW_ID, cluster.CLUSTER_ID, told["records"]))
        self.check_restored(new, wanted)
        self.assertEqual(self.read(made)[:len(wanted)], wanted)

    def test_a_trimmed_log_keeps_its_offsets_and_the_new_one_can_be_trimmed(self):
        made = self.cluster(storage="retention = 2MiB\n")
        made.format()
        made.start()
        made.wait_healthy()
        self.append(made, 3000)
        path, told = self.backup(made)
        self.assertGreater(told["first_offset"], 0)
        wanted = self.read(made, "--from", str(told["first_offset"]))
        new = self.new_cluster(storage="retention = 4MiB\n")
        self.restore(new, path)
        for node in new.nodes:  # Of each boundary's state both copies stand.
            done = thole("log", "ls", node.data, "--json")
            self.assertEqual({one["state"] for one in json.loads(done.stdout)["segments"]},
                             {"none needed", "ok"})
        self.check_restored(new, wanted)
        self.append(new, 6000)
        new.wait_status(lambda found: all(node["log_start_offset"] > told["first_offset"]
                                          for node in found["nodes"]), "the new log is trimmed")
        for node in new.nodes:
            self.assertEqual(node.stop(), 0)
            self.assert_exit(thole("log", "verify", node.data), 0)
        new.start()
        new.wait_healthy()
        small = self.new_cluster(storage="retention = 1MiB\n")
        self.assert_exit(thole("restore", "-c", small.path, path), 2, "retention")

    def append(self, made, count):
        lines = b"".join(b"%d " % number + b"x" * 1500 + b"\n" for number in range(count))
        done = subprocess.run([cluster.THOLE, "append", "-c", made.path], input=lines,
                              capture_output=True, check=False, timeout=120)
        self.assert_exit(done, 0)

    def small_backup(self):
        made, _ = self.healthy()
        lines = [b"", b"one", b"\xff\x00 no text", b"y" * 60000, b"last"]
        done = subprocess.run([cluster.THOLE, "append", "-c", made.path],
                              input=b"\n".join(lines) + b"\n", capture_output=True, check=False)
        self.assert_exit(done, 0)
        path, _ = self.backup(made)
        return made, path, list(enumerate(lines))

    def refused(self, new, path, data, position):
        """Refused at this position or a little before it, and nothing is written."""
        with open(path, "wb") as file:
            file.write(data)
        done = thole("restore", "-c", new.path, path)
        self.assert_exit(done, 1, "damaged at byte ")
        at = int(done.stderr.split("damaged at byte ")[1].split(":")[0])
        self.assertLessEqual(at, position)
        self.assertFalse(any(os.path.exists(node.data) for node in new.nodes))
        return at

    def test_a_damaged_byte_or_a_missing_end_is_refused_with_its_position(self):
        made, path, wanted = self.small_backup()
        with open(path, "rb") as file:
            whole = file.read()
        new = self.new_cluster()
        bad = path + ".bad"
        payload = 64 + 24 * 4 + sum(len(record) for _, record in wanted[:3])
        heads = list(range(64 + 24 + 24)) + list(range(len(whole) - 60, len(whole)))
        sample = cluster.rng(self).sample(range(payload, payload + 60000), 40)
        for position in heads + sample:
            data = bytearray(whole)
            data[position] ^= 1 << position % 8
            self.refused(new, bad, bytes(data), position)
        ends = [0, 1, 63, 64, 65, 88, 89, payload, payload + 1, len(whole) - 49, len(whole) - 48,
                len(whole) - 1, *sample]
        for end in ends:
            self.assertEqual(self.refused(new, bad, whole[:end], end), end)
        self.refused(new, bad, whole + b"x", len(whole))
        self.restore(new, path)
        self.check_restored(new, wanted)
        other = renamed(self.cluster(), new="00000000000000b8")
        newer = bytearray(whole)
        newer[8] = 2
        newer[60:64] = struct.pack("<I", crc32c(bytes(newer[:60])))
        with open(bad, "wb") as file:
            file.write(newer)
        self.assert_exit(thole("restore", "-c", other.path, bad), 3, "format 2", "format 1")
        self.assert_exit(thole("restore", "-c", made.path, path), 2, cluster.CLUSTER_ID)

    def interrupt(self, new, path, number, *more):
        """Restore, and kill it while it makes the log of node `number`; the id that it printed."""
        part = os.path.join(new[number].data, "log.restoring")
        log = os.path.join(new[number].data, "log")
        with subprocess.Popen([cluster.THOLE, "restore", "-c", new.path, path, *more],
                              stderr=subprocess.PIPE, text=True) as process:
            new.wait(lambda: os.path.exists(part) or process.poll() is not None,
                     "the log is being made")
            process.send_signal(signal.SIGKILL)
            said = process.stderr.read()
        self.assertFalse(os.path.exists(log), "it was faster than the signal")
        self.assertTrue(os.path.exists(part))
        return re.search("restore id ([0-9a-f-]+):", said).group(1)

    def test_an_interrupted_restore_leaves_no_log_and_goes_on_with_its_id(self):
        _, path, wanted = self.small_backup()
        new = self.new_cluster(size="256MiB")
        again = self.interrupt(new, path, 1)
        for arguments in (["start", "-c", new.path, "--node", "1"], ["log", "verify", new[1].data]):
            self.assert_exit(thole(*arguments), 3, "thole restore", "--restore-id")
        self.assert_exit(thole("format", "-c", new.path, "--node", "1"), 3, "log.restoring")
        self.assertEqual(self.interrupt(new, path, 2, "--restore-id", again), again)
        # Without the id it is another restore, and says so before it writes anything.
        self.assert_exit(thole("restore", "-c", new.path, path), 3, "--restore-id")
        os.mkdir(new[3].data)
        with open(os.path.join(new[3].data, "log.restoring"), "wb"):
            pass  # It was killed before the file had a length.
        told = self.restore(new, path, "--restore-id", again)
        self.assertEqual([node["already"] for node in told["nodes"]], [True, False, False])
        inodes = [os.stat(os.path.join(node.data, "log")).st_ino for node in new.nodes]
        told = self.restore(new, path, "--restore-id", again)
        self.assertEqual([node["already"] for node in told["nodes"]], [True] * 3)
        self.assertEqual(inodes, [os.stat(os.path.join(node.data, "log")).st_ino
                                  for node in new.nodes])
        self.check_restored(new, wanted)

    def test_an_unfinished_log_is_refused_under_its_name_too(self):
        """Whoever renames it, and what stands on a block device."""
        _, path, _ = self.small_backup()
        new = self.new_cluster()
        self.restore(new, path, "--node", "1")
        with open(os.path.join(new[1].data, "log"), "r+b") as log:
            page = bytearray(4096)
            struct.pack_into("<IH", page, 0, 0x46554854, 2)
            struct.pack_into("<I", page, 4092, crc32c(bytes(page[:4092])))
            log.seek(3 * 65536)
            log.write(page)
        for arguments in (["start", "-c", new.path, "--node", "1"], ["log", "verify", new[1].data],
                          ["log", "ls", new[1].data]):
            self.assert_exit(thole(*arguments), 3, "unfinished", "thole restore")

    def stores(self, node):
        """The store ids of all nodes, by one of them."""
        done = thole("log", "ls", node.data, "--json")
        self.assert_exit(done, 0)
        return json.loads(done.stdout)["configuration"]["stores"]

    def test_nodes_restored_one_by_one_with_one_id_are_one_cluster(self):
        _, path, wanted = self.small_backup()
        new = self.new_cluster()
        more = []
        for node in new.nodes:
            copy = f"{path}.{node.number}"
            shutil.copy(path, copy)
            told = self.restore(new, copy, "--node", str(node.number), *more)
            self.assertEqual([one["node"] for one in told["nodes"]], [node.number])
            more = ["--restore-id", told["restore_id"]]
        self.assertEqual(self.stores(new[1]), self.stores(new[3]))
        self.check_restored(new, wanted)

    def test_a_node_restored_anew_is_a_stranger(self):
        """The same backup in the same cluster; but the others never take it for its old self."""
        _, path, wanted = self.small_backup()
        new = self.new_cluster()
        self.restore(new, path)
        stores = self.stores(new[3])
        self.check_restored(new, wanted)
        self.assertEqual(new[3].stop(), 0)
        shutil.rmtree(new[3].data)
        self.restore(new, path, "--node", "3")
        self.assertTrue(set(stores.values()).isdisjoint(self.stores(new[3]).values()))
        new[3].start()
        done = subprocess.run([cluster.THOLE, "append", "-c", new.path], input=b"more\n",
                              capture_output=True, check=False, timeout=60)
        self.assertEqual(done.stdout, b"%d\n" % (len(wanted) + 1), done.stderr)
        new.wait_status(lambda found: "node 3 is a stranger's" in found["notes"],
                        "the others say who is a stranger")

    def test_a_machine_with_another_configuration_or_backup_is_told_so(self):
        made, path, _ = self.small_backup()
        new = self.new_cluster()
        told = self.restore(new, path, "--node", "1")
        with_id = ["--restore-id", told["restore_id"]]
        with open(new.path, encoding="ascii") as file:
            text = file.read()
        for old, changed in ((new[3].address, "127.0.0.1:7003"), ("[node 3]", "[node 4]"),
                             (NEW_ID, "00000000000000b8")):
            other = os.path.join(new.folder, "other.ini")
            with open(other, "w", encoding="ascii") as file:
                file.write(text.replace(old, changed))
            self.assert_exit(thole("restore", "-c", other, path, "--node", "2", *with_id), 2,
                             "other.ini", "--restore-id")
        self.append(made, 1)
        later, _ = self.backup(made)
        self.assert_exit(thole("restore", "-c", new.path, later, "--node", "2", *with_id), 2,
                         "not the backup", "--restore-id")
        self.assertFalse(os.path.exists(new[2].data))
        self.assert_exit(thole("restore", "-c", new.path, path, "--restore-id", "12"), 2, "`12`")

    def test_what_is_in_the_way_is_left_alone(self):
        made, path, _ = self.small_backup()
        new = self.new_cluster()
        new[3].format()
        self.assert_exit(thole("restore", "-c", new.path, path), 3, "not of this restore")
        shutil.rmtree(new[3].data)
        os.mkdir(new[3].data)
        shutil.copy(os.path.join(made[3].data, "log"), new[3].data)
        self.assert_exit(thole("restore", "-c", new.path, path), 3, "another log")
        os.remove(os.path.join(new[3].data, "log"))
        with open(os.path.join(new[3].data, "letters"), "w", encoding="ascii"):
            pass
        self.assert_exit(thole("restore", "-c", new.path, path), 3, "letters")
        self.assertFalse(os.path.exists(new[1].data))  # Every place is looked at first.
        tight = renamed(self.cluster(size="8MiB"), new="00000000000000b9")
        self.append(made, 6000)
        path, _ = self.backup(made)
        self.assert_exit(thole("restore", "-c", tight.path, path), 3, "size")

    def test_a_restore_needs_no_io_uring(self):
        _, path, wanted = self.small_backup()
        new = self.new_cluster()
        self.assert_exit(thole("restore", "-c", new.path, path, place=forbidden()), 0)
        self.check_restored(new, wanted)

    def test_what_comes_in_the_way_meanwhile_is_left_alone(self):
        _, path, _ = self.small_backup()
        new = self.new_cluster(size="256MiB")
        log = os.path.join(new[1].data, "log")
        with subprocess.Popen([cluster.THOLE, "restore", "-c", new.path, path],
                              stderr=subprocess.PIPE, text=True) as process:
            new.wait(lambda: os.path.exists(f"{log}.restoring") or process.poll() is not None,
                     "the log is being made")
            with open(log, "xb") as file:
                file.write(b"mine")
            said = process.stderr.read()
        self.assertEqual(process.returncode, 3, said)
        self.assertIn(f"{log} its name: File exists", said)
        with open(log, "rb") as file:
            self.assertEqual(file.read(), b"mine")
        self.assertFalse(os.path.exists(f"{log}.restoring"))

    def test_a_backup_streams_to_stdout_and_an_empty_log_is_one_too(self):
        made, _ = self.healthy()
        done = subprocess.run([cluster.THOLE, "backup", "-c", made.path], capture_output=True,
                              check=False)
        self.assert_exit(done, 0)
        path = os.path.join(made.folder, "streamed.bak")
        with open(path, "wb") as file:
            file.write(done.stdout)
        named, told = self.backup(made)
        self.assertEqual(told["records"], 0)
        with open(named, "rb") as file:
            self.assertEqual(len(file.read()), len(done.stdout))
        new = self.new_cluster()
        self.restore(new, path)
        self.check_restored(new, [])
        self.assert_exit(thole("backup", "-c", made.path, "--json"), 2, "--output")
        self.assert_exit(thole("backup", "-c", made.path, "--output",
                               os.path.join(made.folder, "none", "x")), 3, "none/x.part")


if __name__ == "__main__":
    main()
