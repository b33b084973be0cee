"""`thole log ls | dump | verify | diff` on the logs of nodes that ran: whole, damaged in every way,
in use, trimmed, and parted. What `verify` says is what `thole start` does.
"""
import base64
import json
import os
import shutil
import struct
import subprocess
import sys

import cluster
from cluster import thole
from logfile import MARK, PAGE, PAYLOAD, SUPERBLOCKS, WATERMARKS, LogFile, dump, run_json

WHOLE = ["ok", "apart"]


class Logs(cluster.Case):
    """Three nodes, stopped, with records of all sizes; and copies of their logs to damage. `early`
    is a follower's, stopped after a quarter of the records."""

    @classmethod
    def setUpClass(cls):
        cls.made = cluster.Cluster()
        cls.addClassCleanup(cls.made.close)
        cls.made.format()
        cls.made.start()
        cls.made.wait_healthy()
        cls.lines = [b"line %d" % number for number in range(40)]
        cls.lines += [b"x" * 30000, b"\xff\x00\x01 no text", "gr\u00fc\u00dfe".encode(), b""]
        cls.early = os.path.join(cls.made.folder, "early")
        for number, line in enumerate(cls.lines):
            session = ["--session", "tools"] if number % 8 == 0 else []
            cls.append(line + b"\n", *session)
            if number == 10:
                follower = cls.made[1 + cls.made.wait_healthy()["leader"] % 3]
                assert follower.stop() == 0
                shutil.copytree(follower.data, cls.early)
                follower.start()
                cls.made.wait_healthy()
        cls.busy = thole("log", "verify", cls.made[2].data)
        cls.made.stop()
        cls.entries, cls.summary = dump(cls.made[1].data)

    @classmethod
    def append(cls, stdin, *more):
        done = subprocess.run([cluster.THOLE, "append", "-c", cls.made.path, *more], input=stdin,
                              capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr

    def copied(self, number=1):
        """Node `number`'s data copied, its cluster's file beside it."""
        folder = os.path.join(self.made.folder, "copy")
        shutil.rmtree(folder, ignore_errors=True)
        self.addCleanup(shutil.rmtree, folder, True)
        os.mkdir(folder)
        shutil.copy(self.made.path, folder)
        shutil.copytree(self.made[number].data, os.path.join(folder, f"n{number}"))
        return os.path.join(folder, f"n{number}")

    def client_entries(self, pages=1):
        return [one for one in self.entries
                if one["kind"] == "client" and one["pages"] == pages]

    def start_says(self, data):
        """The exit code with which a node refuses this folder, or 1 when it does not serve before
        others have mended it; 0: it serves."""
        process = subprocess.Popen(
            [cluster.THOLE, "start", "-c", os.path.join(os.path.dirname(data), "cluster.ini"),
             "--node", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        for line in process.stderr:
            if line.startswith("serving node") or "does not serve yet" in line:
                process.kill()
                process.wait()
                return 0 if line.startswith("serving node") else 1
        return process.wait()


class Whole(Logs):
    def test_a_running_node_is_refused_with_the_command_that_reads_it(self):
        self.assert_exit(self.busy, 3, "thole read -c FILE --node 2")
        self.assertEqual(self.busy.stdout, "")

    def test_dump_shows_every_record_where_read_found_it(self):
        shown = {}
        for entry in self.entries:
            self.assertEqual((entry["status"], entry["damage"], entry["proven"]),
                             ("ok", False, True))
            for record in entry.get("records", []):
                if record["kind"] == "append":
                    data = record.get("data")
                    shown[record["offset"]] = data.encode() if data is not None else \
                        base64.b64decode(record["data_base64"])
        self.assertEqual([shown[offset] for offset in range(len(self.lines))], self.lines)
        self.assertEqual(self.summary["counts"]["records"], len(self.lines))
        self.assertEqual(self.summary["state"], "clean")
        positions = [entry["position"] for entry in self.entries]
        ends = [entry["position"] + entry["bytes"] for entry in self.entries]
        self.assertEqual(positions[1:], ends[:-1])

    def test_dump_prints_text_hex_and_headers_of_a_range(self):
        data = self.made[1].data
        index = next(entry["index"] for entry in self.entries if entry["kind"] == "client" and
                     any(one.get("data") == "line 3" for one in entry["records"]))
        chosen = ["--from", str(index), "--to", str(index)]
        text = thole("log", "dump", data, *chosen).stdout.splitlines()
        self.assertEqual(len(text), 3, "the entry, its record, the summary")
        self.assertRegex(text[0], rf"^ok +entry {index}, term \d+, client, position \d+, 1 page")
        self.assertRegex(text[1], r"^  3 +\(session [0-9a-f]+, sequence 1\) line 3$")
        self.assertIn("clean", text[2])
        self.assertIn("6c 69 6e 65 20 33", thole("log", "dump", data, *chosen, "--hex").stdout)
        headers = thole("log", "dump", data, *chosen, "--headers").stdout.splitlines()
        self.assertEqual(headers, [text[0], text[2]])
        odd = thole("log", "dump", data).stdout
        self.assertIn("\\xff\\x00\\x01 no text", odd)
        self.assertIn("gr\u00fc\u00dfe", odd)
        lines, _ = dump(data, "--from", "3", "--to", "5", "--headers")
        self.assertEqual([line["index"] for line in lines], [3, 4, 5])
        self.assertNotIn("records", lines[0])

    def test_ls_tells_the_superblock_the_state_and_the_segments(self):
        found = run_json("ls", self.made[1].data)
        self.assertEqual((found["state"], found["node"], found["cluster"]),
                         ("clean", 1, cluster.CLUSTER_ID))
        self.assertEqual(found["next_offset"], len(self.lines))
        self.assertEqual(found["configuration"]["voters"], [1, 2, 3])
        self.assertEqual(found["configuration"]["stores"]["1"], found["store"])
        self.assertEqual(found["sessions"], 1 + len([number for number in range(len(self.lines))
                                                     if number % 8 != 0]), "and the nameless")
        self.assertEqual([copy["valid"] for copy in found["superblock"]["copies"]], [True] * 4)
        self.assertIn("counts", [mark["status"] for mark in found["watermarks"]])
        self.assertEqual(sum(one["entries"] for one in found["segments"]), len(self.entries))
        self.assertEqual(found["segments"][-1]["last_index"], self.entries[-1]["index"])
        text = thole("log", "ls", self.made[1].data).stdout
        for word in ["clean, node 1", "superblock", "watermark 0", "sessions       39",
                     "voters 1 (store ", "segment "]:
            self.assertIn(word, text)

    def test_replicas_are_equal_and_a_shorter_one_is_told(self):
        done = thole("log", "diff", self.made[1].data, self.made[3].data)
        self.assert_exit(done, 0)
        self.assertIn("equal: ", done.stdout)
        self.assertNotIn("shorter", done.stdout)
        done = thole("log", "diff", self.made[1].data, self.early)
        self.assert_exit(done, 0)
        self.assertIn(f"{self.early}/log is shorter", done.stdout)
        self.assert_exit(thole("log", "diff", self.made[1].data), 2)
        self.assert_exit(thole("log", "dump"), 2)
        self.assert_exit(thole("log", "ls", self.made[1].data, "--from", "3", "--to", "2"), 2)

    def test_a_committed_entry_that_differs_is_found_and_named(self):
        data = self.copied(2)
        entry = self.client_entries()[5]
        LogFile(data).forge(entry["position"], PAYLOAD + 1)
        self.assert_exit(thole("log", "verify", data), 0)  # Its checksums hold.
        for one, other in [(self.made[1].data, data), (data, self.made[1].data)]:
            done = thole("log", "diff", one, other)
            self.assert_exit(done, 1)
            self.assertIn(f"DIFFERENT from entry {entry['index']} on", done.stdout)
            self.assertIn(f"byte {PAYLOAD + 1} of the entry", done.stdout)
            self.assertIn("COMMITTED in both", done.stdout)
        found = json.loads(thole("log", "diff", self.made[1].data, data, "--json").stdout)
        self.assertEqual((found["equal"], found["difference"]["index"]), (False, entry["index"]))
        self.assertEqual(found["compared"], entry["index"], "up to that one")
        self.assertTrue(found["difference"]["b"]["committed"])
        last = str(entry["index"] - 1)
        self.assert_exit(thole("log", "diff", self.made[1].data, data, "--to", last), 0)
        after = str(entry["index"] + 1)
        self.assert_exit(thole("log", "diff", self.made[1].data, data, "--from", after), 0)

    def test_a_tail_that_differs_is_called_committed_only_where_it_was(self):
        data = os.path.join(self.made.folder, "tail")
        shutil.copytree(self.early, data)
        self.addCleanup(shutil.rmtree, data, True)
        last = dump(data)[0][-1]
        self.assertEqual(last["kind"], "client")
        LogFile(data).forge(last["position"], PAYLOAD + 1)
        for other, verdict in [(self.early, "not known to be committed in either"),
                               (self.made[2].data, "committed in the second; the first gives way")]:
            done = thole("log", "diff", data, other)
            self.assert_exit(done, 1)
            self.assertIn(f"DIFFERENT from entry {last['index']} on", done.stdout)
            self.assertIn(verdict, done.stdout)
        done = thole("log", "diff", self.made[2].data, data)
        self.assertIn("committed in the first; the second gives way", done.stdout)

    def test_logs_of_two_clusters_are_not_compared(self):
        other = self.cluster(1)
        with open(other.path, encoding="ascii") as file:
            text = file.read()
        with open(other.path, "w", encoding="ascii") as file:
            file.write(text.replace(cluster.CLUSTER_ID, "1"))
        other.format()
        done = thole("log", "diff", self.made[1].data, other[1].data)
        self.assert_exit(done, 3, cluster.CLUSTER_ID, "0000000000000001")


class Damaged(Logs):
    """Each kind of damage: every command goes on, says what is where, and counts right."""

    def check(self, data, code, spots, lost):
        """`spots`: position -> (status, a word of why); `lost`: indexes that are not whole."""
        verified = thole("log", "verify", data, "--json")
        self.assert_exit(verified, code)
        verdict = json.loads(verified.stdout)
        lines, summary = dump(data, "--headers")
        at = {line["position"]: line for line in lines}
        for position, (status, why) in spots.items():
            self.assertIn(position, at)
            self.assertEqual(at[position]["status"], status)
            self.assertIn(why, at[position]["why"])
        whole = [line["index"] for line in lines if line["status"] in WHOLE]
        self.assertEqual(whole, [entry["index"] for entry in self.entries
                                 if entry["index"] not in lost])
        damage = [line for line in lines if line["damage"]]
        self.assertEqual(verdict["damage_count"], len(damage))
        self.assertEqual(summary["counts"]["damaged"], len(damage))
        self.assertEqual(summary["counts"]["damaged_bytes"],
                         sum(line["bytes"] for line in damage))
        self.assertEqual([one["position"] for one in verdict["damage"]],
                         [line["position"] for line in damage])
        self.assert_exit(thole("log", "dump", data), 0)
        self.assert_exit(thole("log", "ls", data), 0)
        self.assertEqual(sum(one["damaged"] for one in run_json("ls", data)["segments"]),
                         len(damage))
        diff = thole("log", "diff", data, self.made[2].data, "--json")
        self.assert_exit(diff, 0)  # What is damaged is not different.
        found = json.loads(diff.stdout)
        self.assertEqual(len([one for one in found["damage"] if one["log"] == "a"]), len(damage))
        self.assertEqual(found["compared"], len(whole))
        self.assertEqual(self.start_says(data), code)

    def damage(self, change, spots, lost, code=1):
        """One case: `change` gets the log file of a fresh copy."""
        data = self.copied()
        change(LogFile(data))
        self.check(data, code, spots, lost)

    def test_a_flipped_byte_anywhere_is_told_where_it_is(self):
        entry = self.client_entries()[7]
        at, index = entry["position"], entry["index"]
        for byte, status, why in [
                (20, "garbage", "node header CRC"), (64 + 30, "garbage", "page mark"),
                (170, "bad", "page mark"), (3000, "bad", "page mark"),
                (MARK + 2, "garbage", "page mark"), (MARK + 13, "bad", "page mark")]:
            with self.subTest(byte=byte):
                self.damage(lambda log, byte=byte: log.flip(at + byte), {at: (status, why)},
                            {index})
        text = self.text_of_damage(at + 170)
        self.assertIn(f"damaged   bad      entry {index},", text)
        self.assertIn("page 0: page mark wrong", text)

    def text_of_damage(self, position):
        data = self.copied()
        LogFile(data).flip(position)
        return thole("log", "verify", data).stdout

    def test_pages_zeroed_are_told_as_not_written(self):
        big = next(entry for entry in self.entries if entry["pages"] > 4)
        at, index = big["position"], big["index"]
        zeros = bytes(PAGE)
        self.damage(lambda log: log.write(at + 2 * PAGE, zeros), {at: ("torn", "never written")},
                    {index})
        self.damage(lambda log: log.write(at, zeros),
                    {at: ("absent", "never written"), at + PAGE: ("rest", "not here")}, {index})
        last = self.entries[-1]
        self.damage(lambda log: log.write(last["position"], zeros * last["pages"]),
                    {last["position"]: ("absent", "never written")}, {last["index"]})

    def test_pages_in_the_wrong_place_are_told_so(self):
        one, other = self.client_entries()[3], self.client_entries()[20]
        self.damage(lambda log: log.swap(one["position"], other["position"]),
                    {one["position"]: ("garbage", "misplaced"),
                     other["position"]: ("garbage", "misplaced")}, {one["index"], other["index"]})
        page = LogFile(self.made[2].data).read(one["position"])
        self.damage(lambda log: log.write(one["position"], page),
                    {one["position"]: ("garbage", "another store")}, {one["index"]})
        self.damage(lambda log: log.write(one["position"], os.urandom(PAGE)),
                    {one["position"]: ("garbage", "page mark")}, {one["index"]})

    def test_several_damaged_entries_are_all_told_and_the_rest_is_whole(self):
        hurt = self.client_entries()[2:30:4]

        def change(log):
            for entry in hurt:
                log.flip(entry["position"] + 200)
        self.damage(change, {entry["position"]: ("bad", "page mark") for entry in hurt},
                    {entry["index"] for entry in hurt})

    def test_superblock_copies_and_watermark_pages_count_as_recovery_counts_them(self):
        self.damage(lambda log: log.flip_at(SUPERBLOCKS[0] + 70), {}, set(), code=0)
        self.damage(lambda log: log.flip_at(WATERMARKS[0] + 9), {}, set(), code=0)
        self.damage(lambda log: log.flip_at(WATERMARKS[0] + 9, WATERMARKS[1] + 9), {}, set(),
                    code=0)
        data = self.copied()
        log = LogFile(data)
        log.flip_at(SUPERBLOCKS[0] + 70, SUPERBLOCKS[1] + 70)
        copies = run_json("ls", data)["superblock"]["copies"]
        self.assertEqual([copy["valid"] for copy in copies], [False, True, False, True])
        log.flip_at(SUPERBLOCKS[1] + 70, SUPERBLOCKS[3] + 70)  # Slot 1 whole again, but for copy 1.
        log.flip_at(SUPERBLOCKS[2] + 70)
        done = thole("log", "verify", data)
        self.assert_exit(done, 1)
        self.assertIn("neither copy of slot 0", done.stdout)
        self.assertEqual(self.start_says(data), 1)
        lines, _ = dump(data, "--headers")
        whole = [line for line in lines if line["status"] in WHOLE]
        self.assertGreater(len(whole), 0)
        self.assert_exit(thole("log", "ls", data), 0)
        self.assert_exit(thole("log", "diff", data, self.made[3].data), 0)

    def test_without_any_superblock_everything_is_refused_as_start_does(self):
        data = self.copied()
        LogFile(data).flip_at(*[offset + 70 for offset in SUPERBLOCKS])
        for command in ["ls", "dump", "verify"]:
            self.assert_exit(thole("log", command, data), 1, "no copy of it can be read")
        self.assert_exit(thole("log", "diff", self.made[1].data, data), 1, "no copy of it")
        self.assertEqual(self.start_says(data), 1)

    def test_doctor_sees_the_damage_that_a_start_would_ask_others_for(self):
        data = self.copied()
        config = os.path.join(os.path.dirname(data), "cluster.ini")
        with open(os.path.join(data, "log"), "rb") as file:
            before = file.read()
        rows = self.doctor(config)
        self.assertEqual(rows["log whole"]["severity"], "ok")
        with open(os.path.join(data, "log"), "rb") as file:
            self.assertEqual(file.read(), before, "nothing was written")
        log = LogFile(data)
        log.flip(self.client_entries()[20]["position"] + 200)
        rows = self.doctor(config)
        self.assertEqual(rows["log whole"]["severity"], "warning")
        self.assertIn("damaged", rows["log whole"]["current"])
        self.assertEqual(rows["log whole"]["mend"], f"thole start -c {config} --node 1")
        log.flip_at(*[offset + 70 for offset in SUPERBLOCKS])
        rows = self.doctor(config)
        self.assertEqual(rows["log whole"]["severity"], "error")
        self.assertIn("no copy of it can be read", rows["log whole"]["current"])

    def doctor(self, config):
        """Its rows by condition."""
        done = thole("doctor", "-c", config, "--node", "1", "--json")
        return {row["condition"]: row for row in json.loads(done.stdout)["rows"]}

    def test_zeroed_superblocks_before_entries_are_a_damaged_log_and_none_to_format(self):
        data = self.copied()
        path = os.path.join(data, "log")
        for byte in b"\0\xa5":
            with open(path, "r+b") as file:
                for offset in SUPERBLOCKS:
                    file.seek(offset)
                    file.write(bytes([byte]) * 4096)
            for command in ["ls", "dump", "verify"]:
                done = thole("log", command, data)
                self.assert_exit(done, 1, "the superblocks are gone, but entries of node 1 of",
                                 "`thole format` would destroy", "Bring back a copy")
                self.assertEqual(done.stdout, "")
            self.assert_exit(thole("log", "diff", self.made[1].data, data), 1, "stand behind them")
            done = thole("start", "-c", os.path.join(os.path.dirname(data), "cluster.ini"),
                         "--node", "1")
            self.assert_exit(done, 1, "the superblocks are gone")
            self.assertNotIn("make it with", done.stderr)
        os.truncate(path, SUPERBLOCKS[-1] + 4096)  # Nothing stands behind: it is no log.
        for command in ["ls", "dump", "verify"]:
            self.assert_exit(thole("log", command, data), 3, "not a log")
        self.assertEqual(self.start_says(data), 3)

    def test_a_truncated_file_is_refused_by_verify_and_shown_by_the_others(self):
        data = self.copied()
        log = LogFile(data)
        entry = self.client_entries()[20]
        os.truncate(log.path, log.ring_offset + entry["position"])
        self.assert_exit(thole("log", "verify", data), 3, "truncated")
        self.assertEqual(self.start_says(data), 3)
        lines, _ = dump(data, "--headers")
        whole = [line["index"] for line in lines if line["status"] in WHOLE]
        self.assertEqual(whole, [one["index"] for one in self.entries
                                 if one["index"] < entry["index"]])
        self.assertIn("cannot read", lines[len(whole)]["why"])
        self.assertIn("truncated", thole("log", "ls", data).stdout)
        self.assert_exit(thole("log", "diff", data, self.made[2].data), 0)


class Trimmed(cluster.Case):
    def state_offsets(self, data):
        """Where the two copies of the small state at the start lie in the file."""
        found = run_json("ls", data)
        slots = found["ring_bytes"] // found["segment_bytes"] + 2
        slot = found["segments"][0]["segment"] % slots
        return [(1 << 20) + (copy * slots + slot) * 65536 for copy in range(2)]

    def check_one_bad_copy(self, node):
        """Each copy alone is damage that the next start mends."""
        data = node.data
        for copy in range(2):
            LogFile(data).flip_at(self.state_offsets(data)[copy] + 30)
            done = thole("log", "verify", data)
            self.assert_exit(done, 1)
            self.assertIn(f"copy {copy} of the small state", done.stdout)
            self.assertIn("from the other copy", done.stdout)
            verdict = run_json("verify", data, code=1)
            self.assertEqual(verdict["state"], "clean")
            self.assertFalse(verdict["whole"])
            self.assertEqual([one["copy"] for one in verdict["bad_state_copies"]], [copy])
            self.assertIn(f"copy {copy}", run_json("ls", data)["segments"][0]["state"])
            node.start()
            node.cluster.wait_healthy()
            self.assertEqual(node.stop(), 0)
            verdict = run_json("verify", data)
            self.assertEqual(verdict["bad_state_copies"], [])

    def test_a_trimmed_log_shows_its_start_and_a_bad_small_state_is_damage(self):
        made = self.cluster(1, storage="retention = 4MiB\n")
        made.format()
        made.start()
        made.wait_healthy()
        before = os.path.join(made.folder, "before")
        lines = b"\n".join(b"%d" % i + b"x" * 50000 for i in range(100))
        for _ in range(2):
            done = subprocess.run([cluster.THOLE, "append", "-c", made.path], input=lines,
                                  capture_output=True, check=False, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            if not os.path.exists(before):
                self.assertEqual(made[1].stop(), 0)
                shutil.copytree(made[1].data, before)
                made.start()
                made.wait_healthy()
        self.assertEqual(made[1].stop(), 0)
        data = made[1].data
        found = run_json("ls", data)
        self.assertGreater(found["start"]["index"], 50)
        self.assertEqual(found["segments"][0]["first_index"], found["start"]["index"] + 1)
        self.assertEqual(found["segments"][0]["state"], "ok")
        self.assertIn("trim", [line["kind"] for line in dump(data, "--headers")[0]])
        self.assertIn("the log is to begin at position", thole("log", "dump", data).stdout)
        middle = found["segments"][2]
        ranged = run_json("ls", data, "--from", str(middle["first_index"] + 1), "--to",
                          str(middle["last_index"]))
        self.assertEqual(ranged["segments"], [middle])
        self.assertEqual(found["configuration"]["voters"], [1])
        done = thole("log", "diff", before, data)
        self.assert_exit(done, 0)
        self.assertIn("was trimmed further", done.stdout)
        self.assertIn("is shorter", done.stdout)
        lines, _ = dump(data, "--headers")
        self.assertEqual(lines[0]["index"], found["start"]["index"] + 1)
        self.check_one_bad_copy(made[1])
        LogFile(data).flip_at(*[offset + 30 for offset in self.state_offsets(data)])
        done = thole("log", "verify", data)
        self.assert_exit(done, 1)
        self.assertIn("neither copy of the small state", done.stdout)
        done = thole("start", "-c", made.path, "--node", "1")
        self.assert_exit(done, 1, "neither copy of the small state", "copy of the disk")
        found = run_json("ls", data)
        self.assertIsNone(found["configuration"])
        self.assertNotEqual(found["segments"][0]["state"], "ok")
        lines, summary = dump(data, "--headers")
        self.assertEqual(summary["state"], "damaged")
        self.assertEqual(len([line for line in lines if line["status"] == "ok"]),
                         sum(one["entries"] for one in found["segments"]))


if __name__ == "__main__":
    cluster.main()
