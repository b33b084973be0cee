"""What the program says when the machine, a folder or a load is not as it should be."""
import ctypes
import errno
import fcntl
import os
import resource
import shutil
import struct
import subprocess
import time

import support
from support import Case, QUICK, thole

SYS_PWRITE64 = 18
SYS_FALLOCATE = 285
SYS_PWRITEV2 = 328
SYS_IO_URING_SETUP = 425
SYS_IO_URING_REGISTER = 427


def refuse_calls(answers):
    """In the child: these system calls do nothing and answer with these error numbers."""
    code = struct.pack("<HBBI", 0x20, 0, 0, 0)  # Load the number of the system call.
    for call, error in answers.items():
        code += struct.pack("<HBBI", 0x15, 0, 1, call)  # Any other goes on behind the next line.
        code += struct.pack("<HBBI", 0x06, 0, 0, 0x00050000 | error)
    code += struct.pack("<HBBI", 0x06, 0, 0, 0x7fff0000)  # Allow.
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("<H6xQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
        os._exit(125)


def forbid_io_uring():
    """In the child: io_uring answers ENOSYS, as where a container's seccomp filter forbids it."""
    refuse_calls({call: errno.ENOSYS
                  for call in range(SYS_IO_URING_SETUP, SYS_IO_URING_REGISTER + 1)})


class Folder(Case):
    """`thole log verify` on what is no whole log."""

    def assert_refused(self, data, *words):
        process = thole("log", "verify", data)
        self.assert_exit(process, 3)
        self.assert_says(process, "thole: ", *words)
        self.assertEqual(process.stdout, "")

    def test_a_fresh_log_is_clean(self):
        process = thole("log", "verify", self.formatted(), "--json")
        self.assert_exit(process, 0)
        self.assertEqual(self.object_of(process)["entries"], 0)

    def test_a_folder_that_is_missing_or_without_a_log_is_3(self):
        self.assert_refused(self.path("nowhere"))
        os.mkdir(self.path("empty"))
        self.assert_refused(self.path("empty"), "empty")

    def test_a_file_that_is_no_log_is_3_and_format_leaves_it_alone(self):
        data = self.path("n1")
        os.mkdir(data)
        with open(os.path.join(data, "log"), "wb") as out:
            out.write(os.urandom(1 << 20))
        self.assert_refused(data)
        process = thole("format", "-c", self.configuration(), "--node", "1")
        self.assert_exit(process, 3)
        self.assert_says(process, "--force")
        self.assertEqual(os.path.getsize(os.path.join(data, "log")), 1 << 20)

    def test_a_truncated_log_is_3(self):
        data = self.formatted()
        os.truncate(os.path.join(data, "log"), 32 << 20)
        self.assert_refused(data)

    def refuse_version(self, version, *words):
        data = self.formatted()

        def rewrite(page):
            page[4:6] = struct.pack("<H", version)
        self.rewrite_superblocks(os.path.join(data, "log"), rewrite)
        self.assert_refused(data, f"format version {version}", "reads version 2", *words)

    def test_a_log_of_a_newer_format_is_3_and_both_versions_are_named(self):
        self.refuse_version(3, "the newer program")

    def test_a_log_of_an_older_format_is_3_and_the_way_out_is_named(self):
        self.refuse_version(1, "the older program", "thole backup", "thole restore")

    def test_a_superblock_without_a_valid_copy_is_refused(self):
        data = self.formatted()
        with open(os.path.join(data, "log"), "r+b") as file:
            for slot in range(4):
                file.seek(slot * 65536 + 100)
                file.write(b"\xff")
        process = thole("log", "verify", data)
        self.assertIn(process.returncode, [1, 3])
        self.assert_says(process, "thole: ")

    def test_a_locked_log_is_3(self):
        data = self.formatted()
        with open(os.path.join(data, "log"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assert_refused(data)
            process = thole("format", "-c", self.configuration(), "--node", "1", "--force")
            self.assert_exit(process, 3)

    def test_a_rotten_page_in_the_middle_is_1(self):
        kept = self.path("kept")
        process = thole("demo", *QUICK, "--rate", "2k", "--dir", kept, cwd=self.folder)
        self.assertIn(process.returncode, [0, 1])
        log = os.path.join(kept, "n2", "log")
        with open(log, "r+b") as file:
            file.seek(os.path.getsize(log) - 4096)
            ring_end = file.tell()
            position = self.first_entry(file, ring_end)
            file.seek(position + 8 * 4096 + 2000)
            file.write(b"\x5a\xa5\x5a")
        process = thole("log", "verify", os.path.join(kept, "n2"), "--json")
        self.assert_exit(process, 1)
        found = self.object_of(process)
        self.assertFalse(found["whole"])
        self.assertTrue(found["what"])
        for range_of, code in [(["--to", "1"], 0), (["--from", "2"], 1),
                               (["--to", str(found["last_index"])], 0),
                               (["--to", str(found["last_index"] + 1)], 1)]:
            process = thole("log", "verify", os.path.join(kept, "n2"), *range_of, "--json")
            self.assert_exit(process, code)
            self.assertIs(self.object_of(process)["whole"], code == 0)

    def first_entry(self, file, end):
        """Where the ring's first entry lies: the first page that begins with a node header."""
        for position in range(1 << 20, end, 65536):
            file.seek(position)
            if file.read(4) == b"THNN":
                return position
        return self.fail("no entry in the log")


class Format(Case):
    def test_format_refuses_an_existing_log_and_force_replaces_it(self):
        self.formatted()
        again = ["format", "-c", self.configuration(), "--node", "1"]
        process = thole(*again)
        self.assert_exit(process, 3)
        self.assert_says(process, "--force")
        self.assert_exit(thole(*again, "--force"), 0)

    def test_format_refuses_a_folder_that_is_not_empty_and_force_leaves_the_rest(self):
        os.mkdir(self.path("n1"))
        with open(self.path("n1", "photos"), "wb") as out:
            out.write(b"dear")
        again = ["format", "-c", self.configuration(), "--node", "1"]
        process = thole(*again)
        self.assert_exit(process, 3)
        self.assert_says(process, "photos", "--force")
        self.assertEqual(os.listdir(self.path("n1")), ["photos"])
        self.assert_exit(thole(*again, "--force"), 0)
        self.assert_exit(thole(*again, "--force"), 0)
        self.assertEqual(sorted(os.listdir(self.path("n1"))), ["log", "photos"])
        with open(self.path("n1", "photos"), "rb") as kept:
            self.assertEqual(kept.read(), b"dear")

    def test_format_takes_a_fresh_filesystem_with_its_lost_and_found(self):
        os.makedirs(self.path("n1", "lost+found"))
        process = thole("format", "-c", self.configuration(), "--node", "1")
        self.assert_exit(process, 0)

    def test_a_missing_or_bad_configuration_is_an_error_with_its_line(self):
        self.assertIn(thole("format", "-c", self.path("no.ini"), "--node", "1").returncode, [2, 3])
        path = self.configuration()
        with open(path, "a", encoding="ascii") as out:
            out.write("colour = red\n")
        process = thole("format", "-c", path, "--node", "1")
        self.assert_exit(process, 2)
        self.assert_says(process, "colour", "cluster.ini:9")

    def test_a_node_that_is_not_in_the_configuration_is_2(self):
        self.assert_exit(thole("format", "-c", self.configuration(), "--node", "4"), 2)
        self.assert_exit(thole("format", "-c", self.configuration(), "--node", "0"), 2)
        self.assert_exit(thole("format", "-c", self.configuration()), 2)

    def test_too_little_space_is_3_and_leaves_nothing(self):
        if shutil.disk_usage(self.folder).free > 1 << 40:
            self.skipTest("more than 1 TiB free here")
        path = self.configuration(size="1TiB", segment="16MiB")
        process = thole("format", "-c", path, "--node", "1")
        self.assert_exit(process, 3)
        self.assertFalse(os.path.exists(self.path("n1", "log")))
        process = thole("demo", "--log-size", "8TiB", cwd=self.folder)
        self.assert_exit(process, 3)

    def test_the_smallest_size_that_the_configuration_takes_is_formatted(self):
        path = self.configuration(size="64MiB", segment="16MiB")
        process = thole("format", "-c", path, "--node", "1")
        self.assert_exit(process, 2)
        self.assert_says(process, "cluster.ini:8", "66 MiB")
        self.assertEqual(os.listdir(self.folder), ["cluster.ini"])
        path = self.configuration(size="66MiB", segment="16MiB")
        self.assert_exit(thole("format", "-c", path, "--node", "1"), 0)
        process = thole("log", "ls", self.path("n1"), "--json")
        self.assert_exit(process, 0)
        self.assertEqual(self.object_of(process)["ring_bytes"], 64 << 20)

    def test_space_that_runs_out_while_formatting_is_3_and_leaves_nothing(self):
        # What another process, or a quota, takes between the look at the free space and the write.
        path = self.configuration(size="8MiB")
        no_fallocate = {SYS_FALLOCATE: errno.EOPNOTSUPP}
        for answers, words in [
                ({SYS_FALLOCATE: errno.ENOSPC}, ["space ran out", "free some"]),
                ({**no_fallocate, SYS_PWRITE64: errno.ENOSPC}, ["space ran out", "free some"]),
                ({**no_fallocate, SYS_PWRITE64: errno.EDQUOT}, ["quota"]),
                ({SYS_PWRITE64: errno.EIO}, ["cannot pre-write", "Input/output error"]),
                ({SYS_PWRITEV2: errno.EIO}, ["superblock", "Input/output error"])]:
            process = subprocess.run(
                [support.THOLE, "format", "-c", path, "--node", "1"], cwd=self.folder, text=True,
                capture_output=True, timeout=60, check=False,
                preexec_fn=lambda answers=answers: refuse_calls(answers))
            if process.returncode == 125:
                self.skipTest("seccomp filters are not allowed here")
            self.assert_exit(process, 3)
            self.assert_says(process, "thole: ", *words)
            self.assertEqual(os.listdir(self.folder), ["cluster.ini"])

    def test_a_log_too_small_for_its_segments_is_refused_with_the_least_size(self):
        process = thole("demo", *QUICK, "--log-size", "512KiB", cwd=self.folder)
        self.assert_exit(process, 3)
        self.assertEqual(os.listdir(self.folder), [], "nothing is left behind")


class Machine(Case):
    def test_a_filesystem_in_memory_is_3_and_says_what_mends_it(self):
        if not os.path.isdir("/dev/shm"):
            self.skipTest("no /dev/shm here")
        folder = f"/dev/shm/thole-cli-{os.getpid()}"
        os.mkdir(folder)
        self.addCleanup(shutil.rmtree, folder, True)
        for arguments in [["demo", *QUICK, "--dir", folder], ["floor", "disk", "--dir", folder]]:
            process = thole(*arguments, cwd=self.folder)
            self.assert_exit(process, 3)
            self.assert_says(process, "thole: ", "put it on ext4 or xfs")

    def test_a_filesystem_without_o_direct_is_3_and_says_what_mends_it(self):
        # A ramfs; in a namespace of its own, so that an ordinary user can mount it too.
        mounted = self.path("ram")
        os.mkdir(mounted)
        apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-Ur", "--mount"]
        mount = f"mount -t ramfs none {mounted} || exit 125; exec \"$@\""
        try:
            process = thole("demo", *QUICK, "--dir", os.path.join(mounted, "d"), cwd=self.folder,
                            before=[*apart, "sh", "-c", mount, "sh"])
        except FileNotFoundError:
            self.skipTest("unshare is not installed")
        if process.returncode == 125 or process.stderr.startswith("unshare:"):
            self.skipTest("cannot mount a ramfs here: " + process.stderr.strip())
        self.assert_exit(process, 3)
        self.assert_says(process, "thole: ", "put it on ext4 or xfs")

    def test_an_overlay_counts_as_what_it_writes_to(self):
        if os.geteuid() != 0:
            self.skipTest("mounting an overlay needs root")
        config = self.configuration()
        for name in ["ram", "low", "over", "n1"]:
            os.mkdir(self.path(name))
        script = ("mount -t tmpfs none ram && mkdir ram/up ram/work && mount -t overlay none n1 "
                  "-o lowerdir=low,upperdir=$PWD/{0}/up,workdir=$PWD/{0}/work || exit 125; "
                  'exec "$@"')
        for upper, code in [("ram", 3), ("over", 0)]:
            os.makedirs(self.path("over", "up"), exist_ok=True)
            os.makedirs(self.path("over", "work"), exist_ok=True)
            apart = ["unshare", "--mount", "sh", "-c", script.format(upper), "sh"]
            process = thole("format", "-c", config, "--node", "1", cwd=self.folder, before=apart)
            if process.returncode == 125:
                self.skipTest("cannot mount an overlay here: " + process.stderr.strip())
            self.assert_exit(process, code)
            if code != 0:
                self.assert_says(process, "an overlay over tmpfs", "put it on ext4 or xfs")

    def test_a_kernel_without_io_uring_is_3_and_says_so(self):
        process = subprocess.run([support.THOLE, "demo", *QUICK], cwd=self.folder, text=True,
                                 capture_output=True, timeout=60, check=False,
                                 preexec_fn=forbid_io_uring)
        if process.returncode == 125:
            self.skipTest("seccomp filters are not allowed here")
        self.assert_exit(process, 3)
        self.assert_says(process, "io_uring")
        self.assertEqual(os.listdir(self.folder), [], "nothing is left behind")

    def test_a_cpu_that_does_not_exist_is_3(self):
        process = thole("demo", *QUICK, "--cpu", "1000", cwd=self.folder)
        self.assert_exit(process, 3)
        self.assert_says(process, "--cpu")
        self.assertEqual(os.listdir(self.folder), [], "nothing is left behind")

    def test_a_disk_that_fails_while_serving_is_5(self):
        # The limit of a file's length falls below where the log is written: EFBIG, as from a disk
        # that refuses writes. Python ignores the signal that comes with it, and so does its child.
        process = subprocess.Popen(
            [support.THOLE, "demo", "--rate", "1k", "--duration", "60s", "--no-floor", "--log-size",
             "16MiB"], cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=False)
        self.addCleanup(process.kill)
        for line in process.stderr:
            if line.startswith("memory of the whole run"):
                break
        time.sleep(1)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        _, error = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 5, error)
        self.assertRegex(error, r"thole: replica \d stopped: its disk failed: ")
        self.assertEqual(os.listdir(self.folder), [])


class Load(Case):
    """Full and busy are answers: no request of a load is left without one."""

    def run_load(self, *arguments):
        process = thole("demo", "--rate", "max", "--duration", "1s", "--warmup", "0s", "--no-floor",
                        "--log-size", "16MiB", "--json", *arguments, cwd=self.folder)
        self.assertIn(process.returncode, [0, 1], process.stderr)
        found = self.object_of(process)
        counts = found["counts"]
        self.assertEqual(counts["sent"], counts["acked"] + sum(counts["refused"].values()))
        self.assertEqual(counts["unanswered"], 0)
        self.assertEqual(found["verify"]["lost"], 0)
        return found

    def test_a_client_faster_than_the_log_is_told_busy(self):
        found = self.run_load("--size", "8000", "--outstanding", "900")
        self.assertGreater(found["counts"]["refused"]["busy"], 0)

    def test_as_many_as_the_ports_hold_are_answered_or_told_busy(self):
        for size, outstanding in [("8000", "4096"), ("60000", "512")]:
            found = self.run_load("--size", size, "--outstanding", outstanding, "--log-size",
                                  "128MiB")  # So that it is never full.
            refused = found["counts"]["refused"]
            self.assertGreater(refused["busy"], 0)
            self.assertEqual(sum(refused.values()), refused["busy"])

    def test_without_outstanding_large_records_get_as_many_as_the_ports_hold(self):
        found = self.run_load("--size", "60000")
        self.assertEqual(found["config"]["outstanding"], 512)

    def test_a_full_log_says_full(self):
        found = self.run_load("--size", "8000", "--outstanding", "16", "--retention", "0")
        self.assertGreater(found["counts"]["refused"]["full"], 0)


if __name__ == "__main__":
    support.main()
